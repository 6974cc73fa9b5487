//! What the gateway promised: every answer as it left, held against the books at the end.
//!
//! Each answer with a MAC is read back from its bytes, as a terminal would read it. Then:
//! - an answer that names a transaction is durable: the books hold it under the same identity, with the same code and the same content;
//! - a record answered 00 is in the books, and so is one that is held; a consent's MAC2 belongs to a load in the books; a balanced
//!   settlement's batch is closed; what a reversal was answered 00 for is not standing;
//! - a repeat is answered as before.
//!
//! A code under which nothing is decided (22, 30, 91, 96, 97, A0, …) promises nothing.

use super::books::Books;
use super::violation::Violation;
use backend::api::{AnswerBody, Identity, transaction_of};
use backend::report::BatchState;
use backend::store::{Load, RecordStanding, Transaction, TransactionKind, TransactionState};
use protocol::ids::{BatchNo, MerchantId, Stan, TerminalId};
use protocol::iso8583::f58::{LoadAnswer, RecordAnswer, RecordAnswers};
use protocol::iso8583::frame::split;
use protocol::iso8583::typed::{Batch, PurseField, ResponseCode, RetrievalReference, SettlementTotals};
use protocol::iso8583::{AES, Frame, HeaderRule, Message, Mti};
use std::collections::BTreeMap;

/// An answer as it left the gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// The gateway that sent it.
    pub gateway: usize,
    /// The request's message type, a repeat's being its original's.
    pub exchange: Mti,
    /// Field 41.
    pub terminal: TerminalId,
    /// Field 42.
    pub merchant: Option<MerchantId>,
    /// Field 60.2.
    pub batch: BatchNo,
    /// Field 11.
    pub trace: Stan,
    /// Field 39.
    pub code: ResponseCode,
    /// Field 37.
    pub reference: Option<RetrievalReference>,
    /// Field 58 `RP`.
    pub consent: Option<LoadAnswer>,
    /// Field 58 `RS`.
    pub records: Option<RecordAnswers>,
    /// Field 48.
    pub totals: Option<SettlementTotals>,
}

impl Sent {
    /// The answers in these bytes that carry a MAC and that a terminal could read.
    #[must_use]
    pub fn all_of(bytes: &[u8]) -> Vec<Self> {
        let mut rest = bytes;
        let mut all = Vec::new();
        while let Ok(Some((body, after))) = split(rest) {
            rest = after;
            all.extend(Self::of(body));
        }
        all
    }

    fn of(body: &[u8]) -> Option<Self> {
        let frame = Frame::parse(body, HeaderRule::Present).ok()?;
        let message = Message::parse(&AES, frame.message).ok()?;
        message.mac()?;
        let purse = message.get::<PurseField<'_>>().ok().flatten();
        let tagged = |tag: [u8; 2]| purse.filter(|field| field.tag() == Some(tag));
        Some(Self {
            gateway: 0,
            exchange: message.mti().exchange(),
            terminal: message.need().ok()?,
            merchant: message.get().ok().flatten(),
            batch: message.need::<Batch>().ok()?.batch,
            trace: message.need().ok()?,
            code: message.need().ok()?,
            reference: message.get().ok().flatten(),
            consent: tagged(LoadAnswer::TAG).and_then(|field| LoadAnswer::parse(field.0).ok()),
            records: tagged(RecordAnswers::TAG).and_then(|field| RecordAnswers::parse(field.0).ok()),
            totals: message.get().ok().flatten(),
        })
    }

    fn is_sign_in(&self) -> bool {
        self.exchange == Mti::MANAGEMENT.exchange()
    }

    fn is_reversal(&self) -> bool {
        self.exchange == Mti::REVERSAL.exchange()
    }
}

/// Holds all answers against the books and each other.
pub fn check(sent: &[Sent], books: &Books, found: &mut Vec<Violation>) {
    let mut first: BTreeMap<(TerminalId, BatchNo, Stan, bool), &Sent> = BTreeMap::new();
    for answer in sent.iter().filter(|answer| !answer.is_sign_in()) {
        if let Some(what) = promise(answer, books) {
            found.push(Violation::Promise(format!("{}: {what}", name(answer))));
        }
        if answer.reference.is_none() {
            continue;
        }
        let key = (answer.terminal, answer.batch, answer.trace, answer.is_reversal());
        let before = first.entry(key).or_insert(answer);
        if !same(before, answer) {
            let what = format!("{} was answered {before:?} and then {answer:?}", name(answer));
            found.push(Violation::Promise(what));
        }
    }
}

