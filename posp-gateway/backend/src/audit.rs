//! The audit: everything is derived again from what never changes, and compared with what the store says.
//!
//! - the hash chain over every commit;
//! - every transfer applied again: holds, running totals, Σdebits = Σcredits;
//! - identities are unique, and the states of transactions agree with their transfers;
//! - every booked offline record has its transfer;
//! - per card, conservation: `balance_after(n) = Σ loads up to some online counter m − Σ debits ≤ n`, m never falling as n grows.

mod conservation;

use crate::accounts::chart::Book;
use crate::accounts::ledger::Derivation;
use crate::accounts::{Account, AccountId, Hold, HoldState, Totals, TransactionSeq, Transfer, TransferSeq};
use crate::api::Identity;
use crate::report::{AuditException, AuditReport, FloatLine};
use crate::store::{
    CommitNo, Link, LinkHash, Linked, OfflineRecord, Record, RecordStanding, Scan, Store, StoreFault,
    Transaction, TransactionKind, TransactionState,
};
use protocol::money::Currency;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

/// Most exceptions listed; after so many a person has enough to do.
const EXCEPTIONS_MAX: usize = 10_000;

/// Runs the audit.
///
/// # Errors
/// The store failed.
pub(crate) fn run<S: Store>(store: &mut S) -> Result<AuditReport, StoreFault> {
    let mut report = AuditReport::default();
    let transfers = transfers(store, &mut report)?;
    let digests = transactions(store, &mut report, &transfers)?;
    links(store, &mut report, &transfers, &digests)?;
    holds(store, &mut report, &transfers)?;
    balances(store, &mut report, &transfers)?;
    records(store, &mut report, &transfers)?;
    conservation::cards(store, &mut report)?;
    report.exceptions.truncate(EXCEPTIONS_MAX);
    Ok(report)
}

/// What going through the transfers leaves behind.
struct Transfers {
    sums: HashMap<AccountId, Totals>,
    resolved: HashMap<TransferSeq, HoldState>,
    open: HashMap<TransferSeq, u64>,
    by_seq: HashMap<TransferSeq, Transfer>,
}

/// Goes through records of one kind.
fn each<S: Store>(store: &mut S, scan: Scan, mut visit: impl FnMut(Record)) -> Result<(), StoreFault> {
    store.scan(scan, &mut |record| {
        visit(record);
        ControlFlow::Continue(())
    })
}

fn transfers<S: Store>(store: &mut S, report: &mut AuditReport) -> Result<Transfers, StoreFault> {
    use crate::accounts::TransferKind;
    let mut derivation = Derivation::default();
    let mut sums = HashMap::new();
    let mut resolved = HashMap::new();
    let mut by_seq = HashMap::new();
    let mut turnover: BTreeMap<Currency, u128> = BTreeMap::new();
    let mut expected = TransferSeq(1);
    each(store, Scan::TRANSFERS, |record| {
        let Record::Transfer(transfer) = record else { return };
        report.transfers = report.transfers.saturating_add(1);
        if transfer.seq != expected {
            report.exceptions.push(AuditException::MissingTransfer(expected));
        }
        expected = TransferSeq(transfer.seq.0.saturating_add(1));
        if derivation.apply(&transfer, &mut sums, true).is_none() {
            report.exceptions.push(AuditException::Contradiction(transfer.seq));
        }
        match transfer.kind {
            TransferKind::Post { of } => drop(resolved.insert(of, HoldState::Posted)),
            TransferKind::Void { of } => drop(resolved.insert(of, HoldState::Voided)),
            TransferKind::Expire { of } => drop(resolved.insert(of, HoldState::Expired)),
            TransferKind::Posted | TransferKind::Pending { .. } => {}
        }
        if matches!(transfer.kind, TransferKind::Posted | TransferKind::Post { .. }) {
            let sum = turnover.entry(transfer.amount.currency()).or_default();
            *sum = sum.saturating_add(u128::from(transfer.amount.minor()));
        }
        by_seq.insert(transfer.seq, transfer);
    })?;
    let head = store.heads().transfer;
    if expected < head {
        report.exceptions.push(AuditException::MissingTransfer(expected));
    }
    report.turnover = turnover.into_iter().collect();
    Ok(Transfers { sums, resolved, open: derivation.open().clone(), by_seq })
}

