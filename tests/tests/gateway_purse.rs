//! The purse over the wire and on SQLite: load with the issuer's consent, its confirmation, offline records answered one by one, settlement,
//! and a second start that finds everything.
#![cfg(test)]

use backend::Engine;
use backend::accounts::chart::{FundingKind, FundingNumber};
use backend::api::{AdminAnswer, AdminRequest, Answer, Backend, Query, Report, Request};
use backend::store::sqlite::SqliteStore;
use keys::{CardKeyRef, KeyModule, MasterKey, SoftKeys};
use posp_gateway::access::Limits;
use posp_gateway::ops::{Context, Operation, Outcome, Through, perform};
use protocol::ids::*;
use protocol::iso8583::Mti;
use protocol::iso8583::f58::{
    CardCounter, LoadAnswer, LoadRequest, RecordAnswers, RecordList, RecordState, TransactionRecord,
};
use protocol::iso8583::typed::{
    AmountMinor, Balance, Batch, Condition, ManagementCode, Original, ProcessingCode, PurseField,
    ResponseCode, RetrievalReference, SettlementTotals, Sum, Totals, TransactionKind,
};
use protocol::money::CardAmount;
use protocol::purse::keys::{KeyUse, PurseKey};
use protocol::purse::mac::{HostTerms, TacTerms};
use protocol::purse::{CappDigest, CardRandom, Moment, Overdraft, Suite, TransactionType};
use std::path::Path;
use std::sync::Arc;
use tests::acquirer::{Acquirer, CURRENCY, Received, TestTerminal, clock, enrol, register, terminal_id};

