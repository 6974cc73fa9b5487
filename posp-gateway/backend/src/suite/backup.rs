//! Copies of a ledger and their sealed files: everything is in them, damage shows, and a ledger that comes back gives no number out twice.

use super::world::*;
use crate::Engine;
use crate::api::*;
use crate::backup::{self, BackupError};
use crate::store::memory::MemoryStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{DenyVersion, Kind, Record, Scan, Store};
use keys::KeyModule;
use protocol::ids::BatchNo;
use protocol::iso8583::f58::{RecordState, TransactionRecord};
use protocol::purse::{Suite, Tac};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Every record, kind after kind.
pub(super) fn all<S: Store>(store: &mut S) -> Vec<Record> {
    let mut records = Vec::new();
    for kind in Kind::ALL {
        let collect = &mut |record| {
            records.push(record);
            ControlFlow::Continue(())
        };
        store.scan(Scan::After(kind, None), collect).unwrap();
    }
    records
}

/// A day that leaves records of nearly every kind: a closed batch and an open one, loads in every state, a fork, open items, limits.
pub(super) fn day<S: Store>(world: &mut World<S>) -> TestCard {
    world.fund(50_000, 1);
    let buy = |minor| HostBody::Purchase { payer: PAYER, amount: cny(minor) };
    let limit = Limit {
        scope: LimitScope::Terminal(t1()),
        payment_max: Some(40_000),
        day_sum_max: Some(1_000_000),
        day_count_max: None,
    };
    assert_eq!(world.admin(AdminRequest::SetLimit(limit)), AdminAnswer::Done);
    world.send(buy(100));
    world.settle();
    let mut card = world.card(1);
    world.loaded(&mut card, 5_000);
    let (mut clone, zero) = (card.clone(), Tac::zero(Suite::Aes));
    let (one, two) = (card.pay(300, SAM_1, 1), clone.pay(200, SAM_2, 1));
    let torn = card.clone().pay(50, SAM_1, 2);
    let torn = TransactionRecord { state: RecordState::Uncertain, tac: zero, ..torn };
    let strange = card.pay(10, STRANGER, 1);
    assert_eq!(world.upload(&[one, two, torn, strange]), ["00", "00", "01", "01"]);
    let mut other = world.card(2);
    let open = world.load(&mut other, 1_000);
    assert_eq!(world.host(open).code, code("00"));
    world.send(buy(200));
    card
}

pub(super) fn a_copy_holds_every_record_and_passes_the_audit_in_every_store<S: Store>(store: S) {
    let mut world = World::new(store);
    day(&mut world);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy");
    world.engine.copy_to(&file).unwrap();
    assert!(world.engine.copy_to(&file).is_err(), "a copy never overwrites");
    let (original, report) = (all(world.engine.store()), world.audit());
    let mut copy = SqliteStore::open(&file).unwrap();
    assert_eq!(all(&mut copy), original);
    assert_eq!(crate::audit::run(&mut copy).unwrap(), report);
    // From one kind of store into another and back.
    let mut memory = MemoryStore::new();
    backup::copy(&mut copy, &mut memory).unwrap();
    assert_eq!(crate::audit::run(&mut memory).unwrap(), report);
    assert!(backup::copy(&mut copy, &mut memory).is_err(), "a ledger is never overwritten");
    let again = folder.path().join("again");
    memory.copy_to(&again).unwrap();
    let mut again = SqliteStore::open(&again).unwrap();
    assert_eq!(all(&mut again), original);
    assert_eq!((again.heads(), crate::audit::run(&mut again).unwrap()), (copy.heads(), report));
}

/// The same shop over another store.
fn reopened<S: Store, T: Store>(world: World<S>, store: T) -> World<T> {
    let keys: Arc<dyn KeyModule> = Arc::<keys::SoftKeys>::clone(&world.keys);
    world.over(Engine::new(store, keys))
}

