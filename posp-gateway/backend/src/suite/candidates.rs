//! Several loads asked for at one online counter of a card (decision 20): whichever it was credited with, its payer's money is there, and nothing else of
//! it is lost or doubled. What happens in any order is in `staleness.rs`.

use super::world::*;
use crate::accounts::chart::{Book, FundingKind, MerchantNumber};
use crate::api::*;
use crate::store::{Store, TransactionState};
use protocol::ids::*;
use protocol::iso8583::f58::{LoadRequest, TransactionRecord};

fn float<S: Store>(world: &mut World<S>) -> (i128, u64) {
    let report = world.audit();
    assert_eq!(report.exceptions, []);
    (report.float[0].posted, report.float[0].pending)
}

fn credit(card: &TestCard, counter: u16, of: &HostAnswer) -> AdminRequest {
    let (counter, transaction) = (OnlineCounter(counter), transaction_of(of.reference.unwrap()).unwrap());
    AdminRequest::CreditLoad { issuer: ISSUER, asn: card.asn, counter, transaction }
}

fn by_cash<S: Store>(world: &mut World<S>, terminal: TerminalId, request: LoadRequest) -> HostAnswer {
    let message = world.message(terminal, HostBody::Load { source: LoadSource::Cash, request });
    world.host(message)
}

/// The states of all loads that were asked for at a counter, the oldest first.
fn states<S: Store>(world: &mut World<S>, card: &TestCard, counter: u16) -> Vec<TransactionState> {
    let search = Search::Load(ISSUER, card.asn, OnlineCounter(counter));
    match world.engine.query(&Query::Find { search, limit: 100 }).unwrap() {
        Report::Found(found) => found.transactions.iter().map(|it| it.state).collect(),
        other => panic!("{other:?}"),
    }
}

pub(super) fn a_load_request_at_the_same_counter_joins_the_one_before_and_needs_its_money_once<S: Store>(
    store: S,
) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    let first = world.load(&mut card, 6_000);
    world.host(first.clone());
    // Its answer was lost. The same once more, and less, are covered by what is held.
    for amount in [6_000, 5_000] {
        let again = world.load(&mut card, amount);
        assert_eq!(world.host(again).code, code("00"));
        assert_eq!(world.available(), 4_000);
    }
    let more = world.load(&mut card, 7_000);
    let answer = world.host(more);
    assert_eq!((answer.code, world.available()), (code("00"), 3_000));
    assert_eq!(world.card_report(&card).open_amounts, [5_000, 6_000, 7_000]);
    assert_eq!(world.card_report(&card).open_loads, 7_000);
    assert_eq!(world.open_loads(), Tally { minor: 24_000, count: 4 }, "until their terminals reverse them");
    let receipt = card.credit(7_000, SAM_1, answer.moment);
    assert_eq!(world.confirm(receipt).code, code("00"));
    assert_eq!(world.open_loads(), Tally { minor: 7_000, count: 1 });
    assert_eq!((world.available(), float(&mut world)), (3_000, (7_000, 0)));
    assert_eq!(world.host(World::<S>::reversal(&first, cny(6_000))).code, code("00"));
    assert_eq!(world.open_loads(), Tally { minor: 7_000, count: 1 });
    assert_eq!(world.alerts(), []);
}

