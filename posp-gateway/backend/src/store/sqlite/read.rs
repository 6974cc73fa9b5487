//! Rows into records. A row that means nothing is damage, never a panic and never a guess.

use super::codec;
use super::write::int;
use crate::accounts::chart::IssuerNumber;
use crate::accounts::{
    Account, AccountCode, AccountFlags, AccountId, Hold, HoldState, Reference, Totals, TransactionSeq,
    Transfer, TransferCode, TransferKind, TransferSeq,
};
use crate::api::{AcquirerId, Alert, AlertKind, CardStatus, ContentDigest, Identity};
use crate::report::BatchState;
use crate::store::{
    AlertNo, BatchRecord, Card, CardId, CommitNo, DenyVersion, Issuer, Key, Link, Load, LoadState,
    OfflineRecord, Record, RecordStanding, StoreFault, Transaction, TransactionKind, TransactionState,
};
use protocol::ids::{
    Asn, BatchNo, Factor, IssuerId, KeyVersion, MerchantId, OfflineCounter, OnlineCounter, SamTerminal, Stan,
    TermSeq, TerminalId,
};
use protocol::iso8583::f58::TransactionRecord;
use protocol::iso8583::typed::{AuthorisationCode, ResponseCode};
use protocol::money::{Amount, CardAmount, Currency};
use protocol::purse::Moment;
use protocol::time::Wall;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

/// Columns of a transfer and of the hold that belongs to it.
pub(super) const TRANSFER: &str =
    "seq, reference, debit, credit, amount, currency, code, kind, of, expires, txn, at";
pub(super) const HOLD: &str =
    "SELECT h.seq, t.debit, t.credit, t.amount, t.currency, h.expires, h.state, t.code, t.txn
    FROM holds h JOIN transfers t ON t.seq = h.seq";

/// A value of a row.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Cell<'r> {
    Null,
    Integer(i64),
    Blob(&'r [u8]),
    Text(&'r str),
}

/// A row of any store that has columns.
pub(in crate::store) trait Cells {
    /// The value of a column; `None` if there is no such column, or a type that no record of ours has.
    fn cell(&self, at: usize) -> Option<Cell<'_>>;
}

impl Cells for Row<'_> {
    fn cell(&self, at: usize) -> Option<Cell<'_>> {
        Some(match self.get_ref(at).ok()? {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(value) => Cell::Integer(value),
            ValueRef::Blob(bytes) => Cell::Blob(bytes),
            ValueRef::Text(text) => Cell::Text(core::str::from_utf8(text).ok()?),
            ValueRef::Real(_) => return None,
        })
    }
}

impl<'r> Cell<'r> {
    const fn integer(self) -> Option<i64> {
        if let Self::Integer(value) = self { Some(value) } else { None }
    }

    const fn blob(self) -> Option<&'r [u8]> {
        if let Self::Blob(bytes) = self { Some(bytes) } else { None }
    }

    const fn text(self) -> Option<&'r str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// A row's cursor: the next column, as the type wanted.
pub(in crate::store) struct Columns<'r, 's> {
    row: &'r (dyn Cells + 's),
    at: usize,
}

impl<'r, 's> Columns<'r, 's> {
    pub(in crate::store) const fn new(row: &'r (dyn Cells + 's)) -> Self {
        Self { row, at: 0 }
    }

    /// Leaves columns out.
    pub(in crate::store) const fn skip(&mut self, columns: usize) {
        self.at = self.at.saturating_add(columns);
    }

    fn next(&mut self) -> Option<Cell<'r>> {
        let value = self.row.cell(self.at);
        self.skip(1);
        value
    }

    pub(in crate::store) fn int<T: TryFrom<i64>>(&mut self) -> Option<T> {
        self.next()?.integer()?.try_into().ok()
    }

    pub(in crate::store) fn some_int<T: TryFrom<i64>>(&mut self) -> Option<Option<T>> {
        match self.next()? {
            Cell::Null => Some(None),
            value => value.integer()?.try_into().ok().map(Some),
        }
    }

    pub(in crate::store) fn bytes(&mut self) -> Option<&'r [u8]> {
        self.next()?.blob()
    }

    pub(in crate::store) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes()?.try_into().ok()
    }

    pub(in crate::store) fn some_array<const N: usize>(&mut self) -> Option<Option<[u8; N]>> {
        match self.next()? {
            Cell::Null => Some(None),
            value => value.blob()?.try_into().ok().map(Some),
        }
    }

    pub(in crate::store) fn text(&mut self) -> Option<&'r str> {
        self.next()?.text()
    }

    pub(in crate::store) fn some_text(&mut self) -> Option<Option<&'r str>> {
        match self.next()? {
            Cell::Null => Some(None),
            value => value.text().map(Some),
        }
    }

    pub(in crate::store) fn account(&mut self) -> Option<AccountId> {
        self.array().map(u128::from_be_bytes).map(AccountId)
    }

    pub(super) fn amount(&mut self) -> Option<Amount> {
        let minor = self.int()?;
        Some(Amount::new(minor, self.currency()?))
    }

    pub(super) fn currency(&mut self) -> Option<Currency> {
        Currency::from_numeric(self.int()?)
    }

    pub(in crate::store) fn terminal(&mut self) -> Option<TerminalId> {
        TerminalId::from_text(self.text()?)
    }

    pub(in crate::store) fn merchant(&mut self) -> Option<MerchantId> {
        MerchantId::from_text(self.text()?)
    }

    pub(super) fn card(&mut self) -> Option<CardId> {
        Some(CardId { issuer: IssuerId(self.array()?), asn: Asn(self.array()?) })
    }

    pub(super) fn moment(&mut self) -> Option<Moment> {
        self.array().map(Moment::from_bytes)
    }
}

