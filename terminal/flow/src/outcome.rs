//! How a flow ends. A payment outcome (approved, declined, try again, use another card) is a value, not an error; a
//! [`Fault`] is trouble of the terminal's own.

use crate::record::{CardId, DebitIntent, LoadIntent, RecordId, Uncertainty};
use protocol::apdu::StatusWord;
use protocol::ids::{KeyVersion, TermSeq};
use protocol::iso8583::typed::ResponseCode;
use protocol::money::CardAmount;
use protocol::purse::{Moment, Suite, Tac};
use protocol::time::CardDate;

/// The end of a flow.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Money was taken once, and the journal has it.
    Approved(Receipt),
    /// An earlier, interrupted debit of this card turned out to be done. Nothing was taken for the new payment: the
    /// person at the till decides whether it is another one.
    EarlierCompleted(Receipt),
    /// Nothing was taken.
    Declined(Decline),
    /// A debit was interrupted and is open in the journal, or ended as uncertain: money may have moved. The card's
    /// next tap or the backend resolves it.
    Uncertain {
        /// Its number in the journal.
        record: RecordId,
        /// What was to be taken.
        intent: DebitIntent,
        /// Why it is not known.
        why: Doubt,
    },
    /// The card was credited; the confirmation waits in the outbox.
    Loaded(LoadReceipt),
    /// CREDIT was sent and its answer did not come: the card's next tap or the backend decides.
    LoadUncertain {
        /// Its number in the journal.
        record: RecordId,
        /// What was to be loaded.
        intent: LoadIntent,
    },
    /// The balance of a card.
    Balance(CardBalance),
    /// A person cancelled before anything was taken.
    Cancelled,
    /// No card came in time.
    TimedOut,
    /// The terminal itself could not: nothing was taken.
    Failed(Fault),
    /// The SAM answered who it is (only of [`crate::sam::OpenSam`]).
    SamReady(crate::sam::SamIdentity),
}

/// Why a debit's end is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The card has not come back; the debit is still open in the journal.
    CardGone,
    /// The card was debited and the SAM agreed, but the result could not be stored; the debit is still open in the
    /// journal.
    JournalFailed,
    /// The SAM failed while the debit was being proved; the debit is still open in the journal.
    SamFailed,
    /// Closed in the journal as uncertain; the backend decides.
    Closed(Uncertainty),
}

/// A purchase that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its number in the journal.
    pub record: RecordId,
    /// The card.
    pub card: CardId,
    /// What was taken.
    pub amount: CardAmount,
    /// Balance before.
    pub balance_before: CardAmount,
    /// Balance after.
    pub balance_after: CardAmount,
    /// The SAM's sequence number.
    pub term_seq: TermSeq,
    /// Date and time of the debit, local.
    pub moment: Moment,
    /// The card's proof for the issuer.
    pub tac: Tac,
    /// How sure the terminal is.
    pub certainty: Certainty,
}

/// A load that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadReceipt {
    /// Its number in the journal.
    pub record: RecordId,
    /// The card.
    pub card: CardId,
    /// What was loaded.
    pub amount: CardAmount,
    /// Balance before.
    pub balance_before: CardAmount,
    /// Balance after.
    pub balance_after: CardAmount,
    /// Date and time of the host's consent.
    pub moment: Moment,
    /// The card's proof for the issuer.
    pub tac: Tac,
    /// It belongs to an earlier, interrupted attempt; nothing was loaded for the new one.
    pub earlier: bool,
}

/// How a debit was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// MAC2 came with the debit's answer and is right.
    Direct,
    /// The answer was lost; the card proved the debit at a later tap.
    Recovered,
    /// The card showed a proof that this SAM cannot check; paid only after the backend checks the TAC.
    RecoveredUnverified,
}

/// What is on a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardBalance {
    /// The card.
    pub card: CardId,
    /// Balance.
    pub balance: CardAmount,
    /// First day of validity.
    pub start: CardDate,
    /// Last day of validity.
    pub end: CardDate,
    /// An interrupted debit of this card is open in the journal.
    pub open_debit: Option<RecordId>,
}

/// Why a card was not charged. The party at fault is the card, or the limits set for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decline {
    /// No application of any accepted issuer on the card.
    NoPurse,
    /// A purse of an issuer this terminal does not accept.
    UnknownIssuer(CardId),
    /// The application is blocked.
    Blocked,
    /// The card is not valid yet.
    NotYetValid(CardDate),
    /// The card has expired.
    Expired(CardDate),
    /// The card is on the deny list.
    Denied(CardId),
    /// The card recently gave a wrong MAC2.
    RecentlyRefused(CardId),
    /// The card speaks another suite than accepted from its issuer.
    WrongSuite {
        /// Accepted.
        expected: Suite,
        /// The card's.
        found: Suite,
    },
    /// The card's key version is not accepted.
    WrongKeyVersion(KeyVersion),
    /// Not enough to spend.
    Insufficient {
        /// What is free to spend, if the card said so.
        usable: Option<CardAmount>,
    },
    /// More than one offline payment may take.
    AboveLimit(CardAmount),
    /// The card's transaction counter is at its end; the card must be replaced.
    CounterExhausted,
    /// The card refused with this status word; nothing was taken.
    CardRefused(StatusWord),
    /// The card found the SAM's MAC1 wrong: the keys of the two do not fit, or the command was damaged on its way. One of
    /// them is the odd one, and a single refusal does not say which; nothing was taken.
    SamProofRefused(CardId),
    /// The card found the host's MAC2 wrong: the host's keys do not fit the card's; nothing was loaded.
    HostProofRefused,
    /// The card's answer makes no sense.
    BadAnswer,
    /// The PIN is wrong; so many tries are left.
    WrongPin {
        /// Tries left.
        tries_left: u8,
    },
    /// The PIN is blocked.
    PinBlocked,
    /// The host declined the load.
    Host(ResponseCode),
    /// The card's counter went back: a copy or a restored image.
    RolledBack(CardId),
}

/// Trouble of the terminal's own; nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The SAM does not answer.
    SamGone,
    /// The SAM has no key of this issuer and version.
    SamWithoutKey,
    /// The SAM has no application of this suite.
    SamWithoutSuite(Suite),
    /// The SAM refused with this status word.
    SamRefused(StatusWord),
    /// The SAM's answer makes no sense.
    SamBadAnswer,
    /// The host could not be reached or did not answer; a reversal waits in the outbox.
    HostGone,
    /// The host's answer makes no sense; a reversal waits in the outbox.
    HostBadAnswer,
    /// The journal could not be written.
    Journal,
    /// The clock shows no calendar date.
    Clock,
    /// An event came that the step did not ask for: a bug of the driver.
    Driver,
}
