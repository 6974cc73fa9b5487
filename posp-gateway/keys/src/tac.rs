//! TACs by the batch: the key above the card is prepared once and remembered, the card's own key costs one AES block and a key schedule, so no
//! cache of card keys is needed.
//!
//! Suite 10's two CMACs (RFC 4493) are written out here for their fixed lengths, 9 and 54 bytes, on the encryption half of the
//! `aes` crate: the generic one expands the decryption schedule too and clears both on every drop, which took more time than the blocks.
//! The tests hold them against `protocol`'s.

use aes::Aes128Enc;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use protocol::ids::Factor;
use protocol::purse::Suite;
use protocol::purse::keys::PurseKey;
use protocol::purse::mac::{TAC_INPUT_BYTES, TacTerms};
use protocol::purse::{PurseError, Tac};

/// The key one step above the cards, ready to diversify.
pub(crate) enum Prepared {
    /// Suite 00.
    Des(PurseKey),
    /// Suite 10: its key schedule, and the subkey for messages whose last block is incomplete.
    Aes(Box<Aes128Enc>, u128),
}

impl Prepared {
    /// From the issuer's master and the factors above the card (wire order; applied from the last to the first).
    pub(crate) fn new(master: &PurseKey, upper: &[Factor]) -> Self {
        let key = upper.iter().rev().fold(master.clone(), |key, factor| key.diversify_step(factor));
        match key.suite() {
            Suite::Des => Self::Des(key),
            Suite::Aes => {
                let cipher = Aes128Enc::new(key.expose().into());
                let subkey = incomplete_subkey(&cipher);
                Self::Aes(Box::new(cipher), subkey)
            }
        }
    }

    /// The suite of the key.
    pub(crate) const fn suite(&self) -> Suite {
        match self {
            Self::Des(_) => Suite::Des,
            Self::Aes(..) => Suite::Aes,
        }
    }

    /// The TAC that this card makes over these terms.
    pub(crate) fn tac(&self, card: &Factor, terms: &TacTerms) -> Result<Tac, PurseError> {
        match self {
            Self::Des(key) => Ok(key.diversify_step(card).tac_key().tac(terms)),
            Self::Aes(above, subkey) => {
                let key = encrypt(above, padded(&step(card)) ^ subkey).to_be_bytes();
                let cipher = Aes128Enc::new(&key.into());
                let mac = tac_mac(&cipher, &terms.to_bytes()).to_be_bytes();
                Tac::from_bytes(Suite::Aes, mac.first_chunk::<8>().unwrap_or(&[0; 8]))
            }
        }
    }
}

/// `01 ‖ F`: the message of a diversification step.
const fn step(card: &Factor) -> [u8; 9] {
    let [a, b, c, d, e, f, g, h] = card.0;
    [0x01, a, b, c, d, e, f, g, h]
}

fn encrypt(cipher: &Aes128Enc, block: u128) -> u128 {
    let mut block = block.to_be_bytes().into();
    cipher.encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

/// Twice, in the field of RFC 4493.
const fn double(value: u128) -> u128 {
    (value << 1) ^ if value >> 127 == 1 { 0x87 } else { 0 }
}

/// K2 of RFC 4493.
fn incomplete_subkey(cipher: &Aes128Enc) -> u128 {
    double(double(encrypt(cipher, 0)))
}

/// Fewer than 16 bytes, padded `80 00…`.
fn padded(rest: &[u8]) -> u128 {
    let mut block = [0; 16];
    for (slot, byte) in block.iter_mut().zip(rest.iter().chain(&[0x80])) {
        *slot = *byte;
    }
    u128::from_be_bytes(block)
}

/// CMAC over the 54 bytes of a TAC: three whole blocks and six bytes.
fn tac_mac(cipher: &Aes128Enc, input: &[u8; TAC_INPUT_BYTES]) -> u128 {
    let (blocks, rest) = input.as_chunks::<16>();
    let chained = blocks.iter().fold(0, |state, block| encrypt(cipher, state ^ u128::from_be_bytes(*block)));
    encrypt(cipher, chained ^ padded(rest) ^ incomplete_subkey(cipher))
}
