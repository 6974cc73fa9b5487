//! Faults on the way to a card, as middleware around a reader: lost commands, lost answers, tears, delays, garbled
//! answers.
//!
//! What happens when is decided before: either by a script (at exchange k, this fault) or by a seed (so often, this
//! fault), never by randomness of its own: the same seed and the same session give the same faults. Time passes through a
//! [`Sleeper`]. Exchanges are counted from 1, over all sessions.

use crate::{Atr, Canceller, CardEvent, CardReader, ReaderError, Sleeper};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What goes wrong in one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The command never reaches the card; the card stays in the field.
    LoseCommand,
    /// The card executes the command, its answer is lost; the card stays in the field.
    LoseAnswer,
    /// The card leaves the field before the command reaches it.
    TearBefore,
    /// The card leaves the field after it executed the command and before its answer arrives.
    TearAfter,
    /// The answer comes late by this much.
    Delay(Duration),
    /// One bit of the answer flips: the bit of this number, modulo the length of the answer.
    FlipBit(usize),
    /// The answer ends early: this many bytes of it arrive, at least the 2 that any answer has.
    Truncate(usize),
}

/// How often faults happen, in exchanges of 10 000. What is left of 10 000 goes well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultRates {
    /// [`FaultKind::LoseCommand`].
    pub lose_command: u16,
    /// [`FaultKind::LoseAnswer`].
    pub lose_answer: u16,
    /// [`FaultKind::TearBefore`].
    pub tear_before: u16,
    /// [`FaultKind::TearAfter`].
    pub tear_after: u16,
    /// [`FaultKind::Delay`], up to `delay_max`.
    pub delay: u16,
    /// Longest delay.
    pub delay_max: Duration,
    /// [`FaultKind::FlipBit`], at any bit.
    pub flip_bit: u16,
    /// [`FaultKind::Truncate`], at any length.
    pub truncate: u16,
}

/// The state of a pseudo-random sequence (SplitMix64): the seed, and after a run what the next run goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultSeed(pub u64);

impl FaultSeed {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }
}

/// Which faults happen when.
#[derive(Clone, Debug)]
pub enum FaultPlan {
    /// These faults at these exchanges (counted from 1).
    Script(BTreeMap<u64, FaultKind>),
    /// Faults at these rates, drawn from this state.
    Seeded {
        /// How often.
        rates: FaultRates,
        /// The state of the sequence.
        seed: FaultSeed,
    },
}

impl FaultPlan {
    /// One fault at one exchange: "tear after N commands" is `at(N, TearAfter)` or `at(N + 1, TearBefore)`.
    #[must_use]
    pub fn at(exchange: u64, fault: FaultKind) -> Self {
        Self::Script(BTreeMap::from([(exchange, fault)]))
    }

    /// Draws a fixed number of values for each exchange, whatever becomes of it, so that a change of one rate does not
    /// shift the rest of the sequence.
    fn fault(&mut self, exchange: u64) -> Option<FaultKind> {
        match self {
            Self::Script(script) => script.get(&exchange).copied(),
            Self::Seeded { rates, seed } => {
                let mut draw = seed.below(10_000);
                let detail = seed.next();
                rates.kinds(detail).into_iter().find_map(|(rate, kind)| {
                    let rate = u64::from(rate);
                    let hit = draw < rate;
                    draw = draw.saturating_sub(rate);
                    hit.then_some(kind)
                })
            }
        }
    }
}

impl FaultRates {
    fn kinds(&self, detail: u64) -> [(u16, FaultKind); 7] {
        let number = usize::try_from(detail & 0xFFFF_FFFF).unwrap_or(0);
        let delay_us_max = u64::try_from(self.delay_max.as_micros()).unwrap_or(u64::MAX);
        let delay = Duration::from_micros(detail.checked_rem(delay_us_max.saturating_add(1)).unwrap_or(0));
        [
            (self.lose_command, FaultKind::LoseCommand),
            (self.lose_answer, FaultKind::LoseAnswer),
            (self.tear_before, FaultKind::TearBefore),
            (self.tear_after, FaultKind::TearAfter),
            (self.delay, FaultKind::Delay(delay)),
            (self.flip_bit, FaultKind::FlipBit(number)),
            (self.truncate, FaultKind::Truncate(number % 258)),
        ]
    }
}

