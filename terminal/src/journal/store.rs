//! The journal as a SQLite file: opening, migrating, appending, verifying. It knows entries, not what they mean.
//!
//! One process has it open at a time (`locking_mode=EXCLUSIVE`): two tills must not share a journal. An entry is durable
//! when [`Store::append`] returns (WAL, `synchronous=FULL`). Refused: files of another program, files of a newer version,
//! files whose chain of entries is broken.

use super::StoreFault;
use flow::record::RecordId;
use protocol::crypto::sha256;
use protocol::time::Wall;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `TPJL` in the file's header: a Tapline terminal's journal.
const APPLICATION_ID: i32 = 0x5450_4A4C;
/// One script a version, applied in order; the file's `user_version` says how many it has.
const MIGRATIONS: &[&str] = &[include_str!("schema.sql"), include_str!("schema-2.sql")];
/// Version that this program writes.
pub(super) const VERSION: i32 = 2;
/// Free space without which no payment starts: what a payment, its recovery and a checkpoint of the log can need, many
/// times over.
pub const FREE_BYTES_MIN: u64 = 512 * 1024;
/// The file grows in the write-ahead log by this many pages before they are moved over (4 KiB each).
const CHECKPOINT_PAGES: u32 = 100;

type Chain = [u8; 32];

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// When it was written.
    pub(super) wall: Wall,
    /// The record.
    pub(super) body: Vec<u8>,
}

/// An open journal file.
#[derive(Debug)]
pub(super) struct Store {
    db: Connection,
    path: PathBuf,
    /// Number and chain of the last entry; `None` after a commit that failed, until they are read again.
    end: Option<(u64, Chain)>,
}

