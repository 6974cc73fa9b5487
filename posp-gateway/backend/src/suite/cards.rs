//! Loads, offline records, and what the audit proves about cards.

use super::world::*;
use crate::accounts::chart::{FundingKind, FundingNumber};
use crate::api::*;
use crate::report::AuditException;
use crate::store::Store;
use protocol::ids::*;
use protocol::iso8583::f58::{CardCounter, RecordState, TransactionRecord};
use protocol::money::CardAmount;
use protocol::purse::{Moment, Suite, Tac};

fn float<S: Store>(world: &mut World<S>) -> (i128, u64) {
    let report = world.audit();
    assert_eq!(report.exceptions, []);
    (report.float[0].posted, report.float[0].pending)
}

pub(super) fn a_load_is_held_confirmed_by_the_card_and_posted_once<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    let message = world.load(&mut card, 6_000);
    let answer = world.host(message.clone());
    let AnswerBody::Load { mac2, .. } = answer.body else { panic!() };
    assert!(!mac2.is_zero());
    assert_eq!(world.available(), 4_000);
    assert_eq!(float(&mut world), (0, 6_000));
    assert_eq!(world.host(message).body, answer.body, "a repeat gets the same MAC2");
    let record = card.credit(6_000, SAM_1, answer.moment);
    assert_eq!(world.confirm(record).code, code("00"));
    assert_eq!(world.confirm(record).code, code("00"), "a second receipt books nothing");
    assert_eq!(world.upload(&[record]), ["00"], "nor does one among offline records");
    assert_eq!(float(&mut world), (6_000, 0));
    assert_eq!(world.card_report(&card).loaded, 6_000);
    let mut greedy = card.clone();
    let message = world.load(&mut greedy, 4_001);
    assert_eq!(world.host(message).code, code("51"));
    let message = world.load(&mut greedy, 100_001);
    assert_eq!(world.host(message).code, code("61"));
    assert_eq!(world.alerts(), []);
}

pub(super) fn a_reversed_load_stays_disputed_until_the_card_speaks<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    let message = world.load(&mut card, 6_000);
    let answer = world.host(message.clone());
    // The terminal lost the answer, or says so: it reverses. The card may have been credited.
    let reversal = World::<S>::reversal(&message, cny(6_000));
    assert_eq!(world.host(reversal.clone()).code, code("00"));
    assert_eq!(world.available(), 4_000, "the money stays held: the card decides");
    let receipt = card.credit(6_000, SAM_1, answer.moment);
    assert_eq!(world.confirm(receipt).code, code("00"));
    assert_eq!(float(&mut world), (6_000, 0));
    assert_eq!(world.host(reversal).code, code("00"), "and stays posted");
    assert_eq!(float(&mut world), (6_000, 0));

    // The same without a receipt: the card's next load request shows the next counter.
    let message = world.load(&mut card, 1_000);
    let answer = world.host(message.clone());
    world.host(World::<S>::reversal(&message, cny(1_000)));
    card.credit(1_000, SAM_1, answer.moment);
    let next = world.load(&mut card, 500);
    assert_eq!(world.host(next).code, code("00"));
    assert_eq!(float(&mut world), (7_000, 500));
}

pub(super) fn a_load_confirmed_after_its_release_is_paid_by_the_payer_or_the_issuer<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    for (n, spent, alert) in [(1, 0, AlertKind::LateLoad), (2, 4_001, AlertKind::LoadLoss)] {
        let mut card = world.card(n);
        let message = world.load(&mut card, 3_000);
        let answer = world.host(message);
        assert_eq!(world.release(&card, 0), AdminAnswer::Done);
        if spent > 0 {
            let buy = HostBody::Purchase { payer: PAYER, amount: cny(spent) };
            assert_eq!(world.send(buy).code, code("00"));
        }
        let receipt = card.credit(3_000, SAM_1, answer.moment);
        assert_eq!(world.confirm(receipt).code, code("00"));
        assert_eq!(world.confirm(receipt).code, code("00"));
        assert_eq!(world.alerts()[0], alert);
    }
    assert_eq!(float(&mut world).0, 6_000, "what is on the cards is in the float");
    assert_eq!(world.available(), 10_000 - 3_000 - 4_001);
}