/// A reader around a reader, with faults between them.
#[derive(Debug)]
pub struct FaultInjector<R, S> {
    inner: R,
    sleeper: S,
    plan: FaultPlan,
    exchanges: u64,
    injected: Vec<(u64, FaultKind)>,
    /// The card was torn out of this session; the card behind is without power.
    torn: bool,
    /// Events of a tear that the session is still to see, before those of the reader inside.
    pending: VecDeque<CardEvent>,
    /// The last event that the session saw: events come in turn through the injector too.
    seen: CardEvent,
}

/// Most injected faults that are remembered.
const INJECTED_MAX: usize = 10_000;

impl<R: CardReader, S: Sleeper> FaultInjector<R, S> {
    /// Faults by `plan` on the way to `inner`.
    #[must_use]
    pub const fn new(inner: R, plan: FaultPlan, sleeper: S) -> Self {
        Self {
            inner,
            sleeper,
            plan,
            exchanges: 0,
            injected: Vec::new(),
            torn: false,
            pending: VecDeque::new(),
            seen: CardEvent::Removed,
        }
    }

    /// What was injected so far, and where (the first 10 000).
    #[must_use]
    pub fn injected(&self) -> &[(u64, FaultKind)] {
        &self.injected
    }

    /// The plan as it stands: a seeded one goes on from here.
    #[must_use]
    pub const fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// The reader inside.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Takes the card's power and lets the session see a removal, then an insertion: the hand comes back.
    fn tear(&mut self) -> ReaderError {
        self.torn = true;
        // A session that never asked for events still has the insertion ahead of it.
        if self.seen == CardEvent::Inserted {
            self.pending = VecDeque::from([CardEvent::Removed, CardEvent::Inserted]);
        }
        match self.inner.disconnect() {
            Ok(()) => ReaderError::CardRemoved,
            Err(error) => error,
        }
    }

    fn garble(&mut self, answer: &mut [u8], kind: FaultKind) -> usize {
        match kind {
            FaultKind::FlipBit(bit) => {
                let at = (bit / 8).checked_rem(answer.len()).unwrap_or(0);
                if let Some(byte) = answer.get_mut(at) {
                    *byte ^= 1 << (bit % 8);
                }
                answer.len()
            }
            FaultKind::Truncate(length) => length.clamp(2, answer.len().max(2)).min(answer.len()),
            _ => answer.len(),
        }
    }

    fn faulty(&mut self, kind: FaultKind, command: &[u8], answer: &mut [u8]) -> Result<usize, ReaderError> {
        match kind {
            FaultKind::LoseCommand => Err(ReaderError::Comm),
            FaultKind::TearBefore => Err(self.tear()),
            FaultKind::LoseAnswer => {
                let outcome = self.inner.transmit(command, answer);
                answer.fill(0);
                outcome.and(Err(ReaderError::Comm))
            }
            FaultKind::TearAfter => {
                let outcome = self.inner.transmit(command, answer);
                answer.fill(0);
                // A reader that failed by itself is not torn a second time.
                outcome.and_then(|_| Err(self.tear()))
            }
            FaultKind::Delay(time) => {
                let outcome = self.inner.transmit(command, answer);
                self.sleeper.sleep(time);
                outcome
            }
            FaultKind::FlipBit(_) | FaultKind::Truncate(_) => {
                let length = self.inner.transmit(command, answer)?;
                Ok(self.garble(answer.get_mut(..length).unwrap_or_default(), kind))
            }
        }
    }
}

