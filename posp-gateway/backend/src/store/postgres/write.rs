//! A commit: everything it changes, everything it relied on, and its link, in one transaction and one round trip.

use super::rows::{self, Arrays, Target, Value};
use super::session::{Params, Sending};
use super::shape::{Column, Kind, Table};
use super::{AGAIN, PostgresStore, Seen, shape};
use crate::map::Set;
use crate::store::{Batch, Key, Link, Record, StoreFault};
use std::collections::BTreeMap;

/// What a commit does to one table, in the order of its keys.
#[derive(Default)]
struct Group {
    inserts: Vec<Vec<Value>>,
    /// Values and the version that was read.
    updates: Vec<(Vec<Value>, i64)>,
    /// Keys that were read and not changed, with their versions.
    checks: Vec<(Vec<Value>, i64)>,
    /// Keys that were looked for and not found.
    absent: Vec<Vec<Value>>,
}

/// A statement to come: its name and text are the table's.
#[derive(Clone, Copy, Debug)]
enum Act {
    Update,
    Check,
    Absent,
    Insert,
}

/// What statements are for.
#[derive(Clone, Copy, Debug)]
enum For {
    /// A decision, which relies on what it read.
    Decision,
    /// Records as they are: nothing was decided.
    Copy,
}

struct Step {
    table: Table,
    act: Act,
    arrays: Arrays,
    /// How many rows must be found.
    count: i64,
}

const VERSION: Column = Column { name: "version", kind: Kind::Big, changes: false };

impl PostgresStore {
    /// What a batch changes and relies on, as one transaction that is not sent yet.
    pub(super) fn prepare_commit(&mut self, batch: &Batch, link: &Link) -> Result<Sending, StoreFault> {
        self.read_what_is_replaced(batch)?;
        let mut groups = self.groups(batch)?;
        if let Some((table, values)) = rows::row(&Record::Link(*link))? {
            groups.entry(table).or_default().inserts.push(values);
        }
        let sets_limits = batch.changes.iter().any(|change| matches!(change, Record::Limit(_)));
        self.sending(steps(groups)?, sets_limits, For::Decision)
    }

    /// Appends records as they are.
    pub(super) fn append(&mut self, records: &[Record]) -> Result<(), StoreFault> {
        let mut groups: BTreeMap<Table, Group> = BTreeMap::new();
        for record in records {
            if let Some((table, values)) = rows::row(record)? {
                groups.entry(table).or_default().inserts.push(values);
            }
        }
        let sets_limits = records.iter().any(|record| matches!(record, Record::Limit(_)));
        self.run(steps(groups)?, sets_limits, For::Copy)
    }

    /// Whether what was read still holds, for a batch that changes nothing.
    pub(super) fn check_reads(&mut self) -> Result<(), StoreFault> {
        self.settled()?;
        let empty = Batch { at: self.heads.at, changes: Vec::new() };
        let steps = steps(self.groups(&empty)?)?;
        if steps.is_empty() && !self.used_limits() {
            return Ok(());
        }
        match self.run(steps, false, For::Decision) {
            Err(StoreFault::Conflict) => {
                self.forget();
                self.give_way();
                Err(AGAIN)
            }
            Err(fault) => Err(self.failed(fault)),
            Ok(()) => Ok(()),
        }
    }

    /// Records that nobody read before they were put: there may be one that is replaced.
    fn read_what_is_replaced(&mut self, batch: &Batch) -> Result<(), StoreFault> {
        let keys: Vec<Key> =
            batch.changes.iter().filter(|change| !self.is_new(change)).map(Record::key).collect();
        self.fetch(&keys, None)
    }

    /// Whether its number is one that this batch gives out.
    fn is_new(&self, record: &Record) -> bool {
        match record {
            Record::Transfer(_) | Record::Alert(..) | Record::Link(_) | Record::Identity(..) => true,
            Record::Hold(hold) => self.heads.is_next_transfer(hold.seq),
            Record::Transaction(it) => self.heads.is_next_transaction(it.seq),
            _ => false,
        }
    }

    fn groups(&self, batch: &Batch) -> Result<BTreeMap<Table, Group>, StoreFault> {
        let mut groups: BTreeMap<Table, Group> = BTreeMap::new();
        let mut changed =
            Set::with_capacity_and_hasher(batch.changes.len(), foldhash::quality::RandomState::default());
        let mut changes: Vec<&Record> = batch.changes.iter().collect();
        changes.sort_by_cached_key(|change| place(change));
        for change in changes {
            let key = change.key();
            changed.insert(key);
            let Some((table, values)) = rows::row(change)? else { continue };
            let group = groups.entry(table).or_default();
            match self.seen.get(&key).filter(|seen| seen.record.is_some()) {
                Some(Seen { version, .. }) if table.is_versioned() => group.updates.push((values, *version)),
                // It cannot change, and it is there: whoever put it again put the same.
                Some(_) => {}
                None => group.inserts.push(values),
            }
        }
        let mut read: Vec<(&Key, &Seen)> =
            self.seen.iter().filter(|(key, _)| !changed.contains(*key)).collect();
        read.sort_by_key(|(key, _)| **key);
        for (key, seen) in read {
            let (Target::Table(table), values) = rows::key(key) else { continue };
            if table == Table::Limits {
                // Checked all together.
                continue;
            }
            let group = groups.entry(table).or_default();
            match &seen.record {
                None => group.absent.push(values),
                // Nothing that a payment reads of an account without a limit ever changes by a payment.
                Some(Record::Account(account)) if !account.flags.limited() => {}
                Some(_) if table.is_versioned() => group.checks.push((values, seen.version)),
                Some(_) => {}
            }
        }
        Ok(groups)
    }

