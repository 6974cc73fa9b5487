//! An outlet of a merchant and its acquirer, for tests of the whole line: the `gateway` process over TCP with its SQLite ledger, the
//! terminal's own commands, and the real card and SAM applets in memory.

use crate::shop::binary;
use backend::Engine;
use backend::store::sqlite::SqliteStore;
use card_applet_sim::issue::{IssuerKeys, NewCard, NewSam};
use card_applet_sim::memory::RamMemory;
use card_applet_sim::os::Card;
use card_applet_sim::random::OsRandom;
use console::{Exit, Failure};
use hardware::{Atr, Exchange, MemoryCard, MemoryReader, Power};
use keys::{KeyModule, MasterKey, SoftKeys};
use protocol::ids::{Asn, SamTerminal};
use protocol::purse::Suite;
use serde_json::Value;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use terminal::World;
use terminal::devices::Devices;
use terminal::host::Dial;

/// The outlet's card.
pub const SERIAL: &str = "62170000000000000001";
/// The card's issuer.
pub const ISSUER: &str = "5441504C00000156";
/// The till's SAM.
pub const SAM: &str = "000000000017";
/// The till (field 41). The numbers before it are free for [`crate::acquirer::terminal_id`].
pub const TERMINAL: &str = "T0000099";
/// Whose it is (field 42).
pub const MERCHANT: &str = "M00000000000099";
/// PIN of the card.
pub const PIN: &str = "123456";

/// A gateway process. Killed when it is dropped.
#[derive(Debug)]
pub struct Gateway(Child);

impl Gateway {
    /// Asks it to stop (SIGTERM) and waits until it has.
    ///
    /// # Panics
    /// It ends with an error.
    pub fn terminate(mut self) {
        let stopped = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        assert!(stopped.is_ok_and(|status| status.success()), "kill");
        assert!(self.0.wait().is_ok_and(|status| status.success()), "the gateway ends well");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A real applet in a slot; its answer to one command may get lost.
#[derive(Clone)]
pub struct Applet {
    card: Arc<Mutex<Card>>,
    lose: Arc<Mutex<Option<u8>>>,
}

impl std::fmt::Debug for Applet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Applet(..)")
    }
}

impl Applet {
    fn new(card: Card) -> Self {
        Self { card: Arc::new(Mutex::new(card)), lose: Arc::default() }
    }

    /// The answer to the next command with this instruction is lost.
    pub fn lose(&self, instruction: u8) {
        *self.lose.lock().unwrap_or_else(PoisonError::into_inner) = Some(instruction);
    }
}

impl MemoryCard for Applet {
    fn exchange(&mut self, command: &[u8], answer: &mut [u8]) -> Exchange {
        let answered = self.card.lock().unwrap_or_else(PoisonError::into_inner).transmit(command, answer);
        let mut lose = self.lose.lock().unwrap_or_else(PoisonError::into_inner);
        if *lose == command.get(1).copied() && lose.take().is_some() {
            return Exchange::Silent;
        }
        answered.map_or(Exchange::Silent, Exchange::Answer)
    }

    fn power(&mut self, power: Power) {
        let mut card = self.card.lock().unwrap_or_else(PoisonError::into_inner);
        match power {
            Power::Off => card.power_off(),
            Power::On | Power::Reset => drop(card.power_on().expect("the applet starts")),
        }
    }
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a command of the till said.
#[derive(Debug)]
pub struct Said {
    /// How it ended.
    pub exit: Exit,
    /// Its result, or its error.
    pub json: Value,
}

impl Said {
    /// The code it names, if it names one: `TL-1401`.
    #[must_use]
    pub fn code(&self) -> &str {
        let code = self.json["result"]["code"].as_str();
        code.or_else(|| self.json["error"]["code"].as_str()).unwrap_or_default()
    }

    /// Its result.
    #[must_use]
    pub fn result(&self) -> &Value {
        &self.json["result"]
    }
}

/// The outlet: two folders, and what is in the till's reader.
#[derive(Debug)]
pub struct Outlet {
    folder: tempfile::TempDir,
    /// In the first slot.
    pub card: Applet,
    /// In the second.
    pub sam: Applet,
}

impl Outlet {
    /// Everything made and registered; the gateway does not run yet.
    ///
    /// # Panics
    /// Anything fails: this is the test's failure.
    #[must_use]
    pub fn new() -> Self {
        Self::on(|_, _| {})
    }

