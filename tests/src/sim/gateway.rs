//! The acquirer's side in the simulated world: the gateway's own sessions, switch and writer over the real rules and the issuers' keys,
//! driven by frames in virtual time; under it a disk that loses what was not synced, and a process that dies with its sign-ins.
//!
//! Everything that it sends is written down as it left ([`super::answers`]): what people were promised is held against the books.

use super::answers::Sent;
use super::coverage::Coverage;
use super::plan::{GatewayFault, Trouble};
use super::rng::Rng;
use super::world::{Scheme, merchant_id, terminal_id};
use backend::Engine;
use backend::accounts::Hold;
use backend::accounts::chart::{FundingKind, FundingNumber};
use backend::api::*;
use backend::store::memory::MemoryStore;
use backend::store::{Batch, Heads, Key, Outcome, Record, Scan, Store, StoreFault, Visit};
use flow::record::CardId;
use keys::{KeyModule, SoftKeys};
use posp_gateway::access::{CloseReason, Held, Limits, Mailbox, Session};
use posp_gateway::switch::Switch;
use posp_gateway::writer::{Job, Writer};
use protocol::ids::{KeyVersion, SamTerminal, TerminalId};
use protocol::iso8583::typed::ResponseCode;
use protocol::keyblock::{Usage, unwrap_for};
use protocol::money::{Amount, CardAmount, Currency};
use protocol::purse::Moment;
use protocol::secret::Secret;
use protocol::time::{Mono, Now, Wall};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Requests of one connection that the gateway takes before it stops reading: few, so that the limit is reached now and then.
const IN_FLIGHT: usize = 4;
/// Milliseconds that a commit takes.
pub const COMMIT_MS: u64 = 4;

/// The backend's disk: what was synced stays, and a crash drops the rest.
#[derive(Debug)]
pub struct Disk {
    /// What is durable.
    pub synced: MemoryStore,
    /// What goes wrong, by commits from now on.
    faults: Vec<GatewayFault>,
    commits: usize,
    /// The process is dead, for so many milliseconds.
    died: Option<u64>,
    /// What struck since somebody looked.
    struck: Vec<&'static str>,
}

impl Disk {
    /// What goes wrong with the commit that comes.
    fn trouble(&mut self) -> Option<Trouble> {
        let commit = self.commits;
        let is_now = |fault: &&GatewayFault| fault.commit == commit && is_of_disk(fault.trouble);
        self.faults.iter().find(is_now).map(|fault| fault.trouble)
    }
}

const fn is_of_disk(trouble: Trouble) -> bool {
    matches!(trouble, Trouble::DiesBefore(_) | Trouble::DiesAfter(_) | Trouble::Full | Trouble::Fails)
}

