//! Somebody changes the file behind the program's back: the audit says where.

use super::world::*;
use crate::accounts::{TransactionSeq, TransferSeq};
use crate::api::*;
use crate::report::AuditException;
use crate::store::sqlite::SqliteStore;
use crate::store::{CommitNo, Store};
use protocol::ids::TermSeq;
use rusqlite::Connection;
use std::path::Path;

/// A day with purchases, a load and offline records, closed; then `sql` without the triggers; then the audit.
fn after(sql: &str) -> Vec<AuditException> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let mut world = World::new(SqliteStore::open(&path).unwrap());
    world.fund(10_000, 1);
    let buy = |minor| HostBody::Purchase { payer: PAYER, amount: cny(minor) };
    world.send(buy(100));
    let mut card = world.card(1);
    world.loaded(&mut card, 5_000);
    let record = card.pay(300, SAM_1, 1);
    world.upload(&[record]);
    world.settle();
    world.send(buy(200));
    assert_eq!(world.audit().exceptions, [], "clean before");
    let keys = world.keys.clone();
    drop(world);
    tamper(&path, sql);
    let mut engine = crate::Engine::new(SqliteStore::open(&path).unwrap(), keys);
    match engine.query(&Query::Audit).unwrap() {
        Report::Audit(report) => report.exceptions,
        other => panic!("{other:?}"),
    }
}

fn tamper(path: &Path, sql: &str) {
    let raw = Connection::open(path).unwrap();
    let triggers: Vec<String> = raw
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for trigger in triggers {
        raw.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    assert!(raw.execute(sql, []).unwrap() > 0, "{sql} changed nothing");
}

#[track_caller]
fn finds(sql: &str, exception: impl Fn(&AuditException) -> bool) {
    let found = after(sql);
    assert!(found.iter().any(exception), "{sql}: {found:?}");
}

#[test]
fn a_changed_posting_breaks_its_link_and_the_balance() {
    finds("UPDATE transfers SET amount = amount + 1 WHERE seq = 1", |e| {
        matches!(e, AuditException::BrokenLink(_))
    });
    finds("UPDATE transfers SET amount = amount + 1 WHERE seq = 1", |e| {
        matches!(e, AuditException::Balance { .. })
    });
    finds("UPDATE transfers SET credit = debit, debit = credit WHERE seq = 1", |e| {
        matches!(e, AuditException::BrokenLink(_))
    });
}

#[test]
fn a_removed_posting_is_missed() {
    finds("DELETE FROM transfers WHERE seq = 2", |e| *e == AuditException::MissingTransfer(TransferSeq(2)));
    finds("DELETE FROM transfers WHERE seq = (SELECT max(seq) FROM transfers)", |e| {
        matches!(e, AuditException::MissingTransfer(_))
    });
}

#[test]
fn a_changed_or_removed_transaction_is_found() {
    finds("UPDATE transactions SET code = '05' WHERE seq = 1", |e| {
        matches!(e, AuditException::BrokenLink(_))
    });
    finds("DELETE FROM transactions WHERE seq = 1", |e| {
        *e == AuditException::MissingTransaction(TransactionSeq(1))
    });
    finds("UPDATE transactions SET state = 6 WHERE seq = 1", |e| {
        *e == AuditException::TransactionState(TransactionSeq(1))
    });
    finds("UPDATE transactions SET trace = 1, batch = 1 WHERE seq = 2", |e| {
        matches!(e, AuditException::DuplicateIdentity(TransactionSeq(1), TransactionSeq(2)))
    });
}

#[test]
fn a_reordered_or_shortened_chain_is_found() {
    finds("UPDATE links SET number = CASE number WHEN 3 THEN -4 ELSE -3 END WHERE number IN (3, 4)", |e| {
        matches!(e, AuditException::MissingCommit(_))
    });
    finds("DELETE FROM links WHERE number = 5", |e| *e == AuditException::MissingCommit(CommitNo(5)));
    finds("DELETE FROM links WHERE number = (SELECT max(number) FROM links)", |e| {
        matches!(e, AuditException::MissingCommit(_))
    });
    finds("UPDATE links SET hash = zeroblob(32) WHERE number = 2", |e| {
        *e == AuditException::BrokenLink(CommitNo(3))
    });
}

#[test]
fn running_totals_holds_cards_and_records_are_compared() {
    finds("UPDATE accounts SET credits_posted = credits_posted + 1 WHERE credits_posted > 0", |e| {
        matches!(e, AuditException::Balance { .. })
    });
    finds("UPDATE holds SET state = 2 WHERE state = 0", |e| matches!(e, AuditException::Hold(_)));
    finds("DELETE FROM holds WHERE state = 0", |e| matches!(e, AuditException::Hold(_)));
    finds("UPDATE cards SET loaded = loaded + 1", |e| matches!(e, AuditException::CardTotals { .. }));
    finds("UPDATE records SET transfer = NULL", |e| *e == AuditException::RecordTransfer(SAM_1, TermSeq(1)));
    finds("DELETE FROM records", |e| matches!(e, AuditException::DoubleClaim(..)));
}

/// What the plain audit cannot see, and why heads are exported: the newest commits are taken away with everything that they left.
#[test]
fn a_tail_cut_off_with_all_its_traces_passes_the_audit_but_its_links_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let mut world = World::new(SqliteStore::open(&path).unwrap());
    world.fund(10_000, 1);
    let before = world.engine.store().heads().link.unwrap().number;
    world.fund(7_777, 2);
    world.fund(1, 3);
    let newest = world.engine.store().heads().link.unwrap().number;
    assert_eq!(newest, CommitNo(before.0 + 2));
    let keys = world.keys.clone();
    drop(world);
    tamper(&path, "DELETE FROM transfers WHERE seq > 1");
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(&format!(
        "DELETE FROM links WHERE number > {};
         DELETE FROM arrivals WHERE reference > 1;
         UPDATE accounts SET credits_posted = 10000, through = 1 WHERE credits_posted > 0;
         UPDATE accounts SET debits_posted = 10000, through = 1 WHERE debits_posted > 0;
         UPDATE accounts_behind SET replay_from = 2",
        before.0
    ))
    .unwrap();
    drop(raw);
    let mut engine = crate::Engine::new(SqliteStore::open(&path).unwrap(), keys);
    let Report::Audit(report) = engine.query(&Query::Audit).unwrap() else { panic!("no audit") };
    assert_eq!(report.exceptions, [], "nothing inside the database shows it");
    let links = engine.query(&Query::Links(vec![before, newest])).unwrap();
    let Report::Links(links) = links else { panic!("no links") };
    assert_eq!(links.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
}
