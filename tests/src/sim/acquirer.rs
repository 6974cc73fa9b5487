//! The acquirer in the simulated world: one database, and the gateways that work on it, each a process with keys, sign-ins, connections,
//! numbers and a chain of its own. Which of them a terminal reaches is the line's business.
//!
//! Everything that they send is written down as it left ([`super::answers`]): what people were promised is held against the books,
//! whoever promised it.

use super::answers::Sent;
use super::check::online::account;
use super::counter::{FUNDS, PAYERS};
use super::coverage::{Coverage, ONLINE};
use super::disk::{Disk, Troubles};
use super::gateway::{ConnId, Did, Gateway};
use super::plan::{GatewayFault, Gateways, Trouble};
use super::rng::Rng;
use super::world::{Scheme, merchant_id, terminal_id};
use crate::acquirer::pan;
use backend::Engine;
use backend::accounts::chart::{FundingKind, FundingNumber};
use backend::api::*;
use backend::store::GatewayNo;
use backend::store::memory::shared::{Database, SharedStore};
use flow::record::CardId;
use keys::{KeyModule, SoftKeys};
use protocol::ids::{KeyVersion, SamTerminal, TerminalId};
use protocol::keyblock::{Usage, unwrap_for};
use protocol::money::{Amount, CardAmount, Currency};
use protocol::purse::Moment;
use protocol::secret::Secret;
use protocol::time::Now;
use std::sync::{Arc, Mutex, PoisonError};

/// What the acquirer is told at the beginning.
#[derive(Debug)]
pub struct Opening<'a> {
    /// Its gateways.
    pub gateways: Gateways,
    /// Terminals without a SAM, which take cards online.
    pub counters: usize,
    /// The terminals' SAMs.
    pub sams: &'a [SamTerminal],
    /// The cards, and what is on the accounts that their loads draw on.
    pub cards: &'a [(CardId, KeyVersion, u32)],
    /// Now.
    pub now: Now,
}

/// All gateways, and what lies under them.
#[derive(Debug)]
pub struct Acquirer {
    gateways: Vec<Gateway>,
    database: Database,
    troubles: Troubles,
    /// Commits are on their way while the next batch is decided.
    overlap: bool,
    /// All that left, in order.
    pub sent: Vec<Sent>,
}

/// The number of a gateway: one that is alone has its store for itself.
fn number(index: usize, count: usize) -> GatewayNo {
    let number = if count > 1 { index + 1 } else { 0 };
    u16::try_from(number).ok().and_then(GatewayNo::new).unwrap_or(GatewayNo::MAX)
}

/// What a gateway's process opens.
fn opened(database: &Database, number: GatewayNo, overlap: bool) -> SharedStore {
    let mut store = database.gateway(number);
    if overlap {
        store.overlap();
    }
    store
}

/// A turn of a gateway's writer.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// It does what is there.
    Write,
    /// It asks what became of the commit on its way: of this one, or of any.
    Finish(Option<u64>),
}

impl Acquirer {
    /// Opens for business. Returns the terminals' master keys too, as their provisioning does.
    pub fn open(seed: u64, opening: &Opening<'_>) -> (Self, Vec<Secret<16>>) {
        let (database, troubles) = (Database::new(), Troubles::default());
        let terminals: Vec<TerminalId> =
            (0..opening.sams.len() + opening.counters).map(terminal_id).collect();
        let (mut gateways, mut master_keys, mut payers) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..opening.gateways.count {
            let (keys, own) = process_keys(seed, index, &terminals);
            if index == 0 && opening.counters > 0 {
                payers = cardholders(&keys);
            }
            let number = number(index, opening.gateways.count);
            let disk = Disk::new(opened(&database, number, opening.gateways.overlap), troubles.clone());
            gateways.push(Gateway::start_first(disk, keys, terminals.clone(), opening.now));
            master_keys = own;
        }
        let overlap = opening.gateways.overlap;
        let mut acquirer = Self { gateways, database, troubles, overlap, sent: Vec::new() };
        let requests: Vec<Request> =
            registrations(opening).into_iter().chain(payers).map(Request::Admin).collect();
        let answers = acquirer.engine().execute(opening.now, &requests).expect("a good disk");
        let done = |answer: &Answer| matches!(answer, Answer::Admin(AdminAnswer::Done | AdminAnswer::Exists));
        assert!(answers.iter().all(done), "{answers:?}");
        (acquirer, master_keys)
    }

