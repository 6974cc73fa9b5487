//! One connection: reads frames, asks, writes answers. A hand-written future, so that an idle connection holds no buffer: bytes go through
//! buffers of the thread, and only what is left of a frame or of answers is kept.

use super::listener::Shared;
use super::{Done, Mailbox};
use crate::switch::{ANSWER_MAX, Ask, Verdict};
use crate::writer::Job;
use protocol::iso8583::frame;
use protocol::iso8583::{Frame, FrameError, HeaderRule};
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// Bytes read at a time: several of the largest frames.
const READ_BYTES: usize = 32 * 1024;
/// Answers that wait to be sent, above which nothing more is read.
const UNSENT_MAX: usize = 64 * 1024;

struct Scratch {
    read: Vec<u8>,
    write: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { read: vec![0; READ_BYTES], write: Vec::with_capacity(UNSENT_MAX) });
}

/// Why a connection ended.
#[derive(Debug)]
pub enum CloseReason {
    /// The terminal closed it.
    Closed,
    /// The terminal closed it in the middle of a frame.
    CutOff,
    /// Silent for too long.
    Idle,
    /// A frame that was begun and not completed in time.
    SlowFrame,
    /// Answers that nobody took.
    SlowReader,
    /// Not a frame.
    Frame(FrameError),
    /// A message that cannot be answered.
    Message(String),
    /// The network failed.
    Io(std::io::Error),
    /// The gateway stops.
    Stopping,
    /// An answer was lost: the terminal has to repeat its request.
    Lost,
}

impl CloseReason {
    /// Whether the other side broke the rules.
    #[must_use]
    pub const fn is_offence(&self) -> bool {
        matches!(self, Self::SlowFrame | Self::SlowReader | Self::Frame(_) | Self::Message(_))
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by the terminal"),
            Self::CutOff => f.write_str("closed by the terminal inside a frame"),
            Self::Idle => f.write_str("silent for longer than the idle limit"),
            Self::SlowFrame => f.write_str("a frame took longer than the frame limit"),
            Self::SlowReader => f.write_str("answers were not taken within the write limit"),
            Self::Frame(error) => write!(f, "bad frame: {error}"),
            Self::Message(error) => f.write_str(error),
            Self::Io(error) => write!(f, "network: {error}"),
            Self::Stopping => f.write_str("the gateway stops"),
            Self::Lost => f.write_str("an answer was lost"),
        }
    }
}

