//! Backups that are restored into PostgreSQL by the program: of a ledger in a file, which is how an acquirer moves up, and of a shared one that was
//! lost. All of it or nothing; audited; and no gateway gives out a number that may have left before.
#![cfg(test)]

use backend::store::sqlite::SqliteStore;
use protocol::ids::{BatchNo, Stan};
use protocol::iso8583::typed::{ResponseCode, RetrievalReference, Sum};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;
use tests::acquirer::TestTerminal;
use tests::postgres::{OWNER, SERVICE, Server};
use tests::program::{Program, configure};

const MONEY: u64 = 10_000_000;
const PAYERS: u32 = 5;

fn buy(till: &mut TestTerminal) -> (Stan, RetrievalReference) {
    let trace = till.next_trace();
    (trace, ask_again(till, trace))
}

fn ask_again(till: &mut TestTerminal, trace: Stan) -> RetrievalReference {
    let frame = till.purchase_frame(trace, 1 + trace.0 % PAYERS, u64::from(100 + trace.0));
    let answer = till.ask(&frame);
    assert!(till.verifies(&answer));
    assert_eq!(answer.code(), ResponseCode::APPROVED, "{answer:?}");
    answer.message().need().unwrap()
}

/// A program whose ledger is a database of the server, with the keys of another.
fn moved(root: &Path, name: &str, from: &Program, server: &Server, database: &str, number: u16) -> Program {
    let folder = root.join(name);
    fs::create_dir(&folder).unwrap();
    for file in ["keys.tlk", "master.key"] {
        fs::copy(from.folder.join(file), folder.join(file)).unwrap();
    }
    configure(&folder, &server.url(SERVICE, database), &server.url(OWNER, database), number);
    Program { folder }
}

#[test]
fn a_ledger_moves_from_a_file_to_postgresql_and_two_gateways_go_on_with_it() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("alone");
    fs::create_dir(&folder).unwrap();
    let alone = Program { folder };
    alone.operate(&["init"]);
    let store = SqliteStore::open(&alone.folder.join("gateway.db")).unwrap();
    let tmks = alone.enrol(store, 2, PAYERS, MONEY);
    let gateway = alone.serve();
    let mut tills: Vec<TestTerminal> =
        tmks.iter().zip(1..).map(|(tmk, n)| TestTerminal::new(gateway.address, n, tmk.clone())).collect();
    tills.iter_mut().for_each(TestTerminal::sign_in);
    let mut told: Vec<(Stan, RetrievalReference)> = (0..40).map(|_| buy(&mut tills[0])).collect();
    let (trace, _) = buy(&mut tills[1]);
    let totals = Sum { minor: u64::from(100 + trace.0), count: 1 };
    assert_eq!(tills[1].settle(totals, Sum::default()).code(), ResponseCode::APPROVED);
    gateway.terminate();
    alone.operate(&["audit", "--export-head", "../heads.jsonl"]);
    alone.operate(&["backup", "../ledger.tlb"]);
    let statement = alone.operate(&["report", "merchant", "M00000000000002"]);
    let before = alone.operate(&["audit"]);

    let server = Server::start(&[]);
    let database = server.empty();
    let first = moved(root.path(), "first", &alone, &server, &database, 1);
    first.operate(&["init"]);
    let restored = first.operate(&["restore", "../ledger.tlb"]);
    assert_eq!(restored["audit"]["clean"], true, "{restored}");
    for what in ["transfers", "transactions", "turnover", "float"] {
        assert_eq!(restored["audit"][what], before[what], "{what}");
    }
    assert_eq!(
        (restored["skipped"][0]["gateway"].as_u64(), restored["terminals_without_keys"].as_array()),
        (Some(0), Some(&vec![]))
    );
    assert!(!first.folder.join("keys.restoring").exists());
    assert_eq!(first.operate(&["report", "merchant", "M00000000000002"])["lines"], statement["lines"]);
    // What was signed before the move is in the chain still.
    let audit = first.operate(&["audit", "--heads", "../heads.jsonl"]);
    assert_eq!(audit["heads_checked"].as_u64(), Some(1), "{audit}");

    let second = moved(root.path(), "second", &alone, &server, &database, 2);
    let gateways = [first.serve(), second.serve()];
    let mut till = TestTerminal::new(gateways[1].address, 1, tmks[0].clone());
    till.trace = Stan(500);
    till.sign_in();
    assert_eq!(till.batch, BatchNo(1), "an open batch goes on");
    for (trace, reference) in &told {
        assert_eq!(ask_again(&mut till, *trace), *reference, "answered as before the move");
    }
    told.extend((0..5).map(|_| buy(&mut till)));
    let mut other = TestTerminal::new(gateways[0].address, 2, tmks[1].clone());
    other.trace = Stan(500);
    other.sign_in();
    assert!(other.batch.0 > 1_000, "a closed batch's terminal begins where it cannot have been");
    told.extend((0..5).map(|_| buy(&mut other)));
    let different: BTreeSet<_> = told.iter().map(|(_, reference)| reference.to_string()).collect();
    assert_eq!(different.len(), told.len(), "no reference twice");
    gateways.into_iter().for_each(tests::program::Running::terminate);
    let audit = first.operate(&["audit"]);
    assert_eq!((audit["clean"].as_bool(), audit["transactions"].as_u64()), (Some(true), Some(52)), "{audit}");

    // And back into a file, should it ever be needed.
    first.operate(&["backup", "../shared.tlb"]);
    let folder = root.path().join("again");
    fs::create_dir(&folder).unwrap();
    for file in ["keys.tlk", "master.key", "posp-gateway.toml"] {
        fs::copy(alone.folder.join(file), folder.join(file)).unwrap();
    }
    let again = Program { folder };
    let restored = again.operate(&["restore", "../shared.tlb"]);
    assert_eq!(
        (restored["audit"]["clean"].as_bool(), restored["audit"]["transactions"].as_u64()),
        (Some(true), Some(52))
    );
    let gateway = again.serve();
    let mut till = TestTerminal::new(gateway.address, 1, tmks[0].clone());
    till.trace = Stan(700);
    till.sign_in();
    let (_, fresh) = buy(&mut till);
    assert!(!different.contains(&fresh.to_string()));
}

