//! A PC/SC daemon of our own for one test: started, killed and restarted at will, beside nobody, gone with the test.
//!
//! [`isolated`] runs a test's body in mount, network and process namespaces of its own (the test binary starts itself
//! again in them, for that one test): the daemon's socket path is fixed at build time and vpcd listens on all interfaces,
//! so neither may meet the machine's. The end of that process, by any signal, is the end of everything in the namespaces.
//! Refused: running on a system that forbids namespaces; the test then fails and says so.

use anyhow::Context as _;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What a reader is called in tests; pcscd adds the device's and the slot's number.
pub const READER_NAME: &str = "Tapline Test";
/// Port of slot 0 (the card); slot 1 (the SAM) is on the next one.
pub const VPCD_PORT: u16 = 35_963;

/// One test may take this long, its daemon included.
const TEST_TIME_MAX: Duration = Duration::from_secs(60);
const START_TIME_MAX: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(10);
const INSIDE: &str = "TAPLINE_TEST_INSIDE";
const SOCKET: &str = "/run/pcscd/pcscd.comm";

/// The first process in the namespaces prepares them and becomes the test. Where the machine has no `/run/pcscd`, all of
/// `/run` is covered, rather than a folder left behind there; the machine's reader drivers are covered too, its readers
/// stay with its own daemon.
const PREPARE: &str = r#"
set -e
if [ -d /run/pcscd ]; then
    mount -t tmpfs -o mode=755 tapline /run/pcscd
else
    mount -t tmpfs -o mode=755 tapline /run
    mkdir /run/pcscd
fi
[ ! -d /usr/lib/pcsc/drivers ] || mount -t tmpfs -o mode=755 tapline /usr/lib/pcsc/drivers
PATH="$PATH:/usr/sbin:/sbin"
ip link set lo up
exec "$@"
"#;

/// Runs `body` in namespaces of its own. `test` is the full name of the calling test, as the test harness prints it.
///
/// # Panics
/// If the namespaces cannot be made, or the test in them fails or takes longer than a minute: this is the test's failure.
#[track_caller]
pub fn isolated(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some_and(|inside| inside.to_str() == Some(test)) {
        return body();
    }
    Tools::find();
    let mut output = tempfile::tempfile().expect("a temporary file");
    let mut child = command_inside(test, &[test, "--exact", "--nocapture", "--test-threads=1"])
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a descriptor"))
        .stderr(output.try_clone().expect("a descriptor"))
        .spawn()
        .expect("setpriv and unshare (package util-linux)");
    let status = wait_at_most(&mut child, TEST_TIME_MAX);
    let mut text = String::new();
    output.seek(SeekFrom::Start(0)).expect("the output can be read");
    output.read_to_string(&mut text).expect("the output is text");
    let ran = text.contains("1 passed");
    assert!(
        status.is_some_and(|status| status.success()) && ran,
        "the test in its namespaces {}:\n{text}",
        status.map_or("took too long".to_owned(), |status| format!("ended with {status}")),
    );
}

