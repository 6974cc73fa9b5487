//! Loads: the issuer's consent, and what became of it (`posp.md` section 6, `purse.md` section 6).
//!
//! MAC2 leaves only after the hold is durable, and from then on the card decides: its TAC posts the hold at any later time, and so does a load request
//! whose MAC1 is right and shows a higher online counter; a load request that shows the same counter releases it, or a person. A reversal only
//! makes it `disputed`: the terminal's word alone never frees the money.
//!
//! A card has at most one load that is neither posted nor released, because every load request decides the one before. A request does not say when
//! the card made it: one that was kept back can release a load that the card was credited. Its TAC puts that right ([`displaced`]); without it the
//! card has more than the books loaded onto it, which bars its next load and is an alert at its next payment.

use super::{alert, key_of, proves_with, tac_terms};
use crate::accounts::chart::{Book, code};
use crate::accounts::{Order, TransactionSeq};
use crate::api::{AlertKind, AnswerBody, CardStatus, LoadSource, Original};
use crate::engine::Desk;
use crate::store::{
    BatchRecord, Card, CardId, Issuer, Load, LoadState, Record, Store, StoreFault, Transaction,
    TransactionKind, TransactionState, Working,
};
use crate::transactions::limits::{self, Admission};
use crate::transactions::{Decision, Desked, Event, Reversed, code_of, original, step, take_off, transfer};
use keys::{KeyError, TacCheck, TacVerdict};
use protocol::ids::OnlineCounter;
use protocol::iso8583::f58::{CardCounter, LoadRequest, RecordAnswer, RecordState, TransactionRecord};
use protocol::iso8583::typed::ResponseCode;
use protocol::money::Amount;
use protocol::purse::TransactionType;
use protocol::purse::mac::HostTerms;
use protocol::teeth::{Tooth, bites};

/// A load request: checks the card's MAC1, settles what its counter says about the load before, holds the money, consents.
pub(crate) fn load<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
    source: LoadSource,
    request: &LoadRequest,
) -> Result<Decision, StoreFault> {
    let kind = match source {
        LoadSource::Linked => TransactionKind::Load,
        LoadSource::Cash | LoadSource::Refund => TransactionKind::MerchantLoad,
    };
    let (issuer, mut card) = match admitted(working, desk, desked, request)? {
        Ok(admitted) => admitted,
        Err(code) => return Ok(Decision::declined(kind, code)),
    };
    let amount = request.amount.in_currency(issuer.currency);
    let refused = |code| Decision { amount: Some(amount), ..Decision::declined(kind, code) };
    if let Err(code) = counter_says(working, desk, desked, (&issuer, &mut card), request)? {
        return Ok(refused(code));
    }
    let about = Some((card.id.issuer, card.id.asn));
    let highest = card.loaded.saturating_sub(card.spent);
    if u64::from(request.balance.0) > highest {
        alert(working, desk, AlertKind::BalanceBreak, about, None, None);
        return Ok(refused(ResponseCode::RESTRICTED));
    }
    if card.status == CardStatus::Denied {
        return Ok(refused(ResponseCode::RESTRICTED));
    }
    if request.amount > issuer.load_limit {
        return Ok(refused(ResponseCode::AMOUNT_LIMIT));
    }
    let payer = match (source, card.funding) {
        (LoadSource::Linked, None) => return Ok(refused(ResponseCode::NOT_PERMITTED)),
        (LoadSource::Linked, Some(funding)) => funding,
        _ => Book::MerchantPayable(desked.merchant.number).id(issuer.currency),
    };
    let admission = match source {
        LoadSource::Linked => match limits::admit_payer(working, desk, payer, desked.seq, amount)? {
            Ok(admission) => admission,
            Err(code) => return Ok(Decision { payer: Some(payer), ..refused(code) }),
        },
        LoadSource::Cash | LoadSource::Refund => Admission::default(),
    };
    let float = Book::PurseFloat(issuer.number).id(issuer.currency);
    let order = Order::Hold { debit: payer, credit: float, amount, expires: None };
    let why = match source {
        LoadSource::Linked => code::LOAD,
        LoadSource::Cash => code::CASH_LOAD,
        LoadSource::Refund => code::PURSE_REFUND,
    };
    let terms = host_terms(request);
    let key = key_of(&issuer, &request.asn, request.key_version, request.algorithm);
    let mac2 = match desk.keys.mac2(&key, &request.random, &terms, desk.moment) {
        Ok(mac2) => mac2,
        Err(_) => return Ok(refused(ResponseCode::ISSUER_OUT)),
    };
    let hold = match transfer(working, desk, desked.seq, order, why)? {
        Ok(hold) => hold,
        Err(rejection) => return Ok(Decision { payer: Some(payer), ..refused(code_of(rejection)) }),
    };
    admission.count(working);
    working.put(Record::Load(Load {
        card: card.id,
        counter: request.counter,
        transaction: desked.seq,
        hold,
        payer,
        amount,
        sam: request.terminal,
        balance_old: request.balance,
        moment: desk.moment,
        state: LoadState::Consented,
    }));
    card.open_load = Some(request.counter);
    working.put(Record::Card(card));
    desked.batch.host.loads = desked.batch.host.loads.plus(amount.minor());
    Ok(Decision {
        event: Event::Authorise,
        amount: Some(amount),
        payer: Some(payer),
        payee: Some(float),
        load: Some((card.id, request.counter)),
        transfer: Some(hold),
        body: AnswerBody::Load { algorithm: request.algorithm, mac2 },
        ..Decision::done(kind)
    })
}

