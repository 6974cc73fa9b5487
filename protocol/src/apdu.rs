//! Command and response APDUs: ISO/IEC 7816-4, section 5.1 (cases 1 to 4, short and extended), and the status words that
//! end every answer.
//!
//! A [`Command`] borrows its data; it is encoded into a caller's buffer. Parsing refuses what is no APDU of any case and
//! says so with [`ApduError`]; what a command *means* is for the modules above.

use crate::bytes::{BytesError, Reader, Writer};
use core::fmt;

/// Longest short command: header, Lc, 255 bytes of data, Le.
pub const SHORT_COMMAND_BYTES_MAX: usize = 261;
/// Longest short answer: 256 bytes of data and the status word.
pub const SHORT_ANSWER_BYTES_MAX: usize = 258;
/// Longest data field of an extended command.
pub const EXTENDED_DATA_BYTES_MAX: usize = 65_535;

/// Bytes that are no APDU, or that do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApduError {
    /// Fewer than a header of 4 bytes, or fewer than a status word of 2.
    #[error("{0} bytes are too few")]
    TooShort(usize),
    /// The length fields fit none of the cases of ISO/IEC 7816-4.
    #[error("length fields fit no case of ISO 7816-4")]
    BadLength,
    /// More data than an extended command carries.
    #[error("data field is longer than {EXTENDED_DATA_BYTES_MAX} bytes")]
    DataTooLong,
    /// The output buffer is too small.
    #[error("output buffer is too small")]
    NoRoom,
}

impl From<BytesError> for ApduError {
    fn from(error: BytesError) -> Self {
        match error {
            BytesError::NoRoom => Self::NoRoom,
            _ => Self::BadLength,
        }
    }
}

/// How many bytes of answer a command expects (Ne): 1 to 65 536.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ne(u32);

impl Ne {
    /// "All there are", short: Le = 00, up to 256 bytes.
    pub const ALL: Self = Self(256);
    /// "All there are", extended: Le = 0000, up to 65 536 bytes.
    pub const ALL_EXTENDED: Self = Self(65_536);

    /// `n` bytes, 1 to 65 536.
    #[must_use]
    pub const fn new(n: u32) -> Option<Self> {
        if n >= 1 && n <= 65_536 { Some(Self(n)) } else { None }
    }

    /// From a short Le byte, where 00 means 256.
    #[must_use]
    pub const fn from_short(le: u8) -> Self {
        if le == 0 { Self::ALL } else { Self(le as u32) }
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A command APDU.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// Class byte.
    pub cla: u8,
    /// Instruction byte.
    pub ins: u8,
    /// First parameter.
    pub p1: u8,
    /// Second parameter.
    pub p2: u8,
    /// Data field, up to 65 535 bytes (255 in a short command).
    pub data: &'a [u8],
    /// Expected answer length; `None` in cases 1 and 3.
    pub ne: Option<Ne>,
}

impl fmt::Debug for Command<'_> {
    /// The header and lengths only: the data may hold a PIN or a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cla, ins, p1, p2, data, ne } = self;
        write!(f, "Command({cla:02X} {ins:02X} {p1:02X} {p2:02X}, {} bytes", data.len())?;
        match ne {
            Some(ne) => write!(f, ", Ne {})", ne.get()),
            None => f.write_str(")"),
        }
    }
}

impl<'a> Command<'a> {
    /// A command without data and without an expected answer (case 1).
    #[must_use]
    pub const fn new(cla: u8, ins: u8, p1: u8, p2: u8) -> Self {
        Self { cla, ins, p1, p2, data: &[], ne: None }
    }

    /// With a data field.
    #[must_use]
    pub const fn with_data(self, data: &'a [u8]) -> Self {
        Self { data, ..self }
    }

    /// With an expected answer length.
    #[must_use]
    pub const fn expecting(self, ne: Ne) -> Self {
        Self { ne: Some(ne), ..self }
    }

    /// The four header bytes.
    #[must_use]
    pub const fn header(&self) -> [u8; 4] {
        [self.cla, self.ins, self.p1, self.p2]
    }

