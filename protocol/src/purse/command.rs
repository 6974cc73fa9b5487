//! The commands of the purse (`purse.md` section 1): what a terminal writes and an applet reads.
//!
//! Every command type has `encode` (for the terminal) and, where an applet has something to take apart, `parse`. Parsing
//! checks header and length only; whether the card's state allows the command is the applet's to say.

use super::{Moment, PurseError, PurseMac, Suite, TransactionType};
use crate::apdu::{Command, Ne};
use crate::bytes::{Reader, Writer};
use crate::ids::{KeyIndex, SamTerminal, TermSeq};
use crate::money::CardAmount;

/// Class byte of ISO 7816-4 commands.
pub const CLA_ISO: u8 = 0x00;
/// Class byte of ISO 7816-4 commands under secure messaging (suite 00).
pub const CLA_ISO_SM: u8 = 0x04;
/// Class byte of the purse's own commands.
pub const CLA_PURSE: u8 = 0x80;
/// Class byte of the purse's own commands under secure messaging (suite 00).
pub const CLA_PURSE_SM: u8 = 0x84;

/// Instruction bytes.
pub mod ins {
    /// APPLICATION UNBLOCK.
    pub const APPLICATION_UNBLOCK: u8 = 0x18;
    /// APPLICATION BLOCK.
    pub const APPLICATION_BLOCK: u8 = 0x1E;
    /// VERIFY PIN.
    pub const VERIFY: u8 = 0x20;
    /// PIN UNBLOCK.
    pub const PIN_UNBLOCK: u8 = 0x24;
    /// INITIALIZE FOR LOAD, PURCHASE, CAPP PURCHASE, UNLOAD.
    pub const INITIALIZE: u8 = 0x50;
    /// CREDIT FOR LOAD.
    pub const CREDIT: u8 = 0x52;
    /// DEBIT FOR PURCHASE, CAPP, UNLOAD.
    pub const DEBIT: u8 = 0x54;
    /// GET TRANSACTION PROVE.
    pub const PROVE: u8 = 0x5A;
    /// GET BALANCE.
    pub const GET_BALANCE: u8 = 0x5C;
    /// CHANGE PIN, RELOAD PIN.
    pub const CHANGE_PIN: u8 = 0x5E;
    /// SAM: INIT_SAM_FOR_PURCHASE.
    pub const SAM_INIT: u8 = 0x70;
    /// SAM: CREDIT_SAM_FOR_PURCHASE.
    pub const SAM_CREDIT: u8 = 0x72;
    /// SAM: VERIFY_PROVED_PURCHASE.
    pub const SAM_VERIFY_PROVED: u8 = 0x76;
    /// EXTERNAL AUTHENTICATE.
    pub const EXTERNAL_AUTHENTICATE: u8 = 0x82;
    /// GET CHALLENGE.
    pub const GET_CHALLENGE: u8 = 0x84;
    /// INTERNAL AUTHENTICATE.
    pub const INTERNAL_AUTHENTICATE: u8 = 0x88;
    /// SELECT.
    pub const SELECT: u8 = 0xA4;
    /// READ BINARY.
    pub const READ_BINARY: u8 = 0xB0;
    /// READ RECORD.
    pub const READ_RECORD: u8 = 0xB2;
    /// GET RESPONSE.
    pub const GET_RESPONSE: u8 = 0xC0;
    /// GET DATA.
    pub const GET_DATA: u8 = 0xCA;
    /// UPDATE BINARY.
    pub const UPDATE_BINARY: u8 = 0xD6;
    /// UPDATE RECORD; with class 80, UPDATE CAPP DATA CACHE.
    pub const UPDATE_RECORD: u8 = 0xDC;
    /// APPEND RECORD.
    pub const APPEND_RECORD: u8 = 0xE2;
}

/// Le of a fixed answer length in suite 00; suite 10 asks for all there is.
fn ne(suite: Suite, des_length: u8) -> Ne {
    match suite {
        Suite::Des => Ne::from_short(des_length),
        Suite::Aes => Ne::ALL,
    }
}

/// SELECT by AID or by file identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select<'a> {
    /// By application identifier or DF name.
    Aid(&'a [u8]),
    /// By file identifier.
    Fid(u16),
}

