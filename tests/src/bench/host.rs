//! B2 and B3: terminals on the loopback, signed in, against a gateway in this process.
//!
//! B2 is the echo (0820/301): access and switch alone. B3 is an online purchase with its MAC, limits, double entry and chain, durable before
//! its answer, on SQLite on a real disk with transactions and payers before it; the scale is in the row. Client and gateway share the machine.

use super::{Row, Unit, percentile};
use crate::acquirer::{
    ACQUIRER, Acquirer, CURRENCY, TestTerminal, enrol, merchant_id, pan, register, terminal_id,
};
use anyhow::Context as _;
use backend::Engine;
use backend::api::{Backend, ContentDigest, HostBody, HostRequest, Identity, PayerToken, Request};
use backend::store::memory::MemoryStore;
use backend::store::sqlite::SqliteStore;
use keys::{KeyModule, SoftKeys};
use posp_gateway::access::Limits;
use protocol::ids::{BatchNo, Stan};
use protocol::iso8583::frame::split;
use protocol::iso8583::typed::ResponseCode;
use protocol::iso8583::{AES, Frame, HeaderRule, Message};
use protocol::money::Amount;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CONNECTIONS: u32 = 32;
const DEPTH: usize = 16;
const MEASURED: Duration = Duration::from_secs(5);
const PAYERS: u32 = 100_000;
/// Terminals that the transactions before came from.
const BEFORE_TERMINALS: u32 = 64;
const BEFORE: u32 = 1_000_000;
/// Most time spent on the transactions before; what was reached is in the row.
const BEFORE_TIME: Duration = Duration::from_secs(25);
const PER_COMMIT: u32 = 512;

/// Makes the next request of a terminal.
type Next = fn(&mut TestTerminal) -> (Stan, Vec<u8>);

fn echo(terminal: &mut TestTerminal) -> (Stan, Vec<u8>) {
    let trace = terminal.next_trace();
    (trace, terminal.echo_frame(trace))
}

fn purchase(terminal: &mut TestTerminal) -> (Stan, Vec<u8>) {
    let trace = terminal.next_trace();
    let payer = trace.0.wrapping_mul(0x9E37_79B1) % PAYERS + 1;
    (trace, terminal.purchase_frame(trace, payer, 100))
}

/// B2.
pub(super) fn echoes() -> anyhow::Result<Vec<Row>> {
    let acquirer = Acquirer::over(MemoryStore::new(), CONNECTIONS, 1, Limits::default());
    let mut rows = Vec::new();
    for (id, depth) in [("B2", 1), ("B2/depth16", DEPTH)] {
        let (rate, _) = drive(&acquirer, depth, echo)?;
        let work = format!("echo, {CONNECTIONS} connections, depth {depth}, client on the same machine");
        rows.push(Row::new(id, &work, rate, Unit::PerSecond));
    }
    Ok(rows)
}

/// B3.
pub(super) fn durable() -> anyhow::Result<Vec<Row>> {
    let folder = folder()?;
    let rows = durable_in(&folder);
    std::fs::remove_dir_all(&folder)?;
    rows
}

fn durable_in(folder: &Path) -> anyhow::Result<Vec<Row>> {
    let keys = Arc::new(SoftKeys::in_memory(Box::new(|out| {
        getrandom::fill(out).map_err(|_| keys::KeyError::NoEntropy)
    }))?);
    let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
    let mut engine = Engine::new(SqliteStore::open(&folder.join("gateway.db"))?, shared);
    register(&mut engine, &*keys, CONNECTIONS + BEFORE_TERMINALS, PAYERS, 1 << 36);
    let before = fill(&mut engine, &keys)?;
    let acquirer = Acquirer::start(Box::new(engine), keys, Limits::default());
    let (rate, mut times) = drive(&acquirer, DEPTH, purchase)?;
    let work = format!(
        "online purchase, MAC, SQLite with fsync before the answer, {CONNECTIONS} connections x {DEPTH}, \
         {before} transactions and {PAYERS} payers before, client on the same machine"
    );
    let mut millis = |at| percentile(&mut times, at).as_secs_f64() * 1e3;
    Ok(vec![
        Row::new("B3", &work, rate, Unit::PerSecond),
        Row::new("B3/p50", "from request to answer", millis(50), Unit::Millis).at(50),
        Row::new("B3/p99", "from request to answer", millis(99), Unit::Millis).at(99),
    ])
}

