//! What becomes of a load once its card, its counter or a person has decided it: postings, states, totals and limits.

use super::candidates::{Candidate, Candidates};
use crate::accounts::chart::{Book, code};
use crate::accounts::{AccountId, Order, TransactionSeq, TransferSeq};
use crate::api::AlertKind;
use crate::cards::alert;
use crate::engine::Desk;
use crate::store::{
    BatchRecord, Card, Issuer, Load, LoadState, Record, Store, StoreFault, Transaction, Working,
};
use crate::transactions::limits;
use crate::transactions::{Event, step, totals, transfer};

const NO_HOLD: StoreFault = StoreFault::Damaged { what: "an open load's hold is not open" };

/// The card was credited with this consent: its payer pays, and what was held for the others is free. `current` is the batch that the present
/// request works on.
pub(super) fn post<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    mut current: Option<&mut BatchRecord>,
    card: &mut Card,
    of: &Candidates,
    (credited, state): (&Candidate, LoadState),
) -> Result<(), StoreFault> {
    free(working, desk, current.as_deref_mut(), of, Some(credited))?;
    happened(working, current, credited.seq(), Event::Complete)?;
    booked(working, card, of, (credited, state), credited.payer)
}

/// Resolves what every payer has held, and takes back every consent but the one that was credited.
fn free<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    mut current: Option<&mut BatchRecord>,
    of: &Candidates,
    credited: Option<&Candidate>,
) -> Result<(), StoreFault> {
    for held in of.held(working)? {
        let pays = credited.filter(|it| it.payer == held.newest.payer);
        let (seq, order) = match pays {
            Some(it) => (it.seq(), Order::PostHold { of: held.hold, amount: Some(it.amount) }),
            None => (held.newest.seq(), Order::VoidHold { of: held.hold }),
        };
        transfer(working, desk, seq, order, code::LOAD)?.map_err(|_| NO_HOLD)?;
        let left = pays.map(|it| it.amount);
        limits::held_changed(working, &held.newest.transaction, held.amount, left)?;
    }
    for it in of.undecided().filter(|it| credited.is_none_or(|credited| credited.seq() != it.seq())) {
        happened(working, current.as_deref_mut(), it.seq(), Event::Reverse)?;
    }
    Ok(())
}

/// The record of a load that is booked. One that nobody proved keeps the list of its candidates, in case that the card still does.
fn booked<S: Store>(
    working: &mut Working<'_, S>,
    card: &mut Card,
    of: &Candidates,
    (credited, state): (&Candidate, LoadState),
    payer: AccountId,
) -> Result<(), StoreFault> {
    let transaction = if state == LoadState::Posted { credited.seq() } else { of.load.transaction };
    working.put(Record::Load(Load {
        transaction,
        hold: credited.hold,
        payer,
        amount: credited.amount,
        moment: credited.transaction.moment,
        state,
        ..of.load
    }));
    if card.open_load == Some(of.load.counter) {
        card.open_load = None;
    }
    card.loaded = card.loaded.saturating_add(credited.amount.minor());
    let next = of.load.counter.next().unwrap_or(of.load.counter);
    card.next_online = card.next_online.max(next);
    working.put(Record::Card(*card));
    Ok(())
}

/// The card was not credited at this counter: all money is free again. Returns a hold that there was.
pub(super) fn release<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    current: Option<&mut BatchRecord>,
    card: &mut Card,
    of: &Candidates,
) -> Result<TransferSeq, StoreFault> {
    let hold = of.load.hold;
    free(working, desk, current, of, None)?;
    working.put(Record::Load(Load { state: LoadState::Released, ..of.load }));
    card.open_load = None;
    working.put(Record::Card(*card));
    Ok(hold)
}

