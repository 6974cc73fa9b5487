//! A batch being decided: its own changes on top of what the store holds. Nothing reaches the store before [`Working::commit`]; a working
//! set that is dropped leaves no trace.

use super::{
    AlertNo, Batch, BatchRecord, Card, CardId, Issuer, Key, Load, Merchant, OfflineRecord, Outcome, Record,
    Registry, Sam, Shares, Store, StoreFault, Terminal, Transaction, Usage, UsageOf,
};
use crate::accounts::rules::Books;
use crate::accounts::{Account, AccountId, Hold, HoldState, TransactionSeq, Transfer, TransferSeq};
use crate::api::{Alert, Identity, Limit, LimitScope, PayerToken, UploadItem};
use crate::map::Map;
use protocol::ids::{
    BatchNo, IssuerId, MerchantId, OfflineCounter, OnlineCounter, SamTerminal, TermSeq, TerminalId,
};
use protocol::time::Wall;
use std::collections::hash_map::Entry;
use std::ops::ControlFlow;

/// The store with a batch's changes on top.
#[derive(Debug)]
pub struct Working<'s, S: Store> {
    store: &'s mut S,
    staged: Map<Key, Record>,
    /// What each change replaced, in order; a key's first entry holds `None`, so this is also the order of the batch.
    undo: Vec<(Key, Option<Record>)>,
    next_transfer: TransferSeq,
    next_transaction: TransactionSeq,
    next_alert: AlertNo,
    now: Wall,
}

/// A point in a batch to come back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    changes: usize,
    next_transfer: TransferSeq,
    next_transaction: TransactionSeq,
    next_alert: AlertNo,
}

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) -> $out:ty = $key:expr, $pattern:pat => $value:expr;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            /// The store failed.
            pub fn $name(&mut self, $($arg: $ty),*) -> Result<Option<$out>, StoreFault> {
                Ok(match self.get($key)? {
                    Some($pattern) => Some($value),
                    _ => None,
                })
            }
        )*
    };
}

impl<'s, S: Store> Working<'s, S> {
    /// Starts a batch at `now`, or at the time of the last commit if the clock went back since.
    ///
    /// # Errors
    /// The store failed.
    pub fn new(store: &'s mut S, now: Wall) -> Result<Self, StoreFault> {
        store.begin()?;
        let heads = store.heads();
        Ok(Self {
            now: now.max(heads.at),
            next_transfer: heads.transfer,
            next_transaction: heads.transaction,
            next_alert: heads.alert,
            store,
            staged: Map::default(),
            undo: Vec::new(),
        })
    }

    /// The time of this batch: never before that of the one before.
    #[must_use]
    pub const fn now(&self) -> Wall {
        self.now
    }

    /// The store below, for scans of what was committed before.
    pub const fn store(&mut self) -> &mut S {
        self.store
    }

    fn get(&mut self, key: Key) -> Result<Option<Record>, StoreFault> {
        match self.staged.get(&key) {
            Some(record) => Ok(Some(record.clone())),
            None => self.store.get(&key),
        }
    }

    /// Creates or replaces a record.
    pub fn put(&mut self, record: Record) {
        let key = record.key();
        let before = match self.staged.entry(key) {
            Entry::Occupied(mut slot) => Some(slot.insert(record)),
            Entry::Vacant(slot) => {
                slot.insert(record);
                None
            }
        };
        self.undo.push((key, before));
    }

    /// The number that the next new transaction gets; takes it.
    pub const fn take_transaction(&mut self) -> TransactionSeq {
        let seq = self.next_transaction;
        self.next_transaction = TransactionSeq(seq.0.saturating_add(1));
        seq
    }

    /// The number that the next new transaction gets.
    #[must_use]
    pub const fn next_transaction(&self) -> TransactionSeq {
        self.next_transaction
    }

    /// Raises an alert.
    pub fn alert(&mut self, alert: Alert) {
        let number = self.next_alert;
        self.next_alert = AlertNo(number.0.saturating_add(1));
        self.put(Record::Alert(number, alert));
    }

