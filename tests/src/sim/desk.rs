//! A terminal's side of the line in the simulated world: the driver of the real session (`flow::host`) and of the real errands
//! (`flow::errand`), in virtual time. It does what `terminal::host` does: trace numbers are set aside in the journal before they are used,
//! what the gateway says about the batch is durable before anything else, and what the host answered is stored before it counts.

use super::gateway::ConnId;
use super::line::Happening;
use super::plan::{self, TerminalFault, Way};
use super::store::{Failed, Fate};
use super::words;
use super::world::{World, merchant_id, terminal_id, till_name};
use flow::errand::{Drain, Errand, Event, Scope, Settle, Step};
use flow::host::{Ask, HostConfig, HostReply, HostSession, Input, NoReply, Output, Ticket};
use flow::outbox::Due;
use flow::record::{HostNumbers, JournalEntry, LoadIntent, LoadState, RecordId};
use protocol::ids::Stan;
use protocol::iso8583::f58::TransactionRecord;
use protocol::iso8583::{Header, Tpdu};
use protocol::money::{CardAmount, Currency};
use protocol::secret::Secret;
use protocol::time::Mono;
use std::collections::VecDeque;
use terminal::journal::Batch;

/// How long a request may take, from being asked to its answer.
pub const REPLY_MS: u64 = 20_000;
/// Fewer trace numbers than this at hand: more are set aside.
const TRACES_LOW: u32 = 20;

/// What a terminal has in memory of its line.
#[derive(Debug, Default)]
pub struct Desk {
    session: Option<HostSession>,
    /// Its connection, also while it is being opened.
    pub conn: Option<ConnId>,
    errand: Option<Running>,
    /// How the last errand ended.
    pub ended_well: bool,
    load: Option<Ticket>,
    /// What became of the load that was asked for.
    pub load_reply: Option<Result<HostReply, NoReply>>,
    faults: Vec<TerminalFault>,
    stores: usize,
    tick: Option<Mono>,
    /// How often the terminal was started.
    pub boot: u64,
}

impl Desk {
    /// Of a terminal that was started so often.
    #[must_use]
    pub fn started(boot: u64) -> Self {
        Self { boot, ..Self::default() }
    }

    /// Its disk does not fail any more.
    pub fn quiet(&mut self) {
        self.faults.clear();
    }
}

