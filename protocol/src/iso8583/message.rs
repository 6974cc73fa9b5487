//! A view over a received message: one pass finds and checks every field, nothing is copied.

use super::{Alphabet, BitmapForm, Coding, Dialect, DigitForm, Field, FieldError, FieldNo, Mti, Place};
use super::{FieldValue, Reason, Side, Size};
use crate::bytes::{BytesError, Reader, bcd_decode};
use core::fmt;
use sha2::{Digest, Sha256};

/// Most bytes a message may have, from the message type on.
pub const MAX_MESSAGE: usize = 8192;

/// Where the content of a field is.
#[derive(Clone, Copy)]
struct Span {
    /// Offset of the content; 0 (the message type is there) for a field whose content was refused.
    at: u16,
    /// Digits or bytes.
    units: u16,
}

/// A message whose every field is within its table: see [`Message::parse`].
#[derive(Clone)]
pub struct Message<'a> {
    dialect: &'static Dialect,
    bytes: &'a [u8],
    mti: Mti,
    bitmap: u128,
    /// One for each bit of the bitmap, in order.
    spans: heapless::Vec<Span, 128>,
}

impl<'a> Message<'a> {
    /// Reads a message, from its message type to its last field; nothing may follow.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(dialect: &'static Dialect, bytes: &'a [u8]) -> Result<Self, FieldError> {
        let mut message = Self::blank(dialect, bytes);
        match message.scan() {
            None => Ok(message),
            Some(error) => Err(error),
        }
    }

    /// What can be read of a message that [`Message::parse`] refused: the fields before the place where its structure is
    /// lost, without those whose content is wrong. For the answer "format error", which needs trace and terminal.
    #[must_use]
    pub fn salvage(dialect: &'static Dialect, bytes: &'a [u8]) -> Self {
        let mut message = Self::blank(dialect, bytes);
        let _ = message.scan();
        message
    }

    const fn blank(dialect: &'static Dialect, bytes: &'a [u8]) -> Self {
        Self { dialect, bytes, mti: Mti(0), bitmap: 0, spans: heapless::Vec::new() }
    }

    /// Message type.
    #[must_use]
    pub const fn mti(&self) -> Mti {
        self.mti
    }

    /// The dialect it was read in.
    #[must_use]
    pub const fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    /// The whole message, from its message type on.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether the field is there.
    #[must_use]
    pub fn has(&self, no: FieldNo) -> bool {
        self.field(no).is_some()
    }

    /// A field as it is.
    #[must_use]
    pub fn field(&self, no: FieldNo) -> Option<Value<'a>> {
        let bit = no.bit();
        if self.bitmap & bit == 0 || no.0 < 2 {
            return None;
        }
        let before = self.bitmap & !(u128::MAX >> no.0.wrapping_sub(1)) & !FieldNo(1).bit();
        let span = *self.spans.get(usize::try_from(before.count_ones()).ok()?)?;
        self.value(no, span)
    }

    #[inline]
    fn value(&self, no: FieldNo, span: Span) -> Option<Value<'a>> {
        let field = self.dialect.field(no)?;
        let at = usize::from(span.at);
        let bytes = self.bytes.get(at..)?.get(..field.coding.wire_len(span.units))?;
        (at != 0).then_some(Value { no, field, at, units: span.units, bytes })
    }

    /// Every field in order.
    pub fn fields(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        let mut rest = self.bitmap & !FieldNo(1).bit();
        self.spans.iter().filter_map(move |span| {
            let no = first(rest)?;
            rest &= !no.bit();
            self.value(no, *span)
        })
    }

    /// A typed value, if its field is there.
    ///
    /// # Errors
    /// The field holds no such value.
    pub fn get<T: FieldValue<'a>>(&self) -> Result<Option<T>, FieldError> {
        self.field(T::FIELD).map(|value| value.read()).transpose()
    }

    /// A typed value whose field must be there.
    ///
    /// # Errors
    /// The field is absent or holds no such value.
    pub fn need<T: FieldValue<'a>>(&self) -> Result<T, FieldError> {
        let absent = FieldError::new(Place::Field(T::FIELD), self.bytes.len(), Reason::Absent);
        self.get()?.ok_or(absent)
    }

    /// What the MAC is over, and the MAC: everything from the message type to the last field before it. `None` if the
    /// message has no MAC, or something after it.
    #[must_use]
    pub fn mac(&self) -> Option<(&'a [u8], [u8; 8])> {
        let two_bitmaps = self.bitmap & FieldNo(1).bit() != 0;
        let value = self.field(if two_bitmaps { FieldNo::MAC_128 } else { FieldNo::MAC })?;
        let (end, mac) = (value.at, value.array().ok()?);
        (end.checked_add(8)? == self.bytes.len()).then_some((self.bytes.get(..end)?, mac))
    }

    /// A digest of the message type and of every field but `without`: two messages with the same digest say the same.
    /// (A repeat may differ in PIN block, security control, keys and MAC.)
    #[must_use]
    pub fn fingerprint(&self, without: &[FieldNo]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.mti.0.to_be_bytes());
        for value in self.fields().filter(|value| !without.contains(&value.no)) {
            hash.update([value.no.0]);
            hash.update(value.units.to_be_bytes());
            hash.update(value.bytes);
        }
        hash.finalize().into()
    }

    /// Finds the fields. The first error is returned; content that is wrong only hides its field, while a structure that
    /// is lost ends the scan.
    fn scan(&mut self) -> Option<FieldError> {
        if self.bytes.len() > MAX_MESSAGE {
            let reason = Reason::Length { found: self.bytes.len(), min: 0, max: MAX_MESSAGE };
            return Some(FieldError::new(Place::End, MAX_MESSAGE, reason));
        }
        let mut reader = Reader::new(self.bytes);
        self.mti = match read_mti(self.dialect.mti, &mut reader) {
            Ok(mti) => mti,
            Err(reason) => return Some(FieldError::new(Place::Mti, 0, reason)),
        };
        let at = reader.offset();
        let announced = match read_bitmaps(self.dialect.bitmap, &mut reader) {
            Ok(bitmap) => bitmap,
            Err(reason) => return Some(FieldError::new(Place::Bitmap, at, reason)),
        };
        self.bitmap = announced & FieldNo(1).bit();
        let mut error = None;
        let mut rest = announced & !FieldNo(1).bit();
        while let Some(no) = first(rest) {
            rest &= !no.bit();
            let at = reader.offset();
            let lost = match take_field(self.dialect, no, &mut reader) {
                Ok((span, wrong)) => {
                    self.bitmap |= no.bit();
                    // There are 128 slots and at most 127 fields.
                    let _ = self.spans.push(span);
                    match wrong {
                        None => continue,
                        Some(wrong) => {
                            error = error.or(Some(wrong));
                            continue;
                        }
                    }
                }
                Err(reason) => FieldError::new(Place::Field(no), at, reason),
            };
            return error.or(Some(lost));
        }
        let left = reader.rest().len();
        let trailing = || FieldError::new(Place::End, reader.offset(), Reason::Trailing(left));
        error.or_else(|| (left > 0).then(trailing))
    }
}

