//! The simulation within a fixed budget: no seed breaks a rule, and no fault point stays unhit.
//! `make sim SEEDS=a..b` replays what fails here.
#![cfg(test)]

use card_applet_sim::memory::Survival;
use protocol::money::CardAmount;
use protocol::purse::Suite;
use std::time::{Duration, Instant};
use tests::sim::campaign::{run, story};
use tests::sim::coverage::Coverage;
use tests::sim::plan::{CardFault, CardPlan, Plan, Presence, TerminalFault, TerminalPlan, Visit};
use tests::sim::{Care, play};

/// Histories that must be played, however slow the machine: enough to hit every fault point many times over.
const SEEDS_MIN: u64 = 1_500;
/// On a fast machine, more of them.
const BUDGET: Duration = Duration::from_secs(20);

#[test]
fn no_history_loses_or_makes_money_and_every_fault_point_is_hit() {
    let until = Instant::now() + BUDGET;
    let mut report = run(0..SEEDS_MIN, None);
    let more = run(SEEDS_MIN..u64::MAX, Some(until));
    report.histories += more.histories;
    report.coverage.add(&more.coverage);
    report.failing.extend(more.failing);
    println!("{}", report.last_line());
    assert!(report.failing.is_empty(), "{}\n{}", report.last_line(), report.stories());
    let missing = report.coverage.missing();
    assert!(missing.is_empty(), "never hit, of {} points: {missing:?}", Coverage::required_count());
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in [0, 7, 4711] {
        let tell = || play(&Plan::of_seed(seed), Care { every_visit: true, story: true, office: true }).story;
        assert_eq!(tell(), tell());
        assert_eq!(story(seed), story(seed));
    }
}

/// The history that `docs/simulation.md` tells: a torn tap and its recovery, then a terminal that dies between its intent
/// and the debit, while the card pays elsewhere.
fn documented() -> Plan {
    let tap = |fault| vec![Presence::Card { card: 0, fault, lingers: false }];
    let visit = |terminal, cents, field, faults| Visit {
        terminal,
        amount: CardAmount(cents),
        after_ms: 60_000,
        field,
        faults,
    };
    let torn = Some(CardFault::AnswerLost { apdu: 2, bytes: 0 });
    Plan {
        seed: 1,
        cards: vec![CardPlan { suite: Suite::Aes, balance: CardAmount(5_000), survival: Survival::None }],
        terminals: vec![TerminalPlan::default(); 2],
        visits: vec![
            visit(0, 250, [tap(torn), tap(None)].concat(), vec![]),
            visit(0, 400, tap(None), vec![TerminalFault::CrashAfterDurable { store: 0 }]),
            visit(1, 120, tap(None), vec![]),
            visit(0, 400, tap(None), vec![]),
        ],
    }
}

#[test]
fn the_history_in_the_documentation_is_what_happens() {
    let page = include_str!("../../docs/simulation.md");
    let played = play(&documented(), Care { every_visit: true, story: true, office: true });
    assert_eq!(played.violations, []);
    for line in played.story.iter().take_while(|line| !line.contains("quiet day")) {
        assert!(
            page.contains(line.trim()),
            "docs/simulation.md does not tell: {line}\n{}",
            played.story.join("\n")
        );
    }
}
