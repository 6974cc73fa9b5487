//! Events, steps and prompts: the one interface between a flow and its driver.
//!
//! The driver's loop: deliver an event, carry out the step, deliver what came of it as the next event. Between steps it
//! shows [`Machine::prompt`]; when [`Machine::deadline`] passes it delivers [`Event::Tick`]. The step decides which
//! events may follow:
//!
//! | step | the driver does | and answers with |
//! |---|---|---|
//! | [`Step::WaitCard`] | waits for a card, powers it up | `CardPresent`, `Operator`, `Tick` |
//! | [`Step::WaitRemoval`] | waits until the field is empty | `CardLost`, `Operator`, `Tick` |
//! | [`Step::ToCard`] | sends the APDU to the card | `CardAnswer`, `CardLost` |
//! | [`Step::ToSam`] | sends the APDU to the SAM | `SamAnswer`, `SamLost` |
//! | [`Step::LookUp`] | looks the card up in journal and deny list | `Standing` |
//! | [`Step::Store`] | makes the entry durable | `Stored`, `StoreFailed` |
//! | [`Step::AskHost`] | sends the request, waits for its answer | `HostAnswer`, `HostLost` |
//! | [`Step::Done`] | ends | – |
//!
//! Answers must be complete: `61xx` and `6Cxx` are resolved below (`hardware`).

use crate::outcome::Outcome;
use crate::record::{CardId, DebitIntent, JournalEntry, LoadIntent, RecordId};
use heapless::Vec;
use protocol::apdu::SHORT_COMMAND_BYTES_MAX;
use protocol::iso8583::f58::LoadAnswer;
use protocol::iso8583::typed::{ResponseCode, RetrievalReference};
use protocol::money::CardAmount;
use protocol::purse::PurseError;
use protocol::time::{Mono, Now};
use zeroize::Zeroize;

/// An APDU on its way out. It may hold a PIN: it shows only its header, and clears itself when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Apdu(Vec<u8, SHORT_COMMAND_BYTES_MAX>);

impl core::ops::Deref for Apdu {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl core::fmt::Debug for Apdu {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let header = self.0.get(..4).unwrap_or_default();
        write!(f, "Apdu({}.., {} bytes)", protocol::hex::Hex(header), self.0.len())
    }
}

impl Drop for Apdu {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What a driver tells a machine.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Begin.
    Start,
    /// A card is in the field and powered.
    CardPresent,
    /// The card's answer: data and status word.
    CardAnswer(&'a [u8]),
    /// The card is gone, or its answer was lost: whether it carried out the last command is not known.
    CardLost,
    /// The SAM's answer: data and status word.
    SamAnswer(&'a [u8]),
    /// The SAM is gone or its answer was lost.
    SamLost,
    /// What journal and deny list know of the card that was looked up.
    Standing(&'a Standing),
    /// The entry is durable under this number.
    Stored(RecordId),
    /// The entry could not be made durable, and is not in the journal.
    StoreFailed,
    /// The host answered what was asked.
    HostAnswer(&'a LoadReply),
    /// The host could not be reached or did not answer in time: whether it got the request is not known.
    HostLost,
    /// A person gave an order.
    Operator(Order),
    /// The deadline has passed.
    Tick,
}

/// What a person at the terminal may order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Stop if that is possible without harm.
    Cancel,
}

/// What a machine wants done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Wait for a card and power it up.
    WaitCard,
    /// Wait until the card has left the field.
    WaitRemoval,
    /// Send to the card.
    ToCard(Apdu),
    /// Send to the SAM.
    ToSam(Apdu),
    /// Look this card up.
    LookUp(CardId),
    /// Make this durable before anything else happens.
    Store(JournalEntry),
    /// Ask the host for a load, under the identity that the intent holds.
    AskHost(LoadIntent),
    /// It is over.
    Done(Outcome),
}

/// The host's answer to a load request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadReply {
    /// Field 39.
    pub code: ResponseCode,
    /// Field 37.
    pub reference: Option<RetrievalReference>,
    /// Field 58 `RP`; there when the code is 00.
    pub consent: Option<LoadAnswer>,
}

/// What the terminal knows of a card when it is presented.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// A debit of this card that was interrupted and is not resolved. At most one: nothing new begins before it is.
    pub open: Option<(RecordId, DebitIntent)>,
    /// A load of this card whose CREDIT was sent and not answered.
    pub open_load: Option<(RecordId, LoadIntent)>,
    /// The card is on the deny list.
    pub denied: bool,
    /// The card recently answered a wrong MAC2 and is refused for a while.
    pub refused: bool,
}

/// What the terminal says to people while a machine runs. Texts are the binary's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Present the card.
    PresentCard,
    /// Hold the card still.
    Processing,
    /// The host is being asked; the card stays in the field.
    Connecting,
    /// It did not work, nothing was taken: present the card again.
    PresentAgain,
    /// A debit was interrupted: present the same card again; nothing will be taken twice.
    PresentSameCard(CardId),
    /// That is another card than the interrupted one.
    OtherCard(CardId),
    /// Remove the card.
    RemoveCard,
}

/// A flow.
pub trait Machine {
    /// Takes an event and says what is to be done next.
    fn handle(&mut self, event: Event<'_>, now: Now) -> Step;

    /// When to deliver [`Event::Tick`], if nothing happens before.
    fn deadline(&self) -> Option<Mono>;

    /// What to show at this moment.
    fn prompt(&self) -> Prompt;
}

/// Builds an APDU with one of `protocol`'s encoders.
pub(crate) fn apdu(encode: impl FnOnce(&mut [u8]) -> Result<usize, PurseError>) -> Result<Apdu, PurseError> {
    let mut buffer = [0; SHORT_COMMAND_BYTES_MAX];
    let length = encode(&mut buffer)?;
    let bytes = buffer.get(..length).ok_or(PurseError::NoRoom)?;
    let apdu = Vec::from_slice(bytes).map(Apdu).map_err(|_| PurseError::NoRoom);
    buffer.zeroize();
    apdu
}

/// How long machines wait for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a card to be presented, milliseconds.
    pub card_ms: u64,
    /// For the same card to come back after an interrupted debit, milliseconds.
    pub same_card_ms: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { card_ms: 60_000, same_card_ms: 30_000 }
    }
}

/// The amount that is free to spend: balance less overdraft.
pub(crate) fn usable(balance: CardAmount, overdraft: protocol::purse::Overdraft) -> CardAmount {
    balance.checked_sub(CardAmount(overdraft.minor())).unwrap_or(CardAmount::ZERO)
}
