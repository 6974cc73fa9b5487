//! Making cards and SAMs: an issuer's keys, diversified into a card's memory in one commit.
//!
//! [`IssuerKeys`] holds what an issuer's key file says; [`NewCard`] and [`NewSam`] what is particular to one card or SAM. The same
//! functions serve `personalise` and a simulation that makes a thousand cards in RAM.

use crate::memory::{Batch, Memory, MemoryFault};
use crate::os::fs::{File, Structure, Update};
use crate::os::{AppId, AppKind, Registration};
use crate::purse::store::{Limits, Profile, State, Store};
use crate::sam::Sam;
use protocol::ids::{Asn, Factor, IssuerId, KeyIndex, KeyVersion, OfflineCounter, OnlineCounter, SamSerial};
use protocol::ids::{SamTerminal, TermSeq};
use protocol::money::{CardAmount, Currency};
use protocol::purse::file::{self, PublicData};
use protocol::purse::keys::{FACTORS_MAX, KeyUse, PurseKey};
use protocol::purse::{AID_SUITE_00, AID_SUITE_10, Algorithm, FID_PURSE, Overdraft, PurseError, Suite};
use protocol::sam::{AID_SAM_SUITE_10, FID_SAM_SUITE_00, SFI_SAM_INFO, SFI_TERMINAL_NUMBER, SamInfo};
use protocol::secret::Secret;
use protocol::time::CardDate;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Records of the log: the standard's ten and some more.
const LOG_RECORDS: u8 = 20;
/// Records of the transit log.
const TRANSIT_LOG_RECORDS: u8 = 30;
/// Tries of a PIN.
pub const PIN_TRIES: u8 = 3;
/// Key id of the holder's PIN.
pub const PIN_KEY_ID: u8 = 0;
/// Index of every key that the issuer writes.
pub const KEY_INDEX: KeyIndex = KeyIndex(1);
/// Identifier of the record of the transit process file.
pub const TRANSIT_RECORD_ID: u8 = 0x01;
/// DF name of a suite 00 SAM application.
const SAM_NAME_SUITE_00: &[u8] = b"PSAM.DF01";
const FID_SAM_SUITE_10: u16 = 0xDF10;

