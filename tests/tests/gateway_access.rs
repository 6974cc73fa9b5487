//! The gateway over TCP: who is answered what, and that whoever breaks the rules disturbs nobody else.
#![cfg(test)]

use backend::store::memory::MemoryStore;
use posp_gateway::access::Limits;
use protocol::ids::{BatchNo, Stan};
use protocol::iso8583::frame::Requirement;
use protocol::iso8583::typed::{Batch, KeyField, ManagementCode, ResponseCode, RetrievalReference};
use protocol::iso8583::{FieldNo, Message, Mti};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use tests::acquirer::{ANSWER_WAIT, Acquirer, Received, TestTerminal, enrol};

fn acquirer() -> Acquirer {
    Acquirer::over(MemoryStore::new(), 3, 3, Limits::default())
}

fn signed_in(acquirer: &Acquirer, n: u32) -> TestTerminal {
    let mut terminal = acquirer.terminal(n);
    terminal.sign_in();
    terminal
}

fn code(text: &str) -> ResponseCode {
    ResponseCode::from_bytes(text.as_bytes().try_into().unwrap()).unwrap()
}

/// Whether the gateway closes the connection without another byte.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(ANSWER_WAIT)).unwrap();
    matches!(stream.read(&mut [0; 1]), Ok(0))
        || stream.read(&mut [0; 1]).is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock)
}

#[test]
fn a_terminal_signs_in_pays_and_every_answer_verifies() {
    let acquirer = acquirer();
    let mut terminal = signed_in(&acquirer, 1);
    let trace = terminal.next_trace();
    let answer = terminal.ask(&terminal.purchase_frame(trace, 1, 1250));
    assert_eq!((answer.code(), answer.trace()), (ResponseCode::APPROVED, trace));
    assert!(terminal.verifies(&answer));
    let message = answer.message();
    assert_eq!(message.mti(), Mti(0x0210));
    for field in [3, 4, 11, 12, 13, 37, 38, 39, 41, 42, 49, 60, 64] {
        assert!(message.has(FieldNo(field)), "field {field}");
    }
    assert_eq!(message.amount().unwrap().unwrap().minor(), 1250);
    assert!(!message.has(FieldNo(2)));
    // The way back: addresses swapped, same header.
    assert_eq!(answer.frame().tpdu.to_bytes(), [0x60, 0, 9, 0, 3]);
}

#[test]
fn a_repeat_is_answered_as_before_and_other_content_is_refused() {
    let acquirer = acquirer();
    let mut terminal = signed_in(&acquirer, 1);
    let trace = terminal.next_trace();
    let first = terminal.ask(&terminal.purchase_frame(trace, 1, 100));
    let again = terminal.ask(&terminal.purchase_frame(trace, 1, 100));
    assert_eq!(first.body, again.body);
    // After a new sign-in the same fields come under the new key.
    let reference = |answer: &Received| answer.message().need::<RetrievalReference>().unwrap();
    terminal.sign_in();
    let third = terminal.ask(&terminal.purchase_frame(trace, 1, 100));
    assert_ne!(first.body, third.body);
    assert_eq!(reference(&first), reference(&third));
    assert!(terminal.verifies(&third));
    let other = terminal.ask(&terminal.purchase_frame(trace, 1, 101));
    assert_eq!(other.code(), ResponseCode::DUPLICATE);
    // Reversed, then reversed again: 00 both times, and the late original is not approved anew.
    for _ in 0..2 {
        assert_eq!(terminal.ask(&terminal.reversal_frame(trace, 100)).code(), ResponseCode::APPROVED);
    }
}

