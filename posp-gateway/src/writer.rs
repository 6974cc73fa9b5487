//! The writer: one thread that owns the backend and asks it about many requests at a time.
//!
//! While one batch is made durable, the next one gathers (group commit): under load, durability is bought once for all of them, and alone
//! a request waits for nobody. Answers are left in the mailboxes only after [`Backend::execute`] has returned `Ok`.

use crate::access::{Done, Mailbox};
use crate::clock::Clock;
use crate::switch::{Ask, Echo, Question};
use backend::api::{AdminAnswer, AdminRequest, Answer, Backend, Query, Report, Request};
use backend::store::StoreFault;
use protocol::time::Now;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Most requests that wait for the writer; beyond it connections are not read.
pub const QUEUE_MAX: usize = 16_384;
/// Most requests of one commit.
pub const BATCH_MAX: usize = 1024;

/// Something for the writer.
#[derive(Debug)]
pub enum Job {
    /// A terminal's question.
    Terminal(Arc<Mailbox>, Box<Ask>),
    /// An operator's request.
    Admin(AdminRequest, oneshot::Sender<Result<AdminAnswer, StoreFault>>),
    /// An operator's question.
    Query(Query, oneshot::Sender<Result<Report, StoreFault>>),
    /// An operator's copy of the ledger.
    Copy(PathBuf, oneshot::Sender<Result<(), StoreFault>>),
}

/// The way to the writer: bounded, first come first served.
#[derive(Debug, Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    work: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    jobs: Vec<Job>,
    /// Connections that found it full.
    waiting: Vec<Arc<Mailbox>>,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over as many jobs of a connection as there is room for, in order. If some are left, the connection is woken when there is room
    /// again. After the close nothing is taken: what is left stays with the caller.
    pub fn hand_over(&self, jobs: &mut Vec<Job>, from: &Arc<Mailbox>) {
        let mut inner = self.lock();
        if inner.closed {
            return;
        }
        let room = QUEUE_MAX.saturating_sub(inner.jobs.len());
        let first = inner.jobs.is_empty();
        if jobs.len() <= room {
            inner.jobs.append(jobs);
        } else {
            inner.jobs.extend(jobs.drain(..room));
            inner.waiting.push(Arc::clone(from));
        }
        drop(inner);
        if first {
            self.work.notify_one();
        }
    }

    /// Hands over an operator's job, which finds room always (operators are few). After the close it is dropped, and with it its sender.
    pub fn operator(&self, job: Job) {
        let mut inner = self.lock();
        if !inner.closed {
            inner.jobs.push(job);
            drop(inner);
            self.work.notify_one();
        }
    }

    /// No more jobs: the writer ends when it has done what is there.
    pub fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
    }

    /// How many wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Waits for jobs and takes up to [`BATCH_MAX`] into `batch` (which is empty). False when there will be none.
    pub fn take(&self, batch: &mut Vec<Job>) -> bool {
        let mut inner = self.lock();
        while inner.jobs.is_empty() && !inner.closed {
            inner = self.work.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if inner.jobs.len() <= BATCH_MAX {
            std::mem::swap(&mut inner.jobs, batch);
        } else {
            batch.extend(inner.jobs.drain(..BATCH_MAX));
        }
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        waiting.iter().for_each(|mailbox| mailbox.wake());
        !batch.is_empty()
    }
}

/// Starts the writer's thread. It ends after [`Queue::close`].
///
/// # Errors
/// The operating system gives no thread.
pub fn start(
    backend: Box<dyn Backend + Send>,
    queue: Arc<Queue>,
    clock: Clock,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("writer".into()).spawn(move || {
        let mut writer = Writer::new(backend);
        let mut batch = Vec::new();
        while queue.take(&mut batch) {
            writer.work(&mut batch, clock.now());
        }
    })
}

/// Who asked.
#[derive(Debug)]
enum Asker {
    Terminal(Arc<Mailbox>, Echo),
    Operator(oneshot::Sender<Result<AdminAnswer, StoreFault>>),
}

