//! AES DUKPT: every published value of the supplement to X9.24-3.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use common::{hex, load, records, text};
use protocol::aes_key::{AesKey, AesLength};
use protocol::dukpt::{InitialKey, InitialKeyId, KeyType, KeyUse, Ksn};
use protocol::pin::{EncryptedPin, PinKey};

fn key(record: &serde_json::Value, member: &str) -> AesKey {
    AesKey::from_bytes(&hex(record, member)).unwrap()
}

fn length(suffix: &str) -> AesLength {
    match suffix {
        "aes128" => AesLength::Aes128,
        "aes192" => AesLength::Aes192,
        "aes256" => AesLength::Aes256,
        other => panic!("key length {other}"),
    }
}

#[test]
fn every_published_key_and_pin_block_is_derived() {
    let file = load("vectors/aes_dukpt.json");
    let mut values = 0;
    for record in records(&file, "records") {
        let id = text(record, "id");
        let expected = record["expected"].as_object().unwrap();
        values += expected.len();
        match text(record, "operation") {
            "initial_key" => {
                let ikid = InitialKeyId(hex(record, "ikid").try_into().unwrap());
                let initial = InitialKey::derive(&key(record, "bdk"), ikid);
                assert_eq!(initial.key(), &key(&record["expected"], "initial_key"), "{id}");
            }
            "update_key" => {
                let ikid = InitialKeyId(hex(record, "ikid").try_into().unwrap());
                let kind = match text(record, "key_type") {
                    "TDES2" => KeyType::Tdes2,
                    "TDES3" => KeyType::Tdes3,
                    aes => KeyType::Aes(length(&aes.to_lowercase())),
                };
                let initial = InitialKey::new(key(record, "initial_key"), ikid);
                assert_eq!(initial.update_key(kind), key(&record["expected"], "update_key"), "{id}");
            }
            "working_keys" => {
                let ksn = Ksn::from_bytes(hex(record, "ksn").try_into().unwrap());
                assert_eq!(ksn.to_bytes()[..], hex(record, "ksn"));
                let initial = InitialKey::new(key(record, "initial_key"), ksn.id);
                let transaction = initial.transaction(ksn.counter).unwrap();
                for name in expected.keys() {
                    let value = match name.as_str() {
                        "derivation_key" => transaction.derivation_key().clone(),
                        "pin_block_format4" => {
                            let pin_key = transaction.key(KeyUse::Pin, KeyType::Aes(initial.key().length()));
                            let pin_field = hex(record, "pin_field");
                            let block = PinKey::Format4(pin_key).encipher(
                                &text(record, "pin").parse().unwrap(),
                                &text(record, "pan").parse().unwrap(),
                                pin_field[8..].try_into().unwrap(),
                            );
                            let published = hex(&record["expected"], name).try_into().unwrap();
                            assert_eq!(block, Ok(EncryptedPin::Format4(published)), "{id}");
                            continue;
                        }
                        name => {
                            let (usage, suffix) = name.rsplit_once("_key_").unwrap();
                            let usage = match usage {
                                "pin" => KeyUse::Pin,
                                "mac_gen" => KeyUse::MacGenerate,
                                "data_enc" => KeyUse::DataEncrypt,
                                other => panic!("usage {other}"),
                            };
                            transaction.key(usage, KeyType::Aes(length(suffix)))
                        }
                    };
                    assert_eq!(value, key(&record["expected"], name), "{id} {name}");
                }
            }
            other => panic!("operation {other}"),
        }
    }
    assert_eq!(values, 117);
}
