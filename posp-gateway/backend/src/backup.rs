//! Backups of a ledger: one sealed file, the same for every store, and what follows when an old one comes back.
//!
//! The file is `"TLBACKUP" ‖ version 2 ‖ zeros 6 ‖ length 8 ‖ body ‖ SHA-256 32 over everything before`, numbers big-endian. The body is the ledger as
//! a database of the embedded store: whatever store it came from, it can be audited by itself, and a newer program brings an older one forward with the
//! steps it has anyway. A file is written whole or not at all, and read back before anybody relies on it.
//!
//! What happened after a backup is not in it, and somebody may hold a receipt of it. So a restored ledger never gives a number out twice
//! ([`after_restore`], [`restore_shared`]). Keys are in no backup.

use crate::accounts::TransactionSeq;
use crate::store::sqlite::SqliteStore;
use crate::store::{
    CommitNo, DenyVersion, GatewayNo, Heads, Key, Kind, Link, Linked, Record, Registry, Scan, Store,
    StoreFault, Terminal, Working, retrieval_reference,
};
use protocol::ids::BatchNo;
use protocol::time::Wall;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;

/// First bytes of a backup.
pub const MAGIC: [u8; 8] = *b"TLBACKUP";
/// Version of the layout.
pub const VERSION: u16 = 1;
/// Magic, version, zeros, length.
const HEAD_BYTES: usize = 24;
const HASH_BYTES: usize = 32;
/// Bytes moved at once.
const CHUNK: usize = 64 * 1024;
/// Records moved at once.
const PAGE: usize = 2_048;
/// More transactions in a second than any gateway decides.
const TRANSACTIONS_PER_SECOND: u64 = 10_000;
/// Fewest numbers skipped, however young the backup is.
const SKIP_MIN: u64 = 1_000_000;
/// Batches of a terminal, and versions of the deny list, that nobody reaches between a backup and its restoration.
const SKIP_SMALL: u32 = 1_000;
/// Largest batch number.
const BATCH_MAX: u32 = 999_999;

/// Why a backup was not written or not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// The target exists; nothing is ever overwritten.
    #[error("it exists already")]
    Exists,
    /// It begins otherwise.
    #[error("it is no backup of a Tapline ledger")]
    NotABackup,
    /// Of a newer program.
    #[error("its layout is version {found}, this program knows {VERSION}")]
    Newer {
        /// Its version.
        found: u16,
    },
    /// It was cut off, or bytes of it changed.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// No space left.
    #[error("the disk is full")]
    Full,
    /// Reading or writing failed.
    #[error("{0}")]
    Io(String),
}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AlreadyExists => Self::Exists,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::UnexpectedEof => Self::Damaged("it ends too early"),
            _ => Self::Io(error.to_string()),
        }
    }
}

/// A backup that was written, or read through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Length of the file.
    pub bytes: u64,
    /// The checksum at its end.
    pub sha256: [u8; 32],
}

/// A new file for its owner's eyes only.
fn private(path: &Path) -> Result<File, BackupError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    Ok(options.open(path)?)
}

fn sync_folder(of: &Path) -> Result<(), BackupError> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(File::open(folder)?.sync_all()?)
}

/// Moves `left` bytes, hashing them.
fn pump(
    from: &mut impl Read,
    to: &mut impl Write,
    hash: &mut Sha256,
    mut left: u64,
) -> Result<(), BackupError> {
    let mut chunk = vec![0; CHUNK];
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let part = chunk.get_mut(..wanted).unwrap_or_default();
        from.read_exact(part)?;
        hash.update(&*part);
        to.write_all(part)?;
        left = left.saturating_sub(u64::try_from(wanted).unwrap_or(left));
    }
    Ok(())
}

