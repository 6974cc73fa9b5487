//! The shared store: PostgreSQL under several gateways.
//!
//! **A commit holds only if everything that its decision read is still so.** Rows that change have a version. A decision remembers the versions
//! it read; its commit is one transaction, sent in one round trip, that changes rows where they have those versions, locks the rows that
//! were only read, appends, and ends with the gateway's link. If anything was otherwise, the server undoes it all and the engine decides
//! again ([`StoreFault::Conflict`]). One identity is one row by a unique index: of two gateways that get the same message at once, the
//! second decides again, and then finds the first one's answer.
//!
//! **Nothing is done twice when the server goes away.** A commit whose answer is lost is found, or not found, by its link once the gateway's number
//! is ours again, which is when the session before has ended. While the server is away a batch waits [`Options::wait`] at most, and those after
//! it are refused at once between tries, so that terminals get an answer in time.
//!
//! Numbers are the gateway's own (`gateway.rs`), so no two gateways wait for each other's. Payments change no row of a merchant or of the
//! system. Rows that rarely change are remembered with their versions, which the commit checks.

mod flight;
mod restore;
mod rows;
mod scan;
mod schema;
mod session;
mod shape;
mod write;

pub use schema::prepare;
pub use session::Address;

use super::{
    AlertNo, Batch, GatewayNo, Heads, Key, Link, Linked, Outcome, Record, Scan, Store, StoreFault, Visit,
};
use crate::accounts::{Hold, HoldState, TransactionSeq, TransferSeq};
use crate::map::{Map, Set};
use crate::store::sqlite::read::{self, Columns};
use flight::Flight;
use protocol::time::Wall;
use rows::{Arrays, Target};
use session::{Ask, Session};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// Most records remembered.
const KEPT_MAX: usize = 400_000;
/// Most records that one reading of a moment keeps.
const READ_MAX: usize = 65_536;
/// First and longest pause between two tries to reach the server.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// First pause after a conflict; doubled with each that follows, [`CONFLICT_DOUBLINGS`] times at most.
const CONFLICT_PAUSE: Duration = Duration::from_millis(1);
const CONFLICT_DOUBLINGS: u32 = 5;

/// Where the store is and as whom.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database, and the role that can only append.
    pub address: Address,
    /// Which of its gateways we are.
    pub gateway: GatewayNo,
    /// How long a batch waits for a server that is away.
    pub wait: Duration,
}

/// A record as a decision read it.
#[derive(Clone, Debug)]
struct Seen {
    record: Option<Record>,
    version: i64,
}

/// Since when the server is away.
#[derive(Clone, Debug)]
struct Away {
    until: Instant,
    next: Instant,
    pause: Duration,
    why: StoreFault,
}

/// A store on a server.
#[derive(Debug)]
pub struct PostgresStore {
    runtime: Runtime,
    options: Options,
    session: Option<Session>,
    /// A second session: reads while the first one commits.
    reader: Option<Session>,
    /// A commit on its way.
    flight: Option<Flight>,
    /// What became of the newest that has landed, until it is told.
    fate: Option<Result<(), StoreFault>>,
    /// Which connection we have, counted; what was read through one before counts for nothing.
    connection: u64,
    /// The connection that the present decision began with.
    decided_on: u64,
    heads: Heads,
    /// What the present decision has read.
    seen: Map<Key, Seen>,
    /// What rarely changes, with its versions.
    kept: Map<Key, Seen>,
    /// All limits, if they are remembered, and their common version.
    limits: Option<(i64, Map<Key, Seen>)>,
    due: Option<(Wall, Vec<Hold>)>,
    /// Between [`Store::begin_reading`] and [`Store::end_reading`].
    reading: bool,
    conflicts: u32,
    away: Option<Away>,
    /// While a ledger is taken in: its newest link so far.
    importing: Option<Option<Link>>,
}

/// What happened to the session shows as this: decide again, on what is there now.
const AGAIN: StoreFault = StoreFault::Conflict;

