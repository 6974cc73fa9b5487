//! PINs and PIN blocks: ISO 9564-1 format 0 (under DES) and format 4 (under AES), and translation between keys.
//!
//! A PIN block is bound to its card number; translation never changes it. Nothing of a PIN is in an error: only that the
//! block, deciphered with this key and this card number, holds none.

use crate::aes_key::{AesKey, BLOCK, xor};
use crate::des_key::DesKey;
use crate::pan::Pan;
use crate::secret::Secret;
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

const MIN_DIGITS: u8 = 4;
const MAX_DIGITS: u8 = 12;

/// Why there is no PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// The block is not 8 (format 0) or 16 (format 4) bytes long.
    #[error("PIN block has the wrong length")]
    BlockLength,
    /// The deciphered block is of another format: wrong key or card number, most likely.
    #[error("PIN block is of another format")]
    Format,
    /// Fewer than 4 or more than 12 digits.
    #[error("a PIN has 4 to 12 digits")]
    Length,
    /// Something else than digits.
    #[error("a PIN has only digits")]
    NotDecimal,
    /// The filler is not the format's.
    #[error("PIN block filler is wrong")]
    Filler,
    /// Format 0 needs 13 digits of card number.
    #[error("card number is too short for a format 0 PIN block")]
    PanTooShort,
}

/// A PIN. Cleared on drop; `Debug` shows nothing of it, not even its length.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Pin {
    /// Packed, left-justified, zeros behind.
    packed: [u8; 6],
    len: u8,
}

impl Pin {
    /// From its digits (0 to 9 each).
    ///
    /// # Errors
    /// See [`PinError`].
    pub fn from_digits(digits: impl IntoIterator<Item = u8>) -> Result<Self, PinError> {
        let mut pin = Self { packed: [0; 6], len: 0 };
        for digit in digits {
            if digit > 9 {
                return Err(PinError::NotDecimal);
            }
            let slot = pin.packed.get_mut(usize::from(pin.len / 2)).ok_or(PinError::Length)?;
            *slot |= if pin.len.is_multiple_of(2) { digit << 4 } else { digit };
            pin.len = pin.len.saturating_add(1);
        }
        if pin.len < MIN_DIGITS { Err(PinError::Length) } else { Ok(pin) }
    }

    /// The digits, for a computation: never for people.
    pub fn digits(&self) -> impl Iterator<Item = u8> + '_ {
        let halves = self.packed.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]);
        halves.take(usize::from(self.len))
    }

    /// The 8 bytes that both formats begin with: control and length, digits, filler.
    fn field(&self, control: u8, filler: u8) -> [u8; 8] {
        let mut out = [(filler << 4) | filler; 8];
        let digits = self.digits().map(Some).chain(core::iter::repeat(None));
        let halves = [Some(control), Some(self.len)].into_iter().chain(digits);
        let mut halves = halves.map(|half| half.unwrap_or(filler));
        for slot in &mut out {
            let (high, low) = (halves.next().unwrap_or(filler), halves.next().unwrap_or(filler));
            *slot = (high << 4) | low;
        }
        out
    }

    fn from_field(field: [u8; 8], control: u8, filler: u8) -> Result<Self, PinError> {
        let [head, rest @ ..] = field;
        let len = head & 0x0F;
        if head >> 4 != control {
            return Err(PinError::Format);
        }
        if !(MIN_DIGITS..=MAX_DIGITS).contains(&len) {
            return Err(PinError::Length);
        }
        let halves = rest.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]);
        if halves.clone().skip(usize::from(len)).any(|half| half != filler) {
            return Err(PinError::Filler);
        }
        Self::from_digits(halves.take(usize::from(len)))
    }
}

impl core::str::FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        Self::from_digits(text.bytes().map(|byte| byte.wrapping_sub(b'0')))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(****)")
    }
}

/// ISO 9564-1 format 0, in clear: PIN field and card number added.
///
/// # Errors
/// A card number of fewer than 13 digits.
pub fn format0_encode(pin: &Pin, pan: &Pan) -> Result<Secret<8>, PinError> {
    Ok(Secret::new(xor8(pin.field(0, 0xF), format0_pan_field(pan)?)))
}

/// The PIN of a format 0 block in clear.
///
/// # Errors
/// See [`PinError`].
pub fn format0_decode(block: &[u8], pan: &Pan) -> Result<Pin, PinError> {
    let block: [u8; 8] = block.try_into().map_err(|_| PinError::BlockLength)?;
    Pin::from_field(xor8(block, format0_pan_field(pan)?), 0, 0xF)
}

/// `0000` and the rightmost 12 digits of the card number without its check digit.
fn format0_pan_field(pan: &Pan) -> Result<[u8; 8], PinError> {
    if pan.len() < 13 {
        return Err(PinError::PanTooShort);
    }
    let mut out = [0; 8];
    let mut digits = pan.digits().rev().skip(1).take(12);
    for slot in out.iter_mut().rev().take(6) {
        let (low, high) = (digits.next().unwrap_or(0), digits.next().unwrap_or(0));
        *slot = (high << 4) | low;
    }
    Ok(out)
}

fn xor8(left: [u8; 8], right: [u8; 8]) -> [u8; 8] {
    (u64::from_be_bytes(left) ^ u64::from_be_bytes(right)).to_be_bytes()
}

