//! The text of a trace: lines out, lines in, the checksum over both.

use super::{
    Call, TRACE_CALLS_MAX, TRACE_FORMAT, TRACE_LINE_BYTES_MAX, TRACE_VERSION, Trace, TraceBytes, TraceEntry,
    TraceError,
};
use crate::{Atr, CardEvent, ReaderError};
use protocol::hex::Hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{BufRead, Read, Write};

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    reader: String,
    masked: bool,
}

#[derive(Serialize, Deserialize)]
struct Trailer {
    calls: usize,
    sha256: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    NextEvent,
    Connect,
    Transmit,
    Reset,
    Disconnect,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Inserted,
    Removed,
}

/// One call as its line shows it: which of the optional fields are there depends on the call.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at_us: u64,
    took_us: u64,
    call: Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<TraceBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<TraceBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    atr: Option<TraceBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Event>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ReaderError>,
}

impl Line {
    fn of(entry: &TraceEntry) -> Self {
        let mut line = Self {
            at_us: entry.at_us,
            took_us: entry.took_us,
            call: Name::Disconnect,
            command: None,
            answer: None,
            atr: None,
            event: None,
            error: None,
        };
        match &entry.call {
            Call::NextEvent(outcome) => {
                line.call = Name::NextEvent;
                line.event = line.take(outcome.clone().map(Event::from));
            }
            Call::Connect(outcome) => {
                line.call = Name::Connect;
                line.atr = line.take(outcome.clone().map(|atr| TraceBytes::clear(atr.as_bytes())));
            }
            Call::Transmit { command, answer } => {
                line.call = Name::Transmit;
                line.command = Some(command.clone());
                line.answer = line.take(answer.clone());
            }
            Call::Reset(outcome) => {
                line.call = Name::Reset;
                line.atr = line.take(outcome.clone().map(|atr| TraceBytes::clear(atr.as_bytes())));
            }
            Call::Disconnect(outcome) => {
                let _nothing = line.take(outcome.clone());
            }
        }
        line
    }

    fn take<T>(&mut self, outcome: Result<T, ReaderError>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }

    /// The call, if exactly the fields are there that it needs.
    fn call(self) -> Option<Call> {
        let Self { call, command, answer, atr, event, error, .. } = self;
        Some(match (call, command, answer, atr, event) {
            (Name::NextEvent, None, None, None, event) => {
                Call::NextEvent(either(event.map(CardEvent::from), error)?)
            }
            (Name::Connect, None, None, atr, None) => Call::Connect(either(read_atr(atr)?, error)?),
            (Name::Reset, None, None, atr, None) => Call::Reset(either(read_atr(atr)?, error)?),
            (Name::Transmit, Some(command), answer, None, None) => {
                Call::Transmit { command, answer: either(answer, error)? }
            }
            (Name::Disconnect, None, None, None, None) => Call::Disconnect(error.map_or(Ok(()), Err)),
            _ => return None,
        })
    }
}

/// Exactly one of the two.
fn either<T>(value: Option<T>, error: Option<ReaderError>) -> Option<Result<T, ReaderError>> {
    match (value, error) {
        (Some(value), None) => Some(Ok(value)),
        (None, Some(error)) => Some(Err(error)),
        _ => None,
    }
}

#[expect(clippy::option_option, reason = "no ATR is different from a bad one")]
fn read_atr(bytes: Option<TraceBytes>) -> Option<Option<Atr>> {
    let Some(bytes) = bytes else {
        return Some(None);
    };
    let clear: Vec<u8> = bytes.as_slice().iter().copied().collect::<Option<_>>()?;
    Atr::new(&clear).map(Some)
}

impl From<CardEvent> for Event {
    fn from(event: CardEvent) -> Self {
        match event {
            CardEvent::Inserted => Self::Inserted,
            CardEvent::Removed => Self::Removed,
        }
    }
}

impl From<Event> for CardEvent {
    fn from(event: Event) -> Self {
        match event {
            Event::Inserted => Self::Inserted,
            Event::Removed => Self::Removed,
        }
    }
}

/// Writes a trace line by line.
#[derive(Debug)]
pub struct TraceWriter<W> {
    output: W,
    hash: Sha256,
    calls: usize,
}

