//! B3: online purchases with MAC, identity, limits, double entry and chain, each durable before its answer, on SQLite on a real disk with
//! transactions and payers before them; the scale is in the row. Client and gateway share the machine.
//!
//! Each purchase is of another payer than those around it: a ledger that is asked for the same few accounts again and again writes the
//! same few pages, and would look twice as fast as it is.

use super::host::{CONNECTIONS, DEPTH, approved, drive, signed_in};
use super::{Row, Unit, percentile};
use crate::acquirer::{
    ACQUIRER, Acquirer, CURRENCY, TestTerminal, clock, merchant_id, pan, register, terminal_id,
};
use anyhow::Context as _;
use backend::Engine;
use backend::api::{Backend, ContentDigest, HostBody, HostRequest, Identity, PayerToken, Request};
use backend::store::sqlite::SqliteStore;
use keys::{KeyModule, SoftKeys};
use posp_gateway::access::Limits;
use protocol::ids::{BatchNo, Stan};
use protocol::money::Amount;
use std::collections::HashMap;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Terminals that the transactions before came from.
const BEFORE_TERMINALS: u32 = 64;
/// Transactions of one commit of those before: more than a gateway takes, because nobody waits for them.
const BEFORE_PER_COMMIT: u32 = 4_096;
/// Purchases a second of the open loop.
const OPEN_RATE: u32 = 10_000;
const OPEN_MEASURED: Duration = Duration::from_secs(10);

/// What is in the ledger before the measurement.
#[derive(Clone, Copy)]
struct Scale {
    transactions: u32,
    payers: u32,
    /// Most time spent on the transactions; what was reached is in the row.
    time: Duration,
}

const USUAL: Scale = Scale { transactions: 1_000_000, payers: 100_000, time: Duration::from_secs(60) };
const LARGE: Scale = Scale { transactions: 5_000_000, payers: 1_000_000, time: Duration::from_secs(300) };

/// B3.
pub(super) fn usual() -> anyhow::Result<Vec<Row>> {
    let bench = Bench::over(USUAL)?;
    let (rate, mut times) = drive(&bench.acquirer, DEPTH, |terminal, n| purchase(terminal, n, USUAL))?;
    let work = bench.work("online purchase");
    let mut millis = |at| percentile(&mut times, at).as_secs_f64() * 1e3;
    let mut syncs = syncs(&bench.folder.0)?;
    Ok(vec![
        Row::new("B3", &work, rate, Unit::PerSecond),
        Row::new("B3/p50", "from request to answer", millis(50), Unit::Millis).at(50),
        Row::new("B3/p99", "from request to answer", millis(99), Unit::Millis).at(99),
        Row::new("B3/fdatasync", "4 KiB written and synced", syncs_ms(&mut syncs), Unit::Millis).at(50),
    ])
}

/// B3/5M.
pub(super) fn large() -> anyhow::Result<Vec<Row>> {
    let bench = Bench::over(LARGE)?;
    let (rate, mut times) = drive(&bench.acquirer, DEPTH, |terminal, n| purchase(terminal, n, LARGE))?;
    let p99 = percentile(&mut times, 99).as_secs_f64() * 1e3;
    Ok(vec![
        Row::new("B3/5M", &bench.work("online purchase"), rate, Unit::PerSecond),
        Row::new("B3/5M-p99", "from request to answer", p99, Unit::Millis).at(99),
    ])
}

/// B3/open: requests come when they come, whether the gateway has answered or not; a wait is counted from when one was due.
pub(super) fn open_loop() -> anyhow::Result<Vec<Row>> {
    let bench = Bench::over(USUAL)?;
    let (began, between) = (Instant::now(), Duration::from_secs(1) * CONNECTIONS / OPEN_RATE);
    let threads: Vec<_> = (1..)
        .zip(signed_in(&bench.acquirer, 0))
        .map(|(n, terminal)| {
            let first = began + between * n / CONNECTIONS;
            std::thread::spawn(move || due(terminal, n, first, between))
        })
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().map_err(|_| anyhow::anyhow!("a terminal failed"))??);
    }
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    let work = bench.work(&format!("online purchase, open loop, {rate:.0} a second came"));
    let mut millis = |at| percentile(&mut times, at).as_secs_f64() * 1e3;
    Ok(vec![
        Row::new("B3/open-p50", &work, millis(50), Unit::Millis).at(50),
        Row::new("B3/open-p99", &work, millis(99), Unit::Millis).at(99),
    ])
}

/// One terminal of the open loop: one thread sends when it is time, this one receives.
fn due(
    mut terminal: TestTerminal,
    n: u32,
    first: Instant,
    between: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let (sent, waiting) =
        (Arc::new(Mutex::new(HashMap::new())), OPEN_MEASURED.div_duration_f64(between) as usize);
    let mut stream = terminal.stream().try_clone()?;
    let sender = {
        let sent = Arc::clone(&sent);
        std::thread::spawn(move || -> anyhow::Result<()> {
            let mut at = first;
            for _ in 0..waiting {
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                let (trace, frame) = purchase(&mut terminal, n, USUAL);
                sent.lock().unwrap_or_else(PoisonError::into_inner).insert(trace.0, at);
                terminal.send(&frame)?;
                at += between;
            }
            Ok(())
        })
    };
    let (mut times, mut received, mut buffer) = (Vec::new(), Vec::new(), vec![0; 64 * 1024]);
    while times.len() < waiting {
        let read = stream.read(&mut buffer)?;
        anyhow::ensure!(read > 0, "the gateway closed the connection");
        received.extend_from_slice(&buffer[..read]);
        let rest = approved(&received, |trace| {
            let due = sent.lock().unwrap_or_else(PoisonError::into_inner).remove(&trace.0);
            times.push(due.context("an answer to nothing")?.elapsed());
            Ok(())
        })?;
        received.drain(..received.len() - rest);
    }
    sender.join().map_err(|_| anyhow::anyhow!("a terminal failed"))??;
    Ok(times)
}

