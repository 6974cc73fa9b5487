//! From a seed to a plan. Each seed has a temper of its own: how many cards and tills, how much goes wrong, and of which kinds. What
//! every history has a little of, none has much of.
//!
//! Most acts are payments, which need no gateway; every card is loaded first, and loads, uploads and settlements come in between at a
//! rarer rate. What chance alone brings about too seldom is a scene of its own (`scenes`).

mod online;
mod scenes;

use super::keyring::FIRST;
use super::plan::*;
use super::rng::Rng;
use card_applet_sim::memory::Survival;
use protocol::money::CardAmount;
use protocol::purse::Suite;

const SURVIVALS: [Survival; 5] =
    [Survival::None, Survival::All, Survival::Front(128), Survival::Back(128), Survival::Front(250)];
const JUMPS_MS: [i64; 8] = [
    -1_000,
    1_000,
    -3_600_000,
    3_600_000,
    -400 * 86_400_000,
    400 * 86_400_000,
    4_000 * 86_400_000,
    -20_000 * 86_400_000,
];
/// Most acts of a history; most have fewer.
pub const ACTS_MAX: u64 = 80;
/// What a load is for, in minor units.
const LOADS: [u32; 5] = [1, 2_000, 5_000, 20_000, 40_000];

impl Plan {
    /// The history of `seed`.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(0xA076_1D64_78BD_642F));
        let cards = (0..1 + rng.index(3)).map(|_| CardPlan {
            suite: if rng.chance(60) { Suite::Aes } else { Suite::Des },
            version: FIRST,
            funds: if rng.chance(10) { 30_000 } else { 1_000_000 },
            survival: rng.pick(&SURVIVALS),
        });
        let cards: Vec<_> = cards.collect();
        let terminals = (0..1 + rng.index(3)).map(|_| TerminalPlan {
            foreign_sam: rng.chance(8),
            traces_used: if rng.chance(4) { 999_880 } else { 0 },
            ..TerminalPlan::default()
        });
        let terminals: Vec<_> = terminals.collect();
        // Apart from everything else, so that histories of one gateway do not depend on how many there might have been.
        let mut own = Rng::new(seed.wrapping_mul(0x9E6C_63D0_676A_9A99));
        let gateways = match own.below(100) {
            0..=21 => Gateways { count: 2, in_turn: own.chance(40), overlap: true },
            22..=29 => Gateways { count: 3, in_turn: own.chance(40), overlap: true },
            30..=49 => Gateways { overlap: true, ..Gateways::ONE },
            _ => Gateways::ONE,
        };
        let mut temper = Temper {
            cards: cards.len(),
            terminals: terminals.len(),
            gateways,
            over: own.pick(&[10, 25, 50]),
            overtaken: own.pick(&[0, 10, 30, 60]),
            own,
            card_faults: rng.pick(&[0, 15, 40, 70]),
            terminal_faults: rng.pick(&[0, 10, 30, 60]),
            line_faults: rng.pick(&[0, 10, 40, 70]),
            gateway_faults: rng.pick(&[0, 10, 30, 50]),
            crooks: rng.chance(30),
            copies: rng.chance(12),
            online: rng.pick(&[2, 6, 8, 16, 40]),
            kinds: rng.next(),
            line_kinds: rng.next(),
            rng,
        };
        let mut acts: Vec<Act> = (0..cards.len()).map(|card| temper.first_load(card)).collect();
        for _ in 0..4 + temper.rng.below(ACTS_MAX - 3) {
            let act = temper.act();
            acts.push(act);
        }
        if temper.terminal_faults > 0 && temper.rng.chance(20) {
            acts.extend(temper.torn_load());
        }
        acts.extend(temper.rush());
        acts.extend(temper.on_their_way());
        temper.scenes(&mut acts);
        let mut plan = Self { seed, cards, terminals, counters: 0, gateways, acts };
        scenes::keys(&mut plan);
        online::counters(&mut plan);
        plan
    }
}

/// A commit that takes longer than others: more often than not longer than it takes for another request to come.
fn under_way(rng: &mut Rng) -> Trouble {
    Trouble::UnderWay { ms: rng.pick(&[15, 60, 400, 3_000, 25_000]), early: rng.chance(50) }
}

/// What a seed likes.
struct Temper {
    rng: Rng,
    cards: usize,
    terminals: usize,
    gateways: Gateways,
    /// How often something goes wrong that only several gateways have: on the line, and between them.
    over: u64,
    overtaken: u64,
    own: Rng,
    card_faults: u64,
    terminal_faults: u64,
    line_faults: u64,
    gateway_faults: u64,
    /// Terminals may be crooked.
    crooks: bool,
    /// Cards may be copied.
    copies: bool,
    /// Share of acts that need the gateway, of a hundred.
    online: u64,
    /// Which kinds of fault this history has: one bit each.
    kinds: u64,
    line_kinds: u64,
}

