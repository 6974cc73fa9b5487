//! The demo is a test: it ends with an error unless card, journal, ledger and the issuer's keys agree.
#![cfg(test)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The day takes about eight seconds, and is promised in twenty; beside other suites on two cores it gets three times that.
const TIME_MAX: Duration = Duration::from_secs(60);

#[test]
fn the_demo_proves_that_card_journal_and_ledger_agree() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let demo = Path::new(env!("CARGO_BIN_EXE_demo"));
    for program in ["terminal", "card-applet-sim", "posp-gateway"] {
        assert!(
            demo.with_file_name(program).exists(),
            "{program}: cargo build --workspace --bins comes first"
        );
    }
    let began = Instant::now();
    let output = Command::new(checkout.join("scripts/private-pcscd"))
        .arg(demo)
        .stdin(Stdio::null())
        .output()
        .expect("the script runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(began.elapsed() < TIME_MAX, "took {:?}", began.elapsed());
    assert!(said.contains("100.00 CNY loaded − 24.50 CNY booked = 75.50 CNY on the card"), "{said}");
    assert!(said.contains("Recovered, no second debit"), "{said}");
    assert!(said.contains("answered as before, booked once") && said.contains("63, refused"), "{said}");
}
