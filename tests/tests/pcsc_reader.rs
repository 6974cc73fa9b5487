//! The PC/SC reader against a real daemon: cards that come, go and are torn, a daemon that dies and comes back, readers
//! that are missing.
#![expect(clippy::unwrap_used, reason = "test code: a failed unwrap is how a test fails")]

use hardware::pcsc::{self, PcscReader, ReaderPattern, ReaderWatch, Sharing};
use hardware::{
    Atr, CardEvent, CardReader, Completing, Exchange, Masking, MemoryCard, Power, ReaderError, Recorder,
    Replayer, SlotState, SystemClock, Trace,
};
use std::time::{Duration, Instant};
use tests::daemon::{Daemon, READER_NAME, VPCD_PORT, isolated};
use tests::virtual_card::VirtualCard;

const ATR: [u8; 5] = [0x3B, 0x80, 0x80, 0x01, 0x01];
const SOON: Duration = Duration::from_secs(10);
const QUIET: Duration = Duration::from_millis(900);
const PING: [u8; 5] = [0x80, 0xCA, 0x00, 0x00, 0x00];
const DIE: [u8; 5] = [0x80, 0xDE, 0xAD, 0x00, 0x00];

/// Answers how many commands it had since power came, and echoes the command's header.
#[derive(Debug, Default)]
struct Responder {
    commands: u8,
    powers: Vec<Power>,
}

impl MemoryCard for Responder {
    fn exchange(&mut self, command: &[u8], answer: &mut [u8]) -> Exchange {
        self.commands += 1;
        if command == DIE {
            return Exchange::Removed;
        }
        answer[..5].copy_from_slice(&[self.commands, command[0], command[1], 0x90, 0x00]);
        Exchange::Answer(5)
    }

    fn power(&mut self, power: Power) {
        self.commands = 0;
        self.powers.push(power);
    }
}

fn card() -> VirtualCard<Responder> {
    VirtualCard::insert(VPCD_PORT, &ATR, Responder::default()).unwrap()
}

fn card_slot() -> PcscReader {
    PcscReader::new(ReaderPattern::like("tapline*00 00"), Sharing::Exclusive)
}

fn ping(reader: &mut impl CardReader) -> Result<u8, ReaderError> {
    let mut answer = [0; 258];
    let length = reader.transmit(&PING, &mut answer)?;
    assert_eq!(answer[1..length], [0x80, 0xCA, 0x90, 0x00]);
    Ok(answer[0])
}

#[test]
fn a_card_comes_answers_is_reset_and_goes() {
    isolated("a_card_comes_answers_is_reset_and_goes", || {
        let _daemon = Daemon::start();
        let mut reader = card_slot();
        assert_eq!(reader.next_event(Duration::from_millis(50)), Err(ReaderError::Timeout));
        assert_eq!(reader.connect(), Err(ReaderError::NoCard));
        let card = card();
        assert_eq!(reader.next_event(SOON), Ok(CardEvent::Inserted));
        assert_eq!(reader.name(), format!("{READER_NAME} 00 00"));
        assert_eq!(reader.connect(), Ok(Atr::new(&ATR).unwrap()));
        assert_eq!(ping(&mut reader), Ok(1));
        assert_eq!(ping(&mut reader), Ok(2));
        assert_eq!(reader.reset(), Ok(Atr::new(&ATR).unwrap()));
        assert_eq!(ping(&mut reader), Ok(1), "a reset loses volatile state");
        assert_eq!(reader.next_event(QUIET), Err(ReaderError::Timeout), "sessions and resets are no events");
        reader.disconnect().unwrap();
        assert_eq!(reader.transmit(&PING, &mut [0; 258]), Err(ReaderError::NotConnected));
        assert_eq!(reader.next_event(QUIET), Err(ReaderError::Timeout), "power down is no event");
        reader.connect().unwrap();
        assert_eq!(ping(&mut reader), Ok(1), "a new session starts with power up");
        let responder = card.remove();
        assert_eq!(reader.next_event(SOON), Ok(CardEvent::Removed));
        assert!(ping(&mut reader).unwrap_err().may_have_run());
        assert!(responder.powers.contains(&Power::Reset));
    });
}

