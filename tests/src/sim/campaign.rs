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

/// Every so many seeds all books are checked after each act, not only at the end.
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

/// When to stop before the seeds are used up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Enough {
    /// After so many taps, if histories have been played that `seeds_min` asks for.
    pub taps: Option<u64>,
    /// Histories that are played whatever else.
    pub seeds_min: u64,
    /// At this moment.
    pub until: Option<Instant>,
}

/// Plays the histories of `seeds` on all processors until they are done, or it is enough.
#[must_use]
pub fn run(seeds: Range<u64>, enough: Enough) -> Report {
    let next = AtomicU64::new(seeds.start);
    let taps = AtomicU64::new(0);
    let report = Mutex::new(Report::default());
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let own = work((&next, &taps), seeds.end, enough);
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
    Care { every_act: seed.is_multiple_of(CAREFUL_EVERY), story: false }
}

fn work((next, taps): (&AtomicU64, &AtomicU64), end: u64, enough: Enough) -> Report {
    let mut report = Report::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        let tired = enough.until.is_some_and(|until| Instant::now() >= until);
        let full = enough.taps.is_some_and(|most| taps.load(Ordering::Relaxed) >= most);
        if seed >= end || (seed >= enough.seeds_min && (tired || full)) {
            break;
        }
        let played = play(&Plan::of_seed(seed), care_of(seed));
        report.histories += 1;
        taps.fetch_add(played.coverage.taps, Ordering::Relaxed);
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

    /// Which rules the failing seeds broke, a line each.
    #[must_use]
    pub fn brief(&self) -> String {
        let mut text = String::new();
        for seed in &self.failing {
            let played = play(&Plan::of_seed(*seed), Care::default());
            let broken = played.violations.iter().map(ToString::to_string).collect::<Vec<_>>();
            let _ = writeln!(text, "seed {seed}: {}", broken.join(" | "));
        }
        text
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
    let played = play(&plan, Care { every_act: true, story: true });
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
