//! Backup, restore and exported heads with the real program: while terminals pay, after the machine is lost, and when somebody cuts the
//! newest rows off.
#![cfg(test)]

use backend::Engine;
use backend::store::sqlite::SqliteStore;
use keys::{KeyModule, MasterKey, SoftKeys};
use protocol::iso8583::typed::{ResponseCode, RetrievalReference};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tests::acquirer::{TestTerminal, enrol, register};

const PAYERS: u32 = 20;
const HEADS: &str = "elsewhere.jsonl";

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.arg("--json").current_dir(folder).env_remove("TAPLINE_CONFIG").env("TAPLINE_LANG", "en");
    command.env("TAPLINE_GATEWAY__HEADS__FILE", HEADS).env("TAPLINE_GATEWAY__GATEWAY__LISTEN", "127.0.0.1:0");
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder).args(arguments).output().unwrap()
}

fn operate(folder: &Path, arguments: &[&str]) -> Value {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["result"].clone()
}

/// What it printed though it ended with 30: something is wrong, and here is what.
fn found_wrong(folder: &Path, arguments: &[&str]) -> Value {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(30), "{arguments:?}: {output:?}");
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["result"].clone()
}

/// The code that it failed with.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(!output.status.success(), "{arguments:?}");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let at = said.find("TL-").unwrap_or_else(|| panic!("{said}"));
    said[at..at + 7].to_owned()
}

/// A gateway process. Killed when it is dropped.
struct Gateway(Child, SocketAddr);

impl Gateway {
    fn start(folder: &Path) -> Self {
        let mut child =
            command(folder).arg("serve").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let address = said["result"]["listening"].as_str().unwrap().parse().unwrap();
        Self(child, address)
    }