pub(super) fn a_request_that_was_kept_back_frees_nothing_that_the_card_was_credited_with<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(50_000, 1);
    let mut card = world.card(1);
    // Made by the card first, and sent last: it shows the counter at which the card was credited meanwhile. The proof is withheld.
    let kept = world.load(&mut card, 1);
    let real = world.load(&mut card, 40_000);
    let consent = world.host(real);
    let receipt = card.credit(40_000, SAM_1, consent.moment);
    assert_eq!(world.host(kept).code, code("00"));
    assert_eq!(world.available(), 10_000, "all of it stays held");
    // It spends what it has, so that its balance tells nothing, and asks for more.
    let spent = card.pay(40_000, SAM_1, 1);
    assert_eq!(world.upload(&[spent]), ["00"]);
    for _ in 0..2 {
        let next = world.load(&mut card, 500);
        assert_eq!(world.host(next).code, code("91"));
    }
    assert_eq!(world.alerts(), [AlertKind::LoadContested], "told once");
    assert_eq!((world.available(), float(&mut world)), (10_000, (-40_000, 40_000)));
    let original = Original { reference: consent.reference, ..Original::default() };
    let proof = HostBody::LoadConfirm { original, record: receipt };
    assert_eq!(world.send(proof.clone()).code, code("00"));
    assert_eq!(world.send(proof).code, code("00"));
    assert_eq!((world.available(), float(&mut world)), (10_000, (0, 0)));
    world.loaded(&mut card, 500);
    assert_eq!(float(&mut world).0, i128::from(card.balance), "float and card agree");
}

pub(super) fn the_proof_of_any_candidate_books_it_however_it_comes<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(100_000, 1);
    let named = |world: &mut World<S>, consent: &HostAnswer, record| {
        let original = Original { reference: consent.reference, ..Original::default() };
        world.send(HostBody::LoadConfirm { original, record }).code
    };
    let mut paid = 0;
    for (n, which) in (1..).zip(0..9usize) {
        let mut card = world.card(n);
        let amounts = [300, 500, 400];
        let consents: Vec<HostAnswer> = amounts
            .iter()
            .map(|amount| {
                let message = world.load(&mut card, *amount);
                world.host(message)
            })
            .collect();
        let (amount, consent) = (amounts[which % 3], &consents[which % 3]);
        let receipt = card.credit(amount, SAM_1, consent.moment);
        for _ in 0..2 {
            match which / 3 {
                0 => assert_eq!(named(&mut world, consent, receipt), code("00")),
                1 => assert_eq!(world.confirm(receipt).code, code("00"), "it names nothing"),
                _ => assert_eq!(world.upload(&[receipt]), ["00"]),
            }
        }
        paid += u64::from(amount);
        assert_eq!(world.available(), 100_000 - paid);
        let credited = states(&mut world, &card, 0);
        assert_eq!(credited.last(), Some(&TransactionState::Completed));
        assert!(credited[..credited.len() - 1].iter().all(|it| *it == TransactionState::Reversed));
        // A proof of another amount, or of another consent, is none.
        let forged = TransactionRecord { moment: consents[(which + 1) % 3].moment, ..receipt };
        assert_eq!(world.confirm(forged).code, code("63"));
    }
    assert_eq!(float(&mut world), (i128::from(paid), 0));
    assert_eq!(world.alerts(), [AlertKind::WrongTac; 9]);
    assert_eq!(world.open_loads(), Tally { minor: paid, count: 9 });
}

pub(super) fn a_larger_request_that_the_payer_cannot_cover_leaves_the_one_before_as_it_was<S: Store>(
    store: S,
) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    let first = world.load(&mut card, 6_000);
    let consent = world.host(first);
    let greedy = world.load(&mut card, 10_001);
    assert_eq!(world.host(greedy).code, code("51"));
    assert_eq!((world.available(), world.card_report(&card).open_loads), (4_000, 6_000));
    assert_eq!(world.open_loads(), Tally { minor: 6_000, count: 1 });
    let all = world.load(&mut card, 10_000);
    assert_eq!(world.host(all).code, code("00"), "what was held counts towards it");
    assert_eq!(world.available(), 0);
    let receipt = card.credit(6_000, SAM_1, consent.moment);
    assert_eq!(world.confirm(receipt).code, code("00"));
    assert_eq!((world.available(), float(&mut world)), (4_000, (6_000, 0)));
    assert_eq!(world.open_loads(), Tally { minor: 6_000, count: 1 });
}

