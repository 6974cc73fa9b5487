//! Settlement of the batch (`posp.md` sections 3 and 6): everything that waits is sent, then the totals are compared; where they
//! differ the batch's records are sent once more and its upload ended, and both sides' totals are reported.
//!
//! The answer to 0500 may get lost, and the batch is closed all the same: the next sign-in says which batch is open, and so
//! whether it was closed. A batch is never settled twice.

use super::{Drain, Drained, Errand, Event, Scope, Step};
use crate::host::{Ask, HostReply, NoReply};
use crate::outbox::{Outbox, Waiting};
use alloc::vec::Vec;
use protocol::ids::BatchNo;
use protocol::iso8583::f58::{MAX_RECORDS, TransactionRecord};
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
    SendingAgain(Closed, Vec<TransactionRecord>),
    Ending(Closed),
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
        let Closed { totalled: Totalled { batch, ours, .. }, closing, theirs } = closed;
        self.settled = Ok(Settlement { batch, next, closing, ours, theirs });
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
        if !waiting.is_clear() {
            return self.refused(Refusal::Waiting(waiting));
        }
        self.ask(Totalled { batch: outbox.batch(), ours: outbox.totals(), tries: 1 })
    }

    fn ask(&mut self, totalled: Totalled) -> Step {
        self.state = State::Asking(totalled);
        Step::Ask(Ask::Settle(totalled.ours))
    }

    fn answered(&mut self, totalled: Totalled, reply: &HostReply) -> Step {
        let closed = |closing| Closed { totalled, closing, theirs: reply.totals };
        match reply.code {
            ResponseCode::APPROVED => self.sign_in_again(closed(Closing::Balanced)),
            ResponseCode::RECONCILE => {
                self.state = State::Reading(closed(Closing::Differing));
                Step::Records(totalled.batch)
            }
            code => self.refused(Refusal::Refused(code)),
        }
    }

    /// Every record of the batch once more, then the end of the upload, which closes the batch at the host.
    fn send_again(&mut self, closed: Closed, mut records: Vec<TransactionRecord>) -> Step {
        if records.is_empty() {
            self.state = State::Ending(closed);
            return Step::Ask(Ask::UploadEnd);
        }
        let rest = records.split_off(records.len().min(MAX_RECORDS));
        self.state = State::SendingAgain(closed, rest);
        Step::Ask(Ask::Records(records))
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
                let closed = Closed { totalled, closing: Closing::AnswerLost, theirs: None };
                self.closed(closed, Some(outbox.batch()))
            }
            State::LookingAfter(totalled) => self.ask(totalled),
            // They are booked already, or held: the answer changes nothing here, and a host that compares by its own books may
            // refuse them.
            State::SendingAgain(closed, _) if reply.code == ResponseCode::RECONCILE => {
                self.send_again(closed, Vec::new())
            }
            State::SendingAgain(closed, rest) => self.send_again(closed, rest),
            State::Ending(closed) if reply.code.is_approved() => self.sign_in_again(closed),
            State::Ending(_) => self.refused(Refusal::Refused(reply.code)),
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
            (State::SigningInAgain(closed), Event::Unanswered(_)) => self.closed_at_last(closed, outbox),
            (_, Event::Unanswered(why)) => self.refused(why.into()),
            (State::Reading(closed), Event::Records(records)) => self.send_again(closed, records),
            _ => self.refused(Refusal::Driver),
        }
    }
}
