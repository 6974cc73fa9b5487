//! Reading a kind of record piece by piece, and remembering little of each: what lets an audit go through a ledger of any size.

use crate::accounts::{HoldState, TransferSeq};
use crate::store::{Key, Kind, Record, Scan, Store, StoreFault};
use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;

/// Records read at once.
const PAGE: usize = 2_048;
/// Holds on one page of states.
const STATES: u64 = 16_384;

/// A place in the records of one kind, in the order of their keys.
pub(super) struct Pages {
    kind: Kind,
    /// What will be asked for about each record, if anything: it is read with the page, not row by row.
    needs: fn(&Record) -> Option<Key>,
    page: VecDeque<Record>,
    last: Option<Key>,
    ended: bool,
}

impl Pages {
    pub(super) const fn of(kind: Kind) -> Self {
        Self::with(kind, |_| None)
    }

    /// The same, with what each of them needs.
    pub(super) const fn with(kind: Kind, needs: fn(&Record) -> Option<Key>) -> Self {
        Self { kind, needs, page: VecDeque::new(), last: None, ended: false }
    }

    fn fill<S: Store>(&mut self, store: &mut S) -> Result<(), StoreFault> {
        if !self.page.is_empty() || self.ended {
            return Ok(());
        }
        let page = &mut self.page;
        store.scan(Scan::After(self.kind, self.last), &mut |record| {
            page.push_back(record);
            if page.len() >= PAGE { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        self.ended = self.page.len() < PAGE;
        self.last = self.page.back().map(Record::key).or(self.last);
        let keys: Vec<Key> = self.page.iter().filter_map(self.needs).collect();
        if keys.is_empty() { Ok(()) } else { store.prefetch(&keys, None) }
    }

    /// The next record, which stays the next.
    pub(super) fn peek<S: Store>(&mut self, store: &mut S) -> Result<Option<&Record>, StoreFault> {
        self.fill(store)?;
        Ok(self.page.front())
    }

    /// The next record, if it is wanted.
    pub(super) fn next_if<S: Store>(
        &mut self,
        store: &mut S,
        wanted: impl FnOnce(&Record) -> bool,
    ) -> Result<Option<Record>, StoreFault> {
        Ok(match self.peek(store)? {
            Some(record) if wanted(record) => self.page.pop_front(),
            _ => None,
        })
    }

    /// The next record.
    pub(super) fn next<S: Store>(&mut self, store: &mut S) -> Result<Option<Record>, StoreFault> {
        self.next_if(store, |_| true)
    }
}

/// What became of holds, in two bits for each number that is near one that was resolved.
#[derive(Default)]
pub(super) struct Resolved {
    pages: HashMap<u64, Box<[u8]>>,
}

impl Resolved {
    /// Page, byte on it, and place in the byte.
    const fn place(of: TransferSeq) -> (u64, usize, u32) {
        let on_page = of.0 % STATES;
        let shift = match on_page % 4 {
            0 => 0,
            1 => 2,
            2 => 4,
            _ => 6,
        };
        // Below STATES / 4.
        (of.0 / STATES, (on_page / 4) as usize, shift)
    }

    pub(super) fn set(&mut self, of: TransferSeq, state: HoldState) {
        let (page, byte, shift) = Self::place(of);
        let bits = match state {
            HoldState::Open => 0u8,
            HoldState::Posted => 1,
            HoldState::Voided => 2,
            HoldState::Expired => 3,
        };
        let page = self.pages.entry(page).or_insert_with(|| vec![0; STATES as usize / 4].into_boxed_slice());
        if let Some(cell) = page.get_mut(byte) {
            *cell = *cell & !(3u8.wrapping_shl(shift)) | bits.wrapping_shl(shift);
        }
    }

    /// Every number in this state, but not [`HoldState::Open`], which is that of every number that was never set.
    pub(super) fn all(&self, state: HoldState) -> impl Iterator<Item = TransferSeq> + '_ {
        let mut pages: Vec<u64> = self.pages.keys().copied().collect();
        pages.sort_unstable();
        let numbers = pages.into_iter().flat_map(|page| {
            let first = page.saturating_mul(STATES);
            (first..first.saturating_add(STATES)).map(TransferSeq)
        });
        numbers.filter(move |number| self.get(*number) == state)
    }

    pub(super) fn get(&self, of: TransferSeq) -> HoldState {
        let (page, byte, shift) = Self::place(of);
        let cell = self.pages.get(&page).and_then(|page| page.get(byte)).copied().unwrap_or(0);
        match cell.wrapping_shr(shift) & 3 {
            1 => HoldState::Posted,
            2 => HoldState::Voided,
            3 => HoldState::Expired,
            _ => HoldState::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_kept_apart_in_two_bits_each() {
        let mut resolved = Resolved::default();
        let states = [HoldState::Posted, HoldState::Voided, HoldState::Expired, HoldState::Open];
        let numbers = [0u64, 1, 2, 3, 5, STATES - 1, STATES, STATES * 7 + 3, (1 << 48) | 1];
        for (n, number) in numbers.iter().enumerate() {
            resolved.set(TransferSeq(*number), HoldState::Expired);
            resolved.set(TransferSeq(*number), states[n % 4]);
        }
        for (n, number) in numbers.iter().enumerate() {
            assert_eq!(resolved.get(TransferSeq(*number)), states[n % 4], "{number}");
        }
        assert_eq!(resolved.get(TransferSeq(4)), HoldState::Open);
        let voided: Vec<_> = resolved.all(HoldState::Voided).collect();
        assert_eq!(voided, [1, STATES - 1].map(TransferSeq));
    }
}
