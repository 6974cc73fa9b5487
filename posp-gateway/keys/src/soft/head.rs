//! Signing the heads of a ledger's hash chain (`backend.md` section 1): ECDSA over P-256 with SHA-256, one key per acquirer, kept in the key file.
//!
//! The chain is not keyed: whoever can write the database could make another one. A signed head outside of it says what the chain was, and by whom.

use super::{SoftKeys, random, read, write};
use crate::{HeadKey, KeyError};
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use protocol::secret::Secret;

/// How often randomness is asked for a scalar: one in 2³² tries is out of range.
const TRIES: u32 = 4;

fn signing(key: &Secret<32>) -> Result<SigningKey, KeyError> {
    SigningKey::from_slice(key.expose()).map_err(|_| KeyError::OutOfBounds("a signing key"))
}

impl SoftKeys {
    pub(super) fn signed_head(&self, acquirer: u64, message: &[u8]) -> Result<[u8; 64], KeyError> {
        let known = read(&self.heads).get(&acquirer).cloned();
        let key = match known {
            Some(key) => key,
            None => self.new_head_key(acquirer)?,
        };
        let signature: Signature = signing(&key)?.sign(message);
        Ok(signature.to_bytes().into())
    }

    fn new_head_key(&self, acquirer: u64) -> Result<Secret<32>, KeyError> {
        let mut made = random(&self.entropy)?;
        for _ in 0..TRIES {
            if signing(&made).is_ok() {
                break;
            }
            made = random(&self.entropy)?;
        }
        signing(&made)?;
        // Another thread may have been first: its key stays.
        let key = write(&self.heads).entry(acquirer).or_insert(made).clone();
        self.save()?;
        Ok(key)
    }

    pub(super) fn public_head_key(&self, acquirer: u64) -> Result<HeadKey, KeyError> {
        let none = KeyError::NoKey("the acquirer has not signed a head yet");
        let key = read(&self.heads).get(&acquirer).cloned().ok_or(none)?;
        let public = VerifyingKey::from(&signing(&key)?).to_sec1_point(true);
        public.as_bytes().try_into().map_err(|_| KeyError::OutOfBounds("a public key"))
    }
}

pub(crate) fn verifies(key: &HeadKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let (Ok(key), Ok(signature)) = (VerifyingKey::from_sec1_bytes(key), Signature::from_slice(signature))
    else {
        return false;
    };
    key.verify(message, &signature).is_ok()
}