const ISSUER: IssuerId = IssuerId([0x62, 0x17, 0, 0, 0, 0, 0, 1]);
const ASN: Asn = Asn([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const VERSION: KeyVersion = KeyVersion(1);
const SAM: SamTerminal = SamTerminal([0, 0, 0, 0, 0, 1]);
const STRANGER: SamTerminal = SamTerminal([9; 6]);

/// A gateway over the files in `folder`; the first time they are made.
fn start(folder: &Path) -> Acquirer {
    let keys = Arc::new(SoftKeys::open(&folder.join("keys"), MasterKey::new([7; 32])).unwrap());
    let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
    let mut engine = Engine::new(SqliteStore::open(&folder.join("db")).unwrap(), shared);
    register(&mut engine, &*keys, 1, 1, 100_000);
    keys.generate_issuer(ISSUER, VERSION, Suite::Aes).unwrap();
    let funding = Some((FundingKind::Bank, FundingNumber(1)));
    let requests = [
        AdminRequest::AddIssuer {
            issuer: ISSUER,
            currency: CURRENCY,
            upper_factors: vec![],
            load_limit: CardAmount(50_000),
        },
        AdminRequest::AddCard { issuer: ISSUER, asn: ASN, key_version: VERSION, funding },
        AdminRequest::AssignSam {
            sam: SAM,
            terminal: terminal_id(1),
            from: Moment::from_bytes([0x20, 0x26, 1, 1, 0, 0, 0]),
        },
    ];
    for answer in engine.execute(clock().now(), &requests.map(Request::Admin)).unwrap() {
        assert!(matches!(answer, Answer::Admin(AdminAnswer::Done | AdminAnswer::Exists)), "{answer:?}");
    }
    Acquirer::start(Box::new(engine), keys, Limits::default())
}

/// An operation, as the gateway's control socket hands it on.
fn operate(acquirer: &Acquirer, operation: &Operation) -> Result<Outcome, console::Failure> {
    let mut desk = Through::new(Arc::clone(acquirer.server().queue()), "db".into());
    let zone = posp_gateway::clock::utc();
    let (keys, now) = (&*acquirer.keys, clock().now());
    perform(operation, &mut Context { desk: &mut desk, keys, gateway: "here", zone: &zone, heads: None, now })
}

/// A card: what the wire sees of it.
struct Card {
    load_key: PurseKey,
    tac_key: PurseKey,
    balance: u32,
    offline: u16,
    online: u16,
}

impl Card {
    fn issue(keys: &SoftKeys) -> Self {
        let algorithm = Suite::Aes.algorithm();
        let key = CardKeyRef { issuer: ISSUER, version: VERSION, algorithm, card: ASN.factor(), upper: &[] };
        let key = |usage| keys.card_key(&key, usage).unwrap();
        Self { load_key: key(KeyUse::Load), tac_key: key(KeyUse::Tac), balance: 0, offline: 0, online: 0 }
    }

    fn terms(&self, amount: u32) -> (CardRandom, HostTerms) {
        let random = CardRandom::from_bytes(Suite::Aes, &[self.online as u8 + 1; 8]).unwrap();
        let (kind, counter) = (TransactionType::Load, OnlineCounter(self.online));
        (random, HostTerms { amount: CardAmount(amount), kind, terminal: SAM, counter })
    }

    fn request(&self, amount: u32) -> LoadRequest {
        let (random, terms) = self.terms(amount);
        let session = self.load_key.online_session(terms.kind, &random, terms.counter).unwrap();
        LoadRequest {
            issuer: ISSUER,
            asn: ASN,
            algorithm: Suite::Aes.algorithm(),
            random,
            key_index: KeyIndex(1),
            key_version: VERSION,
            counter: terms.counter,
            balance: CardAmount(self.balance),
            amount: terms.amount,
            kind: terms.kind,
            terminal: SAM,
            mac1: session.host_mac1(&terms, CardAmount(self.balance), &ASN),
        }
    }

    /// Checks MAC2 as a card does, credits itself, and gives the receipt.
    fn credit(&mut self, amount: u32, answer: &LoadAnswer) -> TransactionRecord {
        let (random, terms) = self.terms(amount);
        let session = self.load_key.online_session(terms.kind, &random, terms.counter).unwrap();
        assert_eq!(session.host_mac2(&terms, answer.moment), answer.mac2, "the card refuses");
        self.balance += amount;
        let counter = CardCounter::Online(OnlineCounter(self.online));
        self.online += 1;
        self.record(TransactionType::Load, (counter, self.online - 1), amount, (SAM, 0), answer.moment)
    }

    fn pay(&mut self, amount: u32, sam: SamTerminal, seq: u32) -> TransactionRecord {
        self.balance -= amount;
        let counter = CardCounter::Offline(OfflineCounter(self.offline));
        self.offline += 1;
        let moment = Moment::from_bytes([0x20, 0x26, 0x11, 0x22, 0x10, 0x00, 0x00]);
        self.record(TransactionType::Purchase, (counter, self.offline - 1), amount, (sam, seq), moment)
    }

    fn record(
        &self,
        kind: TransactionType,
        (counter, number): (CardCounter, u16),
        amount: u32,
        (terminal, seq): (SamTerminal, u32),
        moment: Moment,
    ) -> TransactionRecord {
        let terms = TacTerms {
            asn: ASN,
            counter: number,
            balance_new: CardAmount(self.balance),
            amount: CardAmount(amount),
            kind,
            terminal,
            term_seq: TermSeq(seq),
            moment,
            digest: CappDigest::default(),
        };
        TransactionRecord {
            state: RecordState::Done,
            issuer: ISSUER,
            asn: ASN,
            algorithm: Suite::Aes.algorithm(),
            key_version: VERSION,
            counter,
            balance_after: terms.balance_new,
            overdraft: Overdraft::ZERO,
            amount: terms.amount,
            kind,
            terminal,
            term_seq: terms.term_seq,
            moment,
            digest: terms.digest,
            tac: self.tac_key.tac_key().tac(&terms),
        }
    }
}

fn load_frame(
    till: &TestTerminal,
    mti: Mti,
    trace: u32,
    purse: &[u8],
    minor: u64,
    of: Option<Stan>,
) -> Vec<u8> {
    let batch = Batch::financial(TransactionKind::LOAD_LINKED, till.batch);
    till.frame(mti, till.mac.as_ref(), &|builder| {
        builder.put(&ProcessingCode::LOAD_LINKED)?.put(&AmountMinor(minor))?.put(&Stan(trace))?;
        builder.put(&Condition::LOAD)?;
        if mti == Mti::REVERSAL {
            builder.put(&ResponseCode::NO_ANSWER)?;
        }
        builder.put(&till.id)?.put(&till.merchant)?.put(&CURRENCY)?;
        if !purse.is_empty() {
            builder.put(&PurseField(purse))?;
        }
        builder.put(&batch)?.put_some(of.map(|of| Original::new(till.batch, of, None)).as_ref())?;
        Ok(())
    })
}

fn ask_load(till: &mut TestTerminal, trace: u32, request: &LoadRequest, minor: u64) -> Received {
    let mut purse = [0; 128];
    let n = request.encode(&mut purse).unwrap();
    let answer = till.ask(&load_frame(till, Mti::FINANCIAL, trace, &purse[..n], minor, None));
    assert!(till.verifies(&answer));
    answer
}

fn consent(answer: &Received) -> LoadAnswer {
    assert_eq!(answer.code(), ResponseCode::APPROVED);
    LoadAnswer::parse(answer.message().need::<PurseField<'_>>().unwrap().0).unwrap()
}

fn confirm(till: &mut TestTerminal, trace: u32, record: &TransactionRecord, of: u32) -> Received {
    let mut purse = [0; 128];
    let n = record.encode(&mut purse).unwrap();
    let minor = u64::from(record.amount.0);
    let answer = till.ask(&load_frame(till, Mti::ADVICE, trace, &purse[..n], minor, Some(Stan(of))));
    assert!(till.verifies(&answer));
    answer
}

fn upload(till: &mut TestTerminal, trace: u32, records: &[TransactionRecord]) -> Vec<(u32, String)> {
    let mut list = RecordList::default();
    records.iter().for_each(|record| list.push(record).unwrap());
    let code = Some(ManagementCode::PURSE_RECORDS);
    let batch = Batch { code, ..Batch::financial(TransactionKind::OFFLINE, till.batch) };
    let frame = till.frame(Mti::UPLOAD, till.mac.as_ref(), &|builder| {
        builder.put(&ProcessingCode::PURCHASE)?.put(&Stan(trace))?.put(&Condition::NORMAL)?;
        builder.put(&till.id)?.put(&till.merchant)?.put(&CURRENCY)?.put(&list.field())?.put(&batch)?;
        Ok(())
    });
    let answer = till.ask(&frame);
    assert!(till.verifies(&answer));
    assert_eq!((answer.code(), answer.message().mti()), (ResponseCode::APPROVED, Mti(0x0330)));
    let answers = RecordAnswers::parse(answer.message().need::<PurseField<'_>>().unwrap().0).unwrap();
    answers.answers.iter().map(|answer| (answer.term_seq.0, answer.code.to_string())).collect()
}

fn told(list: &[(u32, &str)]) -> Vec<(u32, String)> {
    list.iter().map(|(seq, code)| (*seq, (*code).to_owned())).collect()
}

fn terminal(acquirer: &Acquirer) -> TestTerminal {
    let mut till = TestTerminal::new(acquirer.address, 1, enrol(&*acquirer.keys, 1));
    till.sign_in();
    till
}

#[test]
fn load_pay_offline_upload_settle_and_the_books_prove_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut acquirer = start(folder.path());
    let mut card = Card::issue(&acquirer.keys);
    let mut till = terminal(&acquirer);

    // A load, its repeat with the same consent, its confirmation and the confirmation's repeat.
    let request = card.request(10_000);
    let answer = ask_load(&mut till, 10, &request, 10_000);
    assert_eq!(ask_load(&mut till, 10, &request, 10_000).body, answer.body);
    assert!(answer.message().get::<RetrievalReference>().unwrap().is_some());
    let receipt = card.credit(10_000, &consent(&answer));
    for trace in [11, 11, 12] {
        assert_eq!(confirm(&mut till, trace, &receipt, 10).code(), ResponseCode::APPROVED);
    }
    // A MAC1 that is wrong, an amount that field 4 contradicts.
    let mut forged = card.request(500);
    forged.amount = CardAmount(600);
    assert_ne!(ask_load(&mut till, 13, &forged, 600).code(), ResponseCode::APPROVED);
    assert_eq!(ask_load(&mut till, 14, &card.request(500), 600).code(), ResponseCode::AMOUNT);

    // Offline payments: two good ones, one changed on the way, one of a stranger's SAM; then all once more.
    let (first, second) = (card.pay(250, SAM, 1), card.pay(300, SAM, 2));
    let tampered = TransactionRecord { amount: CardAmount(1), ..card.pay(100, SAM, 3) };
    let strange = card.pay(50, STRANGER, 9);
    let records = [first, second, tampered, strange];
    let expected = told(&[(1, "00"), (2, "00"), (3, "63"), (9, "01")]);
    assert_eq!(upload(&mut till, 20, &records), expected);
    assert_eq!(upload(&mut till, 20, &records), expected);
    assert_eq!(upload(&mut till, 21, &[second, first]), told(&[(2, "00"), (1, "00")]));

    // A load that is reversed after its consent was given: 00, and held for whoever shows the card's word.
    let disputed = ask_load(&mut till, 30, &card.request(2_000), 2_000);
    let released = consent(&disputed);
    let reversal = load_frame(&till, Mti::REVERSAL, 30, &[], 2_000, Some(Stan(30)));
    assert_eq!(till.ask(&reversal).code(), ResponseCode::APPROVED);
    let receipt = card.credit(2_000, &released);
    assert_eq!(confirm(&mut till, 31, &receipt, 30).code(), ResponseCode::APPROVED);

    // A second start finds everything; the terminal signs in and goes on in the same batch.
    acquirer.stop();
    drop(acquirer);
    let mut acquirer = start(folder.path());
    let mut till = terminal(&acquirer);
    assert_eq!(till.batch, BatchNo(1));
    assert_eq!(upload(&mut till, 22, &[first]), told(&[(1, "00")]));
    // The repeat of a request from before the restart.
    assert_eq!(consent(&ask_load(&mut till, 10, &request, 10_000)), consent(&answer));

    // Settlement by the totals the host answers.
    let settle = |till: &mut TestTerminal, trace: u32, debit: Sum, loads: Sum| {
        let batch = Batch::management(till.batch, ManagementCode::SETTLEMENT);
        let domestic = Totals { debit, ..Totals::default() };
        let loads = Some(Totals { debit: loads, ..Totals::default() });
        let totals = SettlementTotals { domestic, foreign: Totals::default(), loads };
        let frame = till.frame(Mti::SETTLEMENT, till.mac.as_ref(), &|builder| {
            builder.put(&Stan(trace))?.put(&till.id)?.put(&till.merchant)?.put(&totals)?.put(&CURRENCY)?;
            builder.put(&batch)?;
            Ok(())
        });
        till.ask(&frame)
    };
    let debits = Sum { minor: 550, count: 2 };
    // The load that was reversed counts on neither side, though the card's word has posted it.
    let asked = settle(&mut till, 40, debits, Sum { minor: 10_000, count: 1 });
    let host: SettlementTotals = asked.message().need().unwrap();
    assert_eq!((host.domestic.debit, host.domestic.balance), (debits, Balance::Balanced));
    assert_eq!(
        (asked.code(), host.loads.unwrap().balance),
        (ResponseCode::APPROVED, Balance::Balanced),
        "{host:?}"
    );
    till.sign_in();
    assert_eq!(till.batch, BatchNo(2));

    acquirer.stop();
    drop(acquirer);
    let keys = Arc::new(SoftKeys::open(&folder.path().join("keys"), MasterKey::new([7; 32])).unwrap());
    let mut engine = Engine::new(SqliteStore::open(&folder.path().join("db")).unwrap(), keys);
    let Report::Audit(audit) = engine.query(&Query::Audit).unwrap() else { panic!("no audit") };
    assert!(audit.is_clean(), "{:?}", audit.exceptions);
    assert_eq!(audit.float[0].posted, i128::from(10_000 + 2_000 - 550));
}

#[test]
fn an_operator_releases_a_disputed_load_and_the_cards_late_word_is_booked_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut acquirer = start(folder.path());
    let mut card = Card::issue(&acquirer.keys);
    let mut till = terminal(&acquirer);
    let buy = |till: &mut TestTerminal, minor: u64| {
        let trace = till.next_trace();
        let frame = till.purchase_frame(Stan(trace.0 + 500), 1, minor);
        till.ask(&frame).code().to_string()
    };
    // The payer has 1000.00. A load of 400.00 whose answer the terminal lost, and whose card never came back.
    let released = consent(&ask_load(&mut till, 10, &card.request(40_000), 40_000));
    let reversal = load_frame(&till, Mti::REVERSAL, 10, &[], 40_000, Some(Stan(10)));
    assert_eq!(till.ask(&reversal).code(), ResponseCode::APPROVED);
    assert_eq!(buy(&mut till, 70_000), "51", "the money is held: the card may have it");

    let release =
        |counter| Operation::CardRelease { issuer: ISSUER.to_string(), asn: ASN.to_string(), counter };
    let refused = |counter| {
        let failure = operate(&acquirer, &release(counter)).unwrap_err();
        assert_eq!(failure.code(), console::code::GATEWAY_REFUSED);
        let reason = failure.args().iter().find(|(name, _)| *name == "reason");
        reason.map(|(_, reason)| reason.to_owned()).unwrap()
    };
    assert_eq!(refused(1), "the open load of this card has counter 0");
    assert_eq!(buy(&mut till, 70_000), "51");
    let Outcome::LoadReleased { counter: 0, amount, .. } = operate(&acquirer, &release(0)).unwrap() else {
        panic!("not released")
    };
    assert_eq!(amount, "400.00 CNY");
    assert_eq!(refused(0), "no such load awaits a decision");
    let stranger = Operation::CardRelease { issuer: ISSUER.to_string(), asn: "99".repeat(10), counter: 0 };
    let failure = operate(&acquirer, &stranger).unwrap_err();
    assert_eq!(failure.code(), console::code::GATEWAY_UNKNOWN);

    // Available again, and spent in part.
    assert_eq!(buy(&mut till, 50_000), "00");
    // The card had been credited after all: its TAC is right, so it is booked, from what the payer still has.
    let receipt = card.credit(40_000, &released);
    assert_eq!(confirm(&mut till, 31, &receipt, 10).code(), ResponseCode::APPROVED);
    assert_eq!(confirm(&mut till, 32, &receipt, 10).code(), ResponseCode::APPROVED, "once");
    assert_eq!(buy(&mut till, 10_001), "51");
    assert_eq!(buy(&mut till, 10_000), "00");
    let Outcome::Alerts { alerts } = operate(&acquirer, &Operation::ReportAlerts { limit: 9 }).unwrap()
    else {
        panic!("no alerts")
    };
    let kinds: Vec<&str> = alerts.iter().map(|alert| alert.kind.as_str()).collect();
    assert_eq!(kinds, ["late-load", "load-released"]);
    let Outcome::Audit(audit) = operate(&acquirer, &Operation::Audit { heads: None }).unwrap() else {
        panic!("no audit")
    };
    assert!(audit.clean, "{:?}", audit.exceptions);
    assert_eq!((audit.float[0].posted.as_str(), audit.float[0].pending.as_str()), ("400.00 CNY", "0.00 CNY"));
    acquirer.stop();
}
