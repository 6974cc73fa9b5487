//! What the gateway asks and what it is answered: the seam between messages and money.
//!
//! [`Backend::execute`] takes a batch of requests and one reading of the clock, and returns as many answers in the same order. It is
//! synchronous, and when it returns `Ok`, everything it decided is durable: **answers may leave only then**. On `Err` nothing may be
//! answered; the same requests may be sent again (identity makes that harmless).
//!
//! - A [`HostRequest`] is one authenticated message: its [`Identity`] (acquirer, terminal, merchant, batch, trace), a
//!   [`ContentDigest`] over everything of the message that a repeat must not change, and a typed [`HostBody`]. Same
//!   identity and same content: answered as before ([`HostAnswer::repeat`]). Other content: [`ResponseCode::DUPLICATE`].
//! - A [`HostBody::Reversal`] carries its *original*'s identity. [`AdminRequest`]s build the registries, and are idempotent.
//! - [`Backend::query`] reads: open batch of a terminal, batch report, merchant statement, balances, alerts, audit.
//!
//! Sign-in, MACs, PIN blocks and PANs are the gateway's and the key module's (a PAN arrives as a keyed [`PayerToken`]); the backend
//! calls the key module only for what is the issuer's: TACs and the MACs of a load.

use crate::accounts::TransactionSeq;
use crate::accounts::chart::{FundingKind, FundingNumber};
use crate::store::StoreFault;
use protocol::ids::{
    Asn, BatchNo, Factor, IssuerId, KeyVersion, MerchantId, OnlineCounter, SamTerminal, Stan, TermSeq,
    TerminalId,
};
use protocol::iso8583::f58::{LoadRequest, MAX_RECORDS, RecordAnswer, TransactionRecord};
use protocol::iso8583::typed::{AuthorisationCode, ResponseCode};
use protocol::money::{Amount, CardAmount, Currency};
use protocol::purse::{Algorithm, Moment, PurseMac};
use protocol::time::Now;

mod batch;
mod limits;
mod query;
mod refusal;
mod search;

pub use crate::cards::tac_terms;
pub use crate::store::{retrieval_reference, transaction_of};
pub use batch::{BatchTotals, ItemKey, Side, Tally, UploadItem};
pub use limits::{Limit, LimitReport, LimitScope, Limits};
pub use protocol::iso8583::typed::RetrievalReference;
pub use query::{
    Alert, AlertKind, CardReport, DenyChange, DenyList, Evidence, LINKS_MAX, OpenItem, Query, Report,
    TerminalReport,
};
pub use refusal::AdminRefusal;
pub use search::{Found, RecordReport, Search, TransactionReport};

/// What became of a batch that was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// Answers of its first requests, at least one, in order. They are durable, and so is what was submitted before.
    Done(Vec<Answer>),
    /// The same, but they are still being made durable: nobody may see them before the next [`Backend::submit`] returns anything but
    /// [`Submitted::BeforeLost`], or [`Backend::finish`] returns `Ok`. What was submitted before is durable.
    UnderWay(Vec<Answer>),
    /// What was submitted before was not kept, and this batch is not decided: both are to be decided again, in order.
    BeforeLost(StoreFault),
}

/// The backend as the gateway sees it.
pub trait Backend {
    /// Decides the first requests of a batch, at least one, and makes them durable. Answers are in the order of `batch`, and of all of them
    /// unless several gateways share a store, where a batch that others keep overtaking is decided in parts, or a request met a contradiction in the
    /// books: it alone is answered "system error", apart from those before and after it. The rest is to be asked again.
    ///
    /// # Errors
    /// The store failed: nothing may be answered but "system error" (96), and the sender may repeat. Nothing was kept, or the word that it was
    /// kept was lost.
    fn execute(&mut self, now: Now, batch: &[Request]) -> Result<Vec<Answer>, StoreFault>;

    /// As [`Backend::execute`], but may return while the batch is still being made durable, so that the next one is decided meanwhile.
    ///
    /// # Errors
    /// As [`Backend::execute`]. What was submitted before is durable.
    fn submit(&mut self, now: Now, batch: &[Request]) -> Result<Submitted, StoreFault> {
        self.execute(now, batch).map(Submitted::Done)
    }

    /// Waits until what was submitted last is durable.
    ///
    /// # Errors
    /// It was not kept, or nobody knows: it is to be decided again, by [`Backend::execute`].
    fn finish(&mut self) -> Result<(), StoreFault> {
        Ok(())
    }

    /// Reads. Never changes anything.
    ///
    /// # Errors
    /// The store failed.
    fn query(&mut self, query: &Query) -> Result<Report, StoreFault>;

