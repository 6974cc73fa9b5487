//! Limits of online payments (`backend.md` section 2): who may spend or take in how much, at once and in a day.

use super::Tally;
use crate::accounts::AccountId;
use crate::accounts::chart::FundingKind;
use protocol::ids::{MerchantId, TerminalId};
use protocol::money::Currency;

/// Whose limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitScope {
    /// Every payer's account of this kind that has none of its own.
    Kind(FundingKind),
    /// One payer's account, instead of its kind's.
    Payer(AccountId),
    /// A terminal.
    Terminal(TerminalId),
    /// A merchant: all its terminals together.
    Merchant(MerchantId),
}

/// What is allowed, in minor units of the account's or the merchant's currency; `None`: no limit. A day is the gateway's local day. What counts is
/// approved purchases and pre-authorisations that are neither voided nor reversed, and for a payer's account loads whose money was not released, from the
/// first of them after the first limit was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Whose.
    pub scope: LimitScope,
    /// Largest single payment (else 61).
    pub payment_max: Option<u64>,
    /// Most in a day (else 61).
    pub day_sum_max: Option<u64>,
    /// How many in a day (else 65).
    pub day_count_max: Option<u32>,
}

/// Limits that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Them, by whose they are.
    pub limits: Vec<LimitReport>,
    /// There are more.
    pub more: bool,
}

/// A limit, and what is used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReport {
    /// The limit.
    pub limit: Limit,
    /// Currency of its amounts; a kind of account has none.
    pub currency: Option<Currency>,
    /// What was used of the day; a kind of account uses nothing, each of its accounts does.
    pub used: Option<Tally>,
}
