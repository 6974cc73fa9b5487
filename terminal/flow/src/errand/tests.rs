//! The errands by themselves: what they ask, what they store, and what an answer that comes too late for its record means.

use super::*;
use crate::host::Differences;
use crate::outbox::{BATCH_ITEMS_MAX, FIRST_BATCH};
use crate::record::{CardId, DebitIntent, RecordId, Resolution, Uncertainty};
use protocol::ids::{Asn, IssuerId, KeyVersion, OfflineCounter, SamTerminal, TermSeq};
use protocol::iso8583::f58::{
    BatchDifference, ITEMS_MAX, ItemName, ItemSide, RecordAnswer, RecordAnswers, RecordState,
};
use protocol::iso8583::typed::ResponseCode;
use protocol::money::{CardAmount, Currency};
use protocol::purse::{CappDigest, CardRandom, File15Digest, Moment, Overdraft, Suite, Tac, TransactionType};
use std::vec;

const CARD: CardId = CardId { issuer: IssuerId([1; 8]), asn: Asn([2; 10]) };

fn debit() -> JournalEntry {
    numbered(5)
}

/// With this number of the SAM.
fn numbered(term_seq: u32) -> JournalEntry {
    JournalEntry::Intent(DebitIntent {
        card: CARD,
        currency: Currency::CNY,
        algorithm: Suite::Aes.algorithm(),
        key_version: KeyVersion(1),
        random: CardRandom::from8([7; 8]),
        counter: OfflineCounter(3),
        balance_before: CardAmount(1000),
        overdraft: Overdraft::ZERO,
        amount: CardAmount(250),
        kind: TransactionType::Purchase,
        terminal: SamTerminal([0x17; 6]),
        term_seq: TermSeq(term_seq),
        moment: Moment::from_bytes([0x20, 0x26, 0x11, 0x22, 0x08, 0x00, 0x01]),
        digest: CappDigest::default(),
        file15: File15Digest::default(),
        factors: [CARD.asn.factor()].into_iter().collect(),
    })
}

fn reply(code: ResponseCode) -> HostReply {
    HostReply {
        code,
        reference: None,
        consent: None,
        records: None,
        totals: None,
        differences: None,
        batch: FIRST_BATCH,
        time: None,
        newest: None,
    }
}

fn held() -> HostReply {
    let answer = RecordAnswer { term_seq: TermSeq(5), code: RecordAnswer::HELD };
    let records = Some(RecordAnswers { answers: [answer].into_iter().collect() });
    HostReply { records, ..reply(ResponseCode::APPROVED) }
}

/// Applies entries under the numbers that follow.
fn take(outbox: &mut Outbox, next: &mut u64, entries: &[JournalEntry]) {
    for entry in entries {
        *next += 1;
        outbox.apply(RecordId(*next), entry);
    }
}

#[test]
fn a_record_that_became_known_while_it_was_on_its_way_is_sent_again_as_it_is_now() {
    let (mut outbox, mut next) = (Outbox::default(), 0);
    take(&mut outbox, &mut next, &[debit()]);
    let mut drain = Drain::new(Scope::WithOpen);
    let Step::Ask(Ask::Records(sent)) = drain.handle(Event::Start, &mut outbox) else {
        panic!("nothing due")
    };
    assert_eq!(sent[0].state, RecordState::Uncertain);
    // The card comes back and proves the debit while the host still thinks.
    let tac = Tac::from8([9; 8]);
    let done = JournalEntry::Resolved { intent: RecordId(1), resolution: Resolution::Done { tac } };
    take(&mut outbox, &mut next, &[done]);
    let step = drain.handle(Event::Answered(held()), &mut outbox);
    assert!(!matches!(&step, Step::Store(_)), "the answer spoke of the uncertain record: {step:?}");
    let mut drain = Drain::new(Scope::All);
    let Step::Ask(Ask::Records(sent)) = drain.handle(Event::Start, &mut outbox) else {
        panic!("the proof of the debit was lost")
    };
    assert_eq!((sent[0].state, sent[0].tac), (RecordState::Done, tac));
}

#[test]
fn an_answered_record_leaves_once_its_answer_is_durable() {
    let (mut outbox, mut next) = (Outbox::default(), 0);
    let why = Uncertainty::NoProof;
    let unknown = Resolution::Uncertain { tac: None, why };
    take(
        &mut outbox,
        &mut next,
        &[debit(), JournalEntry::Resolved { intent: RecordId(1), resolution: unknown }],
    );
    let mut drain = Drain::new(Scope::All);
    assert!(matches!(drain.handle(Event::Start, &mut outbox), Step::Ask(Ask::Records(_))));
    let Step::Store(entries) = drain.handle(Event::Answered(held()), &mut outbox) else { panic!("no entry") };
    assert_eq!(outbox.waiting().records, 1, "not before it is durable");
    take(&mut outbox, &mut next, &entries);
    assert_eq!(drain.handle(Event::Stored, &mut outbox), Step::Done);
    assert_eq!(outbox.waiting().records, 0);
    let drained = drain.into_drained();
    assert!(drained.items[0].settled && drained.items[0].attention && drained.stopped.is_none());
}

