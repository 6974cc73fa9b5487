//! What an operator registers. Every request is idempotent: the same again answers "exists", another content is refused.

use crate::accounts::chart::{Book, FundingKind, FundingNumber, IssuerNumber, MerchantNumber, code};
use crate::accounts::rules::{self, Books, Halt};
use crate::accounts::{AMOUNT_MAX, AccountRejection, NewTransfer, Order, Reference};
use crate::api::{AdminAnswer, AdminRefusal, AdminRequest, AlertKind, CardStatus, LimitScope};
use crate::cards;
use crate::engine::Desk;
use crate::store::{
    CardId, Issuer, Merchant, OfflineRecord, Record, RecordStanding, Registry, Sam, Scan, Store, StoreFault,
    Terminal, Working,
};
use crate::transactions::limits;
use protocol::ids::{BatchNo, IssuerId, MerchantId, SamTerminal, TerminalId};
use protocol::money::{Amount, Currency};
use protocol::purse::Moment;
use std::ops::ControlFlow;

/// Most diversification factors above a card's own.
const UPPER_FACTORS_MAX: usize = 2;
/// Longest merchant name in bytes (field 43).
const NAME_MAX: usize = 40;
/// Most assignments remembered of one SAM.
const ASSIGNMENTS_MAX: usize = 256;
/// Most open records that one request looks at.
const OPEN_MAX: usize = 100_000;
/// Most gaps that one request tells.
const GAPS_MAX: usize = 1_000;

type Outcome = Result<AdminAnswer, StoreFault>;

const fn refused(why: AdminRefusal) -> Outcome {
    Ok(AdminAnswer::Refused(why))
}

fn created_or<T: PartialEq>(old: Option<T>, new: &T) -> Option<AdminAnswer> {
    old.map(|old| {
        if old == *new { AdminAnswer::Exists } else { AdminAnswer::Refused(AdminRefusal::ExistsDifferent) }
    })
}

/// Decides one request.
///
/// # Errors
/// The store failed.
pub(crate) fn handle<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    request: &AdminRequest,
) -> Outcome {
    match request {
        AdminRequest::AddIssuer { issuer, currency, upper_factors, load_limit } => {
            if upper_factors.len() > UPPER_FACTORS_MAX {
                return refused(AdminRefusal::OutOfBounds);
            }
            let (id, number) = (*issuer, IssuerNumber(0));
            let upper_factors = upper_factors.clone();
            add_issuer(
                working,
                desk,
                Issuer { id, number, currency: *currency, upper_factors, load_limit: *load_limit },
            )
        }
        AdminRequest::AddMerchant { merchant, name, currency } => {
            add_merchant(working, desk, *merchant, name, *currency)
        }
        AdminRequest::AddTerminal { terminal, merchant, acquirer } => {
            if working.merchant(*merchant)?.is_none() {
                return refused(AdminRefusal::NoMerchant);
            }
            let (id, merchant, acquirer) = (*terminal, *merchant, *acquirer);
            let new = Terminal { id, merchant, acquirer, open: None, newest: BatchNo(0) };
            let old = working.terminal(id)?.map(|old| Terminal { open: None, newest: BatchNo(0), ..old });
            if let Some(answer) = created_or(old, &new) {
                return Ok(answer);
            }
            working.put(Record::Terminal(new));
            Ok(AdminAnswer::Done)
        }
        AdminRequest::AssignSam { sam, terminal, from } => {
            let Some(place) = working.terminal(*terminal)? else { return refused(AdminRefusal::NoTerminal) };
            assign(working, *sam, *from, Some((place.id, place.merchant)))
        }
        AdminRequest::WithdrawSam { sam, from } => assign(working, *sam, *from, None),
        AdminRequest::AddFunding { kind, number, currency } => {
            create(working, desk, Book::Funding(*kind, *number), *currency)
        }
        AdminRequest::Fund { kind, number, amount, reference } => {
            fund(working, desk, Book::Funding(*kind, *number), *amount, *reference)
        }
        AdminRequest::CloseFunding { kind, number, currency } => {
            match rules::close_account(working, Book::Funding(*kind, *number).id(*currency))? {
                None => refused(AdminRefusal::NoFunding),
                Some(true) => Ok(AdminAnswer::Done),
                Some(false) => Ok(AdminAnswer::Exists),
            }
        }
        AdminRequest::AddPayer { token, kind, number, currency } => {
            let account = Book::Funding(*kind, *number).id(*currency);
            if working.account(account)?.is_none() {
                return refused(AdminRefusal::NoFunding);
            }
            if let Some(answer) = created_or(working.payer(*token)?, &account) {
                return Ok(answer);
            }
            working.put(Record::Payer(*token, account));
            Ok(AdminAnswer::Done)
        }
        AdminRequest::SetLimit(limit) => {
            let known = match limit.scope {
                LimitScope::Kind(_) => None,
                LimitScope::Payer(account) => {
                    working.account(account)?.is_none().then_some(AdminRefusal::NoFunding)
                }
                LimitScope::Terminal(of) => {
                    working.terminal(of)?.is_none().then_some(AdminRefusal::NoTerminal)
                }
                LimitScope::Merchant(of) => {
                    working.merchant(of)?.is_none().then_some(AdminRefusal::NoMerchant)
                }
            };
            let sums = [limit.payment_max, limit.day_sum_max];
            if sums.into_iter().flatten().any(|minor| minor > AMOUNT_MAX) {
                return refused(AdminRefusal::OutOfBounds);
            }
            match known {
                Some(why) => refused(why),
                None if limits::set(working, *limit)? => Ok(AdminAnswer::Exists),
                None => Ok(AdminAnswer::Done),
            }
        }
        other => about_card(working, desk, other),
    }
}

