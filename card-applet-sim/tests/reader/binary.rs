//! The binary as people and scripts use it.

use crate::vpcd::Reader;
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn simulator(folder: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_card-applet-sim"));
    command.current_dir(folder).args(line.split_whitespace()).env("TAPLINE_LANG", "en");
    command.env("TAPLINE_LOG", "warn").output().unwrap()
}

fn ok(folder: &Path, line: &str) -> Value {
    let output = simulator(folder, &format!("--json {line}"));
    assert!(output.status.success(), "{line}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn fails(folder: &Path, line: &str, exit: i32, said: &str) {
    let output = simulator(folder, line);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(exit), "{line}: {text}");
    assert!(text.contains(said) && text.contains('→'), "{line}: {text}");
}

const ISSUER: &str = "personalise issuer --issuer 5441504C00000156 --out issuer.toml";
const CARD: &str = "personalise card --issuer issuer.toml --serial 62170000000000000001 --pin 123456 --balance 50.00 --out a.card";
const SAM: &str = "personalise sam --issuer issuer.toml --terminal 000000000017 --out reader.sam";

#[test]
fn files_are_made_shown_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    ok(folder, ISSUER);
    assert_eq!(ok(folder, CARD)["result"]["balance"], 5000);
    assert_eq!(ok(folder, SAM)["result"]["terminal"], "000000000017");
    for file in ["issuer.toml", "a.card", "reader.sam"] {
        let mode = std::fs::metadata(folder.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let shown = ok(folder, "inspect a.card");
    assert_eq!(shown["result"]["serial"], "62170000000000000001");
    let keys = std::fs::read_to_string(folder.join("issuer.toml")).unwrap();
    let shown = shown.to_string();
    for key in keys.lines().filter_map(|l| l.split('"').nth(1)).filter(|k| k.len() == 32) {
        assert!(!shown.contains(key));
    }
    let before = std::fs::read(folder.join("a.card")).unwrap();
    for line in [ISSUER, CARD, SAM] {
        fails(folder, line, 78, "not touched");
    }
    assert_eq!(std::fs::read(folder.join("a.card")).unwrap(), before);
}

#[test]
fn mistakes_are_told_with_a_code_and_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    ok(folder, ISSUER);
    fails(folder, &CARD.replace("--pin 123456", "--pin 12345"), 2, "TL-3006");
    fails(folder, &CARD.replace("50.00", "5000.00"), 2, "above the card's limit");
    fails(folder, &CARD.replace("50.00", "5.001"), 2, "5.001");
    fails(folder, &CARD.replace("issuer.toml", "other.toml"), 78, "other.toml");
    fails(folder, &format!("{CARD} --to 2036-02-30"), 2, "2036-02-30");
    fails(
        folder,
        &SAM.replace("--issuer issuer.toml", "--issuer issuer.toml --issuer issuer.toml"),
        2,
        "version",
    );
    fails(folder, "inspect a.card", 74, "TL-3001");
    fails(folder, "inspect issuer.toml", 74, "TL-3002");
    fails(folder, "run --card a.card", 74, "a.card");
    fails(folder, "control nowhere status", 69, "TL-3008");
    let keys = std::fs::read_to_string(folder.join("issuer.toml")).unwrap();
    std::fs::write(folder.join("bad.toml"), keys.replace("purchase = \"", "purchase = \"00")).unwrap();
    fails(folder, &CARD.replace("issuer.toml", "bad.toml"), 78, "keys.purchase");
    assert!(!folder.join("a.card").exists() && !folder.join("reader.sam").exists());
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_running_simulator_obeys_its_control_socket_and_quits() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    ok(folder, ISSUER);
    ok(folder, CARD);
    ok(folder, SAM);
    let reader = Reader::start();
    let port = reader.address.port().to_string();
    let child = Command::new(env!("CARGO_BIN_EXE_card-applet-sim"))
        .current_dir(folder)
        .args([
            "run",
            "--card",
            "a.card",
            "--sam",
            "reader.sam",
            "--port",
            &port,
            "--control",
            "slots",
            "--removed",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut sam = reader.sam();
    sam.power_on();
    assert_eq!(sam.apdu("00B0960006").unwrap(), "0000000000179000");
    ok(folder, "control slots insert");
    let mut card = reader.card();
    card.power_on();
    card.apdu("00A4000002100100").unwrap();
    assert_eq!(card.apdu("805C000204").unwrap(), "000013889000");
    assert_eq!(ok(folder, "inspect a.card")["result"]["balance"], 5000, "a card in use can be looked at");
    fails(folder, "run --card a.card", 74, "in use");
    fails(folder, "run --card reader.sam --control slots", 74, "in use");
    assert_eq!(ok(folder, "control slots status")["result"]["card"]["connected"], true);
    fails(folder, "control slots tear x", 2, "number of commands");
    ok(folder, "control slots quit");
    let start = Instant::now();
    while running.0.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(10), "it does not quit");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!folder.join("slots").exists());
}
