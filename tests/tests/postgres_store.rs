//! Several gateways' stores on one PostgreSQL: the same message at once, a server that stops, crashes and comes back, what a role may do,
//! schemas of other versions, and a server that does not let us in.
#![cfg(test)]

use backend::Engine;
use backend::api::{Answer, AnswerBody, Backend, HostAnswer, HostRequest, Query, Report, Request, Submitted};
use backend::store::postgres::{Address, Options, PostgresStore, prepare};
use backend::store::{Key, Record, Scan, Store, StoreFault};
use keys::KeyModule;
use protocol::iso8583::typed::ResponseCode;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use tests::acquirer::clock;
use tests::postgres::{Gateway, MONEY, OWNER, PASSWORD, SERVICE, Server, Stop, keys};

#[test]
fn one_message_at_three_gateways_at_once_is_booked_once_and_answered_the_same() {
    const ROUNDS: u32 = 40;
    let server = Server::start(&[]);
    let database = server.database();
    let first = Gateway::first(&server, &database, 1, 2);
    let gateways = [first, Gateway::open(&server, &database, 2), Gateway::open(&server, &database, 900)];
    let together = Arc::new(Barrier::new(gateways.len()));
    let threads: Vec<_> = gateways
        .into_iter()
        .map(|mut gateway| {
            let together = Arc::clone(&together);
            std::thread::spawn(move || {
                let mut answers = Vec::new();
                for trace in 1..=ROUNDS {
                    let request = gateway.purchase(1, trace, 1 + trace % 2, 10);
                    together.wait();
                    answers.push(gateway.ask(&[request]).unwrap().remove(0));
                }
                (gateway, answers)
            })
        })
        .collect();
    let mut all: Vec<(Gateway, Vec<HostAnswer>)> =
        threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    for round in 0..ROUNDS as usize {
        let answers: Vec<&HostAnswer> = all.iter().map(|(_, answers)| &answers[round]).collect();
        assert_eq!(answers.iter().filter(|answer| !answer.repeat).count(), 1, "decided once");
        for answer in &answers {
            assert_eq!(answer.code, ResponseCode::APPROVED);
            let (one, other) = (answers[0], *answer);
            assert_eq!((one.reference, one.authorisation), (other.reference, other.authorisation));
            assert_eq!((one.moment, &one.body), (other.moment, &other.body));
        }
    }
    let gateway = &mut all[2].0;
    assert_eq!(gateway.held(1) + gateway.held(2), u64::from(ROUNDS) * 10, "booked once");
    let report = gateway.audit();
    assert_eq!((report.exceptions.as_slice(), report.transactions), (&[][..], ROUNDS.into()));
    assert!(report.heads.len() >= 2, "a chain for each gateway that decided");
}

#[test]
fn gateways_that_fight_over_one_payer_never_overdraw_it_and_all_come_through() {
    let server = Server::start(&[]);
    let database = server.database();
    let mut first = Gateway::first(&server, &database, 3, 1);
    let limit = first.purchase(1, 1, 1, MONEY - 1_000);
    assert_eq!(first.ask(&[limit]).unwrap()[0].code, ResponseCode::APPROVED, "1000 are left");
    let gateways = [first, Gateway::open(&server, &database, 2), Gateway::open(&server, &database, 3)];
    let threads: Vec<_> = gateways
        .into_iter()
        .zip(1u32..)
        .map(|(mut gateway, terminal)| {
            std::thread::spawn(move || {
                let mut approved = 0;
                for batch in 0..20u32 {
                    let requests: Vec<HostRequest> =
                        (0..5).map(|n| gateway.purchase(terminal, 2 + batch * 5 + n, 1, 10)).collect();
                    for answer in gateway.ask(&requests).unwrap() {
                        match answer.code {
                            ResponseCode::APPROVED => approved += 1,
                            code => assert_eq!(code, ResponseCode::FUNDS),
                        }
                    }
                }
                (gateway, approved)
            })
        })
        .collect();
    let mut all: Vec<(Gateway, u64)> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(all.iter().map(|(_, approved)| approved).sum::<u64>(), 100, "300 asked, money for 100");
    assert_eq!(all[0].0.held(1), MONEY);
    assert_eq!(all[0].0.audit().exceptions, []);
}

