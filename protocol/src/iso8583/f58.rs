//! Field 58: what a purse and its issuer say to each other through terminal and gateway (`docs/posp.md` section 5).
//!
//! Each record begins with two letters: `RQ` asks for a load or an unload, `RP` answers it, `TA` tells a transaction, `RS`
//! answers such records; `IT` and `DF` belong to the batch upload. Lengths of random, MAC, TAC and digest follow from the algorithm byte. Refused: other letters,
//! unknown algorithms, types and states, records that end early, bytes after the last one.

use super::FieldValue;
use super::typed::{PurseField, ResponseCode};
use crate::bytes::{BytesError, Reader, Writer};
use crate::ids::{Asn, IssuerId, KeyIndex, KeyVersion, OfflineCounter, OnlineCounter, SamTerminal, TermSeq};
use crate::money::CardAmount;
use crate::purse::{
    Algorithm, CappDigest, CardRandom, Moment, Overdraft, PurseError, PurseMac, Suite, Tac, TransactionType,
};

mod batch;

pub use batch::{
    BatchDifference, BatchDifferences, BatchItem, BatchItems, DIFFERENCES_MAX, ITEMS_MAX, ItemName, ItemSide,
};

/// Most `TA` records of one message.
pub const MAX_RECORDS: usize = 12;
/// Most bytes of the field.
pub const MAX_BYTES: usize = 999;

/// Bytes of field 58 that are no records. It never holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum F58Error {
    /// Another record than this place allows.
    #[error("record at byte {0} is not of the expected kind")]
    Tag(usize),
    /// The bytes end inside a record, or go on after the last.
    #[error("record: {0}")]
    Layout(#[from] BytesError),
    /// A value that means nothing.
    #[error("record: {0}")]
    Purse(#[from] PurseError),
    /// A state byte other than 0 to 3.
    #[error("record state {0} is not known")]
    State(u8),
    /// A transaction type that the record cannot have.
    #[error("transaction type {0:02X} does not belong into this record")]
    Type(u8),
    /// A code with other characters than letters and digits.
    #[error("answer code is not text")]
    Code,
    /// A side or a name of a batch item that is not known.
    #[error("batch item {0:02X} is not known")]
    Item(u8),
    /// More records than a message may have.
    #[error("more records than a message may have")]
    TooMany,
}

fn tag(reader: &mut Reader<'_>, expected: [u8; 2]) -> Result<(), F58Error> {
    let at = reader.offset();
    if reader.array()? == expected { Ok(()) } else { Err(F58Error::Tag(at)) }
}

fn mac(reader: &mut Reader<'_>, suite: Suite) -> Result<PurseMac, F58Error> {
    Ok(PurseMac::from_bytes(suite, reader.take(suite.mac_len())?)?)
}

/// `RQ`: a purse asks for a load or an unload; MAC1 is its proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadRequest {
    /// Issuer of the purse.
    pub issuer: IssuerId,
    /// Its serial number.
    pub asn: Asn,
    /// Algorithm of the key.
    pub algorithm: Algorithm,
    /// Random of the transaction.
    pub random: CardRandom,
    /// Index of the key.
    pub key_index: KeyIndex,
    /// Version of the key.
    pub key_version: KeyVersion,
    /// Online counter, as INIT answered it.
    pub counter: OnlineCounter,
    /// Balance before.
    pub balance: CardAmount,
    /// Amount to load or unload.
    pub amount: CardAmount,
    /// Load or unload.
    pub kind: TransactionType,
    /// The terminal's number for the purse.
    pub terminal: SamTerminal,
    /// The card's proof.
    pub mac1: PurseMac,
}

impl LoadRequest {
    /// Its letters.
    pub const TAG: [u8; 2] = *b"RQ";

