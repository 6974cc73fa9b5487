//! Offline purchase from the purse, and recovery of an interrupted debit: `purse.md` section 6.
//!
//! The way of a payment: SELECT → look the card up → INIT PURCHASE → SAM 80 70 → **store the intent** → DEBIT →
//! SAM 80 72 → **store the resolution** → done. Three APDUs with the card.
//!
//! What can go wrong has one rule: before the intent is stored nothing was taken, so the card may simply be presented
//! again; from the moment it is stored the debit is *open* until a resolution is stored, and no other debit of this card
//! begins. An open debit of this payment asks for the same card back; one of an earlier payment is resolved first when
//! its card comes by. How it is resolved is in `recovery`.

use crate::arrival::{Arrival, Arrived, today};
use crate::load::prove_load;
use crate::machine::{Event, Machine, Patience, Prompt, Standing, Step, apdu, usable};
use crate::outcome::{Certainty, Decline, Doubt, Fault, Outcome};
use crate::profile::Profile;
use crate::record::{CardId, DebitIntent, JournalEntry, LoadIntent, RecordId, Resolution, Uncertainty};
use crate::sam::{SamIdentity, select_application};
use crate::selection::Selected;
use protocol::apdu::{Response, StatusWord};
use protocol::money::CardAmount;
use protocol::purse::answer::{DebitAnswer, InitForPurchaseAnswer, parse_balance};
use protocol::purse::command::{DebitForPurchase, Initialize, get_balance};
use protocol::purse::{CappDigest, Moment, PurseError, PurseMac, Suite, Tac, TransactionType};
use protocol::sam::{CardKeyReference, CreditSam, InitSam, InitSamAnswer, VerifyProved};
use protocol::teeth::{Tooth, bites};
use protocol::time::{Mono, Now};

mod checks;
mod earlier_load;
mod recovery;

use checks::{check_init, receipt};
pub(crate) use checks::{says_mac_is_wrong, says_nothing_was_done};

/// An amount of zero was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a payment must be more than zero")]
pub struct ZeroAmount;

/// What was asked last, and what is needed when the answer comes.
#[derive(Debug)]
enum State<'p> {
    Arriving,
    LookingUp,
    ProvingLoad(RecordId, LoadIntent),
    ReadingLog(RecordId, LoadIntent, Tac, u8),
    StoringLoad,
    Initialising,
    ReadingBalance,
    SelectingSam(SamWork),
    AskingSam(InitSam, InitForPurchaseAnswer),
    StoringIntent(DebitIntent, PurseMac),
    Debiting,
    CheckingMac2(Tac),
    Probing,
    Proving,
    CheckingProof(Tac),
    Resolving(After<'p>),
    Finished,
}

/// What the SAM is asked once its application is selected.
#[derive(Debug)]
enum SamWork {
    Init(InitSam, InitForPurchaseAnswer),
    VerifyProved(VerifyProved, Tac),
}

/// What follows when a resolution is durable.
#[derive(Debug)]
enum After<'p> {
    /// The open debit was done.
    Paid(Tac, Certainty),
    /// The card was not debited and cannot pay.
    Refused(Decline),
    /// The open debit ended as uncertain, and so does the payment.
    Doubtful(Uncertainty),
    /// The open debit is out of the way: the payment begins afresh with this card.
    Pay(Selected<'p>),
}

/// A debit whose intent is stored and whose resolution is not.
#[derive(Debug)]
struct OpenDebit {
    record: RecordId,
    intent: DebitIntent,
    /// It belongs to an earlier payment.
    earlier: bool,
    /// The card answered DEBIT with this instead of doing it, if the probe agrees: asked again it would refuse again,
    /// and again.
    refusal: Option<Decline>,
}

/// The next step, or how the payment ends.
type Transition = Result<Step, Outcome>;

const DRIVER_FAULT: Outcome = Outcome::Failed(Fault::Driver);

/// One purchase.
#[derive(Debug)]
pub struct Purchase<'p> {
    arrival: Arrival<'p>,
    sam: SamIdentity,
    amount: CardAmount,
    state: State<'p>,
    /// The suite whose SAM application is current.
    sam_suite: Option<Suite>,
    /// Why that card may not pay; an open debit of it is resolved all the same.
    barred: Option<Decline>,
    open: Option<OpenDebit>,
}

