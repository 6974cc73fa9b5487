//! What people read. Nothing here changes anything.

mod limits;

use crate::accounts::chart::{Book, code};
use crate::accounts::{AccountId, TransferCode, TransferKind};
use crate::api::{CardReport, Query, Report, TerminalReport};
use crate::audit;
use crate::cards::load::{self, Candidates};
use crate::report::{BatchReport, LineKind, Statement, StatementLine};
use crate::store::{BatchRecord, CardId, CommitNo, Key, Merchant, Record, Scan, Store, StoreFault, Working};
use protocol::ids::{BatchNo, IssuerId, MerchantId, Stan, TerminalId};
use protocol::money::Amount;
use protocol::time::Wall;
use std::ops::ControlFlow;

/// Answers a query.
///
/// # Errors
/// The store failed.
pub(crate) fn answer<S: Store>(store: &mut S, query: &Query) -> Result<Report, StoreFault> {
    match query {
        Query::Terminal(id) => terminal(store, *id),
        Query::Batch(terminal, number) => Ok(match store.get(&Key::Batch(*terminal, *number))? {
            Some(Record::Batch(batch)) => Report::Batch(batch_report(*batch)),
            _ => Report::Nothing,
        }),
        Query::Statement { merchant, from, to } => statement(store, *merchant, *from, *to),
        Query::Card(issuer, asn) => card(store, CardId { issuer: *issuer, asn: *asn }),
        Query::Alerts { limit } => {
            let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
            let mut alerts = Vec::new();
            store.scan(Scan::Alerts, &mut |record| {
                if alerts.len() >= limit {
                    return ControlFlow::Break(());
                }
                if let Record::Alert(_, alert) = record {
                    alerts.push(alert);
                }
                ControlFlow::Continue(())
            })?;
            Ok(Report::Alerts(alerts))
        }
        Query::OpenItems { limit } => {
            let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
            let mut working = Working::new(store, Wall(0))?;
            let mut open = crate::admin::open_records(&mut working, |_| true)?;
            open.truncate(limit);
            Ok(Report::OpenItems(crate::cards::uncertain::open_items(&mut working, &open)?))
        }
        Query::DenyList { since, limit } => crate::cards::deny::list(store, *since, *limit),
        Query::Head => {
            let newest = store.heads().link.map(|link| link.number);
            links(store, newest.as_slice())
        }
        Query::Links(numbers) => links(store, numbers),
        Query::Find { search, limit } => crate::search::find(store, search, *limit),
        Query::Limits { day, limit } => limits::list(store, *day, *limit),
        Query::Suffices { account, amount } => suffices(store, *account, *amount),
        Query::Audit => Ok(Report::Audit(Box::new(audit::run(store)?))),
    }
}

fn links<S: Store>(store: &mut S, numbers: &[CommitNo]) -> Result<Report, StoreFault> {
    let mut found = Vec::new();
    for number in numbers.iter().take(crate::api::LINKS_MAX) {
        found.push(match store.get(&Key::Link(*number))? {
            Some(Record::Link(link)) => Some(link),
            _ => None,
        });
    }
    Ok(Report::Links(found))
}

/// Whether a payment of this amount would be covered now. What is not there suffices for nothing.
fn suffices<S: Store>(store: &mut S, account: AccountId, amount: Amount) -> Result<Report, StoreFault> {
    let account = match store.get(&Key::Account(account))? {
        Some(Record::Account(account)) => account,
        _ => return Ok(Report::Suffices(false)),
    };
    let pays = !account.flags.closed
        && account.flags.debits_must_not_exceed_credits
        && account.currency == amount.currency();
    Ok(Report::Suffices(pays && amount.minor() <= account.running.available_credit()))
}

fn terminal<S: Store>(store: &mut S, id: TerminalId) -> Result<Report, StoreFault> {
    let Some(Record::Terminal(terminal)) = store.get(&Key::Terminal(id))? else { return Ok(Report::Nothing) };
    let Some(Record::Merchant(merchant)) = store.get(&Key::Merchant(terminal.merchant))? else {
        return Err(StoreFault::Damaged { what: "a terminal's merchant is missing" });
    };
    let next = if terminal.newest.0 >= 999_999 { 1 } else { terminal.newest.0.saturating_add(1) };
    let newest_trace = match terminal.open {
        Some(open) => newest_trace(store, terminal.id, open)?,
        None => None,
    };
    Ok(Report::Terminal(TerminalReport {
        terminal: terminal.id,
        merchant: merchant.id,
        merchant_number: merchant.number,
        acquirer: terminal.acquirer,
        batch: terminal.open.unwrap_or(BatchNo(next)),
        newest_trace,
    }))
}

