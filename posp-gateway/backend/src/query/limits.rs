//! Who has limits, and what of them is used of a day (`backend.md` section 2).
//!
//! What a payer's account or a terminal has used is a row of its own. A merchant has none: what was handed out to its terminals, less what they have left of it,
//! is what they have used. A kind of account has nothing to use: each of its accounts has its own day.

use crate::api::{Limit, LimitReport, LimitScope, Limits, Report, Tally};
use crate::store::{Key, Kind, Record, Scan, Shares, Store, StoreFault, Usage, UsageOf};
use protocol::ids::MerchantId;
use protocol::money::Currency;
use protocol::time::CardDate;
use std::ops::ControlFlow;

/// At most `limit` of them, in the store's order.
pub(super) fn list<S: Store>(store: &mut S, day: CardDate, limit: u32) -> Result<Report, StoreFault> {
    let max = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut found, mut more) = (Vec::new(), false);
    store.scan(Scan::After(Kind::Limit, None), &mut |record| {
        let Record::Limit(limit) = record else { return ControlFlow::Continue(()) };
        if found.len() >= max {
            more = true;
            return ControlFlow::Break(());
        }
        found.push(limit);
        ControlFlow::Continue(())
    })?;
    let limits = found.into_iter().map(|limit| report(store, limit, day)).collect::<Result<_, _>>()?;
    Ok(Report::Limits(Limits { limits, more }))
}

fn report<S: Store>(store: &mut S, limit: Limit, day: CardDate) -> Result<LimitReport, StoreFault> {
    let (currency, used) = match limit.scope {
        LimitScope::Kind(_) => (None, None),
        LimitScope::Payer(account) => {
            let currency = match store.get(&Key::Account(account))? {
                Some(Record::Account(account)) => Some(account.currency),
                _ => None,
            };
            (currency, Some(used(store, UsageOf::Payer(account), day)?))
        }
        LimitScope::Terminal(terminal) => {
            let merchant = match store.get(&Key::Terminal(terminal))? {
                Some(Record::Terminal(terminal)) => currency_of(store, terminal.merchant)?,
                _ => None,
            };
            (merchant, Some(used(store, UsageOf::Terminal(terminal), day)?))
        }
        LimitScope::Merchant(merchant) => {
            (currency_of(store, merchant)?, Some(used_together(store, merchant, day)?))
        }
    };
    Ok(LimitReport { limit, currency, used })
}

fn currency_of<S: Store>(store: &mut S, merchant: MerchantId) -> Result<Option<Currency>, StoreFault> {
    Ok(match store.get(&Key::Merchant(merchant))? {
        Some(Record::Merchant(merchant)) => Some(merchant.currency),
        _ => None,
    })
}

/// The row of this day, or of a later one, if the clock went back since.
fn usage<S: Store>(store: &mut S, of: UsageOf, day: CardDate) -> Result<Option<Usage>, StoreFault> {
    Ok(match store.get(&Key::Usage(of))? {
        Some(Record::Usage(usage)) if usage.day >= day => Some(usage),
        _ => None,
    })
}

fn used<S: Store>(store: &mut S, of: UsageOf, day: CardDate) -> Result<Tally, StoreFault> {
    Ok(usage(store, of, day)?.map_or_else(Tally::default, |usage| usage.used))
}

/// What was handed out to a merchant's terminals, less what they have left of it.
fn used_together<S: Store>(store: &mut S, merchant: MerchantId, day: CardDate) -> Result<Tally, StoreFault> {
    let shares = match store.get(&Key::Shares(merchant))? {
        Some(Record::Shares(shares)) if shares.day >= day => shares,
        _ => return Ok(Tally::default()),
    };
    let Shares { day, granted, terminals, .. } = *shares;
    let mut used = granted;
    for terminal in terminals {
        if let Some(usage) = usage(store, UsageOf::Terminal(terminal), day)?.filter(|usage| usage.day == day)
        {
            used.minor = used.minor.saturating_sub(usage.left.minor);
            used.count = used.count.saturating_sub(usage.left.count);
        }
    }
    Ok(used)
}
