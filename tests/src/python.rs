//! The Python process that answers for other people's implementations: pyiso8583, psec (`tests/python/peer.py`).

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// One running process. It ends when this is dropped.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Peer {
    /// Starts the process.
    ///
    /// # Errors
    /// The Python environment is not there: the error says what to run.
    pub fn start() -> anyhow::Result<Self> {
        let python = workspace().join(".tools/python/bin/python");
        anyhow::ensure!(
            python.exists(),
            "no Python environment at .tools/python: run scripts/python-env (make test does), then again"
        );
        let mut child = Command::new(python)
            .arg(workspace().join("tests/python/peer.py"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // Its cryptography package warns of triple DES, which is what we compare.
            .env("PYTHONWARNINGS", "ignore")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (requests, answers) = (child.stdin.take(), child.stdout.take());
        let answers = answers.ok_or_else(|| anyhow::anyhow!("the process has no output"))?;
        Ok(Self { child, requests, answers: BufReader::new(answers) })
    }

    /// Asks for `what` with named arguments and returns the answer.
    ///
    /// # Errors
    /// What the library under Python raised, or a process that ended.
    pub fn ask(&mut self, what: &str, mut arguments: Value) -> anyhow::Result<Value> {
        arguments["do"] = json!(what);
        let requests = self.requests.as_mut().ok_or_else(|| anyhow::anyhow!("the process was ended"))?;
        writeln!(requests, "{arguments}")?;
        requests.flush()?;
        let mut line = String::new();
        let ended = || {
            anyhow::anyhow!("the Python process ended: see its message above; scripts/python-env repairs it")
        };
        if self.answers.read_line(&mut line)? == 0 {
            return Err(ended());
        }
        let mut answer: Value = serde_json::from_str(&line)?;
        match answer["error"].as_str() {
            Some(error) => anyhow::bail!("{what}: {error}"),
            None => Ok(answer["ok"].take()),
        }
    }

    /// As [`Peer::ask`], for an answer that is text.
    ///
    /// # Errors
    /// As [`Peer::ask`], or another answer.
    pub fn ask_text(&mut self, what: &str, arguments: Value) -> anyhow::Result<String> {
        let answer = self.ask(what, arguments)?;
        answer.as_str().map(str::to_owned).ok_or_else(|| anyhow::anyhow!("{what}: the answer is no text"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The process ends with its input.
        self.requests = None;
        let _ = self.child.wait();
    }
}
