//! Double entry: accounts, immutable transfers, holds, limits.
//!
//! The shape is the one the best ledgers converged on: a transfer moves an amount from one account (debit) to another
//! (credit) and never changes afterwards. A *hold* is a pending transfer: it counts against the limit at once and moves money
//! only when another transfer posts it, wholly or in part; what is not posted is released. A hold resolves at most once, by a post, a void or
//! its time-out, and never afterwards. Several transfers that are linked apply all or none.
//!
//! Running balances exist only where a limit is checked against them ([`AccountFlags::limited`]): merchant and system
//! accounts would be the hottest rows of all, so they have none and are summed from the transfers when somebody asks.
//!
//! [`rules`] decides; [`Ledger`] is the batch-first interface over a store; [`chart`] names the accounts.

pub mod chart;
#[cfg(test)]
mod interleaved;
pub(crate) mod ledger;
pub mod rules;
#[cfg(test)]
mod tests;

pub use ledger::{Balances, Ledger};

use protocol::money::{Amount, Currency};
use protocol::time::Wall;

/// An account: 128 bits. [`chart`] makes ids that say what they are; the ledger itself accepts any but 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u128);

/// What an account is for (a row of the chart of accounts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountCode(pub u16);

/// Why money moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferCode(pub u16);

/// The number of a transfer: assigned by the ledger, only grows, without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferSeq(pub u64);

/// The caller's own name for a transfer; a column, not a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference(pub u128);

/// The number of a transaction (`transactions`), to which transfers belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionSeq(pub u64);

/// What an account may not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AccountFlags {
    /// What was debited and is held may not exceed what was credited (a payer's account).
    pub debits_must_not_exceed_credits: bool,
    /// What was credited and is held may not exceed what was debited.
    pub credits_must_not_exceed_debits: bool,
    /// No new transfer or hold; holds made before still resolve.
    pub closed: bool,
}

impl AccountFlags {
    /// Whether a limit is checked, and therefore running totals are kept.
    #[must_use]
    pub const fn limited(self) -> bool {
        self.debits_must_not_exceed_credits || self.credits_must_not_exceed_debits
    }

    /// As kept in a store.
    #[must_use]
    pub const fn bits(self) -> u8 {
        (self.debits_must_not_exceed_credits as u8)
            | ((self.credits_must_not_exceed_debits as u8) << 1)
            | ((self.closed as u8) << 2)
    }

    /// From a store.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self {
            debits_must_not_exceed_credits: bits & 1 != 0,
            credits_must_not_exceed_debits: bits & 2 != 0,
            closed: bits & 4 != 0,
        }
    }
}

/// Four sums, in minor units of the account's currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Held on the debit side.
    pub debits_pending: u64,
    /// Posted on the debit side.
    pub debits_posted: u64,
    /// Held on the credit side.
    pub credits_pending: u64,
    /// Posted on the credit side.
    pub credits_posted: u64,
}

impl Totals {
    /// What a payer may still spend: posted credits, less posted and held debits; 0 if they exceed.
    #[must_use]
    pub const fn available_credit(&self) -> u64 {
        self.credits_posted.saturating_sub(self.debits_posted.saturating_add(self.debits_pending))
    }

    /// Posted credits less posted debits, with its sign.
    #[must_use]
    pub fn net_credit(&self) -> i128 {
        i128::from(self.credits_posted).saturating_sub(i128::from(self.debits_posted))
    }
}

/// An account as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// The one currency it holds.
    pub currency: Currency,
    /// What it is for.
    pub code: AccountCode,
    /// What it may not do.
    pub flags: AccountFlags,
    /// Running totals; all zero unless [`AccountFlags::limited`].
    pub running: Totals,
    /// When it was created.
    pub created: Wall,
}

/// An account to create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewAccount {
    /// Its id.
    pub id: AccountId,
    /// The one currency it will hold.
    pub currency: Currency,
    /// What it is for.
    pub code: AccountCode,
    /// What it may not do.
    pub flags: AccountFlags,
}

/// What a transfer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferKind {
    /// Moves money at once.
    Posted,
    /// Holds money, until `expires` if there is such a time.
    Pending {
        /// From this moment on the hold can no longer be posted.
        expires: Option<Wall>,
    },
    /// Posts a hold: its amount may be less than the hold's, and the rest is released.
    Post {
        /// The hold.
        of: TransferSeq,
    },
    /// Releases a hold.
    Void {
        /// The hold.
        of: TransferSeq,
    },
    /// Released by the ledger itself, because the hold's time was up.
    Expire {
        /// The hold.
        of: TransferSeq,
    },
}

