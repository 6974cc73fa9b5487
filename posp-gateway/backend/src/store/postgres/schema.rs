//! The schema: numbered steps, taken by its owner, and what the gateways' role is given.

use super::session::{Address, Session};
use super::shape::Table;
use super::{Options, runtime};
use crate::store::StoreFault;
use tokio::runtime::Runtime;

/// The steps from an empty database to the present schema, in order; a released step never changes.
const MIGRATIONS: [&str; 2] = [include_str!("schema-1.sql"), include_str!("schema-2.sql")];

fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// The schema of a database; 0 where there is none.
fn version(runtime: &Runtime, session: &Session) -> Result<u32, StoreFault> {
    let there = "SELECT (to_regclass('tapline.schema') IS NOT NULL)::int";
    if session.simple_int(runtime, there)? != Some(1) {
        return Ok(0);
    }
    let version = session.simple_int(runtime, "SELECT version FROM tapline.schema")?;
    version
        .and_then(|version| u32::try_from(version).ok())
        .ok_or(StoreFault::Damaged { what: "the schema's version" })
}

/// Whether the database has the schema that this program writes.
pub(super) fn is_present(runtime: &Runtime, session: &Session) -> Result<(), StoreFault> {
    let (found, known) = (version(runtime, session)?, known());
    match found.cmp(&known) {
        std::cmp::Ordering::Less => Err(StoreFault::Older { found, known }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(StoreFault::Newer { found, known }),
    }
}

/// Brings a database to the present schema as its owner, and gives the gateways' role what it needs and no more. Does nothing where
/// that has been done.
///
/// # Errors
/// The server is away or refuses the owner, the role does not exist, or the schema is newer than this program.
pub fn prepare(owner: &Address, service: &Options) -> Result<(), StoreFault> {
    let runtime = runtime()?;
    let session = Session::open(&runtime, owner, None)?;
    session.simple(&runtime, "SET default_transaction_read_only = off")?;
    // One at a time, whoever begins.
    session.simple(&runtime, "SELECT pg_advisory_lock(1414285125, -1)")?;
    let (found, known) = (version(&runtime, &session)?, known());
    if found > known {
        return Err(StoreFault::Newer { found, known });
    }
    let done = usize::try_from(found).unwrap_or(usize::MAX);
    for (step, number) in MIGRATIONS.iter().zip(1u32..).skip(done) {
        let set = format!("UPDATE tapline.schema SET version = {number}");
        // Statements of one simple query are one transaction: a step is taken wholly or not at all.
        session.simple(&runtime, &format!("{step};\n{set}"))?;
    }
    session.simple(&runtime, &grants(service.address.user()))
}

/// A name in SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn grants(role: &str) -> String {
    let role = quoted(role);
    let mut sql = format!(
        "REVOKE ALL ON SCHEMA tapline FROM PUBLIC; GRANT USAGE ON SCHEMA tapline TO {role}; \
         GRANT SELECT ON tapline.schema TO {role}; \
         GRANT SELECT, UPDATE (version) ON tapline.limits_head TO {role}; GRANT EXECUTE ON FUNCTION tapline.expect(bigint, bigint) TO {role};"
    );
    for table in Table::ALL {
        let name = table.name();
        sql.push_str(&format!("GRANT SELECT, INSERT ON tapline.{name} TO {role};"));
        if table.is_versioned() {
            let changes = table.columns().iter().filter(|column| column.changes);
            let names: Vec<&str> = changes.map(|column| column.name).chain(["version"]).collect();
            sql.push_str(&format!("GRANT UPDATE ({}) ON tapline.{name} TO {role};", names.join(", ")));
        }
    }
    sql
}
