//! One slot of a PC/SC reader.

use super::fault::During;
use super::pattern::{ReaderPair, ReaderPattern};
use super::service::{Service, Waited};
use crate::{ATR_BYTES_MAX, Atr, Canceller, CardEvent, CardReader, Malformed, ReaderError};
use core::fmt;
use pcsc::{Card, Disposition, Error, PNP_NOTIFICATION, Protocol, Protocols, ReaderState, ShareMode, State};
use std::ffi::{CStr, CString};
use std::time::{Duration, Instant};

/// Longest command APDU: extended header, 65 535 bytes of data, extended Le.
pub const COMMAND_BYTES_MAX: usize = 65_544;
/// Room for the names that `SCardStatus` gives for one slot; pcsc-lite bounds a name to 128 bytes.
const SLOT_NAMES_BYTES_MAX: usize = 512;

/// Whether other programs may talk to the card during a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody else may. A payment wants this.
    #[default]
    Exclusive,
    /// Others may; one of them may reset the card ([`ReaderError::CardReset`]).
    Shared,
}

/// A connected card and the protocol that was agreed with it.
struct Session {
    card: Card,
    protocol: Option<Protocol>,
}

/// What is known of the slot: its state, and the pseudo reader that changes when readers come and go.
struct Watched {
    states: [ReaderState; 2],
}

/// One slot of a PC/SC reader, chosen by a pattern. Creating it touches nothing; the daemon and the device may come
/// later, and may go and come back.
pub struct PcscReader {
    pattern: ReaderPattern,
    sharing: Sharing,
    name: Option<CString>,
    /// The chosen name as text, or the pattern while none is chosen.
    label: String,
    service: Service,
    session: Option<Session>,
    watched: Option<Watched>,
    seen: CardEvent,
    /// The daemon's event counter when `Inserted` was reported: another value means that the card was swapped.
    seen_count: u32,
    /// `label` is a reader's name.
    named: bool,
    /// The last attempt to find the device failed, and was reported.
    missing: bool,
}

impl fmt::Debug for PcscReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PcscReader").field("name", &self.label).finish_non_exhaustive()
    }
}

impl PcscReader {
    /// The slot that `pattern` chooses.
    #[must_use]
    pub fn new(pattern: ReaderPattern, sharing: Sharing) -> Self {
        Self {
            label: pattern.to_string(),
            pattern,
            sharing,
            name: None,
            service: Service::default(),
            session: None,
            watched: None,
            seen: CardEvent::Removed,
            seen_count: 0,
            named: false,
            missing: false,
        }
    }

    /// The slot for cards and the slot of the SAM, see [`ReaderPair::discover`].
    ///
    /// # Errors
    /// No daemon, no reader, or no unique choice.
    pub fn pair(card: &ReaderPattern, sam: &ReaderPattern) -> Result<(Self, Option<Self>), ReaderError> {
        let names = Service::default().names()?;
        let pair = ReaderPair::discover(&names, card, sam)?;
        let open = |name: &str| Self::new(ReaderPattern::like(name), Sharing::Exclusive);
        Ok((open(&pair.card), pair.sam.as_deref().map(open)))
    }

