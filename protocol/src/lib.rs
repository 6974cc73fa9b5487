//! Bytes and meaning: everything that crosses a wire, a card's contacts or a file of Tapline, turned into
//! types and back.
//!
//! Nothing here does I/O, reads a clock, makes randomness of its own or decides what to do: state machines live in
//! `flow`, rules of the host in `backend`. Encoders write into a caller's `&mut [u8]` and return the length.
//! The crate is `no_std` and, without the feature `alloc`, needs no allocator.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod aes_key;
pub mod apdu;
pub mod bytes;
pub mod crypto;
pub mod des_key;
pub mod dukpt;
pub mod enrolment;
pub mod hex;
pub mod host_mac;
pub mod ids;
pub mod iso8583;
pub mod keyblock;
pub mod money;
pub mod pan;
pub mod pin;
pub mod purse;
pub mod sam;
pub mod secret;
pub mod signin;
pub mod teeth;
pub mod time;
pub mod tlv;
pub mod working_keys;
