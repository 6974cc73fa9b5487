//! What the card's own chain decides: uncertain debits in whatever order records arrive, forks, gaps, the deny list, and records that come weeks late.

use super::world::*;
use crate::accounts::chart::{Book, IssuerNumber};
use crate::api::*;
use crate::store::memory::MemoryStore;
use crate::store::{Card, CardId, DenyVersion, Key, Record, RecordStanding, Store};
use proptest::prelude::*;
use protocol::ids::*;
use protocol::iso8583::f58::{RecordState, TransactionRecord};
use protocol::purse::{Moment, Suite, Tac};

const DAY_MS: u64 = 86_400_000;
const WAIT_MS: u64 = 30 * DAY_MS;
const FLOAT: Book = Book::PurseFloat(IssuerNumber(1));
const SUSPENSE: Book = Book::PurseSuspense(IssuerNumber(1));
const LOSS: Book = Book::IssuerLoss(IssuerNumber(1));

/// The minute of a Sunday.
fn at(minute: u8) -> Moment {
    let bcd = |n: u8| ((n / 10) << 4) | (n % 10);
    Moment::from_bytes([0x20, 0x26, 0x11, 0x22, 0x10, bcd(minute), 0x00])
}

fn torn(record: TransactionRecord) -> TransactionRecord {
    TransactionRecord { state: RecordState::Uncertain, tac: Tac::zero(Suite::Aes), ..record }
}

fn void(record: TransactionRecord) -> TransactionRecord {
    TransactionRecord { state: RecordState::Void, ..torn(record) }
}

/// Policy until nothing is left to decide. How many it decided.
fn policy<S: Store>(world: &mut World<S>) -> u32 {
    let mut decided = 0;
    loop {
        match world.admin(AdminRequest::ResolveUncertain { wait_ms: WAIT_MS }) {
            AdminAnswer::Count(0) => return decided,
            AdminAnswer::Count(count) => decided += count,
            other => panic!("{other:?}"),
        }
    }
}

fn days_pass<S>(world: &mut World<S>, days: i64) {
    world.ms += days * DAY_MS as i64;
}

