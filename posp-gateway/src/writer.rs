//! The writer: one thread that owns the backend and asks it about many requests at a time.
//!
//! While one batch is made durable, the next one gathers (group commit): under load, durability is bought once for all of them, and alone
//! a request waits for nobody. Where the store is another process, the next batch is also decided meanwhile ([`Backend::submit`]). Answers are left
//! in the mailboxes only when the backend has said that they are durable.

use crate::access::{Done, Mailbox};
use crate::clock::Clock;
use crate::switch::{Ask, Echo, Question};
use backend::api::{AdminAnswer, AdminRequest, Answer, Backend, Query, Report, Request, Submitted};
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
        loop {
            if queue.depth() == 0 {
                // Nobody else is to be decided meanwhile.
                writer.finish(clock.now());
            }
            if !queue.take(&mut batch) {
                break;
            }
            writer.begin(&mut batch, clock.now());
        }
    })
}

/// Who asked.
#[derive(Debug)]
enum Asker {
    Terminal(Arc<Mailbox>, Echo),
    Operator(oneshot::Sender<Result<AdminAnswer, StoreFault>>),
}

/// A batch whose answers are there, but not durable yet.
#[derive(Debug, Default)]
struct UnderWay {
    requests: Vec<Request>,
    asked: Vec<Asker>,
    answers: Vec<Answer>,
}

/// What the writer's thread does with what it took, without thread or clock: the simulation drives it too.
#[derive(Debug)]
pub struct Writer<B> {
    backend: B,
    requests: Vec<Request>,
    asked: Vec<Asker>,
    under_way: UnderWay,
    wake: Vec<Arc<Mailbox>>,
    /// Commits that failed since one succeeded.
    failures: u64,
}

