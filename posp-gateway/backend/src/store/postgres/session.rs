//! One session with the server: its runtime, its statements, its time limits, and what the server's errors mean.

use super::rows::Arrays;
use crate::store::{GatewayNo, StoreFault};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Row, Statement};

/// First key of the advisory locks by which a gateway's number is held: `TLGE`.
const LOCK_SPACE: i32 = 0x544C_4745;
/// Second key of the lock that every gateway shares while it works, and that a restore has for itself.
const LEDGER: i32 = -2;
/// How long one connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// How long the server may take over one round trip, before the session counts as lost.
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// How long a new session waits until what it finds is as durable as it should be.
const SETTLES: Duration = Duration::from_secs(3);
/// How long what was sent may stay unheard of before the way counts as cut; the server goes by the same.
const UNHEARD: Duration = Duration::from_secs(10);
/// After how much silence the other side is asked whether it is there, how often, and how many times in vain.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 3);
/// What a session asks of the server. Joins from arrays of keys go row by row, in the order of the arrays: so rows are locked in one order by
/// all. Holds that are due are found in the order of their index: the planner, which knows no times, would start workers for
/// them at every commit (a quarter of its time). A server that has lost us ends our session, and with it our gateway number's lock, by itself, also while it
/// has something to send. Nothing is written but in a transaction that says so: statements whose BEGIN did not arrive do nothing.
const SETTINGS: &str = "
SET statement_timeout = '8s';
SET lock_timeout = '3s';
SET idle_in_transaction_session_timeout = '15s';
SET tcp_keepalives_idle = 5;
SET tcp_keepalives_interval = 2;
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = '10s';
SET client_min_messages = 'warning';
SET default_transaction_isolation = 'read committed';
SET default_transaction_read_only = on;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
SET plan_cache_mode = 'force_generic_plan';
SET search_path = 'pg_catalog';
";

/// Where the database is and who we are there. The password shows nowhere.
#[derive(Clone)]
pub struct Address {
    config: Config,
}

impl core::fmt::Debug for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Address({self})")
    }
}

impl core::fmt::Display for Address {
    /// `user@host,host/database`: for people, without the password.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("postgresql://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl Address {
    /// Whether a text is meant as one.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("postgresql://") || text.starts_with("postgres://")
    }

    /// From a URL as libpq knows it; several hosts are tried in order until one takes writes. A way that leaves this machine carries payments in clear
    /// text, so that has to be asked for: `sslmode=disable`.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it: it may hold a password.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        if !Self::is_meant(url) {
            return Err("a PostgreSQL URL begins with postgresql://");
        }
        let mut config: Config = url.parse().map_err(|_| "it is not a PostgreSQL URL")?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(
                "this program does not speak TLS to the database: use a Unix socket, a private network or a tunnel, without sslmode=require",
            );
        }
        if config.get_hosts().is_empty() || config.get_dbname().is_none() || config.get_user().is_none() {
            return Err(
                "it must name a user, a host (or the folder of a Unix socket, ?host=/run/postgresql) and a database",
            );
        }
        if config.get_ssl_mode() != SslMode::Disable && !stays_here(&config) {
            return Err(
                "payments would go to that server in clear text: use a Unix socket or a tunnel that begins on this machine, or add sslmode=disable where the network itself is private or encrypted",
            );
        }
        config
            .ssl_mode(SslMode::Disable)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(CONNECT)
            .tcp_user_timeout(UNHEARD)
            .keepalives_idle(KEEPALIVE.0)
            .keepalives_interval(KEEPALIVE.1)
            .keepalives_retries(KEEPALIVE.2)
            .application_name("posp-gateway");
        Ok(Self { config })
    }

    /// With this password.
    #[must_use]
    pub fn with_password(mut self, password: &[u8]) -> Self {
        self.config.password(password);
        self
    }

    /// Whether it holds a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// The role that connects.
    #[must_use]
    pub fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }
}

/// Whether no packet to any of these servers leaves this machine. An address that is given beside a host's name is the one that is connected to.
fn stays_here(config: &Config) -> bool {
    if !config.get_hostaddrs().is_empty() {
        return config.get_hostaddrs().iter().all(IpAddr::is_loopback);
    }
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
    })
}

