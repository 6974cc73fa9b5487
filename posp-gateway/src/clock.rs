//! The gateway's clock: the one place that reads the machine's.

use jiff::tz::TimeZone;
use protocol::time::{Mono, Now, Wall};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Reads both clocks of the machine, and the offset of the gateway's time zone.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    zone: TimeZone,
}

impl Clock {
    /// Local times are those of `zone`.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        Self { start: Instant::now(), zone }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
        let offset = jiff::Timestamp::from_millisecond(wall).map(|at| self.zone.to_offset(at).seconds());
        Now {
            mono: self.mono(),
            wall: Wall(wall),
            utc_offset_min: i16::try_from(offset.unwrap_or(0) / 60).unwrap_or(0),
        }
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
