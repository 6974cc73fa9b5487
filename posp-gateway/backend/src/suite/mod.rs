//! One suite for every store: whole days over the backend's seam, with cards that make their own MACs and TACs.

#[macro_use]
mod every;
mod backup;
mod candidates;
mod cards;
mod chain;
mod crash;
mod day;
mod gateways;
mod key_versions;
mod limits;
mod orders;
mod persons;
mod preauthorisation;
mod privacy;
mod refunds;
mod search;
mod staleness;
mod tamper;
mod together;
mod world;

use crate::accounts::Hold;
use crate::store::memory::MemoryStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{Batch, Heads, Key, Outcome, Record, Scan, Store, StoreFault, Visit};
use protocol::time::Wall;

/// A SQLite store in a folder of its own, opened again after every third commit: what it remembers must not matter.
pub(crate) struct InFolder {
    store: Option<SqliteStore>,
    folder: tempfile::TempDir,
    commits: u32,
}

impl InFolder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("ledger")).unwrap();
        Self { store: Some(store), folder, commits: 0 }
    }

    fn store(&mut self) -> &mut SqliteStore {
        self.store.as_mut().unwrap()
    }
}

impl Store for InFolder {
    fn heads(&self) -> Heads {
        self.store.as_ref().unwrap().heads()
    }
    fn get(&mut self, key: &Key) -> Result<Option<Record>, StoreFault> {
        self.store().get(key)
    }
    fn due_holds(&mut self, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault> {
        self.store().due_holds(now, limit)
    }
    fn scan(&mut self, scan: Scan, visit: Visit<'_>) -> Result<(), StoreFault> {
        self.store().scan(scan, visit)
    }
    fn commit(&mut self, batch: &Batch) -> Result<Vec<Outcome>, StoreFault> {
        let outcome = self.store().commit(batch)?;
        self.commits += 1;
        if self.commits.is_multiple_of(3) {
            self.store = None;
            self.store = Some(SqliteStore::open(&self.folder.path().join("ledger"))?);
        }
        Ok(outcome)
    }
}

/// Runs each test on every store that this crate can make by itself.
macro_rules! on_every_store {
    ($($module:ident::$test:ident)*) => {
        mod memory {
            $(#[test] fn $test() { super::$module::$test(super::MemoryStore::new()); })*
        }
        mod sqlite {
            $(#[test] fn $test() { super::$module::$test(super::InFolder::new()); })*
        }
        mod gateways_in_turn {
            $(#[test] fn $test() { super::$module::$test(super::gateways::InTurn::new()); })*
        }
    };
}

every_test!(on_every_store
    backup::a_copy_holds_every_record_and_passes_the_audit_in_every_store
    backup::a_restored_ledger_gives_no_number_out_twice_and_takes_what_is_brought_again
);
