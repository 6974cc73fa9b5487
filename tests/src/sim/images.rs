//! A terminal's disk is restored from an image that was taken earlier, or replaced by an empty one, while its SAM, the cards and the
//! gateway have gone on (`docs/reference/restored-terminal.md`).
//!
//! What the journal knew after the image is gone for the terminal. The checker keeps it: a debit that no journal knows any more must
//! have been durable in a part that was lost, and nothing else excuses it.

use super::check::lost::{Since, since};
use super::plan::Imaging;
use super::store::CrashStore;
use super::world::{World, till_name};
use flow::record::{JournalEntry, RecordId};

/// A journal's durable entries with their numbers.
pub type Entries<'a> = Vec<(RecordId, &'a JournalEntry)>;

/// What was read from a terminal's disk, and what was overwritten on it.
#[derive(Debug, Default)]
pub struct Images {
    kept: Option<CrashStore>,
    /// Journals as they were when another took their place.
    past: Vec<CrashStore>,
}

impl Images {
    /// The journals that gave way to another, as they were then.
    #[must_use]
    pub fn past(&self) -> Vec<Entries<'_>> {
        self.past.iter().map(|journal| journal.entries().collect()).collect()
    }
}

impl World {
    /// Somebody is at a terminal's disk.
    pub(super) fn disk(&mut self, terminal: usize, what: Imaging) {
        let till = till_name(terminal);
        let old = match what {
            Imaging::Keep => {
                let it = &mut self.terminals[terminal];
                it.images.kept = Some(it.journal.clone());
                self.coverage.reached("disk", "image taken");
                return self.tell(|| format!("An image of {till}'s disk is taken."));
            }
            Imaging::Restore => match &self.terminals[terminal].images.kept {
                Some(kept) => kept.clone(),
                None => return,
            },
            Imaging::Replace => CrashStore::default(),
        };
        let how =
            if what == Imaging::Restore { "restored from an old image" } else { "replaced by an empty one" };
        self.coverage.fault("disk", how);
        self.tell(|| format!("⚡ {till}'s disk is {how}."));
        // Nobody takes a disk out of a terminal that runs.
        self.reboot(terminal);
        let clock = self.clock();
        let it = &mut self.terminals[terminal];
        it.crash(clock);
        let past = std::mem::replace(&mut it.journal, old);
        it.images.past.push(past);
        it.journal.crash();
        let Since { points } = since(&it.images.past[it.images.past.len() - 1], &it.journal);
        for point in points {
            self.coverage.reached("old journal", point);
        }
    }
}