const fn host_terms(request: &LoadRequest) -> HostTerms {
    HostTerms {
        amount: request.amount,
        kind: request.kind,
        terminal: request.terminal,
        counter: request.counter,
    }
}

/// Whether this card, asked at this terminal, is who it says.
fn admitted<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &Desked<'_>,
    request: &LoadRequest,
) -> Result<Result<(Issuer, Card), ResponseCode>, StoreFault> {
    if request.kind != TransactionType::Load {
        return Ok(Err(ResponseCode::INVALID));
    }
    if request.amount.0 == 0 {
        return Ok(Err(ResponseCode::AMOUNT));
    }
    let Some(issuer) = working.issuer(request.issuer)? else { return Ok(Err(ResponseCode::CARD_NUMBER)) };
    let id = CardId { issuer: request.issuer, asn: request.asn };
    let Some(card) = working.card(id)? else { return Ok(Err(ResponseCode::CARD_NUMBER)) };
    let place = working.sam(request.terminal)?.and_then(|sam| sam.at(desk.moment));
    if place.is_none_or(|(terminal, _)| terminal != desked.request.identity.terminal) {
        return Ok(Err(ResponseCode::NOT_PERMITTED_TERMINAL));
    }
    let terms = host_terms(request);
    let key = key_of(&issuer, &request.asn, request.key_version, request.algorithm);
    match desk.keys.verify_mac1(&key, &request.random, &terms, request.balance, &request.asn, &request.mac1) {
        Ok(true) if proves_with(&card, request.key_version) => Ok(Ok((issuer, card))),
        Ok(true) => {
            alert(working, desk, AlertKind::OtherKeys, Some((id.issuer, id.asn)), None, None);
            Ok(Err(RecordAnswer::TAC_WRONG))
        }
        Ok(false) | Err(KeyError::WrongSuite { .. }) => {
            let about = Some((id.issuer, id.asn));
            alert(working, desk, AlertKind::WrongMac1, about, None, None);
            Ok(Err(RecordAnswer::TAC_WRONG))
        }
        Err(_) => Ok(Err(ResponseCode::ISSUER_OUT)),
    }
}

