//! A failure as a person meets it: a code, the particulars its message needs, and what caused it.

use crate::code::{self, Code};
use crate::text::Args;
use std::error::Error;
use std::fmt;

/// What happened (a [`Code`]), to what (its arguments), and why (its source).
///
/// Its `Display` is English and short, for logs; people get [`crate::Texts::failure`].
#[derive(Debug)]
pub struct Failure {
    code: Code,
    args: Args,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure with this code. Give it what its message names with [`Failure::with`].
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self { code, args: Args::new(), source: None }
    }

    /// Adds an argument of the message. Never a key, a PIN or a card number.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.args = self.args.with(name, value);
        self
    }

    /// Adds what caused it; its own `Display` is shown as detail.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The arguments of its message.
    #[must_use]
    pub const fn args(&self) -> &Args {
        &self.args
    }

    /// The first failure in an error's chain; `None` means that nobody said what it means to a person (a bug).
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// For an error that nobody expected.
    #[must_use]
    pub fn unexpected(error: &(dyn Error + 'static)) -> Self {
        Self::new(code::UNEXPECTED).with("detail", chain(error))
    }
}

/// An error and its causes in one line, each once.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        next = cause.source();
    }
    line
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.code.message())?;
        for (name, value) in self.args.iter() {
            write!(f, " {name}={value:?}")?;
        }
        Ok(())
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("while selling")]
    struct Outer(#[source] Failure);

    #[test]
    fn a_failure_is_found_below_what_was_wrapped_around_it() {
        let outer = Outer(Failure::new(code::NO_READER).with("reader", "ACR"));
        assert_eq!(Failure::find(&outer).map(Failure::code), Some(code::NO_READER));
        assert!(Failure::find(&std::io::Error::other("x")).is_none());
        assert_eq!(outer.0.to_string(), "TL-1102 no-reader reader=\"ACR\"");
    }

    #[test]
    fn causes_are_told_once() {
        let inner = std::io::Error::other("disk on fire");
        let failure = Failure::new(code::DISK_FAILED).caused_by(inner);
        assert_eq!(chain(&failure), "TL-1403 disk-failed: disk on fire");
    }
}
