//! The same commands in both languages.

use crate::fakes::{Purse, SamManner};
use crate::till::{Till, no_readers};
use console::Exit;

#[test]
fn a_sale_speaks_chinese_when_asked_to_and_its_json_keeps_its_names() {
    let (till, purse) = (Till::new(), Purse::new(10_000));
    let said = till.tap(&["--lang", "zh-CN", "sale", "12.50"], &purse, SamManner::Good);
    assert!(said.out.contains("已批准：12.50 CNY") && said.out.contains("交易后余额"), "{}", said.out);
    assert!(said.err.contains("请刷卡"), "{}", said.err);
    let json = till.tap(&["--lang", "zh-CN", "--json", "sale", "999"], &purse, SamManner::Good).json();
    assert_eq!(json["result"]["name"], "balance-too-low");
    assert!(json["result"]["what"].as_str().unwrap().contains("余额不足"));
}

#[test]
fn the_language_may_come_from_the_environment_and_an_unknown_one_is_refused() {
    let mut till = Till::new();
    till.environment.insert("TAPLINE_LANG".into(), "zh".into());
    assert!(till.run(&["history"], no_readers()).out.contains("没有付款"));
    let said = till.run(&["--lang", "tlh", "history"], no_readers());
    assert_eq!(said.exit, Exit::Usage);
    assert!(said.err.contains("TL-1005") && said.err.contains("en, zh-CN"), "{}", said.err);
}

#[test]
fn help_and_completions_come_without_configuration() {
    let till = Till::bare();
    let help = till.run(&["--help"], no_readers());
    assert_eq!(help.exit, Exit::Success);
    assert!(help.out.contains("terminal sale 12.50"), "{}", help.out);
    let completions = till.run(&["completions", "bash"], no_readers());
    assert!(completions.out.contains("complete -F _terminal"), "{}", completions.out);
    assert_eq!(till.run(&["sale"], no_readers()).exit, Exit::Usage);
    assert_eq!(till.run(&["init", "--print"], no_readers()).out, terminal::config::DEFAULT);
}
