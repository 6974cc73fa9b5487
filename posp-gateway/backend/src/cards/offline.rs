//! Offline records (`posp.md` sections 5 and 6): each answered by itself, booked once, whoever uploads it and however late.
//!
//! A record is unique by (SAM number, SAM sequence) in every state; a card's counter belongs to the first record with a valid TAC. A record whose TAC is wrong is
//! answered 63 and leaves nothing but an alert: it must not take the number of the genuine one; nor must one without a TAC, which yields its
//! number to the first that the card has proved. A TAC that is right under keys of another version than the card's proves nothing: such a record is held,
//! and takes its number from a mere word alone. Two valid records on one counter are a fork: both merchants are paid, the second by the issuer, and the card is denied.

use super::{alert, deny, key_of, load, new_card, proves_with, tac_terms, uncertain};
use crate::accounts::chart::{Book, code};
use crate::accounts::{Order, TransactionSeq};
use crate::api::{AlertKind, AnswerBody, CardStatus, RECORDS_MAX, RecordOutcome};
use crate::engine::Desk;
use crate::store::{
    Card, CardId, Issuer, Merchant, OfflineRecord, Record, RecordStanding, Store, StoreFault,
    TransactionKind, Working,
};
use crate::transactions::{Decision, Desked, transfer};
use keys::{TacCheck, TacVerdict};
use protocol::ids::{MerchantId, OfflineCounter};
use protocol::iso8583::f58::{CardCounter, RecordAnswer, RecordState, TransactionRecord};
use protocol::iso8583::typed::ResponseCode;
use protocol::money::Amount;
use protocol::purse::TransactionType;
use protocol::teeth::{Tooth, bites};
use protocol::time::Wall;

/// A message of records.
pub(crate) fn upload<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
    records: &[TransactionRecord],
) -> Result<Decision, StoreFault> {
    let kind = TransactionKind::OfflineRecords;
    if records.is_empty() || records.len() > RECORDS_MAX {
        return Ok(Decision::declined(kind, ResponseCode::FORMAT));
    }
    let verdicts = verify(working, desk, records)?;
    let mut outcomes = Vec::with_capacity(records.len());
    for (record, verdict) in records.iter().zip(verdicts) {
        let code = if record.kind == TransactionType::Load {
            load::confirmed(working, desk, record, None, Some(&mut desked.batch))?.0
        } else {
            one(working, desk, desked, record, verdict)?
        };
        let answer = RecordAnswer { term_seq: record.term_seq, code };
        outcomes.push(RecordOutcome { sam: record.terminal, answer });
    }
    Ok(Decision { body: AnswerBody::Records(outcomes), ..Decision::done(kind) })
}

/// The verdicts on the TACs of a message, in order, from one call of the key module.
fn verify<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    records: &[TransactionRecord],
) -> Result<Vec<TacVerdict>, StoreFault> {
    let mut issuers: Vec<Option<Issuer>> = Vec::with_capacity(records.len());
    for record in records {
        issuers.push(working.issuer(record.issuer)?);
    }
    let terms: Vec<_> = records.iter().map(tac_terms).collect();
    let mut checks = Vec::with_capacity(records.len());
    let mut place = Vec::with_capacity(records.len());
    for ((record, issuer), terms) in records.iter().zip(&issuers).zip(&terms) {
        let present = issuer.as_ref().filter(|_| !record.tac.is_zero());
        place.push(present.map(|_| checks.len()));
        if let Some(issuer) = present {
            let key = key_of(issuer, &record.asn, record.key_version, record.algorithm);
            checks.push(TacCheck { key, terms, tac: &record.tac });
        }
    }
    let verdicts = desk.keys.verify_tacs(&checks);
    let at =
        |place: Option<usize>| place.and_then(|at| verdicts.get(at).copied()).unwrap_or(TacVerdict::NoKey);
    Ok(place.into_iter().map(at).collect())
}

/// What a TAC is worth for this card: one under another version's keys proves nothing, as if there were no key.
fn weighed<S: Store>(
    working: &mut Working<'_, S>,
    record: &TransactionRecord,
    tac: TacVerdict,
) -> Result<TacVerdict, StoreFault> {
    if tac != TacVerdict::Valid {
        return Ok(tac);
    }
    let card = working.card(CardId { issuer: record.issuer, asn: record.asn })?;
    let proves = card.is_none_or(|card| proves_with(&card, record.key_version));
    Ok(if proves { TacVerdict::Valid } else { TacVerdict::NoKey })
}