/// A transfer as it was applied. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Its number.
    pub seq: TransferSeq,
    /// The caller's own name for it.
    pub reference: Reference,
    /// From this account…
    pub debit: AccountId,
    /// …to this one.
    pub credit: AccountId,
    /// How much. For a void or an expiry: what was released.
    pub amount: Amount,
    /// Why.
    pub code: TransferCode,
    /// What it does.
    pub kind: TransferKind,
    /// The transaction it belongs to.
    pub transaction: Option<TransactionSeq>,
    /// When it was applied.
    pub at: Wall,
}

/// A transfer to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewTransfer {
    /// The caller's own name for it.
    pub reference: Reference,
    /// What it does, between whom.
    pub order: Order,
    /// Why.
    pub code: TransferCode,
    /// The transaction it belongs to.
    pub transaction: Option<TransactionSeq>,
    /// Stands or falls together with the next one.
    pub linked: bool,
}

/// The part of a new transfer that differs by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Move money at once.
    Post {
        /// From.
        debit: AccountId,
        /// To.
        credit: AccountId,
        /// How much, above zero.
        amount: Amount,
    },
    /// Hold money.
    Hold {
        /// From.
        debit: AccountId,
        /// To.
        credit: AccountId,
        /// How much, above zero.
        amount: Amount,
        /// When the hold is over, if ever.
        expires: Option<Wall>,
    },
    /// Post a hold: wholly (`None`) or this much of it, above zero.
    PostHold {
        /// The hold.
        of: TransferSeq,
        /// How much.
        amount: Option<Amount>,
    },
    /// Release a hold.
    VoidHold {
        /// The hold.
        of: TransferSeq,
    },
}

/// How a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldState {
    /// Counts against the limits.
    Open,
    /// Posted, wholly or in part.
    Posted,
    /// Released on request.
    Voided,
    /// Released because its time was up.
    Expired,
}

/// The one changing fact about a pending transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The pending transfer.
    pub seq: TransferSeq,
    /// From.
    pub debit: AccountId,
    /// To.
    pub credit: AccountId,
    /// How much.
    pub amount: Amount,
    /// When it is over.
    pub expires: Option<Wall>,
    /// How it stands.
    pub state: HoldState,
    /// Why it was made (its expiry carries the same code).
    pub code: TransferCode,
    /// The transaction it belongs to.
    pub transaction: Option<TransactionSeq>,
}

/// Why an account was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountRejection {
    /// Id 0.
    #[error("account id 0 is not an account")]
    ZeroId,
    /// It exists with the very same properties: nothing to do.
    #[error("the account exists already")]
    Exists,
    /// It exists with other properties.
    #[error("an account with this id and other properties exists")]
    ExistsDifferent,
    /// Both limits at once would forbid every transfer.
    #[error("an account cannot limit both its debits and its credits")]
    BothLimits,
}

/// Why a transfer was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferRejection {
    /// Another transfer of its chain was refused; this one would have been applied.
    #[error("another transfer of the chain was refused")]
    LinkedFailed,
    /// The batch ended inside a chain.
    #[error("the batch ends inside a chain of linked transfers")]
    ChainOpen,
    /// Nothing to move.
    #[error("amount is zero")]
    AmountZero,
    /// More than a store can sum (63 bits).
    #[error("amount is too large")]
    AmountTooLarge,
    /// No such account on the debit side.
    #[error("no such account on the debit side")]
    DebitAccountNotFound,
    /// No such account on the credit side.
    #[error("no such account on the credit side")]
    CreditAccountNotFound,
    /// From an account to itself.
    #[error("debit and credit account are the same")]
    SameAccount,
    /// An account has another currency than the amount.
    #[error("the amount is in another currency than the accounts")]
    CurrencyMismatch,
    /// The debit account is closed.
    #[error("the debit account is closed")]
    DebitAccountClosed,
    /// The credit account is closed.
    #[error("the credit account is closed")]
    CreditAccountClosed,
    /// The debit account's limit.
    #[error("the debit account's funds do not suffice")]
    ExceedsCredits,
    /// The credit account's limit.
    #[error("the credit account's debits would be exceeded")]
    ExceedsDebits,
    /// A running total would not fit.
    #[error("a running total would overflow")]
    Overflow,
    /// No such hold.
    #[error("no such hold")]
    HoldNotFound,
    /// It was posted.
    #[error("the hold was posted before")]
    HoldPosted,
    /// It was released.
    #[error("the hold was released before")]
    HoldVoided,
    /// Its time is up.
    #[error("the hold has expired")]
    HoldExpired,
    /// More than was held.
    #[error("more than the hold's amount")]
    ExceedsHold,
    /// A hold that would be over before it begins.
    #[error("the hold's end is not in the future")]
    ExpiresInPast,
}

/// Largest amount of one transfer, so that a store's signed 64-bit sums of many still have room to be checked.
pub const AMOUNT_MAX: u64 = i64::MAX as u64 >> 8;
