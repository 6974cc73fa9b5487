//! Conservation per card, from its own words alone: the balances under its TACs against the loads and debits that were booked.
//!
//! Between two neighbouring counters the balance before the second, less the balance after the first, is the sum of loads in between: a run of the
//! card's loads that begins where the last one ended. Which run it was may be open for a while (two equal loads), so all that are
//! possible are carried along. After a gap (a record that was not uploaded yet) the loads must at least cover the difference.

use super::each;
use crate::report::{AuditException, AuditReport};
use crate::store::{
    Card, CardId, Key, Kind, Load, LoadState, Record, RecordStanding, Scan, Store, StoreFault,
};
use protocol::ids::{OfflineCounter, OnlineCounter, SamTerminal, TermSeq};
use protocol::iso8583::f58::TransactionRecord;
use std::collections::{BTreeMap, BTreeSet};

type Claims = BTreeMap<CardId, Vec<(OfflineCounter, SamTerminal, TermSeq)>>;
type Loads = BTreeMap<CardId, BTreeMap<OnlineCounter, Load>>;

/// Proves every card.
///
/// # Errors
/// The store failed.
pub(super) fn cards<S: Store>(store: &mut S, report: &mut AuditReport) -> Result<(), StoreFault> {
    let mut loads = Loads::new();
    each(store, Scan::Loads, |record| {
        if let Record::Load(load) = record {
            loads.entry(load.card).or_default().insert(load.counter, load);
        }
    })?;
    let mut claims = Claims::new();
    each(store, Scan::Claims, |record| {
        if let Record::Claim(card, counter, sam, seq) = record {
            claims.entry(card).or_default().push((counter, sam, seq));
        }
    })?;
    each(store, Scan::After(Kind::Resolution, None), |record| {
        if let Record::Resolution(card, counter, sam, seq) = record {
            claims.entry(card).or_default().push((counter, sam, seq));
        }
    })?;
    let mut cards: Vec<Card> = Vec::new();
    each(store, Scan::Cards, |record| {
        if let Record::Card(card) = record {
            cards.push(card);
        }
    })?;
    for card in cards {
        report.cards = report.cards.saturating_add(1);
        let mut own = claims.remove(&card.id).unwrap_or_default();
        // One that policy had paid and that was proved later is there twice.
        own.sort_unstable();
        own.dedup();
        prove(store, report, &card, loads.remove(&card.id).unwrap_or_default(), &own)?;
    }
    Ok(())
}

fn prove<S: Store>(
    store: &mut S,
    report: &mut AuditReport,
    card: &Card,
    loads: BTreeMap<OnlineCounter, Load>,
    claims: &[(OfflineCounter, SamTerminal, TermSeq)],
) -> Result<(), StoreFault> {
    let mut debits = Vec::with_capacity(claims.len());
    let (issuer, asn) = (card.id.issuer, card.id.asn);
    for (counter, sam, seq) in claims {
        match store.get(&Key::Record(*sam, *seq))? {
            // Paid by policy and disproved since: the issuer bears it, not the card.
            Some(Record::Record(record))
                if matches!(record.standing, RecordStanding::Overtaken | RecordStanding::Fork) => {}
            Some(Record::Record(record)) => debits.push((*counter, record.content)),
            _ => report.exceptions.push(AuditException::DoubleClaim(issuer, asn, *counter)),
        }
    }
    let posted: u64 =
        sum(loads.values().filter(|load| load.state == LoadState::Posted).map(|load| load.amount.minor()));
    let spent: u64 = sum(debits.iter().map(|(_, record)| u64::from(record.amount.0)));
    if (posted, spent) != (card.loaded, card.spent) {
        report.exceptions.push(AuditException::CardTotals(issuer, asn));
    }
    // A load that is still open may have been credited: the card's balance may show it.
    let amounts: Vec<u64> = loads
        .into_values()
        .filter(|load| load.state != LoadState::Released)
        .map(|load| load.amount.minor())
        .collect();
    for counter in unexplained(&amounts, &debits) {
        report.exceptions.push(AuditException::Conservation { issuer, asn, counter });
    }
    Ok(())
}

fn sum(minors: impl Iterator<Item = u64>) -> u64 {
    minors.fold(0, u64::saturating_add)
}

/// The counters whose balances no run of loads explains.
fn unexplained(loads: &[u64], debits: &[(OfflineCounter, TransactionRecord)]) -> Vec<OfflineCounter> {
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
            wrong.push(*counter);
            reached = (0..prefix.len()).collect();
        }
        possible = reached;
        balance = u64::from(record.balance_after.0);
        next = counter.next();
    }
    wrong
}
