//! What can go wrong between a terminal and a card, told apart by who is at fault and what to do about it.

use core::fmt;
use serde::{Deserialize, Serialize};

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The card, or the hand that holds it.
    Card,
    /// The reader, its cable, or its driver.
    Reader,
    /// The machine's set-up: no daemon, no right to use it, an ambiguous configuration.
    Setup,
    /// Another program that uses the reader.
    OtherProgram,
    /// Whoever asked for the operation to stop.
    Caller,
    /// A defect of this software.
    Software,
}

/// The readers that were there when a choice failed, for people: one name a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderListing(pub Vec<String>);

impl fmt::Display for ReaderListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "no readers");
        }
        for (index, name) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}\"{name}\"")?;
        }
        Ok(())
    }
}

/// How an answer breaks the rules of ISO/IEC 7816-4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Malformed {
    /// Fewer than 2 bytes.
    #[error("it has no status word")]
    NoStatusWord,
    /// `61xx` as the whole answer to GET RESPONSE.
    #[error("it announces more and brings nothing")]
    NoProgress,
    /// More rounds of GET RESPONSE than any answer needs.
    #[error("it comes in too many pieces")]
    TooManyPieces,
}

/// Why a reader could not do what was asked.
///
/// No variant carries bytes of a command or an answer: they may hold a PIN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReaderError {
    /// Nothing answers on the PC/SC socket.
    #[error("the smart card service (pcscd) is not running")]
    NoDaemon,
    /// The daemon refuses this user.
    #[error("the smart card service (pcscd) refuses access")]
    NoAccess,
    /// The daemon runs and knows no reader at all.
    #[error("no card reader is attached")]
    NoReader,
    /// Readers are there, but none that was asked for.
    #[error("no reader matches \"{wanted}\"; attached: {found}")]
    NoSuchReader {
        /// The name or pattern that was asked for.
        wanted: String,
        /// What is attached.
        found: ReaderListing,
    },
    /// More than one reader fits, so choosing one would be a guess.
    #[error("several readers fit: {found}")]
    SeveralReaders {
        /// The readers that fit.
        found: ReaderListing,
    },
    /// The reader was there and is gone.
    #[error("the reader \"{reader}\" was unplugged")]
    Unplugged {
        /// Its name.
        reader: String,
    },
    /// Another program holds the reader.
    #[error("another program is using the reader")]
    InUse,
    /// The slot is empty.
    #[error("no card in the field")]
    NoCard,
    /// The card left while it was in use. What the last command did is unknown.
    #[error("the card was removed")]
    CardRemoved,
    /// Someone reset the card: its session is lost. What the last command did is known if it was answered.
    #[error("the card was reset by another program")]
    CardReset,
    /// Something is in the field that does not answer to power.
    #[error("the card does not answer")]
    CardMute,
    /// The exchange broke between reader and card. What the last command did is unknown.
    #[error("the exchange with the card broke")]
    Comm,
    /// Nothing happened in the time that was given.
    #[error("nothing happened in time")]
    Timeout,
    /// Another thread cancelled the wait.
    #[error("the wait was cancelled")]
    Cancelled,
    /// Fewer than the 4 bytes of a header, or more than an extended command has.
    #[error("the command is no APDU")]
    BadCommand,
    /// `transmit` or `reset` without `connect`.
    #[error("the card is not connected")]
    NotConnected,
    /// The answer is longer than the caller's buffer. The command did run.
    #[error("the card's answer does not fit into {room} bytes")]
    AnswerTooLong {
        /// Bytes that the caller offered.
        room: usize,
    },
    /// An answer without a status word, or an endless chain of partial answers.
    #[error("the card's answer is malformed: {0}")]
    BadAnswer(Malformed),
    /// A replayed trace and the session differ.
    #[error("replay differs at exchange {exchange}: {difference}")]
    ReplayDiffers {
        /// Which entry of the trace, counted from 1.
        exchange: usize,
        /// Where they differ, without the bytes.
        difference: String,
    },
    /// Anything else the PC/SC layer says.
    #[error("PC/SC reports \"{text}\" (0x{code:08X})")]
    Other {
        /// The PC/SC code.
        code: u32,
        /// Its text.
        text: String,
    },
}