fn batch(requests: &[HostRequest]) -> Vec<Request> {
    requests.iter().cloned().map(Request::Host).collect()
}

/// What was submitted, which must be under way: code, and whether it is a repeat.
fn under_way(gateway: &mut Gateway, requests: &[HostRequest]) -> Vec<(ResponseCode, bool)> {
    match gateway.engine.submit(clock().now(), &batch(requests)).unwrap() {
        Submitted::UnderWay(answers) => answers.iter().map(code_of).collect(),
        other => panic!("{other:?}"),
    }
}

fn code_of(answer: &Answer) -> (ResponseCode, bool) {
    match answer {
        Answer::Host(answer) => (answer.code, answer.repeat),
        Answer::Admin(_) => panic!("a terminal's answer"),
    }
}

#[test]
fn a_batch_is_decided_on_top_of_the_one_that_is_still_on_its_way() {
    let server = Server::start(&[]);
    let database = server.database();
    let mut gateway = Gateway::first(&server, &database, 2, 2);
    let most = gateway.purchase(1, 1, 1, MONEY - 10);
    let (approved, repeated) = ((ResponseCode::APPROVED, false), (ResponseCode::APPROVED, true));
    assert_eq!(under_way(&mut gateway, std::slice::from_ref(&most)), [approved]);
    for round in 0..20 {
        // The same message again, more than is left, and what another payer has.
        let trace = 2 + round * 3;
        let again = [
            most.clone(),
            gateway.purchase(1, trace, 1, 11),
            gateway.purchase(1, trace + 1, 2, 7),
            gateway.purchase(2, trace, 2, 1),
        ];
        let expected = [repeated, (ResponseCode::FUNDS, false), approved, approved];
        assert_eq!(under_way(&mut gateway, &again), expected);
    }
    // A question waits for what is on its way.
    let report = gateway.audit();
    assert_eq!((report.exceptions.as_slice(), report.transactions), (&[][..], 1 + 3 * 20));
    gateway.engine.finish().unwrap();
    gateway.engine.finish().unwrap();
    assert_eq!((gateway.held(1), gateway.held(2)), (MONEY - 10, 8 * 20));
}

#[test]
fn what_was_decided_on_a_commit_that_another_gateway_overtook_is_worth_nothing() {
    let server = Server::start(&[]);
    let database = server.database();
    let mut first = Gateway::first(&server, &database, 2, 2);
    let mut second = Gateway::open(&server, &database, 2);
    let opening = [first.purchase(1, 1, 1, 1), first.purchase(2, 1, 2, 1)];
    first.ask(&opening).unwrap();
    for round in 0..10 {
        // The second gateway changes the terminal's batch, which the first believes to know.
        let trace = 2 + round * 10;
        let elsewhere = second.purchase(1, trace, 2, 1);
        assert_eq!(second.ask(&[elsewhere]).unwrap()[0].code, ResponseCode::APPROVED);
        let (one, two) = (first.purchase(1, trace + 1, 1, 5), first.purchase(2, trace, 2, 5));
        assert_eq!(under_way(&mut first, std::slice::from_ref(&one)), [(ResponseCode::APPROVED, false)]);
        // The same message, and another one of the same payer: both decided on what will not be.
        let next = batch(&[one.clone(), first.purchase(1, trace + 2, 1, 5), two.clone()]);
        let submitted = first.engine.submit(clock().now(), &next).unwrap();
        assert_eq!(submitted, Submitted::BeforeLost(StoreFault::Conflict));
        first.engine.finish().unwrap();
        let repeats: Vec<bool> = [one.clone(), one, two]
            .iter()
            .map(|it| first.ask(std::slice::from_ref(it)).unwrap()[0].repeat)
            .collect();
        assert_eq!(repeats, [false, true, false], "nothing of it was kept");
    }
    assert_eq!((first.held(1), first.held(2)), (1 + 5 * 10, 1 + 6 * 10));
    assert_eq!(first.audit().exceptions, []);
}

