//! B4/restore and B4/audit: a ledger of 200,000 transfers (offline records, purchases, loads) is restored into PostgreSQL, and audited there, beside
//! the audit of the same ledger in SQLite. The server is our own, on the disk of the build.

use super::durable::Folder;
use super::{Row, Unit};
use crate::acquirer::{ACQUIRER, CURRENCY, clock, merchant_id, pan, register, terminal_id};
use crate::postgres::Server;
use crate::purse_line::{self, Card, asn, sam};
use anyhow::{Context as _, ensure};
use backend::api::{
    Answer, AnswerBody, Backend, ContentDigest, HostAnswer, HostBody, HostRequest, Identity, LoadSource,
    Original, PayerToken, Request,
};
use backend::store::Store;
use backend::store::postgres::PostgresStore;
use backend::store::sqlite::SqliteStore;
use backend::{Engine, audit, backup};
use keys::{KeyModule, SoftKeys};
use protocol::ids::{BatchNo, Stan};
use protocol::iso8583::f58::{LoadAnswer, MAX_RECORDS};
use protocol::money::Amount;
use std::sync::Arc;
use std::time::Instant;

const TERMINALS: u32 = 20;
const PAYERS: u32 = 100;
const CARDS: u8 = 200;
const RECORDS_OF_CARD: u32 = 400;
const PURCHASES: u32 = 120_000;
const PER_COMMIT: usize = 512;

pub(super) fn measure() -> anyhow::Result<Vec<Row>> {
    let folder = Folder::new()?;
    let mut ledger = ledger(&folder.0.join("ledger"))?;
    let began = Instant::now();
    let report = audit::run(&mut ledger)?;
    let alone = f64::from(u32::try_from(report.transfers)?) / began.elapsed().as_secs_f64();
    ensure!(report.is_clean(), "{:?}", report.exceptions.first());

    let server = Server::start(&["--in", folder.0.to_str().context("a path of text")?]);
    let database = server.database();
    let target = PostgresStore::open_empty(server.options(&database, 1))?;
    let mut target = target.context("an empty database")?;
    let began = Instant::now();
    backup::restore_shared(&mut ledger, &mut target, clock().now().wall)?;
    let restored = f64::from(u32::try_from(report.transfers)?) / began.elapsed().as_secs_f64();
    server.sql(&database, "ANALYZE; CHECKPOINT");
    let began = Instant::now();
    target.begin_reading()?;
    let again = audit::run(&mut target)?;
    target.end_reading();
    let shared = f64::from(u32::try_from(again.transfers)?) / began.elapsed().as_secs_f64();
    ensure!(again.is_clean() && again.transfers == report.transfers, "{:?}", again.exceptions.first());
    let what =
        format!("transfers of a ledger of {}, {} of them offline records", report.transfers, report.records);
    Ok(vec![
        Row::new("B4/restore", &format!("{what}, restored into PostgreSQL"), restored, Unit::PerSecond),
        Row::new("B4/audit", &format!("{what}, audited on PostgreSQL"), shared, Unit::PerSecond)
            .beside("SQLite", alone),
    ])
}

/// A ledger in a file, by the rules themselves.
fn ledger(path: &std::path::Path) -> anyhow::Result<SqliteStore> {
    let keys = Arc::new(SoftKeys::in_memory(Box::new(|out| {
        out.fill(0x5A);
        Ok(())
    }))?);
    let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
    let mut engine = Engine::new(SqliteStore::open(path)?, shared);
    register(&mut engine, &*keys, TERMINALS, PAYERS, 1 << 40);
    let cards: Vec<_> = (1..=CARDS).map(|n| (asn(n), u64::from(n) % u64::from(PAYERS) + 1)).collect();
    let own = |n: u8| u32::from(n) % TERMINALS + 1;
    let sams: Vec<_> = (1..=CARDS).map(|n| (sam(n), terminal_id(own(n)))).collect();
    purse_line::register(&mut engine, &keys, &cards, &sams);
    let mut traces = vec![0; TERMINALS as usize + 1];
    let mut request = |terminal: u32, body| {
        let trace = traces.get_mut(terminal as usize).map_or(0, |trace: &mut u32| {
            *trace += 1;
            *trace
        });
        let (acquirer, batch) = (ACQUIRER, BatchNo(1));
        let (terminal, merchant) = (terminal_id(terminal), merchant_id(terminal));
        let identity = Identity { acquirer, terminal, merchant, batch, trace: Stan(trace) };
        HostRequest { identity, digest: ContentDigest([7; 16]), body }
    };
    for n in 1..=CARDS {
        let mut card = Card::issue(&keys, asn(n), sam(n));
        let load = request(
            own(n),
            HostBody::Load { source: LoadSource::Linked, request: card.request(RECORDS_OF_CARD) },
        );
        let original =
            Original { trace: Some((load.identity.batch, load.identity.trace)), ..Original::default() };
        let answer = ask(&mut engine, vec![load])?.pop().context("an answer")?;
        let AnswerBody::Load { algorithm, mac2 } = answer.body else {
            anyhow::bail!("no consent: {answer:?}")
        };
        let receipt = card.credit(RECORDS_OF_CARD, &LoadAnswer { algorithm, moment: answer.moment, mac2 });
        let mut requests = vec![request(own(n), HostBody::LoadConfirm { original, record: receipt })];
        let records: Vec<_> = (1..=RECORDS_OF_CARD).map(|seq| card.pay(1, sam(n), seq)).collect();
        for records in records.chunks(MAX_RECORDS) {
            requests.push(request(own(n), HostBody::OfflineRecords { records: records.to_vec() }));
        }
        ask(&mut engine, requests)?;
    }
    let payers: Vec<_> = (1..=PAYERS).map(|n| keys.pan_token(pan(n).as_bytes())).collect::<Result<_, _>>()?;
    let mut requests = Vec::with_capacity(PER_COMMIT);
    for (n, payer) in (0..PURCHASES).zip(payers.iter().cycle()) {
        let minor = u64::from(n % 900 + 1);
        let body = HostBody::Purchase { payer: PayerToken(*payer), amount: Amount::new(minor, CURRENCY) };
        requests.push(request(n % TERMINALS + 1, body));
        if requests.len() == PER_COMMIT || n + 1 == PURCHASES {
            ask(&mut engine, std::mem::take(&mut requests))?;
        }
    }
    Ok(engine.into_store())
}

fn ask(engine: &mut Engine<SqliteStore>, requests: Vec<HostRequest>) -> anyhow::Result<Vec<HostAnswer>> {
    let requests: Vec<Request> = requests.into_iter().map(Request::Host).collect();
    let answers = engine.execute(clock().now(), &requests)?;
    answers
        .into_iter()
        .map(|answer| match answer {
            Answer::Host(answer) if answer.code.is_approved() => Ok(answer),
            other => anyhow::bail!("{other:?}"),
        })
        .collect()
}
