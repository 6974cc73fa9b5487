//! Online load of a purse: `purse.md` section 6, `posp.md` section 6.
//!
//! SELECT → look the card up → VERIFY PIN → INIT LOAD → **store SENT** → ask the host → **store ANSWERED** →
//! **store CREDIT_SENT** → CREDIT → **store CREDITED** → done; the confirmation waits in the outbox.
//!
//! Each state is durable before the step that follows it, and decides alone what may still happen: from SENT, ANSWERED and
//! REFUSED the outbox reverses; once CREDIT was sent only the card decides, by GET TRANSACTION PROVE at its next tap. If it
//! has no proof, or its log shows that another load took the counter, its online counter tells whether it was credited, and if not even that does, the backend decides.

mod log;

pub(crate) use log::{Whose, whose};

use crate::arrival::{Arrival, Arrived, today};
use crate::machine::{Event, LoadReply, Machine, Patience, Prompt, Standing, Step, apdu};
use crate::outcome::{Decline, Fault, LoadReceipt, Outcome};
use crate::profile::Profile;
use crate::record::{CardId, HostNumbers, JournalEntry, LoadIntent, LoadState, RecordId};
use crate::selection::Selected;
use core::cmp::Ordering;
use protocol::apdu::{Response, StatusWord};
use protocol::ids::SamTerminal;
use protocol::iso8583::f58::LoadAnswer;
use protocol::iso8583::typed::ResponseCode;
use protocol::money::CardAmount;
use protocol::purse::answer::{InitForLoadAnswer, ProveAnswer};
use protocol::purse::command::{CreditForLoad, GetProve, Initialize, read_record, verify_pin};
use protocol::purse::file::SFI_LOG;
use protocol::purse::{Moment, PurseError, Tac, TransactionType};
use protocol::secret::Secret;
use protocol::time::{Mono, Now};

pub use crate::purchase::ZeroAmount;

/// The PIN of a purse: 4 to 12 digits, an even number of them, packed two to a byte.
#[derive(Clone, Debug)]
pub struct CardPin {
    packed: Secret<6>,
    bytes: usize,
}

impl CardPin {
    /// Reference of the PIN in VERIFY.
    const KEY_ID: u8 = 0;

    /// From the digits that a person typed; `None` if they are no PIN.
    #[must_use]
    pub fn from_digits(digits: &str) -> Option<Self> {
        let plausible = (4..=12).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let mut packed = [0; 6];
        let bytes = plausible.then(|| protocol::hex::decode_into(digits, &mut packed).ok()).flatten()?;
        Some(Self { packed: Secret::new(packed), bytes })
    }

    fn as_bytes(&self) -> &[u8] {
        self.packed.expose().get(..self.bytes).unwrap_or_default()
    }
}

#[derive(Debug)]
enum State {
    Arriving,
    LookingUp,
    Proving,
    ReadingLog(Tac, u8),
    VerifyingPin,
    Initialising,
    StoringIntent(LoadIntent),
    AskingHost,
    StoringAnswer(LoadAnswer),
    StoringCreditSent(LoadAnswer),
    Crediting,
    StoringEnd(After),
    Finished,
}

/// What follows when a state is durable.
#[derive(Debug)]
enum After {
    /// The card was credited.
    Credited(Tac),
    /// Over, and not loaded.
    Declined(Decline),
    /// The card cannot show what became of the load.
    Unknown,
    /// An earlier load is out of the way: the new one begins with this INIT answer.
    Begin(InitForLoadAnswer),
}

/// A load whose intent is stored and whose end is not.
#[derive(Debug)]
struct OpenLoad {
    record: RecordId,
    intent: LoadIntent,
    /// CREDIT may have reached the card.
    credit_sent: bool,
    /// It belongs to an earlier attempt.
    earlier: bool,
    /// The card showed that another load took its counter.
    disproved: bool,
    /// The host's date and time, once it consented.
    consent: Option<Moment>,
}

/// The next step, or how the load ends.
type Transition = Result<Step, Outcome>;

const DRIVER_FAULT: Outcome = Outcome::Failed(Fault::Driver);

/// One load.
#[derive(Debug)]
pub struct Load<'p> {
    arrival: Arrival<'p>,
    terminal: SamTerminal,
    amount: CardAmount,
    pin: CardPin,
    numbers: HostNumbers,
    state: State,
    open: Option<OpenLoad>,
}

