//! `terminal.toml`: what a terminal is called, which readers and cards it uses, where its journal lives.
//!
//! Every value is parsed into its type here, so that a mistake is told with its line and nothing later can meet a bad one.

use console::log::Format;
use console::{Failure, code};
use flow::profile::{AID_BYTES_MAX, Aid, ISSUERS_MAX, IssuerProfile, KEY_VERSIONS_MAX, Profile};
use protocol::hex;
use protocol::ids::{Asn, Factor, IssuerId, KeyIndex, KeyVersion, MerchantId, TerminalId};
use protocol::money::{Amount, CardAmount, Currency};
use protocol::purse::{AID_SUITE_00, AID_SUITE_10, Suite};
use serde::Deserialize;
use serde::de::{self, Deserializer};
use std::collections::HashSet;
use std::fs;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The commented default that `init` writes.
pub const DEFAULT: &str = include_str!("default.toml");
/// What the override variables start with.
pub const ENVIRONMENT_PREFIX: &str = "TAPLINE_TERMINAL";
/// Longest name or place on a receipt, in characters (ISO 8583 field 43 has 40 for both).
pub const NAME_CHARS_MAX: usize = 40;
/// Most cards of a deny list that is held in memory.
pub const DENY_LIST_CARDS_MAX: usize = 1_000_000;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Who this terminal is.
    pub terminal: Identity,
    /// Which readers, and how long to wait.
    #[serde(default)]
    pub reader: ReaderSettings,
    /// Limits of a payment.
    #[serde(default)]
    pub sale: SaleSettings,
    /// Limits of a load.
    #[serde(default)]
    pub topup: TopupSettings,
    /// How patient the line to the gateway is.
    #[serde(default)]
    pub host: HostSettings,
    /// Where the journal is.
    #[serde(default)]
    pub data: DataSettings,
    /// What is logged.
    #[serde(default)]
    pub log: LogSettings,
    /// Accepted issuers.
    #[serde(rename = "issuer")]
    pub issuers: Vec<IssuerSettings>,
}

/// Who this terminal is, towards customers and the acquirer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// ISO 8583 field 41.
    #[serde(deserialize_with = "terminal_id")]
    pub id: TerminalId,
    /// ISO 8583 field 42.
    #[serde(deserialize_with = "merchant_id")]
    pub merchant: MerchantId,
    /// The merchant's name on receipts.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// The terminal's place on receipts.
    #[serde(deserialize_with = "name")]
    pub place: String,
    /// Currency of every amount.
    #[serde(deserialize_with = "currency")]
    pub currency: Currency,
    /// Local time.
    #[serde(default)]
    pub zone: Zone,
}

/// Which readers to use.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReaderSettings {
    /// Part of the name of the customers' reader; empty: the only one.
    pub card: String,
    /// Part of the name of the SAM's slot; empty: the second of the device.
    pub sam: String,
    /// Seconds that a customer has to present a card.
    #[serde(deserialize_with = "wait_s")]
    pub wait_s: u16,
}

/// Limits of a payment.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SaleSettings {
    /// Most that one payment may take, in the terminal's currency; `None`: what a card's amount field holds.
    pub limit: Option<String>,
    /// File of refused cards; empty: none.
    pub deny_list: PathBuf,
}

/// Limits of a load.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopupSettings {
    /// Most that one load may bring, in the terminal's currency; `None`: what a card's amount field holds.
    pub limit: Option<String>,
}

/// How patient the line to the gateway is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostSettings {
    /// Seconds for an answer.
    #[serde(deserialize_with = "host_s")]
    pub reply_s: u16,
    /// Seconds for a connection.
    #[serde(deserialize_with = "host_s")]
    pub connect_s: u16,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self { reply_s: 20, connect_s: 5 }
    }
}

/// Where the journal is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataSettings {
    /// Its folder.
    pub folder: PathBuf,
}

/// What is logged.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// `tracing`'s filter.
    pub filter: String,
    /// Text or JSON.
    pub format: Format,
}

