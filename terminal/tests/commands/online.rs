//! Loads, uploads and settlements against a gateway that loses what it can lose. Each command is a terminal that starts anew on
//! the journal of the one before; whatever happens, card and gateway agree in the end, once.

use crate::fakes::{Purse, Sam, SamManner, Tear};
use crate::gateway::{Gateway, Held, Lose};
use crate::payments::interrupted;
use crate::provisioning::provisioned;
use crate::till::{Said, Till, devices, no_readers};
use console::Exit;
use hardware::{Atr, MemoryReader};
use protocol::iso8583::Mti;
use protocol::iso8583::f58::{ItemSide, RecordState};
use protocol::iso8583::typed::ResponseCode;
use terminal::devices::Devices;

fn with_pin(mut till: Till, pin: &str) -> Till {
    till.environment.insert("TAPLINE_PIN".into(), pin.into());
    till
}

fn till() -> Till {
    with_pin(provisioned(), "1234")
}

fn topup(till: &Till, gateway: &Gateway, purse: &Purse, args: &[&str]) -> Said {
    let purse = purse.clone();
    till.dial(args, Box::new(move || Ok(devices(&purse, &Sam::new(SamManner::Good)))), gateway.dial())
}

fn desk(till: &Till, gateway: &Gateway, args: &[&str]) -> Said {
    till.dial(args, no_readers(), gateway.dial())
}

/// Sends what waits and settles; card and gateway must agree then.
fn settles(till: &Till, gateway: &Gateway, purse: &Purse, start: u32) {
    let said = desk(till, gateway, &["--json", "settle"]);
    assert_eq!(said.exit, Exit::Success, "{}{}", said.out, said.err);
    assert_eq!(said.json()["result"]["outcome"], "balanced", "{}", said.out);
    let (loaded, undecided) = gateway.loaded();
    assert_eq!(undecided, 0, "a hold that nobody decided about");
    assert_eq!(purse.state().balance, start + loaded - gateway.paid(), "card and gateway agree");
    assert_eq!(gateway.books().refused, Vec::<String>::new());
    let checks = till.dial(&["--json", "doctor"], no_devices(), gateway.dial()).json();
    let journal =
        checks["result"].as_array().unwrap().iter().find(|check| check["name"] == "journal").unwrap();
    assert_ne!(journal["verdict"], "bad", "{journal}");
}

fn no_devices() -> Box<dyn Fn() -> Result<Devices, console::Failure>> {
    Box::new(|| Err(console::Failure::new(console::code::NO_READER)))
}

#[test]
fn a_load_is_credited_confirmed_settled_and_on_its_receipt() {
    let (till, gateway, purse) = (till(), Gateway::new(), Purse::new(500));
    let said = topup(&till, &gateway, &purse, &["topup", "100.00"]);
    assert_eq!(said.exit, Exit::Success, "{}{}", said.out, said.err);
    for part in [
        "Loaded: 100.00 CNY",
        "LOADED",
        "105.00 CNY",
        "7C7C7C7C7C7C7C7C",
        "Reference",
        "6217************7890",
    ] {
        assert!(said.out.contains(part), "{part} is missing:\n{}", said.out);
    }
    assert!(!said.out.contains("1234 ") && !said.err.contains("1234\n"));
    assert_eq!((purse.state().balance, gateway.loaded()), (10_500, (10_000, 0)));
    till.tap(&["sale", "12.50"], &purse, SamManner::Good);
    let uploaded = desk(&till, &gateway, &["--json", "upload"]).json();
    assert_eq!(uploaded["result"]["sent"][0]["host_code"], "00", "{uploaded}");
    assert_eq!(gateway.paid(), 1250);
    let history = till.history();
    assert_eq!(history["payments"][0]["host_code"], "00");
    assert_eq!(history["loads"][0]["standing"], "confirmed");
    assert!(till.run(&["history"], no_readers()).out.contains("100.00 CNY"));
    settles(&till, &gateway, &purse, 500);
    assert_eq!(gateway.books().closed, [7]);
    // The next batch is open and known.
    settles(&till, &gateway, &purse, 500);
    assert_eq!(gateway.books().closed, [7, 8]);
}

