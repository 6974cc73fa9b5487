//! What a verified message asks: from message type, processing code and field 60 to a typed request (`docs/posp.md` section 3).

use super::answer::asked_totals;
use backend::api::{HostBody, ItemKey, LoadSource, Original, PayerToken, Side, UploadItem};
use keys::KeyModule;
use protocol::iso8583::f58::{self, LoadRequest, TransactionRecord};
use protocol::iso8583::typed::{
    self, Batch, Condition, ManagementCode, ProcessingCode, PurseField, ResponseCode, RetrievalReference,
    SettlementTotals, TransactionKind,
};
use protocol::iso8583::{FieldError, FieldNo, Message, Mti};
use protocol::money::{Amount, CardAmount, Currency};
use protocol::purse::TransactionType;

/// Why a verified message is refused before it is asked: what field 39 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) ResponseCode);

const FORMAT: Refused = Refused(ResponseCode::FORMAT);
const INVALID: Refused = Refused(ResponseCode::INVALID);

impl From<FieldError> for Refused {
    fn from(_: FieldError) -> Self {
        FORMAT
    }
}

/// The request that a message makes.
pub(crate) fn of(keys: &dyn KeyModule, message: &Message<'_>, batch: &Batch) -> Result<HostBody, Refused> {
    match message.mti() {
        Mti::AUTHORISATION => authorisation(keys, message, batch),
        Mti::FINANCIAL if is_pre_authorised(message, batch)? => completion(keys, message, batch, false),
        Mti::ADVICE if is_pre_authorised(message, batch)? => completion(keys, message, batch, true),
        Mti::FINANCIAL => financial(keys, message),
        Mti::ADVICE => advice(message),
        Mti::UPLOAD => upload(message, batch),
        Mti::REVERSAL | Mti::REVERSAL_REPEAT if NOT_REVERSIBLE.contains(&batch.kind) => Err(INVALID),
        Mti::REVERSAL | Mti::REVERSAL_REPEAT => {
            Ok(HostBody::Reversal { amount: amount(message)?, reason: message.need()? })
        }
        Mti::SETTLEMENT if batch.code == Some(ManagementCode::SETTLEMENT) => {
            let totals: SettlementTotals = message.need()?;
            Ok(HostBody::Settle { totals: asked_totals(&totals).ok_or(FORMAT)? })
        }
        _ => Err(INVALID),
    }
}

/// What the table of `posp.md` section 3 calls not reversible. Refused here, so that no tombstone waits for it.
const NOT_REVERSIBLE: [TransactionKind; 4] = [
    TransactionKind::BALANCE,
    TransactionKind::REFUND,
    TransactionKind::COMPLETION_ADVICE,
    TransactionKind::OFFLINE,
];
/// 60.1 of what is done to a pre-authorisation.
const PRE_AUTHORISED: [TransactionKind; 5] = [
    TransactionKind::PRE_AUTHORISATION,
    TransactionKind::PRE_AUTHORISATION_VOID,
    TransactionKind::COMPLETION,
    TransactionKind::COMPLETION_VOID,
    TransactionKind::COMPLETION_ADVICE,
];

/// Whether a message is about a pre-authorisation: field 25 and 60.1 must tell the same, or a completion could pass for a purchase.
fn is_pre_authorised(message: &Message<'_>, batch: &Batch) -> Result<bool, Refused> {
    let condition = message.get::<Condition>()? == Some(Condition::PRE_AUTHORISATION);
    if condition == PRE_AUTHORISED.contains(&batch.kind) { Ok(condition) } else { Err(FORMAT) }
}

/// 0100.
fn authorisation(keys: &dyn KeyModule, message: &Message<'_>, batch: &Batch) -> Result<HostBody, Refused> {
    if !is_pre_authorised(message, batch)? {
        return Err(INVALID);
    }
    match (message.need::<ProcessingCode>()?, batch.kind) {
        (ProcessingCode::PRE_AUTHORISATION, TransactionKind::PRE_AUTHORISATION) => {
            Ok(HostBody::PreAuthorise { payer: payer(keys, message)?, amount: amount(message)? })
        }
        (ProcessingCode::REFUND, TransactionKind::PRE_AUTHORISATION_VOID) => {
            Ok(HostBody::PreAuthorisationVoid { original: original(message)?, amount: amount(message)? })
        }
        _ => Err(INVALID),
    }
}

/// 0200 and 0220 under condition 06.
fn completion(
    keys: &dyn KeyModule,
    message: &Message<'_>,
    batch: &Batch,
    advice: bool,
) -> Result<HostBody, Refused> {
    let told = if advice { TransactionKind::COMPLETION_ADVICE } else { TransactionKind::COMPLETION };
    match (message.need::<ProcessingCode>()?, batch.kind) {
        (ProcessingCode::PURCHASE, kind) if kind == told => {
            let original = original(message)?;
            if original.authorisation.is_none() {
                return Err(FORMAT);
            }
            Ok(HostBody::Complete {
                payer: payer(keys, message)?,
                original,
                amount: amount(message)?,
                advice,
            })
        }
        (ProcessingCode::REFUND, TransactionKind::COMPLETION_VOID) if !advice => {
            Ok(HostBody::CompletionVoid { original: original(message)?, amount: amount(message)? })
        }
        _ => Err(INVALID),
    }
}

