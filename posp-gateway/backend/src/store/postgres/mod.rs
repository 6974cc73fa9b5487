//! The shared store: PostgreSQL under several gateways.
//!
//! **A commit holds only if everything that its decision read is still so.** Rows that change have a version. A decision remembers the versions
//! it read; its commit is one transaction, sent in one round trip, that changes rows where they have those versions, locks the rows that
//! were only read, appends, and ends with the gateway's link. If anything was otherwise, the server undoes it all and the engine decides
//! again ([`StoreFault::Conflict`]). One identity is one row by a unique index: of two gateways that get the same message at once, the
//! second decides again, and then finds the first one's answer.
//!
//! **Nothing is done twice when the server goes away.** A commit whose answer is lost is found, or not found, by its link once the gateway's number
//! is ours again, which is when the session before has ended. Until then it is in doubt ([`StoreFault::InDoubt`]), and so is every request, which may be
//! a repeat of one in that commit. While the server is away a batch waits [`Options::wait`] at most, and those after it are refused at once
//! between tries, so that terminals get an answer in time.
//!
//! Numbers are the gateway's own (`gateway.rs`), so no two gateways wait for each other's. Payments change no row of a merchant or of the
//! system. Rows that rarely change are remembered with their versions, which the commit checks.
//!
//! Here is the store as the engine sees it; `connection.rs` keeps the connection, `reads.rs` reads, `write.rs` makes a commit of a decision, and
//! `flight.rs` is the commit on its way.

mod connection;
mod flight;
mod reads;
mod restore;
mod rows;
mod scan;
mod schema;
mod session;
mod shape;
mod write;

pub(in crate::store) use reads::is_kept;
pub use schema::prepare;
pub use session::Address;

use super::{Batch, GatewayNo, Heads, Key, Link, Linked, Outcome, Record, Scan, Store, StoreFault, Visit};
use crate::accounts::{Hold, TransactionSeq};
use crate::map::Map;
use connection::{Away, runtime};
use flight::Flight;
use protocol::time::Wall;
use reads::Seen;
use session::Session;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Most records remembered.
const KEPT_MAX: usize = 400_000;

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

/// What happened to the session shows as this: decide again, on what is there now.
const AGAIN: StoreFault = StoreFault::Conflict;

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
    /// A commit whose answer was lost, until the server says what became of it.
    doubt: Option<Linked>,
    /// While a ledger is taken in: its newest link so far.
    importing: Option<Option<Link>>,
    /// It has taken a ledger in: from then on it reads, without a gateway's number, which may be another process's by now.
    only_reads: bool,
}

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
            doubt: None,
            importing: None,
            only_reads: false,
        }
    }
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
        self.settled()?;
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
        self.follow_others()?;
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
        self.may_commit()?;
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