#[test]
fn a_wrong_pin_costs_a_try_and_a_blocked_one_is_told_without_asking_the_gateway() {
    let (gateway, purse) = (Gateway::new(), Purse::new(500));
    let wrong = with_pin(provisioned(), "4321");
    let json = topup(&wrong, &gateway, &purse, &["--json", "topup", "100"]).json();
    assert_eq!(
        (&json["result"]["name"], &json["result"]["outcome"]),
        (&"pin-wrong".into(), &"declined".into())
    );
    assert!(json["result"]["what"].as_str().unwrap().contains('2'), "{json}");
    topup(&wrong, &gateway, &purse, &["topup", "100"]);
    topup(&wrong, &gateway, &purse, &["topup", "100"]);
    let said = topup(&wrong, &gateway, &purse, &["topup", "100"]);
    assert_eq!((said.exit, said.out.contains("TL-1602")), (Exit::Declined, true), "{}", said.out);
    let said = topup(&with_pin(provisioned(), "12"), &gateway, &purse, &["topup", "100"]);
    assert_eq!((said.exit, said.err.contains("TL-1618")), (Exit::Usage, true), "{}", said.err);
    assert!(gateway.books().loads.is_empty());
}

#[test]
fn a_gateway_that_declines_is_quoted_and_nothing_is_loaded() {
    let (till, gateway, purse) = (till(), Gateway::new(), Purse::new(500));
    gateway.books().code = Some((Mti::FINANCIAL, ResponseCode::FUNDS));
    let said = topup(&till, &gateway, &purse, &["topup", "100"]);
    assert_eq!(
        (
            said.exit,
            said.out.contains("TL-1603"),
            said.out.contains("not enough money in the account (response code 51)")
        ),
        (Exit::Declined, true, true),
        "{}",
        said.out
    );
    gateway.books().code = None;
    settles(&till, &gateway, &purse, 500);
    assert_eq!(purse.state().credits, 0);
}

#[test]
fn a_gateway_that_is_down_or_a_stranger_is_told_before_the_card_is_asked() {
    let (till, gateway, purse) = (till(), Gateway::new(), Purse::new(500));
    gateway.books().up = false;
    for args in [&["topup", "100"][..], &["upload"], &["settle"]] {
        let said = topup(&till, &gateway, &purse, args);
        assert_eq!((said.exit, said.err.contains("TL-1615")), (Exit::Host, true), "{}{}", said.out, said.err);
    }
    gateway.books().up = true;
    gateway.books().code = Some((Mti::MANAGEMENT, ResponseCode::UNKNOWN_TERMINAL));
    let said = topup(&till, &gateway, &purse, &["topup", "100"]);
    assert!(said.err.contains("TL-1616") && said.err.contains("97"), "{}", said.err);
    gateway.books().code = None;
    gateway.books().tmk = [0x77; 16];
    let said = topup(&till, &gateway, &purse, &["topup", "100"]);
    assert!(said.err.contains("TL-1616") && said.err.contains("A0"), "another key: {}", said.err);
    gateway.books().tmk = crate::gateway::TMK;
    gateway.books().forged = true;
    let said = topup(&till, &gateway, &purse, &["topup", "100"]);
    assert_eq!(said.exit, Exit::Host, "an answer without a right MAC proves nothing: {}", said.err);
    assert!(gateway.books().loads.is_empty());
    assert_eq!(purse.state().online, 9);
}

