//! The terminal's journal: what it intends before it does it, and what became of it (ARCHITECTURE.md, invariants 2 and 5).

mod store;

pub use store::{Entry, EntrySeq, FREE_BYTES_MIN, Store, VERSION};

use std::io;

/// Why the journal cannot be used. None of these loses what was stored before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The disk or the file may not be written.
    #[error("the disk or the file is read-only")]
    ReadOnly,
    /// Another process has it open.
    #[error("another process has the journal open")]
    InUse,
    /// There is none.
    #[error("there is no journal")]
    Missing,
    /// The file is not a journal.
    #[error("the file is not a journal of this program")]
    Foreign,
    /// A newer program wrote it.
    #[error("the journal has version {found}, this program knows up to {known}")]
    Newer {
        /// The file's version.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// Its content is not what was written.
    #[error("the journal is damaged: {0}")]
    Damaged(String),
    /// The disk failed otherwise.
    #[error("the disk failed: {0}")]
    Disk(String),
}

impl StoreFault {
    /// What a failure of the file system means for the journal.
    #[must_use]
    pub fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly,
            _ => Self::Disk(error.to_string()),
        }
    }
}
