//! The simulation within a fixed budget: half a million taps, no seed breaks a rule, and no fault point stays unhit.
//! `make sim SEEDS=a..b` replays what fails here.
#![cfg(test)]

use card_applet_sim::memory::Survival;
use protocol::money::CardAmount;
use protocol::purse::Suite;
use std::time::{Duration, Instant};
use tests::sim::campaign::{Enough, run, story};
use tests::sim::coverage::Coverage;
use tests::sim::plan::{
    Act, Blow, CardFault, CardPlan, Errand, Gateways, LineFault, Plan, Presence, Task, TerminalPlan, Visit,
    Want, Way,
};
use tests::sim::{Care, play};

/// Taps that are played, if the machine has the time for them.
const TAPS: u64 = 500_000;
/// Histories that must be played, however slow the machine: enough to hit every fault point.
const SEEDS_MIN: u64 = 6_000;
/// On a slow machine no more after this.
const BUDGET: Duration = Duration::from_secs(60);

#[test]
fn no_history_loses_or_makes_money_and_every_fault_point_is_hit() {
    let until = Some(Instant::now() + BUDGET);
    let report = run(0..u64::MAX, Enough { taps: Some(TAPS), seeds_min: SEEDS_MIN, until });
    assert!(report.failing.is_empty(), "{}\n{}", report.last_line(), report.stories());
    let missing = report.coverage.missing();
    assert!(missing.is_empty(), "never hit, of {} points: {missing:?}", Coverage::required_count());
    println!("{}", report.last_line());
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in [0, 7, 4711] {
        let tell = || play(&Plan::of_seed(seed), Care { every_act: true, story: true }).story;
        assert_eq!(tell(), tell());
        assert_eq!(story(seed), story(seed));
    }
}

fn tap(fault: Option<CardFault>) -> Vec<Presence> {
    vec![Presence::Card { card: 0, fault, lingers: false }]
}

fn visit(want: Want, after_ms: u64, field: Vec<Presence>) -> Act {
    let (faults, line, gateway) = (Vec::new(), Vec::new(), Vec::new());
    Act::Visit(Visit { terminal: 0, want, after_ms, field, faults, line, gateway })
}

fn errand(task: Task, line: Vec<LineFault>) -> Act {
    Act::Errand(Errand { terminal: 0, task, after_ms: 60_000, faults: Vec::new(), line, gateway: Vec::new() })
}

/// The history that `docs/simulation.md` tells: an empty card is loaded, a tap is torn and recovered, the answer to the upload is lost
/// and the upload repeated, and the batch is settled.
fn documented() -> Plan {
    let torn = Some(CardFault::AnswerLost { apdu: 2, bytes: 0 });
    let lost = LineFault { way: Way::Down, frame: 1, blow: Blow::Lost };
    Plan {
        seed: 1,
        cards: vec![CardPlan {
            suite: Suite::Aes,
            version: protocol::ids::KeyVersion(1),
            funds: 100_000,
            survival: Survival::None,
        }],
        terminals: vec![TerminalPlan::default()],
        counters: 0,
        gateways: Gateways::ONE,
        acts: vec![
            visit(Want::Load(CardAmount(5_000)), 60_000, tap(None)),
            visit(Want::Pay(CardAmount(250)), 60_000, [tap(torn), tap(None)].concat()),
            errand(Task::Upload, vec![lost]),
            visit(Want::Pay(CardAmount(400)), 60_000, tap(None)),
            errand(Task::Settle, Vec::new()),
            errand(Task::HangUp, Vec::new()),
        ],
    }
}

#[test]
fn a_story_of_two_gateways_says_which_of_them_a_terminal_speaks_to() {
    let gateways = Gateways { count: 2, in_turn: true, overlap: true };
    let played = play(&Plan { gateways, ..documented() }, Care { every_act: true, story: true });
    assert_eq!(played.violations, []);
    for line in
        ["Till 1 → gateway A: load", "Till 1 ← gateway A: answer to load, 00", "Till 1 → gateway B: sign-in"]
    {
        assert!(played.story.iter().any(|told| told.contains(line)), "{line}\n{}", played.story.join("\n"));
    }
}

#[test]
fn the_history_in_the_documentation_is_what_happens() {
    let page = include_str!("../../docs/simulation.md");
    let played = play(&documented(), Care { every_act: true, story: true });
    assert_eq!(played.violations, []);
    for line in played.story.iter().take_while(|line| !line.contains("quiet day")) {
        assert!(
            page.contains(line.trim()),
            "docs/simulation.md does not tell: {line}\n{}",
            played.story.join("\n")
        );
    }
}
