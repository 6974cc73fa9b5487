//! A card and a SAM in the two slots of a virtual reader, and what a hand may do with them: insert, remove, swap, tear.
//!
//! Each slot is a thread that connects to vpcd while its card is inserted and waits, longer and longer up to
//! [`BACKOFF_MAX`], while no daemon listens. Commands are lines of text ([`Station::execute`]), from a Unix socket
//! or standard input; each is answered by one JSON object. A tear takes the card out of the field: it comes back by
//! `insert`.

use crate::link::{Connection, End, Fate, Watch};
use crate::memory::{FileMedium, JournalMemory, MemoryFault, PowerSupply, Powered};
use crate::os::{Card, Transport};
use crate::random::OsRandom;
use serde_json::{Value, json};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// First wait after a connection failed.
pub const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest wait between two attempts.
pub const BACKOFF_MAX: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest line of a command, in bytes.
pub const LINE_BYTES_MAX: u64 = 4096;

/// A card from a file, ready for a slot.
pub struct Placed {
    card: Card,
    supply: PowerSupply,
    path: PathBuf,
}

impl Placed {
    /// Opens a card or SAM file.
    ///
    /// # Errors
    /// It is not there, in use, or damaged.
    pub fn open(path: &Path, transport: Transport) -> Result<Self, MemoryFault> {
        let supply = PowerSupply::new();
        let medium = Powered::new(FileMedium::open(path)?, supply.clone());
        let card = Card::new(JournalMemory::open(medium)?, OsRandom).with_transport(transport);
        Ok(Self { card, supply, path: path.to_path_buf() })
    }
}

/// When and how the card leaves the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tear {
    when: When,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// After so many more commands.
    After(u64),
    /// At the next command with this instruction byte.
    Instruction(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// The command is lost.
    Command,
    /// The answer is lost.
    Answer,
    /// The power fails after so many writes and syncs of the card's memory, and the answer is lost.
    Write { operations: u64, torn_share: u8 },
}

#[derive(Default)]
struct State {
    placed: Option<Placed>,
    next: Option<Placed>,
    path: PathBuf,
    inserted: bool,
    stop: bool,
    stream: Option<TcpStream>,
    tear: Option<Tear>,
    commands: u64,
    trouble: Option<String>,
}

/// One slot of the reader.
pub struct Slot {
    name: &'static str,
    address: SocketAddr,
    transport: Transport,
    state: Mutex<State>,
    changed: Condvar,
}

