//! The embedded store: SQLite with one writer.
//!
//! WAL, `synchronous = FULL`, `locking_mode = EXCLUSIVE`: one commit is one fsync, and while this store is open no other process can change the
//! file. So what was read or written once may be remembered: registries, cards, limited accounts, and the identities of batches
//! that are not closed, which are rebuilt when the store opens (no index on random values in the path of a payment).
//!
//! A full disk or a read-only file refuses the batch and leaves everything as it was. After any other failure of a commit nobody can
//! know what reached the disk, so the store takes nothing more until it is opened again, which reads what is there.

mod behind;
#[cfg(test)]
mod behind_tests;
pub(super) mod codec;
mod import;
pub(super) mod limits;
mod open_batches;
mod pages;
pub(super) mod read;
pub(super) mod registered;
mod remembered;
mod scan;
#[cfg(test)]
mod tests;
pub(super) mod write;

use self::behind::Behind;
use self::open_batches::OpenBatches;
use self::remembered::Remembered;
use super::{AlertNo, Batch, Heads, Key, Link, Linked, Outcome, Record, Scan, Store, StoreFault, Visit};
use crate::accounts::{Hold, TransactionSeq, TransferSeq};
use crate::api::{Limit, LimitScope};
use crate::report::BatchState;
use protocol::ids::{BatchNo, TerminalId};
use protocol::time::Wall;
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;

/// `TLGE`: marks the file as ours.
const APPLICATION_ID: i64 = 0x544C_4745;
/// The steps from an empty file to the present schema, in order; a released step never changes.
const MIGRATIONS: [&str; 5] = [
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
];
/// Frames of the write-ahead log between checkpoints: more would stall longer, fewer would write more.
const CHECKPOINT_FRAMES: u32 = 2_000;
/// Pages kept in memory, in KiB.
const PAGE_CACHE_KIB: i64 = 65_536;
/// Most records remembered of a generation; there are two.
const GENERATION_MAX: usize = 500_000;
/// Statements kept prepared; more than there are.
const STATEMENTS: usize = 128;

/// A store in a file.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    heads: Heads,
    behind: Behind,
    cache: Remembered,
    identities: OpenBatches,
    limits: HashMap<LimitScope, Limit>,
    broken: bool,
}

/// What an error of SQLite means.
pub(crate) fn fault(error: &rusqlite::Error) -> StoreFault {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreFault::Full,
        Some(ErrorCode::ReadOnly) => StoreFault::ReadOnly,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreFault::InUse,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreFault::Damaged { what: "the database file" }
        }
        _ => StoreFault::Io(error.to_string()),
    }
}

fn sql<T>(result: rusqlite::Result<T>) -> Result<T, StoreFault> {
    result.map_err(|error| fault(&error))
}

impl SqliteStore {
    /// Opens a store, or makes one; brings an older schema forward.
    ///
    /// # Errors
    /// Another process has it, it is newer than this program, it is damaged, or the disk refuses.
    pub fn open(path: &Path) -> Result<Self, StoreFault> {
        let mut connection = sql(Connection::open(path))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let set = |name: &str, value: &dyn rusqlite::ToSql| sql(connection.pragma_update(None, name, value));
        set("locking_mode", &"EXCLUSIVE")?;
        set("journal_mode", &"WAL")?;
        set("synchronous", &"FULL")?;
        set("wal_autocheckpoint", &CHECKPOINT_FRAMES)?;
        set("cache_size", &PAGE_CACHE_KIB.saturating_neg())?;
        set("temp_store", &"MEMORY")?;
        migrate(&mut connection)?;
        let heads = heads(&connection)?;
        let mut store = Self {
            behind: Behind::open(&connection, heads.transfer)?,
            heads,
            limits: limits::limits(&connection)?,
            connection,
            cache: Remembered::new(GENERATION_MAX),
            identities: OpenBatches::default(),
            broken: false,
        };
        store.rebuild_identities()?;
        Ok(store)
    }

    /// The identities of the batches that are not closed, by one pass over the transactions since the oldest of them began.
    fn rebuild_identities(&mut self) -> Result<(), StoreFault> {
        let mut open: HashSet<(TerminalId, BatchNo)> = HashSet::new();
        let mut from: Option<i64> = None;
        {
            let mut statement =
                sql(self.connection.prepare("SELECT terminal, number, first FROM batches WHERE state <> 2"))?;
            let mut rows = sql(statement.query([]))?;
            while let Some(row) = sql(rows.next())? {
                let terminal: String = sql(row.get(0))?;
                let terminal =
                    TerminalId::from_text(&terminal).ok_or(StoreFault::Damaged { what: "batches" })?;
                open.insert((terminal, BatchNo(sql(row.get(1))?)));
                let first: i64 = sql(row.get(2))?;
                from = Some(from.map_or(first, |from| from.min(first)));
            }
        }
        let Some(from) = from.and_then(|from| u64::try_from(from).ok()) else { return Ok(()) };
        let range = Scan::Transactions(TransactionSeq(from), TransactionSeq(u64::MAX));
        let identities = &mut self.identities;
        let mut twice = false;
        scan::scan(&self.connection, range, &mut |record| {
            if let Record::Transaction(it) = record {
                let place = (it.identity.terminal, it.identity.batch);
                if open.contains(&place) {
                    twice |= !identities.insert(&it.identity, it.seq);
                }
            }
            ControlFlow::Continue(())
        })?;
        if twice { Err(StoreFault::Damaged { what: "two transactions with one identity" }) } else { Ok(()) }
    }

