//! One gateway in the simulated world: the gateway's own sessions, switch and writer over the real rules, driven by frames in virtual
//! time. It dies with its connections, sign-ins and working keys; what is durable is in the database that all gateways share
//! ([`super::acquirer`]).

use super::coverage::Coverage;
use super::disk::{Disk, Front};
use backend::Engine;
use backend::api::{AdminRequest, Answer, Backend, HostBody, Request};
use backend::store::memory::shared::At;
use keys::{KeyModule, SoftKeys};
use posp_gateway::access::{CloseReason, Held, Limits, Mailbox, Session};
use posp_gateway::switch::{Question, Switch};
use posp_gateway::writer::{Job, Writer};
use protocol::ids::TerminalId;
use protocol::time::{Mono, Now, Wall};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Requests of one connection that the gateway takes before it stops reading: few, so that the limit is reached now and then.
const IN_FLIGHT: usize = 4;
/// Milliseconds that a commit takes.
pub const COMMIT_MS: u64 = 4;

/// Names a connection; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId {
    /// With which gateway.
    pub gateway: usize,
    /// Which.
    pub number: u32,
}

#[derive(Debug)]
struct Conn {
    terminal: usize,
    session: Session,
    mailbox: Arc<Mailbox>,
}

/// What the gateway did when it was called.
#[derive(Debug, Default)]
pub struct Did {
    /// Bytes for connections, in order.
    pub answers: Vec<(ConnId, usize, Vec<u8>)>,
    /// Connections that it closed, with their terminal.
    pub closed: Vec<(ConnId, usize, String)>,
    /// Jobs wait for the writer.
    pub write: bool,
    /// It died, for so many milliseconds.
    pub died: Option<u64>,
    /// It lost the database, for so many milliseconds.
    pub lost: Option<u64>,
    /// It has started a commit, by its number, and asks for it after so many milliseconds.
    pub started: Option<(u64, u64)>,
    /// What the first request of the batch was that it has decided, or asked after.
    pub kind: &'static str,
    /// Which gateway did it.
    pub gateway: usize,
}

/// The gateway.
pub struct Gateway {
    keys: Arc<SoftKeys>,
    switch: Switch,
    writer: Writer<Front>,
    jobs: Vec<Job>,
    conns: BTreeMap<ConnId, Conn>,
    terminals: Vec<TerminalId>,
    down: bool,
    started: Mono,
    wall_off_ms: i64,
    /// It cannot reach the database.
    away: bool,
    /// The commit on its way, by its number, and what its first request was.
    under_way: Option<(u64, &'static str)>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("connections", &self.conns.len()).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Its process, started for the first time.
    #[must_use]
    pub fn start_first(disk: Disk, keys: Arc<SoftKeys>, terminals: Vec<TerminalId>, now: Now) -> Self {
        let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
        let front = Front { engine: Engine::new(disk, Arc::clone(&shared)) };
        Self {
            keys,
            switch: Switch::new(shared),
            writer: Writer::new(front),
            jobs: Vec::new(),
            conns: BTreeMap::new(),
            terminals,
            down: false,
            started: now.mono,
            wall_off_ms: 0,
            away: false,
            under_way: None,
        }
    }

    /// The rules, for operators and the checker.
    pub fn engine(&mut self) -> &mut Engine<Disk> {
        &mut self.writer.backend().engine
    }

    /// Its wall clock jumps.
    pub const fn jump(&mut self, ms: i64) {
        self.wall_off_ms = self.wall_off_ms.saturating_add(ms);
    }

    /// It reaches the database again.
    pub fn reach(&mut self) {
        self.away = false;
        self.engine().store().reach_again();
    }

    /// Its next decision sees, in its first reads, nothing that was committed since this moment.
    pub fn read_before(&mut self, moment: At, reads: usize) {
        self.engine().store().read_before(moment, reads);
    }

    fn now(&self, world: Now) -> Now {
        Now {
            mono: Mono(world.mono.0.saturating_sub(self.started.0)),
            wall: Wall(world.wall.0.saturating_add(self.wall_off_ms)),
            ..world
        }
    }

    /// Whether it runs and reaches the database.
    #[must_use]
    pub const fn is_well(&self) -> bool {
        !self.down && !self.away
    }

    /// Whether it has lost the database.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        self.away
    }

