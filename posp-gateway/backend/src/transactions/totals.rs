//! What a batch counts, in one place: for the totals that change with every message, and for the list of items that is compared when they differ.

use crate::api::{BatchTotals, Side, Tally};
use crate::report::BatchState;
use crate::store::{
    BatchRecord, Record, Store, StoreFault, Transaction, TransactionKind, TransactionState, Working,
};
use protocol::money::Amount;

/// The side on which a transaction counts as it stands. (A void counts beside what it took back; offline records count one by one.)
pub(crate) const fn side(of: &Transaction) -> Option<Side> {
    match (of.kind, of.state) {
        (_, TransactionState::Declined | TransactionState::Reversed | TransactionState::Disputed) => None,
        (kind, _) if kind.is_debit() => Some(Side::Debit),
        (kind, _) if kind.is_credit() => Some(Side::Credit),
        (TransactionKind::Load | TransactionKind::MerchantLoad, _) => Some(Side::Load),
        _ => None,
    }
}

/// A transaction stands otherwise than before: its batch counts it or no longer counts it, unless the batch is closed. `current` is the batch that the
/// present request works on, and stores itself.
pub(crate) fn recount<S: Store>(
    working: &mut Working<'_, S>,
    current: Option<&mut BatchRecord>,
    before: &Transaction,
    after: &Transaction,
) -> Result<(), StoreFault> {
    let (side, count): (_, fn(Tally, u64) -> Tally) = match (side(before), side(after)) {
        (Some(side), None) => (side, Tally::minus),
        (None, Some(side)) => (side, Tally::plus),
        _ => return Ok(()),
    };
    let minor = before.amount.map_or(0, Amount::minor);
    let change = |totals: &mut BatchTotals| {
        let sum = match side {
            Side::Debit => &mut totals.debits,
            Side::Credit => &mut totals.credits,
            Side::Load => &mut totals.loads,
        };
        *sum = count(*sum, minor);
        if before.kind.is_debit() && before.state == TransactionState::Voided {
            // What its void took back is gone, and so is the void: of the same batch, or it would not have been possible.
            totals.credits = totals.credits.minus(minor);
        }
    };
    let of = (before.identity.terminal, before.identity.batch);
    if let Some(batch) = current.filter(|batch| (batch.terminal, batch.number) == of) {
        change(&mut batch.host);
        return Ok(());
    }
    let missing = StoreFault::Damaged { what: "a transaction's batch is missing" };
    let mut batch = working.batch(of.0, of.1)?.ok_or(missing)?;
    if batch.state != BatchState::Closed {
        change(&mut batch.host);
        working.put(Record::Batch(Box::new(batch)));
    }
    Ok(())
}
