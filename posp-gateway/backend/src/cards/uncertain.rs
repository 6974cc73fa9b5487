//! Debits of which no terminal knows whether they happened, decided from the card's chain (`backend.md` section 1).
//!
//! If another record with a valid TAC owns the counter, ours did not happen. If the next counter's balance before shows that exactly our amount is gone, and no
//! other record has claimed the counter for the time the operator sets (30 days), it happened: float → suspense → merchant, by policy.

use super::offline::neighbour;
use crate::accounts::chart::{Book, code};
use crate::accounts::rules;
use crate::accounts::{NewTransfer, Order, Reference};
use crate::engine::Desk;
use crate::store::{CardId, OfflineRecord, Record, RecordStanding, Store, StoreFault, Working};
use protocol::iso8583::f58::CardCounter;
use protocol::time::Wall;

/// Decides those of `open` that can be decided. Returns how many.
pub(crate) fn resolve<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    open: &[OfflineRecord],
    older_than: Wall,
) -> Result<u32, StoreFault> {
    let mut decided = 0u32;
    for record in open {
        let content = &record.content;
        let known = working.record(content.terminal, content.term_seq)?;
        let Some(known) = known.filter(|known| known.standing == RecordStanding::Uncertain) else { continue };
        let CardCounter::Offline(counter) = content.counter else { continue };
        let id = CardId { issuer: content.issuer, asn: content.asn };
        if working.claim(id, counter)?.is_some() {
            let void = OfflineRecord { standing: RecordStanding::Void, ..known };
            working.put(Record::Record(Box::new(void)));
            decided = decided.saturating_add(1);
            continue;
        }
        if known.received >= older_than {
            continue;
        }
        let Some(next) = counter.next() else { continue };
        let Some(next) = neighbour(working, id, next)? else { continue };
        let before_next = next.balance_after.checked_add(next.amount);
        if before_next == Some(content.balance_after) && pay(working, desk, &known)? {
            decided = decided.saturating_add(1);
        }
    }
    Ok(decided)
}

/// Float → suspense → merchant, both or none. The record then owns its counter.
fn pay<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    record: &OfflineRecord,
) -> Result<bool, StoreFault> {
    let content = &record.content;
    let CardCounter::Offline(counter) = content.counter else { return Ok(false) };
    let Some(issuer) = working.issuer(content.issuer)? else { return Ok(false) };
    let place = working.sam(content.terminal)?.and_then(|sam| sam.at(content.moment));
    let Some((_, merchant)) = place else { return Ok(false) };
    let Some(merchant) = working.merchant(merchant)? else { return Ok(false) };
    let amount = content.amount.in_currency(issuer.currency);
    let book = |book: Book| book.id(issuer.currency);
    let step = |debit, credit, linked| NewTransfer {
        reference: Reference(u128::from(record.transaction.0)),
        order: Order::Post { debit, credit, amount },
        code: code::UNCERTAIN_RESOLVED,
        transaction: Some(record.transaction),
        linked,
    };
    let (float, suspense) = (book(Book::PurseFloat(issuer.number)), book(Book::PurseSuspense(issuer.number)));
    let payable = book(Book::MerchantPayable(merchant.number));
    let steps = [step(float, suspense, true), step(suspense, payable, false)];
    let verdicts = rules::create_transfers(working, &steps, desk.now)?;
    let [Ok(_), Ok(paid)] = verdicts.as_slice() else { return Ok(false) };
    let id = CardId { issuer: content.issuer, asn: content.asn };
    if let Some(mut card) = working.card(id)? {
        card.spent = card.spent.saturating_add(u64::from(content.amount.0));
        working.put(Record::Card(card));
    }
    working.put(Record::Claim(id, counter, content.terminal, content.term_seq));
    working.put(Record::Record(Box::new(OfflineRecord {
        standing: RecordStanding::Resolved,
        merchant: Some(merchant.id),
        transfer: Some(*paid),
        ..*record
    })));
    Ok(true)
}