fn items<S: Store>(world: &mut World<S>) -> Vec<(u32, Evidence)> {
    match world.engine.query(&Query::OpenItems { limit: 100 }).unwrap() {
        Report::OpenItems(items) => {
            items.iter().map(|item| (item.record.content.term_seq.0, item.evidence)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn standing<S: Store>(world: &mut World<S>, record: &TransactionRecord) -> Option<RecordStanding> {
    match world.engine.store().get(&Key::Record(record.terminal, record.term_seq)).unwrap() {
        Some(Record::Record(record)) => Some(record.standing),
        _ => None,
    }
}

fn shadow<S: Store>(world: &mut World<S>, card: &TestCard) -> Card {
    match world.engine.store().get(&Key::Card(CardId { issuer: ISSUER, asn: card.asn })).unwrap() {
        Some(Record::Card(card)) => card,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn clean<S: Store>(world: &mut World<S>) {
    assert_eq!(world.audit().exceptions, []);
}

/// One card's weekend: everything that two terminals will ever say about it, in the order in which it happened.
fn weekend(world: &mut World<MemoryStore>) -> (TestCard, Vec<TransactionRecord>) {
    world.fund(50_000, 1);
    let mut card = world.card(1);
    let mut said = Vec::new();
    let message = world.load(&mut card, 6_000);
    let answer = world.host(message);
    said.push(card.credit(6_000, SAM_1, answer.moment));
    // Counter 0: proved at once. 1: happened, and no terminal ever learns it.
    said.push(card.pay_at(1_000, SAM_1, 1, at(0)));
    said.push(torn(card.pay_at(700, SAM_1, 2, at(1))));
    said.push(card.pay_at(200, SAM_2, 1, at(2)));
    // Counter 3: torn away before it happened, then used elsewhere.
    said.push(torn(card.clone().pay_at(60, SAM_1, 3, at(3))));
    said.push(card.pay_at(60, SAM_2, 2, at(4)));
    // Counters 4 and 5: both happened unseen, with a load between them; and a try of counter 5 that did not happen.
    said.push(torn(card.pay_at(110, SAM_1, 4, at(5))));
    let message = world.load(&mut card, 2_000);
    let answer = world.host(message);
    said.push(card.credit(2_000, SAM_1, answer.moment));
    said.push(torn(card.clone().pay_at(90, SAM_1, 5, at(6))));
    said.push(torn(card.pay_at(120, SAM_2, 3, at(7))));
    said.push(card.pay_at(300, SAM_1, 6, at(8)));
    // Counter 7: uncertain, then recovered, proof and all.
    let seven = card.pay_at(400, SAM_2, 4, at(9));
    said.extend([torn(seven), seven]);
    // Counter 8: uncertain, then known not to have happened; then used for nothing at all (an amount of zero).
    let tried = card.clone().pay_at(77, SAM_1, 7, at(10));
    said.extend([torn(tried), void(tried)]);
    said.push(card.pay_at(0, SAM_2, 5, at(11)));
    // Counter 9: happened unseen; another try of it with another amount did not.
    said.push(torn(card.clone().pay_at(5, SAM_1, 8, at(12))));
    said.push(torn(card.pay_at(25, SAM_2, 6, at(13))));
    said.push(card.pay_at(35, SAM_1, 9, at(14)));
    // Counter 11: the last, and nobody will ever know.
    said.push(torn(card.pay_at(45, SAM_2, 7, at(15))));
    (card, said)
}

/// Everything that must not depend on the order of arrival.
#[derive(Debug, PartialEq)]
struct Books {
    payable: [i128; 2],
    float: i128,
    suspense: i128,
    loss: i128,
    card: Card,
    standings: Vec<Option<RecordStanding>>,
}

/// The books after these records arrived in this order, with policy running in between and, a month later, to its end.
fn books(order: &[usize], policy_after: &[usize]) -> Books {
    let mut world = World::new(MemoryStore::new());
    let (card, said) = weekend(&mut world);
    for (n, index) in order.iter().enumerate() {
        let terminal = if n % 2 == 0 { t1() } else { t2() };
        let body = HostBody::OfflineRecords { records: vec![said[*index]] };
        let message = world.message(terminal, body);
        let answer = codes(&world.host(message));
        assert!(answer == ["00"] || answer == ["01"], "{answer:?}");
        if policy_after.contains(&n) {
            policy(&mut world);
        }
    }
    assert_eq!(world.net(SUSPENSE), 0);
    clean(&mut world);
    days_pass(&mut world, 31);
    policy(&mut world);
    clean(&mut world);
    let standings = said.iter().map(|record| standing(&mut world, record)).collect();
    let (payable, shadow) = ([world.payable(shop()), world.payable(cafe())], shadow(&mut world, &card));
    Books {
        payable,
        float: world.net(FLOAT),
        suspense: world.net(SUSPENSE),
        loss: world.net(LOSS),
        card: shadow,
        standings,
    }
}

const SAID: usize = 20;

#[test]
fn a_weekend_of_torn_cards_is_settled_to_the_last_cent() {
    let mut world = World::new(MemoryStore::new());
    let (card, said) = weekend(&mut world);
    assert_eq!(said.len(), SAID);
    let order: Vec<usize> = (0..SAID).collect();
    let books = books(&order, &[]);
    assert_eq!(books.payable, [1_000 + 700 + 110 + 300 + 35, 200 + 60 + 120 + 400 + 25]);
    // The last debit was 45 and is not booked: the float still has it.
    assert_eq!(books.float, i128::from(card.balance) + 45);
    assert_eq!((books.suspense, books.loss), (0, 0));
    assert_eq!((books.card.missing(), books.card.claimed, books.card.gap_since), (0, 11, None));
    assert_eq!(books.card.status, CardStatus::Active);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_books_are_the_same_in_whatever_order_and_however_often_records_arrive(
        shuffled in Just((0..SAID).collect::<Vec<_>>()).prop_shuffle(),
        again in proptest::collection::vec(0..SAID, 0..6),
        policy_after in proptest::collection::vec(0..SAID, 0..4),
    ) {
        let straight: Vec<usize> = (0..SAID).collect();
        let order: Vec<usize> = shuffled.into_iter().chain(again).collect();
        prop_assert_eq!(books(&order, &policy_after), books(&straight, &[]));
    }
}

pub(super) fn a_proof_after_policy_has_paid_another_is_paid_and_the_issuer_bears_the_excess<S: Store>(
    store: S,
) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 6_000);
    let before = card.pay_at(1_000, SAM_1, 1, at(0));
    // The shop's terminal lost sight of the card; the card paid as much at the café's, which uploads two months later.
    let lost = card.clone().pay_at(700, SAM_1, 2, at(1));
    let real = card.pay_at(700, SAM_2, 1, at(2));
    let after = card.pay_at(200, SAM_1, 3, at(3));
    assert_eq!(world.upload(&[before, torn(lost), after]), ["00", "01", "00"]);
    assert_eq!(items(&mut world), [(2, Evidence::Consumed)]);
    assert_eq!(policy(&mut world), 0, "a third terminal may still hold it");
    days_pass(&mut world, 31);
    assert_eq!(policy(&mut world), 1);
    assert_eq!((world.payable(shop()), world.net(FLOAT)), (1_900, 4_100));
    assert_eq!(items(&mut world), []);
    clean(&mut world);

    assert_eq!(world.upload(&[real]), ["00"], "a valid TAC is always paid");
    assert_eq!((world.payable(shop()), world.payable(cafe())), (1_900, 700), "nobody is asked to give back");
    assert_eq!((world.net(FLOAT), world.net(SUSPENSE), world.net(LOSS)), (4_100, 0, -700));
    assert_eq!(world.net(FLOAT), i128::from(card.balance), "float and card agree again");
    assert_eq!(world.alerts()[1], AlertKind::Overtaken);
    assert_eq!(standing(&mut world, &lost), Some(RecordStanding::Overtaken));
    let report = world.card_report(&card);
    assert_eq!((report.status, report.spent, report.missing), (CardStatus::Active, 1_900, 0));
    assert_eq!(policy(&mut world), 0);
    clean(&mut world);

    // The shop's terminal proves its debit too: now two cards have paid with one counter.
    assert_eq!(world.upload(&[lost]), ["00"]);
    assert_eq!(world.payable(shop()), 1_900, "which was paid already");
    assert_eq!(world.net(LOSS), -700);
    let report = world.card_report(&card);
    assert_eq!((report.status, report.deny_version), (CardStatus::Denied, DenyVersion(1)));
    assert_eq!(world.alerts()[..2], [AlertKind::Denied, AlertKind::Fork]);
    clean(&mut world);
}

pub(super) fn the_proof_of_a_debit_that_policy_paid_pays_nothing_more_and_counts_in_its_batch<S: Store>(
    store: S,
) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 6_000);
    let one = card.pay_at(1_000, SAM_1, 1, at(0));
    let two = card.pay_at(700, SAM_1, 2, at(1));
    let three = card.pay_at(200, SAM_1, 3, at(2));
    assert_eq!(world.upload(&[one, torn(two), three]), ["00", "01", "00"]);
    world.settle();
    days_pass(&mut world, 31);
    assert_eq!(policy(&mut world), 1);
    let wrong = TransactionRecord { tac: card.pay(0, SAM_1, 99).tac, ..two };
    assert_eq!(world.upload(&[wrong]), ["63"], "a wrong proof changes nothing");
    assert_eq!(world.upload(&[two, two]), ["00", "00"]);
    assert_eq!((world.payable(shop()), world.net(FLOAT)), (1_900, 4_100));
    // The terminal counts it where it learned it.
    let totals = BatchTotals { debits: Tally { minor: 700, count: 1 }, ..BatchTotals::default() };
    assert_eq!(world.send(HostBody::Settle { totals }).code, code("00"));
    clean(&mut world);
}

pub(super) fn uncertain_debits_in_a_row_are_decided_together_and_what_is_not_shown_stays_open<S: Store>(
    store: S,
) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 6_000);
    let zero = card.pay_at(1_000, SAM_1, 1, at(0));
    let (one, two) = (card.pay_at(100, SAM_1, 2, at(1)), card.pay_at(200, SAM_2, 1, at(2)));
    let three = card.pay_at(300, SAM_1, 3, at(3));
    assert_eq!(world.upload(&[torn(one), torn(two), three]), ["01", "01", "00"]);
    // The record before them has not come: what they took is the terminals' word alone.
    assert_eq!(items(&mut world), [(2, Evidence::Gap), (1, Evidence::Gap)]);
    days_pass(&mut world, 31);
    assert_eq!(policy(&mut world), 0);
    assert_eq!(world.upload(&[zero]), ["00"]);
    assert_eq!(items(&mut world), [(2, Evidence::Consumed), (1, Evidence::Consumed)]);
    assert_eq!(policy(&mut world), 2);
    assert_eq!((world.payable(shop()), world.payable(cafe())), (1_400, 200));

    // Two tries of one time on one counter, of one amount: the chain cannot tell them apart.
    let (left, right) = (card.clone().pay_at(50, SAM_1, 4, at(4)), card.pay_at(50, SAM_2, 2, at(4)));
    let five = card.pay_at(10, SAM_1, 5, at(5));
    assert_eq!(world.upload(&[torn(left), torn(right), five]), ["01", "01", "00"]);
    assert_eq!(items(&mut world), [(4, Evidence::Contested), (2, Evidence::Contested)]);
    // One whose SAM nobody knows waits for its registration, and the last one of a card for the next.
    let six = card.pay_at(20, STRANGER, 1, at(6));
    let seven = card.pay_at(30, SAM_1, 6, at(7));
    let last = card.pay_at(40, SAM_1, 7, at(8));
    assert_eq!(world.upload(&[six, seven, torn(last)]), ["01", "00", "01"]);
    days_pass(&mut world, 31);
    assert_eq!(policy(&mut world), 0);
    let expected = [
        (4, Evidence::Contested),
        (7, Evidence::NothingLater),
        (2, Evidence::Contested),
        (1, Evidence::UnknownPlace),
    ];
    assert_eq!(items(&mut world), expected);
    assert_eq!((world.payable(shop()), world.payable(cafe())), (1_440, 200));
    clean(&mut world);
}

