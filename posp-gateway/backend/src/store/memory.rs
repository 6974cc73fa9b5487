//! A store in memory: for tests and simulation. Cloning it is a picture of the disk at that moment. [`shared`] is one that several gateways
//! work on at once.

pub mod shared;

use super::{
    AlertNo, Batch, CommitNo, DenyVersion, Heads, Key, Link, Linked, Outcome, Record, Scan, Store,
    StoreFault, Visit,
};
use crate::accounts::{Hold, HoldState, TransactionSeq, TransferSeq};
use protocol::time::Wall;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Records by key, in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    records: BTreeMap<Key, Record>,
    heads: Heads,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn put(&mut self, record: Record) -> Option<Record> {
        self.records.insert(record.key(), record)
    }

    /// Replaces a record behind the rules' back, as a tamperer would. For tests of the audit.
    pub fn tamper(&mut self, record: Record) {
        self.put(record);
    }

    /// Removes a record behind the rules' back. For tests of the audit.
    pub fn tamper_remove(&mut self, key: &Key) {
        self.records.remove(key);
    }
}

impl Store for MemoryStore {
    fn heads(&self) -> Heads {
        self.heads
    }

    fn get(&mut self, key: &Key) -> Result<Option<Record>, StoreFault> {
        Ok(self.records.get(key).cloned())
    }

    fn due_holds(&mut self, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault> {
        let holds = Key::Hold(TransferSeq(0))..=Key::Hold(TransferSeq(u64::MAX));
        let mut due: Vec<Hold> = self
            .records
            .range(holds)
            .filter_map(|(_, record)| match record {
                Record::Hold(hold) => Some(*hold),
                _ => None,
            })
            .filter(|hold| hold.state == HoldState::Open && hold.expires.is_some_and(|end| end <= now))
            .collect();
        due.sort_by_key(|hold| (hold.expires, hold.seq));
        due.truncate(limit);
        Ok(due)
    }

    fn scan(&mut self, scan: Scan, visit: Visit<'_>) -> Result<(), StoreFault> {
        if let Scan::After(kind, key) = scan {
            let from = key.map_or(Bound::Unbounded, Bound::Excluded);
            let after = self.records.range((from, Bound::Unbounded)).map(|(_, record)| record);
            for record in after.filter(|record| record.kind() == Some(kind)) {
                if visit(record.clone()).is_break() {
                    break;
                }
            }
            return Ok(());
        }
        let wanted = |record: &&Record| match (scan, *record) {
            (Scan::Transfers(from), Record::Transfer(it)) => it.seq >= from,
            (Scan::Transactions(from, to), Record::Transaction(it)) => it.seq >= from && it.seq <= to,
            (Scan::OfBatch(terminal, number), Record::Transaction(it)) => {
                (terminal, number) == (it.identity.terminal, it.identity.batch)
            }
            (Scan::Links(from), Record::Link(it)) => it.number >= from,
            (Scan::Uploads(terminal, number), Record::Upload(of, batch, _)) => {
                (terminal, number) == (*of, *batch)
            }
            (Scan::OpenRecords, Record::Record(it)) => it.standing.is_open(),
            (Scan::DenyList(after), Record::Card(it)) => it.deny_version > after,
            (Scan::Gaps(before), Record::Card(it)) => it.gap_since.is_some_and(|since| since < before),
            (Scan::Accounts, Record::Account(_))
            | (Scan::Holds, Record::Hold(_))
            | (Scan::Issuers, Record::Issuer(_))
            | (Scan::Cards, Record::Card(_))
            | (Scan::Records, Record::Record(_))
            | (Scan::Claims, Record::Claim(..))
            | (Scan::Loads, Record::Load(_))
            | (Scan::Alerts, Record::Alert(..)) => true,
            _ => false,
        };
        let transactions =
            |from, to| (Bound::Included(Key::Transaction(from)), Bound::Included(Key::Transaction(to)));
        let last = u64::MAX;
        // Where the kind's keys are numbers, nothing else is looked at.
        let range = match scan {
            Scan::Transactions(from, to) if from > to => return Ok(()),
            Scan::Transactions(from, to) => transactions(from, to),
            Scan::OfBatch(..) => transactions(TransactionSeq(0), TransactionSeq(last)),
            Scan::Transfers(from) => {
                (Bound::Included(Key::Transfer(from)), Bound::Included(Key::Transfer(TransferSeq(last))))
            }
            Scan::Links(from) => {
                (Bound::Included(Key::Link(from)), Bound::Included(Key::Link(CommitNo(last))))
            }
            _ => (Bound::Unbounded, Bound::Unbounded),
        };
        let records = self.records.range(range).map(|(_, record)| record);
        let mut found: Vec<Record> = records.filter(wanted).cloned().collect();
        match scan {
            // Numbers of several gateways do not ascend in time.
            Scan::Alerts => found.sort_by_key(|record| match record {
                Record::Alert(number, alert) => std::cmp::Reverse((alert.at, *number)),
                _ => std::cmp::Reverse((Wall(i64::MIN), AlertNo::default())),
            }),
            Scan::DenyList(_) => found.sort_by_key(|record| match record {
                Record::Card(it) => it.deny_version,
                _ => DenyVersion::default(),
            }),
            Scan::Gaps(_) => found.sort_by_key(|record| match record {
                Record::Card(it) => it.gap_since,
                _ => None,
            }),
            _ => {}
        }
        for record in found {
            if visit(record).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: &Batch) -> Result<Vec<Outcome>, StoreFault> {
        let (link, heads) = Link::of(batch, &self.heads);
        for change in &batch.changes {
            self.records.insert(change.key(), change.clone());
        }
        self.records.insert(Key::Link(link.number), Record::Link(link));
        self.heads = heads;
        Ok(vec![Outcome::Applied; batch.changes.len()])
    }

    fn skip_to(&mut self, at: Wall, next: TransactionSeq) -> Result<(), StoreFault> {
        let (link, heads) = Link::skipping(at, next, &self.heads);
        self.records.insert(Key::Link(link.number), Record::Link(link));
        self.heads = heads;
        Ok(())
    }

    fn import(&mut self, records: &[Record]) -> Result<(), StoreFault> {
        self.records.extend(records.iter().map(|record| (record.key(), record.clone())));
        Ok(())
    }

    fn import_done(&mut self) -> Result<(), StoreFault> {
        let mut identities = Vec::new();
        for record in self.records.values() {
            match record {
                Record::Transaction(it) => {
                    identities.push(Record::Identity(it.identity, it.seq));
                    self.heads.transaction = TransactionSeq(it.seq.0.saturating_add(1));
                }
                Record::Transfer(it) => self.heads.transfer = TransferSeq(it.seq.0.saturating_add(1)),
                Record::Alert(number, _) => self.heads.alert = AlertNo(number.0.saturating_add(1)),
                Record::Link(link) => {
                    self.heads.link = Some(Linked { number: link.number, hash: link.hash });
                    self.heads.at = link.at;
                }
                _ => {}
            }
        }
        self.records.extend(identities.into_iter().map(|record| (record.key(), record)));
        Ok(())
    }
}
