//! Insertion, removal, tears and patience.

use crate::vpcd::Reader;
use card_applet_sim::attach::{Placed, Station};
use card_applet_sim::issue::{IssuerKeys, NewCard, NewSam};
use card_applet_sim::memory::{FileMedium, JournalMemory};
use card_applet_sim::os::Transport;
use protocol::ids::{Asn, SamTerminal};
use protocol::money::CardAmount;
use protocol::purse::Suite;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SELECT: &str = "00A4000002100100";
const BALANCE: &str = "805C000204";

fn card_file(folder: &Path, name: &str, balance: u32) -> PathBuf {
    let path = folder.join(name);
    let mut memory = JournalMemory::format(FileMedium::create(&path).unwrap()).unwrap();
    let new = NewCard::for_tests(Asn([0, 0, 0, 0, 0, 0, 0, 0, 0, 7])).with_balance(CardAmount(balance));
    new.make(&IssuerKeys::for_tests(Suite::Aes, 0), &mut memory).unwrap();
    path
}

fn sam_file(folder: &Path) -> PathBuf {
    let path = folder.join("sam");
    let mut memory = JournalMemory::format(FileMedium::create(&path).unwrap()).unwrap();
    NewSam::for_tests(SamTerminal([0, 0, 0, 0, 0, 9]))
        .make(&[IssuerKeys::for_tests(Suite::Aes, 0)], &mut memory)
        .unwrap();
    path
}

struct Setup {
    folder: tempfile::TempDir,
    reader: Reader,
    station: Station,
}

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let reader = Reader::start();
        let open = |path: &Path| Placed::open(path, Transport::Block).unwrap();
        let card = open(&card_file(folder.path(), "a", 5000));
        let sam = open(&sam_file(folder.path()));
        let station = Station::start(reader.address, card, Some(sam), Transport::Block, true).unwrap();
        Self { folder, reader, station }
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.station.stop();
    }
}

#[test]
fn card_and_sam_sit_in_their_slots_and_answer() {
    let setup = Setup::new();
    let (mut card, mut sam) = (setup.reader.card(), setup.reader.sam());
    assert_eq!(card.atr()[0], 0x3B, "the ATR is told before power-up");
    card.power_on();
    assert!(card.apdu(SELECT).unwrap().ends_with("9000"));
    assert_eq!(card.apdu(BALANCE).unwrap(), "000013889000");
    card.reset();
    assert_eq!(card.apdu(BALANCE).unwrap(), "6D00", "a reset goes back to the MF");
    sam.power_on();
    assert_eq!(sam.apdu("00B0960006").unwrap(), "0000000000099000");
    card.power_off();
    assert!(card.apdu(BALANCE).is_none(), "a card without power is silent");
}

#[test]
fn acknowledgements_are_not_delayed() {
    let setup = Setup::new();
    let mut card = setup.reader.card();
    card.power_on();
    card.apdu(SELECT).unwrap();
    let start = Instant::now();
    for _ in 0..30 {
        card.apdu(BALANCE).unwrap();
    }
    // With delayed acknowledgements 30 exchanges take at least 1.2 s.
    assert!(start.elapsed() < Duration::from_millis(600), "{:?}", start.elapsed());
}

#[test]
fn a_hand_removes_inserts_and_swaps_the_card() {
    let setup = Setup::new();
    let mut card = setup.reader.card();
    card.power_on();
    setup.station.execute("remove").unwrap();
    assert!(card.apdu(BALANCE).is_none());
    assert!(setup.reader.stays_empty());
    setup.station.execute("insert").unwrap();
    let mut card = setup.reader.card();
    card.power_on();
    card.apdu(SELECT).unwrap();
    assert_eq!(card.apdu(BALANCE).unwrap(), "000013889000");
    let other = card_file(setup.folder.path(), "b", 77);
    setup.station.execute(&format!("swap {}", other.display())).unwrap();
    let mut card = setup.reader.card();
    card.power_on();
    card.apdu(SELECT).unwrap();
    assert_eq!(card.apdu(BALANCE).unwrap(), "0000004D9000");
    let status = setup.station.execute("status").unwrap();
    assert_eq!(status["card"]["file"], other.display().to_string());
    assert_eq!(status["card"]["inserted"], true);
    assert!(setup.station.execute("swap /nowhere/at/all").is_err());
    assert!(setup.station.execute("swap").is_err());
    assert!(setup.station.execute("dance").is_err());
    assert!(setup.station.execute("insert printer").is_err());
}

#[test]
fn a_tear_takes_the_card_away_after_that_many_commands_until_it_is_inserted() {
    let setup = Setup::new();
    for (line, answered) in [("tear 1 command", 1), ("tear 2 answer", 2), ("tear ins5C", 1)] {
        setup.station.execute("insert").unwrap();
        setup.station.execute(line).unwrap();
        let mut card = setup.reader.card();
        card.power_on();
        let mut count = 0;
        for command in [SELECT, BALANCE, BALANCE, BALANCE] {
            match card.apdu(command) {
                Some(_) => count += 1,
                None => break,
            }
        }
        assert_eq!(count, answered, "{line}");
        assert!(setup.reader.stays_empty());
    }
}

#[test]
fn power_lost_inside_a_command_shows_at_the_next_insertion() {
    let setup = Setup::new();
    setup.station.execute("tear ins20 write 0 64").unwrap();
    let mut card = setup.reader.card();
    card.power_on();
    card.apdu(SELECT).unwrap();
    assert!(card.apdu("0020000003999999").is_none());
    setup.station.execute("insert").unwrap();
    let mut card = setup.reader.card();
    card.power_on();
    card.apdu(SELECT).unwrap();
    assert_eq!(card.apdu("00200000").unwrap(), "63C3", "the torn record did not happen");
}

#[test]
fn a_restarted_daemon_gets_the_card_back() {
    let setup = Setup::new();
    let mut card = setup.reader.card();
    card.power_on();
    drop(card);
    let mut card = setup.reader.card();
    card.power_on();
    assert!(card.apdu(SELECT).unwrap().ends_with("9000"));
}
