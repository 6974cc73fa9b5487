//! What may be read of the backend, and what was read. Nothing here changes anything.

use super::{AcquirerId, CardStatus, Found, Limits, Search};
use crate::accounts::chart::{IssuerNumber, MerchantNumber};
use crate::accounts::{AccountId, TransactionSeq, TransferSeq};
use crate::report::{AuditReport, BatchReport, Statement};
use crate::store::{CommitNo, DenyVersion, Link, OfflineRecord};
use protocol::ids::{
    Asn, BatchNo, IssuerId, MerchantId, OfflineCounter, OnlineCounter, SamTerminal, Stan, TermSeq, TerminalId,
};
use protocol::money::{Amount, CardAmount, Currency};
use protocol::time::{CardDate, Wall};

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// The terminal's registration and batch (for sign-in).
    Terminal(TerminalId),
    /// Totals and differences of a batch.
    Batch(TerminalId, BatchNo),
    /// What a merchant may know of its transactions in `from..to`. Holds no payer data.
    Statement {
        /// The merchant.
        merchant: MerchantId,
        /// From.
        from: Wall,
        /// Up to, not including.
        to: Wall,
    },
    /// The purse as the backend believes it to be.
    Card(IssuerId, Asn),
    /// The newest alerts, at most `limit`.
    Alerts {
        /// How many.
        limit: u32,
    },
    /// Offline records that nobody could decide yet, with what the cards' chains say about them, at most `limit`.
    OpenItems {
        /// How many.
        limit: u32,
    },
    /// Cards that went on the deny list or off it after `since`, in that order, at most `limit`.
    DenyList {
        /// The version that the reader has; 0 for all.
        since: DenyVersion,
        /// How many.
        limit: u32,
    },
    /// Transactions by any of their names, at most `limit`.
    Find {
        /// What they are looked for by.
        search: Search,
        /// How many.
        limit: u32,
    },
    /// Limits with what is used of them, at most `limit`.
    Limits {
        /// The gateway's local day.
        day: CardDate,
        /// How many.
        limit: u32,
    },
    /// Whether an account could pay this much now. A carrier or content provider may ask this, and learns nothing else: not the balance, nor
    /// whether there is such an account.
    Suffices {
        /// Whose.
        account: AccountId,
        /// How much.
        amount: Amount,
    },
    /// Everything re-derived and compared.
    Audit,
    /// The newest link of this gateway's chain.
    Head,
    /// These links, at most [`LINKS_MAX`].
    Links(Vec<CommitNo>),
}

/// Most links asked for at once.
pub const LINKS_MAX: usize = 1_024;

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// There is none.
    Nothing,
    /// A terminal.
    Terminal(TerminalReport),
    /// A batch.
    Batch(BatchReport),
    /// A statement.
    Statement(Statement),
    /// A card.
    Card(CardReport),
    /// Alerts, newest first.
    Alerts(Vec<Alert>),
    /// Open items, by SAM and number.
    OpenItems(Vec<OpenItem>),
    /// The deny list's changes.
    DenyList(DenyList),
    /// Transactions, oldest first.
    Found(Found),
    /// Limits.
    Limits(Limits),
    /// Yes or no.
    Suffices(bool),
    /// An audit.
    Audit(Box<AuditReport>),
    /// Links, in the order asked; `None` for one that is not there.
    Links(Vec<Option<Link>>),
}

/// An offline record that is not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenItem {
    /// The record as it stands.
    pub record: OfflineRecord,
    /// The currency of its amount, if its issuer is known.
    pub currency: Option<Currency>,
    /// What is known about it.
    pub evidence: Evidence,
}

/// What the card's chain says about an uncertain debit, or why a proved one is not booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// The chain shows counter and amount consumed: policy pays once the record is old enough.
    Consumed,
    /// Another record owns the counter, or has been paid for it: nothing happened here.
    Claimed,
    /// The chain shows another amount consumed: nothing happened here.
    NotConsumed,
    /// Another uncertain record of this counter is newer and fits the chain: nothing happened here.
    Outdone,
    /// No later record of this card has arrived.
    NothingLater,
    /// A neighbour in the chain has not arrived.
    Gap,
    /// Several records of one time fit the chain: a person decides.
    Contested,
    /// It does not fit its neighbours, and neither can it be excluded: a person decides.
    Contradicted,
    /// Proved, but nobody registered where the SAM worked then (or its merchant has no account in this currency).
    UnknownPlace,
    /// Its issuer or its key is not registered: its TAC cannot be verified.
    Unverified,
}

/// The deny list's changes since a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenyList {
    /// Its newest version.
    pub version: DenyVersion,
    /// The cards whose status changed, in that order.
    pub changes: Vec<DenyChange>,
}

/// A card that went on the deny list or off it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenyChange {
    /// At this version.
    pub version: DenyVersion,
    /// Issuer.
    pub issuer: IssuerId,
    /// The card.
    pub asn: Asn,
    /// On the list, or off it.
    pub denied: bool,
}

/// A terminal as registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalReport {
    /// Field 41.
    pub terminal: TerminalId,
    /// Field 42.
    pub merchant: MerchantId,
    /// Its number.
    pub merchant_number: MerchantNumber,
    /// The acquirer.
    pub acquirer: AcquirerId,
    /// The batch it must use: the open one, or the one to open next.
    pub batch: BatchNo,
    /// The trace number of the newest message that was decided in it.
    pub newest_trace: Option<Stan>,
}