    /// Whether it can be reached.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        !self.down
    }

    /// Whether this connection is open here.
    #[must_use]
    pub fn has(&self, id: ConnId) -> bool {
        self.conns.contains_key(&id)
    }

    /// The newest open connection of a terminal.
    #[must_use]
    pub fn newest_of(&self, terminal: usize) -> Option<ConnId> {
        self.conns.iter().rev().find(|(_, conn)| conn.terminal == terminal).map(|(id, _)| *id)
    }

    /// Accepts a connection. False if it is down.
    pub fn accept(&mut self, id: ConnId, terminal: usize, world: Now) -> bool {
        if self.down {
            return false;
        }
        let limits = Limits { in_flight: IN_FLIGHT, ..Limits::default() };
        let session = Session::new(limits, self.now(world).mono);
        self.conns.insert(id, Conn { terminal, session, mailbox: Arc::new(Mailbox::default()) });
        true
    }

    /// The other side is gone.
    pub fn hang_up(&mut self, id: ConnId) {
        self.conns.remove(&id);
    }

    /// Bytes arrived.
    pub fn receive(&mut self, id: ConnId, bytes: &[u8], world: Now) -> Did {
        let now = self.now(world);
        let mut did = Did { gateway: id.gateway, ..Did::default() };
        let Some(conn) = self.conns.get_mut(&id) else { return did };
        let mut out = Vec::new();
        let judged = conn.session.receive(bytes, &self.switch, &|| now, &mut out);
        self.settle(id, out, judged, &mut did);
        did
    }

    /// Takes what a session has to send and ask.
    fn settle(&mut self, id: ConnId, out: Vec<u8>, judged: Result<(), CloseReason>, did: &mut Did) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let asked = conn.session.asked().drain(..);
        self.jobs.extend(asked.map(|ask| Job::Terminal(Arc::clone(&conn.mailbox), ask)));
        did.write |= !self.jobs.is_empty();
        let terminal = conn.terminal;
        if !out.is_empty() {
            did.answers.push((id, terminal, out));
        }
        let over = self.conns.get(&id).and_then(|conn| conn.session.over(Held::default(), false));
        if let Some(reason) = judged.err().or(over) {
            self.conns.remove(&id);
            did.closed.push((id, terminal, reason.to_string()));
        }
    }

    /// The writer decides what is there; a commit that the store starts may still be on its way then, and the one before is not any more.
    pub fn write(&mut self, world: Now, coverage: &mut Coverage, again: impl FnOnce() -> Disk) -> Did {
        if self.down || self.jobs.is_empty() {
            return Did::default();
        }
        let mut jobs = std::mem::take(&mut self.jobs);
        let kind = jobs.first().map_or("nothing", kind);
        let now = self.now(world);
        self.turn(now, kind, coverage, again, |writer| writer.begin(&mut jobs, now))
    }

    /// The writer has nothing else to do, and asks what became of the commit on its way: this one, or any.
    pub fn finish(
        &mut self,
        number: Option<u64>,
        world: Now,
        coverage: &mut Coverage,
        again: impl FnOnce() -> Disk,
    ) -> Did {
        let Some((under_way, kind)) = self.under_way else { return Did::default() };
        if number.is_some_and(|number| number != under_way) {
            return Did::default();
        }
        let now = self.now(world);
        self.turn(now, kind, coverage, again, |writer| writer.finish(now))
    }

    /// One turn of the writer, and the answers leave. `again` opens the database for a process that starts.
    fn turn(
        &mut self,
        now: Now,
        kind: &'static str,
        coverage: &mut Coverage,
        again: impl FnOnce() -> Disk,
        work: impl FnOnce(&mut Writer<Front>),
    ) -> Did {
        let mut did = Did { kind, ..Did::default() };
        let conflicts = self.engine().store().synced.conflicts();
        work(&mut self.writer);
        let disk = self.engine().store();
        let overtaken = disk.synced.conflicts() > conflicts;
        did.lost = disk.lost.take();
        let on_its_way = disk.on_its_way();
        if overtaken {
            // Whoever was on its way comes before whoever was decided on it.
            coverage.fault("overtaken", self.under_way.map_or(kind, |(_, kind)| kind));
        }
        if let Some(it) = on_its_way.filter(|it| self.under_way.is_none_or(|(number, _)| number != it.number))
        {
            did.started = Some((it.number, it.ms));
        }
        self.under_way = on_its_way.map(|it| (it.number, kind));
        self.away |= did.lost.is_some();
        if let Some(ms) = self.engine().store().died.take() {
            self.die(again());
            did.died = Some(ms);
            return did;
        }
        let ids: Vec<ConnId> = self.conns.keys().copied().collect();
        for id in ids {
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            let (mut out, mut judged) = (Vec::new(), Ok(()));
            for done in conn.mailbox.collect() {
                judged = judged.and(conn.session.deliver(&done, &self.switch, &|| now, &mut out));
            }
            let resumed = conn.session.resume(&self.switch, &|| now, &mut out);
            judged = judged.and(resumed.map(|_| ()));
            self.settle(id, out, judged, &mut did);
        }
        did
    }

    /// How long this connection may still be silent; or it is closed for that.
    pub fn look(&mut self, id: ConnId, world: Now) -> Result<Option<u64>, usize> {
        let now = self.now(world).mono;
        let Some(conn) = self.conns.get_mut(&id) else { return Ok(None) };
        match conn.session.check_time(now, Held::default()) {
            Ok(next) => Ok(Some(next.ms_since(now) + 1)),
            Err(_) => {
                let terminal = conn.terminal;
                self.conns.remove(&id);
                Err(terminal)
            }
        }
    }

    /// Enrols a terminal again.
    pub fn renew(&self, terminal: &TerminalId) -> protocol::secret::Secret<16> {
        super::acquirer::enrolled(&self.keys, terminal, true)
    }

    /// The process is gone, and with it connections, sign-ins and working keys.
    fn die(&mut self, again: Disk) {
        self.down = true;
        self.under_way = None;
        self.conns.clear();
        self.jobs.clear();
        self.terminals.iter().for_each(|terminal| self.keys.sign_out(terminal));
        let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&self.keys);
        self.switch = Switch::new(Arc::clone(&shared));
        self.writer = Writer::new(Front { engine: Engine::new(again, shared) });
    }

    /// It starts again.
    pub const fn start(&mut self, world: Now) {
        self.down = false;
        self.started = world.mono;
    }

    /// An operator's request, on a good disk.
    pub fn admin(&mut self, request: AdminRequest, world: Now) -> Option<Answer> {
        let now = self.now(world);
        self.engine().execute(now, &[Request::Admin(request)]).ok()?.pop()
    }
}

/// What a job asks for.
fn kind(job: &Job) -> &'static str {
    let Job::Terminal(_, ask) = job else { return "operator" };
    match &ask.question {
        Question::SignIn(_) => "sign-in",
        Question::Host(request) => match &request.body {
            HostBody::Load { .. } => "load",
            HostBody::LoadConfirm { .. } => "confirmation",
            HostBody::Reversal { .. } => "reversal",
            HostBody::OfflineRecords { .. } => "upload",
            HostBody::Settle { .. } => "settlement",
            HostBody::Upload { .. } | HostBody::UploadEnd => "end of upload",
            HostBody::Purchase { .. } => "purchase",
            HostBody::Void { .. } => "void",
            HostBody::Refund { .. } => "refund",
            HostBody::PreAuthorise { .. } => "pre-authorisation",
            HostBody::PreAuthorisationVoid { .. } => "pre-authorisation void",
            HostBody::Complete { advice: false, .. } => "completion",
            HostBody::Complete { advice: true, .. } => "completion advice",
            HostBody::CompletionVoid { .. } => "completion void",
            HostBody::Balance { .. } => "other request",
        },
    }
}
