//! Where the backend keeps things: one seam, apart from the rules.
//!
//! Rules read a [`Store`] through [`Working`], which holds a batch's own changes on top of it, and hand the store one [`Batch`] to
//! [`Store::commit`]: all of it durable, or none. A store decides nothing. That is why the same rules run on [`memory`], on SQLite, on a
//! simulated disk that crashes, and on a database shared by several gateways, where [`Outcome::Conflict`] says that another writer was
//! first and the batch is to be decided again.
//!
//! Append-only and never changed: transfers, the fixed part of transactions, links. One [`Link`] per commit chains the SHA-256 of what
//! the commit appended, so that a row that is changed, removed or reordered later shows.

mod card;
mod gateway;
mod kind;
mod link;
pub mod memory;
mod numbers;
pub mod postgres;
mod record;
pub mod sqlite;
mod working;

pub use crate::transactions::life::TransactionState;
pub use card::*;
pub use gateway::{GatewayNo, retrieval_reference, transaction_of};
pub use kind::Kind;
pub use link::{Link, LinkHash, Linked};
pub use record::*;
pub use working::Working;

use crate::accounts::{Hold, TransactionSeq, TransferSeq};
use protocol::time::Wall;
use std::ops::ControlFlow;

/// Number of a commit: of its gateway, and of that gateway's commits without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitNo(pub u64);

/// Why a store could not do it. What was committed before still is; after any of these but [`StoreFault::InDoubt`] nothing of the batch was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// No space left.
    #[error("the disk is full: make room; nothing was lost, transactions are refused until then")]
    Full,
    /// The file or file system cannot be written.
    #[error("the store is read-only: check the permissions of its folder and how its file system is mounted")]
    ReadOnly,
    /// Another process has it.
    #[error("the store is in use by another process")]
    InUse,
    /// Reading or writing failed.
    #[error("the store failed: {0}")]
    Io(String),
    /// It holds what no version of this program writes.
    #[error("the store is damaged: {what}")]
    Damaged {
        /// Where.
        what: &'static str,
    },
    /// It was written by a newer program.
    #[error("the store has schema {found}, this program knows {known}: use a newer program")]
    Newer {
        /// Schema of the file.
        found: u32,
        /// Newest schema known.
        known: u32,
    },
    /// It was written by an older program, and only its owner may bring it forward.
    #[error(
        "the store has schema {found}, this program needs {known}: bring it forward with `posp-gateway init` (0: the database is empty)"
    )]
    Older {
        /// Schema of the store; 0 if there is none.
        found: u32,
        /// Schema needed.
        known: u32,
    },
    /// The database server is away, starting, full of connections, or no longer the primary: it is asked again and again.
    #[error("the database does not answer: {0}")]
    Away(String),
    /// The answer to a commit was lost, and the server has not been reached since: that commit, or what this asks about, may be kept or not. Whoever
    /// asked must not be told either.
    #[error("it is not known yet whether a commit was kept: {0}")]
    InDoubt(String),
    /// The database server does not let us in.
    #[error("the database refuses the gateway: {0}")]
    Refused(String),
    /// Another writer was first; decide again.
    #[error("another writer was first")]
    Conflict,
    /// The system's clock.
    #[error("the system's clock is outside the years 0 to 9999: set it")]
    Clock,
    /// The writer has stopped.
    #[error("the writer has stopped")]
    Closed,
}

/// What became of one change of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Durable.
    Applied,
    /// Another writer changed it since it was read; nothing of the batch was kept.
    Conflict,
}

/// Changes to make durable together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// When they were decided; never before the commit before.
    pub at: Wall,
    /// New and changed records, each key once, in the order in which they were first touched. Transfers and new transactions come
    /// with ascending numbers.
    pub changes: Vec<Record>,
}

/// Where the store's sequences stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Number of the next transfer.
    pub transfer: TransferSeq,
    /// Number of the next transaction.
    pub transaction: TransactionSeq,
    /// Number of the next alert.
    pub alert: AlertNo,
    /// The newest link; `None` in an empty store.
    pub link: Option<Linked>,
    /// Time of the newest commit.
    pub at: Wall,
}

impl Heads {
    /// Whether a batch over these heads appends this transaction, as opposed to changing one that is there (perhaps another gateway's).
    #[must_use]
    pub fn is_next_transaction(&self, seq: TransactionSeq) -> bool {
        seq >= self.transaction && GatewayNo::of(seq.0) == self.gateway()
    }

