//! What a batch counts, and how its transactions are named when terminal and host compare them (field 48 and the batch upload).

use protocol::ids::{SamTerminal, Stan, TermSeq};
use protocol::money::Amount;

/// A sum and how many it is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Minor units of the batch's currency.
    pub minor: u64,
    /// How many.
    pub count: u32,
}

impl Tally {
    /// With one more.
    #[must_use]
    pub const fn plus(self, minor: u64) -> Self {
        Self { minor: self.minor.saturating_add(minor), count: self.count.saturating_add(1) }
    }

    /// With one less.
    #[must_use]
    pub const fn minus(self, minor: u64) -> Self {
        Self { minor: self.minor.saturating_sub(minor), count: self.count.saturating_sub(1) }
    }
}

/// Totals of a terminal's batch (F48 of 0500): debit = approved and unreversed purchases, completions and `done` offline records;
/// credit = refunds, voids of purchases and of completions; loads. Pre-authorisations and their voids are in none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchTotals {
    /// Purchases, completions, offline records.
    pub debits: Tally,
    /// Refunds and voids.
    pub credits: Tally,
    /// Loads approved and not reversed.
    pub loads: Tally,
}

/// One transaction of a terminal's batch, in an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadItem {
    /// Which column of the totals it counts in.
    pub side: Side,
    /// What the terminal calls it.
    pub key: ItemKey,
    /// Its amount in minor units.
    pub amount: Amount,
}

/// Column of the totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Purchases and offline records.
    Debit,
    /// Refunds and voids.
    Credit,
    /// Loads.
    Load,
}

/// How terminal and host name one transaction of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemKey {
    /// An online transaction, by its trace.
    Trace(Stan),
    /// An offline record.
    Record(SamTerminal, TermSeq),
}
