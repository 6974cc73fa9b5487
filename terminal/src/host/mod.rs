//! The terminal's line to its gateway: it carries out what `flow::host` says, over TCP, with the journal and the clock.
//!
//! [`Line::ask`] waits for its answer in the thread that calls it: the journal stays in one hand, and what the gateway says
//! about the batch is durable before the next byte leaves. Trace numbers are set aside in the journal, a hundred at a time, before
//! the first of them is used, so a terminal that restarts never uses one again.

mod drain;
mod errand;
mod settle;
mod wire;

pub use drain::{Drained, Item, Kind, Scope, drain};
pub use settle::{Closing, Refusal, Settlement, settle};
pub use wire::{Dial, Wire, tcp};

use crate::driver::Clock;
use crate::identity::HostIdentity;
use crate::journal::{Batch, Journal, StoreFault};
use flow::host::{Ask, HostConfig, HostReply, HostSession, Input, NoReply, Output, Ticket};
use flow::record::{HostNumbers, JournalEntry};
use protocol::ids::Stan;
use protocol::iso8583::{Header, Tpdu};
use protocol::secret::Secret;
use protocol::time::{Mono, Now};
use std::io;
use std::time::Duration;

/// TPDU of requests: destination and source, 2 BCD bytes each. A gateway that routes by it is a later matter.
const TPDU: Tpdu = Tpdu { destination: [0, 3], source: [0, 0] };
/// How often a sign-in that was asked for by hand tries to connect before it gives up.
const CONNECTS_MAX: u32 = 3;
/// Fewer trace numbers than this at hand: more are set aside.
const TRACES_LOW: u32 = 20;
/// Longest single wait, so that a clock that stands still ends nothing.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Bytes that are read at once.
const READ_BYTES: usize = 4096;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The gateway did not give one.
    #[error(transparent)]
    NoReply(#[from] NoReply),
    /// The journal refused what has to be durable first.
    #[error("{0}")]
    Journal(#[from] StoreFault),
}

/// The gateway, as commands and the payment driver see it.
pub trait Host {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// There is none: whether the gateway got the request is not known.
    fn ask(&mut self, ask: Ask, journal: &mut Journal, clock: &dyn Clock) -> Result<HostReply, Lost>;

    /// Identity for a message that is stored before it is asked (a load). Sign in first: the batch may be another.
    ///
    /// # Errors
    /// The journal cannot set trace numbers aside.
    fn numbers(&mut self, journal: &mut Journal, clock: &dyn Clock) -> Result<HostNumbers, Lost>;
}

/// How patient the line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For an answer, from being asked.
    pub reply: Duration,
    /// For a connection.
    pub connect: Duration,
}

/// A line to the gateway; it connects when something is asked.
pub struct Line {
    identity: HostIdentity,
    patience: Patience,
    dial: Dial,
    wire: Option<Box<dyn Wire>>,
    session: HostSession,
    seed: u64,
    /// The journal refused something that has to be durable: nothing more is asked.
    broken: Option<StoreFault>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("gateway", &self.identity.gateway).finish_non_exhaustive()
    }
}

impl Line {
    /// A line that is not connected; its trace numbers are set aside now. `seed` spreads reconnections in time.
    ///
    /// # Errors
    /// The journal refuses.
    pub fn new(
        identity: HostIdentity,
        patience: Patience,
        dial: Dial,
        seed: u64,
        journal: &mut Journal,
        now: Now,
    ) -> Result<Self, StoreFault> {
        let (used, last) = set_aside(journal, now)?;
        let session = session(&identity, patience, journal, used, last, seed);
        Ok(Self { identity, patience, dial, wire: None, session, seed, broken: None })
    }

    /// Sets more trace numbers aside when few are left.
    fn refill(&mut self, journal: &mut Journal, now: Now) -> Result<(), Lost> {
        if let Some(fault) = &self.broken {
            return Err(fault.clone().into());
        }
        if self.session.traces_left() >= TRACES_LOW {
            return Ok(());
        }
        let (used, last) = set_aside(journal, now)?;
        if used == Stan(0) {
            // They begin again at 1: the session only counts up, so another one takes over.
            self.wire = None;
            self.session = session(&self.identity, self.patience, journal, used, last, self.seed);
        } else {
            self.session.allow_traces(last);
        }
        Ok(())
    }

