//! A reader that plays a trace back and refuses a session that differs from it.
//!
//! Every call must be the recorded one, in order; the first that is not fails, says which and where, and so does every
//! call after it. Masked bytes of a command equal any; masked bytes of an answer are played as 00.

use super::{Call, Trace, TraceBytes, TraceEntry};
use crate::{Atr, Canceller, CardEvent, CardReader, ReaderError, Sleeper};
use std::time::Duration;

/// Plays a trace. With a [`Sleeper`] each call takes as long as it took.
#[derive(Debug)]
pub struct Replayer<S> {
    reader: String,
    entries: std::vec::IntoIter<TraceEntry>,
    played: usize,
    differs: Option<ReaderError>,
    pace: Option<S>,
}

impl Replayer<fn(Duration)> {
    /// Plays as fast as asked.
    #[must_use]
    pub fn new(trace: Trace) -> Self {
        Self::with(trace, None)
    }
}

impl<S: Sleeper> Replayer<S> {
    /// Plays at the recorded pace.
    #[must_use]
    pub fn paced(trace: Trace, sleeper: S) -> Self {
        Self::with(trace, Some(sleeper))
    }

    fn with(trace: Trace, pace: Option<S>) -> Self {
        Self { reader: trace.reader, entries: trace.entries.into_iter(), played: 0, differs: None, pace }
    }

    /// Ends the session: it must have made every recorded call.
    ///
    /// # Errors
    /// [`ReaderError::ReplayDiffers`]: an earlier difference, or calls that are left.
    pub fn finish(mut self) -> Result<(), ReaderError> {
        if let Some(error) = self.differs.take() {
            return Err(error);
        }
        match self.entries.next() {
            None => Ok(()),
            Some(entry) => {
                let exchange = self.played.saturating_add(1);
                let difference =
                    format!("the session ended, the trace goes on with {}", describe(&entry.call));
                Err(ReaderError::ReplayDiffers { exchange, difference })
            }
        }
    }

    /// The next recorded call, if `choose` takes it; `asked` says what the session asked for.
    fn play<T>(
        &mut self,
        asked: &str,
        choose: impl FnOnce(Call) -> Result<T, String>,
    ) -> Result<T, ReaderError> {
        if let Some(error) = &self.differs {
            return Err(error.clone());
        }
        self.played = self.played.saturating_add(1);
        let chosen = match self.entries.next() {
            None => Err(format!("the trace has ended, the session asks for {asked}")),
            Some(entry) => {
                if let Some(pace) = &mut self.pace {
                    pace.sleep(Duration::from_micros(entry.took_us));
                }
                choose(entry.call)
            }
        };
        chosen.map_err(|difference| {
            let error = ReaderError::ReplayDiffers { exchange: self.played, difference };
            self.differs = Some(error.clone());
            error
        })
    }
}

/// The call without its data, which may hold a PIN.
fn describe(call: &Call) -> String {
    match call {
        Call::NextEvent(_) => "next_event".to_owned(),
        Call::Connect(_) => "connect".to_owned(),
        Call::Reset(_) => "reset".to_owned(),
        Call::Disconnect(_) => "disconnect".to_owned(),
        Call::Transmit { command, .. } => describe_command(command),
    }
}

fn describe_command(command: &TraceBytes) -> String {
    const HEADER_BYTES: usize = 4;
    let header = command.clone().masking(HEADER_BYTES..command.len()).to_string();
    let header: String = header.chars().take(HEADER_BYTES.saturating_mul(2)).collect();
    format!("transmit {header} ({} bytes)", command.len())
}

fn unlike(recorded: &Call, asked: &str) -> String {
    format!("the trace has {}, the session asks for {asked}", describe(recorded))
}

impl<S: Sleeper> CardReader for Replayer<S> {
    fn name(&self) -> &str {
        &self.reader
    }

    fn next_event(&mut self, _timeout: Duration) -> Result<CardEvent, ReaderError> {
        self.play("next_event", |call| match call {
            Call::NextEvent(outcome) => Ok(outcome),
            other => Err(unlike(&other, "next_event")),
        })?
    }

    fn connect(&mut self) -> Result<Atr, ReaderError> {
        self.play("connect", |call| match call {
            Call::Connect(outcome) => Ok(outcome),
            other => Err(unlike(&other, "connect")),
        })?
    }

