//! What a decision reads: in few round trips, each record with its version; what rarely changes is remembered.
//!
//! What is read twice must not have changed in between, or the decision begins again. What a commit on its way changes is read from memory
//! (`flight.rs`).

use super::rows::{self, Arrays, Target};
use super::session::Ask;
use super::{AGAIN, PostgresStore, shape};
use crate::accounts::HoldState;
use crate::map::{Map, Set};
use crate::store::sqlite::read::{self, Columns};
use crate::store::{Key, Record, StoreFault};
use protocol::time::Wall;
use std::collections::BTreeMap;

/// Most records that one reading of a moment keeps.
const READ_MAX: usize = 65_536;

/// A record as a decision read it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) record: Option<Record>,
    pub(super) version: i64,
}

impl PostgresStore {
    /// Reads keys that were not read yet, all in one round trip.
    pub(super) fn fetch(&mut self, keys: &[Key], due: Option<(Wall, usize)>) -> Result<(), StoreFault> {
        // What is read of one moment can be read again.
        if self.reading && self.seen.len() > READ_MAX {
            self.seen.clear();
        }
        let mut groups: BTreeMap<Target, Vec<(Key, Vec<rows::Value>)>> = BTreeMap::new();
        let mut wanted = Set::default();
        for key in keys {
            if self.seen.contains_key(key) || !wanted.insert(*key) {
                continue;
            }
            if let Some(flying) = self.flying(key) {
                let flying = flying.clone();
                self.seen.insert(*key, flying);
                continue;
            }
            if !self.reading && matches!(key, Key::Limit(_)) {
                let limit = self.limit(key);
                let limit = limit.map_err(|fault| self.failed(fault))?;
                self.seen.insert(*key, limit);
                continue;
            }
            if !self.reading
                && let Some(kept) = self.kept.get(key)
            {
                self.seen.insert(*key, kept.clone());
                continue;
            }
            let (target, values) = rows::key(key);
            groups.entry(target).or_default().push((*key, values));
        }
        if groups.is_empty() && due.is_none() {
            return Ok(());
        }
        let result = self.read_groups(groups, due);
        result.map_err(|fault| self.failed(fault))
    }

    fn read_groups(
        &mut self,
        groups: BTreeMap<Target, Vec<(Key, Vec<rows::Value>)>>,
        due: Option<(Wall, usize)>,
    ) -> Result<(), StoreFault> {
        let mut arrays = Vec::with_capacity(groups.len());
        let mut absent = Vec::new();
        for (target, mut keys) in groups {
            // In the order of the index: neighbours share its pages.
            keys.sort_unstable_by_key(|(key, _)| *key);
            let mut array = Arrays::new(target.columns().iter());
            for (key, values) in keys {
                array.push(values.into_iter())?;
                absent.push(key);
            }
            arrays.push((target, array));
        }
        let limits = due.map(|(now, limit)| (now.0, i64::try_from(limit).unwrap_or(i64::MAX)));
        let (session, runtime) = if self.flight.is_some() { self.reader()? } else { self.session()? };
        let mut asks = Vec::with_capacity(arrays.len().saturating_add(1));
        for (target, array) in &arrays {
            let statement = match target {
                Target::Table(table) => {
                    session.prepared(runtime, &format!("{table:?} read"), || table.read())?
                }
                Target::Identities => session.prepared(runtime, "identities", shape::identities)?,
            };
            asks.push(Ask { statement, params: array.params() });
        }
        if let Some((now, limit)) = &limits {
            let statement = session.prepared(runtime, "due", shape::due_holds)?;
            asks.push(Ask { statement, params: vec![now, limit] });
        }
        let mut answers = session.ask(runtime, &asks)?.into_iter();
        drop(asks);
        for (target, _) in &arrays {
            for row in answers.next().unwrap_or_default() {
                match target {
                    Target::Table(table) => self.take(*table, &row)?,
                    Target::Identities => {
                        let record = rows::found_identity(&row)?;
                        self.seen.insert(record.key(), Seen { record: Some(record), version: 0 });
                    }
                }
            }
        }
        for key in absent {
            self.seen.entry(key).or_insert(Seen { record: None, version: 0 });
        }
        if let Some((now, _)) = due {
            let mut holds = Vec::new();
            for row in answers.next().unwrap_or_default() {
                self.take(shape::Table::Holds, &row)?;
                let hold = read::hold(&mut Columns::new(&row));
                holds.push(hold.ok_or(StoreFault::Damaged { what: "holds" })?);
            }
            holds.retain(|hold| match self.flying(&Key::Hold(hold.seq)) {
                Some(Seen { record: Some(Record::Hold(hold)), .. }) => hold.state == HoldState::Open,
                _ => true,
            });
            self.due = Some((now, holds));
        }
        Ok(())
    }

    /// A limit: almost nobody has one, and every payment asks for several, so all of them are remembered.
    fn limit(&mut self, key: &Key) -> Result<Seen, StoreFault> {
        if self.limits.is_none() {
            let damaged = StoreFault::Damaged { what: "limits" };
            let (session, runtime) = self.session()?;
            // The common version first: what changes in between is noticed at the commit.
            let head = session.rows(runtime, shape::LIMITS_HEAD, &[])?;
            let head = head.first().and_then(|row| row.try_get(0).ok()).ok_or(damaged.clone())?;
            let mut limits = Map::default();
            for row in session.rows(runtime, &shape::all_limits(), &[])? {
                let record = rows::record(shape::Table::Limits, &row)?;
                let version = row.try_get(row.len().saturating_sub(1)).map_err(|_| damaged.clone())?;
                limits.insert(record.key(), Seen { record: Some(record), version });
            }
            self.limits = Some((head, limits));
        }
        let known = self.limits.as_ref().and_then(|(_, limits)| limits.get(key).cloned());
        Ok(known.unwrap_or(Seen { record: None, version: 0 }))
    }

    /// Takes in a row whose last column is its version.
    pub(super) fn take(&mut self, table: shape::Table, row: &tokio_postgres::Row) -> Result<(), StoreFault> {
        let record = rows::record(table, row)?;
        let last = row.len().saturating_sub(1);
        let version = row.try_get(last).map_err(|_| StoreFault::Damaged { what: table.name() })?;
        self.saw(record, version)
    }

    /// A record that was read; one that was read before, or was not there, must not have changed since.
    fn saw(&mut self, record: Record, version: i64) -> Result<(), StoreFault> {
        let key = record.key();
        if let Some(flying) = self.flying(&key) {
            let flying = flying.clone();
            self.seen.insert(key, flying);
            return Ok(());
        }
        if let Some(before) = self.seen.get(&key)
            && (before.record.is_none() || before.version != version)
        {
            self.forget();
            return Err(AGAIN);
        }
        let seen = Seen { record: Some(record), version };
        if !self.reading && seen.record.as_ref().is_some_and(is_kept) {
            self.kept.insert(key, seen.clone());
        }
        self.seen.insert(key, seen);
        Ok(())
    }

    /// What the present decision read may not be so any more.
    pub(super) fn forget(&mut self) {
        for key in self.seen.keys() {
            self.kept.remove(key);
        }
        self.limits = None;
        self.seen.clear();
        self.due = None;
    }
}

/// One that rarely changes, or that one gateway alone changes as long as its terminals stay with it. What is not there is never remembered.
pub(in crate::store) const fn is_kept(record: &Record) -> bool {
    match record {
        Record::Account(account) => !account.flags.limited(),
        Record::Issuer(_)
        | Record::Merchant(_)
        | Record::Payer(..)
        | Record::Terminal(_)
        | Record::Batch(_) => true,
        _ => false,
    }
}
