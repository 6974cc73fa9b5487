//! The byte-exact cases of `tests/vectors/purse_aes.json` and `purse_pboc_3des.json`, sent through the applets as APDUs.

use crate::bench::{asn, powered, send, unhex};
use card_applet_sim::issue::{IssuerKeys, NewCard, NewSam};
use card_applet_sim::memory::RamMemory;
use protocol::ids::{Factor, KeyVersion, OfflineCounter, OnlineCounter, SamTerminal, TermSeq};
use protocol::money::CardAmount;
use protocol::purse::keys::{KeyUse, PurseKey};
use protocol::purse::{Algorithm, Suite};
use protocol::secret::Secret;
use serde_json::Value;

const AES: &str = include_str!("../../../tests/vectors/purse_aes.json");
const DES: &str = include_str!("../../../tests/vectors/purse_pboc_3des.json");

fn text<'a>(record: &'a Value, name: &str) -> &'a str {
    record[name].as_str().unwrap_or_else(|| panic!("{name} of {record}"))
}

fn records(file: &str) -> Vec<Value> {
    let whole: Value = serde_json::from_str(file).unwrap();
    whole["records"].as_array().or(whole["vectors"].as_array()).unwrap().clone()
}

/// The issuer of suite 10's vectors: masters from the `diversify` records, factors from the record.
fn aes_issuer(all: &[Value], record: &Value) -> IssuerKeys {
    let mut keys = IssuerKeys::for_tests(Suite::Aes, 0);
    keys.masters.clear();
    let factors = record["factors"].as_array().unwrap();
    keys.upper_factors =
        factors.iter().skip(1).map(|f| f.as_str().unwrap().parse::<Factor>().unwrap()).collect();
    keys.limits.balance = CardAmount(1_000_000);
    for diversify in all.iter().filter(|r| r["case"] == "diversify" && r["asn"] == record["asn"]) {
        let key_use = KeyUse::ALL.into_iter().find(|u| u.name() == text(diversify, "usage")).unwrap();
        let master = PurseKey::new(Suite::Aes, Secret::from_hex(text(diversify, "master_key")).unwrap());
        keys.masters.insert(key_use, master);
    }
    keys
}

fn aes_card(keys: &IssuerKeys, record: &Value) -> (card_applet_sim::os::Card, u16) {
    let counter = u16::from_str_radix(text(record, "counter"), 16).unwrap();
    let mut new = NewCard::for_tests(text(record, "asn").parse().unwrap());
    new.balance = CardAmount(u32::try_from(record["balance_old"].as_u64().unwrap()).unwrap());
    new.offline = OfflineCounter(counter);
    new.online = OnlineCounter(counter);
    let mut memory = RamMemory::new();
    new.make(keys, &mut memory).unwrap();
    let random = unhex(text(record, "random"));
    let mut card = powered(memory, move |out: &mut [u8]| out.copy_from_slice(&random));
    let fci = send(&mut card, "00A4040009F05441504C494E450100");
    assert!(fci.contains(text(record, "file15")), "file 15 comes with SELECT: {fci}");
    (card, counter)
}

#[test]
fn suite_10_vectors_run_through_card_and_sam_byte_for_byte() {
    let all = records(AES);
    let mut ran = (0, 0, 0);
    for record in &all {
        let keys = || aes_issuer(&all, record);
        match text(record, "case") {
            "diversify" => {}
            "load" => {
                let (mut card, _) = aes_card(&keys(), record);
                assert_eq!(send(&mut card, "0020000003123456"), "9000");
                let expected = &record["expected"];
                for step in ["init", "credit", "prove"] {
                    assert_eq!(
                        send(&mut card, text(expected, &format!("apdu_{step}"))),
                        text(expected, &format!("answer_{step}")),
                        "{step} of {record}"
                    );
                }
                ran.0 += 1;
            }
            "purchase" | "capp purchase" => {
                purchase(&keys(), record);
                ran.1 += 1;
            }
            "unload" => {
                unload(&keys(), record);
                ran.2 += 1;
            }
            other => panic!("unknown case {other}"),
        }
    }
    assert_eq!(ran, (3, 12, 3), "all cases were run");
}

fn purchase(keys: &IssuerKeys, record: &Value) {
    let (mut card, _) = aes_card(keys, record);
    let expected = &record["expected"];
    let seq = u32::from_str_radix(text(record, "term_seq"), 16).unwrap();
    let mut memory = RamMemory::new();
    let mut new = NewSam::for_tests(SamTerminal([0, 0, 0, 0, 0, 0x17]));
    new.last_sequence = TermSeq(seq - 1);
    new.make(std::slice::from_ref(keys), &mut memory).unwrap();
    let mut sam = powered(memory, |_: &mut [u8]| {});
    assert_eq!(send(&mut sam, "00B0960006"), format!("{}9000", text(record, "terminal")));
    send(&mut sam, "00A4040009F05441504C494E450200");

    assert_eq!(send(&mut card, text(expected, "apdu_init")), text(expected, "answer_init"));
    for update in record["cache"].as_array().unwrap() {
        let data = text(update, "data");
        let apdu = format!("80DC{}{}{:02X}{data}", text(update, "p1"), text(update, "p2"), data.len() / 2);
        assert_eq!(send(&mut card, &apdu), "9000", "{apdu}");
    }
    assert_eq!(send(&mut sam, text(expected, "sam_init")), text(expected, "sam_answer"));
    assert_eq!(send(&mut card, text(expected, "apdu_debit")), text(expected, "answer_debit"));
    assert_eq!(send(&mut sam, text(expected, "sam_credit")), "9000");
    assert_eq!(send(&mut sam, text(expected, "sam_verify_proved")), "9000");
    assert_eq!(send(&mut card, text(expected, "apdu_prove")), text(expected, "answer_prove"));
    for update in record["cache"].as_array().unwrap() {
        let sfi = u8::from_str_radix(text(update, "p2"), 16).unwrap() >> 3;
        let read = send(&mut card, &format!("00B201{:02X}00", (sfi << 3) | 4));
        assert_eq!(read, format!("{}9000", text(update, "data")), "cached records became durable");
    }
}

