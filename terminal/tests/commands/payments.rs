//! Payments that go well, and interrupted ones.

use crate::fakes::{Purse, Sam, SamManner, Tear};
use crate::till::{Till, no_readers};
use console::Exit;
use hardware::{Atr, MemoryReader};
use terminal::devices::Devices;

#[test]
fn a_sale_whose_receipt_nobody_can_read_ends_as_what_it_is() {
    let (mut till, purse) = (Till::new(), Purse::new(10_000));
    till.full_output = true;
    let paid = till.tap(&["sale", "12.50"], &purse, SamManner::Good);
    assert_eq!((paid.exit, purse.state().balance), (Exit::Success, 8_750), "{}", paid.err);
    assert!(paid.err.contains("TL-1008") && paid.err.contains("Do not repeat"), "{}", paid.err);
    let declined = till.tap(&["sale", "400"], &purse, SamManner::Good);
    assert_eq!((declined.exit, purse.state().balance), (Exit::Declined, 8_750), "{}", declined.err);
    let read = till.run(&["history"], no_readers());
    assert_eq!(read.exit, Exit::Storage, "{}", read.err);
    till.full_output = false;
    assert_eq!(till.history()["payments"].as_array().unwrap().len(), 1);
}

#[test]
fn a_sale_takes_the_amount_once_books_it_and_prints_a_receipt() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    let said = till.tap(&["sale", "12.50"], &purse, SamManner::Good);
    assert_eq!(said.exit, Exit::Success, "{}{}", said.out, said.err);
    assert_eq!(purse.state().balance, 8_750);
    for part in [
        "Approved: 12.50 CNY",
        "Tapline Demo Kiosk",
        "T0000001",
        "2026-11-22",
        "18:30:05",
        "6217************7890",
        "7A7A7A7A7A7A7A7A",
        "100.00 CNY",
        "87.50 CNY",
    ] {
        assert!(said.out.contains(part), "{part} is missing:\n{}", said.out);
    }
    assert!(said.err.contains("Present card: 12.50 CNY"), "{}", said.err);
    assert!(!said.out.contains("62170000001234567890") && !said.out.contains("2035"));
    let history = till.history();
    assert_eq!(history["taken"], 1);
    assert_eq!(history["amount"]["minor"], 1250);
    assert_eq!(history["payments"][0]["time"], "2026-11-22T18:30:05+08:00");
}

#[test]
fn a_script_gets_the_payment_as_json() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    let said = till.tap(&["--json", "sale", "12.50"], &purse, SamManner::Good);
    let json = said.json();
    assert_eq!((&json["command"], &json["ok"]), (&"sale".into(), &true.into()));
    let result = &json["result"];
    assert_eq!((&result["outcome"], &result["exit"]), (&"approved".into(), &0.into()));
    let payment = &result["payment"];
    assert_eq!(payment["amount"]["minor"], 1250);
    assert_eq!(payment["before"]["minor"], 10_000);
    assert_eq!(payment["after"]["minor"], 8_750);
    assert_eq!(payment["sequence"], 17);
    assert_eq!(payment["standing"], "approved");
    assert_eq!(said.err, "");
}

#[test]
fn a_balance_inquiry_changes_nothing() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    let said = till.tap(&["balance"], &purse, SamManner::Good);
    assert_eq!(said.exit, Exit::Success);
    assert!(said.out.contains("Balance: 100.00 CNY"), "{}", said.out);
    assert_eq!(purse.taken(), (10_000, 0));
    let json = till.tap(&["--json", "balance"], &purse, SamManner::Good).json();
    assert_eq!(json["result"]["card"]["balance"]["minor"], 10_000);
}

#[test]
fn a_receipt_can_be_printed_again() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    till.tap(&["sale", "12.50"], &purse, SamManner::Good);
    let said = till.run(&["history", "--receipt", "1"], no_readers());
    for part in ["COPY", "12.50 CNY", "87.50 CNY", "7A7A7A7A7A7A7A7A", "APPROVED"] {
        assert!(said.out.contains(part), "{part} is missing:\n{}", said.out);
    }
    assert_eq!(till.run(&["history", "--receipt", "9"], no_readers()).exit, Exit::Usage);
}

