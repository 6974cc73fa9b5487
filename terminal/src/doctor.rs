//! `doctor`: everything a payment needs, checked one by one, with what to do about what is wrong.

use crate::config::Settings;
use crate::devices::Devices;
use crate::fault;
use crate::journal::{self, Journal};
use crate::unended;
use console::{Args, Failure, Texts, code};
use hardware::CardReader;
use protocol::purse::Suite;
use protocol::time::Now;
use serde::Serialize;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Before this the clock cannot be right: the program is younger (2026-01-01T00:00:00Z, in ms).
pub const CLOCK_MS_MIN: i64 = 1_767_225_600_000;
/// After this neither (2100-01-01T00:00:00Z, in ms).
pub const CLOCK_MS_MAX: i64 = 4_102_444_800_000;
/// Below this the doctor asks for room, in bytes.
const SPACE_BYTES_LOW: u64 = 64 * 1024 * 1024;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// In order.
    Good,
    /// Works, but something is to be done.
    Note,
    /// A payment would fail.
    Bad,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// `clock`, `journal`, …
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// The code, if it is bad or something that people are told of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What was found.
    pub what: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The checks of one run, in order.
#[derive(Debug)]
pub struct Doctor<'a> {
    texts: &'a Texts,
    checks: Vec<Check>,
}

/// What the doctor looks at; readers come through a closure, because opening them is one of the checks.
pub struct Patient<'a> {
    /// Where the configuration is.
    pub config_path: &'a Path,
    /// The configuration, or why there is none.
    pub settings: Result<Settings, Failure>,
    /// Both clocks.
    pub now: Now,
    /// The names of all readers.
    pub readers: &'a dyn Fn() -> Result<Vec<String>, Failure>,
    /// Opens the two slots.
    pub open: &'a mut dyn FnMut(&Settings) -> Result<Devices, Failure>,
}

/// Checks everything.
#[must_use]
pub fn examine(texts: &Texts, patient: Patient<'_>) -> Vec<Check> {
    let mut doctor = Doctor { texts, checks: Vec::new() };
    doctor.clock(patient.now);
    match &patient.settings {
        Ok(settings) => {
            doctor.configuration(patient.config_path, settings);
            doctor.folder(&settings.data.folder);
            doctor.journal(&settings.data.folder.join(journal::FILE_NAME), patient.now);
            doctor.deny_list(settings);
        }
        Err(failure) => doctor.bad("configuration", failure),
    }
    let readers = doctor.readers(patient.readers);
    if let (Ok(settings), true) = (&patient.settings, readers) {
        match (patient.open)(settings) {
            Ok(mut devices) => doctor.slots(&mut devices, settings, patient.now),
            Err(failure) => doctor.bad("card", &failure),
        }
    }
    doctor.checks
}

/// What was found out about the gateway.
#[derive(Debug)]
pub struct HostFindings {
    /// What waits for it.
    pub waiting: flow::outbox::Waiting,
    /// Where it is, and the open batch if it took the terminal's sign-in; `None`: the terminal is not provisioned.
    pub gateway: Option<(String, Result<protocol::ids::BatchNo, Failure>)>,
}

/// The checks that need the gateway.
#[must_use]
pub fn examine_host(texts: &Texts, findings: Result<HostFindings, Failure>) -> Vec<Check> {
    let mut doctor = Doctor { texts, checks: Vec::new() };
    match findings {
        Err(failure) => doctor.bad("host", &failure),
        Ok(HostFindings { waiting, gateway }) => {
            let args = Args::new()
                .with("reversals", waiting.reversals)
                .with("confirmations", waiting.confirmations)
                .with("records", waiting.records)
                .with("open", waiting.open);
            if waiting.is_clear() {
                doctor.good("outbox", &args);
            } else {
                doctor.add("outbox", Verdict::Note, "doctor-outbox-waits", &args);
            }
            match gateway {
                None => doctor.add("host", Verdict::Note, "doctor-host-none", &Args::new()),
                Some((_, Err(failure))) => doctor.bad("host", &failure),
                Some((gateway, Ok(batch))) => {
                    doctor.good("host", &Args::new().with("gateway", gateway).with("batch", batch));
                }
            }
        }
    }
    doctor.checks
}