    getters! {
        /// A transaction by number.
        transaction(seq: TransactionSeq) -> Transaction = Key::Transaction(seq), Record::Transaction(it) => *it;
        /// The number of the transaction with this identity.
        by_identity(identity: Identity) -> TransactionSeq = Key::Identity(identity), Record::Identity(_, seq) => seq;
        /// A terminal's batch.
        batch(terminal: TerminalId, number: BatchNo) -> BatchRecord = Key::Batch(terminal, number), Record::Batch(it) => *it;
        /// An issuer.
        issuer(id: IssuerId) -> Issuer = Key::Issuer(id), Record::Issuer(it) => it;
        /// A merchant.
        merchant(id: MerchantId) -> Merchant = Key::Merchant(id), Record::Merchant(it) => it;
        /// A terminal.
        terminal(id: TerminalId) -> Terminal = Key::Terminal(id), Record::Terminal(it) => it;
        /// A SAM.
        sam(number: SamTerminal) -> Sam = Key::Sam(number), Record::Sam(it) => it;
        /// The account a token draws on.
        payer(token: PayerToken) -> AccountId = Key::Payer(token), Record::Payer(_, account) => account;
        /// The transfer of an arrival of money.
        arrival(reference: u64) -> TransferSeq = Key::Arrival(reference), Record::Arrival(_, seq) => seq;
        /// A card.
        card(id: CardId) -> Card = Key::Card(id), Record::Card(it) => it;
        /// The newest load of a card at this counter.
        load(card: CardId, counter: OnlineCounter) -> Load = Key::Load(card, counter), Record::Load(it) => it;
        /// An offline record.
        record(sam: SamTerminal, seq: TermSeq) -> OfflineRecord = Key::Record(sam, seq), Record::Record(it) => *it;
        /// The record that a card's counter belongs to.
        claim(card: CardId, counter: OfflineCounter) -> (SamTerminal, TermSeq) = Key::Claim(card, counter), Record::Claim(_, _, sam, seq) => (sam, seq);
        /// What somebody may spend or take in.
        limit(scope: LimitScope) -> Limit = Key::Limit(scope), Record::Limit(it) => it;
        /// What was used of a day.
        usage(of: UsageOf) -> Usage = Key::Usage(of), Record::Usage(it) => it;
        /// How a merchant's day is shared.
        shares(merchant: MerchantId) -> Shares = Key::Shares(merchant), Record::Shares(it) => *it;
        /// The record that was paid by policy on a card's counter.
        resolution(card: CardId, counter: OfflineCounter) -> (SamTerminal, TermSeq) = Key::Resolution(card, counter), Record::Resolution(_, _, sam, seq) => (sam, seq);
        /// A transfer.
        transfer(seq: TransferSeq) -> Transfer = Key::Transfer(seq), Record::Transfer(it) => it;
    }

    /// The numbers given out so far.
    ///
    /// # Errors
    /// The store failed.
    pub fn registry(&mut self) -> Result<Registry, StoreFault> {
        Ok(match self.get(Key::Registry)? {
            Some(Record::Registry(registry)) => registry,
            _ => Registry::default(),
        })
    }

    /// The items uploaded for a batch, those of this working set included, by key.
    ///
    /// # Errors
    /// The store failed.
    pub fn uploads(&mut self, terminal: TerminalId, number: BatchNo) -> Result<Vec<UploadItem>, StoreFault> {
        let mut items = std::collections::BTreeMap::new();
        self.store.scan(super::Scan::Uploads(terminal, number), &mut |record| {
            if let Record::Upload(_, _, item) = record {
                items.insert(item.key, item);
            }
            ControlFlow::Continue(())
        })?;
        for record in self.staged.values() {
            if let Record::Upload(of, batch, item) = record
                && (*of, *batch) == (terminal, number)
            {
                items.insert(item.key, *item);
            }
        }
        Ok(items.into_values().collect())
    }

