//! What lies between a gateway's rules and the database that all gateways share: faults strike here, and a process dies here. What was
//! committed stays; what a process had in memory goes with it.

use super::plan::{GatewayFault, Trouble};
use backend::Engine;
use backend::accounts::Hold;
use backend::api::{Answer, AnswerBody, Backend, HostAnswer, Query, Report, Request};
use backend::store::memory::shared::{At, SharedStore};
use backend::store::{Batch, Heads, Key, Outcome, Record, Scan, Store, StoreFault, Visit};
use protocol::iso8583::typed::ResponseCode;
use protocol::purse::Moment;
use protocol::time::{Now, Wall};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What goes wrong with the commits that come, whichever gateway makes them.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<Planned>>);

#[derive(Debug, Default)]
struct Planned {
    faults: Vec<GatewayFault>,
    /// Commits since they were planned.
    commits: usize,
    /// What struck since somebody looked.
    struck: Vec<&'static str>,
}

impl Troubles {
    fn lock(&self) -> MutexGuard<'_, Planned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These from now on.
    pub fn plan(&self, faults: &[GatewayFault]) {
        let mut planned = self.lock();
        planned.commits = 0;
        planned.faults = faults.to_vec();
    }

    /// What struck since it was asked last.
    #[must_use]
    pub fn struck(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.lock().struck)
    }

    fn strikes(&self, what: &'static str) {
        self.lock().struck.push(what);
    }

    /// The next commit's trouble, if it is one of these; it strikes once.
    fn take(&self, wanted: impl Fn(Trouble) -> bool) -> Option<Trouble> {
        let mut planned = self.lock();
        let commit = planned.commits;
        let at = planned.faults.iter().position(|fault| fault.commit == commit && wanted(fault.trouble))?;
        Some(planned.faults.swap_remove(at).trouble)
    }

    /// For how long the next decision waits.
    pub(super) fn slow(&self) -> Option<u64> {
        match self.take(|trouble| matches!(trouble, Trouble::Slow(_))) {
            Some(Trouble::Slow(ms)) => {
                self.strikes("slow");
                Some(ms)
            }
            _ => None,
        }
    }

    /// If the next decision is to be overtaken: by so many commits, after so many reads.
    pub(super) fn overtaken(&self) -> Option<(u64, usize)> {
        match self.take(|trouble| matches!(trouble, Trouble::Overtaken { .. })) {
            Some(Trouble::Overtaken { commits, reads }) => Some((commits, reads)),
            _ => None,
        }
    }
}

const fn is_of_disk(trouble: Trouble) -> bool {
    matches!(
        trouble,
        Trouble::DiesBefore(_)
            | Trouble::DiesAfter(_)
            | Trouble::Full
            | Trouble::Fails
            | Trouble::Conflicts(_)
            | Trouble::Away { .. }
    )
}

/// A gateway's way to the database.
#[derive(Debug)]
pub struct Disk {
    /// What is durable, as this gateway sees it.
    pub synced: SharedStore,
    troubles: Troubles,
    /// The process is dead, for so many milliseconds.
    pub(super) died: Option<u64>,
    /// The database was lost, for so many milliseconds, since somebody looked.
    pub(super) lost: Option<u64>,
    /// The database cannot be reached.
    pub(super) away: bool,
    /// So many commits to come find another writer's.
    conflicts: u32,
}

impl Disk {
    /// Of a process that starts.
    #[must_use]
    pub const fn new(synced: SharedStore, troubles: Troubles) -> Self {
        Self { synced, troubles, died: None, lost: None, away: false, conflicts: 0 }
    }

    fn reach(&self) -> Result<(), StoreFault> {
        match (self.died, self.away) {
            (Some(_), _) => Err(StoreFault::Closed),
            (None, true) => Err(StoreFault::Away("no route to it".into())),
            (None, false) => Ok(()),
        }
    }

    /// The next decision begins before `moment`'s newest commits, as it sees them.
    pub(super) const fn read_before(&mut self, moment: At, reads: usize) {
        self.synced.read_before(moment, reads);
    }

