//! The world of one history: issuers, cards, terminals with SAMs and journals, and one clock for all of them.

use super::check::{CardBook, TerminalBook, Violation, check, still_open};
use super::coverage::Coverage;
use super::office;
use super::plan::{CardPlan, Plan, Presence, TerminalPlan, Visit};
use super::slot::{CardDebit, Chip};
use super::store::CrashStore;
use super::till;
use card_applet_sim::issue::{IssuerKeys, NewCard, NewSam};
use card_applet_sim::memory::Survival;
use flow::profile::{IssuerProfile, Profile};
use flow::record::CardId;
use flow::sam::SamIdentity;
use protocol::ids::{Asn, IssuerId, KeyIndex, OfflineCounter, SamTerminal, TermSeq};
use protocol::money::{Amount, CardAmount};
use protocol::purse::Suite;
use protocol::purse::keys::KeyUse;
use protocol::purse::keys::TacKey;
use protocol::time::{Mono, Now, Wall};
use std::sync::OnceLock;

/// Saturday, 2026-11-21, 18:00 in Shanghai.
const START_WALL_MS: i64 = 1_795_255_200_000;
const UTC_OFFSET_MIN: i16 = 480;

/// The two issuers, and what terminals accept of them.
#[derive(Debug)]
pub struct Scheme {
    issuers: [IssuerKeys; 2],
    /// The terminals' profile.
    pub profile: Profile,
}

impl Scheme {
    /// The one scheme of all histories.
    pub fn get() -> &'static Self {
        static SCHEME: OnceLock<Scheme> = OnceLock::new();
        SCHEME.get_or_init(|| {
            let aes = IssuerKeys::for_tests(Suite::Aes, 1);
            let des = IssuerKeys { issuer: IssuerId(*b"TAPLDES\0"), ..IssuerKeys::for_tests(Suite::Des, 2) };
            let issuers = [aes, des];
            let profile = Profile { issuers: issuers.iter().map(profile_of).collect() };
            Self { issuers, profile }
        })
    }

    /// Both issuers' keys.
    #[must_use]
    pub const fn issuers(&self) -> &[IssuerKeys; 2] {
        &self.issuers
    }

    fn keys(&self, suite: Suite) -> &IssuerKeys {
        let [aes, des] = &self.issuers;
        if suite == Suite::Aes { aes } else { des }
    }
}

fn profile_of(keys: &IssuerKeys) -> IssuerProfile {
    let aid: &[u8] = match keys.suite() {
        Suite::Aes => &protocol::purse::AID_SUITE_10,
        Suite::Des => &protocol::purse::AID_SUITE_00,
    };
    IssuerProfile {
        issuer: keys.issuer,
        aid: flow::profile::Aid::from_slice(aid).expect("an AID fits"),
        suite: keys.suite(),
        key_versions: std::iter::once(keys.version).collect(),
        key_index: KeyIndex(1),
        upper_factors: heapless_of(&keys.upper_factors),
        currency: keys.currency,
        single_payment_max: keys.limits.payment,
    }
}

fn heapless_of<T: Copy, C: FromIterator<T>>(items: &[T]) -> C {
    items.iter().copied().collect()
}

/// A card, and what the checker has read of it.
#[derive(Debug)]
pub struct SimCard {
    /// The chip.
    pub chip: Chip,
    /// Who it is.
    pub id: CardId,
    /// Its suite.
    pub suite: Suite,
    issued: CardAmount,
    balance: CardAmount,
    debits: Vec<CardDebit>,
    tac_key: TacKey,
}

impl SimCard {
    fn new(index: usize, plan: &CardPlan, seed: u64) -> Self {
        let keys = Scheme::get().keys(plan.suite);
        let serial = u8::try_from(index).unwrap_or(u8::MAX).wrapping_add(1);
        let asn = Asn([0x62, 0x17, 0, 0, 0, 0, 0, 0, 0, serial]);
        let chip = Chip::new(plan.survival, seed, |memory| {
            let card = NewCard::for_tests(asn).with_balance(plan.balance);
            card.make(keys, memory).expect("a card is made");
        });
        let tac_key = keys.card_key(KeyUse::Tac, asn).expect("a TAC key").tac_key();
        Self {
            chip,
            id: CardId { issuer: keys.issuer, asn },
            suite: plan.suite,
            issued: plan.balance,
            balance: plan.balance,
            debits: Vec::new(),
            tac_key,
        }
    }