struct Running {
    errand: Box<dyn Task>,
    ticket: Option<Ticket>,
    name: &'static str,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// An errand, and whether it came to a good end.
trait Task: Errand + Send {
    fn ended_well(&self) -> bool;
}

impl Task for Settle {
    fn ended_well(&self) -> bool {
        self.settled().is_ok()
    }
}

/// Signs in, then sends what waits.
struct Upload {
    signed_in: bool,
    failed: bool,
    drain: Drain,
}

impl Errand for Upload {
    fn handle(&mut self, event: Event, outbox: &mut flow::outbox::Outbox) -> Step {
        match event {
            Event::Start => Step::Ask(Ask::SignIn),
            Event::Answered(_) if !self.signed_in => {
                self.signed_in = true;
                self.drain.handle(Event::Start, outbox)
            }
            Event::Unanswered(_) if !self.signed_in => {
                self.failed = true;
                Step::Done
            }
            event => self.drain.handle(event, outbox),
        }
    }
}

impl Task for Upload {
    fn ended_well(&self) -> bool {
        !self.failed && self.drain.drained().stopped.is_none()
    }
}

/// Asks one thing after the other, and stores nothing.
struct Asks {
    left: VecDeque<Ask>,
    failed: bool,
}

impl Errand for Asks {
    fn handle(&mut self, event: Event, _: &mut flow::outbox::Outbox) -> Step {
        // To load under a number that was not reversed after all is no use to anybody.
        let in_vain = matches!(&event, Event::Answered(reply) if !reply.code.is_approved())
            && matches!(self.left.front(), Some(Ask::Load(_)));
        self.failed |= in_vain || matches!(event, Event::Unanswered(_));
        match self.left.pop_front() {
            Some(ask) if !self.failed => Step::Ask(ask),
            _ => Step::Done,
        }
    }
}

impl Task for Asks {
    fn ended_well(&self) -> bool {
        !self.failed
    }
}

fn upload(scope: Scope) -> Box<dyn Task> {
    Box::new(Upload { signed_in: false, failed: false, drain: Drain::new(scope) })
}

fn asks(asks: impl IntoIterator<Item = Ask>) -> Box<dyn Task> {
    let left = std::iter::once(Ask::SignIn).chain(asks).collect();
    Box::new(Asks { left, failed: false })
}

/// Begins an errand, unless the terminal is at one.
pub fn errand(world: &mut World, plan: &plan::Errand) {
    world.pass_ms(plan.after_ms);
    let terminal = plan.terminal;
    if world.terminals[terminal].desk.errand.is_some() {
        return;
    }
    world.line.plan(terminal, &plan.line);
    world.acquirer.plan(&plan.gateway, &mut world.coverage);
    let desk = &mut world.terminals[terminal].desk;
    desk.faults.clone_from(&plan.faults);
    desk.stores = 0;
    begin(world, terminal, plan.task);
}

/// Begins a task without faults of its own.
pub fn begin(world: &mut World, terminal: usize, task: plan::Task) {
    use plan::Task as Want;
    let (name, errand) = match task {
        Want::HangUp => {
            world.hang_up(terminal);
            world.terminals[terminal].desk.session = None;
            return;
        }
        Want::SignIn => ("sign-in", asks([])),
        Want::Upload => ("upload", upload(Scope::All)),
        Want::UploadOpen => ("upload with open", upload(Scope::WithOpen)),
        Want::Settle => ("settlement", Box::new(Settle::new()) as Box<dyn Task>),
        Want::SettleLying(off) => {
            let mut totals = world.terminals[terminal].journal.outbox().totals();
            totals.domestic.debit.minor += u64::from(off);
            ("lying settlement", asks([Ask::Settle(totals), Ask::UploadEnd, Ask::SignIn]))
        }
        Want::Steal { from } => {
            let stolen = waiting(world, from);
            if stolen.is_empty() || from == terminal {
                return;
            }
            ("stolen upload", asks([Ask::Records(stolen)]))
        }
        Want::Tamper(more) => {
            let mut records = waiting(world, terminal);
            let Some(last) = records.last_mut().filter(|record| !record.tac.is_zero()) else { return };
            last.amount = CardAmount(last.amount.0.saturating_add(more));
            ("tampered upload", asks([Ask::Records(records)]))
        }
        Want::RepeatLoad => {
            let Some(intent) = newest_load(world, terminal) else { return };
            ("load asked for again", asks([Ask::Load(intent)]))
        }
        Want::ReverseLoaded => {
            let Some(intent) = last_credited(world, terminal) else { return };
            ("reversal of a load that was credited", asks([Ask::Reversal { intent, repeat: false }]))
        }
        Want::ReverseFirst => {
            let (Some(old), Some(numbers)) = (newest_load(world, terminal), numbers(world, terminal)) else {
                return;
            };
            let intent = LoadIntent { numbers, ..old };
            ("load after its reversal", asks([Ask::Reversal { intent, repeat: false }, Ask::Load(intent)]))
        }
    };
    start(world, terminal, name, errand);
}

/// What has to be out of the way before a load.
pub fn before_load(world: &mut World, terminal: usize) {
    start(world, terminal, "sign-in before a load", upload(Scope::Loads));
}

/// What follows a load: its confirmation, or its reversal.
pub fn after_load(world: &mut World, terminal: usize) {
    start(world, terminal, "confirmation", upload(Scope::Loads));
}

fn start(world: &mut World, terminal: usize, name: &'static str, errand: Box<dyn Task>) {
    if world.terminals[terminal].dying {
        // Dead already, in the middle of a visit that has not noticed yet.
        world.terminals[terminal].desk.ended_well = false;
        return;
    }
    world.tell(|| format!("{} begins: {name}.", till_name(terminal)));
    world.coverage.reached("errand begins", name);
    if !ready(world, terminal) {
        world.terminals[terminal].desk.ended_well = false;
        return;
    }
    world.terminals[terminal].desk.errand = Some(Running { errand, ticket: None, name });
    step(world, terminal, Event::Start);
    drive(world, terminal);
}

/// The records that wait at a terminal, as its own next message would carry them.
fn waiting(world: &World, terminal: usize) -> Vec<TransactionRecord> {
    let mut outbox = world.terminals[terminal].journal.outbox().clone();
    let debits: Vec<RecordId> = match outbox.next(None, false) {
        Some(Due::Records(ids)) => ids,
        _ => return Vec::new(),
    };
    match outbox.ask(&Due::Records(debits)) {
        Some(Ask::Records(records)) => records,
        _ => Vec::new(),
    }
}

fn last_credited(world: &World, terminal: usize) -> Option<LoadIntent> {
    let journal = &world.terminals[terminal].journal;
    let credited = journal.entries().filter_map(|(_, entry)| match entry {
        JournalEntry::LoadState { load, state: LoadState::Credited { .. } } => Some(*load),
        _ => None,
    });
    match journal.entry(credited.last()?) {
        Some(JournalEntry::Load(intent)) => Some(*intent),
        _ => None,
    }
}

fn newest_load(world: &World, terminal: usize) -> Option<LoadIntent> {
    let loads = world.terminals[terminal].journal.entries().filter_map(|(_, entry)| match entry {
        JournalEntry::Load(intent) => Some(*intent),
        _ => None,
    });
    loads.last()
}

/// Whether an errand is under way.
#[must_use]
pub fn is_busy(world: &World, terminal: usize) -> bool {
    world.terminals[terminal].desk.errand.is_some()
}

// --- the session ----------------------------------------------------------------------------------------------------

/// A session with trace numbers at hand; false if the journal refuses them.
fn ready(world: &mut World, terminal: usize) -> bool {
    let desk = &world.terminals[terminal].desk;
    if desk.session.as_ref().is_some_and(|session| session.traces_left() >= TRACES_LOW) {
        return true;
    }
    let (used, last) = world.terminals[terminal].journal.outbox().next_traces();
    if store(world, terminal, vec![JournalEntry::Traces(last)]).is_none() {
        return false;
    }
    let SimParts { terminal: it, seed } = parts(world, terminal);
    match &mut it.desk.session {
        Some(session) if used != Stan(0) => session.allow_traces(last),
        session => {
            // They begin again at 1, or it is a start: the session only counts up, so another one takes over.
            let config = HostConfig {
                terminal: terminal_id(terminal),
                merchant: merchant_id(terminal),
                currency: Currency::CNY,
                tpdu: Tpdu { destination: [0, 3], source: [0, 0] },
                header: Header::CHIP,
                reply_ms: REPLY_MS,
            };
            let tmk = Secret::new(*it.tmk.expose());
            let batch = it.journal.outbox().batch();
            *session = Some(HostSession::new(config, tmk, batch, used, last, seed));
            world.hang_up(terminal);
        }
    }
    true
}

struct SimParts<'w> {
    terminal: &'w mut super::world::SimTerminal,
    seed: u64,
}