pub(super) fn every_payer_at_a_counter_has_its_own_hold_and_the_one_of_the_proved_load_pays<S: Store>(
    store: S,
) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let (shop_pays, cafe_pays) =
        (Book::MerchantPayable(MerchantNumber(1)), Book::MerchantPayable(MerchantNumber(2)));
    let mut owed = [0i128; 3];
    for (n, which) in (1..).zip(0..4usize) {
        let mut card = world.card(n);
        let linked = world.load(&mut card, 1_000);
        let linked = world.host(linked);
        let at_shop = card.request(700, SAM_1);
        let at_shop = by_cash(&mut world, t1(), at_shop);
        let at_cafe = card.request(900, SAM_2);
        let at_cafe = by_cash(&mut world, t2(), at_cafe);
        let again = world.load(&mut card, 1_200);
        let again = world.host(again);
        let report = world.card_report(&card);
        assert_eq!((report.open_loads, report.open_amounts), (2_800, vec![700, 900, 1_000, 1_200]));
        let (amount, sam, consent, payer) = [
            (1_000, SAM_1, &linked, 0),
            (700, SAM_1, &at_shop, 1),
            (900, SAM_2, &at_cafe, 2),
            (1_200, SAM_1, &again, 0),
        ][which];
        let receipt = card.credit(amount, sam, consent.moment);
        if which == 2 {
            // The next counter alone does not tell who pays.
            let next = world.load(&mut card, 5);
            assert_eq!(world.host(next).code, code("91"));
        }
        assert_eq!(world.confirm(receipt).code, code("00"));
        owed[payer] += i128::from(amount);
        assert_eq!(i128::from(world.available()), 10_000 - owed[0]);
        assert_eq!((world.net(shop_pays), world.net(cafe_pays)), (-owed[1], -owed[2]));
        assert_eq!(float(&mut world), (owed.iter().sum(), 0));
    }
    assert_eq!(world.alerts(), [AlertKind::LoadContested]);
}

pub(super) fn the_next_counter_books_what_is_beyond_doubt_and_refuses_the_rest_until_the_proof<S: Store>(
    store: S,
) {
    let mut world = World::new(store);
    world.fund(100_000, 1);
    let ask = |world: &mut World<S>, card: &mut TestCard, amounts: &[u32]| -> Vec<HostAnswer> {
        let consent = |amount: &u32| {
            let message = world.load(card, *amount);
            world.host(message)
        };
        amounts.iter().map(consent).collect()
    };
    // The same amount of the same payer: it does not matter which.
    let mut card = world.card(1);
    let consents = ask(&mut world, &mut card, &[300, 300, 300]);
    card.credit(300, SAM_1, consents[0].moment);
    ask(&mut world, &mut card, &[5]);
    assert_eq!((world.available(), world.card_report(&card).loaded), (100_000 - 305, 300));
    // The balance excludes the smaller one.
    let mut card = world.card(2);
    let consents = ask(&mut world, &mut card, &[300, 1]);
    card.credit(300, SAM_1, consents[0].moment);
    assert_eq!(ask(&mut world, &mut card, &[5])[0].code, code("00"));
    assert_eq!((world.available(), world.card_report(&card).loaded), (100_000 - 610, 300));
    // It may be either: what is held stays so until the proof.
    let mut card = world.card(3);
    let consents = ask(&mut world, &mut card, &[300, 1]);
    let receipt = card.credit(1, SAM_1, consents[1].moment);
    assert_eq!(ask(&mut world, &mut card, &[5])[0].code, code("91"));
    assert_eq!((world.available(), world.card_report(&card).loaded), (100_000 - 910, 0));
    // A request of the counter before is stale for good.
    let late = TestCard { online: 0, balance: 0, ..card.clone() }.request(2, SAM_1);
    assert_eq!(world.send(HostBody::Load { source: LoadSource::Linked, request: late }).code, code("62"));
    assert_eq!(world.confirm(receipt).code, code("00"));
    assert_eq!(ask(&mut world, &mut card, &[5])[0].code, code("00"));
    assert_eq!((world.available(), world.card_report(&card).loaded), (100_000 - 616, 1));
    assert_eq!(world.alerts(), [AlertKind::Rollback, AlertKind::LoadContested]);
    float(&mut world);
}

