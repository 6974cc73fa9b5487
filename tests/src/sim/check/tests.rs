//! The checker itself: an honest book passes, and each lie in it is found. A checker that accepts everything would make
//! every history look good.

use super::*;
use flow::record::Uncertainty;
use protocol::ids::{Asn, Factor, IssuerId, KeyVersion};
use protocol::money::Currency;
use protocol::purse::keys::PurseKey;
use protocol::purse::{CappDigest, CardRandom, File15Digest, Moment, Overdraft, Suite, Tac, TransactionType};
use protocol::secret::Secret;

const CARD: CardId = CardId { issuer: IssuerId([7; 8]), asn: Asn([1; 10]) };
const TILL: SamTerminal = SamTerminal([0, 0, 0, 0, 0, 1]);

fn tac_key() -> TacKey {
    PurseKey::new(Suite::Aes, Secret::new([9; 16])).tac_key()
}

fn intent(counter: u16, amount: u32, balance: u32, seq: u32) -> DebitIntent {
    DebitIntent {
        card: CARD,
        currency: Currency::CNY,
        algorithm: Suite::Aes.algorithm(),
        key_version: KeyVersion(1),
        random: CardRandom::from8([3; 8]),
        counter: OfflineCounter(counter),
        balance_before: CardAmount(balance),
        overdraft: Overdraft::ZERO,
        amount: CardAmount(amount),
        kind: TransactionType::Purchase,
        terminal: TILL,
        term_seq: TermSeq(seq),
        moment: Moment::from_bytes([0x20, 0x26, 0x11, 0x21, 0x18, 0x30, 0x05]),
        digest: CappDigest::default(),
        file15: File15Digest([0; 8]),
        factors: std::iter::once(Factor([1; 8])).collect(),
    }
}

fn tac(intent: &DebitIntent) -> Tac {
    tac_key().tac(&intent.tac_terms())
}

fn debit(intent: &DebitIntent) -> CardDebit {
    CardDebit {
        counter: intent.counter,
        amount: intent.amount,
        kind: intent.kind,
        terminal: intent.terminal,
        moment: intent.moment,
        tac: tac(intent),
    }
}

/// A card issued with 10.00, and one terminal with its journal.
struct Case {
    balance: u32,
    debits: Vec<CardDebit>,
    credits: Vec<CardCredit>,
    entries: Vec<JournalEntry>,
    given: Vec<TermSeq>,
}

impl Case {
    fn resolve(&mut self, intent: u64, resolution: Resolution) {
        self.entries.push(JournalEntry::Resolved { intent: RecordId(intent), resolution });
    }

    fn found(&self) -> Vec<Violation> {
        self.with_books(check)
    }

    fn with_books<T>(&self, look: impl FnOnce(&[CardBook<'_>], &[TerminalBook<'_>]) -> T) -> T {
        let tac_key = tac_key();
        let life = Life {
            start: CardAmount(1_000),
            balance: CardAmount(self.balance),
            debits: &self.debits,
            credits: &self.credits,
        };
        let card = CardBook { id: CARD, lives: vec![life], tac_key: &tac_key };
        let numbered = self.entries.iter().zip(1..).map(|(entry, id)| (RecordId(id), entry));
        let terminal = TerminalBook {
            number: TILL,
            foreign_sam: false,
            entries: numbered.collect(),
            past: Vec::new(),
            sam_given: &self.given,
        };
        look(&[card], &[terminal])
    }
}

/// One payment of 2.50, done.
fn honest() -> Case {
    let paid = intent(0, 250, 1_000, 1);
    let mut case = Case {
        balance: 750,
        debits: vec![debit(&paid)],
        credits: Vec::new(),
        entries: vec![JournalEntry::Intent(paid.clone())],
        given: vec![TermSeq(1)],
    };
    case.resolve(1, Resolution::Done { tac: tac(&paid) });
    case
}

#[test]
fn honest_books_pass() {
    assert_eq!(honest().found(), []);
    let mut open = honest();
    open.entries.pop();
    assert_eq!(open.found(), [], "a debit that is listed as open is not lost");
    assert_eq!(open.with_books(|_, terminals| still_open(terminals)).len(), 1);
    open.resolve(1, Resolution::Uncertain { tac: None, why: Uncertainty::NoProof });
    assert_eq!(open.found(), []);
}

#[test]
fn a_cent_missing_on_the_card_is_found() {
    let mut case = honest();
    case.balance -= 1;
    let found = case.found();
    assert!(matches!(found[0], Violation::CardSums(..)), "{found:?}");
    assert!(matches!(found[1], Violation::MoneyLost { lost: 251, debited: 250, booked: 250, .. }));
}

#[test]
fn a_card_that_gained_is_found() {
    let mut case = honest();
    case.balance = 1_000;
    assert!(matches!(case.found()[1], Violation::MoneyLost { lost: 0, .. }));
}

#[test]
fn a_debit_without_an_intent_is_found() {
    let mut case = honest();
    case.entries.clear();
    assert!(case.found().contains(&Violation::NoIntent(CARD, OfflineCounter(0))));
}