#[test]
fn what_a_decision_did_not_find_must_not_be_there_later() {
    let server = Server::start(&[]);
    let database = server.database();
    let mut first = Gateway::first(&server, &database, 1, 1);
    let mut second = server.store(&database, 2);
    let next = Key::Hold(first.engine.store().heads().transfer);
    second.begin().unwrap();
    assert_eq!(second.get(&next), Ok(None));
    let buy = first.purchase(1, 1, 1, 1);
    first.ask(&[buy]).unwrap();
    let holds = second.scan(Scan::Holds, &mut |_| ControlFlow::Continue(()));
    assert_eq!(holds, Err(StoreFault::Conflict));
    second.begin().unwrap();
    assert!(matches!(second.get(&next), Ok(Some(Record::Hold(_)))));
    second.scan(Scan::Holds, &mut |_| ControlFlow::Continue(())).unwrap();
}

#[test]
fn a_failure_is_told_even_if_something_else_met_it_first() {
    let server = Server::start(&[]);
    let database = server.database();
    let mut first = Gateway::first(&server, &database, 1, 1);
    let mut second = Gateway::open(&server, &database, 2);
    for (trace, gateway) in [(1, &mut first), (2, &mut second)] {
        let buy = gateway.purchase(1, trace, 1, 1);
        gateway.ask(&[buy]).unwrap();
    }
    let buy = first.purchase(1, 3, 1, 5);
    under_way(&mut first, std::slice::from_ref(&buy));
    // The audit waits for it, and reads what is there; a batch is not decided over an untold failure.
    assert_eq!(first.audit().transactions, 2);
    assert_eq!(first.ask(std::slice::from_ref(&buy)), Err(StoreFault::Conflict));
    assert_eq!(first.engine.finish(), Err(StoreFault::Conflict));
    assert!(!first.ask(&[buy]).unwrap()[0].repeat);
    assert_eq!(first.held(1), 7);
}

#[test]
fn a_commit_on_its_way_through_a_crash_of_the_server_is_kept_or_not_and_the_store_says_which() {
    let server = Server::start(&[]);
    let database = server.database();
    let mut gateway = Gateway::first(&server, &database, 1, 4);
    let (mut held, mut fates) = (0, [0, 0]);
    for round in 0..6u32 {
        let requests: Vec<HostRequest> =
            (1..=50).map(|n| gateway.purchase(1, round * 50 + n, 1 + n % 4, 3)).collect();
        under_way(&mut gateway, &requests);
        if round % 2 == 0 {
            std::thread::sleep(Duration::from_millis(u64::from(round)));
        }
        server.stop(if round % 3 == 0 { Stop::Kill } else { Stop::Immediate });
        server.resume();
        let told = gateway.engine.finish();
        let answers = gateway.ask_on(&requests);
        let kept = answers[0].repeat;
        let same = |answer: &HostAnswer| answer.code.is_approved() && answer.repeat == kept;
        assert!(answers.iter().all(same), "round {round}: all or none");
        match told {
            Ok(()) => assert!(kept, "round {round}: it was said to be kept"),
            Err(StoreFault::Conflict) => assert!(!kept, "round {round}: it was said to be lost"),
            // The server took longer than the store waits: nobody could know.
            Err(StoreFault::InDoubt(_)) => {}
            Err(fault) => panic!("{fault}"),
        }
        fates[usize::from(kept)] += 1;
        held += 150;
    }
    assert_eq!((1..=4).map(|payer| gateway.held(payer)).sum::<u64>(), held, "{fates:?}");
    assert_eq!(gateway.audit().exceptions, []);
}

/// How soon a server that was stopped takes commits again.
const REACHED_WITHIN: Duration = Duration::from_secs(60);

/// A terminal at one gateway: pays, and repeats what was not answered, until it is told to stop.
fn work(mut gateway: Gateway, terminal: u32, stop: &AtomicBool) -> (Gateway, HashMap<u32, HostAnswer>, u32) {
    let (mut told, mut refusals, mut trace) = (HashMap::new(), 0, 0);
    let mut answered = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let requests: Vec<HostRequest> =
            (1..=20).map(|n| gateway.purchase(terminal, trace + n, 1 + (trace + n) % 10, 7)).collect();
        loop {
            match gateway.ask(&requests) {
                Ok(answers) => {
                    for (n, answer) in (1..).zip(answers) {
                        assert_eq!(answer.code, ResponseCode::APPROVED);
                        told.insert(trace + n, answer);
                    }
                    answered = Instant::now();
                    break;
                }
                Err(
                    fault @ (StoreFault::Away(_)
                    | StoreFault::InDoubt(_)
                    | StoreFault::InUse
                    | StoreFault::Conflict),
                ) => {
                    assert!(answered.elapsed() < REACHED_WITHIN, "no answer for long: {fault}");
                    refusals += 1;
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(fault) => panic!("{fault}"),
            }
        }
        trace += 20;
    }
    (gateway, told, refusals)
}