    /// Reads the one record of the field.
    ///
    /// # Errors
    /// See [`F58Error`].
    pub fn parse(bytes: &[u8]) -> Result<Self, F58Error> {
        let mut reader = Reader::new(bytes);
        tag(&mut reader, Self::TAG)?;
        let (issuer, asn) = (IssuerId(reader.array()?), Asn(reader.array()?));
        let algorithm = Algorithm::from_byte(reader.u8()?)?;
        let suite = algorithm.suite();
        let request = Self {
            issuer,
            asn,
            algorithm,
            random: CardRandom::from_bytes(suite, reader.take(suite.mac_len())?)?,
            key_index: KeyIndex(reader.u8()?),
            key_version: KeyVersion(reader.u8()?),
            counter: OnlineCounter(reader.u16()?),
            balance: CardAmount::from_bytes(reader.array()?),
            amount: CardAmount::from_bytes(reader.array()?),
            kind: online_kind(reader.u8()?)?,
            terminal: SamTerminal(reader.array()?),
            mac1: mac(&mut reader, suite)?,
        };
        reader.finish()?;
        Ok(request)
    }

    /// Writes the record and returns its length.
    ///
    /// # Errors
    /// `out` is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, F58Error> {
        let mut writer = Writer::new(out);
        writer.put(&Self::TAG)?;
        writer.put(&self.issuer.0)?;
        writer.put(&self.asn.0)?;
        writer.u8(self.algorithm.byte())?;
        writer.put(self.random.as_bytes())?;
        writer.put(&[self.key_index.0, self.key_version.0])?;
        writer.put(&self.counter.0.to_be_bytes())?;
        writer.put(&self.balance.to_bytes())?;
        writer.put(&self.amount.to_bytes())?;
        writer.u8(self.kind.byte())?;
        writer.put(&self.terminal.0)?;
        writer.put(self.mac1.as_bytes())?;
        Ok(writer.len())
    }
}

fn online_kind(byte: u8) -> Result<TransactionType, F58Error> {
    match TransactionType::from_byte(byte)? {
        kind @ (TransactionType::Load | TransactionType::Unload) => Ok(kind),
        _ => Err(F58Error::Type(byte)),
    }
}

/// `RP`: the issuer allows it; MAC2 is its proof for the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadAnswer {
    /// Algorithm of the key.
    pub algorithm: Algorithm,
    /// Date and time that MAC2 covers and the card records.
    pub moment: Moment,
    /// The issuer's proof.
    pub mac2: PurseMac,
}

impl LoadAnswer {
    /// Its letters.
    pub const TAG: [u8; 2] = *b"RP";

    /// Reads the one record of the field.
    ///
    /// # Errors
    /// See [`F58Error`].
    pub fn parse(bytes: &[u8]) -> Result<Self, F58Error> {
        let mut reader = Reader::new(bytes);
        tag(&mut reader, Self::TAG)?;
        let algorithm = Algorithm::from_byte(reader.u8()?)?;
        let moment = Moment::from_bytes(reader.array()?);
        let answer = Self { algorithm, moment, mac2: mac(&mut reader, algorithm.suite())? };
        reader.finish()?;
        Ok(answer)
    }

    /// Writes the record and returns its length.
    ///
    /// # Errors
    /// `out` is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, F58Error> {
        let mut writer = Writer::new(out);
        writer.put(&Self::TAG)?;
        writer.u8(self.algorithm.byte())?;
        writer.put(&self.moment.to_bytes())?;
        writer.put(self.mac2.as_bytes())?;
        Ok(writer.len())
    }
}

/// What a terminal knows about a transaction of a purse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordState {
    /// It did not happen.
    Void,
    /// It happened.
    Done,
    /// Nobody knows; the card did not come back.
    Uncertain,
    /// It happened, says a card whose proof this terminal's SAM cannot check.
    RecoveredUnverified,
}

impl RecordState {
    /// From the byte on the wire.
    ///
    /// # Errors
    /// A byte above 3.
    pub const fn from_byte(byte: u8) -> Result<Self, F58Error> {
        match byte {
            0 => Ok(Self::Void),
            1 => Ok(Self::Done),
            2 => Ok(Self::Uncertain),
            3 => Ok(Self::RecoveredUnverified),
            other => Err(F58Error::State(other)),
        }
    }

    /// The byte on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Void => 0,
            Self::Done => 1,
            Self::Uncertain => 2,
            Self::RecoveredUnverified => 3,
        }
    }
}

/// The counter that a transaction used: which one follows from its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CardCounter {
    /// Of purchases.
    Offline(OfflineCounter),
    /// Of loads and unloads.
    Online(OnlineCounter),
}

