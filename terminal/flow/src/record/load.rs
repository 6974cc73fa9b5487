//! What the journal keeps of a load: the request, then each state before the step that follows it (`purse.md` section 6).
//!
//! SENT is the intent itself. A reversal is allowed from SENT, ANSWERED and REFUSED, never once CREDIT was sent.

use super::debit::{put_tac, take_tac};
use super::{CardId, RecordError};
use protocol::apdu::StatusWord;
use protocol::bytes::{Reader, Writer};
use protocol::ids::{Asn, BatchNo, IssuerId, KeyIndex, KeyVersion, OnlineCounter, SamTerminal, Stan};
use protocol::iso8583::f58::{CardCounter, LoadRequest, RecordState, TransactionRecord};
use protocol::iso8583::typed::{ResponseCode, RetrievalReference};
use protocol::money::{CardAmount, Currency};
use protocol::purse::{Algorithm, CappDigest, CardRandom, Moment, Overdraft, PurseMac, Tac, TransactionType};

/// Which message to the host it is: with the terminal, its identity there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostNumbers {
    /// The open batch.
    pub batch: BatchNo,
    /// A trace number that was not used in it.
    pub trace: Stan,
}

/// A load that is about to be asked for: everything of the card's request and of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadIntent {
    /// The card.
    pub card: CardId,
    /// Currency of the amounts.
    pub currency: Currency,
    /// Algorithm, as INIT answered it.
    pub algorithm: Algorithm,
    /// Index of the load key.
    pub key_index: KeyIndex,
    /// Key version, as INIT answered it.
    pub key_version: KeyVersion,
    /// Random, as INIT answered it.
    pub random: CardRandom,
    /// Online counter, as INIT answered it.
    pub counter: OnlineCounter,
    /// Balance before the load.
    pub balance_before: CardAmount,
    /// Amount to load.
    pub amount: CardAmount,
    /// The terminal's number for the purse.
    pub terminal: SamTerminal,
    /// The card's MAC1.
    pub mac1: PurseMac,
    /// Identity of the request at the host.
    pub numbers: HostNumbers,
    /// Local date and time of the request.
    pub moment: Moment,
}

impl LoadIntent {
    /// Balance after the load. The flow never asks for more than fits.
    #[must_use]
    pub fn balance_after(&self) -> CardAmount {
        self.balance_before.checked_add(self.amount).unwrap_or(self.balance_before)
    }

    /// Field 58 of the request.
    #[must_use]
    pub const fn request(&self) -> LoadRequest {
        LoadRequest {
            issuer: self.card.issuer,
            asn: self.card.asn,
            algorithm: self.algorithm,
            random: self.random,
            key_index: self.key_index,
            key_version: self.key_version,
            counter: self.counter,
            balance: self.balance_before,
            amount: self.amount,
            kind: TransactionType::Load,
            terminal: self.terminal,
            mac1: self.mac1,
        }
    }

    /// Field 58 of the confirmation: done with the card's TAC, or uncertain without one. `moment` is that of the host's
    /// consent, which the TAC covers.
    #[must_use]
    pub fn record(&self, moment: Moment, tac: Option<Tac>) -> TransactionRecord {
        TransactionRecord {
            state: if tac.is_some() { RecordState::Done } else { RecordState::Uncertain },
            issuer: self.card.issuer,
            asn: self.card.asn,
            algorithm: self.algorithm,
            key_version: self.key_version,
            counter: CardCounter::Online(self.counter),
            balance_after: self.balance_after(),
            overdraft: Overdraft::ZERO,
            amount: self.amount,
            kind: TransactionType::Load,
            terminal: self.terminal,
            term_seq: protocol::ids::TermSeq(0),
            moment,
            digest: CappDigest::default(),
            tac: tac.unwrap_or(Tac::zero(self.algorithm.suite())),
        }
    }
}

/// Where a load stands after SENT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadState {
    /// The host consented: MAC2 is in hand.
    Answered {
        /// The host's reference (F37).
        reference: RetrievalReference,
        /// Date and time that MAC2 covers.
        moment: Moment,
    },
    /// CREDIT is about to be sent: from now on the card decides.
    CreditSent,
    /// The card was credited.
    Credited {
        /// The card's proof for the issuer.
        tac: Tac,
    },
    /// The card was not credited: it refused, or showed later that its counter had not moved. The reversal is due.
    Refused {
        /// What it said.
        sw: StatusWord,
    },
    /// The card cannot show whether it was credited.
    Unknown,
    /// The host declined: over.
    Declined {
        /// Field 39.
        code: ResponseCode,
    },
    /// The host took the reversal: over.
    Reversed,
    /// The host answered the confirmation: over (unless it was reported as unknown, and the card shows its proof later).
    Confirmed {
        /// Field 39.
        code: ResponseCode,
    },
}

