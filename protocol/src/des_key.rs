//! A DES key of the `unionpay` dialect: single length, or double length for triple DES. Our own dialect has none.

use crate::crypto::{des_encrypt, tdes_decrypt, tdes_encrypt};
use crate::secret::Secret;
use cipher::{BlockCipherDecrypt, KeyInit};
use des::Des;

/// A DES key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DesKey {
    /// 8 bytes: single DES.
    Single(Secret<8>),
    /// 16 bytes: triple DES.
    Double(Secret<16>),
}

impl DesKey {
    /// Enciphers one block.
    #[must_use]
    pub fn encrypt(&self, block: [u8; 8]) -> [u8; 8] {
        match self {
            Self::Single(key) => des_encrypt(key.expose(), block),
            Self::Double(key) => tdes_encrypt(key.expose(), block),
        }
    }

    /// Deciphers one block.
    #[must_use]
    pub fn decrypt(&self, block: [u8; 8]) -> [u8; 8] {
        match self {
            Self::Single(key) => {
                let mut block = block.into();
                Des::new(key.expose().into()).decrypt_block(&mut block);
                block.into()
            }
            Self::Double(key) => tdes_decrypt(key.expose(), block),
        }
    }

    /// The check value that people and hosts compare: leftmost 4 bytes of an enciphered block of zeros.
    #[must_use]
    pub fn check_value(&self) -> [u8; 4] {
        crate::crypto::left4(self.encrypt([0; 8]))
    }

    /// The bytes, for a computation: never for a log.
    #[must_use]
    pub const fn expose(&self) -> &[u8] {
        match self {
            Self::Single(key) => key.expose(),
            Self::Double(key) => key.expose(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lengths_decipher_what_they_enciphered() {
        for key in [DesKey::Single(Secret::new([3; 8])), DesKey::Double(Secret::new(*b"0123456789ABCDEF"))] {
            assert_eq!(key.decrypt(key.encrypt(*b"tapline!")), *b"tapline!");
        }
    }

    #[test]
    fn a_double_key_of_equal_halves_is_a_single_key() {
        let (single, double) = (DesKey::Single(Secret::new([7; 8])), DesKey::Double(Secret::new([7; 16])));
        assert_eq!(single.check_value(), double.check_value());
    }
}
