//! Online transactions over the wire, frame by frame: balance, purchase, void, refund, and the life of a pre-authorisation; what each is answered
//! when it is wrong, and that terminal and host count the same at settlement.
#![cfg(test)]

use backend::accounts::chart::FundingKind;
use backend::api::{AdminAnswer, AdminRequest, Answer, Backend, Limit, LimitScope, Query, Report, Request};
use backend::store::memory::MemoryStore;
use backend::store::sqlite::SqliteStore;
use backend::{Engine, Policy};
use keys::{KeyModule, MasterKey, SoftKeys};
use posp_gateway::access::Limits;
use protocol::ids::{BatchNo, Stan};
use protocol::iso8583::typed::{
    AuthorisationCode, Balance, Condition, ProcessingCode, SettlementTotals, Sum, TransactionKind,
};
use protocol::iso8583::{FieldNo, Mti};
use std::path::Path;
use std::sync::Arc;
use tests::acquirer::{Acquirer, Received, TestTerminal, clock, merchant_id, register};
use tests::online::Online;

const FUNDS: u64 = 100_000;

/// A gateway over the files in `folder`: two shops, two cardholders with [`FUNDS`] each.
fn start(folder: &Path, policy: Policy, limits: &[Limit]) -> Acquirer {
    let keys = Arc::new(SoftKeys::open(&folder.join("keys"), MasterKey::new([7; 32])).unwrap());
    let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
    let store = SqliteStore::open(&folder.join("db")).unwrap();
    let mut engine = Engine::new(store, shared).with_policy(policy);
    register(&mut engine, &*keys, 2, 2, FUNDS);
    let set: Vec<Request> =
        limits.iter().map(|limit| Request::Admin(AdminRequest::SetLimit(*limit))).collect();
    for answer in engine.execute(clock().now(), &set).unwrap() {
        assert!(matches!(answer, Answer::Admin(AdminAnswer::Done)), "{answer:?}");
    }
    Acquirer::start(Box::new(engine), keys, Limits::default())
}

fn till(acquirer: &Acquirer, n: u32) -> TestTerminal {
    let mut till = acquirer.terminal(n);
    till.sign_in();
    till
}

/// What F54 says is available to a cardholder.
fn available(till: &mut TestTerminal, payer: u32) -> u64 {
    let (_, answer) = till.online(&Online::BALANCE.by(payer));
    assert_eq!(answer.code().to_string(), "00");
    assert!(till.verifies(&answer));
    let text = String::from_utf8(answer.message().field(FieldNo(54)).unwrap().bytes().to_vec()).unwrap();
    text.strip_prefix("0002156C").unwrap().parse().unwrap()
}

/// Approved, with F37, F38 and a right MAC.
fn approved(till: &mut TestTerminal, online: &Online) -> (Stan, Received) {
    let (trace, answer) = till.online(online);
    assert_eq!(answer.code().to_string(), "00", "{online:?}");
    assert!(till.verifies(&answer) && answer.message().has(FieldNo(38)));
    (trace, answer)
}

fn reversal(till: &mut TestTerminal, trace: Stan, of: &Online) -> String {
    let frame = till.online_frame(trace, &of.reversed());
    till.ask(&frame).code().to_string()
}

/// Stops the gateway; its books are clean, and what they owe the first merchant.
fn close(acquirer: Acquirer, folder: &Path) -> i128 {
    drop(acquirer);
    let keys = Arc::new(SoftKeys::open(&folder.join("keys"), MasterKey::new([7; 32])).unwrap());
    let mut engine = Engine::new(SqliteStore::open(&folder.join("db")).unwrap(), keys);
    let Report::Audit(audit) = engine.query(&Query::Audit).unwrap() else { panic!("no audit") };
    assert!(audit.is_clean(), "{:?}", audit.exceptions);
    let (from, to) = (protocol::time::Wall(0), protocol::time::Wall(i64::MAX));
    match engine.query(&Query::Statement { merchant: merchant_id(1), from, to }).unwrap() {
        Report::Statement(statement) => statement.payable,
        other => panic!("{other:?}"),
    }
}

