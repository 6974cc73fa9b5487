//! What a terminal does, as state machines without I/O, clock or randomness (`architecture.md`, invariant 1).
//!
//! A driver owns the reader, the journal and the clock. It feeds a machine with [`Event`]s and carries out the one
//! [`Step`] that each of them answers: send this APDU, store this record, look this card up, done. A step that must
//! follow durability exists only as the answer to [`Event::Stored`]. So the same machine runs in the shop, in tests, and
//! in the simulation with faults.
//!
//! - [`machine`]: events, steps, prompts, and the trait all machines share;
//! - [`profile`]: what the terminal accepts;
//! - [`record`]: what the journal keeps, and its bytes;
//! - [`outcome`]: how a flow ends;
//! - [`sam`]: who the SAM in the second slot is;
//! - [`purchase`]: offline purchase, and recovery of an interrupted debit (`purse.md` section 6);
//! - [`load`]: online load of a purse, and what became of an interrupted one;
//! - [`balance`]: what is on the card;
//! - [`outbox`]: what waits for the host, folded from the journal;
//! - [`host`]: the line to the gateway.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
#![expect(
    clippy::result_large_err,
    reason = "an outcome ends a flow, at most once; there is no heap to box it in"
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod arrival;
pub mod balance;
pub mod errand;
pub mod host;
pub mod load;
pub mod machine;
pub mod outbox;
pub mod outcome;
pub mod profile;
pub mod purchase;
pub mod record;
pub mod sam;
mod selection;

pub use machine::{Event, Machine, Prompt, Step};
pub use outcome::{Decline, Fault, Outcome, Receipt};
