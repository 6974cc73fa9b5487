//! TOML configuration: unknown keys are refused, mistakes are told with their line, environment variables override.
//!
//! `TAPLINE_TERMINAL__READER__CARD=ACR*` sets `card` in `[reader]` of the terminal's configuration: the prefix, then the
//! path to the key, joined by two underscores, in capitals. The value is read as TOML where it is TOML (`5`, `true`,
//! `["a"]`) and as a text otherwise.

use crate::code;
use crate::failure::Failure;
use serde::de::DeserializeOwned;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use toml::{Table, Value};

/// Longest configuration file, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Reads `path` into `T` (which must refuse unknown keys by `#[serde(deny_unknown_fields)]`), with the variables of
/// `environment` that start with `prefix` (`TAPLINE_TERMINAL`) over it.
///
/// # Errors
/// No such file, one that may not be read, a mistake in it (with its line and column), or one in an override.
pub fn load<T: DeserializeOwned>(
    path: &Path,
    prefix: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<T, Failure> {
    let text = read(path)?;
    let mut table: Table = toml::from_str(&text).map_err(|error| unreadable(path, &text, &error))?;
    let overrides = overrides(prefix, environment);
    if overrides.is_empty() {
        return toml::from_str(&text).map_err(|error| unreadable(path, &text, &error));
    }
    for one in &overrides {
        one.apply(&mut table)?;
    }
    T::deserialize(Value::Table(table)).map_err(|error| match toml::from_str::<T>(&text) {
        // The mistake is the file's if it is there without the overrides too: then it has a line.
        Err(in_file) if in_file.message() == error.message() => unreadable(path, &text, &in_file),
        _ => blame(&overrides, error.message()),
    })
}

fn read(path: &Path) -> Result<String, Failure> {
    let text = fs::metadata(path).and_then(|meta| {
        if meta.len() > CONFIG_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
        }
        fs::read_to_string(path)
    });
    text.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(code::CONFIG_MISSING).with("path", path.display()),
        _ => Failure::new(code::CONFIG_FORBIDDEN).with("path", path.display()).caused_by(error),
    })
}

/// A mistake in the file, with the place where it stands (lines and columns counted from 1).
fn unreadable(path: &Path, text: &str, error: &toml::de::Error) -> Failure {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
    Failure::new(code::CONFIG_UNREADABLE)
        .with("path", path.display())
        .with("line", line)
        .with("column", column)
        .with("reason", error.message())
}

/// One variable of the environment that stands for a key.
struct Override {
    variable: String,
    keys: Vec<String>,
    value: Value,
}

fn overrides(prefix: &str, environment: impl IntoIterator<Item = (String, String)>) -> Vec<Override> {
    let start = format!("{prefix}__");
    let mut found: Vec<Override> = environment
        .into_iter()
        .filter_map(|(variable, value)| {
            let keys = variable.strip_prefix(&start)?.split("__").map(str::to_lowercase).collect();
            Some(Override { keys, value: value_of(&value), variable })
        })
        .collect();
    found.sort_by(|a, b| a.variable.cmp(&b.variable));
    found
}

/// The value as TOML reads it, else as text.
fn value_of(text: &str) -> Value {
    let table: Result<Table, _> = toml::from_str(&format!("value = {text}"));
    let value = table.ok().filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

impl Override {
    fn apply(&self, table: &mut Table) -> Result<(), Failure> {
        let Some((last, parents)) = self.keys.split_last() else { return Ok(()) };
        let mut table = table;
        for key in parents {
            let entry = table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()));
            table = entry.as_table_mut().ok_or_else(|| {
                Failure::new(code::CONFIG_ENVIRONMENT)
                    .with("variable", &self.variable)
                    .with("reason", format!("`{key}` is not a section"))
            })?;
        }
        table.insert(last.clone(), self.value.clone());
        Ok(())
    }
}

/// The override that a message names by its key, or all of them.
fn blame(overrides: &[Override], message: &str) -> Failure {
    let message = message.trim();
    let named = |one: &&Override| one.keys.last().is_some_and(|key| message.contains(&format!("`{key}`")));
    let variables: Vec<&str> = match overrides.iter().find(named) {
        Some(one) => vec![&one.variable],
        None => overrides.iter().map(|one| one.variable.as_str()).collect(),
    };
    Failure::new(code::CONFIG_ENVIRONMENT).with("variable", variables.join(", ")).with("reason", message)
}