/// An accepted issuer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// The issuer field of file 15.
    #[serde(deserialize_with = "issuer_id")]
    pub id: IssuerId,
    /// The one suite accepted of its cards.
    #[serde(deserialize_with = "suite")]
    pub suite: Suite,
    /// Name of its purse application; `None`: the suite's usual one.
    #[serde(default, deserialize_with = "aid")]
    pub aid: Option<Aid>,
    /// Versions of its purchase key in use.
    #[serde(deserialize_with = "key_versions")]
    pub key_versions: heapless::Vec<KeyVersion, KEY_VERSIONS_MAX>,
    /// Index of the purchase key on the card.
    #[serde(default = "first_key", deserialize_with = "key_index")]
    pub key_index: KeyIndex,
    /// Diversification factors above the card's own, nearest to the card first (as on the wire).
    #[serde(default, deserialize_with = "factors")]
    pub factors: heapless::Vec<Factor, 2>,
}

/// Where local time comes from.
#[derive(Clone, Debug, Default)]
pub struct Zone(Option<jiff::tz::TimeZone>);

impl Zone {
    /// Minutes east of UTC at `wall`.
    #[must_use]
    pub fn offset_min(&self, wall: protocol::time::Wall) -> i16 {
        let zone = self.0.clone().unwrap_or_else(jiff::tz::TimeZone::system);
        let moment = jiff::Timestamp::from_millisecond(wall.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        i16::try_from(zone.to_offset(moment).seconds() / 60).unwrap_or(0)
    }
}

/// A local date and time with its offset, for machines: `2026-11-22T18:30:05+08:00`.
#[must_use]
pub fn stamp(zone: &Zone, date: &str, time: &str) -> String {
    let civil: Option<jiff::civil::DateTime> = format!("{date}T{time}").parse().ok();
    let zone = zone.0.clone().unwrap_or_else(jiff::tz::TimeZone::system);
    let moment = civil.and_then(|civil| zone.to_ambiguous_timestamp(civil).compatible().ok());
    match moment {
        Some(moment) => format!("{date}T{time}{}", offset_text(zone.to_offset(moment).seconds() / 60)),
        None => format!("{date}T{time}"),
    }
}

/// `+08:00`
#[must_use]
pub fn offset_text(minutes_east: i32) -> String {
    let sign = if minutes_east < 0 { '-' } else { '+' };
    let minutes = minutes_east.unsigned_abs();
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

impl Default for ReaderSettings {
    fn default() -> Self {
        Self { card: String::new(), sam: String::new(), wait_s: 30 }
    }
}

impl Default for DataSettings {
    fn default() -> Self {
        Self { folder: PathBuf::from(".") }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: "warn".to_owned(), format: Format::Text }
    }
}

impl Settings {
    /// Reads the file and the variables over it.
    ///
    /// # Errors
    /// As [`console::config::load`], or values that do not fit each other.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Failure> {
        let mut settings: Self = console::config::load(path, ENVIRONMENT_PREFIX, environment)?;
        settings.profile().map_err(|reason| unfit(path, "sale.limit", reason))?;
        let topup = settings.topup_limit().and_then(CardAmount::try_from);
        topup.map_err(|reason| unfit(path, "topup.limit", reason))?;
        if !(1..=ISSUERS_MAX).contains(&settings.issuers.len()) {
            return Err(unfit(path, "issuer", "1 to 16 issuers are needed"));
        }
        // A path in the file is meant from where the file is.
        let folder = path.parent().unwrap_or(Path::new("."));
        settings.data.folder = folder.join(&settings.data.folder);
        if !settings.sale.deny_list.as_os_str().is_empty() {
            settings.sale.deny_list = folder.join(&settings.sale.deny_list);
        }
        Ok(settings)
    }

    /// Most that one payment may take.
    ///
    /// # Errors
    /// The configured text is no amount.
    pub fn limit(&self) -> Result<Amount, protocol::money::MoneyError> {
        match &self.sale.limit {
            Some(text) => Amount::parse(text, self.terminal.currency),
            None => Ok(Amount::new(u64::from(u32::MAX), self.terminal.currency)),
        }
    }

    /// Most that one load may bring.
    ///
    /// # Errors
    /// The configured text is no amount.
    pub fn topup_limit(&self) -> Result<Amount, protocol::money::MoneyError> {
        match &self.topup.limit {
            Some(text) => Amount::parse(text, self.terminal.currency),
            None => Ok(Amount::new(u64::from(u32::MAX), self.terminal.currency)),
        }
    }

