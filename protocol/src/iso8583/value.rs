//! The content of a field, and its digits whatever their form on the wire.

use super::table::{Row, Rule};
use super::{Coding, Field, FieldError, FieldNo, FieldValue, Place, Reason, Side};
use crate::bytes::{bcd_decode, is_packed16, unpack16, word};
use core::fmt;

/// One field of a message, as it is on the wire and checked against its table.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    pub(super) no: FieldNo,
    pub(super) row: &'static Row,
    pub(super) at: usize,
    pub(super) units: u16,
    pub(super) bytes: &'a [u8],
}

impl<'a> Value<'a> {
    /// The field's number.
    #[must_use]
    pub const fn no(&self) -> FieldNo {
        self.no
    }

    /// The field's row in the table.
    #[must_use]
    pub const fn table(&self) -> &'static Field {
        &self.row.field
    }

    /// Digits (codings of digits) or bytes (all others).
    #[must_use]
    pub const fn units(&self) -> u16 {
        self.units
    }

    /// The content as it is on the wire, without a length prefix.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The content's digits. Text fields that hold digits (a currency code) have them too.
    #[must_use]
    pub fn digits(&self) -> Digits<'a> {
        match self.row.field.coding {
            Coding::Packed(Side::Left) => {
                let skip = self.units & 1;
                Digits { bytes: self.bytes, packed: true, skip, count: self.units }
            }
            Coding::Packed(Side::Right) | Coding::PackedTrack => {
                Digits { bytes: self.bytes, packed: true, skip: 0, count: self.units }
            }
            _ => Digits { bytes: self.bytes, packed: false, skip: 0, count: self.units },
        }
    }

    /// The digits as a number.
    ///
    /// # Errors
    /// Something else than digits, or more than 64 bits hold.
    #[inline]
    pub fn number(&self) -> Result<u64, Reason> {
        match self.row.rule {
            // Its digits and padding were checked when it was read.
            Rule::PackedLeft if self.bytes.len() <= 8 => Ok(unpack16(word(self.bytes))),
            Rule::PackedRight if self.bytes.len() <= 8 => {
                let padding = u32::from(self.units & 1).wrapping_mul(4);
                Ok(unpack16(word(self.bytes).wrapping_shr(padding)))
            }
            Rule::PackedLeft => bcd_decode(self.bytes).map_err(|_| Reason::Value("number is too large")),
            Rule::PackedRight if self.units.is_multiple_of(2) => {
                bcd_decode(self.bytes).map_err(|_| Reason::Value("number is too large"))
            }
            _ => self.digits().number(),
        }
    }

    /// The content, which must be `N` bytes.
    ///
    /// # Errors
    /// Another length.
    #[inline]
    pub fn array<const N: usize>(&self) -> Result<[u8; N], Reason> {
        self.bytes.try_into().map_err(|_| Reason::Length { found: self.bytes.len(), min: N, max: N })
    }

    /// The content as a typed value.
    ///
    /// # Errors
    /// It is none.
    #[inline]
    pub fn read<T: FieldValue<'a>>(&self) -> Result<T, FieldError> {
        T::read(self).map_err(|reason| FieldError::new(Place::Field(self.no), self.at, reason))
    }
}

impl fmt::Debug for Value<'_> {
    /// Number and length; never the content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({})", self.no, self.units)
    }
}

/// Digits of a field, whatever their form on the wire. The separator of a track is the half byte 13.
#[derive(Clone, Copy)]
pub struct Digits<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) packed: bool,
    /// Half bytes before the first digit.
    pub(super) skip: u16,
    pub(super) count: u16,
}

impl<'a> Digits<'a> {
    /// Digits given as ASCII characters, for a builder.
    #[must_use]
    pub fn ascii(bytes: &'a [u8]) -> Self {
        let count = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        Self { bytes, packed: false, skip: 0, count }
    }

    /// The first `count` digits of packed half bytes, for a builder.
    #[must_use]
    pub const fn packed(bytes: &'a [u8], count: u16) -> Self {
        Self { bytes, packed: true, skip: 0, count }
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The digit at `index`: 0 to 9, or 13 for a track's separator; something above 9 for what is no digit.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> Option<u8> {
        if index >= self.len() {
            return None;
        }
        if self.packed {
            let half = index.checked_add(usize::from(self.skip))?;
            let byte = *self.bytes.get(half / 2)?;
            Some(if half.is_multiple_of(2) { byte >> 4 } else { byte & 0x0F })
        } else {
            Some(match *self.bytes.get(index)? {
                b'=' | b'D' => SEPARATOR,
                digit @ b'0'..=b'9' => digit & 0x0F,
                _ => 0x0F,
            })
        }
    }

    /// All of them in order.
    pub fn iter(self) -> impl Iterator<Item = u8> + 'a {
        (0..self.len()).map_while(move |index| self.get(index))
    }

    /// The digits from `start` on, at most `count`.
    #[must_use]
    pub fn part(&self, start: usize, count: usize) -> Self {
        let start = start.min(self.len());
        let count = count.min(self.len().saturating_sub(start));
        let count16 = u16::try_from(count).unwrap_or(0);
        if self.packed {
            let half = start.saturating_add(usize::from(self.skip));
            let bytes = self.bytes.get(half / 2..).unwrap_or_default();
            Self { bytes, packed: true, skip: u16::from(!half.is_multiple_of(2)), count: count16 }
        } else {
            let bytes = self.bytes.get(start..).unwrap_or_default();
            Self { bytes, packed: false, skip: 0, count: count16 }
        }
    }

    /// As a number.
    ///
    /// # Errors
    /// Something else than digits, or more than 64 bits hold.
    #[inline]
    pub fn number(&self) -> Result<u64, Reason> {
        match self.packed15() {
            Some(packed) if is_packed16(packed) => Ok(unpack16(packed)),
            Some(_) => Err(Reason::NotDecimal),
            None => self.long_number(),
        }
    }

    /// At most 15 packed digits, right-aligned.
    #[inline]
    fn packed15(&self) -> Option<u64> {
        if !self.packed || self.count > 15 || self.skip > 1 {
            return None;
        }
        let end = self.skip.wrapping_add(self.count);
        let bytes = self.bytes.get(..usize::from(end.div_ceil(2)))?;
        let all = word(bytes);
        let aligned = if end.is_multiple_of(2) { all } else { all >> 4 };
        Some(aligned & 1u64.unbounded_shl(u32::from(self.count).wrapping_mul(4)).wrapping_sub(1))
    }

    fn long_number(&self) -> Result<u64, Reason> {
        let mut value = 0u64;
        for digit in self.iter() {
            if digit > 9 {
                return Err(Reason::NotDecimal);
            }
            let next = value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit)));
            value = next.ok_or(Reason::Value("number is too large"))?;
        }
        Ok(value)
    }

    /// As a number that fits `T`; see [`Digits::number`].
    ///
    /// # Errors
    /// As [`Digits::number`], or a number that does not fit.
    pub fn to<T: TryFrom<u64>>(&self) -> Result<T, Reason> {
        T::try_from(self.number()?).map_err(|_| Reason::Value("number is too large"))
    }
}

/// The separator of a magnetic track, as a half byte.
pub(super) const SEPARATOR: u8 = 0x0D;
