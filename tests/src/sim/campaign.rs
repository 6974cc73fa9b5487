//! Many seeds, and the report: what the last line of `make sim` says, and the shortest story of a failing seed.

use super::coverage::Coverage;
use super::plan::Plan;
use super::shrink::shortest;
use super::world::{Care, play};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Every so many seeds all books are checked after each visit, not only at the end.
const CAREFUL_EVERY: u64 = 8;
/// Failing seeds that are told; more would be the same story.
const TOLD_MAX: usize = 3;

/// What many histories came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Histories played.
    pub histories: u64,
    /// What was hit.
    pub coverage: Coverage,
    /// Seeds that broke a rule, in order.
    pub failing: Vec<u64>,
}

/// Plays the histories of `seeds` on all processors until they are done, or `until` has come.
#[must_use]
pub fn run(seeds: Range<u64>, until: Option<Instant>) -> Report {
    let next = AtomicU64::new(seeds.start);
    let report = Mutex::new(Report::default());
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let own = work(&next, seeds.end, until);
                let mut all = report.lock().expect("a worker failed");
                all.histories += own.histories;
                all.coverage.add(&own.coverage);
                all.failing.extend(own.failing);
            });
        }
    });
    let mut report = report.into_inner().expect("a worker failed");
    report.failing.sort_unstable();
    report
}

/// How much is looked at in the history of a seed among many.
#[must_use]
pub const fn care_of(seed: u64) -> Care {
    Care { every_visit: seed.is_multiple_of(CAREFUL_EVERY), story: false, office: true }
}

fn work(next: &AtomicU64, end: u64, until: Option<Instant>) -> Report {
    let mut report = Report::default();
    while until.is_none_or(|until| Instant::now() < until) {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        let played = play(&Plan::of_seed(seed), care_of(seed));
        report.histories += 1;
        report.coverage.add(&played.coverage);
        if !played.violations.is_empty() {
            report.failing.push(seed);
        }
    }
    report
}

impl Report {
    /// The last line.
    #[must_use]
    pub fn last_line(&self) -> String {
        let Coverage { taps, faults, .. } = self.coverage;
        let (histories, failures) = (self.histories, self.failing.len());
        format!("{taps} taps, {faults} faults, {histories} histories, {failures} failures")
    }

    /// The stories of the first failing seeds.
    #[must_use]
    pub fn stories(&self) -> String {
        let mut text = String::new();
        for seed in self.failing.iter().take(TOLD_MAX) {
            let _ = writeln!(text, "{}", story(*seed));
        }
        text
    }
}

/// The shortest story of a failing seed; the whole story of one that does not fail.
#[must_use]
pub fn story(seed: u64) -> String {
    let whole = Plan::of_seed(seed);
    let plan = shortest(&whole);
    let played = play(&plan, Care { every_visit: true, story: true, office: true });
    let mut text = format!(
        "seed {seed}: {} of {} taps and {} of {} faults are enough\n",
        plan.tap_count(),
        whole.tap_count(),
        plan.fault_count(),
        whole.fault_count()
    );
    for line in &played.story {
        let _ = writeln!(text, "  {line}");
    }
    let _ = writeln!(text, "  replay: make sim SEEDS={seed}..{}", seed + 1);
    text
}
