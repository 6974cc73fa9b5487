//! The purse's MACs, keys and APDUs against `tests/vectors/purse_pboc_3des.json` (published values), `purse_aes.json`
//! (computed from the design by an independent program) and `aes_cmac.json` (RFC 4493, NIST SP 800-38B).
#![cfg(test)]

use protocol::apdu::Command;
use protocol::crypto::{aes128_cmac, aes192_cmac, aes256_cmac, des_encrypt, left4};
use protocol::hex::{Hex, decode};
use protocol::ids::{Asn, Factor, KeyIndex, KeyVersion, OfflineCounter, OnlineCounter, SamTerminal, TermSeq};
use protocol::money::CardAmount;
use protocol::purse::answer::{DebitAnswer, InitForLoadAnswer, InitForPurchaseAnswer, ProveAnswer};
use protocol::purse::command::{CreditForLoad, DebitForPurchase, GetProve, Initialize};
use protocol::purse::file::PublicData;
use protocol::purse::keys::{PurseKey, SessionKey};
use protocol::purse::mac::{CappDigester, HostTerms, PurchaseTerms, TacTerms};
use protocol::purse::{
    Algorithm, CappDigest, CardRandom, File15Digest, Moment, Overdraft, PurseMac, Suite, Tac, TransactionType,
};
use protocol::sam::{
    BalanceProof, CardKeyReference, CreditSam, Factors, InitSam, InitSamAnswer, VerifyProved,
};
use protocol::secret::Secret;
use serde_json::Value;

