//! Records into rows. Every statement is prepared once and kept.

use super::codec;
use crate::accounts::{
    Account, AccountId, Hold, HoldState, TransactionSeq, Transfer, TransferKind, TransferSeq,
};
use crate::api::{Alert, CardStatus};
use crate::report::BatchState;
use crate::store::{
    AlertNo, BatchRecord, Card, Link, Load, OfflineRecord, Record, Sam, StoreFault, Transaction,
};
use protocol::ids::{BatchNo, MerchantId, Stan, TerminalId};
use rusqlite::{Connection, Params, params};

/// An unsigned number as SQLite's signed one. Every number of ours is far below the limit; one that is not is refused by the caller's checks
/// and by `STRICT` tables, never wrapped silently.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(-1)
}

pub(in crate::store) const fn id(account: AccountId) -> [u8; 16] {
    account.0.to_be_bytes()
}

pub(in crate::store) fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or_default()
}

fn padded(merchant: MerchantId) -> String {
    text(&merchant.to_bytes()).to_owned()
}

pub(in crate::store) const fn hold_state(state: HoldState) -> u8 {
    match state {
        HoldState::Open => 0,
        HoldState::Posted => 1,
        HoldState::Voided => 2,
        HoldState::Expired => 3,
    }
}

pub(in crate::store) const fn batch_state(state: BatchState) -> u8 {
    match state {
        BatchState::Open => 0,
        BatchState::Uploading => 1,
        BatchState::Closed => 2,
    }
}

pub(super) fn run(connection: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute(params).map(|_| ())
}

/// Writes one record.
pub(super) fn put(connection: &Connection, record: &Record) -> Result<(), StoreFault> {
    let written = match record {
        // Written in their turn (behind.rs).
        Record::Account(_) => Ok(()),
        Record::Transfer(transfer) => put_transfer(connection, transfer),
        Record::Hold(hold) => put_hold(connection, hold),
        Record::Transaction(transaction) => put_transaction(connection, transaction),
        // Derived from the transactions of open batches when the store opens.
        Record::Identity(..) => Ok(()),
        Record::Batch(batch) => put_batch(connection, batch),
        Record::Card(card) => put_card(connection, card),
        Record::Load(load) => put_load(connection, load),
        Record::Record(record) => return put_record(connection, record),
        Record::Claim(card, counter, sam, seq) => run(
            connection,
            "INSERT INTO claims VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            params![card.issuer.0, card.asn.0, counter.0, sam.0, seq.0],
        ),
        Record::Resolution(card, counter, sam, seq) => run(
            connection,
            "INSERT INTO resolutions VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            params![card.issuer.0, card.asn.0, counter.0, sam.0, seq.0],
        ),
        Record::Alert(number, alert) => put_alert(connection, *number, alert),
        Record::Link(link) => put_link(connection, link),
        Record::Limit(limit) => super::limits::put_limit(connection, limit),
        Record::Usage(usage) => super::limits::put_usage(connection, usage),
        Record::Shares(shares) => super::limits::put_shares(connection, shares),
        registered => put_registered(connection, registered),
    };
    written.map_err(|error| super::fault(&error))
}

/// The index of a batch that closes.
pub(super) fn close_batch(
    connection: &Connection,
    (terminal, batch): (TerminalId, BatchNo),
    items: impl Iterator<Item = (Stan, TransactionSeq)>,
) -> Result<(), StoreFault> {
    let terminal = terminal.to_bytes();
    for (trace, seq) in items {
        let params = params![text(&terminal), batch.0, trace.0, int(seq.0)];
        run(connection, "INSERT INTO batch_items VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING", params)
            .map_err(|error| super::fault(&error))?;
    }
    Ok(())
}

