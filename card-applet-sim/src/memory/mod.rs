//! Non-volatile memory of a card: objects that change together or not at all, whenever the power fails.
//!
//! One seam, batch-first: [`Memory::commit`] makes a [`Batch`] durable or leaves everything as it was. Two
//! implementations of it: [`RamMemory`] (durable by definition, for fast tests) and [`JournalMemory`], a journal on any
//! [`Medium`]: a file ([`FileMedium`]) or bytes that forget what was not synced ([`RamMedium`]); [`Powered`] around a medium
//! cuts the power at a chosen operation.
//!
//! It refuses: objects above [`MAX_OBJECT`], images above the medium's room, a medium of another format or version, and
//! an image with a hole in it (a lost record would give money back).

mod journal;
mod medium;

pub use journal::{AREA_LEN, FORMAT_VERSION, JournalMemory};
pub use medium::{FileMedium, Medium, PowerSupply, Powered, RamMedium, Survival};

use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Largest object, in bytes.
pub const MAX_OBJECT: usize = 4096;

/// Name of an object: the application that owns it, its class within the application, and two indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(u32);

impl ObjectId {
    /// Names object (`major`, `minor`) of `class` in application `app`.
    #[must_use]
    pub const fn new(app: u8, class: u8, major: u8, minor: u8) -> Self {
        Self(u32::from_be_bytes([app, class, major, minor]))
    }

    const fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }
}

/// Why a commit did not (certainly) happen, or memory cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MemoryFault {
    /// Nothing changed; the card goes on (full disk, no room, object too large). A card answers 6581.
    #[error("memory did not take the change: {0}")]
    Refused(String),
    /// The power or the medium went away: whether the batch is durable shows at the next power-on. A card is silent.
    #[error("memory was lost during a change: {0}")]
    Lost(String),
    /// The image is damaged or of another format; nothing is guessed from it.
    #[error("memory image is damaged: {0}")]
    Damaged(String),
}

/// Changes that belong together.
#[derive(Clone, Default)]
pub struct Batch {
    changes: Vec<(ObjectId, Option<Zeroizing<Vec<u8>>>)>,
}

impl Batch {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { changes: Vec::new() }
    }

    /// Replaces or creates an object.
    pub fn put(&mut self, id: ObjectId, bytes: &[u8]) -> &mut Self {
        self.changes.push((id, Some(Zeroizing::new(bytes.to_vec()))));
        self
    }

    /// Removes an object.
    pub fn delete(&mut self, id: ObjectId) -> &mut Self {
        self.changes.push((id, None));
        self
    }

    /// What the batch will make of an object: `None` if it does not touch it, `Some(None)` if it removes it.
    #[must_use]
    pub fn pending(&self, id: ObjectId) -> Option<Option<&[u8]>> {
        let change = self.changes.iter().rev().find(|(changed, _)| *changed == id)?;
        Some(change.1.as_ref().map(|bytes| bytes.as_slice()))
    }

    /// Whether it changes nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn check(&self) -> Result<(), MemoryFault> {
        let large =
            self.changes.iter().any(|(_, bytes)| bytes.as_ref().is_some_and(|b| b.len() > MAX_OBJECT));
        if large {
            Err(MemoryFault::Refused(format!("an object exceeds {MAX_OBJECT} bytes")))
        } else {
            Ok(())
        }
    }
}

/// Memory whose changes are atomic and, once [`Memory::commit`] returned `Ok`, durable.
pub trait Memory: Send {
    /// An object as last committed.
    fn get(&self, id: ObjectId) -> Option<&[u8]>;

    /// Makes all changes of the batch durable, in order, or none of them.
    ///
    /// # Errors
    /// See [`MemoryFault`]: only after `Refused` is the state known (unchanged).
    fn commit(&mut self, batch: &Batch) -> Result<(), MemoryFault>;

    /// Reads the medium again after power came back: finishes or drops what a power loss interrupted.
    ///
    /// # Errors
    /// The medium cannot be read, or its image is damaged.
    fn power_on(&mut self) -> Result<(), MemoryFault>;
}

/// Objects in RAM.
#[derive(Clone, Default)]
struct Image(BTreeMap<ObjectId, Zeroizing<Vec<u8>>>);

impl Image {
    fn get(&self, id: ObjectId) -> Option<&[u8]> {
        self.0.get(&id).map(|bytes| bytes.as_slice())
    }

    fn apply(&mut self, batch: &Batch) {
        for (id, bytes) in &batch.changes {
            match bytes {
                Some(bytes) => self.0.insert(*id, bytes.clone()),
                None => self.0.remove(id),
            };
        }
    }
}

/// Memory that never loses power: for tests that are not about memory.
#[derive(Clone, Default)]
pub struct RamMemory {
    image: Image,
}

impl RamMemory {
    /// Empty memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Memory for RamMemory {
    fn get(&self, id: ObjectId) -> Option<&[u8]> {
        self.image.get(id)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), MemoryFault> {
        batch.check()?;
        self.image.apply(batch);
        Ok(())
    }

    fn power_on(&mut self) -> Result<(), MemoryFault> {
        Ok(())
    }
}