#[test]
fn a_torn_session_is_replaced_by_a_clean_one_at_the_next_tap() {
    isolated("a_torn_session_is_replaced_by_a_clean_one_at_the_next_tap", || {
        let _daemon = Daemon::start();
        let mut reader = card_slot();
        for _ in 0..3 {
            let card = card();
            assert_eq!(reader.wait_for(CardEvent::Inserted, SOON), Ok(()));
            reader.connect().unwrap();
            assert_eq!(ping(&mut reader), Ok(1));
            let error = reader.transmit(&DIE, &mut [0; 258]).unwrap_err();
            assert!(error.may_have_run() && error.ends_session(), "{error:?}");
            assert!(matches!(error, ReaderError::Comm | ReaderError::CardRemoved), "{error:?}");
            drop(card);
            assert_eq!(reader.wait_for(CardEvent::Removed, SOON), Ok(()));
        }
    });
}

#[test]
fn a_card_swapped_between_two_waits_is_seen_as_gone_and_come() {
    isolated("a_card_swapped_between_two_waits_is_seen_as_gone_and_come", || {
        let _daemon = Daemon::start();
        let mut reader = card_slot();
        let first = card();
        reader.wait_for(CardEvent::Inserted, SOON).unwrap();
        let mut observer = card_slot();
        observer.wait_for(CardEvent::Inserted, SOON).unwrap();
        drop(first);
        observer.wait_for(CardEvent::Removed, SOON).unwrap();
        let _second = card();
        observer.wait_for(CardEvent::Inserted, SOON).unwrap();
        assert_eq!(reader.next_event(SOON), Ok(CardEvent::Removed));
        assert_eq!(reader.next_event(SOON), Ok(CardEvent::Inserted));
        assert_eq!(reader.next_event(Duration::from_millis(50)), Err(ReaderError::Timeout));
    });
}

#[test]
fn another_thread_ends_a_wait_at_once() {
    isolated("another_thread_ends_a_wait_at_once", || {
        let _daemon = Daemon::start();
        let mut reader = card_slot();
        assert_eq!(reader.next_event(Duration::ZERO), Err(ReaderError::Timeout));
        for pause_us in [0, 10, 100, 1_000, 50_000] {
            let canceller = reader.canceller();
            let thread = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_micros(pause_us));
                canceller.cancel();
            });
            let started = Instant::now();
            assert_eq!(reader.next_event(Duration::from_secs(30)), Err(ReaderError::Cancelled));
            assert!(started.elapsed() < Duration::from_secs(5));
            thread.join().unwrap();
        }
        let _card = card();
        assert_eq!(
            reader.next_event(SOON),
            Ok(CardEvent::Inserted),
            "the reader goes on after a cancellation"
        );
    });
}

#[test]
fn a_daemon_that_dies_and_comes_back_is_found_again() {
    isolated("a_daemon_that_dies_and_comes_back_is_found_again", || {
        let mut daemon = Daemon::start();
        let mut reader = card_slot();
        let first = card();
        reader.wait_for(CardEvent::Inserted, SOON).unwrap();
        reader.connect().unwrap();
        assert_eq!(ping(&mut reader), Ok(1));
        daemon.kill();
        let error = reader.transmit(&PING, &mut [0; 258]).unwrap_err();
        assert_eq!(error, ReaderError::NoDaemon);
        assert!(error.may_have_run());
        assert_eq!(reader.next_event(SOON), Err(ReaderError::NoDaemon));
        assert_eq!(reader.connect(), Err(ReaderError::NoDaemon));
        assert_eq!(pcsc::list(), Err(ReaderError::NoDaemon));
        drop(first);
        daemon.restart();
        let _card = card();
        assert_eq!(reader.wait_for(CardEvent::Inserted, SOON), Ok(()));
        reader.connect().unwrap();
        assert_eq!(ping(&mut reader), Ok(1));
    });
}

