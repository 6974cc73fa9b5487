//! The stage: a folder for everything, card and SAM in the private daemon's reader, and the terminal's commands.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The issuer that a new terminal's configuration accepts.
pub const ISSUER: &str = "5441504C494E4500";
/// PIN of the demo's card.
pub const PIN: &str = "123456";
/// Serial number of the demo's card.
pub const CARD: &str = "62170000000000000001";
/// Number of the demo's SAM.
pub const SAM: &str = "000000000017";
/// Where a new gateway listens.
const GATEWAY: &str = "127.0.0.1:8583";
/// Longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(15);
const STEP: Duration = Duration::from_millis(10);
/// Between two movements of a hand.
const HAND: Duration = Duration::from_millis(500);
/// How long a command of the terminal may wait for a card.
const WAIT_S: &str = "10";

/// A process that ends with us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything that the day needs.
pub struct Stage {
    folder: tempfile::TempDir,
    programs: PathBuf,
    reader: String,
    port: String,
    simulator: Option<Running>,
    gateway: Option<Running>,
}

/// A sale or load that is under way in another process.
pub struct Sale {
    child: Running,
    stderr: PathBuf,
}

impl Stage {
    /// An empty stage beside the private daemon that the environment names.
    ///
    /// # Errors
    /// No private daemon, or the programs are not built.
    pub fn new() -> Result<Self> {
        let variable =
            |name| std::env::var(name).context("this runs beside a private PC/SC daemon: use `make demo`");
        let own = std::env::current_exe().context("where am I?")?;
        let programs = own.parent().context("a program is in a folder")?.to_path_buf();
        for program in ["terminal", "card-applet-sim", "posp-gateway"] {
            ensure!(programs.join(program).exists(), "{program} is not built: use `make demo`");
        }
        let (reader, port) = (variable("TAPLINE_READER")?, variable("TAPLINE_VPCD_PORT")?);
        let folder = tempfile::Builder::new().prefix("tapline-demo-").tempdir()?;
        Ok(Self { folder, programs, reader, port, simulator: None, gateway: None })
    }

    /// A file of the stage.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the reader is called.
    #[must_use]
    pub fn reader(&self) -> &str {
        &self.reader
    }

    /// The folder stays when the demo ends, to be looked at.
    pub fn keep(self) -> PathBuf {
        let Self { folder, .. } = self;
        folder.keep()
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command
            .current_dir(self.folder.path())
            .env("TAPLINE_TERMINAL__READER__CARD", format!("{} 00 00", self.reader))
            .env("TAPLINE_TERMINAL__READER__SAM", format!("{} 00 01", self.reader))
            .env_remove("TAPLINE_CONFIG")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        command
    }

    // --- card and SAM -------------------------------------------------------------------------------------------

    /// Makes the issuer's keys, a card with `balance` on it, and a SAM, and puts the SAM into the reader.
    ///
    /// # Errors
    /// The simulator refuses or does not start.
    pub fn personalise(&mut self, balance: &str) -> Result<()> {
        self.simulator_says(["personalise", "issuer", "--issuer", ISSUER, "--out", "issuer.toml"])?;
        self.simulator_says([
            "personalise",
            "card",
            "--issuer",
            "issuer.toml",
            "--serial",
            CARD,
            "--pin",
            PIN,
            "--balance",
            balance,
            "--out",
            "card",
        ])?;
        self.simulator_says([
            "personalise",
            "sam",
            "--issuer",
            "issuer.toml",
            "--terminal",
            SAM,
            "--out",
            "sam",
        ])?;
        let log = File::create(self.path("simulator.log"))?;
        let child = self
            .program("card-applet-sim")
            .args([
                "run",
                "--card",
                "card",
                "--sam",
                "sam",
                "--removed",
                "--port",
                &self.port,
                "--control",
                "slots",
            ])
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("card-applet-sim does not start")?;
        self.simulator = Some(Running(child));
        wait_for("the SAM in the reader", || Ok(self.slots()?["sam"]["connected"] == true))
    }

    /// One command of the simulator, and its result.
    ///
    /// # Errors
    /// It fails.
    pub fn simulator_says<const N: usize>(&self, arguments: [&str; N]) -> Result<Value> {
        let output = self.program("card-applet-sim").arg("--json").args(arguments).output()?;
        let said = json_line(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        ensure!(output.status.success(), "card-applet-sim {arguments:?}: {said}");
        Ok(said["result"].clone())
    }

    /// A line to the simulator's control socket.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn control(&self, line: &str) -> Result<Value> {
        let socket = self.path("slots");
        let mut stream = UnixStream::connect(&socket).context("the simulator does not listen")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        writeln!(stream, "{line}")?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        let answer: Value = serde_json::from_str(&answer)?;
        ensure!(answer["ok"] == true, "simulator: {line}: {}", answer["error"]);
        Ok(answer["result"].clone())
    }

    fn slots(&self) -> Result<Value> {
        if !self.path("slots").exists() {
            return Ok(Value::Null);
        }
        self.control("status")
    }

    /// Holds the card to the reader. A hand takes a moment between two taps, and the daemon looks for cards a few times a
    /// second: a card that left and came back in between would not be seen.
    ///
    /// # Errors
    /// The simulator does not answer.
    pub fn insert(&self) -> Result<()> {
        std::thread::sleep(HAND);
        self.control("insert").map(drop)
    }

    /// Takes the card away.
    ///
    /// # Errors
    /// The simulator does not answer.
    pub fn remove(&self) -> Result<()> {
        self.control("remove").map(drop)
    }