impl Temper {
    fn has(&self, kind: u32) -> bool {
        self.kinds.rotate_right(kind) & 1 == 1
    }

    fn act(&mut self) -> Act {
        if self.copies && self.rng.chance(8) {
            return self.copy();
        }
        if !self.rng.chance(self.online) {
            return Act::Visit(self.visit(0));
        }
        if self.rng.chance(35) { Act::Visit(self.load()) } else { Act::Errand(self.errand()) }
    }

    fn copy(&mut self) -> Act {
        let card = self.rng.index(self.cards);
        let what = match self.rng.below(5) {
            0 | 1 => Copying::Keep(card),
            2 | 3 => Copying::Restore(card),
            _ => Copying::Clone(card),
        };
        Act::Copy { after_ms: self.pause(), what }
    }

    fn pause(&mut self) -> u64 {
        match self.rng.below(4) {
            0 => 0,
            1 => self.rng.below(3_000),
            _ => self.rng.below(600_000),
        }
    }

    // --- at the till --------------------------------------------------------------------------------------------

    fn first_load(&mut self, card: usize) -> Act {
        let terminal = self.rng.index(self.terminals);
        let amount = CardAmount(u32::try_from(1_000 + self.rng.below(30_000)).unwrap_or(0));
        let troubled = self.rng.chance(25);
        Act::Visit(Visit {
            terminal,
            want: Want::Load(amount),
            after_ms: 1_000,
            field: vec![Presence::Card { card, fault: None, lingers: false }],
            faults: Vec::new(),
            line: if troubled { self.line() } else { Vec::new() },
            gateway: if troubled { self.gateway() } else { Vec::new() },
        })
    }

    fn load(&mut self) -> Visit {
        let amount = CardAmount(self.rng.pick(&LOADS));
        let mut visit = Visit { want: Want::Load(amount), ..self.visit(0) };
        visit.field.retain(|presence| !matches!(presence, Presence::Elsewhere(_)) || amount.0 > 5_000);
        visit.line = self.line();
        visit.gateway = self.gateway();
        if self.crooks && self.rng.chance(25) {
            let crooked = [TerminalFault::ForgedConsent, TerminalFault::ReversesLoaded];
            visit.faults.push(self.rng.pick(&crooked));
        }
        visit
    }

    /// A load whose card is torn away at CREDIT, and a terminal that dies when it comes back to pay: seldom by chance alone.
    fn torn_load(&mut self) -> [Act; 2] {
        let (terminal, card) = (self.rng.index(self.terminals), self.rng.index(self.cards));
        let visit = |want, fault, faults| Visit {
            terminal,
            want,
            after_ms: 60_000,
            field: vec![Presence::Card { card, fault, lingers: false }],
            faults,
            line: Vec::new(),
            gateway: Vec::new(),
        };
        let torn = Some(CardFault::AnswerLost { apdu: 3, bytes: 0 });
        let step = 2 + self.rng.index(8);
        [
            Act::Visit(visit(Want::Load(CardAmount(2_000)), torn, Vec::new())),
            Act::Visit(visit(Want::Pay(CardAmount(100)), None, vec![TerminalFault::CrashAtStep { step }])),
        ]
    }

    fn visit(&mut self, depth: usize) -> Visit {
        let terminal = self.rng.index(self.terminals);
        let amount = CardAmount(match self.rng.below(10) {
            0 => 1,
            1 => u32::try_from(1 + self.rng.below(60_000)).unwrap_or(1),
            _ => u32::try_from(50 + self.rng.below(900)).unwrap_or(1),
        });
        let after_ms = self.pause();
        let mut card = self.rng.index(self.cards);
        let mut field = vec![self.card(card)];
        while self.rng.chance(45) && field.len() < 6 {
            if self.rng.chance(20) {
                card = self.rng.index(self.cards);
            }
            let next = match self.rng.below(20) {
                0 => Presence::Cancel,
                1..=3 if depth == 0 => Presence::Elsewhere(Box::new(self.elsewhere(card, terminal))),
                _ => self.card(card),
            };
            field.push(next);
        }
        let faults = self.terminal_faults();
        Visit {
            terminal,
            want: Want::Pay(amount),
            after_ms,
            field,
            faults,
            line: Vec::new(),
            gateway: Vec::new(),
        }
    }

    fn terminal_faults(&mut self) -> Vec<TerminalFault> {
        let mut faults = Vec::new();
        while self.rng.chance(self.terminal_faults) && faults.len() < 3 {
            faults.extend(self.terminal_fault());
        }
        faults
    }

