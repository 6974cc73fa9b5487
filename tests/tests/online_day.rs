//! A day of one shop against the real gateway: the `gateway` process over TCP with its SQLite ledger, the terminal's own commands, and
//! the real card and SAM applets in memory. Load online, pay offline, torn and recovered, host away and back, upload, settle; then the
//! gateway's audit, and card and ledger compared to the cent.
#![cfg(test)]

use console::Exit;
use std::io;
use std::time::Duration;
use terminal::host::{Wire, tcp};
use tests::outlet::{ISSUER, Outlet, SERIAL};

#[test]
fn a_day_is_loaded_paid_uploaded_and_settled_and_the_books_balance() {
    let day = Outlet::new();
    let gateway = day.gateway();

    let said = day.till(&["topup", "100.00"]);
    assert_eq!(said.exit, Exit::Success, "{said:?}");
    assert_eq!(
        (&said.result()["outcome"], &said.result()["load"]["standing"]),
        (&"loaded".into(), &"confirmed".into()),
        "{said:?}"
    );
    let said = day.till_with(&["topup", "10"], "999999", Box::new(terminal::host::tcp));
    assert_eq!((said.exit, &said.result()["name"]), (Exit::Declined, &"pin-wrong".into()), "{said:?}");

    // The gateway goes away; payments go on.
    drop(gateway);
    assert_eq!(day.till(&["sale", "12.50"]).exit, Exit::Success);
    day.card.lose(0x54);
    let said = day.till(&["sale", "7.30"]);
    assert_eq!(said.exit, Exit::Success, "torn at the debit, back in the field, proved: {said:?}");
    let said = day.till(&["sale", "200"]);
    assert_eq!((said.exit, &said.result()["name"]), (Exit::Declined, &"balance-too-low".into()), "{said:?}");
    let said = day.till(&["topup", "10"]);
    assert_eq!(
        (said.exit, &said.json["error"]["name"]),
        (Exit::Host, &"host-unreachable".into()),
        "{said:?}"
    );
    assert_eq!(day.balance(), 8_020);

    // And comes back.
    let _gateway = day.gateway();
    day.card.lose(0x52);
    let said = day.till(&["topup", "20"]);
    assert_eq!(said.exit, Exit::Success, "the credit's answer was lost; the card proved it: {said:?}");
    assert_eq!(day.balance(), 10_020);
    let said = day.till(&["upload"]);
    assert_eq!(said.exit, Exit::Success, "{said:?}");
    assert_eq!(said.result()["sent"].as_array().unwrap().len(), 2, "{said:?}");
    let said = day.till(&["settle"]);
    assert_eq!((said.exit, &said.result()["outcome"]), (Exit::Success, &"balanced".into()), "{said:?}");
    let counted = &said.result()["gateway"];
    assert_eq!(
        (&counted["payments"]["amount"]["minor"], &counted["loads"]["amount"]["minor"]),
        (&1980.into(), &12_000.into()),
        "{said:?}"
    );
    let said = day.till(&["settle"]);
    assert_eq!(
        (said.exit, &said.result()["batch"]),
        (Exit::Success, &2.into()),
        "the next batch is another: {said:?}"
    );
    assert_eq!(day.books_agree(), (12_000, 1_980));
}

/// A connection whose terminal never hears the answer to its second message: the load.
struct Deaf(Box<dyn Wire>, u32);

impl Wire for Deaf {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.1 += 1;
        self.0.send(bytes)
    }

    fn receive(&mut self, into: &mut [u8], wait: Duration) -> io::Result<usize> {
        let length = self.0.receive(into, wait)?;
        if self.1 < 2 { Ok(length) } else { Err(io::ErrorKind::ConnectionReset.into()) }
    }
}

#[test]
fn an_operator_finds_a_load_without_end_by_its_card_and_releases_it_beside_the_running_gateway() {
    let day = Outlet::new();
    let _gateway = day.gateway();
    let said = day.till_over(
        &["topup", "100.00"],
        Box::new(|address, wait| Ok(Box::new(Deaf(tcp(address, wait)?, 0)))),
    );
    assert_ne!(said.exit, Exit::Success, "{said:?}");
    assert_eq!(day.till(&["upload"]).exit, Exit::Success, "its reversal is taken; the hold stays");

    let card = || day.operate(&["report", "card", SERIAL, "--issuer", ISSUER]);
    let open = card();
    let newest = open["open_reference"].as_str().unwrap().to_owned();
    let release = |counter: &str| {
        let name =
            ["card", "release", SERIAL, "--issuer", ISSUER, "--counter", counter, "--reference", &newest];
        day.operation(&name)
    };
    assert_eq!((&open["open_loads"], &open["open_counter"]), (&10_000.into(), &0.into()), "{open}");
    let (released, said) = release("7");
    assert!(!released && said["error"]["name"] == "gateway-refused", "{said}");
    let (released, said) = release("0");
    assert!(released, "{said}");
    let result = &said["result"];
    assert_eq!(
        (&said["command"], &result["amount"]),
        (&"card release".into(), &"100.00 CNY".into()),
        "{said}"
    );
    let open = card();
    assert_eq!((&open["open_loads"], &open["open_counter"]), (&0.into(), &serde_json::Value::Null), "{open}");
    let alerts = day.operate(&["report", "alerts"]);
    assert_eq!(alerts["alerts"][0]["kind"], "load-released", "{alerts}");
    let (released, said) = release("0");
    assert!(released && said["result"]["existed"] == true, "{said}");

    // The card had not been credited; its next load goes on as ever.
    let said = day.till(&["topup", "20"]);
    assert_eq!(said.exit, Exit::Success, "{said:?}");
    assert_eq!(day.books_agree(), (2_000, 0));
}
