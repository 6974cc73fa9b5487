//! Settlement of the batch (`posp.md` sections 3 and 6): everything that waits is sent, then the totals are compared; where they
//! differ everything that counts in the batch is sent item by item, and the host's answer to the end names each difference.
//!
//! Wherever it is interrupted, the next settlement begins again with the totals: the host takes the same items again. The answer to 0500 may get lost, and the batch is closed all the same: the next sign-in says which batch is open, and so
//! whether it was closed. A batch is never settled twice.

use super::{Drain, Drained, Errand, Event, Scope, Step};
use crate::host::{Ask, Differences, HostReply, NoReply};
use crate::outbox::{Outbox, Waiting};
use alloc::vec::Vec;
use protocol::ids::BatchNo;
use protocol::iso8583::f58::{BatchItem, ITEMS_MAX};
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
    /// On what they differ; `None` if they do not, or if that answer got lost.
    pub differences: Option<Differences>,
}

/// Why the batch was not settled; it is still open, and nothing is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// The driver did not keep to the steps.
    #[error("the errand was driven wrongly")]
    Driver,
}

/// The totals on their way.
#[derive(Clone, Copy, Debug)]
struct Totalled {
    batch: BatchNo,
    ours: SettlementTotals,
    tries: u32,
}

/// A batch that is closed at the host, or about to be.
#[derive(Debug)]
struct Closed {
    totalled: Totalled,
    closing: Closing,
    theirs: Option<SettlementTotals>,
    differences: Option<Differences>,
    /// How often its upload was ended, while the answers got lost.
    ends: u32,
}

impl Closed {
    const fn by(totalled: Totalled, closing: Closing) -> Self {
        Self { totalled, closing, theirs: None, differences: None, ends: 0 }
    }
}

#[derive(Debug)]
enum State {
    Fresh,
    SigningIn,
    Draining,
    Asking(Totalled),
    /// The answer got lost: a sign-in tells whether the batch was closed.
    LookingAfter(Totalled),
    Reading(Closed),
    Uploading(Closed, Vec<BatchItem>),
    Ending(Closed),
    /// The answer to the end got lost: a sign-in tells whether the batch was closed.
    LookingAfterEnd(Closed),
    SigningInAgain(Closed),
    Finished,
}

/// Sends what waits and settles the open batch.
#[derive(Debug)]
pub struct Settle {
    drain: Drain,
    state: State,
    settled: Result<Settlement, Refusal>,
}

impl Default for Settle {
    fn default() -> Self {
        Self::new()
    }
}

impl Settle {
    /// Of the batch that is open.
    #[must_use]
    pub const fn new() -> Self {
        Self { drain: Drain::new(Scope::All), state: State::Fresh, settled: Err(Refusal::Driver) }
    }

    /// What was sent before, and how it ended.
    pub fn into_settled(self) -> (Drained, Result<Settlement, Refusal>) {
        (self.drain.into_drained(), self.settled)
    }

    /// How it ended.
    pub const fn settled(&self) -> &Result<Settlement, Refusal> {
        &self.settled
    }

    fn refused(&mut self, why: Refusal) -> Step {
        self.settled = Err(why);
        Step::Done
    }

    fn closed(&mut self, closed: Closed, next: Option<BatchNo>) -> Step {
        let Closed { totalled: Totalled { batch, ours, .. }, closing, theirs, differences, .. } = closed;
        self.settled = Ok(Settlement { batch, next, closing, ours, theirs, differences });
        Step::Done
    }

    fn drain(&mut self, event: Event, outbox: &mut Outbox) -> Step {
        match self.drain.handle(event, outbox) {
            Step::Done => self.total(outbox),
            step => {
                self.state = State::Draining;
                step
            }
        }
    }

    fn total(&mut self, outbox: &Outbox) -> Step {
        if let Some(why) = self.drain.drained().stopped {
            return self.refused(why.into());
        }
        let waiting = outbox.waiting();
        // Payments that the batch has no room for, or that the host takes only once it is reconciled, wait for the next one: to
        // wait for them would be to wait forever.
        let next_batch = outbox.is_full_of_payments() || self.drain.drained().must_reconcile();
        let only_records = Waiting { records: 0, ..waiting }.is_clear();
        if !(waiting.is_clear() || (next_batch && only_records)) {
            return self.refused(Refusal::Waiting(waiting));
        }
        self.ask(Totalled { batch: outbox.batch(), ours: outbox.totals(), tries: 1 })
    }

