//! The rules on a disk that crashes: what was synced stays, what was not is gone, and the sender never learns which. Messages are
//! lost, doubled, late and repeated; at the end every card's balance is in the float, every merchant has exactly what was paid, and every
//! answer that was given once was given always.

use super::world::*;
use crate::Engine;
use crate::accounts::Hold;
use crate::api::*;
use crate::store::memory::MemoryStore;
use crate::store::{Batch, Heads, Key, Outcome, Record, Scan, Store, StoreFault, Visit};
use keys::KeyModule;
use protocol::ids::*;
use protocol::iso8583::f58::{RecordState, TransactionRecord};
use protocol::purse::{Suite, Tac};
use protocol::time::Wall;
use std::collections::HashMap;
use std::sync::Arc;

/// A seeded generator (xorshift64*): the same seed plays the same day.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as u32 % sides
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.roll(100) < percent
    }
}

/// What the next commit does.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Works,
    DiskFull,
    CrashBeforeSync,
    CrashAfterSync,
}

/// Synced state, and one pending batch that a crash drops or keeps.
struct CrashStore {
    synced: MemoryStore,
    fate: Fate,
    down: bool,
}

impl Store for CrashStore {
    fn heads(&self) -> Heads {
        self.synced.heads()
    }
    fn get(&mut self, key: &Key) -> Result<Option<Record>, StoreFault> {
        if self.down { Err(StoreFault::Closed) } else { self.synced.get(key) }
    }
    fn due_holds(&mut self, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault> {
        if self.down { Err(StoreFault::Closed) } else { self.synced.due_holds(now, limit) }
    }
    fn scan(&mut self, scan: Scan, visit: Visit<'_>) -> Result<(), StoreFault> {
        self.synced.scan(scan, visit)
    }
    fn commit(&mut self, batch: &Batch) -> Result<Vec<Outcome>, StoreFault> {
        let pending = batch.clone();
        match std::mem::replace(&mut self.fate, Fate::Works) {
            Fate::Works => self.synced.commit(&pending),
            Fate::DiskFull => Err(StoreFault::Full),
            Fate::CrashBeforeSync => {
                self.down = true;
                Err(StoreFault::Closed)
            }
            Fate::CrashAfterSync => {
                self.synced.commit(&pending)?;
                self.down = true;
                Err(StoreFault::Closed)
            }
        }
    }
}

struct Day {
    world: World<CrashStore>,
    dice: Dice,
    /// Every message that was answered, with its answer.
    answered: Vec<(HostRequest, HostAnswer)>,
    cards: Vec<TestCard>,
    /// Receipts of loads that the terminal has not delivered.
    receipts: Vec<TransactionRecord>,
    /// Offline records not delivered.
    outbox: Vec<TransactionRecord>,
    next_seq: HashMap<SamTerminal, u32>,
    /// What merchants are owed for offline payments.
    offline: [i128; 2],
    /// Online purchases that stand, by trace.
    online: HashMap<Stan, u64>,
    settled: i128,
}

impl Day {
    fn new(seed: u64) -> Self {
        let store = CrashStore { synced: MemoryStore::new(), fate: Fate::Works, down: false };
        let mut world = World::new(store);
        world.fund(1_000_000, 1);
        let cards = (1..=3).map(|n| world.card(n)).collect();
        Self {
            world,
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            answered: Vec::new(),
            cards,
            receipts: Vec::new(),
            outbox: Vec::new(),
            next_seq: HashMap::new(),
            offline: [0; 2],
            online: HashMap::new(),
            settled: 0,
        }
    }

    /// One try: `None` if the gateway went down or its disk was full; it is up again afterwards.
    fn attempt(&mut self, request: &HostRequest) -> Option<HostAnswer> {
        let fate = match self.dice.roll(100) {
            0..8 => Fate::CrashBeforeSync,
            8..16 => Fate::CrashAfterSync,
            16..20 => Fate::DiskFull,
            _ => Fate::Works,
        };
        self.world.ms += 1000;
        let now = self.world.now();
        self.world.engine.store().fate = fate;
        let answers = self.world.engine.execute(now, &[Request::Host(request.clone())]);
        let store = self.world.engine.store();
        store.fate = Fate::Works;
        if store.down {
            // The process starts again with what was synced.
            let synced = store.synced.clone();
            let keys: Arc<dyn KeyModule> = Arc::<keys::SoftKeys>::clone(&self.world.keys);
            self.world.engine = Engine::new(CrashStore { synced, fate: Fate::Works, down: false }, keys);
        }
        match answers.ok()?.remove(0) {
            Answer::Host(answer) => Some(answer),
            Answer::Admin(_) => panic!("a terminal's answer"),
        }
    }

