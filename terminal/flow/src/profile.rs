//! What a terminal accepts: issuers with their suite, keys and limits. It comes from signed parameters or configuration,
//! never from the card alone.

use heapless::Vec;
use protocol::ids::{Factor, IssuerId, KeyIndex, KeyVersion};
use protocol::money::{CardAmount, Currency};
use protocol::purse::Suite;
use protocol::sam::Factors;

/// Most issuers a terminal knows.
pub const ISSUERS_MAX: usize = 16;
/// Most key versions of one issuer in use at a time.
pub const KEY_VERSIONS_MAX: usize = 4;
/// Longest AID (ISO 7816-4).
pub const AID_BYTES_MAX: usize = 16;

/// An application identifier or DF name.
pub type Aid = Vec<u8, AID_BYTES_MAX>;

/// One issuer's purses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerProfile {
    /// Issuer, as in file 15.
    pub issuer: IssuerId,
    /// AID or DF name of its purse application.
    pub aid: Aid,
    /// The one suite that is accepted from this issuer.
    pub suite: Suite,
    /// Versions of the purchase key that are accepted.
    pub key_versions: Vec<KeyVersion, KEY_VERSIONS_MAX>,
    /// Index of the purchase key.
    pub key_index: KeyIndex,
    /// Diversification factors above the card's serial (branch, city), in wire order.
    pub upper_factors: Vec<Factor, 2>,
    /// The currency, fixed by issuer and key version.
    pub currency: Currency,
    /// Most that one offline payment may take.
    pub single_payment_max: CardAmount,
}

impl IssuerProfile {
    /// All diversification factors of a card of this issuer, card serial first.
    #[must_use]
    pub fn factors(&self, own: Factor) -> Factors {
        // 1 + at most 2 always fit in 3.
        core::iter::once(own).chain(self.upper_factors.iter().copied()).collect()
    }
}

/// All issuers of a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// In the order in which their AIDs are tried.
    pub issuers: Vec<IssuerProfile, ISSUERS_MAX>,
}

impl Profile {
    /// The issuer's entry.
    #[must_use]
    pub fn issuer(&self, issuer: IssuerId) -> Option<&IssuerProfile> {
        self.issuers.iter().find(|profile| profile.issuer == issuer)
    }

    /// The `n`th different AID to try.
    #[must_use]
    pub fn aid(&self, n: usize) -> Option<&Aid> {
        let first_of_its_kind = |index: usize, aid: &Aid| {
            self.issuers.iter().position(|profile| profile.aid == *aid) == Some(index)
        };
        let mut aids = self.issuers.iter().enumerate().filter(|(i, p)| first_of_its_kind(*i, &p.aid));
        aids.nth(n).map(|(_, profile)| &profile.aid)
    }
}
