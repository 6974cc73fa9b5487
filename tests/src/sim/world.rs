//! The world of one history: issuers, cards, terminals with SAMs and journals, the acquirer, and one clock for all of them.

use super::acquirer::{Acquirer, Opening};
use super::check::{CardBook, Life, TerminalBook, Violation, check};
use super::counter::{self, Counter};
use super::coverage::Coverage;
use super::desk::{self, Desk};
use super::gateway::ConnId;
use super::images::Images;
pub use super::keyring::Scheme;
use super::line::{Happening, Line};
use super::plan::{Act, CardPlan, Copying, Plan, TerminalPlan};
use super::slot::{CardCredit, CardDebit, Chip, Picture};
use super::store::CrashStore;
use super::till;
use card_applet_sim::issue::{NewCard, NewSam};
use card_applet_sim::memory::Survival;
use flow::host::Input;
use flow::profile::Profile;
use flow::record::CardId;
use flow::sam::SamIdentity;
use protocol::ids::{
    Asn, KeyVersion, MerchantId, OfflineCounter, OnlineCounter, SamTerminal, TermSeq, TerminalId,
};
use protocol::money::{Amount, CardAmount};
use protocol::purse::Suite;
use protocol::purse::keys::KeyUse;
use protocol::purse::keys::TacKey;
use protocol::secret::Secret;
use protocol::time::{Mono, Now, Wall};

/// Saturday, 2026-11-21, 18:00 in Shanghai.
const START_WALL_MS: i64 = 1_795_255_200_000;
const UTC_OFFSET_MIN: i16 = 480;

/// A chip, and what the checker has read of it.
#[derive(Debug)]
pub struct SimCard {
    /// The chip.
    pub chip: Chip,
    /// Who it says it is.
    pub id: CardId,
    /// Its suite.
    pub suite: Suite,
    /// Version of its keys.
    pub version: KeyVersion,
    /// Its memory, since it was made or copied.
    life: OwnLife,
    /// Memories before, each until another took its place.
    past: Vec<OwnLife>,
    tac_key: TacKey,
    /// Read out of it, for later.
    kept: Option<(Picture, OwnLife)>,
}

#[derive(Clone, Debug, Default)]
struct OwnLife {
    start: CardAmount,
    balance: CardAmount,
    debits: Vec<CardDebit>,
    credits: Vec<CardCredit>,
    /// Counters at its beginning.
    offline: u16,
    online: u16,
}

impl OwnLife {
    fn next_counters(&self) -> (u16, u16) {
        let past = |base: u16, n: usize| base.saturating_add(u16::try_from(n).unwrap_or(u16::MAX));
        (past(self.offline, self.debits.len()), past(self.online, self.credits.len()))
    }

    /// The life of a copy that was made now.
    fn copied(&self) -> Self {
        let (offline, online) = self.next_counters();
        Self { start: self.balance, balance: self.balance, offline, online, ..Self::default() }
    }

    fn book(&self) -> Life<'_> {
        Life { start: self.start, balance: self.balance, debits: &self.debits, credits: &self.credits }
    }
}

impl SimCard {
    fn new(index: usize, plan: &CardPlan, seed: u64) -> Self {
        let keys = Scheme::get().keys(plan.suite, plan.version);
        let serial = u8::try_from(index).unwrap_or(u8::MAX).wrapping_add(1);
        let asn = Asn([0x62, 0x17, 0, 0, 0, 0, 0, 0, 0, serial]);
        let chip = Chip::new(plan.survival, seed, |memory| {
            NewCard::for_tests(asn).make(keys, memory).expect("a card is made");
        });
        let tac_key = keys.card_key(KeyUse::Tac, asn).expect("a TAC key").tac_key();
        Self {
            chip,
            id: CardId { issuer: keys.issuer, asn },
            suite: plan.suite,
            version: plan.version,
            life: OwnLife::default(),
            past: Vec::new(),
            tac_key,
            kept: None,
        }
    }

    /// Reads what the card did since the last look.
    pub fn look(&mut self) {
        let (offline, online) = self.life.next_counters();
        let found = self.chip.read_purse(self.suite, OfflineCounter(offline), OnlineCounter(online));
        self.life.balance = found.balance;
        self.life.debits.extend(found.debits);
        self.life.credits.extend(found.credits);
    }

