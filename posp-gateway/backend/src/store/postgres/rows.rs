//! Records into rows and rows into records. What a column holds as bytes, and what a row must look like to mean something, is the same as in
//! SQLite and is read by the same code.

use super::shape::{Column, IDENTITY, Kind, Table};
use crate::accounts::{Account, AccountId, Hold, Transfer, TransferKind};
use crate::api::{Alert, CardStatus, Identity, Limit};
use crate::store::sqlite::{codec, limits, read, registered, write};
use crate::store::{
    AlertNo, BatchRecord, Card, CardId, Key, Link, Load, OfflineRecord, Record, Sam, Shares, StoreFault,
    Transaction, Usage,
};
use protocol::bytes::Reader;
use protocol::ids::{MerchantId, SamTerminal, TerminalId};
use protocol::purse::Moment;
use read::{Cell, Cells, Columns};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
}

/// The values of one column, as an array parameter.
#[derive(Debug)]
enum Values {
    Small(Vec<Option<i16>>),
    Int(Vec<Option<i32>>),
    Big(Vec<Option<i64>>),
    Bytes(Vec<Option<Vec<u8>>>),
    Text(Vec<Option<String>>),
}

/// Rows on their way to the server, column by column.
#[derive(Debug)]
pub(super) struct Arrays(Vec<Values>);

const BEYOND: StoreFault = StoreFault::Damaged { what: "a number does not fit its column" };

fn fitting<T: TryFrom<i64>>(value: Value) -> Result<Option<T>, StoreFault> {
    match value {
        Value::Null => Ok(None),
        Value::Int(value) => T::try_from(value).map(Some).map_err(|_| BEYOND),
        Value::Bytes(_) | Value::Text(_) => Err(BEYOND),
    }
}

impl Arrays {
    pub(super) fn new<'c>(columns: impl Iterator<Item = &'c Column>) -> Self {
        Self(
            columns
                .map(|column| match column.kind {
                    Kind::Small => Values::Small(Vec::new()),
                    Kind::Int => Values::Int(Vec::new()),
                    Kind::Big => Values::Big(Vec::new()),
                    Kind::Bytes => Values::Bytes(Vec::new()),
                    Kind::Text => Values::Text(Vec::new()),
                })
                .collect(),
        )
    }

    /// Adds a row, value by value.
    pub(super) fn push(&mut self, row: impl Iterator<Item = Value>) -> Result<(), StoreFault> {
        for (values, value) in self.0.iter_mut().zip(row) {
            match values {
                Values::Small(values) => values.push(fitting(value)?),
                Values::Int(values) => values.push(fitting(value)?),
                Values::Big(values) => values.push(fitting(value)?),
                Values::Bytes(values) => values.push(match value {
                    Value::Bytes(bytes) => Some(bytes),
                    _ => None,
                }),
                Values::Text(values) => values.push(match value {
                    Value::Text(text) => Some(text),
                    _ => None,
                }),
            }
        }
        Ok(())
    }

    /// As parameters of a statement.
    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.0
            .iter()
            .map(|values| -> &(dyn ToSql + Sync) {
                match values {
                    Values::Small(values) => values,
                    Values::Int(values) => values,
                    Values::Big(values) => values,
                    Values::Bytes(values) => values,
                    Values::Text(values) => values,
                }
            })
            .collect()
    }
}

/// One value as a parameter of its column's type.
pub(super) fn param(column: Column, value: Value) -> Box<dyn ToSql + Sync> {
    match (column.kind, value) {
        (Kind::Small, Value::Int(value)) => Box::new(i16::try_from(value).unwrap_or(i16::MAX)),
        (Kind::Int, Value::Int(value)) => Box::new(i32::try_from(value).unwrap_or(i32::MAX)),
        (_, Value::Int(value)) => Box::new(value),
        (_, Value::Bytes(bytes)) => Box::new(bytes),
        (_, Value::Text(text)) => Box::new(text),
        (_, Value::Null) => Box::new(Option::<i64>::None),
    }
}

fn int(value: u64) -> Value {
    i64::try_from(value).map_or(Value::Int(i64::MIN), Value::Int)
}

fn small(value: impl Into<i64>) -> Value {
    Value::Int(value.into())
}

fn bytes(value: impl AsRef<[u8]>) -> Value {
    Value::Bytes(value.as_ref().to_vec())
}

fn account_id(id: AccountId) -> Value {
    bytes(write::id(id))
}

fn text(value: impl AsRef<[u8]>) -> Value {
    Value::Text(write::text(value.as_ref()).to_owned())
}