impl ReaderError {
    /// Who is at fault.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NoDaemon | Self::NoAccess | Self::NoSuchReader { .. } | Self::SeveralReaders { .. } => {
                Fault::Setup
            }
            Self::NoReader | Self::Unplugged { .. } | Self::Other { .. } => Fault::Reader,
            Self::InUse | Self::CardReset => Fault::OtherProgram,
            Self::NoCard
            | Self::CardRemoved
            | Self::CardMute
            | Self::Comm
            | Self::Timeout
            | Self::AnswerTooLong { .. }
            | Self::BadAnswer(_) => Fault::Card,
            Self::Cancelled => Fault::Caller,
            Self::NotConnected | Self::BadCommand | Self::ReplayDiffers { .. } => Fault::Software,
        }
    }

    /// What to do next, for the person at the terminal.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::NoDaemon => {
                "Start the service (`systemctl start pcscd.socket`), or install the package `pcscd`; the terminal \
                 goes on by itself once it runs."
            }
            Self::NoAccess => {
                "Allow this user to use smart cards (a polkit rule for `org.debian.pcsc-lite.access_pcsc`), or run \
                 the terminal as a user who may."
            }
            Self::NoReader | Self::Unplugged { .. } => {
                "Plug the reader in and check its cable; the terminal goes on by itself."
            }
            Self::NoSuchReader { .. } => {
                "Attach that reader, or put the name of an attached one (a part of it is enough) into the \
                 configuration."
            }
            Self::SeveralReaders { .. } => {
                "Name the reader to use for cards, and the one for the SAM, in the configuration (a part of the \
                 name that only one reader has is enough)."
            }
            Self::InUse => "Close the other program that uses the reader, then try again.",
            Self::NoCard | Self::CardRemoved | Self::Comm | Self::Timeout => {
                "Present the card again and hold it still until the terminal confirms."
            }
            Self::CardReset => "Present the card again; close other programs that use the reader.",
            Self::CardMute => "Turn the card over or use another one: this one does not answer.",
            Self::Cancelled => "Nothing: the wait was ended on purpose.",
            Self::AnswerTooLong { .. } | Self::BadAnswer(_) => {
                "Use another card: this one does not follow the rules of ISO 7816."
            }
            Self::NotConnected | Self::BadCommand | Self::ReplayDiffers { .. } => {
                "This is a defect of the software: report it."
            }
            Self::Other { .. } => {
                "Unplug the reader and plug it in again; if that does not help, report the code."
            }
        }
    }

    /// Whether a command that ended with this error may have taken effect in the card: what the journal must list as
    /// uncertain. Only errors that arise before anything is sent are certain.
    #[must_use]
    pub const fn may_have_run(&self) -> bool {
        !matches!(
            self,
            Self::NotConnected
                | Self::BadCommand
                | Self::NoReader
                | Self::NoSuchReader { .. }
                | Self::SeveralReaders { .. }
                | Self::InUse
                | Self::NoCard
                | Self::CardReset
                | Self::ReplayDiffers { .. }
        )
    }

    /// Whether the card session is over: connect again (the reader disconnects the old session first).
    #[must_use]
    pub const fn ends_session(&self) -> bool {
        !matches!(
            self,
            Self::Timeout
                | Self::Cancelled
                | Self::BadCommand
                | Self::AnswerTooLong { .. }
                | Self::BadAnswer(_)
        )
    }

    /// Whether waiting or a hand at the hardware cures it, so that a driver shows the advice and asks the reader again,
    /// rather than giving up.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self.fault() {
            Fault::Card | Fault::Reader | Fault::OtherProgram => true,
            Fault::Setup => matches!(self, Self::NoDaemon | Self::NoSuchReader { .. }),
            Fault::Caller | Fault::Software => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_that_failed_lists_what_is_attached() {
        let error = ReaderError::SeveralReaders {
            found: ReaderListing(vec!["Left 00 00".into(), "Right 01 00".into()]),
        };
        assert_eq!(error.to_string(), "several readers fit: \"Left 00 00\", \"Right 01 00\"");
        assert_eq!(error.fault(), Fault::Setup);
        assert!(!error.is_passing());
    }

    #[test]
    fn a_torn_command_may_have_run_and_an_unsent_one_has_not() {
        for error in [ReaderError::CardRemoved, ReaderError::Comm, ReaderError::AnswerTooLong { room: 2 }] {
            assert!(error.may_have_run(), "{error}");
        }
        for error in [ReaderError::NotConnected, ReaderError::NoCard, ReaderError::CardReset] {
            assert!(!error.may_have_run(), "{error}");
        }
    }
}