pub(super) fn a_proof_is_stronger_than_what_the_counter_or_a_person_concluded<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    // Two of one amount, and the counter said it was the second. It was the first: the batches count that one.
    let mut card = world.card(1);
    let first = world.load(&mut card, 300);
    let consent = world.host(first);
    let second = card.request(300, SAM_2);
    let second = world.message(t2(), HostBody::Load { source: LoadSource::Linked, request: second });
    world.host(second.clone());
    let receipt = card.credit(300, SAM_1, consent.moment);
    world.loaded(&mut card, 5);
    let both = [TransactionState::Reversed, TransactionState::Completed];
    assert_eq!(states(&mut world, &card, 0), both);
    assert_eq!(world.open_loads(), Tally { minor: 5, count: 1 });
    for _ in 0..2 {
        assert_eq!(world.confirm(receipt).code, code("00"));
        assert_eq!(world.open_loads(), Tally { minor: 305, count: 2 });
        assert_eq!((world.available(), float(&mut world)), (9_695, (305, 0)));
    }
    assert_eq!(world.host(World::<S>::reversal(&second, cny(300))).code, code("00"));
    assert_eq!(world.alerts(), [], "nobody reversed what was confirmed");

    // A person said that it was the larger one, by cash. It was the smaller.
    let mut card = world.card(2);
    let small = world.load(&mut card, 100);
    let small = world.host(small);
    let large = card.request(400, SAM_2);
    let large = by_cash(&mut world, t2(), large);
    let receipt = card.credit(100, SAM_1, small.moment);
    let next = world.load(&mut card, 10);
    assert_eq!(world.host(next).code, code("91"));
    assert_eq!(world.admin(credit(&card, 0, &large)), AdminAnswer::Done);
    assert_eq!((world.available(), world.payable(cafe())), (9_695, -400));
    assert_eq!(world.card_report(&card).loaded, 400);
    for _ in 0..2 {
        assert_eq!(world.upload(&[receipt]), ["00"]);
        assert_eq!((world.available(), world.payable(cafe())), (9_595, 0));
        assert_eq!((world.card_report(&card).loaded, float(&mut world)), (100, (405, 0)));
    }
    assert_eq!(world.alerts(), [AlertKind::LateLoad, AlertKind::LoadCredited, AlertKind::LoadContested]);
    // From now on it is proved: a second proof on this counter would be another card's.
    let clone = TestCard { online: 0, balance: 0, ..card.clone() }.credit(400, SAM_2, large.moment);
    assert_eq!(world.confirm(clone).code, code("63"));
    assert_eq!(world.card_report(&card).loaded, 100);
}

