//! Evidence (suite 10): what the card signs verifies with its public key alone.

use crate::bench::{Bench, SUITES, hex, unhex};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey, signature::Verifier};
use protocol::ids::OfflineCounter;
use protocol::purse::mac::TAC_INPUT_BYTES;
use protocol::purse::{Suite, TransactionType};
use protocol::secret::Secret;

const SCALAR: [u8; 32] = [0x42; 32];

fn bench(suite: Suite, certificate: Vec<u8>) -> Bench {
    Bench::with(suite, 10_000, Default::default(), |new| {
        new.offline = OfflineCounter(0);
        new.evidence = Some((Secret::new(SCALAR), certificate));
    })
}

#[test]
fn a_payment_is_signed_on_demand_and_again_after_a_reset() {
    let mut bench = bench(Suite::Aes, vec![1]);
    assert_eq!(bench.sw("805A010602000100"), "9406");
    bench.purchase(1250).unwrap();
    bench.power_on();
    let signature = bench.data(&unhex("805A010602000100")).unwrap();
    // purse.md section 3: prefix, issuer 8, currency 2, TAC input (asn, ctr, balance, amount, type, terminal, seq, …).
    let tac_input = format!(
        "{}0000{:08X}{:08X}06{}{:08X}20261121183005{}",
        bench.asn,
        8750,
        1250,
        "000000000017",
        1,
        "00".repeat(16)
    );
    assert_eq!(tac_input.len(), 2 * TAC_INPUT_BYTES);
    let input = [b"tapline-evidence-1".to_vec(), unhex(&format!("5441504C000001560156{tac_input}"))].concat();
    let key = VerifyingKey::from(&SigningKey::from_slice(&SCALAR).unwrap());
    key.verify(&input, &Signature::from_slice(&signature).unwrap()).unwrap();
    let mut other = input;
    other[30] ^= 1;
    assert!(key.verify(&other, &Signature::from_slice(&signature).unwrap()).is_err());
    assert_eq!(bench.sw("805A010902000100"), "9406", "another type");
    assert!(bench.prove(TransactionType::Purchase, 1).is_ok(), "evidence clears nothing");
}

#[test]
fn a_certificate_longer_than_an_answer_comes_in_pieces() {
    let certificate: Vec<u8> = (0..600u16).map(|n| n.to_be_bytes()[1]).collect();
    let mut bench = bench(Suite::Aes, certificate.clone());
    let first = bench.apdu(&unhex("80CA7F2100"));
    assert_eq!(first[256..], [0x61, 0x00]);
    let second = bench.apdu(&unhex("00C0000000"));
    assert_eq!(second[256..], [0x61, 0x58]);
    let third = bench.apdu(&unhex("00C0000058"));
    let whole = [&first[..256], &second[..256], &third[..0x58]].concat();
    assert_eq!(hex(&whole), hex(&certificate));
    assert_eq!(bench.sw("80CA9F3600"), "6A88");
}

#[test]
fn without_a_key_or_in_suite_00_there_is_no_evidence() {
    for suite in SUITES {
        let mut bench = Bench::new(suite, 10_000);
        bench.purchase(1).unwrap();
        let refusal = bench.sw("805A010602000100");
        assert_eq!(refusal, if suite == Suite::Aes { "6A88" } else { "6A86" });
        assert_eq!(bench.sw("80CA7F2100"), "6A88");
    }
}
