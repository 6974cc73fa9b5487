//! B3/engine: online purchases decided and durable, without the network in front: identity, limits, double entry, chain, one fsync
//! per 512, on SQLite with a million transactions and 100,000 payers before.

use super::durable::Folder;
use super::{Row, Unit, percentile};
use anyhow::Context as _;
use backend::Engine;
use backend::accounts::chart::{FundingKind, FundingNumber};
use backend::api::{
    AcquirerId, AdminRequest, Answer, Backend, ContentDigest, HostBody, HostRequest, Identity, PayerToken,
    Request,
};
use backend::store::sqlite::SqliteStore;
use keys::SoftKeys;
use protocol::ids::{BatchNo, MerchantId, Stan, TerminalId};
use protocol::money::{Amount, Currency};
use protocol::time::{Mono, Now, Wall};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CNY: Currency = Currency::CNY;
const PAYERS: u32 = 100_000;
const TERMINALS: u32 = 512;
const PRELOAD: u32 = 1_000_000;
const PER_COMMIT: u32 = 512;
const MEASURED: Duration = Duration::from_secs(8);
/// Traces of a batch; then the terminal's next batch would begin.
const TRACES: u32 = 999_999;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let folder = Folder::new()?;
    let path = folder.0.join("ledger");
    let keys = Arc::new(SoftKeys::in_memory(Box::new(|out| {
        out.fill(0x5A);
        Ok(())
    }))?);
    let mut bench =
        Bench { engine: Engine::new(SqliteStore::open(&path)?, keys), sent: 0, ms: 1_795_300_000_000 };
    bench.register()?;
    while bench.sent < PRELOAD {
        bench.commit()?;
    }
    bench.engine.store().checkpoint()?;
    let length = std::fs::metadata(&path)?.len();
    let (began, before, written, cpu) = (Instant::now(), bench.sent, written()?, cpu_ticks()?);
    let mut commits = Vec::new();
    while began.elapsed() < MEASURED {
        let commit = Instant::now();
        bench.commit()?;
        commits.push(commit.elapsed());
    }
    let count = f64::from(bench.sent - before);
    let rate = count / began.elapsed().as_secs_f64();
    let cpu = (cpu_ticks()? - cpu) as f64 / TICKS_PER_SECOND * 1e6 / count;
    bench.engine.store().checkpoint()?;
    let written = (self::written()? - written) as f64 / count;
    let kept = (std::fs::metadata(&path)?.len() - length) as f64 / count;
    let work = "online purchase decided and durable on SQLite, 512 a commit, 1M before";
    let millis = |times: &mut [Duration], at| percentile(times, at).as_secs_f64() * 1e3;
    Ok(vec![
        Row::new("B3/engine", work, rate, Unit::PerSecond),
        Row::new("B3/engine-commit", "one commit of 512", millis(&mut commits, 50), Unit::Millis).at(50),
        Row::new("B3/engine-commit", "one commit of 512", millis(&mut commits, 99), Unit::Millis).at(99),
        Row::new("B3/engine-cpu", "processor time of one purchase", cpu, Unit::Micros),
        Row::new("B3/engine-kept", "what the ledger's file grows by for one purchase", kept, Unit::Bytes),
        Row::new("B3/engine-written", "what reaches the disk for one purchase", written, Unit::Bytes),
    ])
}

/// Units of processor time in `/proc` (proc(5): `sysconf(_SC_CLK_TCK)`, 100 on every Linux we run on).
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time of this process so far.
fn cpu_ticks() -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').context("/proc/self/stat")?.1;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    Ok(times.next().context("utime")?? + times.next().context("stime")??)
}

/// Bytes that this process has sent to disks so far.
fn written() -> anyhow::Result<u64> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("/proc/self/io")?;
    Ok(line.trim().parse()?)
}

struct Bench {
    engine: Engine<SqliteStore>,
    sent: u32,
    ms: i64,
}

fn token(number: u32) -> PayerToken {
    let mut token = [0x11; 16];
    token[..4].copy_from_slice(&number.wrapping_mul(0x9E37_79B1).to_be_bytes());
    token[4..8].copy_from_slice(&number.to_be_bytes());
    PayerToken(token)
}

impl Bench {
    fn execute(&mut self, requests: &[Request]) -> anyhow::Result<Vec<Answer>> {
        self.ms += 1;
        let now = Now { mono: Mono(0), wall: Wall(self.ms), utc_offset_min: 480 };
        Ok(self.engine.execute(now, requests)?)
    }

    fn register(&mut self) -> anyhow::Result<()> {
        let merchant = MerchantId::from_text("BENCH").context("merchant")?;
        let mut requests =
            vec![AdminRequest::AddMerchant { merchant, name: "Bench".to_owned(), currency: CNY }];
        for number in 0..TERMINALS {
            let terminal = TerminalId::from_text(&format!("B{number:07}")).context("terminal")?;
            requests.push(AdminRequest::AddTerminal { terminal, merchant, acquirer: AcquirerId(1) });
        }
        let (kind, currency) = (FundingKind::Bank, CNY);
        for number in 0..PAYERS {
            let (token, number) = (token(number), FundingNumber(u64::from(number)));
            requests.push(AdminRequest::AddFunding { kind, number, currency });
            requests.push(AdminRequest::AddPayer { token, kind, number, currency });
            let amount = Amount::new(1 << 40, CNY);
            requests.push(AdminRequest::Fund { kind, number, amount, reference: number.0 });
        }
        for part in requests.chunks(4096) {
            let part: Vec<Request> = part.iter().cloned().map(Request::Admin).collect();
            self.execute(&part)?;
        }
        Ok(())
    }

    /// One commit of purchases, spread over terminals and payers.
    fn commit(&mut self) -> anyhow::Result<()> {
        let merchant = MerchantId::from_text("BENCH").context("merchant")?;
        let mut requests = Vec::new();
        for number in self.sent..self.sent + PER_COMMIT {
            let terminal =
                TerminalId::from_text(&format!("B{:07}", number % TERMINALS)).context("terminal")?;
            let trace = number / TERMINALS + 1;
            anyhow::ensure!(trace <= TRACES, "the batch is full");
            let identity = Identity {
                acquirer: AcquirerId(1),
                terminal,
                merchant,
                batch: BatchNo(1),
                trace: Stan(trace),
            };
            let payer = token(number.wrapping_mul(0x9E37_79B1) % PAYERS);
            let body = HostBody::Purchase { payer, amount: Amount::new(u64::from(number % 9_000) + 1, CNY) };
            requests.push(Request::Host(HostRequest { identity, digest: ContentDigest([0x77; 16]), body }));
        }
        let answers = self.execute(&requests)?;
        let approved =
            answers.iter().all(|answer| matches!(answer, Answer::Host(host) if host.code.is_approved()));
        anyhow::ensure!(approved, "a purchase was declined");
        self.sent += PER_COMMIT;
        Ok(())
    }
}
