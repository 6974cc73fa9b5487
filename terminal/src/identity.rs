//! Who the terminal is to its acquirer: read from a provisioning file (`docs/reference/provisioning.md`), kept in one file of
//! the data folder.
//!
//! The file holds the terminal master key. It is protected by its permissions alone (0600, SECURITY.md): whoever may read the data folder
//! as this user has the key. It is written whole and durably or not at all.
//!
//! Layout (big-endian): `"TLID"`, version 1, terminal 8, merchant 15, acquirer 8, currency 2, merchant name (length 1, UTF-8),
//! gateway (length 1, UTF-8), master key 16, first 8 bytes of SHA-256 over all before.
//!
//! Refused: another version, unknown or missing keys (with their line), values that do not fit, a code that is none or not this file's,
//! a key block of another usage, a damaged file.

use console::{Failure, code};
use protocol::bytes::{BytesError, Reader, Writer};
use protocol::crypto::sha256;
use protocol::ids::{BatchNo, MerchantId, TerminalId};
use protocol::keyblock::{Usage, unwrap_for};
use protocol::money::Currency;
use protocol::secret::{Secret, macs_equal};
use protocol::signin::OneTimeCode;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// Its name in the data folder.
pub const FILE_NAME: &str = "acquirer.key";
/// Version of the provisioning files that are read.
const FORMAT: u32 = 1;
const MAGIC: [u8; 4] = *b"TLID";
const VERSION: u8 = 1;
/// Longest merchant name and gateway address, in bytes.
const TEXT_BYTES_MAX: usize = 255;
/// Longest file.
const FILE_BYTES_MAX: usize = 1024;
/// Bytes of the checksum.
const SUM_BYTES: usize = 8;
/// Largest acquirer number: 11 digits.
const ACQUIRER_MAX: u64 = 99_999_999_999;
/// Characters of the key block.
const BLOCK_CHARS: usize = 112;

/// A provisioning file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provision {
    #[expect(dead_code, reason = "looked at before the rest is read")]
    format: u32,
    #[serde(deserialize_with = "gateway")]
    gateway: String,
    #[serde(deserialize_with = "terminal")]
    terminal: TerminalId,
    #[serde(deserialize_with = "merchant")]
    merchant: MerchantId,
    #[serde(deserialize_with = "acquirer")]
    acquirer: u64,
    #[serde(deserialize_with = "batch")]
    batch: BatchNo,
    #[serde(deserialize_with = "name")]
    merchant_name: String,
    #[serde(deserialize_with = "currency")]
    currency: Currency,
    #[serde(deserialize_with = "key_block")]
    tmk_block: String,
}

/// Who the terminal is to its acquirer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostIdentity {
    /// `host:port`.
    pub gateway: String,
    /// Field 41.
    pub terminal: TerminalId,
    /// Field 42.
    pub merchant: MerchantId,
    /// The acquirer.
    pub acquirer: u64,
    /// The merchant's name at the acquirer.
    pub merchant_name: String,
    /// Currency of the terminal's batches.
    pub currency: Currency,
    /// The terminal master key.
    pub tmk: Secret<16>,
}

#[derive(Deserialize)]
struct Head {
    format: Option<toml::Value>,
}

