//! Finds transactions without an index on a random value: such an index would cost every payment (SQLite: a quarter of the
//! rate), and a person who searches can wait a moment.
//!
//! | by | how |
//! |---|---|
//! | reference (F37) | it *is* the number |
//! | terminal, batch, trace | the identities of open batches, the index of closed ones |
//! | authorisation code (F38) | it is the number's last six digits: one look-up for every million transactions of each gateway |
//! | card and counter, SAM and sequence | the keys of loads, claims and records; of several loads at one counter all |
//! | payer, account | the numbers of a gateway ascend in time: the span is found by halving, then gone through, at most [`SPAN_MAX`] of it |

use crate::accounts::{AccountId, TransactionSeq};
use crate::api::{Found, Identity, RecordReport, Report, Search, TransactionReport, transaction_of};
use crate::cards::load;
use crate::store::{
    CardId, GatewayNo, Key, OfflineRecord, Record, Scan, Store, StoreFault, Terminal, Transaction,
};
use protocol::ids::{BatchNo, SamTerminal, Stan, TermSeq, TerminalId};
use protocol::iso8583::typed::AuthorisationCode;
use protocol::time::Wall;
use std::ops::ControlFlow;

/// Most transactions that one search goes through.
pub(crate) const SPAN_MAX: usize = 1_000_000;
/// Most candidates that one search by authorisation code looks up.
const CANDIDATES_MAX: usize = 10_000;
/// An authorisation code names one of so many.
const MILLION: u64 = 1_000_000;

/// Searches; at most `limit` are listed.
///
/// # Errors
/// The store failed.
pub(crate) fn find<S: Store>(store: &mut S, search: &Search, limit: u32) -> Result<Report, StoreFault> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let found = match search {
        Search::Reference(reference) => one(store, transaction_of(*reference))?,
        Search::Trace(terminal, batch, trace) => by_trace(store, *terminal, *batch, *trace)?,
        Search::Authorisation(code) => by_authorisation(store, *code, limit)?,
        Search::Load(issuer, asn, counter) => {
            let key = Key::Load(CardId { issuer: *issuer, asn: *asn }, *counter);
            match store.get(&key)? {
                Some(Record::Load(load)) => {
                    let of = load::of_store(store, load)?;
                    let transactions = of.all().iter().rev().map(|it| report(&it.transaction)).collect();
                    Found { transactions, more: false }
                }
                _ => Found::default(),
            }
        }
        Search::Debit(issuer, asn, counter) => {
            let key = Key::Claim(CardId { issuer: *issuer, asn: *asn }, *counter);
            match store.get(&key)? {
                Some(Record::Claim(_, _, sam, term_seq)) => by_record(store, sam, term_seq)?,
                _ => Found::default(),
            }
        }
        Search::Record(sam, term_seq) => by_record(store, *sam, *term_seq)?,
        Search::Payer { token, from, to } => match store.get(&Key::Payer(*token))? {
            Some(Record::Payer(_, account)) => by_account(store, account, (*from, *to), limit)?,
            _ => Found::default(),
        },
        Search::Account { account, from, to } => by_account(store, *account, (*from, *to), limit)?,
    };
    Ok(Report::Found(found))
}

fn transaction<S: Store>(store: &mut S, seq: TransactionSeq) -> Result<Option<Transaction>, StoreFault> {
    Ok(match store.get(&Key::Transaction(seq))? {
        Some(Record::Transaction(transaction)) => Some(*transaction),
        _ => None,
    })
}

fn one<S: Store>(store: &mut S, seq: Option<TransactionSeq>) -> Result<Found, StoreFault> {
    let Some(seq) = seq else { return Ok(Found::default()) };
    let transactions = transaction(store, seq)?.iter().map(report).collect();
    Ok(Found { transactions, more: false })
}

fn by_trace<S: Store>(
    store: &mut S,
    id: TerminalId,
    batch: BatchNo,
    trace: Stan,
) -> Result<Found, StoreFault> {
    let Some(Record::Terminal(Terminal { merchant, acquirer, .. })) = store.get(&Key::Terminal(id))? else {
        return Ok(Found::default());
    };
    match store.get(&Key::Identity(Identity { acquirer, terminal: id, merchant, batch, trace }))? {
        Some(Record::Identity(_, seq)) => one(store, Some(seq)),
        _ => Ok(Found::default()),
    }
}

