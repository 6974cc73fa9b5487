//! The transaction and account backend: what is owed to whom, decided once and kept for good.
//!
//! Parts, in the names of the field: [`api`] (the seam to the gateway), [`accounts`] (double entry), [`report`] (what people
//! read), [`store`] (where it is kept: rules and stores are apart,
//! so that the same rules run on SQLite, on memory and on a simulated disk that crashes).
//!
//! No rule here reads a clock, makes randomness or talks to a network: of all that, a store does what it needs to keep things.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod accounts;
mod admin;
pub mod api;
pub mod audit;
pub mod backup;
pub mod cards;
mod engine;
mod map;
mod needs;
mod query;
pub mod report;
mod search;
pub mod store;
pub mod transactions;

pub use engine::{Engine, Policy};
#[cfg(test)]
mod suite;
