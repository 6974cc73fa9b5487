//! Independent checks: pyiso8583 builds and reads random messages of both dialects, and of a third that is a table alone.
//!
//! Every message is built here from its parts and by pyiso8583 from the same parts: the bytes are equal. Each reads what
//! the other wrote. The Python tables are written by hand (`tests/python/dialects.py`).
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use protocol::hex::{Hex, decode_into};
use protocol::iso8583::*;
use serde_json::{Map, Value as Json, json};
use std::cell::RefCell;
use tests::ascii_1987::ASCII_1987;
use tests::python::Peer;

/// Messages of each dialect.
const CASES: u32 = 250;

/// A field's content as pyiso8583 writes it: digits, text, or hexadecimal.
fn content(field: &'static Field) -> BoxedStrategy<String> {
    let (min, max) = field.bounds();
    let units = usize::from(min)..=usize::from(max.min(120).max(min));
    let symbols: &'static str = match field.coding {
        Coding::Packed(_) | Coding::Digits => "0123456789",
        Coding::PackedTrack => "0123456789D",
        Coding::Track => "0123456789=",
        Coding::Text(Alphabet::An) => "AQZaqz059 ",
        Coding::Text(Alphabet::Ans) => "AQZaqz059 !#~=",
        // Latin-1 stands for the bytes of a local character set.
        Coding::Text(Alphabet::Local) => "AQZaqz059 \u{B0}\u{C4}\u{FE}",
        Coding::Bytes | Coding::Hex => {
            return proptest::collection::vec(any::<u8>(), units).prop_map(|b| Hex(&b).to_string()).boxed();
        }
    };
    let symbols: Vec<char> = symbols.chars().collect();
    proptest::collection::vec(proptest::sample::select(symbols), units).prop_map(String::from_iter).boxed()
}

type Fields = Vec<(FieldNo, String)>;

fn fields(dialect: &'static Dialect) -> impl Strategy<Value = Fields> {
    let all: Vec<_> = (2..=128)
        .filter_map(|no| dialect.field(FieldNo(no)).map(|field| (FieldNo(no), field)))
        .map(|(no, field)| proptest::option::of(content(field)).prop_map(move |c| c.map(|c| (no, c))))
        .collect();
    all.prop_map(|all| all.into_iter().flatten().collect())
}

