//! Where the writer leaves answers for a connection: as many as there are, with one wake-up.

use crate::switch::{Echo, Pending};
use backend::api::{HostAnswer, Report};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// What became of something that was asked.
#[derive(Debug)]
pub enum Done {
    /// Answered, and durable.
    Answer(Echo, HostAnswer),
    /// Nothing was decided.
    Failed(Echo),
    /// A terminal's registration, for its sign-in.
    Registered(Echo, Pending, Report),
    /// Nobody knows what became of it: the connection is closed, the terminal repeats or reverses.
    Lost,
}

/// One connection's mailbox.
#[derive(Debug, Default)]
pub struct Mailbox {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    done: Vec<Done>,
    waker: Option<Waker>,
    stop: bool,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves something, without waking anybody. True if the connection is to be woken for it: it was empty before.
    pub fn leave(&self, done: Done) -> bool {
        let mut inner = self.lock();
        inner.done.push(done);
        inner.done.len() == 1
    }

    /// Wakes the connection.
    pub fn wake(&self) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Asks the connection to end once its answers have left.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.wake();
    }

    /// Takes everything: for a driver that looks by itself and needs no wake-up.
    #[must_use]
    pub fn collect(&self) -> Vec<Done> {
        std::mem::take(&mut self.lock().done)
    }

    /// Takes everything into `into` (which is empty) and remembers whom to wake. True if the connection is to end.
    pub(super) fn take(&self, into: &mut Vec<Done>, context: &Context<'_>) -> bool {
        let mut inner = self.lock();
        std::mem::swap(&mut inner.done, into);
        if !inner.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            inner.waker = Some(context.waker().clone());
        }
        inner.stop
    }
}
