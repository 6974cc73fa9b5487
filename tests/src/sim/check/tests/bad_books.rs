//! The backend's books of an honest day, and each lie in them: what a bug at the acquirer would leave behind must be found.

use crate::sim::answers::Sent;
use crate::sim::books::Books;
use crate::sim::counter::Standing;
use crate::sim::plan::{
    Act, CardPlan, Deal, Errand, Gateways, Online, Plan, Presence, Task, TerminalPlan, Visit, Want,
};
use crate::sim::violation::Violation;
use crate::sim::world::{Care, World};
use backend::accounts::chart::code;
use backend::accounts::{TransactionSeq, TransferKind};
use backend::api::AlertKind;
use backend::report::{AuditException, BatchState};
use backend::store::{GatewayNo, LoadState, RecordStanding, TransactionKind, TransactionState};
use card_applet_sim::memory::Survival;
use protocol::iso8583::typed::ResponseCode;
use protocol::money::CardAmount;
use protocol::purse::Suite;

fn visit(want: Want) -> Act {
    let field = vec![Presence::Card { card: 0, fault: None, lingers: false }];
    let (faults, line, gateway) = (Vec::new(), Vec::new(), Vec::new());
    Act::Visit(Visit { terminal: 0, want, after_ms: 60_000, field, faults, line, gateway })
}

/// Loaded with 50.00, paid 2.50 and 4.00, uploaded and settled; and nothing is wrong.
fn honest() -> (World, Books) {
    let upload = Errand {
        terminal: 0,
        task: Task::Upload,
        after_ms: 60_000,
        faults: Vec::new(),
        line: Vec::new(),
        gateway: Vec::new(),
    };
    let plan = Plan {
        seed: 1,
        cards: vec![CardPlan {
            suite: Suite::Aes,
            version: protocol::ids::KeyVersion(1),
            funds: 100_000,
            survival: Survival::None,
        }],
        terminals: vec![TerminalPlan::default(); 2],
        counters: 0,
        gateways: Gateways::ONE,
        acts: vec![
            visit(Want::Load(CardAmount(5_000))),
            visit(Want::Pay(CardAmount(250))),
            Act::Errand(upload),
            visit(Want::Pay(CardAmount(400))),
        ],
    };
    let mut world = World::played(&plan, Care::default());
    let (books, audit) = world.read_books().unwrap();
    assert_eq!((&world.violations[..], &audit[..]), (&[][..], &[][..]));
    assert_eq!(world.hold_against(&books, &audit), []);
    (world, books)
}

fn found(lie: impl FnOnce(&mut Books, &mut Vec<Sent>)) -> Vec<Violation> {
    let (mut world, mut books) = honest();
    lie(&mut books, &mut world.acquirer.sent);
    world.hold_against(&books, &[])
}

fn is_money(violation: &Violation) -> bool {
    matches!(violation, Violation::Money(_))
}

#[test]
fn a_record_that_is_counted_twice_is_found() {
    let found = found(|books, _| {
        let payment = books.transfers.iter().find(|it| it.code == code::PURSE_PURCHASE).copied().unwrap();
        books.transfers.push(payment);
    });
    assert!(found.iter().filter(|it| is_money(it)).count() >= 2, "float and merchant: {found:?}");
}

#[test]
fn a_number_of_a_gateway_that_is_not_there_is_found() {
    let found = found(|books, _| {
        let (seq, row) = books.transactions.pop_last().unwrap();
        let elsewhere = TransactionSeq(GatewayNo::new(7).unwrap().base() | seq.0);
        books.transactions.insert(elsewhere, row);
    });
    let is_it = |it: &&Violation| matches!(it, Violation::Backend(what) if what.contains("gateway 7"));
    assert_eq!(found.iter().filter(is_it).count(), 1, "{found:?}");
}

