//! A counter in the simulated world: a terminal of another maker that takes cards online. Tapline's own terminal does not (`flow` has the
//! purse alone), the gateway does; so this one is simulated whole, and speaks by `protocol` what the table of `posp.md` section 3 says.
//!
//! It does what section 6 there asks of a terminal. What it asks for is noted before it is asked; what was not answered, or with "nothing was
//! decided", is taken back before anything else, again and again until that is answered; an advice cannot be taken back and is repeated instead;
//! a batch is settled only when nothing is open. It notes durably, and dies between an answer and its note when the plan says so.

mod table;

pub use table::{name, place};

use super::coverage::ONLINE;
use super::gateway::ConnId;
use super::line::Happening;
use super::plan::{Deal, Online as Act, Way};
use super::violation::Violation;
use super::world::{World, merchant_id, terminal_id, till_name};
use crate::online::{self, Sender};
use flow::host::Input;
use protocol::aes_key::AesKey;
use protocol::host_mac::MacKey;
use protocol::ids::{BatchNo, Stan};
use protocol::iso8583::frame::split;
use protocol::iso8583::typed::{
    AuthorisationCode, Batch, KeyField, ResponseCode, RetrievalReference, Sum, TransactionKind,
};
use protocol::iso8583::{AES, Frame, HeaderRule, Message, Mti};
use protocol::secret::Secret;
use protocol::signin::sign_in_key;
use protocol::time::Mono;
use protocol::working_keys::AesWorkingKeys;
use std::collections::BTreeSet;
use table::{is_advice, is_completion, is_debit, row};

/// Cardholders, each with an account of his own, whichever counter he goes to.
pub const PAYERS: u32 = 2;
/// What is on each account at the beginning.
pub const FUNDS: u64 = 1_000_000;
/// How long it waits for an answer, and before it tries again.
const REPLY_MS: u64 = 20_000;
const AGAIN_MS: u64 = 1_000;
/// How often something goes wrong before it leaves it for later.
const TRIES_MAX: u32 = 12;
const TRACE_MAX: u32 = 999_999;

/// Something that it asked for.
#[derive(Clone, Copy, Debug)]
pub struct Sale {
    /// What.
    pub kind: TransactionKind,
    /// Whose money.
    pub payer: u32,
    /// Minor units.
    pub minor: u64,
    /// Its batch and trace number.
    pub name: (BatchNo, Stan),
    /// Which sale it is about.
    pub of: Option<usize>,
    /// What became of it.
    pub standing: Standing,
    named: (Option<RetrievalReference>, Option<AuthorisationCode>),
}

/// What became of something that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody knows yet.
    Asked,
    /// Approved.
    Approved,
    /// Declined under this code.
    Declined(ResponseCode),
    /// Taken back: nothing of it may be left.
    Reversed,
}

/// What waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    SignIn(Stan),
    Sale(usize),
    Reversal(usize),
    Settlement(BatchNo, Stan),
}

/// A counter: what it has noted, and what it has in memory.
#[derive(Debug, Default)]
pub struct Counter {
    /// Its master key.
    pub tmk: Option<Secret<16>>,
    /// All that it ever asked for.
    pub sales: Vec<Sale>,
    /// Batches that it settled.
    pub settled: BTreeSet<BatchNo>,
    /// Its connection, also while it is being opened.
    pub conn: Option<ConnId>,
    /// How often it was started.
    pub boot: u64,
    open: bool,
    inbox: Vec<u8>,
    mac: Option<MacKey>,
    batch: BatchNo,
    trace: u32,
    settling: Option<(BatchNo, Stan)>,
    deal: Option<Deal>,
    asked: Option<Asked>,
    tries: u32,
    due: Option<Mono>,
    dies: bool,
}

impl Counter {
    /// Not started yet.
    #[must_use]
    pub fn new(tmk: Secret<16>) -> Self {
        Self { tmk: Some(tmk), batch: BatchNo(1), ..Self::default() }
    }

    fn approved(&self) -> impl Iterator<Item = (usize, &Sale)> {
        self.sales.iter().enumerate().filter(|(_, sale)| sale.standing == Standing::Approved)
    }

    /// Those about another one that stand.
    fn about(&self, of: usize) -> impl Iterator<Item = (usize, &Sale)> {
        self.approved().filter(move |(_, sale)| sale.of == Some(of))
    }

    fn is_void(kind: TransactionKind) -> bool {
        let voids = [
            TransactionKind::PURCHASE_VOID,
            TransactionKind::PRE_AUTHORISATION_VOID,
            TransactionKind::COMPLETION_VOID,
        ];
        voids.contains(&kind)
    }

