//! Terminals whose journal is an old one: what was lost with the newer one, and what the old one still says.
//!
//! A journal that was overwritten counts as evidence and as nothing else. A debit of which no journal in use knows must have its intent
//! there, durable before the disk was overwritten; its sum is a term of its own, and what it said must have been true.

use super::{
    CardBook, Claimed, DebitIntent, Record, Sums, TerminalBook, Violation, check_record, is_taken, replay,
};
use crate::sim::books::Books;
use crate::sim::images::Entries;
use crate::sim::store::CrashStore;
use backend::api::AlertKind;
use flow::record::{CardId, JournalEntry, LoadState, RecordId, Resolution};
use protocol::ids::{OfflineCounter, TermSeq};
use std::collections::{BTreeMap, BTreeSet};

/// What happened since an image was taken, for the table of what was reached.
#[derive(Debug)]
pub(crate) struct Since {
    /// Names of it.
    pub(crate) points: BTreeSet<&'static str>,
}

/// Compares the journal that is lost with the old one that takes its place.
pub(crate) fn since(lost: &CrashStore, old: &CrashStore) -> Since {
    let mut points = BTreeSet::new();
    if lost.outbox().batch() != old.outbox().batch() {
        points.insert("batch closed since");
    }
    if lost.outbox().next_traces() != old.outbox().next_traces() {
        points.insert("trace numbers used since");
    }
    // An image is a journal's beginning, unless the journal was itself an old one in between.
    let newer = lost.entries().skip_while(|(id, entry)| old.entry(*id) == Some(*entry));
    for (_, entry) in newer {
        let ours = |id: RecordId| old.entry(id).is_some() && old.entry(id) == lost.entry(id);
        points.extend(match entry {
            JournalEntry::Intent(_) => Some("payment made since"),
            JournalEntry::Load(_) => Some("load made since"),
            JournalEntry::Resolved { intent, resolution } if ours(*intent) => Some(match resolution {
                Resolution::Void => "open debit void since",
                Resolution::Uncertain { .. } => "open debit uncertain since",
                _ => "open debit done since",
            }),
            JournalEntry::Uploaded { intent, .. } if ours(*intent) => Some("record answered since"),
            JournalEntry::LoadState { load, state } if ours(*load) => match state {
                LoadState::Credited { .. } => Some("load credited since"),
                LoadState::Confirmed { .. } => Some("load confirmed since"),
                LoadState::Reversed => Some("load reversed since"),
                _ => None,
            },
            _ => None,
        });
    }
    Since { points }
}

/// A journal that was overwritten, as the book of a terminal.
fn book<'a>(of: &TerminalBook<'a>, entries: &Entries<'a>) -> TerminalBook<'a> {
    TerminalBook { entries: entries.clone(), past: Vec::new(), ..*of }
}

/// Debits that only overwritten journals know, each once, as the newest of them knows it.
pub(super) fn records<'a>(of: &TerminalBook<'a>, found: &mut Vec<Violation>) -> Vec<Record<'a>> {
    if of.past.is_empty() {
        return Vec::new();
    }
    let intents = of.entries.iter().filter_map(|(_, entry)| match entry {
        JournalEntry::Intent(intent) => Some(intent.term_seq),
        _ => None,
    });
    let mut seen: BTreeMap<TermSeq, Option<&DebitIntent>> = intents.map(|seq| (seq, None)).collect();
    let mut lost = Vec::new();
    for past in of.past.iter().rev() {
        for record in replay(&book(of, past), found) {
            let (_, intent, _) = record;
            if let std::collections::btree_map::Entry::Vacant(new) = seen.entry(intent.term_seq) {
                new.insert(Some(intent));
                lost.push(record);
            }
        }
    }
    lost
}

/// What overwritten journals say must have been true, and what cards paid of it is counted.
pub(super) fn check(
    of: &TerminalBook<'_>,
    cards: &[CardBook<'_>],
    sums: &mut BTreeMap<CardId, Sums>,
    claimed: &mut BTreeSet<Claimed>,
    found: &mut Vec<Violation>,
) {
    for record in records(of, found) {
        let (_, intent, _) = record;
        let Some(card) = cards.iter().find(|card| card.id == intent.card) else { continue };
        if check_record(of, card, record, &mut Sums::default(), found) {
            sums.entry(card.id).or_default().lost += i64::from(intent.amount.0);
            if !claimed.insert((card.id, intent.counter, intent.terminal, intent.term_seq)) {
                found.push(Violation::BookedTwice(card.id, intent.counter));
            }
        }
    }
}

/// What is not booked of a card's debits is listed: as far as later ones are known the backend counts how many are missing, and told a
/// person of it. A debit after which the card was never heard of again is known to nobody.
pub(super) fn listed(
    card: &CardBook<'_>,
    booked: &BTreeSet<OfflineCounter>,
    books: &Books,
    found: &mut Vec<Violation>,
) {
    let Some(known) = books.card(card.id) else { return };
    let Some((newest, _)) = known.newest else { return };
    let missing = card.debits().filter(|debit| debit.counter <= newest && !booked.contains(&debit.counter));
    let missing = u32::try_from(missing.count()).unwrap_or(u32::MAX);
    if known.missing() != missing {
        let what = format!("{missing} of its debits are not booked, and {} are listed", known.missing());
        found.push(Violation::Unlisted(card.id, what));
    }
    let about = Some((card.id.issuer, card.id.asn));
    let told = books.alerts.iter().any(|alert| alert.kind == AlertKind::Gap && alert.card == about);
    if missing > 0 && !told {
        found
            .push(Violation::Unlisted(card.id, format!("{missing} debits are missing, and nobody was told")));
    }
}

/// What became of debits that only overwritten journals know, for the table of what was reached.
pub(crate) fn fates(
    cards: &[CardBook<'_>],
    terminals: &[TerminalBook<'_>],
    books: &Books,
) -> Vec<&'static str> {
    let lost = terminals.iter().flat_map(|book| records(book, &mut Vec::new()));
    let fate = |(_, intent, _): Record<'_>| {
        let card = cards.iter().find(|card| card.id == intent.card)?;
        let known = books.card(card.id).and_then(|card| card.newest);
        let record = books.records.get(&(intent.terminal, intent.term_seq));
        Some(match record {
            _ if !is_taken(card, intent) => "never made",
            Some(record) if record.transfer.is_some() => "booked",
            _ if known.is_some_and(|(newest, _)| newest >= intent.counter) => "listed as missing",
            _ => "known to nobody",
        })
    };
    lost.filter_map(fate).collect()
}
