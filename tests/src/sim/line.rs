//! The line between terminals and gateway, and what else takes time: a queue of happenings, and for each terminal what its line does to
//! frames. Whole frames are lost, doubled, late, changed, cut in two or played again; connections break.
//!
//! TCP itself would not do all of that to a connection. Whoever sits on the line can, and the MACs are there for him.

use super::answers::Sent;
use super::counter;
use super::desk;
use super::gateway::{COMMIT_MS, ConnId, Did};
use super::plan::{Blow, Gateways, LineFault, Way};
use super::world::{World, gateway_name, the_gateway, till_name};
use flow::host::Input;
use protocol::iso8583::frame::split;
use protocol::time::Mono;
use std::collections::{BTreeMap, VecDeque};

/// A frame on its way takes so many milliseconds.
const TRAVEL_MS: u64 = 9;
/// A connection that is refused, or that nobody answers.
const REFUSED_MS: u64 = 900;
/// Frames that are remembered, to be played again.
const PAST_MAX: usize = 12;

/// Something that happens by itself.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// A connection is open, or not.
    Connected { terminal: usize, boot: u64, conn: ConnId },
    /// Bytes reach the gateway.
    Up { terminal: usize, conn: ConnId, bytes: Vec<u8> },
    /// Bytes reach a terminal.
    Down { terminal: usize, boot: u64, bytes: Vec<u8> },
    /// A terminal learns that its connection is gone.
    HungUp { terminal: usize, conn: ConnId },
    /// The gateway learns that a connection is gone.
    GatewayHungUp(ConnId),
    /// The gateway looks whether a connection is silent for too long.
    GatewayLooks(ConnId),
    /// A gateway's writer has what it waited for.
    Write { gateway: usize },
    /// A gateway's commit has been on its way for as long as it takes.
    Landed { gateway: usize, commit: u64 },
    /// A gateway starts again.
    GatewayStarts { gateway: usize },
    /// A gateway reaches the database again.
    GatewayReaches { gateway: usize },
    /// A terminal's session wants to know the time.
    Tick { terminal: usize, boot: u64 },
}

/// What is under way.
#[derive(Debug, Default)]
pub struct Line {
    queue: BTreeMap<(Mono, u64), Happening>,
    next: u64,
    conns: u32,
    /// Gateways whose writer will have what it waited for.
    writing: Vec<bool>,
    in_turn: bool,
    lines: Vec<OneLine>,
}

/// The line of one terminal.
#[derive(Debug, Default)]
struct OneLine {
    faults: Vec<LineFault>,
    frames: [usize; 2],
    silent_until: Mono,
    /// The gateway that its next connection goes to.
    next: usize,
    /// Until when nothing passes between it and each gateway.
    parted_until: Vec<Mono>,
    past: [VecDeque<Vec<u8>>; 2],
}

impl Line {
    /// For so many terminals, shared out among the gateways.
    #[must_use]
    pub fn new(terminals: usize, gateways: Gateways) -> Self {
        let Gateways { count, in_turn, .. } = gateways;
        let line = |terminal| OneLine {
            next: terminal % count,
            parted_until: vec![Mono(0); count],
            ..OneLine::default()
        };
        let lines = (0..terminals).map(line).collect();
        Self { lines, in_turn, writing: vec![false; count], ..Self::default() }
    }

    /// What goes wrong on a terminal's line from now on.
    pub fn plan(&mut self, terminal: usize, faults: &[LineFault]) {
        let line = &mut self.lines[terminal];
        line.faults = faults.to_vec();
        line.frames = [0; 2];
    }

    /// Nothing goes wrong on any line from now on.
    pub fn quiet(&mut self) {
        for line in &mut self.lines {
            line.faults.clear();
            line.silent_until = Mono(0);
            line.parted_until.fill(Mono(0));
        }
    }