#[test]
fn a_wrong_mac_is_answered_a0_without_a_mac_and_books_nothing() {
    let acquirer = acquirer();
    let mut terminal = signed_in(&acquirer, 1);
    let trace = terminal.next_trace();
    let mut frame = terminal.purchase_frame(trace, 1, 100);
    *frame.last_mut().unwrap() ^= 1;
    let answer = terminal.ask(&frame);
    assert_eq!(answer.code(), ResponseCode::MAC);
    assert!(!answer.message().has(FieldNo(64)));
    assert_eq!(answer.frame().header.unwrap().requirement(), Requirement::SignIn);
    // The same message, right: it is new, so nothing was kept of the wrong one.
    let answer = terminal.ask(&terminal.purchase_frame(trace, 1, 200));
    assert_eq!(answer.code(), ResponseCode::APPROVED);
    // A message without a MAC, and one with the MAC of another terminal.
    let key = terminal.mac.take();
    let none = terminal.ask(&terminal.purchase_frame(Stan(77), 1, 100));
    assert_eq!(none.code(), ResponseCode::MAC);
    let other = signed_in(&acquirer, 2);
    terminal.mac = other.mac;
    assert_eq!(terminal.ask(&terminal.purchase_frame(Stan(78), 1, 100)).code(), ResponseCode::MAC);
    terminal.mac = key;
    assert_eq!(terminal.ask(&terminal.purchase_frame(Stan(79), 1, 100)).code(), ResponseCode::APPROVED);
}

#[test]
fn unknown_terminals_and_those_not_signed_in_are_told_apart() {
    let acquirer = acquirer();
    let mut known = acquirer.terminal(1);
    known.mac = Some(protocol::host_mac::MacKey::Aes(protocol::secret::Secret::new([1; 16])));
    assert_eq!(known.ask(&known.purchase_frame(Stan(1), 1, 100)).code(), ResponseCode::SIGN_IN);
    // Enrolled in the key module, but not registered.
    let mut stranger = acquirer.terminal(9);
    let answer = stranger.ask(&stranger.sign_in_frame(Stan(1)));
    assert_eq!(answer.code(), ResponseCode::UNKNOWN_TERMINAL);
    assert!(!answer.message().has(FieldNo(64)) && !answer.message().has(FieldNo(62)));
    // Neither.
    stranger.id = protocol::ids::TerminalId::from_text("NOBODY").unwrap();
    assert_eq!(stranger.ask(&stranger.sign_in_frame(Stan(2))).code(), ResponseCode::UNKNOWN_TERMINAL);
    stranger.mac = known.mac.clone();
    assert_eq!(
        stranger.ask(&stranger.purchase_frame(Stan(3), 1, 100)).code(),
        ResponseCode::UNKNOWN_TERMINAL
    );
    // Another merchant's name, at sign-in and afterwards.
    known.merchant = tests::acquirer::merchant_id(2);
    assert_eq!(known.ask(&known.sign_in_frame(Stan(4))).code(), ResponseCode::NO_MERCHANT);
    known.merchant = tests::acquirer::merchant_id(1);
    known.sign_in();
    known.merchant = tests::acquirer::merchant_id(2);
    assert_eq!(known.ask(&known.purchase_frame(Stan(5), 1, 100)).code(), ResponseCode::NO_MERCHANT);
}

#[test]
fn a_sign_in_with_a_wrong_mac_changes_nothing_and_an_old_one_cannot_be_played_again() {
    let acquirer = acquirer();
    let mut terminal = acquirer.terminal(1);
    let old = terminal.sign_in_frame(Stan(1));
    let first = terminal.ask(&old);
    terminal.take_keys(&first);
    // The newest once more: the same keys, so that a lost answer is no harm.
    let again = terminal.ask(&old);
    let keys = |answer: &Received| answer.message().need::<KeyField<'_>>().unwrap().0.to_vec();
    assert_eq!(keys(&first), keys(&again));
    terminal.trace = Stan(1);
    terminal.sign_in();
    assert_eq!(terminal.ask(&old).code(), ResponseCode::DUPLICATE);
    let mut forged = terminal.sign_in_frame(Stan(9));
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(terminal.ask(&forged).code(), ResponseCode::MAC);
    // A renewed master key: the old one signs nobody in.
    let renewed = enrol(&*acquirer.keys, 1);
    assert_eq!(terminal.ask(&terminal.sign_in_frame(Stan(10))).code(), ResponseCode::MAC);
    terminal.tmk = renewed;
    terminal.sign_in();
    assert_eq!(terminal.ask(&terminal.purchase_frame(Stan(11), 1, 5)).code(), ResponseCode::APPROVED);
}

