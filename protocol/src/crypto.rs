//! The primitives under the purse, the hosts' MACs and the key blocks: AES-CMAC (RFC 4493, NIST SP 800-38B), single and
//! triple DES on one block, and the DES MACs of ISO 9797-1 algorithms 1 and 3 with padding method 2.
//!
//! Messages are given as parts, so that no caller has to join them in a buffer first.

use aes::{Aes128, Aes192, Aes256};
use cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use cmac::{Cmac, Mac};
use des::{Des, TdesEde2};
use sha2::{Digest, Sha256};

/// AES-128-CMAC over the parts, all 16 bytes.
#[must_use]
pub fn aes128_cmac(key: &[u8; 16], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = <Cmac<Aes128> as KeyInit>::new(key.into());
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// AES-192-CMAC over the parts, all 16 bytes.
#[must_use]
pub fn aes192_cmac(key: &[u8; 24], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = <Cmac<Aes192> as KeyInit>::new(key.into());
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// AES-256-CMAC over the parts, all 16 bytes.
#[must_use]
pub fn aes256_cmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = <Cmac<Aes256> as KeyInit>::new(key.into());
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The leftmost 8 of 16 bytes: every truncated CMAC of ours.
#[must_use]
pub const fn left8(bytes: [u8; 16]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = bytes;
    [a, b, c, d, e, f, g, h]
}

/// The leftmost 4 of 8 bytes: every DES MAC of the purse.
#[must_use]
pub const fn left4(bytes: [u8; 8]) -> [u8; 4] {
    let [a, b, c, d, ..] = bytes;
    [a, b, c, d]
}

/// Encrypts one block with single DES.
#[must_use]
pub fn des_encrypt(key: &[u8; 8], block: [u8; 8]) -> [u8; 8] {
    let mut block = block.into();
    Des::new(key.into()).encrypt_block(&mut block);
    block.into()
}

/// Encrypts one block with two-key triple DES.
#[must_use]
pub fn tdes_encrypt(key: &[u8; 16], block: [u8; 8]) -> [u8; 8] {
    let mut block = block.into();
    TdesEde2::new(key.into()).encrypt_block(&mut block);
    block.into()
}

/// Decrypts one block with two-key triple DES.
#[must_use]
pub fn tdes_decrypt(key: &[u8; 16], block: [u8; 8]) -> [u8; 8] {
    let mut block = block.into();
    TdesEde2::new(key.into()).decrypt_block(&mut block);
    block.into()
}

/// ISO 9797-1 algorithm 1 with single DES and padding method 2 (`80 00…` always added), all 8 bytes.
#[must_use]
pub fn des_cbc_mac(key: &[u8; 8], iv: [u8; 8], parts: &[&[u8]]) -> [u8; 8] {
    let cipher = Des::new(key.into());
    cbc_chain(&cipher, iv, parts)
}

/// ISO 9797-1 algorithm 3 ("retail MAC") with a 16-byte key and padding method 2, all 8 bytes.
#[must_use]
pub fn retail_mac(key: &[u8; 16], iv: [u8; 8], parts: &[&[u8]]) -> [u8; 8] {
    let [left, right] = halves(key);
    let cipher = Des::new((&left).into());
    let mut block = cbc_chain(&cipher, iv, parts).into();
    Des::new((&right).into()).decrypt_block(&mut block);
    cipher.encrypt_block(&mut block);
    block.into()
}

/// The two halves of a 16-byte DES key.
#[must_use]
pub fn halves(key: &[u8; 16]) -> [[u8; 8]; 2] {
    let (chunks, _) = key.as_chunks::<8>();
    match chunks {
        [left, right] => [*left, *right],
        _ => [[0; 8]; 2],
    }
}

fn cbc_chain(cipher: &Des, iv: [u8; 8], parts: &[&[u8]]) -> [u8; 8] {
    let mut block = iv;
    let mut filled = 0usize;
    let mut absorb = |byte: u8| {
        if let Some(slot) = block.get_mut(filled) {
            *slot ^= byte;
        }
        filled = filled.saturating_add(1);
        if filled == 8 {
            let mut work = block.into();
            cipher.encrypt_block(&mut work);
            block = work.into();
            filled = 0;
        }
        filled
    };
    for byte in parts.iter().copied().flatten() {
        absorb(*byte);
    }
    let mut position = absorb(0x80);
    while position != 0 {
        position = absorb(0);
    }
    block
}

/// SHA-256 over the parts.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::decode;

    #[test]
    fn des_macs_match_published_values() {
        let data: [u8; 8] = decode("0102030405060708").unwrap();
        let key: [u8; 8] = decode("1122334455667788").unwrap();
        // FMCOS 2.0 manual, as in tests/vectors/purse_pboc_3des.json, record des-mac.
        assert_eq!(left4(des_cbc_mac(&key, [0; 8], &[&data])), decode("A82A8CEB").unwrap());
        assert_eq!(des_cbc_mac(&key, [0; 8], &[&data[..3], &data[3..]]), des_cbc_mac(&key, [0; 8], &[&data]));
        assert_eq!(des_encrypt(&key, data), decode("178F59F8578E0D3F").unwrap());
    }

    #[test]
    fn triple_des_decrypts_what_it_encrypted() {
        let key: [u8; 16] = decode("00112233445566778899AABBCCDDEEFF").unwrap();
        let block = *b"tapline!";
        assert_eq!(tdes_decrypt(&key, tdes_encrypt(&key, block)), block);
    }
}
