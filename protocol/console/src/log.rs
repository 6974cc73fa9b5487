//! Logs on `tracing`: filtered by `TAPLINE_LOG` (or the configuration), as text or JSON lines on standard error, and
//! masked: every line passes [`crate::mask`] on its way out, whatever wrote it.

use crate::code;
use crate::failure::Failure;
use crate::mask::mask;
use serde::Deserialize;
use std::io::{self, Write};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What a binary sets about its logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What to log, in `tracing`'s filter language (`info`, `warn,hardware=debug`).
    pub filter: String,
    /// How.
    pub format: Format,
}

/// Starts logging to standard error for the whole process. Later calls change nothing (tests share a process).
///
/// # Errors
/// A filter that cannot be read.
pub fn start(settings: &Settings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&settings.filter)
        .map_err(|error| Failure::new(code::LOG_FILTER).with("filter", &settings.filter).caused_by(error))?;
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Masked(io::stderr));
    // It fails only where a subscriber is already set.
    let _ = match settings.format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().try_init(),
    };
    Ok(())
}

/// A writer whose lines are masked.
#[derive(Clone, Copy, Debug)]
pub struct Masked<M>(pub M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Masked<M> {
    type Writer = MaskedWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        MaskedWriter { inner: self.0.make_writer(), line: Vec::new() }
    }
}

/// Bytes of one event that wait for their end, because a secret may lie across two writes. The layer formats an event
/// completely before it writes, so this is bounded by the longest event.
#[derive(Debug)]
pub struct MaskedWriter<W: Write> {
    inner: W,
    line: Vec<u8>,
}

impl<W: Write> Write for MaskedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if self.line.ends_with(b"\n") {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        self.inner.write_all(mask(&String::from_utf8_lossy(&line)).as_bytes())?;
        self.inner.flush()
    }
}

impl<W: Write> Drop for MaskedWriter<W> {
    fn drop(&mut self) {
        // A line that cannot be written is lost: there is nobody left to tell.
        let _ = self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(write: impl FnOnce()) -> String {
        let sink = Sink::default();
        let copy = sink.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(Masked(move || copy.clone())).finish();
        tracing::subscriber::with_default(subscriber, write);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_key_in_a_message_a_field_or_a_span_does_not_reach_the_log() {
        let key = "00112233445566778899AABBCCDDEEFF";
        let text = logged(|| {
            let _span = tracing::info_span!("load", wrapped = key).entered();
            tracing::info!(key, bytes = ?[7_u8; 16], "loading with {key}");
        });
        assert!(text.contains("loading with [masked hex]"), "{text}");
        assert!(!text.contains("00112233"), "{text}");
        assert!(!text.contains("7, 7"), "{text}");
    }

    #[test]
    fn a_secret_across_two_writes_is_still_masked() {
        let sink = Sink::default();
        let copy = sink.clone();
        let mut writer = Masked(move || copy.clone()).make_writer();
        writer.write_all(b"key 00112233445566778899").unwrap();
        writer.write_all(b"AABBCCDDEEFF\n").unwrap();
        assert_eq!(sink.0.lock().unwrap().as_slice(), b"key [masked hex]\n");
    }

    #[test]
    fn an_unreadable_filter_is_refused() {
        let settings = Settings { filter: "hardware=loud".into(), format: Format::Text };
        assert_eq!(start(&settings).unwrap_err().code(), code::LOG_FILTER);
    }
}