    fn used_limits(&self) -> bool {
        self.seen.keys().any(|key| matches!(key, Key::Limit(_)))
    }

    fn run(&mut self, steps: Vec<Step>, sets_limits: bool, why: For) -> Result<(), StoreFault> {
        let importing = self.importing.is_some();
        let sending = self.sending(steps, sets_limits, why)?;
        // A copy is taken in by one transaction, which is open.
        let sending = if importing { sending.within() } else { sending };
        self.runtime.block_on(sending.run())
    }

    fn sending(&mut self, steps: Vec<Step>, sets_limits: bool, why: For) -> Result<Sending, StoreFault> {
        let uses_limits = !matches!(why, For::Copy) && self.used_limits();
        if uses_limits && self.limits.is_none() {
            // It knows limits from a commit that was on its way, which says nothing of the others.
            return Err(AGAIN);
        }
        let head = self.limits.as_ref().map(|(head, _)| *head).filter(|_| uses_limits);
        let (session, runtime) = self.session()?;
        let mut statements = Vec::with_capacity(steps.len().saturating_add(2));
        if let Some(head) = head {
            let statement = session.prepared(runtime, "check limits", || shape::CHECK_LIMITS.to_owned())?;
            statements.push((statement, Params::One(head)));
        }
        if sets_limits {
            let statement = session.prepared(runtime, "change limits", || shape::CHANGE_LIMITS.to_owned())?;
            statements.push((statement, Params::None));
        }
        for Step { table, act, arrays, count } in steps {
            let name = format!("{table:?} {act:?}");
            let statement = session.prepared(runtime, &name, || match act {
                Act::Update => table.update(),
                Act::Check => table.check(),
                Act::Absent => table.absent(),
                Act::Insert => table.insert(),
            })?;
            let count = matches!(act, Act::Update | Act::Check).then_some(count);
            statements.push((statement, Params::Rows(arrays, count)));
        }
        Ok(session.sending(statements))
    }
}

/// The order of changes: by key, so that all gateways lock in one order; transactions by identity, which is the order of their index.
fn place(record: &Record) -> (Option<crate::api::Identity>, Key) {
    match record {
        Record::Transaction(it) => (Some(it.identity), record.key()),
        _ => (None, record.key()),
    }
}

/// Locks first, table by table; then what is appended.
fn steps(groups: BTreeMap<Table, Group>) -> Result<Vec<Step>, StoreFault> {
    let mut steps = Vec::new();
    let mut inserts = Vec::new();
    for (table, group) in groups {
        let count = |rows: usize| i64::try_from(rows).unwrap_or(i64::MAX);
        let keyed = || table.key_columns().iter().chain([&VERSION]);
        if !group.updates.is_empty() {
            let columns: Vec<usize> = table.updated().map(|(at, _)| at).collect();
            let mut arrays =
                Arrays::new(table.updated().map(|(_, column)| column).chain(std::iter::once(&VERSION)));
            let rows = count(group.updates.len());
            for (values, version) in group.updates {
                let wanted = values.into_iter().enumerate().filter(|(at, _)| columns.contains(at));
                let row = wanted.map(|(_, value)| value).chain([Value::Int(version)]);
                arrays.push(row)?;
            }
            steps.push(Step { table, act: Act::Update, arrays, count: rows });
        }
        if !group.checks.is_empty() {
            let mut arrays = Arrays::new(keyed());
            let rows = count(group.checks.len());
            for (values, version) in group.checks {
                arrays.push(values.into_iter().chain([Value::Int(version)]))?;
            }
            steps.push(Step { table, act: Act::Check, arrays, count: rows });
        }
        if !group.absent.is_empty() {
            let mut arrays = Arrays::new(table.key_columns().iter());
            for values in group.absent {
                arrays.push(values.into_iter())?;
            }
            steps.push(Step { table, act: Act::Absent, arrays, count: 0 });
        }
        if !group.inserts.is_empty() {
            let mut arrays = Arrays::new(table.columns().iter());
            for values in group.inserts {
                arrays.push(values.into_iter())?;
            }
            inserts.push(Step { table, act: Act::Insert, arrays, count: 0 });
        }
    }
    steps.extend(inserts);
    Ok(steps)
}
