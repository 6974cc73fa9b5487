//! A reader in memory: the card is a closure or a [`MemoryCard`] of the same process, and a [`MemorySlot`] in another
//! hand inserts and removes it. Cards live elsewhere: this crate only carries bytes to them.

use crate::{Atr, Canceller, CardEvent, CardReader, Malformed, ReaderError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What became of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// The card answered with this many bytes of the buffer.
    Answer(usize),
    /// The card's power failed under the command: it is out of the field, whatever it did.
    Removed,
    /// The card stayed silent.
    Silent,
    /// The card's answer does not fit into the buffer.
    TooLong,
}

/// What happens to a card's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Power up (cold).
    On,
    /// A reset under power (warm).
    Reset,
    /// Power down.
    Off,
}

/// A card of the same process. Every `FnMut(&[u8], &mut [u8]) -> Exchange` is one that does not care about power.
pub trait MemoryCard {
    /// Executes one command and writes its answer.
    fn exchange(&mut self, command: &[u8], answer: &mut [u8]) -> Exchange;

    /// The power changed: anything but `Off` starts a session, and volatile state is lost in every case.
    fn power(&mut self, _power: Power) {}
}

impl<F: FnMut(&[u8], &mut [u8]) -> Exchange> MemoryCard for F {
    fn exchange(&mut self, command: &[u8], answer: &mut [u8]) -> Exchange {
        self(command, answer)
    }
}

struct Slot<C> {
    /// The card and its ATR; it stays here between removal and insertion.
    card: C,
    atr: Atr,
    present: bool,
    powered: bool,
    /// Counts insertions and removals, so that a swap between two waits is seen.
    changes: u64,
    cancelled: bool,
}

struct Shared<C> {
    slot: Mutex<Slot<C>>,
    changed: Condvar,
}

impl<C> Shared<C> {
    /// A card that panicked leaves a poisoned lock; the slot itself is still consistent.
    fn lock(&self) -> MutexGuard<'_, Slot<C>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: MemoryCard> Slot<C> {
    fn power_down(&mut self) {
        if self.powered {
            self.powered = false;
            self.card.power(Power::Off);
        }
    }

    fn set_present(&mut self, present: bool) {
        if self.present != present {
            self.power_down();
            self.present = present;
            self.changes = self.changes.wrapping_add(1);
        }
    }
}

/// The reader's side of the slot.
pub struct MemoryReader<C> {
    name: String,
    shared: Arc<Shared<C>>,
    seen: CardEvent,
    seen_changes: u64,
    connected: bool,
    /// `changes` at `connect`: another value means that the card left meanwhile.
    session_changes: u64,
}

/// The card's side of the slot: a hand that inserts and removes it.
pub struct MemorySlot<C> {
    shared: Arc<Shared<C>>,
}

impl<C> Clone for MemorySlot<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C> std::fmt::Debug for MemoryReader<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryReader").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<C> std::fmt::Debug for MemorySlot<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemorySlot")
    }
}

impl<C: MemoryCard> MemorySlot<C> {
    /// Puts the card into the field.
    pub fn insert(&self) {
        self.shared.lock().set_present(true);
        self.shared.changed.notify_all();
    }

    /// Takes the card out of the field: it loses power at once.
    pub fn remove(&self) {
        self.shared.lock().set_present(false);
        self.shared.changed.notify_all();
    }

    /// Looks at the card, or changes it, between commands.
    pub fn with_card<T>(&self, look: impl FnOnce(&mut C) -> T) -> T {
        look(&mut self.shared.lock().card)
    }
}

impl<C: MemoryCard> MemoryReader<C> {
    /// A reader with `card` in the field. The card answers to reset with `atr`.
    #[must_use]
    pub fn new(name: &str, atr: Atr, card: C) -> Self {
        let slot = Slot { card, atr, present: true, powered: false, changes: 1, cancelled: false };
        Self {
            name: name.to_owned(),
            shared: Arc::new(Shared { slot: Mutex::new(slot), changed: Condvar::new() }),
            seen: CardEvent::Removed,
            seen_changes: 0,
            connected: false,
            session_changes: 0,
        }
    }

