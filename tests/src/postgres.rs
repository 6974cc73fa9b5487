//! A PostgreSQL server of a test's own (`scripts/private-postgres`): started in a temporary folder, stopped and killed at will, gone with the test.

mod gateway;

pub use gateway::{Gateway, MONEY, keys};

use crate::acquirer::CURRENCY;
use backend::accounts::chart::Book;
use backend::store::GatewayNo;
use backend::store::postgres::{Address, Options, PostgresStore, prepare};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The role that gateways connect as.
pub const SERVICE: &str = "tapline_gateway";
/// The role that owns the schema.
pub const OWNER: &str = "tapline_owner";
/// The password of both, over TCP.
pub const PASSWORD: &str = "a test's own password";
/// How long a gateway of a test waits for a server that is away.
pub const WAIT: Duration = Duration::from_secs(5);

/// How a server is stopped.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// Orderly: sessions are ended and everything is written.
    Fast,
    /// As at a crash.
    Immediate,
    /// SIGKILL to its first process.
    Kill,
}

/// A running server.
pub struct Server {
    child: Child,
    line: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
    /// Where its socket is.
    pub folder: PathBuf,
    /// Its TCP port on 127.0.0.1.
    pub port: u16,
    databases: AtomicU32,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({})", self.folder.display())
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above tests/").to_path_buf()
}