    /// Reads its memory out, for later.
    fn keep(&mut self) {
        self.kept = Some((self.chip.picture(), self.life.copied()));
    }

    /// Writes back what was read out of it.
    fn restore(&mut self) -> bool {
        let Some((picture, life)) = &self.kept else { return false };
        self.chip.restore(picture);
        self.past.push(std::mem::replace(&mut self.life, life.clone()));
        true
    }

    /// Another chip with what was read out of it.
    fn clone_card(&self, seed: u64) -> Option<Self> {
        let (picture, life) = self.kept.as_ref()?;
        let keys = Scheme::get().keys(self.suite, self.version);
        Some(Self {
            chip: Chip::of_picture(picture, seed),
            id: self.id,
            suite: self.suite,
            version: self.version,
            life: life.clone(),
            past: Vec::new(),
            tac_key: keys.card_key(KeyUse::Tac, self.id.asn).expect("a TAC key").tac_key(),
            kept: None,
        })
    }

    fn lives(&self) -> impl Iterator<Item = &OwnLife> {
        self.past.iter().chain([&self.life])
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
    /// An image of its disk, journals that gave way to another, and what the checker keeps of them.
    pub images: Images,
    /// Who its SAM is; unknown after a start until it is asked.
    pub identity: Option<SamIdentity>,
    /// It is in the middle of a visit.
    pub busy: bool,
    /// It died in the middle of a visit, which has not noticed yet.
    pub dying: bool,
    /// Its side of the line.
    pub desk: Desk,
    /// Its master key.
    pub tmk: Secret<16>,
    /// The one that the gateway has, if it was renewed and the terminal has not been told yet.
    pub renewed: Option<Secret<16>>,
    /// What it accepts of issuers.
    pub profile: &'static Profile,
    /// How far its wall clock is off, milliseconds; `None` while it shows no date.
    pub wall_off_ms: Option<i64>,
    /// When it was started, on the world's clock.
    pub started: Mono,
}

impl SimTerminal {
    fn new(index: usize, plan: &TerminalPlan, seed: u64) -> Self {
        let number = SamTerminal([0, 0, 0, 0, 0x31, u8::try_from(index).unwrap_or(u8::MAX).wrapping_add(1)]);
        let sam = Chip::new(Survival::None, seed, |memory| {
            NewSam::for_tests(number)
                .make(Scheme::get().in_sam(plan.old_sam), memory)
                .expect("a SAM is made");
        });
        Self {
            number,
            foreign_sam: plan.foreign_sam,
            sam,
            sam_given: Vec::new(),
            journal: CrashStore::with_traces_used(plan.traces_used),
            images: Images::default(),
            identity: None,
            busy: false,
            dying: false,
            desk: Desk::default(),
            tmk: Secret::new([0; 16]),
            renewed: None,
            profile: Scheme::get().profile(plan.old_profile),
            wall_off_ms: Some(0),
            started: Mono(0),
        }
    }

    /// Power or process gone: what is left is the journal's durable part and the SAM's memory.
    pub fn crash(&mut self, at: Mono) {
        self.dying = false;
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
            past: self.images.past(),
            sam_given: &self.sam_given,
        }
    }
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Care {
    /// Check all books after each act, not only at the end.
    pub every_act: bool,
    /// Write the story down.
    pub story: bool,
}

/// A history in progress.
#[derive(Debug)]
pub struct World {
    /// Chips: the plan's cards, then the clones.
    pub cards: Vec<SimCard>,
    /// Terminals, by index of the plan.
    pub terminals: Vec<SimTerminal>,
    /// Counters, numbered after the terminals.
    pub counters: Vec<Counter>,
    /// The acquirer.
    pub acquirer: Acquirer,
    /// What is under way.
    pub line: Line,
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
    let World { coverage, violations, story, .. } = World::played(plan, care);
    Played { coverage, violations, story: story.unwrap_or_default() }
}

impl World {
    /// The world at the end of a history.
    #[must_use]
    pub fn played(plan: &Plan, care: Care) -> Self {
        let mut world = Self::new(plan, care);
        for act in &plan.acts {
            world.act(act);
            if care.every_act {
                world.check();
            }
            if !world.violations.is_empty() {
                return world;
            }
        }
        world.quiet_end();
        world
    }

