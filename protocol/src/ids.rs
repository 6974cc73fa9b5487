//! Names and numbers that identify things, each a type of its own so that none can stand for another.

use crate::hex::{self, Hex, HexError};
use core::fmt;

/// A fixed-size identifier shown as hexadecimal.
macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&Hex(&self.0), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), Hex(&self.0))
            }
        }

        impl core::str::FromStr for $name {
            type Err = HexError;
            fn from_str(text: &str) -> Result<Self, HexError> {
                hex::decode(text).map(Self)
            }
        }
    };
}

byte_id! {
    /// Application serial number of a purse: 10 bytes, file 15 at offset 10 (`purse.md` section 5).
    Asn, 10
}
byte_id! {
    /// Issuer of a purse: 8 bytes at the front of file 15.
    IssuerId, 8
}
byte_id! {
    /// The number of a SAM's terminal role, 6 bytes (file 16 of the SAM). The backend knows which merchant it belonged to
    /// at any time. Not the 8-character terminal id of ISO 8583.
    SamTerminal, 6
}
byte_id! {
    /// Serial number of a SAM, 10 bytes (file 15 of the SAM).
    SamSerial, 10
}
byte_id! {
    /// One diversification factor (8 bytes).
    Factor, 8
}

impl Asn {
    /// The card's own diversification factor: the last 8 of the 10 bytes.
    #[must_use]
    pub fn factor(&self) -> Factor {
        let [_, _, rest @ ..] = self.0;
        Factor(rest)
    }
}

/// A counter or number with a type of its own.
macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        impl $name {
            /// The number that follows, unless it was the last.
            #[must_use]
            pub fn next(self) -> Option<Self> {
                self.0.checked_add(1).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number_id! {
    /// A card's offline transaction counter (purchases, CAPP), as INIT answers it.
    OfflineCounter(u16)
}
number_id! {
    /// A card's online transaction counter (load, unload), as INIT answers it.
    OnlineCounter(u16)
}
number_id! {
    /// The SAM's transaction sequence number; it only grows.
    TermSeq(u32)
}
number_id! {
    /// System trace audit number, ISO 8583 field 11, 6 digits.
    Stan(u32)
}
number_id! {
    /// Batch number, ISO 8583 field 60.2, 6 digits.
    BatchNo(u32)
}
number_id! {
    /// Version of a key set of an issuer.
    KeyVersion(u8)
}
number_id! {
    /// Index of a key within its kind on a card.
    KeyIndex(u8)
}

/// A fixed-width name in the `ans` alphabet of ISO 8583 (printable ASCII, space-padded on the wire).
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// From the bytes of a message: printable ASCII only.
            #[must_use]
            pub fn from_bytes(bytes: [u8; $len]) -> Option<Self> {
                bytes.iter().all(|b| (0x20..0x7F).contains(b)).then_some(Self(bytes))
            }

            /// From text of at most
            #[doc = stringify!($len)]
            /// printable ASCII characters; padded with spaces.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                let mut bytes = [b' '; $len];
                bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
                if text.is_empty() { None } else { Self::from_bytes(bytes) }
            }

            /// The padded bytes of a message.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; $len] {
                self.0
            }

            /// Without padding.
            #[must_use]
            pub fn as_str(&self) -> &str {
                core::str::from_utf8(&self.0).unwrap_or_default().trim_end_matches(' ')
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.as_str())
            }
        }
    };
}

text_id! {
    /// Terminal identification, ISO 8583 field 41.
    TerminalId, 8
}
text_id! {
    /// Merchant (card acceptor) identification, ISO 8583 field 42.
    MerchantId, 15
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_cards_own_factor_is_the_last_eight_bytes_of_its_serial() {
        let asn: Asn = "62170000001234567890".parse().unwrap();
        assert_eq!(asn.factor().to_string(), "0000001234567890");
        assert_eq!("6217".parse::<Asn>(), Err(HexError::WrongLength { expected: 10, found: 2 }));
    }

    #[test]
    fn text_identifiers_are_padded_and_printable() {
        let id = TerminalId::from_text("T1").unwrap();
        assert_eq!(&id.to_bytes(), b"T1      ");
        assert_eq!(id.as_str(), "T1");
        assert_eq!(TerminalId::from_text("123456789"), None);
        assert_eq!(TerminalId::from_text(""), None);
        assert_eq!(TerminalId::from_text("T\n"), None);
        assert_eq!(MerchantId::from_bytes([0xFF; 15]), None);
    }

    #[test]
    fn counters_do_not_wrap() {
        assert_eq!(OfflineCounter(0xFFFE).next(), Some(OfflineCounter(0xFFFF)));
        assert_eq!(OfflineCounter(0xFFFF).next(), None);
    }
}