fn parts(world: &mut World, terminal: usize) -> SimParts<'_> {
    let it = &mut world.terminals[terminal];
    let seed = 77 + terminal as u64 + 1_000 * it.desk.boot;
    SimParts { terminal: it, seed }
}

/// Something happened on the connection.
pub fn hear(world: &mut World, terminal: usize, input: Input<'_>) {
    let now = world.now_at(terminal);
    if let Some(session) = &mut world.terminals[terminal].desk.session {
        session.handle(input, now);
    }
    drive(world, terminal);
}

/// Time has passed.
pub fn tick(world: &mut World, terminal: usize, boot: u64) {
    let (clock, now) = (world.clock(), world.now_at(terminal));
    let desk = &mut world.terminals[terminal].desk;
    if desk.boot != boot || desk.tick.is_none_or(|due| due > clock) {
        return;
    }
    desk.tick = None;
    if let Some(session) = &mut desk.session {
        session.tick(now);
    }
    drive(world, terminal);
}

/// Does what the session wants, until it wants nothing.
fn drive(world: &mut World, terminal: usize) {
    loop {
        let output = world.terminals[terminal].desk.session.as_mut().and_then(HostSession::poll);
        match output {
            None => break,
            Some(Output::Connect) => world.connect(terminal),
            Some(Output::Send(frame)) => {
                if let Some(conn) = world.terminals[terminal].desk.conn {
                    world.carry(Way::Up, terminal, conn, frame);
                }
            }
            Some(Output::Close) => world.hang_up(terminal),
            Some(Output::Batch(batch)) => {
                if store(world, terminal, vec![JournalEntry::Batch(batch)]).is_none() {
                    // Nothing more is asked with a batch that is not durable.
                    return broken(world, terminal);
                }
            }
            Some(Output::Traces(last)) => {
                world.coverage.reached("old journal", "trace numbers moved on");
                world.tell(|| format!("    {} moves its trace numbers on.", till_name(terminal)));
                if store(world, terminal, vec![JournalEntry::Traces(last)]).is_none() {
                    return broken(world, terminal);
                }
            }
            Some(Output::Answered(ticket, reply)) => answered(world, terminal, ticket, Ok(reply)),
            Some(Output::Unanswered(ticket, why)) => answered(world, terminal, ticket, Err(why)),
        }
    }
    wake_later(world, terminal);
}

