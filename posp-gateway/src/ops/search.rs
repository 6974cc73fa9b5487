//! Finding a transaction by any of its names, for an operator. What is found names neither payer nor account.

use super::reports::{money, time};
use backend::api::{Found, TransactionReport, retrieval_reference};
use backend::store::{RecordStanding, TransactionKind, TransactionState};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// The names that an operator has; together they must be one name of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Field 37.
    pub reference: Option<String>,
    /// Field 41, with batch and trace.
    pub terminal: Option<String>,
    /// Field 60.2.
    pub batch: Option<u32>,
    /// Field 11.
    pub trace: Option<u32>,
    /// Field 38.
    pub authorisation: Option<String>,
    /// A card's issuer, with card and counter.
    pub issuer: Option<String>,
    /// A card's serial number.
    pub card: Option<String>,
    /// Its counter.
    pub counter: Option<u16>,
    /// The counter is that of loads.
    pub load: bool,
    /// A SAM, with sequence.
    pub sam: Option<String>,
    /// Its sequence.
    pub sequence: Option<u32>,
    /// A payer's token.
    pub payer: Option<String>,
    /// `bank:17`.
    pub account: Option<String>,
    /// Currency of the account.
    pub currency: String,
    /// First day, for payer and account.
    pub from: Option<String>,
    /// Last day, for payer and account.
    pub to: Option<String>,
    /// Most to list.
    pub limit: u32,
}

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionSummary {
    /// Retrieval reference.
    pub reference: String,
    /// When it was decided.
    pub at: String,
    /// Field 41.
    pub terminal: String,
    /// Field 42.
    pub merchant: String,
    /// Field 60.2.
    pub batch: u32,
    /// Field 11.
    pub trace: u32,
    /// What it was, as `pre-authorisation`.
    pub kind: String,
    /// How it stands, as `partly-refunded`.
    pub state: String,
    /// Its amount, if it has one.
    pub amount: Option<String>,
    /// What was refunded of it, if anything was.
    pub refunded: Option<String>,
    /// Field 39.
    pub code: String,
    /// Field 38.
    pub authorisation: Option<String>,
    /// Retrieval reference of the transaction it refers to.
    pub original: Option<String>,
    /// The offline record that was asked for.
    pub record: Option<RecordSummary>,
}

/// An offline record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSummary {
    /// SAM and sequence.
    pub name: String,
    /// How it stands, as `booked`.
    pub standing: String,
    /// Minor units.
    pub minor: u32,
}

/// What was found, and whether there is more.
pub(super) fn summary(found: &Found, zone: &TimeZone) -> (Vec<TransactionSummary>, bool) {
    (found.transactions.iter().map(|it| transaction(it, zone)).collect(), found.more)
}

fn transaction(it: &TransactionReport, zone: &TimeZone) -> TransactionSummary {
    let reference = |seq| retrieval_reference(seq).map(|reference| reference.to_string()).unwrap_or_default();
    let refunded = it.amount.filter(|_| it.refunded > 0).map(|amount| money(it.refunded, amount.currency()));
    TransactionSummary {
        reference: reference(it.seq),
        at: time(it.at, zone),
        terminal: it.identity.terminal.to_string(),
        merchant: it.identity.merchant.to_string(),
        batch: it.identity.batch.0,
        trace: it.identity.trace.0,
        kind: kind(it.kind).to_owned(),
        state: state(it.state).to_owned(),
        amount: it.amount.map(|amount| amount.to_string()),
        refunded,
        code: it.code.to_string(),
        authorisation: it.authorisation.map(|code| code.as_str().to_owned()),
        original: it.original.map(reference),
        record: it.record.map(|record| RecordSummary {
            name: format!("{}/{}", record.sam, record.term_seq),
            standing: standing(record.standing).to_owned(),
            minor: record.minor,
        }),
    }
}

const fn kind(kind: TransactionKind) -> &'static str {
    match kind {
        TransactionKind::Balance => "balance",
        TransactionKind::Purchase => "purchase",
        TransactionKind::Void => "void",
        TransactionKind::Refund => "refund",
        TransactionKind::Load => "load",
        TransactionKind::MerchantLoad => "merchant-load",
        TransactionKind::LoadConfirm => "load-confirm",
        TransactionKind::OfflineRecords => "offline-records",
        TransactionKind::Settle => "settle",
        TransactionKind::Upload => "upload",
        TransactionKind::UploadEnd => "upload-end",
        TransactionKind::Tombstone => "tombstone",
        TransactionKind::PreAuthorisation => "pre-authorisation",
        TransactionKind::PreAuthorisationVoid => "pre-authorisation-void",
        TransactionKind::Completion => "completion",
        TransactionKind::CompletionVoid => "completion-void",
        TransactionKind::CompletionAdvice => "completion-advice",
    }
}

const fn state(state: TransactionState) -> &'static str {
    match state {
        TransactionState::Received => "received",
        TransactionState::Declined => "declined",
        TransactionState::Authorised => "authorised",
        TransactionState::Completed => "completed",
        TransactionState::Cleared => "cleared",
        TransactionState::Settled => "settled",
        TransactionState::Reversed => "reversed",
        TransactionState::Voided => "voided",
        TransactionState::PartlyRefunded => "partly-refunded",
        TransactionState::Refunded => "refunded",
        TransactionState::Disputed => "disputed",
        TransactionState::Expired => "expired",
    }
}

const fn standing(standing: RecordStanding) -> &'static str {
    match standing {
        RecordStanding::Void => "void",
        RecordStanding::Uncertain => "uncertain",
        RecordStanding::Held => "held",
        RecordStanding::Unverified => "unverified",
        RecordStanding::Booked => "booked",
        RecordStanding::Fork => "fork",
        RecordStanding::Zero => "zero",
        RecordStanding::Resolved => "resolved",
        RecordStanding::Overtaken => "overtaken",
    }
}
