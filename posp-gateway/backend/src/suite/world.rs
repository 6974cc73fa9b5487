//! A shop with two terminals, an issuer, and cards that keep their own counters and balances.

use crate::Engine;
use crate::accounts::TransactionSeq;
use crate::accounts::chart::{Book, FundingKind, FundingNumber};
use crate::api::*;
use crate::report::{AuditReport, Statement};
use crate::store::Store;
use keys::{CardKeyRef, KeyModule, SoftKeys};
use protocol::ids::*;
use protocol::iso8583::f58::{CardCounter, LoadRequest, RecordState, TransactionRecord};
use protocol::iso8583::typed::ResponseCode;
use protocol::money::{Amount, CardAmount, Currency};
use protocol::purse::keys::{KeyUse, PurseKey};
use protocol::purse::mac::HostTerms;
use protocol::purse::{CappDigest, CardRandom, Moment, Overdraft, Suite, Tac, TransactionType};
use protocol::time::{Mono, Now, Wall};
use std::sync::Arc;

pub(super) const CNY: Currency = Currency::CNY;
pub(super) const ISSUER: IssuerId = IssuerId([0x62, 0x17, 0, 0, 0, 0, 0, 1]);
pub(super) const SAM_1: SamTerminal = SamTerminal([0, 0, 0, 0, 0, 1]);
pub(super) const SAM_2: SamTerminal = SamTerminal([0, 0, 0, 0, 0, 2]);
pub(super) const STRANGER: SamTerminal = SamTerminal([9; 6]);
pub(super) const PAYER: PayerToken = PayerToken([7; 16]);
pub(super) const OTHER_PAYER: PayerToken = PayerToken([8; 16]);
const START: i64 = 1_795_300_000_000;

pub(super) fn t1() -> TerminalId {
    TerminalId::from_text("T1").unwrap()
}

pub(super) fn t2() -> TerminalId {
    TerminalId::from_text("T2").unwrap()
}

pub(super) fn shop() -> MerchantId {
    MerchantId::from_text("SHOP").unwrap()
}

pub(super) fn cafe() -> MerchantId {
    MerchantId::from_text("CAFE").unwrap()
}

pub(super) fn cny(minor: u64) -> Amount {
    Amount::new(minor, CNY)
}

pub(super) fn code(text: &str) -> ResponseCode {
    ResponseCode::from_bytes(text.as_bytes().try_into().unwrap()).unwrap()
}

pub(super) struct World<S> {
    pub(super) engine: Engine<S>,
    pub(super) keys: Arc<SoftKeys>,
    pub(super) suite: Suite,
    pub(super) ms: i64,
    trace: u32,
    pub(super) batch: u32,
}

/// A card on the other side: it makes what a real one makes.
#[derive(Clone)]
pub(super) struct TestCard {
    pub(super) asn: Asn,
    /// Version of its keys.
    pub(super) made: KeyVersion,
    pub(super) balance: u32,
    pub(super) offline: u16,
    pub(super) online: u16,
    pub(super) load_key: PurseKey,
    pub(super) tac_key: PurseKey,
    pub(super) suite: Suite,
    pub(super) random: u8,
}

impl<S: Store> World<S> {
    pub(super) fn new(store: S) -> Self {
        Self::of_suite(store, Suite::Aes)
    }

    pub(super) fn of_suite(store: S, suite: Suite) -> Self {
        let seed = std::sync::atomic::AtomicU8::new(1);
        let keys = SoftKeys::in_memory(Box::new(move |out| {
            out.iter_mut().for_each(|byte| *byte = seed.fetch_add(7, std::sync::atomic::Ordering::Relaxed));
            Ok(())
        }));
        let keys = Arc::new(keys.unwrap());
        keys.generate_issuer(ISSUER, KeyVersion(1), suite).unwrap();
        let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
        let mut world =
            Self { engine: Engine::new(store, shared), keys, suite, ms: START, trace: 0, batch: 1 };
        world.open_shop();
        world
    }

