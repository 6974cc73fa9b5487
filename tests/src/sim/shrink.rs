//! The shortest story: a failing plan is tried again with less of it, as long as it still breaks the same rule.

use super::check::Violation;
use super::plan::{Act, Gateways, Plan, Presence, Visit};
use super::world::{Care, play};
use std::mem::{Discriminant, discriminant};

/// Most replays that are spent on one failure.
const TRIES_MAX: usize = 1_500;

/// The plan without anything that the failure does not need.
#[must_use]
pub fn shortest(plan: &Plan) -> Plan {
    let Some(kind) = failure(plan) else { return plan.clone() };
    let mut best = plan.clone();
    let mut tries = 0;
    loop {
        let before = size(&best);
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
        if before == size(&best) {
            return best;
        }
    }
}

fn size(plan: &Plan) -> (usize, usize, usize, Gateways) {
    (plan.acts.len(), plan.tap_count(), plan.fault_count(), plan.gateways)
}

fn failure(plan: &Plan) -> Option<Discriminant<Violation>> {
    let played = play(plan, Care::default());
    played.violations.first().map(discriminant)
}

/// A way to make a plan smaller at a position; `None` when the positions are used up.
type Smaller = fn(&Plan, usize) -> Option<Plan>;
/// From the coarse to the fine.
const CANDIDATES: [Smaller; 5] =
    [without_tail, with_fewer_gateways, without_act, without_fault, with_less_in_the_field];

/// Only the first acts: position 0 is a half, then a quarter more, and so on.
fn without_tail(plan: &Plan, position: usize) -> Option<Plan> {
    let length = plan.acts.len();
    let drop = length >> (position + 1);
    if drop == 0 {
        return None;
    }
    let mut smaller = plan.clone();
    smaller.acts.truncate(length - drop);
    Some(smaller)
}

/// One gateway alone; one less; terminals that stay with theirs.
fn with_fewer_gateways(plan: &Plan, position: usize) -> Option<Plan> {
    let Gateways { count, in_turn, overlap } = plan.gateways;
    let smaller = [
        Gateways::ONE,
        Gateways { count: count.saturating_sub(1).max(1), in_turn, overlap },
        Gateways { count, in_turn: false, overlap },
    ];
    let mut smaller = smaller.into_iter().filter(|gateways| *gateways != plan.gateways);
    smaller.nth(position).map(|gateways| Plan { gateways, ..plan.clone() })
}

fn without_act(plan: &Plan, position: usize) -> Option<Plan> {
    (position < plan.acts.len()).then(|| {
        let mut smaller = plan.clone();
        smaller.acts.remove(position);
        smaller
    })
}

/// One fault less: in the terminal, on the line, or at the gateway.
fn without_fault(plan: &Plan, position: usize) -> Option<Plan> {
    edit_nth(plan, position, |act, left| {
        let (faults, line, gateway) = match act {
            Act::Visit(visit) => (&mut visit.faults, &mut visit.line, &mut visit.gateway),
            Act::Errand(errand) => (&mut errand.faults, &mut errand.line, &mut errand.gateway),
            Act::Online(act) if act.dies && *left == 0 => {
                act.dies = false;
                return true;
            }
            Act::Online(act) => {
                *left -= usize::from(act.dies);
                return take_nth(&mut act.line, left) || take_nth(&mut act.gateway, left);
            }
            Act::Copy { .. } | Act::Disk { .. } | Act::Keys { .. } => return false,
        };
        take_nth(faults, left) || take_nth(line, left) || take_nth(gateway, left)
    })
}

/// Removes the one wanted, or counts what is here down.
fn take_nth<T>(list: &mut Vec<T>, left: &mut usize) -> bool {
    if *left < list.len() {
        list.remove(*left);
        return true;
    }
    *left -= list.len();
    false
}

fn with_less_in_the_field(plan: &Plan, position: usize) -> Option<Plan> {
    edit_nth(plan, position, |act, left| match act {
        Act::Visit(visit) => less_in_the_field(visit, left),
        _ => false,
    })
}

fn less_in_the_field(visit: &mut Visit, left: &mut usize) -> bool {
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
}

/// Applies `edit` to acts, counting down its edits, until it says that the one wanted is done.
fn edit_nth(plan: &Plan, position: usize, edit: impl Fn(&mut Act, &mut usize) -> bool) -> Option<Plan> {
    let mut smaller = plan.clone();
    let mut left = position;
    let done = smaller.acts.iter_mut().any(|act| edit(act, &mut left));
    done.then_some(smaller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_several_gateways_is_tried_with_one_with_one_less_and_with_terminals_that_stay() {
        let of = |count, in_turn| {
            let plan = Plan { gateways: Gateways { count, in_turn, overlap: false }, ..Plan::of_seed(0) };
            let tried = (0..).map_while(|position| with_fewer_gateways(&plan, position));
            tried.map(|plan| (plan.gateways.count, plan.gateways.in_turn)).collect::<Vec<_>>()
        };
        assert_eq!(of(3, true), [(1, false), (2, true), (3, false)]);
        assert_eq!(of(3, false), [(1, false), (2, false)]);
        assert_eq!(of(2, true), [(1, false), (1, true), (2, false)]);
        assert_eq!(of(1, false), []);
    }
}
