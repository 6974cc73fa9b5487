//! What a journal is written on: bytes with offsets and an explicit sync.
//!
//! [`RamMedium`] keeps what was synced apart from what is pending, so that a power loss can lose it; [`Powered`] counts
//! every write and sync of a medium and cuts the power at a chosen one, tearing a write in the middle.

use super::MemoryFault;
use std::borrow::Cow;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that persist once synced.
pub trait Medium: Send {
    /// Everything, as a reader after a power loss would find it.
    ///
    /// # Errors
    /// The medium cannot be read.
    fn read_all(&mut self) -> Result<Cow<'_, [u8]>, MemoryFault>;

    /// Writes `bytes` at `offset`, within the length that [`Medium::read_all`] gave or growing it.
    ///
    /// # Errors
    /// `Refused` if the bytes are not written whole and nothing else suffered; `Lost` if the medium is gone.
    fn write_at(&mut self, offset: usize, bytes: &[u8]) -> Result<(), MemoryFault>;

    /// Everything written so far survives a power loss once this returns `Ok`.
    ///
    /// # Errors
    /// `Lost`: it is unknown what survives.
    fn sync(&mut self) -> Result<(), MemoryFault>;

    /// The power failed: what was not synced may be lost.
    fn power_lost(&mut self) {}
}

/// What a power loss leaves of writes that were not synced: a disk may keep any of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Survival {
    /// Nothing that was not synced.
    #[default]
    None,
    /// All of it, although nobody asked for it.
    All,
    /// Of each pending write only the first bytes, this share of 256.
    Front(u8),
    /// Of each pending write only the last bytes, this share of 256: sectors need not be written in order.
    Back(u8),
}

/// A medium in RAM that forgets unsynced writes when the power fails.
#[derive(Clone, Default)]
pub struct RamMedium {
    synced: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
    survival: Survival,
    refuse_writes: Arc<Mutex<bool>>,
}

impl RamMedium {
    /// An empty medium on which `survival` says what a power loss leaves.
    #[must_use]
    pub fn new(survival: Survival) -> Self {
        Self { survival, ..Self::default() }
    }

    /// A medium that holds `bytes`, all synced.
    #[must_use]
    pub fn holding(bytes: Vec<u8>) -> Self {
        Self { synced: bytes, ..Self::default() }
    }

    /// A switch that makes every write fail as on a full disk while it is `true`.
    #[must_use]
    pub fn full_disk_switch(&self) -> Arc<Mutex<bool>> {
        Arc::clone(&self.refuse_writes)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn splice(target: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset.saturating_add(bytes.len());
    if target.len() < end {
        target.resize(end, 0);
    }
    if let Some(slot) = target.get_mut(offset..end) {
        slot.copy_from_slice(bytes);
    }
}

/// `share` of 256 of `len`.
fn share_of(len: usize, share: u8) -> usize {
    len.saturating_mul(usize::from(share)) / 256
}

impl Medium for RamMedium {
    fn read_all(&mut self) -> Result<Cow<'_, [u8]>, MemoryFault> {
        let mut all = Cow::Borrowed(self.synced.as_slice());
        for (offset, bytes) in &self.pending {
            splice(all.to_mut(), *offset, bytes);
        }
        Ok(all)
    }

    fn write_at(&mut self, offset: usize, bytes: &[u8]) -> Result<(), MemoryFault> {
        if *lock(&self.refuse_writes) {
            return Err(MemoryFault::Refused("no space left on the medium".into()));
        }
        self.pending.push((offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), MemoryFault> {
        for (offset, bytes) in std::mem::take(&mut self.pending) {
            splice(&mut self.synced, offset, &bytes);
        }
        Ok(())
    }

    fn power_lost(&mut self) {
        for (offset, bytes) in std::mem::take(&mut self.pending) {
            let (from, to) = match self.survival {
                Survival::None => (0, 0),
                Survival::All => (0, bytes.len()),
                Survival::Front(share) => (0, share_of(bytes.len(), share)),
                Survival::Back(share) => (bytes.len() - share_of(bytes.len(), share), bytes.len()),
            };
            if let Some(kept) = bytes.get(from..to)
                && !kept.is_empty()
            {
                splice(&mut self.synced, offset.saturating_add(from), kept);
            }
        }
    }
}

/// Attempts to lock a card file, and the pause between them.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// A medium in one file, created for its owner alone (it holds keys).
pub struct FileMedium {
    file: File,
    path: PathBuf,
}

impl FileMedium {
    /// Opens an existing file.
    ///
    /// # Errors
    /// It does not exist, or may not be read and written, or another process has it open as its card.
    pub fn open(path: &Path) -> Result<Self, MemoryFault> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|e| MemoryFault::Refused(format!("{}: {e}", path.display())))?;
        Self::locked(file, path)
    }

    /// Opens an existing file to look at it, even while its card is in use; it takes no change.
    ///
    /// # Errors
    /// It does not exist, or may not be read.
    pub fn open_to_look(path: &Path) -> Result<Self, MemoryFault> {
        let file = File::open(path).map_err(|e| MemoryFault::Refused(format!("{}: {e}", path.display())))?;
        Ok(Self { file, path: path.to_path_buf() })
    }

    /// Creates a file that did not exist, readable and writable by its owner only.
    ///
    /// # Errors
    /// It exists already, or cannot be created.
    pub fn create(path: &Path) -> Result<Self, MemoryFault> {
        use std::os::unix::fs::OpenOptionsExt;
        let refused = |e: std::io::Error| MemoryFault::Refused(format!("{}: {e}", path.display()));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(path).map_err(refused)?;
        // The name itself has to survive as well.
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(refused)?;
        Self::locked(file, path)
    }

    /// Two processes with one card in their hands would each commit over the other. A process that is just being
    /// started elsewhere in this one holds a copy of a closed descriptor for a moment: worth a few tries.
    fn locked(file: File, path: &Path) -> Result<Self, MemoryFault> {
        for tries_left in (0..LOCK_TRIES).rev() {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries_left > 0 => std::thread::sleep(LOCK_PAUSE),
                Err(e) => {
                    let text = format!("{}: in use by another process ({e})", path.display());
                    return Err(MemoryFault::Refused(text));
                }
            }
        }
        Ok(Self { file, path: path.to_path_buf() })
    }

