//! The session by itself, on a clock that stands where the test puts it.

use super::*;
use crate::switch::Switch;
use keys::SoftKeys;
use protocol::time::Wall;
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;

fn switch() -> Switch {
    let keys = SoftKeys::in_memory(Box::new(|out| {
        out.fill(7);
        Ok(())
    }));
    Switch::new(Arc::new(keys.unwrap()))
}

fn at(seconds: u64) -> Now {
    Now { mono: Mono(seconds * SECOND), wall: Wall(1_795_255_200_000), utc_offset_min: 480 }
}

/// A frame whose message is a type and an empty bitmap: neither trace nor terminal.
fn empty_frame() -> Vec<u8> {
    let mut frame = vec![0, 21, 0x60, 0, 3, 0, 0];
    frame.extend([0x61, 0, 0, 0, 0, 0, 0x08, 0]);
    frame.extend([0; 8]);
    frame
}

#[test]
fn silence_ends_a_session_and_so_does_a_frame_that_drips() {
    let limits = Limits::default();
    let mut session = Session::new(limits, at(0).mono);
    let none = Held::default();
    assert_eq!(session.check_time(at(0).mono, none).unwrap(), at(300).mono);
    assert!(matches!(session.check_time(at(300).mono, none), Err(CloseReason::Idle)));

    let mut session = Session::new(limits, at(0).mono);
    let mut out = Vec::new();
    for byte in 0..5 {
        session.receive(&empty_frame()[byte..=byte], &switch(), &|| at(2), &mut out).unwrap();
        let looked = session.check_time(at(2 + 2 * byte as u64).mono, none);
        assert_eq!(looked.unwrap(), at(12).mono, "a part of a frame is no sign of life");
    }
    assert!(matches!(session.check_time(at(12).mono, none), Err(CloseReason::SlowFrame)));
}

#[test]
fn answers_that_nobody_takes_end_a_session_and_a_slow_writer_does_not() {
    let mut session = Session::new(Limits::default(), at(0).mono);
    let unread = Held { answers: true, questions: false };
    assert_eq!(session.check_time(at(5).mono, unread).unwrap(), at(15).mono);
    assert!(matches!(session.check_time(at(15).mono, unread), Err(CloseReason::SlowReader)));
    let waiting = Held { answers: false, questions: true };
    assert!(session.check_time(at(20).mono, waiting).is_ok());
    assert!(session.check_time(at(20_000).mono, waiting).is_ok());
}

#[test]
fn a_message_that_cannot_be_answered_closes_and_an_end_inside_a_frame_is_told() {
    let mut session = Session::new(Limits::default(), at(0).mono);
    let mut out = Vec::new();
    let judged = session.receive(&empty_frame(), &switch(), &|| at(1), &mut out);
    assert!(matches!(judged, Err(CloseReason::Message(_))), "{judged:?}");
    let mut session = Session::new(Limits::default(), at(0).mono);
    session.receive(&empty_frame()[..5], &switch(), &|| at(1), &mut out).unwrap();
    assert!(session.over(Held::default(), false).is_none());
    session.end_of_input();
    assert!(matches!(session.over(Held::default(), false), Some(CloseReason::CutOff)));
    assert!(matches!(session.over(Held::default(), true), Some(CloseReason::Stopping)));
    assert!(session.over(Held { answers: true, questions: false }, true).is_none(), "answers leave first");
}
