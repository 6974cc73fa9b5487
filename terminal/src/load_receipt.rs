//! The receipt of a load, and its listing: what a customer takes home about money that was put on the card.

use crate::config::Identity;
use crate::journal::Load;
use crate::receipt::Paper;
use crate::words::masked;
use console::Texts;
use flow::outcome::LoadReceipt;
use protocol::hex::Hex;
use protocol::money::Amount;

/// What a load's receipt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadSlip {
    /// What the flow said.
    pub done: LoadReceipt,
    /// The load as the journal has it.
    pub load: Load,
    /// What was loaded.
    pub amount: Amount,
    /// Balance before.
    pub before: Amount,
    /// Balance after.
    pub after: Amount,
}

impl LoadSlip {
    /// The receipt as lines.
    #[must_use]
    pub fn text(&self, identity: &Identity, texts: &Texts) -> String {
        let mut paper = Paper { texts, lines: String::new() };
        paper.centred(&identity.name);
        paper.centred(&identity.place);
        paper.rule();
        paper.row("receipt-merchant", identity.merchant.as_str());
        paper.row("receipt-terminal", identity.id.as_str());
        paper.row("receipt-date", &self.done.moment.date.to_string());
        paper.row("receipt-time", &self.done.moment.time.to_string());
        paper.row("receipt-type", &texts.say("receipt-load"));
        paper.row("receipt-card", &masked(&self.done.card.asn));
        paper.rule();
        paper.row("receipt-amount", &self.amount.to_string());
        paper.row("receipt-before", &self.before.to_string());
        paper.row("receipt-after", &self.after.to_string());
        paper.rule();
        paper.row("receipt-tac", &Hex(self.done.tac.as_bytes()).to_string());
        paper.row("receipt-trace", &format!("{:06}", self.load.trace.0));
        paper.row("receipt-batch", &format!("{:06}", self.load.batch.0));
        if let Some(reference) = &self.load.reference {
            paper.row("receipt-reference", reference);
        }
        paper.centred(&texts.say("receipt-online"));
        paper.centred(&texts.say("receipt-loaded"));
        paper.lines
    }
}
