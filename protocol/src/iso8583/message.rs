//! A view over a received message: one pass finds and checks every field, nothing is copied.

use super::scan::{Found, Numbers, find, read_bitmaps, read_mti, what_is_lost, what_is_wrong};
use super::sound::is_sound;
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
    /// As the bitmaps are on the wire: the highest bit stands for field 1.
    present: u128,
    /// In the order of the rows of the table.
    spans: [Span; 128],
}

impl<'a> Message<'a> {
    /// Reads a message, from its message type to its last field; nothing may follow.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    #[inline]
    pub fn parse(dialect: &'static Dialect, bytes: &'a [u8]) -> Result<Self, FieldError> {
        let mut message = Self::blank(dialect, bytes);
        if message.sweep().is_some() { Ok(message) } else { Self::parse_slowly(dialect, bytes) }
    }

    /// [`Message::parse`] of a message with which something is wrong.
    #[cold]
    #[inline(never)]
    fn parse_slowly(dialect: &'static Dialect, bytes: &'a [u8]) -> Result<Self, FieldError> {
        let mut message = Self::blank(dialect, bytes);
        message.scan().map_or(Ok(message), Err)
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
        Self { dialect, bytes, mti: Mti(0), present: 0, spans: [Span { at: 0, units: 0 }; 128] }
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
        let span = *self.spans.get(no.index())?;
        if span.at == 0 {
            return None;
        }
        let row = self.dialect.row(no)?;
        let at = usize::from(span.at);
        let bytes = self.bytes.get(at..)?.get(..row.wire_len(span.units))?;
        Some(Value { no, row, at, units: span.units, bytes })
    }

    /// Every field in order.
    #[inline]
    pub fn fields(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        Numbers::of(self.present & !FieldNo(1).bit()).map_while(|no| self.field(no))
    }

    /// A typed value, if its field is there.
    ///
    /// # Errors
    /// The field holds no such value.
    #[inline]
    pub fn get<T: FieldValue<'a>>(&self) -> Result<Option<T>, FieldError> {
        match self.field(T::FIELD) {
            Some(value) => value.read().map(Some),
            None => Ok(None),
        }
    }

    /// A typed value whose field must be there.
    ///
    /// # Errors
    /// The field is absent or holds no such value.
    #[inline]
    pub fn need<T: FieldValue<'a>>(&self) -> Result<T, FieldError> {
        match self.field(T::FIELD) {
            Some(value) => value.read(),
            None => Err(FieldError::new(Place::Field(T::FIELD), self.bytes.len(), Reason::Absent)),
        }
    }

    /// What the MAC is over, and the MAC: everything from the message type to the last field before it. `None` if the
    /// message has no MAC, or something after it.
    #[must_use]
    pub fn mac(&self) -> Option<(&'a [u8], [u8; 8])> {
        let two_bitmaps = self.present & FieldNo(1).bit() != 0;
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

    /// Finds the fields of a message with which nothing is wrong. Of any other [`Message::scan`] tells what it is.
    #[inline(never)]
    fn sweep(&mut self) -> Option<()> {
        if self.bytes.len() > MAX_MESSAGE {
            return None;
        }
        let mut reader = Reader::new(self.bytes);
        self.mti = read_mti(self.dialect.mti, &mut reader).ok()?;
        self.present = read_bitmaps(self.dialect.bitmap, &mut reader).ok()?;
        let (whole, mut rest) = (self.bytes.len(), reader.rest());
        for no in Numbers::of(self.present & !FieldNo(1).bit()) {
            let found = find(self.dialect, no, rest)?;
            let slot = self.spans.get_mut(no.index())?;
            let at = whole.wrapping_sub(found.rest.len());
            *slot = Span { at: u16::try_from(at).ok()?, units: found.units };
            if !is_sound(found.row.rule, found.units, found.rest, found.length) {
                return None;
            }
            rest = found.rest.get(found.length..)?;
        }
        rest.is_empty().then_some(())
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
        self.present = announced;
        let mut rest = reader.rest();
        let mut error = None;
        for no in Numbers::of(announced & !FieldNo(1).bit()) {
            let Some(found) = find(self.dialect, no, rest) else {
                return error.or(Some(self.lose(no, rest)));
            };
            if is_sound(found.row.rule, found.units, found.rest, found.length) {
                if let Some(slot) = self.spans.get_mut(no.index()) {
                    let at = self.bytes.len().wrapping_sub(found.rest.len());
                    *slot = Span { at: u16::try_from(at).unwrap_or(0), units: found.units };
                }
            } else {
                let first = self.hide(no, &found);
                error = error.or(Some(first));
            }
            rest = found.rest.get(found.length..).unwrap_or_default();
        }
        if error.is_none() && !rest.is_empty() {
            let at = self.bytes.len().saturating_sub(rest.len());
            return Some(FieldError::new(Place::End, at, Reason::Trailing(rest.len())));
        }
        error
    }

    /// The structure is lost at a field: neither it nor what follows is known.
    #[cold]
    #[inline(never)]
    fn lose(&mut self, no: FieldNo, rest: &[u8]) -> FieldError {
        let known = !(no.bit() | no.bit().wrapping_sub(1)) | FieldNo(1).bit();
        self.present &= known;
        let at = self.bytes.len().saturating_sub(rest.len());
        FieldError::new(Place::Field(no), at, what_is_lost(self.dialect, no, rest))
    }

    /// The content of a field is wrong: only it is not known.
    #[cold]
    #[inline(never)]
    fn hide(&mut self, no: FieldNo, found: &Found<'_>) -> FieldError {
        self.present &= !no.bit();
        let content = found.rest.get(..found.length).unwrap_or_default();
        let (offset, reason) = what_is_wrong(found.row.rule, content);
        let at = self.bytes.len().saturating_sub(found.rest.len());
        FieldError::new(Place::Field(no), at.saturating_add(offset), reason)
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
