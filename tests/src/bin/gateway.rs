//! The gateway as a process of its own, for tests that kill it: the same program as `posp-gateway`, built with the tests.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    posp_gateway::app::run(posp_gateway::app::World::real()).into()
}