pub(super) fn a_released_load_is_booked_when_the_cards_counter_shows_its_credit<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    for (n, spent, alert) in [(1, 0, AlertKind::LateLoad), (2, 6_000, AlertKind::LoadLoss)] {
        let mut card = world.card(n);
        let message = world.load(&mut card, 3_000);
        let answer = world.host(message);
        assert_eq!(world.release(&card, 0), AdminAnswer::Done);
        if spent > 0 {
            let buy = HostBody::Purchase { payer: PAYER, amount: cny(spent) };
            assert_eq!(world.send(buy).code, code("00"));
        }
        // Credited after all, and the TAC never comes: the card's next request shows the next counter.
        let receipt = card.credit(3_000, SAM_1, answer.moment);
        let next = world.load(&mut card, 500);
        let answer = world.host(next.clone());
        assert_eq!(world.host(next).body, answer.body, "a repeat books nothing more");
        assert_eq!(answer.code, code("00"));
        assert_eq!(world.alerts()[0], alert);
        assert_eq!(world.card_report(&card).loaded, 3_000);
        // The TAC, however late, finds it booked.
        assert_eq!(world.confirm(receipt).code, code("00"));
        assert_eq!(world.card_report(&card).loaded, 3_000);
        let receipt = card.credit(500, SAM_1, answer.moment);
        assert_eq!(world.confirm(receipt).code, code("00"));
        assert_eq!(world.card_report(&card).loaded, 3_500);
    }
    assert_eq!(float(&mut world), (7_000, 0), "what is on the cards is in the float");
    assert_eq!(world.available(), 0);
}

pub(super) fn a_load_request_that_is_not_the_cards_own_is_refused<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 1_000);
    let genuine = card.request(500, SAM_1);
    let source = LoadSource::Linked;
    let send = |world: &mut World<S>, request| world.send(HostBody::Load { source, request }).code;
    let forged = protocol::iso8583::f58::LoadRequest { amount: CardAmount(501), ..genuine };
    assert_eq!(send(&mut world, forged), code("63"));
    let elsewhere = card.request(500, SAM_2);
    assert_eq!(send(&mut world, elsewhere), code("58"), "a SAM of another terminal");
    let stranger = protocol::iso8583::f58::LoadRequest { asn: Asn([5; 10]), ..genuine };
    assert_eq!(send(&mut world, stranger), code("14"));
    let rolled_back = super::world::TestCard { online: 0, ..card.clone() }.request(500, SAM_1);
    assert_eq!(send(&mut world, rolled_back), code("62"));
    let rich = super::world::TestCard { balance: 1_001, ..card.clone() }.request(500, SAM_1);
    assert_eq!(send(&mut world, rich), code("62"), "more than was ever loaded");
    let deny = AdminRequest::SetCardStatus { issuer: ISSUER, asn: card.asn, status: CardStatus::Denied };
    assert_eq!(world.admin(deny), AdminAnswer::Done);
    assert_eq!(send(&mut world, genuine), code("62"));
    assert_eq!(world.available(), 9_000);
    use AlertKind::{BalanceBreak, Denied, Rollback, WrongMac1};
    assert_eq!(world.alerts(), [Denied, BalanceBreak, Rollback, WrongMac1]);
    assert_eq!(float(&mut world), (1_000, 0));
}

