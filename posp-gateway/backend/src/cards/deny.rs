//! The deny list: which cards may do nothing, in versions, so that a reader asks only for what changed since it read last (`posp.md` section 3).
//!
//! Every change takes the next version and leaves an alert that is never removed: who went on the list when, and when an operator took whom off it.

use super::alert;
use crate::api::{AlertKind, CardStatus, DenyChange, DenyList, Report};
use crate::engine::Desk;
use crate::store::{Card, DenyVersion, Key, Record, Registry, Scan, Store, StoreFault, Working};
use std::ops::ControlFlow;

/// Changes a card's status; the caller stores the card. Nothing happens if it has it already.
pub(crate) fn set<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    card: &mut Card,
    status: CardStatus,
) -> Result<(), StoreFault> {
    if card.status == status {
        return Ok(());
    }
    let registry = working.registry()?;
    let deny = DenyVersion(registry.deny.0.saturating_add(1));
    working.put(Record::Registry(Registry { deny, ..registry }));
    (card.status, card.deny_version) = (status, deny);
    let kind = match status {
        CardStatus::Denied => AlertKind::Denied,
        CardStatus::Active => AlertKind::DenyLifted,
    };
    alert(working, desk, kind, Some((card.id.issuer, card.id.asn)), None, None);
    Ok(())
}

/// What changed after `since`, oldest first, at most `limit` cards.
pub(crate) fn list<S: Store>(store: &mut S, since: DenyVersion, limit: u32) -> Result<Report, StoreFault> {
    let version = match store.get(&Key::Registry)? {
        Some(Record::Registry(registry)) => registry.deny,
        _ => DenyVersion(0),
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut changes = Vec::new();
    store.scan(Scan::DenyList(since), &mut |record| {
        if changes.len() >= limit {
            return ControlFlow::Break(());
        }
        if let Record::Card(card) = record {
            changes.push(DenyChange {
                version: card.deny_version,
                issuer: card.id.issuer,
                asn: card.id.asn,
                denied: card.status == CardStatus::Denied,
            });
        }
        ControlFlow::Continue(())
    })?;
    Ok(Report::DenyList(DenyList { version, changes }))
}