/// A server's own words and those of what is below it.
fn words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => db.message().to_owned(),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

/// What an error of the server, or of the way to it, means.
pub(super) fn fault(error: &tokio_postgres::Error) -> StoreFault {
    let Some(state) = error.code() else { return StoreFault::Away(words(error)) };
    match *state {
        SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::LOCK_NOT_AVAILABLE
        | SqlState::UNIQUE_VIOLATION => StoreFault::Conflict,
        SqlState::DISK_FULL => StoreFault::Full,
        SqlState::TOO_MANY_CONNECTIONS => {
            let why = words(error);
            StoreFault::Away(format!(
                "it has no connection left for us ({why}): raise max_connections or end others"
            ))
        }
        SqlState::READ_ONLY_SQL_TRANSACTION => {
            StoreFault::Away("it is a standby and takes no writes".to_owned())
        }
        SqlState::INVALID_PASSWORD
        | SqlState::INVALID_AUTHORIZATION_SPECIFICATION
        | SqlState::INVALID_CATALOG_NAME
        | SqlState::INSUFFICIENT_PRIVILEGE => StoreFault::Refused(words(error)),
        _ if ["08", "57", "53", "25"].iter().any(|class| state.code().starts_with(class)) => {
            StoreFault::Away(words(error))
        }
        _ => StoreFault::Io(format!("{} ({})", words(error), state.code())),
    }
}

/// What an error in answer to a commit means. One that ended the session, or the server, came after the server had begun to keep the commit, or may have: a
/// full disk below its log is a PANIC, and the recovery that follows finds the commit. Only an error that left the session standing says that nothing was kept.
fn fault_of_commit(error: &tokio_postgres::Error) -> StoreFault {
    match error.as_db_error().and_then(DbError::parsed_severity) {
        Some(Severity::Panic | Severity::Fatal) => StoreFault::Away(words(error)),
        _ => fault(error),
    }
}

/// Runs futures side by side: their requests leave in order without waiting for each other's answers.
pub(super) async fn together<F: Future + ?Sized>(futures: Vec<Pin<Box<F>>>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (future, None)).collect();
    poll_fn(|context| {
        let mut all = true;
        for (future, done) in &mut waiting {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(value) => *done = Some(value),
                    Poll::Pending => all = false,
                }
            }
        }
        if all { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, done)| done).collect()
}

/// One statement of several that leave together.
pub(super) struct Ask<'a> {
    pub(super) statement: Statement,
    pub(super) params: Vec<&'a (dyn ToSql + Sync)>,
}

/// A transaction that is not waited for: each statement with its parameters.
pub(super) struct Sending {
    client: Arc<Client>,
    warning: Warning,
    statements: Vec<(Statement, Params)>,
    /// It is a part of a transaction that is open already.
    within: bool,
}

/// Parameters that a statement owns.
pub(super) enum Params {
    None,
    /// One number.
    One(i64),
    /// Columns, and how many rows must be found.
    Rows(Arrays, Option<i64>),
}

impl Params {
    fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        match self {
            Self::None => Vec::new(),
            Self::One(number) => vec![number],
            Self::Rows(arrays, count) => {
                let mut params = arrays.params();
                params.extend(count.as_ref().map(|count| -> &(dyn ToSql + Sync) { count }));
                params
            }
        }
    }
}

impl Sending {
    /// As a part of a transaction that is open already, which goes on afterwards.
    pub(super) const fn within(mut self) -> Self {
        self.within = true;
        self
    }

