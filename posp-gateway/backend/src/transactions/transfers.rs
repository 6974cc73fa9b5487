//! The transfers of a transaction: they bear its number, as their reference too.

use crate::accounts::rules::{self, Halt};
use crate::accounts::{
    NewTransfer, Order, Reference, TransactionSeq, TransferCode, TransferRejection, TransferSeq,
};
use crate::engine::Desk;
use crate::store::{Store, StoreFault, Working};

fn new(seq: TransactionSeq, order: Order, code: TransferCode, linked: bool) -> NewTransfer {
    NewTransfer { reference: Reference(u128::from(seq.0)), order, code, transaction: Some(seq), linked }
}

/// Applies one transfer of a transaction; a refusal is inside.
pub(crate) fn transfer<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    seq: TransactionSeq,
    order: Order,
    code: TransferCode,
) -> Result<Result<TransferSeq, TransferRejection>, StoreFault> {
    match rules::apply(working, &new(seq, order, code, false), desk.now) {
        Ok(transfer) => Ok(Ok(transfer)),
        Err(Halt::Rejected(rejection)) => Ok(Err(rejection)),
        Err(Halt::Fault(fault)) => Err(fault),
    }
}

/// Applies two transfers of a transaction, both or none. A refusal is that of the one that failed.
pub(crate) fn both<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    seq: TransactionSeq,
    [first, second]: [Order; 2],
    code: TransferCode,
) -> Result<Result<[TransferSeq; 2], TransferRejection>, StoreFault> {
    let chain = [new(seq, first, code, true), new(seq, second, code, false)];
    let verdicts = rules::create_transfers(working, &chain, desk.now)?;
    match *verdicts.as_slice() {
        [Ok(first), Ok(second)] => Ok(Ok([first, second])),
        [Err(TransferRejection::LinkedFailed), Err(culprit)] | [Err(culprit), _] => Ok(Err(culprit)),
        _ => Err(StoreFault::Damaged { what: "two linked transfers have not two verdicts" }),
    }
}
