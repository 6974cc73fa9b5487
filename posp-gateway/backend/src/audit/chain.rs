//! Every chain, every link from its first: its hash over the rows that the commit appended, and at the end no row missing or left over.
//!
//! Links, transfers and transactions are read side by side, each once and in the order of their numbers, gateway by gateway.

use super::named::Named;
use super::pages::Pages;
use super::standing::{Flows, accounts_agree};
use super::{Moved, found};
use crate::accounts::ledger::Derivation;
use crate::accounts::{HoldState, TransactionSeq, Transfer, TransferKind, TransferSeq};
use crate::report::{AuditException, AuditReport, SkippedNumbers};
use crate::store::{
    CommitNo, GatewayNo, Key, Kind, Link, LinkHash, Linked, Record, Store, StoreFault, Transaction,
};
use protocol::money::Currency;
use std::collections::{BTreeMap, HashMap};

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

    /// Numbers up to this one were skipped, and a link says so.
    fn skip(&mut self, next: u64) {
        let end = self.next.entry(GatewayNo::of(next)).or_insert(next);
        *end = next.max(*end);
    }

    /// The number after the last one of this gateway.
    fn end(&self, gateway: GatewayNo) -> u64 {
        self.next.get(&gateway).copied().unwrap_or(gateway.first())
    }
}

/// The rows as they are met.
#[derive(Default)]
struct Met {
    derivation: Derivation,
    moved: HashMap<crate::accounts::AccountId, crate::accounts::Totals>,
    resolved: super::Resolved,
    flows: Flows,
    named: Named,
    turnover: BTreeMap<Currency, u128>,
    transfers: Rows,
    transactions: Rows,
}

impl Met {
    fn transfer(&mut self, report: &mut AuditReport, transfer: &Transfer) {
        report.transfers = report.transfers.saturating_add(1);
        if let Some(missing) = self.transfers.follow(transfer.seq.0) {
            found(report, AuditException::MissingTransfer(TransferSeq(missing)));
        }
        if self.derivation.apply(transfer, &mut self.moved, true).is_none() {
            found(report, AuditException::Contradiction(transfer.seq));
        }
        match transfer.kind {
            TransferKind::Post { of } => self.resolved.set(of, HoldState::Posted),
            TransferKind::Void { of } => self.resolved.set(of, HoldState::Voided),
            TransferKind::Expire { of } => self.resolved.set(of, HoldState::Expired),
            TransferKind::Posted | TransferKind::Pending { .. } => {}
        }
        self.flows.moved(transfer);
        self.named.moved(transfer);
        if matches!(transfer.kind, TransferKind::Posted | TransferKind::Post { .. }) {
            let sum = self.turnover.entry(transfer.amount.currency()).or_default();
            *sum = sum.saturating_add(u128::from(transfer.amount.minor()));
        }
    }

    fn transaction(&mut self, report: &mut AuditReport, transaction: &Transaction) {
        let seq = transaction.seq;
        report.transactions = report.transactions.saturating_add(1);
        self.flows.decided(transaction);
        if let Some(missing) = self.transactions.follow(seq.0) {
            found(report, AuditException::MissingTransaction(TransactionSeq(missing)));
        }
    }
}

/// Both rows of a commit, where they are read.
struct Reading {
    transfers: Pages,
    transactions: Pages,
    /// The transfers of the commit that is being read: most of its transactions are about one of them.
    commit: Vec<Transfer>,
}

impl Reading {
    /// Meets the transfers before `end`. The hash over those from `first` on, and how many they were.
    fn transfers<S: Store>(
        &mut self,
        store: &mut S,
        report: &mut AuditReport,
        met: &mut Met,
        (first, end): (TransferSeq, TransferSeq),
    ) -> Result<(LinkHash, u64), StoreFault> {
        let (mut hash, mut count) = (LinkHash::new(), 0u64);
        self.commit.clear();
        let before = |record: &Record| matches!(record, Record::Transfer(it) if it.seq < end);
        while let Some(Record::Transfer(transfer)) = self.transfers.next_if(store, before)? {
            met.transfer(report, &transfer);
            if transfer.seq >= first {
                hash.transfer(&transfer);
                self.commit.push(transfer);
                count = count.saturating_add(1);
            }
        }
        Ok((hash, count))
    }

    /// The same of transactions.
    fn transactions<S: Store>(
        &mut self,
        store: &mut S,
        report: &mut AuditReport,
        met: &mut Met,
        (first, end): (TransactionSeq, TransactionSeq),
    ) -> Result<(LinkHash, u64), StoreFault> {
        let (mut hash, mut count) = (LinkHash::new(), 0u64);
        let before = |record: &Record| matches!(record, Record::Transaction(it) if it.seq < end);
        while let Some(Record::Transaction(transaction)) = self.transactions.next_if(store, before)? {
            met.transaction(report, &transaction);
            let transfer = self.transfer(store, transaction.transfer)?;
            if !accounts_agree(&transaction, transfer.as_ref()) {
                found(report, AuditException::TransactionAccounts(transaction.seq));
            }
            if transaction.seq >= first {
                hash.transaction(&transaction);
                count = count.saturating_add(1);
            }
        }
        Ok((hash, count))
    }
}