pub(super) const fn damaged(what: &'static str) -> StoreFault {
    StoreFault::Damaged { what }
}

/// One row, if there is one.
pub(super) fn one<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    what: &'static str,
    read: impl FnOnce(&mut Columns<'_, '_>) -> Option<T>,
) -> Result<Option<T>, StoreFault> {
    let mut statement = connection.prepare_cached(sql).map_err(|error| super::fault(&error))?;
    let found = statement.query_row(params, |row| Ok(read(&mut Columns::new(row)))).optional();
    match found.map_err(|error| super::fault(&error))? {
        None => Ok(None),
        Some(Some(value)) => Ok(Some(value)),
        Some(None) => Err(damaged(what)),
    }
}

/// Every row, until the visitor breaks.
pub(super) fn all(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    what: &'static str,
    read: impl Fn(&mut Columns<'_, '_>) -> Option<Record>,
    visit: crate::store::Visit<'_>,
) -> Result<(), StoreFault> {
    let mut statement = connection.prepare_cached(sql).map_err(|error| super::fault(&error))?;
    let mut rows = statement.query(params).map_err(|error| super::fault(&error))?;
    while let Some(row) = rows.next().map_err(|error| super::fault(&error))? {
        let record = read(&mut Columns::new(row)).ok_or(damaged(what))?;
        if visit(record).is_break() {
            break;
        }
    }
    Ok(())
}

fn hold_state(number: u8) -> Option<HoldState> {
    Some(match number {
        0 => HoldState::Open,
        1 => HoldState::Posted,
        2 => HoldState::Voided,
        3 => HoldState::Expired,
        _ => return None,
    })
}

fn batch_state(number: u8) -> Option<BatchState> {
    Some(match number {
        0 => BatchState::Open,
        1 => BatchState::Uploading,
        2 => BatchState::Closed,
        _ => return None,
    })
}

pub(in crate::store) fn account(c: &mut Columns<'_, '_>) -> Option<Account> {
    Some(Account {
        id: c.account()?,
        currency: c.currency()?,
        code: AccountCode(c.int()?),
        flags: AccountFlags::from_bits(c.int()?),
        running: Totals {
            debits_pending: c.int()?,
            debits_posted: c.int()?,
            credits_pending: c.int()?,
            credits_posted: c.int()?,
        },
        created: Wall(c.int()?),
    })
}

pub(in crate::store) fn transfer(c: &mut Columns<'_, '_>) -> Option<Transfer> {
    let seq = TransferSeq(c.int()?);
    let reference = Reference(u128::from_be_bytes(c.array()?));
    let (debit, credit, amount) = (c.account()?, c.account()?, c.amount()?);
    let code = TransferCode(c.int()?);
    let kind: u8 = c.int()?;
    let (of, expires) = (c.some_int()?.map(TransferSeq), c.some_int()?.map(Wall));
    let kind = match (kind, of) {
        (0, None) => TransferKind::Posted,
        (1, None) => TransferKind::Pending { expires },
        (2, Some(of)) => TransferKind::Post { of },
        (3, Some(of)) => TransferKind::Void { of },
        (4, Some(of)) => TransferKind::Expire { of },
        _ => return None,
    };
    let transaction = c.some_int()?.map(TransactionSeq);
    let at = Wall(c.int()?);
    Some(Transfer { seq, reference, debit, credit, amount, code, kind, transaction, at })
}