fn financial(keys: &dyn KeyModule, message: &Message<'_>) -> Result<HostBody, Refused> {
    match message.need::<ProcessingCode>()? {
        ProcessingCode::PURCHASE => {
            Ok(HostBody::Purchase { payer: payer(keys, message)?, amount: amount(message)? })
        }
        ProcessingCode::REFUND => {
            Ok(HostBody::Void { original: original(message)?, amount: amount(message)? })
        }
        ProcessingCode::BALANCE => Ok(HostBody::Balance { payer: payer(keys, message)? }),
        ProcessingCode::LOAD_LINKED => load(message, LoadSource::Linked),
        ProcessingCode::LOAD_CASH => load(message, LoadSource::Cash),
        _ => Err(INVALID),
    }
}

fn advice(message: &Message<'_>) -> Result<HostBody, Refused> {
    match message.need::<ProcessingCode>()? {
        ProcessingCode::REFUND => {
            Ok(HostBody::Refund { original: original(message)?, amount: amount(message)? })
        }
        ProcessingCode::LOAD_LINKED | ProcessingCode::LOAD_CASH => {
            let record =
                purse(message).and_then(|bytes| TransactionRecord::parse(bytes).map_err(|_| FORMAT))?;
            if record.kind != TransactionType::Load {
                return Err(FORMAT);
            }
            Ok(HostBody::LoadConfirm { original: original(message)?, record })
        }
        _ => Err(INVALID),
    }
}

fn upload(message: &Message<'_>, batch: &Batch) -> Result<HostBody, Refused> {
    match batch.code {
        Some(ManagementCode::PURSE_RECORDS) => {
            let field: PurseField<'_> = message.need()?;
            let records: Result<Vec<_>, _> = field.records().collect();
            let records = records.ok().filter(|records| !records.is_empty()).ok_or(FORMAT)?;
            Ok(HostBody::OfflineRecords { records })
        }
        Some(ManagementCode::SETTLEMENT | ManagementCode::UPLOAD_CHIP | ManagementCode::UPLOAD_OTHER) => {
            items(message)
        }
        Some(ManagementCode::UPLOAD_END | ManagementCode::UPLOAD_END_UNBALANCED) => Ok(HostBody::UploadEnd),
        _ => Err(INVALID),
    }
}

/// F58 `IT`: what the terminal has in its batch.
fn items(message: &Message<'_>) -> Result<HostBody, Refused> {
    let currency: Currency = message.need()?;
    let field: PurseField<'_> = message.need()?;
    let item = |item: Result<f58::BatchItem, f58::F58Error>| {
        let f58::BatchItem { side, name, minor } = item.map_err(|_| FORMAT)?;
        let side = match side {
            f58::ItemSide::Debit => Side::Debit,
            f58::ItemSide::Credit => Side::Credit,
            f58::ItemSide::Load => Side::Load,
        };
        let key = match name {
            f58::ItemName::Trace(trace) => ItemKey::Trace(trace),
            f58::ItemName::Record(sam, seq) => ItemKey::Record(sam, seq),
        };
        Ok(UploadItem { side, key, amount: Amount::new(minor, currency) })
    };
    let items = f58::BatchItems::parse(field.0).map_err(|_| FORMAT)?;
    Ok(HostBody::Upload { items: items.map(item).collect::<Result<_, Refused>>()? })
}

fn load(message: &Message<'_>, source: LoadSource) -> Result<HostBody, Refused> {
    let request = LoadRequest::parse(purse(message)?).map_err(|_| FORMAT)?;
    // The amount that the card signed is the one that counts; field 4 must say the same.
    let stated = amount(message)?;
    if request.kind != TransactionType::Load
        || CardAmount(request.amount.0).in_currency(stated.currency()) != stated
    {
        return Err(Refused(ResponseCode::AMOUNT));
    }
    Ok(HostBody::Load { source, request })
}

fn purse<'a>(message: &Message<'a>) -> Result<&'a [u8], Refused> {
    Ok(message.need::<PurseField<'a>>()?.0)
}

fn amount(message: &Message<'_>) -> Result<Amount, Refused> {
    message.amount()?.ok_or(FORMAT)
}

/// F37, F61, or both; and F38, where the message has it.
fn original(message: &Message<'_>) -> Result<Original, Refused> {
    let reference: Option<RetrievalReference> = message.get()?;
    let trace = message.get::<typed::Original>()?.map(|original| (original.batch, original.trace));
    let authorisation = message.get()?;
    if reference.is_none() && trace.is_none() {
        return Err(FORMAT);
    }
    Ok(Original { reference, trace, authorisation })
}

/// The PAN of field 2, as a token: it goes no further than the key module.
fn payer(keys: &dyn KeyModule, message: &Message<'_>) -> Result<PayerToken, Refused> {
    let field = message.field(FieldNo(2)).ok_or(FORMAT)?;
    let mut digits = zeroize::Zeroizing::new([0u8; 19]);
    let mut length = 0;
    for (slot, digit) in digits.iter_mut().zip(field.digits().iter()) {
        *slot = digit | b'0';
        length += 1;
    }
    let token = keys.pan_token(digits.get(..length).unwrap_or_default());
    token.map(PayerToken).map_err(|_| Refused(ResponseCode::CARD_NUMBER))
}