impl Reading {
    /// A transfer that a transaction names: of its own commit, or of a later one if its void was reversed.
    fn transfer<S: Store>(
        &self,
        store: &mut S,
        seq: Option<TransferSeq>,
    ) -> Result<Option<Transfer>, StoreFault> {
        let Some(seq) = seq else { return Ok(None) };
        if let Ok(place) = self.commit.binary_search_by_key(&seq, |it| it.seq) {
            return Ok(self.commit.get(place).copied());
        }
        Ok(match store.get(&Key::Transfer(seq))? {
            Some(Record::Transfer(transfer)) => Some(transfer),
            _ => None,
        })
    }
}

/// Follows every chain.
///
/// # Errors
/// The store failed.
pub(super) fn follow<S: Store>(store: &mut S, report: &mut AuditReport) -> Result<Moved, StoreFault> {
    let mut links = Pages::of(Kind::Link);
    let (transfers, transactions) = (Pages::of(Kind::Transfer), Pages::of(Kind::Transaction));
    let mut reading = Reading { transfers, transactions, commit: Vec::new() };
    let (mut met, mut chains) = (Met::default(), BTreeMap::new());
    while let Some(Record::Link(link)) = links.next(store)? {
        one(store, report, (&mut reading, &mut met), &mut chains, &link)?;
    }
    // Rows that no link claims.
    reading.transfers(store, report, &mut met, (TransferSeq(u64::MAX), TransferSeq(u64::MAX)))?;
    reading.transactions(store, report, &mut met, (TransactionSeq(u64::MAX), TransactionSeq(u64::MAX)))?;
    ends(store, report, &met, chains);
    for transfer in met.derivation.unmatched() {
        found(report, AuditException::Contradiction(transfer));
    }
    report.turnover = met.turnover.into_iter().collect();
    let open = met.derivation.open().keys().copied().collect();
    let Met { moved: sums, resolved, flows, named, .. } = met;
    Ok(Moved { sums, resolved, open, flows, named })
}

/// One link, and the rows that it is over.
fn one<S: Store>(
    store: &mut S,
    report: &mut AuditReport,
    (reading, met): (&mut Reading, &mut Met),
    chains: &mut BTreeMap<GatewayNo, Chain>,
    link: &Link,
) -> Result<(), StoreFault> {
    let gateway = link.number.gateway();
    let chain = chains.entry(gateway).or_insert_with(|| Chain::of(gateway));
    report.commits = report.commits.saturating_add(1);
    let expected = CommitNo(chain.newest.number.0.saturating_add(1));
    if link.number != expected {
        found(report, AuditException::MissingCommit(expected));
    }
    let follows = (link.first_transfer, link.first_transaction) == chain.next;
    let transfers = (link.first_transfer, link.next_transfer);
    let transactions = (link.first_transaction, link.next_transaction);
    let (moved, moves) = reading.transfers(store, report, met, transfers)?;
    let (decided, decisions) = reading.transactions(store, report, met, transactions)?;
    let previous = chain.newest.hash;
    if follows && moves == 0 && decisions == 0 && link.hash == link.seal_skipped(&previous) {
        // A restored backup: the numbers that may have been given out after it are never given out again.
        met.transfers.skip(link.next_transfer.0);
        met.transactions.skip(link.next_transaction.0);
        let count = link.next_transaction.0.saturating_sub(link.first_transaction.0);
        report.skipped.push(SkippedNumbers { commit: link.number, at: link.at, count });
    } else {
        let whole = moves == link.next_transfer.0.saturating_sub(link.first_transfer.0)
            && decisions == link.next_transaction.0.saturating_sub(link.first_transaction.0);
        if !follows || !whole || link.seal(moved, decided, &previous) != link.hash {
            found(report, AuditException::BrokenLink(link.number));
        }
    }
    chain.newest = Linked { number: link.number, hash: link.hash };
    chain.next = (link.next_transfer, link.next_transaction);
    Ok(())
}

/// Where the chains end, the rows end too.
fn ends<S: Store>(store: &S, report: &mut AuditReport, met: &Met, mut chains: BTreeMap<GatewayNo, Chain>) {
    // Rows and this store's own heads may name a gateway whose whole chain is gone.
    let heads = store.heads();
    let own = GatewayNo::of(heads.transfer.0);
    for gateway in met.transfers.next.keys().chain(met.transactions.next.keys()).chain([&own]) {
        chains.entry(*gateway).or_insert_with(|| Chain::of(*gateway));
    }
    for (gateway, chain) in &chains {
        let after = CommitNo(chain.newest.number.0.saturating_add(1));
        let (transfer, transaction) = (met.transfers.end(*gateway), met.transactions.end(*gateway));
        if transfer < chain.next.0.0 {
            found(report, AuditException::MissingTransfer(TransferSeq(transfer)));
        }
        if transaction < chain.next.1.0 {
            found(report, AuditException::MissingTransaction(TransactionSeq(transaction)));
        }
        let beyond = transfer > chain.next.0.0 || transaction > chain.next.1.0;
        let behind = own == *gateway
            && (heads.link.is_some_and(|head| head != chain.newest)
                || chain.next != (heads.transfer, heads.transaction));
        if beyond || behind {
            found(report, AuditException::MissingCommit(after));
        }
        if chain.newest.number != CommitNo(gateway.base()) {
            report.heads.push((chain.newest.number, chain.newest.hash));
        }
    }
}
