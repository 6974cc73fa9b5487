//! A till of a test: a folder with configuration and journal, readers in memory, a clock at a fixed wall time.

use crate::fakes::{Purse, Sam, SamManner};
use console::{Exit, Failure};
use hardware::{Atr, MemoryReader};
use protocol::time::{Mono, Now, Wall};
use serde_json::Value;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use terminal::World;
use terminal::devices::Devices;
use terminal::driver::Clock;
use terminal::host::Wire;

/// 2026-11-22T10:30:05Z.
pub(crate) const WALL: Wall = Wall(1_795_343_405_000);

#[derive(Clone, Default)]
pub(crate) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct TestClock {
    start: Instant,
    wall: Wall,
}

impl Clock for TestClock {
    fn now(&self) -> Now {
        let mono = Mono(u64::try_from(self.start.elapsed().as_nanos()).unwrap());
        Now { mono, wall: self.wall, utc_offset_min: 480 }
    }
}

/// What a command said and how it ended.
pub(crate) struct Said {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// What opening the readers brings.
pub(crate) type Opening = Box<dyn Fn() -> Result<Devices, Failure>>;

/// Connects to a gateway.
pub(crate) type Dialling = Box<dyn Fn(&str) -> io::Result<Box<dyn Wire>>>;

pub(crate) struct Till {
    folder: tempfile::TempDir,
    pub(crate) wall: Wall,
    pub(crate) environment: HashMap<String, String>,
    /// Standard output is a full disk.
    pub(crate) full_output: bool,
}

fn atr() -> Atr {
    Atr::new(&[0x3B, 0x80, 0x80, 0x01, 0x01]).unwrap()
}

/// A card in the field and a SAM.
pub(crate) fn devices(purse: &Purse, sam: &Sam) -> Devices {
    Devices::new(
        MemoryReader::new("Test Reader 00 00", atr(), purse.clone()),
        MemoryReader::new("Test Reader 00 01", atr(), sam.clone()),
    )
}

impl Till {
    /// An initialised till.
    pub(crate) fn new() -> Self {
        let till = Self::bare();
        assert_eq!(till.run(&["init"], no_readers()).exit, Exit::Success);
        till.configure("zone = \"system\"", "zone = \"+08:00\"");
        till
    }

    /// A folder without anything in it.
    pub(crate) fn bare() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            wall: WALL,
            environment: HashMap::new(),
            full_output: false,
        }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("terminal.toml")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    /// Changes the configuration.
    pub(crate) fn configure(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(self.config(), text.replace(from, to)).unwrap();
    }

    pub(crate) fn run(&self, args: &[&str], open: Opening) -> Said {
        self.dial(args, open, Box::new(|_| Err(io::ErrorKind::ConnectionRefused.into())))
    }

    /// Runs with a gateway to connect to.
    pub(crate) fn dial(&self, args: &[&str], open: Opening, dial: Dialling) -> Said {
        let (out, err) = (Sink::default(), Sink::default());
        let written: Box<dyn io::Write + Send> = if self.full_output {
            Box::new(fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
        } else {
            Box::new(out.clone())
        };
        let config = self.config();
        let head = ["terminal", "--config", config.to_str().unwrap()];
        let world = World {
            args: head.iter().chain(args).map(OsString::from).collect(),
            environment: self.environment.clone(),
            out: written,
            err: Box::new(err.clone()),
            readers: Box::new(|| Ok(vec!["Test Reader 00 00".into(), "Test Reader 00 01".into()])),
            open: Box::new(move |_| open()),
            clock: Some(Box::new(TestClock { start: Instant::now(), wall: self.wall })),
            dial: Box::new(move |address, _| dial(address)),
            secret: Box::new(|| Err(io::ErrorKind::UnexpectedEof.into())),
        };
        let exit = terminal::run(world);
        Said { exit, out: out.text(), err: err.text() }
    }

    /// Runs with `purse` in the field and a SAM of this manner.
    pub(crate) fn tap(&self, args: &[&str], purse: &Purse, manner: SamManner) -> Said {
        let (purse, sam) = (purse.clone(), Sam::new(manner));
        self.run(args, Box::new(move || Ok(devices(&purse, &sam))))
    }

    /// The journal's own account of itself.
    pub(crate) fn history(&self) -> Value {
        self.run(&["--json", "history"], no_readers()).json()["result"].clone()
    }
}

/// A command that must not touch a reader.
pub(crate) fn no_readers() -> Opening {
    Box::new(|| panic!("this command needs no reader"))
}