/// Seals the database `copy` as the backup `to`, and reads it back. On an error there is no `to`.
///
/// # Errors
/// `to` exists, or the disk refuses.
pub fn seal(copy: &Path, to: &Path) -> Result<Sealed, BackupError> {
    let file = private(to)?;
    let sealed = write_sealed(copy, file).and_then(|written| {
        sync_folder(to)?;
        let read = verify(to)?;
        if read == written { Ok(read) } else { Err(BackupError::Damaged("it does not read back as written")) }
    });
    sealed.inspect_err(|_| {
        // Half a backup is worse than none.
        let _ = fs::remove_file(to);
    })
}

fn write_sealed(copy: &Path, mut to: File) -> Result<Sealed, BackupError> {
    let mut from = File::open(copy)?;
    let length = from.metadata()?.len();
    let mut head = [0u8; HEAD_BYTES];
    let parts = [(0, &MAGIC[..]), (8, &VERSION.to_be_bytes()[..]), (16, &length.to_be_bytes()[..])];
    for (at, part) in parts {
        if let Some(place) = head.get_mut(at..).and_then(|rest| rest.get_mut(..part.len())) {
            place.copy_from_slice(part);
        }
    }
    let mut hash = Sha256::new();
    hash.update(head);
    to.write_all(&head)?;
    pump(&mut from, &mut to, &mut hash, length)?;
    let sha256: [u8; HASH_BYTES] = hash.finalize().into();
    to.write_all(&sha256)?;
    to.sync_all()?;
    Ok(Sealed { bytes: total(length), sha256 })
}

const fn total(length: u64) -> u64 {
    length.saturating_add(HEAD_BYTES as u64).saturating_add(HASH_BYTES as u64)
}

/// Reads a backup through: its head, its length and its checksum.
///
/// # Errors
/// It is not what was written.
pub fn verify(backup: &Path) -> Result<Sealed, BackupError> {
    unseal(backup, &mut io::sink())
}

/// Takes the database out of a backup into the new file `to`. On an error there is no `to`.
///
/// # Errors
/// The backup is damaged or newer, `to` exists, or the disk refuses.
pub fn open(backup: &Path, to: &Path) -> Result<Sealed, BackupError> {
    let mut file = private(to)?;
    let opened = unseal(backup, &mut file).and_then(|sealed| {
        file.sync_all()?;
        Ok(sealed)
    });
    opened.inspect_err(|_| {
        let _ = fs::remove_file(to);
    })
}

fn unseal(backup: &Path, to: &mut impl Write) -> Result<Sealed, BackupError> {
    let mut from = File::open(backup)?;
    let whole = from.metadata()?.len();
    let mut head = [0u8; HEAD_BYTES];
    from.read_exact(&mut head).map_err(|_| BackupError::NotABackup)?;
    let [m0, m1, m2, m3, m4, m5, m6, m7, v0, v1, z @ .., l0, l1, l2, l3, l4, l5, l6, l7] = head;
    if [m0, m1, m2, m3, m4, m5, m6, m7] != MAGIC {
        return Err(BackupError::NotABackup);
    }
    let version = u16::from_be_bytes([v0, v1]);
    if version > VERSION {
        return Err(BackupError::Newer { found: version });
    }
    let length = u64::from_be_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
    if version == 0 || z != [0; 6] || total(length) != whole {
        return Err(BackupError::Damaged("its length is not what it says"));
    }
    let mut hash = Sha256::new();
    hash.update(head);
    pump(&mut from, to, &mut hash, length)?;
    let mut sha256 = [0u8; HASH_BYTES];
    from.read_exact(&mut sha256)?;
    if <[u8; HASH_BYTES]>::from(hash.finalize()) != sha256 {
        return Err(BackupError::Damaged("its checksum is wrong"));
    }
    Ok(Sealed { bytes: whole, sha256 })
}

