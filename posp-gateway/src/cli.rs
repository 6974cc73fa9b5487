//! The command line. Its texts are in the Fluent files (`help-posp-gateway-…`), so the doc comments here are for us.

mod operations;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use console::Texts;
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Debug, Parser)]
#[command(name = "posp-gateway", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[arg(long, global = true, value_name = "TAG")]
    pub(crate) lang: Option<String>,
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TAPLINE_CONFIG",
        default_value = "posp-gateway.toml"
    )]
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
    Serve,
    #[command(subcommand)]
    Merchant(Merchant),
    #[command(subcommand)]
    Terminal(Terminal),
    #[command(subcommand)]
    Sam(Sam),
    #[command(subcommand)]
    Issuer(Issuer),
    #[command(subcommand)]
    Card(Card),
    #[command(subcommand)]
    Funding(Funding),
    #[command(subcommand)]
    Payer(Payer),
    #[command(subcommand)]
    Limit(Limit),
    #[command(subcommand)]
    Report(Report),
    #[command(subcommand)]
    Record(RecordCommand),
    Audit {
        #[arg(long, value_name = "FILE")]
        heads: Option<PathBuf>,
        #[arg(long, value_name = "FILE", conflicts_with = "heads")]
        export_head: Option<PathBuf>,
    },
    Backup {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    Restore {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    Settle {
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        older_than: u32,
    },
    Doctor,
    Completions {
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Merchant {
    Add {
        #[arg(value_name = "MERCHANT")]
        merchant: String,
        #[arg(long, value_name = "NAME")]
        name: String,
        #[arg(long, value_name = "CODE", default_value = "CNY")]
        currency: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Terminal {
    Add {
        #[arg(value_name = "TERMINAL")]
        terminal: String,
        #[arg(long, value_name = "MERCHANT")]
        merchant: String,
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        acquirer: u64,
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[arg(long)]
        renew: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sam {
    Add {
        #[arg(value_name = "SAM")]
        sam: String,
        #[arg(long, value_name = "TERMINAL")]
        terminal: String,
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
    },
    Retry {
        #[arg(value_name = "SAM")]
        sam: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Issuer {
    Add {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Card {
    Add {
        #[arg(value_name = "SERIAL")]
        asn: String,
        #[arg(long, value_name = "ISSUER")]
        issuer: String,
        #[arg(long, value_name = "VERSION", default_value_t = 1)]
        key_version: u8,
        #[arg(long, value_name = "ACCOUNT")]
        funding: Option<String>,
    },
    Rekey {
        #[arg(value_name = "SERIAL")]
        asn: String,
        #[arg(long, value_name = "ISSUER")]
        issuer: String,
        #[arg(long, value_name = "VERSION")]
        key_version: u8,
    },
    Deny {
        #[arg(value_name = "SERIAL")]
        asn: String,
        #[arg(long, value_name = "ISSUER")]
        issuer: String,
        #[arg(long)]
        lift: bool,
    },
    Release(CardLoad),
    Credit(CardLoad),
}

/// A load of a card, of those at one counter.
#[derive(Debug, clap::Args)]
pub(crate) struct CardLoad {
    #[arg(value_name = "SERIAL")]
    pub(crate) asn: String,
    #[arg(long, value_name = "ISSUER")]
    pub(crate) issuer: String,
    #[arg(long, value_name = "NUMBER")]
    pub(crate) counter: u16,
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) reference: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Funding {
    Add {
        #[arg(value_name = "ACCOUNT")]
        account: String,
        #[arg(long, value_name = "CODE", default_value = "CNY")]
        currency: String,
    },
    Deposit {
        #[arg(value_name = "ACCOUNT")]
        account: String,
        #[arg(value_name = "AMOUNT")]
        amount: String,
        #[arg(long, value_name = "CODE", default_value = "CNY")]
        currency: String,
        #[arg(long, value_name = "NUMBER")]
        reference: u64,
    },
    Close {
        #[arg(value_name = "ACCOUNT")]
        account: String,
        #[arg(long, value_name = "CODE", default_value = "CNY")]
        currency: String,
    },
    Suffices {
        #[arg(value_name = "ACCOUNT")]
        account: String,
        #[arg(value_name = "AMOUNT")]
        amount: String,
        #[arg(long, value_name = "CODE", default_value = "CNY")]
        currency: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Payer {
    /// The card number comes from standard input: what is among the arguments, everybody on the machine can read.
    Add {
        #[arg(value_name = "ACCOUNT")]
        account: String,
        #[arg(long, value_name = "CODE", default_value = "CNY")]
        currency: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Limit {
    List {
        #[arg(long, value_name = "COUNT", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    #[command(group = clap::ArgGroup::new("whose").required(true).args(["kind", "account", "terminal", "merchant"]))]
    Set {
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        #[arg(long, value_name = "TERMINAL")]
        terminal: Option<String>,
        #[arg(long, value_name = "MERCHANT")]
        merchant: Option<String>,
        #[arg(long, value_name = "AMOUNT")]
        payment: Option<String>,
        #[arg(long, value_name = "AMOUNT")]
        day_sum: Option<String>,
        #[arg(long, value_name = "COUNT")]
        day_count: Option<u32>,
        #[arg(long, value_name = "CODE", default_value = "CNY")]
        currency: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Report {
    Merchant {
        #[arg(value_name = "MERCHANT")]
        merchant: String,
        #[arg(long, value_name = "DATE")]
        from: Option<String>,
        #[arg(long, value_name = "DATE")]
        to: Option<String>,
    },
    Batch {
        #[arg(value_name = "TERMINAL")]
        terminal: String,
        #[arg(value_name = "NUMBER")]
        batch: Option<u32>,
    },
    Card {
        #[arg(value_name = "SERIAL")]
        asn: String,
        #[arg(long, value_name = "ISSUER")]
        issuer: String,
    },
    Transaction(Box<TransactionNames>),
    Alerts {
        #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    Open {
        #[arg(long, value_name = "COUNT", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    DenyList {
        #[arg(long, value_name = "VERSION", default_value_t = 0)]
        since: u32,
        #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        limit: u32,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RecordCommand {
    #[command(group(clap::ArgGroup::new("decision").required(true).args(["pay", "void"])))]
    Decide {
        #[arg(value_name = "SAM")]
        sam: String,
        #[arg(value_name = "NUMBER")]
        seq: u32,
        #[arg(long)]
        pay: bool,
        #[arg(long)]
        void: bool,
    },
}

/// One whole name of a transaction.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("name").required(true)
    .args(["reference", "trace", "authorisation", "counter", "sequence", "payer", "account"]))]
pub(crate) struct TransactionNames {
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) reference: Option<String>,
    #[arg(long, value_name = "TERMINAL", requires = "trace")]
    pub(crate) terminal: Option<String>,
    #[arg(long, value_name = "NUMBER", requires = "trace")]
    pub(crate) batch: Option<u32>,
    #[arg(long, value_name = "NUMBER", requires_all = ["terminal", "batch"])]
    pub(crate) trace: Option<u32>,
    #[arg(long, value_name = "CODE")]
    pub(crate) authorisation: Option<String>,
    #[arg(long, value_name = "ISSUER", requires = "counter")]
    pub(crate) issuer: Option<String>,
    #[arg(long, value_name = "SERIAL", requires = "counter")]
    pub(crate) card: Option<String>,
    #[arg(long, value_name = "NUMBER", requires_all = ["issuer", "card"])]
    pub(crate) counter: Option<u16>,
    #[arg(long, requires = "counter")]
    pub(crate) load: bool,
    #[arg(long, value_name = "SAM", requires = "sequence")]
    pub(crate) sam: Option<String>,
    #[arg(long, value_name = "NUMBER", requires = "sam")]
    pub(crate) sequence: Option<u32>,
    #[arg(long, value_name = "TOKEN")]
    pub(crate) payer: Option<String>,
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) account: Option<String>,
    #[arg(long, value_name = "CODE", default_value = "CNY")]
    pub(crate) currency: String,
    #[arg(long, value_name = "DATE")]
    pub(crate) from: Option<String>,
    #[arg(long, value_name = "DATE")]
    pub(crate) to: Option<String>,
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
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
        let args: Vec<OsString> = ["posp-gateway", "terminal", "add", "--help"].map(OsString::from).to_vec();
        let help = parse(&texts, &args).unwrap_err().to_string();
        assert!(help.contains("示例：") && help.contains("posp-gateway terminal add T0000001"), "{help}");
    }

    #[test]
    fn a_search_takes_one_whole_name_and_a_limit_is_one_partys() {
        let texts = Texts::new(Language::named("en").unwrap());
        let reads = |line: &str| {
            let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            parse(&texts, &args).ok().and_then(|cli| cli.command.operation()).is_some()
        };
        for good in
            ["--reference 1", "--terminal T --batch 1 --trace 2", "--sam 00 --sequence 1", "--payer 00"]
        {
            assert!(reads(&format!("posp-gateway report transaction {good}")), "{good}");
        }
        for bad in ["", "--terminal T --trace 2", "--sequence 1", "--reference 1 --payer 00", "--issuer 1"] {
            assert!(!reads(&format!("posp-gateway report transaction {bad}")), "{bad}");
        }
        assert!(reads("posp-gateway limit set --kind carrier --payment 2.00"));
        assert!(!reads("posp-gateway limit set --payment 2.00"));
        assert!(!reads("posp-gateway limit set --kind carrier --merchant M --payment 2.00"));
    }
}
