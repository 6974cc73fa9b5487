//! The acquirer's gateway: terminals connect here (`docs/posp.md`).
//!
//! - [`access`]: connections, frames, limits. Knows nothing of messages.
//! - [`switch`]: what a message means, who may send it, what its answer says.
//! - [`writer`]: the one thread that asks the backend, many requests at a time; answers leave only after it says they are durable.
//! - [`server`]: all of it together, from start to graceful stop.
//! - [`ops`]: what an operator asks, over the store or through the running gateway. [`app`] is the program around it.
#![forbid(unsafe_code)]

pub mod access;
pub mod app;
mod cli;
pub mod clock;
pub mod config;
pub mod ops;
pub mod server;
pub mod switch;
mod words;
pub mod writer;
