//! The session against a host that is written here from `protocol` alone: it checks every MAC and answers as `posp.md` says.

use super::*;
use crate::record::CardId;
use protocol::ids::{Asn, IssuerId, KeyIndex, KeyVersion, OnlineCounter, SamTerminal};
use protocol::iso8583::frame::{MAX_FRAME, write};
use protocol::iso8583::typed::{AmountMinor, Batch, Original, ProcessingCode, PurseField};
use protocol::iso8583::{AES, Builder, FieldNo, Frame, FrameError, HeaderRule, Message, Mti};
use protocol::money::CardAmount;
use protocol::purse::{CardRandom, PurseMac, Suite};
use protocol::time::Wall;
use std::vec;

const TMK: [u8; 16] = [0x11; 16];
const BATCH: BatchNo = BatchNo(7);

fn now(ms: u64) -> Now {
    Now { mono: Mono(0).plus_ms(ms), wall: Wall(1_795_305_599_000), utc_offset_min: 480 }
}

fn config() -> HostConfig {
    HostConfig {
        terminal: TerminalId::from_text("T0000001").unwrap(),
        merchant: MerchantId::from_text("M00000000000001").unwrap(),
        currency: Currency::CNY,
        tpdu: Tpdu { destination: [0, 3], source: [0, 0] },
        header: Header::CHIP,
        reply_ms: 15_000,
    }
}

fn intent(trace: u32) -> LoadIntent {
    LoadIntent {
        card: CardId { issuer: IssuerId(*b"TAPL\0\0\x01\x56"), asn: Asn([1; 10]) },
        currency: Currency::CNY,
        algorithm: Suite::Aes.algorithm(),
        key_index: KeyIndex(1),
        key_version: KeyVersion(1),
        random: CardRandom::from8([7; 8]),
        counter: OnlineCounter(4),
        balance_before: CardAmount(500),
        amount: CardAmount(10_000),
        terminal: SamTerminal([0, 0, 0, 0, 0, 0x17]),
        mac1: PurseMac::from8([0xA1; 8]),
        numbers: HostNumbers { batch: BATCH, trace: Stan(trace) },
        moment: Moment::from_bytes([0x20, 0x26, 0x11, 0x22, 0x08, 0x00, 0x01]),
    }
}

/// The other end of the line.
struct Host {
    mac: [u8; 16],
    sign_ins: u32,
    /// The newest trace number that it has seen, told with a sign-in.
    newest: Option<Stan>,
    /// It names what it decided.
    names: bool,
}

impl Host {
    const fn new() -> Self {
        Self { mac: [0x22; 16], sign_ins: 0, newest: None, names: true }
    }

    /// Answers one frame as a host that says yes; `code` replaces the 00.
    fn answer(&mut self, frame: &[u8], code: ResponseCode, with_mac: bool) -> Vec<u8> {
        let (body, rest) = split(frame).unwrap().unwrap();
        assert!(rest.is_empty());
        let frame = Frame::parse(body, HeaderRule::Present).unwrap();
        let message = Message::parse(&AES, frame.message).unwrap();
        let sign_in = message.mti() == Mti::MANAGEMENT;
        let key = if sign_in { sign_in_key(&Secret::new(TMK)) } else { MacKey::Aes(Secret::new(self.mac)) };
        let (input, mac) = message.mac().expect("every message carries a MAC");
        assert!(key.verifies(input, &mac), "{:?}", message.mti());
        let mut out = vec![0; MAX_FRAME + 2];
        let length = write(&mut out, frame.tpdu.reply(), frame.header, |body| {
            let mut reply = Builder::new(&AES, message.mti().reply(), body).unwrap();
            reply.put_some(message.get::<ProcessingCode>().unwrap().as_ref()).unwrap();
            reply.put_some(message.get::<AmountMinor>().unwrap().as_ref()).unwrap();
            reply.put(&message.need::<Stan>().unwrap()).unwrap();
            let reference = RetrievalReference::from_bytes(*b"000000000042").unwrap();
            reply.put_some(self.names.then_some(&reference)).unwrap();
            reply.put(&code).unwrap();
            reply.put(&message.need::<TerminalId>().unwrap()).unwrap();
            reply.put(&message.need::<MerchantId>().unwrap()).unwrap();
            self.purse(&message, &mut reply);
            let batch = message.need::<Batch>().unwrap();
            reply.put(&Batch { batch: BATCH, ..batch }).unwrap();
            if let Some(newest) = self.newest.filter(|_| sign_in) {
                reply.put(&Original::new(BATCH, newest, None)).unwrap();
            }
            if sign_in && code.is_approved() {
                self.sign_ins += 1;
                self.keys(&mut reply);
            }
            if !with_mac {
                return Ok::<_, FrameError>(reply.finish().unwrap());
            }
            let unsigned = reply.ready_for_mac().unwrap();
            let mac = key.mac(unsigned.input());
            Ok(unsigned.finish(mac).unwrap())
        });
        out.truncate(length.unwrap());
        out
    }

