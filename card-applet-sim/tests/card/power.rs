//! Power loss at every write and sync of the card's memory: a transaction happened or it did not, and PROVE agrees.

use crate::bench::{Bench, MOMENT, SUITES, TERMINAL, sam, unhex};
use card_applet_sim::issue::{IssuerKeys, NewCard, NewSam};
use card_applet_sim::memory::{FileMedium, JournalMemory, PowerSupply, Powered, RamMedium, Survival};
use card_applet_sim::os::Card;
use card_applet_sim::random::SeededRandom;
use proptest::prelude::*;
use protocol::ids::TermSeq;
use protocol::purse::command::UpdateCappCache;
use protocol::purse::mac::CappDigester;
use protocol::purse::{CappDigest, Suite, TransactionType};

const SURVIVALS: [Survival; 4] = [Survival::None, Survival::All, Survival::Front(128), Survival::Back(128)];
/// More operations than any command makes.
const OPERATIONS_MAX: u64 = 8;

/// Brings a fresh card to the point before its deciding command and returns that command.
type Prepare = fn(&mut Bench) -> Vec<u8>;

fn purchase(bench: &mut Bench) -> Vec<u8> {
    let init = bench.init(TransactionType::Purchase, 1250).unwrap();
    bench.debit_command(TransactionType::Purchase, 1250, &init, CappDigest::default())
}

fn capp(bench: &mut Bench) -> Vec<u8> {
    let init = bench.init(TransactionType::CappPurchase, 300).unwrap();
    let mut digester = CappDigester::default();
    let mut transit = [0x5A; 128];
    transit[1] = 0x01;
    let log = [0x1E; 48];
    let updates: [(u8, u8, &[u8]); 2] = [(0x01, 0xD0, &transit), (0x00, 0xF4, &log)];
    for (p1, p2, record) in updates {
        let mut out = [0; 140];
        let n = UpdateCappCache { p1, p2, record }.encode(&mut out).unwrap();
        bench.data(&out[..n]).unwrap();
        digester.add(p1, p2, record);
    }
    let digest = if bench.suite() == Suite::Aes { digester.finish() } else { CappDigest::default() };
    bench.debit_command(TransactionType::CappPurchase, 300, &init, digest)
}

fn load(bench: &mut Bench) -> Vec<u8> {
    bench.pin();
    bench.online_command(TransactionType::Load, 700).unwrap()
}

fn unload(bench: &mut Bench) -> Vec<u8> {
    bench.pin();
    bench.online_command(TransactionType::Unload, 900).unwrap()
}

/// What a reader of the card sees, with the proof of the transaction under test.
fn view(bench: &mut Bench, kind: TransactionType) -> impl PartialEq + std::fmt::Debug + use<> {
    (bench.whole_state(), bench.prove(kind, 1).ok())
}

fn power_fails_everywhere(suite: Suite, kind: TransactionType, prepare: Prepare) {
    let before = view(&mut Bench::new(suite, 5000), kind);
    let mut finished = Bench::new(suite, 5000);
    let command = prepare(&mut finished);
    finished.data(&command).unwrap();
    let after = view(&mut finished, kind);
    assert_ne!(before, after);
    for survival in SURVIVALS {
        for torn in [0, 1, 100, 255] {
            let mut whole = false;
            for cut in 0..OPERATIONS_MAX {
                let mut bench = Bench::with(suite, 5000, survival, |_| {});
                let command = prepare(&mut bench);
                bench.supply.cut_after(cut, torn);
                let answer = bench.try_apdu(&command);
                bench.supply.switch_off();
                assert!(bench.try_apdu(&unhex("805C000204")).is_none() || answer.is_some());
                bench.power_on();
                let now = view(&mut bench, kind);
                assert!(
                    now == before || now == after,
                    "{suite} {kind:?}: {survival:?} torn {torn} cut {cut}"
                );
                if answer.is_some() {
                    assert!(now == after, "what was answered is durable");
                    whole = true;
                }
                // The card goes on working, whatever happened.
                bench.purchase(1).unwrap();
            }
            assert!(whole, "the last cut came after the command");
        }
    }
}

#[test]
fn a_debit_torn_at_any_write_happened_or_did_not() {
    for suite in SUITES {
        power_fails_everywhere(suite, TransactionType::Purchase, purchase);
    }
}

#[test]
fn a_capp_debit_torn_at_any_write_keeps_all_its_records_or_none() {
    for suite in SUITES {
        power_fails_everywhere(suite, TransactionType::CappPurchase, capp);
    }
}

#[test]
fn a_load_torn_at_any_write_happened_or_did_not() {
    for suite in SUITES {
        power_fails_everywhere(suite, TransactionType::Load, load);
    }
}

#[test]
fn an_unload_torn_at_any_write_happened_or_did_not() {
    for suite in SUITES {
        power_fails_everywhere(suite, TransactionType::Unload, unload);
    }
}

#[test]
fn a_pin_try_is_counted_before_the_comparison_whenever_the_power_fails() {
    for cut in 0..4 {
        let mut bench = Bench::new(Suite::Aes, 0);
        bench.supply.cut_after(cut, 0);
        let answer = bench.try_apdu(&unhex("0020000003999999"));
        bench.power_on();
        let left = bench.sw("00200000");
        match answer {
            Some(_) => assert_eq!(left, "63C2"),
            // Silent: at most the try is gone, never given back.
            None => assert!(left == "63C2" || left == "63C3"),
        }
    }
}