/// One connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    stream: TcpStream,
    mailbox: Arc<Mailbox>,
    /// Received and not yet judged: the front of a frame, or whole frames beyond the connection's share.
    received: Vec<u8>,
    /// Judged and not yet taken by the writer.
    asking: Vec<Job>,
    /// Answers not yet sent.
    unsent: Vec<u8>,
    done: Vec<Done>,
    /// Requests without an answer.
    outstanding: usize,
    /// The terminal sends no more.
    ended: bool,
    timer: Pin<Box<Sleep>>,
    /// Since when the connection waits for what the timer is about.
    waiting: (Waiting, Instant),
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Silence,
    Frame,
    Reader,
    Writer,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, stream: TcpStream, mailbox: Arc<Mailbox>) -> Self {
        let now = Instant::now();
        let timer = Box::pin(tokio::time::sleep_until(now + shared.limits.idle));
        Self {
            shared,
            stream,
            mailbox,
            received: Vec::new(),
            asking: Vec::new(),
            unsent: Vec::new(),
            done: Vec::new(),
            outstanding: 0,
            ended: false,
            timer,
            waiting: (Waiting::Silence, now),
        }
    }

    fn may_judge(&self) -> bool {
        self.asking.is_empty() && self.outstanding < self.shared.limits.in_flight && self.unsent.is_empty()
    }

    /// Judges whole frames at the front of `bytes` as far as the connection's share allows; returns how many bytes were used.
    fn judge(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, CloseReason> {
        let mut rest = bytes;
        while self.outstanding < self.shared.limits.in_flight && out.len() < UNSENT_MAX {
            let Some((body, after)) = frame::split(rest).map_err(CloseReason::Frame)? else { break };
            rest = after;
            let frame = Frame::parse(body, HeaderRule::Present).map_err(CloseReason::Frame)?;
            let now = self.shared.clock.now();
            let verdict = append(out, |room| self.shared.switch.receive(&frame, &now, room));
            match verdict.map_err(|error| CloseReason::Message(error.to_string()))? {
                None => {}
                Some(ask) => {
                    self.outstanding = self.outstanding.saturating_add(1);
                    self.asking.push(Job::Terminal(Arc::clone(&self.mailbox), ask));
                }
            }
        }
        let used = bytes.len().saturating_sub(rest.len());
        if used > 0 {
            // A whole frame is a sign of life; a part of one is not, or it could be dripped forever.
            self.waiting.1 = Instant::now();
        }
        Ok(used)
    }

    /// Writes what became of requests.
    fn deliver(&mut self, out: &mut Vec<u8>) -> Result<(), CloseReason> {
        let shared = Arc::clone(&self.shared);
        for done in self.done.drain(..) {
            self.outstanding = self.outstanding.saturating_sub(1);
            let switch = &shared.switch;
            let now = || shared.clock.now();
            let written = write_into(out, |room| match &done {
                Done::Answer(echo, answer) => switch.answer(echo, answer, room),
                Done::Failed(echo) => switch.failed(echo, &now(), room),
                Done::Registered(echo, pending, report) => {
                    switch.registered(echo, pending, report, &now(), room)
                }
                Done::Lost => Ok(0),
            });
            if let Err(error) = written {
                tracing::error!(%error, "an answer could not be written");
                return Err(CloseReason::Lost);
            }
            if matches!(done, Done::Lost) {
                return Err(CloseReason::Lost);
            }
        }
        Ok(())
    }

    /// Reads and judges until there is nothing to read or the share is used up. True if something was read.
    fn read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, CloseReason> {
        if !self.received.is_empty() {
            let received = std::mem::take(&mut self.received);
            let used = self.judge(&received, out)?;
            self.received = received.get(used..).unwrap_or_default().to_vec();
            // Whole frames beyond the share wait; a frame that is not whole needs more bytes.
            if self.outstanding >= self.shared.limits.in_flight || out.len() >= UNSENT_MAX {
                return Ok(used > 0);
            }
        }
        if self.ended {
            return Ok(false);
        }
        let mut read = ReadBuf::new(buffer);
        match Pin::new(&mut self.stream).poll_read(context, &mut read) {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) => Err(CloseReason::Io(error)),
            Poll::Ready(Ok(())) if read.filled().is_empty() => {
                self.ended = true;
                Ok(true)
            }
            Poll::Ready(Ok(())) => {
                if self.received.is_empty() {
                    let used = self.judge(read.filled(), out)?;
                    self.received = read.filled().get(used..).unwrap_or_default().to_vec();
                } else {
                    let mut received = std::mem::take(&mut self.received);
                    received.extend_from_slice(read.filled());
                    let used = self.judge(&received, out)?;
                    received.drain(..used);
                    received.shrink_to_fit();
                    self.received = received;
                }
                Ok(true)
            }
        }
    }

    /// Sends answers; what the network does not take now is kept.
    fn send(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> Result<(), CloseReason> {
        if !self.unsent.is_empty() {
            self.unsent.append(out);
            std::mem::swap(&mut self.unsent, out);
            self.unsent = Vec::new();
        }
        let mut rest = out.as_slice();
        while !rest.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Err(CloseReason::Io(error)),
                Poll::Ready(Ok(0)) => return Err(CloseReason::Closed),
                Poll::Ready(Ok(sent)) => {
                    rest = rest.get(sent..).unwrap_or_default();
                    self.waiting.1 = Instant::now();
                }
            }
        }
        self.unsent = rest.to_vec();
        Ok(())
    }

    /// What is waited for now, and whether that took too long.
    fn check_time(&mut self, context: &mut Context<'_>) -> Result<(), CloseReason> {
        let waiting = if !self.unsent.is_empty() {
            Waiting::Reader
        } else if self.outstanding > 0 || !self.asking.is_empty() {
            Waiting::Writer
        } else if self.received.is_empty() {
            Waiting::Silence
        } else {
            Waiting::Frame
        };
        if waiting != self.waiting.0 {
            self.waiting = (waiting, Instant::now());
            if waiting != Waiting::Writer {
                let deadline = self.waiting.1 + self.limit(waiting);
                if deadline < self.timer.deadline() {
                    self.timer.as_mut().reset(deadline);
                }
            }
        }
        while self.timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let deadline = self.waiting.1 + self.limit(waiting);
            if waiting != Waiting::Writer && deadline <= now {
                return Err(match waiting {
                    Waiting::Reader => CloseReason::SlowReader,
                    Waiting::Frame => CloseReason::SlowFrame,
                    _ => CloseReason::Idle,
                });
            }
            let next = if deadline > now { deadline } else { now + self.shared.limits.idle };
            self.timer.as_mut().reset(next);
        }
        Ok(())
    }

    fn limit(&self, waiting: Waiting) -> std::time::Duration {
        match waiting {
            Waiting::Silence | Waiting::Writer => self.shared.limits.idle,
            Waiting::Frame => self.shared.limits.frame,
            Waiting::Reader => self.shared.limits.write,
        }
    }

    /// One turn: answers in, frames in, questions out, answers out.
    fn turn(&mut self, context: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), CloseReason> {
        loop {
            scratch.write.clear();
            let stop = self.mailbox.take(&mut self.done, context);
            self.deliver(&mut scratch.write)?;
            let read = if !stop && self.may_judge() {
                self.read(context, &mut scratch.read, &mut scratch.write)?
            } else {
                false
            };
            if !self.asking.is_empty() {
                self.shared.queue.hand_over(&mut self.asking, &self.mailbox);
            }
            let wrote = !scratch.write.is_empty();
            self.send(context, &mut scratch.write)?;
            let quiet = self.outstanding == 0 && self.asking.is_empty() && self.unsent.is_empty();
            if quiet && stop {
                return Err(CloseReason::Stopping);
            }
            if quiet && self.ended {
                return Err(if self.received.is_empty() { CloseReason::Closed } else { CloseReason::CutOff });
            }
            if !read && !wrote {
                return Ok(());
            }
        }
    }
}

impl Future for Connection {
    type Output = CloseReason;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<CloseReason> {
        let this = &mut *self;
        let turned = SCRATCH.with(|scratch| this.turn(context, &mut scratch.borrow_mut()));
        match turned.and_then(|()| this.check_time(context)) {
            Ok(()) => Poll::Pending,
            Err(reason) => Poll::Ready(reason),
        }
    }
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
