//! The purse's state rules, each by itself.

use crate::bench::{Bench, SUITES, TERMINAL, hex, unhex};
use card_applet_sim::issue::{IssuerKeys, NewCard};
use card_applet_sim::memory::RamMemory;
use card_applet_sim::os::{Card, Transport};
use card_applet_sim::random::SeededRandom;
use protocol::apdu::StatusWord;
use protocol::ids::{OfflineCounter, OnlineCounter};
use protocol::purse::keys::KeyUse;
use protocol::purse::messaging;
use protocol::purse::{CappDigest, Overdraft, Suite, TransactionType};
use protocol::secret::Secret;

const PURCHASE: TransactionType = TransactionType::Purchase;
const CAPP: TransactionType = TransactionType::CappPurchase;

#[test]
fn init_alone_takes_nothing_and_debit_without_init_is_refused() {
    for suite in SUITES {
        let mut bench = Bench::new(suite, 5000);
        let init = bench.init(PURCHASE, 1250).unwrap();
        let debit = bench.debit_command(PURCHASE, 1250, &init, CappDigest::default());
        bench.power_on();
        assert_eq!(bench.data(&debit), Err(StatusWord::NOT_ACCEPTED));
        assert_eq!(bench.balance(), 5000);
    }
}

#[test]
fn any_other_command_ends_the_transaction() {
    let between = [
        "805C000204",
        "00B0950000",
        "00B201C400",
        "0084000008",
        "00A40000021001",
        "0020000003123456",
        "80DC01D000",
        "00FF0000",
        "805A0006020001",
        // Malformed ones as well.
        "805A00060200018000",
        "8054",
    ];
    for suite in SUITES {
        for command in between {
            let mut bench = Bench::new(suite, 5000);
            let init = bench.init(PURCHASE, 1250).unwrap();
            let debit = bench.debit_command(PURCHASE, 1250, &init, CappDigest::default());
            bench.apdu(&unhex(command));
            assert_eq!(bench.data(&debit), Err(StatusWord::NOT_ACCEPTED), "after {command}");
            assert_eq!(bench.balance(), 5000);
        }
    }
}

#[test]
fn a_debit_is_taken_once() {
    for suite in SUITES {
        let mut bench = Bench::new(suite, 5000);
        let init = bench.init(PURCHASE, 1250).unwrap();
        let debit = bench.debit_command(PURCHASE, 1250, &init, CappDigest::default());
        bench.data(&debit).unwrap();
        assert_eq!(bench.data(&debit), Err(StatusWord::NOT_ACCEPTED));
        assert_eq!(bench.balance(), 3750);
    }
}

#[test]
fn a_wrong_le_is_told_before_anything_happens_and_the_transaction_goes_on() {
    for suite in SUITES {
        let mut bench = Bench::new(suite, 5000);
        let init = bench.init(PURCHASE, 1250).unwrap();
        let mut debit = bench.debit_command(PURCHASE, 1250, &init, CappDigest::default());
        let right = if suite == Suite::Aes { 16 } else { 8 };
        *debit.last_mut().unwrap() = 3;
        assert_eq!(bench.apdu(&debit), [0x6C, right]);
        assert_eq!(bench.prove(PURCHASE, 1), Err(StatusWord::NO_PROVE_DATA));
        let init = bench.init(PURCHASE, 1250).unwrap();
        let mut debit = bench.debit_command(PURCHASE, 1250, &init, CappDigest::default());
        *debit.last_mut().unwrap() = 3;
        bench.apdu(&debit);
        *debit.last_mut().unwrap() = right;
        assert!(bench.data(&debit).is_ok());
        assert_eq!(bench.balance(), 3750);
    }
}

