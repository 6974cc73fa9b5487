//! Key blocks made, opened, changed and misused.

use super::*;
use proptest::prelude::*;
use std::string::ToString;

fn kbpk() -> AesKey {
    AesKey::from_bytes(&[0x88; 32]).unwrap()
}

fn block_of(usage: Usage, key: &[u8]) -> std::vec::Vec<u8> {
    let mut out = [0; 256];
    let padding = [0x5A; 16];
    let needed = padding_for(key.len());
    let length = wrap(&kbpk(), &Header::new(usage), key, &padding[..needed], &mut out).unwrap();
    out[..length].to_vec()
}

#[test]
fn a_working_key_takes_112_characters() {
    let block = block_of(Usage::PIN, &[3; 16]);
    assert_eq!(block.len(), 112);
    assert!(block.starts_with(b"D0112P0AE00N0000"));
    assert_eq!(unwrap_for(&kbpk(), Usage::PIN, &block).unwrap().to_secret(), Ok(Secret::new([3; 16])));
}

#[test]
fn a_key_serves_no_other_use() {
    let uses = [Usage::TMK, Usage::MAC, Usage::PIN, Usage::DATA];
    for usage in uses {
        let block = block_of(usage, &[3; 16]);
        for other in uses {
            let opened = unwrap_for(&kbpk(), other, &block);
            assert_eq!(
                opened.err(),
                (usage != other).then_some(KeyBlockError::Usage),
                "{usage:?} as {other:?}"
            );
        }
    }
}

#[test]
fn every_changed_character_is_noticed() {
    let block = block_of(Usage::MAC, &[9; 16]);
    for at in 0..block.len() {
        let mut changed = block.clone();
        changed[at] = if changed[at] == b'1' { b'2' } else { b'1' };
        assert!(unwrap(&kbpk(), &changed).is_err(), "character {at}");
    }
    assert_eq!(unwrap(&AesKey::from_bytes(&[1; 32]).unwrap(), &block).unwrap_err(), KeyBlockError::Mac);
}

#[test]
fn keys_that_no_algorithm_has_are_not_wrapped() {
    let mut out = [0; 256];
    let mut wrapped = |key: &[u8], padding: &[u8]| {
        wrap(&kbpk(), &Header::new(Usage::MAC), key, padding, &mut out).unwrap_err()
    };
    assert_eq!(wrapped(&[1; 15], &[0; 15]), KeyBlockError::Key);
    assert_eq!(wrapped(&[1; 16], &[0; 13]), KeyBlockError::Padding);
    assert_eq!(wrapped(&[1; 16], &[0; 62]), KeyBlockError::Padding);
    assert_eq!(
        KeyBlockError::from(AesKey::from_bytes(&[0; 19]).unwrap_err()),
        KeyBlockError::Kbpk(KeyLengthError(19))
    );
}

#[test]
fn nothing_of_a_key_is_shown() {
    let (header, key) = (Header::new(Usage::TMK), Key::from_bytes(&[0xAB; 32]).unwrap());
    let shown = std::format!("{header:?} {key:?} {:?}", kbpk());
    assert!(
        shown.contains("K1/A/B") && shown.contains("Key(32 bytes)") && !shown.contains("AB, AB"),
        "{shown}"
    );
    assert_eq!(KeyBlockError::Usage.to_string(), "key is for another use");
}

proptest! {
    #[test]
    fn what_is_wrapped_opens_again(
        protection in prop_oneof![Just(16usize), Just(24), Just(32)],
        length in prop_oneof![Just(16usize), Just(24), Just(32)],
        seed in any::<[u8; 32]>(), padding in any::<[u8; 16]>(), extra in any::<bool>(),
    ) {
        let kbpk = AesKey::from_bytes(&seed[..protection]).unwrap();
        let mut filled = padding[..padding_for(length)].to_vec();
        if extra && length < 32 {
            filled.extend_from_slice(&padding);
        }
        let mut out = [0; 256];
        let used = wrap(&kbpk, &Header::new(Usage::DATA), &seed[..length], &filled, &mut out).unwrap();
        let (header, key) = unwrap(&kbpk, &out[..used]).unwrap();
        prop_assert_eq!(header, Header::new(Usage::DATA));
        prop_assert_eq!(key.expose(), &seed[..length]);
    }

    #[test]
    fn no_text_makes_the_reader_panic(mut text in proptest::collection::vec(0x20u8..0x7F, 0..300), fixed in any::<bool>()) {
        if fixed && text.len() >= 16 {
            let count = text[13] % 3;
            let head = std::format!("D{:04}P0AE00E{count:02}00", text.len());
            text[..16].copy_from_slice(head.as_bytes());
        }
        let _ = unwrap(&kbpk(), &text);
    }
}
