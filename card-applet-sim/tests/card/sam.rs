//! The SAM's rules.

use crate::bench::{sam, sam_of, send};
use card_applet_sim::issue::{IssueError, IssuerKeys, NewSam};
use card_applet_sim::memory::RamMemory;
use card_applet_sim::os::Transport;
use protocol::purse::Suite;

const SELECT_AES: &str = "00A4040009F05441504C494E450200";
const SELECT_DES: &str = "00A4000002DF0100";

fn init_aes(version: u8, algorithm: u8) -> String {
    let (zeros, digest) = ("00".repeat(8 + 2 + 4), "00".repeat(16));
    format!("8070000030{zeros}0620261121183005{version:02X}{algorithm:02X}{digest}000000123456789000")
}

#[test]
fn the_terminal_number_and_the_information_are_read_at_the_mf() {
    let mut card = sam(Suite::Aes, 0);
    assert_eq!(send(&mut card, "00B0960006"), "0000000000179000");
    assert_eq!(send(&mut card, "00B095000E"), "0000000000000000001701010000".to_string() + "9000");
}

#[test]
fn sequence_numbers_grow_by_one_and_end_before_they_wrap() {
    let mut card = sam(Suite::Aes, 0xFFFF_FFFD);
    send(&mut card, SELECT_AES);
    assert!(send(&mut card, &init_aes(1, 0x10)).starts_with("FFFFFFFE"));
    assert!(send(&mut card, &init_aes(1, 0x10)).starts_with("FFFFFFFF"));
    assert_eq!(send(&mut card, &init_aes(1, 0x10)), "9402");
}

#[test]
fn a_mac2_is_checked_once_for_each_mac1_and_a_wrong_one_locks_nothing() {
    let mut card = sam(Suite::Aes, 0);
    send(&mut card, SELECT_AES);
    let wrong = format!("8072000014{}", "AB".repeat(20));
    assert_eq!(send(&mut card, &wrong), "6901", "no purchase is open");
    for _ in 0..20 {
        assert!(send(&mut card, &init_aes(1, 0x10)).ends_with("9000"));
        assert_eq!(send(&mut card, &wrong), "9302");
        assert_eq!(send(&mut card, &wrong), "6901");
    }
}

#[test]
fn unknown_versions_foreign_suites_and_other_factor_counts_are_refused_and_cost_no_number() {
    let mut card = sam(Suite::Aes, 0);
    send(&mut card, SELECT_AES);
    assert_eq!(send(&mut card, &init_aes(9, 0x10)), "9403");
    assert_eq!(send(&mut card, &init_aes(1, 0x00)), "6A80");
    let two_factors = init_aes(1, 0x10).replace("8070000030", "8070000038");
    let two_factors = two_factors[..two_factors.len() - 2].to_string() + &"11".repeat(8) + "00";
    assert_eq!(send(&mut card, &two_factors), "6A80");
    let load_type = init_aes(1, 0x10).replace("0620261121", "0220261121");
    assert_eq!(send(&mut card, &load_type), "6A80");
    assert!(send(&mut card, &init_aes(1, 0x10)).starts_with("00000001"));
}

#[test]
fn a_proof_of_a_number_never_given_is_refused() {
    let mut card = sam(Suite::Aes, 5);
    send(&mut card, SELECT_AES);
    let proved = |seq: u32| {
        format!(
            "8076000031{}06{seq:08X}0110{}{}0000001234567890",
            "00".repeat(14),
            "00".repeat(12),
            "AB".repeat(8)
        )
    };
    assert_eq!(send(&mut card, &proved(6)), "6A80");
    assert_eq!(send(&mut card, &proved(5)), "9302");
}

#[test]
fn one_sam_serves_both_suites_with_one_sequence() {
    let mut card = sam_of(&[IssuerKeys::for_tests(Suite::Aes, 0), IssuerKeys::for_tests(Suite::Des, 0)], 0);
    send(&mut card, SELECT_AES);
    assert!(send(&mut card, &init_aes(1, 0x10)).starts_with("00000001"));
    assert!(send(&mut card, SELECT_DES).ends_with("9000"));
    let des = format!("807000001C{}0620261121183005010000000012345678{}08", "00".repeat(10), "90");
    assert!(send(&mut card, &des).starts_with("00000002"), "{}", send(&mut card, &des));
}

#[test]
fn two_key_sets_of_one_version_do_not_fit_one_sam() {
    let issuers = [IssuerKeys::for_tests(Suite::Aes, 0), IssuerKeys::for_tests(Suite::Aes, 1)];
    let made = NewSam::for_tests(crate::bench::TERMINAL).make(&issuers, &mut RamMemory::new());
    assert!(matches!(made, Err(IssueError::SameVersion(Suite::Aes, _))));
    let none = NewSam::for_tests(crate::bench::TERMINAL).make(&[], &mut RamMemory::new());
    assert!(matches!(none, Err(IssueError::NoIssuer)));
}

#[test]
fn a_sam_in_a_contact_slot_answers_by_get_response() {
    let mut card = sam(Suite::Aes, 0).with_transport(Transport::Character);
    card.power_on().unwrap();
    assert_eq!(send(&mut card, "00B0960000"), "6C06");
    assert_eq!(send(&mut card, "00A4040009F05441504C494E450200"), "610D");
    assert!(send(&mut card, "00C000000D").starts_with("6F0B84"));
    assert_eq!(send(&mut card, &init_aes(1, 0x10)), "610C");
    assert_eq!(send(&mut card, "00C0000020"), "6C0C");
    let first = send(&mut card, "00C0000004");
    assert_eq!(first, "000000016108");
    assert_eq!(send(&mut card, "00C0000008").len(), 2 * 8 + 4);
    assert_eq!(send(&mut card, "00C0000008"), "6985");
    assert_eq!(
        send(&mut card, &format!("8072000014{}", "AB".repeat(20))),
        "9302",
        "GET RESPONSE ends nothing"
    );
}
