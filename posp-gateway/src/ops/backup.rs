//! Backup and restore (`docs/reference/backend.md` section 6).
//!
//! A backup is copied out of the running ledger between two commits, audited, sealed and read back. A restore never touches a ledger that is there.

use super::{AuditSummary, Context, time};
use backend::backup::{self, AfterRestore, BackupError};
use backend::store::postgres::{Options, PostgresStore};
use backend::store::sqlite::SqliteStore;
use backend::store::{GatewayNo, Kind, Record, Scan, Store, StoreFault};
use console::{Failure, code};
use jiff::tz::TimeZone;
use keys::SoftKeys;
use protocol::hex::Hex;
use protocol::time::Wall;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSummary {
    /// The file.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// The checksum at its end.
    pub sha256: String,
    /// How long the ledger stood still for it, in milliseconds.
    pub pause_ms: u64,
    /// What the audit of the copy says.
    pub audit: AuditSummary,
}

/// A backup that was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreSummary {
    /// The database.
    pub database: String,
    /// Newest commit of the backup: what came after it is not here.
    pub of: String,
    /// Numbers of transactions that are skipped, gateway by gateway.
    pub skipped: Vec<SkippedNumbers>,
    /// Issuers of the ledger whose keys the key file does not hold.
    pub issuers_without_keys: Vec<String>,
    /// Terminals of the ledger that the key file does not know.
    pub terminals_without_keys: Vec<String>,
    /// What the audit says.
    pub audit: AuditSummary,
}

/// Numbers of transactions that a gateway never gives out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedNumbers {
    /// The gateway's number; 0 if it has its ledger for itself.
    pub gateway: u16,
    /// The first that is skipped.
    pub from: u64,
    /// The one with which it goes on.
    pub to: u64,
}

impl SkippedNumbers {
    fn of(after: &AfterRestore) -> Self {
        Self { gateway: GatewayNo::of(after.from.0).number(), from: after.from.0, to: after.to.0 }
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(ending);
    PathBuf::from(name)
}

/// A failure of a backup file, as a person meets it.
fn failure(path: &Path, error: &BackupError) -> Failure {
    let code = match error {
        BackupError::Exists => code::GATEWAY_BACKUP_EXISTS,
        BackupError::Newer { .. } => code::GATEWAY_BACKUP_NEWER,
        BackupError::NotABackup | BackupError::Damaged(_) => code::GATEWAY_BACKUP_DAMAGED,
        BackupError::Full => code::DISK_FULL,
        BackupError::Io(_) => code::DISK_FAILED,
    };
    Failure::new(code).with("path", path.display()).with("reason", error)
}

fn store_failure(path: &Path, fault: &StoreFault) -> Failure {
    super::store_failure(&path.display().to_string(), fault)
}

/// Takes away a database and what SQLite puts beside it.
fn remove(database: &Path) {
    for path in [database.to_path_buf(), beside(database, "-wal"), beside(database, "-shm")] {
        let _ = fs::remove_file(path);
    }
}

/// Makes a backup.
///
/// # Errors
/// The file exists, or store or disk failed; then there is no file.
pub(super) fn back_up(context: &mut Context<'_>, to: &Path) -> Result<BackupSummary, Failure> {
    if to.exists() {
        return Err(failure(to, &BackupError::Exists));
    }
    let copy = beside(to, ".part");
    // Ours until the end: whoever backs up into the same file meanwhile would put his half into ours, and both would call it whole.
    let ours = alone(&copy, to)?;
    let done = copied(context, &copy, to);
    remove(&copy);
    drop(ours);
    done
}

/// An empty file that is ours alone, for its owner's eyes only; what an earlier try left there is of no use.
fn alone(copy: &Path, to: &Path) -> Result<fs::File, Failure> {
    let failed = |error: io::Error| failure(to, &error.into());
    let busy = || {
        let refused = Failure::new(code::GATEWAY_REFUSED).with("what", "backup").with("name", to.display());
        refused.with("reason", "another backup into this file is being made")
    };
    let ours = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(copy);
    let ours = ours.map_err(failed)?;
    match ours.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(busy()),
        Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
    }
    // The one before us may have taken it away between our opening and our lock.
    let (here, there) = (ours.metadata().map_err(failed)?, fs::metadata(copy).map_err(|_| busy())?);
    if (here.dev(), here.ino()) != (there.dev(), there.ino()) {
        return Err(busy());
    }
    for left in [beside(copy, "-wal"), beside(copy, "-shm")] {
        let _ = fs::remove_file(left);
    }
    ours.set_len(0).map_err(failed)?;
    Ok(ours)
}

fn copied(context: &mut Context<'_>, copy: &Path, to: &Path) -> Result<BackupSummary, Failure> {
    let started = std::time::Instant::now();
    context.desk.copy_to(copy)?;
    let pause_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let fault = |fault: StoreFault| store_failure(copy, &fault);
    let mut store = SqliteStore::open(copy).map_err(fault)?;
    let audit = backend::audit::run(&mut store).map_err(fault)?;
    store.checkpoint().map_err(fault)?;
    drop(store);
    let sealed = backup::seal(copy, to).map_err(|error| failure(to, &error))?;
    Ok(BackupSummary {
        file: to.display().to_string(),
        bytes: sealed.bytes,
        sha256: Hex(&sealed.sha256).to_string(),
        pause_ms,
        audit: AuditSummary::of(&audit),
    })
}

