//! A terminal that goes from gateway to gateway: purchases, reversals, loads, uploads and repeats at whichever answers, signed in anew at each. It
//! remembers what it was told, and gives up nothing until it has an answer to everything it asked.

use crate::acquirer::{TestTerminal, terminal_id};
use crate::purse_line::{
    Card, confirm_frame, consent, load_request_frame, record_answers, sam, upload_frame,
};
use protocol::ids::{SamTerminal, Stan};
use protocol::iso8583::f58::{LoadRequest, TransactionRecord};
use protocol::iso8583::typed::{ResponseCode, RetrievalReference};
use protocol::secret::Secret;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long it waits for an answer before it goes elsewhere.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Between two tries when nobody answers.
const PAUSE: Duration = Duration::from_millis(10);
/// Sign-ins under new numbers before it is sure that something is wrong.
const SIGN_INS: u32 = 8;
/// Rounds at one gateway.
const ROUNDS: u32 = 6;
/// Purchases at once.
const BURST: u32 = 6;
/// Cardholders of online purchases: numbers from 1 on.
pub const PAYERS: u32 = 20;
/// One load.
const LOAD: u32 = 5_000;

/// Where the gateways are now.
#[derive(Clone, Debug, Default)]
pub struct Addresses(Arc<Mutex<Vec<SocketAddr>>>);

impl Addresses {
    /// These, in the order of their numbers.
    #[must_use]
    pub fn of(addresses: Vec<SocketAddr>) -> Self {
        Self(Arc::new(Mutex::new(addresses)))
    }

    /// The gateway at this place is somewhere else.
    pub fn moved(&self, place: usize, to: SocketAddr) {
        if let Some(address) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(place) {
            *address = to;
        }
    }

    fn at(&self, turn: usize) -> SocketAddr {
        let addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *addresses.iter().cycle().nth(turn).expect("gateways")
    }
}

/// What waits for its answer.
#[derive(Debug)]
enum Open {
    Purchase(u64),
    Reversal(u64),
    Load(Box<LoadRequest>),
    Confirm(Box<TransactionRecord>, u32),
    Upload(Vec<TransactionRecord>),
}

/// The terminal, and what it was told.
#[derive(Debug)]
pub struct Wanderer {
    n: u32,
    tmk: Secret<16>,
    addresses: Addresses,
    card: Card,
    sam: SamTerminal,
    turn: usize,
    round: u32,
    last: u32,
    term_seq: u32,
    open: BTreeMap<u32, Open>,
    /// Approved purchases by trace: amount and reference.
    pub told: BTreeMap<u32, (u64, RetrievalReference)>,
    /// Purchases whose reversal was approved, by trace, whether they were answered or not.
    pub reversed: BTreeMap<u32, u64>,
    /// The sum of the loads whose confirmation was answered.
    pub loaded: u64,
    /// Offline records that were answered, by number: their amounts.
    pub records: BTreeMap<u32, u64>,
    /// Answers that were asked for again.
    pub repeats: u32,
    /// Connections that were lost or left without an answer.
    pub lost: u32,
    /// Answers 96: nothing was decided.
    pub refused: u32,
}

/// The payer of the purchase with this trace.
#[must_use]
pub const fn payer(trace: u32) -> u32 {
    1 + trace % PAYERS
}

/// The account that the `n`-th terminal's card loads from.
#[must_use]
pub const fn funding(n: u32) -> u32 {
    PAYERS + n
}

impl Wanderer {
    /// The `n`-th terminal with this card, which begins at the `n`-th gateway.
    ///
    /// # Panics
    /// There are not so many SAMs.
    #[must_use]
    pub fn new(n: u32, tmk: Secret<16>, card: Card, addresses: Addresses) -> Self {
        Self {
            n,
            tmk,
            addresses,
            card,
            sam: sam(u8::try_from(n).expect("few terminals")),
            turn: n as usize,
            round: 0,
            last: 0,
            term_seq: 0,
            open: BTreeMap::new(),
            told: BTreeMap::new(),
            reversed: BTreeMap::new(),
            loaded: 0,
            records: BTreeMap::new(),
            repeats: 0,
            lost: 0,
            refused: 0,
        }
    }

    /// Its field 41.
    #[must_use]
    pub fn id(&self) -> String {
        terminal_id(self.n).to_string()
    }

    /// What is on its card.
    #[must_use]
    pub const fn balance(&self) -> u32 {
        self.card.balance()
    }

    /// Works until it is told to stop, and then until it has all its answers.
    #[must_use]
    pub fn run(mut self, stop: &AtomicBool) -> Self {
        while !(stop.load(Ordering::Relaxed) && self.open.is_empty()) {
            let address = self.addresses.at(self.turn);
            self.turn = self.turn.wrapping_add(1);
            if self.session(address, stop).is_err() {
                self.lost += 1;
                self.give_up_some();
                std::thread::sleep(PAUSE);
            }
        }
        self
    }

    /// Every third purchase that was not answered is reversed instead of asked again; what was asked once more needs no answer.
    fn give_up_some(&mut self) {
        self.open.retain(|trace, open| !matches!(open, Open::Purchase(_)) || !self.told.contains_key(trace));
        for (trace, open) in &mut self.open {
            match open {
                Open::Purchase(minor) if trace % 3 == 0 => *open = Open::Reversal(*minor),
                _ => {}
            }
        }
    }