#[test]
fn the_sign_in_says_what_was_seen_last_of_a_terminal_whose_numbers_may_have_fallen_back() {
    use protocol::iso8583::typed::Original;
    let acquirer = acquirer();
    let mut terminal = acquirer.terminal(1);
    let newest = |answer: &Received| {
        let told: Option<Original> = answer.message().get().unwrap();
        told.map(|told| (told.batch.0, told.trace.0))
    };
    let first = terminal.sign_in_frame(Stan(1));
    let answer = terminal.ask(&first);
    assert_eq!(newest(&answer), None, "a batch without a message");
    terminal.take_keys(&answer);
    for trace in [5, 700] {
        let paid = terminal.ask(&terminal.purchase_frame(Stan(trace), 1, 100));
        assert_eq!(paid.code(), ResponseCode::APPROVED);
    }
    // The newest sign-in again, as a terminal would make it whose journal is a copy from before: the same keys, and what came since.
    let restored = terminal.ask(&first);
    assert_eq!((restored.code(), newest(&restored)), (ResponseCode::APPROVED, Some((1, 700))));
    let second = terminal.ask(&terminal.sign_in_frame(Stan(800)));
    assert_eq!(newest(&second), Some((1, 700)));
    terminal.take_keys(&second);
    // And an older one: refused, with a MAC, naming the newest.
    let older = terminal.ask(&first);
    assert_eq!((older.code(), newest(&older)), (ResponseCode::DUPLICATE, Some((1, 800))));
    assert!(older.message().has(FieldNo(64)));
}

#[test]
fn the_key_before_is_good_until_the_first_message_under_the_new_one() {
    let acquirer = acquirer();
    let mut terminal = signed_in(&acquirer, 1);
    let old = terminal.mac.clone();
    // Signed in again, but the answer was lost: the terminal goes on with the keys it has.
    let trace = terminal.next_trace();
    let lost = terminal.ask(&terminal.sign_in_frame(trace));
    let trace = terminal.next_trace();
    let answer = terminal.ask(&terminal.purchase_frame(trace, 1, 100));
    assert_eq!(answer.code(), ResponseCode::APPROVED);
    assert!(terminal.verifies(&answer));
    // Now the new keys are used: the old one is over.
    terminal.take_keys(&lost);
    let trace = terminal.next_trace();
    let answer = terminal.ask(&terminal.purchase_frame(trace, 1, 100));
    assert!(terminal.verifies(&answer) && answer.code() == ResponseCode::APPROVED);
    terminal.mac = old;
    let trace = terminal.next_trace();
    assert_eq!(terminal.ask(&terminal.purchase_frame(trace, 1, 100)).code(), ResponseCode::MAC);
}

#[test]
fn after_signing_out_a_terminal_has_to_sign_in() {
    let acquirer = acquirer();
    let mut terminal = signed_in(&acquirer, 1);
    let answer = terminal.ask(&terminal.sign_out_frame(Stan(5)));
    assert_eq!((answer.code(), answer.message().mti()), (ResponseCode::APPROVED, Mti(0x0830)));
    assert!(terminal.verifies(&answer));
    assert_eq!(terminal.ask(&terminal.purchase_frame(Stan(6), 1, 1)).code(), ResponseCode::SIGN_IN);
}