impl Doctor<'_> {
    fn add(&mut self, name: &'static str, verdict: Verdict, message: &str, args: &Args) {
        let what = self.texts.say_with(message, args);
        let next = self.texts.attribute(message, "next", args);
        self.checks.push(Check { name, verdict, code: None, what, next });
    }

    fn good(&mut self, name: &'static str, args: &Args) {
        self.add(name, Verdict::Good, &format!("doctor-{name}-good"), args);
    }

    fn bad(&mut self, name: &'static str, failure: &Failure) {
        self.failed(name, Verdict::Bad, failure);
    }

    fn failed(&mut self, name: &'static str, verdict: Verdict, failure: &Failure) {
        let said = self.texts.failure(failure);
        let what = match said.detail {
            Some(detail) => format!("{} ({detail})", said.what),
            None => said.what,
        };
        let code = Some(said.code.to_string());
        self.checks.push(Check { name, verdict, code, what, next: Some(said.next) });
    }

    fn clock(&mut self, now: Now) {
        match sane_clock(now) {
            Err(failure) => self.bad("clock", &failure),
            Ok((date, time)) => {
                let offset = crate::config::offset_text(now.utc_offset_min.into());
                self.good("clock", &Args::new().with("date", date).with("time", time).with("offset", offset));
            }
        }
    }

    fn configuration(&mut self, path: &Path, settings: &Settings) {
        let args = Args::new()
            .with("path", path.display())
            .with("terminal", settings.terminal.id)
            .with("issuers", settings.issuers.len());
        self.good("configuration", &args);
    }

    fn folder(&mut self, folder: &Path) {
        match try_disk(folder) {
            Err(error) => self.bad("folder", &console::config::disk(folder, error)),
            Ok(micros) => {
                let args = Args::new().with("path", folder.display()).with("micros", micros);
                self.good("folder", &args);
            }
        }
        match journal::free_bytes(&folder.join(journal::FILE_NAME)) {
            Err(fault) => self.bad("space", &fault::store(folder, fault)),
            Ok(free) if free < journal::FREE_BYTES_MIN => {
                self.bad("space", &Failure::new(code::DISK_FULL).with("path", folder.display()));
            }
            Ok(free) => {
                let (verdict, message) = if free < SPACE_BYTES_LOW {
                    (Verdict::Note, "doctor-space-low")
                } else {
                    (Verdict::Good, "doctor-space-good")
                };
                self.add("space", verdict, message, &Args::new().with("free", free / (1024 * 1024)));
            }
        }
    }

    fn journal(&mut self, path: &Path, now: Now) {
        let opened = Journal::open(path).and_then(|journal| {
            let found = journal.verify()?;
            Ok((found, unended::find(&journal, now)?))
        });
        let unended = opened.as_ref().map_or(&[] as &[_], |(_, unended)| unended);
        match opened.as_ref().map(|(found, _)| found) {
            Err(fault) => self.bad("journal", &fault::store(path, fault.clone())),
            Ok(found) if found.open > 0 => {
                let args = Args::new().with("entries", found.entries).with("open", found.open);
                self.add("journal", Verdict::Note, "doctor-journal-open", &args);
            }
            Ok(found) => {
                let args = Args::new().with("entries", found.entries).with("payments", found.payments);
                self.good("journal", &args);
            }
        }
        if opened.is_ok() && unended.is_empty() {
            self.good("loads", &Args::new().with("hours", unended::UNENDED_HOURS));
        }
        for load in unended {
            self.failed("loads", Verdict::Note, &unended::failure(load));
        }
    }

    fn deny_list(&mut self, settings: &Settings) {
        match settings.deny_list() {
            Ok(cards) => self.good("deny-list", &Args::new().with("cards", cards.len())),
            Err(failure) => self.bad("deny-list", &failure),
        }
    }

    /// Whether there are readers to look closer at.
    fn readers(&mut self, list: &dyn Fn() -> Result<Vec<String>, Failure>) -> bool {
        match list() {
            Err(failure) => {
                self.bad("service", &failure);
                false
            }
            Ok(names) => {
                self.good("service", &Args::new());
                if names.is_empty() {
                    self.bad("readers", &Failure::new(code::NO_READER));
                } else {
                    self.good("readers", &Args::new().with("readers", names.join(", ")));
                }
                !names.is_empty()
            }
        }
    }

    fn slots(&mut self, devices: &mut Devices, settings: &Settings, now: Now) {
        self.good("card", &Args::new().with("reader", devices.card.name()));
        let name = devices.sam_name().to_owned();
        let found = devices.power_sam().and_then(|()| {
            devices.identify_sam(now).map_err(|fault| {
                let status = match fault {
                    flow::Fault::SamRefused(status) => status.to_string(),
                    _ => "no answer".to_owned(),
                };
                Failure::new(code::SAM_UNREADABLE).with("reader", &name).with("status", status)
            })
        });
        match found {
            Err(failure) => self.bad("sam", &failure),
            Ok(identity) => {
                // Whether it has an issuer's keys only a payment tells (a question would use up a sequence number).
                let mut devices_lack = |suite: &Suite| !devices.sam_has_suite(*suite);
                if let Some(suite) =
                    settings.issuers.iter().map(|issuer| issuer.suite).find(|suite| devices_lack(suite))
                {
                    let terminal = identity.terminal;
                    let failure =
                        Failure::new(code::SAM_SUITE).with("terminal", terminal).with("suite", suite);
                    return self.bad("sam", &failure);
                }
                let args = Args::new()
                    .with("reader", name)
                    .with("number", identity.terminal)
                    .with("serial", identity.info.serial);
                self.good("sam", &args);
            }
        }
        if let Some(sam) = &mut devices.sam {
            // The checks are over either way.
            let _ = sam.disconnect();
        }
    }
}