fn name(answer: &Sent) -> String {
    format!("{} {} batch {} trace {}", answer.exchange, answer.terminal, answer.batch.0, answer.trace.0)
}

fn same(before: &Sent, now: &Sent) -> bool {
    let said = |answer: &Sent| {
        let Sent { code, reference, consent, records, totals, .. } = answer.clone();
        (code, reference, consent, records, totals)
    };
    said(before) == said(now)
}

/// What is wrong with an answer, by the books.
fn promise(answer: &Sent, books: &Books) -> Option<String> {
    let Some(reference) = answer.reference else {
        // A reversal of nothing in a batch that is closed has nothing to remember.
        let promises = answer.code.is_approved() && !answer.is_reversal();
        return promises.then(|| "approved, and names nothing".into());
    };
    let Some(row) = transaction_of(reference).and_then(|seq| books.transactions.get(&seq)) else {
        return Some(format!("{} names a transaction that the books do not have", reference.as_str()));
    };
    let Identity { terminal, batch, trace, .. } = row.identity;
    if (terminal, batch, trace) != (answer.terminal, answer.batch, answer.trace) {
        return Some("it names another message's transaction".into());
    }
    if answer.is_reversal() {
        return reversed(answer, row, books);
    }
    if row.code != answer.code {
        return Some(format!("the books have code {}", row.code));
    }
    if let Some(consent) = answer.consent
        && !matches!(&row.body, AnswerBody::Load { mac2, .. } if *mac2 == consent.mac2)
    {
        return Some("the books have another consent".into());
    }
    if let Some(records) = &answer.records {
        return records_kept(records, row, books);
    }
    settled(answer, row, books)
}

fn reversed(answer: &Sent, row: &Transaction, books: &Books) -> Option<String> {
    if !answer.code.is_approved() {
        return None;
    }
    let stands = row.state == TransactionState::Authorised
        || (row.state == TransactionState::Completed && !is_posted_load(row, books));
    stands.then(|| format!("reversed, and the books have it as {:?}", row.state))
}

/// A load that the card proved: its reversal came too late, and moved nothing.
fn is_posted_load(row: &Transaction, books: &Books) -> bool {
    let booked = |load: &Load| row.load == Some((load.card, load.counter)) && load.state.is_booked();
    row.kind == TransactionKind::Load && books.loads.iter().any(booked)
}

fn records_kept(records: &RecordAnswers, row: &Transaction, books: &Books) -> Option<String> {
    let AnswerBody::Records(kept) = &row.body else { return Some("the books have no records".into()) };
    let answers: Vec<RecordAnswer> = kept.iter().map(|outcome| outcome.answer).collect();
    if answers != records.answers.as_slice() {
        return Some("the books have other answers for its records".into());
    }
    kept.iter().find_map(|outcome| {
        let record = books.records.get(&(outcome.sam, outcome.answer.term_seq));
        let number = outcome.answer.term_seq.0;
        match (outcome.answer.code, record.map(|record| record.standing)) {
            (ResponseCode::APPROVED, Some(RecordStanding::Held | RecordStanding::Unverified)) => {
                Some(format!("record {number} was answered 00 and is held"))
            }
            (ResponseCode::APPROVED, None) => Some(format!("record {number} was answered 00 and is gone")),
            (RecordAnswer::HELD, None) => Some(format!("record {number} was held and is gone")),
            _ => None,
        }
    })
}

fn settled(answer: &Sent, row: &Transaction, books: &Books) -> Option<String> {
    let closes = match row.kind {
        TransactionKind::Settle | TransactionKind::UploadEnd => row.code.is_approved(),
        _ => return None,
    };
    let batch = books.batches.get(&(answer.terminal, answer.batch));
    let closed = batch.is_some_and(|batch| batch.state == BatchState::Closed);
    (closes && !closed).then(|| "settled, and the batch is not closed".into())
}
