//! Bad input and broken surroundings: each ends with its own clear message and exit code, and nothing is lost.

use crate::fakes::{Purse, Sam, SamManner};
use crate::till::{Said, Till, no_readers};
use console::{Exit, Failure, code};
use hardware::{Atr, MemoryReader, ReaderError, ReaderListing};
use protocol::apdu::StatusWord;
use protocol::time::CardDate;
use std::fs;
use terminal::devices::Devices;
use terminal::fault;

/// The code and exit of a sale that must not take anything.
fn refused(till: &Till, purse: &Purse, manner: SamManner) -> (String, Exit) {
    let before = purse.state().balance;
    let said = till.tap(&["sale", "12.50"], purse, manner);
    assert_eq!(purse.state().balance, before, "nothing is taken");
    assert_eq!(till.history()["taken"], 0);
    (code_of(&said), said.exit)
}

fn code_of(said: &Said) -> String {
    let text = format!("{}{}", said.out, said.err);
    let at = text.find("TL-").unwrap_or_else(|| panic!("no code: {text}"));
    assert!(text.contains('→'), "no advice: {text}");
    text[at..at + 7].to_owned()
}

#[test]
fn cards_that_cannot_pay_are_each_told_apart() {
    let case = |change: &dyn Fn(&Purse)| {
        let (till, purse) = (Till::new(), Purse::new(10_000));
        change(&purse);
        refused(&till, &purse, SamManner::Good)
    };
    let expected = |code: &str, exit| (code.to_owned(), exit);
    let select = |sw| move |purse: &Purse| purse.state().select = Some(sw);
    assert_eq!(case(&select(StatusWord::FILE_NOT_FOUND)), expected("TL-1201", Exit::OtherCard));
    assert_eq!(case(&select(StatusWord::FUNCTION_NOT_SUPPORTED)), expected("TL-1206", Exit::Declined));
    assert_eq!(
        case(&|purse| purse.state().issuer = "0000000000000001".parse().unwrap()),
        expected("TL-1202", Exit::OtherCard)
    );
    assert_eq!(case(&|purse| purse.state().algorithm = 0x00), expected("TL-1203", Exit::OtherCard));
    assert_eq!(
        case(&|purse| purse.state().end = CardDate::new(2026, 11, 21).unwrap()),
        expected("TL-1204", Exit::Declined)
    );
    assert_eq!(case(&|purse| purse.state().key_version = 9), expected("TL-1220", Exit::OtherCard));
    assert_eq!(case(&|purse| purse.state().balance = 1249), expected("TL-1210", Exit::Declined));
}

#[test]
fn a_balance_that_is_too_low_is_told_with_both_amounts() {
    let (till, purse) = (Till::new(), Purse::new(999));
    let said = till.tap(&["sale", "12.50"], &purse, SamManner::Good);
    assert!(said.out.contains("9.99 CNY") && said.out.contains("12.50 CNY"), "{}", said.out);
}

#[test]
fn a_card_on_the_deny_list_is_refused_and_a_bad_list_stops_the_till() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    till.configure("deny_list = \"\"", "deny_list = \"deny.txt\"");
    let list = till.config().with_file_name("deny.txt");
    fs::write(&list, "5441504C494E4500:62170000001234567890 # lost\n").unwrap();
    assert_eq!(refused(&till, &purse, SamManner::Good), ("TL-1207".into(), Exit::Declined));
    fs::write(&list, "nonsense\n").unwrap();
    assert_eq!(refused(&till, &purse, SamManner::Good), ("TL-1002".into(), Exit::Config));
}

