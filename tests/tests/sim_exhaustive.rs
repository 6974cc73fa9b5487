//! One payment and its recovery, torn everywhere: at each APDU, at each byte of command and answer, at each write and
//! sync of the card's memory, in both suites; and the terminal and its SAM lost at each step. One load, upload and settlement, with each
//! frame hit by each blow, and terminal and gateway dying at each of their commits. Not by chance: all of it.
#![cfg(test)]

use card_applet_sim::memory::Survival;
use protocol::money::CardAmount;
use protocol::purse::Suite;
use tests::sim::plan::{
    Act, Blow, CardFault, CardPlan, Errand, GatewayFault, Gateways, LineFault, Plan, Presence, Task,
    TerminalFault, TerminalPlan, Trouble, Visit, Want, Way,
};
use tests::sim::{Care, Played, play};

const SUITES: [Suite; 2] = [Suite::Aes, Suite::Des];
const SURVIVALS: [Survival; 4] = [Survival::None, Survival::All, Survival::Front(128), Survival::Back(128)];
const AMOUNT: CardAmount = CardAmount(250);
/// APDUs of a payment (3) or of a recovery with a payment after it (5), and one more.
const APDUS: usize = 6;
/// Longest command or answer, in bytes, and one more.
const BYTES: usize = 70;
/// Writes and syncs of a commit (2), and one more.
const OPERATIONS: u64 = 3;
/// Steps of a payment with a recovery in it, and some more.
const STEPS: usize = 24;

fn tap(fault: Option<CardFault>) -> Presence {
    Presence::Card { card: 0, fault, lingers: false }
}

fn visit(terminal: usize, field: Vec<Presence>, faults: Vec<TerminalFault>) -> Visit {
    let (line, gateway) = (Vec::new(), Vec::new());
    Visit { terminal, want: Want::Pay(AMOUNT), after_ms: 90_000, field, faults, line, gateway }
}

fn load(amount: u32, field: Vec<Presence>) -> Visit {
    Visit { want: Want::Load(CardAmount(amount)), after_ms: 0, ..visit(0, field, Vec::new()) }
}

fn played(suite: Suite, survival: Survival, visits: Vec<Visit>) -> Played {
    let first = load(10_000, vec![tap(None)]);
    played_acts(suite, survival, std::iter::once(first).chain(visits).map(Act::Visit).collect())
}

fn played_acts(suite: Suite, survival: Survival, acts: Vec<Act>) -> Played {
    played_at(Gateways::ONE, suite, survival, acts)
}

fn played_at(gateways: Gateways, suite: Suite, survival: Survival, acts: Vec<Act>) -> Played {
    let card = CardPlan { suite, version: protocol::ids::KeyVersion(1), funds: 100_000, survival };
    let terminals = vec![TerminalPlan::default(); 2];
    let plan = Plan { seed: 1, cards: vec![card], terminals, counters: 0, gateways, acts };
    let played = play(&plan, Care { every_act: true, story: false });
    if !played.violations.is_empty() {
        let told = play(&plan, Care { every_act: true, story: true });
        panic!("{suite} {survival:?} {gateways:?}\n{}", told.story.join("\n"));
    }
    played
}

/// Every way to lose the field in APDU number `apdu`, one of each kind.
fn tears(apdu: usize) -> Vec<CardFault> {
    let in_memory = (0..OPERATIONS).map(|operations| CardFault::PowerLost { apdu, operations, share: 128 });
    let lost = [CardFault::CommandLost { apdu, bytes: 0 }, CardFault::AnswerLost { apdu, bytes: 0 }];
    lost.into_iter().chain(in_memory).collect()
}

/// The customer holds the card to the reader again: however the first tap was torn, 2.50 are taken once.
#[test]
fn a_tap_torn_anywhere_and_repeated_takes_the_amount_once() {
    for suite in SUITES {
        for apdu in 0..APDUS {
            let at_bytes = (0..BYTES).flat_map(|bytes| {
                [CardFault::CommandLost { apdu, bytes }, CardFault::AnswerLost { apdu, bytes }]
            });
            for fault in at_bytes {
                repeated_until_paid(suite, Survival::None, vec![tap(Some(fault)), tap(None)]);
            }
            for survival in SURVIVALS {
                for operations in 0..OPERATIONS {
                    for share in [0, 1, 100, 255] {
                        let fault = CardFault::PowerLost { apdu, operations, share };
                        repeated_until_paid(suite, survival, vec![tap(Some(fault)), tap(None)]);
                    }
                }
            }
        }
    }
}