    /// Whether it needs the extended form.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.data.len() > 255 || self.ne.is_some_and(|ne| ne.get() > 256)
    }

    /// Writes the command, short where it can be, and returns its length.
    ///
    /// # Errors
    /// Data that no APDU carries, or a buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, ApduError> {
        let data_length = u16::try_from(self.data.len()).map_err(|_| ApduError::DataTooLong)?;
        let mut writer = Writer::new(out);
        writer.put(&self.header())?;
        // The low bytes carry the length: 256 becomes 00 and 65 536 becomes 0000, as the standard wants.
        let [.., ne_high, ne_low] = self.ne.map_or(0, Ne::get).to_be_bytes();
        if self.is_extended() {
            writer.u8(0)?;
            if data_length > 0 {
                writer.put(&data_length.to_be_bytes())?;
                writer.put(self.data)?;
            }
            if self.ne.is_some() {
                writer.put(&[ne_high, ne_low])?;
            }
        } else {
            let [_, low] = data_length.to_be_bytes();
            if low != 0 {
                writer.u8(low)?;
                writer.put(self.data)?;
            }
            if self.ne.is_some() {
                writer.u8(ne_low)?;
            }
        }
        Ok(writer.len())
    }

    /// Reads a command of any case.
    ///
    /// # Errors
    /// Bytes that fit no case.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ApduError> {
        let mut reader = Reader::new(bytes);
        let [cla, ins, p1, p2] = reader.array().map_err(|_| ApduError::TooShort(bytes.len()))?;
        let header = Self::new(cla, ins, p1, p2);
        match reader.rest() {
            [] => Ok(header),
            [le] => Ok(header.expecting(Ne::from_short(*le))),
            [0, body @ ..] => Self::parse_extended(header, body),
            [lc, body @ ..] => {
                let (data, rest) = body.split_at_checked(usize::from(*lc)).ok_or(ApduError::BadLength)?;
                let command = header.with_data(data);
                match rest {
                    [] => Ok(command),
                    [le] => Ok(command.expecting(Ne::from_short(*le))),
                    _ => Err(ApduError::BadLength),
                }
            }
        }
    }

    fn parse_extended(header: Self, body: &'a [u8]) -> Result<Self, ApduError> {
        let extended_ne = |high: u8, low: u8| match u16::from_be_bytes([high, low]) {
            0 => Ne::ALL_EXTENDED,
            n => Ne(u32::from(n)),
        };
        match body {
            [high, low] => Ok(header.expecting(extended_ne(*high, *low))),
            [high, low, rest @ ..] => {
                let lc = usize::from(u16::from_be_bytes([*high, *low]));
                let (data, rest) = rest.split_at_checked(lc).ok_or(ApduError::BadLength)?;
                let command = header.with_data(data);
                match rest {
                    _ if lc == 0 => Err(ApduError::BadLength),
                    [] => Ok(command),
                    [high, low] => Ok(command.expecting(extended_ne(*high, *low))),
                    _ => Err(ApduError::BadLength),
                }
            }
            _ => Err(ApduError::BadLength),
        }
    }
}

/// An answer: data and the status word after it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    /// Data field, possibly empty.
    pub data: &'a [u8],
    /// Status word.
    pub sw: StatusWord,
}

impl fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({} bytes, {:?})", self.data.len(), self.sw)
    }
}

impl<'a> Response<'a> {
    /// Splits an answer into data and status word.
    ///
    /// # Errors
    /// Fewer than 2 bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ApduError> {
        let (data, sw) = bytes.split_last_chunk::<2>().ok_or(ApduError::TooShort(bytes.len()))?;
        Ok(Self { data, sw: StatusWord(u16::from_be_bytes(*sw)) })
    }

    /// Writes data and status word, and returns the length.
    ///
    /// # Errors
    /// A buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, ApduError> {
        let mut writer = Writer::new(out);
        writer.put(self.data)?;
        writer.put(&self.sw.0.to_be_bytes())?;
        Ok(writer.len())
    }
}

/// The two bytes that end every answer (ISO/IEC 7816-4 table 5; 93xx and 94xx of the purse: `purse.md` section 1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusWord(pub u16);

