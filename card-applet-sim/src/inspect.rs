//! What a card or SAM holds, for people: serial, dates, balance, counters, log. Never a key, never a PIN.

use crate::memory::Memory;
use crate::os::fs::File;
use crate::os::{AppId, AppKind, Registration};
use crate::purse::store::{Blocked, Store};
use crate::sam::{Sam, terminal_number};
use protocol::ids::KeyIndex;
use protocol::purse::file::{LogRecord, PublicData, SFI_LOG, SFI_PUBLIC};
use protocol::purse::keys::KeyUse;
use protocol::sam::{SFI_SAM_INFO, SamInfo};
use serde::Serialize;
use std::fmt::Write as _;

/// Everything that may be shown.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Report {
    /// A card with a purse.
    Card(CardReport),
    /// A SAM.
    Sam(SamReport),
}

/// A purse.
#[derive(Clone, Debug, Serialize)]
pub struct CardReport {
    /// Serial number.
    pub serial: String,
    /// Issuer.
    pub issuer: String,
    /// Suite, as two digits.
    pub suite: String,
    /// Alphabetic currency code.
    pub currency: String,
    /// First day of validity.
    pub valid_from: String,
    /// Last day of validity.
    pub valid_to: String,
    /// Balance, minor units.
    pub balance: u32,
    /// Balance as people write it.
    pub balance_text: String,
    /// Part of the balance that may not be spent, minor units.
    pub overdraft: u32,
    /// Counter of loads and unloads.
    pub online_counter: u16,
    /// Counter of purchases.
    pub offline_counter: u16,
    /// `no`, `temporarily` or `permanently`.
    pub blocked: &'static str,
    /// Tries left of the holder's PIN.
    pub pin_tries_left: Option<u8>,
    /// The keys, without their values.
    pub keys: Vec<KeyReport>,
    /// The log, newest first.
    pub log: Vec<LogReport>,
}

/// A key of a card.
#[derive(Clone, Debug, Serialize)]
pub struct KeyReport {
    /// Use.
    pub key_use: &'static str,
    /// Version.
    pub version: u8,
    /// Wrong MACs counted against it.
    pub wrong_macs: u8,
}

/// A record of the log.
#[derive(Clone, Debug, Serialize)]
pub struct LogReport {
    /// Counter after the transaction.
    pub counter: u16,
    /// Type, as its two digits.
    pub kind: String,
    /// Amount, minor units.
    pub amount: u32,
    /// Terminal number.
    pub terminal: String,
    /// Local date and time.
    pub at: String,
}

/// A SAM.
#[derive(Clone, Debug, Serialize)]
pub struct SamReport {
    /// Serial number.
    pub serial: String,
    /// Terminal number.
    pub terminal: String,
    /// The last sequence number given.
    pub last_sequence: u32,
    /// Its applications.
    pub applications: Vec<SamApplicationReport>,
}

/// An application of a SAM.
#[derive(Clone, Debug, Serialize)]
pub struct SamApplicationReport {
    /// File identifier.
    pub fid: String,
    /// DF name.
    pub name: String,
    /// Versions of the purchase masters.
    pub key_versions: Vec<u8>,
}

/// What the memory holds; `None` if it is neither a card nor a SAM.
#[must_use]
pub fn report(memory: &dyn Memory) -> Option<Report> {
    let all = Registration::all(memory);
    if let Some(purse) = all.iter().find(|entry| entry.kind == AppKind::Purse) {
        return card(memory, purse.app).map(Report::Card);
    }
    let info = File::find(memory, AppId::ROOT, SFI_SAM_INFO).ok()?;
    let info = SamInfo::parse(info.bytes(memory).ok()?).ok()?;
    let applications = all.into_iter().map(|entry| SamApplicationReport {
        fid: format!("{:04X}", entry.fid),
        name: protocol::hex::Hex(&entry.name).to_string(),
        key_versions: Sam::versions(memory, entry.app).into_iter().map(|version| version.0).collect(),
    });
    Some(Report::Sam(SamReport {
        serial: info.serial.to_string(),
        terminal: terminal_number(memory)?.to_string(),
        last_sequence: Sam::last_sequence(memory).0,
        applications: applications.collect(),
    }))
}

