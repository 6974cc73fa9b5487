//! The purse application on the card, suites 00 and 10: commands, state rules and files of `purse.md` sections 1 to 3 and 5,
//! from the card's side.
//!
//! Rules that hold everywhere here:
//! - INIT opens a one-shot transaction; any command but UPDATE CAPP DATA CACHE inside CAPP ends it.
//! - Balance, counter, log record, data for PROVE and cached records are one [`Batch`](crate::memory::Batch).
//! - A MAC or PIN that can be guessed at is counted before it is compared; the purchase key never locks.
//! - A wrong Le is refused (6Cxx) before anything happens.
//!
//! It refuses: the passbook's own transactions (types 01, 04, 05, 07), and in suite 10 secure messaging of class x4 (management
//! goes through a secure channel there).

mod evidence;
mod manage;
mod offline;
mod online;
mod pin;
pub mod store;

use crate::memory::Memory;
use crate::os::fs::File;
use crate::os::{AppId, Applet, Platform, Registration, Reply, Stop, read_binary, read_record};
use offline::OfflineTransaction;
use online::OnlineTransaction;
use protocol::apdu::{Command, StatusWord};
use protocol::purse::Suite;
use protocol::purse::command::{CLA_ISO, CLA_ISO_SM, CLA_PURSE, CLA_PURSE_SM, GetProve, ins};
use protocol::purse::file::{Fci, PublicData, SFI_LOG, SFI_PUBLIC};
use store::{Blocked, Profile, Store};

/// A purse application.
pub struct Purse {
    store: Store,
    fid: u16,
    name: Vec<u8>,
    profile: Profile,
    log_file: File,
    open: Open,
    pin_verified: bool,
}

/// The one-shot transaction that INIT opened.
#[derive(Default)]
enum Open {
    #[default]
    Nothing,
    Offline(Box<OfflineTransaction>),
    Online(Box<OnlineTransaction>),
}

impl Purse {
    /// The application as memory has it; `None` if its profile is missing.
    #[must_use]
    pub fn load(memory: &dyn Memory, entry: Registration) -> Option<Self> {
        let store = Store::new(entry.app);
        let profile = store.profile(memory)?;
        let log_file = File::find(memory, entry.app, SFI_LOG).ok()?;
        Some(Self {
            store,
            fid: entry.fid,
            name: entry.name,
            profile,
            log_file,
            open: Open::Nothing,
            pin_verified: false,
        })
    }

    const fn suite(&self) -> Suite {
        self.profile.suite
    }

    const fn app(&self) -> AppId {
        self.store.app
    }

    /// File 15.
    fn public(&self, memory: &dyn Memory) -> Result<PublicData, Stop> {
        let file = File::find(memory, self.app(), SFI_PUBLIC)?;
        Ok(PublicData::parse(file.bytes(memory)?)?)
    }

    fn refuse_if_blocked(&self, memory: &dyn Memory) -> Result<(), Stop> {
        match self.store.state(memory)?.blocked {
            Blocked::No => Ok(()),
            Blocked::Temporarily => Err(StatusWord::FUNCTION_NOT_SUPPORTED.into()),
            Blocked::Permanently => Err(StatusWord::PERMANENTLY_BLOCKED.into()),
        }
    }

    /// Whether a command keeps an open transaction alive, should it be refused for its Le.
    const fn completes(command: &Command<'_>) -> bool {
        matches!((command.cla, command.ins), (CLA_PURSE, ins::DEBIT | ins::CREDIT | ins::UPDATE_RECORD))
    }