pub(super) fn a_person_releases_all_candidates_or_says_which_was_credited<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    // Released: all of them. Whatever is proved later is booked, also if the card has asked again since.
    let mut card = world.card(1);
    let first = world.load(&mut card, 1_000);
    let first = world.host(first);
    let at_cafe = card.request(400, SAM_2);
    by_cash(&mut world, t2(), at_cafe);
    assert_eq!(world.admin(credit(&card, 1, &first)), AdminAnswer::Refused(AdminRefusal::NoLoad));
    assert_eq!(world.release(&card, 0), AdminAnswer::Done);
    assert_eq!(world.release(&card, 0), AdminAnswer::Refused(AdminRefusal::NoLoad));
    assert_eq!((world.available(), world.open_loads()), (10_000, Tally::default()));
    assert_eq!(states(&mut world, &card, 0), [TransactionState::Reversed; 2]);
    let again = world.load(&mut card, 200);
    assert_eq!(world.host(again).code, code("00"));
    let receipt = card.credit(1_000, SAM_1, first.moment);
    assert_eq!(world.confirm(receipt).code, code("00"));
    assert_eq!((world.available(), float(&mut world)), (9_000, (1_000, 0)));
    assert_eq!(world.alerts(), [AlertKind::LateLoad, AlertKind::LoadReleased]);

    // The next counter shows that the card was credited: then a release would be free money, and a person has to say with which.
    let mut card = world.card(2);
    let large = world.load(&mut card, 2_000);
    let large = world.host(large);
    let small = world.load(&mut card, 100);
    let small = world.host(small);
    card.credit(100, SAM_1, small.moment);
    let next = world.load(&mut card, 10);
    assert_eq!(world.host(next).code, code("91"));
    assert_eq!(world.release(&card, 0), AdminAnswer::Refused(AdminRefusal::LoadCredited));
    assert_eq!(world.available(), 7_000);
    assert_eq!(world.admin(credit(&card, 0, &small)), AdminAnswer::Done);
    assert_eq!(world.admin(credit(&card, 0, &large)), AdminAnswer::Refused(AdminRefusal::NoLoad));
    assert_eq!((world.available(), float(&mut world)), (8_900, (1_100, 0)));
    world.loaded(&mut card, 10);

    // Released, and the next counter shows that one of them was credited after all: a person says which.
    let mut card = world.card(3);
    let large = world.load(&mut card, 2_000);
    let large = world.host(large);
    let small = world.load(&mut card, 100);
    world.host(small);
    card.credit(2_000, SAM_1, large.moment);
    assert_eq!(world.release(&card, 0), AdminAnswer::Done);
    let spent = card.pay(2_000, SAM_1, 1);
    assert_eq!(world.upload(&[spent]), ["00"]);
    for _ in 0..2 {
        let next = world.load(&mut card, 10);
        assert_eq!(world.host(next).code, code("91"));
    }
    assert_eq!(world.admin(credit(&card, 0, &large)), AdminAnswer::Done);
    assert_eq!(world.available(), 8_890 - 2_000);
    world.loaded(&mut card, 10);
    float(&mut world);
}

pub(super) fn a_request_that_was_kept_back_until_a_release_gives_no_load_away<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(50_000, 1);
    for (n, balance_tells) in [(1, false), (2, true)] {
        let mut card = world.card(n);
        let kept = world.load(&mut card, 1);
        let real = world.load(&mut card, 20_000);
        let consent = world.host(real);
        // Credited, and the proof withheld: a person sees a load without end.
        let receipt = card.credit(20_000, SAM_1, consent.moment);
        assert_eq!(world.release(&card, 0), AdminAnswer::Done);
        assert_eq!(world.host(kept).code, code("00"));
        let free = world.available();
        if !balance_tells {
            let spent = card.pay(20_000, SAM_1, n.into());
            assert_eq!(world.upload(&[spent]), ["00"]);
        }
        // The one that is held is not the one that the card took, whether its balance says so or not.
        for _ in 0..2 {
            let next = world.load(&mut card, 500);
            assert_eq!(world.host(next).code, code("91"));
        }
        assert_eq!((world.available(), world.card_report(&card).loaded), (free, 0));
        assert_eq!(world.release(&card, 0), AdminAnswer::Refused(AdminRefusal::LoadCredited));
        // A person says which, or its proof does.
        if balance_tells {
            assert_eq!(world.upload(&[receipt]), ["00"]);
        } else {
            assert_eq!(world.admin(credit(&card, 0, &consent)), AdminAnswer::Done);
        }
        assert_eq!((world.available(), world.card_report(&card).loaded), (free + 1 - 20_000, 20_000));
        world.loaded(&mut card, 500);
    }
    assert_eq!((world.available(), float(&mut world)), (9_000, (21_000, 0)));
    let contested = world.alerts().into_iter().filter(|it| *it == AlertKind::LoadContested);
    assert_eq!(contested.count(), 2, "told once of each card");
}