#[test]
fn a_full_disk_answers_6581_and_changes_nothing() {
    for suite in SUITES {
        for (kind, prepare) in [
            (TransactionType::Purchase, purchase as Prepare),
            (TransactionType::CappPurchase, capp),
            (TransactionType::Load, load),
            (TransactionType::Unload, unload),
        ] {
            let medium = RamMedium::default();
            let full = medium.full_disk_switch();
            let mut bench = Bench::on(medium, suite, 5000, |_| {});
            let before = view(&mut bench, kind);
            let command = prepare(&mut bench);
            *full.lock().unwrap() = true;
            assert_eq!(bench.apdu(&command), [0x65, 0x81]);
            assert_eq!(view(&mut bench, kind), before);
            *full.lock().unwrap() = false;
            bench.power_on();
            assert_eq!(view(&mut bench, kind), before);
            bench.purchase(1).unwrap();
        }
    }
}

#[test]
fn a_card_in_a_file_is_before_or_after_when_its_process_dies_at_any_write() {
    let folder = tempfile::tempdir().unwrap();
    let keys = IssuerKeys::for_tests(Suite::Aes, 0);
    for (index, (cut, torn)) in [(0, 0), (0, 128), (1, 0), (2, 0)].into_iter().enumerate() {
        let path = folder.path().join(format!("{index}.card"));
        let supply = PowerSupply::new();
        let medium = Powered::new(FileMedium::create(&path).unwrap(), supply.clone());
        let mut memory = JournalMemory::format(medium).unwrap();
        let new = NewCard::for_tests(crate::bench::asn()).with_balance(protocol::money::CardAmount(5000));
        new.make(&keys, &mut memory).unwrap();
        let card = Card::new(memory, SeededRandom::new(3));
        let mut bench = Bench { card, keys: keys.clone(), asn: new.asn, supply: supply.clone(), seq: 0 };
        bench.power_on();
        let command = purchase(&mut bench);
        supply.cut_after(cut, torn);
        let answered = bench.try_apdu(&command).is_some();
        drop(bench);
        let memory = JournalMemory::open(FileMedium::open(&path).unwrap()).unwrap();
        let card = Card::new(memory, SeededRandom::new(4));
        let supply = PowerSupply::new();
        let mut bench = Bench { card, keys: keys.clone(), asn: new.asn, supply, seq: 5 };
        bench.power_on();
        let proved = bench.prove(TransactionType::Purchase, 1).is_ok();
        let balance = bench.balance();
        assert_eq!(balance, if proved { 3750 } else { 5000 });
        assert!(proved || !answered);
    }
}

#[test]
fn a_sam_never_gives_a_sequence_number_twice_whenever_the_power_fails() {
    for survival in SURVIVALS {
        for cut in 0..4 {
            let supply = PowerSupply::new();
            let medium = Powered::new(RamMedium::new(survival), supply.clone());
            let mut memory = JournalMemory::format(medium).unwrap();
            NewSam::for_tests(TERMINAL).make(&[IssuerKeys::for_tests(Suite::Des, 0)], &mut memory).unwrap();
            let mut card = Card::new(memory, SeededRandom::new(3));
            let init =
                format!("807000001C{}{}", "00".repeat(4 + 2 + 4), "0620261121183005010000000000000000FF");
            let mut given = Vec::new();
            for round in 0..3 {
                supply.restore();
                card.power_on().unwrap();
                let mut out = [0; 258];
                card.transmit(&unhex("00A4000002DF01"), &mut out).unwrap();
                if round == 1 {
                    supply.cut_after(cut, 90);
                }
                if let Some(n) = card.transmit(&unhex(&init), &mut out) {
                    assert_eq!(out[n - 2..n], [0x90, 0x00]);
                    given.push(TermSeq(u32::from_be_bytes(out[..4].try_into().unwrap())));
                }
            }
            assert!(given.len() >= 2 && given.windows(2).all(|pair| pair[0] < pair[1]), "{given:?}");
        }
    }
}

fn command_bytes() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        0x18u8, 0x1E, 0x20, 0x24, 0x50, 0x52, 0x54, 0x5A, 0x5C, 0x5E, 0x70, 0x72, 0x76, 0x82, 0x84, 0x88,
        0xA4, 0xB0, 0xB2, 0xC0, 0xCA, 0xD6, 0xDC, 0xE2,
    ]);
    let header = (prop::sample::select(vec![0x00u8, 0x04, 0x80, 0x84]), known, 0u8..8, any::<u8>());
    let body = prop::collection::vec(any::<u8>(), 0..70);
    let shaped = (header, body, prop::option::of(any::<u8>())).prop_map(|((cla, ins, p1, p2), body, le)| {
        let mut bytes = vec![cla, ins, p1, p2];
        if !body.is_empty() {
            bytes.push(u8::try_from(body.len()).unwrap());
            bytes.extend(&body);
        }
        bytes.extend(le);
        bytes
    });
    prop_oneof![3 => shaped, 1 => prop::collection::vec(any::<u8>(), 0..300)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_commands_are_answered_without_panic_and_take_no_money(
        commands in prop::collection::vec(command_bytes(), 1..40),
        suite in prop::sample::select(SUITES.to_vec()),
    ) {
        let mut bench = Bench::new(suite, 5000);
        for command in &commands {
            let answer = bench.apdu(command);
            prop_assert!((2..=258).contains(&answer.len()));
        }
        bench.power_on();
        prop_assert_eq!(bench.balance(), 5000);
        let mut sam = sam(suite, 0);
        let mut out = [0; 258];
        for command in &commands {
            prop_assert!(sam.transmit(command, &mut out).is_some());
        }
    }
}

#[test]
fn a_moment_survives_in_the_log() {
    let mut bench = Bench::new(Suite::Des, 5000);
    bench.purchase(1250).unwrap();
    let record = bench.data(&unhex("00B201C400")).unwrap();
    assert_eq!(record[16..], MOMENT.to_bytes());
}
