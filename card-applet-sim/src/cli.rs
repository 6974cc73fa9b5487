//! The command line.

use clap::{Args, CommandFactory, Parser, Subcommand};
use protocol::ids::{Asn, Factor, IssuerId, SamSerial, SamTerminal};
use std::net::IpAddr;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  card-applet-sim personalise issuer --issuer 5441504C00000156 --currency CNY --out issuer.toml
  card-applet-sim personalise card --issuer issuer.toml --serial 62170000000000000001 --pin 123456 --balance 50.00 --out a.card
  card-applet-sim personalise sam --issuer issuer.toml --terminal 000000000017 --out reader.sam
  card-applet-sim inspect a.card
  card-applet-sim run --card a.card --sam reader.sam --port 35963 --control /tmp/slots
  card-applet-sim control /tmp/slots tear ins54 answer";

/// A card and a SAM in software: make them, show them, put them into a virtual PC/SC reader.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Print results as JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Language of messages (en, zh-CN)
    #[arg(long, global = true)]
    pub(crate) lang: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an issuer's key file, a card, or a SAM
    #[command(subcommand)]
    Personalise(Personalise),
    /// Show what a card or SAM file holds (never keys)
    Inspect {
        /// The file
        file: PathBuf,
    },
    /// Put a card and a SAM into the slots of vpcd's virtual reader
    Run(Run),
    /// Send a command to a running simulator: insert, remove, swap, tear, status, quit
    Control {
        /// The simulator's control socket
        socket: PathBuf,
        /// The command, as `status` or `tear ins54 answer`
        #[arg(required = true, trailing_var_arg = true)]
        words: Vec<String>,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Personalise(_) => "personalise",
            Self::Inspect { .. } => "inspect",
            Self::Run(_) => "run",
            Self::Control { .. } => "control",
            Self::Completions { .. } => "completions",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Personalise {
    /// Generate fresh master keys of an issuer (a file for its owner alone)
    Issuer(NewIssuer),
    /// Make a card from an issuer's keys
    Card(NewCardFile),
    /// Make a SAM from the keys of one or more issuers
    Sam(NewSamFile),
}

#[derive(Debug, Args)]
pub(crate) struct NewIssuer {
    /// Issuer identifier, 16 hexadecimal digits
    #[arg(long)]
    pub(crate) issuer: IssuerId,
    /// Currency of the cards (ISO 4217 letters)
    #[arg(long, default_value = "CNY")]
    pub(crate) currency: String,
    /// Crypto suite: 10 (AES-128) or 00 (3DES, compatible with PBOC purses)
    #[arg(long, default_value = "10")]
    pub(crate) suite: String,
    /// Version of the key set
    #[arg(long, default_value_t = 1)]
    pub(crate) key_version: u8,
    /// A diversification factor above the card's serial, 16 hexadecimal digits; at most two, in wire order
    #[arg(long = "factor")]
    pub(crate) factors: Vec<Factor>,
    /// Most that a card may hold
    #[arg(long, default_value = "1000.00")]
    pub(crate) max_balance: String,
    /// Most that one load may add
    #[arg(long, default_value = "1000.00")]
    pub(crate) max_load: String,
    /// Most that one purchase may take
    #[arg(long, default_value = "500.00")]
    pub(crate) max_payment: String,
    /// The key file to write; an existing one is not touched
    #[arg(long)]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct NewCardFile {
    /// The issuer's key file
    #[arg(long)]
    pub(crate) issuer: PathBuf,
    /// Application serial number, 20 hexadecimal digits
    #[arg(long)]
    pub(crate) serial: Asn,
    /// The holder's PIN, 4 to 12 digits
    #[arg(long, env = "TAPLINE_CARD_PIN", hide_env_values = true)]
    pub(crate) pin: String,
    /// Balance to start with
    #[arg(long, default_value = "0")]
    pub(crate) balance: String,
    /// First day of validity
    #[arg(long, default_value = "2026-01-01")]
    pub(crate) from: String,
    /// Last day of validity
    #[arg(long, default_value = "2036-12-31")]
    pub(crate) to: String,
    /// The card file to write; an existing one is not touched
    #[arg(long)]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct NewSamFile {
    /// An issuer's key file; repeat it for more issuers
    #[arg(long, required = true)]
    pub(crate) issuer: Vec<PathBuf>,
    /// Terminal number, 12 hexadecimal digits
    #[arg(long)]
    pub(crate) terminal: SamTerminal,
    /// Serial number of the SAM, 20 hexadecimal digits; without it, the terminal number
    #[arg(long)]
    pub(crate) serial: Option<SamSerial>,
    /// The SAM file to write; an existing one is not touched
    #[arg(long)]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The card file
    #[arg(long)]
    pub(crate) card: PathBuf,
    /// The SAM file
    #[arg(long)]
    pub(crate) sam: Option<PathBuf>,
    /// Where vpcd listens
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// Port of vpcd's first slot (the card); the SAM's is the next
    #[arg(long, default_value_t = 35963)]
    pub(crate) port: u16,
    /// Listen for commands on this Unix socket
    #[arg(long)]
    pub(crate) control: Option<PathBuf>,
    /// Take commands from standard input as well, one a line
    #[arg(long)]
    pub(crate) stdin: bool,
    /// Start with the card out of the field
    #[arg(long)]
    pub(crate) removed: bool,
    /// Answer as over T=0: 61xx and GET RESPONSE, 6Cxx
    #[arg(long)]
    pub(crate) t0: bool,
}

pub(crate) fn completions(shell: clap_complete::Shell) {
    let mut command = Cli::command();
    let name = command.get_name().to_string();
    clap_complete::generate(shell, &mut command, name, &mut std::io::stdout());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
