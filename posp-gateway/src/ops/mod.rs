//! Operations: what an operator asks, and what comes of it.
//!
//! An [`Operation`] is plain data. It is carried out by [`perform`] over a [`Desk`]: in this process over the store itself while no gateway runs,
//! or inside the running gateway, whose control socket it came through ([`control`]). Both are the same code.

mod backup;
pub mod control;
pub mod heads;
mod issuer_file;
mod limits;
mod loads;
mod payer;
mod perform;
#[cfg(test)]
mod privacy;
pub mod provisioning;
mod reports;
mod schedule;
mod search;

pub use backup::{
    BackupSummary, RestoreSummary, SkippedNumbers, has_keys_elsewhere, restore, restore_shared, without_keys,
};
pub use limits::LimitLine;
pub use payer::Pan;
pub use perform::{Context, perform};
pub(crate) use reports::time;
pub use reports::{
    AlertLine, AuditSummary, BatchSummary, CardSummary, DenyLine, DifferenceLine, FloatSummary, OpenLine,
    StatementRow, StatementSummary, TallySummary, TotalsSummary, TurnoverSummary,
};
pub use schedule::HeadSchedule;

pub use search::{Names, RecordSummary, TransactionSummary};

use crate::clock::Clock;
use crate::writer::{Job, Queue};
use backend::api::{AdminAnswer, AdminRequest, Answer, Backend, Query, Report, Request};
use backend::store::StoreFault;
use console::{Failure, code};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// What an operator asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "kebab-case")]
pub enum Operation {
    /// Is the gateway there?
    Ping,
    /// Registers a merchant.
    MerchantAdd {
        /// Field 42.
        merchant: String,
        /// Shown on statements and receipts.
        name: String,
        /// ISO 4217.
        currency: String,
    },
    /// Registers a terminal and makes its master key.
    TerminalAdd {
        /// Field 41.
        terminal: String,
        /// Field 42.
        merchant: String,
        /// Acquirer.
        acquirer: u64,
        /// A new master key for a terminal that has one.
        renew: bool,
    },
    /// From now on the SAM works in this terminal.
    SamAdd {
        /// 12 hexadecimal digits.
        sam: String,
        /// Field 41.
        terminal: String,
        /// `YYYY-MM-DD HH:MM:SS`, local; now if absent.
        from: Option<String>,
    },
    /// Books records that were held because their SAM was unknown.
    SamRetry {
        /// 12 hexadecimal digits.
        sam: String,
    },
    /// Registers an issuer and takes in its keys.
    IssuerAdd {
        /// The key file, an absolute path.
        file: String,
    },
    /// Registers a purse.
    CardAdd {
        /// 16 hexadecimal digits.
        issuer: String,
        /// 20 hexadecimal digits.
        asn: String,
        /// Version of its keys.
        key_version: u8,
        /// `bank:17`: the account that loads draw on.
        funding: Option<String>,
    },
    /// A card's keys are of this version; books what was held for it.
    CardRekey {
        /// 16 hexadecimal digits.
        issuer: String,
        /// 20 hexadecimal digits.
        asn: String,
        /// Version of its keys.
        key_version: u8,
    },
    /// Puts a card on the deny list or takes it off.
    CardDeny {
        /// 16 hexadecimal digits.
        issuer: String,
        /// 20 hexadecimal digits.
        asn: String,
        /// On the list, or off it.
        denied: bool,
    },
    /// Frees the money of a load that no card has decided about.
    CardRelease {
        /// 16 hexadecimal digits.
        issuer: String,
        /// 20 hexadecimal digits.
        asn: String,
        /// The load's online counter, as the card's report says it.
        counter: u16,
        /// The retrieval reference of the newest load there, as the card's report says it.
        reference: String,
    },
    /// Says which of several loads a card was credited with.
    CardCredit {
        /// 16 hexadecimal digits.
        issuer: String,
        /// 20 hexadecimal digits.
        asn: String,
        /// The loads' online counter, as the card's report says it.
        counter: u16,
        /// The retrieval reference of the one, as the transactions' report says it.
        reference: String,
    },
    /// Opens a cardholder's account.
    FundingAdd {
        /// `bank:17`.
        account: String,
        /// ISO 4217.
        currency: String,
    },
    /// Money arrived for a cardholder's account.
    FundingDeposit {
        /// `bank:17`.
        account: String,
        /// `100.00`.
        amount: String,
        /// ISO 4217.
        currency: String,
        /// The operator's own unique number for this arrival.
        reference: u64,
    },
    /// Closes a cardholder's account.
    FundingClose {
        /// `bank:17`.
        account: String,
        /// ISO 4217.
        currency: String,
    },
    /// Whether a cardholder's account could pay this much: all that a carrier or a content provider may know.
    FundingSuffices {
        /// `bank:17`.
        account: String,
        /// `100.00`.
        amount: String,
        /// ISO 4217.
        currency: String,
    },
    /// Sets what somebody may spend or take in; exactly one of the first four.
    LimitSet {
        /// `bank`, `third-party`, `carrier`.
        kind: Option<String>,
        /// `bank:17`.
        account: Option<String>,
        /// Field 41.
        terminal: Option<String>,
        /// Field 42.
        merchant: Option<String>,
        /// Largest payment, `200.00`; none: no limit.
        payment: Option<String>,
        /// Most in a day.
        day_sum: Option<String>,
        /// How many in a day.
        day_count: Option<u32>,
        /// ISO 4217.
        currency: String,
    },
    /// Every limit with what is used of it today.
    LimitList {
        /// How many.
        limit: u32,
    },
    /// A card number's payments draw on this account.
    PayerAdd {
        /// The card number.
        pan: Pan,
        /// `bank:17`.
        account: String,
        /// ISO 4217.
        currency: String,
    },
    /// Transactions by any of their names.
    ReportTransaction(Names),
    /// A merchant's statement.
    ReportMerchant {
        /// Field 42.
        merchant: String,
        /// First day, `YYYY-MM-DD`.
        from: Option<String>,
        /// Last day, `YYYY-MM-DD`.
        to: Option<String>,
    },
    /// A batch of a terminal; its open one, or the one before if none is open, if no number is given.
    ReportBatch {
        /// Field 41.
        terminal: String,
        /// Its number.
        batch: Option<u32>,
    },
    /// A card as the backend believes it to be.
    ReportCard {
        /// 16 hexadecimal digits.
        issuer: String,
        /// 20 hexadecimal digits.
        asn: String,
    },
    /// The newest alerts.
    ReportAlerts {
        /// How many.
        limit: u32,
    },
    /// Offline records that are not decided.
    ReportOpen {
        /// How many.
        limit: u32,
    },
    /// Cards that went on the deny list or off it.
    ReportDenyList {
        /// After this version.
        since: u32,
        /// How many.
        limit: u32,
    },
    /// A person decides about an uncertain offline debit.
    RecordDecide {
        /// 12 hexadecimal digits.
        sam: String,
        /// The record's number.
        seq: u32,
        /// Pay it, or close it as void.
        pay: bool,
    },
    /// Everything re-derived and compared.
    Audit {
        /// Exported heads to compare with, an absolute path.
        heads: Option<String>,
    },
    /// Signs the chain's newest head and appends it to a file.
    HeadExport {
        /// The file, an absolute path; the configured one if absent.
        file: Option<String>,
    },
    /// Makes a backup.
    Backup {
        /// The file, an absolute path.
        to: String,
    },
    /// Decides what time has decided: uncertain offline debits that are old enough.
    Settle {
        /// How old, in days.
        days: u32,
    },
}