#[test]
fn a_wait_ends_when_the_daemon_dies_under_it() {
    isolated("a_wait_ends_when_the_daemon_dies_under_it", || {
        let mut daemon = Daemon::start();
        let mut reader = card_slot();
        assert_eq!(reader.next_event(Duration::ZERO), Err(ReaderError::Timeout));
        let waiting = std::thread::spawn(move || (reader.next_event(Duration::from_secs(30)), reader));
        std::thread::sleep(Duration::from_millis(200));
        let started = Instant::now();
        daemon.kill();
        let (outcome, mut reader) = waiting.join().unwrap();
        assert_eq!(outcome, Err(ReaderError::NoDaemon));
        assert!(started.elapsed() < Duration::from_secs(5));
        daemon.restart();
        let _card = card();
        assert_eq!(reader.wait_for(CardEvent::Inserted, SOON), Ok(()));
    });
}

#[test]
fn a_restart_that_nobody_noticed_costs_the_session_and_nothing_else() {
    isolated("a_restart_that_nobody_noticed_costs_the_session_and_nothing_else", || {
        let mut daemon = Daemon::start();
        let mut reader = card_slot();
        let first = card();
        reader.wait_for(CardEvent::Inserted, SOON).unwrap();
        reader.connect().unwrap();
        drop(first);
        daemon.restart();
        let _card = card();
        let error = ping(&mut reader).unwrap_err();
        assert!(error.may_have_run() && error.ends_session(), "{error:?}");
        assert_eq!(reader.next_event(SOON), Ok(CardEvent::Removed));
        assert_eq!(reader.next_event(SOON), Ok(CardEvent::Inserted));
        reader.connect().unwrap();
        assert_eq!(ping(&mut reader), Ok(1));
    });
}

#[test]
fn no_reader_is_said_and_a_reader_that_comes_is_found() {
    isolated("no_reader_is_said_and_a_reader_that_comes_is_found", || {
        let mut daemon = Daemon::stopped();
        let mut reader = card_slot();
        assert_eq!(reader.next_event(SOON), Err(ReaderError::NoDaemon));
        daemon.restart();
        assert_eq!(pcsc::list(), Ok(vec![]));
        assert_eq!(reader.next_event(SOON), Err(ReaderError::NoReader), "said once, at once");
        let started = Instant::now();
        assert_eq!(reader.next_event(Duration::from_millis(300)), Err(ReaderError::Timeout), "then waits");
        assert!(started.elapsed() >= Duration::from_millis(250));
        daemon.attach_reader();
        daemon.restart();
        let _card = card();
        let started = Instant::now();
        while reader.next_event(SOON) != Ok(CardEvent::Inserted) {
            assert!(started.elapsed() < SOON);
        }
        reader.connect().unwrap();
        assert_eq!(ping(&mut reader), Ok(1));
    });
}

#[test]
fn a_reader_that_is_gone_is_called_unplugged_and_found_when_it_is_back() {
    isolated("a_reader_that_is_gone_is_called_unplugged_and_found_when_it_is_back", || {
        let mut daemon = Daemon::start();
        let first = card();
        let mut reader = card_slot();
        reader.wait_for(CardEvent::Inserted, SOON).unwrap();
        let mut connecting = card_slot();
        connecting.connect().unwrap();
        connecting.disconnect().unwrap();
        drop(first);
        daemon.detach_reader();
        daemon.restart();
        let unplugged = ReaderError::Unplugged { reader: format!("{READER_NAME} 00 00") };
        assert_eq!(connecting.connect(), Err(unplugged.clone()));
        assert_eq!(connecting.connect(), Err(ReaderError::NoReader), "then it is one of no readers");
        assert_eq!(reader.next_event(SOON), Ok(CardEvent::Removed), "the card went first");
        assert_eq!(reader.next_event(SOON), Err(unplugged));
        assert_eq!(reader.next_event(Duration::from_millis(100)), Err(ReaderError::Timeout));
        daemon.attach_reader();
        daemon.restart();
        let _card = card();
        let started = Instant::now();
        while reader.next_event(SOON) != Ok(CardEvent::Inserted) {
            assert!(started.elapsed() < SOON);
        }
        reader.connect().unwrap();
        assert_eq!(ping(&mut reader), Ok(1));
        assert!(connecting.connect().is_err_and(|error| error == ReaderError::InUse));
    });
}