macro_rules! status_words {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        impl StatusWord {
            $(#[doc = concat!("`", stringify!($value), "`: ", $text, ".")]
            pub const $name: Self = Self($value);)*

            /// What the status word says, in the words of the standard.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self.0 {
                    $($value => $text,)*
                    0x61_00..=0x61_FF => "answer waits for GET RESPONSE",
                    0x63_C0..=0x63_CF => "verification failed, tries are left",
                    0x6C_00..=0x6C_FF => "wrong Le, the right one is in the second byte",
                    _ => "not assigned",
                }
            }

            /// Every status word that has a name, for the reference page and for tests.
            pub const NAMED: &[Self] = &[$(Self($value)),*];
        }
    };
}

status_words! {
    OK = 0x9000, "done";
    MEMORY_FAILURE = 0x6581, "memory failure";
    WRONG_LENGTH = 0x6700, "wrong length";
    SECURE_MESSAGING_NOT_SUPPORTED = 0x6882, "secure messaging not supported";
    NOT_ALLOWED = 0x6900, "command not allowed";
    NOT_ACCEPTED = 0x6901, "command not accepted in this state";
    INCOMPATIBLE_FILE = 0x6981, "command does not fit the file's structure";
    SECURITY_NOT_SATISFIED = 0x6982, "security status not satisfied";
    PIN_BLOCKED = 0x6983, "PIN or key is blocked";
    DATA_INVALIDATED = 0x6984, "reference data not usable";
    CONDITIONS_NOT_SATISFIED = 0x6985, "conditions of use not satisfied";
    NO_CURRENT_FILE = 0x6986, "no current file";
    SECURE_MESSAGING_MISSING = 0x6987, "secure messaging data missing";
    SECURE_MESSAGING_WRONG = 0x6988, "secure messaging data wrong";
    WRONG_DATA = 0x6A80, "wrong data";
    FUNCTION_NOT_SUPPORTED = 0x6A81, "function not supported, or application blocked";
    FILE_NOT_FOUND = 0x6A82, "file or application not found";
    RECORD_NOT_FOUND = 0x6A83, "record not found";
    NO_SPACE = 0x6A84, "not enough memory in the file";
    WRONG_P1P2 = 0x6A86, "wrong P1 or P2";
    REFERENCE_NOT_FOUND = 0x6A88, "reference data not found";
    WRONG_OFFSET = 0x6B00, "wrong parameters or offset";
    INS_NOT_SUPPORTED = 0x6D00, "instruction not supported";
    CLA_NOT_SUPPORTED = 0x6E00, "class not supported";
    UNKNOWN = 0x6F00, "no precise diagnosis";
    MAC_WRONG = 0x9302, "MAC wrong";
    PERMANENTLY_BLOCKED = 0x9303, "application permanently blocked";
    INSUFFICIENT_BALANCE = 0x9401, "balance insufficient";
    COUNTER_AT_MAXIMUM = 0x9402, "transaction counter at its maximum";
    KEY_NOT_FOUND = 0x9403, "key not found";
    NO_PROVE_DATA = 0x9406, "no such transaction to prove";
}

impl StatusWord {
    /// Whether the command was carried out.
    #[must_use]
    pub const fn is_ok(self) -> bool {
        self.0 == Self::OK.0
    }

    /// `63Cx`: how many PIN tries are left.
    #[must_use]
    pub const fn tries_left(self) -> Option<u8> {
        match self.0 {
            0x63C0..=0x63CF => Some((self.0 & 0x0F) as u8),
            _ => None,
        }
    }

    /// `63Cx` with `tries` left (at most 15).
    #[must_use]
    pub const fn with_tries_left(tries: u8) -> Self {
        let tries = if tries > 15 { 15 } else { tries };
        Self(0x63C0 | tries as u16)
    }

    /// `61xx`: how many bytes wait for GET RESPONSE.
    #[must_use]
    pub const fn bytes_waiting(self) -> Option<Ne> {
        match self.0.to_be_bytes() {
            [0x61, low] => Some(Ne::from_short(low)),
            _ => None,
        }
    }

    /// `6Cxx`: the Le to repeat the command with.
    #[must_use]
    pub const fn right_le(self) -> Option<Ne> {
        match self.0.to_be_bytes() {
            [0x6C, low] => Some(Ne::from_short(low)),
            _ => None,
        }
    }
}

