//! The talk on one connection, without I/O, clock or threads: bytes in, questions for the backend out; what became of them in, bytes
//! out (`docs/reference/posp.md`). The connection drives it over TCP, the simulation over a line that loses and doubles.
//!
//! It keeps what is left of a frame, the questions that nobody has taken yet, and since when it waits for what. It refuses what is
//! no frame, a frame that drips, silence, and an answer that was lost.

use super::{CloseReason, Done, Limits};
use crate::switch::{ANSWER_MAX, AnswerError, Ask, Switch, Verdict};
use protocol::iso8583::frame;
use protocol::iso8583::{Frame, HeaderRule};
use protocol::time::{Mono, Now};
use std::time::Duration;

/// Answers that wait to be sent, above which nothing more is judged, in bytes.
pub const UNSENT_MAX: usize = 64 * 1024;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Silence,
    Frame,
    Reader,
    Writer,
}

/// What the driver still holds of a session's work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Answers that the other side has not taken.
    pub answers: bool,
    /// Questions that the writer has not taken.
    pub questions: bool,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    /// Received and not yet judged: the front of a frame, or whole frames beyond the session's share.
    received: Vec<u8>,
    #[expect(clippy::vec_box, reason = "the writer's job takes the box as it is")]
    asking: Vec<Box<Ask>>,
    /// Requests without an answer.
    outstanding: usize,
    /// The terminal sends no more.
    ended: bool,
    /// Since when the connection waits for what.
    waiting: (Waiting, Mono),
}

impl Session {
    /// A connection that was opened `now`.
    #[must_use]
    pub const fn new(limits: Limits, now: Mono) -> Self {
        Self {
            limits,
            received: Vec::new(),
            asking: Vec::new(),
            outstanding: 0,
            ended: false,
            waiting: (Waiting::Silence, now),
        }
    }

    /// Whether more may be judged: the share of requests is not used up, and nothing is held back.
    #[must_use]
    pub const fn may_judge(&self, held: Held) -> bool {
        self.outstanding < self.limits.in_flight && self.asking.is_empty() && !held.answers && !held.questions
    }

