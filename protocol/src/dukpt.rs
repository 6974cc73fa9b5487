//! AES DUKPT (ANSI X9.24-3): a key of its own for every transaction, derived from one key and a counter.
//!
//! [`InitialKey`] is what the host derives from its base derivation key, and every transaction's keys from it.
//! [`Terminal`] is the device's side: it keeps only keys from which no past one can be computed. Refused: counters that no
//! device uses (more than 16 one bits), and a device whose counter is spent.

use crate::aes_key::{AesKey, AesLength};
use zeroize::Zeroize;

/// One bits that a transaction counter may have.
const MAX_ONE_BITS: u32 = 16;
const REGISTERS: usize = 32;

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DukptError {
    /// A counter of 0 or of more than 16 one bits.
    #[error("no device uses this transaction counter")]
    Counter,
    /// The device has used its last key.
    #[error("the device's keys are used up: load a new initial key")]
    Exhausted,
}

/// Initial key identifier of a device: base derivation key and device, 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InitialKeyId(pub [u8; 8]);

/// Key serial number: whose key, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ksn {
    /// Of the device.
    pub id: InitialKeyId,
    /// Of the transaction.
    pub counter: u32,
}

impl Ksn {
    /// From its 12 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 12]) -> Self {
        let [a, b, c, d, e, f, g, h, counter @ ..] = bytes;
        Self { id: InitialKeyId([a, b, c, d, e, f, g, h]), counter: u32::from_be_bytes(counter) }
    }

    /// Its 12 bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 12] {
        let [a, b, c, d, e, f, g, h] = self.id.0;
        let [i, j, k, l] = self.counter.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

/// What a derived key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyUse {
    /// PIN encryption.
    Pin,
    /// MAC, generation.
    MacGenerate,
    /// MAC, verification.
    MacVerify,
    /// MAC, both ways.
    Mac,
    /// Data encryption.
    DataEncrypt,
    /// Data decryption.
    DataDecrypt,
    /// Data, both ways.
    Data,
    /// Key encryption: the update key.
    KeyEncryption,
}

impl KeyUse {
    const fn number(self) -> [u8; 2] {
        match self {
            Self::KeyEncryption => [0x00, 0x02],
            Self::Pin => [0x10, 0x00],
            Self::MacGenerate => [0x20, 0x00],
            Self::MacVerify => [0x20, 0x01],
            Self::Mac => [0x20, 0x02],
            Self::DataEncrypt => [0x30, 0x00],
            Self::DataDecrypt => [0x30, 0x01],
            Self::Data => [0x30, 0x02],
        }
    }
}

const DERIVATION: [u8; 2] = [0x80, 0x00];
const INITIAL: [u8; 2] = [0x80, 0x01];

/// The type of a derived key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// Two-key triple DES, 16 bytes.
    Tdes2,
    /// Three-key triple DES, 24 bytes.
    Tdes3,
    /// AES.
    Aes(AesLength),
}

impl KeyType {
    const fn bits_and_number(self) -> (u16, u8) {
        match self {
            Self::Tdes2 => (128, 0),
            Self::Tdes3 => (192, 1),
            Self::Aes(length) => length.bits_and_number(),
        }
    }

    const fn length(self) -> AesLength {
        match self {
            Self::Tdes2 => AesLength::Aes128,
            Self::Tdes3 => AesLength::Aes192,
            Self::Aes(length) => length,
        }
    }
}

/// Enciphers the derivation data once or twice: the first bytes of that are the key. Triple DES keys are handed over as
/// AES keys of their length: what counts is their bytes.
fn derive(key: &AesKey, usage: [u8; 2], kind: KeyType, context: [u8; 8]) -> AesKey {
    let (bits, number) = kind.bits_and_number();
    let ([u0, u1], [b0, b1], [c0, c1, c2, c3, c4, c5, c6, c7]) = (usage, bits.to_be_bytes(), context);
    let block =
        |counter| key.encrypt([1, counter, u0, u1, 0, number, b0, b1, c0, c1, c2, c3, c4, c5, c6, c7]);
    let mut both = [0; 32];
    let (first, second) = both.split_at_mut(16);
    first.copy_from_slice(&block(1));
    if bits > 128 {
        second.copy_from_slice(&block(2));
    }
    let derived = AesKey::from_front(kind.length(), both);
    both.zeroize();
    derived
}

const fn context(id: InitialKeyId, counter: u32) -> [u8; 8] {
    let [.., a, b, c, d] = id.0;
    let [e, f, g, h] = counter.to_be_bytes();
    [a, b, c, d, e, f, g, h]
}

/// The initial key of a device, at the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialKey {
    key: AesKey,
    id: InitialKeyId,
}

impl InitialKey {
    /// Derives it from the base derivation key.
    #[must_use]
    pub fn derive(bdk: &AesKey, id: InitialKeyId) -> Self {
        Self { key: derive(bdk, INITIAL, KeyType::Aes(bdk.length()), id.0), id }
    }

    /// From the key itself.
    #[must_use]
    pub const fn new(key: AesKey, id: InitialKeyId) -> Self {
        Self { key, id }
    }

    /// The key, for its transport to the device.
    #[must_use]
    pub const fn key(&self) -> &AesKey {
        &self.key
    }

