//! Debits of which no terminal knows whether they happened, decided from the card's chain (`backend.md` section 1).
//!
//! A card counts its debits, and a TAC covers counter and balance. So a record with a valid TAC on counter n + 1 says that n was consumed and
//! what was left after it; the record on n − 1 says what was there before. An uncertain record that fits between both happened: after the time in which
//! another terminal may still bring a proof (30 days) it is paid float → suspense → merchant, by policy. One that does not fit, or whose
//! counter another record owns, did not happen and is closed as void. Neighbours that are uncertain too are decided together, from the newest to the oldest.
//!
//! Of several records that fit one counter the newest is taken: a later terminal read this counter from the card, so the card had not used it before.
//!
//! A policy is no proof. If another record proves the counter its own afterwards, the float pays that one, and the issuer bears what policy paid
//! ([`overtake`]): the merchant keeps it, as at a fork, but the card is not denied, since nobody proved two debits on one counter.

use super::load::{Candidate, Candidates};
use super::offline::{before, neighbour, owner_of};
use super::{alert, counted};
use crate::accounts::chart::{Book, code};
use crate::accounts::{Order, TransactionSeq, TransferCode, TransferSeq};
use crate::api::{AdminRefusal, AlertKind, Evidence, OpenItem};
use crate::engine::Desk;
use crate::store::{
    Card, CardId, Issuer, LoadState, OfflineRecord, Record, RecordStanding, Store, StoreFault, Working,
};
use crate::transactions::both;
use protocol::ids::{OfflineCounter, OnlineCounter, SamTerminal, TermSeq};
use protocol::iso8583::f58::CardCounter;
use std::collections::{BTreeMap, BTreeSet};

/// Most decisions of one request.
const DECISIONS_MAX: u32 = 1_000;

/// The loads of a card that it was credited with, or may have been, in the order of their counters.
struct Loads {
    amounts: Vec<u64>,
    /// Not every one is known: one may have been credited after its release, or another one of several than is believed.
    released: bool,
}

impl Loads {
    fn of<S: Store>(working: &mut Working<'_, S>, card: &Card) -> Result<Self, StoreFault> {
        let (mut amounts, mut released) = (Vec::new(), false);
        for counter in 0..=card.next_online.0 {
            let Some(load) = working.load(card.id, OnlineCounter(counter))? else { continue };
            match load.state {
                LoadState::Released => released = true,
                LoadState::Posted => amounts.push(load.amount.minor()),
                // Its TAC may still prove another.
                LoadState::Presumed => {
                    amounts.push(load.amount.minor());
                    released = true;
                }
                LoadState::Consented | LoadState::Disputed => {
                    let of = Candidates::of(working, load)?;
                    // One that a person had released may have been it.
                    released |= !of.all().iter().all(Candidate::is_undecided);
                    match of.amounts().as_slice() {
                        [only] => amounts.push(only.minor()),
                        _ => released = true,
                    }
                }
            }
        }
        Ok(Self { amounts, released })
    }

    /// Whether a balance of `low` became `high` by nothing but a run of loads (or none).
    fn explain(&self, low: u64, high: u64) -> bool {
        let Some(wanted) = high.checked_sub(low) else { return false };
        let mut sum = 0u64;
        let mut rest = self.amounts.iter();
        for amount in &self.amounts {
            sum = sum.saturating_add(*amount);
            while sum > wanted {
                sum = sum.saturating_sub(rest.next().copied().unwrap_or(sum));
            }
            if sum == wanted {
                return true;
            }
        }
        wanted == 0
    }

    /// Whether the card's first loads sum to this. A card without any load was issued with what it holds.
    fn start(&self, balance: u64) -> bool {
        let mut sum = 0u64;
        let prefix = self.amounts.iter().any(|amount| {
            sum = sum.saturating_add(*amount);
            sum == balance
        });
        prefix || balance == 0 || self.amounts.is_empty()
    }
}

/// What was found about one record; records of one segment stand and fall together.
#[derive(Clone, Copy)]
struct Finding {
    evidence: Evidence,
    segment: usize,
}