/// Holds a lock in psql until it is dropped.
struct Blocker(Child);

impl Blocker {
    fn on(server: &Server, database: &str, table: &str) -> Self {
        let mut child = server
            .psql_command("postgres", database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.as_mut().unwrap();
        writeln!(input, "BEGIN; LOCK TABLE tapline.{table} IN SHARE MODE; SELECT 'locked';").unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "locked\n");
        Self(child)
    }
}

impl Drop for Blocker {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ended = self.0.wait();
    }
}

/// Rows of all tables that a ledger fills.
fn rows(server: &Server, database: &str) -> u64 {
    ["registry", "merchants", "terminals", "payers", "accounts", "transfers", "transactions", "links"]
        .iter()
        .map(|table| server.sql(database, &format!("SELECT count(*) FROM tapline.{table}")))
        .map(|count| count.parse::<u64>().unwrap())
        .sum()
}

#[test]
fn a_lost_ledger_comes_back_whole_or_not_at_all_and_no_gateway_repeats_a_number_that_had_left() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::start(&[]);
    let lost = server.empty();
    let before = [1, 2, 3].map(|number| {
        let folder = root.path().join(format!("before-{number}"));
        fs::create_dir(&folder).unwrap();
        configure(&folder, &server.url(SERVICE, &lost), &server.url(OWNER, &lost), number);
        Program { folder }
    });
    before[0].operate(&["init"]);
    let tmks = before[0].enrol(server.store(&lost, 1), 3, PAYERS, MONEY);
    for other in &before[1..] {
        for file in ["keys.tlk", "master.key"] {
            fs::copy(before[0].folder.join(file), other.folder.join(file)).unwrap();
        }
    }
    let mut gave_out = BTreeSet::new();
    let till = |place: usize, address, trace: u32| {
        let mut till = TestTerminal::new(address, u32::try_from(place).unwrap() + 1, tmks[place].clone());
        till.trace = Stan(trace);
        till.sign_in();
        till
    };
    let gateways = [before[0].serve(), before[1].serve()];
    let mut tills = [till(0, gateways[0].address, 0), till(1, gateways[1].address, 0)];
    let mut kept = Vec::new();
    for at in &mut tills {
        kept.extend((0..10).map(|_| buy(at)));
    }
    // With two gateways under way. What comes after it will be lost, a third gateway's whole life with it.
    let made = before[0].operate(&["backup", "../ledger.tlb"]);
    assert_eq!(made["audit"]["clean"], true, "{made}");
    let third = before[2].serve();
    let mut tills = tills.into_iter().collect::<Vec<_>>();
    tills.push(till(2, third.address, 0));
    for at in &mut tills {
        gave_out.extend((0..10).map(|_| buy(at).1.to_string()));
    }
    gave_out.extend(kept.iter().map(|(_, reference)| reference.to_string()));
    drop((gateways, third));

    let database = server.empty();
    let after = [1, 2, 3]
        .map(|number| moved(root.path(), &format!("after-{number}"), &before[0], &server, &database, number));
    let refused = |program: &Program, file: &str| {
        let said = program.ask(&["restore", file]);
        assert!(!program.folder.join("keys.restoring").exists());
        said.code().to_owned()
    };
    assert_eq!(refused(&after[0], "../ledger.tlb"), "TL-2032", "no schema yet");
    after[0].operate(&["init"]);
    let early = after[1].serve();
    assert_eq!(refused(&after[0], "../ledger.tlb"), "TL-2017", "a gateway is at work there");
    early.terminate();
    let mut bytes = fs::read(root.path().join("ledger.tlb")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(root.path().join("bad.tlb"), bytes).unwrap();
    assert_eq!(refused(&after[0], "../bad.tlb"), "TL-2015");
    assert_eq!(rows(&server, &database), 0);

    // Killed when everything but the links has gone over.
    let blocker = Blocker::on(&server, &database, "links");
    let mut cut =
        after[0].command().args(["restore", "../ledger.tlb"]).stdout(Stdio::null()).spawn().unwrap();
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tapline.links'::regclass";
    while server.sql(&database, waits) == "0" {
        assert!(cut.try_wait().unwrap().is_none(), "it ended before its end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let said =
        after[1].command().env("TAPLINE_GATEWAY__POSTGRES__WAIT_S", "1").arg("serve").output().unwrap();
    let said = tests::program::said(&said);
    assert!(said.code() == "TL-2030" && said.text.contains("is being restored"), "{}", said.text);
    cut.kill().unwrap();
    cut.wait().unwrap();
    drop(blocker);
    // The server notices in its own time.
    while server
        .sql(&database, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'posp-gateway'")
        != "0"
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(rows(&server, &database), 0, "nothing of it is there");

    let restored = after[0].operate(&["restore", "../ledger.tlb"]);
    assert_eq!(restored["audit"]["clean"], true, "{restored}");
    let skipped: Vec<u64> =
        restored["skipped"].as_array().unwrap().iter().map(|it| it["gateway"].as_u64().unwrap()).collect();
    assert_eq!(skipped, [1, 2]);
    assert_eq!(refused(&after[0], "../ledger.tlb"), "TL-2017", "there is a ledger now");

    let gateways = after.each_ref().map(Program::serve);
    for (place, gateway) in gateways.iter().enumerate() {
        // It forgot what was answered after the backup; its purchases are new ones.
        let mut at = till(place, gateway.address, 1_000);
        for _ in 0..10 {
            let (_, reference) = buy(&mut at);
            assert!(
                gave_out.insert(reference.to_string()),
                "{reference} had left before, at gateway {}",
                place + 1
            );
        }
        for (trace, reference) in kept.iter().skip(place * 10).take(if place < 2 { 10 } else { 0 }) {
            assert_eq!(ask_again(&mut at, *trace), *reference, "what the backup knew is answered as before");
        }
    }
    let audit = after[2].operate(&["audit"]);
    assert_eq!(audit["clean"], true, "{audit}");
    assert_eq!(
        audit["skipped"].as_array().unwrap().len(),
        4,
        "three gateways, and the note of the restore: {audit}"
    );
    gateways.into_iter().for_each(tests::program::Running::terminate);
    assert_eq!(after[1].operate(&["audit"])["exceptions"], Value::Array(vec![]));
}