/// Recovery itself is torn, anywhere.
#[test]
fn a_recovery_torn_anywhere_still_takes_the_amount_once() {
    for suite in SUITES {
        for first in (0..APDUS).flat_map(tears) {
            for second in (0..APDUS).flat_map(tears) {
                let field = vec![tap(Some(first)), tap(Some(second)), tap(None)];
                repeated_until_paid(suite, Survival::Front(128), field);
            }
        }
    }
}

fn repeated_until_paid(suite: Suite, survival: Survival, field: Vec<Presence>) {
    let hits = played(suite, survival, vec![visit(0, field.clone(), Vec::new())]).coverage;
    let paid = hits.count("end", "approved") + hits.count("end", "approved, recovered");
    // The two taps of the quiet end pay 0.01 each.
    assert_eq!((paid, hits.count("resolved", "done")), (3, 3), "{suite} {survival:?} {field:?}");
}

/// Nobody comes back to this till before it gives up: the card pays elsewhere first, then returns for another payment.
#[test]
fn a_torn_tap_is_resolved_when_the_card_returns_after_paying_elsewhere() {
    for suite in SUITES {
        for first in (0..APDUS).flat_map(tears) {
            for elsewhere in 0..3 {
                let mut visits = vec![visit(0, vec![tap(Some(first))], Vec::new())];
                visits.extend((0..elsewhere).map(|_| visit(1, vec![tap(None)], Vec::new())));
                visits.push(visit(0, vec![tap(None)], Vec::new()));
                let hits = played(suite, Survival::None, visits).coverage;
                assert_eq!(hits.count("resolved", "no proof"), 0, "the proof is kept for ten payments");
            }
        }
    }
}

/// The terminal dies, its disk fails, or its SAM goes, at every point of a payment that is torn or is not; afterwards
/// the card comes back to it.
#[test]
fn a_terminal_or_sam_lost_at_any_point_loses_no_money() {
    let at_steps = (0..STEPS).map(|step| TerminalFault::CrashAtStep { step });
    let at_stores = (0..4).flat_map(|store| {
        [
            TerminalFault::CrashBeforeDurable { store },
            TerminalFault::CrashAfterDurable { store },
            TerminalFault::DiskFull { store },
            TerminalFault::StoreLies { store },
        ]
    });
    let at_sam = (0..6).flat_map(|apdu| {
        let lost = [TerminalFault::SamCommandLost { apdu }, TerminalFault::SamAnswerLost { apdu }];
        lost.into_iter().chain((0..3).map(move |operations| TerminalFault::SamPowerLost { apdu, operations }))
    });
    let faults: Vec<_> = at_steps.chain(at_stores).chain(at_sam).collect();
    let torn = [None, Some(CardFault::AnswerLost { apdu: 2, bytes: 0 })];
    let torn = torn.into_iter().chain([Some(CardFault::CommandLost { apdu: 2, bytes: 0 })]);
    let torn = torn.chain([Some(CardFault::WrongMac2), Some(CardFault::MemoryRefuses)]);
    for first in torn {
        for fault in &faults {
            for suite in SUITES {
                let field = vec![tap(first), tap(None)];
                let visits = vec![visit(0, field, vec![*fault]), visit(0, vec![tap(None)], Vec::new())];
                played(suite, Survival::None, visits);
            }
        }
    }
}

