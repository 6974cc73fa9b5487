//! Every record of a kind after a key, in the order of keys: how audit, backup and restore go through a store of any size.

use super::read::{
    Columns, HOLD, account, alert, all, batch, card, claim, hold, issuer, link_of, load, offline, resolution,
    transaction, transfer,
};
use super::registered::{arrival, merchant, payer, registry, sam, terminal, upload};
use super::write::{id, int, text};
use super::{codec, limits};
use crate::store::{CardId, Key, Kind, Record, StoreFault, Visit};
use protocol::ids::SamTerminal;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::ops::ControlFlow;

/// The columns of a key, in the order of the table's primary key.
fn columns(key: &Key) -> Vec<Value> {
    let number = |value: u64| Value::Integer(int(value));
    let bytes = |value: &[u8]| Value::Blob(value.to_vec());
    let words = |value: &[u8]| Value::Text(text(value).to_owned());
    let card = |of: &CardId, counter: u16| {
        vec![bytes(&of.issuer.0), bytes(&of.asn.0), Value::Integer(i64::from(counter))]
    };
    match key {
        Key::Account(of) => vec![bytes(&id(*of))],
        Key::Transfer(seq) | Key::Hold(seq) => vec![number(seq.0)],
        Key::Transaction(seq) => vec![number(seq.0)],
        Key::Batch(terminal, batch) => vec![words(&terminal.to_bytes()), number(u64::from(batch.0))],
        Key::Upload(terminal, batch, item) => {
            let item = Value::Blob(codec::key_bytes(item));
            vec![words(&terminal.to_bytes()), number(u64::from(batch.0)), item]
        }
        Key::Issuer(issuer) => vec![bytes(&issuer.0)],
        Key::Merchant(merchant) => vec![words(&merchant.to_bytes())],
        Key::Terminal(terminal) => vec![words(&terminal.to_bytes())],
        Key::Sam(sam) => vec![bytes(&sam.0)],
        Key::Payer(token) => vec![bytes(&token.0)],
        Key::Arrival(reference) => vec![Value::Integer(reference.cast_signed())],
        Key::Card(of) => vec![bytes(&of.issuer.0), bytes(&of.asn.0)],
        Key::Load(of, counter) => card(of, counter.0),
        Key::Claim(of, counter) | Key::Resolution(of, counter) => card(of, counter.0),
        Key::Record(sam, seq) => vec![bytes(&sam.0), number(u64::from(seq.0))],
        Key::Limit(scope) => vec![Value::Blob(limits::scope_bytes(*scope))],
        Key::Usage(of) => vec![Value::Blob(limits::of_bytes(*of))],
        Key::Shares(merchant) => vec![words(&merchant.to_bytes())],
        Key::Alert(alert) => vec![number(alert.0)],
        Key::Link(link) => vec![number(link.0)],
        Key::Registry | Key::Identity(_) => Vec::new(),
    }
}

/// Where a kind is kept: what to select, and the columns of its key.
const fn place(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Registry => ("SELECT issuers, merchants, deny FROM registry", "one"),
        Kind::Issuer => ("SELECT * FROM issuers", "id"),
        Kind::Merchant => ("SELECT * FROM merchants", "id"),
        Kind::Terminal => ("SELECT * FROM terminals", "id"),
        Kind::Sam => ("SELECT DISTINCT number FROM sams", "number"),
        Kind::Payer => ("SELECT * FROM payers", "token"),
        Kind::Account => ("SELECT * FROM accounts", "id"),
        Kind::Transfer => ("SELECT * FROM transfers", "seq"),
        Kind::Hold => (HOLD, "h.seq"),
        Kind::Arrival => ("SELECT * FROM arrivals", "reference"),
        Kind::Batch => ("SELECT * FROM batches", "terminal, number"),
        Kind::Transaction => ("SELECT * FROM transactions", "seq"),
        Kind::Upload => ("SELECT terminal, number, item FROM uploads", "terminal, number, key"),
        Kind::Card => ("SELECT * FROM cards", "issuer, asn"),
        Kind::Load => ("SELECT * FROM loads", "issuer, asn, counter"),
        Kind::Record => {
            ("SELECT content, standing, merchant, txn, transfer, received FROM records", "sam, term_seq")
        }
        Kind::Claim => ("SELECT * FROM claims", "issuer, asn, counter"),
        Kind::Resolution => ("SELECT * FROM resolutions", "issuer, asn, counter"),
        Kind::Limit => ("SELECT * FROM limits", "scope"),
        Kind::Usage => {
            ("SELECT of, day, since, used_minor, used_count, left_minor, left_count FROM usages", "of")
        }
        Kind::Shares => ("SELECT * FROM shares", "merchant"),
        Kind::Alert => ("SELECT * FROM alerts", "number"),
        Kind::Link => ("SELECT * FROM links", "number"),
    }
}