fn some<T>(value: Option<T>, to: impl FnOnce(T) -> Value) -> Value {
    value.map_or(Value::Null, to)
}

/// What a key is looked up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Target {
    Table(Table),
    Identities,
}

impl Target {
    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Table(table) => table.key_columns(),
            Self::Identities => &IDENTITY,
        }
    }
}

fn card_key(card: &CardId) -> [Value; 2] {
    [bytes(card.issuer.0), bytes(card.asn.0)]
}

/// Where a key is looked up, and by which values.
pub(super) fn key(key: &Key) -> (Target, Vec<Value>) {
    let (table, values) = match key {
        Key::Account(id) => (Table::Accounts, vec![account_id(*id)]),
        Key::Transfer(seq) => (Table::Transfers, vec![int(seq.0)]),
        Key::Hold(seq) => (Table::Holds, vec![int(seq.0)]),
        Key::Transaction(seq) => (Table::Transactions, vec![int(seq.0)]),
        Key::Identity(of) => return (Target::Identities, identity(of)),
        Key::Batch(terminal, number) => (Table::Batches, vec![text(terminal.to_bytes()), small(number.0)]),
        Key::Upload(terminal, number, item) => {
            let key = codec::key_bytes(item);
            (Table::Uploads, vec![text(terminal.to_bytes()), small(number.0), Value::Bytes(key)])
        }
        Key::Issuer(id) => (Table::Issuers, vec![bytes(id.0)]),
        Key::Merchant(id) => (Table::Merchants, vec![text(id.to_bytes())]),
        Key::Terminal(id) => (Table::Terminals, vec![text(id.to_bytes())]),
        Key::Sam(number) => (Table::Sams, vec![bytes(number.0)]),
        Key::Payer(token) => (Table::Payers, vec![bytes(token.0)]),
        Key::Arrival(reference) => (Table::Arrivals, vec![Value::Int(reference.cast_signed())]),
        Key::Card(card) => (Table::Cards, card_key(card).into()),
        Key::Load(card, counter) => {
            (Table::Loads, card_key(card).into_iter().chain([small(counter.0)]).collect())
        }
        Key::Record(sam, seq) => (Table::Records, vec![bytes(sam.0), small(seq.0)]),
        Key::Claim(card, counter) => {
            (Table::Claims, card_key(card).into_iter().chain([small(counter.0)]).collect())
        }
        Key::Resolution(card, counter) => {
            (Table::Resolutions, card_key(card).into_iter().chain([small(counter.0)]).collect())
        }
        Key::Limit(scope) => (Table::Limits, vec![Value::Bytes(limits::scope_bytes(*scope))]),
        Key::Usage(of) => (Table::Usages, vec![Value::Bytes(limits::of_bytes(*of))]),
        Key::Shares(merchant) => (Table::Shares, vec![text(merchant.to_bytes())]),
        Key::Alert(number) => (Table::Alerts, vec![int(number.0)]),
        Key::Link(number) => (Table::Links, vec![int(number.0)]),
        Key::Registry => (Table::Registry, vec![small(1)]),
    };
    (Target::Table(table), values)
}

fn identity(of: &Identity) -> Vec<Value> {
    vec![
        text(of.terminal.to_bytes()),
        small(of.batch.0),
        small(of.trace.0),
        int(of.acquirer.0),
        text(of.merchant.to_bytes()),
    ]
}

