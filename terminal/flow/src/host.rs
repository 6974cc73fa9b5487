//! The terminal's side of the line to its gateway, without I/O: sign-in, MACs, many requests outstanding on one
//! connection, reconnection with jittered backoff (`posp.md` sections 1 to 4).
//!
//! A driver opens the connection when [`HostSession::poll`] says so, feeds what arrives to [`HostSession::handle`], and
//! calls [`HostSession::tick`] when [`HostSession::deadline`] has passed. Every request ends exactly once, by
//! [`Output::Answered`] or [`Output::Unanswered`]; a time-out counts as a try. Requests are matched to answers by terminal,
//! merchant, trace and message type, never by the trace alone.
//!
//! An answer without a right MAC proves nothing: `A0` and `22` make the session sign in and send the same message again;
//! any other answer without MAC ends the request as unanswered.

mod compose;
mod restored;

pub use compose::WireError;

use crate::record::{HostNumbers, LoadIntent};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use compose::{Answer, answer, mti, request};
use protocol::aes_key::AesKey;
use protocol::host_mac::MacKey;
use protocol::ids::{BatchNo, MerchantId, Stan, TerminalId};
use protocol::iso8583::f58::{BatchDifference, BatchItem, LoadAnswer, RecordAnswers, TransactionRecord};
use protocol::iso8583::frame::split;
use protocol::iso8583::typed::{ResponseCode, RetrievalReference, SettlementTotals};
use protocol::iso8583::{Header, Tpdu};
use protocol::money::Currency;
use protocol::purse::{Moment, Tac};
use protocol::secret::Secret;
use protocol::signin::sign_in_key;
use protocol::time::{CardTime, Mono, Now};
use protocol::working_keys::AesWorkingKeys;

/// Most requests outstanding on the connection.
pub const OUTSTANDING_MAX: usize = 8;
/// Most requests that wait to be sent.
pub const QUEUED_MAX: usize = 64;
/// Times one request is sent because the host did not take its MAC or its number.
const SENDS_MAX: u8 = 2;
/// First wait before a connection is tried again, milliseconds; it doubles up to [`BACKOFF_MS_MAX`], and half of it is
/// jitter, so that a gateway that comes back is not met by all terminals at once.
pub const BACKOFF_MS_MIN: u64 = 500;
/// Longest wait before a connection is tried again, milliseconds.
pub const BACKOFF_MS_MAX: u64 = 60_000;

/// Who the terminal is to its gateway, and how patient.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Field 41.
    pub terminal: TerminalId,
    /// Field 42.
    pub merchant: MerchantId,
    /// Field 49.
    pub currency: Currency,
    /// Addresses of requests.
    pub tpdu: Tpdu,
    /// Header of requests.
    pub header: Header,
    /// How long a request may take, from being asked to its answer, milliseconds.
    pub reply_ms: u64,
}

/// A request to the host.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// For working keys. The session asks by itself when it needs them; asked for by hand, it says whether the gateway can be
    /// reached and knows this terminal, and which batch is open.
    SignIn,
    /// For a load.
    Load(LoadIntent),
    /// To report what became of a load: its TAC, or that nobody knows.
    Confirm {
        /// The load.
        intent: LoadIntent,
        /// The host's reference of it.
        reference: RetrievalReference,
        /// The host's date and time, which the TAC covers.
        moment: Moment,
        /// The card's proof.
        tac: Option<Tac>,
    },
    /// To reverse a load.
    Reversal {
        /// The load.
        intent: LoadIntent,
        /// It was sent before (0401).
        repeat: bool,
    },
    /// To take records of offline debits.
    Records(Vec<TransactionRecord>),
    /// To settle the batch with these totals.
    Settle(SettlementTotals),
    /// To take what the terminal counted in the batch, item by item, after the totals differed; at most
    /// [`protocol::iso8583::f58::ITEMS_MAX`].
    Items(Vec<BatchItem>),
    /// To close a batch that differs, its items having been uploaded.
    UploadEnd,
}

impl Ask {
    /// The identity it has already: loads and reversals bring theirs.
    const fn own_numbers(&self) -> Option<HostNumbers> {
        match self {
            Self::Load(intent) | Self::Reversal { intent, .. } => Some(intent.numbers),
            _ => None,
        }
    }
}

/// On what terminal and host differ in a batch that was closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// How many there are.
    pub total: u16,
    /// The first of them, as far as one message had room.
    pub listed: Vec<BatchDifference>,
}