impl Provision {
    /// Reads a provisioning file.
    ///
    /// # Errors
    /// No such file, another version, or a mistake in it, with its line.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        // The version comes first: a newer file may have keys that are not known here.
        let head = fs::read_to_string(path).ok().and_then(|text| toml::from_str::<Head>(&text).ok());
        if let Some(format) = head.and_then(|head| head.format)
            && format.as_integer() != Some(i64::from(FORMAT))
        {
            let failure = Failure::new(code::PROVISION_VERSION).with("path", path.display());
            return Err(failure.with("found", format).with("known", FORMAT));
        }
        console::config::load(path, "", [])
    }

    /// The batch to begin with.
    #[must_use]
    pub const fn batch(&self) -> BatchNo {
        self.batch
    }

    /// The terminal that the file is for.
    #[must_use]
    pub const fn terminal(&self) -> TerminalId {
        self.terminal
    }

    /// Opens the file's key with the one-time code as it was typed.
    ///
    /// # Errors
    /// A text that is no code, a code that is not this file's, or a key of another usage.
    pub fn open(self, path: &Path, typed: &str) -> Result<HostIdentity, Failure> {
        let one_time = OneTimeCode::parse(typed)
            .map_err(|error| Failure::new(code::ONE_TIME_CODE_UNREADABLE).with("reason", error))?;
        let wrong = |error: protocol::keyblock::KeyBlockError| {
            Failure::new(code::ONE_TIME_CODE_WRONG).with("path", path.display()).caused_by(error)
        };
        let key = one_time.protection_key(&self.terminal);
        let tmk = unwrap_for(&key, Usage::TMK, self.tmk_block.as_bytes()).map_err(wrong)?;
        Ok(HostIdentity {
            gateway: self.gateway,
            terminal: self.terminal,
            merchant: self.merchant,
            acquirer: self.acquirer,
            merchant_name: self.merchant_name,
            currency: self.currency,
            tmk: tmk.to_secret().map_err(wrong)?,
        })
    }
}

impl HostIdentity {
    /// Whether it is the same terminal of the same merchant at the same acquirer, whatever its key.
    #[must_use]
    pub fn is_same_terminal(&self, other: &Self) -> bool {
        (self.acquirer, self.merchant, self.terminal, self.currency)
            == (other.acquirer, other.merchant, other.terminal, other.currency)
    }

    /// Reads the identity of the terminal whose data folder this is; `None` if it was never provisioned.
    ///
    /// # Errors
    /// A file that cannot be read, that others may read, or that is damaged.
    pub fn load(folder: &Path) -> Result<Option<Self>, Failure> {
        let path = folder.join(FILE_NAME);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(console::config::disk(&path, error)),
        };
        let shown = path.display();
        if metadata.mode() & 0o077 != 0 {
            return Err(Failure::new(code::IDENTITY_EXPOSED).with("path", shown));
        }
        if metadata.len() > FILE_BYTES_MAX as u64 {
            return Err(Failure::new(code::IDENTITY_DAMAGED).with("path", shown));
        }
        let bytes = Zeroizing::new(fs::read(&path).map_err(|error| console::config::disk(&path, error))?);
        match Self::decode(&bytes) {
            Some(identity) => Ok(Some(identity)),
            None => Err(Failure::new(code::IDENTITY_DAMAGED).with("path", shown)),
        }
    }

    /// Stores the identity durably in place of any other.
    ///
    /// # Errors
    /// The disk refuses; then what was there is still there.
    pub fn store(&self, folder: &Path) -> Result<(), Failure> {
        let path = folder.join(FILE_NAME);
        let new = folder.join(format!("{FILE_NAME}.new"));
        let broken = |error| console::config::disk(&path, error);
        let bytes = self.encode().map_err(|error| broken(io::Error::other(error)))?;
        // What an interrupted attempt left behind.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(broken(error)),
            _ => {}
        }
        let written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
        let written = written.and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            fs::File::open(folder)?.sync_all()
        });
        written.map_err(|error| {
            // The error that counts is the one above; a rest that stays is removed by the next attempt.
            let _ = fs::remove_file(&new);
            broken(error)
        })
    }

    fn encode(&self) -> Result<Zeroizing<Vec<u8>>, BytesError> {
        let mut out = Zeroizing::new(vec![0; FILE_BYTES_MAX]);
        let mut writer = Writer::new(&mut out);
        writer.put(&MAGIC)?;
        writer.u8(VERSION)?;
        writer.put(&self.terminal.to_bytes())?;
        writer.put(&self.merchant.to_bytes())?;
        writer.put(&self.acquirer.to_be_bytes())?;
        writer.put(&self.currency.numeric().to_be_bytes())?;
        for text in [&self.merchant_name, &self.gateway] {
            writer.u8(u8::try_from(text.len()).unwrap_or(u8::MAX))?;
            writer.put(text.as_bytes())?;
        }
        writer.put(self.tmk.expose())?;
        let sum = checksum(writer.written());
        writer.put(&sum)?;
        let length = writer.len();
        out.truncate(length);
        Ok(out)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (covered, sum) = bytes.split_last_chunk::<SUM_BYTES>()?;
        let mut reader = Reader::new(covered);
        let known = reader.array::<4>().ok()? == MAGIC && reader.u8().ok()? == VERSION;
        if !known || !macs_equal(&checksum(covered), sum) {
            return None;
        }
        let terminal = TerminalId::from_bytes(reader.array().ok()?)?;
        let merchant = MerchantId::from_bytes(reader.array().ok()?)?;
        let acquirer = reader.u64().ok()?;
        let currency = Currency::from_numeric(reader.u16().ok()?)?;
        let mut text = || {
            let length = reader.u8().ok()?;
            String::from_utf8(reader.take(length.into()).ok()?.to_vec()).ok()
        };
        let (merchant_name, gateway) = (text()?, text()?);
        let tmk = Secret::new(reader.array().ok()?);
        reader.finish().ok()?;
        Some(Self { gateway, terminal, merchant, acquirer, merchant_name, currency, tmk })
    }
}

