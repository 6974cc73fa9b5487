//! What askers are told, whatever the backend does, and when.

use super::*;
use crate::switch::Seal;
use backend::api::AcquirerId;
use backend::api::{ContentDigest, HostBody, HostRequest, Identity, PayerToken};
use protocol::ids::{BatchNo, MerchantId, Stan, TerminalId};
use protocol::iso8583::{Mti, Tpdu};
use protocol::money::{Amount, Currency};
use protocol::time::{Mono, Wall};

/// What the backend does when it is called, one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    /// `execute`, or `submit`: so many are decided and durable.
    Keeps(usize),
    /// `submit`: all are decided, and on their way.
    Starts,
    /// `submit`: what was on its way is lost.
    Lost,
    /// `submit`: what was on its way may be kept or not.
    LostInDoubt,
    /// Any call: the store fails.
    Fails,
    /// Any call: the answer to a commit is lost.
    Doubts,
    /// `finish`: what was on its way is durable.
    Finishes,
}
use Does::*;

struct Scripted(Vec<Does>);

impl Scripted {
    fn next(&mut self) -> Does {
        assert!(!self.0.is_empty(), "it is asked too often");
        self.0.remove(0)
    }
}

fn in_doubt() -> StoreFault {
    StoreFault::InDoubt("no answer".to_owned())
}

/// The answer to a request is its number.
fn decided(batch: &[Request], many: usize) -> Vec<Answer> {
    let done = |request: &Request| match request {
        Request::Admin(AdminRequest::AddMerchant { name, .. }) => {
            Answer::Admin(AdminAnswer::Count(name.parse().unwrap()))
        }
        // Only its fate is asked for.
        Request::Host(_) => Answer::Admin(AdminAnswer::Count(u32::MAX)),
        other => panic!("{other:?}"),
    };
    batch.iter().take(many).map(done).collect()
}

impl Backend for Scripted {
    fn execute(&mut self, _: Now, batch: &[Request]) -> Result<Vec<Answer>, StoreFault> {
        match self.next() {
            Keeps(many) => Ok(decided(batch, many)),
            Fails => Err(StoreFault::Full),
            Doubts => Err(in_doubt()),
            other => panic!("execute is no {other:?}"),
        }
    }
    fn submit(&mut self, _: Now, batch: &[Request]) -> Result<Submitted, StoreFault> {
        match self.next() {
            Keeps(many) => Ok(Submitted::Done(decided(batch, many))),
            Starts => Ok(Submitted::UnderWay(decided(batch, batch.len()))),
            Lost => Ok(Submitted::BeforeLost(StoreFault::Conflict)),
            Fails => Err(StoreFault::Full),
            Doubts => Err(in_doubt()),
            LostInDoubt => Ok(Submitted::BeforeLost(in_doubt())),
            Finishes => panic!("it was not asked to finish"),
        }
    }
    fn finish(&mut self) -> Result<(), StoreFault> {
        match self.next() {
            Finishes => Ok(()),
            Fails => Err(StoreFault::Full),
            Doubts => Err(in_doubt()),
            other => panic!("finish is no {other:?}"),
        }
    }
    fn query(&mut self, _: &Query) -> Result<Report, StoreFault> {
        Err(StoreFault::Closed)
    }
    fn copy_to(&mut self, _: &std::path::Path) -> Result<(), StoreFault> {
        Err(StoreFault::Closed)
    }
}

type Reply = oneshot::Receiver<Result<AdminAnswer, StoreFault>>;
const NOW: Now = Now { mono: Mono(0), wall: Wall(0), utc_offset_min: 0 };

fn jobs(numbers: std::ops::Range<u32>) -> (Vec<Job>, Vec<Reply>) {
    numbers
        .map(|n| {
            let (sender, receiver) = oneshot::channel();
            let merchant = MerchantId::from_text(&format!("M{n}")).unwrap();
            let (name, currency) = (n.to_string(), Currency::CNY);
            (Job::Admin(AdminRequest::AddMerchant { merchant, name, currency }, sender), receiver)
        })
        .unzip()
}

/// What operators were told so far: their number, the fault, or nothing (yet).
fn told(replies: &mut [Reply]) -> Vec<Option<Result<u32, StoreFault>>> {
    let number = |answer| match answer {
        AdminAnswer::Count(number) => number,
        other => panic!("{other:?}"),
    };
    replies.iter_mut().map(|reply| reply.try_recv().ok().map(|result| result.map(number))).collect()
}

fn all(numbers: std::ops::Range<u32>) -> Vec<Option<Result<u32, StoreFault>>> {
    numbers.map(|n| Some(Ok(n))).collect()
}

fn full() -> Option<Result<u32, StoreFault>> {
    Some(Err(StoreFault::Full))
}

/// What five operators are told in one go.
fn five(does: &[Does]) -> Vec<Option<Result<u32, StoreFault>>> {
    let mut writer = Writer::new(Scripted(does.to_vec()));
    let (mut jobs, mut replies) = jobs(0..5);
    writer.work(&mut jobs, NOW);
    assert!(writer.backend.0.is_empty(), "it asked too seldom");
    told(&mut replies)
}

#[test]
fn a_batch_that_is_decided_in_parts_is_answered_to_each_asker_his_own() {
    assert_eq!(five(&[Keeps(5)]), all(0..5));
    assert_eq!(five(&[Keeps(2), Keeps(1), Keeps(2)]), all(0..5));
}

