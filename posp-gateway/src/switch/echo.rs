//! What an answer repeats of its request, and how it is sealed.

use super::session::SignInNo;
use backend::api::BatchTotals;
use protocol::ids::{MerchantId, Stan, TerminalId};
use protocol::iso8583::typed::{AmountMinor, Batch, ProcessingCode};
use protocol::iso8583::{FieldError, Frame, Header, Message, Mti, Tpdu};
use protocol::money::Currency;

/// Whose key makes an answer's MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// Nobody's: the request was not verified (A0, 97, 22, 30), or an echo.
    None,
    /// The key of sign-in.
    SignIn,
    /// The terminal's MAC key of the sign-in under which the request came.
    Working(SignInNo),
}

/// What is kept of a request until its answer is written.
#[derive(Clone, Debug)]
pub struct Echo {
    pub(crate) tpdu: Tpdu,
    pub(crate) header: Option<Header>,
    /// Type of the request.
    pub(crate) mti: Mti,
    pub(crate) code: Option<ProcessingCode>,
    pub(crate) amount: Option<AmountMinor>,
    pub(crate) trace: Stan,
    pub(crate) terminal: TerminalId,
    pub(crate) merchant: Option<MerchantId>,
    pub(crate) currency: Option<Currency>,
    pub(crate) batch: Option<Batch>,
    pub(crate) seal: Seal,
    /// The terminal's totals, for the result digits of a settlement's answer.
    pub(crate) asked: Option<Box<BatchTotals>>,
}

impl Echo {
    /// From what could be read of a request.
    ///
    /// # Errors
    /// Trace or terminal is not there: such a request cannot be answered.
    pub(crate) fn of(frame: &Frame<'_>, message: &Message<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            tpdu: frame.tpdu.reply(),
            header: frame.header,
            mti: message.mti(),
            trace: message.need()?,
            terminal: message.need()?,
            code: message.get().ok().flatten(),
            amount: message.get().ok().flatten(),
            merchant: message.get().ok().flatten(),
            currency: message.get().ok().flatten(),
            batch: message.get().ok().flatten(),
            seal: Seal::None,
            asked: None,
        })
    }
}

impl Echo {
    /// The terminal that asked.
    #[must_use]
    pub const fn terminal(&self) -> TerminalId {
        self.terminal
    }
}
