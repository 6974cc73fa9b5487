//! Results as scripts and people read them. The JSON shapes are stable: fields are added, never removed or given another
//! meaning (`docs/reference/terminal-json.md`).

use crate::config::{Settings, stamp};
use crate::driver::Run;
use crate::journal::{Journal, Payment, State, Sums};
use crate::outcome::Told;
use crate::receipt::{Receipt, Standing, columns};
use crate::unended::UnendedLoad;
use crate::words::masked;
use console::{Args, Texts};
use flow::Outcome;
use flow::outcome::CardBalance;
use protocol::hex::{self, Hex};
use protocol::money::Amount;
use serde::Serialize;

/// Longest TAC in bytes.
const TAC_BYTES_MAX: usize = 8;

/// Money.
#[derive(Debug, Serialize)]
pub struct Money {
    /// Minor units.
    pub minor: u64,
    /// ISO 4217.
    pub currency: String,
    /// As people read it.
    pub text: String,
}

impl From<Amount> for Money {
    fn from(amount: Amount) -> Self {
        Self { minor: amount.minor(), currency: amount.currency().to_string(), text: amount.to_string() }
    }
}

/// Result of `init`.
#[derive(Debug, Serialize)]
pub struct Initialised {
    /// The configuration.
    pub config: String,
    /// The journal.
    pub journal: String,
    /// Whether the configuration was written now.
    pub new_config: bool,
    /// Whether the journal was created now.
    pub new_journal: bool,
}

/// A payment with its receipt.
#[derive(Debug, Serialize)]
pub struct PaymentReport {
    /// Its number in the journal.
    pub number: u64,
    /// `approved`, `recovered`, `unverified`, `void`, `open`, `uncertain`.
    pub standing: &'static str,
    /// Local time with offset.
    pub time: String,
    /// What was to be taken.
    pub amount: Money,
    /// The card, masked.
    pub card: String,
    /// The SAM's terminal number.
    pub terminal: String,
    /// The SAM's sequence number.
    pub sequence: u32,
    /// The card's proof, hexadecimal.
    pub tac: Option<String>,
    /// Balance before.
    pub before: Money,
    /// Balance after, if it was taken.
    pub after: Option<Money>,
    /// The receipt as text.
    pub receipt: String,
}

/// An interrupted payment that was resolved on the way.
#[derive(Debug, Serialize)]
pub struct Recovered {
    /// Its number in the journal.
    pub number: u64,
    /// As [`PaymentReport::standing`].
    pub standing: &'static str,
    /// What was to be taken.
    pub amount: Money,
}

/// Result of `sale` and `balance`.
#[derive(Debug, Serialize)]
pub struct ToldReport<'a> {
    /// `approved`, `balance`, `declined`, `try-again`, `same-card-again`, `use-another-card`, `uncertain`,
    /// `earlier-paid`, `not-taken`.
    pub outcome: &'static str,
    /// How the process ends.
    pub exit: u8,
    /// The code, unless it is approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The code's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'static str>,
    /// What happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The payment, with its receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentReport>,
    /// What is on the card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<CardReport>,
    /// Interrupted payments that were resolved on the way.
    pub recovered: &'a [Recovered],
}

/// What is on a card.
#[derive(Debug, Serialize)]
pub struct CardReport {
    /// The card, masked.
    pub number: String,
    /// Its issuer.
    pub issuer: String,
    /// What is on it.
    pub balance: Money,
    /// First day.
    pub valid_from: String,
    /// Last day.
    pub valid_to: String,
    /// An interrupted payment of it, by its number in the journal.
    pub interrupted: Option<u64>,
}

/// One line of the history.
#[derive(Debug, Serialize)]
pub struct HistoryLine {
    /// Its number in the journal.
    pub number: u64,
    /// As [`PaymentReport::standing`].
    pub standing: &'static str,
    /// Local time with offset.
    pub time: String,
    /// What was to be taken.
    pub amount: Money,
    /// The card, masked.
    pub card: String,
    /// The SAM's terminal number.
    pub terminal: String,
    /// The SAM's sequence number.
    pub sequence: u32,
    /// The card's proof, hexadecimal.
    pub tac: Option<String>,
    /// The gateway's code for it, once it was uploaded.
    pub host_code: Option<String>,
}

