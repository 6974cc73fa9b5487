//! Requests of one batch see what those before them did, also where they go through records: a scan shows what was committed before.

use super::world::*;
use crate::api::*;
use crate::store::{Key, Record, RecordStanding, Store};
use protocol::ids::*;
use protocol::iso8583::f58::{RecordState, TransactionRecord};
use protocol::purse::{Suite, Tac};

const WAIT_MS: u64 = 30 * 86_400_000;

/// One batch: a terminal's message and what an operator's timer asks for, decided and committed together.
fn together<S: Store>(
    world: &mut World<S>,
    message: HostRequest,
    then: AdminRequest,
) -> (HostAnswer, AdminAnswer) {
    let batch = [Request::Host(message), Request::Admin(then)];
    let now = world.now();
    let mut answers = world.engine.execute(now, &batch).unwrap().into_iter();
    match (answers.next(), answers.next()) {
        (Some(Answer::Host(host)), Some(Answer::Admin(admin))) => (host, admin),
        other => panic!("{other:?}"),
    }
}

fn without_proof(record: TransactionRecord, state: RecordState) -> TransactionRecord {
    TransactionRecord { state, tac: Tac::zero(Suite::Aes), ..record }
}

pub(super) fn a_debit_proved_in_a_batch_is_not_decided_once_more_in_it<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 6_000);
    let one = card.pay(1_000, SAM_1, 1);
    assert_eq!(world.upload(&[without_proof(one, RecordState::Uncertain)]), ["01"]);
    let proof = world.message(t1(), HostBody::OfflineRecords { records: vec![one] });
    let (proved, decided) = together(&mut world, proof, AdminRequest::ResolveUncertain { wait_ms: 0 });
    assert_eq!((codes(&proved), decided), (vec!["00".to_owned()], AdminAnswer::Count(0)));
    // The answer was lost: the record comes again, in another message.
    assert_eq!(world.upload(&[one]), ["00"]);
    assert_eq!(world.payable(shop()), 1_000, "paid once");
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn a_card_whose_gap_is_told_keeps_what_the_same_batch_did_to_it<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 1_000);
    let (_, two) = (card.pay(20, SAM_2, 1), card.pay(30, SAM_1, 2));
    assert_eq!(world.upload(&[two]), ["00"]);
    world.ms += 31 * 86_400_000;
    let load = world.load(&mut card, 500);
    let (consent, told) = together(&mut world, load, AdminRequest::TellGaps { wait_ms: WAIT_MS });
    assert_eq!((consent.code, told), (code("00"), AdminAnswer::Count(1)));
    assert_eq!(world.card_report(&card).open_counter, Some(OnlineCounter(1)), "the load is still open");
    let credit = card.credit(500, SAM_1, consent.moment);
    assert_eq!(world.confirm(credit).code, code("00"));
    assert_eq!(world.card_report(&card).open_counter, None);
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn a_proof_that_waits_for_its_key_is_not_replaced_by_a_record_without_one<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 6_000);
    let waits = TransactionRecord { key_version: KeyVersion(9), ..card.pay(1_000, SAM_1, 1) };
    assert_eq!(world.upload(&[waits]), ["01"], "nobody has that key yet");
    let (torn, void) =
        (without_proof(waits, RecordState::Uncertain), without_proof(waits, RecordState::Void));
    assert_eq!(world.upload(&[torn, void]), ["01", "01"]);
    assert_eq!(world.alerts()[0], AlertKind::RecordConflict);
    let key = Key::Record(SAM_1, TermSeq(1));
    world.engine.store().begin().unwrap();
    match world.engine.store().get(&key).unwrap() {
        Some(Record::Record(kept)) => {
            assert_eq!((kept.content, kept.standing), (waits, RecordStanding::Unverified));
        }
        other => panic!("{other:?}"),
    }
}

pub(super) fn a_proved_record_of_suite_00_takes_its_number_from_one_with_its_own_tac<S: Store>(store: S) {
    let mut world = World::of_suite(store, Suite::Des);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 6_000);
    let genuine = card.pay(1_000, SAM_1, 1);
    let made_up = TransactionRecord { issuer: IssuerId([9; 8]), ..genuine };
    assert_eq!(world.upload(&[made_up]), ["01"]);
    assert_eq!(world.upload(&[genuine]), ["00"]);
    assert_eq!(world.payable(shop()), 1_000);
}