    fn new(plan: &Plan, care: Care) -> Self {
        let seed = |kind: u64, index: usize| plan.seed.wrapping_mul(1_000).wrapping_add(kind + index as u64);
        let cards = plan.cards.iter().enumerate();
        let cards: Vec<_> = cards.map(|(i, card)| SimCard::new(i, card, seed(100, i))).collect();
        let terminals = plan.terminals.iter().enumerate();
        let mut terminals: Vec<_> =
            terminals.map(|(i, terminal)| SimTerminal::new(i, terminal, seed(200, i))).collect();
        let sams: Vec<_> = terminals.iter().map(|terminal| terminal.number).collect();
        let funds: Vec<_> =
            cards.iter().zip(&plan.cards).map(|(card, plan)| (card.id, card.version, plan.funds)).collect();
        let (gateways, counters, now) = (plan.gateways, plan.counters, now_of(Mono(0)));
        let opening = Opening { gateways, counters, sams: &sams, cards: &funds, now };
        let (acquirer, mut keys) = Acquirer::open(plan.seed, &opening);
        let counters = keys.split_off(terminals.len()).into_iter().map(Counter::new).collect();
        terminals.iter_mut().zip(keys).for_each(|(terminal, key)| terminal.tmk = key);
        let mut world = Self {
            cards,
            line: Line::new(terminals.len() + plan.counters, plan.gateways),
            terminals,
            counters,
            acquirer,
            coverage: Coverage::default(),
            violations: Vec::new(),
            clock: Mono(0),
            story: care.story.then(Vec::new),
        };
        for index in 0..world.cards.len() {
            let suite = world.cards[index].suite;
            if let Some(story) = &mut world.story {
                story.push(format!("{} is issued: suite {suite}, nothing on it.", card_name(index)));
            }
        }
        world
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Visit(visit) => till::visit(self, visit),
            Act::Errand(errand) => desk::errand(self, errand),
            Act::Online(act) => counter::act(self, act),
            Act::Copy { after_ms, what } => {
                self.pass_ms(*after_ms);
                self.copy(*what);
            }
            Act::Keys { terminal, after_ms, what } => {
                self.pass_ms(*after_ms);
                self.rekey(*terminal, *what);
            }
            Act::Disk { terminal, after_ms, what } => {
                self.pass_ms(*after_ms);
                self.disk(*terminal, *what);
            }
        }
    }

    fn copy(&mut self, what: Copying) {
        let (index, how) = match what {
            Copying::Keep(index) => {
                self.cards[index].keep();
                (index, "memory read out")
            }
            Copying::Restore(index) if self.cards[index].restore() => (index, "old memory written back"),
            Copying::Clone(index) => {
                let seed = self.clock.0 ^ 0xC10E;
                let Some(clone) = self.cards[index].clone_card(seed) else { return };
                self.cards.push(clone);
                (index, "memory written into another chip")
            }
            Copying::Restore(_) => return,
        };
        self.coverage.fault("card", how);
        self.tell(|| format!("⚡ {}: {how}.", card_name(index)));
    }