    /// Whether a sale was taken back by another message.
    fn is_voided(&self, index: usize) -> bool {
        self.about(index).any(|(_, sale)| Self::is_void(sale.kind))
    }

    fn is_completed(&self, index: usize) -> bool {
        self.about(index).any(|(at, sale)| is_completion(sale.kind) && !self.is_voided(at))
    }

    /// What was paid back of a sale.
    fn refunded(&self, index: usize) -> u64 {
        let refunds = self.about(index).filter(|(_, sale)| sale.kind == TransactionKind::REFUND);
        refunds.map(|(_, sale)| sale.minor).sum()
    }

    /// What a payer has lost to this counter, or all of them together.
    #[must_use]
    pub fn taken(&self, payer: Option<u32>) -> i128 {
        let of_payer = |sale: &Sale| payer.is_none_or(|payer| sale.payer == payer);
        let sums = self.approved().filter(|(_, sale)| of_payer(sale)).map(|(index, sale)| match sale.kind {
            kind if is_debit(kind) && !self.is_voided(index) => i128::from(sale.minor),
            TransactionKind::REFUND => -i128::from(sale.minor),
            _ => 0,
        });
        sums.sum()
    }

    /// What a batch comes to, by its own notes: debits and credits.
    fn totals(&self, batch: BatchNo) -> (Sum, Sum) {
        let (mut debit, mut credit) = (Sum::default(), Sum::default());
        for (_, sale) in self.approved().filter(|(_, sale)| sale.name.0 == batch) {
            let side = match sale.kind {
                kind if is_debit(kind) => &mut debit,
                TransactionKind::PURCHASE_VOID
                | TransactionKind::REFUND
                | TransactionKind::COMPLETION_VOID => &mut credit,
                _ => continue,
            };
            *side = Sum { minor: side.minor + sale.minor, count: side.count + 1 };
        }
        (debit, credit)
    }

    /// The newest sale that this can be done to.
    fn newest(&self, good: impl Fn(usize, &Sale) -> bool) -> Option<usize> {
        let found = self.approved().filter(|(index, sale)| good(*index, sale));
        found.map(|(index, _)| index).last()
    }

    /// What a deal comes to, if there is anything that it can be about.
    fn sale(&self, deal: Deal) -> Option<(TransactionKind, u32, u64, Option<usize>)> {
        let of = |kind, index: usize, minor: u64| {
            let about = self.sales.get(index)?;
            Some((kind, about.payer, minor.min(about.minor), Some(index)))
        };
        let held = |index: usize, sale: &Sale| {
            sale.kind == TransactionKind::PRE_AUTHORISATION
                && !self.is_voided(index)
                && !self.is_completed(index)
        };
        let open = |index: usize, sale: &Sale| !self.settled.contains(&sale.name.0) && !self.is_voided(index);
        match deal {
            Deal::Purchase { payer, minor } => Some((TransactionKind::PURCHASE, payer, minor, None)),
            Deal::Authorise { payer, minor } => {
                Some((TransactionKind::PRE_AUTHORISATION, payer, minor, None))
            }
            Deal::Void => {
                let paid =
                    |index: usize, sale: &Sale| sale.kind == TransactionKind::PURCHASE && open(index, sale);
                of(TransactionKind::PURCHASE_VOID, self.newest(paid)?, u64::MAX)
            }
            Deal::VoidCompletion => {
                let paid =
                    |index: usize, sale: &Sale| sale.kind == TransactionKind::COMPLETION && open(index, sale);
                of(TransactionKind::COMPLETION_VOID, self.newest(paid)?, u64::MAX)
            }
            Deal::Refund { minor } => {
                let left = |index: usize, sale: &Sale| {
                    let paid = is_debit(sale.kind) && !self.is_voided(index);
                    let closed = self.settled.contains(&sale.name.0);
                    if paid && closed { sale.minor.saturating_sub(self.refunded(index)) } else { 0 }
                };
                let index = self.newest(|index, sale| left(index, sale) > 0)?;
                of(TransactionKind::REFUND, index, minor.min(left(index, self.sales.get(index)?)))
            }
            Deal::Complete { minor, advice } => {
                let kind =
                    if advice { TransactionKind::COMPLETION_ADVICE } else { TransactionKind::COMPLETION };
                of(kind, self.newest(held)?, minor)
            }
            Deal::VoidAuthorisation => {
                of(TransactionKind::PRE_AUTHORISATION_VOID, self.newest(held)?, u64::MAX)
            }
            Deal::Settle => None,
        }
    }

