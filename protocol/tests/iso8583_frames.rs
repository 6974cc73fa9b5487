//! Third-party frames decode to the listed fields and encode to the same bytes, raw and typed; published MACs agree.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use common::{hex, load, records, text};
use protocol::host_mac::{MacKey, unionpay_mac_of_fold};
use protocol::ids::{MerchantId, Stan, TerminalId};
use protocol::iso8583::typed::*;
use protocol::iso8583::{Builder, FieldNo, Frame, HeaderRule, Message, Mti, UNIONPAY, frame};
use protocol::money::Currency;
use protocol::pan::Pan;
use protocol::secret::Secret;
use protocol::time::CardTime;

/// Rebuilds every field through its typed value, raw where it has none.
fn retype(message: &Message<'_>, out: &mut [u8]) -> usize {
    let mut builder = Builder::new(message.dialect(), message.mti(), out).unwrap();
    for field in message.fields() {
        let b = &mut builder;
        match field.no().0 {
            2 => b.put(&field.read::<Pan>().unwrap()),
            3 => b.put(&field.read::<ProcessingCode>().unwrap()),
            4 => b.put(&field.read::<AmountMinor>().unwrap()),
            11 => b.put(&field.read::<Stan>().unwrap()),
            12 => b.put(&field.read::<CardTime>().unwrap()),
            13 => b.put(&field.read::<LocalDate>().unwrap()),
            14 => b.put(&field.read::<Expiry>().unwrap()),
            15 => b.put(&field.read::<SettlementDate>().unwrap()),
            22 => b.put(&field.read::<EntryMode>().unwrap()),
            23 => b.put(&field.read::<CardSequence>().unwrap()),
            25 => b.put(&field.read::<Condition>().unwrap()),
            26 => b.put(&field.read::<PinLength>().unwrap()),
            32 => b.put(&field.read::<Acquirer>().unwrap()),
            33 => b.put(&field.read::<Forwarder>().unwrap()),
            35 => b.put(&field.read::<Track2>().unwrap()),
            37 => b.put(&field.read::<RetrievalReference>().unwrap()),
            38 => b.put(&field.read::<AuthorisationCode>().unwrap()),
            39 => b.put(&field.read::<ResponseCode>().unwrap()),
            41 => b.put(&field.read::<TerminalId>().unwrap()),
            42 => b.put(&field.read::<MerchantId>().unwrap()),
            43 => b.put(&field.read::<MerchantName<'_>>().unwrap()),
            49 => b.put(&field.read::<Currency>().unwrap()),
            52 => b.put(&field.read::<EncryptedPin>().unwrap()),
            53 => b.put(&field.read::<SecurityControl>().unwrap()),
            55 => b.put(&field.read::<CardData<'_>>().unwrap()),
            58 => b.put(&field.read::<PurseField<'_>>().unwrap()),
            59 => b.put(&field.read::<AcquirerData<'_>>().unwrap()),
            60 => b.put(&field.read::<Batch>().unwrap()),
            61 => b.put(&field.read::<Original>().unwrap()),
            62 => b.put(&field.read::<KeyField<'_>>().unwrap()),
            63 => b.put(&field.read::<Organisation<'_>>().unwrap()),
            44 | 46 | 48 | 56 | 57 | 64 => b.copy(&field),
            other => panic!("field {other} has no typed value here"),
        }
        .unwrap();
    }
    builder.finish().unwrap()
}

#[test]
fn every_published_frame_decodes_to_its_fields_and_encodes_to_the_same_bytes() {
    let file = load("frames/unionpay_pos.json");
    for record in records(&file, "records") {
        let id = text(record, "id");
        let whole = hex(record, "frame");
        let body = if record["length_prefix"].is_null() { &whole[..] } else { &whole[2..] };
        let rule = if record["header"].is_null() { HeaderRule::Absent } else { HeaderRule::Present };
        let frame = Frame::parse(body, rule).unwrap();
        assert_eq!(frame.tpdu.to_bytes()[..], hex(record, "tpdu"), "{id}");
        assert_eq!(frame.message, hex(record, "message"), "{id}");

        let message = Message::parse(&UNIONPAY, frame.message).unwrap_or_else(|e| panic!("{id}: {e}"));
        assert_eq!(message.mti().to_string(), text(record, "mti"));
        let listed = record["fields"].as_object().unwrap();
        assert_eq!(message.fields().count(), listed.len(), "{id}");
        for (no, field) in listed {
            let no = FieldNo(no.parse().unwrap());
            let value = message.field(no).unwrap_or_else(|| panic!("{id} {no:?}"));
            let decoded = match text(field, "kind") {
                "bcd" => value.digits().iter().map(|d| char::from(d + b'0')).collect(),
                "track" => {
                    value.digits().iter().map(|d| if d > 9 { 'D' } else { char::from(d + b'0') }).collect()
                }
                "binary" => protocol::hex::Hex(value.bytes()).to_string(),
                "gbk" => {
                    assert_eq!(value.bytes(), hex(field, "value_hex"), "{id} {no:?}");
                    continue;
                }
                "ascii" => String::from_utf8(value.bytes().to_vec()).unwrap(),
                other => panic!("kind {other}"),
            };
            assert_eq!(decoded, text(field, "value"), "{id} {no:?}");
        }

        let mut out = [0; 1024];
        let length = frame::write(&mut out, frame.tpdu, frame.header, |out| {
            let mut builder = Builder::new(&UNIONPAY, message.mti(), out).unwrap();
            for field in message.fields() {
                builder.copy(&field).unwrap();
            }
            Ok::<_, frame::FrameError>(builder.finish().unwrap())
        })
        .unwrap();
        assert_eq!(&out[2..length], body, "{id} raw");
        assert_eq!(usize::from(u16::from_be_bytes([out[0], out[1]])), body.len());

        let mut out = [0; 1024];
        let length = retype(&message, &mut out);
        assert_eq!(&out[..length], frame.message, "{id} typed");
    }
}

#[test]
fn the_typed_values_of_the_contactless_purchase_are_what_it_says() {
    let file = load("frames/unionpay_pos.json");
    let bytes = hex(&records(&file, "records")[0], "message");
    let message = Message::parse(&UNIONPAY, &bytes).unwrap();
    assert_eq!(message.mti(), Mti::FINANCIAL);
    assert_eq!(message.need::<Pan>().unwrap().to_string(), "622424******0113");
    assert_eq!(message.amount().unwrap().unwrap().to_string(), "0.01 CNY");
    assert_eq!(message.need::<Stan>().unwrap(), Stan(403));
    assert_eq!(message.need::<EntryMode>().unwrap(), EntryMode::CONTACTLESS_PIN);
    assert_eq!(message.need::<TerminalId>().unwrap().as_str(), "10000019");
    let track = message.need::<Track2>().unwrap();
    assert_eq!(track.pan(), message.get::<Pan>().unwrap());
    assert_eq!(track.expiry(), message.get::<Expiry>().unwrap());
    let batch = message.need::<Batch>().unwrap();
    assert_eq!((batch.kind, batch.batch.0, batch.reader), (TransactionKind::PURCHASE, 24, Some(6)));
    assert_eq!(message.get::<Original>().unwrap(), None);
    let missing = message.need::<RetrievalReference>().unwrap_err();
    assert_eq!(missing.to_string(), "field 37, byte 415: required, but absent");
    // Nothing of the card in any debug output.
    let shown = format!(
        "{message:?} {track:?} {:?} {:?}",
        message.fields().collect::<Vec<_>>(),
        message.get::<Expiry>()
    );
    assert!(
        !shown.contains("0000000113") && !shown.contains("6224240000") && !shown.contains("2806"),
        "{shown}"
    );
}

#[test]
fn the_published_unionpay_macs_agree_and_changed_messages_do_not() {
    let file = load("vectors/unionpay_mac.json");
    for record in records(&file, "records") {
        let expected = &record["expected"];
        match text(record, "operation") {
            "decrypt_working_key" => {
                let tmk: [u8; 16] = hex(record, "tmk").try_into().unwrap();
                let block = hex(record, "mak_encrypted").try_into().unwrap();
                assert_eq!(protocol::crypto::tdes_decrypt(&tmk, block)[..], hex(expected, "mak"));
            }
            "mac_from_fold" => {
                let key = Secret::from_hex(text(record, "mak")).unwrap();
                let mac = unionpay_mac_of_fold(&key, hex(record, "fold").try_into().unwrap());
                assert_eq!(mac[..], hex(expected, "field64"));
            }
            "mac" => {
                let key = MacKey::UnionPay(Secret::from_hex(text(record, "mak")).unwrap());
                let mut input = hex(record, "mab");
                let mac: [u8; 8] = hex(expected, "field64").try_into().unwrap();
                assert_eq!(key.mac(&input), mac);
                // The same as a message: the codec finds what the MAC is over.
                let whole = [&input[..], &mac].concat();
                let message = Message::parse(&UNIONPAY, &whole).unwrap();
                assert_eq!(message.mac(), Some((&input[..], mac)));
                input[20] ^= 1;
                assert!(!key.verifies(&input, &mac));
            }
            other => panic!("operation {other}"),
        }
    }
}

#[test]
fn a_built_message_carries_a_mac_that_verifies_in_both_dialects() {
    let keys = [
        (&protocol::iso8583::AES, MacKey::Aes(Secret::new([0x42; 16]))),
        (&UNIONPAY, MacKey::UnionPay(Secret::new([0x42; 8]))),
    ];
    for (dialect, key) in keys {
        let mut out = [0; 256];
        let mut builder = Builder::new(dialect, Mti::FINANCIAL, &mut out).unwrap();
        builder.put(&ProcessingCode::PURCHASE).unwrap().put(&AmountMinor(1250)).unwrap();
        builder.put(&Stan(7)).unwrap().put(&TerminalId::from_text("T1").unwrap()).unwrap();
        builder.put(&Currency::CNY).unwrap();
        let unsigned = builder.ready_for_mac().unwrap();
        let mac = key.mac(unsigned.input());
        let length = unsigned.finish(mac).unwrap();
        let message = Message::parse(dialect, &out[..length]).unwrap();
        let (input, mac) = message.mac().unwrap();
        assert!(key.verifies(input, &mac));
        assert_eq!(message.amount().unwrap().unwrap().to_string(), "12.50 CNY");
    }
}