#[test]
fn a_server_that_stops_crashes_and_is_killed_under_load_loses_and_doubles_nothing() {
    let server = Server::start(&[]);
    let database = server.database();
    let first = Gateway::first(&server, &database, 2, 10);
    let second = Gateway::open(&server, &database, 2);
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = [(first, 1), (second, 2)]
        .into_iter()
        .map(|(gateway, terminal)| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || work(gateway, terminal, &stop))
        })
        .collect();
    for how in [Stop::Fast, Stop::Immediate, Stop::Kill, Stop::Immediate, Stop::Fast, Stop::Kill] {
        std::thread::sleep(Duration::from_millis(700));
        server.stop(how);
        std::thread::sleep(Duration::from_millis(100));
        server.resume();
    }
    std::thread::sleep(Duration::from_millis(700));
    stop.store(true, Ordering::Relaxed);
    let mut all: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let told: usize = all.iter().map(|(_, told, _)| told.len()).sum();
    assert!(told > 200, "only {told} were answered");
    let held: u64 = (1..=10).map(|payer| all[0].0.held(payer)).sum();
    assert_eq!(held, told as u64 * 7, "every answer is in the books once, and nothing else");
    let report = all[0].0.audit();
    assert_eq!((report.exceptions.as_slice(), report.transactions), (&[][..], told as u64));
    // A repeat is answered as before, by the other gateway too.
    let (trace, before) = all[0].1.iter().next().map(|(trace, answer)| (*trace, answer.clone())).unwrap();
    let again = all[0].0.purchase(1, trace, 1 + trace % 10, 7);
    let again = all[1].0.ask(&[again]).unwrap().remove(0);
    assert_eq!(again, HostAnswer { repeat: true, ..HostAnswer { repeat: true, ..before } });
}

#[test]
fn while_the_server_is_away_requests_are_refused_in_time_and_taken_again_afterwards() {
    let server = Server::start(&[]);
    let database = server.database();
    let mut gateway = Gateway::first(&server, &database, 1, 1);
    server.stop(Stop::Fast);
    let request = gateway.purchase(1, 1, 1, 5);
    let began = Instant::now();
    assert!(matches!(gateway.ask(std::slice::from_ref(&request)), Err(StoreFault::Away(_))));
    let (first, began) = (began.elapsed(), Instant::now());
    assert!(matches!(gateway.ask(std::slice::from_ref(&request)), Err(StoreFault::Away(_))));
    assert!(began.elapsed() < first, "the second does not wait again");
    server.resume();
    let answer = gateway.ask_on(&[request]).remove(0);
    assert_eq!((answer.code, answer.repeat), (ResponseCode::APPROVED, false));
    assert_eq!(gateway.held(1), 5);
}