pub(in crate::store) fn hold(c: &mut Columns<'_, '_>) -> Option<Hold> {
    Some(Hold {
        seq: TransferSeq(c.int()?),
        debit: c.account()?,
        credit: c.account()?,
        amount: c.amount()?,
        expires: c.some_int()?.map(Wall),
        state: hold_state(c.int()?)?,
        code: TransferCode(c.int()?),
        transaction: c.some_int()?.map(TransactionSeq),
    })
}

pub(in crate::store) fn transaction(c: &mut Columns<'_, '_>) -> Option<Transaction> {
    let seq = TransactionSeq(c.int()?);
    let identity = Identity {
        acquirer: AcquirerId(c.int()?),
        terminal: c.terminal()?,
        merchant: c.merchant()?,
        batch: BatchNo(c.int()?),
        trace: Stan(c.int()?),
    };
    let digest = ContentDigest(c.array()?);
    let kind = TransactionKind::from_number(c.int()?)?;
    let minor: Option<u64> = c.some_int()?;
    let currency: Option<u16> = c.some_int()?;
    let amount = match (minor, currency) {
        (Some(minor), Some(currency)) => Some(Amount::new(minor, Currency::from_numeric(currency)?)),
        (None, None) => None,
        _ => return None,
    };
    let original = c.some_int()?.map(TransactionSeq);
    let payer = c.some_array()?.map(u128::from_be_bytes).map(AccountId);
    let payee = c.some_array()?.map(u128::from_be_bytes).map(AccountId);
    let (issuer, asn, counter) = (c.some_array()?, c.some_array()?, c.some_int()?);
    let load = match (issuer, asn, counter) {
        (Some(issuer), Some(asn), Some(counter)) => {
            Some((CardId { issuer: IssuerId(issuer), asn: Asn(asn) }, OnlineCounter(counter)))
        }
        (None, None, None) => None,
        _ => return None,
    };
    let code = ResponseCode::from_bytes(c.text()?.as_bytes().try_into().ok()?)?;
    let authorisation = match c.some_text()? {
        None => None,
        Some(text) => Some(AuthorisationCode::from_bytes(text.as_bytes().try_into().ok()?)?),
    };
    let (moment, body, at) = (c.moment()?, codec::body(c.bytes()?)?, Wall(c.int()?));
    let state = TransactionState::from_number(c.int()?)?;
    let (transfer, refunded) = (c.some_int()?.map(TransferSeq), c.int()?);
    Some(Transaction {
        seq,
        identity,
        digest,
        kind,
        amount,
        original,
        payer,
        payee,
        load,
        code,
        authorisation,
        moment,
        body,
        at,
        state,
        transfer,
        refunded,
    })
}

pub(in crate::store) fn batch(c: &mut Columns<'_, '_>) -> Option<BatchRecord> {
    Some(BatchRecord {
        terminal: c.terminal()?,
        number: BatchNo(c.int()?),
        currency: c.currency()?,
        state: batch_state(c.int()?)?,
        host: codec::totals(c.bytes()?)?,
        of_terminal: match c.next()? {
            Cell::Null => None,
            value => Some(codec::totals(value.blob()?)?),
        },
        first: TransactionSeq(c.int()?),
        last: TransactionSeq(c.int()?),
        differences: codec::differences(c.bytes()?)?,
    })
}

pub(in crate::store) fn issuer(c: &mut Columns<'_, '_>) -> Option<Issuer> {
    let (id, number, currency) = (IssuerId(c.array()?), IssuerNumber(c.int()?), c.currency()?);
    let (factors, rest) = c.bytes()?.as_chunks::<8>();
    let upper_factors = factors.iter().map(|factor| Factor(*factor)).collect();
    let load_limit = CardAmount(c.int()?);
    rest.is_empty().then_some(Issuer { id, number, currency, upper_factors, load_limit })
}

pub(in crate::store) fn card(c: &mut Columns<'_, '_>) -> Option<Card> {
    let id = c.card()?;
    let key_version = KeyVersion(c.int()?);
    let funding = c.some_array()?.map(u128::from_be_bytes).map(AccountId);
    let denied: u8 = c.int()?;
    let status = if denied == 0 { CardStatus::Active } else { CardStatus::Denied };
    let next_online = OnlineCounter(c.int()?);
    let open_load = c.some_int()?.map(OnlineCounter);
    let newest = match (c.some_int()?, c.some_int()?) {
        (Some(counter), Some(balance)) => Some((OfflineCounter(counter), CardAmount(balance))),
        _ => None,
    };
    let (loaded, spent, claimed) = (c.int()?, c.int()?, c.int()?);
    let (gap_since, deny_version) = (c.some_int()?.map(Wall), DenyVersion(c.int()?));
    Some(Card {
        id,
        key_version,
        funding,
        status,
        next_online,
        open_load,
        newest,
        loaded,
        spent,
        claimed,
        gap_since,
        deny_version,
    })
}

