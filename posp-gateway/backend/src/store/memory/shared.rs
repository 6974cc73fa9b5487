//! A database in memory that several gateways work on at once, under the contract of the PostgreSQL store ([`crate::store::postgres`]): what
//! is proved of several gateways in tests and simulation is proved under the rules that hold in the field.
//!
//! - A commit holds only if what its decision read is still so: rows that change have the version that was read, what was not there is
//!   still not there. Else nothing of it is kept, and the engine decides again ([`StoreFault::Conflict`]).
//! - An identity, and every other key, is one row.
//! - Not bound, as there: accounts without a limit (payments change nothing of them that decisions read), and rows that never change.
//! - Rows that rarely change are remembered from one decision to the next, and all limits; the commit checks them.
//! - Numbers are the gateway's own, and so is its chain: [`Database::gateway`] finds where they stand by its newest link, as a process that
//!   starts does.
//!
//! What threads would make happen now and then, [`SharedStore::read_before`] makes happen when it is wanted: a decision reads as if it had
//! begun before the newest commits of the others. One process for each number is the caller's business: the advisory lock is PostgreSQL's.

mod flight;

pub use flight::Landing;

use super::MemoryStore;
use crate::accounts::{Hold, HoldState, TransactionSeq, TransferSeq};
use crate::report::BatchState;
use crate::store::postgres::is_kept;
use crate::store::{
    AlertNo, Batch, GatewayNo, Heads, Key, Link, Linked, Outcome, Record, Scan, Store, StoreFault, Visit,
};
use flight::Flight;
use protocol::time::Wall;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Commits whose rows are remembered as they were before.
const PAST_MAX: usize = 64;

/// A moment between two commits: how many were made before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(u64);

impl At {
    /// So many commits earlier.
    #[must_use]
    pub const fn earlier(self, commits: u64) -> Self {
        Self(self.0.saturating_sub(commits))
    }
}

/// The rows that all gateways see.
#[derive(Clone, Debug, Default)]
pub struct Database(Arc<Mutex<Rows>>);

#[derive(Debug, Default)]
struct Rows {
    table: MemoryStore,
    /// When a key was changed last; not in here: never.
    changed: HashMap<Key, At>,
    /// All limits have one version.
    limits_changed: At,
    now: At,
    /// What the newest commits replaced, oldest first.
    past: VecDeque<Past>,
}

#[derive(Debug)]
struct Past {
    /// After it, the rows were changed.
    made: At,
    before: Vec<(Key, Seen)>,
}

/// A row as it was read.
#[derive(Clone, Debug, Default)]
struct Seen {
    record: Option<Record>,
    version: At,
}

impl Rows {
    fn version(&self, key: &Key) -> At {
        match key {
            Key::Limit(_) => self.limits_changed,
            _ => self.changed.get(key).copied().unwrap_or_default(),
        }
    }

    /// A key as it stood at a moment; `None` if that is too long ago.
    fn read(&self, key: &Key, at: At) -> Option<Seen> {
        if at < self.now {
            let since: Vec<&Past> = self.past.iter().filter(|past| past.made > at).collect();
            let first = since.first().filter(|past| past.made == At(at.0.saturating_add(1)));
            first?;
            let before = since.iter().flat_map(|past| &past.before).find(|(of, _)| of == key);
            if let Some((_, seen)) = before {
                return Some(seen.clone());
            }
        }
        Some(Seen { record: self.table.records.get(key).cloned(), version: self.version(key) })
    }

    /// All rows as they stood at a moment; `None` if that is too long ago.
    fn picture(&self, at: At) -> Option<MemoryStore> {
        let mut table = self.table.clone();
        let mut reached = self.now;
        for past in self.past.iter().rev().take_while(|past| past.made > at) {
            for (key, seen) in &past.before {
                match &seen.record {
                    Some(record) => drop(table.records.insert(*key, record.clone())),
                    None => drop(table.records.remove(key)),
                }
            }
            reached = past.made.earlier(1);
        }
        (reached <= at).then_some(table)
    }

    /// Whether everything that was read and is not in `changes` is as it was.
    fn holds(&self, read: &HashMap<Key, Seen>, changes: &HashMap<Key, &Record>) -> bool {
        read.iter().all(|(key, seen)| match (key, &seen.record) {
            // A unique index of transactions is what binds it.
            (Key::Identity(_), _) => true,
            _ if changes.contains_key(key) => true,
            // Nothing that a decision reads of it is changed by a payment.
            (_, Some(Record::Account(account))) if !account.flags.limited() => true,
            _ => self.version(key) == seen.version,
        })
    }