/// Writes a commented default configuration, for `init`. A file that exists is never overwritten.
///
/// # Errors
/// The file exists, or cannot be written.
pub fn write_default(path: &Path, text: &str) -> Result<(), Failure> {
    let created = fs::OpenOptions::new().write(true).create_new(true).open(path);
    let written = created.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(code::CONFIG_EXISTS).with("path", path.display()),
        _ => disk(path, error),
    })
}

/// What a failure of the file system means to a person.
#[must_use]
pub fn disk(path: &Path, error: io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => code::DISK_FULL,
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => code::DISK_READ_ONLY,
        _ => code::DISK_FAILED,
    };
    Failure::new(code).with("path", path.display()).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Language, Texts};
    use serde::Deserialize;
    use std::path::PathBuf;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Till {
        name: String,
        reader: Reader,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Reader {
        card: String,
        #[serde(default)]
        wait_s: u32,
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("till.toml");
        write_default(&path, text).unwrap();
        (folder, path)
    }

    fn load_till(text: &str, environment: &[(&str, &str)]) -> Result<Till, Failure> {
        let (_folder, path) = file(text);
        let owned = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        load(&path, "TAPLINE_TERMINAL", owned)
    }

    fn said(failure: &Failure) -> String {
        Texts::new(Language::ENGLISH).failure(failure).what
    }

    const GOOD: &str = "name = \"Kiosk 4\"\n\n[reader]\ncard = \"ACR\"\n";

    #[test]
    fn a_mistake_is_told_with_its_line_and_what_is_wrong() {
        let cases = [
            ("name = \"x\"\nname = \"y\"\n", "2", "duplicate"),
            ("name = \"x\"\n[reader]\ncart = \"ACR\"\n", "3", "unknown field `cart`"),
            ("name = 5\n[reader]\ncard = \"ACR\"\n", "1", "invalid type"),
            ("name = \"x\n", "1", ""),
            ("name = \"x\"\n[reader]\ncard = \"a\"\nwait_s = -1\n", "4", "invalid value"),
        ];
        for (text, line, reason) in cases {
            let failure = load_till(text, &[]).unwrap_err();
            assert_eq!(failure.code(), code::CONFIG_UNREADABLE);
            let said = said(&failure);
            assert!(
                said.contains(&format!("till.toml:{line}:")) && said.contains(reason),
                "{text:?}: {said}"
            );
        }
    }

    #[test]
    fn variables_of_the_environment_override_keys_of_any_depth() {
        let environment = [
            ("TAPLINE_TERMINAL__READER__WAIT_S", "30"),
            ("TAPLINE_TERMINAL__NAME", "Tor 7"),
            ("TAPLINE_LANG", "en"),
        ];
        let till = load_till(GOOD, &environment).unwrap();
        assert_eq!((till.name.as_str(), till.reader.card.as_str(), till.reader.wait_s), ("Tor 7", "ACR", 30));
    }

    #[test]
    fn an_override_that_is_wrong_is_named() {
        let failure = load_till(GOOD, &[("TAPLINE_TERMINAL__READER__CARDS", "x")]).unwrap_err();
        assert_eq!(failure.code(), code::CONFIG_ENVIRONMENT);
        assert!(said(&failure).contains("TAPLINE_TERMINAL__READER__CARDS"), "{}", said(&failure));
        let failure = load_till(GOOD, &[("TAPLINE_TERMINAL__NAME__FIRST", "x")]).unwrap_err();
        assert!(said(&failure).contains("not a section"), "{}", said(&failure));
        let broken_file =
            load_till("name = 5\n[reader]\ncard = \"a\"\n", &[("TAPLINE_TERMINAL__READER__WAIT_S", "1")]);
        assert_eq!(broken_file.unwrap_err().code(), code::CONFIG_UNREADABLE);
    }

    #[test]
    fn a_file_that_is_not_there_or_not_readable_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let missing = load::<Till>(&folder.path().join("none.toml"), "X", []).unwrap_err();
        assert_eq!(missing.code(), code::CONFIG_MISSING);
        let a_folder = load::<Till>(folder.path(), "X", []).unwrap_err();
        assert_eq!(a_folder.code(), code::CONFIG_FORBIDDEN);
    }

    #[test]
    fn the_default_never_overwrites_a_configuration() {
        let (_folder, path) = file(GOOD);
        assert_eq!(write_default(&path, "").unwrap_err().code(), code::CONFIG_EXISTS);
        assert_eq!(fs::read_to_string(&path).unwrap(), GOOD);
        let nowhere = write_default(Path::new("/proc/nowhere/till.toml"), "").unwrap_err();
        assert_eq!(nowhere.code(), code::DISK_FAILED);
    }
}
