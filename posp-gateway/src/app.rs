//! The program: reads what it was asked, does it, says what became of it, and ends with a code that scripts can use.

use crate::cli::{self, Cli, Command, Payer, Terminal};
use crate::clock::Clock;
use crate::config::{
    DATABASE_PASSWORD_VARIABLE, DEFAULT, Database, MASTER_KEY_VARIABLE, OWNER_PASSWORD_VARIABLE, Settings,
};
use crate::ops::control::{self, Control};
use crate::ops::{
    self, Context, Direct, HeadSchedule, Operation, Outcome, Pan, Through, perform, store_failure,
};
use crate::server::Server;
use crate::words;
use backend::Engine;
use backend::api::Backend;
use backend::store::Store;
use backend::store::postgres::{self, PostgresStore};
use backend::store::sqlite::SqliteStore;
use console::{Args, Console, Exit, Failure, Language, Texts, code};
use keys::{KeyError, KeyModule, SoftKeys};
use serde::Serialize;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use zeroize::Zeroizing;

/// How often the log says how the gateway is.
const PULSE: Duration = Duration::from_secs(60);

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
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("args", &self.args).finish_non_exhaustive()
    }
}

impl World {
    /// The process's own.
    #[must_use]
    pub fn real() -> Self {
        Self {
            args: std::env::args_os().collect(),
            // Variables that are no text cannot be ours.
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
        }
    }
}

/// Runs one command and says how the process ends.
#[must_use]
pub fn run(world: World) -> Exit {
    let World { args, environment, mut out, mut err } = world;
    let chosen = Language::choose(console::help::language_option(&args).as_deref(), |name| {
        environment.get(name).cloned()
    });
    let texts = Texts::new(*chosen.as_ref().unwrap_or(&Language::ENGLISH));
    let cli = match cli::parse(&texts, &args) {
        Ok(cli) => cli,
        Err(answer) => {
            // Help and version go to standard output, mistakes to standard error, as `clap` does itself.
            let target = if answer.use_stderr() { &mut err } else { &mut out };
            let _ = write!(target, "{}", answer.render());
            return if answer.use_stderr() { Exit::Usage } else { Exit::Success };
        }
    };
    let mut console = Console::to(texts, cli.json, out, err);
    let name = cli.command.name();
    let done = match chosen {
        Ok(_) => App { environment: &environment, console: &mut console, cli: &cli }.dispatch(),
        Err(failure) => Err(failure.into()),
    };
    done.unwrap_or_else(|error| console.failed(name, error.as_ref()))
}

/// A card number from standard input; from a keyboard it is not shown.
fn read_pan() -> Result<Pan, Failure> {
    /// Longest line that is read, in bytes.
    const LINE_BYTES_MAX: u64 = 64;
    let unread = |reason: &str| {
        Failure::new(code::GATEWAY_VALUE).with("what", "pan").with("name", "").with("reason", reason)
    };
    let input = io::stdin();
    let line = if input.is_terminal() {
        rpassword::prompt_password("PAN: ").map(Zeroizing::new)
    } else {
        let mut line = Zeroizing::new(String::new());
        io::Read::take(input.lock(), LINE_BYTES_MAX).read_line(&mut line).map(|_| line)
    };
    let line = line.map_err(|error| unread(&error.to_string()))?;
    Pan::parse(&line).ok_or_else(|| unread("8 to 19 digits on standard input"))
}

struct App<'a> {
    environment: &'a HashMap<String, String>,
    console: &'a mut Console,
    cli: &'a Cli,
}

#[derive(Serialize)]
struct Listening {
    listening: String,
    terminals: usize,
}

#[derive(Serialize)]
struct Stopped {
    stopped: bool,
}

#[derive(Serialize)]
struct Made {
    config: PathBuf,
    keys: PathBuf,
    master_key: PathBuf,
    database: String,
}

/// What `terminal add` prints.
#[derive(Serialize)]
struct Provisioned<'a> {
    terminal: &'a str,
    file: PathBuf,
    code: &'a str,
}

#[derive(Serialize)]
struct Check {
    check: &'static str,
    ok: bool,
    detail: String,
}