    /// The first thing that nobody knows of yet.
    #[must_use]
    pub fn owes(&self) -> Option<usize> {
        self.sales.iter().position(|sale| sale.standing == Standing::Asked)
    }

    /// Whether it is at something.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.deal.is_some() || self.owes().is_some() || self.settling.is_some()
    }

    /// Whether money is held for it.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.sale(Deal::VoidAuthorisation).is_some()
    }

    fn next_trace(&mut self) -> Stan {
        self.trace = self.trace % TRACE_MAX + 1;
        Stan(self.trace)
    }

    /// The frame of what is asked.
    fn frame(&self, terminal: usize, asked: Asked) -> Option<Vec<u8>> {
        let sender = |batch| Sender { id: terminal_id(terminal), merchant: merchant_id(terminal), batch };
        Some(match asked {
            Asked::SignIn(trace) => online::sign_in(&sender(self.batch), trace, self.tmk.as_ref()?),
            Asked::Settlement(batch, trace) => {
                let (debit, credit) = self.totals(batch);
                online::settlement(&sender(batch), trace, (debit, credit), self.mac.as_ref())
            }
            Asked::Sale(index) | Asked::Reversal(index) => {
                let sale = self.sales.get(index)?;
                let mut message = row(sale.kind).of(sale.minor);
                if sale.of.is_none() || is_completion(sale.kind) {
                    message = message.by(sale.payer);
                }
                if let Some(about) = sale.of.and_then(|of| self.sales.get(of)) {
                    (message.reference, message.authorisation) = about.named;
                }
                if matches!(asked, Asked::Reversal(_)) {
                    message = row(sale.kind).of(sale.minor).reversed();
                }
                online::message(&sender(sale.name.0), sale.name.1, &message, self.mac.as_ref())
            }
        })
    }

    /// The process is gone, and with it what it had in memory.
    fn die(&mut self) {
        self.boot += 1;
        (self.open, self.mac, self.asked, self.due) = (false, None, None, None);
        self.inbox.clear();
    }
}

/// A counter by the number of its terminal.
fn at(world: &mut World, terminal: usize) -> Option<&mut Counter> {
    let index = terminal.checked_sub(world.terminals.len())?;
    world.counters.get_mut(index)
}

/// Begins a deal, unless the counter is at one.
pub fn act(world: &mut World, plan: &Act) {
    world.pass_ms(plan.after_ms);
    let terminal = world.terminals.len() + plan.counter;
    let Some(counter) = at(world, terminal) else { return };
    counter.tries = 0;
    if counter.is_busy() {
        return next(world, terminal);
    }
    (counter.deal, counter.dies) = (Some(plan.deal), plan.dies);
    world.line.plan(terminal, &plan.line);
    world.acquirer.plan(&plan.gateway, &mut world.coverage);
    next(world, terminal);
}

/// Begins a deal without faults, or goes on with what is open.
pub fn begin(world: &mut World, terminal: usize, deal: Option<Deal>) {
    if let Some(counter) = at(world, terminal) {
        (counter.tries, counter.dies) = (0, false);
        counter.deal = counter.deal.or(deal);
        next(world, terminal);
    }
}

/// Does what comes next.
fn next(world: &mut World, terminal: usize) {
    let Some(counter) = at(world, terminal) else { return };
    if counter.asked.is_some() || !counter.is_busy() {
        return;
    }
    if counter.tries > TRIES_MAX {
        // Later. What is noted stays noted.
        counter.deal = None;
        return;
    }
    if counter.conn.is_none() {
        return world.connect(terminal);
    }
    if !counter.open {
        return;
    }
    let asked = if counter.mac.is_none() {
        Asked::SignIn(counter.next_trace())
    } else if let Some(index) = counter.owes() {
        let advice = counter.sales.get(index).is_some_and(|sale| is_advice(sale.kind));
        if advice { Asked::Sale(index) } else { Asked::Reversal(index) }
    } else if let Some((batch, trace)) = counter.settling {
        Asked::Settlement(batch, trace)
    } else {
        let Some(deal) = counter.deal.take() else { return };
        let (batch, trace) = (counter.batch, counter.next_trace());
        if deal == Deal::Settle {
            counter.settling = Some((batch, trace));
            Asked::Settlement(batch, trace)
        } else {
            let Some((kind, payer, minor, of)) = counter.sale(deal) else { return };
            let (name, standing, named) = ((batch, trace), Standing::Asked, (None, None));
            counter.sales.push(Sale { kind, payer, minor, name, of, standing, named });
            Asked::Sale(counter.sales.len() - 1)
        }
    };
    ask(world, terminal, asked);
}

