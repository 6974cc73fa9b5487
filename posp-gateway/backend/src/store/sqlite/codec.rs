//! The parts of a record that a column holds as bytes. Read back with every check: a file may have been changed.

use crate::api::{AnswerBody, BatchTotals, ItemKey, RecordOutcome, Side, Tally, UploadItem};
use crate::report::Difference;
use protocol::bytes::Reader;
use protocol::ids::{SamTerminal, Stan, TermSeq};
use protocol::iso8583::f58::RecordAnswer;
use protocol::iso8583::typed::ResponseCode;
use protocol::money::{Amount, Currency};
use protocol::purse::{Algorithm, PurseMac};

fn put_amount(out: &mut Vec<u8>, amount: Amount) {
    out.extend_from_slice(&amount.minor().to_be_bytes());
    out.extend_from_slice(&amount.currency().numeric().to_be_bytes());
}

fn amount(reader: &mut Reader<'_>) -> Option<Amount> {
    let minor = reader.u64().ok()?;
    Some(Amount::new(minor, Currency::from_numeric(reader.u16().ok()?)?))
}

pub(in crate::store) fn totals_bytes(totals: &BatchTotals) -> Vec<u8> {
    let mut out = Vec::with_capacity(36);
    for tally in [totals.debits, totals.credits, totals.loads] {
        out.extend_from_slice(&tally.minor.to_be_bytes());
        out.extend_from_slice(&tally.count.to_be_bytes());
    }
    out
}

pub(in crate::store) fn totals(bytes: &[u8]) -> Option<BatchTotals> {
    let mut reader = Reader::new(bytes);
    let mut tally = || Some(Tally { minor: reader.u64().ok()?, count: reader.u32().ok()? });
    let totals = BatchTotals { debits: tally()?, credits: tally()?, loads: tally()? };
    reader.is_empty().then_some(totals)
}

/// Body of an answer: 0 nothing · 1 balance · 2 load (algorithm, MAC2) · 3 records · 4 totals ·
/// 5 totals 36, how many differences 2, differences.
pub(in crate::store) fn body_bytes(body: &AnswerBody) -> Vec<u8> {
    let mut out = Vec::new();
    match body {
        AnswerBody::None => {}
        AnswerBody::Balance(balance) => {
            out.push(1);
            put_amount(&mut out, *balance);
        }
        AnswerBody::Load { algorithm, mac2 } => {
            out.extend_from_slice(&[2, algorithm.byte()]);
            out.extend_from_slice(mac2.as_bytes());
        }
        AnswerBody::Records(outcomes) => {
            out.push(3);
            for outcome in outcomes {
                out.extend_from_slice(&outcome.sam.0);
                out.extend_from_slice(&outcome.answer.term_seq.0.to_be_bytes());
                out.extend_from_slice(&outcome.answer.code.to_bytes());
            }
        }
        AnswerBody::Totals(totals) => {
            out.push(4);
            out.extend_from_slice(&totals_bytes(totals));
        }
        AnswerBody::Closed { totals, differences, all } => {
            out.push(5);
            out.extend_from_slice(&totals_bytes(totals));
            out.extend_from_slice(&all.to_be_bytes());
            out.extend_from_slice(&differences_bytes(differences));
        }
    }
    out
}

pub(in crate::store) fn body(bytes: &[u8]) -> Option<AnswerBody> {
    let Some((tag, rest)) = bytes.split_first() else { return Some(AnswerBody::None) };
    let mut reader = Reader::new(rest);
    let body = match tag {
        1 => AnswerBody::Balance(amount(&mut reader)?),
        2 => {
            let algorithm = Algorithm::from_byte(reader.u8().ok()?).ok()?;
            let mac2 = reader.take(algorithm.suite().mac_len()).ok()?;
            AnswerBody::Load { algorithm, mac2: PurseMac::from_bytes(algorithm.suite(), mac2).ok()? }
        }
        3 => {
            let mut outcomes = Vec::new();
            while !reader.is_empty() {
                let sam = SamTerminal(reader.array().ok()?);
                let term_seq = TermSeq(reader.u32().ok()?);
                let code = ResponseCode::from_bytes(reader.array().ok()?)?;
                outcomes.push(RecordOutcome { sam, answer: RecordAnswer { term_seq, code } });
            }
            AnswerBody::Records(outcomes)
        }
        4 => AnswerBody::Totals(totals(reader.take(36).ok()?)?),
        5 => {
            let (totals, all) = (totals(reader.take(36).ok()?)?, reader.u16().ok()?);
            let rest = reader.rest();
            AnswerBody::Closed { totals, all, differences: differences(reader.take(rest.len()).ok()?)? }
        }
        _ => return None,
    };
    reader.is_empty().then_some(body)
}

/// 1 ‖ trace 4, or 2 ‖ SAM 6 ‖ sequence 4: sorts as the type does.
pub(in crate::store) fn key_bytes(key: &ItemKey) -> Vec<u8> {
    match key {
        ItemKey::Trace(trace) => [&[1][..], &trace.0.to_be_bytes()].concat(),
        ItemKey::Record(sam, seq) => [&[2][..], &sam.0, &seq.0.to_be_bytes()].concat(),
    }
}

fn key(reader: &mut Reader<'_>) -> Option<ItemKey> {
    match reader.u8().ok()? {
        1 => Some(ItemKey::Trace(Stan(reader.u32().ok()?))),
        2 => Some(ItemKey::Record(SamTerminal(reader.array().ok()?), TermSeq(reader.u32().ok()?))),
        _ => None,
    }
}

const fn side_byte(side: Side) -> u8 {
    match side {
        Side::Debit => 1,
        Side::Credit => 2,
        Side::Load => 3,
    }
}

fn side(reader: &mut Reader<'_>) -> Option<Side> {
    match reader.u8().ok()? {
        1 => Some(Side::Debit),
        2 => Some(Side::Credit),
        3 => Some(Side::Load),
        _ => None,
    }
}

pub(in crate::store) fn item_bytes(item: &UploadItem) -> Vec<u8> {
    let mut out = vec![side_byte(item.side)];
    out.extend_from_slice(&key_bytes(&item.key));
    put_amount(&mut out, item.amount);
    out
}

pub(in crate::store) fn item(bytes: &[u8]) -> Option<UploadItem> {
    let mut reader = Reader::new(bytes);
    let item = UploadItem { side: side(&mut reader)?, key: key(&mut reader)?, amount: amount(&mut reader)? };
    reader.is_empty().then_some(item)
}

pub(in crate::store) fn differences_bytes(differences: &[Difference]) -> Vec<u8> {
    let mut out = Vec::new();
    for difference in differences {
        out.push(side_byte(difference.side));
        out.extend_from_slice(&key_bytes(&difference.key));
        for amount in [difference.terminal, difference.host] {
            out.push(u8::from(amount.is_some()));
            if let Some(amount) = amount {
                put_amount(&mut out, amount);
            }
        }
    }
    out
}

pub(in crate::store) fn differences(bytes: &[u8]) -> Option<Vec<Difference>> {
    let mut reader = Reader::new(bytes);
    let mut found = Vec::new();
    while !reader.is_empty() {
        let (side, key) = (side(&mut reader)?, key(&mut reader)?);
        let mut optional = || match reader.u8().ok()? {
            0 => Some(None),
            1 => amount(&mut reader).map(Some),
            _ => None,
        };
        let (terminal, host) = (optional()?, optional()?);
        found.push(Difference { side, key, terminal, host });
    }
    Some(found)
}