#[test]
fn an_empty_slot_ends_in_time_and_a_silent_one_too() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    let sam = Sam::new(SamManner::Good);
    let said = till.run(
        &["sale", "12.50", "--wait", "1"],
        Box::new(move || {
            let reader = MemoryReader::new("Test Reader 00 00", Atr::new(&[0x3B, 0]).unwrap(), purse.clone());
            reader.slot().remove();
            Ok(Devices::new(reader, MemoryReader::new("SAM", Atr::new(&[0x3B, 0]).unwrap(), sam.clone())))
        }),
    );
    assert_eq!((code_of(&said), said.exit), ("TL-1200".into(), Exit::NoCard));
    assert!(said.out.contains("within 1 seconds"), "{}", said.out);
}

#[test]
fn every_trouble_with_readers_is_told_with_what_to_do() {
    let listing = || ReaderListing(vec!["ACR 00 00".into(), "OMNIKEY 01 00".into()]);
    let cases = [
        (ReaderError::NoDaemon, "", "TL-1101", "pcscd"),
        (ReaderError::NoReader, "", "TL-1102", "Connect a reader"),
        (ReaderError::SeveralReaders { found: listing() }, "", "TL-1103", "OMNIKEY 01 00"),
        (ReaderError::NoSuchReader { wanted: "Foo".into(), found: listing() }, "Foo", "TL-1104", "ACR 00 00"),
        (ReaderError::SeveralReaders { found: listing() }, "0", "TL-1105", "reader.card"),
        (ReaderError::InUse, "ACR", "TL-1107", "another program"),
        (ReaderError::NoAccess, "", "TL-1109", "polkit"),
    ];
    for (error, name, expected, says) in cases {
        let till = Till::new();
        let said = till
            .run(&["sale", "1"], Box::new(move || Err(fault::reader("reader.card", name, error.clone()))));
        assert_eq!(code_of(&said), expected);
        assert!(said.err.contains(says), "{says}: {}", said.err);
    }
}

#[test]
fn a_sam_that_is_missing_foreign_or_broken_is_told_apart_and_nothing_is_taken() {
    let cases = [
        (SamManner::Stranger, "TL-1302"),
        (SamManner::WithoutKey, "TL-1303"),
        (SamManner::DiesAtInit, "TL-1304"),
        (SamManner::OtherSuite, "TL-1305"),
    ];
    for (manner, expected) in cases {
        let (till, purse) = (Till::new(), Purse::new(10_000));
        assert_eq!(refused(&till, &purse, manner), (expected.into(), Exit::Unavailable), "{manner:?}");
    }
    let (till, purse) = (Till::new(), Purse::new(10_000));
    let said = till.run(
        &["sale", "1"],
        Box::new(move || {
            let atr = Atr::new(&[0x3B, 0]).unwrap();
            let sam = MemoryReader::new("SAM slot", atr, Sam::new(SamManner::Good));
            sam.slot().remove();
            Ok(Devices::new(MemoryReader::new("Cards", atr, purse.clone()), sam))
        }),
    );
    assert_eq!((code_of(&said), said.exit), ("TL-1301".into(), Exit::Unavailable));
    assert!(said.err.contains("SAM slot"), "{}", said.err);
}

#[test]
fn amounts_that_cannot_be_paid_are_refused_before_any_card_is_asked_for() {
    let till = Till::new();
    for (amount, expected) in
        [("12,50", "TL-1501"), ("0", "TL-1502"), ("1000.01", "TL-1503"), ("99999999999", "TL-1503")]
    {
        let said = till.run(&["sale", amount], no_readers());
        assert_eq!(code_of(&said), expected, "{amount}");
    }
}

#[test]
fn a_clock_that_cannot_be_right_stops_the_till() {
    let (mut till, purse) = (Till::new(), Purse::new(10_000));
    till.wall.0 = 0;
    let said = till.tap(&["sale", "1"], &purse, SamManner::Good);
    assert_eq!(code_of(&said), "TL-1504");
    assert!(said.err.contains("1970-01-01"), "{}", said.err);
}

