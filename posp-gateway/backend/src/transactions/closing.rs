//! The end of a batch: what was held for its purchases is posted, and every payment in it goes into clearing.
//!
//! What outlives a batch stays as it is: pre-authorisations (until they are completed, voided, or their time is up) and loads whose card has
//! not been heard of.

use super::life::{self, Event};
use super::{Desked, code_of, step, transfer};
use crate::accounts::Order;
use crate::accounts::chart::code;
use crate::engine::Desk;
use crate::report::BatchState;
use crate::store::{Record, Store, StoreFault, Transaction, TransactionKind, TransactionState, Working};

/// Closes the batch, once and for good.
pub(super) fn close<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
) -> Result<(), StoreFault> {
    for transaction in working.of_batch(desked.batch.terminal, desked.batch.number)? {
        let captured = transaction.kind == TransactionKind::Purchase
            && transaction.state == TransactionState::Authorised;
        let after = if captured {
            post(working, desk, &transaction)?;
            Some(step(&transaction, Event::Capture)?)
        } else if transaction.kind.is_debit() || transaction.kind.is_credit() {
            life::moved(&transaction, Event::Clear)
        } else {
            None
        };
        if let Some(after) = after {
            working.put(Record::Transaction(Box::new(after)));
        }
    }
    desked.batch.state = BatchState::Closed;
    Ok(())
}

/// The purchase's money becomes the merchant's.
fn post<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    purchase: &Transaction,
) -> Result<(), StoreFault> {
    let damaged = StoreFault::Damaged { what: "an authorised purchase's hold is not open" };
    let order = Order::PostHold { of: purchase.transfer.ok_or(damaged.clone())?, amount: None };
    transfer(working, desk, purchase.seq, order, code::PURCHASE)?.map(|_| ()).map_err(|rejection| {
        tracing::error!(transaction = purchase.seq.0, code = %code_of(rejection), "a hold cannot be posted");
        damaged
    })
}
