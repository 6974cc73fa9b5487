//! Independent checks: psec opens our key blocks and we open psec's; PIN blocks and check values agree.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use protocol::aes_key::AesKey;
use protocol::des_key::DesKey;
use protocol::hex::{Hex, decode_into};
use protocol::keyblock::{Header, Usage, padding_for, unwrap, wrap};
use protocol::pan::Pan;
use protocol::pin::{EncryptedPin, Pin, PinKey};
use protocol::secret::Secret;
use serde_json::json;
use std::cell::RefCell;
use tests::python::Peer;

fn unhex(text: &str) -> Vec<u8> {
    let mut bytes = vec![0; text.len() / 2];
    decode_into(text, &mut bytes).unwrap();
    bytes
}

fn hex(bytes: &[u8]) -> String {
    Hex(bytes).to_string()
}

fn with_peer<S: Strategy>(inputs: &S, test: impl Fn(&mut Peer, S::Value) -> Result<(), TestCaseError>) {
    let peer = RefCell::new(Peer::start().unwrap());
    let mut runner = TestRunner::new(Config { cases: 120, failure_persistence: None, ..Config::default() });
    runner.run(inputs, |input| test(&mut peer.borrow_mut(), input)).unwrap();
}

fn aes_keys() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(16usize), Just(24), Just(32)]
        .prop_flat_map(|length| proptest::collection::vec(any::<u8>(), length))
}

#[test]
fn psec_opens_our_key_blocks_and_we_open_those_of_psec() {
    let uses = proptest::sample::select(vec![Usage::TMK, Usage::MAC, Usage::PIN, Usage::DATA]);
    with_peer(&(aes_keys(), aes_keys(), any::<[u8; 16]>(), uses), |peer, (kbpk, key, padding, usage)| {
        let protection = AesKey::from_bytes(&kbpk).unwrap();
        let mut out = [0; 256];
        let padding = &padding[..padding_for(key.len())];
        let length = wrap(&protection, &Header::new(usage), &key, padding, &mut out).unwrap();
        let block = core::str::from_utf8(&out[..length]).unwrap();
        let opened = peer.ask("key_block_unwrap", json!({ "kbpk": hex(&kbpk), "block": block })).unwrap();
        let use_text = format!("{usage:?}");
        let expected = json!({ "usage": use_text, "version": "00", "export": "N", "key": hex(&key) });
        prop_assert_eq!(opened, expected);

        let request = json!({ "kbpk": hex(&kbpk), "usage": use_text, "key": hex(&key) });
        let theirs = peer.ask_text("key_block_wrap", request).unwrap();
        let (header, opened) = unwrap(&protection, theirs.as_bytes()).unwrap();
        prop_assert_eq!(header, Header::new(usage));
        prop_assert_eq!(opened.expose(), &key[..]);
        Ok(())
    });
}

#[test]
fn psec_and_we_encipher_the_same_pins() {
    let pins = "[0-9]{4,12}";
    let pans = "[0-9]{13,19}";
    with_peer(&(aes_keys(), pins, pans, any::<[u8; 16]>()), |peer, (key, pin, pan, tdes)| {
        let (ours, card): (Pin, Pan) = (pin.parse().unwrap(), pan.parse().unwrap());
        let format4 = PinKey::Format4(AesKey::from_bytes(&key).unwrap());
        let EncryptedPin::Format4(block) = format4.encipher(&ours, &card, [0x3C; 8]).unwrap() else {
            return Err(TestCaseError::fail("another format"));
        };
        let request = json!({ "key": hex(&key), "block": hex(&block), "pan": pan });
        prop_assert_eq!(peer.ask_text("pin_decipher_4", request).unwrap(), &pin[..]);

        let request = json!({ "key": hex(&key), "pin": pin, "pan": pan });
        let theirs = unhex(&peer.ask_text("pin_encipher_4", request).unwrap());
        let theirs = EncryptedPin::Format4(theirs.try_into().unwrap());
        prop_assert_eq!(format4.decipher(&theirs, &card), Ok(ours.clone()));

        // Format 0 has no random: the blocks are equal.
        let format0 = PinKey::Format0(DesKey::Double(Secret::new(tdes)));
        let request = json!({ "key": hex(&tdes), "pin": pin, "pan": pan });
        let theirs = unhex(&peer.ask_text("pin_encipher_0", request).unwrap());
        let ours = format0.encipher(&ours, &card, [0; 8]).unwrap();
        prop_assert_eq!(ours, EncryptedPin::Format0(theirs.try_into().unwrap()));
        Ok(())
    });
}

#[test]
fn check_values_agree() {
    with_peer(&(aes_keys(), any::<[u8; 16]>(), any::<[u8; 8]>()), |peer, (aes, double, single)| {
        let ours = AesKey::from_bytes(&aes).unwrap();
        let theirs = peer.ask_text("check_value_aes", json!({ "key": hex(&aes) })).unwrap();
        prop_assert_eq!(hex(&ours.check_value()), theirs);
        let zeros = json!({ "key": hex(&aes), "block": hex(&[0; 16]) });
        prop_assert_eq!(hex(&ours.encrypt([0; 16])), peer.ask_text("aes_encrypt", zeros).unwrap());
        for key in [DesKey::Double(Secret::new(double)), DesKey::Single(Secret::new(single))] {
            let theirs = peer.ask_text("check_value_des", json!({ "key": hex(key.expose()) })).unwrap();
            prop_assert_eq!(hex(&key.check_value()), theirs);
        }
        Ok(())
    });
}
