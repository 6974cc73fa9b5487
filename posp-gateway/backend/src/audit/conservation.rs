//! Conservation per card, from its own words alone: the balances under its TACs against the loads and debits that were booked.
//!
//! Between two neighbouring counters the balance before the second, less the balance after the first, is the sum of loads in between: a run of the
//! card's loads that begins where the last one ended. Which run it was may be open for a while (two equal loads), so all that are
//! possible are carried along. After a gap (a record that was not uploaded yet) the loads must at least cover the difference.

use super::found;
use super::pages::Pages;
use super::shadow::{Denied, Loads};
use crate::accounts::{AccountId, HoldState};
use crate::cards::load;
use crate::report::{AuditException, AuditReport};
use crate::store::{Card, CardId, Key, Kind, Load, LoadState, Record, RecordStanding, Store, StoreFault};
use protocol::ids::{OfflineCounter, SamTerminal, TermSeq};
use protocol::iso8583::f58::TransactionRecord;
use std::collections::BTreeSet;

/// Where the issuer's side is read, card by card.
struct Reading {
    loads: Pages,
    claims: Pages,
    resolutions: Pages,
}

/// The record that a counter belongs to.
const fn offline_record(of: &Record) -> Option<Key> {
    match of {
        Record::Claim(_, _, sam, seq) | Record::Resolution(_, _, sam, seq) => Some(Key::Record(*sam, *seq)),
        _ => None,
    }
}

/// Proves every card.
///
/// # Errors
/// The store failed.
pub(super) fn cards<S: Store>(store: &mut S, report: &mut AuditReport) -> Result<(), StoreFault> {
    let denied = Denied::of(store)?;
    let mut cards = Pages::of(Kind::Card);
    let mut reading = Reading {
        loads: Pages::of(Kind::Load),
        claims: Pages::with(Kind::Claim, offline_record),
        resolutions: Pages::with(Kind::Resolution, offline_record),
    };
    while let Some(Record::Card(card)) = cards.next(store)? {
        report.cards = report.cards.saturating_add(1);
        if !denied.agree(&card) {
            found(report, AuditException::CardState(card.id.issuer, card.id.asn));
        }
        prove(store, report, &card, &mut reading)?;
    }
    // What is left is of cards that are gone.
    orphans(store, report, &mut reading, None)
}

/// Counters of cards before `until` that have no card.
fn orphans<S: Store>(
    store: &mut S,
    report: &mut AuditReport,
    reading: &mut Reading,
    until: Option<CardId>,
) -> Result<(), StoreFault> {
    let before = |of: CardId| until.is_none_or(|until| of < until);
    let load = |record: &Record| matches!(record, Record::Load(load) if before(load.card));
    while reading.loads.next_if(store, load)?.is_some() {}
    let counter = |record: &Record| match record {
        Record::Claim(of, ..) | Record::Resolution(of, ..) => before(*of),
        _ => false,
    };
    for pages in [&mut reading.claims, &mut reading.resolutions] {
        while let Some(Record::Claim(of, counter, ..) | Record::Resolution(of, counter, ..)) =
            pages.next_if(store, counter)?
        {
            found(report, AuditException::DoubleClaim(of.issuer, of.asn, counter));
        }
    }
    Ok(())
}

fn prove<S: Store>(
    store: &mut S,
    report: &mut AuditReport,
    card: &Card,
    reading: &mut Reading,
) -> Result<(), StoreFault> {
    orphans(store, report, reading, Some(card.id))?;
    let (mut loads, mut posted) = (Vec::new(), 0u64);
    // A load that is still open may have been credited, and so may the card's balance show any one of those that were asked for at its counter.
    let mut open = Vec::new();
    let mut shown = Loads::default();
    let own = |record: &Record| matches!(record, Record::Load(load) if load.card == card.id);
    while let Some(Record::Load(load)) = reading.loads.next_if(store, own)? {
        shown.meet(&load);
        match load.state {
            LoadState::Posted | LoadState::Presumed => {
                posted = posted.saturating_add(load.amount.minor());
                loads.push(load.amount.minor());
            }
            LoadState::Consented | LoadState::Disputed => open.extend(candidates(store, report, load)?),
            LoadState::Released => {}
        }
    }
    if !shown.agree(card) {
        found(report, AuditException::CardState(card.id.issuer, card.id.asn));
    }
    let debits = debits(store, report, card, reading)?;
    let spent: u64 = sum(debits.iter().map(|(_, record)| u64::from(record.amount.0)));
    let (issuer, asn) = (card.id.issuer, card.id.asn);
    if (posted, spent) != (card.loaded, card.spent) {
        let (kept, derived) = ((card.loaded, card.spent), (posted, spent));
        found(report, AuditException::CardTotals { issuer, asn, kept, derived });
    }
    let with = |open: u64| [loads.as_slice(), &[open]].concat();
    let mut least = (loads.clone(), unexplained(&loads, &debits));
    for loads in open.into_iter().map(with) {
        let found = unexplained(&loads, &debits);
        if found.len() <= least.1.len() {
            least = (loads, found);
        }
    }
    let loads = sum(least.0.into_iter());
    for Unexplained { counter, before, after_previous } in least.1 {
        found(report, AuditException::Conservation { issuer, asn, counter, before, after_previous, loads });
    }
    Ok(())
}

