//! The simulated card and SAM in the two slots of a real PC/SC daemon: they answer, are taken out, are torn, and come back when
//! the daemon was restarted.
#![expect(clippy::unwrap_used, reason = "test code: a failed unwrap is how a test fails")]

use card_applet_sim::attach::{Placed, Station};
use card_applet_sim::issue::{IssuerKeys, NewCard, NewSam};
use card_applet_sim::memory::{FileMedium, JournalMemory};
use card_applet_sim::os::Transport;
use hardware::pcsc::{PcscReader, ReaderPattern, Sharing};
use hardware::{CardEvent, CardReader};
use protocol::ids::{Asn, SamTerminal};
use protocol::money::CardAmount;
use protocol::purse::Suite;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::daemon::{Daemon, VPCD_PORT, isolated};

const SOON: Duration = Duration::from_secs(10);
const SELECT_PURSE: &str = "00A4000002100100";
const BALANCE: &str = "805C000204";

fn reader(pattern: &str) -> PcscReader {
    PcscReader::new(ReaderPattern::like(pattern), Sharing::Exclusive)
}

fn ask(reader: &mut impl CardReader, command: &str) -> String {
    let mut bytes = [0; 261];
    let n = protocol::hex::decode_into(command, &mut bytes).unwrap();
    let mut answer = [0; 258];
    let n = reader.transmit(&bytes[..n], &mut answer).unwrap();
    protocol::hex::Hex(&answer[..n]).to_string()
}

fn station(folder: &Path, suite: Suite, transport: Transport) -> Station {
    let keys = IssuerKeys::for_tests(suite, 0);
    let (card, sam) = (folder.join("card"), folder.join("sam"));
    let new = |path: &Path| JournalMemory::format(FileMedium::create(path).unwrap()).unwrap();
    let order = NewCard::for_tests(Asn([0, 0, 0, 0, 0, 0, 0, 0, 0, 1])).with_balance(CardAmount(5000));
    order.make(&keys, &mut new(&card)).unwrap();
    NewSam::for_tests(SamTerminal([0, 0, 0, 0, 0, 0x17])).make(&[keys], &mut new(&sam)).unwrap();
    let open = |path: &Path| Placed::open(path, transport).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], VPCD_PORT));
    Station::start(address, open(&card), Some(open(&sam)), transport, true).unwrap()
}

/// INIT on the card, MAC1 from the SAM, DEBIT on the card.
fn pay_aes(
    card: &mut impl CardReader,
    sam: &mut impl CardReader,
) -> (String, Result<String, hardware::ReaderError>) {
    ask(card, SELECT_PURSE);
    let init = ask(card, "805001020B01000004E200000000001700");
    assert!(init.ends_with("9000"), "{init}");
    let (counter, random) = (&init[8..12], &init[22..38]);
    ask(sam, "00A4040009F05441504C494E450200");
    let zeros = "00".repeat(16);
    let mac1 = ask(
        sam,
        &format!(
            "8070000030{random}{counter}000004E20620261121183005{}{zeros}{}00",
            "0110", "0000000000000001"
        ),
    );
    assert!(mac1.ends_with("9000"), "{mac1}");
    let debit = format!("8054010013{}20261121183005{}00", &mac1[..8], &mac1[8..24]);
    let mut bytes = [0; 64];
    let n = protocol::hex::decode_into(&debit, &mut bytes).unwrap();
    let mut answer = [0; 258];
    let answered = card.transmit(&bytes[..n], &mut answer);
    (counter.to_owned(), answered.map(|n| protocol::hex::Hex(&answer[..n]).to_string()))
}

#[test]
fn a_purchase_through_a_real_daemon_torn_and_proved() {
    isolated("a_purchase_through_a_real_daemon_torn_and_proved", || {
        let _daemon = Daemon::start();
        let folder = tempfile::tempdir().unwrap();
        let station = station(folder.path(), Suite::Aes, Transport::Block);
        let (mut card, mut sam) = (reader("tapline*00 00"), reader("tapline*00 01"));
        card.wait_for(CardEvent::Inserted, SOON).unwrap();
        sam.wait_for(CardEvent::Inserted, SOON).unwrap();
        card.connect().unwrap();
        sam.connect().unwrap();
        assert_eq!(ask(&mut sam, "00B0960006"), "0000000000179000");
        let (_, paid) = pay_aes(&mut card, &mut sam);
        assert!(paid.unwrap().ends_with("9000"));
        assert_eq!(ask(&mut card, BALANCE), "00000EA69000");

        station.execute("tear ins54 answer").unwrap();
        let (_, torn) = pay_aes(&mut card, &mut sam);
        assert!(torn.unwrap_err().may_have_run());
        card.wait_for(CardEvent::Removed, SOON).unwrap();
        station.execute("insert").unwrap();
        card.wait_for(CardEvent::Inserted, SOON).unwrap();
        card.connect().unwrap();
        ask(&mut card, SELECT_PURSE);
        assert!(ask(&mut card, "805A000602000200").ends_with("9000"), "the card proves the second debit");
        assert_eq!(ask(&mut card, BALANCE), "000009C49000");

        let start = Instant::now();
        for _ in 0..50 {
            ask(&mut card, BALANCE);
        }
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "no delayed acknowledgements: {:?}",
            start.elapsed()
        );
        station.stop();
    });
}

#[test]
fn a_card_of_suite_00_at_t0_survives_the_daemons_restart() {
    isolated("a_card_of_suite_00_at_t0_survives_the_daemons_restart", || {
        let mut daemon = Daemon::start();
        let folder = tempfile::tempdir().unwrap();
        let station = station(folder.path(), Suite::Des, Transport::Character);
        let mut card = reader("tapline*00 00");
        card.wait_for(CardEvent::Inserted, SOON).unwrap();
        card.connect().unwrap();
        let select = ask(&mut card, "00A40000021001");
        assert!(select.starts_with("61") || select.starts_with("6F"), "{select}");
        assert_eq!(ask(&mut card, BALANCE), "000013889000");
        daemon.restart();
        let mut card = reader("tapline*00 00");
        card.wait_for(CardEvent::Inserted, SOON).unwrap();
        card.connect().unwrap();
        assert_eq!(ask(&mut card, "805C000200"), "6D00", "after power-up the MF is current");
        station.stop();
    });
}