pub(super) fn a_debit_is_not_called_unconsumed_while_a_released_load_may_explain_it<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 1_000);
    let one = card.pay_at(100, SAM_1, 1, at(0));
    let (kept, real) = (world.load(&mut card, 1), world.load(&mut card, 500));
    let consent = world.host(real);
    let receipt = card.credit(500, SAM_1, consent.moment);
    assert_eq!(world.release(&card, 1), AdminAnswer::Done);
    assert_eq!(world.host(kept).code, code("00"));
    // It was torn after the released load, which nobody has proved: its balance is that load's, not the one of the request that was kept back.
    let (two, three) = (card.pay_at(50, SAM_2, 1, at(1)), card.pay_at(10, SAM_1, 2, at(2)));
    assert_eq!(world.upload(&[one, torn(two), three]), ["00", "01", "00"]);
    assert_eq!(items(&mut world), [(1, Evidence::Contradicted)]);
    assert_eq!(world.upload(&[receipt]), ["00"]);
    assert_eq!(items(&mut world), [(1, Evidence::Consumed)]);
    clean(&mut world);
}

pub(super) fn a_person_decides_what_the_chain_leaves_open<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 1_000);
    let (one, two) = (card.pay_at(100, SAM_1, 1, at(0)), card.pay_at(50, SAM_2, 1, at(1)));
    assert_eq!(world.upload(&[torn(one), torn(two)]), ["01", "01"]);
    let decide = |sam, seq, pay| AdminRequest::DecideUncertain { sam, seq: TermSeq(seq), pay };
    assert_eq!(world.admin(decide(SAM_1, 9, true)), AdminAnswer::Refused(AdminRefusal::NoOpenRecord));
    assert_eq!(world.admin(decide(SAM_1, 1, true)), AdminAnswer::Done);
    assert_eq!(world.admin(decide(SAM_1, 1, true)), AdminAnswer::Refused(AdminRefusal::NoOpenRecord));
    assert_eq!(world.admin(decide(SAM_2, 1, false)), AdminAnswer::Done);
    assert_eq!((world.payable(shop()), world.payable(cafe())), (100, 0));
    clean(&mut world);
    // The card's word stands above a person's: what was closed is paid when it is proved.
    assert_eq!(world.upload(&[two]), ["00"]);
    assert_eq!((world.payable(cafe()), world.net(FLOAT)), (50, 850));
    assert_eq!(world.card_report(&card).missing, 0);
    clean(&mut world);
}

