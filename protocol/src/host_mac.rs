//! The MAC of a host message (field 64 or 128), in both dialects (`docs/posp.md` section 4).
//!
//! It is over everything from the message type to the last field before it, with its own bit set in the bitmap:
//! [`crate::iso8583::Unsigned::input`] when a message is built, [`crate::iso8583::Message::mac`] when it is checked.

use crate::crypto::{aes128_cmac, des_encrypt, left8};
use crate::secret::{Secret, macs_equal};

/// A key that makes and checks the MAC of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MacKey {
    /// `aes`: AES-CMAC, leftmost 8 bytes.
    Aes(Secret<16>),
    /// `unionpay`: the ECB variant of China's POS terminals, single DES.
    UnionPay(Secret<8>),
}

impl MacKey {
    /// The MAC of a message.
    #[must_use]
    pub fn mac(&self, input: &[u8]) -> [u8; 8] {
        match self {
            Self::Aes(key) => left8(aes128_cmac(key.expose(), &[input])),
            Self::UnionPay(key) => unionpay_mac(key, input),
        }
    }

    /// Whether `mac` is the MAC of the message; compared in constant time.
    #[must_use]
    pub fn verifies(&self, input: &[u8], mac: &[u8; 8]) -> bool {
        macs_equal(&self.mac(input), mac)
    }
}

/// Zero-pads, folds to 8 bytes by XOR, writes the fold as 16 upper-case hexadecimal characters, enciphers the first
/// eight, adds the last eight, enciphers again: the first eight hexadecimal characters of that are the MAC.
#[must_use]
pub fn unionpay_mac(key: &Secret<8>, input: &[u8]) -> [u8; 8] {
    unionpay_mac_of_fold(key, fold(input))
}

/// The second half of [`unionpay_mac`], for hosts that fold themselves.
#[must_use]
pub fn unionpay_mac_of_fold(key: &Secret<8>, fold: [u8; 8]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h] = fold;
    let first = des_encrypt(key.expose(), hex_characters([a, b, c, d]));
    let second = des_encrypt(key.expose(), xor(first, hex_characters([e, f, g, h])));
    let [a, b, c, d, ..] = second;
    hex_characters([a, b, c, d])
}

/// XOR of all 8-byte blocks, the last one padded with zeros.
fn fold(input: &[u8]) -> [u8; 8] {
    let (blocks, rest) = input.as_chunks::<8>();
    let mut sum = blocks.iter().fold([0; 8], |sum, block| xor(sum, *block));
    for (slot, byte) in sum.iter_mut().zip(rest) {
        *slot ^= byte;
    }
    sum
}

fn xor(left: [u8; 8], right: [u8; 8]) -> [u8; 8] {
    (u64::from_be_bytes(left) ^ u64::from_be_bytes(right)).to_be_bytes()
}

fn hex_characters([a, b, c, d]: [u8; 4]) -> [u8; 8] {
    let digit = |half: u8| if half < 10 { half.wrapping_add(b'0') } else { half.wrapping_add(b'A' - 10) };
    [a >> 4, a & 15, b >> 4, b & 15, c >> 4, c & 15, d >> 4, d & 15].map(digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::decode;

    #[test]
    fn the_fold_of_the_published_chain_gives_the_published_mac() {
        let key = Secret::from_hex("C24A8FB57AA20123").unwrap();
        assert_eq!(&unionpay_mac_of_fold(&key, decode("4D08F434464FE7BF").unwrap()), b"8A9E91B8");
    }

    #[test]
    fn a_changed_byte_or_another_key_does_not_verify() {
        let keys = [MacKey::Aes(Secret::new([7; 16])), MacKey::UnionPay(Secret::new([7; 8]))];
        for key in &keys {
            let mac = key.mac(b"twelve bytes");
            assert!(key.verifies(b"twelve bytes", &mac));
            assert!(!key.verifies(b"twelve bytez", &mac));
            assert!(!key.verifies(b"twelve bytes", &[0; 8]));
        }
        assert_eq!(std::format!("{:?}", keys[0]), "Aes(Secret(16 bytes))");
    }
}