impl fmt::Debug for Message<'_> {
    /// The type and the numbers of the fields; never their content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} {} ", self.dialect.name, self.mti)?;
        f.debug_list().entries(self.fields().map(|value| value.no)).finish()?;
        f.write_str(")")
    }
}

/// The first field of a bitmap.
#[inline]
fn first(bitmap: u128) -> Option<FieldNo> {
    let zeros = u8::try_from(bitmap.leading_zeros()).unwrap_or(128);
    (zeros < 128).then_some(FieldNo(zeros.wrapping_add(1)))
}

fn short(error: BytesError) -> Reason {
    match error {
        BytesError::Short { needed, left, .. } => Reason::Truncated { needed, left },
        _ => Reason::Prefix,
    }
}

fn read_mti(form: DigitForm, reader: &mut Reader<'_>) -> Result<Mti, Reason> {
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

fn read_bitmaps(form: BitmapForm, reader: &mut Reader<'_>) -> Result<u128, Reason> {
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
fn take_field(
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

/// Whether all half bytes are decimal digits. Bit 3 of a half byte above 9 stands with bit 2 or bit 1.
#[inline]
pub(super) fn packed_digits(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut bad = 0u64;
    for word in words {
        let word = u64::from_be_bytes(*word);
        bad |= word & ((word << 1) | (word << 2));
    }
    for byte in rest {
        let byte = u64::from(*byte);
        bad |= byte & ((byte << 1) | (byte << 2));
    }
    bad & 0x8888_8888_8888_8888 == 0
}

pub(super) fn packed_track(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| is_track(byte >> 4) && is_track(byte & 0x0F))
}

const fn is_track(half: u8) -> bool {
    half <= 9 || half == SEPARATOR
}

/// The separator of a magnetic track, as a half byte.
pub(super) const SEPARATOR: u8 = 0x0D;

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

impl Alphabet {
    /// Whether every byte belongs to the alphabet.
    #[must_use]
    #[inline]
    pub fn holds_all(self, bytes: &[u8]) -> bool {
        match self {
            Self::An => bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b' '),
            Self::Ans => bytes.iter().all(|b| (0x20..0x7F).contains(b)),
            Self::Local => bytes.iter().all(|b| (0x20..0x7F).contains(b) || *b >= 0x80),
        }
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

/// One field of a message, as it is on the wire and checked against its table.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    pub(super) no: FieldNo,
    pub(super) field: &'static Field,
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
        self.field
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
        match self.field.coding {
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
        match self.field.coding {
            Coding::Packed(side) if side == Side::Left || self.units.is_multiple_of(2) => {
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