fn load(name: &str) -> Vec<Value> {
    let path = format!("{}/../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let records = file["records"].as_array().unwrap().clone();
    assert!(!records.is_empty(), "{name} holds no records");
    records
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is no text in {value}"))
}

fn bytes(value: &Value, key: &str) -> Vec<u8> {
    let hex = text(value, key);
    let mut out = vec![0; hex.len() / 2];
    protocol::hex::decode_into(hex, &mut out).unwrap();
    out
}

fn array<const N: usize>(value: &Value, key: &str) -> [u8; N] {
    decode(text(value, key)).unwrap_or_else(|e| panic!("{key}: {e}"))
}

fn number(value: &Value, key: &str) -> u32 {
    u32::try_from(value[key].as_u64().unwrap()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    Hex(bytes).to_string()
}

fn moment(record: &Value) -> Moment {
    let [a, b, c, d] = array::<4>(record, "date");
    let [h, m, s] = array::<3>(record, "time");
    Moment::from_bytes([a, b, c, d, h, m, s])
}

fn factors(record: &Value) -> Factors {
    let list = record["factors"].as_array().unwrap();
    list.iter().map(|f| Factor(decode(f.as_str().unwrap()).unwrap())).collect()
}

fn session_bytes(key: &SessionKey) -> String {
    match key {
        SessionKey::Des(key) => hex(key.expose()),
        SessionKey::Aes(key) => hex(key.expose()),
    }
}

fn apdu(encode: impl FnOnce(&mut [u8]) -> Result<usize, protocol::purse::PurseError>) -> String {
    let mut out = [0; 300];
    let n = encode(&mut out).unwrap();
    hex(&out[..n])
}

#[test]
fn aes_cmac_gives_the_published_macs_for_every_key_length() {
    for record in load("aes_cmac.json") {
        let (key, message) = (bytes(&record, "key"), bytes(&record, "message"));
        let (front, back) = message.split_at(message.len() / 3);
        let mac = match key.len() {
            16 => aes128_cmac(&key.try_into().unwrap(), &[front, back]),
            24 => aes192_cmac(&key.try_into().unwrap(), &[front, back]),
            32 => aes256_cmac(&key.try_into().unwrap(), &[front, back]),
            other => panic!("key of {other} bytes"),
        };
        assert_eq!(hex(&mac), text(&record["expected"], "mac"), "{}", record["id"]);
    }
}

#[test]
fn suite_00_gives_the_published_keys_macs_and_tacs() {
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for record in load("purse_pboc_3des.json") {
        let command = text(&record, "command").to_owned();
        match command.as_str() {
            "load" => des_load(&record),
            "purchase" => des_purchase(&record),
            "diversify" => {
                let master = PurseKey::new(Suite::Des, Secret::new(array(&record, "master_key")));
                let key = master.diversify(&[Factor(array(&record, "factor"))]).unwrap();
                assert_eq!(hex(key.expose()), text(&record["expected"], "key"));
            }
            "external_authenticate" => {
                let block = array(&record["inputs"], "block");
                assert_eq!(
                    hex(&des_encrypt(&array(&record, "key"), block)),
                    text(&record["expected"], "cryptogram")
                );
            }
            "internal_authenticate" => {
                let block = array(&record, "data");
                assert_eq!(
                    hex(&des_encrypt(&array(&record, "key"), block)),
                    text(&record["expected"], "cryptogram")
                );
            }
            "mac" => {
                let mac =
                    protocol::crypto::des_cbc_mac(&array(&record, "key"), [0; 8], &[&bytes(&record, "data")]);
                assert_eq!(hex(&left4(mac)), text(&record["expected"], "mac"));
            }
            "secure_messaging" => {
                // Byte for byte in protocol/src/purse/messaging.rs.
            }
            other => panic!("no check for {other}"),
        }
        *seen.entry(command).or_default() += 1;
    }
    assert_eq!(seen["load"], 3);
    assert_eq!(seen["purchase"], 1);
}

fn des_load(record: &Value) {
    let key = PurseKey::new(Suite::Des, Secret::new(array(record, "key")));
    let expected = &record["expected"];
    let random = CardRandom::from4(array(record, "random"));
    let counter = OnlineCounter(u16::from_be_bytes(array(record, "counter")));
    let host = HostTerms {
        amount: CardAmount::from_bytes(array(record, "amount")),
        kind: TransactionType::Load,
        terminal: SamTerminal(array(record, "terminal")),
        counter,
    };
    let session = key.online_session(TransactionType::Load, &random, counter).unwrap();
    assert_eq!(session_bytes(&session), text(expected, "session_key"));
    let asn = Asn([0; 10]);
    let mac1 = session.host_mac1(&host, CardAmount::from_bytes(array(record, "balance_old")), &asn);
    assert_eq!(mac1.to_string(), text(expected, "mac1"));
    if expected.get("mac2").is_none() {
        return;
    }
    assert_eq!(session.host_mac2(&host, moment(record)).to_string(), text(expected, "mac2"));
    let tac_key = PurseKey::new(Suite::Des, Secret::new(array(record, "tac_master_key"))).tac_key();
    let terms =
        TacTerms::load(asn, CardAmount::from_bytes(array(record, "balance_new")), &host, moment(record));
    assert_eq!(tac_key.tac(&terms).to_string(), text(expected, "tac"));
}

fn des_purchase(record: &Value) {
    let key = PurseKey::new(Suite::Des, Secret::new(array(record, "key")));
    let expected = &record["expected"];
    let random = CardRandom::from4(array(record, "random"));
    let counter = OfflineCounter(u16::from_be_bytes(array(record, "counter")));
    let terms = PurchaseTerms {
        amount: CardAmount::from_bytes(array(record, "amount")),
        kind: TransactionType::Purchase,
        terminal: SamTerminal(array(record, "terminal")),
        term_seq: TermSeq(u32::from_be_bytes(array(record, "terminal_counter"))),
        moment: moment(record),
        digest: CappDigest::default(),
    };
    let session = key.offline_session(terms.kind, &random, counter, terms.term_seq).unwrap();
    assert_eq!(session_bytes(&session), text(expected, "session_key"));
    assert_eq!(session.purchase_mac1(&terms).to_string(), text(expected, "mac1"));
    let mac2 = session.purchase_mac2(terms.amount, CardAmount(7), counter, &File15Digest::default());
    assert_eq!(mac2.to_string(), text(expected, "mac2"));
    let tac_key = PurseKey::new(Suite::Des, Secret::new(array(record, "tac_master_key"))).tac_key();
    let tac = tac_key.tac(&TacTerms::purchase(Asn([0; 10]), counter, CardAmount(7), &terms));
    assert_eq!(tac.to_string(), text(expected, "tac"));
}

#[test]
fn suite_10_gives_every_key_mac_tac_and_apdu_of_the_vectors() {
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for record in load("purse_aes.json") {
        let case = text(&record, "case").to_owned();
        match case.as_str() {
            "diversify" => {
                let master = PurseKey::new(Suite::Aes, Secret::new(array(&record, "master_key")));
                let card = master.diversify(&factors(&record)).unwrap();
                assert_eq!(hex(card.expose()), text(&record, "expected"));
            }
            "load" => aes_load(&record),
            "purchase" | "capp purchase" => aes_purchase(&record),
            "unload" => aes_unload(&record),
            other => panic!("no check for {other}"),
        }
        *seen.entry(case).or_default() += 1;
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
}

fn aes_key(record: &Value, key: &str) -> PurseKey {
    PurseKey::new(Suite::Aes, Secret::new(array(record, key)))
}

fn host_terms(record: &Value, kind: TransactionType) -> (HostTerms, CardRandom, SessionKey) {
    let counter = OnlineCounter(u16::from_be_bytes(array(record, "counter")));
    let random = CardRandom::from8(array(record, "random"));
    let session = aes_key(record, "key").online_session(kind, &random, counter).unwrap();
    assert_eq!(session_bytes(&session), text(&record["expected"], "session_key"));
    let terminal = SamTerminal(array(record, "terminal"));
    (HostTerms { amount: CardAmount(number(record, "amount")), kind, terminal, counter }, random, session)
}

fn aes_load(record: &Value) {
    let expected = &record["expected"];
    let (host, random, session) = host_terms(record, TransactionType::Load);
    let asn = Asn(array(record, "asn"));
    let balance = CardAmount(number(record, "balance_old"));
    let mac1 = session.host_mac1(&host, balance, &asn);
    let mac2 = session.host_mac2(&host, moment(record));
    assert_eq!(
        (mac1.to_string(), mac2.to_string()),
        (text(expected, "mac1").into(), text(expected, "mac2").into())
    );
    let terms = TacTerms::load(asn, balance.checked_add(host.amount).unwrap(), &host, moment(record));
    assert_eq!(hex(&terms.to_bytes()), text(expected, "tac_input"));
    let tac = aes_key(record, "tac_key").tac_key().tac(&terms);
    assert_eq!(tac.to_string(), text(expected, "tac"));

    let init =
        Initialize { kind: host.kind, key_index: KeyIndex(1), amount: host.amount, terminal: host.terminal };
    assert_eq!(apdu(|out| init.encode(Suite::Aes, out)), text(expected, "apdu_init"));
    let answer = InitForLoadAnswer {
        balance,
        counter: host.counter,
        key_version: KeyVersion(1),
        algorithm: Suite::Aes.algorithm(),
        random,
        mac1,
    };
    answer_matches(expected, "answer_init", |out| answer.encode(out), InitForLoadAnswer::parse, answer);
    let credit = CreditForLoad { moment: moment(record), mac2 };
    let credit_apdu = apdu(|out| credit.encode(out));
    assert_eq!(credit_apdu, text(expected, "apdu_credit"));
    let credit_bytes = bytes(expected, "apdu_credit");
    assert_eq!(CreditForLoad::parse(Suite::Aes, &Command::parse(&credit_bytes).unwrap()), Ok(credit));
    let prove = GetProve { evidence: false, kind: host.kind, counter_after: host.counter.next().unwrap().0 };
    assert_eq!(apdu(|out| prove.encode(Suite::Aes, out)), text(expected, "apdu_prove"));
    let proof = ProveAnswer { mac: PurseMac::zero(Suite::Aes), tac };
    answer_matches(
        expected,
        "answer_prove",
        |out| proof.encode(out),
        |d| ProveAnswer::parse(Suite::Aes, d),
        proof,
    );
}

fn answer_matches<T: std::fmt::Debug + PartialEq>(
    expected: &Value,
    key: &str,
    encode: impl FnOnce(&mut [u8]) -> Result<usize, protocol::purse::PurseError>,
    parse: impl FnOnce(&[u8]) -> Result<T, protocol::purse::PurseError>,
    value: T,
) {
    assert_eq!(format!("{}9000", apdu(encode)), text(expected, key), "{key}");
    let raw = bytes(expected, key);
    assert_eq!(parse(&raw[..raw.len() - 2]), Ok(value), "{key}");
}

fn aes_purchase(record: &Value) {
    let expected = &record["expected"];
    let capp = text(record, "case") == "capp purchase";
    let kind = if capp { TransactionType::CappPurchase } else { TransactionType::Purchase };
    let mut digester = CappDigester::default();
    for update in record["cache"].as_array().unwrap() {
        let [p1] = array(update, "p1");
        let [p2] = array(update, "p2");
        digester.add(p1, p2, &bytes(update, "data"));
    }
    let terms = PurchaseTerms {
        amount: CardAmount(number(record, "amount")),
        kind,
        terminal: SamTerminal(array(record, "terminal")),
        term_seq: TermSeq(u32::from_be_bytes(array(record, "term_seq"))),
        moment: moment(record),
        digest: digester.finish(),
    };
    let counter = OfflineCounter(u16::from_be_bytes(array(record, "counter")));
    let random = CardRandom::from8(array(record, "random"));
    let balance = CardAmount(number(record, "balance_old"));
    let balance_new = balance.checked_sub(terms.amount).unwrap();
    let file15 = PublicData::parse(&bytes(record, "file15")).unwrap();
    assert_eq!(hex(&terms.digest.0), text(expected, "digest16"));
    assert_eq!(hex(&file15.digest().0), text(expected, "file15_digest8"));
    let session = aes_key(record, "key").offline_session(kind, &random, counter, terms.term_seq).unwrap();
    assert_eq!(session_bytes(&session), text(expected, "session_key"));
    let mac1 = session.purchase_mac1(&terms);
    let mac2 = session.purchase_mac2(terms.amount, balance_new, counter, &file15.digest());
    assert_eq!(
        (mac1.to_string(), mac2.to_string()),
        (text(expected, "mac1").into(), text(expected, "mac2").into())
    );
    let tac_terms = TacTerms::purchase(Asn(array(record, "asn")), counter, balance_new, &terms);
    assert_eq!(hex(&tac_terms.to_bytes()), text(expected, "tac_input"));
    let tac = aes_key(record, "tac_key").tac_key().tac(&tac_terms);
    assert_eq!(tac.to_string(), text(expected, "tac"));
    assert!(aes_key(record, "tac_key").tac_key().verify(&tac_terms, &tac));

    aes_purchase_apdus(record, &terms, &file15, PurchaseBytes { counter, random, balance, mac1, mac2, tac });
}

struct PurchaseBytes {
    counter: OfflineCounter,
    random: CardRandom,
    balance: CardAmount,
    mac1: PurseMac,
    mac2: PurseMac,
    tac: Tac,
}

fn aes_purchase_apdus(record: &Value, terms: &PurchaseTerms, file15: &PublicData, made: PurchaseBytes) {
    let expected = &record["expected"];
    let PurchaseBytes { counter, random, balance, mac1, mac2, tac } = made;
    let init = Initialize {
        kind: terms.kind,
        key_index: KeyIndex(1),
        amount: terms.amount,
        terminal: terms.terminal,
    };
    assert_eq!(apdu(|out| init.encode(Suite::Aes, out)), text(expected, "apdu_init"));
    let init_bytes = bytes(expected, "apdu_init");
    assert_eq!(Initialize::parse(&Command::parse(&init_bytes).unwrap()), Ok(init));
    let algorithm = Algorithm::from_byte(0x10).unwrap();
    let answer = InitForPurchaseAnswer {
        balance,
        counter,
        overdraft: Overdraft::ZERO,
        key_version: KeyVersion(1),
        algorithm,
        random,
    };
    answer_matches(expected, "answer_init", |out| answer.encode(out), InitForPurchaseAnswer::parse, answer);

    let key = CardKeyReference { key_version: KeyVersion(1), algorithm, factors: factors(record) };
    let (amount, kind, moment, digest) = (terms.amount, terms.kind, terms.moment, terms.digest);
    let sam_init = InitSam { random, counter, amount, kind, moment, digest, key: key.clone() };
    assert_eq!(apdu(|out| sam_init.encode(out)), text(expected, "sam_init"));
    let raw = bytes(expected, "sam_init");
    assert_eq!(InitSam::parse(Suite::Aes, &Command::parse(&raw).unwrap()), Ok(sam_init));
    let sam_answer = InitSamAnswer { term_seq: terms.term_seq, mac1 };
    answer_matches(
        expected,
        "sam_answer",
        |out| sam_answer.encode(out),
        |data| InitSamAnswer::parse(Suite::Aes, data),
        sam_answer,
    );

    let debit = DebitForPurchase { term_seq: terms.term_seq, moment, mac1 };
    assert_eq!(apdu(|out| debit.encode(out)), text(expected, "apdu_debit"));
    let raw = bytes(expected, "apdu_debit");
    assert_eq!(DebitForPurchase::parse(Suite::Aes, &Command::parse(&raw).unwrap()), Ok(debit));
    let debit_answer = DebitAnswer { tac, mac2 };
    answer_matches(
        expected,
        "answer_debit",
        |out| debit_answer.encode(out),
        |data| DebitAnswer::parse(Suite::Aes, data),
        debit_answer,
    );

    let proof = BalanceProof { balance_new: balance.checked_sub(amount).unwrap(), file15: file15.digest() };
    let credit = CreditSam { proof, mac2 };
    assert_eq!(apdu(|out| credit.encode(out)), text(expected, "sam_credit"));
    let raw = bytes(expected, "sam_credit");
    assert_eq!(CreditSam::parse(Suite::Aes, &Command::parse(&raw).unwrap()), Ok(credit));
    let term_seq = terms.term_seq;
    let proved = VerifyProved { random, counter, amount, kind, term_seq, proof, mac2, key };
    assert_eq!(apdu(|out| proved.encode(out)), text(expected, "sam_verify_proved"));
    let raw = bytes(expected, "sam_verify_proved");
    assert_eq!(VerifyProved::parse(Suite::Aes, &Command::parse(&raw).unwrap()), Ok(proved));

    let prove = GetProve { evidence: false, kind, counter_after: counter.next().unwrap().0 };
    assert_eq!(apdu(|out| prove.encode(Suite::Aes, out)), text(expected, "apdu_prove"));
    let prove_answer = ProveAnswer { mac: mac2, tac };
    answer_matches(
        expected,
        "answer_prove",
        |out| prove_answer.encode(out),
        |data| ProveAnswer::parse(Suite::Aes, data),
        prove_answer,
    );
}

fn aes_unload(record: &Value) {
    let expected = &record["expected"];
    let (host, _, session) = host_terms(record, TransactionType::Unload);
    let balance = CardAmount(number(record, "balance_old"));
    let mac1 = session.host_mac1(&host, balance, &Asn(array(record, "asn")));
    let mac2 = session.host_mac2(&host, moment(record));
    let mac3 = session.unload_mac3(&host, balance.checked_sub(host.amount).unwrap(), moment(record));
    assert_eq!(mac1.to_string(), text(expected, "mac1"));
    assert_eq!(mac2.to_string(), text(expected, "mac2"));
    assert_eq!(mac3.to_string(), text(expected, "mac3"));
}

#[test]
fn a_key_or_random_of_the_other_suite_is_refused() {
    let key = PurseKey::new(Suite::Aes, Secret::new([1; 16]));
    let random = CardRandom::from4([1, 2, 3, 4]);
    assert!(key.offline_session(TransactionType::Purchase, &random, OfflineCounter(0), TermSeq(1)).is_err());
    assert!(key.diversify(&[]).is_err());
    assert!(key.diversify(&[Factor([0; 8]); 4]).is_err());
    assert!(Algorithm::from_byte(0x04).is_err());
    assert!(PurseMac::from_bytes(Suite::Aes, &[0; 4]).is_err());
}

#[test]
fn initialize_update_of_globalplatform_is_not_mistaken_for_init() {
    let bytes = [0x80, 0x50, 0x01, 0x00, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 0];
    assert!(Initialize::parse(&Command::parse(&bytes).unwrap()).is_err());
}

proptest::proptest! {
    #[test]
    fn any_command_and_answer_bytes_are_read_without_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100)) {
        for suite in [Suite::Des, Suite::Aes] {
            let _ = InitForPurchaseAnswer::parse(&bytes);
            let _ = InitForLoadAnswer::parse(&bytes);
            let _ = DebitAnswer::parse(suite, &bytes);
            let _ = ProveAnswer::parse(suite, &bytes);
            let _ = InitSamAnswer::parse(suite, &bytes);
            for (ins, p1, p2) in [(0x50, 1, 2), (0x52, 0, 0), (0x54, 1, 0), (0x54, 3, 0), (0x5A, 0, 6), (0x70, 0, 0), (0x72, 0, 0), (0x76, 0, 0)] {
                let command = Command::new(0x80, ins, p1, p2).with_data(&bytes);
                let _ = Initialize::parse(&command);
                let _ = CreditForLoad::parse(suite, &command);
                let _ = DebitForPurchase::parse(suite, &command);
                let _ = GetProve::parse(&command);
                let _ = InitSam::parse(suite, &command);
                let _ = CreditSam::parse(suite, &command);
                let _ = VerifyProved::parse(suite, &command);
            }
        }
    }
}
