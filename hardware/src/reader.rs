//! The one trait every reader implements, and the small types it speaks in.
//!
//! A session is `next_event` → [`CardEvent::Inserted`], `connect` (power up), any number of `transmit`, `disconnect`
//! (power down), `next_event` → [`CardEvent::Removed`]. Readers are driven by one thread; another one may end a wait
//! through a [`Canceller`].

use crate::ReaderError;
use core::fmt;
use protocol::hex::Hex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest answer of any command: 65 536 bytes of data and the status word.
pub const ANSWER_BYTES_MAX: usize = 65_538;
/// Longest answer to reset (ISO/IEC 7816-3).
pub const ATR_BYTES_MAX: usize = 33;

/// A card came or went. A reader reports these strictly in turn, starting with `Inserted`: a card that is already
/// there at the first call is inserted, and one that was swapped between two calls is reported as removed and then
/// inserted. An error that says the reader or its daemon is gone stands for a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardEvent {
    /// A card is in the field.
    Inserted,
    /// The field is empty.
    Removed,
}

/// Whether a slot holds a card, as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// No card.
    Empty,
    /// A card that answers.
    Present,
    /// A card that does not answer to power.
    Mute,
    /// A card that another program holds exclusively.
    InUse,
}

/// A card's answer to reset: 2 to 33 bytes of ISO/IEC 7816-3 (contactless cards get one from the reader, PC/SC part 3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Atr {
    bytes: [u8; ATR_BYTES_MAX],
    length: u8,
}

impl Atr {
    /// Takes the bytes that a reader reports; more than 33 are none.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut atr = Self { bytes: [0; ATR_BYTES_MAX], length: u8::try_from(bytes.len()).ok()? };
        atr.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(atr)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl fmt::Display for Atr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Hex(self.as_bytes()), f)
    }
}

impl fmt::Debug for Atr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Atr({self})")
    }
}

/// Ends another thread's wait in `next_event`, which then answers [`ReaderError::Cancelled`]. A cancellation that meets
/// no wait ends the next one, so none is lost; several that meet no wait count as one.
#[derive(Clone)]
pub struct Canceller(Arc<dyn Fn() + Send + Sync>);

impl Canceller {
    /// From what a reader does to end its wait.
    #[must_use]
    pub fn new(cancel: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(cancel))
    }

    /// Ends the wait.
    pub fn cancel(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Canceller")
    }
}

/// A slot that cards come to.
pub trait CardReader {
    /// The reader's name, for people and logs.
    fn name(&self) -> &str;

    /// The next arrival or departure of a card, at most `timeout` from now. Waits without polling.
    ///
    /// # Errors
    /// [`ReaderError::Timeout`] if nothing happened, [`ReaderError::Cancelled`] by a [`Canceller`], or what became of
    /// the reader. After an error that [`ReaderError::is_passing`], call again: the reader finds its daemon and its
    /// device again by itself, and pauses where a loop would otherwise spin.
    fn next_event(&mut self, timeout: Duration) -> Result<CardEvent, ReaderError>;

    /// Powers the card up for a fresh session and returns its ATR. An earlier session is disconnected first, so this is
    /// also the way on after any error that [`ReaderError::ends_session`].
    ///
    /// # Errors
    /// No card, a mute card, a reader in use, or what became of the reader.
    fn connect(&mut self) -> Result<Atr, ReaderError>;

    /// Sends one command APDU and returns how many bytes of `answer` its answer has, the status word included: 2 or
    /// more.
    ///
    /// # Errors
    /// [`ReaderError::may_have_run`] tells whether the card may have executed the command.
    fn transmit(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, ReaderError>;

    /// Resets the connected card (warm) and returns its ATR: volatile state is lost, the session goes on.
    ///
    /// # Errors
    /// As `connect`.
    fn reset(&mut self) -> Result<Atr, ReaderError>;

    /// Ends the session and powers the card down. Without a session it does nothing.
    ///
    /// # Errors
    /// What became of the reader; the session is over in any case.
    fn disconnect(&mut self) -> Result<(), ReaderError>;

    /// A handle for another thread to end a wait with.
    fn canceller(&self) -> Canceller;

    /// Waits for `wanted`, letting other events pass; at most `timeout` in all.
    ///
    /// # Errors
    /// As `next_event`.
    fn wait_for(&mut self, wanted: CardEvent, timeout: Duration) -> Result<(), ReaderError> {
        let started = Instant::now();
        loop {
            let left = timeout.saturating_sub(started.elapsed());
            if self.next_event(left)? == wanted {
                return Ok(());
            }
        }
    }
}

impl<R: CardReader + ?Sized> CardReader for Box<R> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn next_event(&mut self, timeout: Duration) -> Result<CardEvent, ReaderError> {
        (**self).next_event(timeout)
    }

    fn connect(&mut self) -> Result<Atr, ReaderError> {
        (**self).connect()
    }

    fn transmit(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, ReaderError> {
        (**self).transmit(command, answer)
    }

    fn reset(&mut self) -> Result<Atr, ReaderError> {
        (**self).reset()
    }

    fn disconnect(&mut self) -> Result<(), ReaderError> {
        (**self).disconnect()
    }

    fn canceller(&self) -> Canceller {
        (**self).canceller()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atr_holds_at_most_33_bytes() {
        assert_eq!(Atr::new(&[0x3B, 0x00]).unwrap().to_string(), "3B00");
        assert!(Atr::new(&[0; ATR_BYTES_MAX]).is_some());
        assert!(Atr::new(&[0; ATR_BYTES_MAX + 1]).is_none());
        assert!(Atr::new(&[0; 300]).is_none());
    }
}
