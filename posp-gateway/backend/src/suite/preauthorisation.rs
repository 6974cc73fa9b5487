//! Pre-authorisation, completion, and what takes them back, on every store.

use super::world::*;
use crate::accounts::TransactionSeq;
use crate::api::*;
use crate::store::{Record, Store, StoreFault, Working};
use protocol::ids::*;

const PENDING_DAYS: i64 = 30;
const DAY_MS: i64 = 86_400_000;

fn authorise(minor: u64) -> HostBody {
    HostBody::PreAuthorise { payer: PAYER, amount: cny(minor) }
}

/// As a receipt of a pre-authorisation names it: F37 and F38.
fn named(answer: &HostAnswer) -> Original {
    Original { reference: answer.reference, trace: None, authorisation: answer.authorisation }
}

fn complete(of: &HostAnswer, minor: u64) -> HostBody {
    HostBody::Complete { payer: PAYER, original: named(of), amount: cny(minor), advice: false }
}

fn advise(of: &HostAnswer, minor: u64) -> HostBody {
    HostBody::Complete { payer: PAYER, original: named(of), amount: cny(minor), advice: true }
}

fn void(of: &HostAnswer, minor: u64) -> HostBody {
    HostBody::PreAuthorisationVoid { original: named(of), amount: cny(minor) }
}

fn void_completion(of: &HostAnswer, minor: u64) -> HostBody {
    HostBody::CompletionVoid { original: named(of), amount: cny(minor) }
}

/// A message and its answer, which approves.
fn approved<S: Store>(world: &mut World<S>, body: HostBody) -> (HostRequest, HostAnswer) {
    let message = world.message(t1(), body);
    let answer = world.host(message.clone());
    assert_eq!(answer.code, code("00"), "{message:?}");
    (message, answer)
}

fn reverse<S: Store>(world: &mut World<S>, of: &HostRequest, minor: u64) -> String {
    world.host(World::<S>::reversal(of, cny(minor))).code.to_string()
}

fn world<S: Store>(store: S) -> World<S> {
    let mut world = World::new(store);
    world.fund(1000, 1);
    world
}