#[test]
fn configuration_and_journal_that_are_missing_unreadable_or_foreign_are_told_apart() {
    let till = Till::bare();
    assert_eq!(code_of(&till.run(&["sale", "1"], no_readers())), "TL-1001");
    let till = Till::new();
    till.configure("wait_s = 30", "wait_s = \"long\"");
    let said = till.run(&["sale", "1"], no_readers());
    assert_eq!((code_of(&said), said.exit), ("TL-1002".into(), Exit::Config));
    let line = 1 + terminal::config::DEFAULT.lines().position(|line| line.starts_with("wait_s")).unwrap();
    assert!(said.err.contains(&format!("terminal.toml:{line}:")), "{}", said.err);

    let till = Till::new();
    fs::remove_file(till.journal()).unwrap();
    let said = till.run(&["sale", "1"], no_readers());
    assert_eq!((code_of(&said), said.exit), ("TL-1411".into(), Exit::Storage));
    fs::write(
        till.journal(),
        "this is a letter, not a journal, and it is long enough to have a header like one has it",
    )
    .unwrap();
    assert_eq!(code_of(&till.run(&["sale", "1"], no_readers())), "TL-1412");
}

#[test]
fn a_second_till_cannot_use_the_same_journal() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    let _first = terminal::journal::Journal::open(&till.journal()).unwrap();
    let said = till.tap(&["sale", "1"], &purse, SamManner::Good);
    assert_eq!((code_of(&said), said.exit), ("TL-1410".into(), Exit::Storage));
    assert_eq!(purse.state().debits, 0);
}

#[test]
fn init_never_overwrites_and_completes_what_is_missing() {
    let till = Till::new();
    till.configure("Tapline Demo Kiosk", "Mine");
    fs::remove_file(till.journal()).unwrap();
    let json = till.run(&["--json", "init"], no_readers()).json();
    assert_eq!(
        (&json["result"]["new_config"], &json["result"]["new_journal"]),
        (&false.into(), &true.into())
    );
    assert!(fs::read_to_string(till.config()).unwrap().contains("Mine"));
    assert!(till.run(&["init"], no_readers()).out.contains("already there"));
}

#[test]
fn the_doctor_says_good_where_all_is_good_and_what_to_do_where_not() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    let said = till.tap(&["doctor"], &purse, SamManner::Good);
    assert_eq!(said.exit, Exit::Success, "{}{}", said.out, said.err);
    for part in [
        "UTC+08:00",
        "T0000001",
        "fsync",
        "0 records intact",
        "Test Reader 00 01, terminal number 000000000042",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    let json = till.tap(&["--json", "doctor"], &purse, SamManner::Stranger);
    assert_eq!(json.exit, Exit::ChecksFailed);
    let checks = json.json()["result"].as_array().unwrap().clone();
    let sam = checks.iter().find(|check| check["name"] == "sam").unwrap();
    assert_eq!((&sam["verdict"], &sam["code"]), (&"bad".into(), &"TL-1302".into()));
    let said = till.tap(&["doctor"], &purse, SamManner::OtherSuite);
    assert!(said.exit == Exit::ChecksFailed && said.out.contains("TL-1305"), "{}", said.out);

    let till = Till::bare();
    let said = till.run(&["doctor"], Box::new(|| Err(Failure::new(code::NO_DAEMON))));
    assert_eq!(said.exit, Exit::ChecksFailed);
    assert!(said.out.contains("TL-1001"), "{}", said.out);
}

#[test]
fn the_doctor_finds_a_journal_that_was_tampered_with() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    till.tap(&["sale", "1"], &purse, SamManner::Good);
    let db = rusqlite::Connection::open(till.journal()).unwrap();
    db.execute_batch("UPDATE payment SET amount = 1").unwrap();
    drop(db);
    let said = till.tap(&["doctor"], &purse, SamManner::Good);
    assert_eq!(said.exit, Exit::ChecksFailed);
    assert!(said.out.contains("TL-1414") && said.out.contains("payment 1"), "{}", said.out);
}
