//! APDU traces: what passed between a terminal and a reader, with times, as text that tools and people can read.
//!
//! Format `tapline-apdu-trace`, version 1: JSON lines. The first line is the header (format, version, reader, whether
//! secrets are masked); then one line per call of the reader; the last line holds the number of calls and the SHA-256 of
//! every byte before it. Bytes are hexadecimal, a masked byte is `XX`.
//!
//! ```text
//! {"format":"tapline-apdu-trace","version":1,"reader":"Tapline 00 00","masked":true}
//! {"at_us":12,"took_us":80,"call":"connect","atr":"3B80800101"}
//! {"at_us":95,"took_us":61,"call":"transmit","command":"0020000103XXXXXX","answer":"9000"}
//! {"at_us":170,"took_us":9,"call":"transmit","command":"805C000204","error":"card_removed"}
//! {"calls":3,"sha256":"…"}
//! ```
//!
//! Refused: another format, a newer version, a trace without its last line or with a wrong checksum, lines and traces
//! beyond the limits. [`Recorder`] writes traces, [`Replayer`] plays them back.

mod bytes;
mod mask;
mod recorder;
mod replayer;
mod text;

pub use bytes::TraceBytes;
pub use recorder::{Masking, Recorder};
pub use replayer::Replayer;
pub use text::TraceWriter;

use crate::{Atr, CardEvent, ReaderError};
use std::io::BufRead;

/// The name in every trace's header.
pub const TRACE_FORMAT: &str = "tapline-apdu-trace";
/// The version that this software writes, and the newest it reads.
pub const TRACE_VERSION: u32 = 1;
/// Most calls in a trace: a day of taps.
pub const TRACE_CALLS_MAX: usize = 1_000_000;
/// Longest line: the longest command and the longest answer in hexadecimal, and their frame.
pub const TRACE_LINE_BYTES_MAX: usize = 270_000;

/// Why a trace cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The disk or the stream failed.
    #[error("the trace cannot be read or written: {0}")]
    Io(#[from] std::io::Error),
    /// The first line is not a trace's header.
    #[error("this is no APDU trace")]
    NotATrace,
    /// Written by a newer version of this software.
    #[error("the trace has version {0}; this software reads up to {TRACE_VERSION}")]
    Newer(u32),
    /// A line that is none of a trace.
    #[error("line {line} of the trace is malformed")]
    BadLine {
        /// Which line, counted from 1.
        line: usize,
    },
    /// The last line is missing: the recording was cut off.
    #[error("the trace is cut off after {calls} calls")]
    CutOff {
        /// Calls that were there.
        calls: usize,
    },
    /// The checksum does not match: the trace was changed.
    #[error("the trace's checksum does not match its content")]
    BadChecksum,
    /// More calls than a trace may have; the ones before are recorded.
    #[error("the trace is longer than {TRACE_CALLS_MAX} calls")]
    TooLong,
}

/// One call of a reader and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `next_event`.
    NextEvent(Result<CardEvent, ReaderError>),
    /// `connect`.
    Connect(Result<Atr, ReaderError>),
    /// `transmit`.
    Transmit {
        /// The command.
        command: TraceBytes,
        /// The answer.
        answer: Result<TraceBytes, ReaderError>,
    },
    /// `reset`.
    Reset(Result<Atr, ReaderError>),
    /// `disconnect`.
    Disconnect(Result<(), ReaderError>),
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEntry {
    /// Start of the call, microseconds since the start of the recording.
    pub at_us: u64,
    /// Duration of the call, microseconds.
    pub took_us: u64,
    /// The call.
    pub call: Call,
}

/// A whole trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The recorded reader's name.
    pub reader: String,
    /// Whether secrets were masked.
    pub masked: bool,
    /// The calls in order.
    pub entries: Vec<TraceEntry>,
}

impl Trace {
    /// Reads a trace to its end and checks it.
    ///
    /// # Errors
    /// See [`TraceError`].
    pub fn read(input: impl BufRead) -> Result<Self, TraceError> {
        text::read(input)
    }

    /// Writes the trace as [`Recorder`] would have.
    ///
    /// # Errors
    /// The stream failed, or there are more than [`TRACE_CALLS_MAX`] calls.
    pub fn write<W: std::io::Write>(&self, output: W) -> Result<W, TraceError> {
        let mut writer = TraceWriter::start(output, &self.reader, self.masked)?;
        self.entries.iter().try_for_each(|entry| writer.entry(entry))?;
        writer.finish()
    }
}
