//! One step of reading a message: its type, its bitmaps, one field; and what exactly is wrong with content.

use super::value::{packed_digits, packed_track};
use super::{BitmapForm, Coding, Dialect, DigitForm, Field, FieldNo, Mti, Reason, Side, Size};
use crate::bytes::{BytesError, Reader};

fn short(error: BytesError) -> Reason {
    match error {
        BytesError::Short { needed, left, .. } => Reason::Truncated { needed, left },
        _ => Reason::Prefix,
    }
}

pub(super) fn read_mti(form: DigitForm, reader: &mut Reader<'_>) -> Result<Mti, Reason> {
    let mti = match form {
        DigitForm::Packed => Mti(reader.u16().map_err(short)?),
        DigitForm::Ascii => {
            let mut value = 0u16;
            for digit in reader.array::<4>().map_err(short)? {
                if !digit.is_ascii_digit() {
                    return Err(Reason::NotDecimal);
                }
                value = (value << 4) | u16::from(digit & 0x0F);
            }
            Mti(value)
        }
    };
    if mti.is_decimal() { Ok(mti) } else { Err(Reason::NotDecimal) }
}

pub(super) fn read_bitmaps(form: BitmapForm, reader: &mut Reader<'_>) -> Result<u128, Reason> {
    let mut bitmap = u128::from(read_bitmap(form, reader)?) << 64;
    if bitmap & FieldNo(1).bit() != 0 {
        bitmap |= u128::from(read_bitmap(form, reader)?);
        if bitmap & FieldNo(65).bit() != 0 {
            return Err(Reason::Value("a third bitmap is not supported"));
        }
    }
    Ok(bitmap)
}

fn read_bitmap(form: BitmapForm, reader: &mut Reader<'_>) -> Result<u64, Reason> {
    match form {
        BitmapForm::Binary => reader.u64().map_err(short),
        BitmapForm::Hex => {
            let mut bitmap = 0;
            for character in reader.array::<16>().map_err(short)? {
                let digit = char::from(character).to_digit(16);
                let digit = digit.ok_or(Reason::Value("bitmap is not hexadecimal"))?;
                bitmap = (bitmap << 4) | u64::from(digit);
            }
            Ok(bitmap)
        }
    }
}

/// One field: its row, how many digits or bytes, where its content begins, and the content. The error is a structure
/// that is lost.
pub(super) struct Found<'a> {
    pub(super) field: &'static Field,
    pub(super) units: u16,
    pub(super) at: usize,
    pub(super) content: &'a [u8],
}

/// Finds the field that begins at `at`.
#[inline]
pub(super) fn find<'a>(
    dialect: &'static Dialect,
    no: FieldNo,
    bytes: &'a [u8],
    at: usize,
) -> Result<Found<'a>, Reason> {
    let field = dialect.field(no).ok_or(Reason::NotInDialect)?;
    let (units, at) = match field.size {
        Size::Fixed(units) => (units, at),
        Size::Ll { min, max } => prefixed::<1, 2>(dialect.prefix, bytes, at, min, max)?,
        Size::Lll { min, max } => prefixed::<2, 3>(dialect.prefix, bytes, at, min, max)?,
    };
    let needed = field.coding.wire_len(units);
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.get(..needed) {
        Some(content) => Ok(Found { field, units, at, content }),
        None => Err(Reason::Truncated { needed, left: rest.len() }),
    }
}

/// A length prefix of `P` packed bytes or `A` ASCII characters, and where the content begins.
#[inline]
fn prefixed<const P: usize, const A: usize>(
    form: DigitForm,
    bytes: &[u8],
    at: usize,
    min: u16,
    max: u16,
) -> Result<(u16, usize), Reason> {
    let length = match form {
        DigitForm::Packed => P,
        DigitForm::Ascii => A,
    };
    let rest = bytes.get(at..).unwrap_or_default();
    let prefix = rest.get(..length).ok_or(Reason::Truncated { needed: length, left: rest.len() })?;
    let found = match form {
        DigitForm::Packed if packed_digits(prefix) => prefix.iter().fold(0u16, |value, byte| {
            let pair = u16::from(byte >> 4).wrapping_mul(10).wrapping_add(u16::from(byte & 0x0F));
            value.wrapping_mul(100).wrapping_add(pair)
        }),
        DigitForm::Ascii if prefix.iter().all(u8::is_ascii_digit) => prefix
            .iter()
            .fold(0u16, |value, byte| value.wrapping_mul(10).wrapping_add(u16::from(byte & 0x0F))),
        _ => return Err(Reason::Prefix),
    };
    if found < min || found > max {
        return Err(Reason::Length { found: found.into(), min: min.into(), max: max.into() });
    }
    Ok((found, at.saturating_add(length)))
}

/// Whether the content is what its coding allows.
#[inline]
pub(super) fn is_sound(coding: Coding, units: u16, bytes: &[u8]) -> bool {
    let odd = !units.is_multiple_of(2);
    match coding {
        Coding::Packed(Side::Right) => {
            packed_digits(bytes) && !(odd && bytes.last().is_some_and(|b| b & 0x0F != 0))
        }
        Coding::Packed(Side::Left) => {
            packed_digits(bytes) && !(odd && bytes.first().is_some_and(|b| b >> 4 != 0))
        }
        Coding::PackedTrack => packed_track(bytes) && !(odd && bytes.last().is_some_and(|b| b & 0x0F != 0)),
        Coding::Digits => bytes.iter().all(u8::is_ascii_digit),
        Coding::Track => bytes.iter().all(|b| b.is_ascii_digit() || matches!(b, b'=' | b'D')),
        Coding::Text(alphabet) => alphabet.holds_all(bytes),
        Coding::Bytes => true,
        Coding::Hex => bytes.iter().all(u8::is_ascii_hexdigit),
    }
}

/// The offset in the content and the reason, for content that is not sound.
#[cold]
pub(super) fn what_is_wrong(coding: Coding, units: u16, bytes: &[u8]) -> (usize, Reason) {
    let culprit = |good: &dyn Fn(&u8) -> bool| bytes.iter().position(|byte| !good(byte));
    let last = bytes.len().saturating_sub(1);
    let (position, reason, padding) = match coding {
        Coding::Packed(side) => {
            let pad = if side == Side::Left { 0 } else { last };
            (culprit(&|byte| packed_digits(&[*byte])), Reason::NotDecimal, pad)
        }
        Coding::PackedTrack => (culprit(&|byte| packed_track(&[*byte])), Reason::NotTrack, last),
        coding => {
            let reason = match coding {
                Coding::Digits => Reason::NotDecimal,
                Coding::Track => Reason::NotTrack,
                _ => Reason::NotText,
            };
            (culprit(&|byte| is_sound(coding, units, &[*byte])), reason, 0)
        }
    };
    position.map_or((padding, Reason::Padding), |at| (at, reason))
}
