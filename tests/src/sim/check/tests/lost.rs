//! The exceptions for terminals whose journal is an old one, and each book that they must not excuse.

use super::*;
use crate::sim::images::Entries;

/// The books of a case whose terminal lost `past` and has the case's entries now.
fn found_with(case: &Case, past: &[Vec<JournalEntry>]) -> Vec<Violation> {
    let numbered =
        |entries: &'static [JournalEntry]| -> Entries<'static> { (1..).map(RecordId).zip(entries).collect() };
    // Books borrow: what is given to them here lives as long as the test.
    let past: Vec<Entries<'static>> = past.iter().map(|it| numbered(it.clone().leak())).collect();
    case.with_books(|cards, terminals| {
        let [TerminalBook { number, foreign_sam, entries, sam_given, .. }] = terminals else { panic!() };
        let (entries, past) = (entries.clone(), past.clone());
        check(cards, &[TerminalBook { number: *number, foreign_sam: *foreign_sam, entries, past, sam_given }])
    })
}

#[test]
fn a_debit_that_was_durable_in_the_lost_part_is_excused_and_no_other() {
    let honest = honest();
    let lost = [honest.entries.clone()];
    let mut restored = honest;
    restored.entries.clear();
    assert_eq!(found_with(&restored, &lost), []);
    assert!(restored.found().contains(&Violation::NoIntent(CARD, OfflineCounter(0))), "in no journal at all");
    // Another payment of the lost part does not excuse this one.
    let mut other = lost[0].clone();
    other[0] = JournalEntry::Intent(intent(1, 250, 750, 2));
    restored.given.push(TermSeq(2));
    assert!(found_with(&restored, &[other]).contains(&Violation::NoIntent(CARD, OfflineCounter(0))));
}

#[test]
fn a_debit_counts_once_whether_one_journal_knows_it_or_three() {
    let case = honest();
    let lost = case.entries.clone();
    assert_eq!(found_with(&case, &[lost.clone(), lost.clone()]), []);
    let mut again = case;
    again.entries.clear();
    assert_eq!(found_with(&again, &[lost.clone(), lost]), []);
}

#[test]
fn what_a_lost_journal_said_must_have_been_true() {
    let mut case = honest();
    let mut lost = case.entries.clone();
    lost.pop();
    lost.push(JournalEntry::Resolved { intent: RecordId(1), resolution: Resolution::Void });
    case.entries.clear();
    assert!(found_with(&case, &[lost]).contains(&Violation::VoidButTaken(TILL, RecordId(1))));
    let mut lost = honest().entries;
    lost.push(lost[1].clone());
    assert!(found_with(&case, &[lost]).contains(&Violation::ResolvesNothing(TILL, RecordId(3))));
}

#[test]
fn a_number_of_the_lost_part_that_is_used_again_is_found() {
    let mut case = honest();
    let lost = case.entries.clone();
    // The restored terminal pays with the SAM's first number once more.
    let again = intent(1, 250, 750, 1);
    case.entries = vec![JournalEntry::Intent(again.clone())];
    case.resolve(1, Resolution::Done { tac: tac(&again) });
    case.debits.push(debit(&again));
    case.balance -= 250;
    let found = found_with(&case, &[lost]);
    assert!(found.contains(&Violation::NoIntent(CARD, OfflineCounter(0))), "{found:?}");
}

#[test]
fn a_cent_that_no_journal_explains_is_found_beside_a_lost_one() {
    let mut case = honest();
    let lost = [case.entries.clone()];
    case.entries.clear();
    case.balance -= 1;
    let found = found_with(&case, &lost);
    assert!(found.iter().any(|it| matches!(it, Violation::MoneyLost { lost: 251, in_doubt: 250, .. })));
}