fn by_record<S: Store>(store: &mut S, sam: SamTerminal, term_seq: TermSeq) -> Result<Found, StoreFault> {
    let Some(Record::Record(record)) = store.get(&Key::Record(sam, term_seq))? else {
        return Ok(Found::default());
    };
    let OfflineRecord { content, standing, transaction: seq, .. } = *record;
    let mut found = one(store, Some(seq))?;
    for report in &mut found.transactions {
        report.record = Some(RecordReport { sam, term_seq, standing, minor: content.amount.0 });
    }
    Ok(found)
}

/// The first transaction of every gateway that has one.
fn firsts<S: Store>(store: &mut S) -> Result<Vec<TransactionSeq>, StoreFault> {
    let all = (0..=GatewayNo::MAX.number()).filter_map(GatewayNo::new).map(|no| TransactionSeq(no.first()));
    let all: Vec<TransactionSeq> = all.collect();
    if store.wants_prefetch() {
        let keys: Vec<Key> = all.iter().copied().map(Key::Transaction).collect();
        store.prefetch(&keys, None)?;
    }
    let mut found = Vec::new();
    for seq in all {
        if transaction(store, seq)?.is_some() {
            found.push(seq);
        }
    }
    Ok(found)
}

fn by_authorisation<S: Store>(
    store: &mut S,
    code: AuthorisationCode,
    limit: usize,
) -> Result<Found, StoreFault> {
    let Ok(digits) = code.as_str().parse::<u64>() else { return Ok(Found::default()) };
    let mut found = Found::default();
    let mut looked_up = 0;
    for first in firsts(store)? {
        // The first number from `first` on that ends in these digits, and then every millionth.
        let ahead = digits.saturating_add(MILLION).saturating_sub(first.0 % MILLION) % MILLION;
        let mut seq = TransactionSeq(first.0.saturating_add(ahead));
        while let Some(transaction) = transaction(store, seq)? {
            looked_up = usize::saturating_add(looked_up, 1);
            if transaction.authorisation == Some(code) {
                found.more |= found.transactions.len() >= limit;
                if !found.more {
                    found.transactions.push(report(&transaction));
                }
            }
            found.more |= looked_up >= CANDIDATES_MAX;
            if found.more {
                return Ok(found);
            }
            seq = TransactionSeq(seq.0.saturating_add(MILLION));
        }
    }
    Ok(found)
}

fn by_account<S: Store>(
    store: &mut S,
    account: AccountId,
    (from, to): (Wall, Wall),
    limit: usize,
) -> Result<Found, StoreFault> {
    let mut found = Found::default();
    let mut passed = 0usize;
    for first in firsts(store)? {
        let begin = not_before(store, first, from)?;
        let range = Scan::Transactions(begin, TransactionSeq(GatewayNo::of(first.0).base() | COUNT_MAX));
        store.scan(range, &mut |record| {
            let Record::Transaction(it) = record else { return ControlFlow::Continue(()) };
            if it.at >= to {
                return ControlFlow::Break(());
            }
            passed = passed.saturating_add(1);
            if it.payer == Some(account) {
                if found.transactions.len() >= limit {
                    found.more = true;
                    return ControlFlow::Break(());
                }
                found.transactions.push(report(&it));
            }
            if passed >= SPAN_MAX {
                found.more = true;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if found.more {
            break;
        }
    }
    found.transactions.sort_by_key(|it| (it.at, it.seq));
    Ok(found)
}

/// What the count's part of a number holds.
const COUNT_MAX: u64 = (1 << 48) - 1;

/// The first transaction of a gateway at `from` or later, or the number after its last. Numbers have no gaps, and their times never go back.
fn not_before<S: Store>(
    store: &mut S,
    first: TransactionSeq,
    from: Wall,
) -> Result<TransactionSeq, StoreFault> {
    let mut earlier = |offset: u64| -> Result<bool, StoreFault> {
        let it = transaction(store, TransactionSeq(first.0.saturating_add(offset)))?;
        Ok(it.is_some_and(|it| it.at < from))
    };
    if !earlier(0)? {
        return Ok(first);
    }
    // The last that is known to be earlier, and one that is not.
    let (mut low, mut high) = (0u64, 1u64);
    while earlier(high)? {
        low = high;
        high = high.saturating_mul(2).min(COUNT_MAX);
    }
    while high.saturating_sub(low) > 1 {
        let middle = low.midpoint(high);
        if earlier(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(TransactionSeq(first.0.saturating_add(high)))
}

fn report(transaction: &Transaction) -> TransactionReport {
    TransactionReport {
        seq: transaction.seq,
        identity: transaction.identity,
        kind: transaction.kind,
        state: transaction.state,
        amount: transaction.amount,
        refunded: transaction.refunded,
        code: transaction.code,
        authorisation: transaction.authorisation,
        original: transaction.original,
        at: transaction.at,
        record: None,
    }
}
