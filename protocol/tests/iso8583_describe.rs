//! What people see of a message: snapshots of every published frame, and that card data never is among it.

mod common;

use common::{hex, load, records, text};
use protocol::iso8583::typed::{CardData, EncryptedPin, ProcessingCode, Track2};
use protocol::iso8583::{AES, Builder, Message, Mti, UNIONPAY};
use protocol::pan::Pan;

#[test]
fn every_published_frame_is_described_with_its_card_data_masked() {
    let file = load("frames/unionpay_pos.json");
    for record in records(&file, "records") {
        let bytes = hex(record, "message");
        let message = Message::parse(&UNIONPAY, &bytes).unwrap();
        let shown = message.describe().to_string();
        for secret in ["2", "35", "52", "62"] {
            if let Some(value) = record["fields"][secret]["value"].as_str() {
                assert!(!shown.contains(value), "field {secret}");
            }
        }
        insta::assert_snapshot!(text(record, "id"), shown);
    }
}

#[test]
fn card_data_inside_field_55_is_not_shown() {
    let mut out = [0; 512];
    let mut builder = Builder::new(&AES, Mti::FINANCIAL, &mut out).unwrap();
    let track =
        Track2::from_digits([6, 2, 2, 4, 2, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 13, 2, 8, 0, 6]).unwrap();
    let (pan, track_2) = ("5A086224241234567890", "57116224241234567890D28062010000000000");
    let data = common::bytes(&[pan, track_2, "9A03261122"].concat());
    builder.put(&"6224241234567890".parse::<Pan>().unwrap()).unwrap().put(&ProcessingCode::PURCHASE).unwrap();
    builder.put(&track).unwrap().put(&EncryptedPin::Format4([0xA5; 16])).unwrap();
    builder.put(&CardData(&data)).unwrap();
    let length = builder.finish().unwrap();
    let shown = Message::parse(&AES, &out[..length]).unwrap().describe().to_string();
    assert!(!shown.contains("12345678") && !shown.contains("A5A5") && !shown.contains("2806"), "{shown}");
    insta::assert_snapshot!("card-data-in-f55", shown);
}