/// Runs this program again, with `arguments`, in namespaces of its own, and returns what it printed. For programs that
/// are no tests: the second process sees by its arguments what it is to do.
///
/// # Errors
/// The namespaces cannot be made, or the program in them failed.
pub fn run_inside(arguments: &[&str]) -> anyhow::Result<String> {
    Tools::find();
    let output = command_inside("program", arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("setpriv and unshare (package util-linux)")?;
    anyhow::ensure!(output.status.success(), "the program in its namespaces ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn command_inside(marker: &str, arguments: &[&str]) -> Command {
    let itself = std::env::current_exe().expect("the test's own path");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare"]);
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args([
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
            PREPARE,
            "sh",
        ])
        .arg(itself)
        .args(arguments)
        .env(INSIDE, marker)
        .env_remove("PCSCLITE_CSOCK_NAME");
    command
}

fn is_root() -> bool {
    // The owner of our own /proc entry is the effective user.
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

fn wait_at_most(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    while started.elapsed() < limit {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) => std::thread::sleep(STEP),
            Err(_) => break,
        }
    }
    let _already_gone = child.kill();
    let _reaped = child.wait();
    None
}

/// The programs that `scripts/fetch-tools smartcard` leaves in the checkout.
#[derive(Clone, Debug)]
struct Tools {
    pcscd: PathBuf,
    driver: PathBuf,
}

impl Tools {
    /// Finds them, fetching them first where they are missing.
    fn find() -> Self {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let pcscd = checkout.join(".tools/bin/pcscd");
        if !pcscd.exists() {
            let status = Command::new(checkout.join("scripts/fetch-tools"))
                .arg("smartcard")
                .stdin(Stdio::null())
                .status();
            assert!(status.is_ok_and(|status| status.success()), "scripts/fetch-tools smartcard failed");
        }
        let drivers = checkout.join(".tools/root/usr/lib/pcsc/drivers/serial");
        let driver = fs::read_dir(&drivers)
            .ok()
            .and_then(|mut entries| {
                entries.find_map(|entry| {
                    let path = entry.ok()?.path();
                    path.file_name()?.to_str()?.starts_with("libifdvpcd.so").then_some(path)
                })
            })
            .unwrap_or_else(|| {
                panic!("no vpcd driver in {}: run scripts/fetch-tools smartcard", drivers.display())
            });
        Self { pcscd, driver }
    }
}

/// A PC/SC daemon with vpcd's reader of two slots. Call only inside [`isolated`].
#[derive(Debug)]
pub struct Daemon {
    tools: Tools,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Daemon {
    /// A daemon with one reader, and ready.
    ///
    /// # Panics
    /// Outside [`isolated`], or if the daemon does not become ready.
    #[must_use]
    pub fn start() -> Self {
        let mut daemon = Self::stopped();
        daemon.attach_reader();
        daemon.restart();
        daemon
    }

    /// A daemon that does not run yet and has no reader yet.
    ///
    /// # Panics
    /// Outside [`isolated`].
    #[must_use]
    pub fn stopped() -> Self {
        assert!(std::env::var_os(INSIDE).is_some(), "a daemon of our own runs inside `isolated` only");
        // In the namespace's own memory: it goes with the namespace, however that ends.
        let folder = tempfile::tempdir_in("/run/pcscd").expect("a temporary folder");
        fs::create_dir(folder.path().join("readers")).expect("a folder for the configuration");
        Self { tools: Tools::find(), folder, child: None }
    }

    /// Puts the reader into the configuration: it is there at the next start.
    pub fn attach_reader(&mut self) {
        let text = format!(
            "FRIENDLYNAME \"{READER_NAME}\"\nDEVICENAME /dev/null:0x{VPCD_PORT:X}\nLIBPATH {}\nCHANNELID 0x{VPCD_PORT:X}\n",
            self.tools.driver.display()
        );
        fs::write(self.configuration(), text).expect("the configuration is written");
    }

    /// Takes the reader out of the configuration: it is gone at the next start.
    pub fn detach_reader(&mut self) {
        fs::remove_file(self.configuration()).expect("the configuration is there");
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("readers/reader")
    }

    /// Kills the daemon as a crash would, if it runs, and removes its traces: a daemon that was killed leaves its socket.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _already_gone = child.kill();
            let _reaped = child.wait();
        }
        let _was_gone = fs::remove_file(SOCKET);
        let _was_gone = fs::remove_file("/run/pcscd/pcscd.pid");
    }

    /// Starts the daemon, again if it runs, and waits until it is ready.
    ///
    /// # Panics
    /// If it does not become ready in ten seconds.
    pub fn restart(&mut self) {
        self.kill();
        let log = fs::File::create(self.folder.path().join("log")).expect("a log");
        let child = Command::new(&self.tools.pcscd)
            .arg("--foreground")
            .arg("--config")
            .arg(self.folder.path().join("readers"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("the daemon is started");
        self.child = Some(child);
        self.wait_until_ready();
    }

    /// What the daemon said since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn wait_until_ready(&mut self) {
        let wants_reader = self.configuration().exists();
        let started = Instant::now();
        while started.elapsed() < START_TIME_MAX {
            let slots = !wants_reader || (listens(VPCD_PORT) && listens(VPCD_PORT + 1));
            if slots && UnixStream::connect(SOCKET).is_ok() {
                return;
            }
            std::thread::sleep(STEP);
        }
        panic!("the daemon did not become ready:\n{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a socket listens on this port of the namespace. (Connecting to find out would insert a card.)
fn listens(port: u16) -> bool {
    const LISTEN: &str = "0A";
    let wanted = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
        fs::read_to_string(table).unwrap_or_default().lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|local| local.ends_with(&wanted)) && fields.nth(1) == Some(LISTEN)
        })
    })
}