/// What the host answered, proved by its MAC.
#[derive(Clone, Debug, PartialEq)]
pub struct HostReply {
    /// Field 39.
    pub code: ResponseCode,
    /// Field 37.
    pub reference: Option<RetrievalReference>,
    /// Field 58 `RP`.
    pub consent: Option<LoadAnswer>,
    /// Field 58 `RS`.
    pub records: Option<RecordAnswers>,
    /// Field 48.
    pub totals: Option<SettlementTotals>,
    /// Field 58 `DF`.
    pub differences: Option<Differences>,
    /// Field 60.2.
    pub batch: BatchNo,
    /// Field 12.
    pub time: Option<CardTime>,
    /// Field 61 of a sign-in: the newest trace number that the host has seen of this terminal.
    pub newest: Option<Stan>,
}

/// Why a request has no answer. Whether the host got it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReply {
    /// No connection in time.
    #[error("the gateway could not be reached")]
    Unreachable,
    /// Sent, and no answer in time.
    #[error("the gateway did not answer in time")]
    Timeout,
    /// The connection broke while it was outstanding.
    #[error("the connection to the gateway broke")]
    Broken,
    /// The gateway refused the terminal, without proof of who it is.
    #[error("the gateway refused this terminal with code {0}")]
    Refused(ResponseCode),
    /// The message could not be written or its answer could not be read.
    #[error("{0}")]
    Wire(WireError),
    /// The trace numbers that were set aside are used up.
    #[error("no trace number is left")]
    NoTrace,
    /// Too many requests wait already.
    #[error("too many requests wait for the gateway")]
    Busy,
}

/// Names a request of this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What happened on the connection.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// It is open.
    Connected,
    /// It could not be opened, or it is closed.
    Disconnected,
    /// Bytes arrived.
    Received(&'a [u8]),
}

/// What the driver is to do.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "answers are the common case")]
pub enum Output {
    /// Open the connection, and report by [`Input::Connected`] or [`Input::Disconnected`].
    Connect,
    /// Write these bytes.
    Send(Vec<u8>),
    /// Close the connection; no report is needed.
    Close,
    /// Store that this batch is the open one, before anything else is asked.
    Batch(BatchNo),
    /// Store that trace numbers up to this one may have been used, before anything else is asked: the host has seen some that the journal
    /// does not know of.
    Traces(Stan),
    /// A request has its answer.
    Answered(Ticket, HostReply),
    /// A request has ended without an answer.
    Unanswered(Ticket, NoReply),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down { retry: Mono },
    Connecting,
    Up,
}

#[derive(Debug)]
struct Request {
    ticket: Ticket,
    ask: Ask,
    numbers: HostNumbers,
    deadline: Mono,
    sends: u8,
}

/// The session.
#[derive(Debug)]
pub struct HostSession {
    config: HostConfig,
    tmk: Secret<16>,
    keys: Option<MacKey>,
    batch: BatchNo,
    next_trace: u32,
    last_trace: u32,
    link: Link,
    failures: u32,
    /// Sign-ins since the last that succeeded whose numbers the host had seen.
    signed_in_anew: u32,
    jitter: u64,
    received: Vec<u8>,
    queued: VecDeque<Request>,
    outstanding: Vec<Request>,
    output: VecDeque<Output>,
    tickets: u64,
}

impl HostSession {
    /// A session that is not connected. `batch` and the trace numbers `used < n <= last` come from the journal; `seed`
    /// makes the jitter.
    #[must_use]
    pub fn new(
        config: HostConfig,
        tmk: Secret<16>,
        batch: BatchNo,
        used: Stan,
        last: Stan,
        seed: u64,
    ) -> Self {
        Self {
            config,
            tmk,
            keys: None,
            batch,
            next_trace: used.0.saturating_add(1),
            last_trace: last.0,
            link: Link::Down { retry: Mono(0) },
            failures: 0,
            signed_in_anew: 0,
            jitter: seed | 1,
            received: Vec::new(),
            queued: VecDeque::new(),
            outstanding: Vec::new(),
            output: VecDeque::new(),
            tickets: 0,
        }
    }

    /// Identity for a message that the caller stores before it is asked (a load).
    pub fn take_numbers(&mut self) -> Option<HostNumbers> {
        if self.next_trace > self.last_trace {
            return None;
        }
        let trace = Stan(self.next_trace);
        self.next_trace = self.next_trace.saturating_add(1);
        Some(HostNumbers { batch: self.batch, trace })
    }

    /// How many trace numbers are left of those set aside.
    #[must_use]
    pub const fn traces_left(&self) -> u32 {
        self.last_trace.saturating_add(1).saturating_sub(self.next_trace)
    }

    /// More trace numbers were set aside, durably.
    pub fn allow_traces(&mut self, last: Stan) {
        self.last_trace = self.last_trace.max(last.0);
    }