pub(super) fn offline_records_are_booked_once_whoever_brings_them<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 6_000);
    let (one, two) = (card.pay(1_000, SAM_1, 10), card.pay(500, SAM_1, 12));
    let zero = card.pay(0, SAM_1, 13);
    let void = TransactionRecord {
        state: RecordState::Void,
        tac: Tac::zero(Suite::Aes),
        term_seq: TermSeq(11),
        ..two
    };
    assert_eq!(world.upload(&[one, void, two, zero]), ["00"; 4]);
    assert_eq!(world.upload(&[two, one]), ["00"; 2], "a duplicate upload is answered and books nothing");
    let changed = TransactionRecord { amount: CardAmount(1), ..one };
    assert_eq!(world.upload(&[changed]), ["94"]);
    let totals = BatchTotals {
        debits: Tally { minor: 1_500, count: 3 },
        loads: Tally { minor: 6_000, count: 1 },
        ..BatchTotals::default()
    };
    let settled = world.send(HostBody::Settle { totals });
    assert_eq!((settled.code, settled.body), (code("00"), AnswerBody::Totals(totals)));
    world.batch += 1;
    // The café's terminal brings a record of the shop's SAM: the shop is paid.
    let late = card.pay(250, SAM_1, 14);
    let message = world.message(t2(), HostBody::OfflineRecords { records: vec![late] });
    assert_eq!(codes(&world.host(message)), ["00"]);
    assert_eq!((world.payable(shop()), world.payable(cafe())), (1_750, 0));
    assert_eq!(world.alerts(), [AlertKind::ForeignUpload, AlertKind::RecordConflict]);
    assert_eq!(float(&mut world), (4_250, 0));
    assert_eq!(card.balance, 4_250, "float and card agree");
}

pub(super) fn a_tampered_record_is_refused_and_does_not_take_the_number<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 6_000);
    let genuine = card.pay(1_000, SAM_1, 10);
    for tampered in [
        TransactionRecord { amount: CardAmount(9_000), ..genuine },
        TransactionRecord { term_seq: TermSeq(11), ..genuine },
        TransactionRecord { terminal: SAM_2, ..genuine },
        TransactionRecord { counter: CardCounter::Offline(OfflineCounter(9)), ..genuine },
        TransactionRecord { tac: Tac::zero(Suite::Aes), ..genuine },
    ] {
        assert_eq!(world.upload(&[tampered]), ["63"]);
    }
    assert_eq!(world.payable(shop()), 0);
    let recovered = TransactionRecord { state: RecordState::RecoveredUnverified, ..genuine };
    assert_eq!(world.upload(&[recovered]), ["00"], "its TAC is right: it is paid");
    assert_eq!(world.upload(&[genuine]), ["00"]);
    assert_eq!(world.payable(shop()), 1_000);
    float(&mut world);
}

pub(super) fn a_record_that_nobody_proved_yields_its_number_to_the_one_that_the_card_did<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 6_000);
    let zero = Tac::zero(Suite::Aes);
    // Another terminal made up records with the shop's numbers: one that is the genuine one but void, others of other amounts.
    let genuine =
        [card.pay(1_000, SAM_1, 1), card.pay(500, SAM_1, 2), card.pay(250, SAM_1, 3), card.pay(50, SAM_1, 4)];
    let amount = CardAmount(7);
    let made_up = [
        TransactionRecord { state: RecordState::Void, tac: zero, ..genuine[0] },
        TransactionRecord { state: RecordState::Void, tac: zero, amount, ..genuine[1] },
        TransactionRecord { state: RecordState::Uncertain, tac: zero, amount, ..genuine[2] },
        TransactionRecord { issuer: IssuerId([9; 8]), ..genuine[3] },
    ];
    let message = world.message(t2(), HostBody::OfflineRecords { records: made_up.to_vec() });
    assert_eq!(codes(&world.host(message)), ["00", "00", "01", "01"]);
    // Without a proof nothing takes their place.
    let unproved = TransactionRecord { state: RecordState::Uncertain, tac: zero, ..genuine[1] };
    assert_eq!(world.upload(&[unproved]), ["94"]);
    assert_eq!(world.payable(shop()), 0);
    assert_eq!(world.upload(&genuine), ["00"; 4]);
    assert_eq!(world.payable(shop()), 1_800);
    assert_eq!(world.alerts(), [vec![AlertKind::RecordConflict; 5], vec![AlertKind::UnknownCard]].concat());
    // From now on the numbers are theirs.
    assert_eq!(world.upload(&genuine), ["00"; 4]);
    assert_eq!(world.upload(&[made_up[1], made_up[2], made_up[0]]), ["94", "94", "94"]);
    assert_eq!(world.payable(shop()), 1_800);
    assert_eq!(float(&mut world).0, i128::from(card.balance), "float and card agree");
}