/// What the counter under a right MAC1 says: about the open load, and about the card.
fn counter_says<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
    (issuer, card): (&Issuer, &mut Card),
    request: &LoadRequest,
) -> Result<Result<(), ResponseCode>, StoreFault> {
    let shown = request.counter;
    if shown < card.next_online || card.open_load.is_some_and(|open| shown < open) {
        let about = Some((card.id.issuer, card.id.asn));
        alert(working, desk, AlertKind::Rollback, about, None, None);
        return Ok(Err(ResponseCode::RESTRICTED));
    }
    if let Some(open) = card.open_load {
        let missing = StoreFault::Damaged { what: "a card's open load is missing" };
        let load = working.load(card.id, open)?.ok_or(missing)?;
        if shown > open {
            post(working, desk, card, load)?;
        } else {
            release(working, desk, Some(&mut desked.batch), card, load)?;
        }
    } else if let Some(before) = shown.0.checked_sub(1).map(OnlineCounter) {
        // A person released it, and the card was credited all the same: only its credit moves the counter on.
        if let Some(load) = working.load(card.id, before)?.filter(|load| load.state == LoadState::Released) {
            late(working, desk, issuer, card, load)?;
        }
    }
    card.next_online = card.next_online.max(shown);
    working.put(Record::Card(*card));
    Ok(Ok(()))
}

/// The card was credited: the hold is posted.
fn post<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    card: &mut Card,
    load: Load,
) -> Result<(), StoreFault> {
    let order = Order::PostHold { of: load.hold, amount: None };
    if transfer(working, desk, load.transaction, order, code::LOAD)?.is_err() {
        return Err(StoreFault::Damaged { what: "an open load's hold is not open" });
    }
    credited(working, card, load)?;
    happened(working, load.transaction, Event::Complete).map(|_| ())
}

/// What follows from the card's credit, however it was booked.
fn credited<S: Store>(working: &mut Working<'_, S>, card: &mut Card, load: Load) -> Result<(), StoreFault> {
    working.put(Record::Load(Load { state: LoadState::Posted, ..load }));
    if card.open_load == Some(load.counter) {
        card.open_load = None;
    }
    card.loaded = card.loaded.saturating_add(load.amount.minor());
    let next = load.counter.next().unwrap_or(load.counter);
    card.next_online = card.next_online.max(next);
    working.put(Record::Card(*card));
    Ok(())
}

/// The card was not credited: the money is free again, and the load no longer counts in its batch. `current` is the batch that
/// the present request works on.
pub(crate) fn release<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    current: Option<&mut BatchRecord>,
    card: &mut Card,
    load: Load,
) -> Result<(), StoreFault> {
    if load.state == LoadState::Consented {
        uncount(working, current, &load)?;
    }
    let order = Order::VoidHold { of: load.hold };
    if transfer(working, desk, load.transaction, order, code::LOAD)?.is_err() {
        return Err(StoreFault::Damaged { what: "an open load's hold is not open" });
    }
    working.put(Record::Load(Load { state: LoadState::Released, ..load }));
    card.open_load = None;
    working.put(Record::Card(*card));
    let released = happened(working, load.transaction, Event::Reverse)?;
    limits::give_back(working, &released)
}

/// Takes a load off its batch's totals. Its reversal, if there was one, has done so before.
fn uncount<S: Store>(
    working: &mut Working<'_, S>,
    current: Option<&mut BatchRecord>,
    load: &Load,
) -> Result<(), StoreFault> {
    let missing = StoreFault::Damaged { what: "a load's transaction is missing" };
    let transaction = working.transaction(load.transaction)?.ok_or(missing)?;
    let of = (transaction.identity.terminal, transaction.identity.batch);
    match current {
        Some(batch) if (batch.terminal, batch.number) == of => {
            batch.host.loads = batch.host.loads.minus(load.amount.minor());
            Ok(())
        }
        _ => take_off(working, &transaction),
    }
}

fn happened<S: Store>(
    working: &mut Working<'_, S>,
    seq: TransactionSeq,
    event: Event,
) -> Result<Transaction, StoreFault> {
    let missing = StoreFault::Damaged { what: "a load's transaction is missing" };
    let transaction = step(&working.transaction(seq)?.ok_or(missing)?, event)?;
    working.put(Record::Transaction(Box::new(transaction.clone())));
    Ok(transaction)
}