    /// The same after `prepare` had the folders of till and gateway, both empty, to mount something there.
    ///
    /// # Panics
    /// Anything fails.
    #[must_use]
    pub fn on(prepare: impl FnOnce(&Path, &Path)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = IssuerKeys::for_tests(Suite::Aes, 0);
        let (mut card, mut sam) = (RamMemory::new(), RamMemory::new());
        let (serial, number) = (SERIAL.parse::<Asn>(), SAM.parse::<SamTerminal>());
        NewCard::for_tests(serial.expect("a serial")).make(&keys, &mut card).expect("a card");
        let sams = std::slice::from_ref(&keys);
        NewSam::for_tests(number.expect("a number")).make(sams, &mut sam).expect("a SAM");
        let outlet = Self {
            card: Applet::new(Card::new(card, OsRandom)),
            sam: Applet::new(Card::new(sam, OsRandom)),
            folder,
        };
        for folder in [outlet.till_folder(), outlet.gateway_folder()] {
            fs::create_dir(folder).expect("a folder");
        }
        prepare(&outlet.till_folder(), &outlet.gateway_folder());
        let issuer = outlet.gateway_folder().join("issuer.toml");
        fs::write(issuer, card_applet_sim::keyfile::write(&keys).as_bytes()).expect("the keys are written");
        outlet.register();
        outlet
    }

    /// Where the till's configuration and journal are.
    #[must_use]
    pub fn till_folder(&self) -> PathBuf {
        self.folder.path().join("till")
    }

    /// Where the gateway's configuration, keys and ledger are.
    #[must_use]
    pub fn gateway_folder(&self) -> PathBuf {
        self.folder.path().join("gateway")
    }

    fn register(&self) {
        self.operate(&["init"]);
        // A port that is free now; the provisioning file names it.
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let address = format!("127.0.0.1:{port}");
        edit(&self.gateway_folder().join("posp-gateway.toml"), "127.0.0.1:8583", &address);
        self.operate(&["issuer", "add", "issuer.toml"]);
        self.operate(&["merchant", "add", MERCHANT, "--name", "Corner Shop"]);
        let added =
            self.operate(&["terminal", "add", TERMINAL, "--merchant", MERCHANT, "--file", "till.provision"]);
        let code = added["code"].as_str().expect("a one-time code").to_owned();
        self.operate(&["sam", "add", SAM, "--terminal", TERMINAL, "--from", "2026-01-01T00:00:00"]);
        self.operate(&["funding", "add", "bank:999999"]);
        self.operate(&["funding", "deposit", "bank:999999", "5000.00", "--reference", "999999"]);
        self.operate(&["card", "add", SERIAL, "--issuer", ISSUER, "--funding", "bank:999999"]);

        assert_eq!(self.till(&["init"]).exit, Exit::Success);
        let pairs = [
            ("5441504C494E4500", ISSUER),
            ("reply_s = 20", "reply_s = 10"),
            ("T0000001", TERMINAL),
            ("M00000000000001", MERCHANT),
        ];
        for (from, to) in pairs {
            self.configure_till(from, to);
        }
        let file = self.gateway_folder().join("till.provision");
        let file = file.to_str().expect("a path in text");
        let said = self.till_with(&["provision", file], &code, Box::new(terminal::host::tcp));
        assert_eq!(said.exit, Exit::Success, "{said:?}");
    }

    /// Changes the till's configuration.
    ///
    /// # Panics
    /// It has no such text.
    pub fn configure_till(&self, from: &str, to: &str) {
        edit(&self.till_folder().join("terminal.toml"), from, to);
    }

    /// Where the gateway listens while it runs.
    ///
    /// # Panics
    /// Its configuration is gone.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let text =
            fs::read_to_string(self.gateway_folder().join("posp-gateway.toml")).expect("a configuration");
        let address = text.lines().find_map(|line| line.strip_prefix("listen = "));
        address.and_then(|address| address.trim_matches('"').parse().ok()).expect("an address")
    }

    /// The gateway's store and its keys, opened here while no gateway runs.
    ///
    /// # Panics
    /// They do not open.
    #[must_use]
    pub fn books(&self) -> (Engine<SqliteStore>, Arc<SoftKeys>) {
        let folder = self.gateway_folder();
        let master = MasterKey::from_file(&folder.join("master.key")).expect("the master key");
        let keys = Arc::new(SoftKeys::open(&folder.join("keys.tlk"), master).expect("the keys"));
        let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
        let store = SqliteStore::open(&folder.join("gateway.db")).expect("the ledger");
        (Engine::new(store, shared), keys)
    }

