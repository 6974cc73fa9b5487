//! What the journal keeps: of a debit its intent, durable before the debit leaves the terminal, and its resolution; of a
//! load its states; and what was agreed with the host.
//!
//! The bytes carry magic, version and checksum, so that a journal of another version or a damaged one is told apart from
//! an empty one. Layout (big-endian): `"TLJR"`, version 1, kind 1, body, first 4 bytes of SHA-256 over all before.

use core::fmt;
use protocol::bytes::{BytesError, Reader, Writer};
use protocol::crypto::sha256;
use protocol::ids::{Asn, BatchNo, IssuerId, Stan};
use protocol::iso8583::typed::ResponseCode;
use protocol::purse::PurseError;

mod debit;
mod load;

pub use debit::{DebitIntent, Resolution, Uncertainty};
pub use load::{HostNumbers, LoadIntent, LoadState};

const MAGIC: [u8; 4] = *b"TLJR";
const VERSION: u8 = 1;
const KIND_INTENT: u8 = 1;
const KIND_RESOLVED: u8 = 2;
const KIND_LOAD: u8 = 3;
const KIND_LOAD_STATE: u8 = 4;
const KIND_UPLOADED: u8 = 5;
const KIND_BATCH: u8 = 6;
const KIND_TRACES: u8 = 7;

/// Longest entry in bytes.
pub const ENTRY_BYTES_MAX: usize = 192;

/// Number of an entry in the terminal's journal; it only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub u64);

/// A card: issuer and serial number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardId {
    /// Issuer.
    pub issuer: IssuerId,
    /// Application serial number.
    pub asn: Asn,
}

impl fmt::Debug for CardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CardId({}/{})", self.issuer, self.asn)
    }
}

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalEntry {
    /// A debit is about to be sent.
    Intent(DebitIntent),
    /// What became of an intent.
    Resolved {
        /// The intent.
        intent: RecordId,
        /// What became of it.
        resolution: Resolution,
    },
    /// A load is about to be asked for: it is SENT, and its reversal is due unless something better is known later.
    Load(LoadIntent),
    /// What became of a load.
    LoadState {
        /// The load.
        load: RecordId,
        /// Its state from now on.
        state: LoadState,
    },
    /// The host answered for an offline record.
    Uploaded {
        /// The intent.
        intent: RecordId,
        /// The host's code: 00 booked, 01 held, 63 TAC wrong, 94 conflict.
        code: ResponseCode,
        /// The batch it was uploaded in.
        batch: BatchNo,
    },
    /// From now on this batch is the open one.
    Batch(BatchNo),
    /// Trace numbers up to this one may have been used.
    Traces(Stan),
}

/// Bytes that are no journal entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// No magic.
    #[error("not a journal entry")]
    NotAnEntry,
    /// Written by a newer version.
    #[error("journal entry of version {0}, this program knows up to {VERSION}")]
    NewerVersion(u8),
    /// The checksum does not fit.
    #[error("journal entry is damaged")]
    Checksum,
    /// The body does not read.
    #[error("journal entry does not read: {0}")]
    Body(#[from] PurseError),
}

impl From<BytesError> for RecordError {
    fn from(error: BytesError) -> Self {
        Self::Body(error.into())
    }
}

impl JournalEntry {
    /// Writes the entry and returns its length.
    ///
    /// # Errors
    /// A buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, RecordError> {
        let mut writer = Writer::new(out);
        writer.put(&MAGIC)?;
        writer.u8(VERSION)?;
        match self {
            Self::Intent(intent) => {
                writer.u8(KIND_INTENT)?;
                debit::put_intent(&mut writer, intent)?;
            }
            Self::Resolved { intent, resolution } => {
                writer.u8(KIND_RESOLVED)?;
                writer.put(&intent.0.to_be_bytes())?;
                debit::put_resolution(&mut writer, resolution)?;
            }
            Self::Load(intent) => {
                writer.u8(KIND_LOAD)?;
                load::put_intent(&mut writer, intent)?;
            }
            Self::LoadState { load, state } => {
                writer.u8(KIND_LOAD_STATE)?;
                writer.put(&load.0.to_be_bytes())?;
                load::put_state(&mut writer, state)?;
            }
            Self::Uploaded { intent, code, batch } => {
                writer.u8(KIND_UPLOADED)?;
                writer.put(&intent.0.to_be_bytes())?;
                writer.put(&code.to_bytes())?;
                writer.put(&batch.0.to_be_bytes())?;
            }
            Self::Batch(batch) => {
                writer.u8(KIND_BATCH)?;
                writer.put(&batch.0.to_be_bytes())?;
            }
            Self::Traces(trace) => {
                writer.u8(KIND_TRACES)?;
                writer.put(&trace.0.to_be_bytes())?;
            }
        }
        let checksum = checksum(writer.written());
        writer.put(&checksum)?;
        Ok(writer.len())
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// Any of [`RecordError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (covered, sum) = bytes.split_last_chunk::<4>().ok_or(RecordError::NotAnEntry)?;
        let mut reader = Reader::new(covered);
        if reader.array::<4>().ok() != Some(MAGIC) {
            return Err(RecordError::NotAnEntry);
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(RecordError::NewerVersion(version));
        }
        if checksum(covered) != *sum {
            return Err(RecordError::Checksum);
        }
        let entry = match reader.u8()? {
            KIND_INTENT => Self::Intent(debit::take_intent(&mut reader)?),
            KIND_RESOLVED => {
                let intent = RecordId(reader.u64()?);
                Self::Resolved { intent, resolution: debit::take_resolution(&mut reader)? }
            }
            KIND_LOAD => Self::Load(load::take_intent(&mut reader)?),
            KIND_LOAD_STATE => {
                Self::LoadState { load: RecordId(reader.u64()?), state: load::take_state(&mut reader)? }
            }
            KIND_UPLOADED => Self::Uploaded {
                intent: RecordId(reader.u64()?),
                code: ResponseCode::from_bytes(reader.array()?).ok_or(RecordError::NotAnEntry)?,
                batch: BatchNo(reader.u32()?),
            },
            KIND_BATCH => Self::Batch(BatchNo(reader.u32()?)),
            KIND_TRACES => Self::Traces(Stan(reader.u32()?)),
            _ => return Err(RecordError::NotAnEntry),
        };
        reader.finish()?;
        Ok(entry)
    }
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = sha256(&[bytes]);
    [a, b, c, d]
}