impl<'a> Select<'a> {
    /// Writes the APDU and returns its length.
    ///
    /// # Errors
    /// A buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, PurseError> {
        let fid;
        let (p1, data) = match self {
            Self::Aid(aid) => (0x04, *aid),
            Self::Fid(number) => {
                fid = number.to_be_bytes();
                (0x00, fid.as_slice())
            }
        };
        let command = Command::new(CLA_ISO, ins::SELECT, p1, 0x00).with_data(data).expecting(Ne::ALL);
        Ok(command.encode(out)?)
    }

    /// Reads the command.
    ///
    /// # Errors
    /// Another command, or a file identifier of another length than 2.
    pub fn parse(command: &Command<'a>) -> Result<Self, PurseError> {
        match (command.header(), command.data) {
            ([CLA_ISO, ins::SELECT, 0x04, 0x00], aid) => Ok(Self::Aid(aid)),
            ([CLA_ISO, ins::SELECT, 0x00, 0x00], [high, low]) => {
                Ok(Self::Fid(u16::from_be_bytes([*high, *low])))
            }
            ([CLA_ISO, ins::SELECT, 0x00, 0x00], data) => {
                Err(PurseError::WrongLength { what: "file identifier", expected: 2, found: data.len() })
            }
            _ => Err(PurseError::NotThisCommand),
        }
    }
}

/// GET BALANCE.
///
/// # Errors
/// A buffer that is too small.
pub fn get_balance(out: &mut [u8]) -> Result<usize, PurseError> {
    Ok(Command::new(CLA_PURSE, ins::GET_BALANCE, 0x00, 0x02).expecting(Ne::from_short(4)).encode(out)?)
}

/// READ BINARY of a transparent file by its short identifier.
///
/// # Errors
/// A buffer that is too small.
pub fn read_binary(sfi: u8, offset: u8, ne: Ne, out: &mut [u8]) -> Result<usize, PurseError> {
    Ok(Command::new(CLA_ISO, ins::READ_BINARY, 0x80 | sfi, offset).expecting(ne).encode(out)?)
}

/// READ RECORD; in a cyclic file record 1 is the newest.
///
/// # Errors
/// A buffer that is too small.
pub fn read_record(sfi: u8, record: u8, out: &mut [u8]) -> Result<usize, PurseError> {
    Ok(Command::new(CLA_ISO, ins::READ_RECORD, record, (sfi << 3) | 0x04).expecting(Ne::ALL).encode(out)?)
}

/// VERIFY PIN, in clear: at a trusted terminal, before a load. The APDU must be cleared after use.
///
/// # Errors
/// A buffer that is too small.
pub fn verify_pin(key_id: u8, pin: &[u8], out: &mut [u8]) -> Result<usize, PurseError> {
    Ok(Command::new(CLA_ISO, ins::VERIFY, 0x00, key_id).with_data(pin).encode(out)?)
}

/// INITIALIZE FOR LOAD, UNLOAD, PURCHASE or CAPP PURCHASE: opens the one-shot transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Initialize {
    /// Load, unload, purchase or CAPP purchase.
    pub kind: TransactionType,
    /// Index of the key to use.
    pub key_index: KeyIndex,
    /// Amount, minor units; zero is allowed in CAPP.
    pub amount: CardAmount,
    /// The terminal's number.
    pub terminal: SamTerminal,
}

impl Initialize {
    /// Bytes of the data field.
    pub const DATA_BYTES: usize = 11;

    /// Writes the APDU and returns its length.
    ///
    /// # Errors
    /// A kind that is none of the four, or a buffer that is too small.
    pub fn encode(&self, suite: Suite, out: &mut [u8]) -> Result<usize, PurseError> {
        let (p1, p2, des_length) = match (self.kind, suite) {
            (TransactionType::Load, _) => (0x00, 0x02, 0x10),
            (TransactionType::Purchase, _) => (0x01, 0x02, 0x0F),
            (TransactionType::CappPurchase, _) => (0x03, 0x02, 0x0F),
            (TransactionType::Unload, Suite::Des) => (0x05, 0x01, 0x10),
            (TransactionType::Unload, Suite::Aes) => (0x05, 0x02, 0x10),
            _ => return Err(PurseError::UnknownType(self.kind.byte())),
        };
        let mut data = [0; Self::DATA_BYTES];
        let mut writer = Writer::new(&mut data);
        writer.u8(self.key_index.0)?;
        writer.put(&self.amount.to_bytes())?;
        writer.put(&self.terminal.0)?;
        let command = Command::new(CLA_PURSE, ins::INITIALIZE, p1, p2);
        Ok(command.with_data(&data).expecting(ne(suite, des_length)).encode(out)?)
    }

