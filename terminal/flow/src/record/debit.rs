//! What the journal keeps of a debit: the intent and what became of it, and their bytes.

use super::{CardId, RecordError};
use protocol::bytes::{Reader, Writer};
use protocol::ids::{Asn, Factor, IssuerId, KeyVersion, OfflineCounter, SamTerminal, TermSeq};
use protocol::money::{CardAmount, Currency};
use protocol::purse::mac::{PurchaseTerms, TacTerms};
use protocol::purse::{
    Algorithm, CappDigest, CardRandom, File15Digest, Moment, Overdraft, PurseError, Suite, Tac,
    TransactionType,
};
use protocol::sam::{BalanceProof, CardKeyReference, Factors};

/// Everything about a debit that is about to be sent: enough to prove or disprove it later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebitIntent {
    /// The card.
    pub card: CardId,
    /// Currency of the amounts.
    pub currency: Currency,
    /// Algorithm, as INIT answered it.
    pub algorithm: Algorithm,
    /// Key version, as INIT answered it.
    pub key_version: KeyVersion,
    /// Random, as INIT answered it.
    pub random: CardRandom,
    /// Offline counter, as INIT answered it.
    pub counter: OfflineCounter,
    /// Balance before the debit.
    pub balance_before: CardAmount,
    /// Overdraft limit.
    pub overdraft: Overdraft,
    /// Amount to take.
    pub amount: CardAmount,
    /// Purchase or CAPP purchase.
    pub kind: TransactionType,
    /// The SAM's terminal number.
    pub terminal: SamTerminal,
    /// The SAM's sequence number.
    pub term_seq: TermSeq,
    /// Local date and time.
    pub moment: Moment,
    /// Digest of the CAPP cache.
    pub digest: CappDigest,
    /// Digest of file 15.
    pub file15: File15Digest,
    /// Diversification factors.
    pub factors: Factors,
}

impl DebitIntent {
    /// The suite of the card.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.algorithm.suite()
    }

    /// Balance after the debit. The flow never makes an intent above the balance.
    #[must_use]
    pub fn balance_after(&self) -> CardAmount {
        self.balance_before.checked_sub(self.amount).unwrap_or(CardAmount::ZERO)
    }

    /// What suite 10's MAC2 covers.
    #[must_use]
    pub fn proof(&self) -> BalanceProof {
        BalanceProof { balance_new: self.balance_after(), file15: self.file15 }
    }

    /// Reference to the card's key, for the SAM.
    #[must_use]
    pub fn key(&self) -> CardKeyReference {
        CardKeyReference {
            key_version: self.key_version,
            algorithm: self.algorithm,
            factors: self.factors.clone(),
        }
    }

    /// What MAC1 covers.
    #[must_use]
    pub const fn terms(&self) -> PurchaseTerms {
        PurchaseTerms {
            amount: self.amount,
            kind: self.kind,
            terminal: self.terminal,
            term_seq: self.term_seq,
            moment: self.moment,
            digest: self.digest,
        }
    }

    /// What the TAC covers.
    #[must_use]
    pub fn tac_terms(&self) -> TacTerms {
        TacTerms::purchase(self.card.asn, self.counter, self.balance_after(), &self.terms())
    }
}

/// What became of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The card was debited, and the SAM found its MAC2 right.
    Done {
        /// The card's proof for the issuer.
        tac: Tac,
    },
    /// The card showed proof of the debit that this SAM cannot check.
    RecoveredUnverified {
        /// The card's proof for the issuer.
        tac: Tac,
    },
    /// The card was not debited.
    Void,
    /// It cannot be known here; the backend decides.
    Uncertain {
        /// The card's proof for the issuer, if one came.
        tac: Option<Tac>,
        /// Why.
        why: Uncertainty,
    },
}

/// Why a resolution is uncertain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncertainty {
    /// MAC2 came with the debit and is wrong.
    Mac2Wrong,
    /// The debit answered well, and the SAM was lost before it checked MAC2.
    SamLost,
    /// The counter moved on, and the card has no proof of the transaction.
    NoProof,
    /// The card's counter went back.
    RolledBack,
}

impl Uncertainty {
    const fn byte(self) -> u8 {
        match self {
            Self::Mac2Wrong => 1,
            Self::SamLost => 2,
            Self::NoProof => 3,
            Self::RolledBack => 4,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Mac2Wrong),
            2 => Some(Self::SamLost),
            3 => Some(Self::NoProof),
            4 => Some(Self::RolledBack),
            _ => None,
        }
    }
}