    /// Waits until the card has left the reader by itself, as a planned tear makes it.
    ///
    /// # Errors
    /// It does not.
    pub fn wait_until_torn(&self) -> Result<()> {
        wait_for("the card leaving the field", || Ok(self.slots()?["card"]["inserted"] == false))
    }

    /// Ends the simulator, so that the card's file may be read by others.
    ///
    /// # Errors
    /// It does not end.
    pub fn close(&mut self) -> Result<()> {
        self.control("quit")?;
        if let Some(running) = &mut self.simulator {
            wait_for("the end of the simulator", || Ok(running.0.try_wait()?.is_some()))?;
        }
        self.simulator = None;
        Ok(())
    }

    // --- the gateway --------------------------------------------------------------------------------------------

    /// One operation of the gateway, and its result.
    ///
    /// # Errors
    /// It is refused.
    pub fn gateway(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = self.program("posp-gateway");
        let output = command.current_dir(self.path("gateway")).arg("--json").args(arguments).output()?;
        let said = json_line(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        ensure!(output.status.success() && said["ok"] == true, "posp-gateway {arguments:?}: {said}");
        Ok(said["result"].clone())
    }

    /// Starts the gateway and waits until it lets terminals in.
    ///
    /// # Errors
    /// It does not start.
    pub fn serve(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.path("gateway.log"))?;
        let mut command = self.program("posp-gateway");
        let child =
            command.current_dir(self.path("gateway")).arg("serve").stdout(log.try_clone()?).stderr(log);
        self.gateway = Some(Running(child.spawn().context("posp-gateway does not start")?));
        wait_for("the gateway", || Ok(TcpStream::connect(GATEWAY).is_ok()))
    }

    /// The gateway dies without warning (SIGKILL), as a machine does that loses power.
    pub fn kill_gateway(&mut self) {
        self.gateway = None;
    }

    // --- the terminal -------------------------------------------------------------------------------------------

    /// One command of the terminal, and its result, whatever its exit code.
    ///
    /// # Errors
    /// It answers no JSON.
    pub fn terminal<const N: usize>(&self, arguments: [&str; N]) -> Result<Value> {
        let output = self.program("terminal").arg("--json").args(arguments).output()?;
        let said = json_line(&output.stdout).with_context(|| {
            format!("terminal {arguments:?}: {}", String::from_utf8_lossy(&output.stderr))
        })?;
        if said["ok"] == false {
            bail!("terminal {arguments:?}: {said}");
        }
        Ok(said["result"].clone())
    }

    /// Asks `doctor` until everything is good (the daemon takes a moment to see a SAM), and says how many checks that was.
    ///
    /// # Errors
    /// Something stays wrong.
    pub fn doctor(&self) -> Result<usize> {
        let began = Instant::now();
        loop {
            let said = self.terminal(["doctor"])?;
            let checks = said.as_array().context("doctor lists its checks")?;
            let wrong = checks.iter().find(|check| check["verdict"] == "bad");
            match wrong {
                None => return Ok(checks.len()),
                Some(check) => ensure!(began.elapsed() < PATIENCE, "doctor: {check}"),
            }
            std::thread::sleep(STEP);
        }
    }

    /// Starts a sale; the terminal then waits for a card.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_sale(&self, amount: &str) -> Result<Sale> {
        self.start(&["sale", amount, "--wait", WAIT_S], &[])
    }

    /// Starts a command of the terminal that waits for a card.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Sale> {
        let stderr = self.path("sale.err");
        let child = self
            .program("terminal")
            .arg("--json")
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(File::create(&stderr)?)
            .spawn()
            .context("terminal does not start")?;
        Ok(Sale { child: Running(child), stderr })
    }

    /// One command of the terminal in `folder` of the stage with `environment`, and all it says, success or not.
    ///
    /// # Errors
    /// It answers no JSON.
    pub fn terminal_says(
        &self,
        folder: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Value> {
        let mut command = self.program("terminal");
        command
            .current_dir(self.path(folder))
            .arg("--json")
            .args(arguments)
            .envs(environment.iter().copied());
        let output = command.output()?;
        json_line(&output.stdout)
            .with_context(|| format!("terminal {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// A whole sale: the card is held to the reader and taken away afterwards.
    ///
    /// # Errors
    /// The terminal answers no JSON.
    pub fn sale(&self, amount: &str) -> Result<Value> {
        let sale = self.start_sale(amount)?;
        self.insert()?;
        let said = sale.finish()?;
        self.remove()?;
        Ok(said)
    }
}

impl Sale {
    /// What the terminal says at the end.
    ///
    /// # Errors
    /// It takes too long, or answers no JSON.
    pub fn finish(mut self) -> Result<Value> {
        let deadline = Duration::from_secs(60);
        wait_at_most(deadline, "the end of the sale", || Ok(self.child.0.try_wait()?.is_some()))?;
        let mut line = String::new();
        let stdout = self.child.0.stdout.take().context("its output is ours")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let stderr = || std::fs::read_to_string(&self.stderr).unwrap_or_default();
        let said: Value = serde_json::from_str(&line).with_context(stderr)?;
        ensure!(said["ok"] == true, "sale: {said}");
        Ok(said["result"].clone())
    }

    /// Cuts the terminal's power: no chance to tidy up.
    pub fn cut_power(self) {
        drop(self);
    }
}

fn json_line(output: &[u8]) -> Result<Value> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rev().find(|line| line.starts_with('{')).context("no JSON")?;
    Ok(serde_json::from_str(line)?)
}

fn wait_for(what: &str, done: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_at_most(PATIENCE, what, done)
}

fn wait_at_most(longest: Duration, what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !done()? {
        ensure!(began.elapsed() < longest, "waited {} s for {what}", longest.as_secs());
        std::thread::sleep(STEP);
    }
    Ok(())
}
