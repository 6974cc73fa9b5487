//! The commands: each loads what it needs, runs one flow, and says what became of it.

use crate::cli::{self, Cli, Command, History};
use crate::config::{self, Settings};
use crate::devices::Devices;
use crate::doctor;
use crate::driver::{Clock, Driver, Run, SystemClock};
use crate::fault;
use crate::host::{self, Host, Line};
use crate::journal::{FILE_NAME, FREE_BYTES_MIN, Journal, Search, StoreFault, Sums, free_bytes};
use crate::outcome::Context;
use crate::receipt::{Receipt, Standing};
use crate::report;
use crate::unended;
use crate::words::last_digits;
use anyhow::Context as _;
use console::{Args, Console, Exit, Failure, Language, Texts, code};
use flow::balance::BalanceInquiry;
use flow::machine::Patience;
use flow::purchase::Purchase;
use flow::record::{CardId, RecordId};
use flow::sam::SamIdentity;
use flow::{Machine, Prompt};
use protocol::money::{Amount, CardAmount};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;
use zeroize::Zeroizing;

mod online;

/// How long the same card has to come back after an interrupted debit, milliseconds.
const SAME_CARD_MS: u64 = 30_000;

/// Lists the names of all readers.
pub type ListReaders = Box<dyn Fn() -> Result<Vec<String>, Failure>>;
/// Opens the two slots.
pub type OpenDevices = Box<dyn FnMut(&Settings) -> Result<Devices, Failure>>;

/// Reads a line that must not be shown.
pub type ReadSecret = Box<dyn FnMut() -> std::io::Result<Zeroizing<String>>>;

/// The world around one call of the program: the real one, or a test's.
pub struct World {
    /// The arguments, the program's name first.
    pub args: Vec<OsString>,
    /// The environment.
    pub environment: HashMap<String, String>,
    /// Standard output.
    pub out: Box<dyn Write + Send>,
    /// Standard error.
    pub err: Box<dyn Write + Send>,
    /// The names of all readers.
    pub readers: ListReaders,
    /// Opens the two slots.
    pub open: OpenDevices,
    /// Both clocks; `None`: the machine's.
    pub clock: Option<Box<dyn Clock>>,
    /// Connects to the gateway.
    pub dial: host::Dial,
    /// Reads a PIN or a code that must not be shown, after the prompt was said.
    pub secret: ReadSecret,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("args", &self.args).finish_non_exhaustive()
    }
}

impl World {
    /// The process's own arguments and environment, PC/SC, the machine's clock.
    #[must_use]
    pub fn real() -> Self {
        let listed = || {
            let readers = hardware::pcsc::list().map_err(|error| fault::reader("reader.card", "", error))?;
            Ok(readers.into_iter().map(|reader| reader.name).collect())
        };
        Self {
            args: std::env::args_os().collect(),
            // Variables that are no text cannot be ours.
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
            readers: Box::new(listed),
            open: Box::new(|settings| Devices::open(&settings.reader)),
            clock: None,
            dial: Box::new(host::tcp),
            secret: Box::new(online::read_secret),
        }
    }
}

/// Runs one command and says how the process ends.
pub fn run(mut world: World) -> Exit {
    let variables = world.environment.clone();
    let language = Language::choose(console::help::language_option(&world.args).as_deref(), |name| {
        variables.get(name).cloned()
    });
    let texts = Texts::new(*language.as_ref().unwrap_or(&Language::ENGLISH));
    let parsed = cli::parse(&texts, &world.args);
    let json = parsed.as_ref().is_ok_and(|cli| cli.json);
    let (out, err) = (
        std::mem::replace(&mut world.out, Box::new(std::io::sink())),
        std::mem::replace(&mut world.err, Box::new(std::io::sink())),
    );
    let cli = match parsed {
        Ok(cli) => cli,
        Err(answer) => return clap_answer(&answer, out, err),
    };
    let mut console = Console::to(texts, json, out, err);
    let command = cli.command.name();
    let done = match language {
        Ok(_) => App { world, console: &mut console, cli: &cli }.dispatch(),
        Err(failure) => Err(failure.into()),
    };
    done.unwrap_or_else(|error| console.failed(command, error.as_ref()))
}

