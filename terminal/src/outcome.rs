//! How a flow's end is told: a code with what to do, an exit code for scripts, a receipt for the customer.
//!
//! A payment outcome (approved, declined, present again, same card again, another card) is a result, not an error. Trouble
//! of the terminal's own ([`flow::Fault`]) is a failure; the flow promises that nothing was taken then.

use crate::config::Settings;
use crate::driver::Run;
use crate::fault;
use crate::journal::{Journal, StoreFault};
use crate::receipt::{Receipt, Standing};
use crate::words::{last_digits, said};
use console::{Exit, Failure, code};
use flow::outcome::{CardBalance, Certainty, Doubt};
use flow::record::{CardId, DebitIntent};
use flow::sam::SamIdentity;
use flow::{Decline, Fault, Outcome};
use protocol::ids::SamTerminal;
use protocol::money::{Amount, CardAmount};

/// A flow's end as people and scripts get it.
#[derive(Debug)]
pub enum Told {
    /// A payment was taken.
    Approved(Receipt),
    /// What is on the card.
    Balance(CardBalance),
    /// Anything else, with its code; an earlier payment that was found to be taken has its receipt.
    Otherwise(Failure, Option<Receipt>),
}

impl Told {
    /// How the process ends.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Approved(_) | Self::Balance(_) => Exit::Success,
            Self::Otherwise(reason, _) => reason.code().exit(),
        }
    }

    /// Its name in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Approved(_) => "approved",
            Self::Balance(_) => "balance",
            Self::Otherwise(reason, _) => match reason.code().exit() {
                Exit::Declined => "declined",
                Exit::TryAgain => "try-again",
                Exit::SameCard => "same-card-again",
                Exit::OtherCard => "use-another-card",
                Exit::Uncertain => "uncertain",
                Exit::EarlierPaid => "earlier-paid",
                _ => "not-taken",
            },
        }
    }
}

/// What a flow needs of its surroundings to be told.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The configuration.
    pub settings: &'a Settings,
    /// The journal.
    pub journal: &'a Journal,
    /// Name of the customers' reader.
    pub card_reader: &'a str,
    /// Name of the SAM's slot.
    pub sam_reader: &'a str,
    /// The SAM, once it said who it is.
    pub sam: Option<&'a SamIdentity>,
    /// What was to be taken; nothing in a balance inquiry.
    pub amount: Amount,
}