/// Copies every record of one store into another, empty one, as they stand between two commits of the first. The other one must be opened anew
/// before it is used.
///
/// # Errors
/// One of them failed, or the other one is not empty.
pub fn copy<A: Store + ?Sized, B: Store + ?Sized>(from: &mut A, to: &mut B) -> Result<(), StoreFault> {
    if to.heads().link.is_some() {
        return Err(StoreFault::Io("the target has a ledger already".to_owned()));
    }
    from.begin_reading()?;
    let copied = copy_kinds(from, to, &mut |record| record);
    from.end_reading();
    copied?;
    to.import_done()
}

/// Copies a backup into an empty store of several gateways, as it is to go on: what [`after_restore`] does for a ledger of one gateway is done here
/// for each one's numbers, before anybody sees any of it. Gateways that the backup does not know begin, when they first come, where nobody can have
/// been ([`GatewayNo::RESTORES`]). What is skipped, gateway by gateway; nothing of a ledger without a commit.
///
/// # Errors
/// A store failed: then the other one is as empty as it was, or (`Away`) nobody knows.
pub fn restore_shared<A: Store + ?Sized, B: Store + ?Sized>(
    from: &mut A,
    to: &mut B,
    now: Wall,
) -> Result<Vec<AfterRestore>, StoreFault> {
    let mut chains: BTreeMap<GatewayNo, Heads> = BTreeMap::new();
    from.begin_reading()?;
    let copied = copy_kinds(from, to, &mut |record| match record {
        Record::Registry(registry) => Record::Registry(jumped(registry)),
        Record::Terminal(terminal) if terminal.open.is_none() => Record::Terminal(next_batch(terminal)),
        Record::Link(link) => {
            follow(&mut chains, &link);
            Record::Link(link)
        }
        other => other,
    });
    from.end_reading();
    copied?;
    let Some(newest) = chains.values().map(|heads| heads.at).max() else {
        to.import_done()?;
        return Ok(Vec::new());
    };
    let restores = chains.remove(&GatewayNo::RESTORES).unwrap_or_else(|| GatewayNo::RESTORES.heads());
    let (mut skipped, mut links) = (Vec::with_capacity(chains.len()), Vec::new());
    for heads in chains.values() {
        let next = TransactionSeq(heads.transaction.0.saturating_add(skip(heads.at, now)));
        if retrieval_reference(next).is_none() {
            return Err(StoreFault::Clock);
        }
        links.push(Record::Link(Link::skipping(now, next, heads).0));
        skipped.push(AfterRestore { of: heads.at, from: heads.transaction, to: next });
    }
    let next = TransactionSeq(restores.transaction.0.saturating_add(skip(newest, now)));
    links.push(Record::Link(Link::skipping(now, next, &restores).0));
    to.import(&links)?;
    to.import_done()?;
    Ok(skipped)
}

/// Where a chain stands after this link of its gateway.
fn follow(chains: &mut BTreeMap<GatewayNo, Heads>, link: &Link) {
    let gateway = link.number.gateway();
    let heads = chains.entry(gateway).or_insert_with(|| gateway.heads());
    heads.transfer = link.next_transfer;
    heads.transaction = link.next_transaction;
    heads.link = Some(Linked { number: link.number, hash: link.hash });
    heads.at = link.at;
}

