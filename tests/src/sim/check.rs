//! The books of a history, and what must be true of them whatever went wrong.
//!
//! The checker believes nobody's summary. It reads each card by plain commands, recomputes every TAC from the issuer's
//! keys, and so knows which journal record each debit on a card belongs to. Then:
//!
//! - **money**: what a card was issued with, less what is on it, is the sum of the records that terminals booked as
//!   done, and of the open or uncertain ones whose debit the card really made;
//! - a *void* record's debit is on no card; a *done* record's debit is, once;
//! - no debit on a card is without its intent in a journal (journal before effect);
//! - a journal resolves an intent once, and never has two open debits of one card;
//! - a load on a card is one that a journal was about to credit (`loads`);
//! - a SAM never gives a sequence number twice;
//! - what the till told people at the end of a visit is what happened.

pub mod gateways;
pub(super) mod loads;
pub(crate) mod lost;
pub mod money;
pub mod online;

use super::images::Entries;
use super::slot::{CardCredit, CardDebit};
pub use super::violation::Violation;
use flow::outcome::{Certainty, Doubt, Outcome};
use flow::record::{CardId, DebitIntent, JournalEntry, RecordId, Resolution};
use protocol::ids::{OfflineCounter, SamTerminal, TermSeq};
use protocol::money::CardAmount;
use protocol::purse::keys::TacKey;
use std::collections::{BTreeMap, BTreeSet};

/// A card at the end: one chip, or several that say they are this card.
#[derive(Debug)]
pub struct CardBook<'a> {
    /// Who it is.
    pub id: CardId,
    /// Its lives: one, unless somebody copied its memory. The first began empty, the others with what was copied.
    pub lives: Vec<Life<'a>>,
    /// The issuer's key for its TACs.
    pub tac_key: &'a TacKey,
}

/// A memory from its making, or from its copying, on.
#[derive(Debug)]
pub struct Life<'a> {
    /// What was on it at the beginning.
    pub start: CardAmount,
    /// What is on it, or was when another memory took its place.
    pub balance: CardAmount,
    /// Every debit it made since.
    pub debits: &'a [CardDebit],
    /// Every load it was credited since.
    pub credits: &'a [CardCredit],
}

impl CardBook<'_> {
    /// Somebody copied its memory: counters may be used twice.
    #[must_use]
    pub const fn is_forked(&self) -> bool {
        self.lives.len() > 1
    }

    /// All debits, of all lives.
    pub fn debits(&self) -> impl Iterator<Item = &CardDebit> {
        self.lives.iter().flat_map(|life| life.debits)
    }

    /// All loads, of all lives.
    pub fn credits(&self) -> impl Iterator<Item = &CardCredit> {
        self.lives.iter().flat_map(|life| life.credits)
    }

    /// What left it: what it began with and was credited, less what is on it.
    #[must_use]
    pub fn lost(&self) -> i64 {
        let kept = self.lives.iter().map(|life| i64::from(life.start.0) - i64::from(life.balance.0));
        kept.sum::<i64>() + self.credits().map(|credit| i64::from(credit.amount.0)).sum::<i64>()
    }
}

/// A terminal at the end.
#[derive(Debug)]
pub struct TerminalBook<'a> {
    /// Its SAM's terminal number.
    pub number: SamTerminal,
    /// Its SAM cannot check proofs.
    pub foreign_sam: bool,
    /// Its journal.
    pub entries: Entries<'a>,
    /// Journals of it that gave way to an old one or to an empty one, as they were then, oldest first.
    pub past: Vec<Entries<'a>>,
    /// Sequence numbers that its SAM gave, in order, also those whose answer was lost.
    pub sam_given: &'a [TermSeq],
}

/// How a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not resolved.
    Open,
    /// As resolved.
    Resolved(Resolution),
}

/// A record with how it stands.
type Record<'a> = (RecordId, &'a DebitIntent, Standing);

/// Follows a journal from its first entry to its last.
fn replay<'a>(book: &TerminalBook<'a>, found: &mut Vec<Violation>) -> Vec<Record<'a>> {
    let mut records: BTreeMap<RecordId, (&DebitIntent, Standing)> = BTreeMap::new();
    let mut open: BTreeSet<CardId> = BTreeSet::new();
    for (id, entry) in &book.entries {
        match entry {
            JournalEntry::Intent(intent) => {
                if !open.insert(intent.card) {
                    found.push(Violation::TwoOpen(book.number, *id));
                }
                records.insert(*id, (intent, Standing::Open));
            }
            JournalEntry::Resolved { intent, resolution } => match records.get_mut(intent) {
                Some((debit, standing @ Standing::Open)) => {
                    open.remove(&debit.card);
                    *standing = Standing::Resolved(*resolution);
                }
                _ => found.push(Violation::ResolvesNothing(book.number, *id)),
            },
            _ => {}
        }
    }
    records.into_iter().map(|(id, (intent, standing))| (id, intent, standing)).collect()
}

