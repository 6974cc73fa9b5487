//! The control socket: how operations reach a running gateway, which holds its store for itself alone.
//!
//! A Unix socket in a folder of mode 0700. One connection carries one operation: a line of JSON, `{"tapline":1,"operation":"audit"}`, is answered by
//! a line of JSON, `{"ok":{…}}` or `{"failed":{…}}`. Lines, times and connections at once are bounded.

use super::{Operation, Outcome};
use console::code::Code;
use console::{Failure, code};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest request, in bytes.
const REQUEST_MAX: u64 = 64 * 1024;
/// Longest answer, in bytes.
const ANSWER_MAX: u64 = 1 << 30;
/// How long a client may take to say what it wants, or to take an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Operations at once.
const CLIENTS_MAX: usize = 8;

/// Version of the lines.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Request {
    tapline: u32,
    #[serde(flatten)]
    operation: Operation,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reply {
    Ok(Outcome),
    Failed(Told),
}

/// A failure as a line carries it.
#[derive(Serialize, Deserialize)]
struct Told {
    name: String,
    arguments: Vec<(String, String)>,
    detail: Option<String>,
}

impl Told {
    fn of(failure: &Failure) -> Self {
        let arguments = failure.args().iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let detail = std::error::Error::source(failure).map(ToString::to_string);
        Self { name: failure.code().message().to_owned(), arguments: arguments.collect(), detail }
    }

    fn failure(self) -> Failure {
        let mut failure = Failure::new(Code::named(&self.name).unwrap_or(code::UNEXPECTED));
        for (name, value) in self.arguments {
            // The names of arguments that operations use; another one is of a newer gateway and of no use to our texts.
            let known = ["path", "what", "name", "reason", "terminal", "detail"];
            if let Some(name) = known.into_iter().find(|known| *known == name) {
                failure = failure.with(name, value);
            }
        }
        match self.detail {
            Some(detail) => failure.caused_by(detail),
            None => failure,
        }
    }
}

/// Asks a running gateway. `None` if there is none behind this socket.
///
/// # Errors
/// It refused or failed, or did not answer.
pub fn ask(path: &Path, operation: &Operation) -> Result<Option<Outcome>, Failure> {
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(away(path, error)),
    };
    let reply = exchange(stream, operation).map_err(|error| away(path, error))?;
    match reply {
        Reply::Ok(outcome) => Ok(Some(outcome)),
        Reply::Failed(told) => Err(told.failure()),
    }
}

fn away(path: &Path, error: io::Error) -> Failure {
    Failure::new(code::GATEWAY_CONTROL).with("path", path.display()).caused_by(error)
}

/// Why nobody can listen at `path`.
fn not_ours(path: &Path, error: io::Error) -> Failure {
    if error.kind() != io::ErrorKind::AddrInUse {
        return away(path, error);
    }
    let refused =
        Failure::new(code::GATEWAY_REFUSED).with("what", "data.control").with("name", path.display());
    refused.with("reason", "another gateway answers there: give each its own")
}

fn exchange(mut stream: UnixStream, operation: &Operation) -> io::Result<Reply> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = Request { tapline: VERSION, operation: operation.clone() };
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = zeroize::Zeroizing::new(Vec::new());
    BufReader::new(stream.take(ANSWER_MAX)).read_until(b'\n', &mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&answer)?)
}

/// Answers operations until it is dropped.
pub struct Control {
    path: PathBuf,
    listener: Arc<UnixListener>,
    /// Device and number of the socket's file.
    place: (u64, u64),
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Control({})", self.path.display())
    }
}

/// What answers an operation.
pub type Handler = Arc<dyn Fn(&Operation) -> Result<Outcome, Failure> + Send + Sync>;

