//! B4: online purchases decided and durable on PostgreSQL with its defaults, 1024 a commit, over two million rows: merchants alike, and one hot
//! merchant. The server is our own, on the disk of the build, and shares the machine with the gateway's side.

use super::durable::Folder;
use super::{Row, Unit};
use crate::acquirer::{ACQUIRER, CURRENCY, clock};
use crate::postgres::Server;
use anyhow::Context as _;
use backend::Engine;
use backend::api::{
    AdminRequest, Answer, Backend, ContentDigest, HostBody, HostRequest, Identity, PayerToken, Request,
    Submitted,
};
use backend::store::postgres::PostgresStore;
use keys::SoftKeys;
use protocol::ids::{BatchNo, MerchantId, Stan, TerminalId};
use protocol::money::Amount;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PER_COMMIT: u32 = 1024;
const TERMINALS: u32 = 512;
const PAYERS: u32 = 100_000;
const BEFORE: u32 = 2_000_000;
const MEASURED: Duration = Duration::from_secs(6);

/// B4 and B4/hot.
pub(super) fn measure() -> anyhow::Result<Vec<Row>> {
    let folder = Folder::new()?;
    let server = Server::start(&["--in", folder.0.to_str().context("a path of text")?]);
    let database = server.database();
    server.sql(&database, &before());
    let mut bench = Bench::open(server.store(&database, 1))?;
    let uniform = bench.rate(0)?;
    let hot = bench.rate(1)?;
    let work = |what: &str| {
        format!(
            "online purchase on PostgreSQL, {what}, {PER_COMMIT} a commit, {BEFORE} transactions and {PAYERS} payers \
             before, server on the same machine"
        )
    };
    Ok(vec![
        Row::new("B4", &work("merchants alike"), uniform, Unit::PerSecond),
        Row::new("B4/hot", &work("one hot merchant"), hot, Unit::PerSecond).beside("B4", uniform),
    ])
}

/// Payers with money, and transactions of another gateway with their transfers and holds, straight into the tables.
fn before() -> String {
    format!(
        "SET synchronous_commit = off;
         INSERT INTO tapline.accounts SELECT decode('03e8009c00010000' || lpad(to_hex(n), 16, '0'), 'hex'), 156, 1000, 1, 0, 0, 0, 1::bigint << 40, 0
             FROM generate_series(0, {PAYERS} - 1) n;
         INSERT INTO tapline.payers SELECT decode(lpad(to_hex(n), 32, '0'), 'hex'), decode('03e8009c00010000' || lpad(to_hex(n), 16, '0'), 'hex')
             FROM generate_series(0, {PAYERS} - 1) n;
         INSERT INTO tapline.transfers SELECT (900::bigint << 48) + n, decode(lpad(to_hex(n), 32, '0'), 'hex'),
             decode('03e8009c00010000' || lpad(to_hex(n % {PAYERS}), 16, '0'), 'hex'), decode('0bb8009c00000000' || lpad(to_hex(n % 512), 16, '0'), 'hex'),
             100, 156, 10, 1, NULL, NULL, (900::bigint << 48) + n, 0 FROM generate_series(1, {BEFORE}) n;
         INSERT INTO tapline.holds SELECT (900::bigint << 48) + n, decode('0bb8009c00000000' || lpad(to_hex(n % 512), 16, '0'), 'hex'), 0, NULL
             FROM generate_series(1, {BEFORE}) n;
         INSERT INTO tapline.transactions SELECT (900::bigint << 48) + n, 1, 'C' || lpad((n % 512)::text, 7, '0'), rpad('OTHER', 15), 1, n / 512 + 1,
             decode(lpad(to_hex(n), 32, '0'), 'hex'), 2, 100, 156, NULL, decode('03e8009c00010000' || lpad(to_hex(n % {PAYERS}), 16, '0'), 'hex'),
             decode('0bb8009c00000000' || lpad(to_hex(n % 512), 16, '0'), 'hex'), NULL, NULL, NULL, '00', '000000', decode('20261122100000', 'hex'), '', 0, 2,
             (900::bigint << 48) + n, 0 FROM generate_series(1, {BEFORE}) n;
         ANALYZE; CHECKPOINT"
    )
}

