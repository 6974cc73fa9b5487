//! MAC1, MAC2, MAC3 and TAC, with exactly the bytes they cover (`purse.md` section 2's table and section 3).
//!
//! Each function joins the parts of its own transaction; the caller cannot leave one out or change the order. Where the
//! two suites cover different things, the caller gives what both need and the suite of the key decides.

use super::keys::{SessionKey, TacKey};
use super::{CappDigest, File15Digest, Moment, PurseMac, Suite, Tac, TransactionType};
use crate::bytes::Writer;
use crate::crypto::{aes128_cmac, des_cbc_mac, sha256};
use crate::ids::{Asn, OfflineCounter, OnlineCounter, SamTerminal, TermSeq};
use crate::money::CardAmount;

/// Bytes of the TAC input of suite 10.
pub const TAC_INPUT_BYTES: usize = 54;

impl SessionKey {
    fn mac(&self, parts: &[&[u8]]) -> PurseMac {
        match self {
            Self::Des(key) => PurseMac::from_des(des_cbc_mac(key.expose(), [0; 8], parts)),
            Self::Aes(key) => PurseMac::from_cmac(aes128_cmac(key.expose(), parts)),
        }
    }

    /// MAC1 of a purchase or CAPP: the SAM's, over what it is about to take.
    #[must_use]
    pub fn purchase_mac1(&self, purchase: &PurchaseTerms) -> PurseMac {
        let PurchaseTerms { amount, kind, terminal, term_seq, moment, digest } = purchase;
        let (amount, kind, moment) = (amount.to_bytes(), [kind.byte()], moment.to_bytes());
        match self.suite() {
            Suite::Des => self.mac(&[&amount, &kind, &terminal.0, &moment]),
            Suite::Aes => {
                self.mac(&[&amount, &kind, &terminal.0, &term_seq.0.to_be_bytes(), &moment, &digest.0])
            }
        }
    }

    /// MAC2 of a purchase or CAPP: the card's, over what it has taken.
    #[must_use]
    pub fn purchase_mac2(
        &self,
        amount: CardAmount,
        balance_new: CardAmount,
        counter: OfflineCounter,
        file15: &File15Digest,
    ) -> PurseMac {
        match self.suite() {
            Suite::Des => self.mac(&[&amount.to_bytes()]),
            Suite::Aes => {
                self.mac(&[&amount.to_bytes(), &balance_new.to_bytes(), &counter.0.to_be_bytes(), &file15.0])
            }
        }
    }

    /// MAC1 of a load or unload: the card's, over what it holds and is asked for.
    #[must_use]
    pub fn host_mac1(&self, host: &HostTerms, balance_old: CardAmount, asn: &Asn) -> PurseMac {
        let HostTerms { amount, kind, terminal, counter } = host;
        let (balance, amount, kind) = (balance_old.to_bytes(), amount.to_bytes(), [kind.byte()]);
        match self.suite() {
            Suite::Des => self.mac(&[&balance, &amount, &kind, &terminal.0]),
            Suite::Aes => {
                self.mac(&[&balance, &amount, &kind, &terminal.0, &asn.0, &counter.0.to_be_bytes()])
            }
        }
    }

    /// MAC2 of a load or unload: the issuer's, its consent.
    #[must_use]
    pub fn host_mac2(&self, host: &HostTerms, moment: Moment) -> PurseMac {
        let HostTerms { amount, kind, terminal, counter } = host;
        let (amount, kind, moment) = (amount.to_bytes(), [kind.byte()], moment.to_bytes());
        match self.suite() {
            Suite::Des => self.mac(&[&amount, &kind, &terminal.0, &moment]),
            Suite::Aes => self.mac(&[&amount, &kind, &terminal.0, &moment, &counter.0.to_be_bytes()]),
        }
    }

    /// MAC3 of an unload: the card's receipt, with the session key in both suites.
    #[must_use]
    pub fn unload_mac3(&self, host: &HostTerms, balance_new: CardAmount, moment: Moment) -> PurseMac {
        let HostTerms { amount, kind, terminal, counter } = host;
        self.mac(&[
            &balance_new.to_bytes(),
            &counter.0.to_be_bytes(),
            &amount.to_bytes(),
            &[kind.byte()],
            &terminal.0,
            &moment.to_bytes(),
        ])
    }
}

/// What a purchase agrees on: covered by MAC1 and, for the issuer, by the TAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PurchaseTerms {
    /// Amount to take.
    pub amount: CardAmount,
    /// [`TransactionType::Purchase`] or [`TransactionType::CappPurchase`].
    pub kind: TransactionType,
    /// The SAM's terminal number.
    pub terminal: SamTerminal,
    /// The SAM's sequence number.
    pub term_seq: TermSeq,
    /// Local date and time.
    pub moment: Moment,
    /// Digest of the CAPP cache (suite 10; zeros otherwise).
    pub digest: CappDigest,
}

/// What a load or unload agrees on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostTerms {
    /// Amount to add or return.
    pub amount: CardAmount,
    /// [`TransactionType::Load`] or [`TransactionType::Unload`].
    pub kind: TransactionType,
    /// The terminal's number.
    pub terminal: SamTerminal,
    /// The card's online counter, as INIT answered it.
    pub counter: OnlineCounter,
}

