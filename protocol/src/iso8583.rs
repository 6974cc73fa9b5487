//! ISO 8583: what terminals, gateways and hosts say to each other (`docs/posp.md` sections 1 to 5).
//!
//! A dialect is data: a [`Dialect`] is a table of fields, and nothing else here knows what field 2 looks like on the
//! wire. [`Message`] is a view over received bytes, [`Builder`] writes into a caller's buffer, [`frame`] wraps messages for
//! a TCP connection. Raw fields ([`Value`]) and typed values ([`FieldValue`]) are two layers: what an acquirer
//! puts into an opaque field comes out byte for byte.
//!
//! Refused, with the field, the position and the reason, and never with the content: fields that the table does not
//! have, lengths beyond the table's, digits that are none, padding that is not zero, bytes after the last field.
//! Any bytes are safe to parse; nothing allocates.

pub mod builder;
pub mod describe;
pub mod f58;
pub mod frame;
pub mod message;
mod put;
mod scan;
mod sound;
pub mod table;
pub mod typed;
mod value;

use core::fmt;

pub use builder::{Builder, Unsigned};
pub use frame::{Frame, FrameError, Header, HeaderRule, Tpdu};
pub use message::Message;
pub use table::{
    AES, Alphabet, BitmapForm, Coding, Dialect, DigitForm, Field, Privacy, Side, Size, UNIONPAY,
};
pub use typed::FieldValue;
pub use value::{Digits, Value};

/// The number of a field: 2 to 128 (1 is the second bitmap).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldNo(pub u8);

impl FieldNo {
    /// The MAC of a message with one bitmap.
    pub const MAC: Self = Self(64);
    /// The MAC of a message with two bitmaps.
    pub const MAC_128: Self = Self(128);

    /// Where its row is; beyond all rows for a number that is none.
    #[inline]
    pub(crate) const fn index(self) -> usize {
        self.0.wrapping_sub(1) as usize
    }

    /// This field's bit in the 128-bit bitmap, whose first bit stands for field 1.
    pub(crate) const fn bit(self) -> u128 {
        if self.0 == 0 || self.0 > 128 { 0 } else { (1 << 127) >> (self.0.wrapping_sub(1) & 127) }
    }
}

impl fmt::Debug for FieldNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "F{}", self.0)
    }
}

/// Message type: four digits, packed (`0x0200`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mti(pub u16);

impl Mti {
    /// Authorisation request (pre-authorisation).
    pub const AUTHORISATION: Self = Self(0x0100);
    /// Financial request.
    pub const FINANCIAL: Self = Self(0x0200);
    /// Financial advice.
    pub const ADVICE: Self = Self(0x0220);
    /// Batch upload, offline records.
    pub const UPLOAD: Self = Self(0x0320);
    /// Reversal.
    pub const REVERSAL: Self = Self(0x0400);
    /// Reversal, repeated.
    pub const REVERSAL_REPEAT: Self = Self(0x0401);
    /// Batch settlement.
    pub const SETTLEMENT: Self = Self(0x0500);
    /// Script result.
    pub const SCRIPT_RESULT: Self = Self(0x0620);
    /// Network management: sign in, parameters.
    pub const MANAGEMENT: Self = Self(0x0800);
    /// Network management that asks for less: sign out, echo, status.
    pub const MANAGEMENT_ADVICE: Self = Self(0x0820);

    /// The answer's type: 0200 → 0210, 0401 → 0410 (an answer has no repeat of its own).
    #[must_use]
    pub const fn reply(self) -> Self {
        Self((self.0 & 0xFFF0) | 0x0010)
    }

    /// Whether this is an answer (third digit odd).
    #[must_use]
    pub const fn is_reply(self) -> bool {
        self.0 & 0x0010 != 0
    }

    /// What a request and its answer have in common: the first three digits of the request. With fields 41, 42 and 11
    /// it matches answers to requests; 0400, 0401 and 0410 share one.
    #[must_use]
    pub const fn exchange(self) -> Self {
        Self(self.0 & 0xFFE0)
    }