    /// The name of the attached reader that the pattern chooses.
    fn chosen(&mut self) -> Result<CString, ReaderError> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let names = self.service.names()?;
        let name = match self.pattern.choose(&names) {
            Ok(name) => name,
            // A reader that was there is unplugged; from then on it is a missing one.
            Err(ReaderError::NoReader | ReaderError::NoSuchReader { .. }) if self.named => {
                return Err(self.unplugged());
            }
            Err(error) => return Err(error),
        };
        let chosen = CString::new(name).map_err(|_| ReaderError::NoReader)?;
        self.label = name.to_owned();
        self.name = Some(chosen.clone());
        self.named = true;
        self.missing = false;
        Ok(chosen)
    }

    /// The device or the daemon is gone: choose anew next time. A card that was reported went with it.
    fn forget_device(&mut self) {
        self.name = None;
        self.watched = None;
        self.seen = CardEvent::Removed;
        self.session = None;
    }

    /// Draws the consequence of an error for what is known of the device.
    fn note(&mut self, error: &ReaderError) {
        match error {
            ReaderError::Unplugged { .. } | ReaderError::NoReader => drop(self.unplugged()),
            ReaderError::NoDaemon => self.forget_device(),
            _ => {}
        }
    }

    fn fail(&mut self, error: Error, during: During<'_>) -> ReaderError {
        let error = self.service.diagnose(error, during);
        self.note(&error);
        tracing::debug!(reader = %self.label, %error, "the reader failed");
        error
    }

    /// Waits for a device that fits, which was already reported as missing.
    fn await_device(&mut self, timeout: Duration) -> Result<(), ReaderError> {
        let mut pnp = [ReaderState::new(PNP_NOTIFICATION(), State::UNAWARE)];
        // The first call only fetches how many readers there are, so that one which comes before the second is seen.
        match self.service.wait(&mut pnp, Duration::ZERO) {
            Ok(_) | Err(ReaderError::Timeout) => {}
            Err(error) => return Err(error),
        }
        let [state] = &mut pnp;
        state.sync_current_state();
        match self.chosen() {
            Ok(_) => return Ok(()),
            Err(ReaderError::NoReader | ReaderError::NoSuchReader { .. }) => {}
            Err(error) => return Err(error),
        }
        self.service.wait(&mut pnp, timeout).map(|_| ())
    }

    /// The slot's state as far as it is known, choosing the device first if need be.
    fn watched(&mut self, timeout: Duration) -> Result<&mut Watched, ReaderError> {
        if self.watched.is_none() {
            self.service.context_patiently(timeout)?;
            if self.missing {
                self.await_device(timeout)?;
            }
            let name = match self.chosen() {
                Ok(name) => name,
                Err(error) => {
                    self.missing |= matches!(error, ReaderError::NoReader | ReaderError::NoSuchReader { .. });
                    return Err(error);
                }
            };
            let watched = Watched::new(&name);
            return Ok(self.watched.insert(watched));
        }
        self.watched.as_mut().ok_or(ReaderError::NoReader)
    }

    /// The event that the known state owes, if any.
    fn owed(&self) -> Option<(CardEvent, u32)> {
        let [slot, _] = &self.watched.as_ref()?.states;
        let present = slot.current_state().contains(State::PRESENT);
        let count = slot.event_count();
        match self.seen {
            CardEvent::Removed if present => Some((CardEvent::Inserted, count)),
            CardEvent::Inserted if !present || count != self.seen_count => Some((CardEvent::Removed, count)),
            CardEvent::Inserted | CardEvent::Removed => None,
        }
    }

    /// One wait: an event, or `None` if something changed that is none.
    fn step(&mut self, timeout: Duration) -> Result<Option<CardEvent>, ReaderError> {
        self.watched(timeout)?;
        if let Some((event, count)) = self.owed() {
            self.seen = event;
            self.seen_count = count;
            return Ok(Some(event));
        }
        let Some(mut watched) = self.watched.take() else {
            return Ok(None);
        };
        let outcome = self.service.wait(&mut watched.states, timeout);
        match outcome {
            Ok(Waited::Restarted) => {
                // The old daemon's session and card went with it, also if the card is in the field of the new one.
                let seen = self.seen;
                self.forget_device();
                Ok((seen == CardEvent::Inserted).then_some(CardEvent::Removed))
            }
            Ok(Waited::Changed) => {
                watched.states.iter_mut().for_each(ReaderState::sync_current_state);
                let [slot, _] = &watched.states;
                if slot.current_state().intersects(State::UNKNOWN | State::UNAVAILABLE) {
                    return Err(self.unplugged());
                }
                self.watched = Some(watched);
                Ok(None)
            }
            Err(ReaderError::NoReader) => Err(self.unplugged()),
            Err(error @ (ReaderError::Timeout | ReaderError::Cancelled)) => {
                self.watched = Some(watched);
                Err(error)
            }
            Err(error) => {
                self.forget_device();
                Err(error)
            }
        }
    }

    fn unplugged(&mut self) -> ReaderError {
        let reader = std::mem::replace(&mut self.label, self.pattern.to_string());
        self.forget_device();
        self.named = false;
        self.missing = true;
        ReaderError::Unplugged { reader }
    }

    fn open(&mut self, name: &CStr) -> Result<Session, ReaderError> {
        let sharing = match self.sharing {
            Sharing::Exclusive => ShareMode::Exclusive,
            Sharing::Shared => ShareMode::Shared,
        };
        let label = self.label.clone();
        let card = self
            .service
            .call(During::PowerUp(&label), |context| context.connect(name, sharing, Protocols::ANY))
            .inspect_err(|error| self.note(error))?;
        Ok(Session { card, protocol: None })
    }

    /// Reads ATR and protocol of a session that was just powered up or reset.
    fn begin(&mut self, mut session: Session) -> Result<Atr, ReaderError> {
        let mut names = [0; SLOT_NAMES_BYTES_MAX];
        let mut atr = [0; ATR_BYTES_MAX];
        let label = self.label.clone();
        let status = session
            .card
            .status2(&mut names, &mut atr)
            .map_err(|error| self.fail(error, During::PowerUp(&label)))?;
        session.protocol = status.protocol2();
        let atr = Atr::new(status.atr()).ok_or(ReaderError::CardMute)?;
        self.session = Some(session);
        Ok(atr)
    }
}