    /// All of them in one transaction and one round trip, or the first error and none. An error that is not the server's own word leaves
    /// open what became of the transaction.
    pub(super) async fn run(self) -> Result<(), StoreFault> {
        type Step<'f> = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send + 'f>>;
        let Self { client, warning, statements, within } = &self;
        let mut steps: Vec<Step<'_>> = Vec::with_capacity(statements.len().saturating_add(2));
        if !within {
            warning.take();
            steps.push(Box::pin(client.batch_execute("BEGIN READ WRITE")));
        }
        for (statement, params) in statements {
            steps.push(Box::pin(async move { client.query(statement, &params.params()).await.map(|_| ()) }));
        }
        // After an error the server makes a rollback of it.
        if !within {
            steps.push(Box::pin(client.batch_execute("COMMIT")));
        }
        let done = tokio::time::timeout(ANSWER, together(steps)).await;
        for step in done.map_err(|_| lost())? {
            step.map_err(|error| fault_of_commit(&error))?;
        }
        // It says so if a commit is here and no longer waits for its standby.
        match warning.take().filter(|_| !within) {
            Some(warning) => Err(StoreFault::Away(format!("it warned of a commit: {warning}"))),
            None => Ok(()),
        }
    }
}

/// The server's newest warning, until somebody looks.
#[derive(Clone, Default)]
struct Warning(Arc<Mutex<Option<String>>>);

impl Warning {
    fn heard(&self, notice: &DbError) {
        if notice.parsed_severity() == Some(Severity::Warning) {
            tracing::warn!(warning = notice.message(), "the database warns");
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(notice.message().to_owned());
        }
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A session. Its connection is driven by the runtime's own thread.
pub(super) struct Session {
    client: Arc<Client>,
    warning: Warning,
    statements: HashMap<String, Statement>,
}

impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    /// Connects, for a gateway that has its number for itself or (`None`) for the owner.
    pub(super) fn open(
        runtime: &Runtime,
        address: &Address,
        gateway: Option<GatewayNo>,
    ) -> Result<Self, StoreFault> {
        let connected = runtime.block_on(async {
            let connecting = tokio::time::timeout(ANSWER, address.config.connect(NoTls)).await;
            let (client, mut connection) = connecting.map_err(|_| lost())?.map_err(|error| fault(&error))?;
            let warning = Warning::default();
            let heard = warning.clone();
            tokio::spawn(async move {
                while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                    match message {
                        Ok(AsyncMessage::Notice(notice)) => heard.heard(&notice),
                        Ok(_) => {}
                        Err(error) => {
                            tracing::debug!(error = %words(&error), "the database ended the session");
                            break;
                        }
                    }
                }
            });
            Ok(Self { client: Arc::new(client), warning, statements: HashMap::new() })
        });
        let session: Self = connected?;
        session.simple(runtime, SETTINGS)?;
        session.durable(runtime)?;
        if let Some(gateway) = gateway {
            session.hold(runtime, gateway)?;
        }
        Ok(session)
    }

    /// The gateway's number is ours while this session lives. Once we have it, the session that had it before has ended, and with it whatever
    /// it was doing: what is in the tables is all there will be.
    fn hold(&self, runtime: &Runtime, gateway: GatewayNo) -> Result<(), StoreFault> {
        let sql = format!("SELECT pg_try_advisory_lock_shared({LOCK_SPACE}, {LEDGER})::int");
        if self.simple_int(runtime, &sql)? != Some(1) {
            return Err(StoreFault::Away("a backup is being restored into it".to_owned()));
        }
        let key = i32::from(gateway.number());
        let sql = format!("SELECT pg_try_advisory_lock({LOCK_SPACE}, {key})::int");
        match self.simple_int(runtime, &sql)? {
            Some(1) => Ok(()),
            _ => Err(StoreFault::InUse),
        }
    }

    /// Whether the whole ledger is ours: then no gateway works on it while this session lives.
    pub(super) fn hold_all(&self, runtime: &Runtime) -> Result<bool, StoreFault> {
        let sql = format!("SELECT pg_try_advisory_lock({LOCK_SPACE}, {LEDGER})::int");
        Ok(self.simple_int(runtime, &sql)? == Some(1))
    }

    /// A server that was told to forget commits in a crash, or not to wait for a standby that it has for that, is told otherwise for our session.
    fn durable(&self, runtime: &Runtime) -> Result<(), StoreFault> {
        let sql = "SELECT (current_setting('synchronous_commit') IN ('off', 'local'))::int";
        if self.simple_int(runtime, sql)? == Some(1) {
            self.simple(runtime, "SET synchronous_commit = on")?;
        }
        let sql = "SELECT (current_setting('fsync') = 'off')::int";
        if self.simple_int(runtime, sql)? == Some(1) {
            tracing::warn!("the database runs with fsync = off: a power failure can lose payments");
        }
        Ok(())
    }