#[test]
fn purchase_void_and_refund_find_their_original_or_say_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let acquirer = start(folder.path(), Policy::default(), &[]);
    let mut till = till(&acquirer, 1);
    assert_eq!(available(&mut till, 1), FUNDS);
    let (trace, bought) = approved(&mut till, &Online::PURCHASE.by(1).of(30_000));
    assert_eq!(available(&mut till, 1), 70_000);
    assert_eq!(till.told(&Online::PURCHASE.by(1).of(70_001)), "51");
    assert_eq!(till.told(&Online::PURCHASE.by(9).of(1)), "14", "nobody's card");
    assert_eq!(till.told(&Online::PURCHASE.by(1).of(0)), "13");
    // The same trace with other content.
    let other = till.online_frame(trace, &Online::PURCHASE.by(1).of(30_001));
    assert_eq!(till.ask(&other).code().to_string(), "94");

    let void = Online::VOID.of(30_000).about(&bought);
    assert_eq!(till.told(&Online { reference: None, original: Some((BatchNo(1), Stan(777))), ..void }), "25");
    assert_eq!(till.told(&Online { authorisation: AuthorisationCode::from_bytes(*b"999999"), ..void }), "25");
    assert_eq!(till.told(&Online { reference: None, ..void }), "30", "names nothing");
    assert_eq!(till.told(&void.of(29_999)), "64");
    assert_eq!(till.told(&Online::REFUND.of(30_000).about(&bought)), "12", "not settled: it can be voided");
    // By batch and trace alone.
    let by_trace =
        Online { reference: None, authorisation: None, original: Some((BatchNo(1), trace)), ..void };
    let (voiding, _) = approved(&mut till, &by_trace);
    assert_eq!(available(&mut till, 1), FUNDS);
    assert_eq!(till.told(&void), "12", "voided before");
    assert_eq!(reversal(&mut till, voiding, &Online::VOID.of(30_000)), "00");
    assert_eq!(available(&mut till, 1), 70_000, "the purchase stands again");

    let sold = Sum { minor: 30_000, count: 1 };
    let settled = till.settle(sold, Sum::default());
    assert_eq!(settled.code().to_string(), "00");
    till.sign_in();
    assert_eq!(till.told(&void), "12", "its batch is closed");
    let refund = Online::REFUND.of(10_000).about(&bought);
    assert_eq!(till.told(&refund.of(30_001)), "64", "more than was paid");
    let (first, _) = approved(&mut till, &refund);
    assert_eq!(till.told(&refund.of(20_001)), "64", "more than is left");
    approved(&mut till, &refund.of(20_000));
    assert_eq!(till.told(&refund.of(1)), "12", "all of it was refunded");
    // A refund is an advice: it is not reversed, and nothing remains of the try.
    assert_eq!(reversal(&mut till, first, &Online::REFUND.of(10_000)), "12");
    assert_eq!(reversal(&mut till, Stan(900_000), &Online::REFUND.of(10_000)), "12");
    assert_eq!(available(&mut till, 1), FUNDS);
    let wrong = till.settle(Sum::default(), Sum { minor: 10_000, count: 1 });
    assert_eq!(wrong.code().to_string(), "95");
    let host: SettlementTotals = wrong.message().need().unwrap();
    assert_eq!(host.domestic.credit, Sum { minor: 30_000, count: 2 });
    assert_eq!(close(acquirer, folder.path()), 0);
}

#[test]
fn limits_are_told_apart_by_their_codes() {
    let folder = tempfile::tempdir().unwrap();
    let none = Limit {
        scope: LimitScope::Kind(FundingKind::Bank),
        payment_max: None,
        day_sum_max: None,
        day_count_max: None,
    };
    let limits = [
        Limit { payment_max: Some(20_000), day_count_max: Some(3), ..none },
        Limit { scope: LimitScope::Merchant(merchant_id(1)), day_sum_max: Some(30_000), ..none },
    ];
    let acquirer = start(folder.path(), Policy::default(), &limits);
    let mut first = till(&acquirer, 1);
    let mut second = till(&acquirer, 2);
    assert_eq!(first.told(&Online::PURCHASE.by(1).of(20_001)), "61", "one payment");
    assert_eq!(first.told(&Online::PURCHASE.by(1).of(20_000)), "00");
    assert_eq!(first.told(&Online::PRE_AUTHORISATION.by(2).of(10_001)), "61", "the merchant's day");
    assert_eq!(first.told(&Online::PRE_AUTHORISATION.by(2).of(10_000)), "00");
    assert_eq!(second.told(&Online::PURCHASE.by(1).of(20_000)), "00", "another merchant");
    assert_eq!(second.told(&Online::PURCHASE.by(1).of(1)), "00");
    assert_eq!(second.told(&Online::PURCHASE.by(1).of(1)), "65", "the fourth of the day");
    close(acquirer, folder.path());
}

