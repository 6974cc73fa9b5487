//! PC/SC: readers behind a daemon (`pcscd`), through the crate `pcsc`.
//!
//! [`PcscReader`] is one slot. It finds its daemon and its device again by itself when they come back, waits in
//! `SCardGetStatusChange` and never polls, and disconnects an old session before it opens a new one (a torn session left
//! open would greet the new one with `SCARD_W_RESET_CARD`). [`list`] and [`ReaderWatch`] show what is attached;
//! [`ReaderPair::discover`] says which slot takes cards and which one holds the SAM, and refuses to guess.

mod fault;
mod pattern;
mod service;
mod slot;
mod watch;

pub use pattern::{ReaderPair, ReaderPattern};
pub use slot::{COMMAND_BYTES_MAX, PcscReader, Sharing};
pub use watch::{READERS_MAX, ReaderInfo, ReaderWatch, list};
