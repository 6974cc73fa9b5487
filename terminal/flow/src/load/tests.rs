//! The load against scripted answers of card and host: the order of its states, and every way it can be interrupted.

use super::*;
use crate::machine::Order;
use crate::profile::IssuerProfile;
use crate::record::ENTRY_BYTES_MAX;
use protocol::ids::{Asn, BatchNo, IssuerId, KeyIndex, KeyVersion, OnlineCounter, Stan};
use protocol::iso8583::typed::RetrievalReference;
use protocol::money::Currency;
use protocol::purse::file::{Fci, PublicData};
use protocol::purse::{AID_SUITE_10, CardRandom, PurseMac, Suite};
use protocol::time::{CardDate, Wall};
use std::vec::Vec;

const OK: [u8; 2] = [0x90, 0x00];
const TERMINAL: SamTerminal = SamTerminal([0, 0, 0, 0, 0, 0x17]);
const NO_PROOF: [u8; 2] = [0x94, 0x06];
const NOW: Now = Now { mono: Mono(0), wall: Wall(1_795_305_599_000), utc_offset_min: 480 };
const ISSUER: IssuerId = IssuerId(*b"TAPL\0\0\x01\x56");

fn profile() -> Profile {
    let issuer = IssuerProfile {
        issuer: ISSUER,
        aid: crate::profile::Aid::from_slice(&AID_SUITE_10).unwrap(),
        suite: Suite::Aes,
        key_versions: [KeyVersion(1)].into_iter().collect(),
        key_index: KeyIndex(1),
        upper_factors: heapless::Vec::new(),
        currency: Currency::CNY,
        single_payment_max: CardAmount(100_000),
    };
    Profile { issuers: [issuer].into_iter().collect() }
}

fn fci(serial: u8) -> Vec<u8> {
    let mut asn = [0; 10];
    asn[9] = serial;
    let (start, end) = (CardDate::new(2026, 1, 1).unwrap(), CardDate::new(2036, 12, 31).unwrap());
    let public = PublicData::new(ISSUER, Asn(asn), start, end, [0x55, 0x66]);
    let mut out = [0; 80];
    let n = Fci { name: &AID_SUITE_10, public }.encode(&mut out).unwrap();
    [&out[..n], &OK].concat()
}

fn init(counter: u16) -> Vec<u8> {
    let answer = InitForLoadAnswer {
        balance: CardAmount(500),
        counter: OnlineCounter(counter),
        key_version: KeyVersion(1),
        algorithm: Suite::Aes.algorithm(),
        random: CardRandom::from8([7; 8]),
        mac1: PurseMac::from8([0xA1; 8]),
    };
    let mut out = [0; 32];
    let n = answer.encode(&mut out).unwrap();
    [&out[..n], &OK].concat()
}

fn approved() -> LoadReply {
    let consent = LoadAnswer {
        algorithm: Suite::Aes.algorithm(),
        moment: Moment::from_bytes([0x20, 0x26, 0x11, 0x22, 0x08, 0x00, 0x01]),
        mac2: PurseMac::from8([0xB2; 8]),
    };
    LoadReply {
        code: ResponseCode::APPROVED,
        reference: RetrievalReference::from_bytes(*b"000000000042"),
        consent: Some(consent),
    }
}

fn tac_answer() -> Vec<u8> {
    [&[0x7A; 8][..], &OK].concat()
}

fn proof() -> Vec<u8> {
    [&[0; 8][..], &[0x7A; 8], &OK].concat()
}

struct Till<'p> {
    load: Load<'p>,
    step: Step,
}

impl<'p> Till<'p> {
    fn start(profile: &'p Profile) -> Self {
        let pin = CardPin::from_digits("123456").unwrap();
        let numbers = HostNumbers { batch: BatchNo(3), trace: Stan(17) };
        let terminal = TERMINAL;
        let mut load =
            Load::new(profile, terminal, CardAmount(10_000), pin, numbers, Patience::default()).unwrap();
        assert_eq!(load.handle(Event::Start, NOW), Step::WaitCard);
        let step = load.handle(Event::CardPresent, NOW);
        Self { load, step }
    }

    fn then(&mut self, event: Event<'_>) -> &mut Self {
        self.step = self.load.handle(event, NOW);
        self
    }