#[test]
fn a_wrong_purchase_mac_is_9302_ends_the_transaction_and_never_locks() {
    for suite in SUITES {
        let mut bench = Bench::new(suite, 5000);
        for _ in 0..20 {
            let init = bench.init(PURCHASE, 1250).unwrap();
            let mut debit = bench.debit_command(PURCHASE, 1250, &init, CappDigest::default());
            let right = debit.clone();
            let at = debit.len() - 2;
            debit[at] ^= 1;
            assert_eq!(bench.data(&debit), Err(StatusWord::MAC_WRONG));
            assert_eq!(bench.data(&right), Err(StatusWord::NOT_ACCEPTED));
        }
        assert_eq!(bench.balance(), 5000);
        bench.purchase(1250).unwrap();
    }
}

#[test]
fn more_than_the_usable_balance_is_9401_and_all_of_it_can_be_spent() {
    for suite in SUITES {
        let mut bench = Bench::with(suite, 5000, Default::default(), |new| {
            new.overdraft = Overdraft::from_bytes([0, 0, 100]);
        });
        assert_eq!(bench.init(PURCHASE, 4901), Err(StatusWord::INSUFFICIENT_BALANCE));
        bench.purchase(4900).unwrap();
        assert_eq!(bench.balance(), 100);
        assert_eq!(bench.init(PURCHASE, 1), Err(StatusWord::INSUFFICIENT_BALANCE));
    }
}

#[test]
fn profile_limits_bound_balance_load_and_payment() {
    let mut bench = Bench::new(Suite::Aes, 99_000);
    bench.pin();
    assert_eq!(bench.init(PURCHASE, 50_001), Err(StatusWord::CONDITIONS_NOT_SATISFIED));
    assert_eq!(bench.load(1001), Err(StatusWord::CONDITIONS_NOT_SATISFIED));
    assert_eq!(bench.load(u32::MAX), Err(StatusWord::CONDITIONS_NOT_SATISFIED));
    bench.load(1000).unwrap();
    assert_eq!(bench.balance(), 100_000);
}

#[test]
fn amount_zero_is_for_capp_alone() {
    for suite in SUITES {
        let mut bench = Bench::new(suite, 5000);
        bench.pin();
        assert_eq!(bench.init(PURCHASE, 0), Err(StatusWord::WRONG_DATA));
        assert_eq!(bench.init(TransactionType::Load, 0), Err(StatusWord::WRONG_DATA));
        bench.init(CAPP, 0).unwrap();
    }
}

#[test]
fn a_counter_at_its_maximum_is_9402() {
    for suite in SUITES {
        let mut bench = Bench::with(suite, 5000, Default::default(), |new| {
            new.offline = OfflineCounter(0xFFFE);
            new.online = OnlineCounter(0xFFFF);
        });
        bench.pin();
        bench.purchase(1).unwrap();
        bench.prove(PURCHASE, 0xFFFF).unwrap();
        assert_eq!(bench.init(PURCHASE, 1), Err(StatusWord::COUNTER_AT_MAXIMUM));
        assert_eq!(bench.init(CAPP, 0), Err(StatusWord::COUNTER_AT_MAXIMUM));
        assert_eq!(bench.load(1), Err(StatusWord::COUNTER_AT_MAXIMUM));
    }
}

#[test]
fn prove_answers_for_the_last_ten_transactions_over_both_counters() {
    for suite in SUITES {
        let mut bench = Bench::new(suite, 5000);
        bench.pin();
        let first = bench.load(100).unwrap();
        let mut last = None;
        for _ in 0..9 {
            last = Some(bench.purchase(1).unwrap());
        }
        let proved = bench.prove(TransactionType::Load, 1).unwrap();
        assert_eq!(proved, [vec![0; suite.mac_len()], first].concat(), "a load proves zeros and its TAC");
        // INIT, PROVE and failures clear nothing.
        bench.init(PURCHASE, 1).unwrap();
        assert_eq!(bench.prove(PURCHASE, 99), Err(StatusWord::NO_PROVE_DATA));
        let nine = bench.prove(PURCHASE, 9).unwrap();
        let last = last.unwrap();
        assert_eq!(nine, [last.mac2.as_bytes(), last.tac.as_bytes()].concat());
        assert_eq!(bench.prove(CAPP, 9), Err(StatusWord::NO_PROVE_DATA), "the type must be right");
        bench.purchase(1).unwrap();
        assert_eq!(bench.prove(TransactionType::Load, 1), Err(StatusWord::NO_PROVE_DATA));
        bench.prove(PURCHASE, 1).unwrap();
        bench.power_on();
        bench.prove(PURCHASE, 10).unwrap();
    }
}

