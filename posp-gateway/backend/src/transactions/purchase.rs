//! Online purchases from a funding account: balance, purchase, void, refund.

use super::life::{self, Event};
use super::limits::{self, Parties};
use super::{Decision, Desked, code_of, original, step, transfer};
use crate::accounts::chart::{Book, code};
use crate::accounts::rules::Books;
use crate::accounts::{Order, TransferCode};
use crate::api::{AnswerBody, Original, PayerToken};
use crate::engine::Desk;
use crate::store::{Record, Store, StoreFault, Transaction, TransactionKind, Working};
use protocol::iso8583::typed::ResponseCode;
use protocol::money::Amount;
use protocol::time::Wall;

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
    let held = Held { kind: TransactionKind::Purchase, code: code::PURCHASE, expires: None };
    let decision = hold(working, desk, desked, token, amount, held)?;
    if decision.code.is_approved() {
        desked.batch.host.debits = desked.batch.host.debits.plus(amount.minor());
    }
    Ok(decision)
}

/// What money is held for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) kind: TransactionKind,
    pub(super) code: TransferCode,
    pub(super) expires: Option<Wall>,
}

/// Holds a payer's money for the merchant, if every limit and the account's funds allow it.
pub(super) fn hold<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &Desked<'_>,
    token: PayerToken,
    amount: Amount,
    Held { kind, code, expires }: Held,
) -> Result<Decision, StoreFault> {
    let refused = |code| Decision { amount: Some(amount), ..Decision::declined(kind, code) };
    let Some(payer) = working.payer(token)? else { return Ok(refused(ResponseCode::CARD_NUMBER)) };
    let payee = Book::MerchantPayable(desked.merchant.number).id(desked.merchant.currency);
    let identity = &desked.request.identity;
    let parties = Parties { payer, terminal: identity.terminal, merchant: identity.merchant };
    let admission = match limits::admit(working, desk, parties, desked.seq, amount)? {
        Ok(admission) => admission,
        Err(code) => return Ok(Decision { payer: Some(payer), ..refused(code) }),
    };
    let order = Order::Hold { debit: payer, credit: payee, amount, expires };
    match transfer(working, desk, desked.seq, order, code)? {
        Err(rejection) => Ok(Decision { payer: Some(payer), ..refused(code_of(rejection)) }),
        Ok(hold) => {
            admission.count(working);
            Ok(Decision {
                event: Event::Authorise,
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
    let identity = &desked.request.identity;
    let Some(purchase) = original(working, identity, of)? else {
        return Ok(Decision::refused(kind, amount, ResponseCode::NOT_FOUND));
    };
    let own = purchase.kind == TransactionKind::Purchase && purchase.identity.terminal == identity.terminal;
    if !own {
        return Ok(Decision::refused(kind, amount, ResponseCode::INVALID));
    }
    let decision = release(working, desk, desked, (kind, code::PURCHASE_REVERSED), &purchase, amount)?;
    if decision.code.is_approved() {
        desked.batch.host.credits = desked.batch.host.credits.plus(amount.minor());
    }
    Ok(decision)
}

/// Releases the hold of a purchase or a pre-authorisation that a void names.
pub(super) fn release<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &Desked<'_>,
    (kind, code): (TransactionKind, TransferCode),
    held: &Transaction,
    amount: Amount,
) -> Result<Decision, StoreFault> {
    let refused = |code| Ok(Decision::refused(kind, amount, code));
    let (Some(voided), Some(hold)) = (life::moved(held, Event::Void), held.transfer) else {
        return refused(ResponseCode::INVALID);
    };
    if held.amount != Some(amount) {
        return refused(ResponseCode::AMOUNT_MISMATCH);
    }
    match transfer(working, desk, desked.seq, Order::VoidHold { of: hold }, code)? {
        Err(rejection) => refused(code_of(rejection)),
        Ok(release) => {
            limits::give_back(working, held)?;
            working.put(Record::Transaction(Box::new(voided)));
            Ok(Decision {
                amount: Some(amount),
                original: Some(held.seq),
                payer: held.payer,
                payee: held.payee,
                transfer: Some(release),
                ..Decision::done(kind)
            })
        }
    }
}

/// Refund of a purchase or a completion whose batch is closed, wholly or in part; all parts together never exceed it.
pub(super) fn refund<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
    of: &Original,
    amount: Amount,
) -> Result<Decision, StoreFault> {
    let kind = TransactionKind::Refund;
    let refused = |code| Ok(Decision::refused(kind, amount, code));
    let Some(paid) = original(working, &desked.request.identity, of)? else {
        return refused(ResponseCode::NOT_FOUND);
    };
    if !paid.kind.is_debit() || life::next(paid.state, Event::RefundPart).is_none() {
        return refused(ResponseCode::INVALID);
    }
    let (Some(whole), Some(payer), Some(payee)) = (paid.amount, paid.payer, paid.payee) else {
        return Err(StoreFault::Damaged { what: "a payment lacks its accounts" });
    };
    let total = paid.refunded.checked_add(amount.minor());
    let Some(refunded) = total.filter(|total| *total <= whole.minor()) else {
        return refused(ResponseCode::AMOUNT_MISMATCH);
    };
    let event = if refunded == whole.minor() { Event::RefundRest } else { Event::RefundPart };
    let order = Order::Post { debit: payee, credit: payer, amount };
    match transfer(working, desk, desked.seq, order, code::REFUND)? {
        Err(rejection) => refused(code_of(rejection)),
        Ok(posting) => {
            desked.batch.host.credits = desked.batch.host.credits.plus(amount.minor());
            let after = Transaction { refunded, ..step(&paid, event)? };
            working.put(Record::Transaction(Box::new(after)));
            Ok(Decision {
                amount: Some(amount),
                original: Some(paid.seq),
                payer: Some(payer),
                payee: Some(payee),
                transfer: Some(posting),
                ..Decision::done(kind)
            })
        }
    }
}