    /// Whether a batch over these heads appends this transfer.
    #[must_use]
    pub fn is_next_transfer(&self, seq: TransferSeq) -> bool {
        seq >= self.transfer && GatewayNo::of(seq.0) == self.gateway()
    }

    /// Whose numbers these are.
    #[must_use]
    pub const fn gateway(&self) -> GatewayNo {
        GatewayNo::of(self.transfer.0)
    }
}

impl Default for Heads {
    fn default() -> Self {
        GatewayNo::ALONE.heads()
    }
}

/// What to go through, in ascending order. Where several gateways share a store, their numbers ascend one gateway after the other: order in
/// time is that of one gateway's records only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// Transfers from this number on.
    Transfers(TransferSeq),
    /// Transactions in this range, both ends included.
    Transactions(TransactionSeq, TransactionSeq),
    /// Transactions of a terminal's batch.
    OfBatch(protocol::ids::TerminalId, protocol::ids::BatchNo),
    /// Links from this number on.
    Links(CommitNo),
    /// Accounts.
    Accounts,
    /// Holds.
    Holds,
    /// Issuers.
    Issuers,
    /// Cards.
    Cards,
    /// Offline records, by SAM and sequence.
    Records,
    /// Offline records that await a person or a later record.
    OpenRecords,
    /// Offline records by card and counter.
    Claims,
    /// Loads, by card and counter.
    Loads,
    /// Items uploaded for a batch.
    Uploads(protocol::ids::TerminalId, protocol::ids::BatchNo),
    /// Alerts, newest first.
    Alerts,
    /// Cards whose status changed after this version of the deny list, by version.
    DenyList(DenyVersion),
    /// Cards some of whose counters belong to no record since before this time, longest first.
    Gaps(Wall),
    /// Every record of a kind whose key is greater than this one (or from the first), by key: a scan in pieces.
    After(Kind, Option<Key>),
}

impl Scan {
    /// All transfers.
    pub const TRANSFERS: Self = Self::Transfers(TransferSeq(0));
    /// All transactions.
    pub const TRANSACTIONS: Self = Self::Transactions(TransactionSeq(0), TransactionSeq(u64::MAX));
}

/// Called with each record of a scan, until it breaks.
pub type Visit<'a> = &'a mut dyn FnMut(Record) -> ControlFlow<()>;

/// A store: reads by key, scans in order, and one way to write.
pub trait Store {
    /// Where the sequences of this gateway stand.
    fn heads(&self) -> Heads;

    /// A new decision begins: what was read for the one before does not bind it. [`Working::new`] says so.
    ///
    /// # Errors
    /// The store failed.
    fn begin(&mut self) -> Result<(), StoreFault> {
        Ok(())
    }

    /// Whether a read costs so much that it is worth knowing beforehand what a batch will read.
    fn wants_prefetch(&self) -> bool {
        false
    }

    /// Reads these keys, and the holds that are `due` (time and how many), all at once, for the [`Store::get`]s and
    /// [`Store::due_holds`] that follow.
    ///
    /// # Errors
    /// The store failed.
    fn prefetch(&mut self, _keys: &[Key], _due: Option<(Wall, usize)>) -> Result<(), StoreFault> {
        Ok(())
    }

    /// Whether what was read since [`Store::begin`] still holds, for a batch that changes nothing.
    ///
    /// # Errors
    /// The store failed, or another writer has changed it since: [`StoreFault::Conflict`].
    fn confirm(&mut self) -> Result<(), StoreFault> {
        Ok(())
    }

    /// From here to [`Store::end_reading`] everything that is read is of one moment.
    ///
    /// # Errors
    /// The store failed.
    fn begin_reading(&mut self) -> Result<(), StoreFault> {
        Ok(())
    }

    /// Ends what [`Store::begin_reading`] began.
    fn end_reading(&mut self) {}

    /// The record with this key.
    ///
    /// # Errors
    /// The store failed.
    fn get(&mut self, key: &Key) -> Result<Option<Record>, StoreFault>;