impl Store {
    /// Creates an empty journal, or completes one whose creation was interrupted.
    ///
    /// # Errors
    /// There is another file in its place, or the disk refuses.
    pub(super) fn create(path: &Path) -> Result<Self, StoreFault> {
        // For its owner's eyes: who was here when, with which card, is nobody else's business. What SQLite puts beside it gets the same mode.
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        drop(file.map_err(|error| StoreFault::from_io(&error))?);
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        db.busy_timeout(Duration::ZERO)?;
        let tables: i64 = pragma_free(&db, "SELECT count(*) FROM sqlite_schema")?;
        if tables == 0 && number(&db, "application_id")? == 0 {
            db.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        let store = Self::prepare(db, path)?;
        sync_folder(path)?;
        Ok(store)
    }

    /// Opens an existing journal, migrates it, and checks its end.
    ///
    /// # Errors
    /// No such file, one that is open elsewhere, foreign, newer, damaged, or a disk that refuses.
    pub(super) fn open(path: &Path) -> Result<Self, StoreFault> {
        if !path.try_exists().map_err(|error| StoreFault::from_io(&error))? {
            return Err(StoreFault::Missing);
        }
        Self::prepare(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?, path)
    }

    fn prepare(mut db: Connection, path: &Path) -> Result<Self, StoreFault> {
        // Whoever holds it holds it for as long as it runs: waiting would not help.
        db.busy_timeout(Duration::ZERO)?;
        if db.is_readonly("main")? {
            return Err(StoreFault::ReadOnly);
        }
        db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        if number(&db, "application_id")? != APPLICATION_ID {
            return Err(StoreFault::Foreign);
        }
        let found = number(&db, "user_version")?;
        if found > VERSION {
            return Err(StoreFault::Newer { found, known: VERSION });
        }
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        migrate(&mut db, found)?;
        let mut store = Self { db, path: path.to_owned(), end: None };
        store.find_end()?;
        Ok(store)
    }

    /// Number and chain of the last entry: after a commit that failed, only the file knows.
    fn find_end(&mut self) -> Result<(u64, Chain), StoreFault> {
        if let Some(end) = self.end {
            return Ok(end);
        }
        let mut statement =
            self.db.prepare_cached("SELECT seq, chain FROM entry ORDER BY seq DESC LIMIT 1")?;
        let mut rows = statement.query([])?;
        let end = match rows.next()? {
            Some(row) => (row.get(0)?, row.get(1)?),
            None => (0, [0; 32]),
        };
        self.end = Some(end);
        Ok(end)
    }

    /// Where it is.
    #[must_use]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// For the queries of this folder's other files.
    pub(super) const fn db(&self) -> &Connection {
        &self.db
    }

    /// Bytes free for the journal on its disk.
    ///
    /// # Errors
    /// The file system does not say.
    pub(super) fn free_bytes(&self) -> Result<u64, StoreFault> {
        free_bytes(&self.path)
    }

    /// Writes entries and whatever `project` derives from them in one transaction; durable when it returns.
    ///
    /// # Errors
    /// Nothing of it is stored.
    pub(super) fn append(
        &mut self,
        entries: &[Entry],
        mut project: impl FnMut(&Transaction<'_>, &Entry, RecordId) -> Result<(), StoreFault>,
    ) -> Result<Vec<RecordId>, StoreFault> {
        let (mut last, mut chain) = self.find_end()?;
        self.end = None;
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut numbers = Vec::with_capacity(entries.len());
        for entry in entries {
            last =
                last.checked_add(1).ok_or_else(|| StoreFault::Damaged("entry numbers are used up".into()))?;
            chain = link(&chain, last, entry);
            transaction
                .prepare_cached("INSERT INTO entry (seq, wall_ms, body, chain) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![last, entry.wall.0, entry.body, chain])?;
            project(&transaction, entry, RecordId(last))?;
            numbers.push(RecordId(last));
        }
        transaction.commit()?;
        self.end = Some((last, chain));
        Ok(numbers)
    }

    /// The body of one entry.
    ///
    /// # Errors
    /// There is none with this number.
    pub(super) fn body(&self, id: RecordId) -> Result<Vec<u8>, StoreFault> {
        let mut statement = self.db.prepare_cached("SELECT body FROM entry WHERE seq = ?1")?;
        let found = statement.query_row([id.0], |row| row.get(0)).optional()?;
        found.ok_or_else(|| StoreFault::Damaged(format!("entry {} is missing", id.0)))
    }

    /// Reads every entry, oldest first, without checking the chain.
    ///
    /// # Errors
    /// What `visit` refuses; a disk that cannot be read.
    pub(super) fn each(
        &self,
        mut visit: impl FnMut(RecordId, &[u8]) -> Result<(), StoreFault>,
    ) -> Result<(), StoreFault> {
        let mut statement = self.db.prepare("SELECT seq, body FROM entry ORDER BY seq")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(1)?.as_blob().map_err(|error| StoreFault::Damaged(error.to_string()))?;
            visit(RecordId(row.get(0)?), body)?;
        }
        Ok(())
    }

    /// Reads every entry, oldest first, and checks numbers and chain on the way.
    ///
    /// # Errors
    /// A gap or a changed entry, with its number; what `visit` refuses; a disk that cannot be read.
    pub(super) fn verify(
        &self,
        mut visit: impl FnMut(RecordId, &Entry) -> Result<(), StoreFault>,
    ) -> Result<u64, StoreFault> {
        let sound: String = pragma_free(&self.db, "PRAGMA quick_check(1)")?;
        if sound != "ok" {
            return Err(StoreFault::Damaged(sound));
        }
        let mut statement = self.db.prepare("SELECT seq, wall_ms, body, chain FROM entry ORDER BY seq")?;
        let mut rows = statement.query([])?;
        let (mut count, mut chain) = (0_u64, [0; 32]);
        while let Some(row) = rows.next()? {
            count = count.saturating_add(1);
            let seq: u64 = row.get(0)?;
            let entry = Entry { wall: Wall(row.get(1)?), body: row.get(2)? };
            chain = link(&chain, seq, &entry);
            if seq != count || chain != row.get::<_, Chain>(3)? {
                return Err(StoreFault::Damaged(format!("entry {count} is missing or was changed")));
            }
            visit(RecordId(seq), &entry)?;
        }
        Ok(count)
    }
}

/// The chain after `entry`.
fn link(before: &Chain, seq: u64, entry: &Entry) -> Chain {
    sha256(&[before, &seq.to_be_bytes(), &entry.wall.0.to_be_bytes(), &entry.body])
}

fn number(db: &Connection, pragma: &str) -> Result<i32, StoreFault> {
    Ok(db.pragma_query_value(None, pragma, |row| row.get(0))?)
}

fn pragma_free<T: rusqlite::types::FromSql>(db: &Connection, sql: &str) -> Result<T, StoreFault> {
    Ok(db.query_row(sql, [], |row| row.get(0))?)
}

/// Applies what the file lacks, all in one transaction; it also takes the lock that keeps others out.
fn migrate(db: &mut Connection, found: i32) -> Result<(), StoreFault> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let done = usize::try_from(found).map_err(|_| StoreFault::Damaged(format!("version {found}")))?;
    for script in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(script)?;
    }
    if found != VERSION {
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    Ok(transaction.commit()?)
}

/// Makes the file's name durable, not only its content.
fn sync_folder(path: &Path) -> Result<(), StoreFault> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| StoreFault::from_io(&error))
}