    /// Whatever the tables show stays: a commit of our own, which comes after all of it, is as durable as commits should be. (A server that
    /// crashed while commits waited for its standby shows them when it starts again, wherever the standby is.)
    pub(super) fn all_is_durable(&self, runtime: &Runtime) -> Result<(), StoreFault> {
        // A lock on a row is written to the log; this one keeps nobody from changing the row.
        let sql = "BEGIN READ WRITE; SELECT FROM tapline.limits_head FOR KEY SHARE; COMMIT";
        self.warning.take();
        let done =
            runtime.block_on(async { tokio::time::timeout(SETTLES, self.client.batch_execute(sql)).await });
        let away = || StoreFault::Away("its commits are not confirmed: its standby may be away".to_owned());
        done.map_err(|_| away())?.map_err(|error| fault(&error))?;
        if self.warning.take().is_some() { Err(away()) } else { Ok(()) }
    }

    /// Whether the connection is known to be gone.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Statements without parameters, whose rows nobody wants.
    pub(super) fn simple(&self, runtime: &Runtime, sql: &str) -> Result<(), StoreFault> {
        self.wait(runtime, self.client.batch_execute(sql))
    }

    /// Ends the transaction that is open, durably.
    pub(super) fn commit(&self, runtime: &Runtime) -> Result<(), StoreFault> {
        let commit = self.client.batch_execute("COMMIT");
        let done = runtime.block_on(async { tokio::time::timeout(ANSWER, commit).await });
        done.map_err(|_| lost())?.map_err(|error| fault_of_commit(&error))
    }

    /// One integer.
    pub(super) fn simple_int(&self, runtime: &Runtime, sql: &str) -> Result<Option<i32>, StoreFault> {
        let row = self.wait(runtime, self.client.query_opt(sql, &[]))?;
        Ok(row.and_then(|row| row.try_get(0).ok()))
    }

    fn wait<T>(
        &self,
        runtime: &Runtime,
        future: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreFault> {
        let done = runtime.block_on(async { tokio::time::timeout(ANSWER, future).await });
        done.map_err(|_| lost())?.map_err(|error| fault(&error))
    }

    /// A statement, prepared once.
    pub(super) fn prepared(
        &mut self,
        runtime: &Runtime,
        name: &str,
        sql: impl FnOnce() -> String,
    ) -> Result<Statement, StoreFault> {
        if let Some(statement) = self.statements.get(name) {
            return Ok(statement.clone());
        }
        let statement = self.wait(runtime, self.client.prepare(&sql()))?;
        self.statements.insert(name.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Rows of one statement.
    pub(super) fn rows(
        &self,
        runtime: &Runtime,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreFault> {
        self.wait(runtime, self.client.query(sql, params))
    }

    /// Several statements in one round trip, outside a transaction.
    pub(super) fn ask(&self, runtime: &Runtime, asks: &[Ask<'_>]) -> Result<Vec<Vec<Row>>, StoreFault> {
        let client = &self.client;
        let futures: Vec<Pin<Box<dyn Future<Output = _> + '_>>> = asks
            .iter()
            .map(|ask| -> Pin<Box<dyn Future<Output = _> + '_>> {
                Box::pin(client.query(&ask.statement, &ask.params))
            })
            .collect();
        let done = runtime.block_on(async { tokio::time::timeout(ANSWER, together(futures)).await });
        done.map_err(|_| lost())?.into_iter().map(|rows| rows.map_err(|error| fault(&error))).collect()
    }

    /// A transaction of these statements, to be run.
    pub(super) fn sending(&self, statements: Vec<(Statement, Params)>) -> Sending {
        let (client, warning) = (Arc::clone(&self.client), self.warning.clone());
        Sending { client, warning, statements, within: false }
    }
}

fn lost() -> StoreFault {
    StoreFault::Away(format!("no answer within {} s", ANSWER.as_secs()))
}
