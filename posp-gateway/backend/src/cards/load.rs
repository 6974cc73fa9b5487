//! Loads: the issuer's consent, and what became of it (`posp.md` section 6, `purse.md` section 6).
//!
//! MAC2 leaves only after the hold is durable, and from then on the card decides: its TAC posts the hold at any later time, and so does a load request
//! whose MAC1 is right and shows a higher online counter, if it leaves no doubt about the money. A reversal only makes a load `disputed`: the
//! terminal's word alone never frees the money.
//!
//! A card has at most one counter with loads that are neither posted nor released. A request does not say when the card made it, so one that
//! shows this counter releases nothing: it joins the ones before, and whichever of them the card was credited with, its money is held
//! ([`candidates`], decision 20). What becomes of them is in [`decided`].

mod candidates;
mod decided;

pub(crate) use candidates::{Candidate, Candidates};

use super::{alert, key_of, proves_with, tac_terms};
use crate::accounts::chart::{Book, code};
use crate::accounts::{AccountId, Order, TransactionSeq, TransferCode, TransferRejection, TransferSeq};
use crate::api::{
    AdminRefusal, AlertKind, AnswerBody, CardStatus, LOADS_UNDECIDED_MAX, LoadSource, Original,
};
use crate::engine::Desk;
use crate::store::{
    BatchRecord, Card, CardId, Issuer, Load, LoadState, Record, Store, StoreFault, Transaction,
    TransactionKind, TransactionState, Working,
};
use crate::transactions::limits::{self, Admission};
use crate::transactions::{Decision, Desked, Event, Reversed, both, code_of, original, transfer};
use candidates::Held;
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
    let joined = match counter_says(working, desk, desked, (&issuer, &mut card), request)? {
        Ok(joined) => joined,
        Err(code) => return Ok(refused(code)),
    };
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
    let room = joined.as_ref().map_or(LOADS_UNDECIDED_MAX, Candidates::room);
    if room == 0 {
        return Ok(refused(ResponseCode::FREQUENCY));
    }
    let held = match &joined {
        Some(of) => of.held(working)?,
        None => Vec::new(),
    };
    let held = held.into_iter().find(|held| held.newest.payer == payer);
    let most = held
        .as_ref()
        .map_or(amount, |held| if held.amount.minor() > amount.minor() { held.amount } else { amount });
    let admission = match source {
        LoadSource::Linked => {
            let before = held.as_ref().map(|held| (&held.newest.transaction, held.amount));
            match limits::admit_candidate(working, desk, (payer, desked.seq), (amount, most), before)? {
                Ok(admission) => admission,
                Err(code) => return Ok(Decision { payer: Some(payer), ..refused(code) }),
            }
        }
        LoadSource::Cash | LoadSource::Refund => Admission::default(),
    };
    let float = Book::PurseFloat(issuer.number).id(issuer.currency);
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
    let hold = match hold(working, desk, desked.seq, ((payer, float), most, why), held.as_ref())? {
        Ok(hold) => hold,
        Err(rejection) => return Ok(Decision { payer: Some(payer), ..refused(code_of(rejection)) }),
    };
    admission.count(working);
    if room == 1 {
        alert(working, desk, AlertKind::LoadContested, about, None, Some(hold));
    }
    // The most that the card had before any of them, released ones included: what it has later is measured against it.
    let balance_old = joined.as_ref().map_or(request.balance, |of| of.load.balance_old.max(request.balance));
    working.put(Record::Load(Load {
        card: card.id,
        counter: request.counter,
        transaction: desked.seq,
        hold,
        payer,
        amount,
        sam: request.terminal,
        balance_old,
        moment: desk.moment,
        state: LoadState::Consented,
    }));
    card.open_load = Some(request.counter);
    working.put(Record::Card(card));
    desked.batch.host.loads = desked.batch.host.loads.plus(amount.minor());
    Ok(Decision {
        event: Event::Authorise,
        amount: Some(amount),
        original: joined.as_ref().map(|of| of.load.transaction),
        payer: Some(payer),
        payee: Some(float),
        load: Some((card.id, request.counter)),
        transfer: Some(hold),
        body: AnswerBody::Load { algorithm: request.algorithm, mac2 },
        ..Decision::done(kind)
    })
}

