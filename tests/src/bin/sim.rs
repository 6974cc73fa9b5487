//! `make sim SEEDS=a..b`: plays the histories of these seeds. One seed is told in words, whether it fails or not; of
//! many, the failing ones are, each made as short as it still fails. `--coverage` prints what was hit, `--brief` says
//! of failing seeds only which rules they broke.
//!
//! `--soak S` plays histories that were never played before, for S seconds (`make soak`). In a build with deliberate bugs
//! (`scripts/teeth`), `--teeth` hunts all of them, and `--tooth NAME` has one bite while seeds are played.

use protocol::teeth::{SHARP, Tooth, choose};
use std::ops::Range;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use tests::sim::campaign::{Enough, Report, run, story};
use tests::sim::soak::soak;
use tests::sim::teeth::hunt_all;

/// Seeds that are played when none are named.
const DEFAULT_SEEDS: Range<u64> = 0..2_000;
/// Seeds of a soak are this many times the second in which it began, so that two of them play different histories.
const SOAK_SEEDS_PER_SECOND: u64 = 1_000_000;
const USAGE: &str =
    "usage: sim [SEEDS] [--coverage] [--brief] [--tooth NAME] | sim --soak SECONDS | sim --teeth
  SEEDS as 0..1000, or one number";

/// What is wanted.
enum Job {
    Seeds { seeds: Range<u64>, coverage: bool, brief: bool },
    Soak(Duration),
    Hunt,
}

fn main() -> ExitCode {
    let Some((job, tooth)) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if !SHARP && (tooth.is_some() || matches!(job, Job::Hunt)) {
        eprintln!("this build has no deliberate bugs; scripts/teeth makes one that has");
        return ExitCode::from(2);
    }
    choose(tooth);
    let good = match job {
        Job::Seeds { seeds, coverage, brief } => play_seeds(seeds, coverage, brief),
        Job::Soak(long) => play_long(long),
        Job::Hunt => hunt(),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn play_seeds(seeds: Range<u64>, coverage: bool, brief: bool) -> bool {
    let one = seeds.end - seeds.start == 1;
    if one && !brief {
        print!("{}", story(seeds.start));
    }
    let report = run(seeds.clone(), Enough::default());
    if brief {
        print!("{}", report.brief());
    } else if !one {
        print!("{}", report.stories());
    }
    if coverage {
        print_coverage(&report);
    }
    println!("seeds {}..{}: {}", seeds.start, seeds.end, report.last_line());
    report.failing.is_empty()
}

fn print_coverage(report: &Report) {
    print!("{}", report.coverage.table());
    report.coverage.missing().iter().for_each(|(kind, at)| println!("    never  {kind} · {at}"));
}

fn play_long(long: Duration) -> bool {
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let first = began.saturating_mul(SOAK_SEEDS_PER_SECOND);
    println!("seeds from {first} on, for {} s", long.as_secs());
    let report = soak(first, long, |line| println!("{line}"));
    print!("{}", report.stories());
    print_coverage(&report);
    let missing = report.coverage.missing();
    if !missing.is_empty() {
        println!("{} fault points were never hit: the simulation is blind there", missing.len());
    }
    println!("{}", report.last_line());
    report.failing.is_empty() && missing.is_empty()
}

fn hunt() -> bool {
    let hunt = hunt_all(|line| println!("{line}"));
    println!("{}", hunt.last_line());
    hunt.is_good()
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<(Job, Option<Tooth>)> {
    let (mut seeds, mut coverage, mut brief, mut tooth, mut other) = (None, false, false, None, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--coverage" => coverage = true,
            "--brief" => brief = true,
            "--teeth" => other = Some(Job::Hunt),
            "--soak" => other = Some(Job::Soak(Duration::from_secs(arguments.next()?.parse().ok()?))),
            "--tooth" => {
                let name = arguments.next()?;
                tooth = Some(Tooth::ALL.into_iter().find(|tooth| tooth.name() == name)?);
            }
            text if seeds.is_none() => seeds = Some(seeds_of(text)?),
            _ => return None,
        }
    }
    let job = match other {
        Some(_) if coverage || brief || seeds.is_some() => return None,
        Some(job) => job,
        None => Job::Seeds { seeds: seeds.unwrap_or(DEFAULT_SEEDS), coverage, brief },
    };
    Some((job, tooth))
}

fn seeds_of(text: &str) -> Option<Range<u64>> {
    match text.split_once("..") {
        Some((from, to)) => {
            let range = from.parse().ok()?..to.parse().ok()?;
            (!range.is_empty()).then_some(range)
        }
        None => text.parse().ok().map(|seed: u64| seed..seed.saturating_add(1)),
    }
}
