//! A card that exists only in software: an operating system with atomic non-volatile memory, a purse and a SAM, and the
//! links that put it into a reader.
//!
//! With the terminal it shares nothing but `protocol`'s wire formats and primitives. It has no clock, and its
//! randomness is handed in, so that a simulation can replay it:
//!
//! ```
//! use card_applet_sim::issue::{IssuerKeys, NewCard};
//! use card_applet_sim::memory::{JournalMemory, PowerSupply, Powered, RamMedium};
//! use card_applet_sim::os::Card;
//! use card_applet_sim::random::SeededRandom;
//! use protocol::{ids::Asn, money::CardAmount, purse::Suite};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let supply = PowerSupply::new();
//! let mut memory = JournalMemory::format(Powered::new(RamMedium::default(), supply.clone()))?;
//! let issuer = IssuerKeys::for_tests(Suite::Aes, 0);
//! NewCard::for_tests(Asn([0, 0, 0, 0, 0, 0, 0, 0, 0, 1])).with_balance(CardAmount(5000)).make(&issuer, &mut memory)?;
//! let mut card = Card::new(memory, SeededRandom::new(7));
//! card.power_on()?;
//! let mut answer = [0; 258];
//! let n = card.transmit(&[0x00, 0xA4, 0x00, 0x00, 0x02, 0x10, 0x01, 0x00], &mut answer);
//! assert!(n.is_some());
//! supply.cut_after(1, 0); // the next commit writes its record and loses power before the sync
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod attach;
pub mod inspect;
pub mod issue;
pub mod keyfile;
pub mod link;
pub mod memory;
pub mod os;
pub mod purse;
pub mod random;
pub mod sam;
pub mod trace;