    /// Does what the session wants until `ticket` has ended. `connects` limits the attempts to connect.
    fn wait_for(
        &mut self,
        ticket: Ticket,
        connects: Option<u32>,
        journal: &mut Journal,
        clock: &dyn Clock,
    ) -> Result<HostReply, Lost> {
        let mut failures = 0;
        loop {
            while let Some(output) = self.session.poll() {
                match output {
                    Output::Answered(answered, reply) if answered == ticket => return Ok(reply),
                    Output::Unanswered(ended, why) if ended == ticket => return Err(why.into()),
                    Output::Connect if !self.connect(clock) => failures += 1,
                    Output::Send(frame) => self.send(&frame, clock),
                    Output::Close => self.wire = None,
                    Output::Batch(batch) => self.keep(JournalEntry::Batch(batch), journal, clock)?,
                    Output::Traces(last) => {
                        tracing::warn!(
                            trace = last.0,
                            "the gateway has seen trace numbers that this journal does not know: it is an old copy, or a new one"
                        );
                        self.keep(JournalEntry::Traces(last), journal, clock)?;
                    }
                    // The end of a request that somebody gave up.
                    Output::Connect | Output::Answered(..) | Output::Unanswered(..) => {}
                }
            }
            if connects.is_some_and(|most| failures >= most) {
                return Err(NoReply::Unreachable.into());
            }
            self.wait(clock);
        }
    }

    /// Makes durable what the session relies on from now on; if it cannot be, nothing more is asked.
    fn keep(&mut self, entry: JournalEntry, journal: &mut Journal, clock: &dyn Clock) -> Result<(), Lost> {
        journal.commit(&Batch::of(entry, clock.now().wall)).map(|_| ()).map_err(|fault| {
            self.wire = None;
            self.broken = Some(fault.clone());
            fault.into()
        })
    }

    /// Whether a connection is open now.
    fn connect(&mut self, clock: &dyn Clock) -> bool {
        match (self.dial)(&self.identity.gateway, self.patience.connect) {
            Ok(wire) => self.wire = Some(wire),
            Err(error) => {
                tracing::warn!(gateway = self.identity.gateway, %error, "no connection");
                self.wire = None;
            }
        }
        let open = self.wire.is_some();
        let input = if open { Input::Connected } else { Input::Disconnected };
        self.session.handle(input, clock.now());
        open
    }

    fn send(&mut self, frame: &[u8], clock: &dyn Clock) {
        // Without a connection the session has said already what became of the request.
        let Some(wire) = &mut self.wire else { return };
        if let Err(error) = wire.send(frame) {
            self.hung_up(&error, clock);
        }
    }

    fn hung_up(&mut self, error: &io::Error, clock: &dyn Clock) {
        tracing::warn!(gateway = self.identity.gateway, %error, "the connection broke");
        self.wire = None;
        self.session.handle(Input::Disconnected, clock.now());
    }

    /// Waits for bytes or for the session's next deadline.
    fn wait(&mut self, clock: &dyn Clock) {
        let left = time_left(self.session.deadline(), clock.now().mono);
        if left.is_zero() {
            return self.session.tick(clock.now());
        }
        let mut bytes = [0; READ_BYTES];
        match &mut self.wire {
            None => std::thread::sleep(left),
            Some(wire) => match wire.receive(&mut bytes, left) {
                Ok(0) => self.hung_up(&io::ErrorKind::ConnectionReset.into(), clock),
                Ok(length) => {
                    let received = bytes.get(..length).unwrap_or_default();
                    self.session.handle(Input::Received(received), clock.now());
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(error) => self.hung_up(&error, clock),
            },
        }
        self.session.tick(clock.now());
    }
}

impl Host for Line {
    fn ask(&mut self, ask: Ask, journal: &mut Journal, clock: &dyn Clock) -> Result<HostReply, Lost> {
        self.refill(journal, clock.now())?;
        // Nothing hangs on a sign-in: a gateway that cannot be reached is told soon.
        let connects = (ask == Ask::SignIn).then_some(CONNECTS_MAX);
        let ticket = self.session.ask(ask, clock.now());
        self.wait_for(ticket, connects, journal, clock)
    }

    fn numbers(&mut self, journal: &mut Journal, clock: &dyn Clock) -> Result<HostNumbers, Lost> {
        self.refill(journal, clock.now())?;
        self.session.take_numbers().ok_or(Lost::NoReply(NoReply::NoTrace))
    }
}

/// Trace numbers set aside, durably: those after the first, up to the second.
fn set_aside(journal: &mut Journal, now: Now) -> Result<(Stan, Stan), StoreFault> {
    let (used, last) = journal.outbox().next_traces();
    journal.commit(&Batch::of(JournalEntry::Traces(last), now.wall))?;
    Ok((used, last))
}

fn session(
    identity: &HostIdentity,
    patience: Patience,
    journal: &Journal,
    used: Stan,
    last: Stan,
    seed: u64,
) -> HostSession {
    let config = HostConfig {
        terminal: identity.terminal,
        merchant: identity.merchant,
        currency: identity.currency,
        tpdu: TPDU,
        header: Header::CHIP,
        reply_ms: u64::try_from(patience.reply.as_millis()).unwrap_or(u64::MAX),
    };
    let tmk = Secret::new(*identity.tmk.expose());
    HostSession::new(config, tmk, journal.outbox().batch(), used, last, seed)
}

fn time_left(deadline: Option<Mono>, now: Mono) -> Duration {
    deadline.map_or(WAIT_MAX, |deadline| Duration::from_nanos(deadline.0.saturating_sub(now.0)).min(WAIT_MAX))
}
