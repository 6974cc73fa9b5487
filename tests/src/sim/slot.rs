//! A card or SAM in the world: the real applets on memory that forgets what was not synced, a power supply that fails
//! where the plan says, and the eye of the checker, which reads the card as any reader would, after a fresh power-up.

use super::plan::CardFault;
use card_applet_sim::memory::{
    JournalMemory, Medium, MemoryFault, PowerSupply, Powered, RamMedium, Survival,
};
use card_applet_sim::os::Card;
use card_applet_sim::random::SeededRandom;
use protocol::apdu::{Response, StatusWord};
use protocol::ids::{OfflineCounter, OnlineCounter, SamTerminal};
use protocol::money::CardAmount;
use protocol::purse::answer::{ProveAnswer, parse_balance};
use protocol::purse::command::{GetProve, Select, get_balance, read_record};
use protocol::purse::file::{LogRecord, SFI_LOG};
use protocol::purse::{AID_SUITE_00, AID_SUITE_10, Moment, PurseError, Suite, Tac, TransactionType};
use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Room for every answer.
const ANSWER_BYTES_MAX: usize = 258;
/// Records of a card's log that are looked through for new ones; far more than one tap can make.
const LOG_LOOK_BACK: u8 = 8;

/// A medium that somebody with the right tools can read out and write back while the chip has no power: it happens when the chip is
/// powered up the next time.
struct Bare {
    medium: RamMedium,
    door: Arc<Mutex<Door>>,
}

/// What somebody wants of a medium.
#[derive(Default)]
struct Door {
    written: Option<RamMedium>,
    wanted: bool,
    read: Option<RamMedium>,
}

fn lock(door: &Mutex<Door>) -> MutexGuard<'_, Door> {
    door.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Medium for Bare {
    fn read_all(&mut self) -> Result<Cow<'_, [u8]>, MemoryFault> {
        let mut door = lock(&self.door);
        if let Some(written) = door.written.take() {
            self.medium = written;
        }
        if std::mem::take(&mut door.wanted) {
            door.read = Some(self.medium.clone());
        }
        drop(door);
        self.medium.read_all()
    }
    fn write_at(&mut self, offset: usize, bytes: &[u8]) -> Result<(), MemoryFault> {
        self.medium.write_at(offset, bytes)
    }
    fn sync(&mut self) -> Result<(), MemoryFault> {
        self.medium.sync()
    }
    fn power_lost(&mut self) {
        self.medium.power_lost();
    }
}

/// A chip's memory, read out.
#[derive(Clone)]
pub struct Picture(RamMedium);

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Picture")
    }
}

/// A card or SAM with its power.
pub struct Chip {
    card: Card,
    supply: PowerSupply,
    door: Arc<Mutex<Door>>,
    refuse_writes: Arc<Mutex<bool>>,
}

impl std::fmt::Debug for Chip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chip").field("on", &self.card.is_on()).finish_non_exhaustive()
    }
}

/// How one command ended, seen from the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// The answer.
    Answer(Vec<u8>),
    /// None, and the chip has no power any more.
    Silence {
        /// The power failed inside the memory.
        in_memory: bool,
    },
}

impl Chip {
    /// A chip whose memory `make` personalises.
    pub fn new(
        survival: Survival,
        seed: u64,
        make: impl FnOnce(&mut dyn card_applet_sim::memory::Memory),
    ) -> Self {
        let supply = PowerSupply::new();
        let medium = RamMedium::new(survival);
        let refuse_writes = medium.full_disk_switch();
        let door = Arc::default();
        let medium = Bare { medium, door: Arc::clone(&door) };
        let mut memory =
            JournalMemory::format(Powered::new(medium, supply.clone())).expect("memory in RAM formats");
        make(&mut memory);
        Self { card: Card::new(memory, SeededRandom::new(seed)), supply, door, refuse_writes }
    }