/// 0400 of a load whose consent has left: answered 00, and the card decides (`posp.md` section 6).
pub(crate) fn reverse<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    original: &Transaction,
) -> Result<Reversed, StoreFault> {
    let missing = StoreFault::Damaged { what: "a load's record is missing" };
    let (card, counter) = original.load.ok_or(missing.clone())?;
    // A later load at the same counter has taken this one's place: it was released long ago.
    let Some(load) = working.load(card, counter)?.filter(|load| load.transaction == original.seq) else {
        return Ok(Ok(None));
    };
    match load.state {
        LoadState::Consented if bites(Tooth::VoidAfterMac2) => {
            let mut holder = working.card(card)?.ok_or(missing)?;
            release(working, desk, None, &mut holder, load)?;
            Ok(Ok(None))
        }
        LoadState::Consented => {
            working.put(Record::Load(Load { state: LoadState::Disputed, ..load }));
            Ok(Ok(Some(Event::Dispute)))
        }
        LoadState::Posted => {
            let about = Some((card.issuer, card.asn));
            alert(working, desk, AlertKind::ReversalAfterConfirm, about, None, original.transfer);
            Ok(Ok(None))
        }
        LoadState::Disputed | LoadState::Released => Ok(Ok(None)),
    }
}

/// The terminal's word on a load: the card's TAC, or that nobody knows.
pub(crate) fn confirm<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
    of: &Original,
    record: &TransactionRecord,
) -> Result<Decision, StoreFault> {
    let kind = TransactionKind::LoadConfirm;
    let named = original(working, &desked.request.identity, of)?;
    let (code, load) = confirmed(working, desk, record, named.as_ref(), Some(&mut desked.batch))?;
    let decision = if code.is_approved() { Decision::done(kind) } else { Decision::declined(kind, code) };
    let Some(load) = load else { return Ok(decision) };
    Ok(Decision {
        amount: Some(load.amount),
        original: Some(load.transaction),
        load: Some((load.card, load.counter)),
        ..decision
    })
}

/// Books what a load's record says. Returns field 39 (or the code of F58 `RS`) and the load it was about. `named` is the transaction that the message
/// names, `current` the batch that it works on.
pub(crate) fn confirmed<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    record: &TransactionRecord,
    named: Option<&Transaction>,
    current: Option<&mut BatchRecord>,
) -> Result<(ResponseCode, Option<Load>), StoreFault> {
    let (CardCounter::Online(counter), TransactionType::Load) = (record.counter, record.kind) else {
        return Ok((ResponseCode::INVALID, None));
    };
    let id = CardId { issuer: record.issuer, asn: record.asn };
    let (Some(issuer), Some(mut card)) = (working.issuer(record.issuer)?, working.card(id)?) else {
        return Ok((ResponseCode::CARD_NUMBER, None));
    };
    let Some(load) = working.load(id, counter)? else { return Ok((ResponseCode::NOT_FOUND, None)) };
    let without_tac = record.tac.is_zero();
    if without_tac && matches!(record.state, RecordState::Uncertain | RecordState::Void) {
        // Nobody's money moves on the terminal's word: the card's next load request, its TAC or a person decides.
        return Ok((ResponseCode::APPROVED, Some(load)));
    }
    let terms = tac_terms(record);
    let key = key_of(&issuer, &record.asn, record.key_version, record.algorithm);
    let check = TacCheck { key, terms: &terms, tac: &record.tac };
    let right = desk.keys.verify_tacs(&[check]) == [TacVerdict::Valid];
    let valid = right && proves_with(&card, record.key_version);
    let balance = load.balance_old.checked_add(record.amount);
    let same = record.amount.in_currency(issuer.currency) == load.amount
        && record.terminal == load.sam
        && record.moment == load.moment
        && balance == Some(record.balance_after);
    if valid
        && !same
        && load.state != LoadState::Posted
        && let Some(displaced) = named.and_then(|named| displaced(named, &load, record))
    {
        if load.state != LoadState::Released {
            release(working, desk, current, &mut card, load)?;
        }
        late(working, desk, &issuer, &mut card, displaced)?;
        return Ok((ResponseCode::APPROVED, Some(displaced)));
    }
    if !(valid && same) {
        let about = Some((id.issuer, id.asn));
        let why = if right && !valid { AlertKind::OtherKeys } else { AlertKind::WrongTac };
        alert(working, desk, why, about, None, None);
        return Ok((RecordAnswer::TAC_WRONG, Some(load)));
    }
    match load.state {
        LoadState::Posted => {}
        LoadState::Consented | LoadState::Disputed => post(working, desk, &mut card, load)?,
        LoadState::Released => late(working, desk, &issuer, &mut card, load)?,
    }
    Ok((ResponseCode::APPROVED, Some(load)))
}

