//! What chance alone brings about too seldom, put into a history on purpose: a few acts in a row, at any moment of it.

use super::super::keyring::SECOND;
use super::super::plan::*;
use super::super::rng::Rng;
use super::Temper;
use protocol::money::CardAmount;

/// Histories in which a terminal's disk is restored or replaced, of a hundred.
const RESTORES_OF_100: u64 = 15;
/// Histories in which a settlement comes again, of a hundred.
const SETTLED_AGAIN_OF_100: u64 = 25;
/// Histories in which issuers bring new keys, of a hundred.
const NEW_KEYS_OF_100: u64 = 15;
/// Histories in which a terminal is enrolled again, of a hundred.
const RENEWED_OF_100: u64 = 12;
/// Histories in which two batches are on their way on purpose, of a hundred that may have it.
const ON_THEIR_WAY_OF_100: u64 = 70;
/// Milliseconds behind something, so that the gateway has decided it and the commit is on its way.
const JUST_BEHIND_MS: u64 = 6;
/// The frame of a settlement with nothing to be sent before it: it comes after the sign-in.
const SETTLEMENT: usize = 1;

impl Temper {
    /// Puts scenes among the acts.
    pub(super) fn scenes(&mut self, acts: &mut Vec<Act>) {
        if self.rng.chance(RESTORES_OF_100) {
            self.disks(acts);
        }
        if self.rng.chance(SETTLED_AGAIN_OF_100) {
            let scene = self.settled_again();
            let at = 1 + self.rng.index(acts.len());
            acts.splice(at..at, scene);
        }
    }

    /// A terminal whose disk is restored or replaced, once or several times.
    fn disks(&mut self, acts: &mut Vec<Act>) {
        let terminal = self.rng.index(self.terminals);
        let mut at = 0;
        for round in 0..2 + self.rng.index(5) {
            at += 1 + self.rng.index(1 + acts.len().saturating_sub(at) / 2);
            let what = match self.rng.below(6) {
                _ if round == 0 => Imaging::Keep,
                0 => Imaging::Keep,
                1 => Imaging::Replace,
                _ => Imaging::Restore,
            };
            let act = Act::Disk { terminal, after_ms: self.pause(), what };
            acts.insert(at.min(acts.len()), act);
        }
    }

    /// Two batches on their way at one gateway: what is decided while the commit before is under way, whatever becomes of that.
    pub(super) fn on_their_way(&mut self) -> Vec<Act> {
        let Gateways { count, overlap, .. } = self.gateways;
        if !overlap || !self.own.chance(ON_THEIR_WAY_OF_100) {
            return Vec::new();
        }
        let mut acts = match self.own.below(4) {
            0 if self.terminals > count => self.two_uploads(count),
            0 | 1 => vec![self.load_twice()],
            _ => vec![self.load_given_up()],
        };
        // With the end of a history everything that is planned to go wrong ends.
        acts.push(errand(0, Task::HangUp, 90_000, Vec::new()));
        acts
    }

    /// A commit that takes its time, and what becomes of it.
    fn slow_commit(&mut self, ms: u64) -> Vec<GatewayFault> {
        let own = &mut self.own;
        let slow = Trouble::UnderWay { ms, early: own.chance(50) };
        let trouble = match own.below(7) {
            0 => Some(Trouble::Fails),
            1 => Some(Trouble::DiesBefore(300)),
            2 => Some(Trouble::DiesAfter(300)),
            3 => Some(Trouble::Conflicts(own.pick(&[1, 1, 4]))),
            4 | 5 => Some(Trouble::Away { ms: own.pick(&[300, 8_000]), kept: own.chance(50) }),
            _ => None,
        };
        [Some(slow), trouble]
            .into_iter()
            .flatten()
            .map(|trouble| GatewayFault { commit: 0, trouble })
            .collect()
    }

    /// Two terminals of one gateway upload; the other one's own records, or the same ones.
    fn two_uploads(&mut self, other: usize) -> Vec<Act> {
        let pay = |terminal| Act::Visit(at_the_till(terminal, Want::Pay(CardAmount(1)), 0));
        let gateway = self.slow_commit(60);
        let task = if self.own.chance(50) { Task::Upload } else { Task::Steal { from: 0 } };
        vec![
            pay(0),
            pay(other),
            errand(0, Task::Upload, 90_000, Vec::new()),
            errand(other, task, JUST_BEHIND_MS, gateway),
        ]
    }

    /// A load that comes again while its commit is on its way.
    fn load_twice(&mut self) -> Act {
        let (terminal, card) = (self.own.index(self.terminals), self.own.index(self.cards));
        let blow = Blow::Twice(JUST_BEHIND_MS);
        let line = vec![LineFault { way: Way::Up, frame: 1, blow }];
        let gateway = self.slow_commit(60);
        Act::Visit(Visit { line, gateway, ..at_the_till(terminal, Want::Load(CardAmount(2_000)), card) })
    }