#[test]
fn a_load_whose_request_or_answer_was_lost_is_reversed_and_can_be_made_again() {
    for what in [Lose::Request, Lose::Answer] {
        let (till, gateway, purse) = (till(), Gateway::new(), Purse::new(500));
        gateway.lose(Mti::FINANCIAL, what);
        let said = topup(&till, &gateway, &purse, &["topup", "100"]);
        assert_eq!(
            (said.exit, said.out.contains("TL-1604")),
            (Exit::Host, true),
            "{what:?}: {}{}",
            said.out,
            said.err
        );
        assert_eq!((purse.state().balance, gateway.loaded()), (500, (0, 0)), "{what:?}");
        assert_eq!(topup(&till, &gateway, &purse, &["topup", "100"]).exit, Exit::Success, "{what:?}");
        settles(&till, &gateway, &purse, 500);
        assert_eq!(purse.state().balance, 10_500);
    }
}

#[test]
fn a_reversal_that_is_lost_waits_and_goes_before_the_next_load() {
    for what in [Lose::Request, Lose::Answer] {
        let (till, gateway, purse) = (till(), Gateway::new(), Purse::new(500));
        gateway.lose(Mti::FINANCIAL, Lose::Answer);
        gateway.lose(Mti::REVERSAL, what);
        // Its repeats too: the first command ends with the reversal open.
        gateway.lose(Mti::REVERSAL_REPEAT, what);
        gateway.lose(Mti::REVERSAL_REPEAT, what);
        topup(&till, &gateway, &purse, &["topup", "100"]);
        let said = topup(&till, &gateway, &purse, &["topup", "30"]);
        assert_eq!(said.exit, Exit::Success, "{what:?}: {}{}", said.out, said.err);
        let seen = gateway.books().seen.clone();
        let reversal =
            seen.iter().rposition(|mti| matches!(*mti, Mti::REVERSAL | Mti::REVERSAL_REPEAT)).unwrap();
        let load = seen.iter().rposition(|mti| *mti == Mti::FINANCIAL).unwrap();
        assert!(reversal < load, "{seen:?}");
        settles(&till, &gateway, &purse, 500);
        assert_eq!(purse.state().balance, 3_500);
    }
}

#[test]
fn a_confirmation_that_is_lost_is_sent_again_and_booked_once() {
    for what in [Lose::Request, Lose::Answer] {
        let (till, gateway, purse) = (till(), Gateway::new(), Purse::new(500));
        for _ in 0..3 {
            gateway.lose(Mti::ADVICE, what);
        }
        let said = topup(&till, &gateway, &purse, &["topup", "100"]);
        assert_eq!(said.exit, Exit::Success, "the card has the money: {}", said.out);
        settles(&till, &gateway, &purse, 500);
        assert_eq!(gateway.loaded(), (10_000, 0), "{what:?}");
    }
}

/// A card that is torn away at CREDIT and stays away.
fn torn(till: &Till, gateway: &Gateway, purse: &Purse, tear: Tear) {
    purse.state().tear = Some(tear);
    let card = purse.clone();
    let opening = move || {
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
        Ok(Devices::new(reader, MemoryReader::new("Test Reader 00 01", atr, Sam::new(SamManner::Good))))
    };
    let said = till.dial(&["topup", "100"], Box::new(opening), gateway.dial());
    assert_eq!((said.exit, said.out.contains("TL-1621")), (Exit::SameCard, true), "{}{}", said.out, said.err);
}

#[test]
fn a_card_torn_away_at_the_credit_shows_at_its_next_load_what_became_of_it() {
    let (till, gateway, purse) = (till(), Gateway::new(), Purse::new(500));
    torn(&till, &gateway, &purse, Tear::AfterCredit);
    assert_eq!(gateway.loaded(), (0, 1), "no reversal: the card may have the money");
    let json = topup(&till, &gateway, &purse, &["--json", "topup", "30"]).json();
    assert_eq!(
        (&json["result"]["outcome"], &json["result"]["name"]),
        (&"earlier-paid".into(), &"load-earlier".into())
    );
    assert_eq!(purse.state().balance, 10_500);
    settles(&till, &gateway, &purse, 500);
}

