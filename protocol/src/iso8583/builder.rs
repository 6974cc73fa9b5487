//! Writes a message into a caller's buffer, field by field in ascending order, each checked against the table.

use super::message::MAX_MESSAGE;
use super::value::{SEPARATOR, packed_digits, packed_track};
use super::{BitmapForm, Coding, Dialect, DigitForm, Digits, Field, FieldError, FieldNo, FieldValue, Mti};
use super::{Place, Reason, Side, Size, Value};
use crate::bytes::bcd_encode;

/// A message in the making.
///
/// Fields come in ascending order. An error leaves a message that cannot be finished.
#[derive(Debug)]
pub struct Builder<'o> {
    dialect: &'static Dialect,
    out: &'o mut [u8],
    len: usize,
    /// As it is on the wire, both halves.
    bitmap: [u8; 16],
    bitmap_at: usize,
    last: FieldNo,
    poisoned: bool,
}

/// A finished message but for its MAC, whose bit is set already.
#[derive(Debug)]
pub struct Unsigned<'o> {
    builder: Builder<'o>,
    mac_field: FieldNo,
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

impl<'o> Builder<'o> {
    /// Starts a message with one bitmap (fields 2 to 64).
    ///
    /// # Errors
    /// `out` is too small.
    pub fn new(dialect: &'static Dialect, mti: Mti, out: &'o mut [u8]) -> Result<Self, FieldError> {
        Self::start(dialect, mti, false, out)
    }

    /// Starts a message with two bitmaps (fields 2 to 128).
    ///
    /// # Errors
    /// `out` is too small.
    pub fn with_two_bitmaps(
        dialect: &'static Dialect,
        mti: Mti,
        out: &'o mut [u8],
    ) -> Result<Self, FieldError> {
        Self::start(dialect, mti, true, out)
    }

    fn start(
        dialect: &'static Dialect,
        mti: Mti,
        two_bitmaps: bool,
        out: &'o mut [u8],
    ) -> Result<Self, FieldError> {
        let last = FieldNo(1);
        let room = out.len().min(MAX_MESSAGE);
        let out = out.get_mut(..room).unwrap_or_default();
        let mut builder = Self { dialect, out, len: 0, bitmap: [0; 16], bitmap_at: 0, last, poisoned: false };
        if two_bitmaps {
            builder.mark(FieldNo(1));
        }
        let at_mti = |reason| FieldError::new(Place::Mti, 0, reason);
        if !mti.is_decimal() {
            return Err(at_mti(Reason::NotDecimal));
        }
        let [high, low] = mti.0.to_be_bytes();
        match dialect.mti {
            DigitForm::Packed => builder.append(&[high, low]),
            DigitForm::Ascii => {
                builder.append(&[high >> 4, high & 0x0F, low >> 4, low & 0x0F].map(|d| d | b'0'))
            }
        }
        .map_err(at_mti)?;
        builder.bitmap_at = builder.len;
        let room = match (dialect.bitmap, two_bitmaps) {
            (BitmapForm::Binary, false) => 8,
            (BitmapForm::Hex, false) | (BitmapForm::Binary, true) => 16,
            (BitmapForm::Hex, true) => 32,
        };
        let at = builder.len;
        builder.reserve(room).map_err(|reason| FieldError::new(Place::Bitmap, at, reason))?;
        Ok(builder)
    }

    /// Appends a number, with leading zeros to the length of a fixed field; in a variable field without.
    ///
    /// # Errors
    /// More digits than the field has, or what the table does not allow.
    #[inline]
    pub fn number(&mut self, no: FieldNo, value: u64) -> Result<&mut Self, FieldError> {
        let at = self.len;
        let units = match self.row(no)?.size {
            Size::Fixed(units) => units,
            Size::Ll { .. } | Size::Lll { .. } => {
                u16::try_from(value.checked_ilog10().unwrap_or(0)).unwrap_or(0).saturating_add(1)
            }
        };
        let (coding, slot) = self.field(no, units)?;
        let done = put_number(coding, units, slot, value);
        self.checked(no, at, done)
    }

    /// Appends digits (or a track).
    ///
    /// # Errors
    /// What the table does not allow.
    #[inline]
    pub fn digits(&mut self, no: FieldNo, digits: Digits<'_>) -> Result<&mut Self, FieldError> {
        let at = self.len;
        let (coding, slot) = self.field(no, digits.count)?;
        let done = put_digits(coding, slot, digits);
        self.checked(no, at, done)
    }

