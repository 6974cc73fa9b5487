//! Settlement of the batch (`flow::errand`), over the line and with the journal.

use super::{Drained, Host, errand};
use crate::driver::Clock;
use crate::journal::{Journal, StoreFault};
use flow::errand::Settle;

pub use flow::errand::{Closing, Settlement};

/// Why the batch was not settled; it is still open, and nothing is lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// At the host.
    #[error(transparent)]
    Host(#[from] flow::errand::Refusal),
    /// The journal refused.
    #[error("{0}")]
    Journal(#[from] StoreFault),
}

/// Sends what waits and settles the open batch; what was sent is told in either case.
pub fn settle(
    host: &mut dyn Host,
    journal: &mut Journal,
    clock: &dyn Clock,
) -> (Drained, Result<Settlement, Refusal>) {
    let mut settle = Settle::new();
    let ran = errand::run(&mut settle, host, journal, clock);
    let (drained, settled) = settle.into_settled();
    match ran {
        Ok(()) => (drained, settled.map_err(Refusal::Host)),
        Err(fault) => (drained, Err(fault.into())),
    }
}