/// Transactions before the measurement, straight into the backend.
fn fill(engine: &mut dyn Backend, keys: &SoftKeys) -> anyhow::Result<u32> {
    let clock = crate::acquirer::clock();
    let tokens: Vec<PayerToken> =
        (1..=PAYERS).map(|n| keys.pan_token(pan(n).as_bytes()).map(PayerToken)).collect::<Result<_, _>>()?;
    let began = Instant::now();
    let mut done = 0;
    while done < BEFORE && began.elapsed() < BEFORE_TIME {
        let batch: Vec<Request> = (done..done + PER_COMMIT)
            .map(|number| {
                let n = CONNECTIONS + 1 + number % BEFORE_TERMINALS;
                let identity = Identity {
                    acquirer: ACQUIRER,
                    terminal: terminal_id(n),
                    merchant: merchant_id(n),
                    batch: BatchNo(1),
                    trace: Stan(number / BEFORE_TERMINALS + 1),
                };
                let payer = tokens[(number.wrapping_mul(0x9E37_79B1) % PAYERS) as usize];
                let body = HostBody::Purchase { payer, amount: Amount::new(100, CURRENCY) };
                let mut digest = [0; 16];
                digest[..4].copy_from_slice(&number.to_be_bytes());
                Request::Host(HostRequest { identity, digest: ContentDigest(digest), body })
            })
            .collect();
        engine.execute(clock.now(), &batch)?;
        done += PER_COMMIT;
    }
    Ok(done)
}

/// Drives all terminals at once and returns the rate and every time from request to answer.
fn drive(acquirer: &Acquirer, depth: usize, next: Next) -> anyhow::Result<(f64, Vec<Duration>)> {
    let terminals: Vec<TestTerminal> = (1..=CONNECTIONS)
        .map(|n| {
            let mut terminal = TestTerminal::new(acquirer.address, n, enrol(&*acquirer.keys, n));
            // Traces of an earlier run of this terminal stay behind.
            terminal.trace = Stan(if depth == 1 { 0 } else { 500_000 });
            terminal.sign_in();
            terminal
        })
        .collect();
    let began = Instant::now();
    let threads: Vec<_> = terminals
        .into_iter()
        .map(|terminal| std::thread::spawn(move || one(terminal, depth, next, began)))
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().map_err(|_| anyhow::anyhow!("a terminal failed"))??);
    }
    Ok((times.len() as f64 / began.elapsed().as_secs_f64(), times))
}

fn one(
    mut terminal: TestTerminal,
    depth: usize,
    next: Next,
    began: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut open: HashMap<u32, Instant> = HashMap::new();
    let (mut times, mut received, mut buffer) = (Vec::new(), Vec::new(), vec![0; 64 * 1024]);
    loop {
        let mut out = Vec::new();
        while open.len() < depth && began.elapsed() < MEASURED {
            let (trace, frame) = next(&mut terminal);
            open.insert(trace.0, Instant::now());
            out.extend_from_slice(&frame);
        }
        terminal.send(&out)?;
        if open.is_empty() {
            return Ok(times);
        }
        let read = terminal.stream().read(&mut buffer)?;
        anyhow::ensure!(read > 0, "the gateway closed the connection");
        received.extend_from_slice(&buffer[..read]);
        let mut rest = received.as_slice();
        while let Some((body, after)) = split(rest)? {
            let message = Message::parse(&AES, Frame::parse(body, HeaderRule::Present)?.message)?;
            let code: ResponseCode = message.need()?;
            anyhow::ensure!(code.is_approved(), "answered {code}");
            let sent = open.remove(&message.need::<Stan>()?.0).context("an answer to nothing")?;
            times.push(sent.elapsed());
            rest = after;
        }
        received = rest.to_vec();
    }
}

/// A folder on the disk of the build. In memory an fsync costs nothing, so that is refused.
fn folder() -> anyhow::Result<PathBuf> {
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
    let folder = target.join(format!("bench-host-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