    /// The rows that a batch writes which was decided on what was `read`, or nothing if another writer was first.
    fn judge<'b>(
        &self,
        read: &HashMap<Key, Seen>,
        heads: &Heads,
        batch: &'b Batch,
    ) -> Option<Vec<&'b Record>> {
        let changes: HashMap<Key, &Record> = batch.changes.iter().map(|it| (it.key(), it)).collect();
        if !self.holds(read, &changes) {
            return None;
        }
        let mut written = Vec::with_capacity(batch.changes.len());
        for change in &batch.changes {
            let key = change.key();
            let is_there = self.table.records.contains_key(&key);
            match read.get(&key).map(|seen| (seen.record.is_some(), seen.version)) {
                // It cannot change, and it is there: whoever puts it again puts the same.
                Some((true, _)) if is_fixed(change) => continue,
                Some((_, version)) if version != self.version(&key) => return None,
                None if is_there && makes(heads, change) => return None,
                None if is_there && is_fixed(change) => continue,
                _ => {}
            }
            written.push(change);
        }
        Some(written)
    }

    fn write(&mut self, records: impl IntoIterator<Item = Record>) {
        self.now = At(self.now.0.saturating_add(1));
        let mut before = Vec::new();
        for record in records {
            let key = record.key();
            if matches!(key, Key::Limit(_)) {
                self.limits_changed = self.now;
            }
            let version = self.changed.insert(key, self.now).unwrap_or_default();
            before.push((key, Seen { record: self.table.put(record), version }));
        }
        self.past.push_back(Past { made: self.now, before });
        if self.past.len() > PAST_MAX {
            self.past.pop_front();
        }
    }

    /// When the newest link of a gateway was made.
    fn made(&self, heads: &Heads) -> At {
        heads.link.map_or(At::default(), |link| self.version(&Key::Link(link.number)))
    }

    /// Where a gateway's sequences stand: by its newest link, as rows and link are one commit.
    fn heads(&self, gateway: GatewayNo) -> Heads {
        let mut heads = gateway.heads();
        let links = Key::Link(crate::store::CommitNo(gateway.base()))
            ..=Key::Link(crate::store::CommitNo(gateway.base_after()));
        if let Some((_, Record::Link(link))) = self.table.records.range(links).next_back() {
            heads.transfer = link.next_transfer;
            heads.transaction = link.next_transaction;
            heads.link = Some(Linked { number: link.number, hash: link.hash });
            heads.at = link.at;
        }
        let alerts = Key::Alert(AlertNo(gateway.base()))..=Key::Alert(AlertNo(gateway.base_after()));
        if let Some((Key::Alert(newest), _)) = self.table.records.range(alerts).next_back() {
            heads.alert = AlertNo(newest.0.saturating_add(1));
        }
        heads
    }
}

impl Database {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        // A thread that panicked left whole commits behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the process of a gateway opens when it starts. Two that are open under one number at once would give out the same numbers.
    #[must_use]
    pub fn gateway(&self, number: GatewayNo) -> SharedStore {
        let heads = self.rows().heads(number);
        SharedStore {
            known: self.rows().made(&heads),
            database: self.clone(),
            heads,
            seen: HashMap::new(),
            kept: HashMap::new(),
            limits: None,
            before: None,
            reading: None,
            conflicts: 0,
            overlaps: false,
            flight: None,
            fate: None,
            connection: 0,
            decided_on: 0,
            read_ahead: 0,
        }
    }

    /// Another database with the same rows, as they stand now.
    #[must_use]
    pub fn copy(&self) -> Self {
        let rows = self.rows();
        let (table, changed) = (rows.table.clone(), rows.changed.clone());
        let (limits_changed, now) = (rows.limits_changed, rows.now);
        let copy = Rows { table, changed, limits_changed, now, past: VecDeque::new() };
        Self(Arc::new(Mutex::new(copy)))
    }

    /// All rows, as they stand now.
    #[must_use]
    pub fn table(&self) -> MemoryStore {
        self.rows().table.clone()
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> At {
        self.rows().now
    }
}

/// One gateway's store on a [`Database`].
#[derive(Debug)]
pub struct SharedStore {
    database: Database,
    heads: Heads,
    /// What the present decision has read.
    seen: HashMap<Key, Seen>,
    /// What rarely changes.
    kept: HashMap<Key, Seen>,
    /// All limits, and when they were changed last.
    limits: Option<(At, BTreeMap<Key, Record>)>,
    /// The decision reads as of this moment, so many times.
    before: Option<(At, usize)>,
    /// What it has read, or committed itself, stands as of this moment at least: no read is of one before.
    known: At,
    /// Everything is read as of this moment.
    reading: Option<At>,
    conflicts: u64,
    overlaps: bool,
    /// A commit on its way.
    flight: Option<Flight>,
    /// What became of the newest that has landed, until it is told.
    fate: Option<Result<(), StoreFault>>,
    /// Which connection it has, counted.
    connection: u64,
    /// The connection that the present decision began with.
    decided_on: u64,
    /// Reads of what was still on its way.
    read_ahead: u64,
}

impl SharedStore {
    /// The database below.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// The next decision begins as if it were this moment: its first `reads` reads see nothing that was committed since, those that follow
    /// see everything (each statement of a real decision sees what is committed when it begins). If the others have committed something
    /// that matters, it comes to nothing and is decided again on what is there now.
    pub fn read_before(&mut self, moment: At, reads: usize) {
        self.before = Some((moment.max(self.known), reads));
    }