/// Help and version go to standard output, mistakes to standard error, as `clap` does itself.
fn clap_answer(answer: &clap::Error, mut out: Box<dyn Write + Send>, mut err: Box<dyn Write + Send>) -> Exit {
    let target = if answer.use_stderr() { &mut err } else { &mut out };
    // If nobody can read it, the exit code still tells.
    let _ = write!(target, "{}", answer.render());
    if answer.use_stderr() { Exit::Usage } else { Exit::Success }
}

struct App<'a> {
    world: World,
    console: &'a mut Console,
    cli: &'a Cli,
}

/// What a payment needs beside the configuration.
struct Session {
    journal: Journal,
    devices: Devices,
    clock: Box<dyn Clock>,
    /// The way to the gateway, for what needs it.
    line: Option<Line>,
}

impl App<'_> {
    fn dispatch(&mut self) -> anyhow::Result<Exit> {
        match &self.cli.command {
            Command::Init { print } => self.init(*print),
            Command::Balance { wait } => self.balance(*wait),
            Command::Sale { amount, wait } => self.sale(amount, *wait),
            Command::Topup { amount, wait } => self.topup(amount, *wait),
            Command::Upload { with_open } => self.upload(*with_open),
            Command::Settle => self.settle(),
            Command::Provision { file, replace } => self.provision(file, *replace),
            Command::History(history) => self.history(history),
            Command::Doctor => self.doctor(),
            Command::Completions { shell } => self.completions(*shell),
        }
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let variables = self.world.environment.iter().map(|(name, value)| (name.clone(), value.clone()));
        let settings = Settings::load(&self.cli.config, variables)?;
        let filter = self.world.environment.get("TAPLINE_LOG").unwrap_or(&settings.log.filter).clone();
        console::log::start(&console::log::Settings { filter, format: settings.log.format })?;
        Ok(settings)
    }

    fn clock(&mut self, settings: &Settings) -> Box<dyn Clock> {
        let zone = settings.terminal.zone.clone();
        self.world.clock.take().unwrap_or_else(|| Box::new(SystemClock::start(zone)))
    }

    // --- init ---------------------------------------------------------------------------------------------------

    fn init(&mut self, print: bool) -> anyhow::Result<Exit> {
        if print {
            self.console.print(config::DEFAULT)?;
            return Ok(Exit::Success);
        }
        let config = &self.cli.config;
        let new_config = match console::config::write_default(config, config::DEFAULT) {
            Ok(()) => true,
            Err(failure) if failure.code() == code::CONFIG_EXISTS => false,
            Err(failure) => return Err(failure.into()),
        };
        let settings = self.settings()?;
        let folder = &settings.data.folder;
        std::fs::create_dir_all(folder).map_err(|error| console::config::disk(folder, error))?;
        let path = folder.join(FILE_NAME);
        let new_journal = !path.exists();
        Journal::create(&path).map_err(|fault| fault::store(&path, fault))?;
        let message = match (new_config, new_journal) {
            (true, _) => "initialised",
            (false, true) => "journal-created",
            (false, false) => "journal-there",
        };
        let args = Args::new().with("config", config.display()).with("journal", path.display());
        let next = self.console.texts().attribute(message, "next", &args);
        let said = self.console.texts().say_with(message, &args);
        let text = next.map_or_else(|| said.clone(), |next| format!("{said}\n      →  {next}"));
        let result = report::Initialised {
            config: config.display().to_string(),
            journal: path.display().to_string(),
            new_config,
            new_journal,
        };
        self.console.result("init", &result, &text)?;
        Ok(Exit::Success)
    }

    // --- flows --------------------------------------------------------------------------------------------------

    fn balance(&mut self, wait: Option<u16>) -> anyhow::Result<Exit> {
        let settings = with_wait(self.settings()?, wait);
        let mut session = self.session(&settings)?;
        let profile = settings.profile().context("the limit was checked when the file was read")?;
        let mut inquiry = BalanceInquiry::new(&profile, patience(&settings));
        let nothing = Amount::new(0, settings.terminal.currency);
        let ran = self.drive(&settings, &mut session, &mut inquiry, nothing)?;
        self.conclude("balance", &settings, &session, None, nothing, ran)
    }

    fn sale(&mut self, amount: &str, wait: Option<u16>) -> anyhow::Result<Exit> {
        let settings = with_wait(self.settings()?, wait);
        let (amount, on_card) = payable(&settings, amount)?;
        room_for_records(&settings)?;
        let mut session = self.session(&settings)?;
        let sam = self.identify(&settings, &mut session)?;
        let profile = settings.profile().context("the limit was checked when the file was read")?;
        let mut purchase = Purchase::new(&profile, sam, on_card, patience(&settings))?;
        let ran = self.drive(&settings, &mut session, &mut purchase, amount)?;
        self.conclude("sale", &settings, &session, Some(&sam), amount, ran)
    }

    fn session(&mut self, settings: &Settings) -> Result<Session, Failure> {
        let clock = self.clock(settings);
        doctor::sane_clock(clock.now())?;
        let path = settings.data.folder.join(FILE_NAME);
        let journal = Journal::open(&path).map_err(|fault| fault::store(&path, fault))?;
        let devices = (self.world.open)(settings)?;
        Ok(Session { journal, devices, clock, line: None })
    }

    fn identify(&mut self, settings: &Settings, session: &mut Session) -> Result<SamIdentity, Failure> {
        session.devices.power_sam()?;
        let identity = session.devices.identify_sam(session.clock.now());
        let nothing = Amount::new(0, settings.terminal.currency);
        identity.map_err(|fault| context(settings, session, None, nothing).fault(fault))
    }

    fn drive(
        &mut self,
        settings: &Settings,
        session: &mut Session,
        machine: &mut dyn Machine,
        amount: Amount,
    ) -> Result<Run, Failure> {
        let deny_list = settings.deny_list()?;
        let console = &mut *self.console;
        // A prompt that cannot be shown must not stop a payment.
        let mut awaited = None;
        let mut show = |prompt| drop(show_prompt(console, prompt, amount, &mut awaited));
        let Session { journal, devices, clock, line } = session;
        let host = line.as_mut().map(|line| -> &mut dyn Host { line });
        Driver { devices, journal, deny_list: &deny_list, clock: &**clock, host, show: &mut show }
            .run(machine)
    }

    /// Tells how a flow ended.
    fn conclude(
        &mut self,
        command: &str,
        settings: &Settings,
        session: &Session,
        sam: Option<&SamIdentity>,
        amount: Amount,
        ran: Run,
    ) -> anyhow::Result<Exit> {
        let recovered = report::recovered(&ran, &session.journal);
        let told = context(settings, session, sam, amount).tell(ran)?;
        let texts = self.console.texts();
        let text = report::told_text(&told, &recovered, settings, texts);
        let result = report::told(&told, &recovered, settings, texts);
        Ok(self.console.outcome(command, &result, &text, told.exit()))
    }

    // --- looking back -------------------------------------------------------------------------------------------

    fn history(&mut self, wanted: &History) -> anyhow::Result<Exit> {
        let settings = self.settings()?;
        let path = settings.data.folder.join(FILE_NAME);
        let broken = |fault| fault::store(&path, fault);
        let journal = Journal::open(&path).map_err(broken)?;
        if let Some(number) = wanted.receipt {
            return self.reprint(&settings, &journal, RecordId(number));
        }
        let search = Search {
            text: wanted.search.clone(),
            currency: settings.terminal.currency,
            from: wanted.from.map(|day| day.to_string()),
            to: wanted.to.map(|day| day.to_string()),
            uncertain: wanted.uncertain,
            limit: wanted.limit,
        };
        let payments = journal.search(&search).map_err(broken)?;
        let sums = Sums::of(&payments, settings.terminal.currency).map_err(broken)?;
        // A search by text is for payments; loads are listed by day.
        let loads = match &search.text {
            Some(_) => Vec::new(),
            None => {
                journal.loads(search.from.as_deref(), search.to.as_deref(), search.limit).map_err(broken)?
            }
        };
        let wanted = |load: &crate::journal::Load| !search.uncertain || load.state.is_uncertain();
        let loads: Vec<_> = loads.into_iter().filter(wanted).collect();
        let now = self.clock(&settings).now();
        let waiting = unended::find(&journal, now).map_err(broken)?;
        let texts = self.console.texts();
        let mut text = report::history_text(&payments, &sums, texts);
        if !loads.is_empty() {
            text.push_str(&format!("\n\n{}\n", texts.say("history-loads")));
            text.push_str(&crate::online_report::loads_text(&loads, texts));
        }
        if !waiting.is_empty() {
            text.push_str(&format!("\n\n{}", unended::text(&waiting, texts)));
        }
        let waiting = unended::report(&waiting, &settings, texts);
        let result = report::history(&payments, &sums, (&loads, waiting), &settings);
        self.console.result("history", &result, &text)?;
        Ok(Exit::Success)
    }

    fn reprint(&mut self, settings: &Settings, journal: &Journal, id: RecordId) -> anyhow::Result<Exit> {
        let broken = |fault| fault::store(journal.path(), fault);
        let Some(payment) = journal.payment(id).map_err(broken)? else {
            return Err(Failure::new(code::NO_SUCH_PAYMENT).with("number", id.0).into());
        };
        let intent = journal.intent(id).map_err(broken)?;
        let currency = settings.terminal.currency;
        let standing = Standing::from(payment.state);
        let receipt = Receipt {
            standing,
            number: id.0,
            date: intent.moment.date,
            time: intent.moment.time,
            amount: payment.amount,
            card: payment.card.asn,
            terminal: intent.terminal,
            sequence: intent.term_seq,
            tac: payment.tac.as_deref().and_then(report::tac_bytes),
            before: intent.balance_before.in_currency(currency),
            after: standing.is_taken().then(|| intent.balance_after().in_currency(currency)),
            copy: true,
        };
        let text = receipt.text(&settings.terminal, self.console.texts());
        let result = report::payment(&receipt, settings, self.console.texts());
        self.console.result("history", &result, &text)?;
        Ok(Exit::Success)
    }

    fn doctor(&mut self) -> anyhow::Result<Exit> {
        let settings = self.settings();
        let now = match &settings {
            Ok(settings) => {
                let zone = settings.terminal.zone.clone();
                self.world.clock.take().unwrap_or_else(|| Box::new(SystemClock::start(zone))).now()
            }
            Err(_) => SystemClock::start(config::Zone::default()).now(),
        };
        let online = settings.as_ref().ok().cloned();
        let patient = doctor::Patient {
            config_path: &self.cli.config,
            settings,
            now,
            readers: &*self.world.readers,
            open: &mut *self.world.open,
        };
        let mut checks = doctor::examine(self.console.texts(), patient);
        if let Some(settings) = online {
            checks.extend(self.examine_host(&settings));
        }
        let failed = checks.iter().filter(|check| check.verdict == doctor::Verdict::Bad).count();
        let mut text = doctor::lines(self.console.texts(), &checks);
        if failed == 0 {
            text.push_str(&self.console.texts().say("doctor-all-good"));
        }
        self.console.result("doctor", &checks, &text)?;
        if failed == 0 {
            return Ok(Exit::Success);
        }
        if !self.console.is_json() {
            let failure =
                Failure::new(code::CHECKS_FAILED).with("failed", failed).with("total", checks.len());
            return Ok(self.console.failed("doctor", &failure));
        }
        Ok(Exit::ChecksFailed)
    }

    fn completions(&mut self, shell: clap_complete::Shell) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        let mut command = cli::command(self.console.texts());
        clap_complete::generate(shell, &mut command, "terminal", &mut script);
        self.console.print(&String::from_utf8(script)?)?;
        Ok(Exit::Success)
    }
}