    /// Copies the ledger, as it stands between two commits, into a new file of the embedded store.
    ///
    /// # Errors
    /// The file exists, or the store failed.
    fn copy_to(&mut self, file: &std::path::Path) -> Result<(), StoreFault>;
}

impl<B: Backend + ?Sized> Backend for Box<B> {
    fn execute(&mut self, now: Now, batch: &[Request]) -> Result<Vec<Answer>, StoreFault> {
        (**self).execute(now, batch)
    }
    fn submit(&mut self, now: Now, batch: &[Request]) -> Result<Submitted, StoreFault> {
        (**self).submit(now, batch)
    }
    fn finish(&mut self) -> Result<(), StoreFault> {
        (**self).finish()
    }
    fn query(&mut self, query: &Query) -> Result<Report, StoreFault> {
        (**self).query(query)
    }
    fn copy_to(&mut self, file: &std::path::Path) -> Result<(), StoreFault> {
        (**self).copy_to(file)
    }
}

/// Most offline records in one message (`posp.md` section 5).
pub const RECORDS_MAX: usize = MAX_RECORDS;
/// Most items in one message of a batch upload.
pub const UPLOAD_MAX: usize = 64;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A terminal's message.
    Host(HostRequest),
    /// An operator's.
    Admin(AdminRequest),
}

/// Acquirer of a terminal (field 32), at most 11 digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AcquirerId(pub u64);

/// What makes a message the same message (`posp.md` section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The acquirer it came in under.
    pub acquirer: AcquirerId,
    /// Field 41.
    pub terminal: TerminalId,
    /// Field 42.
    pub merchant: MerchantId,
    /// Field 60.2.
    pub batch: BatchNo,
    /// Field 11.
    pub trace: Stan,
}

/// First 16 bytes of the SHA-256 of a message's content: MTI and all fields but 52, 53, 62, 64, without TPDU and header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentDigest(pub [u8; 16]);

/// A message from a terminal whose MAC was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRequest {
    /// Its identity; of a reversal: the original's.
    pub identity: Identity,
    /// Its content; of a reversal not consulted.
    pub digest: ContentDigest,
    /// What it asks.
    pub body: HostBody,
}

/// What a message asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostBody {
    /// Balance inquiry (0200/310000).
    Balance {
        /// Whose.
        payer: PayerToken,
    },
    /// Online purchase (0200/000000).
    Purchase {
        /// Who pays.
        payer: PayerToken,
        /// How much.
        amount: Amount,
    },
    /// Void of a purchase of the same open batch (0200/200000).
    Void {
        /// The purchase.
        original: Original,
        /// Its amount, repeated.
        amount: Amount,
    },
    /// Refund, wholly or in part (0220/200000).
    Refund {
        /// The purchase.
        original: Original,
        /// How much of it.
        amount: Amount,
    },
    /// Pre-authorisation (0100/030000): money is held for a later completion.
    PreAuthorise {
        /// Who pays.
        payer: PayerToken,
        /// How much at most, a tolerance aside.
        amount: Amount,
    },
    /// Void of a pre-authorisation (0100/200000), by any terminal of its merchant.
    PreAuthorisationVoid {
        /// The pre-authorisation.
        original: Original,
        /// Its amount, repeated.
        amount: Amount,
    },
    /// Completion of a pre-authorisation (0200/000000 or, told afterwards, 0220/000000; field 25 is 06), by any terminal of its merchant.
    Complete {
        /// Who pays; must be who was pre-authorised.
        payer: PayerToken,
        /// The pre-authorisation, and its authorisation code.
        original: Original,
        /// What is taken of it.
        amount: Amount,
        /// Told afterwards (0220): not reversible, and a refusal is brought before a person.
        advice: bool,
    },
    /// Void of a completion of the same open batch (0200/200000, field 25 is 06): the pre-authorisation stands again.
    CompletionVoid {
        /// The completion.
        original: Original,
        /// Its amount, repeated.
        amount: Amount,
    },
    /// Load of a purse (0200/600000, 630000).
    Load {
        /// Where the money comes from.
        source: LoadSource,
        /// The card's signed request (F58 `RQ`).
        request: LoadRequest,
    },
    /// The card's receipt for a load (0220; F58 `TA` of type 02), or the word of the terminal that nobody knows (`uncertain`).
    LoadConfirm {
        /// The load.
        original: Original,
        /// The record.
        record: TransactionRecord,
    },
    /// Offline purse records (0320/208), at most [`RECORDS_MAX`].
    OfflineRecords {
        /// In the order of the message.
        records: Vec<TransactionRecord>,
    },
    /// Reversal (0400, 0401) of the message with this identity.
    Reversal {
        /// Amount of the original, as the reversal states it.
        amount: Amount,
        /// Field 39 of the reversal.
        reason: ResponseCode,
    },
    /// Batch settlement (0500/201): the terminal's totals.
    Settle {
        /// As the terminal counted.
        totals: BatchTotals,
    },
    /// Batch upload after a difference (0320/201, 203, 205): what the terminal has in its batch, at most [`UPLOAD_MAX`].
    Upload {
        /// In the order of the message.
        items: Vec<UploadItem>,
    },
    /// End of the batch upload (0320/202, 207): the batch closes, with its differences reported.
    UploadEnd,
}