    /// Appends text of exactly the length of a fixed field, or any length of a variable one.
    ///
    /// # Errors
    /// What the table does not allow.
    #[inline]
    pub fn text(&mut self, no: FieldNo, text: &[u8]) -> Result<&mut Self, FieldError> {
        let at = self.len;
        let (coding, slot) = self.field(no, count(text))?;
        let done = match coding {
            Coding::Text(alphabet) if !alphabet.holds_all(text) => Err(Reason::NotText),
            Coding::Digits if !text.iter().all(u8::is_ascii_digit) => Err(Reason::NotDecimal),
            // Some dialects carry text as bytes.
            Coding::Text(_) | Coding::Digits | Coding::Bytes => fill(slot, text),
            _ => Err(Reason::Kind),
        };
        self.checked(no, at, done)
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// What the table does not allow.
    #[inline]
    pub fn bytes(&mut self, no: FieldNo, bytes: &[u8]) -> Result<&mut Self, FieldError> {
        let at = self.len;
        let (coding, slot) = self.field(no, count(bytes))?;
        let done = match coding {
            Coding::Bytes => fill(slot, bytes),
            Coding::Hex => put_hex(slot, bytes),
            _ => Err(Reason::Kind),
        };
        self.checked(no, at, done)
    }

    /// Appends a typed value.
    ///
    /// # Errors
    /// What the table does not allow.
    #[inline]
    pub fn put<'v, T: FieldValue<'v>>(&mut self, value: &T) -> Result<&mut Self, FieldError> {
        value.write(self)?;
        Ok(self)
    }

    /// Appends a typed value if there is one.
    ///
    /// # Errors
    /// What the table does not allow.
    pub fn put_some<'v, T: FieldValue<'v>>(&mut self, value: Option<&T>) -> Result<&mut Self, FieldError> {
        match value {
            Some(value) => self.put(value),
            None => Ok(self),
        }
    }

    /// Appends a field of another message, from this or another dialect.
    ///
    /// # Errors
    /// What the table does not allow.
    #[inline]
    pub fn copy(&mut self, value: &Value<'_>) -> Result<&mut Self, FieldError> {
        let at = self.len;
        let (coding, slot) = self.field(value.no, value.units)?;
        let done = if coding == value.field.coding {
            fill(slot, value.bytes)
        } else {
            transcode(coding, slot, value)
        };
        self.checked(value.no, at, done)
    }

    /// Ends a message without MAC and returns its length.
    ///
    /// # Errors
    /// An earlier error was ignored.
    pub fn finish(mut self) -> Result<usize, FieldError> {
        self.seal()?;
        Ok(self.len)
    }

    /// Ends a message but for the MAC, which comes last.
    ///
    /// # Errors
    /// An earlier error was ignored, or the dialect has no such field.
    pub fn ready_for_mac(mut self) -> Result<Unsigned<'o>, FieldError> {
        let mac_field = if self.has_two_bitmaps() { FieldNo::MAC_128 } else { FieldNo::MAC };
        self.row(mac_field)?;
        self.mark(mac_field);
        self.seal()?;
        Ok(Unsigned { builder: self, mac_field })
    }

