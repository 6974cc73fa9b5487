//! The small values of the purse whose length depends on the suite, and those with a type of their own.

use super::{PurseError, Suite};
use crate::crypto::{left4, left8};
use crate::hex::Hex;
use crate::time::{CardDate, CardTime};
use core::fmt;

/// 4 bytes in suite 00, 8 in suite 10.
macro_rules! suited_bytes {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq)]
        pub struct $name {
            bytes: [u8; 8],
            suite: Suite,
        }

        impl $name {
            /// All zeros: where a layout wants one and there is none.
            #[must_use]
            pub const fn zero(suite: Suite) -> Self {
                Self { bytes: [0; 8], suite }
            }

            /// From the bytes on the wire.
            ///
            /// # Errors
            /// Another length than the suite's.
            pub fn from_bytes(suite: Suite, bytes: &[u8]) -> Result<Self, PurseError> {
                let wrong = PurseError::WrongLength { what: $what, expected: suite.mac_len(), found: bytes.len() };
                let mut own = [0; 8];
                let target = own.get_mut(..suite.mac_len()).ok_or(wrong)?;
                if target.len() != bytes.len() {
                    return Err(wrong);
                }
                target.copy_from_slice(bytes);
                Ok(Self { bytes: own, suite })
            }

            /// 4 bytes of suite 00.
            #[must_use]
            pub const fn from4(bytes: [u8; 4]) -> Self {
                let [a, b, c, d] = bytes;
                Self { bytes: [a, b, c, d, 0, 0, 0, 0], suite: Suite::Des }
            }

            /// 8 bytes of suite 10.
            #[must_use]
            pub const fn from8(bytes: [u8; 8]) -> Self {
                Self { bytes, suite: Suite::Aes }
            }

            /// The bytes on the wire: 4 or 8.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                self.bytes.get(..self.suite.mac_len()).unwrap_or_default()
            }

            /// The suite it belongs to.
            #[must_use]
            pub const fn suite(&self) -> Suite {
                self.suite
            }

            /// Whether every byte is zero.
            #[must_use]
            pub fn is_zero(&self) -> bool {
                self.bytes == [0; 8]
            }
        }

        impl PartialEq for $name {
            /// In constant time; another suite is unequal.
            fn eq(&self, other: &Self) -> bool {
                self.suite == other.suite && crate::secret::macs_equal(&self.bytes, &other.bytes)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), Hex(self.as_bytes()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&Hex(self.as_bytes()), f)
            }
        }
    };
}

suited_bytes! {
    /// The random number of an INIT answer.
    CardRandom, "random"
}
suited_bytes! {
    /// MAC1, MAC2 or MAC3 of the purse. Compares in constant time.
    PurseMac, "MAC"
}
suited_bytes! {
    /// Transaction authentication code: the card's proof for the issuer. Compares in constant time.
    Tac, "TAC"
}

impl PurseMac {
    pub(crate) const fn from_des(mac: [u8; 8]) -> Self {
        Self::from4(left4(mac))
    }

    pub(crate) const fn from_cmac(mac: [u8; 16]) -> Self {
        Self::from8(left8(mac))
    }
}

impl Tac {
    pub(crate) const fn from_des(mac: [u8; 8]) -> Self {
        Self::from4(left4(mac))
    }

    pub(crate) const fn from_cmac(mac: [u8; 16]) -> Self {
        Self::from8(left8(mac))
    }
}

/// Overdraft limit, 3 bytes, minor units. What may be spent is balance − overdraft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Overdraft([u8; 3]);

impl Overdraft {
    /// None.
    pub const ZERO: Self = Self([0; 3]);

    /// From its bytes on the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 3]) -> Self {
        Self(bytes)
    }

    /// Its bytes on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 3] {
        self.0
    }

    /// Minor units.
    #[must_use]
    pub const fn minor(self) -> u32 {
        let [a, b, c] = self.0;
        u32::from_be_bytes([0, a, b, c])
    }
}

/// Date and time of a transaction, in the terminal's local time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// `YYYYMMDD`.
    pub date: CardDate,
    /// `HHMMSS`.
    pub time: CardTime,
}

impl Moment {
    /// From the 7 bytes on the wire, whatever they hold.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 7]) -> Self {
        let [a, b, c, d, h, m, s] = bytes;
        Self { date: CardDate::from_bytes([a, b, c, d]), time: CardTime::from_bytes([h, m, s]) }
    }

    /// The 7 bytes on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 7] {
        let [a, b, c, d] = self.date.to_bytes();
        let [h, m, s] = self.time.to_bytes();
        [a, b, c, d, h, m, s]
    }
}

impl fmt::Display for Moment {
    /// `2026-11-22 18:30:05`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.date, self.time)
    }
}

/// Suite 10's digest over the UPDATE CAPP DATA CACHE commands of a transaction; zeros without any (and in suite 00).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CappDigest(pub [u8; 16]);

/// Suite 10's digest of file 15: the first 8 bytes of its SHA-256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct File15Digest(pub [u8; 8]);
