//! Limits of online payments (`backend.md` section 2): who may spend or take in how much, at once and in a day.

use crate::accounts::AccountId;
use crate::accounts::chart::FundingKind;
use protocol::ids::{MerchantId, TerminalId};

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