pub(super) fn after_a_release_that_was_right_the_card_loads_as_before<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let ask = |world: &mut World<S>, card: &mut TestCard, amount| {
        let message = world.load(card, amount);
        world.host(message)
    };
    // The card has 50 and was never credited with 1,000; the customer spends the 50 and asks again.
    let after_release = |world: &mut World<S>, n: u8| {
        let mut card = world.card(n);
        world.loaded(&mut card, 50);
        assert_eq!(ask(world, &mut card, 1_000).code, code("00"));
        assert_eq!(world.release(&card, 1), AdminAnswer::Done);
        let spent = card.pay(50, SAM_1, n.into());
        assert_eq!(world.upload(&[spent]), ["00"]);
        card
    };
    // For the same amount: it does not matter which of the two it was.
    let mut card = after_release(&mut world, 1);
    let again = ask(&mut world, &mut card, 1_000);
    card.credit(1_000, SAM_1, again.moment);
    assert_eq!(ask(&mut world, &mut card, 5).code, code("00"));
    assert_eq!((world.available(), world.card_report(&card).loaded), (8_945, 1_050));
    // For more, and the balance says that it was more.
    let mut card = after_release(&mut world, 2);
    let again = ask(&mut world, &mut card, 1_100);
    card.credit(1_100, SAM_1, again.moment);
    assert_eq!(ask(&mut world, &mut card, 5).code, code("00"));
    assert_eq!((world.available(), world.card_report(&card).loaded), (7_790, 1_150));
    // For little more: what the card had when it first asked may have made the difference. The proof says which.
    let mut card = after_release(&mut world, 3);
    let again = ask(&mut world, &mut card, 1_040);
    let receipt = card.credit(1_040, SAM_1, again.moment);
    assert_eq!(ask(&mut world, &mut card, 5).code, code("91"));
    assert_eq!(world.confirm(receipt).code, code("00"));
    world.loaded(&mut card, 5);
    assert_eq!((world.available(), world.card_report(&card).loaded), (6_695, 1_095));
    let contested = world.alerts().into_iter().filter(|it| *it == AlertKind::LoadContested);
    assert_eq!(contested.count(), 1);
}

pub(super) fn whatever_was_asked_for_at_a_counter_can_still_be_proved<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    let mut consents = Vec::new();
    for _ in 0..2 {
        for _ in 0..LOADS_UNDECIDED_MAX {
            let message = world.load(&mut card, 7);
            consents.push(world.host(message));
        }
        assert_eq!(world.release(&card, 0), AdminAnswer::Done);
    }
    assert!(consents.iter().all(|consent| consent.code == code("00")));
    // One more, and the first would be out of sight.
    for _ in 0..2 {
        let more = world.load(&mut card, 7);
        assert_eq!(world.host(more).code, code("65"));
    }
    assert_eq!(world.available(), 10_000);
    let receipt = card.credit(7, SAM_1, consents[0].moment);
    assert_eq!(world.upload(&[receipt]), ["00"]);
    assert_eq!((world.available(), float(&mut world)), (9_993, (7, 0)));
    world.loaded(&mut card, 7);
}

