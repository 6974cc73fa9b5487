//! The answers of the purse's commands, without the status word (`purse.md` sections 1 and 3).

use super::{Algorithm, CardRandom, Overdraft, PurseError, PurseMac, Suite, Tac};
use crate::bytes::{Reader, Writer};
use crate::ids::{KeyVersion, OfflineCounter, OnlineCounter};
use crate::money::CardAmount;

/// Longest answer data of this module.
pub const ANSWER_BYTES_MAX: usize = 24;

/// Answer of INITIALIZE FOR PURCHASE and FOR CAPP PURCHASE: 15 bytes in suite 00, 19 in suite 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitForPurchaseAnswer {
    /// Balance before.
    pub balance: CardAmount,
    /// Offline counter, not yet incremented.
    pub counter: OfflineCounter,
    /// Overdraft limit.
    pub overdraft: Overdraft,
    /// Version of the purchase key.
    pub key_version: KeyVersion,
    /// Algorithm of the purchase key.
    pub algorithm: Algorithm,
    /// Random of this transaction.
    pub random: CardRandom,
}

impl InitForPurchaseAnswer {
    /// Reads the answer; its suite is that of the algorithm byte, and the length must fit it.
    ///
    /// # Errors
    /// An unknown algorithm or another length.
    pub fn parse(data: &[u8]) -> Result<Self, PurseError> {
        let mut reader = Reader::new(data);
        let balance = CardAmount::from_bytes(reader.array()?);
        let counter = OfflineCounter(reader.u16()?);
        let overdraft = Overdraft::from_bytes(reader.array()?);
        let key_version = KeyVersion(reader.u8()?);
        let algorithm = Algorithm::from_byte(reader.u8()?)?;
        let random = CardRandom::from_bytes(algorithm.suite(), reader.rest())?;
        Ok(Self { balance, counter, overdraft, key_version, algorithm, random })
    }

    /// Writes the answer and returns its length.
    ///
    /// # Errors
    /// A buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, PurseError> {
        let mut writer = Writer::new(out);
        writer.put(&self.balance.to_bytes())?;
        writer.put(&self.counter.0.to_be_bytes())?;
        writer.put(&self.overdraft.to_bytes())?;
        writer.put(&[self.key_version.0, self.algorithm.byte()])?;
        writer.put(self.random.as_bytes())?;
        Ok(writer.len())
    }
}

/// Answer of INITIALIZE FOR LOAD and FOR UNLOAD: 16 bytes in suite 00, 24 in suite 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitForLoadAnswer {
    /// Balance before.
    pub balance: CardAmount,
    /// Online counter, not yet incremented.
    pub counter: OnlineCounter,
    /// Version of the load or unload key.
    pub key_version: KeyVersion,
    /// Algorithm of the load or unload key.
    pub algorithm: Algorithm,
    /// Random of this transaction.
    pub random: CardRandom,
    /// The card's proof towards the issuer.
    pub mac1: PurseMac,
}

impl InitForLoadAnswer {
    /// Reads the answer; its suite is that of the algorithm byte, and the length must fit it.
    ///
    /// # Errors
    /// An unknown algorithm or another length.
    pub fn parse(data: &[u8]) -> Result<Self, PurseError> {
        let mut reader = Reader::new(data);
        let balance = CardAmount::from_bytes(reader.array()?);
        let counter = OnlineCounter(reader.u16()?);
        let key_version = KeyVersion(reader.u8()?);
        let algorithm = Algorithm::from_byte(reader.u8()?)?;
        let suite = algorithm.suite();
        let random = CardRandom::from_bytes(suite, reader.take(suite.mac_len())?)?;
        let mac1 = PurseMac::from_bytes(suite, reader.rest())?;
        Ok(Self { balance, counter, key_version, algorithm, random, mac1 })
    }

    /// Writes the answer and returns its length.
    ///
    /// # Errors
    /// A buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, PurseError> {
        let mut writer = Writer::new(out);
        writer.put(&self.balance.to_bytes())?;
        writer.put(&self.counter.0.to_be_bytes())?;
        writer.put(&[self.key_version.0, self.algorithm.byte()])?;
        writer.put(self.random.as_bytes())?;
        writer.put(self.mac1.as_bytes())?;
        Ok(writer.len())
    }
}

/// Answer of DEBIT FOR PURCHASE / CAPP: TAC ‖ MAC2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebitAnswer {
    /// The card's proof for the issuer.
    pub tac: Tac,
    /// The card's proof for the SAM.
    pub mac2: PurseMac,
}

impl DebitAnswer {
    /// Reads the answer of a card of this suite.
    ///
    /// # Errors
    /// Another length.
    pub fn parse(suite: Suite, data: &[u8]) -> Result<Self, PurseError> {
        let mut reader = Reader::new(data);
        let tac = Tac::from_bytes(suite, reader.take(suite.mac_len())?)?;
        Ok(Self { tac, mac2: PurseMac::from_bytes(suite, reader.rest())? })
    }

    /// Writes the answer and returns its length.
    ///
    /// # Errors
    /// A buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, PurseError> {
        let mut writer = Writer::new(out);
        writer.put(self.tac.as_bytes())?;
        writer.put(self.mac2.as_bytes())?;
        Ok(writer.len())
    }
}

/// Answer of GET TRANSACTION PROVE: MAC ‖ TAC (MAC2 of a purchase; MAC3 of an unload with TAC zeros; zeros and the TAC of a
/// load).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProveAnswer {
    /// MAC2 of a purchase, MAC3 of an unload, zeros of a load.
    pub mac: PurseMac,
    /// TAC, zeros of an unload.
    pub tac: Tac,
}

impl ProveAnswer {
    /// Reads the answer of a card of this suite.
    ///
    /// # Errors
    /// Another length.
    pub fn parse(suite: Suite, data: &[u8]) -> Result<Self, PurseError> {
        let mut reader = Reader::new(data);
        let mac = PurseMac::from_bytes(suite, reader.take(suite.mac_len())?)?;
        Ok(Self { mac, tac: Tac::from_bytes(suite, reader.rest())? })
    }

    /// Writes the answer and returns its length.
    ///
    /// # Errors
    /// A buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, PurseError> {
        let mut writer = Writer::new(out);
        writer.put(self.mac.as_bytes())?;
        writer.put(self.tac.as_bytes())?;
        Ok(writer.len())
    }
}

/// Reads the answer of GET BALANCE.
///
/// # Errors
/// Another length than 4.
pub fn parse_balance(data: &[u8]) -> Result<CardAmount, PurseError> {
    let mut reader = Reader::new(data);
    let balance = CardAmount::from_bytes(reader.array()?);
    reader.finish()?;
    Ok(balance)
}
