//! A history as data: what is issued, who goes where, and what goes wrong. A seed makes a [`Plan`]; the world only
//! carries it out. Because the plan is data, a failing one can be made shorter and tried again ([`super::shrink`]).
//!
//! Faults name the moment they strike by a count (the third APDU of this presence, the second store of this visit).
//! One that never comes to pass because the visit ended before does nothing.

use super::rng::Rng;
use card_applet_sim::memory::Survival;
use protocol::money::CardAmount;
use protocol::purse::Suite;

/// Everything that a history is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Seed of the cards' random numbers.
    pub seed: u64,
    /// The cards, each with its own serial number.
    pub cards: Vec<CardPlan>,
    /// The terminals, each with a SAM.
    pub terminals: Vec<TerminalPlan>,
    /// What happens, one visit after the other.
    pub visits: Vec<Visit>,
}

/// A card as issued.
#[derive(Clone, Copy, Debug)]
pub struct CardPlan {
    /// Suite.
    pub suite: Suite,
    /// Balance as issued.
    pub balance: CardAmount,
    /// What its memory keeps of writes that a power loss interrupts.
    pub survival: Survival,
}

/// A terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct TerminalPlan {
    /// Its SAM is another maker's, without VERIFY_PROVED_PURCHASE.
    pub foreign_sam: bool,
}

/// A payment at a terminal, as the people there see it.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Which terminal.
    pub terminal: usize,
    /// What it asks for.
    pub amount: CardAmount,
    /// Milliseconds since the visit before.
    pub after_ms: u64,
    /// What comes into the field, in order. After the last the terminal waits until it gives up.
    pub field: Vec<Presence>,
    /// What goes wrong on the terminal's side.
    pub faults: Vec<TerminalFault>,
}

/// Something that happens while a terminal waits for a card.
#[derive(Clone, Debug)]
pub enum Presence {
    /// A card is held to the reader.
    Card {
        /// Which.
        card: usize,
        /// What goes wrong with it.
        fault: Option<CardFault>,
        /// It stays on the reader when it should be taken away.
        lingers: bool,
    },
    /// Meanwhile, at another terminal.
    Elsewhere(Box<Visit>),
    /// The cashier cancels.
    Cancel,
}

/// What goes wrong between card and reader. Counts are APDUs since the card came, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardFault {
    /// The field breaks down while the command is under way, after so many of its bytes: the card does nothing.
    CommandLost {
        /// APDU.
        apdu: usize,
        /// Bytes of the command that were sent.
        bytes: usize,
    },
    /// The card does it; the field breaks down after so many bytes of its answer.
    AnswerLost {
        /// APDU.
        apdu: usize,
        /// Bytes of the answer that came.
        bytes: usize,
    },
    /// The power fails inside the card's memory, after so many writes and syncs of this command.
    PowerLost {
        /// APDU.
        apdu: usize,
        /// Writes and syncs that still succeed.
        operations: u64,
        /// Share of 256 of the torn write that reaches the medium.
        share: u8,
    },
    /// The card's memory takes no change for as long as the card is here.
    MemoryRefuses,
    /// MAC2 in the answer to DEBIT is changed on the way.
    WrongMac2,
}

/// What goes wrong in a terminal. Counts are of this visit, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminalFault {
    /// The SAM is gone before this APDU reaches it.
    SamCommandLost {
        /// APDU to the SAM.
        apdu: usize,
    },
    /// The SAM does it, its answer is lost, and it is gone.
    SamAnswerLost {
        /// APDU to the SAM.
        apdu: usize,
    },
    /// The power fails inside the SAM's memory.
    SamPowerLost {
        /// APDU to the SAM.
        apdu: usize,
        /// Writes and syncs that still succeed.
        operations: u64,
    },
    /// The SAM's memory takes no change during this visit.
    SamMemoryRefuses,
    /// The terminal dies instead of carrying out this step.
    CrashAtStep {
        /// Step.
        step: usize,
    },
    /// The terminal dies in the middle of storing: written, never synced.
    CrashBeforeDurable {
        /// Store.
        store: usize,
    },
    /// The terminal dies right after an entry became durable.
    CrashAfterDurable {
        /// Store.
        store: usize,
    },
    /// From this store on the disk is full.
    DiskFull {
        /// Store.
        store: usize,
    },
    /// The disk reports a failure although the entry is durable.
    StoreLies {
        /// Store.
        store: usize,
    },
    /// The wall clock jumps before this step.
    ClockJump {
        /// Step.
        step: usize,
        /// By so many milliseconds.
        ms: i64,
    },
    /// The wall clock shows no date from this step on.
    ClockNonsense {
        /// Step.
        step: usize,
    },
}

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
/// Most visits of a history; most have fewer.
pub const VISITS_MAX: u64 = 40;

