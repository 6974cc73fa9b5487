//! The driver of `flow`'s machines: it carries out their steps with the readers, the journal and the clock, and feeds back
//! what came of them (the table in `flow::machine`).
//!
//! One call of [`Driver::run`] is one machine from start to end; it blocks, so a till gives it a thread of its own and
//! stops it through the card reader's `Canceller`. The driver decides nothing about money. Two things are its own:
//! a reader that failed while a card was awaited is waited for until the deadline, and a card that broke off without
//! leaving is powered up again at once, a few times.

use crate::config::Zone;
use crate::devices::Devices;
use crate::fault;
use crate::host::{Host, Lost};
use crate::journal::{Batch, Journal, StoreFault};
use console::Failure;
use flow::host::{Ask, NoReply};
use flow::machine::{LoadReply, Order, Standing};
use flow::record::{CardId, JournalEntry, LoadIntent, RecordId};
use flow::{Event, Machine, Outcome, Prompt, Step};
use hardware::{CardEvent, CardReader, ReaderError};
use protocol::apdu::SHORT_ANSWER_BYTES_MAX;
use protocol::ids::{Factor, IssuerId};
use protocol::time::{Mono, Now, Wall};
use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime};

/// A card whose MAC2 was wrong is refused for this long (`purse.md` section 4), milliseconds.
pub const REFUSED_MS: i64 = 60_000;
/// How often a card that broke off without leaving is powered up again before it has to leave.
const RECONNECTS_MAX: u8 = 3;
/// Longest single wait for a card, so that a clock that stands still ends nothing.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// Between two looks at a reader that just failed.
const READER_PAUSE: Duration = Duration::from_millis(200);

/// Both clocks.
pub trait Clock {
    /// Now.
    fn now(&self) -> Now;
}

/// The machine's clocks, with the terminal's zone.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    zone: Zone,
}

impl SystemClock {
    /// Starts counting now.
    #[must_use]
    pub fn start(zone: Zone) -> Self {
        Self { start: Instant::now(), zone }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let mono = Mono(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        Now { mono, wall, utc_offset_min: self.zone.offset_min(wall) }
    }
}

/// What a machine ended with, and what happened on the way that a person should know.
#[derive(Debug)]
pub struct Run {
    /// The machine's own end.
    pub outcome: Outcome,
    /// Why the journal refused, if it did.
    pub store_fault: Option<StoreFault>,
    /// Why the card reader failed while a card was awaited, if it did to the end.
    pub reader_fault: Option<ReaderError>,
    /// What became of interrupted debits on the way: their numbers.
    pub resolved: Vec<RecordId>,
    /// Why the gateway gave no answer, if it was asked and did not.
    pub no_reply: Option<NoReply>,
}

/// Everything a machine needs to run.
pub struct Driver<'d> {
    /// The two slots.
    pub devices: &'d mut Devices,
    /// The journal.
    pub journal: &'d mut Journal,
    /// Refused cards.
    pub deny_list: &'d HashSet<(IssuerId, Factor)>,
    /// Both clocks.
    pub clock: &'d dyn Clock,
    /// The gateway; `None`: there is none for this run, and what asks for it is told so.
    pub host: Option<&'d mut dyn Host>,
    /// Shows a prompt; called when it changes.
    pub show: &'d mut dyn FnMut(Prompt),
}

impl std::fmt::Debug for Driver<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("devices", &self.devices).finish_non_exhaustive()
    }
}

/// What the driver remembers of one run.
#[derive(Debug, Default)]
struct Memory {
    shown: Option<Prompt>,
    store_fault: Option<StoreFault>,
    reader_fault: Option<ReaderError>,
    resolved: Vec<RecordId>,
    no_reply: Option<NoReply>,
    /// A card is believed to be in the field.
    present: bool,
    /// Power-ups since the card came.
    reconnects: u8,
}

/// What becomes of a step: the next event, or the end.
enum Next {
    Event(Happened),
    Done(Outcome),
}

/// An event that owns its content.
enum Happened {
    CardPresent,
    CardAnswer(usize),
    CardLost,
    SamAnswer(usize),
    SamLost,
    Standing(Box<Standing>),
    Stored(RecordId),
    StoreFailed,
    HostAnswer(Box<LoadReply>),
    HostLost,
    Cancel,
    Tick,
}

