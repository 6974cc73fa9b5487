//! The payment terminal: configuration, readers, journal, and the driver that runs `flow`'s state machines between them.
//!
//! The binary is a thin shell around [`run`], so that tests call it in their own process. Payment rules are not here:
//! they are `flow`'s.
#![forbid(unsafe_code)]

mod app;
mod cli;
pub mod config;
pub mod devices;
pub mod doctor;
pub mod driver;
pub mod fault;
pub mod host;
pub mod identity;
pub mod journal;
pub mod load_receipt;
pub mod online_report;
pub mod outcome;
pub mod receipt;
pub mod report;
pub mod unended;
pub mod words;

pub use app::{ListReaders, OpenDevices, ReadSecret, World, run};
