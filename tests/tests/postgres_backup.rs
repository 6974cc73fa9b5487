//! Backups of a shared store: out of PostgreSQL into the sealed form and back into another database, every record as it was.
#![cfg(test)]

use backend::store::memory::MemoryStore;
use backend::store::postgres::{Options, PostgresStore};
use backend::store::sqlite::SqliteStore;
use backend::{Engine, accounts, api, audit, backup, report, store};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::time::Duration;
use tests::postgres::Server;

#[expect(dead_code, reason = "what it says of a store of its own is said there")]
#[path = "../../posp-gateway/backend/src/suite/backup.rs"]
mod copies;
#[expect(dead_code, reason = "the world of the whole suite")]
#[path = "../../posp-gateway/backend/src/suite/world.rs"]
mod world;

use api::Backend;
use store::Store;

/// The gateway of these tests on the shared store.
const GATEWAY: u16 = 3;

/// A session of psql that has a gateway's number.
struct NumberTaken(Child);

impl NumberTaken {
    fn of(server: &Server, database: &str, gateway: u16) -> Self {
        let mut psql = server.psql_command("postgres", database);
        let mut child = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // `TLGE` and the number, as every gateway takes it.
        let take = format!("SELECT pg_advisory_lock({}, {gateway}); SELECT 'taken';", 0x544C_4745);
        writeln!(child.stdin.as_mut().unwrap(), "{take}").unwrap();
        let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "taken"));
        Self(child)
    }
}

impl Drop for NumberTaken {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ended = self.0.wait();
    }
}

/// As the gateway, without waiting.
fn at_once(server: &Server, database: &str) -> Options {
    Options { wait: Duration::ZERO, ..server.options(database, GATEWAY) }
}

#[test]
fn a_ledger_goes_from_postgresql_into_a_backup_and_back_with_every_record() {
    let server = Server::start(&[]);
    let (first, second) = (server.database(), server.database());
    let mut world = world::World::new(server.store(&first, GATEWAY));
    copies::day(&mut world);
    let report = world.audit();
    assert_eq!(report.exceptions, []);
    let original = copies::all(world.engine.store());

    let folder = tempfile::tempdir().unwrap();
    let (copy, file, out) =
        (folder.path().join("copy"), folder.path().join("ledger.tlb"), folder.path().join("out"));
    world.engine.copy_to(&copy).unwrap();
    backup::seal(&copy, &file).unwrap();
    backup::open(&file, &out).unwrap();
    let mut sealed = SqliteStore::open(&out).unwrap();
    assert_eq!(copies::all(&mut sealed), original);
    assert_eq!(audit::run(&mut sealed).unwrap(), report, "the copy is audited without a server");

    let mut target = PostgresStore::open_empty(server.options(&second, GATEWAY)).unwrap().expect("empty");
    // A gateway that has our number the moment the ledger is in: it is in all the same, and can be audited.
    let other = NumberTaken::of(&server, &second, GATEWAY);
    backup::copy(&mut sealed, &mut target).unwrap();
    target.begin_reading().unwrap();
    assert_eq!(audit::run(&mut target).unwrap(), report);
    target.end_reading();
    let link = store::Batch { at: world.now().wall, changes: Vec::new() };
    assert!(target.commit(&link).is_err(), "the number is another's");
    assert!(matches!(PostgresStore::open(at_once(&server, &second)), Err(store::StoreFault::InUse)));
    drop((target, other));
    assert!(PostgresStore::open_empty(server.options(&second, GATEWAY)).unwrap().is_none(), "not any more");
    let mut target = server.store(&second, GATEWAY);
    assert_eq!(copies::all(&mut target), original);
    assert_eq!(audit::run(&mut target).unwrap(), report);
    assert_eq!(target.heads(), world.engine.store().heads());
    assert!(backup::copy(&mut sealed, &mut target).is_err(), "a ledger is never overwritten");

    // The gateway goes on there, and gives out no number that it may have given out since.
    let now = world.now().wall;
    let after = backup::after_restore(&mut target, now).unwrap();
    drop(target);
    let keys = std::sync::Arc::<keys::SoftKeys>::clone(&world.keys);
    let mut world = world.over(Engine::new(server.store(&second, GATEWAY), keys));
    let buy = api::HostBody::Purchase { payer: world::PAYER, amount: world::cny(1) };
    let reference = world.send(buy).reference.unwrap();
    assert!(api::transaction_of(reference).unwrap() >= after.to);
    let report = world.audit();
    assert_eq!((report.exceptions, report.skipped.len()), (vec![], 1));
    // From a store of its own into the shared one as well.
    let mut memory = MemoryStore::new();
    backup::copy(&mut sealed, &mut memory).unwrap();
    assert_eq!(copies::all(&mut memory), original);
}