/// What the chain of `card` says about its uncertain records, in their order.
fn judge<S: Store>(
    working: &mut Working<'_, S>,
    card: &Card,
    open: &[OfflineRecord],
) -> Result<Vec<Finding>, StoreFault> {
    let mut findings = vec![Finding { evidence: Evidence::Gap, segment: 0 }; open.len()];
    let mut at: BTreeMap<OfflineCounter, Vec<usize>> = BTreeMap::new();
    for (index, record) in open.iter().enumerate() {
        let CardCounter::Offline(counter) = record.content.counter else { continue };
        at.entry(counter).or_default().push(index);
    }
    let mut chain = Chain { loads: Loads::of(working, card)?, open, segment: Vec::new(), number: 0 };
    let mut above: Option<(OfflineCounter, u64)> = None;
    for (counter, here) in at.iter().rev() {
        let set = |findings: &mut Vec<Finding>, evidence| {
            for index in here {
                if let Some(finding) = findings.get_mut(*index) {
                    finding.evidence = evidence;
                }
            }
        };
        if neighbour(working, card.id, *counter)?.is_some() {
            set(&mut findings, Evidence::Claimed);
            above = None;
            continue;
        }
        let next = counter.next();
        let linked = above.filter(|(of, _)| Some(*of) == next).map(|(_, before)| before);
        let high = match (linked, next) {
            (Some(before), _) => Some(before),
            (None, Some(next)) => {
                chain.start_segment();
                neighbour(working, card.id, next)?.map(|next| before(&next))
            }
            (None, None) => None,
        };
        above = None;
        let Some(high) = high else {
            let later = card.newest.is_some_and(|(newest, _)| newest > *counter);
            set(&mut findings, if later { Evidence::Gap } else { Evidence::NothingLater });
            continue;
        };
        let low = match counter.0.checked_sub(1) {
            None => Low::Start,
            Some(previous) => match neighbour(working, card.id, OfflineCounter(previous))? {
                Some(previous) => Low::Balance(u64::from(previous.balance_after.0)),
                None => Low::Unknown,
            },
        };
        if let Some(before) = chain.step(&mut findings, here, low, high)
            && matches!(low, Low::Unknown)
        {
            above = Some((*counter, before));
        }
    }
    Ok(findings)
}

/// What is known of the balance before a counter.
#[derive(Clone, Copy)]
enum Low {
    /// It is the card's first.
    Start,
    /// The balance after the counter before.
    Balance(u64),
    /// The record before has not arrived.
    Unknown,
}

/// A walk down a card's chain.
struct Chain<'a> {
    loads: Loads,
    open: &'a [OfflineRecord],
    /// Chosen so far, newest first; they are linked to what is above, and not yet to what is below.
    segment: Vec<usize>,
    number: usize,
}

impl Chain<'_> {
    fn start_segment(&mut self) {
        self.segment.clear();
        self.number = self.number.saturating_add(1);
    }

    fn before_of(&self, index: usize) -> u64 {
        self.open.get(index).map_or(0, |record| before(&record.content))
    }

    /// Looks at the records of one counter, of which `high` is the balance that the next one found. Returns the balance before the one that
    /// was chosen, if there is one.
    fn step(&mut self, findings: &mut [Finding], here: &[usize], low: Low, high: u64) -> Option<u64> {
        let fits = |index: &usize| {
            let Some(record) = self.open.get(*index) else { return false };
            let below = match low {
                Low::Start => self.loads.start(before(&record.content)),
                Low::Balance(low) => self.loads.explain(low, before(&record.content)),
                Low::Unknown => true,
            };
            below && self.loads.explain(u64::from(record.content.balance_after.0), high)
        };
        let fitting: Vec<usize> = here.iter().copied().filter(fits).collect();
        let moment = |index: &usize| self.open.get(*index).map(|record| record.content.moment);
        let newest = fitting.iter().map(moment).max().flatten();
        let mut newest = fitting.iter().copied().filter(|index| moment(index) == newest);
        let evidence = match (newest.next(), newest.next()) {
            (Some(chosen), None) => {
                for index in here {
                    let evidence = if *index == chosen { Evidence::Gap } else { Evidence::Outdone };
                    self.set(findings, *index, evidence);
                }
                self.segment.push(chosen);
                if !matches!(low, Low::Unknown) {
                    let segment = std::mem::take(&mut self.segment);
                    segment.iter().for_each(|index| self.set(findings, *index, Evidence::Consumed));
                }
                return Some(self.before_of(chosen));
            }
            (Some(_), Some(_)) => Evidence::Contested,
            // Between two known neighbours, with every load known: another amount was consumed.
            (None, _) if self.segment.is_empty() && !matches!(low, Low::Unknown) && !self.loads.released => {
                Evidence::NotConsumed
            }
            (None, _) => Evidence::Contradicted,
        };
        here.iter().for_each(|index| self.set(findings, *index, evidence));
        None
    }

    fn set(&self, findings: &mut [Finding], index: usize, evidence: Evidence) {
        if let Some(finding) = findings.get_mut(index) {
            *finding = Finding { evidence, segment: self.number };
        }
    }
}

