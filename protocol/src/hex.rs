//! Hexadecimal text: how keys, serial numbers and traces are written in files and shown to people.

use core::fmt;

/// Why text is not the bytes that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// An odd number of digits.
    #[error("odd number of hexadecimal digits")]
    OddLength,
    /// A character that is not a hexadecimal digit; the text itself is not repeated, it may be a key.
    #[error("character {0} is not a hexadecimal digit")]
    NotADigit(usize),
    /// Another number of bytes than expected.
    #[error("expected {expected} bytes, found {found}")]
    WrongLength {
        /// Bytes wanted.
        expected: usize,
        /// Bytes there.
        found: usize,
    },
}

fn nibble(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// Reads `text` into the front of `out` and returns how many bytes that were.
///
/// # Errors
/// Odd length, a character that is no digit, or more bytes than `out` holds.
pub fn decode_into(text: &str, out: &mut [u8]) -> Result<usize, HexError> {
    let digits = text.as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(HexError::OddLength);
    }
    let room = out.len();
    let target =
        out.get_mut(..pairs.len()).ok_or(HexError::WrongLength { expected: room, found: pairs.len() })?;
    for (index, (slot, [high, low])) in target.iter_mut().zip(pairs).enumerate() {
        let at = index.saturating_mul(2);
        let high = nibble(*high).ok_or(HexError::NotADigit(at))?;
        let low = nibble(*low).ok_or(HexError::NotADigit(at.saturating_add(1)))?;
        *slot = (high << 4) | low;
    }
    Ok(pairs.len())
}

/// Reads exactly `N` bytes.
///
/// # Errors
/// As [`decode_into`], or another number of bytes.
pub fn decode<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let mut out = [0; N];
    let found = text.len() / 2;
    if text.len().is_multiple_of(2) && found != N {
        return Err(HexError::WrongLength { expected: N, found });
    }
    decode_into(text, &mut out)?;
    Ok(out)
}

/// Shows bytes as upper-case hexadecimal without separators.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn hexadecimal_reads_back_what_it_prints() {
        let bytes = [0x00, 0xA4, 0xFF, 0x10];
        assert_eq!(decode::<4>(&Hex(&bytes).to_string()), Ok(bytes));
        assert_eq!(decode::<2>("a4Ff"), Ok([0xA4, 0xFF]));
    }

    #[test]
    fn bad_hexadecimal_is_refused_with_its_place() {
        assert_eq!(decode::<2>("A4F"), Err(HexError::OddLength));
        assert_eq!(decode::<2>("A4FG"), Err(HexError::NotADigit(3)));
        assert_eq!(decode::<2>("A4FF00"), Err(HexError::WrongLength { expected: 2, found: 3 }));
        assert_eq!(decode_into("A4é", &mut [0; 8]), Err(HexError::NotADigit(2)));
    }
}
