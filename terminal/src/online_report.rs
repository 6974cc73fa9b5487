//! Results of `provision`, `topup`, `upload` and `settle` as scripts and people read them (`docs/reference/terminal-json.md`).

use crate::config::{Settings, stamp};
use crate::host::{Closing, Drained, Item, Kind, Settlement};
use crate::journal::{Journal, Load};
use crate::load_receipt::LoadSlip;
use crate::report::Money;
use crate::unended::UnendedLoad;
use crate::words::{masked, words_for};
use console::{Args, Exit, Failure, Texts};
use protocol::iso8583::f58::{BatchDifference, ItemName, ItemSide};
use protocol::iso8583::typed::{SettlementTotals, Sum, Totals};
use protocol::money::{Amount, Currency};
use serde::Serialize;

/// Result of `provision`.
#[derive(Debug, Serialize)]
pub struct Provisioned {
    /// Field 41.
    pub terminal: String,
    /// Field 42.
    pub merchant: String,
    /// `host:port`.
    pub gateway: String,
    /// The batch to begin with.
    pub batch: u32,
    /// An earlier identity or key was replaced.
    pub replaced: bool,
}

/// A load.
#[derive(Debug, Serialize)]
pub struct LoadLine {
    /// Its number in the journal.
    pub number: u64,
    /// `sent`, `answered`, `credit-sent`, `credited`, `refused`, `unknown`, `declined`, `reversed`, `confirmed`, `reported`.
    pub standing: &'static str,
    /// Local time of the request, with offset.
    pub time: String,
    /// What was to be loaded.
    pub amount: Money,
    /// The card, masked.
    pub card: String,
    /// Batch and trace of the request: its identity at the gateway.
    pub batch: u32,
    /// See `batch`.
    pub trace: u32,
    /// The gateway's reference.
    pub reference: Option<String>,
    /// The card's proof, hexadecimal.
    pub tac: Option<String>,
    /// The gateway's last code about it.
    pub host_code: Option<String>,
}

/// An item that was sent.
#[derive(Debug, Serialize)]
pub struct SentItem {
    /// `reversal`, `confirmation`, `payment`.
    pub kind: &'static str,
    /// The number of its load or payment in the journal.
    pub number: u64,
    /// What it is about.
    pub amount: Option<Money>,
    /// The gateway's code.
    pub host_code: Option<String>,
    /// It no longer waits.
    pub done: bool,
    /// A person has to look at it.
    pub attention: bool,
}

/// Why something did not go as wished.
#[derive(Debug, Serialize)]
pub struct Reason {
    /// The code.
    pub code: String,
    /// Its name.
    pub name: &'static str,
    /// What happened.
    pub what: String,
    /// What to do.
    pub next: String,
}

/// Result of `topup`.
#[derive(Debug, Serialize)]
pub struct TopupReport {
    /// `loaded`, `declined`, `same-card-again`, `uncertain`, `earlier-paid`, `use-another-card`, `not-loaded`.
    pub outcome: &'static str,
    /// How the process ends.
    pub exit: u8,
    /// Why, unless it was loaded.
    #[serde(flatten)]
    pub reason: Option<Reason>,
    /// The load with its receipt.
    pub load: Option<LoadLine>,
    /// Balance before.
    pub before: Option<Money>,
    /// Balance after.
    pub after: Option<Money>,
    /// The receipt as text.
    pub receipt: Option<String>,
    /// What waited and was sent on the way.
    pub sent: Vec<SentItem>,
}

/// Result of `upload`.
#[derive(Debug, Serialize)]
pub struct UploadReport {
    /// Each item that was sent.
    pub sent: Vec<SentItem>,
    /// How much still waits.
    pub waiting: usize,
    /// Payments that wait for their card.
    pub open: usize,
    /// How the process ends.
    pub exit: u8,
    /// Why something still waits.
    #[serde(flatten)]
    pub reason: Option<Reason>,
}