/// The payer of a terminal's purchase: spread over all of them.
fn payer_of(n: u32, trace: Stan, scale: Scale) -> u32 {
    let number = trace.0.wrapping_mul(1_021).wrapping_add(n);
    (number.wrapping_mul(0x9E37_79B1) >> 4) % scale.payers + 1
}

fn purchase(terminal: &mut TestTerminal, n: u32, scale: Scale) -> (Stan, Vec<u8>) {
    let trace = terminal.next_trace();
    (trace, terminal.purchase_frame(trace, payer_of(n, trace, scale), 100))
}

struct Bench {
    acquirer: Acquirer,
    before: u32,
    scale: Scale,
    folder: Folder,
}

impl Bench {
    fn over(scale: Scale) -> anyhow::Result<Self> {
        let folder = Folder::new()?;
        let keys = Arc::new(SoftKeys::in_memory(Box::new(|out| {
            getrandom::fill(out).map_err(|_| keys::KeyError::NoEntropy)
        }))?);
        let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
        let mut engine = Engine::new(SqliteStore::open(&folder.0.join("gateway.db"))?, shared);
        register(&mut engine, &*keys, CONNECTIONS + BEFORE_TERMINALS, scale.payers, 1 << 36);
        let before = fill(&mut engine, &keys, scale)?;
        let acquirer = Acquirer::start(Box::new(engine), keys, Limits::default());
        Ok(Self { acquirer, before, scale, folder })
    }

    fn work(&self, what: &str) -> String {
        format!(
            "{what}, MAC, SQLite with fsync before the answer, {CONNECTIONS} connections x {DEPTH}, {} transactions and {} \
             payers before, client on the same machine",
            self.before, self.scale.payers
        )
    }
}

/// Transactions before the measurement, straight into the backend.
fn fill(engine: &mut dyn Backend, keys: &SoftKeys, scale: Scale) -> anyhow::Result<u32> {
    let clock = clock();
    let token = |n| keys.pan_token(pan(n).as_bytes()).map(PayerToken);
    let tokens: Vec<PayerToken> = (1..=scale.payers).map(token).collect::<Result<_, _>>()?;
    let began = Instant::now();
    let mut done = 0;
    while done < scale.transactions && began.elapsed() < scale.time {
        let request = |number: u32| {
            let n = CONNECTIONS + 1 + number % BEFORE_TERMINALS;
            let trace = Stan(number / BEFORE_TERMINALS + 1);
            let (terminal, merchant, batch) = (terminal_id(n), merchant_id(n), BatchNo(1));
            let identity = Identity { acquirer: ACQUIRER, terminal, merchant, batch, trace };
            let payer = *tokens.get(payer_of(n, trace, scale) as usize - 1)?;
            let body = HostBody::Purchase { payer, amount: Amount::new(100, CURRENCY) };
            let mut digest = [0; 16];
            digest[..4].copy_from_slice(&number.to_be_bytes());
            Some(Request::Host(HostRequest { identity, digest: ContentDigest(digest), body }))
        };
        let batch: Option<Vec<Request>> = (done..done + BEFORE_PER_COMMIT).map(request).collect();
        engine.execute(clock.now(), &batch.context("a payer without a token")?)?;
        done += BEFORE_PER_COMMIT;
    }
    Ok(done)
}

fn syncs_ms(syncs: &mut [Duration]) -> f64 {
    percentile(syncs, 50).as_secs_f64() * 1e3
}

/// What the disk takes for the same alone.
fn syncs(folder: &Path) -> anyhow::Result<Vec<Duration>> {
    let mut file = std::fs::File::create(folder.join("sync"))?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        file.rewind()?;
        file.write_all(&[0x5A; 4096])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    Ok(times)
}

/// A folder on the disk of the build, gone with its value. In memory an fsync costs nothing, so that is refused.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> anyhow::Result<Self> {
        let target = std::env::current_exe()?.parent().context("the program's folder")?.to_path_buf();
        let mounts = std::fs::read_to_string("/proc/mounts")?;
        let mut place = (0, "");
        for line in mounts.lines() {
            let mut words = line.split(' ').skip(1);
            if let (Some(at), Some(kind)) = (words.next(), words.next())
                && target.starts_with(at)
                && at.len() >= place.0
            {
                place = (at.len(), kind);
            }
        }
        anyhow::ensure!(!matches!(place.1, "tmpfs" | "ramfs"), "{} is in memory", target.display());
        let folder = target.join(format!("bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the build's folder and goes with it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
