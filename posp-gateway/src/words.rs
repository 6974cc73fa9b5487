//! Outcomes in a person's words: texts of the Fluent files, tables in plain lines.

use crate::ops::{
    AuditSummary, BatchSummary, LimitLine, OpenLine, Outcome, RestoreSummary, SkippedNumbers,
    StatementSummary, TallySummary, TotalsSummary, TransactionSummary,
};
use backend::store::CommitNo;
use console::{Args, Texts};
use std::fmt::Write as _;

/// An outcome, for a person.
pub(crate) fn outcome(texts: &Texts, outcome: &Outcome) -> String {
    let say = |message: &str, args: Args| texts.say_with(message, &args);
    match outcome {
        Outcome::Running { connections, terminals } => {
            say("gateway-running", Args::new().with("connections", connections).with("terminals", terminals))
        }
        Outcome::Registered { what, name, existed } => {
            let message = if *existed { "gateway-existed" } else { "gateway-registered" };
            let what = texts.say(&format!("gateway-what-{what}"));
            say(message, Args::new().with("what", what).with("name", name))
        }
        Outcome::Provisioned { terminal, code, .. } => {
            say("gateway-provisioned", Args::new().with("terminal", terminal).with("code", code))
        }
        Outcome::Counted { what, count } => {
            say(&format!("gateway-counted-{what}"), Args::new().with("count", count))
        }
        Outcome::PayerAdded { pan, token, account, existed } => {
            let message = if *existed { "gateway-payer-existed" } else { "gateway-payer-added" };
            say(message, Args::new().with("pan", pan).with("token", token).with("account", account))
        }
        Outcome::Limits { limits, .. } if limits.is_empty() => texts.say("gateway-no-limits"),
        Outcome::Limits { limits, more } => self::limits(texts, limits, *more),
        Outcome::Suffices { suffices } => {
            texts.say(if *suffices { "gateway-suffices" } else { "gateway-suffices-not" })
        }
        Outcome::Transactions { transactions, .. } if transactions.is_empty() => {
            texts.say("gateway-no-transactions")
        }
        Outcome::Transactions { transactions, more } => found(texts, transactions, *more),
        Outcome::Statement(summary) => statement(texts, summary),
        Outcome::Batch(summary) => batch(texts, summary),
        Outcome::Card(card) => {
            let state = if card.denied { "gateway-card-denied" } else { "gateway-card-active" };
            let mut line = say(
                "gateway-card",
                Args::new()
                    .with("card", format!("{}:{}", card.issuer, card.asn))
                    .with("state", texts.say(state))
                    .with("loaded", card.loaded)
                    .with("spent", card.spent)
                    .with("open", card.open_loads)
                    .with("expected", card.expected)
                    .with("missing", card.missing),
            );
            if let Some(counter) = card.open_counter {
                let reference = card.open_reference.as_deref().unwrap_or_default();
                let args = Args::new()
                    .with("open", card.open_loads)
                    .with("counter", counter)
                    .with("reference", reference);
                let _ = write!(line, "\n{}", say("gateway-card-open-load", args));
                if card.open_amounts.len() > 1 {
                    let amounts: Vec<String> = card.open_amounts.iter().map(u64::to_string).collect();
                    let args = Args::new().with("amounts", amounts.join(", "));
                    let _ = write!(line, "\n{}", say("gateway-card-open-amounts", args));
                }
            }
            line
        }
        Outcome::LoadReleased { issuer, asn, counter, amount } => say(
            "gateway-load-released",
            Args::new()
                .with("card", format!("{issuer}:{asn}"))
                .with("counter", counter)
                .with("amount", amount),
        ),
        Outcome::LoadCredited { issuer, asn, counter, reference } => say(
            "gateway-load-credited",
            Args::new()
                .with("card", format!("{issuer}:{asn}"))
                .with("counter", counter)
                .with("reference", reference),
        ),
        Outcome::Alerts { alerts } if alerts.is_empty() => texts.say("gateway-no-alerts"),
        Outcome::Alerts { alerts } => {
            let mut lines = String::new();
            for alert in alerts {
                let about: Vec<&str> =
                    [&alert.card, &alert.record].into_iter().flatten().map(String::as_str).collect();
                let _ = writeln!(lines, "{}  {:24}  {}", alert.at, alert.kind, about.join("  "));
            }
            lines
        }
        Outcome::Open { items } if items.is_empty() => texts.say("gateway-no-open"),
        Outcome::Open { items } => {
            let mut lines = String::new();
            for item in items {
                let why = texts.say(&format!("gateway-evidence-{}", item.evidence));
                let OpenLine { received, record, card, counter, amount, .. } = item;
                let _ = writeln!(lines, "{received}  {record:24}  {card} #{counter}  {amount:>16}  {why}");
            }
            lines
        }
        Outcome::DenyList { version, cards } => {
            let args = Args::new().with("version", version).with("count", cards.len());
            let mut lines = say("gateway-deny-list", args);
            for card in cards {
                let state = if card.denied { "gateway-card-denied" } else { "gateway-card-active" };
                let _ = write!(
                    lines,
                    "\n{:>8}  {}:{}  {}",
                    card.version,
                    card.issuer,
                    card.asn,
                    texts.say(state)
                );
            }
            lines
        }
        Outcome::Audit(summary) => audit(texts, summary),
        Outcome::Head { file, head: Some(head) } => {
            let commit = CommitNo(head.commit);
            say("gateway-head", Args::new().with("file", file).with("commit", commit).with("key", &head.key))
        }
        Outcome::Head { head: None, .. } => texts.say("gateway-no-head"),
        Outcome::BackedUp(made) => {
            let args = Args::new()
                .with("file", &made.file)
                .with("bytes", made.bytes)
                .with("sha", &made.sha256)
                .with("pause", made.pause_ms);
            format!("{}\n{}", audit(texts, &made.audit), say("gateway-backup", args))
        }
    }
}