/// One side of a batch.
#[derive(Debug, Serialize)]
pub struct Counted {
    /// Payments.
    pub payments: CountedSum,
    /// Refunds and voids.
    pub refunds: CountedSum,
    /// Loads.
    pub loads: CountedSum,
}

/// How many, and how much.
#[derive(Debug, Serialize)]
pub struct CountedSum {
    /// How many.
    pub count: u16,
    /// How much.
    pub amount: Money,
}

/// Result of `settle`.
#[derive(Debug, Serialize)]
pub struct SettleReport {
    /// `balanced`, `differing`, `answer-lost`.
    pub outcome: &'static str,
    /// The batch that was closed.
    pub batch: u32,
    /// The open batch, once known.
    pub next_batch: Option<u32>,
    /// What the terminal counted.
    pub terminal: Counted,
    /// What the gateway counted.
    pub gateway: Option<Counted>,
    /// On what they differ, item by item, as far as the gateway's answer had room; `posp-gateway report batch` has all.
    pub differences: Vec<DifferingItem>,
    /// How many differences there are.
    pub differences_total: u16,
    /// What waited and was sent before.
    pub sent: Vec<SentItem>,
    /// Loads whose card never came back, oldest first.
    pub loads_without_end: Vec<UnendedLoad>,
    /// Payments that were interrupted and wait for their card: they are in no batch yet.
    pub interrupted: usize,
    /// How the process ends.
    pub exit: u8,
    /// What to do, unless both counted the same.
    #[serde(flatten)]
    pub reason: Option<Reason>,
}

/// One item on which terminal and gateway differ.
#[derive(Debug, Serialize)]
pub struct DifferingItem {
    /// `payment`, `refund`, `load`.
    pub kind: &'static str,
    /// Trace number, or SAM and sequence.
    pub item: String,
    /// The terminal's amount; `None`: it does not have the item.
    pub terminal: Option<Money>,
    /// The gateway's amount; `None`: it does not have the item.
    pub gateway: Option<Money>,
}

fn differing(settlement: &Settlement, currency: Currency) -> Vec<DifferingItem> {
    let money = |minor: Option<u64>| minor.map(|minor| Amount::new(minor, currency).into());
    let item = |of: &BatchDifference| DifferingItem {
        kind: match of.side {
            ItemSide::Debit => "payment",
            ItemSide::Credit => "refund",
            ItemSide::Load => "load",
        },
        item: match of.name {
            ItemName::Trace(trace) => trace.to_string(),
            ItemName::Record(sam, seq) => format!("{sam}/{seq}"),
        },
        terminal: money(of.terminal),
        gateway: money(of.host),
    };
    settlement.differences.iter().flat_map(|differences| &differences.listed).map(item).collect()
}

/// A failure for scripts.
#[must_use]
pub fn reason(failure: &Failure, texts: &Texts) -> Reason {
    let said = texts.failure(failure);
    Reason { code: said.code.to_string(), name: said.code.message(), what: said.what, next: said.next }
}

/// A failure for people.
#[must_use]
pub fn reason_text(failure: &Failure, texts: &Texts) -> String {
    let said = texts.failure(failure);
    format!("{}  {}\n      →  {}\n", said.code, said.what, said.next)
}

/// A load for scripts.
#[must_use]
pub fn load(load: &Load, settings: &Settings) -> LoadLine {
    LoadLine {
        number: load.id.0,
        standing: load.state.name(),
        time: stamp(&settings.terminal.zone, &load.date, &load.time),
        amount: load.amount.into(),
        card: masked(&load.card.asn),
        batch: load.batch.0,
        trace: load.trace.0,
        reference: load.reference.clone(),
        tac: load.tac.clone(),
        host_code: load.code.clone(),
    }
}