#[test]
fn a_message_is_tried_three_times_and_then_waits() {
    let (mut outbox, mut next) = (Outbox::default(), 0);
    let void = JournalEntry::Resolved { intent: RecordId(1), resolution: Resolution::Void };
    take(&mut outbox, &mut next, &[debit(), void]);
    let mut drain = Drain::new(Scope::All);
    let mut step = drain.handle(Event::Start, &mut outbox);
    for _ in 0..3 {
        assert!(matches!(step, Step::Ask(_)), "{step:?}");
        step = drain.handle(Event::Unanswered(NoReply::Timeout), &mut outbox);
    }
    assert_eq!((step, drain.drained().stopped), (Step::Done, Some(NoReply::Timeout)));
}

#[test]
fn a_settlement_whose_answer_is_lost_is_found_closed_at_the_next_sign_in_and_not_asked_twice() {
    let mut outbox = Outbox::default();
    let mut settle = Settle::new();
    assert_eq!(settle.handle(Event::Start, &mut outbox), Step::Ask(Ask::SignIn));
    let step = settle.handle(Event::Answered(reply(ResponseCode::APPROVED)), &mut outbox);
    assert!(matches!(step, Step::Ask(Ask::Settle(_))), "{step:?}");
    assert_eq!(settle.handle(Event::Unanswered(NoReply::Timeout), &mut outbox), Step::Ask(Ask::SignIn));
    // The sign-in's answer names the next batch, which the line has stored.
    outbox.apply(RecordId(1), &JournalEntry::Batch(BatchNo(2)));
    assert_eq!(settle.handle(Event::Answered(reply(ResponseCode::APPROVED)), &mut outbox), Step::Done);
    let settled = settle.into_settled().1.unwrap();
    assert_eq!((settled.closing, settled.next), (Closing::AnswerLost, Some(BatchNo(2))));
}

/// Up to the totals that the host counted otherwise.
fn differing(outbox: &mut Outbox) -> Settle {
    let mut settle = Settle::new();
    settle.handle(Event::Start, outbox);
    settle.handle(Event::Answered(reply(ResponseCode::APPROVED)), outbox);
    let step = settle.handle(Event::Answered(reply(ResponseCode::RECONCILE)), outbox);
    assert_eq!(step, Step::Counted(FIRST_BATCH));
    settle
}

fn item(number: u32) -> BatchItem {
    let name = ItemName::Record(SamTerminal([0x17; 6]), TermSeq(number));
    BatchItem { side: ItemSide::Debit, name, minor: 250 }
}

#[test]
fn a_batch_that_differs_is_sent_item_by_item_and_each_difference_is_told() {
    let mut outbox = Outbox::default();
    let mut settle = differing(&mut outbox);
    let approved = || Event::Answered(reply(ResponseCode::APPROVED));
    let all: Vec<BatchItem> = (1..=60).map(item).collect();
    let (first, rest) = all.split_at(ITEMS_MAX);
    assert_eq!(
        settle.handle(Event::Counted(all.clone()), &mut outbox),
        Step::Ask(Ask::Items(first.to_vec()))
    );
    assert_eq!(settle.handle(approved(), &mut outbox), Step::Ask(Ask::Items(rest.to_vec())));
    assert_eq!(settle.handle(approved(), &mut outbox), Step::Ask(Ask::UploadEnd));
    let BatchItem { side, name, minor } = item(3);
    let difference = BatchDifference { side, name, terminal: Some(minor), host: None };
    let told = Differences { total: 1, listed: vec![difference] };
    let end = HostReply { differences: Some(told.clone()), ..reply(ResponseCode::APPROVED) };
    assert_eq!(settle.handle(Event::Answered(end), &mut outbox), Step::Ask(Ask::SignIn));
    assert_eq!(settle.handle(Event::Unanswered(NoReply::Unreachable), &mut outbox), Step::Done);
    let settled = settle.into_settled().1.unwrap();
    assert_eq!((settled.closing, settled.next), (Closing::Differing, None));
    assert_eq!(settled.differences, Some(told));
}

#[test]
fn an_upload_whose_end_is_not_answered_is_ended_again_only_while_the_batch_is_open() {
    let mut outbox = Outbox::default();
    let mut settle = differing(&mut outbox);
    let approved = || Event::Answered(reply(ResponseCode::APPROVED));
    assert_eq!(settle.handle(Event::Counted(vec![]), &mut outbox), Step::Ask(Ask::UploadEnd));
    assert_eq!(settle.handle(Event::Unanswered(NoReply::Broken), &mut outbox), Step::Ask(Ask::SignIn));
    assert_eq!(settle.handle(approved(), &mut outbox), Step::Ask(Ask::UploadEnd), "still open: it was lost");
    assert_eq!(settle.handle(Event::Unanswered(NoReply::Timeout), &mut outbox), Step::Ask(Ask::SignIn));
    outbox.apply(RecordId(1), &JournalEntry::Batch(BatchNo(2)));
    assert_eq!(settle.handle(approved(), &mut outbox), Step::Done, "closed: only the answer was lost");
    let settled = settle.into_settled().1.unwrap();
    assert_eq!(
        (settled.closing, settled.next, settled.differences),
        (Closing::Differing, Some(BatchNo(2)), None)
    );
}