impl App<'_> {
    fn dispatch(&mut self) -> anyhow::Result<Exit> {
        match &self.cli.command {
            Command::Init { print } => self.init(*print),
            Command::Serve => self.serve(),
            Command::Doctor => self.doctor(),
            Command::Restore { file } => self.restore(file),
            Command::Completions { shell } => {
                let mut command = cli::command(self.console.texts());
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut command, "posp-gateway", &mut script);
                self.console.result("completions", &(), &String::from_utf8_lossy(&script))?;
                Ok(Exit::Success)
            }
            Command::Payer(Payer::Add { account, currency }) => {
                let (pan, account, currency) = (read_pan()?, account.clone(), currency.clone());
                self.operate(&Operation::PayerAdd { pan, account, currency })
            }
            other => match other.operation() {
                Some(operation) => self.operate(&operation),
                None => Ok(Exit::Usage),
            },
        }
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let variables = self.environment.iter().map(|(name, value)| (name.clone(), value.clone()));
        let settings = Settings::load(&self.cli.config, variables)?;
        let quiet = !matches!(self.cli.command, Command::Serve);
        let configured = if quiet { "warn" } else { &settings.log.filter };
        let filter = self.environment.get("TAPLINE_LOG").map_or(configured, String::as_str).to_owned();
        console::log::start(&console::log::Settings { filter, format: settings.log.format })?;
        Ok(settings)
    }

    /// `init`: configuration, master key, key file, database. Refuses to touch what is there.
    fn init(&mut self, print: bool) -> anyhow::Result<Exit> {
        if print {
            self.console.result("init", &DEFAULT, DEFAULT)?;
            return Ok(Exit::Success);
        }
        if !self.cli.config.exists() {
            console::config::write_default(&self.cli.config, DEFAULT)?;
        } else if Settings::load(&self.cli.config, []).is_ok_and(|settings| settings.data.database.is_there())
        {
            return Err(Failure::new(code::CONFIG_EXISTS).with("path", self.cli.config.display()).into());
        }
        let settings = self.settings()?;
        let data = &settings.data;
        // Beside other gateways of a server the keys are those of the others, copied.
        if let Database::File(database) = &data.database {
            for path in [database, &data.keys] {
                if path.exists() {
                    return Err(Failure::new(code::CONFIG_EXISTS).with("path", path.display()).into());
                }
            }
        }
        match &data.database {
            // Made here, so that it and what SQLite puts beside it are for their owner's eyes only.
            Database::File(path) => {
                private_file(path).map_err(|error| console::config::disk(path, error))?;
            }
            Database::Server(address) => {
                let password = self.environment.get(OWNER_PASSWORD_VARIABLE).map(String::as_str);
                if let Some(owner) = settings.owner(password)? {
                    let service = settings.server(address, None)?;
                    postgres::prepare(&owner, &service)
                        .map_err(|fault| store_failure(&owner.to_string(), &fault))?;
                }
            }
        }
        let store = self.store(&settings)?;
        let from_environment = self.environment.contains_key(MASTER_KEY_VARIABLE);
        if !from_environment && !data.master_key.exists() {
            write_master_key(&data.master_key)?;
        }
        drop(self.over(store, &settings)?);
        let made = Made {
            config: self.cli.config.clone(),
            keys: data.keys.clone(),
            master_key: data.master_key.clone(),
            database: data.database.to_string(),
        };
        let args = Args::new()
            .with("config", made.config.display())
            .with("master", made.master_key.display())
            .with("database", &made.database);
        let message = match data.database {
            Database::File(_) => "gateway-init",
            Database::Server(_) => "gateway-init-server",
        };
        let human = self.console.texts().say_with(message, &args);
        self.console.result("init", &made, &human)?;
        Ok(Exit::Success)
    }

    /// The store, in its file or on its server. A ledger whose key file is gone, or was not copied to this gateway, is not opened: keys that were
    /// made anew would open nothing of it.
    fn store(&self, settings: &Settings) -> Result<Box<dyn Store + Send>, Failure> {
        let (database, keys) = (&settings.data.database, &settings.data.keys);
        let failed = |fault| store_failure(&database.to_string(), &fault);
        let mut store: Box<dyn Store + Send> = match database {
            Database::File(path) => {
                let initialising = matches!(self.cli.command, Command::Init { .. });
                if !initialising && !path.exists() {
                    return Err(Failure::new(code::GATEWAY_STORE_MISSING).with("path", path.display()));
                }
                Box::new(SqliteStore::open(path).map_err(failed)?)
            }
            Database::Server(address) => {
                let password = self.environment.get(DATABASE_PASSWORD_VARIABLE).map(String::as_str);
                let options = settings.server(address, password)?;
                Box::new(PostgresStore::open(options).map_err(failed)?)
            }
        };
        if !keys.exists() && ops::has_keys_elsewhere(&mut store).map_err(failed)? {
            let reason = "it is not there, and the ledger has issuers, terminals or payers: bring it from another gateway or from where it is kept";
            return Err(Failure::new(code::GATEWAY_KEYS).with("path", keys.display()).with("reason", reason));
        }
        Ok(store)
    }

    /// The store and the key module.
    fn open(&self, settings: &Settings) -> Result<(Box<dyn Backend + Send>, Arc<SoftKeys>), Failure> {
        // The store first: whoever holds it may change the key file.
        self.over(self.store(settings)?, settings)
    }

    fn over(
        &self,
        store: Box<dyn Store + Send>,
        settings: &Settings,
    ) -> Result<(Box<dyn Backend + Send>, Arc<SoftKeys>), Failure> {
        let keys = Arc::new(self.keys(settings)?);
        let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
        let engine = Engine::new(store, shared).with_policy(settings.preauthorisation.policy());
        Ok((Box::new(engine), keys))
    }

    /// The key module.
    fn keys(&self, settings: &Settings) -> Result<SoftKeys, Failure> {
        let variable = self.environment.get(MASTER_KEY_VARIABLE).map(String::as_str);
        let master = settings.master_key(variable)?;
        SoftKeys::open(&settings.data.keys, master).map_err(|error| {
            let code = match &error {
                KeyError::Io { .. } => code::DISK_FAILED,
                _ => code::GATEWAY_KEYS,
            };
            Failure::new(code).with("path", settings.data.keys.display()).with("reason", error)
        })
    }

    /// An operation: by the running gateway if there is one, else over the store itself.
    fn outcome(&self, settings: &Settings, operation: &Operation) -> Result<Outcome, Failure> {
        if let Some(outcome) = control::ask(&settings.data.control, operation)? {
            return Ok(outcome);
        }
        let (backend, keys) = self.open(settings)?;
        let clock = Clock::new(settings.gateway.zone.0.clone());
        let now = clock.now();
        let mut desk = Direct::new(backend, clock, settings.data.database.to_string());
        perform(
            operation,
            &mut Context {
                desk: &mut desk,
                keys: &keys,
                gateway: &settings.gateway.public,
                zone: &settings.gateway.zone.0,
                heads: settings.heads.wanted(),
                now,
            },
        )
    }

    fn operate(&mut self, operation: &Operation) -> anyhow::Result<Exit> {
        let settings = self.settings()?;
        let name = self.cli.command.name();
        if let Command::Terminal(Terminal::Add { terminal, file, .. }) = &self.cli.command {
            let file = file.clone().unwrap_or_else(|| PathBuf::from(format!("{terminal}.toml")));
            return self.add_terminal(&settings, operation, file);
        }
        let outcome = self.outcome(&settings, operation)?;
        let human = words::outcome(self.console.texts(), &outcome);
        self.console.result(name, &outcome, &human)?;
        let failed = match &outcome {
            Outcome::Audit(summary) => !summary.clean,
            Outcome::BackedUp(made) => !made.audit.clean,
            _ => false,
        };
        Ok(if failed { Exit::ChecksFailed } else { Exit::Success })
    }

    /// The provisioning file is made first and empty, so that no code is made for a file that cannot be written.
    fn add_terminal(
        &mut self,
        settings: &Settings,
        operation: &Operation,
        file: PathBuf,
    ) -> anyhow::Result<Exit> {
        let mut place = private_file(&file).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::new(code::CONFIG_EXISTS).with("path", file.display()),
            _ => console::config::disk(&file, error),
        })?;
        let outcome = self.outcome(settings, operation).inspect_err(|_| {
            // Nothing is in it yet.
            let _ = fs::remove_file(&file);
        })?;
        if let Outcome::Provisioned { terminal, file: text, code } = &outcome {
            let written = place.write_all(text.as_bytes()).and_then(|()| place.sync_all());
            written.map_err(|error| console::config::disk(&file, error))?;
            let human = words::outcome(self.console.texts(), &outcome);
            let args = Args::new().with("file", file.display());
            let human =
                format!("{human}\n{}", self.console.texts().say_with("gateway-provisioned-file", &args));
            let result = Provisioned { terminal, file, code };
            self.console.result("terminal add", &result, &human)?;
        }
        Ok(Exit::Success)
    }

    fn serve(&mut self) -> anyhow::Result<Exit> {
        let settings = self.settings()?;
        let (mut backend, keys) = self.open(&settings)?;
        if let Some(heads) = settings.heads.wanted() {
            let ledger = settings.data.database.to_string();
            ops::heads::not_behind(&mut *backend, &*keys, settings.gateway_no()?, &ledger, &heads.file)?;
        }
        let clock = Clock::new(settings.gateway.zone.0.clone());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let listen = settings.gateway.listen;
        // Before the backend is handed over: a store has a runtime of its own, which must not end inside this one.
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(listen))
            .map_err(|error| Failure::new(code::GATEWAY_LISTEN).with("address", listen).caused_by(error))?;
        let server = runtime.block_on(async {
            let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
            let limits = settings.limits.limits();
            Server::start(listener, backend, shared, clock.clone(), limits).map_err(anyhow::Error::from)
        })?;
        let heads = settings.heads.wanted().map(|heads| {
            let (queue, keys) = (Arc::clone(server.queue()), Arc::clone(&keys));
            HeadSchedule::start(heads.clone(), queue, keys, settings.data.database.to_string())
        });
        let heads = heads.transpose()?;
        let control = operations(&settings, &server, &keys, clock)?;
        let address = server.address();
        let human = self.console.texts().say_with("gateway-listening", &Args::new().with("address", address));
        let result = Listening { listening: address.to_string(), terminals: 0 };
        // Who started us may have stopped listening to us; terminals have not.
        let _ = self.console.result("serve", &result, &human);
        let signal = runtime.block_on(until_stopped(&server))?;
        tracing::info!(signal, "stopping");
        // Operations end first: they wait for the writer.
        drop((control, heads));
        runtime.block_on(server.stop());
        let human = self.console.texts().say("gateway-stopped");
        let _ = self.console.result("serve", &Stopped { stopped: true }, &human);
        Ok(Exit::Success)
    }

    /// Whether the key file holds what the ledger needs: a ledger may come from a backup, keys never do.
    fn keys_of_the_ledger(&self, settings: &Settings) -> Result<String, Failure> {
        let fault = |fault| store_failure(&settings.data.database.to_string(), &fault);
        let mut store = self.store(settings)?;
        let keys = self.keys(settings)?;
        let (issuers, terminals) = ops::without_keys(&mut store, &keys).map_err(fault)?;
        let missing = [issuers, terminals].concat();
        if missing.is_empty() {
            return Ok(settings.data.keys.display().to_string());
        }
        let reason = format!("no keys of {}", missing.join(", "));
        Err(Failure::new(code::GATEWAY_KEYS)
            .with("path", settings.data.keys.display())
            .with("reason", reason))
    }

    /// `restore`: only where no gateway runs and no ledger is.
    fn restore(&mut self, file: &Path) -> anyhow::Result<Exit> {
        let settings = self.settings()?;
        let database = &settings.data.database;
        if control::ask(&settings.data.control, &Operation::Ping)?.is_some() {
            return Err(Failure::new(code::GATEWAY_RESTORE_LEDGER).with("path", database).into());
        }
        let keys = self.keys(&settings)?;
        let zone = settings.gateway.zone.0.clone();
        let now = Clock::new(zone.clone()).now().wall;
        let summary = match database {
            Database::File(path) => ops::restore(file, path, &keys, &zone, now)?,
            Database::Server(address) => {
                let password = self.environment.get(DATABASE_PASSWORD_VARIABLE).map(String::as_str);
                let options = settings.server(address, password)?;
                // Beside the keys: a folder of this gateway's own.
                let fresh = settings.data.keys.with_extension("restoring");
                ops::restore_shared(file, &fresh, &options, &keys, &zone, now)?
            }
        };
        let human = words::restored(self.console.texts(), &summary);
        let whole = summary.audit.clean
            && summary.issuers_without_keys.is_empty()
            && summary.terminals_without_keys.is_empty();
        self.console.result("restore", &summary, &human)?;
        Ok(if whole { Exit::Success } else { Exit::ChecksFailed })
    }

    fn doctor(&mut self) -> anyhow::Result<Exit> {
        let settings = self.settings()?;
        let mut checks = vec![check("configuration", Ok(self.cli.config.display().to_string()))];
        let running = control::ask(&settings.data.control, &Operation::Ping);
        match running {
            Ok(Some(Outcome::Running { connections, terminals })) => {
                let detail = format!("{connections} connections, {terminals} terminals signed in");
                checks.push(check("running gateway", Ok(detail)));
            }
            Ok(_) => {
                let store = self.open(&settings).map(|_| settings.data.database.to_string());
                let opened = store.is_ok();
                checks.push(check("database and keys", store));
                if opened {
                    checks.push(check("keys of issuers and terminals", self.keys_of_the_ledger(&settings)));
                }
                let listen = settings.gateway.listen;
                let free = std::net::TcpListener::bind(listen).map(|_| listen.to_string());
                let free = free.map_err(|error| {
                    Failure::new(code::GATEWAY_LISTEN).with("address", listen).caused_by(error)
                });
                checks.push(check("address", free));
            }
            Err(failure) => checks.push(check("running gateway", Err(failure))),
        }
        let year = Clock::new(settings.gateway.zone.0.clone()).now().wall.0 / 31_556_952_000 + 1970;
        let clock = if (2025..2100).contains(&year) {
            Ok(year.to_string())
        } else {
            Err(Failure::new(code::CLOCK_WRONG).with("date", year))
        };
        checks.push(check("clock", clock));
        let failed = checks.iter().filter(|check| !check.ok).count();
        let lines: Vec<String> = checks
            .iter()
            .map(|check| {
                format!("{}  {}: {}", if check.ok { "ok " } else { "BAD" }, check.check, check.detail)
            })
            .collect();
        self.console.result("doctor", &checks, &lines.join("\n"))?;
        Ok(if failed == 0 { Exit::Success } else { Exit::ChecksFailed })
    }
}

