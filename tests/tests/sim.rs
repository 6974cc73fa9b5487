//! The simulation within a fixed budget: no seed breaks a rule, and no fault point stays unhit.
//! `make sim SEEDS=a..b` replays what fails here.
#![cfg(test)]

use std::time::{Duration, Instant};
use tests::sim::campaign::{run, story};
use tests::sim::coverage::Coverage;
use tests::sim::plan::Plan;
use tests::sim::{Care, play};

/// Histories that must be played, however slow the machine: enough to hit every fault point many times over.
const SEEDS_MIN: u64 = 1_500;
/// On a fast machine, more of them.
const BUDGET: Duration = Duration::from_secs(20);

#[test]
fn no_history_loses_or_makes_money_and_every_fault_point_is_hit() {
    let until = Instant::now() + BUDGET;
    let mut report = run(0..SEEDS_MIN, None);
    let more = run(SEEDS_MIN..u64::MAX, Some(until));
    report.histories += more.histories;
    report.coverage.add(&more.coverage);
    report.failing.extend(more.failing);
    println!("{}", report.last_line());
    assert!(report.failing.is_empty(), "{}\n{}", report.last_line(), report.stories());
    let missing = report.coverage.missing();
    assert!(missing.is_empty(), "never hit, of {} points: {missing:?}", Coverage::required_count());
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in [0, 7, 4711] {
        let tell = || play(&Plan::of_seed(seed), Care { every_visit: true, story: true }).story;
        assert_eq!(tell(), tell());
        assert_eq!(story(seed), story(seed));
    }
}
