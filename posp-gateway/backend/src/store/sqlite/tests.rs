//! The SQLite store on its own: what it keeps, what it refuses, and what it says when the disk or the file is not as it should be.

use super::*;
use crate::accounts::chart::{Book, FundingKind, FundingNumber, code};
use crate::accounts::{Ledger, NewTransfer, Order, Reference};
use protocol::money::{Amount, Currency};
use std::path::PathBuf;

const CNY: Currency = Currency::CNY;
const ALICE: Book = Book::Funding(FundingKind::Bank, FundingNumber(1));

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    (folder, path)
}

fn ledger(path: &Path) -> Ledger<SqliteStore> {
    let mut ledger = Ledger::new(SqliteStore::open(path).unwrap());
    let accounts = [Book::Settlement.new_account(CNY), ALICE.new_account(CNY)];
    ledger.create_accounts(&accounts, Wall(1)).unwrap();
    ledger
}

fn fund(ledger: &mut Ledger<SqliteStore>, minor: u64) -> Result<(), StoreFault> {
    let (debit, credit) = (Book::Settlement.id(CNY), ALICE.id(CNY));
    let order = Order::Post { debit, credit, amount: Amount::new(minor, CNY) };
    let new =
        NewTransfer { reference: Reference(7), order, code: code::FUND, transaction: None, linked: false };
    ledger.create_transfers(&[new], Wall(2)).map(|verdicts| assert!(verdicts[0].is_ok()))
}

fn available(ledger: &mut Ledger<SqliteStore>) -> u64 {
    ledger.lookup(&[ALICE.id(CNY)]).unwrap()[0].unwrap().running.available_credit()
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let (_folder, path) = place();
    let mut first = ledger(&path);
    fund(&mut first, 100).unwrap();
    drop(first);
    let mut again = ledger(&path);
    assert_eq!(available(&mut again), 100);
    assert!(again.store().heads().link.is_some());
}

#[test]
fn a_second_process_is_told_that_the_store_is_in_use() {
    let (_folder, path) = place();
    let _first = ledger(&path);
    assert_eq!(SqliteStore::open(&path).err(), Some(StoreFault::InUse));
}

#[test]
fn a_newer_schema_and_another_programs_file_are_refused() {
    let (_folder, path) = place();
    drop(ledger(&path));
    let raw = Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    assert_eq!(
        SqliteStore::open(&path).err(),
        Some(StoreFault::Newer { found: 99, known: MIGRATIONS.len() as u32 })
    );
    let other = path.with_extension("other");
    let raw = Connection::open(&other).unwrap();
    raw.execute_batch("CREATE TABLE music (title TEXT)").unwrap();
    drop(raw);
    assert!(matches!(SqliteStore::open(&other), Err(StoreFault::Damaged { .. })));
    std::fs::write(path.with_extension("text"), b"this is not a database, and long enough to tell").unwrap();
    assert!(matches!(SqliteStore::open(&path.with_extension("text")), Err(StoreFault::Damaged { .. })));
}