    /// The moment as of which the next read sees.
    fn moment(&mut self, now: At) -> At {
        if let Some(reading) = self.reading {
            return reading;
        }
        match &mut self.before {
            Some((moment, reads)) if *reads > 0 => {
                *reads = reads.saturating_sub(1);
                *moment
            }
            _ => {
                self.known = now;
                now
            }
        }
    }

    fn limit(&mut self, key: &Key) -> Seen {
        let rows = self.database.rows();
        let (version, all) = self.limits.get_or_insert_with(|| {
            let limits = rows.table.records.iter().filter(|(key, _)| matches!(key, Key::Limit(_)));
            (rows.limits_changed, limits.map(|(key, record)| (*key, record.clone())).collect())
        });
        Seen { record: all.get(key).cloned(), version: *version }
    }

    /// From now on a commit is on its way until its gateway asks for it, and the next batch is decided meanwhile.
    pub const fn overlap(&mut self) {
        self.overlaps = true;
    }

    /// How often another writer was first.
    #[must_use]
    pub const fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// Another writer was first: what the present decision read may not be so any more.
    fn overtaken(&mut self) -> StoreFault {
        self.conflicts = self.conflicts.saturating_add(1);
        self.kept.retain(|key, _| !self.seen.contains_key(key));
        self.limits = None;
        self.seen.clear();
        self.before = None;
        StoreFault::Conflict
    }

    /// Remembers what was committed.
    fn remember(&mut self, now: At, written: &[&Record]) {
        for record in written {
            let key = record.key();
            let closed = matches!(record, Record::Batch(it) if it.state == BatchState::Closed);
            if closed {
                self.kept.remove(&key);
            } else if is_kept(record) {
                self.kept.insert(key, Seen { record: Some((*record).clone()), version: now });
            }
            if matches!(record, Record::Limit(_)) {
                self.limits = None;
            }
        }
        self.seen.clear();
        self.before = None;
    }
}

/// Whether its number, or its name, is one that a batch which begins at `heads` gives out or takes: there may not be another.
fn makes(heads: &Heads, record: &Record) -> bool {
    match record {
        Record::Transfer(_) | Record::Alert(..) | Record::Link(_) | Record::Identity(..) => true,
        Record::Hold(hold) => heads.is_next_transfer(hold.seq),
        Record::Transaction(it) => heads.is_next_transaction(it.seq),
        _ => false,
    }
}

/// Rows that never change after they were made.
const fn is_fixed(record: &Record) -> bool {
    matches!(
        record,
        Record::Issuer(_)
            | Record::Merchant(_)
            | Record::Payer(..)
            | Record::Claim(..)
            | Record::Resolution(..)
            | Record::Arrival(..)
            | Record::Transfer(_)
            | Record::Identity(..)
            | Record::Alert(..)
            | Record::Link(_)
    )
}

impl Store for SharedStore {
    fn heads(&self) -> Heads {
        self.heads
    }

    fn begin(&mut self) -> Result<(), StoreFault> {
        self.seen.clear();
        self.decided_on = self.connection;
        Ok(())
    }

    fn confirm(&mut self) -> Result<(), StoreFault> {
        self.land()?;
        self.still()?;
        let holds = self.database.rows().holds(&self.seen, &HashMap::new());
        if !holds {
            return Err(self.overtaken());
        }
        self.before = None;
        Ok(())
    }

    fn begin_reading(&mut self) -> Result<(), StoreFault> {
        self.land()?;
        self.begin()?;
        self.reading = Some(self.database.now());
        Ok(())
    }

    fn end_reading(&mut self) {
        self.seen.clear();
        self.reading = None;
    }