/// Why a card or SAM cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The issuer has no master for a key that the card needs.
    #[error("the issuer has no {0} key")]
    MissingKey(&'static str),
    /// Wrong number of factors.
    #[error("1 to {FACTORS_MAX} diversification factors are possible (the card's serial is the first)")]
    Factors,
    /// Another length than 2 to 6 bytes.
    #[error("a PIN has 4 to 12 digits, an even number of them")]
    Pin,
    /// The balance to start with is above the limit.
    #[error("balance is above the card's limit")]
    Balance,
    /// Two issuers' keys cannot be told apart in one SAM.
    #[error("two key sets of suite {0} have version {1}: a SAM tells them apart by version")]
    SameVersion(Suite, KeyVersion),
    /// Nothing to put into a SAM.
    #[error("a SAM needs at least one issuer")]
    NoIssuer,
    /// From the wire formats.
    #[error(transparent)]
    Purse(#[from] PurseError),
    /// Memory did not take it.
    #[error(transparent)]
    Memory(#[from] MemoryFault),
}

/// A key set of an issuer: one version, one suite, one currency.
#[derive(Clone, Debug)]
pub struct IssuerKeys {
    /// The issuer.
    pub issuer: IssuerId,
    /// Currency of its cards.
    pub currency: Currency,
    /// Version of the key set.
    pub version: KeyVersion,
    /// The algorithm byte that cards answer; it names the suite.
    pub algorithm: Algorithm,
    /// Factors above the card's serial, in wire order (none, one or two).
    pub upper_factors: Vec<Factor>,
    /// Limits of its cards.
    pub limits: Limits,
    /// DF name of its purse application; `None` is the suite's default.
    pub df_name: Option<Vec<u8>>,
    /// Masters by use.
    pub masters: BTreeMap<KeyUse, PurseKey>,
}

/// Uses that every issuer needs: without one of these a purse cannot work.
pub const NEEDED: [KeyUse; 4] = [KeyUse::Purchase, KeyUse::Load, KeyUse::Unload, KeyUse::Tac];

impl IssuerKeys {
    /// The suite.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.algorithm.suite()
    }

    /// The factors of a card, in wire order.
    #[must_use]
    pub fn factors(&self, asn: Asn) -> Vec<Factor> {
        std::iter::once(asn.factor()).chain(self.upper_factors.iter().copied()).collect()
    }

    /// A card's key.
    ///
    /// # Errors
    /// No such master, or too many factors.
    pub fn card_key(&self, key_use: KeyUse, asn: Asn) -> Result<PurseKey, IssueError> {
        let master = self.masters.get(&key_use).ok_or(IssueError::MissingKey(key_use.name()))?;
        Ok(master.diversify(&self.factors(asn))?)
    }

    /// Keys that anyone can compute, for tests and simulations: the master of each use is its name, hashed with `seed`.
    #[must_use]
    pub fn for_tests(suite: Suite, seed: u8) -> Self {
        let master = |key_use: KeyUse| {
            let digest = protocol::crypto::sha256(&[b"tapline test key", &[seed], key_use.name().as_bytes()]);
            let mut bytes = [0; 16];
            bytes.iter_mut().zip(digest).for_each(|(slot, byte)| *slot = byte);
            PurseKey::new(suite, Secret::new(bytes))
        };
        Self {
            issuer: IssuerId(*b"TAPL\0\0\x01\x56"),
            currency: Currency::CNY,
            version: KeyVersion(1),
            algorithm: suite.algorithm(),
            upper_factors: Vec::new(),
            limits: Limits {
                balance: CardAmount(100_000),
                load: CardAmount(100_000),
                payment: CardAmount(50_000),
            },
            df_name: None,
            masters: KeyUse::ALL.into_iter().map(|key_use| (key_use, master(key_use))).collect(),
        }
    }
}

/// What is particular to one card.
#[derive(Clone, Debug)]
pub struct NewCard {
    /// Serial number.
    pub asn: Asn,
    /// First day of validity.
    pub start: CardDate,
    /// Last day of validity.
    pub end: CardDate,
    /// The issuer's own two bytes of file 15.
    pub fci: [u8; 2],
    /// The holder's PIN, packed digits.
    pub pin: Secret<6>,
    /// Bytes of the PIN that count, 2 to 6.
    pub pin_len: usize,
    /// Balance to start with: a new card has none, a test card may.
    pub balance: CardAmount,
    /// Part of the balance that may not be spent.
    pub overdraft: Overdraft,
    /// Counter of loads to start with (a replacement card goes on where the old one stopped).
    pub online: OnlineCounter,
    /// Counter of purchases to start with.
    pub offline: OfflineCounter,
    /// P-256 key and certificate for evidence signatures (suite 10).
    pub evidence: Option<(Secret<32>, Vec<u8>)>,
}

impl NewCard {
    /// A card of this serial, valid from 2026 to 2036, PIN 123456, empty.
    #[must_use]
    pub fn for_tests(asn: Asn) -> Self {
        Self {
            asn,
            start: CardDate::from_bytes([0x20, 0x26, 0x01, 0x01]),
            end: CardDate::from_bytes([0x20, 0x36, 0x12, 0x31]),
            fci: [0x55, 0x66],
            pin: Secret::new([0x12, 0x34, 0x56, 0, 0, 0]),
            pin_len: 3,
            balance: CardAmount::ZERO,
            overdraft: Overdraft::ZERO,
            online: OnlineCounter(0),
            offline: OfflineCounter(0),
            evidence: None,
        }
    }

    /// The same with a balance.
    #[must_use]
    pub fn with_balance(self, balance: CardAmount) -> Self {
        Self { balance, ..self }
    }

    /// Makes the card in `memory`, which must be empty.
    ///
    /// # Errors
    /// See [`IssueError`]; memory is unchanged then.
    pub fn make(&self, keys: &IssuerKeys, memory: &mut dyn Memory) -> Result<(), IssueError> {
        let pin =
            self.pin.expose().get(..self.pin_len).filter(|pin| pin.len() >= 2).ok_or(IssueError::Pin)?;
        if self.balance > keys.limits.balance {
            return Err(IssueError::Balance);
        }
        if keys.factors(self.asn).len() > FACTORS_MAX {
            return Err(IssueError::Factors);
        }
        let app = AppId(1);
        let default_name = if keys.suite() == Suite::Aes { AID_SUITE_10 } else { AID_SUITE_00 };
        let name = keys.df_name.clone().unwrap_or_else(|| default_name.to_vec());
        let mut batch = Batch::new();
        create_directory(&mut batch, &name);
        Registration { app, kind: AppKind::Purse, fid: FID_PURSE, name }.write(&mut batch);
        let store = Store::new(app);
        let profile = Profile {
            suite: keys.suite(),
            algorithm: keys.algorithm,
            currency: keys.currency,
            limits: keys.limits,
        };
        let state = State {
            balance: self.balance,
            overdraft: self.overdraft,
            online: self.online,
            offline: self.offline,
            ..State::default()
        };
        store.create(&mut batch, profile, state);
        store.create_pin(&mut batch, PIN_KEY_ID, pin, PIN_TRIES);
        self.write_keys(keys, store, &mut batch)?;
        self.write_files(keys, app, &mut batch);
        if let Some((scalar, certificate)) = &self.evidence {
            store.create_evidence(&mut batch, scalar, certificate);
        }
        Ok(memory.commit(&batch)?)
    }

    fn write_keys(&self, keys: &IssuerKeys, store: Store, batch: &mut Batch) -> Result<(), IssueError> {
        for key_use in KeyUse::ALL {
            match keys.card_key(key_use, self.asn) {
                Ok(key) => store.create_key(batch, key_use, KEY_INDEX, keys.version, &key),
                Err(IssueError::MissingKey(_)) if !NEEDED.contains(&key_use) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_files(&self, keys: &IssuerKeys, app: AppId, batch: &mut Batch) {
        let public = PublicData::new(keys.issuer, self.asn, self.start, self.end, self.fci);
        let spec = |sfi, structure, len: usize, records, update| File {
            app,
            sfi,
            structure,
            len: u8::try_from(len).unwrap_or(u8::MAX),
            records,
            update,
        };
        let transparent = |sfi, len| spec(sfi, Structure::Transparent, len, 0, Update::Issuer);
        transparent(file::SFI_PUBLIC, file::PUBLIC_BYTES).create(batch, &[public.as_bytes()]);
        transparent(file::SFI_HOLDER, file::HOLDER_BYTES).create(batch, &[]);
        spec(file::SFI_LOG, Structure::Cyclic, file::LOG_RECORD_BYTES, LOG_RECORDS, Update::Never)
            .create(batch, &[]);
        let mut transit = [0; file::TRANSIT_RECORD_BYTES];
        // Identifier 01, length of what follows the first four bytes.
        transit[1] = TRANSIT_RECORD_ID;
        transit[3] = 0x7C;
        spec(file::SFI_TRANSIT, Structure::Linear, file::TRANSIT_RECORD_BYTES, 1, Update::Issuer)
            .create(batch, &[&transit]);
        spec(
            file::SFI_TRANSIT_LOG,
            Structure::Cyclic,
            file::TRANSIT_LOG_RECORD_BYTES,
            TRANSIT_LOG_RECORDS,
            Update::Issuer,
        )
        .create(batch, &[]);
    }
}

/// File 01 of the MF: `70{61{4F AID, 50 FID}}`, as deployed cards have it.
fn create_directory(batch: &mut Batch, name: &[u8]) {
    use protocol::tlv::{Tag, TlvWriter};
    let mut out = [0; 40];
    let mut writer = TlvWriter::new(&mut out);
    let written = writer.constructed(Tag::new(0x70), |entries| {
        entries.constructed(Tag::new(0x61), |entry| {
            entry.put(Tag::new(0x4F), name)?;
            entry.put(Tag::new(0x50), &FID_PURSE.to_be_bytes())
        })
    });
    let n = writer.len();
    let directory = File {
        app: AppId::ROOT,
        sfi: 0x01,
        structure: Structure::Linear,
        len: u8::try_from(n).unwrap_or(u8::MAX),
        records: 1,
        update: Update::Never,
    };
    if written.is_ok() {
        directory.create(batch, &[out.get(..n).unwrap_or_default()]);
    }
}

/// What is particular to one SAM.
#[derive(Clone, Copy, Debug)]
pub struct NewSam {
    /// The number of its terminal role.
    pub terminal: SamTerminal,
    /// Its serial number.
    pub serial: SamSerial,
    /// The last sequence number that counts as given.
    pub last_sequence: TermSeq,
}

impl NewSam {
    /// A new SAM with this terminal number.
    #[must_use]
    pub fn for_tests(terminal: SamTerminal) -> Self {
        let [a, b, c, d, e, f] = terminal.0;
        Self { terminal, serial: SamSerial([0, 0, 0, 0, a, b, c, d, e, f]), last_sequence: TermSeq(0) }
    }

    /// Makes the SAM in `memory`, which must be empty, with the purchase masters of these issuers.
    ///
    /// # Errors
    /// See [`IssueError`]; memory is unchanged then.
    pub fn make(&self, issuers: &[IssuerKeys], memory: &mut dyn Memory) -> Result<(), IssueError> {
        if issuers.is_empty() {
            return Err(IssueError::NoIssuer);
        }
        let mut batch = Batch::new();
        let info = SamInfo { serial: self.serial, version: 1, kind: 1, fci: [0, 0] };
        let root_file = |sfi, len| File {
            app: AppId::ROOT,
            sfi,
            structure: Structure::Transparent,
            len,
            records: 0,
            update: Update::Never,
        };
        root_file(SFI_TERMINAL_NUMBER, 6).create(&mut batch, &[&self.terminal.0]);
        root_file(SFI_SAM_INFO, 14).create(&mut batch, &[&info.to_bytes()]);
        Sam::create_sequence(&mut batch, self.last_sequence);
        let applications = [
            (AppId(1), Suite::Des, FID_SAM_SUITE_00, SAM_NAME_SUITE_00.to_vec()),
            (AppId(2), Suite::Aes, FID_SAM_SUITE_10, AID_SAM_SUITE_10.to_vec()),
        ];
        for (app, suite, fid, name) in applications {
            let of_suite: Vec<&IssuerKeys> = issuers.iter().filter(|i| i.suite() == suite).collect();
            if of_suite.is_empty() {
                continue;
            }
            Registration { app, kind: AppKind::Sam, fid, name }.write(&mut batch);
            Sam::create(&mut batch, app, suite);
            write_masters(app, &of_suite, &mut batch)?;
        }
        Ok(memory.commit(&batch)?)
    }
}

fn write_masters(app: AppId, issuers: &[&IssuerKeys], batch: &mut Batch) -> Result<(), IssueError> {
    let mut versions = Vec::new();
    for keys in issuers {
        if versions.contains(&keys.version) {
            return Err(IssueError::SameVersion(keys.suite(), keys.version));
        }
        versions.push(keys.version);
        let factors = 1 + keys.upper_factors.len();
        if factors > FACTORS_MAX {
            return Err(IssueError::Factors);
        }
        let master =
            keys.masters.get(&KeyUse::Purchase).ok_or(IssueError::MissingKey(KeyUse::Purchase.name()))?;
        Sam::create_master(batch, app, keys.version, master, u8::try_from(factors).unwrap_or(0));
    }
    Ok(())
}

/// A PIN of digits as packed bytes and their number.
///
/// # Errors
/// Not an even number of 4 to 12 digits.
pub fn pack_pin(digits: &str) -> Result<(Secret<6>, usize), IssueError> {
    let mut bytes = Zeroizing::new([0; 6]);
    let decimal = digits.bytes().all(|b| b.is_ascii_digit());
    if !decimal || digits.len() < 4 {
        return Err(IssueError::Pin);
    }
    let n = protocol::hex::decode_into(digits, bytes.as_mut_slice()).map_err(|_| IssueError::Pin)?;
    Ok((Secret::new(*bytes), n))
}
