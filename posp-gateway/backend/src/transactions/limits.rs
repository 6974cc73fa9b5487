//! Limits and risk of online payments (`backend.md` section 2): per payer's account or its kind, terminal and merchant; at once and in a day.
//!
//! What a payer's account or a terminal has used of its day is one row, which only that account's or that terminal's payments change: they
//! change the account's totals and the terminal's batch anyway. A merchant has no such row. Its limits of the day are handed out to its terminals in
//! shares, each an eighth of what is still free, so that shares get smaller towards the end and a terminal asks anew only now and then. When
//! what is free does not suffice, every terminal gives back what it has left, and only then is a payment refused: so a merchant's limit is
//! exact, whatever order its terminals pay in. (Bounded counters; decision 11.)
//!
//! A load from a payer's account counts for that account, and for nobody else: no merchant takes it in.
//!
//! Void, reversal and a load's release give back what they undo. A void that is itself reversed counts again, without being asked.

use crate::accounts::chart::FundingKind;
use crate::accounts::{AccountId, TransactionSeq};
use crate::api::{Limit, LimitScope, Tally};
use crate::engine::Desk;
use crate::store::{
    GatewayNo, Record, Shares, Store, StoreFault, Transaction, TransactionKind, Usage, UsageOf, Working,
};
use protocol::ids::{MerchantId, TerminalId};
use protocol::iso8583::typed::ResponseCode;
use protocol::money::Amount;
use protocol::time::CardDate;

/// What a limit that is not set allows: more than there is.
const UNLIMITED: Tally = Tally { minor: i64::MAX.unsigned_abs(), count: u32::MAX };
/// A share is this part of what is free.
const SHARE: u64 = 8;
/// Most terminals of a merchant that have something left at a time; the next one makes all give back.
const TERMINALS_MAX: usize = 4096;

/// Whose limits a payment falls under.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parties {
    pub(crate) payer: AccountId,
    pub(crate) terminal: TerminalId,
    pub(crate) merchant: MerchantId,
}

/// A payment that is within every limit, not counted yet.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    counted: Vec<Record>,
}

impl Admission {
    /// The payment was approved: it counts.
    pub(crate) fn count<S: Store>(self, working: &mut Working<'_, S>) {
        self.counted.into_iter().for_each(|record| working.put(record));
    }
}

/// Whether a payment is within every limit (else field 39: 61 or 65).
pub(crate) fn admit<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    parties: Parties,
    seq: TransactionSeq,
    amount: Amount,
) -> Result<Result<Admission, ResponseCode>, StoreFault> {
    let of_terminal = working.limit(LimitScope::Terminal(parties.terminal))?;
    let of_merchant = working.limit(LimitScope::Merchant(parties.merchant))?;
    let minor = amount.minor();
    if let Err(code) = at_once([of_terminal, of_merchant].iter().flatten(), minor) {
        return Ok(Err(code));
    }
    let mut admission = match admit_payer(working, desk, parties.payer, seq, amount)? {
        Ok(admission) => admission,
        Err(code) => return Ok(Err(code)),
    };
    let today = desk.moment.date;
    if of_terminal.is_none() && of_merchant.is_none() {
        return Ok(Ok(admission));
    }
    let of = UsageOf::Terminal(parties.terminal);
    let shares = working.shares(parties.merchant)?;
    let today = shares.as_ref().map_or(today, |shares| shares.day.max(today));
    let max = of_terminal.as_ref().map_or(UNLIMITED, day_max);
    let mut usage = match used_of_the_day(working, of, (today, seq), minor, max)? {
        Ok(usage) => usage,
        Err(code) => return Ok(Err(code)),
    };
    if let Some(limit) = of_merchant {
        let shares = shares.filter(|shares| shares.day >= usage.day).unwrap_or(Shares {
            merchant: parties.merchant,
            day: usage.day,
            since: seq,
            granted: Tally::default(),
            terminals: Vec::new(),
        });
        match take(working, shares, parties.terminal, &mut usage, minor, day_max(&limit))? {
            Ok(Some(shares)) => admission.counted.push(Record::Shares(Box::new(shares))),
            Ok(None) => {}
            Err(code) => return Ok(Err(code)),
        }
    }
    admission.counted.push(Record::Usage(usage));
    Ok(Ok(admission))
}

