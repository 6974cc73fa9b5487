//! `posp-gateway`: the acquirer's gateway and its operations.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    posp_gateway::app::run(posp_gateway::app::World::real()).into()
}
