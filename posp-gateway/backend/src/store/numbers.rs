//! The numbers under which a store keeps kinds and states. A number that was ever written keeps its meaning.

use super::{LoadState, RecordStanding, TransactionKind};

impl TransactionKind {
    /// As kept in a store.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Balance => 1,
            Self::Purchase => 2,
            Self::Void => 3,
            Self::Refund => 4,
            Self::Load => 5,
            Self::MerchantLoad => 6,
            Self::LoadConfirm => 7,
            Self::OfflineRecords => 8,
            Self::Settle => 9,
            Self::Upload => 10,
            Self::UploadEnd => 11,
            Self::Tombstone => 12,
            Self::PreAuthorisation => 13,
            Self::PreAuthorisationVoid => 14,
            Self::Completion => 15,
            Self::CompletionVoid => 16,
            Self::CompletionAdvice => 17,
        }
    }

    /// From a store.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Balance),
            2 => Some(Self::Purchase),
            3 => Some(Self::Void),
            4 => Some(Self::Refund),
            5 => Some(Self::Load),
            6 => Some(Self::MerchantLoad),
            7 => Some(Self::LoadConfirm),
            8 => Some(Self::OfflineRecords),
            9 => Some(Self::Settle),
            10 => Some(Self::Upload),
            11 => Some(Self::UploadEnd),
            12 => Some(Self::Tombstone),
            13 => Some(Self::PreAuthorisation),
            14 => Some(Self::PreAuthorisationVoid),
            15 => Some(Self::Completion),
            16 => Some(Self::CompletionVoid),
            17 => Some(Self::CompletionAdvice),
            _ => None,
        }
    }
}

impl LoadState {
    /// As kept in a store.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Consented => 1,
            Self::Disputed => 2,
            Self::Posted => 3,
            Self::Released => 4,
            Self::Presumed => 5,
        }
    }

    /// From a store.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Consented),
            2 => Some(Self::Disputed),
            3 => Some(Self::Posted),
            4 => Some(Self::Released),
            5 => Some(Self::Presumed),
            _ => None,
        }
    }
}

impl RecordStanding {
    /// As kept in a store.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Void => 1,
            Self::Uncertain => 2,
            Self::Held => 3,
            Self::Booked => 4,
            Self::Fork => 5,
            Self::Zero => 6,
            Self::Resolved => 7,
            Self::Unverified => 8,
            Self::Overtaken => 9,
        }
    }

    /// From a store.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Void),
            2 => Some(Self::Uncertain),
            3 => Some(Self::Held),
            4 => Some(Self::Booked),
            5 => Some(Self::Fork),
            6 => Some(Self::Zero),
            7 => Some(Self::Resolved),
            8 => Some(Self::Unverified),
            9 => Some(Self::Overtaken),
            _ => None,
        }
    }
}