impl PostgresStore {
    /// Opens the store as one of its gateways.
    ///
    /// # Errors
    /// The server is away, refuses us, has no schema of ours or another one, or another process has our number.
    pub fn open(options: Options) -> Result<Self, StoreFault> {
        let mut store = Self::unopened(runtime()?, options);
        store.begins()?;
        Ok(store)
    }

    fn unopened(runtime: Runtime, options: Options) -> Self {
        let heads = options.gateway.heads();
        Self {
            runtime,
            options,
            session: None,
            reader: None,
            flight: None,
            fate: None,
            connection: 0,
            decided_on: 0,
            heads,
            seen: Map::default(),
            kept: Map::default(),
            limits: None,
            due: None,
            reading: false,
            conflicts: 0,
            away: None,
            importing: None,
        }
    }

    /// Has a session, or waits for one as long as may be.
    fn reach(&mut self) -> Result<(), StoreFault> {
        if self.session.as_ref().is_some_and(|session| !session.is_closed()) {
            return Ok(());
        }
        self.session = None;
        self.reading = false;
        let mut away = self.away.take().unwrap_or_else(|| Away {
            until: Instant::now().checked_add(self.options.wait).unwrap_or_else(Instant::now),
            next: Instant::now(),
            pause: PAUSE.0,
            why: StoreFault::Closed,
        });
        if Instant::now() >= away.until && Instant::now() < away.next {
            let why = away.why.clone();
            self.away = Some(away);
            return Err(why);
        }
        loop {
            match self.connect() {
                Ok(()) => return Ok(()),
                Err(fault @ (StoreFault::Away(_) | StoreFault::InUse)) => away.why = fault,
                Err(fault) => return Err(fault),
            }
            let now = Instant::now();
            if now.checked_add(away.pause).is_none_or(|next| next >= away.until) {
                tracing::error!(database = %self.options.address, why = %away.why, "the database is away");
                // From here on one try in a pause, and one line in the log.
                away.until = now;
                away.next = now.checked_add(away.pause).unwrap_or(now);
                away.pause = PAUSE.1;
                let why = away.why.clone();
                self.away = Some(away);
                return Err(why);
            }
            self.sleep(away.pause);
            away.pause = away.pause.saturating_mul(2).min(PAUSE.1);
        }
    }