impl<'p> Load<'p> {
    /// A load of `amount`, under `numbers` at the host, at the terminal whose SAM has the number `terminal`.
    ///
    /// # Errors
    /// An amount of zero.
    pub fn new(
        profile: &'p Profile,
        terminal: SamTerminal,
        amount: CardAmount,
        pin: CardPin,
        numbers: HostNumbers,
        patience: Patience,
    ) -> Result<Self, ZeroAmount> {
        if amount == CardAmount::ZERO {
            return Err(ZeroAmount);
        }
        Ok(Self {
            arrival: Arrival::new(profile, patience),
            terminal,
            amount,
            pin,
            numbers,
            state: State::Arriving,
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
            (State::AskingHost, Event::HostAnswer(reply)) => self.host_answered(reply),
            (State::AskingHost, Event::HostLost) => Err(Outcome::Failed(Fault::HostGone)),
            (_, Event::CardLost) => Ok(self.card_lost(now)),
            (_, Event::StoreFailed) => Err(Outcome::Failed(Fault::Journal)),
            (state, Event::CardAnswer(answer)) => self.card_answered(state, answer, now),
            (state, Event::Stored(record)) => self.stored(state, record, now),
            _ => Err(DRIVER_FAULT),
        }
    }

    fn card_answered(&mut self, state: State, answer: &[u8], now: Now) -> Transition {
        match state {
            State::Proving => self.proved(answer),
            State::ReadingLog(tac, record) => self.log_read(tac, record, answer),
            State::VerifyingPin => self.pin_verified(answer),
            State::Initialising => self.initialised(answer, now),
            State::Crediting => self.credited(answer),
            _ => Err(DRIVER_FAULT),
        }
    }

    fn stored(&mut self, state: State, record: RecordId, now: Now) -> Transition {
        match state {
            State::StoringIntent(intent) => {
                self.open = Some(OpenLoad {
                    record,
                    intent,
                    credit_sent: false,
                    earlier: false,
                    disproved: false,
                    consent: None,
                });
                self.arrival.prompt = Prompt::Connecting;
                self.state = State::AskingHost;
                Ok(Step::AskHost(intent))
            }
            State::StoringAnswer(consent) => {
                let load = self.open.as_ref().ok_or(DRIVER_FAULT)?.record;
                self.state = State::StoringCreditSent(consent);
                Ok(Step::Store(JournalEntry::LoadState { load, state: LoadState::CreditSent }))
            }
            State::StoringCreditSent(consent) => {
                self.open.as_mut().ok_or(DRIVER_FAULT)?.credit_sent = true;
                self.arrival.prompt = Prompt::Processing;
                let credit = CreditForLoad { moment: consent.moment, mac2: consent.mac2 };
                self.send_card(State::Crediting, |out| credit.encode(out))
            }
            State::StoringEnd(after) => {
                let open = self.open.take().ok_or(DRIVER_FAULT)?;
                self.ended(open, after, now)
            }
            _ => Err(DRIVER_FAULT),
        }
    }

    fn send_card(
        &mut self,
        state: State,
        encode: impl FnOnce(&mut [u8]) -> Result<usize, PurseError>,
    ) -> Transition {
        self.state = state;
        apdu(encode).map(Step::ToCard).map_err(|_| DRIVER_FAULT)
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
            return self.prove();
        }
        let card = self.present()?;
        card.check_validity(today(now)?).map_err(Outcome::Declined)?;
        let id = card.id;
        self.state = State::LookingUp;
        Ok(Step::LookUp(id))
    }

    fn standing(&mut self, standing: &Standing) -> Transition {
        if let Some((record, intent)) = &standing.open_load {
            let (record, intent) = (*record, *intent);
            self.open = Some(OpenLoad {
                record,
                intent,
                credit_sent: true,
                earlier: true,
                disproved: false,
                consent: None,
            });
            return self.prove();
        }
        let id = self.present()?.id;
        if standing.denied {
            return Err(Outcome::Declined(Decline::Denied(id)));
        }
        if standing.refused {
            return Err(Outcome::Declined(Decline::RecentlyRefused(id)));
        }
        self.verify()
    }

    /// The card is gone. Before CREDIT nothing happened on it; after, it must come back.
    fn card_lost(&mut self, now: Now) -> Step {
        if self.open.as_ref().is_some_and(|open| open.earlier) {
            self.open = None;
        }
        if self.open.is_some() {
            self.arrival.give_time_to_return(now);
        }
        self.state = State::Arriving;
        self.arrival.wait_return(self.open_card())
    }

    // --- the load -----------------------------------------------------------------------------------------------

    fn verify(&mut self) -> Transition {
        let pin = self.pin.clone();
        self.send_card(State::VerifyingPin, |out| verify_pin(CardPin::KEY_ID, pin.as_bytes(), out))
    }

