//! A shop for one test: a private PC/SC daemon, the real `card-applet-sim` with card and SAM in its slots, and the real
//! `terminal`, all as processes, in a folder of their own. Call only inside [`crate::daemon::isolated`].

use crate::daemon::{Daemon, VPCD_PORT};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Issuer of the shop's cards.
pub const ISSUER: &str = "5441504C494E4500";
/// Number of the shop's SAM.
pub const SAM: &str = "000000000017";
/// PIN of the shop's cards.
pub const PIN: &str = "123456";

const READY_TIME_MAX: Duration = Duration::from_secs(20);
/// How long a torn card stays out. pcscd looks at a virtual slot every 400 ms; a card that is back before it looked is
/// never seen again, since for pcscd it never left, while its session counts as removed.
const OUT_OF_FIELD: Duration = Duration::from_millis(600);
const STEP: Duration = Duration::from_millis(5);

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code.
    pub code: i32,
    /// What it printed.
    pub out: String,
    /// What it complained about.
    pub err: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// The one JSON object it printed.
    ///
    /// # Panics
    /// It printed something else.
    #[must_use]
    pub fn json(&self) -> Value {
        let line = self.out.lines().find(|line| line.starts_with('{'));
        let line = line.unwrap_or_else(|| panic!("no JSON in {self:?}"));
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// The binary of this workspace with this name, of the same build as the test.
///
/// # Panics
/// It was not built: `cargo build --workspace --bins` comes first.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.ancestors().find(|folder| folder.join(name).is_file());
    let folder = folder
        .unwrap_or_else(|| panic!("no {name} beside {}: run cargo build --workspace --bins", test.display()));
    folder.join(name)
}

/// In how many slots the daemon sees a card.
fn cards_seen() -> usize {
    hardware::pcsc::list().map_or(0, |readers| readers.iter().filter(|reader| reader.atr.is_some()).count())
}

/// The shop.
#[derive(Debug)]
pub struct Shop {
    /// The daemon, to be killed and restarted.
    pub daemon: Daemon,
    slots: Option<Child>,
    folder: tempfile::TempDir,
}

impl Shop {
    /// A shop whose card (serial …01, suite `10` or `00`) holds 50.00.
    ///
    /// # Panics
    /// Anything fails: this is the test's failure.
    #[must_use]
    pub fn open(suite: &str) -> Self {
        let shop = Self::closed(suite);
        shop.with_slots()
    }

