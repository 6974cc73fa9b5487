//! The last line of defence of the logs: what looks like a card number or a key is blanked, whoever wrote it.
//!
//! Secrets have types that do not print (`protocol::secret`); this catches what got past them:
//! - 13 to 19 digits that pass the Luhn check, also in groups with single spaces or hyphens (a PAN);
//! - 32 and more hexadecimal digits, also as pairs with single spaces or colons (a key, a key block, a message);
//! - 16 and more bytes as `Debug` prints them, `[171, 5, …]`.

use std::borrow::Cow;

/// Digits of a primary account number (ISO/IEC 7812; shorter ones exist only in theory).
const PAN_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// Hexadecimal digits of the shortest key.
const KEY_HEX_DIGITS_MIN: usize = 32;
/// Bytes of the shortest key.
const KEY_BYTES_MIN: usize = 16;

/// `text` without what looks like a card number or a key.
#[must_use]
pub fn mask(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut masked: Option<String> = None;
    let (mut kept, mut at) = (0_usize, 0_usize);
    let mut previous = b' ';
    while let Some((first, _)) = bytes.get(at..).and_then(<[u8]>::split_first) {
        let rest = bytes.get(at..).unwrap_or_default();
        if let Some((length, label)) = hit(rest, previous) {
            let out = masked.get_or_insert_with(|| String::with_capacity(text.len()));
            // Hits start and end at ASCII characters, so these are character boundaries.
            out.push_str(text.get(kept..at).unwrap_or_default());
            out.push_str(label);
            at = at.saturating_add(length);
            kept = at;
            previous = b' ';
        } else {
            previous = *first;
            at = at.saturating_add(1);
        }
    }
    match masked {
        None => Cow::Borrowed(text),
        Some(mut out) => {
            out.push_str(text.get(kept..).unwrap_or_default());
            Cow::Owned(out)
        }
    }
}

/// Length and replacement of something secret-looking at the front of `rest`.
fn hit(rest: &[u8], previous: u8) -> Option<(usize, &'static str)> {
    let first = rest.first()?;
    if *first == b'[' {
        return byte_list(rest).map(|length| (length, "[masked bytes]"));
    }
    if !first.is_ascii_hexdigit() {
        return None;
    }
    if let Some(length) = hex_run(rest) {
        return Some((length, "[masked hex]"));
    }
    // Only from the start of a run of digits: a serial number of 20 digits is no PAN, and neither is its end.
    let starts = first.is_ascii_digit() && !previous.is_ascii_digit();
    if starts { pan(rest).map(|length| (length, "[masked PAN]")) } else { None }
}