    /// The offline records that this working set changes, in no order.
    pub fn staged_records(&self) -> impl Iterator<Item = &OfflineRecord> {
        self.staged.values().filter_map(|record| match record {
            Record::Record(record) => Some(record.as_ref()),
            _ => None,
        })
    }

    /// The transactions of a batch as they stand, those of this working set included, ascending.
    ///
    /// # Errors
    /// The store failed.
    pub fn of_batch(
        &mut self,
        terminal: TerminalId,
        number: BatchNo,
    ) -> Result<Vec<Transaction>, StoreFault> {
        let mut found = std::collections::BTreeMap::new();
        self.store.scan(super::Scan::OfBatch(terminal, number), &mut |record| {
            if let Record::Transaction(it) = record {
                found.insert(it.seq, *it);
            }
            ControlFlow::Continue(())
        })?;
        for record in self.staged.values() {
            if let Record::Transaction(it) = record
                && (it.identity.terminal, it.identity.batch) == (terminal, number)
            {
                found.insert(it.seq, it.as_ref().clone());
            }
        }
        Ok(found.into_values().collect())
    }

    /// Whether nothing was changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// The store failed, or another writer was first: nothing was kept.
    pub fn commit(mut self) -> Result<(), StoreFault> {
        let Some(batch) = self.take_changes() else { return self.store.confirm() };
        let outcomes = self.store.commit(&batch)?;
        if outcomes.contains(&Outcome::Conflict) { Err(StoreFault::Conflict) } else { Ok(()) }
    }

    /// What is to be made durable, if anything was changed.
    #[must_use]
    pub fn into_changes(mut self) -> Option<Batch> {
        self.take_changes()
    }

    fn take_changes(&mut self) -> Option<Batch> {
        if self.staged.is_empty() {
            return None;
        }
        let mut changes = Vec::with_capacity(self.staged.len());
        for (key, before) in &self.undo {
            if before.is_none()
                && let Some(record) = self.staged.remove(key)
            {
                changes.push(record);
            }
        }
        Some(Batch { at: self.now, changes })
    }
}

impl<S: Store> Books for Working<'_, S> {
    type Mark = Mark;

    fn account(&mut self, id: AccountId) -> Result<Option<Account>, StoreFault> {
        Ok(match self.get(Key::Account(id))? {
            Some(Record::Account(account)) => Some(account),
            _ => None,
        })
    }

    fn put_account(&mut self, account: Account) {
        self.put(Record::Account(account));
    }

    fn hold(&mut self, seq: TransferSeq) -> Result<Option<Hold>, StoreFault> {
        Ok(match self.get(Key::Hold(seq))? {
            Some(Record::Hold(hold)) => Some(hold),
            _ => None,
        })
    }

    fn put_hold(&mut self, hold: Hold) {
        self.put(Record::Hold(hold));
    }

    fn due_holds(&mut self, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault> {
        let mut due = self.store.due_holds(now, limit)?;
        due.retain(|hold| match self.staged.get(&Key::Hold(hold.seq)) {
            Some(Record::Hold(staged)) => staged.state == HoldState::Open,
            _ => true,
        });
        Ok(due)
    }

    fn next_transfer(&self) -> TransferSeq {
        self.next_transfer
    }

    fn append(&mut self, transfer: Transfer) {
        self.next_transfer = TransferSeq(transfer.seq.0.saturating_add(1));
        self.put(Record::Transfer(transfer));
    }

    fn mark(&self) -> Mark {
        Mark {
            changes: self.undo.len(),
            next_transfer: self.next_transfer,
            next_transaction: self.next_transaction,
            next_alert: self.next_alert,
        }
    }

    fn rollback(&mut self, mark: Mark) {
        while self.undo.len() > mark.changes {
            match self.undo.pop() {
                Some((key, Some(before))) => {
                    self.staged.insert(key, before);
                }
                Some((key, None)) => {
                    self.staged.remove(&key);
                }
                None => break,
            }
        }
        self.next_transfer = mark.next_transfer;
        self.next_transaction = mark.next_transaction;
        self.next_alert = mark.next_alert;
    }
}
