//! The ways to write the content of a field, its length prefix included.

use super::sound::{packed_digits, packed_track};
use super::table::Prefix;
use super::value::SEPARATOR;
use super::{Coding, Digits, Reason, Side, Value};
use crate::bytes::{bcd_encode, pack16, put_word};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Writes a length, which its prefix can express, to the front of a field, and returns the place for the content.
#[inline]
pub(super) fn put_prefix(prefix: Prefix, units: u16, whole: &mut [u8]) -> &mut [u8] {
    match (prefix, whole) {
        (Prefix::None, whole) => whole,
        (Prefix::Packed1, [pair, content @ ..]) => {
            *pair = packed(units);
            content
        }
        (Prefix::Packed2, [hundreds, pair, content @ ..]) => {
            (*hundreds, *pair) = (packed(units / 100), packed(units % 100));
            content
        }
        (prefix, whole) => put_ascii_prefix(prefix, units, whole),
    }
}

#[inline(never)]
fn put_ascii_prefix(prefix: Prefix, units: u16, whole: &mut [u8]) -> &mut [u8] {
    let length = if prefix == Prefix::Ascii2 { 2 } else { 3 };
    let (front, content) = whole.split_at_mut_checked(length).unwrap_or_default();
    let mut rest = units;
    for slot in front.iter_mut().rev() {
        *slot = packed(rest % 10) | b'0';
        rest /= 10;
    }
    content
}

/// A number below 100 as two digits. 103 / 1024 is a tenth, near enough.
#[inline]
fn packed(number: u16) -> u8 {
    let tens = number.wrapping_mul(103) >> 10;
    u8::try_from(number.wrapping_add(tens.wrapping_mul(6)) & 0xFF).unwrap_or(0)
}

/// Copies content into its place.
#[inline]
pub(super) fn fill(slot: &mut [u8], bytes: &[u8]) -> Result<(), Reason> {
    if slot.len() != bytes.len() {
        return Err(Reason::Kind);
    }
    fill_same(slot, bytes);
    Ok(())
}

/// Copies content into its place of the same length (nothing, were it another). Up to 16 bytes go as two words that may
/// overlap.
#[inline]
pub(super) fn fill_same(slot: &mut [u8], bytes: &[u8]) {
    if slot.len() != bytes.len() {
        return;
    }
    match (bytes.len(), slot) {
        (8..=16, slot) => ends::<8>(slot, bytes),
        (4..=7, slot) => ends::<4>(slot, bytes),
        (2 | 3, slot) => ends::<2>(slot, bytes),
        (1, slot) => ends::<1>(slot, bytes),
        (_, slot) => slot.copy_from_slice(bytes),
    }
}

/// Copies the first and the last `N` bytes.
#[inline(always)]
fn ends<const N: usize>(slot: &mut [u8], bytes: &[u8]) {
    if let (Some(slot), Some(head)) = (slot.first_chunk_mut::<N>(), bytes.first_chunk::<N>()) {
        *slot = *head;
    }
    if let (Some(slot), Some(tail)) = (slot.last_chunk_mut::<N>(), bytes.last_chunk::<N>()) {
        *slot = *tail;
    }
}

pub(super) fn put_hex(slot: &mut [u8], bytes: &[u8]) -> Result<(), Reason> {
    let (pairs, _) = slot.as_chunks_mut::<2>();
    if pairs.len() != bytes.len() {
        return Err(Reason::Kind);
    }
    let digit = |half: u8| HEX.get(usize::from(half & 0x0F)).copied().unwrap_or(b'0');
    for (pair, byte) in pairs.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(*byte)];
    }
    Ok(())
}