#[test]
fn what_cannot_be_read_is_a_format_error_without_mac_or_ends_the_connection() {
    let acquirer = acquirer();
    let mut terminal = signed_in(&acquirer, 1);
    // A digit that is none in field 4, behind the MAC's back.
    let mut frame = terminal.purchase_frame(Stan(50), 1, 100);
    let amount = frame.windows(6).position(|bytes| bytes == [0, 0, 0, 0, 1, 0]).unwrap();
    frame[amount] = 0xAA;
    let answer = terminal.ask(&frame);
    assert_eq!((answer.code(), answer.trace()), (ResponseCode::FORMAT, Stan(50)));
    assert!(!answer.message().has(FieldNo(64)));
    // A transaction that nobody knows, rightly MACed.
    let batch = Batch::management(terminal.batch, ManagementCode(999));
    let (id, merchant) = (terminal.id, terminal.merchant);
    let unknown = terminal.frame(Mti(0x0600), terminal.mac.as_ref(), &|builder| {
        builder.put(&Stan(51))?.put(&id)?.put(&merchant)?.put(&batch)?;
        Ok(())
    });
    let answer = terminal.ask(&unknown);
    assert_eq!(answer.code(), ResponseCode::INVALID);
    assert!(terminal.verifies(&answer));
    // An answer where a request belongs.
    let reply = terminal.frame(Mti(0x0210), None, &|builder| {
        builder.put(&Stan(52))?.put(&id)?;
        Ok(())
    });
    terminal.send(&reply).unwrap();
    assert!(is_closed(terminal.stream()));
}

