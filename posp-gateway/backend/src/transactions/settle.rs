//! Batch settlement (0500, 0320/201–207): totals compared, differences listed item by item, and the batch closed exactly once.

use super::{Decision, Desked, closing, totals};
use crate::api::{AnswerBody, BatchTotals, ItemKey, Side, UPLOAD_MAX, UploadItem};
use crate::engine::Desk;
use crate::report::{BatchState, Difference};
use crate::store::{
    Record, RecordStanding, Store, StoreFault, Transaction, TransactionKind, TransactionState, Working,
};
use protocol::iso8583::typed::ResponseCode;
use std::collections::{BTreeMap, BTreeSet};

/// Most differences that the answer to the end of the upload lists.
const DIFFERENCES_TOLD: usize = protocol::iso8583::f58::DIFFERENCES_MAX;
/// Most differences that a report lists; a batch has at most as many transactions as its totals can count.
const DIFFERENCES_MAX: usize = 4096;

/// 0500: the same totals close the batch; others open the upload.
pub(super) fn settle<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
    totals: BatchTotals,
) -> Result<Decision, StoreFault> {
    let host = desked.batch.host;
    desked.batch.of_terminal = Some(totals);
    let decision = Decision { body: AnswerBody::Totals(host), ..Decision::done(TransactionKind::Settle) };
    if totals == host {
        closing::close(working, desk, desked)?;
        return Ok(decision);
    }
    desked.batch.state = BatchState::Uploading;
    Ok(Decision { code: ResponseCode::RECONCILE, ..decision })
}

/// A part of the upload: kept until its end.
pub(super) fn upload<S: Store>(
    working: &mut Working<'_, S>,
    desked: &mut Desked<'_>,
    items: &[UploadItem],
) -> Result<Decision, StoreFault> {
    let kind = TransactionKind::Upload;
    if desked.batch.state != BatchState::Uploading {
        return Ok(Decision::declined(kind, ResponseCode::INVALID));
    }
    if items.len() > UPLOAD_MAX {
        return Ok(Decision::declined(kind, ResponseCode::FORMAT));
    }
    for item in items {
        working.put(Record::Upload(desked.batch.terminal, desked.batch.number, *item));
    }
    Ok(Decision::done(kind))
}

/// The end of the upload: every difference is listed, and the batch closes with the host's totals.
pub(super) fn upload_end<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    desked: &mut Desked<'_>,
) -> Result<Decision, StoreFault> {
    let kind = TransactionKind::UploadEnd;
    if desked.batch.state != BatchState::Uploading {
        return Ok(Decision::declined(kind, ResponseCode::INVALID));
    }
    let uploads = working.uploads(desked.batch.terminal, desked.batch.number)?;
    let mut theirs: BTreeMap<ItemKey, UploadItem> =
        uploads.into_iter().map(|item| (item.key, item)).collect();
    let mut differences = Vec::new();
    for item in host_items(working, desked)? {
        let other = theirs.remove(&item.key);
        if other != Some(item) {
            let (side, key) = (item.side, item.key);
            let terminal = other.map(|other| other.amount);
            differences.push(Difference { side, key, terminal, host: Some(item.amount) });
        }
    }
    differences.extend(theirs.into_values().map(|item| Difference {
        side: item.side,
        key: item.key,
        terminal: Some(item.amount),
        host: None,
    }));
    let all = u16::try_from(differences.len()).unwrap_or(u16::MAX);
    differences.truncate(DIFFERENCES_MAX);
    let told = differences.iter().take(DIFFERENCES_TOLD).copied().collect();
    desked.batch.differences = differences;
    closing::close(working, desk, desked)?;
    let body = AnswerBody::Closed { totals: desked.batch.host, differences: told, all };
    Ok(Decision { body, ..Decision::done(kind) })
}

/// What the host counted in the batch, item by item.
fn host_items<S: Store>(
    working: &mut Working<'_, S>,
    desked: &Desked<'_>,
) -> Result<Vec<UploadItem>, StoreFault> {
    let mut items = Vec::new();
    for transaction in working.of_batch(desked.batch.terminal, desked.batch.number)? {
        if transaction.kind == TransactionKind::OfflineRecords {
            records_of(working, &transaction, &mut items)?;
        }
        let Some(side) = totals::side(&transaction) else { continue };
        let is_void = matches!(transaction.kind, TransactionKind::Void | TransactionKind::CompletionVoid);
        if is_void && taken_back(working, &transaction)? == Some(TransactionState::Reversed) {
            continue;
        }
        if let Some(amount) = transaction.amount {
            items.push(UploadItem { side, key: ItemKey::Trace(transaction.identity.trace), amount });
        }
    }
    Ok(items)
}

/// What became of the payment that a void took back. If that payment was reversed besides, it counts no more, and neither does its void.
fn taken_back<S: Store>(
    working: &mut Working<'_, S>,
    void: &Transaction,
) -> Result<Option<TransactionState>, StoreFault> {
    let Some(of) = void.original else { return Ok(None) };
    Ok(working.transaction(of)?.map(|payment| payment.state))
}

/// The offline records that this message brought, in the state in which they count.
fn records_of<S: Store>(
    working: &mut Working<'_, S>,
    transaction: &Transaction,
    items: &mut Vec<UploadItem>,
) -> Result<(), StoreFault> {
    let AnswerBody::Records(outcomes) = &transaction.body else { return Ok(()) };
    // A message may bring a record twice: it was booked once, and counts once.
    let mut seen = BTreeSet::new();
    for outcome in outcomes {
        let Some(record) = working.record(outcome.sam, outcome.answer.term_seq)? else { continue };
        // One that policy had paid counts where its proof came.
        let proved = record.standing == RecordStanding::Resolved && !record.content.tac.is_zero();
        let booked =
            matches!(record.standing, RecordStanding::Booked | RecordStanding::Fork | RecordStanding::Zero);
        let counted = booked || proved;
        let Some(issuer) = working.issuer(record.content.issuer)? else { continue };
        let here = outcome.answer.code.is_approved() && record.transaction == transaction.seq;
        if counted && here && seen.insert((outcome.sam, outcome.answer.term_seq)) {
            let amount = record.content.amount.in_currency(issuer.currency);
            let key = ItemKey::Record(outcome.sam, outcome.answer.term_seq);
            items.push(UploadItem { side: Side::Debit, key, amount });
        }
    }
    Ok(())
}
