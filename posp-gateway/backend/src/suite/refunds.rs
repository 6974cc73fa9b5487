//! Refunds: in any order, any number and any size they never exceed what was paid, and nothing that was taken back is refunded.

use super::world::*;
use crate::api::*;
use crate::report::AuditException;
use crate::store::memory::MemoryStore;
use crate::store::{Record, Scan, Store, TransactionState, Working};
use proptest::prelude::*;

fn buy(minor: u64) -> HostBody {
    HostBody::Purchase { payer: PAYER, amount: cny(minor) }
}

fn of(answer: &HostAnswer) -> Original {
    Original { reference: answer.reference, ..Original::default() }
}

fn refund(of_answer: &HostAnswer, minor: u64) -> HostBody {
    HostBody::Refund { original: of(of_answer), amount: cny(minor) }
}

pub(super) fn what_was_taken_back_or_never_paid_is_not_refunded<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let declined = world.send(buy(20_000));
    let voided = world.send(buy(100));
    let void = HostBody::Void { original: of(&voided), amount: cny(100) };
    let void = world.send(void);
    let message = world.message(t1(), buy(200));
    let reversed = world.host(message.clone());
    world.host(World::<S>::reversal(&message, cny(200)));
    let held = world.send(HostBody::PreAuthorise { payer: PAYER, amount: cny(300) });
    let mut card = world.card(1);
    let load = world.load(&mut card, 400);
    let disputed = world.host(load.clone());
    world.host(World::<S>::reversal(&load, cny(400)));
    let bought = world.send(buy(500));
    world.settle();
    for (what, answer, minor) in [
        ("declined", &declined, 20_000),
        ("voided", &voided, 100),
        ("a void", &void, 100),
        ("reversed", &reversed, 200),
        ("held", &held, 300),
        ("disputed", &disputed, 400),
    ] {
        assert_eq!(world.send(refund(answer, minor)).code, code("12"), "{what}");
    }
    assert_eq!(world.send(refund(&bought, 0)).code, code("13"));
    let paid_back = world.message(t1(), refund(&bought, 500));
    let refunded = world.host(paid_back.clone());
    assert_eq!(refunded.code, code("00"));
    assert_eq!(world.host(paid_back.clone()), HostAnswer { repeat: true, ..refunded.clone() });
    assert_eq!(world.host(World::<S>::reversal(&paid_back, cny(500))).code, code("12"));
    assert_eq!(world.send(refund(&refunded, 500)).code, code("12"), "a refund is not refunded");
    // Another merchant cannot refund it either.
    let foreign = world.message(t2(), refund(&bought, 1));
    assert_eq!(world.host(foreign).code, code("25"));
    assert_eq!(world.payable(shop()), 0);
    assert_eq!(world.audit().exceptions, []);
}

/// A day on which money came back in every way, whose end only rows tell that no chain is over.
pub(super) fn returns<S: Store>(store: S) -> World<S> {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    world.fund(5_000, 2);
    let buy = |minor| HostBody::Purchase { payer: PAYER, amount: cny(minor) };
    let refunded = world.send(buy(100));
    let reversed = world.message(t1(), buy(300));
    world.host(reversed.clone());
    let voided = world.send(buy(400));
    let amount = cny(400);
    assert_eq!(world.send(HostBody::Void { original: of(&voided), amount }).code, code("00"));
    let complete = |world: &mut World<S>| {
        let held = world.send(HostBody::PreAuthorise { payer: PAYER, amount: cny(600) });
        let original = Original { authorisation: held.authorisation, ..of(&held) };
        let amount = cny(450);
        world.send(HostBody::Complete { payer: PAYER, original, amount, advice: false })
    };
    complete(&mut world);
    let done = complete(&mut world);
    let undone = HostBody::CompletionVoid { original: of(&done), amount: cny(450) };
    assert_eq!(world.send(undone).code, code("00"));
    assert_eq!(world.settle().code, code("00"));
    let refund = HostBody::Refund { original: of(&refunded), amount: cny(40) };
    assert_eq!(world.send(refund).code, code("00"));
    assert_eq!(world.host(World::<S>::reversal(&reversed, cny(300))).code, code("00"));
    let mut card = world.card(1);
    world.loaded(&mut card, 1_000);
    let records = [card.pay(200, SAM_1, 1), card.pay(200, SAM_1, 2)];
    world.upload(&records);
    let open = world.load(&mut card, 500);
    assert_eq!(world.host(open).code, code("00"));
    let stolen = world.card(2);
    let status = CardStatus::Denied;
    world.admin(AdminRequest::SetCardStatus { issuer: ISSUER, asn: stolen.asn, status });
    assert_eq!(world.audit().exceptions, [], "clean before");
    world
}

