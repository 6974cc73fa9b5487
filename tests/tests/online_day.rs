//! A day of one shop against the real gateway: the `gateway` process over TCP with its SQLite ledger, the terminal's own commands, and
//! the real card and SAM applets in memory. Load online, pay offline, torn and recovered, host away and back, upload, settle; then the
//! gateway's audit, and card and ledger compared to the cent.
#![cfg(test)]

use console::Exit;
use tests::outlet::Outlet;

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
