//! The ways to write the content of a field, its length prefix included.

use super::sound::{packed_digits, packed_track};
use super::table::Prefix;
use super::value::SEPARATOR;
use super::{Coding, Digits, Reason, Side, Value};
use crate::bytes::bcd_encode;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Writes a length, which its prefix can express, into the place for the prefix.
#[inline]
pub(super) fn put_prefix(prefix: Prefix, units: u16, out: &mut [u8]) {
    let [hundred, tens, ones] = decimals(units);
    match (prefix, out) {
        (Prefix::Packed1, [pair]) => *pair = (tens << 4) | ones,
        (Prefix::Packed2, [hundreds, pair]) => (*hundreds, *pair) = (hundred, (tens << 4) | ones),
        (_, out) => {
            for (slot, digit) in out.iter_mut().rev().zip([ones, tens, hundred]) {
                *slot = digit | b'0';
            }
        }
    }
}

/// The three digits of a number below 1000.
#[inline]
fn decimals(number: u16) -> [u8; 3] {
    let digit = |value: u16| u8::try_from(value % 10).unwrap_or(0);
    [digit(number / 100), digit(number / 10), digit(number)]
}

/// Copies content into its place. Up to 16 bytes go as two words that may overlap.
#[inline]
pub(super) fn fill(slot: &mut [u8], bytes: &[u8]) -> Result<(), Reason> {
    if slot.len() != bytes.len() {
        return Err(Reason::Kind);
    }
    if bytes.len() > 16 || !(ends::<8>(slot, bytes) || ends::<4>(slot, bytes) || ends::<2>(slot, bytes)) {
        slot.copy_from_slice(bytes);
    }
    Ok(())
}

/// Copies the first and the last `N` bytes, if there are so many.
#[inline]
fn ends<const N: usize>(slot: &mut [u8], bytes: &[u8]) -> bool {
    let (Some(head), Some(tail)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) else { return false };
    if let Some(slot) = slot.first_chunk_mut::<N>() {
        *slot = *head;
    }
    if let Some(slot) = slot.last_chunk_mut::<N>() {
        *slot = *tail;
    }
    true
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
