//! The audit: everything is derived again from what never changes, and compared with what the store says.
//!
//! - the hash chain of every gateway over every commit;
//! - every transfer applied again: holds, running totals, Σdebits = Σcredits;
//! - identities are unique; state, payer, payee and refunds of every payment agree with the transfers made for it (`standing.rs`);
//! - every booked offline record has its transfer, every transfer that paid a merchant from a purse its record, every transfer that paid a payer in its
//!   arrival (`named.rs`);
//! - a card is denied if it was put on the deny list and not taken off since, and its online counter is beyond its loads;
//! - per card, conservation: `balance_after(n) = Σ loads up to some online counter m − Σ debits ≤ n`, m never falling as n grows.
//!
//! Rows are read in pages and forgotten. What is remembered grows with accounts, open holds and one card at a time, and with two bits per hold; identities
//! are compared a million at a time, in as many passes as that takes, and so are payments that were completed, refunded or taken back.

mod chain;
mod conservation;
mod named;
mod pages;
mod shadow;
mod standing;

use self::named::Named;
use self::pages::{Pages, Resolved};
use self::standing::Flows;
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
    let mut moved = chain::follow(store, &mut report)?;
    transactions(store, &mut report, &mut moved)?;
    holds(store, &mut report, &moved)?;
    balances(store, &mut report, &moved.sums)?;
    records(store, &mut report, &mut moved.named)?;
    moved.named.arrivals(store, &mut report)?;
    moved.named.rest(&mut report);
    conservation::cards(store, &mut report)?;
    Ok(report)
}

/// What going through the transfers leaves behind.
struct Moved {
    sums: HashMap<AccountId, Totals>,
    resolved: Resolved,
    open: BTreeSet<TransferSeq>,
    flows: Flows,
    named: Named,
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

/// Identities are unique, and states agree with holds and what moved.
fn transactions<S: Store>(
    store: &mut S,
    report: &mut AuditReport,
    moved: &mut Moved,
) -> Result<(), StoreFault> {
    let passes = report.transactions.div_ceil(IDENTITIES_MAX).max(1);
    let (mut flows, resolved) = (std::mem::take(&mut moved.flows), &moved.resolved);
    let parts = flows.parts();
    for pass in 0..passes.max(parts) {
        if pass > 0 {
            flows = flows_of(store, parts, pass)?;
        }
        let mut seen = HashMap::new();
        each(store, Scan::TRANSACTIONS, |record| {
            let Record::Transaction(transaction) = record else { return };
            let stands = pass > 0 || state_agrees(&transaction, resolved);
            if !stands || !flows.agree(&transaction, resolved) {
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

/// What moved for the payments of one part; there may be none of this number.
fn flows_of<S: Store>(store: &mut S, parts: u64, part: u64) -> Result<Flows, StoreFault> {
    let mut flows = Flows::part(parts, part);
    if part < parts {
        each(store, Scan::TRANSFERS, |record| {
            if let Record::Transfer(transfer) = record {
                flows.moved(&transfer);
            }
        })?;
        each(store, Scan::TRANSACTIONS, |record| {
            if let Record::Transaction(transaction) = record {
                flows.decided(&transaction);
            }
        })?;
    }
    Ok(flows)
}

/// In which pass an identity is compared.
fn turn_of(identity: &Identity, passes: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    identity.hash(&mut hasher);
    hasher.finish().checked_rem(passes).unwrap_or(0)
}

/// Whether a purchase's or pre-authorisation's state agrees with its hold.
fn state_agrees(transaction: &Transaction, resolved: &Resolved) -> bool {
    if !matches!(transaction.kind, TransactionKind::Purchase | TransactionKind::PreAuthorisation) {
        return true;
    }
    let Some(hold) = transaction.transfer else { return transaction.state == TransactionState::Declined };
    let paid = transaction.kind == TransactionKind::Purchase;
    let state = resolved.get(hold);
    match transaction.state {
        TransactionState::Authorised => state == HoldState::Open,
        TransactionState::Voided => state == HoldState::Voided,
        TransactionState::Cleared
        | TransactionState::Settled
        | TransactionState::PartlyRefunded
        | TransactionState::Refunded => paid && state == HoldState::Posted,
        // Or its time was up when a void of its completion was reversed.
        TransactionState::Completed => !paid && matches!(state, HoldState::Posted | HoldState::Expired),
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

fn records<S: Store>(store: &mut S, report: &mut AuditReport, named: &mut Named) -> Result<(), StoreFault> {
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
        let own = match &transfer {
            Some(transfer) => named.is_records(store, &record, transfer)?,
            None => true,
        };
        if !own || !record_agrees(&record, transfer.as_ref()) {
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