/// The PIN field of format 4: control and length, digits, filler `A`, and 8 random bytes.
#[must_use]
pub fn format4_pin_field(pin: &Pin, random: [u8; 8]) -> Secret<16> {
    let mut out = [0; BLOCK];
    let (front, back) = out.split_at_mut(8);
    front.copy_from_slice(&pin.field(4, 0xA));
    back.copy_from_slice(&random);
    let field = Secret::new(out);
    out.zeroize();
    field
}

/// The PIN of a format 4 PIN field.
///
/// # Errors
/// See [`PinError`].
pub fn format4_decode_pin_field(field: &[u8]) -> Result<Pin, PinError> {
    let field: &[u8; BLOCK] = field.try_into().map_err(|_| PinError::BlockLength)?;
    let front = field.first_chunk::<8>().ok_or(PinError::BlockLength)?;
    Pin::from_field(*front, 4, 0xA)
}

/// The card number field of format 4: how many digits above 12, the digits, zeros. Shorter numbers are padded on the left
/// to 12 digits.
#[must_use]
pub fn format4_pan_field(pan: &Pan) -> [u8; BLOCK] {
    let missing = 12usize.saturating_sub(pan.len());
    let extra = u8::try_from(pan.len().saturating_sub(12)).unwrap_or(0);
    let zeros = core::iter::repeat_n(0, missing);
    let mut halves = core::iter::once(extra).chain(zeros).chain(pan.digits());
    let mut out = [0; BLOCK];
    for slot in &mut out {
        let (high, low) = (halves.next().unwrap_or(0), halves.next().unwrap_or(0));
        *slot = (high << 4) | low;
    }
    out
}

/// A key for PIN blocks, and with it their format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinKey {
    /// Format 0 under DES or triple DES.
    Format0(DesKey),
    /// Format 4 under AES.
    Format4(AesKey),
}

/// An enciphered PIN block.
pub use crate::iso8583::typed::EncryptedPin;

impl PinKey {
    /// Enciphers a PIN for a card. `random` is fresh for every block; format 0 does not use it.
    ///
    /// # Errors
    /// Format 0 and a card number of fewer than 13 digits.
    pub fn encipher(&self, pin: &Pin, pan: &Pan, random: [u8; 8]) -> Result<EncryptedPin, PinError> {
        match self {
            Self::Format0(key) => {
                let clear = format0_encode(pin, pan)?;
                Ok(EncryptedPin::Format0(key.encrypt(*clear.expose())))
            }
            Self::Format4(key) => {
                let field = format4_pin_field(pin, random);
                let inner = key.encrypt(*field.expose());
                Ok(EncryptedPin::Format4(key.encrypt(xor(inner, format4_pan_field(pan)))))
            }
        }
    }

    /// Deciphers a PIN block of this key's format.
    ///
    /// # Errors
    /// See [`PinError`]: another format, or no PIN in it.
    pub fn decipher(&self, block: &EncryptedPin, pan: &Pan) -> Result<Pin, PinError> {
        match (self, block) {
            (Self::Format0(key), EncryptedPin::Format0(block)) => {
                let clear = Secret::new(key.decrypt(*block));
                format0_decode(clear.expose(), pan)
            }
            (Self::Format4(key), EncryptedPin::Format4(block)) => {
                let field = Secret::new(key.decrypt(xor(key.decrypt(*block), format4_pan_field(pan))));
                format4_decode_pin_field(field.expose())
            }
            _ => Err(PinError::BlockLength),
        }
    }

    /// Enciphers a PIN block under another key, for the same card.
    ///
    /// # Errors
    /// As [`PinKey::decipher`] and [`PinKey::encipher`].
    pub fn translate(
        &self,
        to: &Self,
        block: &EncryptedPin,
        pan: &Pan,
        random: [u8; 8],
    ) -> Result<EncryptedPin, PinError> {
        to.encipher(&self.decipher(block, pan)?, pan, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> [PinKey; 2] {
        let aes = AesKey::Aes128(Secret::new(*b"ABCDEFGHIJKLMNOP"));
        [PinKey::Format0(DesKey::Double(Secret::new(*b"0123456789ABCDEF"))), PinKey::Format4(aes)]
    }

    #[test]
    fn a_pin_survives_every_translation_and_is_bound_to_its_card() {
        let (pin, pan): (Pin, Pan) = ("123456".parse().unwrap(), "6224240000000113".parse().unwrap());
        let other: Pan = "6224240000000121".parse().unwrap();
        for from in keys() {
            let block = from.encipher(&pin, &pan, [7; 8]).unwrap();
            for to in keys() {
                let translated = from.translate(&to, &block, &pan, [8; 8]).unwrap();
                assert_eq!(to.decipher(&translated, &pan).as_ref(), Ok(&pin));
                assert_ne!(to.decipher(&translated, &other).as_ref(), Ok(&pin));
            }
        }
        let [format0, format4] = keys();
        let block = format4.encipher(&pin, &pan, [7; 8]).unwrap();
        assert_eq!(format0.decipher(&block, &pan), Err(PinError::BlockLength));
        assert_ne!(block, format4.encipher(&pin, &pan, [8; 8]).unwrap());
    }

    #[test]
    fn what_is_no_pin_is_refused_and_no_pin_is_shown() {
        assert_eq!("123".parse::<Pin>(), Err(PinError::Length));
        assert_eq!("1234567890123".parse::<Pin>(), Err(PinError::Length));
        assert_eq!("12 4".parse::<Pin>(), Err(PinError::NotDecimal));
        assert_eq!(std::format!("{:?}", "4321".parse::<Pin>().unwrap()), "Pin(****)");
    }
}
