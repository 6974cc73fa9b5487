//! What a visit needs of the gateway: the way cleared for a load, and the load asked for while the card stays in the field.

use super::super::{ready_sam, visit};
use super::{Happened, Session};
use crate::sim::desk;
use crate::sim::plan::{CardFault, Presence, TerminalFault, Visit, Want};
use crate::sim::world::World;
use flow::load::{CardPin, Load};
use flow::machine::{LoadReply, Patience};
use flow::record::LoadIntent;
use protocol::iso8583::f58::LoadAnswer;
use protocol::iso8583::typed::{ResponseCode, RetrievalReference};
use protocol::purse::{PurseMac, Suite};

/// Longer than a sign-in, a reversal and a confirmation take, with all their repeats.
const GATEWAY_MS_MAX: u64 = 600_000;
const PIN: &str = "123456";

/// Signs in, gets out of the way what must not stay behind a new load, and takes its numbers, as a terminal does before it asks for the
/// card.
pub(in super::super) fn ready_load(world: &mut World, plan: &Visit) -> Option<Load<'static>> {
    let terminal = plan.terminal;
    let Want::Load(amount) = plan.want else { return None };
    let identity = ready_sam(world, terminal)?;
    wait_for_line(world, terminal);
    world.line.plan(terminal, &plan.line);
    world.acquirer.plan(&plan.gateway, &mut world.coverage);
    desk::before_load(world, terminal);
    wait_for_line(world, terminal);
    if world.terminals[terminal].dying || !world.terminals[terminal].desk.ended_well {
        return None;
    }
    let numbers = desk::numbers(world, terminal)?;
    let pin = CardPin::from_digits(PIN)?;
    let profile = world.terminals[terminal].profile;
    Load::new(profile, identity.terminal, amount, pin, numbers, Patience::default()).ok()
}

/// Lets time pass until the terminal's errand is over.
fn wait_for_line(world: &mut World, terminal: usize) {
    let until = world.clock().plus_ms(GATEWAY_MS_MAX);
    while desk::is_busy(world, terminal) && world.happen_before(until) {}
}

impl Session<'_> {
    pub(super) fn ask_host(&mut self, world: &mut World, intent: LoadIntent) -> Happened {
        if self.plan.faults.contains(&TerminalFault::ForgedConsent) {
            return self.forge(world, &intent);
        }
        desk::ask_load(world, self.terminal, intent);
        if self.present.as_ref().is_some_and(|present| present.fault == Some(CardFault::LeavesWhileAsking)) {
            world.coverage.fault("card leaves", "while the host is asked");
            self.card_leaves(world);
        }
        // Meanwhile, elsewhere.
        if let Some(Presence::Elsewhere(other)) = self.plan.field.get(self.next_in_field) {
            self.next_in_field += 1;
            world.coverage.reached("visit elsewhere", "while the host is asked");
            visit(world, other);
        }
        let until = world.clock().plus_ms(GATEWAY_MS_MAX);
        while world.terminals[self.terminal].desk.load_reply.is_none()
            && !world.terminals[self.terminal].dying
            && world.happen_before(until)
        {}
        match world.terminals[self.terminal].desk.load_reply.take() {
            Some(Ok(reply)) => {
                let (code, reference, consent) = (reply.code, reply.reference, reply.consent);
                world.coverage.reached("load answered", if code.is_approved() { "yes" } else { "no" });
                Happened::HostAnswer(Box::new(LoadReply { code, reference, consent }))
            }
            Some(Err(_)) | None => {
                world.coverage.reached("load answered", "not at all");
                Happened::HostLost
            }
        }
    }

    /// A crooked terminal consents by itself.
    fn forge(&mut self, world: &mut World, intent: &LoadIntent) -> Happened {
        world.coverage.fault("forged", "consent");
        world.tell(|| "    ⚡ the terminal makes up the issuer's consent.".into());
        self.forged = true;
        let mac2 = match intent.algorithm.suite() {
            Suite::Aes => PurseMac::from8([0x5C; 8]),
            Suite::Des => PurseMac::from4([0x5C; 4]),
        };
        let consent = Some(LoadAnswer { algorithm: intent.algorithm, moment: intent.moment, mac2 });
        let reference = RetrievalReference::from_bytes(*b"000000000001");
        Happened::HostAnswer(Box::new(LoadReply { code: ResponseCode::APPROVED, reference, consent }))
    }
}