impl fmt::Debug for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}

impl fmt::Display for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X} ({})", self.0, self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    fn encoded(command: &Command<'_>) -> std::vec::Vec<u8> {
        let mut out = vec![0; 66_000];
        let n = command.encode(&mut out).unwrap();
        out.truncate(n);
        out
    }

    #[test]
    fn each_case_has_its_published_form() {
        let select = Command::new(0x00, 0xA4, 0x04, 0x00);
        assert_eq!(encoded(&select), [0x00, 0xA4, 0x04, 0x00]);
        assert_eq!(encoded(&select.expecting(Ne::ALL)), [0x00, 0xA4, 0x04, 0x00, 0x00]);
        assert_eq!(encoded(&select.with_data(&[0x3F, 0x00])), [0x00, 0xA4, 0x04, 0x00, 0x02, 0x3F, 0x00]);
        let case4 = select.with_data(&[0x3F, 0x00]).expecting(Ne::from_short(0x0F));
        assert_eq!(encoded(&case4), [0x00, 0xA4, 0x04, 0x00, 0x02, 0x3F, 0x00, 0x0F]);
        let case2e = select.expecting(Ne::ALL_EXTENDED);
        assert_eq!(encoded(&case2e), [0x00, 0xA4, 0x04, 0x00, 0x00, 0x00, 0x00]);
        let long = [7; 256];
        let case3e = select.with_data(&long);
        assert_eq!(encoded(&case3e)[..7], [0x00, 0xA4, 0x04, 0x00, 0x00, 0x01, 0x00]);
        assert_eq!(encoded(&case3e).len(), 7 + 256);
        assert_eq!(encoded(&case3e.expecting(Ne::ALL))[7 + 256..], [0x01, 0x00]);
    }

    #[test]
    fn bytes_of_no_case_are_refused() {
        let bad: &[&[u8]] = &[
            &[],
            &[0, 0xA4, 4],
            &[0, 0xA4, 4, 0, 2, 0x3F],
            &[0, 0xA4, 4, 0, 1, 0x3F, 0, 0],
            &[0, 0xA4, 4, 0, 0, 1],
            &[0, 0xA4, 4, 0, 0, 0, 2, 1],
            &[0, 0xA4, 4, 0, 0, 0, 0, 1],
            &[0, 0xA4, 4, 0, 0, 0, 1, 9, 0],
        ];
        for bytes in bad {
            assert!(Command::parse(bytes).is_err(), "{bytes:02X?}");
        }
        assert_eq!(Response::parse(&[0x90]), Err(ApduError::TooShort(1)));
    }

    #[test]
    fn status_words_tell_tries_and_lengths() {
        assert_eq!(StatusWord(0x63C2).tries_left(), Some(2));
        assert_eq!(StatusWord(0x6110).bytes_waiting(), Ne::new(16));
        assert_eq!(StatusWord(0x6C00).right_le(), Some(Ne::ALL));
        assert_eq!(std::format!("{}", StatusWord::INSUFFICIENT_BALANCE), "9401 (balance insufficient)");
    }

    #[test]
    fn debug_output_never_shows_the_data_field() {
        let command = Command::new(0x00, 0x20, 0, 0).with_data(b"123456");
        assert_eq!(std::format!("{command:?}"), "Command(00 20 00 00, 6 bytes)");
    }

    proptest! {
        #[test]
        fn every_command_reads_back(
            header in any::<[u8; 4]>(),
            data in prop_oneof![proptest::collection::vec(any::<u8>(), 0..300), proptest::collection::vec(any::<u8>(), 65_530..65_536)],
            ne in proptest::option::of(1u32..=65_536),
        ) {
            let [cla, ins, p1, p2] = header;
            let command = Command { cla, ins, p1, p2, data: &data, ne: ne.and_then(Ne::new) };
            let bytes = encoded(&command);
            prop_assert_eq!(Command::parse(&bytes), Ok(command));
        }

        #[test]
        fn any_bytes_parse_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(command) = Command::parse(&bytes) {
                let again = encoded(&command);
                prop_assert_eq!(Command::parse(&again), Ok(command));
            }
            let _ = Response::parse(&bytes);
        }
    }
}