/// The identities, and the transactions by number for the chain.
fn transactions<S: Store>(
    store: &mut S,
    report: &mut AuditReport,
    transfers: &Transfers,
) -> Result<HashMap<TransactionSeq, Transaction>, StoreFault> {
    let mut seen: HashMap<Identity, TransactionSeq> = HashMap::new();
    let mut by_seq = HashMap::new();
    let mut expected = TransactionSeq(1);
    each(store, Scan::TRANSACTIONS, |record| {
        let Record::Transaction(transaction) = record else { return };
        report.transactions = report.transactions.saturating_add(1);
        if transaction.seq != expected {
            report.exceptions.push(AuditException::MissingTransaction(expected));
        }
        expected = TransactionSeq(transaction.seq.0.saturating_add(1));
        if let Some(first) = seen.insert(transaction.identity, transaction.seq) {
            report.exceptions.push(AuditException::DuplicateIdentity(first, transaction.seq));
        }
        if !state_agrees(&transaction, transfers) {
            report.exceptions.push(AuditException::TransactionState(transaction.seq));
        }
        by_seq.insert(transaction.seq, *transaction);
    })?;
    let head = store.heads().transaction;
    if expected < head {
        report.exceptions.push(AuditException::MissingTransaction(expected));
    }
    Ok(by_seq)
}

/// Every link from the first: its hash over the rows that the commit appended.
fn links<S: Store>(
    store: &mut S,
    report: &mut AuditReport,
    transfers: &Transfers,
    transactions: &HashMap<TransactionSeq, Transaction>,
) -> Result<(), StoreFault> {
    let mut previous = Linked { number: CommitNo(0), hash: [0; 32] };
    let mut next = (TransferSeq(1), TransactionSeq(1));
    each(store, Scan::Links(CommitNo(0)), |record| {
        let Record::Link(link) = record else { return };
        report.commits = report.commits.saturating_add(1);
        let expected = CommitNo(previous.number.0.saturating_add(1));
        if link.number != expected {
            report.exceptions.push(AuditException::MissingCommit(expected));
        }
        let follows = (link.first_transfer, link.first_transaction) == next;
        if !follows || derived_hash(&link, &previous.hash, transfers, transactions) != Some(link.hash) {
            report.exceptions.push(AuditException::BrokenLink(link.number));
        }
        previous = Linked { number: link.number, hash: link.hash };
        next = (link.next_transfer, link.next_transaction);
    })?;
    let heads = store.heads();
    if heads.link.is_some_and(|head| head != previous) || next != (heads.transfer, heads.transaction) {
        report.exceptions.push(AuditException::MissingCommit(CommitNo(previous.number.0.saturating_add(1))));
    }
    report.head = (previous.number != CommitNo(0)).then_some((previous.number, previous.hash));
    Ok(())
}

fn derived_hash(
    link: &Link,
    previous: &[u8; 32],
    transfers: &Transfers,
    transactions: &HashMap<TransactionSeq, Transaction>,
) -> Option<[u8; 32]> {
    let mut moved = LinkHash::new();
    for seq in link.first_transfer.0..link.next_transfer.0 {
        moved.transfer(transfers.by_seq.get(&TransferSeq(seq))?);
    }
    let mut decided = LinkHash::new();
    for seq in link.first_transaction.0..link.next_transaction.0 {
        decided.transaction(transactions.get(&TransactionSeq(seq))?);
    }
    Some(link.seal(moved, decided, previous))
}