/// Bytes that an ordinary user may still write beside `path`.
pub(crate) fn free_bytes(path: &Path) -> Result<u64, StoreFault> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stat = rustix::fs::statvfs(folder).map_err(|error| StoreFault::from_io(&error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

impl From<rusqlite::Error> for StoreFault {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse,
            Some(ErrorCode::NotADatabase) => Self::Foreign,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => {
                Self::Damaged(text)
            }
            Some(_) => Self::Disk(text),
            None => Self::Damaged(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn entry(body: &[u8]) -> Entry {
        Entry { wall: Wall(1_795_305_599_000), body: body.to_vec() }
    }

    fn append(store: &mut Store, bodies: &[&[u8]]) -> Result<Vec<RecordId>, StoreFault> {
        let entries: Vec<Entry> = bodies.iter().map(|body| entry(body)).collect();
        store.append(&entries, |_, _, _| Ok(()))
    }

    fn new() -> (tempfile::TempDir, PathBuf, Store) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let store = Store::create(&path).unwrap();
        (folder, path, store)
    }

    #[test]
    fn entries_are_there_after_a_restart_in_order() {
        let (_folder, path, mut store) = new();
        assert_eq!(append(&mut store, &[b"one", b"two"]).unwrap(), [RecordId(1), RecordId(2)]);
        drop(store);
        let mut store = Store::open(&path).unwrap();
        assert_eq!(append(&mut store, &[b"three"]).unwrap(), [RecordId(3)]);
        let mut bodies = Vec::new();
        let count = store.verify(|_, entry| {
            bodies.push(entry.body.clone());
            Ok(())
        });
        assert_eq!((count, bodies), (Ok(3), vec![b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]));
    }

    #[test]
    fn a_second_process_is_kept_out() {
        let (_folder, path, _store) = new();
        assert_eq!(Store::open(&path).unwrap_err(), StoreFault::InUse);
        assert_eq!(Store::create(&path).unwrap_err(), StoreFault::InUse);
    }

    #[test]
    fn what_is_not_a_journal_or_a_newer_one_is_refused_and_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("notes.txt");
        fs::write(
            &text,
            "not a database, but long enough to look like a header of one, with more and more text",
        )
        .unwrap();
        let before = fs::read(&text).unwrap();
        assert_eq!(Store::open(&text).unwrap_err(), StoreFault::Foreign);
        assert_eq!(fs::read(&text).unwrap(), before);

        let other = folder.path().join("other.db");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        let before = fs::read(&other).unwrap();
        assert_eq!(Store::open(&other).unwrap_err(), StoreFault::Foreign);
        assert_eq!(Store::create(&other).unwrap_err(), StoreFault::Foreign);
        assert_eq!(fs::read(&other).unwrap(), before);

        let (_folder, path, store) = new();
        store.db.pragma_update(None, "user_version", 7).unwrap();
        drop(store);
        assert_eq!(Store::open(&path).unwrap_err(), StoreFault::Newer { found: 7, known: VERSION });
        assert_eq!(Store::open(&folder.path().join("none.db")).unwrap_err(), StoreFault::Missing);
    }

    #[test]
    fn a_journal_of_the_first_version_is_brought_up_to_date_and_keeps_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(MIGRATIONS[0]).unwrap();
        db.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        db.pragma_update(None, "user_version", 1).unwrap();
        let first = entry(b"one");
        let sql = "INSERT INTO entry (seq, wall_ms, body, chain) VALUES (1, ?1, ?2, ?3)";
        db.execute(sql, params![first.wall.0, first.body, link(&[0; 32], 1, &first)]).unwrap();
        drop(db);
        let mut store = Store::open(&path).unwrap();
        assert_eq!(number(&store.db, "user_version"), Ok(VERSION));
        assert_eq!(append(&mut store, &[b"two"]).unwrap(), [RecordId(2)]);
        assert_eq!(store.verify(|_, _| Ok(())), Ok(2));
        store.db.execute_batch("SELECT upload_code FROM payment; SELECT state FROM load").unwrap();
    }

    #[test]
    fn a_changed_or_missing_entry_is_found_by_its_number() {
        let tamper = |sql: &str| {
            let (_folder, path, mut store) = new();
            append(&mut store, &[b"one", b"two", b"three"]).unwrap();
            drop(store);
            let db = Connection::open(&path).unwrap();
            db.execute_batch(&format!(
                "DROP TRIGGER entry_never_changes; DROP TRIGGER entry_never_goes; {sql}"
            ))
            .unwrap();
            drop(db);
            Store::open(&path).unwrap().verify(|_, _| Ok(())).unwrap_err()
        };
        let damaged = |n: u64| StoreFault::Damaged(format!("entry {n} is missing or was changed"));
        assert_eq!(tamper("UPDATE entry SET body = x'00' WHERE seq = 2"), damaged(2));
        assert_eq!(tamper("DELETE FROM entry WHERE seq = 1"), damaged(1));
        assert_eq!(tamper("UPDATE entry SET wall_ms = 0 WHERE seq = 3"), damaged(3));
    }

    #[test]
    fn entries_cannot_be_changed_or_deleted_through_sql() {
        let (_folder, _path, mut store) = new();
        append(&mut store, &[b"one"]).unwrap();
        assert!(store.db.execute("UPDATE entry SET wall_ms = 2", []).is_err());
        assert!(store.db.execute("DELETE FROM entry", []).is_err());
    }

    #[test]
    fn an_append_that_fails_leaves_nothing_and_the_next_one_goes_on() {
        let (_folder, _path, mut store) = new();
        append(&mut store, &[b"one"]).unwrap();
        let failed = store.append(&[entry(b"two"), entry(b"three")], |_, _, seq| {
            if seq == RecordId(3) { Err(StoreFault::Full) } else { Ok(()) }
        });
        assert_eq!(failed, Err(StoreFault::Full));
        assert_eq!(append(&mut store, &[b"four"]).unwrap(), [RecordId(2)]);
        assert_eq!(store.verify(|_, _| Ok(())), Ok(2));
    }

    #[test]
    fn an_interrupted_creation_is_completed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        fs::write(&path, "").unwrap();
        assert_eq!(Store::open(&path).unwrap_err(), StoreFault::Foreign);
        assert_eq!(Store::create(&path).unwrap().verify(|_, _| Ok(())), Ok(0));
        assert_eq!(Store::create(&path).unwrap().verify(|_, _| Ok(())), Ok(0));
    }
}
