//! The suite that every store passes, on PostgreSQL: the very tests of `backend/src/suite`, over its public seam. The store is opened again
//! after every third commit: what it remembers must not matter.
#![cfg(test)]

use backend::accounts::Hold;
use backend::store::postgres::PostgresStore;
use backend::store::{Batch, Heads, Key, Outcome, Record, Scan, Store, StoreFault, Visit};
use backend::{Engine, accounts, api, report, store};
use protocol::time::Wall;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tests::postgres::Server;

#[macro_use]
#[path = "../../posp-gateway/backend/src/suite/every.rs"]
mod every;
#[path = "../../posp-gateway/backend/src/suite/candidates.rs"]
mod candidates;
#[path = "../../posp-gateway/backend/src/suite/cards.rs"]
mod cards;
#[path = "../../posp-gateway/backend/src/suite/chain.rs"]
mod chain;
#[path = "../../posp-gateway/backend/src/suite/day.rs"]
mod day;
#[path = "../../posp-gateway/backend/src/suite/key_versions.rs"]
mod key_versions;
#[path = "../../posp-gateway/backend/src/suite/limits.rs"]
mod limits;
#[path = "../../posp-gateway/backend/src/suite/persons.rs"]
mod persons;
#[path = "../../posp-gateway/backend/src/suite/preauthorisation.rs"]
mod preauthorisation;
#[path = "../../posp-gateway/backend/src/suite/privacy.rs"]
mod privacy;
#[path = "../../posp-gateway/backend/src/suite/refunds.rs"]
mod refunds;
#[path = "../../posp-gateway/backend/src/suite/search.rs"]
mod search;
#[path = "../../posp-gateway/backend/src/suite/together.rs"]
mod together;
#[expect(dead_code, reason = "what only the tests of copies use")]
#[path = "../../posp-gateway/backend/src/suite/world.rs"]
mod world;

/// One server for all tests of this process that run at the same time.
fn server() -> Arc<Server> {
    static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Server::start(&[]));
        *shared = Arc::downgrade(&server);
        server
    })
}

struct Reopened {
    store: Option<PostgresStore>,
    database: String,
    commits: u32,
    server: Arc<Server>,
}

impl Reopened {
    fn new() -> Self {
        let server = server();
        let database = server.database();
        Self { store: Some(server.store(&database, 3)), database, commits: 0, server }
    }

    fn store(&mut self) -> &mut PostgresStore {
        self.store.as_mut().unwrap()
    }
}

impl Store for Reopened {
    fn heads(&self) -> Heads {
        self.store.as_ref().unwrap().heads()
    }
    fn begin(&mut self) -> Result<(), StoreFault> {
        self.store().begin()
    }
    fn wants_prefetch(&self) -> bool {
        true
    }
    fn prefetch(&mut self, keys: &[Key], due: Option<(Wall, usize)>) -> Result<(), StoreFault> {
        self.store().prefetch(keys, due)
    }
    fn confirm(&mut self) -> Result<(), StoreFault> {
        self.store().confirm()
    }
    fn begin_reading(&mut self) -> Result<(), StoreFault> {
        self.store().begin_reading()
    }
    fn end_reading(&mut self) {
        self.store().end_reading();
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
            self.store = Some(self.server.store(&self.database, 3));
        }
        Ok(outcome)
    }
}

macro_rules! on_postgres {
    ($($module:ident::$test:ident)*) => {
        $(#[test] fn $test() { crate::$module::$test(Reopened::new()); })*
    };
}

every_test!(on_postgres);
