//! Field 58: offline records round trip, and hostile ones are refused.

use super::*;
use crate::hex::Hex;
use crate::time::{CardDate, CardTime};
use proptest::prelude::*;
use std::string::ToString;
use std::vec::Vec;

fn moment() -> Moment {
    Moment { date: CardDate::new(2026, 11, 22).unwrap(), time: CardTime::new(18, 30, 5).unwrap() }
}

fn record(suite: Suite) -> TransactionRecord {
    TransactionRecord {
        state: RecordState::Done,
        issuer: IssuerId([0x11; 8]),
        asn: Asn([0x62; 10]),
        algorithm: suite.algorithm(),
        key_version: KeyVersion(1),
        counter: CardCounter::Offline(OfflineCounter(0x0102)),
        balance_after: CardAmount::from_bytes([0, 0, 0x27, 0x10]),
        overdraft: Overdraft::ZERO,
        amount: CardAmount::from_bytes([0, 0, 0, 0xC8]),
        kind: TransactionType::CappPurchase,
        terminal: SamTerminal([0x33; 6]),
        term_seq: TermSeq(0x0A0B_0C0D),
        moment: moment(),
        digest: if suite == Suite::Aes { CappDigest([0xDD; 16]) } else { CappDigest([0; 16]) },
        tac: if suite == Suite::Aes { Tac::from8([0xEE; 8]) } else { Tac::from4([0xEE; 4]) },
    }
}

#[test]
fn a_transaction_record_has_the_layout_of_the_page() {
    let mut out = [0; 100];
    let length = record(Suite::Des).encode(&mut out).unwrap();
    assert_eq!(
        Hex(&out[..length]).to_string(),
        "5441 01 1111111111111111 62626262626262626262 00 01 0102 00002710 000000 000000C8 09 333333333333 \
         0A0B0C0D 20261122 183005 EEEEEEEE"
            .replace(' ', "")
    );
    assert_eq!(record(Suite::Aes).encode(&mut out), Ok(78));
    assert_eq!(length, 58);
}

#[test]
fn a_load_and_its_answer_read_back() {
    let mut out = [0; 100];
    for suite in [Suite::Des, Suite::Aes] {
        let bytes = [7; 8];
        let request = LoadRequest {
            issuer: IssuerId([1; 8]),
            asn: Asn([2; 10]),
            algorithm: suite.algorithm(),
            random: CardRandom::from_bytes(suite, &bytes[..suite.mac_len()]).unwrap(),
            key_index: KeyIndex(1),
            key_version: KeyVersion(2),
            counter: OnlineCounter(3),
            balance: CardAmount::from_bytes([0; 4]),
            amount: CardAmount::from_bytes([0, 0, 1, 0]),
            kind: TransactionType::Load,
            terminal: SamTerminal([4; 6]),
            mac1: PurseMac::from_bytes(suite, &bytes[..suite.mac_len()]).unwrap(),
        };
        let length = request.encode(&mut out).unwrap();
        assert_eq!(length, 2 + 8 + 10 + 1 + 2 + 2 + 4 + 4 + 1 + 6 + 2 * suite.mac_len());
        assert_eq!(LoadRequest::parse(&out[..length]), Ok(request));
        // A load request cannot be for a purchase.
        let kind_at = length - suite.mac_len() - 7;
        out[kind_at] = 6;
        assert_eq!(LoadRequest::parse(&out[..length]), Err(F58Error::Type(6)));

        let answer = LoadAnswer { algorithm: suite.algorithm(), moment: moment(), mac2: request.mac1 };
        let length = answer.encode(&mut out).unwrap();
        assert_eq!(LoadAnswer::parse(&out[..length]), Ok(answer));
        assert_eq!(LoadRequest::parse(&out[..length]), Err(F58Error::Tag(0)));
    }
}

