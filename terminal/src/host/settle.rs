//! Settlement of the batch (`posp.md` sections 3 and 6): everything that waits is sent, then the totals are compared; where they
//! differ the batch's records are sent once more and its upload ended, and both sides' totals are reported.
//!
//! The answer to 0500 may get lost, and the batch is closed all the same: the next sign-in says which batch is open, and so
//! whether it was closed. A batch is never settled twice.

use super::{Drained, Host, Lost, Scope, drain};
use crate::driver::Clock;
use crate::journal::{Journal, StoreFault};
use flow::host::{Ask, NoReply};
use flow::outbox::Waiting;
use protocol::ids::BatchNo;
use protocol::iso8583::f58::MAX_RECORDS;
use protocol::iso8583::typed::{ResponseCode, SettlementTotals};

/// How often the totals are sent, while their answers get lost.
const TRIES_MAX: u32 = 3;

/// How the batch was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Both sides counted the same.
    Balanced,
    /// They did not; the host closed it with its own totals after the records were sent again.
    Differing,
    /// It is closed, but the host's answer got lost.
    AnswerLost,
}

/// A batch that was settled.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// The batch.
    pub batch: BatchNo,
    /// The open batch from now on; `None` until the next sign-in says.
    pub next: Option<BatchNo>,
    /// How it was closed.
    pub closing: Closing,
    /// What the terminal counted.
    pub ours: SettlementTotals,
    /// What the host counted.
    pub theirs: Option<SettlementTotals>,
}

/// Why the batch was not settled; it is still open, and nothing is lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Something waits that the host did not take.
    #[error("items still wait for the host")]
    Waiting(Waiting),
    /// The host did not answer.
    #[error(transparent)]
    NoReply(#[from] NoReply),
    /// The host refused.
    #[error("the host refused with code {0}")]
    Refused(ResponseCode),
    /// The journal refused.
    #[error("{0}")]
    Journal(#[from] StoreFault),
}

impl From<Lost> for Refusal {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NoReply(why) => Self::NoReply(why),
            Lost::Journal(fault) => Self::Journal(fault),
        }
    }
}

/// Sends what waits and settles the open batch; what was sent is told in either case.
pub fn settle(
    host: &mut dyn Host,
    journal: &mut Journal,
    clock: &dyn Clock,
) -> (Drained, Result<Settlement, Refusal>) {
    // The host may have closed the batch before, with its answer lost.
    if let Err(lost) = host.ask(Ask::SignIn, journal, clock) {
        return (Drained::default(), Err(lost.into()));
    }
    let drained = match drain(host, journal, clock, Scope::All) {
        Ok(drained) => drained,
        Err(fault) => return (Drained::default(), Err(fault.into())),
    };
    if let Some(why) = drained.stopped {
        return (drained, Err(why.into()));
    }
    let waiting = journal.outbox().waiting();
    if !waiting.is_clear() {
        return (drained, Err(Refusal::Waiting(waiting)));
    }
    let settlement = close(host, journal, clock);
    (drained, settlement)
}

fn close(host: &mut dyn Host, journal: &mut Journal, clock: &dyn Clock) -> Result<Settlement, Refusal> {
    let (batch, ours) = (journal.outbox().batch(), journal.outbox().totals());
    let settlement = |closing, theirs, next| Settlement { batch, next, closing, ours, theirs };
    let mut tries = 0_u32;
    let reply = loop {
        tries = tries.saturating_add(1);
        match host.ask(Ask::Settle(ours), journal, clock) {
            Ok(reply) => break reply,
            Err(Lost::NoReply(NoReply::Timeout | NoReply::Broken)) if tries < TRIES_MAX => {
                host.ask(Ask::SignIn, journal, clock)?;
                let open = journal.outbox().batch();
                if open != batch {
                    return Ok(settlement(Closing::AnswerLost, None, Some(open)));
                }
            }
            Err(lost) => return Err(lost.into()),
        }
    };
    let closing = match reply.code {
        ResponseCode::APPROVED => Closing::Balanced,
        ResponseCode::RECONCILE => {
            send_again(host, journal, clock, batch)?;
            Closing::Differing
        }
        code => return Err(Refusal::Refused(code)),
    };
    // The next sign-in names the batch that is open now; if it is lost, the one after it does.
    let signed_in = host.ask(Ask::SignIn, journal, clock);
    if let Err(Lost::Journal(fault)) = signed_in {
        return Err(fault.into());
    }
    let open = journal.outbox().batch();
    Ok(settlement(closing, reply.totals, (open != batch).then_some(open)))
}

/// Every record of the batch once more, then the end of the upload, which closes the batch at the host.
fn send_again(
    host: &mut dyn Host,
    journal: &mut Journal,
    clock: &dyn Clock,
    batch: BatchNo,
) -> Result<(), Refusal> {
    let records = journal.uploaded_in(batch)?;
    for part in records.chunks(MAX_RECORDS) {
        // They are booked already, or held: the answer changes nothing here, and a host that compares by its own books may
        // refuse them.
        let reply = host.ask(Ask::Records(part.to_vec()), journal, clock)?;
        tracing::info!(code = %reply.code, records = part.len(), "records of the batch sent again");
        if reply.code == ResponseCode::RECONCILE {
            break;
        }
    }
    let reply = host.ask(Ask::UploadEnd, journal, clock)?;
    if reply.code.is_approved() { Ok(()) } else { Err(Refusal::Refused(reply.code)) }
}
