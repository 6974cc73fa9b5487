//! What the backend tells people: batch differences, merchant statements, the audit. Structures only; words are the gateway's.

use crate::accounts::{AccountId, Totals, TransactionSeq, TransferSeq};
use crate::api::{BatchTotals, ItemKey, Side};
use crate::store::CommitNo;
use protocol::ids::{Asn, BatchNo, IssuerId, MerchantId, OfflineCounter, SamTerminal, TermSeq, TerminalId};
use protocol::money::{Amount, Currency};
use protocol::time::Wall;

/// How a terminal's batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchState {
    /// Takes transactions.
    Open,
    /// Totals differed at settlement: the terminal uploads what it has.
    Uploading,
    /// Closed, once and for good.
    Closed,
}

/// A batch, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchReport {
    /// The terminal.
    pub terminal: TerminalId,
    /// Its number.
    pub batch: BatchNo,
    /// How it stands.
    pub state: BatchState,
    /// The host's totals.
    pub host: BatchTotals,
    /// The terminal's, once it asked for settlement.
    pub of_terminal: Option<BatchTotals>,
    /// What differs, item by item, once the upload has ended.
    pub differences: Vec<Difference>,
}

/// One transaction on which terminal and host differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Column of the totals.
    pub side: Side,
    /// Which transaction.
    pub key: ItemKey,
    /// The terminal's amount; `None` if the terminal does not have it.
    pub terminal: Option<Amount>,
    /// The host's amount; `None` if the host does not have it.
    pub host: Option<Amount>,
}

/// What a merchant may know. No payer data: neither accounts nor cards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Field 42.
    pub merchant: MerchantId,
    /// Name as registered.
    pub name: String,
    /// Oldest first.
    pub lines: Vec<StatementLine>,
    /// Owed to the merchant after the last line, in minor units; negative: owed by it.
    pub payable: i128,
    /// Currency of all of it.
    pub currency: Currency,
}

/// One line of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementLine {
    /// When it was booked.
    pub at: Wall,
    /// The transaction, whose retrieval reference is on the receipt.
    pub transaction: Option<TransactionSeq>,
    /// What it was.
    pub kind: LineKind,
    /// How much.
    pub amount: Amount,
    /// To the merchant (or from it).
    pub credit: bool,
}

/// What a line of a statement was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// Online purchase.
    Purchase,
    /// Refund, void or reversal.
    Returned,
    /// Offline purchase from a purse.
    PursePurchase,
    /// Cash taken for a load, or a refund onto a purse.
    Load,
    /// Paid out.
    Clearing,
    /// A correction.
    Adjustment,
}

/// The outcome of an audit. It is clean if `exceptions` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Commits whose link was verified.
    pub commits: u64,
    /// Transfers re-applied.
    pub transfers: u64,
    /// Transactions compared.
    pub transactions: u64,
    /// Offline records compared.
    pub records: u64,
    /// Cards proved.
    pub cards: u64,
    /// Per currency: the sum of all debits (equal to that of all credits, or it is an exception).
    pub turnover: Vec<(Currency, u128)>,
    /// Per currency: what the ledger says is on cards (float), and what the cards' newest records say.
    pub float: Vec<FloatLine>,
    /// Number and hash of the newest link of each gateway's chain: what is exported and signed outside.
    pub heads: Vec<(CommitNo, [u8; 32])>,
    /// Where a restored backup made the chain skip numbers. Not wrong by itself: a person knows whether there was a restore.
    pub skipped: Vec<SkippedNumbers>,
    /// What is wrong, in the order found.
    pub exceptions: Vec<AuditException>,
}

/// Numbers of transactions that are never given out: they may have been, after the backup that was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkippedNumbers {
    /// The link that says so.
    pub commit: CommitNo,
    /// When it was restored.
    pub at: Wall,
    /// How many.
    pub count: u64,
}

impl AuditReport {
    /// Whether nothing was wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.exceptions.is_empty()
    }
}

/// One issuer's float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatLine {
    /// The issuer.
    pub issuer: IssuerId,
    /// Its currency.
    pub currency: Currency,
    /// Posted float, in minor units: loads less debits booked.
    pub posted: i128,
    /// Held for loads not confirmed yet.
    pub pending: u64,
}

/// Something an audit found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditException {
    /// A link does not follow from what the commit holds: a row was changed, removed or reordered at or before it.
    BrokenLink(CommitNo),
    /// A commit number is missing.
    MissingCommit(CommitNo),
    /// Transfers do not follow each other without a gap.
    MissingTransfer(TransferSeq),
    /// Transactions do not follow each other without a gap.
    MissingTransaction(TransactionSeq),
    /// A transfer contradicts those before it (resolves a hold twice, posts more than was held).
    Contradiction(TransferSeq),
    /// Running totals differ from the transfers.
    Balance {
        /// The account.
        account: AccountId,
        /// What the transfers say.
        derived: Totals,
        /// What the account's row says; `None` if there is no such account.
        kept: Option<Totals>,
    },
    /// A hold's state differs from the transfers.
    Hold(TransferSeq),
    /// Two transactions have one identity.
    DuplicateIdentity(TransactionSeq, TransactionSeq),
    /// A transaction's state and its transfers disagree.
    TransactionState(TransactionSeq),
    /// Who pays whom in a transaction, or how much, is not what the transfer says that it names.
    TransactionAccounts(TransactionSeq),
    /// A posting that paid a payer without an arrival, or a merchant from a purse without an offline record.
    Unexplained(TransferSeq),
    /// Money that arrived under this reference has no posting of its own.
    Arrival(u64),
    /// A card is on the deny list, or off it, and nobody put it there; or its online counter or open load are not those of its loads.
    CardState(IssuerId, Asn),
    /// A booked offline record without its own transfer, or with another amount or merchant than it.
    RecordTransfer(SamTerminal, TermSeq),
    /// Two records claim one counter, and the second is not booked as a fork.
    DoubleClaim(IssuerId, Asn, OfflineCounter),
    /// A card's balances are not explained by its loads and debits.
    Conservation {
        /// Issuer.
        issuer: IssuerId,
        /// The card.
        asn: Asn,
        /// The first counter at which they are not.
        counter: OfflineCounter,
        /// The balance before it, as its record says.
        before: u64,
        /// The balance after the record before it.
        after_previous: u64,
        /// All loads of the card that are booked or may have been credited.
        loads: u64,
    },
    /// Per-card sums differ from the records.
    CardTotals {
        /// Issuer.
        issuer: IssuerId,
        /// The card.
        asn: Asn,
        /// Loads and debits in the card's row.
        kept: (u64, u64),
        /// Loads and debits of its records.
        derived: (u64, u64),
    },
}
