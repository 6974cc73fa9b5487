//! The identities of batches that are not closed: in memory, because every payment asks for one and no index on random values belongs
//! in its path. Rebuilt when the store opens; the one writer is their authority.
//!
//! A terminal works for one merchant and one acquirer through nearly all of its batches, so an entry is a trace and a number (12 bytes
//! instead of 72); who sent another merchant's is kept in full.

use crate::accounts::TransactionSeq;
use crate::api::{AcquirerId, Identity};
use crate::map::Map;
use protocol::ids::{BatchNo, MerchantId, Stan, TerminalId};
use std::collections::BTreeSet;

/// The batches that are not closed.
#[derive(Debug, Default)]
pub(super) struct OpenBatches(Map<(TerminalId, BatchNo), OpenBatch>);

/// What one batch holds so far.
#[derive(Debug)]
pub(super) struct OpenBatch {
    of: (AcquirerId, MerchantId),
    by_trace: Map<Stan, TransactionSeq>,
    others: Map<Identity, TransactionSeq>,
}

impl OpenBatch {
    /// The transaction of an identity in this batch.
    pub(super) fn get(&self, identity: &Identity) -> Option<TransactionSeq> {
        if (identity.acquirer, identity.merchant) == self.of {
            self.by_trace.get(&identity.trace).copied()
        } else {
            self.others.get(identity).copied()
        }
    }

    /// Its transactions, in order.
    pub(super) fn numbers(&self) -> BTreeSet<TransactionSeq> {
        self.by_trace.values().chain(self.others.values()).copied().collect()
    }

    /// Every trace with its transaction.
    pub(super) fn traces(&self) -> impl Iterator<Item = (Stan, TransactionSeq)> {
        let others = self.others.iter().map(|(identity, seq)| (identity.trace, *seq));
        self.by_trace.iter().map(|(trace, seq)| (*trace, *seq)).chain(others)
    }
}

impl OpenBatches {
    /// The batch, if it has transactions and is not closed.
    pub(super) fn get(&self, terminal: TerminalId, batch: BatchNo) -> Option<&OpenBatch> {
        self.0.get(&(terminal, batch))
    }

    /// Adds an identity; false if it was there.
    pub(super) fn insert(&mut self, identity: &Identity, seq: TransactionSeq) -> bool {
        let of = (identity.acquirer, identity.merchant);
        let batch = self.0.entry((identity.terminal, identity.batch)).or_insert_with(|| OpenBatch {
            of,
            by_trace: Map::default(),
            others: Map::default(),
        });
        let before = if of == batch.of {
            batch.by_trace.insert(identity.trace, seq)
        } else {
            batch.others.insert(*identity, seq)
        };
        before.is_none()
    }

    /// The batch is closed.
    pub(super) fn remove(&mut self, terminal: TerminalId, batch: BatchNo) {
        self.0.remove(&(terminal, batch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(merchant: &str, trace: u32) -> Identity {
        Identity {
            acquirer: AcquirerId(1),
            terminal: TerminalId::from_text("T0000001").unwrap(),
            merchant: MerchantId::from_text(merchant).unwrap(),
            batch: BatchNo(3),
            trace: Stan(trace),
        }
    }

    #[test]
    fn two_merchants_with_one_trace_are_two_identities() {
        let mut open = OpenBatches::default();
        assert!(open.insert(&identity("FIRST", 7), TransactionSeq(1)));
        assert!(open.insert(&identity("SECOND", 7), TransactionSeq(2)));
        assert!(!open.insert(&identity("FIRST", 7), TransactionSeq(3)));
        let batch = open.get(identity("FIRST", 7).terminal, BatchNo(3)).unwrap();
        assert_eq!(batch.get(&identity("FIRST", 7)), Some(TransactionSeq(3)));
        assert_eq!(batch.get(&identity("SECOND", 7)), Some(TransactionSeq(2)));
        assert_eq!(batch.get(&identity("SECOND", 8)), None);
        assert_eq!(batch.numbers(), [TransactionSeq(2), TransactionSeq(3)].into());
        assert_eq!(batch.traces().count(), 2);
        open.remove(identity("FIRST", 7).terminal, BatchNo(3));
        assert!(open.get(identity("FIRST", 7).terminal, BatchNo(3)).is_none());
    }
}
