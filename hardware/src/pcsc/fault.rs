//! What the codes of PC/SC (part 5 and pcsc-lite's own reading of it) mean to a terminal.

use crate::ReaderError;
use pcsc::Error;

/// During what a code arose: the same code means different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum During<'a> {
    /// Reaching the daemon, or waiting.
    Service,
    /// Powering the card in the named reader up, or resetting it.
    PowerUp(&'a str),
    /// An exchange with the card in the named reader.
    Exchange(&'a str),
}

/// The meaning of a code. `NoDaemon` is decided by [`daemon_is_lost`] codes only after asking the daemon again.
pub(super) fn meaning(error: Error, during: During<'_>) -> ReaderError {
    match error {
        Error::NoService | Error::ServiceStopped | Error::Shutdown => ReaderError::NoDaemon,
        Error::NoAccess | Error::SecurityViolation => ReaderError::NoAccess,
        Error::NoReadersAvailable => ReaderError::NoReader,
        Error::UnknownReader | Error::ReaderUnavailable => match during {
            During::Service => ReaderError::NoReader,
            During::PowerUp(reader) | During::Exchange(reader) => {
                ReaderError::Unplugged { reader: reader.to_owned() }
            }
        },
        Error::SharingViolation => ReaderError::InUse,
        Error::NoSmartcard | Error::RemovedCard => match during {
            During::Exchange(_) => ReaderError::CardRemoved,
            During::PowerUp(_) | During::Service => ReaderError::NoCard,
        },
        Error::ResetCard => ReaderError::CardReset,
        Error::UnresponsiveCard | Error::UnpoweredCard | Error::UnsupportedCard | Error::ProtoMismatch => {
            match during {
                During::Exchange(_) => ReaderError::Comm,
                During::PowerUp(_) | During::Service => ReaderError::CardMute,
            }
        }
        Error::CommError | Error::CommDataLost | Error::NotTransacted => ReaderError::Comm,
        Error::InvalidHandle => match during {
            During::Exchange(_) => ReaderError::Comm,
            During::PowerUp(_) | During::Service => other(error),
        },
        Error::Timeout => match during {
            During::Exchange(_) => ReaderError::Comm,
            During::PowerUp(_) | During::Service => ReaderError::Timeout,
        },
        Error::Cancelled | Error::SystemCancelled => ReaderError::Cancelled,
        _ => other(error),
    }
}

fn other(error: Error) -> ReaderError {
    // The crate's discriminants are the codes of PC/SC.
    ReaderError::Other { code: error as u32, text: error.to_string() }
}

/// Codes that libpcsclite gives when the daemon died under a call, or when a handle is older than the daemon: whether
/// the daemon is gone or only the handle, a new context tells.
pub(super) const fn daemon_is_lost(error: Error) -> bool {
    matches!(
        error,
        Error::NoService
            | Error::ServiceStopped
            | Error::Shutdown
            | Error::InvalidHandle
            | Error::CommError
            | Error::InternalError
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fault;

    #[test]
    fn the_same_code_means_what_the_moment_makes_of_it() {
        assert_eq!(meaning(Error::RemovedCard, During::Exchange("r")), ReaderError::CardRemoved);
        assert_eq!(meaning(Error::NoSmartcard, During::PowerUp("r")), ReaderError::NoCard);
        assert_eq!(meaning(Error::UnpoweredCard, During::PowerUp("r")), ReaderError::CardMute);
        assert_eq!(
            meaning(Error::ReaderUnavailable, During::Exchange("r")),
            ReaderError::Unplugged { reader: "r".into() }
        );
    }

    #[test]
    fn whatever_breaks_an_exchange_leaves_the_command_uncertain() {
        for error in [
            Error::CommError,
            Error::NotTransacted,
            Error::InvalidHandle,
            Error::NoService,
            Error::RemovedCard,
            Error::Timeout,
            Error::ReaderUnavailable,
            Error::InternalError,
            Error::UnknownError,
        ] {
            assert!(meaning(error, During::Exchange("r")).may_have_run(), "{error}");
        }
    }

    #[test]
    fn an_unforeseen_code_keeps_its_number() {
        let error = meaning(Error::NoMemory, During::Service);
        assert_eq!(error.to_string(), format!("PC/SC reports \"{}\" (0x80100006)", Error::NoMemory));
        assert_eq!(error.fault(), Fault::Reader);
    }
}
