//! The backend over a store and a key module: one working set per batch, one commit, then the answers.

use crate::accounts::rules;
use crate::admin;
use crate::api::{AdminAnswer, AdminRefusal, Answer, Backend, Query, Report, Request, Submitted};
use crate::needs;
use crate::query;
use crate::store::{Store, StoreFault, Working};
use crate::transactions;
use keys::KeyModule;
use protocol::money::Amount;
use protocol::purse::Moment;
use protocol::teeth::{Tooth, bites};
use protocol::time::{Now, Wall};
use std::path::Path;
use std::sync::Arc;

/// How many holds whose time is up one batch releases.
const EXPIRE_MAX: usize = 1024;
/// How often a batch is decided because another writer was first, before it is halved.
const WHOLE_TRIES: u32 = 3;
/// The same for a single request, which cannot be halved.
const SINGLE_TRIES: u32 = 16;

/// What an operator decides about all payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a pre-authorisation holds money at most.
    pub preauthorisation_ms_max: u64,
    /// How much more than was pre-authorised a completion may take, in percent of it.
    pub over_completion_percent: u8,
}

/// Thirty days, and 15 %: what the schemes of this field allow by default.
impl Default for Policy {
    fn default() -> Self {
        Self { preauthorisation_ms_max: 30 * 86_400_000, over_completion_percent: 15 }
    }
}

impl Policy {
    /// The most that a completion of a pre-authorisation of `whole` may take, in minor units, rounded down.
    #[must_use]
    pub fn completion_max(&self, whole: Amount) -> u64 {
        let percent = u128::from(self.over_completion_percent).saturating_add(100);
        let most = u128::from(whole.minor()).saturating_mul(percent) / 100;
        u64::try_from(most).unwrap_or(u64::MAX)
    }
}

/// The rules over a store.
pub struct Engine<S> {
    store: S,
    keys: Arc<dyn KeyModule>,
    policy: Policy,
    /// The request of the batch decided last that met a contradiction in the books.
    culprit: Option<usize>,
}

impl<S> core::fmt::Debug for Engine<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Engine")
    }
}

/// What every decision of a batch may use besides the working set.
#[derive(Clone, Copy)]
pub(crate) struct Desk<'k> {
    /// The issuer's keys.
    pub(crate) keys: &'k dyn KeyModule,
    /// Local date and time, as answers and cards carry it.
    pub(crate) moment: Moment,
    /// The time of the batch.
    pub(crate) now: Wall,
    /// What the operator decided.
    pub(crate) policy: Policy,
}

impl<S: Store> Engine<S> {
    /// Over this store, with these keys.
    pub fn new(store: S, keys: Arc<dyn KeyModule>) -> Self {
        Self { store, keys, policy: Policy::default(), culprit: None }
    }

    /// With another policy than the default.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// The store back.
    pub fn into_store(self) -> S {
        self.store
    }

    /// The store, for reading beside the engine (backup, export of links).
    pub const fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// Decides a batch, and hands what is to be made durable and what is answered then to `done`.
    fn decide<T>(
        &mut self,
        now: Now,
        batch: &[Request],
        done: impl FnOnce(Working<'_, S>, Vec<Answer>) -> Result<T, StoreFault>,
    ) -> Result<T, StoreFault> {
        self.culprit = None;
        let keys = Arc::clone(&self.keys);
        let mut working = Working::new(&mut self.store, now.wall)?;
        let (date, time) = now.local().map_err(|_| StoreFault::Clock)?;
        let desk = Desk {
            keys: keys.as_ref(),
            moment: Moment { date, time },
            now: working.now(),
            policy: self.policy,
        };
        if working.store().wants_prefetch() {
            match needs::prefetch(working.store(), batch, (desk.now, EXPIRE_MAX)) {
                // Whose request needs the row that contradicts itself is seen when that request reads it.
                Ok(()) | Err(StoreFault::Damaged { .. }) => {}
                Err(fault) => return Err(fault),
            }
        }
        let over = rules::expire(&mut working, desk.now, EXPIRE_MAX)?;
        transactions::expired(&mut working, &over)?;
        let mut answers = Vec::with_capacity(batch.len());
        for (place, request) in batch.iter().enumerate() {
            let answer = match request {
                Request::Host(request) => {
                    transactions::handle(&mut working, &desk, request).map(Answer::Host)
                }
                Request::Admin(request) => admin::handle(&mut working, &desk, request).map(Answer::Admin),
            };
            if matches!(answer, Err(StoreFault::Damaged { .. })) {
                self.culprit = Some(place);
            }
            answers.push(answer?);
        }
        done(working, answers)
    }

    fn attempt(&mut self, now: Now, batch: &[Request]) -> Result<Vec<Answer>, StoreFault> {
        self.decide(now, batch, |working, answers| match working.commit() {
            Err(_) if bites(Tooth::AnswerBeforeCommit) => Ok(answers),
            durable => durable.map(|()| answers),
        })
    }
}

impl<S: Store> Engine<S> {
    /// Decides a batch until no other writer was in between; of one that keeps being overtaken, its first half. So what is answered and what is
    /// not is always what was kept and what was not, whatever becomes of the rest. Of a batch with a request that meets a contradiction in the books,
    /// those before it; and then that request alone fails, not everybody who happened to ask at the same time.
    fn settle(&mut self, now: Now, batch: &[Request]) -> Result<Vec<Answer>, StoreFault> {
        let tries = if batch.len() > 1 { WHOLE_TRIES } else { SINGLE_TRIES };
        for _ in 0..tries {
            match self.attempt(now, batch) {
                Err(StoreFault::Conflict) => {}
                // Rows that contradict each other may have been read before and after a commit of another writer.
                Err(StoreFault::Damaged { what }) => match self.store.confirm() {
                    Err(StoreFault::Conflict) => {}
                    Ok(()) => return self.around(now, batch, what),
                    // Nobody knows whether they do: no request is to blame.
                    Err(fault) => return Err(fault),
                },
                other => return other,
            }
        }
        match batch.split_at_checked(batch.len() / 2) {
            Some((first, _)) if !first.is_empty() => self.settle(now, first),
            _ => Err(StoreFault::Conflict),
        }
    }