/// Writes `value` with leading zeros.
#[inline]
pub(super) fn put_number(coding: Coding, units: u16, slot: &mut [u8], value: u64) -> Result<(), Reason> {
    const TOO_LONG: Reason = Reason::Value("number has more digits than the field");
    match coding {
        Coding::Packed(side) if slot.len() <= 8 => {
            let padding = if side == Side::Right { u32::from(units & 1).wrapping_mul(4) } else { 0 };
            let digits = u32::from(units).wrapping_mul(4);
            match pack16(value) {
                Some(packed) if packed.unbounded_shr(digits) == 0 => {
                    if put_word(packed.wrapping_shl(padding), slot) { Ok(()) } else { Err(TOO_LONG) }
                }
                _ => Err(TOO_LONG),
            }
        }
        Coding::Packed(side) => {
            let odd = !units.is_multiple_of(2);
            let value =
                if odd && side == Side::Right { value.checked_mul(10).ok_or(TOO_LONG)? } else { value };
            bcd_encode(value, slot).map_err(|_| TOO_LONG)?;
            let spilled = odd && side == Side::Left && slot.first().is_some_and(|byte| byte >> 4 != 0);
            if spilled { Err(TOO_LONG) } else { Ok(()) }
        }
        Coding::Digits | Coding::Text(_) => {
            let mut rest = value;
            for slot in slot.iter_mut().rev() {
                *slot = u8::try_from(rest % 10).unwrap_or(0) | b'0';
                rest /= 10;
            }
            if rest == 0 { Ok(()) } else { Err(TOO_LONG) }
        }
        _ => Err(Reason::Kind),
    }
}

#[inline]
pub(super) fn put_digits(coding: Coding, slot: &mut [u8], digits: Digits<'_>) -> Result<(), Reason> {
    let (packed, skip, track) = match coding {
        Coding::Packed(Side::Right) => (true, 0, false),
        Coding::Packed(Side::Left) => (true, usize::from(digits.count & 1), false),
        Coding::PackedTrack => (true, 0, true),
        Coding::Digits | Coding::Text(_) => (false, 0, false),
        Coding::Track => (false, 0, true),
        Coding::Bytes | Coding::Hex => return Err(Reason::Kind),
    };
    let allowed = |digit: u8| digit <= 9 || (track && digit == SEPARATOR);
    let wrong = if track { Reason::NotTrack } else { Reason::NotDecimal };
    if packed && skip == 0 && digits.packed && digits.skip == 0 {
        return put_packed(track, slot, digits);
    }
    if packed {
        slot.fill(0);
    }
    for (index, digit) in digits.iter().enumerate() {
        if !allowed(digit) {
            return Err(wrong);
        }
        let half = index.saturating_add(skip);
        let place = if packed { half / 2 } else { index };
        let byte = slot.get_mut(place).ok_or(Reason::NoRoom)?;
        *byte = match (packed, half.is_multiple_of(2), digit) {
            (true, true, _) => digit << 4,
            (true, false, _) => *byte | digit,
            (false, _, SEPARATOR) => b'=',
            (false, _, _) => digit | b'0',
        };
    }
    Ok(())
}

/// Packed digits, left-justified as they are given: checked and copied whole.
#[inline]
fn put_packed(track: bool, slot: &mut [u8], digits: Digits<'_>) -> Result<(), Reason> {
    let source = digits.bytes.get(..slot.len()).ok_or(Reason::NoRoom)?;
    slot.copy_from_slice(source);
    if !digits.len().is_multiple_of(2)
        && let Some(last) = slot.last_mut()
    {
        *last &= 0xF0;
    }
    match track {
        false if packed_digits(slot) => Ok(()),
        false => Err(Reason::NotDecimal),
        true if packed_track(slot) => Ok(()),
        true => Err(Reason::NotTrack),
    }
}

/// Writes content of another coding.
pub(super) fn transcode(coding: Coding, slot: &mut [u8], value: &Value<'_>) -> Result<(), Reason> {
    match (value.row.field.coding, coding) {
        (Coding::Bytes, Coding::Hex) => put_hex(slot, value.bytes),
        (Coding::Hex, Coding::Bytes) => {
            let (pairs, _) = value.bytes.as_chunks::<2>();
            for (slot, [high, low]) in slot.iter_mut().zip(pairs) {
                let half = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
                let (high, low) = half(*high).zip(half(*low)).ok_or(Reason::NotText)?;
                *slot = (high << 4) | low;
            }
            Ok(())
        }
        (Coding::Bytes | Coding::Hex, _) | (_, Coding::Bytes | Coding::Hex) => match coding {
            Coding::Bytes if matches!(value.row.field.coding, Coding::Text(_)) => fill(slot, value.bytes),
            Coding::Text(alphabet) if alphabet.holds_all(value.bytes) => fill(slot, value.bytes),
            _ => Err(Reason::Kind),
        },
        (Coding::Text(_), Coding::Text(alphabet)) => {
            if !alphabet.holds_all(value.bytes) {
                return Err(Reason::NotText);
            }
            fill(slot, value.bytes)
        }
        _ => put_digits(coding, slot, value.digits()),
    }
}
