//! One payment and its recovery, torn everywhere: at each APDU, at each byte of command and answer, at each write and
//! sync of the card's memory, in both suites; and the terminal and its SAM lost at each step. Not by chance: all of it.
#![cfg(test)]

use card_applet_sim::memory::Survival;
use protocol::money::CardAmount;
use protocol::purse::Suite;
use tests::sim::plan::{CardFault, CardPlan, Plan, Presence, TerminalFault, TerminalPlan, Visit};
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
    Visit { terminal, amount: AMOUNT, after_ms: 90_000, field, faults }
}

fn played(suite: Suite, survival: Survival, visits: Vec<Visit>) -> Played {
    let card = CardPlan { suite, balance: CardAmount(10_000), survival };
    let plan = Plan { seed: 1, cards: vec![card], terminals: vec![TerminalPlan::default(); 2], visits };
    let played = play(&plan, Care { every_visit: true, story: false, office: true });
    if !played.violations.is_empty() {
        let told = play(&plan, Care { every_visit: true, story: true, office: true });
        panic!("{suite} {survival:?}\n{}", told.story.join("\n"));
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
