//! Writes answers: the fields of the request that an answer repeats, what was decided, the MAC.

use super::echo::{Echo, Seal};
use super::session::Sessions;
use backend::api::{AnswerBody, BatchTotals, HostAnswer, ItemKey, RecordOutcome, Side, Tally};
use backend::report::Difference;
use keys::{KeyError, KeyModule, SignInField};
use protocol::ids::BatchNo;
use protocol::iso8583::f58::{
    self, BatchDifference, BatchDifferences, F58Error, ItemName, ItemSide, LoadAnswer, RecordAnswers,
};
use protocol::iso8583::frame::Requirement;
use protocol::iso8583::typed::{
    AmountMinor, AuthorisationCode, Balance, KeyField, LocalDate, MonthDay, Original, PurseField,
    ResponseCode, RetrievalReference, SettlementTotals, Sum, Totals,
};
use protocol::iso8583::{AES, Builder, FieldError, FieldNo, FrameError, Header, frame};
use protocol::money::Amount;
use protocol::purse::Moment;

/// Most bytes of an answer's frame.
pub const ANSWER_MAX: usize = 2048;

/// Most items that a total of field 48 can say: three digits.
const COUNT_MAX: u32 = 999;

/// Why an answer could not be written. A bug, or the keys that it is due under are gone.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The frame.
    #[error("frame: {0}")]
    Frame(#[from] FrameError),
    /// A field.
    #[error("{0}")]
    Field(#[from] FieldError),
    /// Field 58.
    #[error("field 58: {0}")]
    Purse(#[from] F58Error),
    /// The MAC.
    #[error("MAC: {0}")]
    Key(#[from] KeyError),
    /// The terminal has signed in anew since it asked, and uses those keys: nobody waits for this answer, and nobody could verify it.
    #[error("the terminal has signed in anew since it asked")]
    SignedInAnew,
    /// A total that field 48 cannot say.
    #[error("the totals do not fit into field 48")]
    Totals,
}

/// What an answer says besides what it repeats.
#[derive(Clone, Debug)]
pub(crate) struct Said<'a> {
    pub(crate) code: ResponseCode,
    pub(crate) moment: Option<Moment>,
    pub(crate) reference: Option<RetrievalReference>,
    pub(crate) authorisation: Option<AuthorisationCode>,
    pub(crate) amount: Option<Amount>,
    pub(crate) body: &'a AnswerBody,
    pub(crate) keys: Option<&'a SignInField>,
    /// 60.2, where the host states another than the terminal's.
    pub(crate) batch: Option<BatchNo>,
    /// F61 of a sign-in: the newest message that is known of the terminal.
    pub(crate) newest: Option<Original>,
}

impl<'a> Said<'a> {
    pub(crate) const fn code(code: ResponseCode, moment: Option<Moment>) -> Self {
        Self {
            code,
            moment,
            reference: None,
            authorisation: None,
            amount: None,
            body: &AnswerBody::None,
            keys: None,
            batch: None,
            newest: None,
        }
    }

    pub(crate) const fn answer(answer: &'a HostAnswer) -> Self {
        Self {
            code: answer.code,
            moment: Some(answer.moment),
            reference: answer.reference,
            authorisation: answer.authorisation,
            amount: answer.amount,
            body: &answer.body,
            keys: None,
            batch: None,
            newest: None,
        }
    }
}

/// What answers are sealed with: the keys, and whose sign-in is which.
pub(super) type Seals<'k> = (&'k dyn KeyModule, &'k Sessions);

/// Writes the frame of an answer and returns its length.
///
/// # Errors
/// See [`AnswerError`].
pub(super) fn write(
    seals: Seals<'_>,
    echo: &Echo,
    said: &Said<'_>,
    out: &mut [u8],
) -> Result<usize, AnswerError> {
    let header = echo.header.map(|header| with_requirement(header, said.code));
    frame::write(out, echo.tpdu, header, |room| message(seals, echo, said, room))
}

fn with_requirement(header: Header, code: ResponseCode) -> Header {
    let again = matches!(code, ResponseCode::SIGN_IN | ResponseCode::MAC);
    header.with_requirement(if again { Requirement::SignIn } else { Requirement::None })
}

fn message(
    (keys, sessions): Seals<'_>,
    echo: &Echo,
    said: &Said<'_>,
    out: &mut [u8],
) -> Result<usize, AnswerError> {
    let mut purse = [0; f58::MAX_BYTES];
    let purse = purse_field(said, &mut purse)?;
    let amount = said.amount.map(|amount| AmountMinor(amount.minor())).or(echo.amount);
    let date = said.moment.and_then(|moment| MonthDay::of(moment.date)).map(LocalDate);
    let totals = settlement(echo, said)?;
    let balance = balance_text(said.body);
    let batch = echo.batch.map(|mut batch| {
        batch.batch = said.batch.unwrap_or(batch.batch);
        batch
    });
    let mut builder = Builder::new(&AES, echo.mti.reply(), out)?;
    builder
        .put_some(echo.code.as_ref())?
        .put_some(amount.as_ref())?
        .put(&echo.trace)?
        .put_some(said.moment.map(|moment| moment.time).as_ref())?
        .put_some(date.as_ref())?
        .put_some(said.reference.as_ref())?
        .put_some(said.authorisation.as_ref())?
        .put(&said.code)?
        .put(&echo.terminal)?
        .put_some(echo.merchant.as_ref())?
        .put_some(totals.as_ref())?
        .put_some(echo.currency.as_ref())?;
    if let Some(text) = &balance {
        builder.text(FieldNo(54), text.as_bytes())?;
    }
    builder
        .put_some(purse.map(PurseField).as_ref())?
        .put_some(batch.as_ref())?
        .put_some(said.newest.as_ref())?
        .put_some(said.keys.map(|field| KeyField(field)).as_ref())?;
    let terminal = &echo.terminal;
    if echo.seal == Seal::None {
        return Ok(builder.finish()?);
    }
    let unsigned = builder.ready_for_mac()?;
    let mac = match echo.seal {
        Seal::Working(sign_in) => sessions.seal(keys, terminal, sign_in, unsigned.input())?,
        _ => keys.sign_in_mac(terminal, unsigned.input())?,
    };
    Ok(unsigned.finish(mac)?)
}

/// F58 of an answer: `RP` or `RS`.
fn purse_field<'o>(said: &Said<'_>, out: &'o mut [u8]) -> Result<Option<&'o [u8]>, AnswerError> {
    let length = match (said.body, said.moment) {
        (AnswerBody::Load { algorithm, mac2 }, Some(moment)) => {
            LoadAnswer { algorithm: *algorithm, moment, mac2: *mac2 }.encode(out)?
        }
        (AnswerBody::Records(outcomes), _) => record_answers(outcomes)?.encode(out)?,
        (AnswerBody::Closed { differences, all, .. }, _) => {
            let differences: Vec<_> = differences.iter().map(difference).collect();
            BatchDifferences::encode(*all, &differences, out)?
        }
        _ => return Ok(None),
    };
    Ok(out.get(..length))
}

fn difference(of: &Difference) -> BatchDifference {
    BatchDifference {
        side: match of.side {
            Side::Debit => ItemSide::Debit,
            Side::Credit => ItemSide::Credit,
            Side::Load => ItemSide::Load,
        },
        name: match of.key {
            ItemKey::Trace(trace) => ItemName::Trace(trace),
            ItemKey::Record(sam, seq) => ItemName::Record(sam, seq),
        },
        terminal: of.terminal.map(|amount| amount.minor()),
        host: of.host.map(|amount| amount.minor()),
    }
}

fn record_answers(outcomes: &[RecordOutcome]) -> Result<RecordAnswers, AnswerError> {
    let mut answers = RecordAnswers::default();
    for outcome in outcomes {
        answers.answers.push(outcome.answer).map_err(|_| F58Error::TooMany)?;
    }
    Ok(answers)
}

/// F54: account type 00, amount type 02 (available), currency, sign, 12 digits.
fn balance_text(body: &AnswerBody) -> Option<String> {
    match body {
        AnswerBody::Balance(amount) => {
            Some(format!("0002{:03}C{:012}", amount.currency().numeric(), amount.minor()))
        }
        _ => None,
    }
}

/// F48 of a settlement's answer: the host's totals, and for each block whether it is what the terminal counted.
fn settlement(echo: &Echo, said: &Said<'_>) -> Result<Option<SettlementTotals>, AnswerError> {
    let (AnswerBody::Totals(host) | AnswerBody::Closed { totals: host, .. }) = said.body else {
        return Ok(None);
    };
    let asked = echo.asked.as_deref().copied().unwrap_or_default();
    let counted = [host.debits, host.credits, host.loads];
    // More than three digits can say: the host could not count, and the items of the upload decide.
    let fits = counted.iter().all(|tally| tally.count <= COUNT_MAX);
    let same = |same: bool| match (fits, same) {
        (false, _) => Balance::Error,
        (true, true) => Balance::Balanced,
        (true, false) => Balance::NotBalanced,
    };
    let cards = (asked.debits, asked.credits) == (host.debits, host.credits);
    Ok(Some(SettlementTotals {
        domestic: Totals { debit: sum(host.debits)?, credit: sum(host.credits)?, balance: same(cards) },
        foreign: Totals { balance: same(cards), ..Totals::default() },
        loads: Some(Totals {
            debit: sum(host.loads)?,
            credit: Sum::default(),
            balance: same(asked.loads == host.loads),
        }),
    }))
}

fn sum(tally: Tally) -> Result<Sum, AnswerError> {
    let count = u16::try_from(tally.count.min(COUNT_MAX)).map_err(|_| AnswerError::Totals)?;
    Ok(Sum { minor: tally.minor, count })
}

/// The terminal's totals out of F48 of a settlement; `None` if they are not laid out as `aes` has them.
pub(crate) fn asked_totals(field: &SettlementTotals) -> Option<BatchTotals> {
    let add = |one: Sum, other: Sum| {
        Some(Tally {
            minor: one.minor.checked_add(other.minor)?,
            count: u32::from(one.count).checked_add(other.count.into())?,
        })
    };
    let loads = field.loads?;
    // Loads are counted on the debit side of their block; its credit side has no meaning.
    if loads.credit != Sum::default() {
        return None;
    }
    Some(BatchTotals {
        debits: add(field.domestic.debit, field.foreign.debit)?,
        credits: add(field.domestic.credit, field.foreign.credit)?,
        loads: add(loads.debit, Sum::default())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ids::{Stan, TerminalId};
    use protocol::iso8583::{Mti, Tpdu};

    fn answered(host: Tally, asked: Tally) -> SettlementTotals {
        let totals = |debits| BatchTotals { debits, ..BatchTotals::default() };
        let echo = Echo {
            tpdu: Tpdu { destination: [0, 3], source: [0, 0] },
            header: None,
            mti: Mti::SETTLEMENT,
            code: None,
            amount: None,
            trace: Stan(1),
            terminal: TerminalId::from_text("T0000001").unwrap(),
            merchant: None,
            currency: None,
            batch: None,
            seal: Seal::None,
            asked: Some(Box::new(totals(asked))),
        };
        let body = AnswerBody::Totals(totals(host));
        settlement(&echo, &Said { body: &body, ..Said::code(ResponseCode::RECONCILE, None) })
            .unwrap()
            .unwrap()
    }

    #[test]
    fn a_batch_of_more_items_than_field_48_can_count_is_answered_as_not_countable() {
        let tally = |count| Tally { minor: 5000, count };
        let most = answered(tally(999), tally(999));
        assert_eq!((most.domestic.debit.count, most.domestic.balance), (999, Balance::Balanced));
        assert_eq!(answered(tally(999), tally(998)).domestic.balance, Balance::NotBalanced);
        let more = answered(tally(1_000), tally(999));
        assert_eq!((more.domestic.debit.count, more.domestic.balance), (999, Balance::Error));
        assert_eq!(more.domestic.debit.minor, 5000);
    }
}
