//! Finding a transaction by any of its names.

use super::{AcquirerId, Identity, PayerToken};
use crate::accounts::{AccountId, TransactionSeq};
use crate::store::{RecordStanding, TransactionKind, TransactionState};
use protocol::ids::{
    Asn, BatchNo, IssuerId, OfflineCounter, OnlineCounter, SamTerminal, Stan, TermSeq, TerminalId,
};
use protocol::iso8583::typed::{AuthorisationCode, ResponseCode, RetrievalReference};
use protocol::money::Amount;
use protocol::time::Wall;

/// What a transaction is looked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Field 37.
    Reference(RetrievalReference),
    /// Terminal, batch and trace (fields 41, 60.2, 11).
    Trace(TerminalId, BatchNo, Stan),
    /// Field 38: one of a million, so there may be several.
    Authorisation(AuthorisationCode),
    /// A load, by card and online counter.
    Load(IssuerId, Asn, OnlineCounter),
    /// An offline payment, by card and offline counter.
    Debit(IssuerId, Asn, OfflineCounter),
    /// An offline payment, by SAM and sequence.
    Record(SamTerminal, TermSeq),
    /// Everything a card number paid in `from..to`, as the key module's token.
    Payer {
        /// The token.
        token: PayerToken,
        /// From.
        from: Wall,
        /// Up to, not including.
        to: Wall,
    },
    /// Everything an account paid in `from..to`.
    Account {
        /// The account.
        account: AccountId,
        /// From.
        from: Wall,
        /// Up to, not including.
        to: Wall,
    },
}

/// What was found, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The transactions.
    pub transactions: Vec<TransactionReport>,
    /// There are more: the limit was reached, or more was gone through than one search may.
    pub more: bool,
}

/// A transaction as an operator sees it. It names neither payer nor account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionReport {
    /// Its number; field 37 is made of it.
    pub seq: TransactionSeq,
    /// Acquirer, terminal, merchant, batch, trace.
    pub identity: Identity,
    /// What it was.
    pub kind: TransactionKind,
    /// How it stands.
    pub state: TransactionState,
    /// Its amount.
    pub amount: Option<Amount>,
    /// Refunded so far, in minor units.
    pub refunded: u64,
    /// Field 39.
    pub code: ResponseCode,
    /// Field 38.
    pub authorisation: Option<AuthorisationCode>,
    /// The transaction it refers to.
    pub original: Option<TransactionSeq>,
    /// When it was decided.
    pub at: Wall,
    /// The offline record that was asked for, which this transaction brought.
    pub record: Option<RecordReport>,
}

impl TransactionReport {
    /// The acquirer it came in under.
    #[must_use]
    pub const fn acquirer(&self) -> AcquirerId {
        self.identity.acquirer
    }
}

/// An offline record as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordReport {
    /// Its SAM.
    pub sam: SamTerminal,
    /// Its sequence there.
    pub term_seq: TermSeq,
    /// How it stands.
    pub standing: RecordStanding,
    /// Minor units of its issuer's currency.
    pub minor: u32,
}