    /// Whether nothing passes between a terminal and a gateway.
    fn is_silent(&self, terminal: usize, gateway: usize, now: Mono) -> bool {
        let line = &self.lines[terminal];
        line.silent_until > now || line.parted_until[gateway] > now
    }

    /// A terminal's next connection goes to the next gateway.
    fn go_over(&mut self, terminal: usize) {
        let count = self.writing.len();
        let line = &mut self.lines[terminal];
        line.next = (line.next + 1) % count;
    }
}

/// What a frame is, by its type; a place for faults to strike.
fn place(way: Way, frame: &[u8]) -> &'static str {
    // Length 2, TPDU 5, header 6, type 2.
    let kind = frame.get(13..15).map_or([0, 0], |mti| [mti[0], mti[1]]);
    match (way, kind) {
        (Way::Up, [0x08, 0x00]) => "sign-in",
        (Way::Up, [0x02, 0x00]) => "load",
        (Way::Up, [0x02, 0x20]) => "confirmation",
        (Way::Up, [0x04, _]) => "reversal",
        (Way::Up, [0x03, _]) => "upload",
        (Way::Up, [0x05, _]) => "settlement",
        (Way::Down, [0x08, 0x10]) => "answer to sign-in",
        (Way::Down, [0x02, 0x10]) => "answer to load",
        (Way::Down, [0x02, 0x30]) => "answer to confirmation",
        (Way::Down, [0x04, _]) => "answer to reversal",
        (Way::Down, [0x03, _]) => "answer to upload",
        (Way::Down, [0x05, _]) => "answer to settlement",
        _ => "other frame",
    }
}

const fn blow_name(blow: Blow) -> &'static str {
    match blow {
        Blow::Lost => "frame lost",
        Blow::Twice(_) => "frame doubled",
        Blow::Late(_) => "frame late",
        Blow::Garbled(_) => "frame garbled",
        Blow::Split(_) => "frame in pieces",
        Blow::Cut => "connection cut",
        Blow::CutAfter => "connection cut after",
        Blow::Silence(_) => "line silent",
        Blow::Replay(_) => "old frame again",
        Blow::Over => "terminal goes over",
        Blow::LateOver(_) => "frame late, terminal gone over",
        Blow::Parted(_) => "parted from one gateway",
    }
}

impl World {
    /// Lets time pass, and what is due happen.
    pub fn pass_ms(&mut self, ms: u64) {
        let until = self.clock().plus_ms(ms);
        while self.happen_before(until) {}
        self.set_clock(until);
    }

    /// Lets the next thing happen, if there is any until then.
    pub fn happen_before(&mut self, until: Mono) -> bool {
        let Some((&(at, number), _)) = self.line.queue.first_key_value() else { return false };
        if at > until {
            return false;
        }
        self.set_clock(at);
        if let Some(happening) = self.line.queue.remove(&(at, number)) {
            self.happen(happening);
        }
        true
    }

    /// Puts something into the queue.
    pub(crate) fn schedule(&mut self, after_ms: u64, happening: Happening) {
        let at = self.clock().plus_ms(after_ms);
        self.schedule_at(at, happening);
    }

