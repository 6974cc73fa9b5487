//! The purse over the wire and on SQLite: load with the issuer's consent, its confirmation, offline records answered one by one, settlement,
//! and a second start that finds everything.
#![cfg(test)]

use backend::Engine;
use backend::api::{Backend, Query, Report};
use backend::store::sqlite::SqliteStore;
use keys::{KeyModule, MasterKey, SoftKeys};
use posp_gateway::access::Limits;
use posp_gateway::ops::{Context, Operation, Outcome, Through, perform};
use protocol::ids::{Asn, BatchNo, SamTerminal, Stan};
use protocol::iso8583::Mti;
use protocol::iso8583::f58::{LoadRequest, TransactionRecord};
use protocol::iso8583::typed::{
    Balance, Batch, ManagementCode, ResponseCode, RetrievalReference, SettlementTotals, Sum, Totals,
};
use protocol::money::CardAmount;
use std::path::Path;
use std::sync::Arc;
use tests::acquirer::{Acquirer, CURRENCY, Received, TestTerminal, clock, enrol, register, terminal_id};
use tests::purse_line::{
    self, Card, ISSUER, confirm_frame, consent, load_request_frame, load_reversal_frame, record_answers,
    upload_frame,
};

const ASN: Asn = Asn([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const SAM: SamTerminal = SamTerminal([0, 0, 0, 0, 0, 1]);
const STRANGER: SamTerminal = SamTerminal([9; 6]);

/// A gateway over the files in `folder`; the first time they are made.
fn start(folder: &Path) -> Acquirer {
    let keys = Arc::new(SoftKeys::open(&folder.join("keys"), MasterKey::new([7; 32])).unwrap());
    let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
    let mut engine = Engine::new(SqliteStore::open(&folder.join("db")).unwrap(), shared);
    register(&mut engine, &*keys, 1, 1, 100_000);
    purse_line::register(&mut engine, &keys, &[(ASN, 1)], &[(SAM, terminal_id(1))]);
    Acquirer::start(Box::new(engine), keys, Limits::default())
}

/// An operation, as the gateway's control socket hands it on.
fn operate(acquirer: &Acquirer, operation: &Operation) -> Result<Outcome, console::Failure> {
    let mut desk = Through::new(Arc::clone(acquirer.server().queue()), "db".into());
    let zone = posp_gateway::clock::utc();
    let (keys, now) = (&*acquirer.keys, clock().now());
    perform(operation, &mut Context { desk: &mut desk, keys, gateway: "here", zone: &zone, heads: None, now })
}

fn ask_load(till: &mut TestTerminal, trace: u32, request: &LoadRequest, minor: u64) -> Received {
    let answer = till.ask(&load_request_frame(till, trace, request, minor));
    assert!(till.verifies(&answer));
    answer
}

fn confirm(till: &mut TestTerminal, trace: u32, record: &TransactionRecord, of: u32) -> Received {
    let answer = till.ask(&confirm_frame(till, trace, record, of));
    assert!(till.verifies(&answer));
    answer
}

fn upload(till: &mut TestTerminal, trace: u32, records: &[TransactionRecord]) -> Vec<(u32, String)> {
    let answer = till.ask(&upload_frame(till, trace, records));
    assert!(till.verifies(&answer));
    record_answers(&answer)
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
    let mut card = Card::issue(&acquirer.keys, ASN, SAM);
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
    let reversal = load_reversal_frame(&till, 30, 2_000);
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
    // The load that was reversed counts all the same: the card's word has posted it.
    let asked = settle(&mut till, 40, debits, Sum { minor: 12_000, count: 2 });
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
    let mut card = Card::issue(&acquirer.keys, ASN, SAM);
    let mut till = terminal(&acquirer);
    let buy = |till: &mut TestTerminal, minor: u64| {
        let trace = till.next_trace();
        let frame = till.purchase_frame(Stan(trace.0 + 500), 1, minor);
        till.ask(&frame).code().to_string()
    };
    // The payer has 1000.00. A load of 400.00 whose answer the terminal lost, and whose card never came back.
    let released = consent(&ask_load(&mut till, 10, &card.request(40_000), 40_000));
    let reversal = load_reversal_frame(&till, 10, 40_000);
    assert_eq!(till.ask(&reversal).code(), ResponseCode::APPROVED);
    assert_eq!(buy(&mut till, 70_000), "51", "the money is held: the card may have it");

    let of_card = Operation::ReportCard { issuer: ISSUER.to_string(), asn: ASN.to_string() };
    let Outcome::Card(report) = operate(&acquirer, &of_card).unwrap() else { panic!("no card") };
    let newest = report.open_reference.unwrap();
    let release = |counter| Operation::CardRelease {
        issuer: ISSUER.to_string(),
        asn: ASN.to_string(),
        counter,
        reference: newest.clone(),
    };
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
    let again = operate(&acquirer, &release(0)).unwrap();
    assert!(matches!(again, Outcome::Registered { existed: true, .. }), "{again:?}");
    let stranger = Operation::CardRelease {
        issuer: ISSUER.to_string(),
        asn: "99".repeat(10),
        counter: 0,
        reference: newest.clone(),
    };
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
