//! The SAM (PSAM) in the reader's second slot: `purse.md` section 4.
//!
//! The SAM holds the issuers' purchase masters and the terminal's sequence number. It makes MAC1, checks MAC2 and, with
//! VERIFY_PROVED_PURCHASE, checks the proof of an interrupted debit. A wrong MAC2 never locks it.

use crate::apdu::{Command, Ne};
use crate::bytes::{Reader, Writer};
use crate::ids::{Factor, KeyVersion, OfflineCounter, SamSerial, SamTerminal, TermSeq};
use crate::money::CardAmount;
use crate::purse::command::{CLA_ISO, CLA_PURSE, ins};
use crate::purse::keys::FACTORS_MAX;
use crate::purse::mac::PurchaseTerms;
use crate::purse::{
    Algorithm, CappDigest, CardRandom, File15Digest, Moment, PurseError, PurseMac, Suite, TransactionType,
};

/// AID of the SAM application, suite 10 (proprietary range).
pub const AID_SAM_SUITE_10: [u8; 9] = [0xF0, 0x54, 0x41, 0x50, 0x4C, 0x49, 0x4E, 0x45, 0x02];
/// File identifier of the SAM application, suite 00.
pub const FID_SAM_SUITE_00: u16 = 0xDF01;

/// Short file identifier of the SAM's terminal number, at the MF.
pub const SFI_TERMINAL_NUMBER: u8 = 0x16;
/// Short file identifier of the SAM's information file, at the MF.
pub const SFI_SAM_INFO: u8 = 0x15;

/// The diversification factors of a card, in wire order (the card's serial first).
pub type Factors = heapless::Vec<Factor, FACTORS_MAX>;

/// READ of the terminal number: answers 6 bytes, [`SamTerminal`].
///
/// # Errors
/// A buffer that is too small.
pub fn read_terminal_number(out: &mut [u8]) -> Result<usize, PurseError> {
    crate::purse::command::read_binary(SFI_TERMINAL_NUMBER, 0, Ne::from_short(6), out)
}

/// READ of the SAM's information: answers 14 bytes, [`SamInfo`].
///
/// # Errors
/// A buffer that is too small.
pub fn read_info(out: &mut [u8]) -> Result<usize, PurseError> {
    crate::purse::command::read_binary(SFI_SAM_INFO, 0, Ne::from_short(14), out)
}

/// SELECT of the MF, where the terminal number stands.
///
/// # Errors
/// A buffer that is too small.
pub fn select_master_file(out: &mut [u8]) -> Result<usize, PurseError> {
    Ok(Command::new(CLA_ISO, ins::SELECT, 0, 0).with_data(&[0x3F, 0x00]).expecting(Ne::ALL).encode(out)?)
}

/// The SAM's information file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamInfo {
    /// Serial number.
    pub serial: SamSerial,
    /// Version.
    pub version: u8,
    /// Kind of key card.
    pub kind: u8,
    /// The issuer's own data.
    pub fci: [u8; 2],
}

impl SamInfo {
    /// Bytes of the file.
    pub const BYTES: usize = 14;

    /// Reads the file.
    ///
    /// # Errors
    /// Another length than 14.
    pub fn parse(data: &[u8]) -> Result<Self, PurseError> {
        let mut reader = Reader::new(data);
        let info = Self {
            serial: SamSerial(reader.array()?),
            version: reader.u8()?,
            kind: reader.u8()?,
            fci: reader.array()?,
        };
        reader.finish()?;
        Ok(info)
    }

    /// The bytes of the file.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; Self::BYTES] {
        let [a, b, c, d, e, f, g, h, i, j] = self.serial.0;
        let [x, y] = self.fci;
        [a, b, c, d, e, f, g, h, i, j, self.version, self.kind, x, y]
    }
}

/// What the SAM needs to find the card's key: version, algorithm and the factors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardKeyReference {
    /// Version of the purchase key, as INIT answered it.
    pub key_version: KeyVersion,
    /// Algorithm, as INIT answered it.
    pub algorithm: Algorithm,
    /// Diversification factors, card serial first.
    pub factors: Factors,
}

/// INIT_SAM_FOR_PURCHASE: asks for the next sequence number and MAC1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitSam {
    /// The card's random.
    pub random: CardRandom,
    /// The card's offline counter.
    pub counter: OfflineCounter,
    /// Amount to take.
    pub amount: CardAmount,
    /// Purchase or CAPP purchase.
    pub kind: TransactionType,
    /// Local date and time.
    pub moment: Moment,
    /// Digest of the CAPP cache; on the wire in suite 10 only.
    pub digest: CappDigest,
    /// The card's key.
    pub key: CardKeyReference,
}

/// Longest data field of a SAM command: VERIFY_PROVED_PURCHASE with 3 factors, suite 10.
pub const SAM_DATA_BYTES_MAX: usize = 68;

