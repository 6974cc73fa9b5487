//! BER-TLV as cards use it: ISO/IEC 7816-4 section 5.2.2 and EMV Book 3 annex B.
//!
//! The reader borrows, never allocates and never recurses: [`Elements`] walks one level, [`Walk`] a whole tree with an
//! explicit stack. Three limits hold before anything else happens: depth, number of elements, length of a value.
//! Accepted: definite lengths of 1 to 3 bytes (also when not the shortest, as real cards send them), tags of 1 to 3
//! bytes, and `00` padding between elements (EMV Book 3, annex B1). Refused: indefinite lengths, longer tags and lengths,
//! values that run past their parent.
//!
//! Trees for host-side code are in `tree` (feature `alloc`), built behind these limits.

use core::fmt;

mod write;
pub use write::TlvWriter;

#[cfg(feature = "alloc")]
pub mod tree;

/// Nesting deeper than any template of EMV or of the purse.
pub const DEPTH_MAX: usize = 8;

/// Why bytes are not acceptable BER-TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlvError {
    /// The bytes end inside a tag, a length or a value.
    #[error("TLV is cut off")]
    Truncated,
    /// A tag of more than 3 bytes.
    #[error("TLV tag is longer than 3 bytes")]
    TagTooLong,
    /// An indefinite length, or one of more than 2 length bytes.
    #[error("TLV length form is not supported")]
    BadLength,
    /// A value longer than the limit.
    #[error("TLV value is longer than the limit")]
    ValueTooLong,
    /// Nesting deeper than the limit.
    #[error("TLV is nested too deeply")]
    TooDeep,
    /// More elements than the limit.
    #[error("TLV has too many elements")]
    TooMany,
    /// The output buffer is too small.
    #[error("output buffer is too small")]
    NoRoom,
    /// The element asked for is not there.
    #[error("TLV element {0} is missing")]
    Missing(Tag),
}

/// A tag of 1 to 3 bytes, as the number its bytes spell: `9F38` is `Tag(0x9F38)`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(u32);

impl Tag {
    /// A tag written as a number, for constants in code: `Tag::new(0x9F0C)`.
    #[must_use]
    pub const fn new(tag: u32) -> Self {
        Self(tag)
    }

    /// The number that the tag's bytes spell.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    fn first_byte(self) -> u8 {
        let [_, a, b, c] = self.0.to_be_bytes();
        if a != 0 {
            a
        } else if b != 0 {
            b
        } else {
            c
        }
    }

    /// Whether the value is itself a sequence of TLV elements.
    #[must_use]
    pub fn is_constructed(self) -> bool {
        self.first_byte() & 0x20 != 0
    }

    fn read(bytes: &[u8]) -> Result<(Self, &[u8]), TlvError> {
        let (first, mut rest) = bytes.split_first().ok_or(TlvError::Truncated)?;
        let mut number = u32::from(*first);
        if first & 0x1F == 0x1F {
            for more in 1..=3 {
                if more == 3 {
                    return Err(TlvError::TagTooLong);
                }
                let (next, tail) = rest.split_first().ok_or(TlvError::Truncated)?;
                number = (number << 8) | u32::from(*next);
                rest = tail;
                if next & 0x80 == 0 {
                    break;
                }
            }
        }
        Ok((Self(number), rest))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02X}", self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02X}", self.0)
    }
}

/// What a reader accepts at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Levels of nesting, at most [`DEPTH_MAX`].
    pub depth: usize,
    /// Elements in the whole tree.
    pub elements: usize,
    /// Bytes of one value.
    pub value_bytes: usize,
}

impl Limits {
    /// For anything a card may send in one answer.
    pub const CARD: Self = Self { depth: DEPTH_MAX, elements: 256, value_bytes: 4096 };
}

/// One element: a tag and its value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Tag.
    pub tag: Tag,
    /// Value; TLV elements again if the tag is constructed.
    pub value: &'a [u8],
}

impl fmt::Debug for Tlv<'_> {
    /// The tag and the length only: values may be card data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.tag, self.value.len())
    }
}

impl<'a> Tlv<'a> {
    /// Reads the first element of `bytes` and returns what follows it.
    ///
    /// # Errors
    /// Any of [`TlvError`] but those of depth and number.
    pub fn read(bytes: &'a [u8], limits: &Limits) -> Result<(Self, &'a [u8]), TlvError> {
        let (tag, rest) = Tag::read(bytes)?;
        let (length, rest) = read_length(rest)?;
        if length > limits.value_bytes {
            return Err(TlvError::ValueTooLong);
        }
        let (value, rest) = rest.split_at_checked(length).ok_or(TlvError::Truncated)?;
        Ok((Self { tag, value }, rest))
    }

    /// The elements of a constructed value.
    #[must_use]
    pub fn children(&self, limits: Limits) -> Elements<'a> {
        Elements::new(self.value, limits)
    }
}

fn read_length(bytes: &[u8]) -> Result<(usize, &[u8]), TlvError> {
    match bytes {
        [] | [0x81] | [0x82] | [0x82, _] => Err(TlvError::Truncated),
        [length @ 0..=0x7F, rest @ ..] => Ok((usize::from(*length), rest)),
        [0x81, length, rest @ ..] => Ok((usize::from(*length), rest)),
        [0x82, high, low, rest @ ..] => Ok((usize::from(u16::from_be_bytes([*high, *low])), rest)),
        _ => Err(TlvError::BadLength),
    }
}

