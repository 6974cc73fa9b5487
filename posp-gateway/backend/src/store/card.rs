//! The issuer's side in a store: what is believed about every card, its loads, and the offline records.

use super::CardId;
use crate::accounts::{AccountId, TransactionSeq, TransferSeq};
use crate::api::CardStatus;
use protocol::ids::{KeyVersion, MerchantId, OfflineCounter, OnlineCounter, SamTerminal};
use protocol::iso8583::f58::TransactionRecord;
use protocol::money::{Amount, CardAmount};
use protocol::purse::Moment;
use protocol::time::Wall;

/// A purse as the backend believes it to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    /// Which.
    pub id: CardId,
    /// Version of its keys.
    pub key_version: KeyVersion,
    /// The account that loads draw on.
    pub funding: Option<AccountId>,
    /// What it may do.
    pub status: CardStatus,
    /// The lowest online counter that its next load may show.
    pub next_online: OnlineCounter,
    /// The one counter with loads that are neither booked nor released: the next one shows that they are to be decided, so there is never a second.
    pub open_load: Option<OnlineCounter>,
    /// The newest offline counter that belongs to a record, proved or paid by policy, and the balance after it.
    pub newest: Option<(OfflineCounter, CardAmount)>,
    /// Posted loads, minor units.
    pub loaded: u64,
    /// Booked debits, forks not included, minor units.
    pub spent: u64,
    /// How many of its offline counters belong to a record, proved or paid by policy.
    pub claimed: u32,
    /// Since when counters below the newest belong to no record, or when a person was last told so.
    pub gap_since: Option<Wall>,
    /// Version of the deny list at which its status changed last.
    pub deny_version: DenyVersion,
}

/// Version of the deny list: one more with every card that goes on it or off it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DenyVersion(pub u32);

impl Card {
    /// How many counters below the newest belong to no record yet.
    #[must_use]
    pub fn missing(&self) -> u32 {
        let used = self.newest.map_or(0, |(counter, _)| u32::from(counter.0).saturating_add(1));
        used.saturating_sub(self.claimed)
    }

    /// What should be on the card, in minor units: posted loads less booked debits. Below zero while a load's receipt is under way.
    #[must_use]
    pub fn expected_balance(&self) -> i128 {
        i128::from(self.loaded).saturating_sub(i128::from(self.spent))
    }
}

/// How a load stands at the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadState {
    /// MAC2 was released; the card has not been heard of.
    Consented,
    /// The same, and the terminal reversed it.
    Disputed,
    /// The card was credited.
    Posted,
    /// The card was not credited.
    Released,
    /// Booked without a proof, because the card's counter or a person said so, when it was not the only one asked for at this counter: the card's
    /// TAC may still prove another.
    Presumed,
}

impl LoadState {
    /// Whether the money has moved.
    #[must_use]
    pub const fn is_booked(self) -> bool {
        matches!(self, Self::Posted | Self::Presumed)
    }
}

/// A load whose MAC2 was released: the newest at its counter, or the one that was booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The card.
    pub card: CardId,
    /// Its online counter.
    pub counter: OnlineCounter,
    /// Its transaction; of a presumed one the newest. It names the one before it at this counter as its original, and so on.
    pub transaction: TransactionSeq,
    /// The hold.
    pub hold: TransferSeq,
    /// Who pays, or who paid.
    pub payer: AccountId,
    /// How much.
    pub amount: Amount,
    /// The terminal's number in the card's newest request.
    pub sam: SamTerminal,
    /// Balance before: the highest that a request at this counter has shown.
    pub balance_old: CardAmount,
    /// Date and time under MAC2, and so under the TAC.
    pub moment: Moment,
    /// How it stands.
    pub state: LoadState,
}

/// How an offline record stands at the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordStanding {
    /// Nothing happened on the card.
    Void,
    /// Nobody knows; posts nothing.
    Uncertain,
    /// Proved, but the SAM's place is not known; posts nothing yet.
    Held,
    /// Kept, though nobody could verify its TAC: the issuer or its key is not registered. Posts nothing yet.
    Unverified,
    /// Booked from the purse float.
    Booked,
    /// Booked from the issuer's loss: a second record on one counter.
    Fork,
    /// Proved, amount zero: posts nothing.
    Zero,
    /// Uncertain, confirmed by the card's chain, and paid by policy.
    Resolved,
    /// Paid by policy, and then another record proved that the counter is its own: the issuer bears it.
    Overtaken,
}

/// An offline record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfflineRecord {
    /// As uploaded.
    pub content: TransactionRecord,
    /// How it stands.
    pub standing: RecordStanding,
    /// The merchant it was booked to.
    pub merchant: Option<MerchantId>,
    /// The message that brought it (in its present state).
    pub transaction: TransactionSeq,
    /// Its transfer.
    pub transfer: Option<TransferSeq>,
    /// When it came first.
    pub received: Wall,
}

impl RecordStanding {
    /// Whether a person or a later record has still to decide.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Held | Self::Uncertain | Self::Unverified)
    }
}
