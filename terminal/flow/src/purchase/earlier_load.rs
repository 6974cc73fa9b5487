//! A card that comes to pay, and that this terminal was loading when it lost sight of it: the card is asked what became of the load before
//! anything ages its proof (`purse.md` section 6). The payment goes on either way.

use super::{Purchase, State, Transition};
use crate::load::{Whose, proved_tac, whose};
use crate::machine::Step;
use crate::record::{JournalEntry, LoadIntent, LoadState, RecordId};
use protocol::purse::Tac;
use protocol::purse::command::read_record;
use protocol::purse::file::SFI_LOG;

impl Purchase<'_> {
    /// A load that the card proves is stored as credited; one that it does not prove waits for the next load.
    pub(super) fn load_proved(&mut self, load: RecordId, intent: LoadIntent, answer: &[u8]) -> Transition {
        match proved_tac(&intent, answer) {
            Some(tac) => self.read_log(load, intent, tac, 1),
            None => self.pay(self.present()?.clone()),
        }
    }

    pub(super) fn read_log(
        &mut self,
        load: RecordId,
        intent: LoadIntent,
        tac: Tac,
        record: u8,
    ) -> Transition {
        let state = State::ReadingLog(load, intent, tac, record);
        self.send_card(state, |out| read_record(SFI_LOG, record, out))
    }

    pub(super) fn log_read(
        &mut self,
        load: RecordId,
        intent: LoadIntent,
        (tac, record): (Tac, u8),
        answer: &[u8],
    ) -> Transition {
        match whose(&intent, record, answer) {
            Whose::Ours => {
                self.state = State::StoringLoad;
                Ok(Step::Store(JournalEntry::LoadState { load, state: LoadState::Credited { tac } }))
            }
            Whose::Older(record) => self.read_log(load, intent, tac, record),
            Whose::Anothers => self.pay(self.present()?.clone()),
        }
    }
}
