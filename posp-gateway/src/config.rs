//! The gateway's configuration: `posp-gateway.toml` (see `default.toml`), paths meant from where it is.

use crate::access::Limits;
use backend::Policy;
use backend::store::GatewayNo;
use backend::store::postgres::{Address, Options};
use console::{Failure, code};
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, de};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The commented default, as `init` writes it.
pub const DEFAULT: &str = include_str!("default.toml");
/// Prefix of environment variables that override keys.
pub const ENVIRONMENT_PREFIX: &str = "TAPLINE_GATEWAY";
/// The variable that may hold the password of the database's role.
pub const DATABASE_PASSWORD_VARIABLE: &str = "TAPLINE_DATABASE_PASSWORD";
/// The variable that may hold the password of the owner of the database's schema.
pub const OWNER_PASSWORD_VARIABLE: &str = "TAPLINE_DATABASE_OWNER_PASSWORD";
/// The variable that may hold the master key.
pub const MASTER_KEY_VARIABLE: &str = "TAPLINE_MASTER_KEY";

/// All of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where it listens and as whom.
    pub gateway: GatewaySettings,
    /// Its files.
    pub data: DataSettings,
    /// The database's server, if it is on one.
    #[serde(default)]
    pub postgres: PostgresSettings,
    /// Limits of connections.
    #[serde(default)]
    pub limits: LimitSettings,
    /// What pre-authorisations may hold and take.
    #[serde(default)]
    pub preauthorisation: PreauthorisationSettings,
    /// Signed heads of the chain.
    #[serde(default)]
    pub heads: HeadSettings,
    /// Logs.
    #[serde(default)]
    pub log: LogSettings,
}

/// `[gateway]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewaySettings {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// What terminals connect to; empty: `listen`.
    #[serde(default)]
    pub public: String,
    /// Local time.
    #[serde(default)]
    pub zone: Zone,
}

/// A time zone.
#[derive(Clone, Debug)]
pub struct Zone(pub TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::system())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let name = String::deserialize(source)?;
        let zone = match name.as_str() {
            "system" => Some(TimeZone::system()),
            "UTC" => Some(TimeZone::UTC),
            name => TimeZone::get(name).ok(),
        };
        let expected = "\"system\", \"UTC\" or an IANA zone such as \"Asia/Shanghai\"";
        zone.map(Self).ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&name), &expected))
    }
}

/// Where the ledger is kept.
#[derive(Clone, Debug)]
pub enum Database {
    /// In a file, by this gateway alone.
    File(PathBuf),
    /// On a PostgreSQL server, by several gateways.
    Server(Box<Address>),
}

impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(address) => address.fmt(f),
        }
    }
}

impl Database {
    /// Whether there is one already, as far as this machine's files tell.
    #[must_use]
    pub fn is_there(&self) -> bool {
        matches!(self, Self::File(path) if path.exists())
    }
}

impl<'de> Deserialize<'de> for Database {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        if !Address::is_meant(&text) {
            return Ok(Self::File(PathBuf::from(text)));
        }
        address(&text).map(|address| Self::Server(Box::new(address))).map_err(de::Error::custom)
    }
}

/// An address without a password: configuration is read by more people than passwords are.
fn address(url: &str) -> Result<Address, &'static str> {
    let address = Address::parse(url)?;
    if address.has_password() {
        return Err(
            "the password belongs into postgres.password_file or the variable TAPLINE_DATABASE_PASSWORD",
        );
    }
    Ok(address)
}

/// `[postgres]`: for a database on a server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostgresSettings {
    gateway: u16,
    password_file: String,
    owner: String,
    wait_s: u32,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self { gateway: 1, password_file: String::new(), owner: String::new(), wait_s: 5 }
    }
}

/// `[data]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSettings {
    /// The database.
    pub database: Database,
    /// The key file.
    pub keys: PathBuf,
    /// The master key's file.
    pub master_key: PathBuf,
    /// The control socket.
    pub control: PathBuf,
}

/// `[heads]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadSettings {
    /// Where signed heads of the chain are appended; empty: nowhere.
    pub file: PathBuf,
    /// How often while the gateway runs, in seconds.
    pub every_s: u32,
    /// In whose name they are signed.
    pub acquirer: u64,
}

impl Default for HeadSettings {
    fn default() -> Self {
        Self { file: PathBuf::new(), every_s: 3_600, acquirer: 1 }
    }
}

