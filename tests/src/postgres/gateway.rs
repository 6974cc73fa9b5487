//! Gateways without a network: engines on the stores of one database, with the same keys.

use super::Server;
use crate::acquirer::{ACQUIRER, CURRENCY, clock, merchant_id, pan, register, terminal_id};
use backend::Engine;
use backend::accounts::chart::{Book, FundingKind, FundingNumber};
use backend::api::{
    Answer, Backend, ContentDigest, HostAnswer, HostBody, HostRequest, Identity, PayerToken, Query, Report,
    Request,
};
use backend::report::AuditReport;
use backend::store::postgres::PostgresStore;
use backend::store::{Key, Record, Store, StoreFault};
use keys::{KeyModule, SoftKeys};
use protocol::ids::{BatchNo, Stan};
use protocol::money::Amount;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What every payer has in minor units.
pub const MONEY: u64 = 1 << 40;

/// The keys of every gateway.
///
/// # Panics
/// There are none.
#[must_use]
pub fn keys() -> Arc<SoftKeys> {
    let keys = SoftKeys::in_memory(Box::new(|out| {
        out.fill(0x5A);
        Ok(())
    }));
    Arc::new(keys.expect("keys"))
}

/// One gateway: its engine.
pub struct Gateway {
    /// On its store.
    pub engine: Engine<PostgresStore>,
    /// The keys that all of them share.
    pub keys: Arc<SoftKeys>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gateway")
    }
}

impl Gateway {
    /// On this store.
    ///
    /// # Panics
    /// The store does not work, or answers something else.
    #[must_use]
    pub fn over(store: PostgresStore) -> Self {
        let keys = keys();
        let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
        Self { engine: Engine::new(store, shared), keys }
    }

    /// As one of a database's gateways.
    ///
    /// # Panics
    /// The store does not work, or answers something else.
    #[must_use]
    pub fn open(server: &Server, database: &str, number: u16) -> Self {
        Self::over(server.store(database, number))
    }

    /// As a new database's first gateway, with `terminals` and `payers` registered.
    ///
    /// # Panics
    /// The store does not work, or answers something else.
    #[must_use]
    pub fn first(server: &Server, database: &str, terminals: u32, payers: u32) -> Self {
        Self::open(server, database, 1).with(terminals, payers)
    }

    /// With `terminals` and `payers` registered.
    ///
    /// # Panics
    /// The store does not work, or answers something else.
    #[must_use]
    pub fn with(mut self, terminals: u32, payers: u32) -> Self {
        register(&mut self.engine, &*self.keys, terminals, payers, MONEY);
        self
    }

    /// A purchase of batch 1.
    ///
    /// # Panics
    /// The store does not work, or answers something else.
    #[must_use]
    pub fn purchase(&self, terminal: u32, trace: u32, payer: u32, minor: u64) -> HostRequest {
        let identity = Identity {
            acquirer: ACQUIRER,
            terminal: terminal_id(terminal),
            merchant: merchant_id(terminal),
            batch: BatchNo(1),
            trace: Stan(trace),
        };
        let payer = PayerToken(self.keys.pan_token(pan(payer).as_bytes()).expect("16 digits"));
        let body = HostBody::Purchase { payer, amount: Amount::new(minor, CURRENCY) };
        HostRequest { identity, digest: ContentDigest([trace.to_be_bytes()[3]; 16]), body }
    }

    /// What these requests are answered.
    ///
    /// # Errors
    /// The store does not work.
    ///
    /// # Panics
    /// It answers something else.
    pub fn ask(&mut self, requests: &[HostRequest]) -> Result<Vec<HostAnswer>, StoreFault> {
        let batch: Vec<Request> = requests.iter().cloned().map(Request::Host).collect();
        let mut answers = Vec::with_capacity(batch.len());
        while answers.len() < batch.len() {
            answers.extend(self.engine.execute(clock().now(), &batch[answers.len()..])?);
        }
        Ok(answers
            .into_iter()
            .map(|answer| match answer {
                Answer::Host(answer) => answer,
                Answer::Admin(_) => panic!("a terminal's answer"),
            })
            .collect())
    }

    /// Asks until the server is there again.
    ///
    /// # Panics
    /// The store does not work, or answers something else.
    pub fn ask_on(&mut self, requests: &[HostRequest]) -> Vec<HostAnswer> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.ask(requests) {
                Ok(answers) => return answers,
                Err(StoreFault::Away(why) | StoreFault::InDoubt(why)) => {
                    assert!(Instant::now() < deadline, "{why}")
                }
                Err(fault) => panic!("{fault}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What is held of a payer's money: minor units.
    ///
    /// # Panics
    /// The store does not work, or answers something else.
    pub fn held(&mut self, payer: u32) -> u64 {
        let account = Book::Funding(FundingKind::Bank, FundingNumber(payer.into())).id(CURRENCY);
        self.engine.store().begin().expect("the store works");
        match self.engine.store().get(&Key::Account(account)).expect("the store works") {
            Some(Record::Account(account)) => account.running.debits_pending,
            other => panic!("{other:?}"),
        }
    }

    /// The audit of the whole ledger.
    ///
    /// # Panics
    /// The store does not work, or answers something else.
    pub fn audit(&mut self) -> AuditReport {
        match self.engine.query(&Query::Audit).expect("the store works") {
            Report::Audit(report) => *report,
            other => panic!("{other:?}"),
        }
    }
}