pub(super) fn a_completion_takes_a_part_releases_the_rest_and_happens_once<S: Store>(store: S) {
    let mut world = world(store);
    let (asked, held) = approved(&mut world, authorise(600));
    assert_eq!(world.available(), 400);
    assert_eq!(world.host(asked).reference, held.reference, "a repeat is answered as before");
    let (message, done) = approved(&mut world, complete(&held, 450));
    assert_eq!(world.available(), 550, "150 are free again");
    assert_eq!(world.payable(shop()), 450, "a completion is posted at once");
    assert_eq!(world.host(message), HostAnswer { repeat: true, ..done });
    assert_eq!(world.send(complete(&held, 1)).code, code("12"), "one completion only");
    assert_eq!(world.send(void(&held, 600)).code, code("12"));
    let totals = world.host_totals();
    assert_eq!((totals.debits, totals.credits), (Tally { minor: 450, count: 1 }, Tally::default()));
    world.settle();
    assert_eq!((world.available(), world.payable(shop())), (550, 450));
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn a_completion_may_exceed_what_was_held_by_the_tolerance_and_only_if_funds_allow<S: Store>(
    store: S,
) {
    let mut world = world(store);
    let (_, held) = approved(&mut world, authorise(200));
    assert_eq!(world.send(complete(&held, 231)).code, code("61"), "beyond 115 %");
    assert_eq!(world.send(complete(&held, 0)).code, code("13"));
    approved(&mut world, complete(&held, 230));
    assert_eq!((world.available(), world.payable(shop())), (770, 230));
    let (_, all) = approved(&mut world, authorise(770));
    assert_eq!(world.send(complete(&all, 771)).code, code("51"), "the excess is not covered");
    assert_eq!(world.available(), 0, "and what was held still is");
    approved(&mut world, complete(&all, 770));
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn a_pre_authorisation_outlives_its_batch_and_any_terminal_of_the_merchant_completes_it<
    S: Store,
>(
    store: S,
) {
    let mut world = world(store);
    let (asked, held) = approved(&mut world, authorise(600));
    world.settle();
    assert_eq!(world.payable(shop()), 0, "the batch's end takes nothing");
    assert_eq!(world.available(), 400);
    // By batch and trace (F61), as a terminal without the first answer's F37 names it.
    let original = Original {
        trace: Some((asked.identity.batch, asked.identity.trace)),
        authorisation: held.authorisation,
        ..Original::default()
    };
    let body = HostBody::Complete { payer: PAYER, original, amount: cny(600), advice: false };
    assert_eq!(world.send(body).code, code("00"));
    assert_eq!(world.payable(shop()), 600);
}

pub(super) fn a_completion_that_names_nothing_of_this_card_is_refused<S: Store>(store: S) {
    let mut world = world(store);
    let (_, held) = approved(&mut world, authorise(600));
    let (_, bought) = approved(&mut world, HostBody::Purchase { payer: PAYER, amount: cny(10) });
    let with = |payer, original| HostBody::Complete { payer, original, amount: cny(600), advice: false };
    let other = Original { authorisation: bought.authorisation, ..named(&held) };
    assert_eq!(world.send(with(PAYER, other)).code, code("25"), "another authorisation code");
    let without = Original { authorisation: None, ..named(&held) };
    assert_eq!(world.send(with(PAYER, without)).code, code("25"));
    let unknown = Original { trace: Some((BatchNo(1), Stan(999))), ..Original::default() };
    assert_eq!(world.send(with(PAYER, unknown)).code, code("25"));
    assert_eq!(world.send(with(OTHER_PAYER, named(&held))).code, code("25"), "another card");
    assert_eq!(world.send(with(PayerToken([0; 16]), named(&held))).code, code("14"));
    assert_eq!(world.send(complete(&bought, 10)).code, code("12"), "a purchase is not completed");
    // Another merchant's.
    let foreign = world.message(t2(), complete(&held, 600));
    assert_eq!(world.host(foreign).code, code("25"));
    assert_eq!(world.available(), 390);
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn after_its_time_the_money_is_free_and_a_completion_finds_nothing<S: Store>(store: S) {
    let mut world = world(store);
    let (message, held) = approved(&mut world, authorise(600));
    world.ms += PENDING_DAYS * DAY_MS - 10_000;
    assert_eq!(world.available(), 400, "not yet");
    world.ms += 10_000;
    assert_eq!(world.send(complete(&held, 600)).code, code("25"));
    assert_eq!(world.available(), 1000);
    assert_eq!(world.send(void(&held, 600)).code, code("25"));
    assert!(world.alerts().is_empty());
    assert_eq!(world.send(advise(&held, 600)).code, code("25"));
    assert_eq!(world.alerts(), [AlertKind::AdviceRefused], "goods may have left: a person is told");
    assert_eq!(reverse(&mut world, &message, 600), "00", "no money is left to reverse");
    assert_eq!(world.send(complete(&held, 600)).code, code("12"), "and none ever will be");
    assert_eq!((world.available(), world.payable(shop())), (1000, 0));
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn a_void_of_a_pre_authorisation_frees_the_money_and_its_reversal_takes_it_back<S: Store>(
    store: S,
) {
    let mut world = world(store);
    let (asked, held) = approved(&mut world, authorise(600));
    assert_eq!(world.send(void(&held, 599)).code, code("64"));
    let (voiding, _) = approved(&mut world, void(&held, 600));
    assert_eq!(world.available(), 1000);
    assert_eq!(world.send(complete(&held, 600)).code, code("12"));
    assert_eq!(world.send(void(&held, 600)).code, code("12"));
    assert_eq!(reverse(&mut world, &voiding, 600), "00");
    assert_eq!(world.available(), 400, "held again");
    assert_eq!(reverse(&mut world, &voiding, 600), "00", "once");
    assert_eq!(world.available(), 400);
    assert_eq!(world.host_totals(), BatchTotals::default(), "neither counts in the batch");
    // To the end that it had at first.
    world.ms += PENDING_DAYS * DAY_MS;
    assert_eq!(world.available(), 1000);
    assert_eq!(reverse(&mut world, &asked, 600), "00");
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn a_reversed_pre_authorisation_is_over_and_a_late_one_is_declined<S: Store>(store: S) {
    let mut world = world(store);
    let (asked, held) = approved(&mut world, authorise(600));
    assert_eq!(reverse(&mut world, &asked, 599), "64");
    assert_eq!(reverse(&mut world, &asked, 600), "00");
    assert_eq!(reverse(&mut world, &asked, 600), "00");
    assert_eq!(world.available(), 1000);
    assert_eq!(world.send(complete(&held, 600)).code, code("12"));
    let late = world.message(t1(), authorise(5));
    assert_eq!(reverse(&mut world, &late, 5), "00");
    assert_eq!(world.host(late).code, code("68"));
    let (asked, held) = approved(&mut world, authorise(100));
    approved(&mut world, complete(&held, 100));
    assert_eq!(reverse(&mut world, &asked, 100), "12", "its completion is reversed, not itself");
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn a_voided_completion_leaves_the_pre_authorisation_standing<S: Store>(store: S) {
    let mut world = world(store);
    let (_, held) = approved(&mut world, authorise(600));
    let (_, first) = approved(&mut world, complete(&held, 450));
    assert_eq!(world.send(void_completion(&first, 451)).code, code("64"));
    assert_eq!(world.send(void_completion(&held, 600)).code, code("12"), "not a completion");
    let (voiding, _) = approved(&mut world, void_completion(&first, 450));
    assert_eq!((world.available(), world.payable(shop())), (400, 0), "held as before");
    let totals = world.host_totals();
    let once = Tally { minor: 450, count: 1 };
    assert_eq!((totals.debits, totals.credits), (once, once));
    assert_eq!(world.send(void_completion(&first, 450)).code, code("12"), "voided before");
    // The void itself is reversed: the completion stands again.
    assert_eq!(reverse(&mut world, &voiding, 450), "00");
    assert_eq!((world.available(), world.payable(shop())), (550, 450));
    assert_eq!(world.host_totals().credits, Tally::default());
    assert_eq!(reverse(&mut world, &voiding, 450), "00");
    assert_eq!(world.payable(shop()), 450, "once");
    // Voided again, completed anew: now the first void cannot be undone.
    let (voiding, _) = approved(&mut world, void_completion(&first, 450));
    approved(&mut world, complete(&held, 600));
    assert_eq!(reverse(&mut world, &voiding, 450), "12");
    assert_eq!((world.available(), world.payable(shop())), (400, 600));
    world.settle();
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn a_reversed_completion_never_was<S: Store>(store: S) {
    let mut world = world(store);
    let (_, held) = approved(&mut world, authorise(600));
    let (message, _) = approved(&mut world, complete(&held, 690));
    assert_eq!((world.available(), world.payable(shop())), (310, 690));
    assert_eq!(reverse(&mut world, &message, 690), "00");
    assert_eq!(reverse(&mut world, &message, 690), "00");
    assert_eq!((world.available(), world.payable(shop())), (400, 0), "the pre-authorisation stands");
    assert_eq!(world.host_totals(), BatchTotals::default());
    let (message, done) = approved(&mut world, complete(&held, 300));
    world.settle();
    assert_eq!(world.send(void_completion(&done, 300)).code, code("12"), "its batch is closed");
    let refund =
        HostBody::Refund { original: Original { authorisation: None, ..named(&done) }, amount: cny(100) };
    assert_eq!(world.send(refund).code, code("00"));
    assert_eq!(reverse(&mut world, &message, 300), "00", "what was not refunded flows back");
    assert_eq!((world.available(), world.payable(shop())), (1000, 0));
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn a_completion_taken_back_when_the_money_is_gone_leaves_nothing_held<S: Store>(store: S) {
    let mut world = world(store);
    let (_, held) = approved(&mut world, authorise(600));
    let (_, done) = approved(&mut world, complete(&held, 100));
    approved(&mut world, HostBody::Purchase { payer: PAYER, amount: cny(900) });
    let (voiding, _) = approved(&mut world, void_completion(&done, 100));
    assert_eq!(world.available(), 100, "paid back; 600 cannot be held any more");
    assert_eq!(world.send(complete(&held, 100)).code, code("25"), "it is over");
    assert_eq!(reverse(&mut world, &voiding, 100), "00", "the completion itself can stand again");
    assert_eq!((world.available(), world.payable(shop())), (0, 100));
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn an_advice_completes_and_is_taken_back_by_a_refund_alone<S: Store>(store: S) {
    let mut world = world(store);
    let (_, held) = approved(&mut world, authorise(600));
    let (message, done) = approved(&mut world, advise(&held, 600));
    assert_eq!(world.payable(shop()), 600);
    assert_eq!(reverse(&mut world, &message, 600), "12");
    assert_eq!(world.send(void_completion(&done, 600)).code, code("12"));
    assert_eq!(world.host_totals().debits, Tally { minor: 600, count: 1 });
    world.settle();
    let refund = HostBody::Refund { original: named(&done), amount: cny(600) };
    let message = world.message(t1(), refund);
    assert_eq!(world.host(message.clone()).code, code("00"));
    assert_eq!(reverse(&mut world, &message, 600), "12", "a refund is not reversed");
    assert_eq!((world.available(), world.payable(shop())), (1000, 0));
    assert_eq!(world.audit().exceptions, []);
}

/// A completion of 100 whose void could hold nothing again, and was reversed: it stands, and its pre-authorisation is over.
fn completed_and_over<S: Store>(world: &mut World<S>) -> (HostRequest, HostAnswer) {
    let (_, held) = approved(world, authorise(600));
    let (message, done) = approved(world, complete(&held, 100));
    approved(world, HostBody::Purchase { payer: PAYER, amount: cny(900) });
    let (voiding, _) = approved(world, void_completion(&done, 100));
    assert_eq!(reverse(world, &voiding, 100), "00");
    assert_eq!((world.available(), world.payable(shop())), (0, 100));
    (message, done)
}

pub(super) fn a_completion_whose_void_was_reversed_is_taken_back_once_more<S: Store>(store: S) {
    let mut world = world(store);
    let (message, done) = completed_and_over(&mut world);
    let (voiding, _) = approved(&mut world, void_completion(&done, 100));
    assert_eq!((world.available(), world.payable(shop())), (100, 0));
    assert_eq!(reverse(&mut world, &voiding, 100), "00");
    assert_eq!((world.available(), world.payable(shop())), (0, 100));
    assert_eq!(reverse(&mut world, &message, 100), "00");
    assert_eq!((world.available(), world.payable(shop())), (100, 0));
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn an_expired_pre_authorisation_has_one_completion_at_most<S: Store>(store: S) {
    let mut world = world(store);
    let (_, held) = approved(&mut world, authorise(300));
    let (_, first) = approved(&mut world, complete(&held, 200));
    let (first_void, _) = approved(&mut world, void_completion(&first, 200));
    let (_, second) = approved(&mut world, complete(&held, 300));
    let (second_void, _) = approved(&mut world, void_completion(&second, 300));
    world.ms += PENDING_DAYS * DAY_MS;
    assert_eq!(world.available(), 1000, "its time is up");
    assert_eq!(reverse(&mut world, &first_void, 200), "00");
    assert_eq!(reverse(&mut world, &second_void, 300), "12", "the first stands again");
    assert_eq!((world.available(), world.payable(shop())), (800, 200));
    let (_, _) = approved(&mut world, void_completion(&first, 200));
    assert_eq!((world.available(), world.payable(shop())), (1000, 0), "nothing is held after its time");
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn what_is_reversed_after_its_void_never_stands_again<S: Store>(store: S) {
    let mut world = world(store);
    let (bought, answer) = approved(&mut world, HostBody::Purchase { payer: PAYER, amount: cny(100) });
    let taken_back = HostBody::Void { original: named(&answer), amount: cny(100) };
    let (voiding, _) = approved(&mut world, taken_back);
    assert_eq!(reverse(&mut world, &bought, 100), "00");
    assert_eq!(world.host_totals(), BatchTotals::default(), "neither the payment nor its void counts");
    assert_eq!(reverse(&mut world, &voiding, 100), "00");
    assert_eq!(world.available(), 1000);
    let (asked, held) = approved(&mut world, authorise(600));
    let (completing, done) = approved(&mut world, complete(&held, 450));
    let (voiding, _) = approved(&mut world, void_completion(&done, 450));
    assert_eq!(reverse(&mut world, &completing, 450), "00");
    assert_eq!(reverse(&mut world, &voiding, 450), "00");
    assert_eq!((world.available(), world.payable(shop())), (400, 0), "the pre-authorisation stands");
    let (voiding, _) = approved(&mut world, void(&held, 600));
    assert_eq!(reverse(&mut world, &asked, 600), "00");
    assert_eq!(reverse(&mut world, &voiding, 600), "00");
    assert_eq!(world.available(), 1000);
    assert_eq!(world.host_totals(), BatchTotals::default());
    // What the host lists item by item is what it adds up.
    let totals = BatchTotals { debits: Tally { minor: 1, count: 1 }, ..BatchTotals::default() };
    assert_eq!(world.send(HostBody::Settle { totals }).code, code("95"));
    let AnswerBody::Closed { all, .. } = world.send(HostBody::UploadEnd).body else { panic!("not closed") };
    assert_eq!((all, world.payable(shop())), (0, 0));
    assert_eq!(world.audit().exceptions, []);
}

/// A row that contradicts itself, as only damage makes it.
fn damage<S: Store>(world: &mut World<S>, held: &HostAnswer) {
    let seq: TransactionSeq = held.reference.and_then(transaction_of).unwrap();
    let at = world.now().wall;
    let mut working = Working::new(world.engine.store(), at).unwrap();
    let mut row = working.transaction(seq).unwrap().unwrap();
    row.transfer = None;
    working.put(Record::Transaction(Box::new(row)));
    working.commit().unwrap();
}

pub(super) fn who_meets_a_contradiction_in_the_books_fails_alone<S: Store>(store: S) {
    let mut world = world(store);
    let (_, held) = approved(&mut world, authorise(100));
    damage(&mut world, &held);
    let buy = |minor| HostBody::Purchase { payer: PAYER, amount: cny(minor) };
    let bodies = [buy(1), complete(&held, 100), complete(&held, 100), buy(2), complete(&held, 100)];
    let batch = bodies.map(|body| Request::Host(world.message(t1(), body)));
    let (mut codes, now) = (Vec::new(), world.now());
    while let Some(rest) = batch.get(codes.len()..).filter(|rest| !rest.is_empty()) {
        match world.engine.execute(now, rest) {
            Ok(answers) => codes.extend(answers.into_iter().map(|answer| match answer {
                Answer::Host(answer) => answer.code.to_string(),
                Answer::Admin(_) => panic!("a terminal's answer"),
            })),
            Err(StoreFault::Damaged { .. }) if rest.len() == 1 => codes.push("alone".to_owned()),
            Err(fault) => panic!("{} requests fail together: {fault}", rest.len()),
        }
    }
    assert_eq!(codes, ["00", "96", "96", "00", "alone"]);
    assert_eq!(world.available(), 1000 - 100 - 3);
}