impl<W: Write> TraceWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// The stream failed.
    pub fn start(output: W, reader: &str, masked: bool) -> Result<Self, TraceError> {
        let mut writer = Self { output, hash: Sha256::new(), calls: 0 };
        writer.line(&Header {
            format: TRACE_FORMAT.to_owned(),
            version: TRACE_VERSION,
            reader: reader.to_owned(),
            masked,
        })?;
        Ok(writer)
    }

    /// Writes one call.
    ///
    /// # Errors
    /// The stream failed, or the trace is full.
    pub fn entry(&mut self, entry: &TraceEntry) -> Result<(), TraceError> {
        if self.calls >= TRACE_CALLS_MAX {
            return Err(TraceError::TooLong);
        }
        self.calls = self.calls.saturating_add(1);
        self.line(&Line::of(entry))
    }

    /// Writes the last line and returns the stream, flushed.
    ///
    /// # Errors
    /// The stream failed.
    pub fn finish(mut self) -> Result<W, TraceError> {
        let sha256 = Hex(&self.hash.clone().finalize()).to_string();
        self.line(&Trailer { calls: self.calls, sha256 })?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn line(&mut self, line: &impl Serialize) -> Result<(), TraceError> {
        let mut text = serde_json::to_vec(line).map_err(std::io::Error::from)?;
        text.push(b'\n');
        self.hash.update(&text);
        self.output.write_all(&text)?;
        Ok(())
    }
}

pub(super) fn read(mut input: impl BufRead) -> Result<Trace, TraceError> {
    let mut hash = Sha256::new();
    let mut text = Vec::new();
    next_line(&mut input, &mut text, 1)?;
    let header: Header = serde_json::from_slice(&text).map_err(|_| TraceError::NotATrace)?;
    if header.format != TRACE_FORMAT {
        return Err(TraceError::NotATrace);
    }
    if header.version > TRACE_VERSION {
        return Err(TraceError::Newer(header.version));
    }
    hash.update(&text);
    let mut entries = Vec::new();
    loop {
        let line = entries.len().saturating_add(2);
        if !next_line(&mut input, &mut text, line)? {
            return Err(TraceError::CutOff { calls: entries.len() });
        }
        if let Ok(trailer) = serde_json::from_slice::<Trailer>(&text) {
            let sha256 = Hex(&hash.finalize()).to_string();
            let complete = trailer.calls == entries.len() && trailer.sha256 == sha256;
            let ended = input.fill_buf()?.is_empty();
            return if complete && ended {
                Ok(Trace { reader: header.reader, masked: header.masked, entries })
            } else {
                Err(TraceError::BadChecksum)
            };
        }
        if entries.len() >= TRACE_CALLS_MAX {
            return Err(TraceError::TooLong);
        }
        hash.update(&text);
        let cut_off = !text.ends_with(b"\n");
        let parsed: Line = serde_json::from_slice(&text).map_err(|_| {
            if cut_off { TraceError::CutOff { calls: entries.len() } } else { TraceError::BadLine { line } }
        })?;
        let (at_us, took_us) = (parsed.at_us, parsed.took_us);
        let call = parsed.call().ok_or(TraceError::BadLine { line })?;
        entries.push(TraceEntry { at_us, took_us, call });
    }
}