    /// Reads the command. P2 = 00 is GlobalPlatform's INITIALIZE UPDATE and not this command; P2 of an unload may be 01
    /// (passbook, suite 00) or 02.
    ///
    /// # Errors
    /// Another command or another length.
    pub fn parse(command: &Command<'_>) -> Result<Self, PurseError> {
        let kind = match command.header() {
            [CLA_PURSE, ins::INITIALIZE, 0x00, 0x02] => TransactionType::Load,
            [CLA_PURSE, ins::INITIALIZE, 0x01, 0x02] => TransactionType::Purchase,
            [CLA_PURSE, ins::INITIALIZE, 0x03, 0x02] => TransactionType::CappPurchase,
            [CLA_PURSE, ins::INITIALIZE, 0x05, 0x01 | 0x02] => TransactionType::Unload,
            _ => return Err(PurseError::NotThisCommand),
        };
        let mut reader = Reader::new(command.data);
        let parsed = Self {
            kind,
            key_index: KeyIndex(reader.u8()?),
            amount: CardAmount::from_bytes(reader.array()?),
            terminal: SamTerminal(reader.array()?),
        };
        reader.finish()?;
        Ok(parsed)
    }
}

/// CREDIT FOR LOAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditForLoad {
    /// The host's date and time.
    pub moment: Moment,
    /// The issuer's consent.
    pub mac2: PurseMac,
}

impl CreditForLoad {
    /// Writes the APDU and returns its length.
    ///
    /// # Errors
    /// A buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, PurseError> {
        let suite = self.mac2.suite();
        let (data, n) = moment_and_mac(self.moment, &self.mac2)?;
        let command = Command::new(CLA_PURSE, ins::CREDIT, 0x00, 0x00);
        Ok(command.with_data(data.get(..n).unwrap_or_default()).expecting(ne(suite, 0x04)).encode(out)?)
    }

    /// Reads the command for a card of this suite.
    ///
    /// # Errors
    /// Another command or another length.
    pub fn parse(suite: Suite, command: &Command<'_>) -> Result<Self, PurseError> {
        if command.header() != [CLA_PURSE, ins::CREDIT, 0x00, 0x00] {
            return Err(PurseError::NotThisCommand);
        }
        let (moment, mac2) = parse_moment_and_mac(suite, command.data)?;
        Ok(Self { moment, mac2 })
    }
}

fn moment_and_mac(moment: Moment, mac: &PurseMac) -> Result<([u8; 15], usize), PurseError> {
    let mut data = [0; 15];
    let mut writer = Writer::new(&mut data);
    writer.put(&moment.to_bytes())?;
    writer.put(mac.as_bytes())?;
    let n = writer.len();
    Ok((data, n))
}

fn parse_moment_and_mac(suite: Suite, data: &[u8]) -> Result<(Moment, PurseMac), PurseError> {
    let mut reader = Reader::new(data);
    let moment = Moment::from_bytes(reader.array()?);
    Ok((moment, PurseMac::from_bytes(suite, reader.rest())?))
}

/// UPDATE CAPP DATA CACHE: caches one record inside a CAPP purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateCappCache<'a> {
    /// Record id (with P2 = SFI << 3) or record number.
    pub p1: u8,
    /// SFI << 3, plus 4 for a record number.
    pub p2: u8,
    /// The whole record.
    pub record: &'a [u8],
}

impl<'a> UpdateCappCache<'a> {
    /// Writes the APDU and returns its length.
    ///
    /// # Errors
    /// A record above 255 bytes, or a buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, PurseError> {
        if self.record.len() > 255 {
            return Err(PurseError::WrongLength { what: "record", expected: 255, found: self.record.len() });
        }
        Ok(Command::new(CLA_PURSE, ins::UPDATE_RECORD, self.p1, self.p2)
            .with_data(self.record)
            .encode(out)?)
    }

    /// Reads the command.
    ///
    /// # Errors
    /// Another command.
    pub fn parse(command: &Command<'a>) -> Result<Self, PurseError> {
        match command.header() {
            [CLA_PURSE, ins::UPDATE_RECORD, p1, p2] => Ok(Self { p1, p2, record: command.data }),
            _ => Err(PurseError::NotThisCommand),
        }
    }
}

