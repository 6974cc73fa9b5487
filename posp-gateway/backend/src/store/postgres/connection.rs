//! The connection: made, kept, waited for when the server is away, and made anew; and what becomes of a decision when it is.
//!
//! A decision stands as long as the connection that it began with: what it read, with the versions that its commit checks, was read there.

use super::session::Session;
use super::{AGAIN, PostgresStore, schema};
use crate::accounts::{TransactionSeq, TransferSeq};
use crate::store::sqlite::read::{self, Columns};
use crate::store::{AlertNo, GatewayNo, Heads, Linked, StoreFault};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// First and longest pause between two tries to reach the server.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// First pause after a conflict; doubled with each that follows, [`CONFLICT_DOUBLINGS`] times at most.
const CONFLICT_PAUSE: Duration = Duration::from_millis(1);
const CONFLICT_DOUBLINGS: u32 = 5;

/// Since when the server is away.
#[derive(Clone, Debug)]
pub(super) struct Away {
    until: Instant,
    next: Instant,
    pause: Duration,
    why: StoreFault,
}

impl PostgresStore {
    /// Has a session, or waits for one as long as may be. While a commit is in doubt, so is everything: a request may be a repeat of one in it.
    pub(super) fn reach(&mut self) -> Result<(), StoreFault> {
        let reached = self.wait_for_a_session();
        reached.map_err(|fault| match self.doubt {
            Some(_) => StoreFault::InDoubt(fault.to_string()),
            None => fault,
        })
    }

    fn wait_for_a_session(&mut self) -> Result<(), StoreFault> {
        if self.session.as_ref().is_some_and(|session| !session.is_closed()) {
            return Ok(());
        }
        self.session = None;
        self.reading = false;
        let mut away = self.away.take().unwrap_or_else(|| Away {
            until: Instant::now().checked_add(self.options.wait).unwrap_or_else(Instant::now),
            next: Instant::now(),
            pause: PAUSE.0,
            why: StoreFault::Closed,
        });
        if Instant::now() >= away.until && Instant::now() < away.next {
            let why = away.why.clone();
            self.away = Some(away);
            return Err(why);
        }
        loop {
            match self.connect() {
                Ok(()) => return Ok(()),
                Err(fault @ (StoreFault::Away(_) | StoreFault::InUse)) => away.why = fault,
                Err(fault) => return Err(fault),
            }
            let now = Instant::now();
            if now.checked_add(away.pause).is_none_or(|next| next >= away.until) {
                tracing::error!(database = %self.options.address, why = %away.why, "the database is away");
                // From here on one try in a pause, and one line in the log.
                away.until = now;
                away.next = now.checked_add(away.pause).unwrap_or(now);
                away.pause = PAUSE.1;
                let why = away.why.clone();
                self.away = Some(away);
                return Err(why);
            }
            self.sleep(away.pause);
            away.pause = away.pause.saturating_mul(2).min(PAUSE.1);
        }
    }

