//! What a card may do next, by its row, against what led there: its status against the alerts that every change of the deny list leaves, its online
//! counter and its open load against its loads.

use super::pages::Pages;
use crate::api::{AlertKind, CardStatus};
use crate::store::{Card, CardId, Kind, Load, LoadState, Record, Store, StoreFault};
use protocol::ids::OnlineCounter;
use std::collections::HashMap;

/// What alerts say of a card and the deny list.
#[derive(Clone, Copy, Default)]
struct Denials {
    /// How often it was put on the list, less how often it was taken off.
    sum: i64,
    /// Whether a copy of it was seen: before the list had versions, that alone denied it.
    copied: bool,
}

/// The same of every card that was ever denied: memory grows with them.
pub(super) struct Denied(HashMap<CardId, Denials>);

impl Denied {
    /// Goes through the alerts, which are never removed. They are counted, so that the clocks of several gateways do not matter.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn of<S: Store>(store: &mut S) -> Result<Self, StoreFault> {
        let (mut denied, mut alerts) = (HashMap::<CardId, Denials>::new(), Pages::of(Kind::Alert));
        while let Some(Record::Alert(_, alert)) = alerts.next(store)? {
            let (change, copied) = match alert.kind {
                AlertKind::Denied => (1, false),
                AlertKind::DenyLifted => (-1, false),
                AlertKind::Fork => (0, true),
                _ => continue,
            };
            if let Some((issuer, asn)) = alert.card {
                let of = denied.entry(CardId { issuer, asn }).or_default();
                *of = Denials { sum: of.sum.saturating_add(change), copied: of.copied || copied };
            }
        }
        Ok(Self(denied))
    }

    /// Whether a card has the status that its alerts leave it.
    pub(super) fn agree(&self, card: &Card) -> bool {
        let Denials { sum, copied } = self.0.get(&card.id).copied().unwrap_or_default();
        match card.status {
            CardStatus::Denied => sum == 1 || (sum == 0 && copied),
            CardStatus::Active => sum == 0 || (sum == -1 && copied),
        }
    }
}

/// A card's loads, as they are met in the order of their counters.
#[derive(Default)]
pub(super) struct Loads {
    open: Option<OnlineCounter>,
    /// A second open one would leave the first without its decision.
    two_open: bool,
    next: OnlineCounter,
}

impl Loads {
    pub(super) fn meet(&mut self, load: &Load) {
        let booked = load.state.is_booked();
        self.next = if booked { load.counter.next().unwrap_or(load.counter) } else { load.counter };
        if matches!(load.state, LoadState::Consented | LoadState::Disputed) {
            self.two_open |= self.open.replace(load.counter).is_some();
        }
    }

    /// Whether the card's row goes on where they end.
    pub(super) fn agree(&self, card: &Card) -> bool {
        !self.two_open && self.open == card.open_load && self.next <= card.next_online
    }
}