    fn ask(&mut self, totalled: Totalled) -> Step {
        self.state = State::Asking(totalled);
        Step::Ask(Ask::Settle(totalled.ours))
    }

    fn answered(&mut self, totalled: Totalled, reply: &HostReply) -> Step {
        let closed = |closing| Closed { theirs: reply.totals, ..Closed::by(totalled, closing) };
        match reply.code {
            ResponseCode::APPROVED => self.sign_in_again(closed(Closing::Balanced)),
            ResponseCode::RECONCILE => {
                self.state = State::Reading(closed(Closing::Differing));
                Step::Counted(totalled.batch)
            }
            code => self.refused(Refusal::Refused(code)),
        }
    }

    /// Every item of the batch, then the end of the upload, which closes the batch at the host.
    fn upload(&mut self, closed: Closed, mut items: Vec<BatchItem>) -> Step {
        if items.is_empty() {
            return self.end_upload(closed);
        }
        let rest = items.split_off(items.len().min(ITEMS_MAX));
        self.state = State::Uploading(closed, rest);
        Step::Ask(Ask::Items(items))
    }

    fn end_upload(&mut self, closed: Closed) -> Step {
        self.state = State::Ending(Closed { ends: closed.ends.saturating_add(1), ..closed });
        Step::Ask(Ask::UploadEnd)
    }

    /// The next sign-in names the batch that is open now; if it is lost, the one after it does.
    fn sign_in_again(&mut self, closed: Closed) -> Step {
        self.state = State::SigningInAgain(closed);
        Step::Ask(Ask::SignIn)
    }

    fn host_answered(&mut self, state: State, reply: &HostReply, outbox: &mut Outbox) -> Step {
        match state {
            State::SigningIn => self.drain(Event::Start, outbox),
            State::Asking(totalled) => self.answered(totalled, reply),
            State::LookingAfter(totalled) if outbox.batch() != totalled.batch => {
                self.closed(Closed::by(totalled, Closing::AnswerLost), Some(outbox.batch()))
            }
            State::LookingAfter(totalled) => self.ask(totalled),
            State::Uploading(closed, rest) if reply.code.is_approved() => self.upload(closed, rest),
            State::Ending(closed) if reply.code.is_approved() => {
                let theirs = reply.totals.or(closed.theirs);
                self.sign_in_again(Closed { theirs, differences: reply.differences.clone(), ..closed })
            }
            State::Uploading(..) | State::Ending(_) => self.refused(Refusal::Refused(reply.code)),
            State::LookingAfterEnd(closed) if outbox.batch() != closed.totalled.batch => {
                self.closed(closed, Some(outbox.batch()))
            }
            State::LookingAfterEnd(closed) => self.end_upload(closed),
            State::SigningInAgain(closed) => self.closed_at_last(closed, outbox),
            _ => self.refused(Refusal::Driver),
        }
    }

    fn closed_at_last(&mut self, closed: Closed, outbox: &Outbox) -> Step {
        let open = outbox.batch();
        let next = (open != closed.totalled.batch).then_some(open);
        self.closed(closed, next)
    }
}

impl Errand for Settle {
    fn handle(&mut self, event: Event, outbox: &mut Outbox) -> Step {
        match (core::mem::replace(&mut self.state, State::Finished), event) {
            (State::Fresh, Event::Start) => {
                // The host may have closed the batch before, with its answer lost.
                self.state = State::SigningIn;
                Step::Ask(Ask::SignIn)
            }
            (State::Draining, event) => self.drain(event, outbox),
            (state, Event::Answered(reply)) => self.host_answered(state, &reply, outbox),
            (State::Asking(totalled), Event::Unanswered(NoReply::Timeout | NoReply::Broken))
                if totalled.tries < TRIES_MAX =>
            {
                let tries = totalled.tries.saturating_add(1);
                self.state = State::LookingAfter(Totalled { tries, ..totalled });
                Step::Ask(Ask::SignIn)
            }
            (State::Ending(closed), Event::Unanswered(NoReply::Timeout | NoReply::Broken))
                if closed.ends < TRIES_MAX =>
            {
                self.state = State::LookingAfterEnd(closed);
                Step::Ask(Ask::SignIn)
            }
            (State::SigningInAgain(closed), Event::Unanswered(_)) => self.closed_at_last(closed, outbox),
            (_, Event::Unanswered(why)) => self.refused(why.into()),
            (State::Reading(closed), Event::Counted(items)) => self.upload(closed, items),
            _ => self.refused(Refusal::Driver),
        }
    }
}