#[test]
fn the_log_shows_the_newest_first_and_forgets_the_oldest() {
    let mut bench = Bench::new(Suite::Aes, 5000);
    assert_eq!(bench.sw("00B201C400"), "6A83");
    for amount in 1..=25 {
        bench.purchase(amount).unwrap();
    }
    let record = |bench: &mut Bench, number: u8| bench.data(&[0x00, 0xB2, number, 0xC4, 0x17]).unwrap();
    let newest = record(&mut bench, 1);
    assert_eq!(newest[..2], [0, 25]);
    assert_eq!(newest[5..9], [0, 0, 0, 25]);
    assert_eq!(newest[9], 0x06);
    assert_eq!(newest[10..16], TERMINAL.0);
    assert_eq!(record(&mut bench, 20)[..2], [0, 6]);
    assert_eq!(bench.sw("00B215C417"), "6A83");
}

#[test]
fn a_load_needs_the_pin_and_a_reset_forgets_it() {
    for suite in SUITES {
        let mut bench = Bench::new(suite, 0);
        assert_eq!(bench.load(100), Err(StatusWord::SECURITY_NOT_SATISFIED));
        bench.pin();
        bench.load(100).unwrap();
        bench.power_on();
        assert_eq!(bench.load(100), Err(StatusWord::SECURITY_NOT_SATISFIED));
        bench.pin();
        bench.apdu(&unhex("00A40000023F00"));
        bench.apdu(&unhex("00A40000021001"));
        assert_eq!(bench.load(100), Err(StatusWord::SECURITY_NOT_SATISFIED));
        assert_eq!(bench.balance(), 100);
    }
}

#[test]
fn a_wrong_pin_counts_down_and_blocks_and_a_right_one_gives_the_tries_back() {
    let mut bench = Bench::new(Suite::Aes, 0);
    assert_eq!(bench.sw("0020000003999999"), "63C2");
    assert_eq!(bench.sw("00200000021234"), "63C1", "a prefix of the PIN is not the PIN");
    bench.pin();
    assert_eq!(bench.sw("00200000"), "63C3");
    for expected in ["63C2", "63C1", "6983"] {
        assert_eq!(bench.sw("0020000003999999"), expected);
    }
    assert_eq!(bench.sw("0020000003123456"), "6983");
    assert_eq!(bench.sw("0020000503123456"), "6A88");
    assert_eq!(bench.sw("002000000112"), "6700");
    assert_eq!(bench.load(1), Err(StatusWord::SECURITY_NOT_SATISFIED));
}

#[test]
fn a_pin_changes_with_the_old_one_and_a_wrong_old_one_costs_a_try() {
    let mut bench = Bench::new(Suite::Aes, 0);
    assert_eq!(bench.sw("805E010007999999FF654321"), "63C2");
    assert_eq!(bench.sw("805E010007123456FF654321"), "9000");
    assert_eq!(bench.sw("0020000003123456"), "63C2");
    assert_eq!(bench.sw("0020000003654321"), "9000");
    assert_eq!(bench.sw("805E010003654321"), "6A80");
    assert_eq!(bench.sw("805E010005654321FF11"), "6700");
}

#[test]
fn wrong_load_macs_lock_the_load_key_at_fifteen_and_a_right_one_clears_the_count() {
    for suite in SUITES {
        let mut bench = Bench::new(suite, 500);
        bench.pin();
        let wrong = |bench: &mut Bench| {
            let mut credit = bench.online_command(TransactionType::Load, 100)?;
            let at = credit.len() - 2;
            credit[at] ^= 1;
            bench.data(&credit)
        };
        for _ in 0..14 {
            assert_eq!(wrong(&mut bench), Err(StatusWord::MAC_WRONG));
        }
        bench.load(100).unwrap();
        for _ in 0..15 {
            assert_eq!(wrong(&mut bench), Err(StatusWord::MAC_WRONG));
        }
        assert_eq!(wrong(&mut bench), Err(StatusWord::PIN_BLOCKED));
        assert_eq!(bench.load(100), Err(StatusWord::PIN_BLOCKED));
        assert_eq!(bench.balance(), 600);
        bench.purchase(600).unwrap();
    }
}

