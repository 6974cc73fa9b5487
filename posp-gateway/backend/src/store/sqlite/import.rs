//! Taking in a copy of a ledger, record by record, as it was: no commit of our own, no link, no check but those of the tables.
//!
//! A store that takes in is of no use before it is opened again, which reads everything that is derived.

use super::{sql, write};
use crate::accounts::TransferSeq;
use crate::store::{Record, StoreFault};
use rusqlite::{Connection, params};

/// Writes records, all or none.
pub(super) fn put(connection: &mut Connection, records: &[Record]) -> Result<(), StoreFault> {
    let transaction = sql(connection.transaction())?;
    for record in records {
        match record {
            // Up to which transfer it counts is known when all transfers are there.
            Record::Account(account) => sql(write::put_account(&transaction, account, TransferSeq(0)))?,
            other => write::put(&transaction, other)?,
        }
    }
    sql(transaction.commit())
}

/// Makes what is derived: up to where the accounts count, and the index of closed batches.
pub(super) fn done(connection: &mut Connection) -> Result<(), StoreFault> {
    let transaction = sql(connection.transaction())?;
    let newest: i64 =
        sql(transaction.query_row("SELECT coalesce(max(seq), 0) FROM transfers", [], |row| row.get(0)))?;
    sql(transaction.execute("UPDATE accounts SET through = ?1", params![newest]))?;
    sql(
        transaction.execute("UPDATE accounts_behind SET replay_from = ?1", params![newest.saturating_add(1)])
    )?;
    sql(transaction.execute(
        "INSERT INTO batch_items SELECT t.terminal, t.batch, t.trace, t.seq FROM transactions t
         JOIN batches b ON b.terminal = t.terminal AND b.number = t.batch WHERE b.state = 2
         ON CONFLICT DO NOTHING",
        [],
    ))?;
    sql(transaction.commit())
}