fn unhex(text: &str) -> Vec<u8> {
    let mut bytes = vec![0; text.len() / 2];
    decode_into(text, &mut bytes).unwrap();
    bytes
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

fn build(dialect: &'static Dialect, mti: Mti, fields: &Fields) -> Vec<u8> {
    let mut out = [0; 8192];
    let start = if fields.iter().any(|(no, _)| no.0 > 64) { Builder::with_two_bitmaps } else { Builder::new };
    let mut builder = start(dialect, mti, &mut out).unwrap();
    for (no, content) in fields {
        match dialect.field(*no).unwrap().coding {
            Coding::Bytes | Coding::Hex => builder.bytes(*no, &unhex(content)).unwrap(),
            Coding::Text(_) => builder.text(*no, &latin1(content)).unwrap(),
            _ => builder.digits(*no, Digits::ascii(content.as_bytes())).unwrap(),
        };
    }
    let length = builder.finish().unwrap();
    out[..length].to_vec()
}

/// A field of a parsed message, as pyiso8583 would show it.
fn shown(value: &Value<'_>) -> String {
    match value.table().coding {
        Coding::Bytes => Hex(value.bytes()).to_string(),
        Coding::Hex => String::from_utf8(value.bytes().to_vec()).unwrap(),
        Coding::Text(_) => value.bytes().iter().map(|b| char::from(*b)).collect(),
        coding => {
            let separator = if coding == Coding::Track { '=' } else { 'D' };
            value.digits().iter().map(|d| char::from_digit(d.into(), 10).unwrap_or(separator)).collect()
        }
    }
}

fn agrees(dialect: &'static Dialect) {
    let peer = RefCell::new(Peer::start().unwrap());
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let mtis = proptest::sample::select(vec!["0100", "0200", "0210", "0320", "0401", "0800"]);
    let verdict = runner.run(&(mtis, fields(dialect)), |(mti, fields)| {
        let mut peer = peer.borrow_mut();
        let mut document: Map<String, Json> =
            fields.iter().map(|(no, content)| (no.0.to_string(), json!(content))).collect();
        document.insert("t".into(), json!(mti));
        let ours = build(dialect, Mti(u16::from_str_radix(mti, 16).unwrap()), &fields);

        let request = json!({ "dialect": dialect.name, "fields": document });
        let theirs = peer.ask_text("encode", request).unwrap();
        prop_assert_eq!(Hex(&ours).to_string(), theirs);

        let read = peer.ask("decode", json!({ "dialect": dialect.name, "message": Hex(&ours).to_string() }));
        prop_assert_eq!(read.unwrap(), Json::Object(document));

        let message = Message::parse(dialect, &ours).unwrap();
        prop_assert_eq!(message.mti().to_string(), mti);
        let seen: Fields = message.fields().map(|value| (value.no(), shown(&value))).collect();
        prop_assert_eq!(seen, fields);
        Ok(())
    });
    verdict.unwrap();
}

#[test]
fn pyiso8583_and_we_build_and_read_the_same_messages_of_our_dialect() {
    agrees(&AES);
}

#[test]
fn pyiso8583_and_we_build_and_read_the_same_messages_of_the_unionpay_dialect() {
    agrees(&UNIONPAY);
}

#[test]
fn a_dialect_that_is_a_table_alone_is_read_and_built_as_pyiso8583_does() {
    agrees(&ASCII_1987);
}

#[test]
fn a_message_crosses_from_one_dialect_to_another_by_its_fields() {
    use protocol::ids::{Stan, TerminalId};
    use protocol::iso8583::typed::*;
    use protocol::pan::Pan;
    let mut out = [0; 512];
    let mut builder = Builder::new(&UNIONPAY, Mti::FINANCIAL, &mut out).unwrap();
    let track = Track2::from_digits(b"6224240000000113\x0D2806201".iter().map(|b| b & 0x0F)).unwrap();
    builder.put(&"6224240000000113".parse::<Pan>().unwrap()).unwrap();
    builder.put(&ProcessingCode::PURCHASE).unwrap().put(&AmountMinor(1250)).unwrap();
    builder.put(&Stan(403)).unwrap().put(&EntryMode::CONTACTLESS).unwrap();
    builder.put(&CardSequence(1)).unwrap().put(&track).unwrap();
    builder.put(&TerminalId::from_text("T1").unwrap()).unwrap();
    builder.put(&EncryptedPin::Format0([0xA5; 8])).unwrap();
    let length = builder.finish().unwrap();
    let message = Message::parse(&UNIONPAY, &out[..length]).unwrap();

    let mut other = [0; 512];
    let mut builder = Builder::new(&ASCII_1987, message.mti(), &mut other).unwrap();
    for value in message.fields() {
        builder.copy(&value).unwrap();
    }
    let length = builder.finish().unwrap();
    let text = core::str::from_utf8(&other[..length]).unwrap();
    assert!(text.starts_with("0200") && text.contains("6224240000000113=2806201"), "{text}");
    assert!(text.ends_with("A5A5A5A5A5A5A5A5"));
    let crossed = Message::parse(&ASCII_1987, &other[..length]).unwrap();
    assert_eq!(crossed.need::<Track2>(), message.need::<Track2>());
    assert_eq!(crossed.need::<Pan>(), message.need::<Pan>());
    assert_eq!(crossed.need::<CardSequence>(), Ok(CardSequence(1)));

    let mut back = [0; 512];
    let mut builder = Builder::new(&UNIONPAY, crossed.mti(), &mut back).unwrap();
    for value in crossed.fields() {
        builder.copy(&value).unwrap();
    }
    let length = builder.finish().unwrap();
    assert_eq!(&back[..length], message.bytes());
}
