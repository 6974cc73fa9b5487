//! Whatever comes in, the codec answers with a message or an error; whatever it builds, it reads back.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use proptest::prelude::*;
use protocol::iso8583::*;

/// Content for a field of either dialect, as its table allows it.
fn content(field: &'static Field) -> BoxedStrategy<Vec<u8>> {
    let (min, max) = field.bounds();
    let units = usize::from(min)..=usize::from(max.min(60).max(min));
    let symbols: &'static [u8] = match field.coding {
        Coding::Packed(_) | Coding::Digits => b"0123456789",
        Coding::PackedTrack | Coding::Track => b"0123456789=",
        Coding::Text(Alphabet::An) => b"AZaz09 ",
        Coding::Text(_) => b" !AZaz09~",
        Coding::Bytes | Coding::Hex => b"\x00\x01\x7F\x80\xFF",
    };
    proptest::collection::vec(proptest::sample::select(symbols), units).boxed()
}

fn dialects() -> impl Strategy<Value = &'static Dialect> {
    prop_oneof![Just(&AES), Just(&UNIONPAY)]
}

fn messages() -> impl Strategy<Value = (&'static Dialect, Vec<(FieldNo, Vec<u8>)>)> {
    dialects().prop_flat_map(|dialect| {
        let fields: Vec<_> = (2..=128)
            .filter_map(|no| dialect.field(FieldNo(no)).map(|field| (FieldNo(no), field)))
            .map(|(no, field)| proptest::option::of(content(field)).prop_map(move |c| c.map(|c| (no, c))))
            .collect();
        (Just(dialect), fields.prop_map(|fields| fields.into_iter().flatten().collect()))
    })
}

fn build(
    dialect: &'static Dialect,
    fields: &[(FieldNo, Vec<u8>)],
    out: &mut [u8],
) -> Result<usize, FieldError> {
    let mut builder = Builder::new(dialect, Mti::FINANCIAL, out)?;
    for (no, content) in fields {
        match dialect.field(*no).unwrap().coding {
            Coding::Text(_) => builder.text(*no, content)?,
            Coding::Bytes | Coding::Hex => builder.bytes(*no, content)?,
            _ => builder.digits(*no, Digits::ascii(content))?,
        };
    }
    builder.finish()
}

proptest! {
    #[test]
    fn what_is_built_is_read_back((dialect, fields) in messages()) {
        let mut out = [0; 4096];
        let length = build(dialect, &fields, &mut out).unwrap();
        let message = Message::parse(dialect, &out[..length]).unwrap();
        prop_assert_eq!(message.fields().count(), fields.len());
        let mut again = [0; 4096];
        let mut builder = Builder::new(dialect, message.mti(), &mut again).unwrap();
        for (no, content) in &fields {
            let value = message.field(*no).unwrap();
            match value.table().coding {
                Coding::Text(_) | Coding::Bytes | Coding::Hex => prop_assert_eq!(value.bytes(), &content[..]),
                _ => prop_assert!(value.digits().iter().eq(Digits::ascii(content).iter())),
            }
            builder.copy(&value).unwrap();
        }
        let copied = builder.finish().unwrap();
        prop_assert_eq!(&again[..copied], &out[..length]);
    }

    #[test]
    fn no_bytes_make_a_parser_panic(dialect in dialects(), bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(message) = Message::parse(dialect, &bytes) {
            prop_assert_eq!(message.bytes().len(), bytes.len());
        }
        let _ = Message::salvage(dialect, &bytes).fields().count();
        let _ = frame::split(&bytes);
        let _ = Frame::parse(&bytes, HeaderRule::Present);
    }

    #[test]
    fn a_changed_byte_gives_a_message_or_an_error_and_never_a_panic(
        (dialect, fields) in messages(), at in any::<prop::sample::Index>(), bits in 1u8..
    ) {
        let mut out = [0; 4096];
        let length = build(dialect, &fields, &mut out).unwrap();
        out[at.index(length)] ^= bits;
        match Message::parse(dialect, &out[..length]) {
            // What is accepted encodes to the same bytes: there is one encoding of every message.
            Ok(message) => {
                let mut again = [0; 4096];
                let two = message.bytes()[2] & 0x80 != 0;
                let start = if two { Builder::with_two_bitmaps } else { Builder::new };
                let mut builder = start(dialect, message.mti(), &mut again).unwrap();
                for value in message.fields() {
                    builder.copy(&value).unwrap();
                }
                let copied = builder.finish().unwrap();
                prop_assert_eq!(&again[..copied], &out[..length]);
            }
            Err(error) => prop_assert!(error.at <= length),
        }
        let salvaged = Message::salvage(dialect, &out[..length]);
        for value in salvaged.fields() {
            prop_assert!(salvaged.field(value.no()).is_some());
        }
    }

    #[test]
    fn a_cut_message_is_refused((dialect, fields) in messages(), at in any::<prop::sample::Index>()) {
        let mut out = [0; 4096];
        let length = build(dialect, &fields, &mut out).unwrap();
        prop_assert!(Message::parse(dialect, &out[..at.index(length)]).is_err());
        let error = Message::parse(dialect, &out[..=length]).unwrap_err();
        prop_assert_eq!(error.reason, Reason::Trailing(1));
    }
}