    /// What the flows accept.
    ///
    /// # Errors
    /// The limit is no amount of a card.
    pub fn profile(&self) -> Result<Profile, protocol::money::MoneyError> {
        let most = CardAmount::try_from(self.limit()?)?;
        let profile = |issuer: &IssuerSettings| IssuerProfile {
            issuer: issuer.id,
            aid: issuer.aid.clone().unwrap_or_else(|| usual_aid(issuer.suite)),
            suite: issuer.suite,
            key_versions: issuer.key_versions.clone(),
            key_index: issuer.key_index,
            upper_factors: issuer.factors.clone(),
            currency: self.terminal.currency,
            single_payment_max: most,
        };
        Ok(Profile { issuers: self.issuers.iter().map(profile).collect() })
    }

    /// How long a customer has to present a card.
    #[must_use]
    pub fn wait(&self) -> Duration {
        Duration::from_secs(self.reader.wait_s.into())
    }

    /// Reads the deny list, if one is configured: (issuer, the card's serial factor).
    ///
    /// # Errors
    /// It cannot be read, has a line that is no card, or is longer than [`DENY_LIST_CARDS_MAX`].
    pub fn deny_list(&self) -> Result<HashSet<(IssuerId, Factor)>, Failure> {
        let path = &self.sale.deny_list;
        if path.as_os_str().is_empty() {
            return Ok(HashSet::new());
        }
        let file = fs::File::open(path).map_err(|error| console::config::disk(path, error))?;
        read_deny_list(path, io::BufReader::new(file))
    }
}

fn read_deny_list(path: &Path, file: impl BufRead) -> Result<HashSet<(IssuerId, Factor)>, Failure> {
    let mut cards = HashSet::new();
    for (index, line) in file.lines().enumerate() {
        let line = line.map_err(|error| console::config::disk(path, error))?;
        let text = line.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let refuse = |reason: &str| {
            Failure::new(code::CONFIG_UNREADABLE)
                .with("path", path.display())
                .with("line", index.saturating_add(1))
                .with("column", 1)
                .with("reason", reason)
        };
        let (issuer, serial) =
            text.split_once(':').ok_or_else(|| refuse("expected issuer:serial in hexadecimal"))?;
        let issuer: IssuerId =
            issuer.parse().map_err(|_| refuse("the issuer is not 16 hexadecimal digits"))?;
        let serial: Asn = serial.parse().map_err(|_| refuse("the serial is not 20 hexadecimal digits"))?;
        if cards.len() >= DENY_LIST_CARDS_MAX {
            return Err(refuse("the list is longer than 1000000 cards"));
        }
        cards.insert((issuer, serial.factor()));
    }
    Ok(cards)
}

/// A value that reads well but does not fit.
fn unfit(path: &Path, key: &str, reason: impl std::fmt::Display) -> Failure {
    let text = fs::read_to_string(path).unwrap_or_default();
    let last = key.rsplit('.').next().unwrap_or(key);
    let at = text.lines().position(|line| line.trim_start().starts_with(last)).unwrap_or(0);
    Failure::new(code::CONFIG_UNREADABLE)
        .with("path", path.display())
        .with("line", at.saturating_add(1))
        .with("column", 1)
        .with("reason", format!("{key}: {reason}"))
}

/// A text field, read by `parse` or refused with `expected`.
fn text<'de, D: Deserializer<'de>, T>(
    source: D,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, D::Error> {
    let text = String::deserialize(source)?;
    parse(&text).ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &expected))
}

fn terminal_id<'de, D: Deserializer<'de>>(source: D) -> Result<TerminalId, D::Error> {
    text(source, "1 to 8 printable ASCII characters", TerminalId::from_text)
}

fn merchant_id<'de, D: Deserializer<'de>>(source: D) -> Result<MerchantId, D::Error> {
    text(source, "1 to 15 printable ASCII characters", MerchantId::from_text)
}

fn name<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    text(source, "1 to 40 characters on one line", |name| {
        let fits =
            (1..=NAME_CHARS_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        fits.then(|| name.to_owned())
    })
}

