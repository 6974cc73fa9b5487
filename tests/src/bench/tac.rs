//! B8: offline records verified per second on one core: parsed from field 58, keys two levels above the card, verified by the
//! software key module, twelve records a message as they arrive.

use super::{Row, Sampling, Unit, rate};
use backend::cards::tac_terms;
use keys::{CardKeyRef, KeyModule, SoftKeys, TacCheck, TacVerdict};
use protocol::ids::{Asn, Factor, IssuerId, KeyVersion, OfflineCounter, SamTerminal, TermSeq};
use protocol::iso8583::f58::{CardCounter, MAX_RECORDS, RecordState, Records, TransactionRecord};
use protocol::money::CardAmount;
use protocol::purse::keys::KeyUse;
use protocol::purse::{CappDigest, Moment, Overdraft, Suite, Tac, TransactionType};
use std::hint::black_box;

const ISSUER: IssuerId = IssuerId([0x62, 0x17, 0, 0, 0, 0, 0, 1]);
const UPPER: [Factor; 1] = [Factor([0x31; 8])];
/// Messages in turn, so that no card's keys stay in a cache by accident.
const MESSAGES: u32 = 512;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let work = "offline record parsed from field 58 and its TAC verified, one core";
    Ok(vec![
        Row::new("B8", work, verified_per_second(Suite::Aes)?, Unit::PerSecond),
        Row::new("B8/suite00", work, verified_per_second(Suite::Des)?, Unit::PerSecond),
    ])
}

fn key(asn: Asn, suite: Suite) -> CardKeyRef<'static> {
    CardKeyRef {
        issuer: ISSUER,
        version: KeyVersion(1),
        algorithm: suite.algorithm(),
        card: asn.factor(),
        upper: &UPPER,
    }
}

fn record(keys: &SoftKeys, suite: Suite, number: u32) -> anyhow::Result<TransactionRecord> {
    let mut serial = [0; 10];
    serial[6..].copy_from_slice(&number.to_be_bytes());
    let unsigned = TransactionRecord {
        state: RecordState::Done,
        issuer: ISSUER,
        asn: Asn(serial),
        algorithm: suite.algorithm(),
        key_version: KeyVersion(1),
        counter: CardCounter::Offline(OfflineCounter(7)),
        balance_after: CardAmount(9_800),
        overdraft: Overdraft::ZERO,
        amount: CardAmount(200),
        kind: TransactionType::Purchase,
        terminal: SamTerminal([1; 6]),
        term_seq: TermSeq(number),
        moment: Moment::from_bytes([0x20, 0x26, 0x11, 0x22, 0x18, 0x30, 0x05]),
        digest: CappDigest::default(),
        tac: Tac::zero(suite),
    };
    let card = keys.card_key(&key(unsigned.asn, suite), KeyUse::Tac)?;
    Ok(TransactionRecord { tac: card.tac_key().tac(&tac_terms(&unsigned)), ..unsigned })
}

fn verified_per_second(suite: Suite) -> anyhow::Result<f64> {
    let keys = SoftKeys::in_memory(Box::new(|out| {
        out.fill(0x5A);
        Ok(())
    }))?;
    keys.generate_issuer(ISSUER, KeyVersion(1), suite)?;
    let twelve = u32::try_from(MAX_RECORDS)?;
    let mut messages = Vec::new();
    for message in 0..MESSAGES {
        let mut field = Vec::new();
        for number in 0..twelve {
            let mut bytes = [0; 96];
            let length = record(&keys, suite, message * twelve + number)?.encode(&mut bytes)?;
            field.extend_from_slice(&bytes[..length]);
        }
        messages.push(field);
    }
    let mut turn = messages.iter().cycle();
    let sampling = Sampling { batch: 64, ..Sampling::default() };
    let per_second = rate(sampling, || {
        let Some(field) = turn.next() else { return };
        let records: Vec<TransactionRecord> = Records::new(black_box(field)).filter_map(Result::ok).collect();
        let terms: Vec<_> = records.iter().map(tac_terms).collect();
        let checks: Vec<_> = records
            .iter()
            .zip(&terms)
            .map(|(record, terms)| TacCheck { key: key(record.asn, suite), terms, tac: &record.tac })
            .collect();
        let verdicts = keys.verify_tacs(&checks);
        assert!(verdicts.len() == MAX_RECORDS && verdicts.iter().all(|v| *v == TacVerdict::Valid));
    });
    Ok(per_second * f64::from(twelve))
}
