//! An issuer's key file: TOML, for its owner's eyes only (mode 0600), the masters in hexadecimal.
//!
//! The parser refuses unknown keys, another `format`, and master keys of another length; its errors name the key that is
//! wrong and never its value.

use crate::issue::{IssuerKeys, NEEDED};
use crate::purse::store::Limits;
use crate::random::{NoRandomness, RandomSource};
use protocol::hex::Hex;
use protocol::ids::{Factor, IssuerId, KeyVersion};
use protocol::money::{CardAmount, Currency};
use protocol::purse::keys::{KeyUse, PurseKey};
use protocol::purse::{Algorithm, Suite};
use protocol::secret::Secret;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use zeroize::{Zeroize, Zeroizing};

/// Version of the file's layout.
pub const FORMAT: u32 = 1;

/// What is wrong with a key file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// A value that means nothing.
    #[error("{key}: {reason}")]
    Value {
        /// Where in the file.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A master that every issuer needs is missing.
    #[error("keys.{0} is missing")]
    Missing(&'static str),
}

fn wrong(key: &str, reason: impl std::fmt::Display) -> KeyFileError {
    KeyFileError::Value { key: key.into(), reason: reason.to_string() }
}

/// Text that is cleared after use and does not print itself.
#[derive(Deserialize)]
#[serde(transparent)]
struct KeyText(String);

impl Drop for KeyText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The file as it is written. Turn it into [`IssuerKeys`] by [`KeyFile::issuer`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    format: u32,
    issuer: String,
    currency: String,
    suite: String,
    key_version: u8,
    #[serde(default)]
    factors: Vec<String>,
    #[serde(default)]
    df_name: Option<String>,
    limits: LimitsText,
    keys: BTreeMap<String, KeyText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsText {
    balance: u32,
    load: u32,
    payment: u32,
}

impl KeyFile {
    /// The keys.
    ///
    /// # Errors
    /// See [`KeyFileError`].
    pub fn issuer(&self) -> Result<IssuerKeys, KeyFileError> {
        if self.format != FORMAT {
            return Err(wrong("format", format!("{} is not {FORMAT}", self.format)));
        }
        let algorithm =
            parse_suite(&self.suite).ok_or_else(|| wrong("suite", "expected \"10\" or \"00\""))?;
        let factors = self.factors.iter().map(|text| text.parse::<Factor>());
        let upper_factors = factors.collect::<Result<_, _>>().map_err(|e| wrong("factors", e))?;
        Ok(IssuerKeys {
            issuer: self.issuer.parse::<IssuerId>().map_err(|e| wrong("issuer", e))?,
            currency: Currency::from_alpha(&self.currency)
                .ok_or_else(|| wrong("currency", "not a currency code of ISO 4217 that we know"))?,
            version: KeyVersion(self.key_version),
            algorithm,
            upper_factors,
            limits: Limits {
                balance: CardAmount(self.limits.balance),
                load: CardAmount(self.limits.load),
                payment: CardAmount(self.limits.payment),
            },
            df_name: self.df_name.as_deref().map(parse_name).transpose()?,
            masters: self.masters(algorithm.suite())?,
        })
    }

    fn masters(&self, suite: Suite) -> Result<BTreeMap<KeyUse, PurseKey>, KeyFileError> {
        let mut masters = BTreeMap::new();
        for (name, text) in &self.keys {
            let key = format!("keys.{name}");
            let key_use = KeyUse::ALL.into_iter().find(|key_use| key_use.name() == name);
            let key_use = key_use.ok_or_else(|| wrong(&key, "no such use"))?;
            let bytes = Secret::from_hex(&text.0).map_err(|e| wrong(&key, e))?;
            masters.insert(key_use, PurseKey::new(suite, bytes));
        }
        match NEEDED.into_iter().find(|key_use| !masters.contains_key(key_use)) {
            Some(missing) => Err(KeyFileError::Missing(missing.name())),
            None => Ok(masters),
        }
    }
}

/// The suite of a key file or an option: `10` (AES) or `00` (3DES; `01` answers algorithm byte 01).
#[must_use]
pub fn parse_suite(text: &str) -> Option<Algorithm> {
    match text {
        "10" => Algorithm::from_byte(0x10).ok(),
        "00" => Algorithm::from_byte(0x00).ok(),
        "01" => Algorithm::from_byte(0x01).ok(),
        _ => None,
    }
}

fn parse_name(text: &str) -> Result<Vec<u8>, KeyFileError> {
    let mut bytes = [0; 16];
    match protocol::hex::decode_into(text, &mut bytes) {
        Ok(n) if n >= 5 => Ok(bytes.get(..n).unwrap_or_default().to_vec()),
        _ => Err(wrong("df_name", "expected 5 to 16 bytes of hexadecimal")),
    }
}

/// Fresh masters for every use of this suite.
///
/// # Errors
/// No randomness.
pub fn generate(
    suite: Suite,
    random: &mut dyn RandomSource,
) -> Result<BTreeMap<KeyUse, PurseKey>, NoRandomness> {
    let mut masters = BTreeMap::new();
    for key_use in KeyUse::ALL {
        let mut bytes = Zeroizing::new([0; 16]);
        random.fill(bytes.as_mut_slice())?;
        masters.insert(key_use, PurseKey::new(suite, Secret::new(*bytes)));
    }
    Ok(masters)
}

/// The text of a key file.
#[must_use]
pub fn write(keys: &IssuerKeys) -> Zeroizing<String> {
    // Reserved ahead: a text that grows leaves copies of keys behind.
    let mut text = Zeroizing::new(String::with_capacity(4096));
    let factors: Vec<String> = keys.upper_factors.iter().map(|f| format!("\"{f}\"")).collect();
    let limits = keys.limits;
    let _ = write!(
        text,
        "# Key file of a purse issuer. Whoever has it can make and load cards: keep it secret.\n\
         format = {FORMAT}\n\
         issuer = \"{}\"\n\
         currency = \"{}\"\n\
         # 10 is AES-128, 00 is 3DES (compatible with PBOC purses).\n\
         suite = \"{:02X}\"\n\
         key_version = {}\n\
         # Diversification factors above the card's own serial, in wire order (at most two).\n\
         factors = [{}]\n",
        keys.issuer,
        keys.currency.alpha(),
        keys.algorithm.byte(),
        keys.version.0,
        factors.join(", ")
    );
    if let Some(name) = &keys.df_name {
        let _ = writeln!(text, "df_name = \"{}\"", Hex(name));
    }
    let _ = write!(
        text,
        "\n[limits] # minor units\nbalance = {}\nload = {}\npayment = {}\n\n[keys]\n",
        limits.balance.0, limits.load.0, limits.payment.0
    );
    for (key_use, key) in &keys.masters {
        let _ = writeln!(text, "{} = \"{}\"", key_use.name(), Hex(key.expose()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    fn sample() -> IssuerKeys {
        let mut keys = IssuerKeys::for_tests(Suite::Aes, 1);
        keys.upper_factors = vec!["4100FFFFFFFFFFFF".parse().unwrap()];
        keys.df_name = Some(vec![0xF0, 1, 2, 3, 4]);
        keys.masters = generate(Suite::Aes, &mut SeededRandom::new(1)).unwrap();
        keys
    }

    fn read(text: &str) -> Result<IssuerKeys, String> {
        toml::from_str::<KeyFile>(text).map_err(|e| e.to_string())?.issuer().map_err(|e| e.to_string())
    }

    #[test]
    fn a_key_file_reads_back_as_it_was_written() {
        let keys = sample();
        let again = read(&write(&keys)).unwrap();
        assert_eq!(again.masters, keys.masters);
        assert_eq!(
            (again.issuer, again.currency, again.version, again.algorithm, again.limits),
            (keys.issuer, keys.currency, keys.version, keys.algorithm, keys.limits)
        );
        assert_eq!((again.upper_factors, again.df_name), (keys.upper_factors, keys.df_name));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_key_is_repeated() {
        let good = write(&sample());
        let key = good.lines().find(|l| l.starts_with("load = \"")).unwrap().to_owned();
        let secret = key.split('"').nth(1).unwrap().to_owned();
        let cases = [
            (good.replace(&key, &format!("load = \"{}\"", &secret[2..])), "keys.load"),
            (good.replace(&key, &format!("load = \"{}XY\"", &secret[2..])), "keys.load"),
            (good.replace(&key, ""), "keys.load is missing"),
            (good.replace(&key, &format!("lode = \"{secret}\"")), "keys.lode"),
            (good.replace("suite = \"10\"", "suite = \"04\""), "suite"),
            (good.replace("format = 1", "format = 2"), "format"),
            (good.replace("CNY", "XXX"), "currency"),
            (good.replace("[limits]", "colour = 1\n[limits]"), "colour"),
        ];
        for (text, expected) in cases {
            let error = read(&text).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains(&secret[2..]), "{error}");
        }
    }
}