pub(in crate::store) fn load(c: &mut Columns<'_, '_>) -> Option<Load> {
    Some(Load {
        card: c.card()?,
        counter: OnlineCounter(c.int()?),
        transaction: TransactionSeq(c.int()?),
        hold: TransferSeq(c.int()?),
        payer: c.account()?,
        amount: c.amount()?,
        sam: SamTerminal(c.array()?),
        balance_old: CardAmount(c.int()?),
        moment: c.moment()?,
        state: LoadState::from_number(c.int()?)?,
    })
}

pub(in crate::store) fn offline(c: &mut Columns<'_, '_>) -> Option<OfflineRecord> {
    Some(OfflineRecord {
        content: TransactionRecord::parse(c.bytes()?).ok()?,
        standing: RecordStanding::from_number(c.int()?)?,
        merchant: match c.some_text()? {
            None => None,
            Some(text) => Some(MerchantId::from_text(text)?),
        },
        transaction: TransactionSeq(c.int()?),
        transfer: c.some_int()?.map(TransferSeq),
        received: Wall(c.int()?),
    })
}

pub(in crate::store) fn claim(c: &mut Columns<'_, '_>) -> Option<Record> {
    let (card, counter) = (c.card()?, OfflineCounter(c.int()?));
    Some(Record::Claim(card, counter, SamTerminal(c.array()?), TermSeq(c.int()?)))
}

pub(in crate::store) fn resolution(c: &mut Columns<'_, '_>) -> Option<Record> {
    let (card, counter) = (c.card()?, OfflineCounter(c.int()?));
    Some(Record::Resolution(card, counter, SamTerminal(c.array()?), TermSeq(c.int()?)))
}

pub(in crate::store) fn alert(c: &mut Columns<'_, '_>) -> Option<Record> {
    let number = AlertNo(c.int()?);
    let (at, kind) = (Wall(c.int()?), AlertKind::from_number(c.int()?)?);
    let (issuer, asn) = (c.some_array()?.map(IssuerId), c.some_array()?.map(Asn));
    let (sam, seq) = (c.some_array()?.map(SamTerminal), c.some_int()?.map(TermSeq));
    let transfer = c.some_int()?.map(TransferSeq);
    Some(Record::Alert(number, Alert { at, kind, card: issuer.zip(asn), record: sam.zip(seq), transfer }))
}

pub(super) fn link(row: &Row<'_>) -> Option<Link> {
    link_of(&mut Columns::new(row))
}

pub(in crate::store) fn link_of(c: &mut Columns<'_, '_>) -> Option<Link> {
    Some(Link {
        number: CommitNo(c.int()?),
        at: Wall(c.int()?),
        first_transfer: TransferSeq(c.int()?),
        next_transfer: TransferSeq(c.int()?),
        first_transaction: TransactionSeq(c.int()?),
        next_transaction: TransactionSeq(c.int()?),
        hash: c.array()?,
    })
}