#[test]
fn garbage_ends_its_own_connection_and_nobody_elses() {
    let acquirer = acquirer();
    let mut good = signed_in(&acquirer, 1);
    let garbage: [&[u8]; 6] = [
        &[0xFF, 0xFF, 1, 2, 3],
        &[0x00, 0x01, 0x60],
        &[
            0x00, 0x20, 0x99, 0, 0, 0, 0, 0x60, 0x31, 0, 0, 0, 0, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3,
            4, 5, 6, 7, 8, 9, 0,
        ],
        b"GET / HTTP/1.1\r\nHost: example\r\n\r\n",
        &[0x00, 0x15, 0x60, 0, 3, 0, 9, 0x6F, 0x31, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x00, 0x15, 0x60, 0, 3, 0, 9, 0x60, 0x31, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    for bytes in garbage {
        let mut bad = TcpStream::connect(acquirer.address).unwrap();
        bad.write_all(bytes).unwrap();
        assert!(is_closed(&mut bad), "{bytes:02X?}");
        let trace = good.next_trace();
        assert_eq!(good.ask(&good.echo_frame(trace)).code(), ResponseCode::APPROVED);
    }
    assert_eq!(acquirer.server().access().stats().offended.load(std::sync::atomic::Ordering::Relaxed), 6);
}

#[test]
fn silence_and_dripped_frames_are_cut_off_while_work_goes_on() {
    let limits =
        Limits { idle: Duration::from_millis(400), frame: Duration::from_millis(400), ..Limits::default() };
    let acquirer = Acquirer::over(MemoryStore::new(), 1, 1, limits);
    let mut busy = signed_in(&acquirer, 1);
    let mut silent = TcpStream::connect(acquirer.address).unwrap();
    let mut dripping = TcpStream::connect(acquirer.address).unwrap();
    let frame = busy.echo_frame(Stan(1));
    let start = Instant::now();
    let mut sent = 0;
    let mut dripped_out = None;
    while start.elapsed() < Duration::from_millis(1500) {
        // One byte at a time never makes a frame a whole one in time; the last byte is never sent.
        if sent + 1 < frame.len() && dripping.write_all(&frame[sent..=sent]).is_ok() {
            sent += 1;
        }
        dripping.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        if matches!(dripping.read(&mut [0; 1]), Ok(0)) {
            dripped_out = dripped_out.or(Some(start.elapsed()));
        }
        let trace = busy.next_trace();
        assert_eq!(busy.ask(&busy.echo_frame(trace)).code(), ResponseCode::APPROVED);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(is_closed(&mut silent));
    assert!(dripped_out.is_some_and(|at| at < Duration::from_millis(1200)), "{dripped_out:?}");
}

#[test]
fn one_connection_above_the_limit_is_closed_and_the_others_stay() {
    let acquirer = Acquirer::over(MemoryStore::new(), 1, 1, Limits { connections: 2, ..Limits::default() });
    let mut first = acquirer.terminal(1);
    let mut second = TcpStream::connect(acquirer.address).unwrap();
    let echo = first.echo_frame(Stan(1));
    first.ask(&echo);
    second.write_all(&echo).unwrap();
    assert!(second.read(&mut [0; 2]).unwrap() > 0);
    let mut third = TcpStream::connect(acquirer.address).unwrap();
    assert!(is_closed(&mut third));
    assert_eq!(first.ask(&echo).code(), ResponseCode::APPROVED);
    drop(second);
    // Its place is free again.
    let free = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let mut next = TcpStream::connect(acquirer.address).unwrap();
        next.set_read_timeout(Some(ANSWER_WAIT)).unwrap();
        next.write_all(&echo).is_ok() && next.read(&mut [0; 2]).is_ok_and(|n| n > 0)
    });
    assert!(free);
}

#[test]
fn ten_thousand_pipelined_requests_are_answered_and_matched() {
    let acquirer = acquirer();
    let mut terminal = signed_in(&acquirer, 1);
    let frames: Vec<(Stan, Vec<u8>)> = (0..10_000)
        .map(|_| {
            let trace = terminal.next_trace();
            (trace, terminal.purchase_frame(trace, 1 + trace.0 % 3, u64::from(trace.0)))
        })
        .collect();
    let mut writer = terminal.stream().try_clone().unwrap();
    let bytes: Vec<u8> = frames.iter().flat_map(|(_, frame)| frame.clone()).collect();
    let sending = std::thread::spawn(move || {
        // In pieces of every size, so that frames are cut anywhere.
        let mut rest = bytes.as_slice();
        let mut size = 1;
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(size.min(rest.len()));
            writer.write_all(piece).unwrap();
            rest = tail;
            size = size % 4999 + 37;
        }
    });
    let mut answered = HashMap::new();
    for _ in 0..frames.len() {
        let answer = terminal.receive().unwrap();
        let message: Message<'_> = answer.message();
        let amount = message.amount().unwrap().unwrap().minor();
        assert_eq!(amount, u64::from(answer.trace().0));
        assert!(terminal.verifies(&answer));
        assert!(answered.insert(answer.trace(), answer.code()).is_none());
    }
    sending.join().unwrap();
    assert_eq!(answered.len(), 10_000);
    assert!(answered.values().all(|code| [ResponseCode::APPROVED, ResponseCode::FUNDS].contains(code)));
    assert!(answered.values().any(|code| *code == ResponseCode::FUNDS));
}

#[test]
fn a_terminal_that_takes_no_answers_stops_itself_and_then_is_cut_off() {
    let limits = Limits { write: Duration::from_millis(500), ..Limits::default() };
    let acquirer = Acquirer::over(MemoryStore::new(), 2, 1, limits);
    let mut greedy = acquirer.terminal(1);
    let echo = greedy.echo_frame(Stan(1)).repeat(100);
    greedy.stream().set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    // It never reads: its window fills, then the gateway's patience ends.
    let failed = (0..100_000).any(|_| greedy.send(&echo).is_err());
    assert!(failed);
    let mut other = signed_in(&acquirer, 2);
    assert_eq!(other.ask(&other.purchase_frame(Stan(7), 1, 1)).code(), ResponseCode::APPROVED);
}