/// What the writer's thread does with what it took, without thread or clock: the simulation drives it too.
#[derive(Debug)]
pub struct Writer<B> {
    backend: B,
    requests: Vec<Request>,
    asked: Vec<Asker>,
    wake: Vec<Arc<Mailbox>>,
    /// Commits that failed since one succeeded.
    failures: u64,
}

impl<B: Backend> Writer<B> {
    /// The one that asks this backend.
    #[must_use]
    pub const fn new(backend: B) -> Self {
        Self { backend, requests: Vec::new(), asked: Vec::new(), wake: Vec::new(), failures: 0 }
    }

    /// The backend, between two batches.
    pub const fn backend(&mut self) -> &mut B {
        &mut self.backend
    }

    /// Tells of a failure, and of its repeats more and more seldom: a full disk must not be filled with the news of it.
    fn tell(&mut self, fault: &StoreFault, requests: usize) {
        self.failures = self.failures.saturating_add(1);
        if self.failures.is_power_of_two() {
            let failures = self.failures;
            tracing::error!(%fault, requests, failures, "the store failed: nothing was decided");
        }
    }

    /// Does jobs in order. Questions are asked between the batches of requests around them, so that each sees what came before it.
    /// Answers are in the mailboxes when it returns.
    pub fn work(&mut self, batch: &mut Vec<Job>, now: Now) {
        for job in batch.drain(..) {
            match job {
                Job::Terminal(to, ask) => self.terminal(to, *ask, now),
                Job::Admin(request, reply) => {
                    self.requests.push(Request::Admin(request));
                    self.asked.push(Asker::Operator(reply));
                }
                Job::Query(query, reply) => {
                    self.execute(now);
                    // An operator who has left does not need the answer.
                    let _ = reply.send(self.backend.query(&query));
                }
                Job::Copy(file, reply) => {
                    self.execute(now);
                    let _ = reply.send(self.backend.copy_to(&file));
                }
            }
        }
        self.execute(now);
        self.wake.drain(..).for_each(|mailbox| mailbox.wake());
    }

    fn terminal(&mut self, to: Arc<Mailbox>, Ask { echo, question }: Ask, now: Now) {
        match question {
            Question::Host(request) => {
                self.requests.push(Request::Host(request));
                self.asked.push(Asker::Terminal(to, echo));
            }
            Question::SignIn(pending) => {
                self.execute(now);
                let done = match self.backend.query(&Query::Terminal(echo.terminal())) {
                    Ok(report) => Done::Registered(echo, pending, report),
                    Err(fault) => {
                        tracing::error!(%fault, "the store failed");
                        Done::Failed(echo)
                    }
                };
                self.leave(to, done);
            }
        }
    }

    /// Decides what was gathered, and only then answers.
    fn execute(&mut self, now: Now) {
        let requests = std::mem::take(&mut self.requests);
        let mut asked = std::mem::take(&mut self.asked);
        let (mut rest, mut askers) = (requests.as_slice(), asked.drain(..));
        while !rest.is_empty() {
            match self.backend.execute(now, rest) {
                Ok(answers) => {
                    if self.failures > 0 {
                        tracing::warn!(failures = self.failures, "the store works again");
                        self.failures = 0;
                    }
                    let Some(more) = rest.get(answers.len()..).filter(|_| !answers.is_empty()) else {
                        let (asked, answered) = (rest.len(), answers.len());
                        tracing::error!(asked, answered, "the backend's answers are lost");
                        break;
                    };
                    // The answers first: the other way round, the asker after the last answer would be taken and lost.
                    answers
                        .into_iter()
                        .zip(askers.by_ref())
                        .for_each(|(answer, asker)| self.reply(asker, answer));
                    rest = more;
                }
                Err(fault) => {
                    self.tell(&fault, rest.len());
                    askers.by_ref().for_each(|asker| self.fail(asker, &fault));
                    break;
                }
            }
        }
        askers.for_each(|asker| self.lose(asker));
        self.asked = asked;
        self.requests = requests;
        self.requests.clear();
    }

    /// Nobody knows what was decided: the terminal's connection is closed, and it asks again by identity.
    fn lose(&mut self, asker: Asker) {
        match asker {
            Asker::Terminal(to, _) => self.leave(to, Done::Lost),
            // Dropping the sender tells the operator.
            Asker::Operator(_) => {}
        }
    }