    fn route(&mut self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        match (command.cla, command.ins) {
            (CLA_PURSE, ins::INITIALIZE) => self.initialize(command, platform),
            (CLA_PURSE, ins::DEBIT) => self.debit(command, platform),
            (CLA_PURSE, ins::CREDIT) => self.credit(command, platform),
            (CLA_PURSE, ins::UPDATE_RECORD) => self.update_capp_cache(command, platform),
            (CLA_PURSE, ins::GET_BALANCE) => self.get_balance(command, platform),
            (CLA_PURSE, ins::PROVE) => self.prove(command, platform),
            (CLA_PURSE, ins::GET_DATA) => self.get_data(command, platform),
            (CLA_PURSE, ins::CHANGE_PIN) => self.change_or_reload_pin(command, platform),
            (CLA_ISO, ins::VERIFY) => self.verify_pin(command, platform),
            (CLA_ISO, ins::READ_BINARY) => read_binary(self.app(), command, platform),
            (CLA_ISO, ins::READ_RECORD) => read_record(self.app(), command, platform),
            (CLA_ISO_SM, _) | (CLA_PURSE_SM, _) if self.suite() == Suite::Aes => {
                Err(StatusWord::SECURE_MESSAGING_NOT_SUPPORTED.into())
            }
            (CLA_ISO_SM, ins::UPDATE_BINARY) => self.update_binary(command, platform),
            (CLA_ISO_SM, ins::UPDATE_RECORD) => self.update_record(command, platform),
            (CLA_ISO_SM, ins::APPEND_RECORD) => self.append_record(command, platform),
            (CLA_PURSE_SM, ins::APPLICATION_BLOCK) => self.block(command, platform),
            (CLA_PURSE_SM, ins::APPLICATION_UNBLOCK) => self.unblock(command, platform),
            (CLA_PURSE_SM, ins::PIN_UNBLOCK) => self.unblock_pin(command, platform),
            // Without secure messaging nobody changes a file.
            (CLA_ISO, ins::UPDATE_BINARY | ins::UPDATE_RECORD | ins::APPEND_RECORD) => {
                Err(StatusWord::SECURITY_NOT_SATISFIED.into())
            }
            (CLA_ISO | CLA_PURSE | CLA_ISO_SM | CLA_PURSE_SM, _) => Err(StatusWord::INS_NOT_SUPPORTED.into()),
            _ => Err(StatusWord::CLA_NOT_SUPPORTED.into()),
        }
    }

    fn get_balance(&self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        if [command.p1, command.p2] != [0x00, 0x02] {
            return Err(StatusWord::WRONG_P1P2.into());
        }
        if !command.data.is_empty() {
            return Err(StatusWord::WRONG_LENGTH.into());
        }
        platform.expect(command, 4)?;
        Ok(self.store.state(platform.memory)?.balance.to_bytes().to_vec())
    }

    fn prove(&self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        let asked = GetProve::parse(command)?;
        if asked.evidence {
            return self.evidence(command, platform, asked.kind, asked.counter_after);
        }
        platform.expect(command, 2 * self.suite().mac_len())?;
        let proof = self
            .store
            .proof(platform.memory, asked.kind, asked.counter_after)
            .ok_or(StatusWord::NO_PROVE_DATA)?;
        Ok(proof.answer(self.suite()))
    }
}

impl Applet for Purse {
    fn fid(&self) -> u16 {
        self.fid
    }

    fn name(&self) -> &[u8] {
        &self.name
    }

    fn select(&mut self, platform: &mut Platform<'_>) -> Reply {
        // Blocked for a time or for good, selection answers alike; commands then tell which.
        if self.store.state(platform.memory)?.blocked != Blocked::No {
            return Err(StatusWord::FUNCTION_NOT_SUPPORTED.into());
        }
        let public = self.public(platform.memory)?;
        let mut out = [0; 96];
        let n = Fci { name: &self.name, public }.encode(&mut out)?;
        Ok(out.get(..n).unwrap_or_default().to_vec())
    }

    fn process(&mut self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        let may_unblock = (command.cla, command.ins) == (CLA_PURSE_SM, ins::APPLICATION_UNBLOCK);
        if !Self::completes(command) {
            self.interrupt();
        }
        if !may_unblock {
            self.refuse_if_blocked(platform.memory)?;
        }
        self.route(command, platform)
    }

    fn interrupt(&mut self) {
        self.open = Open::Nothing;
    }

    fn reset(&mut self) {
        self.open = Open::Nothing;
        self.pin_verified = false;
    }
}
