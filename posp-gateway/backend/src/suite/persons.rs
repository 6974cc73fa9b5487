//! What a person's word is good for, and how long: a release frees what he has seen, a credit needs that the card has shown one, and asked again both
//! change nothing more. And what nobody can check today is not thrown away.

use super::world::*;
use crate::api::*;
use crate::store::Store;
use keys::SoftKeys;
use protocol::ids::*;
use protocol::iso8583::f58::TransactionRecord;
use protocol::purse::Moment;
use std::sync::Arc;

fn seen(answer: &HostAnswer) -> crate::accounts::TransactionSeq {
    transaction_of(answer.reference.unwrap()).unwrap()
}

pub(super) fn a_release_frees_what_the_person_has_seen_and_nothing_that_came_after<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    let first = world.load(&mut card, 6_000);
    let first = seen(&world.host(first));
    // The card asks again while the person looks at the report, and then while his request is asked again.
    let second = world.load(&mut card, 7_000);
    let second = seen(&world.host(second));
    assert_eq!(world.admin(release(&card, 0, first)), AdminAnswer::Refused(AdminRefusal::LoadJoined));
    assert_eq!(world.available(), 3_000);
    assert_eq!(world.admin(release(&card, 0, second)), AdminAnswer::Done);
    assert_eq!(world.admin(release(&card, 0, second)), AdminAnswer::Exists);
    assert_eq!(world.admin(release(&card, 0, first)), AdminAnswer::Refused(AdminRefusal::NoLoad));
    let third = world.load(&mut card, 10_000);
    let consent = world.host(third);
    let receipt = card.credit(10_000, SAM_1, consent.moment);
    assert_eq!(world.admin(release(&card, 0, second)), AdminAnswer::Refused(AdminRefusal::LoadJoined));
    assert_eq!(world.send(HostBody::Purchase { payer: PAYER, amount: cny(1) }).code, code("51"));
    assert_eq!(world.confirm(receipt).code, code("00"));
    assert_eq!((world.available(), world.card_report(&card).loaded), (0, 10_000));
    assert_eq!(world.alerts(), [AlertKind::LoadReleased]);
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn a_person_says_that_a_card_was_credited_only_when_the_card_has_shown_it<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    let lost = world.load(&mut card, 400);
    let lost = seen(&world.host(lost));
    let credit = AdminRequest::CreditLoad {
        issuer: ISSUER,
        asn: card.asn,
        counter: OnlineCounter(0),
        transaction: lost,
    };
    assert_eq!(world.admin(credit.clone()), AdminAnswer::Refused(AdminRefusal::LoadNotShown));
    // It was not credited: it goes on at its counter.
    world.loaded(&mut card, 300);
    assert_eq!(world.card_report(&card).loaded, 300);
    assert_eq!(world.admin(credit), AdminAnswer::Refused(AdminRefusal::NoLoad));
    assert_eq!((world.available(), world.audit().exceptions), (9_700, vec![]));
}

pub(super) fn a_loads_proof_that_nobody_can_check_today_is_asked_for_again<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    let first = world.load(&mut card, 6_000);
    world.host(first);
    let second = world.load(&mut card, 10);
    let consent = world.host(second);
    let receipt = card.credit(10, SAM_1, consent.moment);
    let there: Arc<dyn keys::KeyModule> = Arc::<SoftKeys>::clone(&world.keys);
    let empty = SoftKeys::in_memory(Box::new(|out| {
        out.fill(1);
        Ok(())
    }));
    let mut world = world.with_keys(Arc::new(empty.unwrap()));
    assert_eq!(world.confirm(receipt).code, code("91"));
    assert_eq!(world.upload(&[receipt]), ["91"]);
    assert_eq!((world.alerts(), world.available()), (vec![], 4_000));
    // Keys that the card does not have would prove nothing, wherever they are.
    let strange = TransactionRecord { key_version: KeyVersion(9), ..receipt };
    assert_eq!(world.confirm(strange).code, code("63"));
    let mut world = world.with_keys(there);
    assert_eq!(world.upload(&[receipt]), ["00"]);
    assert_eq!((world.available(), world.card_report(&card).loaded), (9_990, 10));
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn sales_from_before_their_sam_was_registered_are_paid_when_its_beginning_is_put_right<
    S: Store,
>(
    store: S,
) {
    let mut world = World::new(store);
    let mut card = world.card(1);
    card.balance = 300;
    let assign = |terminal, from: [u8; 7]| AdminRequest::AssignSam {
        sam: STRANGER,
        terminal,
        from: Moment::from_bytes(from),
    };
    let late = assign(t1(), [0x20, 0x30, 0x01, 0x01, 0, 0, 0]);
    assert_eq!(world.admin(late), AdminAnswer::Done);
    let sale = card.pay(100, STRANGER, 1);
    assert_eq!(world.upload(&[sale]), ["01"]);
    let retry = AdminRequest::RetryHeld { sam: STRANGER };
    // At another shop it cannot have been: that would be a move backwards in time.
    let early = [0x20, 0x26, 0x01, 0x01, 0, 0, 0];
    assert_eq!(world.admin(assign(t2(), early)), AdminAnswer::Refused(AdminRefusal::NotForward));
    assert_eq!(world.admin(retry.clone()), AdminAnswer::Count(0));
    assert_eq!(world.admin(assign(t1(), early)), AdminAnswer::Done);
    assert_eq!(world.admin(assign(t1(), early)), AdminAnswer::Exists);
    assert_eq!(world.admin(retry.clone()), AdminAnswer::Count(1));
    assert_eq!(world.admin(retry), AdminAnswer::Count(0));
    assert_eq!((world.payable(shop()), world.payable(cafe())), (100, 0));
}

pub(super) fn a_record_that_comes_with_the_correction_of_its_cards_keys_is_booked<S: Store>(store: S) {
    let mut world = World::new(store);
    world.keys.generate_issuer(ISSUER, KeyVersion(2), protocol::purse::Suite::Aes).unwrap();
    let mut card = world.card_of(1, KeyVersion(2), KeyVersion(1));
    card.balance = 300;
    let record = card.pay(100, SAM_1, 1);
    let message = world.message(t1(), HostBody::OfflineRecords { records: vec![record] });
    let rekey = AdminRequest::SetCardKeys { issuer: ISSUER, asn: card.asn, key_version: KeyVersion(2) };
    // In one commit: the record is held by the version that was registered until then.
    let batch = [Request::Host(message), Request::Admin(rekey.clone())];
    let now = world.now();
    let answers = world.engine.execute(now, &batch).unwrap();
    assert_eq!(answers.last(), Some(&Answer::Admin(AdminAnswer::Count(1))));
    assert_eq!(world.payable(shop()), 100);
    assert_eq!(world.admin(rekey), AdminAnswer::Exists);
    let next = card.pay(50, SAM_1, 2);
    assert_eq!(world.upload(&[next]), ["00"]);
    assert_eq!(world.payable(shop()), 150);
}
