//! What the layers below report, as failures that a person can act on.

use crate::journal::StoreFault;
use console::{Failure, code};
use hardware::ReaderError;
use std::path::Path;

/// A failure of the journal at `path`.
#[must_use]
pub fn store(path: &Path, fault: StoreFault) -> Failure {
    let shown = path.display();
    let failure = |code| Failure::new(code).with("path", &shown);
    match &fault {
        StoreFault::Full => failure(code::DISK_FULL),
        StoreFault::ReadOnly => failure(code::DISK_READ_ONLY),
        StoreFault::InUse => failure(code::JOURNAL_IN_USE),
        StoreFault::Missing => failure(code::JOURNAL_MISSING),
        StoreFault::Foreign => failure(code::JOURNAL_FOREIGN),
        StoreFault::Newer { found, known } => {
            failure(code::JOURNAL_NEWER).with("found", found).with("known", known)
        }
        StoreFault::Damaged(detail) => failure(code::JOURNAL_DAMAGED).with("detail", detail),
        StoreFault::Disk(_) => failure(code::DISK_FAILED).caused_by(fault),
    }
}

/// A failure to choose or reach the reader `name` (or, before one is chosen, of the pattern under `key`).
#[must_use]
pub fn reader(key: &str, name: &str, error: ReaderError) -> Failure {
    match &error {
        ReaderError::NoDaemon => Failure::new(code::NO_DAEMON),
        ReaderError::NoAccess => Failure::new(code::READER_ACCESS),
        ReaderError::NoReader => Failure::new(code::NO_READER),
        ReaderError::NoSuchReader { wanted, found } => Failure::new(code::READER_NOT_FOUND)
            .with("pattern", wanted)
            .with("readers", found)
            .with("key", key),
        ReaderError::SeveralReaders { found } if name.is_empty() => {
            let example = found.0.first().map_or("", String::as_str);
            Failure::new(code::SEVERAL_READERS).with("readers", found).with("example", example)
        }
        ReaderError::SeveralReaders { found } => {
            Failure::new(code::READER_AMBIGUOUS).with("pattern", name).with("readers", found).with("key", key)
        }
        ReaderError::InUse => Failure::new(code::READER_BUSY).with("reader", name),
        _ => Failure::new(code::READER_FAILED).with("reader", name).caused_by(error),
    }
}
