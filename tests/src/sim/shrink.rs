//! The shortest story: a failing plan is tried again with less of it, as long as it still breaks the same rule.

use super::check::Violation;
use super::plan::{Plan, Presence, Visit};
use super::world::{Care, play};
use std::mem::{Discriminant, discriminant};

/// Most replays that are spent on one failure.
const TRIES_MAX: usize = 4_000;

/// The plan without anything that the failure does not need.
#[must_use]
pub fn shortest(plan: &Plan) -> Plan {
    let Some(kind) = failure(plan) else { return plan.clone() };
    let mut best = plan.clone();
    let mut tries = 0;
    loop {
        let before = (best.visits.len(), best.tap_count(), best.fault_count());
        for smaller in CANDIDATES {
            let mut position = 0;
            while let Some(candidate) = smaller(&best, position) {
                tries += 1;
                if tries > TRIES_MAX {
                    return best;
                }
                if failure(&candidate) == Some(kind) {
                    best = candidate;
                } else {
                    position += 1;
                }
            }
        }
        if before == (best.visits.len(), best.tap_count(), best.fault_count()) {
            return best;
        }
    }
}

fn failure(plan: &Plan) -> Option<Discriminant<Violation>> {
    let played = play(plan, Care { every_visit: true, story: false, office: true });
    played.violations.first().map(discriminant)
}

/// A way to make a plan smaller at a position; `None` when the positions are used up.
type Smaller = fn(&Plan, usize) -> Option<Plan>;
/// From the coarse to the fine.
const CANDIDATES: [Smaller; 4] =
    [without_tail, without_visit, without_terminal_fault, with_less_in_the_field];

/// Only the first visits: position 0 is a half, then a quarter more, and so on.
fn without_tail(plan: &Plan, position: usize) -> Option<Plan> {
    let length = plan.visits.len();
    let drop = length >> (position + 1);
    if drop == 0 {
        return None;
    }
    let mut smaller = plan.clone();
    smaller.visits.truncate(length - drop);
    Some(smaller)
}

fn without_visit(plan: &Plan, position: usize) -> Option<Plan> {
    (position < plan.visits.len()).then(|| {
        let mut smaller = plan.clone();
        smaller.visits.remove(position);
        smaller
    })
}

fn without_terminal_fault(plan: &Plan, position: usize) -> Option<Plan> {
    edit_nth(plan, position, |visit, left| {
        if *left < visit.faults.len() {
            visit.faults.remove(*left);
            return true;
        }
        *left -= visit.faults.len();
        false
    })
}

fn with_less_in_the_field(plan: &Plan, position: usize) -> Option<Plan> {
    edit_nth(plan, position, |visit, left| {
        // Two edits each: without it at all, and without its fault.
        let edits = visit.field.len() * 2;
        if *left >= edits {
            *left -= edits;
            return false;
        }
        let index = *left / 2;
        if left.is_multiple_of(2) {
            visit.field.remove(index);
        } else if let Some(Presence::Card { fault, lingers, .. }) = visit.field.get_mut(index) {
            *fault = None;
            *lingers = false;
        }
        true
    })
}

/// Applies `edit` to visits, counting down its edits, until it says that the one wanted is done.
fn edit_nth(plan: &Plan, position: usize, edit: impl Fn(&mut Visit, &mut usize) -> bool) -> Option<Plan> {
    let mut smaller = plan.clone();
    let mut left = position;
    let done = smaller.visits.iter_mut().any(|visit| edit(visit, &mut left));
    done.then_some(smaller)
}
