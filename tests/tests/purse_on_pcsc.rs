//! A card pays from its purse on a real PC/SC daemon, with the real programs: whatever happens at the reader, the card lost
//! exactly what the journal books.
#![cfg(test)]

use serde_json::Value;
use tests::daemon::isolated;
use tests::shop::Shop;

/// Balance of a card in minor units, as its own memory says.
fn balance(shop: &Shop, card: &str) -> i64 {
    let shown = shop.inspect(card);
    find(&shown, "balance").unwrap_or_else(|| panic!("no balance in {shown}"))
}

/// The first number under this key, as minor units.
fn find(value: &Value, key: &str) -> Option<i64> {
    match value {
        Value::Object(map) => map.iter().find_map(|(name, inner)| match inner {
            Value::Number(number) if name == key => number.as_i64(),
            Value::Object(money) if name == key && money.contains_key("minor") => {
                money.get("minor")?.as_i64()
            }
            other => find(other, key),
        }),
        Value::Array(items) => items.iter().find_map(|inner| find(inner, key)),
        _ => None,
    }
}

#[test]
fn a_card_pays_offline_and_card_and_journal_agree_in_both_suites() {
    isolated("a_card_pays_offline_and_card_and_journal_agree_in_both_suites", || {
        let shop = Shop::open("10");
        let sale = shop.terminal(&["sale", "12.50"]);
        assert_eq!(sale.code, 0, "{sale:?}");
        assert!(sale.out.contains("12.50 CNY") && sale.out.contains("37.50"), "{sale:?}");
        assert_eq!(balance(&shop, "a.card"), 3750);
        let history = shop.terminal(&["history", "--json"]);
        assert_eq!((history.code, find(&history.json(), "minor")), (0, Some(1250)), "{history:?}");
        let shown = shop.terminal(&["balance", "--json"]);
        assert!(shown.out.contains("3750"), "{shown:?}");
        drop(shop);
        let old = Shop::open("00");
        let sale = old.terminal(&["sale", "12.50"]);
        assert_eq!((sale.code, balance(&old, "a.card")), (0, 3750), "{sale:?}");
    });
}

#[test]
fn a_debit_whose_answer_is_lost_is_recovered_at_the_next_tap_without_a_second_debit() {
    isolated("a_debit_whose_answer_is_lost_is_recovered_at_the_next_tap_without_a_second_debit", || {
        let shop = Shop::open("10");
        shop.hand("tear ins54 answer");
        let sale = shop.terminal_meanwhile(&["sale", "12.50"]);
        shop.wait_for_tear();
        shop.hand("insert");
        let sale = sale.end();
        assert_eq!(sale.code, 0, "{sale:?}");
        assert_eq!(balance(&shop, "a.card"), 3750);
        let history = shop.terminal(&["history", "--json"]);
        assert_eq!(find(&history.json(), "taken"), Some(1), "{history:?}");
    });
}

#[test]
fn an_interrupted_debit_survives_the_terminals_death_and_is_never_taken_twice() {
    isolated("an_interrupted_debit_survives_the_terminals_death_and_is_never_taken_twice", || {
        let shop = Shop::open("10");
        shop.hand("tear ins54 answer");
        let sale = shop.terminal_meanwhile(&["sale", "12.50"]);
        shop.wait_for_tear();
        sale.kill();
        assert_eq!(balance(&shop, "a.card"), 3750, "the card was debited");
        shop.hand("insert");
        let again = shop.terminal(&["sale", "12.50"]);
        assert_ne!(
            again.code, 0,
            "the earlier payment is completed, nothing is taken for the new one: {again:?}"
        );
        assert_eq!(balance(&shop, "a.card"), 3750);
        let new = shop.terminal(&["sale", "2.50"]);
        assert_eq!((new.code, balance(&shop, "a.card")), (0, 3500), "{new:?}");
    });
}

#[test]
fn a_debit_that_never_reached_the_card_is_void_and_paid_afresh() {
    isolated("a_debit_that_never_reached_the_card_is_void_and_paid_afresh", || {
        let shop = Shop::open("10");
        shop.hand("tear ins54 command");
        let sale = shop.terminal_meanwhile(&["sale", "12.50"]);
        shop.wait_for_tear();
        shop.hand("insert");
        let sale = sale.end();
        assert_eq!((sale.code, balance(&shop, "a.card")), (0, 3750), "{sale:?}");
        let history = shop.terminal(&["history", "--json"]);
        assert!(history.out.contains("void") && history.out.contains("approved"), "{history:?}");
    });
}