fn unload(keys: &IssuerKeys, record: &Value) {
    let (mut card, counter) = aes_card(keys, record);
    assert_eq!(send(&mut card, "0020000003123456"), "9000");
    let amount = u32::try_from(record["amount"].as_u64().unwrap()).unwrap();
    let balance = record["balance_old"].as_u64().unwrap();
    let expected = &record["expected"];
    let init = format!("805005020B01{amount:08X}{}00", text(record, "terminal"));
    let answer =
        format!("{balance:08X}{counter:04X}0110{}{}9000", text(record, "random"), text(expected, "mac1"));
    assert_eq!(send(&mut card, &init), answer);
    let debit =
        format!("805403000F{}{}{}00", text(record, "date"), text(record, "time"), text(expected, "mac2"));
    assert_eq!(send(&mut card, &debit), format!("{}9000", text(expected, "mac3")));
    let prove = send(&mut card, &format!("805A000302{:04X}00", counter + 1));
    assert_eq!(prove, format!("{}{}9000", text(expected, "mac3"), "00".repeat(8)));
}

/// A suite 00 card that holds the published keys as its own (the vectors give diversified keys).
fn des_card(record: &Value) -> card_applet_sim::os::Card {
    use card_applet_sim::os::AppId;
    use card_applet_sim::purse::store::Store;
    let mut keys = IssuerKeys::for_tests(Suite::Des, 0);
    let algorithm = u8::from_str_radix(text(record, "algorithm_id"), 16).unwrap();
    keys.algorithm = Algorithm::from_byte(algorithm).unwrap();
    keys.limits.balance = CardAmount(u32::MAX);
    keys.limits.load = CardAmount(u32::MAX);
    let mut memory = RamMemory::new();
    let mut new = NewCard::for_tests(asn());
    new.balance = CardAmount(if record["command"] == "purchase" { 1000 } else { 0 });
    new.make(&keys, &mut memory).unwrap();
    let mut batch = card_applet_sim::memory::Batch::new();
    let key = |name| PurseKey::new(Suite::Des, Secret::from_hex(text(record, name)).unwrap());
    let store = Store::new(AppId(1));
    for key_use in [KeyUse::Purchase, KeyUse::Load] {
        store.create_key(&mut batch, key_use, protocol::ids::KeyIndex(1), KeyVersion(0), &key("key"));
    }
    if record["tac_master_key"].is_string() {
        store.create_key(
            &mut batch,
            KeyUse::Tac,
            protocol::ids::KeyIndex(1),
            KeyVersion(0),
            &key("tac_master_key"),
        );
    }
    card_applet_sim::memory::Memory::commit(&mut memory, &batch).unwrap();
    let random = unhex(text(record, "random"));
    let mut card = powered(memory, move |out: &mut [u8]| out.copy_from_slice(&random));
    assert!(send(&mut card, "00A4040009A00000000386980701").ends_with("9000"));
    card
}

#[test]
fn suite_00_published_loads_and_purchases_run_through_the_card_byte_for_byte() {
    let (mut loads, mut purchases) = (0, 0);
    for record in records(DES) {
        match text(&record, "command") {
            "load" => {
                des_load(&record);
                loads += 1;
            }
            "purchase" => {
                des_purchase(&record);
                purchases += 1;
            }
            // The primitives are tested where they live.
            _ => {}
        }
    }
    assert_eq!((loads, purchases), (3, 1));
}

fn des_load(record: &Value) {
    let mut card = des_card(record);
    let expected = &record["expected"];
    assert_eq!(send(&mut card, "0020000003123456"), "9000");
    let init = format!("805000020B01{}{}10", text(record, "amount"), text(record, "terminal"));
    let answer = format!(
        "00000000000000{}{}{}9000",
        text(record, "algorithm_id"),
        text(record, "random"),
        text(expected, "mac1")
    );
    assert_eq!(send(&mut card, &init), answer);
    let Some(mac2) = expected["mac2"].as_str() else { return };
    let credit = format!("805200000B{}{}{mac2}04", text(record, "date"), text(record, "time"));
    assert_eq!(send(&mut card, &credit), format!("{}9000", text(expected, "tac")));
    assert_eq!(send(&mut card, "805C000204"), format!("{}9000", text(record, "balance_new")));
    if let Some(log) = record["log_record"].as_str() {
        assert_eq!(send(&mut card, "00B201C417"), format!("{log}9000"));
    }
    assert_eq!(send(&mut card, "805A000202000108"), format!("00000000{}9000", text(expected, "tac")));
}

fn des_purchase(record: &Value) {
    let mut card = des_card(record);
    let expected = &record["expected"];
    let init = format!("805001020B01{}{}0F", text(record, "amount"), text(record, "terminal"));
    let answer =
        format!("000003E8000000000000{}{}9000", text(record, "algorithm_id"), text(record, "random"));
    assert_eq!(send(&mut card, &init), answer);
    let debit = format!(
        "805401000F{}{}{}{}08",
        text(record, "terminal_counter"),
        text(record, "date"),
        text(record, "time"),
        text(expected, "mac1")
    );
    let (tac, mac2) = (text(expected, "tac"), text(expected, "mac2"));
    assert_eq!(send(&mut card, &debit), format!("{tac}{mac2}9000"));
    assert_eq!(send(&mut card, "805A000602000108"), format!("{mac2}{tac}9000"));
}
