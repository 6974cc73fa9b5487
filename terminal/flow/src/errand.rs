//! What a terminal does at its gateway besides payments, as machines: sending what waits ([`Drain`]) and settling the batch
//! ([`Settle`]), `posp.md` sections 3 and 6.
//!
//! The driver's loop: hand over an event and the outbox, carry out the step, hand over what came of it.
//!
//! | step | the driver does | and answers with |
//! |---|---|---|
//! | [`Step::Ask`] | asks the host | `Answered`, `Unanswered` |
//! | [`Step::Store`] | makes the entries durable; the outbox takes them | `Stored` |
//! | [`Step::Counted`] | reads what counts in this batch | `Counted` |
//! | [`Step::Done`] | ends; the machine says what came of it | – |
//!
//! A journal that refuses ends the errand: whatever was asked is asked again another time, and answered as before.

mod drain;
mod settle;

pub use drain::{Drain, Drained, Item, Kind, Scope};
pub use settle::{Closing, Refusal, Settle, Settlement};

use crate::host::{Ask, HostReply, NoReply};
use crate::outbox::Outbox;
use crate::record::JournalEntry;
use alloc::vec::Vec;
use protocol::ids::BatchNo;
use protocol::iso8583::f58::BatchItem;

/// What a driver tells an errand.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "answers are the common case")]
pub enum Event {
    /// Begin.
    Start,
    /// The host's answer.
    Answered(HostReply),
    /// There is none: whether the host got the request is not known.
    Unanswered(NoReply),
    /// The entries are durable, and the outbox knows them.
    Stored,
    /// What counts in the batch.
    Counted(Vec<BatchItem>),
}

/// What an errand wants done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Ask the host.
    Ask(Ask),
    /// Make these durable before anything else happens.
    Store(Vec<JournalEntry>),
    /// Read what counts in this batch.
    Counted(BatchNo),
    /// It is over.
    Done,
}

/// An errand.
pub trait Errand {
    /// Takes an event and says what is to be done next.
    fn handle(&mut self, event: Event, outbox: &mut Outbox) -> Step;
}

#[cfg(test)]
mod tests;
