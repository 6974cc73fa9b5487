//! What things are called: in the story that people read, and in the table of what was hit.

use super::store::Fate;
use super::world::{World, card_name, money};
use flow::Step;
use flow::outcome::{Certainty, Decline, Doubt, Fault, Outcome};
use flow::record::{JournalEntry, LoadState, Resolution, Uncertainty};
use protocol::purse::command::ins;

/// A command to the card.
#[must_use]
pub fn card_command(command: &[u8]) -> &'static str {
    match (command.get(1).copied(), command.get(2).copied()) {
        (Some(ins::SELECT), _) => "SELECT",
        (Some(ins::INITIALIZE), Some(0x00)) => "INIT LOAD",
        (Some(ins::INITIALIZE), Some(0x01)) => "INIT PURCHASE",
        (Some(ins::INITIALIZE), _) => "probe",
        (Some(ins::VERIFY), _) => "VERIFY PIN",
        (Some(ins::READ_RECORD), _) => "READ LOG",
        (Some(ins::DEBIT), _) => "DEBIT",
        (Some(ins::CREDIT), _) => "CREDIT",
        (Some(ins::PROVE), _) if command.get(3) == Some(&0x02) => "PROVE LOAD",
        (Some(ins::PROVE), _) => "PROVE",
        _ => "GET BALANCE",
    }
}

/// A command to the SAM.
#[must_use]
pub fn sam_command(command: &[u8]) -> &'static str {
    match command.get(1).copied() {
        Some(ins::SAM_INIT) => "SAM INIT",
        Some(ins::SAM_CREDIT) => "SAM CREDIT",
        Some(ins::SAM_VERIFY_PROVED) => "SAM VERIFY PROVED",
        _ => "SAM SELECT",
    }
}

/// A step.
#[must_use]
pub fn step(step: &Step) -> &'static str {
    match step {
        Step::WaitCard => "wait for card",
        Step::WaitRemoval => "wait for removal",
        Step::ToCard(command) => card_command(command),
        Step::ToSam(command) => sam_command(command),
        Step::LookUp(_) => "look up",
        Step::Store(entry) => self::entry(entry),
        Step::AskHost(_) => "host",
        Step::Done(_) => "done",
    }
}

/// A journal entry.
#[must_use]
pub fn entry(entry: &JournalEntry) -> &'static str {
    match entry {
        JournalEntry::Intent(_) => "intent",
        JournalEntry::Resolved { .. } => "resolution",
        JournalEntry::Load(_) => "load",
        JournalEntry::LoadState { .. } => "load state",
        JournalEntry::Uploaded { .. } => "upload answer",
        JournalEntry::Batch(_) => "batch",
        JournalEntry::Traces(_) => "traces",
    }
}

/// A commit that did not go as it should.
#[must_use]
pub const fn fate(fate: Fate) -> Option<&'static str> {
    match fate {
        Fate::Good => None,
        Fate::Full => Some("disk full"),
        Fate::Lies => Some("store lies"),
        Fate::DiesBefore => Some("crash before durable"),
        Fate::DiesAfter => Some("crash after durable"),
    }
}

/// The status word of an answer.
#[must_use]
pub fn status(answer: &[u8]) -> String {
    let tail = &answer[answer.len().saturating_sub(2)..];
    protocol::hex::Hex(tail).to_string()
}

/// Tells that an entry is durable, and counts how debits are resolved.
pub fn tell_entry(world: &mut World, entry: &JournalEntry) {
    match entry {
        JournalEntry::Intent(intent) => {
            let index = world.cards.iter().position(|card| card.id == intent.card).unwrap_or(0);
            world.tell(|| {
                let (amount, seq) = (money(intent.amount), intent.term_seq.0);
                format!(
                    "    journal: {amount} from {}, SAM number {seq}, about to be debited",
                    card_name(index)
                )
            });
        }
        JournalEntry::Resolved { intent, resolution } => {
            let what = resolved(resolution);
            world.coverage.reached("resolved", what);
            world.tell(|| format!("    journal: record {} is {what}", intent.0));
        }
        JournalEntry::Load(intent) => {
            let index = world.cards.iter().position(|card| card.id == intent.card).unwrap_or(0);
            world.tell(|| {
                let (amount, counter) = (money(intent.amount), intent.counter.0);
                format!(
                    "    journal: load {counter} of {amount} onto {}, about to be asked for",
                    card_name(index)
                )
            });
        }
        JournalEntry::LoadState { load, state } => {
            world.tell(|| format!("    journal: load {} is {}", load.0, load_state(state)));
        }
        JournalEntry::Uploaded { intent, code, .. } => {
            world.tell(|| format!("    journal: record {} was answered {code}", intent.0));
        }
        JournalEntry::Batch(batch) => world.tell(|| format!("    journal: batch {} is open", batch.0)),
        JournalEntry::Traces(_) => {}
    }
}

