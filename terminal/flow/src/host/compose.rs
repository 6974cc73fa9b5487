//! Messages of the `aes` dialect, out and in: which fields each carries (`posp.md` sections 2, 3 and 5), and their MACs.

use super::{Ask, Differences, HostConfig, HostReply};
use crate::record::HostNumbers;
use alloc::vec;
use alloc::vec::Vec;
use protocol::host_mac::MacKey;
use protocol::ids::{MerchantId, Stan, TerminalId};
use protocol::iso8583::f58::{
    BatchDifferences, BatchItems, ItemName, LoadAnswer, MAX_BYTES, RecordAnswers, RecordList,
};
use protocol::iso8583::frame::{MAX_FRAME, write};
use protocol::iso8583::typed::{
    AmountMinor, Batch, Condition, LocalDate, ManagementCode, MonthDay, Original, ProcessingCode, PurseField,
    ResponseCode, RetrievalReference, SettlementTotals, TransactionKind,
};
use protocol::iso8583::{AES, Builder, FieldError, Frame, FrameError, HeaderRule, Message, Mti};
use protocol::purse::Moment;
use protocol::time::CardTime;

/// Why a message could not be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The frame around it.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A purse record.
    #[error("field 58: {0}")]
    Purse(#[from] protocol::iso8583::f58::F58Error),
    /// The MAC is missing or wrong.
    #[error("the host's MAC is wrong")]
    Mac,
    /// Not an answer.
    #[error("not an answer")]
    NotAnAnswer,
}

/// The message type of a request.
pub(super) fn mti(ask: &Ask) -> Mti {
    match ask {
        Ask::SignIn => Mti::MANAGEMENT,
        Ask::Load(_) => Mti::FINANCIAL,
        Ask::Confirm { .. } => Mti::ADVICE,
        Ask::Reversal { repeat: false, .. } => Mti::REVERSAL,
        Ask::Reversal { repeat: true, .. } => Mti::REVERSAL_REPEAT,
        Ask::Records(_) | Ask::Items(_) | Ask::UploadEnd => Mti::UPLOAD,
        Ask::Settle(_) => Mti::SETTLEMENT,
    }
}

/// Writes a whole frame.
pub(super) fn request(
    config: &HostConfig,
    key: &MacKey,
    ask: &Ask,
    numbers: HostNumbers,
) -> Result<Vec<u8>, WireError> {
    let mut out = vec![0; MAX_FRAME.saturating_add(2)];
    let length = write(&mut out, config.tpdu, Some(config.header), |body| {
        let mut builder = Builder::new(&AES, mti(ask), body)?;
        fields(config, ask, numbers, &mut builder)?;
        let unsigned = builder.ready_for_mac()?;
        let mac = key.mac(unsigned.input());
        Ok::<_, WireError>(unsigned.finish(mac)?)
    })?;
    out.truncate(length);
    Ok(out)
}

/// The fields of a request in ascending order, all but the MAC.
fn fields(
    config: &HostConfig,
    ask: &Ask,
    numbers: HostNumbers,
    out: &mut Builder<'_>,
) -> Result<(), WireError> {
    let HostNumbers { batch, trace } = numbers;
    match ask {
        Ask::SignIn => {
            out.put(&trace)?.put(&config.terminal)?.put(&config.merchant)?;
            out.put(&Batch::management(batch, ManagementCode::SIGN_IN))?;
        }
        Ask::Load(intent) => {
            let mut purse = [0; MAX_BYTES];
            let n = intent.request().encode(&mut purse)?;
            out.put(&ProcessingCode::LOAD_LINKED)?
                .put(&AmountMinor(u64::from(intent.amount.0)))?
                .put(&trace)?;
            put_moment(intent.moment, out)?;
            out.put(&Condition::LOAD)?.put(&config.terminal)?.put(&config.merchant)?.put(&intent.currency)?;
            out.put(&PurseField(purse.get(..n).unwrap_or_default()))?;
            out.put(&load_batch(numbers))?;
        }
        Ask::Confirm { intent, reference, moment, tac } => {
            let mut purse = [0; MAX_BYTES];
            let n = intent.record(*moment, *tac).encode(&mut purse)?;
            out.put(&ProcessingCode::LOAD_LINKED)?
                .put(&AmountMinor(u64::from(intent.amount.0)))?
                .put(&trace)?;
            out.put(&Condition::LOAD)?.put(reference)?;
            out.put(&config.terminal)?.put(&config.merchant)?.put(&intent.currency)?;
            out.put(&PurseField(purse.get(..n).unwrap_or_default()))?;
            out.put(&load_batch(numbers))?.put(&original(intent.numbers))?;
        }
        Ask::Reversal { intent, .. } => {
            out.put(&ProcessingCode::LOAD_LINKED)?
                .put(&AmountMinor(u64::from(intent.amount.0)))?
                .put(&trace)?;
            out.put(&Condition::LOAD)?.put(&ResponseCode::NO_ANSWER)?;
            out.put(&config.terminal)?.put(&config.merchant)?.put(&intent.currency)?;
            out.put(&load_batch(numbers))?.put(&original(intent.numbers))?;
        }
        Ask::Records(records) => {
            let mut list = RecordList::default();
            records.iter().try_for_each(|record| list.push(record))?;
            out.put(&ProcessingCode::PURCHASE)?.put(&trace)?.put(&Condition::NORMAL)?;
            out.put(&config.terminal)?.put(&config.merchant)?.put(&config.currency)?.put(&list.field())?;
            let code = Some(ManagementCode::PURSE_RECORDS);
            out.put(&Batch { code, ..Batch::financial(TransactionKind::OFFLINE, batch) })?;
        }
        Ask::Settle(totals) => {
            out.put(&trace)?
                .put(&config.terminal)?
                .put(&config.merchant)?
                .put(totals)?
                .put(&config.currency)?;
            out.put(&Batch::management(batch, ManagementCode::SETTLEMENT))?;
        }
        Ask::Items(items) => {
            let mut purse = [0; MAX_BYTES];
            let n = BatchItems::encode(items, &mut purse)?;
            out.put(&trace)?.put(&config.terminal)?.put(&config.merchant)?.put(&config.currency)?;
            out.put(&PurseField(purse.get(..n).unwrap_or_default()))?;
            // Offline records are the card's, as chip transactions are; what was online goes by its trace.
            let offline = items.iter().all(|item| matches!(item.name, ItemName::Record(..)));
            let code = if offline { ManagementCode::UPLOAD_CHIP } else { ManagementCode::SETTLEMENT };
            out.put(&Batch::management(batch, code))?;
        }
        Ask::UploadEnd => {
            out.put(&trace)?.put(&config.terminal)?.put(&config.merchant)?;
            out.put(&Batch::management(batch, ManagementCode::UPLOAD_END_UNBALANCED))?;
        }
    }
    Ok(())
}

