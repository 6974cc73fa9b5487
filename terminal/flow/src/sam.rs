//! Who the SAM in the second slot is: its terminal number and serial, read once after power-up.

use crate::machine::{Event, Machine, Prompt, Step, apdu};
use crate::outcome::{Fault, Outcome};
use protocol::apdu::{Response, StatusWord};
use protocol::ids::SamTerminal;
use protocol::purse::Suite;
use protocol::purse::command::Select;
use protocol::sam::{
    AID_SAM_SUITE_10, FID_SAM_SUITE_00, SamInfo, read_info, read_terminal_number, select_master_file,
};
use protocol::time::{Mono, Now};

/// A SAM, as it named itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamIdentity {
    /// Its terminal number.
    pub terminal: SamTerminal,
    /// Its serial number, version and kind.
    pub info: SamInfo,
}

/// SELECT of the SAM's application for a suite.
pub(crate) fn select_application(suite: Suite) -> Select<'static> {
    match suite {
        Suite::Aes => Select::Aid(&AID_SAM_SUITE_10),
        Suite::Des => Select::Fid(FID_SAM_SUITE_00),
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Fresh,
    SelectingMasterFile,
    ReadingNumber,
    ReadingInfo(SamTerminal),
    Finished,
}

/// Reads the SAM's identity; ends with [`Outcome::SamReady`] or [`Outcome::Failed`].
#[derive(Debug)]
pub struct OpenSam {
    state: State,
}

impl Default for OpenSam {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenSam {
    /// A new flow.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Fresh }
    }

    fn advance(&mut self, event: Event<'_>) -> Result<Step, Fault> {
        let bad = |_| Fault::SamBadAnswer;
        match (core::mem::replace(&mut self.state, State::Finished), event) {
            (State::Fresh, Event::Start) => {
                self.state = State::SelectingMasterFile;
                apdu(select_master_file).map(Step::ToSam).map_err(bad)
            }
            (State::SelectingMasterFile, Event::SamAnswer(answer)) => {
                data_of(answer)?;
                self.state = State::ReadingNumber;
                apdu(read_terminal_number).map(Step::ToSam).map_err(bad)
            }
            (State::ReadingNumber, Event::SamAnswer(answer)) => {
                let number = data_of(answer)?.try_into().map_err(|_| Fault::SamBadAnswer)?;
                self.state = State::ReadingInfo(SamTerminal(number));
                apdu(read_info).map(Step::ToSam).map_err(bad)
            }
            (State::ReadingInfo(terminal), Event::SamAnswer(answer)) => {
                let info = SamInfo::parse(data_of(answer)?).map_err(bad)?;
                Ok(Step::Done(Outcome::SamReady(SamIdentity { terminal, info })))
            }
            (_, Event::SamLost) => Err(Fault::SamGone),
            _ => Err(Fault::Driver),
        }
    }
}

/// The data of a good answer.
fn data_of(answer: &[u8]) -> Result<&[u8], Fault> {
    let response = Response::parse(answer).map_err(|_| Fault::SamBadAnswer)?;
    match response.sw {
        StatusWord::OK => Ok(response.data),
        other => Err(Fault::SamRefused(other)),
    }
}

impl Machine for OpenSam {
    fn handle(&mut self, event: Event<'_>, _now: Now) -> Step {
        self.advance(event).unwrap_or_else(|fault| Step::Done(Outcome::Failed(fault)))
    }

    fn deadline(&self) -> Option<Mono> {
        None
    }

    fn prompt(&self) -> Prompt {
        Prompt::Processing
    }
}