impl<'p> Purchase<'p> {
    /// A purchase of `amount` with the SAM that is in the second slot.
    ///
    /// # Errors
    /// An amount of zero.
    pub fn new(
        profile: &'p Profile,
        sam: SamIdentity,
        amount: CardAmount,
        patience: Patience,
    ) -> Result<Self, ZeroAmount> {
        if amount == CardAmount::ZERO {
            return Err(ZeroAmount);
        }
        Ok(Self {
            arrival: Arrival::new(profile, patience),
            sam,
            amount,
            state: State::Arriving,
            sam_suite: None,
            barred: None,
            open: None,
        })
    }

    fn advance(&mut self, event: Event<'_>, now: Now) -> Transition {
        match (core::mem::replace(&mut self.state, State::Finished), event) {
            (
                State::Arriving,
                event @ (Event::Start
                | Event::CardPresent
                | Event::CardAnswer(_)
                | Event::CardLost
                | Event::Tick
                | Event::Operator(_)),
            ) => self.arriving(event, now),
            (State::LookingUp, Event::Standing(standing)) => self.standing(standing),
            (State::CheckingMac2(tac), Event::SamLost) => Ok(self.mac2_unchecked(tac)),
            (_, Event::CardLost) => Ok(self.card_lost(now)),
            (_, Event::SamLost) => Err(Outcome::Failed(Fault::SamGone)),
            (state, Event::StoreFailed) if bites(Tooth::IgnoreStoreFailure) => {
                self.stored(state, RecordId(0))
            }
            (_, Event::StoreFailed) => Err(Outcome::Failed(Fault::Journal)),
            (state, Event::CardAnswer(answer)) => self.card_answered(state, answer, now),
            (state, Event::SamAnswer(answer)) => self.sam_answered(state, answer),
            (state, Event::Stored(record)) => self.stored(state, record),
            _ => Err(DRIVER_FAULT),
        }
    }

    fn card_answered(&mut self, state: State<'p>, answer: &[u8], now: Now) -> Transition {
        match state {
            State::ProvingLoad(record, intent) => self.load_proved(record, intent, answer),
            State::ReadingLog(load, intent, tac, record) => {
                self.log_read(load, intent, (tac, record), answer)
            }
            State::Initialising => self.initialised(answer, now),
            State::ReadingBalance => {
                let balance =
                    Response::parse(answer).ok().and_then(|response| parse_balance(response.data).ok());
                Err(Outcome::Declined(Decline::Insufficient { usable: balance }))
            }
            State::Debiting => self.debited(answer, now),
            State::Probing => self.probed(answer, now),
            State::Proving => self.proved(answer, now),
            _ => Err(DRIVER_FAULT),
        }
    }

    fn sam_answered(&mut self, state: State<'p>, answer: &[u8]) -> Transition {
        let response = Response::parse(answer);
        match (state, response) {
            // After the debit nothing that the SAM says can make it undone: a bad answer counts as a lost SAM.
            (State::CheckingMac2(tac), Ok(response)) => Ok(self.mac2_checked(tac, response.sw)),
            (State::CheckingMac2(tac), Err(_)) => Ok(self.mac2_unchecked(tac)),
            (_, Err(_)) => Err(Outcome::Failed(Fault::SamBadAnswer)),
            (State::SelectingSam(work), Ok(response)) => self.sam_selected(work, response.sw),
            (State::AskingSam(request, init), Ok(response)) => self.sam_consented(&request, init, response),
            (State::CheckingProof(tac), Ok(response)) => self.proof_checked(tac, response.sw),
            _ => Err(DRIVER_FAULT),
        }
    }

    fn stored(&mut self, state: State<'p>, record: RecordId) -> Transition {
        match state {
            State::StoringIntent(intent, mac1) => {
                let debit = DebitForPurchase { term_seq: intent.term_seq, moment: intent.moment, mac1 };
                self.open = Some(OpenDebit { record, intent, earlier: false, refusal: None });
                self.send_card(State::Debiting, |out| debit.encode(out))
            }
            State::StoringLoad => self.pay(self.present()?.clone()),
            State::Resolving(after) => {
                let open = self.open.take().ok_or(DRIVER_FAULT)?;
                self.resolved(open, after)
            }
            _ => Err(DRIVER_FAULT),
        }
    }