/// Loads for a person, a line each; empty if there are none.
#[must_use]
pub fn loads_text(loads: &[Load], texts: &Texts) -> String {
    let mut out = String::new();
    for load in loads {
        let args = Args::new()
            .with("number", load.id.0)
            .with("date", &load.date)
            .with("time", &load.time)
            .with("amount", load.amount)
            .with("card", masked(&load.card.asn))
            .with("state", texts.say(&format!("load-{}", load.state.name())));
        out.push_str(&texts.say_with("history-load", &args));
        out.push('\n');
    }
    out
}

fn amount_of(item: &Item, journal: &Journal) -> Option<Amount> {
    // An amount that cannot be read is left out: what the host said is told all the same.
    match item.kind {
        Kind::Record => journal.payment(item.number).ok().flatten().map(|payment| payment.amount),
        Kind::Reversal | Kind::Confirmation => {
            journal.load(item.number).ok().flatten().map(|load| load.amount)
        }
    }
}

/// What was sent, for scripts.
#[must_use]
pub fn sent(drained: &Drained, journal: &Journal) -> Vec<SentItem> {
    let item = |item: &Item| SentItem {
        kind: item.kind.name(),
        number: item.number.0,
        amount: amount_of(item, journal).map(Money::from),
        host_code: item.code.map(|code| code.to_string()),
        done: item.settled,
        attention: item.attention,
    };
    drained.items.iter().map(item).collect()
}

/// What was sent, for a person: a line each.
#[must_use]
pub fn sent_text(drained: &Drained, journal: &Journal, texts: &Texts) -> String {
    let mut out = String::new();
    for item in &drained.items {
        let verdict = match (item.settled, item.attention) {
            (true, false) => "sent-done",
            (true, true) => "sent-looked-at",
            (false, true) => "sent-refused",
            (false, false) => "sent-waits",
        };
        let amount = amount_of(item, journal).map_or_else(|| "?".to_owned(), |amount| amount.to_string());
        let code = item.code.map_or_else(|| "--".to_owned(), |code| code.to_string());
        let kind = texts.say(match item.kind {
            Kind::Reversal => "sent-reversal",
            Kind::Confirmation => "sent-confirmation",
            Kind::Record => "sent-payment",
        });
        let args = Args::new()
            .with("kind", kind)
            .with("number", item.number.0)
            .with("amount", amount)
            .with("words", words_for(&code))
            .with("code", code);
        out.push_str(&texts.say_with(verdict, &args));
        out.push('\n');
    }
    out
}

/// A load's end for scripts.
#[must_use]
pub fn topup(
    told: Result<&LoadSlip, (&Failure, Option<&LoadSlip>)>,
    sent: Vec<SentItem>,
    settings: &Settings,
    texts: &Texts,
) -> TopupReport {
    let (exit, failure, slip) = match told {
        Ok(slip) => (Exit::Success, None, Some(slip)),
        Err((failure, slip)) => (failure.code().exit(), Some(failure), slip),
    };
    let outcome = match exit {
        Exit::Success => "loaded",
        Exit::Declined => "declined",
        Exit::SameCard => "same-card-again",
        Exit::OtherCard => "use-another-card",
        Exit::Uncertain => "uncertain",
        Exit::EarlierPaid => "earlier-paid",
        _ => "not-loaded",
    };
    TopupReport {
        outcome,
        exit: exit.number(),
        reason: failure.map(|failure| reason(failure, texts)),
        load: slip.map(|slip| load(&slip.load, settings)),
        before: slip.map(|slip| slip.before.into()),
        after: slip.map(|slip| slip.after.into()),
        receipt: slip.map(|slip| slip.text(&settings.terminal, texts)),
        sent,
    }
}

fn counted(totals: &SettlementTotals, currency: Currency) -> Counted {
    let sum = |sum: Sum| CountedSum { count: sum.count, amount: Amount::new(sum.minor, currency).into() };
    let Totals { debit, credit, .. } = totals.domestic;
    Counted { payments: sum(debit), refunds: sum(credit), loads: sum(totals.loads.unwrap_or_default().debit) }
}