/// Whether a payment is within the limits of the payer's account (else field 39: 61 or 65).
fn admit_payer<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    payer: AccountId,
    seq: TransactionSeq,
    amount: Amount,
) -> Result<Result<Admission, ResponseCode>, StoreFault> {
    admit_candidate(working, desk, (payer, seq), (amount, amount), None)
}

/// The same for a load, one of those that a card asked for at one counter: its payer pays for one of them only, so all count as one with `held`, the
/// largest, in place of what `before` counts with.
pub(crate) fn admit_candidate<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    (payer, seq): (AccountId, TransactionSeq),
    (amount, held): (Amount, Amount),
    before: Option<(&Transaction, Amount)>,
) -> Result<Result<Admission, ResponseCode>, StoreFault> {
    let Some(limit) = payer_limit(working, payer)? else { return Ok(Ok(Admission::default())) };
    if let Err(code) = at_once([&limit], amount.minor()) {
        return Ok(Err(code));
    }
    let of = UsageOf::Payer(payer);
    let mut usage = current(working.usage(of)?, of, desk.moment.date, seq);
    if let Some((before, held)) = before
        && counted(working, before, usage.since)?
    {
        usage.used = usage.used.minus(held.minor());
    }
    Ok(within(usage.used, held.minor(), day_max(&limit))
        .map(|used| Admission { counted: vec![Record::Usage(Usage { used, ..usage })] }))
}

/// Whether no limit forbids a payment of this size.
fn at_once<'l>(limits: impl IntoIterator<Item = &'l Limit>, minor: u64) -> Result<(), ResponseCode> {
    let exceeded = limits.into_iter().filter_map(|limit| limit.payment_max).any(|max| minor > max);
    if exceeded { Err(ResponseCode::AMOUNT_LIMIT) } else { Ok(()) }
}

/// What is used of the day with one more payment, if that is within `max`.
fn used_of_the_day<S: Store>(
    working: &mut Working<'_, S>,
    of: UsageOf,
    (today, seq): (CardDate, TransactionSeq),
    minor: u64,
    max: Tally,
) -> Result<Result<Usage, ResponseCode>, StoreFault> {
    let usage = current(working.usage(of)?, of, today, seq);
    Ok(within(usage.used, minor, max).map(|used| Usage { used, ..usage }))
}

/// The account's own limit, or its kind's.
fn payer_limit<S: Store>(
    working: &mut Working<'_, S>,
    payer: AccountId,
) -> Result<Option<Limit>, StoreFault> {
    if let Some(own) = working.limit(LimitScope::Payer(payer))? {
        return Ok(Some(own));
    }
    match FundingKind::of(payer) {
        Some(kind) => working.limit(LimitScope::Kind(kind)),
        None => Ok(None),
    }
}

fn day_max(limit: &Limit) -> Tally {
    Tally {
        minor: limit.day_sum_max.unwrap_or(UNLIMITED.minor).min(UNLIMITED.minor),
        count: limit.day_count_max.unwrap_or(UNLIMITED.count),
    }
}

/// With one more payment, if that is within `max`.
fn within(used: Tally, minor: u64, max: Tally) -> Result<Tally, ResponseCode> {
    let more = used.plus(minor);
    if more.minor > max.minor {
        return Err(ResponseCode::AMOUNT_LIMIT);
    }
    if more.count > max.count { Err(ResponseCode::FREQUENCY) } else { Ok(more) }
}

/// The row of today: the one there is, or a new one. A clock that went back does not begin a day again.
fn current(old: Option<Usage>, of: UsageOf, today: CardDate, seq: TransactionSeq) -> Usage {
    let (used, left) = (Tally::default(), Tally::default());
    old.filter(|old| old.day >= today).unwrap_or(Usage { of, day: today, since: seq, used, left })
}