    /// The chip that a plan means; a clone that was never made is its original.
    #[must_use]
    pub fn chip_of(&self, card: usize) -> usize {
        if card < self.cards.len() { card } else { 0 }
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

    /// The world's clock.
    #[must_use]
    pub const fn clock(&self) -> Mono {
        self.clock
    }

    /// Moves the world's clock forward.
    pub fn set_clock(&mut self, at: Mono) {
        self.clock = self.clock.max(at);
    }

    /// The world's own time.
    #[must_use]
    pub fn now(&self) -> Now {
        now_of(self.clock)
    }

    /// Both clocks as a terminal reads them.
    #[must_use]
    pub fn now_at(&self, terminal: usize) -> Now {
        let SimTerminal { wall_off_ms, started, .. } = &self.terminals[terminal];
        let now = self.now();
        let wall = wall_off_ms.map_or(i64::MAX, |off| now.wall.0.saturating_add(off));
        Now { mono: Mono(self.clock.0.saturating_sub(started.0)), wall: Wall(wall), ..now }
    }

    /// Terminals and counters.
    #[must_use]
    pub const fn ends(&self) -> usize {
        self.terminals.len() + self.counters.len()
    }

    /// The connection of a terminal or counter.
    pub fn conn(&mut self, terminal: usize) -> &mut Option<ConnId> {
        match terminal.checked_sub(self.terminals.len()) {
            None => &mut self.terminals[terminal].desk.conn,
            Some(counter) => &mut self.counters[counter].conn,
        }
    }

    /// How often a terminal or counter was started.
    #[must_use]
    pub fn boot(&self, terminal: usize) -> u64 {
        match terminal.checked_sub(self.terminals.len()) {
            None => self.terminals[terminal].desk.boot,
            Some(counter) => self.counters[counter].boot,
        }
    }

    /// Something happened on the connection of a terminal or counter.
    pub fn hear(&mut self, terminal: usize, input: Input<'_>) {
        if terminal < self.terminals.len() {
            desk::hear(self, terminal, input);
        } else {
            counter::hear(self, terminal, input);
        }
    }

    /// A rule was broken.
    pub fn violated(&mut self, violation: Violation) {
        self.tell(|| format!("✗ {violation}"));
        self.violations.push(violation);
    }

    /// Books of all cards: chips that say they are the same card are one.
    #[must_use]
    pub fn card_books(&self) -> Vec<CardBook<'_>> {
        let mut books: Vec<CardBook<'_>> = Vec::with_capacity(self.cards.len());
        for card in &self.cards {
            let lives = card.lives().map(OwnLife::book);
            match books.iter_mut().find(|book| book.id == card.id) {
                Some(book) => book.lives.extend(lives),
                None => books.push(CardBook { id: card.id, lives: lives.collect(), tac_key: &card.tac_key }),
            }
        }
        books
    }

    /// The book of one terminal.
    #[must_use]
    pub fn terminal_book(&self, terminal: usize) -> TerminalBook<'_> {
        self.terminals[terminal].book()
    }

    /// Books of all terminals.
    #[must_use]
    pub fn terminal_books(&self) -> Vec<TerminalBook<'_>> {
        self.terminals.iter().map(SimTerminal::book).collect()
    }

    /// Cards and journals against each other.
    pub fn check(&mut self) {
        let found = check(&self.card_books(), &self.terminal_books());
        found.into_iter().for_each(|violation| self.violated(violation));
    }

    /// A terminal dies at a store of its line; a visit at it notices at its next step.
    pub fn terminal_dies(&mut self, terminal: usize, at: &'static str) {
        self.tell(|| format!("    ⚡ {} dies ({at}) and starts again.", till_name(terminal)));
        self.coverage.reached("terminal dies at", at);
        self.reboot(terminal);
        if self.terminals[terminal].busy {
            self.terminals[terminal].dying = true;
        } else {
            let clock = self.clock;
            self.terminals[terminal].crash(clock);
        }
    }

    /// Whatever a terminal had in memory of its line is gone.
    pub fn reboot(&mut self, terminal: usize) {
        if let Some(conn) = self.terminals[terminal].desk.conn {
            self.schedule(1, Happening::GatewayHungUp(conn));
        }
        let boot = self.terminals[terminal].desk.boot + 1;
        self.terminals[terminal].desk = Desk::started(boot);
    }
}

fn now_of(clock: Mono) -> Now {
    let since = i64::try_from(clock.0 / 1_000_000).unwrap_or(i64::MAX);
    Now { mono: clock, wall: Wall(START_WALL_MS.saturating_add(since)), utc_offset_min: UTC_OFFSET_MIN }
}

/// Field 41 of a terminal.
#[must_use]
pub fn terminal_id(index: usize) -> TerminalId {
    TerminalId::from_text(&format!("T{index}")).expect("a terminal id")
}

/// Field 42 of a terminal's merchant.
#[must_use]
pub fn merchant_id(index: usize) -> MerchantId {
    MerchantId::from_text(&format!("SHOP{index}")).expect("a merchant id")
}

/// What the story calls a card.
#[must_use]
pub fn card_name(index: usize) -> String {
    format!("Card {}", letter(index))
}

fn letter(index: usize) -> char {
    char::from(b'A'.saturating_add(u8::try_from(index).unwrap_or(25).min(25)))
}

/// What the story calls a gateway, of so many.
#[must_use]
pub fn gateway_name(index: usize, count: usize) -> String {
    if count > 1 { format!("gateway {}", letter(index)) } else { "gateway".into() }
}

/// The same where a sentence begins.
#[must_use]
pub fn the_gateway(index: usize, count: usize) -> String {
    if count > 1 { format!("Gateway {}", letter(index)) } else { "The gateway".into() }
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
