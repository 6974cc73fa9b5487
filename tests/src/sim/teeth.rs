//! Whether the simulation would see a mistake: the hunt for the deliberate bugs of `protocol::teeth`, one after the other. Each must be
//! found within [`HISTORIES_MAX`] histories, and as many without any must find nothing (docs/reliability.md has the table).
//!
//! Histories are played in the order of their seeds, so what is reported is the same on every machine: the first seed that breaks a
//! rule, the taps until then, and the rule.

use super::campaign::care_of;
use super::plan::Plan;
use super::world::play;
use protocol::teeth::{Tooth, choose};
use std::fmt::Write as _;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Histories within which every bug must be found.
pub const HISTORIES_MAX: u64 = 4_000;

/// A bug, found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The first seed that broke a rule.
    pub seed: u64,
    /// Cards presented until then, those of that history included.
    pub taps: u64,
    /// The rule.
    pub rule: String,
    /// What was said of it.
    pub said: String,
}

/// Plays histories in order until one breaks a rule. `None`: none does.
#[must_use]
pub fn hunt(tooth: Option<Tooth>, seeds: Range<u64>) -> Option<Found> {
    choose(tooth);
    let next = AtomicU64::new(seeds.start);
    let found: Mutex<Option<Found>> = Mutex::new(None);
    let taps: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());
    let lock = || found.lock().unwrap_or_else(PoisonError::into_inner);
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while lock().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let (count, broken) = one(seed);
                    taps.lock().unwrap_or_else(PoisonError::into_inner).push((seed, count));
                    // Seeds are begun in order, and each that is begun ends: the lowest that fails is always the same one.
                    if let Some((rule, said)) = broken {
                        let mut found = lock();
                        if found.as_ref().is_none_or(|other| seed < other.seed) {
                            *found = Some(Found { seed, taps: 0, rule, said });
                        }
                    }
                }
            });
        }
    });
    choose(None);
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    let taps = taps.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.taps = taps.iter().filter(|(seed, _)| *seed <= found.seed).map(|(_, count)| count).sum();
    Some(found)
}

/// Plays one history. Returns its taps, and the first rule that it broke with what is said of it.
fn one(seed: u64) -> (u64, Option<(String, String)>) {
    let played = catch_unwind(AssertUnwindSafe(|| play(&Plan::of_seed(seed), care_of(seed))));
    let Ok(played) = played else {
        return (0, Some(("Panic".into(), "a part of the simulated world gave up".into())));
    };
    let broken = played.violations.first().map(|violation| {
        // A rule is called as its variant is.
        let debug = format!("{violation:?}");
        let rule = debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        (rule.to_string(), violation.to_string())
    });
    (played.coverage.taps, broken)
}

/// What a hunt for all of them came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunt {
    /// Each bug, and how it was found.
    pub found: Vec<(Tooth, Option<Found>)>,
    /// What was found where nothing was to be found.
    pub alarm: Option<Found>,
}

/// Hunts each of them; `told` is called with a line as soon as there is one to tell.
pub fn hunt_all(mut told: impl FnMut(&str)) -> Hunt {
    let mut found = Vec::new();
    for tooth in Tooth::ALL {
        let it = hunt(Some(tooth), 0..HISTORIES_MAX);
        told(&line(tooth.name(), it.as_ref()));
        found.push((tooth, it));
    }
    let alarm = hunt(None, 0..HISTORIES_MAX);
    told(&line("none", alarm.as_ref()));
    Hunt { found, alarm }
}

fn line(name: &str, found: Option<&Found>) -> String {
    let mut line = format!("tooth {name:<21}");
    let _ = match found {
        Some(Found { seed, taps, rule, said }) => {
            write!(line, "found after {:>4} histories, {taps:>6} taps: {rule}: {said}", seed + 1)
        }
        None => write!(line, "not found in {HISTORIES_MAX} histories"),
    };
    line
}

impl Hunt {
    /// Whether each bug was found, and nothing without one.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.alarm.is_none() && self.found.iter().all(|(_, found)| found.is_some())
    }

    /// The last line.
    #[must_use]
    pub fn last_line(&self) -> String {
        let count = self.found.iter().filter(|(_, found)| found.is_some()).count();
        let alarms = u8::from(self.alarm.is_some());
        format!("{count} of {} deliberate bugs found, {alarms} false alarms", self.found.len())
    }
}