/// Holds `most` for a payer: what is held already, or so much in its place. Both or none: if the payer lacks the difference, what was held stays so.
fn hold<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    seq: TransactionSeq,
    ((debit, credit), most, why): ((AccountId, AccountId), Amount, TransferCode),
    held: Option<&Held<'_>>,
) -> Result<Result<TransferSeq, TransferRejection>, StoreFault> {
    let order = Order::Hold { debit, credit, amount: most, expires: None };
    let Some(held) = held else { return transfer(working, desk, seq, order, why) };
    if held.amount == most {
        return Ok(Ok(held.hold));
    }
    let moved = both(working, desk, seq, [Order::VoidHold { of: held.hold }, order], why)?;
    Ok(moved.map(|[_, hold]| hold))
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

/// What the counter under a right MAC1 says: about the open load, and about the card. Returns the candidates that the request joins.
fn counter_says<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
    (issuer, card): (&Issuer, &mut Card),
    request: &LoadRequest,
) -> Result<Result<Option<Candidates>, ResponseCode>, StoreFault> {
    let shown = request.counter;
    let about = Some((card.id.issuer, card.id.asn));
    if shown < card.next_online || card.open_load.is_some_and(|open| shown < open) {
        alert(working, desk, AlertKind::Rollback, about, None, None);
        return Ok(Err(ResponseCode::RESTRICTED));
    }
    // At this counter: what it joins. Before it: a load that is open, or that a person released and the card was credited with all the same.
    let here = of_counter(working, card, shown)?;
    let before = match (card.open_load, shown.0.checked_sub(1).map(OnlineCounter)) {
        (Some(open), _) if open < shown => of_counter(working, card, open)?,
        (None, Some(before)) => of_counter(working, card, before)?,
        _ => None,
    };
    if let Some(of) = before {
        let Some(credited) = of.credited(shown, request.balance) else {
            // Only their TAC, or a person, can tell which it was. The money stays held.
            if card.next_online < shown {
                alert(working, desk, AlertKind::LoadContested, about, None, Some(of.load.hold));
            }
            card.next_online = card.next_online.max(shown);
            working.put(Record::Card(*card));
            return Ok(Err(ResponseCode::ISSUER_OUT));
        };
        let state = if of.all().len() == 1 { LoadState::Posted } else { LoadState::Presumed };
        match of.load.state {
            LoadState::Consented | LoadState::Disputed => {
                decided::post(working, desk, Some(&mut desked.batch), card, &of, (credited, state))?;
            }
            _ => {
                let batch = Some(&mut desked.batch);
                decided::late(working, desk, batch, (issuer, card), &of, (credited, state))?;
            }
        }
    }
    card.next_online = card.next_online.max(shown);
    working.put(Record::Card(*card));
    Ok(Ok(here))
}

/// The candidates at a counter, if they are open or were released.
fn of_counter<S: Store>(
    working: &mut Working<'_, S>,
    card: &Card,
    counter: OnlineCounter,
) -> Result<Option<Candidates>, StoreFault> {
    let missing = StoreFault::Damaged { what: "a card's open load is missing" };
    match working.load(card.id, counter)? {
        Some(load) if !load.state.is_booked() => Candidates::of(working, load).map(Some),
        None if card.open_load == Some(counter) => Err(missing),
        _ => Ok(None),
    }
}

