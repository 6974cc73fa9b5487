//! Heads of the ledger's hash chain, kept outside the database (`docs/reference/backend.md` section 1).
//!
//! Whoever can write the database can cut off its newest rows with all their traces, and make the chain anew. What he cannot do is take back
//! what was exported: one line of JSON per head, appended to a file that lives elsewhere, signed in the acquirer's name through the key module. The
//! audit then asks whether every exported head is still in the chain.
//!
//! The signature (ECDSA P-256, SHA-256) is over `"tapline-head-1" ‖ acquirer 8 ‖ commit 8 ‖ time 8 ‖ next transfer 8 ‖ next transaction 8 ‖ hash 32`.

use super::{Desk, store_failure};
use backend::accounts::TransactionSeq;
use backend::api::{Backend, LINKS_MAX, Query, Report};
use backend::store::{CommitNo, GatewayNo, Link};
use console::{Failure, code};
use keys::{KeyModule, head_verifies};
use protocol::hex::{self, Hex};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Version of the lines.
const FORMAT: u32 = 1;
/// Longest line, in bytes.
const LINE_MAX: u64 = 4_096;
/// Most findings listed.
const FINDINGS_MAX: usize = 1_000;

/// One exported head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadLine {
    /// `FORMAT`.
    pub tapline_head: u32,
    /// In whose name.
    pub acquirer: u64,
    /// Number of the newest commit.
    pub commit: u64,
    /// Its time, in milliseconds since 1970 (UTC).
    pub at_ms: i64,
    /// Number of the next transfer.
    pub transfer: u64,
    /// Number of the next transaction.
    pub transaction: u64,
    /// Hash of the commit's link.
    pub hash: String,
    /// The public key, for those who know it from elsewhere.
    pub key: String,
    /// `r ‖ s`.
    pub signature: String,
}

fn message(acquirer: u64, link: &Link) -> Vec<u8> {
    let mut out = b"tapline-head-1".to_vec();
    out.extend_from_slice(&acquirer.to_be_bytes());
    out.extend_from_slice(&link.number.0.to_be_bytes());
    out.extend_from_slice(&link.at.0.to_be_bytes());
    out.extend_from_slice(&link.next_transfer.0.to_be_bytes());
    out.extend_from_slice(&link.next_transaction.0.to_be_bytes());
    out.extend_from_slice(&link.hash);
    out
}

fn keys_failure(error: impl std::fmt::Display) -> Failure {
    Failure::new(code::GATEWAY_KEYS).with("path", "").with("reason", error)
}

fn unreadable(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::new(code::GATEWAY_HEADS).with("path", path.display()).with("reason", error)
}

/// Appends the newest head to the file. `None` if there is none yet; a head that is the file's last already is not appended twice.
///
/// # Errors
/// The store, the key module or the disk failed.
pub fn export(
    desk: &mut dyn Desk,
    keys: &dyn KeyModule,
    acquirer: u64,
    path: &Path,
) -> Result<Option<HeadLine>, Failure> {
    let Report::Links(links) = desk.query(Query::Head)? else { return Ok(None) };
    let Some(link) = links.into_iter().flatten().next() else { return Ok(None) };
    let signature = keys.sign_head(acquirer, &message(acquirer, &link)).map_err(keys_failure)?;
    let line = HeadLine {
        tapline_head: FORMAT,
        acquirer,
        commit: link.number.0,
        at_ms: link.at.0,
        transfer: link.next_transfer.0,
        transaction: link.next_transaction.0,
        hash: Hex(&link.hash).to_string(),
        key: Hex(&keys.head_key(acquirer).map_err(keys_failure)?).to_string(),
        signature: Hex(&signature).to_string(),
    };
    append(path, &line).map_err(|error| console::config::disk(path, error))?;
    Ok(Some(line))
}

/// A line is there whole or not at all: what a full disk left of it is taken away.
fn append(path: &Path, line: &HeadLine) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    let length = file.metadata()?.len();
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    let tail = length.saturating_sub(LINE_MAX);
    file.seek(SeekFrom::Start(tail))?;
    let mut last = Vec::new();
    Read::take(&file, LINE_MAX).read_to_end(&mut last)?;
    if last.ends_with(text.as_bytes()) {
        return Ok(());
    }
    if last.last().is_some_and(|byte| *byte != b'\n') {
        text.insert(0, '\n');
    }
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = file.set_len(length);
    }
    written
}

/// What became of a file of heads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Heads that were read.
    pub heads: u64,
    /// What is wrong, by line.
    pub findings: Vec<String>,
}

impl Checked {
    fn wrong(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// The lines of a file that are not empty, with their numbers.
fn lines(path: &Path) -> io::Result<impl Iterator<Item = io::Result<(u64, Vec<u8>)>>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut number = 0u64;
    Ok(std::iter::from_fn(move || {
        loop {
            let mut line = Vec::new();
            number = number.saturating_add(1);
            match Read::take(&mut reader, LINE_MAX).read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) if line.iter().all(u8::is_ascii_whitespace) => {}
                Ok(_) => return Some(Ok((number, line))),
                Err(error) => return Some(Err(error)),
            }
        }
    }))
}