    fn transmit(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, ReaderError> {
        let asked = describe_command(&TraceBytes::clear(command));
        let recorded = self.play(&asked, |call| match call {
            Call::Transmit { command: recorded, answer } => match recorded.first_difference(command) {
                None => Ok(answer),
                Some(at) => Err(format!(
                    "the trace has {}, the session sends {asked}; they differ from byte {at}",
                    describe_command(&recorded)
                )),
            },
            other => Err(unlike(&other, &asked)),
        })??;
        recorded.copy_to(answer).ok_or(ReaderError::AnswerTooLong { room: answer.len() })
    }

    fn reset(&mut self) -> Result<Atr, ReaderError> {
        self.play("reset", |call| match call {
            Call::Reset(outcome) => Ok(outcome),
            other => Err(unlike(&other, "reset")),
        })?
    }

    fn disconnect(&mut self) -> Result<(), ReaderError> {
        self.play("disconnect", |call| match call {
            Call::Disconnect(outcome) => Ok(outcome),
            other => Err(unlike(&other, "disconnect")),
        })?
    }

    /// A trace never waits, so there is nothing to cancel.
    fn canceller(&self) -> Canceller {
        Canceller::new(|| {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Masking, Recorder, TRACE_CALLS_MAX};
    use crate::{Exchange, MemoryReader};
    use proptest::prelude::*;
    use protocol::time::Mono;

    const ATR: [u8; 2] = [0x3B, 0x00];

    fn ticking() -> impl FnMut() -> Mono {
        let mut now = 0;
        move || {
            now += 1_500;
            Mono(now)
        }
    }

    /// A card whose behaviour depends on the command alone.
    fn echo(command: &[u8], answer: &mut [u8]) -> Exchange {
        match command.first() {
            Some(0xFF) => Exchange::Removed,
            Some(0xFE) => Exchange::Silent,
            Some(0xFD) => Exchange::Answer(1),
            _ => {
                let Some(target) = answer.get_mut(..command.len() + 2) else {
                    return Exchange::TooLong;
                };
                let (data, status) = target.split_at_mut(command.len());
                data.copy_from_slice(command);
                status.copy_from_slice(&[0x90, 0x00]);
                Exchange::Answer(command.len() + 2)
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Do {
        Event,
        Connect,
        Transmit(Vec<u8>),
        Reset,
        Disconnect,
    }

    fn doings() -> impl Strategy<Value = Vec<Do>> {
        let one = prop_oneof![
            2 => Just(Do::Event),
            3 => Just(Do::Connect),
            6 => proptest::collection::vec(any::<u8>(), 0..20).prop_map(Do::Transmit),
            1 => Just(Do::Reset),
            1 => Just(Do::Disconnect),
        ];
        proptest::collection::vec(one, 0..30)
    }

    /// Everything a session sees of a reader.
    fn session(reader: &mut impl CardReader, doings: &[Do]) -> Vec<String> {
        let one = |doing: &Do| match doing {
            Do::Event => format!("{:?}", reader.next_event(Duration::ZERO)),
            Do::Connect => format!("{:?}", reader.connect()),
            Do::Transmit(command) => {
                let mut answer = [0; 16];
                let outcome = reader.transmit(command, &mut answer);
                let bytes = outcome.clone().map(|length| answer[..length].to_vec());
                format!("{outcome:?} {bytes:?}")
            }
            Do::Reset => format!("{:?}", reader.reset()),
            Do::Disconnect => format!("{:?}", reader.disconnect()),
        };
        doings.iter().map(one).collect()
    }

    fn recorded(doings: &[Do], masking: Masking) -> (Vec<String>, Trace) {
        let card = MemoryReader::new("memory", Atr::new(&ATR).unwrap(), echo);
        let mut recorder = Recorder::new(card, ticking(), Vec::new(), masking);
        let seen = session(&mut recorder, doings);
        let text = recorder.finish().1.unwrap();
        (seen, Trace::read(text.as_slice()).unwrap())
    }

    proptest! {
        #[test]
        fn a_replayed_recording_is_the_session_itself(doings in doings()) {
            let (seen, trace) = recorded(&doings, Masking::Off);
            prop_assert_eq!(trace.entries.len(), doings.len());
            let mut replayer = Replayer::new(trace);
            prop_assert_eq!(session(&mut replayer, &doings), seen);
            prop_assert_eq!(replayer.finish(), Ok(()));
        }

        #[test]
        fn a_masked_recording_accepts_the_session_that_made_it(doings in doings()) {
            let (_, trace) = recorded(&doings, Masking::On);
            let mut replayer = Replayer::new(trace);
            session(&mut replayer, &doings);
            prop_assert_eq!(replayer.finish(), Ok(()));
        }
    }

    const SELECT: [u8; 5] = [0x00, 0xA4, 0x00, 0x00, 0x00];
    const VERIFY: [u8; 8] = [0x00, 0x20, 0x00, 0x01, 0x03, 0x12, 0x34, 0x56];

    fn trace(masking: Masking) -> Trace {
        recorded(&[Do::Connect, Do::Transmit(SELECT.into()), Do::Transmit(VERIFY.into())], masking).1
    }

    #[test]
    fn the_first_difference_is_named_and_stays() {
        let mut replayer = Replayer::new(trace(Masking::Off));
        replayer.connect().unwrap();
        let mut other = SELECT;
        other[2] = 4;
        let error = replayer.transmit(&other, &mut [0; 16]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "replay differs at exchange 2: the trace has transmit 00A40000 (5 bytes), the session sends transmit \
             00A40400 (5 bytes); they differ from byte 2"
        );
        assert_eq!(replayer.transmit(&SELECT, &mut [0; 16]), Err(error.clone()));
        assert_eq!(replayer.finish(), Err(error));
    }

    #[test]
    fn a_difference_in_a_pin_is_told_without_the_pin() {
        let mut replayer = Replayer::new(trace(Masking::Off));
        replayer.connect().unwrap();
        replayer.transmit(&SELECT, &mut [0; 16]).unwrap();
        let mut other = VERIFY;
        other[7] = 0x77;
        let text = replayer.transmit(&other, &mut [0; 16]).unwrap_err().to_string();
        assert!(text.ends_with("they differ from byte 7"), "{text}");
        assert!(!text.contains("123456") && !text.contains("77"), "{text}");
    }

    #[test]
    fn another_call_a_missing_call_and_a_call_too_many_differ() {
        let mut replayer = Replayer::new(trace(Masking::Off));
        let text = replayer.reset().unwrap_err().to_string();
        assert!(text.ends_with("the trace has connect, the session asks for reset"), "{text}");

        let mut replayer = Replayer::new(trace(Masking::Off));
        replayer.connect().unwrap();
        let text = replayer.finish().unwrap_err().to_string();
        assert!(text.ends_with("the trace goes on with transmit 00A40000 (5 bytes)"), "{text}");

        let mut replayer = Replayer::new(recorded(&[], Masking::Off).1);
        assert!(replayer.connect().unwrap_err().to_string().contains("the trace has ended"));
    }

    #[test]
    fn a_masked_trace_has_no_pin_and_plays_any() {
        let trace = trace(Masking::On);
        assert!(trace.masked);
        let text = String::from_utf8(trace.write(Vec::new()).unwrap()).unwrap();
        assert!(text.contains("0020000103XXXXXX") && !text.contains("0020000103123456"));
        let mut replayer = Replayer::new(trace);
        replayer.connect().unwrap();
        replayer.transmit(&SELECT, &mut [0; 16]).unwrap();
        let mut other = VERIFY;
        other[5..].copy_from_slice(&[9, 9, 9]);
        assert!(replayer.transmit(&other, &mut [0; 16]).is_ok());
    }

    #[test]
    fn a_paced_replay_takes_the_recorded_time() {
        let mut slept = Duration::ZERO;
        let mut replayer = Replayer::paced(trace(Masking::Off), |time: Duration| slept += time);
        replayer.connect().unwrap();
        replayer.transmit(&SELECT, &mut [0; 16]).unwrap();
        drop(replayer);
        assert_eq!(slept, Duration::from_micros(2), "two calls of one tick each");
    }

    #[test]
    fn a_full_disk_stops_the_recording_and_never_the_exchange() {
        struct Full(usize);
        impl std::io::Write for Full {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let card = MemoryReader::new("memory", Atr::new(&ATR).unwrap(), echo);
        let mut recorder = Recorder::new(card, ticking(), Full(200), Masking::Off);
        recorder.connect().unwrap();
        for _ in 0..5 {
            assert_eq!(recorder.transmit(&SELECT, &mut [0; 16]), Ok(7));
        }
        assert!(recorder.finish().1.is_err());
        const { assert!(TRACE_CALLS_MAX > 0) };
    }
}
