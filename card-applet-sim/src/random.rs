//! Randomness handed to a card: the operating system's in production, a seed in tests and in the simulation.

use sha2::{Digest, Sha256};

/// The random source failed; a card without randomness answers 6F00 instead of guessable challenges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no randomness")]
pub struct NoRandomness;

/// A card's random generator.
pub trait RandomSource: Send {
    /// Fills `out`.
    ///
    /// # Errors
    /// Nothing random is to be had.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoRandomness>;
}

impl<F: FnMut(&mut [u8]) + Send> RandomSource for F {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoRandomness> {
        self(out);
        Ok(())
    }
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl RandomSource for OsRandom {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoRandomness> {
        getrandom::fill(out).map_err(|_| NoRandomness)
    }
}

/// A generator that a seed determines: SHA-256 over seed and block number. Never for a card that holds money.
#[derive(Clone, Debug)]
pub struct SeededRandom {
    seed: u64,
    block: u64,
}

impl SeededRandom {
    /// Starts the sequence of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, block: 0 }
    }
}

impl RandomSource for SeededRandom {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoRandomness> {
        for chunk in out.chunks_mut(32) {
            let mut hash = Sha256::new();
            hash.update(self.seed.to_be_bytes());
            hash.update(self.block.to_be_bytes());
            let block: [u8; 32] = hash.finalize().into();
            self.block = self.block.wrapping_add(1);
            chunk.iter_mut().zip(block).for_each(|(slot, byte)| *slot = byte);
        }
        Ok(())
    }
}