impl<R: CardReader, S: Sleeper> CardReader for FaultInjector<R, S> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn next_event(&mut self, timeout: Duration) -> Result<CardEvent, ReaderError> {
        let event = self.pending.pop_front().map_or_else(|| self.inner.next_event(timeout), Ok)?;
        self.seen = event;
        Ok(event)
    }

    fn connect(&mut self) -> Result<Atr, ReaderError> {
        self.torn = false;
        self.inner.connect()
    }

    fn transmit(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, ReaderError> {
        if self.torn {
            return Err(ReaderError::NotConnected);
        }
        self.exchanges = self.exchanges.saturating_add(1);
        match self.plan.fault(self.exchanges) {
            None => self.inner.transmit(command, answer),
            Some(kind) => {
                if self.injected.len() < INJECTED_MAX {
                    self.injected.push((self.exchanges, kind));
                }
                self.faulty(kind, command, answer)
            }
        }
    }

    fn reset(&mut self) -> Result<Atr, ReaderError> {
        if self.torn { Err(ReaderError::NotConnected) } else { self.inner.reset() }
    }

    fn disconnect(&mut self) -> Result<(), ReaderError> {
        self.torn = false;
        self.inner.disconnect()
    }

    fn canceller(&self) -> Canceller {
        self.inner.canceller()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Completing, Exchange, MemoryCard, MemoryReader, MemorySlot, Power};
    use proptest::prelude::*;

    /// Counts what it executed, for ever and since power came.
    #[derive(Debug, Default)]
    struct Counter {
        executed: u8,
        session: u8,
    }

    impl MemoryCard for Counter {
        fn exchange(&mut self, _command: &[u8], answer: &mut [u8]) -> Exchange {
            self.executed = self.executed.wrapping_add(1);
            self.session = self.session.wrapping_add(1);
            answer[..4].copy_from_slice(&[self.executed, self.session, 0x90, 0x00]);
            Exchange::Answer(4)
        }

        fn power(&mut self, _power: Power) {
            self.session = 0;
        }
    }

    type Injector = FaultInjector<MemoryReader<Counter>, fn(Duration)>;

    fn injector(plan: FaultPlan) -> (Injector, MemorySlot<Counter>) {
        let reader = MemoryReader::new("memory", Atr::new(&[0x3B, 0x00]).unwrap(), Counter::default());
        let slot = reader.slot();
        let mut injector: Injector = FaultInjector::new(reader, plan, |_| ());
        assert_eq!(injector.next_event(Duration::ZERO), Ok(CardEvent::Inserted));
        injector.connect().unwrap();
        (injector, slot)
    }

    fn send(reader: &mut Injector) -> Result<Vec<u8>, ReaderError> {
        let mut answer = [0; 8];
        let length = reader.transmit(&[0; 4], &mut answer)?;
        Ok(answer[..length].to_vec())
    }

    #[test]
    fn a_lost_command_never_runs_and_a_lost_answer_did() {
        for (fault, executed) in [(FaultKind::LoseCommand, 0), (FaultKind::LoseAnswer, 1)] {
            let (mut reader, slot) = injector(FaultPlan::at(1, fault));
            assert_eq!(send(&mut reader), Err(ReaderError::Comm));
            assert_eq!(slot.with_card(|card| card.executed), executed);
            assert!(send(&mut reader).is_ok(), "the card stays in the field");
        }
    }

    #[test]
    fn a_lost_answer_leaves_nothing_in_the_buffer() {
        let (mut reader, _slot) = injector(FaultPlan::at(1, FaultKind::LoseAnswer));
        let mut answer = [0; 8];
        reader.transmit(&[0; 4], &mut answer).unwrap_err();
        assert_eq!(answer, [0; 8]);
    }

    #[test]
    fn a_tear_takes_power_and_shows_as_removal_and_insertion() {
        for (fault, executed) in [(FaultKind::TearBefore, 1), (FaultKind::TearAfter, 2)] {
            let (mut reader, slot) = injector(FaultPlan::at(2, fault));
            assert_eq!(send(&mut reader), Ok(vec![1, 1, 0x90, 0x00]));
            assert_eq!(send(&mut reader), Err(ReaderError::CardRemoved));
            assert_eq!(slot.with_card(|card| (card.executed, card.session)), (executed, 0));
            assert_eq!(send(&mut reader), Err(ReaderError::NotConnected));
            assert_eq!(reader.reset(), Err(ReaderError::NotConnected));
            assert_eq!(reader.next_event(Duration::ZERO), Ok(CardEvent::Removed));
            assert_eq!(reader.next_event(Duration::ZERO), Ok(CardEvent::Inserted));
            assert_eq!(reader.next_event(Duration::ZERO), Err(ReaderError::Timeout));
            reader.connect().unwrap();
            assert_eq!(send(&mut reader), Ok(vec![executed + 1, 1, 0x90, 0x00]));
            assert_eq!(reader.injected(), [(2, fault)]);
        }
    }

    #[test]
    fn a_session_that_never_asked_for_events_sees_one_insertion_after_a_tear() {
        let card = MemoryReader::new("memory", Atr::new(&[0x3B, 0x00]).unwrap(), Counter::default());
        let mut reader: Injector = FaultInjector::new(card, FaultPlan::at(1, FaultKind::TearBefore), |_| ());
        reader.connect().unwrap();
        assert_eq!(send(&mut reader), Err(ReaderError::CardRemoved));
        assert_eq!(reader.next_event(Duration::ZERO), Ok(CardEvent::Inserted));
        assert_eq!(reader.next_event(Duration::ZERO), Err(ReaderError::Timeout));
    }

    #[test]
    fn answers_come_late_flipped_or_short() {
        let mut slept = Duration::ZERO;
        let card = MemoryReader::new("memory", Atr::new(&[0x3B, 0x00]).unwrap(), Counter::default());
        let script = FaultPlan::Script(BTreeMap::from([
            (1, FaultKind::Delay(Duration::from_secs(3))),
            (2, FaultKind::FlipBit(8 * 6 + 1)),
            (3, FaultKind::Truncate(3)),
            (4, FaultKind::Truncate(0)),
            (5, FaultKind::Truncate(300)),
        ]));
        let mut reader = FaultInjector::new(card, script, |time| slept += time);
        reader.connect().unwrap();
        let mut answers = Vec::new();
        for _ in 0..5 {
            let mut answer = [0; 8];
            let length = reader.transmit(&[0; 4], &mut answer).unwrap();
            answers.push(answer[..length].to_vec());
        }
        drop(reader);
        assert_eq!(slept, Duration::from_secs(3));
        assert_eq!(
            answers,
            [
                vec![1, 1, 0x90, 0x00],
                vec![2, 2, 0x92, 0x00],
                vec![3, 3, 0x90],
                vec![4, 4],
                vec![5, 5, 0x90, 0x00]
            ]
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_at_about_the_asked_rate() {
        let rates = FaultRates { lose_answer: 1_000, flip_bit: 1_000, ..FaultRates::default() };
        let run = |seed| {
            let (mut reader, _slot) = injector(FaultPlan::Seeded { rates, seed: FaultSeed(seed) });
            for _ in 0..2_000 {
                let _outcome = send(&mut reader);
            }
            reader.injected().to_vec()
        };
        let faults = run(7);
        assert_eq!(faults, run(7));
        assert_ne!(faults, run(8));
        assert!((300..500).contains(&faults.len()), "{} of 2000 at 20 %", faults.len());
    }

    #[test]
    fn a_plan_can_be_carried_on() {
        let rates = FaultRates { flip_bit: 5_000, ..FaultRates::default() };
        let whole = FaultPlan::Seeded { rates, seed: FaultSeed(1) };
        let (mut first, _slot) = injector(whole.clone());
        (0..10).for_each(|_| drop(send(&mut first)));
        let (mut second, _slot) = injector(first.plan().clone());
        (0..10).for_each(|_| drop(send(&mut second)));
        let (mut both, _slot) = injector(whole);
        (0..20).for_each(|_| drop(send(&mut both)));
        let kinds = |list: &[(u64, FaultKind)]| list.iter().map(|(_, kind)| *kind).collect::<Vec<_>>();
        assert_eq!(kinds(both.injected()), [kinds(first.injected()), kinds(second.injected())].concat());
    }

    proptest! {
        #[test]
        fn garbled_answers_of_any_length_never_panic_and_stay_in_the_buffer(
            seed in any::<u64>(),
            given in proptest::collection::vec(any::<u8>(), 0..20),
            room in 0_usize..20,
        ) {
            let card = move |_: &[u8], answer: &mut [u8]| {
                let length = given.len().min(answer.len());
                answer[..length].copy_from_slice(&given[..length]);
                Exchange::Answer(given.len())
            };
            let rates = FaultRates {
                lose_command: 1_000,
                lose_answer: 1_000,
                tear_before: 500,
                tear_after: 500,
                delay: 1_000,
                delay_max: Duration::MAX,
                flip_bit: 3_000,
                truncate: 3_000,
            };
            let inner = MemoryReader::new("memory", Atr::new(&[0x3B, 0x00]).unwrap(), card);
            let faulty = FaultInjector::new(inner, FaultPlan::Seeded { rates, seed: FaultSeed(seed) }, |_: Duration| ());
            let mut reader = Completing::new(faulty);
            for _ in 0..8 {
                reader.connect().unwrap();
                let mut answer = vec![0; room];
                if let Ok(length) = reader.transmit(&[0x00, 0xB0, 0x00, 0x00, 0x00], &mut answer) {
                    prop_assert!((2..=room).contains(&length));
                }
                let _event = reader.next_event(Duration::ZERO);
            }
        }
    }
}