pub(super) fn the_deny_list_has_versions_and_keeps_who_was_on_it<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let (mut cloned, mut stolen) = (world.card(1), world.card(2));
    world.loaded(&mut cloned, 1_000);
    let mut clone = cloned.clone();
    let (one, two) = (cloned.pay(100, SAM_1, 1), clone.pay(200, SAM_2, 1));
    assert_eq!(world.upload(&[one, two]), ["00"; 2]);
    let status = |asn, status| AdminRequest::SetCardStatus { issuer: ISSUER, asn, status };
    assert_eq!(world.admin(status(stolen.asn, CardStatus::Denied)), AdminAnswer::Done);
    assert_eq!(world.admin(status(stolen.asn, CardStatus::Denied)), AdminAnswer::Exists);
    let list = |world: &mut World<S>, since| match world
        .engine
        .query(&Query::DenyList { since: DenyVersion(since), limit: 10 })
        .unwrap()
    {
        Report::DenyList(list) => {
            let changes: Vec<_> = list.changes.iter().map(|c| (c.version.0, c.asn, c.denied)).collect();
            (list.version.0, changes)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(list(&mut world, 0), (2, vec![(1, cloned.asn, true), (2, stolen.asn, true)]));
    let refused = world.load(&mut cloned, 100);
    assert_eq!(world.host(refused).code, code("62"));
    assert_eq!(world.admin(status(cloned.asn, CardStatus::Active)), AdminAnswer::Done);
    // Whoever has version 1 asks only for what changed since.
    assert_eq!(list(&mut world, 1), (3, vec![(2, stolen.asn, true), (3, cloned.asn, false)]));
    assert_eq!(list(&mut world, 3), (3, vec![]));
    let trail: Vec<AlertKind> = world.alerts().into_iter().rev().collect();
    use AlertKind::{Denied, DenyLifted, ForeignUpload, Fork};
    assert_eq!(trail, [Fork, Denied, ForeignUpload, Denied, DenyLifted], "for good");
    let message = world.load(&mut cloned, 100);
    assert_eq!(world.host(message).code, code("00"));
    let message = world.load(&mut stolen, 100);
    assert_eq!(world.host(message).code, code("62"));
    clean(&mut world);
}

pub(super) fn a_gap_is_told_after_its_time_and_closed_by_the_late_record<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 1_000);
    let (zero, one, two) = (card.pay(10, SAM_1, 1), card.pay(20, SAM_2, 1), card.pay(30, SAM_1, 2));
    assert_eq!(world.upload(&[zero, two]), ["00", "00"]);
    assert_eq!(world.card_report(&card).missing, 1);
    let tell = AdminRequest::TellGaps { wait_ms: WAIT_MS };
    assert_eq!(world.admin(tell.clone()), AdminAnswer::Count(0));
    assert_eq!(world.alerts(), [], "a terminal may upload late: that is normal");
    days_pass(&mut world, 31);
    assert_eq!(world.admin(tell.clone()), AdminAnswer::Count(1));
    assert_eq!(world.admin(tell.clone()), AdminAnswer::Count(0), "not every day");
    assert_eq!(world.alerts(), [AlertKind::Gap]);
    assert_eq!(world.upload(&[one]), ["00"]);
    let report = world.card_report(&card);
    assert_eq!((report.missing, report.expected), (0, i128::from(card.balance)));
    assert_eq!(report.newest.map(|(counter, balance)| (counter.0, balance.0)), Some((2, card.balance)));
    days_pass(&mut world, 31);
    assert_eq!(world.admin(tell), AdminAnswer::Count(0));
    clean(&mut world);
}