/// Whether a known record may become this one: all else equal, and only a better knowledge of its state.
fn same_but_state(known: &TransactionRecord, new: &TransactionRecord) -> bool {
    let plain = |record: &TransactionRecord| TransactionRecord {
        state: RecordState::Done,
        tac: protocol::purse::Tac::zero(record.algorithm.suite()),
        ..*record
    };
    let tacs = known.tac.is_zero() || new.tac.is_zero() || known.tac == new.tac;
    tacs && plain(known) == plain(new)
}

/// Whether nothing but its uploader's word stands behind a record. Anybody can send one with anybody's number, so it keeps the number from
/// nobody whose card has proved the debit.
const fn is_unproved(standing: RecordStanding) -> bool {
    matches!(standing, RecordStanding::Uncertain | RecordStanding::Unverified | RecordStanding::Void)
}

/// Whether no key of its issuer speaks for this record. It yields its number even to one that is right under another version's keys than the
/// card's, which is held: were that refused, the terminal would forget a debit that the card may have made (decision 0021).
fn is_mere_word<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    record: &TransactionRecord,
) -> Result<bool, StoreFault> {
    Ok(verify(working, desk, &[*record])?.first() != Some(&TacVerdict::Valid))
}

/// Suite 00: the TAC does not cover the counter or the card, so the same TAC, terminal and sequence is the same payment.
fn same_payment(known: &TransactionRecord, new: &TransactionRecord) -> bool {
    let fixed = known.algorithm.suite().mac_len() == 4;
    fixed
        && !known.tac.is_zero()
        && known.tac == new.tac
        && (known.amount, known.moment) == (new.amount, new.moment)
}

/// One record.
fn one<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
    record: &TransactionRecord,
    tac: TacVerdict,
) -> Result<ResponseCode, StoreFault> {
    let about = Some((record.issuer, record.asn));
    let number = Some((record.terminal, record.term_seq));
    let verdict = weighed(working, record, tac)?;
    if !matches!(record.kind, TransactionType::Purchase | TransactionType::CappPurchase) {
        return Ok(ResponseCode::INVALID);
    }
    let known = working.record(record.terminal, record.term_seq)?.filter(|_| !bites(Tooth::CountDuplicate));
    if let Some(known) = &known {
        let content = &known.content;
        if content == record {
            return Ok(code_of(known.standing));
        }
        if !same_but_state(content, record) {
            let other_keys = tac == TacVerdict::Valid && verdict != TacVerdict::Valid;
            let takes = is_unproved(known.standing)
                && (verdict == TacVerdict::Valid || other_keys && is_mere_word(working, desk, content)?);
            if !takes && same_payment(content, record) {
                return Ok(code_of(known.standing));
            }
            alert(working, desk, AlertKind::RecordConflict, about, number, None);
            if !takes {
                if other_keys {
                    alert(working, desk, AlertKind::OtherKeys, about, number, None);
                }
                return Ok(ResponseCode::DUPLICATE);
            }
        } else if let Some(code) = decided(working, desk, desked, known, record, verdict)? {
            return Ok(code);
        }
    }
    // A TAC that is there and wrong is never booked, whatever the state says; one that is right proves the debit, whatever the state says.
    match (verdict, record.tac.is_zero(), record.state) {
        (TacVerdict::Valid, ..) => {
            let booked = book(working, desk, desked.seq, Some(desked.merchant.id), record)?;
            if booked {
                count(desked, record);
            }
            Ok(if booked { ResponseCode::APPROVED } else { RecordAnswer::HELD })
        }
        (TacVerdict::Wrong, false, _) | (_, true, RecordState::Done) => {
            alert(working, desk, AlertKind::WrongTac, about, number, None);
            Ok(RecordAnswer::TAC_WRONG)
        }
        (TacVerdict::NoKey, false, _) => {
            let why = if tac == TacVerdict::Valid { AlertKind::OtherKeys } else { AlertKind::UnknownCard };
            alert(working, desk, why, about, number, None);
            keep(working, desk, desked.seq, record, RecordStanding::Unverified)?;
            Ok(RecordAnswer::HELD)
        }
        (_, _, RecordState::Void) => {
            keep(working, desk, desked.seq, record, RecordStanding::Void)?;
            Ok(ResponseCode::APPROVED)
        }
        (_, _, _) => {
            keep(working, desk, desked.seq, record, RecordStanding::Uncertain)?;
            Ok(RecordAnswer::HELD)
        }
    }
}

