//! A message on a connection: `length 2 | TPDU 5 | [header 6] | message` (`docs/posp.md` section 1).
//!
//! The length is big-endian and excludes itself. Too long, too short, or a TPDU or header that is none closes the
//! connection: after such an error nobody knows where the next frame would start.

use crate::bytes::{BytesError, Reader};
use core::fmt;

/// Most bytes of a frame, without the length itself.
pub const MAX_FRAME: usize = 8192;
/// Bytes of the length.
pub const LENGTH_BYTES: usize = 2;
const TPDU_BYTES: usize = 5;
const HEADER_BYTES: usize = 6;
/// Message type and one bitmap: nothing shorter is a message.
const MIN_MESSAGE: usize = 10;
/// The first byte of every TPDU.
const TPDU_ID: u8 = 0x60;

/// A frame that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is above [`MAX_FRAME`].
    #[error("frame of {0} bytes, at most {MAX_FRAME} are allowed")]
    TooLong(usize),
    /// Too short for TPDU, header and the shortest message.
    #[error("frame of {0} bytes is too short for a message")]
    TooShort(usize),
    /// The TPDU does not start with 60.
    #[error("TPDU does not start with 60")]
    Tpdu,
    /// The header is not decimal.
    #[error("header is not decimal")]
    Header,
    /// The length does not fit the bytes that were given as one frame.
    #[error("length says {announced} bytes, {found} follow")]
    Length {
        /// What the length says.
        announced: usize,
        /// What is there.
        found: usize,
    },
    /// The caller's output buffer is too small.
    #[error("output buffer is too small")]
    NoRoom,
}

/// Where a message comes from and goes to: `60 | destination 2 | source 2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tpdu {
    /// Network identifier of the receiver.
    pub destination: [u8; 2],
    /// Network identifier of the sender.
    pub source: [u8; 2],
}

impl Tpdu {
    /// From and to nobody in particular.
    pub const ZERO: Self = Self { destination: [0; 2], source: [0; 2] };

    /// The way back.
    #[must_use]
    pub const fn reply(self) -> Self {
        Self { destination: self.source, source: self.destination }
    }

    /// On the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 5] {
        let ([d0, d1], [s0, s1]) = (self.destination, self.source);
        [TPDU_ID, d0, d1, s0, s1]
    }

    /// From the wire.
    ///
    /// # Errors
    /// Another first byte than 60.
    pub const fn from_bytes(bytes: [u8; 5]) -> Result<Self, FrameError> {
        match bytes {
            [TPDU_ID, d0, d1, s0, s1] => Ok(Self { destination: [d0, d1], source: [s0, s1] }),
            _ => Err(FrameError::Tpdu),
        }
    }
}

/// What a host asks a terminal to do next, in the header of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Requirement {
    /// Nothing.
    None,
    /// Upload the status (0820/362).
    UploadStatus,
    /// Sign in again.
    SignIn,
    /// Update the certification authority keys (0800/370).
    CapkUpdate,
    /// Update the application parameters (0800/380).
    AidParameters,
    /// Update the terminal parameters (0800/364).
    TerminalParameters,
    /// Update the deny list (0800/390).
    DenyList,
    /// Update the contactless parameters (0800/394).
    ContactlessParameters,
    /// A digit without a meaning here.
    Other(u8),
}

impl Requirement {
    /// From its digit.
    #[must_use]
    pub const fn from_digit(digit: u8) -> Self {
        match digit {
            0 => Self::None,
            2 => Self::UploadStatus,
            3 => Self::SignIn,
            4 => Self::CapkUpdate,
            5 => Self::AidParameters,
            6 => Self::TerminalParameters,
            7 => Self::DenyList,
            9 => Self::ContactlessParameters,
            other => Self::Other(other),
        }
    }

    /// Its digit.
    #[must_use]
    pub const fn digit(self) -> u8 {
        match self {
            Self::None => 0,
            Self::UploadStatus => 2,
            Self::SignIn => 3,
            Self::CapkUpdate => 4,
            Self::AidParameters => 5,
            Self::TerminalParameters => 6,
            Self::DenyList => 7,
            Self::ContactlessParameters => 9,
            Self::Other(digit) => digit & 0x0F,
        }
    }
}

/// The 12 digits of a frame's header: application class 2, version 2, terminal state 1, processing requirement 1,
/// reserved 6.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header([u8; 6]);

impl Header {
    /// Class 61 (chip), version 31, all else zero.
    pub const CHIP: Self = Self([0x61, 0x31, 0, 0, 0, 0]);

    /// From the wire.
    ///
    /// # Errors
    /// Something else than decimal digits.
    pub fn from_bytes(bytes: [u8; 6]) -> Result<Self, FrameError> {
        if super::sound::packed_digits(&bytes) { Ok(Self(bytes)) } else { Err(FrameError::Header) }
    }

    /// On the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 6] {
        self.0
    }

    /// What the host asks the terminal to do.
    #[must_use]
    pub const fn requirement(self) -> Requirement {
        let [_, _, byte, ..] = self.0;
        Requirement::from_digit(byte & 0x0F)
    }

    /// The same header with another processing requirement.
    #[must_use]
    pub const fn with_requirement(self, requirement: Requirement) -> Self {
        let [class, version, state, r0, r1, r2] = self.0;
        Self([class, version, (state & 0xF0) | requirement.digit(), r0, r1, r2])
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({})", crate::hex::Hex(&self.0))
    }
}

/// Whether frames of a listener have the 6-byte header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HeaderRule {
    /// Every frame has it.
    #[default]
    Present,
    /// No frame has it.
    Absent,
}