#[test]
fn a_pre_authorisation_is_completed_once_and_counts_in_the_batch_of_its_completion() {
    let folder = tempfile::tempdir().unwrap();
    let acquirer = start(folder.path(), Policy::default(), &[]);
    let mut till = till(&acquirer, 1);
    let hold = Online::PRE_AUTHORISATION.by(1).of(40_000);
    let (trace, held) = approved(&mut till, &hold);
    assert_eq!(held.message().mti(), Mti(0x0110));
    let again = till.online_frame(trace, &hold);
    assert_eq!(till.ask(&again).body, held.body, "a repeat is answered as before");
    assert_eq!(available(&mut till, 1), 60_000);
    // It is in no total of its batch.
    assert_eq!(till.settle(Sum::default(), Sum::default()).code().to_string(), "00");
    till.sign_in();

    let complete = Online::COMPLETION.by(1).of(35_000).about(&held);
    assert_eq!(till.told(&Online { authorisation: None, ..complete }), "30", "no authorisation code");
    assert_eq!(
        till.told(&Online { authorisation: AuthorisationCode::from_bytes(*b"000000"), ..complete }),
        "25"
    );
    assert_eq!(till.told(&complete.by(2)), "25", "another card");
    assert_eq!(till.told(&complete.of(46_001)), "61", "beyond 115 %");
    let (completion, done) = approved(&mut till, &complete);
    assert_eq!(available(&mut till, 1), 65_000, "the rest is free");
    assert_eq!(till.told(&complete), "12", "once");
    assert_eq!(reversal(&mut till, trace, &hold), "00", "of a closed batch's trace: nothing to reverse here");

    let void = Online::COMPLETION_VOID.of(35_000).about(&done);
    assert_eq!(till.told(&void.of(35_001)), "64");
    let (voiding, _) = approved(&mut till, &void);
    assert_eq!(available(&mut till, 1), 60_000, "the pre-authorisation stands again");
    assert_eq!(reversal(&mut till, voiding, &Online::COMPLETION_VOID.of(35_000)), "00");
    assert_eq!(available(&mut till, 1), 65_000);
    assert_eq!(reversal(&mut till, completion, &Online::COMPLETION.of(35_000)), "00");
    assert_eq!(available(&mut till, 1), 60_000);

    // Told afterwards, by batch and trace.
    let advice = Online {
        reference: None,
        original: Some((BatchNo(1), trace)),
        ..Online::COMPLETION_ADVICE.by(1).of(46_000).about(&held)
    };
    let (told, _) = approved(&mut till, &advice);
    assert_eq!(available(&mut till, 1), 54_000);
    assert_eq!(reversal(&mut till, told, &Online::COMPLETION_ADVICE.of(46_000)), "12");
    let settled = till.settle(Sum { minor: 46_000, count: 1 }, Sum::default());
    let host: SettlementTotals = settled.message().need().unwrap();
    assert_eq!((settled.code().to_string().as_str(), host.domestic.balance), ("00", Balance::Balanced));
    assert_eq!(close(acquirer, folder.path()), 46_000);
}

#[test]
fn a_pre_authorisation_is_voided_reversed_or_expires() {
    let folder = tempfile::tempdir().unwrap();
    let policy = Policy { preauthorisation_ms_max: 1_500, ..Policy::default() };
    let acquirer = start(folder.path(), policy, &[]);
    let mut till = till(&acquirer, 1);
    let hold = Online::PRE_AUTHORISATION.by(1).of(40_000);
    let (_, held) = approved(&mut till, &hold);
    let void = Online::PRE_AUTHORISATION_VOID.of(40_000).about(&held);
    assert_eq!(till.told(&void.of(1)), "64");
    let (_, voided) = approved(&mut till, &void);
    assert_eq!(voided.message().mti(), Mti(0x0110));
    assert_eq!(available(&mut till, 1), FUNDS);
    let (trace, held) = approved(&mut till, &hold);
    assert_eq!(reversal(&mut till, trace, &hold), "00");
    assert_eq!(till.told(&Online::COMPLETION.by(1).of(1).about(&held)), "12");
    assert_eq!(available(&mut till, 1), FUNDS);
    let (_, held) = approved(&mut till, &hold);
    std::thread::sleep(std::time::Duration::from_millis(1_600));
    assert_eq!(till.told(&Online::COMPLETION.by(1).of(1).about(&held)), "25", "its time is up");
    assert_eq!(available(&mut till, 1), FUNDS);
    assert_eq!(close(acquirer, folder.path()), 0);
}

#[test]
fn a_message_that_is_not_a_row_of_the_table_is_refused() {
    let acquirer = Acquirer::over(MemoryStore::new(), 1, 1, Limits::default());
    let mut till = till(&acquirer, 1);
    let purchase = Online::PURCHASE.by(1).of(1);
    let completion = Online::COMPLETION.by(1).of(1);
    assert_eq!(till.told(&Online { condition: Condition::PRE_AUTHORISATION, ..purchase }), "30");
    assert_eq!(till.told(&Online { condition: Condition::NORMAL, ..completion }), "30");
    assert_eq!(till.told(&completion), "30", "names no pre-authorisation");
    let hold = Online::PRE_AUTHORISATION.by(1).of(1);
    assert_eq!(till.told(&Online { code: ProcessingCode::PURCHASE, ..hold }), "12");
    assert_eq!(till.told(&Online { mti: Mti::FINANCIAL, ..hold }), "12");
    assert_eq!(till.told(&Online { mti: Mti::ADVICE, ..completion }), "12");
    assert_eq!(till.told(&Online { payer: None, ..hold }), "30");
    assert_eq!(till.told(&Online { minor: None, ..hold }), "30");
    let kind = TransactionKind::BALANCE;
    let (trace, _) = till.online(&Online::BALANCE.by(1));
    assert_eq!(reversal(&mut till, trace, &Online { minor: Some(0), kind, ..Online::BALANCE }), "12");
}
