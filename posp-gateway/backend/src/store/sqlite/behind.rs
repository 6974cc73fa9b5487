//! Running totals of accounts, written behind the transfers that make them.
//!
//! Payments touch accounts at random: written with each commit, 512 payments rewrite 512 pages of 4 KiB for 24 bytes of news each, which costs
//! more than everything else a payment writes. But a total is nothing new: it follows from the transfers, and those are durable
//! with the commit, in order. So totals that changed stay in memory, where every reader of the store finds them, and a sweep brings the
//! rows up to date in the order of the ids, a few with each commit, neighbours together. A row says up to which transfer it counts
//! (`through`); when the store opens, the transfers since the last whole sweep are counted anew.
//!
//! Only totals lag. A new account and a changed property are in the table with their commit.

use super::{read, scan, sql, write};
use crate::accounts::{Account, AccountId, Totals, Transfer, TransferKind, TransferSeq};
use crate::map::Map;
use crate::store::{Batch, Key, Record, Scan, StoreFault};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// Commits of one sweep over all accounts: no row is more than two sweeps behind, which bounds what is counted anew when the store opens.
const SWEEP_COMMITS: usize = 256;

/// The totals that are newer than their rows.
#[derive(Debug)]
pub(super) struct Behind {
    newer: BTreeMap<AccountId, Account>,
    /// The sweep has passed this account.
    passed: Option<AccountId>,
    /// Every transfer before this one is in every row that the present sweep has passed.
    sweep_from: TransferSeq,
}

/// What one commit does to the rows; takes effect in memory after the commit.
pub(super) struct Plan {
    /// Totals that changed and stay in memory.
    later: BTreeMap<AccountId, Account>,
    /// Rows written: new or changed accounts, and those whose turn it is.
    now: BTreeMap<AccountId, Account>,
    passed: Option<AccountId>,
    /// The sweep ends with this commit: from here on transfers would be counted anew.
    replay_from: Option<TransferSeq>,
    next: TransferSeq,
}

