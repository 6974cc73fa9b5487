//! Taking a ledger in from a backup: into an empty database, in one transaction, while no gateway can be at work there.
//!
//! Until the end nobody sees any of it, and whatever cuts it off (a crash, a full disk, a lost connection) leaves the database as empty as it was: it is
//! begun again. What is refused: a database with anything in it, and one where a gateway runs.
//!
//! Once it is in, it is the gateways', at once: one that waited may take the number that the restore was given. So the restore goes on without a number: what it
//! still has to know (was the commit kept, is the ledger sound) it reads, and whoever works there already does not make it look as if it had failed.

use super::connection::runtime;
use super::session::Session;
use super::{Options, PostgresStore, schema};
use crate::accounts::TransactionSeq;
use crate::store::postgres::shape::Table;
use crate::store::sqlite::read::{self, Columns};
use crate::store::{GatewayNo, Key, Link, Record, Store, StoreFault};
use std::time::{Duration, Instant};

/// A session that is in the middle of a transaction for as long as it takes to read a backup.
const BEGIN: &str = "BEGIN READ WRITE; SET LOCAL idle_in_transaction_session_timeout = 0";

/// How long a restore waits for programs that are ending, and between its looks.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

impl PostgresStore {
    /// Opens an empty database to take a ledger in ([`crate::backup::restore_shared`], [`crate::backup::copy`]). `None` if there is anything in it,
    /// or a gateway is at work there. It is of no other use before the ledger is in, and reads it afterwards; dropped before, it leaves nothing behind.
    ///
    /// # Errors
    /// The server is away, refuses us, or has no schema of ours or another one.
    pub fn open_empty(options: Options) -> Result<Option<Self>, StoreFault> {
        let runtime = runtime()?;
        let session = Session::open(&runtime, &options.address, None)?;
        schema::is_present(&runtime, &session)?;
        // A program that has just ended holds its lock until the server has noticed.
        let patience = Instant::now().checked_add(PATIENCE);
        while !session.hold_all(&runtime)? {
            if patience.is_none_or(|end| Instant::now() >= end) {
                return Ok(None);
            }
            runtime.block_on(async { tokio::time::sleep(PAUSE).await });
        }
        session.simple(&runtime, BEGIN)?;
        let parts: Vec<String> =
            Table::ALL.iter().map(|table| format!("EXISTS (SELECT FROM tapline.{})", table.name())).collect();
        if session.simple_int(&runtime, &format!("SELECT ({})::int", parts.join(" OR ")))? != Some(0) {
            return Ok(None);
        }
        let mut store = Self::unopened(runtime, options);
        store.session = Some(session);
        store.importing = Some(None);
        Ok(Some(store))
    }

    /// Appends records to the transaction that is open.
    pub(super) fn take_in(&mut self, records: &[Record]) -> Result<(), StoreFault> {
        let Some(newest) = &mut self.importing else {
            return Err(StoreFault::Io("a ledger is taken in by an empty database alone".to_owned()));
        };
        if let Some(link) = records.iter().rev().find_map(|record| match record {
            Record::Link(link) => Some(*link),
            _ => None,
        }) {
            *newest = Some(link);
        }
        let taken = self.append(records);
        if taken.is_err() {
            // Without its session the transaction is undone.
            self.session = None;
        }
        taken
    }

    /// Makes durable what was taken in. From then on this store only reads.
    pub(super) fn taken_in(&mut self) -> Result<(), StoreFault> {
        let Some(newest) = self.importing.take() else { return Ok(()) };
        let (session, runtime) = self.session()?;
        let committed = session.commit(runtime);
        // The ledger is the gateways' again when this session has ended; everything is read anew.
        self.session = None;
        self.only_reads = true;
        match committed {
            Err(StoreFault::Away(why)) => {
                // Whoever began the restore looks before he begins it again.
                self.begins().map_err(|fault| StoreFault::InDoubt(fault.to_string()))?;
                let kept = match newest {
                    Some(link) => self.get(&Key::Link(link.number))? == Some(Record::Link(link)),
                    None => true,
                };
                if kept { Ok(()) } else { Err(StoreFault::Away(why)) }
            }
            Err(fault) => Err(fault),
            Ok(()) => self.begins(),
        }
    }

    /// A gateway without a commit here may have had some that a restored backup did not know: it begins beyond them.
    pub(super) fn begin_beyond_restores(&mut self) -> Result<(), StoreFault> {
        if self.heads.link.is_some() {
            return Ok(());
        }
        let (session, runtime) = self.session()?;
        let restores = GatewayNo::RESTORES;
        let int = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let sql =
            "SELECT number, at, first_transfer, next_transfer, first_transaction, next_transaction, hash
                   FROM tapline.links WHERE number > $1 ORDER BY number DESC LIMIT 1";
        let rows = session.rows(runtime, sql, &[&int(restores.base())])?;
        let Some(row) = rows.first() else { return Ok(()) };
        let link: Link =
            read::link_of(&mut Columns::new(row)).ok_or(StoreFault::Damaged { what: "links" })?;
        let count = link.next_transaction.0.saturating_sub(restores.base());
        let next = TransactionSeq(self.options.gateway.base().saturating_add(count));
        self.skip_to(link.at, next)
    }
}