/// Result of `history`.
#[derive(Debug, Serialize)]
pub struct HistoryReport {
    /// Newest first.
    pub payments: Vec<HistoryLine>,
    /// How many of them were taken.
    pub taken: u64,
    /// Their sum.
    pub amount: Money,
    /// How many are not known.
    pub uncertain: u64,
    /// Loads of the same days, newest first.
    pub loads: Vec<crate::online_report::LoadLine>,
    /// Loads of whatever day whose card never came back, oldest first.
    pub loads_without_end: Vec<UnendedLoad>,
}

impl From<State> for Standing {
    fn from(state: State) -> Self {
        match state {
            State::Open => Self::Open,
            State::Done => Self::Approved,
            State::Void => Self::Void,
            State::Uncertain | State::WrongProof => Self::Uncertain,
            State::Unverified => Self::Unverified,
        }
    }
}

/// The bytes of a stored TAC.
#[must_use]
pub fn tac_bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = [0; TAC_BYTES_MAX];
    let length = hex::decode_into(text, &mut bytes).ok()?;
    bytes.get(..length).map(<[u8]>::to_vec)
}

/// The interrupted payments that a run resolved before its own.
#[must_use]
pub fn recovered(run: &Run, journal: &Journal) -> Vec<Recovered> {
    let own = match &run.outcome {
        Outcome::Approved(receipt) => Some(receipt.record),
        Outcome::Uncertain { record, .. } => Some(*record),
        _ => None,
    };
    let earlier = run.resolved.iter().filter(|id| Some(**id) != own);
    earlier
        .filter_map(|id| journal.payment(*id).ok().flatten())
        .map(|payment| Recovered {
            number: payment.id.0,
            standing: Standing::from(payment.state).name(),
            amount: payment.amount.into(),
        })
        .collect()
}

/// A payment for scripts.
#[must_use]
pub fn payment(receipt: &Receipt, settings: &Settings, texts: &Texts) -> PaymentReport {
    PaymentReport {
        number: receipt.number,
        standing: receipt.standing.name(),
        time: stamp(&settings.terminal.zone, &receipt.date.to_string(), &receipt.time.to_string()),
        amount: receipt.amount.into(),
        card: masked(&receipt.card),
        terminal: receipt.terminal.to_string(),
        sequence: receipt.sequence.0,
        tac: receipt.tac.as_ref().map(|tac| Hex(tac).to_string()),
        before: receipt.before.into(),
        after: receipt.after.map(Money::from),
        receipt: receipt.text(&settings.terminal, texts),
    }
}

fn card(balance: &CardBalance, settings: &Settings) -> CardReport {
    CardReport {
        number: masked(&balance.card.asn),
        issuer: balance.card.issuer.to_string(),
        balance: balance.balance.in_currency(settings.terminal.currency).into(),
        valid_from: balance.start.to_string(),
        valid_to: balance.end.to_string(),
        interrupted: balance.open_debit.map(|id| id.0),
    }
}

/// The end of a flow for scripts.
#[must_use]
pub fn told<'a>(
    told: &Told,
    recovered: &'a [Recovered],
    settings: &Settings,
    texts: &Texts,
) -> ToldReport<'a> {
    let mut report = ToldReport {
        outcome: told.name(),
        exit: told.exit().number(),
        code: None,
        name: None,
        what: None,
        next: None,
        payment: None,
        card: None,
        recovered,
    };
    match told {
        Told::Approved(receipt) => report.payment = Some(payment(receipt, settings, texts)),
        Told::Balance(balance) => report.card = Some(card(balance, settings)),
        Told::Otherwise(reason, receipt) => {
            let said = texts.failure(reason);
            report.code = Some(said.code.to_string());
            report.name = Some(said.code.message());
            report.what = Some(said.what);
            report.next = Some(said.next);
            report.payment = receipt.as_ref().map(|receipt| payment(receipt, settings, texts));
        }
    }
    report
}