pub(super) fn a_cloned_card_is_found_both_merchants_are_paid_and_it_is_denied<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 6_000);
    let mut clone = card.clone();
    let (one, two) = (card.pay(1_000, SAM_1, 10), clone.pay(2_000, SAM_2, 20));
    assert_eq!(world.upload(&[one, two]), ["00"; 2]);
    assert_eq!((world.payable(shop()), world.payable(cafe())), (1_000, 2_000));
    assert_eq!(world.card_report(&card).status, CardStatus::Denied);
    assert!(world.alerts().contains(&AlertKind::Fork));
    assert_eq!(float(&mut world), (5_000, 0), "the second is the issuer's loss, not the float's");
    let message = world.load(&mut card, 100);
    assert_eq!(world.host(message).code, code("62"));
}

pub(super) fn records_of_an_unknown_sam_are_held_until_it_is_registered<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 6_000);
    let record = card.pay(1_000, STRANGER, 1);
    assert_eq!(world.upload(&[record]), ["01"]);
    assert_eq!(world.upload(&[record]), ["01"]);
    assert_eq!(world.payable(shop()), 0);
    assert_eq!(world.admin(AdminRequest::RetryHeld { sam: STRANGER }), AdminAnswer::Count(0));
    let from = Moment::from_bytes([0x20, 0x26, 0x11, 0x01, 0, 0, 0]);
    world.admin(AdminRequest::AssignSam { sam: STRANGER, terminal: t1(), from });
    assert_eq!(world.admin(AdminRequest::RetryHeld { sam: STRANGER }), AdminAnswer::Count(1));
    assert_eq!(world.admin(AdminRequest::RetryHeld { sam: STRANGER }), AdminAnswer::Count(0));
    assert_eq!(world.upload(&[record]), ["00"]);
    assert_eq!(world.payable(shop()), 1_000);

    // An issuer that nobody registered: kept, not paid, not lost.
    let foreign =
        TransactionRecord { issuer: IssuerId([1; 8]), term_seq: TermSeq(2), terminal: SAM_1, ..record };
    assert_eq!(world.upload(&[foreign]), ["01"]);
    assert_eq!(world.upload(&[foreign]), ["01"]);
    float(&mut world);
}

pub(super) fn an_uncertain_debit_becomes_done_void_or_is_decided_by_the_chain<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 6_000);
    let zero = Tac::zero(Suite::Aes);
    let torn = |record: TransactionRecord, state| TransactionRecord { state, tac: zero, ..record };
    use RecordState::{Uncertain, Void};
    // Recovered: the card proves it later.
    let one = card.pay(1_000, SAM_1, 1);
    assert_eq!(world.upload(&[torn(one, Uncertain)]), ["01"]);
    assert_eq!(world.payable(shop()), 0);
    assert_eq!(world.upload(&[one]), ["00"]);
    // It did not happen.
    let mut other = card.clone();
    let two = other.pay(300, SAM_1, 2);
    assert_eq!(world.upload(&[torn(two, Uncertain), torn(two, Void)]), ["01", "00"]);
    assert_eq!(world.upload(&[torn(two, Uncertain)]), ["00"], "what is void stays void without a proof");
    // It happened, and only the chain knows: the next counter's balance shows the amount gone.
    let three = card.pay(700, SAM_1, 3);
    assert_eq!(world.upload(&[torn(three, Uncertain)]), ["01"]);
    let four = card.pay(200, SAM_2, 1);
    assert_eq!(world.upload(&[four]), ["00"]);
    let resolve = |wait_ms| AdminRequest::ResolveUncertain { wait_ms };
    assert_eq!(world.admin(resolve(60_000)), AdminAnswer::Count(0), "not old enough");
    assert_eq!(world.admin(resolve(0)), AdminAnswer::Count(1));
    assert_eq!(world.payable(shop()), 1_700);
    // It did not happen here: another terminal's record owns the counter.
    let mut elsewhere = card.clone();
    let five = elsewhere.pay(50, SAM_1, 4);
    assert_eq!(world.upload(&[torn(five, Uncertain)]), ["01"]);
    let real = card.pay(60, SAM_2, 2);
    assert_eq!(world.upload(&[real]), ["00"]);
    assert_eq!(world.admin(resolve(60_000)), AdminAnswer::Count(1), "at once");
    assert_eq!(world.payable(shop()), 1_700);
    assert_eq!(float(&mut world).0, i128::from(card.balance), "float and card agree");
}

