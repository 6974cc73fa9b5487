//! The acquirer gateway: access, switch, operations.
#![forbid(unsafe_code)]