    fn purse(&self, message: &Message<'_>, reply: &mut Builder<'_>) {
        let Some(field) = message.get::<PurseField<'_>>().unwrap() else { return };
        let mut purse = [0; 200];
        let n = match field.tag() {
            Some(tag) if tag == *b"RQ" => {
                let moment = Moment::from_bytes([0x20, 0x26, 0x11, 0x22, 0x08, 0x00, 0x02]);
                let consent = LoadAnswer {
                    algorithm: Suite::Aes.algorithm(),
                    moment,
                    mac2: PurseMac::from8([0xB2; 8]),
                };
                consent.encode(&mut purse).unwrap()
            }
            _ => return,
        };
        reply.put(&PurseField(&purse[..n])).unwrap();
    }

    fn keys(&self, reply: &mut Builder<'_>) {
        let keys = AesWorkingKeys {
            mac: Secret::new(self.mac),
            pin: Secret::new([3; 16]),
            data: Secret::new([4; 16]),
        };
        let mut field = [0; protocol::working_keys::AES_FIELD_BYTES];
        let padding = [[9; protocol::working_keys::PADDING_BYTES]; 3];
        let n = keys.seal(&AesKey::Aes128(Secret::new(TMK)), &padding, &mut field).unwrap();
        reply.bytes(FieldNo(62), &field[..n]).unwrap();
    }
}

fn session() -> HostSession {
    HostSession::new(config(), Secret::new(TMK), BatchNo(1), Stan(0), Stan(50), 42)
}

fn sent(session: &mut HostSession) -> Vec<u8> {
    match session.poll() {
        Some(Output::Send(frame)) => frame,
        other => panic!("nothing sent: {other:?}"),
    }
}

/// Connected and signed in.
fn ready(host: &mut Host) -> HostSession {
    let mut session = session();
    let ticket = session.ask(Ask::Records(Vec::new()), now(0));
    assert_eq!(session.poll(), Some(Output::Connect));
    session.handle(Input::Connected, now(0));
    let sign_in = sent(&mut session);
    session.handle(Input::Received(&host.answer(&sign_in, ResponseCode::APPROVED, true)), now(1));
    assert_eq!(session.poll(), Some(Output::Batch(BATCH)), "the host says which batch is open");
    let first = sent(&mut session);
    session.handle(Input::Received(&host.answer(&first, ResponseCode::APPROVED, true)), now(2));
    assert!(matches!(session.poll(), Some(Output::Answered(t, _)) if t == ticket));
    session
}

#[test]
fn the_first_request_connects_signs_in_and_is_answered() {
    let mut host = Host::new();
    let mut session = ready(&mut host);
    assert!(session.is_signed_in());
    let ticket = session.ask(Ask::Load(intent(40)), now(3));
    let frame = sent(&mut session);
    session.handle(Input::Received(&host.answer(&frame, ResponseCode::APPROVED, true)), now(4));
    let Some(Output::Answered(answered, reply)) = session.poll() else { panic!() };
    assert_eq!(answered, ticket);
    assert_eq!(reply.consent.unwrap().mac2, PurseMac::from8([0xB2; 8]));
    assert_eq!(host.sign_ins, 1);
}

