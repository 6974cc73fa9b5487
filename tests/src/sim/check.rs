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
//! - a SAM never gives a sequence number twice;
//! - what the till told people at the end of a visit is what happened.

use super::slot::CardDebit;
use flow::outcome::{Certainty, Doubt, Outcome};
use flow::record::{CardId, DebitIntent, JournalEntry, RecordId, Resolution};
use protocol::ids::{OfflineCounter, SamTerminal, TermSeq};
use protocol::money::CardAmount;
use protocol::purse::keys::TacKey;
use std::collections::{BTreeMap, BTreeSet};

/// A card at the end.
#[derive(Debug)]
pub struct CardBook<'a> {
    /// Who it is.
    pub id: CardId,
    /// What it was issued with.
    pub issued: CardAmount,
    /// What is on it.
    pub balance: CardAmount,
    /// Every debit it made.
    pub debits: &'a [CardDebit],
    /// The issuer's key for its TACs.
    pub tac_key: &'a TacKey,
}

/// A terminal at the end.
#[derive(Debug)]
pub struct TerminalBook<'a> {
    /// Its SAM's terminal number.
    pub number: SamTerminal,
    /// Its SAM cannot check proofs.
    pub foreign_sam: bool,
    /// Its journal.
    pub entries: Vec<(RecordId, &'a JournalEntry)>,
    /// Sequence numbers that its SAM gave, in order, also those whose answer was lost.
    pub sam_given: &'a [TermSeq],
}

/// How a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not resolved.
    Open,
    /// As resolved.
    Resolved(Resolution),
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The balance and the debits of a card do not add up, or it lost something other than booked and doubtful.
    MoneyLost {
        /// The card.
        card: CardId,
        /// Issued less balance; negative if it gained.
        lost: i64,
        /// Σ its own debits.
        debited: i64,
        /// Σ records booked as done.
        booked: i64,
        /// Σ open or uncertain records whose debit is on the card.
        in_doubt: i64,
    },
    /// A debit on a card that no terminal's journal intended.
    NoIntent(CardId, OfflineCounter),
    /// A record says that nothing was taken, and it was.
    VoidButTaken(SamTerminal, RecordId),
    /// A record says that money was taken, and it was not.
    DoneButNotTaken(SamTerminal, RecordId),
    /// Two records claim the same debit.
    BookedTwice(CardId, OfflineCounter),
    /// The TAC in a record is not the debit's.
    WrongTac(SamTerminal, RecordId),
    /// A resolution of something that is not open.
    ResolvesNothing(SamTerminal, RecordId),
    /// A second open debit of a card in one journal.
    TwoOpen(SamTerminal, RecordId),
    /// A SAM gave a number that is not above the one before.
    SequenceReused(SamTerminal, TermSeq),
    /// An intent with a number that its SAM did not give.
    SequenceInvented(SamTerminal, TermSeq),
    /// DEBIT left a terminal whose intent was not durable.
    DebitBeforeIntent(SamTerminal),
    /// What people were told is not what happened.
    ToldWrong(SamTerminal, String),
    /// A debit stayed open although its card came back and nothing went wrong any more.
    NeverResolved(SamTerminal, RecordId),
    /// The till went on and on.
    Endless(SamTerminal),
    /// The backend booked another sum than a card lost.
    Booked {
        /// The card.
        card: CardId,
        /// What it lost.
        lost: u64,
        /// What the backend booked.
        booked: u64,
        /// What nobody can know yet.
        unknown: u64,
    },
    /// Anything else that is wrong at the backend.
    Backend(String),
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MoneyLost { card, lost, debited, booked, in_doubt } => write!(
                f,
                "card {}: it lost {lost}, its log says {debited}; terminals booked {booked} and list {in_doubt} in doubt",
                card.asn
            ),
            Self::NoIntent(card, counter) => {
                write!(f, "card {}: debit {} is in no terminal's journal", card.asn, counter.0)
            }
            Self::VoidButTaken(terminal, id) => {
                write!(f, "terminal {terminal}: record {} is void, but the card was debited", id.0)
            }
            Self::DoneButNotTaken(terminal, id) => {
                write!(f, "terminal {terminal}: record {} is done, but the card was not debited", id.0)
            }
            Self::BookedTwice(card, counter) => {
                write!(f, "card {}: two records claim debit {}", card.asn, counter.0)
            }
            Self::WrongTac(terminal, id) => {
                write!(f, "terminal {terminal}: record {} has a TAC that the issuer will refuse", id.0)
            }
            Self::ResolvesNothing(terminal, id) => {
                write!(f, "terminal {terminal}: entry {} resolves what is not open", id.0)
            }
            Self::TwoOpen(terminal, id) => {
                write!(f, "terminal {terminal}: record {} opens a second debit of its card", id.0)
            }
            Self::SequenceReused(terminal, seq) => write!(f, "SAM {terminal} gave number {} again", seq.0),
            Self::SequenceInvented(terminal, seq) => {
                write!(f, "terminal {terminal} used number {}, which its SAM did not give", seq.0)
            }
            Self::DebitBeforeIntent(terminal) => {
                write!(f, "terminal {terminal} sent DEBIT before its intent was durable")
            }
            Self::ToldWrong(terminal, what) => write!(f, "terminal {terminal} told people wrong: {what}"),
            Self::NeverResolved(terminal, id) => {
                write!(f, "terminal {terminal}: record {} is still open after a quiet tap of its card", id.0)
            }
            Self::Endless(terminal) => write!(f, "terminal {terminal} goes on without end"),
            Self::Booked { card, lost, booked, unknown } => write!(
                f,
                "card {} lost {lost}; the backend booked {booked}, and {unknown} cannot be known yet",
                card.asn
            ),
            Self::Backend(what) => write!(f, "backend: {what}"),
        }
    }
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
    for (_, entry) in &book.entries {
        if let JournalEntry::Intent(intent) = entry
            && !given.remove(&intent.term_seq)
        {
            found.push(Violation::SequenceInvented(book.number, intent.term_seq));
        }
    }
}