impl Store for Disk {
    fn heads(&self) -> Heads {
        self.synced.heads()
    }
    fn get(&mut self, key: &Key) -> Result<Option<Record>, StoreFault> {
        if self.died.is_some() { Err(StoreFault::Closed) } else { self.synced.get(key) }
    }
    fn due_holds(&mut self, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault> {
        if self.died.is_some() { Err(StoreFault::Closed) } else { self.synced.due_holds(now, limit) }
    }
    fn scan(&mut self, scan: Scan, visit: Visit<'_>) -> Result<(), StoreFault> {
        self.synced.scan(scan, visit)
    }
    fn commit(&mut self, batch: &Batch) -> Result<Vec<Outcome>, StoreFault> {
        let trouble = self.trouble();
        self.commits += 1;
        let name = match trouble {
            None | Some(Trouble::IssuerOut | Trouble::ClockJump(_)) => return self.synced.commit(batch),
            Some(Trouble::Full) => {
                self.struck.push("disk full");
                return Err(StoreFault::Full);
            }
            // A sync that failed: nothing may be taken for durable. What is on the medium all the same, a restart would show.
            Some(Trouble::Fails) => {
                self.struck.push("store fails");
                return Err(StoreFault::Io("a sync failed".into()));
            }
            Some(Trouble::DiesBefore(ms)) => {
                self.died = Some(ms);
                "before durable"
            }
            Some(Trouble::DiesAfter(ms)) => {
                let _ = self.synced.commit(batch);
                self.died = Some(ms);
                "after durable"
            }
        };
        self.struck.push(name);
        Err(StoreFault::Closed)
    }
}

/// The rules, behind an issuer that may be out.
#[derive(Debug)]
pub struct Front {
    /// The rules.
    pub engine: Engine<Disk>,
}

impl Backend for Front {
    fn execute(&mut self, now: Now, batch: &[Request]) -> Result<Vec<Answer>, StoreFault> {
        let disk = self.engine.store();
        let commit = disk.commits;
        let is_now = |fault: &GatewayFault| fault.commit == commit && fault.trouble == Trouble::IssuerOut;
        if let Some(at) = disk.faults.iter().position(is_now) {
            disk.faults.remove(at);
            disk.struck.push("issuer out");
            let (date, time) = now.local().map_err(|_| StoreFault::Clock)?;
            let out = HostAnswer {
                code: ResponseCode::ISSUER_OUT,
                reference: None,
                authorisation: None,
                moment: Moment { date, time },
                amount: None,
                repeat: false,
                body: AnswerBody::None,
            };
            return Ok(batch.iter().map(|_| Answer::Host(out.clone())).collect());
        }
        self.engine.execute(now, batch)
    }
    fn query(&mut self, query: &Query) -> Result<Report, StoreFault> {
        self.engine.query(query)
    }
    fn copy_to(&mut self, file: &std::path::Path) -> Result<(), StoreFault> {
        self.engine.copy_to(file)
    }
}

/// Names a connection; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId(pub u32);

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
    /// All that left, in order.
    pub sent: Vec<Sent>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("connections", &self.conns.len()).finish_non_exhaustive()
    }
}

/// What the gateway's world is told at the beginning.
#[derive(Debug)]
pub struct Opening<'a> {
    /// The terminals' SAMs.
    pub sams: &'a [SamTerminal],
    /// The cards, and what is on the accounts that their loads draw on.
    pub cards: &'a [(CardId, u32)],
    /// Now.
    pub now: Now,
}

impl Gateway {
    /// Opens for business. Returns the terminals' master keys too, as their provisioning does.
    pub fn open(seed: u64, opening: &Opening<'_>) -> (Self, Vec<Secret<16>>) {
        let keys = Arc::new(issuer_keys(seed));
        let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
        let disk = Disk {
            synced: MemoryStore::new(),
            faults: Vec::new(),
            commits: 0,
            died: None,
            struck: Vec::new(),
        };
        let mut front = Front { engine: Engine::new(disk, Arc::clone(&shared)) };
        let requests: Vec<Request> = registrations(opening).into_iter().map(Request::Admin).collect();
        let answers = front.execute(opening.now, &requests).expect("a good disk");
        let done = |answer: &Answer| matches!(answer, Answer::Admin(AdminAnswer::Done | AdminAnswer::Exists));
        assert!(answers.iter().all(done), "{answers:?}");
        let terminals: Vec<TerminalId> = (0..opening.sams.len()).map(terminal_id).collect();
        let master_key = |terminal: &TerminalId| {
            let enrolled = keys.enrol_terminal(terminal, false).expect("a new terminal");
            let key = unwrap_for(&enrolled.code.protection_key(terminal), Usage::TMK, &enrolled.block);
            key.expect("our own block").to_secret().expect("AES-128")
        };
        let master_keys = terminals.iter().map(master_key).collect();
        let gateway = Self {
            keys,
            switch: Switch::new(shared),
            writer: Writer::new(front),
            jobs: Vec::new(),
            conns: BTreeMap::new(),
            terminals,
            down: false,
            started: opening.now.mono,
            wall_off_ms: 0,
            sent: Vec::new(),
        };
        (gateway, master_keys)
    }

    /// The rules, for operators and the checker.
    pub fn engine(&mut self) -> &mut Engine<Disk> {
        &mut self.writer.backend().engine
    }

