//! Keys of several versions: a card proves with its own alone (decision 0021).

use super::world::*;
use crate::api::*;
use crate::store::Store;
use keys::{CardKeyRef, KeyModule};
use protocol::ids::*;
use protocol::iso8583::f58::{CardCounter, RecordState, TransactionRecord};
use protocol::money::CardAmount;
use protocol::purse::Tac;
use protocol::purse::keys::KeyUse;

const OLD: KeyVersion = KeyVersion(1);
const NEW: KeyVersion = KeyVersion(2);

/// With keys of both versions, and money.
fn world<S: Store>(store: S) -> World<S> {
    let mut world = World::new(store);
    world.keys.generate_issuer(ISSUER, NEW, world.suite).unwrap();
    world.fund(20_000, 1);
    world
}

/// The card with this serial number as somebody makes it who has the master of these keys.
fn made_with<S: Store>(world: &World<S>, version: KeyVersion, card: &TestCard) -> TestCard {
    let key = CardKeyRef {
        issuer: ISSUER,
        version,
        algorithm: world.suite.algorithm(),
        card: card.asn.factor(),
        upper: &[Factor([3; 8])],
    };
    let load_key = world.keys.card_key(&key, KeyUse::Load).unwrap();
    let tac_key = world.keys.card_key(&key, KeyUse::Tac).unwrap();
    TestCard { load_key, tac_key, made: version, ..card.clone() }
}

fn set<S: Store>(world: &mut World<S>, card: &TestCard, key_version: KeyVersion) -> AdminAnswer {
    world.admin(AdminRequest::SetCardKeys { issuer: ISSUER, asn: card.asn, key_version })
}

