//! The command line. Its texts are in the Fluent files (`help-terminal-…`), so the doc comments here are for us.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use console::Texts;
use std::ffi::OsString;
use std::path::PathBuf;

/// Seconds that `--wait` may say.
const WAIT_S: std::ops::RangeInclusive<i64> = 1..=3600;

#[derive(Debug, Parser)]
#[command(name = "terminal", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[arg(long, global = true, value_name = "TAG")]
    pub(crate) lang: Option<String>,
    #[arg(long, global = true, value_name = "FILE", env = "TAPLINE_CONFIG", default_value = "terminal.toml")]
    pub(crate) config: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init {
        #[arg(long)]
        print: bool,
    },
    Balance {
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(WAIT_S))]
        wait: Option<u16>,
    },
    Sale {
        #[arg(value_name = "AMOUNT")]
        amount: String,
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(WAIT_S))]
        wait: Option<u16>,
    },
    Topup {
        #[arg(value_name = "AMOUNT")]
        amount: String,
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(WAIT_S))]
        wait: Option<u16>,
    },
    Upload {
        #[arg(long)]
        with_open: bool,
    },
    Settle,
    History(History),
    Provision {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[arg(long)]
        replace: bool,
    },
    Doctor,
    Completions {
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct History {
    #[arg(value_name = "TEXT")]
    pub(crate) search: Option<String>,
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub(crate) from: Option<jiff::civil::Date>,
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub(crate) to: Option<jiff::civil::Date>,
    #[arg(long)]
    pub(crate) uncertain: bool,
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["search", "from", "to", "uncertain"])]
    pub(crate) receipt: Option<u64>,
}

fn day(text: &str) -> Result<jiff::civil::Date, String> {
    text.parse().map_err(|_| "YYYY-MM-DD".to_owned())
}

impl Command {
    /// Its name in JSON answers.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Init { .. } => "init",
            Self::Balance { .. } => "balance",
            Self::Sale { .. } => "sale",
            Self::Topup { .. } => "topup",
            Self::Upload { .. } => "upload",
            Self::Settle => "settle",
            Self::Provision { .. } => "provision",
            Self::History(_) => "history",
            Self::Doctor => "doctor",
            Self::Completions { .. } => "completions",
        }
    }
}

/// The `clap` command in the person's language.
pub(crate) fn command(texts: &Texts) -> clap::Command {
    // Built first, so that --help and --version are there to be given their texts.
    let mut command = Cli::command();
    command.build();
    console::help::localise(command, texts)
}

/// Reads the arguments; `Err` is `clap`'s own answer (help, version, a mistake).
pub(crate) fn parse(texts: &Texts, args: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = command(texts).try_get_matches_from(args)?;
    Cli::from_arg_matches(&matches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use console::Language;

    #[test]
    fn the_help_is_complete_in_every_language() {
        for language in Language::all() {
            let texts = Texts::new(language);
            let mut command = Cli::command();
            command.build();
            assert_eq!(console::help::missing(&command, &texts), Vec::<String>::new(), "{}", language.tag());
        }
    }

    #[test]
    fn help_is_in_the_language_that_was_asked_for_with_examples() {
        let texts = Texts::new(Language::named("zh-CN").unwrap());
        let help = command(&texts).render_long_help().to_string();
        assert!(help.contains("用法：") && help.contains("示例：") && !help.contains("Usage"), "{help}");
        let args: Vec<OsString> = ["terminal", "sale", "--help"].map(OsString::from).to_vec();
        let help = parse(&texts, &args).unwrap_err().to_string();
        assert!(help.contains("terminal sale 12.50") && help.contains("等待刷卡的秒数"), "{help}");
    }
}
