//! The kinds of records, for going through a whole store piece by piece: audit, backup and restore.

use super::{Key, Record};

/// A kind of record. [`Record::Identity`] has none: it is an index that a store derives from transactions and batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Numbers given out.
    Registry,
    /// Issuers.
    Issuer,
    /// Merchants.
    Merchant,
    /// Terminals.
    Terminal,
    /// SAMs with their places.
    Sam,
    /// Accounts of PANs.
    Payer,
    /// Accounts.
    Account,
    /// Transfers.
    Transfer,
    /// States of holds.
    Hold,
    /// Money that arrived.
    Arrival,
    /// Batches of terminals.
    Batch,
    /// Transactions.
    Transaction,
    /// Items uploaded for batches.
    Upload,
    /// Cards.
    Card,
    /// Loads.
    Load,
    /// Offline records.
    Record,
    /// Whose counters are.
    Claim,
    /// Counters paid by policy.
    Resolution,
    /// Limits.
    Limit,
    /// What was used of limited days.
    Usage,
    /// How merchants' limited days are shared.
    Shares,
    /// Alerts.
    Alert,
    /// Links of the chain.
    Link,
}

impl Kind {
    /// All kinds, in the order in which a store can take them in: what refers comes after what it refers to, and links, which say that a
    /// store is whole, come last.
    pub const ALL: [Self; 23] = [
        Self::Registry,
        Self::Issuer,
        Self::Merchant,
        Self::Terminal,
        Self::Sam,
        Self::Payer,
        Self::Account,
        Self::Transfer,
        Self::Hold,
        Self::Arrival,
        Self::Batch,
        Self::Transaction,
        Self::Upload,
        Self::Card,
        Self::Load,
        Self::Record,
        Self::Claim,
        Self::Resolution,
        Self::Limit,
        Self::Usage,
        Self::Shares,
        Self::Alert,
        Self::Link,
    ];
}

impl Record {
    /// Its kind; `None` of an index.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Registry(_) => Kind::Registry,
            Self::Issuer(_) => Kind::Issuer,
            Self::Merchant(_) => Kind::Merchant,
            Self::Terminal(_) => Kind::Terminal,
            Self::Sam(_) => Kind::Sam,
            Self::Payer(..) => Kind::Payer,
            Self::Account(_) => Kind::Account,
            Self::Transfer(_) => Kind::Transfer,
            Self::Hold(_) => Kind::Hold,
            Self::Arrival(..) => Kind::Arrival,
            Self::Batch(_) => Kind::Batch,
            Self::Transaction(_) => Kind::Transaction,
            Self::Upload(..) => Kind::Upload,
            Self::Card(_) => Kind::Card,
            Self::Load(_) => Kind::Load,
            Self::Record(_) => Kind::Record,
            Self::Claim(..) => Kind::Claim,
            Self::Resolution(..) => Kind::Resolution,
            Self::Limit(_) => Kind::Limit,
            Self::Usage(_) => Kind::Usage,
            Self::Shares(_) => Kind::Shares,
            Self::Alert(..) => Kind::Alert,
            Self::Link(_) => Kind::Link,
            Self::Identity(..) => return None,
        })
    }
}

impl Key {
    /// The kind of record that it finds; `None` of an index.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Registry => Kind::Registry,
            Self::Issuer(_) => Kind::Issuer,
            Self::Merchant(_) => Kind::Merchant,
            Self::Terminal(_) => Kind::Terminal,
            Self::Sam(_) => Kind::Sam,
            Self::Payer(_) => Kind::Payer,
            Self::Account(_) => Kind::Account,
            Self::Transfer(_) => Kind::Transfer,
            Self::Hold(_) => Kind::Hold,
            Self::Arrival(_) => Kind::Arrival,
            Self::Batch(..) => Kind::Batch,
            Self::Transaction(_) => Kind::Transaction,
            Self::Upload(..) => Kind::Upload,
            Self::Card(_) => Kind::Card,
            Self::Load(..) => Kind::Load,
            Self::Record(..) => Kind::Record,
            Self::Claim(..) => Kind::Claim,
            Self::Resolution(..) => Kind::Resolution,
            Self::Limit(_) => Kind::Limit,
            Self::Usage(_) => Kind::Usage,
            Self::Shares(_) => Kind::Shares,
            Self::Alert(_) => Kind::Alert,
            Self::Link(_) => Kind::Link,
            Self::Identity(_) => return None,
        })
    }
}
