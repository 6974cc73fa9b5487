//! A transaction is found by every name it has, and by no other.

use super::world::*;
use crate::accounts::chart::{Book, FundingKind, FundingNumber};
use crate::api::*;
use crate::store::{Store, TransactionKind, TransactionState};
use protocol::ids::*;
use protocol::time::Wall;

fn find<S: Store>(world: &mut World<S>, search: Search) -> Found {
    find_some(world, search, 100)
}

fn find_some<S: Store>(world: &mut World<S>, search: Search, limit: u32) -> Found {
    match world.engine.query(&Query::Find { search, limit }).unwrap() {
        Report::Found(found) => found,
        other => panic!("{other:?}"),
    }
}

fn kinds(found: &Found) -> Vec<(TransactionKind, TransactionState)> {
    found.transactions.iter().map(|it| (it.kind, it.state)).collect()
}

pub(super) fn a_transaction_is_found_by_every_name_it_has<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let message = world.message(t1(), HostBody::Purchase { payer: PAYER, amount: cny(100) });
    let bought = world.host(message.clone());
    let mut card = world.card(1);
    world.loaded(&mut card, 5_000);
    let record = card.pay(300, SAM_1, 17);
    world.upload(&[record]);
    let purchase = [(TransactionKind::Purchase, TransactionState::Authorised)];
    let by_trace = Search::Trace(t1(), message.identity.batch, message.identity.trace);
    let reference = Search::Reference(bought.reference.unwrap());
    let authorisation = Search::Authorisation(bought.authorisation.unwrap());
    for search in [reference, by_trace, authorisation] {
        assert_eq!(kinds(&find(&mut world, search)), purchase, "{search:?}");
    }
    let load = find(&mut world, Search::Load(ISSUER, card.asn, OnlineCounter(0)));
    assert_eq!(kinds(&load), [(TransactionKind::Load, TransactionState::Completed)]);
    for search in [Search::Debit(ISSUER, card.asn, OfflineCounter(0)), Search::Record(SAM_1, TermSeq(17))] {
        let found = find(&mut world, search);
        assert_eq!(kinds(&found), [(TransactionKind::OfflineRecords, TransactionState::Completed)]);
        let record = found.transactions[0].record.unwrap();
        assert_eq!((record.sam, record.term_seq, record.minor), (SAM_1, TermSeq(17), 300));
    }
    world.settle();
    let cleared = [(TransactionKind::Purchase, TransactionState::Cleared)];
    assert_eq!(kinds(&find(&mut world, by_trace)), cleared, "in a closed batch too");
    // Names of nothing.
    let nothing = [
        Search::Reference(RetrievalReference::from_bytes(*b"000000999999").unwrap()),
        Search::Trace(t1(), BatchNo(1), Stan(999)),
        Search::Trace(TerminalId::from_text("T9").unwrap(), BatchNo(1), Stan(1)),
        Search::Authorisation(protocol::iso8583::typed::AuthorisationCode::from_bytes(*b"999999").unwrap()),
        Search::Authorisation(protocol::iso8583::typed::AuthorisationCode::from_bytes(*b"ABCDEF").unwrap()),
        Search::Load(ISSUER, card.asn, OnlineCounter(9)),
        Search::Debit(ISSUER, card.asn, OfflineCounter(9)),
        Search::Record(SAM_2, TermSeq(17)),
        Search::Payer { token: PayerToken([0; 16]), from: Wall(0), to: Wall(i64::MAX) },
    ];
    for search in nothing {
        assert_eq!(find(&mut world, search), Found::default(), "{search:?}");
    }
}

pub(super) fn a_payers_transactions_of_a_span_of_time_are_found_in_order<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(10_000, 1);
    let mut times = Vec::new();
    for minor in 1..=9 {
        assert_eq!(world.send(HostBody::Purchase { payer: PAYER, amount: cny(minor) }).code, code("00"));
        // Between them is another payer's, which is declined.
        world.send(HostBody::Purchase { payer: OTHER_PAYER, amount: cny(1000) });
        times.push(Wall(world.ms));
    }
    let account = Book::Funding(FundingKind::Bank, FundingNumber(1)).id(CNY);
    // From after the second up to and with the fifth.
    let (from, to) = (times[1], times[4]);
    for search in [Search::Payer { token: PAYER, from, to }, Search::Account { account, from, to }] {
        let found = find(&mut world, search);
        let minors: Vec<u64> = found.transactions.iter().map(|it| it.amount.unwrap().minor()).collect();
        assert_eq!((minors, found.more), (vec![3, 4, 5], false));
    }
    let all = Search::Payer { token: PAYER, from: Wall(0), to: Wall(i64::MAX) };
    assert_eq!(find(&mut world, all).transactions.len(), 9);
    let some = find_some(&mut world, all, 4);
    assert_eq!((some.transactions.len(), some.more), (4, true));
    let late = Search::Payer { token: PAYER, from: Wall(i64::MAX - 1), to: Wall(i64::MAX) };
    assert_eq!(find(&mut world, late), Found::default());
    let other = Search::Payer { token: OTHER_PAYER, from: Wall(0), to: Wall(i64::MAX) };
    assert_eq!(kinds(&find(&mut world, other)), [(TransactionKind::Purchase, TransactionState::Declined); 9]);
}
