//! The transaction system: identity, repeats, batches, and the life of every message (`posp.md` sections 3, 4 and 6).
//!
//! Every message that is decided becomes one [`Transaction`] under its identity, declined ones too, with the fields it was answered. A repeat is
//! answered from that row and books nothing. A reversal has no row of its own: it changes its original's, or leaves a tombstone if there is none.

mod closing;
pub mod life;
pub(crate) mod limits;
mod preauthorisation;
mod purchase;
mod reversal;
mod settle;
pub(crate) mod totals;
mod transfers;

pub(crate) use life::Event;
pub(crate) use preauthorisation::expired;
pub(crate) use reversal::Reversed;
pub(crate) use transfers::{both, transfer};

use crate::accounts::{AccountId, TransactionSeq, TransferRejection, TransferSeq};
use crate::api::{
    AnswerBody, ContentDigest, HostAnswer, HostBody, HostRequest, Identity, Original, retrieval_reference,
    transaction_of,
};
use crate::cards;
use crate::engine::Desk;
use crate::report::BatchState;
use crate::store::{
    BatchRecord, CardId, Merchant, Record, Store, StoreFault, Terminal, Transaction, TransactionKind,
    TransactionState, Working,
};
use protocol::ids::{BatchNo, OnlineCounter};
use protocol::iso8583::typed::{AuthorisationCode, ResponseCode};
use protocol::money::Amount;
use protocol::purse::Moment;
use protocol::teeth::{Tooth, bites};

/// Largest batch and trace number (6 digits).
const SIX_DIGITS: u32 = 999_999;

/// What was decided about a message, before it becomes a row.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) kind: TransactionKind,
    /// How its life begins: declined, authorised, or complete at once.
    pub(crate) event: Event,
    pub(crate) code: ResponseCode,
    pub(crate) amount: Option<Amount>,
    pub(crate) original: Option<TransactionSeq>,
    pub(crate) payer: Option<AccountId>,
    pub(crate) payee: Option<AccountId>,
    pub(crate) load: Option<(CardId, OnlineCounter)>,
    pub(crate) transfer: Option<TransferSeq>,
    pub(crate) body: AnswerBody,
}

impl Decision {
    /// Refused with this code.
    pub(crate) fn declined(kind: TransactionKind, code: ResponseCode) -> Self {
        Self { event: Event::Decline, code, ..Self::done(kind) }
    }

    /// Refused with this code, for this amount.
    pub(crate) fn refused(kind: TransactionKind, amount: Amount, code: ResponseCode) -> Self {
        Self { amount: Some(amount), ..Self::declined(kind, code) }
    }

    /// Approved, and nothing is left to happen.
    pub(crate) const fn done(kind: TransactionKind) -> Self {
        Self {
            kind,
            event: Event::Complete,
            code: ResponseCode::APPROVED,
            amount: None,
            original: None,
            payer: None,
            payee: None,
            load: None,
            transfer: None,
            body: AnswerBody::None,
        }
    }
}

/// A message being decided: who sent it, in which batch, under which number.
pub(crate) struct Desked<'a> {
    pub(crate) request: &'a HostRequest,
    pub(crate) merchant: Merchant,
    pub(crate) batch: BatchRecord,
    pub(crate) seq: TransactionSeq,
}

/// Field 39 for what the ledger said.
pub(crate) const fn code_of(rejection: TransferRejection) -> ResponseCode {
    match rejection {
        TransferRejection::ExceedsCredits | TransferRejection::ExceedsDebits => ResponseCode::FUNDS,
        TransferRejection::AmountZero
        | TransferRejection::AmountTooLarge
        | TransferRejection::CurrencyMismatch => ResponseCode::AMOUNT,
        TransferRejection::DebitAccountClosed | TransferRejection::CreditAccountClosed => {
            ResponseCode::RESTRICTED
        }
        TransferRejection::HoldExpired | TransferRejection::ExpiresInPast => ResponseCode::NOT_FOUND,
        _ => ResponseCode::SYSTEM,
    }
}

/// A transaction after an event that its rule has checked to be possible.
pub(crate) fn step(transaction: &Transaction, event: Event) -> Result<Transaction, StoreFault> {
    life::moved(transaction, event).ok_or(StoreFault::Damaged { what: "the state of a transaction" })
}

/// The answer to what could not be decided, nor kept: "system error".
pub(crate) const fn undecided(moment: Moment) -> HostAnswer {
    unkept(moment, ResponseCode::SYSTEM)
}

/// An answer under which nothing was kept.
const fn bare(desk: &Desk<'_>, code: ResponseCode) -> HostAnswer {
    unkept(desk.moment, code)
}

const fn unkept(moment: Moment, code: ResponseCode) -> HostAnswer {
    HostAnswer {
        code,
        reference: None,
        authorisation: None,
        moment,
        amount: None,
        repeat: false,
        body: AnswerBody::None,
    }
}

