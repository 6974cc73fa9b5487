//! Whose load a card's proof is of. GET TRANSACTION PROVE names a load by its counter alone, and if ours never reached the card, another
//! terminal's may have taken that counter: the card's log (`purse.md` section 5, file 18) says for how much and at which terminal it was.
//!
//! The log is only the card's word. It decides what people are told; money moves on the TAC, which the host checks.

use crate::record::LoadIntent;
use protocol::apdu::Response;
use protocol::purse::TransactionType;
use protocol::purse::file::{LOG_RECORDS_MIN, LogRecord};

/// What a record of the log says about a load that the card has proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// It is ours, or the log does not tell.
    Ours,
    /// Another load took its counter.
    Anothers,
    /// It is in an older record: this one.
    Older(u8),
}

/// Reads the answer to READ RECORD of record number `record`.
pub(crate) fn whose(intent: &LoadIntent, record: u8, answer: &[u8]) -> Whose {
    let Ok(response) = Response::parse(answer) else { return Whose::Ours };
    let Some(log) = LogRecord::parse(response.data).ok().filter(|_| response.sw.is_ok()) else {
        return Whose::Ours;
    };
    let counter_after = intent.counter.next().map(|counter| counter.0);
    if log.kind == TransactionType::Load && Some(log.counter_after) == counter_after {
        let same = (log.amount, log.terminal) == (intent.amount, intent.terminal);
        return if same { Whose::Ours } else { Whose::Anothers };
    }
    match record.checked_add(1) {
        Some(older) if usize::from(older) <= LOG_RECORDS_MIN => Whose::Older(older),
        _ => Whose::Ours,
    }
}