fn currency<'de, D: Deserializer<'de>>(source: D) -> Result<Currency, D::Error> {
    text(source, "a currency of ISO 4217 such as CNY", Currency::from_alpha)
}

fn issuer_id<'de, D: Deserializer<'de>>(source: D) -> Result<IssuerId, D::Error> {
    text(source, "16 hexadecimal digits", |text| text.parse().ok())
}

fn first_key() -> KeyIndex {
    KeyIndex(1)
}

fn key_index<'de, D: Deserializer<'de>>(source: D) -> Result<KeyIndex, D::Error> {
    u8::deserialize(source).map(KeyIndex)
}

/// A list of at most `N`, each read by `read`.
fn list<'de, D: Deserializer<'de>, S: Deserialize<'de>, T, const N: usize>(
    source: D,
    least: usize,
    expected: &'static str,
    read: impl Fn(S) -> Option<T>,
) -> Result<heapless::Vec<T, N>, D::Error> {
    let items: Vec<S> = Vec::deserialize(source)?;
    let count = items.len();
    if !(least..=N).contains(&count) {
        return Err(de::Error::invalid_length(count, &expected));
    }
    let list: heapless::Vec<T, N> = items.into_iter().filter_map(read).collect();
    if list.len() == count { Ok(list) } else { Err(de::Error::custom(format!("expected {expected}"))) }
}

fn key_versions<'de, D: Deserializer<'de>>(
    source: D,
) -> Result<heapless::Vec<KeyVersion, KEY_VERSIONS_MAX>, D::Error> {
    list(source, 1, "1 to 4 key versions", |version: u8| Some(KeyVersion(version)))
}

fn factors<'de, D: Deserializer<'de>>(source: D) -> Result<heapless::Vec<Factor, 2>, D::Error> {
    list(source, 0, "at most 2 factors of 16 hexadecimal digits each", |text: String| text.parse().ok())
}

fn suite<'de, D: Deserializer<'de>>(source: D) -> Result<Suite, D::Error> {
    text(source, "\"aes\" or \"3des\"", |name| match name {
        "aes" => Some(Suite::Aes),
        "3des" => Some(Suite::Des),
        _ => None,
    })
}

fn usual_aid(suite: Suite) -> Aid {
    let bytes = match suite {
        Suite::Aes => AID_SUITE_10,
        Suite::Des => AID_SUITE_00,
    };
    bytes.into_iter().collect()
}

fn aid<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Aid>, D::Error> {
    text(source, "10 to 32 hexadecimal digits (5 to 16 bytes)", |text| {
        let mut bytes = [0; AID_BYTES_MAX];
        let length = hex::decode_into(text, &mut bytes).ok()?;
        let bytes = bytes.get(..length).filter(|bytes| bytes.len() >= 5)?;
        Aid::from_slice(bytes).ok().map(Some)
    })
}

fn wait_s<'de, D: Deserializer<'de>>(source: D) -> Result<u16, D::Error> {
    let seconds = u16::deserialize(source)?;
    if (1..=3600).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(de::Error::invalid_value(de::Unexpected::Unsigned(seconds.into()), &"1 to 3600 seconds"))
    }
}

fn host_s<'de, D: Deserializer<'de>>(source: D) -> Result<u16, D::Error> {
    let seconds = u16::deserialize(source)?;
    if (1..=120).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(de::Error::invalid_value(de::Unexpected::Unsigned(seconds.into()), &"1 to 120 seconds"))
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        text(source, "\"system\", an IANA zone, or an offset such as +08:00", |name| {
            if name == "system" {
                return Some(Self(None));
            }
            let zone =
                offset(name).map(jiff::tz::TimeZone::fixed).or_else(|| jiff::tz::TimeZone::get(name).ok());
            zone.map(|zone| Self(Some(zone)))
        })
    }
}

