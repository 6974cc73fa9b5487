//! Deliberate bugs that the simulation must find (docs/reliability.md): a checker that has never seen a mistake proves nothing.
//!
//! Each [`Tooth`] bites at the place in the product where a person would really make that mistake, by one line that asks
//! [`bites`]. Outside a build with `--cfg tapline_teeth` that is a constant `false`, and nothing of the bug is compiled. The cfg is
//! no Cargo feature, so no dependent can switch it on; `scripts/teeth` alone sets it, in a target folder of its own, and a
//! test finds the marker of such a build in no program.
//!
//! In a build with teeth nothing bites until [`choose`] picks one, for the whole process; only the simulation does.

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tooth {
    /// The debit leaves without its intent in the journal.
    DropIntent = 1,
    /// A record that comes in two messages is booked twice.
    CountDuplicate,
    /// A request that was reversed before it came is approved when it comes.
    AcceptReversed,
    /// The card takes a load without looking at the issuer's MAC2.
    SkipMac2,
    /// The SAM answers a sequence number before it is durable, and never makes it so.
    ReuseTermSeq,
    /// The reversal of a load frees the money although MAC2 has left.
    VoidAfterMac2,
    /// An offline record is credited to whoever uploads it.
    CreditUploader,
    /// Recovery asks for the proof at the counter before the debit, not after it.
    ProveCounterBefore,
    /// A record that the host answered 91 for is taken out of the outbox.
    LoseAnswered91,
    /// A settlement that comes again is taken for a new one.
    SettleTwice,
    /// The terminal goes on as if the journal had stored the entry that it refused.
    IgnoreStoreFailure,
    /// The backend answers without waiting for what the commit says.
    AnswerBeforeCommit,
}

impl Tooth {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::DropIntent,
        Self::CountDuplicate,
        Self::AcceptReversed,
        Self::SkipMac2,
        Self::ReuseTermSeq,
        Self::VoidAfterMac2,
        Self::CreditUploader,
        Self::ProveCounterBefore,
        Self::LoseAnswered91,
        Self::SettleTwice,
        Self::IgnoreStoreFailure,
        Self::AnswerBeforeCommit,
    ];

    /// What it is called on the command line of the simulation and in docs/reliability.md.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DropIntent => "drop-intent",
            Self::CountDuplicate => "count-duplicate",
            Self::AcceptReversed => "accept-reversed",
            Self::SkipMac2 => "skip-mac2",
            Self::ReuseTermSeq => "reuse-term-seq",
            Self::VoidAfterMac2 => "void-after-mac2",
            Self::CreditUploader => "credit-uploader",
            Self::ProveCounterBefore => "prove-counter-before",
            Self::LoseAnswered91 => "lose-answered-91",
            Self::SettleTwice => "settle-twice",
            Self::IgnoreStoreFailure => "ignore-store-failure",
            Self::AnswerBeforeCommit => "answer-before-commit",
        }
    }
}

#[cfg(not(tapline_teeth))]
mod build {
    /// Whether this build can bite.
    pub const SHARP: bool = false;

    /// Whether this bug is to happen now: never.
    #[must_use]
    pub const fn bites(_: super::Tooth) -> bool {
        false
    }

    /// Picks the bug that happens from now on in this process. In this build none can.
    pub const fn choose(_: Option<super::Tooth>) {}
}

#[cfg(tapline_teeth)]
mod build {
    use core::sync::atomic::{AtomicU8, Ordering};

    /// Whether this build can bite.
    pub const SHARP: bool = true;
    /// What every program of such a build contains, and no other does.
    const MARKER: &str = "tapline_teeth: this build makes mistakes on purpose";

    static CHOSEN: AtomicU8 = AtomicU8::new(0);

    /// Whether this bug is to happen now.
    #[must_use]
    pub fn bites(tooth: super::Tooth) -> bool {
        // What is looked at stays in the program.
        core::hint::black_box(MARKER);
        CHOSEN.load(Ordering::Relaxed) == tooth as u8
    }

    /// Picks the bug that happens from now on in this process; `None`: none.
    pub fn choose(tooth: Option<super::Tooth>) {
        CHOSEN.store(tooth.map_or(0, |tooth| tooth as u8), Ordering::Relaxed);
    }
}

pub use build::{SHARP, bites, choose};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_cfg_no_tooth_bites_even_if_it_is_chosen() {
        for tooth in Tooth::ALL {
            choose(Some(tooth));
            assert_eq!(bites(tooth), SHARP, "{tooth:?}");
        }
        choose(None);
        assert!(!Tooth::ALL.iter().any(|tooth| bites(*tooth)));
    }

    #[test]
    fn every_tooth_has_a_name_of_its_own() {
        for (index, tooth) in Tooth::ALL.iter().enumerate() {
            assert!(Tooth::ALL.iter().skip(index + 1).all(|other| other.name() != tooth.name()));
        }
    }
}