impl Driver<'_> {
    /// Runs `machine` to its end.
    ///
    /// # Errors
    /// The journal cannot be read: then nothing was begun with the card.
    pub fn run(&mut self, machine: &mut dyn Machine) -> Result<Run, Failure> {
        let mut memory = Memory::default();
        let mut answer = [0; SHORT_ANSWER_BYTES_MAX];
        let mut step = machine.handle(Event::Start, self.clock.now());
        loop {
            let prompt = machine.prompt();
            if memory.shown.replace(prompt) != Some(prompt) {
                (self.show)(prompt);
            }
            let happened = match self.carry_out(step, machine.deadline(), &mut answer, &mut memory)? {
                Next::Event(happened) => happened,
                Next::Done(outcome) => {
                    // The session is over either way; the next one connects anew.
                    let _ = self.devices.card.disconnect();
                    let Memory { store_fault, reader_fault, resolved, no_reply, .. } = memory;
                    return Ok(Run { outcome, store_fault, reader_fault, resolved, no_reply });
                }
            };
            let heard = |length: &usize| answer.get(..*length).unwrap_or_default();
            let event = match &happened {
                Happened::CardPresent => Event::CardPresent,
                Happened::CardAnswer(length) => Event::CardAnswer(heard(length)),
                Happened::CardLost => Event::CardLost,
                Happened::SamAnswer(length) => Event::SamAnswer(heard(length)),
                Happened::SamLost => Event::SamLost,
                Happened::Standing(standing) => Event::Standing(standing),
                Happened::Stored(id) => Event::Stored(*id),
                Happened::StoreFailed => Event::StoreFailed,
                Happened::HostAnswer(reply) => Event::HostAnswer(reply),
                Happened::HostLost => Event::HostLost,
                Happened::Cancel => Event::Operator(Order::Cancel),
                Happened::Tick => Event::Tick,
            };
            step = machine.handle(event, self.clock.now());
        }
    }

    fn carry_out(
        &mut self,
        step: Step,
        deadline: Option<Mono>,
        answer: &mut [u8],
        memory: &mut Memory,
    ) -> Result<Next, Failure> {
        Ok(Next::Event(match step {
            Step::WaitCard => self.wait_card(deadline, memory),
            Step::WaitRemoval => self.wait_removal(deadline, memory),
            Step::ToCard(command) => match self.devices.card.transmit(&command, answer) {
                Ok(length) => Happened::CardAnswer(length),
                Err(error) => {
                    tracing::info!(%error, "the card did not answer");
                    Happened::CardLost
                }
            },
            Step::ToSam(command) => {
                let sent = match &mut self.devices.sam {
                    Some(sam) => sam.transmit(&command, answer),
                    None => Err(ReaderError::NoCard),
                };
                match sent {
                    Ok(length) => Happened::SamAnswer(length),
                    Err(error) => {
                        tracing::warn!(%error, "the SAM did not answer");
                        Happened::SamLost
                    }
                }
            }
            Step::LookUp(card) => {
                // A card whose open debits are not known must not be debited.
                let found = self.look_up(&card);
                Happened::Standing(Box::new(found.map_err(|fault| fault::store(self.journal.path(), fault))?))
            }
            Step::Store(entry) => self.store(entry, memory),
            Step::AskHost(intent) => self.ask_host(intent, memory),
            Step::Done(outcome) => return Ok(Next::Done(outcome)),
        }))
    }

    fn look_up(&self, card: &CardId) -> Result<Standing, StoreFault> {
        let now = self.clock.now().wall.0;
        let (since, until) = (Wall(now.saturating_sub(REFUSED_MS)), Wall(now.saturating_add(REFUSED_MS)));
        Ok(Standing {
            open: self.journal.open_debit(card)?,
            open_load: self.journal.open_load(card),
            denied: self.deny_list.contains(&(card.issuer, card.asn.factor())),
            refused: self.journal.gave_wrong_proof(card, (since, until))?,
        })
    }

    fn ask_host(&mut self, intent: LoadIntent, memory: &mut Memory) -> Happened {
        let Some(host) = &mut self.host else {
            memory.no_reply = Some(NoReply::Unreachable);
            return Happened::HostLost;
        };
        match host.ask(Ask::Load(intent), self.journal, self.clock) {
            Ok(reply) => {
                let (code, reference, consent) = (reply.code, reply.reference, reply.consent);
                Happened::HostAnswer(Box::new(LoadReply { code, reference, consent }))
            }
            Err(Lost::NoReply(why)) => {
                tracing::warn!(%why, "the gateway did not answer for a load");
                memory.no_reply = Some(why);
                Happened::HostLost
            }
            Err(Lost::Journal(fault)) => {
                tracing::error!(%fault, "the journal refused what the gateway said");
                memory.store_fault = Some(fault);
                Happened::HostLost
            }
        }
    }

    fn store(&mut self, entry: JournalEntry, memory: &mut Memory) -> Happened {
        let resolves = match &entry {
            JournalEntry::Resolved { intent, .. } => Some(*intent),
            _ => None,
        };
        let stored = self.journal.commit(&Batch::of(entry, self.clock.now().wall));
        match stored.map(|ids| ids.first().copied()) {
            Ok(Some(id)) => {
                memory.resolved.extend(resolves);
                Happened::Stored(id)
            }
            Ok(None) => Happened::StoreFailed,
            Err(fault) => {
                tracing::error!(%fault, "the journal refused an entry");
                memory.store_fault = Some(fault);
                Happened::StoreFailed
            }
        }
    }

    // --- the field ----------------------------------------------------------------------------------------------

    fn wait_card(&mut self, deadline: Option<Mono>, memory: &mut Memory) -> Happened {
        loop {
            let Some(left) = self.left(deadline) else {
                return Happened::Tick;
            };
            // A card that broke off but may still be there gives no event: power it up again.
            if memory.present && memory.reconnects < RECONNECTS_MAX {
                memory.reconnects = memory.reconnects.saturating_add(1);
            } else {
                match self.devices.card.next_event(left) {
                    Ok(CardEvent::Inserted) => {
                        memory.present = true;
                        memory.reconnects = 0;
                    }
                    Ok(CardEvent::Removed) => {
                        memory.present = false;
                        memory.reader_fault = None;
                        continue;
                    }
                    Err(error) => match self.reader_failed(error, memory) {
                        Some(happened) => return happened,
                        None => continue,
                    },
                }
            }
            match self.devices.card.connect() {
                Ok(_) => {
                    memory.reader_fault = None;
                    return Happened::CardPresent;
                }
                Err(ReaderError::NoCard | ReaderError::CardRemoved) => memory.present = false,
                Err(ReaderError::CardMute | ReaderError::Comm | ReaderError::CardReset) => {
                    std::thread::sleep(READER_PAUSE.min(left));
                }
                Err(error) => {
                    if let Some(happened) = self.reader_failed(error, memory) {
                        return happened;
                    }
                }
            }
        }
    }

    fn wait_removal(&mut self, deadline: Option<Mono>, memory: &mut Memory) -> Happened {
        // The session ends here; a reader that says it failed at that is asked for the removal all the same.
        let _ = self.devices.card.disconnect();
        while memory.present {
            let Some(left) = self.left(deadline) else {
                return Happened::Tick;
            };
            match self.devices.card.next_event(left) {
                Ok(CardEvent::Removed) => memory.present = false,
                Ok(CardEvent::Inserted) => {}
                Err(error) => {
                    if let Some(happened) = self.reader_failed(error, memory) {
                        return happened;
                    }
                }
            }
        }
        memory.reconnects = 0;
        Happened::CardLost
    }

    /// A reader that failed while it waited. What a hand at the cable cures is waited for until the deadline; anything
    /// else ends the machine as a person would.
    fn reader_failed(&mut self, error: ReaderError, memory: &mut Memory) -> Option<Happened> {
        match error {
            // The caller looks at the deadline again.
            ReaderError::Timeout => None,
            ReaderError::Cancelled => Some(Happened::Cancel),
            ReaderError::InUse => {
                memory.reader_fault = Some(error);
                Some(Happened::Cancel)
            }
            error => {
                tracing::warn!(%error, "the card reader failed");
                let passing = error.is_passing();
                memory.present = false;
                memory.reader_fault = Some(error);
                if passing {
                    std::thread::sleep(READER_PAUSE);
                    None
                } else {
                    Some(Happened::Cancel)
                }
            }
        }
    }

    /// Time until the deadline; `None` once it has passed.
    fn left(&self, deadline: Option<Mono>) -> Option<Duration> {
        let Some(deadline) = deadline else {
            return Some(WAIT_MAX);
        };
        let now = self.clock.now().mono;
        let left = Duration::from_nanos(deadline.0.saturating_sub(now.0));
        (!left.is_zero()).then(|| left.min(WAIT_MAX))
    }
}
