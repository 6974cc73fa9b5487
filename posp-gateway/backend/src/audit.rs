//! The audit: everything is derived again from what never changes, and compared with what the store says.
//!
//! - the hash chain of every gateway over every commit;
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
    CommitNo, GatewayNo, Link, LinkHash, Linked, OfflineRecord, Record, RecordStanding, Scan, Store,
    StoreFault, Transaction, TransactionKind, TransactionState,
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
    let (rows, digests) = transactions(store, &mut report, &transfers)?;
    links(store, &mut report, &transfers, (&rows, &digests))?;
    holds(store, &mut report, &transfers)?;
    balances(store, &mut report, &transfers)?;
    records(store, &mut report, &transfers)?;
    conservation::cards(store, &mut report)?;
    report.exceptions.truncate(EXCEPTIONS_MAX);
    Ok(report)
}

/// What going through the transfers leaves behind.
struct Transfers {
    rows: Rows,
    sums: HashMap<AccountId, Totals>,
    resolved: HashMap<TransferSeq, HoldState>,
    open: HashMap<TransferSeq, u64>,
    by_seq: HashMap<TransferSeq, Transfer>,
}

/// Numbers that must follow each other without a gap, gateway by gateway.
#[derive(Default)]
struct Rows {
    /// The number after the last one seen of each gateway.
    next: BTreeMap<GatewayNo, u64>,
}

impl Rows {
    /// The number that should have come in this one's place, if it is another one.
    fn follow(&mut self, number: u64) -> Option<u64> {
        let gateway = GatewayNo::of(number);
        let expected = self.next.insert(gateway, number.saturating_add(1)).unwrap_or(gateway.first());
        (expected != number).then_some(expected)
    }

    /// The number after the last one of this gateway.
    fn end(&self, gateway: GatewayNo) -> u64 {
        self.next.get(&gateway).copied().unwrap_or(gateway.first())
    }
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
    let mut rows = Rows::default();
    each(store, Scan::TRANSFERS, |record| {
        let Record::Transfer(transfer) = record else { return };
        report.transfers = report.transfers.saturating_add(1);
        if let Some(missing) = rows.follow(transfer.seq.0) {
            report.exceptions.push(AuditException::MissingTransfer(TransferSeq(missing)));
        }
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
    report.exceptions.extend(derivation.unmatched().map(AuditException::Contradiction));
    report.turnover = turnover.into_iter().collect();
    Ok(Transfers { rows, sums, resolved, open: derivation.open().clone(), by_seq })
}

/// The identities, and the transactions by number for the chain.
fn transactions<S: Store>(
    store: &mut S,
    report: &mut AuditReport,
    transfers: &Transfers,
) -> Result<(Rows, HashMap<TransactionSeq, Transaction>), StoreFault> {
    let mut seen: HashMap<Identity, TransactionSeq> = HashMap::new();
    let mut by_seq = HashMap::new();
    let mut rows = Rows::default();
    each(store, Scan::TRANSACTIONS, |record| {
        let Record::Transaction(transaction) = record else { return };
        report.transactions = report.transactions.saturating_add(1);
        if let Some(missing) = rows.follow(transaction.seq.0) {
            report.exceptions.push(AuditException::MissingTransaction(TransactionSeq(missing)));
        }
        if let Some(first) = seen.insert(transaction.identity, transaction.seq) {
            report.exceptions.push(AuditException::DuplicateIdentity(first, transaction.seq));
        }
        if !state_agrees(&transaction, transfers) {
            report.exceptions.push(AuditException::TransactionState(transaction.seq));
        }
        by_seq.insert(transaction.seq, *transaction);
    })?;
    Ok((rows, by_seq))
}

/// One gateway's chain as far as it was followed.
struct Chain {
    newest: Linked,
    next: (TransferSeq, TransactionSeq),
}

impl Chain {
    const fn of(gateway: GatewayNo) -> Self {
        let first = gateway.first();
        Self { newest: Linked::before(gateway), next: (TransferSeq(first), TransactionSeq(first)) }
    }
}

/// Every chain, every link from its first: its hash over the rows that the commit appended; and at its end no row is missing or left over.
fn links<S: Store>(
    store: &mut S,
    report: &mut AuditReport,
    transfers: &Transfers,
    (rows, transactions): (&Rows, &HashMap<TransactionSeq, Transaction>),
) -> Result<(), StoreFault> {
    let mut chains: BTreeMap<GatewayNo, Chain> = BTreeMap::new();
    each(store, Scan::Links(CommitNo(0)), |record| {
        let Record::Link(link) = record else { return };
        let gateway = link.number.gateway();
        let chain = chains.entry(gateway).or_insert_with(|| Chain::of(gateway));
        report.commits = report.commits.saturating_add(1);
        let expected = CommitNo(chain.newest.number.0.saturating_add(1));
        if link.number != expected {
            report.exceptions.push(AuditException::MissingCommit(expected));
        }
        let follows = (link.first_transfer, link.first_transaction) == chain.next;
        if !follows || derived_hash(&link, &chain.newest.hash, transfers, transactions) != Some(link.hash) {
            report.exceptions.push(AuditException::BrokenLink(link.number));
        }
        chain.newest = Linked { number: link.number, hash: link.hash };
        chain.next = (link.next_transfer, link.next_transaction);
    })?;
    // Rows and this store's own heads may name a gateway whose whole chain is gone.
    let heads = store.heads();
    let own = GatewayNo::of(heads.transfer.0);
    for gateway in transfers.rows.next.keys().chain(rows.next.keys()).chain([&own]) {
        chains.entry(*gateway).or_insert_with(|| Chain::of(*gateway));
    }
    for (gateway, chain) in &chains {
        let after = CommitNo(chain.newest.number.0.saturating_add(1));
        let (transfer, transaction) = (transfers.rows.end(*gateway), rows.end(*gateway));
        if transfer < chain.next.0.0 {
            report.exceptions.push(AuditException::MissingTransfer(TransferSeq(transfer)));
        }
        if transaction < chain.next.1.0 {
            report.exceptions.push(AuditException::MissingTransaction(TransactionSeq(transaction)));
        }
        let beyond = transfer > chain.next.0.0 || transaction > chain.next.1.0;
        let behind = own == *gateway
            && (heads.link.is_some_and(|head| head != chain.newest)
                || chain.next != (heads.transfer, heads.transaction));
        if beyond || behind {
            report.exceptions.push(AuditException::MissingCommit(after));
        }
        if chain.newest.number != CommitNo(gateway.base()) {
            report.heads.push((chain.newest.number, chain.newest.hash));
        }
    }
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
    let (TransactionKind::Purchase | TransactionKind::PreAuthorisation, Some(hold)) =
        (transaction.kind, transaction.transfer)
    else {
        return true;
    };
    let paid = transaction.kind == TransactionKind::Purchase;
    let state = transfers.resolved.get(&hold).copied().unwrap_or(HoldState::Open);
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
    let posts = matches!(
        record.standing,
        RecordStanding::Booked | RecordStanding::Fork | RecordStanding::Resolved | RecordStanding::Overtaken
    ) && record.content.amount.0 > 0;
    match record.transfer {
        None => !posts,
        Some(seq) => {
            let transfer = transfers.by_seq.get(&seq);
            posts && transfer.is_some_and(|t| t.amount.minor() == u64::from(record.content.amount.0))
        }
    }
}