#[test]
fn a_card_torn_away_before_the_credit_is_loaded_anew_and_the_earlier_load_is_reversed() {
    let (till, gateway, purse) = (till(), Gateway::new(), Purse::new(500));
    torn(&till, &gateway, &purse, Tear::BeforeCredit);
    let said = topup(&till, &gateway, &purse, &["topup", "30"]);
    assert_eq!(
        said.exit,
        Exit::Success,
        "the card showed that it was not credited: {}{}",
        said.out,
        said.err
    );
    settles(&till, &gateway, &purse, 500);
    assert_eq!((purse.state().balance, gateway.loaded()), (3_500, (3_000, 0)));
}

#[test]
fn a_load_whose_card_stays_away_for_a_day_is_named_until_the_card_is_back() {
    let (mut till, gateway, purse) = (till(), Gateway::new(), Purse::new(500));
    torn(&till, &gateway, &purse, Tear::AfterCredit);
    let loads = |till: &Till| {
        let checks = till.dial(&["--json", "doctor"], no_devices(), gateway.dial()).json();
        let checks = checks["result"].as_array().unwrap();
        let loads: Vec<_> = checks.iter().filter(|check| check["name"] == "loads").cloned().collect();
        (loads, till.history()["loads_without_end"].as_array().unwrap().len())
    };
    let hour_ms = 3_600_000;
    till.wall.0 += 24 * hour_ms;
    let (checks, listed) = loads(&till);
    assert_eq!((checks.len(), &checks[0]["verdict"], listed), (1, &"good".into(), 0), "not before its time");

    till.wall.0 += 1000;
    let (checks, listed) = loads(&till);
    assert_eq!((checks.len(), listed), (1, 1), "{checks:?}");
    assert_eq!((&checks[0]["verdict"], &checks[0]["code"]), (&"note".into(), &"TL-1630".into()));
    for part in ["100.00 CNY", "2026-11-22 18:30:05", "6217************7890"] {
        assert!(checks[0]["what"].as_str().unwrap().contains(part), "{part} is missing: {}", checks[0]);
    }
    let load = &till.history()["loads_without_end"][0];
    assert_eq!(
        (&load["name"], &load["load"]["standing"]),
        (&"load-without-end".into(), &"credit-sent".into())
    );
    let said = till.run(&["history", "--from", "2026-11-23"], no_readers());
    assert!(said.out.contains("TL-1630") && said.out.contains("posp-gateway card release"), "{}", said.out);
    till.environment.insert("TAPLINE_LANG".into(), "zh-CN".into());
    assert!(till.run(&["history"], no_readers()).out.contains("一直未再出现"));
    till.environment.remove("TAPLINE_LANG");
    // It holds up no settlement, and settlement says so too.
    let said = desk(&till, &gateway, &["settle"]);
    assert!(said.exit == Exit::Success && said.out.contains("TL-1630"), "{}{}", said.out, said.err);
    let settled = desk(&till, &gateway, &["--json", "settle"]).json();
    assert_eq!(settled["result"]["loads_without_end"][0]["code"], "TL-1630", "{settled}");

    // The card comes back and tells.
    let json = topup(&till, &gateway, &purse, &["--json", "topup", "30"]).json();
    assert_eq!(json["result"]["name"], "load-earlier", "{json}");
    let (checks, listed) = loads(&till);
    assert_eq!((&checks[0]["verdict"], listed), (&"good".into(), 0));
}

#[test]
fn a_card_that_leaves_for_a_moment_at_the_credit_is_asked_and_loaded_once() {
    for tear in [Tear::BeforeCredit, Tear::AfterCredit] {
        let (till, gateway, purse) = (till(), Gateway::new(), Purse::new(500));
        {
            let mut state = purse.state();
            state.tear = Some(tear);
            state.leaves = false;
        }
        let said = topup(&till, &gateway, &purse, &["topup", "100"]);
        let loaded = tear == Tear::AfterCredit;
        assert_eq!(said.exit == Exit::Success, loaded, "{tear:?}: {}{}", said.out, said.err);
        settles(&till, &gateway, &purse, 500);
        assert_eq!(purse.state().balance, if loaded { 10_500 } else { 500 });
    }
}