/// The answer that a row stands for.
fn answer_of(transaction: &Transaction, repeat: bool) -> HostAnswer {
    HostAnswer {
        code: transaction.code,
        reference: retrieval_reference(transaction.seq),
        authorisation: transaction.authorisation,
        moment: transaction.moment,
        amount: transaction.amount,
        repeat,
        body: transaction.body.clone(),
    }
}

/// Decides one message.
///
/// # Errors
/// The store failed; nothing of the batch may be kept.
pub(crate) fn handle<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    request: &HostRequest,
) -> Result<HostAnswer, StoreFault> {
    let identity = request.identity;
    let Some(terminal) = working.terminal(identity.terminal)? else {
        return Ok(bare(desk, ResponseCode::UNKNOWN_TERMINAL));
    };
    if terminal.acquirer != identity.acquirer {
        return Ok(bare(desk, ResponseCode::UNKNOWN_TERMINAL));
    }
    if terminal.merchant != identity.merchant {
        return Ok(bare(desk, ResponseCode::NO_MERCHANT));
    }
    let Some(merchant) = working.merchant(identity.merchant)? else {
        return Ok(bare(desk, ResponseCode::NO_MERCHANT));
    };
    if identity.trace.0 == 0 || identity.trace.0 > SIX_DIGITS || !(1..=SIX_DIGITS).contains(&identity.batch.0)
    {
        return Ok(bare(desk, ResponseCode::FORMAT));
    }
    let known = find(working, &identity)?;
    if let HostBody::Reversal { amount, .. } = request.body {
        return reversal::handle(working, desk, (&terminal, &merchant), &identity, amount, known);
    }
    let known = known.filter(|known| match known.kind {
        TransactionKind::Tombstone => !bites(Tooth::AcceptReversed),
        TransactionKind::Settle => !bites(Tooth::SettleTwice),
        _ => true,
    });
    if let Some(known) = known {
        return Ok(repeated(desk, &known, request.digest));
    }
    let batch = match current_batch(working, &terminal, &merchant, identity.batch)? {
        Ok(batch) => batch,
        Err(code) => return Ok(bare(desk, code)),
    };
    if batch.state == BatchState::Uploading && !may_come_late(&request.body) {
        return Ok(bare(desk, ResponseCode::RECONCILE));
    }
    let seq = working.take_transaction();
    let mut desked = Desked { request, merchant, batch, seq };
    let decision = decide(working, desk, &mut desked)?;
    record(working, desk, &terminal, desked, decision)
}

/// What a batch takes whose totals differ: its upload, and word of what has happened already. Money that a card has moved is never
/// turned away; it counts in this batch on both sides. Nothing new is begun.
const fn may_come_late(body: &HostBody) -> bool {
    matches!(
        body,
        HostBody::Upload { .. }
            | HostBody::UploadEnd
            | HostBody::Settle { .. }
            | HostBody::OfflineRecords { .. }
            | HostBody::LoadConfirm { .. }
    )
}

fn decide<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
) -> Result<Decision, StoreFault> {
    match &desked.request.body {
        HostBody::Balance { payer } => purchase::balance(working, *payer),
        HostBody::Purchase { payer, amount } => purchase::purchase(working, desk, desked, *payer, *amount),
        HostBody::Void { original, amount } => purchase::void(working, desk, desked, original, *amount),
        HostBody::Refund { original, amount } => purchase::refund(working, desk, desked, original, *amount),
        HostBody::PreAuthorise { payer, amount } => {
            preauthorisation::authorise(working, desk, desked, *payer, *amount)
        }
        HostBody::PreAuthorisationVoid { original, amount } => {
            preauthorisation::void(working, desk, desked, original, *amount)
        }
        HostBody::Complete { payer, original, amount, advice } => {
            preauthorisation::complete(working, desk, desked, (*payer, *amount), original, *advice)
        }
        HostBody::CompletionVoid { original, amount } => {
            preauthorisation::void_completion(working, desk, desked, original, *amount)
        }
        HostBody::Load { source, request } => cards::load::load(working, desk, desked, *source, request),
        HostBody::LoadConfirm { original, record } => {
            cards::load::confirm(working, desk, desked, original, record)
        }
        HostBody::OfflineRecords { records } => cards::offline::upload(working, desk, desked, records),
        HostBody::Settle { totals } => settle::settle(working, desk, desked, *totals),
        HostBody::Upload { items } => settle::upload(working, desked, items),
        HostBody::UploadEnd => settle::upload_end(working, desk, desked),
        // Answered before: a reversal has no decision of its own.
        HostBody::Reversal { .. } => {
            Ok(Decision::declined(TransactionKind::Tombstone, ResponseCode::INVALID))
        }
    }
}

