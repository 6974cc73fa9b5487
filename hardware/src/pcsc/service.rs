//! The daemon as one user sees it: a context that is established when needed and again when the daemon came back, and
//! a wait that another thread can end without the race that `SCardCancel` has by itself.

use super::fault::{During, daemon_is_lost, meaning};
use crate::{Canceller, ReaderError};
use pcsc::{Context, Error, ReaderState, Scope};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Between two attempts to reach a daemon that was not there at the last one. There is nothing to wait on: its socket
/// does not exist.
const DAEMON_PAUSE_MAX: Duration = Duration::from_millis(250);
/// How long a daemon may be about to end.
const LAST_MOMENTS: Duration = Duration::from_millis(100);
/// A daemon that dies under more waits in a row than this is as good as none.
const RESTARTS_MAX: usize = 3;
/// A cancellation that meets a wait which is about to begin is repeated after this time, this often.
const CANCEL_REPEAT: Duration = Duration::from_millis(5);
const CANCEL_REPEATS_MAX: usize = 400;

#[derive(Default)]
struct Gate {
    /// The context that a wait is running in, or about to.
    waiting: Option<Context>,
    cancelled: bool,
}

#[derive(Default)]
struct Waiter {
    gate: Mutex<Gate>,
    changed: Condvar,
}

impl Waiter {
    fn lock(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `SCardCancel` reaches only a wait that has arrived in the daemon, so it is repeated until the wait is over.
    fn cancel(&self) {
        let mut gate = self.lock();
        gate.cancelled = true;
        self.changed.notify_all();
        for _ in 0..CANCEL_REPEATS_MAX {
            let Some(context) = gate.waiting.clone() else {
                return;
            };
            drop(gate);
            // A failure means that the daemon is gone, which ends the wait as well.
            let _gone = context.cancel();
            gate = self.lock();
            if gate.waiting.is_none() {
                return;
            }
            gate = self.changed.wait_timeout(gate, CANCEL_REPEAT).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets time pass, unless cancelled.
    fn pause(&self, time: Duration) -> Result<(), ReaderError> {
        let gate = self.lock();
        let (mut gate, _) = self
            .changed
            .wait_timeout_while(gate, time, |gate| !gate.cancelled)
            .unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut gate.cancelled) { Err(ReaderError::Cancelled) } else { Ok(()) }
    }
}

/// How a wait ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// A state changed.
    Changed,
    /// The daemon died and is back: what was known of its readers is void, its event counters too.
    Restarted,
}

/// A connection to the daemon.
#[derive(Default)]
pub(super) struct Service {
    context: Option<Context>,
    waiter: Arc<Waiter>,
    /// The last attempt to reach the daemon failed.
    lost: bool,
    /// Waits in a row under which the daemon died and came back.
    restarts: usize,
}

impl Service {
    /// The context; establishes one if there is none.
    pub(super) fn context(&mut self) -> Result<Context, ReaderError> {
        if let Some(context) = &self.context {
            return Ok(context.clone());
        }
        match Context::establish(Scope::System) {
            Ok(context) => {
                self.lost = false;
                self.context = Some(context.clone());
                Ok(context)
            }
            Err(error) => {
                self.lost = true;
                Err(meaning(error, During::Service))
            }
        }
    }

    /// As `context`, for a loop that waits: pauses first if the daemon was not there the last time.
    pub(super) fn context_patiently(&mut self, at_most: Duration) -> Result<Context, ReaderError> {
        if self.context.is_none() && self.lost {
            self.waiter.pause(at_most.min(DAEMON_PAUSE_MAX))?;
        }
        self.context()
    }

    /// Another context, after the daemon of the old one died. A daemon that refuses us closes the connection, and so does one in its last moments: who is
    /// refused now is asked for again.
    fn context_anew(&mut self) -> Result<Context, ReaderError> {
        self.context = None;
        match self.context() {
            Err(ReaderError::NoAccess) => {
                self.waiter.pause(LAST_MOMENTS)?;
                self.context()
            }
            decided => decided,
        }
    }

    /// What `error` means, after asking the daemon again if it may be gone. Forgets a context that is no longer good.
    pub(super) fn diagnose(&mut self, error: Error, during: During<'_>) -> ReaderError {
        if daemon_is_lost(error) {
            if let Err(lost) = self.context_anew() {
                return lost;
            }
            // The daemon is back already, but the exchange died with the old one.
            if matches!(during, During::Exchange(_)) {
                return ReaderError::Comm;
            }
        }
        meaning(error, during)
    }

    /// Runs `call` in the context, and once more in a new one if the old one died with its daemon. Only for calls
    /// without effect on a card.
    pub(super) fn call<T>(
        &mut self,
        during: During<'_>,
        mut call: impl FnMut(&Context) -> Result<T, Error>,
    ) -> Result<T, ReaderError> {
        match call(&self.context()?) {
            Err(error) if daemon_is_lost(error) => {
                self.context = None;
                let context = self.context()?;
                call(&context).map_err(|error| self.diagnose(error, during))
            }
            Err(error) => Err(meaning(error, during)),
            Ok(value) => Ok(value),
        }
    }

    /// The names of all readers, as the daemon orders them.
    pub(super) fn names(&mut self) -> Result<Vec<String>, ReaderError> {
        let names = self.call(During::Service, Context::list_readers_owned)?;
        Ok(names.iter().map(|name| name.to_string_lossy().into_owned()).collect())
    }

    /// Waits until a state differs from what `states` say, at most `timeout`.
    pub(super) fn wait(
        &mut self,
        states: &mut [ReaderState],
        timeout: Duration,
    ) -> Result<Waited, ReaderError> {
        let context = self.context()?;
        {
            let mut gate = self.waiter.lock();
            if std::mem::take(&mut gate.cancelled) {
                return Err(ReaderError::Cancelled);
            }
            gate.waiting = Some(context.clone());
        }
        let outcome = context.get_status_change(timeout, states);
        let cancelled = {
            let mut gate = self.waiter.lock();
            gate.waiting = None;
            self.waiter.changed.notify_all();
            std::mem::take(&mut gate.cancelled)
        };
        if cancelled {
            return Err(ReaderError::Cancelled);
        }
        match outcome {
            Ok(()) => {
                self.restarts = 0;
                Ok(Waited::Changed)
            }
            Err(error) if daemon_is_lost(error) => self.begin_anew(),
            Err(error) => {
                self.restarts = 0;
                Err(meaning(error, During::Service))
            }
        }
    }

    fn begin_anew(&mut self) -> Result<Waited, ReaderError> {
        self.restarts = self.restarts.saturating_add(1);
        if self.restarts > RESTARTS_MAX {
            self.context = None;
            self.restarts = 0;
            self.lost = true;
            return Err(ReaderError::NoDaemon);
        }
        self.context_anew().map(|_| Waited::Restarted)
    }

    pub(super) fn canceller(&self) -> Canceller {
        let waiter = Arc::clone(&self.waiter);
        Canceller::new(move || waiter.cancel())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_pause_for_the_daemon_ends_at_a_cancellation() {
        let waiter = Arc::new(Waiter::default());
        let other = Arc::clone(&waiter);
        let thread = std::thread::spawn(move || other.cancel());
        let started = Instant::now();
        assert_eq!(waiter.pause(Duration::from_secs(20)), Err(ReaderError::Cancelled));
        assert!(started.elapsed() < Duration::from_secs(10));
        thread.join().unwrap();
        assert_eq!(waiter.pause(Duration::from_millis(1)), Ok(()));
    }
}