fn card(memory: &dyn Memory, app: AppId) -> Option<CardReport> {
    let store = Store::new(app);
    let profile = store.profile(memory)?;
    let state = store.state(memory).ok()?;
    let public = File::find(memory, app, SFI_PUBLIC).ok()?;
    let public = PublicData::parse(public.bytes(memory).ok()?).ok()?;
    let log = File::find(memory, app, SFI_LOG).ok()?;
    let records = (1..=log.records).filter_map(|n| LogRecord::parse(log.read_record(memory, n).ok()?).ok());
    let index = KeyIndex(1);
    let keys = KeyUse::ALL.into_iter().filter_map(|key_use| {
        let stored = store.key(memory, profile.suite, key_use, index).ok()?;
        let wrong_macs = store.wrong_macs(memory, key_use, index);
        Some(KeyReport { key_use: key_use.name(), version: stored.version.0, wrong_macs })
    });
    Some(CardReport {
        serial: public.asn().to_string(),
        issuer: public.issuer().to_string(),
        suite: format!("{:02X}", profile.algorithm.byte()),
        currency: profile.currency.alpha().to_string(),
        valid_from: public.start().to_string(),
        valid_to: public.end().to_string(),
        balance: state.balance.0,
        balance_text: state.balance.in_currency(profile.currency).to_string(),
        overdraft: state.overdraft.minor(),
        online_counter: state.online.0,
        offline_counter: state.offline.0,
        blocked: match state.blocked {
            Blocked::No => "no",
            Blocked::Temporarily => "temporarily",
            Blocked::Permanently => "permanently",
        },
        pin_tries_left: store.pin(memory, crate::issue::PIN_KEY_ID).ok().map(|pin| pin.tries_left),
        keys: keys.collect(),
        log: records
            .map(|record| LogReport {
                counter: record.counter_after,
                kind: format!("{:02X}", record.kind.byte()),
                amount: record.amount.0,
                terminal: record.terminal.to_string(),
                at: record.moment.to_string(),
            })
            .collect(),
    })
}

impl Report {
    /// The report as text.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Card(card) => card.text(),
            Self::Sam(sam) => sam.text(),
        }
    }
}

impl CardReport {
    fn text(&self) -> String {
        let mut out = format!(
            "card      {} of issuer {}, suite {}\nvalid     {} to {}\nbalance   {}\n\
             counters  {} purchases, {} loads and unloads\nblocked   {}\n",
            self.serial,
            self.issuer,
            self.suite,
            self.valid_from,
            self.valid_to,
            self.balance_text,
            self.offline_counter,
            self.online_counter,
            self.blocked
        );
        if let Some(tries) = self.pin_tries_left {
            let _ = writeln!(out, "PIN       {tries} tries left");
        }
        for key in &self.keys {
            let _ = writeln!(
                out,
                "key       {} version {}, {} wrong MACs",
                key.key_use, key.version, key.wrong_macs
            );
        }
        for record in &self.log {
            let LogReport { counter, kind, amount, terminal, at } = record;
            let _ = writeln!(
                out,
                "log       {at}  type {kind}  amount {amount}  counter {counter}  at {terminal}"
            );
        }
        out
    }
}

impl SamReport {
    fn text(&self) -> String {
        let mut out = format!(
            "SAM       {}\nterminal  {}\nsequence  {} given last\n",
            self.serial, self.terminal, self.last_sequence
        );
        for application in &self.applications {
            let versions: Vec<String> = application.key_versions.iter().map(u8::to_string).collect();
            let _ = writeln!(
                out,
                "keys      {} (DF {}): versions {}",
                application.name,
                application.fid,
                versions.join(", ")
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue::{IssuerKeys, NewCard, NewSam};
    use crate::memory::RamMemory;
    use protocol::hex::Hex;
    use protocol::ids::{Asn, SamTerminal};
    use protocol::money::CardAmount;
    use protocol::purse::Suite;

    #[test]
    fn a_card_shows_what_it_holds_and_no_key() {
        let keys = IssuerKeys::for_tests(Suite::Aes, 0);
        let mut memory = RamMemory::new();
        let asn = Asn([6, 2, 1, 7, 0, 0, 0, 0, 0, 1]);
        NewCard::for_tests(asn).with_balance(CardAmount(5000)).make(&keys, &mut memory).unwrap();
        let report = report(&memory).unwrap();
        let json = serde_json::to_string(&report).unwrap();
        for expected in
            ["\"serial\":\"06020107000000000001\"", "\"balance\":5000", "\"kind\":\"card\"", "2036-12-31"]
        {
            assert!(json.contains(expected), "{json}");
        }
        let both = json + &report.text();
        assert!(!both.contains("123456"), "no PIN");
        for key_use in KeyUse::ALL {
            let key = keys.card_key(key_use, asn).unwrap();
            assert!(!both.contains(&Hex(key.expose()).to_string()));
        }
    }

    #[test]
    fn a_sam_shows_its_numbers_and_an_empty_memory_is_neither() {
        let mut memory = RamMemory::new();
        assert!(report(&memory).is_none());
        NewSam::for_tests(SamTerminal([0, 0, 0, 0, 0, 0x17]))
            .make(&[IssuerKeys::for_tests(Suite::Des, 0)], &mut memory)
            .unwrap();
        let text = report(&memory).unwrap().text();
        assert!(
            text.contains("000000000017") && text.contains("DF01") && text.contains("versions 1"),
            "{text}"
        );
    }
}