    /// One of the conflicts that need no other writer's commit: a deadlock that the database has resolved, a lock that it did not give.
    fn conflict(&mut self) -> bool {
        let more = self.conflicts.checked_sub(1);
        self.conflicts = more.unwrap_or_default();
        more.is_some()
    }
}

impl Store for Disk {
    fn heads(&self) -> Heads {
        self.synced.heads()
    }
    fn begin(&mut self) -> Result<(), StoreFault> {
        self.reach()?;
        self.synced.begin()
    }
    fn confirm(&mut self) -> Result<(), StoreFault> {
        self.reach()?;
        self.synced.confirm()
    }
    fn begin_reading(&mut self) -> Result<(), StoreFault> {
        self.reach()?;
        self.synced.begin_reading()
    }
    fn end_reading(&mut self) {
        self.synced.end_reading();
    }
    fn get(&mut self, key: &Key) -> Result<Option<Record>, StoreFault> {
        self.reach()?;
        self.synced.get(key)
    }
    fn due_holds(&mut self, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault> {
        self.reach()?;
        self.synced.due_holds(now, limit)
    }
    fn scan(&mut self, scan: Scan, visit: Visit<'_>) -> Result<(), StoreFault> {
        self.reach()?;
        self.synced.scan(scan, visit)
    }
    fn commit(&mut self, batch: &Batch) -> Result<Vec<Outcome>, StoreFault> {
        let trouble = self.troubles.take(is_of_disk);
        self.troubles.lock().commits += 1;
        if let Some(Trouble::Conflicts(times)) = trouble {
            self.conflicts = times;
            self.troubles.strikes("conflicts");
        }
        if self.conflict() {
            return Err(StoreFault::Conflict);
        }
        let (name, fault) = match trouble {
            Some(Trouble::Full) => ("disk full", StoreFault::Full),
            // A sync that failed: nothing may be taken for durable. What is on the medium all the same, a restart would show.
            Some(Trouble::Fails) => ("store fails", StoreFault::Io("a sync failed".into())),
            Some(Trouble::DiesBefore(ms)) => {
                self.died = Some(ms);
                ("before durable", StoreFault::Closed)
            }
            Some(Trouble::DiesAfter(ms)) => {
                let _ = self.synced.commit(batch);
                self.died = Some(ms);
                ("after durable", StoreFault::Closed)
            }
            // Nobody knows whether it was kept, until the database is there again.
            Some(Trouble::Away { ms, kept }) => {
                if kept {
                    let _ = self.synced.commit(batch);
                }
                (self.away, self.lost) = (true, Some(ms));
                let name =
                    if kept { "database away after a commit" } else { "database away before a commit" };
                (name, StoreFault::Away("the connection broke".into()))
            }
            _ => return self.synced.commit(batch),
        };
        self.troubles.strikes(name);
        Err(fault)
    }
}

/// The rules, behind an issuer that may be out.
#[derive(Debug)]
pub struct Front {
    /// The rules.
    pub engine: Engine<Disk>,
}

impl Backend for Front {
    fn execute(&mut self, now: Now, batch: &[Request]) -> Result<Vec<Answer>, StoreFault> {
        let troubles = self.engine.store().troubles.clone();
        if troubles.take(|trouble| trouble == Trouble::IssuerOut).is_some() {
            troubles.strikes("issuer out");
            let (date, time) = now.local().map_err(|_| StoreFault::Clock)?;
            let out = HostAnswer {
                code: ResponseCode::ISSUER_OUT,
                reference: None,
                authorisation: None,
                moment: Moment { date, time },
                amount: None,
                repeat: false,
                body: AnswerBody::None,
            };
            return Ok(batch.iter().map(|_| Answer::Host(out.clone())).collect());
        }
        let answers = self.engine.execute(now, batch);
        if answers.as_ref().is_ok_and(|answers| answers.len() < batch.len()) {
            troubles.strikes("batch halved");
        }
        answers
    }
    fn query(&mut self, query: &Query) -> Result<Report, StoreFault> {
        self.engine.query(query)
    }
    fn copy_to(&mut self, file: &std::path::Path) -> Result<(), StoreFault> {
        self.engine.copy_to(file)
    }
}