    /// A load that its terminal gives up and reverses while its commit is on its way; meanwhile another gateway may commit one on the same account.
    fn load_given_up(&mut self) -> Act {
        let mut visit =
            Visit { gateway: self.slow_commit(25_000), ..at_the_till(0, Want::Load(CardAmount(2_000)), 0) };
        if self.gateways.count > 1 && self.terminals > 1 && self.cards > 1 {
            let trouble = Trouble::UnderWay { ms: 25_000, early: false };
            visit.gateway = vec![GatewayFault { commit: 0, trouble }];
            let elsewhere = at_the_till(1, Want::Load(CardAmount(1_000)), 1);
            visit.field.push(Presence::Elsewhere(Box::new(Visit { after_ms: 0, ..elsewhere })));
        }
        Act::Visit(visit)
    }

    /// A settlement that comes twice, or whose answer is lost and that comes again behind the sign-in that asks what became of it.
    fn settled_again(&mut self) -> [Act; 2] {
        let terminal = self.rng.index(self.terminals);
        let errand = |task, line| {
            let (faults, gateway) = (Vec::new(), Vec::new());
            Act::Errand(Errand { terminal, task, after_ms: 90_000, faults, line, gateway })
        };
        let up = |frame, blow| LineFault { way: Way::Up, frame, blow };
        let lost = LineFault { way: Way::Down, frame: SETTLEMENT, blow: Blow::Lost };
        let late_ms = self.rng.pick(&[30, 900, 25_000]);
        let line = match self.rng.below(3) {
            0 => vec![up(SETTLEMENT, Blow::Twice(late_ms))],
            1 => vec![lost, up(SETTLEMENT + 1, Blow::Replay(0))],
            _ => vec![lost, up(SETTLEMENT, Blow::Twice(late_ms))],
        };
        [errand(Task::Upload, Vec::new()), errand(Task::Settle, line)]
    }
}

fn at_the_till(terminal: usize, want: Want, card: usize) -> Visit {
    Visit {
        terminal,
        want,
        after_ms: 90_000,
        field: vec![Presence::Card { card, fault: None, lingers: false }],
        faults: Vec::new(),
        line: Vec::new(),
        gateway: Vec::new(),
    }
}

fn errand(terminal: usize, task: Task, after_ms: u64, gateway: Vec<GatewayFault>) -> Act {
    Act::Errand(Errand { terminal, task, after_ms, faults: Vec::new(), line: Vec::new(), gateway })
}

/// Issuers bring new keys, and terminals are enrolled again. Apart from everything else, so that other histories stay what they are.
pub(super) fn keys(plan: &mut Plan) {
    let mut rng = Rng::new(plan.seed.wrapping_mul(0xD1B5_4A32_D192_ED03) ^ 0x4E45);
    let put = |acts: &mut Vec<Act>, at: usize, terminal, after_ms, what| {
        acts.insert(at.min(acts.len()), Act::Keys { terminal, after_ms, what });
    };
    if rng.chance(NEW_KEYS_OF_100) {
        for card in &mut plan.cards {
            if rng.chance(60) {
                card.version = SECOND;
            }
        }
        for (index, terminal) in plan.terminals.iter_mut().enumerate() {
            terminal.old_sam = rng.chance(25);
            terminal.old_profile = rng.chance(60);
            if terminal.old_profile && rng.chance(70) {
                let at = rng.index(plan.acts.len() + 1);
                put(&mut plan.acts, at, index, 1_000, Rekey::Profile);
            }
        }
    }
    if plan.gateways.count == 1 && rng.chance(RENEWED_OF_100) {
        let mut terminal = rng.index(plan.terminals.len());
        let mut at = rng.index(plan.acts.len() + 1);
        if rng.chance(40) {
            at = rng.index(plan.cards.len());
        }
        // Behind a load whose answer is lost: its reversal waits, or is on its way.
        let lost = LineFault { way: Way::Down, frame: 1, blow: Blow::Lost };
        if let Some(Act::Visit(visit)) = plan.acts.get_mut(at)
            && matches!(visit.want, Want::Load(_))
        {
            visit.line = vec![lost];
            (terminal, at) = (visit.terminal, at + 1);
        }
        let soon = rng.index(8);
        // Right behind an act, whose messages may still be on their way.
        let after_ms = rng.pick(&[0, 5, 15, 60_000]);
        put(&mut plan.acts, at, terminal, after_ms, Rekey::Renew);
        put(&mut plan.acts, at + 1 + soon, terminal, 1_000, Rekey::Provision);
    }
}