pub(super) fn a_reversal_takes_one_candidate_off_its_batch_and_frees_nothing<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    let messages = [900, 300, 500].map(|amount| world.load(&mut card, amount));
    let consents = messages.clone().map(|message| world.host(message));
    let reversals = [(0, 900), (2, 500)].map(|(at, minor)| World::<S>::reversal(&messages[at], cny(minor)));
    for (reversal, left) in reversals.iter().zip([(800, 2), (300, 1)]) {
        for _ in 0..2 {
            assert_eq!(world.host(reversal.clone()).code, code("00"));
            assert_eq!(world.open_loads(), Tally { minor: left.0, count: left.1 });
            assert_eq!(world.available(), 9_100, "the card decides");
        }
    }
    use TransactionState::{Authorised, Completed, Disputed, Reversed};
    assert_eq!(states(&mut world, &card, 0), [Disputed, Authorised, Disputed]);
    let receipt = card.credit(300, SAM_1, consents[1].moment);
    assert_eq!(world.settle().code, code("00"), "what is open outlives its batch");
    assert_eq!(world.confirm(receipt).code, code("00"));
    assert_eq!(states(&mut world, &card, 0), [Reversed, Completed]);
    assert_eq!((world.available(), float(&mut world)), (9_700, (300, 0)));
    // The closed batch stays as it was, and the next one has nothing of it.
    world.batch -= 1;
    assert_eq!(world.open_loads(), Tally { minor: 300, count: 1 });
    world.batch += 1;
    assert_eq!(world.open_loads(), Tally::default());
}

pub(super) fn candidates_count_once_against_their_payers_limit<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(100_000, 1);
    let mut card = world.card(1);
    let limit = Limit {
        scope: LimitScope::Kind(FundingKind::Bank),
        payment_max: Some(700),
        day_sum_max: Some(1_000),
        day_count_max: Some(2),
    };
    world.admin(AdminRequest::SetLimit(limit));
    let mut ask = |world: &mut World<S>, amount| {
        let message = world.load(&mut card, amount);
        let answer = world.host(message);
        (answer.code.to_string(), answer)
    };
    let buy = |world: &mut World<S>, minor| {
        world.send(HostBody::Purchase { payer: PAYER, amount: cny(minor) }).code.to_string()
    };
    assert_eq!(ask(&mut world, 400).0, "00");
    let (approved, consent) = ask(&mut world, 300);
    assert_eq!((approved.as_str(), ask(&mut world, 400).0.as_str()), ("00", "00"), "one of two payments");
    assert_eq!(ask(&mut world, 701).0, "61");
    assert_eq!(ask(&mut world, 600).0, "00");
    assert_eq!(buy(&mut world, 401), "61", "600 of 1,000 may be needed");
    let receipt = card.credit(300, SAM_1, consent.moment);
    assert_eq!(world.confirm(receipt).code, code("00"));
    assert_eq!(buy(&mut world, 700), "00", "300 were");
    assert_eq!(buy(&mut world, 1), "61");
    world.admin(AdminRequest::SetLimit(Limit { day_sum_max: Some(2_000), ..limit }));
    assert_eq!(buy(&mut world, 1), "65", "and it was one of two payments");
    float(&mut world);
}

pub(super) fn a_card_that_asks_without_end_is_a_matter_for_a_person<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    let most = u32::try_from(LOADS_UNDECIDED_MAX).unwrap();
    let mut consents = Vec::new();
    for amount in 1..=most {
        let message = world.load(&mut card, amount);
        consents.push(world.host(message));
    }
    assert!(consents.iter().all(|consent| consent.code == code("00")));
    for _ in 0..2 {
        let more = world.load(&mut card, 5_000);
        assert_eq!(world.host(more).code, code("65"));
    }
    assert_eq!(world.alerts(), [AlertKind::LoadContested], "told once");
    assert_eq!(world.available(), 10_000 - u64::from(most));
    // The oldest of them can still be proved, and a person can release them.
    let mut twin = card.clone();
    let receipt = twin.credit(1, SAM_1, consents[0].moment);
    assert_eq!(world.release(&card, 0), AdminAnswer::Done);
    assert_eq!(world.available(), 10_000);
    let more = world.load(&mut card, 5_000);
    assert_eq!(world.host(more).code, code("00"));
    assert_eq!(world.upload(&[receipt]), ["00"]);
    assert_eq!((world.available(), float(&mut world)), (9_999, (1, 0)));
}