/// The journal refused what must be durable: the line is given up until the next errand.
fn broken(world: &mut World, terminal: usize) {
    world.hang_up(terminal);
    let desk = &mut world.terminals[terminal].desk;
    desk.session = None;
    desk.ended_well = false;
    desk.errand = None;
    if desk.load.take().is_some() {
        desk.load_reply = Some(Err(NoReply::Broken));
    }
}

fn wake_later(world: &mut World, terminal: usize) {
    let (boot, started) = (world.terminals[terminal].desk.boot, world.terminals[terminal].started);
    let desk = &mut world.terminals[terminal].desk;
    let Some(due) = desk.session.as_ref().and_then(HostSession::deadline) else { return };
    // The session counts from the terminal's start.
    let at = Mono(due.0.saturating_add(started.0)).max(Mono(0));
    if desk.tick.is_none_or(|planned| planned > at) {
        desk.tick = Some(at);
        let at = at.max(world.clock());
        world.schedule_at(at, Happening::Tick { terminal, boot });
    }
}

fn answered(world: &mut World, terminal: usize, ticket: Ticket, answer: Result<HostReply, NoReply>) {
    let desk = &mut world.terminals[terminal].desk;
    if desk.load == Some(ticket) {
        desk.load = None;
        desk.load_reply = Some(answer);
        return;
    }
    if desk.errand.as_ref().is_some_and(|running| running.ticket == Some(ticket)) {
        let event = match answer {
            Ok(reply) => Event::Answered(reply),
            Err(why) => Event::Unanswered(why),
        };
        step(world, terminal, event);
    }
}