impl HeadSettings {
    /// These settings, if heads are exported at all.
    #[must_use]
    pub fn wanted(&self) -> Option<&Self> {
        (!self.file.as_os_str().is_empty()).then_some(self)
    }

    /// How often.
    #[must_use]
    pub fn every(&self) -> Duration {
        Duration::from_secs(u64::from(self.every_s.max(1)))
    }
}

/// `[limits]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    connections: usize,
    in_flight: usize,
    idle_s: u32,
    frame_s: u32,
    write_s: u32,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self { connections: 10_000, in_flight: 64, idle_s: 300, frame_s: 10, write_s: 10 }
    }
}

impl LimitSettings {
    /// As connections take them.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let seconds = |seconds: u32| Duration::from_secs(seconds.max(1).into());
        Limits {
            connections: self.connections.clamp(1, 1_000_000),
            in_flight: self.in_flight.clamp(1, 4096),
            idle: seconds(self.idle_s),
            frame: seconds(self.frame_s),
            write: seconds(self.write_s),
        }
    }
}

/// `[preauthorisation]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PreauthorisationSettings {
    hold_days: u16,
    over_percent: u8,
}

impl Default for PreauthorisationSettings {
    fn default() -> Self {
        Self { hold_days: 30, over_percent: 15 }
    }
}

impl PreauthorisationSettings {
    /// As the backend takes them.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            preauthorisation_ms_max: u64::from(self.hold_days.clamp(1, 365)) * 86_400_000,
            over_completion_percent: self.over_percent.min(100),
        }
    }
}

/// `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// `tracing`'s filter.
    pub filter: String,
    /// Text or JSON.
    pub format: console::log::Format,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: console::log::Format::Text }
    }
}

impl Settings {
    /// Reads the file and the variables over it.
    ///
    /// # Errors
    /// As [`console::config::load`].
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Failure> {
        let mut settings: Self = console::config::load(path, ENVIRONMENT_PREFIX, environment)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let data = &mut settings.data;
        for path in [&mut data.keys, &mut data.master_key, &mut data.control] {
            *path = folder.join(&*path);
        }
        if settings.heads.wanted().is_some() {
            settings.heads.file = folder.join(&settings.heads.file);
        }
        if let Database::File(path) = &mut data.database {
            *path = folder.join(&*path);
        }
        let password_file = &mut settings.postgres.password_file;
        if !password_file.is_empty() {
            *password_file = folder.join(&*password_file).display().to_string();
        }
        if settings.gateway.public.is_empty() {
            settings.gateway.public = settings.gateway.listen.to_string();
        }
        Ok(settings)
    }

    /// Which gateway of its ledger this is.
    ///
    /// # Errors
    /// The number is out of range.
    pub fn gateway_no(&self) -> Result<GatewayNo, Failure> {
        if let Database::File(_) = self.data.database {
            return Ok(GatewayNo::ALONE);
        }
        let number = self.postgres.gateway;
        GatewayNo::new(number).ok_or_else(|| {
            let most = GatewayNo::MAX.number();
            let failure =
                Failure::new(code::GATEWAY_VALUE).with("what", "postgres.gateway").with("name", number);
            failure.with("reason", format!("a gateway's number is 0 to {most}"))
        })
    }

    /// The server of the database as this gateway opens it; its password from the environment if it is there, else from its file.
    ///
    /// # Errors
    /// The gateway's number is out of range, or the file cannot be read.
    pub fn server(&self, address: &Address, password: Option<&str>) -> Result<Options, Failure> {
        let gateway = self.gateway_no()?;
        let file = Path::new(&self.postgres.password_file);
        let address = match password {
            Some(password) => address.clone().with_password(password.as_bytes()),
            None if file.as_os_str().is_empty() => address.clone(),
            None => {
                let text = std::fs::read_to_string(file).map(zeroize::Zeroizing::new);
                let text = text.map_err(|error| console::config::disk(file, error))?;
                address.clone().with_password(text.trim_end_matches(['\r', '\n']).as_bytes())
            }
        };
        let wait = Duration::from_secs(self.postgres.wait_s.clamp(1, 60).into());
        Ok(Options { address, gateway, wait })
    }

    /// The owner of the database's schema, if one is named, with the password from the environment.
    ///
    /// # Errors
    /// It is no address.
    pub fn owner(&self, password: Option<&str>) -> Result<Option<Address>, Failure> {
        if self.postgres.owner.is_empty() {
            return Ok(None);
        }
        let owner = address(&self.postgres.owner).map_err(|reason| {
            let failure = Failure::new(code::GATEWAY_VALUE).with("what", "postgres.owner").with("name", "");
            failure.with("reason", reason)
        })?;
        Ok(Some(match password {
            Some(password) => owner.with_password(password.as_bytes()),
            None => owner,
        }))
    }