#[test]
fn a_sign_in_that_is_asked_for_is_answered_by_the_sessions_own() {
    let mut host = Host::new();
    let mut session = ready(&mut host);
    let ticket = session.ask(Ask::SignIn, now(3));
    let sign_in = sent(&mut session);
    assert_eq!(session.poll(), None, "one sign-in, not two");
    session.handle(Input::Received(&host.answer(&sign_in, ResponseCode::APPROVED, true)), now(4));
    assert!(
        matches!(session.poll(), Some(Output::Answered(t, reply)) if t == ticket && reply.batch == BATCH)
    );
    assert!(session.is_signed_in() && session.poll().is_none());
    assert_eq!(host.sign_ins, 2);

    let refused = session.ask(Ask::SignIn, now(5));
    let sign_in = sent(&mut session);
    session.handle(Input::Received(&host.answer(&sign_in, ResponseCode::UNKNOWN_TERMINAL, false)), now(6));
    let why = NoReply::Refused(ResponseCode::UNKNOWN_TERMINAL);
    assert_eq!(session.poll(), Some(Output::Unanswered(refused, why)));
}

#[test]
fn answers_find_their_requests_in_any_order_and_in_any_pieces() {
    let mut host = Host::new();
    let mut session = ready(&mut host);
    let tickets: Vec<Ticket> = (0..5).map(|n| session.ask(Ask::Load(intent(30 + n)), now(5))).collect();
    let frames: Vec<Vec<u8>> = tickets.iter().map(|_| sent(&mut session)).collect();
    let answers: Vec<u8> =
        frames.iter().rev().flat_map(|frame| host.answer(frame, ResponseCode::APPROVED, true)).collect();
    for byte in answers {
        session.handle(Input::Received(&[byte]), now(6));
    }
    for ticket in tickets.iter().rev() {
        assert!(matches!(session.poll(), Some(Output::Answered(t, _)) if t == *ticket));
    }
    assert_eq!(session.poll(), None);
}

#[test]
fn a_request_whose_mac_was_not_taken_is_sent_again_after_a_new_sign_in_once() {
    let mut host = Host::new();
    let mut session = ready(&mut host);
    let ticket = session.ask(Ask::Load(intent(40)), now(3));
    let frame = sent(&mut session);
    session.handle(Input::Received(&host.answer(&frame, ResponseCode::MAC, false)), now(4));
    host.mac = [0x33; 16];
    let sign_in = sent(&mut session);
    session.handle(Input::Received(&host.answer(&sign_in, ResponseCode::APPROVED, true)), now(5));
    let again = sent(&mut session);
    assert_ne!(frame, again, "the same message under the new key");
    session.handle(Input::Received(&host.answer(&again, ResponseCode::MAC, false)), now(6));
    assert_eq!(session.poll(), Some(Output::Unanswered(ticket, NoReply::Refused(ResponseCode::MAC))));
}

#[test]
fn an_answer_without_a_right_mac_changes_nothing() {
    let mut host = Host::new();
    let mut session = ready(&mut host);
    let ticket = session.ask(Ask::Load(intent(40)), now(3));
    let frame = sent(&mut session);
    let mut forged = host.answer(&frame, ResponseCode::APPROVED, true);
    *forged.last_mut().unwrap() ^= 1;
    session.handle(Input::Received(&forged), now(4));
    assert_eq!(session.poll(), None);
    session.handle(Input::Received(&host.answer(&frame, ResponseCode::APPROVED, false)), now(5));
    assert_eq!(session.poll(), Some(Output::Unanswered(ticket, NoReply::Refused(ResponseCode::APPROVED))));
}

#[test]
fn silence_a_broken_line_and_no_line_each_end_a_request_with_its_reason() {
    let mut host = Host::new();
    let mut session = ready(&mut host);
    let silent = session.ask(Ask::Load(intent(40)), now(3));
    sent(&mut session);
    session.tick(now(15_003));
    assert_eq!(session.poll(), Some(Output::Unanswered(silent, NoReply::Timeout)));

    let broken = session.ask(Ask::Load(intent(41)), now(16_000));
    sent(&mut session);
    session.handle(Input::Disconnected, now(16_001));
    assert_eq!(session.poll(), Some(Output::Unanswered(broken, NoReply::Broken)));

    let nowhere = session.ask(Ask::Load(intent(42)), now(16_002));
    session.tick(now(40_000));
    assert_eq!(session.poll(), Some(Output::Unanswered(nowhere, NoReply::Unreachable)));
}