/// 0400 of a load whose consent has left: answered 00, and the card decides (`posp.md` section 6).
pub(crate) fn reverse<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    original: &Transaction,
) -> Result<Reversed, StoreFault> {
    let missing = StoreFault::Damaged { what: "a load's record is missing" };
    let (card, counter) = original.load.ok_or(missing.clone())?;
    match original.state {
        TransactionState::Authorised => {
            let load = working.load(card, counter)?.ok_or(missing.clone())?;
            if bites(Tooth::VoidAfterMac2) {
                let mut holder = working.card(card)?.ok_or(missing)?;
                let of = Candidates::of(working, load)?;
                decided::release(working, desk, None, &mut holder, &of)?;
                return Ok(Ok(None));
            }
            if load.transaction == original.seq {
                working.put(Record::Load(Load { state: LoadState::Disputed, ..load }));
            }
            Ok(Ok(Some(Event::Dispute)))
        }
        TransactionState::Completed => {
            let about = Some((card.issuer, card.asn));
            alert(working, desk, AlertKind::ReversalAfterConfirm, about, None, original.transfer);
            Ok(Ok(None))
        }
        _ => Ok(Ok(None)),
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
    let Some((load, amount)) = load else { return Ok(decision) };
    let card = CardId { issuer: record.issuer, asn: record.asn };
    let about = match record.counter {
        CardCounter::Online(counter) => Some((card, counter)),
        CardCounter::Offline(_) => None,
    };
    Ok(Decision { amount: Some(amount), original: Some(load), load: about, ..decision })
}

/// Books what a load's record says. Returns field 39 (or the code of F58 `RS`), and the load that it was about with its amount. `named` is the
/// transaction that the message names, `current` the batch that it works on.
pub(crate) fn confirmed<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    record: &TransactionRecord,
    named: Option<&Transaction>,
    mut current: Option<&mut BatchRecord>,
) -> Result<(ResponseCode, Option<(TransactionSeq, Amount)>), StoreFault> {
    let (CardCounter::Online(counter), TransactionType::Load) = (record.counter, record.kind) else {
        return Ok((ResponseCode::INVALID, None));
    };
    let id = CardId { issuer: record.issuer, asn: record.asn };
    let (Some(issuer), Some(mut card)) = (working.issuer(record.issuer)?, working.card(id)?) else {
        return Ok((ResponseCode::CARD_NUMBER, None));
    };
    let Some(load) = working.load(id, counter)? else { return Ok((ResponseCode::NOT_FOUND, None)) };
    let newest = Some((load.transaction, load.amount));
    let without_tac = record.tac.is_zero();
    if without_tac && matches!(record.state, RecordState::Uncertain | RecordState::Void) {
        // Nobody's money moves on the terminal's word: the card's next load request, its TAC or a person decides.
        return Ok((ResponseCode::APPROVED, newest));
    }
    let terms = tac_terms(record);
    let key = key_of(&issuer, &record.asn, record.key_version, record.algorithm);
    let check = TacCheck { key, terms: &terms, tac: &record.tac };
    let verdict = desk.keys.verify_tacs(&[check]).first().copied().unwrap_or(TacVerdict::NoKey);
    if verdict == TacVerdict::NoKey && proves_with(&card, record.key_version) {
        // Nobody can say today what it is worth, and refused it would be lost: it is brought again. Under another version it would prove nothing.
        tracing::warn!(card = %record.asn, version = record.key_version.0, "a load's proof cannot be checked: the issuer's keys are away");
        return Ok((ResponseCode::ISSUER_OUT, newest));
    }
    let right = verdict == TacVerdict::Valid;
    let valid = right && proves_with(&card, record.key_version);
    let of = Candidates::of(working, load)?.with_named(named);
    let place = working.sam(record.terminal)?.and_then(|sam| sam.at(record.moment));
    let terminal = place.map(|(terminal, _)| terminal);
    let proved = of.proved_by(record, terminal, named.map(|named| named.seq)).filter(|_| valid);
    // Two proofs of one counter are of two cards: nothing is booked on the second.
    let proved = proved.filter(|it| load.state != LoadState::Posted || it.seq() == load.transaction);
    let Some(proved) = proved else {
        let about = Some((id.issuer, id.asn));
        let why = if right && !valid { AlertKind::OtherKeys } else { AlertKind::WrongTac };
        alert(working, desk, why, about, None, None);
        return Ok((RecordAnswer::TAC_WRONG, newest));
    };
    match load.state {
        LoadState::Posted => {}
        LoadState::Presumed => {
            decided::prove(working, desk, current, (&issuer, &mut card), &of, proved)?;
        }
        LoadState::Consented | LoadState::Disputed if proved.is_undecided() => {
            decided::post(working, desk, current, &mut card, &of, (proved, LoadState::Posted))?;
        }
        LoadState::Consented | LoadState::Disputed => {
            // A person had released it, and the card has asked again since.
            decided::release(working, desk, current.as_deref_mut(), &mut card, &of)?;
            let posted = (proved, LoadState::Posted);
            decided::late(working, desk, current, (&issuer, &mut card), &of, posted)?;
        }
        LoadState::Released => {
            let posted = (proved, LoadState::Posted);
            decided::late(working, desk, current, (&issuer, &mut card), &of, posted)?;
        }
    }
    Ok((ResponseCode::APPROVED, Some((proved.seq(), proved.amount))))
}

