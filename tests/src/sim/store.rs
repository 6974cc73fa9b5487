//! The terminal's journal as a disk sees it: entries are written, then synced, and a crash drops what was not synced.
//! The same batch-first `commit` as the journal in SQLite; entries are kept as `flow` writes them and read back from those
//! bytes after a crash, which is how open debits come back.

use flow::outbox::Outbox;
use flow::record::{
    CardId, DebitIntent, ENTRY_BYTES_MAX, JournalEntry, LoadState, RecordId, Resolution, Uncertainty,
};
use protocol::ids::BatchNo;
use protocol::iso8583::f58::{BatchItem, ItemName, ItemSide};
use protocol::time::Wall;
use std::collections::BTreeMap;
use terminal::journal::{Batch, StoreFault};

/// What becomes of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It succeeds.
    Good,
    /// The disk is full.
    Full,
    /// Durable, but reported as failed.
    Lies,
    /// The process dies before the sync.
    DiesBefore,
    /// The process dies after the sync.
    DiesAfter,
}

/// Why a commit did not return numbers.
#[derive(Debug)]
pub enum Failed {
    /// As the terminal sees it.
    Reported(StoreFault),
    /// The terminal does not see anything any more.
    Died,
}

/// A journal that survives a crash as a disk would.
#[derive(Clone, Debug, Default)]
pub struct CrashStore {
    synced: Vec<Vec<u8>>,
    pending: Vec<Vec<u8>>,
    memory: Index,
}

/// What a running terminal keeps in memory of its journal: all of it can be read again.
#[derive(Clone, Debug, Default)]
struct Index {
    entries: Vec<JournalEntry>,
    open: BTreeMap<CardId, RecordId>,
    wrong_proofs: Vec<(CardId, Wall)>,
    outbox: Outbox,
}

impl CrashStore {
    /// A journal that has used trace numbers before.
    ///
    /// # Panics
    /// Never: the disk is good.
    #[must_use]
    pub fn with_traces_used(used: u32) -> Self {
        let mut store = Self::default();
        if used > 0 {
            let entry = JournalEntry::Traces(protocol::ids::Stan(used));
            store.commit(&Batch::of(entry, Wall(0)), Fate::Good).expect("a good disk");
        }
        store
    }

    /// Makes a batch durable; the numbers are those of its entries, in order.
    ///
    /// # Errors
    /// As `fate` says.
    pub fn commit(&mut self, batch: &Batch, fate: Fate) -> Result<Vec<RecordId>, Failed> {
        if fate == Fate::Full {
            return Err(Failed::Reported(StoreFault::Full));
        }
        let first = self.synced.len();
        self.pending = batch.entries.iter().map(bytes_of).collect();
        if fate == Fate::DiesBefore {
            return Err(Failed::Died);
        }
        let count = self.pending.len();
        self.synced.append(&mut self.pending);
        if fate == Fate::DiesAfter {
            return Err(Failed::Died);
        }
        for entry in &batch.entries {
            self.memory.take(entry.clone(), batch.wall);
        }
        if fate == Fate::Lies {
            return Err(Failed::Reported(StoreFault::Disk("a sync failed".into())));
        }
        Ok((first..first + count).map(id_at).collect())
    }

    /// The process died: what was not synced is gone, the rest is read again at the next start.
    pub fn crash(&mut self) {
        self.pending.clear();
        self.memory = Index::default();
        for bytes in &self.synced {
            let entry = JournalEntry::decode(bytes).expect("what was synced reads back");
            // When it was written is not needed: a refusal lasts a minute, and a restart forgets it.
            self.memory.take(entry, Wall(i64::MIN));
        }
    }

    /// The debit of this card that was interrupted and not resolved.
    #[must_use]
    pub fn open_debit(&self, card: &CardId) -> Option<(RecordId, DebitIntent)> {
        let id = *self.memory.open.get(card)?;
        match self.entry(id) {
            Some(JournalEntry::Intent(intent)) => Some((id, intent.clone())),
            _ => None,
        }
    }

