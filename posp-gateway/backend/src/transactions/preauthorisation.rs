//! Pre-authorisation and completion (`posp.md` section 3; decision 10): money is held for up to the policy's time, and taken once, wholly,
//! partly (the rest is released) or a little more (the tolerance of the policy).
//!
//! | | held | the pre-authorisation is then |
//! |---|---|---|
//! | completion | posted, the rest released; what exceeds it is posted besides, if funds allow | completed |
//! | void, reversal of the pre-authorisation | released | voided, reversed |
//! | void, reversal of a completion in its open batch | paid back, and held again to the same end, if funds allow | authorised again, or expired |
//! | its time is up | released | expired |
//!
//! Any terminal of the merchant may complete or void a pre-authorisation; a completion is voided by the terminal that made it. Refused: a second
//! completion, one by another payer or under another authorisation code (25), one after the time is up (25), one beyond the tolerance (61).

use super::life::{self, Event};
use super::limits;
use super::purchase::{self, Held};
use super::{Decision, Desked, Reversed, both, code_of, original, step, transfer};
use crate::accounts::chart::code;
use crate::accounts::rules::Books;
use crate::accounts::{AccountId, Hold, Order, TransactionSeq, TransferRejection, TransferSeq};
use crate::api::{Alert, AlertKind, Original, PayerToken};
use crate::engine::Desk;
use crate::store::{Record, Store, StoreFault, Transaction, TransactionKind, TransactionState, Working};
use protocol::iso8583::typed::ResponseCode;
use protocol::money::Amount;
use protocol::time::Wall;

type Verdict<T> = Result<Result<T, TransferRejection>, StoreFault>;

/// Holds the money until it is completed or its time is up.
pub(super) fn authorise<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &Desked<'_>,
    token: PayerToken,
    amount: Amount,
) -> Result<Decision, StoreFault> {
    let time_ms = i64::try_from(desk.policy.preauthorisation_ms_max).unwrap_or(i64::MAX);
    let expires = Some(Wall(desk.now.0.saturating_add(time_ms)));
    let held = Held { kind: TransactionKind::PreAuthorisation, code: code::PRE_AUTHORISATION, expires };
    purchase::hold(working, desk, desked, token, amount, held)
}

/// Void of a pre-authorisation.
pub(super) fn void<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &Desked<'_>,
    of: &Original,
    amount: Amount,
) -> Result<Decision, StoreFault> {
    let kind = TransactionKind::PreAuthorisationVoid;
    let Some(held) = original(working, &desked.request.identity, of)? else {
        return Ok(Decision::refused(kind, amount, ResponseCode::NOT_FOUND));
    };
    match (held.kind, held.state) {
        (TransactionKind::PreAuthorisation, TransactionState::Authorised) => {
            purchase::release(working, desk, desked, (kind, code::PRE_AUTHORISATION), &held, amount)
        }
        (TransactionKind::PreAuthorisation, TransactionState::Expired) => {
            Ok(Decision::refused(kind, amount, ResponseCode::NOT_FOUND))
        }
        _ => Ok(Decision::refused(kind, amount, ResponseCode::INVALID)),
    }
}

/// Completion, asked (0200) or told afterwards (0220).
pub(super) fn complete<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
    (token, amount): (PayerToken, Amount),
    of: &Original,
    advice: bool,
) -> Result<Decision, StoreFault> {
    let kind = if advice { TransactionKind::CompletionAdvice } else { TransactionKind::Completion };
    let held = original(working, &desked.request.identity, of)?;
    let refused = match completable(working, desk, held.as_ref(), token, of, amount)? {
        Err(code) => code,
        Ok(terms) => match take(working, desk, desked.seq, &terms, amount)? {
            Ok(posting) => {
                working.put(Record::Transaction(Box::new(step(terms.held, Event::Complete)?)));
                desked.batch.host.debits = desked.batch.host.debits.plus(amount.minor());
                return Ok(Decision {
                    amount: Some(amount),
                    original: Some(terms.held.seq),
                    payer: Some(terms.payer),
                    payee: Some(terms.payee),
                    transfer: Some(posting),
                    ..Decision::done(kind)
                });
            }
            Err(rejection) => code_of(rejection),
        },
    };
    if advice {
        // The goods may have left: what the books refuse, a person has to look at.
        let transfer = held.as_ref().and_then(|held| held.transfer);
        let (at, kind) = (desk.now, AlertKind::AdviceRefused);
        working.alert(Alert { at, kind, card: None, record: None, transfer });
    }
    let original = held.map(|held| held.seq);
    Ok(Decision { original, ..Decision::refused(kind, amount, refused) })
}

