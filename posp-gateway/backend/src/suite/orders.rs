//! Payments, completions, voids, refunds, reversals of each, the end of a batch and the end of a hold's time, in any order, sensible or not: the books
//! never contradict themselves, hold and owe exactly what stands, and what was once reversed stays reversed.

use super::world::*;
use crate::accounts::chart::{Book, FundingKind, FundingNumber};
use crate::api::*;
use crate::store::memory::MemoryStore;
use crate::store::{
    Key, Record, Scan, Store, Transaction, TransactionKind as Kind, TransactionState as State,
};
use proptest::prelude::*;
use proptest::sample::Index;
use protocol::ids::BatchNo;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

const FUNDED: u64 = 1000;
const DAY_MS: i64 = 86_400_000;

#[derive(Clone, Debug)]
enum Step {
    Hold(u64),
    Buy(u64),
    Complete { of: Index, percent: u64, advice: bool },
    Void(Index),
    Reverse(Index),
    Refund(Index, u64),
    Settle,
    Days(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some = any::<Index>;
    let step = prop_oneof![
        3 => (50u64..800).prop_map(Step::Hold),
        3 => (50u64..900).prop_map(Step::Buy),
        6 => (some(), 10u64..130, prop::bool::weighted(0.1))
            .prop_map(|(of, percent, advice)| Step::Complete { of, percent, advice }),
        8 => some().prop_map(Step::Void),
        9 => some().prop_map(Step::Reverse),
        2 => (some(), 1u64..300).prop_map(|(of, minor)| Step::Refund(of, minor)),
        1 => Just(Step::Settle),
        1 => (1i64..31).prop_map(Step::Days),
    ];
    prop::collection::vec(step, 1..40)
}

/// A message that was sent, and for how much.
struct Sent {
    message: HostRequest,
    answer: HostAnswer,
    minor: u64,
    reversed: bool,
}

struct Day {
    world: World<MemoryStore>,
    sent: Vec<Sent>,
}

impl Day {
    fn new() -> Self {
        let mut world = World::new(MemoryStore::new());
        world.fund(FUNDED, 1);
        Self { world, sent: Vec::new() }
    }

    /// One of the newest messages: what lies far back is seldom taken up again.
    fn pick(&self, index: &Index) -> Option<&Sent> {
        let near = self.sent.len().saturating_sub(6);
        let newest = self.sent.get(near..).filter(|newest| !newest.is_empty())?;
        newest.get(index.index(newest.len()))
    }

    fn send(&mut self, body: HostBody, minor: u64) {
        let message = self.world.message(t1(), body);
        let answer = self.world.host(message.clone());
        assert_ne!(answer.code, code("96"), "{message:?}");
        self.sent.push(Sent { message, answer, minor, reversed: false });
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Hold(minor) => {
                self.send(HostBody::PreAuthorise { payer: PAYER, amount: cny(*minor) }, *minor);
            }
            Step::Buy(minor) => self.send(HostBody::Purchase { payer: PAYER, amount: cny(*minor) }, *minor),
            Step::Complete { of, percent, advice } => {
                let Some(held) = self.pick(of) else { return };
                let (minor, original) = (held.minor * percent / 100, named(held));
                let (amount, advice) = (cny(minor), *advice);
                self.send(HostBody::Complete { payer: PAYER, original, amount, advice }, minor);
            }
            Step::Void(of) => {
                let Some(of) = self.pick(of) else { return };
                let (minor, original) = (of.minor, named(of));
                let amount = cny(minor);
                let body = match of.message.body {
                    HostBody::PreAuthorise { .. } => HostBody::PreAuthorisationVoid { original, amount },
                    HostBody::Complete { .. } => HostBody::CompletionVoid { original, amount },
                    _ => HostBody::Void { original, amount },
                };
                self.send(body, minor);
            }
            Step::Refund(of, minor) => {
                let Some(of) = self.pick(of) else { return };
                let body = HostBody::Refund { original: named(of), amount: cny(*minor) };
                self.send(body, *minor);
            }
            Step::Reverse(of) => {
                let near = self.sent.len().saturating_sub(6);
                let Some(newest) = self.sent.get_mut(near..).filter(|it| !it.is_empty()) else { return };
                let which = of.index(newest.len());
                let of = &mut newest[which];
                let reversal = World::<MemoryStore>::reversal(&of.message, cny(of.minor));
                let told = self.world.host(reversal).code;
                assert_ne!(told, code("96"), "{:?}", of.message);
                of.reversed |= told == code("00");
            }
            Step::Settle => {
                self.world.settle();
            }
            Step::Days(days) => self.world.ms += days * DAY_MS,
        }
    }

