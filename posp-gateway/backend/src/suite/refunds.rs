//! Refunds: in any order, any number and any size they never exceed what was paid, and nothing that was taken back is refunded.

use super::world::*;
use crate::api::*;
use crate::store::Store;
use crate::store::memory::MemoryStore;
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