#[test]
fn another_card_is_not_taken_for_the_interrupted_one() {
    isolated("another_card_is_not_taken_for_the_interrupted_one", || {
        let shop = Shop::open("10");
        shop.hand("tear ins54 answer");
        let sale = shop.terminal_meanwhile(&["sale", "12.50"]);
        shop.wait_for_tear();
        shop.hand("swap b.card");
        shop.hand("insert");
        let sale = sale.end();
        assert_ne!(sale.code, 0, "{sale:?}");
        assert_eq!((balance(&shop, "a.card"), balance(&shop, "b.card")), (3750, 5000));
        let history = shop.terminal(&["history", "--uncertain", "--json"]);
        assert!(history.out.contains("open") || history.out.contains("uncertain"), "{history:?}");
    });
}

#[test]
fn more_than_the_balance_is_refused_and_nothing_is_taken() {
    isolated("more_than_the_balance_is_refused_and_nothing_is_taken", || {
        let shop = Shop::open("10");
        let sale = shop.terminal(&["sale", "50.01"]);
        assert_ne!(sale.code, 0);
        assert!(
            format!("{}{}", sale.out, sale.err).contains("50.00"),
            "the customer is told what there is: {sale:?}"
        );
        assert_eq!(balance(&shop, "a.card"), 5000);
    });
}

#[test]
fn clients_that_are_not_ours_read_the_balance_through_the_same_daemon() {
    isolated("clients_that_are_not_ours_read_the_balance_through_the_same_daemon", || {
        let shop = Shop::open("10");
        let select = "00A4040009F05441504C494E450100";
        let opensc = shop.run(&Shop::tool("opensc-tool"), &["-r", "0", "-s", select, "-s", "805C000204"]);
        assert!(opensc.out.contains("00 00 13 88"), "{opensc:?}");
        let script = "from smartcard.System import readers\n\
            from smartcard.util import toBytes, toHexString\n\
            c = readers()[0].createConnection(); c.connect()\n\
            d, a, b = c.transmit(toBytes('00A4040009F05441504C494E450100'))\n\
            assert (a, b) == (0x90, 0), (a, b)\n\
            d, a, b = c.transmit(toBytes('805C000204'))\n\
            print(toHexString(d), '%02X%02X' % (a, b))\n";
        let pyscard = shop.run(&Shop::tool("python3-pcsc"), &["-c", script]);
        assert!(pyscard.out.contains("00 00 13 88 9000"), "{pyscard:?}");
    });
}

#[test]
fn a_sam_with_another_issuers_keys_takes_nothing() {
    isolated("a_sam_with_another_issuers_keys_takes_nothing", || {
        let shop = Shop::closed("10");
        let sim = |arguments: &[&str]| assert_eq!(shop.run("card-applet-sim", arguments).code, 0);
        // The same key version, other keys: the SAM answers, and only the card can tell.
        sim(&["personalise", "issuer", "--issuer", "5441504C494E4501", "--out", "other.toml"]);
        sim(&[
            "personalise",
            "sam",
            "--issuer",
            "other.toml",
            "--terminal",
            "000000000099",
            "--out",
            "other.sam",
        ]);
        let shop = shop.with_slots_of(&["--card", "a.card", "--sam", "other.sam"]);
        let sale = shop.terminal(&["--json", "sale", "12.50"]);
        assert_eq!(sale.code, 69, "{sale:?}");
        // It names the SAM, not the card: this SAM has never taken a payment of that issuer.
        let result = &sale.json()["result"];
        assert_eq!(result["code"], "TL-1307", "{sale:?}");
        assert!(result["what"].as_str().unwrap().contains("000000000099"), "{sale:?}");
        assert_eq!(balance(&shop, "a.card"), 5000, "nothing was taken: {sale:?}");
        let open = shop.terminal(&["--json", "history", "--uncertain"]);
        assert_eq!(find(&open.json(), "uncertain"), Some(0), "and nothing is left open: {open:?}");
    });
}
