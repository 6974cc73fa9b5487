//! Commits that wait for a standby: one whose standby is away is in doubt until it is back, and nobody is told that it was kept, or that it was not. What was
//! answered is on the standby when it takes over; a database that has lost answered commits is refused.
#![cfg(test)]

use backend::api::{Backend, Request};
use backend::store::StoreFault;
use backend::store::postgres::{Address, Options, PostgresStore};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tests::acquirer::clock;
use tests::postgres::{Gateway, SERVICE, Server, Stop};

/// Commits wait for a standby of this name, or (empty) for none.
fn wait_for(server: &Server, standby: &str) {
    let set = |name: &str| {
        server.sql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"));
        server.sql("postgres", "SELECT pg_reload_conf()");
    };
    if standby.is_empty() {
        return set(standby);
    }
    // The server's processes hear of it one by one; it is so once a commit waits for somebody who is not there.
    set("nobody");
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.sql("postgres", WAITING) == "0" {
        assert!(Instant::now() < deadline, "no commit waits");
        let mut probe = server.psql_command("postgres", "postgres");
        probe
            .args(["--command", "SELECT pg_logical_emit_message(true, 'tapline', '')"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut probe = probe.spawn().unwrap();
        let settled = Instant::now() + Duration::from_secs(1);
        while probe.try_wait().unwrap().is_none() {
            if server.sql("postgres", WAITING) != "0" || Instant::now() > settled {
                break;
            }
        }
        if server.sql("postgres", WAITING) != "0" {
            set(standby);
            server.sql("postgres", CUT_SHORT);
            probe.wait().unwrap();
            return;
        }
        probe.wait().unwrap();
    }
}

#[test]
fn a_commit_that_waits_for_its_standby_is_in_doubt_and_so_is_everything_until_it_is_known() {
    let server = Server::start(&[]);
    let database = server.database();
    let options = Options { wait: Duration::from_secs(1), ..server.options(&database, 1) };
    let mut gateway = Gateway::over(PostgresStore::open(options).unwrap()).with(2, 2);
    wait_for(&server, "away");
    let purchase = gateway.purchase(1, 1, 1, 50);

    let in_doubt = |result: Result<_, StoreFault>| matches!(result, Err(StoreFault::InDoubt(_)));
    assert!(in_doubt(gateway.ask(std::slice::from_ref(&purchase))));
    // Its repeat, and what may be one.
    assert!(in_doubt(gateway.ask(std::slice::from_ref(&purchase))));
    let submitted = gateway.engine.submit(clock().now(), &[Request::Host(purchase.clone())]);
    assert!(in_doubt(submitted.map(|_| Vec::new())));

    wait_for(&server, "");
    let answers = gateway.ask_on(&[purchase]);
    assert!(answers[0].code.is_approved());
    assert_eq!(gateway.held(1), 50, "once");
    assert_eq!(gateway.audit().transactions, 1);
}

/// Waits until the server's SQL answers so.
fn until(server: &Server, sql: &str, answer: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.sql("postgres", sql) != answer {
        assert!(Instant::now() < deadline, "{sql}: {}", server.sql("postgres", sql));
        std::thread::sleep(Duration::from_millis(10));
    }
}

const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
/// A person does not want to wait any longer.
const CUT_SHORT: &str = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";

#[test]
fn what_was_answered_is_on_the_standby_that_takes_over() {
    let primary = Server::start(&[]);
    let database = primary.database();
    let standby = primary.standby();
    wait_for(&primary, "*");
    until(&primary, "SELECT sync_state FROM pg_stat_replication", "sync");
    // Whoever says so takes the standby for decoration; a gateway does not.
    primary.sql("postgres", &format!("ALTER ROLE {SERVICE} SET synchronous_commit = local"));
    let (one, two) = (primary.folder.display(), standby.folder.display());
    let ports = (primary.port, standby.port);
    let url =
        format!("postgresql://{SERVICE}@/{database}?host={one}&host={two}&port={},{}", ports.0, ports.1);
    let address = Address::parse(&url).unwrap();
    let options = Options { address, wait: Duration::from_secs(1), ..primary.options(&database, 1) };
    let mut gateway = Gateway::over(PostgresStore::open(options).unwrap()).with(1, 1);
    let mut purchases = vec![gateway.purchase(1, 1, 1, 50)];
    assert!(gateway.ask(&purchases).unwrap()[0].code.is_approved());

    // A commit waits for a standby that is away. Its wait is cut short, by a person or by a crash: the primary has it, the standby has not.
    for (trace, crash) in [(2, false), (3, true)] {
        standby.stop(Stop::Fast);
        let purchase = gateway.purchase(1, trace, 1, 7);
        gateway.engine.submit(clock().now(), &[Request::Host(purchase.clone())]).unwrap();
        until(&primary, WAITING, "1");
        if crash {
            primary.stop(Stop::Immediate);
            primary.resume();
        } else {
            primary.sql("postgres", CUT_SHORT);
        }
        let there = primary.sql(&database, "SELECT count(*) FROM tapline.transactions");
        assert_eq!(there, trace.to_string(), "the primary shows it");
        let told = gateway.engine.finish();
        assert!(matches!(told, Err(StoreFault::InDoubt(_))), "{told:?}");
        standby.resume();
        purchases.push(purchase);
        let answers = gateway.ask_on(&purchases);
        assert!(answers.iter().all(|answer| answer.repeat && answer.code.is_approved()), "{answers:?}");
    }

    primary.stop(Stop::Kill);
    assert_eq!(standby.sql("postgres", "SELECT pg_promote()"), "t");
    let answers = gateway.ask_on(&purchases);
    assert!(answers.iter().all(|answer| answer.repeat && answer.code.is_approved()), "{answers:?}");
    let next = gateway.purchase(1, 4, 1, 100);
    assert!(gateway.ask_on(&[next])[0].code.is_approved());
    assert_eq!(gateway.held(1), 50 + 7 + 7 + 100);
    let audit = gateway.audit();
    assert_eq!((audit.exceptions.as_slice(), audit.transactions), (&[][..], 4));
}

#[test]
fn a_database_that_lost_answered_commits_is_refused_even_if_another_process_went_on_there_under_the_same_number()
 {
    let server = Server::start(&[]);
    let database = server.database();
    let mut gateway = Gateway::first(&server, &database, 1, 1);
    let ended =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'tapline_gateway'";
    let alone = || {
        server.sql("postgres", ended);
        until(&server, &format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'"), "0");
    };
    let purchase = |gateway: &Gateway, trace| gateway.purchase(1, trace, 1, 5);
    let first = purchase(&gateway, 1);
    gateway.ask(&[first]).unwrap();
    alone();
    server.sql("postgres", &format!("CREATE DATABASE behind TEMPLATE {database}"));
    let lost = purchase(&gateway, 2);
    assert!(gateway.ask_on(&[lost])[0].code.is_approved());
    alone();
    server.sql("postgres", &format!("ALTER DATABASE {database} RENAME TO ahead"));
    server.sql("postgres", &format!("ALTER DATABASE behind RENAME TO {database}"));
    let mut other = Gateway::open(&server, &database, 1);
    for trace in 3..6 {
        let another = purchase(&other, trace);
        assert!(other.ask(&[another]).unwrap()[0].code.is_approved());
    }
    drop(other);
    let next = purchase(&gateway, 6);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match gateway.ask(std::slice::from_ref(&next)) {
            Err(StoreFault::Damaged { what }) => break assert!(what.contains("missing"), "{what}"),
            Err(StoreFault::Away(_) | StoreFault::InUse) => assert!(Instant::now() < deadline),
            other => panic!("{other:?}"),
        }
    }
}