    /// Sends until an answer arrives; answers get lost too, and frames arrive twice.
    fn send(&mut self, request: HostRequest) -> HostAnswer {
        let mut heard = None;
        loop {
            let answer = self.attempt(&request);
            if let (Some(old), Some(new)) = (&heard, &answer) {
                self.same(&request, old, new);
            }
            heard = heard.or(answer);
            let lost = self.dice.chance(20);
            if let Some(answer) = heard.as_ref().filter(|_| !lost) {
                self.answered.push((request, answer.clone()));
                return answer.clone();
            }
        }
    }

    fn same(&self, request: &HostRequest, old: &HostAnswer, new: &HostAnswer) {
        if matches!(request.body, HostBody::Reversal { .. }) || old.reference.is_none() {
            assert_eq!(new.code, old.code, "{request:?}");
        } else {
            assert_eq!(
                HostAnswer { repeat: false, ..new.clone() },
                HostAnswer { repeat: false, ..old.clone() }
            );
        }
    }

    fn tell(&mut self, terminal: TerminalId, body: HostBody) -> (HostRequest, HostAnswer) {
        let message = self.world.message(terminal, body);
        let answer = self.send(message.clone());
        (message, answer)
    }

    fn step(&mut self) {
        match self.dice.roll(12) {
            0 | 1 => self.load(),
            2..=5 => self.pay(),
            6 => self.deliver_receipts(),
            7 => self.upload(),
            8 | 9 => self.buy(),
            10 => self.stray(),
            _ => self.settle(),
        }
    }

    /// A load; the terminal may lose the answer and reverse, the card may be credited or not, the receipt may wait.
    fn load(&mut self) {
        let (which, amount) = (self.dice.roll(3) as usize, 1 + self.dice.roll(900));
        let request = self.cards[which].request(amount, SAM_1);
        let source = LoadSource::Linked;
        let (message, answer) = self.tell(t1(), HostBody::Load { source, request });
        if answer.code == code("91") {
            // The card had asked for several amounts at one counter, and the proof of the one it was credited with is still under way.
            assert!(!self.receipts.is_empty());
            return self.deliver_receipts();
        }
        assert_eq!(answer.code, code("00"), "{answer:?}");
        let credited = self.dice.chance(70);
        if credited {
            let receipt = self.cards[which].credit(amount, SAM_1, answer.moment);
            self.receipts.push(receipt);
        }
        if self.dice.chance(30) {
            let reversal = World::<CrashStore>::reversal(&message, cny(u64::from(amount)));
            assert_eq!(self.send(reversal).code, code("00"));
        }
    }

    fn pay(&mut self) {
        let which = self.dice.roll(3) as usize;
        let balance = self.cards[which].balance;
        let amount = if balance == 0 { 0 } else { self.dice.roll(balance.min(300)) };
        let (sam, merchant) = if self.dice.chance(50) { (SAM_1, 0) } else { (SAM_2, 1) };
        let seq = self.next_seq.entry(sam).or_insert(0);
        *seq += 1;
        let record = self.cards[which].pay(amount, sam, *seq);
        self.offline[merchant] += i128::from(amount);
        if self.dice.chance(15) {
            // The terminal does not know at first, and tells so; the proof comes later.
            let torn =
                TransactionRecord { state: RecordState::Uncertain, tac: Tac::zero(Suite::Aes), ..record };
            let (_, answer) = self.tell(t1(), HostBody::OfflineRecords { records: vec![torn] });
            assert_eq!(codes(&answer), ["01"]);
        }
        self.outbox.push(record);
    }