    fn open_shop(&mut self) {
        let (kind, number, currency) = (FundingKind::Bank, FundingNumber(1), CNY);
        let from = Moment::from_bytes([0x20, 0x26, 0x01, 0x01, 0, 0, 0]);
        let acquirer = AcquirerId(1);
        for request in [
            AdminRequest::AddIssuer {
                issuer: ISSUER,
                currency,
                upper_factors: vec![Factor([3; 8])],
                load_limit: CardAmount(100_000),
            },
            AdminRequest::AddMerchant { merchant: shop(), name: "Shop".into(), currency },
            AdminRequest::AddMerchant { merchant: cafe(), name: "Café".into(), currency },
            AdminRequest::AddTerminal { terminal: t1(), merchant: shop(), acquirer },
            AdminRequest::AddTerminal { terminal: t2(), merchant: cafe(), acquirer },
            AdminRequest::AssignSam { sam: SAM_1, terminal: t1(), from },
            AdminRequest::AssignSam { sam: SAM_2, terminal: t2(), from },
            AdminRequest::AddFunding { kind, number, currency },
            AdminRequest::AddPayer { token: PAYER, kind, number, currency },
            AdminRequest::AddFunding { kind: FundingKind::Carrier, number: FundingNumber(2), currency },
            AdminRequest::AddPayer {
                token: OTHER_PAYER,
                kind: FundingKind::Carrier,
                number: FundingNumber(2),
                currency,
            },
        ] {
            assert_eq!(self.admin(request), AdminAnswer::Done);
        }
    }

    pub(super) fn fund(&mut self, minor: u64, reference: u64) {
        let (kind, number) = (FundingKind::Bank, FundingNumber(1));
        let fund = AdminRequest::Fund { kind, number, amount: cny(minor), reference };
        assert_eq!(self.admin(fund), AdminAnswer::Done);
    }

    /// The same world with another backend.
    pub(super) fn over<T>(self, engine: Engine<T>) -> World<T> {
        let Self { keys, suite, ms, trace, batch, .. } = self;
        World { engine, keys, suite, ms, trace, batch }
    }

    /// The same books, with another key module.
    pub(super) fn with_keys(self, module: Arc<dyn KeyModule>) -> Self {
        let Self { engine, keys, suite, ms, trace, batch } = self;
        World { engine: Engine::new(engine.into_store(), module), keys, suite, ms, trace, batch }
    }

    pub(super) fn now(&self) -> Now {
        Now { mono: Mono(0), wall: Wall(self.ms), utc_offset_min: 480 }
    }

    pub(super) fn execute(&mut self, request: Request) -> Answer {
        self.ms += 1000;
        let now = self.now();
        self.engine.execute(now, &[request]).unwrap().remove(0)
    }

    pub(super) fn admin(&mut self, request: AdminRequest) -> AdminAnswer {
        match self.execute(Request::Admin(request)) {
            Answer::Admin(answer) => answer,
            Answer::Host(_) => panic!("an operator's answer"),
        }
    }

    pub(super) fn host(&mut self, request: HostRequest) -> HostAnswer {
        match self.execute(Request::Host(request)) {
            Answer::Host(answer) => answer,
            Answer::Admin(_) => panic!("a terminal's answer"),
        }
    }

    /// A new message of terminal 1 (or 2).
    pub(super) fn message(&mut self, terminal: TerminalId, body: HostBody) -> HostRequest {
        self.trace += 1;
        let merchant = if terminal == t1() { shop() } else { cafe() };
        let identity = Identity {
            acquirer: AcquirerId(1),
            terminal,
            merchant,
            batch: BatchNo(self.batch),
            trace: Stan(self.trace),
        };
        HostRequest { identity, digest: ContentDigest([self.trace as u8; 16]), body }
    }

    pub(super) fn send(&mut self, body: HostBody) -> HostAnswer {
        let message = self.message(t1(), body);
        self.host(message)
    }

    pub(super) fn reversal(of: &HostRequest, amount: Amount) -> HostRequest {
        HostRequest { body: HostBody::Reversal { amount, reason: code("98") }, ..of.clone() }
    }

