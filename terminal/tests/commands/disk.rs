//! Disks that fail: full, read-only, or failing between the debit and its record.

use crate::fakes::{Purse, SamManner};
use crate::till::Till;
use console::Exit;
use std::path::Path;
use std::process::{Command, Output};

#[test]
fn a_result_that_cannot_be_stored_stays_open_and_the_next_tap_books_it_without_a_second_debit() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    let journal = |sql: &str| rusqlite::Connection::open(till.journal()).unwrap().execute_batch(sql).unwrap();
    journal(
        "CREATE TRIGGER broken BEFORE INSERT ON entry WHEN NEW.seq = 2 BEGIN SELECT RAISE(ABORT, 'x'); END",
    );
    let said = till.tap(&["--json", "sale", "12.50"], &purse, SamManner::Good);
    assert_eq!(said.exit, Exit::SameCard, "{}", said.out);
    assert_eq!(said.json()["result"]["name"], "result-not-stored");
    assert_eq!(purse.taken(), (8_750, 1));
    assert_eq!(till.history()["uncertain"], 1);

    journal("DROP TRIGGER broken");
    let said = till.tap(&["--json", "sale", "12.50"], &purse, SamManner::Good);
    assert_eq!(said.exit, Exit::EarlierPaid, "{}", said.out);
    assert_eq!(purse.taken(), (8_750, 1));
    let history = till.history();
    assert_eq!((&history["taken"], &history["uncertain"]), (&1.into(), &0.into()));
}

#[test]
fn an_intent_that_cannot_be_stored_stops_the_payment_before_the_debit() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    let journal = |sql: &str| rusqlite::Connection::open(till.journal()).unwrap().execute_batch(sql).unwrap();
    journal("CREATE TRIGGER broken BEFORE INSERT ON entry BEGIN SELECT RAISE(ABORT, 'x'); END");
    let said = till.tap(&["sale", "12.50"], &purse, SamManner::Good);
    assert_eq!((said.exit, purse.taken()), (Exit::Storage, (10_000, 0)), "{}", said.err);
    journal("DROP TRIGGER broken");
    assert_eq!(till.tap(&["sale", "12.50"], &purse, SamManner::Good).exit, Exit::Success);
}

/// Runs a shell script in a mount namespace of its own (where user namespaces are allowed), with `$TERMINAL` and `$DIR`.
fn with_own_mounts(script: &str, folder: &Path) -> Output {
    Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-e", "-c", script])
        .env("TERMINAL", env!("CARGO_BIN_EXE_terminal"))
        .env("DIR", folder)
        .env("TAPLINE_LANG", "en")
        .output()
        .unwrap()
}

fn namespaces_are_allowed() -> bool {
    let tried = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).status();
    tried.is_ok_and(|status| status.success())
}

#[test]
fn full_and_read_only_disks_stop_a_sale_with_their_own_message_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    if !namespaces_are_allowed() {
        eprintln!(
            "user namespaces are not allowed here: no disk of our own to fill, so only the journal's refusals above"
        );
        return;
    }
    let script = r#"
        mount -t tmpfs -o size=2m tmpfs "$DIR"; cd "$DIR"
        "$TERMINAL" init >/dev/null
        dd if=/dev/zero of=filler bs=4096 2>/dev/null || true
        code=0; "$TERMINAL" sale 1 2>&1 || code=$?; echo "full ended $code"
        rm filler
        "$TERMINAL" history
        mount -o remount,ro "$DIR"
        code=0; "$TERMINAL" sale 1 2>&1 || code=$?; echo "read-only ended $code"
        code=0; "$TERMINAL" doctor 2>&1 || code=$?; echo "doctor ended $code"
    "#;
    let output = with_own_mounts(script, folder.path());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for part in
        ["TL-1401", "full ended 74", "No payments.", "TL-1402", "read-only ended 74", "doctor ended 30"]
    {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
}