#[test]
fn reconnection_backs_off_with_jitter_and_within_its_bounds() {
    let mut session = session();
    let mut waits = Vec::new();
    for _ in 0..12 {
        let Link::Down { retry } = session.link else { panic!() };
        let at = retry.0.div_ceil(1_000_000);
        session.tick(now(at));
        session.ask(Ask::Records(Vec::new()), now(at));
        let connects =
            core::iter::from_fn(|| session.poll()).filter(|output| *output == Output::Connect).count();
        assert_eq!(connects, 1);
        session.handle(Input::Disconnected, now(at));
        let Link::Down { retry } = session.link else { panic!() };
        waits.push(retry.ms_since(Mono(0).plus_ms(at)));
    }
    assert!(waits.windows(2).take(6).all(|pair| pair[1] > pair[0] / 2), "{waits:?}");
    assert!(waits.iter().all(|wait| (BACKOFF_MS_MIN / 2..=BACKOFF_MS_MAX).contains(wait)), "{waits:?}");
    assert!(*waits.last().unwrap() >= BACKOFF_MS_MAX / 2);
}

#[test]
fn traces_run_out_with_an_answer_and_bounds_hold() {
    let mut session = HostSession::new(config(), Secret::new(TMK), BATCH, Stan(0), Stan(1), 1);
    assert_eq!(session.take_numbers().map(|n| n.trace), Some(Stan(1)));
    let ticket = session.ask(Ask::Records(Vec::new()), now(0));
    assert_eq!(session.poll(), Some(Output::Unanswered(ticket, NoReply::NoTrace)));
    session.allow_traces(Stan(500));
    for _ in 0..QUEUED_MAX {
        session.ask(Ask::Records(Vec::new()), now(0));
    }
    let ticket = session.ask(Ask::Records(Vec::new()), now(0));
    assert_eq!(session.poll(), Some(Output::Connect));
    assert_eq!(session.poll(), Some(Output::Unanswered(ticket, NoReply::Busy)));
}

proptest::proptest! {
    #[test]
    fn any_bytes_from_the_line_are_taken_without_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let mut host = Host::new();
        let mut session = ready(&mut host);
        session.ask(Ask::Load(intent(40)), now(3));
        session.handle(Input::Received(&bytes), now(4));
        session.tick(now(60_000));
        while session.poll().is_some() {}
        proptest::prop_assert!(session.outstanding.is_empty());
    }
}

/// The trace number of a frame that was sent.
fn trace_of(frame: &[u8]) -> Stan {
    let (body, _) = split(frame).unwrap().unwrap();
    let frame = Frame::parse(body, HeaderRule::Present).unwrap();
    Message::parse(&AES, frame.message).unwrap().need().unwrap()
}

/// A session whose numbers are `used < n <= used + 50`, its sign-in sent behind a request that waits, and the ticket of that.
fn signing_in(used: u32) -> (HostSession, Ticket, Vec<u8>) {
    let (tmk, last) = (Secret::new(TMK), Stan(used + 50));
    let mut session = HostSession::new(config(), tmk, BATCH, Stan(used), last, 42);
    let ticket = session.ask(Ask::Records(Vec::new()), now(0));
    assert_eq!(session.poll(), Some(Output::Connect));
    session.handle(Input::Connected, now(0));
    let sign_in = sent(&mut session);
    (session, ticket, sign_in)
}

#[test]
fn numbers_that_fell_back_go_on_behind_what_the_host_has_seen() {
    // What the journal says, what the host has seen, and the number that follows; `None`: nothing has fallen back.
    let cases = [
        (0, 812, Some(913)),
        (100, 812, Some(913)),
        (0, 499_999, Some(500_100)),
        (999_000, 300, Some(401)),
        (999_700, 999_850, Some(1)),
        (300, 301, None),
        (300, 300, None),
        (300, 12, None),
        // The host's newest is before the numbers began again at 1.
        (0, 999_990, None),
    ];
    for (used, newest, next) in cases {
        let mut host = Host { newest: Some(Stan(newest)), ..Host::new() };
        let (mut session, _, sign_in) = signing_in(used);
        session.handle(Input::Received(&host.answer(&sign_in, ResponseCode::APPROVED, true)), now(1));
        if let Some(next) = next {
            let stored = session.poll();
            assert_eq!(stored, Some(Output::Traces(Stan(next + 99))), "durable before one of them is used");
        }
        // The request has taken the first number, the sign-in the second.
        let expected = next.unwrap_or(used + 1);
        assert_eq!(
            trace_of(&sent(&mut session)),
            Stan(expected),
            "{used} at the terminal, {newest} at the host"
        );
    }
}

