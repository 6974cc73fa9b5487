//! Operations on references against vectors, across restarts, and on keys of the wrong suite or file.

use super::*;
use protocol::ids::{Asn, OnlineCounter, SamTerminal, TermSeq};
use protocol::purse::{CappDigest, TransactionType};
use protocol::secret::Secret;

const ISSUER: IssuerId = IssuerId(*b"\x62\x17\x00\x00\x00\x00\x00\x01");
const V1: KeyVersion = KeyVersion(1);

fn counting() -> Entropy {
    let next = std::sync::atomic::AtomicU8::new(1);
    Box::new(move |out| {
        out.iter_mut().for_each(|byte| *byte = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        Ok(())
    })
}

fn asn(n: u8) -> Asn {
    Asn([0, 0, 0, 0, 0, 0, 0, 0, 0, n])
}

fn card(asn: Asn, suite: Suite, upper: &[Factor]) -> CardKeyRef<'_> {
    CardKeyRef { issuer: ISSUER, version: V1, algorithm: suite.algorithm(), card: asn.factor(), upper }
}

fn terms(asn: Asn) -> TacTerms {
    TacTerms {
        asn,
        counter: 7,
        balance_new: CardAmount(9_800),
        amount: CardAmount(200),
        kind: TransactionType::Purchase,
        terminal: SamTerminal([1, 2, 3, 4, 5, 6]),
        term_seq: TermSeq(42),
        moment: Moment::from_bytes([0x20, 0x26, 0x11, 0x22, 0x18, 0x30, 0x05]),
        digest: CappDigest::default(),
    }
}

#[test]
fn tacs_of_both_suites_and_any_depth_of_keys_verify_and_forged_ones_do_not() {
    for suite in [Suite::Aes, Suite::Des] {
        let keys = SoftKeys::in_memory(counting()).unwrap();
        keys.generate_issuer(ISSUER, V1, suite).unwrap();
        for upper in [&[][..], &[Factor([9; 8])], &[Factor([9; 8]), Factor([8; 8])]] {
            let (one, two) = (asn(1), asn(2));
            // The card's side of it, by the slow way: its own key, diversified step by step.
            let key = keys.card_key(&card(one, suite, upper), KeyUse::Tac).unwrap();
            let terms = terms(one);
            let tac = key.tac_key().tac(&terms);
            let changed = TacTerms { amount: CardAmount(100), ..terms };
            let check = |asn, terms| TacCheck { key: card(asn, suite, upper), terms, tac: &tac };
            let other_issuer = TacCheck {
                key: CardKeyRef { issuer: IssuerId([0; 8]), ..card(one, suite, upper) },
                terms: &terms,
                tac: &tac,
            };
            let verdicts = keys.verify_tacs(&[
                check(one, &terms),
                check(one, &changed),
                check(two, &terms),
                other_issuer,
                check(one, &terms),
            ]);
            use TacVerdict::{NoKey, Valid, Wrong};
            assert_eq!(verdicts, [Valid, Wrong, Wrong, NoKey, Valid], "suite {suite}, {} above", upper.len());
        }
    }
}

#[test]
fn a_key_never_serves_another_suite() {
    let keys = SoftKeys::in_memory(counting()).unwrap();
    keys.generate_issuer(ISSUER, V1, Suite::Aes).unwrap();
    let tac = Tac::from4([0; 4]);
    let check = TacCheck { key: card(asn(1), Suite::Des, &[]), terms: &terms(asn(1)), tac: &tac };
    assert_eq!(keys.verify_tacs(&[check]), [TacVerdict::NoKey]);
    let wrong = Err(KeyError::WrongSuite { have: Suite::Aes, asked: Suite::Des });
    assert_eq!(keys.card_key(&card(asn(1), Suite::Des, &[]), KeyUse::Load), wrong);
    assert_eq!(keys.generate_issuer(ISSUER, V1, Suite::Des), Err(KeyError::Exists));
}

