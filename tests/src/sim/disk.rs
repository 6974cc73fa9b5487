//! What lies between a gateway's rules and the database that all gateways share: faults strike here, and a process dies here. What was
//! committed stays; what a process had in memory goes with it.
//!
//! On a store that overlaps commits, what befalls a commit befalls it on its way: the next batch may have been decided on it by then.

use super::gateway::COMMIT_MS;
use super::plan::{GatewayFault, Trouble};
use backend::Engine;
use backend::accounts::Hold;
use backend::api::{Answer, AnswerBody, Backend, HostAnswer, Query, Report, Request, Submitted};
use backend::store::memory::shared::{At, Landing, SharedStore};
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
    /// What became of commits on their way since somebody looked.
    landed: Vec<&'static str>,
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

    /// What became of commits on their way since it was asked last.
    #[must_use]
    pub fn landed(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.lock().landed)
    }

    fn reached(&self, what: &'static str) {
        self.lock().landed.push(what);
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

    /// How long the next commit is on its way, and whether it is durable long before the word of it comes.
    fn under_way(&self) -> (u64, bool) {
        match self.take(|trouble| matches!(trouble, Trouble::UnderWay { .. })) {
            Some(Trouble::UnderWay { ms, early }) => (ms, early),
            _ => (COMMIT_MS, false),
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

/// The longest that a batch waits for a database that is away: longer, and its gateway answers that it cannot reach it.
const WAIT_MS: u64 = 300;

/// A commit on its way, and what is planned for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnItsWay {
    /// Counted by the process.
    pub(super) number: u64,
    /// For so many milliseconds, if nothing makes its gateway ask before.
    pub(super) ms: u64,
    trouble: Option<Trouble>,
    /// Reads of commits on their way, before it was started.
    read_ahead: u64,
    /// The next batch has been decided on it.
    next_decided: bool,
}

/// What a trouble makes of a commit on its way.
fn landing(trouble: Option<Trouble>) -> Landing {
    match trouble {
        Some(Trouble::Full) => Landing::Lost(StoreFault::Full),
        Some(Trouble::Fails) => Landing::Lost(failed_sync()),
        Some(Trouble::DiesBefore(_)) => Landing::Lost(StoreFault::Closed),
        Some(Trouble::DiesAfter(_)) => Landing::Unheard(StoreFault::Closed),
        Some(Trouble::Conflicts(_)) => Landing::Lost(StoreFault::Conflict),
        Some(Trouble::Away { ms, kept }) if ms <= WAIT_MS => Landing::FoundOut { kept },
        Some(Trouble::Away { kept: true, .. }) => Landing::Unheard(broken()),
        Some(Trouble::Away { kept: false, .. }) => Landing::Lost(broken()),
        _ => Landing::Late,
    }
}

/// Nothing may be taken for durable. What is on the medium all the same, a restart would show.
fn failed_sync() -> StoreFault {
    StoreFault::Io("a sync failed".into())
}

fn broken() -> StoreFault {
    StoreFault::InDoubt("the connection broke".into())
}

/// What became of the first of two that were on their way: committed, and decided on it.
const fn first_of_two(trouble: Option<Trouble>, kept: bool) -> &'static str {
    match (trouble, kept) {
        (Some(Trouble::Full | Trouble::Fails), _) => "first of two fails",
        (Some(Trouble::DiesBefore(_)), _) => "gateway dies with two, first not kept",
        (Some(Trouble::DiesAfter(_)), _) => "gateway dies with two, first kept",
        (Some(Trouble::Conflicts(_)), _) => "first of two given back",
        (Some(Trouble::Away { ms, kept: true }), _) if ms <= WAIT_MS => "first of two found kept",
        (Some(Trouble::Away { ms, kept: false }), _) if ms <= WAIT_MS => "first of two found not kept",
        (Some(Trouble::Away { kept: true, .. }), _) => "database lost with two, first kept",
        (Some(Trouble::Away { kept: false, .. }), _) => "database lost with two, first not kept",
        (_, true) => "first of two is durable",
        (_, false) => "first of two overtaken",
    }
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
    on_its_way: Option<OnItsWay>,
    started: u64,
}

impl Disk {
    /// Of a process that starts.
    #[must_use]
    pub const fn new(synced: SharedStore, troubles: Troubles) -> Self {
        Self {
            synced,
            troubles,
            died: None,
            lost: None,
            away: false,
            conflicts: 0,
            on_its_way: None,
            started: 0,
        }
    }

    fn reach(&self) -> Result<(), StoreFault> {
        match (self.died, self.away) {
            (Some(_), _) => Err(StoreFault::Closed),
            // It was lost with a commit.
            (None, true) => Err(StoreFault::InDoubt("no route to it".into())),
            (None, false) => Ok(()),
        }
    }

    /// The next decision begins before `moment`'s newest commits, as it sees them.
    pub(super) fn read_before(&mut self, moment: At, reads: usize) {
        self.synced.read_before(moment, reads);
    }

    /// The commit on its way.
    pub(super) const fn on_its_way(&self) -> Option<OnItsWay> {
        self.on_its_way
    }

    /// The database can be reached again.
    pub(super) fn reach_again(&mut self) {
        self.away = false;
        self.synced.reconnect();
    }

    /// What is planned for the next commit.
    fn next_trouble(&mut self) -> Option<Trouble> {
        let trouble = self.troubles.take(is_of_disk);
        if let Some(Trouble::Conflicts(times)) = trouble {
            self.conflicts = times;
            self.troubles.strikes("conflicts");
        }
        trouble
    }

    /// What it does to this gateway that the commit went so.
    fn suffer(&mut self, trouble: Option<Trouble>) {
        let name = match trouble {
            Some(Trouble::Full) => "disk full",
            Some(Trouble::Fails) => "store fails",
            Some(Trouble::DiesBefore(ms)) => {
                self.died = Some(ms);
                "before durable"
            }
            Some(Trouble::DiesAfter(ms)) => {
                self.died = Some(ms);
                "after durable"
            }
            Some(Trouble::Away { ms, .. }) if ms <= WAIT_MS => "database away for a moment",
            Some(Trouble::Away { ms, kept }) => {
                (self.away, self.lost) = (true, Some(ms));
                if kept { "database away after a commit" } else { "database away before a commit" }
            }
            _ => return,
        };
        self.troubles.strikes(name);
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
        if let Some(it) = &mut self.on_its_way {
            it.next_decided = true;
        }
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
        let trouble = self.next_trouble();
        self.troubles.lock().commits += 1;
        if self.conflict() {
            return Err(StoreFault::Conflict);
        }
        let committed = match landing(trouble) {
            Landing::Lost(fault) => Err(fault),
            Landing::Unheard(fault) => self.synced.commit(batch).and(Err(fault)),
            Landing::FoundOut { kept } => {
                let committed = if kept { self.synced.commit(batch) } else { Err(StoreFault::Conflict) };
                self.synced.reconnect();
                committed
            }
            Landing::Late | Landing::Early => return self.synced.commit(batch),
        };
        self.suffer(trouble);
        committed
    }
    fn overlaps(&self) -> bool {
        self.synced.overlaps()
    }
    fn start(&mut self, batch: &Batch) -> Result<(), StoreFault> {
        let mut trouble = self.next_trouble();
        let (ms, early) = self.troubles.under_way();
        self.troubles.lock().commits += 1;
        if self.conflict() {
            trouble = Some(Trouble::Conflicts(1));
        }
        self.synced.start(batch)?;
        let landing = match landing(trouble) {
            Landing::Late if early => Landing::Early,
            landing => landing,
        };
        self.synced.plan_landing(landing);
        self.started += 1;
        let (number, read_ahead) = (self.started, self.synced.read_ahead());
        self.on_its_way = Some(OnItsWay { number, ms, trouble, read_ahead, next_decided: false });
        Ok(())
    }
    fn finish(&mut self) -> Result<(), StoreFault> {
        let fate = self.synced.finish();
        let Some(it) = self.on_its_way.take() else { return fate };
        if it.next_decided {
            self.troubles.reached(first_of_two(it.trouble, fate.is_ok()));
            if self.synced.read_ahead() > it.read_ahead {
                self.troubles.reached("read while it was on its way");
                if fate.is_err() {
                    self.troubles.reached("read, and not kept");
                }
            }
        }
        self.suffer(it.trouble);
        fate
    }
}

/// The rules, behind an issuer that may be out.
#[derive(Debug)]
pub struct Front {
    /// The rules.
    pub engine: Engine<Disk>,
}

impl Front {
    /// Every answer to a batch if the issuer is out: 91, and nothing is decided.
    fn out(&mut self, now: Now, batch: &[Request]) -> Result<Option<Vec<Answer>>, StoreFault> {
        let troubles = &self.engine.store().troubles;
        if troubles.take(|trouble| trouble == Trouble::IssuerOut).is_none() {
            return Ok(None);
        }
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
        Ok(Some(batch.iter().map(|_| Answer::Host(out.clone())).collect()))
    }

    fn note(&mut self, answers: &[Answer], batch: &[Request]) {
        if answers.len() < batch.len() {
            self.engine.store().troubles.strikes("batch halved");
        }
    }
}

impl Backend for Front {
    fn execute(&mut self, now: Now, batch: &[Request]) -> Result<Vec<Answer>, StoreFault> {
        if let Some(out) = self.out(now, batch)? {
            return Ok(out);
        }
        let answers = self.engine.execute(now, batch)?;
        self.note(&answers, batch);
        Ok(answers)
    }
    fn submit(&mut self, now: Now, batch: &[Request]) -> Result<Submitted, StoreFault> {
        if let Some(out) = self.out(now, batch)? {
            // Whatever is answered at once says that what was on its way is durable.
            return Ok(match self.engine.finish() {
                Ok(()) => Submitted::Done(out),
                Err(fault) => Submitted::BeforeLost(fault),
            });
        }
        let submitted = self.engine.submit(now, batch)?;
        if let Submitted::Done(answers) = &submitted {
            self.note(answers, batch);
        }
        Ok(submitted)
    }
    fn finish(&mut self) -> Result<(), StoreFault> {
        self.engine.finish()
    }
    fn query(&mut self, query: &Query) -> Result<Report, StoreFault> {
        self.engine.query(query)
    }
    fn copy_to(&mut self, file: &std::path::Path) -> Result<(), StoreFault> {
        self.engine.copy_to(file)
    }
}
