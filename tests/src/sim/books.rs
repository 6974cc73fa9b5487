//! The backend's books as they lie on its disk, read row by row: what the checker holds against cards, journals and answers. No sum in
//! here is the backend's own; balances are added up from transfers.

use backend::accounts::chart::Book;
use backend::accounts::{AccountId, Hold, HoldState, TransactionSeq, Transfer, TransferKind};
use backend::api::{Alert, ItemKey};
use backend::store::{
    BatchRecord, Card, Issuer, Key, Load, Merchant, OfflineRecord, Record, Scan, Store, Transaction,
};
use flow::record::CardId;
use protocol::ids::{BatchNo, IssuerId, MerchantId, SamTerminal, TermSeq, TerminalId};
use protocol::money::Currency;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// All rows that matter.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// In order.
    pub transfers: Vec<Transfer>,
    /// By number.
    pub transactions: BTreeMap<TransactionSeq, Transaction>,
    /// By SAM and number.
    pub records: BTreeMap<(SamTerminal, TermSeq), OfflineRecord>,
    /// All that were consented and not overwritten.
    pub loads: Vec<Load>,
    /// States of holds.
    pub holds: Vec<Hold>,
    /// By terminal and number.
    pub batches: BTreeMap<(TerminalId, BatchNo), BatchRecord>,
    /// What is believed about each card.
    pub cards: Vec<Card>,
    /// By id.
    pub issuers: BTreeMap<IssuerId, Issuer>,
    /// By field 42.
    pub merchants: BTreeMap<MerchantId, Merchant>,
    /// Oldest first.
    pub alerts: Vec<Alert>,
}

impl Books {
    /// Reads them. `merchants` are the ones to look for.
    ///
    /// # Panics
    /// A store in memory does not read.
    #[must_use]
    pub fn read<S: Store>(store: &mut S, merchants: &[MerchantId]) -> Self {
        let mut books = Self::default();
        for scan in [
            Scan::TRANSFERS,
            Scan::TRANSACTIONS,
            Scan::Records,
            Scan::Loads,
            Scan::Holds,
            Scan::Issuers,
            Scan::Cards,
            Scan::Alerts,
        ] {
            let mut take = |record| {
                books.take(record);
                ControlFlow::Continue(())
            };
            store.scan(scan, &mut take).expect("a store in memory reads");
        }
        books.alerts.reverse();
        for id in merchants {
            if let Ok(Some(Record::Merchant(merchant))) = store.get(&Key::Merchant(*id)) {
                books.merchants.insert(*id, merchant);
            }
        }
        let numbers: Vec<_> = books.transactions.values().map(|row| row.identity).collect();
        for identity in numbers {
            let key = (identity.terminal, identity.batch);
            if !books.batches.contains_key(&key)
                && let Ok(Some(Record::Batch(batch))) = store.get(&Key::Batch(key.0, key.1))
            {
                books.batches.insert(key, *batch);
            }
        }
        books
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Transfer(transfer) => self.transfers.push(transfer),
            Record::Transaction(row) => drop(self.transactions.insert(row.seq, *row)),
            Record::Record(record) => {
                let key = (record.content.terminal, record.content.term_seq);
                self.records.insert(key, *record);
            }
            Record::Load(load) => self.loads.push(load),
            Record::Hold(hold) => self.holds.push(hold),
            Record::Card(card) => self.cards.push(card),
            Record::Issuer(issuer) => drop(self.issuers.insert(issuer.id, issuer)),
            Record::Alert(_, alert) => self.alerts.push(alert),
            _ => {}
        }
    }

    /// What is believed about this card.
    #[must_use]
    pub fn card(&self, id: CardId) -> Option<&Card> {
        self.cards.iter().find(|card| (card.id.issuer, card.id.asn) == (id.issuer, id.asn))
    }

    /// What was posted to an account less what was posted from it, from the transfers.
    #[must_use]
    pub fn net(&self, book: Book, currency: Currency) -> i128 {
        let account = book.id(currency);
        self.posted().map(|transfer| moved(transfer, account)).sum()
    }

    /// The transfers that moved money.
    pub fn posted(&self) -> impl Iterator<Item = &Transfer> {
        let moves = |kind| matches!(kind, TransferKind::Posted | TransferKind::Post { .. });
        self.transfers.iter().filter(move |transfer| moves(transfer.kind))
    }

    /// Holds that are neither posted nor released, by the transfers alone.
    #[must_use]
    pub fn open_holds(&self) -> Vec<&Transfer> {
        let resolved = |hold: &Transfer| {
            self.transfers.iter().any(|transfer| match transfer.kind {
                TransferKind::Post { of } | TransferKind::Void { of } | TransferKind::Expire { of } => {
                    of == hold.seq
                }
                _ => false,
            })
        };
        let pending = |kind| matches!(kind, TransferKind::Pending { .. });
        self.transfers.iter().filter(|hold| pending(hold.kind) && !resolved(hold)).collect()
    }

    /// Whether the state of every hold is what the transfers make of it.
    #[must_use]
    pub fn holds_agree(&self) -> bool {
        let open = self.holds.iter().filter(|hold| hold.state == HoldState::Open).count();
        open == self.open_holds().len()
    }

    /// The records that a batch's messages booked, and its loads that stand, as sums over rows.
    #[must_use]
    pub fn items_of(&self, terminal: TerminalId, batch: BatchNo) -> BTreeMap<ItemKey, u64> {
        let of_batch = |row: &&Transaction| (row.identity.terminal, row.identity.batch) == (terminal, batch);
        let mut items = BTreeMap::new();
        for row in self.transactions.values().filter(of_batch) {
            for record in self.records.values().filter(|record| record.transaction == row.seq) {
                if record.transfer.is_some() {
                    let key = ItemKey::Record(record.content.terminal, record.content.term_seq);
                    items.insert(key, u64::from(record.content.amount.0));
                }
            }
        }
        items
    }
}

fn moved(transfer: &Transfer, account: AccountId) -> i128 {
    let minor = i128::from(transfer.amount.minor());
    i128::from(transfer.credit == account) * minor - i128::from(transfer.debit == account) * minor
}