#[test]
fn a_driver_loop_over_a_missing_daemon_does_not_spin() {
    isolated("a_driver_loop_over_a_missing_daemon_does_not_spin", || {
        let mut reader = card_slot();
        let started = Instant::now();
        let mut turns = 0;
        while started.elapsed() < Duration::from_secs(1) {
            assert_eq!(reader.next_event(SOON), Err(ReaderError::NoDaemon));
            turns += 1;
        }
        assert!(turns <= 6, "{turns} turns in a second");
        let canceller = reader.canceller();
        canceller.cancel();
        assert_eq!(reader.next_event(SOON), Err(ReaderError::Cancelled));
    });
}

#[test]
fn a_t0_card_gives_complete_answers_through_the_real_daemon() {
    isolated("a_t0_card_gives_complete_answers_through_the_real_daemon", || {
        let _daemon = Daemon::start();
        let mut commands = Vec::new();
        let card = move |command: &[u8], answer: &mut [u8]| {
            commands.push(command.to_vec());
            let given: &[u8] = match commands.len() {
                1 => &[0x61, 0x03],
                2 => &[0x6C, 0x02],
                _ => &[commands[0].len() as u8, commands[2][4], 0x90, 0x00],
            };
            answer[..given.len()].copy_from_slice(given);
            Exchange::Answer(given.len())
        };
        let _card = VirtualCard::insert(VPCD_PORT, &[0x3B, 0x00], card).unwrap();
        let mut inner = card_slot();
        inner.wait_for(CardEvent::Inserted, SOON).unwrap();
        let mut reader = Completing::new(inner);
        reader.connect().unwrap();
        let mut answer = [0; 258];
        let select = [0x00, 0xA4, 0x00, 0x00, 0x02, 0x3F, 0x00, 0x00];
        let length = reader.transmit(&select, &mut answer).unwrap();
        // Over T=0 the command goes out without its Le; GET RESPONSE is repeated with the length the card names.
        assert_eq!(answer[..length], [7, 2, 0x90, 0x00]);
    });
}

#[test]
fn a_session_recorded_at_the_real_daemon_plays_back_without_it() {
    isolated("a_session_recorded_at_the_real_daemon_plays_back_without_it", || {
        let session = |reader: &mut dyn CardReader| {
            let mut answer = [0; 258];
            reader.wait_for(CardEvent::Inserted, SOON).unwrap();
            reader.connect().unwrap();
            let mut outcomes = vec![];
            for command in [&PING[..], &[0x00, 0x20, 0x00, 0x01, 0x02, 0x12, 0x34], &DIE, &PING] {
                let outcome = reader.transmit(command, &mut answer);
                outcomes.push(outcome.map(|length| answer[..length].to_vec()));
            }
            reader.disconnect().unwrap();
            reader.wait_for(CardEvent::Removed, SOON).unwrap();
            outcomes
        };
        let daemon = Daemon::start();
        let card = card();
        let mut recorder = Recorder::new(card_slot(), SystemClock::start(), Vec::new(), Masking::On);
        let seen = session(&mut recorder);
        assert!(seen[0].is_ok() && seen[1].is_ok() && seen[2].is_err(), "{seen:?}");
        let (reader, text) = recorder.finish();
        let text = String::from_utf8(text.unwrap()).unwrap();
        drop((reader, card, daemon));
        assert!(text.contains("0020000102XXXX") && !text.contains("1234"), "{text}");
        let mut replayer = Replayer::new(Trace::read(text.as_bytes()).unwrap());
        let played = session(&mut replayer);
        assert_eq!([&played[0], &played[2], &played[3]], [&seen[0], &seen[2], &seen[3]]);
        replayer.finish().unwrap();
    });
}

