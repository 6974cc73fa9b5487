//! Rows that lag behind their transfers: whenever the power fails, what is opened has the totals that were there.

use super::*;
use crate::accounts::chart::{Book, FundingKind, FundingNumber, code};
use crate::accounts::{Account, Ledger, NewTransfer, Order, Reference};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use protocol::money::{Amount, Currency};
use std::collections::BTreeMap;

const CNY: Currency = Currency::CNY;
const PAYERS: u64 = 24;

fn payer(number: u64) -> Book {
    Book::Funding(FundingKind::Bank, FundingNumber(number % PAYERS))
}

/// What happens next, to which accounts.
#[derive(Clone, Copy, Debug)]
enum Op {
    Fund(u64, u64),
    Hold(u64, u64),
    /// Half of the hold is posted.
    Post(usize),
    Void(usize),
    /// Time goes on; holds expire.
    Wait,
    PowerCut,
    CleanStop,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..PAYERS, 1..10_000_u64).prop_map(|(who, minor)| Op::Fund(who, minor)),
        8 => (0..PAYERS, 2..2_000_u64).prop_map(|(who, minor)| Op::Hold(who, minor)),
        4 => any::<prop::sample::Index>().prop_map(|at| Op::Post(at.index(1000))),
        3 => any::<prop::sample::Index>().prop_map(|at| Op::Void(at.index(1000))),
        1 => Just(Op::Wait),
        2 => Just(Op::PowerCut),
        1 => Just(Op::CleanStop),
    ]
}

fn accounts(store: &mut SqliteStore) -> BTreeMap<u128, Account> {
    let mut found = BTreeMap::new();
    let mut visit = |record| {
        if let Record::Account(account) = record {
            found.insert(account.id.0, account);
        }
        ControlFlow::Continue(())
    };
    store.scan(Scan::Accounts, &mut visit).unwrap();
    found
}

/// The disk as it is at this moment, elsewhere: what a start after a power cut finds.
fn cut(path: &Path, number: usize) -> std::path::PathBuf {
    let copy = path.with_file_name(format!("copy-{number}"));
    for suffix in ["", "-wal"] {
        let from = format!("{}{suffix}", path.display());
        if Path::new(&from).exists() {
            std::fs::copy(&from, format!("{}{suffix}", copy.display())).unwrap();
        }
    }
    copy
}

/// Plays it; whether totals were behind at a power cut.
fn play(ops: &[Op]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let mut path = folder.path().join("ledger");
    let mut ledger = Ledger::new(SqliteStore::open(&path).unwrap());
    let shop = Book::MerchantPayable(crate::accounts::chart::MerchantNumber(1));
    let all: Vec<_> =
        (0..PAYERS).map(payer).chain([Book::Settlement, shop]).map(|book| book.new_account(CNY)).collect();
    let mut now = 1;
    ledger.create_accounts(&all, Wall(now)).unwrap();
    let (mut holds, mut behind) = (Vec::new(), false);
    for (number, op) in ops.iter().enumerate() {
        now += 1;
        let order = match *op {
            Op::Fund(who, minor) => Order::Post {
                debit: Book::Settlement.id(CNY),
                credit: payer(who).id(CNY),
                amount: Amount::new(minor, CNY),
            },
            Op::Hold(who, minor) => Order::Hold {
                debit: payer(who).id(CNY),
                credit: shop.id(CNY),
                amount: Amount::new(minor, CNY),
                expires: Some(Wall(now + 40)),
            },
            Op::Post(at) if !holds.is_empty() => {
                let (of, minor): (TransferSeq, u64) = holds[at % holds.len()];
                Order::PostHold { of, amount: Some(Amount::new(minor / 2, CNY)) }
            }
            Op::Void(at) if !holds.is_empty() => Order::VoidHold { of: holds[at % holds.len()].0 },
            Op::Wait | Op::Post(_) | Op::Void(_) => {
                now += 60;
                ledger.create_transfers(&[], Wall(now)).unwrap();
                continue;
            }
            Op::PowerCut => {
                let mut there = SqliteStore::open(&cut(&path, number)).unwrap();
                assert_eq!(accounts(&mut there), accounts(ledger.store()), "after the power cut");
                behind |= !ledger.store().behind.is_even();
                continue;
            }
            Op::CleanStop => {
                let before = accounts(ledger.store());
                drop(ledger);
                // The file alone, without us: every row is up to date.
                let raw = Connection::open(&path).unwrap();
                for account in before.values() {
                    let (row, _) = read::account_through(&raw, account.id).unwrap().unwrap();
                    assert_eq!(row, *account, "the row after a clean stop");
                }
                drop(raw);
                path = cut(&path, number);
                ledger = Ledger::new(SqliteStore::open(&path).unwrap());
                assert_eq!(accounts(ledger.store()), before, "after the restart");
                continue;
            }
        };
        let new = NewTransfer {
            reference: Reference(7),
            order,
            code: code::FUND,
            transaction: None,
            linked: false,
        };
        if let (Ok(seq), Order::Hold { amount, .. }) =
            (ledger.create_transfers(&[new], Wall(now)).unwrap()[0], order)
        {
            holds.push((seq, amount.minor()));
        }
    }
    behind
}

#[test]
fn a_power_cut_at_any_commit_loses_no_total() {
    let lagged = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig { cases: 12, ..ProptestConfig::default() });
    let played = runner.run(&prop::collection::vec(op(), 40..200), |ops| {
        lagged.set(lagged.get() + u32::from(play(&ops)));
        Ok(())
    });
    played.unwrap();
    assert!(lagged.get() > 0, "nothing ever lagged: the test shows nothing");
}

#[test]
fn a_file_of_schema_1_comes_forward_with_its_totals() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(include_str!("schema.sql")).unwrap();
    raw.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    raw.pragma_update(None, "user_version", 1).unwrap();
    let (alice, bank) = (payer(1).new_account(CNY), Book::Settlement.new_account(CNY));
    for account in [&alice, &bank] {
        let credit = if account.id == alice.id { 500 } else { 0 };
        raw.execute(
            "INSERT INTO accounts VALUES (?1, 156, ?2, ?3, 0, 0, 0, ?4, 1)",
            rusqlite::params![write::id(account.id), account.code.0, account.flags.bits(), credit],
        )
        .unwrap();
    }
    raw.execute(
        "INSERT INTO transfers VALUES (1, ?1, ?2, ?3, 500, 156, 1, 0, NULL, NULL, NULL, 2)",
        rusqlite::params![[0_u8; 16], write::id(bank.id), write::id(alice.id)],
    )
    .unwrap();
    drop(raw);
    let mut ledger = Ledger::new(SqliteStore::open(&path).unwrap());
    let order = Order::Post { debit: bank.id, credit: alice.id, amount: Amount::new(20, CNY) };
    let new =
        NewTransfer { reference: Reference(7), order, code: code::FUND, transaction: None, linked: false };
    assert!(ledger.create_transfers(&[new], Wall(3)).unwrap()[0].is_ok());
    let copy = cut(&path, 0);
    let mut there = SqliteStore::open(&copy).unwrap();
    assert_eq!(accounts(&mut there)[&alice.id.0].running.credits_posted, 520);
}