/// Length of a run of at least [`KEY_HEX_DIGITS_MIN`] hexadecimal digits, plain or as separated pairs.
fn hex_run(rest: &[u8]) -> Option<usize> {
    let plain = rest.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if plain >= KEY_HEX_DIGITS_MIN {
        return Some(plain);
    }
    let pair = |chunk: &[u8]| matches!(chunk, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    let (mut length, mut pairs) = (0, 0_usize);
    for chunk in rest.chunks(3) {
        if !pair(chunk) {
            break;
        }
        pairs = pairs.saturating_add(1);
        length = pairs.saturating_mul(3).saturating_sub(1);
        if !matches!(chunk.get(2), Some(b' ' | b':')) {
            break;
        }
    }
    (pairs >= KEY_HEX_DIGITS_MIN / 2).then_some(length)
}

/// Length of the longest run of digits (whole groups) that passes for a card number.
fn pan(rest: &[u8]) -> Option<usize> {
    let mut digits = Vec::with_capacity(PAN_DIGITS.end().saturating_add(1));
    let mut found = None;
    for (at, byte) in rest.iter().enumerate() {
        let next_is_digit = rest.get(at.saturating_add(1)).is_some_and(u8::is_ascii_digit);
        if byte.is_ascii_digit() {
            digits.push(byte.wrapping_sub(b'0'));
        } else if !(matches!(byte, b' ' | b'-') && next_is_digit) {
            break;
        }
        if digits.len() > *PAN_DIGITS.end() {
            break;
        }
        if !next_is_digit && PAN_DIGITS.contains(&digits.len()) && luhn(&digits) {
            found = Some(at.saturating_add(1));
        }
    }
    found
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(*digit);
            let doubled = digit.saturating_mul(2);
            match (place.is_multiple_of(2), doubled > 9) {
                (true, _) => digit,
                (false, true) => doubled.saturating_sub(9),
                (false, false) => doubled,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Length of `[1, 2, …]` with at least [`KEY_BYTES_MIN`] numbers below 256.
fn byte_list(rest: &[u8]) -> Option<usize> {
    let body = rest.get(1..)?;
    let inner = body.iter().take_while(|b| b.is_ascii_digit() || matches!(b, b',' | b' ' | b'\n')).count();
    if body.get(inner) != Some(&b']') {
        return None;
    }
    let text = std::str::from_utf8(body.get(..inner)?).ok()?;
    let numbers = text.split(',').map(str::trim).filter(|number| !number.is_empty());
    let count = numbers.clone().count();
    let all_bytes = numbers.clone().all(|number| number.parse::<u8>().is_ok());
    (count >= KEY_BYTES_MIN && all_bytes).then(|| inner.saturating_add(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that passes Luhn and belongs to nobody (issuer digits 0).
    fn made_up_pan(length: usize) -> String {
        let body = "0".repeat(length - 3) + "42";
        (0..10).map(|check| format!("{body}{check}")).find(|pan| luhn(&digits(pan))).unwrap()
    }

    fn digits(text: &str) -> Vec<u8> {
        text.bytes().map(|b| b - b'0').collect()
    }

    #[test]
    fn card_numbers_of_every_length_are_blanked_wherever_they_stand() {
        for length in PAN_DIGITS {
            let pan = made_up_pan(length);
            for (before, after) in [("", ""), ("pan=", ","), ("PAN", "D2512"), ("卡", "号"), ("12 ", " 34")]
            {
                let masked = mask(&format!("{before}{pan}{after}")).into_owned();
                assert!(!masked.contains(&pan), "{masked}");
                assert!(masked.contains("[masked PAN]"), "{masked}");
            }
        }
        let pan = made_up_pan(16);
        let (a, rest) = pan.split_at(4);
        assert_eq!(mask(&format!("card {a} {rest}!")), "card [masked PAN]!");
        assert_eq!(mask(&format!("card {a}-{rest} 17 left")), "card [masked PAN] 17 left");
    }

    #[test]
    fn keys_are_blanked_as_hex_as_pairs_and_as_a_list_of_bytes() {
        let hex = "0123456789abcdefFEDCBA9876543210";
        assert_eq!(mask(&format!("key={hex}.")), "key=[masked hex].");
        assert_eq!(mask(&format!("a key {hex}{hex} here")), "a key [masked hex] here");
        let pairs = ["A0"; 16].join(" ");
        assert_eq!(mask(&format!("dump: {pairs}\n")), "dump: [masked hex]\n");
        assert_eq!(mask(&format!("dump: {}\n", ["A0"; 16].join(":"))), "dump: [masked hex]\n");
        assert_eq!(mask(&format!("{:?}", [0xAB_u8; 16])), "[masked bytes]");
        assert_eq!(mask(&format!("{:#?}", [0xAB_u8; 16])), "[masked bytes]");
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "2026-11-22T18:30:05.123456Z sold 12.50 CNY, trace 000017",
            "card 62170000001234567890 in slot 0",
            "status 9000, counter 0011, 00A4040009F05441504C494E4501",
            "[1, 2, 3] and [300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300]",
            "余额 100.00",
            "",
        ] {
            assert!(matches!(mask(text), Cow::Borrowed(_)), "{}", mask(text));
        }
    }
}
