//! A card number. People and logs see its first 6 and last 4 digits at most.

use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Most digits of a card number (ISO/IEC 7812).
pub const MAX_PAN_DIGITS: usize = 19;
const PACKED: usize = 10;

/// A primary account number, 1 to 19 digits. Cleared on drop; masked in `Debug` and `Display`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Zeroize, ZeroizeOnDrop)]
pub struct Pan {
    /// Two digits to a byte, left-justified, zeros behind.
    packed: [u8; PACKED],
    len: u8,
}

/// Text or bytes that are no card number. It never repeats them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PanError {
    /// Too few or too many digits.
    #[error("a card number has 1 to 19 digits")]
    Length,
    /// Something else than a digit.
    #[error("a card number has only digits")]
    NotDecimal,
}

impl Pan {
    /// From its digits (0 to 9 each).
    ///
    /// # Errors
    /// See [`PanError`].
    pub fn from_digits(digits: impl IntoIterator<Item = u8>) -> Result<Self, PanError> {
        let mut pan = Self { packed: [0; PACKED], len: 0 };
        for digit in digits {
            if digit > 9 {
                return Err(PanError::NotDecimal);
            }
            let index = usize::from(pan.len);
            if index >= MAX_PAN_DIGITS {
                return Err(PanError::Length);
            }
            let byte = pan.packed.get_mut(index / 2).ok_or(PanError::Length)?;
            *byte |= if index.is_multiple_of(2) { digit << 4 } else { digit };
            pan.len = pan.len.saturating_add(1);
        }
        if pan.len == 0 { Err(PanError::Length) } else { Ok(pan) }
    }

    /// From `count` packed digits, left-justified.
    ///
    /// # Errors
    /// See [`PanError`].
    pub fn from_packed(bytes: &[u8], count: usize) -> Result<Self, PanError> {
        let used = bytes.get(..count.div_ceil(2)).ok_or(PanError::Length)?;
        let len = u8::try_from(count).map_err(|_| PanError::Length)?;
        if count == 0 || count > MAX_PAN_DIGITS {
            return Err(PanError::Length);
        }
        let mut packed = [0; PACKED];
        packed.get_mut(..used.len()).ok_or(PanError::Length)?.copy_from_slice(used);
        if !count.is_multiple_of(2)
            && let Some(last) = packed.get_mut(count / 2)
        {
            *last &= 0xF0;
        }
        if packed.iter().any(|byte| byte >> 4 > 9 || byte & 0x0F > 9) {
            return Err(PanError::NotDecimal);
        }
        Ok(Self { packed, len })
    }

    /// How many digits.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a card number has at least one digit")]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// The digits, for a computation or a message: never for people.
    pub fn digits(&self) -> impl DoubleEndedIterator<Item = u8> + '_ {
        (0..self.len()).map(|index| self.digit(index))
    }

    /// Packed digits, left-justified, zeros behind.
    #[must_use]
    pub const fn packed(&self) -> &[u8; PACKED] {
        &self.packed
    }

    fn digit(&self, index: usize) -> u8 {
        let byte = self.packed.get(index / 2).copied().unwrap_or_default();
        if index.is_multiple_of(2) { byte >> 4 } else { byte & 0x0F }
    }

    /// Whether the last digit is the check digit of the others (ISO/IEC 7812-1, Luhn).
    #[must_use]
    pub fn check_digit_is_right(&self) -> bool {
        let sum = self.digits().rev().enumerate().fold(0u32, |sum, (index, digit)| {
            let weighted = if index.is_multiple_of(2) { digit } else { digit.wrapping_mul(2) };
            sum.wrapping_add(u32::from(weighted / 10).wrapping_add(u32::from(weighted % 10)))
        });
        sum.is_multiple_of(10)
    }
}

impl core::str::FromStr for Pan {
    type Err = PanError;

    fn from_str(text: &str) -> Result<Self, PanError> {
        Self::from_digits(text.bytes().map(|byte| byte.wrapping_sub(b'0')))
    }
}

impl fmt::Display for Pan {
    /// First 6 and last 4 digits; of fewer than 14 digits only the last 4, so that at least half stay hidden.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = if self.len() < 14 { 0 } else { 6 };
        let tail = if self.len() < 8 { 0 } else { 4 };
        for (index, digit) in self.digits().enumerate() {
            let shown = index < head || index >= self.len().saturating_sub(tail);
            if shown { write!(f, "{digit}")? } else { f.write_str("*")? }
        }
        Ok(())
    }
}

impl fmt::Debug for Pan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pan({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn people_see_six_and_four_digits_at_most() {
        let pan: Pan = "6224240000000113".parse().unwrap();
        assert_eq!(pan.to_string(), "622424******0113");
        assert_eq!(std::format!("{pan:?}"), "Pan(622424******0113)");
        assert_eq!("6224240000000113999".parse::<Pan>().unwrap().to_string(), "622424*********3999");
        assert_eq!("1234567890123".parse::<Pan>().unwrap().to_string(), "*********0123");
        assert_eq!("1234".parse::<Pan>().unwrap().to_string(), "****");
    }

    #[test]
    fn packed_and_text_forms_are_one_number() {
        let pan: Pan = "123456789".parse().unwrap();
        assert_eq!(Pan::from_packed(&[0x12, 0x34, 0x56, 0x78, 0x9F], 9).as_ref(), Ok(&pan));
        assert_eq!(pan.packed()[..5], [0x12, 0x34, 0x56, 0x78, 0x90]);
        assert!(pan.digits().eq([1, 2, 3, 4, 5, 6, 7, 8, 9]));
        assert_eq!(Pan::from_packed(&[0x1A], 2), Err(PanError::NotDecimal));
        assert_eq!(Pan::from_packed(&[0x12], 3), Err(PanError::Length));
        assert_eq!("".parse::<Pan>(), Err(PanError::Length));
        assert_eq!("12345678901234567890".parse::<Pan>(), Err(PanError::Length));
        assert_eq!("1234 5".parse::<Pan>(), Err(PanError::NotDecimal));
    }

    #[test]
    fn the_check_digit_is_luhns() {
        assert!("4111111111111111".parse::<Pan>().unwrap().check_digit_is_right());
        assert!(!"4111111111111112".parse::<Pan>().unwrap().check_digit_is_right());
    }
}
