//! The table of online transactions (`posp.md` section 3) as a counter knows it: its rows, and what they are called in coverage and stories.

use crate::online::Online;
use crate::sim::plan::Way;
use protocol::iso8583::frame::split;
use protocol::iso8583::typed::{Batch, TransactionKind};
use protocol::iso8583::{AES, Frame, HeaderRule, Message, Mti};

/// What a sale is, in the words of the coverage table.
#[must_use]
pub const fn name(kind: TransactionKind) -> &'static str {
    match kind {
        TransactionKind::PURCHASE => "purchase",
        TransactionKind::PURCHASE_VOID => "void",
        TransactionKind::REFUND => "refund",
        TransactionKind::PRE_AUTHORISATION => "pre-authorisation",
        TransactionKind::PRE_AUTHORISATION_VOID => "pre-authorisation void",
        TransactionKind::COMPLETION => "completion",
        TransactionKind::COMPLETION_VOID => "completion void",
        TransactionKind::COMPLETION_ADVICE => "completion advice",
        _ => "other online message",
    }
}

/// Its answer.
const fn answer_name(kind: TransactionKind) -> &'static str {
    match kind {
        TransactionKind::PURCHASE => "answer to purchase",
        TransactionKind::PURCHASE_VOID => "answer to void",
        TransactionKind::REFUND => "answer to refund",
        TransactionKind::PRE_AUTHORISATION => "answer to pre-authorisation",
        TransactionKind::PRE_AUTHORISATION_VOID => "answer to pre-authorisation void",
        TransactionKind::COMPLETION => "answer to completion",
        TransactionKind::COMPLETION_VOID => "answer to completion void",
        TransactionKind::COMPLETION_ADVICE => "answer to completion advice",
        _ => "other answer",
    }
}

/// What a frame of a counter is; a place for faults to strike. `None`: as any terminal's.
#[must_use]
pub fn place(way: Way, frame: &[u8]) -> Option<&'static str> {
    let Ok(Some((body, _))) = split(frame) else { return None };
    let frame = Frame::parse(body, HeaderRule::Present).ok()?;
    let message = Message::parse(&AES, frame.message).ok()?;
    let kind = message.get::<Batch>().ok().flatten()?.kind;
    match (message.mti().exchange(), way) {
        (Mti::AUTHORISATION | Mti::FINANCIAL | Mti::ADVICE, Way::Up) => Some(name(kind)),
        (Mti::AUTHORISATION | Mti::FINANCIAL | Mti::ADVICE, Way::Down) => Some(answer_name(kind)),
        (Mti::REVERSAL, Way::Up) => Some("reversal of an online message"),
        (Mti::REVERSAL, Way::Down) => Some("answer to reversal of an online message"),
        _ => None,
    }
}

/// The row of the table for a kind.
pub(super) const fn row(kind: TransactionKind) -> Online {
    match kind {
        TransactionKind::PURCHASE_VOID => Online::VOID,
        TransactionKind::REFUND => Online::REFUND,
        TransactionKind::PRE_AUTHORISATION => Online::PRE_AUTHORISATION,
        TransactionKind::PRE_AUTHORISATION_VOID => Online::PRE_AUTHORISATION_VOID,
        TransactionKind::COMPLETION => Online::COMPLETION,
        TransactionKind::COMPLETION_VOID => Online::COMPLETION_VOID,
        TransactionKind::COMPLETION_ADVICE => Online::COMPLETION_ADVICE,
        _ => Online::PURCHASE,
    }
}

/// What takes money.
pub(super) const fn is_debit(kind: TransactionKind) -> bool {
    matches!(
        kind,
        TransactionKind::PURCHASE | TransactionKind::COMPLETION | TransactionKind::COMPLETION_ADVICE
    )
}

pub(super) const fn is_completion(kind: TransactionKind) -> bool {
    matches!(kind, TransactionKind::COMPLETION | TransactionKind::COMPLETION_ADVICE)
}

/// What is told and not asked: it is repeated, and never taken back.
pub(super) const fn is_advice(kind: TransactionKind) -> bool {
    matches!(kind, TransactionKind::REFUND | TransactionKind::COMPLETION_ADVICE)
}