    fn pin_verified(&mut self, answer: &[u8]) -> Transition {
        let sw = Response::parse(answer).map_err(|_| Outcome::Declined(Decline::BadAnswer))?.sw;
        match (sw, sw.tries_left()) {
            (StatusWord::OK, _) => {}
            (_, Some(tries_left @ 1..)) => return Err(Outcome::Declined(Decline::WrongPin { tries_left })),
            (StatusWord::PIN_BLOCKED, _) | (_, Some(0)) => {
                return Err(Outcome::Declined(Decline::PinBlocked));
            }
            _ => return Err(Outcome::Declined(Decline::CardRefused(sw))),
        }
        let card = self.present()?;
        let (kind, key_index) = (TransactionType::Load, card.issuer.key_index);
        let init = Initialize { kind, key_index, amount: self.amount, terminal: self.terminal };
        let suite = card.issuer.suite;
        self.send_card(State::Initialising, |out| init.encode(suite, out))
    }

    fn initialised(&mut self, answer: &[u8], now: Now) -> Transition {
        let init = check_init(self.present()?, answer).map_err(Outcome::Declined)?;
        match self.open.as_ref().map(|open| init.counter.cmp(&open.intent.counter)) {
            None => self.begin(init, now),
            Some(Ordering::Equal) => Ok(self.not_credited(init)),
            Some(_) if self.open.as_ref().is_some_and(|open| open.disproved) => Ok(self.not_credited(init)),
            Some(_) => Ok(self.unknown(init)),
        }
    }

    fn begin(&mut self, init: InitForLoadAnswer, now: Now) -> Transition {
        if init.balance.checked_add(self.amount).is_none() {
            return Err(Outcome::Declined(Decline::AboveLimit(CardAmount(u32::MAX))));
        }
        let (date, time) = now.local().map_err(|_| Outcome::Failed(Fault::Clock))?;
        let card = self.present()?;
        let intent = LoadIntent {
            card: card.id,
            currency: card.issuer.currency,
            algorithm: init.algorithm,
            key_index: card.issuer.key_index,
            key_version: init.key_version,
            random: init.random,
            counter: init.counter,
            balance_before: init.balance,
            amount: self.amount,
            terminal: self.terminal,
            mac1: init.mac1,
            numbers: self.numbers,
            moment: Moment { date, time },
        };
        self.state = State::StoringIntent(intent);
        Ok(Step::Store(JournalEntry::Load(intent)))
    }

    fn host_answered(&mut self, reply: &LoadReply) -> Transition {
        let open = self.open.as_mut().ok_or(DRIVER_FAULT)?;
        let load = open.record;
        if !reply.code.is_approved() {
            let declined = Decline::Host(reply.code);
            if may_have_been_booked(reply.code) {
                // The intent stays SENT: the outbox reverses it.
                return Err(Outcome::Declined(declined));
            }
            return Ok(self.store_end(LoadState::Declined { code: reply.code }, After::Declined(declined)));
        }
        let suite = open.intent.algorithm.suite();
        let (Some(consent), Some(reference)) = (reply.consent, reply.reference) else {
            return Err(Outcome::Failed(Fault::HostBadAnswer));
        };
        if consent.mac2.suite() != suite {
            return Err(Outcome::Failed(Fault::HostBadAnswer));
        }
        open.consent = Some(consent.moment);
        self.state = State::StoringAnswer(consent);
        let state = LoadState::Answered { reference, moment: consent.moment };
        Ok(Step::Store(JournalEntry::LoadState { load, state }))
    }

    fn credited(&mut self, answer: &[u8]) -> Transition {
        let suite = self.present()?.issuer.suite;
        match Response::parse(answer) {
            Ok(Response { sw: StatusWord::OK, data }) => match Tac::from_bytes(suite, data) {
                Ok(tac) => Ok(self.store_end(LoadState::Credited { tac }, After::Credited(tac))),
                Err(_) => self.prove(),
            },
            Ok(Response { sw, .. }) if crate::purchase::says_nothing_was_done(sw) => {
                let proof_refused = crate::purchase::says_mac_is_wrong(sw);
                let decline =
                    if proof_refused { Decline::HostProofRefused } else { Decline::CardRefused(sw) };
                Ok(self.store_end(LoadState::Refused { sw }, After::Declined(decline)))
            }
            _ => self.prove(),
        }
    }

    // --- what became of it --------------------------------------------------------------------------------------

    fn prove(&mut self) -> Transition {
        let intent = self.open.as_ref().ok_or(DRIVER_FAULT)?.intent;
        self.arrival.prompt = Prompt::Processing;
        let command = prove_load(&intent);
        self.send_card(State::Proving, |out| command?.encode(intent.algorithm.suite(), out))
    }

    fn proved(&mut self, answer: &[u8]) -> Transition {
        let intent = self.open.as_ref().ok_or(DRIVER_FAULT)?.intent;
        match proved_tac(&intent, answer) {
            Some(tac) => self.read_log(tac, 1),
            // No proof: the online counter will tell. It takes the PIN to see it.
            None => self.verify(),
        }
    }

    fn read_log(&mut self, tac: Tac, record: u8) -> Transition {
        self.send_card(State::ReadingLog(tac, record), |out| read_record(SFI_LOG, record, out))
    }

