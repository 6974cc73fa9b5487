//! Disks that fill up or become read-only, under the terminal and under the running gateway: tmpfs of a few megabytes in a mount
//! namespace of the test's own, with the real programs as processes. What was answered is durable, what could not be stored is refused
//! by its name, and once there is room everything goes on without a restart.
#![cfg(test)]

use console::Exit;
use protocol::ids::Stan;
use protocol::iso8583::typed::{ResponseCode, RetrievalReference};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tests::acquirer::{TestTerminal, enrol, merchant_id, register};
use tests::daemon::isolated;
use tests::outlet::{Outlet, PIN, TERMINAL};
use tests::shop::binary;

/// Payments per round of the till.
const SALES: u64 = 3;
const PAGE: usize = 4096;

/// Mounts a tmpfs of this size over `folder`.
fn mount(folder: &Path, size: &str) {
    let option = format!("size={size}");
    let status = Command::new("mount").args(["-t", "tmpfs", "-o", &option, "tapline"]).arg(folder).status();
    assert!(status.unwrap().success());
}

fn remount(folder: &Path, how: &str) {
    assert!(
        Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(folder).status().unwrap().success()
    );
}

/// Fills the disk under `folder` but for so many pages.
fn fill(folder: &Path, pages_left: usize) {
    let mut filler = fs::File::create(folder.join("filler")).unwrap();
    let mut written = 0;
    while filler.write_all(&[0; PAGE]).is_ok() {
        written += PAGE;
    }
    filler.set_len(written.saturating_sub(pages_left * PAGE) as u64).unwrap();
}

fn make_room(folder: &Path) {
    fs::remove_file(folder.join("filler")).unwrap();
}