impl Behind {
    /// Counts the transfers that rows may lack.
    pub(super) fn open(connection: &Connection, next: TransferSeq) -> Result<Self, StoreFault> {
        let from: i64 =
            sql(connection.query_row("SELECT replay_from FROM accounts_behind", [], |row| row.get(0)))?;
        let from =
            TransferSeq(u64::try_from(from).map_err(|_| StoreFault::Damaged { what: "accounts_behind" })?);
        let (mut rows, mut fault) = (Map::default(), None);
        scan::scan(connection, Scan::Transfers(from), &mut |record| {
            let Record::Transfer(transfer) = record else { return ControlFlow::Continue(()) };
            match count(connection, &mut rows, &transfer) {
                Ok(()) => ControlFlow::Continue(()),
                Err(failed) => {
                    fault = Some(failed);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        let newer =
            rows.into_values().flatten().filter(|row| row.changed).map(|row| (row.account.id, row.account));
        Ok(Self { newer: newer.collect(), passed: None, sweep_from: next })
    }

    /// The account, if its row is behind.
    pub(super) fn get(&self, id: AccountId) -> Option<&Account> {
        self.newer.get(&id)
    }

    /// What to write with a batch after which `next` is the next transfer. `known` is the account as it was before.
    pub(super) fn plan(
        &self,
        batch: &Batch,
        next: TransferSeq,
        mut known: impl FnMut(AccountId) -> Result<Option<Account>, StoreFault>,
    ) -> Result<Plan, StoreFault> {
        let mut plan = Plan {
            later: BTreeMap::new(),
            now: BTreeMap::new(),
            passed: self.passed,
            replay_from: None,
            next,
        };
        for change in &batch.changes {
            let Record::Account(account) = change else { continue };
            let old = known(account.id)?;
            let only_totals = old.is_some_and(|old| Account { running: account.running, ..old } == *account);
            let place = if only_totals { &mut plan.later } else { &mut plan.now };
            place.insert(account.id, *account);
        }
        let share = self.newer.len().saturating_add(plan.later.len()).div_ceil(SWEEP_COMMITS);
        let from = self.passed.map_or(Bound::Unbounded, Bound::Excluded);
        let mut turn = self.newer.range((from, Bound::Unbounded));
        for (id, account) in turn.by_ref().take(share) {
            // One that this very batch changes is written in its newer form.
            plan.now.entry(*id).or_insert(*plan.later.get(id).unwrap_or(account));
            plan.passed = Some(*id);
        }
        if turn.next().is_none() {
            plan.passed = None;
            plan.replay_from = Some(self.sweep_from);
        }
        Ok(plan)
    }

    /// All that is behind, at once.
    pub(super) fn plan_all(&self, next: TransferSeq) -> Plan {
        let now = self.newer.clone();
        Plan { later: BTreeMap::new(), now, passed: None, replay_from: Some(next), next }
    }

    /// The batch with this plan is durable.
    pub(super) fn done(&mut self, plan: Plan) {
        self.newer.extend(plan.later);
        for id in plan.now.keys() {
            self.newer.remove(id);
        }
        self.passed = plan.passed;
        if plan.replay_from.is_some() {
            self.sweep_from = plan.next;
        }
    }

    /// Whether every row is up to date.
    pub(super) fn is_even(&self) -> bool {
        self.newer.is_empty()
    }
}

impl Plan {
    /// Writes the rows.
    pub(super) fn write(&self, connection: &Connection) -> Result<(), StoreFault> {
        let through = TransferSeq(self.next.0.saturating_sub(1));
        for account in self.now.values() {
            sql(write::put_account(connection, account, through))?;
        }
        if let Some(from) = self.replay_from {
            let mut statement =
                sql(connection.prepare_cached("UPDATE accounts_behind SET replay_from = ?1"))?;
            sql(statement.execute(params![write::int(from.0)]))?;
        }
        Ok(())
    }
}

/// A row while transfers are counted into it.
struct Lagging {
    account: Account,
    through: TransferSeq,
    changed: bool,
}

/// Counts one transfer into the rows of its two accounts. What contradicts itself is counted as far as it goes: the audit says what is wrong.
fn count(
    connection: &Connection,
    rows: &mut Map<AccountId, Option<Lagging>>,
    transfer: &Transfer,
) -> Result<(), StoreFault> {
    let amount = transfer.amount.minor();
    let (held, released, posted) = match transfer.kind {
        TransferKind::Posted => (0, 0, amount),
        TransferKind::Pending { .. } => (amount, 0, 0),
        TransferKind::Post { of } => (0, held(connection, of)?, amount),
        TransferKind::Void { of } | TransferKind::Expire { of } => (0, held(connection, of)?, 0),
    };
    let change = |pending: &mut u64, total: &mut u64| {
        *pending = pending.saturating_add(held).saturating_sub(released);
        *total = total.saturating_add(posted);
    };
    let mut side = |id: AccountId, change: &dyn Fn(&mut Totals)| -> Result<(), StoreFault> {
        let row = match rows.entry(id) {
            std::collections::hash_map::Entry::Occupied(row) => row.into_mut(),
            std::collections::hash_map::Entry::Vacant(none) => none.insert(lagging(connection, id)?),
        };
        if let Some(row) = row
            && row.account.flags.limited()
            && transfer.seq > row.through
        {
            change(&mut row.account.running);
            row.changed = true;
        }
        Ok(())
    };
    side(transfer.debit, &|totals| change(&mut totals.debits_pending, &mut totals.debits_posted))?;
    side(transfer.credit, &|totals| change(&mut totals.credits_pending, &mut totals.credits_posted))
}

fn lagging(connection: &Connection, id: AccountId) -> Result<Option<Lagging>, StoreFault> {
    let row = read::account_through(connection, id)?;
    Ok(row.map(|(account, through)| Lagging { account, through, changed: false }))
}

/// What a hold held.
fn held(connection: &Connection, of: TransferSeq) -> Result<u64, StoreFault> {
    Ok(match read::get(connection, &Key::Transfer(of))? {
        Some(Record::Transfer(hold)) => hold.amount.minor(),
        _ => 0,
    })
}