    /// The hand that inserts and removes the card.
    #[must_use]
    pub fn slot(&self) -> MemorySlot<C> {
        MemorySlot { shared: Arc::clone(&self.shared) }
    }

    fn power(&mut self, power: Power) -> Result<Atr, ReaderError> {
        let mut slot = self.shared.lock();
        if !slot.present {
            self.connected = false;
            return Err(ReaderError::NoCard);
        }
        slot.powered = true;
        slot.card.power(power);
        self.connected = true;
        self.session_changes = slot.changes;
        Ok(slot.atr)
    }

    /// The event that the slot owes, if any.
    fn owed(seen: CardEvent, seen_changes: u64, slot: &Slot<C>) -> Option<CardEvent> {
        match seen {
            CardEvent::Removed if slot.present => Some(CardEvent::Inserted),
            CardEvent::Inserted if slot.changes != seen_changes => Some(CardEvent::Removed),
            CardEvent::Inserted | CardEvent::Removed => None,
        }
    }
}

impl<C: MemoryCard + Send + 'static> CardReader for MemoryReader<C> {
    fn name(&self) -> &str {
        &self.name
    }

    fn next_event(&mut self, timeout: Duration) -> Result<CardEvent, ReaderError> {
        let started = Instant::now();
        let mut slot = self.shared.lock();
        loop {
            if std::mem::take(&mut slot.cancelled) {
                return Err(ReaderError::Cancelled);
            }
            if let Some(event) = Self::owed(self.seen, self.seen_changes, &slot) {
                self.seen = event;
                self.seen_changes = slot.changes;
                return Ok(event);
            }
            let left = timeout.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(ReaderError::Timeout);
            }
            slot = self.shared.changed.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn connect(&mut self) -> Result<Atr, ReaderError> {
        self.disconnect()?;
        self.power(Power::On)
    }

    fn transmit(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, ReaderError> {
        if !self.connected {
            return Err(ReaderError::NotConnected);
        }
        let mut slot = self.shared.lock();
        if slot.changes != self.session_changes {
            self.connected = false;
            return Err(ReaderError::CardRemoved);
        }
        match slot.card.exchange(command, answer) {
            Exchange::Answer(length) if length > answer.len() => {
                Err(ReaderError::AnswerTooLong { room: answer.len() })
            }
            Exchange::Answer(length) if length < 2 => Err(ReaderError::BadAnswer(Malformed::NoStatusWord)),
            Exchange::Answer(length) => Ok(length),
            Exchange::TooLong => Err(ReaderError::AnswerTooLong { room: answer.len() }),
            Exchange::Silent => Err(ReaderError::Comm),
            Exchange::Removed => {
                slot.set_present(false);
                self.connected = false;
                Err(ReaderError::CardRemoved)
            }
        }
    }

    fn reset(&mut self) -> Result<Atr, ReaderError> {
        if !self.connected {
            return Err(ReaderError::NotConnected);
        }
        if self.shared.lock().changes != self.session_changes {
            self.connected = false;
            return Err(ReaderError::CardRemoved);
        }
        self.power(Power::Reset)
    }

    fn disconnect(&mut self) -> Result<(), ReaderError> {
        if std::mem::take(&mut self.connected) {
            let mut slot = self.shared.lock();
            if slot.changes == self.session_changes {
                slot.power_down();
            }
        }
        Ok(())
    }

    fn canceller(&self) -> Canceller {
        let shared = Arc::clone(&self.shared);
        Canceller::new(move || {
            shared.lock().cancelled = true;
            shared.changed.notify_all();
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(20);

    #[derive(Default)]
    struct Counting {
        commands: u8,
        powers: Vec<Power>,
    }

    impl MemoryCard for Counting {
        fn exchange(&mut self, _command: &[u8], answer: &mut [u8]) -> Exchange {
            self.commands += 1;
            answer[..3].copy_from_slice(&[self.commands, 0x90, 0x00]);
            Exchange::Answer(3)
        }

        fn power(&mut self, power: Power) {
            self.commands = 0;
            self.powers.push(power);
        }
    }

    fn atr() -> Atr {
        Atr::new(&[0x3B, 0x80, 0x80, 0x01, 0x01]).unwrap()
    }

    fn counting() -> MemoryReader<Counting> {
        MemoryReader::new("memory", atr(), Counting::default())
    }

    #[test]
    fn a_closure_is_a_card() {
        let mut reader = MemoryReader::new("memory", atr(), |command: &[u8], answer: &mut [u8]| {
            answer[..2].copy_from_slice(&command[..2]);
            Exchange::Answer(2)
        });
        assert_eq!(reader.connect(), Ok(atr()));
        let mut answer = [0; 8];
        assert_eq!(reader.transmit(&[0x00, 0xA4, 0x04, 0x00], &mut answer), Ok(2));
        assert_eq!(answer[..2], [0x00, 0xA4]);
    }

    #[test]
    fn events_come_in_turn_and_a_swap_between_two_waits_is_seen() {
        let mut reader = counting();
        let slot = reader.slot();
        assert_eq!(reader.next_event(TIMEOUT), Ok(CardEvent::Inserted));
        assert_eq!(reader.next_event(TIMEOUT), Err(ReaderError::Timeout));
        slot.remove();
        slot.insert();
        assert_eq!(reader.next_event(TIMEOUT), Ok(CardEvent::Removed));
        assert_eq!(reader.next_event(TIMEOUT), Ok(CardEvent::Inserted));
        assert_eq!(reader.next_event(TIMEOUT), Err(ReaderError::Timeout));
    }

    #[test]
    fn a_wait_ends_when_a_card_comes_or_another_thread_cancels() {
        let mut reader = counting();
        let slot = reader.slot();
        slot.remove();
        let hand = std::thread::spawn(move || slot.insert());
        assert_eq!(reader.wait_for(CardEvent::Inserted, LONG), Ok(()));
        hand.join().unwrap();

        let canceller = reader.canceller();
        let other = std::thread::spawn(move || canceller.cancel());
        assert_eq!(reader.next_event(LONG), Err(ReaderError::Cancelled));
        other.join().unwrap();
        assert_eq!(reader.next_event(TIMEOUT), Err(ReaderError::Timeout), "one cancel ends one wait");
    }

    #[test]
    fn a_removed_card_loses_power_and_ends_the_session_even_if_it_is_back() {
        let mut reader = counting();
        let slot = reader.slot();
        let mut answer = [0; 8];
        reader.connect().unwrap();
        reader.transmit(&[0; 4], &mut answer).unwrap();
        slot.remove();
        slot.insert();
        assert_eq!(reader.transmit(&[0; 4], &mut answer), Err(ReaderError::CardRemoved));
        assert_eq!(reader.transmit(&[0; 4], &mut answer), Err(ReaderError::NotConnected));
        reader.connect().unwrap();
        reader.reset().unwrap();
        reader.disconnect().unwrap();
        assert_eq!(
            slot.with_card(|card| card.powers.clone()),
            [Power::On, Power::Off, Power::On, Power::Reset, Power::Off]
        );
        slot.remove();
        assert_eq!(reader.connect(), Err(ReaderError::NoCard));
    }

    #[test]
    fn bad_lengths_of_a_card_are_errors() {
        for (exchange, error) in [
            (Exchange::Answer(1), ReaderError::BadAnswer(Malformed::NoStatusWord)),
            (Exchange::Answer(9), ReaderError::AnswerTooLong { room: 8 }),
            (Exchange::TooLong, ReaderError::AnswerTooLong { room: 8 }),
            (Exchange::Silent, ReaderError::Comm),
            (Exchange::Removed, ReaderError::CardRemoved),
        ] {
            let mut reader = MemoryReader::new("memory", atr(), move |_: &[u8], _: &mut [u8]| exchange);
            reader.connect().unwrap();
            assert_eq!(reader.transmit(&[0; 4], &mut [0; 8]), Err(error));
        }
    }
}