    /// Reads what the card did since the last look.
    pub fn look(&mut self) {
        let known = OfflineCounter(u16::try_from(self.debits.len()).unwrap_or(u16::MAX));
        let (balance, mut new) = self.chip.read_purse(self.suite, known);
        self.balance = balance;
        self.debits.append(&mut new);
    }

    fn book(&self) -> CardBook<'_> {
        CardBook {
            id: self.id,
            issued: self.issued,
            balance: self.balance,
            debits: &self.debits,
            tac_key: &self.tac_key,
        }
    }
}

/// A terminal: what survives a crash, and what does not.
#[derive(Debug)]
pub struct SimTerminal {
    /// Number of its SAM.
    pub number: SamTerminal,
    /// Its SAM lacks VERIFY_PROVED_PURCHASE.
    pub foreign_sam: bool,
    /// Its SAM.
    pub sam: Chip,
    /// Sequence numbers that its SAM gave.
    pub sam_given: Vec<TermSeq>,
    /// Its journal.
    pub journal: CrashStore,
    /// Who its SAM is; unknown after a start until it is asked.
    pub identity: Option<SamIdentity>,
    /// It is in the middle of a visit.
    pub busy: bool,
    /// How far its wall clock is off, milliseconds; `None` while it shows no date.
    pub wall_off_ms: Option<i64>,
    /// When it was started, on the world's clock.
    pub started: Mono,
}

impl SimTerminal {
    fn new(index: usize, plan: &TerminalPlan, seed: u64) -> Self {
        let number = SamTerminal([0, 0, 0, 0, 0x31, u8::try_from(index).unwrap_or(u8::MAX).wrapping_add(1)]);
        let sam = Chip::new(Survival::None, seed, |memory| {
            NewSam::for_tests(number).make(&Scheme::get().issuers, memory).expect("a SAM is made");
        });
        Self {
            number,
            foreign_sam: plan.foreign_sam,
            sam,
            sam_given: Vec::new(),
            journal: CrashStore::default(),
            identity: None,
            busy: false,
            wall_off_ms: Some(0),
            started: Mono(0),
        }
    }

    /// Power or process gone: what is left is the journal's durable part and the SAM's memory.
    pub fn crash(&mut self, at: Mono) {
        self.journal.crash();
        self.sam.power_off();
        self.identity = None;
        self.started = at;
        self.wall_off_ms = Some(0);
    }

    fn book(&self) -> TerminalBook<'_> {
        TerminalBook {
            number: self.number,
            foreign_sam: self.foreign_sam,
            entries: self.journal.entries().collect(),
            sam_given: &self.sam_given,
        }
    }
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Care {
    /// Check all books after each visit, not only at the end.
    pub every_visit: bool,
    /// Write the story down.
    pub story: bool,
    /// Upload everything to the backend afterwards, and compare its books.
    pub office: bool,
}

/// A history in progress.
#[derive(Debug)]
pub struct World {
    /// Cards, by index of the plan.
    pub cards: Vec<SimCard>,
    /// Terminals, by index of the plan.
    pub terminals: Vec<SimTerminal>,
    /// What was hit.
    pub coverage: Coverage,
    /// Rules that were broken.
    pub violations: Vec<Violation>,
    clock: Mono,
    story: Option<Vec<String>>,
}

/// What came of a history.
#[derive(Debug)]
pub struct Played {
    /// What was hit.
    pub coverage: Coverage,
    /// Rules that were broken.
    pub violations: Vec<Violation>,
    /// The story in words, if it was asked for.
    pub story: Vec<String>,
}

/// Plays a history to its end.
#[must_use]
pub fn play(plan: &Plan, care: Care) -> Played {
    let mut world = World::new(plan, care);
    for visit in &plan.visits {
        till::visit(&mut world, visit);
        if care.every_visit {
            world.check();
        }
        if !world.violations.is_empty() {
            break;
        }
    }
    if world.violations.is_empty() {
        world.quiet_end();
    }
    if world.violations.is_empty() && care.office {
        world.evening(plan.seed);
    }
    let World { coverage, violations, story, .. } = world;
    Played { coverage, violations, story: story.unwrap_or_default() }
}

impl World {
    fn new(plan: &Plan, care: Care) -> Self {
        let cards = plan.cards.iter().enumerate();
        let terminals = plan.terminals.iter().enumerate();
        let seed = |kind: u64, index: usize| plan.seed.wrapping_mul(1_000).wrapping_add(kind + index as u64);
        let mut world = Self {
            cards: cards.map(|(i, card)| SimCard::new(i, card, seed(100, i))).collect(),
            terminals: terminals.map(|(i, terminal)| SimTerminal::new(i, terminal, seed(200, i))).collect(),
            coverage: Coverage::default(),
            violations: Vec::new(),
            clock: Mono(0),
            story: care.story.then(Vec::new),
        };
        world.introduce();
        world
    }