/// Takes a payment out of what the terminal has left, with a new share if that is too little. The merchant's row is changed only then.
fn take<S: Store>(
    working: &mut Working<'_, S>,
    mut shares: Shares,
    terminal: TerminalId,
    usage: &mut Usage,
    minor: u64,
    max: Tally,
) -> Result<Result<Option<Shares>, ResponseCode>, StoreFault> {
    if usage.left.minor >= minor && usage.left.count >= 1 {
        usage.left = usage.left.minus(minor);
        return Ok(Ok(None));
    }
    let listed = shares.terminals.contains(&terminal);
    let full = !listed && shares.terminals.len() >= TERMINALS_MAX;
    if full || !suffices(&shares, usage.left, minor, max) {
        give_back_all(working, &mut shares)?;
        usage.left = Tally::default();
        // It stays so, even if this payment is refused: the next one need not ask all terminals again.
        working.put(Record::Shares(Box::new(shares.clone())));
    }
    let free = free(&shares, max);
    let short =
        Tally { minor: minor.saturating_sub(usage.left.minor), count: 1u32.saturating_sub(usage.left.count) };
    if short.minor > free.minor {
        return Ok(Err(ResponseCode::AMOUNT_LIMIT));
    }
    if short.count > free.count {
        return Ok(Err(ResponseCode::FREQUENCY));
    }
    let share = Tally {
        minor: if short.minor == 0 { 0 } else { short.minor.max(free.minor / SHARE) },
        count: if short.count == 0 { 0 } else { short.count.max(free.count / 8) },
    };
    shares.granted = sum(shares.granted, share);
    usage.left = sum(usage.left, share).minus(minor);
    if !shares.terminals.contains(&terminal) {
        shares.terminals.push(terminal);
    }
    Ok(Ok(Some(shares)))
}

const fn sum(one: Tally, other: Tally) -> Tally {
    Tally { minor: one.minor.saturating_add(other.minor), count: one.count.saturating_add(other.count) }
}

const fn less(one: Tally, other: Tally) -> Tally {
    Tally { minor: one.minor.saturating_sub(other.minor), count: one.count.saturating_sub(other.count) }
}

const fn free(shares: &Shares, max: Tally) -> Tally {
    less(max, shares.granted)
}

fn suffices(shares: &Shares, left: Tally, minor: u64, max: Tally) -> bool {
    let free = free(shares, max);
    left.minor.saturating_add(free.minor) >= minor && left.count.saturating_add(free.count) >= 1
}

/// Every terminal gives back what it has left.
fn give_back_all<S: Store>(working: &mut Working<'_, S>, shares: &mut Shares) -> Result<(), StoreFault> {
    for terminal in std::mem::take(&mut shares.terminals) {
        let Some(usage) = working.usage(UsageOf::Terminal(terminal))? else { continue };
        if usage.day == shares.day {
            shares.granted = less(shares.granted, usage.left);
            working.put(Record::Usage(Usage { left: Tally::default(), ..usage }));
        }
    }
    Ok(())
}

/// Sets a limit. Whether it was so already. What terminals have left of a merchant's former limit is taken back.
pub(crate) fn set<S: Store>(working: &mut Working<'_, S>, limit: Limit) -> Result<bool, StoreFault> {
    if working.limit(limit.scope)? == Some(limit) {
        return Ok(true);
    }
    if let LimitScope::Merchant(merchant) = limit.scope
        && let Some(mut shares) = working.shares(merchant)?
    {
        give_back_all(working, &mut shares)?;
        working.put(Record::Shares(Box::new(shares)));
    }
    working.put(Record::Limit(limit));
    Ok(false)
}

/// Whether a transaction of this kind counts for its terminal and merchant. For its payer a load counts too: it is spent like any other money,
/// but no merchant takes it in.
const fn is_payment(kind: TransactionKind) -> bool {
    matches!(kind, TransactionKind::Purchase | TransactionKind::PreAuthorisation)
}