fn check_sequence(book: &TerminalBook<'_>, found: &mut Vec<Violation>) {
    for pair in book.sam_given.windows(2) {
        if pair[1] <= pair[0] {
            found.push(Violation::SequenceReused(book.number, pair[1]));
        }
    }
    let mut given: BTreeSet<TermSeq> = book.sam_given.iter().copied().collect();
    let own = book.entries.iter().filter_map(|(_, entry)| match entry {
        JournalEntry::Intent(intent) => Some(intent.term_seq),
        _ => None,
    });
    let lost = lost::records(book, &mut Vec::new());
    for seq in own.chain(lost.iter().map(|(_, intent, _)| intent.term_seq)) {
        if !given.remove(&seq) {
            found.push(Violation::SequenceInvented(book.number, seq));
        }
    }
}

/// What the debits of one card add up to in the journals.
#[derive(Default)]
struct Sums {
    booked: i64,
    in_doubt: i64,
    /// Only journals that were overwritten know of it.
    lost: i64,
}

/// Whether the card made the debit that this record intended.
fn is_taken(card: &CardBook<'_>, intent: &DebitIntent) -> bool {
    let mut at_counter = card.debits().filter(|debit| debit.counter == intent.counter).peekable();
    if at_counter.peek().is_none() {
        return false;
    }
    let tac = card.tac_key.tac(&intent.tac_terms());
    at_counter.any(|debit| debit.tac == tac)
}

fn check_record(
    book: &TerminalBook<'_>,
    card: &CardBook<'_>,
    (id, intent, standing): Record<'_>,
    sums: &mut Sums,
    found: &mut Vec<Violation>,
) -> bool {
    let taken = is_taken(card, intent);
    let amount = i64::from(intent.amount.0);
    let right_tac = |tac| card.tac_key.verify(&intent.tac_terms(), tac);
    match standing {
        Standing::Open | Standing::Resolved(Resolution::Uncertain { .. }) if taken => sums.in_doubt += amount,
        Standing::Open | Standing::Resolved(Resolution::Uncertain { .. }) => {}
        // A copy of the card was shown, which had not made this debit: nobody at the terminal could know.
        Standing::Resolved(Resolution::Void) if taken && card.is_forked() => sums.in_doubt += amount,
        Standing::Resolved(Resolution::Void) if taken => {
            found.push(Violation::VoidButTaken(book.number, id));
        }
        Standing::Resolved(Resolution::Void) => {}
        // A SAM that cannot check proofs leaves that to the backend, which refuses the TAC of another debit.
        Standing::Resolved(Resolution::RecoveredUnverified { tac })
            if book.foreign_sam && !right_tac(&tac) && (!taken || card.is_forked()) =>
        {
            // A copy may have made the debit that the card in hand proved another one for.
            sums.in_doubt += if taken { amount } else { 0 };
        }
        Standing::Resolved(Resolution::Done { tac } | Resolution::RecoveredUnverified { tac }) => {
            sums.booked += amount;
            if !taken {
                found.push(Violation::DoneButNotTaken(book.number, id));
            } else if !right_tac(&tac) {
                found.push(Violation::WrongTac(book.number, id));
            }
        }
    }
    taken
}

/// Everything that must be true between two visits and at the end.
#[must_use]
pub fn check(cards: &[CardBook<'_>], terminals: &[TerminalBook<'_>]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut sums: BTreeMap<CardId, Sums> = BTreeMap::new();
    let mut claimed: BTreeSet<Claimed> = BTreeSet::new();
    for book in terminals {
        check_sequence(book, &mut found);
        for record in replay(book, &mut found) {
            let (_, intent, _) = record;
            let Some(card) = cards.iter().find(|card| card.id == intent.card) else { continue };
            let sums = sums.entry(card.id).or_default();
            if check_record(book, card, record, sums, &mut found)
                && !claimed.insert((card.id, intent.counter, intent.terminal, intent.term_seq))
            {
                found.push(Violation::BookedTwice(card.id, intent.counter));
            }
        }
        lost::check(book, cards, &mut sums, &mut claimed, &mut found);
    }
    for card in cards {
        let sums = sums.remove(&card.id).unwrap_or_default();
        check_card(card, &sums, &claimed, &mut found);
    }
    loads::check(cards, terminals, &mut found);
    found
}

/// A debit as a record claims it: two debits on one counter are two.
type Claimed = (CardId, OfflineCounter, SamTerminal, TermSeq);