#[test]
fn refusals_name_field_position_and_reason() {
    // 0200 with fields 3, 11 and 41.
    let good = [&[2, 0, 0x20, 0x20, 0, 0, 0, 0x80, 0, 0][..], &[0, 0, 0], &[0, 0, 7], b"TERMINAL"].concat();
    let message = Message::parse(&AES, &good).unwrap();
    assert_eq!(format!("{message:?}"), "Message(aes 0200 [F3, F11, F41])");
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        Message::parse(&AES, &bytes).unwrap_err().to_string()
    };
    assert_eq!(refused(&|b| b[14] = 0x1B), "field 11, byte 14: not a decimal digit");
    assert_eq!(refused(&|b| b[16] = 7), "field 41, byte 16: not in the alphabet of the field");
    assert_eq!(refused(&|b| b.truncate(20)), "field 41, byte 16: 8 bytes needed, 4 left");
    assert_eq!(refused(&|b| b[0] = 0xA2), "message type, byte 0: not a decimal digit");
    assert_eq!(refused(&|b| b[2] |= 0x08), "field 5, byte 13: not in this dialect");
    assert_eq!(refused(&|b| b.push(0)), "end of message, byte 24: 1 bytes too many");
    assert_eq!(refused(&|b| b.truncate(9)), "bitmap, byte 2: 8 bytes needed, 7 left");
}

#[test]
fn a_message_with_wrong_content_still_tells_trace_and_terminal() {
    use protocol::ids::{Stan, TerminalId};
    let bad = [&[2, 0, 0x20, 0x20, 0, 0, 0, 0x80, 0, 0][..], &[0, 0xFF, 0], &[0, 0, 7], b"TERMINAL"].concat();
    assert!(Message::parse(&AES, &bad).is_err());
    let message = Message::salvage(&AES, &bad);
    assert!(!message.has(FieldNo(3)));
    assert_eq!(message.need::<Stan>(), Ok(Stan(7)));
    assert_eq!(message.need::<TerminalId>().unwrap().as_str(), "TERMINAL");
}

