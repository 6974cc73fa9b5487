//! The gateway's clock: the one place that reads the machine's.
//!
//! What is decided at a date cannot be taken back: a machine whose clock jumps a year ahead would release every pre-authorisation, let policy pay
//! what is uncertain, and begin days of limits that never end. So the wall clock is followed only as far as the monotonic one goes with it: up to
//! an hour is a correction ([`STEP_MS_MAX`]), and more is a jump, of which the log tells. The gateway then goes on with its own time, until the
//! machine's comes back or the gateway is started again: what the clock shows at the start is believed. A machine that was suspended for longer than that
//! looks the same, since its monotonic clock stood still: start the gateway again.

use jiff::tz::TimeZone;
use protocol::time::{Mono, Now, Wall};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The most by which the wall clock may step beside the monotonic one, either way: an hour, for whoever sets a clock by hand.
pub const STEP_MS_MAX: i64 = 3_600_000;

/// How often the log tells of a jump while it lasts: ten minutes.
const TOLD_EVERY_MS: i64 = 600_000;

/// Reads both clocks of the machine, and the offset of the gateway's time zone.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    zone: TimeZone,
    followed: Arc<Followed>,
}

/// The wall clock, as far as it is followed.
#[derive(Debug)]
struct Followed {
    /// What it showed when the monotonic clock showed zero, milliseconds.
    at_zero: AtomicI64,
    jumped: AtomicBool,
    /// When the log told of it, in the gateway's own time.
    told_at: AtomicI64,
}

impl Followed {
    /// Whether it is time to tell of a jump, at its beginning and every so often while it lasts.
    fn told(&self, own: i64, begins: bool) -> bool {
        let due = begins || own.saturating_sub(self.told_at.load(Ordering::Relaxed)) >= TOLD_EVERY_MS;
        if due {
            self.told_at.store(own, Ordering::Relaxed);
        }
        due
    }

    /// What the gateway takes for now, when the machine's clocks show these, in milliseconds.
    fn follow(&self, wall: i64, mono: i64) -> i64 {
        let own = self.at_zero.load(Ordering::Relaxed).saturating_add(mono);
        let off = wall.saturating_sub(own);
        let jumped = off.saturating_abs() > STEP_MS_MAX;
        let before = self.jumped.swap(jumped, Ordering::Relaxed);
        let seconds = off / 1000;
        if jumped && self.told(own, !before) {
            tracing::error!(
                seconds,
                "the machine's clock jumped: the gateway goes on with its own time; set the clock right, or if it is, start the gateway again"
            );
        }
        if before && !jumped {
            tracing::warn!(seconds, "the machine's clock is back");
        }
        if jumped {
            return own;
        }
        self.at_zero.store(wall.saturating_sub(mono), Ordering::Relaxed);
        wall
    }
}

fn machine() -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)
}

impl Clock {
    /// Local times are those of `zone`.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        let followed = Followed {
            at_zero: AtomicI64::new(machine()),
            jumped: AtomicBool::new(false),
            told_at: AtomicI64::new(0),
        };
        Self { start: Instant::now(), zone, followed: Arc::new(followed) }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Now {
        let mono = self.mono();
        let wall = self.followed.follow(machine(), i64::try_from(mono.0 / 1_000_000).unwrap_or(i64::MAX));
        let offset = jiff::Timestamp::from_millisecond(wall).map(|at| self.zone.to_offset(at).seconds());
        Now { mono, wall: Wall(wall), utc_offset_min: i16::try_from(offset.unwrap_or(0) / 60).unwrap_or(0) }
    }

    /// Now, for deadlines.
    #[must_use]
    pub fn mono(&self) -> Mono {
        Mono(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The zone without an offset.
#[must_use]
pub const fn utc() -> TimeZone {
    TimeZone::UTC
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_795_300_000_000;
    const DAY: i64 = 86_400_000;

    fn started() -> Followed {
        Followed {
            at_zero: AtomicI64::new(START),
            jumped: AtomicBool::new(false),
            told_at: AtomicI64::new(0),
        }
    }

    #[test]
    fn a_correction_is_followed_and_so_is_the_next() {
        let clock = started();
        assert_eq!(clock.follow(START + 10_000 + STEP_MS_MAX, 10_000), START + 10_000 + STEP_MS_MAX);
        assert_eq!(clock.follow(START + 20_000, 20_000), START + 20_000, "back again");
        assert_eq!(clock.follow(START + 20_500, 21_000), START + 20_500, "and half a second lost");
    }

    #[test]
    fn a_jump_is_not_followed_and_time_goes_on_until_the_clock_is_back() {
        for jump in [365 * DAY, DAY, -DAY, -START] {
            let clock = started();
            assert_eq!(clock.follow(START + 5_000 + jump, 5_000), START + 5_000, "{jump}");
            assert_eq!(
                clock.follow(START + 65_000 + jump, 65_000),
                START + 65_000,
                "{jump}: it does not stand still"
            );
            assert_eq!(clock.follow(START + 70_300, 70_000), START + 70_300, "{jump}: set right");
        }
    }

    #[test]
    fn a_jump_is_told_when_it_begins_and_every_ten_minutes_while_it_lasts() {
        let clock = started();
        let told: Vec<bool> = [0, 1, 599_999, 600_000, 600_001, 1_200_000]
            .map(|after| clock.told(START + after, after == 0))
            .to_vec();
        assert_eq!(told, [true, false, false, true, false, true]);
        assert!(clock.told(START + 1_200_001, true), "another one");
    }

    #[test]
    fn many_steps_without_their_time_are_a_jump_only_if_one_of_them_is() {
        let clock = started();
        let month = i64::from(i32::MAX);
        assert_eq!(clock.follow(START + month, month), START + month, "a month without a request");
        assert_eq!(clock.follow(START + month + DAY, month), START + month);
    }
}
