//! The flow against scripted answers: what it asks, in which order, and how each end of the recovery table is reached.
//! MACs are made up here, since the SAM is scripted too; the real card and SAM are in `tests/sim`.

use super::*;
use crate::machine::Order;
use crate::profile::IssuerProfile;
use crate::record::ENTRY_BYTES_MAX;
use protocol::ids::{Asn, IssuerId, KeyIndex, KeyVersion, OfflineCounter, SamSerial, SamTerminal, TermSeq};
use protocol::money::Currency;
use protocol::purse::file::{Fci, PublicData};
use protocol::purse::{AID_SUITE_10, CardRandom, Overdraft};
use protocol::sam::SamInfo;
use protocol::time::{CardDate, Wall};
use std::vec::Vec;

const OK: [u8; 2] = [0x90, 0x00];
const NOW: Now = Now { mono: Mono(0), wall: Wall(1_795_305_599_000), utc_offset_min: 480 };

fn profile() -> Profile {
    let issuer = IssuerProfile {
        issuer: IssuerId(*b"TAPL\0\0\x01\x56"),
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

fn sam() -> SamIdentity {
    let info = SamInfo { serial: SamSerial([1; 10]), version: 1, kind: 0, fci: [0; 2] };
    SamIdentity { terminal: SamTerminal([0, 0, 0, 0, 0, 0x17]), info }
}

fn public(serial: u8) -> PublicData {
    let mut asn = [0; 10];
    asn[9] = serial;
    let (start, end) = (CardDate::new(2026, 1, 1).unwrap(), CardDate::new(2036, 12, 31).unwrap());
    PublicData::new(IssuerId(*b"TAPL\0\0\x01\x56"), Asn(asn), start, end, [0x55, 0x66])
}

fn fci(public: PublicData) -> Vec<u8> {
    let mut out = [0; 80];
    let n = Fci { name: &AID_SUITE_10, public }.encode(&mut out).unwrap();
    [&out[..n], &OK].concat()
}

fn init_answer(balance: u32, counter: u16) -> Vec<u8> {
    let answer = InitForPurchaseAnswer {
        balance: CardAmount(balance),
        counter: OfflineCounter(counter),
        overdraft: Overdraft::ZERO,
        key_version: KeyVersion(1),
        algorithm: Suite::Aes.algorithm(),
        random: CardRandom::from8([7; 8]),
    };
    let mut out = [0; 32];
    let n = answer.encode(&mut out).unwrap();
    [&out[..n], &OK].concat()
}

fn sam_answer(term_seq: u32) -> Vec<u8> {
    let mut out = [0; 16];
    let mac1 = PurseMac::from8([0xA1; 8]);
    let n = InitSamAnswer { term_seq: TermSeq(term_seq), mac1 }.encode(&mut out).unwrap();
    [&out[..n], &OK].concat()
}

/// TAC ‖ MAC2, or MAC2 ‖ TAC of PROVE: both are 16 bytes.
fn sixteen(first: u8, second: u8) -> Vec<u8> {
    [&[first; 8][..], &[second; 8], &OK].concat()
}

fn ins_of(step: &Step) -> u8 {
    match step {
        Step::ToCard(command) | Step::ToSam(command) => command[1],
        other => panic!("no APDU: {other:?}"),
    }
}

struct Till<'p> {
    purchase: Purchase<'p>,
    step: Step,
}

impl<'p> Till<'p> {
    fn start(profile: &'p Profile, amount: u32) -> Self {
        let mut purchase = Purchase::new(profile, sam(), CardAmount(amount), Patience::default()).unwrap();
        assert_eq!(purchase.handle(Event::Start, NOW), Step::WaitCard);
        let step = purchase.handle(Event::CardPresent, NOW);
        Self { purchase, step }
    }

    fn then(&mut self, event: Event<'_>) -> &mut Self {
        self.step = self.purchase.handle(event, NOW);
        self
    }

    fn card(&mut self, answer: &[u8]) -> &mut Self {
        assert!(matches!(self.step, Step::ToCard(_)), "nothing was sent to the card: {:?}", self.step);
        self.then(Event::CardAnswer(answer))
    }

    fn sam(&mut self, answer: &[u8]) -> &mut Self {
        assert!(matches!(self.step, Step::ToSam(_)), "nothing was sent to the SAM: {:?}", self.step);
        self.then(Event::SamAnswer(answer))
    }

    fn known(&mut self) -> &mut Self {
        assert!(matches!(self.step, Step::LookUp(_)));
        self.then(Event::Standing(&Standing::default()))
    }

    /// Up to the DEBIT that is about to leave the terminal, its intent stored as number 1.
    fn up_to_debit(&mut self) -> DebitIntent {
        self.card(&fci(public(1))).known().card(&init_answer(1000, 5)).sam(&OK).sam(&sam_answer(42));
        let Step::Store(JournalEntry::Intent(intent)) = self.step.clone() else {
            panic!("the intent must be stored before the debit: {:?}", self.step)
        };
        self.then(Event::Stored(RecordId(1)));
        assert_eq!(ins_of(&self.step), 0x54);
        intent
    }

    /// The same card comes back after the debit's answer was lost, with its counter at `counter`.
    fn torn_and_back(&mut self, counter: u16) -> &mut Self {
        self.up_to_debit();
        self.then(Event::CardLost);
        assert_eq!(self.step, Step::WaitCard);
        assert!(matches!(self.purchase.prompt(), Prompt::PresentSameCard(_)));
        self.then(Event::CardPresent).card(&fci(public(1)));
        assert_eq!(ins_of(&self.step), 0x50, "the card is probed");
        self.card(&init_answer(1000, counter))
    }

    fn stored_resolution(&self) -> Resolution {
        match &self.step {
            Step::Store(JournalEntry::Resolved { intent: RecordId(1), resolution }) => *resolution,
            other => panic!("no resolution of record 1: {other:?}"),
        }
    }

    fn outcome(&self) -> &Outcome {
        match &self.step {
            Step::Done(outcome) => outcome,
            other => panic!("not done: {other:?}"),
        }
    }
}

#[test]
fn a_payment_stores_its_intent_before_the_debit_and_its_resolution_before_it_is_approved() {
    let profile = profile();
    let mut till = Till::start(&profile, 250);
    let intent = till.up_to_debit();
    assert_eq!(
        (intent.amount, intent.counter, intent.term_seq),
        (CardAmount(250), OfflineCounter(5), TermSeq(42))
    );
    till.card(&sixteen(0x7A, 0xB2)).sam(&OK);
    let tac = Tac::from8([0x7A; 8]);
    assert_eq!(till.stored_resolution(), Resolution::Done { tac });
    till.then(Event::Stored(RecordId(2)));
    let Outcome::Approved(receipt) = till.outcome() else { panic!("{:?}", till.step) };
    assert_eq!((receipt.balance_before, receipt.balance_after), (CardAmount(1000), CardAmount(750)));
    assert_eq!((receipt.tac, receipt.certainty, receipt.record), (tac, Certainty::Direct, RecordId(1)));
}

#[test]
fn a_journal_that_cannot_store_the_intent_stops_the_debit() {
    let profile = profile();
    let mut till = Till::start(&profile, 250);
    till.card(&fci(public(1))).known().card(&init_answer(1000, 5)).sam(&OK).sam(&sam_answer(42));
    till.then(Event::StoreFailed);
    assert_eq!(*till.outcome(), Outcome::Failed(Fault::Journal));
}

#[test]
fn a_result_that_cannot_be_stored_is_never_called_nothing_taken() {
    let profile = profile();
    let mut till = Till::start(&profile, 250);
    till.up_to_debit();
    till.card(&sixteen(0x7A, 0xB2)).sam(&OK).then(Event::StoreFailed);
    assert!(matches!(till.outcome(), Outcome::Uncertain { why: Doubt::JournalFailed, .. }));
}

#[test]
fn a_wrong_mac2_or_a_lost_sam_after_the_debit_is_uncertain_with_the_tac() {
    let profile = profile();
    let events: [(Event<'_>, Uncertainty); 4] = [
        (Event::SamAnswer(&[0x93, 0x02]), Uncertainty::Mac2Wrong),
        (Event::SamLost, Uncertainty::SamLost),
        (Event::SamAnswer(&[0x6F, 0x00]), Uncertainty::SamLost),
        (Event::SamAnswer(&[]), Uncertainty::SamLost),
    ];
    for (event, why) in events {
        let mut till = Till::start(&profile, 250);
        till.up_to_debit();
        till.card(&sixteen(0x7A, 0xB2)).then(event);
        assert_eq!(till.stored_resolution(), Resolution::Uncertain { tac: Some(Tac::from8([0x7A; 8])), why });
        till.then(Event::Stored(RecordId(2)));
        assert!(matches!(till.outcome(), Outcome::Uncertain { why: Doubt::Closed(w), .. } if *w == why));
    }
}

#[test]
fn an_unmoved_counter_voids_the_attempt_and_pays_afresh() {
    let profile = profile();
    let mut till = Till::start(&profile, 250);
    till.torn_and_back(5);
    assert_eq!(till.stored_resolution(), Resolution::Void);
    till.then(Event::Stored(RecordId(2))).card(&init_answer(1000, 5)).sam(&sam_answer(43));
    assert!(
        matches!(&till.step, Step::Store(JournalEntry::Intent(intent)) if intent.term_seq == TermSeq(43))
    );
}

#[test]
fn a_moved_counter_with_a_right_proof_is_done_without_a_second_debit() {
    let profile = profile();
    for counter in [6, 7, 900] {
        let mut till = Till::start(&profile, 250);
        till.torn_and_back(counter);
        let Step::ToCard(prove) = &till.step else { panic!("{:?}", till.step) };
        assert_eq!(
            prove[..],
            [0x80, 0x5A, 0x00, 0x06, 0x02, 0x00, 0x06, 0x00],
            "PROVE takes INIT's counter + 1"
        );
        till.card(&sixteen(0xB2, 0x7A));
        assert_eq!(ins_of(&till.step), 0x76);
        till.sam(&OK);
        assert_eq!(till.stored_resolution(), Resolution::Done { tac: Tac::from8([0x7A; 8]) });
        till.then(Event::Stored(RecordId(2)));
        assert!(
            matches!(till.outcome(), Outcome::Approved(r) if r.certainty == Certainty::Recovered && r.term_seq == TermSeq(42))
        );
    }
}

#[test]
fn a_moved_counter_with_a_wrong_proof_was_another_terminals_and_pays_afresh() {
    let profile = profile();
    let mut till = Till::start(&profile, 250);
    till.torn_and_back(6).card(&sixteen(0xB2, 0x7A)).sam(&[0x93, 0x02]);
    assert_eq!(till.stored_resolution(), Resolution::Void);
    till.then(Event::Stored(RecordId(2)));
    assert_eq!(ins_of(&till.step), 0x50);
}

#[test]
fn a_sam_that_cannot_check_leaves_the_proof_to_the_backend() {
    let profile = profile();
    let mut till = Till::start(&profile, 250);
    till.torn_and_back(6).card(&sixteen(0xB2, 0x7A)).sam(&[0x6D, 0x00]);
    assert_eq!(till.stored_resolution(), Resolution::RecoveredUnverified { tac: Tac::from8([0x7A; 8]) });
}

#[test]
fn a_card_without_proof_or_with_a_counter_that_went_back_is_uncertain() {
    let profile = profile();
    let mut till = Till::start(&profile, 250);
    till.torn_and_back(6).card(&[0x94, 0x06]);
    assert_eq!(till.stored_resolution(), Resolution::Uncertain { tac: None, why: Uncertainty::NoProof });
    let mut till = Till::start(&profile, 250);
    till.torn_and_back(4);
    assert_eq!(till.stored_resolution(), Resolution::Uncertain { tac: None, why: Uncertainty::RolledBack });
    till.then(Event::Stored(RecordId(2)));
    assert!(matches!(till.outcome(), Outcome::Uncertain { why: Doubt::Closed(Uncertainty::RolledBack), .. }));
}

#[test]
fn another_card_is_sent_away_and_the_wait_ends_as_uncertain_not_as_void() {
    let profile = profile();
    let mut till = Till::start(&profile, 250);
    till.up_to_debit();
    till.then(Event::CardLost).then(Event::CardPresent).card(&fci(public(2)));
    assert_eq!(till.step, Step::WaitRemoval);
    assert!(matches!(till.purchase.prompt(), Prompt::OtherCard(_)));
    till.then(Event::CardLost);
    assert!(matches!(till.purchase.prompt(), Prompt::PresentSameCard(_)));
    assert!(till.purchase.deadline().is_some());
    till.then(Event::Tick);
    assert!(matches!(till.outcome(), Outcome::Uncertain { record: RecordId(1), why: Doubt::CardGone, .. }));
}

#[test]
fn an_answer_to_the_debit_that_says_nothing_clear_is_probed_at_once() {
    let profile = profile();
    for answer in [&[0x65, 0x81][..], &[0x6F, 0x00], &[0x90, 0x00], &[0x90], &[]] {
        let mut till = Till::start(&profile, 250);
        till.up_to_debit();
        till.card(answer);
        assert_eq!(ins_of(&till.step), 0x50, "{answer:02X?}");
    }
    let mut till = Till::start(&profile, 250);
    till.up_to_debit();
    till.card(&[0x93, 0x02]);
    assert_eq!(till.stored_resolution(), Resolution::Void);
}

#[test]
fn a_card_that_finds_mac1_wrong_is_not_blamed_alone_and_other_refusals_are_the_cards() {
    let profile = profile();
    let refused = |answer: [u8; 2]| {
        let mut till = Till::start(&profile, 250);
        let card = till.up_to_debit().card;
        till.card(&answer);
        assert_eq!(till.stored_resolution(), Resolution::Void, "{answer:02X?}");
        till.then(Event::Stored(RecordId(2)));
        (card, till.outcome().clone())
    };
    for answer in [[0x93, 0x02], [0x69, 0x88]] {
        let (card, outcome) = refused(answer);
        assert_eq!(outcome, Outcome::Declined(Decline::SamProofRefused(card)), "{answer:02X?}");
    }
    let (_, outcome) = refused([0x69, 0x01]);
    assert_eq!(outcome, Outcome::Declined(Decline::CardRefused(StatusWord(0x6901))));
}

/// Found by the simulation: a card whose memory takes no change refuses every DEBIT, and the till went on for ever.
#[test]
fn a_card_that_answers_the_debit_with_a_failure_and_did_nothing_is_declined_not_asked_again() {
    let profile = profile();
    for (answer, decline) in
        [(&[0x65, 0x81][..], Decline::CardRefused(StatusWord(0x6581))), (&[0x90, 0x00], Decline::BadAnswer)]
    {
        let mut till = Till::start(&profile, 250);
        till.up_to_debit();
        till.card(answer).card(&init_answer(1000, 5));
        assert_eq!(till.stored_resolution(), Resolution::Void);
        till.then(Event::Stored(RecordId(2)));
        assert_eq!(*till.outcome(), Outcome::Declined(decline));
        // One that left in between has another chance.
        let mut till = Till::start(&profile, 250);
        till.up_to_debit();
        till.card(answer).then(Event::CardLost).then(Event::CardPresent).card(&fci(public(1)));
        till.card(&init_answer(1000, 5)).then(Event::Stored(RecordId(2)));
        assert_eq!(ins_of(&till.step), 0x50);
    }
}

#[test]
fn an_earlier_debit_is_resolved_first_and_nothing_is_taken_for_the_new_payment() {
    let profile = profile();
    let mut first = Till::start(&profile, 250);
    let intent = first.up_to_debit();
    for denied in [false, true] {
        let standing = Standing { open: Some((RecordId(1), intent.clone())), denied, ..Standing::default() };
        let mut till = Till::start(&profile, 400);
        till.card(&fci(public(1))).then(Event::Standing(&standing)).card(&init_answer(750, 6));
        till.card(&sixteen(0xB2, 0x7A)).sam(&OK).sam(&OK).then(Event::Stored(RecordId(2)));
        assert!(matches!(till.outcome(), Outcome::EarlierCompleted(r) if r.amount == CardAmount(250)));
        // Void: the new payment goes on, unless the card may not pay.
        let mut till = Till::start(&profile, 400);
        till.card(&fci(public(1))).then(Event::Standing(&standing)).card(&init_answer(1000, 5));
        till.then(Event::Stored(RecordId(2)));
        match denied {
            true => assert!(matches!(till.outcome(), Outcome::Declined(Decline::Denied(_)))),
            false => assert_eq!(ins_of(&till.step), 0x50),
        }
    }
}

#[test]
fn a_card_lost_before_the_debit_is_simply_asked_for_again() {
    let profile = profile();
    let mut till = Till::start(&profile, 250);
    till.card(&fci(public(1))).known().then(Event::CardLost);
    assert_eq!((till.step.clone(), till.purchase.prompt()), (Step::WaitCard, Prompt::PresentAgain));
    till.then(Event::Operator(Order::Cancel));
    assert_eq!(*till.outcome(), Outcome::Cancelled);
}

#[test]
fn cards_that_cannot_pay_are_declined_with_the_reason() {
    let profile = profile();
    let declined = |answers: &[&[u8]]| {
        let mut till = Till::start(&profile, 250);
        for answer in answers {
            till.card(answer);
            if matches!(till.step, Step::LookUp(_)) {
                till.known();
            }
        }
        match till.outcome() {
            Outcome::Declined(decline) => *decline,
            other => panic!("{other:?}"),
        }
    };
    let good = fci(public(1));
    assert_eq!(declined(&[&[0x6A, 0x82]]), Decline::NoPurse);
    assert_eq!(declined(&[&[0x6A, 0x81]]), Decline::Blocked);
    assert_eq!(declined(&[&[0x90, 0x00]]), Decline::BadAnswer);
    assert_eq!(
        declined(&[&good, &[0x94, 0x01], &[0, 0, 0, 99, 0x90, 0x00]]),
        Decline::Insufficient { usable: Some(CardAmount(99)) }
    );
    assert_eq!(declined(&[&good, &[0x94, 0x02]]), Decline::CounterExhausted);
    assert_eq!(
        declined(&[&good, &init_answer(249, 1)]),
        Decline::Insufficient { usable: Some(CardAmount(249)) }
    );
    let mut other_version = init_answer(1000, 1);
    other_version[9] = 2;
    assert_eq!(declined(&[&good, &other_version]), Decline::WrongKeyVersion(KeyVersion(2)));
    let mut old = public(1);
    let (start, end) = (CardDate::new(2020, 1, 1).unwrap(), CardDate::new(2025, 12, 31).unwrap());
    old = PublicData::new(old.issuer(), old.asn(), start, end, old.fci_data());
    assert_eq!(declined(&[&fci(old)]), Decline::Expired(end));
    let stranger = PublicData::new(IssuerId([9; 8]), old.asn(), start, end, [0; 2]);
    assert!(matches!(declined(&[&fci(stranger)]), Decline::UnknownIssuer(_)));
    assert_eq!(Purchase::new(&profile, sam(), CardAmount(0), Patience::default()).err(), Some(ZeroAmount));
}

#[test]
fn journal_entries_read_back_and_damage_is_told() {
    let profile = profile();
    let intent = Till::start(&profile, 250).up_to_debit();
    let tac = Tac::from8([3; 8]);
    let resolutions = [
        Resolution::Done { tac },
        Resolution::Void,
        Resolution::RecoveredUnverified { tac: Tac::from4([1, 2, 3, 4]) },
        Resolution::Uncertain { tac: None, why: Uncertainty::NoProof },
        Resolution::Uncertain { tac: Some(tac), why: Uncertainty::Mac2Wrong },
    ];
    let resolved = resolutions.map(|resolution| JournalEntry::Resolved { intent: RecordId(7), resolution });
    for entry in [JournalEntry::Intent(intent)].into_iter().chain(resolved) {
        let mut out = [0; ENTRY_BYTES_MAX];
        let n = entry.encode(&mut out).unwrap();
        assert_eq!(JournalEntry::decode(&out[..n]), Ok(entry));
        for at in 0..n {
            let mut damaged = out;
            damaged[at] ^= 0x10;
            assert!(JournalEntry::decode(&damaged[..n]).is_err(), "byte {at}");
            assert!(JournalEntry::decode(&out[..at]).is_err());
        }
    }
}

proptest::proptest! {
    /// Whatever answers come, the flow ends or asks, never panics, and never sends a DEBIT without a stored intent.
    #[test]
    fn no_answers_make_it_debit_without_a_stored_intent(
        answers in proptest::collection::vec(
            proptest::prop_oneof![
                proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
                proptest::prelude::Just(fci(public(1))),
                proptest::prelude::Just(init_answer(1000, 5)),
                proptest::prelude::Just(sam_answer(42)),
                proptest::prelude::Just(sixteen(1, 2)),
                proptest::prelude::Just(OK.to_vec()),
            ],
            1..40,
        )
    ) {
        let profile = profile();
        let mut till = Till::start(&profile, 250);
        let mut open = false;
        for answer in &answers {
            match till.step.clone() {
                Step::WaitCard => till.then(Event::CardPresent),
                Step::WaitRemoval => till.then(Event::CardLost),
                Step::ToCard(command) => {
                    if command[1] == 0x54 {
                        proptest::prop_assert!(open, "DEBIT without an intent");
                    }
                    if answer.len() == 7 { till.then(Event::CardLost) } else { till.then(Event::CardAnswer(answer)) }
                }
                Step::ToSam(_) => till.then(Event::SamAnswer(answer)),
                Step::LookUp(_) => till.known(),
                Step::Store(entry) => {
                    open = matches!(entry, JournalEntry::Intent(_));
                    till.then(Event::Stored(RecordId(1)))
                }
                Step::Done(_) | Step::AskHost(_) => break,
            };
        }
    }
}
