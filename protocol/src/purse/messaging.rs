//! Secure messaging of suite 00 (`purse.md` section 2): a MAC over management commands of class x4, and encryption of
//! what they carry.
//!
//! The initial value is the card's 4-byte challenge followed by zeros. A 16-byte key makes the retail MAC, an 8-byte key
//! the plain CBC MAC. Suite 10 uses SCP03 instead and has nothing here.

use super::PurseError;
use crate::bytes::Writer;
use crate::crypto::{left4, retail_mac, tdes_decrypt, tdes_encrypt};
use crate::secret::Secret;

/// Longest plaintext that a command can carry encrypted: 255 less the MAC, in whole blocks, less the length byte.
pub const PLAINTEXT_BYTES_MAX: usize = 247;

/// MAC4 over a command's header (with the final Lc, that is including these 4 bytes) and data.
#[must_use]
pub fn command_mac(key: &Secret<16>, challenge: [u8; 4], header: [u8; 4], lc: u8, data: &[u8]) -> [u8; 4] {
    let [a, b, c, d] = challenge;
    left4(retail_mac(key.expose(), [a, b, c, d, 0, 0, 0, 0], &[&header, &[lc], data]))
}

/// Encrypts: `length1 ‖ plaintext`, padded with `80 00…` only when it is not whole blocks, 3DES-ECB. Returns the length.
///
/// # Errors
/// A plaintext above [`PLAINTEXT_BYTES_MAX`], or a buffer that is too small.
pub fn encrypt(key: &Secret<16>, plaintext: &[u8], out: &mut [u8]) -> Result<usize, PurseError> {
    let too_long =
        PurseError::WrongLength { what: "plaintext", expected: PLAINTEXT_BYTES_MAX, found: plaintext.len() };
    let length = u8::try_from(plaintext.len()).map_err(|_| too_long)?;
    if plaintext.len() > PLAINTEXT_BYTES_MAX {
        return Err(too_long);
    }
    let mut writer = Writer::new(out);
    writer.u8(length)?;
    writer.put(plaintext)?;
    let mut pad = 0x80;
    while !writer.len().is_multiple_of(8) {
        writer.u8(pad)?;
        pad = 0;
    }
    let n = writer.len();
    let (blocks, _) = out.get_mut(..n).unwrap_or_default().as_chunks_mut::<8>();
    blocks.iter_mut().for_each(|block| *block = tdes_encrypt(key.expose(), *block));
    Ok(n)
}

/// Decrypts into `out` and returns the plaintext's range in it.
///
/// # Errors
/// No whole blocks, a length byte that does not fit, or a buffer that is too small.
pub fn decrypt<'a>(key: &Secret<16>, ciphertext: &[u8], out: &'a mut [u8]) -> Result<&'a [u8], PurseError> {
    let broken = PurseError::WrongLength { what: "ciphertext", expected: 8, found: ciphertext.len() };
    let (blocks, rest) = ciphertext.as_chunks::<8>();
    if blocks.is_empty() || !rest.is_empty() {
        return Err(broken);
    }
    let target = out.get_mut(..ciphertext.len()).ok_or(PurseError::NoRoom)?;
    let (slots, _) = target.as_chunks_mut::<8>();
    slots.iter_mut().zip(blocks).for_each(|(slot, block)| *slot = tdes_decrypt(key.expose(), *block));
    let (length, plain) = target.split_first().ok_or(broken)?;
    plain.get(..usize::from(*length)).ok_or(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::decode;

    #[test]
    fn the_published_write_key_command_is_reproduced() {
        // tests/vectors/purse_pboc_3des.json, record secure-messaging-write-key.
        let key = Secret::<16>::from_hex("00112233445566778899AABBCCDDEEFF").unwrap();
        let data: [u8; 19] = decode("22000000112233445566778899AABBCCDDEEFF").unwrap();
        let mut out = [0; 64];
        let n = encrypt(&key, &data, &mut out).unwrap();
        let expected: [u8; 24] = decode("DCC0BB5793ABFCA2CA8C1624822F6E01A86A0B5CBED191DD").unwrap();
        assert_eq!(out[..n], expected);
        let mac = command_mac(&key, [0x5D, 0x72, 0xB3, 0xFD], [0x84, 0xD4, 0x00, 0x00], 0x1C, &out[..n]);
        assert_eq!(mac, [0x8A, 0x9D, 0x4A, 0xDB]);
        let mut plain = [0; 64];
        assert_eq!(decrypt(&key, &expected, &mut plain).unwrap(), &data[..]);
    }

    #[test]
    fn broken_ciphertext_is_refused() {
        let key = Secret::new([1; 16]);
        let mut out = [0; 64];
        assert!(decrypt(&key, &[0; 7], &mut out).is_err());
        assert!(decrypt(&key, &[], &mut out).is_err());
        assert!(decrypt(&key, &[0; 16], &mut [0; 8]).is_err());
        assert!(encrypt(&key, &[0; 248], &mut [0; 300]).is_err());
    }
}