pub(super) fn put_intent(writer: &mut Writer<'_>, intent: &DebitIntent) -> Result<(), RecordError> {
    writer.put(&intent.card.issuer.0)?;
    writer.put(&intent.card.asn.0)?;
    writer.put(&intent.currency.numeric().to_be_bytes())?;
    writer.put(&[intent.algorithm.byte(), intent.key_version.0])?;
    writer.put(intent.random.as_bytes())?;
    writer.put(&intent.counter.0.to_be_bytes())?;
    writer.put(&intent.balance_before.to_bytes())?;
    writer.put(&intent.overdraft.to_bytes())?;
    writer.put(&intent.amount.to_bytes())?;
    writer.u8(intent.kind.byte())?;
    writer.put(&intent.terminal.0)?;
    writer.put(&intent.term_seq.0.to_be_bytes())?;
    writer.put(&intent.moment.to_bytes())?;
    writer.put(&intent.digest.0)?;
    writer.put(&intent.file15.0)?;
    writer.u8(u8::try_from(intent.factors.len()).unwrap_or(u8::MAX))?;
    Ok(intent.factors.iter().try_for_each(|factor| writer.put(&factor.0))?)
}

pub(super) fn take_intent(reader: &mut Reader<'_>) -> Result<DebitIntent, RecordError> {
    let card = CardId { issuer: IssuerId(reader.array()?), asn: Asn(reader.array()?) };
    let currency = Currency::from_numeric(reader.u16()?).ok_or(RecordError::NotAnEntry)?;
    let algorithm = Algorithm::from_byte(reader.u8()?)?;
    let key_version = KeyVersion(reader.u8()?);
    let random = CardRandom::from_bytes(algorithm.suite(), reader.take(algorithm.suite().mac_len())?)?;
    Ok(DebitIntent {
        card,
        currency,
        algorithm,
        key_version,
        random,
        counter: OfflineCounter(reader.u16()?),
        balance_before: CardAmount::from_bytes(reader.array()?),
        overdraft: Overdraft::from_bytes(reader.array()?),
        amount: CardAmount::from_bytes(reader.array()?),
        kind: TransactionType::from_byte(reader.u8()?)?,
        terminal: SamTerminal(reader.array()?),
        term_seq: TermSeq(reader.u32()?),
        moment: Moment::from_bytes(reader.array()?),
        digest: CappDigest(reader.array()?),
        file15: File15Digest(reader.array()?),
        factors: take_factors(reader)?,
    })
}

fn take_factors(reader: &mut Reader<'_>) -> Result<Factors, RecordError> {
    let count = reader.u8()?;
    let mut factors = Factors::new();
    for _ in 0..count {
        let factor = Factor(reader.array()?);
        factors.push(factor).map_err(|_| PurseError::FactorCount(usize::from(count)))?;
    }
    Ok(factors)
}

/// A TAC as length and bytes; length 0 says there is none.
pub(super) fn put_tac(writer: &mut Writer<'_>, tac: Option<&Tac>) -> Result<(), RecordError> {
    let bytes = tac.map(Tac::as_bytes).unwrap_or_default();
    writer.u8(u8::try_from(bytes.len()).unwrap_or(0))?;
    Ok(writer.put(bytes)?)
}

pub(super) fn take_tac(reader: &mut Reader<'_>) -> Result<Option<Tac>, RecordError> {
    Ok(match reader.u8()? {
        0 => None,
        4 => Some(Tac::from_bytes(Suite::Des, reader.take(4)?)?),
        8 => Some(Tac::from_bytes(Suite::Aes, reader.take(8)?)?),
        _ => return Err(RecordError::NotAnEntry),
    })
}

pub(super) fn put_resolution(writer: &mut Writer<'_>, resolution: &Resolution) -> Result<(), RecordError> {
    let (state, why, tac) = match resolution {
        Resolution::Done { tac } => (1, 0, Some(tac)),
        Resolution::Uncertain { tac, why } => (2, why.byte(), tac.as_ref()),
        Resolution::RecoveredUnverified { tac } => (3, 0, Some(tac)),
        Resolution::Void => (0, 0, None),
    };
    writer.put(&[state, why])?;
    put_tac(writer, tac)
}

pub(super) fn take_resolution(reader: &mut Reader<'_>) -> Result<Resolution, RecordError> {
    let [state, why] = reader.array()?;
    let tac = take_tac(reader)?;
    match (state, tac, Uncertainty::from_byte(why)) {
        (0, None, None) => Ok(Resolution::Void),
        (1, Some(tac), None) => Ok(Resolution::Done { tac }),
        (2, tac, Some(why)) => Ok(Resolution::Uncertain { tac, why }),
        (3, Some(tac), None) => Ok(Resolution::RecoveredUnverified { tac }),
        _ => Err(RecordError::NotAnEntry),
    }
}
