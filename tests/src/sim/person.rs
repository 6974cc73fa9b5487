//! What a person has to decide, since nothing else can: which of several loads of other amounts at one counter a card was credited with, when the
//! journal that had its proof is lost (`docs/decisions/0020-a-request-frees-no-load.md`). The person reads the card, and uses `card credit`.
//!
//! It is decided here only where a person is really needed. If a journal in use has the proof, or if the candidates agree, the load stays open, and the
//! checker finds it.

use super::books::Books;
use super::check::loads::stories;
use super::world::World;
use backend::accounts::TransactionSeq;
use backend::api::{AdminAnswer, AdminRequest, Answer};
use backend::store::{Load, LoadState, Transaction};
use flow::record::CardId;

impl World {
    /// Decides what waits for a person.
    pub(super) fn decide_by_a_person(&mut self) {
        let books = Books::read(&mut self.acquirer.books(), &[]);
        let decisions: Vec<AdminRequest> =
            books.loads.iter().filter_map(|load| self.credited(&books, load)).collect();
        for decision in decisions {
            let answer = self.acquirer.admin(decision, self.now());
            if answer == Some(Answer::Admin(AdminAnswer::Done)) {
                self.coverage.reached("load decided", "by a person");
            }
        }
    }

    /// Which load a card was credited with, if only the card itself can say so.
    fn credited(&self, books: &Books, load: &Load) -> Option<AdminRequest> {
        let id = CardId { issuer: load.card.issuer, asn: load.card.asn };
        let is_open = matches!(load.state, LoadState::Consented | LoadState::Disputed);
        // The card has shown that it was credited.
        let has_shown = books.card(id)?.next_online > load.counter;
        let cards = self.card_books();
        let card = cards.iter().find(|card| card.id == id && !card.is_forked())?;
        let credit = card.credits().find(|credit| credit.counter == load.counter)?;
        let candidates = candidates(books, load.transaction);
        let disagree = candidates
            .windows(2)
            .any(|two| matches!(two, [one, other] if (one.payer, one.amount) != (other.payer, other.amount)));
        let terminals = self.terminal_books();
        let has_proof = terminals
            .iter()
            .flat_map(stories)
            .any(|story| story.intent.card == id && story.tac == Some(credit.tac));
        let of_credit = |it: &&&Transaction| {
            let amount = it.amount.map(|amount| amount.minor());
            (amount, it.moment) == (Some(u64::from(credit.amount.0)), credit.moment)
        };
        let credited = candidates.iter().find(of_credit)?;
        (is_open && has_shown && disagree && !has_proof).then_some(AdminRequest::CreditLoad {
            issuer: load.card.issuer,
            asn: load.card.asn,
            counter: load.counter,
            transaction: credited.seq,
        })
    }
}

/// The loads that were asked for at a counter, the newest first: each names the one before.
fn candidates(books: &Books, newest: TransactionSeq) -> Vec<&Transaction> {
    let first = books.transactions.get(&newest);
    std::iter::successors(first, |it| books.transactions.get(&it.original?)).collect()
}