/// A card as the backend believes it to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardReport {
    /// What it may do.
    pub status: CardStatus,
    /// Posted loads in minor units.
    pub loaded: u64,
    /// Booked debits in minor units.
    pub spent: u64,
    /// What is held for loads that are neither booked nor released, in minor units.
    pub open_loads: u64,
    /// The amounts of which the card may have been credited one, in minor units, ascending.
    pub open_amounts: Vec<u64>,
    /// Online counter of these loads, as an operator names it to release them.
    pub open_counter: Option<OnlineCounter>,
    /// The newest of these loads, which the operator names besides.
    pub open_newest: Option<TransactionSeq>,
    /// Its issuer's number.
    pub issuer: IssuerNumber,
    /// The issuer's currency.
    pub currency: Currency,
    /// The newest offline counter with a valid TAC, and the balance after it.
    pub newest: Option<(OfflineCounter, CardAmount)>,
    /// The lowest online counter that its next load may show.
    pub next_online: OnlineCounter,
    /// Posted loads less booked debits, in minor units: what should be on it.
    pub expected: i128,
    /// Counters below the newest that belong to no record.
    pub missing: u32,
    /// Version of the deny list at which its status changed last.
    pub deny_version: DenyVersion,
}

/// Something a person should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// When.
    pub at: Wall,
    /// What.
    pub kind: AlertKind,
    /// Which card, if it is about one.
    pub card: Option<(IssuerId, Asn)>,
    /// Which record, if it is about one.
    pub record: Option<(SamTerminal, TermSeq)>,
    /// Which transfer, if it is about one.
    pub transfer: Option<TransferSeq>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKind {
    /// A record's TAC is wrong.
    WrongTac,
    /// A load request's MAC1 is wrong.
    WrongMac1,
    /// Two valid records on one counter: a cloned card.
    Fork,
    /// A counter below one seen before.
    Rollback,
    /// A balance that the card's chain does not explain.
    BalanceBreak,
    /// A record of a SAM that nobody registered, or not for that time.
    UnknownSam,
    /// A record of an issuer or card that is not registered.
    UnknownCard,
    /// A record number used again with other content.
    RecordConflict,
    /// A load confirmed after its hold had been released.
    LateLoad,
    /// A late load that the funding account did not cover.
    LoadLoss,
    /// A terminal reversed a load that the card had confirmed.
    ReversalAfterConfirm,
    /// A record uploaded by another merchant's terminal.
    ForeignUpload,
    /// The completion of a pre-authorisation was told afterwards (0220) and refused: goods may have left without payment.
    AdviceRefused,
    /// Policy had paid an uncertain debit, and then another record proved that the counter is its own.
    Overtaken,
    /// Counters of a card belong to no record since long.
    Gap,
    /// A card went on the deny list.
    Denied,
    /// An operator took a card off the deny list.
    DenyLifted,
    /// An operator released the hold of a load that no card had decided about.
    LoadReleased,
    /// A right TAC or MAC1, under keys of another version than the card's.
    OtherKeys,
    /// Several loads were asked for at one counter of a card, and nobody but their proof, or a person, can tell which of them it was credited with.
    LoadContested,
    /// An operator said which of several loads a card was credited with.
    LoadCredited,
}

impl AlertKind {
    /// As kept in a store.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::WrongTac => 1,
            Self::WrongMac1 => 2,
            Self::Fork => 3,
            Self::Rollback => 4,
            Self::BalanceBreak => 5,
            Self::UnknownSam => 6,
            Self::UnknownCard => 7,
            Self::RecordConflict => 8,
            Self::LateLoad => 9,
            Self::LoadLoss => 10,
            Self::ReversalAfterConfirm => 11,
            Self::ForeignUpload => 12,
            Self::AdviceRefused => 13,
            Self::Overtaken => 14,
            Self::Gap => 15,
            Self::Denied => 16,
            Self::DenyLifted => 17,
            Self::LoadReleased => 18,
            Self::LoadContested => 19,
            Self::OtherKeys => 20,
            Self::LoadCredited => 21,
        }
    }

    /// From a store.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::WrongTac),
            2 => Some(Self::WrongMac1),
            3 => Some(Self::Fork),
            4 => Some(Self::Rollback),
            5 => Some(Self::BalanceBreak),
            6 => Some(Self::UnknownSam),
            7 => Some(Self::UnknownCard),
            8 => Some(Self::RecordConflict),
            9 => Some(Self::LateLoad),
            10 => Some(Self::LoadLoss),
            11 => Some(Self::ReversalAfterConfirm),
            12 => Some(Self::ForeignUpload),
            13 => Some(Self::AdviceRefused),
            14 => Some(Self::Overtaken),
            15 => Some(Self::Gap),
            16 => Some(Self::Denied),
            17 => Some(Self::DenyLifted),
            18 => Some(Self::LoadReleased),
            19 => Some(Self::LoadContested),
            20 => Some(Self::OtherKeys),
            21 => Some(Self::LoadCredited),
            _ => None,
        }
    }
}
