//! The gateway killed by SIGKILL under load, again and again: every answer that was sent is in the books once, every repeat is answered as
//! before, and the audit is clean.
#![cfg(test)]

use backend::Engine;
use backend::api::{Backend, Query, Report};
use backend::store::sqlite::SqliteStore;
use keys::{KeyModule, MasterKey, SoftKeys};
use protocol::ids::Stan;
use protocol::iso8583::typed::{ResponseCode, RetrievalReference};
use protocol::secret::Secret;
use protocol::time::Wall;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::acquirer::{TestTerminal, enrol, merchant_id, register, settle};

const KILLS: u32 = 10;
const TERMINALS: u32 = 4;
const PAYERS: u32 = 50;
/// Requests of a terminal at once.
const DEPTH: usize = 16;
/// How long the gateway lives between kills: long enough for thousands of commits, never the same.
const LIFE_MS: u64 = 250;

/// A gateway process in a folder. Killed when it is dropped.
struct Gateway {
    child: Child,
    address: SocketAddr,
}

impl Gateway {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["--json", "serve"])
            .current_dir(folder)
            .env("TAPLINE_GATEWAY__GATEWAY__LISTEN", "127.0.0.1:0")
            .env("TAPLINE_LOG", "error")
            .env_remove("TAPLINE_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let address = said["result"]["listening"].as_str().unwrap().parse().unwrap();
        Self { child, address }
    }

    fn terminate(mut self) {
        let stopped = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(stopped.success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The store and its keys, opened here while no gateway runs.
fn books(folder: &Path) -> (Engine<SqliteStore>, Arc<SoftKeys>) {
    let master = MasterKey::from_file(&folder.join("master.key")).unwrap();
    let keys = Arc::new(SoftKeys::open(&folder.join("keys.tlk"), master).unwrap());
    let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
    (Engine::new(SqliteStore::open(&folder.join("gateway.db")).unwrap(), shared), keys)
}

/// Where the gateway is now, for all terminals.
#[derive(Clone, Default)]
struct Whereabouts(Arc<Mutex<Option<SocketAddr>>>);

/// What a terminal was told: by trace, amount and reference of an approval.
type Told = BTreeMap<u32, (u64, RetrievalReference)>;

/// A terminal at work: keeps [`DEPTH`] purchases in flight, through every loss of the gateway, until it is told to stop and has an answer
/// to everything it asked.
struct Till {
    n: u32,
    tmk: Secret<16>,
    whereabouts: Whereabouts,
    stop: Arc<AtomicBool>,
    told: Told,
    /// Asked and not answered.
    open: HashMap<u32, u64>,
    last: u32,
    repeats: u32,
}

impl Till {
    fn run(mut self) -> Self {
        while !(self.stop.load(Ordering::Relaxed) && self.open.is_empty()) {
            let address = *self.whereabouts.0.lock().unwrap();
            match address {
                Some(address) if self.session(address).is_ok() => {}
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        self
    }

    /// Works over one connection until it is lost or all is done.
    fn session(&mut self, address: SocketAddr) -> std::io::Result<()> {
        let mut terminal = TestTerminal::connect(address, self.n, self.tmk.clone())?;
        self.last += 1;
        terminal.trace = Stan(self.last);
        let sign_in = terminal.sign_in_frame(terminal.trace);
        terminal.send(&sign_in)?;
        let answer = terminal.receive()?;
        terminal.take_keys(&answer);
        // What was asked before is asked again, the same; and one that was answered, for the same answer.
        for (trace, minor) in &self.open {
            terminal.send(&terminal.purchase_frame(Stan(*trace), self.payer(*trace), *minor))?;
        }
        if let Some((trace, (minor, reference))) = self.told.iter().next_back().map(|(t, told)| (*t, *told)) {
            terminal.send(&terminal.purchase_frame(Stan(trace), self.payer(trace), minor))?;
            self.open.insert(trace, minor);
            self.repeats += 1;
            self.told.insert(trace, (minor, reference));
        }
        loop {
            while self.open.len() < DEPTH && !self.stop.load(Ordering::Relaxed) {
                self.last += 1;
                let (trace, minor) = (self.last, 1 + u64::from(self.last % 97));
                self.open.insert(trace, minor);
                terminal.send(&terminal.purchase_frame(Stan(trace), self.payer(trace), minor))?;
            }
            if self.open.is_empty() {
                return Ok(());
            }
            let answer = terminal.receive()?;
            assert!(terminal.verifies(&answer));
            assert_eq!(answer.code(), ResponseCode::APPROVED, "{answer:?}");
            let trace = answer.trace().0;
            let reference = answer.message().need().unwrap();
            let minor = self.open.remove(&trace).expect("asked");
            if let Some((_, before)) = self.told.insert(trace, (minor, reference)) {
                assert_eq!(before, reference, "a repeat is answered as before");
            }
        }
    }

    const fn payer(&self, trace: u32) -> u32 {
        1 + trace % PAYERS
    }
}

#[test]
fn killed_ten_times_under_load_every_answer_is_in_the_books_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder: PathBuf = folder.path().to_path_buf();
    operate(&folder, &["init"]);
    let tmks: Vec<Secret<16>> = {
        let (mut engine, keys) = books(&folder);
        register(&mut engine, &*keys, TERMINALS, PAYERS, 1 << 40);
        (1..=TERMINALS).map(|n| enrol(&*keys, n)).collect()
    };
    let (whereabouts, stop) = (Whereabouts::default(), Arc::new(AtomicBool::new(false)));
    let tills: Vec<_> = tmks
        .into_iter()
        .zip(1..)
        .map(|(tmk, n)| {
            let till = Till {
                n,
                tmk,
                whereabouts: whereabouts.clone(),
                stop: Arc::clone(&stop),
                told: Told::new(),
                open: HashMap::new(),
                last: 0,
                repeats: 0,
            };
            std::thread::spawn(move || till.run())
        })
        .collect();
    for kill in 0..KILLS {
        let gateway = Gateway::start(&folder);
        *whereabouts.0.lock().unwrap() = Some(gateway.address);
        std::thread::sleep(Duration::from_millis(LIFE_MS + u64::from(kill) * 17));
        // Dropped: SIGKILL, in the middle of whatever it was doing.
        drop(gateway);
        *whereabouts.0.lock().unwrap() = None;
    }
    let gateway = Gateway::start(&folder);
    *whereabouts.0.lock().unwrap() = Some(gateway.address);
    std::thread::sleep(Duration::from_millis(LIFE_MS));
    stop.store(true, Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(60);
    let tills: Vec<Till> = tills
        .into_iter()
        .map(|till| {
            while !till.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            assert!(till.is_finished(), "a terminal waits for an answer");
            till.join().unwrap()
        })
        .collect();
    // Asked of the running gateway, through its control socket.
    assert_eq!(operate(&folder, &["audit"])["result"]["clean"], Value::Bool(true));
    gateway.terminate();

    let (mut engine, _) = books(&folder);
    for till in &tills {
        settle(&mut engine, till.n, till.told.values().map(|(minor, _)| *minor));
        let query = Query::Statement { merchant: merchant_id(till.n), from: Wall(0), to: Wall(i64::MAX) };
        let Report::Statement(statement) = engine.query(&query).unwrap() else { panic!("no statement") };
        let mut booked = BTreeMap::new();
        for line in &statement.lines {
            let reference = backend::api::retrieval_reference(line.transaction.unwrap()).unwrap();
            assert!(booked.insert(reference, line.amount.minor()).is_none(), "{reference} booked twice");
        }
        let told: BTreeMap<_, _> =
            till.told.values().map(|(minor, reference)| (*reference, *minor)).collect();
        assert_eq!(told.len(), till.told.len());
        assert!(booked == told, "{} booked, {} told", booked.len(), told.len());
        assert_eq!(statement.payable, told.values().map(|minor| i128::from(*minor)).sum::<i128>());
        assert!(
            told.len() > 500 && till.repeats >= KILLS / 2,
            "{} told, {} repeats",
            told.len(),
            till.repeats
        );
    }
    drop(engine);
    assert_eq!(operate(&folder, &["audit"])["result"]["clean"], Value::Bool(true));
}
