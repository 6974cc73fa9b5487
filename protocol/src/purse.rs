//! The purse: stored value on the card (`purse.md`), as bytes and meaning.
//!
//! Two crypto suites share one command set. Suite 00 (3DES) is byte-compatible with PBOC electronic purses
//! (JR/T 0025); suite 10 (AES-128) is our own and the default for new cards. `ctr2` is always the value that INIT
//! answered, in every MAC, TAC and record; only GET TRANSACTION PROVE and the card's log carry that value + 1.
//!
//! - [`command`]: the commands a terminal sends and an applet reads;
//! - [`answer`]: what comes back;
//! - [`mod@file`]: the files of the application and the FCI;
//! - [`keys`]: diversification and session keys, typed by suite;
//! - [`mac`]: MAC1, MAC2, MAC3, TAC;
//! - [`messaging`]: secure messaging of suite 00.
//!
//! The states and rules (what may follow what, what is durable when) are the applet's and the flow's.

use core::fmt;

pub mod answer;
pub mod command;
pub mod file;
pub mod keys;
pub mod mac;
pub mod messaging;
mod value;

pub use value::{CappDigest, CardRandom, File15Digest, Moment, Overdraft, PurseMac, Tac};

/// AID of the purse application, suite 10 (proprietary range).
pub const AID_SUITE_10: [u8; 9] = [0xF0, 0x54, 0x41, 0x50, 0x4C, 0x49, 0x4E, 0x45, 0x01];
/// Default DF name of the purse application, suite 00.
pub const AID_SUITE_00: [u8; 9] = [0xA0, 0x00, 0x00, 0x00, 0x03, 0x86, 0x98, 0x07, 0x01];
/// File identifier of the purse application, both suites.
pub const FID_PURSE: u16 = 0x1001;

/// How many past transactions GET TRANSACTION PROVE can answer for, over both counters.
pub const PROVE_DEPTH: usize = 10;

/// A set of algorithms: which MACs, key derivations and lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// 00: 3DES, PBOC-compatible; 4-byte MACs and randoms.
    Des,
    /// 10: AES-128; 8-byte MACs and randoms.
    Aes,
}

impl Suite {
    /// Bytes of MAC1, MAC2, MAC3, TAC and of the card's random.
    #[must_use]
    pub const fn mac_len(self) -> usize {
        match self {
            Self::Des => 4,
            Self::Aes => 8,
        }
    }

    /// The algorithm byte we write for this suite.
    #[must_use]
    pub const fn algorithm(self) -> Algorithm {
        match self {
            Self::Des => Algorithm(0x00),
            Self::Aes => Algorithm(0x10),
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Des => "00 (3DES)",
            Self::Aes => "10 (AES)",
        })
    }
}

/// The algorithm byte as a card reported it. `00` and `01` both mean 3DES with 16-byte keys, `10` means AES; the byte
/// itself is kept, because records repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Algorithm(u8);

impl Algorithm {
    /// From the byte on the wire.
    ///
    /// # Errors
    /// A byte that is no known suite (04, SM4, is reserved and claims nothing).
    pub const fn from_byte(byte: u8) -> Result<Self, PurseError> {
        match byte {
            0x00 | 0x01 | 0x10 => Ok(Self(byte)),
            other => Err(PurseError::UnknownAlgorithm(other)),
        }
    }

    /// The byte on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self.0
    }

    /// The suite it stands for.
    #[must_use]
    pub const fn suite(self) -> Suite {
        match self.0 {
            0x10 => Suite::Aes,
            _ => Suite::Des,
        }
    }
}

/// The transaction type byte of commands, MACs, log and PROVE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionType {
    /// 01: load of the passbook; codec only.
    PassbookLoad,
    /// 02: load of the purse.
    Load,
    /// 03: unload.
    Unload,
    /// 04: cash withdrawal from the passbook; codec only.
    CashWithdrawal,
    /// 05: purchase from the passbook; codec only.
    PassbookPurchase,
    /// 06: purchase from the purse.
    Purchase,
    /// 07: change of the passbook's overdraft limit; codec only.
    OverdraftUpdate,
    /// 09: compound (CAPP) purchase: transit tap, counter probe.
    CappPurchase,
}

impl TransactionType {
    /// From the byte on the wire.
    ///
    /// # Errors
    /// A byte that is no known type.
    pub const fn from_byte(byte: u8) -> Result<Self, PurseError> {
        Ok(match byte {
            0x01 => Self::PassbookLoad,
            0x02 => Self::Load,
            0x03 => Self::Unload,
            0x04 => Self::CashWithdrawal,
            0x05 => Self::PassbookPurchase,
            0x06 => Self::Purchase,
            0x07 => Self::OverdraftUpdate,
            0x09 => Self::CappPurchase,
            other => return Err(PurseError::UnknownType(other)),
        })
    }

    /// The byte on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::PassbookLoad => 0x01,
            Self::Load => 0x02,
            Self::Unload => 0x03,
            Self::CashWithdrawal => 0x04,
            Self::PassbookPurchase => 0x05,
            Self::Purchase => 0x06,
            Self::OverdraftUpdate => 0x07,
            Self::CappPurchase => 0x09,
        }
    }
}

/// Bytes of a card, a SAM or a record that do not mean what they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PurseError {
    /// Another length than the layout has.
    #[error("{what} has {found} bytes, expected {expected}")]
    WrongLength {
        /// The item.
        what: &'static str,
        /// Bytes of its layout.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// An algorithm byte that is no known suite.
    #[error("algorithm {0:02X} is not a known suite")]
    UnknownAlgorithm(u8),
    /// A transaction type that is not known.
    #[error("transaction type {0:02X} is not known")]
    UnknownType(u8),
    /// The suite is another than expected.
    #[error("suite {found}, expected {expected}")]
    WrongSuite {
        /// Suite of the context.
        expected: Suite,
        /// Suite found.
        found: Suite,
    },
    /// The header of a command is not the one of this command.
    #[error("not this command")]
    NotThisCommand,
    /// The FCI lacks something or is no BER-TLV.
    #[error("file control information: {0}")]
    Fci(#[from] crate::tlv::TlvError),
    /// More diversification factors than 1 to 3.
    #[error("{0} diversification factors, expected 1 to 3")]
    FactorCount(usize),
    /// A buffer of ours is too small.
    #[error("output buffer is too small")]
    NoRoom,
}

impl From<crate::bytes::BytesError> for PurseError {
    fn from(error: crate::bytes::BytesError) -> Self {
        match error {
            crate::bytes::BytesError::NoRoom => Self::NoRoom,
            crate::bytes::BytesError::Short { at, needed, left } => Self::WrongLength {
                what: "field",
                expected: at.saturating_add(needed),
                found: at.saturating_add(left),
            },
            crate::bytes::BytesError::Trailing(n) => {
                Self::WrongLength { what: "rest", expected: 0, found: n }
            }
            crate::bytes::BytesError::NotDecimal(_) => Self::NotThisCommand,
        }
    }
}

impl From<crate::apdu::ApduError> for PurseError {
    fn from(_: crate::apdu::ApduError) -> Self {
        Self::NoRoom
    }
}
