//! The hash chain of a gateway: one link per commit, over what the commit appended.
//!
//! `link(n) = SHA-256("tapline-link-1" ‖ n ‖ time ‖ first transfer ‖ next transfer ‖ first transaction ‖ next transaction ‖ the
//! transfers ‖ the fixed parts of the transactions ‖ link(n − 1))`, every number 8 bytes big-endian, every record in its canonical bytes below.

use super::{Batch, CommitNo, GatewayNo, Heads, Record, Transaction};
use crate::accounts::{TransactionSeq, Transfer, TransferKind, TransferSeq};
use protocol::time::Wall;
use sha2::{Digest, Sha256};

/// The newest link of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linked {
    /// Its commit.
    pub number: CommitNo,
    /// Its hash.
    pub hash: [u8; 32],
}

impl Linked {
    /// What the first link of a gateway follows.
    #[must_use]
    pub const fn before(gateway: GatewayNo) -> Self {
        Self { number: CommitNo(gateway.base()), hash: [0; 32] }
    }
}

/// One link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The commit.
    pub number: CommitNo,
    /// When.
    pub at: Wall,
    /// Number of its first transfer (if it has any).
    pub first_transfer: TransferSeq,
    /// Number after its last transfer.
    pub next_transfer: TransferSeq,
    /// Number of its first transaction (if it has any).
    pub first_transaction: TransactionSeq,
    /// Number after its last transaction.
    pub next_transaction: TransactionSeq,
    /// Its hash.
    pub hash: [u8; 32],
}

impl Link {
    /// The link that this batch appends, and where the sequences stand after it.
    #[must_use]
    pub fn of(batch: &Batch, heads: &Heads) -> (Self, Heads) {
        let mut after = *heads;
        let mut transfers = LinkHash::new();
        let mut transactions = LinkHash::new();
        for change in &batch.changes {
            match change {
                Record::Transfer(transfer) => {
                    transfers.transfer(transfer);
                    after.transfer = TransferSeq(transfer.seq.0.saturating_add(1));
                }
                Record::Transaction(transaction) if heads.is_next_transaction(transaction.seq) => {
                    transactions.transaction(transaction);
                    after.transaction = TransactionSeq(transaction.seq.0.saturating_add(1));
                }
                Record::Alert(number, _) => after.alert = super::AlertNo(number.0.saturating_add(1)),
                _ => {}
            }
        }
        let previous = heads.link.unwrap_or_else(|| Linked::before(GatewayNo::of(heads.transfer.0)));
        let mut link = Self {
            number: CommitNo(previous.number.0.saturating_add(1)),
            at: batch.at,
            first_transfer: heads.transfer,
            next_transfer: after.transfer,
            first_transaction: heads.transaction,
            next_transaction: after.transaction,
            hash: [0; 32],
        };
        link.hash = link.seal(transfers, transactions, &previous.hash);
        after.link = Some(Linked { number: link.number, hash: link.hash });
        after.at = batch.at;
        (link, after)
    }

    /// The hash of this link over its contents and the link before.
    #[must_use]
    pub fn seal(&self, transfers: LinkHash, transactions: LinkHash, previous: &[u8; 32]) -> [u8; 32] {
        self.sealed(b"tapline-link-1", transfers, transactions, previous)
    }

    /// The hash of a link that is over nothing and says that its numbers are skipped: `tapline-skip-1` in place of `tapline-link-1`.
    #[must_use]
    pub fn seal_skipped(&self, previous: &[u8; 32]) -> [u8; 32] {
        self.sealed(b"tapline-skip-1", LinkHash::new(), LinkHash::new(), previous)
    }

