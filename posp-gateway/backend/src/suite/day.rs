//! Online purchases, batches, operators.

use super::world::*;
use crate::accounts::chart::{FundingKind, FundingNumber};
use crate::api::*;
use crate::report::{BatchState, LineKind};
use crate::store::Store;
use protocol::ids::*;
use protocol::money::CardAmount;
use protocol::purse::Moment;

fn purchase(minor: u64) -> HostBody {
    HostBody::Purchase { payer: PAYER, amount: cny(minor) }
}

fn of(answer: &HostAnswer) -> Original {
    Original { reference: answer.reference, ..Original::default() }
}

pub(super) fn a_purchase_is_held_settled_and_refunded_in_parts_but_never_beyond<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(1000, 1);
    let bought = world.send(purchase(600));
    assert_eq!(bought.code, code("00"));
    assert_eq!(world.available(), 400);
    assert_eq!(world.send(purchase(401)).code, code("51"));
    assert_eq!(world.payable(shop()), 0, "held money is not the merchant's yet");
    let refund = |minor, of| HostBody::Refund { original: of, amount: cny(minor) };
    assert_eq!(world.send(refund(1, of(&bought))).code, code("12"), "not settled: it can be voided");
    assert_eq!(world.settle().code, code("00"));
    assert_eq!(world.payable(shop()), 600);
    assert_eq!(world.send(refund(200, of(&bought))).code, code("00"));
    assert_eq!(world.send(refund(401, of(&bought))).code, code("64"));
    assert_eq!(world.send(refund(400, of(&bought))).code, code("00"));
    assert_eq!(world.send(refund(1, of(&bought))).code, code("12"), "all of it was refunded");
    assert_eq!(world.payable(shop()), 0);
    assert_eq!(world.available(), 1000);
    let lines: Vec<_> =
        world.statement(shop()).lines.iter().map(|l| (l.kind, l.amount.minor(), l.credit)).collect();
    let expected =
        [(LineKind::Purchase, 600, true), (LineKind::Returned, 200, false), (LineKind::Returned, 400, false)];
    assert_eq!(lines, expected);
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn a_repeat_is_answered_as_before_and_other_content_is_refused<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(1000, 1);
    let message = world.message(t1(), purchase(600));
    let first = world.host(message.clone());
    let again = world.host(message.clone());
    assert_eq!(again, HostAnswer { repeat: true, ..first.clone() });
    assert_eq!(world.available(), 400, "booked once");
    let other = HostRequest { digest: ContentDigest([99; 16]), ..message.clone() };
    assert_eq!(world.host(other).code, code("94"));
    world.settle();
    assert_eq!(world.host(message.clone()), HostAnswer { repeat: true, ..first }, "after settlement too");
    let stale = HostRequest { identity: Identity { trace: Stan(999), ..message.identity }, ..message };
    assert_eq!(world.host(stale).code, code("77"), "a closed batch takes nothing new");
}