    fn get(&mut self, key: &Key) -> Result<Option<Record>, StoreFault> {
        if let Some(seen) = self.seen.get(key) {
            return Ok(seen.record.clone());
        }
        self.still()?;
        if let Some(flying) = self.flying(key) {
            let record = flying.record.clone();
            self.seen.insert(*key, flying);
            return Ok(record);
        }
        if self.limits.is_none() && matches!(key, Key::Limit(_)) {
            self.land()?;
            self.still()?;
        }
        let kept = self.kept.get(key).filter(|_| self.reading.is_none());
        let seen = match kept {
            Some(kept) => kept.clone(),
            None if self.reading.is_none() && matches!(key, Key::Limit(_)) => self.limit(key),
            None => {
                let now = self.database.now();
                let moment = self.moment(now);
                let seen = self.database.rows().read(key, moment);
                let Some(seen) = seen else { return Err(self.overtaken()) };
                if self.reading.is_none() && seen.record.as_ref().is_some_and(is_kept) {
                    self.kept.insert(*key, seen.clone());
                }
                seen
            }
        };
        let record = seen.record.clone();
        self.seen.insert(*key, seen);
        Ok(record)
    }

    fn due_holds(&mut self, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault> {
        self.still()?;
        let database = self.database.clone();
        let mut rows = database.rows();
        let mut due = rows.table.due_holds(now, limit)?;
        due.retain(|hold| {
            let key = Key::Hold(hold.seq);
            if let Some(flying) = self.flying(&key) {
                let open =
                    matches!(&flying.record, Some(Record::Hold(hold)) if hold.state == HoldState::Open);
                self.seen.entry(key).or_insert(flying);
                return open;
            }
            let seen = Seen { record: Some(Record::Hold(*hold)), version: rows.version(&key) };
            self.seen.entry(key).or_insert(seen);
            true
        });
        Ok(due)
    }

    fn scan(&mut self, scan: Scan, visit: Visit<'_>) -> Result<(), StoreFault> {
        self.land()?;
        self.still()?;
        let database = self.database.clone();
        let mut rows = database.rows();
        let now = rows.now;
        let moment = self.moment(now);
        let mut conflict = false;
        let mut past = if moment < now { rows.picture(moment) } else { None };
        if moment < now && past.is_none() {
            return Err(self.overtaken());
        }
        let Rows { table, changed, .. } = &mut *rows;
        let table = past.as_mut().unwrap_or(table);
        let (seen, bound) = (&mut self.seen, self.reading.is_none());
        table.scan(scan, &mut |record| {
            let key = record.key();
            if bound && !is_fixed(&record) {
                let version = changed.get(&key).copied().unwrap_or_default();
                // A row of the past has a version that no commit finds any more, unless it is still the same.
                let version = if version > moment { moment } else { version };
                let before =
                    seen.entry(key).or_insert_with(|| Seen { record: Some(record.clone()), version });
                if before.record.is_some() && before.version != version {
                    conflict = true;
                    return std::ops::ControlFlow::Break(());
                }
            }
            visit(record)
        })?;
        drop(rows);
        if conflict {
            return Err(self.overtaken());
        }
        Ok(())
    }

    fn commit(&mut self, batch: &Batch) -> Result<Vec<Outcome>, StoreFault> {
        self.land()?;
        self.still()?;
        let database = self.database.clone();
        let mut rows = database.rows();
        let Some(written) = rows.judge(&self.seen, &self.heads, batch) else {
            return Err(self.overtaken());
        };
        let (link, heads) = Link::of(batch, &self.heads);
        self.known = At(rows.now.0.saturating_add(1));
        rows.write(written.iter().map(|record| (*record).clone()).chain([Record::Link(link)]));
        self.heads = heads;
        self.remember(rows.now, &written);
        Ok(vec![Outcome::Applied; batch.changes.len()])
    }

    fn overlaps(&self) -> bool {
        self.overlaps
    }

    fn start(&mut self, batch: &Batch) -> Result<(), StoreFault> {
        self.depart(batch)
    }

    fn finish(&mut self) -> Result<(), StoreFault> {
        self.told()
    }

    fn skip_to(&mut self, at: Wall, next: TransactionSeq) -> Result<(), StoreFault> {
        self.land()?;
        let (link, heads) = Link::skipping(at, next, &self.heads);
        self.database.rows().write([Record::Link(link)]);
        self.heads = heads;
        Ok(())
    }

    fn copy_to(&mut self, file: &std::path::Path) -> Result<(), StoreFault> {
        self.begin_reading()?;
        let copied = crate::backup::copy_to_file(self, file);
        self.end_reading();
        copied
    }

    fn import(&mut self, records: &[Record]) -> Result<(), StoreFault> {
        self.database.rows().write(records.iter().cloned());
        Ok(())
    }

    fn import_done(&mut self) -> Result<(), StoreFault> {
        let number = GatewayNo::of(self.heads.transfer.0);
        let database = self.database.clone();
        database.rows().table.import_done()?;
        self.heads = database.rows().heads(number);
        debug_assert!(self.heads.transfer >= TransferSeq(number.first()));
        Ok(())
    }
}