#[test]
fn a_sign_in_under_a_number_that_the_host_has_seen_is_made_again_behind_it() {
    let mut host = Host { newest: Some(Stan(40)), ..Host::new() };
    let (mut session, _, sign_in) = signing_in(0);
    session.handle(Input::Received(&host.answer(&sign_in, ResponseCode::DUPLICATE, true)), now(1));
    assert_eq!(session.poll(), Some(Output::Traces(Stan(240))));
    let again = sent(&mut session);
    assert!(trace_of(&again) > Stan(140), "{:?}", trace_of(&again));
    session.handle(Input::Received(&host.answer(&again, ResponseCode::APPROVED, true)), now(2));
    assert_eq!(trace_of(&sent(&mut session)), Stan(141), "what waited goes with a number of its own");
    assert!(session.is_signed_in());

    // Anybody can say 94 without a MAC: then nothing moves, and a person is told.
    let (mut session, ticket, sign_in) = signing_in(0);
    session.handle(Input::Received(&host.answer(&sign_in, ResponseCode::DUPLICATE, false)), now(1));
    let refused = NoReply::Refused(ResponseCode::DUPLICATE);
    assert_eq!(session.poll(), Some(Output::Unanswered(ticket, refused)));
}

#[test]
fn a_sign_in_under_a_number_of_a_life_that_came_further_is_made_again_behind_its_own() {
    // Restored twice: the host's newest sign-in is behind this number, and an older one had it.
    let mut host = Host { newest: Some(Stan(3)), ..Host::new() };
    let (mut session, ticket, sign_in) = signing_in(10);
    session.handle(Input::Received(&host.answer(&sign_in, ResponseCode::DUPLICATE, true)), now(1));
    let used = trace_of(&sign_in).0;
    assert_eq!(session.poll(), Some(Output::Traces(Stan(used + 200))));
    let mut again = sent(&mut session);
    assert!(trace_of(&again).0 > used + 100, "{:?}", trace_of(&again));
    // Never without an end: a host that has seen every number is told to a person.
    let mut told = None;
    for _ in 0..40 {
        session.handle(Input::Received(&host.answer(&again, ResponseCode::DUPLICATE, true)), now(2));
        match session.poll() {
            Some(Output::Traces(_)) => again = sent(&mut session),
            other => {
                told = other;
                break;
            }
        }
    }
    assert_eq!(told, Some(Output::Unanswered(ticket, NoReply::Refused(ResponseCode::DUPLICATE))));
}

#[test]
fn a_message_whose_number_is_anothers_takes_a_new_one_and_a_load_does_not() {
    let mut host = Host::new();
    let mut session = ready(&mut host);
    host.names = false;
    let ticket = session.ask(Ask::Records(Vec::new()), now(3));
    let first = sent(&mut session);
    session.handle(Input::Received(&host.answer(&first, ResponseCode::DUPLICATE, true)), now(4));
    let second = sent(&mut session);
    assert!(trace_of(&second) > trace_of(&first));
    session.handle(Input::Received(&host.answer(&second, ResponseCode::DUPLICATE, true)), now(5));
    let told = session.poll();
    assert!(
        matches!(&told, Some(Output::Answered(t, it)) if *t == ticket && it.code == ResponseCode::DUPLICATE)
    );

    // A load's number is in the journal: it is not asked for under another.
    let load = session.ask(Ask::Load(intent(40)), now(6));
    let frame = sent(&mut session);
    session.handle(Input::Received(&host.answer(&frame, ResponseCode::DUPLICATE, true)), now(7));
    assert!(matches!(session.poll(), Some(Output::Answered(t, _)) if t == load));
    // What the host decided stays decided.
    host.names = true;
    let decided = session.ask(Ask::Records(Vec::new()), now(8));
    let frame = sent(&mut session);
    session.handle(Input::Received(&host.answer(&frame, ResponseCode::DUPLICATE, true)), now(9));
    assert!(matches!(session.poll(), Some(Output::Answered(t, _)) if t == decided));
}
