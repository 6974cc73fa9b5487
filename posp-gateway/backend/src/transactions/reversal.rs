//! Reversals (`posp.md` section 6): serialised with their original by its identity, and final.

use super::life::{self, Event};
use super::{answer_of, bare, code_of, current_batch, limits, preauthorisation, step, totals, transfer};
use crate::accounts::Order;
use crate::accounts::chart::code;
use crate::api::{AnswerBody, ContentDigest, HostAnswer, Identity};
use crate::cards::load;
use crate::engine::Desk;
use crate::store::{
    Merchant, Record, Store, StoreFault, Terminal, Transaction, TransactionKind, TransactionState, Working,
};
use protocol::iso8583::typed::ResponseCode;
use protocol::money::Amount;

/// Decides a reversal.
pub(super) fn handle<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    (terminal, merchant): (&Terminal, &Merchant),
    identity: &Identity,
    amount: Amount,
    original: Option<Transaction>,
) -> Result<HostAnswer, StoreFault> {
    let Some(original) = original else {
        return tombstone(working, desk, (terminal, merchant), identity, amount);
    };
    let settled = |repeat| HostAnswer {
        code: ResponseCode::APPROVED,
        repeat,
        body: AnswerBody::None,
        moment: desk.moment,
        ..answer_of(&original, repeat)
    };
    if original.kind == TransactionKind::Tombstone || original.state == TransactionState::Reversed {
        return Ok(settled(true));
    }
    if original.state == TransactionState::Declined {
        return Ok(settled(false));
    }
    if let Err(code) = reversible(&original, amount) {
        return Ok(bare(desk, code));
    }
    let outcome = match original.kind {
        TransactionKind::Purchase => purchase(working, desk, &original)?,
        TransactionKind::Void => void(working, desk, &original)?,
        TransactionKind::PreAuthorisation => preauthorisation::reverse(working, desk, &original)?,
        TransactionKind::PreAuthorisationVoid => preauthorisation::reverse_void(working, desk, &original)?,
        TransactionKind::Completion => preauthorisation::reverse_completion(working, desk, &original)?,
        TransactionKind::CompletionVoid => {
            preauthorisation::reverse_completion_void(working, desk, &original)?
        }
        TransactionKind::Load | TransactionKind::MerchantLoad => load::reverse(working, desk, &original)?,
        _ => return Ok(bare(desk, ResponseCode::INVALID)),
    };
    match outcome {
        Ok(event) => {
            let answer = settled(event.is_none());
            if let Some(event) = event {
                let after = step(&original, event)?;
                totals::recount(working, None, &original, &after)?;
                working.put(Record::Transaction(Box::new(after)));
            }
            Ok(answer)
        }
        Err(code) => Ok(bare(desk, code)),
    }
}

/// Whether this may be what the terminal means, and whether it can be reversed at all (else field 39).
///
/// A terminal that lost its memory sends reversals of what the host never saw, under numbers that other messages have taken since. What it means was
/// never booked and never can be, which is what 25 says, and what frees the terminal of it.
fn reversible(original: &Transaction, amount: Amount) -> Result<(), ResponseCode> {
    let same = original.amount == Some(amount);
    match original.kind {
        TransactionKind::Refund | TransactionKind::CompletionAdvice if same => Err(ResponseCode::INVALID),
        kind if !kind.is_reversible() => Err(ResponseCode::NOT_FOUND),
        _ if same => Ok(()),
        _ => Err(ResponseCode::AMOUNT_MISMATCH),
    }
}

/// What happens to the original (`None`: nothing was left to reverse), or why it cannot be reversed.
pub(crate) type Reversed = Result<Option<Event>, ResponseCode>;