/// A pre-authorisation that may be completed.
struct Terms<'a> {
    held: &'a Transaction,
    hold: TransferSeq,
    whole: Amount,
    payer: AccountId,
    payee: AccountId,
}

fn completable<'a, S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    held: Option<&'a Transaction>,
    token: PayerToken,
    of: &Original,
    amount: Amount,
) -> Result<Result<Terms<'a>, ResponseCode>, StoreFault> {
    // Without the authorisation code nobody shows that it was approved to him.
    let Some(held) = held.filter(|_| of.authorisation.is_some()) else {
        return Ok(Err(ResponseCode::NOT_FOUND));
    };
    let Some(payer) = working.payer(token)? else { return Ok(Err(ResponseCode::CARD_NUMBER)) };
    if held.kind != TransactionKind::PreAuthorisation {
        return Ok(Err(ResponseCode::INVALID));
    }
    if held.payer != Some(payer) || held.state == TransactionState::Expired {
        return Ok(Err(ResponseCode::NOT_FOUND));
    }
    if held.state != TransactionState::Authorised {
        return Ok(Err(ResponseCode::INVALID));
    }
    let terms = terms(held)?;
    if amount.currency() == terms.whole.currency() && amount.minor() > desk.policy.completion_max(terms.whole)
    {
        return Ok(Err(ResponseCode::AMOUNT_LIMIT));
    }
    Ok(Ok(terms))
}

fn terms(held: &Transaction) -> Result<Terms<'_>, StoreFault> {
    match (held.transfer, held.amount, held.payer, held.payee) {
        (Some(hold), Some(whole), Some(payer), Some(payee)) => Ok(Terms { held, hold, whole, payer, payee }),
        _ => Err(StoreFault::Damaged { what: "a pre-authorisation lacks its accounts" }),
    }
}

/// Posts the hold, or as much of it as is taken; what exceeds it besides. All or nothing.
fn take<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    seq: TransactionSeq,
    terms: &Terms<'_>,
    amount: Amount,
) -> Verdict<TransferSeq> {
    let of = terms.hold;
    let whole = Order::PostHold { of, amount: Some(amount) };
    if amount.minor() <= terms.whole.minor() || amount.currency() != terms.whole.currency() {
        return transfer(working, desk, seq, whole, code::COMPLETION);
    }
    let excess = Amount::new(amount.minor().saturating_sub(terms.whole.minor()), amount.currency());
    let orders = [
        Order::PostHold { of, amount: None },
        Order::Post { debit: terms.payer, credit: terms.payee, amount: excess },
    ];
    Ok(both(working, desk, seq, orders, code::COMPLETION)?.map(|[posting, _]| posting))
}

