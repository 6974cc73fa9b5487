//! The demo: a kiosk's day without network, on a real PC/SC daemon, with the programs as they are shipped.
//!
//! [`stage`] starts card and SAM in the reader and calls the terminal as a shop would; [`day`] is what happens;
//! [`proof`] holds the card's own log, the terminal's journal and the issuer's keys against each other; [`telling`]
//! prints it for people. Nothing here is simulated but plastic and radio: the card's APDUs pass through pcscd.
//!
//! Anything that is not as it should be ends the demo with an error: it is a test as well.

pub mod day;
pub mod office;
pub mod proof;
pub mod stage;
pub mod telling;