impl CardCounter {
    const fn of(kind: TransactionType, counter: u16) -> Self {
        match kind {
            TransactionType::Load | TransactionType::Unload | TransactionType::PassbookLoad => {
                Self::Online(OnlineCounter(counter))
            }
            _ => Self::Offline(OfflineCounter(counter)),
        }
    }

    const fn number(self) -> u16 {
        match self {
            Self::Offline(counter) => counter.0,
            Self::Online(counter) => counter.0,
        }
    }
}

/// `TA`: a transaction of a purse, with the card's proof for its issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionRecord {
    /// What the terminal knows.
    pub state: RecordState,
    /// Issuer of the purse.
    pub issuer: IssuerId,
    /// Its serial number.
    pub asn: Asn,
    /// Algorithm of the keys.
    pub algorithm: Algorithm,
    /// Version of the key of the transaction.
    pub key_version: KeyVersion,
    /// Counter, as INIT answered it.
    pub counter: CardCounter,
    /// Balance after.
    pub balance_after: CardAmount,
    /// Overdraft limit.
    pub overdraft: Overdraft,
    /// Amount.
    pub amount: CardAmount,
    /// Type.
    pub kind: TransactionType,
    /// The number of the SAM's terminal.
    pub terminal: SamTerminal,
    /// The SAM's sequence number; with the terminal it identifies the record.
    pub term_seq: TermSeq,
    /// Date and time at the terminal.
    pub moment: Moment,
    /// Suite 10: digest of the CAPP updates; zeros in suite 00, which does not send it.
    pub digest: CappDigest,
    /// The card's proof; zeros if the terminal has none.
    pub tac: Tac,
}

impl TransactionRecord {
    /// Its letters.
    pub const TAG: [u8; 2] = *b"TA";

    /// Reads the one record of the field.
    ///
    /// # Errors
    /// See [`F58Error`].
    pub fn parse(bytes: &[u8]) -> Result<Self, F58Error> {
        let mut reader = Reader::new(bytes);
        let record = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(record)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, F58Error> {
        tag(reader, Self::TAG)?;
        let state = RecordState::from_byte(reader.u8()?)?;
        let (issuer, asn) = (IssuerId(reader.array()?), Asn(reader.array()?));
        let algorithm = Algorithm::from_byte(reader.u8()?)?;
        let suite = algorithm.suite();
        let key_version = KeyVersion(reader.u8()?);
        let counter = reader.u16()?;
        let balance_after = CardAmount::from_bytes(reader.array()?);
        let overdraft = Overdraft::from_bytes(reader.array()?);
        let amount = CardAmount::from_bytes(reader.array()?);
        let kind = TransactionType::from_byte(reader.u8()?)?;
        Ok(Self {
            state,
            issuer,
            asn,
            algorithm,
            key_version,
            counter: CardCounter::of(kind, counter),
            balance_after,
            overdraft,
            amount,
            kind,
            terminal: SamTerminal(reader.array()?),
            term_seq: TermSeq(reader.u32()?),
            moment: Moment::from_bytes(reader.array()?),
            digest: if suite == Suite::Aes { CappDigest(reader.array()?) } else { CappDigest([0; 16]) },
            tac: Tac::from_bytes(suite, reader.take(suite.mac_len())?)?,
        })
    }

    /// Writes the record and returns its length: 58 bytes in suite 00, 78 in suite 10.
    ///
    /// # Errors
    /// `out` is too small, or the TAC is of another suite than the algorithm.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, F58Error> {
        let suite = self.algorithm.suite();
        if self.tac.suite() != suite {
            return Err(PurseError::WrongSuite { expected: suite, found: self.tac.suite() }.into());
        }
        let mut writer = Writer::new(out);
        writer.put(&Self::TAG)?;
        writer.u8(self.state.byte())?;
        writer.put(&self.issuer.0)?;
        writer.put(&self.asn.0)?;
        writer.put(&[self.algorithm.byte(), self.key_version.0])?;
        writer.put(&self.counter.number().to_be_bytes())?;
        writer.put(&self.balance_after.to_bytes())?;
        writer.put(&self.overdraft.to_bytes())?;
        writer.put(&self.amount.to_bytes())?;
        writer.u8(self.kind.byte())?;
        writer.put(&self.terminal.0)?;
        writer.put(&self.term_seq.0.to_be_bytes())?;
        writer.put(&self.moment.to_bytes())?;
        if suite == Suite::Aes {
            writer.put(&self.digest.0)?;
        }
        writer.put(self.tac.as_bytes())?;
        Ok(writer.len())
    }
}