    fn reply(&mut self, asker: Asker, answer: Answer) {
        match (asker, answer) {
            (Asker::Terminal(to, echo), Answer::Host(answer)) => self.leave(to, Done::Answer(echo, answer)),
            (Asker::Operator(reply), Answer::Admin(answer)) => {
                let _ = reply.send(Ok(answer));
            }
            (asker, _) => self.lose(asker),
        }
    }

    fn fail(&mut self, asker: Asker, fault: &StoreFault) {
        match asker {
            Asker::Terminal(to, echo) => self.leave(to, Done::Failed(echo)),
            Asker::Operator(reply) => {
                let _ = reply.send(Err(fault.clone()));
            }
        }
    }

    fn leave(&mut self, to: Arc<Mailbox>, done: Done) {
        if to.leave(done) {
            self.wake.push(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ids::MerchantId;
    use protocol::money::Currency;
    use protocol::time::{Mono, Wall};

    /// Decides as many requests at a time as its list says; where it says none, the store fails.
    struct InParts(Vec<Option<usize>>);

    impl Backend for InParts {
        fn execute(&mut self, _: Now, batch: &[Request]) -> Result<Vec<Answer>, StoreFault> {
            let part = self.0.remove(0).ok_or(StoreFault::Full)?;
            let done = |request: &Request| match request {
                Request::Admin(AdminRequest::AddMerchant { name, .. }) => {
                    Answer::Admin(AdminAnswer::Count(name.parse().unwrap()))
                }
                other => panic!("{other:?}"),
            };
            Ok(batch.iter().take(part).map(done).collect())
        }
        fn query(&mut self, _: &Query) -> Result<Report, StoreFault> {
            Err(StoreFault::Closed)
        }
        fn copy_to(&mut self, _: &std::path::Path) -> Result<(), StoreFault> {
            Err(StoreFault::Closed)
        }
    }

    /// What five operators are told by a backend that decides in these parts: their number, the fault, or nothing at all.
    fn told(parts: &[Option<usize>]) -> Vec<Option<Result<u32, StoreFault>>> {
        let mut writer = Writer::new(InParts(parts.to_vec()));
        let (mut jobs, mut replies) = (Vec::new(), Vec::new());
        for n in 0..5 {
            let (sender, receiver) = oneshot::channel();
            let merchant = MerchantId::from_text(&format!("M{n}")).unwrap();
            let request =
                AdminRequest::AddMerchant { merchant, name: n.to_string(), currency: Currency::CNY };
            jobs.push(Job::Admin(request, sender));
            replies.push(receiver);
        }
        writer.work(&mut jobs, Now { mono: Mono(0), wall: Wall(0), utc_offset_min: 0 });
        assert!(writer.backend.0.is_empty(), "it asked too seldom");
        let told = |mut reply: oneshot::Receiver<Result<AdminAnswer, StoreFault>>| {
            reply.try_recv().ok().map(|result| {
                result.map(|answer| match answer {
                    AdminAnswer::Count(number) => number,
                    other => panic!("{other:?}"),
                })
            })
        };
        replies.into_iter().map(told).collect()
    }

    #[test]
    fn a_batch_that_is_decided_in_parts_is_answered_to_each_asker_his_own() {
        let all: Vec<_> = (0..5).map(|n| Some(Ok(n))).collect();
        assert_eq!(told(&[Some(5)]), all);
        assert_eq!(told(&[Some(2), Some(1), Some(2)]), all);
    }

    #[test]
    fn what_was_kept_before_the_store_failed_is_answered_and_the_rest_is_refused() {
        let full = || Some(Err(StoreFault::Full));
        assert_eq!(told(&[None]), [full(), full(), full(), full(), full()]);
        assert_eq!(told(&[Some(2), Some(1), None]), [Some(Ok(0)), Some(Ok(1)), Some(Ok(2)), full(), full()]);
    }

    #[test]
    fn a_backend_that_answers_nothing_is_not_asked_for_ever() {
        assert_eq!(told(&[Some(3), Some(0)]), [Some(Ok(0)), Some(Ok(1)), Some(Ok(2)), None, None]);
    }
}
