//! What an operator of the gateway does beside it and alone: card numbers for accounts, and limits with what is used of them.
#![cfg(test)]

use backend::store::sqlite::SqliteStore;
use protocol::iso8583::typed::ResponseCode;
use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;
use tests::acquirer::{TestTerminal, pan};
use tests::program::{Program, Said, said};

/// A program over SQLite in a folder of its own, with `init` done.
fn program(root: &std::path::Path) -> Program {
    let program = Program { folder: root.to_path_buf() };
    program.operate(&["init"]);
    program
}

/// `payer add`, with this on its standard input.
fn add_payer(program: &Program, account: &str, input: &str) -> Said {
    let mut command = program.command();
    command
        .args(["payer", "add", account])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let said = said(&child.wait_with_output().unwrap());
    let digits = input.trim();
    assert!(digits.len() < 8 || !said.text.contains(digits), "the number is shown nowhere: {}", said.text);
    said
}

/// The line of one limit.
fn limit<'l>(list: &'l Value, scope: &str) -> &'l Value {
    list["limits"].as_array().unwrap().iter().find(|line| line["scope"] == scope).unwrap()
}

#[test]
fn a_card_number_is_registered_from_standard_input_and_pays_within_limits_that_are_listed() {
    let root = tempfile::tempdir().unwrap();
    let program = program(root.path());
    let store = SqliteStore::open(&root.path().join("gateway.db")).unwrap();
    let tmks = program.enrol(store, 2, 1, 1_000_000);
    assert_eq!(program.operate(&["limit", "list"])["limits"], json!([]));
    program.operate(&["funding", "add", "bank:77"]);
    program.operate(&["funding", "deposit", "bank:77", "500.00", "--reference", "9001"]);

    // Alone, and again beside the running gateway.
    let added = add_payer(&program, "bank:77", &format!("{}\n", pan(77)));
    assert_eq!(added.exit, 0, "{}", added.text);
    let result = &added.json["result"];
    assert_eq!((&result["pan"], &result["existed"]), (&json!("000000******0077"), &json!(false)));
    let token = result["token"].as_str().unwrap().to_owned();
    let gateway = program.serve();
    let again = add_payer(&program, "bank:77", &pan(77));
    assert_eq!(
        (&again.json["result"]["token"], &again.json["result"]["existed"]),
        (&json!(token), &json!(true))
    );
    let other = add_payer(&program, "bank:1", &pan(77));
    assert_eq!(other.code(), "TL-2008", "it draws on another account: {}", other.text);
    assert!(other.text.contains("000000******0077"), "{}", other.text);
    for wrong in ["", "1234567\n", "0000000000000000077x\n", "00000000000000000077\n"] {
        assert_eq!(add_payer(&program, "bank:77", wrong).code(), "TL-2013", "{wrong:?}");
    }

    for limits in [
        "--account bank:77 --payment 200.00 --day-sum 300.00 --day-count 3",
        "--terminal T0000001 --day-count 20",
        "--merchant M00000000000001 --day-sum 100000.00",
        "--kind carrier --payment 2.00",
    ] {
        let words: Vec<&str> = ["limit", "set"].into_iter().chain(limits.split(' ')).collect();
        program.operate(&words);
    }
    let mut till = TestTerminal::new(gateway.address, 1, tmks[0].clone());
    till.sign_in();
    let mut pay = |minor: u64| {
        let trace = till.next_trace();
        let frame = till.purchase_frame(trace, 77, minor);
        till.ask(&frame).code()
    };
    assert_eq!((pay(15_000), pay(10_000)), (ResponseCode::APPROVED, ResponseCode::APPROVED));
    assert_eq!(pay(5_001), ResponseCode::AMOUNT_LIMIT);

    let expected = [
        json!({"scope": "account", "name": "bank:77", "currency": "CNY", "payment": "200.00 CNY",
            "day_sum": "300.00 CNY", "day_count": 3, "used_sum": "250.00 CNY", "used_count": 2}),
        json!({"scope": "terminal", "name": "T0000001", "currency": "CNY", "payment": null,
            "day_sum": null, "day_count": 20, "used_sum": "250.00 CNY", "used_count": 2}),
        json!({"scope": "merchant", "name": "M00000000000001", "currency": "CNY", "payment": null,
            "day_sum": "100000.00 CNY", "day_count": null, "used_sum": "250.00 CNY", "used_count": 2}),
        json!({"scope": "kind", "name": "carrier", "currency": null, "payment": "200",
            "day_sum": null, "day_count": null, "used_sum": null, "used_count": null}),
    ];
    let beside = program.operate(&["limit", "list"]);
    for line in &expected {
        assert_eq!(limit(&beside, line["scope"].as_str().unwrap()), line);
    }
    let few = program.operate(&["limit", "list", "--limit", "3"]);
    assert_eq!((few["limits"].as_array().unwrap().len(), &few["more"]), (3, &json!(true)));
    assert_eq!(beside["more"], json!(false));
    gateway.terminate();
    assert_eq!(program.operate(&["limit", "list"]), beside, "the same alone");
    let found = program.operate(&["report", "transaction", "--payer", &token]);
    assert_eq!(found["transactions"].as_array().unwrap().len(), 3, "{found}");
}
