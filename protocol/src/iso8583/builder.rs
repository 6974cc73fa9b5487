//! Writes a message into a caller's buffer, field by field in ascending order, each checked against the table.

use super::message::MAX_MESSAGE;
use super::put::{fill, fill_same, put_digits, put_hex, put_number, put_prefix, transcode};
use super::sound::ascii_digits;
use super::table::{Prefix, Row};
use super::{BitmapForm, Coding, Dialect, DigitForm, Digits, FieldError, FieldNo, FieldValue, Mti};
use super::{Place, Reason, Value};

/// A message in the making.
///
/// Fields come in ascending order. An error leaves a message that cannot be finished.
#[derive(Debug)]
pub struct Builder<'o> {
    dialect: &'static Dialect,
    out: &'o mut [u8],
    len: usize,
    /// Both halves; the highest bit of the first stands for field 1, and the first for field 65 in the second.
    bitmap: [u64; 2],
    bitmap_at: usize,
    last: FieldNo,
    /// 64 or 128.
    highest: FieldNo,
    poisoned: bool,
}

/// A finished message but for its MAC, whose bit is set already.
#[derive(Debug)]
pub struct Unsigned<'o> {
    builder: Builder<'o>,
    mac_field: FieldNo,
}

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
        let mut builder = Self {
            dialect,
            out,
            len: 0,
            bitmap: [0; 2],
            bitmap_at: 0,
            last,
            highest: FieldNo::MAC,
            poisoned: false,
        };
        if two_bitmaps {
            builder.mark(FieldNo(1));
            builder.highest = FieldNo::MAC_128;
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
        let units = match self.dialect.row(no) {
            Some(row) if row.prefix == Prefix::None => row.min,
            _ => u16::try_from(value.checked_ilog10().unwrap_or(0)).unwrap_or(0).saturating_add(1),
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
            Coding::Digits if !ascii_digits(text) => Err(Reason::NotDecimal),
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
    #[inline(always)]
    pub fn copy(&mut self, value: &Value<'_>) -> Result<&mut Self, FieldError> {
        // Content of the same row of the same table was checked when it was read.
        if self.dialect.is_row(value.row, value.no)
            && let Some(end) = self.end_of(value.no, value.row, value.bytes.len())
        {
            let slot = self.open(value.no, value.row, value.units, end);
            fill_same(slot, value.bytes);
            return Ok(self);
        }
        self.adapt(value)
    }

    /// Appends a field of another dialect.
    #[cold]
    #[inline(never)]
    fn adapt(&mut self, value: &Value<'_>) -> Result<&mut Self, FieldError> {
        let at = self.len;
        let (coding, slot) = self.field(value.no, value.units)?;
        let done = if coding == value.row.field.coding {
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
        if self.dialect.row(mac_field).is_none() {
            return Err(self.refuse(mac_field, Reason::NotInDialect));
        }
        self.mark(mac_field);
        self.seal()?;
        Ok(Unsigned { builder: self, mac_field })
    }

    #[inline]
    const fn mark(&mut self, no: FieldNo) {
        let bit = (1 << 63) >> (no.0.wrapping_sub(1) & 63);
        let [first, second] = &mut self.bitmap;
        if no.0 <= 64 {
            *first |= bit;
        } else {
            *second |= bit;
        }
    }

    #[inline]
    const fn has_two_bitmaps(&self) -> bool {
        let [first, _] = self.bitmap;
        first >> 63 != 0
    }

    /// Begins a field: prefix written, bit set, the place for its content returned.
    #[inline]
    fn field(&mut self, no: FieldNo, units: u16) -> Result<(Coding, &mut [u8]), FieldError> {
        let row = self.dialect.row(no);
        match row.and_then(|row| Some((row, self.end(no, row, units)?))) {
            Some((row, end)) => Ok((row.field.coding, self.open(no, row, units, end))),
            None => Err(self.why_not(no, units)),
        }
    }

    /// Where a field would end, if it comes in order, has an allowed length and there is room for it.
    #[inline]
    fn end(&self, no: FieldNo, row: &Row, units: u16) -> Option<usize> {
        if (row.min..=row.max).contains(&units) { self.end_of(no, row, row.wire_len(units)) } else { None }
    }

    /// The same for content that has an allowed length.
    #[inline(always)]
    fn end_of(&self, no: FieldNo, row: &Row, content: usize) -> Option<usize> {
        let end = self.len.wrapping_add(row.prefix_len()).wrapping_add(content);
        let good = no > self.last && no <= self.highest && end <= self.out.len();
        good.then_some(end)
    }

    #[inline(always)]
    fn open(&mut self, no: FieldNo, row: &Row, units: u16, end: usize) -> &mut [u8] {
        let start = self.len;
        self.mark(no);
        self.last = no;
        self.len = end;
        put_prefix(row.prefix, units, self.out.get_mut(start..end).unwrap_or_default())
    }

    /// Why a field was not begun.
    #[cold]
    #[inline(never)]
    fn why_not(&mut self, no: FieldNo, units: u16) -> FieldError {
        let reason = match self.dialect.row(no) {
            None => Reason::NotInDialect,
            Some(_) if no <= self.last || no > self.highest => Reason::Order,
            Some(row) if !(row.min..=row.max).contains(&units) => {
                Reason::Length { found: units.into(), min: row.min.into(), max: row.max.into() }
            }
            Some(_) => Reason::NoRoom,
        };
        self.refuse(no, reason)
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
        let [first, second] = self.bitmap;
        let bytes = ((u128::from(first) << 64) | u128::from(second)).to_be_bytes();
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

#[inline]
fn count(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX)
}