/// Steps the errand until it waits for an answer or is over.
fn step(world: &mut World, terminal: usize, first: Event) {
    let mut event = first;
    loop {
        let it = &mut world.terminals[terminal];
        let Some(running) = &mut it.desk.errand else { return };
        event = match running.errand.handle(event, it.journal.outbox_mut()) {
            Step::Ask(ask) => {
                if !ready(world, terminal) {
                    return over(world, terminal, false);
                }
                let now = world.now_at(terminal);
                let desk = &mut world.terminals[terminal].desk;
                let ticket = desk.session.as_mut().map(|session| session.ask(ask, now));
                if let Some(running) = &mut desk.errand {
                    running.ticket = ticket;
                }
                return;
            }
            Step::Store(entries) => match store(world, terminal, entries) {
                Some(_) => Event::Stored,
                None => return over(world, terminal, false),
            },
            Step::Counted(batch) => Event::Counted(it.journal.counted_in(batch)),
            Step::Done => {
                let well = running.errand.ended_well();
                return over(world, terminal, well);
            }
        };
    }
}

fn over(world: &mut World, terminal: usize, well: bool) {
    let desk = &mut world.terminals[terminal].desk;
    desk.ended_well = well;
    let Some(running) = desk.errand.take() else { return };
    if !well && world.terminals[terminal].renewed.is_some() {
        world.coverage.reached("given up under a dead master key", running.name);
    }
    world.coverage.reached(if well { "errand done" } else { "errand given up" }, running.name);
    world.tell(|| {
        let how = if well { "is done" } else { "is given up" };
        format!("{}: {} {how}.", till_name(terminal), running.name)
    });
}

// --- loads ----------------------------------------------------------------------------------------------------------

/// Identity for a load that is about to be stored.
pub fn numbers(world: &mut World, terminal: usize) -> Option<HostNumbers> {
    if !ready(world, terminal) {
        return None;
    }
    world.terminals[terminal].desk.session.as_mut()?.take_numbers()
}

/// Asks for a load; the answer comes into [`Desk::load_reply`].
pub fn ask_load(world: &mut World, terminal: usize, intent: LoadIntent) {
    let asked = ready(world, terminal);
    let now = world.now_at(terminal);
    let desk = &mut world.terminals[terminal].desk;
    desk.load_reply = None;
    match &mut desk.session {
        Some(session) if asked => desk.load = Some(session.ask(Ask::Load(intent), now)),
        _ => desk.load_reply = Some(Err(NoReply::Unreachable)),
    }
    drive(world, terminal);
}

// --- the journal ----------------------------------------------------------------------------------------------------

/// Makes entries durable; `None` if they are not, or if the terminal died at it.
fn store(world: &mut World, terminal: usize, entries: Vec<JournalEntry>) -> Option<Vec<RecordId>> {
    let wall = world.now_at(terminal).wall;
    let it = &mut world.terminals[terminal];
    let at = it.desk.stores;
    it.desk.stores += 1;
    let fate = fate(&it.desk.faults, at);
    let kind = entries.first().map_or("nothing", words::entry);
    let stored = it.journal.commit(&Batch { wall, entries: entries.clone() }, fate);
    if let Some(fault) = words::fate(fate) {
        world.coverage.fault(fault, kind);
        world.tell(|| format!("    ⚡ {fault}, at the {kind}."));
    }
    match stored {
        Ok(ids) => {
            entries.iter().for_each(|entry| words::tell_entry(world, entry));
            Some(ids)
        }
        Err(Failed::Reported(_)) => None,
        Err(Failed::Died) => {
            world.terminal_dies(terminal, kind);
            None
        }
    }
}

/// What becomes of the store with this number.
#[must_use]
pub fn fate(faults: &[TerminalFault], store: usize) -> Fate {
    let fates = faults.iter().filter_map(|fault| match fault {
        TerminalFault::CrashBeforeDurable { store: at } if *at == store => Some(Fate::DiesBefore),
        TerminalFault::CrashAfterDurable { store: at } if *at == store => Some(Fate::DiesAfter),
        TerminalFault::DiskFull { store: from } if *from <= store => Some(Fate::Full),
        TerminalFault::StoreLies { store: at } if *at == store => Some(Fate::Lies),
        _ => None,
    });
    fates.fold(Fate::Good, |_, fate| fate)
}