fn read(kind: Kind, c: &mut Columns<'_, '_>) -> Option<Record> {
    match kind {
        Kind::Registry => registry(c).map(Record::Registry),
        Kind::Issuer => issuer(c).map(Record::Issuer),
        Kind::Merchant => merchant(c),
        Kind::Terminal => terminal(c),
        // Only its number: a SAM's places are several rows.
        Kind::Sam => None,
        Kind::Payer => payer(c),
        Kind::Account => account(c).map(Record::Account),
        Kind::Transfer => transfer(c).map(Record::Transfer),
        Kind::Hold => hold(c).map(Record::Hold),
        Kind::Arrival => arrival(c),
        Kind::Batch => batch(c).map(|it| Record::Batch(Box::new(it))),
        Kind::Transaction => transaction(c).map(|it| Record::Transaction(Box::new(it))),
        Kind::Upload => upload(c),
        Kind::Card => card(c).map(Record::Card),
        Kind::Load => load(c).map(Record::Load),
        Kind::Record => offline(c).map(|it| Record::Record(Box::new(it))),
        Kind::Claim => claim(c),
        Kind::Resolution => resolution(c),
        Kind::Limit => limits::limit(c),
        Kind::Usage => limits::usage_row(c),
        Kind::Shares => limits::shares_row(c),
        Kind::Alert => alert(c),
        Kind::Link => link_of(c).map(Record::Link),
    }
}

/// Goes through the records of a kind whose key is greater than `key`, in the order of keys.
pub(super) fn after(
    connection: &Connection,
    kind: Kind,
    key: Option<&Key>,
    visit: Visit<'_>,
) -> Result<(), StoreFault> {
    if kind == Kind::Registry && key.is_some() {
        return Ok(());
    }
    let (select, order) = place(kind);
    let from = match (kind, key) {
        (_, Some(key)) => columns(key),
        // Numbers begin with 1: a row below was not written by us, and the audit misses the one that it was.
        (Kind::Transfer | Kind::Hold | Kind::Transaction | Kind::Alert | Kind::Link, None) => {
            vec![Value::Integer(0)]
        }
        (_, None) => Vec::new(),
    };
    // A row of marks, one per column: the comparison of rows follows the primary key.
    let marks = vec!["?"; from.len()].join(", ");
    let only = if from.is_empty() { String::new() } else { format!("WHERE ({order}) > ({marks})") };
    let sql = format!("{select} {only} ORDER BY {order}");
    if kind == Kind::Sam {
        return sams(connection, &sql, from, visit);
    }
    all(connection, &sql, params_from_iter(from), "a table", |c| read(kind, c), visit)
}

fn sams(connection: &Connection, sql: &str, from: Vec<Value>, visit: Visit<'_>) -> Result<(), StoreFault> {
    let fault = |error| super::fault(&error);
    let mut statement = connection.prepare_cached(sql).map_err(fault)?;
    let mut rows = statement.query(params_from_iter(from)).map_err(fault)?;
    while let Some(row) = rows.next().map_err(fault)? {
        let number: [u8; 6] = row.get(0).map_err(|_| StoreFault::Damaged { what: "sams" })?;
        let found = sam(connection, SamTerminal(number))?;
        if let Some(record) = found
            && visit(record) == ControlFlow::Break(())
        {
            break;
        }
    }
    Ok(())
}
