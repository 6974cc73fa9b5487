//! A reader that writes down what passes through it.
//!
//! Recording never changes or fails an exchange: a payment must not depend on a log's disk. The first failure stops the
//! recording and is told by [`Recorder::finish`].

use super::{Call, TraceBytes, TraceEntry, TraceError, TraceWriter, mask};
use crate::{Atr, Canceller, CardEvent, CardReader, Clock, ReaderError};
use protocol::time::Mono;
use std::io::Write;
use std::time::Duration;

/// Whether a trace holds secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Masking {
    /// PINs, keys, account numbers and names are left out.
    #[default]
    On,
    /// Everything is written: for test cards only.
    Off,
}

/// A reader around a reader, with a trace of every call.
#[derive(Debug)]
pub struct Recorder<R, C, W> {
    inner: R,
    clock: C,
    start: Mono,
    masking: Masking,
    writer: Result<TraceWriter<W>, TraceError>,
}

impl<R: CardReader, C: Clock, W: Write> Recorder<R, C, W> {
    /// Starts a recording into `output`; times count from now.
    pub fn new(inner: R, mut clock: C, output: W, masking: Masking) -> Self {
        let start = clock.now();
        let writer = TraceWriter::start(output, inner.name(), masking == Masking::On);
        Self { inner, clock, start, masking, writer }
    }

    /// Ends the recording and returns the reader, and the stream or why the recording is not complete.
    pub fn finish(self) -> (R, Result<W, TraceError>) {
        (self.inner, self.writer.and_then(TraceWriter::finish))
    }

    fn record<T>(&mut self, call: impl FnOnce(&mut R) -> T, describe: impl FnOnce(&T, Masking) -> Call) -> T {
        let began = self.clock.now();
        let outcome = call(&mut self.inner);
        let ended = self.clock.now();
        if let Ok(writer) = &mut self.writer {
            let entry = TraceEntry {
                at_us: micros(self.start, began),
                took_us: micros(began, ended),
                call: describe(&outcome, self.masking),
            };
            if let Err(error) = writer.entry(&entry) {
                tracing::warn!(%error, "the APDU trace stops here");
                self.writer = Err(error);
            }
        }
        outcome
    }
}

const fn micros(from: Mono, to: Mono) -> u64 {
    to.0.saturating_sub(from.0) / 1_000
}

impl<R: CardReader, C: Clock, W: Write> CardReader for Recorder<R, C, W> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn next_event(&mut self, timeout: Duration) -> Result<CardEvent, ReaderError> {
        self.record(|inner| inner.next_event(timeout), |outcome, _| Call::NextEvent(outcome.clone()))
    }

    fn connect(&mut self) -> Result<Atr, ReaderError> {
        self.record(CardReader::connect, |outcome, _| Call::Connect(outcome.clone()))
    }

    fn transmit(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, ReaderError> {
        let (outcome, _) = self.record(
            |inner| {
                let outcome = inner.transmit(command, answer);
                (outcome, &*answer)
            },
            |(outcome, answer), masking| {
                let bytes = |length: &usize| answer.get(..*length).unwrap_or_default();
                let (command, answer) = match masking {
                    Masking::On => (
                        mask::command(command),
                        outcome.as_ref().map(|length| mask::answer(command, bytes(length))),
                    ),
                    Masking::Off => (
                        TraceBytes::clear(command),
                        outcome.as_ref().map(|length| TraceBytes::clear(bytes(length))),
                    ),
                };
                Call::Transmit { command, answer: answer.map_err(Clone::clone) }
            },
        );
        outcome
    }

    fn reset(&mut self) -> Result<Atr, ReaderError> {
        self.record(CardReader::reset, |outcome, _| Call::Reset(outcome.clone()))
    }

    fn disconnect(&mut self) -> Result<(), ReaderError> {
        self.record(CardReader::disconnect, |outcome, _| Call::Disconnect(outcome.clone()))
    }

    fn canceller(&self) -> Canceller {
        self.inner.canceller()
    }
}
