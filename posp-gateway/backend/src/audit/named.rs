//! Money that came or went by one posting: everything that a payer was credited has its arrival, and everything that a purse paid a merchant has its
//! offline record, each one of its own.
//!
//! Postings are met in the chain, records and arrivals afterwards: two bits of memory for each of them.

use super::pages::{Pages, Resolved};
use super::{AuditException, AuditReport, found};
use crate::accounts::chart::{Book, MerchantNumber, code};
use crate::accounts::{AccountId, HoldState, Transfer, TransferKind, TransferSeq};
use crate::store::{Key, Kind, OfflineRecord, Record, Store, StoreFault};
use protocol::ids::MerchantId;
use protocol::money::Currency;
use std::collections::HashMap;

/// The postings that something has to name, and which of them were named.
#[derive(Default)]
pub(super) struct Named {
    marks: Resolved,
    /// Merchants that records were booked to.
    merchants: HashMap<MerchantId, Option<MerchantNumber>>,
}

const WAITS: HoldState = HoldState::Posted;
const NAMED: HoldState = HoldState::Voided;

impl Named {
    /// A transfer is met in the chain.
    pub(super) fn moved(&mut self, transfer: &Transfer) {
        let wants = match transfer.code {
            code::FUND | code::PURSE_PURCHASE | code::PURSE_FORK => true,
            // It goes through the suspense account; what leaves that is the record's.
            code::UNCERTAIN_RESOLVED => Book::is_payable(transfer.credit),
            _ => false,
        };
        if wants && transfer.kind == TransferKind::Posted {
            self.marks.set(transfer.seq, WAITS);
        }
    }

    /// Something names it. Whether it may.
    fn name(&mut self, transfer: TransferSeq) -> bool {
        let waits = self.marks.get(transfer) == WAITS;
        if waits {
            self.marks.set(transfer, NAMED);
        }
        waits
    }

    /// Whether a record's posting is its own, and its merchant's.
    pub(super) fn is_records<S: Store>(
        &mut self,
        store: &mut S,
        record: &OfflineRecord,
        transfer: &Transfer,
    ) -> Result<bool, StoreFault> {
        let pays =
            matches!(transfer.code, code::PURSE_PURCHASE | code::PURSE_FORK | code::UNCERTAIN_RESOLVED);
        let payable = match record.merchant {
            Some(merchant) => self.payable(store, merchant, transfer.amount.currency())?,
            None => None,
        };
        Ok(pays && payable == Some(transfer.credit) && self.name(transfer.seq))
    }

    fn payable<S: Store>(
        &mut self,
        store: &mut S,
        merchant: MerchantId,
        currency: Currency,
    ) -> Result<Option<AccountId>, StoreFault> {
        let number = match self.merchants.get(&merchant) {
            Some(number) => *number,
            None => {
                let number = match store.get(&Key::Merchant(merchant))? {
                    Some(Record::Merchant(merchant)) => Some(merchant.number),
                    _ => None,
                };
                self.merchants.insert(merchant, number);
                number
            }
        };
        Ok(number.map(|number| Book::MerchantPayable(number).id(currency)))
    }

    /// Every arrival has its posting, under its reference.
    pub(super) fn arrivals<S: Store>(
        &mut self,
        store: &mut S,
        report: &mut AuditReport,
    ) -> Result<(), StoreFault> {
        let mut arrivals = Pages::with(Kind::Arrival, |record| match record {
            Record::Arrival(_, transfer) => Some(Key::Transfer(*transfer)),
            _ => None,
        });
        while let Some(Record::Arrival(reference, seq)) = arrivals.next(store)? {
            let agrees = match store.get(&Key::Transfer(seq))? {
                Some(Record::Transfer(it)) => {
                    it.code == code::FUND && it.reference.0 == u128::from(reference) && self.name(seq)
                }
                _ => false,
            };
            if !agrees {
                found(report, AuditException::Arrival(reference));
            }
        }
        Ok(())
    }

    /// Postings that nothing named.
    pub(super) fn rest(&self, report: &mut AuditReport) {
        for transfer in self.marks.all(WAITS) {
            found(report, AuditException::Unexplained(transfer));
        }
    }
}