impl Watched {
    fn new(name: &CStr) -> Self {
        Self {
            states: [
                ReaderState::new(name, State::UNAWARE),
                ReaderState::new(PNP_NOTIFICATION(), State::UNAWARE),
            ],
        }
    }
}

/// T=0 has no field for Le beside data: a short case 4 command goes out without it, and the card answers `61xx`
/// (ISO/IEC 7816-3, section 12.2.1).
fn as_sent(command: &[u8], protocol: Option<Protocol>) -> &[u8] {
    match (protocol, command) {
        (Some(Protocol::T0), [_, _, _, _, data, rest @ ..])
            if *data != 0 && rest.len() == usize::from(*data).saturating_add(1) =>
        {
            command.split_last().map_or(command, |(_, without_le)| without_le)
        }
        _ => command,
    }
}

impl CardReader for PcscReader {
    fn name(&self) -> &str {
        &self.label
    }

    fn next_event(&mut self, timeout: Duration) -> Result<CardEvent, ReaderError> {
        let started = Instant::now();
        loop {
            if let Some(event) = self.step(timeout.saturating_sub(started.elapsed()))? {
                return Ok(event);
            }
        }
    }

    fn connect(&mut self) -> Result<Atr, ReaderError> {
        self.disconnect()?;
        let name = self.chosen()?;
        let session = self.open(&name)?;
        self.begin(session)
    }

    fn transmit(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, ReaderError> {
        if command.len() < 4 || command.len() > COMMAND_BYTES_MAX {
            return Err(ReaderError::BadCommand);
        }
        let Some(session) = &self.session else {
            return Err(ReaderError::NotConnected);
        };
        let room = answer.len();
        match session.card.transmit(as_sent(command, session.protocol), answer) {
            // vpcd reports a card that vanished under a command as a success without a byte.
            Ok([]) => Err(ReaderError::Comm),
            Ok(got) if got.len() < 2 => Err(ReaderError::BadAnswer(Malformed::NoStatusWord)),
            Ok(got) => Ok(got.len()),
            Err(Error::InsufficientBuffer) => Err(ReaderError::AnswerTooLong { room }),
            Err(error) => {
                let label = self.label.clone();
                Err(self.fail(error, During::Exchange(&label)))
            }
        }
    }

    fn reset(&mut self) -> Result<Atr, ReaderError> {
        let Some(mut session) = self.session.take() else {
            return Err(ReaderError::NotConnected);
        };
        let sharing = match self.sharing {
            Sharing::Exclusive => ShareMode::Exclusive,
            Sharing::Shared => ShareMode::Shared,
        };
        let label = self.label.clone();
        session
            .card
            .reconnect(sharing, Protocols::ANY, Disposition::ResetCard)
            .map_err(|error| self.fail(error, During::Exchange(&label)))?;
        self.begin(session)
    }

    fn disconnect(&mut self) -> Result<(), ReaderError> {
        if let Some(session) = self.session.take()
            && let Err((card, error)) = session.card.disconnect(Disposition::UnpowerCard)
        {
            // The card or the daemon is gone, and the session with it.
            tracing::debug!(reader = %self.label, %error, "disconnected a session that was already lost");
            drop(card);
        }
        Ok(())
    }

    fn canceller(&self) -> Canceller {
        self.service.canceller()
    }
}

impl Drop for PcscReader {
    /// Leaves the card without power, as `disconnect` does; the bare handle would only reset it.
    fn drop(&mut self) {
        let _lost_before = self.disconnect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_case_4_command_loses_its_le_over_t0_only() {
        let command = [0x00, 0xA4, 0x00, 0x00, 0x02, 0x3F, 0x00, 0x00];
        assert_eq!(as_sent(&command, Some(Protocol::T0)), &command[..7]);
        assert_eq!(as_sent(&command, Some(Protocol::T1)), command);
        for other in [&command[..7], &command[..5], &command[..4], &[0, 0xA4, 0, 0, 0, 0, 1, 0x3F, 0][..]] {
            assert_eq!(as_sent(other, Some(Protocol::T0)), other);
        }
    }

    #[test]
    fn without_a_session_nothing_is_sent() {
        let mut reader = PcscReader::new(ReaderPattern::only(), Sharing::Exclusive);
        assert_eq!(reader.transmit(&[0; 4], &mut [0; 4]), Err(ReaderError::NotConnected));
        assert_eq!(reader.transmit(&[0; 3], &mut [0; 4]), Err(ReaderError::BadCommand));
        assert_eq!(reader.reset(), Err(ReaderError::NotConnected));
        assert_eq!(reader.disconnect(), Ok(()));
        assert_eq!(reader.name(), "the only reader");
    }
}
