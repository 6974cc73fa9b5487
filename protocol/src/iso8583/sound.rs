//! Whether content is what its coding allows, eight bytes at a time.
//!
//! Each test looks at a word of eight bytes and sets a bit for every byte (or half byte) that is wrong. Bytes do not
//! influence each other, so a word may reach beyond the content: what it says of those bytes is shifted out.

use super::Alphabet;
use super::table::Rule;

const HALVES: u64 = 0x8888_8888_8888_8888;
const TOPS: u64 = 0x8080_8080_8080_8080;
const ONES: u64 = 0x0101_0101_0101_0101;

/// Whether the first `length` bytes of `rest` are what the rule allows; `rest` may go on.
#[inline]
pub(super) fn is_sound(rule: Rule, units: u16, rest: &[u8], length: usize) -> bool {
    let odd = !units.is_multiple_of(2);
    let last = || rest.get(length.wrapping_sub(1)).is_none_or(|byte| byte & 0x0F == 0);
    match rule {
        Rule::Bytes => true,
        Rule::PackedRight => none(rest, length, digit_halves) && (!odd || last()),
        Rule::PackedLeft => {
            none(rest, length, digit_halves) && (!odd || rest.first().is_none_or(|byte| byte >> 4 == 0))
        }
        Rule::PackedTrack => none(rest, length, track_halves) && (!odd || last()),
        Rule::An => none(rest, length, an),
        Rule::Ans => none(rest, length, ans),
        Rule::Local => none(rest, length, local),
        Rule::Digits => none(rest, length, digits),
        Rule::Track => none(rest, length, track),
        Rule::Hex => rest.iter().take(length).all(u8::is_ascii_hexdigit),
        Rule::Absent => false,
    }
}

/// Whether all half bytes are decimal digits.
#[inline]
pub(super) fn packed_digits(bytes: &[u8]) -> bool {
    none(bytes, bytes.len(), digit_halves)
}

/// Whether all half bytes are digits or separators.
#[inline]
pub(super) fn packed_track(bytes: &[u8]) -> bool {
    none(bytes, bytes.len(), track_halves)
}

/// Whether all bytes are ASCII digits.
#[inline]
pub(super) fn ascii_digits(bytes: &[u8]) -> bool {
    none(bytes, bytes.len(), digits)
}

impl Alphabet {
    /// Whether every byte belongs to the alphabet.
    #[must_use]
    #[inline]
    pub fn holds_all(self, bytes: &[u8]) -> bool {
        match self {
            Self::An => none(bytes, bytes.len(), an),
            Self::Ans => none(bytes, bytes.len(), ans),
            Self::Local => none(bytes, bytes.len(), local),
        }
    }
}

/// Whether `bad` says nothing of the first `length` bytes.
#[inline(always)]
fn none(rest: &[u8], length: usize, bad: impl Fn(u64) -> u64) -> bool {
    match rest.first_chunk::<8>() {
        Some(first) if length <= 8 => {
            let beyond = 64usize.wrapping_sub(length.wrapping_mul(8));
            bad(u64::from_le_bytes(*first)).unbounded_shl(u32::try_from(beyond).unwrap_or(64)) == 0
        }
        _ => none_of_many(rest.get(..length).unwrap_or(rest), bad),
    }
}

#[inline(always)]
fn none_of_many(content: &[u8], bad: impl Fn(u64) -> u64) -> bool {
    let Some(last) = content.last_chunk::<8>() else {
        let bytes = content.iter().rev().fold(0u64, |word, byte| (word << 8) | u64::from(*byte));
        let beyond = 64usize.wrapping_sub(content.len().wrapping_mul(8));
        return bad(bytes).unbounded_shl(u32::try_from(beyond).unwrap_or(64)) == 0;
    };
    let (words, _) = content.as_chunks::<8>();
    // The last word overlaps the one before it.
    let all = bad(u64::from_le_bytes(*last));
    words.iter().fold(all, |all, word| all | bad(u64::from_le_bytes(*word))) == 0
}

/// Bit 3 of a half byte above 9 stands with bit 2 or bit 1.
#[inline]
const fn digit_halves(word: u64) -> u64 {
    word & ((word << 1) | (word << 2)) & HALVES
}

/// Above 9, only 1101 has bit 2 and bit 0 and not bit 1.
#[inline]
const fn track_halves(word: u64) -> u64 {
    word & ((word << 2) | ((word << 1) & !(word << 3))) & HALVES
}