/// A received frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Addresses.
    pub tpdu: Tpdu,
    /// Header, where the listener has one.
    pub header: Option<Header>,
    /// The message, from its type on.
    pub message: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads what follows the length of a frame (see [`split`]).
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn parse(body: &'a [u8], rule: HeaderRule) -> Result<Self, FrameError> {
        if body.len() > MAX_FRAME {
            return Err(FrameError::TooLong(body.len()));
        }
        let short = |_: BytesError| FrameError::TooShort(body.len());
        let mut reader = Reader::new(body);
        let tpdu = Tpdu::from_bytes(reader.array::<TPDU_BYTES>().map_err(short)?)?;
        let header = match rule {
            HeaderRule::Present => Some(Header::from_bytes(reader.array::<HEADER_BYTES>().map_err(short)?)?),
            HeaderRule::Absent => None,
        };
        if reader.rest().len() < MIN_MESSAGE {
            return Err(FrameError::TooShort(body.len()));
        }
        Ok(Self { tpdu, header, message: reader.rest() })
    }
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({:?}, {:?}, {} bytes)", self.tpdu, self.header, self.message.len())
    }
}

/// The length of a frame, from its two bytes.
///
/// # Errors
/// Longer than [`MAX_FRAME`], or too short for any message.
pub fn length(prefix: [u8; LENGTH_BYTES]) -> Result<usize, FrameError> {
    let length = usize::from(u16::from_be_bytes(prefix));
    if length > MAX_FRAME {
        Err(FrameError::TooLong(length))
    } else if length < TPDU_BYTES + MIN_MESSAGE {
        Err(FrameError::TooShort(length))
    } else {
        Ok(length)
    }
}

/// The body of a frame, and what was received after it.
pub type BodyAndRest<'a> = (&'a [u8], &'a [u8]);

/// Splits the first whole frame off what a connection has received: its body, and everything after it. `None` until the
/// frame is complete.
///
/// # Errors
/// A length that no frame has; the connection is lost.
pub fn split(received: &[u8]) -> Result<Option<BodyAndRest<'_>>, FrameError> {
    match received.split_first_chunk::<LENGTH_BYTES>() {
        None => Ok(None),
        Some((prefix, rest)) => Ok(rest.split_at_checked(length(*prefix)?)),
    }
}

/// Writes a frame: `message` fills the buffer it is given and returns the length of the message.
///
/// # Errors
/// Those of `message`, or a buffer that is too small.
pub fn write<E: From<FrameError>>(
    out: &mut [u8],
    tpdu: Tpdu,
    header: Option<Header>,
    message: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) -> Result<usize, E> {
    let no_room = || E::from(FrameError::NoRoom);
    let (prefix, body) = out.split_first_chunk_mut::<LENGTH_BYTES>().ok_or_else(no_room)?;
    let (front, rest) = body.split_first_chunk_mut::<TPDU_BYTES>().ok_or_else(no_room)?;
    *front = tpdu.to_bytes();
    let (fixed, length) = match header {
        None => (TPDU_BYTES, message(rest)?),
        Some(header) => {
            let (front, rest) = rest.split_first_chunk_mut::<HEADER_BYTES>().ok_or_else(no_room)?;
            *front = header.to_bytes();
            (TPDU_BYTES + HEADER_BYTES, message(rest)?)
        }
    };
    let length = length.saturating_add(fixed);
    let announced = u16::try_from(length).ok().filter(|_| length <= MAX_FRAME);
    *prefix = announced.ok_or_else(|| E::from(FrameError::TooLong(length)))?.to_be_bytes();
    Ok(length.saturating_add(LENGTH_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_split_off_a_stream_as_they_complete() {
        let mut out = [0; 64];
        let length = write(&mut out, Tpdu { destination: [0, 3], source: [0, 9] }, None, |body| {
            body[..12].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
            Ok::<_, FrameError>(12)
        })
        .unwrap();
        let stream = [&out[..length], &out[..5]].concat();
        for end in 0..length {
            assert_eq!(split(&stream[..end]), Ok(None));
        }
        let (body, rest) = split(&stream).unwrap().unwrap();
        assert_eq!(rest, &out[..5]);
        let frame = Frame::parse(body, HeaderRule::Absent).unwrap();
        assert_eq!(frame.message.len(), 12);
        assert_eq!(frame.tpdu.reply().to_bytes(), [0x60, 0, 9, 0, 3]);
    }

    #[test]
    fn lengths_that_no_frame_has_are_refused_before_anything_is_read() {
        assert_eq!(split(&[0xFF, 0xFF]), Err(FrameError::TooLong(0xFFFF)));
        assert_eq!(split(&[0x20, 0x01]), Err(FrameError::TooLong(8193)));
        assert_eq!(split(&[0, 14]), Err(FrameError::TooShort(14)));
        assert_eq!(split(&[0x20, 0x00]), Ok(None));
        assert_eq!(Frame::parse(&[0x61; 40], HeaderRule::Present), Err(FrameError::Tpdu));
        assert_eq!(Frame::parse(&[0x60; 20], HeaderRule::Present), Err(FrameError::TooShort(20)));
    }

    #[test]
    fn the_host_asks_for_work_in_the_header() {
        let header = Header::CHIP.with_requirement(Requirement::DenyList);
        assert_eq!(header.to_bytes(), [0x61, 0x31, 0x07, 0, 0, 0]);
        assert_eq!(header.requirement(), Requirement::DenyList);
        assert_eq!(Header::from_bytes([0x6A, 0, 0, 0, 0, 0]), Err(FrameError::Header));
        for digit in 0..10 {
            assert_eq!(Requirement::from_digit(digit).digit(), digit);
        }
    }
}
