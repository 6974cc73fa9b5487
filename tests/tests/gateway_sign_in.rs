//! Who gets working keys: a sign-in is judged by the switch when it comes, and once more when the backend has said where the terminal belongs. In
//! between others may have come; the tests here have the backend answer when they say so.
#![cfg(test)]

use backend::api::{Report, TerminalReport};
use keys::{KeyError, KeyModule, SoftKeys};
use posp_gateway::switch::{ANSWER_MAX, Ask, Question, Switch, Verdict};
use protocol::ids::{BatchNo, Stan};
use protocol::iso8583::typed::{KeyField, Original, ResponseCode};
use protocol::iso8583::{Frame, HeaderRule};
use protocol::signin::sign_in_key;
use std::net::TcpListener;
use std::sync::Arc;
use tests::acquirer::{ACQUIRER, Received, TestTerminal, clock, enrol};

/// A frame as the switch takes it from a connection; its own answer, or what it asks.
fn judged(switch: &Switch, frame: &[u8]) -> (Vec<u8>, Verdict) {
    let mut out = vec![0; ANSWER_MAX];
    let verdict =
        switch.receive(&Frame::parse(&frame[2..], HeaderRule::Present).unwrap(), &clock().now(), &mut out);
    (out, verdict.unwrap())
}

fn received(out: &[u8], length: usize) -> Received {
    Received { body: out[2..length].to_vec() }
}

/// A sign-in with this trace that waits for the backend.
fn asked(switch: &Switch, terminal: &TestTerminal, trace: u32) -> Box<Ask> {
    let (_, verdict) = judged(switch, &terminal.sign_in_frame(Stan(trace)));
    let Verdict::Ask(ask) = verdict else { panic!("not asked") };
    ask
}

/// The backend has answered to where the terminal belongs.
fn registered(switch: &Switch, terminal: &TestTerminal, ask: &Ask) -> Received {
    let Question::SignIn(pending) = ask.question else { panic!("no sign-in") };
    let report = Report::Terminal(TerminalReport {
        terminal: terminal.id,
        merchant: terminal.merchant,
        merchant_number: backend::accounts::chart::MerchantNumber(1),
        acquirer: ACQUIRER,
        batch: BatchNo(1),
        newest_trace: None,
    });
    let mut out = vec![0; ANSWER_MAX];
    let length = switch.registered(&ask.echo, &pending, &report, &clock().now(), &mut out).unwrap();
    received(&out, length)
}

/// Signs in with this trace, as the switch and the backend do it between them.
fn sign_in(switch: &Switch, terminal: &TestTerminal, trace: u32) -> Received {
    registered(switch, terminal, &asked(switch, terminal, trace))
}

/// A switch that knows one terminal, without a network.
fn switch_alone() -> (Switch, TestTerminal) {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let keys = Arc::new(
        SoftKeys::in_memory(Box::new(|out| getrandom::fill(out).map_err(|_| KeyError::NoEntropy))).unwrap(),
    );
    let terminal = TestTerminal::new(nobody.local_addr().unwrap(), 1, enrol(&*keys, 1));
    (Switch::new(keys as Arc<dyn KeyModule>), terminal)
}

/// Whether the newest sign-in with this trace is named, under the sign-in MAC, and no keys are given.
fn names_newest(terminal: &TestTerminal, answer: &Received, trace: u32) -> bool {
    let newest: Original = answer.message().need().unwrap();
    answer.code() == ResponseCode::DUPLICATE
        && newest.trace == Stan(trace)
        && answer.message().get::<KeyField<'_>>().unwrap().is_none()
        && answer.message().mac().is_some_and(|(input, mac)| sign_in_key(&terminal.tmk).verifies(input, &mac))
}