fn check(check: &'static str, result: Result<String, Failure>) -> Check {
    match result {
        Ok(detail) => Check { check, ok: true, detail },
        Err(failure) => Check { check, ok: false, detail: failure.to_string() },
    }
}

/// A new file for its owner's eyes only.
fn private_file(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn write_master_key(path: &Path) -> Result<(), Failure> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut_slice())
        .map_err(|error| Failure::new(code::UNEXPECTED).with("detail", error))?;
    let text = Zeroizing::new(format!("{}\n", protocol::hex::Hex(key.as_slice())));
    let written = private_file(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| console::config::disk(path, error))
}

/// Starts answering operations.
fn operations(
    settings: &Settings,
    server: &Server,
    keys: &Arc<SoftKeys>,
    clock: Clock,
) -> Result<Control, Failure> {
    let queue = Arc::clone(server.queue());
    let (access, switch) = (server.access().clone(), Arc::clone(server.switch()));
    let (keys, settings_of) = (Arc::clone(keys), settings.clone());
    let path = settings.data.database.to_string();
    Control::listen(
        &settings.data.control,
        Arc::new(move |operation| {
            if *operation == Operation::Ping {
                return Ok(Outcome::Running {
                    connections: access.connections(),
                    terminals: switch.signed_in(),
                });
            }
            let mut desk = Through::new(Arc::clone(&queue), path.clone());
            perform(
                operation,
                &mut Context {
                    desk: &mut desk,
                    keys: &keys,
                    gateway: &settings_of.gateway.public,
                    zone: &settings_of.gateway.zone.0,
                    heads: settings_of.heads.wanted(),
                    now: clock.now(),
                },
            )
        }),
    )
}

/// Waits for the signal to stop, and says now and then how the gateway is.
async fn until_stopped(server: &Server) -> io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut pulse = tokio::time::interval(PULSE);
    pulse.tick().await;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok("SIGTERM"),
            _ = interrupt.recv() => return Ok("SIGINT"),
            _ = pulse.tick() => {
                let stats = server.access().stats();
                tracing::info!(
                    connections = server.access().connections(),
                    terminals = server.switch().signed_in(),
                    queue = server.queue().depth(),
                    accepted = stats.accepted.load(Ordering::Relaxed),
                    refused = stats.refused.load(Ordering::Relaxed),
                    offended = stats.offended.load(Ordering::Relaxed),
                    "running"
                );
            }
        }
    }
}