/// DEBIT FOR PURCHASE or CAPP PURCHASE (same bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebitForPurchase {
    /// The SAM's sequence number.
    pub term_seq: TermSeq,
    /// Local date and time.
    pub moment: Moment,
    /// The SAM's consent.
    pub mac1: PurseMac,
}

impl DebitForPurchase {
    /// Writes the APDU and returns its length.
    ///
    /// # Errors
    /// A buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, PurseError> {
        let mut data = [0; 19];
        let mut writer = Writer::new(&mut data);
        writer.put(&self.term_seq.0.to_be_bytes())?;
        writer.put(&self.moment.to_bytes())?;
        writer.put(self.mac1.as_bytes())?;
        let command = Command::new(CLA_PURSE, ins::DEBIT, 0x01, 0x00).with_data(writer.written());
        Ok(command.expecting(ne(self.mac1.suite(), 0x08)).encode(out)?)
    }

    /// Reads the command for a card of this suite.
    ///
    /// # Errors
    /// Another command or another length.
    pub fn parse(suite: Suite, command: &Command<'_>) -> Result<Self, PurseError> {
        if command.header() != [CLA_PURSE, ins::DEBIT, 0x01, 0x00] {
            return Err(PurseError::NotThisCommand);
        }
        let mut reader = Reader::new(command.data);
        let term_seq = TermSeq(reader.u32()?);
        let (moment, mac1) = parse_moment_and_mac(suite, reader.rest())?;
        Ok(Self { term_seq, moment, mac1 })
    }
}

/// DEBIT FOR UNLOAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebitForUnload {
    /// The host's date and time.
    pub moment: Moment,
    /// The issuer's consent.
    pub mac2: PurseMac,
}

impl DebitForUnload {
    /// Writes the APDU and returns its length.
    ///
    /// # Errors
    /// A buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, PurseError> {
        let (data, n) = moment_and_mac(self.moment, &self.mac2)?;
        let command = Command::new(CLA_PURSE, ins::DEBIT, 0x03, 0x00);
        let suite = self.mac2.suite();
        Ok(command.with_data(data.get(..n).unwrap_or_default()).expecting(ne(suite, 0x04)).encode(out)?)
    }

    /// Reads the command for a card of this suite.
    ///
    /// # Errors
    /// Another command or another length.
    pub fn parse(suite: Suite, command: &Command<'_>) -> Result<Self, PurseError> {
        if command.header() != [CLA_PURSE, ins::DEBIT, 0x03, 0x00] {
            return Err(PurseError::NotThisCommand);
        }
        let (moment, mac2) = parse_moment_and_mac(suite, command.data)?;
        Ok(Self { moment, mac2 })
    }
}

/// GET TRANSACTION PROVE, or its evidence form (suite 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetProve {
    /// Ask for the signed evidence instead of MAC and TAC.
    pub evidence: bool,
    /// Type of the transaction.
    pub kind: TransactionType,
    /// The counter *after* the transaction: INIT's value + 1.
    pub counter_after: u16,
}

impl GetProve {
    /// Writes the APDU and returns its length.
    ///
    /// # Errors
    /// A buffer that is too small.
    pub fn encode(&self, suite: Suite, out: &mut [u8]) -> Result<usize, PurseError> {
        let data = self.counter_after.to_be_bytes();
        let command = Command::new(CLA_PURSE, ins::PROVE, u8::from(self.evidence), self.kind.byte());
        Ok(command.with_data(&data).expecting(ne(suite, 0x08)).encode(out)?)
    }

    /// Reads the command.
    ///
    /// # Errors
    /// Another command, an unknown type, or another length.
    pub fn parse(command: &Command<'_>) -> Result<Self, PurseError> {
        let [CLA_PURSE, ins::PROVE, p1 @ (0 | 1), kind] = command.header() else {
            return Err(PurseError::NotThisCommand);
        };
        let mut reader = Reader::new(command.data);
        let counter_after = reader.u16()?;
        reader.finish()?;
        Ok(Self { evidence: p1 == 1, kind: TransactionType::from_byte(kind)?, counter_after })
    }
}