    fn deliver_receipts(&mut self) {
        while let Some(record) = self.receipts.pop() {
            let confirm = HostBody::LoadConfirm { original: Original::default(), record };
            assert_eq!(self.tell(t1(), confirm).1.code, code("00"));
        }
    }

    /// Some records in any order, some of them twice, by either terminal.
    fn upload(&mut self) {
        let mut records = Vec::new();
        while !self.outbox.is_empty() && records.len() < 10 {
            let at = self.dice.roll(self.outbox.len() as u32) as usize;
            records.push(self.outbox.swap_remove(at));
        }
        if let Some(first) = records.first().copied() {
            records.push(first);
            let terminal = if self.dice.chance(50) { t1() } else { t2() };
            let (_, answer) = self.tell(terminal, HostBody::OfflineRecords { records });
            assert!(codes(&answer).iter().all(|code| code == "00"), "{answer:?}");
        }
    }

    fn buy(&mut self) {
        let minor = 1 + u64::from(self.dice.roll(500));
        let body = HostBody::Purchase { payer: PAYER, amount: cny(minor) };
        let message = self.world.message(t1(), body);
        let reversed = self.dice.chance(30);
        if reversed && self.dice.chance(30) {
            // The reversal overtakes its purchase.
            assert_eq!(self.send(World::<CrashStore>::reversal(&message, cny(minor))).code, code("00"));
            assert_eq!(self.send(message).code, code("68"));
            return;
        }
        assert_eq!(self.send(message.clone()).code, code("00"));
        if reversed {
            assert_eq!(self.send(World::<CrashStore>::reversal(&message, cny(minor))).code, code("00"));
        } else {
            self.online.insert(message.identity.trace, minor);
        }
    }

    /// An old frame turns up again: the answer of then, and nothing is booked.
    fn stray(&mut self) {
        if self.answered.is_empty() {
            return;
        }
        let at = self.dice.roll(self.answered.len() as u32) as usize;
        let (request, before) = self.answered[at].clone();
        if !matches!(request.body, HostBody::Reversal { .. })
            && let Some(answer) = self.attempt(&request)
        {
            self.same(&request, &before, &answer);
        }
    }

    fn settle(&mut self) {
        let batch = BatchNo(self.world.batch);
        let query = Query::Batch(t1(), batch);
        let Report::Batch(report) = self.world.engine.query(&query).unwrap() else { return };
        let other = self.world.engine.query(&Query::Batch(t2(), batch)).unwrap();
        let (_, answer) = self.tell(t1(), HostBody::Settle { totals: report.host });
        assert_eq!(answer.code, code("00"));
        if let Report::Batch(other) = other {
            assert_eq!(self.tell(t2(), HostBody::Settle { totals: other.host }).1.code, code("00"));
        }
        self.settled += self.online.drain().map(|(_, minor)| i128::from(minor)).sum::<i128>();
        self.world.batch += 1;
    }

    /// Everything that is still under way arrives; then the books must be those of the cards and the shops.
    fn close(mut self, seed: u64) {
        self.deliver_receipts();
        while !self.outbox.is_empty() {
            self.upload();
        }
        self.settle();
        let report = self.world.audit();
        assert_eq!(report.exceptions, [], "seed {seed}");
        let on_cards: i128 = self.cards.iter().map(|card| i128::from(card.balance)).sum();
        assert_eq!(report.float[0].posted, on_cards, "seed {seed}: float and cards");
        let owed = [self.world.payable(shop()), self.world.payable(cafe())];
        assert_eq!(owed, [self.offline[0] + self.settled, self.offline[1]], "seed {seed}: merchants");
        let spent = 1_000_000 - i128::from(self.world.available());
        assert_eq!(
            spent,
            on_cards + owed[0] + owed[1] + i128::from(report.float[0].pending),
            "seed {seed}: the payer paid for what is on cards, with merchants, and still held"
        );
    }
}

#[test]
fn whatever_crashes_and_whatever_comes_twice_the_books_are_those_of_the_cards() {
    for seed in 1..=150 {
        let mut day = Day::new(seed);
        for _ in 0..60 {
            day.step();
        }
        day.close(seed);
    }
}
