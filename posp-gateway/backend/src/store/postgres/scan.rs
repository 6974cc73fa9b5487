//! Scans: a cursor, a few thousand rows a round trip, until the visitor breaks. What is read in pieces of one moment needs none: a statement
//! that is prepared once gives a page after a key.

use super::session::Ask;
use super::shape::Table;
use super::{PostgresStore, rows};
use crate::store::{Key, Kind, Scan, StoreFault, Visit};
use tokio_postgres::types::ToSql;

/// Rows of one round trip.
const ROWS: u32 = 4096;
/// Rows after a key at once: as many as those who read in pieces take.
const PAGE: usize = 2048;

/// What a scan selects: the table, the condition, the order, and the parameters.
struct Wanted {
    table: Table,
    condition: String,
    order: String,
    params: Vec<Box<dyn ToSql + Sync>>,
}

fn big(number: u64) -> Box<dyn ToSql + Sync> {
    Box::new(i64::try_from(number).unwrap_or(i64::MAX))
}

fn batch(terminal: protocol::ids::TerminalId, number: protocol::ids::BatchNo) -> Vec<Box<dyn ToSql + Sync>> {
    let terminal = crate::store::sqlite::write::text(&terminal.to_bytes()).to_owned();
    vec![Box::new(terminal), Box::new(i32::try_from(number.0).unwrap_or(i32::MAX))]
}

fn wanted(scan: Scan) -> Wanted {
    let all = |table, order: &str| Wanted {
        table,
        condition: "true".to_owned(),
        order: order.to_owned(),
        params: Vec::new(),
    };
    match scan {
        Scan::Transfers(from) => {
            let params = vec![big(from.0)];
            Wanted {
                table: Table::Transfers,
                condition: "t.seq >= $1".to_owned(),
                order: "t.seq".to_owned(),
                params,
            }
        }
        Scan::Transactions(from, to) => Wanted {
            table: Table::Transactions,
            condition: "t.seq BETWEEN $1 AND $2".to_owned(),
            order: "t.seq".to_owned(),
            params: vec![big(from.0), big(to.0)],
        },
        Scan::OfBatch(terminal, number) => Wanted {
            table: Table::Transactions,
            condition: "t.terminal = $1 AND t.batch = $2".to_owned(),
            order: "t.seq".to_owned(),
            params: batch(terminal, number),
        },
        Scan::Links(from) => Wanted {
            table: Table::Links,
            condition: "t.number >= $1".to_owned(),
            order: "t.number".to_owned(),
            params: vec![big(from.0)],
        },
        Scan::Accounts => all(Table::Accounts, "t.id"),
        Scan::Holds => all(Table::Holds, "t.seq"),
        Scan::Issuers => all(Table::Issuers, "t.id"),
        Scan::Cards => all(Table::Cards, "t.issuer, t.asn"),
        Scan::Records => all(Table::Records, "t.sam, t.term_seq"),
        Scan::OpenRecords => Wanted {
            condition: "t.standing IN (2, 3, 8)".to_owned(),
            ..all(Table::Records, "t.sam, t.term_seq")
        },
        Scan::Claims => all(Table::Claims, "t.issuer, t.asn, t.counter"),
        Scan::Loads => all(Table::Loads, "t.issuer, t.asn, t.counter"),
        Scan::Uploads(terminal, number) => Wanted {
            table: Table::Uploads,
            condition: "t.terminal = $1 AND t.number = $2".to_owned(),
            order: "t.key".to_owned(),
            params: batch(terminal, number),
        },
        Scan::DenyList(after) => Wanted {
            condition: "t.deny_version > $1 AND t.deny_version > 0".to_owned(),
            params: vec![big(u64::from(after.0))],
            ..all(Table::Cards, "t.deny_version")
        },
        Scan::Gaps(before) => Wanted {
            condition: "t.gap_since IS NOT NULL AND t.gap_since < $1".to_owned(),
            params: vec![Box::new(before.0)],
            ..all(Table::Cards, "t.gap_since, t.issuer, t.asn")
        },
        Scan::After(kind, key) => after(kind, key.as_ref()),
        Scan::Alerts => all(Table::Alerts, "t.at DESC, t.number DESC"),
    }
}

