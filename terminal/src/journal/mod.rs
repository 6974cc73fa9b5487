//! The terminal's journal: what it intends before it does it, and what became of it (ARCHITECTURE.md, invariants 2 and 5).
//!
//! [`Journal::commit`] is the seam: a batch is durable when it returns, or nothing of it is there. Entries are kept as
//! `flow` writes them and never change; beside them stands one row for each payment and load, which recovery and search use.
//! What waits for the host is folded from the entries when the journal is opened, and follows each commit.

mod load;
mod payment;
mod search;
mod store;

pub use load::{Load, LoadStanding};
pub use payment::{Payment, State};
pub use search::{HISTORY_MAX, Search, Sums};
pub use store::FREE_BYTES_MIN;
pub(crate) use store::free_bytes;

use flow::outbox::Outbox;
use flow::record::{CardId, DebitIntent, ENTRY_BYTES_MAX, JournalEntry, LoadIntent, RecordId};
use protocol::ids::{BatchNo, SamTerminal};
use protocol::iso8583::f58::{BatchItem, ItemName, ItemSide};
use protocol::time::Wall;
use std::io;
use std::path::Path;
use store::{Entry, Store};

/// The journal's name in the data folder.
pub const FILE_NAME: &str = "journal.db";

/// Entries that become durable together, with the time of writing.
#[derive(Clone, Debug)]
pub struct Batch {
    /// When.
    pub wall: Wall,
    /// What, in order.
    pub entries: Vec<JournalEntry>,
}

impl Batch {
    /// A batch of one.
    #[must_use]
    pub fn of(entry: JournalEntry, wall: Wall) -> Self {
        Self { wall, entries: vec![entry] }
    }
}

/// What a look through the whole journal found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Entries, all intact.
    pub entries: u64,
    /// Payments.
    pub payments: u64,
    /// Interrupted ones that wait for their card.
    pub open: u64,
    /// Loads.
    pub loads: u64,
}

/// An open journal. One process has it open at a time.
#[derive(Debug)]
pub struct Journal {
    store: Store,
    outbox: Outbox,
}

impl Journal {
    /// Creates an empty journal, or opens the one that is there.
    ///
    /// # Errors
    /// Another file in its place, one that is open elsewhere, or a disk that refuses.
    pub fn create(path: &Path) -> Result<Self, StoreFault> {
        Self::over(Store::create(path)?)
    }

    /// Opens the journal that must be there: a terminal that lost its journal must not sell as if nothing had been.
    ///
    /// # Errors
    /// None there, one that is open elsewhere, foreign, newer, damaged, or a disk that refuses.
    pub fn open(path: &Path) -> Result<Self, StoreFault> {
        Self::over(Store::open(path)?)
    }

    fn over(store: Store) -> Result<Self, StoreFault> {
        let mut outbox = Outbox::default();
        store.each(|id, body| {
            outbox.apply(id, &decode(body)?);
            Ok(())
        })?;
        Ok(Self { store, outbox })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.store.path()
    }

    /// Makes a batch durable; the numbers are those of its entries, in order.
    ///
    /// # Errors
    /// Nothing of it is stored. A new intent is refused while there is not room for what it will need until it is
    /// resolved, or while another debit of its card is open.
    pub fn commit(&mut self, batch: &Batch) -> Result<Vec<RecordId>, StoreFault> {
        let begins = |entry: &JournalEntry| matches!(entry, JournalEntry::Intent(_) | JournalEntry::Load(_));
        let begins = batch.entries.iter().any(begins);
        if begins && self.store.free_bytes()? < FREE_BYTES_MIN {
            return Err(StoreFault::Full);
        }
        let entries =
            batch.entries.iter().map(|entry| encode(entry, batch.wall)).collect::<Result<Vec<_>, _>>()?;
        let mut records = batch.entries.iter();
        let ids = self.store.append(&entries, |transaction, entry, id| match records.next() {
            Some(record) => {
                payment::project(transaction, record, id, entry.wall)?;
                load::project(transaction, record, id)
            }
            None => Ok(()),
        })?;
        for (id, entry) in ids.iter().zip(&batch.entries) {
            self.outbox.apply(*id, entry);
        }
        Ok(ids)
    }

    /// What waits for the host.
    #[must_use]
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The same, for the errand that sends it.
    pub(crate) const fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// A load of this card whose CREDIT was sent and not answered.
    #[must_use]
    pub fn open_load(&self, card: &CardId) -> Option<(RecordId, LoadIntent)> {
        self.outbox.open_load(card)
    }

    /// The load with this number.
    ///
    /// # Errors
    /// The disk cannot be read, or its row is damaged.
    pub fn load(&self, id: RecordId) -> Result<Option<Load>, StoreFault> {
        load::by_id(self.store.db(), id)
    }