pub(super) fn strangers_and_wrong_batches_are_refused_with_their_codes<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(1000, 1);
    let good = world.message(t1(), purchase(1));
    let with = |identity| HostRequest { identity, ..good.clone() };
    let nobody = TerminalId::from_text("T9").unwrap();
    assert_eq!(world.host(with(Identity { terminal: nobody, ..good.identity })).code, code("97"));
    assert_eq!(world.host(with(Identity { acquirer: AcquirerId(2), ..good.identity })).code, code("97"));
    assert_eq!(world.host(with(Identity { merchant: cafe(), ..good.identity })).code, code("03"));
    assert_eq!(world.host(with(Identity { trace: Stan(0), ..good.identity })).code, code("30"));
    assert_eq!(world.host(good.clone()).code, code("00"));
    assert_eq!(world.host(with(Identity { batch: BatchNo(2), ..good.identity })).code, code("77"));
    let unknown = HostBody::Purchase { payer: PayerToken([0; 16]), amount: cny(1) };
    assert_eq!(world.send(unknown).code, code("14"));
    assert_eq!(world.send(purchase(0)).code, code("13"));
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn a_reversal_frees_the_money_once_and_a_late_original_is_declined<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(1000, 1);
    let message = world.message(t1(), purchase(600));
    world.host(message.clone());
    let wrong = World::<S>::reversal(&message, cny(599));
    assert_eq!(world.host(wrong).code, code("64"));
    let reversal = World::<S>::reversal(&message, cny(600));
    assert_eq!(world.host(reversal.clone()).code, code("00"));
    assert_eq!(world.available(), 1000);
    assert_eq!(world.host(reversal).code, code("00"), "a repeat is answered and books nothing");
    assert_eq!(world.available(), 1000);

    let late = world.message(t1(), purchase(100));
    let early = World::<S>::reversal(&late, cny(100));
    assert_eq!(world.host(early.clone()).code, code("00"));
    assert_eq!(world.host(late).code, code("68"));
    assert_eq!(world.host(early).code, code("00"));
    assert_eq!(world.available(), 1000);

    let settled = world.message(t1(), purchase(300));
    world.host(settled.clone());
    world.settle();
    let after = World::<S>::reversal(&settled, cny(300));
    assert_eq!(world.host(after.clone()).code, code("00"), "after settlement by the opposite transfer");
    assert_eq!(world.host(after).code, code("00"));
    assert_eq!((world.available(), world.payable(shop())), (1000, 0));
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn a_void_frees_the_money_and_its_reversal_takes_it_back<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(1000, 1);
    let message = world.message(t1(), purchase(600));
    world.host(message.clone());
    let original =
        Original { trace: Some((message.identity.batch, message.identity.trace)), ..Original::default() };
    let void = |minor| HostBody::Void { original, amount: cny(minor) };
    assert_eq!(world.send(void(1)).code, code("64"));
    let voiding = world.message(t1(), void(600));
    assert_eq!(world.host(voiding.clone()).code, code("00"));
    assert_eq!(world.available(), 1000);
    assert_eq!(world.send(void(600)).code, code("12"), "voided before");
    let reversal = World::<S>::reversal(&voiding, cny(600));
    assert_eq!(world.host(reversal).code, code("00"));
    assert_eq!(world.available(), 400, "the purchase stands again");
    let nothing = Original { trace: Some((BatchNo(1), Stan(777))), ..Original::default() };
    assert_eq!(world.send(HostBody::Void { original: nothing, amount: cny(1) }).code, code("25"));
    world.settle();
    assert_eq!(world.payable(shop()), 600);
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn totals_that_agree_close_the_batch_and_others_lead_to_a_report<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(1000, 1);
    let one = world.message(t1(), purchase(100));
    let two = world.message(t1(), purchase(200));
    for message in [&one, &two] {
        assert_eq!(world.host(message.clone()).code, code("00"));
    }
    // The terminal has another amount for the first, lacks the second, and has one that the host never saw.
    let totals = BatchTotals { debits: Tally { minor: 450, count: 2 }, ..BatchTotals::default() };
    let asked = world.send(HostBody::Settle { totals });
    let host = BatchTotals { debits: Tally { minor: 300, count: 2 }, ..BatchTotals::default() };
    assert_eq!((asked.code, asked.body), (code("95"), AnswerBody::Totals(host)));
    assert_eq!(world.send(purchase(1)).code, code("95"), "nothing new while the batch is uploaded");
    let item =
        |trace, minor| UploadItem { side: Side::Debit, key: ItemKey::Trace(trace), amount: cny(minor) };
    let items = vec![item(one.identity.trace, 150), item(Stan(777), 300)];
    assert_eq!(world.send(HostBody::Upload { items }).code, code("00"));
    let end = world.message(t1(), HostBody::UploadEnd);
    let ended = world.host(end.clone());
    let AnswerBody::Closed { totals, differences, all } = &ended.body else { panic!("{ended:?}") };
    assert_eq!((ended.code, *totals, differences.len(), *all), (code("00"), host, 3, 3));
    assert_eq!(world.host(end), HostAnswer { repeat: true, ..ended }, "closed exactly once");
    let Report::Batch(report) = world.engine.query(&Query::Batch(t1(), BatchNo(1))).unwrap() else {
        panic!()
    };
    let found: Vec<_> = report
        .differences
        .iter()
        .map(|d| (d.key, d.terminal.map(|a| a.minor()), d.host.map(|a| a.minor())))
        .collect();
    let expected = [
        (ItemKey::Trace(one.identity.trace), Some(150), Some(100)),
        (ItemKey::Trace(two.identity.trace), None, Some(200)),
        (ItemKey::Trace(Stan(777)), Some(300), None),
    ];
    assert_eq!((report.state, found.as_slice()), (BatchState::Closed, &expected[..]));
    assert_eq!(world.payable(shop()), 300);
    world.batch = 2;
    assert_eq!(world.send(purchase(1)).code, code("00"), "the next batch opens");
    assert_eq!(world.audit().exceptions, []);
}