fn check_suites(random: &CardRandom, key: &CardKeyReference) -> Result<Suite, PurseError> {
    let suite = key.algorithm.suite();
    if random.suite() == suite {
        Ok(suite)
    } else {
        Err(PurseError::WrongSuite { expected: suite, found: random.suite() })
    }
}

fn put_factors(writer: &mut Writer<'_>, factors: &Factors) -> Result<(), PurseError> {
    if factors.is_empty() {
        return Err(PurseError::FactorCount(0));
    }
    Ok(factors.iter().try_for_each(|factor| writer.put(&factor.0))?)
}

fn take_factors(mut reader: Reader<'_>) -> Result<Factors, PurseError> {
    let mut factors = Factors::new();
    while !reader.is_empty() {
        let factor = Factor(reader.array()?);
        factors.push(factor).map_err(|_| PurseError::FactorCount(FACTORS_MAX.saturating_add(1)))?;
    }
    if factors.is_empty() { Err(PurseError::FactorCount(0)) } else { Ok(factors) }
}

impl InitSam {
    /// Writes the APDU and returns its length.
    ///
    /// # Errors
    /// A random of another suite, no factors, or a buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, PurseError> {
        let suite = check_suites(&self.random, &self.key)?;
        let mut data = [0; SAM_DATA_BYTES_MAX];
        let mut writer = Writer::new(&mut data);
        writer.put(self.random.as_bytes())?;
        writer.put(&self.counter.0.to_be_bytes())?;
        writer.put(&self.amount.to_bytes())?;
        writer.u8(self.kind.byte())?;
        writer.put(&self.moment.to_bytes())?;
        writer.put(&[self.key.key_version.0, self.key.algorithm.byte()])?;
        if suite == Suite::Aes {
            writer.put(&self.digest.0)?;
        }
        put_factors(&mut writer, &self.key.factors)?;
        let ne = if suite == Suite::Aes { Ne::ALL } else { Ne::from_short(8) };
        let command = Command::new(CLA_PURSE, ins::SAM_INIT, 0, 0).with_data(writer.written());
        Ok(command.expecting(ne).encode(out)?)
    }

    /// Reads the command; `suite` is that of the SAM application.
    ///
    /// # Errors
    /// Another command, length or suite.
    pub fn parse(suite: Suite, command: &Command<'_>) -> Result<Self, PurseError> {
        if command.header() != [CLA_PURSE, ins::SAM_INIT, 0, 0] {
            return Err(PurseError::NotThisCommand);
        }
        let mut reader = Reader::new(command.data);
        let random = CardRandom::from_bytes(suite, reader.take(suite.mac_len())?)?;
        let counter = OfflineCounter(reader.u16()?);
        let amount = CardAmount::from_bytes(reader.array()?);
        let kind = TransactionType::from_byte(reader.u8()?)?;
        let moment = Moment::from_bytes(reader.array()?);
        let key_version = KeyVersion(reader.u8()?);
        let algorithm = Algorithm::from_byte(reader.u8()?)?;
        let digest = if suite == Suite::Aes { CappDigest(reader.array()?) } else { CappDigest::default() };
        let key = CardKeyReference { key_version, algorithm, factors: take_factors(reader)? };
        check_suites(&random, &key)?;
        Ok(Self { random, counter, amount, kind, moment, digest, key })
    }

    /// The terms that MAC1 covers, once the SAM has given its numbers.
    #[must_use]
    pub const fn terms(&self, terminal: SamTerminal, term_seq: TermSeq) -> PurchaseTerms {
        PurchaseTerms {
            amount: self.amount,
            kind: self.kind,
            terminal,
            term_seq,
            moment: self.moment,
            digest: self.digest,
        }
    }
}

/// Answer of INIT_SAM_FOR_PURCHASE: term_seq4 ‖ MAC1, 8 or 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitSamAnswer {
    /// The sequence number of this transaction.
    pub term_seq: TermSeq,
    /// The SAM's consent.
    pub mac1: PurseMac,
}

impl InitSamAnswer {
    /// Reads the answer.
    ///
    /// # Errors
    /// Another length.
    pub fn parse(suite: Suite, data: &[u8]) -> Result<Self, PurseError> {
        let mut reader = Reader::new(data);
        let term_seq = TermSeq(reader.u32()?);
        Ok(Self { term_seq, mac1: PurseMac::from_bytes(suite, reader.rest())? })
    }

    /// Writes the answer and returns its length.
    ///
    /// # Errors
    /// A buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, PurseError> {
        let mut writer = Writer::new(out);
        writer.put(&self.term_seq.0.to_be_bytes())?;
        writer.put(self.mac1.as_bytes())?;
        Ok(writer.len())
    }
}

/// What suite 10's MAC2 covers beside amount and counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalanceProof {
    /// Balance after the debit: INIT's balance less the amount, computed by the terminal.
    pub balance_new: CardAmount,
    /// Digest of file 15.
    pub file15: File15Digest,
}

