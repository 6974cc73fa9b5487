//! What the end-to-end runs, the simulation and the benchmarks share.
#![forbid(unsafe_code)]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "this crate is test code: a failed expectation is how a test fails"
)]

pub mod acquirer;
pub mod ascii_1987;
pub mod bench;
pub mod daemon;
pub mod demo;
pub mod online;
pub mod outlet;
pub mod postgres;
pub mod program;
pub mod purse_line;
pub mod python;
pub mod shop;
pub mod sim;
pub mod virtual_card;
pub mod wanderer;
