//! A visit: the driver of the real purchase and load flows in the simulated world. It does what `flow::machine` asks of a driver,
//! on virtual time, and lets the plan's faults strike where they are due.

mod session;

use super::desk;
use super::plan::{Task, TerminalFault, Visit, Want};
use super::slot::Exchange;
use super::violation::Violation;
use super::world::{World, money, till_name};
use flow::machine::Patience;
use flow::purchase::Purchase;
use flow::record::CardId;
use flow::sam::{OpenSam, SamIdentity};
use flow::{Event, Machine, Outcome, Step};
use protocol::time::Wall;
use session::{Session, ready_load};
use terminal::driver::REFUSED_MS;

/// Whether the terminal turns this card away now, since it gave a wrong proof a moment ago.
#[must_use]
pub fn refuses(world: &World, terminal: usize, card: &CardId) -> bool {
    let now = world.now_at(terminal).wall.0;
    let (since, until) = (Wall(now.saturating_sub(REFUSED_MS)), Wall(now.saturating_add(REFUSED_MS)));
    world.terminals[terminal].journal.gave_wrong_proof(card, (since, until))
}

/// Plays a visit, unless its terminal is in the middle of another.
pub fn visit(world: &mut World, plan: &Visit) {
    let terminal = plan.terminal;
    if world.terminals[terminal].busy {
        return;
    }
    world.pass_ms(plan.after_ms);
    world.terminals[terminal].busy = true;
    match plan.want {
        Want::Pay(amount) => {
            world.tell(|| format!("{} asks for {}.", till_name(terminal), money(amount)));
            if let Some(identity) = ready_sam(world, terminal)
                && let Ok(purchase) =
                    Purchase::new(world.terminals[terminal].profile, identity, amount, Patience::default())
            {
                Session::new(world, plan).run(world, Box::new(purchase));
            }
        }
        Want::Load(amount) => {
            world.tell(|| format!("{} is to load {}.", till_name(terminal), money(amount)));
            match ready_load(world, plan) {
                Some(load) => {
                    Session::new(world, plan).run(world, Box::new(load));
                    match (world.terminals[terminal].dying, is_crooked(plan)) {
                        (true, _) => {}
                        (false, true) => {
                            world.coverage.reached("load reversed", "instead of confirmed");
                            desk::begin(world, terminal, Task::ReverseLoaded);
                        }
                        (false, false) => desk::after_load(world, terminal),
                    }
                }
                None => {
                    world.coverage.reached("end", "load: no gateway");
                    world.tell(|| "  → the gateway cannot be reached, nothing loaded".into());
                }
            }
        }
    }
    world.terminals[terminal].busy = false;
    if world.terminals[terminal].dying {
        let clock = world.clock();
        world.terminals[terminal].crash(clock);
    }
}

fn is_crooked(plan: &Visit) -> bool {
    plan.faults.contains(&TerminalFault::ReversesLoaded)
}

/// Powers the SAM up and asks who it is, as a terminal does at its start and after it lost its SAM.
fn ready_sam(world: &mut World, terminal: usize) -> Option<SamIdentity> {
    if let Some(identity) = world.terminals[terminal].identity {
        return Some(identity);
    }
    world.terminals[terminal].sam.power_on();
    let mut machine = OpenSam::new();
    let mut step = machine.handle(Event::Start, world.now_at(terminal));
    loop {
        step = match step {
            Step::ToSam(command) => {
                let now = world.now_at(terminal);
                match world.terminals[terminal].sam.exchange(&command) {
                    Exchange::Answer(answer) => machine.handle(Event::SamAnswer(&answer), now),
                    Exchange::Silence { .. } => machine.handle(Event::SamLost, now),
                }
            }
            Step::Done(Outcome::SamReady(identity)) => {
                world.terminals[terminal].identity = Some(identity);
                return Some(identity);
            }
            other => {
                let what = format!("its SAM is there, and it says {other:?}");
                let number = world.terminals[terminal].number;
                world.violated(Violation::ToldWrong(number, what));
                return None;
            }
        };
    }
}