/// What a restore left, and what is still to do.
/// `1 – 1000001`, and of several gateways all, each behind its number.
fn skipped(numbers: &[SkippedNumbers]) -> String {
    let parts = numbers.iter().map(|SkippedNumbers { gateway, from, to }| match gateway {
        0 => format!("{from} – {to}"),
        gateway => format!("{gateway}: {from} – {to}"),
    });
    parts.collect::<Vec<_>>().join("; ")
}

pub(crate) fn restored(texts: &Texts, summary: &RestoreSummary) -> String {
    let args = Args::new()
        .with("database", &summary.database)
        .with("of", &summary.of)
        .with("skipped", skipped(&summary.skipped));
    let mut lines =
        format!("{}\n{}", audit(texts, &summary.audit), texts.say_with("gateway-restored", &args));
    for (message, names) in [
        ("gateway-restored-issuers", &summary.issuers_without_keys),
        ("gateway-restored-terminals", &summary.terminals_without_keys),
    ] {
        if !names.is_empty() {
            lines.push('\n');
            lines.push_str(&texts.say_with(message, &Args::new().with("names", names.join(", "))));
        }
    }
    lines
}

/// One line for each, and for what is used of it today.
fn limits(texts: &Texts, limits: &[LimitLine], more: bool) -> String {
    let mut lines = String::new();
    for limit in limits {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| texts.say("gateway-limit-none"));
        let args = Args::new()
            .with("scope", texts.say(&format!("gateway-limit-{}", limit.scope)))
            .with("name", &limit.name)
            .with("payment", or_none(&limit.payment))
            .with("sum", or_none(&limit.day_sum))
            .with("count", or_none(&limit.day_count.map(|count| count.to_string())));
        let _ = writeln!(lines, "{}", texts.say_with("gateway-limit", &args));
        if let (Some(sum), Some(count)) = (&limit.used_sum, limit.used_count) {
            let args = Args::new().with("sum", sum).with("count", count);
            let _ = writeln!(lines, "  {}", texts.say_with("gateway-limit-used", &args));
        }
    }
    if more {
        lines.push_str(&texts.say("gateway-more-limits"));
    }
    lines
}

fn found(texts: &Texts, transactions: &[TransactionSummary], more: bool) -> String {
    let mut lines = String::new();
    for it in transactions {
        let kind = texts.say(&format!("gateway-kind-{}", it.kind));
        let state = texts.say(&format!("gateway-state-{}", it.state));
        let _ = write!(lines, "{}  {}  {kind}  {state}  {}", it.at, it.reference, it.code);
        for part in [&it.amount, &it.authorisation].into_iter().flatten() {
            let _ = write!(lines, "  {part}");
        }
        let _ = writeln!(lines, "  {}  {:06}/{:06}", it.terminal, it.batch, it.trace);
        if let Some(record) = &it.record {
            let _ = writeln!(lines, "    {}  {}  {}", record.name, record.standing, record.minor);
        }
    }
    if more {
        lines.push_str(&texts.say("gateway-more-transactions"));
    }
    lines
}

