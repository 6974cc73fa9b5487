//! Sending what waits: reversals first, then confirmations of loads, then records of offline payments (`posp.md` section 6).
//!
//! Nothing leaves the outbox but by an answer that is durable. What the host did not take is passed over for this once, so that it
//! holds up nothing that stands behind it, and stays due. An answer counts for what was sent: a record that became known better
//! while its message was on the way is sent again as it is now.

use super::{Errand, Event, Step};
use crate::host::{Ask, HostReply, NoReply};
use crate::outbox::{Due, Outbox};
use crate::record::{JournalEntry, LoadState, RecordId};
use alloc::vec;
use alloc::vec::Vec;
use protocol::iso8583::f58::TransactionRecord;
use protocol::iso8583::typed::ResponseCode;

/// How often one message is tried before the rest waits for another time.
const TRIES_MAX: u32 = 3;

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Reversals only: what has to be out of the way before a load.
    Reversals,
    /// Reversals and confirmations of loads.
    Loads,
    /// Everything that can be decided.
    All,
    /// Payments too that still wait for their card, as uncertain.
    WithOpen,
}

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The reversal of a load.
    Reversal,
    /// What became of a load.
    Confirmation,
    /// An offline payment.
    Record,
}

impl Kind {
    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reversal => "reversal",
            Self::Confirmation => "confirmation",
            Self::Record => "payment",
        }
    }
}

/// What the host said about one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Its number in the journal.
    pub number: RecordId,
    /// The host's code; `None` if an answer said nothing about it.
    pub code: Option<ResponseCode>,
    /// It left the outbox.
    pub settled: bool,
    /// A person has to look at it.
    pub attention: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Each item that was asked about, in order.
    pub items: Vec<Item>,
    /// Why it stopped before the end.
    pub stopped: Option<NoReply>,
}

impl Drained {
    /// Whether the host turned payments away until the batch is reconciled.
    #[must_use]
    pub fn must_reconcile(&self) -> bool {
        let turned_away =
            |item: &Item| item.kind == Kind::Record && item.code == Some(ResponseCode::RECONCILE);
        self.items.iter().any(turned_away)
    }
}

/// A message on its way.
#[derive(Debug)]
struct Sent {
    due: Due,
    /// As they were sent.
    records: Vec<TransactionRecord>,
    tries: u32,
}

#[derive(Debug)]
enum State {
    Fresh,
    Asking(Sent),
    Storing(Vec<Item>),
    Finished,
}

/// Sends what waits.
#[derive(Debug)]
pub struct Drain {
    scope: Scope,
    state: State,
    passed: Vec<RecordId>,
    drained: Drained,
}

impl Drain {
    /// Of this scope.
    #[must_use]
    pub const fn new(scope: Scope) -> Self {
        let drained = Drained { items: Vec::new(), stopped: None };
        Self { scope, state: State::Fresh, passed: Vec::new(), drained }
    }

    /// What came of it.
    #[must_use]
    pub const fn drained(&self) -> &Drained {
        &self.drained
    }

    /// The same, when it is over.
    #[must_use]
    pub fn into_drained(self) -> Drained {
        self.drained
    }

    fn next(&mut self, outbox: &mut Outbox) -> Step {
        let Some(due) = outbox.next_besides(&self.passed, self.scope == Scope::WithOpen) else {
            return Step::Done;
        };
        let wanted = match (&due, self.scope) {
            (Due::Reversal(..), _) | (_, Scope::All | Scope::WithOpen) => true,
            (Due::Confirmation(_), scope) => scope == Scope::Loads,
            (Due::Records(_), _) => false,
        };
        if wanted { self.ask(due, 1, outbox) } else { Step::Done }
    }

    /// Each try is the same message under its identity, or is answered by what the gateway already booked.
    fn ask(&mut self, due: Due, tries: u32, outbox: &mut Outbox) -> Step {
        // It may be due no longer.
        let Some(ask) = outbox.ask(&due) else { return Step::Done };
        let records = match &ask {
            Ask::Records(records) => records.clone(),
            _ => Vec::new(),
        };
        self.state = State::Asking(Sent { due, records, tries });
        Step::Ask(ask)
    }

    fn answered(&mut self, sent: Sent, reply: &HostReply, outbox: &mut Outbox) -> Step {
        let verdict = outbox.answered(&sent.as_it_still_is(outbox), reply);
        let items = items(&sent.due, reply, &verdict.entries, verdict.attention.is_some());
        if verdict.entries.is_empty() {
            self.take(items);
            return self.next(outbox);
        }
        self.state = State::Storing(items);
        Step::Store(verdict.entries)
    }

    fn take(&mut self, items: Vec<Item>) {
        self.passed.extend(items.iter().filter(|item| !item.settled).map(|item| item.number));
        self.drained.items.extend(items);
    }
}

impl Sent {
    /// Records that are not what was sent any more are left out: the answer does not speak of them.
    fn as_it_still_is(&self, outbox: &Outbox) -> Due {
        let Due::Records(ids) = &self.due else { return self.due.clone() };
        let same = |id: &&RecordId| outbox.record(**id).is_some_and(|record| self.records.contains(&record));
        Due::Records(ids.iter().filter(same).copied().collect())
    }
}

impl Errand for Drain {
    fn handle(&mut self, event: Event, outbox: &mut Outbox) -> Step {
        match (core::mem::replace(&mut self.state, State::Finished), event) {
            (State::Fresh, Event::Start) => self.next(outbox),
            (State::Asking(sent), Event::Answered(reply)) => self.answered(sent, &reply, outbox),
            (State::Asking(sent), Event::Unanswered(NoReply::Broken | NoReply::Timeout))
                if sent.tries < TRIES_MAX =>
            {
                self.ask(sent.due, sent.tries.saturating_add(1), outbox)
            }
            (State::Asking(_), Event::Unanswered(why)) => {
                self.drained.stopped = Some(why);
                Step::Done
            }
            (State::Storing(items), Event::Stored) => {
                self.take(items);
                self.next(outbox)
            }
            // Not what was asked for: over.
            _ => Step::Done,
        }
    }
}

fn items(due: &Due, reply: &HostReply, entries: &[JournalEntry], attention: bool) -> Vec<Item> {
    let of_load = |kind, number: RecordId| {
        let settled = entries.iter().any(|entry| {
            matches!(entry, JournalEntry::LoadState { load, state: LoadState::Reversed | LoadState::Confirmed { .. } } if *load == number)
        });
        vec![Item { kind, number, code: Some(reply.code), settled, attention }]
    };
    match due {
        Due::Reversal(number, _) => of_load(Kind::Reversal, *number),
        Due::Confirmation(number) => of_load(Kind::Confirmation, *number),
        Due::Records(numbers) => {
            numbers.iter().map(|number| of_record(*number, reply, entries, attention)).collect()
        }
    }
}

fn of_record(number: RecordId, reply: &HostReply, entries: &[JournalEntry], attention: bool) -> Item {
    let said = entries.iter().find_map(|entry| match entry {
        JournalEntry::Uploaded { intent, code, .. } if *intent == number => Some(*code),
        _ => None,
    });
    let refused = (!reply.code.is_approved()).then_some(reply.code);
    Item {
        kind: Kind::Record,
        number,
        code: said.or(refused),
        settled: said.is_some(),
        // Held for review, a wrong TAC, a conflict: out of the outbox, and for a person to see.
        attention: attention || said.is_some_and(|code| !code.is_approved()),
    }
}