#[test]
fn a_lost_connection_costs_nothing_the_repeat_is_answered_as_before() {
    let acquirer = acquirer();
    let mut terminal = signed_in(&acquirer, 1);
    let frame = terminal.purchase_frame(Stan(42), 1, 700);
    terminal.send(&frame).unwrap();
    terminal.stream().shutdown(Shutdown::Both).unwrap();
    terminal.reconnect().unwrap();
    let first = terminal.ask(&frame);
    let second = terminal.ask(&frame);
    assert_eq!(first.code(), ResponseCode::APPROVED);
    assert_eq!(first.body, second.body);
    // A half-closed connection still gets its answers.
    terminal.send(&terminal.purchase_frame(Stan(43), 1, 700)).unwrap();
    terminal.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(terminal.receive().unwrap().code(), ResponseCode::APPROVED);
    assert!(is_closed(terminal.stream()));
}

#[test]
fn a_stop_lets_every_answer_leave_and_takes_nothing_more() {
    let mut acquirer = acquirer();
    let mut terminal = signed_in(&acquirer, 1);
    let mut idle = TcpStream::connect(acquirer.address).unwrap();
    let frames: Vec<u8> = (0..50).flat_map(|n| terminal.purchase_frame(Stan(100 + n), 1, 1)).collect();
    terminal.send(&frames).unwrap();
    let first = terminal.receive().unwrap();
    assert_eq!(first.code(), ResponseCode::APPROVED);
    acquirer.stop();
    // What was accepted is answered in whole frames; then the connection ends.
    let mut answers = 1;
    while let Ok(answer) = terminal.receive() {
        assert_eq!(answer.code(), ResponseCode::APPROVED);
        answers += 1;
    }
    assert!((1..=50).contains(&answers));
    assert!(is_closed(&mut idle));
    assert!(TcpStream::connect(acquirer.address).is_err());
}

#[test]
fn the_sign_in_says_which_batch_to_use_and_settlement_closes_it_once() {
    use protocol::iso8583::typed::{Balance, SettlementTotals, Sum, Totals};
    let acquirer = acquirer();
    let mut terminal = acquirer.terminal(1);
    terminal.batch = BatchNo(500);
    terminal.sign_in();
    assert_eq!(terminal.batch, BatchNo(1));
    for minor in [100, 250] {
        let trace = terminal.next_trace();
        assert_eq!(terminal.ask(&terminal.purchase_frame(trace, 1, minor)).code(), ResponseCode::APPROVED);
    }
    let settle = |terminal: &TestTerminal, trace: u32, minor: u64| {
        let batch = Batch::management(terminal.batch, ManagementCode::SETTLEMENT);
        let domestic = Totals { debit: Sum { minor, count: 2 }, ..Totals::default() };
        let totals =
            SettlementTotals { domestic, foreign: Totals::default(), loads: Some(Totals::default()) };
        terminal.frame(Mti::SETTLEMENT, terminal.mac.as_ref(), &|builder| {
            builder
                .put(&Stan(trace))?
                .put(&terminal.id)?
                .put(&terminal.merchant)?
                .put(&totals)?
                .put(&tests::acquirer::CURRENCY)?
                .put(&batch)?;
            Ok(())
        })
    };
    let answer = terminal.ask(&settle(&terminal, 900, 351));
    assert_eq!(answer.code(), code("95"));
    let totals: SettlementTotals = answer.message().need().unwrap();
    assert_eq!(totals.domestic.debit, Sum { minor: 350, count: 2 });
    assert_eq!(totals.domestic.balance, Balance::NotBalanced);
    assert_eq!(totals.loads.unwrap().balance, Balance::Balanced);
    assert!(terminal.verifies(&answer));
    let answer = terminal.ask(&settle(&terminal, 901, 350));
    assert_eq!(answer.code(), ResponseCode::APPROVED);
    let again = terminal.ask(&settle(&terminal, 901, 350));
    assert_eq!(again.body, answer.body);
    terminal.sign_in();
    assert_eq!(terminal.batch, BatchNo(2));
}