/// The requests about cards and their records.
fn about_card<S: Store>(working: &mut Working<'_, S>, desk: &Desk<'_>, request: &AdminRequest) -> Outcome {
    match request {
        AdminRequest::AddCard { issuer, asn, key_version, funding } => {
            let id = CardId { issuer: *issuer, asn: *asn };
            add_card(working, desk, id, *key_version, *funding)
        }
        AdminRequest::SetCardKeys { issuer, asn, key_version } => {
            let id = CardId { issuer: *issuer, asn: *asn };
            let Some(card) = working.card(id)? else { return refused(AdminRefusal::NoCard) };
            let known = card.key_version == *key_version;
            if !known {
                working.put(Record::Card(crate::store::Card { key_version: *key_version, ..card }));
            }
            // Known or not: another gateway may have held a record by the old version in the moment when this one changed it.
            match retry_card(working, desk, id)? {
                0 if known => Ok(AdminAnswer::Exists),
                count => Ok(AdminAnswer::Count(count)),
            }
        }
        AdminRequest::SetCardStatus { issuer, asn, status } => {
            set_status(working, desk, CardId { issuer: *issuer, asn: *asn }, *status)
        }
        AdminRequest::ReleaseLoad { issuer, asn, counter, transaction } => {
            let id = CardId { issuer: *issuer, asn: *asn };
            let Some(mut card) = working.card(id)? else { return refused(AdminRefusal::NoCard) };
            match cards::load::release(working, desk, &mut card, (*counter, *transaction))? {
                Ok(true) => Ok(AdminAnswer::Done),
                Ok(false) => Ok(AdminAnswer::Exists),
                Err(why) => refused(why),
            }
        }
        AdminRequest::CreditLoad { issuer, asn, counter, transaction } => {
            let id = CardId { issuer: *issuer, asn: *asn };
            let Some(issuer) = working.issuer(*issuer)? else { return refused(AdminRefusal::NoIssuer) };
            let Some(mut card) = working.card(id)? else { return refused(AdminRefusal::NoCard) };
            let of = (&issuer, &mut card);
            match cards::load::credit(working, desk, of, *counter, *transaction)? {
                Ok(()) => Ok(AdminAnswer::Done),
                Err(why) => refused(why),
            }
        }
        AdminRequest::ResolveUncertain { wait_ms } => {
            let open = open_records(working, |record| record.standing == RecordStanding::Uncertain)?;
            Ok(AdminAnswer::Count(cards::uncertain::resolve(working, desk, &open, *wait_ms)?))
        }
        AdminRequest::DecideUncertain { sam, seq, pay } => {
            let open = working.record(*sam, *seq)?;
            let open = open.filter(|record| record.standing == RecordStanding::Uncertain);
            let Some(record) = open else { return refused(AdminRefusal::NoOpenRecord) };
            match cards::uncertain::decide(working, desk, &record, *pay)? {
                Ok(()) => Ok(AdminAnswer::Done),
                Err(why) => refused(why),
            }
        }
        AdminRequest::TellGaps { wait_ms } => tell_gaps(working, desk, *wait_ms),
        AdminRequest::RetryHeld { sam } => {
            let open = open_records(working, |record| {
                record.content.terminal == *sam && record.standing != RecordStanding::Uncertain
            })?;
            Ok(AdminAnswer::Count(cards::offline::retry_held(working, desk, &open)?))
        }
        // The caller has handled the others.
        _ => refused(AdminRefusal::OutOfBounds),
    }
}