fn ask(world: &mut World, terminal: usize, asked: Asked) {
    let due = world.clock().plus_ms(REPLY_MS);
    let Some(counter) = at(world, terminal) else { return };
    counter.asked = Some(asked);
    counter.due = Some(due);
    let (boot, conn, frame) = (counter.boot, counter.conn, counter.frame(terminal, asked));
    world.schedule_at(due, Happening::Tick { terminal, boot });
    if let (Some(conn), Some(frame)) = (conn, frame) {
        world.carry(Way::Up, terminal, conn, frame);
    }
}

/// What was asked is not answered, or in vain: again after a while.
fn again(world: &mut World, terminal: usize) {
    let due = world.clock().plus_ms(AGAIN_MS);
    let Some(counter) = at(world, terminal) else { return };
    counter.asked = None;
    counter.tries += 1;
    counter.due = Some(due);
    let boot = counter.boot;
    world.schedule_at(due, Happening::Tick { terminal, boot });
}

/// Time has passed.
pub fn tick(world: &mut World, terminal: usize, boot: u64) {
    let clock = world.clock();
    let Some(counter) = at(world, terminal) else { return };
    if counter.boot != boot || counter.due.is_none_or(|due| due > clock) {
        return;
    }
    counter.due = None;
    if counter.asked.is_some() {
        // Whoever does not answer twice may be another one tomorrow.
        if counter.tries % 2 == 1 {
            counter.open = false;
            world.hang_up(terminal);
        }
        again(world, terminal);
    } else {
        next(world, terminal);
    }
}

/// Something happened on the connection.
pub fn hear(world: &mut World, terminal: usize, input: Input<'_>) {
    let Some(counter) = at(world, terminal) else { return };
    match input {
        Input::Connected => {
            // Whoever answers here may be another gateway, with working keys of its own.
            (counter.open, counter.mac) = (true, None);
            counter.inbox.clear();
            next(world, terminal);
        }
        Input::Disconnected => {
            counter.open = false;
            again(world, terminal);
        }
        Input::Received(bytes) => {
            counter.inbox.extend_from_slice(bytes);
            loop {
                let Some(counter) = at(world, terminal) else { return };
                let Ok(Some((body, rest))) = split(&counter.inbox) else { return };
                let (body, rest) = (body.to_vec(), rest.to_vec());
                counter.inbox = rest;
                heard(world, terminal, &body);
            }
        }
    }
}

/// An answer as it was understood.
struct Answer {
    code: ResponseCode,
    proved: bool,
    named: (Option<RetrievalReference>, Option<AuthorisationCode>),
    keys: Option<(MacKey, BatchNo)>,
}

/// Reads a frame, if it answers what was asked.
fn read(counter: &Counter, body: &[u8]) -> Option<Answer> {
    let frame = Frame::parse(body, HeaderRule::Present).ok()?;
    let message = Message::parse(&AES, frame.message).ok()?;
    let (exchange, trace) = match counter.asked? {
        Asked::SignIn(trace) => (Mti::MANAGEMENT, trace),
        Asked::Settlement(_, trace) => (Mti::SETTLEMENT, trace),
        Asked::Sale(index) => {
            let sale = counter.sales.get(index)?;
            (row(sale.kind).mti, sale.name.1)
        }
        Asked::Reversal(index) => (Mti::REVERSAL, counter.sales.get(index)?.name.1),
    };
    let fits = message.mti().is_reply() && message.mti().exchange() == exchange.exchange();
    if !fits || message.need::<Stan>().ok()? != trace {
        return None;
    }
    let signs_in = matches!(counter.asked, Some(Asked::SignIn(_)));
    let tmk = counter.tmk.as_ref()?;
    let sign_in = sign_in_key(tmk);
    let key = if signs_in { Some(&sign_in) } else { counter.mac.as_ref() };
    let proved = match (message.mac(), key) {
        (Some((input, mac)), Some(key)) => key.verifies(input, &mac),
        _ => false,
    };
    let keys = || {
        let field: KeyField<'_> = message.need().ok()?;
        let keys = AesWorkingKeys::open(&AesKey::Aes128(tmk.clone()), field.0).ok()?;
        Some((MacKey::Aes(keys.mac), message.need::<Batch>().ok()?.batch))
    };
    Some(Answer {
        code: message.need().ok()?,
        proved,
        named: (message.get().ok().flatten(), message.get().ok().flatten()),
        keys: if signs_in && proved { keys() } else { None },
    })
}