/// The `TA` records of a field, one after the other; after an error it ends.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    reader: Option<Reader<'a>>,
    seen: usize,
}

impl<'a> Records<'a> {
    /// Over the records in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { reader: Some(Reader::new(bytes)), seen: 0 }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<TransactionRecord, F58Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut().filter(|reader| !reader.is_empty())?;
        self.seen = self.seen.saturating_add(1);
        let record =
            if self.seen > MAX_RECORDS { Err(F58Error::TooMany) } else { TransactionRecord::read(reader) };
        if record.is_err() {
            self.reader = None;
        }
        Some(record)
    }
}

impl<'a> PurseField<'a> {
    /// The `TA` records in it.
    #[must_use]
    pub const fn records(&self) -> Records<'a> {
        Records::new(self.0)
    }

    /// The letters it begins with.
    #[must_use]
    pub fn tag(&self) -> Option<[u8; 2]> {
        self.0.first_chunk().copied()
    }
}

/// What the host says about one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordAnswer {
    /// Which record.
    pub term_seq: TermSeq,
    /// 00 booked, 01 held for review, 63 TAC wrong, 94 conflict.
    pub code: ResponseCode,
}

impl RecordAnswer {
    /// Held for review.
    pub const HELD: ResponseCode = code(*b"01");
    /// The TAC is wrong.
    pub const TAC_WRONG: ResponseCode = code(*b"63");
}

const fn code(bytes: [u8; 2]) -> ResponseCode {
    match ResponseCode::from_bytes(bytes) {
        Some(code) => code,
        None => ResponseCode::SYSTEM,
    }
}

/// `RS`: what the host says about the records of a request, in a field of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordAnswers {
    /// One for each record of the request.
    pub answers: heapless::Vec<RecordAnswer, MAX_RECORDS>,
}

impl RecordAnswers {
    /// Its letters.
    pub const TAG: [u8; 2] = *b"RS";

    /// Reads the one record of the field.
    ///
    /// # Errors
    /// See [`F58Error`].
    pub fn parse(bytes: &[u8]) -> Result<Self, F58Error> {
        let mut reader = Reader::new(bytes);
        tag(&mut reader, Self::TAG)?;
        let mut answers = heapless::Vec::new();
        while !reader.is_empty() {
            let term_seq = TermSeq(reader.u32()?);
            let code = ResponseCode::from_bytes(reader.array()?).ok_or(F58Error::Code)?;
            answers.push(RecordAnswer { term_seq, code }).map_err(|_| F58Error::TooMany)?;
        }
        Ok(Self { answers })
    }

    /// Writes the record and returns its length.
    ///
    /// # Errors
    /// `out` is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, F58Error> {
        let mut writer = Writer::new(out);
        writer.put(&Self::TAG)?;
        for answer in &self.answers {
            writer.put(&answer.term_seq.0.to_be_bytes())?;
            writer.put(&answer.code.to_bytes())?;
        }
        Ok(writer.len())
    }
}

/// Collects up to [`MAX_RECORDS`] `TA` records for one message.
#[derive(Clone, Debug)]
pub struct RecordList {
    bytes: [u8; MAX_BYTES],
    len: usize,
    records: usize,
}

impl Default for RecordList {
    fn default() -> Self {
        Self { bytes: [0; MAX_BYTES], len: 0, records: 0 }
    }
}

impl RecordList {
    /// Adds a record.
    ///
    /// # Errors
    /// The list is full.
    pub fn push(&mut self, record: &TransactionRecord) -> Result<(), F58Error> {
        if self.records == MAX_RECORDS {
            return Err(F58Error::TooMany);
        }
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        self.len = self.len.saturating_add(record.encode(room)?);
        self.records = self.records.saturating_add(1);
        Ok(())
    }

    /// How many records.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.records
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// As a field.
    #[must_use]
    pub fn field(&self) -> PurseField<'_> {
        PurseField(self.bytes.get(..self.len).unwrap_or_default())
    }
}

// The field's number is that of the type that carries it.
const _: () = assert!(<PurseField<'static> as FieldValue<'static>>::FIELD.0 == 58);

#[cfg(test)]
mod tests;