    #[inline]
    fn row(&mut self, no: FieldNo) -> Result<&'static Field, FieldError> {
        match self.dialect.field(no) {
            Some(field) => Ok(field),
            None => Err(self.refuse(no, Reason::NotInDialect)),
        }
    }

    #[inline]
    fn mark(&mut self, no: FieldNo) {
        let index = no.0.wrapping_sub(1);
        if let Some(byte) = self.bitmap.get_mut(usize::from(index / 8)) {
            *byte |= 0x80 >> (index & 7);
        }
    }

    #[inline]
    const fn has_two_bitmaps(&self) -> bool {
        let [first, ..] = self.bitmap;
        first & 0x80 != 0
    }

    /// Begins a field: prefix written, bit set, the place for its content returned.
    #[inline]
    fn field(&mut self, no: FieldNo, units: u16) -> Result<(Coding, &mut [u8]), FieldError> {
        let field = self.row(no)?;
        let (min, max) = field.bounds();
        if no <= self.last || (no.0 > 64 && !self.has_two_bitmaps()) {
            return Err(self.refuse(no, Reason::Order));
        }
        if units < min || units > max {
            let reason = Reason::Length { found: units.into(), min: min.into(), max: max.into() };
            return Err(self.refuse(no, reason));
        }
        let prefix = match (field.size, self.dialect.prefix) {
            (Size::Fixed(_), _) => 0,
            (Size::Ll { .. }, DigitForm::Packed) => 1,
            (Size::Ll { .. }, DigitForm::Ascii) | (Size::Lll { .. }, DigitForm::Packed) => 2,
            (Size::Lll { .. }, DigitForm::Ascii) => 3,
        };
        let start = self.len;
        let end = start.saturating_add(prefix).saturating_add(field.coding.wire_len(units));
        if end > self.out.len() {
            return Err(self.refuse(no, Reason::NoRoom));
        }
        self.mark(no);
        self.last = no;
        self.len = end;
        let form = self.dialect.prefix;
        let whole = self.out.get_mut(start..end).unwrap_or_default();
        let (front, content) = whole.split_at_mut_checked(prefix).unwrap_or_default();
        put_prefix(form, units, front);
        Ok((field.coding, content))
    }

    #[inline]
    fn checked(&mut self, no: FieldNo, at: usize, done: Result<(), Reason>) -> Result<&mut Self, FieldError> {
        match done {
            Ok(()) => Ok(self),
            Err(reason) => {
                self.poisoned = true;
                Err(FieldError::new(Place::Field(no), at, reason))
            }
        }
    }

    /// An error of a field that cannot be written; the message cannot be finished.
    #[cold]
    pub(super) fn refuse(&mut self, no: FieldNo, reason: Reason) -> FieldError {
        self.poisoned = true;
        FieldError::new(Place::Field(no), self.len, reason)
    }

    fn reserve(&mut self, bytes: usize) -> Result<&mut [u8], Reason> {
        let start = self.len;
        let slot = self.out.get_mut(start..).and_then(|rest| rest.get_mut(..bytes));
        let slot = slot.ok_or(Reason::NoRoom)?;
        self.len = start.saturating_add(bytes);
        Ok(slot)
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        fill(self.reserve(bytes.len())?, bytes)
    }

    fn seal(&mut self) -> Result<(), FieldError> {
        let at = self.bitmap_at;
        let error = |reason| FieldError::new(Place::Bitmap, at, reason);
        if self.poisoned {
            return Err(error(Reason::Poisoned));
        }
        let bytes = self.bitmap;
        let count = if self.has_two_bitmaps() { 16 } else { 8 };
        let used = bytes.get(..count).unwrap_or_default();
        let hex = self.dialect.bitmap == BitmapForm::Hex;
        let wire = if hex { used.len().saturating_mul(2) } else { used.len() };
        let slot = self.out.get_mut(at..).and_then(|out| out.get_mut(..wire));
        let slot = slot.ok_or_else(|| error(Reason::NoRoom))?;
        match self.dialect.bitmap {
            BitmapForm::Binary => fill(slot, used),
            BitmapForm::Hex => put_hex(slot, used),
        }
        .map_err(error)
    }
}

impl Unsigned<'_> {
    /// What the MAC is computed over.
    #[must_use]
    pub fn input(&self) -> &[u8] {
        self.builder.out.get(..self.builder.len).unwrap_or_default()
    }

    /// Appends the MAC and returns the length of the message.
    ///
    /// # Errors
    /// The output buffer is full.
    pub fn finish(mut self, mac: [u8; 8]) -> Result<usize, FieldError> {
        self.builder.bytes(self.mac_field, &mac)?;
        Ok(self.builder.len)
    }
}

/// Writes a length into the bytes of a prefix.
#[inline]
fn put_prefix(form: DigitForm, units: u16, out: &mut [u8]) {
    let mut rest = units;
    for slot in out.iter_mut().rev() {
        let digit = |value: u16| u8::try_from(value % 10).unwrap_or(0);
        if form == DigitForm::Packed {
            *slot = (digit(rest / 10) << 4) | digit(rest);
            rest /= 100;
        } else {
            *slot = digit(rest) | b'0';
            rest /= 10;
        }
    }
}

#[inline]
fn count(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX)
}

#[inline]
fn fill(slot: &mut [u8], bytes: &[u8]) -> Result<(), Reason> {
    if slot.len() != bytes.len() {
        return Err(Reason::Kind);
    }
    slot.copy_from_slice(bytes);
    Ok(())
}

fn put_hex(slot: &mut [u8], bytes: &[u8]) -> Result<(), Reason> {
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
fn put_number(coding: Coding, units: u16, slot: &mut [u8], value: u64) -> Result<(), Reason> {
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
fn put_digits(coding: Coding, slot: &mut [u8], digits: Digits<'_>) -> Result<(), Reason> {
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
fn transcode(coding: Coding, slot: &mut [u8], value: &Value<'_>) -> Result<(), Reason> {
    match (value.field.coding, coding) {
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
            Coding::Bytes if matches!(value.field.coding, Coding::Text(_)) => fill(slot, value.bytes),
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