/// Every counter that a card has used belongs to a record sooner or later: one that is missing for long is a terminal that does not upload.
fn tell_gaps<S: Store>(working: &mut Working<'_, S>, desk: &Desk<'_>, wait_ms: u64) -> Outcome {
    let wait = i64::try_from(wait_ms).unwrap_or(i64::MAX);
    let before = protocol::time::Wall(desk.now.0.saturating_sub(wait));
    let mut gaps = Vec::new();
    working.store().scan(Scan::Gaps(before), &mut |record| {
        if let Record::Card(card) = record {
            gaps.push(card);
        }
        if gaps.len() >= GAPS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let mut told = 0u32;
    for found in gaps {
        // As this batch has left it: the scan saw what was committed.
        let Some(card) = working.card(found.id)? else { continue };
        if card.gap_since.is_none_or(|since| since >= before) {
            continue;
        }
        cards::alert(working, desk, AlertKind::Gap, Some((card.id.issuer, card.id.asn)), None, None);
        // Told again after as long.
        working.put(Record::Card(crate::store::Card { gap_since: Some(desk.now), ..card }));
        told = told.saturating_add(1);
    }
    Ok(AdminAnswer::Count(told))
}

/// Open records, by SAM and number, as this batch has left them: the scan sees what was committed, one that was proved meanwhile
/// must not be decided once more, and one that came in this batch is open too.
///
/// # Errors
/// The store failed.
pub(crate) fn open_records<S: Store>(
    working: &mut Working<'_, S>,
    wanted: impl Fn(&OfflineRecord) -> bool,
) -> Result<Vec<OfflineRecord>, StoreFault> {
    let open = |record: &OfflineRecord| is_open(record.standing) && wanted(record);
    let mut found = std::collections::BTreeSet::new();
    working.store().scan(Scan::OpenRecords, &mut |record| {
        if let Record::Record(record) = record
            && open(&record)
        {
            found.insert((record.content.terminal, record.content.term_seq));
        }
        if found.len() >= OPEN_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    found.extend(working.staged_records().map(|record| (record.content.terminal, record.content.term_seq)));
    let mut records = Vec::with_capacity(found.len());
    for (sam, seq) in found {
        records.extend(working.record(sam, seq)?.filter(&open));
    }
    Ok(records)
}

const fn is_open(standing: RecordStanding) -> bool {
    matches!(standing, RecordStanding::Uncertain | RecordStanding::Held | RecordStanding::Unverified)
}

/// Creates an account of the chart; one that exists already is fine.
fn create<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    book: Book,
    currency: Currency,
) -> Outcome {
    match rules::create_account(working, &book.new_account(currency), desk.now)? {
        Ok(_) => Ok(AdminAnswer::Done),
        Err(AccountRejection::Exists) => Ok(AdminAnswer::Exists),
        Err(_) => refused(AdminRefusal::ExistsDifferent),
    }
}

fn create_all<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    books: &[Book],
    currency: Currency,
) -> Result<(), StoreFault> {
    books.iter().try_for_each(|book| create(working, desk, *book, currency).map(|_| ()))
}

fn add_issuer<S: Store>(working: &mut Working<'_, S>, desk: &Desk<'_>, issuer: Issuer) -> Outcome {
    let old = working.issuer(issuer.id)?.map(|old| Issuer { number: IssuerNumber(0), ..old });
    if let Some(answer) = created_or(old, &issuer) {
        return Ok(answer);
    }
    let registry = working.registry()?;
    let number = IssuerNumber(registry.issuers.saturating_add(1));
    create_all(working, desk, &Book::SYSTEM, issuer.currency)?;
    create_all(working, desk, &Book::of_issuer(number), issuer.currency)?;
    working.put(Record::Registry(Registry { issuers: number.0, ..registry }));
    working.put(Record::Issuer(Issuer { number, ..issuer }));
    Ok(AdminAnswer::Done)
}

fn add_merchant<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    id: MerchantId,
    name: &str,
    currency: Currency,
) -> Outcome {
    if name.is_empty() || name.len() > NAME_MAX {
        return refused(AdminRefusal::OutOfBounds);
    }
    let new = Merchant { id, number: MerchantNumber(0), name: name.to_owned(), currency };
    let old = working.merchant(id)?.map(|old| Merchant { number: MerchantNumber(0), ..old });
    if let Some(answer) = created_or(old, &new) {
        return Ok(answer);
    }
    let registry = working.registry()?;
    let number = MerchantNumber(registry.merchants.saturating_add(1));
    create_all(working, desk, &Book::SYSTEM, currency)?;
    create_all(working, desk, &[Book::MerchantPayable(number)], currency)?;
    working.put(Record::Registry(Registry { merchants: number.0, ..registry }));
    working.put(Record::Merchant(Merchant { number, ..new }));
    Ok(AdminAnswer::Done)
}

fn assign<S: Store>(
    working: &mut Working<'_, S>,
    number: SamTerminal,
    from: Moment,
    place: Option<(TerminalId, MerchantId)>,
) -> Outcome {
    let mut sam = working.sam(number)?.unwrap_or(Sam { number, assignments: Vec::new() });
    if sam.assignments.contains(&(from, place)) {
        return Ok(AdminAnswer::Exists);
    }
    if sam.assignments.len() >= ASSIGNMENTS_MAX {
        return refused(AdminRefusal::OutOfBounds);
    }
    // It was there before it was registered. Nothing of that time is booked yet, so nobody is paid differently: its records wait for this.
    if sam.assignments.first().is_some_and(|(first, at)| from < *first && *at == place) {
        sam.assignments.insert(0, (from, place));
        working.put(Record::Sam(sam));
        return Ok(AdminAnswer::Done);
    }
    if sam.assignments.last().is_some_and(|(last, _)| from <= *last) {
        return refused(AdminRefusal::NotForward);
    }
    sam.assignments.push((from, place));
    working.put(Record::Sam(sam));
    Ok(AdminAnswer::Done)
}

fn fund<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    account: Book,
    amount: Amount,
    reference: u64,
) -> Outcome {
    let credit = account.id(amount.currency());
    if let Some(seq) = working.arrival(reference)? {
        let old = working.transfer(seq)?.map(|old| (old.credit, old.amount));
        return Ok(created_or(old, &(credit, amount)).unwrap_or(AdminAnswer::Exists));
    }
    if working.account(credit)?.is_none() {
        return refused(AdminRefusal::NoFunding);
    }
    create_all(working, desk, &Book::SYSTEM, amount.currency())?;
    let debit = Book::Settlement.id(amount.currency());
    let new = NewTransfer {
        reference: Reference(u128::from(reference)),
        order: Order::Post { debit, credit, amount },
        code: code::FUND,
        transaction: None,
        linked: false,
    };
    match rules::apply(working, &new, desk.now) {
        Ok(seq) => {
            working.put(Record::Arrival(reference, seq));
            Ok(AdminAnswer::Done)
        }
        Err(Halt::Rejected(rejection)) => refused(AdminRefusal::Ledger(rejection)),
        Err(Halt::Fault(fault)) => Err(fault),
    }
}