    /// The master key: from the environment if it is there, else from its file.
    ///
    /// # Errors
    /// Neither holds one.
    pub fn master_key(&self, environment: Option<&str>) -> Result<keys::MasterKey, Failure> {
        let (read, place) = match environment {
            Some(text) => (keys::MasterKey::from_hex(text), MASTER_KEY_VARIABLE.to_owned()),
            None => {
                let path = &self.data.master_key;
                (keys::MasterKey::from_file(path), path.display().to_string())
            }
        };
        read.map_err(|error| Failure::new(code::GATEWAY_KEYS).with("path", place).with("reason", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_reads_and_paths_are_meant_from_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("posp-gateway.toml");
        console::config::write_default(&path, DEFAULT).unwrap();
        let settings = Settings::load(&path, []).unwrap();
        assert_eq!(
            settings.data.database.to_string(),
            folder.path().join("gateway.db").display().to_string()
        );
        assert_eq!(settings.gateway.public, "127.0.0.1:8583");
        assert_eq!(settings.limits.limits(), Limits::default());
        assert_eq!(settings.preauthorisation.policy(), Policy::default());
        assert_eq!(settings.log.filter, LogSettings::default().filter);
        let environment = [("TAPLINE_GATEWAY__GATEWAY__LISTEN".to_owned(), "127.0.0.1:9000".to_owned())];
        assert_eq!(Settings::load(&path, environment).unwrap().gateway.public, "127.0.0.1:9000");
    }

    #[test]
    fn a_database_on_a_server_is_named_without_its_password_and_refused_with_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("posp-gateway.toml");
        console::config::write_default(&path, DEFAULT).unwrap();
        let load = |url: &str| {
            Settings::load(&path, [("TAPLINE_GATEWAY__DATA__DATABASE".to_owned(), url.to_owned())])
        };
        let settings = load("postgresql://tapline@db1,db2/ledger?sslmode=disable").unwrap();
        assert_eq!(settings.data.database.to_string(), "postgresql://tapline@db1,db2/ledger");
        let Database::Server(address) = &settings.data.database else { panic!("a server") };
        let options = settings.server(address, Some("a secret")).unwrap();
        assert!(!format!("{options:?} {settings:?}").contains("a secret"));
        for (wrong, why) in [
            ("postgresql://tapline:hunter2@localhost/ledger", "password_file"),
            ("postgresql://tapline@db/ledger?sslmode=require", "does not speak TLS"),
            ("postgresql://localhost/ledger", "must name a user"),
        ] {
            let failure = load(wrong).unwrap_err().to_string();
            assert!(failure.contains(why) && !failure.contains("hunter2"), "{failure}");
        }
    }

    #[test]
    fn payments_leave_this_machine_in_clear_text_only_if_the_configuration_says_so() {
        let fine = |url: &str| address(url).is_ok();
        for here in [
            "postgresql://tapline@localhost,127.0.0.1/ledger",
            "postgresql://tapline@[::1]:5433/ledger",
            "postgresql://tapline@/ledger?host=/run/postgresql",
            "postgresql://tapline@db/ledger?hostaddr=127.0.0.1",
            "postgresql://tapline@db/ledger?sslmode=disable",
        ] {
            assert!(fine(here), "{here}");
        }
        for away in [
            "postgresql://tapline@db/ledger",
            "postgresql://tapline@localhost,db/ledger",
            "postgresql://tapline@192.0.2.7/ledger?sslmode=prefer",
            "postgresql://tapline@localhost/ledger?hostaddr=192.0.2.7",
        ] {
            assert!(address(away).unwrap_err().contains("sslmode=disable"), "{away}");
        }
    }

    #[test]
    fn a_master_key_that_is_none_is_told_without_repeating_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("posp-gateway.toml");
        console::config::write_default(&path, DEFAULT).unwrap();
        let settings = Settings::load(&path, []).unwrap();
        assert_eq!(settings.master_key(None).unwrap_err().code(), code::GATEWAY_KEYS);
        let failure = settings.master_key(Some("00112233")).unwrap_err();
        assert!(!failure.to_string().contains("00112233"));
        assert!(settings.master_key(Some(&"5A".repeat(32))).is_ok());
    }
}