/// A day of one card at one terminal: loaded, paid, uploaded, settled; `line`, `gateway` and `faults` strike the act with this number.
fn day(
    at: usize,
    line: &[LineFault],
    gateway: &[GatewayFault],
    faults: &[TerminalFault],
    load_fault: Option<CardFault>,
) -> Vec<Act> {
    let errand = |task| Errand {
        terminal: 0,
        task,
        after_ms: 60_000,
        faults: Vec::new(),
        line: Vec::new(),
        gateway: Vec::new(),
    };
    let mut acts = vec![
        Act::Visit(load(5_000, vec![tap(load_fault)])),
        Act::Visit(visit(0, vec![tap(None)], Vec::new())),
        Act::Errand(errand(Task::Upload)),
        Act::Visit(visit(0, vec![tap(None)], Vec::new())),
        Act::Errand(errand(Task::Settle)),
    ];
    match &mut acts[at] {
        Act::Visit(visit) => {
            (visit.line, visit.gateway, visit.faults) = (line.to_vec(), gateway.to_vec(), faults.to_vec());
        }
        Act::Errand(errand) => {
            (errand.line, errand.gateway, errand.faults) = (line.to_vec(), gateway.to_vec(), faults.to_vec());
        }
        Act::Online(_) | Act::Copy { .. } | Act::Disk { .. } | Act::Keys { .. } => {}
    }
    acts
}

/// Acts of the day that use the line.
const ONLINE: [usize; 3] = [0, 2, 4];
/// Frames of an act in one direction, and some more.
const FRAMES: usize = 6;

#[test]
fn each_frame_of_a_day_hit_by_each_blow_leaves_the_books_whole() {
    let blows = [
        Blow::Lost,
        Blow::Twice(1),
        Blow::Twice(50_000),
        Blow::Late(25_000),
        Blow::Late(500_000),
        Blow::Garbled(0),
        Blow::Garbled(14),
        Blow::Garbled(60),
        Blow::Split(1),
        Blow::Split(40),
        Blow::Cut,
        Blow::CutAfter,
        Blow::Silence(60_000),
        Blow::Replay(0),
        Blow::Replay(2),
    ];
    for suite in SUITES {
        for act in ONLINE {
            for frame in 0..FRAMES {
                for blow in blows {
                    for way in [Way::Up, Way::Down] {
                        let fault = LineFault { way, frame, blow };
                        played_acts(suite, Survival::None, day(act, &[fault], &[], &[], None));
                    }
                }
            }
        }
    }
}

#[test]
fn a_gateway_or_terminal_that_dies_at_any_commit_of_a_day_leaves_the_books_whole() {
    for act in ONLINE {
        for commit in 0..5 {
            for trouble in [
                Trouble::DiesBefore(1_000),
                Trouble::DiesAfter(1_000),
                Trouble::DiesAfter(90_000),
                Trouble::Full,
                Trouble::Fails,
                Trouble::IssuerOut,
            ] {
                let fault = GatewayFault { commit, trouble };
                played_acts(Suite::Aes, Survival::None, day(act, &[], &[fault], &[], None));
            }
        }
        for store in 0..6 {
            for fault in [
                TerminalFault::CrashBeforeDurable { store },
                TerminalFault::CrashAfterDurable { store },
                TerminalFault::DiskFull { store },
                TerminalFault::StoreLies { store },
            ] {
                played_acts(Suite::Aes, Survival::None, day(act, &[], &[], &[fault], None));
            }
        }
    }
}

#[test]
fn a_load_torn_anywhere_is_credited_once_or_not_at_all() {
    for suite in SUITES {
        for first in (0..APDUS).flat_map(tears).chain([CardFault::WrongMac2, CardFault::LeavesWhileAsking]) {
            for step in [None, Some(2), Some(8), Some(12)] {
                let crash = step.map(|step| TerminalFault::CrashAtStep { step });
                played_acts(suite, Survival::Front(128), day(0, &[], &[], crash.as_slice(), Some(first)));
            }
        }
    }
}

/// Two gateways, the terminal staying with one, or going to the other with each connection.
const TWO: [Gateways; 2] = [
    Gateways { count: 2, in_turn: false, overlap: true },
    Gateways { count: 2, in_turn: true, overlap: true },
];

/// A day whose terminal begins every act with a connection of its own.
fn day_of_short_connections(at: usize, line: &[LineFault], gateway: &[GatewayFault]) -> Vec<Act> {
    let hang_up = |after_ms| {
        Act::Errand(Errand {
            terminal: 0,
            task: Task::HangUp,
            after_ms,
            faults: Vec::new(),
            line: Vec::new(),
            gateway: Vec::new(),
        })
    };
    day(at, line, gateway, &[], None).into_iter().flat_map(|act| [hang_up(30_000), act]).collect()
}