/// The uncertain ones of `open` by card.
fn by_card(open: &[OfflineRecord]) -> BTreeMap<CardId, Vec<OfflineRecord>> {
    let mut cards: BTreeMap<CardId, Vec<OfflineRecord>> = BTreeMap::new();
    for record in open.iter().filter(|record| record.standing == RecordStanding::Uncertain) {
        let card = CardId { issuer: record.content.issuer, asn: record.content.asn };
        cards.entry(card).or_default().push(*record);
    }
    cards
}

fn card_of<S: Store>(working: &mut Working<'_, S>, id: CardId) -> Result<Card, StoreFault> {
    let known = working.card(id)?;
    Ok(known.unwrap_or_else(|| super::new_card(id.issuer, id.asn, protocol::ids::KeyVersion(0))))
}

/// What is known about records that nobody decided, in their order.
pub(crate) fn open_items<S: Store>(
    working: &mut Working<'_, S>,
    open: &[OfflineRecord],
) -> Result<Vec<OpenItem>, StoreFault> {
    let mut found: BTreeMap<(SamTerminal, TermSeq), Evidence> = BTreeMap::new();
    for (id, records) in by_card(open) {
        let card = card_of(working, id)?;
        for (record, finding) in records.iter().zip(judge(working, &card, &records)?) {
            found.insert((record.content.terminal, record.content.term_seq), finding.evidence);
        }
    }
    let mut items = Vec::with_capacity(open.len());
    for record in open {
        let evidence = match record.standing {
            RecordStanding::Held => Evidence::UnknownPlace,
            RecordStanding::Uncertain => found
                .get(&(record.content.terminal, record.content.term_seq))
                .copied()
                .unwrap_or(Evidence::Gap),
            _ => Evidence::Unverified,
        };
        let currency = working.issuer(record.content.issuer)?.map(|issuer| issuer.currency);
        items.push(OpenItem { record: *record, currency, evidence });
    }
    Ok(items)
}

/// Decides those of `open` that can be decided. Returns how many.
pub(crate) fn resolve<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    open: &[OfflineRecord],
    wait_ms: u64,
) -> Result<u32, StoreFault> {
    let wait = i64::try_from(wait_ms).unwrap_or(i64::MAX);
    let mut decided = 0u32;
    for (id, records) in by_card(open) {
        if decided >= DECISIONS_MAX {
            break;
        }
        let card = card_of(working, id)?;
        let findings = judge(working, &card, &records)?;
        let early = |record: &OfflineRecord| record.received.0.saturating_add(wait) > desk.now.0;
        let waiting: BTreeSet<usize> = records
            .iter()
            .zip(&findings)
            .filter(|(record, finding)| finding.evidence == Evidence::Consumed && early(record))
            .map(|(_, finding)| finding.segment)
            .collect();
        let paid: BTreeSet<usize> = findings
            .iter()
            .filter(|finding| finding.evidence == Evidence::Consumed && !waiting.contains(&finding.segment))
            .map(|finding| finding.segment)
            .collect();
        for (record, finding) in records.iter().zip(&findings) {
            let done = match finding.evidence {
                Evidence::Consumed if paid.contains(&finding.segment) => pay(working, desk, record)?,
                Evidence::Outdone if paid.contains(&finding.segment) => void(working, record),
                Evidence::Claimed | Evidence::NotConsumed => void(working, record),
                _ => false,
            };
            decided = decided.saturating_add(u32::from(done));
        }
    }
    Ok(decided)
}

/// A person's decision about one uncertain record. It cannot be paid while nobody knows whose it is, or its card.
pub(crate) fn decide<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    record: &OfflineRecord,
    pay_it: bool,
) -> Result<Result<(), AdminRefusal>, StoreFault> {
    let id = CardId { issuer: record.content.issuer, asn: record.content.asn };
    if pay_it && working.card(id)?.is_none() {
        return Ok(Err(AdminRefusal::NoCard));
    }
    let done = if pay_it { pay(working, desk, record)? } else { void(working, record) };
    Ok(if done { Ok(()) } else { Err(AdminRefusal::NoPlace) })
}