#[test]
fn psql_reads_balances_and_neither_the_gateways_role_nor_the_owner_changes_postings() {
    let server = Server::start(&[]);
    let database = server.database();
    let mut gateway = Gateway::first(&server, &database, 1, 1);
    let buy = gateway.purchase(1, 1, 1, 123);
    gateway.ask(&[buy]).unwrap();
    let balance =
        "SELECT credits_posted - debits_posted - debits_pending FROM tapline.accounts WHERE flags = 1";
    let output = server.psql(SERVICE, &database, balance);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), (MONEY - 123).to_string());
    for sql in [
        "UPDATE tapline.transfers SET amount = 1",
        "DELETE FROM tapline.transfers",
        "TRUNCATE tapline.transfers CASCADE",
        "UPDATE tapline.links SET hash = ''",
        "DELETE FROM tapline.links",
        "UPDATE tapline.transactions SET amount = 1",
        "UPDATE tapline.transactions SET code = '05'",
        "DELETE FROM tapline.transactions",
        "DELETE FROM tapline.claims",
    ] {
        for role in [SERVICE, OWNER] {
            let output = server.psql(role, &database, sql);
            assert!(!output.status.success(), "{role} may {sql}");
        }
    }
    for sql in [
        "DELETE FROM tapline.accounts",
        "UPDATE tapline.accounts SET currency = 1",
        "DELETE FROM tapline.holds",
        "UPDATE tapline.schema SET version = 2",
        "CREATE TABLE tapline.mine (a int)",
        "ALTER TABLE tapline.transfers DISABLE TRIGGER ALL",
        "DROP TABLE tapline.transfers",
    ] {
        let output = server.psql(SERVICE, &database, sql);
        assert!(!output.status.success(), "{SERVICE} may {sql}");
    }
    // Whatever a program believes, the database itself keeps a payer's limit.
    let overdraw = "UPDATE tapline.accounts SET debits_posted = credits_posted + 1 WHERE flags = 1";
    let output = server.psql(SERVICE, &database, overdraw);
    assert!(String::from_utf8_lossy(&output.stderr).contains("check constraint"));
    assert_eq!(gateway.audit().exceptions, []);
}

#[test]
fn a_change_behind_the_gateways_backs_is_found_by_the_audit() {
    let server = Server::start(&[]);
    let database = server.database();
    let mut gateway = Gateway::first(&server, &database, 1, 1);
    let mut second = Gateway::open(&server, &database, 2);
    for (trace, gateway) in [(1, &mut gateway), (2, &mut second)] {
        let buy = gateway.purchase(1, trace, 1, 123);
        gateway.ask(&[buy]).unwrap();
    }
    assert_eq!(gateway.audit().exceptions, []);
    server.sql(
        &database,
        "ALTER TABLE tapline.transfers DISABLE TRIGGER ALL; UPDATE tapline.transfers SET amount = 124 WHERE seq > 1::bigint << 49",
    );
    let found = format!("{:?}", gateway.audit().exceptions);
    assert!(found.contains("BrokenLink(CommitNo(562949953421313))"), "{found}");
    assert!(found.contains("Balance"), "{found}");
}

#[test]
fn every_table_has_its_distribution_key_in_its_primary_key() {
    let server = Server::start(&[]);
    let database = server.database();
    let tables = server.sql(
        &database,
        "SELECT c.relname, split_part(split_part(obj_description(c.oid), 'distribution: ', 2), ' ', 1),
                (SELECT string_agg(a.attname, ',') FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
                 WHERE i.indrelid = c.oid AND i.indisprimary)
         FROM pg_class c WHERE c.relnamespace = 'tapline'::regnamespace AND c.relkind = 'r' ORDER BY 1",
    );
    assert!(tables.lines().count() > 20, "{tables}");
    for line in tables.lines() {
        let columns: Vec<&str> = line.split('|').collect();
        let [table, distribution, key] = columns.as_slice() else { panic!("{line}") };
        let is_reference = *distribution == "reference" && *table != "arrivals";
        assert!(is_reference || key.split(',').any(|column| column == *distribution), "{line}");
    }
}

#[test]
fn other_schemas_are_refused_until_their_owner_brings_them_forward() {
    let server = Server::start(&[]);
    let empty = server.empty();
    let options = server.options(&empty, 1);
    let older = |found| Some(StoreFault::Older { found, known: 2 });
    assert_eq!(PostgresStore::open(options.clone()).err(), older(0));
    prepare(&server.address(OWNER, &empty), &options).unwrap();
    prepare(&server.address(OWNER, &empty), &options).expect("again does nothing");
    assert_eq!(PostgresStore::open(options.clone()).map(|_| ()), Ok(()));
    server.sql(&empty, "UPDATE tapline.schema SET version = 3");
    let newer = Some(StoreFault::Newer { found: 3, known: 2 });
    assert_eq!(PostgresStore::open(options.clone()).err(), newer);
    assert_eq!(prepare(&server.address(OWNER, &empty), &options).err(), newer);
}