const fn table(kind: Kind) -> Table {
    match kind {
        Kind::Registry => Table::Registry,
        Kind::Issuer => Table::Issuers,
        Kind::Merchant => Table::Merchants,
        Kind::Terminal => Table::Terminals,
        Kind::Sam => Table::Sams,
        Kind::Payer => Table::Payers,
        Kind::Account => Table::Accounts,
        Kind::Transfer => Table::Transfers,
        Kind::Hold => Table::Holds,
        Kind::Arrival => Table::Arrivals,
        Kind::Batch => Table::Batches,
        Kind::Transaction => Table::Transactions,
        Kind::Upload => Table::Uploads,
        Kind::Card => Table::Cards,
        Kind::Load => Table::Loads,
        Kind::Record => Table::Records,
        Kind::Claim => Table::Claims,
        Kind::Resolution => Table::Resolutions,
        Kind::Limit => Table::Limits,
        Kind::Usage => Table::Usages,
        Kind::Shares => Table::Shares,
        Kind::Alert => Table::Alerts,
        Kind::Link => Table::Links,
    }
}

/// The records of a kind whose key is greater: keys are the first columns of their tables.
fn after(kind: Kind, key: Option<&Key>) -> Wanted {
    let table = table(kind);
    let columns: Vec<String> =
        table.key_columns().iter().map(|column| format!("t.{}", column.name)).collect();
    let order = columns.join(", ");
    let (condition, params) = match key {
        None => ("true".to_owned(), Vec::new()),
        Some(key) => {
            let (_, values) = rows::key(key);
            let marks: Vec<String> = (1..=values.len()).map(|at| format!("${at}")).collect();
            let params =
                table.key_columns().iter().zip(values).map(|(column, value)| rows::param(*column, value));
            (format!("({order}) > ({})", marks.join(", ")), params.collect())
        }
    };
    Wanted { table, condition, order, params }
}

impl PostgresStore {
    /// Goes through records. Those that a decision goes through are bound by their versions like those it reads by key.
    pub(super) fn go_through(&mut self, scan: Scan, visit: Visit<'_>) -> Result<(), StoreFault> {
        if let (true, Scan::After(kind, key)) = (self.reading, scan) {
            return self.page_by_page(kind, key, visit);
        }
        let Wanted { table, condition, order, params } = wanted(scan);
        let (reading, bound) = (self.reading, !self.reading && table.is_versioned());
        if !reading {
            let (session, runtime) = self.session()?;
            session.simple(runtime, "BEGIN READ ONLY")?;
        }
        let version = if table.is_versioned() { "t.version" } else { "0::bigint" };
        let sql = format!(
            "DECLARE scan NO SCROLL CURSOR FOR SELECT {}, {version} FROM {} WHERE {condition} ORDER BY {order}",
            table.selected(),
            table.source()
        );
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| &**param).collect();
        let result = self.fetch_all(&sql, &params, table, bound, visit);
        let end = if reading { "CLOSE scan" } else { "COMMIT" };
        let (session, runtime) = self.session()?;
        let ended = session.simple(runtime, end);
        result.and(ended)
    }

    fn fetch_all(
        &mut self,
        declare: &str,
        params: &[&(dyn ToSql + Sync)],
        table: Table,
        bound: bool,
        visit: Visit<'_>,
    ) -> Result<(), StoreFault> {
        let (session, runtime) = self.session()?;
        session.rows(runtime, declare, params)?;
        let next = format!("FETCH FORWARD {ROWS} FROM scan");
        loop {
            let (session, runtime) = self.session()?;
            let found = session.rows(runtime, &next, &[])?;
            let last = found.len() < usize::try_from(ROWS).unwrap_or(usize::MAX);
            for row in &found {
                if bound {
                    self.take(table, row)?;
                }
                if visit(rows::record(table, row)?).is_break() {
                    return Ok(());
                }
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Pages of a kind, each by its own statement: all of the moment that is being read.
    fn page_by_page(
        &mut self,
        kind: Kind,
        mut after: Option<Key>,
        visit: Visit<'_>,
    ) -> Result<(), StoreFault> {
        loop {
            let Wanted { table, condition, order, params } = wanted(Scan::After(kind, after));
            let (session, runtime) = self.session()?;
            let name = format!("{table:?} page {}", params.len());
            let statement = session.prepared(runtime, &name, || {
                format!(
                    "SELECT {}, 0::bigint FROM {} WHERE {condition} ORDER BY {order} LIMIT {PAGE}",
                    table.selected(),
                    table.source()
                )
            })?;
            let params = params.iter().map(|param| -> &(dyn ToSql + Sync) { &**param }).collect();
            let page = session.ask(runtime, &[Ask { statement, params }])?.pop().unwrap_or_default();
            for row in &page {
                let record = rows::record(table, row)?;
                after = Some(record.key());
                if visit(record).is_break() {
                    return Ok(());
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }
}
