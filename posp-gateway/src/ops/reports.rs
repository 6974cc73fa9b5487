//! Reports as plain data, for JSON and for words: amounts as text in the currency's own format, times in the gateway's zone.

use backend::api::{
    Alert, AlertKind, BatchTotals, CardReport, CardStatus, DenyChange, Evidence, ItemKey, OpenItem, Tally,
};
use backend::report::{AuditReport, BatchReport, BatchState, LineKind, Statement};
use jiff::tz::TimeZone;
use protocol::hex::Hex;
use protocol::iso8583::f58::CardCounter;
use protocol::money::{Amount, Currency};
use protocol::time::Wall;
use serde::{Deserialize, Serialize};

pub(super) fn money(minor: u64, currency: Currency) -> String {
    Amount::new(minor, currency).to_string()
}

fn signed(minor: i128, currency: Currency) -> String {
    let size = u64::try_from(minor.unsigned_abs()).unwrap_or(u64::MAX);
    let sign = if minor < 0 { "-" } else { "" };
    format!("{sign}{}", money(size, currency))
}

/// `2026-11-22T18:30:05+08:00`
pub(crate) fn time(at: Wall, zone: &TimeZone) -> String {
    let stamp = jiff::Timestamp::from_millisecond(at.0).map(|stamp| stamp.to_zoned(zone.clone()));
    stamp.map_or_else(|_| at.0.to_string(), |at| at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
}

/// A merchant's statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementSummary {
    /// Field 42.
    pub merchant: String,
    /// Its name.
    pub name: String,
    /// Oldest first.
    pub lines: Vec<StatementRow>,
    /// Owed to the merchant.
    pub payable: String,
}

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementRow {
    /// When.
    pub at: String,
    /// Retrieval reference, as on the receipt.
    pub reference: String,
    /// What: `purchase`, `returned`, `purse-purchase`, `load`, `clearing`, `adjustment`.
    pub kind: String,
    /// With a minus if it is owed by the merchant.
    pub amount: String,
}

impl StatementSummary {
    pub(super) fn of(statement: &Statement, zone: &TimeZone) -> Self {
        let row = |line: &backend::report::StatementLine| {
            let amount = line.amount.to_string();
            let reference = line.transaction.and_then(backend::api::retrieval_reference);
            StatementRow {
                at: time(line.at, zone),
                reference: reference.map_or_else(String::new, |reference| reference.to_string()),
                kind: kind(line.kind).to_owned(),
                amount: if line.credit { amount } else { format!("-{amount}") },
            }
        };
        Self {
            merchant: statement.merchant.to_string(),
            name: statement.name.clone(),
            lines: statement.lines.iter().map(row).collect(),
            payable: signed(statement.payable, statement.currency),
        }
    }
}

const fn kind(kind: LineKind) -> &'static str {
    match kind {
        LineKind::Purchase => "purchase",
        LineKind::Returned => "returned",
        LineKind::PursePurchase => "purse-purchase",
        LineKind::Load => "load",
        LineKind::Clearing => "clearing",
        LineKind::Adjustment => "adjustment",
    }
}

/// A batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSummary {
    /// Field 41.
    pub terminal: String,
    /// Its number.
    pub batch: u32,
    /// `open`, `uploading`, `closed`.
    pub state: String,
    /// The host's totals.
    pub host: TotalsSummary,
    /// The terminal's, once it asked for settlement.
    pub of_terminal: Option<TotalsSummary>,
    /// What differs.
    pub differences: Vec<DifferenceLine>,
}

/// Totals in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalsSummary {
    /// Purchases and offline records.
    pub debits: TallySummary,
    /// Refunds and voids.
    pub credits: TallySummary,
    /// Loads.
    pub loads: TallySummary,
}

/// A sum in minor units and how many it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TallySummary {
    /// Minor units.
    pub minor: u64,
    /// How many.
    pub count: u32,
}

impl From<Tally> for TallySummary {
    fn from(tally: Tally) -> Self {
        Self { minor: tally.minor, count: tally.count }
    }
}

impl From<BatchTotals> for TotalsSummary {
    fn from(totals: BatchTotals) -> Self {
        Self { debits: totals.debits.into(), credits: totals.credits.into(), loads: totals.loads.into() }
    }
}

/// One transaction on which terminal and host differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferenceLine {
    /// `trace 17`, or `record 000000000001/42`.
    pub key: String,
    /// The terminal's amount, if it has the transaction.
    pub terminal: Option<String>,
    /// The host's amount, if it has the transaction.
    pub host: Option<String>,
}