    /// Decides what stands before the request that met a contradiction; of a batch that begins with it, answers it alone, keeping nothing.
    fn around(&mut self, now: Now, batch: &[Request], what: &'static str) -> Result<Vec<Answer>, StoreFault> {
        match self.culprit.and_then(|place| batch.split_at_checked(place)) {
            Some(([], [Request::Host(request), _, ..])) => {
                tracing::error!(what, terminal = %request.identity.terminal, "the books contradict themselves");
                let (date, time) = now.local().map_err(|_| StoreFault::Clock)?;
                Ok(vec![Answer::Host(transactions::undecided(Moment { date, time }))])
            }
            Some(([], [Request::Admin(_), _, ..])) => {
                tracing::error!(what, "the books contradict themselves");
                Ok(vec![Answer::Admin(AdminAnswer::Refused(AdminRefusal::Contradiction))])
            }
            Some((before, _)) if !before.is_empty() => self.settle(now, before),
            _ => Err(StoreFault::Damaged { what }),
        }
    }
}

/// A reading leaves nothing in doubt, whatever else is.
fn of_reading(fault: StoreFault) -> StoreFault {
    match fault {
        StoreFault::InDoubt(why) => StoreFault::Away(why),
        fault => fault,
    }
}

impl<S: Store> Backend for Engine<S> {
    fn execute(&mut self, now: Now, batch: &[Request]) -> Result<Vec<Answer>, StoreFault> {
        self.settle(now, batch)
    }

    fn submit(&mut self, now: Now, batch: &[Request]) -> Result<Submitted, StoreFault> {
        if self.store.overlaps() {
            let decided = self.decide(now, batch, |working, answers| Ok((answers, working.into_changes())));
            if let Err(fault) = self.finish() {
                // What was decided on top of it is worth nothing.
                return Ok(Submitted::BeforeLost(fault));
            }
            let begun = decided.and_then(|(answers, changes)| match changes {
                Some(changes) => self.store.start(&changes).map(|()| Submitted::UnderWay(answers)),
                None => self.store.confirm().map(|()| Submitted::Done(answers)),
            });
            match begun {
                // Another writer was first, or may have been between two reads: decided again, without haste.
                Err(StoreFault::Conflict | StoreFault::Damaged { .. }) => {}
                other => return other,
            }
        }
        self.settle(now, batch).map(Submitted::Done)
    }

    fn finish(&mut self) -> Result<(), StoreFault> {
        match self.store.finish() {
            Err(_) if bites(Tooth::AnswerBeforeCommit) => Ok(()),
            durable => durable,
        }
    }

    fn query(&mut self, query: &Query) -> Result<Report, StoreFault> {
        for _ in 1..WHOLE_TRIES {
            match self.read(query) {
                Err(StoreFault::Conflict) => {}
                other => return other.map_err(of_reading),
            }
        }
        self.read(query).map_err(of_reading)
    }

    fn copy_to(&mut self, file: &Path) -> Result<(), StoreFault> {
        self.store.copy_to(file).map_err(of_reading)
    }
}

impl<S: Store> Engine<S> {
    /// One query, all of it of one moment.
    fn read(&mut self, query: &Query) -> Result<Report, StoreFault> {
        self.store.begin_reading()?;
        let report = query::answer(&mut self.store, query);
        self.store.end_reading();
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Hold;
    use crate::store::memory::MemoryStore;
    use crate::store::{Batch, Heads, Key, Outcome, Record, Scan, Visit};
    use keys::SoftKeys;

    /// A store whose rows contradict each other, and which is out of reach when asked whether they still stand so.
    struct Torn(MemoryStore);

    impl Store for Torn {
        fn heads(&self) -> Heads {
            self.0.heads()
        }
        fn confirm(&mut self) -> Result<(), StoreFault> {
            Err(StoreFault::Away("no connection".to_owned()))
        }
        fn get(&mut self, _: &Key) -> Result<Option<Record>, StoreFault> {
            Err(StoreFault::Damaged { what: "a row" })
        }
        fn due_holds(&mut self, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault> {
            self.0.due_holds(now, limit)
        }
        fn scan(&mut self, scan: Scan, visit: Visit<'_>) -> Result<(), StoreFault> {
            self.0.scan(scan, visit)
        }
        fn commit(&mut self, batch: &Batch) -> Result<Vec<Outcome>, StoreFault> {
            self.0.commit(batch)
        }
    }

    #[test]
    fn a_contradiction_that_could_not_be_confirmed_is_the_fault_of_the_store() {
        let keys = SoftKeys::in_memory(Box::new(|out| {
            out.fill(1);
            Ok(())
        }));
        let mut engine = Engine::new(Torn(MemoryStore::new()), Arc::new(keys.unwrap()));
        let request = Request::Admin(crate::api::AdminRequest::SetCardKeys {
            issuer: protocol::ids::IssuerId([1; 8]),
            asn: protocol::ids::Asn([1; 10]),
            key_version: protocol::ids::KeyVersion(1),
        });
        let now = Now { mono: protocol::time::Mono(0), wall: Wall(1_795_300_000_000), utc_offset_min: 0 };
        let answers = engine.execute(now, &[request.clone(), request]);
        assert!(matches!(answers, Err(StoreFault::Away(_))), "{answers:?}");
    }
}