/// Codes under which nothing was decided.
fn decides_nothing(code: ResponseCode) -> bool {
    let nothing = [
        ResponseCode::SIGN_IN,
        ResponseCode::MAC,
        ResponseCode::SYSTEM,
        ResponseCode::ISSUER_OUT,
        ResponseCode::UNKNOWN_TERMINAL,
    ];
    nothing.contains(&code)
}

fn heard(world: &mut World, terminal: usize, body: &[u8]) {
    let Some(counter) = at(world, terminal) else { return };
    let Some(answer) = read(counter, body) else { return };
    let Some(asked) = counter.asked else { return };
    if decides_nothing(answer.code) || !answer.proved {
        if answer.proved || !answer.code.is_approved() {
            if matches!(answer.code, ResponseCode::SIGN_IN | ResponseCode::MAC) {
                counter.mac = None;
            }
            again(world, terminal);
        }
        return;
    }
    if counter.dies && matches!(asked, Asked::Sale(_) | Asked::Reversal(_) | Asked::Settlement(..)) {
        return dies(world, terminal, asked);
    }
    (counter.asked, counter.due) = (None, None);
    let approved = answer.code.is_approved();
    match asked {
        Asked::SignIn(_) => match answer.keys {
            Some((mac, batch)) if approved => (counter.mac, counter.batch) = (Some(mac), batch),
            _ => return again(world, terminal),
        },
        Asked::Sale(index) => sold(world, terminal, index, &answer),
        Asked::Reversal(index) => reversed(world, terminal, index, answer.code),
        Asked::Settlement(batch, _) if approved => {
            (counter.settling, counter.mac) = (None, None);
            counter.settled.insert(batch);
            world.coverage.reached("online", "settled");
        }
        Asked::Settlement(batch, _) => {
            counter.settling = None;
            let (till, code) = (till_name(terminal), answer.code);
            let what = format!("{till} settles batch {} with its own totals, and is told {code}", batch.0);
            world.violated(Violation::Batch(what));
        }
    }
    next(world, terminal);
}

/// It dies before it has noted an answer.
fn dies(world: &mut World, terminal: usize, asked: Asked) {
    let Some(counter) = at(world, terminal) else { return };
    counter.dies = false;
    let what = match asked {
        Asked::Sale(index) => counter.sales.get(index).map_or("nothing", |sale| name(sale.kind)),
        Asked::Reversal(_) => "reversal of an online message",
        _ => "settlement",
    };
    counter.die();
    world.coverage.fault("counter dies before it notes the answer", what);
    world.tell(|| {
        format!("    ⚡ {} dies before it notes the answer, and starts again.", till_name(terminal))
    });
    world.hang_up(terminal);
    again(world, terminal);
}

fn sold(world: &mut World, terminal: usize, index: usize, answer: &Answer) {
    let Some(sale) = at(world, terminal).and_then(|counter| counter.sales.get_mut(index)) else { return };
    let approved = answer.code.is_approved();
    sale.standing = if approved { Standing::Approved } else { Standing::Declined(answer.code) };
    sale.named = answer.named;
    let (kind, minor) = (sale.kind, sale.minor);
    world.coverage.reached(if approved { "online approved" } else { "online declined" }, name(kind));
    world.tell(|| {
        let (till, code, what) = (till_name(terminal), answer.code, name(kind));
        format!("    {till} notes: {what} of {minor} is answered {code}")
    });
    if !approved && ONLINE.contains(&name(kind)) && answer.code != ResponseCode::ISSUER_OUT {
        // There is money on every account, and it only asks for what its own notes allow.
        let what =
            format!("{}: {} of {minor} is declined with {}", till_name(terminal), name(kind), answer.code);
        world.violated(Violation::Money(what));
    }
}

fn reversed(world: &mut World, terminal: usize, index: usize, code: ResponseCode) {
    let Some(sale) = at(world, terminal).and_then(|counter| counter.sales.get_mut(index)) else { return };
    sale.standing = Standing::Reversed;
    let kind = sale.kind;
    world.coverage.reached("online reversed", name(kind));
    world.tell(|| format!("    {} notes: {} is taken back, {code}", till_name(terminal), name(kind)));
    if !code.is_approved() {
        let what =
            format!("{}: the reversal of a {} is refused with {code}", till_name(terminal), name(kind));
        world.violated(Violation::Money(what));
    }
}
