//! What a counter does next, what it hears, and what it makes of that.

use super::table::{is_advice, name, row};
use super::{Asked, Counter, Sale, Standing};
use crate::sim::coverage::ONLINE;
use crate::sim::line::Happening;
use crate::sim::plan::{Deal, Online as Act, Way};
use crate::sim::violation::Violation;
use crate::sim::world::{World, till_name};
use flow::host::Input;
use protocol::aes_key::AesKey;
use protocol::host_mac::MacKey;
use protocol::ids::{BatchNo, Stan};
use protocol::iso8583::frame::split;
use protocol::iso8583::typed::{AuthorisationCode, Batch, KeyField, ResponseCode, RetrievalReference};
use protocol::iso8583::{AES, Frame, HeaderRule, Message, Mti};
use protocol::signin::sign_in_key;
use protocol::working_keys::AesWorkingKeys;

/// How long it waits for an answer, and before it tries again.
const REPLY_MS: u64 = 20_000;
const AGAIN_MS: u64 = 1_000;
/// How often something goes wrong before it leaves it for later.
const TRIES_MAX: u32 = 12;

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
