//! The tables and the statements made from them. A new field of a record is a column here, in `rows.rs` and in a migration.

use std::fmt::Write;

/// How a column is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `smallint`.
    Small,
    /// `integer`.
    Int,
    /// `bigint`.
    Big,
    /// `bytea`.
    Bytes,
    /// `text`.
    Text,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Small => "smallint",
            Self::Int => "integer",
            Self::Big => "bigint",
            Self::Bytes => "bytea",
            Self::Text => "text",
        }
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Whether it may change after the row was made.
    pub(super) changes: bool,
}

const fn fixed(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, changes: false }
}

const fn changing(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, changes: true }
}

/// The tables, in the order in which a commit touches them: two gateways that touch the same rows do so in the same order, so that one
/// waits for the other and neither waits for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Table {
    Registry,
    Issuers,
    Merchants,
    Terminals,
    Sams,
    Payers,
    Batches,
    Uploads,
    Cards,
    Loads,
    Records,
    Holds,
    Accounts,
    Transactions,
    Limits,
    Usages,
    Shares,
    Claims,
    Resolutions,
    Arrivals,
    Transfers,
    Alerts,
    Links,
}

impl Table {
    pub(super) const ALL: [Self; 23] = [
        Self::Registry,
        Self::Issuers,
        Self::Merchants,
        Self::Terminals,
        Self::Sams,
        Self::Payers,
        Self::Batches,
        Self::Uploads,
        Self::Cards,
        Self::Loads,
        Self::Records,
        Self::Holds,
        Self::Accounts,
        Self::Transactions,
        Self::Limits,
        Self::Usages,
        Self::Shares,
        Self::Claims,
        Self::Resolutions,
        Self::Arrivals,
        Self::Transfers,
        Self::Alerts,
        Self::Links,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Issuers => "issuers",
            Self::Merchants => "merchants",
            Self::Terminals => "terminals",
            Self::Sams => "sams",
            Self::Payers => "payers",
            Self::Batches => "batches",
            Self::Uploads => "uploads",
            Self::Cards => "cards",
            Self::Loads => "loads",
            Self::Records => "records",
            Self::Holds => "holds",
            Self::Accounts => "accounts",
            Self::Transactions => "transactions",
            Self::Limits => "limits",
            Self::Usages => "usages",
            Self::Shares => "shares",
            Self::Claims => "claims",
            Self::Resolutions => "resolutions",
            Self::Arrivals => "arrivals",
            Self::Transfers => "transfers",
            Self::Alerts => "alerts",
            Self::Links => "links",
        }
    }

    /// How many of the first columns find a row.
    pub(super) const fn keys(self) -> usize {
        match self {
            Self::Uploads | Self::Loads | Self::Claims | Self::Resolutions => 3,
            Self::Batches | Self::Cards | Self::Records => 2,
            _ => 1,
        }
    }

    /// All columns but `version`.
    pub(super) const fn columns(self) -> &'static [Column] {
        use Kind::{Big, Bytes, Int, Small, Text};
        match self {
            Self::Registry => {
                const {
                    &[
                        fixed("one", Small),
                        changing("issuers", Int),
                        changing("merchants", Int),
                        changing("deny", Big),
                    ]
                }
            }
            Self::Limits => {
                const {
                    &[
                        fixed("scope", Bytes),
                        changing("payment_max", Big),
                        changing("day_sum_max", Big),
                        changing("day_count_max", Big),
                    ]
                }
            }
            Self::Usages => {
                const {
                    &[
                        fixed("of", Bytes),
                        changing("day", Bytes),
                        changing("since", Big),
                        changing("used_minor", Big),
                        changing("used_count", Big),
                        changing("left_minor", Big),
                        changing("left_count", Big),
                    ]
                }
            }
            Self::Shares => {
                const {
                    &[
                        fixed("merchant", Text),
                        changing("day", Bytes),
                        changing("since", Big),
                        changing("granted_minor", Big),
                        changing("granted_count", Big),
                        changing("terminals", Bytes),
                    ]
                }
            }
            Self::Issuers => {
                const {
                    &[
                        fixed("id", Bytes),
                        fixed("number", Int),
                        fixed("currency", Small),
                        fixed("upper_factors", Bytes),
                        fixed("load_limit", Big),
                    ]
                }
            }
            Self::Merchants => {
                const { &[fixed("id", Text), fixed("number", Int), fixed("name", Text), fixed("currency", Small)] }
            }
            Self::Terminals => {
                const {
                    &[
                        fixed("id", Text),
                        fixed("merchant", Text),
                        fixed("acquirer", Big),
                        changing("open", Int),
                        changing("newest", Int),
                    ]
                }
            }
            Self::Sams => const { &[fixed("number", Bytes), changing("assignments", Bytes)] },
            Self::Payers => const { &[fixed("token", Bytes), fixed("account", Bytes)] },
            Self::Accounts => {
                const {
                    &[
                        fixed("id", Bytes),
                        fixed("currency", Small),
                        fixed("code", Small),
                        changing("flags", Small),
                        changing("debits_pending", Big),
                        changing("debits_posted", Big),
                        changing("credits_pending", Big),
                        changing("credits_posted", Big),
                        fixed("created", Big),
                    ]
                }
            }
            Self::Batches => {
                const {
                    &[
                        fixed("terminal", Text),
                        fixed("number", Int),
                        fixed("currency", Small),
                        changing("state", Small),
                        changing("host", Bytes),
                        changing("of_terminal", Bytes),
                        fixed("first", Big),
                        changing("last", Big),
                        changing("differences", Bytes),
                    ]
                }
            }
            Self::Uploads => {
                const {
                    &[
                        fixed("terminal", Text),
                        fixed("number", Int),
                        fixed("key", Bytes),
                        changing("item", Bytes),
                    ]
                }
            }
            Self::Cards => {
                const {
                    &[
                        fixed("issuer", Bytes),
                        fixed("asn", Bytes),
                        changing("key_version", Small),
                        changing("funding", Bytes),
                        changing("denied", Small),
                        changing("next_online", Int),
                        changing("open_load", Int),
                        changing("newest_counter", Int),
                        changing("newest_balance", Big),
                        changing("loaded", Big),
                        changing("spent", Big),
                        changing("claimed", Int),
                        changing("gap_since", Big),
                        changing("deny_version", Big),
                    ]
                }
            }
            Self::Loads => {
                const {
                    &[
                        fixed("issuer", Bytes),
                        fixed("asn", Bytes),
                        fixed("counter", Int),
                        changing("txn", Big),
                        changing("hold", Big),
                        changing("payer", Bytes),
                        changing("amount", Big),
                        changing("currency", Small),
                        changing("sam", Bytes),
                        changing("balance_old", Big),
                        changing("moment", Bytes),
                        changing("state", Small),
                    ]
                }
            }
            Self::Records => {
                const {
                    &[
                        fixed("sam", Bytes),
                        fixed("term_seq", Big),
                        changing("content", Bytes),
                        changing("standing", Small),
                        changing("merchant", Text),
                        changing("txn", Big),
                        changing("transfer", Big),
                        fixed("received", Big),
                    ]
                }
            }
            Self::Claims | Self::Resolutions => {
                const {
                    &[
                        fixed("issuer", Bytes),
                        fixed("asn", Bytes),
                        fixed("counter", Int),
                        fixed("sam", Bytes),
                        fixed("term_seq", Big),
                    ]
                }
            }
            Self::Holds => {
                const {
                    &[
                        fixed("seq", Big),
                        fixed("place", Bytes),
                        changing("state", Small),
                        fixed("expires", Big),
                    ]
                }
            }
            Self::Arrivals => const { &[fixed("reference", Big), fixed("transfer", Big)] },
            Self::Transactions => {
                const {
                    &[
                        fixed("seq", Big),
                        fixed("acquirer", Big),
                        fixed("terminal", Text),
                        fixed("merchant", Text),
                        fixed("batch", Int),
                        fixed("trace", Int),
                        fixed("digest", Bytes),
                        fixed("kind", Small),
                        fixed("amount", Big),
                        fixed("currency", Small),
                        fixed("original", Big),
                        fixed("payer", Bytes),
                        fixed("payee", Bytes),
                        fixed("load_issuer", Bytes),
                        fixed("load_asn", Bytes),
                        fixed("load_counter", Int),
                        fixed("code", Text),
                        fixed("authorisation", Text),
                        fixed("moment", Bytes),
                        fixed("body", Bytes),
                        fixed("at", Big),
                        changing("state", Small),
                        changing("transfer", Big),
                        changing("refunded", Big),
                    ]
                }
            }
            Self::Transfers => {
                const {
                    &[
                        fixed("seq", Big),
                        fixed("reference", Bytes),
                        fixed("debit", Bytes),
                        fixed("credit", Bytes),
                        fixed("amount", Big),
                        fixed("currency", Small),
                        fixed("code", Small),
                        fixed("kind", Small),
                        fixed("of", Big),
                        fixed("expires", Big),
                        fixed("txn", Big),
                        fixed("at", Big),
                    ]
                }
            }
            Self::Alerts => {
                const {
                    &[
                        fixed("number", Big),
                        fixed("at", Big),
                        fixed("kind", Small),
                        fixed("issuer", Bytes),
                        fixed("asn", Bytes),
                        fixed("sam", Bytes),
                        fixed("term_seq", Big),
                        fixed("transfer", Big),
                    ]
                }
            }
            Self::Links => {
                const {
                    &[
                        fixed("number", Big),
                        fixed("at", Big),
                        fixed("first_transfer", Big),
                        fixed("next_transfer", Big),
                        fixed("first_transaction", Big),
                        fixed("next_transaction", Big),
                        fixed("hash", Bytes),
                    ]
                }
            }
        }
    }

    /// Whether its rows change, and so have a version.
    pub(super) fn is_versioned(self) -> bool {
        self.columns().iter().any(|column| column.changes)
    }

    pub(super) fn key_columns(self) -> &'static [Column] {
        self.columns().get(..self.keys()).unwrap_or_default()
    }

    /// What is selected of a row, in the order in which `rows.rs` reads it.
    pub(super) fn selected(self) -> String {
        if self == Self::Holds {
            return "t.seq, p.debit, p.credit, p.amount, p.currency, t.expires, t.state, p.code, p.txn"
                .to_owned();
        }
        names(self.columns().iter(), "t.")
    }

    /// What it is selected from.
    pub(super) fn source(self) -> String {
        let name = self.name();
        if self == Self::Holds {
            return "tapline.holds t JOIN tapline.transfers p ON p.seq = t.seq".to_owned();
        }
        format!("tapline.{name} t")
    }

    fn version(self) -> &'static str {
        if self.is_versioned() { "t.version" } else { "0::bigint" }
    }

    /// Reads rows by arrays of keys; the version comes last.
    pub(super) fn read(self) -> String {
        let (selected, source, version) = (self.selected(), self.source(), self.version());
        let keys = self.key_columns();
        format!(
            "SELECT {selected}, {version} FROM {} JOIN {source} ON {}",
            unnest(keys.iter(), false),
            same(keys)
        )
    }

    /// Appends rows from arrays of all columns.
    pub(super) fn insert(self) -> String {
        let columns = self.columns();
        let arrays = arrays(columns.iter());
        format!(
            "INSERT INTO tapline.{} ({}) SELECT * FROM unnest({arrays})",
            self.name(),
            names(columns.iter(), "")
        )
    }

    /// The columns of [`Table::update`]'s arrays: keys, what changes.
    pub(super) fn updated(self) -> impl Iterator<Item = (usize, &'static Column)> {
        let keys = self.keys();
        self.columns().iter().enumerate().filter(move |(at, column)| *at < keys || column.changes)
    }

    /// Changes rows that have the version that was read; the number of rows comes last.
    pub(super) fn update(self) -> String {
        let arrays: Vec<&Column> = self.updated().map(|(_, column)| column).collect();
        let set: Vec<String> = self
            .columns()
            .iter()
            .filter(|column| column.changes)
            .map(|column| format!("{0} = u.{0}", column.name))
            .collect();
        let count = arrays.len().saturating_add(2);
        format!(
            "WITH done AS (UPDATE tapline.{} AS t SET {}, version = t.version + 1 FROM {} WHERE {} \
             AND t.version = u.version RETURNING 1) SELECT tapline.expect(count(*), ${count}) FROM done",
            self.name(),
            set.join(", "),
            unnest(arrays.into_iter(), true),
            same(self.key_columns())
        )
    }

    /// Makes sure, until the commit, that rows have the version that was read.
    pub(super) fn check(self) -> String {
        let keys = self.key_columns();
        let count = keys.len().saturating_add(2);
        format!(
            "SELECT tapline.expect(count(*), ${count}) FROM (SELECT 1 FROM {} JOIN tapline.{} t ON {} \
             AND t.version = u.version FOR SHARE OF t) AS held",
            unnest(keys.iter(), true),
            self.name(),
            same(keys)
        )
    }

    /// Makes sure that there are no such rows.
    pub(super) fn absent(self) -> String {
        let keys = self.key_columns();
        format!(
            "SELECT tapline.expect(count(*), 0) FROM {} JOIN tapline.{} t ON {}",
            unnest(keys.iter(), false),
            self.name(),
            same(keys)
        )
    }
}