    fn log_read(&mut self, tac: Tac, record: u8, answer: &[u8]) -> Transition {
        let open = self.open.as_mut().ok_or(DRIVER_FAULT)?;
        match whose(&open.intent, record, answer) {
            Whose::Ours => Ok(self.store_end(LoadState::Credited { tac }, After::Credited(tac))),
            Whose::Older(record) => self.read_log(tac, record),
            Whose::Anothers => {
                open.disproved = true;
                self.verify()
            }
        }
    }

    fn not_credited(&mut self, init: InitForLoadAnswer) -> Step {
        let sw = StatusWord::NO_PROVE_DATA;
        let earlier = self.open.as_ref().is_some_and(|open| open.earlier);
        let after = if earlier { After::Begin(init) } else { After::Declined(Decline::CardRefused(sw)) };
        self.store_end(LoadState::Refused { sw }, after)
    }

    fn unknown(&mut self, init: InitForLoadAnswer) -> Step {
        let earlier = self.open.as_ref().is_some_and(|open| open.earlier);
        let after = if earlier { After::Begin(init) } else { After::Unknown };
        self.store_end(LoadState::Unknown, after)
    }

    // --- the end ------------------------------------------------------------------------------------------------

    fn store_end(&mut self, state: LoadState, after: After) -> Step {
        let Some(open) = &self.open else {
            return Step::Done(DRIVER_FAULT);
        };
        let load = open.record;
        self.state = State::StoringEnd(after);
        Step::Store(JournalEntry::LoadState { load, state })
    }

    fn ended(&mut self, open: OpenLoad, after: After, now: Now) -> Transition {
        let OpenLoad { record, intent, earlier, consent, .. } = open;
        match after {
            After::Credited(tac) => {
                let receipt = LoadReceipt {
                    record,
                    card: intent.card,
                    amount: intent.amount,
                    balance_before: intent.balance_before,
                    balance_after: intent.balance_after(),
                    moment: consent.unwrap_or(intent.moment),
                    tac,
                    earlier,
                };
                Err(Outcome::Loaded(receipt))
            }
            After::Declined(decline) => Err(Outcome::Declined(decline)),
            After::Unknown => Err(Outcome::LoadUncertain { record, intent }),
            // The earlier load is closed; INIT's transaction is still open on the card.
            After::Begin(init) => self.begin(init, now),
        }
    }

    /// What an end means once CREDIT was sent: never "nothing happened".
    fn end(&mut self, outcome: Outcome) -> Outcome {
        match (self.open.take(), outcome) {
            (_, outcome @ (Outcome::Loaded(_) | Outcome::LoadUncertain { .. })) => outcome,
            (Some(OpenLoad { record, intent, credit_sent: true, earlier: false, .. }), _) => {
                Outcome::LoadUncertain { record, intent }
            }
            (_, outcome) => outcome,
        }
    }
}

/// GET TRANSACTION PROVE of a load.
pub(crate) fn prove_load(intent: &LoadIntent) -> Result<GetProve, PurseError> {
    let counter_after = intent.counter.next().ok_or(PurseError::NotThisCommand)?.0;
    Ok(GetProve { evidence: false, kind: TransactionType::Load, counter_after })
}

/// The TAC of the load, if the card proves it.
pub(crate) fn proved_tac(intent: &LoadIntent, answer: &[u8]) -> Option<Tac> {
    let response = Response::parse(answer).ok().filter(|response| response.sw.is_ok())?;
    Some(ProveAnswer::parse(intent.algorithm.suite(), response.data).ok()?.tac)
}

/// Reads an INIT LOAD answer and holds it against what is accepted from the issuer.
fn check_init(card: &Selected<'_>, answer: &[u8]) -> Result<InitForLoadAnswer, Decline> {
    let response = Response::parse(answer).map_err(|_| Decline::BadAnswer)?;
    match response.sw {
        StatusWord::OK => {}
        StatusWord::FUNCTION_NOT_SUPPORTED | StatusWord::PERMANENTLY_BLOCKED => return Err(Decline::Blocked),
        StatusWord::COUNTER_AT_MAXIMUM => return Err(Decline::CounterExhausted),
        other => return Err(Decline::CardRefused(other)),
    }
    let init = InitForLoadAnswer::parse(response.data).map_err(|_| Decline::BadAnswer)?;
    let (expected, found) = (card.issuer.suite, init.algorithm.suite());
    if expected != found {
        return Err(Decline::WrongSuite { expected, found });
    }
    Ok(init)
}

/// Codes after which the host may have booked the request all the same.
fn may_have_been_booked(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::ISSUER_OUT | ResponseCode::SYSTEM | ResponseCode::NO_ANSWER)
}

impl Machine for Load<'_> {
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