    pub(super) fn available(&mut self) -> u64 {
        match self.send(HostBody::Balance { payer: PAYER }).body {
            AnswerBody::Balance(amount) => amount.minor(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn host_totals(&mut self) -> BatchTotals {
        match self.engine.query(&Query::Batch(t1(), BatchNo(self.batch))).unwrap() {
            Report::Batch(batch) => batch.host,
            _ => BatchTotals::default(),
        }
    }

    /// What the host counts as loads in terminal 1's open batch.
    pub(super) fn open_loads(&mut self) -> Tally {
        self.host_totals().loads
    }

    /// Settles terminal 1's batch with the host's own totals.
    pub(super) fn settle(&mut self) -> HostAnswer {
        let totals = self.host_totals();
        let answer = self.send(HostBody::Settle { totals });
        self.batch += 1;
        answer
    }

    pub(super) fn payable(&mut self, merchant: MerchantId) -> i128 {
        self.statement(merchant).payable
    }

    pub(super) fn statement(&mut self, merchant: MerchantId) -> Statement {
        let query = Query::Statement { merchant, from: Wall(0), to: Wall(i64::MAX) };
        match self.engine.query(&query).unwrap() {
            Report::Statement(statement) => statement,
            other => panic!("{other:?}"),
        }
    }

    /// Credits less debits of an account, from its postings.
    pub(super) fn net(&mut self, book: Book) -> i128 {
        let account = book.id(CNY);
        let balances =
            crate::accounts::Ledger::new(self.engine.store()).balances_at(&[account], Wall(i64::MAX));
        balances.unwrap()[0].totals.net_credit()
    }

    pub(super) fn audit(&mut self) -> AuditReport {
        match self.engine.query(&Query::Audit).unwrap() {
            Report::Audit(report) => *report,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn alerts(&mut self) -> Vec<AlertKind> {
        match self.engine.query(&Query::Alerts { limit: 100 }).unwrap() {
            Report::Alerts(alerts) => alerts.iter().map(|alert| alert.kind).collect(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn card_report(&mut self, card: &TestCard) -> CardReport {
        match self.engine.query(&Query::Card(ISSUER, card.asn)).unwrap() {
            Report::Card(card) => card,
            other => panic!("{other:?}"),
        }
    }

    /// A person releases what a card was consented to at a counter, the newest of it as the card's report says.
    pub(super) fn release(&mut self, card: &TestCard, counter: u16) -> AdminAnswer {
        let newest = self.card_report(card).open_newest.unwrap_or(TransactionSeq(0));
        self.admin(release(card, counter, newest))
    }

    /// Issues a card.
    pub(super) fn card(&mut self, n: u8) -> TestCard {
        self.card_of(n, KeyVersion(1), KeyVersion(1))
    }

    /// Issues a card whose keys are of version `made`, and registers it with `registered`.
    pub(super) fn card_of(&mut self, n: u8, made: KeyVersion, registered: KeyVersion) -> TestCard {
        let asn = Asn([0, 0, 0, 0, 0, 0, 0, 0, 0, n]);
        let funding = Some((FundingKind::Bank, FundingNumber(1)));
        let add = AdminRequest::AddCard { issuer: ISSUER, asn, key_version: registered, funding };
        assert_eq!(self.admin(add), AdminAnswer::Done);
        let key = CardKeyRef {
            issuer: ISSUER,
            version: made,
            algorithm: self.suite.algorithm(),
            card: asn.factor(),
            upper: &[Factor([3; 8])],
        };
        let load_key = self.keys.card_key(&key, KeyUse::Load).unwrap();
        let tac_key = self.keys.card_key(&key, KeyUse::Tac).unwrap();
        TestCard {
            asn,
            made,
            balance: 0,
            offline: 0,
            online: 0,
            load_key,
            tac_key,
            suite: self.suite,
            random: 0,
        }
    }

    /// A load request's message.
    pub(super) fn load(&mut self, card: &mut TestCard, amount: u32) -> HostRequest {
        let request = card.request(amount, SAM_1);
        self.message(t1(), HostBody::Load { source: LoadSource::Linked, request })
    }

    /// Loads and confirms.
    pub(super) fn loaded(&mut self, card: &mut TestCard, amount: u32) {
        let message = self.load(card, amount);
        let answer = self.host(message);
        assert_eq!(answer.code, ResponseCode::APPROVED);
        let record = card.credit(amount, SAM_1, answer.moment);
        assert_eq!(self.confirm(record).code, ResponseCode::APPROVED);
    }

    pub(super) fn confirm(&mut self, record: TransactionRecord) -> HostAnswer {
        self.send(HostBody::LoadConfirm { original: Original::default(), record })
    }

    /// Uploads records by terminal 1; the codes.
    pub(super) fn upload(&mut self, records: &[TransactionRecord]) -> Vec<String> {
        let answer = self.send(HostBody::OfflineRecords { records: records.to_vec() });
        codes(&answer)
    }
}

pub(super) fn codes(answer: &HostAnswer) -> Vec<String> {
    match &answer.body {
        AnswerBody::Records(outcomes) => outcomes.iter().map(|o| o.answer.code.to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

impl TestCard {
    /// INITIALIZE FOR LOAD.
    pub(super) fn request(&mut self, amount: u32, terminal: SamTerminal) -> LoadRequest {
        self.random += 1;
        let random = CardRandom::from_bytes(self.suite, &[self.random; 8][..self.suite.mac_len()]).unwrap();
        let counter = OnlineCounter(self.online);
        let terms = HostTerms { amount: CardAmount(amount), kind: TransactionType::Load, terminal, counter };
        let session = self.load_key.online_session(TransactionType::Load, &random, counter).unwrap();
        LoadRequest {
            issuer: ISSUER,
            asn: self.asn,
            algorithm: self.suite.algorithm(),
            random,
            key_index: KeyIndex(1),
            key_version: self.made,
            counter,
            balance: CardAmount(self.balance),
            amount: terms.amount,
            kind: terms.kind,
            terminal,
            mac1: session.host_mac1(&terms, CardAmount(self.balance), &self.asn),
        }
    }

    fn record(
        &self,
        kind: TransactionType,
        counter: CardCounter,
        amount: u32,
        sam: (SamTerminal, u32),
        moment: Moment,
    ) -> TransactionRecord {
        let unsigned = TransactionRecord {
            state: RecordState::Done,
            issuer: ISSUER,
            asn: self.asn,
            algorithm: self.suite.algorithm(),
            key_version: self.made,
            counter,
            balance_after: CardAmount(self.balance),
            overdraft: Overdraft::ZERO,
            amount: CardAmount(amount),
            kind,
            terminal: sam.0,
            term_seq: TermSeq(sam.1),
            moment,
            digest: CappDigest::default(),
            tac: Tac::zero(self.suite),
        };
        let tac = self.tac_key.tac_key().tac(&tac_terms(&unsigned));
        TransactionRecord { tac, ..unsigned }
    }

    /// CREDIT FOR LOAD.
    pub(super) fn credit(&mut self, amount: u32, terminal: SamTerminal, moment: Moment) -> TransactionRecord {
        self.balance += amount;
        let counter = CardCounter::Online(OnlineCounter(self.online));
        self.online += 1;
        self.record(TransactionType::Load, counter, amount, (terminal, 0), moment)
    }

    /// DEBIT FOR PURCHASE.
    pub(super) fn pay(&mut self, amount: u32, sam: SamTerminal, seq: u32) -> TransactionRecord {
        let moment = Moment::from_bytes([0x20, 0x26, 0x11, 0x22, 0x10, 0x00, 0x00]);
        self.pay_at(amount, sam, seq, moment)
    }

    /// The same at another time.
    pub(super) fn pay_at(
        &mut self,
        amount: u32,
        sam: SamTerminal,
        seq: u32,
        moment: Moment,
    ) -> TransactionRecord {
        self.balance -= amount;
        let counter = CardCounter::Offline(OfflineCounter(self.offline));
        self.offline += 1;
        self.record(TransactionType::Purchase, counter, amount, (sam, seq), moment)
    }
}

/// A person's word that a card was credited with none of the loads at a counter, `newest` included.
pub(super) fn release(card: &TestCard, counter: u16, newest: TransactionSeq) -> AdminRequest {
    AdminRequest::ReleaseLoad {
        issuer: ISSUER,
        asn: card.asn,
        counter: OnlineCounter(counter),
        transaction: newest,
    }
}
