//! Bytes of a trace, of which some may be masked.

use protocol::hex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;

const MASK: &str = "XX";

/// Bytes as a trace keeps them: each is there or masked. `Debug` shows the number only: unmasked ones may hold a PIN.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceBytes(Vec<Option<u8>>);

impl TraceBytes {
    /// The bytes as they are.
    #[must_use]
    pub fn clear(bytes: &[u8]) -> Self {
        Self(bytes.iter().copied().map(Some).collect())
    }

    /// Masks a range; what lies outside of the bytes is ignored.
    #[must_use]
    pub fn masking(mut self, range: std::ops::Range<usize>) -> Self {
        let end = range.end.min(self.0.len());
        if let Some(masked) = self.0.get_mut(range.start.min(end)..end) {
            masked.fill(None);
        }
        self
    }

    /// How many bytes, masked ones included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes; masked ones are `None`.
    #[must_use]
    pub fn as_slice(&self) -> &[Option<u8>] {
        &self.0
    }

    /// Where `bytes` first differ; masked bytes equal any. `None` if they do not differ.
    #[must_use]
    pub fn first_difference(&self, bytes: &[u8]) -> Option<usize> {
        let differing =
            self.0.iter().zip(bytes).position(|(own, other)| own.is_some_and(|own| own != *other));
        let shorter = self.0.len().min(bytes.len());
        differing.or_else(|| (self.0.len() != bytes.len()).then_some(shorter))
    }

    /// Writes the bytes, masked ones as 00, into the front of `out`. `None` if they do not fit.
    pub(super) fn copy_to(&self, out: &mut [u8]) -> Option<usize> {
        let target = out.get_mut(..self.0.len())?;
        target.iter_mut().zip(&self.0).for_each(|(slot, byte)| *slot = byte.unwrap_or(0));
        Some(self.0.len())
    }
}

impl fmt::Debug for TraceBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceBytes({} bytes)", self.0.len())
    }
}

impl fmt::Display for TraceBytes {
    /// Hexadecimal, masked bytes as `XX`: as in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| match byte {
            Some(byte) => write!(f, "{byte:02X}"),
            None => f.write_str(MASK),
        })
    }
}

impl Serialize for TraceBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if !rest.is_empty() {
            return Err(D::Error::custom("odd number of digits"));
        }
        let byte = |pair: &[u8; 2]| {
            if pair == MASK.as_bytes() {
                return Ok(None);
            }
            let digits = std::str::from_utf8(pair).map_err(|_| D::Error::custom("not hexadecimal"))?;
            let [byte] = hex::decode(digits).map_err(|_| D::Error::custom("not hexadecimal"))?;
            Ok(Some(byte))
        };
        pairs.iter().map(byte).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_bytes_equal_any_and_lengths_count() {
        let bytes = TraceBytes::clear(&[1, 2, 3]).masking(1..2);
        assert_eq!(bytes.to_string(), "01XX03");
        assert_eq!(bytes.first_difference(&[1, 9, 3]), None);
        assert_eq!(bytes.first_difference(&[1, 9, 4]), Some(2));
        assert_eq!(bytes.first_difference(&[1, 9]), Some(2));
        assert_eq!(bytes.first_difference(&[1, 9, 3, 4]), Some(3));
        assert_eq!(format!("{bytes:?}"), "TraceBytes(3 bytes)");
    }

    #[test]
    fn masking_stays_within_the_bytes() {
        assert_eq!(TraceBytes::clear(&[1, 2]).masking(1..9).to_string(), "01XX");
        assert_eq!(TraceBytes::clear(&[1, 2]).masking(5..9).to_string(), "0102");
    }
}