    fn transactions(&mut self) -> Vec<Transaction> {
        let mut all = Vec::new();
        let each = &mut |record| {
            if let Record::Transaction(it) = record {
                all.push(*it);
            }
            ControlFlow::Continue(())
        };
        self.world.engine.store().scan(Scan::TRANSACTIONS, each).unwrap();
        all
    }

    /// What is held and owed is what stands, message by message.
    fn check(&mut self) {
        let all = self.transactions();
        let (mut held, mut paid, mut completions) = (0, 0, BTreeMap::new());
        let (mut counted, mut refunds) = (0i128, 0i128);
        let open = BatchNo(self.world.batch);
        for it in &all {
            let minor = it.amount.map_or(0, |amount| amount.minor());
            let stands = match (it.kind, it.state) {
                (Kind::Purchase | Kind::PreAuthorisation, State::Authorised) => {
                    held += minor;
                    it.kind == Kind::Purchase
                }
                (kind, State::Completed) => kind.is_debit(),
                (kind, State::Cleared | State::Settled | State::PartlyRefunded | State::Refunded) => {
                    kind.is_debit()
                }
                _ => false,
            };
            if stands && it.state != State::Authorised {
                paid += minor - it.refunded;
            }
            if stands && it.kind != Kind::Purchase {
                *completions.entry(it.original).or_insert(0) += 1;
            }
            if stands && it.identity.batch == open {
                counted += i128::from(minor);
            }
            if it.kind == Kind::Refund && it.state != State::Declined && it.identity.batch == open {
                refunds += i128::from(minor);
            }
        }
        assert!(completions.values().all(|count| *count == 1), "{completions:?}");
        let payer = Book::Funding(FundingKind::Bank, FundingNumber(1)).id(CNY);
        let Some(Record::Account(payer)) = self.world.engine.store().get(&Key::Account(payer)).unwrap()
        else {
            panic!("no account");
        };
        assert_eq!(payer.running.debits_pending, held);
        assert_eq!(payer.running.net_credit(), i128::from(FUNDED) - i128::from(paid));
        let totals = self.world.host_totals();
        let net = i128::from(totals.debits.minor) - i128::from(totals.credits.minor);
        assert_eq!(net, counted - refunds, "{totals:?}");
        for sent in self.sent.iter().filter(|sent| sent.reversed) {
            let it = all.iter().find(|it| it.identity == sent.message.identity).unwrap();
            let is_payment = it.kind.is_debit() || it.kind == Kind::PreAuthorisation;
            let over = matches!(it.state, State::Reversed | State::Declined | State::Refunded);
            assert!(over || !is_payment, "{it:?}");
        }
    }

    /// Closes the batch with other totals: what is listed then is what was added up.
    fn close(&mut self) {
        let host = self.world.host_totals();
        let totals = BatchTotals { loads: host.loads.plus(1), ..host };
        assert_eq!(self.world.send(HostBody::Settle { totals }).code, code("95"));
        assert_eq!(self.world.send(HostBody::UploadEnd).code, code("00"));
        let number = BatchNo(self.world.batch);
        let Report::Batch(report) = self.world.engine.query(&Query::Batch(t1(), number)).unwrap() else {
            panic!("no batch");
        };
        let mut listed = BatchTotals::default();
        for item in report.differences {
            let minor = item.host.unwrap().minor();
            match item.side {
                Side::Debit => listed.debits = listed.debits.plus(minor),
                Side::Credit => listed.credits = listed.credits.plus(minor),
                Side::Load => listed.loads = listed.loads.plus(minor),
            }
        }
        assert_eq!(listed, host);
        self.world.batch += 1;
    }
}

/// As a receipt names it.
fn named(of: &Sent) -> Original {
    Original { reference: of.answer.reference, trace: None, authorisation: of.answer.authorisation }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_the_books_hold_and_owe_what_stands_and_never_contradict_themselves(steps in steps()) {
        let mut day = Day::new();
        for step in &steps {
            day.step(step);
            day.check();
        }
        day.close();
        day.check();
        prop_assert_eq!(day.world.audit().exceptions, []);
    }
}