    /// Whether a debit of this card ended with a wrong MAC2 between these two moments.
    #[must_use]
    pub fn gave_wrong_proof(&self, card: &CardId, (since, until): (Wall, Wall)) -> bool {
        self.memory.wrong_proofs.iter().any(|(id, wall)| id == card && *wall > since && *wall < until)
    }

    /// What waits for the host, folded from the entries as the journal on disk folds it.
    #[must_use]
    pub const fn outbox(&self) -> &Outbox {
        &self.memory.outbox
    }

    /// The same, for the errand that sends it.
    pub const fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.memory.outbox
    }

    /// What counts in this batch: payments that the host booked, and loads that it consented to and did not take back.
    #[must_use]
    pub fn counted_in(&self, batch: BatchNo) -> Vec<BatchItem> {
        let (mut items, mut resolved) = (BTreeMap::new(), BTreeMap::new());
        for (_, entry) in self.entries() {
            match entry {
                JournalEntry::Resolved { intent, resolution } => drop(resolved.insert(*intent, *resolution)),
                JournalEntry::Uploaded { intent, code, batch: at } => {
                    let void = resolved.get(intent) == Some(&Resolution::Void);
                    if let Some(JournalEntry::Intent(debit)) = self.entry(*intent)
                        && (*at == batch && code.is_approved() && !void)
                    {
                        let name = ItemName::Record(debit.terminal, debit.term_seq);
                        let minor = debit.amount.0.into();
                        items.insert(*intent, BatchItem { side: ItemSide::Debit, name, minor });
                    }
                }
                JournalEntry::LoadState { load, state } => {
                    let Some(JournalEntry::Load(intent)) = self.entry(*load) else { continue };
                    let (name, minor) = (ItemName::Trace(intent.numbers.trace), intent.amount.0.into());
                    match state {
                        LoadState::Answered { .. } if intent.numbers.batch == batch => {
                            items.insert(*load, BatchItem { side: ItemSide::Load, name, minor });
                        }
                        LoadState::Reversed => drop(items.remove(load)),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        items.into_values().collect()
    }

    /// An entry by its number.
    #[must_use]
    pub fn entry(&self, id: RecordId) -> Option<&JournalEntry> {
        let index = usize::try_from(id.0.checked_sub(1)?).ok()?;
        self.memory.entries.get(index)
    }

    /// How many durable entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.memory.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.memory.entries.is_empty()
    }

    /// All durable entries with their numbers.
    pub fn entries(&self) -> impl Iterator<Item = (RecordId, &JournalEntry)> {
        self.memory.entries.iter().enumerate().map(|(index, entry)| (id_at(index), entry))
    }
}

impl Index {
    fn take(&mut self, entry: JournalEntry, wall: Wall) {
        self.outbox.apply(id_at(self.entries.len()), &entry);
        match &entry {
            JournalEntry::Intent(intent) => {
                self.open.insert(intent.card, id_at(self.entries.len()));
            }
            JournalEntry::Resolved { intent, resolution } => {
                self.open.retain(|_, id| id != intent);
                let index = usize::try_from(intent.0.saturating_sub(1)).unwrap_or(usize::MAX);
                if let (
                    Resolution::Uncertain { why: Uncertainty::Mac2Wrong, .. },
                    Some(JournalEntry::Intent(debit)),
                ) = (resolution, self.entries.get(index))
                {
                    self.wrong_proofs.push((debit.card, wall));
                }
            }
            _ => {}
        }
        self.entries.push(entry);
    }
}

/// Numbers begin at 1, as in the journal on disk.
fn id_at(index: usize) -> RecordId {
    RecordId(index as u64 + 1)
}

fn bytes_of(entry: &JournalEntry) -> Vec<u8> {
    let mut out = [0; ENTRY_BYTES_MAX];
    let length = entry.encode(&mut out).expect("entries have room");
    out[..length].to_vec()
}