/// Void of a completion of the same open batch.
pub(super) fn void_completion<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
    of: &Original,
    amount: Amount,
) -> Result<Decision, StoreFault> {
    let kind = TransactionKind::CompletionVoid;
    let refused = |code| Ok(Decision::refused(kind, amount, code));
    let identity = &desked.request.identity;
    let Some(completion) = original(working, identity, of)? else {
        return refused(ResponseCode::NOT_FOUND);
    };
    let own =
        completion.kind == TransactionKind::Completion && completion.identity.terminal == identity.terminal;
    let (true, Some(voided)) = (own, life::moved(&completion, Event::Void)) else {
        return refused(ResponseCode::INVALID);
    };
    if completion.amount != Some(amount) {
        return refused(ResponseCode::AMOUNT_MISMATCH);
    }
    match pay_back(working, desk, desked.seq, &completion)? {
        Err(rejection) => refused(code_of(rejection)),
        Ok(posting) => {
            working.put(Record::Transaction(Box::new(voided)));
            hold_again(working, desk, &completion)?;
            desked.batch.host.credits = desked.batch.host.credits.plus(amount.minor());
            Ok(Decision {
                amount: Some(amount),
                original: Some(completion.seq),
                payer: completion.payer,
                payee: completion.payee,
                transfer: Some(posting),
                ..Decision::done(kind)
            })
        }
    }
}

/// What a completion took and was not refunded goes back to the payer.
fn pay_back<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    seq: TransactionSeq,
    completion: &Transaction,
) -> Verdict<TransferSeq> {
    let (Some(whole), Some(payer), Some(payee)) = (completion.amount, completion.payer, completion.payee)
    else {
        return Err(StoreFault::Damaged { what: "a completion lacks its accounts" });
    };
    let amount = Amount::new(whole.minor().saturating_sub(completion.refunded), whole.currency());
    let order = Order::Post { debit: payee, credit: payer, amount };
    transfer(working, desk, seq, order, code::COMPLETION_REVERSED)
}

/// The pre-authorisation of a completion that was taken back: held again to the end it had, or else it is over.
fn hold_again<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    completion: &Transaction,
) -> Result<(), StoreFault> {
    let held = original_of(working, completion)?;
    if held.state != TransactionState::Completed {
        // It was over before: its time was up, or its money gone, when this completion's void was reversed.
        return Ok(());
    }
    let after = match reinstate(working, desk, &held)? {
        Ok(hold) => Transaction { transfer: Some(hold), ..step(&held, Event::Reinstate)? },
        Err(_) => step(&held, Event::Lapse)?,
    };
    working.put(Record::Transaction(Box::new(after)));
    Ok(())
}

fn original_of<S: Store>(
    working: &mut Working<'_, S>,
    completion: &Transaction,
) -> Result<Transaction, StoreFault> {
    let lacks = StoreFault::Damaged { what: "a completion lacks its pre-authorisation" };
    working.transaction(completion.original.ok_or(lacks.clone())?)?.ok_or(lacks)
}

/// Holds a pre-authorisation's money once more, to the end that its first hold had.
fn reinstate<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    held: &Transaction,
) -> Verdict<TransferSeq> {
    let Terms { hold, whole, payer, payee, .. } = terms(held)?;
    let lacks = StoreFault::Damaged { what: "a pre-authorisation lacks its hold" };
    let expires = working.hold(hold)?.ok_or(lacks)?.expires;
    let order = Order::Hold { debit: payer, credit: payee, amount: whole, expires };
    transfer(working, desk, held.seq, order, code::PRE_AUTHORISATION)
}

/// Reversal of a pre-authorisation. One that was completed is not reversed: its completion is.
pub(super) fn reverse<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    held: &Transaction,
) -> Result<Reversed, StoreFault> {
    match held.state {
        TransactionState::Authorised => {
            let order = Order::VoidHold { of: terms(held)?.hold };
            Ok(match transfer(working, desk, held.seq, order, code::PRE_AUTHORISATION)? {
                Ok(_) => {
                    limits::give_back(working, held)?;
                    Ok(Some(Event::Reverse))
                }
                // Its time is up: nothing is held, and the next batch of requests says so.
                Err(TransferRejection::HoldExpired) => Ok(None),
                Err(rejection) => Err(code_of(rejection)),
            })
        }
        TransactionState::Completed => Ok(Err(ResponseCode::INVALID)),
        state => Ok(Ok(life::next(state, Event::Reverse).map(|_| Event::Reverse))),
    }
}