    /// The same card at another terminal, most of the time.
    fn elsewhere(&mut self, card: usize, not_at: usize) -> Visit {
        let mut visit = self.visit(1);
        if visit.terminal == not_at {
            visit.terminal = (not_at + 1) % self.terminals;
        }
        if self.rng.chance(80) {
            visit.field.insert(0, Presence::Card { card, fault: None, lingers: false });
        }
        visit
    }

    fn card(&mut self, card: usize) -> Presence {
        let fault = if self.rng.chance(self.card_faults) { self.card_fault() } else { None };
        // Where cards are copied, it is now and then the copy that is presented: the world takes the original if there is none.
        let card = if self.copies && self.rng.chance(30) { self.cards + self.rng.index(2) } else { card };
        Presence::Card { card, fault, lingers: self.rng.chance(4) }
    }

    fn card_fault(&mut self) -> Option<CardFault> {
        let kind = u32::try_from(self.rng.below(9)).unwrap_or(0);
        let apdu = self.rng.index(5);
        let bytes = self.rng.index(24);
        let fault = match kind {
            0 | 1 => CardFault::CommandLost { apdu, bytes },
            2..=4 => CardFault::AnswerLost { apdu, bytes },
            5 => CardFault::PowerLost {
                apdu: 2 + self.rng.index(3),
                operations: self.rng.below(3),
                share: self.rng.pick(&[0, 1, 100, 200, 255]),
            },
            6 => CardFault::MemoryRefuses,
            7 => CardFault::LeavesWhileAsking,
            _ => CardFault::WrongMac2,
        };
        self.has(kind).then_some(fault)
    }

    fn terminal_fault(&mut self) -> Option<TerminalFault> {
        let kind = u32::try_from(self.rng.below(11)).unwrap_or(0);
        let steps = self.rng.pick(&[8, 14, 24]);
        let (apdu, store, step) = (self.rng.index(4), self.rng.index(5), self.rng.index(steps));
        let fault = match kind {
            0 => TerminalFault::SamCommandLost { apdu },
            1 => TerminalFault::SamAnswerLost { apdu },
            2 => TerminalFault::SamPowerLost { apdu, operations: self.rng.below(2) },
            3 => TerminalFault::SamMemoryRefuses,
            4 => TerminalFault::CrashAtStep { step },
            5 => TerminalFault::CrashBeforeDurable { store },
            6 => TerminalFault::CrashAfterDurable { store },
            7 => TerminalFault::DiskFull { store },
            8 => TerminalFault::StoreLies { store },
            9 => TerminalFault::ClockJump { step, ms: self.rng.pick(&JUMPS_MS) },
            _ => TerminalFault::ClockNonsense { step },
        };
        self.has(16 + kind).then_some(fault)
    }

    // --- at the gateway -----------------------------------------------------------------------------------------

    fn errand(&mut self) -> Errand {
        let terminal = self.rng.index(self.terminals);
        let honest = !self.crooks || self.rng.chance(60);
        let again = self.gateways != Gateways::ONE && self.own.chance(8);
        let task = match (honest, self.rng.below(12)) {
            _ if again => Task::RepeatLoad,
            (true, 0) => Task::SignIn,
            (true, 1) => Task::HangUp,
            (true, 2) => Task::UploadOpen,
            (true, 3..=5) => Task::Settle,
            (true, _) => Task::Upload,
            (false, 0..=1) => Task::SettleLying(1 + self.rng.below(500) as u32),
            (false, 2..=5) => Task::Steal { from: self.rng.index(self.terminals) },
            (false, 6..=8) => Task::Tamper(1 + self.rng.below(500) as u32),
            (false, 9..=10) => Task::ReverseLoaded,
            (false, _) => Task::ReverseFirst,
        };
        Errand {
            terminal,
            task,
            after_ms: self.pause(),
            faults: self.terminal_faults(),
            line: self.line(),
            gateway: self.gateway(),
        }
    }

    fn line(&mut self) -> Vec<LineFault> {
        let mut faults = Vec::new();
        while self.rng.chance(self.line_faults) && faults.len() < 4 {
            faults.extend(self.line_fault());
        }
        self.go_over(&mut faults);
        faults
    }

    /// What becomes of frames where there are several gateways.
    fn go_over(&mut self, faults: &mut Vec<LineFault>) {
        let own = &mut self.own;
        if self.gateways.count == 1 || !own.chance(self.over) {
            return;
        }
        let blow = match own.below(5) {
            0 | 1 => Blow::Over,
            2 | 3 => Blow::LateOver(own.pick(&[20, 280, 400, 600, 21_000])),
            _ => Blow::Parted(own.pick(&[3_000, 60_000, 300_000])),
        };
        let way = if own.chance(50) { Way::Up } else { Way::Down };
        faults.push(LineFault { way, frame: own.index(4), blow });
    }