    /// Starts the gateway and waits until it listens.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn gateway(&self) -> Gateway {
        let mut child = Command::new(binary("gateway"))
            .args(["--json", "serve"])
            .current_dir(self.gateway_folder())
            .env("TAPLINE_LOG", "error")
            .env_remove("TAPLINE_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output is ours");
        let gateway = Gateway(child);
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        assert!(line.contains("listening"), "{line}");
        gateway
    }

    /// An operation of the gateway, and its result.
    ///
    /// # Panics
    /// It is refused.
    pub fn operate(&self, arguments: &[&str]) -> Value {
        let (succeeded, said) = self.operation(arguments);
        assert!(succeeded, "{arguments:?}: {said}");
        said["result"].clone()
    }

    /// An operation of the gateway: whether it succeeded, and all it said.
    ///
    /// # Panics
    /// It does not start.
    pub fn operation(&self, arguments: &[&str]) -> (bool, Value) {
        let output = Command::new(binary("gateway"))
            .arg("--json")
            .args(arguments)
            .current_dir(self.gateway_folder())
            .env_remove("TAPLINE_CONFIG")
            .output()
            .expect("the gateway's program starts");
        let said = serde_json::from_slice(&output.stdout);
        let said = said.unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&output.stderr).into_owned()));
        (output.status.success(), said)
    }

    /// One command of the terminal, as a process of its own would run it.
    pub fn till(&self, arguments: &[&str]) -> Said {
        self.till_with(arguments, PIN, Box::new(terminal::host::tcp))
    }

    /// The same over a line of the test's own making.
    pub fn till_over(&self, arguments: &[&str], dial: Dial) -> Said {
        self.till_with(arguments, PIN, dial)
    }

    /// The same with something else typed for PIN or code.
    ///
    /// # Panics
    /// The paths are no text.
    pub fn till_with(&self, arguments: &[&str], secret: &str, dial: Dial) -> Said {
        let out = Sink::default();
        let config = self.till_folder().join("terminal.toml");
        let head = ["terminal", "--json", "--config", config.to_str().expect("a path in text")];
        let (card, sam) = (self.card.clone(), self.sam.clone());
        let open = move |_: &terminal::config::Settings| -> Result<Devices, Failure> {
            let atr = Atr::new(&[0x3B, 0x80, 0x80, 0x01, 0x01]).expect("an ATR");
            Ok(Devices::new(
                MemoryReader::new("Slot 0", atr, card.clone()),
                MemoryReader::new("Slot 1", atr, sam.clone()),
            ))
        };
        let secret = secret.to_owned();
        let exit = terminal::run(World {
            args: head.iter().chain(arguments).map(OsString::from).collect(),
            environment: HashMap::new(),
            out: Box::new(out.clone()),
            err: Box::new(Sink::default()),
            readers: Box::new(|| Ok(vec!["Slot 0".into(), "Slot 1".into()])),
            open: Box::new(open),
            clock: None,
            dial,
            secret: Box::new(move || Ok(secret.clone().into())),
        });
        let text = out.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Said { exit, json: serde_json::from_slice(&text).unwrap_or(Value::Null) }
    }

    /// What is on the card, in minor units.
    ///
    /// # Panics
    /// It cannot be read.
    #[must_use]
    pub fn balance(&self) -> u64 {
        let said = self.till(&["balance"]);
        assert_eq!(said.exit, Exit::Success, "{said:?}");
        said.result()["card"]["balance"]["minor"].as_u64().expect("a balance")
    }

    /// Card, ledger and audit agree: what was loaded less what was spent is on the card, and the audit is clean. Returns both.
    ///
    /// # Panics
    /// They do not.
    #[track_caller]
    pub fn books_agree(&self) -> (u64, u64) {
        let audit = self.operate(&["audit"]);
        assert_eq!(audit["clean"], true, "{audit}");
        let card = self.operate(&["report", "card", SERIAL, "--issuer", ISSUER]);
        let sum = |key: &str| card[key].as_u64().expect("a sum");
        let (loaded, spent) = (sum("loaded"), sum("spent"));
        assert_eq!(
            loaded.checked_sub(spent),
            Some(self.balance()),
            "the ledger has what the card has: {card}"
        );
        (loaded, spent)
    }
}

impl Default for Outlet {
    fn default() -> Self {
        Self::new()
    }
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("a configuration");
    assert!(text.contains(from), "{from} is not in {}", path.display());
    fs::write(path, text.replace(from, to)).expect("the configuration is written");
}