pub(super) fn put_intent(writer: &mut Writer<'_>, intent: &LoadIntent) -> Result<(), RecordError> {
    writer.put(&intent.card.issuer.0)?;
    writer.put(&intent.card.asn.0)?;
    writer.put(&intent.currency.numeric().to_be_bytes())?;
    writer.put(&[intent.algorithm.byte(), intent.key_index.0, intent.key_version.0])?;
    writer.put(intent.random.as_bytes())?;
    writer.put(&intent.counter.0.to_be_bytes())?;
    writer.put(&intent.balance_before.to_bytes())?;
    writer.put(&intent.amount.to_bytes())?;
    writer.put(&intent.terminal.0)?;
    writer.put(intent.mac1.as_bytes())?;
    writer.put(&intent.numbers.batch.0.to_be_bytes())?;
    writer.put(&intent.numbers.trace.0.to_be_bytes())?;
    Ok(writer.put(&intent.moment.to_bytes())?)
}

pub(super) fn take_intent(reader: &mut Reader<'_>) -> Result<LoadIntent, RecordError> {
    let card = CardId { issuer: IssuerId(reader.array()?), asn: Asn(reader.array()?) };
    let currency = Currency::from_numeric(reader.u16()?).ok_or(RecordError::NotAnEntry)?;
    let algorithm = Algorithm::from_byte(reader.u8()?)?;
    let suite = algorithm.suite();
    Ok(LoadIntent {
        card,
        currency,
        algorithm,
        key_index: KeyIndex(reader.u8()?),
        key_version: KeyVersion(reader.u8()?),
        random: CardRandom::from_bytes(suite, reader.take(suite.mac_len())?)?,
        counter: OnlineCounter(reader.u16()?),
        balance_before: CardAmount::from_bytes(reader.array()?),
        amount: CardAmount::from_bytes(reader.array()?),
        terminal: SamTerminal(reader.array()?),
        mac1: PurseMac::from_bytes(suite, reader.take(suite.mac_len())?)?,
        numbers: HostNumbers { batch: BatchNo(reader.u32()?), trace: Stan(reader.u32()?) },
        moment: Moment::from_bytes(reader.array()?),
    })
}

pub(super) fn put_state(writer: &mut Writer<'_>, state: &LoadState) -> Result<(), RecordError> {
    match state {
        LoadState::Answered { reference, moment } => {
            writer.u8(1)?;
            writer.put(&reference.to_bytes())?;
            writer.put(&moment.to_bytes())?;
        }
        LoadState::CreditSent => writer.u8(2)?,
        LoadState::Credited { tac } => {
            writer.u8(3)?;
            put_tac(writer, Some(tac))?;
        }
        LoadState::Refused { sw } => {
            writer.u8(4)?;
            writer.put(&sw.0.to_be_bytes())?;
        }
        LoadState::Unknown => writer.u8(5)?,
        LoadState::Declined { code } => {
            writer.u8(6)?;
            writer.put(&code.to_bytes())?;
        }
        LoadState::Reversed => writer.u8(7)?,
        LoadState::Confirmed { code } => {
            writer.u8(8)?;
            writer.put(&code.to_bytes())?;
        }
    }
    Ok(())
}

pub(super) fn take_state(reader: &mut Reader<'_>) -> Result<LoadState, RecordError> {
    let code = |bytes| ResponseCode::from_bytes(bytes).ok_or(RecordError::NotAnEntry);
    Ok(match reader.u8()? {
        1 => LoadState::Answered {
            reference: RetrievalReference::from_bytes(reader.array()?).ok_or(RecordError::NotAnEntry)?,
            moment: Moment::from_bytes(reader.array()?),
        },
        2 => LoadState::CreditSent,
        3 => LoadState::Credited { tac: take_tac(reader)?.ok_or(RecordError::NotAnEntry)? },
        4 => LoadState::Refused { sw: StatusWord(reader.u16()?) },
        5 => LoadState::Unknown,
        6 => LoadState::Declined { code: code(reader.array()?)? },
        7 => LoadState::Reversed,
        8 => LoadState::Confirmed { code: code(reader.array()?)? },
        _ => return Err(RecordError::NotAnEntry),
    })
}
