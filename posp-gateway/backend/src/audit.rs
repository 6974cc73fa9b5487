//! The audit: everything is derived again from what never changes, and compared with what the store says.
//!
//! - the hash chain of every gateway over every commit;
//! - every transfer applied again: holds, running totals, Σdebits = Σcredits;
//! - identities are unique, and the states of transactions agree with their transfers;
//! - every booked offline record has its transfer;
//! - per card, conservation: `balance_after(n) = Σ loads up to some online counter m − Σ debits ≤ n`, m never falling as n grows.
//!
//! Rows are read in pages and forgotten. What is remembered grows with accounts, open holds and one card at a time, and with two bits per hold; identities
//! are compared a million at a time, in as many passes as that takes.

mod chain;
mod conservation;
mod pages;

use self::pages::{Pages, Resolved};
use crate::accounts::chart::Book;
use crate::accounts::{Account, AccountId, Hold, HoldState, Totals, Transfer, TransferSeq};
use crate::api::Identity;
use crate::report::{AuditException, AuditReport, FloatLine};
use crate::store::{
    Key, Kind, OfflineRecord, Record, RecordStanding, Scan, Store, StoreFault, Transaction, TransactionKind,
    TransactionState,
};
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;

/// Most exceptions listed; after so many a person has enough to do.
const EXCEPTIONS_MAX: usize = 10_000;
/// Most identities compared in one pass over the transactions.
const IDENTITIES_MAX: u64 = 1 << 20;

/// Runs the audit.
///
/// # Errors
/// The store failed.
pub fn run<S: Store>(store: &mut S) -> Result<AuditReport, StoreFault> {
    let mut report = AuditReport::default();
    let moved = chain::follow(store, &mut report)?;
    transactions(store, &mut report, &moved.resolved)?;
    holds(store, &mut report, &moved)?;
    balances(store, &mut report, &moved.sums)?;
    records(store, &mut report)?;
    conservation::cards(store, &mut report)?;
    Ok(report)
}

/// What going through the transfers leaves behind.
struct Moved {
    sums: HashMap<AccountId, Totals>,
    resolved: Resolved,
    open: BTreeSet<TransferSeq>,
}

/// Lists what is wrong, as far as a person can read on.
fn found(report: &mut AuditReport, exception: AuditException) {
    if report.exceptions.len() < EXCEPTIONS_MAX {
        report.exceptions.push(exception);
    }
}

/// Goes through records of one kind.
fn each<S: Store>(store: &mut S, scan: Scan, mut visit: impl FnMut(Record)) -> Result<(), StoreFault> {
    store.scan(scan, &mut |record| {
        visit(record);
        ControlFlow::Continue(())
    })
}

/// Identities are unique, and states agree with their holds.
fn transactions<S: Store>(
    store: &mut S,
    report: &mut AuditReport,
    resolved: &Resolved,
) -> Result<(), StoreFault> {
    let passes = report.transactions.div_ceil(IDENTITIES_MAX).max(1);
    for pass in 0..passes {
        let mut seen = HashMap::new();
        each(store, Scan::TRANSACTIONS, |record| {
            let Record::Transaction(transaction) = record else { return };
            if pass == 0 && !state_agrees(&transaction, resolved) {
                found(report, AuditException::TransactionState(transaction.seq));
            }
            if turn_of(&transaction.identity, passes) != pass {
                return;
            }
            if let Some(first) = seen.insert(transaction.identity, transaction.seq) {
                found(report, AuditException::DuplicateIdentity(first, transaction.seq));
            }
        })?;
    }
    Ok(())
}

/// In which pass an identity is compared.
fn turn_of(identity: &Identity, passes: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    identity.hash(&mut hasher);
    hasher.finish().checked_rem(passes).unwrap_or(0)
}

/// Whether a purchase's state agrees with its hold.
fn state_agrees(transaction: &Transaction, resolved: &Resolved) -> bool {
    let (TransactionKind::Purchase | TransactionKind::PreAuthorisation, Some(hold)) =
        (transaction.kind, transaction.transfer)
    else {
        return true;
    };
    let paid = transaction.kind == TransactionKind::Purchase;
    let state = resolved.get(hold);
    match transaction.state {
        TransactionState::Authorised => state == HoldState::Open,
        TransactionState::Voided => state == HoldState::Voided,
        TransactionState::Cleared
        | TransactionState::Settled
        | TransactionState::PartlyRefunded
        | TransactionState::Refunded => paid && state == HoldState::Posted,
        TransactionState::Completed => !paid && state == HoldState::Posted,
        // Its time was up; or its completion was taken back, and nothing could be held again.
        TransactionState::Expired => !paid && state != HoldState::Open,
        TransactionState::Reversed => state != HoldState::Open,
        TransactionState::Received | TransactionState::Declined | TransactionState::Disputed => false,
    }
}