/// A record's table and values; `None` for an index that the tables themselves are.
pub(super) fn row(record: &Record) -> Result<Option<(Table, Vec<Value>)>, StoreFault> {
    Ok(Some(match record {
        Record::Account(it) => (Table::Accounts, account(it)),
        Record::Transfer(it) => (Table::Transfers, transfer(it)),
        Record::Hold(it) => (Table::Holds, hold(it)),
        Record::Transaction(it) => (Table::Transactions, transaction(it)),
        Record::Identity(..) => return Ok(None),
        Record::Batch(it) => (Table::Batches, batch(it)),
        Record::Upload(terminal, number, item) => (
            Table::Uploads,
            vec![
                text(terminal.to_bytes()),
                small(number.0),
                Value::Bytes(codec::key_bytes(&item.key)),
                Value::Bytes(codec::item_bytes(item)),
            ],
        ),
        Record::Issuer(it) => (
            Table::Issuers,
            vec![
                bytes(it.id.0),
                small(it.number.0),
                small(it.currency.numeric()),
                Value::Bytes(it.upper_factors.iter().flat_map(|factor| factor.0).collect()),
                small(it.load_limit.0),
            ],
        ),
        Record::Merchant(it) => (
            Table::Merchants,
            vec![
                text(it.id.to_bytes()),
                small(it.number.0),
                Value::Text(it.name.clone()),
                small(it.currency.numeric()),
            ],
        ),
        Record::Terminal(it) => (
            Table::Terminals,
            vec![
                text(it.id.to_bytes()),
                text(it.merchant.to_bytes()),
                int(it.acquirer.0),
                some(it.open, |batch| small(batch.0)),
                small(it.newest.0),
            ],
        ),
        Record::Sam(it) => (Table::Sams, vec![bytes(it.number.0), Value::Bytes(assignments(it))]),
        Record::Payer(token, account) => (Table::Payers, vec![bytes(token.0), account_id(*account)]),
        Record::Arrival(reference, transfer) => {
            (Table::Arrivals, vec![Value::Int(reference.cast_signed()), int(transfer.0)])
        }
        Record::Card(it) => (Table::Cards, card(it)),
        Record::Load(it) => (Table::Loads, load(it)),
        Record::Record(it) => (Table::Records, offline(it)?),
        Record::Claim(card, counter, sam, seq) => {
            let values = [small(counter.0), bytes(sam.0), small(seq.0)];
            (Table::Claims, card_key(card).into_iter().chain(values).collect())
        }
        Record::Resolution(card, counter, sam, seq) => {
            let values = [small(counter.0), bytes(sam.0), small(seq.0)];
            (Table::Resolutions, card_key(card).into_iter().chain(values).collect())
        }
        Record::Limit(it) => (Table::Limits, limit(it)),
        Record::Usage(it) => (Table::Usages, usage(it)),
        Record::Shares(it) => (Table::Shares, shares(it)),
        Record::Alert(number, it) => (Table::Alerts, alert(*number, it)),
        Record::Link(it) => (Table::Links, link(it)),
        Record::Registry(it) => {
            (Table::Registry, vec![small(1), small(it.issuers), small(it.merchants), small(it.deny.0)])
        }
    }))
}

fn account(it: &Account) -> Vec<Value> {
    let totals = &it.running;
    vec![
        account_id(it.id),
        small(it.currency.numeric()),
        small(it.code.0),
        small(it.flags.bits()),
        int(totals.debits_pending),
        int(totals.debits_posted),
        int(totals.credits_pending),
        int(totals.credits_posted),
        Value::Int(it.created.0),
    ]
}

fn transfer(it: &Transfer) -> Vec<Value> {
    let (kind, of, expires) = match it.kind {
        TransferKind::Posted => (0, None, None),
        TransferKind::Pending { expires } => (1, None, expires),
        TransferKind::Post { of } => (2, Some(of), None),
        TransferKind::Void { of } => (3, Some(of), None),
        TransferKind::Expire { of } => (4, Some(of), None),
    };
    vec![
        int(it.seq.0),
        bytes(it.reference.0.to_be_bytes()),
        account_id(it.debit),
        account_id(it.credit),
        int(it.amount.minor()),
        small(it.amount.currency().numeric()),
        small(it.code.0),
        Value::Int(kind),
        some(of, |of| int(of.0)),
        some(expires, |end| Value::Int(end.0)),
        some(it.transaction, |seq| int(seq.0)),
        Value::Int(it.at.0),
    ]
}

fn hold(it: &Hold) -> Vec<Value> {
    vec![
        int(it.seq.0),
        account_id(it.credit),
        small(write::hold_state(it.state)),
        some(it.expires, |end| Value::Int(end.0)),
    ]
}

fn transaction(it: &Transaction) -> Vec<Value> {
    vec![
        int(it.seq.0),
        int(it.identity.acquirer.0),
        text(it.identity.terminal.to_bytes()),
        text(it.identity.merchant.to_bytes()),
        small(it.identity.batch.0),
        small(it.identity.trace.0),
        bytes(it.digest.0),
        small(it.kind.number()),
        some(it.amount, |amount| int(amount.minor())),
        some(it.amount, |amount| small(amount.currency().numeric())),
        some(it.original, |seq| int(seq.0)),
        some(it.payer, account_id),
        some(it.payee, account_id),
        some(it.load, |(card, _)| bytes(card.issuer.0)),
        some(it.load, |(card, _)| bytes(card.asn.0)),
        some(it.load, |(_, counter)| small(counter.0)),
        text(it.code.as_str()),
        some(it.authorisation.as_ref(), |code| text(code.as_str())),
        bytes(it.moment.to_bytes()),
        Value::Bytes(codec::body_bytes(&it.body)),
        Value::Int(it.at.0),
        small(it.state.number()),
        some(it.transfer, |seq| int(seq.0)),
        int(it.refunded),
    ]
}