struct Bench {
    engine: Engine<PostgresStore>,
    /// Requests so far, of the terminals of each sort.
    sent: [u32; 2],
}

/// Terminals of sort 0 have merchants of their own; those of sort 1 have one together.
fn terminal(sort: usize, n: u32) -> anyhow::Result<(TerminalId, MerchantId)> {
    let letter = if sort == 0 { 'U' } else { 'H' };
    let merchant = if sort == 0 { format!("U{n}") } else { "HOT".to_owned() };
    let terminal = TerminalId::from_text(&format!("{letter}{n:07}")).context("a terminal")?;
    Ok((terminal, MerchantId::from_text(&merchant).context("a merchant")?))
}

impl Bench {
    fn open(store: PostgresStore) -> anyhow::Result<Self> {
        let keys = SoftKeys::in_memory(Box::new(|out| {
            out.fill(0x5A);
            Ok(())
        }))?;
        let mut bench = Self { engine: Engine::new(store, Arc::new(keys)), sent: [0; 2] };
        let mut requests = Vec::new();
        for sort in [0, 1] {
            for n in 0..TERMINALS {
                let (terminal, merchant) = terminal(sort, n)?;
                let (name, currency) = ("Shop".to_owned(), CURRENCY);
                requests.push(Request::Admin(AdminRequest::AddMerchant { merchant, name, currency }));
                let acquirer = ACQUIRER;
                requests.push(Request::Admin(AdminRequest::AddTerminal { terminal, merchant, acquirer }));
            }
        }
        bench.engine.execute(clock().now(), &requests)?;
        Ok(bench)
    }

    fn rate(&mut self, sort: usize) -> anyhow::Result<f64> {
        // The batches of the terminals are open and the statements prepared before the clock runs.
        self.commit(sort)?;
        let (began, mut done) = (Instant::now(), 0u32);
        while began.elapsed() < MEASURED {
            self.commit(sort)?;
            done += PER_COMMIT;
        }
        self.engine.finish()?;
        Ok(f64::from(done) / began.elapsed().as_secs_f64())
    }

    fn commit(&mut self, sort: usize) -> anyhow::Result<()> {
        let mut requests = Vec::with_capacity(PER_COMMIT as usize);
        for _ in 0..PER_COMMIT {
            let number = self.sent[sort];
            self.sent[sort] += 1;
            let (terminal, merchant) = terminal(sort, number % TERMINALS)?;
            let trace = Stan(number / TERMINALS + 1);
            let identity = Identity { acquirer: ACQUIRER, terminal, merchant, batch: BatchNo(1), trace };
            // Spread over all payers, each once before any comes again.
            let payer = u128::from(u64::from(number) * 61_987 % u64::from(PAYERS));
            let body = HostBody::Purchase {
                payer: PayerToken(payer.to_be_bytes()),
                amount: Amount::new(u64::from(number % 9_000) + 1, CURRENCY),
            };
            let request = HostRequest { identity, digest: ContentDigest([0x77; 16]), body };
            requests.push(Request::Host(request));
        }
        // As the gateway does it: the next batch is decided while this one is made durable.
        let answers = match self.engine.submit(clock().now(), &requests)? {
            Submitted::Done(answers) | Submitted::UnderWay(answers) => answers,
            Submitted::BeforeLost(fault) => anyhow::bail!("a commit was not kept: {fault}"),
        };
        let approved =
            answers.iter().all(|answer| matches!(answer, Answer::Host(host) if host.code.is_approved()));
        anyhow::ensure!(approved, "a purchase was declined");
        Ok(())
    }
}