/// A settlement for scripts.
#[must_use]
pub fn settled(
    settlement: &Settlement,
    failure: Option<&Failure>,
    (sent, loads_without_end, interrupted): (Vec<SentItem>, Vec<UnendedLoad>, usize),
    currency: Currency,
    texts: &Texts,
) -> SettleReport {
    SettleReport {
        outcome: match settlement.closing {
            Closing::Balanced => "balanced",
            Closing::Differing => "differing",
            Closing::AnswerLost => "answer-lost",
        },
        batch: settlement.batch.0,
        next_batch: settlement.next.map(|batch| batch.0),
        terminal: counted(&settlement.ours, currency),
        gateway: settlement.theirs.as_ref().map(|theirs| counted(theirs, currency)),
        differences: differing(settlement, currency),
        differences_total: settlement.differences.as_ref().map_or(0, |differences| differences.total),
        sent,
        loads_without_end,
        interrupted,
        exit: failure.map_or(Exit::Success, |failure| failure.code().exit()).number(),
        reason: failure.map(|failure| reason(failure, texts)),
    }
}

/// What a settlement left out, for a person: totals that agree say nothing about it.
#[must_use]
pub fn left_out_text(report: &SettleReport, texts: &Texts) -> String {
    let held = report.sent.iter().filter(|item| item.kind == "payment" && item.attention).count();
    let lines = [("settled-held", held), ("settled-interrupted", report.interrupted)];
    let lines = lines.into_iter().filter(|(_, count)| *count > 0);
    lines
        .map(|(message, count)| format!("{}\n", texts.say_with(message, &Args::new().with("count", count))))
        .collect()
}

/// A settlement for a person: both sides' totals.
#[must_use]
pub fn settled_text(settlement: &Settlement, currency: Currency, texts: &Texts) -> String {
    let message = match settlement.closing {
        Closing::Balanced => "settled-balanced",
        Closing::Differing => "settled-differing",
        Closing::AnswerLost => "settled-answer-lost",
    };
    let mut out = texts.say_with(message, &Args::new().with("batch", settlement.batch));
    let sides =
        [("settled-terminal", Some(&settlement.ours)), ("settled-gateway", settlement.theirs.as_ref())];
    for (side, totals) in sides {
        let Some(totals) = totals else { continue };
        let counted = counted(totals, currency);
        let args = Args::new()
            .with("payments", counted.payments.count)
            .with("paid", counted.payments.amount.text)
            .with("refunds", counted.refunds.count)
            .with("refunded", counted.refunds.amount.text)
            .with("loads", counted.loads.count)
            .with("loaded", counted.loads.amount.text);
        out.push('\n');
        out.push_str(&texts.say_with(side, &args));
    }
    let differences = differing(settlement, currency);
    for difference in &differences {
        let amount = |money: &Option<Money>| {
            money.as_ref().map_or_else(|| texts.say("settled-absent"), |money| money.text.clone())
        };
        let args = Args::new()
            .with("kind", texts.say(&format!("settled-item-{}", difference.kind)))
            .with("item", &difference.item)
            .with("terminal", amount(&difference.terminal))
            .with("gateway", amount(&difference.gateway));
        out.push('\n');
        out.push_str(&texts.say_with("settled-difference", &args));
    }
    let total = settlement.differences.as_ref().map_or(0, |differences| usize::from(differences.total));
    if let Some(more) = total.checked_sub(differences.len()).filter(|more| *more > 0) {
        out.push('\n');
        out.push_str(&texts.say_with("settled-differences-more", &Args::new().with("more", more)));
    }
    if let Some(next) = settlement.next {
        out.push('\n');
        out.push_str(&texts.say_with("settled-next", &Args::new().with("batch", next)));
    }
    out.push('\n');
    out
}