fn batch(it: &BatchRecord) -> Vec<Value> {
    vec![
        text(it.terminal.to_bytes()),
        small(it.number.0),
        small(it.currency.numeric()),
        small(write::batch_state(it.state)),
        Value::Bytes(codec::totals_bytes(&it.host)),
        some(it.of_terminal.as_ref(), |totals| Value::Bytes(codec::totals_bytes(totals))),
        int(it.first.0),
        int(it.last.0),
        Value::Bytes(codec::differences_bytes(&it.differences)),
    ]
}

fn card(it: &Card) -> Vec<Value> {
    let [issuer, asn] = card_key(&it.id);
    vec![
        issuer,
        asn,
        small(it.key_version.0),
        some(it.funding, account_id),
        small(i64::from(it.status == CardStatus::Denied)),
        small(it.next_online.0),
        some(it.open_load, |counter| small(counter.0)),
        some(it.newest, |(counter, _)| small(counter.0)),
        some(it.newest, |(_, balance)| small(balance.0)),
        int(it.loaded),
        int(it.spent),
        small(it.claimed),
        some(it.gap_since, |since| Value::Int(since.0)),
        small(it.deny_version.0),
    ]
}

fn load(it: &Load) -> Vec<Value> {
    let [issuer, asn] = card_key(&it.card);
    vec![
        issuer,
        asn,
        small(it.counter.0),
        int(it.transaction.0),
        int(it.hold.0),
        account_id(it.payer),
        int(it.amount.minor()),
        small(it.amount.currency().numeric()),
        bytes(it.sam.0),
        small(it.balance_old.0),
        bytes(it.moment.to_bytes()),
        small(it.state.number()),
    ]
}

fn offline(it: &OfflineRecord) -> Result<Vec<Value>, StoreFault> {
    let mut content = [0; 96];
    let length = it.content.encode(&mut content);
    let length = length.map_err(|_| StoreFault::Damaged { what: "a record of mixed suites" })?;
    Ok(vec![
        bytes(it.content.terminal.0),
        small(it.content.term_seq.0),
        bytes(content.get(..length).unwrap_or_default()),
        small(it.standing.number()),
        some(it.merchant, |merchant| text(merchant.to_bytes())),
        int(it.transaction.0),
        some(it.transfer, |seq| int(seq.0)),
        Value::Int(it.received.0),
    ])
}

fn limit(it: &Limit) -> Vec<Value> {
    vec![
        Value::Bytes(limits::scope_bytes(it.scope)),
        some(it.payment_max, int),
        some(it.day_sum_max, int),
        some(it.day_count_max, small),
    ]
}

fn usage(it: &Usage) -> Vec<Value> {
    vec![
        Value::Bytes(limits::of_bytes(it.of)),
        bytes(it.day.to_bytes()),
        int(it.since.0),
        int(it.used.minor),
        small(it.used.count),
        int(it.left.minor),
        small(it.left.count),
    ]
}

fn shares(it: &Shares) -> Vec<Value> {
    vec![
        text(it.merchant.to_bytes()),
        bytes(it.day.to_bytes()),
        int(it.since.0),
        int(it.granted.minor),
        small(it.granted.count),
        Value::Bytes(it.terminals.iter().flat_map(|terminal| terminal.to_bytes()).collect()),
    ]
}

fn alert(number: AlertNo, it: &Alert) -> Vec<Value> {
    vec![
        int(number.0),
        Value::Int(it.at.0),
        small(it.kind.number()),
        some(it.card, |(issuer, _)| bytes(issuer.0)),
        some(it.card, |(_, asn)| bytes(asn.0)),
        some(it.record, |(sam, _)| bytes(sam.0)),
        some(it.record, |(_, seq)| small(seq.0)),
        some(it.transfer, |seq| int(seq.0)),
    ]
}

fn link(it: &Link) -> Vec<Value> {
    vec![
        int(it.number.0),
        Value::Int(it.at.0),
        int(it.first_transfer.0),
        int(it.next_transfer.0),
        int(it.first_transaction.0),
        int(it.next_transaction.0),
        bytes(it.hash),
    ]
}

/// Since 7 ‖ 1 ‖ terminal 8 ‖ merchant 15, or since 7 ‖ 0 ‖ 23 zeros, ascending.
fn assignments(sam: &Sam) -> Vec<u8> {
    let mut out = Vec::new();
    for (since, place) in &sam.assignments {
        out.extend_from_slice(&since.to_bytes());
        out.push(u8::from(place.is_some()));
        match place {
            Some((terminal, merchant)) => {
                out.extend_from_slice(&terminal.to_bytes());
                out.extend_from_slice(&merchant.to_bytes());
            }
            None => out.extend_from_slice(&[0; 23]),
        }
    }
    out
}