/// What the debits of one card add up to in the journals.
#[derive(Default)]
struct Sums {
    booked: i64,
    in_doubt: i64,
}

/// Whether the card made the debit that this record intended.
fn is_taken(card: &CardBook<'_>, intent: &DebitIntent) -> bool {
    let at_counter = card.debits.iter().find(|debit| debit.counter == intent.counter);
    at_counter.is_some_and(|debit| card.tac_key.tac(&intent.tac_terms()) == debit.tac)
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
        Standing::Resolved(Resolution::Void) if taken => {
            found.push(Violation::VoidButTaken(book.number, id));
        }
        Standing::Resolved(Resolution::Void) => {}
        // A SAM that cannot check proofs leaves that to the backend, which refuses the TAC of another debit.
        Standing::Resolved(Resolution::RecoveredUnverified { tac })
            if book.foreign_sam && !taken && !right_tac(&tac) => {}
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
    let mut claimed: BTreeSet<(CardId, OfflineCounter)> = BTreeSet::new();
    for book in terminals {
        check_sequence(book, &mut found);
        for record in replay(book, &mut found) {
            let (_, intent, _) = record;
            let Some(card) = cards.iter().find(|card| card.id == intent.card) else { continue };
            let sums = sums.entry(card.id).or_default();
            if check_record(book, card, record, sums, &mut found)
                && !claimed.insert((card.id, intent.counter))
            {
                found.push(Violation::BookedTwice(card.id, intent.counter));
            }
        }
    }
    for card in cards {
        let sums = sums.remove(&card.id).unwrap_or_default();
        check_card(card, &sums, &claimed, &mut found);
    }
    found
}

fn check_card(
    card: &CardBook<'_>,
    sums: &Sums,
    claimed: &BTreeSet<(CardId, OfflineCounter)>,
    found: &mut Vec<Violation>,
) {
    let lost = i64::from(card.issued.0) - i64::from(card.balance.0);
    let debited = card.debits.iter().map(|debit| i64::from(debit.amount.0)).sum();
    let (booked, in_doubt) = (sums.booked, sums.in_doubt);
    if lost != debited || lost != booked + in_doubt {
        found.push(Violation::MoneyLost { card: card.id, lost, debited, booked, in_doubt });
    }
    let unclaimed = card.debits.iter().filter(|debit| !claimed.contains(&(card.id, debit.counter)));
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

/// Which debits of cards the terminals' records can claim at the backend.
#[derive(Debug, Default)]
pub struct Claims {
    /// By card and counter: the terminal's index, the amount, and whether the record proves it by a TAC.
    taken: BTreeMap<(CardId, OfflineCounter), (usize, CardAmount, bool)>,
}

/// Matches records with what the cards did.
#[must_use]
pub fn claims(cards: &[CardBook<'_>], terminals: &[TerminalBook<'_>]) -> Claims {
    let mut claims = Claims::default();
    for (index, book) in terminals.iter().enumerate() {
        for (_, intent, standing) in replay(book, &mut Vec::new()) {
            let Some(card) = cards.iter().find(|card| card.id == intent.card) else { continue };
            let proven = match standing {
                Standing::Resolved(
                    Resolution::Done { .. }
                    | Resolution::RecoveredUnverified { .. }
                    | Resolution::Uncertain { tac: Some(_), .. },
                ) => true,
                Standing::Resolved(Resolution::Uncertain { tac: None, .. }) => false,
                _ => continue,
            };
            if is_taken(card, intent) {
                claims.taken.insert((card.id, intent.counter), (index, intent.amount, proven));
            }
        }
    }
    claims
}

impl Claims {
    /// Whether the backend can know of a debit: by its TAC, or since the next one is known and says what was left.
    fn is_known(&self, key: (CardId, OfflineCounter)) -> bool {
        let Some((_, _, proven)) = self.taken.get(&key) else { return false };
        *proven || key.1.next().is_some_and(|next| self.is_known((key.0, next)))
    }

    /// What a card lost and the backend cannot know.
    #[must_use]
    pub fn unknowable(&self, card: &CardBook<'_>) -> u64 {
        let unknown = card.debits.iter().filter(|debit| !self.is_known((card.id, debit.counter)));
        unknown.map(|debit| u64::from(debit.amount.0)).sum()
    }

    /// What the backend owes for a terminal's records.
    #[must_use]
    pub fn of_terminal(&self, index: usize) -> u64 {
        let own = self.taken.iter().filter(|(key, (at, _, _))| *at == index && self.is_known(**key));
        own.map(|(_, (_, amount, _))| u64::from(amount.0)).sum()
    }
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
    let own_taken =
        own.iter().filter(|id| standing_of(**id).is_some_and(|(_, intent, _)| taken_of(intent))).count();
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
        _ if own_taken > 0 => Err(format!("{outcome:?}, but the card was debited")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
