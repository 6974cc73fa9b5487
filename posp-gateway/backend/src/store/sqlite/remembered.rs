//! Records that were read or written lately, in two generations: when the young one is full it becomes the old one, and what was not asked
//! for during a whole generation is forgotten. So memory is bounded, and there is no moment at which everything is read anew.

use crate::map::Map;
use crate::store::{Key, Record};

/// A bounded memory of records.
#[derive(Debug)]
pub(super) struct Remembered {
    young: Map<Key, Record>,
    old: Map<Key, Record>,
    /// Most records of one generation.
    generation_max: usize,
}

impl Remembered {
    pub(super) fn new(generation_max: usize) -> Self {
        Self { young: Map::default(), old: Map::default(), generation_max }
    }

    /// The record, which is young again.
    pub(super) fn get(&mut self, key: &Key) -> Option<&Record> {
        if !self.old.is_empty()
            && let Some(record) = self.old.remove(key)
        {
            self.insert(*key, record);
        }
        self.young.get(key)
    }

    /// Remembers a record instead of the one before it.
    pub(super) fn insert(&mut self, key: Key, record: Record) {
        if self.young.len() >= self.generation_max && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        } else {
            self.old.remove(&key);
        }
        self.young.insert(key, record);
    }

    /// Forgets a record.
    pub(super) fn remove(&mut self, key: &Key) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::AccountId;
    use crate::api::PayerToken;

    fn key(n: u8) -> Key {
        Key::Payer(PayerToken([n; 16]))
    }

    fn record(n: u8, account: u128) -> Record {
        Record::Payer(PayerToken([n; 16]), AccountId(account))
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_forgotten_in_bounds() {
        let mut memory = Remembered::new(4);
        for n in 0..20 {
            memory.insert(key(n), record(n, 1));
            assert!(memory.get(&key(0)).is_some(), "asked for all the time");
            assert!(memory.young.len() <= 4 && memory.old.len() <= 4);
        }
        assert!(memory.get(&key(1)).is_none());
    }

    #[test]
    fn a_newer_record_never_gives_way_to_an_older_one() {
        let mut memory = Remembered::new(2);
        memory.insert(key(1), record(1, 1));
        memory.insert(key(2), record(2, 1));
        memory.insert(key(3), record(3, 1));
        memory.insert(key(1), record(1, 2));
        for _ in 0..2 {
            assert_eq!(memory.get(&key(1)), Some(&record(1, 2)));
        }
        memory.remove(&key(1));
        assert_eq!(memory.get(&key(1)), None);
    }
}
