//! The two slots a terminal works with: the customers' reader and the SAM's, with complete answers (61xx, 6Cxx).

use crate::config::ReaderSettings;
use crate::fault;
use console::{Failure, code};
use flow::sam::{OpenSam, SamIdentity};
use flow::{Event, Machine, Outcome, Step};
use hardware::{CardReader, Completing, PcscReader, ReaderError, ReaderPattern};
use protocol::apdu::{Response, SHORT_ANSWER_BYTES_MAX, SHORT_COMMAND_BYTES_MAX};
use protocol::purse::Suite;
use protocol::purse::command::Select;
use protocol::sam::{AID_SAM_SUITE_10, FID_SAM_SUITE_00};
use protocol::time::Now;

/// A slot of whatever kind.
pub type Slot = Completing<Box<dyn CardReader + Send>>;

/// The customers' reader and the SAM's slot.
pub struct Devices {
    /// Where customers tap.
    pub card: Slot,
    /// Where the SAM is; `None` if there is no slot for one.
    pub sam: Option<Slot>,
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devices").field("card", &self.card.name()).finish_non_exhaustive()
    }
}

impl Devices {
    /// From two slots (tests bring their own).
    #[must_use]
    pub fn new(card: impl CardReader + Send + 'static, sam: impl CardReader + Send + 'static) -> Self {
        Self { card: Completing::new(Box::new(card)), sam: Some(Completing::new(Box::new(sam))) }
    }

    /// The PC/SC readers that the configuration names, or the only pair there is.
    ///
    /// # Errors
    /// No daemon, no reader, or a choice that is not unique, each with what to do.
    pub fn open(settings: &ReaderSettings) -> Result<Self, Failure> {
        let (card, sam) = (ReaderPattern::like(&settings.card), ReaderPattern::like(&settings.sam));
        let pair = PcscReader::pair(&card, &sam).map_err(|error| choice(settings, error))?;
        let (card, sam) = pair;
        let slot = |reader: PcscReader| -> Slot { Completing::new(Box::new(reader)) };
        Ok(Self { card: slot(card), sam: sam.map(slot) })
    }
}

impl Devices {
    /// Powers the SAM up.
    ///
    /// # Errors
    /// No slot for one, an empty slot, or what became of the reader.
    pub fn power_sam(&mut self) -> Result<(), Failure> {
        let Some(sam) = &mut self.sam else {
            return Err(Failure::new(code::SAM_MISSING).with("reader", self.card.name()));
        };
        let name = sam.name().to_owned();
        sam.connect().map(drop).map_err(|error| match error {
            ReaderError::NoCard => Failure::new(code::SAM_MISSING).with("reader", name),
            ReaderError::CardMute => {
                Failure::new(code::SAM_UNREADABLE).with("reader", name).with("status", error)
            }
            other => fault::reader("reader.sam", &name, other),
        })
    }

    /// Asks the SAM, once it is powered, who it is.
    ///
    /// # Errors
    /// What the flow makes of a SAM that is gone or answers something else.
    pub fn identify_sam(&mut self, now: Now) -> Result<SamIdentity, flow::Fault> {
        let mut machine = OpenSam::new();
        let mut answer = [0; SHORT_ANSWER_BYTES_MAX];
        let mut step = machine.handle(Event::Start, now);
        loop {
            let sent = match (step, &mut self.sam) {
                (Step::ToSam(command), Some(sam)) => sam.transmit(&command, &mut answer).ok(),
                (Step::ToSam(_), None) => None,
                (Step::Done(Outcome::SamReady(identity)), _) => return Ok(identity),
                (Step::Done(Outcome::Failed(fault)), _) => return Err(fault),
                _ => return Err(flow::Fault::Driver),
            };
            let event = match sent {
                Some(length) => Event::SamAnswer(answer.get(..length).unwrap_or_default()),
                None => Event::SamLost,
            };
            step = machine.handle(event, now);
        }
    }

    /// Whether the SAM, once it is powered, has an application of this suite.
    #[must_use]
    pub fn sam_has_suite(&mut self, suite: Suite) -> bool {
        let select = match suite {
            Suite::Aes => Select::Aid(&AID_SAM_SUITE_10),
            Suite::Des => Select::Fid(FID_SAM_SUITE_00),
        };
        let (mut command, mut answer) = ([0; SHORT_COMMAND_BYTES_MAX], [0; SHORT_ANSWER_BYTES_MAX]);
        let Some(sam) = &mut self.sam else { return false };
        let command = select.encode(&mut command).ok().and_then(|length| command.get(..length));
        let answered = command.and_then(|command| sam.transmit(command, &mut answer).ok());
        let response = answered.and_then(|length| Response::parse(answer.get(..length)?).ok());
        response.is_some_and(|response| response.sw.is_ok())
    }

    /// The name of the SAM's slot, for people.
    #[must_use]
    pub fn sam_name(&self) -> &str {
        self.sam.as_ref().map_or(self.card.name(), CardReader::name)
    }
}

/// Which key of the configuration a choice failed for.
fn choice(settings: &ReaderSettings, error: ReaderError) -> Failure {
    let wanted_sam = matches!(&error, ReaderError::NoSuchReader { wanted, .. } if *wanted == settings.sam);
    let (key, pattern) = match (wanted_sam, settings.card.is_empty() || settings.sam.is_empty()) {
        (true, _) => ("reader.sam", settings.sam.as_str()),
        (false, true) => ("reader.card", ""),
        (false, false) => ("reader.card", settings.card.as_str()),
    };
    fault::reader(key, pattern, error)
}