    /// The link after a restored backup, from which transactions go on with `next`.
    #[must_use]
    pub fn skipping(at: Wall, next: TransactionSeq, heads: &Heads) -> (Self, Heads) {
        let previous = heads.link.unwrap_or_else(|| Linked::before(GatewayNo::of(heads.transfer.0)));
        let mut link = Self {
            number: CommitNo(previous.number.0.saturating_add(1)),
            at: at.max(heads.at),
            first_transfer: heads.transfer,
            next_transfer: heads.transfer,
            first_transaction: heads.transaction,
            next_transaction: next.max(heads.transaction),
            hash: [0; 32],
        };
        link.hash = link.seal_skipped(&previous.hash);
        let after = Heads {
            transaction: link.next_transaction,
            link: Some(Linked { number: link.number, hash: link.hash }),
            at: link.at,
            ..*heads
        };
        (link, after)
    }

    fn sealed(
        &self,
        label: &[u8],
        transfers: LinkHash,
        transactions: LinkHash,
        previous: &[u8; 32],
    ) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(label);
        hash.update(self.number.0.to_be_bytes());
        hash.update(self.at.0.to_be_bytes());
        hash.update(self.first_transfer.0.to_be_bytes());
        hash.update(self.next_transfer.0.to_be_bytes());
        hash.update(self.first_transaction.0.to_be_bytes());
        hash.update(self.next_transaction.0.to_be_bytes());
        hash.update(transfers.0.finalize());
        hash.update(transactions.0.finalize());
        hash.update(previous);
        hash.finalize().into()
    }
}

/// The running hash over a commit's transfers, or over its transactions.
#[derive(Clone, Debug, Default)]
pub struct LinkHash(Sha256);

impl LinkHash {
    /// Over nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a transfer: seq 8, reference 16, debit 16, credit 16, amount 8, currency 2, code 2, kind 1 ‖ its number 8, transaction 8
    /// (0: none), time 8.
    pub fn transfer(&mut self, transfer: &Transfer) {
        let (kind, of) = match transfer.kind {
            TransferKind::Posted => (0u8, 0),
            TransferKind::Pending { expires } => (1, expires.map_or(0, |end| end.0.cast_unsigned())),
            TransferKind::Post { of } => (2, of.0),
            TransferKind::Void { of } => (3, of.0),
            TransferKind::Expire { of } => (4, of.0),
        };
        let hash = &mut self.0;
        hash.update(transfer.seq.0.to_be_bytes());
        hash.update(transfer.reference.0.to_be_bytes());
        hash.update(transfer.debit.0.to_be_bytes());
        hash.update(transfer.credit.0.to_be_bytes());
        hash.update(transfer.amount.minor().to_be_bytes());
        hash.update(transfer.amount.currency().numeric().to_be_bytes());
        hash.update(transfer.code.0.to_be_bytes());
        hash.update([kind]);
        hash.update(of.to_be_bytes());
        hash.update(transfer.transaction.map_or(0, |seq| seq.0).to_be_bytes());
        hash.update(transfer.at.0.to_be_bytes());
    }

    /// Adds the fixed part of a transaction: seq 8, acquirer 8, terminal 8, merchant 15, batch 4, trace 4, content 16, kind 1, code 2,
    /// amount 8, currency 2 (0: none), original 8 (0: none), time 8.
    pub fn transaction(&mut self, transaction: &Transaction) {
        let Transaction { identity, digest, .. } = transaction;
        let hash = &mut self.0;
        hash.update(transaction.seq.0.to_be_bytes());
        hash.update(identity.acquirer.0.to_be_bytes());
        hash.update(identity.terminal.to_bytes());
        hash.update(identity.merchant.to_bytes());
        hash.update(identity.batch.0.to_be_bytes());
        hash.update(identity.trace.0.to_be_bytes());
        hash.update(digest.0);
        hash.update([transaction.kind.number()]);
        hash.update(transaction.code.to_bytes());
        hash.update(transaction.amount.map_or(0, protocol::money::Amount::minor).to_be_bytes());
        hash.update(transaction.amount.map_or(0, |amount| amount.currency().numeric()).to_be_bytes());
        hash.update(transaction.original.map_or(0, |seq| seq.0).to_be_bytes());
        hash.update(transaction.at.0.to_be_bytes());
    }
}