#[test]
fn a_store_of_schema_1_is_brought_forward_and_its_books_are_clean() {
    use crate::api::{Backend, Query, Report};
    use crate::store::{TransactionKind, TransactionState as State};
    let (_folder, path) = place();
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(include_str!("fixtures/schema-1.sql")).unwrap();
    drop(raw);
    let mut store = SqliteStore::open(&path).unwrap();
    let mut found = Vec::new();
    store
        .scan(Scan::TRANSACTIONS, &mut |record| {
            if let Record::Transaction(it) = record
                && matches!(it.kind, TransactionKind::Purchase | TransactionKind::Load)
            {
                found.push((it.amount.map(Amount::minor), it.state));
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    let expected = [
        (Some(100), State::PartlyRefunded),
        (Some(70), State::Voided),
        (Some(60), State::Reversed),
        (Some(5000), State::Completed),
        (Some(200), State::Authorised),
        (Some(300), State::Authorised),
    ];
    assert_eq!(found, expected);
    let keys = keys::SoftKeys::in_memory(Box::new(|out| {
        out.fill(1);
        Ok(())
    }))
    .unwrap();
    let mut engine = crate::Engine::new(store, std::sync::Arc::new(keys));
    let Report::Audit(report) = engine.query(&Query::Audit).unwrap() else { panic!("an audit") };
    assert!(report.is_clean() && report.transactions > 10, "{report:?}");
}

#[test]
fn postings_can_neither_be_changed_nor_removed() {
    let (_folder, path) = place();
    let mut ledger = ledger(&path);
    fund(&mut ledger, 100).unwrap();
    drop(ledger);
    let raw = Connection::open(&path).unwrap();
    for sql in [
        "UPDATE transfers SET amount = 1",
        "DELETE FROM transfers",
        "UPDATE links SET hash = x'00'",
        "DELETE FROM links",
    ] {
        assert!(raw.execute(sql, []).is_err(), "{sql}");
    }
}

#[test]
fn a_full_disk_refuses_the_batch_keeps_everything_and_recovers() {
    let (_folder, path) = place();
    let mut ledger = ledger(&path);
    fund(&mut ledger, 100).unwrap();
    let pages: u32 =
        ledger.store().connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit = |ledger: &mut Ledger<SqliteStore>, pages: u32| {
        let set = format!("PRAGMA max_page_count = {pages}");
        ledger.store().connection.query_row(&set, [], |_| Ok(())).unwrap();
    };
    limit(&mut ledger, pages);
    let mut sum = 100;
    let refused = loop {
        match fund(&mut ledger, 1) {
            Ok(()) => sum += 1,
            Err(fault) => break fault,
        }
    };
    assert_eq!(refused, StoreFault::Full);
    assert_eq!(available(&mut ledger), sum, "nothing half applied");
    limit(&mut ledger, pages + 1000);
    fund(&mut ledger, 1).unwrap();
    assert_eq!(available(&mut ledger), sum + 1);
    drop(ledger);
    let mut again = self::ledger(&path);
    assert_eq!(available(&mut again), sum + 1);
}

#[test]
fn a_read_only_store_refuses_and_says_so() {
    let (_folder, path) = place();
    let mut ledger = ledger(&path);
    fund(&mut ledger, 100).unwrap();
    ledger.store().connection.pragma_update(None, "query_only", true).unwrap();
    assert_eq!(fund(&mut ledger, 1), Err(StoreFault::ReadOnly));
    assert_eq!(available(&mut ledger), 100);
}

#[test]
fn a_backup_opens_and_holds_the_same() {
    let (folder, path) = place();
    let mut ledger = ledger(&path);
    fund(&mut ledger, 100).unwrap();
    let copy = folder.path().join("copy");
    ledger.store().backup(&copy).unwrap();
    fund(&mut ledger, 1).unwrap();
    let mut restored = Ledger::new(SqliteStore::open(&copy).unwrap());
    assert_eq!(available(&mut restored), 100);
    assert!(ledger.store().backup(&copy).is_err(), "a backup never overwrites");
}

#[test]
fn cards_of_schema_1_are_brought_forward_with_their_counters_and_gaps() {
    use crate::api::{Backend, CardStatus, Query, Report};
    use crate::store::DenyVersion;
    let (_folder, path) = place();
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(MIGRATIONS[0]).unwrap();
    raw.execute_batch(include_str!("fixtures/schema-1-cards.sql")).unwrap();
    raw.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    raw.pragma_update(None, "user_version", 1).unwrap();
    drop(raw);
    let keys = keys::SoftKeys::in_memory(Box::new(|out| {
        out.fill(1);
        Ok(())
    }));
    let mut engine =
        crate::Engine::new(SqliteStore::open(&path).unwrap(), std::sync::Arc::new(keys.unwrap()));
    let Report::Audit(report) = engine.query(&Query::Audit).unwrap() else { panic!("no audit") };
    assert_eq!(report.exceptions, []);
    let mut cards = Vec::new();
    let collect: Visit<'_> = &mut |record| {
        if let Record::Card(card) = record {
            cards.push(card);
        }
        ControlFlow::Continue(())
    };
    engine.store().scan(Scan::Cards, collect).unwrap();
    // The first used counters 0, 1 (paid by policy), 2 and 4; the second is the cloned one.
    assert_eq!((cards[0].claimed, cards[0].missing(), cards[0].gap_since.is_some()), (4, 1, true));
    assert_eq!((cards[0].status, cards[0].deny_version), (CardStatus::Active, DenyVersion(0)));
    assert_eq!((cards[1].claimed, cards[1].missing(), cards[1].gap_since), (1, 0, None));
    assert_eq!((cards[1].status, cards[1].deny_version), (CardStatus::Denied, DenyVersion(1)));
    let count = |kind, store: &mut SqliteStore| {
        let mut count = 0;
        let visit: Visit<'_> = &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        };
        store.scan(Scan::After(kind, None), visit).unwrap();
        count
    };
    let store = engine.store();
    assert_eq!(
        (count(crate::store::Kind::Claim, store), count(crate::store::Kind::Resolution, store)),
        (4, 1)
    );
}
