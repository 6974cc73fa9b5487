//! The records of a store and their keys.

use crate::accounts::chart::{IssuerNumber, MerchantNumber};
use crate::accounts::{Account, AccountId, Hold, TransactionSeq, Transfer, TransferSeq};
use crate::api::{
    AcquirerId, Alert, AnswerBody, BatchTotals, ContentDigest, Identity, ItemKey, Limit, LimitScope,
    PayerToken, Tally, UploadItem,
};
use crate::report::{BatchState, Difference};
use crate::store::{Card, CommitNo, DenyVersion, Link, Load, OfflineRecord, TransactionState};
use protocol::ids::{
    Asn, BatchNo, Factor, IssuerId, MerchantId, OfflineCounter, OnlineCounter, SamTerminal, TermSeq,
    TerminalId,
};
use protocol::iso8583::typed::{AuthorisationCode, ResponseCode};
use protocol::money::{Amount, CardAmount, Currency};
use protocol::purse::Moment;
use protocol::time::{CardDate, Wall};

/// Number of an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertNo(pub u64);

/// A purse: issuer and application serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardId {
    /// Issuer.
    pub issuer: IssuerId,
    /// Serial number.
    pub asn: Asn,
}

/// What a record is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// An account.
    Account(AccountId),
    /// A transfer.
    Transfer(TransferSeq),
    /// The state of a hold.
    Hold(TransferSeq),
    /// A transaction.
    Transaction(TransactionSeq),
    /// The transaction with an identity.
    Identity(Identity),
    /// A terminal's batch.
    Batch(TerminalId, BatchNo),
    /// An uploaded item.
    Upload(TerminalId, BatchNo, ItemKey),
    /// An issuer.
    Issuer(IssuerId),
    /// A merchant.
    Merchant(MerchantId),
    /// A terminal.
    Terminal(TerminalId),
    /// Where a SAM worked, and when.
    Sam(SamTerminal),
    /// Whose PAN a token is.
    Payer(PayerToken),
    /// Money that arrived, by the operator's reference.
    Arrival(u64),
    /// A card.
    Card(CardId),
    /// The newest load of a card at an online counter.
    Load(CardId, OnlineCounter),
    /// An offline record.
    Record(SamTerminal, TermSeq),
    /// The offline record that a card's counter belongs to.
    Claim(CardId, OfflineCounter),
    /// The offline record that was paid by policy on a card's counter.
    Resolution(CardId, OfflineCounter),
    /// An alert.
    Alert(AlertNo),
    /// A link of the chain.
    Link(CommitNo),
    /// The one record of counters.
    Registry,
    /// What somebody may spend or take in.
    Limit(LimitScope),
    /// What a payer's account or a terminal has used of a day's limits.
    Usage(UsageOf),
    /// How a merchant's limits of a day are shared among its terminals.
    Shares(MerchantId),
}

/// What a store keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An account.
    Account(Account),
    /// A transfer.
    Transfer(Transfer),
    /// The state of a hold.
    Hold(Hold),
    /// A transaction.
    Transaction(Box<Transaction>),
    /// The transaction of an identity: an index over the transactions, kept as the store likes.
    Identity(Identity, TransactionSeq),
    /// A terminal's batch.
    Batch(Box<BatchRecord>),
    /// An uploaded item.
    Upload(TerminalId, BatchNo, UploadItem),
    /// An issuer.
    Issuer(Issuer),
    /// A merchant.
    Merchant(Merchant),
    /// A terminal.
    Terminal(Terminal),
    /// Where a SAM worked, and when.
    Sam(Sam),
    /// Whose PAN a token is.
    Payer(PayerToken, AccountId),
    /// Money that arrived.
    Arrival(u64, TransferSeq),
    /// A card.
    Card(Card),
    /// A load.
    Load(Load),
    /// An offline record.
    Record(Box<OfflineRecord>),
    /// Whose a counter is: the first record with a valid TAC.
    Claim(CardId, OfflineCounter, SamTerminal, TermSeq),
    /// The uncertain record that was paid by policy on a counter.
    Resolution(CardId, OfflineCounter, SamTerminal, TermSeq),
    /// An alert.
    Alert(AlertNo, Alert),
    /// A link of the chain.
    Link(Link),
    /// Counters.
    Registry(Registry),
    /// What somebody may spend or take in.
    Limit(Limit),
    /// What was used of a day's limits.
    Usage(Usage),
    /// How a merchant's limits of a day are shared.
    Shares(Box<Shares>),
}

