//! The outbox, folded from hand-made journals: what is due, in which order, and what takes it out.

use super::*;
use crate::record::{CardId, HostNumbers, Uncertainty};
use protocol::ids::{
    Asn, IssuerId, KeyIndex, KeyVersion, OfflineCounter, OnlineCounter, SamTerminal, TermSeq,
};
use protocol::iso8583::f58::{RecordAnswer, RecordAnswers};
use protocol::money::{CardAmount, Currency};
use protocol::purse::{CappDigest, CardRandom, File15Digest, Overdraft, PurseMac, Suite, TransactionType};
use std::vec;

const CARD: CardId = CardId { issuer: IssuerId([1; 8]), asn: Asn([2; 10]) };
const MOMENT: Moment = Moment::from_bytes([0x20, 0x26, 0x11, 0x22, 0x08, 0x00, 0x01]);

fn debit(term_seq: u32) -> JournalEntry {
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
        moment: MOMENT,
        digest: CappDigest::default(),
        file15: File15Digest::default(),
        factors: [CARD.asn.factor()].into_iter().collect(),
    })
}

fn load() -> LoadIntent {
    LoadIntent {
        card: CARD,
        currency: Currency::CNY,
        algorithm: Suite::Aes.algorithm(),
        key_index: KeyIndex(1),
        key_version: KeyVersion(1),
        random: CardRandom::from8([7; 8]),
        counter: OnlineCounter(4),
        balance_before: CardAmount(500),
        amount: CardAmount(10_000),
        terminal: SamTerminal([0x17; 6]),
        mac1: PurseMac::from8([0xA1; 8]),
        numbers: HostNumbers { batch: FIRST_BATCH, trace: Stan(9) },
        moment: MOMENT,
    }
}

const TAC: Tac = Tac::from8([0x7A; 8]);

