//! A card that exists only in software: an operating system with atomic non-volatile memory, a purse and a SAM, and the
//! links that put it into a reader.
//!
//! With the terminal it shares nothing but `protocol`'s wire formats and primitives. It has no clock, and its
//! randomness is handed in, so that a simulation can replay it.
#![forbid(unsafe_code)]

pub mod memory;