/// The load that a record proves, though a later request at its counter has taken its place: a request says nothing of when the card made it, so one
/// that was kept back, or was long under way, looks as if the card had never been credited. The card's TAC over the issuer's own consent says that
/// it was, and that the later one was not.
fn displaced(named: &Transaction, by: &Load, record: &TransactionRecord) -> Option<Load> {
    let (card, counter) = named.load?;
    let amount = named.amount?;
    let is_displaced = (card, counter) == (by.card, by.counter)
        && named.seq != by.transaction
        && named.state == TransactionState::Reversed
        && amount.minor() == u64::from(record.amount.0)
        && named.moment == record.moment;
    is_displaced.then_some(Load {
        card,
        counter,
        transaction: named.seq,
        hold: named.transfer?,
        payer: named.payer?,
        amount,
        sam: record.terminal,
        balance_old: record.balance_after.checked_sub(record.amount)?,
        moment: record.moment,
        state: LoadState::Released,
    })
}

/// The card was credited after all, though the hold was released: the payer pays if the money is still there, else the issuer.
fn late<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    issuer: &Issuer,
    card: &mut Card,
    load: Load,
) -> Result<(), StoreFault> {
    let about = Some((card.id.issuer, card.id.asn));
    let float = Book::PurseFloat(issuer.number).id(issuer.currency);
    let from = |debit| Order::Post { debit, credit: float, amount: load.amount };
    let transaction = happened(working, load.transaction, Event::Prove)?;
    let booked = match transfer(working, desk, load.transaction, from(load.payer), code::LATE_LOAD)? {
        Ok(booked) => {
            limits::count_again(working, &transaction)?;
            alert(working, desk, AlertKind::LateLoad, about, None, Some(booked));
            booked
        }
        Err(_) => {
            let loss = Book::IssuerLoss(issuer.number).id(issuer.currency);
            let lacks = StoreFault::Damaged { what: "the issuer's loss account is missing" };
            let booked =
                transfer(working, desk, load.transaction, from(loss), code::LATE_LOAD)?.map_err(|_| lacks)?;
            alert(working, desk, AlertKind::LoadLoss, about, None, Some(booked));
            booked
        }
    };
    tracing::warn!(transfer = booked.0, "a load was confirmed after its hold had been released");
    credited(working, card, load)
}

/// The counter of a card's open load, for a person's decision.
pub(crate) fn open<S: Store>(
    working: &mut Working<'_, S>,
    card: &Card,
    counter: OnlineCounter,
) -> Result<Option<Load>, StoreFault> {
    if card.open_load != Some(counter) {
        return Ok(None);
    }
    working.load(card.id, counter)
}

/// The sum of a load, if it is still open.
pub(crate) fn open_amount<S: Store>(store: &mut S, card: &Card) -> Result<Option<Amount>, StoreFault> {
    let Some(counter) = card.open_load else { return Ok(None) };
    Ok(match store.get(&crate::store::Key::Load(card.id, counter))? {
        Some(Record::Load(load)) => Some(load.amount),
        _ => None,
    })
}