    fn write(&mut self, batch: &Batch, link: &Link, plan: &behind::Plan) -> Result<(), StoreFault> {
        let transaction =
            sql(self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate))?;
        for change in &batch.changes {
            write::put(&transaction, change)?;
        }
        for change in &batch.changes {
            if let Record::Batch(closed) = change
                && closed.state == BatchState::Closed
            {
                let place = (closed.terminal, closed.number);
                let open = self.identities.get(closed.terminal, closed.number);
                let now = batch.changes.iter().filter_map(|change| match change {
                    Record::Identity(of, seq) if (of.terminal, of.batch) == place => Some((of.trace, *seq)),
                    _ => None,
                });
                let items = open.into_iter().flat_map(|open| open.traces()).chain(now);
                write::close_batch(&transaction, place, items)?;
            }
        }
        plan.write(&transaction)?;
        write::put(&transaction, &Record::Link(*link))?;
        // Dropped without this line, the transaction is rolled back.
        sql(transaction.commit())
    }

    /// Which rows of accounts this batch writes.
    fn plan(&mut self, batch: &Batch, next: TransferSeq) -> Result<behind::Plan, StoreFault> {
        let (cache, behind, connection) = (&mut self.cache, &self.behind, &self.connection);
        behind.plan(batch, next, |id| {
            let known = behind.get(id).copied().or_else(|| match cache.get(&Key::Account(id)) {
                Some(Record::Account(account)) => Some(*account),
                _ => None,
            });
            match known {
                Some(account) => Ok(Some(account)),
                None => Ok(read::account_through(connection, id)?.map(|(account, _)| account)),
            }
        })
    }

    /// Remembers what was committed.
    fn remember(&mut self, batch: &Batch) {
        for change in &batch.changes {
            if let Record::Identity(identity, seq) = change {
                self.identities.insert(identity, *seq);
            } else if let Record::Limit(limit) = change {
                self.limits.insert(limit.scope, *limit);
            } else if is_remembered(change) {
                self.cache.insert(change.key(), change.clone());
            }
        }
        for change in &batch.changes {
            if let Record::Batch(closed) = change
                && closed.state == BatchState::Closed
            {
                self.identities.remove(closed.terminal, closed.number);
                self.cache.remove(&change.key());
            }
        }
    }

    /// Brings the rows of all accounts up to date with the transfers, for whoever reads the file.
    fn even(&mut self) -> Result<(), StoreFault> {
        if self.broken || self.behind.is_even() {
            return Ok(());
        }
        let plan = self.behind.plan_all(self.heads.transfer);
        let transaction =
            sql(self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate))?;
        plan.write(&transaction)?;
        sql(transaction.commit())?;
        self.behind.done(plan);
        Ok(())
    }

    /// Writes everything that is in memory and in the write-ahead log into the main file and shortens the log.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn checkpoint(&mut self) -> Result<(), StoreFault> {
        self.even()?;
        sql(self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))
    }

    /// Copies the whole store, as it stands between two commits, into a new file.
    ///
    /// # Errors
    /// The file exists, or the disk refuses.
    pub fn backup(&mut self, to: &Path) -> Result<(), StoreFault> {
        self.even()?;
        let to = to.to_str().ok_or(StoreFault::Io("the backup's path is not text".to_owned()))?;
        sql(self.connection.execute("VACUUM INTO ?1", [to])).map(|_| ())
    }
}

const fn is_remembered(record: &Record) -> bool {
    matches!(
        record,
        Record::Account(_)
            | Record::Batch(_)
            | Record::Card(_)
            | Record::Issuer(_)
            | Record::Merchant(_)
            | Record::Terminal(_)
            | Record::Sam(_)
            | Record::Payer(..)
            | Record::Usage(_)
            | Record::Shares(_)
    )
}

/// Brings the schema forward, each step whole or not at all.
fn migrate(connection: &mut Connection) -> Result<(), StoreFault> {
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let transaction = sql(connection.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive))?;
    let read = |name: &str| sql(transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0)));
    let (application, version) = (read("application_id")?, read("user_version")?);
    let version = u32::try_from(version).map_err(|_| StoreFault::Damaged { what: "the schema's version" })?;
    let tables: i64 = sql(transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)))?;
    if application != APPLICATION_ID && (application != 0 || version != 0 || tables != 0) {
        return Err(StoreFault::Damaged { what: "the file is another program's database" });
    }
    if version > known {
        return Err(StoreFault::Newer { found: version, known });
    }
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    for step in MIGRATIONS.iter().skip(done) {
        sql(transaction.execute_batch(step))?;
    }
    if version < known {
        sql(transaction.pragma_update(None, "application_id", APPLICATION_ID))?;
        sql(transaction.pragma_update(None, "user_version", known))?;
    }
    sql(transaction.commit())
}