/// The amount as typed, as money and as a card's field.
fn payable(settings: &Settings, text: &str) -> Result<(Amount, CardAmount), Failure> {
    let currency = settings.terminal.currency;
    let unreadable = |_| {
        Failure::new(code::AMOUNT_UNREADABLE)
            .with("text", text)
            .with("currency", currency)
            .with("example", Amount::new(1250, currency).number())
    };
    let amount = Amount::parse(text, currency).map_err(unreadable)?;
    if amount.is_zero() {
        return Err(Failure::new(code::AMOUNT_ZERO));
    }
    let limit = settings.limit().map_err(unreadable)?;
    match CardAmount::try_from(amount) {
        Ok(on_card) if amount.minor() <= limit.minor() => Ok((amount, on_card)),
        _ => Err(Failure::new(code::AMOUNT_TOO_LARGE).with("amount", amount).with("limit", limit)),
    }
}

/// Asked before the customer is, because the journal would refuse the intent.
fn room_for_records(settings: &Settings) -> Result<(), Failure> {
    let path = settings.data.folder.join(FILE_NAME);
    match free_bytes(&path) {
        Ok(free) if free < FREE_BYTES_MIN => Err(fault::store(&path, StoreFault::Full)),
        Ok(_) => Ok(()),
        Err(fault) => Err(fault::store(&path, fault)),
    }
}

