//! Error codes (`TL-1101`), who has to act, and the exit codes of the processes.
//!
//! The constants are made from `errors.toml` when the crate is built: `console::code::NO_READER`.

use std::fmt;
use std::process::ExitCode;

/// Who has to act before it can go better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// The customer's card, or whoever issued it.
    Card,
    /// The acquirer's host or the way to it.
    Host,
    /// This machine: reader, SAM, disk, clock.
    Hardware,
    /// The person at this machine or the one who configured it.
    Operator,
    /// Nobody outside: our own mistake.
    Bug,
}

impl Party {
    /// The name in `errors.toml` and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Host => "host",
            Self::Hardware => "hardware",
            Self::Operator => "operator",
            Self::Bug => "bug",
        }
    }
}

/// How a process ends. Payment outcomes are 10–19, failures follow BSD's `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Done; a payment is approved.
    Success,
    /// Wrong arguments (as `clap` ends).
    Usage,
    /// The payment is declined: no money moved, and another try with this card will not help.
    Declined,
    /// No money moved; present the card again.
    TryAgain,
    /// A debit was interrupted: present the *same* card again.
    SameCard,
    /// No money moved; this card cannot pay here, another may.
    OtherCard,
    /// Nobody presented a card in time, or the payment was cancelled; no money moved.
    NoCard,
    /// Money may have moved; the record is kept and the host will decide.
    Uncertain,
    /// Nothing was taken now: an earlier, interrupted payment of this card turned out to be paid.
    EarlierPaid,
    /// The host refused, or could not be reached for something that needs it.
    Host,
    /// `doctor` found something wrong.
    ChecksFailed,
    /// A reader, the SAM or the clock does not work (`EX_UNAVAILABLE`).
    Unavailable,
    /// Our own mistake (`EX_SOFTWARE`).
    Bug,
    /// The disk or what is stored on it (`EX_IOERR`).
    Storage,
    /// The configuration (`EX_CONFIG`).
    Config,
}

impl Exit {
    /// Every way to end, for the documentation.
    pub const ALL: &[Self] = &[
        Self::Success,
        Self::Usage,
        Self::Declined,
        Self::TryAgain,
        Self::SameCard,
        Self::OtherCard,
        Self::NoCard,
        Self::Uncertain,
        Self::EarlierPaid,
        Self::Host,
        Self::ChecksFailed,
        Self::Unavailable,
        Self::Bug,
        Self::Storage,
        Self::Config,
    ];

    /// The number that the shell sees.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Usage => 2,
            Self::Declined => 10,
            Self::TryAgain => 11,
            Self::SameCard => 12,
            Self::OtherCard => 13,
            Self::NoCard => 14,
            Self::Uncertain => 15,
            Self::EarlierPaid => 16,
            Self::Host => 20,
            Self::ChecksFailed => 30,
            Self::Unavailable => 69,
            Self::Bug => 70,
            Self::Storage => 74,
            Self::Config => 78,
        }
    }

    /// Its message in the Fluent files (`exit-…`), which says what it means.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Success => "exit-success",
            Self::Usage => "exit-usage",
            Self::Declined => "exit-declined",
            Self::TryAgain => "exit-try-again",
            Self::SameCard => "exit-same-card",
            Self::OtherCard => "exit-other-card",
            Self::NoCard => "exit-no-card",
            Self::Uncertain => "exit-uncertain",
            Self::EarlierPaid => "exit-earlier-paid",
            Self::Host => "exit-host",
            Self::ChecksFailed => "exit-checks-failed",
            Self::Unavailable => "exit-unavailable",
            Self::Bug => "exit-bug",
            Self::Storage => "exit-storage",
            Self::Config => "exit-config",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// One row of `errors.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code {
    number: u16,
    message: &'static str,
    party: Party,
    exit: Exit,
}

impl Code {
    /// The message in the Fluent files, and the code's name in JSON: `no-reader`.
    #[must_use]
    pub const fn message(self) -> &'static str {
        self.message
    }

    /// Who has to act.
    #[must_use]
    pub const fn party(self) -> Party {
        self.party
    }

    /// How the process ends that fails with it.
    #[must_use]
    pub const fn exit(self) -> Exit {
        self.exit
    }

    /// The row with this message id, if there is one: for codes that were stored.
    #[must_use]
    pub fn named(message: &str) -> Option<Self> {
        ALL.iter().copied().find(|code| code.message == message)
    }
}

impl fmt::Display for Code {
    /// `TL-1101`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TL-{:04}", self.number)
    }
}

include!(concat!(env!("OUT_DIR"), "/codes.rs"));

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_number_is_given_twice_and_all_have_four_digits() {
        let numbers: HashSet<u16> = ALL.iter().map(|code| code.number).collect();
        assert_eq!(numbers.len(), ALL.len());
        assert!(ALL.iter().all(|code| (1000..=9999).contains(&code.number)));
        assert_eq!(NO_DAEMON.to_string(), "TL-1101");
        assert_eq!(Code::named("no-daemon"), Some(NO_DAEMON));
    }

    #[test]
    fn scripts_can_tell_the_ways_to_end_apart() {
        let numbers: HashSet<u8> = Exit::ALL.iter().map(|exit| exit.number()).collect();
        assert_eq!(numbers.len(), Exit::ALL.len());
    }
}