/// The columns of an identity, in the order of the index that makes it unique.
pub(super) const IDENTITY: [Column; 5] = [
    fixed("terminal", Kind::Text),
    fixed("batch", Kind::Int),
    fixed("trace", Kind::Int),
    fixed("acquirer", Kind::Big),
    fixed("merchant", Kind::Text),
];

/// Finds transactions by arrays of [`IDENTITY`].
pub(super) fn identities() -> String {
    format!(
        "SELECT t.terminal, t.batch, t.trace, t.acquirer, t.merchant, t.seq FROM {} JOIN tapline.transactions t ON {}",
        unnest(IDENTITY.iter(), false),
        same(&IDENTITY)
    )
}

/// The version of all limits together, and the limits.
pub(super) const LIMITS_HEAD: &str = "SELECT version FROM tapline.limits_head";
/// All limits with their versions.
pub(super) fn all_limits() -> String {
    format!("SELECT {}, t.version FROM tapline.limits t", Table::Limits.selected())
}
/// Makes sure that no limit has changed ($1).
pub(super) const CHECK_LIMITS: &str = "SELECT tapline.expect(version, $1) FROM tapline.limits_head";
/// A limit has changed.
pub(super) const CHANGE_LIMITS: &str = "UPDATE tapline.limits_head SET version = version + 1";

