//! The key module: operations on key references, never keys (`posp.md` section 4).
//!
//! Callers name a key by what it is for: an issuer's key set and a card ([`CardKeyRef`]), a terminal ([`TerminalId`]). What comes back is a
//! verdict, a MAC or a key block. The one exception is personalisation, which writes card keys into a card ([`KeyModule::card_key`]).
//!
//! [`SoftKeys`] is the module in software: keys at rest are encrypted under a master key from a file or the environment, keys in use
//! live in memory that is cleared on drop. It serves both suites; a key carries its suite and never serves another algorithm. What a module
//! cannot do it answers as [`KeyError::Unsupported`].
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod master;
mod sealed;
mod soft;
mod tac;
#[cfg(test)]
mod tests;

pub use master::MasterKey;
pub use soft::{Entropy, SoftKeys};

use protocol::ids::{Factor, IssuerId, KeyVersion, TerminalId};
use protocol::money::CardAmount;
use protocol::purse::keys::{KeyUse, PurseKey};
use protocol::purse::mac::{HostTerms, TacTerms};
use protocol::purse::{Algorithm, CardRandom, Moment, PurseMac, Suite, Tac};

/// Why the module did not do it. No error repeats a key, a PIN or a PAN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No such key.
    #[error("the key module has no such key: {0}")]
    NoKey(&'static str),
    /// The key is of another suite than the request.
    #[error("the key is of suite {have}, the request of suite {asked}")]
    WrongSuite {
        /// The key's.
        have: Suite,
        /// The request's.
        asked: Suite,
    },
    /// Another key is there under this reference; a key is never overwritten.
    #[error("another key is registered under this reference")]
    Exists,
    /// This module cannot do it.
    #[error("this key module does not support {0}")]
    Unsupported(&'static str),
    /// The master key does not open the file, or the file was changed.
    #[error("the key file does not open under this master key: another master key, or the file was changed")]
    WrongMasterKey,
    /// The file is no key file, or of a newer program.
    #[error("not a key file of this program: {0}")]
    NotAKeyFile(&'static str),
    /// The master key's text is not 64 hexadecimal digits.
    #[error("a master key is 64 hexadecimal digits")]
    BadMasterKey,
    /// The operating system refused.
    #[error("{what}: {why}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        why: String,
    },
    /// No randomness.
    #[error("the operating system gave no randomness")]
    NoEntropy,
    /// A request out of bounds (a card with too many diversification factors).
    #[error("request out of bounds: {0}")]
    OutOfBounds(&'static str),
}

/// A card's keys: the issuer's key set and the factors that lead from it to the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardKeyRef<'a> {
    /// The issuer.
    pub issuer: IssuerId,
    /// The version of its key set.
    pub version: KeyVersion,
    /// The algorithm byte that the card or the record stated.
    pub algorithm: Algorithm,
    /// The card's own factor, applied last.
    pub card: Factor,
    /// The factors above it, in wire order (at most 2).
    pub upper: &'a [Factor],
}

/// One TAC to verify.
#[derive(Clone, Copy, Debug)]
pub struct TacCheck<'a> {
    /// Whose.
    pub key: CardKeyRef<'a>,
    /// What it covers.
    pub terms: &'a TacTerms,
    /// The TAC.
    pub tac: &'a Tac,
}

/// What became of one TAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TacVerdict {
    /// The card made it.
    Valid,
    /// It did not.
    Wrong,
    /// The module has no key to tell.
    NoKey,
}