    fn card(&mut self, answer: &[u8]) -> &mut Self {
        assert!(matches!(self.step, Step::ToCard(_)), "nothing was sent to the card: {:?}", self.step);
        self.then(Event::CardAnswer(answer))
    }

    fn stored(&mut self) -> &mut Self {
        assert!(matches!(self.step, Step::Store(_)), "nothing to store: {:?}", self.step);
        self.then(Event::Stored(RecordId(1)))
    }

    fn known(&mut self) -> &mut Self {
        self.then(Event::Standing(&Standing::default()))
    }

    fn up_to_host(&mut self) -> LoadIntent {
        self.card(&fci(1)).known().card(&OK).card(&init(4));
        assert!(
            matches!(self.step, Step::Store(JournalEntry::Load(_))),
            "SENT is durable before the host is asked"
        );
        self.stored();
        match self.step {
            Step::AskHost(intent) => intent,
            ref other => panic!("the host is not asked: {other:?}"),
        }
    }

    fn up_to_credit(&mut self) -> &mut Self {
        self.up_to_host();
        self.then(Event::HostAnswer(&approved()));
        assert!(matches!(self.state(), LoadState::Answered { .. }));
        self.stored();
        assert_eq!(self.state(), LoadState::CreditSent);
        self.stored();
        let Step::ToCard(credit) = &self.step else { panic!("{:?}", self.step) };
        assert_eq!(credit[..5], [0x80, 0x52, 0x00, 0x00, 0x0F]);
        self
    }

    fn torn_and_back(&mut self) -> &mut Self {
        self.up_to_credit().then(Event::CardLost);
        assert!(matches!(self.load.prompt(), Prompt::PresentSameCard(_)));
        self.then(Event::CardPresent).card(&fci(1));
        let Step::ToCard(prove) = &self.step else { panic!("{:?}", self.step) };
        assert_eq!(prove[..], [0x80, 0x5A, 0x00, 0x02, 0x02, 0x00, 0x05, 0x00]);
        self
    }

    fn state(&self) -> LoadState {
        match &self.step {
            Step::Store(JournalEntry::LoadState { load: RecordId(1), state }) => *state,
            other => panic!("no state of load 1: {other:?}"),
        }
    }

    fn outcome(&self) -> &Outcome {
        match &self.step {
            Step::Done(outcome) => outcome,
            other => panic!("not done: {other:?}"),
        }
    }
}

/// A record of the card's log.
fn logged(counter_after: u16, amount: u32, terminal: SamTerminal) -> Vec<u8> {
    let mut record = counter_after.to_be_bytes().to_vec();
    record.extend([0; 3]);
    record.extend(amount.to_be_bytes());
    record.push(0x02);
    record.extend(terminal.0);
    record.extend([0x20, 0x26, 0x11, 0x22, 0x08, 0x00, 0x01, 0x90, 0x00]);
    record
}

#[test]
fn a_load_stores_each_state_before_the_step_that_follows() {
    let profile = profile();
    let mut till = Till::start(&profile);
    till.up_to_credit().card(&tac_answer());
    assert_eq!(till.state(), LoadState::Credited { tac: Tac::from8([0x7A; 8]) });
    till.stored();
    let Outcome::Loaded(receipt) = till.outcome() else { panic!("{:?}", till.step) };
    assert_eq!((receipt.balance_before, receipt.balance_after), (CardAmount(500), CardAmount(10_500)));
    assert!(!receipt.earlier);
}

#[test]
fn the_request_is_under_the_numbers_it_was_given_and_shows_the_cards_proof() {
    let profile = profile();
    let intent = Till::start(&profile).up_to_host();
    assert_eq!(intent.numbers, HostNumbers { batch: BatchNo(3), trace: Stan(17) });
    let request = intent.request();
    assert_eq!(
        (request.counter, request.balance, request.mac1),
        (OnlineCounter(4), CardAmount(500), PurseMac::from8([0xA1; 8]))
    );
}

#[test]
fn a_wrong_pin_stops_the_load_before_anything_is_stored() {
    let profile = profile();
    for (sw, decline) in [
        ([0x63, 0xC2], Decline::WrongPin { tries_left: 2 }),
        ([0x63, 0xC0], Decline::PinBlocked),
        ([0x69, 0x83], Decline::PinBlocked),
    ] {
        let mut till = Till::start(&profile);
        till.card(&fci(1)).known().card(&sw);
        assert_eq!(*till.outcome(), Outcome::Declined(decline));
    }
}