#[test]
fn an_unload_returns_money_and_its_parameter_is_the_suites() {
    for suite in SUITES {
        let mut bench = Bench::new(suite, 5000);
        bench.pin();
        let mac3 = bench.online_command(TransactionType::Unload, 2000).unwrap();
        let mac3 = bench.data(&mac3).unwrap();
        assert_eq!(bench.balance(), 3000);
        let proved = bench.prove(TransactionType::Unload, 1).unwrap();
        assert_eq!(proved, [mac3, vec![0; suite.mac_len()]].concat());
        assert_eq!(bench.init(TransactionType::Unload, 3001), Err(StatusWord::INSUFFICIENT_BALANCE));
        let other = if suite == Suite::Aes { "01" } else { "02" };
        assert_eq!(bench.sw(&format!("805005{other}0B01000000010000000000170000")[..34]), "6A86");
    }
}

#[test]
fn a_credit_does_not_finish_an_unload_nor_a_debit_a_load() {
    let mut bench = Bench::new(Suite::Aes, 5000);
    bench.pin();
    let unload = bench.online_command(TransactionType::Unload, 100).unwrap();
    let mut credit = unload.clone();
    credit[1] = 0x52;
    credit[2] = 0x00;
    assert_eq!(bench.data(&credit), Err(StatusWord::NOT_ACCEPTED));
    let load = bench.online_command(TransactionType::Load, 100).unwrap();
    let mut debit = load.clone();
    debit[1] = 0x54;
    debit[2] = 0x03;
    assert_eq!(bench.data(&debit), Err(StatusWord::NOT_ACCEPTED));
    assert_eq!(bench.balance(), 5000);
}

#[test]
fn capp_records_are_whole_known_and_inside_a_capp_transaction() {
    for suite in SUITES {
        let mut bench = Bench::new(suite, 5000);
        let transit = format!("80DC01D0800001007C{}", "AA".repeat(124));
        assert_eq!(bench.sw(&transit), "6901", "no transaction");
        bench.init(PURCHASE, 1).unwrap();
        assert_eq!(bench.sw(&transit), "6901", "a plain purchase has no cache");
        let refused = [
            ("80DC01D0050001007C01".to_string(), "6700"),
            (transit.replace("80DC01", "80DC02"), "6A83"),
            (transit.replace("0001007C", "0002007C"), "6A80"),
            (format!("80DC00C417{}", "00".repeat(23)), "6982"),
            (format!("80DC000C04{}", "00".repeat(4)), "6A82"),
            (format!("80DC00F42F{}", "00".repeat(47)), "6700"),
        ];
        for (command, sw) in refused {
            bench.init(CAPP, 0).unwrap();
            assert_eq!(bench.sw(&command), sw, "{command}");
            assert_eq!(bench.sw(&transit), "6901", "a refused record ends the transaction");
        }
        bench.init(CAPP, 0).unwrap();
        for _ in 0..8 {
            assert_eq!(bench.sw(&transit), "9000");
        }
        assert_eq!(bench.sw(&transit), "6A84");
        assert!(!bench.hex_apdu("00B201D400").contains("AAAA"), "nothing of it is durable");
    }
}

#[test]
fn suite_10_refuses_a_debit_whose_mac_does_not_cover_the_cached_records() {
    let mut bench = Bench::new(Suite::Aes, 5000);
    let init = bench.init(CAPP, 300).unwrap();
    assert_eq!(bench.sw(&format!("80DC00F430{}", "11".repeat(48))), "9000");
    let debit = bench.debit_command(CAPP, 300, &init, CappDigest::default());
    assert_eq!(bench.data(&debit), Err(StatusWord::MAC_WRONG));
    assert_eq!(bench.balance(), 5000);
}