/// A record counts in the batch of the message that brought it proved.
const fn count(desked: &mut Desked<'_>, record: &TransactionRecord) {
    desked.batch.host.debits = desked.batch.host.debits.plus(record.amount.0 as u64);
}

/// What a record that is known already is answered, all else but its state being equal; `None` if the new one may still decide it.
///
/// What is decided stays decided, with one exception: the card's word is stronger than what was said or concluded without it. So a debit that policy
/// paid or closed, or that somebody called void, is booked, confirmed or found to be a fork when its TAC arrives after all (decision 0018).
fn decided<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
    known: &OfflineRecord,
    record: &TransactionRecord,
    verdict: TacVerdict,
) -> Result<Option<ResponseCode>, StoreFault> {
    let about = Some((record.issuer, record.asn));
    let number = Some((record.terminal, record.term_seq));
    let is_void = record.state == RecordState::Void;
    if verdict == TacVerdict::Wrong && known.standing != RecordStanding::Uncertain {
        alert(working, desk, AlertKind::WrongTac, about, number, None);
        return Ok(Some(RecordAnswer::TAC_WRONG));
    }
    match known.standing {
        RecordStanding::Uncertain => return Ok(None),
        // Its TAC may prove it once its key is there: nothing without one takes its place.
        RecordStanding::Unverified if record.tac.is_zero() => {
            if is_void {
                alert(working, desk, AlertKind::RecordConflict, about, number, None);
            }
            return Ok(Some(code_of(known.standing)));
        }
        RecordStanding::Unverified => return Ok(None),
        // It knows no more than we do.
        standing if record.tac.is_zero() && !is_void => return Ok(Some(code_of(standing))),
        // A TAC that its key may yet prove is held: that moves nothing, whoever brings it, and one refused would be lost.
        RecordStanding::Void
            if matches!(verdict, TacVerdict::Valid | TacVerdict::NoKey) && !record.tac.is_zero() =>
        {
            if known.content.state == RecordState::Void {
                // Somebody said that this debit did not happen, and the card proves that it did, or may.
                alert(working, desk, AlertKind::RecordConflict, about, number, None);
            }
            return Ok(None);
        }
        RecordStanding::Void if is_void && known.content.state != RecordState::Void => {
            keep(working, desk, desked.seq, record, RecordStanding::Void)?;
            return Ok(Some(ResponseCode::APPROVED));
        }
        RecordStanding::Resolved | RecordStanding::Overtaken if verdict == TacVerdict::Valid => {
            proved_late(working, desk, desked.seq, known, record)?;
            count(desked, record);
            return Ok(Some(ResponseCode::APPROVED));
        }
        standing if (standing == RecordStanding::Void) == is_void => return Ok(Some(code_of(standing))),
        _ => {}
    }
    alert(working, desk, AlertKind::RecordConflict, about, number, None);
    Ok(Some(ResponseCode::DUPLICATE))
}

/// The proof of a debit that policy has paid already: nothing more is paid. If another record has proved the counter meanwhile, the card is cloned.
fn proved_late<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    seq: TransactionSeq,
    known: &OfflineRecord,
    record: &TransactionRecord,
) -> Result<(), StoreFault> {
    let CardCounter::Offline(counter) = record.counter else { return Ok(()) };
    let id = CardId { issuer: record.issuer, asn: record.asn };
    let number = (record.terminal, record.term_seq);
    let standing = if known.standing == RecordStanding::Overtaken {
        alert(working, desk, AlertKind::Fork, Some((id.issuer, id.asn)), Some(number), known.transfer);
        if let Some(mut card) = working.card(id)? {
            deny::set(working, desk, &mut card, CardStatus::Denied)?;
            working.put(Record::Card(card));
        }
        RecordStanding::Fork
    } else {
        working.put(Record::Claim(id, counter, number.0, number.1));
        RecordStanding::Resolved
    };
    let content = TransactionRecord { state: RecordState::Done, ..*record };
    working.put(Record::Record(Box::new(OfflineRecord { content, standing, transaction: seq, ..*known })));
    Ok(())
}

const fn code_of(standing: RecordStanding) -> ResponseCode {
    match standing {
        RecordStanding::Uncertain | RecordStanding::Held | RecordStanding::Unverified => RecordAnswer::HELD,
        _ => ResponseCode::APPROVED,
    }
}