/// The records that operators make.
fn put_registered(connection: &Connection, record: &Record) -> rusqlite::Result<()> {
    match record {
        Record::Upload(terminal, number, item) => run(
            connection,
            "INSERT INTO uploads VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET item = excluded.item",
            params![
                text(&terminal.to_bytes()),
                number.0,
                codec::key_bytes(&item.key),
                codec::item_bytes(item)
            ],
        ),
        Record::Issuer(issuer) => {
            let factors: Vec<u8> = issuer.upper_factors.iter().flat_map(|factor| factor.0).collect();
            run(
                connection,
                "INSERT INTO issuers VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE
                 SET upper_factors = excluded.upper_factors, load_limit = excluded.load_limit",
                params![
                    issuer.id.0,
                    issuer.number.0,
                    issuer.currency.numeric(),
                    factors,
                    issuer.load_limit.0
                ],
            )
        }
        Record::Merchant(merchant) => run(
            connection,
            "INSERT INTO merchants VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET name = excluded.name",
            params![
                text(&merchant.id.to_bytes()),
                merchant.number.0,
                merchant.name,
                merchant.currency.numeric()
            ],
        ),
        Record::Terminal(terminal) => run(
            connection,
            "INSERT INTO terminals VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET open = excluded.open, newest = excluded.newest",
            params![
                text(&terminal.id.to_bytes()),
                text(&terminal.merchant.to_bytes()),
                int(terminal.acquirer.0),
                terminal.open.map(|batch| batch.0),
                terminal.newest.0
            ],
        ),
        Record::Sam(sam) => put_sam(connection, sam),
        Record::Payer(token, account) => run(
            connection,
            "INSERT INTO payers VALUES (?1, ?2) ON CONFLICT DO UPDATE SET account = excluded.account",
            params![token.0, id(*account)],
        ),
        Record::Arrival(reference, transfer) => run(
            connection,
            "INSERT INTO arrivals VALUES (?1, ?2)",
            params![reference.cast_signed(), int(transfer.0)],
        ),
        Record::Registry(registry) => run(
            connection,
            "INSERT INTO registry VALUES (1, ?1, ?2, ?3) ON CONFLICT DO UPDATE
             SET issuers = excluded.issuers, merchants = excluded.merchants, deny = excluded.deny",
            params![registry.issuers, registry.merchants, registry.deny.0],
        ),
        _ => Ok(()),
    }
}

/// Writes an account whose totals count every transfer up to `through`.
pub(super) fn put_account(
    connection: &Connection,
    account: &Account,
    through: TransferSeq,
) -> rusqlite::Result<()> {
    let totals = &account.running;
    run(
        connection,
        "INSERT INTO accounts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO UPDATE SET
         flags = excluded.flags, debits_pending = excluded.debits_pending, debits_posted = excluded.debits_posted,
         credits_pending = excluded.credits_pending, credits_posted = excluded.credits_posted,
         through = excluded.through",
        params![
            id(account.id),
            account.currency.numeric(),
            account.code.0,
            account.flags.bits(),
            int(totals.debits_pending),
            int(totals.debits_posted),
            int(totals.credits_pending),
            int(totals.credits_posted),
            account.created.0,
            int(through.0)
        ],
    )
}

fn put_transfer(connection: &Connection, transfer: &Transfer) -> rusqlite::Result<()> {
    let (kind, of, expires) = match transfer.kind {
        TransferKind::Posted => (0, None, None),
        TransferKind::Pending { expires } => (1, None, expires),
        TransferKind::Post { of } => (2, Some(of), None),
        TransferKind::Void { of } => (3, Some(of), None),
        TransferKind::Expire { of } => (4, Some(of), None),
    };
    run(
        connection,
        "INSERT INTO transfers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            int(transfer.seq.0),
            transfer.reference.0.to_be_bytes(),
            id(transfer.debit),
            id(transfer.credit),
            int(transfer.amount.minor()),
            transfer.amount.currency().numeric(),
            transfer.code.0,
            kind,
            of.map(|of| int(of.0)),
            expires.map(|end| end.0),
            transfer.transaction.map(|seq| int(seq.0)),
            transfer.at.0
        ],
    )
}

fn put_hold(connection: &Connection, hold: &Hold) -> rusqlite::Result<()> {
    run(
        connection,
        "INSERT INTO holds VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET state = excluded.state",
        params![int(hold.seq.0), hold_state(hold.state), hold.expires.map(|end| end.0)],
    )
}

fn put_transaction(connection: &Connection, it: &Transaction) -> rusqlite::Result<()> {
    run(
        connection,
        "INSERT INTO transactions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
         ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24) ON CONFLICT DO UPDATE SET
         state = excluded.state, transfer = excluded.transfer, refunded = excluded.refunded",
        params![
            int(it.seq.0),
            int(it.identity.acquirer.0),
            text(&it.identity.terminal.to_bytes()),
            text(&it.identity.merchant.to_bytes()),
            it.identity.batch.0,
            it.identity.trace.0,
            it.digest.0,
            it.kind.number(),
            it.amount.map(|amount| int(amount.minor())),
            it.amount.map(|amount| amount.currency().numeric()),
            it.original.map(|seq| int(seq.0)),
            it.payer.map(id),
            it.payee.map(id),
            it.load.map(|(card, _)| card.issuer.0),
            it.load.map(|(card, _)| card.asn.0),
            it.load.map(|(_, counter)| counter.0),
            it.code.as_str(),
            it.authorisation.as_ref().map(|code| code.as_str()),
            it.moment.to_bytes(),
            codec::body_bytes(&it.body),
            it.at.0,
            it.state.number(),
            it.transfer.map(|seq| int(seq.0)),
            int(it.refunded)
        ],
    )
}