#[test]
fn unknown_keys_classes_instructions_and_parameters_have_their_status_words() {
    for suite in SUITES {
        let mut bench = Bench::new(suite, 5000);
        assert_eq!(bench.sw("00B0000000"), "6986");
        assert_eq!(bench.sw("805001020B090000000100000000001700"), "9403");
        assert_eq!(bench.sw("805001020A0100000001000000000000"), "6700");
        assert_eq!(bench.sw("8050300008000000000000000000"), "6A86", "INITIALIZE UPDATE is another command");
        assert_eq!(bench.sw("A0A40000023F00"), "6E00");
        assert_eq!(bench.sw("80FE0000"), "6D00");
        assert_eq!(bench.sw("805C000104"), "6A86");
        assert_eq!(bench.sw("00A4000002ABCD"), "6A82");
        assert_eq!(bench.sw("00A4040009F0AAAAAAAAAAAAAAAA"), "6A82");
        assert_eq!(bench.sw("00B0950001"), "9000");
        assert_eq!(bench.sw("00B0951E00"), "6B00");
        assert_eq!(bench.sw("00B0980000"), "6981");
        assert_eq!(bench.sw("00B2018C00"), "6A82");
        assert_eq!(bench.sw("00B201AC00"), "6981");
        assert_eq!(bench.sw("00C0000000"), "6985");
        assert_eq!(bench.sw("00A4"), "6700");
        assert_eq!(bench.sw("00D6950001AA"), "6982");
        assert_eq!(bench.sw("00840000"), "6700");
    }
}

#[test]
fn selection_goes_by_file_by_name_and_by_the_front_of_a_name() {
    let mut bench = Bench::new(Suite::Des, 0);
    let whole = bench.hex_apdu("00A4040009A0000000038698070100");
    assert!(whole.starts_with("6F2E8409A00000000386980701A5219F0C1E"), "{whole}");
    assert_eq!(bench.hex_apdu("00A4040007A0000000038698"), whole);
    assert_eq!(bench.hex_apdu("00A40000021001"), whole);
    assert_eq!(bench.hex_apdu("00A40000023F00"), "6F15840E315041592E5359532E4444463031A5038801019000");
    assert_eq!(bench.hex_apdu("00B2010C00"), "7011610F4F09A0000000038698070150021001".to_string() + "9000");
    assert_eq!(bench.hex_apdu("00A404000E315041592E5359532E444446303100"), bench.hex_apdu("00A40000"));
    bench.apdu(&unhex("00A40000021001"));
    assert_eq!(bench.sw("00A40000020015"), "9000");
    assert_eq!(bench.hex_apdu("00B0000A0A"), "62170000001234567890".to_string() + "9000");
}

/// A class x4 command with its MAC under a fresh challenge.
fn secured(bench: &mut Bench, key_use: KeyUse, header: [u8; 4], body: &[u8]) -> Vec<u8> {
    let challenge: [u8; 4] = bench.data(&unhex("0084000004")).unwrap().try_into().unwrap();
    let key = Secret::new(*bench.keys.card_key(key_use, bench.asn).unwrap().expose());
    let lc = u8::try_from(body.len() + 4).unwrap();
    let mac = messaging::command_mac(&key, challenge, header, lc, body);
    [header.as_slice(), &[lc], body, &mac].concat()
}