    /// The open batch.
    #[must_use]
    pub const fn batch(&self) -> BatchNo {
        self.batch
    }

    /// Whether the terminal is signed in on an open connection.
    #[must_use]
    pub fn is_signed_in(&self) -> bool {
        self.link == Link::Up && self.keys.is_some()
    }

    /// Asks the host. The answer comes by [`HostSession::poll`] under the ticket.
    pub fn ask(&mut self, ask: Ask, now: Now) -> Ticket {
        self.tickets = self.tickets.saturating_add(1);
        let ticket = Ticket(self.tickets);
        let deadline = now.mono.plus_ms(self.config.reply_ms);
        if self.queued.len() >= QUEUED_MAX {
            self.output.push_back(Output::Unanswered(ticket, NoReply::Busy));
            return ticket;
        }
        if ask == Ask::SignIn {
            // It waits in the queue, and the session's own sign-in answers it.
            self.keys = None;
        }
        match ask.own_numbers().or_else(|| self.take_numbers()) {
            Some(numbers) => self.queued.push_back(Request { ticket, ask, numbers, deadline, sends: 0 }),
            None => self.output.push_back(Output::Unanswered(ticket, NoReply::NoTrace)),
        }
        self.pump(now);
        ticket
    }

    /// What to do next, until there is nothing.
    pub fn poll(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When to call [`HostSession::tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        let requests = self.queued.iter().chain(&self.outstanding).map(|request| request.deadline);
        let retry = match self.link {
            Link::Down { retry } if !self.queued.is_empty() => Some(retry),
            _ => None,
        };
        requests.chain(retry).min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        let mut overdue = Vec::new();
        self.outstanding.retain(|request| {
            let late = request.deadline <= now.mono;
            if late {
                overdue.push((request.ticket, NoReply::Timeout, request.ask == Ask::SignIn));
            }
            !late
        });
        self.queued.retain(|request| {
            let late = request.deadline <= now.mono;
            if late {
                overdue.push((request.ticket, NoReply::Unreachable, false));
            }
            !late
        });
        let sign_in_lost = overdue.iter().any(|(_, _, sign_in)| *sign_in);
        let ended = overdue.into_iter().filter(|(_, _, sign_in)| !sign_in);
        self.output.extend(ended.map(|(ticket, why, _)| Output::Unanswered(ticket, why)));
        if sign_in_lost {
            self.close(now);
        }
        self.pump(now);
    }

    /// Something happened on the connection.
    pub fn handle(&mut self, input: Input<'_>, now: Now) {
        match input {
            Input::Connected => {
                self.link = Link::Up;
                self.received.clear();
            }
            Input::Disconnected => self.lost(now),
            Input::Received(bytes) => self.received(bytes, now),
        }
        self.pump(now);
    }

    fn close(&mut self, now: Now) {
        self.output.push_back(Output::Close);
        self.lost(now);
    }

    /// The connection is gone: what was outstanding may or may not have arrived.
    fn lost(&mut self, now: Now) {
        let broken = self.outstanding.drain(..).filter(|request| request.ask != Ask::SignIn);
        self.output.extend(broken.map(|request| Output::Unanswered(request.ticket, NoReply::Broken)));
        self.received.clear();
        let full = BACKOFF_MS_MIN.saturating_mul(1 << self.failures.min(7)).min(BACKOFF_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        let half = full / 2;
        let wait_ms = half.saturating_add(self.random().checked_rem(half.max(1)).unwrap_or(0));
        self.link = Link::Down { retry: now.mono.plus_ms(wait_ms) };
    }

    /// xorshift64: good enough to spread terminals in time, and the same history for the same seed.
    fn random(&mut self) -> u64 {
        let mut x = self.jitter;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.jitter = x;
        x
    }

    /// Sends what can be sent.
    fn pump(&mut self, now: Now) {
        if self.queued.is_empty() {
            return;
        }
        match self.link {
            Link::Down { retry } if retry <= now.mono => {
                self.link = Link::Connecting;
                self.output.push_back(Output::Connect);
            }
            Link::Up if self.keys.is_none() => self.sign_in(now),
            Link::Up => self.send_queued(),
            _ => {}
        }
    }

    /// Signs in, as soon as nothing is outstanding.
    fn sign_in(&mut self, now: Now) {
        if !self.outstanding.is_empty() {
            return;
        }
        let Some(numbers) = self.take_numbers() else {
            return self.fail_queued(NoReply::NoTrace);
        };
        let deadline = now.mono.plus_ms(self.config.reply_ms);
        let request = Request { ticket: Ticket(0), ask: Ask::SignIn, numbers, deadline, sends: 0 };
        let key = sign_in_key(&self.tmk);
        self.send(request, &key);
    }

    fn send_queued(&mut self) {
        let Some(key) = self.keys.clone() else { return };
        while self.outstanding.len() < OUTSTANDING_MAX {
            let Some(request) = self.queued.pop_front() else { return };
            self.send(request, &key);
        }
    }

    fn send(&mut self, mut waiting: Request, key: &MacKey) {
        match request(&self.config, key, &waiting.ask, waiting.numbers) {
            Ok(frame) => {
                waiting.sends = waiting.sends.saturating_add(1);
                self.output.push_back(Output::Send(frame));
                self.outstanding.push(waiting);
            }
            Err(error) => self.output.push_back(Output::Unanswered(waiting.ticket, NoReply::Wire(error))),
        }
    }

    fn fail_queued(&mut self, why: NoReply) {
        let failed = self.queued.drain(..).map(|request| Output::Unanswered(request.ticket, why));
        self.output.extend(failed);
    }

    fn received(&mut self, bytes: &[u8], now: Now) {
        self.received.extend_from_slice(bytes);
        loop {
            let received = core::mem::take(&mut self.received);
            match split(&received) {
                Ok(Some((body, rest))) => {
                    self.received = rest.into();
                    self.frame(body, now);
                }
                Ok(None) => {
                    self.received = received;
                    return;
                }
                // Where a frame begins is lost for good.
                Err(_) => return self.close(now),
            }
        }
    }

    fn frame(&mut self, body: &[u8], now: Now) {
        let sign_in = sign_in_key(&self.tmk);
        let keys: Vec<&MacKey> = self.keys.iter().chain([&sign_in]).collect();
        // Not ours, unreadable, or with a wrong MAC: as if it had not come. The request it may belong to runs into its
        // time-out and is reversed or sent again.
        if let Ok(answer) = answer(&self.config, &keys, body) {
            self.answered(answer, now);
        }
    }

    fn answered(&mut self, answer: Answer, now: Now) {
        let belongs = |request: &Request| {
            mti(&request.ask).exchange() == answer.exchange && request.numbers.trace == answer.trace
        };
        let Some(at) = self.outstanding.iter().position(belongs) else {
            // A late answer: whatever waited for it has moved on.
            return;
        };
        let request = self.outstanding.swap_remove(at);
        let code = answer.reply.code;
        if request.ask == Ask::SignIn {
            return self.signed_in(&answer, now);
        }
        if matches!(code, ResponseCode::MAC | ResponseCode::SIGN_IN) && request.sends < SENDS_MAX {
            self.keys = None;
            self.queued.push_front(request);
            return;
        }
        let decided = !answer.authentic || answer.reply.reference.is_some();
        if self.is_taken_number(&request, code, decided)
            && let Some(numbers) = self.take_numbers()
        {
            self.queued.push_front(Request { numbers, ..request });
            return;
        }
        self.output.push_back(if answer.authentic {
            Output::Answered(request.ticket, answer.reply)
        } else {
            Output::Unanswered(request.ticket, NoReply::Refused(code))
        });
    }

    fn signed_in(&mut self, answer: &Answer, now: Now) {
        let opened = answer
            .keys
            .as_deref()
            .map(|field| AesWorkingKeys::open(&AesKey::Aes128(self.tmk.clone()), field));
        match opened {
            Some(Ok(keys)) if answer.authentic && answer.reply.code.is_approved() => {
                self.keys = Some(MacKey::Aes(keys.mac.clone()));
                self.failures = 0;
                self.signed_in_anew = 0;
                self.adopt_batch(answer.reply.batch);
                answer.reply.newest.map(|newest| self.move_behind(newest));
                let asked = self.queued.iter().filter(|request| request.ask == Ask::SignIn);
                let answers = asked.map(|request| Output::Answered(request.ticket, answer.reply.clone()));
                self.output.extend(answers);
                self.queued.retain(|request| request.ask != Ask::SignIn);
            }
            // The host has seen a sign-in under this number: the next one is under another.
            _ if answer.authentic
                && answer.reply.code == ResponseCode::DUPLICATE
                && answer.reply.newest.is_some_and(|newest| self.sign_in_anew(newest)) => {}
            _ => {
                self.fail_queued(NoReply::Refused(answer.reply.code));
                self.close(now);
            }
        }
    }

    /// The host says which batch is open; requests that have no identity of their own yet move to it.
    fn adopt_batch(&mut self, batch: BatchNo) {
        if batch == self.batch {
            return;
        }
        self.batch = batch;
        self.output.push_back(Output::Batch(batch));
        for request in &mut self.queued {
            if request.ask.own_numbers().is_none() {
                request.numbers.batch = batch;
            }
        }
    }
}

#[cfg(test)]
mod tests;
