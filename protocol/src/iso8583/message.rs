//! A view over a received message: one pass finds and checks every field, nothing is copied.

use super::scan::{find, is_sound, read_bitmaps, read_mti, what_is_wrong};
use super::{Dialect, FieldError, FieldNo, FieldValue, Mti, Place, Reason, Value};
use crate::bytes::Reader;
use core::fmt;
use sha2::{Digest, Sha256};

/// Most bytes a message may have, from the message type on.
pub const MAX_MESSAGE: usize = 8192;

/// Where the content of a field is.
#[derive(Clone, Copy)]
pub(super) struct Span {
    /// Offset of the content; 0, where the message type is, for a field that is absent or was refused.
    pub(super) at: u16,
    /// Digits or bytes.
    pub(super) units: u16,
}

/// A message whose every field is within its table: see [`Message::parse`].
#[derive(Clone)]
pub struct Message<'a> {
    dialect: &'static Dialect,
    bytes: &'a [u8],
    mti: Mti,
    /// Bit 0 stands for field 1: the next field is the lowest bit.
    present: u128,
    /// By field number.
    spans: [Span; 129],
}

impl<'a> Message<'a> {
    /// Reads a message, from its message type to its last field; nothing may follow.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    #[inline]
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
        Self { dialect, bytes, mti: Mti(0), present: 0, spans: [Span { at: 0, units: 0 }; 129] }
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
    #[inline]
    pub fn field(&self, no: FieldNo) -> Option<Value<'a>> {
        let span = *self.spans.get(usize::from(no.0))?;
        if span.at == 0 { None } else { self.value(no, span) }
    }

    #[inline]
    fn value(&self, no: FieldNo, span: Span) -> Option<Value<'a>> {
        let field = self.dialect.field(no)?;
        let at = usize::from(span.at);
        let bytes = self.bytes.get(at..)?.get(..field.coding.wire_len(span.units))?;
        Some(Value { no, field, at, units: span.units, bytes })
    }

    /// Every field in order.
    pub fn fields(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        let mut rest = self.present & !1;
        core::iter::from_fn(move || {
            let no = lowest(rest)?;
            rest &= rest.wrapping_sub(1);
            self.field(no)
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
        let two_bitmaps = self.present & 1 != 0;
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
        let announced = announced.reverse_bits();
        self.present = announced & 1;
        let mut error = None;
        let mut rest = announced & !1;
        let mut at = reader.offset();
        while let Some(no) = lowest(rest) {
            let found = match find(self.dialect, no, self.bytes, at) {
                Ok(found) => found,
                Err(reason) => return error.or(Some(FieldError::new(Place::Field(no), at, reason))),
            };
            at = found.at.saturating_add(found.content.len());
            if is_sound(found.field.coding, found.units, found.content) {
                self.present |= rest & rest.wrapping_neg();
                if let Some(slot) = self.spans.get_mut(usize::from(no.0)) {
                    *slot = Span { at: u16::try_from(found.at).unwrap_or(0), units: found.units };
                }
            } else if error.is_none() {
                let (offset, reason) = what_is_wrong(found.field.coding, found.units, found.content);
                error = Some(FieldError::new(Place::Field(no), found.at.saturating_add(offset), reason));
            }
            rest &= rest.wrapping_sub(1);
        }
        let left = self.bytes.len().saturating_sub(at);
        error.or_else(|| (left > 0).then(|| FieldError::new(Place::End, at, Reason::Trailing(left))))
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

/// The first field of a set.
#[inline]
fn lowest(present: u128) -> Option<FieldNo> {
    let zeros = u8::try_from(present.trailing_zeros()).unwrap_or(128);
    if zeros < 128 { Some(FieldNo(zeros.wrapping_add(1))) } else { None }
}