/// Operations on key references. Shared between threads.
pub trait KeyModule: Send + Sync {
    /// Verifies TACs; verdicts in order.
    fn verify_tacs(&self, checks: &[TacCheck<'_>]) -> Vec<TacVerdict>;

    /// Whether the card made this MAC1 of a load or unload.
    ///
    /// # Errors
    /// No such key, or another suite.
    fn verify_mac1(
        &self,
        key: &CardKeyRef<'_>,
        random: &CardRandom,
        terms: &HostTerms,
        balance_old: CardAmount,
        asn: &protocol::ids::Asn,
        mac1: &PurseMac,
    ) -> Result<bool, KeyError>;

    /// The issuer's consent to a load or unload.
    ///
    /// # Errors
    /// No such key, or another suite.
    fn mac2(
        &self,
        key: &CardKeyRef<'_>,
        random: &CardRandom,
        terms: &HostTerms,
        moment: Moment,
    ) -> Result<PurseMac, KeyError>;

    /// A card's key, for writing it into the card.
    ///
    /// # Errors
    /// No such key, another suite, or the module never lets it out.
    fn card_key(&self, key: &CardKeyRef<'_>, usage: KeyUse) -> Result<PurseKey, KeyError>;

    /// Makes a terminal's master key, keeps it, and hands it out as a key block under a one-time code. With `renew`, a master key that is there
    /// is replaced and the terminal's working keys are forgotten.
    ///
    /// # Errors
    /// The terminal has a master key and `renew` is not set; no randomness; the file cannot be replaced.
    fn enrol_terminal(&self, terminal: &TerminalId, renew: bool) -> Result<Enrolment, KeyError>;

    /// Fresh working keys for a terminal, as its sign-in answer carries them. The MAC key before becomes [`Generation::Previous`].
    ///
    /// # Errors
    /// The terminal is not enrolled; no randomness.
    fn sign_in(&self, terminal: &TerminalId) -> Result<SignInField, KeyError>;

    /// Forgets a terminal's working keys.
    fn sign_out(&self, terminal: &TerminalId);

    /// MAC of an answer to a sign-in.
    ///
    /// # Errors
    /// The terminal is not enrolled.
    fn sign_in_mac(&self, terminal: &TerminalId, input: &[u8]) -> Result<[u8; 8], KeyError>;

    /// Verifies the MAC of a sign-in, in constant time.
    ///
    /// # Errors
    /// The terminal is not enrolled.
    fn verify_sign_in_mac(
        &self,
        terminal: &TerminalId,
        input: &[u8],
        mac: &[u8; 8],
    ) -> Result<bool, KeyError>;

    /// MAC of a host message under one of the terminal's MAC keys: AES-CMAC, leftmost 8 bytes.
    ///
    /// # Errors
    /// The terminal has no such key.
    fn host_mac(
        &self,
        terminal: &TerminalId,
        generation: Generation,
        parts: &[&[u8]],
    ) -> Result<[u8; 8], KeyError>;

    /// Verifies a host message's MAC under the terminal's current or previous MAC key, in constant time.
    ///
    /// # Errors
    /// The terminal has no such key.
    fn verify_host_mac(
        &self,
        terminal: &TerminalId,
        generation: Generation,
        parts: &[&[u8]],
        mac: &[u8; 8],
    ) -> Result<bool, KeyError>;

    /// Forgets the terminal's previous MAC key (its grace is over), so that only the current one verifies.
    fn forget_previous(&self, terminal: &TerminalId);

    /// Signs the head of a ledger's chain in an acquirer's name: ECDSA over P-256 with SHA-256, `r ‖ s`. The acquirer's key is made when
    /// it is needed first.
    ///
    /// # Errors
    /// No randomness; the file cannot be replaced; the module cannot sign.
    fn sign_head(&self, acquirer: u64, message: &[u8]) -> Result<[u8; 64], KeyError>;

    /// The public key under which an acquirer's heads verify: SEC 1, compressed.
    ///
    /// # Errors
    /// The acquirer has none yet.
    fn head_key(&self, acquirer: u64) -> Result<HeadKey, KeyError>;

    /// A PAN as a token: the same PAN gives the same token, and without the module's key nobody can go from one to the other.
    ///
    /// # Errors
    /// Not 8 to 19 digits.
    fn pan_token(&self, digits: &[u8]) -> Result<[u8; 16], KeyError>;
}

/// Public key of signed heads: SEC 1, compressed.
pub type HeadKey = [u8; 33];

/// Whether this is the signature of that message under a head key. A key or signature that is none is a wrong one.
#[must_use]
pub fn head_verifies(key: &HeadKey, message: &[u8], signature: &[u8; 64]) -> bool {
    soft::head::verifies(key, message, signature)
}

/// Field 62 of a sign-in's answer: see [`protocol::working_keys::AesWorkingKeys`].
pub type SignInField = [u8; protocol::working_keys::AES_FIELD_BYTES];

/// A new terminal's master key on its way.
#[derive(Debug)]
pub struct Enrolment {
    /// Opens the block; shown to a person once, kept nowhere.
    pub code: protocol::signin::OneTimeCode,
    /// TR-31 D, usage K1/A/B, 112 characters.
    pub block: [u8; 112],
}

/// Which of a terminal's MAC keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Of the newest sign-in.
    Current,
    /// Of the one before.
    Previous,
}