#[test]
fn a_repeat_of_a_sign_in_that_the_newest_overtook_while_it_waited_renews_no_keys() {
    let (switch, mut terminal) = switch_alone();
    let works = |terminal: &TestTerminal, trace: u32| {
        matches!(judged(&switch, &terminal.purchase_frame(Stan(trace), 1, 100)).1, Verdict::Ask(_))
    };
    // The answer to 1 is lost, and 1 is sent again; while the repeat waits for the backend the terminal has signed in anew.
    sign_in(&switch, &terminal, 1);
    let repeat = asked(&switch, &terminal, 1);
    terminal.take_keys(&sign_in(&switch, &terminal, 2));
    assert!(works(&terminal, 10));
    assert!(names_newest(&terminal, &registered(&switch, &terminal, &repeat), 2));
    assert!(works(&terminal, 11), "the repeat took the terminal's keys away");
    // One that was received before the newest and waited longer is the older one, although it was never seen.
    let (slow, quick) = (asked(&switch, &terminal, 3), asked(&switch, &terminal, 4));
    terminal.take_keys(&registered(&switch, &terminal, &quick));
    assert!(names_newest(&terminal, &registered(&switch, &terminal, &slow), 4));
    // In their order both get keys.
    let (first, second) = (asked(&switch, &terminal, 5), asked(&switch, &terminal, 6));
    assert_eq!(registered(&switch, &terminal, &first).code(), ResponseCode::APPROVED);
    terminal.take_keys(&registered(&switch, &terminal, &second));
    assert!(works(&terminal, 12));
}

#[test]
fn the_newest_sign_in_sent_again_gets_its_own_keys_until_the_terminal_has_signed_out() {
    let (switch, mut terminal) = switch_alone();
    let keys = |answer: &Received| answer.message().need::<KeyField<'_>>().map(|field| field.0.to_vec());
    let (first, again) = (asked(&switch, &terminal, 1), asked(&switch, &terminal, 1));
    let lost = registered(&switch, &terminal, &first);
    // Both the repeat that waited meanwhile and a later one find the answer that was lost.
    let repeat = registered(&switch, &terminal, &again);
    assert_eq!(keys(&repeat).unwrap(), keys(&lost).unwrap());
    assert_eq!(keys(&sign_in(&switch, &terminal, 1)).unwrap(), keys(&lost).unwrap());
    terminal.take_keys(&repeat);
    let late = asked(&switch, &terminal, 1);
    assert!(matches!(judged(&switch, &terminal.sign_out_frame(Stan(2))).1, Verdict::Answered(_)));
    assert!(names_newest(&terminal, &registered(&switch, &terminal, &late), 1));
    let (answer, verdict) = judged(&switch, &terminal.purchase_frame(Stan(3), 1, 100));
    let Verdict::Answered(length) = verdict else { panic!("a repeat signed the terminal in") };
    assert_eq!(received(&answer, length).code(), ResponseCode::SIGN_IN);
}

#[test]
fn an_answer_is_sealed_with_the_keys_its_request_came_under_though_a_delayed_sign_in_came_in_between() {
    let (switch, mut terminal) = switch_alone();
    terminal.take_keys(&sign_in(&switch, &terminal, 2));
    let answered = |trace: u32, between: &dyn Fn()| {
        let (mut out, verdict) = judged(&switch, &terminal.purchase_frame(Stan(trace), 1, 100));
        let Verdict::Ask(ask) = verdict else { panic!("not asked") };
        // The writer takes its time.
        between();
        let length = switch.failed(&ask.echo, &clock().now(), &mut out);
        length.map(|length| received(&out, length))
    };
    assert!(terminal.verifies(&answered(3, &|| ()).unwrap()));
    // One that the terminal gave up arrives late: it had an older trace, on another connection.
    let delayed = |trace| drop(sign_in(&switch, &terminal, trace));
    assert!(terminal.verifies(&answered(4, &|| delayed(1)).unwrap()), "in between");
    assert!(
        terminal.verifies(&answered(5, &|| ()).unwrap()),
        "afterwards, while the keys before are still taken"
    );
    // With two in between nobody has its keys any more: better no answer than one that it cannot trust.
    assert!(answered(6, &|| (delayed(7), delayed(8)).0).is_err());
}
