//! `card-applet-sim`: makes cards and SAMs, shows them, and puts them into a virtual PC/SC reader.
#![forbid(unsafe_code)]

mod cli;
mod personalise;
mod run;

use clap::Parser;
use cli::{Cli, Command};
use console::{Console, Language, Texts};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut console = Console::standard(Texts::new(Language::ENGLISH), cli.json);
    let name = cli.command.name();
    match begin(&cli, &mut console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => console.failed(name, error.as_ref()).into(),
    }
}

fn begin(cli: &Cli, console: &mut Console) -> anyhow::Result<()> {
    let language = Language::choose(cli.lang.as_deref(), |name| std::env::var(name).ok())?;
    *console = Console::standard(Texts::new(language), cli.json);
    let filter = std::env::var("TAPLINE_LOG").unwrap_or_else(|_| "info".into());
    console::log::start(&console::log::Settings { filter, format: console::log::Format::Text })?;
    match &cli.command {
        Command::Personalise(what) => personalise::personalise(what, console),
        Command::Inspect { file } => personalise::inspect(file, console),
        Command::Run(options) => run::run(options, console),
        Command::Control { socket, words } => run::control(socket, words, console),
        Command::Completions { shell } => {
            cli::completions(*shell);
            Ok(())
        }
    }
}