impl Plan {
    /// The history of `seed`. Each seed has a temper of its own (how many cards, how much goes wrong, and of what
    /// kind), since what every history has a little of, none has much of.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(0xA076_1D64_78BD_642F));
        let cards = (0..1 + rng.index(3)).map(|_| CardPlan {
            suite: if rng.chance(60) { Suite::Aes } else { Suite::Des },
            balance: CardAmount(u32::try_from(100 + rng.below(20_000)).unwrap_or(0)),
            survival: rng.pick(&SURVIVALS),
        });
        let cards: Vec<_> = cards.collect();
        let terminals = (0..1 + rng.index(3)).map(|_| TerminalPlan { foreign_sam: rng.chance(8) });
        let terminals: Vec<_> = terminals.collect();
        let mut temper = Temper {
            cards: cards.len(),
            terminals: terminals.len(),
            card_faults: rng.pick(&[0, 15, 40, 70]),
            terminal_faults: rng.pick(&[0, 10, 30, 60]),
            kinds: rng.next(),
            rng,
        };
        let visits = (0..4 + temper.rng.below(VISITS_MAX - 3)).map(|_| temper.visit(0)).collect();
        Self { seed, cards, terminals, visits }
    }

    /// All faults, for counting and shrinking.
    #[must_use]
    pub fn fault_count(&self) -> usize {
        self.visits.iter().map(Visit::fault_count).sum()
    }

    /// Times a card is presented.
    #[must_use]
    pub fn tap_count(&self) -> usize {
        self.visits.iter().map(Visit::tap_count).sum()
    }
}

impl Visit {
    fn fault_count(&self) -> usize {
        let in_field = self.field.iter().map(|presence| match presence {
            Presence::Card { fault, .. } => usize::from(fault.is_some()),
            Presence::Elsewhere(visit) => visit.fault_count(),
            Presence::Cancel => 0,
        });
        self.faults.len() + in_field.sum::<usize>()
    }

    fn tap_count(&self) -> usize {
        let taps = self.field.iter().map(|presence| match presence {
            Presence::Card { .. } => 1,
            Presence::Elsewhere(visit) => visit.tap_count(),
            Presence::Cancel => 0,
        });
        taps.sum()
    }
}

/// What a seed likes.
struct Temper {
    rng: Rng,
    cards: usize,
    terminals: usize,
    card_faults: u64,
    terminal_faults: u64,
    /// Which kinds of fault this history has: one bit each.
    kinds: u64,
}

impl Temper {
    fn has(&self, kind: u32) -> bool {
        self.kinds.rotate_right(kind) & 1 == 1
    }

    fn visit(&mut self, depth: usize) -> Visit {
        let terminal = self.rng.index(self.terminals);
        let amount = CardAmount(match self.rng.below(10) {
            0 => 1,
            1 => u32::try_from(1 + self.rng.below(60_000)).unwrap_or(1),
            _ => u32::try_from(50 + self.rng.below(900)).unwrap_or(1),
        });
        let after_ms = match self.rng.below(4) {
            0 => 0,
            1 => self.rng.below(3_000),
            _ => self.rng.below(600_000),
        };
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
        let mut faults = Vec::new();
        while self.rng.chance(self.terminal_faults) && faults.len() < 3 {
            faults.extend(self.terminal_fault());
        }
        Visit { terminal, amount, after_ms, field, faults }
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
        Presence::Card { card, fault, lingers: self.rng.chance(4) }
    }

    fn card_fault(&mut self) -> Option<CardFault> {
        let kind = u32::try_from(self.rng.below(8)).unwrap_or(0);
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
            _ => CardFault::WrongMac2,
        };
        self.has(kind).then_some(fault)
    }

    fn terminal_fault(&mut self) -> Option<TerminalFault> {
        let kind = u32::try_from(self.rng.below(11)).unwrap_or(0);
        let (apdu, store, step) = (self.rng.index(4), self.rng.index(3), self.rng.index(14));
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
}