    /// How many gateways there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.gateways.len()
    }

    /// One of them.
    ///
    /// # Panics
    /// There are not so many.
    pub fn gateway(&mut self, index: usize) -> &mut Gateway {
        &mut self.gateways[index]
    }

    /// The one that has this connection.
    pub fn of(&mut self, conn: ConnId) -> &mut Gateway {
        self.gateway(conn.gateway)
    }

    /// Whether a gateway can be reached.
    #[must_use]
    pub fn is_up(&self, gateway: usize) -> bool {
        self.gateways.get(gateway).is_some_and(Gateway::is_up)
    }

    /// Whether all of them run and reach the database.
    #[must_use]
    pub fn all_well(&self) -> bool {
        self.gateways.iter().all(Gateway::is_well)
    }

    /// The rules of one gateway, for operators and the checker.
    pub fn engine(&mut self) -> &mut Engine<Disk> {
        self.gateway(0).engine()
    }

    /// The books as they lie on the disk.
    #[must_use]
    pub fn books(&self) -> SharedStore {
        self.database.gateway(GatewayNo::ALONE)
    }

    /// The gateways' numbers.
    #[must_use]
    pub fn numbers(&self) -> Vec<GatewayNo> {
        (0..self.count()).map(|index| number(index, self.count())).collect()
    }

    /// What goes wrong from now on, with whichever gateway's commits; a jump of a clock at once.
    pub fn plan(&mut self, faults: &[GatewayFault], coverage: &mut Coverage) {
        for fault in faults {
            if let Trouble::ClockJump(ms) = fault.trouble {
                let at = fault.commit % self.count();
                self.gateway(at).jump(ms);
                coverage.fault("gateway", "clock jump");
            }
        }
        self.troubles.plan(faults);
    }

    /// For how long a gateway's writer has to wait before it does what is there.
    pub fn slow(&mut self, coverage: &mut Coverage) -> Option<u64> {
        let slow = self.troubles.slow();
        self.struck("", coverage);
        slow
    }

    /// A gateway's writer does what is there, and the answers leave. If it is to be overtaken, the others do first what they have, on what
    /// it has read already.
    pub fn write(&mut self, gateway: usize, world: Now, coverage: &mut Coverage) -> Vec<Did> {
        let mut all = Vec::new();
        let overtaken = if self.count() > 1 { self.troubles.overtaken() } else { None };
        if let Some((commits, reads)) = overtaken {
            let moment = self.database.now().earlier(commits);
            let others = (0..self.count()).filter(|other| *other != gateway);
            for other in others.collect::<Vec<_>>() {
                all.push(self.turn(other, Turn::Write, world, coverage));
                all.push(self.turn(other, Turn::Finish(None), world, coverage));
            }
            self.gateway(gateway).read_before(moment, reads);
        }
        all.push(self.turn(gateway, Turn::Write, world, coverage));
        all
    }

    /// A gateway's writer had nothing else to do until its commit was there.
    pub fn finish(&mut self, gateway: usize, commit: u64, world: Now, coverage: &mut Coverage) -> Did {
        self.turn(gateway, Turn::Finish(Some(commit)), world, coverage)
    }

    fn turn(&mut self, gateway: usize, turn: Turn, world: Now, coverage: &mut Coverage) -> Did {
        let Self { gateways, troubles, database, overlap, .. } = self;
        let number = number(gateway, gateways.len());
        let again = || Disk::new(opened(database, number, *overlap), troubles.clone());
        let did = match turn {
            Turn::Write => gateways[gateway].write(world, coverage, again),
            Turn::Finish(commit) => gateways[gateway].finish(commit, world, coverage, again),
        };
        let did = Did { gateway, ..did };
        self.struck(did.kind, coverage);
        self.note(&did);
        if !did.answers.is_empty() {
            let others = || self.gateways.iter().enumerate().filter(|(other, _)| *other != gateway);
            if others().any(|(_, other)| !other.is_up()) {
                coverage.reached("gateways", "one answers while another is down");
            }
            if others().any(|(_, other)| other.is_away()) {
                coverage.reached("gateways", "one answers while another has lost the database");
            }
        }
        did
    }

    /// Bytes arrived.
    pub fn receive(&mut self, conn: ConnId, bytes: &[u8], world: Now) -> Did {
        let did = self.of(conn).receive(conn, bytes, world);
        self.note(&did);
        did
    }

    fn struck(&self, at: &'static str, coverage: &mut Coverage) {
        for what in self.troubles.struck() {
            coverage.fault("gateway", what);
            if ONLINE.contains(&at) {
                coverage.reached(what, at);
            }
        }
        self.troubles.landed().into_iter().for_each(|what| coverage.reached("commits on their way", what));
    }

    /// Writes down what left.
    fn note(&mut self, did: &Did) {
        for (conn, _, bytes) in &did.answers {
            let answers = Sent::all_of(bytes).into_iter();
            self.sent.extend(answers.map(|answer| Sent { gateway: conn.gateway, ..answer }));
        }
    }

    /// Enrols a terminal again, at the one gateway that there is; `None`: there are several, and their operator stops them for it.
    pub fn renew(&mut self, terminal: TerminalId) -> Option<Secret<16>> {
        (self.count() == 1).then(|| self.gateway(0).renew(&terminal))
    }

    /// An operator's request, on a good disk.
    pub fn admin(&mut self, request: AdminRequest, world: Now) -> Option<Answer> {
        self.gateway(0).admin(request, world)
    }
}