/// A PAN as the key module's keyed token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayerToken(pub [u8; 16]);

impl core::fmt::Debug for PayerToken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PayerToken(..)")
    }
}

/// How a message names an earlier one: by retrieval reference (F37) or by batch and trace (F61), and by authorisation code (F38).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Original {
    /// Field 37, as the first answer gave it.
    pub reference: Option<RetrievalReference>,
    /// Fields 61.1 and 61.2.
    pub trace: Option<(BatchNo, Stan)>,
    /// Field 38: if it is there, it must be what the earlier one was answered.
    pub authorisation: Option<AuthorisationCode>,
}

/// Where the money of a load comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadSource {
    /// The card's linked funding account.
    Linked,
    /// Cash that the merchant took: owed by the merchant.
    Cash,
    /// A merchant's refund onto the purse: owed by the merchant.
    Refund,
}

/// What a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a terminal.
    Host(HostAnswer),
    /// To an operator.
    Admin(AdminAnswer),
}

/// The fields of an answer to a terminal. The gateway frames it and MACs it under the current key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAnswer {
    /// Field 39.
    pub code: ResponseCode,
    /// Field 37; `None` where nothing was kept under the identity (94, 97, a reversal of nothing).
    pub reference: Option<RetrievalReference>,
    /// Field 38.
    pub authorisation: Option<AuthorisationCode>,
    /// Fields 12, 13 (and 15): local date and time of the first answer.
    pub moment: Moment,
    /// Field 4, where the answer has one.
    pub amount: Option<Amount>,
    /// Answered as before: nothing was booked.
    pub repeat: bool,
    /// What else the answer carries.
    pub body: AnswerBody,
}

/// What an answer carries besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerBody {
    /// Nothing.
    None,
    /// Available balance (F54).
    Balance(Amount),
    /// F58 `RP`: the issuer's consent to a load; its date and time are [`HostAnswer::moment`].
    Load {
        /// Algorithm byte of the request.
        algorithm: Algorithm,
        /// MAC2.
        mac2: PurseMac,
    },
    /// F58 `RS`, in the order of the records.
    Records(Vec<RecordOutcome>),
    /// F48 of 0510: the host's totals.
    Totals(BatchTotals),
    /// The batch is closed after its upload: F48, and F58 `DF`.
    Closed {
        /// The host's totals.
        totals: BatchTotals,
        /// On what the sides differ, as far as one answer has room for it; all of it is in the batch's report.
        differences: Vec<crate::report::Difference>,
        /// How many there are in all.
        all: u16,
    },
}

/// What became of one offline record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordOutcome {
    /// The SAM's number; not on the wire, the terminal knows it.
    pub sam: SamTerminal,
    /// What F58 `RS` says: 00 booked now or before, 01 kept for a person or a later record to decide, 63 TAC wrong, 94 another
    /// record has this number.
    pub answer: RecordAnswer,
}

