//! `personalise` and `inspect`: files in, files out.

use crate::cli::{NewCardFile, NewIssuer, NewSamFile, Personalise};
use anyhow::Context as _;
use card_applet_sim::inspect::{Report, report};
use card_applet_sim::issue::{IssueError, IssuerKeys, NewCard, NewSam, pack_pin};
use card_applet_sim::keyfile::{self, KeyFile};
use card_applet_sim::memory::{FileMedium, JournalMemory, Memory, MemoryFault};
use card_applet_sim::purse::store::Limits;
use card_applet_sim::random::OsRandom;
use console::{Console, Failure, code};
use protocol::ids::{KeyVersion, OfflineCounter, OnlineCounter, SamSerial, TermSeq};
use protocol::money::{Amount, CardAmount, Currency};
use protocol::purse::Overdraft;
use protocol::time::CardDate;
use std::io::Write as _;
use std::path::Path;

pub(crate) fn personalise(what: &Personalise, console: &mut Console) -> anyhow::Result<()> {
    match what {
        Personalise::Issuer(options) => issuer(options, console),
        Personalise::Card(options) => card(options, console),
        Personalise::Sam(options) => sam(options, console),
    }
}

pub(crate) fn inspect(file: &Path, console: &mut Console) -> anyhow::Result<()> {
    let medium = FileMedium::open_to_look(file).map_err(|fault| memory_failure(file, fault))?;
    let memory = JournalMemory::open(medium).map_err(|fault| memory_failure(file, fault))?;
    show("inspect", file, &memory, console)
}

/// What went wrong with a card file, for people.
pub(crate) fn memory_failure(path: &Path, fault: MemoryFault) -> Failure {
    let code = match &fault {
        MemoryFault::Damaged(_) => code::SIMULATOR_DAMAGED,
        MemoryFault::Refused(_) | MemoryFault::Lost(_) => code::SIMULATOR_FILE,
    };
    Failure::new(code).with("path", path.display()).caused_by(fault)
}

fn refused(reason: impl std::fmt::Display) -> Failure {
    Failure::new(code::SIMULATOR_REFUSED).with("reason", reason)
}

fn show(command: &str, file: &Path, memory: &dyn Memory, console: &mut Console) -> anyhow::Result<()> {
    let found: Report =
        report(memory).ok_or_else(|| Failure::new(code::SIMULATOR_EMPTY).with("path", file.display()))?;
    console.result(command, &found, &found.text())?;
    Ok(())
}

fn issuer(options: &NewIssuer, console: &mut Console) -> anyhow::Result<()> {
    let currency = Currency::from_alpha(&options.currency)
        .ok_or_else(|| refused(format!("{} is not a currency we know", options.currency)))?;
    let algorithm = keyfile::parse_suite(&options.suite).ok_or_else(|| refused("suite is 10 or 00"))?;
    if options.factors.len() >= protocol::purse::keys::FACTORS_MAX {
        return Err(refused(IssueError::Factors).into());
    }
    let keys = IssuerKeys {
        issuer: options.issuer,
        currency,
        version: KeyVersion(options.key_version),
        algorithm,
        upper_factors: options.factors.clone(),
        limits: Limits {
            balance: amount(&options.max_balance, currency)?,
            load: amount(&options.max_load, currency)?,
            payment: amount(&options.max_payment, currency)?,
        },
        df_name: None,
        masters: keyfile::generate(algorithm.suite(), &mut OsRandom).context("master keys")?,
    };
    write_secret(&options.out, keyfile::write(&keys).as_bytes())?;
    let path = options.out.display().to_string();
    let result =
        serde_json::json!({ "path": path, "issuer": keys.issuer.to_string(), "suite": options.suite });
    console.result(
        "personalise",
        &result,
        &format!("key file of issuer {} written to {path}", keys.issuer),
    )?;
    Ok(())
}

/// A new file that only its owner reads, durable before we say so.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let created = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = created.and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::new(code::SIMULATOR_EXISTS).with("path", path.display())
        }
        _ => console::config::disk(path, error),
    })
}

fn amount(text: &str, currency: Currency) -> anyhow::Result<CardAmount> {
    let amount = Amount::parse(text, currency).map_err(|e| refused(format!("{text}: {e}")))?;
    Ok(CardAmount::try_from(amount).map_err(|e| refused(format!("{text}: {e}")))?)
}

fn date(text: &str) -> Result<CardDate, Failure> {
    let digits = text.replace('-', "");
    let bytes = protocol::hex::decode(&digits).ok().and_then(|bytes| CardDate::checked(bytes).ok());
    bytes.ok_or_else(|| refused(format!("{text} is not a date as 2026-12-31")))
}

fn read_issuer(path: &Path) -> anyhow::Result<IssuerKeys> {
    let file: KeyFile = console::config::load(path, "TAPLINE_ISSUER", std::iter::empty())?;
    let failure =
        |error| Failure::new(code::SIMULATOR_KEYS).with("path", path.display()).with("reason", error);
    Ok(file.issuer().map_err(failure)?)
}

/// A new card file; nothing is left behind if it cannot be made.
fn new_memory(
    path: &Path,
    make: impl FnOnce(&mut dyn Memory) -> Result<(), IssueError>,
) -> anyhow::Result<()> {
    if path.exists() {
        return Err(Failure::new(code::SIMULATOR_EXISTS).with("path", path.display()).into());
    }
    let medium = FileMedium::create(path).map_err(|fault| memory_failure(path, fault))?;
    let made =
        JournalMemory::format(medium).map_err(IssueError::from).and_then(|mut memory| make(&mut memory));
    made.map_err(|error| {
        let _ = std::fs::remove_file(path);
        match error {
            IssueError::Memory(fault) => memory_failure(path, fault).into(),
            other => refused(other).into(),
        }
    })
}

fn card(options: &NewCardFile, console: &mut Console) -> anyhow::Result<()> {
    let keys = read_issuer(&options.issuer)?;
    let (pin, pin_len) = pack_pin(&options.pin).map_err(refused)?;
    let new = NewCard {
        asn: options.serial,
        start: date(&options.from)?,
        end: date(&options.to)?,
        fci: [0, 0],
        pin,
        pin_len,
        balance: amount(&options.balance, keys.currency)?,
        overdraft: Overdraft::ZERO,
        online: OnlineCounter(0),
        offline: OfflineCounter(0),
        evidence: None,
    };
    new_memory(&options.out, |memory| new.make(&keys, memory))?;
    reopen(&options.out, console)
}

fn sam(options: &NewSamFile, console: &mut Console) -> anyhow::Result<()> {
    let issuers = options.issuer.iter().map(|path| read_issuer(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let [a, b, c, d, e, f] = options.terminal.0;
    let new = NewSam {
        terminal: options.terminal,
        serial: options.serial.unwrap_or(SamSerial([0, 0, 0, 0, a, b, c, d, e, f])),
        last_sequence: TermSeq(0),
    };
    new_memory(&options.out, |memory| new.make(&issuers, memory))?;
    reopen(&options.out, console)
}

/// Shows what was made, read back from the disk.
fn reopen(path: &Path, console: &mut Console) -> anyhow::Result<()> {
    let medium = FileMedium::open_to_look(path).map_err(|fault| memory_failure(path, fault))?;
    let memory = JournalMemory::open(medium).map_err(|fault| memory_failure(path, fault))?;
    show("personalise", path, &memory, console)
}