#[test]
fn files_change_under_secure_messaging_of_suite_00_and_not_otherwise() {
    let mut bench = Bench::new(Suite::Des, 0);
    let command = secured(&mut bench, KeyUse::Maintenance, [0x04, 0xD6, 0x96, 0x02], b"A. HOLDER");
    assert_eq!(bench.data(&command), Ok(vec![]));
    assert!(bench.hex_apdu("00B0960000").contains(&hex(b"A. HOLDER")));
    assert_eq!(bench.data(&command), Err(StatusWord::DATA_INVALIDATED), "the challenge is good once");
    let mut wrong = secured(&mut bench, KeyUse::Maintenance, [0x04, 0xD6, 0x96, 0x02], b"B. HOLDER");
    wrong[6] ^= 1;
    assert_eq!(bench.data(&wrong), Err(StatusWord::SECURE_MESSAGING_WRONG));
    let record = [7; 48];
    let append = secured(&mut bench, KeyUse::Maintenance, [0x04, 0xE2, 0x00, 0xF4], &record);
    assert_eq!(bench.data(&append), Ok(vec![]));
    let update = secured(&mut bench, KeyUse::Maintenance, [0x04, 0xDC, 0x01, 0xF4], &[8; 48]);
    assert_eq!(bench.data(&update), Ok(vec![]));
    assert!(bench.hex_apdu("00B201F400").starts_with("0808"));
    let log = secured(&mut bench, KeyUse::Maintenance, [0x04, 0xE2, 0x00, 0xC4], &[9; 23]);
    assert_eq!(bench.data(&log), Err(StatusWord::SECURITY_NOT_SATISFIED), "the log is the card's own");
    let outside = secured(&mut bench, KeyUse::Maintenance, [0x04, 0xD6, 0x96, 0x26], &[1, 2]);
    assert_eq!(bench.data(&outside), Err(StatusWord::WRONG_OFFSET));
    bench.apdu(&unhex("805C000204"));
    let late = secured(&mut bench, KeyUse::Maintenance, [0x04, 0xD6, 0x96, 0x00], &[1]);
    bench.apdu(&unhex("805C000204"));
    assert_eq!(bench.data(&late), Err(StatusWord::DATA_INVALIDATED), "the challenge is for the next command");
}

#[test]
fn a_blocked_application_answers_6a81_until_unblocked_and_for_good_9303() {
    let mut bench = Bench::new(Suite::Des, 5000);
    let block = secured(&mut bench, KeyUse::Maintenance, [0x84, 0x1E, 0x00, 0x00], &[]);
    assert_eq!(bench.data(&block), Ok(vec![]));
    assert_eq!(bench.sw("805C000204"), "6A81");
    bench.power_on();
    assert_eq!(bench.sw("00A40000021001"), "6A81");
    assert_eq!(bench.init(PURCHASE, 1), Err(StatusWord::FUNCTION_NOT_SUPPORTED));
    let unblock = secured(&mut bench, KeyUse::Maintenance, [0x84, 0x18, 0x00, 0x00], &[]);
    assert_eq!(bench.data(&unblock), Ok(vec![]), "a blocked application is the current one");
    bench.purchase(1).unwrap();
    let block = secured(&mut bench, KeyUse::Maintenance, [0x84, 0x1E, 0x00, 0x01], &[]);
    assert_eq!(bench.data(&block), Ok(vec![]));
    assert_eq!(bench.init(PURCHASE, 1), Err(StatusWord::PERMANENTLY_BLOCKED));
    let unblock = secured(&mut bench, KeyUse::Maintenance, [0x84, 0x18, 0x00, 0x00], &[]);
    assert_eq!(bench.data(&unblock), Err(StatusWord::PERMANENTLY_BLOCKED));
}

#[test]
fn management_macs_lock_their_key_at_fifteen() {
    let mut bench = Bench::new(Suite::Des, 5000);
    for round in 0..16 {
        let mut block = secured(&mut bench, KeyUse::Maintenance, [0x84, 0x1E, 0x00, 0x00], &[]);
        let at = block.len() - 1;
        block[at] ^= 1;
        let expected = if round < 15 { StatusWord::SECURE_MESSAGING_WRONG } else { StatusWord::PIN_BLOCKED };
        assert_eq!(bench.data(&block), Err(expected));
    }
    bench.purchase(1).unwrap();
}

