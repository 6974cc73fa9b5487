//! Loads: what journals say became of them, against what the cards were credited.

use super::{CardBook, TerminalBook, Violation};
use crate::sim::images::Entries;
use crate::sim::slot::CardCredit;
use flow::outcome::LoadReceipt;
use flow::record::{JournalEntry, LoadIntent, LoadState, RecordId};
use protocol::money::CardAmount;
use protocol::purse::Tac;
use std::collections::BTreeMap;

/// A load with what its journal says of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Story<'a> {
    pub(crate) id: RecordId,
    pub(crate) intent: &'a LoadIntent,
    /// The newest state; `None`: asked for, and nothing after.
    pub(crate) state: Option<LoadState>,
    /// CREDIT may have left.
    pub(crate) credit_sent: bool,
    /// The card's proof, if it ever came.
    pub(crate) tac: Option<Tac>,
}

/// The loads of a journal.
pub(crate) fn stories<'a>(book: &TerminalBook<'a>) -> Vec<Story<'a>> {
    stories_of(&book.entries)
}

fn stories_of<'a>(entries: &Entries<'a>) -> Vec<Story<'a>> {
    let mut stories: BTreeMap<RecordId, Story<'_>> = BTreeMap::new();
    for (id, entry) in entries {
        match entry {
            JournalEntry::Load(intent) => {
                let story = Story { id: *id, intent, state: None, credit_sent: false, tac: None };
                stories.insert(*id, story);
            }
            JournalEntry::LoadState { load, state } => {
                if let Some(story) = stories.get_mut(load) {
                    story.state = Some(*state);
                    story.credit_sent |= matches!(state, LoadState::CreditSent);
                    if let LoadState::Credited { tac } = state {
                        story.tac = Some(*tac);
                    }
                }
            }
            _ => {}
        }
    }
    stories.into_values().collect()
}

/// The same, and those of journals that were overwritten: what these said was true then.
pub(crate) fn all_stories<'a>(book: &TerminalBook<'a>) -> Vec<Story<'a>> {
    let past = book.past.iter().flat_map(stories_of);
    stories(book).into_iter().chain(past).collect()
}

/// Whether this credit came of this load: the card's counter, the amount and the terminal's number.
pub(crate) fn is_of(credit: &CardCredit, intent: &LoadIntent) -> bool {
    (credit.counter, credit.amount, credit.terminal) == (intent.counter, intent.amount, intent.terminal)
}

/// Every credit on a card has its load in a journal, made durable as about to be credited; and what journals say of loads is true.
pub(super) fn check(cards: &[CardBook<'_>], terminals: &[TerminalBook<'_>], found: &mut Vec<Violation>) {
    let told: Vec<_> = terminals.iter().flat_map(all_stories).collect();
    for card in cards {
        let own: Vec<_> = told.iter().filter(|story| story.intent.card == card.id).collect();
        for credit in card.credits() {
            if !own.iter().any(|story| story.credit_sent && is_of(credit, story.intent)) {
                let what = format!("load {} of {} is in no journal", credit.counter.0, credit.amount.0);
                found.push(Violation::Load(card.id, what));
            }
        }
        for story in own {
            if let Some(what) = untrue(card, story) {
                found.push(Violation::Load(card.id, format!("record {}: {what}", story.id.0)));
            }
        }
    }
}

fn untrue(card: &CardBook<'_>, story: &Story<'_>) -> Option<&'static str> {
    if let Some(tac) = story.tac {
        let proven = card.credits().any(|credit| is_of(credit, story.intent) && credit.tac == tac);
        return (!proven).then_some("credited, says the journal, and the card has no such load");
    }
    let over = matches!(
        story.state,
        Some(LoadState::Refused { .. } | LoadState::Reversed | LoadState::Declined { .. })
    );
    // A later attempt may have had the same counter, amount and terminal: only one without another claim on the credit counts.
    let credits = card.credits().filter(|credit| is_of(credit, story.intent)).count();
    let copies = card.is_forked();
    (over && credits > 0 && story.credit_sent && !copies && is_last_attempt(card, story))
        .then_some("not credited, says the journal, and the card has the load")
}

/// Whether the card's load at this counter carries this attempt's own time: attempts are told apart by nothing else.
fn is_last_attempt(card: &CardBook<'_>, story: &Story<'_>) -> bool {
    card.credits().any(|credit| is_of(credit, story.intent) && credit.moment == story.intent.moment)
}

/// A person was told that a card was loaded.
pub(super) fn told_loaded(
    receipt: &LoadReceipt,
    asked: CardAmount,
    book: &TerminalBook<'_>,
    cards: &[CardBook<'_>],
) -> Result<(), String> {
    let told = stories(book);
    let Some(story) = told.iter().find(|story| story.id == receipt.record) else {
        return Err("loaded, but there is no such record".into());
    };
    let card = cards.iter().find(|card| card.id == story.intent.card);
    let credited = card.is_some_and(|card| {
        card.credits().any(|credit| is_of(credit, story.intent) && credit.tac == receipt.tac)
    });
    match story.tac {
        _ if !credited => Err("loaded, but the card was not credited".into()),
        Some(tac) if tac == receipt.tac && (receipt.earlier || receipt.amount == asked) => Ok(()),
        other => Err(format!("loaded, but the journal has {other:?}")),
    }
}

/// A person was told that nobody knows what became of a load.
pub(super) fn told_uncertain(record: RecordId, book: &TerminalBook<'_>) -> Result<(), String> {
    let told = stories(book);
    let listed = told.iter().any(|story| story.id == record && story.credit_sent);
    if listed { Ok(()) } else { Err("a load is uncertain, but its journal does not list it".into()) }
}