/// What came of an operation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The gateway is there.
    Running {
        /// Open connections.
        connections: usize,
        /// Terminals signed in.
        terminals: usize,
    },
    /// Done, or it was so already.
    Registered {
        /// What: `merchant`, `sam`, …
        what: String,
        /// Which.
        name: String,
        /// It was so already.
        existed: bool,
    },
    /// A terminal's provisioning file, and the code that opens it. The code is shown once.
    Provisioned {
        /// Field 41.
        terminal: String,
        /// Text of the file.
        file: String,
        /// The one-time code.
        code: String,
    },
    /// The money that was held for a load is free again.
    LoadReleased {
        /// Issuer.
        issuer: String,
        /// Serial number.
        asn: String,
        /// The load's online counter.
        counter: u16,
        /// How much was held.
        amount: String,
    },
    /// A load is booked.
    LoadCredited {
        /// Issuer.
        issuer: String,
        /// Serial number.
        asn: String,
        /// The load's online counter.
        counter: u16,
        /// Its retrieval reference.
        reference: String,
    },
    /// A card number's payments draw on an account now.
    PayerAdded {
        /// Its first six and last four digits.
        pan: String,
        /// Its token, as `report transaction --payer` takes it.
        token: String,
        /// `bank:17`.
        account: String,
        /// It was so already.
        existed: bool,
    },
    /// Limits.
    Limits {
        /// Them, by whose they are.
        limits: Vec<LimitLine>,
        /// There are more.
        more: bool,
    },
    /// Done to so many.
    Counted {
        /// What.
        what: String,
        /// How many.
        count: u32,
    },
    /// Yes or no.
    Suffices {
        /// The account could pay it now.
        suffices: bool,
    },
    /// Transactions, oldest first.
    Transactions {
        /// Them.
        transactions: Vec<TransactionSummary>,
        /// There are more.
        more: bool,
    },
    /// A merchant's statement.
    Statement(StatementSummary),
    /// A batch.
    Batch(BatchSummary),
    /// A card.
    Card(CardSummary),
    /// Alerts, newest first.
    Alerts {
        /// Them.
        alerts: Vec<AlertLine>,
    },
    /// Offline records that are not decided.
    Open {
        /// Them.
        items: Vec<OpenLine>,
    },
    /// The deny list's changes.
    DenyList {
        /// Its newest version.
        version: u32,
        /// Cards whose status changed, oldest change first.
        cards: Vec<DenyLine>,
    },
    /// An audit.
    Audit(Box<AuditSummary>),
    /// A head was exported.
    Head {
        /// The file.
        file: String,
        /// The head; absent in an empty ledger.
        head: Option<heads::HeadLine>,
    },
    /// A backup was made.
    BackedUp(Box<BackupSummary>),
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // One of them holds a code.
        f.write_str("Outcome(..)")
    }
}