    /// The newest loads, at most `limit`, of days (`YYYY-MM-DD`) between `from` and `to`.
    ///
    /// # Errors
    /// The disk cannot be read, or a row is damaged.
    pub fn loads(&self, from: Option<&str>, to: Option<&str>, limit: u32) -> Result<Vec<Load>, StoreFault> {
        load::newest(self.store.db(), from, to, limit)
    }

    /// The intent of the load with this number.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn load_intent(&self, id: RecordId) -> Result<LoadIntent, StoreFault> {
        match decode(&self.store.body(id)?)? {
            JournalEntry::Load(intent) => Ok(intent),
            _ => Err(StoreFault::Damaged(format!("entry {} is no load", id.0))),
        }
    }

    /// What counts in this batch: payments that the host booked, and loads that it consented to and that were not reversed.
    ///
    /// # Errors
    /// The disk cannot be read, or a row is damaged.
    pub fn counted_in(&self, batch: BatchNo) -> Result<Vec<BatchItem>, StoreFault> {
        let booked = payment::booked_in(self.store.db(), batch)?.into_iter().map(|payment| BatchItem {
            side: ItemSide::Debit,
            name: ItemName::Record(payment.terminal, payment.term_seq),
            minor: payment.amount.minor(),
        });
        let loaded = load::counted_in(self.store.db(), batch)?.into_iter().map(|load| BatchItem {
            side: ItemSide::Load,
            name: ItemName::Trace(load.trace),
            minor: load.amount.minor(),
        });
        Ok(booked.chain(loaded).collect())
    }

    /// The debit of this card that was interrupted and not resolved.
    ///
    /// # Errors
    /// The disk cannot be read, or an entry is damaged.
    pub fn open_debit(&self, card: &CardId) -> Result<Option<(RecordId, DebitIntent)>, StoreFault> {
        let id = payment::open_of(self.store.db(), card)?;
        id.map(|id| Ok((id, self.intent(id)?))).transpose()
    }

    /// Whether a debit of this card ended with a wrong MAC2 between these two moments, neither included. Both matter: a clock that was
    /// ahead when it happened must not keep the card out until then.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn gave_wrong_proof(&self, card: &CardId, between: (Wall, Wall)) -> Result<bool, StoreFault> {
        payment::wrong_proof_between(self.store.db(), card, between)
    }

    /// Whether a payment of another card of this card's issuer was taken and proven to the SAM with this number.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn sam_has_agreed(&self, sam: SamTerminal, card: &CardId) -> Result<bool, StoreFault> {
        payment::proven_to(self.store.db(), sam, card)
    }

    /// The intent stored under this number.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn intent(&self, id: RecordId) -> Result<DebitIntent, StoreFault> {
        match decode(&self.store.body(id)?)? {
            JournalEntry::Intent(intent) => Ok(intent),
            _ => Err(StoreFault::Damaged(format!("entry {} is no intent", id.0))),
        }
    }

    /// Reads the whole journal, checks every entry, and compares the payments with what the entries amount to.
    ///
    /// # Errors
    /// The first damage found.
    pub fn verify(&self) -> Result<Inventory, StoreFault> {
        let mut payments = payment::Ledger::default();
        let mut loads = load::Loads::default();
        let entries = self.store.verify(|id, entry| {
            let record = decode(&entry.body)?;
            payments.apply(id, &record, entry.wall)?;
            loads.apply(id, &record)
        })?;
        payments.compare(self.store.db())?;
        loads.compare(self.store.db())?;
        Ok(Inventory { entries, payments: payments.len(), open: payments.open(), loads: loads.len() })
    }
}

fn encode(entry: &JournalEntry, wall: Wall) -> Result<Entry, StoreFault> {
    let mut body = [0; ENTRY_BYTES_MAX];
    let length = entry.encode(&mut body).map_err(|error| StoreFault::Damaged(error.to_string()))?;
    Ok(Entry { wall, body: body.get(..length).unwrap_or_default().to_vec() })
}

fn decode(body: &[u8]) -> Result<JournalEntry, StoreFault> {
    JournalEntry::decode(body).map_err(|error| StoreFault::Damaged(error.to_string()))
}

/// Why the journal cannot be used. None of these loses what was stored before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The disk or the file may not be written.
    #[error("the disk or the file is read-only")]
    ReadOnly,
    /// Another process has it open.
    #[error("another process has the journal open")]
    InUse,
    /// There is none.
    #[error("there is no journal")]
    Missing,
    /// The file is not a journal.
    #[error("the file is not a journal of this program")]
    Foreign,
    /// A newer program wrote it.
    #[error("the journal has version {found}, this program knows up to {known}")]
    Newer {
        /// The file's version.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// Its content is not what was written.
    #[error("the journal is damaged: {0}")]
    Damaged(String),
    /// The disk failed otherwise.
    #[error("the disk failed: {0}")]
    Disk(String),
}

impl StoreFault {
    /// What a failure of the file system means for the journal.
    #[must_use]
    pub fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly,
            _ => Self::Disk(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