fn holds<S: Store>(store: &mut S, report: &mut AuditReport, moved: &Moved) -> Result<(), StoreFault> {
    let (mut holds, mut transfers) = (Pages::of(Kind::Hold), Pages::of(Kind::Transfer));
    let mut open = 0usize;
    while let Some(Record::Hold(hold)) = holds.next(store)? {
        let before = |record: &Record| matches!(record, Record::Transfer(it) if it.seq < hold.seq);
        while transfers.next_if(store, before)?.is_some() {}
        let pending = match transfers.peek(store)? {
            Some(Record::Transfer(it)) if it.seq == hold.seq => Some(it),
            _ => None,
        };
        if !hold_agrees(&hold, pending, &moved.resolved) {
            found(report, AuditException::Hold(hold.seq));
        }
        open = open.saturating_add(usize::from(hold.state == HoldState::Open));
    }
    if open < moved.open.len() {
        // A pending transfer whose state row is gone.
        let lost = moved.open.first().copied().unwrap_or(TransferSeq(0));
        found(report, AuditException::Hold(lost));
    }
    Ok(())
}

fn hold_agrees(hold: &Hold, pending: Option<&Transfer>, resolved: &Resolved) -> bool {
    let Some(pending) = pending else { return false };
    let same = (pending.debit, pending.credit, pending.amount) == (hold.debit, hold.credit, hold.amount);
    same && resolved.get(hold.seq) == hold.state
}

fn balances<S: Store>(
    store: &mut S,
    report: &mut AuditReport,
    sums: &HashMap<AccountId, Totals>,
) -> Result<(), StoreFault> {
    let mut unknown: BTreeSet<AccountId> = sums.keys().copied().collect();
    each(store, Scan::Accounts, |record| {
        let Record::Account(Account { id, flags, running, .. }) = record else { return };
        let derived = sums.get(&id).copied().unwrap_or_default();
        if flags.limited() && derived != running {
            found(report, AuditException::Balance { account: id, derived, kept: Some(running) });
        }
        unknown.remove(&id);
    })?;
    for account in unknown {
        let derived = sums.get(&account).copied().unwrap_or_default();
        found(report, AuditException::Balance { account, derived, kept: None });
    }
    each(store, Scan::Issuers, |record| {
        let Record::Issuer(issuer) = record else { return };
        let float = Book::PurseFloat(issuer.number).id(issuer.currency);
        let totals = sums.get(&float).copied().unwrap_or_default();
        report.float.push(FloatLine {
            issuer: issuer.id,
            currency: issuer.currency,
            posted: totals.net_credit(),
            pending: totals.credits_pending,
        });
    })
}

fn records<S: Store>(store: &mut S, report: &mut AuditReport) -> Result<(), StoreFault> {
    let mut records = Pages::with(Kind::Record, |record| match record {
        Record::Record(record) => record.transfer.map(Key::Transfer),
        _ => None,
    });
    while let Some(Record::Record(record)) = records.next(store)? {
        report.records = report.records.saturating_add(1);
        let transfer = match record.transfer {
            Some(seq) => match store.get(&Key::Transfer(seq))? {
                Some(Record::Transfer(transfer)) => Some(transfer),
                _ => None,
            },
            None => None,
        };
        if !record_agrees(&record, transfer.as_ref()) {
            let (sam, seq) = (record.content.terminal, record.content.term_seq);
            found(report, AuditException::RecordTransfer(sam, seq));
        }
    }
    Ok(())
}

fn record_agrees(record: &OfflineRecord, transfer: Option<&Transfer>) -> bool {
    let posts = matches!(
        record.standing,
        RecordStanding::Booked | RecordStanding::Fork | RecordStanding::Resolved | RecordStanding::Overtaken
    ) && record.content.amount.0 > 0;
    if posts {
        transfer.is_some_and(|it| it.amount.minor() == u64::from(record.content.amount.0))
    } else {
        record.transfer.is_none()
    }
}
