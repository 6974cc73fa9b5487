//! Limits, and what was used of them.
//!
//! Most accounts, terminals and merchants have no limit, and every payment asks about four of them: so all limits are read when the store
//! opens and remembered whole. This process is the only writer, so what is not there then and was not set since does not exist.

use super::read::{Columns, all, one};
use super::write::{int, run, text};
use crate::accounts::TransactionSeq;
use crate::accounts::chart::FundingKind;
use crate::api::{Limit, LimitScope, Tally};
use crate::store::{Record, Shares, StoreFault, Usage, UsageOf};
use protocol::ids::{MerchantId, TerminalId};
use protocol::time::CardDate;
use rusqlite::{Connection, params};
use std::collections::HashMap;
use std::ops::ControlFlow;

pub(in crate::store) fn scope_bytes(scope: LimitScope) -> Vec<u8> {
    match scope {
        LimitScope::Kind(kind) => [&b"K"[..], &kind.number().to_be_bytes()].concat(),
        LimitScope::Payer(account) => of_bytes(UsageOf::Payer(account)),
        LimitScope::Terminal(terminal) => of_bytes(UsageOf::Terminal(terminal)),
        LimitScope::Merchant(merchant) => [&b"M"[..], &merchant.to_bytes()].concat(),
    }
}

pub(in crate::store) fn of_bytes(of: UsageOf) -> Vec<u8> {
    match of {
        UsageOf::Payer(account) => [&b"P"[..], &super::write::id(account)].concat(),
        UsageOf::Terminal(terminal) => [&b"T"[..], &terminal.to_bytes()].concat(),
    }
}

fn scope(bytes: &[u8]) -> Option<LimitScope> {
    let (letter, rest) = bytes.split_first()?;
    Some(match letter {
        b'K' => LimitScope::Kind(FundingKind::from_number(u16::from_be_bytes(rest.try_into().ok()?))?),
        b'P' => LimitScope::Payer(crate::accounts::AccountId(u128::from_be_bytes(rest.try_into().ok()?))),
        b'T' => LimitScope::Terminal(TerminalId::from_text(core::str::from_utf8(rest).ok()?)?),
        b'M' => LimitScope::Merchant(MerchantId::from_text(core::str::from_utf8(rest).ok()?)?),
        _ => return None,
    })
}

pub(in crate::store) fn limit(c: &mut Columns<'_, '_>) -> Option<Record> {
    Some(Record::Limit(Limit {
        scope: scope(c.bytes()?)?,
        payment_max: c.some_int()?,
        day_sum_max: c.some_int()?,
        day_count_max: c.some_int()?,
    }))
}

fn tally(c: &mut Columns<'_, '_>) -> Option<Tally> {
    Some(Tally { minor: c.int()?, count: c.int()? })
}

/// Whose day it is.
fn of(bytes: &[u8]) -> Option<UsageOf> {
    match scope(bytes)? {
        LimitScope::Payer(account) => Some(UsageOf::Payer(account)),
        LimitScope::Terminal(terminal) => Some(UsageOf::Terminal(terminal)),
        LimitScope::Kind(_) | LimitScope::Merchant(_) => None,
    }
}

/// A row of usages, its key first.
pub(in crate::store) fn usage_row(c: &mut Columns<'_, '_>) -> Option<Record> {
    let of = of(c.bytes()?)?;
    let (day, since) = (CardDate::from_bytes(c.array()?), TransactionSeq(c.int()?));
    Some(Record::Usage(Usage { of, day, since, used: tally(c)?, left: tally(c)? }))
}

/// A row of shares, its key first.
pub(in crate::store) fn shares_row(c: &mut Columns<'_, '_>) -> Option<Record> {
    let merchant = c.merchant()?;
    let (day, since) = (CardDate::from_bytes(c.array()?), TransactionSeq(c.int()?));
    let granted = tally(c)?;
    let (ids, rest) = c.bytes()?.as_chunks::<8>();
    let terminals: Option<Vec<_>> =
        ids.iter().map(|id| TerminalId::from_text(core::str::from_utf8(id).ok()?)).collect();
    let shares = Shares { merchant, day, since, granted, terminals: terminals? };
    rest.is_empty().then(|| Record::Shares(Box::new(shares)))
}

/// Every limit.
pub(super) fn limits(connection: &Connection) -> Result<HashMap<LimitScope, Limit>, StoreFault> {
    let mut found = HashMap::new();
    all(connection, "SELECT * FROM limits", [], "limits", limit, &mut |record| {
        if let Record::Limit(limit) = record {
            found.insert(limit.scope, limit);
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// What was used of a day.
pub(super) fn usage(connection: &Connection, of: UsageOf) -> Result<Option<Record>, StoreFault> {
    let sql =
        "SELECT of, day, since, used_minor, used_count, left_minor, left_count FROM usages WHERE of = ?1";
    one(connection, sql, [of_bytes(of)], "usages", usage_row)
}

/// How a merchant's day is shared.
pub(super) fn shares(connection: &Connection, merchant: MerchantId) -> Result<Option<Record>, StoreFault> {
    let sql = "SELECT merchant, day, since, granted_minor, granted_count, terminals FROM shares WHERE merchant = ?1";
    one(connection, sql, [text(&merchant.to_bytes())], "shares", shares_row)
}

pub(super) fn put_limit(connection: &Connection, limit: &Limit) -> rusqlite::Result<()> {
    run(
        connection,
        "INSERT INTO limits VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET payment_max = excluded.payment_max,
         day_sum_max = excluded.day_sum_max, day_count_max = excluded.day_count_max",
        params![
            scope_bytes(limit.scope),
            limit.payment_max.map(int),
            limit.day_sum_max.map(int),
            limit.day_count_max
        ],
    )
}

pub(super) fn put_usage(connection: &Connection, usage: &Usage) -> rusqlite::Result<()> {
    run(
        connection,
        "INSERT INTO usages VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET
         day = excluded.day, since = excluded.since, used_minor = excluded.used_minor,
         used_count = excluded.used_count, left_minor = excluded.left_minor, left_count = excluded.left_count",
        params![
            of_bytes(usage.of),
            usage.day.to_bytes(),
            int(usage.since.0),
            int(usage.used.minor),
            usage.used.count,
            int(usage.left.minor),
            usage.left.count
        ],
    )
}

pub(super) fn put_shares(connection: &Connection, shares: &Shares) -> rusqlite::Result<()> {
    let terminals: Vec<u8> = shares.terminals.iter().flat_map(|terminal| terminal.to_bytes()).collect();
    run(
        connection,
        "INSERT INTO shares VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET day = excluded.day,
         since = excluded.since, granted_minor = excluded.granted_minor, granted_count = excluded.granted_count, terminals = excluded.terminals",
        params![
            text(&shares.merchant.to_bytes()),
            shares.day.to_bytes(),
            int(shares.since.0),
            int(shares.granted.minor),
            shares.granted.count,
            terminals
        ],
    )
}
