//! Online purchases from a funding account: balance, purchase, void, refund.

use super::{Decision, Desked, code_of, original};
use crate::accounts::chart::{Book, code};
use crate::accounts::rules::{self, Books, Halt};
use crate::accounts::{
    NewTransfer, Order, Reference, TransactionSeq, TransferCode, TransferRejection, TransferSeq,
};
use crate::api::{AnswerBody, Original, PayerToken};
use crate::engine::Desk;
use crate::store::{Record, Store, StoreFault, Transaction, TransactionKind, TransactionState, Working};
use protocol::iso8583::typed::ResponseCode;
use protocol::money::Amount;

/// Applies one transfer of a transaction; a refusal is inside.
pub(crate) fn transfer<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    seq: TransactionSeq,
    order: Order,
    code: TransferCode,
) -> Result<Result<TransferSeq, TransferRejection>, StoreFault> {
    let new = NewTransfer {
        reference: Reference(u128::from(seq.0)),
        order,
        code,
        transaction: Some(seq),
        linked: false,
    };
    match rules::apply(working, &new, desk.now) {
        Ok(transfer) => Ok(Ok(transfer)),
        Err(Halt::Rejected(rejection)) => Ok(Err(rejection)),
        Err(Halt::Fault(fault)) => Err(fault),
    }
}

/// Balance inquiry: what is available, holds taken off.
pub(super) fn balance<S: Store>(
    working: &mut Working<'_, S>,
    token: PayerToken,
) -> Result<Decision, StoreFault> {
    let kind = TransactionKind::Balance;
    let Some(payer) = working.payer(token)? else {
        return Ok(Decision::declined(kind, ResponseCode::CARD_NUMBER));
    };
    let Some(account) = working.account(payer)? else {
        return Ok(Decision::declined(kind, ResponseCode::CARD_NUMBER));
    };
    let available = Amount::new(account.running.available_credit(), account.currency);
    Ok(Decision { payer: Some(payer), body: AnswerBody::Balance(available), ..Decision::done(kind) })
}

/// Purchase: holds the money; it is posted when the batch settles.
pub(super) fn purchase<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
    token: PayerToken,
    amount: Amount,
) -> Result<Decision, StoreFault> {
    let kind = TransactionKind::Purchase;
    let refused = |code| Decision { amount: Some(amount), ..Decision::declined(kind, code) };
    let Some(payer) = working.payer(token)? else { return Ok(refused(ResponseCode::CARD_NUMBER)) };
    let payee = Book::MerchantPayable(desked.merchant.number).id(desked.merchant.currency);
    let order = Order::Hold { debit: payer, credit: payee, amount, expires: None };
    match transfer(working, desk, desked.seq, order, code::PURCHASE)? {
        Err(rejection) => Ok(Decision { payer: Some(payer), ..refused(code_of(rejection)) }),
        Ok(hold) => {
            desked.batch.host.debits = desked.batch.host.debits.plus(amount.minor());
            Ok(Decision {
                state: TransactionState::Authorised,
                amount: Some(amount),
                payer: Some(payer),
                payee: Some(payee),
                transfer: Some(hold),
                ..Decision::done(kind)
            })
        }
    }
}

/// Void: releases the hold of a purchase that has not settled.
pub(super) fn void<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
    of: &Original,
    amount: Amount,
) -> Result<Decision, StoreFault> {
    let kind = TransactionKind::Void;
    let refused = |code| Decision { amount: Some(amount), ..Decision::declined(kind, code) };
    let identity = &desked.request.identity;
    let Some(purchase) = original(working, identity, of)? else {
        return Ok(refused(ResponseCode::NOT_FOUND));
    };
    let voidable = purchase.kind == TransactionKind::Purchase
        && purchase.state == TransactionState::Authorised
        && purchase.identity.terminal == identity.terminal;
    let (true, Some(hold)) = (voidable, purchase.transfer) else {
        return Ok(refused(ResponseCode::INVALID));
    };
    if purchase.amount != Some(amount) {
        return Ok(refused(ResponseCode::AMOUNT_MISMATCH));
    }
    match transfer(working, desk, desked.seq, Order::VoidHold { of: hold }, code::PURCHASE_REVERSED)? {
        Err(rejection) => Ok(refused(code_of(rejection))),
        Ok(release) => {
            desked.batch.host.credits = desked.batch.host.credits.plus(amount.minor());
            let decision = Decision {
                amount: Some(amount),
                original: Some(purchase.seq),
                payer: purchase.payer,
                payee: purchase.payee,
                transfer: Some(release),
                ..Decision::done(kind)
            };
            let voided = Transaction { state: TransactionState::Voided, ..purchase };
            working.put(Record::Transaction(Box::new(voided)));
            Ok(decision)
        }
    }
}

/// Refund of a settled purchase, wholly or in part; all parts together never exceed it.
pub(super) fn refund<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
    of: &Original,
    amount: Amount,
) -> Result<Decision, StoreFault> {
    let kind = TransactionKind::Refund;
    let refused = |code| Decision { amount: Some(amount), ..Decision::declined(kind, code) };
    let Some(purchase) = original(working, &desked.request.identity, of)? else {
        return Ok(refused(ResponseCode::NOT_FOUND));
    };
    let settled = matches!(purchase.state, TransactionState::Settled | TransactionState::PartlyRefunded);
    let (TransactionKind::Purchase, true) = (purchase.kind, settled) else {
        return Ok(refused(ResponseCode::INVALID));
    };
    let (Some(whole), Some(payer), Some(payee)) = (purchase.amount, purchase.payer, purchase.payee) else {
        return Err(StoreFault::Damaged { what: "a settled purchase lacks its accounts" });
    };
    let total = purchase.refunded.checked_add(amount.minor());
    let Some(total) = total.filter(|total| *total <= whole.minor()) else {
        return Ok(refused(ResponseCode::AMOUNT_MISMATCH));
    };
    match transfer(
        working,
        desk,
        desked.seq,
        Order::Post { debit: payee, credit: payer, amount },
        code::REFUND,
    )? {
        Err(rejection) => Ok(refused(code_of(rejection))),
        Ok(posting) => {
            desked.batch.host.credits = desked.batch.host.credits.plus(amount.minor());
            let decision = Decision {
                amount: Some(amount),
                original: Some(purchase.seq),
                payer: Some(payer),
                payee: Some(payee),
                transfer: Some(posting),
                ..Decision::done(kind)
            };
            let state = if total == whole.minor() {
                TransactionState::Refunded
            } else {
                TransactionState::PartlyRefunded
            };
            working.put(Record::Transaction(Box::new(Transaction { state, refunded: total, ..purchase })));
            Ok(decision)
        }
    }
}