/// What an operator asks. All are idempotent: asked again with the same content, they answer [`AdminAnswer::Exists`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// Registers an issuer of purses.
    AddIssuer {
        /// Its id on the cards.
        issuer: IssuerId,
        /// The one currency of its purses.
        currency: Currency,
        /// Diversification factors above the card's own, in wire order (0 to 2).
        upper_factors: Vec<Factor>,
        /// Largest single load.
        load_limit: CardAmount,
    },
    /// Registers a merchant.
    AddMerchant {
        /// Field 42.
        merchant: MerchantId,
        /// Shown on statements.
        name: String,
        /// Currency of its account.
        currency: Currency,
    },
    /// Registers a terminal of a merchant.
    AddTerminal {
        /// Field 41.
        terminal: TerminalId,
        /// Whose.
        merchant: MerchantId,
        /// The acquirer it works under.
        acquirer: AcquirerId,
    },
    /// From `from` on, the SAM with this number works in this terminal (and no longer in the one before).
    AssignSam {
        /// The SAM's number.
        sam: SamTerminal,
        /// Where it works.
        terminal: TerminalId,
        /// Local date and time, as the records carry it.
        from: Moment,
    },
    /// From `from` on, the SAM works nowhere (lost, withdrawn).
    WithdrawSam {
        /// The SAM's number.
        sam: SamTerminal,
        /// Local date and time, as the records carry it.
        from: Moment,
    },
    /// Opens a cardholder's funding account.
    AddFunding {
        /// Bank card, third party, phone bill.
        kind: FundingKind,
        /// Its number.
        number: FundingNumber,
        /// Its currency.
        currency: Currency,
    },
    /// Money arrived for a funding account. `reference` makes it idempotent.
    Fund {
        /// Bank card, third party, phone bill.
        kind: FundingKind,
        /// Its number.
        number: FundingNumber,
        /// How much.
        amount: Amount,
        /// The operator's own unique name for this arrival.
        reference: u64,
    },
    /// Closes a cardholder's funding account: nothing new is paid from or into it, and what is held is still taken or released.
    CloseFunding {
        /// Bank card, third party, phone bill.
        kind: FundingKind,
        /// Its number.
        number: FundingNumber,
        /// Its currency.
        currency: Currency,
    },
    /// A PAN's token draws on this funding account.
    AddPayer {
        /// The token.
        token: PayerToken,
        /// Bank card, third party, phone bill.
        kind: FundingKind,
        /// Its number.
        number: FundingNumber,
        /// Its currency.
        currency: Currency,
    },
    /// Registers an issued purse. Cards are issued empty.
    AddCard {
        /// Its issuer.
        issuer: IssuerId,
        /// The card.
        asn: Asn,
        /// Version of its keys.
        key_version: KeyVersion,
        /// The funding account that loads draw on, if linked.
        funding: Option<(FundingKind, FundingNumber)>,
    },
    /// The card's keys are of this version: it was registered with another, or made anew with other keys. Books what was held for it, and answers how
    /// many records.
    SetCardKeys {
        /// Its issuer.
        issuer: IssuerId,
        /// The card.
        asn: Asn,
        /// Version of its keys.
        key_version: KeyVersion,
    },
    /// Puts a card on the deny list, or takes it off.
    SetCardStatus {
        /// Its issuer.
        issuer: IssuerId,
        /// The card.
        asn: Asn,
        /// From now on.
        status: CardStatus,
    },
    /// A person decides about loads that no card has decided: release them (the card was never credited).
    ReleaseLoad {
        /// Issuer.
        issuer: IssuerId,
        /// The card.
        asn: Asn,
        /// Online counter of the load.
        counter: OnlineCounter,
        /// The newest of them that the person has seen: one that came after it is not his to release.
        transaction: TransactionSeq,
    },
    /// A person decides about a load that no TAC has proved: the card was credited with this one, of those that were asked for at its counter. Not before
    /// the card has shown the next counter: until then it may not have been credited at all.
    CreditLoad {
        /// Issuer.
        issuer: IssuerId,
        /// The card.
        asn: Asn,
        /// Online counter of the load.
        counter: OnlineCounter,
        /// The load's transaction.
        transaction: TransactionSeq,
    },
    /// Uncertain offline debits that the card's chain excludes are closed; those that it confirms and that came long enough ago, by the
    /// store's clock, are paid by policy. At most a bounded number at once: asked until the count is 0, everything is decided.
    ResolveUncertain {
        /// How long another record may still claim the counter, in milliseconds.
        wait_ms: u64,
    },
    /// A person decides about one uncertain debit: paid as by policy, or closed as void. To be paid, its card must be known: an unproved record does
    /// not say which keys its card has.
    DecideUncertain {
        /// The SAM's number.
        sam: SamTerminal,
        /// The record's number.
        seq: TermSeq,
        /// Pay, or close.
        pay: bool,
    },
    /// Raises an alert for every card some of whose counters belong to no record for this long; told again after as long.
    TellGaps {
        /// In milliseconds.
        wait_ms: u64,
    },
    /// Sets what a kind of account, an account, a terminal or a merchant may spend or take in. What was used of the day stays used.
    SetLimit(Limit),
    /// Books records that were held because their SAM was unknown, now that it is registered.
    RetryHeld {
        /// The SAM's number.
        sam: SamTerminal,
    },
}

/// Most loads that a card may ask for at one online counter and that nobody has decided: more are refused (65). A card that asks so often and is never
/// credited is a matter for a person, who may release as many once: what was released can still be proved, so it goes on to count.
pub const LOADS_UNDECIDED_MAX: usize = 32;

/// What a card may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardStatus {
    /// Everything.
    Active,
    /// On the deny list: no loads; terminals refuse it once they have the list.
    Denied,
}

/// What an operator is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAnswer {
    /// Done.
    Done,
    /// It was so already.
    Exists,
    /// Done to so many.
    Count(u32),
    /// Refused.
    Refused(AdminRefusal),
}
