//! The gateway's program in a folder of its own, with its ledger on a PostgreSQL server: configuration, commands, and the process that serves,
//! which a test may kill, freeze and wake.

use crate::acquirer::{enrol, register};
use crate::postgres::{OWNER, SERVICE, Server};
use crate::shop::binary;
use backend::Engine;
use backend::store::Store;
use keys::{KeyModule, MasterKey, SoftKeys};
use protocol::secret::Secret;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

/// A configuration of the gateway for a database on a server: the default one with these values in place of its own.
///
/// # Panics
/// The folder cannot be written, or the default configuration has other words.
pub fn configure(folder: &Path, database: &str, owner: &str, number: u16) {
    let mut text = posp_gateway::config::DEFAULT.to_owned();
    let owner = format!("owner = \"{owner}\"");
    let pairs = [
        ("database = \"gateway.db\"", format!("database = \"{database}\"")),
        ("owner = \"\"", owner),
        ("gateway = 1\n", format!("gateway = {number}\n")),
    ];
    for (from, to) in pairs {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, &to, 1);
    }
    fs::write(folder.join("posp-gateway.toml"), text).expect("the configuration is written");
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub exit: i32,
    /// Its answer, or its error.
    pub json: Value,
    /// Everything that it wrote.
    pub text: String,
}

impl Said {
    /// The code that it failed with: `TL-2030`; empty if it did not.
    #[must_use]
    pub fn code(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or_default()
    }
}

/// The program in its folder.
#[derive(Clone, Debug)]
pub struct Program {
    /// Configuration, keys and socket.
    pub folder: PathBuf,
}

impl Program {
    /// A gateway with this number on a database of `server`, in a new folder of this name; `init` was not called.
    ///
    /// # Panics
    /// The folder is there.
    #[must_use]
    pub fn new(root: &Path, server: &Server, database: &str, number: u16) -> Self {
        let folder = root.join(format!("gateway-{number}"));
        fs::create_dir(&folder).expect("a new folder");
        configure(&folder, &server.url(SERVICE, database), &server.url(OWNER, database), number);
        Self { folder }
    }

    /// Another gateway on the same database, with a copy of this one's keys.
    ///
    /// # Panics
    /// The folder is there, or this gateway has no keys yet.
    #[must_use]
    pub fn beside(&self, root: &Path, server: &Server, database: &str, number: u16) -> Self {
        let other = Self::new(root, server, database, number);
        for file in ["keys.tlk", "master.key"] {
            fs::copy(self.folder.join(file), other.folder.join(file)).expect("a copy");
        }
        other
    }

    /// The program with nothing asked yet. It listens at a free port.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary("gateway"));
        command
            .arg("--json")
            .current_dir(&self.folder)
            .env("TAPLINE_LANG", "en")
            .env("TAPLINE_GATEWAY__GATEWAY__LISTEN", "127.0.0.1:0")
            .env_remove("TAPLINE_CONFIG")
            .stdin(Stdio::null());
        command
    }

    /// A command.
    ///
    /// # Panics
    /// The program does not start.
    #[must_use]
    pub fn ask(&self, arguments: &[&str]) -> Said {
        said(&self.command().args(arguments).output().expect("the program starts"))
    }

    /// A command that succeeds, and its result.
    ///
    /// # Panics
    /// It does not.
    pub fn operate(&self, arguments: &[&str]) -> Value {
        let said = self.ask(arguments);
        assert_eq!(said.exit, 0, "{arguments:?}: {}", said.text);
        said.json["result"].clone()
    }

    /// Starts the gateway and waits until it listens.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn serve(&self) -> Running {
        let mut command = self.command();
        command.arg("serve").env("TAPLINE_LOG", "error").stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        let address = said["result"]["listening"].as_str().and_then(|address| address.parse().ok());
        Running { child, address: address.unwrap_or_else(|| panic!("it does not listen: {line}")) }
    }

    /// Its keys.
    ///
    /// # Panics
    /// They do not open.
    #[must_use]
    pub fn keys(&self) -> Arc<SoftKeys> {
        let master = MasterKey::from_file(&self.folder.join("master.key")).expect("the master key");
        Arc::new(SoftKeys::open(&self.folder.join("keys.tlk"), master).expect("the keys"))
    }

    /// Registers merchants, terminals and payers while it does not run, as its gateway `number`; the terminals' master keys.
    ///
    /// # Panics
    /// The store or the key module refuses.
    #[must_use]
    pub fn enrol(&self, store: impl Store, terminals: u32, payers: u32, minor: u64) -> Vec<Secret<16>> {
        let keys = self.keys();
        let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
        register(&mut Engine::new(store, shared), &*keys, terminals, payers, minor);
        (1..=terminals).map(|n| enrol(&*keys, n)).collect()
    }
}

/// What a process said.
#[must_use]
pub fn said(output: &Output) -> Said {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    Said { exit: output.status.code().unwrap_or(-1), json, text }
}

/// A gateway that serves. Killed (SIGKILL) when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Running {
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {name}");
    }

    /// Stops every thread of it (SIGSTOP) until [`Running::wake`].
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on (SIGCONT).
    pub fn wake(&self) {
        self.signal("-CONT");
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    ///
    /// # Panics
    /// It ends with an error.
    pub fn terminate(mut self) {
        self.signal("-TERM");
        assert!(self.child.wait().is_ok_and(|status| status.success()), "the gateway ends well");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