    fn sleep(&self, pause: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(pause).await });
    }

    fn connect(&mut self) -> Result<(), StoreFault> {
        let number = (!self.only_reads).then_some(self.options.gateway);
        let session = Session::open(&self.runtime, &self.options.address, number)?;
        schema::is_present(&self.runtime, &session)?;
        session.all_is_durable(&self.runtime)?;
        let heads = heads(&self.runtime, &session, self.options.gateway)?;
        if let Some(known) = self.heads.link
            && !has_link(&self.runtime, &session, known)?
        {
            // A failover to a standby that had not received everything: answers have left that it knows nothing of. Another process with our number
            // may have gone on there, so its numbers alone say nothing.
            return Err(StoreFault::Damaged {
                what: "commits of this gateway that were answered are missing",
            });
        }
        self.kept.clear();
        self.limits = None;
        self.seen.clear();
        self.due = None;
        self.heads = heads;
        self.session = Some(session);
        // Where this one leads, the other has to lead too.
        self.reader = None;
        if !self.only_reads
            && let Err(fault) = self.begin_beyond_restores()
        {
            self.session = None;
            return Err(fault);
        }
        self.connection = self.connection.saturating_add(1);
        if let Some(link) = self.doubt.take() {
            let kept = self.heads.link == Some(link);
            tracing::warn!(commit = %link.number, kept, "a commit is no longer in doubt");
        }
        Ok(())
    }

    /// Where our sequences stand in what is read now, if it is not we who move them.
    pub(super) fn follow_others(&mut self) -> Result<(), StoreFault> {
        if !self.only_reads {
            return Ok(());
        }
        let gateway = self.options.gateway;
        let (session, runtime) = self.session()?;
        self.heads = heads(runtime, session, gateway)?;
        Ok(())
    }

    /// Whether the gateway's number is ours.
    pub(super) fn may_commit(&self) -> Result<(), StoreFault> {
        if self.only_reads {
            return Err(StoreFault::Io(
                "a ledger that was just taken in is opened anew before it is used".to_owned(),
            ));
        }
        Ok(())
    }

    /// Nothing is on its way, and the present decision stands.
    pub(super) fn settled(&mut self) -> Result<(), StoreFault> {
        self.land()?;
        self.still()
    }

    /// A decision that went over to another connection has lost what it read, and with it the versions that its commit would check.
    pub(super) const fn still(&self) -> Result<(), StoreFault> {
        if self.decided_on == self.connection { Ok(()) } else { Err(AGAIN) }
    }

    /// A decision, or a reading, begins here.
    pub(super) fn begins(&mut self) -> Result<(), StoreFault> {
        self.seen.clear();
        self.due = None;
        self.decided_on = self.connection;
        if self.flight.is_none() {
            self.reach()?;
        }
        self.decided_on = self.connection;
        Ok(())
    }

    /// The session that commits, once nothing is on its way.
    pub(super) fn session(&mut self) -> Result<(&mut Session, &Runtime), StoreFault> {
        self.settled()?;
        match &mut self.session {
            Some(session) => Ok((session, &self.runtime)),
            None => Err(AGAIN),
        }
    }

    /// What a failed read means: without its session the whole decision begins again.
    pub(super) fn failed(&mut self, fault: StoreFault) -> StoreFault {
        if self.flight.is_some() {
            // Whatever is wrong, the commit on its way comes first; the next decision reads where it was sent.
            self.reader = None;
            return AGAIN;
        }
        if !matches!(fault, StoreFault::Away(_)) {
            return fault;
        }
        self.session = None;
        match self.reach() {
            Ok(()) => AGAIN,
            Err(fault) => fault,
        }
    }

    /// Gives way after a conflict: longer each time, and never as long as another gateway.
    pub(super) fn give_way(&mut self) {
        let doublings = self.conflicts.min(CONFLICT_DOUBLINGS);
        self.conflicts = self.conflicts.saturating_add(1);
        let share = u32::from(self.options.gateway.number()).wrapping_mul(7).wrapping_add(self.conflicts) % 8;
        let pause = CONFLICT_PAUSE.saturating_mul(1 << doublings);
        let eighth = pause.checked_div(8).unwrap_or_default();
        self.sleep(pause.saturating_add(eighth.saturating_mul(share)));
    }
}

pub(super) fn runtime() -> Result<Runtime, StoreFault> {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("database")
        .enable_io()
        .enable_time()
        .build();
    built.map_err(|error| StoreFault::Io(error.to_string()))
}

/// Whether a chain has this link.
fn has_link(runtime: &Runtime, session: &Session, link: Linked) -> Result<bool, StoreFault> {
    let number = i64::try_from(link.number.0).unwrap_or(i64::MAX);
    let sql = "SELECT FROM tapline.links WHERE number = $1 AND hash = $2";
    Ok(!session.rows(runtime, sql, &[&number, &link.hash.as_slice()])?.is_empty())
}

/// Where the sequences of a gateway stand: from its newest link. What is beyond it cannot be: rows and link are one transaction.
fn heads(runtime: &Runtime, session: &Session, gateway: GatewayNo) -> Result<Heads, StoreFault> {
    let damaged = StoreFault::Damaged { what: "links" };
    let (first, end) = (gateway.base(), gateway.base_after());
    let int = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let sql = "SELECT number, at, first_transfer, next_transfer, first_transaction, next_transaction, hash
               FROM tapline.links WHERE number >= $1 AND number < $2 ORDER BY number DESC LIMIT 1";
    let mut heads = gateway.heads();
    if let Some(row) = session.rows(runtime, sql, &[&int(first), &int(end)])?.first() {
        let link = read::link_of(&mut Columns::new(row)).ok_or(damaged.clone())?;
        heads.transfer = link.next_transfer;
        heads.transaction = link.next_transaction;
        heads.link = Some(Linked { number: link.number, hash: link.hash });
        heads.at = link.at;
    }
    let sql = "SELECT coalesce(max(number), $1) FROM tapline.alerts WHERE number >= $1 AND number < $2";
    let rows = session.rows(runtime, sql, &[&int(first), &int(end)])?;
    let alert: i64 = rows.first().and_then(|row| row.try_get(0).ok()).ok_or(damaged.clone())?;
    heads.alert = AlertNo(u64::try_from(alert).map_err(|_| damaged)?.saturating_add(1));
    debug_assert!(heads.transfer >= TransferSeq(gateway.first()));
    debug_assert!(heads.transaction >= TransactionSeq(gateway.first()));
    Ok(heads)
}