#[test]
fn a_builder_refuses_what_the_table_does_not_have() {
    let mut out = [0; 100];
    let at = |no| Place::Field(FieldNo(no));
    let mut builder = Builder::new(&AES, Mti::FINANCIAL, &mut out).unwrap();
    builder.number(FieldNo(11), 7).unwrap();
    let errors = [
        (builder.number(FieldNo(3), 0).unwrap_err(), 3, Reason::Order),
        (
            builder.number(FieldNo(12), 1_000_000).unwrap_err(),
            12,
            Reason::Value("number has more digits than the field"),
        ),
        (builder.number(FieldNo(5), 0).unwrap_err(), 5, Reason::NotInDialect),
        (builder.text(FieldNo(41), b"short").unwrap_err(), 41, Reason::Length { found: 5, min: 8, max: 8 }),
        (builder.digits(FieldNo(41), Digits::ascii(b"1234567D")).unwrap_err(), 41, Reason::NotDecimal),
        (builder.bytes(FieldNo(42), &[0; 15]).unwrap_err(), 42, Reason::Kind),
        (builder.bytes(FieldNo(59), &[0; 200]).unwrap_err(), 59, Reason::NoRoom),
    ];
    for (error, no, reason) in errors {
        assert_eq!((error.place, error.reason), (at(no), reason));
    }
    assert_eq!(builder.finish().unwrap_err().reason, Reason::Poisoned);
}

#[test]
fn batch_original_and_settlement_fields_keep_what_they_are_given() {
    use protocol::ids::{BatchNo, Stan};
    use protocol::iso8583::typed::*;
    let totals = |minor, count, balance| Totals {
        debit: Sum { minor, count },
        credit: Sum { minor: minor / 2, count: 1 },
        balance,
    };
    let settlement = SettlementTotals {
        domestic: totals(999_999_999_999, 999, Balance::Asked),
        foreign: totals(2, 3, Balance::NotBalanced),
        loads: Some(totals(50_000, 4, Balance::Balanced)),
    };
    let batch = Batch::management(BatchNo(24), ManagementCode::SETTLEMENT);
    let original = Original::new(BatchNo(24), Stan(403), MonthDay::new(2, 29));
    for loads in [settlement.loads, None] {
        let settlement = SettlementTotals { loads, ..settlement };
        let mut out = [0; 256];
        let mut builder = Builder::new(&AES, Mti::SETTLEMENT, &mut out).unwrap();
        builder.put(&settlement).unwrap().put(&batch).unwrap().put(&original).unwrap();
        let length = builder.finish().unwrap();
        let message = Message::parse(&AES, &out[..length]).unwrap();
        assert_eq!(message.need::<SettlementTotals>(), Ok(settlement));
        assert_eq!(message.need::<Batch>(), Ok(batch));
        assert_eq!(message.need::<Original>(), Ok(original));
    }
    let mut out = [0; 256];
    let mut builder = Builder::new(&AES, Mti::SETTLEMENT, &mut out).unwrap();
    let too_much = SettlementTotals { domestic: totals(1_000_000_000_000, 1, Balance::Asked), ..settlement };
    let reason = Reason::Value("a number has more digits than its place");
    assert_eq!(builder.put(&too_much).unwrap_err().reason, reason);
}

#[test]
fn values_that_no_field_means_are_refused_when_they_are_read() {
    use protocol::iso8583::typed::*;
    use protocol::money::Currency;
    use protocol::time::CardTime;
    let mut out = [0; 256];
    let mut builder = Builder::new(&AES, Mti::FINANCIAL, &mut out).unwrap();
    for (no, number) in [(12, 240_000), (13, 230), (14, 2813), (49, 999)] {
        builder.number(FieldNo(no), number).unwrap();
    }
    let length = builder.finish().unwrap();
    let message = Message::parse(&AES, &out[..length]).unwrap();
    let reason = |error: FieldError| error.to_string();
    assert_eq!(
        message.get::<CardTime>().map_err(reason).unwrap_err(),
        "field 12, byte 10: not a time of day"
    );
    assert_eq!(
        message.get::<LocalDate>().map_err(reason).unwrap_err(),
        "field 13, byte 13: not a day of a year"
    );
    assert_eq!(
        message.get::<Expiry>().map_err(reason).unwrap_err(),
        "field 14, byte 15: not a year and month"
    );
    assert_eq!(
        message.get::<Currency>().map_err(reason).unwrap_err(),
        "field 49, byte 17: currency is not supported"
    );
}