/// Books the records of a card that waited for its keys' right version.
fn retry_card<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    id: CardId,
) -> Result<u32, StoreFault> {
    let open = open_records(working, |record| {
        (record.content.issuer, record.content.asn) == (id.issuer, id.asn)
            && record.standing == RecordStanding::Unverified
    })?;
    cards::offline::retry_held(working, desk, &open)
}

fn add_card<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    id: CardId,
    key_version: protocol::ids::KeyVersion,
    funding: Option<(FundingKind, FundingNumber)>,
) -> Outcome {
    let Some(issuer) = working.issuer(id.issuer)? else { return refused(AdminRefusal::NoIssuer) };
    let funding = funding.map(|(kind, number)| Book::Funding(kind, number).id(issuer.currency));
    if let Some(funding) = funding
        && working.account(funding)?.is_none()
    {
        return refused(AdminRefusal::NoFunding);
    }
    let known = working.card(id)?;
    // A card that its records made known before it was registered: what they said about it stays.
    if let Some(card) = known.filter(|card| card.funding.is_none() && funding.is_some()) {
        working.put(Record::Card(crate::store::Card { funding, key_version, ..card }));
        if card.key_version != key_version {
            retry_card(working, desk, id)?;
        }
        return Ok(AdminAnswer::Done);
    }
    let old = known.map(|old| (old.key_version, old.funding));
    if let Some(answer) = created_or(old, &(key_version, funding)) {
        return Ok(answer);
    }
    let card = cards::new_card(IssuerId(id.issuer.0), id.asn, key_version);
    working.put(Record::Card(crate::store::Card { funding, ..card }));
    Ok(AdminAnswer::Done)
}

fn set_status<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    id: CardId,
    status: CardStatus,
) -> Outcome {
    let Some(mut card) = working.card(id)? else { return refused(AdminRefusal::NoCard) };
    if card.status == status {
        return Ok(AdminAnswer::Exists);
    }
    cards::deny::set(working, desk, &mut card, status)?;
    working.put(Record::Card(card));
    Ok(AdminAnswer::Done)
}