fn sam(c: &mut Columns<'_, '_>) -> Option<Sam> {
    let number = SamTerminal(c.array()?);
    let mut reader = Reader::new(c.bytes()?);
    let mut assignments = Vec::new();
    while !reader.is_empty() {
        let since = Moment::from_bytes(reader.array().ok()?);
        let known = reader.u8().ok()?;
        let (terminal, merchant) = (reader.take(8).ok()?, reader.take(15).ok()?);
        let place = match known {
            0 => None,
            1 => Some((
                TerminalId::from_text(core::str::from_utf8(terminal).ok()?)?,
                MerchantId::from_text(core::str::from_utf8(merchant).ok()?)?,
            )),
            _ => return None,
        };
        assignments.push((since, place));
    }
    Some(Sam { number, assignments })
}

impl Cells for Row {
    fn cell(&self, at: usize) -> Option<Cell<'_>> {
        fn or_null<'r, T>(value: Option<T>, to: impl FnOnce(T) -> Cell<'r>) -> Cell<'r> {
            value.map_or(Cell::Null, to)
        }
        let kind = self.columns().get(at)?.type_();
        Some(match *kind {
            Type::INT2 => or_null(self.try_get::<_, Option<i16>>(at).ok()?, |n| Cell::Integer(n.into())),
            Type::INT4 => or_null(self.try_get::<_, Option<i32>>(at).ok()?, |n| Cell::Integer(n.into())),
            Type::INT8 => or_null(self.try_get::<_, Option<i64>>(at).ok()?, Cell::Integer),
            Type::BYTEA => or_null(self.try_get::<_, Option<&[u8]>>(at).ok()?, Cell::Blob),
            Type::TEXT => or_null(self.try_get::<_, Option<&str>>(at).ok()?, Cell::Text),
            _ => return None,
        })
    }
}

/// The record in a row of a table.
pub(super) fn record(table: Table, row: &Row) -> Result<Record, StoreFault> {
    let c = &mut Columns::new(row);
    let found = match table {
        Table::Registry => c.int::<i64>().and_then(|_| registered::registry(c)).map(Record::Registry),
        Table::Issuers => read::issuer(c).map(Record::Issuer),
        Table::Merchants => registered::merchant(c),
        Table::Terminals => registered::terminal(c),
        Table::Sams => sam(c).map(Record::Sam),
        Table::Payers => registered::payer(c),
        Table::Batches => read::batch(c).map(|it| Record::Batch(Box::new(it))),
        Table::Uploads => upload(c),
        Table::Cards => read::card(c).map(Record::Card),
        Table::Loads => read::load(c).map(Record::Load),
        Table::Records => {
            // Its key is in its content too.
            c.skip(2);
            read::offline(c).map(|it| Record::Record(Box::new(it)))
        }
        Table::Holds => read::hold(c).map(Record::Hold),
        Table::Accounts => read::account(c).map(Record::Account),
        Table::Transactions => read::transaction(c).map(|it| Record::Transaction(Box::new(it))),
        Table::Limits => limits::limit(c),
        Table::Usages => limits::usage_row(c),
        Table::Shares => limits::shares_row(c),
        Table::Claims => read::claim(c),
        Table::Resolutions => read::resolution(c),
        Table::Arrivals => registered::arrival(c),
        Table::Transfers => read::transfer(c).map(Record::Transfer),
        Table::Alerts => read::alert(c),
        Table::Links => read::link_of(c).map(Record::Link),
    };
    found.ok_or(StoreFault::Damaged { what: table.name() })
}

fn upload(c: &mut Columns<'_, '_>) -> Option<Record> {
    let (terminal, number) = (c.terminal()?, protocol::ids::BatchNo(c.int()?));
    c.skip(1);
    codec::item(c.bytes()?).map(|item| Record::Upload(terminal, number, item))
}

/// An identity and its transaction.
pub(super) fn found_identity(row: &Row) -> Result<Record, StoreFault> {
    let c = &mut Columns::new(row);
    let mut read = || {
        let (terminal, batch) = (c.terminal()?, protocol::ids::BatchNo(c.int()?));
        let (trace, acquirer) = (protocol::ids::Stan(c.int()?), crate::api::AcquirerId(c.int()?));
        let identity = Identity { acquirer, terminal, merchant: c.merchant()?, batch, trace };
        Some(Record::Identity(identity, crate::accounts::TransactionSeq(c.int()?)))
    };
    read().ok_or(StoreFault::Damaged { what: "transactions" })
}