/// Refuses a ledger that is behind a head which this gateway has exported: it would give out numbers again that are on receipts. (A restore goes on
/// beyond them, so what it leaves is not behind.)
///
/// # Errors
/// It is behind, the file is there and cannot be read, or the store failed.
pub fn not_behind(
    backend: &mut dyn Backend,
    keys: &dyn KeyModule,
    gateway: GatewayNo,
    ledger: &str,
    path: &Path,
) -> Result<(), Failure> {
    let lines = match lines(path) {
        Ok(lines) => lines,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(path, error)),
    };
    let newest = backend.query(&Query::Head).map_err(|fault| store_failure(ledger, &fault))?;
    let newest = match newest {
        Report::Links(links) => links.into_iter().flatten().next(),
        _ => None,
    };
    let next = newest.map_or(TransactionSeq(gateway.first()), |link| link.next_transaction);
    for line in lines {
        let (_, line) = line.map_err(|error| unreadable(path, error))?;
        let Some((head, link)) = parse(&line) else { continue };
        if link.number.gateway() == gateway && link.next_transaction > next && signed(keys, &head, &link) {
            let missing = link.next_transaction.0.saturating_sub(next.0);
            let failure = Failure::new(code::GATEWAY_BEHIND).with("path", ledger);
            return Err(failure
                .with("heads", path.display())
                .with("commit", link.number)
                .with("count", missing));
        }
    }
    Ok(())
}

/// Verifies every head of a file: its signature, and that the chain still has it.
///
/// # Errors
/// The file cannot be read, or the store failed.
pub fn check(desk: &mut dyn Desk, keys: &dyn KeyModule, path: &Path) -> Result<Checked, Failure> {
    let mut checked = Checked::default();
    let mut page: Vec<(u64, Link, u64)> = Vec::new();
    for line in lines(path).map_err(|error| unreadable(path, error))? {
        let (number, line) = line.map_err(|error| unreadable(path, error))?;
        checked.heads = checked.heads.saturating_add(1);
        match parse(&line) {
            Some((head, link)) if signed(keys, &head, &link) => page.push((number, link, head.acquirer)),
            Some((head, _)) => checked.wrong(format!(
                "head of commit {} (line {number}): not signed by acquirer {}",
                CommitNo(head.commit),
                head.acquirer
            )),
            None => checked.wrong(format!("line {number} is no head")),
        }
        if page.len() >= LINKS_MAX {
            compare(desk, &mut checked, &mut page)?;
        }
    }
    compare(desk, &mut checked, &mut page)?;
    Ok(checked)
}

fn parse(line: &[u8]) -> Option<(HeadLine, Link)> {
    let head: HeadLine = serde_json::from_slice(line).ok()?;
    if head.tapline_head != FORMAT {
        return None;
    }
    let link = Link {
        number: CommitNo(head.commit),
        at: protocol::time::Wall(head.at_ms),
        first_transfer: backend::accounts::TransferSeq(0),
        next_transfer: backend::accounts::TransferSeq(head.transfer),
        first_transaction: backend::accounts::TransactionSeq(0),
        next_transaction: backend::accounts::TransactionSeq(head.transaction),
        hash: hex::decode(&head.hash).ok()?,
    };
    Some((head, link))
}

/// By the key that this gateway has, never by the one that the file names.
fn signed(keys: &dyn KeyModule, head: &HeadLine, link: &Link) -> bool {
    let (Ok(key), Ok(signature)) = (keys.head_key(head.acquirer), hex::decode(&head.signature)) else {
        return false;
    };
    head_verifies(&key, &message(head.acquirer, link), &signature)
}

fn compare(
    desk: &mut dyn Desk,
    checked: &mut Checked,
    page: &mut Vec<(u64, Link, u64)>,
) -> Result<(), Failure> {
    if page.is_empty() {
        return Ok(());
    }
    let numbers = page.iter().map(|(_, link, _)| link.number).collect();
    let Report::Links(links) = desk.query(Query::Links(numbers))? else { return Ok(()) };
    for ((line, head, _), link) in page.drain(..).zip(links) {
        let (commit, at) = (head.number, head.at.0);
        match link {
            None => checked.wrong(format!(
                "head of commit {commit} (line {line}): the chain does not reach it: rows up to time {at} ms were cut off, or an \
                 older backup was restored"
            )),
            Some(link) if (link.hash, link.at) != (head.hash, head.at) => checked.wrong(format!(
                "head of commit {commit} (line {line}): the chain has another commit of this number: it was made anew from \
                 there or before"
            )),
            Some(_) => {}
        }
    }
    Ok(())
}
