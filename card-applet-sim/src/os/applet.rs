//! What an application sees of the card, and what the card sees of an application.

use crate::memory::{Batch, Memory, MemoryFault, ObjectId};
use crate::random::{NoRandomness, RandomSource};
use protocol::apdu::{Command, Ne, StatusWord};
use protocol::purse::PurseError;
use zeroize::Zeroizing;

use super::Transport;

/// Data of an answer that ends with 9000, or why there is none.
pub type Reply = Result<Vec<u8>, Stop>;

/// Why a command ends without an answer of 9000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The card says this status word.
    Status(StatusWord),
    /// The power is gone: the card says nothing.
    PowerLost,
}

impl From<StatusWord> for Stop {
    fn from(sw: StatusWord) -> Self {
        Self::Status(sw)
    }
}

impl From<MemoryFault> for Stop {
    fn from(fault: MemoryFault) -> Self {
        match fault {
            MemoryFault::Refused(_) => Self::Status(StatusWord::MEMORY_FAILURE),
            // Whether the change is durable is not known: silence, as if the card had left the field.
            MemoryFault::Lost(_) | MemoryFault::Damaged(_) => Self::PowerLost,
        }
    }
}

impl From<NoRandomness> for Stop {
    fn from(_: NoRandomness) -> Self {
        Self::Status(StatusWord::UNKNOWN)
    }
}

impl From<PurseError> for Stop {
    fn from(error: PurseError) -> Self {
        Self::Status(match error {
            PurseError::WrongLength { .. } => StatusWord::WRONG_LENGTH,
            PurseError::NotThisCommand | PurseError::UnknownType(_) => StatusWord::WRONG_P1P2,
            PurseError::UnknownAlgorithm(_) | PurseError::WrongSuite { .. } | PurseError::FactorCount(_) => {
                StatusWord::WRONG_DATA
            }
            PurseError::Fci(_) | PurseError::NoRoom => StatusWord::UNKNOWN,
        })
    }
}

/// An application on a card.
pub trait Applet: Send {
    /// File identifier of its DF.
    fn fid(&self) -> u16;

    /// Its DF name.
    fn name(&self) -> &[u8];

    /// It became the current application: the FCI.
    ///
    /// # Errors
    /// A status word other than 9000; the application is the current one all the same.
    fn select(&mut self, platform: &mut Platform<'_>) -> Reply;

    /// A command while it is the current application.
    ///
    /// # Errors
    /// A status word other than 9000, or the power went away.
    fn process(&mut self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply;

    /// The card answered another command itself (GET CHALLENGE): a one-shot transaction ends.
    fn interrupt(&mut self);

    /// Power-up, or another application was selected: all volatile state goes.
    fn reset(&mut self);
}

/// The card as an application may use it during one command.
pub struct Platform<'a> {
    /// Non-volatile memory.
    pub memory: &'a mut dyn Memory,
    /// Randomness.
    pub random: &'a mut dyn RandomSource,
    /// The challenge that the command just before fetched.
    pub challenge: Option<Vec<u8>>,
    /// The current elementary file.
    pub current_file: Option<u8>,
    pub(super) transport: Transport,
}

impl Platform<'_> {
    /// Refuses the command with 6Cxx if its Le does not fit the `len` bytes it will be answered with. To be asked
    /// *before* anything happens: the reader repeats the command.
    ///
    /// # Errors
    /// 6Cxx.
    pub fn expect(&self, command: &Command<'_>, len: usize) -> Result<(), Stop> {
        let low = u16::try_from(len & 0xFF).unwrap_or(0);
        let wrong = Stop::Status(StatusWord(0x6C00 | low));
        let Some(ne) = command.ne else { return Ok(()) };
        let ne = usize::try_from(ne.get()).unwrap_or(usize::MAX);
        match self.transport {
            // T=0 carries no Le beside data; 61xx follows instead.
            Transport::Character if !command.data.is_empty() => Ok(()),
            Transport::Character if ne != len && len <= 256 => Err(wrong),
            _ if ne < len && len <= 256 => Err(wrong),
            _ => Ok(()),
        }
    }

    /// Of `available` bytes of a file, those that the command asks for.
    ///
    /// # Errors
    /// 6Cxx where the transport tells the exact length.
    pub fn portion<'b>(&self, command: &Command<'_>, available: &'b [u8]) -> Result<&'b [u8], Stop> {
        let asked = command.ne.map_or(Ne::ALL, |ne| ne);
        let asked = usize::try_from(asked.get()).unwrap_or(usize::MAX);
        if asked < available.len() {
            return Ok(available.get(..asked).unwrap_or(available));
        }
        self.expect(command, available.len())?;
        Ok(available)
    }
}

/// Changes that build upon one another before they are committed together.
pub struct Change<'a> {
    memory: &'a dyn Memory,
    batch: Batch,
}

impl<'a> Change<'a> {
    /// Starts from what is in memory.
    pub const fn new(memory: &'a dyn Memory) -> Self {
        Self { memory, batch: Batch::new() }
    }

    /// An object as this change leaves it.
    #[must_use]
    pub fn get(&self, id: ObjectId) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = match self.batch.pending(id) {
            Some(pending) => pending,
            None => self.memory.get(id),
        };
        bytes.map(|b| Zeroizing::new(b.to_vec()))
    }

    /// Replaces or creates an object.
    pub fn put(&mut self, id: ObjectId, bytes: &[u8]) {
        self.batch.put(id, bytes);
    }

    /// The batch to commit.
    #[must_use]
    pub fn into_batch(self) -> Batch {
        self.batch
    }
}
