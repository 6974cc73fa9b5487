//! Commits that wait for a standby: one whose standby is away is in doubt until it is back, and nobody is told that it was kept, or that it was not.
#![cfg(test)]

use backend::api::{Backend, Request};
use backend::store::StoreFault;
use backend::store::postgres::{Options, PostgresStore};
use std::time::Duration;
use tests::acquirer::clock;
use tests::postgres::{Gateway, Server};

/// Commits wait for a standby of this name, or (empty) for none.
fn wait_for(server: &Server, standby: &str) {
    server.sql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'"));
    server.sql("postgres", "SELECT pg_reload_conf()");
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
    assert!(in_doubt(gateway.ask(&[purchase.clone()])));
    // Its repeat, and what may be one.
    assert!(in_doubt(gateway.ask(&[purchase.clone()])));
    let submitted = gateway.engine.submit(clock().now(), &[Request::Host(purchase.clone())]);
    assert!(in_doubt(submitted.map(|_| Vec::new())));

    wait_for(&server, "");
    let answers = gateway.ask_on(&[purchase]);
    assert!(answers[0].code.is_approved());
    assert_eq!(gateway.held(1), 50, "once");
    assert_eq!(gateway.audit().transactions, 1);
}