#[test]
fn a_ledger_of_schema_1_opens_and_proves_itself() {
    let server = Server::start(&[]);
    let database = server.empty();
    let dump = include_str!("../../posp-gateway/backend/src/store/postgres/fixtures/schema-1.sql");
    let loaded = server.psql(OWNER, &database, dump);
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    assert_eq!(server.sql(&database, "SELECT version FROM tapline.schema"), "1");
    prepare(&server.address(OWNER, &database), &server.options(&database, 1)).unwrap();
    assert_eq!(server.sql(&database, "SELECT version FROM tapline.schema"), "2");
    let mut gateway = Gateway::open(&server, &database, 1);
    let report = gateway.audit();
    assert_eq!((report.exceptions.as_slice(), report.transactions), (&[][..], 2));
    let (bought, new) = (gateway.purchase(1, 1, 1, 123), gateway.purchase(1, 3, 1, 1));
    let answers = gateway.ask(&[bought, new]).unwrap();
    assert_eq!(answers.iter().map(|answer| answer.repeat).collect::<Vec<_>>(), [true, false]);
    assert_eq!(gateway.audit().exceptions, []);
}

#[test]
fn a_server_that_does_not_let_us_in_is_told_apart_from_one_that_is_away() {
    let server = Server::start(&["-c", "max_connections=8"]);
    let database = server.database();
    let over_tcp = |database: &str, password: &str| {
        let address = Address::parse(&server.tcp_url(SERVICE, database)).unwrap();
        let address = address.with_password(password.as_bytes());
        Options { address, wait: Duration::from_millis(300), ..server.options(database, 1) }
    };
    assert_eq!(PostgresStore::open(over_tcp(&database, PASSWORD)).map(|_| ()), Ok(()));
    let refused = |options| match PostgresStore::open(options) {
        Err(StoreFault::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    let why = refused(over_tcp(&database, "hunter2"));
    assert!(why.contains("password authentication failed") && !why.contains("hunter2"), "{why}");
    assert!(refused(over_tcp("nothing", PASSWORD)).contains("\"nothing\" does not exist"));

    let first = server.store(&database, 1);
    assert_eq!(PostgresStore::open(over_tcp(&database, PASSWORD)).err(), Some(StoreFault::InUse));
    drop(first);

    let others: Vec<_> = (10..20)
        .map_while(|number| {
            let wait = Duration::from_millis(10);
            PostgresStore::open(Options { wait, ..server.options(&database, number) }).ok()
        })
        .collect();
    assert!(others.len() >= 4, "{} sessions", others.len());
    match PostgresStore::open(over_tcp(&database, PASSWORD)) {
        Err(StoreFault::Away(why)) => assert!(why.contains("max_connections"), "{why}"),
        other => panic!("{other:?}"),
    }
    drop(others);

    let mut gateway = Gateway::first(&server, &database, 1, 1);
    server.sql(&database, &format!("ALTER DATABASE {database} SET default_transaction_read_only = on"));
    server.stop(Stop::Fast);
    server.resume();
    let request = gateway.purchase(1, 1, 1, 5);
    assert!(
        matches!(gateway.ask(std::slice::from_ref(&request)), Err(StoreFault::Away(_))),
        "as a standby would"
    );
    server.sql("postgres", &format!("ALTER DATABASE {database} SET default_transaction_read_only = off"));
    let answer = gateway.ask_on(&[request]).remove(0);
    assert_eq!((answer.code, answer.body), (ResponseCode::APPROVED, AnswerBody::None));
}

#[test]
fn a_copy_of_a_shared_ledger_opens_in_the_embedded_store_and_proves_itself() {
    let server = Server::start(&[]);
    let database = server.database();
    let mut gateway = Gateway::first(&server, &database, 1, 1);
    let mut second = Gateway::open(&server, &database, 2);
    for (trace, gateway) in [(1, &mut gateway), (2, &mut second)] {
        let buy = gateway.purchase(1, trace, 1, 123);
        gateway.ask(&[buy]).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy");
    gateway.engine.store().copy_to(&file).unwrap();
    let shared: Arc<dyn KeyModule> = keys();
    let mut copy = Engine::new(backend::store::sqlite::SqliteStore::open(&file).unwrap(), shared);
    let Report::Audit(report) = copy.query(&Query::Audit).unwrap() else { panic!("an audit") };
    assert_eq!((report.exceptions.as_slice(), report.transactions), (&[][..], 2));
    assert_eq!(report.heads, gateway.audit().heads);
}
