//! Evidence (suite 10): a signature that certificates alone verify, made on demand after the tap, and the card's
//! certificate.

use super::Purse;
use crate::os::{Platform, Reply};
use p256::ecdsa::{Signature, SigningKey, signature::Signer};
use protocol::apdu::{Command, StatusWord};
use protocol::purse::{Suite, TransactionType};

/// What the signature's input begins with.
const EVIDENCE_PREFIX: &[u8] = b"tapline-evidence-1";
/// r ‖ s.
const SIGNATURE_BYTES: usize = 64;

impl Purse {
    /// `80 5A 01`: ECDSA P-256 with SHA-256 over prefix, issuer, currency and TAC input; r ‖ s.
    pub(super) fn evidence(
        &self,
        command: &Command<'_>,
        platform: &mut Platform<'_>,
        kind: TransactionType,
        counter_after: u16,
    ) -> Reply {
        if self.suite() != Suite::Aes {
            return Err(StatusWord::WRONG_P1P2.into());
        }
        platform.expect(command, SIGNATURE_BYTES)?;
        let scalar = self.store.evidence_key(platform.memory).ok_or(StatusWord::REFERENCE_NOT_FOUND)?;
        let proof =
            self.store.proof(platform.memory, kind, counter_after).ok_or(StatusWord::NO_PROVE_DATA)?;
        let issuer = self.public(platform.memory)?.issuer();
        let input = [EVIDENCE_PREFIX, &issuer.0, &self.profile.currency.bcd(), &proof.tac_input].concat();
        let key = SigningKey::from_slice(scalar.expose()).map_err(|_| StatusWord::UNKNOWN)?;
        let signature: Signature = key.sign(&input);
        Ok(signature.to_bytes().to_vec())
    }

    /// GET DATA `80 CA 7F 21`: the certificate, DER. Longer than one answer, it continues by GET RESPONSE.
    pub(super) fn get_data(&self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        if [command.p1, command.p2] != [0x7F, 0x21] {
            return Err(StatusWord::REFERENCE_NOT_FOUND.into());
        }
        if !command.data.is_empty() {
            return Err(StatusWord::WRONG_LENGTH.into());
        }
        let certificate = self.store.certificate(platform.memory).ok_or(StatusWord::REFERENCE_NOT_FOUND)?;
        Ok(certificate.to_vec())
    }
}