impl Record {
    /// The record's key.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Account(account) => Key::Account(account.id),
            Self::Transfer(transfer) => Key::Transfer(transfer.seq),
            Self::Hold(hold) => Key::Hold(hold.seq),
            Self::Transaction(transaction) => Key::Transaction(transaction.seq),
            Self::Identity(identity, _) => Key::Identity(*identity),
            Self::Batch(batch) => Key::Batch(batch.terminal, batch.number),
            Self::Upload(terminal, batch, item) => Key::Upload(*terminal, *batch, item.key),
            Self::Issuer(issuer) => Key::Issuer(issuer.id),
            Self::Merchant(merchant) => Key::Merchant(merchant.id),
            Self::Terminal(terminal) => Key::Terminal(terminal.id),
            Self::Sam(sam) => Key::Sam(sam.number),
            Self::Payer(token, _) => Key::Payer(*token),
            Self::Arrival(reference, _) => Key::Arrival(*reference),
            Self::Card(card) => Key::Card(card.id),
            Self::Load(load) => Key::Load(load.card, load.counter),
            Self::Record(record) => Key::Record(record.content.terminal, record.content.term_seq),
            Self::Claim(card, counter, ..) => Key::Claim(*card, *counter),
            Self::Resolution(card, counter, ..) => Key::Resolution(*card, *counter),
            Self::Alert(number, _) => Key::Alert(*number),
            Self::Link(link) => Key::Link(link.number),
            Self::Registry(_) => Key::Registry,
            Self::Limit(limit) => Key::Limit(limit.scope),
            Self::Usage(usage) => Key::Usage(usage.of),
            Self::Shares(shares) => Key::Shares(shares.merchant),
        }
    }
}

/// Numbers given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// Issuers so far.
    pub issuers: u32,
    /// Merchants so far.
    pub merchants: u32,
    /// Version of the deny list.
    pub deny: DenyVersion,
}

/// What a message was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionKind {
    /// Balance inquiry.
    Balance,
    /// Online purchase.
    Purchase,
    /// Void of a purchase.
    Void,
    /// Refund of a purchase.
    Refund,
    /// Purse load from the linked account.
    Load,
    /// Purse load by cash, or a refund onto a purse.
    MerchantLoad,
    /// Receipt of a load.
    LoadConfirm,
    /// Offline records.
    OfflineRecords,
    /// Settlement of a batch.
    Settle,
    /// A part of a batch upload.
    Upload,
    /// The end of a batch upload.
    UploadEnd,
    /// A reversal came before its original: the original will be declined.
    Tombstone,
    /// Pre-authorisation: money held until it is completed, voided, or its time is up.
    PreAuthorisation,
    /// Void of a pre-authorisation.
    PreAuthorisationVoid,
    /// Completion of a pre-authorisation, asked.
    Completion,
    /// Void of a completion.
    CompletionVoid,
    /// Completion of a pre-authorisation, told afterwards.
    CompletionAdvice,
}

impl TransactionKind {
    /// Whether money went from a payer to a merchant: what a batch counts as debit, and what can be refunded.
    #[must_use]
    pub const fn is_debit(self) -> bool {
        matches!(self, Self::Purchase | Self::Completion | Self::CompletionAdvice)
    }

    /// Whether a terminal may reverse it.
    #[must_use]
    pub const fn is_reversible(self) -> bool {
        match self {
            Self::Purchase
            | Self::Void
            | Self::PreAuthorisation
            | Self::PreAuthorisationVoid
            | Self::Completion
            | Self::CompletionVoid
            | Self::Load
            | Self::MerchantLoad => true,
            Self::Balance
            | Self::Refund
            | Self::LoadConfirm
            | Self::OfflineRecords
            | Self::Settle
            | Self::Upload
            | Self::UploadEnd
            | Self::Tombstone
            | Self::CompletionAdvice => false,
        }
    }

    /// Whether a debit was taken back: what a batch counts as credit.
    #[must_use]
    pub const fn is_credit(self) -> bool {
        matches!(self, Self::Void | Self::Refund | Self::CompletionVoid)
    }
}