#[test]
fn a_tear_after_the_debit_is_recovered_in_the_same_payment_without_a_second_debit() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    {
        let mut state = purse.state();
        state.tear = Some(Tear::AfterDebit);
        // The card stays in the field: only the answer is lost.
        state.leaves = false;
    }
    let said = till.tap(&["--json", "sale", "12.50"], &purse, SamManner::Good);
    let json = said.json();
    assert_eq!(json["result"]["payment"]["standing"], "recovered", "{}", said.out);
    assert_eq!(purse.taken(), (8_750, 1));
    assert_eq!(till.history()["amount"]["minor"], 1250);
}

#[test]
fn a_tear_before_the_debit_pays_afresh_and_books_once() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    {
        let mut state = purse.state();
        state.tear = Some(Tear::BeforeDebit);
        state.leaves = false;
    }
    let said = till.tap(&["sale", "12.50"], &purse, SamManner::Good);
    assert_eq!(said.exit, Exit::Success, "{}{}", said.out, said.err);
    assert!(said.out.contains("had not been taken"), "{}", said.out);
    assert_eq!(purse.taken(), (8_750, 1));
    let history = till.history();
    assert_eq!((&history["taken"], &history["amount"]["minor"]), (&1.into(), &1250.into()));
}

#[test]
fn a_card_that_refuses_the_sams_proof_blames_the_sam_until_the_sam_has_proved_itself_with_another_card() {
    let till = Till::new();
    let [odd, good] =
        ["62170000001234567890", "62170000001234567891"].map(|asn| Purse::with_serial(asn, 10_000));
    odd.state().distrusts_sam = true;
    let refused = |exit| {
        let said = till.tap(&["--json", "sale", "12.50"], &odd, SamManner::Good);
        assert_eq!((said.exit, odd.taken()), (exit, (10_000, 0)), "{}", said.out);
        assert_eq!(till.history()["uncertain"], 0);
        said.json()["result"].clone()
    };
    let said = refused(Exit::Unavailable);
    assert_eq!((&said["code"], &said["outcome"]), (&"TL-1307".into(), &"not-taken".into()));
    let what = said["what"].as_str().unwrap();
    assert!(what.contains("000000000042") && what.contains("5441504C494E4500"), "{what}");
    assert!(said["next"].as_str().unwrap().contains("Test Reader 00 01"), "{said}");

    assert_eq!(till.tap(&["sale", "12.50"], &good, SamManner::Good).exit, Exit::Success);
    let said = refused(Exit::OtherCard);
    assert_eq!(said["code"], "TL-1221");
    let next = said["next"].as_str().unwrap();
    assert!(next.contains("7890") && next.contains("Test Reader 00 01"), "{next}");
}