#[test]
fn a_host_that_declines_closes_the_load_and_one_that_may_have_booked_it_leaves_the_reversal_due() {
    let profile = profile();
    let declined = |code| LoadReply { code, reference: None, consent: None };
    let mut till = Till::start(&profile);
    till.up_to_host();
    till.then(Event::HostAnswer(&declined(ResponseCode::FUNDS)));
    assert_eq!(till.state(), LoadState::Declined { code: ResponseCode::FUNDS });
    till.stored();
    assert_eq!(*till.outcome(), Outcome::Declined(Decline::Host(ResponseCode::FUNDS)));

    let mut till = Till::start(&profile);
    till.up_to_host();
    till.then(Event::HostAnswer(&declined(ResponseCode::SYSTEM)));
    assert_eq!(*till.outcome(), Outcome::Declined(Decline::Host(ResponseCode::SYSTEM)));

    let mut till = Till::start(&profile);
    till.up_to_host();
    till.then(Event::HostLost);
    assert_eq!(*till.outcome(), Outcome::Failed(Fault::HostGone));

    let mut till = Till::start(&profile);
    till.up_to_host();
    till.then(Event::HostAnswer(&LoadReply { consent: None, ..approved() }));
    assert_eq!(*till.outcome(), Outcome::Failed(Fault::HostBadAnswer));
}

#[test]
fn a_card_that_refuses_the_credit_makes_the_reversal_due() {
    let profile = profile();
    let mut till = Till::start(&profile);
    till.up_to_credit().card(&[0x93, 0x02]);
    assert_eq!(till.state(), LoadState::Refused { sw: StatusWord::MAC_WRONG });
    till.stored();
    assert_eq!(*till.outcome(), Outcome::Declined(Decline::HostProofRefused));

    let mut till = Till::start(&profile);
    till.up_to_credit().card(&[0x69, 0x85]);
    till.stored();
    assert_eq!(*till.outcome(), Outcome::Declined(Decline::CardRefused(StatusWord(0x6985))));
}

#[test]
fn a_lost_credit_is_proved_when_the_card_comes_back() {
    let profile = profile();
    let mut till = Till::start(&profile);
    till.torn_and_back().card(&proof()).card(&logged(6, 10_000, TERMINAL)).card(&logged(5, 10_000, TERMINAL));
    assert_eq!(till.state(), LoadState::Credited { tac: Tac::from8([0x7A; 8]) });
    till.stored();
    assert!(matches!(till.outcome(), Outcome::Loaded(receipt) if !receipt.earlier));
}

/// Our CREDIT never reached the card, and another terminal's load took the counter that ours would have had: the card proves that one.
#[test]
fn a_proof_of_another_terminals_load_is_not_taken_for_ours() {
    let profile = profile();
    for (amount, terminal) in [(5_000, TERMINAL), (10_000, SamTerminal([9; 6]))] {
        let mut till = Till::start(&profile);
        till.torn_and_back().card(&proof()).card(&logged(5, amount, terminal));
        till.card(&OK).card(&init(5));
        assert_eq!(till.state(), LoadState::Refused { sw: StatusWord::NO_PROVE_DATA });
        till.stored();
        assert!(matches!(till.outcome(), Outcome::Declined(_)), "{:?}", till.step);
    }
}

#[test]
fn a_card_that_shows_no_log_is_believed_and_the_host_checks() {
    let profile = profile();
    let mut till = Till::start(&profile);
    till.torn_and_back().card(&proof()).card(&[0x6A, 0x82]);
    assert!(matches!(till.state(), LoadState::Credited { .. }));
}

#[test]
fn without_a_proof_the_online_counter_decides_and_nothing_else() {
    let profile = profile();
    let mut till = Till::start(&profile);
    till.torn_and_back().card(&NO_PROOF).card(&OK).card(&init(4));
    assert_eq!(till.state(), LoadState::Refused { sw: StatusWord::NO_PROVE_DATA });
    let mut till = Till::start(&profile);
    till.torn_and_back().card(&NO_PROOF).card(&OK).card(&init(5));
    assert_eq!(till.state(), LoadState::Unknown);
    till.stored();
    assert!(matches!(till.outcome(), Outcome::LoadUncertain { .. }));
}