/// `+08:00`, `-03:30`.
fn offset(text: &str) -> Option<jiff::tz::Offset> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two = |text: &str, max: i32| {
        let number: i32 = (text.len() == 2).then(|| text.parse().ok())??;
        (0..=max).contains(&number).then_some(number)
    };
    let minutes = two(hours, 14)?.checked_mul(60)?.checked_add(two(minutes, 59)?)?;
    jiff::tz::Offset::from_seconds(minutes.checked_mul(60)?.checked_mul(sign)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use console::{Language, Texts};
    use protocol::time::Wall;

    fn load(text: &str) -> Result<Settings, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("terminal.toml");
        fs::write(&path, text).unwrap();
        Settings::load(&path, [])
    }

    fn said(text: &str) -> String {
        Texts::new(Language::ENGLISH).failure(&load(text).unwrap_err()).what
    }

    #[test]
    fn the_default_reads_and_says_in_its_comments_what_the_program_assumes() {
        let settings = load(DEFAULT).unwrap();
        assert_eq!(settings.terminal.currency, Currency::CNY);
        assert_eq!(settings.limit().unwrap(), Amount::new(100_000, Currency::CNY));
        assert_eq!(settings.reader.wait_s, ReaderSettings::default().wait_s);
        assert_eq!(settings.log.filter, LogSettings::default().filter);
        let profile = settings.profile().unwrap();
        assert_eq!(profile.issuers[0].aid, AID_SUITE_10);
        assert_eq!(profile.issuers[0].suite, Suite::Aes);
        assert_eq!(profile.issuers[0].single_payment_max, CardAmount(100_000));
    }

    #[test]
    fn every_bad_value_is_told_with_its_line_and_what_was_expected() {
        let line_of =
            |key: &str| 1 + DEFAULT.lines().position(|line| line.starts_with(&format!("{key} ="))).unwrap();
        let cases = [
            ("id", "\"TOO-LONG-A-NAME\"", "1 to 8 printable"),
            ("currency", "\"XYZ\"", "ISO 4217"),
            ("zone", "\"Mars/Olympus\"", "IANA zone"),
            ("wait_s", "0", "1 to 3600"),
            ("limit", "\"12,50\"", "sale.limit"),
            ("suite", "\"sm4\"", "\"aes\" or \"3des\""),
            ("key_versions", "[]", "key versions"),
            ("factors", "[\"00\"]", "16 hexadecimal digits"),
            ("folder", "5", "expected"),
            ("format", "\"xml\"", "unknown variant"),
        ];
        for (key, value, expected) in cases {
            let line = line_of(key);
            let mut lines: Vec<String> = DEFAULT.lines().map(str::to_owned).collect();
            lines[line - 1] = format!("{key} = {value}");
            let said = said(&lines.join("\n"));
            assert!(said.contains(&format!("terminal.toml:{line}:")), "{key}: {said}");
            assert!(said.contains(expected), "{key}: {said}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(said(&DEFAULT.replace("wait_s =", "wait =")).contains("unknown field `wait`"));
    }

    #[test]
    fn local_time_follows_the_zone_with_its_summer_time() {
        let zone =
            |name: &str| load(&DEFAULT.replace("\"system\"", &format!("\"{name}\""))).unwrap().terminal.zone;
        let (winter, summer) = (Wall(1_767_268_800_000), Wall(1_782_900_000_000));
        assert_eq!(zone("+08:00").offset_min(winter), 480);
        assert_eq!(zone("-03:30").offset_min(winter), -210);
        assert_eq!(zone("Europe/Berlin").offset_min(winter), 60);
        assert_eq!(zone("Europe/Berlin").offset_min(summer), 120);
    }

    #[test]
    fn a_deny_list_names_cards_and_a_bad_line_is_told() {
        let list = "# lost\n5441504C494E4500:62170000001234567890\n\n5441504C494E4500:62170000001234567891 # stolen\n";
        let cards = read_deny_list(Path::new("deny.txt"), list.as_bytes()).unwrap();
        assert_eq!(cards.len(), 2);
        let asn: Asn = "62170000001234567890".parse().unwrap();
        assert!(cards.contains(&("5441504C494E4500".parse().unwrap(), asn.factor())));
        let bad = read_deny_list(Path::new("deny.txt"), &b"# x\n1234\n"[..]).unwrap_err();
        assert!(Texts::new(Language::ENGLISH).failure(&bad).what.contains("deny.txt:2:"));
    }
}
