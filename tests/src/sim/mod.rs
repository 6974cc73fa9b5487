//! The deterministic simulation: real terminal flow, real purse and SAM, crashable memories and journals, virtual time,
//! and faults; one seed is one history (`docs/simulation.md` tells one step by step).
//!
//! | module | what it is |
//! |---|---|
//! | [`plan`] | a history as data; a seed makes one |
//! | [`world`] | cards, terminals with SAMs and journals, one clock; plays a plan |
//! | [`till`] | a visit: drives `flow`'s purchase, lets faults strike |
//! | [`slot`], [`store`] | a chip with its power; a journal that forgets what was not synced |
//! | [`office`] | the evening: uploads over a bad line to a backend that crashes |
//! | [`check`] | what must be true afterwards |
//! | [`coverage`] | what was hit; a fault point never hit is a failure |
//! | [`campaign`], [`shrink`] | many seeds; the shortest story of a failing one |
//! | [`soak`] | histories that were never played before, for as long as wanted |
//! | [`teeth`] | deliberate bugs, each of which must be found |
//!
//! Nothing here reads a clock or a random source, so the same seed gives the same history on every machine.

pub mod campaign;
pub mod check;
pub mod coverage;
pub mod office;
pub mod plan;
pub mod rng;
pub mod shrink;
pub mod slot;
pub mod soak;
pub mod store;
pub mod teeth;
pub mod till;
pub mod words;
pub mod world;

pub use world::{Care, Played, play};