    /// The same with nothing in the reader.
    ///
    /// # Panics
    /// Anything fails.
    #[must_use]
    pub fn closed(suite: &str) -> Self {
        let shop =
            Self { daemon: Daemon::start(), slots: None, folder: tempfile::tempdir().expect("a folder") };
        let sim = |arguments: &[&str]| {
            let ended = shop.run("card-applet-sim", arguments);
            assert_eq!(ended.code, 0, "{ended:?}");
        };
        sim(&["personalise", "issuer", "--issuer", ISSUER, "--suite", suite, "--out", "issuer.toml"]);
        shop.new_card("a.card", "01", "50.00", &[]);
        shop.new_card("b.card", "02", "50.00", &[]);
        sim(&["personalise", "sam", "--issuer", "issuer.toml", "--terminal", SAM, "--out", "shop.sam"]);
        shop.configure(suite);
        let ended = shop.terminal(&["init"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        shop
    }

    fn configure(&self, suite: &str) {
        let ended = self.terminal(&["init", "--print"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let name = if suite == "00" { ("3des", "A00000000386980701") } else { ("aes", "F05441504C494E4501") };
        let text = ended
            .out
            .replace("suite = \"aes\"", &format!("suite = \"{}\"", name.0))
            .replace("F05441504C494E4501", name.1)
            .replace("zone = \"system\"", "zone = \"+08:00\"")
            .replace("wait_s = 30", "wait_s = 20");
        fs::write(self.path("terminal.toml"), text).expect("the configuration is written");
    }

    /// Personalises a card with the serial number that ends so.
    ///
    /// # Panics
    /// It fails.
    pub fn new_card(&self, file: &str, serial_end: &str, balance: &str, more: &[&str]) {
        let serial = format!("6217000000000000{serial_end:0>4}");
        let mut arguments =
            vec!["personalise", "card", "--issuer", "issuer.toml", "--serial", &serial, "--pin", PIN];
        arguments.extend(["--balance", balance, "--out", file]);
        arguments.extend(more);
        let ended = self.run("card-applet-sim", &arguments);
        assert_eq!(ended.code, 0, "{ended:?}");
    }

    /// Puts card and SAM into the reader.
    ///
    /// # Panics
    /// The simulator does not start.
    #[must_use]
    pub fn with_slots(self) -> Self {
        self.with_slots_of(&["--card", "a.card", "--sam", "shop.sam"])
    }

    /// Puts these into the reader.
    ///
    /// # Panics
    /// The simulator does not start.
    #[must_use]
    pub fn with_slots_of(mut self, arguments: &[&str]) -> Self {
        let port = VPCD_PORT.to_string();
        let child = self
            .command("card-applet-sim")
            .args(["run", "--port", &port, "--control", "slots.sock"])
            .args(arguments)
            .stdout(Stdio::null())
            .spawn();
        self.slots = Some(child.expect("card-applet-sim starts"));
        let started = Instant::now();
        while UnixStream::connect(self.path("slots.sock")).is_err() {
            assert!(started.elapsed() < READY_TIME_MAX, "card-applet-sim does not answer");
            std::thread::sleep(STEP);
        }
        // The daemon looks at its slots now and then: wait until it has seen what was put in.
        let expected = arguments.iter().filter(|word| matches!(**word, "--card" | "--sam")).count();
        while cards_seen() < expected {
            assert!(started.elapsed() < READY_TIME_MAX, "the daemon does not see what is in its slots");
            std::thread::sleep(STEP);
        }
        self
    }

    /// A hand at the reader: `insert`, `remove`, `swap b.card`, `tear ins54 answer`, …
    ///
    /// # Panics
    /// The simulator does not answer.
    pub fn hand(&self, words: &str) -> Value {
        let mut stream = UnixStream::connect(self.path("slots.sock")).expect("the simulator answers");
        writeln!(stream, "{words}").expect("the simulator listens");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("the simulator answers");
        serde_json::from_str(&line).expect("the simulator answers in JSON")
    }

    /// Waits until a tear that was asked for has taken the card out of the field.
    ///
    /// # Panics
    /// It does not happen.
    pub fn wait_for_tear(&self) {
        let started = Instant::now();
        while self.hand("status").pointer("/result/card/inserted") != Some(&Value::Bool(false)) {
            assert!(started.elapsed() < READY_TIME_MAX, "nothing was torn: {}", self.hand("status"));
            std::thread::sleep(STEP);
        }
        std::thread::sleep(OUT_OF_FIELD);
    }

    /// Runs the terminal to its end.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn terminal(&self, arguments: &[&str]) -> Ended {
        self.run("terminal", arguments)
    }

    /// Starts the terminal, for a hand at the reader meanwhile.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn terminal_meanwhile(&self, arguments: &[&str]) -> Meanwhile {
        let child =
            self.command("terminal").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Meanwhile(child.expect("the terminal starts"))
    }

    /// Runs a program of the workspace, or any other by its path.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn run(&self, program: &str, arguments: &[&str]) -> Ended {
        let output = self.command(program).args(arguments).stdin(Stdio::null()).output();
        Ended::of(&output.unwrap_or_else(|error| panic!("{program}: {error}")))
    }

    fn command(&self, program: &str) -> Command {
        let path = if program.contains('/') { PathBuf::from(program) } else { binary(program) };
        let mut command = Command::new(path);
        command.current_dir(self.folder.path()).env("TAPLINE_LANG", "en").env_remove("RUST_LOG");
        command
    }

    /// A file of the shop.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the card in this file holds, in minor units. The card must be out of the reader or idle.
    ///
    /// # Panics
    /// It cannot be shown.
    #[must_use]
    pub fn inspect(&self, file: &str) -> Value {
        // The simulator holds the file's lock while it runs: a copy shows the same.
        let copy = format!("{file}.copy");
        fs::copy(self.path(file), self.path(&copy)).expect("the card file is copied");
        let ended = self.run("card-applet-sim", &["inspect", "--json", &copy]);
        fs::remove_file(self.path(&copy)).expect("the copy goes");
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.json()
    }

    /// The checkout, for programs that `scripts/fetch-tools` unpacked.
    ///
    /// # Panics
    /// The tests crate has no parent folder.
    #[must_use]
    pub fn tool(name: &str) -> String {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        checkout.join(".tools/bin").join(name).display().to_string()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if let Some(mut slots) = self.slots.take() {
            let _already_gone = slots.kill();
            let _reaped = slots.wait();
        }
    }
}

/// A terminal that is running.
#[derive(Debug)]
pub struct Meanwhile(Child);

impl Meanwhile {
    /// Waits for its end.
    ///
    /// # Panics
    /// It cannot be waited for.
    #[must_use]
    pub fn end(self) -> Ended {
        Ended::of(&self.0.wait_with_output().expect("the terminal ends"))
    }

    /// Kills it without warning (SIGKILL).
    ///
    /// # Panics
    /// It cannot be killed.
    pub fn kill(mut self) {
        self.0.kill().expect("the terminal is killed");
        let _reaped = self.0.wait();
    }
}