/// Reversal of the void of a pre-authorisation: its money is held again, if its time is not up and funds allow.
pub(super) fn reverse_void<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    void: &Transaction,
) -> Result<Reversed, StoreFault> {
    if void.state == TransactionState::Cleared {
        return Ok(Err(ResponseCode::INVALID));
    }
    let held = original_of(working, void)?;
    if (void.state, held.state) != (TransactionState::Completed, TransactionState::Voided) {
        return Ok(Ok(None));
    }
    Ok(match reinstate(working, desk, &held)? {
        Err(rejection) => Err(code_of(rejection)),
        Ok(hold) => {
            limits::count_again(working, &held)?;
            let again = Transaction { transfer: Some(hold), ..step(&held, Event::Reinstate)? };
            working.put(Record::Transaction(Box::new(again)));
            Ok(Some(Event::Reverse))
        }
    })
}

/// Reversal of a completion: in its open batch as if it had never been; later, what was not refunded goes back to the payer.
pub(super) fn reverse_completion<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    completion: &Transaction,
) -> Result<Reversed, StoreFault> {
    if life::next(completion.state, Event::Reverse).is_none() {
        return Ok(Ok(None));
    }
    if completion.state == TransactionState::Voided {
        // Paid back before; and now it stays so, whatever becomes of the void.
        return Ok(Ok(Some(Event::Reverse)));
    }
    if let Err(rejection) = pay_back(working, desk, completion.seq, completion)? {
        return Ok(Err(code_of(rejection)));
    }
    if completion.state == TransactionState::Completed {
        hold_again(working, desk, completion)?;
    }
    Ok(Ok(Some(Event::Reverse)))
}

/// Reversal of the void of a completion: the completion stands again, if nothing else became of the pre-authorisation and funds allow.
pub(super) fn reverse_completion_void<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    void: &Transaction,
) -> Result<Reversed, StoreFault> {
    if void.state == TransactionState::Cleared {
        return Ok(Err(ResponseCode::INVALID));
    }
    let completion = original_of(working, void)?;
    if (void.state, completion.state) != (TransactionState::Completed, TransactionState::Voided) {
        return Ok(Ok(None));
    }
    let held = original_of(working, &completion)?;
    let terms = terms(&held)?;
    let lacks = StoreFault::Damaged { what: "a completion lacks its amount" };
    let amount = completion.amount.ok_or(lacks)?;
    let posted = match held.state {
        TransactionState::Authorised => take(working, desk, completion.seq, &terms, amount)?,
        TransactionState::Expired => {
            let order = Order::Post { debit: terms.payer, credit: terms.payee, amount };
            transfer(working, desk, completion.seq, order, code::COMPLETION)?
        }
        // It was voided or completed anew in between.
        _ => return Ok(Err(ResponseCode::INVALID)),
    };
    Ok(match posted {
        Err(rejection) => Err(code_of(rejection)),
        Ok(posting) => {
            // So that no other completion of it can stand besides.
            let over = held.state == TransactionState::Expired;
            let event = if over { Event::Redo } else { Event::Complete };
            working.put(Record::Transaction(Box::new(step(&held, event)?)));
            let again = Transaction { transfer: Some(posting), ..step(&completion, Event::Redo)? };
            working.put(Record::Transaction(Box::new(again)));
            Ok(Some(Event::Reverse))
        }
    })
}

/// Holds whose time was up have been released: their pre-authorisations are over.
pub(crate) fn expired<S: Store>(working: &mut Working<'_, S>, holds: &[Hold]) -> Result<(), StoreFault> {
    for hold in holds {
        let Some(seq) = hold.transaction else { continue };
        let held = working.transaction(seq)?.filter(|held| held.transfer == Some(hold.seq));
        if let Some(after) = held.and_then(|held| life::moved(&held, Event::Expire)) {
            working.put(Record::Transaction(Box::new(after)));
        }
    }
    Ok(())
}