#[test]
fn every_commit_of_a_day_overtaken_by_the_other_gateway_after_any_read_leaves_the_books_whole() {
    for gateways in TWO {
        let mut overtaken = 0;
        for act in ONLINE {
            for commit in 0..5 {
                for commits in [1, 2, 5] {
                    for reads in [1, 2, 3, 5, 8, usize::MAX] {
                        let fault = GatewayFault { commit, trouble: Trouble::Overtaken { commits, reads } };
                        let acts = day_of_short_connections(act, &[], &[fault]);
                        let hits = played_at(gateways, Suite::Aes, Survival::None, acts).coverage;
                        let kinds = ["load", "confirmation", "upload", "settlement"];
                        overtaken += kinds.iter().map(|kind| hits.count("overtaken", kind)).sum::<u64>();
                    }
                }
            }
        }
        assert!(!gateways.in_turn || overtaken > 100, "decided again only {overtaken} times");
    }
}

#[test]
fn every_commit_of_a_day_that_is_given_up_while_it_is_on_its_way_leaves_the_books_whole() {
    let alone = Gateways { overlap: true, ..Gateways::ONE };
    let troubles = [
        None,
        Some(Trouble::Full),
        Some(Trouble::DiesBefore(300)),
        Some(Trouble::DiesAfter(300)),
        Some(Trouble::Conflicts(1)),
        Some(Trouble::Away { ms: 300, kept: false }),
        Some(Trouble::Away { ms: 300, kept: true }),
        Some(Trouble::Away { ms: 60_000, kept: false }),
        Some(Trouble::Away { ms: 60_000, kept: true }),
    ];
    let mut read_ahead = 0;
    for gateways in [alone, TWO[0]] {
        for act in ONLINE {
            for commit in 0..5 {
                for (early, trouble) in troubles.iter().flat_map(|it| [(false, *it), (true, *it)]) {
                    // Longer than a terminal waits: it asks again, or takes back what is on its way.
                    let slow = Trouble::UnderWay { ms: 25_000, early };
                    let faults = [Some(slow), trouble].into_iter().flatten();
                    let faults: Vec<_> = faults.map(|trouble| GatewayFault { commit, trouble }).collect();
                    let acts = day(act, &[], &faults, &[], None);
                    let hits = played_at(gateways, Suite::Aes, Survival::None, acts).coverage;
                    read_ahead += hits.count("commits on their way", "read while it was on its way");
                }
            }
        }
    }
    assert!(read_ahead > 50, "only {read_ahead} were decided on what was on its way");
}

#[test]
fn every_frame_of_a_day_repeated_at_the_other_gateway_leaves_the_books_whole() {
    let late = [1, 20, 280, 400, 600, 21_000, 500_000].map(Blow::LateOver);
    let blows = late.into_iter().chain([Blow::Over, Blow::Parted(5_000), Blow::Parted(600_000)]);
    let mut again = 0;
    for blow in blows {
        for gateways in TWO {
            for act in ONLINE {
                for frame in 0..FRAMES {
                    for way in [Way::Up, Way::Down] {
                        let acts = day(act, &[LineFault { way, frame, blow }], &[], &[], None);
                        let hits = played_at(gateways, Suite::Aes, Survival::None, acts).coverage;
                        again += hits.count("at another gateway", "record again");
                        again += hits.count("at another gateway", "reversal");
                    }
                }
            }
        }
    }
    assert!(again > 20, "only {again} came to the other gateway too");
}

#[test]
fn a_gateway_that_dies_or_loses_the_database_at_any_commit_leaves_the_other_to_go_on() {
    let mut went_on = 0;
    for gateways in TWO {
        for act in ONLINE {
            for commit in 0..5 {
                for trouble in [
                    Trouble::DiesBefore(60_000),
                    Trouble::DiesAfter(60_000),
                    Trouble::Away { ms: 60_000, kept: false },
                    Trouble::Away { ms: 60_000, kept: true },
                    Trouble::Conflicts(2),
                    Trouble::Conflicts(40),
                    Trouble::Slow(25_000),
                ] {
                    let acts = day(act, &[], &[GatewayFault { commit, trouble }], &[], None);
                    let hits = played_at(gateways, Suite::Aes, Survival::None, acts).coverage;
                    went_on += hits.count("gateways", "one answers while another is down");
                }
            }
        }
    }
    assert!(went_on > 10, "the other answered {went_on} times");
}
