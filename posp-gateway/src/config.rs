//! The gateway's configuration: `posp-gateway.toml` (see `default.toml`), paths meant from where it is.

use crate::access::Limits;
use backend::Policy;
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

/// `[data]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSettings {
    /// The database.
    pub database: PathBuf,
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
        for path in [&mut data.database, &mut data.keys, &mut data.master_key, &mut data.control] {
            *path = folder.join(&*path);
        }
        if settings.heads.wanted().is_some() {
            settings.heads.file = folder.join(&settings.heads.file);
        }
        if settings.gateway.public.is_empty() {
            settings.gateway.public = settings.gateway.listen.to_string();
        }
        Ok(settings)
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
        assert_eq!(settings.data.database, folder.path().join("gateway.db"));
        assert_eq!(settings.gateway.public, "127.0.0.1:8583");
        assert_eq!(settings.limits.limits(), Limits::default());
        assert_eq!(settings.preauthorisation.policy(), Policy::default());
        assert_eq!(settings.log.filter, LogSettings::default().filter);
        let environment = [("TAPLINE_GATEWAY__GATEWAY__LISTEN".to_owned(), "127.0.0.1:9000".to_owned())];
        assert_eq!(Settings::load(&path, environment).unwrap().gateway.public, "127.0.0.1:9000");
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