impl Context<'_> {
    pub(crate) fn money(&self, amount: CardAmount) -> Amount {
        amount.in_currency(self.settings.terminal.currency)
    }

    /// Tells how a run ended.
    ///
    /// # Errors
    /// The terminal itself could not; nothing was taken.
    pub fn tell(&self, run: Run) -> Result<Told, Failure> {
        let Run { outcome, store_fault, reader_fault, .. } = run;
        Ok(match outcome {
            Outcome::Approved(receipt) => Told::Approved(self.receipt(&receipt)),
            Outcome::Balance(balance) => Told::Balance(balance),
            Outcome::EarlierCompleted(receipt) => {
                let reason = Failure::new(code::EARLIER_COMPLETED)
                    .with("amount", self.money(receipt.amount))
                    .with("number", receipt.record.0);
                Told::Otherwise(reason, Some(self.receipt(&receipt)))
            }
            Outcome::Declined(decline) => Told::Otherwise(self.decline(decline), None),
            Outcome::Uncertain { intent, why, .. } => Told::Otherwise(self.doubt(&intent, why), None),
            Outcome::Cancelled | Outcome::TimedOut if reader_fault.is_some() => {
                let error = reader_fault.unwrap_or(hardware::ReaderError::Cancelled);
                return Err(fault::reader("reader.card", self.card_reader, error));
            }
            Outcome::Cancelled => Told::Otherwise(Failure::new(code::CANCELLED), None),
            Outcome::TimedOut => {
                let waited = Failure::new(code::NO_CARD).with("seconds", self.settings.reader.wait_s);
                Told::Otherwise(waited, None)
            }
            Outcome::Failed(Fault::Journal) => {
                let fault = store_fault.unwrap_or_else(|| StoreFault::Disk(String::new()));
                return Err(fault::store(self.journal.path(), fault));
            }
            Outcome::Failed(fault) => return Err(self.fault(fault)),
            // Ends of other flows than those that are told here.
            Outcome::SamReady(_) | Outcome::Loaded(_) | Outcome::LoadUncertain { .. } => {
                return Err(self.fault(Fault::Driver));
            }
        })
    }

    fn receipt(&self, receipt: &flow::Receipt) -> Receipt {
        // An earlier payment may have been begun with another SAM: the journal knows.
        let begun = self.journal.intent(receipt.record).map(|intent| intent.terminal);
        let terminal = begun.unwrap_or_else(|_| self.sam.map_or(SamTerminal([0; 6]), |sam| sam.terminal));
        Receipt {
            standing: match receipt.certainty {
                Certainty::Direct => Standing::Approved,
                Certainty::Recovered => Standing::Recovered,
                Certainty::RecoveredUnverified => Standing::Unverified,
            },
            number: receipt.record.0,
            date: receipt.moment.date,
            time: receipt.moment.time,
            amount: self.money(receipt.amount),
            card: receipt.card.asn,
            terminal,
            sequence: receipt.term_seq,
            tac: Some(receipt.tac.as_bytes().to_vec()),
            before: self.money(receipt.balance_before),
            after: Some(self.money(receipt.balance_after)),
            copy: false,
        }
    }

    /// Why a card was not charged or loaded.
    pub(crate) fn decline(&self, decline: Decline) -> Failure {
        let refused = |code| Failure::new(code);
        match decline {
            Decline::NoPurse => refused(code::UNKNOWN_CARD),
            Decline::UnknownIssuer(card) => refused(code::CARD_ISSUER).with("issuer", card.issuer),
            Decline::Blocked => refused(code::CARD_BLOCKED),
            Decline::NotYetValid(date) => refused(code::CARD_NOT_YET_VALID).with("date", date),
            Decline::Expired(date) => refused(code::CARD_EXPIRED).with("date", date),
            Decline::Denied(_) => refused(code::CARD_DENIED),
            Decline::RecentlyRefused(_) => {
                refused(code::CARD_PAUSED).with("seconds", crate::driver::REFUSED_MS / 1000)
            }
            Decline::WrongSuite { found, .. } => refused(code::CARD_SUITE).with("suite", found),
            Decline::WrongKeyVersion(version) => refused(code::CARD_KEY_VERSION).with("version", version),
            Decline::Insufficient { usable } => {
                let balance = usable.map_or_else(|| "?".to_owned(), |usable| self.money(usable).to_string());
                refused(code::BALANCE_TOO_LOW).with("balance", balance).with("amount", self.amount)
            }
            Decline::AboveLimit(limit) => {
                refused(code::AMOUNT_TOO_LARGE).with("amount", self.amount).with("limit", self.money(limit))
            }
            Decline::CounterExhausted => refused(code::CARD_COUNTER_USED_UP),
            Decline::CardRefused(status) => refused(code::CARD_REFUSED).with("status", status),
            Decline::SamProofRefused(card) => self.sam_proof_refused(&card),
            Decline::HostProofRefused => refused(code::HOST_PROOF_REFUSED),
            Decline::WrongPin { tries_left } => refused(code::PIN_WRONG).with("tries", tries_left),
            Decline::PinBlocked => refused(code::PIN_BLOCKED),
            Decline::Host(response) => said(refused(code::HOST_DECLINED), response),
            Decline::BadAnswer => refused(code::CARD_ANSWER).with("status", "malformed"),
            Decline::RolledBack(card) => refused(code::CARD_ROLLED_BACK).with("card", last_digits(&card.asn)),
        }
    }

    /// The keys of SAM and card do not fit. Has the SAM taken payments from the issuer's cards before, then the card is the
    /// likelier one to be odd, else the SAM.
    fn sam_proof_refused(&self, card: &CardId) -> Failure {
        let terminal = self.sam.map(|sam| sam.terminal);
        // A journal that cannot be read says nothing for the SAM.
        let agreed = terminal.is_some_and(|sam| self.journal.sam_has_agreed(sam, card).unwrap_or(false));
        let code = if agreed { code::CARD_AGAINST_SAM } else { code::SAM_AGAINST_ISSUER };
        Failure::new(code)
            .with("terminal", terminal.map_or_else(|| "?".to_owned(), |terminal| terminal.to_string()))
            .with("reader", self.sam_reader)
            .with("issuer", card.issuer)
            .with("card", last_digits(&card.asn))
    }

    fn doubt(&self, intent: &DebitIntent, why: Doubt) -> Failure {
        let code = match why {
            Doubt::CardGone => code::SAME_CARD_AGAIN,
            Doubt::JournalFailed => code::RESULT_NOT_STORED,
            Doubt::SamFailed => code::SAM_FAILED_IN_PAYMENT,
            Doubt::Closed(_) => code::PAYMENT_UNCERTAIN,
        };
        Failure::new(code)
            .with("amount", self.money(intent.amount))
            .with("card", last_digits(&intent.card.asn))
            .with("sequence", intent.term_seq)
    }

    /// Trouble of the terminal's own.
    #[must_use]
    pub fn fault(&self, fault: Fault) -> Failure {
        let terminal = self.sam.map_or_else(|| "?".to_owned(), |sam| sam.terminal.to_string());
        let sam = |code| Failure::new(code).with("reader", self.sam_reader).with("terminal", &terminal);
        match fault {
            Fault::SamGone => sam(code::SAM_FAILED),
            Fault::SamWithoutKey => sam(code::SAM_ISSUER),
            Fault::SamWithoutSuite(suite) => sam(code::SAM_SUITE).with("suite", suite),
            Fault::SamRefused(status) if self.sam.is_none() => {
                sam(code::SAM_UNREADABLE).with("status", status)
            }
            Fault::SamRefused(status) => sam(code::SAM_REFUSED).with("status", status),
            Fault::SamBadAnswer => sam(code::SAM_UNREADABLE).with("status", "malformed"),
            Fault::Clock => Failure::new(code::CLOCK_WRONG).with("date", "?"),
            Fault::Journal => fault::store(self.journal.path(), StoreFault::Disk(String::new())),
            Fault::HostGone => Failure::new(code::HOST_GONE),
            Fault::HostBadAnswer => Failure::new(code::HOST_ANSWER),
            Fault::Driver => Failure::new(code::UNEXPECTED).with("detail", "an event came out of turn"),
        }
    }
}
