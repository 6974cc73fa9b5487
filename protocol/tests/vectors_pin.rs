//! PIN blocks of formats 0 and 4: published blocks are made and read, bad ones are refused.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{hex, load, records, text};
use protocol::aes_key::AesKey;
use protocol::pan::Pan;
use protocol::pin::*;

fn pan(record: &serde_json::Value) -> Pan {
    text(record, "pan").parse().unwrap()
}

#[test]
fn published_format_0_blocks_are_made_and_read() {
    let file = load("vectors/pin_block_format0.json");
    for record in records(&file, "records") {
        let pin: Pin = text(record, "pin").parse().unwrap();
        let block = hex(&record["expected"], "pin_block");
        assert_eq!(format0_encode(&pin, &pan(record)).unwrap().expose()[..], block);
        assert_eq!(format0_decode(&block, &pan(record)), Ok(pin));
    }
}

#[test]
fn bad_format_0_blocks_are_refused_with_a_reason() {
    use PinError::{BlockLength, Filler, Format, Length, NotDecimal, PanTooShort};
    let file = load("vectors/pin_block_format0.json");
    let reasons = [Format, BlockLength, Length, Length, Filler, NotDecimal, PanTooShort];
    let invalid = records(&file, "invalid");
    for (record, reason) in invalid.iter().zip(reasons) {
        assert_eq!(format0_decode(&hex(record, "pin_block"), &pan(record)), Err(reason), "{record}");
    }
    // The last one's card number is none.
    assert_eq!(invalid.len(), reasons.len() + 1);
    assert!(text(&invalid[reasons.len()], "pan").parse::<Pan>().is_err());
}

#[test]
fn published_format_4_blocks_are_made_and_read() {
    let file = load("vectors/pin_block_format4.json");
    for record in records(&file, "records") {
        let id = text(record, "id");
        let key = PinKey::Format4(AesKey::from_bytes(&hex(record, "key")).unwrap());
        let pin: Pin = text(record, "pin").parse().unwrap();
        let random = hex(record, "random").try_into().unwrap();
        assert_eq!(format4_pin_field(&pin, random).expose()[..], hex(record, "pin_field"), "{id}");
        assert_eq!(format4_pan_field(&pan(record))[..], hex(record, "pan_field"), "{id}");
        let block = key.encipher(&pin, &pan(record), random).unwrap();
        let expected = EncryptedPin::Format4(hex(&record["expected"], "pin_block").try_into().unwrap());
        assert_eq!(block, expected, "{id}");
        assert_eq!(key.decipher(&block, &pan(record)), Ok(pin), "{id}");
    }
    for record in records(&file, "fields") {
        let expected = &record["expected"];
        match text(record, "operation") {
            "encode_pan_field" => assert_eq!(format4_pan_field(&pan(record))[..], hex(expected, "pan_field")),
            "encode_pin_field" => {
                let field = format4_pin_field(&text(record, "pin").parse().unwrap(), [0; 8]);
                assert_eq!(field.expose()[..8], hex(expected, "pin_field_prefix"));
            }
            "decode_pin_field" => {
                let pin = format4_decode_pin_field(&hex(record, "pin_field"));
                assert_eq!(pin, text(expected, "pin").parse());
            }
            other => panic!("operation {other}"),
        }
    }
}

#[test]
fn bad_format_4_blocks_are_refused_with_a_reason() {
    use PinError::{BlockLength, Filler, Format, Length, NotDecimal};
    let file = load("vectors/pin_block_format4.json");
    let reasons = [
        BlockLength,
        BlockLength,
        Format,
        NotDecimal,
        Filler,
        Length,
        BlockLength,
        BlockLength,
        Format,
        Length,
        Filler,
        NotDecimal,
    ];
    let invalid = records(&file, "invalid");
    assert_eq!(invalid.len(), reasons.len());
    for (record, reason) in invalid.iter().zip(reasons) {
        let refused = match text(record, "operation") {
            "decode_pin_field" => format4_decode_pin_field(&hex(record, "pin_field")),
            "decipher" => {
                let key = PinKey::Format4(AesKey::from_bytes(&hex(record, "key")).unwrap());
                let block = hex(record, "pin_block").try_into().map(EncryptedPin::Format4);
                match (block, text(record, "pan").parse()) {
                    (Ok(block), Ok(pan)) => key.decipher(&block, &pan),
                    // A block or card number of the wrong length does not get as far.
                    _ => Err(BlockLength),
                }
            }
            other => panic!("operation {other}"),
        };
        assert_eq!(refused, Err(reason), "{}", text(record, "id"));
    }
}