    /// Open holds whose time is up at `now`, oldest end first, at most `limit`.
    ///
    /// # Errors
    /// The store failed.
    fn due_holds(&mut self, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault>;

    /// Goes through records.
    ///
    /// # Errors
    /// The store failed.
    fn scan(&mut self, scan: Scan, visit: Visit<'_>) -> Result<(), StoreFault>;

    /// Makes a batch durable, all or nothing, and appends its link. Outcomes are in the order of the changes.
    ///
    /// # Errors
    /// Nothing of the batch was kept; [`StoreFault::InDoubt`]: nobody knows yet.
    fn commit(&mut self, batch: &Batch) -> Result<Vec<Outcome>, StoreFault>;

    /// Whether [`Store::start`] returns before the batch is durable, and reads go on meanwhile as if it were.
    fn overlaps(&self) -> bool {
        false
    }

    /// Begins to make a batch durable; the one before must have been finished. What is read from now on has its changes, and is worth nothing if
    /// [`Store::finish`] fails.
    ///
    /// # Errors
    /// As [`Store::commit`]: nothing was kept.
    fn start(&mut self, batch: &Batch) -> Result<(), StoreFault> {
        self.commit(batch).map(|_| ())
    }

    /// What became of the batch that was started, told once; it is durable if this is `Ok`. Nothing started: `Ok`.
    ///
    /// # Errors
    /// As [`Store::commit`], or another writer was first.
    fn finish(&mut self) -> Result<(), StoreFault> {
        Ok(())
    }

    /// Appends the link that says that transactions go on with the number `next` (a backup was restored).
    ///
    /// # Errors
    /// Nothing was appended.
    fn skip_to(&mut self, _at: Wall, _next: TransactionSeq) -> Result<(), StoreFault> {
        Err(StoreFault::Io("this store cannot be restored".to_owned()))
    }

    /// Copies everything, as it stands between two commits, into a new file of the embedded store.
    ///
    /// # Errors
    /// The file exists, or the disk refuses.
    fn copy_to(&mut self, file: &std::path::Path) -> Result<(), StoreFault> {
        crate::backup::copy_to_file(self, file)
    }

    /// Takes in records of a copy as they are, links included, in the order of [`Kind::ALL`]; only for a store that is empty.
    ///
    /// # Errors
    /// The store failed; it is of no use then.
    fn import(&mut self, _records: &[Record]) -> Result<(), StoreFault> {
        Err(StoreFault::Io("this store cannot be restored".to_owned()))
    }

    /// Ends [`Store::import`]: what is derived from the records is made.
    ///
    /// # Errors
    /// The store failed; it is of no use then.
    fn import_done(&mut self) -> Result<(), StoreFault> {
        Err(StoreFault::Io("this store cannot be restored".to_owned()))
    }
}

/// A store behind a pointer is that store: every call goes through, those with a default too.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: Store + ?Sized> Store for $pointer {
            fn heads(&self) -> Heads {
                (**self).heads()
            }
            fn begin(&mut self) -> Result<(), StoreFault> {
                (**self).begin()
            }
            fn wants_prefetch(&self) -> bool {
                (**self).wants_prefetch()
            }
            fn prefetch(&mut self, keys: &[Key], due: Option<(Wall, usize)>) -> Result<(), StoreFault> {
                (**self).prefetch(keys, due)
            }
            fn confirm(&mut self) -> Result<(), StoreFault> {
                (**self).confirm()
            }
            fn begin_reading(&mut self) -> Result<(), StoreFault> {
                (**self).begin_reading()
            }
            fn end_reading(&mut self) {
                (**self).end_reading();
            }
            fn get(&mut self, key: &Key) -> Result<Option<Record>, StoreFault> {
                (**self).get(key)
            }
            fn due_holds(&mut self, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault> {
                (**self).due_holds(now, limit)
            }
            fn scan(&mut self, scan: Scan, visit: Visit<'_>) -> Result<(), StoreFault> {
                (**self).scan(scan, visit)
            }
            fn commit(&mut self, batch: &Batch) -> Result<Vec<Outcome>, StoreFault> {
                (**self).commit(batch)
            }
            fn overlaps(&self) -> bool {
                (**self).overlaps()
            }
            fn start(&mut self, batch: &Batch) -> Result<(), StoreFault> {
                (**self).start(batch)
            }
            fn finish(&mut self) -> Result<(), StoreFault> {
                (**self).finish()
            }
            fn skip_to(&mut self, at: Wall, next: TransactionSeq) -> Result<(), StoreFault> {
                (**self).skip_to(at, next)
            }
            fn copy_to(&mut self, file: &std::path::Path) -> Result<(), StoreFault> {
                (**self).copy_to(file)
            }
            fn import(&mut self, records: &[Record]) -> Result<(), StoreFault> {
                (**self).import(records)
            }
            fn import_done(&mut self) -> Result<(), StoreFault> {
                (**self).import_done()
            }
        }
    )*};
}
forward!(&mut S, Box<S>);