/// The card was credited after all, though the hold was released: the payer pays if the money is still there, else the issuer.
pub(super) fn late<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    current: Option<&mut BatchRecord>,
    (issuer, card): (&Issuer, &mut Card),
    of: &Candidates,
    (credited, state): (&Candidate, LoadState),
) -> Result<(), StoreFault> {
    let about = Some((card.id.issuer, card.id.asn));
    let float = Book::PurseFloat(issuer.number).id(issuer.currency);
    let from = |debit| Order::Post { debit, credit: float, amount: credited.amount };
    let transaction = happened(working, current, credited.seq(), Event::Prove)?;
    let (posted, payer) =
        match transfer(working, desk, credited.seq(), from(credited.payer), code::LATE_LOAD)? {
            Ok(posted) => {
                limits::count_again(working, &transaction)?;
                alert(working, desk, AlertKind::LateLoad, about, None, Some(posted));
                (posted, credited.payer)
            }
            Err(_) => {
                let loss = Book::IssuerLoss(issuer.number).id(issuer.currency);
                let lacks = StoreFault::Damaged { what: "the issuer's loss account is missing" };
                let posted = transfer(working, desk, credited.seq(), from(loss), code::LATE_LOAD)?
                    .map_err(|_| lacks)?;
                alert(working, desk, AlertKind::LoadLoss, about, None, Some(posted));
                (posted, loss)
            }
        };
    tracing::warn!(transfer = posted.0, "a load was confirmed after its hold had been released");
    booked(working, card, of, (credited, state), payer)
}

/// The card proves what its counter or a person had concluded without it, or another candidate. Its word is the stronger: then the first payer has the
/// money back, and the one of the proved candidate pays.
pub(super) fn prove<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    mut current: Option<&mut BatchRecord>,
    (issuer, card): (&Issuer, &mut Card),
    of: &Candidates,
    proved: &Candidate,
) -> Result<(), StoreFault> {
    let missing = StoreFault::Damaged { what: "a booked load has no transaction that is booked" };
    let presumed = of.booked().ok_or(missing)?;
    if presumed.seq() == proved.seq() {
        let (transaction, state) = (proved.seq(), LoadState::Posted);
        working.put(Record::Load(Load { transaction, state, ..of.load }));
        return Ok(());
    }
    let taken_back = happened(working, current.as_deref_mut(), presumed.seq(), Event::Reverse)?;
    card.loaded = card.loaded.saturating_sub(presumed.amount.minor());
    let paid = of.load.payer;
    if (paid, presumed.amount) == (proved.payer, proved.amount) {
        happened(working, current, proved.seq(), Event::Prove)?;
        return booked(working, card, of, (proved, LoadState::Posted), paid);
    }
    let float = Book::PurseFloat(issuer.number).id(issuer.currency);
    let back = |credit| Order::Post { debit: float, credit, amount: presumed.amount };
    if transfer(working, desk, presumed.seq(), back(paid), code::LATE_LOAD)?.is_err() {
        // The payer's account is closed: the issuer owes it, and the alert below leads a person there.
        let loss = Book::IssuerLoss(issuer.number).id(issuer.currency);
        let lacks = StoreFault::Damaged { what: "the issuer's loss account is missing" };
        transfer(working, desk, presumed.seq(), back(loss), code::LATE_LOAD)?.map_err(|_| lacks)?;
    }
    if paid == presumed.payer {
        limits::give_back(working, &taken_back)?;
    }
    late(working, desk, current, (issuer, card), of, (proved, LoadState::Posted))
}

/// A candidate goes on, and counts in its batch or no longer does. `current` is the batch that the present request works on.
fn happened<S: Store>(
    working: &mut Working<'_, S>,
    current: Option<&mut BatchRecord>,
    seq: TransactionSeq,
    event: Event,
) -> Result<Transaction, StoreFault> {
    let missing = StoreFault::Damaged { what: "a load's transaction is missing" };
    let before = working.transaction(seq)?.ok_or(missing)?;
    let after = step(&before, event)?;
    totals::recount(working, current, &before, &after)?;
    working.put(Record::Transaction(Box::new(after.clone())));
    Ok(after)
}