/// The same by the store's own means, which leave the chain as it was: on every store.
pub(super) fn a_payment_set_back_to_what_can_be_paid_back_again_is_found<S: Store>(store: S) {
    let mut world = returns(store);
    let at = world.now().wall;
    let mut set = Vec::new();
    let each = &mut |record| {
        if let Record::Transaction(it) = record
            && matches!(it.state, TransactionState::PartlyRefunded | TransactionState::Reversed)
        {
            set.push(*it);
        }
        std::ops::ControlFlow::Continue(())
    };
    world.engine.store().scan(Scan::TRANSACTIONS, each).unwrap();
    let mut working = Working::new(world.engine.store(), at).unwrap();
    for mut row in set.clone() {
        row.state = TransactionState::Cleared;
        row.refunded = 0;
        working.put(Record::Transaction(Box::new(row)));
    }
    working.commit().unwrap();
    let expected: Vec<_> = set.iter().map(|it| AuditException::TransactionState(it.seq)).collect();
    assert_eq!((expected.len(), world.audit().exceptions), (2, expected));
}

/// One payment, as the model remembers it.
struct Paid {
    answer: HostAnswer,
    message: HostRequest,
    minor: u64,
    refunded: u64,
    cleared: bool,
    reversed: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Buy(u64),
    Complete(u64),
    Refund(prop::sample::Index, u64),
    Reverse(prop::sample::Index),
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1u64..100).prop_map(Step::Buy),
        2 => (1u64..100).prop_map(Step::Complete),
        8 => (any::<prop::sample::Index>(), 0u64..120).prop_map(|(of, minor)| Step::Refund(of, minor)),
        1 => any::<prop::sample::Index>().prop_map(Step::Reverse),
        2 => Just(Step::Settle),
    ];
    prop::collection::vec(step, 1..40)
}

fn expected(paid: &Paid, minor: u64) -> &'static str {
    if paid.reversed || !paid.cleared || paid.refunded == paid.minor {
        "12"
    } else if paid.refunded + minor > paid.minor {
        "64"
    } else if minor == 0 {
        "13"
    } else {
        "00"
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn refunds_of_any_size_never_exceed_what_was_paid(steps in steps()) {
        let mut world = World::new(MemoryStore::new());
        world.fund(100_000, 1);
        let mut all: Vec<Paid> = Vec::new();
        for step in steps {
            match step {
                Step::Buy(minor) => {
                    let message = world.message(t1(), buy(minor));
                    let answer = world.host(message.clone());
                    all.push(Paid { answer, message, minor, refunded: 0, cleared: false, reversed: false });
                }
                Step::Complete(minor) => {
                    let held = world.send(HostBody::PreAuthorise { payer: PAYER, amount: cny(minor) });
                    let original = Original { authorisation: held.authorisation, ..of(&held) };
                    let body = HostBody::Complete { payer: PAYER, original, amount: cny(minor), advice: false };
                    let message = world.message(t1(), body);
                    let answer = world.host(message.clone());
                    all.push(Paid { answer, message, minor, refunded: 0, cleared: false, reversed: false });
                }
                Step::Refund(index, minor) if !all.is_empty() => {
                    let which = index.index(all.len());
                    let paid = &mut all[which];
                    let told = world.send(refund(&paid.answer, minor)).code;
                    prop_assert_eq!(told, code(expected(paid, minor)));
                    if told == code("00") {
                        paid.refunded += minor;
                    }
                }
                Step::Reverse(index) if !all.is_empty() => {
                    let which = index.index(all.len());
                    let paid = &mut all[which];
                    let told = world.host(World::<MemoryStore>::reversal(&paid.message, cny(paid.minor))).code;
                    prop_assert_eq!(told, code("00"));
                    paid.reversed |= paid.refunded < paid.minor;
                }
                Step::Settle => {
                    world.settle();
                    all.iter_mut().for_each(|paid| paid.cleared = true);
                }
                Step::Refund(..) | Step::Reverse(_) => {}
            }
        }
        world.settle();
        let owed: u64 = all.iter().filter(|paid| !paid.reversed).map(|paid| paid.minor - paid.refunded).sum();
        prop_assert_eq!(world.payable(shop()), i128::from(owed));
        let held: u64 = 0;
        prop_assert!(100_000 - world.available() >= owed + held);
        prop_assert_eq!(world.audit().exceptions, []);
    }
}
