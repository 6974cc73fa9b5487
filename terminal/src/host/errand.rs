//! The driver of `flow`'s errands: asks the host, writes the journal, reads it.

use super::{Host, Lost};
use crate::driver::Clock;
use crate::journal::{Batch, Journal, StoreFault};
use flow::errand::{Errand, Event, Step};

/// Runs an errand to its end; the machine says what came of it.
///
/// # Errors
/// The journal refuses.
pub(super) fn run(
    errand: &mut dyn Errand,
    host: &mut dyn Host,
    journal: &mut Journal,
    clock: &dyn Clock,
) -> Result<(), StoreFault> {
    let mut event = Event::Start;
    loop {
        event = match errand.handle(event, journal.outbox_mut()) {
            Step::Ask(ask) => match host.ask(ask, journal, clock) {
                Ok(reply) => Event::Answered(reply),
                Err(Lost::NoReply(why)) => Event::Unanswered(why),
                Err(Lost::Journal(fault)) => return Err(fault),
            },
            Step::Store(entries) => {
                journal.commit(&Batch { wall: clock.now().wall, entries })?;
                Event::Stored
            }
            Step::Counted(batch) => Event::Counted(journal.counted_in(batch)?),
            Step::Done => return Ok(()),
        };
    }
}