fn statement(texts: &Texts, summary: &StatementSummary) -> String {
    let head = Args::new().with("merchant", &summary.merchant).with("name", &summary.name);
    let mut lines = texts.say_with("gateway-statement", &head);
    lines.push('\n');
    for row in &summary.lines {
        let kind = texts.say(&format!("gateway-line-{}", row.kind));
        let _ = writeln!(lines, "{}  {:12}  {:>16}  {kind}", row.at, row.reference, row.amount);
    }
    let payable = Args::new().with("payable", &summary.payable).with("count", summary.lines.len());
    lines.push_str(&texts.say_with("gateway-payable", &payable));
    lines
}

/// One column of totals.
type Pick = fn(&TotalsSummary) -> TallySummary;

fn batch(texts: &Texts, summary: &BatchSummary) -> String {
    let head = Args::new()
        .with("terminal", &summary.terminal)
        .with("batch", format!("{:06}", summary.batch))
        .with("state", texts.say(&format!("gateway-batch-{}", summary.state)));
    let mut lines = texts.say_with("gateway-batch", &head);
    lines.push('\n');
    let side = |totals: Option<&TotalsSummary>, pick: Pick| {
        totals.map_or_else(
            || "–".to_owned(),
            |totals| {
                let tally = pick(totals);
                format!("{} / {}", tally.minor, tally.count)
            },
        )
    };
    let rows: [(&str, Pick); 3] = [
        ("gateway-debits", |totals| totals.debits),
        ("gateway-credits", |totals| totals.credits),
        ("gateway-loads", |totals| totals.loads),
    ];
    for (name, pick) in rows {
        let (host, theirs) = (side(Some(&summary.host), pick), side(summary.of_terminal.as_ref(), pick));
        let args = Args::new().with("name", texts.say(name)).with("host", host).with("terminal", theirs);
        lines.push_str(&texts.say_with("gateway-totals", &args));
        lines.push('\n');
    }
    for difference in &summary.differences {
        let none = || texts.say("gateway-absent");
        let args = Args::new()
            .with("key", &difference.key)
            .with("host", difference.host.clone().unwrap_or_else(none))
            .with("terminal", difference.terminal.clone().unwrap_or_else(none));
        lines.push_str(&texts.say_with("gateway-difference", &args));
        lines.push('\n');
    }
    lines
}

/// The audit with its proof: what was re-derived, and that nothing was made or lost.
fn audit(texts: &Texts, summary: &AuditSummary) -> String {
    let counts = Args::new()
        .with("commits", summary.commits)
        .with("transfers", summary.transfers)
        .with("transactions", summary.transactions)
        .with("records", summary.records)
        .with("cards", summary.cards);
    let mut lines = texts.say_with("gateway-audit-counts", &counts);
    lines.push('\n');
    for turnover in &summary.turnover {
        lines.push_str(
            &texts.say_with("gateway-audit-turnover", &Args::new().with("amount", &turnover.amount)),
        );
        lines.push('\n');
    }
    for float in &summary.float {
        let args = Args::new()
            .with("issuer", &float.issuer)
            .with("posted", &float.posted)
            .with("pending", &float.pending);
        lines.push_str(&texts.say_with("gateway-audit-float", &args));
        lines.push('\n');
    }
    for head in &summary.heads {
        lines.push_str(&texts.say_with("gateway-audit-head", &Args::new().with("head", head)));
        lines.push('\n');
    }
    for (commit, count) in &summary.skipped {
        let args = Args::new().with("commit", commit).with("count", count);
        lines.push_str(&texts.say_with("gateway-audit-skipped", &args));
        lines.push('\n');
    }
    if let Some(count) = summary.heads_checked {
        lines.push_str(&texts.say_with("gateway-audit-heads", &Args::new().with("count", count)));
        lines.push('\n');
    }
    for exception in &summary.exceptions {
        let _ = writeln!(lines, "!  {exception}");
    }
    let verdict = if summary.clean { "gateway-audit-clean" } else { "gateway-audit-exceptions" };
    lines.push_str(&texts.say_with(verdict, &Args::new().with("count", summary.exceptions.len())));
    lines
}
