//! Time for readers, as something a test can replace: the recorder stamps with a [`Clock`], the fault injector and the
//! replayer wait on a [`Sleeper`].

use protocol::time::Mono;
use std::time::{Duration, Instant};

/// A clock that never goes back.
pub trait Clock {
    /// Now, on the clock's own scale.
    fn now(&mut self) -> Mono;
}

impl<F: FnMut() -> Mono> Clock for F {
    fn now(&mut self) -> Mono {
        self()
    }
}

/// Something that can let time pass: a thread sleeps, a simulation moves its clock.
pub trait Sleeper {
    /// Lets `duration` pass.
    fn sleep(&mut self, duration: Duration);
}

impl<F: FnMut(Duration)> Sleeper for F {
    fn sleep(&mut self, duration: Duration) {
        self(duration);
    }
}

/// The machine's monotonic clock, counted from its creation, and the sleep of its threads.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts counting now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&mut self) -> Mono {
        Mono(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Sleeper for SystemClock {
    fn sleep(&mut self, duration: Duration) {
        std::thread::sleep(duration);
    }
}