    /// Terminals that upload at once, at a gateway whose commits come back until it halves its batch: seldom by chance alone.
    fn rush(&mut self) -> Vec<Act> {
        let Gateways { count, .. } = self.gateways;
        if count == 1 || self.terminals <= count || !self.own.chance(60) {
            return Vec::new();
        }
        let terminals = [0, count];
        let mut acts = Vec::new();
        for terminal in terminals {
            let field = vec![Presence::Card { card: 0, fault: None, lingers: false }];
            acts.push(Act::Visit(Visit {
                terminal,
                want: Want::Pay(CardAmount(1)),
                after_ms: 90_000,
                field,
                faults: Vec::new(),
                line: Vec::new(),
                gateway: Vec::new(),
            }));
        }
        for terminal in terminals {
            let mut gateway = Vec::new();
            if terminal > 0 {
                let fault = |commit, trouble| GatewayFault { commit, trouble };
                gateway.push(fault(0, Trouble::Slow(500)));
                gateway.push(fault(0, Trouble::Conflicts(self.own.pick(&[3, 4, 7]))));
                if self.own.chance(30) {
                    gateway.push(fault(4, Trouble::Fails));
                }
            }
            let (faults, line, task) = (Vec::new(), Vec::new(), Task::Upload);
            acts.push(Act::Errand(Errand { terminal, task, after_ms: 0, faults, line, gateway }));
        }
        // With the end of a history everything that is planned to go wrong ends.
        let (faults, line, gateway, task) = (Vec::new(), Vec::new(), Vec::new(), Task::HangUp);
        acts.push(Act::Errand(Errand { terminal: 0, task, after_ms: 90_000, faults, line, gateway }));
        acts
    }

    /// What gateways do to each other, and a database that one of them loses.
    fn between_gateways(&mut self, faults: &mut Vec<GatewayFault>) {
        let own = &mut self.own;
        if self.gateways == Gateways::ONE {
            return;
        }
        while own.chance(self.overtaken) && faults.len() < 5 {
            let trouble = match own.below(9) {
                8 => under_way(own),
                0 => Trouble::Away { ms: own.pick(&[300, 8_000, 60_000]), kept: own.chance(50) },
                1 => {
                    let commit = own.index(3);
                    faults.push(GatewayFault {
                        commit,
                        trouble: Trouble::Slow(own.pick(&[50, 2_000, 25_000])),
                    });
                    faults
                        .push(GatewayFault { commit, trouble: Trouble::Conflicts(own.pick(&[1, 3, 5, 20])) });
                    continue;
                }
                2 => Trouble::Slow(own.pick(&[50, 2_000, 25_000])),
                _ => Trouble::Overtaken {
                    commits: own.pick(&[0, 1, 2, 5]),
                    reads: own.pick(&[1, 2, 4, 8, usize::MAX]),
                },
            };
            faults.push(GatewayFault { commit: own.index(3), trouble });
        }
    }

    fn line_fault(&mut self) -> Option<LineFault> {
        let kind = self.rng.below(12);
        let late_ms = self.rng.pick(&[30, 900, 25_000, 70_000, 400_000]);
        let at = self.rng.index(160);
        let blow = match kind {
            0..=2 => Blow::Lost,
            3 => Blow::Twice(late_ms),
            4 | 5 => Blow::Late(late_ms),
            6 => Blow::Garbled(at),
            7 => Blow::Split(at),
            8 => Blow::Cut,
            9 => Blow::CutAfter,
            10 => Blow::Silence(self.rng.pick(&[5_000, 40_000, 200_000])),
            _ => Blow::Replay(self.rng.index(6)),
        };
        let way = if self.rng.chance(50) { Way::Up } else { Way::Down };
        let fault = LineFault { way, frame: self.rng.index(6), blow };
        (self.line_kinds.rotate_right(kind as u32) & 1 == 1).then_some(fault)
    }

    fn gateway(&mut self) -> Vec<GatewayFault> {
        let mut faults = Vec::new();
        while self.rng.chance(self.gateway_faults) && faults.len() < 3 {
            let restart_ms = self.rng.pick(&[300, 5_000, 60_000]);
            let kind = self.rng.below(6);
            let trouble = match kind {
                0 => Trouble::DiesBefore(restart_ms),
                1 => Trouble::DiesAfter(restart_ms),
                2 => Trouble::Full,
                3 => Trouble::Fails,
                4 => Trouble::IssuerOut,
                _ => Trouble::ClockJump(self.rng.pick(&[-3_600_000, 3_600_000, 86_400_000])),
            };
            faults.extend(
                (self.line_kinds.rotate_right(20 + kind as u32) & 1 == 1)
                    .then_some(GatewayFault { commit: self.rng.index(4), trouble }),
            );
        }
        self.between_gateways(&mut faults);
        faults
    }
}