/// A command of the terminal as a process of its own: exit code, and the code that it names.
fn process(outlet: &Outlet, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(binary("terminal"))
        .arg("--json")
        .args(arguments)
        .current_dir(outlet.till_folder())
        .env("TAPLINE_PIN", PIN)
        .env_remove("TAPLINE_CONFIG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let code = said["error"]["code"].as_str().or_else(|| said["result"]["code"].as_str());
    (output.status.code().unwrap(), code.unwrap_or_default().to_owned())
}

#[test]
fn full_and_read_only_disks_stop_load_upload_and_settlement_with_their_own_message_and_lose_nothing() {
    isolated(
        "full_and_read_only_disks_stop_load_upload_and_settlement_with_their_own_message_and_lose_nothing",
        || {
            let outlet = Outlet::on(|till, _| mount(till, "2m"));
            let _gateway = outlet.gateway();
            assert_eq!(outlet.till(&["topup", "50"]).exit, Exit::Success);
            for _ in 0..SALES {
                assert_eq!(outlet.till(&["sale", "1.25"]).exit, Exit::Success);
            }
            let till = outlet.till_folder();
            let refused = |code: &str| {
                for command in [&["topup", "10"][..], &["upload"], &["settle"]] {
                    assert_eq!(process(&outlet, command), (74, code.to_owned()), "{command:?}");
                }
            };
            fill(&till, 0);
            refused("TL-1401");
            make_room(&till);
            remount(&till, "ro");
            refused("TL-1402");
            remount(&till, "rw");
            assert_eq!(process(&outlet, &["upload"]), (0, String::new()));
            assert_eq!(process(&outlet, &["settle"]), (0, String::new()));
            assert_eq!(outlet.books_agree(), (5_000, 125 * SALES));
        },
    );
}

/// The gateway's answer arrives and the journal cannot take it: wherever in an upload the disk fills, what was booked is answered the
/// same when it is sent again, and counts once.
#[test]
fn an_upload_cut_short_by_a_full_disk_at_any_page_is_completed_and_booked_once() {
    isolated("an_upload_cut_short_by_a_full_disk_at_any_page_is_completed_and_booked_once", || {
        let outlet = Outlet::on(|till, _| mount(till, "2m"));
        let _gateway = outlet.gateway();
        assert_eq!(outlet.till(&["topup", "500"]).exit, Exit::Success);
        let till = outlet.till_folder();
        let (mut spent, mut cut, mut whole) = (0, 0, 0);
        for pages in 0..24 {
            for _ in 0..SALES {
                assert_eq!(outlet.till(&["sale", "1.25"]).exit, Exit::Success);
                spent += 125;
            }
            fill(&till, pages);
            match process(&outlet, &["upload"]) {
                (0, _) => whole += 1,
                ended => {
                    assert_eq!(ended, (74, "TL-1401".to_owned()), "{pages} pages left");
                    cut += 1;
                }
            }
            make_room(&till);
            assert_eq!(process(&outlet, &["upload"]), (0, String::new()), "{pages} pages left");
            assert_eq!(outlet.books_agree(), (50_000, spent), "{pages} pages left");
        }
        assert!(cut > 2 && whole > 2, "{cut} cut short, {whole} not");
        let said = outlet.till(&["settle"]);
        assert_eq!((said.exit, &said.result()["outcome"]), (Exit::Success, &"balanced".into()), "{said:?}");
    });
}

/// Online purchases of one terminal, one after the other, each asked until it is approved.
struct Buyer {
    terminal: TestTerminal,
    approved: BTreeMap<RetrievalReference, u64>,
    /// Answers 96: nothing was decided.
    refused: u32,
}

impl Buyer {
    fn run(mut self, stop: &AtomicBool) -> Self {
        self.terminal.sign_in();
        while !stop.load(Ordering::Relaxed) {
            let trace = self.terminal.next_trace();
            self.buy(trace, stop);
            // The ledger's disk is small: it is to fill when the test says so.
            std::thread::sleep(Duration::from_millis(2));
        }
        self
    }

    fn buy(&mut self, trace: Stan, stop: &AtomicBool) {
        let minor = u64::from(1 + trace.0 % 89);
        let frame = self.terminal.purchase_frame(trace, 1 + trace.0 % 20, minor);
        loop {
            let answer = self.terminal.ask(&frame);
            assert!(self.terminal.verifies(&answer));
            match answer.code() {
                ResponseCode::APPROVED => {
                    let reference = answer.message().need().unwrap();
                    assert!(self.approved.insert(reference, minor).is_none(), "{reference} given twice");
                    return;
                }
                ResponseCode::SYSTEM => self.refused += 1,
                code => panic!("{code}"),
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The references and amounts of a merchant's statement.
fn statement(outlet: &Outlet, merchant: &str) -> Vec<(String, String)> {
    let said = outlet.operate(&["report", "merchant", merchant]);
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    said["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (text(row, "reference"), text(row, "amount")))
        .collect()
}

#[test]
fn a_ledger_that_fills_under_load_refuses_and_goes_on_and_its_books_are_what_was_answered() {
    const BUYERS: u32 = 3;
    isolated(
        "a_ledger_that_fills_under_load_refuses_and_goes_on_and_its_books_are_what_was_answered",
        || {
            let outlet = Outlet::on(|_, gateway| mount(gateway, "64m"));
            let ledger = outlet.gateway_folder();
            let tmks: Vec<_> = {
                let (mut engine, keys) = outlet.books();
                register(&mut engine, &*keys, BUYERS, 20, 1 << 40);
                (1..=BUYERS).map(|n| enrol(&*keys, n)).collect()
            };
            let gateway = outlet.gateway();
            let stop = Arc::new(AtomicBool::new(false));
            let buyers: Vec<_> = tmks
                .into_iter()
                .zip(1..)
                .map(|(tmk, n)| {
                    let terminal = TestTerminal::new(outlet.address(), n, tmk);
                    let (buyer, stop) =
                        (Buyer { terminal, approved: BTreeMap::new(), refused: 0 }, Arc::clone(&stop));
                    std::thread::spawn(move || buyer.run(&stop))
                })
                .collect();
            // The till's day, in whatever state the disk is.
            let (mut loaded, mut spent) = (50_000, 0);
            assert_eq!(outlet.till(&["topup", "500"]).exit, Exit::Success);
            let mut loads_refused = 0;
            let mut till = |loaded: &mut u64, full: bool| {
                let said = outlet.till(&["topup", "5"]);
                if said.exit == Exit::Success {
                    *loaded += 500;
                } else {
                    assert!(full, "{said:?}");
                    loads_refused += 1;
                }
                let sold = outlet.till(&["sale", "0.25"]);
                assert_eq!(sold.exit, Exit::Success, "payments from the card need no gateway: {sold:?}");
                spent += 25;
                let said = outlet.till(&["upload"]);
                assert!(full || said.exit == Exit::Success, "{said:?}");
            };
            till(&mut loaded, false);
            for _ in 0..3 {
                let until = |longest: u64| Instant::now() + Duration::from_millis(longest);
                fill(&ledger, 0);
                let end = until(1_200);
                while Instant::now() < end {
                    till(&mut loaded, true);
                }
                make_room(&ledger);
                till(&mut loaded, false);
            }
            stop.store(true, Ordering::Relaxed);
            let buyers: Vec<Buyer> = buyers.into_iter().map(|buyer| buyer.join().unwrap()).collect();
            let said = outlet.till(&["settle"]);
            assert_eq!(
                (said.exit, &said.result()["outcome"]),
                (Exit::Success, &"balanced".into()),
                "without a restart: {said:?}"
            );
            assert_eq!(outlet.books_agree(), (loaded, spent));
            assert!(loads_refused > 0, "the disk was never full for a load");
            gateway.terminate();

            // What the buyers were told is posted when their batches close.
            let (mut engine, _) = outlet.books();
            for (n, buyer) in (1..).zip(&buyers) {
                assert!(buyer.approved.len() > 20 && buyer.refused > 5, "{n}: {}", buyer.refused);
                tests::acquirer::settle(&mut engine, n, buyer.approved.values().copied());
            }
            drop(engine);
            for (n, buyer) in (1..).zip(&buyers) {
                let booked: BTreeMap<String, String> =
                    statement(&outlet, merchant_id(n).as_str()).into_iter().collect();
                let told: BTreeMap<String, String> = buyer
                    .approved
                    .iter()
                    .map(|(reference, minor)| {
                        (reference.to_string(), format!("{}.{:02} CNY", minor / 100, minor % 100))
                    })
                    .collect();
                assert_eq!(statement(&outlet, merchant_id(n).as_str()).len(), told.len());
                assert_eq!(booked, told);
            }
            let batch = outlet.operate(&["report", "batch", TERMINAL, "1"]);
            assert_eq!(batch["state"], "closed", "{batch}");
        },
    );
}