/// The keys of one gateway's process, with the terminals' master keys: every process has a copy of the key file, and makes working keys of its own.
fn process_keys(seed: u64, index: usize, terminals: &[TerminalId]) -> (Arc<SoftKeys>, Vec<Secret<16>>) {
    let rng = Arc::new(Mutex::new(Rng::new(seed ^ 0x6A7E)));
    let keys = Arc::new(issuer_keys(Arc::clone(&rng)));
    let master_keys = terminals.iter().map(|terminal| enrolled(&keys, terminal, false)).collect();
    if index > 0 {
        *rng.lock().unwrap_or_else(PoisonError::into_inner) =
            Rng::new(seed ^ 0x6A7E ^ ((index as u64) << 32));
    }
    (keys, master_keys)
}

/// Enrols a terminal, and opens what its provisioning would open.
pub(super) fn enrolled(keys: &SoftKeys, terminal: &TerminalId, renew: bool) -> Secret<16> {
    let enrolled = keys.enrol_terminal(terminal, renew).expect("a new terminal, or one that is renewed");
    let key = unwrap_for(&enrolled.code.protection_key(terminal), Usage::TMK, &enrolled.block);
    key.expect("our own block").to_secret().expect("AES-128")
}

/// The issuers' keys, as the backend's key module holds them.
fn issuer_keys(rng: Arc<Mutex<Rng>>) -> SoftKeys {
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

/// Who pays at counters.
fn cardholders(keys: &SoftKeys) -> Vec<AdminRequest> {
    let (kind, currency) = (FundingKind::Bank, Currency::CNY);
    let one = |payer: u32| {
        let token = PayerToken(keys.pan_token(pan(payer).as_bytes()).expect("16 digits"));
        let (number, amount) = (account(payer), Amount::new(FUNDS, currency));
        [
            AdminRequest::AddFunding { kind, number, currency },
            AdminRequest::Fund { kind, number, amount, reference: 1_000 + u64::from(payer) },
            AdminRequest::AddPayer { token, kind, number, currency },
        ]
    };
    (1..=PAYERS).flat_map(one).collect()
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
    for index in opening.sams.len()..opening.sams.len() + opening.counters {
        let (terminal, merchant) = (terminal_id(index), merchant_id(index));
        all.push(AdminRequest::AddMerchant { merchant, name: format!("Shop {index}"), currency });
        all.push(AdminRequest::AddTerminal { terminal, merchant, acquirer: AcquirerId(1) });
    }
    for (own, (card, version, funds)) in (1u64..).zip(opening.cards) {
        // Where there are several gateways, all cards draw on one account: two that load at once meet there.
        let number = if opening.gateways.count > 1 { 1 } else { own };
        let (kind, number) = (FundingKind::Bank, FundingNumber(number));
        let amount = Amount::new(u64::from(*funds), currency);
        all.push(AdminRequest::AddFunding { kind, number, currency });
        all.push(AdminRequest::Fund { kind, number, amount, reference: own });
        let (issuer, asn, key_version) = (card.issuer, card.asn, *version);
        all.push(AdminRequest::AddCard { issuer, asn, key_version, funding: Some((kind, number)) });
    }
    all
}