fn keep<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    transaction: TransactionSeq,
    record: &TransactionRecord,
    standing: RecordStanding,
) -> Result<(), StoreFault> {
    let received = received(working, desk, record)?;
    let (merchant, transfer) = (None, None);
    working.put(Record::Record(Box::new(OfflineRecord {
        content: *record,
        standing,
        merchant,
        transaction,
        transfer,
        received,
    })));
    Ok(())
}

/// When a record came first.
fn received<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    record: &TransactionRecord,
) -> Result<Wall, StoreFault> {
    let known = working.record(record.terminal, record.term_seq)?;
    Ok(known.map_or(desk.now, |known| known.received))
}

/// A record that the card has proved. Returns whether it is booked now; if not, nobody knows whose SAM it was, and it is held.
fn book<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    seq: TransactionSeq,
    uploader: Option<MerchantId>,
    record: &TransactionRecord,
) -> Result<bool, StoreFault> {
    let wrong = StoreFault::Damaged { what: "a purchase with an online counter" };
    let CardCounter::Offline(counter) = record.counter else { return Err(wrong) };
    let missing = StoreFault::Damaged { what: "an issuer is missing" };
    let issuer = working.issuer(record.issuer)?.ok_or(missing)?;
    let about = Some((record.issuer, record.asn));
    let number = (record.terminal, record.term_seq);
    let id = CardId { issuer: record.issuer, asn: record.asn };
    let mut card = match working.card(id)? {
        Some(card) => card,
        None => {
            alert(working, desk, AlertKind::UnknownCard, about, Some(number), None);
            new_card(record.issuer, record.asn, record.key_version)
        }
    };
    let fork = working.claim(id, counter)?.is_some_and(|owner| owner != number);
    if fork {
        alert(working, desk, AlertKind::Fork, about, Some(number), None);
        deny::set(working, desk, &mut card, CardStatus::Denied)?;
    } else {
        // Nothing is known of a counter that is ahead of all.
        if card.newest.is_some_and(|(newest, _)| newest >= counter) {
            uncertain::overtake(working, desk, (seq, &issuer), &mut card, counter, number)?;
        }
        working.put(Record::Claim(id, counter, number.0, number.1));
        chain(working, desk, &mut card, record, counter)?;
    }
    working.put(Record::Card(card));
    let owner = match uploader.filter(|_| bites(Tooth::CreditUploader)) {
        Some(uploader) => working.merchant(uploader)?,
        None => owner_of(working, &issuer, record)?,
    };
    let Some(merchant) = owner else {
        alert(working, desk, AlertKind::UnknownSam, about, Some(number), None);
        keep(working, desk, seq, record, RecordStanding::Held)?;
        return Ok(false);
    };
    if uploader.is_some_and(|uploader| uploader != merchant.id) {
        alert(working, desk, AlertKind::ForeignUpload, about, Some(number), None);
    }
    post(working, desk, seq, &issuer, &merchant, record, fork)?;
    Ok(true)
}

/// The merchant to whom the SAM belonged at the record's time, if its account can take the issuer's currency.
pub(crate) fn owner_of<S: Store>(
    working: &mut Working<'_, S>,
    issuer: &Issuer,
    record: &TransactionRecord,
) -> Result<Option<Merchant>, StoreFault> {
    let place = working.sam(record.terminal)?.and_then(|sam| sam.at(record.moment));
    let merchant = match place {
        Some((_, merchant)) => working.merchant(merchant)?,
        None => None,
    };
    Ok(merchant.filter(|merchant| merchant.currency == issuer.currency))
}

/// Pays the merchant: from the float, or from the issuer's loss if another record has the counter. Always posts.
fn post<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    seq: TransactionSeq,
    issuer: &Issuer,
    merchant: &Merchant,
    record: &TransactionRecord,
    fork: bool,
) -> Result<(), StoreFault> {
    let (debit, why, standing) = if fork {
        (Book::IssuerLoss(issuer.number), code::PURSE_FORK, RecordStanding::Fork)
    } else {
        (Book::PurseFloat(issuer.number), code::PURSE_PURCHASE, RecordStanding::Booked)
    };
    let amount = record.amount.in_currency(issuer.currency);
    let credit = Book::MerchantPayable(merchant.number).id(issuer.currency);
    let (booked, standing) = if amount.is_zero() {
        (None, if fork { RecordStanding::Fork } else { RecordStanding::Zero })
    } else {
        let order = Order::Post { debit: debit.id(issuer.currency), credit, amount };
        let lacks = StoreFault::Damaged { what: "an account of the chart is missing" };
        (Some(transfer(working, desk, seq, order, why)?.map_err(|_| lacks)?), standing)
    };
    let received = received(working, desk, record)?;
    working.put(Record::Record(Box::new(OfflineRecord {
        content: TransactionRecord { state: RecordState::Done, ..*record },
        standing,
        merchant: Some(merchant.id),
        transaction: seq,
        transfer: booked,
        received,
    })));
    Ok(())
}