    fn lost(&self, error: &std::io::Error) -> MemoryFault {
        MemoryFault::Lost(format!("{}: {error}", self.path.display()))
    }
}

impl Medium for FileMedium {
    fn read_all(&mut self) -> Result<Cow<'_, [u8]>, MemoryFault> {
        let mut all = Vec::new();
        self.file
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.file.read_to_end(&mut all))
            .map_err(|e| self.lost(&e))?;
        Ok(Cow::Owned(all))
    }

    fn write_at(&mut self, offset: usize, bytes: &[u8]) -> Result<(), MemoryFault> {
        let at = u64::try_from(offset).unwrap_or(u64::MAX);
        self.file.seek(SeekFrom::Start(at)).map_err(|e| self.lost(&e))?;
        self.file.write_all(bytes).map_err(|e| match e.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                MemoryFault::Refused(format!("{}: {e}", self.path.display()))
            }
            _ => self.lost(&e),
        })
    }

    fn sync(&mut self) -> Result<(), MemoryFault> {
        self.file.sync_data().map_err(|e| self.lost(&e))
    }
}

#[derive(Debug, Default)]
struct Supply {
    operations: u64,
    cut_at: Option<u64>,
    torn_share: u8,
    off: bool,
}

/// The field that powers a card, as seen by its memory: counts writes and syncs, and fails at a chosen one.
/// Clones are handles of the same field.
#[derive(Clone, Debug, Default)]
pub struct PowerSupply(Arc<Mutex<Supply>>);

impl PowerSupply {
    /// Power that stays on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power at the operation that follows `operations` more successful ones (0: the next one). If that is
    /// a write, `torn_share` of 256 of it reaches the medium (unsynced).
    pub fn cut_after(&self, operations: u64, torn_share: u8) {
        let mut supply = lock(&self.0);
        supply.cut_at = Some(supply.operations.saturating_add(operations));
        supply.torn_share = torn_share;
    }

    /// Takes a planned cut back.
    pub fn keep_on(&self) {
        lock(&self.0).cut_at = None;
    }

    /// Switches the power off now; nothing works until [`PowerSupply::restore`].
    pub fn switch_off(&self) {
        lock(&self.0).off = true;
    }

    /// Switches the power on again (the card has to be powered up afterwards).
    pub fn restore(&self) {
        let mut supply = lock(&self.0);
        supply.off = false;
        supply.cut_at = None;
    }

    /// Whether the power is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !lock(&self.0).off
    }

    /// Writes and syncs that succeeded since the supply was made.
    #[must_use]
    pub fn operations(&self) -> u64 {
        lock(&self.0).operations
    }

    /// Counts one operation; `Err(share)` when the power fails at it or was off.
    fn spend(&self) -> Result<(), Option<u8>> {
        let mut supply = lock(&self.0);
        if supply.off {
            return Err(None);
        }
        if supply.cut_at == Some(supply.operations) {
            supply.off = true;
            return Err(Some(supply.torn_share));
        }
        supply.operations = supply.operations.saturating_add(1);
        Ok(())
    }
}

/// A medium whose power comes from a [`PowerSupply`].
pub struct Powered<M> {
    inner: M,
    supply: PowerSupply,
    suffered: bool,
}

impl<M: Medium> Powered<M> {
    /// Powers `inner` from `supply`.
    pub const fn new(inner: M, supply: PowerSupply) -> Self {
        Self { inner, supply, suffered: false }
    }

    fn power_failed(&mut self) -> MemoryFault {
        if !self.suffered {
            self.suffered = true;
            self.inner.power_lost();
        }
        MemoryFault::Lost("power failed".into())
    }
}

impl<M: Medium> Medium for Powered<M> {
    fn read_all(&mut self) -> Result<Cow<'_, [u8]>, MemoryFault> {
        if !self.supply.is_on() {
            return Err(self.power_failed());
        }
        self.suffered = false;
        self.inner.read_all()
    }

    fn write_at(&mut self, offset: usize, bytes: &[u8]) -> Result<(), MemoryFault> {
        match self.supply.spend() {
            Ok(()) => self.inner.write_at(offset, bytes),
            Err(None) => Err(self.power_failed()),
            Err(Some(share)) => {
                let torn = bytes.get(..share_of(bytes.len(), share)).unwrap_or_default();
                // Torn or not, the outcome for the caller is the same: the power is gone.
                let _ = self.inner.write_at(offset, torn);
                Err(self.power_failed())
            }
        }
    }

    fn sync(&mut self) -> Result<(), MemoryFault> {
        match self.supply.spend() {
            Ok(()) => self.inner.sync(),
            Err(_) => Err(self.power_failed()),
        }
    }

    fn power_lost(&mut self) {
        self.inner.power_lost();
    }
}