fn checksum(bytes: &[u8]) -> [u8; SUM_BYTES] {
    let digest = sha256(&[bytes]);
    let mut sum = [0; SUM_BYTES];
    sum.iter_mut().zip(digest).for_each(|(slot, byte)| *slot = byte);
    sum
}

// --- values of the provisioning file --------------------------------------------------------------------------------

fn checked<'de, D: Deserializer<'de>, T>(
    source: D,
    wanted: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, D::Error> {
    let text = String::deserialize(source)?;
    read(&text).ok_or_else(|| de::Error::custom(format!("expected {wanted}")))
}

fn name<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    checked(source, "1 to 255 bytes of text", |text| {
        ((1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control))
            .then(|| text.to_owned())
    })
}

fn gateway<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    checked(source, "host:port", |text| {
        let (host, port) = text.rsplit_once(':')?;
        let fits = !host.is_empty()
            && text.len() <= TEXT_BYTES_MAX
            && port.parse::<u16>().is_ok_and(|port| port != 0);
        fits.then(|| text.to_owned())
    })
}

fn terminal<'de, D: Deserializer<'de>>(source: D) -> Result<TerminalId, D::Error> {
    checked(source, "1 to 8 printable ASCII characters", |text| {
        TerminalId::from_text(text).filter(|_| !text.trim().is_empty())
    })
}

fn merchant<'de, D: Deserializer<'de>>(source: D) -> Result<MerchantId, D::Error> {
    checked(source, "1 to 15 printable ASCII characters", |text| {
        MerchantId::from_text(text).filter(|_| !text.trim().is_empty())
    })
}

fn acquirer<'de, D: Deserializer<'de>>(source: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(source)?;
    if number <= ACQUIRER_MAX { Ok(number) } else { Err(de::Error::custom("expected at most 11 digits")) }
}

fn batch<'de, D: Deserializer<'de>>(source: D) -> Result<BatchNo, D::Error> {
    let number = u32::deserialize(source)?;
    if (1..=999_999).contains(&number) {
        Ok(BatchNo(number))
    } else {
        Err(de::Error::custom("expected a number from 1 to 999999"))
    }
}

fn currency<'de, D: Deserializer<'de>>(source: D) -> Result<Currency, D::Error> {
    checked(source, "a currency of ISO 4217 such as \"CNY\"", Currency::from_alpha)
}

fn key_block<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    checked(source, "a TR-31 version D key block of 112 characters", |text| {
        (text.len() == BLOCK_CHARS && text.starts_with('D') && text.is_ascii()).then(|| text.to_owned())
    })
}