impl Slot {
    fn new(
        name: &'static str,
        address: SocketAddr,
        placed: Placed,
        transport: Transport,
        inserted: bool,
    ) -> Arc<Self> {
        let path = placed.path.clone();
        let state = State { placed: Some(placed), inserted, path, ..State::default() };
        Arc::new(Self { name, address, transport, state: Mutex::new(state), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot's thread.
    fn work(&self) {
        let mut backoff = BACKOFF_MIN;
        while let Some(mut placed) = self.take_inserted() {
            match TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT) {
                Ok(stream) => {
                    backoff = BACKOFF_MIN;
                    self.serve(stream, &mut placed);
                    self.put_back(placed);
                }
                Err(error) => {
                    tracing::debug!(slot = self.name, %error, "no virtual reader at {}", self.address);
                    self.put_back(placed);
                    let state = self.lock();
                    let _ = self.changed.wait_timeout(state, backoff);
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    /// Waits until a card is inserted; `None` to stop.
    fn take_inserted(&self) -> Option<Placed> {
        let mut state = self.lock();
        loop {
            if state.stop {
                return None;
            }
            if let Some(next) = state.next.take() {
                state.path.clone_from(&next.path);
                state.placed = Some(next);
            }
            if state.inserted
                && let Some(placed) = state.placed.take()
            {
                return Some(placed);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put_back(&self, placed: Placed) {
        let mut state = self.lock();
        state.stream = None;
        if state.placed.is_none() {
            state.placed = Some(placed);
        }
        self.changed.notify_all();
    }

    fn serve(&self, stream: TcpStream, placed: &mut Placed) {
        {
            let mut state = self.lock();
            if !state.inserted || state.stop {
                return;
            }
            state.stream = stream.try_clone().ok();
            state.trouble = None;
        }
        placed.supply.restore();
        tracing::info!(slot = self.name, "inserted");
        let mut watch = SlotWatch { slot: self, supply: placed.supply.clone() };
        let end = Connection::new(stream).and_then(|mut link| link.serve(&mut placed.card, &mut watch));
        placed.card.power_off();
        match end {
            Ok(End::Closed) => tracing::info!(slot = self.name, "connection closed"),
            Ok(End::Torn) => {
                tracing::info!(slot = self.name, "torn out of the field");
                self.lock().inserted = false;
            }
            Ok(End::CardFailed(reason)) => {
                tracing::error!(slot = self.name, "card does not work: {reason}");
                let mut state = self.lock();
                state.inserted = false;
                state.trouble = Some(reason);
            }
            Err(error) => tracing::warn!(slot = self.name, %error, "connection failed"),
        }
    }

    fn insert(&self) {
        self.lock().inserted = true;
        self.changed.notify_all();
    }

    fn remove(&self) {
        let mut state = self.lock();
        state.inserted = false;
        // The thread reads from the other handle and sees the end.
        if let Some(stream) = state.stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }

    fn stop(&self) {
        self.lock().stop = true;
        self.remove();
    }

    fn swap(&self, path: &Path) -> Result<(), String> {
        let next = Placed::open(path, self.transport).map_err(|fault| fault.to_string())?;
        self.remove();
        let mut state = self.lock();
        state.next = Some(next);
        state.inserted = true;
        self.changed.notify_all();
        Ok(())
    }

    fn status(&self) -> Value {
        let state = self.lock();
        json!({
            "file": state.path.display().to_string(),
            "inserted": state.inserted,
            "connected": state.stream.is_some(),
            "commands": state.commands,
            "tear_planned": state.tear.is_some(),
            "trouble": state.trouble,
        })
    }
}

struct SlotWatch<'a> {
    slot: &'a Slot,
    supply: PowerSupply,
}

impl Watch for SlotWatch<'_> {
    fn before(&mut self, command: &[u8]) -> Fate {
        let mut state = self.slot.lock();
        state.commands = state.commands.saturating_add(1);
        let Some(tear) = state.tear else { return Fate::Pass };
        let now = match tear.when {
            When::After(0) => true,
            When::After(left) => {
                state.tear = Some(Tear { when: When::After(left - 1), ..tear });
                false
            }
            When::Instruction(byte) => command.get(1) == Some(&byte),
        };
        if !now {
            return Fate::Pass;
        }
        state.tear = None;
        match tear.how {
            How::Command => Fate::LoseCommand,
            How::Answer => Fate::LoseAnswer,
            How::Write { operations, torn_share } => {
                self.supply.cut_after(operations, torn_share);
                Fate::LoseAnswer
            }
        }
    }

    fn exchanged(&mut self, line: &str) {
        tracing::info!(slot = self.slot.name, "{line}");
    }

    fn power(&mut self, what: &'static str) {
        tracing::debug!(slot = self.slot.name, "{what}");
    }
}

/// The two slots of a reader.
pub struct Station {
    card: Arc<Slot>,
    sam: Option<Arc<Slot>>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Station {
    /// Puts card (if `inserted`) and SAM into the reader whose first slot listens at `address`; the SAM's slot is the
    /// next port.
    ///
    /// # Errors
    /// No thread is to be had.
    pub fn start(
        address: SocketAddr,
        card: Placed,
        sam: Option<Placed>,
        transport: Transport,
        inserted: bool,
    ) -> std::io::Result<Self> {
        let card = Slot::new("card", address, card, transport, inserted);
        let next = SocketAddr::new(address.ip(), address.port().saturating_add(1));
        let sam = sam.map(|placed| Slot::new("sam", next, placed, transport, true));
        let mut threads = Vec::new();
        for slot in std::iter::once(&card).chain(&sam) {
            let slot = Arc::clone(slot);
            let name = format!("slot-{}", slot.name);
            threads.push(std::thread::Builder::new().name(name).spawn(move || slot.work())?);
        }
        Ok(Self { card, sam, threads: Mutex::new(threads) })
    }

    /// Takes both out and ends their threads.
    pub fn stop(&self) {
        for slot in std::iter::once(&self.card).chain(&self.sam) {
            slot.stop();
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn slot(&self, name: Option<&str>) -> Result<&Arc<Slot>, String> {
        match name {
            None | Some("card") => Ok(&self.card),
            Some("sam") => self.sam.as_ref().ok_or_else(|| "there is no SAM".into()),
            Some(other) => Err(format!("unknown slot {other}: card or sam")),
        }
    }

    /// Does what a line says:
    ///
    /// - `insert [card|sam]`, `remove [card|sam]`;
    /// - `swap FILE`: another card, inserted;
    /// - `tear WHEN [command|answer|write N [SHARE]]`: WHEN is a number of commands that still pass, or `insXX` for the next
    ///   command with that instruction byte; what is lost is the command, its answer (the default), or the power after N writes
    ///   and syncs, SHARE of 256 of the torn write having reached the disk;
    /// - `status`.
    ///
    /// # Errors
    /// What is wrong with the line, or why it cannot be done.
    pub fn execute(&self, line: &str) -> Result<Value, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["insert"] | ["insert", _] => self.slot(words.get(1).copied())?.insert(),
            ["remove"] | ["remove", _] => self.slot(words.get(1).copied())?.remove(),
            ["swap", ..] => {
                let path = line.trim_start().trim_start_matches("swap").trim();
                if path.is_empty() {
                    return Err("swap needs a file".into());
                }
                self.card.swap(Path::new(path))?;
            }
            ["tear", rest @ ..] => self.card.lock().tear = Some(parse_tear(rest)?),
            ["status"] => {
                let sam = self.sam.as_ref().map(|slot| slot.status());
                return Ok(json!({ "card": self.card.status(), "sam": sam }));
            }
            _ => return Err("expected insert, remove, swap, tear, status or quit".into()),
        }
        Ok(json!({}))
    }
}

fn parse_tear(words: &[&str]) -> Result<Tear, String> {
    let (when, how) = words.split_first().ok_or("tear needs a number of commands, or insXX")?;
    let when = match when.strip_prefix("ins") {
        Some(byte) => {
            When::Instruction(u8::from_str_radix(byte, 16).map_err(|_| "insXX: two digits of hexadecimal")?)
        }
        None => When::After(when.parse().map_err(|_| "tear needs a number of commands, or insXX")?),
    };
    let number = |text: &str| text.parse().map_err(|_| format!("{text} is not a number"));
    let how = match how {
        [] | ["answer"] => How::Answer,
        ["command"] => How::Command,
        ["write", operations] => How::Write { operations: number(operations)?, torn_share: 0 },
        ["write", operations, share] => How::Write {
            operations: number(operations)?,
            torn_share: share.parse().map_err(|_| format!("{share} is not a share of 256"))?,
        },
        _ => return Err("tear loses the command, the answer, or the power at write N".into()),
    };
    Ok(Tear { when, how })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tears_are_told_by_count_or_instruction_and_what_is_lost() {
        let parse = |line: &str| parse_tear(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(parse("3"), Ok(Tear { when: When::After(3), how: How::Answer }));
        assert_eq!(parse("ins54 command"), Ok(Tear { when: When::Instruction(0x54), how: How::Command }));
        let write = How::Write { operations: 1, torn_share: 128 };
        assert_eq!(parse("0 write 1 128"), Ok(Tear { when: When::After(0), how: write }));
        for wrong in ["", "x", "insZZ", "1 write", "1 write x", "1 write 1 300", "1 lunch"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