fn with_wait(mut settings: Settings, wait: Option<u16>) -> Settings {
    settings.reader.wait_s = wait.unwrap_or(settings.reader.wait_s);
    settings
}

fn patience(settings: &Settings) -> Patience {
    Patience { card_ms: u64::from(settings.reader.wait_s).saturating_mul(1000), same_card_ms: SAME_CARD_MS }
}

fn context<'a>(
    settings: &'a Settings,
    session: &'a Session,
    sam: Option<&'a SamIdentity>,
    amount: Amount,
) -> Context<'a> {
    let devices = &session.devices;
    Context {
        settings,
        journal: &session.journal,
        card_reader: hardware::CardReader::name(&devices.card),
        sam_reader: devices.sam_name(),
        sam,
        amount,
    }
}

/// Shows prompts; `awaited` is the card that a debit was interrupted with.
fn show_prompt(
    console: &mut Console,
    prompt: Prompt,
    amount: Amount,
    awaited: &mut Option<CardId>,
) -> std::io::Result<()> {
    let args = Args::new().with("amount", amount);
    match prompt {
        Prompt::PresentCard if amount.is_zero() => console.note("present-card-balance", &args),
        Prompt::PresentCard => console.note("present-card", &args),
        Prompt::Processing => console.note("processing", &args),
        Prompt::PresentAgain => console.note("present-again", &args),
        Prompt::PresentSameCard(card) => {
            *awaited = Some(card);
            console.note("present-same-card", &args.with("card", last_digits(&card.asn)))
        }
        Prompt::OtherCard(_) => {
            let digits = awaited.map(|card| last_digits(&card.asn)).unwrap_or_default();
            console.note("other-card", &args.with("card", digits))
        }
        Prompt::Connecting => console.note("connecting", &args),
        Prompt::RemoveCard => console.note("remove-card", &args),
    }
}