#[test]
fn an_item_that_the_host_refuses_leaves_the_batch_open() {
    let mut outbox = Outbox::default();
    let mut settle = differing(&mut outbox);
    settle.handle(Event::Counted(vec![item(1)]), &mut outbox);
    settle.handle(Event::Answered(reply(ResponseCode::SYSTEM)), &mut outbox);
    assert_eq!(settle.into_settled().1, Err(Refusal::Refused(ResponseCode::SYSTEM)));
}

/// Everything that is asked is approved.
fn approve(errand: &mut dyn Errand, outbox: &mut Outbox, next: &mut u64) -> Vec<Ask> {
    let mut asked = Vec::new();
    let mut step = errand.handle(Event::Start, outbox);
    loop {
        step = match step {
            Step::Ask(ask) => {
                let answers = match &ask {
                    Ask::Records(records) => Some(RecordAnswers {
                        answers: records
                            .iter()
                            .map(|record| RecordAnswer {
                                term_seq: record.term_seq,
                                code: ResponseCode::APPROVED,
                            })
                            .collect(),
                    }),
                    _ => None,
                };
                let batch = outbox.batch();
                if matches!(ask, Ask::Settle(_)) {
                    // What the line stores at the next sign-in.
                    take(outbox, next, &[JournalEntry::Batch(BatchNo(batch.0 + 1))]);
                }
                asked.push(ask);
                let reply = HostReply { records: answers, batch, ..reply(ResponseCode::APPROVED) };
                errand.handle(Event::Answered(reply), outbox)
            }
            Step::Store(entries) => {
                take(outbox, next, &entries);
                errand.handle(Event::Stored, outbox)
            }
            Step::Counted(_) => panic!("both count the same"),
            Step::Done => return asked,
        };
    }
}

#[test]
fn the_thousandth_payment_waits_for_the_next_batch_and_no_settlement_waits_for_it() {
    let (mut outbox, mut next) = (Outbox::default(), 0);
    let tac = Tac::from8([9; 8]);
    for number in 1..=u32::from(BATCH_ITEMS_MAX) + 1 {
        take(&mut outbox, &mut next, &[numbered(number)]);
        let resolution = Resolution::Done { tac };
        let intent = RecordId(next);
        take(&mut outbox, &mut next, &[JournalEntry::Resolved { intent, resolution }]);
    }
    approve(&mut Drain::new(Scope::All), &mut outbox, &mut next);
    assert_eq!(outbox.totals().domestic.debit.count, BATCH_ITEMS_MAX);
    assert_eq!((outbox.waiting().records, outbox.is_full_of_payments()), (1, true));

    let mut settle = Settle::new();
    let asked = approve(&mut settle, &mut outbox, &mut next);
    assert!(
        matches!(asked[..], [Ask::SignIn, Ask::Settle(totals), Ask::SignIn]
        if totals.domestic.debit.count == BATCH_ITEMS_MAX),
        "{asked:?}"
    );
    assert_eq!(settle.into_settled().1.unwrap().closing, Closing::Balanced);
    assert_eq!((outbox.waiting().records, outbox.is_full_of_payments()), (1, false));

    let mut settle = Settle::new();
    let asked = approve(&mut settle, &mut outbox, &mut next);
    assert!(matches!(&asked[1], Ask::Records(records) if records.len() == 1), "{asked:?}");
    assert!(matches!(asked[2], Ask::Settle(totals) if totals.domestic.debit.count == 1), "{asked:?}");
    assert!(outbox.waiting().is_clear());
}

#[test]
fn payments_that_are_turned_away_until_the_batch_is_reconciled_do_not_hold_up_its_settlement() {
    let (mut outbox, mut next) = (Outbox::default(), 0);
    let resolution = Resolution::Done { tac: Tac::from8([9; 8]) };
    take(&mut outbox, &mut next, &[debit(), JournalEntry::Resolved { intent: RecordId(1), resolution }]);
    for (code, goes_on) in [(ResponseCode::RECONCILE, true), (ResponseCode::SYSTEM, false)] {
        let mut settle = Settle::new();
        settle.handle(Event::Start, &mut outbox);
        settle.handle(Event::Answered(reply(ResponseCode::APPROVED)), &mut outbox);
        let step = settle.handle(Event::Answered(reply(code)), &mut outbox);
        assert_eq!(matches!(step, Step::Ask(Ask::Settle(_))), goes_on, "{code}: {step:?}");
        assert_eq!(outbox.waiting().records, 1, "it stays due");
    }
}