/// A person's word on the open loads of a card: it was not credited with any. Not if the card itself has shown that it was, and not if `newest` is no longer
/// the newest of them: MAC2 of that one may be on its way. Whether it was not so already.
pub(crate) fn release<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    card: &mut Card,
    (counter, newest): (OnlineCounter, TransactionSeq),
) -> Result<Result<bool, AdminRefusal>, StoreFault> {
    let Some(of) = of_counter(working, card, counter)? else { return Ok(Err(AdminRefusal::NoLoad)) };
    let is_newest = of.load.transaction == newest;
    if of.load.state == LoadState::Released {
        return Ok(if is_newest { Ok(false) } else { Err(AdminRefusal::NoLoad) });
    }
    if card.open_load != Some(counter) {
        return Ok(Err(AdminRefusal::NoLoad));
    }
    if card.next_online > counter {
        return Ok(Err(AdminRefusal::LoadCredited));
    }
    if !is_newest {
        return Ok(Err(AdminRefusal::LoadJoined));
    }
    let hold = decided::release(working, desk, None, card, &of)?;
    let about = Some((card.id.issuer, card.id.asn));
    alert(working, desk, AlertKind::LoadReleased, about, None, Some(hold));
    Ok(Ok(true))
}

/// A person's word on a load that no TAC has decided: this consent is the one that the card was credited with. Not before the card has shown that it was
/// credited at all: where it was not, it would stay at this counter, and could never load again.
pub(crate) fn credit<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    (issuer, card): (&Issuer, &mut Card),
    counter: OnlineCounter,
    transaction: TransactionSeq,
) -> Result<Result<(), AdminRefusal>, StoreFault> {
    let Some(of) = of_counter(working, card, counter)? else { return Ok(Err(AdminRefusal::NoLoad)) };
    let Some(named) = of.all().iter().find(|it| it.seq() == transaction) else {
        return Ok(Err(AdminRefusal::NoLoad));
    };
    if card.next_online <= counter {
        return Ok(Err(AdminRefusal::LoadNotShown));
    }
    let by_person = (named, LoadState::Presumed);
    if named.is_undecided() {
        decided::post(working, desk, None, card, &of, by_person)?;
    } else {
        if card.open_load == Some(counter) {
            decided::release(working, desk, None, card, &of)?;
        }
        decided::late(working, desk, None, (issuer, card), &of, by_person)?;
    }
    let about = Some((card.id.issuer, card.id.asn));
    alert(working, desk, AlertKind::LoadCredited, about, None, Some(named.hold));
    Ok(Ok(()))
}

/// The most that a card may have been credited with and nobody knows yet.
pub(crate) fn most<S: Store>(
    working: &mut Working<'_, S>,
    card: &Card,
) -> Result<Option<Amount>, StoreFault> {
    let Some(counter) = card.open_load else { return Ok(None) };
    let of = of_counter(working, card, counter)?;
    Ok(of.and_then(|of| of.amounts().last().copied()))
}

/// The candidates at the counter of a card's open load.
pub(crate) fn open<S: Store>(store: &mut S, card: &Card) -> Result<Option<Candidates>, StoreFault> {
    let Some(counter) = card.open_load else { return Ok(None) };
    match store.get(&crate::store::Key::Load(card.id, counter))? {
        Some(Record::Load(load)) => of_store(store, load).map(Some),
        _ => Ok(None),
    }
}

/// The candidates at the counter of a load, as committed.
pub(crate) fn of_store<S: Store>(store: &mut S, load: Load) -> Result<Candidates, StoreFault> {
    Candidates::read(load, |seq| {
        Ok(match store.get(&crate::store::Key::Transaction(seq))? {
            Some(Record::Transaction(transaction)) => Some(*transaction),
            _ => None,
        })
    })
}