    /// Puts something into the queue.
    pub(crate) fn schedule_at(&mut self, at: Mono, happening: Happening) {
        self.line.next += 1;
        self.line.queue.insert((at, self.line.next), happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connected { terminal, boot, conn } => self.connected(terminal, boot, conn),
            Happening::Up { terminal, conn, bytes } => {
                if let Some(conn) = self.connection_for(terminal, conn) {
                    let now = self.now();
                    let did = self.acquirer.receive(conn, &bytes, now);
                    self.did(did);
                }
            }
            Happening::Down { terminal, boot, bytes } => {
                if self.boot(terminal) == boot && self.conn(terminal).is_some() {
                    self.hear(terminal, Input::Received(&bytes));
                }
            }
            Happening::HungUp { terminal, conn } => {
                if *self.conn(terminal) == Some(conn) {
                    *self.conn(terminal) = None;
                    self.hear(terminal, Input::Disconnected);
                }
            }
            Happening::GatewayHungUp(conn) => self.acquirer.of(conn).hang_up(conn),
            Happening::GatewayLooks(conn) => {
                let now = self.now();
                match self.acquirer.of(conn).look(conn, now) {
                    Ok(Some(ms)) => self.schedule(ms, Happening::GatewayLooks(conn)),
                    Ok(None) => {}
                    Err(terminal) => {
                        self.coverage.reached("connection", "ended by the gateway after silence");
                        self.schedule(TRAVEL_MS, Happening::HungUp { terminal, conn });
                    }
                }
            }
            Happening::Write { gateway } => {
                if let Some(ms) = self.acquirer.slow(&mut self.coverage) {
                    return self.schedule(ms, Happening::Write { gateway });
                }
                self.line.writing[gateway] = false;
                let now = self.now();
                for did in self.acquirer.write(gateway, now, &mut self.coverage) {
                    self.did(did);
                }
            }
            Happening::Landed { gateway, commit } => {
                let now = self.now();
                let did = self.acquirer.finish(gateway, commit, now, &mut self.coverage);
                self.did(did);
            }
            Happening::GatewayStarts { gateway } => {
                self.tell_gateway("", gateway, "starts again.");
                let now = self.now();
                self.acquirer.gateway(gateway).start(now);
            }
            Happening::GatewayReaches { gateway } => {
                self.tell_gateway("", gateway, "reaches the database again.");
                self.acquirer.gateway(gateway).reach();
            }
            Happening::Tick { terminal, boot } if terminal < self.terminals.len() => {
                desk::tick(self, terminal, boot);
            }
            Happening::Tick { terminal, boot } => counter::tick(self, terminal, boot),
        }
    }

    /// The connection on which bytes reach a gateway. What comes late finds another one of the terminal, or, where there are several
    /// gateways, is brought by whoever sits on the line.
    fn connection_for(&mut self, terminal: usize, conn: ConnId) -> Option<ConnId> {
        let gateway = self.acquirer.of(conn);
        if gateway.has(conn) {
            return Some(conn);
        }
        let newest = gateway.newest_of(terminal);
        if newest.is_some() || self.acquirer.count() == 1 {
            return newest;
        }
        let conn = self.new_connection(conn.gateway);
        let now = self.now();
        if !self.acquirer.of(conn).accept(conn, terminal, now) {
            return None;
        }
        self.coverage.reached("connection", "of somebody on the line");
        self.schedule(1_000, Happening::GatewayLooks(conn));
        Some(conn)
    }

    const fn new_connection(&mut self, gateway: usize) -> ConnId {
        self.line.conns += 1;
        ConnId { gateway, number: self.line.conns }
    }

    /// A terminal opens a connection.
    pub fn connect(&mut self, terminal: usize) {
        let gateway = self.line.lines[terminal].next;
        if self.line.in_turn {
            self.line.go_over(terminal);
        }
        let (conn, boot) = (self.new_connection(gateway), self.boot(terminal));
        *self.conn(terminal) = Some(conn);
        let reachable = self.acquirer.is_up(gateway) && !self.line.is_silent(terminal, gateway, self.clock());
        let after_ms = if reachable { TRAVEL_MS } else { REFUSED_MS };
        self.schedule(after_ms, Happening::Connected { terminal, boot, conn });
    }

    fn connected(&mut self, terminal: usize, boot: u64, conn: ConnId) {
        if self.boot(terminal) != boot || *self.conn(terminal) != Some(conn) {
            return;
        }
        let now = self.now();
        let silent = self.line.is_silent(terminal, conn.gateway, self.clock());
        if silent || !self.acquirer.of(conn).accept(conn, terminal, now) {
            *self.conn(terminal) = None;
            self.coverage.reached("connection", "refused");
            if !self.line.in_turn {
                self.line.go_over(terminal);
            }
            return self.hear(terminal, Input::Disconnected);
        }
        self.schedule(1_000, Happening::GatewayLooks(conn));
        self.hear(terminal, Input::Connected);
    }

