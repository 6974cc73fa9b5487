//! Loads without end: the credit was sent to the card, and the card never came back to show whether it has the money.
//!
//! Nothing is wrong in the books: the host holds the payer's money until the card speaks (`posp.md` section 6). But only its next
//! load or a person ends it, so people are told of each one: `doctor`, `settle` and `history` name it under the code TL-1630.

use crate::config::Settings;
use crate::journal::{Journal, Load, StoreFault};
use crate::online_report::{LoadLine, Reason, load, reason};
use crate::words::masked;
use console::{Failure, Texts, code};
use protocol::purse::Moment;
use protocol::time::{Now, Wall};
use serde::Serialize;

/// How long a load waits for its card before people are told, in hours.
pub const UNENDED_HOURS: u32 = 24;
/// Most of them that are named at once, oldest first.
pub const UNENDED_NAMED_MAX: usize = 100;

const MS_PER_HOUR: i64 = 3_600_000;

/// A load without end, for scripts.
#[derive(Debug, Serialize)]
pub struct UnendedLoad {
    /// The code, what happened, and what to do.
    #[serde(flatten)]
    pub reason: Reason,
    /// The load.
    pub load: LoadLine,
}

/// The loads that have waited for their card for [`UNENDED_HOURS`], oldest first, at most [`UNENDED_NAMED_MAX`].
///
/// # Errors
/// The journal cannot be read.
pub fn find(journal: &Journal, now: Now) -> Result<Vec<Load>, StoreFault> {
    let hours = i64::from(UNENDED_HOURS);
    let then = Now { wall: Wall(now.wall.0.saturating_sub(hours.saturating_mul(MS_PER_HOUR))), ..now };
    // A clock that cannot be right says nothing about age; whoever needs it right says so elsewhere.
    let Ok((date, time)) = then.local() else { return Ok(Vec::new()) };
    let waiting = journal.outbox().loads_without_end(Moment { date, time }).take(UNENDED_NAMED_MAX);
    waiting.filter_map(|id| journal.load(id).transpose()).collect()
}

/// One of them as people read it.
#[must_use]
pub fn failure(load: &Load) -> Failure {
    Failure::new(code::LOAD_WITHOUT_END)
        .with("amount", load.amount)
        .with("date", &load.date)
        .with("time", &load.time)
        .with("number", load.id.0)
        .with("card", masked(&load.card.asn))
}

/// All of them as people read them.
#[must_use]
pub fn text(loads: &[Load], texts: &Texts) -> String {
    loads.iter().map(|load| crate::online_report::reason_text(&failure(load), texts)).collect()
}

/// All of them for scripts.
#[must_use]
pub fn report(loads: &[Load], settings: &Settings, texts: &Texts) -> Vec<UnendedLoad> {
    let one = |of: &Load| UnendedLoad { reason: reason(&failure(of), texts), load: load(of, settings) };
    loads.iter().map(one).collect()
}