impl Control {
    /// Listens at `path`. A socket there at which nobody answers is of a gateway that has died.
    ///
    /// # Errors
    /// The folder or the socket cannot be made, or another gateway answers there: what is meant for it must not reach us.
    pub fn listen(path: &Path, handler: Handler) -> Result<Self, Failure> {
        let bound = bind(path).and_then(|listener| Ok((Arc::new(listener), place(path)?)));
        let (listener, place) = bound.map_err(|error| not_ours(path, error))?;
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("control".into()).spawn({
            let (listener, stop) = (Arc::clone(&listener), Arc::clone(&stopping));
            move || accept(&listener, &handler, &stop)
        });
        let thread = thread.map_err(|error| away(path, error))?;
        Ok(Self { path: path.to_path_buf(), listener, place, stopping, thread: Some(thread) })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes it by itself: whatever has become of the path.
        let woken = socket2::SockRef::from(&*self.listener).shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take().filter(|_| woken.is_ok()) {
            let _ = thread.join();
        }
        if place(&self.path).is_ok_and(|there| there == self.place) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Which file this is.
fn place(path: &Path) -> io::Result<(u64, u64)> {
    let there = std::fs::symlink_metadata(path)?;
    Ok((there.dev(), there.ino()))
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(folder)?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another gateway answers there"));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn accept(listener: &UnixListener, handler: &Handler, stop: &AtomicBool) {
    let clients = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream else {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        if clients.fetch_add(1, Ordering::Relaxed) >= CLIENTS_MAX {
            clients.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!("too many operations at once: one was refused");
            continue;
        }
        let (handler, clients) = (Arc::clone(handler), Arc::clone(&clients));
        let spawned = std::thread::Builder::new().name("operation".into()).spawn({
            let clients = Arc::clone(&clients);
            move || {
                if let Err(error) = serve(stream, &handler) {
                    tracing::info!(%error, "an operation's connection failed");
                }
                clients.fetch_sub(1, Ordering::Relaxed);
            }
        });
        if spawned.is_err() {
            clients.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn serve(mut stream: UnixStream, handler: &Handler) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = Vec::new();
    BufReader::new(Read::take(&stream, REQUEST_MAX)).read_until(b'\n', &mut line)?;
    let reply = match serde_json::from_slice::<Request>(&line) {
        Ok(request) if request.tapline == VERSION => match handler(&request.operation) {
            Ok(outcome) => Reply::Ok(outcome),
            Err(failure) => Reply::Failed(Told::of(&failure)),
        },
        Ok(request) => refused(format!("version {} of the control lines", request.tapline)),
        Err(error) => refused(error.to_string()),
    };
    let mut answer = zeroize::Zeroizing::new(serde_json::to_vec(&reply)?);
    answer.push(b'\n');
    stream.write_all(&answer)
}

fn refused(reason: String) -> Reply {
    let failure =
        Failure::new(code::GATEWAY_VALUE).with("what", "operation").with("name", "").with("reason", reason);
    Reply::Failed(Told::of(&failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(folder: &Path) -> (Control, PathBuf) {
        let path = folder.join("run/control.sock");
        let handler: Handler = Arc::new(|operation| match operation {
            Operation::Settle { days } => Ok(Outcome::Counted { what: "uncertain".into(), count: *days }),
            _ => Err(Failure::new(code::GATEWAY_UNKNOWN).with("what", "card").with("name", "62")),
        });
        (Control::listen(&path, handler).unwrap(), path)
    }

    #[test]
    fn an_operation_reaches_the_gateway_and_its_outcome_or_failure_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let (control, path) = control(folder.path());
        let outcome = ask(&path, &Operation::Settle { days: 7 }).unwrap();
        assert!(outcome == Some(Outcome::Counted { what: "uncertain".into(), count: 7 }));
        let failure = ask(&path, &Operation::Audit { heads: None }).unwrap_err();
        assert_eq!(failure.code(), code::GATEWAY_UNKNOWN);
        assert_eq!(failure.args().iter().collect::<Vec<_>>(), [("what", "card"), ("name", "62")]);
        drop(control);
        assert!(ask(&path, &Operation::Audit { heads: None }).unwrap().is_none());
    }

    #[test]
    fn only_its_owner_reaches_the_socket_and_a_dead_ones_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/control.sock");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        let (_control, path) = control(folder.path());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(ask(&path, &Operation::Settle { days: 1 }).unwrap().is_some());
    }

    #[test]
    fn it_ends_whatever_has_become_of_its_path_and_leaves_anothers_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (first, path) = control(folder.path());
        let handler: Handler = Arc::new(|_| Err(Failure::new(code::GATEWAY_UNKNOWN)));
        let second = Control::listen(&path, handler).unwrap_err();
        assert_eq!(second.code(), code::GATEWAY_REFUSED);
        assert!(ask(&path, &Operation::Settle { days: 1 }).unwrap().is_some(), "the first one answers");
        std::fs::remove_file(&path).unwrap();
        let (others, _) = control(folder.path());
        let (ended, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(first);
            ended.send(()).unwrap();
        });
        end.recv_timeout(Duration::from_secs(20)).expect("it ends");
        assert!(ask(&path, &Operation::Settle { days: 1 }).unwrap().is_some(), "the other one answers");
        drop(others);
        assert!(!path.exists());
    }

    #[test]
    fn lines_that_are_no_operation_are_refused_and_the_next_one_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let (_control, path) = control(folder.path());
        let long = vec![b'x'; 100_000];
        for line in [&b"\n"[..], b"{}\n", b"{\"tapline\":2,\"operation\":\"audit\"}\n", b"\xFF\xFE\n", &long]
        {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = stream.write_all(line);
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            assert!(answer.contains("gateway-value") || line.len() > 64 * 1024, "{answer}");
        }
        assert!(ask(&path, &Operation::Settle { days: 1 }).unwrap().is_some());
    }
}