    /// The terminal closes its connection.
    pub fn hang_up(&mut self, terminal: usize) {
        if let Some(conn) = self.conn(terminal).take() {
            self.schedule(TRAVEL_MS, Happening::GatewayHungUp(conn));
        }
    }

    /// What the gateway did.
    fn did(&mut self, did: Did) {
        for (conn, terminal, bytes) in did.answers {
            let mut rest = bytes.as_slice();
            while let Ok(Some((_, after))) = split(rest) {
                let frame = rest[..rest.len() - after.len()].to_vec();
                rest = after;
                self.carry(Way::Down, terminal, conn, frame);
            }
        }
        for (conn, terminal, reason) in did.closed {
            self.coverage.reached("connection", "ended by the gateway");
            self.tell_gateway(
                "    ",
                conn.gateway,
                &format!("hangs up on {}: {reason}.", till_name(terminal)),
            );
            self.schedule(TRAVEL_MS, Happening::HungUp { terminal, conn });
        }
        let gateway = did.gateway;
        if did.write && !self.line.writing[gateway] {
            self.line.writing[gateway] = true;
            self.schedule(COMMIT_MS, Happening::Write { gateway });
        }
        if let Some((commit, ms)) = did.started {
            self.schedule(ms, Happening::Landed { gateway, commit });
        }
        if let Some(ms) = did.lost {
            self.tell_gateway("⚡ ", gateway, "loses the database.");
            self.schedule(ms, Happening::GatewayReaches { gateway });
        }
        if let Some(ms) = did.died {
            self.tell_gateway("⚡ ", gateway, "dies at a commit; every sign-in is forgotten.");
            for terminal in 0..self.ends() {
                let conn = *self.conn(terminal);
                if let Some(conn) = conn.filter(|conn| conn.gateway == gateway) {
                    self.schedule(TRAVEL_MS, Happening::HungUp { terminal, conn });
                }
            }
            self.schedule(ms, Happening::GatewayStarts { gateway });
        }
    }

    fn tell_gateway(&mut self, mark: &str, gateway: usize, what: &str) {
        let count = self.acquirer.count();
        self.tell(|| format!("{mark}{} {what}", the_gateway(gateway, count)));
    }

    /// A frame sets out.
    pub fn carry(&mut self, way: Way, terminal: usize, conn: ConnId, frame: Vec<u8>) {
        let (now, index) = (self.clock(), usize::from(way == Way::Down));
        let line = &mut self.lines(terminal);
        let number = line.frames[index];
        line.frames[index] += 1;
        let fault = line.faults.iter().find(|fault| fault.way == way && fault.frame == number);
        let blow = fault.map(|fault| fault.blow);
        let past = &mut line.past[index];
        let old = match blow {
            Some(Blow::Replay(back)) => past.iter().rev().nth(back).cloned(),
            _ => None,
        };
        past.push_back(frame.clone());
        if past.len() > PAST_MAX {
            past.pop_front();
        }
        let silent = line.silent_until > now || line.parted_until[conn.gateway] > now;
        self.tell_frame(way, (terminal, conn.gateway), &frame);
        if silent {
            return;
        }
        let Some(blow) = blow else { return self.deliver(way, terminal, conn, frame, TRAVEL_MS) };
        let at = self.place(way, terminal, &frame);
        let name = blow_name(blow);
        self.coverage.fault(name, at);
        self.tell(|| format!("    ⚡ {at}: {name}."));
        self.strike(blow, (way, terminal, conn), frame, old);
    }