/// The card is torn away and stays away: the payment ends as uncertain, in the words of "same card again".
pub(crate) fn interrupted(till: &Till, purse: &Purse, tear: Tear) {
    purse.state().tear = Some(tear);
    let (card, sam) = (purse.clone(), Sam::new(SamManner::Good));
    // The cashier cancels once the card is away.
    let said = till.run(
        &["--json", "sale", "12.50"],
        Box::new(move || {
            let atr = Atr::new(&[0x3B, 0x00]).unwrap();
            let reader = MemoryReader::new("Test Reader 00 00", atr, card.clone());
            let canceller = hardware::CardReader::canceller(&reader);
            let torn = card.clone();
            std::thread::spawn(move || {
                while !torn.state().torn {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                canceller.cancel();
            });
            Ok(Devices::new(reader, MemoryReader::new("Test Reader 00 01", atr, sam.clone())))
        }),
    );
    let json = said.json();
    assert_eq!(json["result"]["outcome"], "same-card-again", "{}", said.out);
    assert_eq!(said.exit, Exit::SameCard);
    assert!(json["result"]["next"].as_str().unwrap().contains("7890"));
    assert_eq!(till.history()["uncertain"], 1);
}

#[test]
fn a_restarted_terminal_finds_out_what_became_of_a_torn_debit_and_takes_nothing_more() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    interrupted(&till, &purse, Tear::AfterDebit);
    let balance = till.tap(&["balance"], &purse, SamManner::Good);
    assert!(balance.out.contains("was interrupted"), "{}", balance.out);
    let said = till.tap(&["sale", "3"], &purse, SamManner::Good);
    assert_eq!(said.exit, Exit::EarlierPaid, "{}{}", said.out, said.err);
    assert!(
        said.out.contains("TL-1216") && said.out.contains("Recovered after an interruption"),
        "{}",
        said.out
    );
    assert_eq!(purse.taken(), (8_750, 1));
    let history = till.history();
    assert_eq!(
        (&history["taken"], &history["amount"]["minor"], &history["uncertain"]),
        (&1.into(), &1250.into(), &0.into())
    );
}

#[test]
fn a_restarted_terminal_voids_a_debit_that_never_reached_the_card_and_takes_the_new_payment() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    interrupted(&till, &purse, Tear::BeforeDebit);
    let json = till.tap(&["--json", "sale", "3"], &purse, SamManner::Good).json();
    assert_eq!(json["result"]["outcome"], "approved");
    assert_eq!(json["result"]["recovered"][0]["standing"], "void");
    assert_eq!(purse.state().balance, 9_700);
    let history = till.history();
    assert_eq!((&history["taken"], &history["amount"]["minor"]), (&1.into(), &300.into()));
}

#[test]
fn an_interrupted_debit_of_one_card_does_not_stop_another_card() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    interrupted(&till, &purse, Tear::AfterDebit);
    let other = Purse::with_serial("62170000001234560001", 5_000);
    assert_eq!(till.tap(&["sale", "3"], &other, SamManner::Good).exit, Exit::Success);
    let history = till.history();
    assert_eq!((&history["taken"], &history["uncertain"]), (&1.into(), &1.into()));
}

#[test]
fn a_card_lost_before_its_intent_is_stored_is_simply_presented_again() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    {
        let mut state = purse.state();
        state.tear = Some(Tear::AfterInit);
        state.leaves = false;
    }
    let said = till.tap(&["sale", "12.50"], &purse, SamManner::Good);
    assert_eq!(said.exit, Exit::Success);
    assert!(said.err.contains("nothing was taken. Present the card again"), "{}", said.err);
    assert_eq!(purse.state().debits, 1);
}

#[test]
fn a_wrong_proof_is_uncertain_keeps_its_record_and_pauses_the_card() {
    let (mut till, purse) = (Till::new(), Purse::new(10_000));
    let said = till.tap(&["--json", "sale", "12.50"], &purse, SamManner::Distrusts);
    assert_eq!(said.exit, Exit::Uncertain, "{}", said.out);
    assert_eq!(said.json()["result"]["code"], "TL-1215");
    let history = till.history();
    assert_eq!(
        (&history["uncertain"], &history["payments"][0]["tac"]),
        (&1.into(), &"7A7A7A7A7A7A7A7A".into())
    );
    let again = till.tap(&["--json", "sale", "1"], &purse, SamManner::Good);
    assert_eq!(again.json()["result"]["code"], "TL-1214", "{}", again.out);
    till.wall.0 += 61_000;
    assert_eq!(till.tap(&["sale", "1"], &purse, SamManner::Good).exit, Exit::Success);
}

#[test]
fn a_sam_lost_after_the_debit_is_never_called_nothing_taken() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    let said = till.tap(&["--json", "sale", "12.50"], &purse, SamManner::DiesAtCheck);
    assert_eq!(said.exit, Exit::Uncertain, "{}", said.out);
    assert_eq!(till.history()["uncertain"], 1);
}
