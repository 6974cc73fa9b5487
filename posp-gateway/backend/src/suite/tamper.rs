//! Somebody changes the file behind the program's back: the audit says where.

use super::refunds::returns;
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
    changed(world, &path, sql)
}

fn changed(world: World<SqliteStore>, path: &Path, sql: &str) -> Vec<AuditException> {
    let keys = world.keys.clone();
    drop(world);
    tamper(path, sql);
    let mut engine = crate::Engine::new(SqliteStore::open(path).unwrap(), keys);
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
    for one in sql.split(';') {
        assert!(raw.execute(one, []).unwrap() > 0, "{one} changed nothing");
    }
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

/// After such a day, `sql`, and then the audit.
#[track_caller]
fn shows(sql: &str, exception: impl Fn(&AuditException) -> bool) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let world = returns(SqliteStore::open(&path).unwrap());
    let found = changed(world, &path, sql);
    assert!(found.iter().any(exception), "{sql}: {found:?}");
}

const fn is_state(e: &AuditException) -> bool {
    matches!(e, AuditException::TransactionState(_))
}

#[test]
fn a_payment_that_could_be_paid_back_twice_is_found() {
    shows("UPDATE transactions SET state = 4, refunded = 0 WHERE state = 7", is_state);
    shows("UPDATE transactions SET refunded = refunded - 1 WHERE state = 7", is_state);
    shows("UPDATE transactions SET state = 4 WHERE state = 5", is_state);
    shows("UPDATE transactions SET state = 4 WHERE state = 6 AND amount = 400", is_state);
    shows("UPDATE transactions SET state = 3 WHERE state = 6 AND amount = 450", is_state);
    shows("UPDATE transactions SET state = 6 WHERE state = 4 AND amount = 450", is_state);
}

#[test]
fn a_payment_turned_to_another_account_is_found() {
    let turned = |e: &AuditException| matches!(e, AuditException::TransactionAccounts(_));
    let to = "X'03E8009C000300000000000000000002'";
    shows(&format!("UPDATE transactions SET payer = {to} WHERE state = 7"), turned);
    shows(&format!("UPDATE transactions SET payee = {to} WHERE state = 7"), turned);
    shows("UPDATE transactions SET payer = payee, payee = payer WHERE amount = 40", turned);
    shows("UPDATE transactions SET transfer = NULL WHERE amount = 450", turned);
    shows(
        "UPDATE transactions SET transfer = (SELECT transfer FROM transactions WHERE amount = 400) WHERE amount = 300",
        turned,
    );
    shows(&format!("UPDATE transactions SET payer = {to} WHERE amount = 500"), turned);
}

#[test]
fn a_record_that_could_be_booked_once_more_is_found() {
    let gone = "DELETE FROM records WHERE term_seq = 2; DELETE FROM claims WHERE counter = 1;
                UPDATE cards SET spent = spent - 200, claimed = 1, newest_counter = 0, newest_balance = 800 WHERE spent > 0";
    shows(gone, |e| matches!(e, AuditException::Unexplained(_)));
    let record = |e: &AuditException| *e == AuditException::RecordTransfer(SAM_1, TermSeq(2));
    shows("UPDATE records SET merchant = 'CAFE           ' WHERE term_seq = 2", record);
    shows("UPDATE records SET transfer = (SELECT min(transfer) FROM records)", record);
}

#[test]
fn money_that_could_arrive_once_more_is_found() {
    shows("DELETE FROM arrivals WHERE reference = 2", |e| *e == AuditException::Unexplained(TransferSeq(2)));
    shows("UPDATE arrivals SET reference = 9 WHERE reference = 2", |e| *e == AuditException::Arrival(9));
    shows("INSERT INTO arrivals VALUES (3, 2)", |e| *e == AuditException::Arrival(3));
}

#[test]
fn a_card_that_could_do_again_what_it_must_not_is_found() {
    let card = |e: &AuditException| matches!(e, AuditException::CardState(..));
    shows("UPDATE cards SET denied = 0 WHERE denied = 1", card);
    shows("UPDATE cards SET denied = 1 WHERE denied = 0", card);
    shows("UPDATE cards SET next_online = 0 WHERE next_online > 0", card);
    shows("UPDATE cards SET open_load = NULL WHERE open_load IS NOT NULL", card);
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
