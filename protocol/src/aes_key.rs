//! An AES key of any of the three lengths, for what takes them all: key blocks, PIN blocks, DUKPT.

use crate::crypto::{aes128_cmac, aes192_cmac, aes256_cmac};
use crate::secret::Secret;
use aes::{Aes128, Aes192, Aes256};
use cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16};
use zeroize::Zeroize;

/// Bytes of a block.
pub const BLOCK: usize = 16;

/// Bytes that are no AES key: 16, 24 or 32 of them are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an AES key has 16, 24 or 32 bytes, not {0}")]
pub struct KeyLengthError(pub usize);

/// An AES key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AesKey {
    /// 16 bytes.
    Aes128(Secret<16>),
    /// 24 bytes.
    Aes192(Secret<24>),
    /// 32 bytes.
    Aes256(Secret<32>),
}

/// The length of an AES key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AesLength {
    /// 16 bytes.
    Aes128,
    /// 24 bytes.
    Aes192,
    /// 32 bytes.
    Aes256,
}

impl AesLength {
    /// In bits, and the algorithm number that key derivations of X9 give it.
    pub(crate) const fn bits_and_number(self) -> (u16, u8) {
        match self {
            Self::Aes128 => (128, 2),
            Self::Aes192 => (192, 3),
            Self::Aes256 => (256, 4),
        }
    }
}

impl AesKey {
    /// From 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// Another length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyLengthError> {
        if let Ok(key) = bytes.try_into() {
            Ok(Self::Aes128(Secret::new(key)))
        } else if let Ok(key) = bytes.try_into() {
            Ok(Self::Aes192(Secret::new(key)))
        } else if let Ok(key) = bytes.try_into() {
            Ok(Self::Aes256(Secret::new(key)))
        } else {
            Err(KeyLengthError(bytes.len()))
        }
    }

    /// The front of 32 bytes.
    pub(crate) fn from_front(length: AesLength, mut bytes: [u8; 32]) -> Self {
        let long = Secret::new(bytes);
        bytes.zeroize();
        match length {
            AesLength::Aes128 => Self::Aes128(front(&long)),
            AesLength::Aes192 => Self::Aes192(front(&long)),
            AesLength::Aes256 => Self::Aes256(long),
        }
    }

    /// Its length.
    #[must_use]
    pub const fn length(&self) -> AesLength {
        match self {
            Self::Aes128(_) => AesLength::Aes128,
            Self::Aes192(_) => AesLength::Aes192,
            Self::Aes256(_) => AesLength::Aes256,
        }
    }

    /// The bytes, for a computation: never for a log.
    #[must_use]
    pub const fn expose(&self) -> &[u8] {
        match self {
            Self::Aes128(key) => key.expose(),
            Self::Aes192(key) => key.expose(),
            Self::Aes256(key) => key.expose(),
        }
    }

    /// AES-CMAC over the parts.
    #[must_use]
    pub fn cmac(&self, parts: &[&[u8]]) -> [u8; BLOCK] {
        match self {
            Self::Aes128(key) => aes128_cmac(key.expose(), parts),
            Self::Aes192(key) => aes192_cmac(key.expose(), parts),
            Self::Aes256(key) => aes256_cmac(key.expose(), parts),
        }
    }

    /// The check value that people and hosts compare: leftmost 5 bytes of the CMAC over a block of zeros (X9.24-1).
    #[must_use]
    pub fn check_value(&self) -> [u8; 5] {
        let [a, b, c, d, e, ..] = self.cmac(&[&[0; BLOCK]]);
        [a, b, c, d, e]
    }

    /// Enciphers one block.
    #[must_use]
    pub fn encrypt(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        let mut bytes = block;
        self.cbc_encrypt([0; BLOCK], &mut bytes);
        bytes
    }

    /// Deciphers one block.
    #[must_use]
    pub fn decrypt(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        let mut bytes = block;
        self.cbc_decrypt([0; BLOCK], &mut bytes);
        bytes
    }

    /// Enciphers whole blocks in place, CBC. Bytes beyond the last whole block stay as they are.
    pub(crate) fn cbc_encrypt(&self, iv: [u8; BLOCK], bytes: &mut [u8]) {
        match self {
            Self::Aes128(key) => encrypt(&Aes128::new(key.expose().into()), iv, bytes),
            Self::Aes192(key) => encrypt(&Aes192::new(key.expose().into()), iv, bytes),
            Self::Aes256(key) => encrypt(&Aes256::new(key.expose().into()), iv, bytes),
        }
    }

    /// Deciphers whole blocks in place, CBC. Bytes beyond the last whole block stay as they are.
    pub(crate) fn cbc_decrypt(&self, iv: [u8; BLOCK], bytes: &mut [u8]) {
        match self {
            Self::Aes128(key) => decrypt(&Aes128::new(key.expose().into()), iv, bytes),
            Self::Aes192(key) => decrypt(&Aes192::new(key.expose().into()), iv, bytes),
            Self::Aes256(key) => decrypt(&Aes256::new(key.expose().into()), iv, bytes),
        }
    }
}

fn front<const N: usize>(key: &Secret<32>) -> Secret<N> {
    key.expose().first_chunk::<N>().map_or_else(|| Secret::new([0; N]), |key| Secret::new(*key))
}

pub(crate) fn xor(left: [u8; BLOCK], right: [u8; BLOCK]) -> [u8; BLOCK] {
    (u128::from_be_bytes(left) ^ u128::from_be_bytes(right)).to_be_bytes()
}

fn encrypt<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>>(
    cipher: &C,
    iv: [u8; BLOCK],
    bytes: &mut [u8],
) {
    let mut chain = iv;
    for block in bytes.as_chunks_mut::<BLOCK>().0 {
        let mut work: Block<C> = xor(*block, chain).into();
        cipher.encrypt_block(&mut work);
        chain = work.into();
        *block = chain;
    }
}

fn decrypt<C: BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>>(
    cipher: &C,
    iv: [u8; BLOCK],
    bytes: &mut [u8],
) {
    let mut chain = iv;
    for block in bytes.as_chunks_mut::<BLOCK>().0 {
        let enciphered = *block;
        let mut work: Block<C> = enciphered.into();
        cipher.decrypt_block(&mut work);
        *block = xor(work.into(), chain);
        chain = enciphered;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::decode;

    #[test]
    fn every_length_deciphers_what_it_enciphered() {
        for length in [16, 24, 32] {
            let key = AesKey::from_bytes(&[7; 32][..length]).unwrap();
            assert_eq!(key.decrypt(key.encrypt([9; 16])), [9; 16]);
            assert_eq!(key.expose().len(), length);
        }
        assert_eq!(AesKey::from_bytes(&[0; 19]), Err(KeyLengthError(19)));
    }

    #[test]
    fn aes_192_enciphers_the_block_of_fips_197() {
        let key = decode::<24>("000102030405060708090A0B0C0D0E0F1011121314151617").unwrap();
        let block = decode("00112233445566778899AABBCCDDEEFF").unwrap();
        let enciphered = AesKey::from_bytes(&key).unwrap().encrypt(block);
        assert_eq!(enciphered, decode("DDA97CA4864CDFE06EAF70A0EC0D7191").unwrap());
    }
}