    fn terminate(mut self) {
        let stopped = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(stopped.success());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An acquirer with one terminal and payers with money, as files in a folder. The terminal's master key.
fn acquirer(folder: &Path) -> protocol::secret::Secret<16> {
    operate(folder, &["init"]);
    let keys = Arc::new(keys_of(folder));
    let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
    let mut engine = Engine::new(SqliteStore::open(&folder.join("gateway.db")).unwrap(), shared);
    register(&mut engine, &*keys, 1, PAYERS, 10_000_000);
    enrol(&*keys, 1)
}

fn keys_of(folder: &Path) -> SoftKeys {
    let master = MasterKey::from_file(&folder.join("master.key")).unwrap();
    SoftKeys::open(&folder.join("keys.tlk"), master).unwrap()
}

fn buy(till: &mut TestTerminal) -> RetrievalReference {
    let trace = till.next_trace();
    let answer = till.ask(&till.purchase_frame(trace, trace.0 % PAYERS + 1, 100));
    assert_eq!(answer.code(), ResponseCode::APPROVED);
    answer.message().need::<RetrievalReference>().unwrap()
}

fn new_machine(root: &Path, name: &str, from: &Path, files: &[&str]) -> PathBuf {
    let folder = root.join(name);
    fs::create_dir(&folder).unwrap();
    for file in files {
        fs::copy(from.join(file), folder.join(file)).unwrap();
    }
    folder
}

#[test]
fn a_ledger_is_backed_up_while_terminals_pay_and_comes_back_on_another_machine() {
    let root = tempfile::tempdir().unwrap();
    let first = new_machine(root.path(), "first", root.path(), &[]);
    let tmk = acquirer(&first);
    fs::copy(first.join("gateway.db"), root.path().join("early.db")).unwrap();
    let gateway = Gateway::start(&first);
    let stop = Arc::new(AtomicBool::new(false));
    let paying = std::thread::spawn({
        let (address, tmk, stop) = (gateway.1, tmk.clone(), Arc::clone(&stop));
        move || {
            let mut till = TestTerminal::new(address, 1, tmk);
            till.sign_in();
            let mut references = Vec::new();
            while !stop.load(Ordering::Relaxed) || references.len() < 50 {
                references.push(buy(&mut till));
            }
            (references, till.trace)
        }
    });
    // Under way.
    let made = operate(&first, &["backup", "../ledger.tlb"]);
    assert_eq!(made["audit"]["clean"], true, "{made}");
    let file = root.path().join("ledger.tlb");
    assert_eq!(made["bytes"].as_u64(), Some(fs::metadata(&file).unwrap().len()));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(refused(&first, &["backup", "../ledger.tlb"]), "TL-2014");
    assert!(!root.path().join("ledger.tlb.part").exists());
    assert_eq!(refused(&first, &["restore", "../ledger.tlb"]), "TL-2017", "a gateway runs");
    stop.store(true, Ordering::Relaxed);
    let (references, trace) = paying.join().unwrap();
    gateway.terminate();
    let audit = operate(&first, &["audit", "--heads", HEADS]);
    assert_eq!((audit["clean"].as_bool(), audit["heads_checked"].as_u64() >= Some(2)), (Some(true), true));
    assert_eq!(refused(&first, &["restore", "../ledger.tlb"]), "TL-2017", "there is a ledger");

    // The machine is lost. Keys and configuration were kept by another way.
    let second = new_machine(root.path(), "second", &first, &["posp-gateway.toml", "keys.tlk", "master.key"]);
    let restored = operate(&second, &["restore", "../ledger.tlb"]);
    assert_eq!(restored["audit"]["clean"], true, "{restored}");
    assert_eq!(restored["audit"]["skipped"].as_array().unwrap().len(), 1);
    operate(&second, &["doctor"]);
    let gateway = Gateway::start(&second);
    let mut till = TestTerminal::new(gateway.1, 1, tmk.clone());
    till.trace = trace;
    till.sign_in();
    let fresh = buy(&mut till);
    assert!(references.iter().all(|given| given.as_str() < fresh.as_str()), "no reference twice");
    gateway.terminate();
    // The first machine's newest heads are beyond what came back, and are named.
    let audit = found_wrong(&second, &["audit", "--heads", "../first/elsewhere.jsonl"]);
    let exceptions = audit["exceptions"].as_array().unwrap();
    assert!(exceptions.iter().all(|line| line.as_str().unwrap().starts_with("head of commit ")), "{audit}");
    assert!(!exceptions.is_empty());
    operate(&second, &["audit", "--heads", HEADS]);

    // A ledger from before these payments would give their numbers out again. Restored from a backup of itself it does not.
    let files = ["posp-gateway.toml", "keys.tlk", "master.key", HEADS];
    let behind = new_machine(root.path(), "behind", &first, &files);
    fs::copy(root.path().join("early.db"), behind.join("gateway.db")).unwrap();
    assert_eq!(refused(&behind, &["serve"]), "TL-2036");
    operate(&behind, &["backup", "../early.tlb"]);
    fs::remove_file(behind.join("gateway.db")).unwrap();
    operate(&behind, &["restore", "../early.tlb"]);
    let gateway = Gateway::start(&behind);
    let mut till = TestTerminal::new(gateway.1, 1, tmk);
    till.sign_in();
    let fresher = buy(&mut till);
    assert!(references.iter().all(|given| given.as_str() < fresher.as_str()), "no reference twice");
    gateway.terminate();

    // A machine whose keys are others: the ledger replaces the empty one, and what is missing is said.
    let third = new_machine(root.path(), "third", root.path(), &[]);
    operate(&third, &["init"]);
    let restored = found_wrong(&third, &["restore", "../ledger.tlb"]);
    assert_eq!(restored["terminals_without_keys"].as_array().unwrap().len(), 1, "{restored}");
    let doctor = found_wrong(&third, &["doctor"]);
    assert!(doctor.to_string().contains("no keys of"), "{doctor}");

    // A damaged backup leaves nothing behind.
    let fourth = new_machine(root.path(), "fourth", &first, &["posp-gateway.toml", "keys.tlk", "master.key"]);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(root.path().join("bad.tlb"), bytes).unwrap();
    assert_eq!(refused(&fourth, &["restore", "../bad.tlb"]), "TL-2015");
    let left: Vec<_> = fs::read_dir(&fourth).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn two_backups_into_one_file_at_once_do_not_mix() {
    let root = tempfile::tempdir().unwrap();
    let folder = new_machine(root.path(), "first", root.path(), &[]);
    acquirer(&folder);
    // One is at it, and has written half of its copy; what another process left before that is of no use to anybody.
    let copy = folder.join("ledger.tlb.part");
    fs::write(&copy, b"half").unwrap();
    let at_it = fs::OpenOptions::new().write(true).open(&copy).unwrap();
    at_it.try_lock().unwrap();
    assert_eq!(refused(&folder, &["backup", "ledger.tlb"]), "TL-2008");
    assert_eq!(fs::read(&copy).unwrap(), b"half", "the other's file was not touched");
    drop(at_it);
    assert_eq!(operate(&folder, &["backup", "ledger.tlb"])["audit"]["clean"], true);
    assert!(!copy.exists());
    assert_eq!(refused(&folder, &["backup", "ledger.tlb"]), "TL-2014", "it exists");
}

#[test]
fn rows_cut_off_with_all_their_traces_are_found_by_the_heads_that_were_exported() {
    let root = tempfile::tempdir().unwrap();
    let folder = new_machine(root.path(), "first", root.path(), &[]);
    operate(&folder, &["init"]);
    operate(&folder, &["funding", "add", "bank:1"]);
    let deposit = |reference: &str| {
        operate(&folder, &["funding", "deposit", "bank:1", "100.00", "--reference", reference]);
    };
    deposit("1");
    // A whole and consistent ledger that knows nothing of what follows.
    fs::copy(folder.join("gateway.db"), root.path().join("earlier.db")).unwrap();
    deposit("2");
    let head = operate(&folder, &["audit", "--export-head", HEADS]);
    operate(&folder, &["audit", "--export-head", HEADS]);
    operate(&folder, &["settle"]);
    let lines = |path: &Path| fs::read_to_string(path).unwrap().lines().count();
    let exported = lines(&folder.join(HEADS));
    assert_eq!(exported, 1, "the same head once: a settlement that decides nothing is no commit");
    operate(&folder, &["audit", "--heads", HEADS]);

    fs::copy(root.path().join("earlier.db"), folder.join("gateway.db")).unwrap();
    operate(&folder, &["audit"]);
    let audit = found_wrong(&folder, &["audit", "--heads", HEADS]);
    let commit = head["head"]["commit"].as_u64().unwrap();
    let first = audit["exceptions"][0].as_str().unwrap();
    assert!(first.starts_with(&format!("head of commit {commit} (line 1)")), "{first}");
    // Other rows in their place: the number is there, and another hash.
    deposit("3");
    let audit = found_wrong(&folder, &["audit", "--heads", HEADS]);
    assert!(audit["exceptions"][0].as_str().unwrap().contains("another commit"), "{audit}");
    // A line that somebody adapts is not signed any more.
    let text = fs::read_to_string(folder.join(HEADS)).unwrap();
    let another = text.replace("\"acquirer\":1", "\"acquirer\":2");
    let changed = text.replace("\"transfer\":", "\"transfer\":1");
    fs::write(folder.join("forged.jsonl"), format!("{another}{changed}not a head\n")).unwrap();
    let audit = found_wrong(&folder, &["audit", "--heads", "forged.jsonl"]);
    let exceptions: Vec<&str> =
        audit["exceptions"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(exceptions[0].contains("not signed by acquirer 2"), "{exceptions:?}");
    assert!(exceptions.iter().any(|line| line.contains("not signed by acquirer 1")), "{exceptions:?}");
    assert!(exceptions.iter().any(|line| line.ends_with("is no head")), "{exceptions:?}");
    assert_eq!(refused(&folder, &["audit", "--heads", "absent.jsonl"]), "TL-2018");
}
