//! The records that operators make: rows into records.

use super::codec;
use super::read::{Columns, damaged, issuer, one};
use crate::accounts::TransferSeq;
use crate::accounts::chart::MerchantNumber;
use crate::api::{AcquirerId, PayerToken};
use crate::store::{DenyVersion, Key, Merchant, Record, Registry, Sam, StoreFault, Terminal};
use protocol::ids::{BatchNo, MerchantId, SamTerminal, TerminalId};
use rusqlite::{Connection, params};

pub(in crate::store) fn registry(c: &mut Columns<'_, '_>) -> Option<Registry> {
    Some(Registry { issuers: c.int()?, merchants: c.int()?, deny: DenyVersion(c.int()?) })
}

pub(in crate::store) fn merchant(c: &mut Columns<'_, '_>) -> Option<Record> {
    let (id, number) = (c.merchant()?, MerchantNumber(c.int()?));
    let (name, currency) = (c.text()?.to_owned(), c.currency()?);
    Some(Record::Merchant(Merchant { id, number, name, currency }))
}

pub(in crate::store) fn terminal(c: &mut Columns<'_, '_>) -> Option<Record> {
    let (id, merchant, acquirer) = (c.terminal()?, c.merchant()?, AcquirerId(c.int()?));
    let (open, newest) = (c.some_int()?.map(BatchNo), BatchNo(c.int()?));
    Some(Record::Terminal(Terminal { id, merchant, acquirer, open, newest }))
}

pub(in crate::store) fn payer(c: &mut Columns<'_, '_>) -> Option<Record> {
    Some(Record::Payer(PayerToken(c.array()?), c.account()?))
}

pub(in crate::store) fn arrival(c: &mut Columns<'_, '_>) -> Option<Record> {
    let reference: i64 = c.int()?;
    Some(Record::Arrival(reference.cast_unsigned(), TransferSeq(c.int()?)))
}

pub(in crate::store) fn upload(c: &mut Columns<'_, '_>) -> Option<Record> {
    let (terminal, number) = (c.terminal()?, BatchNo(c.int()?));
    Some(Record::Upload(terminal, number, codec::item(c.bytes()?)?))
}

pub(super) fn sam(connection: &Connection, number: SamTerminal) -> Result<Option<Record>, StoreFault> {
    let sql = "SELECT since, terminal, merchant FROM sams WHERE number = ?1 ORDER BY since";
    let mut statement = connection.prepare_cached(sql).map_err(|error| super::fault(&error))?;
    let mut rows = statement.query([number.0]).map_err(|error| super::fault(&error))?;
    let mut assignments = Vec::new();
    while let Some(row) = rows.next().map_err(|error| super::fault(&error))? {
        let mut c = Columns::new(row);
        let mut read = || {
            let since = c.moment()?;
            let place = match (c.some_text()?, c.some_text()?) {
                (Some(terminal), Some(merchant)) => {
                    Some((TerminalId::from_text(terminal)?, MerchantId::from_text(merchant)?))
                }
                _ => None,
            };
            Some((since, place))
        };
        assignments.push(read().ok_or(damaged("sams"))?);
    }
    Ok((!assignments.is_empty()).then_some(Record::Sam(Sam { number, assignments })))
}

/// The records that operators make.
pub(super) fn get(connection: &Connection, key: &Key) -> Result<Option<Record>, StoreFault> {
    use super::write::text;
    match key {
        Key::Upload(terminal, number, item) => {
            let sql = "SELECT item FROM uploads WHERE terminal = ?1 AND number = ?2 AND key = ?3";
            let bytes = terminal.to_bytes();
            let params = params![text(&bytes), number.0, codec::key_bytes(item)];
            let read = |c: &mut Columns<'_, '_>| {
                codec::item(c.bytes()?).map(|item| Record::Upload(*terminal, *number, item))
            };
            one(connection, sql, params, "uploads", read)
        }
        Key::Issuer(of) => {
            let sql = "SELECT * FROM issuers WHERE id = ?1";
            one(connection, sql, [of.0], "issuers", |c| issuer(c).map(Record::Issuer))
        }
        Key::Merchant(of) => {
            let sql = "SELECT * FROM merchants WHERE id = ?1";
            one(connection, sql, [text(&of.to_bytes())], "merchants", merchant)
        }
        Key::Terminal(of) => {
            let sql = "SELECT * FROM terminals WHERE id = ?1";
            one(connection, sql, [text(&of.to_bytes())], "terminals", terminal)
        }
        Key::Sam(number) => sam(connection, *number),
        Key::Payer(token) => {
            let sql = "SELECT token, account FROM payers WHERE token = ?1";
            one(connection, sql, [token.0], "payers", payer)
        }
        Key::Arrival(reference) => {
            let sql = "SELECT reference, transfer FROM arrivals WHERE reference = ?1";
            one(connection, sql, [reference.cast_signed()], "arrivals", arrival)
        }
        Key::Registry => {
            one(connection, "SELECT issuers, merchants, deny FROM registry", [], "registry", |c| {
                Some(Record::Registry(registry(c)?))
            })
        }
        _ => Ok(None),
    }
}
