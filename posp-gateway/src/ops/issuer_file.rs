//! An issuer's key file, as `card-applet-sim personalise issuer` makes it: the gateway takes its keys into the key module.
//!
//! The reader refuses unknown keys, another format, and keys of another length; its errors name what is wrong and never a value.

use protocol::ids::{Factor, IssuerId, KeyVersion};
use protocol::money::{CardAmount, Currency};
use protocol::purse::keys::{KeyUse, PurseKey};
use protocol::purse::{Algorithm, Suite};
use protocol::secret::Secret;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

/// Longest key file, in bytes.
const FILE_MAX: u64 = 64 * 1024;

struct KeyText(String);

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        String::deserialize(source).map(Self)
    }
}

impl Drop for KeyText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    issuer: String,
    currency: String,
    suite: String,
    key_version: u8,
    #[serde(default)]
    factors: Vec<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "of interest to cards alone")]
    df_name: Option<String>,
    limits: LimitsText,
    keys: BTreeMap<String, KeyText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsText {
    #[expect(dead_code, reason = "of interest to cards alone")]
    balance: u32,
    load: u32,
    #[expect(dead_code, reason = "of interest to cards alone")]
    payment: u32,
}

/// An issuer's keys and what the backend wants to know of it.
pub(super) struct IssuerFile {
    pub(super) issuer: IssuerId,
    pub(super) currency: Currency,
    pub(super) version: KeyVersion,
    pub(super) upper_factors: Vec<Factor>,
    pub(super) load_limit: CardAmount,
    pub(super) keys: Vec<(KeyUse, PurseKey)>,
}

/// Reads a key file; the error says what is wrong, never a value.
pub(super) fn read(path: &Path) -> Result<IssuerFile, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_MAX).read_to_string(&mut text).map_err(|error| error.to_string())?;
    parse(&text)
}

fn parse(text: &str) -> Result<IssuerFile, String> {
    // The line itself, which may hold a key's value, is not shown; neither is a value of the wrong type.
    let file: File = toml::from_str(text).map_err(|error| match error.message() {
        message if message.starts_with("invalid") => "a value is of the wrong type".to_owned(),
        message => message.to_owned(),
    })?;
    if file.format != 1 {
        return Err(format!("format: {} is not 1", file.format));
    }
    let suite = suite(&file.suite).ok_or("suite: expected \"10\" or \"00\"")?;
    let issuer = file.issuer.parse().map_err(|error| format!("issuer: {error}"))?;
    let currency = Currency::from_alpha(&file.currency).ok_or("currency: not a currency that we know")?;
    let factors = file.factors.iter().map(|text| text.parse());
    let upper_factors = factors.collect::<Result<_, _>>().map_err(|error| format!("factors: {error}"))?;
    let mut keys = Vec::new();
    for (name, text) in &file.keys {
        let usage = KeyUse::ALL.into_iter().find(|usage| usage.name() == name);
        let usage = usage.ok_or_else(|| format!("keys.{name}: no such use"))?;
        let bytes = Secret::from_hex(&text.0).map_err(|error| format!("keys.{name}: {error}"))?;
        keys.push((usage, PurseKey::new(suite, bytes)));
    }
    for needed in [KeyUse::Load, KeyUse::Tac] {
        if !keys.iter().any(|(usage, _)| *usage == needed) {
            return Err(format!("keys.{} is missing", needed.name()));
        }
    }
    let load_limit = CardAmount(file.limits.load);
    Ok(IssuerFile {
        issuer,
        currency,
        version: KeyVersion(file.key_version),
        upper_factors,
        load_limit,
        keys,
    })
}

fn suite(text: &str) -> Option<Suite> {
    let byte = match text {
        "10" => 0x10,
        "00" => 0x00,
        "01" => 0x01,
        _ => return None,
    };
    Algorithm::from_byte(byte).ok().map(|algorithm| algorithm.suite())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "format = 1\nissuer = \"5441504C494E4500\"\ncurrency = \"CNY\"\nsuite = \"10\"\nkey_version = 1\n\
        factors = [\"4100FFFFFFFFFFFF\"]\n[limits]\nbalance = 100000\nload = 50000\npayment = 10000\n[keys]\n\
        load = \"000102030405060708090A0B0C0D0E0F\"\ntac = \"101112131415161718191A1B1C1D1E1F\"\n";

    #[test]
    fn a_key_file_reads() {
        let file = parse(GOOD).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((file.version, file.load_limit, file.keys.len()), (KeyVersion(1), CardAmount(50_000), 2));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_key_is_repeated() {
        let cases = [
            (GOOD.replace("0C0D0E0F", "0C0D0EXX"), "keys.load"),
            (GOOD.replace("\ntac", "\ntak"), "keys.tak"),
            (GOOD.replace("\"10\"", "\"04\""), "suite"),
            (GOOD.replace("format = 1", "format = 2"), "format"),
            (GOOD.replace("[limits]", "colour = 1\n[limits]"), "colour"),
            (GOOD.replace("\"000102030405060708090A0B0C0D0E0F\"", "000102030405060708090A0B0C0D0E0F"), ""),
            (GOOD.replace("\"000102030405060708090A0B0C0D0E0F\"", "405060708"), "wrong type"),
        ];
        for (text, expected) in cases {
            let error = parse(&text).err().unwrap();
            assert!(error.contains(expected) && !error.contains("0405060708"), "{error}");
        }
    }
}
