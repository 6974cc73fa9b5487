//! The acquirer's side of the day: the gateway as a process with its ledger, and what a dishonest uploader might try.

use super::stage::{CARD, ISSUER, PIN, SAM, Stage};
use anyhow::{Context as _, Result, ensure};
use flow::host::Ask;
use flow::record::{RecordId, Resolution};
use protocol::ids::TermSeq;
use protocol::iso8583::f58::{RecordAnswer, TransactionRecord};
use protocol::money::CardAmount;
use protocol::purse::{Suite, Tac};
use protocol::time::{Mono, Now, Wall};
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant, SystemTime};
use terminal::driver::Clock;
use terminal::host::{Host as _, Line, Patience, tcp};
use terminal::identity::HostIdentity;
use terminal::journal::{FILE_NAME, Journal};

/// Terminal and merchant of a new terminal's configuration.
const TERMINAL: &str = "T0000001";
/// The merchant.
pub const MERCHANT: &str = "M00000000000001";
/// What the cardholder's account holds.
const ACCOUNT: &str = "500.00";

/// Registers issuer, merchant, terminal, SAM, account and card, and lets terminals in. Returns the terminal's one-time
/// code.
///
/// # Errors
/// The gateway refuses.
pub fn open(stage: &mut Stage) -> Result<String> {
    fs::create_dir(stage.path("gateway"))?;
    stage.gateway(&["init"])?;
    stage.gateway(&["issuer", "add", "../issuer.toml"])?;
    stage.gateway(&["merchant", "add", MERCHANT, "--name", "Tapline Demo Kiosk"])?;
    let added =
        stage.gateway(&["terminal", "add", TERMINAL, "--merchant", MERCHANT, "--file", "../kiosk.toml"])?;
    let code = added["code"].as_str().context("a new terminal has a code")?.to_owned();
    stage.gateway(&["sam", "add", SAM, "--terminal", TERMINAL, "--from", "2026-01-01 00:00:00"])?;
    stage.gateway(&["funding", "add", "bank:1"])?;
    stage.gateway(&["funding", "deposit", "bank:1", ACCOUNT, "--reference", "1"])?;
    stage.gateway(&["card", "add", CARD, "--issuer", ISSUER, "--funding", "bank:1"])?;
    stage.serve()?;
    Ok(code)
}

/// Loads the card, which lies on the reader while the host is asked.
///
/// # Errors
/// It is not loaded.
pub fn top_up(stage: &Stage, amount: &str) -> Result<Value> {
    let load = stage.start(&["topup", amount, "--wait", "10"], &[("TAPLINE_PIN", PIN)])?;
    stage.insert()?;
    let said = load.finish()?;
    stage.remove()?;
    Ok(said)
}

/// A copy of the terminal's files as they are now: what a thief has, or a terminal restored from yesterday's backup.
///
/// # Errors
/// The disk.
pub fn copy_terminal(stage: &Stage) -> Result<()> {
    let copy = stage.path("copy");
    fs::create_dir(&copy)?;
    for entry in fs::read_dir(stage.path("."))? {
        let entry = entry?;
        let name = entry.file_name();
        let wanted = ["journal.db", "acquirer.key", "terminal.toml"];
        if wanted.iter().any(|wanted| name.to_string_lossy().starts_with(wanted)) {
            fs::copy(entry.path(), copy.join(name))?;
        }
    }
    Ok(())
}

/// Uploads a record of the copied journal with another amount, under the terminal's real keys, and returns what the
/// gateway says of it.
///
/// # Errors
/// The gateway does not answer.
pub fn upload_tampered(stage: &Stage, payment: &Value, amount: CardAmount) -> Result<RecordAnswer> {
    let folder = stage.path("copy");
    let mut journal = Journal::open(&folder.join(FILE_NAME)).context("the copied journal opens")?;
    let number = payment["number"].as_u64().context("a payment has a number")?;
    let intent = journal.intent(RecordId(number))?;
    let tac = protocol::hex::decode::<8>(payment["tac"].as_str().unwrap_or_default())?;
    let tac = Tac::from_bytes(Suite::Aes, &tac)?;
    let honest = flow::outbox::record_of(&intent, Some(&Resolution::Done { tac }));
    // Another sequence number, too: the true one is booked and would be a conflict before anyone looks at the TAC.
    let term_seq = TermSeq(honest.term_seq.0.saturating_add(100));
    let tampered = TransactionRecord { amount, term_seq, ..honest };
    let patience = Patience { reply: Duration::from_secs(10), connect: Duration::from_secs(2) };
    let clock = Wristwatch(Instant::now());
    let mut line = None;
    for _ in 0..5 {
        // Each line sets trace numbers aside: far from those that the real terminal is about to use.
        let identity = HostIdentity::load(&folder).ok().flatten().context("the copied key opens")?;
        line = Some(Line::new(identity, patience, Box::new(tcp), 1, &mut journal, clock.now())?);
    }
    let mut line = line.context("a line")?;
    let reply = line.ask(Ask::Records(vec![tampered]), &mut journal, &clock)?;
    let answer = reply.records.and_then(|records| records.answers.first().copied());
    answer.context("the gateway answers each record")
}

/// The time, for a line of our own.
struct Wristwatch(Instant);

impl Clock for Wristwatch {
    fn now(&self) -> Now {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now {
            mono: Mono(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)),
            wall: Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            utc_offset_min: 0,
        }
    }
}

/// What the gateway's ledger says of the merchant: the sum it is owed, as printed.
///
/// # Errors
/// The gateway refuses.
pub fn owed(stage: &Stage) -> Result<(usize, String)> {
    let statement = stage.gateway(&["report", "merchant", MERCHANT])?;
    let lines = statement["lines"].as_array().context("a statement has lines")?.len();
    let payable = statement["payable"].as_str().context("a statement has a sum")?.to_owned();
    ensure!(!statement.to_string().contains(CARD), "a merchant's statement names no card: {statement}");
    Ok((lines, payable))
}