fn copy_kinds<A: Store + ?Sized, B: Store + ?Sized>(
    from: &mut A,
    to: &mut B,
    change: &mut dyn FnMut(Record) -> Record,
) -> Result<(), StoreFault> {
    for kind in Kind::ALL {
        let mut last: Option<Key> = None;
        loop {
            let mut page = Vec::with_capacity(PAGE);
            from.scan(Scan::After(kind, last), &mut |record| {
                page.push(record);
                if page.len() >= PAGE { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            let Some(newest) = page.last() else { break };
            last = Some(newest.key());
            let page: Vec<Record> = page.into_iter().map(&mut *change).collect();
            to.import(&page)?;
        }
    }
    Ok(())
}

/// The ledger of any store as a database of the embedded one, in the file `to`, which is empty or not there.
///
/// # Errors
/// A store failed, or the file exists.
pub fn copy_to_file<S: Store + ?Sized>(store: &mut S, to: &Path) -> Result<(), StoreFault> {
    if fs::metadata(to).is_ok_and(|there| there.len() > 0) {
        return Err(StoreFault::Io("the target exists already".to_owned()));
    }
    let mut copy = SqliteStore::open(to)?;
    self::copy(store, &mut copy)?;
    drop(copy);
    SqliteStore::open(to)?.checkpoint()
}

/// What a restored ledger does not give out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfterRestore {
    /// The newest commit of the backup.
    pub of: Wall,
    /// The numbers of transactions that are skipped: from this one…
    pub from: TransactionSeq,
    /// …up to, not including, this one.
    pub to: TransactionSeq,
}

/// How many numbers of transactions a gateway may have given out since this commit. How many there were nobody knows; ten thousand for every
/// second are more than there can have been.
fn skip(since: Wall, now: Wall) -> u64 {
    let seconds = u64::try_from(now.0.saturating_sub(since.0.max(0)) / 1_000).unwrap_or(0);
    seconds.saturating_mul(TRANSACTIONS_PER_SECOND).max(SKIP_MIN)
}

/// The registry, with a version of the deny list that nobody can have seen.
fn jumped(registry: Registry) -> Registry {
    Registry { deny: DenyVersion(registry.deny.0.saturating_add(SKIP_SMALL)), ..registry }
}

/// A terminal without an open batch, whose next one nobody can have had.
fn next_batch(terminal: Terminal) -> Terminal {
    let next = terminal.newest.0.saturating_add(SKIP_SMALL);
    let newest = BatchNo(if next > BATCH_MAX { next.saturating_sub(BATCH_MAX) } else { next });
    Terminal { newest, ..terminal }
}

/// Makes sure that nothing that the gateway may have given out after the backup is given out a second time: retrieval references, batch
/// numbers of terminals without an open batch, versions of the deny list. The chain says so in a link of its own.
///
/// For a ledger of one gateway. A shared one, with the numbers of all its gateways, is restored by [`restore_shared`].
///
/// # Errors
/// The store failed.
pub fn after_restore<S: Store>(store: &mut S, now: Wall) -> Result<AfterRestore, StoreFault> {
    let heads = store.heads();
    // A backup of a shared ledger may have commits of others alone.
    let mut of = heads.link.map(|_| heads.at);
    if of.is_none() {
        store.scan(Scan::Links(CommitNo(0)), &mut |record| {
            if let Record::Link(link) = record {
                of = of.max(Some(link.at));
            }
            ControlFlow::Continue(())
        })?;
    }
    let Some(of) = of else {
        // Nobody has given out anything, here or before.
        let (from, to) = (heads.transaction, heads.transaction);
        return Ok(AfterRestore { of: heads.at, from, to });
    };
    let (from, to) = (heads.transaction, TransactionSeq(heads.transaction.0.saturating_add(skip(of, now))));
    if retrieval_reference(to).is_none() {
        return Err(StoreFault::Clock);
    }
    store.skip_to(now, to)?;
    let mut working = Working::new(store, now)?;
    let registry = working.registry()?;
    working.put(Record::Registry(jumped(registry)));
    working.commit()?;
    let mut last: Option<Key> = None;
    loop {
        let mut page: Vec<Terminal> = Vec::new();
        store.scan(Scan::After(Kind::Terminal, last), &mut |record| {
            if let Record::Terminal(terminal) = record {
                page.push(terminal);
            }
            if page.len() >= PAGE { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let Some(newest) = page.last() else { break };
        last = Some(Key::Terminal(newest.id));
        let mut working = Working::new(store, now)?;
        for terminal in page.into_iter().filter(|terminal| terminal.open.is_none()) {
            working.put(Record::Terminal(next_batch(terminal)));
        }
        working.commit()?;
    }
    Ok(AfterRestore { of, from, to })
}