/// Restores a backup as the database `to`, where there is none, or one without a single commit.
///
/// # Errors
/// There is a ledger, the backup is damaged or newer, or the disk failed; then nothing was changed.
pub fn restore(
    from: &Path,
    to: &Path,
    keys: &SoftKeys,
    zone: &TimeZone,
    now: Wall,
) -> Result<RestoreSummary, Failure> {
    if to.exists() {
        let store = SqliteStore::open(to).map_err(|fault| store_failure(to, &fault))?;
        if store.heads().link.is_some() {
            return Err(Failure::new(code::GATEWAY_RESTORE_LEDGER).with("path", to.display()));
        }
    }
    let fresh = beside(to, ".restoring");
    remove(&fresh);
    backup::open(from, &fresh).map_err(|error| failure(from, &error))?;
    let restored = taken(&fresh, to, keys, zone, now);
    if restored.is_err() {
        remove(&fresh);
    }
    restored
}

fn taken(
    fresh: &Path,
    to: &Path,
    keys: &SoftKeys,
    zone: &TimeZone,
    now: Wall,
) -> Result<RestoreSummary, Failure> {
    let fault = |fault: StoreFault| store_failure(fresh, &fault);
    let mut store = SqliteStore::open(fresh).map_err(fault)?;
    let after = backup::after_restore(&mut store, now).map_err(fault)?;
    let audit = backend::audit::run(&mut store).map_err(fault)?;
    let (issuers_without_keys, terminals_without_keys) = without_keys(&mut store, keys).map_err(fault)?;
    store.checkpoint().map_err(fault)?;
    drop(store);
    // The empty database that was there goes with what SQLite put beside it.
    remove(to);
    fs::rename(fresh, to).map_err(|error| console::config::disk(to, error))?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| console::config::disk(folder, error))?;
    Ok(RestoreSummary {
        database: to.display().to_string(),
        of: time(after.of, zone),
        skipped: vec![SkippedNumbers::of(&after)],
        issuers_without_keys,
        terminals_without_keys,
        audit: AuditSummary::of(&audit),
    })
}

/// Restores a backup into an empty database on a server. The ledger is unpacked into `fresh`, which is gone afterwards.
///
/// # Errors
/// There is a ledger or a gateway, the backup is damaged or newer, or disk or server failed; then the database is as empty as it was, unless the
/// server went away at the very end: a second restore then says whether there is a ledger.
pub fn restore_shared(
    from: &Path,
    fresh: &Path,
    to: &Options,
    keys: &SoftKeys,
    zone: &TimeZone,
    now: Wall,
) -> Result<RestoreSummary, Failure> {
    let database = to.address.to_string();
    let fault = |fault: StoreFault| super::store_failure(&database, &fault);
    // Before the backup is unpacked: nothing is more often wrong than this.
    let target = PostgresStore::open_empty(to.clone()).map_err(fault)?;
    let mut target =
        target.ok_or_else(|| Failure::new(code::GATEWAY_RESTORE_LEDGER).with("path", &database))?;
    remove(fresh);
    backup::open(from, fresh).map_err(|error| failure(from, &error))?;
    let unpacked = SqliteStore::open(fresh).map_err(|fault| store_failure(fresh, &fault));
    let restored = unpacked.and_then(|mut unpacked| {
        let after = backup::restore_shared(&mut unpacked, &mut target, now).map_err(fault)?;
        target.begin_reading().map_err(fault)?;
        let audit = backend::audit::run(&mut target).map_err(fault)?;
        let (issuers_without_keys, terminals_without_keys) =
            without_keys(&mut target, keys).map_err(fault)?;
        target.end_reading();
        Ok(RestoreSummary {
            database: database.clone(),
            of: after.iter().map(|it| it.of).max().map_or_else(String::new, |of| time(of, zone)),
            skipped: after.iter().map(SkippedNumbers::of).collect(),
            issuers_without_keys,
            terminals_without_keys,
            audit: AuditSummary::of(&audit),
        })
    });
    remove(fresh);
    restored
}

/// Issuers and terminals that the key file does not know: keys are in no backup.
///
/// # Errors
/// The store failed.
pub fn without_keys<S: Store>(
    store: &mut S,
    keys: &SoftKeys,
) -> Result<(Vec<String>, Vec<String>), StoreFault> {
    let (mut issuers, mut terminals) = (Vec::new(), Vec::new());
    for kind in [Kind::Issuer, Kind::Terminal] {
        store.scan(Scan::After(kind, None), &mut |record| {
            match record {
                Record::Issuer(issuer) if !keys.knows_issuer(issuer.id) => {
                    issuers.push(issuer.id.to_string())
                }
                Record::Terminal(terminal) if !keys.knows_terminal(&terminal.id) => {
                    terminals.push(terminal.id.to_string());
                }
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok((issuers, terminals))
}

/// Whether a ledger knows an issuer, a terminal or a payer: then its key file was made long ago, and no other one fits it.
///
/// # Errors
/// The store failed.
pub fn has_keys_elsewhere<S: Store>(store: &mut S) -> Result<bool, StoreFault> {
    let mut found = false;
    for kind in [Kind::Issuer, Kind::Terminal, Kind::Payer] {
        store.scan(Scan::After(kind, None), &mut |_| {
            found = true;
            ControlFlow::Break(())
        })?;
    }
    Ok(found)
}