/// The top bit of every byte that is within `FROM..=TO`, both below 128; of others not, if the word has no top bits.
#[inline]
const fn within<const FROM: u8, const TO: u8>(low: u64) -> u64 {
    let reaches = low.wrapping_add(ONES.wrapping_mul(0x80u64.wrapping_sub(FROM as u64)));
    let exceeds = low.wrapping_add(ONES.wrapping_mul(0x7Fu64.wrapping_sub(TO as u64)));
    reaches & !exceeds
}

#[inline]
const fn an(word: u64) -> u64 {
    let low = word & !TOPS;
    let good = within::<b'0', b'9'>(low) | within::<b'a', b'z'>(low | ONES.wrapping_mul(0x20));
    (!(good | within::<b' ', b' '>(low)) | word) & TOPS
}

#[inline]
const fn ans(word: u64) -> u64 {
    (!within::<b' ', b'~'>(word & !TOPS) | word) & TOPS
}

#[inline]
const fn local(word: u64) -> u64 {
    !(within::<b' ', b'~'>(word & !TOPS) | word) & TOPS
}

#[inline]
const fn digits(word: u64) -> u64 {
    (!within::<b'0', b'9'>(word & !TOPS) | word) & TOPS
}

#[inline]
const fn track(word: u64) -> u64 {
    let low = word & !TOPS;
    let good = within::<b'0', b'9'>(low) | within::<b'=', b'='>(low) | within::<b'D', b'D'>(low);
    (!good | word) & TOPS
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// The rule, byte by byte, as the table's documentation words it.
    fn allows(rule: Rule, byte: u8) -> bool {
        let half = |track: bool, half: u8| half <= 9 || (track && half == 0x0D);
        match rule {
            Rule::Absent => false,
            Rule::PackedLeft | Rule::PackedRight => half(false, byte >> 4) && half(false, byte & 15),
            Rule::PackedTrack => half(true, byte >> 4) && half(true, byte & 15),
            Rule::Digits => byte.is_ascii_digit(),
            Rule::Track => byte.is_ascii_digit() || byte == b'=' || byte == b'D',
            Rule::An => byte.is_ascii_alphanumeric() || byte == b' ',
            Rule::Ans => (0x20..0x7F).contains(&byte),
            Rule::Local => byte >= 0x20 && byte != 0x7F,
            Rule::Bytes => true,
            Rule::Hex => byte.is_ascii_hexdigit(),
        }
    }

    const RULES: [(Rule, u8); 10] = [
        (Rule::PackedLeft, 0x12),
        (Rule::PackedRight, 0x99),
        (Rule::PackedTrack, 0x9D),
        (Rule::Digits, b'0'),
        (Rule::Track, b'='),
        (Rule::An, b'Z'),
        (Rule::Ans, b'~'),
        (Rule::Local, 0xFF),
        (Rule::Bytes, 0),
        (Rule::Hex, b'f'),
    ];

    #[test]
    fn every_byte_at_every_place_is_judged_as_its_rule_words_it() {
        for (rule, good) in RULES {
            for (length, behind) in (0..=26).flat_map(|length| [(length, 0), (length, 3), (length, 9)]) {
                let mut bytes: Vec<u8> = std::vec![good; length];
                // What follows the content is none of its business.
                bytes.resize(length + behind, 0xFF);
                assert!(is_sound(rule, 0, &bytes, length), "{rule:?} {length}");
                for (at, byte) in (0..length).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
                    bytes[at] = byte;
                    assert_eq!(is_sound(rule, 0, &bytes, length), allows(rule, byte), "{rule:?} {byte:02x}");
                    bytes[at] = good;
                }
            }
        }
    }

    #[test]
    fn the_half_byte_that_pads_an_odd_number_is_zero() {
        for length in 1..20 {
            let (mut bytes, units) = (std::vec![0x11; length + 1], u16::try_from(2 * length - 1).unwrap());
            assert!(!is_sound(Rule::PackedRight, units, &bytes, length));
            assert!(!is_sound(Rule::PackedTrack, units, &bytes, length));
            assert!(!is_sound(Rule::PackedLeft, units, &bytes, length));
            (bytes[0], bytes[length - 1]) = (0x01, if length == 1 { 0x01 } else { 0x11 });
            assert!(is_sound(Rule::PackedLeft, units, &bytes, length));
            (bytes[0], bytes[length - 1]) = (0x10, 0x10);
            assert!(is_sound(Rule::PackedRight, units, &bytes, length));
            assert!(is_sound(Rule::PackedTrack, units, &bytes, length));
        }
    }
}