/// One message under an identity, and what it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its number; also its retrieval reference.
    pub seq: TransactionSeq,
    /// Its identity.
    pub identity: Identity,
    /// Its content.
    pub digest: ContentDigest,
    /// What it was.
    pub kind: TransactionKind,
    /// Its amount.
    pub amount: Option<Amount>,
    /// The transaction it refers to.
    pub original: Option<TransactionSeq>,
    /// The payer's account.
    pub payer: Option<AccountId>,
    /// The payee's account.
    pub payee: Option<AccountId>,
    /// The card and its online counter (loads).
    pub load: Option<(CardId, OnlineCounter)>,
    /// Answered with this code…
    pub code: ResponseCode,
    /// …this authorisation…
    pub authorisation: Option<AuthorisationCode>,
    /// …at this local time…
    pub moment: Moment,
    /// …and this besides.
    pub body: AnswerBody,
    /// When it was decided.
    pub at: Wall,
    /// How it stands. Changes.
    pub state: TransactionState,
    /// Its hold or posting. Changes when a void of it is reversed: its money is held, or posted, anew.
    pub transfer: Option<TransferSeq>,
    /// Refunded so far, in minor units. Changes.
    pub refunded: u64,
}

/// A terminal's batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRecord {
    /// The terminal.
    pub terminal: TerminalId,
    /// Its number.
    pub number: BatchNo,
    /// Its currency.
    pub currency: Currency,
    /// How it stands.
    pub state: BatchState,
    /// The host's totals.
    pub host: BatchTotals,
    /// The terminal's.
    pub of_terminal: Option<BatchTotals>,
    /// First transaction.
    pub first: TransactionSeq,
    /// Last transaction so far.
    pub last: TransactionSeq,
    /// What differed.
    pub differences: Vec<Difference>,
}

/// An issuer of purses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Its id on the cards.
    pub id: IssuerId,
    /// Its number here.
    pub number: IssuerNumber,
    /// The currency of its purses.
    pub currency: Currency,
    /// Diversification factors above the card's own, in wire order.
    pub upper_factors: Vec<Factor>,
    /// Largest single load.
    pub load_limit: CardAmount,
}

/// A merchant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merchant {
    /// Field 42.
    pub id: MerchantId,
    /// Its number here.
    pub number: MerchantNumber,
    /// Its name.
    pub name: String,
    /// Currency of its account.
    pub currency: Currency,
}

/// A terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Field 41.
    pub id: TerminalId,
    /// Whose.
    pub merchant: MerchantId,
    /// Under which acquirer.
    pub acquirer: AcquirerId,
    /// The batch that is not closed, if there is one.
    pub open: Option<BatchNo>,
    /// The newest batch, 0 before the first.
    pub newest: BatchNo,
}

/// Whose use of a day is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageOf {
    /// A payer's account.
    Payer(AccountId),
    /// A terminal.
    Terminal(TerminalId),
}

/// What was used of a day's limits. There is one only where a limit was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Whose.
    pub of: UsageOf,
    /// The local day it is about.
    pub day: CardDate,
    /// The first transaction of that day that was counted: an earlier one gives nothing back.
    pub since: TransactionSeq,
    /// Approved and neither voided nor reversed.
    pub used: Tally,
    /// Of a terminal: what is left of its share of its merchant's limits of this day ([`Shares`]).
    pub left: Tally,
}

/// How a merchant's limits of a day are shared among its terminals. What was handed out never exceeds the limit, so a terminal with enough left
/// need not read, let alone write, anything of the merchant's: there is no row that all its terminals change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Whose.
    pub merchant: MerchantId,
    /// The local day it is about.
    pub day: CardDate,
    /// The first transaction of that day that was counted: an earlier one gives nothing back.
    pub since: TransactionSeq,
    /// Handed out: what was used, and what the terminals have left.
    pub granted: Tally,
    /// The terminals that may have something left, each once.
    pub terminals: Vec<TerminalId>,
}

/// Where a SAM worked, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sam {
    /// Its number.
    pub number: SamTerminal,
    /// Ascending in time; each lasts until the next. `None`: nowhere.
    pub assignments: Vec<(Moment, Option<(TerminalId, MerchantId)>)>,
}

impl Sam {
    /// Where it worked at this moment.
    #[must_use]
    pub fn at(&self, moment: Moment) -> Option<(TerminalId, MerchantId)> {
        self.assignments.iter().rev().find(|(from, _)| *from <= moment).and_then(|(_, place)| *place)
    }
}
