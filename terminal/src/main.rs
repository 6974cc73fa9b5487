//! The `terminal` binary: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    terminal::run(terminal::World::real()).into()
}
