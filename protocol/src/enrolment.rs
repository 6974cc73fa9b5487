//! How a terminal gets its first key (`docs/posp.md` section 4): both sides agree on a secret, and derive from it the
//! key under which the terminal master key travels as a TR-31 block.
//!
//! X9.63 form with SHA-256; the certificate request and both public keys are bound in, so that a key agreed for one
//! enrolment opens nothing in another.

use crate::aes_key::AesKey;
use crate::crypto::sha256;
use crate::secret::Secret;

/// A P-256 public key, uncompressed (`04 | x | y`).
pub type AgreementPublicKey = [u8; 65];

const COUNTER: [u8; 4] = [0, 0, 0, 1];
const LABEL: &[u8] = b"tapline-tmk-1";

/// The protection key of the block that carries the terminal master key:
/// `SHA-256(00000001 ‖ Z.x ‖ "tapline-tmk-1" ‖ SHA-256(CSR) ‖ Qt ‖ Qg)`, an AES-256 key.
#[must_use]
pub fn protection_key(
    shared_x: &Secret<32>,
    certificate_request: &[u8],
    terminal: &AgreementPublicKey,
    gateway: &AgreementPublicKey,
) -> AesKey {
    let request = sha256(&[certificate_request]);
    let key = sha256(&[&COUNTER, shared_x.expose(), LABEL, &request, terminal, gateway]);
    AesKey::Aes256(Secret::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sha256;

    #[test]
    fn the_key_is_the_hash_of_all_parts_in_order() {
        let (x, terminal, gateway) = (Secret::new([1; 32]), [2; 65], [3; 65]);
        let key = protection_key(&x, b"request", &terminal, &gateway);
        let mut whole = std::vec![0, 0, 0, 1];
        whole.extend([1; 32]);
        whole.extend(b"tapline-tmk-1");
        whole.extend(sha256(&[b"request"]));
        whole.extend([2; 65]);
        whole.extend([3; 65]);
        assert_eq!(key.expose(), sha256(&[&whole]));
        assert_ne!(key, protection_key(&x, b"another", &terminal, &gateway));
        assert_ne!(key, protection_key(&x, b"request", &gateway, &terminal));
    }
}