fn put_batch(connection: &Connection, batch: &BatchRecord) -> rusqlite::Result<()> {
    run(
        connection,
        "INSERT INTO batches VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO UPDATE SET
         state = excluded.state, host = excluded.host, of_terminal = excluded.of_terminal,
         last = excluded.last, differences = excluded.differences",
        params![
            text(&batch.terminal.to_bytes()),
            batch.number.0,
            batch.currency.numeric(),
            batch_state(batch.state),
            codec::totals_bytes(&batch.host),
            batch.of_terminal.as_ref().map(codec::totals_bytes),
            int(batch.first.0),
            int(batch.last.0),
            codec::differences_bytes(&batch.differences)
        ],
    )
}

fn put_card(connection: &Connection, card: &Card) -> rusqlite::Result<()> {
    run(
        connection,
        "INSERT INTO cards VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
         ON CONFLICT DO UPDATE SET
         key_version = excluded.key_version, funding = excluded.funding, denied = excluded.denied,
         next_online = excluded.next_online, open_load = excluded.open_load,
         newest_counter = excluded.newest_counter, newest_balance = excluded.newest_balance,
         loaded = excluded.loaded, spent = excluded.spent, claimed = excluded.claimed,
         gap_since = excluded.gap_since, deny_version = excluded.deny_version",
        params![
            card.id.issuer.0,
            card.id.asn.0,
            card.key_version.0,
            card.funding.map(id),
            card.status == CardStatus::Denied,
            card.next_online.0,
            card.open_load.map(|counter| counter.0),
            card.newest.map(|(counter, _)| counter.0),
            card.newest.map(|(_, balance)| balance.0),
            int(card.loaded),
            int(card.spent),
            card.claimed,
            card.gap_since.map(|since| since.0),
            card.deny_version.0
        ],
    )
}

fn put_load(connection: &Connection, load: &Load) -> rusqlite::Result<()> {
    run(
        connection,
        "INSERT INTO loads VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT DO UPDATE SET
         txn = excluded.txn, hold = excluded.hold, payer = excluded.payer, amount = excluded.amount,
         currency = excluded.currency, sam = excluded.sam, balance_old = excluded.balance_old,
         moment = excluded.moment, state = excluded.state",
        params![
            load.card.issuer.0,
            load.card.asn.0,
            load.counter.0,
            int(load.transaction.0),
            int(load.hold.0),
            id(load.payer),
            int(load.amount.minor()),
            load.amount.currency().numeric(),
            load.sam.0,
            load.balance_old.0,
            load.moment.to_bytes(),
            load.state.number()
        ],
    )
}

fn put_record(connection: &Connection, record: &OfflineRecord) -> Result<(), StoreFault> {
    let mut content = [0; 96];
    let length = record.content.encode(&mut content);
    let length = length.map_err(|_| StoreFault::Damaged { what: "a record of mixed suites" })?;
    run(
        connection,
        "INSERT INTO records VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET
         content = excluded.content, standing = excluded.standing, merchant = excluded.merchant,
         txn = excluded.txn, transfer = excluded.transfer",
        params![
            record.content.terminal.0,
            record.content.term_seq.0,
            content.get(..length).unwrap_or_default(),
            record.standing.number(),
            record.merchant.map(padded),
            int(record.transaction.0),
            record.transfer.map(|seq| int(seq.0)),
            record.received.0
        ],
    )
    .map_err(|error| super::fault(&error))
}

fn put_sam(connection: &Connection, sam: &Sam) -> rusqlite::Result<()> {
    for (since, place) in &sam.assignments {
        run(
            connection,
            "INSERT INTO sams VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            params![
                sam.number.0,
                since.to_bytes(),
                place.map(|(terminal, _)| text(&terminal.to_bytes()).to_owned()),
                place.map(|(_, merchant)| padded(merchant))
            ],
        )?;
    }
    Ok(())
}

fn put_alert(connection: &Connection, number: AlertNo, alert: &Alert) -> rusqlite::Result<()> {
    run(
        connection,
        "INSERT INTO alerts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            int(number.0),
            alert.at.0,
            alert.kind.number(),
            alert.card.map(|(issuer, _)| issuer.0),
            alert.card.map(|(_, asn)| asn.0),
            alert.record.map(|(sam, _)| sam.0),
            alert.record.map(|(_, seq)| seq.0),
            alert.transfer.map(|seq| int(seq.0))
        ],
    )
}

fn put_link(connection: &Connection, link: &Link) -> rusqlite::Result<()> {
    run(
        connection,
        "INSERT INTO links VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            int(link.number.0),
            link.at.0,
            int(link.first_transfer.0),
            int(link.next_transfer.0),
            int(link.first_transaction.0),
            int(link.next_transaction.0),
            link.hash
        ],
    )
}