/// Makes the row and its answer; the batch remembers how far it reaches.
fn record<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    terminal: &Terminal,
    desked: Desked<'_>,
    decision: Decision,
) -> Result<HostAnswer, StoreFault> {
    let Desked { request, mut batch, seq, .. } = desked;
    let begun = life::next(TransactionState::Received, decision.event);
    let state = begun.ok_or(StoreFault::Damaged { what: "the beginning of a transaction" })?;
    let approved = decision.code.is_approved();
    let transaction = Transaction {
        seq,
        identity: request.identity,
        digest: request.digest,
        kind: decision.kind,
        amount: decision.amount,
        original: decision.original,
        payer: decision.payer,
        payee: decision.payee,
        load: decision.load,
        code: decision.code,
        authorisation: approved.then(|| authorisation(seq)).flatten(),
        moment: desk.moment,
        body: decision.body,
        at: desk.now,
        state,
        transfer: decision.transfer,
        refunded: 0,
    };
    let answer = answer_of(&transaction, false);
    working.put(Record::Transaction(Box::new(transaction)));
    working.put(Record::Identity(request.identity, seq));
    batch.last = seq;
    let open = (batch.state != BatchState::Closed).then_some(batch.number);
    if (terminal.open, terminal.newest) != (open, batch.number) {
        working.put(Record::Terminal(Terminal { open, newest: batch.number, ..*terminal }));
    }
    working.put(Record::Batch(Box::new(batch)));
    Ok(answer)
}

/// Six digits of the transaction's number: unique among a million, and no secret.
fn authorisation(seq: TransactionSeq) -> Option<AuthorisationCode> {
    let mut digits = [b'0'; 6];
    let mut rest = seq.0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0'.saturating_add(u8::try_from(rest % 10).unwrap_or(0));
        rest /= 10;
    }
    AuthorisationCode::from_bytes(digits)
}

fn repeated(desk: &Desk<'_>, known: &Transaction, digest: ContentDigest) -> HostAnswer {
    if known.kind == TransactionKind::Tombstone {
        return HostAnswer { repeat: true, moment: known.moment, ..bare(desk, ResponseCode::LATE) };
    }
    if known.digest != digest {
        return bare(desk, ResponseCode::DUPLICATE);
    }
    answer_of(known, true)
}

/// The transaction with this identity.
fn find<S: Store>(
    working: &mut Working<'_, S>,
    identity: &Identity,
) -> Result<Option<Transaction>, StoreFault> {
    match working.by_identity(*identity)? {
        Some(seq) => working.transaction(seq),
        None => Ok(None),
    }
}

/// The batch that a new message belongs to: the open one, or a new one if none is open and the number moves forward.
fn current_batch<S: Store>(
    working: &mut Working<'_, S>,
    terminal: &Terminal,
    merchant: &Merchant,
    number: BatchNo,
) -> Result<Result<BatchRecord, ResponseCode>, StoreFault> {
    match terminal.open {
        Some(open) if open == number => {
            let batch = working.batch(terminal.id, number)?;
            batch.map(Ok).ok_or(StoreFault::Damaged { what: "a terminal's open batch is missing" })
        }
        Some(_) => Ok(Err(ResponseCode::BATCH)),
        None => {
            let wraps = terminal.newest.0 == SIX_DIGITS && number.0 < SIX_DIGITS / 2;
            match working.batch(terminal.id, number)? {
                Some(closed) if bites(Tooth::SettleTwice) => return Ok(Ok(closed)),
                None if number > terminal.newest || wraps => {}
                _ => return Ok(Err(ResponseCode::BATCH)),
            }
            Ok(Ok(BatchRecord {
                terminal: terminal.id,
                number,
                currency: merchant.currency,
                state: BatchState::Open,
                host: crate::api::BatchTotals::default(),
                of_terminal: None,
                first: working.next_transaction(),
                last: working.next_transaction(),
                differences: Vec::new(),
            }))
        }
    }
}

/// The earlier transaction of the same merchant's that a message names.
pub(crate) fn original<S: Store>(
    working: &mut Working<'_, S>,
    identity: &Identity,
    original: &Original,
) -> Result<Option<Transaction>, StoreFault> {
    let by_reference = match original.reference.and_then(transaction_of) {
        Some(seq) => working.transaction(seq)?,
        None => None,
    };
    let found = match (by_reference, original.trace) {
        (Some(found), _) => Some(found),
        (None, Some((batch, trace))) => find(working, &Identity { batch, trace, ..*identity })?,
        (None, None) => None,
    };
    Ok(found.filter(|found| {
        let ours =
            (found.identity.merchant, found.identity.acquirer) == (identity.merchant, identity.acquirer);
        ours && original.authorisation.is_none_or(|code| found.authorisation == Some(code))
    }))
}
