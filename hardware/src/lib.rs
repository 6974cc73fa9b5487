//! Card readers behind one trait, [`CardReader`], and what is put around them.
//!
//! Devices: [`PcscReader`] (a PC/SC daemon) and [`MemoryReader`] (a closure in the same process). Middleware, each a
//! reader around a reader: [`Completing`] (GET RESPONSE and wrong Le), [`Recorder`] and [`Replayer`] (APDU traces),
//! [`FaultInjector`] (lost, late, torn and garbled exchanges).
//!
//! What never lives here: payment rules. A reader carries bytes and says how that failed, never what they mean.
#![forbid(unsafe_code)]

mod clock;
mod completion;
mod error;
pub mod fault;
mod memory;
pub mod pcsc;
mod reader;
pub mod trace;

pub use clock::{Clock, Sleeper, SystemClock};
pub use completion::{COMPLETION_ROUNDS_MAX, Completing};
pub use error::{Fault, Malformed, ReaderError, ReaderListing};
pub use fault::{FaultInjector, FaultKind, FaultPlan, FaultRates, FaultSeed};
pub use memory::{Exchange, MemoryCard, MemoryReader, MemorySlot, Power};
pub use pcsc::{PcscReader, ReaderPair, ReaderPattern, Sharing};
pub use reader::{ANSWER_BYTES_MAX, ATR_BYTES_MAX, Atr, Canceller, CardEvent, CardReader, SlotState};
pub use trace::{Masking, Recorder, Replayer, Trace};
