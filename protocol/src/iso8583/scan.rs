//! One step of reading a message: its type, its bitmaps, one field; and what exactly is wrong with content.

use super::sound::{ascii_digits, is_sound, packed_digits};
use super::table::{Prefix, Row, Rule};
use super::{BitmapForm, Dialect, DigitForm, FieldNo, Mti, Reason};
use crate::bytes::{BytesError, Reader, is_packed16};

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

/// A field that was found: its row, how many digits or bytes it has, the bytes from its content on, and how many of them
/// are its own.
pub(super) struct Found<'a> {
    pub(super) row: &'static Row,
    pub(super) units: u16,
    pub(super) rest: &'a [u8],
    pub(super) length: usize,
}

/// Finds the field that begins `bytes`; `None` where the structure is lost, and [`what_is_lost`] tells why.
#[inline(always)]
pub(super) fn find<'a>(dialect: &'static Dialect, no: FieldNo, bytes: &'a [u8]) -> Option<Found<'a>> {
    let row = dialect.row(no)?;
    let (units, rest) = match (row.prefix, bytes) {
        (Prefix::None, _) => (row.min, bytes),
        (Prefix::Packed1, [pair, rest @ ..]) => (decimal(0, *pair)?, rest),
        (Prefix::Packed2, [hundreds, pair, rest @ ..]) => (decimal(*hundreds, *pair)?, rest),
        _ => prefixed(row, bytes).ok()?,
    };
    let length = row.wire_len(units);
    let good = units >= row.min && units <= row.max && length <= rest.len();
    good.then_some(Found { row, units, rest, length })
}

/// Four packed digits as a number.
#[inline]
fn decimal(hundreds: u8, pair: u8) -> Option<u16> {
    let packed = u16::from_be_bytes([hundreds, pair]);
    is_packed16(packed.into()).then(|| unpacked(hundreds).wrapping_mul(100).wrapping_add(unpacked(pair)))
}

#[inline]
fn unpacked(byte: u8) -> u16 {
    u16::from(byte).wrapping_sub(u16::from(byte >> 4).wrapping_mul(6))
}

/// Why [`find`] found no field.
#[cold]
#[inline(never)]
pub(super) fn what_is_lost(dialect: &'static Dialect, no: FieldNo, bytes: &[u8]) -> Reason {
    let Some(row) = dialect.row(no) else { return Reason::NotInDialect };
    let (units, rest) = match prefixed(row, bytes) {
        Ok(found) => found,
        Err(reason) => return reason,
    };
    if units < row.min || units > row.max {
        return Reason::Length { found: units.into(), min: row.min.into(), max: row.max.into() };
    }
    Reason::Truncated { needed: row.wire_len(units), left: rest.len() }
}

/// How many digits or bytes a field has, and what follows its length prefix.
#[inline(never)]
fn prefixed<'a>(row: &Row, bytes: &'a [u8]) -> Result<(u16, &'a [u8]), Reason> {
    let needed = row.prefix_len();
    let short = Reason::Truncated { needed, left: bytes.len() };
    let (prefix, rest) = bytes.split_at_checked(needed).ok_or(short)?;
    let joined = |base: u16, value: fn(u8) -> u16| {
        prefix.iter().fold(0u16, |all, byte| all.wrapping_mul(base).wrapping_add(value(*byte)))
    };
    let units = match row.prefix {
        Prefix::None => row.min,
        Prefix::Packed1 | Prefix::Packed2 if packed_digits(prefix) => joined(100, unpacked),
        Prefix::Ascii2 | Prefix::Ascii3 if ascii_digits(prefix) => joined(10, |digit| (digit & 0x0F).into()),
        _ => return Err(Reason::Prefix),
    };
    Ok((units, rest))
}

/// The offset in the content and the reason, for content that is not sound.
#[cold]
#[inline(never)]
pub(super) fn what_is_wrong(rule: Rule, content: &[u8]) -> (usize, Reason) {
    let reason = match rule {
        Rule::PackedLeft | Rule::PackedRight | Rule::Digits => Reason::NotDecimal,
        Rule::PackedTrack | Rule::Track => Reason::NotTrack,
        _ => Reason::NotText,
    };
    let padding = if rule == Rule::PackedLeft { 0 } else { content.len().saturating_sub(1) };
    let culprit = content.iter().position(|byte| !is_sound(rule, 0, &[*byte], 1));
    culprit.map_or((padding, Reason::Padding), |at| (at, reason))
}

/// The fields of a bitmap, ascending. The highest bit stands for field 1.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    now: u64,
    next: u64,
    base: u8,
}

impl Numbers {
    #[inline]
    pub(super) fn of(bitmap: u128) -> Self {
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
        Self { now: half(bitmap >> 64), next: half(bitmap), base: 1 }
    }
}

impl Iterator for Numbers {
    type Item = FieldNo;

    #[inline]
    fn next(&mut self) -> Option<FieldNo> {
        if self.now == 0 {
            if self.next == 0 {
                return None;
            }
            (self.now, self.next, self.base) = (self.next, 0, 65);
        }
        let zeros = self.now.leading_zeros() & 63;
        self.now &= !((1 << 63) >> zeros);
        Some(FieldNo(self.base.wrapping_add(u8::try_from(zeros).unwrap_or(0))))
    }
}