#[test]
fn a_record_credited_to_its_uploader_is_found() {
    let found = found(|books, _| {
        let of = |n: usize| {
            let merchant = &books.merchants[&crate::sim::world::merchant_id(n)];
            backend::accounts::chart::Book::MerchantPayable(merchant.number).id(merchant.currency)
        };
        let (right, wrong) = (of(0), of(1));
        let payment = books.transfers.iter_mut().find(|it| it.code == code::PURSE_PURCHASE).unwrap();
        assert_eq!(payment.credit, right);
        payment.credit = wrong;
    });
    assert!(found.iter().any(is_money), "{found:?}");
}

#[test]
fn a_record_that_was_answered_00_and_is_gone_is_found() {
    let found = found(|books, _| {
        let (key, transfer) = books
            .records
            .iter()
            .find(|(_, it)| it.standing == RecordStanding::Booked)
            .map(|(key, it)| (*key, it.transfer.unwrap()))
            .unwrap();
        books.records.remove(&key);
        books.transfers.retain(|it| it.seq != transfer);
    });
    assert!(found.iter().any(|it| matches!(it, Violation::Promise(_))), "{found:?}");
    assert!(found.iter().any(|it| matches!(it, Violation::Booked { .. })), "{found:?}");
}

#[test]
fn an_answer_that_left_before_its_commit_is_found() {
    let found = found(|books, _| {
        let newest = books.transactions.keys().copied().max().unwrap();
        books.transactions.remove(&newest);
    });
    assert!(
        matches!(&found[..], [.., Violation::Promise(what)] if what.contains("do not have")),
        "{found:?}"
    );
}

#[test]
fn a_repeat_that_is_answered_otherwise_is_found() {
    let found = found(|_, sent| {
        let load = sent.iter().find(|it| it.consent.is_some()).cloned().unwrap();
        sent.push(Sent { consent: None, code: ResponseCode::FUNDS, ..load });
    });
    assert!(found.iter().any(|it| matches!(it, Violation::Promise(what) if what.contains("and then"))));
}

#[test]
fn a_hold_released_after_the_card_was_credited_is_found() {
    let found = found(|books, _| {
        let load = books.loads.iter_mut().find(|load| load.state == LoadState::Posted).unwrap();
        load.state = LoadState::Released;
        let hold = load.hold;
        for transfer in &mut books.transfers {
            if transfer.kind == (TransferKind::Post { of: hold }) {
                transfer.kind = TransferKind::Void { of: hold };
            }
        }
    });
    assert!(found.iter().any(|it| matches!(it, Violation::Load(..))), "{found:?}");
}

#[test]
fn a_hold_that_nobody_resolved_is_found() {
    let found = found(|books, _| {
        books.transfers.retain(|it| !matches!(it.kind, TransferKind::Post { .. }));
    });
    assert!(found.iter().any(|it| matches!(it, Violation::Money(what) if what.contains("hold"))));
}

#[test]
fn a_reversal_that_was_approved_and_did_nothing_is_found() {
    let found = found(|books, sent| {
        let confirmed = sent.iter().find(|it| it.consent.is_some()).cloned().unwrap();
        let exchange = protocol::iso8583::Mti::REVERSAL.exchange();
        sent.push(Sent { exchange, consent: None, ..confirmed });
        let loads = books.transactions.values_mut().filter(|row| row.kind == TransactionKind::Load);
        loads.for_each(|row| row.state = TransactionState::Authorised);
    });
    assert!(found.iter().any(|it| matches!(it, Violation::Promise(what) if what.contains("reversed"))));
}

#[test]
fn a_batch_that_is_settled_twice_or_has_wrong_totals_is_found() {
    let twice = found(|books, _| {
        let row = books.transactions.values().find(|row| row.kind == TransactionKind::Settle).cloned();
        let mut row = row.unwrap();
        row.seq.0 += 1_000_000;
        books.transactions.insert(row.seq, row);
    });
    assert!(twice.iter().any(|it| matches!(it, Violation::Batch(what) if what.contains("2 times"))));
    let totals = found(|books, _| {
        let batch = books.batches.values_mut().find(|batch| batch.host.debits.count > 0).unwrap();
        batch.host.debits = batch.host.debits.plus(100);
    });
    assert!(totals.iter().any(|it| matches!(it, Violation::Batch(_))), "{totals:?}");
    let open = found(|books, _| {
        books.batches.values_mut().for_each(|batch| batch.state = BatchState::Open);
    });
    assert!(open.iter().any(|it| matches!(it, Violation::Promise(what) if what.contains("not closed"))));
}