#[test]
fn what_was_kept_before_the_store_failed_is_answered_and_the_rest_is_refused() {
    assert_eq!(five(&[Fails]), [full(), full(), full(), full(), full()]);
    assert_eq!(five(&[Keeps(3), Fails]), [all(0..3), vec![full(), full()]].concat());
}

#[test]
fn a_backend_that_answers_nothing_is_not_asked_for_ever() {
    assert_eq!(five(&[Keeps(3), Keeps(0)]), [all(0..3), vec![None, None]].concat());
    assert_eq!(five(&[Lost]), vec![Some(Err(StoreFault::Conflict)); 5], "nothing was under way");
}

#[test]
fn nobody_is_answered_before_the_batch_is_durable() {
    let mut writer = Writer::new(Scripted(vec![Starts, Starts, Finishes]));
    let ((mut first, mut one), (mut second, mut two)) = (jobs(0..3), jobs(3..5));
    writer.begin(&mut first, NOW);
    assert_eq!(told(&mut one), [None, None, None]);
    writer.begin(&mut second, NOW);
    assert_eq!((told(&mut one), told(&mut two)), (all(0..3), vec![None, None]));
    writer.finish(NOW);
    assert_eq!(told(&mut two), all(3..5));
    writer.finish(NOW);
}

#[test]
fn a_batch_that_was_not_kept_is_decided_again_before_the_next() {
    // Lost when the next one comes: again in two parts, then the next one.
    let mut writer = Writer::new(Scripted(vec![Starts, Lost, Keeps(2), Keeps(1), Starts, Finishes]));
    let ((mut first, mut one), (mut second, mut two)) = (jobs(0..3), jobs(3..5));
    writer.begin(&mut first, NOW);
    writer.begin(&mut second, NOW);
    assert_eq!((told(&mut one), told(&mut two)), (all(0..3), vec![None, None]));
    writer.finish(NOW);
    assert_eq!(told(&mut two), all(3..5));
    // Lost when nobody else is there.
    assert_eq!(five(&[Starts, Fails, Keeps(5)]), all(0..5));
    // And the second time for good.
    assert_eq!(five(&[Starts, Fails, Keeps(1), Fails]), [all(0..1), vec![full(); 4]].concat());
}

/// A terminal's request, and where its answer comes to.
fn terminals() -> (Job, Arc<Mailbox>) {
    let (mailbox, terminal) = (Arc::new(Mailbox::default()), TerminalId::from_text("T0000001").unwrap());
    let echo = Echo {
        tpdu: Tpdu { destination: [0, 3], source: [0, 0] },
        header: None,
        mti: Mti::FINANCIAL,
        code: None,
        amount: None,
        trace: Stan(1),
        terminal,
        merchant: None,
        currency: None,
        batch: None,
        seal: Seal::None,
        asked: None,
    };
    let identity = Identity {
        acquirer: AcquirerId(1),
        terminal,
        merchant: MerchantId::from_text("M1").unwrap(),
        batch: BatchNo(1),
        trace: Stan(1),
    };
    let body = HostBody::Purchase { payer: PayerToken([7; 16]), amount: Amount::new(1, Currency::CNY) };
    let request = HostRequest { identity, digest: ContentDigest([0; 16]), body };
    let ask = Ask { echo, question: Question::Host(request) };
    (Job::Terminal(Arc::clone(&mailbox), Box::new(ask)), mailbox)
}

#[test]
fn nobody_is_told_that_nothing_was_decided_while_that_is_in_doubt() {
    for does in [&[Doubts][..], &[Starts, Doubts], &[Starts, LostInDoubt, Doubts]] {
        let doubted = does.contains(&LostInDoubt);
        let mut writer = Writer::new(Scripted(does.to_vec()));
        let ((mut batch, mut replies), (job, mailbox)) = (jobs(0..2), terminals());
        batch.push(job);
        writer.begin(&mut batch, NOW);
        let (mut next, mut later) = jobs(2..3);
        if doubted {
            writer.begin(&mut next, NOW);
        }
        writer.finish(NOW);
        assert_eq!(told(&mut replies), [Some(Err(in_doubt())), Some(Err(in_doubt()))], "{does:?}");
        assert!(matches!(mailbox.collect().as_slice(), [Done::Lost]), "{does:?}");
        if doubted {
            assert_eq!(told(&mut later), [Some(Err(in_doubt()))], "it may be a repeat");
        }
        assert!(
            writer.backend.0.is_empty(),
            "{does:?}: what failed a second time would say nothing of the first"
        );
    }
    // A failure that leaves nothing in doubt is an answer.
    let (job, mailbox) = terminals();
    Writer::new(Scripted(vec![Fails])).work(&mut vec![job], NOW);
    assert!(matches!(mailbox.collect().as_slice(), [Done::Failed(_)]));
}

#[test]
fn a_failure_of_the_next_batch_does_not_take_the_answers_of_the_one_before() {
    let mut writer = Writer::new(Scripted(vec![Starts, Fails]));
    let ((mut first, mut one), (mut second, mut two)) = (jobs(0..2), jobs(2..3));
    writer.begin(&mut first, NOW);
    writer.begin(&mut second, NOW);
    assert_eq!((told(&mut one), told(&mut two)), (all(0..2), vec![full()]));
}

#[test]
fn a_question_sees_all_that_came_before_it() {
    let mut writer = Writer::new(Scripted(vec![Starts, Finishes]));
    let (mut batch, mut replies) = jobs(0..2);
    let (sender, _answer) = oneshot::channel();
    batch.push(Job::Query(Query::Audit, sender));
    writer.begin(&mut batch, NOW);
    assert_eq!(told(&mut replies), all(0..2));
}