pub(super) fn records_weeks_late_are_credited_to_the_merchant_of_their_time_in_the_window_of_today<
    S: Store,
>(
    store: S,
) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut card = world.card(1);
    world.loaded(&mut card, 6_000);
    let day = |day| Moment::from_bytes([0x20, 0x26, 0x11, day, 0x10, 0x00, 0x00]);
    // The shop's terminal stays offline for weeks; then its SAM goes to the café, and with it what it still holds.
    let early = card.pay_at(1_000, SAM_1, 1, day(0x22));
    let last = card.pay_at(500, SAM_1, 2, day(0x24));
    let moved = AdminRequest::AssignSam { sam: SAM_1, terminal: t2(), from: day(0x25) };
    assert_eq!(world.admin(moved), AdminAnswer::Done);
    let after = card.pay_at(70, SAM_1, 3, day(0x26));
    for _ in 0..3 {
        let buy = HostBody::Purchase { payer: PAYER, amount: cny(10) };
        assert_eq!(world.send(buy).code, code("00"));
        assert_eq!(world.settle().code, code("00"));
        days_pass(&mut world, 7);
    }
    let settled = world.statement(shop());
    assert_eq!(settled.payable, 30);
    let arrived = world.ms;
    let body = HostBody::OfflineRecords { records: vec![early, last, after] };
    let message = world.message(t2(), body);
    assert_eq!(codes(&world.host(message)), ["00"; 3]);
    assert_eq!((world.payable(shop()), world.payable(cafe())), (1_530, 70));
    // They are booked today, not in the weeks that are settled, and count in the batch that brought them.
    let late: Vec<_> = world.statement(shop()).lines.into_iter().skip(settled.lines.len()).collect();
    assert_eq!(late.iter().map(|line| line.amount.minor()).collect::<Vec<_>>(), [1_000, 500]);
    assert!(late.iter().all(|line| line.at.0 > arrived && line.credit));
    let totals = BatchTotals { debits: Tally { minor: 1_570, count: 3 }, ..BatchTotals::default() };
    let message = world.message(t2(), HostBody::Settle { totals });
    assert_eq!(world.host(message).code, code("00"));
    // Uploaded again a month later by the terminal they were made at: known, and nothing is booked.
    days_pass(&mut world, 30);
    assert_eq!(world.upload(&[early, last]), ["00"; 2]);
    assert_eq!(world.payable(shop()), 1_530);
    assert_eq!(world.net(FLOAT), i128::from(card.balance));
    clean(&mut world);
}