/// A terminal that lost its memory reverses a load that the host never saw, under a number that another message has taken since.
pub(super) fn a_reversal_finds_nothing_under_a_number_that_cannot_be_what_it_means<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    let load = world.load(&mut card, 500);
    let consent = world.host(load);
    let record = card.credit(500, SAM_1, consent.moment);
    let held = world.send(HostBody::PreAuthorise { payer: PAYER, amount: cny(500) });
    let original = Original { authorisation: held.authorisation, ..of(&held) };
    let paid = card.pay(300, SAM_1, 1);
    let mut sent = Vec::new();
    for body in [
        HostBody::Balance { payer: PAYER },
        HostBody::LoadConfirm { original: Original::default(), record },
        HostBody::OfflineRecords { records: vec![paid] },
        HostBody::Complete { payer: PAYER, original, amount: cny(400), advice: true },
        purchase(400),
    ] {
        let message = world.message(t1(), body);
        assert_eq!(world.host(message.clone()).code, code("00"));
        sent.push(message);
    }
    let totals = BatchTotals::default();
    for (body, expected) in [
        (HostBody::Settle { totals }, "95"),
        (HostBody::Upload { items: vec![] }, "00"),
        (HostBody::UploadEnd, "00"),
    ] {
        let message = world.message(t1(), body);
        assert_eq!(world.host(message.clone()).code, code(expected));
        sent.push(message);
    }
    world.batch += 1;
    let bought = world.send(HostBody::PreAuthorise { payer: PAYER, amount: cny(1) });
    assert_eq!(bought.code, code("00"));
    let before = (world.available(), world.payable(shop()));
    let mut reversed =
        |of: &HostRequest, minor| world.host(World::<S>::reversal(of, cny(minor))).code.to_string();
    let codes: Vec<_> = sent.iter().map(|message| reversed(message, 500)).collect();
    assert_eq!(codes, ["25", "25", "25", "25", "64", "25", "25", "25"], "only the purchase may be meant");
    assert_eq!(reversed(&sent[3], 400), "12", "the advice itself is not reversed");
    assert_eq!((world.available(), world.payable(shop())), before);
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn a_record_that_a_message_brings_twice_counts_once_and_is_listed_once<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 5_000);
    world.settle();
    let record = card.pay(300, SAM_1, 1);
    assert_eq!(world.upload(&[record, record]), ["00", "00"]);
    let host = BatchTotals { debits: Tally { minor: 300, count: 1 }, ..BatchTotals::default() };
    assert_eq!(world.host_totals(), host);
    assert_eq!(world.send(HostBody::Settle { totals: BatchTotals::default() }).code, code("95"));
    let key = ItemKey::Record(SAM_1, TermSeq(1));
    let items = vec![UploadItem { side: Side::Debit, key, amount: cny(300) }];
    assert_eq!(world.send(HostBody::Upload { items }).code, code("00"));
    let ended = world.send(HostBody::UploadEnd);
    let AnswerBody::Closed { totals, differences, all } = ended.body else { panic!("{ended:?}") };
    assert_eq!((totals, differences, all), (host, vec![], 0));
}

/// A load counts again, in the totals as on the list, when the card proves what its terminal had reversed or a person had released.
pub(super) fn a_load_that_is_proved_after_all_counts_in_its_batch_again<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let (mut one, mut two) = (world.card(1), world.card(2));
    let reversed = world.load(&mut one, 500);
    let consent = world.host(reversed.clone());
    assert_eq!(world.host(World::<S>::reversal(&reversed, cny(500))).code, code("00"));
    assert_eq!(world.open_loads(), Tally::default());
    let credit = one.credit(500, SAM_1, consent.moment);
    assert_eq!(world.confirm(credit).code, code("00"));
    assert_eq!(world.open_loads(), Tally { minor: 500, count: 1 });
    let released = world.load(&mut two, 300);
    let consent = world.host(released.clone());
    assert_eq!(world.release(&two, 0), AdminAnswer::Done);
    assert_eq!(world.open_loads(), Tally { minor: 500, count: 1 });
    let credit = two.credit(300, SAM_1, consent.moment);
    assert_eq!(world.confirm(credit).code, code("00"));
    let loads = Tally { minor: 800, count: 2 };
    assert_eq!(world.open_loads(), loads);
    assert_eq!(world.send(HostBody::Settle { totals: BatchTotals::default() }).code, code("95"));
    let item = |of: &HostRequest, minor| UploadItem {
        side: Side::Load,
        key: ItemKey::Trace(of.identity.trace),
        amount: cny(minor),
    };
    let items = vec![item(&reversed, 500), item(&released, 300)];
    assert_eq!(world.send(HostBody::Upload { items }).code, code("00"));
    let ended = world.send(HostBody::UploadEnd);
    let AnswerBody::Closed { totals, all, .. } = ended.body else { panic!("{ended:?}") };
    assert_eq!((totals.loads, all), (loads, 0));
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn operators_requests_are_idempotent<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(1000, 1);
    let (kind, number) = (FundingKind::Bank, FundingNumber(1));
    let again = AdminRequest::Fund { kind, number, amount: cny(1000), reference: 1 };
    assert_eq!(world.admin(again), AdminAnswer::Exists);
    let other = AdminRequest::Fund { kind, number, amount: cny(999), reference: 1 };
    assert_eq!(world.admin(other), AdminAnswer::Refused(AdminRefusal::ExistsDifferent));
    assert_eq!(world.available(), 1000);
    let merchant = AdminRequest::AddMerchant { merchant: shop(), name: "Shop".into(), currency: CNY };
    assert_eq!(world.admin(merchant), AdminAnswer::Exists);
    let issuer = AdminRequest::AddIssuer {
        issuer: ISSUER,
        currency: CNY,
        upper_factors: vec![],
        load_limit: CardAmount(1),
    };
    assert_eq!(world.admin(issuer), AdminAnswer::Refused(AdminRefusal::ExistsDifferent));
    let past = Moment::from_bytes([0x20, 0x25, 0x01, 0x01, 0, 0, 0]);
    let back = AdminRequest::AssignSam { sam: SAM_1, terminal: t2(), from: past };
    assert_eq!(world.admin(back), AdminAnswer::Refused(AdminRefusal::NotForward));
}