#[test]
fn a_void_record_whose_debit_is_on_the_card_is_found() {
    let mut case = honest();
    case.entries.pop();
    case.resolve(1, Resolution::Void);
    assert!(case.found().contains(&Violation::VoidButTaken(TILL, RecordId(1))));
}

#[test]
fn a_done_record_without_a_debit_is_found() {
    let mut case = honest();
    case.debits.clear();
    case.balance = 1_000;
    assert!(case.found().contains(&Violation::DoneButNotTaken(TILL, RecordId(1))));
}

#[test]
fn a_record_booked_for_another_payments_debit_is_found() {
    // The counter and the amount are right, but the SAM's number is not: another attempt than the card's.
    let mut case = honest();
    let other = intent(0, 250, 1_000, 2);
    case.given.push(TermSeq(2));
    case.entries = vec![JournalEntry::Intent(other.clone())];
    case.resolve(1, Resolution::Done { tac: tac(&other) });
    assert!(case.found().contains(&Violation::DoneButNotTaken(TILL, RecordId(1))));
}

#[test]
fn a_tac_that_the_issuer_would_refuse_is_found() {
    let mut case = honest();
    case.entries.pop();
    case.resolve(1, Resolution::Done { tac: Tac::from8([0; 8]) });
    assert_eq!(case.found(), [Violation::WrongTac(TILL, RecordId(1))]);
}

#[test]
fn a_debit_booked_twice_is_found() {
    let mut case = honest();
    let again = intent(0, 250, 1_000, 1);
    case.entries.push(JournalEntry::Intent(again.clone()));
    case.resolve(3, Resolution::Done { tac: tac(&again) });
    assert!(case.found().contains(&Violation::BookedTwice(CARD, OfflineCounter(0))));
}

#[test]
fn a_sequence_number_given_twice_or_never_is_found() {
    let mut case = honest();
    case.given = vec![TermSeq(1), TermSeq(1)];
    assert_eq!(case.found(), [Violation::SequenceReused(TILL, TermSeq(1))]);
    case.given.clear();
    assert_eq!(case.found(), [Violation::SequenceInvented(TILL, TermSeq(1))]);
}

#[test]
fn a_resolution_of_nothing_and_a_second_open_debit_are_found() {
    let mut case = honest();
    case.resolve(1, Resolution::Void);
    assert!(case.found().contains(&Violation::ResolvesNothing(TILL, RecordId(3))));
    let mut case = honest();
    case.given.extend([TermSeq(2), TermSeq(3)]);
    case.entries.push(JournalEntry::Intent(intent(1, 10, 750, 2)));
    case.entries.push(JournalEntry::Intent(intent(1, 10, 750, 3)));
    assert!(case.found().contains(&Violation::TwoOpen(TILL, RecordId(4))));
}

#[test]
fn people_who_are_told_wrong_are_found() {
    let case = honest();
    let told = |outcome: &Outcome, own: &[RecordId]| {
        case.with_books(|cards, terminals| told_right(outcome, CardAmount(250), own, &terminals[0], cards))
    };
    let own = [RecordId(1)];
    assert!(told(&Outcome::TimedOut, &own).is_err(), "nothing was taken, they said");
    assert!(told(&Outcome::Cancelled, &[]).is_ok());
    let doubt =
        Outcome::Uncertain { record: RecordId(1), intent: intent(0, 250, 1_000, 1), why: Doubt::CardGone };
    assert!(told(&doubt, &own).is_err(), "the record is done, not open");
}

#[test]
fn what_the_backend_can_know_is_what_is_proven_or_followed_by_something_known() {
    let first = intent(0, 250, 1_000, 1);
    let second = intent(1, 100, 750, 2);
    let mut case = Case {
        balance: 650,
        debits: vec![debit(&first), debit(&second)],
        credits: Vec::new(),
        entries: vec![JournalEntry::Intent(first)],
        given: vec![TermSeq(1), TermSeq(2)],
    };
    case.resolve(1, Resolution::Uncertain { tac: None, why: Uncertainty::NoProof });
    case.entries.push(JournalEntry::Intent(second.clone()));
    let unknowable = |case: &Case| {
        case.with_books(|cards, terminals| money::claims(cards, terminals).unknowable(&cards[0]))
    };
    assert_eq!(unknowable(&case), 350, "nothing is known of either");
    case.resolve(3, Resolution::Done { tac: tac(&second) });
    assert_eq!(unknowable(&case), 0, "the second says what was left after the first");
    let certain = case.with_books(|cards, terminals| money::claims(cards, terminals).of_terminal(0));
    assert_eq!(certain, 100, "what the chain explains is no certainty for a merchant");
}

/// Money on a card that came from nowhere: a forged consent that the card took.
#[test]
fn a_load_that_no_journal_was_about_to_credit_is_found() {
    let mut case = honest();
    case.balance += 500;
    case.credits.push(CardCredit {
        counter: protocol::ids::OnlineCounter(0),
        amount: CardAmount(500),
        terminal: TILL,
        moment: Moment::from_bytes([0x20, 0x26, 0x11, 0x21, 0x18, 0x30, 0x05]),
        tac: Tac::from8([1; 8]),
    });
    assert!(matches!(case.found()[..], [Violation::Load(CARD, _)]), "{:?}", case.found());
}

mod bad_books;
mod lost;