/// One line with its end; `false` at the end of the trace.
fn next_line(input: &mut impl BufRead, text: &mut Vec<u8>, line: usize) -> Result<bool, TraceError> {
    text.clear();
    let limit = u64::try_from(TRACE_LINE_BYTES_MAX).unwrap_or(u64::MAX);
    let length = input.by_ref().take(limit).read_until(b'\n', text)?;
    if length >= TRACE_LINE_BYTES_MAX {
        return Err(TraceError::BadLine { line });
    }
    Ok(length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_after_a_header_are_read_or_refused(
            garbage in proptest::collection::vec(any::<u8>(), 0..200),
            line in 0_usize..8,
        ) {
            let head: String = written().lines().take(line).map(|line| format!("{line}\n")).collect();
            let text = [head.as_bytes(), &garbage].concat();
            prop_assert!(Trace::read(text.as_slice()).is_err());
        }
    }

    fn trace() -> Trace {
        let entry = |at_us, call| TraceEntry { at_us, took_us: 7, call };
        Trace {
            reader: "Reader \"A\" 00 00".into(),
            masked: true,
            entries: vec![
                entry(1, Call::NextEvent(Ok(CardEvent::Inserted))),
                entry(2, Call::Connect(Ok(Atr::new(&[0x3B, 0x00]).unwrap()))),
                entry(
                    3,
                    Call::Transmit {
                        command: TraceBytes::clear(&[0, 0x20, 0, 0, 1, 9]).masking(5..6),
                        answer: Ok(TraceBytes::clear(&[0x90, 0x00])),
                    },
                ),
                entry(
                    4,
                    Call::Transmit {
                        command: TraceBytes::clear(&[0; 4]),
                        answer: Err(ReaderError::Unplugged { reader: "A".into() }),
                    },
                ),
                entry(5, Call::Reset(Err(ReaderError::CardMute))),
                entry(6, Call::Disconnect(Ok(()))),
            ],
        }
    }

    fn written() -> String {
        String::from_utf8(trace().write(Vec::new()).unwrap()).unwrap()
    }

    #[test]
    fn a_trace_reads_back_as_it_was_written() {
        assert_eq!(Trace::read(written().as_bytes()).unwrap(), trace());
    }

    #[test]
    fn the_text_is_what_the_format_says() {
        let text = written();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"format":"tapline-apdu-trace","version":1,"reader":"Reader \"A\" 00 00","masked":true}"#
        );
        assert_eq!(
            lines[3],
            r#"{"at_us":3,"took_us":7,"call":"transmit","command":"0020000001XX","answer":"9000"}"#
        );
        assert_eq!(
            lines[4],
            r#"{"at_us":4,"took_us":7,"call":"transmit","command":"00000000","error":{"unplugged":{"reader":"A"}}}"#
        );
        assert!(lines[7].starts_with(r#"{"calls":6,"sha256":""#));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let text = written().into_bytes();
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 0x01;
            if let Ok(read) = Trace::read(changed.as_slice()) {
                panic!("byte {at} changed unnoticed: {read:?}");
            }
        }
        for length in 0..text.len() - 1 {
            assert!(Trace::read(&text[..length]).is_err(), "cut to {length} bytes unnoticed");
        }
    }

    #[test]
    fn a_cut_off_recording_says_how_far_it_goes() {
        let text = written();
        let cut: String = text.lines().take(4).map(|line| format!("{line}\n")).collect();
        assert!(matches!(Trace::read(cut.as_bytes()), Err(TraceError::CutOff { calls: 3 })));
    }

    #[test]
    fn other_files_and_newer_versions_are_refused() {
        assert!(matches!(Trace::read(&b""[..]), Err(TraceError::NotATrace)));
        assert!(matches!(Trace::read(&b"\x7FELF\n"[..]), Err(TraceError::NotATrace)));
        let newer = written().replacen("\"version\":1", "\"version\":2", 1);
        assert!(matches!(Trace::read(newer.as_bytes()), Err(TraceError::Newer(2))));
        let endless = vec![b'{'; TRACE_LINE_BYTES_MAX + 10];
        assert!(matches!(Trace::read(endless.as_slice()), Err(TraceError::BadLine { line: 1 })));
    }

    #[test]
    fn a_line_with_the_wrong_fields_is_refused() {
        for bad in [
            r#"{"at_us":1,"took_us":1,"call":"connect"}"#,
            r#"{"at_us":1,"took_us":1,"call":"connect","atr":"3B00","error":"no_card"}"#,
            r#"{"at_us":1,"took_us":1,"call":"connect","atr":"3BXX"}"#,
            r#"{"at_us":1,"took_us":1,"call":"transmit","answer":"9000"}"#,
            r#"{"at_us":1,"took_us":1,"call":"reset","atr":"3B00","command":"00"}"#,
            r#"{"at_us":1,"took_us":1,"call":"dance"}"#,
            r#"{"at_us":1,"took_us":1,"call":"disconnect","extra":1}"#,
        ] {
            let header = written().lines().next().unwrap().to_owned();
            let text = format!("{header}\n{bad}\n");
            assert!(matches!(Trace::read(text.as_bytes()), Err(TraceError::BadLine { line: 2 })), "{bad}");
        }
    }
}