#[test]
fn twelve_records_fit_and_a_thirteenth_is_refused_on_both_sides() {
    let mut list = RecordList::default();
    for seq in 0..12 {
        let suite = if seq % 2 == 0 { Suite::Aes } else { Suite::Des };
        list.push(&TransactionRecord { term_seq: TermSeq(seq), ..record(suite) }).unwrap();
    }
    assert_eq!(list.push(&record(Suite::Des)), Err(F58Error::TooMany));
    let sequence: Vec<_> = list.field().records().map(|r| r.unwrap().term_seq.0).collect();
    assert_eq!(sequence, (0..12).collect::<Vec<_>>());

    let mut one = [0; 58];
    record(Suite::Des).encode(&mut one).unwrap();
    let thirteen = one.repeat(13);
    let mut records = Records::new(&thirteen);
    assert_eq!(records.by_ref().take(12).filter(Result::is_ok).count(), 12);
    assert_eq!(records.next(), Some(Err(F58Error::TooMany)));
    assert_eq!(records.next(), None);
}

#[test]
fn answers_to_records_read_back() {
    let mut answers = RecordAnswers::default();
    for (seq, code) in [(1, ResponseCode::APPROVED), (2, RecordAnswer::TAC_WRONG), (3, RecordAnswer::HELD)] {
        answers.answers.push(RecordAnswer { term_seq: TermSeq(seq), code }).unwrap();
    }
    let mut out = [0; 80];
    let length = answers.encode(&mut out).unwrap();
    assert_eq!(length, 20);
    assert_eq!(out[..8], *b"RS\0\0\0\x0100");
    assert_eq!(RecordAnswers::parse(&out[..length]), Ok(answers));
    assert!(matches!(RecordAnswers::parse(&out[..19]), Err(F58Error::Layout(_))));
}

#[test]
fn a_load_record_counts_online() {
    let mut out = [0; 100];
    let load = TransactionRecord {
        kind: TransactionType::Load,
        counter: CardCounter::Online(OnlineCounter(9)),
        ..record(Suite::Aes)
    };
    let length = load.encode(&mut out).unwrap();
    assert_eq!(TransactionRecord::parse(&out[..length]), Ok(load));
}

#[test]
fn records_that_mean_nothing_are_refused() {
    let mut out = [0; 100];
    let length = record(Suite::Aes).encode(&mut out).unwrap();
    let refused = |at: usize, byte: u8| {
        let mut bytes = out;
        bytes[at] = byte;
        TransactionRecord::parse(&bytes[..length]).unwrap_err().to_string()
    };
    assert_eq!(refused(2, 4), "record: record state 4 is not known".replace("record: ", ""));
    assert_eq!(refused(21, 4), "record: algorithm 04 is not a known suite");
    assert_eq!(refused(36, 8), "record: transaction type 08 is not known");
    assert_eq!(refused(1, b'B'), "record at byte 0 is not of the expected kind");
    assert!(matches!(
        TransactionRecord::parse(&out[..=length]),
        Err(F58Error::Layout(BytesError::Trailing(1)))
    ));
    let mixed = TransactionRecord { tac: Tac::from4([0; 4]), ..record(Suite::Aes) };
    assert!(matches!(mixed.encode(&mut out), Err(F58Error::Purse(_))));
}

proptest! {
    #[test]
    fn no_bytes_make_a_record_reader_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0usize..4) {
        for (slot, letter) in bytes.iter_mut().zip([*b"RQ", *b"RP", *b"TA", *b"RS"][kind]) {
            *slot = letter;
        }
        let mut out = [0; 200];
        if let Ok(record) = TransactionRecord::parse(&bytes) {
            let length = record.encode(&mut out).unwrap();
            prop_assert_eq!(&out[..length], &bytes[..]);
        }
        if let Ok(answers) = RecordAnswers::parse(&bytes) {
            let length = answers.encode(&mut out).unwrap();
            prop_assert_eq!(&out[..length], &bytes[..]);
        }
        let _ = LoadRequest::parse(&bytes);
        let _ = LoadAnswer::parse(&bytes);
        prop_assert!(Records::new(&bytes).count() <= MAX_RECORDS + 1);
    }
}