/// A payment was voided or reversed, or a load's money was released: if its day is still the one that is counted, it no longer counts. What it used goes back to the merchant,
/// not to the terminal: the limit may have been lowered below what is used.
pub(crate) fn give_back<S: Store>(working: &mut Working<'_, S>, of: &Transaction) -> Result<(), StoreFault> {
    let Some(used) = recount(working, of, Tally::minus)? else { return Ok(()) };
    if let Some((usage, mut shares)) = used {
        working.put(Record::Usage(usage));
        shares.granted = less(shares.granted, Tally { minor: minor_of(of), count: 1 });
        working.put(Record::Shares(Box::new(shares)));
    }
    Ok(())
}

/// A void was reversed, or the card had a load that was released: it counts again, even beyond a limit. Then nobody may have anything left.
pub(crate) fn count_again<S: Store>(
    working: &mut Working<'_, S>,
    of: &Transaction,
) -> Result<(), StoreFault> {
    let Some(used) = recount(working, of, Tally::plus)? else { return Ok(()) };
    let Some((usage, mut shares)) = used else { return Ok(()) };
    let wanted = Tally { minor: minor_of(of), count: 1 };
    working.put(Record::Usage(Usage { left: less(usage.left, wanted), ..usage }));
    shares.granted = sum(shares.granted, less(wanted, usage.left));
    let limit = working.limit(LimitScope::Merchant(shares.merchant))?;
    let max = limit.as_ref().map_or(UNLIMITED, day_max);
    if shares.granted.minor > max.minor || shares.granted.count > max.count {
        give_back_all(working, &mut shares)?;
    }
    working.put(Record::Shares(Box::new(shares)));
    Ok(())
}

/// What a payer has held for a load is less now, or nothing: so much less counts.
pub(crate) fn held_changed<S: Store>(
    working: &mut Working<'_, S>,
    newest: &Transaction,
    held: Amount,
    now: Option<Amount>,
) -> Result<(), StoreFault> {
    let changed = |used: Tally, _| {
        let without = used.minus(held.minor());
        now.map_or(without, |now| without.plus(now.minor()))
    };
    recount(working, newest, changed).map(|_| ())
}

fn minor_of(of: &Transaction) -> u64 {
    of.amount.map_or(0, Amount::minor)
}

/// Whether a payment was counted by a row that counts since this one. Only numbers of one gateway are in the order of time.
fn counted<S: Store>(
    working: &mut Working<'_, S>,
    of: &Transaction,
    since: TransactionSeq,
) -> Result<bool, StoreFault> {
    if GatewayNo::of(of.seq.0) == GatewayNo::of(since.0) {
        return Ok(of.seq >= since);
    }
    let first = working.transaction(since)?;
    Ok(first.is_some_and(|first| of.at >= first.at))
}

/// What a payment changed in its merchant's day: the terminal's row and the merchant's.
type OfMerchant = Option<(Usage, Shares)>;

/// Changes what a payment has left behind in the rows of payer and terminal. `None` if it was not counted for its terminal; inside, what
/// is left to do if it was counted for its merchant.
fn recount<S: Store>(
    working: &mut Working<'_, S>,
    of: &Transaction,
    used: impl Fn(Tally, u64) -> Tally,
) -> Result<Option<OfMerchant>, StoreFault> {
    let (true, Some(payer)) = (is_payment(of.kind) || of.kind == TransactionKind::Load, of.payer) else {
        return Ok(None);
    };
    let minor = minor_of(of);
    if let Some(usage) = working.usage(UsageOf::Payer(payer))?
        && counted(working, of, usage.since)?
    {
        working.put(Record::Usage(Usage { used: used(usage.used, minor), ..usage }));
    }
    if !is_payment(of.kind) {
        return Ok(None);
    }
    let Some(usage) = working.usage(UsageOf::Terminal(of.identity.terminal))? else { return Ok(None) };
    if !counted(working, of, usage.since)? {
        return Ok(None);
    }
    let usage = Usage { used: used(usage.used, minor), ..usage };
    if let Some(shares) = working.shares(of.identity.merchant)?
        && usage.day == shares.day
        && counted(working, of, shares.since)?
    {
        return Ok(Some(Some((usage, shares))));
    }
    working.put(Record::Usage(usage));
    Ok(Some(None))
}
