//! What is on the card: SELECT, the journal's knowledge of it, GET BALANCE. Nothing is changed.

use crate::machine::{Event, Machine, Order, Patience, Prompt, Step, apdu};
use crate::outcome::{CardBalance, Decline, Fault, Outcome};
use crate::profile::Profile;
use crate::record::RecordId;
use crate::selection::{Next, Selected, select, selected};
use protocol::apdu::{Response, StatusWord};
use protocol::purse::answer::parse_balance;
use protocol::purse::command::get_balance;
use protocol::time::{Mono, Now};

#[derive(Debug)]
enum State<'p> {
    Fresh,
    WaitingCard,
    Selecting(usize),
    LookingUp(Selected<'p>),
    Reading(Selected<'p>, Option<RecordId>),
    Finished,
}

/// A balance inquiry; ends with [`Outcome::Balance`].
#[derive(Debug)]
pub struct BalanceInquiry<'p> {
    profile: &'p Profile,
    patience: Patience,
    state: State<'p>,
    deadline: Option<Mono>,
    prompt: Prompt,
}

impl<'p> BalanceInquiry<'p> {
    /// A new inquiry.
    #[must_use]
    pub const fn new(profile: &'p Profile, patience: Patience) -> Self {
        Self { profile, patience, state: State::Fresh, deadline: None, prompt: Prompt::PresentCard }
    }

    fn advance(&mut self, event: Event<'_>, now: Now) -> Result<Step, Outcome> {
        let declined = Outcome::Declined;
        match (core::mem::replace(&mut self.state, State::Finished), event) {
            (State::Fresh, Event::Start) => {
                self.deadline = Some(now.mono.plus_ms(self.patience.card_ms));
                Ok(self.wait(Prompt::PresentCard))
            }
            (State::WaitingCard, Event::CardPresent) => {
                self.prompt = Prompt::Processing;
                self.select(0)
            }
            (State::WaitingCard, Event::Tick) => Err(Outcome::TimedOut),
            (State::WaitingCard, Event::Operator(Order::Cancel)) => Err(Outcome::Cancelled),
            (State::Selecting(n), Event::CardAnswer(answer)) => {
                match selected(self.profile, n, answer).map_err(declined)? {
                    Next::TryAid(n) => self.select(n),
                    Next::Selected(card) => {
                        let id = card.id;
                        self.state = State::LookingUp(card);
                        Ok(Step::LookUp(id))
                    }
                }
            }
            (State::LookingUp(card), Event::Standing(standing)) => {
                self.state = State::Reading(card, standing.open.as_ref().map(|(record, _)| *record));
                apdu(get_balance).map(Step::ToCard).map_err(|_| Outcome::Failed(Fault::Driver))
            }
            (State::Reading(card, open_debit), Event::CardAnswer(answer)) => {
                let response = Response::parse(answer).map_err(|_| declined(Decline::BadAnswer))?;
                if response.sw != StatusWord::OK {
                    return Err(declined(Decline::CardRefused(response.sw)));
                }
                let balance = parse_balance(response.data).map_err(|_| declined(Decline::BadAnswer))?;
                let (start, end) = (card.public.start(), card.public.end());
                Ok(Step::Done(Outcome::Balance(CardBalance {
                    card: card.id,
                    balance,
                    start,
                    end,
                    open_debit,
                })))
            }
            (State::Selecting(_) | State::Reading(..), Event::CardLost) => {
                Ok(self.wait(Prompt::PresentAgain))
            }
            _ => Err(Outcome::Failed(Fault::Driver)),
        }
    }

    fn wait(&mut self, prompt: Prompt) -> Step {
        self.prompt = prompt;
        self.state = State::WaitingCard;
        Step::WaitCard
    }

    fn select(&mut self, n: usize) -> Result<Step, Outcome> {
        self.state = State::Selecting(n);
        select(self.profile, n).map(Step::ToCard).map_err(Outcome::Declined)
    }
}

impl Machine for BalanceInquiry<'_> {
    fn handle(&mut self, event: Event<'_>, now: Now) -> Step {
        self.advance(event, now).unwrap_or_else(Step::Done)
    }

    fn deadline(&self) -> Option<Mono> {
        matches!(self.state, State::WaitingCard).then_some(self.deadline).flatten()
    }

    fn prompt(&self) -> Prompt {
        self.prompt
    }
}