#[test]
fn an_accusation_of_an_honest_card_and_an_audit_exception_are_found() {
    let (world, books) = honest();
    let mut accused = books.clone();
    let card = world.cards[0].id;
    accused.alerts.push(backend::api::Alert {
        at: protocol::time::Wall(0),
        kind: AlertKind::Fork,
        card: Some((card.issuer, card.asn)),
        record: None,
        transfer: None,
    });
    assert!(matches!(&world.hold_against(&accused, &[])[..], [Violation::Backend(_)]));
    for kind in [AlertKind::Rollback, AlertKind::LateLoad, AlertKind::LoadLoss] {
        accused.alerts.last_mut().unwrap().kind = kind;
        assert!(matches!(&world.hold_against(&accused, &[])[..], [Violation::Backend(_)]), "{kind:?}");
    }
    let (issuer, asn) = (card.issuer, card.asn);
    let counter = protocol::ids::OfflineCounter(0);
    let (before, after_previous, loads) = (5_000, 0, 0);
    let audit = [AuditException::Conservation { issuer, asn, counter, before, after_previous, loads }];
    assert!(matches!(&world.hold_against(&books, &audit)[..], [Violation::Backend(_)]));
}

#[test]
fn a_debit_that_is_not_booked_must_be_listed_and_told() {
    let unlisted = |violation: &Violation| matches!(violation, Violation::Unlisted(..));
    // The books count one more than the card's debits explain, or one less.
    for claimed in [1, 3] {
        let found = found(|books, _| {
            books.cards[0].claimed = claimed;
            books.cards[0].newest.as_mut().unwrap().0.0 += 1;
        });
        assert!(found.iter().any(unlisted), "{found:?}");
    }
    // A record is gone, and the books' own count says so; but nobody was told.
    let quiet = found(|books, _| {
        books.records.pop_first();
        books.cards[0].claimed -= 1;
    });
    assert!(quiet.iter().any(unlisted), "{quiet:?}");
}

/// A counter has taken 3.30 and settled; and nothing is wrong.
fn at_a_counter() -> (World, Books) {
    let act = |deal| {
        let (line, gateway) = (Vec::new(), Vec::new());
        Act::Online(Online { counter: 0, deal, after_ms: 60_000, dies: false, line, gateway })
    };
    let plan = Plan {
        seed: 1,
        cards: Vec::new(),
        terminals: vec![TerminalPlan::default()],
        counters: 1,
        gateways: Gateways::ONE,
        acts: vec![act(Deal::Purchase { payer: 1, minor: 330 }), act(Deal::Settle)],
    };
    let mut world = World::played(&plan, Care::default());
    let (books, audit) = world.read_books().unwrap();
    assert_eq!(world.hold_against(&books, &audit), []);
    assert_eq!(world.counters[0].taken(Some(1)), 330);
    (world, books)
}

#[test]
fn a_sale_that_the_books_do_not_keep_or_keep_although_it_was_taken_back_is_found() {
    let lies: [fn(&mut World, &mut Books); 4] = [
        |_, books| books.transactions.retain(|_, row| row.amount.is_none()),
        |_, books| books.transfers.truncate(books.transfers.len() - 1),
        |world, _| world.counters[0].sales[0].standing = Standing::Reversed,
        |world, _| world.counters[0].sales[0].standing = Standing::Asked,
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let (mut world, mut books) = at_a_counter();
        lie(&mut world, &mut books);
        let found = world.hold_against(&books, &[]);
        assert!(found.iter().any(|it| matches!(it, Violation::Money(_))), "lie {number}: {found:?}");
    }
}