/// The local date and time, if the clock can be right.
///
/// # Errors
/// It cannot.
pub fn sane_clock(now: Now) -> Result<(protocol::time::CardDate, protocol::time::CardTime), Failure> {
    let wrong = |date: &dyn std::fmt::Display| Failure::new(code::CLOCK_WRONG).with("date", date);
    let (date, time) = now.local().map_err(|_| wrong(&now.wall.0))?;
    if (CLOCK_MS_MIN..CLOCK_MS_MAX).contains(&now.wall.0) { Ok((date, time)) } else { Err(wrong(&date)) }
}

/// Writes, syncs and removes a small file; microseconds that the sync took.
fn try_disk(folder: &Path) -> std::io::Result<u128> {
    let path = folder.join(format!(".doctor-{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    let written = file.write_all(&[0xA5; 4096]).and_then(|()| {
        let start = Instant::now();
        file.sync_all()?;
        Ok(start.elapsed().as_micros())
    });
    let removed = std::fs::remove_file(&path);
    let micros = written?;
    removed.map(|()| micros)
}

/// The checks as lines for a person.
#[must_use]
pub fn lines(texts: &Texts, checks: &[Check]) -> String {
    let mut out = String::new();
    for check in checks {
        let verdict = match check.verdict {
            Verdict::Good => "doctor-good",
            Verdict::Note => "doctor-warning",
            Verdict::Bad => "doctor-bad",
        };
        let title = texts.say(&format!("doctor-{}", check.name));
        let code = check.code.as_ref().map(|code| format!("{code} ")).unwrap_or_default();
        out.push_str(&format!("{}  {title}: {code}{}\n", texts.say(verdict), check.what));
        if let Some(next) = &check.next {
            out.push_str(&format!("      →  {next}\n"));
        }
    }
    out
}