    /// Reads its memory out, as it is without power.
    ///
    /// # Panics
    /// Its memory does not recover.
    pub fn picture(&mut self) -> Picture {
        lock(&self.door).wanted = true;
        self.power_on();
        self.power_off();
        Picture(lock(&self.door).read.take().expect("it was powered up"))
    }

    /// Writes a picture back.
    pub fn restore(&mut self, picture: &Picture) {
        self.power_off();
        self.refuse_writes = picture.0.full_disk_switch();
        lock(&self.door).written = Some(picture.0.clone());
    }

    /// Another chip with this memory, and a random source of its own.
    ///
    /// # Panics
    /// The picture is not of a sound memory.
    #[must_use]
    pub fn of_picture(picture: &Picture, seed: u64) -> Self {
        let supply = PowerSupply::new();
        let door = Arc::default();
        let medium = Bare { medium: picture.0.clone(), door: Arc::clone(&door) };
        let memory = JournalMemory::open(Powered::new(medium, supply.clone()))
            .expect("a picture of a sound memory opens");
        let refuse_writes = picture.0.full_disk_switch();
        Self { card: Card::new(memory, SeededRandom::new(seed)), supply, door, refuse_writes }
    }

    /// Powers it up. Memory that a power loss made unreadable is a failure of the card's, found here.
    pub fn power_on(&mut self) {
        self.supply.restore();
        self.card.power_on().expect("a card's memory recovers from any power loss");
    }

    /// Takes the power away.
    pub fn power_off(&mut self) {
        self.card.power_off();
    }

    /// Whether it has power.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.card.is_on()
    }

    /// From now on its memory takes changes, or refuses them.
    pub fn refuse_writes(&self, refuse: bool) {
        *self.refuse_writes.lock().unwrap_or_else(PoisonError::into_inner) = refuse;
    }

    /// One command and its answer.
    pub fn exchange(&mut self, command: &[u8]) -> Exchange {
        let mut answer = [0; ANSWER_BYTES_MAX];
        match self.card.transmit(command, &mut answer) {
            Some(length) => Exchange::Answer(answer[..length].to_vec()),
            None => Exchange::Silence { in_memory: !self.supply.is_on() },
        }
    }

    /// One command during which the power fails: inside the memory after `operations` of it, or after the command.
    pub fn exchange_and_die(&mut self, command: &[u8], operations: u64, share: u8) -> Exchange {
        self.supply.cut_after(operations, share);
        let heard = self.exchange(command);
        self.power_off();
        match heard {
            Exchange::Answer(_) => Exchange::Silence { in_memory: false },
            silence => silence,
        }
    }

    fn ask(&mut self, encode: impl FnOnce(&mut [u8]) -> Result<usize, PurseError>) -> (Vec<u8>, StatusWord) {
        let mut command = [0; ANSWER_BYTES_MAX];
        let length = encode(&mut command).expect("commands of the checker encode");
        let Exchange::Answer(answer) = self.exchange(&command[..length]) else {
            panic!("a powered card answers");
        };
        let response = Response::parse(&answer).expect("an answer has a status word");
        (response.data.to_vec(), response.sw)
    }
}

/// A debit as the card itself knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardDebit {
    /// Counter as INIT answered it.
    pub counter: OfflineCounter,
    /// Amount.
    pub amount: CardAmount,
    /// Type.
    pub kind: TransactionType,
    /// Terminal number.
    pub terminal: SamTerminal,
    /// Date and time of the terminal.
    pub moment: Moment,
    /// The card's proof for the issuer.
    pub tac: Tac,
}

/// A load as the card itself knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardCredit {
    /// Counter as INIT answered it.
    pub counter: OnlineCounter,
    /// Amount.
    pub amount: CardAmount,
    /// Terminal number.
    pub terminal: SamTerminal,
    /// Date and time of the host's consent.
    pub moment: Moment,
    /// The card's proof for the issuer.
    pub tac: Tac,
}

/// What a look at a card finds.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// What is on it.
    pub balance: CardAmount,
    /// Debits after the known ones, oldest first.
    pub debits: Vec<CardDebit>,
    /// Loads after the known ones, oldest first.
    pub credits: Vec<CardCredit>,
}

