//! `run` and `control`: card and SAM in vpcd's slots, and a hand that inserts, removes, swaps and tears.

use crate::cli::Run;
use crate::personalise::memory_failure;
use anyhow::Context as _;
use card_applet_sim::attach::{LINE_BYTES_MAX, Placed, Station};
use card_applet_sim::os::Transport;
use console::{Console, Failure, code};
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

pub(crate) fn run(options: &Run, console: &mut Console) -> anyhow::Result<()> {
    let transport = if options.t0 { Transport::Character } else { Transport::Block };
    let open = |path: &Path| Placed::open(path, transport).map_err(|fault| memory_failure(path, fault));
    let card = open(&options.card)?;
    let sam = options.sam.as_deref().map(open).transpose()?;
    // Before the slots start: a socket that is taken is told at once.
    let listener = options.control.as_deref().map(listen).transpose()?;
    let address = SocketAddr::new(options.host, options.port);
    let station =
        Arc::new(Station::start(address, card, sam, transport, !options.removed).context("threads")?);
    let (quit, wait) = channel();
    if let Some(listener) = listener {
        let (station, quit) = (Arc::clone(&station), quit.clone());
        std::thread::spawn(move || accept(&listener, &station, &quit));
    }
    if options.stdin {
        let (station, quit) = (Arc::clone(&station), quit.clone());
        std::thread::spawn(move || converse(BufReader::new(io::stdin()), io::stdout(), &station, &quit));
    }
    let ready = json!({ "reader": address.to_string(), "control": options.control });
    console.result("run", &ready, &format!("card and SAM go into the reader at {address}"))?;
    // Without a way to be told to quit it runs until it is killed: memory survives that by design.
    let _ = wait.recv();
    station.stop();
    if let Some(path) = &options.control {
        let _ = std::fs::remove_file(path);
    }
    drop(quit);
    Ok(())
}

/// A control socket for its owner alone. A socket that nobody answers at is left over and goes.
fn listen(path: &Path) -> Result<UnixListener, Failure> {
    let failure = |error: io::Error| {
        Failure::new(code::SIMULATOR_CONTROL_TAKEN).with("path", path.display()).caused_by(error)
    };
    if UnixStream::connect(path).is_ok() {
        return Err(failure(io::Error::new(io::ErrorKind::AddrInUse, "another simulator answers there")));
    }
    if std::fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
        std::fs::remove_file(path).map_err(failure)?;
    }
    let listener = UnixListener::bind(path).map_err(failure)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failure)?;
    Ok(listener)
}

fn accept(listener: &UnixListener, station: &Arc<Station>, quit: &Sender<()>) {
    for stream in listener.incoming().flatten() {
        let (station, quit) = (Arc::clone(station), quit.clone());
        std::thread::spawn(move || {
            if let Ok(reader) = stream.try_clone() {
                converse(BufReader::new(reader), stream, &station, &quit);
            }
        });
    }
}

/// Lines in, one JSON object for each out.
fn converse(mut lines: impl BufRead, mut answers: impl io::Write, station: &Station, quit: &Sender<()>) {
    loop {
        let mut line = String::new();
        match lines.by_ref().take(LINE_BYTES_MAX).read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let done = if line == "quit" { Ok(json!({})) } else { station.execute(line) };
        let answer = match done {
            Ok(result) => json!({ "ok": true, "result": result }),
            Err(reason) => json!({ "ok": false, "error": reason }),
        };
        let written = writeln!(answers, "{answer}").and_then(|()| answers.flush());
        if line == "quit" {
            let _ = quit.send(());
        }
        if written.is_err() {
            return;
        }
    }
}

pub(crate) fn control(socket: &Path, words: &[String], console: &mut Console) -> anyhow::Result<()> {
    let away = |error: io::Error| {
        Failure::new(code::SIMULATOR_CONTROL_AWAY).with("path", socket.display()).caused_by(error)
    };
    let mut stream = UnixStream::connect(socket).map_err(away)?;
    writeln!(stream, "{}", words.join(" ")).map_err(away)?;
    let mut line = String::new();
    BufReader::new(stream).take(1 << 16).read_line(&mut line).map_err(away)?;
    let answer: Value = serde_json::from_str(&line).context("the simulator's answer")?;
    if answer["ok"] != Value::Bool(true) {
        let reason = answer["error"].as_str().unwrap_or("no reason given").to_owned();
        return Err(Failure::new(code::SIMULATOR_REFUSED).with("reason", reason).into());
    }
    let result = &answer["result"];
    let human = if result.as_object().is_some_and(serde_json::Map::is_empty) {
        "done".to_owned()
    } else {
        serde_json::to_string_pretty(result)?
    };
    console.result("control", result, &human)?;
    Ok(())
}