    /// What a frame is, of whichever terminal.
    fn place(&self, way: Way, terminal: usize, frame: &[u8]) -> &'static str {
        let online = if terminal < self.terminals.len() { None } else { counter::place(way, frame) };
        online.unwrap_or_else(|| place(way, frame))
    }

    fn lines(&mut self, terminal: usize) -> &mut OneLine {
        &mut self.line.lines[terminal]
    }

    fn strike(
        &mut self,
        blow: Blow,
        (way, terminal, conn): (Way, usize, ConnId),
        mut frame: Vec<u8>,
        old: Option<Vec<u8>>,
    ) {
        match blow {
            Blow::Lost => {}
            Blow::Twice(ms) => {
                self.deliver(way, terminal, conn, frame.clone(), TRAVEL_MS);
                self.deliver(way, terminal, conn, frame, TRAVEL_MS + ms);
            }
            Blow::Late(ms) => self.deliver(way, terminal, conn, frame, TRAVEL_MS + ms),
            Blow::Garbled(at) => {
                let at = at % frame.len();
                frame[at] ^= 0x10;
                self.deliver(way, terminal, conn, frame, TRAVEL_MS);
            }
            Blow::Split(at) => {
                let rest = frame.split_off(at % frame.len());
                self.deliver(way, terminal, conn, frame, TRAVEL_MS);
                self.deliver(way, terminal, conn, rest, TRAVEL_MS + 1);
            }
            Blow::Cut => self.cut(terminal, conn, 0),
            Blow::CutAfter => {
                self.deliver(way, terminal, conn, frame, TRAVEL_MS);
                self.cut(terminal, conn, TRAVEL_MS + 1);
            }
            Blow::Silence(ms) => {
                let until = self.clock().plus_ms(ms);
                self.lines(terminal).silent_until = until;
            }
            Blow::Over => {
                self.deliver(way, terminal, conn, frame, TRAVEL_MS);
                self.line.go_over(terminal);
                self.cut(terminal, conn, TRAVEL_MS + 1);
            }
            Blow::LateOver(ms) => {
                self.deliver(way, terminal, conn, frame, TRAVEL_MS + ms);
                self.line.go_over(terminal);
                self.cut(terminal, conn, 0);
            }
            Blow::Parted(ms) => {
                let until = self.clock().plus_ms(ms);
                self.lines(terminal).parted_until[conn.gateway] = until;
                self.line.go_over(terminal);
            }
            Blow::Replay(_) => {
                self.deliver(way, terminal, conn, frame, TRAVEL_MS);
                if let Some(old) = old {
                    self.deliver(way, terminal, conn, old, TRAVEL_MS + 2);
                }
            }
        }
    }

    fn cut(&mut self, terminal: usize, conn: ConnId, after_ms: u64) {
        self.schedule(after_ms, Happening::GatewayHungUp(conn));
        self.schedule(after_ms, Happening::HungUp { terminal, conn });
    }

    fn deliver(&mut self, way: Way, terminal: usize, conn: ConnId, bytes: Vec<u8>, after_ms: u64) {
        let boot = self.boot(terminal);
        let happening = match way {
            Way::Up => Happening::Up { terminal, conn, bytes },
            Way::Down => Happening::Down { terminal, boot, bytes },
        };
        self.schedule(after_ms, happening);
    }

    fn tell_frame(&mut self, way: Way, (terminal, gateway): (usize, usize), frame: &[u8]) {
        let (count, what) = (self.acquirer.count(), self.place(way, terminal, frame));
        self.tell(|| {
            let till = till_name(terminal);
            let gateway = gateway_name(gateway, count);
            match (way, Sent::all_of(frame).first()) {
                (Way::Up, _) => format!("    {till} → {gateway}: {what}"),
                (Way::Down, Some(answer)) => format!("    {till} ← {gateway}: {what}, {}", answer.code),
                (Way::Down, None) => format!("    {till} ← {gateway}: {what}, without a MAC"),
            }
        });
    }
}
