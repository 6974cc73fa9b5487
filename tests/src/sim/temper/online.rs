//! Counters that take cards online: each scene leads up to one message, and something goes wrong with that. Apart from everything else, so that
//! other histories stay what they are.

use super::super::plan::*;
use super::super::rng::Rng;
use crate::sim::counter::PAYERS;

/// Histories with counters, of a hundred.
const COUNTERS_OF_100: u64 = 50;
/// Most scenes of a history.
const SCENES_MAX: u64 = 6;

/// Puts scenes of counters among the acts.
pub(super) fn counters(plan: &mut Plan) {
    let mut rng = Rng::new(plan.seed.wrapping_mul(0xE703_7ED1_A0B4_28DB) ^ 0x0C0C);
    if !rng.chance(COUNTERS_OF_100) {
        return;
    }
    plan.counters = 1 + rng.index(2);
    let mut at = 0;
    for _ in 0..1 + rng.below(SCENES_MAX) {
        at += rng.index(2 + plan.acts.len().saturating_sub(at) / 2);
        let scene = scene(&mut rng, plan);
        let (place, length) = (at.min(plan.acts.len()), scene.len());
        plan.acts.splice(place..place, scene.into_iter().map(Act::Online));
        // Something else in between now and then.
        at = place + if rng.chance(70) { length } else { rng.index(length) };
    }
}

/// What leads up to a message, and the message.
fn scene(rng: &mut Rng, plan: &Plan) -> Vec<Online> {
    let payer = 1 + u32::try_from(rng.below(u64::from(PAYERS))).unwrap_or(0);
    let minor = 1 + rng.below(900);
    let (purchase, hold) = (Deal::Purchase { payer, minor }, Deal::Authorise { payer, minor });
    let complete = |advice| Deal::Complete { minor: 1 + minor / 2, advice };
    let deals = match rng.below(9) {
        0 => vec![purchase],
        1 => vec![purchase, Deal::Void],
        2 => vec![purchase, Deal::Settle, Deal::Refund { minor: 1 + minor / 2 }],
        3 => vec![hold],
        4 => vec![hold, Deal::VoidAuthorisation],
        5 => vec![hold, complete(false)],
        6 => vec![hold, complete(true)],
        7 => vec![hold, complete(false), Deal::VoidCompletion],
        _ => vec![Deal::Settle],
    };
    let counter = rng.index(plan.counters);
    let last = deals.len() - 1;
    let mut acts = Vec::new();
    for (index, deal) in deals.into_iter().enumerate() {
        let after_ms = if index == 0 { rng.below(200_000) } else { 100 + rng.below(2_000) };
        let mut act = Online { counter, deal, after_ms, dies: false, line: Vec::new(), gateway: Vec::new() };
        if index == last {
            go_wrong(rng, plan.gateways, &mut act);
        }
        acts.push(act);
    }
    acts
}

fn go_wrong(rng: &mut Rng, gateways: Gateways, act: &mut Online) {
    // Behind a settlement, and at the beginning, a sign-in comes first.
    let signs_in = matches!(act.deal, Deal::Refund { .. } | Deal::Purchase { .. } | Deal::Authorise { .. })
        || rng.chance(15);
    let frame = usize::from(signs_in);
    match rng.below(10) {
        0 => {}
        1 => act.dies = true,
        2 | 3 => act.gateway.push(GatewayFault { commit: 0, trouble: trouble(rng, gateways) }),
        4 => {
            // It is taken back, and that goes wrong too.
            let lost = LineFault { way: Way::Down, frame, blow: Blow::Lost };
            let again = LineFault { frame: frame + 1, ..fault(rng, gateways, frame) };
            act.line.extend([lost, again]);
        }
        _ => act.line.push(fault(rng, gateways, frame)),
    }
}

fn fault(rng: &mut Rng, gateways: Gateways, frame: usize) -> LineFault {
    let way = if rng.chance(50) { Way::Up } else { Way::Down };
    let late_ms = rng.pick(&[6, 900, 25_000, 70_000, 400_000]);
    let blow = match rng.below(if gateways.count > 1 { 15 } else { 9 }) {
        0 => Blow::Lost,
        1 => Blow::Twice(late_ms),
        2 => Blow::Late(late_ms),
        3 => Blow::Garbled(rng.index(160)),
        4 => Blow::Split(rng.index(160)),
        5 => Blow::Cut,
        6 => Blow::CutAfter,
        7 => Blow::Silence(rng.pick(&[5_000, 40_000])),
        8 => Blow::Replay(rng.index(6)),
        9..=11 => Blow::Over,
        _ => Blow::LateOver(rng.pick(&[20, 280, 600, 21_000])),
    };
    LineFault { way, frame, blow }
}

fn trouble(rng: &mut Rng, gateways: Gateways) -> Trouble {
    match rng.below(if gateways.overlap { 9 } else { 5 }) {
        0 => Trouble::DiesBefore(rng.pick(&[300, 5_000])),
        1 => Trouble::DiesAfter(rng.pick(&[300, 5_000])),
        2 => Trouble::Full,
        3 => Trouble::Fails,
        4 => Trouble::IssuerOut,
        5 => Trouble::UnderWay { ms: rng.pick(&[60, 25_000]), early: rng.chance(50) },
        6 => Trouble::Away { ms: rng.pick(&[300, 8_000]), kept: rng.chance(50) },
        _ => Trouble::Overtaken { commits: rng.pick(&[1, 2, 5]), reads: rng.pick(&[1, 4, usize::MAX]) },
    }
}