/// A load's state, as journals and people call it.
#[must_use]
pub const fn load_state(state: &LoadState) -> &'static str {
    match state {
        LoadState::Answered { .. } => "answered: the consent is in hand",
        LoadState::CreditSent => "about to be credited",
        LoadState::Credited { .. } => "credited",
        LoadState::Refused { .. } => "refused",
        LoadState::Unknown => "unknown",
        LoadState::Declined { .. } => "declined",
        LoadState::Reversed => "reversed",
        LoadState::Confirmed { .. } => "confirmed",
    }
}

const fn resolved(resolution: &Resolution) -> &'static str {
    match resolution {
        Resolution::Done { .. } => "done",
        Resolution::Void => "void",
        Resolution::RecoveredUnverified { .. } => "unverified",
        Resolution::Uncertain { why: Uncertainty::Mac2Wrong, .. } => "MAC2 wrong",
        Resolution::Uncertain { why: Uncertainty::SamLost, .. } => "SAM lost",
        Resolution::Uncertain { why: Uncertainty::NoProof, .. } => "no proof",
        Resolution::Uncertain { why: Uncertainty::RolledBack, .. } => "rolled back",
    }
}

/// The end of a visit, as the coverage table names it.
#[must_use]
pub const fn end(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Approved(receipt) => match receipt.certainty {
            Certainty::Direct => "approved",
            Certainty::Recovered => "approved, recovered",
            Certainty::RecoveredUnverified => "approved, recovered unverified",
        },
        Outcome::EarlierCompleted(_) => "earlier payment completed",
        Outcome::Declined(Decline::Insufficient { .. }) => "declined: insufficient",
        Outcome::Declined(Decline::AboveLimit(_)) => "declined: above limit",
        Outcome::Declined(Decline::RecentlyRefused(_)) => "declined: refused after wrong MAC2",
        Outcome::Declined(Decline::CardRefused(_) | Decline::SamProofRefused(_)) => {
            "declined: refused by card"
        }
        Outcome::Declined(Decline::WrongKeyVersion(_)) => "declined: key version",
        Outcome::Failed(Fault::SamWithoutKey) => "SAM without the key",
        Outcome::Declined(Decline::Host(_)) => "declined: by the host",
        Outcome::Declined(_) => "declined: other",
        Outcome::Loaded(receipt) if receipt.earlier => "earlier load completed",
        Outcome::Loaded(_) => "loaded",
        Outcome::LoadUncertain { .. } => "load uncertain",
        Outcome::Failed(Fault::HostGone) => "load: no answer",
        Outcome::Uncertain { why: Doubt::CardGone, .. } => "uncertain: card gone",
        Outcome::Uncertain { why: Doubt::JournalFailed, .. } => "uncertain: journal failed",
        Outcome::Uncertain { why: Doubt::SamFailed, .. } => "uncertain: SAM failed",
        Outcome::Uncertain { why: Doubt::Closed(_), .. } => "uncertain: closed",
        Outcome::Cancelled => "cancelled",
        Outcome::TimedOut => "nobody came",
        Outcome::Failed(_) => "terminal failed",
        _ => "other",
    }
}

/// The end of a visit, as the story tells it.
#[must_use]
pub fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Approved(receipt) => {
            format!("{}: {}, {} left", end(outcome), money(receipt.amount), money(receipt.balance_after))
        }
        Outcome::EarlierCompleted(receipt) => {
            format!(
                "the earlier payment of {} was done after all; nothing else was taken",
                money(receipt.amount)
            )
        }
        Outcome::Loaded(receipt) => {
            format!("{}: {}, {} on it", end(outcome), money(receipt.amount), money(receipt.balance_after))
        }
        Outcome::LoadUncertain { record, intent } => {
            format!("{}: load {} of {}", end(outcome), record.0, money(intent.amount))
        }
        Outcome::Declined(decline) => format!("declined, nothing taken: {decline:?}"),
        Outcome::Uncertain { record, intent, .. } => {
            format!("{}: record {} of {}", end(outcome), record.0, money(intent.amount))
        }
        Outcome::Failed(fault) => format!("the terminal could not, nothing taken: {fault:?}"),
        other => end(other).to_string(),
    }
}