fn answered() -> LoadState {
    LoadState::Answered {
        reference: RetrievalReference::from_bytes(*b"000000000042").unwrap(),
        moment: MOMENT,
    }
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

/// Applies entries under the numbers 1, 2, 3, …
fn fold(entries: &[JournalEntry]) -> Outbox {
    let mut outbox = Outbox::default();
    for (index, entry) in entries.iter().enumerate() {
        outbox.apply(RecordId(index as u64 + 1), entry);
    }
    outbox
}

fn state(state: LoadState) -> JournalEntry {
    JournalEntry::LoadState { load: RecordId(1), state }
}

fn resolved(intent: u64, resolution: Resolution) -> JournalEntry {
    JournalEntry::Resolved { intent: RecordId(intent), resolution }
}

#[test]
fn a_load_is_reversed_only_while_its_credit_was_certainly_not_carried_out() {
    let refused = LoadState::Refused { sw: protocol::apdu::StatusWord::MAC_WRONG };
    let cases: [(&[LoadState], Option<Due>); 8] = [
        (&[], Some(Due::Reversal(RecordId(1), load()))),
        (&[answered()], Some(Due::Reversal(RecordId(1), load()))),
        (&[answered(), LoadState::CreditSent], None),
        (&[answered(), LoadState::CreditSent, refused], Some(Due::Reversal(RecordId(1), load()))),
        (
            &[answered(), LoadState::CreditSent, LoadState::Credited { tac: TAC }],
            Some(Due::Confirmation(RecordId(1))),
        ),
        (&[answered(), LoadState::CreditSent, LoadState::Unknown], Some(Due::Confirmation(RecordId(1)))),
        (&[answered(), LoadState::Reversed], None),
        (&[LoadState::Declined { code: ResponseCode::FUNDS }], None),
    ];
    for (states, due) in cases {
        let mut entries = vec![JournalEntry::Load(load())];
        entries.extend(states.iter().map(|s| state(*s)));
        let outbox = fold(&entries);
        assert_eq!(outbox.next(None, false), due, "{states:?}");
        assert_eq!(outbox.next(Some(RecordId(1)), true), None, "a load in the making is its flow's");
    }
}

#[test]
fn reversals_go_first_then_confirmations_then_records() {
    let mut entries = vec![debit(1), resolved(1, Resolution::Done { tac: TAC }), JournalEntry::Load(load())];
    entries.push(JournalEntry::LoadState { load: RecordId(3), state: answered() });
    entries.push(JournalEntry::LoadState { load: RecordId(3), state: LoadState::CreditSent });
    entries.push(JournalEntry::LoadState { load: RecordId(3), state: LoadState::Credited { tac: TAC } });
    entries.push(JournalEntry::Load(load()));
    let mut outbox = fold(&entries);
    let waiting = outbox.waiting();
    assert_eq!((waiting.reversals, waiting.confirmations, waiting.records, waiting.open), (1, 1, 1, 0));
    let due = outbox.next(None, false).unwrap();
    assert_eq!(due, Due::Reversal(RecordId(7), load()));
    assert_eq!(outbox.ask(&due), Some(Ask::Reversal { intent: load(), repeat: false }));
    assert_eq!(
        outbox.ask(&due),
        Some(Ask::Reversal { intent: load(), repeat: true }),
        "the second time as 0401"
    );
    outbox.apply(RecordId(8), &JournalEntry::LoadState { load: RecordId(7), state: LoadState::Reversed });
    let due = outbox.next(None, false).unwrap();
    assert!(matches!(outbox.ask(&due), Some(Ask::Confirm { tac: Some(tac), .. }) if tac == TAC));
    outbox.apply(
        RecordId(9),
        &JournalEntry::LoadState {
            load: RecordId(3),
            state: LoadState::Confirmed { code: ResponseCode::APPROVED },
        },
    );
    assert_eq!(outbox.next(None, false), Some(Due::Records(vec![RecordId(1)])));
}

#[test]
fn only_the_right_answers_take_something_out_and_the_rest_is_told_to_a_person() {
    let outbox = fold(&[JournalEntry::Load(load())]);
    let due = outbox.next(None, false).unwrap();
    for code in [ResponseCode::APPROVED, ResponseCode::NOT_FOUND] {
        assert_eq!(outbox.answered(&due, &reply(code)).entries, [state(LoadState::Reversed)]);
    }
    for code in [ResponseCode::ISSUER_OUT, ResponseCode::SYSTEM, ResponseCode::MAC, ResponseCode::SIGN_IN] {
        assert_eq!(outbox.answered(&due, &reply(code)), Verdict::default());
    }
    let verdict = outbox.answered(&due, &reply(ResponseCode::AMOUNT_MISMATCH));
    assert_eq!(verdict, Verdict { entries: vec![], attention: Some(ResponseCode::AMOUNT_MISMATCH) });
}

#[test]
fn records_go_twelve_at_a_time_and_leave_by_their_own_answers() {
    let mut entries = vec![];
    for n in 0..15 {
        entries.push(debit(n));
        entries.push(resolved(u64::from(n) * 2 + 1, Resolution::Done { tac: TAC }));
    }
    let mut outbox = fold(&entries);
    let due = outbox.next(None, false).unwrap();
    let Due::Records(ids) = &due else { panic!() };
    assert_eq!(ids.len(), MAX_RECORDS);
    // The host answers for two of them only.
    let answers = [(0, ResponseCode::APPROVED), (2, RecordAnswer::TAC_WRONG)]
        .map(|(n, code)| RecordAnswer { term_seq: TermSeq(n), code });
    let records = Some(RecordAnswers { answers: answers.into_iter().collect() });
    let verdict = outbox.answered(&due, &HostReply { records, ..reply(ResponseCode::APPROVED) });
    assert_eq!(verdict.entries.len(), 2);
    for (n, entry) in verdict.entries.iter().enumerate() {
        outbox.apply(RecordId(100 + n as u64), entry);
    }
    assert_eq!(outbox.waiting().records, 13);
    let totals = outbox.totals();
    assert_eq!(
        (totals.domestic.debit.minor, totals.domestic.debit.count),
        (250, 1),
        "a wrong TAC is not counted"
    );
}

#[test]
fn an_open_debit_is_uploaded_only_when_asked_for_and_again_once_it_is_resolved() {
    let mut outbox = fold(&[debit(1)]);
    assert_eq!(outbox.next(None, false), None);
    let due = outbox.next(None, true).unwrap();
    let Some(Ask::Records(records)) = outbox.ask(&due) else { panic!() };
    assert_eq!((records[0].state, records[0].tac.is_zero()), (RecordState::Uncertain, true));
    let code = RecordAnswer::HELD;
    outbox.apply(RecordId(2), &JournalEntry::Uploaded { intent: RecordId(1), code, batch: FIRST_BATCH });
    assert_eq!(outbox.next(None, true), None);
    outbox.apply(RecordId(3), &resolved(1, Resolution::Done { tac: TAC }));
    assert_eq!(outbox.next(None, false), Some(Due::Records(vec![RecordId(1)])));
    let code = ResponseCode::APPROVED;
    outbox.apply(RecordId(4), &JournalEntry::Uploaded { intent: RecordId(1), code, batch: FIRST_BATCH });
    assert_eq!(outbox.totals().domestic.debit.count, 1);
    assert!(outbox.waiting().is_clear());
}

#[test]
fn each_resolution_becomes_its_record_state() {
    let cases = [
        (Resolution::Void, RecordState::Void, false),
        (Resolution::Done { tac: TAC }, RecordState::Done, true),
        (Resolution::RecoveredUnverified { tac: TAC }, RecordState::RecoveredUnverified, true),
        (Resolution::Uncertain { tac: None, why: Uncertainty::NoProof }, RecordState::Uncertain, false),
        (Resolution::Uncertain { tac: Some(TAC), why: Uncertainty::SamLost }, RecordState::Uncertain, true),
    ];
    for (resolution, expected, with_tac) in cases {
        let mut outbox = fold(&[debit(1), resolved(1, resolution)]);
        let due = outbox.next(None, false).unwrap();
        let Some(Ask::Records(records)) = outbox.ask(&due) else { panic!() };
        assert_eq!((records[0].state, !records[0].tac.is_zero()), (expected, with_tac));
        assert_eq!(records[0].balance_after, CardAmount(750));
    }
}

#[test]
fn a_new_batch_starts_its_totals_at_zero_and_traces_go_on() {
    let mut entries = vec![
        JournalEntry::Traces(Stan(100)),
        JournalEntry::Load(load()),
        JournalEntry::LoadState { load: RecordId(2), state: answered() },
    ];
    let outbox = fold(&entries);
    assert_eq!(outbox.totals().loads.unwrap().debit.minor, 10_000);
    assert_eq!(outbox.next_traces(), (Stan(100), Stan(200)));
    entries.push(JournalEntry::Batch(BatchNo(2)));
    let outbox = fold(&entries);
    assert_eq!((outbox.batch(), outbox.totals().loads.unwrap().debit.minor), (BatchNo(2), 0));
    assert_eq!(outbox.next_traces(), (Stan(100), Stan(200)));
    entries.push(JournalEntry::Traces(Stan(999_950)));
    assert_eq!(fold(&entries).next_traces(), (Stan(0), Stan(100)));
}

#[test]
fn a_confirmation_whose_number_was_another_messages_is_not_taken_for_answered() {
    let states = [answered(), LoadState::CreditSent, LoadState::Credited { tac: TAC }];
    let mut entries = vec![JournalEntry::Load(load())];
    entries.extend(states.map(|state| JournalEntry::LoadState { load: RecordId(1), state }));
    let outbox = fold(&entries);
    let due = outbox.next(None, false).unwrap();
    assert_eq!(due, Due::Confirmation(RecordId(1)));
    let verdict = outbox.answered(&due, &HostReply { reference: None, ..reply(ResponseCode::DUPLICATE) });
    assert_eq!(verdict, Verdict { entries: vec![], attention: Some(ResponseCode::DUPLICATE) });
    let reference = RetrievalReference::from_bytes(*b"000000000042");
    let decided = outbox.answered(&due, &HostReply { reference, ..reply(ResponseCode::DUPLICATE) });
    assert_eq!(decided.entries.len(), 1, "what the host decided about the load itself is its end");
}