    const fn is_decimal(self) -> bool {
        self.0 & ((self.0 << 1) | (self.0 << 2)) & 0x8888 == 0
    }
}

impl fmt::Display for Mti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}

impl fmt::Debug for Mti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The part of a message that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The message type.
    Mti,
    /// The bitmap.
    Bitmap,
    /// A field.
    Field(FieldNo),
    /// After the last field.
    End,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mti => f.write_str("message type"),
            Self::Bitmap => f.write_str("bitmap"),
            Self::Field(no) => write!(f, "field {}", no.0),
            Self::End => f.write_str("end of message"),
        }
    }
}

/// What is wrong with a message: where, and why. It never holds the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}, byte {at}: {reason}")]
pub struct FieldError {
    /// The part of the message.
    pub place: Place,
    /// Offset from the message type on (for a message that is being built: where the field would have begun).
    pub at: usize,
    /// The reason.
    pub reason: Reason,
}

impl FieldError {
    pub(crate) const fn new(place: Place, at: usize, reason: Reason) -> Self {
        Self { place, at, reason }
    }
}

/// Why a part of a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The bytes end before it does.
    #[error("{needed} bytes needed, {left} left")]
    Truncated {
        /// Bytes it has.
        needed: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// Bytes after the last field.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// The dialect's table has no such field.
    #[error("not in this dialect")]
    NotInDialect,
    /// A required field is absent.
    #[error("required, but absent")]
    Absent,
    /// A length prefix that is no decimal number.
    #[error("length prefix is not decimal")]
    Prefix,
    /// Shorter or longer than the table says.
    #[error("length {found} is not within {min} to {max}")]
    Length {
        /// Digits or bytes that it has.
        found: usize,
        /// Fewest.
        min: usize,
        /// Most.
        max: usize,
    },
    /// Something else than a decimal digit.
    #[error("not a decimal digit")]
    NotDecimal,
    /// Something else than digits and the separator of a magnetic track.
    #[error("not a digit or a track separator")]
    NotTrack,
    /// A byte outside the field's alphabet.
    #[error("not in the alphabet of the field")]
    NotText,
    /// The unused half byte of an odd number of digits is not zero.
    #[error("padding is not zero")]
    Padding,
    /// Well formed, but no value that the field can have.
    #[error("{0}")]
    Value(&'static str),
    /// A builder was given another kind of content than the table has for the field.
    #[error("the field holds another kind of content")]
    Kind,
    /// A builder was given fields out of order, or one twice.
    #[error("fields are written in ascending order, each once")]
    Order,
    /// The caller's output buffer is too small.
    #[error("output buffer is too small")]
    NoRoom,
    /// An earlier error of the same builder was ignored.
    #[error("an earlier field could not be written")]
    Poisoned,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_request_and_its_answer_belong_to_one_exchange() {
        assert_eq!(Mti::REVERSAL_REPEAT.reply(), Mti(0x0410));
        assert_eq!(Mti::REVERSAL_REPEAT.exchange(), Mti(0x0410).exchange());
        assert_eq!(Mti(0x0210).exchange(), Mti::FINANCIAL.exchange());
        assert_ne!(Mti::ADVICE.exchange(), Mti::FINANCIAL.exchange());
        assert!(Mti(0x0230).is_reply() && !Mti::ADVICE.is_reply());
        assert!(Mti(0x0999).is_decimal() && !Mti(0x0A00).is_decimal() && !Mti(0x00F0).is_decimal());
    }

    #[test]
    fn an_error_says_where_and_why() {
        let error =
            FieldError::new(Place::Field(FieldNo(35)), 47, Reason::Length { found: 38, min: 1, max: 37 });
        assert_eq!(error.to_string(), "field 35, byte 47: length 38 is not within 1 to 37");
    }

    #[test]
    fn bits_count_from_the_left() {
        assert_eq!(FieldNo(1).bit(), 1 << 127);
        assert_eq!(FieldNo(64).bit(), 1 << 64);
        assert_eq!(FieldNo(128).bit(), 1);
        assert_eq!(FieldNo(0).bit(), 0);
        assert_eq!(FieldNo(129).bit(), 0);
    }
}
