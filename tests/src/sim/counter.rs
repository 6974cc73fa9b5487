//! A counter in the simulated world: a terminal of another maker that takes cards online. Tapline's own terminal does not (`flow` has the
//! purse alone), the gateway does; so this one is simulated whole, and speaks by `protocol` what the table of `posp.md` section 3 says.
//!
//! It does what section 6 there asks of a terminal. What it asks for is noted before it is asked; what was not answered, or with "nothing was
//! decided", is taken back before anything else, again and again until that is answered; an advice cannot be taken back and is repeated instead;
//! a batch is settled only when nothing is open. It notes durably, and dies between an answer and its note when the plan says so.

mod table;
mod talk;

pub use table::{name, place};
pub use talk::{act, begin, hear, tick};

use super::gateway::ConnId;
use super::plan::Deal;
use super::world::{merchant_id, terminal_id};
use crate::online::{self, Sender};
use protocol::host_mac::MacKey;
use protocol::ids::{BatchNo, Stan};
use protocol::iso8583::typed::{AuthorisationCode, ResponseCode, RetrievalReference, Sum, TransactionKind};
use protocol::secret::Secret;
use protocol::time::Mono;
use std::collections::BTreeSet;
use table::{is_completion, is_debit, row};

/// Cardholders, each with an account of his own, whichever counter he goes to.
pub const PAYERS: u32 = 2;
/// What is on each account at the beginning.
pub const FUNDS: u64 = 1_000_000;
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
