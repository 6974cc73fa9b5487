//! A commit on its way, under the contract of the PostgreSQL store ([`crate::store::postgres`]): from its start on it is read as if it were
//! durable, by its own gateway alone; what was decided on it holds only if it was kept, and if it was not, everything that was remembered of
//! it is forgotten.
//!
//! When it becomes durable, whether it does, and whether anybody hears of it is decided by [`Landing`], which tests and simulation choose. Where
//! nobody chooses, it is when its gateway asks: another writer that commits meanwhile is first.

use super::{At, Rows, Seen, SharedStore};
use crate::store::{Batch, GatewayNo, Heads, Key, Link, Record, StoreFault};
use std::collections::HashMap;

/// The version of a row that a commit on its way changes: the real one is known when it lands.
pub(super) const FLYING: At = At(u64::MAX);

/// What becomes of a commit on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Landing {
    /// It becomes durable when its gateway asks, if no other writer was first by then.
    #[default]
    Late,
    /// It is durable at once, and others see it; the word of it comes when its gateway asks.
    Early,
    /// It is not kept, and this is what its gateway hears.
    Lost(StoreFault),
    /// It is kept, and the word of it is lost: its gateway hears this, and knows nothing.
    Unheard(StoreFault),
    /// The connection broke and was made again: the gateway finds out whether it was kept, and has forgotten everything that it read.
    FoundOut {
        /// It was.
        kept: bool,
    },
}

/// A commit that was started.
#[derive(Debug)]
pub(super) struct Flight {
    batch: Batch,
    link: Link,
    /// Where the sequences stood before.
    before: Heads,
    /// What its decision read.
    seen: HashMap<Key, Seen>,
    /// What it changes.
    changes: HashMap<Key, Seen>,
    landing: Landing,
    /// Whether it was kept, once that is decided; then the versions of its rows.
    arrived: Option<Option<HashMap<Key, At>>>,
}

impl Flight {
    /// Becomes durable, unless another writer was first.
    fn arrive(&mut self, rows: &mut Rows) {
        if self.arrived.is_some() {
            return;
        }
        let Self { batch, link, before, seen, changes, .. } = self;
        let Some(written) = rows.judge(seen, before, batch) else {
            self.arrived = Some(None);
            return;
        };
        rows.write(written.into_iter().cloned().chain([Record::Link(*link)]));
        self.arrived = Some(Some(changes.keys().map(|key| (*key, rows.version(key))).collect()));
    }
}

impl SharedStore {
    /// What becomes of the commit on its way.
    pub fn plan_landing(&mut self, landing: Landing) {
        let database = self.database.clone();
        let Some(flight) = &mut self.flight else { return };
        if landing == Landing::Early {
            flight.arrive(&mut database.rows());
        }
        flight.landing = landing;
    }

    /// Whether a commit is on its way.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        self.flight.is_some()
    }

    /// How often something was read that was still on its way.
    #[must_use]
    pub const fn read_ahead(&self) -> u64 {
        self.read_ahead
    }

    /// The connection is made anew: nothing that was read before counts any more, and the sequences stand where the database has them.
    pub fn reconnect(&mut self) {
        self.heads = self.database.rows().heads(GatewayNo::of(self.heads.transfer.0));
        self.kept.clear();
        self.limits = None;
        self.seen.clear();
        self.before = None;
        self.connection = self.connection.saturating_add(1);
    }

    /// A decision that went over to another connection has lost the versions that its commit would check.
    pub(super) const fn still(&self) -> Result<(), StoreFault> {
        if self.decided_on == self.connection { Ok(()) } else { Err(StoreFault::Conflict) }
    }

    /// Starts a commit.
    pub(super) fn depart(&mut self, batch: &Batch) -> Result<(), StoreFault> {
        self.land()?;
        self.still()?;
        if matches!(self.fate, Some(Err(_))) {
            // Nothing is started before the failure of the one before is known to who started that.
            return Err(StoreFault::Conflict);
        }
        let (link, after) = Link::of(batch, &self.heads);
        let flying = |change: &Record| (change.key(), Seen { record: Some(change.clone()), version: FLYING });
        let flight = Flight {
            batch: batch.clone(),
            link,
            before: self.heads,
            seen: std::mem::take(&mut self.seen),
            changes: batch.changes.iter().map(flying).collect(),
            landing: Landing::default(),
            arrived: None,
        };
        let changes: Vec<&Record> = batch.changes.iter().collect();
        self.remember(FLYING, &changes);
        self.heads = after;
        self.flight = Some(flight);
        Ok(())
    }

    /// What a commit on its way makes of this record.
    pub(super) fn flying(&mut self, key: &Key) -> Option<Seen> {
        let seen = self.flight.as_ref()?.changes.get(key)?.clone();
        self.read_ahead = self.read_ahead.saturating_add(1);
        Some(seen)
    }

    /// Waits for a commit on its way. If it was not kept, what was read meanwhile is worth nothing: decide again.
    pub(super) fn land(&mut self) -> Result<(), StoreFault> {
        let Some(mut flight) = self.flight.take() else { return Ok(()) };
        let landing = std::mem::take(&mut flight.landing);
        if !matches!(landing, Landing::Lost(_) | Landing::FoundOut { kept: false }) {
            flight.arrive(&mut self.database.rows());
        }
        let Flight { before, seen, changes, arrived, .. } = flight;
        let versions = arrived.flatten();
        if let Some(versions) = &versions {
            self.known = versions.values().copied().max().unwrap_or(self.known).max(self.known);
        }
        let fate = match (landing, versions.is_some()) {
            (Landing::Lost(fault) | Landing::Unheard(fault), _) => Err(fault),
            (Landing::FoundOut { .. }, kept) => {
                self.reconnect();
                if kept { Ok(()) } else { Err(StoreFault::Conflict) }
            }
            (Landing::Late | Landing::Early, true) => Ok(()),
            (Landing::Late | Landing::Early, false) => {
                self.conflicts = self.conflicts.saturating_add(1);
                Err(StoreFault::Conflict)
            }
        };
        match (&fate, versions) {
            (Ok(()), Some(versions)) => self.landed(&versions),
            _ => {
                self.heads = before;
                for key in seen.keys().chain(changes.keys()).chain(self.seen.keys()) {
                    self.kept.remove(key);
                }
                self.limits = None;
                self.seen.clear();
                self.before = None;
            }
        }
        let kept = fate.is_ok();
        self.fate = Some(fate);
        if kept { Ok(()) } else { Err(StoreFault::Conflict) }
    }

    /// What was read ahead has the versions that the commit gave.
    fn landed(&mut self, versions: &HashMap<Key, At>) {
        let ahead = self.seen.iter_mut().chain(self.kept.iter_mut());
        for (key, seen) in ahead.filter(|(_, seen)| seen.version == FLYING) {
            seen.version = versions.get(key).copied().unwrap_or(FLYING);
        }
    }

    /// What became of the commit that was started last, told once.
    pub(super) fn told(&mut self) -> Result<(), StoreFault> {
        // What a landing says, its fate says more exactly.
        let _ = self.land();
        self.fate.take().unwrap_or(Ok(()))
    }
}