impl Server {
    /// Starts one with these arguments of the script besides.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        let server = Self::launch(arguments);
        for role in [OWNER, SERVICE] {
            let password = PASSWORD.replace('\'', "''");
            server.sql("postgres", &format!("CREATE ROLE {role} LOGIN PASSWORD '{password}'"));
        }
        server
    }

    /// Starts a standby of this one, which is stopped meanwhile for a moment.
    ///
    /// # Panics
    /// One of them does not start.
    #[must_use]
    pub fn standby(&self) -> Self {
        self.stop(Stop::Fast);
        let folder = self.folder.to_str().expect("text");
        let standby = Self::launch(&["--standby-of", folder, &self.port.to_string()]);
        self.resume();
        standby
    }

    fn launch(arguments: &[&str]) -> Self {
        let mut child = Command::new(workspace().join("scripts/private-postgres"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/private-postgres");
        let input = child.stdin.take().expect("a pipe");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut ready = String::new();
        output.read_line(&mut ready).expect("a line");
        let words: Vec<&str> = ready.split_whitespace().collect();
        let ["ready", port, folder] = words.as_slice() else { panic!("PostgreSQL did not start: {ready}") };
        let (folder, port) = (PathBuf::from(folder), port.parse().expect("a port"));
        let databases = AtomicU32::new(0);
        Self { child, line: Mutex::new(Some((input, output))), folder, port, databases }
    }

    fn tell(&self, command: &str) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let (input, output) = line.as_mut().expect("the script is there");
        writeln!(input, "{command}").expect("the script is there");
        let mut answer = String::new();
        output.read_line(&mut answer).expect("an answer");
        assert_eq!(answer, "done\n", "{command}");
    }

    /// Stops the server; [`Server::resume`] starts it again.
    ///
    /// # Panics
    /// The script is gone.
    pub fn stop(&self, how: Stop) {
        self.tell(match how {
            Stop::Fast => "stop fast",
            Stop::Immediate => "stop immediate",
            Stop::Kill => "stop kill",
        });
    }

    /// Starts a stopped server over what it had.
    ///
    /// # Panics
    /// It does not start.
    pub fn resume(&self) {
        self.tell("start");
    }

    /// A new, empty database of the owner's.
    ///
    /// # Panics
    /// The server refuses.
    #[must_use]
    pub fn empty(&self) -> String {
        let name = format!("books_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {OWNER}"));
        name
    }

    /// A new database with the present schema.
    ///
    /// # Panics
    /// The server refuses.
    #[must_use]
    pub fn database(&self) -> String {
        let name = self.empty();
        prepare(&self.address(OWNER, &name), &self.options(&name, 0)).expect("the schema");
        name
    }

    /// URL over the Unix socket.
    #[must_use]
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgresql://{role}@/{database}?host={}&port={}", self.folder.display(), self.port)
    }

    /// URL over TCP, which asks for the password.
    #[must_use]
    pub fn tcp_url(&self, role: &str, database: &str) -> String {
        format!("postgresql://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// Address over the Unix socket.
    ///
    /// # Panics
    /// The folder's name is no part of a URL.
    #[must_use]
    pub fn address(&self, role: &str, database: &str) -> Address {
        Address::parse(&self.url(role, database)).expect("an address")
    }

    /// As a gateway opens it.
    ///
    /// # Panics
    /// There is no such gateway.
    #[must_use]
    pub fn options(&self, database: &str, gateway: u16) -> Options {
        let gateway = GatewayNo::new(gateway).expect("a gateway's number");
        Options { address: self.address(SERVICE, database), gateway, wait: WAIT }
    }

    /// The store of a gateway.
    ///
    /// # Panics
    /// It does not open.
    #[must_use]
    pub fn store(&self, database: &str, gateway: u16) -> PostgresStore {
        PostgresStore::open(self.options(database, gateway)).expect("a store")
    }

    /// What psql, which knows nothing of us, says to this as a role.
    ///
    /// # Panics
    /// There is no psql.
    #[must_use]
    pub fn psql(&self, role: &str, database: &str, sql: &str) -> Output {
        let mut command = self.psql_command(role, database);
        command.args(["--set", "ON_ERROR_STOP=1", "--command", sql]).output().expect("psql")
    }

    /// psql as a role, with nothing asked yet.
    #[must_use]
    pub fn psql_command(&self, role: &str, database: &str) -> Command {
        let own = workspace().join(".tools/bin/psql");
        let mut command = Command::new(if own.exists() { own } else { PathBuf::from("psql") });
        command
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--username", role, "--dbname", database])
            .args(["--host", self.folder.to_str().expect("text"), "--port", &self.port.to_string()])
            .env("LC_ALL", "C");
        command
    }

    /// What the superuser's SQL answers.
    ///
    /// # Panics
    /// The server refuses it.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.psql("postgres", database, sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Without its standard input the script ends the server and removes the folder.
        drop(self.line.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        let _ = self.child.wait();
    }
}

/// Balances as psql derives them from the postings alone: `id|credits less debits|debits held`.
const FROM_POSTINGS: &str = "
WITH ended AS (SELECT of, kind, amount FROM tapline.transfers WHERE kind IN (2, 3, 4)),
moved AS (
    SELECT debit, credit, amount, 0 AS held FROM tapline.transfers WHERE kind = 0
    UNION ALL
    SELECT p.debit, p.credit, e.amount, 0 FROM ended e JOIN tapline.transfers p ON p.seq = e.of WHERE e.kind = 2
    UNION ALL
    SELECT p.debit, p.credit, 0, p.amount FROM tapline.transfers p
    WHERE p.kind = 1 AND NOT EXISTS (SELECT FROM ended WHERE ended.of = p.seq)),
sides AS (
    SELECT debit AS id, -amount AS net, held FROM moved UNION ALL SELECT credit, amount, 0 FROM moved)
SELECT encode(id, 'hex'), sum(net), sum(held) FROM sides GROUP BY id ORDER BY id";

/// Balances by account id in hexadecimal: credits less debits, and debits held; as psql derives them from the postings alone.
///
/// # Panics
/// The server refuses.
#[must_use]
pub fn derived(server: &Server, database: &str) -> BTreeMap<String, (i64, i64)> {
    let rows = server.sql(database, FROM_POSTINGS);
    let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).expect("a number");
    rows.lines()
        .map(|row| {
            let mut columns = row.split('|');
            let id = columns.next().expect("an id").to_owned();
            (id, (number(columns.next()), number(columns.next())))
        })
        .collect()
}

/// An account's id as [`derived`] names it.
#[must_use]
pub fn account(book: Book) -> String {
    format!("{:032x}", book.id(CURRENCY).0)
}
