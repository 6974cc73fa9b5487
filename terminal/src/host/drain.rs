//! Sending what waits: reversals first, then confirmations of loads, then records of offline payments (`posp.md` section 6).
//!
//! Nothing leaves the outbox but by an answer that is durable. What the host did not take is passed over for this once, so that it
//! holds up nothing that stands behind it, and stays due.

use super::{Host, Lost};
use crate::driver::Clock;
use crate::journal::{Batch, Journal, StoreFault};
use flow::host::{Ask, HostReply};
use flow::outbox::Due;
use flow::record::{JournalEntry, LoadState, RecordId};
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
    pub stopped: Option<flow::host::NoReply>,
}

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
    let mut drained = Drained::default();
    let mut passed: Vec<RecordId> = Vec::new();
    while let Some(due) = journal.outbox().next_besides(&passed, scope == Scope::WithOpen) {
        let wanted = match (&due, scope) {
            (Due::Reversal(..), _) | (_, Scope::All | Scope::WithOpen) => true,
            (Due::Confirmation(_), scope) => scope == Scope::Loads,
            (Due::Records(_), _) => false,
        };
        if !wanted {
            break;
        }
        let reply = match ask(host, journal, clock, &due) {
            Ok(Some(reply)) => reply,
            // It is due no longer.
            Ok(None) => break,
            Err(Lost::Journal(fault)) => return Err(fault),
            Err(Lost::NoReply(why)) => {
                drained.stopped = Some(why);
                break;
            }
        };
        let verdict = journal.outbox().answered(&due, &reply);
        if !verdict.entries.is_empty() {
            journal.commit(&Batch { wall: clock.now().wall, entries: verdict.entries.clone() })?;
        }
        let items = items(&due, &reply, &verdict.entries, verdict.attention.is_some());
        passed.extend(items.iter().filter(|item| !item.settled).map(|item| item.number));
        drained.items.extend(items);
    }
    Ok(drained)
}

/// Asks until there is an answer, a few times. Each try is the same message under its identity, or is answered by what the
/// gateway already booked.
fn ask(
    host: &mut dyn Host,
    journal: &mut Journal,
    clock: &dyn Clock,
    due: &Due,
) -> Result<Option<HostReply>, Lost> {
    use flow::host::NoReply::{Broken, Timeout};
    let mut tries = 0_u32;
    loop {
        tries = tries.saturating_add(1);
        let Some(message) = journal.message(due) else { return Ok(None) };
        debug_assert!(message != Ask::SignIn, "the outbox holds requests of its own");
        match host.ask(message, journal, clock) {
            Err(Lost::NoReply(Broken | Timeout)) if tries < TRIES_MAX => {}
            other => return other.map(Some),
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