/// A purchase: the hold is released; of a settled one the rest that was not refunded flows back.
fn purchase<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    original: &Transaction,
) -> Result<Reversed, StoreFault> {
    let lacks = StoreFault::Damaged { what: "a purchase lacks its accounts" };
    if life::next(original.state, Event::Reverse).is_none() {
        return Ok(Ok(None));
    }
    if original.state == TransactionState::Voided {
        // Nothing is held any more; and now it stays so, whatever becomes of the void.
        return Ok(Ok(Some(Event::Reverse)));
    }
    let order = match original.state {
        TransactionState::Authorised => Order::VoidHold { of: original.transfer.ok_or(lacks)? },
        _ => {
            let whole = original.amount.ok_or(lacks.clone())?;
            let rest = whole.minor().saturating_sub(original.refunded);
            Order::Post {
                debit: original.payee.ok_or(lacks.clone())?,
                credit: original.payer.ok_or(lacks)?,
                amount: Amount::new(rest, whole.currency()),
            }
        }
    };
    if let Err(rejection) = transfer(working, desk, original.seq, order, code::PURCHASE_REVERSED)? {
        return Ok(Err(code_of(rejection)));
    }
    limits::give_back(working, original)?;
    Ok(Ok(Some(Event::Reverse)))
}

/// A void: the purchase stands again, if the payer's money still covers it. If not, the void stands, and a person is told by the
/// answer's code.
fn void<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    original: &Transaction,
) -> Result<Reversed, StoreFault> {
    let lacks = StoreFault::Damaged { what: "a void lacks its purchase" };
    let purchase = working.transaction(original.original.ok_or(lacks.clone())?)?.ok_or(lacks.clone())?;
    if original.state == TransactionState::Cleared {
        return Ok(Err(ResponseCode::INVALID));
    }
    if original.state != TransactionState::Completed || purchase.state != TransactionState::Voided {
        return Ok(Ok(None));
    }
    let order = Order::Hold {
        debit: purchase.payer.ok_or(lacks.clone())?,
        credit: purchase.payee.ok_or(lacks.clone())?,
        amount: purchase.amount.ok_or(lacks)?,
        expires: None,
    };
    match transfer(working, desk, purchase.seq, order, code::PURCHASE)? {
        Err(rejection) => Ok(Err(code_of(rejection))),
        Ok(hold) => {
            limits::count_again(working, &purchase)?;
            let again = Transaction { transfer: Some(hold), ..step(&purchase, Event::Reinstate)? };
            working.put(Record::Transaction(Box::new(again)));
            Ok(Ok(Some(Event::Reverse)))
        }
    }
}

/// Nothing to reverse yet: should the original still come, it is declined. In a batch that cannot take it any more there is nothing to remember.
fn tombstone<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    (terminal, merchant): (&Terminal, &Merchant),
    identity: &Identity,
    amount: Amount,
) -> Result<HostAnswer, StoreFault> {
    let Ok(mut batch) = current_batch(working, terminal, merchant, identity.batch)? else {
        return Ok(bare(desk, ResponseCode::APPROVED));
    };
    let begun = life::next(TransactionState::Received, Event::Reverse);
    let state = begun.ok_or(StoreFault::Damaged { what: "the beginning of a transaction" })?;
    let seq = working.take_transaction();
    batch.last = seq;
    let transaction = Transaction {
        seq,
        identity: *identity,
        digest: ContentDigest([0; 16]),
        kind: TransactionKind::Tombstone,
        amount: Some(amount),
        original: None,
        payer: None,
        payee: None,
        load: None,
        code: ResponseCode::APPROVED,
        authorisation: None,
        moment: desk.moment,
        body: AnswerBody::None,
        at: desk.now,
        state,
        transfer: None,
        refunded: 0,
    };
    let answer = answer_of(&transaction, false);
    working.put(Record::Transaction(Box::new(transaction)));
    working.put(Record::Identity(*identity, seq));
    if terminal.open != Some(batch.number) {
        working.put(Record::Terminal(Terminal {
            open: Some(batch.number),
            newest: batch.number,
            ..*terminal
        }));
    }
    working.put(Record::Batch(Box::new(batch)));
    Ok(answer)
}
