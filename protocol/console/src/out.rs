//! What a command prints: results for a person, or with `--json` one JSON object a line for a script.
//!
//! The envelope is stable: `{"tapline":1,"command":…,"ok":true,"result":{…}}` and
//! `{"tapline":1,"command":…,"ok":false,"error":{"code","name","party","exit","what","next","detail"}}`. Results go to
//! standard output, what happens on the way (prompts, progress, failures for people) to standard error.

use crate::code::{self, Exit};
use crate::failure::Failure;
use crate::text::{Args, Texts};
use serde::Serialize;
use std::error::Error;
use std::io::{self, Write};

/// Version of the envelope; fields are added under the same number, never removed or given another meaning.
pub const ENVELOPE: u8 = 1;

#[derive(Serialize)]
struct Answer<'a, T: Serialize> {
    tapline: u8,
    command: &'a str,
    ok: bool,
    result: &'a T,
}

#[derive(Serialize)]
struct Refusal<'a> {
    tapline: u8,
    command: &'a str,
    ok: bool,
    error: Problem<'a>,
}

#[derive(Serialize)]
struct Problem<'a> {
    code: String,
    name: &'a str,
    party: &'a str,
    exit: u8,
    what: String,
    next: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Where a binary says things, how, and in which language.
pub struct Console {
    texts: Texts,
    json: bool,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
}

impl Console {
    /// Standard output and standard error.
    #[must_use]
    pub fn standard(texts: Texts, json: bool) -> Self {
        Self::to(texts, json, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// Elsewhere (tests, a till's screen).
    #[must_use]
    pub fn to(texts: Texts, json: bool, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self { texts, json, out, err }
    }

    /// The texts.
    #[must_use]
    pub const fn texts(&self) -> &Texts {
        &self.texts
    }

    /// Whether a script reads.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a command's result: `human` for a person, `result` in the envelope for a script.
    ///
    /// # Errors
    /// Standard output cannot be written (a closed pipe, a full disk). What the command did stands, and the failure says so.
    pub fn result<T: Serialize>(&mut self, command: &str, result: &T, human: &str) -> Result<(), Failure> {
        let answer = Answer { tapline: ENVELOPE, command, ok: true, result };
        let line = if self.json { serde_json::to_string(&answer) } else { Ok(human.trim_end().to_owned()) };
        let written = line.map_err(io::Error::from).and_then(|line| {
            writeln!(self.out, "{line}")?;
            self.out.flush()
        });
        written.map_err(unread)
    }

    /// Prints the result of what cannot be undone or repeated. The exit code then says what happened, whether anybody can read the words or not: who takes
    /// a payment for a failed one because of a full disk takes it twice.
    pub fn outcome<T: Serialize>(&mut self, command: &str, result: &T, human: &str, exit: Exit) -> Exit {
        if let Err(lost) = self.result(command, result, human) {
            self.failed(command, &lost);
        }
        exit
    }

    /// Prints text as it is, for a file or another program: a default configuration, a shell's completions.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(unread)
    }

    /// Says something on the way (a prompt, a step) on standard error; scripts are spared.
    ///
    /// # Errors
    /// Standard error cannot be written.
    pub fn note(&mut self, message: &str, args: &Args) -> io::Result<()> {
        if !self.json {
            writeln!(self.err, "{}", self.texts.say_with(message, args))?;
            self.err.flush()?;
        }
        Ok(())
    }

    /// Says that a command failed and how to end. Anything without a [`Failure`] in its chain is our own bug.
    pub fn failed(&mut self, command: &str, error: &(dyn Error + 'static)) -> Exit {
        let unexpected;
        let failure = match Failure::find(error) {
            Some(failure) => failure,
            None => {
                unexpected = Failure::unexpected(error);
                &unexpected
            }
        };
        tracing::debug!(code = %failure.code(), command, "failed: {failure}");
        // If nobody can read it, the exit code still tells.
        let _ = self.print_failure(command, failure);
        failure.code().exit()
    }

    fn print_failure(&mut self, command: &str, failure: &Failure) -> io::Result<()> {
        let explained = self.texts.failure(failure);
        let code = failure.code();
        if self.json {
            let error = Problem {
                code: code.to_string(),
                name: code.message(),
                party: code.party().name(),
                exit: code.exit().number(),
                what: explained.what,
                next: explained.next,
                detail: explained.detail,
            };
            serde_json::to_writer(&mut self.out, &Refusal { tapline: ENVELOPE, command, ok: false, error })?;
            writeln!(self.out)?;
            return self.out.flush();
        }
        writeln!(self.err, "{code}  {}", explained.what)?;
        if let Some(detail) = explained.detail {
            writeln!(self.err, "         {detail}")?;
        }
        writeln!(self.err, "      →  {}", explained.next)?;
        self.err.flush()
    }
}

/// Nobody can read what a command said.
fn unread(error: io::Error) -> Failure {
    Failure::new(code::OUTPUT_LOST).with("reason", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Language;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn console(json: bool) -> (Console, Sink, Sink) {
        let (out, err) = (Sink::default(), Sink::default());
        let texts = Texts::new(Language::ENGLISH);
        (Console::to(texts, json, Box::new(out.clone()), Box::new(err.clone())), out, err)
    }

    #[test]
    fn a_script_gets_one_object_a_line_for_results_and_failures() {
        let (mut console, out, err) = console(true);
        console.result("balance", &serde_json::json!({"minor": 1250}), "12.50").unwrap();
        console.note("exit-success", &Args::new()).unwrap();
        let exit = console.failed("balance", &Failure::new(code::NO_READER));
        let text = out.text();
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines[0]["result"]["minor"], 1250);
        assert_eq!(lines[0]["ok"], true);
        assert_eq!(lines[1]["error"]["code"], "TL-1102");
        assert_eq!(lines[1]["error"]["party"], "hardware");
        assert_eq!(lines[1]["error"]["exit"], exit.number());
        assert_eq!(err.text(), "");
    }

    #[test]
    fn a_person_gets_code_what_happened_and_what_to_do() {
        let (mut console, out, err) = console(false);
        let failure = Failure::new(code::CONFIG_MISSING).with("path", "till.toml");
        assert_eq!(console.failed("sale", &failure), Exit::Config);
        let said = err.text();
        assert!(said.starts_with("TL-1001  ") && said.contains("till.toml") && said.contains('→'), "{said}");
        assert_eq!(out.text(), "");
    }

    #[test]
    fn what_nobody_can_read_is_told_apart_from_what_was_not_done() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for json in [false, true] {
            let err = Sink::default();
            let texts = Texts::new(Language::ENGLISH);
            let mut console = Console::to(texts, json, Box::new(Full), Box::new(err.clone()));
            assert_eq!(console.result("report", &1, "1").unwrap_err().code(), code::OUTPUT_LOST);
            assert_eq!(console.outcome("sale", &1, "paid", Exit::Success), Exit::Success);
            assert_eq!(err.text().contains("TL-1008"), !json, "{}", err.text());
        }
    }

    #[test]
    fn an_error_that_nobody_explained_is_our_own_bug() {
        let (mut console, _, err) = console(false);
        assert_eq!(console.failed("sale", &io::Error::other("odd")), Exit::Bug);
        assert!(err.text().contains("odd"));
    }
}