    /// Judges what arrived: answers that can be given at once are appended to `out`, questions wait in [`Session::asked`].
    ///
    /// # Errors
    /// The connection is to be closed.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        switch: &Switch,
        clock: &dyn Fn() -> Now,
        out: &mut Vec<u8>,
    ) -> Result<(), CloseReason> {
        if self.received.is_empty() {
            let used = self.judge(bytes, switch, clock, out)?;
            self.received = bytes.get(used..).unwrap_or_default().to_vec();
        } else {
            let mut received = std::mem::take(&mut self.received);
            received.extend_from_slice(bytes);
            let used = self.judge(&received, switch, clock, out)?;
            received.drain(..used);
            received.shrink_to_fit();
            self.received = received;
        }
        Ok(())
    }

    /// Judges whole frames that had to wait. True if the share is used up (again), so that nothing more is to be read now.
    ///
    /// # Errors
    /// The connection is to be closed.
    pub fn resume(
        &mut self,
        switch: &Switch,
        clock: &dyn Fn() -> Now,
        out: &mut Vec<u8>,
    ) -> Result<Resumed, CloseReason> {
        if self.received.is_empty() {
            return Ok(Resumed { judged: false, full: false });
        }
        let received = std::mem::take(&mut self.received);
        let used = self.judge(&received, switch, clock, out)?;
        self.received = received.get(used..).unwrap_or_default().to_vec();
        // Whole frames beyond the share wait; a frame that is not whole needs more bytes.
        let full = self.outstanding >= self.limits.in_flight || out.len() >= UNSENT_MAX;
        Ok(Resumed { judged: used > 0, full })
    }

    /// Judges whole frames at the front of `bytes` as far as the share allows; returns how many bytes were used.
    fn judge(
        &mut self,
        bytes: &[u8],
        switch: &Switch,
        clock: &dyn Fn() -> Now,
        out: &mut Vec<u8>,
    ) -> Result<usize, CloseReason> {
        let mut rest = bytes;
        while self.outstanding < self.limits.in_flight && out.len() < UNSENT_MAX {
            let Some((body, after)) = frame::split(rest).map_err(CloseReason::Frame)? else { break };
            rest = after;
            let frame = Frame::parse(body, HeaderRule::Present).map_err(CloseReason::Frame)?;
            let now = clock();
            // A whole frame is a sign of life; a part of one is not, or it could be dripped forever.
            self.alive(now.mono);
            let verdict = append(out, |room| switch.receive(&frame, &now, room));
            if let Some(ask) = verdict.map_err(|error| CloseReason::Message(error.to_string()))? {
                self.outstanding = self.outstanding.saturating_add(1);
                self.asking.push(ask);
            }
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }

    /// The questions that nobody has taken yet, in order.
    pub const fn asked(&mut self) -> &mut Vec<Box<Ask>> {
        &mut self.asking
    }

    /// Appends what became of a question to `out`.
    ///
    /// # Errors
    /// The answer is lost: the connection is to be closed, the terminal repeats or reverses.
    pub fn deliver(
        &mut self,
        done: &Done,
        switch: &Switch,
        clock: &dyn Fn() -> Now,
        out: &mut Vec<u8>,
    ) -> Result<(), CloseReason> {
        self.outstanding = self.outstanding.saturating_sub(1);
        let written = write_into(out, |room| match done {
            Done::Answer(echo, answer) => switch.answer(echo, answer, room),
            Done::Failed(echo) => switch.failed(echo, &clock(), room),
            Done::Registered(echo, pending, report) => {
                switch.registered(echo, pending, report, &clock(), room)
            }
            Done::Lost => Ok(0),
        });
        match written {
            Ok(()) => {}
            Err(AnswerError::SignedInAnew) => {
                tracing::info!("an answer nobody waits for: the terminal has signed in anew elsewhere");
                return Err(CloseReason::Lost);
            }
            Err(error) => {
                tracing::error!(%error, "an answer could not be written");
                return Err(CloseReason::Lost);
            }
        }
        if matches!(done, Done::Lost) { Err(CloseReason::Lost) } else { Ok(()) }
    }

    /// The terminal sends no more; what is outstanding is still answered.
    pub const fn end_of_input(&mut self) {
        self.ended = true;
    }

    /// Whether the terminal sends no more.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the connection is over: nothing is outstanding or held, and the terminal has ended or the gateway is `stopping`.
    #[must_use]
    pub fn over(&self, held: Held, stopping: bool) -> Option<CloseReason> {
        let quiet = self.outstanding == 0 && self.asking.is_empty() && !held.answers && !held.questions;
        if !quiet {
            return None;
        }
        match (stopping, self.ended) {
            (true, _) => Some(CloseReason::Stopping),
            (false, true) if self.received.is_empty() => Some(CloseReason::Closed),
            (false, true) => Some(CloseReason::CutOff),
            (false, false) => None,
        }
    }

    /// A whole frame came, or an answer was taken.
    pub const fn alive(&mut self, now: Mono) {
        self.waiting.1 = now;
    }

    /// When to look again, by what is waited for now.
    ///
    /// # Errors
    /// It took too long: the connection is to be closed.
    pub fn check_time(&mut self, now: Mono, held: Held) -> Result<Mono, CloseReason> {
        let waiting = if held.answers {
            Waiting::Reader
        } else if self.outstanding > 0 || !self.asking.is_empty() || held.questions {
            Waiting::Writer
        } else if self.received.is_empty() {
            Waiting::Silence
        } else {
            Waiting::Frame
        };
        if waiting != self.waiting.0 {
            self.waiting = (waiting, now);
        }
        let limit = |limit: Duration| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let (limit, late) = match waiting {
            // The writer answers or fails; nobody's patience ends it.
            Waiting::Writer => return Ok(Mono(now.0.saturating_add(limit(self.limits.idle)))),
            Waiting::Silence => (limit(self.limits.idle), CloseReason::Idle),
            Waiting::Frame => (limit(self.limits.frame), CloseReason::SlowFrame),
            Waiting::Reader => (limit(self.limits.write), CloseReason::SlowReader),
        };
        let deadline = Mono(self.waiting.1.0.saturating_add(limit));
        if deadline <= now { Err(late) } else { Ok(deadline) }
    }
}

/// What [`Session::resume`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// Something was judged.
    pub judged: bool,
    /// The share is used up: nothing more is to be read now.
    pub full: bool,
}

/// Gives `with` room at the end of `out` and keeps what it wrote.
fn write_into<E>(out: &mut Vec<u8>, with: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<(), E> {
    let start = out.len();
    out.resize(start.saturating_add(ANSWER_MAX), 0);
    let written = with(out.get_mut(start..).unwrap_or_default());
    out.truncate(start.saturating_add(*written.as_ref().unwrap_or(&0)));
    written.map(|_| ())
}

/// As [`write_into`], for a verdict.
fn append<E>(
    out: &mut Vec<u8>,
    with: impl FnOnce(&mut [u8]) -> Result<Verdict, E>,
) -> Result<Option<Box<Ask>>, E> {
    let mut ask = None;
    write_into(out, |room| {
        Ok(match with(room)? {
            Verdict::Answered(length) => length,
            Verdict::Ask(asked) => {
                ask = Some(asked);
                0
            }
        })
    })?;
    Ok(ask)
}

#[cfg(test)]
mod tests;