    fn send_card(
        &mut self,
        state: State<'p>,
        encode: impl FnOnce(&mut [u8]) -> Result<usize, PurseError>,
    ) -> Transition {
        self.state = state;
        apdu(encode).map(Step::ToCard).map_err(|_| DRIVER_FAULT)
    }

    fn send_sam(
        &mut self,
        state: State<'p>,
        encode: impl FnOnce(&mut [u8]) -> Result<usize, PurseError>,
    ) -> Transition {
        self.state = state;
        apdu(encode).map(Step::ToSam).map_err(|_| DRIVER_FAULT)
    }

    fn present(&self) -> Result<&Selected<'p>, Outcome> {
        self.arrival.card.as_ref().ok_or(DRIVER_FAULT)
    }

    // --- the card arrives ---------------------------------------------------------------------------------------

    fn arriving(&mut self, event: Event<'_>, now: Now) -> Transition {
        self.state = State::Arriving;
        match self.arrival.on(event, now, self.open_card())? {
            Arrived::Not(step) => Ok(step),
            Arrived::Here => self.arrived(now),
            Arrived::Lost => Ok(self.card_lost(now)),
        }
    }

    /// The card that something is open of.
    fn open_card(&self) -> Option<CardId> {
        self.open.as_ref().map(|open| open.intent.card)
    }

    fn arrived(&mut self, now: Now) -> Transition {
        if self.open.is_some() {
            return self.probe();
        }
        let card = self.present()?;
        let (id, validity) = (card.id, card.check_validity(today(now)?));
        self.barred = validity.err();
        self.state = State::LookingUp;
        Ok(Step::LookUp(id))
    }

    fn standing(&mut self, standing: &Standing) -> Transition {
        let card = self.present()?.clone();
        let denied = standing.denied.then_some(Decline::Denied(card.id));
        let refused = standing.refused.then_some(Decline::RecentlyRefused(card.id));
        self.barred = denied.or(refused).or(self.barred);
        if let Some((record, intent)) = &standing.open {
            // To resolve an earlier debit comes before anything else, also with a card that may not pay: it is the
            // merchant's money.
            self.open =
                Some(OpenDebit { record: *record, intent: intent.clone(), earlier: true, refusal: None });
            return self.probe();
        }
        if let Some((record, intent)) = standing.open_load {
            // The card is here: ask it what became of the load, before anything ages its proof.
            let command = prove_load(&intent);
            let suite = intent.algorithm.suite();
            return self.send_card(State::ProvingLoad(record, intent), |out| command?.encode(suite, out));
        }
        self.pay(card)
    }

    /// The card is gone, or an answer of it was lost.
    fn card_lost(&mut self, now: Now) -> Step {
        if self.open.as_ref().is_some_and(|open| open.earlier) {
            // Whoever comes next may be another customer; the earlier debit stays open in the journal.
            self.open = None;
        }
        if let Some(open) = &mut self.open {
            // It left: when it comes back, one more try is worth it.
            open.refusal = None;
            self.arrival.give_time_to_return(now);
        }
        self.state = State::Arriving;
        self.arrival.wait_return(self.open_card())
    }

    // --- the payment --------------------------------------------------------------------------------------------

    fn pay(&mut self, card: Selected<'p>) -> Transition {
        if let Some(decline) = self.barred {
            return Err(Outcome::Declined(decline));
        }
        let most = card.issuer.single_payment_max;
        if self.amount > most {
            return Err(Outcome::Declined(Decline::AboveLimit(most)));
        }
        let init = self.initialize(&card, TransactionType::Purchase, self.amount);
        let suite = card.issuer.suite;
        self.arrival.card = Some(card);
        self.send_card(State::Initialising, |out| init.encode(suite, out))
    }

    fn initialize(&self, card: &Selected<'p>, kind: TransactionType, amount: CardAmount) -> Initialize {
        Initialize { kind, key_index: card.issuer.key_index, amount, terminal: self.sam.terminal }
    }

    fn initialised(&mut self, answer: &[u8], now: Now) -> Transition {
        let response = Response::parse(answer).map_err(|_| Outcome::Declined(Decline::BadAnswer))?;
        if response.sw == StatusWord::INSUFFICIENT_BALANCE {
            // The refusal does not say what there is; the customer will want to know.
            return self.send_card(State::ReadingBalance, get_balance);
        }
        let card = self.present()?;
        let init = check_init(card, response).map_err(Outcome::Declined)?;
        let free = usable(init.balance, init.overdraft);
        if free < self.amount {
            return Err(Outcome::Declined(Decline::Insufficient { usable: Some(free) }));
        }
        let (date, time) = now.local().map_err(|_| Outcome::Failed(Fault::Clock))?;
        let request = InitSam {
            random: init.random,
            counter: init.counter,
            amount: self.amount,
            kind: TransactionType::Purchase,
            moment: Moment { date, time },
            digest: CappDigest::default(),
            key: CardKeyReference {
                key_version: init.key_version,
                algorithm: init.algorithm,
                factors: card.issuer.factors(card.id.asn.factor()),
            },
        };
        self.with_sam(init.algorithm.suite(), SamWork::Init(request, init))
    }

    /// Asks the SAM, selecting its application for the suite first where another one is current.
    fn with_sam(&mut self, suite: Suite, work: SamWork) -> Transition {
        if self.sam_suite == Some(suite) {
            return self.ask_sam(work);
        }
        self.send_sam(State::SelectingSam(work), |out| select_application(suite).encode(out))
    }

    fn sam_selected(&mut self, work: SamWork, sw: StatusWord) -> Transition {
        let suite = match &work {
            SamWork::Init(request, _) => request.key.algorithm.suite(),
            SamWork::VerifyProved(request, _) => request.key.algorithm.suite(),
        };
        match sw {
            StatusWord::OK => {
                self.sam_suite = Some(suite);
                self.ask_sam(work)
            }
            StatusWord::FILE_NOT_FOUND => Err(Outcome::Failed(Fault::SamWithoutSuite(suite))),
            other => Err(Outcome::Failed(Fault::SamRefused(other))),
        }
    }

    fn ask_sam(&mut self, work: SamWork) -> Transition {
        match work {
            SamWork::Init(request, init) => {
                let asking = State::AskingSam(request.clone(), init);
                self.send_sam(asking, |out| request.encode(out))
            }
            SamWork::VerifyProved(request, tac) => {
                self.send_sam(State::CheckingProof(tac), |out| request.encode(out))
            }
        }
    }

    fn sam_consented(
        &mut self,
        request: &InitSam,
        init: InitForPurchaseAnswer,
        response: Response<'_>,
    ) -> Transition {
        match response.sw {
            StatusWord::OK => {}
            StatusWord::KEY_NOT_FOUND => return Err(Outcome::Failed(Fault::SamWithoutKey)),
            other => return Err(Outcome::Failed(Fault::SamRefused(other))),
        }
        let consent = InitSamAnswer::parse(init.algorithm.suite(), response.data)
            .map_err(|_| Outcome::Failed(Fault::SamBadAnswer))?;
        let card = self.present()?;
        let intent = DebitIntent {
            card: card.id,
            currency: card.issuer.currency,
            algorithm: init.algorithm,
            key_version: init.key_version,
            random: init.random,
            counter: init.counter,
            balance_before: init.balance,
            overdraft: init.overdraft,
            amount: request.amount,
            kind: request.kind,
            terminal: self.sam.terminal,
            term_seq: consent.term_seq,
            moment: request.moment,
            digest: request.digest,
            file15: card.public.digest(),
            factors: request.key.factors.clone(),
        };
        if bites(Tooth::DropIntent) {
            return self.stored(State::StoringIntent(intent, consent.mac1), RecordId(0));
        }
        self.state = State::StoringIntent(intent.clone(), consent.mac1);
        Ok(Step::Store(JournalEntry::Intent(intent)))
    }

    fn debited(&mut self, answer: &[u8], now: Now) -> Transition {
        let intent = &self.open.as_ref().ok_or(DRIVER_FAULT)?.intent;
        match Response::parse(answer) {
            Ok(Response { sw: StatusWord::OK, data }) => match DebitAnswer::parse(intent.suite(), data) {
                Ok(DebitAnswer { tac, mac2 }) => {
                    let credit = CreditSam { proof: intent.proof(), mac2 };
                    self.send_sam(State::CheckingMac2(tac), |out| credit.encode(out))
                }
                Err(_) => self.probe_again_or_wait(Decline::BadAnswer, now),
            },
            Ok(Response { sw, .. }) if says_nothing_was_done(sw) => {
                let proof_refused = says_mac_is_wrong(sw);
                let decline = if proof_refused {
                    Decline::SamProofRefused(intent.card)
                } else {
                    Decline::CardRefused(sw)
                };
                Ok(self.resolve(Resolution::Void, After::Refused(decline)))
            }
            Ok(Response { sw, .. }) => self.probe_again_or_wait(Decline::CardRefused(sw), now),
            Err(_) => self.probe_again_or_wait(Decline::BadAnswer, now),
        }
    }

    fn mac2_checked(&mut self, tac: Tac, sw: StatusWord) -> Step {
        match sw {
            StatusWord::OK => self.resolve(Resolution::Done { tac }, After::Paid(tac, Certainty::Direct)),
            sw if says_mac_is_wrong(sw) => {
                let why = Uncertainty::Mac2Wrong;
                self.resolve(Resolution::Uncertain { tac: Some(tac), why }, After::Doubtful(why))
            }
            _ => self.mac2_unchecked(tac),
        }
    }

    /// The card was debited and the SAM could not say whether MAC2 is right: uncertain, with the TAC for the backend.
    fn mac2_unchecked(&mut self, tac: Tac) -> Step {
        let why = Uncertainty::SamLost;
        self.resolve(Resolution::Uncertain { tac: Some(tac), why }, After::Doubtful(why))
    }

    // --- the end ------------------------------------------------------------------------------------------------

    fn resolve(&mut self, resolution: Resolution, after: After<'p>) -> Step {
        let Some(open) = &self.open else {
            return Step::Done(DRIVER_FAULT);
        };
        let intent = open.record;
        self.state = State::Resolving(after);
        Step::Store(JournalEntry::Resolved { intent, resolution })
    }

    fn resolved(&mut self, open: OpenDebit, after: After<'p>) -> Transition {
        match after {
            After::Paid(tac, certainty) => {
                let receipt = receipt(&open, tac, certainty);
                Err(if open.earlier {
                    Outcome::EarlierCompleted(receipt)
                } else {
                    Outcome::Approved(receipt)
                })
            }
            After::Refused(decline) => Err(Outcome::Declined(decline)),
            After::Doubtful(why) => {
                let OpenDebit { record, intent, .. } = open;
                Err(Outcome::Uncertain { record, intent, why: Doubt::Closed(why) })
            }
            After::Pay(card) => self.pay(card),
        }
    }

    /// What an end means while a debit of this payment is open: never "nothing was taken".
    fn end(&mut self, outcome: Outcome) -> Outcome {
        let why = match outcome {
            Outcome::Failed(Fault::Journal) => Doubt::JournalFailed,
            Outcome::Failed(
                Fault::SamGone
                | Fault::SamRefused(_)
                | Fault::SamBadAnswer
                | Fault::SamWithoutKey
                | Fault::SamWithoutSuite(_),
            ) => Doubt::SamFailed,
            Outcome::Approved(_) | Outcome::EarlierCompleted(_) | Outcome::Uncertain { .. } => {
                return outcome;
            }
            _ => Doubt::CardGone,
        };
        match self.open.take() {
            Some(OpenDebit { record, intent, earlier: false, .. }) => {
                Outcome::Uncertain { record, intent, why }
            }
            _ => outcome,
        }
    }
}

impl Machine for Purchase<'_> {
    fn handle(&mut self, event: Event<'_>, now: Now) -> Step {
        match self.advance(event, now) {
            Ok(step) => step,
            Err(outcome) => {
                self.state = State::Finished;
                Step::Done(self.end(outcome))
            }
        }
    }

    fn deadline(&self) -> Option<Mono> {
        matches!(self.state, State::Arriving).then(|| self.arrival.deadline()).flatten()
    }

    fn prompt(&self) -> Prompt {
        self.arrival.prompt
    }
}

#[cfg(test)]
mod tests;
