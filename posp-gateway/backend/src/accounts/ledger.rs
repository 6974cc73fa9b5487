//! The batch-first interface over a store: `create_accounts`, `create_transfers`, `lookup`, `history`, `balances_at`.

use super::rules::{self, Books, Verdict};
use super::{
    Account, AccountId, AccountRejection, NewAccount, NewTransfer, Totals, Transfer, TransferKind,
    TransferRejection, TransferSeq,
};
use crate::store::{Key, Record, Scan, Store, StoreFault, Working};
use protocol::time::Wall;
use std::collections::HashMap;
use std::ops::ControlFlow;

/// How many holds whose time is up one batch releases.
pub(crate) const EXPIRE_MAX: usize = 1024;

/// The accounts of a store.
#[derive(Debug)]
pub struct Ledger<S> {
    store: S,
}

/// An account's four sums at a moment, from its transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balances {
    /// The account.
    pub account: AccountId,
    /// The sums.
    pub totals: Totals,
}

impl<S: Store> Ledger<S> {
    /// Over this store.
    pub const fn new(store: S) -> Self {
        Self { store }
    }

    /// The store back.
    pub fn into_store(self) -> S {
        self.store
    }

    /// The store.
    pub const fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// Creates accounts; results in order. One commit.
    ///
    /// # Errors
    /// The store failed: none was created.
    pub fn create_accounts(
        &mut self,
        batch: &[NewAccount],
        now: Wall,
    ) -> Result<Vec<Verdict<AccountId, AccountRejection>>, StoreFault> {
        let mut working = Working::new(&mut self.store, now)?;
        let now = working.now();
        let verdicts = batch
            .iter()
            .map(|new| rules::create_account(&mut working, new, now))
            .collect::<Result<Vec<_>, _>>()?;
        working.commit()?;
        Ok(verdicts)
    }

    /// Closes accounts; whether each was open, in order, `None` for an unknown one. One commit.
    ///
    /// # Errors
    /// The store failed: none was closed.
    pub fn close_accounts(&mut self, ids: &[AccountId], now: Wall) -> Result<Vec<Option<bool>>, StoreFault> {
        let mut working = Working::new(&mut self.store, now)?;
        let closed =
            ids.iter().map(|id| rules::close_account(&mut working, *id)).collect::<Result<Vec<_>, _>>()?;
        working.commit()?;
        Ok(closed)
    }

    /// Applies transfers; results in order, linked ones all or none. One commit. Holds whose time is up are released first.
    ///
    /// # Errors
    /// The store failed: none was applied.
    pub fn create_transfers(
        &mut self,
        batch: &[NewTransfer],
        now: Wall,
    ) -> Result<Vec<Verdict<TransferSeq, TransferRejection>>, StoreFault> {
        let mut working = Working::new(&mut self.store, now)?;
        let now = working.now();
        rules::expire(&mut working, now, EXPIRE_MAX)?;
        let verdicts = rules::create_transfers(&mut working, batch, now)?;
        working.commit()?;
        Ok(verdicts)
    }

