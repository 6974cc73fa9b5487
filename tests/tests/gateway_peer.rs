//! Traffic between terminals and the gateway, captured on the wire, is read by pyiso8583: the same fields with the same content, and written
//! again to the same bytes.
#![cfg(test)]

use backend::store::memory::MemoryStore;
use posp_gateway::access::Limits;
use protocol::hex::Hex;
use protocol::iso8583::{Frame, HeaderRule, Message, Value};
use serde_json::json;
use tests::acquirer::{Acquirer, Received};
use tests::python::Peer;

/// The content of a field as pyiso8583 shows it: digits, text, or hexadecimal.
fn shown(value: &Value<'_>) -> String {
    use protocol::iso8583::{Alphabet, Coding};
    match value.table().coding {
        Coding::Bytes | Coding::Hex | Coding::Text(Alphabet::Local) => Hex(value.bytes()).to_string(),
        Coding::Text(_) | Coding::Track | Coding::Digits => {
            String::from_utf8(value.bytes().to_vec()).unwrap()
        }
        Coding::Packed(_) | Coding::PackedTrack => {
            value.digits().iter().map(|digit| char::from_digit(digit.into(), 16).unwrap()).collect()
        }
    }
}

#[test]
fn pyiso8583_reads_and_rewrites_what_terminals_and_gateway_say() {
    let acquirer = Acquirer::over(MemoryStore::new(), 1, 1, Limits::default());
    let mut terminal = acquirer.terminal(1);
    let mut captured: Vec<Vec<u8>> = Vec::new();
    let mut tap = |request: &[u8], answer: &Received| {
        captured.push(request[2..].to_vec());
        captured.push(answer.body.clone());
    };
    let trace = terminal.next_trace();
    let sign_in = terminal.sign_in_frame(trace);
    let answer = terminal.ask(&sign_in);
    terminal.take_keys(&answer);
    tap(&sign_in, &answer);
    for minor in [1, 99_999, 5_000_000] {
        let trace = terminal.next_trace();
        let purchase = terminal.purchase_frame(trace, 1, minor);
        tap(&purchase, &terminal.ask(&purchase));
        let reversal = terminal.reversal_frame(trace, minor);
        tap(&reversal, &terminal.ask(&reversal));
    }
    let trace = terminal.next_trace();
    let echo = terminal.echo_frame(trace);
    tap(&echo, &terminal.ask(&echo));

    let mut peer = Peer::start().unwrap();
    for body in &captured {
        let frame = Frame::parse(body, HeaderRule::Present).unwrap();
        let ours = Message::parse(&protocol::iso8583::AES, frame.message).unwrap();
        let message = Hex(frame.message).to_string();
        let theirs = peer.ask("decode", json!({ "dialect": "aes", "message": message })).unwrap();
        assert_eq!(theirs["t"], ours.mti().to_string());
        for value in ours.fields() {
            let no = value.no().0.to_string();
            assert_eq!(theirs[&no], shown(&value), "field {no} of {ours:?}");
        }
        assert_eq!(theirs.as_object().unwrap().len(), ours.fields().count() + 1);
        let again = peer.ask("encode", json!({ "dialect": "aes", "fields": theirs })).unwrap();
        assert_eq!(again, message);
    }
    assert_eq!(captured.len(), 16);
}