#[test]
fn card_keys_of_suite_10_match_the_vectors() {
    let text = include_str!("../../../tests/vectors/purse_aes.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let records = vectors["records"].as_array().unwrap();
    let keys = SoftKeys::in_memory(counting()).unwrap();
    let hex = |value: &serde_json::Value| value.as_str().unwrap().to_string();
    let mut diversified = 0;
    for record in records.iter().filter(|record| record["case"] == "diversify") {
        let usage = KeyUse::ALL.into_iter().find(|usage| record["usage"] == usage.name()).unwrap();
        let master = PurseKey::new(Suite::Aes, Secret::from_hex(&hex(&record["master_key"])).unwrap());
        // Every case stands alone: a version of its own per case.
        diversified += 1;
        let version = KeyVersion(diversified);
        keys.import_issuer_key(ISSUER, version, usage, master).unwrap();
        let factors: Vec<Factor> =
            record["factors"].as_array().unwrap().iter().map(|f| hex(f).parse().unwrap()).collect();
        let (card, upper) = factors.split_first().unwrap();
        let reference =
            CardKeyRef { issuer: ISSUER, version, algorithm: Suite::Aes.algorithm(), card: *card, upper };
        let made = keys.card_key(&reference, usage).unwrap();
        assert_eq!(made, PurseKey::new(Suite::Aes, Secret::from_hex(&hex(&record["expected"])).unwrap()));
    }
    assert!(diversified >= 4);
}

#[test]
fn a_loads_mac1_is_checked_and_its_mac2_is_the_cards() {
    for suite in [Suite::Aes, Suite::Des] {
        let keys = SoftKeys::in_memory(counting()).unwrap();
        keys.generate_issuer(ISSUER, V1, suite).unwrap();
        let reference = card(asn(3), suite, &[]);
        let random = CardRandom::from_bytes(suite, &[5; 8][..suite.mac_len()]).unwrap();
        let host = HostTerms {
            amount: CardAmount(10_000),
            kind: TransactionType::Load,
            terminal: SamTerminal([1; 6]),
            counter: OnlineCounter(2),
        };
        let moment = Moment::from_bytes([0x20, 0x26, 0x11, 0x22, 0x18, 0x30, 0x05]);
        let session = keys
            .card_key(&reference, KeyUse::Load)
            .unwrap()
            .online_session(TransactionType::Load, &random, host.counter)
            .unwrap();
        let mac1 = session.host_mac1(&host, CardAmount(5), &asn(3));
        let verify =
            |balance| keys.verify_mac1(&reference, &random, &host, CardAmount(balance), &asn(3), &mac1);
        assert_eq!(verify(5), Ok(true));
        assert_eq!(verify(6), Ok(false));
        assert_eq!(keys.mac2(&reference, &random, &host, moment), Ok(session.host_mac2(&host, moment)));
    }
}

#[test]
fn keys_survive_a_restart_and_the_file_shows_none_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let master = || MasterKey::new([7; 32]);
    let keys = SoftKeys::open(&path, master()).unwrap();
    let imported = PurseKey::new(Suite::Des, Secret::new(*b"0123456789ABCDEF"));
    keys.import_issuer_key(ISSUER, V1, KeyUse::Tac, imported.clone()).unwrap();
    let token = keys.pan_token(b"6217000000000000000").unwrap();
    drop(keys);
    let file = std::fs::read(&path).unwrap();
    assert!(!file.windows(16).any(|window| window == imported.expose()));
    let again = SoftKeys::open(&path, master()).unwrap();
    assert_eq!(again.pan_token(b"6217000000000000000"), Ok(token));
    assert_eq!(again.import_issuer_key(ISSUER, V1, KeyUse::Tac, imported), Ok(()));
    let other = PurseKey::new(Suite::Des, Secret::new([1; 16]));
    assert_eq!(again.import_issuer_key(ISSUER, V1, KeyUse::Tac, other), Err(KeyError::Exists));
}

#[test]
fn another_master_key_or_a_changed_file_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    SoftKeys::open(&path, MasterKey::new([7; 32])).unwrap();
    let wrong = SoftKeys::open(&path, MasterKey::new([8; 32])).unwrap_err();
    assert_eq!(wrong, KeyError::WrongMasterKey);
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        assert!(SoftKeys::open(&path, MasterKey::new([7; 32])).is_err(), "byte {at}");
    }
    for length in [0, 8, 30, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(SoftKeys::open(&path, MasterKey::new([7; 32])).is_err(), "cut to {length}");
    }
}

#[test]
fn nothing_secret_is_printed() {
    let keys = SoftKeys::in_memory(counting()).unwrap();
    keys.generate_issuer(ISSUER, V1, Suite::Aes).unwrap();
    let printed = format!("{keys:?} {:?}", MasterKey::new([0xAB; 32]));
    assert!(!printed.to_lowercase().contains("ab, ab") && !printed.contains("171"), "{printed}");
    assert!(MasterKey::from_hex("no key at all").is_err());
    assert_eq!(keys.pan_token(b"1234"), Err(KeyError::OutOfBounds("a PAN has 8 to 19 digits")));
}

fn till() -> TerminalId {
    TerminalId::from_text("T0000001").unwrap()
}