#[test]
fn a_right_mac_on_a_wrong_command_is_no_guess_at_the_key() {
    let mut bench = Bench::new(Suite::Des, 0);
    for _ in 0..16 {
        let outside = secured(&mut bench, KeyUse::Maintenance, [0x04, 0xD6, 0x96, 0x26], &[1, 2]);
        assert_eq!(bench.data(&outside), Err(StatusWord::WRONG_OFFSET));
        let no_pin = secured(&mut bench, KeyUse::PinUnblock, [0x84, 0x24, 0x00, 0x00], &[7; 8]);
        assert_eq!(bench.data(&no_pin), Err(StatusWord::WRONG_DATA));
    }
    let inside = secured(&mut bench, KeyUse::Maintenance, [0x04, 0xD6, 0x96, 0x00], &[1, 2]);
    assert_eq!(bench.data(&inside), Ok(vec![]));
}

#[test]
fn a_blocked_pin_comes_back_by_unblock_and_by_reload() {
    let mut bench = Bench::new(Suite::Des, 0);
    for _ in 0..3 {
        bench.sw("0020000003999999");
    }
    let key = Secret::new(*bench.keys.card_key(KeyUse::PinUnblock, bench.asn).unwrap().expose());
    let mut sealed = [0; 16];
    let n = messaging::encrypt(&key, &[0x65, 0x43, 0x21], &mut sealed).unwrap();
    let unblock = secured(&mut bench, KeyUse::PinUnblock, [0x84, 0x24, 0x00, 0x00], &sealed[..n]);
    assert_eq!(bench.data(&unblock), Ok(vec![]));
    assert_eq!(bench.sw("0020000003654321"), "9000");
    for _ in 0..3 {
        bench.sw("0020000003999999");
    }
    let key = bench.keys.card_key(KeyUse::PinReload, bench.asn).unwrap();
    let [mut left, right] = protocol::crypto::halves(key.expose());
    left.iter_mut().zip(right).for_each(|(l, r)| *l ^= r);
    let mac = protocol::crypto::left4(protocol::crypto::des_cbc_mac(&left, [0; 8], &[&[0x11, 0x22]]));
    assert_eq!(bench.sw(&format!("805E0000061122{}", hex(&[mac[0] ^ 1, mac[1], mac[2], mac[3]]))), "9302");
    assert_eq!(bench.sw(&format!("805E0000061122{}", hex(&mac))), "9000");
    assert_eq!(bench.sw("00200000021122"), "9000");
}

#[test]
fn suite_10_takes_no_class_x4_management() {
    let mut bench = Bench::new(Suite::Aes, 5000);
    bench.apdu(&unhex("0084000004"));
    assert_eq!(bench.sw("841E00000400000000"), "6882");
    assert_eq!(bench.sw("805E0000051122000000"), "6982");
}

#[test]
fn a_card_in_a_contact_slot_answers_by_get_response_and_the_transaction_survives_it() {
    for suite in SUITES {
        let mut bench = Bench::new(suite, 5000);
        let mut memory = RamMemory::new();
        let keys = IssuerKeys::for_tests(suite, 0);
        let new = NewCard::for_tests(bench.asn).with_balance(protocol::money::CardAmount(5000));
        new.make(&keys, &mut memory).unwrap();
        bench.card = Card::new(memory, SeededRandom::new(9)).with_transport(Transport::Character);
        bench.power_on();
        let mac_len = u8::try_from(suite.mac_len()).unwrap();
        assert_eq!(bench.sw("805001020B0100000064000000000017"), format!("61{:02X}", 11 + mac_len));
        let init = bench.data(&unhex("00C0000000")).unwrap();
        let debit = bench.debit_command(PURCHASE, 100, &init, CappDigest::default());
        assert_eq!(bench.apdu(&debit), [0x61, 2 * mac_len]);
        assert_eq!(bench.data(&unhex("00C0000000")).unwrap().len(), usize::from(2 * mac_len));
        assert_eq!(bench.sw("805C000200"), "6C04");
        assert_eq!(bench.hex_apdu("805C000204"), "000013249000");
    }
}

#[test]
fn the_counter_is_the_one_that_init_answers() {
    let mut bench = Bench::new(Suite::Aes, 5000);
    assert_eq!(bench.counter(), OfflineCounter(0));
    bench.purchase(1).unwrap();
    bench.purchase(1).unwrap();
    assert_eq!(bench.counter(), OfflineCounter(2));
}
