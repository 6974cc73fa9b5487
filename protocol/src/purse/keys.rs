//! Keys of the purse: diversified from the issuer's masters, and turned into session keys (`purse.md` sections 2 and 3).
//!
//! A key carries its suite: no function here takes one of another suite, so that a key never serves another algorithm.

use super::{CardRandom, PurseError, Suite, TransactionType};
use crate::crypto::{aes128_cmac, halves, tdes_encrypt};
use crate::ids::{Factor, OfflineCounter, OnlineCounter, TermSeq};
use crate::secret::Secret;
use core::fmt;

/// Most diversification steps of an issuer.
pub const FACTORS_MAX: usize = 3;

/// What a key of the purse is for. A master key and the card's key made from it have the same use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyUse {
    /// Purchase and CAPP (DPK).
    Purchase,
    /// Load (DLK).
    Load,
    /// Unload (DULK).
    Unload,
    /// Transaction authentication code (DTK).
    Tac,
    /// PIN unblock (DPUK).
    PinUnblock,
    /// PIN reload (DRPK).
    PinReload,
    /// Application maintenance: secure messaging of suite 00 (DAMK).
    Maintenance,
    /// External and internal authentication, suite 00.
    Authenticate,
}

impl KeyUse {
    /// Every use.
    pub const ALL: [Self; 8] = [
        Self::Purchase,
        Self::Load,
        Self::Unload,
        Self::Tac,
        Self::PinUnblock,
        Self::PinReload,
        Self::Maintenance,
        Self::Authenticate,
    ];

    /// The name used in issuer key files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Purchase => "purchase",
            Self::Load => "load",
            Self::Unload => "unload",
            Self::Tac => "tac",
            Self::PinUnblock => "pin_unblock",
            Self::PinReload => "pin_reload",
            Self::Maintenance => "maintenance",
            Self::Authenticate => "authenticate",
        }
    }
}

/// A 16-byte key of the purse with its suite: an issuer's master or a card's diversified key.
#[derive(Clone, PartialEq, Eq)]
pub struct PurseKey {
    suite: Suite,
    bytes: Secret<16>,
}

impl fmt::Debug for PurseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PurseKey(suite {})", self.suite)
    }
}

impl PurseKey {
    /// A key of this suite.
    #[must_use]
    pub const fn new(suite: Suite, bytes: Secret<16>) -> Self {
        Self { suite, bytes }
    }

    /// Its suite.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// Its bytes, for a computation or for writing it into a card.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 16] {
        self.bytes.expose()
    }

    /// One diversification step.
    ///
    /// Suite 00: `3DES(K, F) ‖ 3DES(K, ¬F)`; suite 10: `AES-CMAC(K, 01 ‖ F)`.
    #[must_use]
    pub fn diversify_step(&self, factor: &Factor) -> Self {
        let key = self.expose();
        let bytes = match self.suite {
            Suite::Des => {
                let left = tdes_encrypt(key, factor.0);
                let right = tdes_encrypt(key, factor.0.map(|byte| !byte));
                let mut joined = [0; 16];
                for (slot, byte) in joined.iter_mut().zip(left.iter().chain(&right)) {
                    *slot = *byte;
                }
                joined
            }
            Suite::Aes => aes128_cmac(key, &[&[0x01], &factor.0]),
        };
        Self::new(self.suite, Secret::new(bytes))
    }

    /// The card's key: all steps, with the factors in the order they have on the wire (card serial first). They are applied
    /// from the last to the first, so the serial is always the final step.
    ///
    /// # Errors
    /// Not 1 to [`FACTORS_MAX`] factors.
    pub fn diversify(&self, factors: &[Factor]) -> Result<Self, PurseError> {
        if factors.is_empty() || factors.len() > FACTORS_MAX {
            return Err(PurseError::FactorCount(factors.len()));
        }
        Ok(factors.iter().rev().fold(self.clone(), |key, factor| key.diversify_step(factor)))
    }

    /// The session key of a purchase (or CAPP) from the card's purchase key.
    ///
    /// # Errors
    /// A random of the other suite.
    pub fn offline_session(
        &self,
        kind: TransactionType,
        random: &CardRandom,
        counter: OfflineCounter,
        term_seq: TermSeq,
    ) -> Result<SessionKey, PurseError> {
        let sequence = term_seq.0.to_be_bytes();
        let [.., high, low] = sequence;
        self.session(kind, random, counter.0, sequence, [high, low])
    }

    /// The session key of a load or unload from the card's load or unload key.
    ///
    /// # Errors
    /// A random of the other suite.
    pub fn online_session(
        &self,
        kind: TransactionType,
        random: &CardRandom,
        counter: OnlineCounter,
    ) -> Result<SessionKey, PurseError> {
        self.session(kind, random, counter.0, [0; 4], [0x80, 0x00])
    }

    /// Suite 00: `3DES(K, rnd4 ‖ ctr2 ‖ tail2)`, 8 bytes. Suite 10: SP 800-108 counter mode with CMAC,
    /// `AES-CMAC(K, 01 ‖ type ‖ 00 ‖ rnd8 ‖ ctr2 ‖ term_seq4 ‖ 0080)`.
    fn session(
        &self,
        kind: TransactionType,
        random: &CardRandom,
        counter: u16,
        term_seq: [u8; 4],
        des_tail: [u8; 2],
    ) -> Result<SessionKey, PurseError> {
        if random.suite() != self.suite {
            return Err(PurseError::WrongSuite { expected: self.suite, found: random.suite() });
        }
        let counter = counter.to_be_bytes();
        Ok(match self.suite {
            Suite::Des => {
                let mut block = [0; 8];
                for (slot, byte) in
                    block.iter_mut().zip(random.as_bytes().iter().chain(&counter).chain(&des_tail))
                {
                    *slot = *byte;
                }
                SessionKey::Des(Secret::new(tdes_encrypt(self.expose(), block)))
            }
            Suite::Aes => SessionKey::Aes(Secret::new(aes128_cmac(
                self.expose(),
                &[&[0x01, kind.byte(), 0x00], random.as_bytes(), &counter, &term_seq, &[0x00, 0x80]],
            ))),
        })
    }

    /// What the key is as a TAC key: in suite 00 its left half XOR its right half.
    #[must_use]
    pub fn tac_key(&self) -> TacKey {
        match self.suite {
            Suite::Des => {
                let [mut left, right] = halves(self.expose());
                left.iter_mut().zip(right).for_each(|(l, r)| *l ^= r);
                TacKey(SessionKey::Des(Secret::new(left)))
            }
            Suite::Aes => TacKey(SessionKey::Aes(self.bytes.clone())),
        }
    }
}

/// The key of one transaction's MACs.
#[derive(Clone, PartialEq, Eq)]
pub enum SessionKey {
    /// Single DES (suite 00).
    Des(Secret<8>),
    /// AES-128 (suite 10).
    Aes(Secret<16>),
}

impl SessionKey {
    /// Its suite.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        match self {
            Self::Des(_) => Suite::Des,
            Self::Aes(_) => Suite::Aes,
        }
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey(suite {})", self.suite())
    }
}

/// The key under a card's TACs, in the form the MAC wants it.
#[derive(Clone, PartialEq, Eq)]
pub struct TacKey(pub(super) SessionKey);

impl fmt::Debug for TacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TacKey(suite {})", self.0.suite())
    }
}