/// The terminal's side of an enrolment.
fn provisioned(enrolment: &Enrolment) -> Secret<16> {
    use protocol::keyblock::{Usage, unwrap_for};
    let key = unwrap_for(&enrolment.code.protection_key(&till()), Usage::TMK, &enrolment.block).unwrap();
    key.to_secret().unwrap()
}

#[test]
fn a_terminal_signs_in_with_the_master_key_that_its_code_opened() {
    use protocol::aes_key::AesKey;
    use protocol::working_keys::AesWorkingKeys;
    let keys = SoftKeys::in_memory(counting()).unwrap();
    assert!(matches!(keys.sign_in(&till()), Err(KeyError::NoKey(_))));
    let tmk = provisioned(&keys.enrol_terminal(&till(), false).unwrap());
    assert_eq!(keys.enrol_terminal(&till(), false).unwrap_err(), KeyError::Exists);

    let mac = protocol::signin::sign_in_key(&tmk).mac(b"0800 ...");
    assert_eq!(keys.verify_sign_in_mac(&till(), b"0800 ...", &mac), Ok(true));
    assert_eq!(keys.verify_sign_in_mac(&till(), b"0800 ..!", &mac), Ok(false));
    assert_eq!(keys.sign_in_mac(&till(), b"0800 ..."), Ok(mac));

    let open = |field: &SignInField| AesWorkingKeys::open(&AesKey::Aes128(tmk.clone()), field).unwrap();
    let first = open(&keys.sign_in(&till()).unwrap());
    let first_mac = protocol::host_mac::MacKey::Aes(first.mac).mac(b"0200 ...");
    assert_eq!(keys.host_mac(&till(), Generation::Current, &[b"0200 ", b"..."]), Ok(first_mac));
    assert!(keys.host_mac(&till(), Generation::Previous, &[b""]).is_err());

    let second = open(&keys.sign_in(&till()).unwrap());
    let second_mac = protocol::host_mac::MacKey::Aes(second.mac).mac(b"0200 ...");
    let verdict = |generation, mac| keys.verify_host_mac(&till(), generation, &[b"0200 ..."], mac).ok();
    assert_eq!(verdict(Generation::Current, &first_mac), Some(false));
    assert_eq!(verdict(Generation::Previous, &first_mac), Some(true));
    assert_eq!(verdict(Generation::Current, &second_mac), Some(true));
    keys.forget_previous(&till());
    assert_eq!(verdict(Generation::Previous, &first_mac), None);

    keys.enrol_terminal(&till(), true).unwrap();
    assert_eq!(verdict(Generation::Current, &second_mac), None);
    assert_eq!(keys.verify_sign_in_mac(&till(), b"0800 ...", &mac), Ok(false));
}

#[test]
fn master_keys_of_terminals_survive_a_restart_and_working_keys_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.tlk");
    let open = || SoftKeys::open(&path, MasterKey::new([7; 32])).unwrap();
    let tmk = provisioned(&open().enrol_terminal(&till(), false).unwrap());
    let keys = open();
    let mac = protocol::signin::sign_in_key(&tmk).mac(b"0800 ...");
    assert_eq!(keys.verify_sign_in_mac(&till(), b"0800 ...", &mac), Ok(true));
    keys.sign_in(&till()).unwrap();
    assert!(open().host_mac(&till(), Generation::Current, &[b""]).is_err());
    keys.sign_out(&till());
    assert!(keys.host_mac(&till(), Generation::Current, &[b""]).is_err());
}

#[test]
fn heads_verify_under_the_acquirers_own_key_after_a_restart_and_under_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let keys = SoftKeys::open(&path, MasterKey::new([1; 32])).unwrap();
    assert!(matches!(keys.head_key(1), Err(KeyError::NoKey(_))));
    let signature = keys.sign_head(1, b"head").unwrap();
    keys.sign_head(2, b"head").unwrap();
    drop(keys);
    let keys = SoftKeys::open(&path, MasterKey::new([1; 32])).unwrap();
    let (own, other) = (keys.head_key(1).unwrap(), keys.head_key(2).unwrap());
    assert!(head_verifies(&own, b"head", &signature));
    assert!(!head_verifies(&own, b"hear", &signature));
    assert!(!head_verifies(&other, b"head", &signature));
    assert!(!head_verifies(&[0; 33], b"head", &signature) && !head_verifies(&own, b"head", &[0; 64]));
    assert_eq!(keys.sign_head(1, b"head").unwrap(), signature, "deterministic (RFC 6979)");
}
