//! One connection over TCP: drives a [`Session`] with what the socket and the writer bring. A hand-written future, so that an idle
//! connection holds no buffer: bytes go through buffers of the thread, and only what is left of a frame or of answers is kept.

use super::listener::Shared;
use super::session::{Held, UNSENT_MAX};
use super::{CloseReason, Done, Mailbox, Session};
use crate::writer::Job;
use protocol::time::Mono;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// Bytes read at a time: several of the largest frames.
const READ_BYTES: usize = 32 * 1024;

struct Scratch {
    read: Vec<u8>,
    write: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { read: vec![0; READ_BYTES], write: Vec::with_capacity(UNSENT_MAX) });
}

/// One connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    stream: TcpStream,
    mailbox: Arc<Mailbox>,
    session: Session,
    /// Asked and not yet taken by the writer.
    asking: Vec<Job>,
    /// Answers not yet sent.
    unsent: Vec<u8>,
    done: Vec<Done>,
    timer: Pin<Box<Sleep>>,
    /// When the timer fires, on the gateway's clock.
    timer_at: Mono,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, stream: TcpStream, mailbox: Arc<Mailbox>) -> Self {
        let now = shared.clock.mono();
        let session = Session::new(shared.limits, now);
        // The first look at the time sets it.
        let timer = Box::pin(tokio::time::sleep_until(Instant::now() + shared.limits.idle));
        Self {
            shared,
            stream,
            mailbox,
            session,
            asking: Vec::new(),
            unsent: Vec::new(),
            done: Vec::new(),
            timer,
            timer_at: Mono(u64::MAX),
        }
    }

    const fn held(&self) -> Held {
        Held { answers: !self.unsent.is_empty(), questions: !self.asking.is_empty() }
    }

    /// Writes what became of requests.
    fn deliver(&mut self, out: &mut Vec<u8>) -> Result<(), CloseReason> {
        let Self { shared, session, done, .. } = self;
        for done in done.drain(..) {
            session.deliver(&done, &shared.switch, &|| shared.clock.now(), out)?;
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
        let Self { shared, session, stream, .. } = self;
        let clock = || shared.clock.now();
        let resumed = session.resume(&shared.switch, &clock, out)?;
        if resumed.full {
            return Ok(resumed.judged);
        }
        if session.has_ended() {
            return Ok(false);
        }
        let mut read = ReadBuf::new(buffer);
        match Pin::new(stream).poll_read(context, &mut read) {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) => Err(CloseReason::Io(error)),
            Poll::Ready(Ok(())) if read.filled().is_empty() => {
                session.end_of_input();
                Ok(true)
            }
            Poll::Ready(Ok(())) => {
                session.receive(read.filled(), &shared.switch, &clock, out)?;
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
                    self.session.alive(self.shared.clock.mono());
                }
            }
        }
        self.unsent = rest.to_vec();
        Ok(())
    }

    /// What is waited for now, and whether that took too long.
    fn check_time(&mut self, context: &mut Context<'_>) -> Result<(), CloseReason> {
        let now = self.shared.clock.mono();
        let look = self.session.check_time(now, self.held())?;
        if look < self.timer_at {
            self.set_timer(now, look);
        }
        while self.timer.as_mut().poll(context).is_ready() {
            let now = self.shared.clock.mono();
            let look = self.session.check_time(now, self.held())?;
            self.set_timer(now, look);
        }
        Ok(())
    }

    fn set_timer(&mut self, now: Mono, at: Mono) {
        self.timer.as_mut().reset(Instant::now() + Duration::from_nanos(at.0.saturating_sub(now.0)));
        self.timer_at = at;
    }

    /// One turn: answers in, frames in, questions out, answers out.
    fn turn(&mut self, context: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), CloseReason> {
        loop {
            scratch.write.clear();
            let stop = self.mailbox.take(&mut self.done, context);
            self.deliver(&mut scratch.write)?;
            let read = if !stop && self.session.may_judge(self.held()) {
                self.read(context, &mut scratch.read, &mut scratch.write)?
            } else {
                false
            };
            let asked = self.session.asked().drain(..);
            self.asking.extend(asked.map(|ask| Job::Terminal(Arc::clone(&self.mailbox), ask)));
            if !self.asking.is_empty() {
                self.shared.queue.hand_over(&mut self.asking, &self.mailbox);
            }
            let wrote = !scratch.write.is_empty();
            self.send(context, &mut scratch.write)?;
            if let Some(reason) = self.session.over(self.held(), stop) {
                return Err(reason);
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