    /// Accounts as they stand, in the order asked; `None` for an unknown one.
    ///
    /// # Errors
    /// The store failed.
    pub fn lookup(&mut self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreFault> {
        let mut working = Working::new(&mut self.store, Wall(0))?;
        ids.iter().map(|id| working.account(*id)).collect()
    }

    /// The transfers of an account from `from` up to, not including, `to`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The store failed.
    pub fn history(
        &mut self,
        account: AccountId,
        from: Wall,
        to: Wall,
        limit: usize,
    ) -> Result<Vec<Transfer>, StoreFault> {
        let mut found = Vec::new();
        self.store.scan(Scan::TRANSFERS, &mut |record| {
            if let Record::Transfer(transfer) = record
                && (transfer.debit == account || transfer.credit == account)
                && (from..to).contains(&transfer.at)
            {
                found.push(transfer);
            }
            ControlFlow::Continue(())
        })?;
        // Ascending numbers are ascending times within one gateway only.
        found.sort_by_key(|transfer| (transfer.at, transfer.seq));
        found.truncate(limit);
        Ok(found)
    }

    /// The four sums of accounts just before `time`, derived from the transfers alone (running totals are not consulted). Of a hold that another
    /// gateway made by a later clock than it was resolved by, nothing counts before the later of both.
    ///
    /// # Errors
    /// The store failed, or its transfers contradict each other.
    pub fn balances_at(&mut self, ids: &[AccountId], time: Wall) -> Result<Vec<Balances>, StoreFault> {
        let mut sums: HashMap<AccountId, Totals> = ids.iter().map(|id| (*id, Totals::default())).collect();
        let mut derive = Derivation::default();
        let mut damaged = false;
        self.store.scan(Scan::TRANSFERS, &mut |record| {
            if let Record::Transfer(transfer) = record
                && transfer.at < time
            {
                damaged |= derive.apply(&transfer, &mut sums, false).is_none();
            }
            if damaged { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        for hold in derive.awaited() {
            damaged |= !matches!(
                self.store.get(&Key::Transfer(hold))?,
                Some(Record::Transfer(it)) if it.at >= time && matches!(it.kind, TransferKind::Pending { .. })
            );
        }
        if damaged {
            return Err(StoreFault::Damaged { what: "transfers" });
        }
        let totals = |id: &AccountId| sums.get(id).copied().unwrap_or_default();
        Ok(ids.iter().map(|id| Balances { account: *id, totals: totals(id) }).collect())
    }
}

/// Re-derives sums from transfers in the order of their numbers: what `balances_at` and `audit` share. A hold that one gateway made and another
/// resolved may come after its resolution, which then waits for it.
#[derive(Debug, Default)]
pub(crate) struct Derivation {
    holds: HashMap<TransferSeq, u64>,
    early: HashMap<TransferSeq, Transfer>,
}

/// What a transfer adds to pending, takes off it, and adds to posted.
struct Step {
    held: u64,
    released: u64,
    posted: u64,
}

impl Derivation {
    /// Adds one transfer to the accounts in `sums` (or to every account, if `all`). `None` if it contradicts what came before: it
    /// resolves a hold a second time, posts more than was held, or a sum does not fit.
    pub(crate) fn apply(
        &mut self,
        transfer: &Transfer,
        sums: &mut HashMap<AccountId, Totals>,
        all: bool,
    ) -> Option<()> {
        let amount = transfer.amount.minor();
        let step = match transfer.kind {
            TransferKind::Posted => Step { held: 0, released: 0, posted: amount },
            TransferKind::Pending { .. } => {
                self.holds.insert(transfer.seq, amount);
                Step { held: amount, released: 0, posted: 0 }
            }
            TransferKind::Post { of } | TransferKind::Void { of } | TransferKind::Expire { of } => {
                let Some(held) = self.holds.remove(&of) else {
                    // Its hold may have the higher number; a second resolution may not wait beside the first.
                    return self.early.insert(of, *transfer).is_none().then_some(());
                };
                let posts = matches!(transfer.kind, TransferKind::Post { .. });
                if posts && amount > held {
                    return None;
                }
                Step { held: 0, released: held, posted: if posts { amount } else { 0 } }
            }
        };
        add(transfer, &step, sums, all)?;
        match transfer.kind {
            TransferKind::Pending { .. } => match self.early.remove(&transfer.seq) {
                Some(resolution) => self.apply(&resolution, sums, all),
                None => Some(()),
            },
            _ => Some(()),
        }
    }

    /// The holds still open.
    pub(crate) const fn open(&self) -> &HashMap<TransferSeq, u64> {
        &self.holds
    }

    /// Holds that never came, or were resolved before, and are resolved.
    fn awaited(&self) -> impl Iterator<Item = TransferSeq> + '_ {
        self.early.keys().copied()
    }

    /// Resolutions whose hold never came, or was resolved before.
    pub(crate) fn unmatched(&self) -> impl Iterator<Item = TransferSeq> + '_ {
        self.early.values().map(|transfer| transfer.seq)
    }
}

fn add(transfer: &Transfer, step: &Step, sums: &mut HashMap<AccountId, Totals>, all: bool) -> Option<()> {
    let change = |pending: &mut u64, total: &mut u64| -> Option<()> {
        *pending = pending.checked_add(step.held)?.checked_sub(step.released)?;
        *total = total.checked_add(step.posted)?;
        Some(())
    };
    if all {
        sums.entry(transfer.debit).or_default();
        sums.entry(transfer.credit).or_default();
    }
    if let Some(totals) = sums.get_mut(&transfer.debit) {
        change(&mut totals.debits_pending, &mut totals.debits_posted)?;
    }
    if let Some(totals) = sums.get_mut(&transfer.credit) {
        change(&mut totals.credits_pending, &mut totals.credits_posted)?;
    }
    Some(())
}