fn load_batch(numbers: HostNumbers) -> Batch {
    Batch::financial(TransactionKind::LOAD_LINKED, numbers.batch)
}

fn original(numbers: HostNumbers) -> Original {
    Original::new(numbers.batch, numbers.trace, None)
}

fn put_moment(moment: Moment, out: &mut Builder<'_>) -> Result<(), WireError> {
    out.put(&moment.time)?;
    out.put_some(MonthDay::of(moment.date).map(LocalDate).as_ref())?;
    Ok(())
}

/// An answer: which request it belongs to, and what it says.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) exchange: Mti,
    pub(super) trace: Stan,
    /// Field 62, of a sign-in.
    pub(super) keys: Option<Vec<u8>>,
    /// The MAC was there and right. Without it the answer proves nothing and may change nothing.
    pub(super) authentic: bool,
    pub(super) reply: HostReply,
}

/// Reads the body of a frame.
pub(super) fn answer(config: &HostConfig, keys: &[&MacKey], body: &[u8]) -> Result<Answer, WireError> {
    let frame = Frame::parse(body, HeaderRule::Present)?;
    let message = Message::parse(&AES, frame.message)?;
    let ours =
        message.need::<TerminalId>()? == config.terminal && message.need::<MerchantId>()? == config.merchant;
    if !message.mti().is_reply() || !ours {
        return Err(WireError::NotAnAnswer);
    }
    let authentic = match message.mac() {
        Some((input, mac)) if keys.iter().any(|key| key.verifies(input, &mac)) => true,
        Some(_) => return Err(WireError::Mac),
        None => false,
    };
    Ok(Answer {
        exchange: message.mti().exchange(),
        trace: message.need()?,
        keys: message.field(protocol::iso8583::FieldNo(62)).map(|value| value.bytes().into()),
        authentic,
        reply: reply(&message)?,
    })
}

fn reply(message: &Message<'_>) -> Result<HostReply, WireError> {
    let purse = message.get::<PurseField<'_>>()?;
    let tagged = |tag: [u8; 2]| purse.filter(|field| field.tag() == Some(tag));
    Ok(HostReply {
        code: message.need()?,
        reference: message.get::<RetrievalReference>()?,
        consent: tagged(LoadAnswer::TAG).map(|field| LoadAnswer::parse(field.0)).transpose()?,
        records: tagged(RecordAnswers::TAG).map(|field| RecordAnswers::parse(field.0)).transpose()?,
        totals: message.get::<SettlementTotals>()?,
        differences: tagged(BatchDifferences::TAG).map(|field| differences(field.0)).transpose()?,
        batch: message.need::<Batch>()?.batch,
        time: message.get::<CardTime>()?,
        newest: message.get::<Original>()?.map(|newest| newest.trace),
    })
}

fn differences(field: &[u8]) -> Result<Differences, WireError> {
    let field = BatchDifferences::parse(field)?;
    let total = field.total;
    Ok(Differences { total, listed: field.collect::<Result<_, _>>()? })
}
