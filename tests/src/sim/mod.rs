//! The deterministic simulation of the whole system: real terminal flow, real purse and SAM, the gateway's own sessions, switch and
//! rules, crashable memories, journals and stores, virtual time, and faults; one seed is one history (`docs/simulation.md` tells one step by step).
//!
//! | module | what it is |
//! |---|---|
//! | [`plan`], [`temper`] | a history as data; a seed makes one |
//! | [`world`] | cards, terminals with SAMs and journals, the acquirer, one clock; plays a plan |
//! | [`till`] | a visit: drives `flow`'s purchase and load, lets faults strike |
//! | [`desk`], [`mod@line`] | a terminal's line and errands; frames on their way, and to which gateway |
//! | [`counter`] | a terminal of another maker: purchases online, voids, refunds, pre-authorisations |
//! | [`acquirer`], [`gateway`], [`disk`] | the acquirer: gateways that live and die, on one database |
//! | [`slot`], [`store`] | a chip with its power; a journal that forgets what was not synced |
//! | [`images`] | a terminal's disk restored from an old image, or replaced |
//! | [`keyring`] | issuers' keys in two versions; terminals enrolled again |
//! | [`quiet`] | the end: nothing goes wrong any more, everything is uploaded and settled |
//! | `person` | what only a person can decide |
//! | [`check`], [`books`], [`answers`] | what must be true: of cards and journals, of the backend's books, of what was promised |
//! | [`coverage`] | what was hit; a fault point never hit is a failure |
//! | [`campaign`], [`shrink`] | many seeds; the shortest story of a failing one |
//! | [`soak`] | histories that were never played before, for as long as wanted |
//! | [`teeth`] | deliberate bugs, each of which must be found |
//!
//! Nothing here reads a clock or a random source, so the same seed gives the same history on every machine.

pub mod acquirer;
pub mod answers;
pub mod books;
pub mod campaign;
pub mod check;
pub mod counter;
pub mod coverage;
pub mod desk;
pub mod disk;
pub mod gateway;
pub mod images;
pub mod keyring;
pub mod line;
mod person;
pub mod plan;
pub mod quiet;
pub mod rng;
pub mod shrink;
pub mod slot;
pub mod soak;
pub mod store;
pub mod teeth;
pub mod temper;
pub mod till;
pub mod violation;
pub mod words;
pub mod world;

pub use world::{Care, Played, play};