/// Open holds whose time ($1) is up, at most $2.
pub(super) fn due_holds() -> String {
    format!(
        "SELECT {}, t.version FROM {} WHERE t.state = 0 AND t.expires IS NOT NULL AND t.expires <= $1 \
         ORDER BY t.expires, t.seq LIMIT $2",
        Table::Holds.selected(),
        Table::Holds.source()
    )
}

fn names<'c>(columns: impl Iterator<Item = &'c Column>, prefix: &str) -> String {
    let names: Vec<String> = columns.map(|column| format!("{prefix}{}", column.name)).collect();
    names.join(", ")
}

fn arrays<'c>(columns: impl Iterator<Item = &'c Column>) -> String {
    let mut text = String::new();
    for (at, column) in columns.enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}${}::{}[]", at.saturating_add(1), column.kind.name());
    }
    text
}

/// `unnest($1::…[], …) AS u(…)`, with versions as the last array if `versioned`.
fn unnest<'c>(columns: impl Iterator<Item = &'c Column>, versioned: bool) -> String {
    const VERSION: Column = fixed("version", Kind::Big);
    let columns: Vec<&Column> = columns.chain(versioned.then_some(&VERSION)).collect();
    format!("unnest({}) AS u({})", arrays(columns.iter().copied()), names(columns.iter().copied(), ""))
}

fn same(keys: &[Column]) -> String {
    let same: Vec<String> = keys.iter().map(|column| format!("t.{0} = u.{0}", column.name)).collect();
    same.join(" AND ")
}
