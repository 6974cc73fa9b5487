//! Keys that change in the middle of a history: the issuers' second version, beside the first, and a terminal's master key, renewed by
//! enrolling it again. What is signed under the old ones stays what it is; what comes under dead ones is refused and counts for nothing.

use super::plan::Rekey;
use super::world::{World, terminal_id, till_name};
use card_applet_sim::issue::IssuerKeys;
use flow::profile::{IssuerProfile, Profile};
use protocol::ids::{IssuerId, KeyIndex, KeyVersion};
use protocol::purse::Suite;
use std::sync::OnceLock;

/// The version that cards are issued under at first.
pub const FIRST: KeyVersion = KeyVersion(1);
/// The version that the issuers bring in the middle.
pub const SECOND: KeyVersion = KeyVersion(2);

/// The two issuers in both versions of their keys, and what terminals accept of them.
#[derive(Debug)]
pub struct Scheme {
    /// First both in the first version, then both in the second.
    issuers: [IssuerKeys; 4],
    old: Profile,
    new: Profile,
}

impl Scheme {
    /// The one scheme of all histories.
    pub fn get() -> &'static Self {
        static SCHEME: OnceLock<Scheme> = OnceLock::new();
        SCHEME.get_or_init(|| {
            let keys = |suite, issuer, version, seed| IssuerKeys {
                issuer,
                version,
                ..IssuerKeys::for_tests(suite, seed)
            };
            let (aes, des) = (IssuerKeys::for_tests(Suite::Aes, 1).issuer, IssuerId(*b"TAPLDES\0"));
            let issuers = [
                keys(Suite::Aes, aes, FIRST, 1),
                keys(Suite::Des, des, FIRST, 2),
                keys(Suite::Aes, aes, SECOND, 3),
                keys(Suite::Des, des, SECOND, 4),
            ];
            let accepting = |versions: &[KeyVersion]| Profile {
                issuers: issuers.iter().take(2).map(|issuer| profile_of(issuer, versions)).collect(),
            };
            let (old, new) = (accepting(&[FIRST]), accepting(&[FIRST, SECOND]));
            Self { issuers, old, new }
        })
    }

    /// Both issuers' keys, in both versions.
    #[must_use]
    pub const fn issuers(&self) -> &[IssuerKeys; 4] {
        &self.issuers
    }

    /// What a SAM holds: an old one the first version alone.
    #[must_use]
    pub fn in_sam(&self, old: bool) -> &[IssuerKeys] {
        if old { &self.issuers[..2] } else { &self.issuers }
    }

    /// What a terminal accepts: by an old profile the first version alone.
    #[must_use]
    pub const fn profile(&self, old: bool) -> &Profile {
        if old { &self.old } else { &self.new }
    }

    /// The keys of an issuer's cards.
    #[must_use]
    pub fn keys(&self, suite: Suite, version: KeyVersion) -> &IssuerKeys {
        let [aes, des, new_aes, new_des] = &self.issuers;
        match (suite, version) {
            (Suite::Aes, FIRST) => aes,
            (Suite::Des, FIRST) => des,
            (Suite::Aes, _) => new_aes,
            (Suite::Des, _) => new_des,
        }
    }
}

fn profile_of(keys: &IssuerKeys, versions: &[KeyVersion]) -> IssuerProfile {
    let aid: &[u8] = match keys.suite() {
        Suite::Aes => &protocol::purse::AID_SUITE_10,
        Suite::Des => &protocol::purse::AID_SUITE_00,
    };
    IssuerProfile {
        issuer: keys.issuer,
        aid: flow::profile::Aid::from_slice(aid).expect("an AID fits"),
        suite: keys.suite(),
        key_versions: heapless_of(versions),
        key_index: KeyIndex(1),
        upper_factors: heapless_of(&keys.upper_factors),
        currency: keys.currency,
        single_payment_max: keys.limits.payment,
    }
}

fn heapless_of<T: Copy, C: FromIterator<T>>(items: &[T]) -> C {
    items.iter().copied().collect()
}

impl World {
    /// Keys of a terminal change, or what it accepts.
    pub(super) fn rekey(&mut self, terminal: usize, what: Rekey) {
        let till = till_name(terminal);
        match what {
            Rekey::Profile => {
                self.terminals[terminal].profile = Scheme::get().profile(false);
                self.coverage.reached("keys", "new profile");
                self.tell(|| format!("{till} gets a profile with the new key version."));
            }
            Rekey::Renew => {
                // An operator runs the command at the one gateway that there is.
                let Some(tmk) = self.acquirer.renew(terminal_id(terminal)) else { return };
                let waiting = self.terminals[terminal].journal.outbox().waiting();
                let waits = [
                    (waiting.reversals > 0, "a reversal waiting"),
                    (waiting.confirmations > 0, "a confirmation waiting"),
                    (waiting.records > 0, "records waiting"),
                    (super::desk::is_busy(self, terminal), "an errand under way"),
                ];
                self.terminals[terminal].renewed = Some(tmk);
                self.coverage.reached("keys", "master key renewed");
                for (_, with) in waits.into_iter().filter(|(is, _)| *is) {
                    self.coverage.reached("master key renewed with", with);
                }
                self.tell(|| format!("⚡ {till} is enrolled again; the gateway has a new master key."));
            }
            Rekey::Provision => {
                let Some(tmk) = self.terminals[terminal].renewed.take() else { return };
                // The command opens the journal itself: whatever the terminal was at has ended before.
                self.reboot(terminal);
                let clock = self.clock();
                let it = &mut self.terminals[terminal];
                it.crash(clock);
                it.tmk = tmk;
                self.coverage.reached("keys", "provisioned again");
                self.tell(|| format!("{till} takes its new master key."));
            }
        }
    }
}