/// The trace number of the newest message in this batch. A terminal that asks for less has an old journal.
fn newest_trace<S: Store>(
    store: &mut S,
    terminal: TerminalId,
    batch: BatchNo,
) -> Result<Option<Stan>, StoreFault> {
    let Some(Record::Batch(batch)) = store.get(&Key::Batch(terminal, batch))? else { return Ok(None) };
    Ok(match store.get(&Key::Transaction(batch.last))? {
        Some(Record::Transaction(newest)) => Some(newest.identity.trace),
        _ => None,
    })
}

fn batch_report(batch: BatchRecord) -> BatchReport {
    BatchReport {
        terminal: batch.terminal,
        batch: batch.number,
        state: batch.state,
        host: batch.host,
        of_terminal: batch.of_terminal,
        differences: batch.differences,
    }
}

fn card<S: Store>(store: &mut S, id: CardId) -> Result<Report, StoreFault> {
    let Some(Record::Card(card)) = store.get(&Key::Card(id))? else { return Ok(Report::Nothing) };
    let issuer = IssuerId(id.issuer.0);
    let Some(Record::Issuer(issuer)) = store.get(&Key::Issuer(issuer))? else { return Ok(Report::Nothing) };
    let open = load::open(store, &card)?;
    let mut held = 0u64;
    for hold in open.iter().flat_map(Candidates::holds) {
        if let Some(Record::Hold(hold)) = store.get(&Key::Hold(hold))? {
            held = held.saturating_add(hold.amount.minor());
        }
    }
    let amounts = open.as_ref().map(Candidates::amounts).unwrap_or_default();
    Ok(Report::Card(CardReport {
        status: card.status,
        loaded: card.loaded,
        spent: card.spent,
        open_loads: held,
        open_amounts: amounts.iter().map(|amount| amount.minor()).collect(),
        open_counter: card.open_load,
        open_newest: open.as_ref().map(|of| of.load.transaction),
        issuer: issuer.number,
        currency: issuer.currency,
        newest: card.newest,
        next_online: card.next_online,
        expected: card.expected_balance(),
        missing: card.missing(),
        deny_version: card.deny_version,
    }))
}

const fn line_kind(code: TransferCode) -> LineKind {
    match code {
        code::PURCHASE | code::COMPLETION => LineKind::Purchase,
        code::PURCHASE_REVERSED | code::COMPLETION_REVERSED | code::REFUND => LineKind::Returned,
        code::PURSE_PURCHASE | code::PURSE_FORK | code::UNCERTAIN_RESOLVED => LineKind::PursePurchase,
        code::CASH_LOAD | code::PURSE_REFUND | code::LOAD | code::LATE_LOAD | code::UNLOAD => LineKind::Load,
        code::CLEARING => LineKind::Clearing,
        _ => LineKind::Adjustment,
    }
}

/// The merchant's account, line by line: what is held for it is not shown before it is posted.
fn statement<S: Store>(
    store: &mut S,
    merchant: MerchantId,
    from: Wall,
    to: Wall,
) -> Result<Report, StoreFault> {
    let Some(Record::Merchant(merchant)) = store.get(&Key::Merchant(merchant))? else {
        return Ok(Report::Nothing);
    };
    let Merchant { id, number, name, currency } = merchant;
    let account = Book::MerchantPayable(number).id(currency);
    let mut lines = Vec::new();
    let mut payable = 0i128;
    store.scan(Scan::TRANSFERS, &mut |record| {
        let Record::Transfer(transfer) = record else { return ControlFlow::Continue(()) };
        // Ascending numbers are ascending times within one gateway only: all are looked at.
        if transfer.at >= to {
            return ControlFlow::Continue(());
        }
        let posts = matches!(transfer.kind, TransferKind::Posted | TransferKind::Post { .. });
        let credit = transfer.credit == account;
        if posts && (credit || transfer.debit == account) {
            let amount = i128::from(transfer.amount.minor());
            payable = if credit { payable.saturating_add(amount) } else { payable.saturating_sub(amount) };
            if transfer.at >= from {
                let (at, transaction, amount) = (transfer.at, transfer.transaction, transfer.amount);
                lines.push(StatementLine { at, transaction, kind: line_kind(transfer.code), amount, credit });
            }
        }
        ControlFlow::Continue(())
    })?;
    lines.sort_by_key(|line| line.at);
    Ok(Report::Statement(Statement { merchant: id, name, lines, payable, currency }))
}
