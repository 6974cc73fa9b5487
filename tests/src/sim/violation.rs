//! The rules, as what is said when one is broken.

use flow::record::{CardId, RecordId};
use protocol::ids::{OfflineCounter, SamTerminal, TermSeq};

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
        /// Σ open or uncertain records whose debit is on the card, and of those in journals that were overwritten.
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
    /// The balance of a chip is not what it began with, and its own loads and debits.
    CardSums(CardId, String),
    /// A load on a card that no terminal's journal was about to credit, or a journal that says wrong what became of one.
    Load(CardId, String),
    /// A card took a consent that is not the issuer's.
    TookWrongConsent(CardId),
    /// Money at the backend that cards and terminals do not explain.
    Money(String),
    /// An answer of the gateway that its books do not keep.
    Promise(String),
    /// A batch whose totals or end are wrong.
    Batch(String),
    /// Something still waits although nothing goes wrong any more.
    StillWaits(SamTerminal, String),
    /// A debit that is not booked, and that nobody is told of.
    Unlisted(CardId, String),
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
            Self::CardSums(card, what) => write!(f, "card {}: {what}", card.asn),
            Self::Load(card, what) => write!(f, "card {}: load: {what}", card.asn),
            Self::TookWrongConsent(card) => {
                write!(f, "card {} took a consent that the issuer did not give", card.asn)
            }
            Self::Money(what) => write!(f, "money: {what}"),
            Self::Promise(what) => write!(f, "promised and not kept: {what}"),
            Self::Batch(what) => write!(f, "batch: {what}"),
            Self::StillWaits(terminal, what) => write!(f, "terminal {terminal}: {what}"),
            Self::Unlisted(card, what) => write!(f, "card {}: {what}", card.asn),
            Self::Backend(what) => write!(f, "backend: {what}"),
        }
    }
}