    /// What goes wrong from now on; a jump of the clock at once.
    pub fn plan(&mut self, faults: &[GatewayFault], coverage: &mut Coverage) {
        for fault in faults {
            if let Trouble::ClockJump(ms) = fault.trouble {
                self.wall_off_ms = self.wall_off_ms.saturating_add(ms);
                coverage.fault("gateway", "clock jump");
            }
        }
        let disk = self.engine().store();
        disk.commits = 0;
        disk.faults = faults.to_vec();
    }

    fn now(&self, world: Now) -> Now {
        Now {
            mono: Mono(world.mono.0.saturating_sub(self.started.0)),
            wall: Wall(world.wall.0.saturating_add(self.wall_off_ms)),
            ..world
        }
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
        let mut did = Did::default();
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
            self.sent.extend(Sent::all_of(&out));
            did.answers.push((id, terminal, out));
        }
        let over = self.conns.get(&id).and_then(|conn| conn.session.over(Held::default(), false));
        if let Some(reason) = judged.err().or(over) {
            self.conns.remove(&id);
            did.closed.push((id, terminal, reason.to_string()));
        }
    }

    /// The writer does what is there, and the answers leave.
    pub fn write(&mut self, world: Now, coverage: &mut Coverage) -> Did {
        let now = self.now(world);
        let mut did = Did::default();
        if self.down {
            return did;
        }
        let mut jobs = std::mem::take(&mut self.jobs);
        self.writer.work(&mut jobs, now);
        let disk = self.engine().store();
        std::mem::take(&mut disk.struck).into_iter().for_each(|what| coverage.fault("gateway", what));
        if let Some(ms) = disk.died.take() {
            self.die();
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

    /// The process is gone, and with it connections, sign-ins and working keys.
    fn die(&mut self) {
        self.down = true;
        self.conns.clear();
        self.jobs.clear();
        self.terminals.iter().for_each(|terminal| self.keys.sign_out(terminal));
        let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&self.keys);
        self.switch = Switch::new(shared);
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

/// The issuers' keys, as the backend's key module holds them.
fn issuer_keys(seed: u64) -> SoftKeys {
    let rng = Mutex::new(Rng::new(seed ^ 0x6A7E));
    let entropy = move |out: &mut [u8]| {
        let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
        out.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&rng.next().to_le_bytes()[..chunk.len()]));
        Ok(())
    };
    let keys = SoftKeys::in_memory(Box::new(entropy)).expect("keys in memory");
    for issuer in Scheme::get().issuers() {
        for (usage, master) in &issuer.masters {
            let imported = keys.import_issuer_key(issuer.issuer, issuer.version, *usage, master.clone());
            imported.expect("a key is imported");
        }
    }
    keys
}

fn registrations(opening: &Opening<'_>) -> Vec<AdminRequest> {
    let from = Moment::from_bytes([0x00, 0x01, 0x01, 0x01, 0, 0, 0]);
    let currency = Currency::CNY;
    let mut all = Vec::new();
    for issuer in Scheme::get().issuers() {
        all.push(AdminRequest::AddIssuer {
            issuer: issuer.issuer,
            currency,
            upper_factors: issuer.upper_factors.clone(),
            load_limit: CardAmount(100_000),
        });
    }
    for (index, sam) in opening.sams.iter().enumerate() {
        let (terminal, merchant) = (terminal_id(index), merchant_id(index));
        all.push(AdminRequest::AddMerchant { merchant, name: format!("Shop {index}"), currency });
        all.push(AdminRequest::AddTerminal { terminal, merchant, acquirer: AcquirerId(1) });
        all.push(AdminRequest::AssignSam { sam: *sam, terminal, from });
    }
    for (number, (card, funds)) in (1u64..).zip(opening.cards) {
        let (kind, number) = (FundingKind::Bank, FundingNumber(number));
        let amount = Amount::new(u64::from(*funds), currency);
        all.push(AdminRequest::AddFunding { kind, number, currency });
        all.push(AdminRequest::Fund { kind, number, amount, reference: number.0 });
        let (issuer, asn, key_version) = (card.issuer, card.asn, KeyVersion(1));
        all.push(AdminRequest::AddCard { issuer, asn, key_version, funding: Some((kind, number)) });
    }
    all
}
