//! Sending what waits (`flow::errand`), over the line and with the journal.

use super::{Host, errand};
use crate::driver::Clock;
use crate::journal::{Journal, StoreFault};
use flow::errand::Drain;

pub use flow::errand::{Drained, Item, Kind, Scope};

/// Sends what waits.
///
/// # Errors
/// The journal refuses; what the host answered for this item is asked again another time, and answered as before.
pub fn drain(
    host: &mut dyn Host,
    journal: &mut Journal,
    clock: &dyn Clock,
    scope: Scope,
) -> Result<Drained, StoreFault> {
    let mut drain = Drain::new(scope);
    errand::run(&mut drain, host, journal, clock)?;
    Ok(drain.into_drained())
}