fn void<S: Store>(working: &mut Working<'_, S>, record: &OfflineRecord) -> bool {
    working.put(Record::Record(Box::new(OfflineRecord { standing: RecordStanding::Void, ..*record })));
    true
}

/// Two transfers by way of the suspense account, whose accounts are all there. The number of the second.
fn through_suspense<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    seq: TransactionSeq,
    code: TransferCode,
    steps: [Order; 2],
) -> Result<TransferSeq, StoreFault> {
    let moved = both(working, desk, seq, steps, code)?;
    let [_, last] = moved.map_err(|_| StoreFault::Damaged { what: "an account of the chart is missing" })?;
    Ok(last)
}

/// Float → suspense → merchant. A counter is paid by policy once, and never one that a record has proved.
fn pay<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    record: &OfflineRecord,
) -> Result<bool, StoreFault> {
    let content = &record.content;
    let CardCounter::Offline(counter) = content.counter else { return Ok(false) };
    let id = CardId { issuer: content.issuer, asn: content.asn };
    // Nothing proves this record, so it does not say which keys its card has either.
    let Some(mut card) = working.card(id)? else { return Ok(false) };
    if neighbour(working, id, counter)?.is_some() {
        return Ok(false);
    }
    let Some(issuer) = working.issuer(content.issuer)? else { return Ok(false) };
    let Some(merchant) = owner_of(working, &issuer, content)? else { return Ok(false) };
    let amount = content.amount.in_currency(issuer.currency);
    let book = |book: Book| book.id(issuer.currency);
    let (float, suspense) = (book(Book::PurseFloat(issuer.number)), book(Book::PurseSuspense(issuer.number)));
    let payable = book(Book::MerchantPayable(merchant.number));
    let transfer = if amount.is_zero() {
        None
    } else {
        let steps = [
            Order::Post { debit: float, credit: suspense, amount },
            Order::Post { debit: suspense, credit: payable, amount },
        ];
        Some(through_suspense(working, desk, record.transaction, code::UNCERTAIN_RESOLVED, steps)?)
    };
    card.spent = card.spent.saturating_add(u64::from(content.amount.0));
    if card.newest.is_none_or(|(newest, _)| counter > newest) {
        card.newest = Some((counter, content.balance_after));
    }
    counted(&mut card, desk, 1);
    working.put(Record::Card(card));
    working.put(Record::Resolution(id, counter, content.terminal, content.term_seq));
    working.put(Record::Record(Box::new(OfflineRecord {
        standing: RecordStanding::Resolved,
        merchant: Some(merchant.id),
        transfer,
        ..*record
    })));
    Ok(true)
}

/// A record has proved a counter: if policy had paid another one for it, the float gets that back and the issuer bears it. `card` is
/// stored by the caller.
pub(crate) fn overtake<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    (seq, issuer): (TransactionSeq, &Issuer),
    card: &mut Card,
    counter: OfflineCounter,
    by: (SamTerminal, TermSeq),
) -> Result<(), StoreFault> {
    let Some((sam, number)) = working.resolution(card.id, counter)?.filter(|paid| *paid != by) else {
        return Ok(());
    };
    let missing = StoreFault::Damaged { what: "a record paid by policy is missing" };
    let paid = working.record(sam, number)?.ok_or(missing)?;
    if paid.standing != RecordStanding::Resolved {
        return Ok(());
    }
    let amount = paid.content.amount.in_currency(issuer.currency);
    let book = |book: Book| book.id(issuer.currency);
    let (float, suspense) = (book(Book::PurseFloat(issuer.number)), book(Book::PurseSuspense(issuer.number)));
    let loss = book(Book::IssuerLoss(issuer.number));
    let transfer = if amount.is_zero() {
        None
    } else {
        let steps = [
            Order::Post { debit: suspense, credit: float, amount },
            Order::Post { debit: loss, credit: suspense, amount },
        ];
        Some(through_suspense(working, desk, seq, code::UNCERTAIN_OVERTAKEN, steps)?)
    };
    card.spent = card.spent.saturating_sub(u64::from(paid.content.amount.0));
    card.claimed = card.claimed.saturating_sub(1);
    let about = Some((card.id.issuer, card.id.asn));
    alert(working, desk, AlertKind::Overtaken, about, Some((sam, number)), transfer);
    working.put(Record::Record(Box::new(OfflineRecord { standing: RecordStanding::Overtaken, ..paid })));
    Ok(())
}
