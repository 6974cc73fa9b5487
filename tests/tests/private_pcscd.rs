//! `scripts/private-pcscd`, in both of its ways: two slots, the command's own exit code and input, and nothing left behind.
//!
//! Where the system forbids namespaces the tests of that way fail and say so.
#![cfg(test)]

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const MODES: [&str; 2] = ["namespace", "socket"];
const WAIT_MAX: Duration = Duration::from_secs(15);
const STEP: Duration = Duration::from_millis(20);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts").join(name)
}

/// The script in one of its ways, with the tools it needs in place.
fn private_pcscd(mode: &str) -> Command {
    let fetched = Command::new(script("fetch-tools")).arg("smartcard").stdin(Stdio::null()).status();
    assert!(fetched.is_ok_and(|status| status.success()), "scripts/fetch-tools smartcard failed");
    let mut command = Command::new(script("private-pcscd"));
    command.env("TAPLINE_PCSCD_MODE", mode).stdin(Stdio::null());
    command
}

fn run(mode: &str, arguments: &[&str]) -> Output {
    private_pcscd(mode).args(arguments).output().expect("the script starts")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_foreign_client_sees_two_empty_slots() {
    for mode in MODES {
        let output = run(mode, &["--name", "Corner Shop", "opensc-tool", "--list-readers"]);
        let said = text(&output);
        assert!(output.status.success(), "{mode}: {said}");
        assert!(said.contains("Corner Shop 00 00") && said.contains("Corner Shop 00 01"), "{mode}: {said}");
    }
}

#[test]
fn the_command_gets_its_input_and_gives_its_exit_code() {
    for mode in MODES {
        let mut child = private_pcscd(mode)
            .args(["sh", "-c", "read word; echo \"$word:$TAPLINE_PRIVATE_PCSCD\"; exit 7"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script starts");
        child.stdin.take().expect("a pipe").write_all(b"amber\n").expect("the pipe takes it");
        let output = child.wait_with_output().expect("the script ends");
        assert_eq!(output.status.code(), Some(7), "{mode}: {}", text(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("amber:{mode}\n"));
    }
}

#[test]
fn what_runs_inside_can_be_interrupted() {
    for mode in MODES {
        let output = run(mode, &["sh", "-c", "grep SigIgn /proc/self/status"]);
        let mask =
            text(&output).split_whitespace().last().and_then(|mask| u64::from_str_radix(mask, 16).ok());
        let (sigint, sigquit) = (1 << 1, 1 << 2);
        assert_eq!(mask.map(|mask| mask & (sigint | sigquit)), Some(0), "{output:?}");
    }
}

#[test]
fn what_the_command_left_running_ends_with_it() {
    // In a namespace only: elsewhere nobody can know what the command started.
    let marker = marker("left");
    let output = run("namespace", &["sh", "-c", &format!("sleep {marker} & exit 0")]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(eventually(|| running(&marker) == 0), "a process was left running");
}

#[test]
fn any_signal_ends_everything_inside() {
    for mode in MODES {
        for (signal, code) in [("TERM", Some(143)), ("HUP", Some(129)), ("KILL", None)] {
            let marker = marker(&format!("{mode}{signal}"));
            // Outside a namespace only the command itself can be reached after SIGKILL.
            let exec = if (mode, signal) == ("socket", "KILL") { "exec" } else { "" };
            let log = tempfile::NamedTempFile::new().expect("a file");
            let mut child = private_pcscd(mode)
                .arg("--log")
                .arg(log.path())
                .args(["sh", "-c", &format!("echo $PCSCLITE_CSOCK_NAME; {exec} sleep {marker}; true")])
                .stdout(Stdio::piped())
                .spawn()
                .expect("the script starts");
            assert!(eventually(|| running(&marker) > 0), "{mode}: the command never ran");
            kill(signal, &child);
            assert_eq!(child.wait().expect("the script ends").code(), code, "{mode} {signal}");
            assert!(eventually(|| running(&marker) == 0), "{mode}: {signal} left the command running");
            assert!(eventually(|| !held_open(log.path())), "{mode}: {signal} left the daemon running");
            let folder = socket_folder(&mut child);
            let left = folder.is_some_and(|folder| fs::remove_dir_all(folder).is_ok());
            assert_eq!(
                left,
                exec == "exec",
                "{mode}: after {signal} the temporary folder was left, or is gone already"
            );
        }
    }
}

#[test]
fn what_cannot_start_says_why_and_exits_with_125() {
    let cases: [(&[&str], &str); 4] = [
        (&["--port", "80", "true"], "1024 to 65534"),
        (&["--colour", "true"], "unknown option"),
        (&[], "COMMAND"),
        (&["--port", "4x", "true"], "1024 to 65534"),
    ];
    for (arguments, reason) in cases {
        let output = run("namespace", arguments);
        assert_eq!(output.status.code(), Some(125), "{}", text(&output));
        assert!(text(&output).contains(reason), "{}", text(&output));
    }
    let output = private_pcscd("namespace")
        .env("TAPLINE_VPCD_DRIVER", "/nonexistent")
        .arg("true")
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output).contains("fetch-tools"), "{}", text(&output));
}

/// A duration for `sleep` that no other process uses: it finds our processes among all.
fn marker(word: &str) -> String {
    let sum: u32 = word.bytes().map(u32::from).sum();
    format!("300.{}{sum}", std::process::id())
}

/// The folder of the daemon's socket, as the command printed it; none in a namespace.
fn socket_folder(child: &mut Child) -> Option<PathBuf> {
    let mut said = String::new();
    child.stdout.take()?.read_to_string(&mut said).ok()?;
    Some(Path::new(said.trim()).parent()?.to_path_buf())
}

fn kill(signal: &str, child: &Child) {
    let status = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -{signal}");
}

/// How many `sleep` processes have the marker.
fn running(marker: &str) -> usize {
    let wanted = format!("sleep\0{marker}\0");
    processes()
        .filter(|folder| fs::read_to_string(folder.join("cmdline")).is_ok_and(|line| line == wanted))
        .count()
}

/// True if any process writes to the file.
fn held_open(file: &Path) -> bool {
    processes().any(|folder| {
        fs::read_dir(folder.join("fd")).is_ok_and(|entries| {
            entries.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == file))
        })
    })
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let own = std::process::id().to_string();
    fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path()).filter(move |path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.bytes().all(|byte| byte.is_ascii_digit()) && name != own
    })
}

fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < WAIT_MAX {
        if holds() {
            return true;
        }
        std::thread::sleep(STEP);
    }
    false
}