pub(super) fn a_restored_ledger_gives_no_number_out_twice_and_takes_what_is_brought_again<S: Store>(
    store: S,
) {
    let mut world = World::new(store);
    let mut card = day(&mut world);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy");
    world.engine.copy_to(&file).unwrap();

    // What happens after the backup: a payment, an answered purchase, a closed batch, a card on the deny list.
    let late = card.pay(70, SAM_1, 3);
    let upload = world.message(t1(), HostBody::OfflineRecords { records: vec![late] });
    assert_eq!(codes(&world.host(upload.clone())), ["00"]);
    let buy = world.message(t1(), HostBody::Purchase { payer: PAYER, amount: cny(999) });
    let answered = world.host(buy);
    let lost_deny = AdminRequest::SetCardStatus { issuer: ISSUER, asn: card.asn, status: CardStatus::Active };
    assert_eq!(world.admin(lost_deny), AdminAnswer::Done);
    let paid = world.payable(shop());

    // The machine is lost; a day later the copy takes its place.
    world.ms += 86_400_000;
    let mut world = reopened(world, SqliteStore::open(&file).unwrap());
    let now = world.now().wall;
    let after = backup::after_restore(world.engine.store(), now).unwrap();
    let report = world.audit();
    assert_eq!(report.exceptions, []);
    assert_eq!(report.skipped.len(), 1);
    assert_eq!(report.skipped[0].count, after.to.0 - after.from.0);
    assert!(report.skipped[0].count >= 86_400 * 10_000, "a day's numbers");

    // The terminal repeats what it has no answer to, and brings its records again: all of it is booked, under new numbers.
    assert_eq!(codes(&world.host(upload.clone())), ["00"]);
    assert_eq!(codes(&world.host(upload)), ["00"]);
    let buy = world.message(t1(), HostBody::Purchase { payer: PAYER, amount: cny(1) });
    let fresh = world.host(buy);
    assert!(fresh.reference.unwrap().as_str() > answered.reference.unwrap().as_str());
    assert!(transaction_of(fresh.reference.unwrap()).unwrap() >= after.to);
    assert_eq!(world.payable(shop()), paid);
    let deny = AdminRequest::SetCardStatus { issuer: ISSUER, asn: card.asn, status: CardStatus::Active };
    assert_eq!(world.admin(deny), AdminAnswer::Done);
    assert!(world.card_report(&card).deny_version > DenyVersion(1_000), "no version twice");
    // The terminal with an open batch goes on with it; the other one begins where it cannot have been.
    let batch = |world: &mut World<SqliteStore>, terminal| match world
        .engine
        .query(&Query::Terminal(terminal))
        .unwrap()
    {
        Report::Terminal(report) => report.batch,
        other => panic!("{other:?}"),
    };
    assert_eq!((batch(&mut world, t1()), batch(&mut world, t2())), (BatchNo(2), BatchNo(1_001)));
    assert_eq!(world.audit().exceptions, []);
}

fn sealed(folder: &Path) -> std::path::PathBuf {
    let mut world = World::new(MemoryStore::new());
    day(&mut world);
    let (copy, file) = (folder.join("copy"), folder.join("backup"));
    world.engine.copy_to(&copy).unwrap();
    let written = backup::seal(&copy, &file).unwrap();
    assert_eq!(written.bytes, std::fs::metadata(&file).unwrap().len());
    assert_eq!(backup::verify(&file), Ok(written));
    file
}

#[test]
fn a_sealed_backup_opens_as_it_was_and_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = sealed(folder.path());
    let out = folder.path().join("out");
    backup::open(&file, &out).unwrap();
    assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(folder.path().join("copy")).unwrap());
    assert!(crate::audit::run(&mut SqliteStore::open(&out).unwrap()).unwrap().is_clean());
    assert_eq!(backup::open(&file, &out), Err(BackupError::Exists));
    assert_eq!(backup::seal(&out, &file), Err(BackupError::Exists));
    backup::verify(&file).unwrap();
}

#[test]
fn a_backup_that_was_changed_cut_or_is_newer_is_refused_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let good = std::fs::read(sealed(folder.path())).unwrap();
    let (file, out) = (folder.path().join("bad"), folder.path().join("out"));
    let refused = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let error = backup::open(&file, &out).unwrap_err();
        assert!(!out.exists(), "{error}");
        assert_eq!(backup::verify(&file), Err(error.clone()));
        error
    };
    for at in [16, 24, 100, good.len() / 2, good.len() - 33, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        assert!(matches!(refused(&bytes), BackupError::Damaged(_)), "byte {at}");
    }
    for length in [0, 7, 23] {
        assert_eq!(refused(&good[..length]), BackupError::NotABackup);
    }
    for length in [24, 100, good.len() - 1] {
        assert!(matches!(refused(&good[..length]), BackupError::Damaged(_)), "{length} bytes");
    }
    assert!(matches!(refused(&[&good[..], b"x"].concat()), BackupError::Damaged(_)));
    assert_eq!(refused(b"SQLite format 3\0 and so on, long enough"), BackupError::NotABackup);
    let mut newer = good;
    newer[9] = 2;
    assert_eq!(refused(&newer), BackupError::Newer { found: 2 });
}