/// The end of a flow for a person.
#[must_use]
pub fn told_text(told: &Told, recovered: &[Recovered], settings: &Settings, texts: &Texts) -> String {
    let mut text = String::new();
    for earlier in recovered {
        let message = match earlier.standing {
            "void" => "recovered-void",
            "uncertain" => "recovered-uncertain",
            _ => "recovered-done",
        };
        let args = Args::new().with("amount", &earlier.amount.text);
        text.push_str(&format!("{}\n", texts.say_with(message, &args)));
    }
    match told {
        Told::Approved(receipt) => {
            let args = Args::new().with("amount", receipt.amount);
            text.push_str(&format!("{}\n\n", texts.say_with("approved", &args)));
            text.push_str(&receipt.text(&settings.terminal, texts));
        }
        Told::Balance(balance) => {
            let money = balance.balance.in_currency(settings.terminal.currency);
            let args = Args::new()
                .with("balance", money)
                .with("card", masked(&balance.card.asn))
                .with("from", balance.start)
                .with("to", balance.end);
            text.push_str(&texts.say_with("balance-is", &args));
            if balance.open_debit.is_some() {
                text.push_str(&format!("\n{}", texts.say("balance-interrupted")));
            }
        }
        Told::Otherwise(reason, receipt) => {
            let said = texts.failure(reason);
            text.push_str(&format!("{}  {}\n      →  {}\n", said.code, said.what, said.next));
            if let Some(receipt) = receipt {
                text.push_str(&format!("\n{}", receipt.text(&settings.terminal, texts)));
            }
        }
    }
    text
}

/// The history for scripts.
#[must_use]
pub fn history(
    payments: &[Payment],
    sums: &Sums,
    (loads, loads_without_end): (&[crate::journal::Load], Vec<UnendedLoad>),
    settings: &Settings,
) -> HistoryReport {
    let line = |payment: &Payment| HistoryLine {
        number: payment.id.0,
        standing: Standing::from(payment.state).name(),
        time: stamp(&settings.terminal.zone, &payment.date, &payment.time),
        amount: payment.amount.into(),
        card: masked(&payment.card.asn),
        terminal: payment.terminal.to_string(),
        sequence: payment.term_seq.0,
        tac: payment.tac.clone(),
        host_code: payment.upload.as_ref().map(|(code, _)| code.clone()),
    };
    HistoryReport {
        loads: loads.iter().map(|load| crate::online_report::load(load, settings)).collect(),
        loads_without_end,
        payments: payments.iter().map(line).collect(),
        taken: sums.taken,
        amount: sums.amount.into(),
        uncertain: sums.uncertain,
    }
}

/// The history as a table.
#[must_use]
pub fn history_text(payments: &[Payment], sums: &Sums, texts: &Texts) -> String {
    if payments.is_empty() {
        return texts.say("history-empty");
    }
    let titles = [
        "history-payment",
        "history-date",
        "history-amount",
        "history-card",
        "history-state",
        "history-sequence",
        "history-host",
        "history-tac",
    ];
    let mut rows = vec![titles.map(|title| texts.say(title))];
    rows.extend(payments.iter().map(|payment| {
        [
            payment.id.0.to_string(),
            format!("{} {}", payment.date, payment.time),
            payment.amount.to_string(),
            masked(&payment.card.asn),
            texts.say(Standing::from(payment.state).message()),
            payment.term_seq.to_string(),
            payment.upload.as_ref().map_or_else(|| "-".to_owned(), |(code, _)| code.clone()),
            payment.tac.clone().unwrap_or_default(),
        ]
    }));
    let args =
        Args::new().with("count", sums.taken).with("amount", sums.amount).with("uncertain", sums.uncertain);
    format!("{}\n{}", table(&rows), texts.say_with("history-sum", &args))
}

/// Rows with their cells under each other; Chinese characters take two columns.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = columns(cell).max(*width);
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width.saturating_sub(columns(cell)).saturating_add(2)));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