/// First number of another gateway: a copy of a shared store holds them, and goes on with its own.
const OTHERS: i64 = 1 << 48;

/// Where the sequences stand: from the newest link, whose numbers must be those of the tables.
fn heads(connection: &Connection) -> Result<Heads, StoreFault> {
    let newest = "SELECT * FROM links WHERE number < ?1 ORDER BY number DESC LIMIT 1";
    let link = sql(connection.query_row(newest, [OTHERS], |row| Ok(read::link(row))).optional())?;
    let last = |table: &str, column: &str| {
        let sql_text = format!("SELECT coalesce(max({column}), 0) FROM {table} WHERE {column} < ?1");
        let last: i64 = sql(connection.query_row(&sql_text, [OTHERS], |row| row.get(0)))?;
        u64::try_from(last).map_err(|_| StoreFault::Damaged { what: "a number is negative" })
    };
    let (transfer, transaction) = (last("transfers", "seq")?, last("transactions", "seq")?);
    let mut heads = Heads {
        transfer: TransferSeq(transfer.saturating_add(1)),
        transaction: TransactionSeq(transaction.saturating_add(1)),
        alert: AlertNo(last("alerts", "number")?.saturating_add(1)),
        link: None,
        at: Wall(i64::MIN),
    };
    if let Some(link) = link {
        let link = link.ok_or(StoreFault::Damaged { what: "links" })?;
        // Rows that are gone show here at once, and in full in the audit; their numbers are not given out again.
        heads.transfer = heads.transfer.max(link.next_transfer);
        heads.transaction = heads.transaction.max(link.next_transaction);
        heads.link = Some(Linked { number: link.number, hash: link.hash });
        heads.at = link.at;
    }
    Ok(heads)
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // What does not succeed here is counted anew when the store opens.
        let _ = self.even();
    }
}

impl Store for SqliteStore {
    fn heads(&self) -> Heads {
        self.heads
    }

    fn get(&mut self, key: &Key) -> Result<Option<Record>, StoreFault> {
        if let Key::Identity(identity) = key {
            if let Some(open) = self.identities.get(identity.terminal, identity.batch) {
                return Ok(open.get(identity).map(|seq| Record::Identity(*identity, seq)));
            }
            return read::get(&self.connection, key);
        }
        if let Key::Account(id) = key
            && let Some(account) = self.behind.get(*id)
        {
            return Ok(Some(Record::Account(*account)));
        }
        if let Key::Limit(scope) = key {
            return Ok(self.limits.get(scope).copied().map(Record::Limit));
        }
        if let Some(record) = self.cache.get(key) {
            return Ok(Some(record.clone()));
        }
        let found = read::get(&self.connection, key)?;
        if let Some(record) = &found
            && is_remembered(record)
        {
            self.cache.insert(*key, record.clone());
        }
        Ok(found)
    }

    fn due_holds(&mut self, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault> {
        read::due_holds(&self.connection, now, limit)
    }

    fn scan(&mut self, scan: Scan, visit: Visit<'_>) -> Result<(), StoreFault> {
        if let Scan::OfBatch(terminal, number) = scan
            && let Some(open) = self.identities.get(terminal, number)
        {
            for seq in open.numbers() {
                let record = read::get(&self.connection, &Key::Transaction(seq))?;
                if visit(record.ok_or(StoreFault::Damaged { what: "transactions" })?).is_break() {
                    break;
                }
            }
            return Ok(());
        }
        let behind = &self.behind;
        scan::scan(&self.connection, scan, &mut |record| {
            visit(match record {
                Record::Account(row) => Record::Account(behind.get(row.id).copied().unwrap_or(row)),
                other => other,
            })
        })
    }

    fn commit(&mut self, batch: &Batch) -> Result<Vec<Outcome>, StoreFault> {
        if self.broken {
            return Err(StoreFault::Io("an earlier commit failed: open the store again".to_owned()));
        }
        let (link, heads) = Link::of(batch, &self.heads);
        let plan = self.plan(batch, heads.transfer)?;
        if let Err(fault) = self.write(batch, &link, &plan) {
            self.broken = !matches!(fault, StoreFault::Full | StoreFault::ReadOnly | StoreFault::InUse);
            return Err(fault);
        }
        self.heads = heads;
        self.behind.done(plan);
        self.remember(batch);
        Ok(vec![Outcome::Applied; batch.changes.len()])
    }

    fn skip_to(&mut self, at: Wall, next: TransactionSeq) -> Result<(), StoreFault> {
        let (link, heads) = Link::skipping(at, next, &self.heads);
        write::put(&self.connection, &Record::Link(link))?;
        self.heads = heads;
        Ok(())
    }

    fn copy_to(&mut self, file: &Path) -> Result<(), StoreFault> {
        self.backup(file)
    }

    fn import(&mut self, records: &[Record]) -> Result<(), StoreFault> {
        self.broken = true;
        import::put(&mut self.connection, records)
    }

    fn import_done(&mut self) -> Result<(), StoreFault> {
        import::done(&mut self.connection)
    }
}
