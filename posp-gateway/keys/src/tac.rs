//! TACs by the batch: the key above the card is prepared once and remembered, the card's own key costs two AES blocks and
//! a key schedule, so no cache of card keys is needed.

use aes::Aes128;
use cmac::{Cmac, KeyInit, Mac};
use protocol::ids::Factor;
use protocol::purse::Suite;
use protocol::purse::keys::PurseKey;
use protocol::purse::mac::TacTerms;
use protocol::purse::{PurseError, Tac};

/// The key one step above the cards, ready to diversify.
#[derive(Clone)]
pub(crate) enum Prepared {
    /// Suite 00.
    Des(PurseKey),
    /// Suite 10: with its key schedule and CMAC subkeys.
    Aes(Box<Cmac<Aes128>>),
}

impl Prepared {
    /// From the issuer's master and the factors above the card (wire order; applied from the last to the first).
    pub(crate) fn new(master: &PurseKey, upper: &[Factor]) -> Self {
        let key = upper.iter().rev().fold(master.clone(), |key, factor| key.diversify_step(factor));
        match key.suite() {
            Suite::Des => Self::Des(key),
            Suite::Aes => Self::Aes(Box::new(<Cmac<Aes128> as KeyInit>::new(key.expose().into()))),
        }
    }

    /// The suite of the key.
    pub(crate) const fn suite(&self) -> Suite {
        match self {
            Self::Des(_) => Suite::Des,
            Self::Aes(_) => Suite::Aes,
        }
    }

    /// The TAC that this card makes over these terms.
    pub(crate) fn tac(&self, card: &Factor, terms: &TacTerms) -> Result<Tac, PurseError> {
        match self {
            Self::Des(key) => Ok(key.diversify_step(card).tac_key().tac(terms)),
            Self::Aes(above) => {
                let mut step = [0x01; 9];
                if let Some(slot) = step.last_chunk_mut::<8>() {
                    *slot = card.0;
                }
                let key = above.as_ref().clone().chain_update(step).finalize().into_bytes();
                let mac = <Cmac<Aes128> as KeyInit>::new(&key).chain_update(terms.to_bytes()).finalize();
                Tac::from_bytes(Suite::Aes, mac.into_bytes().first_chunk::<8>().unwrap_or(&[0; 8]))
            }
        }
    }
}