#[test]
fn uploads_whose_answers_are_lost_are_booked_once() {
    for what in [Lose::Request, Lose::Answer] {
        let (till, gateway, purse) = (till(), Gateway::new(), Purse::new(10_000));
        let sam = Sam::new(SamManner::Good);
        for amount in ["12.50", "3", "0.01"] {
            let (card, sam) = (purse.clone(), sam.clone());
            till.run(&["sale", amount], Box::new(move || Ok(devices(&card, &sam))));
        }
        gateway.lose(Mti::UPLOAD, what);
        gateway.lose(Mti::MANAGEMENT, what);
        let said = desk(&till, &gateway, &["upload"]);
        assert_eq!(said.exit, Exit::Success, "{what:?}: {}{}", said.out, said.err);
        let again = desk(&till, &gateway, &["--json", "upload"]).json();
        assert_eq!(again["result"]["sent"].as_array().unwrap().len(), 0, "nothing waits any more");
        assert_eq!(gateway.paid(), 1551);
        settles(&till, &gateway, &purse, 10_000);
    }
}

#[test]
fn a_settlement_that_differs_is_closed_once_and_both_sides_are_told() {
    let (till, gateway, purse) = (till(), Gateway::new(), Purse::new(10_000));
    assert_eq!(topup(&till, &gateway, &purse, &["topup", "100"]).exit, Exit::Success);
    till.tap(&["sale", "12.50"], &purse, SamManner::Good);
    // Refused and reversed loads do not count.
    gateway.lose(Mti::FINANCIAL, Lose::Answer);
    topup(&till, &gateway, &purse, &["topup", "30"]);
    gateway.books().miscounts = 50;
    let said = desk(&till, &gateway, &["settle"]);
    assert_eq!((said.exit, said.out.contains("TL-1627")), (Exit::Host, true), "{}{}", said.out, said.err);
    assert!(
        said.out.contains("12.50 CNY") && said.out.contains("12.00 CNY") && said.out.contains("DIFFER"),
        "{}",
        said.out
    );
    assert_eq!(gateway.books().closed, [7]);
    let items: Vec<_> = gateway.books().items.iter().map(|item| (item.side, item.minor)).collect();
    assert_eq!(items, [(ItemSide::Debit, 1250), (ItemSide::Load, 10_000)]);
    assert_eq!(gateway.paid(), 1250, "naming the items books nothing twice");
    gateway.books().miscounts = 0;
    settles(&till, &gateway, &purse, 10_000);
}

#[test]
fn a_settlement_whose_answer_is_lost_is_not_made_twice() {
    for what in [Lose::Request, Lose::Answer] {
        let (till, gateway, purse) = (till(), Gateway::new(), Purse::new(10_000));
        till.tap(&["sale", "12.50"], &purse, SamManner::Good);
        gateway.lose(Mti::SETTLEMENT, what);
        let json = desk(&till, &gateway, &["--json", "settle"]).json();
        let expected = if what == Lose::Answer { "answer-lost" } else { "balanced" };
        assert_eq!(json["result"]["outcome"], expected, "{json}");
        assert_eq!((&json["result"]["batch"], &json["result"]["next_batch"]), (&7.into(), &8.into()));
        assert_eq!(gateway.books().closed, [7]);
    }
}

#[test]
fn a_reversal_that_the_gateway_refuses_holds_up_settlement_and_not_the_payments() {
    let (till, gateway, purse) = (till(), Gateway::new(), Purse::new(10_000));
    gateway.lose(Mti::FINANCIAL, Lose::Answer);
    gateway.books().code = Some((Mti::REVERSAL, ResponseCode::AMOUNT_MISMATCH));
    topup(&till, &gateway, &purse, &["topup", "100"]);
    till.tap(&["sale", "12.50"], &purse, SamManner::Good);
    gateway.books().code = Some((Mti::REVERSAL, ResponseCode::AMOUNT_MISMATCH));
    let said = desk(&till, &gateway, &["settle"]);
    assert_eq!((said.exit, said.err.contains("TL-1625")), (Exit::Host, true), "{}{}", said.out, said.err);
    assert!(said.out.contains("REFUSED: the amount is not the original's (code 64)"), "{}", said.out);
    assert_eq!(gateway.paid(), 1250);
    gateway.books().code = None;
    settles(&till, &gateway, &purse, 10_000);
    assert!(gateway.books().loads.values().all(|(_, held)| *held == Held::Void));
}

