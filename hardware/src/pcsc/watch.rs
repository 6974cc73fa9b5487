//! What is attached: a listing, and a wait for it to change (hot plug).

use super::service::{Service, Waited};
use crate::{Atr, Canceller, ReaderError, SlotState};
use core::fmt;
use pcsc::{PNP_NOTIFICATION, ReaderState, State};
use std::ffi::CString;
use std::time::Duration;

/// Most readers that a listing shows; pcsc-lite knows no more than 16.
pub const READERS_MAX: usize = 16;

/// One reader of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderInfo {
    /// Its name.
    pub name: String,
    /// What its slot holds.
    pub state: SlotState,
    /// The ATR of the card in it.
    pub atr: Option<Atr>,
}

impl fmt::Display for ReaderInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            SlotState::Empty => "empty",
            SlotState::Present => "card present",
            SlotState::Mute => "card does not answer",
            SlotState::InUse => "in use by another program",
        };
        write!(f, "{}: {state}", self.name)
    }
}

/// The attached readers and what they hold.
///
/// # Errors
/// No daemon, or no right to use it. No reader is an empty listing, not an error.
pub fn list() -> Result<Vec<ReaderInfo>, ReaderError> {
    ReaderWatch::default().now()
}

/// Watches which readers are attached and what they hold.
#[derive(Default)]
pub struct ReaderWatch {
    service: Service,
    states: Vec<ReaderState>,
}

impl fmt::Debug for ReaderWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReaderWatch")
    }
}

impl ReaderWatch {
    /// The listing now.
    ///
    /// # Errors
    /// As [`list`].
    pub fn now(&mut self) -> Result<Vec<ReaderInfo>, ReaderError> {
        let names = self.service.names()?;
        self.states = std::iter::once(ReaderState::new(PNP_NOTIFICATION(), State::UNAWARE))
            .chain(
                names
                    .into_iter()
                    .take(READERS_MAX)
                    .filter_map(|name| Some(ReaderState::new(CString::new(name).ok()?, State::UNAWARE))),
            )
            .collect();
        match self.service.wait(&mut self.states, Duration::ZERO) {
            Ok(Waited::Changed) | Err(ReaderError::Timeout) => {}
            // A reader left between the two calls, or all did: the next call looks again.
            Ok(Waited::Restarted) | Err(ReaderError::NoReader) => self.states.clear(),
            Err(error) => return Err(error),
        }
        self.states.iter_mut().for_each(ReaderState::sync_current_state);
        Ok(self.states.iter().skip(1).filter_map(info).collect())
    }

    /// Waits until a reader or a card comes or goes since the last listing, at most `timeout`, and lists again.
    ///
    /// # Errors
    /// As [`list`]; [`ReaderError::Timeout`], [`ReaderError::Cancelled`].
    pub fn wait_change(&mut self, timeout: Duration) -> Result<Vec<ReaderInfo>, ReaderError> {
        if self.states.is_empty() {
            self.service.context_patiently(timeout)?;
            return self.now();
        }
        match self.service.wait(&mut self.states, timeout) {
            Ok(_) | Err(ReaderError::NoReader) => self.now(),
            Err(error) => {
                if !matches!(error, ReaderError::Timeout | ReaderError::Cancelled) {
                    self.states.clear();
                }
                Err(error)
            }
        }
    }

    /// A handle for another thread to end a wait with.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.service.canceller()
    }
}

fn info(state: &ReaderState) -> Option<ReaderInfo> {
    let flags = state.event_state();
    if flags.intersects(State::UNKNOWN | State::UNAVAILABLE) {
        return None;
    }
    let slot = if !flags.contains(State::PRESENT) {
        SlotState::Empty
    } else if flags.contains(State::MUTE) {
        SlotState::Mute
    } else if flags.contains(State::EXCLUSIVE) {
        SlotState::InUse
    } else {
        SlotState::Present
    };
    let atr = Some(state.atr()).filter(|atr| flags.contains(State::PRESENT) && !atr.is_empty());
    Some(ReaderInfo {
        name: state.name().to_string_lossy().into_owned(),
        state: slot,
        atr: atr.and_then(Atr::new),
    })
}