impl<B: Backend> Writer<B> {
    /// The one that asks this backend.
    #[must_use]
    pub fn new(backend: B) -> Self {
        let (requests, asked, wake) = (Vec::new(), Vec::new(), Vec::new());
        Self { backend, requests, asked, under_way: UnderWay::default(), wake, failures: 0 }
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
            match fault {
                StoreFault::InDoubt(_) => {
                    tracing::error!(%fault, requests, failures, "the store failed: what became of them is not known, they are not answered");
                }
                _ => tracing::error!(%fault, requests, failures, "the store failed: nothing was decided"),
            }
        }
    }

    /// Does jobs in order. Questions are asked between the batches of requests around them, so that each sees what came before it.
    /// Answers are in the mailboxes when it returns.
    pub fn work(&mut self, batch: &mut Vec<Job>, now: Now) {
        self.begin(batch, now);
        self.finish(now);
    }

    /// Does jobs in order. Answers of the last requests may still be on their way into the mailboxes when it returns.
    pub fn begin(&mut self, batch: &mut Vec<Job>, now: Now) {
        for job in batch.drain(..) {
            match job {
                Job::Terminal(to, ask) => self.terminal(to, *ask, now),
                Job::Admin(request, reply) => {
                    self.requests.push(Request::Admin(request));
                    self.asked.push(Asker::Operator(reply));
                }
                Job::Query(query, reply) => {
                    self.all_until_here(now);
                    // An operator who has left does not need the answer.
                    let _ = reply.send(self.backend.query(&query));
                }
                Job::Copy(file, reply) => {
                    self.all_until_here(now);
                    let _ = reply.send(self.backend.copy_to(&file));
                }
            }
        }
        self.submit(now);
        self.wake.drain(..).for_each(|mailbox| mailbox.wake());
    }

    /// Leaves the answers that were still on their way.
    pub fn finish(&mut self, now: Now) {
        if !self.under_way.asked.is_empty() {
            match self.backend.finish() {
                Ok(()) => self.arrived(),
                Err(fault) => self.again(&fault, now),
            }
            self.wake.drain(..).for_each(|mailbox| mailbox.wake());
        }
    }

    fn all_until_here(&mut self, now: Now) {
        self.submit(now);
        self.finish(now);
    }

    fn terminal(&mut self, to: Arc<Mailbox>, Ask { echo, question }: Ask, now: Now) {
        match question {
            Question::Host(request) => {
                self.requests.push(Request::Host(request));
                self.asked.push(Asker::Terminal(to, echo));
            }
            Question::SignIn(pending) => {
                self.all_until_here(now);
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

    /// Decides what was gathered.
    fn submit(&mut self, now: Now) {
        let mut requests = std::mem::take(&mut self.requests);
        let mut asked = std::mem::take(&mut self.asked);
        while !requests.is_empty() {
            match self.backend.submit(now, &requests) {
                Ok(Submitted::Done(answers)) => {
                    self.arrived();
                    self.reply_all(&mut requests, &mut asked, answers);
                }
                Ok(Submitted::UnderWay(answers)) => {
                    self.arrived();
                    let decided = answers.len().min(requests.len());
                    self.under_way.requests.extend(requests.drain(..decided));
                    self.under_way.asked.extend(asked.drain(..decided));
                    self.under_way.answers = answers;
                    if decided == 0 {
                        self.lose_all(&mut requests, &mut asked);
                    }
                }
                Ok(Submitted::BeforeLost(fault)) if !self.under_way.asked.is_empty() => {
                    self.again(&fault, now);
                }
                Ok(Submitted::BeforeLost(fault)) => self.fail_all(&mut requests, &mut asked, &fault),
                Err(fault) => {
                    self.arrived();
                    self.fail_all(&mut requests, &mut asked, &fault);
                }
            }
        }
        // Their room is used again.
        self.requests = requests;
        self.asked = asked;
    }

    /// What was under way is durable.
    fn arrived(&mut self) {
        let UnderWay { mut requests, mut asked, answers } = std::mem::take(&mut self.under_way);
        if !requests.is_empty() {
            self.reply_all(&mut requests, &mut asked, answers);
            self.lose_all(&mut requests, &mut asked);
        }
        self.under_way = UnderWay { requests, asked, answers: Vec::new() };
    }

    /// What was under way was not kept: it is decided again, and nobody has seen the first answers. What may have been kept is not: whatever
    /// failed the second time would say nothing of the first.
    fn again(&mut self, fault: &StoreFault, now: Now) {
        let UnderWay { mut requests, mut asked, .. } = std::mem::take(&mut self.under_way);
        if let StoreFault::InDoubt(_) = fault {
            return self.fail_all(&mut requests, &mut asked, fault);
        }
        tracing::info!(%fault, requests = requests.len(), "a batch is decided again");
        while !requests.is_empty() {
            match self.backend.execute(now, &requests) {
                Ok(answers) => self.reply_all(&mut requests, &mut asked, answers),
                Err(fault) => self.fail_all(&mut requests, &mut asked, &fault),
            }
        }
    }

    /// Answers the first of them, as many as there are answers.
    fn reply_all(&mut self, requests: &mut Vec<Request>, asked: &mut Vec<Asker>, answers: Vec<Answer>) {
        if self.failures > 0 {
            tracing::warn!(failures = self.failures, "the store works again");
            self.failures = 0;
        }
        let decided = answers.len();
        if decided == 0 || decided > requests.len() {
            return self.lose_all(requests, asked);
        }
        requests.drain(..decided);
        asked.drain(..decided).zip(answers).for_each(|(asker, answer)| self.reply(asker, answer));
    }

    fn fail_all(&mut self, requests: &mut Vec<Request>, asked: &mut Vec<Asker>, fault: &StoreFault) {
        self.tell(fault, requests.len());
        requests.clear();
        asked.drain(..).for_each(|asker| self.fail(asker, fault));
    }

    fn lose_all(&mut self, requests: &mut Vec<Request>, asked: &mut Vec<Asker>) {
        if !requests.is_empty() {
            tracing::error!(requests = requests.len(), "the backend's answers are lost");
            requests.clear();
            asked.drain(..).for_each(|asker| self.lose(asker));
        }
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

    /// Nothing was decided, unless that is what nobody knows: then a terminal gets no answer, and an operator that one.
    fn fail(&mut self, asker: Asker, fault: &StoreFault) {
        match (asker, fault) {
            (asker @ Asker::Terminal(..), StoreFault::InDoubt(_)) => self.lose(asker),
            (Asker::Terminal(to, echo), _) => self.leave(to, Done::Failed(echo)),
            (Asker::Operator(reply), _) => {
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
mod tests;