/// Whether a purchase's state agrees with its hold.
fn state_agrees(transaction: &Transaction, transfers: &Transfers) -> bool {
    let (TransactionKind::Purchase, Some(hold)) = (transaction.kind, transaction.transfer) else {
        return true;
    };
    let state = transfers.resolved.get(&hold).copied().unwrap_or(HoldState::Open);
    match transaction.state {
        TransactionState::Authorised => state == HoldState::Open,
        TransactionState::Voided => state == HoldState::Voided,
        TransactionState::Settled | TransactionState::PartlyRefunded | TransactionState::Refunded => {
            state == HoldState::Posted
        }
        TransactionState::Reversed => state != HoldState::Open,
        TransactionState::Declined | TransactionState::Completed | TransactionState::Disputed => false,
    }
}

fn holds<S: Store>(store: &mut S, report: &mut AuditReport, transfers: &Transfers) -> Result<(), StoreFault> {
    let mut open = 0usize;
    each(store, Scan::Holds, |record| {
        let Record::Hold(hold) = record else { return };
        if !hold_agrees(&hold, transfers) {
            report.exceptions.push(AuditException::Hold(hold.seq));
        }
        open = open.saturating_add(usize::from(hold.state == HoldState::Open));
    })?;
    if open < transfers.open.len() {
        // A pending transfer whose state row is gone.
        let lost = transfers.open.keys().min().copied().unwrap_or(TransferSeq(0));
        report.exceptions.push(AuditException::Hold(lost));
    }
    Ok(())
}

fn hold_agrees(hold: &Hold, transfers: &Transfers) -> bool {
    let Some(pending) = transfers.by_seq.get(&hold.seq) else { return false };
    let same = (pending.debit, pending.credit, pending.amount) == (hold.debit, hold.credit, hold.amount);
    let derived = transfers.resolved.get(&hold.seq).copied().unwrap_or(HoldState::Open);
    same && derived == hold.state
}

fn balances<S: Store>(
    store: &mut S,
    report: &mut AuditReport,
    transfers: &Transfers,
) -> Result<(), StoreFault> {
    let mut known: HashMap<AccountId, Account> = HashMap::new();
    each(store, Scan::Accounts, |record| {
        let Record::Account(account) = record else { return };
        let derived = transfers.sums.get(&account.id).copied().unwrap_or_default();
        if account.flags.limited() && derived != account.running {
            report.exceptions.push(AuditException::Balance(account.id));
        }
        known.insert(account.id, account);
    })?;
    for account in transfers.sums.keys().filter(|id| !known.contains_key(id)) {
        report.exceptions.push(AuditException::Balance(*account));
    }
    each(store, Scan::Issuers, |record| {
        let Record::Issuer(issuer) = record else { return };
        let float = Book::PurseFloat(issuer.number).id(issuer.currency);
        let totals = transfers.sums.get(&float).copied().unwrap_or_default();
        report.float.push(FloatLine {
            issuer: issuer.id,
            currency: issuer.currency,
            posted: totals.net_credit(),
            pending: totals.credits_pending,
        });
    })
}

fn records<S: Store>(
    store: &mut S,
    report: &mut AuditReport,
    transfers: &Transfers,
) -> Result<(), StoreFault> {
    each(store, Scan::Records, |record| {
        let Record::Record(record) = record else { return };
        report.records = report.records.saturating_add(1);
        if !record_agrees(&record, transfers) {
            let (sam, seq) = (record.content.terminal, record.content.term_seq);
            report.exceptions.push(AuditException::RecordTransfer(sam, seq));
        }
    })
}

fn record_agrees(record: &OfflineRecord, transfers: &Transfers) -> bool {
    let posts =
        matches!(record.standing, RecordStanding::Booked | RecordStanding::Fork | RecordStanding::Resolved)
            && record.content.amount.0 > 0;
    match record.transfer {
        None => !posts,
        Some(seq) => {
            let transfer = transfers.by_seq.get(&seq);
            posts && transfer.is_some_and(|t| t.amount.minor() == u64::from(record.content.amount.0))
        }
    }
}