/// Where operations reach the backend.
pub trait Desk {
    /// Asks for a change.
    ///
    /// # Errors
    /// The store failed or has stopped.
    fn admin(&mut self, request: AdminRequest) -> Result<AdminAnswer, Failure>;

    /// Reads.
    ///
    /// # Errors
    /// The store failed or has stopped.
    fn query(&mut self, query: Query) -> Result<Report, Failure>;

    /// Copies the ledger, as it stands between two commits, into a file that is empty or not there.
    ///
    /// # Errors
    /// The store failed or has stopped.
    fn copy_to(&mut self, file: &Path) -> Result<(), Failure>;
}

/// A store's fault, as a person meets it.
#[must_use]
pub fn store_failure(path: &str, fault: &StoreFault) -> Failure {
    let code = match fault {
        StoreFault::Full => code::DISK_FULL,
        StoreFault::ReadOnly => code::DISK_READ_ONLY,
        StoreFault::InUse if path.starts_with("postgresql://") => code::GATEWAY_NUMBER_IN_USE,
        StoreFault::InUse => code::GATEWAY_STORE_IN_USE,
        StoreFault::Older { .. } => code::GATEWAY_STORE_OLDER,
        StoreFault::Away(_) => code::GATEWAY_DATABASE_AWAY,
        StoreFault::InDoubt(_) => code::GATEWAY_IN_DOUBT,
        StoreFault::Refused(_) => code::GATEWAY_DATABASE_REFUSED,
        StoreFault::Newer { .. } => code::GATEWAY_STORE_NEWER,
        StoreFault::Damaged { .. } => code::GATEWAY_STORE_DAMAGED,
        _ => code::GATEWAY_STORE_FAILED,
    };
    Failure::new(code).with("path", path).with("reason", fault)
}

/// Over a backend of this process.
pub struct Direct {
    backend: Box<dyn Backend + Send>,
    clock: Clock,
    path: String,
}

impl std::fmt::Debug for Direct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Direct({})", self.path)
    }
}

impl Direct {
    /// Over this backend, whose store is at `path`.
    #[must_use]
    pub fn new(backend: Box<dyn Backend + Send>, clock: Clock, path: String) -> Self {
        Self { backend, clock, path }
    }
}

impl Desk for Direct {
    fn admin(&mut self, request: AdminRequest) -> Result<AdminAnswer, Failure> {
        let answers = self.backend.execute(self.clock.now(), &[Request::Admin(request)]);
        let mut answers = answers.map_err(|fault| store_failure(&self.path, &fault))?;
        match answers.pop() {
            Some(Answer::Admin(answer)) => Ok(answer),
            _ => Err(Failure::new(code::UNEXPECTED).with("detail", "no answer from the backend")),
        }
    }

    fn query(&mut self, query: Query) -> Result<Report, Failure> {
        self.backend.query(&query).map_err(|fault| store_failure(&self.path, &fault))
    }

    fn copy_to(&mut self, file: &Path) -> Result<(), Failure> {
        self.backend.copy_to(file).map_err(|fault| store_failure(&self.path, &fault))
    }
}

/// Over the writer of a running gateway. Not for its runtime's own threads: it waits.
#[derive(Debug)]
pub struct Through {
    queue: Arc<Queue>,
    path: String,
}

impl Through {
    /// By way of this queue to the store at `path`.
    #[must_use]
    pub const fn new(queue: Arc<Queue>, path: String) -> Self {
        Self { queue, path }
    }

    fn wait<T>(&self, answer: tokio::sync::oneshot::Receiver<Result<T, StoreFault>>) -> Result<T, Failure> {
        let answer = answer.blocking_recv().unwrap_or(Err(StoreFault::Closed));
        answer.map_err(|fault| store_failure(&self.path, &fault))
    }
}

impl Desk for Through {
    fn admin(&mut self, request: AdminRequest) -> Result<AdminAnswer, Failure> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.queue.operator(Job::Admin(request, reply));
        self.wait(answer)
    }

    fn query(&mut self, query: Query) -> Result<Report, Failure> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.queue.operator(Job::Query(query, reply));
        self.wait(answer)
    }

    fn copy_to(&mut self, file: &Path) -> Result<(), Failure> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.queue.operator(Job::Copy(file.to_path_buf(), reply));
        self.wait(answer)
    }
}