pub(super) fn the_audit_finds_a_balance_that_loads_do_not_explain<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 1_000);
    let one = card.pay(400, SAM_1, 1);
    card.balance += 5_000;
    let two = card.pay(100, SAM_1, 2);
    assert_eq!(world.upload(&[one, two]), ["00"; 2], "the merchant is paid all the same");
    assert_eq!(world.alerts(), [AlertKind::BalanceBreak]);
    let counter = OfflineCounter(1);
    // 600 were left, and then there were 5600 with nothing loaded in between.
    let (before, after_previous, loads) = (5_600, 600, 1_000);
    let asn = card.asn;
    let expected =
        AuditException::Conservation { issuer: ISSUER, asn, counter, before, after_previous, loads };
    assert_eq!(world.audit().exceptions, [expected]);
}

pub(super) fn suite_00_works_the_same<S: Store>(store: S) {
    let mut world = World::of_suite(store, Suite::Des);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 6_000);
    let one = card.pay(1_000, SAM_1, 10);
    assert_eq!(world.upload(&[one]), ["00"]);
    // The TAC of suite 00 does not cover the counter: the same TAC, terminal and sequence is the same payment.
    let same = TransactionRecord { counter: CardCounter::Offline(OfflineCounter(5)), ..one };
    assert_eq!(world.upload(&[same]), ["00"]);
    assert_eq!(world.payable(shop()), 1_000);
    let forged = TransactionRecord { term_seq: TermSeq(11), ..one };
    assert_eq!(world.upload(&[forged]), ["63"]);
    assert_eq!(float(&mut world), (5_000, 0));
    let (kind, number) = (FundingKind::Bank, FundingNumber(9));
    let unknown = AdminRequest::AddCard {
        issuer: ISSUER,
        asn: Asn([1; 10]),
        key_version: KeyVersion(1),
        funding: Some((kind, number)),
    };
    assert_eq!(world.admin(unknown), AdminAnswer::Refused(AdminRefusal::NoFunding));
}

pub(super) fn a_load_by_cash_is_owed_by_the_merchant<S: Store>(store: S) {
    let mut world = World::new(store);
    let mut card = world.card(1);
    for (source, amount) in [(LoadSource::Cash, 2_000), (LoadSource::Refund, 500)] {
        let request = card.request(amount, SAM_1);
        let answer = world.send(HostBody::Load { source, request });
        assert_eq!(answer.code, code("00"));
        let receipt = card.credit(amount, SAM_1, answer.moment);
        assert_eq!(world.confirm(receipt).code, code("00"));
    }
    assert_eq!(world.payable(shop()), -2_500);
    let record = card.pay(700, SAM_1, 1);
    assert_eq!(world.upload(&[record]), ["00"]);
    assert_eq!(world.payable(shop()), -1_800);
    assert_eq!(float(&mut world), (1_800, 0));
}