#[test]
fn slots_are_listed_paired_and_watched() {
    isolated("slots_are_listed_paired_and_watched", || {
        let _daemon = Daemon::start();
        let (mut card_reader, sam_reader) =
            PcscReader::pair(&ReaderPattern::only(), &ReaderPattern::only()).unwrap();
        let mut sam_reader = sam_reader.unwrap();
        let mut watch = ReaderWatch::default();
        let empty = watch.now().unwrap();
        assert_eq!(empty.iter().map(|reader| reader.state).collect::<Vec<_>>(), [SlotState::Empty; 2]);
        assert_eq!(watch.wait_change(Duration::from_millis(300)), Err(ReaderError::Timeout));
        let _sam = VirtualCard::insert(VPCD_PORT + 1, &ATR, Responder::default()).unwrap();
        let changed = watch.wait_change(SOON).unwrap();
        assert_eq!(changed[1].name, format!("{READER_NAME} 00 01"));
        assert_eq!(changed[1].state, SlotState::Present);
        assert_eq!(changed[1].atr, Atr::new(&ATR));
        assert_eq!(card_reader.connect(), Err(ReaderError::NoCard), "the card's slot is empty");
        sam_reader.connect().unwrap();
        assert_eq!(ping(&mut sam_reader), Ok(1));
        let _card = card();
        card_reader.wait_for(CardEvent::Inserted, SOON).unwrap();
        card_reader.connect().unwrap();
        assert_eq!((ping(&mut card_reader), ping(&mut sam_reader)), (Ok(1), Ok(2)), "both slots at once");
        assert_eq!(
            PcscReader::new(ReaderPattern::only(), Sharing::Exclusive).connect().unwrap_err().to_string(),
            format!("several readers fit: \"{READER_NAME} 00 00\", \"{READER_NAME} 00 01\"")
        );
        assert!(matches!(
            PcscReader::new(ReaderPattern::like("OMNIKEY"), Sharing::Exclusive).connect(),
            Err(ReaderError::NoSuchReader { .. })
        ));
    });
}

#[test]
fn an_exclusive_session_keeps_others_out_and_a_shared_one_notices_their_reset() {
    isolated("an_exclusive_session_keeps_others_out_and_a_shared_one_notices_their_reset", || {
        let _daemon = Daemon::start();
        let _card = card();
        let mut exclusive = card_slot();
        exclusive.wait_for(CardEvent::Inserted, SOON).unwrap();
        exclusive.connect().unwrap();
        let mut other = PcscReader::new(ReaderPattern::like("00 00"), Sharing::Shared);
        assert_eq!(other.connect(), Err(ReaderError::InUse));
        exclusive.disconnect().unwrap();

        let mut shared = PcscReader::new(ReaderPattern::like("00 00"), Sharing::Shared);
        shared.connect().unwrap();
        other.connect().unwrap();
        assert_eq!(ping(&mut other), Ok(1));
        shared.reset().unwrap();
        assert_eq!(ping(&mut other), Err(ReaderError::CardReset));
        other.connect().unwrap();
        assert!(ping(&mut other).is_ok());
    });
}

#[test]
fn an_answer_that_does_not_fit_is_an_error_and_the_session_goes_on() {
    isolated("an_answer_that_does_not_fit_is_an_error_and_the_session_goes_on", || {
        let _daemon = Daemon::start();
        let _card = card();
        let mut reader = card_slot();
        reader.wait_for(CardEvent::Inserted, SOON).unwrap();
        reader.connect().unwrap();
        assert_eq!(reader.transmit(&PING, &mut [0; 4]), Err(ReaderError::AnswerTooLong { room: 4 }));
        assert_eq!(ping(&mut reader), Ok(2), "the command did run");
    });
}
