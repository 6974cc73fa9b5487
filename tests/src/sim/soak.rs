//! `make soak`: histories that nobody played before, for as long as wanted, on all processors. A fault point that all of them together
//! never hit is a failure, as in the test.

use super::campaign::{Enough, Report, run};
use std::time::{Duration, Instant};

/// How often there is a sign of life.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Plays histories from `first` on until `long` is over; `told` is called with how far it is, about once a minute.
pub fn soak(first: u64, long: Duration, mut told: impl FnMut(&str)) -> Report {
    let until = Instant::now() + long;
    let mut all = Report::default();
    while Instant::now() < until {
        let enough = Enough { until: Some(until.min(Instant::now() + TOLD_EVERY)), ..Enough::default() };
        let part = run(first.saturating_add(all.histories)..u64::MAX, enough);
        all.histories += part.histories;
        all.coverage.add(&part.coverage);
        // Told at once: what is left of the hour is time to look at it.
        for failing in &part.failing {
            told(&format!("a failing seed: {failing}"));
        }
        all.failing.extend(part.failing);
        let left = until.saturating_duration_since(Instant::now()).as_secs();
        told(&format!("{}, {left} s left", all.last_line()));
    }
    all
}