/// The elements of one level. After an error it ends.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    limits: Limits,
    seen: usize,
}

impl<'a> Elements<'a> {
    /// Over the elements in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8], limits: Limits) -> Self {
        Self { rest: bytes, limits, seen: 0 }
    }

    /// The next element, if it has one of the usual shapes: a tag of one or two bytes, a length of one.
    #[inline]
    fn usual(&mut self) -> Option<Tlv<'a>> {
        let (tag, length, rest) = match self.rest {
            [tag, length, rest @ ..] if tag & 0x1F != 0x1F && *tag != 0 => (u32::from(*tag), *length, rest),
            [first, second, length, rest @ ..] if first & 0x1F == 0x1F && *second < 0x80 => {
                (u32::from(u16::from_be_bytes([*first, *second])), *length, rest)
            }
            _ => return None,
        };
        let bytes = usize::from(length);
        if length >= 0x80 || bytes > self.limits.value_bytes || self.seen >= self.limits.elements {
            return None;
        }
        let (value, rest) = rest.split_at_checked(bytes)?;
        self.seen = self.seen.wrapping_add(1);
        self.rest = rest;
        Some(Tlv { tag: Tag(tag), value })
    }

    fn step(&mut self) -> Result<Option<Tlv<'a>>, TlvError> {
        while let [0, tail @ ..] = self.rest {
            self.rest = tail;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.seen = self.seen.saturating_add(1);
        if self.seen > self.limits.elements {
            return Err(TlvError::TooMany);
        }
        let (element, rest) = Tlv::read(self.rest, &self.limits)?;
        self.rest = rest;
        Ok(Some(element))
    }
}

impl<'a> Elements<'a> {
    /// Padding, long tags and lengths, and errors. It takes and returns the state, so that the caller's may stay in
    /// registers.
    #[inline(never)]
    fn unusual(mut self) -> (Self, Option<Result<Tlv<'a>, TlvError>>) {
        let step = self.step().transpose();
        if matches!(step, Some(Err(_))) {
            self.rest = &[];
        }
        (self, step)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Tlv<'a>, TlvError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.usual() {
            Some(element) => Some(Ok(element)),
            None if self.rest.is_empty() => None,
            None => {
                let (after, element) = self.clone().unusual();
                *self = after;
                element
            }
        }
    }
}

/// A whole tree in document order, each element with its depth (0 at the top). After an error it ends.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    levels: heapless::Vec<&'a [u8], DEPTH_MAX>,
    limits: Limits,
    seen: usize,
}

impl<'a> Walk<'a> {
    /// Over the tree in `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8], limits: Limits) -> Self {
        let mut levels = heapless::Vec::new();
        // One level always fits; a limit of 0 levels is told by the first step.
        let _ = levels.push(bytes);
        Self { levels, limits, seen: 0 }
    }

    fn step(&mut self) -> Result<Option<(usize, Tlv<'a>)>, TlvError> {
        while let Some(level) = self.levels.last_mut() {
            let budget = self.limits.elements.saturating_sub(self.seen);
            let mut elements = Elements::new(level, Limits { elements: budget, ..self.limits });
            let Some(element) = elements.step()? else {
                self.levels.pop();
                continue;
            };
            *level = elements.rest;
            self.seen = self.seen.saturating_add(1);
            let depth = self.levels.len().saturating_sub(1);
            if depth >= self.limits.depth {
                return Err(TlvError::TooDeep);
            }
            if element.tag.is_constructed() {
                self.levels.push(element.value).map_err(|_| TlvError::TooDeep)?;
            }
            return Ok(Some((depth, element)));
        }
        Ok(None)
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<(usize, Tlv<'a>), TlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step().transpose();
        if matches!(step, Some(Err(_))) {
            self.levels.clear();
        }
        step
    }
}

/// The first element with this tag on one level.
///
/// # Errors
/// Bad bytes before it, or no such element.
pub fn find(bytes: &[u8], tag: Tag, limits: Limits) -> Result<Tlv<'_>, TlvError> {
    for element in Elements::new(bytes, limits) {
        let element = element?;
        if element.tag == tag {
            return Ok(element);
        }
    }
    Err(TlvError::Missing(tag))
}

/// The value reached by a path of tags from the top: `find_path(fci, &[0x6F, 0xA5, 0x9F0C])`.
///
/// # Errors
/// Bad bytes on the way, a path longer than the depth limit, or a missing element.
pub fn find_path<'a>(bytes: &'a [u8], path: &[Tag], limits: Limits) -> Result<&'a [u8], TlvError> {
    if path.len() > limits.depth {
        return Err(TlvError::TooDeep);
    }
    path.iter().try_fold(bytes, |level, tag| find(level, *tag, limits).map(|element| element.value))
}

/// Reads the whole tree once and counts its elements: the check before anything builds on the bytes.
///
/// # Errors
/// Any of [`TlvError`].
pub fn scan(bytes: &[u8], limits: Limits) -> Result<usize, TlvError> {
    Walk::new(bytes, limits).try_fold(0usize, |count, element| element.map(|_| count.saturating_add(1)))
}

#[cfg(test)]
mod tests;
