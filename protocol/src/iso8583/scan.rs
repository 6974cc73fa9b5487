//! One step of reading a message: its type, its bitmaps, one field; and what exactly is wrong with content.

use super::message::Span;
use super::value::{packed_digits, packed_track};
use super::{BitmapForm, Coding, Dialect, DigitForm, FieldError, FieldNo, Mti, Place, Reason, Side, Size};
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

/// Takes one field: where it is, and what is wrong with its content. The error is a structure that is lost.
#[inline]
pub(super) fn take_field(
    dialect: &Dialect,
    no: FieldNo,
    reader: &mut Reader<'_>,
) -> Result<(Span, Option<FieldError>), Reason> {
    let field = dialect.field(no).ok_or(Reason::NotInDialect)?;
    let units = match field.size {
        Size::Fixed(units) => units,
        Size::Ll { min, max } => {
            within(min, max, read_prefix::<1, 2>(dialect.prefix, reader).map_err(short)?)?
        }
        Size::Lll { min, max } => {
            within(min, max, read_prefix::<2, 3>(dialect.prefix, reader).map_err(short)?)?
        }
    };
    let at = reader.offset();
    let bytes = reader.take(field.coding.wire_len(units)).map_err(short)?;
    if is_sound(field.coding, units, bytes) {
        let at = u16::try_from(at).unwrap_or(0);
        return Ok((Span { at, units }, None));
    }
    let (offset, reason) = what_is_wrong(field.coding, units, bytes);
    let error = FieldError::new(Place::Field(no), at.saturating_add(offset), reason);
    Ok((Span { at: 0, units }, Some(error)))
}

fn within(min: u16, max: u16, found: Option<u16>) -> Result<u16, Reason> {
    let found = found.ok_or(Reason::Prefix)?;
    if (min..=max).contains(&found) {
        Ok(found)
    } else {
        Err(Reason::Length { found: found.into(), min: min.into(), max: max.into() })
    }
}

/// A length prefix of `A` ASCII characters or `P` packed bytes; `None` if it is not decimal.
#[inline]
fn read_prefix<const P: usize, const A: usize>(
    form: DigitForm,
    reader: &mut Reader<'_>,
) -> Result<Option<u16>, BytesError> {
    let mut value = 0u16;
    match form {
        DigitForm::Packed => {
            for byte in reader.array::<P>()? {
                if !packed_digits(&[byte]) {
                    return Ok(None);
                }
                let pair = u16::from(byte >> 4).wrapping_mul(10).wrapping_add(u16::from(byte & 0x0F));
                value = value.wrapping_mul(100).wrapping_add(pair);
            }
        }
        DigitForm::Ascii => {
            for byte in reader.array::<A>()? {
                if !byte.is_ascii_digit() {
                    return Ok(None);
                }
                value = value.wrapping_mul(10).wrapping_add(u16::from(byte & 0x0F));
            }
        }
    }
    Ok(Some(value))
}

#[inline]
fn is_sound(coding: Coding, units: u16, bytes: &[u8]) -> bool {
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
fn what_is_wrong(coding: Coding, units: u16, bytes: &[u8]) -> (usize, Reason) {
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