#[test]
fn once_the_credit_was_sent_no_end_says_that_nothing_happened() {
    let profile = profile();
    for last in [Event::Tick, Event::Operator(Order::Cancel)] {
        let mut till = Till::start(&profile);
        till.up_to_credit().then(Event::CardLost).then(last);
        assert!(matches!(till.outcome(), Outcome::LoadUncertain { record: RecordId(1), .. }));
    }
    let mut till = Till::start(&profile);
    till.up_to_credit().card(&tac_answer()).then(Event::StoreFailed);
    assert!(matches!(till.outcome(), Outcome::LoadUncertain { .. }));
    // Before it was sent, the reversal is simply due.
    let mut till = Till::start(&profile);
    till.up_to_host();
    till.then(Event::HostAnswer(&approved())).then(Event::StoreFailed);
    assert_eq!(*till.outcome(), Outcome::Failed(Fault::Journal));
}

#[test]
fn an_earlier_load_is_proved_first_and_nothing_is_loaded_twice() {
    let profile = profile();
    let intent = Till::start(&profile).up_to_host();
    let standing = Standing { open_load: Some((RecordId(1), intent)), ..Standing::default() };
    let mut till = Till::start(&profile);
    till.card(&fci(1)).then(Event::Standing(&standing)).card(&proof()).card(&logged(5, 10_000, TERMINAL));
    till.stored();
    assert!(matches!(till.outcome(), Outcome::Loaded(receipt) if receipt.earlier));
    // Not credited: closed as refused, and the new load goes on with the same INIT.
    let mut till = Till::start(&profile);
    till.card(&fci(1)).then(Event::Standing(&standing)).card(&NO_PROOF).card(&OK).card(&init(4));
    assert_eq!(till.state(), LoadState::Refused { sw: StatusWord::NO_PROVE_DATA });
    till.stored();
    assert!(matches!(till.step, Step::Store(JournalEntry::Load(_))));
}

#[test]
fn load_entries_read_back_and_damage_is_told() {
    let profile = profile();
    let intent = Till::start(&profile).up_to_host();
    let reference = RetrievalReference::from_bytes(*b"000000000042").unwrap();
    let states = [
        LoadState::Answered { reference, moment: intent.moment },
        LoadState::CreditSent,
        LoadState::Credited { tac: Tac::from4([1, 2, 3, 4]) },
        LoadState::Refused { sw: StatusWord::MAC_WRONG },
        LoadState::Unknown,
        LoadState::Declined { code: ResponseCode::FUNDS },
        LoadState::Reversed,
        LoadState::Confirmed { code: ResponseCode::APPROVED },
    ];
    let states = states.map(|state| JournalEntry::LoadState { load: RecordId(9), state });
    let others = [
        JournalEntry::Load(intent),
        JournalEntry::Uploaded { intent: RecordId(2), code: ResponseCode::APPROVED, batch: BatchNo(3) },
        JournalEntry::Batch(BatchNo(4)),
        JournalEntry::Traces(Stan(50)),
    ];
    for entry in others.into_iter().chain(states) {
        let mut out = [0; ENTRY_BYTES_MAX];
        let n = entry.encode(&mut out).unwrap();
        assert_eq!(JournalEntry::decode(&out[..n]), Ok(entry));
        for at in 0..n {
            let mut damaged = out;
            damaged[at] ^= 0x01;
            assert!(JournalEntry::decode(&damaged[..n]).is_err(), "byte {at}");
        }
    }
}

#[test]
fn pins_are_four_to_twelve_digits_in_pairs_and_never_shown() {
    assert_eq!(CardPin::from_digits("123456").unwrap().as_bytes(), [0x12, 0x34, 0x56]);
    for bad in ["", "123", "12345", "12345a", "1234567890123", "１２３４"] {
        assert!(CardPin::from_digits(bad).is_none(), "{bad}");
    }
    assert!(!std::format!("{:?}", CardPin::from_digits("123456")).contains("12, 34"));
    let profile = profile();
    let mut till = Till::start(&profile);
    till.card(&fci(1)).known();
    assert_eq!(std::format!("{:?}", till.step), "ToCard(Apdu(00200000.., 8 bytes))");
}
