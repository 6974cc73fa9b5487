//! Scans: records in ascending order, row by row, until the visitor breaks.

use super::codec;
use super::read::{
    Columns, HOLD, TRANSFER, account, alert, all, card, claim, hold, issuer, link_of, load, offline,
    transaction, transfer,
};
use super::write::int;
use crate::store::{Record, StoreFault};
use rusqlite::{Connection, params};

/// Goes through records in ascending order.
pub(super) fn scan(
    connection: &Connection,
    scan: crate::store::Scan,
    visit: crate::store::Visit<'_>,
) -> Result<(), StoreFault> {
    use crate::store::Scan;
    let boxed_record = |c: &mut Columns<'_, '_>| offline(c).map(|it| Record::Record(Box::new(it)));
    match scan {
        Scan::Transfers(from) => {
            let sql = format!("SELECT {TRANSFER} FROM transfers WHERE seq >= ?1 ORDER BY seq");
            all(connection, &sql, [int(from.0)], "transfers", |c| transfer(c).map(Record::Transfer), visit)
        }
        Scan::Transactions(from, to) => {
            let sql = "SELECT * FROM transactions WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq";
            let to = i64::try_from(to.0).unwrap_or(i64::MAX);
            let read = |c: &mut Columns<'_, '_>| transaction(c).map(|it| Record::Transaction(Box::new(it)));
            all(connection, sql, [int(from.0), to], "transactions", read, visit)
        }
        Scan::OfBatch(terminal, number) => {
            let sql = "SELECT t.* FROM batch_items i JOIN transactions t ON t.seq = i.seq
                       WHERE i.terminal = ?1 AND i.number = ?2 ORDER BY i.seq";
            let bytes = terminal.to_bytes();
            let read = |c: &mut Columns<'_, '_>| transaction(c).map(|it| Record::Transaction(Box::new(it)));
            all(connection, sql, params![super::write::text(&bytes), number.0], "transactions", read, visit)
        }
        Scan::Links(from) => {
            let sql = "SELECT * FROM links WHERE number >= ?1 ORDER BY number";
            all(connection, sql, [int(from.0)], "links", |c| link_of(c).map(Record::Link), visit)
        }
        Scan::Accounts => {
            let sql = "SELECT * FROM accounts ORDER BY id";
            all(connection, sql, [], "accounts", |c| account(c).map(Record::Account), visit)
        }
        Scan::Holds => {
            let sql = format!("{HOLD} ORDER BY h.seq");
            all(connection, &sql, [], "holds", |c| hold(c).map(Record::Hold), visit)
        }
        Scan::Issuers => {
            let sql = "SELECT * FROM issuers ORDER BY id";
            all(connection, sql, [], "issuers", |c| issuer(c).map(Record::Issuer), visit)
        }
        Scan::Cards => {
            let sql = "SELECT * FROM cards ORDER BY issuer, asn";
            all(connection, sql, [], "cards", |c| card(c).map(Record::Card), visit)
        }
        Scan::Records => {
            let sql = "SELECT content, standing, merchant, txn, transfer, received
                       FROM records ORDER BY sam, term_seq";
            all(connection, sql, [], "records", boxed_record, visit)
        }
        Scan::OpenRecords => {
            let sql = "SELECT content, standing, merchant, txn, transfer, received
                       FROM records WHERE standing IN (2, 3, 8) ORDER BY sam, term_seq";
            all(connection, sql, [], "records", boxed_record, visit)
        }
        Scan::Claims => {
            let sql = "SELECT * FROM claims ORDER BY issuer, asn, counter";
            all(connection, sql, [], "claims", claim, visit)
        }
        Scan::Loads => {
            let sql = "SELECT * FROM loads ORDER BY issuer, asn, counter";
            all(connection, sql, [], "loads", |c| load(c).map(Record::Load), visit)
        }
        Scan::Uploads(terminal, number) => {
            let sql = "SELECT item FROM uploads WHERE terminal = ?1 AND number = ?2 ORDER BY key";
            let bytes = terminal.to_bytes();
            let params = params![super::write::text(&bytes), number.0];
            let read = |c: &mut Columns<'_, '_>| {
                codec::item(c.bytes()?).map(|item| Record::Upload(terminal, number, item))
            };
            all(connection, sql, params, "uploads", read, visit)
        }
        Scan::DenyList(after) => {
            let sql =
                "SELECT * FROM cards WHERE deny_version > ?1 AND deny_version > 0 ORDER BY deny_version";
            all(connection, sql, [after.0], "cards", |c| card(c).map(Record::Card), visit)
        }
        Scan::Gaps(before) => {
            let sql = "SELECT * FROM cards WHERE gap_since IS NOT NULL AND gap_since < ?1
                       ORDER BY gap_since, issuer, asn";
            all(connection, sql, [before.0], "cards", |c| card(c).map(Record::Card), visit)
        }
        Scan::After(kind, key) => super::pages::after(connection, kind, key.as_ref(), visit),
        Scan::Alerts => {
            all(connection, "SELECT * FROM alerts ORDER BY number DESC", [], "alerts", alert, visit)
        }
    }
}