#[test]
fn the_doctor_reaches_the_gateway_and_counts_what_waits() {
    let (till, gateway, purse) = (till(), Gateway::new(), Purse::new(10_000));
    till.tap(&["sale", "12.50"], &purse, SamManner::Good);
    let verdict = |said: &Said, name: &str| {
        let json = said.json();
        let checks = json["result"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {json}"))["verdict"].clone()
    };
    let said = topup(&till, &gateway, &purse, &["--json", "doctor"]);
    assert_eq!((verdict(&said, "outbox"), verdict(&said, "host")), ("note".into(), "good".into()));
    gateway.books().up = false;
    let said = topup(&till, &gateway, &purse, &["--json", "doctor"]);
    assert_eq!(verdict(&said, "host"), "bad");
    let said = topup(&Till::new(), &gateway, &purse, &["--json", "doctor"]);
    assert_eq!((verdict(&said, "outbox"), verdict(&said, "host")), ("good".into(), "note".into()));
}

#[test]
fn a_payment_that_waits_for_its_card_is_uploaded_only_when_asked_for_and_again_once_it_is_known() {
    let (till, gateway, purse) = (till(), Gateway::new(), Purse::new(10_000));
    {
        let mut state = purse.state();
        state.tear = Some(Tear::AfterDebit);
    }
    let card = purse.clone();
    let opening = move || {
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
        Ok(Devices::new(reader, MemoryReader::new("Test Reader 00 01", atr, Sam::new(SamManner::Good))))
    };
    assert_eq!(till.run(&["sale", "12.50"], Box::new(opening)).exit, Exit::SameCard);
    let plain = desk(&till, &gateway, &["--json", "upload"]).json();
    assert_eq!((&plain["result"]["sent"], &plain["result"]["open"]), (&serde_json::json!([]), &1.into()));
    let open = desk(&till, &gateway, &["--json", "upload", "--with-open"]).json();
    assert_eq!(open["result"]["sent"].as_array().unwrap().len(), 1, "{open}");
    let uploaded =
        |gateway: &Gateway| gateway.books().records.values().map(|record| record.state).collect::<Vec<_>>();
    assert_eq!((uploaded(&gateway), gateway.paid()), (vec![RecordState::Uncertain], 0));

    // The card comes back and proves the debit: the record is told anew, and booked once.
    let said = till.tap(&["sale", "12.50"], &purse, SamManner::Good);
    assert_eq!((said.exit, purse.taken()), (Exit::EarlierPaid, (8_750, 1)), "{}", said.out);
    let again = desk(&till, &gateway, &["--json", "upload"]).json();
    assert_eq!(again["result"]["sent"].as_array().unwrap().len(), 1, "{again}");
    assert_eq!((uploaded(&gateway), gateway.paid()), (vec![RecordState::Done], 1250));
    settles(&till, &gateway, &purse, 10_000);
}

#[test]
fn a_settlement_says_which_payments_are_in_no_batch_yet() {
    let (till, gateway, purse) = (till(), Gateway::new(), Purse::new(10_000));
    interrupted(&till, &purse, Tear::AfterDebit);
    let settled = desk(&till, &gateway, &["settle"]);
    assert!(settled.out.contains("1 interrupted payment"), "{}{}", settled.out, settled.err);
    let settled = desk(&till, &gateway, &["--json", "settle"]).json();
    assert_eq!(settled["result"]["interrupted"], 1, "{settled}");
}