    /// Works over one connection for some rounds.
    fn session(&mut self, address: SocketAddr, stop: &AtomicBool) -> io::Result<()> {
        let mut line = TestTerminal::connect(address, self.n, self.tmk.clone())?;
        line.stream().set_read_timeout(Some(PATIENCE))?;
        if !self.sign_in(&mut line)? {
            self.refused += 1;
            return Err(io::ErrorKind::NotConnected.into());
        }
        for _ in 0..ROUNDS {
            if self.open.is_empty() && !stop.load(Ordering::Relaxed) {
                self.plan();
            }
            while !self.open.is_empty() {
                let refused = self.ask(&mut line)?;
                if refused {
                    std::thread::sleep(PAUSE);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether it got keys, and was not refused for now.
    fn sign_in(&mut self, line: &mut TestTerminal) -> io::Result<bool> {
        for _ in 0..SIGN_INS {
            let trace = self.next_trace();
            let frame = line.sign_in_frame(Stan(trace));
            line.send(&frame)?;
            let answer = line.receive()?;
            match answer.code() {
                ResponseCode::SYSTEM => return Ok(false),
                // One that it sent before, on a connection that it has given up, was read after this one by a gateway that was frozen.
                ResponseCode::DUPLICATE => {}
                _ => {
                    line.take_keys(&answer);
                    return Ok(true);
                }
            }
        }
        panic!("{}: {SIGN_INS} sign-ins under new numbers were taken for old ones", self.id());
    }

    fn next_trace(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    /// Thinks of something new.
    fn plan(&mut self) {
        self.round += 1;
        match self.round % 4 {
            0 if self.card.balance() < LOAD => {
                let trace = self.next_trace();
                self.open.insert(trace, Open::Load(Box::new(self.card.request(LOAD))));
            }
            1 => {
                let mut records = Vec::new();
                while self.card.balance() >= 900 && records.len() < 3 {
                    self.term_seq += 1;
                    records.push(self.card.pay(200 + self.term_seq % 600, self.sam, self.term_seq));
                }
                if !records.is_empty() {
                    let trace = self.next_trace();
                    self.open.insert(trace, Open::Upload(records));
                }
            }
            2 => {
                // The newest purchase is taken back; an older one is asked again, which was answered elsewhere.
                let mut newest =
                    self.told.iter().rev().filter(|(trace, _)| !self.reversed.contains_key(trace));
                let (reversal, repeat) = (newest.next(), newest.nth(BURST as usize));
                let both = [
                    reversal.map(|(trace, (minor, _))| (*trace, Open::Reversal(*minor))),
                    repeat.map(|(trace, (minor, _))| (*trace, Open::Purchase(*minor))),
                ];
                self.open.extend(both.into_iter().flatten());
            }
            _ => {
                for _ in 0..BURST {
                    let trace = self.next_trace();
                    self.open.insert(trace, Open::Purchase(1 + u64::from(trace % 97)));
                }
            }
        }
    }

    /// Sends everything that is open and takes the answers; whether anything was refused for now.
    fn ask(&mut self, line: &mut TestTerminal) -> io::Result<bool> {
        let mut awaited = BTreeSet::new();
        for (trace, open) in &self.open {
            let frame = match open {
                Open::Purchase(minor) => line.purchase_frame(Stan(*trace), payer(*trace), *minor),
                Open::Reversal(minor) => line.reversal_frame(Stan(*trace), *minor),
                Open::Load(request) => load_request_frame(line, *trace, request, LOAD.into()),
                Open::Confirm(receipt, of) => confirm_frame(line, *trace, receipt, *of),
                Open::Upload(records) => upload_frame(line, *trace, records),
            };
            line.send(&frame)?;
            awaited.insert(*trace);
        }
        let mut refused = false;
        while !awaited.is_empty() {
            let answer = line.receive()?;
            let (trace, code) = (answer.trace().0, answer.code());
            assert!(line.verifies(&answer), "{answer:?} under another key");
            assert!(awaited.remove(&trace), "an answer to nothing: {answer:?}");
            if code == ResponseCode::SYSTEM {
                (self.refused, refused) = (self.refused + 1, true);
                continue;
            }
            assert_eq!(code, ResponseCode::APPROVED, "{answer:?} to {:?}", self.open.get(&trace));
            match self.open.remove(&trace).expect("asked") {
                Open::Purchase(minor) => {
                    let reference = answer.message().need().expect("field 37");
                    if let Some(before) = self.told.insert(trace, (minor, reference)) {
                        assert_eq!(before, (minor, reference), "a repeat is answered as before");
                        self.repeats += 1;
                    }
                }
                Open::Reversal(minor) => drop(self.reversed.insert(trace, minor)),
                Open::Load(_) => {
                    let receipt = self.card.credit(LOAD, &consent(&answer));
                    let confirm = self.next_trace();
                    self.open.insert(confirm, Open::Confirm(Box::new(receipt), trace));
                }
                Open::Confirm(..) => self.loaded += u64::from(LOAD),
                Open::Upload(records) => {
                    let answers = record_answers(&answer);
                    assert_eq!(answers.len(), records.len());
                    for ((seq, code), record) in answers.into_iter().zip(&records) {
                        assert_eq!((seq, code.as_str()), (record.term_seq.0, "00"));
                        let before = self.records.insert(seq, record.amount.0.into());
                        assert!(before.is_none(), "record {seq} was answered before");
                    }
                }
            }
        }
        Ok(refused)
    }
}
