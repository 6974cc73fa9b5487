//! `make demo`: a kiosk's day from load to settlement, on a real PC/SC daemon, with a real gateway and its ledger. Exit code 0
//! only if card, journal, ledger and the issuer's keys agree at the end.

use std::process::ExitCode;
use std::time::Instant;
use tests::demo::{day, stage::Stage, telling::Voice};

fn main() -> ExitCode {
    let (voice, began) = (Voice::new(), Instant::now());
    voice.title(
        "Tapline: a day, from load to settlement",
        "Real programs: terminal, gateway with its ledger, a PC/SC daemon between terminal and card; only the plastic is software.",
    );
    let mut stage = match Stage::new() {
        Ok(stage) => stage,
        Err(error) => {
            voice.failed(&error);
            return ExitCode::from(2);
        }
    };
    match day::play(&mut stage, voice) {
        Ok(()) => {
            voice.good(
                "Nothing was lost, nothing was taken twice.",
                &format!("{:.1} s", began.elapsed().as_secs_f64()),
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            voice.failed(&error);
            voice.aside(&format!("its files are in {}", stage.keep().display()));
            ExitCode::FAILURE
        }
    }
}
