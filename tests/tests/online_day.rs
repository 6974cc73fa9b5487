//! A day of one shop against the real gateway: the `gateway` process over TCP with its SQLite ledger, the terminal's own commands, and
//! the real card and SAM applets in memory. Load online, pay offline, torn and recovered, host away and back, upload, settle; then the
//! gateway's audit, and card and ledger compared to the cent.
#![cfg(test)]

use card_applet_sim::issue::{IssuerKeys, NewCard, NewSam};
use card_applet_sim::memory::RamMemory;
use card_applet_sim::os::Card;
use card_applet_sim::random::OsRandom;
use console::{Exit, Failure};
use hardware::{Atr, Exchange, MemoryCard, MemoryReader, Power};
use protocol::ids::{Asn, SamTerminal};
use protocol::purse::Suite;
use serde_json::Value;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use terminal::World;
use terminal::devices::Devices;

const SERIAL: &str = "62170000000000000001";
const ISSUER: &str = "5441504C00000156";
const SAM: &str = "000000000017";
const TERMINAL: &str = "T0000001";
const MERCHANT: &str = "M00000000000001";

/// A gateway process in a folder. Killed when it is dropped.
struct Gateway(Child);

impl Gateway {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["--json", "serve"])
            .current_dir(folder)
            .env("TAPLINE_LOG", "error")
            .env_remove("TAPLINE_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("listening"), "{line}");
        Self(child)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn operate(folder: &Path, arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .arg("--json")
        .args(arguments)
        .current_dir(folder)
        .env_remove("TAPLINE_CONFIG")
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {out}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&out).unwrap()
}

/// A real applet in a slot; its answer to one command may get lost, the card leaving with it.
#[derive(Clone)]
struct Applet {
    card: Arc<Mutex<Card>>,
    /// The answer to the command with this instruction is lost.
    lose: Arc<Mutex<Option<u8>>>,
}

impl Applet {
    fn new(card: Card) -> Self {
        Self { card: Arc::new(Mutex::new(card)), lose: Arc::default() }
    }
}

impl MemoryCard for Applet {
    fn exchange(&mut self, command: &[u8], answer: &mut [u8]) -> Exchange {
        let answered = self.card.lock().unwrap().transmit(command, answer);
        let mut lose = self.lose.lock().unwrap();
        if *lose == command.get(1).copied() && lose.take().is_some() {
            return Exchange::Silent;
        }
        answered.map_or(Exchange::Silent, Exchange::Answer)
    }

    fn power(&mut self, power: Power) {
        let mut card = self.card.lock().unwrap();
        match power {
            Power::Off => card.power_off(),
            Power::On | Power::Reset => drop(card.power_on().unwrap()),
        }
    }
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Day {
    folder: tempfile::TempDir,
    card: Applet,
    sam: Applet,
}

impl Day {
    /// Everything made and registered; the gateway does not run yet.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = IssuerKeys::for_tests(Suite::Aes, 0);
        let (mut card, mut sam) = (RamMemory::new(), RamMemory::new());
        NewCard::for_tests(SERIAL.parse::<Asn>().unwrap()).make(&keys, &mut card).unwrap();
        NewSam::for_tests(SAM.parse::<SamTerminal>().unwrap())
            .make(std::slice::from_ref(&keys), &mut sam)
            .unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("issuer.toml"), card_applet_sim::keyfile::write(&keys).as_bytes()).unwrap();
        let day = Self {
            card: Applet::new(Card::new(card, OsRandom)),
            sam: Applet::new(Card::new(sam, OsRandom)),
            folder,
        };
        day.register();
        day
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn register(&self) {
        let gateway = self.folder.path();
        operate(gateway, &["init"]);
        // A port that is free now; the provisioning file names it.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = fs::read_to_string(self.path("posp-gateway.toml")).unwrap();
        fs::write(
            self.path("posp-gateway.toml"),
            config.replace("127.0.0.1:8583", &format!("127.0.0.1:{port}")),
        )
        .unwrap();
        operate(gateway, &["issuer", "add", "issuer.toml"]);
        operate(gateway, &["merchant", "add", MERCHANT, "--name", "Corner Shop"]);
        let added = operate(
            gateway,
            &["terminal", "add", TERMINAL, "--merchant", MERCHANT, "--file", "till.provision"],
        );
        let code = added["result"]["code"].as_str().unwrap().to_owned();
        operate(gateway, &["sam", "add", SAM, "--terminal", TERMINAL, "--from", "2026-01-01T00:00:00"]);
        operate(gateway, &["funding", "add", "bank:1"]);
        operate(gateway, &["funding", "deposit", "bank:1", "500.00", "--reference", "1"]);
        operate(gateway, &["card", "add", SERIAL, "--issuer", ISSUER, "--funding", "bank:1"]);

        assert_eq!(self.till(&["init"], None).0, Exit::Success);
        let config = fs::read_to_string(self.path("terminal.toml")).unwrap();
        let config = config.replace("5441504C494E4500", ISSUER).replace("reply_s = 20", "reply_s = 10");
        fs::write(self.path("terminal.toml"), config).unwrap();
        let (exit, said) =
            self.till(&["provision", self.path("till.provision").to_str().unwrap()], Some(&code));
        assert_eq!(exit, Exit::Success, "{said}");
    }