pub(super) fn what_is_right_under_another_versions_keys_than_the_cards_proves_nothing<S: Store>(store: S) {
    let mut world = world(store);
    let mut old = world.card(1);
    let mut card = world.card_of(2, NEW, NEW);
    world.loaded(&mut old, 3_000);
    world.loaded(&mut card, 6_000);
    assert_eq!(world.alerts(), [], "cards of either version are valid beside each other");
    let mut thief = made_with(&world, OLD, &card);

    // A debit that the card never made, for the thief's own shop.
    let made_up = thief.pay(5_000, SAM_1, 1);
    assert_eq!(world.upload(&[made_up]), ["01"]);
    assert_eq!((world.payable(shop()), world.alerts()), (0, vec![AlertKind::OtherKeys]));
    assert_eq!(world.upload(&[made_up]), ["01"]);
    assert_eq!(world.alerts().len(), 1, "told once");
    // The genuine one takes its number, and the card is no clone.
    let genuine = card.pay(1_000, SAM_1, 1);
    assert_eq!(world.upload(&[genuine, old.pay(10, SAM_1, 2)]), ["00", "00"]);
    assert_eq!(world.payable(shop()), 1_010);
    assert_eq!(world.upload(&[made_up]), ["94"]);

    // A load request: neither a consent, nor a word about the load that is open.
    let open = world.load(&mut card, 2_000);
    let consent = world.host(open);
    let mut thief = made_with(&world, OLD, &card);
    let request = world.load(&mut thief, 1_000);
    assert_eq!(world.host(request).code, code("63"));
    assert_eq!(world.alerts()[0], AlertKind::OtherKeys);
    assert_eq!(world.card_report(&card).open_counter, Some(OnlineCounter(1)));
    // Nor a receipt; the card's own is one.
    let receipt = thief.credit(2_000, SAM_1, consent.moment);
    assert_eq!(world.confirm(receipt).code, code("63"));
    assert_eq!(world.alerts()[0], AlertKind::OtherKeys);
    let receipt = card.credit(2_000, SAM_1, consent.moment);
    assert_eq!(world.confirm(receipt).code, code("00"));
    assert_eq!(world.card_report(&card).loaded, 8_000);
    let wrong = TransactionRecord { key_version: OLD, ..card.pay(1, SAM_1, 3) };
    assert_eq!(world.upload(&[wrong]), ["63"], "a TAC that is right under no version is wrong");
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn what_was_held_for_a_wrongly_registered_card_is_booked_when_it_is_put_right<S: Store>(store: S) {
    let mut world = world(store);
    let mut card = world.card_of(1, NEW, OLD);
    let request = world.load(&mut card, 1_000);
    assert_eq!(world.host(request).code, code("63"));
    assert_eq!(world.alerts(), [AlertKind::OtherKeys]);
    assert_eq!(set(&mut world, &card, OLD), AdminAnswer::Exists);
    // It was filled before it came here.
    card.balance = 5_000;
    let (one, two) = (card.pay(300, SAM_1, 1), card.pay(200, SAM_2, 7));
    assert_eq!(world.upload(&[one, two]), ["01", "01"]);
    assert_eq!(world.payable(shop()), 0);
    assert_eq!(set(&mut world, &card, NEW), AdminAnswer::Count(2));
    assert_eq!(world.payable(shop()) + world.payable(cafe()), 500);
    assert_eq!(world.upload(&[one, two]), ["00", "00"]);
    assert_eq!(set(&mut world, &card, NEW), AdminAnswer::Exists);
    let nobody = TestCard { asn: Asn([8; 10]), ..card };
    assert_eq!(set(&mut world, &nobody, NEW), AdminAnswer::Refused(AdminRefusal::NoCard));
}

pub(super) fn a_card_that_nobody_registered_has_the_keys_of_its_first_record<S: Store>(store: S) {
    let mut world = world(store);
    let mut card = world.card(1);
    (card.asn, card.balance) = (Asn([0, 0, 0, 0, 0, 0, 0, 0, 7, 7]), 5_000);
    let mut card = made_with(&world, NEW, &card);
    let first = card.pay(300, SAM_1, 1);
    let mut thief = made_with(&world, OLD, &card);
    assert_eq!(world.upload(&[first, thief.pay(200, SAM_1, 2)]), ["00", "01"]);
    assert_eq!(world.alerts()[0], AlertKind::OtherKeys);
    assert_eq!(world.payable(shop()), 300);
}

pub(super) fn a_wrongly_registered_cards_debit_is_held_whatever_was_said_under_its_number_before<S: Store>(
    store: S,
) {
    let mut world = world(store);
    let mut card = world.card_of(1, NEW, OLD);
    // It was filled before it came here.
    card.balance = 5_000;
    let genuine = [1, 2, 3, 4, 5].map(|seq| card.pay(100, SAM_1, seq));
    let (zero, amount) = (Tac::zero(world.suite), CardAmount(7));
    let said = |record, state| TransactionRecord { state, tac: zero, ..record };
    let before = [
        said(genuine[0], RecordState::Void),
        said(genuine[1], RecordState::Uncertain),
        TransactionRecord { amount, ..said(genuine[2], RecordState::Void) },
        TransactionRecord { amount, ..said(genuine[3], RecordState::Uncertain) },
        TransactionRecord { issuer: IssuerId([9; 8]), ..genuine[4] },
    ];
    assert_eq!(world.upload(&before), ["00", "01", "00", "01", "01"]);
    let close = AdminRequest::DecideUncertain { sam: SAM_1, seq: TermSeq(2), pay: false };
    assert_eq!(world.admin(close), AdminAnswer::Done);

    assert_eq!(world.upload(&genuine), ["01"; 5]);
    assert_eq!(world.payable(shop()), 0, "held, and no more than that");
    let told = world.alerts().into_iter().filter(|kind| *kind == AlertKind::OtherKeys).count();
    assert_eq!(told, 5);
    // Of two that are right under keys of another version the first keeps the number, and a person is told of the second.
    let second = TestCard { offline: 4, ..card.clone() }.pay(300, SAM_1, 5);
    assert_eq!(world.upload(&[second]), ["94"]);
    assert_eq!(world.alerts()[0], AlertKind::OtherKeys);
    // What was said before is not said again.
    assert_eq!(world.upload(&before), ["01", "01", "94", "94", "94"]);

    assert_eq!(set(&mut world, &card, NEW), AdminAnswer::Count(5));
    assert_eq!(world.payable(shop()), 500);
    assert_eq!(world.upload(&genuine), ["00"; 5]);
    assert_eq!(world.payable(shop()), 500);
}

pub(super) fn a_record_that_nobody_proved_says_no_cards_version<S: Store>(store: S) {
    let mut world = world(store);
    let mut card = world.card(1);
    (card.asn, card.balance) = (Asn([0, 0, 0, 0, 0, 0, 0, 0, 7, 7]), 5_000);
    let mut card = made_with(&world, NEW, &card);
    let made_up = TransactionRecord {
        state: RecordState::Uncertain,
        counter: CardCounter::Offline(OfflineCounter(5)),
        key_version: OLD,
        tac: Tac::zero(world.suite),
        ..card.clone().pay(40, SAM_1, 9)
    };
    assert_eq!(world.upload(&[made_up]), ["01"]);
    let pay = AdminRequest::DecideUncertain { sam: SAM_1, seq: TermSeq(9), pay: true };
    assert_eq!(world.admin(pay.clone()), AdminAnswer::Refused(AdminRefusal::NoCard));
    assert_eq!(world.payable(shop()), 0);
    assert_eq!(world.upload(&[card.pay(300, SAM_1, 1)]), ["00"], "its first proof says the version");
    assert_eq!(world.admin(pay), AdminAnswer::Done);
    assert_eq!(world.payable(shop()), 340);
}