impl BatchSummary {
    pub(super) fn of(report: &BatchReport) -> Self {
        let state = match report.state {
            BatchState::Open => "open",
            BatchState::Uploading => "uploading",
            BatchState::Closed => "closed",
        };
        let differences = report.differences.iter().map(|difference| DifferenceLine {
            key: match difference.key {
                ItemKey::Trace(trace) => format!("trace {trace}"),
                ItemKey::Record(sam, seq) => format!("record {sam}/{seq}"),
            },
            terminal: difference.terminal.map(|amount| amount.to_string()),
            host: difference.host.map(|amount| amount.to_string()),
        });
        Self {
            terminal: report.terminal.to_string(),
            batch: report.batch.0,
            state: state.to_owned(),
            host: report.host.into(),
            of_terminal: report.of_terminal.map(Into::into),
            differences: differences.collect(),
        }
    }
}

/// A card, in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardSummary {
    /// Issuer.
    pub issuer: String,
    /// Serial number.
    pub asn: String,
    /// On the deny list.
    pub denied: bool,
    /// Posted loads.
    pub loaded: u64,
    /// Booked debits.
    pub spent: u64,
    /// What is held for loads that are neither booked nor released.
    pub open_loads: u64,
    /// The amounts of which the card may have been credited one.
    #[serde(default)]
    pub open_amounts: Vec<u64>,
    /// Online counter of those loads, as `card release` and `card credit` take it.
    pub open_counter: Option<u16>,
    /// Retrieval reference of the newest of them, as `card release` takes it.
    #[serde(default)]
    pub open_reference: Option<String>,
    /// What should be on it: posted loads less booked debits.
    pub expected: i64,
    /// The newest offline counter that is known, and the balance after it.
    pub newest: Option<(u16, u32)>,
    /// The lowest online counter that its next load may show.
    pub next_online: u16,
    /// Offline counters below the newest whose record has not arrived.
    pub missing: u32,
    /// Version of the deny list at which its status changed last.
    pub deny_version: u32,
}

impl CardSummary {
    pub(super) fn of(issuer: String, asn: String, report: &CardReport) -> Self {
        let denied = report.status == CardStatus::Denied;
        let CardReport { loaded, spent, open_loads, missing, .. } = *report;
        Self {
            issuer,
            asn,
            denied,
            loaded,
            spent,
            open_loads,
            open_amounts: report.open_amounts.clone(),
            open_counter: report.open_counter.map(|counter| counter.0),
            open_reference: report
                .open_newest
                .and_then(backend::api::retrieval_reference)
                .map(|reference| reference.to_string()),
            expected: i64::try_from(report.expected).unwrap_or(i64::MAX),
            newest: report.newest.map(|(counter, balance)| (counter.0, balance.0)),
            next_online: report.next_online.0,
            missing,
            deny_version: report.deny_version.0,
        }
    }
}

/// Something a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertLine {
    /// When.
    pub at: String,
    /// What, as `wrong-tac`.
    pub kind: String,
    /// Which card.
    pub card: Option<String>,
    /// Which record.
    pub record: Option<String>,
}

impl AlertLine {
    pub(super) fn of(alert: &Alert, zone: &TimeZone) -> Self {
        Self {
            at: time(alert.at, zone),
            kind: alert_kind(alert.kind).to_owned(),
            card: alert.card.map(|(issuer, asn)| format!("{issuer}:{asn}")),
            record: alert.record.map(|(sam, seq)| format!("{sam}/{seq}")),
        }
    }
}

const fn alert_kind(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::WrongTac => "wrong-tac",
        AlertKind::WrongMac1 => "wrong-mac1",
        AlertKind::Fork => "fork",
        AlertKind::Rollback => "rollback",
        AlertKind::BalanceBreak => "balance-break",
        AlertKind::UnknownSam => "unknown-sam",
        AlertKind::UnknownCard => "unknown-card",
        AlertKind::RecordConflict => "record-conflict",
        AlertKind::LateLoad => "late-load",
        AlertKind::LoadLoss => "load-loss",
        AlertKind::ReversalAfterConfirm => "reversal-after-confirm",
        AlertKind::ForeignUpload => "foreign-upload",
        AlertKind::AdviceRefused => "advice-refused",
        AlertKind::Overtaken => "overtaken",
        AlertKind::Gap => "gap",
        AlertKind::Denied => "denied",
        AlertKind::DenyLifted => "deny-lifted",
        AlertKind::LoadReleased => "load-released",
        AlertKind::OtherKeys => "other-keys",
        AlertKind::LoadContested => "load-contested",
        AlertKind::LoadCredited => "load-credited",
    }
}