/// The card's chain: what the neighbours of this counter allow. The full proof is the audit's; this one warns at once.
fn chain<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    card: &mut Card,
    record: &TransactionRecord,
    counter: OfflineCounter,
) -> Result<(), StoreFault> {
    let about = Some((card.id.issuer, card.id.asn));
    let number = Some((record.terminal, record.term_seq));
    card.spent = card.spent.saturating_add(u64::from(record.amount.0));
    let open = load::most(working, card)?;
    let loads = card.loaded.saturating_add(open.map_or(0, Amount::minor));
    let (before, after) = (before(record), u64::from(record.balance_after.0));
    let previous = match counter.0.checked_sub(1) {
        Some(previous) => neighbour(working, card.id, OfflineCounter(previous))?,
        None => None,
    };
    let behind = card.newest.is_some_and(|(newest, _)| newest > counter);
    let next = match counter.next().filter(|_| behind) {
        Some(next) => neighbour(working, card.id, next)?,
        None => None,
    };
    let low = previous.map_or(0, |previous| u64::from(previous.balance_after.0));
    let fits = |low: u64, high: u64| low <= high && high <= low.saturating_add(loads);
    let fits_next = next.is_none_or(|next| fits(after, self::before(&next)));
    if !fits(low, before) || before > loads || !fits_next {
        alert(working, desk, AlertKind::BalanceBreak, about, number, None);
    }
    if card.newest.is_none_or(|(newest, _)| counter > newest) {
        card.newest = Some((counter, record.balance_after));
    }
    super::counted(card, desk, 1);
    Ok(())
}

/// The balance before a debit.
pub(crate) fn before(record: &TransactionRecord) -> u64 {
    u64::from(record.balance_after.0).saturating_add(u64::from(record.amount.0))
}

/// The record that owns a counter, or was paid for it by policy.
pub(crate) fn neighbour<S: Store>(
    working: &mut Working<'_, S>,
    card: CardId,
    counter: OfflineCounter,
) -> Result<Option<TransactionRecord>, StoreFault> {
    let owner = match working.claim(card, counter)? {
        Some(owner) => Some(owner),
        None => working.resolution(card, counter)?,
    };
    let Some((sam, seq)) = owner else { return Ok(None) };
    Ok(working.record(sam, seq)?.map(|record| record.content))
}

/// Books records that waited for the registration of their SAM, their issuer, its key or their card's. Returns how many.
pub(crate) fn retry_held<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    open: &[OfflineRecord],
) -> Result<u32, StoreFault> {
    let mut booked = 0u32;
    for record in open {
        let content = &record.content;
        let Some(known) = working.record(content.terminal, content.term_seq)? else { continue };
        let Some(issuer) = working.issuer(content.issuer)? else { continue };
        let done = match known.standing {
            RecordStanding::Held => claimed(working, desk, &issuer, &known)?,
            RecordStanding::Unverified => {
                let tac = verify(working, desk, &[*content])?.first().copied();
                let verdict = weighed(working, content, tac.unwrap_or(TacVerdict::NoKey))?;
                verdict == TacVerdict::Valid && book(working, desk, known.transaction, None, content)?
            }
            _ => false,
        };
        booked = booked.saturating_add(u32::from(done));
    }
    Ok(booked)
}

/// A held record already owns its counter, or is a fork: only its merchant was unknown.
fn claimed<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    issuer: &Issuer,
    record: &OfflineRecord,
) -> Result<bool, StoreFault> {
    let content = &record.content;
    let CardCounter::Offline(counter) = content.counter else { return Ok(false) };
    let Some(merchant) = owner_of(working, issuer, content)? else { return Ok(false) };
    let id = CardId { issuer: content.issuer, asn: content.asn };
    let fork = working.claim(id, counter)? != Some((content.terminal, content.term_seq));
    post(working, desk, record.transaction, issuer, &merchant, content, fork)?;
    Ok(true)
}