impl Chip {
    /// Reads balance, and the debits and loads from these counters on, by commands that anyone may send.
    pub fn read_purse(&mut self, suite: Suite, offline: OfflineCounter, online: OnlineCounter) -> Found {
        self.power_on();
        let aid: &[u8] = if suite == Suite::Aes { &AID_SUITE_10 } else { &AID_SUITE_00 };
        let (_, selected) = self.ask(|out| Select::Aid(aid).encode(out));
        assert!(selected.is_ok(), "the purse is selectable: {selected:?}");
        let (balance, _) = self.ask(get_balance);
        let balance = parse_balance(&balance).expect("a balance");
        let mut found = Found { balance, ..Found::default() };
        for record in 1..=LOG_LOOK_BACK {
            let (data, sw) = self.ask(|out| read_record(SFI_LOG, record, out));
            let Ok(log) = LogRecord::parse(&data) else { break };
            let is_load = log.kind == TransactionType::Load;
            let is_debit = matches!(log.kind, TransactionType::Purchase | TransactionType::CappPurchase);
            let known = if is_load { online.0 } else { offline.0 };
            if !sw.is_ok() || !(is_load || is_debit) || log.counter_after <= known {
                break;
            }
            if is_load {
                found.credits.push(self.proven_load(suite, &log));
            } else {
                found.debits.push(self.proven(suite, &log));
            }
        }
        found.debits.reverse();
        found.credits.reverse();
        self.power_off();
        found
    }

    fn prove(&mut self, suite: Suite, log: &LogRecord) -> Tac {
        let prove = GetProve { evidence: false, kind: log.kind, counter_after: log.counter_after };
        let (proof, sw) = self.ask(|out| prove.encode(suite, out));
        assert!(sw.is_ok(), "the card proves what its log holds: {sw:?}");
        ProveAnswer::parse(suite, &proof).expect("a proof").tac
    }

    fn proven(&mut self, suite: Suite, log: &LogRecord) -> CardDebit {
        CardDebit {
            counter: OfflineCounter(log.counter_after.saturating_sub(1)),
            amount: log.amount,
            kind: log.kind,
            terminal: log.terminal,
            moment: log.moment,
            tac: self.prove(suite, log),
        }
    }

    fn proven_load(&mut self, suite: Suite, log: &LogRecord) -> CardCredit {
        CardCredit {
            counter: OnlineCounter(log.counter_after.saturating_sub(1)),
            amount: log.amount,
            terminal: log.terminal,
            moment: log.moment,
            tac: self.prove(suite, log),
        }
    }
}

/// Changes MAC2 in a good answer to DEBIT; `None` if it is none.
pub fn with_wrong_mac2(answer: &[u8]) -> Option<Vec<u8>> {
    let mut changed = answer.to_vec();
    let at = answer.len().checked_sub(3).filter(|_| answer.ends_with(&[0x90, 0x00]))?;
    changed[at] ^= 0x01;
    Some(changed)
}

/// Changes MAC2 in CREDIT.
#[must_use]
pub fn with_wrong_consent(command: &[u8]) -> Vec<u8> {
    let mut changed = command.to_vec();
    // CLA INS P1 P2 Lc date4 time3, then MAC2.
    if let Some(byte) = changed.get_mut(5 + 7) {
        *byte ^= 0x01;
    }
    changed
}

/// Whether `fault` strikes at APDU number `apdu`.
#[must_use]
pub fn strikes(fault: Option<CardFault>, apdu: usize) -> Option<CardFault> {
    fault.filter(|fault| match fault {
        CardFault::CommandLost { apdu: at, .. }
        | CardFault::AnswerLost { apdu: at, .. }
        | CardFault::PowerLost { apdu: at, .. } => *at == apdu,
        CardFault::MemoryRefuses | CardFault::WrongMac2 | CardFault::LeavesWhileAsking => true,
    })
}