/// The record with this key.
pub(super) fn get(connection: &Connection, key: &Key) -> Result<Option<Record>, StoreFault> {
    use super::write::{id, text};
    match key {
        Key::Account(account_id) => {
            let sql = "SELECT * FROM accounts WHERE id = ?1";
            one(connection, sql, [id(*account_id)], "accounts", |c| account(c).map(Record::Account))
        }
        Key::Transfer(seq) => {
            let sql = "SELECT * FROM transfers WHERE seq = ?1";
            one(connection, sql, [int(seq.0)], "transfers", |c| transfer(c).map(Record::Transfer))
        }
        Key::Hold(seq) => {
            let sql =
                "SELECT h.seq, t.debit, t.credit, t.amount, t.currency, h.expires, h.state, t.code, t.txn
                       FROM holds h JOIN transfers t ON t.seq = h.seq WHERE h.seq = ?1";
            one(connection, sql, [int(seq.0)], "holds", |c| hold(c).map(Record::Hold))
        }
        Key::Transaction(seq) => {
            let sql = "SELECT * FROM transactions WHERE seq = ?1";
            let read = |c: &mut Columns<'_, '_>| transaction(c).map(|it| Record::Transaction(Box::new(it)));
            one(connection, sql, [int(seq.0)], "transactions", read)
        }
        Key::Identity(identity) => closed_identity(connection, identity),
        Key::Batch(terminal, number) => {
            let sql = "SELECT * FROM batches WHERE terminal = ?1 AND number = ?2";
            let read = |c: &mut Columns<'_, '_>| batch(c).map(|it| Record::Batch(Box::new(it)));
            one(connection, sql, params![text(&terminal.to_bytes()), number.0], "batches", read)
        }
        Key::Card(of) => {
            let sql = "SELECT * FROM cards WHERE issuer = ?1 AND asn = ?2";
            one(connection, sql, params![of.issuer.0, of.asn.0], "cards", |c| card(c).map(Record::Card))
        }
        Key::Load(of, counter) => {
            let sql = "SELECT * FROM loads WHERE issuer = ?1 AND asn = ?2 AND counter = ?3";
            let params = params![of.issuer.0, of.asn.0, counter.0];
            one(connection, sql, params, "loads", |c| load(c).map(Record::Load))
        }
        Key::Record(number, seq) => {
            let sql = "SELECT content, standing, merchant, txn, transfer, received
                       FROM records WHERE sam = ?1 AND term_seq = ?2";
            let read = |c: &mut Columns<'_, '_>| offline(c).map(|it| Record::Record(Box::new(it)));
            one(connection, sql, params![number.0, seq.0], "records", read)
        }
        Key::Claim(of, counter) => {
            let sql = "SELECT * FROM claims WHERE issuer = ?1 AND asn = ?2 AND counter = ?3";
            one(connection, sql, params![of.issuer.0, of.asn.0, counter.0], "claims", claim)
        }
        Key::Resolution(of, counter) => {
            let sql = "SELECT * FROM resolutions WHERE issuer = ?1 AND asn = ?2 AND counter = ?3";
            one(connection, sql, params![of.issuer.0, of.asn.0, counter.0], "resolutions", resolution)
        }
        Key::Link(number) => {
            let sql = "SELECT * FROM links WHERE number = ?1";
            one(connection, sql, [int(number.0)], "links", |c| link_of(c).map(Record::Link))
        }
        Key::Alert(number) => {
            one(connection, "SELECT * FROM alerts WHERE number = ?1", [int(number.0)], "alerts", alert)
        }
        Key::Usage(of) => super::limits::usage(connection, *of),
        Key::Shares(of) => super::limits::shares(connection, *of),
        registered => super::registered::get(connection, registered),
    }
}

/// The transaction of an identity whose batch is closed.
fn closed_identity(connection: &Connection, identity: &Identity) -> Result<Option<Record>, StoreFault> {
    use super::write::text;
    let sql = "SELECT t.seq FROM batch_items i JOIN transactions t ON t.seq = i.seq
               WHERE i.terminal = ?1 AND i.number = ?2 AND i.trace = ?3 AND t.merchant = ?4 AND t.acquirer = ?5";
    let (terminal, merchant) = (identity.terminal.to_bytes(), identity.merchant.to_bytes());
    let params = params![
        text(&terminal),
        identity.batch.0,
        identity.trace.0,
        text(&merchant),
        int(identity.acquirer.0)
    ];
    one(connection, sql, params, "batch_items", |c| {
        Some(Record::Identity(*identity, TransactionSeq(c.int()?)))
    })
}

/// An account's row, and the newest transfer that it counts.
pub(super) fn account_through(
    connection: &Connection,
    of: AccountId,
) -> Result<Option<(Account, TransferSeq)>, StoreFault> {
    let sql = "SELECT * FROM accounts WHERE id = ?1";
    let read = |c: &mut Columns<'_, '_>| Some((account(c)?, TransferSeq(c.int()?)));
    one(connection, sql, [super::write::id(of)], "accounts", read)
}

/// Open holds whose time is up.
pub(super) fn due_holds(connection: &Connection, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault> {
    let sql = "SELECT h.seq, t.debit, t.credit, t.amount, t.currency, h.expires, h.state, t.code, t.txn
               FROM holds h JOIN transfers t ON t.seq = h.seq
               WHERE h.state = 0 AND h.expires IS NOT NULL AND h.expires <= ?1
               ORDER BY h.expires, h.seq LIMIT ?2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    let keep: crate::store::Visit<'_> = &mut |record| {
        if let Record::Hold(hold) = record {
            found.push(hold);
        }
        std::ops::ControlFlow::Continue(())
    };
    all(connection, sql, [now.0, limit], "holds", |c| hold(c).map(Record::Hold), keep)?;
    Ok(found)
}
