//! What the three binaries share towards people: error codes, texts in their language, JSON for scripts,
//! configuration, logs and exit codes (design: `docs/` and `errors.toml` beside this crate).
//!
//! Nothing here knows what a payment is. What a binary wants to say is a [`Failure`] (a code from `errors.toml` with
//! its particulars) or a message of the Fluent files; [`Console`] prints it for a person or, with `--json`, for a script.
#![forbid(unsafe_code)]

pub mod code;
pub mod config;
pub mod failure;
pub mod help;
pub mod log;
pub mod mask;
pub mod out;
pub mod text;

pub use code::{Code, Exit, Party};
pub use failure::Failure;
pub use out::Console;
pub use text::{Args, Language, Texts};