/// CREDIT_SAM_FOR_PURCHASE: checks the card's MAC2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditSam {
    /// On the wire in suite 10 only.
    pub proof: BalanceProof,
    /// The card's MAC2.
    pub mac2: PurseMac,
}

impl CreditSam {
    /// Writes the APDU and returns its length.
    ///
    /// # Errors
    /// A buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, PurseError> {
        let mut data = [0; SAM_DATA_BYTES_MAX];
        let mut writer = Writer::new(&mut data);
        put_proof(&mut writer, self.mac2.suite(), &self.proof)?;
        writer.put(self.mac2.as_bytes())?;
        Ok(Command::new(CLA_PURSE, ins::SAM_CREDIT, 0, 0).with_data(writer.written()).encode(out)?)
    }

    /// Reads the command; `suite` is that of the SAM application.
    ///
    /// # Errors
    /// Another command or length.
    pub fn parse(suite: Suite, command: &Command<'_>) -> Result<Self, PurseError> {
        if command.header() != [CLA_PURSE, ins::SAM_CREDIT, 0, 0] {
            return Err(PurseError::NotThisCommand);
        }
        let mut reader = Reader::new(command.data);
        let proof = take_proof(&mut reader, suite)?;
        Ok(Self { proof, mac2: PurseMac::from_bytes(suite, reader.rest())? })
    }
}

fn put_proof(writer: &mut Writer<'_>, suite: Suite, proof: &BalanceProof) -> Result<(), PurseError> {
    if suite == Suite::Aes {
        writer.put(&proof.balance_new.to_bytes())?;
        writer.put(&proof.file15.0)?;
    }
    Ok(())
}

fn take_proof(reader: &mut Reader<'_>, suite: Suite) -> Result<BalanceProof, PurseError> {
    Ok(match suite {
        Suite::Aes => BalanceProof {
            balance_new: CardAmount::from_bytes(reader.array()?),
            file15: File15Digest(reader.array()?),
        },
        Suite::Des => BalanceProof { balance_new: CardAmount::ZERO, file15: File15Digest::default() },
    })
}

/// VERIFY_PROVED_PURCHASE: checks a MAC2 that GET TRANSACTION PROVE gave, with the journalled values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyProved {
    /// The random of the interrupted transaction.
    pub random: CardRandom,
    /// Its offline counter (INIT's value).
    pub counter: OfflineCounter,
    /// Its amount.
    pub amount: CardAmount,
    /// Its type.
    pub kind: TransactionType,
    /// Its sequence number; not above the SAM's last.
    pub term_seq: TermSeq,
    /// On the wire in suite 10 only.
    pub proof: BalanceProof,
    /// The MAC2 to check.
    pub mac2: PurseMac,
    /// The card's key.
    pub key: CardKeyReference,
}

impl VerifyProved {
    /// Writes the APDU and returns its length.
    ///
    /// # Errors
    /// A random of another suite, no factors, or a buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, PurseError> {
        let suite = check_suites(&self.random, &self.key)?;
        let mut data = [0; SAM_DATA_BYTES_MAX];
        let mut writer = Writer::new(&mut data);
        writer.put(self.random.as_bytes())?;
        writer.put(&self.counter.0.to_be_bytes())?;
        writer.put(&self.amount.to_bytes())?;
        writer.u8(self.kind.byte())?;
        writer.put(&self.term_seq.0.to_be_bytes())?;
        writer.put(&[self.key.key_version.0, self.key.algorithm.byte()])?;
        put_proof(&mut writer, suite, &self.proof)?;
        writer.put(self.mac2.as_bytes())?;
        put_factors(&mut writer, &self.key.factors)?;
        Ok(Command::new(CLA_PURSE, ins::SAM_VERIFY_PROVED, 0, 0).with_data(writer.written()).encode(out)?)
    }

    /// Reads the command; `suite` is that of the SAM application.
    ///
    /// # Errors
    /// Another command, length or suite.
    pub fn parse(suite: Suite, command: &Command<'_>) -> Result<Self, PurseError> {
        if command.header() != [CLA_PURSE, ins::SAM_VERIFY_PROVED, 0, 0] {
            return Err(PurseError::NotThisCommand);
        }
        let mut reader = Reader::new(command.data);
        let random = CardRandom::from_bytes(suite, reader.take(suite.mac_len())?)?;
        let counter = OfflineCounter(reader.u16()?);
        let amount = CardAmount::from_bytes(reader.array()?);
        let kind = TransactionType::from_byte(reader.u8()?)?;
        let term_seq = TermSeq(reader.u32()?);
        let key_version = KeyVersion(reader.u8()?);
        let algorithm = Algorithm::from_byte(reader.u8()?)?;
        let proof = take_proof(&mut reader, suite)?;
        let mac2 = PurseMac::from_bytes(suite, reader.take(suite.mac_len())?)?;
        let key = CardKeyReference { key_version, algorithm, factors: take_factors(reader)? };
        check_suites(&random, &key)?;
        Ok(Self { random, counter, amount, kind, term_seq, proof, mac2, key })
    }
}