    fn sleep(&self, pause: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(pause).await });
    }

    fn connect(&mut self) -> Result<(), StoreFault> {
        let session = Session::open(&self.runtime, &self.options.address, Some(self.options.gateway))?;
        schema::is_present(&self.runtime, &session)?;
        let heads = heads(&self.runtime, &session, self.options.gateway)?;
        let known = self.heads.link.map_or(self.options.gateway.base(), |link| link.number.0);
        if heads.link.map_or(self.options.gateway.base(), |link| link.number.0) < known {
            // A failover to a standby that had not received everything: answers have left that it knows nothing of.
            return Err(StoreFault::Damaged {
                what: "commits of this gateway that were answered are missing",
            });
        }
        self.kept.clear();
        self.limits = None;
        self.seen.clear();
        self.due = None;
        self.heads = heads;
        self.session = Some(session);
        // Where this one leads, the other has to lead too.
        self.reader = None;
        if let Err(fault) = self.begin_beyond_restores() {
            self.session = None;
            return Err(fault);
        }
        self.connection = self.connection.saturating_add(1);
        Ok(())
    }

    /// A decision that went over to another connection has lost what it read, and with it the versions that its commit would check.
    pub(super) const fn still(&self) -> Result<(), StoreFault> {
        if self.decided_on == self.connection { Ok(()) } else { Err(AGAIN) }
    }

    /// A decision, or a reading, begins here.
    fn begins(&mut self) -> Result<(), StoreFault> {
        self.seen.clear();
        self.due = None;
        self.decided_on = self.connection;
        if self.flight.is_none() {
            self.reach()?;
        }
        self.decided_on = self.connection;
        Ok(())
    }

    /// The session that commits, once nothing is on its way.
    fn session(&mut self) -> Result<(&mut Session, &Runtime), StoreFault> {
        self.land()?;
        self.still()?;
        match &mut self.session {
            Some(session) => Ok((session, &self.runtime)),
            None => Err(AGAIN),
        }
    }

    /// What a failed read means: without its session the whole decision begins again.
    fn failed(&mut self, fault: StoreFault) -> StoreFault {
        if self.flight.is_some() {
            // Whatever is wrong, the commit on its way comes first; the next decision reads where it was sent.
            self.reader = None;
            return AGAIN;
        }
        if !matches!(fault, StoreFault::Away(_)) {
            return fault;
        }
        self.session = None;
        match self.reach() {
            Ok(()) => AGAIN,
            Err(fault) => fault,
        }
    }

    /// Reads keys that were not read yet, all in one round trip.
    fn fetch(&mut self, keys: &[Key], due: Option<(Wall, usize)>) -> Result<(), StoreFault> {
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
        for key in absent {
            self.seen.insert(key, Seen { record: None, version: 0 });
        }
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
    fn take(&mut self, table: shape::Table, row: &tokio_postgres::Row) -> Result<(), StoreFault> {
        let record = rows::record(table, row)?;
        let last = row.len().saturating_sub(1);
        let version = row.try_get(last).map_err(|_| StoreFault::Damaged { what: table.name() })?;
        self.saw(record, version)
    }

    /// A record that was read; one that was read before must not have changed since.
    fn saw(&mut self, record: Record, version: i64) -> Result<(), StoreFault> {
        let key = record.key();
        if let Some(flying) = self.flying(&key) {
            let flying = flying.clone();
            self.seen.insert(key, flying);
            return Ok(());
        }
        if let Some(before) = self.seen.get(&key)
            && before.record.is_some()
            && before.version != version
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
    fn forget(&mut self) {
        for key in self.seen.keys() {
            self.kept.remove(key);
        }
        self.limits = None;
        self.seen.clear();
        self.due = None;
    }

    /// Gives way after a conflict: longer each time, and never as long as another gateway.
    fn give_way(&mut self) {
        let doublings = self.conflicts.min(CONFLICT_DOUBLINGS);
        self.conflicts = self.conflicts.saturating_add(1);
        let share = u32::from(self.options.gateway.number()).wrapping_mul(7).wrapping_add(self.conflicts) % 8;
        let pause = CONFLICT_PAUSE.saturating_mul(1 << doublings);
        let eighth = pause.checked_div(8).unwrap_or_default();
        self.sleep(pause.saturating_add(eighth.saturating_mul(share)));
    }
}

/// One that rarely changes, or that one gateway alone changes as long as its terminals stay with it. What is not there is never remembered.
pub(super) const fn is_kept(record: &Record) -> bool {
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

fn runtime() -> Result<Runtime, StoreFault> {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("database")
        .enable_io()
        .enable_time()
        .build();
    built.map_err(|error| StoreFault::Io(error.to_string()))
}

/// Where the sequences of a gateway stand: from its newest link. What is beyond it cannot be: rows and link are one transaction.
fn heads(runtime: &Runtime, session: &Session, gateway: GatewayNo) -> Result<Heads, StoreFault> {
    let damaged = StoreFault::Damaged { what: "links" };
    let (first, end) = (gateway.base(), gateway.base_after());
    let int = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let sql = "SELECT number, at, first_transfer, next_transfer, first_transaction, next_transaction, hash
               FROM tapline.links WHERE number >= $1 AND number < $2 ORDER BY number DESC LIMIT 1";
    let mut heads = gateway.heads();
    if let Some(row) = session.rows(runtime, sql, &[&int(first), &int(end)])?.first() {
        let link = read::link_of(&mut Columns::new(row)).ok_or(damaged.clone())?;
        heads.transfer = link.next_transfer;
        heads.transaction = link.next_transaction;
        heads.link = Some(Linked { number: link.number, hash: link.hash });
        heads.at = link.at;
    }
    let sql = "SELECT coalesce(max(number), $1) FROM tapline.alerts WHERE number >= $1 AND number < $2";
    let rows = session.rows(runtime, sql, &[&int(first), &int(end)])?;
    let alert: i64 = rows.first().and_then(|row| row.try_get(0).ok()).ok_or(damaged.clone())?;
    heads.alert = AlertNo(u64::try_from(alert).map_err(|_| damaged)?.saturating_add(1));
    debug_assert!(heads.transfer >= TransferSeq(gateway.first()));
    debug_assert!(heads.transaction >= TransactionSeq(gateway.first()));
    Ok(heads)
}

impl Store for PostgresStore {
    fn heads(&self) -> Heads {
        self.heads
    }

    fn begin(&mut self) -> Result<(), StoreFault> {
        self.begins()
    }

    fn wants_prefetch(&self) -> bool {
        true
    }

    fn prefetch(&mut self, keys: &[Key], due: Option<(Wall, usize)>) -> Result<(), StoreFault> {
        self.fetch(keys, due)
    }

    fn get(&mut self, key: &Key) -> Result<Option<Record>, StoreFault> {
        if !self.seen.contains_key(key) {
            self.still()?;
            if self.session.is_none() && self.flight.is_none() {
                self.reach()?;
                self.still()?;
            }
            self.fetch(std::slice::from_ref(key), None)?;
        }
        Ok(self.seen.get(key).and_then(|seen| seen.record.clone()))
    }

    fn due_holds(&mut self, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault> {
        if self.due.as_ref().is_none_or(|(at, _)| *at != now) {
            self.fetch(&[], Some((now, limit)))?;
        }
        Ok(self.due.as_ref().map(|(_, holds)| holds.clone()).unwrap_or_default())
    }

    fn scan(&mut self, scan: Scan, visit: Visit<'_>) -> Result<(), StoreFault> {
        self.land()?;
        self.still()?;
        self.reach()?;
        self.still()?;
        let result = self.go_through(scan, visit);
        result.map_err(|fault| self.failed(fault))
    }

    fn confirm(&mut self) -> Result<(), StoreFault> {
        self.check_reads()
    }

    fn begin_reading(&mut self) -> Result<(), StoreFault> {
        self.land()?;
        self.begins()?;
        let sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
                   SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";
        let (session, runtime) = self.session()?;
        let begun = session.simple(runtime, sql);
        begun.map_err(|fault| self.failed(fault))?;
        self.reading = true;
        Ok(())
    }

    fn end_reading(&mut self) {
        self.seen.clear();
        if std::mem::take(&mut self.reading)
            && let Ok((session, runtime)) = self.session()
            && session.simple(runtime, "COMMIT").is_err()
        {
            // The next read begins with a session of its own.
            self.session = None;
        }
    }

    fn copy_to(&mut self, file: &std::path::Path) -> Result<(), StoreFault> {
        self.begin_reading()?;
        let copied = crate::backup::copy_to_file(self, file);
        self.end_reading();
        copied
    }

    fn skip_to(&mut self, at: Wall, next: TransactionSeq) -> Result<(), StoreFault> {
        self.land()?;
        let (link, after) = Link::skipping(at, next, &self.heads);
        self.append(&[Record::Link(link)])?;
        self.heads = after;
        Ok(())
    }

    fn import(&mut self, records: &[Record]) -> Result<(), StoreFault> {
        self.land()?;
        self.take_in(records)
    }

    fn import_done(&mut self) -> Result<(), StoreFault> {
        self.taken_in()
    }

    fn commit(&mut self, batch: &Batch) -> Result<Vec<Outcome>, StoreFault> {
        self.depart(batch)?;
        self.fate()?;
        Ok(vec![Outcome::Applied; batch.changes.len()])
    }

    fn overlaps(&self) -> bool {
        true
    }

    fn start(&mut self, batch: &Batch) -> Result<(), StoreFault> {
        self.depart(batch)
    }

    fn finish(&mut self) -> Result<(), StoreFault> {
        self.fate()
    }
}