/// Everything a TAC covers in either suite. Loads have sequence number 0 and no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TacTerms {
    /// The card.
    pub asn: Asn,
    /// The counter of the transaction's kind, as INIT answered it.
    pub counter: u16,
    /// Balance after the transaction.
    pub balance_new: CardAmount,
    /// Amount moved.
    pub amount: CardAmount,
    /// Transaction type.
    pub kind: TransactionType,
    /// Terminal number.
    pub terminal: SamTerminal,
    /// The SAM's sequence number, 0 for loads.
    pub term_seq: TermSeq,
    /// Local date and time (the host's for loads).
    pub moment: Moment,
    /// Digest of the CAPP cache, zeros if there was none.
    pub digest: CappDigest,
}

impl TacTerms {
    /// Of a purchase or CAPP.
    #[must_use]
    pub fn purchase(
        asn: Asn,
        counter: OfflineCounter,
        balance_new: CardAmount,
        terms: &PurchaseTerms,
    ) -> Self {
        let PurchaseTerms { amount, kind, terminal, term_seq, moment, digest } = *terms;
        Self { asn, counter: counter.0, balance_new, amount, kind, terminal, term_seq, moment, digest }
    }

    /// Of a load.
    #[must_use]
    pub fn load(asn: Asn, balance_new: CardAmount, host: &HostTerms, moment: Moment) -> Self {
        let HostTerms { amount, kind, terminal, counter } = *host;
        Self {
            asn,
            counter: counter.0,
            balance_new,
            amount,
            kind,
            terminal,
            term_seq: TermSeq(0),
            moment,
            digest: CappDigest::default(),
        }
    }

    /// The 54 bytes of suite 10 ("TAC input"), also covered by the evidence signature.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; TAC_INPUT_BYTES] {
        let mut out = [0; TAC_INPUT_BYTES];
        let mut writer = Writer::new(&mut out);
        let parts: [&[u8]; 9] = [
            &self.asn.0,
            &self.counter.to_be_bytes(),
            &self.balance_new.to_bytes(),
            &self.amount.to_bytes(),
            &[self.kind.byte()],
            &self.terminal.0,
            &self.term_seq.0.to_be_bytes(),
            &self.moment.to_bytes(),
            &self.digest.0,
        ];
        // The parts are 54 bytes by their types.
        let _ = parts.iter().try_for_each(|part| writer.put(part));
        out
    }
}

impl TacKey {
    /// The suite of the key.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.0.suite()
    }

    /// The TAC over these terms.
    #[must_use]
    pub fn tac(&self, terms: &TacTerms) -> Tac {
        match &self.0 {
            SessionKey::Aes(key) => Tac::from_cmac(aes128_cmac(key.expose(), &[&terms.to_bytes()])),
            SessionKey::Des(key) => {
                let (amount, kind, moment) =
                    (terms.amount.to_bytes(), [terms.kind.byte()], terms.moment.to_bytes());
                let mac = if terms.kind == TransactionType::Load {
                    let (balance, counter) = (terms.balance_new.to_bytes(), terms.counter.to_be_bytes());
                    des_cbc_mac(
                        key.expose(),
                        [0; 8],
                        &[&balance, &counter, &amount, &kind, &terms.terminal.0, &moment],
                    )
                } else {
                    let sequence = terms.term_seq.0.to_be_bytes();
                    des_cbc_mac(
                        key.expose(),
                        [0; 8],
                        &[&amount, &kind, &terms.terminal.0, &sequence, &moment],
                    )
                };
                Tac::from_des(mac)
            }
        }
    }

    /// Whether the card made this TAC over these terms. In constant time.
    #[must_use]
    pub fn verify(&self, terms: &TacTerms, tac: &Tac) -> bool {
        self.tac(terms) == *tac
    }
}

impl File15Digest {
    /// Of the bytes of file 15.
    #[must_use]
    pub fn of(file15: &[u8]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = sha256(&[file15]);
        Self([a, b, c, d, e, f, g, h])
    }
}

/// Builds the [`CappDigest`] from the UPDATE CAPP DATA CACHE commands in their order.
#[derive(Clone, Debug, Default)]
pub struct CappDigester {
    hash: sha2::Sha256,
    any: bool,
}

impl CappDigester {
    /// Adds one command: `P1 ‖ P2 ‖ Lc ‖ data`. `record` is at most 255 bytes, as the command is short.
    pub fn add(&mut self, p1: u8, p2: u8, record: &[u8]) {
        use sha2::Digest as _;
        let lc = u8::try_from(record.len()).unwrap_or(u8::MAX);
        self.hash.update([p1, p2, lc]);
        self.hash.update(record);
        self.any = true;
    }

    /// The digest; zeros if nothing was added.
    #[must_use]
    pub fn finish(&self) -> CappDigest {
        use sha2::Digest as _;
        if !self.any {
            return CappDigest::default();
        }
        let digest: [u8; 32] = self.hash.clone().finalize().into();
        let mut out = [0; 16];
        out.iter_mut().zip(digest).for_each(|(slot, byte)| *slot = byte);
        CappDigest(out)
    }
}
