//! A card's way into the field, the same in every flow that changes a card: wait for one, select its purse, learn who it is; and back again when it
//! leaves. While something of a card is open, only that card is waited for (`purse.md` section 6).

use crate::machine::{Event, Order, Patience, Prompt, Step};
use crate::outcome::{Decline, Fault, Outcome};
use crate::profile::Profile;
use crate::record::CardId;
use crate::selection::{Next, Selected, select, selected};
use protocol::time::{CardDate, Mono, Now};

#[derive(Debug)]
enum Stage {
    Before,
    WaitingCard,
    WaitingRemoval,
    Selecting(usize),
    /// The card is here, and what happens is the flow's.
    Here,
}

/// What became of an event on the way.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the step is handed on at once, and there may be no heap")]
pub(crate) enum Arrived {
    /// Not yet: this is next.
    Not(Step),
    /// The card is here, and is the one that is waited for, if one is.
    Here,
    /// It left before it had said who it is.
    Lost,
}

/// The way of one card after the other, until the flow is over.
#[derive(Debug)]
pub(crate) struct Arrival<'p> {
    profile: &'p Profile,
    patience: Patience,
    stage: Stage,
    /// The card in the field, once it has said who it is.
    pub(crate) card: Option<Selected<'p>>,
    deadline: Option<Mono>,
    /// What to show.
    pub(crate) prompt: Prompt,
}

impl<'p> Arrival<'p> {
    pub(crate) const fn new(profile: &'p Profile, patience: Patience) -> Self {
        Self {
            profile,
            patience,
            stage: Stage::Before,
            card: None,
            deadline: None,
            prompt: Prompt::PresentCard,
        }
    }

    /// Takes an event while no card is here. `open`: the card that something is open of.
    pub(crate) fn on(
        &mut self,
        event: Event<'_>,
        now: Now,
        open: Option<CardId>,
    ) -> Result<Arrived, Outcome> {
        match (core::mem::replace(&mut self.stage, Stage::Here), event) {
            (Stage::Before, Event::Start) => {
                self.deadline = Some(now.mono.plus_ms(self.patience.card_ms));
                Ok(Arrived::Not(self.wait_card(Prompt::PresentCard)))
            }
            (Stage::WaitingCard, Event::CardPresent) => {
                self.prompt = Prompt::Processing;
                self.select(0, open)
            }
            (Stage::WaitingRemoval, Event::CardLost) => Ok(Arrived::Not(self.wait_return(open))),
            (Stage::WaitingCard | Stage::WaitingRemoval, Event::Tick) => Err(Outcome::TimedOut),
            (Stage::WaitingCard | Stage::WaitingRemoval, Event::Operator(Order::Cancel)) => {
                Err(Outcome::Cancelled)
            }
            (Stage::Selecting(n), Event::CardAnswer(answer)) => self.selected(n, answer, open),
            (_, Event::CardLost) => Ok(Arrived::Lost),
            _ => Err(Outcome::Failed(Fault::Driver)),
        }
    }

    /// When people have had long enough.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        matches!(self.stage, Stage::WaitingCard | Stage::WaitingRemoval).then_some(self.deadline).flatten()
    }

    /// Whether the time for the card to come back, which was given last, is over.
    pub(crate) fn is_late(&self, now: Now) -> bool {
        self.deadline.is_some_and(|deadline| now.mono >= deadline)
    }

    /// From now on there is this much time for the card of something open to come back.
    pub(crate) fn give_time_to_return(&mut self, now: Now) {
        self.deadline = Some(now.mono.plus_ms(self.patience.same_card_ms));
    }

    /// Waits for the card that is awaited, or for any.
    pub(crate) fn wait_return(&mut self, open: Option<CardId>) -> Step {
        self.wait_card(prompt_for_return(open))
    }

    /// Waits until the card in the field is gone, to see the one that is awaited.
    pub(crate) fn wait_change(&mut self, open: Option<CardId>) -> Step {
        self.wait_removal(prompt_for_return(open))
    }

    fn wait_card(&mut self, prompt: Prompt) -> Step {
        self.card = None;
        self.prompt = prompt;
        self.stage = Stage::WaitingCard;
        Step::WaitCard
    }

    fn wait_removal(&mut self, prompt: Prompt) -> Step {
        self.prompt = prompt;
        self.stage = Stage::WaitingRemoval;
        Step::WaitRemoval
    }

    fn select(&mut self, n: usize, open: Option<CardId>) -> Result<Arrived, Outcome> {
        match select(self.profile, n) {
            Ok(command) => {
                self.stage = Stage::Selecting(n);
                Ok(Arrived::Not(Step::ToCard(command)))
            }
            Err(decline) => self.not_this_card(decline, open),
        }
    }

    fn selected(&mut self, n: usize, answer: &[u8], open: Option<CardId>) -> Result<Arrived, Outcome> {
        let card = match selected(self.profile, n, answer) {
            Ok(Next::Selected(card)) => card,
            Ok(Next::TryAid(n)) => return self.select(n, open),
            Err(decline) => return self.not_this_card(decline, open),
        };
        if open.is_some_and(|open| open != card.id) {
            return Ok(Arrived::Not(self.wait_removal(Prompt::OtherCard(card.id))));
        }
        self.card = Some(card);
        Ok(Arrived::Here)
    }

    /// A card that is of no use. While something is open it is simply not the card we wait for.
    fn not_this_card(&mut self, decline: Decline, open: Option<CardId>) -> Result<Arrived, Outcome> {
        match open {
            Some(_) => Ok(Arrived::Not(self.wait_change(open))),
            None => Err(Outcome::Declined(decline)),
        }
    }
}

/// The date that a card's validity is held against.
pub(crate) fn today(now: Now) -> Result<CardDate, Outcome> {
    now.local().map(|(today, _)| today).map_err(|_| Outcome::Failed(Fault::Clock))
}

fn prompt_for_return(open: Option<CardId>) -> Prompt {
    open.map_or(Prompt::PresentAgain, Prompt::PresentSameCard)
}
