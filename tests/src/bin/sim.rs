//! `make sim SEEDS=a..b`: plays the histories of these seeds. One seed is told in words, whether it fails or not; of
//! many, the failing ones are, each made as short as it still fails. `--coverage` prints what was hit.

use std::process::ExitCode;
use tests::sim::campaign::{run, story};

/// Seeds that are played when none are named.
const DEFAULT_SEEDS: std::ops::Range<u64> = 0..2_000;
const USAGE: &str = "usage: sim [SEEDS] [--coverage]   SEEDS as 0..1000, or one number";

fn main() -> ExitCode {
    let (options, seeds): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let range = match seeds.as_slice() {
        [] => Some(DEFAULT_SEEDS),
        [one] => parse(one),
        _ => None,
    };
    let coverage = options.iter().any(|option| option == "--coverage");
    let (Some(range), true) = (range, options.iter().all(|option| option == "--coverage")) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if range.end - range.start == 1 {
        print!("{}", story(range.start));
    }
    let report = run(range.clone(), None);
    if range.end - range.start > 1 {
        print!("{}", report.stories());
    }
    if coverage {
        print!("{}", report.coverage.table());
        report.coverage.missing().iter().for_each(|(kind, at)| println!("    never  {kind} · {at}"));
    }
    println!("seeds {}..{}: {}", range.start, range.end, report.last_line());
    if report.failing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(text: &str) -> Option<std::ops::Range<u64>> {
    match text.split_once("..") {
        Some((from, to)) => {
            let range = from.parse().ok()?..to.parse().ok()?;
            (!range.is_empty()).then_some(range)
        }
        None => text.parse().ok().map(|seed: u64| seed..seed.saturating_add(1)),
    }
}