fn check_card(card: &CardBook<'_>, sums: &Sums, claimed: &BTreeSet<Claimed>, found: &mut Vec<Violation>) {
    for life in &card.lives {
        let debited: i64 = life.debits.iter().map(|debit| i64::from(debit.amount.0)).sum();
        let credited: i64 = life.credits.iter().map(|credit| i64::from(credit.amount.0)).sum();
        if i64::from(life.start.0) + credited - debited != i64::from(life.balance.0) {
            let (start, balance) = (life.start.0, life.balance.0);
            let what = format!("{start} + {credited} loaded - {debited} debited is not {balance}");
            found.push(Violation::CardSums(card.id, what));
        }
    }
    let lost = card.lost();
    let debited = card.debits().map(|debit| i64::from(debit.amount.0)).sum();
    let (booked, in_doubt) = (sums.booked, sums.in_doubt + sums.lost);
    if lost != debited || lost != booked + in_doubt {
        found.push(Violation::MoneyLost { card: card.id, lost, debited, booked, in_doubt });
    }
    let of_card: BTreeSet<(OfflineCounter, SamTerminal)> =
        claimed.iter().filter(|(id, ..)| *id == card.id).map(|(_, at, by, _)| (*at, *by)).collect();
    let unclaimed = card.debits().filter(|debit| !of_card.contains(&(debit.counter, debit.terminal)));
    found.extend(unclaimed.map(|debit| Violation::NoIntent(card.id, debit.counter)));
}

/// Debits that are still open.
#[must_use]
pub fn still_open(terminals: &[TerminalBook<'_>]) -> Vec<Violation> {
    let mut ignored = Vec::new();
    let open = terminals.iter().flat_map(|book| {
        let records = replay(book, &mut ignored);
        let open = records.into_iter().filter(|(_, _, standing)| *standing == Standing::Open);
        open.map(|(id, _, _)| Violation::NeverResolved(book.number, id)).collect::<Vec<_>>()
    });
    open.collect()
}

/// Whether the end of a visit is what happened: `own` are the records that the visit's own payment made.
pub fn told_right(
    outcome: &Outcome,
    asked: CardAmount,
    own: &[RecordId],
    book: &TerminalBook<'_>,
    cards: &[CardBook<'_>],
) -> Result<(), String> {
    let records = replay(book, &mut Vec::new());
    let standing_of = |id: RecordId| records.iter().find(|(at, _, _)| *at == id);
    let taken_of = |intent: &DebitIntent| {
        cards.iter().find(|card| card.id == intent.card).is_some_and(|card| is_taken(card, intent))
    };
    // A record is void although the debit was made only if another chip with the same memory made it: nobody there could know.
    let by_a_copy = |intent: &DebitIntent, standing: &Standing| {
        *standing == Standing::Resolved(Resolution::Void)
            && cards.iter().any(|card| card.id == intent.card && card.is_forked())
    };
    let is_own_debit = |id: &&RecordId| {
        standing_of(**id)
            .is_some_and(|(_, intent, standing)| taken_of(intent) && !by_a_copy(intent, standing))
    };
    let own_taken = own.iter().filter(is_own_debit).count();
    match outcome {
        Outcome::Approved(receipt) => {
            let Some((_, intent, standing)) = standing_of(receipt.record) else {
                return Err("approved, but there is no such record".into());
            };
            let unverified = receipt.certainty == Certainty::RecoveredUnverified;
            match standing {
                Standing::Resolved(Resolution::Done { tac }) if *tac == receipt.tac && !unverified => {}
                Standing::Resolved(Resolution::RecoveredUnverified { tac })
                    if *tac == receipt.tac && unverified => {}
                other => return Err(format!("approved, but the record is {other:?}")),
            }
            if intent.amount != asked || receipt.amount != asked {
                return Err(format!("approved {} where {} was asked", receipt.amount.0, asked.0));
            }
            match own_taken {
                1 => Ok(()),
                0 if unverified => Ok(()),
                n => Err(format!("approved once, and the card was debited {n} times")),
            }
        }
        Outcome::EarlierCompleted(receipt) => match standing_of(receipt.record) {
            _ if own_taken > 0 => {
                Err("only an earlier payment was completed, but the card was debited".into())
            }
            Some((
                _,
                _,
                Standing::Resolved(Resolution::Done { .. } | Resolution::RecoveredUnverified { .. }),
            )) => Ok(()),
            other => Err(format!("an earlier payment was completed, but its record is {other:?}")),
        },
        Outcome::Uncertain { record, why, .. } => match (standing_of(*record), why) {
            (Some((_, _, Standing::Open)), Doubt::CardGone | Doubt::SamFailed | Doubt::JournalFailed)
            | (Some((_, _, Standing::Resolved(_))), Doubt::JournalFailed)
            | (Some((_, _, Standing::Resolved(Resolution::Uncertain { .. }))), Doubt::Closed(_))
                if own_taken <= 1 =>
            {
                Ok(())
            }
            other => Err(format!("uncertain, with {own_taken} debits and the record {other:?}")),
        },
        Outcome::Loaded(receipt) => loads::told_loaded(receipt, asked, book, cards),
        Outcome::LoadUncertain { record, .. } => loads::told_uncertain(*record, book),
        _ if own_taken > 0 => Err(format!("{outcome:?}, but the card was debited")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