/// An offline record that is not decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenLine {
    /// When it came first.
    pub received: String,
    /// Which, as `000000000001/42`.
    pub record: String,
    /// Whose.
    pub card: String,
    /// The card's offline counter.
    pub counter: u16,
    /// Its amount.
    pub amount: String,
    /// What is known: `consumed`, `nothing-later`, `gap`, …
    pub evidence: String,
}

impl OpenLine {
    pub(super) fn of(item: &OpenItem, zone: &TimeZone) -> Self {
        let content = &item.record.content;
        let counter = match content.counter {
            CardCounter::Offline(counter) => counter.0,
            CardCounter::Online(counter) => counter.0,
        };
        let minor = u64::from(content.amount.0);
        Self {
            received: time(item.record.received, zone),
            record: format!("{}/{}", content.terminal, content.term_seq),
            card: format!("{}:{}", content.issuer, content.asn),
            counter,
            amount: item.currency.map_or_else(|| minor.to_string(), |currency| money(minor, currency)),
            evidence: evidence(item.evidence).to_owned(),
        }
    }
}

const fn evidence(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Consumed => "consumed",
        Evidence::Claimed => "claimed",
        Evidence::NotConsumed => "not-consumed",
        Evidence::Outdone => "outdone",
        Evidence::NothingLater => "nothing-later",
        Evidence::Gap => "gap",
        Evidence::Contested => "contested",
        Evidence::Contradicted => "contradicted",
        Evidence::UnknownPlace => "unknown-place",
        Evidence::Unverified => "unverified",
    }
}

/// A card that went on the deny list or off it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenyLine {
    /// At this version.
    pub version: u32,
    /// Issuer.
    pub issuer: String,
    /// Serial number.
    pub asn: String,
    /// On the list, or off it.
    pub denied: bool,
}

impl DenyLine {
    pub(super) fn of(change: &DenyChange) -> Self {
        let DenyChange { version, issuer, asn, denied } = change;
        Self { version: version.0, issuer: issuer.to_string(), asn: asn.to_string(), denied: *denied }
    }
}

/// An audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditSummary {
    /// Nothing is wrong.
    pub clean: bool,
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
    /// Per currency: all debits, which are all credits.
    pub turnover: Vec<TurnoverSummary>,
    /// Per issuer: what is on cards.
    pub float: Vec<FloatSummary>,
    /// Newest link of each gateway's chain: number and hash.
    pub heads: Vec<String>,
    /// Exported heads that were compared with the chain, if any were given.
    pub heads_checked: Option<u64>,
    /// Where a restored backup made the chain skip numbers of transactions: commit, and how many.
    pub skipped: Vec<(String, u64)>,
    /// What is wrong.
    pub exceptions: Vec<String>,
}

/// Turnover of a currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnoverSummary {
    /// ISO 4217.
    pub currency: String,
    /// Debits, and as much in credits.
    pub amount: String,
}

/// Float of an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatSummary {
    /// The issuer.
    pub issuer: String,
    /// Loads less debits booked.
    pub posted: String,
    /// Held for loads that are not confirmed yet.
    pub pending: String,
}

impl AuditSummary {
    pub(super) fn of(report: &AuditReport) -> Self {
        let turnover = report.turnover.iter().map(|(currency, minor)| TurnoverSummary {
            currency: currency.alpha().to_owned(),
            amount: signed(i128::try_from(*minor).unwrap_or(i128::MAX), *currency),
        });
        let float = report.float.iter().map(|line| FloatSummary {
            issuer: line.issuer.to_string(),
            posted: signed(line.posted, line.currency),
            pending: money(line.pending, line.currency),
        });
        Self {
            clean: report.is_clean(),
            commits: report.commits,
            transfers: report.transfers,
            transactions: report.transactions,
            records: report.records,
            cards: report.cards,
            turnover: turnover.collect(),
            float: float.collect(),
            heads: report.heads.iter().map(|(number, hash)| format!("{number} {}", Hex(hash))).collect(),
            heads_checked: None,
            skipped: report.skipped.iter().map(|skip| (skip.commit.to_string(), skip.count)).collect(),
            exceptions: report.exceptions.iter().map(|exception| format!("{exception:?}")).collect(),
        }
    }
}