/// The amounts of which an open load's card may have been credited one. For each of them its payer's money is held.
fn candidates<S: Store>(store: &mut S, report: &mut AuditReport, load: Load) -> Result<Vec<u64>, StoreFault> {
    let of = load::of_store(store, load)?;
    let mut held = Vec::new();
    for hold in of.holds() {
        if let Some(Record::Hold(hold)) = store.get(&Key::Hold(hold))?
            && hold.state == HoldState::Open
        {
            held.push((hold.debit, hold.amount.minor()));
        }
    }
    for candidate in of.undecided() {
        let is_held = |(payer, minor): &(AccountId, u64)| {
            *payer == candidate.payer && *minor >= candidate.amount.minor()
        };
        if !held.iter().any(is_held) {
            found(report, AuditException::TransactionState(candidate.seq()));
        }
    }
    Ok(of.amounts().iter().map(|amount| amount.minor()).collect())
}

/// The card's debits in the order of their counters: proved ones, and those that policy paid.
fn debits<S: Store>(
    store: &mut S,
    report: &mut AuditReport,
    card: &Card,
    reading: &mut Reading,
) -> Result<Vec<(OfflineCounter, TransactionRecord)>, StoreFault> {
    let mut counters: Vec<(OfflineCounter, SamTerminal, TermSeq)> = Vec::new();
    let own = |record: &Record| match record {
        Record::Claim(of, ..) | Record::Resolution(of, ..) => *of == card.id,
        _ => false,
    };
    for pages in [&mut reading.claims, &mut reading.resolutions] {
        while let Some(Record::Claim(_, counter, sam, seq) | Record::Resolution(_, counter, sam, seq)) =
            pages.next_if(store, own)?
        {
            counters.push((counter, sam, seq));
        }
    }
    // One that policy had paid and that was proved later is there twice.
    counters.sort_unstable();
    counters.dedup();
    let mut debits = Vec::with_capacity(counters.len());
    for (counter, sam, seq) in counters {
        match store.get(&Key::Record(sam, seq))? {
            // Paid by policy and disproved since: the issuer bears it, not the card.
            Some(Record::Record(record))
                if matches!(record.standing, RecordStanding::Overtaken | RecordStanding::Fork) => {}
            Some(Record::Record(record)) => debits.push((counter, record.content)),
            _ => found(report, AuditException::DoubleClaim(card.id.issuer, card.id.asn, counter)),
        }
    }
    Ok(debits)
}

/// A counter whose balance no run of loads explains.
struct Unexplained {
    counter: OfflineCounter,
    before: u64,
    after_previous: u64,
}

fn sum(minors: impl Iterator<Item = u64>) -> u64 {
    minors.fold(0, u64::saturating_add)
}

/// The counters whose balances no run of loads explains.
fn unexplained(loads: &[u64], debits: &[(OfflineCounter, TransactionRecord)]) -> Vec<Unexplained> {
    let prefix: Vec<u64> = std::iter::once(0)
        .chain(loads.iter().scan(0u64, |sum, load| {
            *sum = sum.saturating_add(*load);
            Some(*sum)
        }))
        .collect();
    let at = |m: usize| prefix.get(m).copied().unwrap_or(u64::MAX);
    let mut possible = BTreeSet::from([0usize]);
    let mut balance = 0u64;
    let mut next = Some(OfflineCounter(0));
    let mut wrong = Vec::new();
    for (counter, record) in debits {
        let before = u64::from(record.balance_after.0).saturating_add(u64::from(record.amount.0));
        let gap = next != Some(*counter);
        let fits = |m: usize, to: usize| {
            let loaded = at(to).saturating_sub(at(m)).saturating_add(balance);
            if gap { loaded >= before } else { loaded == before }
        };
        let mut reached = BTreeSet::new();
        for m in &possible {
            reached.extend((*m..prefix.len()).filter(|to| fits(*m, *to)));
        }
        if reached.is_empty() {
            wrong.push(Unexplained { counter: *counter, before, after_previous: balance });
            reached = (0..prefix.len()).collect();
        }
        possible = reached;
        balance = u64::from(record.balance_after.0);
        next = counter.next();
    }
    wrong
}