    /// The key from which the keys of one transaction are derived.
    ///
    /// # Errors
    /// A counter that no device uses.
    pub fn transaction(&self, counter: u32) -> Result<TransactionKey, DukptError> {
        if counter == 0 || counter.count_ones() > MAX_ONE_BITS {
            return Err(DukptError::Counter);
        }
        Ok(self.at(counter))
    }

    /// The key under which the device gets its next initial key.
    #[must_use]
    pub fn update_key(&self, kind: KeyType) -> AesKey {
        self.at(u32::MAX).key(KeyUse::KeyEncryption, kind)
    }

    /// One step for every one bit of the counter, from the highest.
    fn at(&self, counter: u32) -> TransactionKey {
        let mut key = self.key.clone();
        let mut reached = 0;
        for bit in (0..32).rev().map(|place| 1u32 << place).filter(|bit| counter & bit != 0) {
            reached |= bit;
            key = derive(&key, DERIVATION, KeyType::Aes(key.length()), context(self.id, reached));
        }
        TransactionKey { key, ksn: Ksn { id: self.id, counter } }
    }
}

/// The key of one transaction, from which its working keys are derived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionKey {
    key: AesKey,
    ksn: Ksn,
}

impl TransactionKey {
    /// A working key.
    #[must_use]
    pub fn key(&self, usage: KeyUse, kind: KeyType) -> AesKey {
        derive(&self.key, usage.number(), kind, context(self.ksn.id, self.ksn.counter))
    }

    /// Which transaction's.
    #[must_use]
    pub const fn ksn(&self) -> Ksn {
        self.ksn
    }

    /// The derivation key itself, to check it against published values.
    #[must_use]
    pub const fn derivation_key(&self) -> &AesKey {
        &self.key
    }
}

/// The device's side: up to 32 keys for the transactions to come, and nothing of those that were.
#[derive(Clone, Debug)]
pub struct Terminal {
    id: InitialKeyId,
    counter: u32,
    registers: [Option<AesKey>; REGISTERS],
}

impl Terminal {
    /// Starts a device. The initial key is not kept.
    #[must_use]
    pub fn load(initial: InitialKey) -> Self {
        let mut terminal = Self { id: initial.id, counter: 0, registers: [const { None }; REGISTERS] };
        terminal.fill(&initial.key, REGISTERS);
        terminal.counter = 1;
        terminal
    }

    /// The key of the next transaction. It can be had once.
    ///
    /// # Errors
    /// The device has used its last key.
    pub fn next_key(&mut self) -> Result<TransactionKey, DukptError> {
        let counter = self.counter;
        let place = counter.trailing_zeros();
        let index = usize::try_from(place).unwrap_or(REGISTERS);
        let slot = self.registers.get_mut(index).ok_or(DukptError::Exhausted)?;
        let key = slot.take().ok_or(DukptError::Exhausted)?;
        // Below a key with the most one bits there are none: skip to the next with fewer.
        let step = if counter.count_ones() < MAX_ONE_BITS {
            self.fill(&key, index);
            1
        } else {
            1u32.checked_shl(place).unwrap_or(0)
        };
        // 0 after the last: its register does not exist.
        self.counter = counter.checked_add(step).unwrap_or(0);
        Ok(TransactionKey { key, ksn: Ksn { id: self.id, counter } })
    }

    /// Derives the keys that hang below `key`: one for each of the lowest `below` bits.
    fn fill(&mut self, key: &AesKey, below: usize) {
        for (place, register) in self.registers.iter_mut().enumerate().take(below) {
            let counter = self.counter | (1u32 << (place & 31));
            *register = Some(derive(key, DERIVATION, KeyType::Aes(key.length()), context(self.id, counter)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn initial() -> InitialKey {
        InitialKey::derive(&AesKey::Aes128(Secret::new([5; 16])), InitialKeyId(*b"TAPLINE1"))
    }

    #[test]
    fn device_and_host_agree_on_every_transaction() {
        let (host, mut device) = (initial(), Terminal::load(initial()));
        for expected in 1..3000 {
            let key = device.next_key().unwrap();
            assert_eq!(key.ksn().counter, expected);
            assert_eq!(host.transaction(expected).as_ref(), Ok(&key));
        }
    }

    #[test]
    fn counters_with_too_many_one_bits_are_skipped_by_both() {
        let host = initial();
        let mut device = Terminal::load(initial());
        // 0001FFFE has 16 one bits, 0001FFFF has 17.
        device.counter = 0x0001_FFFE;
        device.registers = [const { None }; REGISTERS];
        device.registers[1] = Some(host.at(0x0001_FFFE).key);
        device.registers[17] = Some(host.at(0x0002_0000).key);
        assert_eq!(device.next_key().unwrap().ksn().counter, 0x0001_FFFE);
        assert_eq!(device.next_key().unwrap().ksn().counter, 0x0002_0000);
        assert_eq!(host.transaction(0x0001_FFFF), Err(DukptError::Counter));
        assert_eq!(host.transaction(0), Err(DukptError::Counter));
    }

    #[test]
    fn a_device_stops_after_its_last_key() {
        let host = initial();
        let mut device = Terminal::load(initial());
        device.counter = 0xFFFF_0000;
        device.registers[16] = Some(host.at(0xFFFF_0000).key);
        assert!(device.next_key().is_ok());
        assert_eq!(device.next_key(), Err(DukptError::Exhausted));
        assert_eq!(device.next_key(), Err(DukptError::Exhausted));
    }
}
