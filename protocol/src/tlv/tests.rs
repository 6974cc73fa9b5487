//! BER-TLV: limits, round trips, and agreement with an independent reader.

use super::*;
use iso7816_tlv::ber;
use proptest::prelude::*;
use std::vec::Vec;
use std::{vec, vec::Vec as StdVec};

fn tlv_strategy() -> impl Strategy<Value = ber::Tlv> {
    let primitive_tag =
        prop_oneof![Just(0x50u64), Just(0x84), Just(0x9F0C), Just(0x9F38), Just(0x5F2A), Just(0xDF8101)];
    let constructed_tag = prop_oneof![Just(0x6Fu64), Just(0xA5), Just(0x70), Just(0xBF0C), Just(0xFF8106)];
    let value = proptest::collection::vec(any::<u8>(), 0..400);
    let leaf = (primitive_tag, value).prop_map(|(tag, value)| {
        ber::Tlv::new(tag.try_into().unwrap(), ber::Value::Primitive(value)).unwrap()
    });
    leaf.prop_recursive(4, 24, 4, move |inner| {
        (constructed_tag.clone(), proptest::collection::vec(inner, 0..4)).prop_map(|(tag, children)| {
            ber::Tlv::new(tag.try_into().unwrap(), ber::Value::Constructed(children)).unwrap()
        })
    })
    .prop_filter("iso7816-tlv miscounts a length of 127 in its parents", |element| !holds_length_127(element))
}

fn holds_length_127(element: &ber::Tlv) -> bool {
    match element.value() {
        ber::Value::Primitive(value) => value.len() == 127,
        ber::Value::Constructed(children) => {
            children.iter().any(holds_length_127)
                || children.iter().map(|child| child.to_vec().len()).sum::<usize>() == 127
        }
    }
}

fn shape(element: &ber::Tlv, depth: usize, out: &mut StdVec<(usize, u32, usize)>) {
    let mut tag = 0u32;
    for byte in element.tag().to_bytes() {
        tag = (tag << 8) | u32::from(*byte);
    }
    match element.value() {
        ber::Value::Primitive(value) => out.push((depth, tag, value.len())),
        ber::Value::Constructed(children) => {
            out.push((depth, tag, usize::MAX));
            children.iter().for_each(|child| shape(child, depth + 1, out));
        }
    }
}

fn rewrite(element: &ber::Tlv, writer: &mut TlvWriter<'_>) -> Result<(), TlvError> {
    let tag = Tag::read(element.tag().to_bytes()).unwrap().0;
    match element.value() {
        ber::Value::Primitive(value) => writer.put(tag, value),
        ber::Value::Constructed(children) => {
            writer.constructed(tag, |inner| children.iter().try_for_each(|child| rewrite(child, inner)))
        }
    }
}

const WIDE: Limits = Limits { depth: DEPTH_MAX, elements: 4096, value_bytes: 65_535 };

proptest! {
    #[test]
    fn we_read_what_iso7816_tlv_writes(element in tlv_strategy()) {
        let bytes = element.to_vec();
        let mut expected = vec![];
        shape(&element, 0, &mut expected);
        let seen: Result<Vec<_>, _> = Walk::new(&bytes, WIDE)
            .map(|step| step.map(|(depth, t)| (depth, t.tag.number(), if t.tag.is_constructed() { usize::MAX } else { t.value.len() })))
            .collect();
        prop_assert_eq!(seen, Ok(expected));
    }

    #[test]
    fn iso7816_tlv_reads_what_we_write(element in tlv_strategy()) {
        let mut out = vec![0; 65_536];
        let mut writer = TlvWriter::new(&mut out);
        rewrite(&element, &mut writer).unwrap();
        let n = writer.len();
        out.truncate(n);
        prop_assert_eq!(ber::Tlv::parse_all(&out), vec![element]);
    }

    #[test]
    fn any_bytes_are_read_without_panic_and_within_the_limits(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let limits = Limits { depth: 4, elements: 20, value_bytes: 100 };
        let mut count = 0;
        for (depth, element) in Walk::new(&bytes, limits).flatten() {
            count += 1;
            prop_assert!(depth < 4 && element.value.len() <= 100);
        }
        prop_assert!(count <= 20);
        #[cfg(feature = "alloc")]
        let _ = tree::parse(&bytes, limits);
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn trees_equal_those_of_the_crate(element in tlv_strategy()) {
        prop_assert_eq!(tree::parse(&element.to_vec(), WIDE), Ok(vec![element]));
    }
}

#[test]
fn a_bomb_of_nested_templates_is_refused() {
    let bomb: Vec<u8> = [0x70, 0x7F].repeat(32 * 1024);
    assert!(matches!(scan(&bomb, Limits::CARD), Err(TlvError::Truncated | TlvError::TooDeep)));
    let mut nested = vec![];
    for _ in 0..(DEPTH_MAX + 1) {
        let mut outer = vec![0x70, nested.len() as u8];
        outer.append(&mut nested);
        nested = outer;
    }
    assert_eq!(scan(&nested, Limits::CARD), Err(TlvError::TooDeep));
}

#[test]
fn limits_on_number_and_length_hold() {
    let many = [0x50, 0x00].repeat(300);
    assert_eq!(scan(&many, Limits::CARD), Err(TlvError::TooMany));
    let long = [&[0x50, 0x82, 0x10, 0x01][..], &[0; 0x1001]].concat();
    assert_eq!(scan(&long, Limits::CARD), Err(TlvError::ValueTooLong));
}

#[test]
fn odd_forms_of_cards_are_read_and_broken_ones_refused() {
    // Padding before, between and after; a length that is not the shortest.
    let padded = [0x00, 0x50, 0x81, 0x01, 0xAA, 0x00, 0x00, 0x84, 0x00, 0x00];
    assert_eq!(scan(&padded, Limits::CARD), Ok(2));
    let cases: &[(&[u8], TlvError)] = &[
        (&[0x50], TlvError::Truncated),
        (&[0x9F], TlvError::Truncated),
        (&[0x50, 0x02, 0x01], TlvError::Truncated),
        (&[0x50, 0x81], TlvError::Truncated),
        (&[0x50, 0x82, 0x01], TlvError::Truncated),
        (&[0x50, 0x80, 0x00, 0x00], TlvError::BadLength),
        (&[0x50, 0x83, 0, 0, 1, 9], TlvError::BadLength),
        (&[0xDF, 0x81, 0x82, 0x03, 0x00], TlvError::TagTooLong),
        (&[0x6F, 0x03, 0x84, 0x02, 0x01], TlvError::Truncated),
    ];
    for (bytes, error) in cases {
        assert_eq!(scan(bytes, Limits::CARD), Err(*error), "{bytes:02X?}");
    }
}

#[test]
fn a_path_leads_to_a_value() {
    let fci = [0x6F, 0x09, 0x84, 0x01, 0xA0, 0xA5, 0x04, 0x9F, 0x0C, 0x01, 0x77];
    let path = [Tag::new(0x6F), Tag::new(0xA5), Tag::new(0x9F0C)];
    assert_eq!(find_path(&fci, &path, Limits::CARD), Ok(&[0x77][..]));
    assert_eq!(
        find_path(&fci, &[Tag::new(0x6F), Tag::new(0x50)], Limits::CARD),
        Err(TlvError::Missing(Tag::new(0x50)))
    );
}