    /// One command of the terminal, as a process of its own would run it.
    fn till(&self, args: &[&str], secret: Option<&str>) -> (Exit, Value) {
        let (out, err) = (Sink::default(), Sink::default());
        let config = self.path("terminal.toml");
        let head = ["terminal", "--json", "--config", config.to_str().unwrap()];
        let (card, sam) = (self.card.clone(), self.sam.clone());
        let open = move |_: &terminal::config::Settings| -> Result<Devices, Failure> {
            let atr = Atr::new(&[0x3B, 0x80, 0x80, 0x01, 0x01]).unwrap();
            Ok(Devices::new(
                MemoryReader::new("Slot 0", atr, card.clone()),
                MemoryReader::new("Slot 1", atr, sam.clone()),
            ))
        };
        let secret = secret.unwrap_or("123456").to_owned();
        let exit = terminal::run(World {
            args: head.iter().chain(args).map(OsString::from).collect(),
            environment: HashMap::new(),
            out: Box::new(out.clone()),
            err: Box::new(err),
            readers: Box::new(|| Ok(vec!["Slot 0".into(), "Slot 1".into()])),
            open: Box::new(open),
            clock: None,
            dial: Box::new(terminal::host::tcp),
            secret: Box::new(move || Ok(secret.clone().into())),
        });
        let text = out.0.lock().unwrap().clone();
        (exit, serde_json::from_slice(&text).unwrap_or(Value::Null))
    }

    fn balance(&self) -> u64 {
        let (exit, said) = self.till(&["balance"], None);
        assert_eq!(exit, Exit::Success, "{said}");
        said["result"]["card"]["balance"]["minor"].as_u64().unwrap()
    }
}

#[test]
fn a_day_is_loaded_paid_uploaded_and_settled_and_the_books_balance() {
    let day = Day::new();
    let gateway = Gateway::start(day.folder.path());

    let (exit, said) = day.till(&["topup", "100.00"], None);
    assert_eq!(exit, Exit::Success, "{said}");
    assert_eq!(
        (&said["result"]["outcome"], &said["result"]["load"]["standing"]),
        (&"loaded".into(), &"confirmed".into()),
        "{said}"
    );
    let (exit, said) = day.till(&["topup", "10"], Some("999999"));
    assert_eq!((exit, &said["result"]["name"]), (Exit::Declined, &"pin-wrong".into()), "{said}");

    // The gateway goes away; payments go on.
    drop(gateway);
    assert_eq!(day.till(&["sale", "12.50"], None).0, Exit::Success);
    *day.card.lose.lock().unwrap() = Some(0x54);
    let (exit, said) = day.till(&["sale", "7.30"], None);
    assert_eq!(exit, Exit::Success, "torn at the debit, back in the field, proved: {said}");
    let (exit, said) = day.till(&["sale", "200"], None);
    assert_eq!((exit, &said["result"]["name"]), (Exit::Declined, &"balance-too-low".into()), "{said}");
    let (exit, said) = day.till(&["topup", "10"], None);
    assert_eq!((exit, &said["error"]["name"]), (Exit::Host, &"host-unreachable".into()), "{said}");
    assert_eq!(day.balance(), 8_020);

    // And comes back.
    let _gateway = Gateway::start(day.folder.path());
    *day.card.lose.lock().unwrap() = Some(0x52);
    let (exit, said) = day.till(&["topup", "20"], None);
    assert_eq!(exit, Exit::Success, "the credit's answer was lost; the card proved it: {said}");
    assert_eq!(day.balance(), 10_020);
    let (exit, said) = day.till(&["upload"], None);
    assert_eq!(exit, Exit::Success, "{said}");
    assert_eq!(said["result"]["sent"].as_array().unwrap().len(), 2, "{said}");
    let (exit, said) = day.till(&["settle"], None);
    assert_eq!((exit, &said["result"]["outcome"]), (Exit::Success, &"balanced".into()), "{said}");
    let counted = &said["result"]["gateway"];
    assert_eq!(
        (&counted["payments"]["amount"]["minor"], &counted["loads"]["amount"]["minor"]),
        (&1980.into(), &12_000.into()),
        "{said}"
    );
    let (exit, said) = day.till(&["settle"], None);
    assert_eq!(
        (exit, &said["result"]["batch"]),
        (Exit::Success, &2.into()),
        "the next batch is another: {said}"
    );

    let audit = operate(day.folder.path(), &["audit"]);
    assert!(audit.to_string().contains("\"clean\":true"), "{audit}");
    let card = operate(day.folder.path(), &["report", "card", SERIAL, "--issuer", ISSUER]);
    let (loaded, spent) =
        (card["result"]["loaded"].as_u64().unwrap(), card["result"]["spent"].as_u64().unwrap());
    assert_eq!(
        (loaded, spent, loaded - spent),
        (12_000, 1_980, day.balance()),
        "the ledger has what the card has: {card}"
    );
}