    fn introduce(&mut self) {
        for (index, card) in self.cards.iter().enumerate() {
            let line = format!(
                "{} is issued: suite {}, {} on it.",
                card_name(index),
                card.suite,
                money(card.issued)
            );
            if let Some(story) = &mut self.story {
                story.push(line);
            }
        }
    }

    /// Writes a line of the story; `line` is called only if somebody reads.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let seconds =
                START_WALL_MS / 1000 + 8 * 3600 + i64::try_from(self.clock.0 / 1_000_000_000).unwrap_or(0);
            let (h, m, s) = ((seconds / 3600) % 24, (seconds / 60) % 60, seconds % 60);
            story.push(format!("{h:02}:{m:02}:{s:02}  {}", line()));
        }
    }

    /// Lets time pass.
    pub fn pass_ms(&mut self, ms: u64) {
        self.clock = self.clock.plus_ms(ms);
    }

    /// The world's clock.
    #[must_use]
    pub const fn clock(&self) -> Mono {
        self.clock
    }

    /// Both clocks as a terminal reads them.
    #[must_use]
    pub fn now_at(&self, terminal: usize) -> Now {
        let SimTerminal { wall_off_ms, started, .. } = &self.terminals[terminal];
        let since = i64::try_from(self.clock.0 / 1_000_000).unwrap_or(i64::MAX);
        let wall = match wall_off_ms {
            Some(off) => START_WALL_MS.saturating_add(since).saturating_add(*off),
            None => i64::MAX,
        };
        Now {
            mono: Mono(self.clock.0.saturating_sub(started.0)),
            wall: Wall(wall),
            utc_offset_min: UTC_OFFSET_MIN,
        }
    }

    /// A rule was broken.
    pub fn violated(&mut self, violation: Violation) {
        self.tell(|| format!("✗ {violation}"));
        self.violations.push(violation);
    }

    /// Books of all cards.
    #[must_use]
    pub fn card_books(&self) -> Vec<CardBook<'_>> {
        self.cards.iter().map(SimCard::book).collect()
    }

    /// The book of one terminal.
    #[must_use]
    pub fn terminal_book(&self, terminal: usize) -> TerminalBook<'_> {
        self.terminals[terminal].book()
    }

    fn terminal_books(&self) -> Vec<TerminalBook<'_>> {
        self.terminals.iter().map(SimTerminal::book).collect()
    }

    fn check(&mut self) {
        let found = check(&self.card_books(), &self.terminal_books());
        found.into_iter().for_each(|violation| self.violated(violation));
    }

    /// After everything that went wrong, every card visits every terminal once more and nothing goes wrong: then no
    /// debit may be open any more. The first check comes before, since these visits move money too.
    fn quiet_end(&mut self) {
        self.check();
        self.tell(|| "— a quiet day: every card visits every terminal once more".into());
        for terminal in 0..self.terminals.len() {
            for card in 0..self.cards.len() {
                let field = vec![Presence::Card { card, fault: None, lingers: false }];
                let quiet =
                    Visit { terminal, amount: CardAmount(1), after_ms: 100_000, field, faults: Vec::new() };
                self.terminals[terminal].wall_off_ms = Some(0);
                till::visit(self, &quiet);
            }
        }
        self.check();
        let open = still_open(&self.terminal_books());
        open.into_iter().for_each(|violation| self.violated(violation));
    }
}

impl World {
    /// Everything is uploaded, and the backend's books are compared.
    fn evening(&mut self, seed: u64) {
        let journals = self.terminals.iter().map(|terminal| terminal.journal.clone()).collect();
        let mut coverage = Coverage::default();
        let found =
            office::evening(seed, &self.card_books(), &self.terminal_books(), journals, &mut coverage);
        self.coverage.add(&coverage);
        found.into_iter().for_each(|violation| self.violated(violation));
    }
}

/// What the story calls a card.
#[must_use]
pub fn card_name(index: usize) -> String {
    let letter = char::from(b'A'.saturating_add(u8::try_from(index).unwrap_or(25).min(25)));
    format!("Card {letter}")
}

/// What the story calls a terminal.
#[must_use]
pub fn till_name(index: usize) -> String {
    format!("Till {}", index + 1)
}

/// An amount as people write it.
#[must_use]
pub fn money(amount: CardAmount) -> Amount {
    amount.in_currency(protocol::money::Currency::CNY)
}
