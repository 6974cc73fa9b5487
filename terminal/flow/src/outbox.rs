//! What waits for the host, folded from the journal: reversals first, then confirmations of loads, then records of offline
//! debits; and the totals of the open batch.
//!
//! The outbox holds no truth of its own. [`Outbox::apply`] takes the journal's entries in their order, at start all of
//! them and later each new one; [`Outbox::next`] says what is due; [`Outbox::answered`] turns the host's answer into the
//! entries to store, which then come back through `apply`. So a crash between any two of these steps sends something
//! again, under its identity, and never loses it.
//!
//! Nothing is dropped after a number of tries: only an answer takes something out (`posp.md` sections 5 and 6).

use crate::host::{Ask, HostReply};
use crate::record::{DebitIntent, JournalEntry, LoadIntent, LoadState, RecordId, Resolution};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use protocol::ids::{BatchNo, Stan};
use protocol::iso8583::f58::{CardCounter, MAX_RECORDS, RecordState, TransactionRecord};
use protocol::iso8583::typed::{ResponseCode, RetrievalReference, SettlementTotals, Sum, Totals};
use protocol::purse::{Moment, Tac};
use protocol::teeth::{Tooth, bites};

/// The batch a new terminal begins with, until its first sign-in tells another.
pub const FIRST_BATCH: BatchNo = BatchNo(1);

/// Most items of a kind (payments, loads) in one batch: field 48 counts them in three digits.
pub const BATCH_ITEMS_MAX: u16 = 999;
/// Largest trace number: 6 digits.
pub const TRACE_MAX: u32 = 999_999;
/// Trace numbers that are set aside by one write to the journal.
pub const TRACES_SET_ASIDE: u32 = 100;

#[derive(Clone, Debug)]
struct Debit {
    intent: DebitIntent,
    resolution: Option<Resolution>,
    /// The host answered for it as it is now.
    acknowledged: bool,
    /// It counts in the open batch.
    counted: bool,
}

#[derive(Clone, Debug)]
struct Load {
    intent: LoadIntent,
    state: Option<LoadState>,
    consent: Option<(RetrievalReference, Moment)>,
    reversal_sent: bool,
}

/// Something to send.
#[derive(Clone, Debug, PartialEq)]
pub enum Due {
    /// A load that the host may have booked and the card did not take.
    Reversal(RecordId, LoadIntent),
    /// What became of a load: its TAC, or that nobody knows.
    Confirmation(RecordId),
    /// Records of offline debits, at most [`MAX_RECORDS`].
    Records(Vec<RecordId>),
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Reversals.
    pub reversals: usize,
    /// Confirmations of loads.
    pub confirmations: usize,
    /// Records of offline debits.
    pub records: usize,
    /// Debits that wait for their card to come back; they are uploaded as uncertain only when asked for.
    pub open: usize,
}

impl Waiting {
    /// Whether everything that can be sent has been.
    #[must_use]
    pub const fn is_clear(&self) -> bool {
        self.reversals == 0 && self.confirmations == 0 && self.records == 0
    }
}

/// What became of an item that the host answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// To store.
    pub entries: Vec<JournalEntry>,
    /// The host's code needs a person: the item stays due.
    pub attention: Option<ResponseCode>,
}

/// The outbox.
#[derive(Clone, Debug)]
pub struct Outbox {
    batch: BatchNo,
    traces: Stan,
    debits: BTreeMap<RecordId, Debit>,
    loads: BTreeMap<RecordId, Load>,
    debit_sum: Sum,
    load_sum: Sum,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            batch: FIRST_BATCH,
            traces: Stan(0),
            debits: BTreeMap::new(),
            loads: BTreeMap::new(),
            debit_sum: Sum::default(),
            load_sum: Sum::default(),
        }
    }
}

impl Outbox {
    /// The open batch.
    #[must_use]
    pub const fn batch(&self) -> BatchNo {
        self.batch
    }

    /// The next trace numbers to set aside: those after the first of the pair, up to the second. Store the second as
    /// [`JournalEntry::Traces`] before any of them is used. They go on from batch to batch and begin again at 1 after
    /// [`TRACE_MAX`].
    #[must_use]
    pub const fn next_traces(&self) -> (Stan, Stan) {
        let used = if self.traces.0.saturating_add(TRACES_SET_ASIDE) > TRACE_MAX { 0 } else { self.traces.0 };
        (Stan(used), Stan(used.saturating_add(TRACES_SET_ASIDE)))
    }

    /// Takes the next entry of the journal.
    pub fn apply(&mut self, id: RecordId, entry: &JournalEntry) {
        match entry {
            JournalEntry::Intent(intent) => {
                let intent = intent.clone();
                self.debits
                    .insert(id, Debit { intent, resolution: None, acknowledged: false, counted: false });
            }
            JournalEntry::Resolved { intent, resolution } => {
                if let Some(debit) = self.debits.get_mut(intent) {
                    debit.resolution = Some(*resolution);
                    debit.acknowledged = false;
                }
            }
            JournalEntry::Uploaded { intent, code, batch } => self.uploaded(*intent, *code, *batch),
            JournalEntry::Load(intent) => {
                let load = Load { intent: *intent, state: None, consent: None, reversal_sent: false };
                self.loads.insert(id, load);
            }
            JournalEntry::LoadState { load, state } => self.load_state(*load, *state),
            JournalEntry::Batch(batch) => {
                if *batch != self.batch {
                    self.batch = *batch;
                    self.debit_sum = Sum::default();
                    self.load_sum = Sum::default();
                }
            }
            JournalEntry::Traces(trace) => self.traces = *trace,
        }
    }

    fn uploaded(&mut self, id: RecordId, code: ResponseCode, batch: BatchNo) {
        let Some(debit) = self.debits.get_mut(&id) else { return };
        debit.acknowledged = true;
        // 00 for anything but a void record says that the host booked it: also an uncertain one, if its TAC is right.
        let booked = code.is_approved() && state_of(debit.resolution.as_ref()) != RecordState::Void;
        if booked && batch == self.batch && !core::mem::replace(&mut debit.counted, true) {
            add(&mut self.debit_sum, debit.intent.amount.0);
        }
        if debit.resolution.is_some() {
            self.debits.remove(&id);
        }
    }

    fn load_state(&mut self, id: RecordId, state: LoadState) {
        let Some(load) = self.loads.get_mut(&id) else { return };
        let counts = load.intent.numbers.batch == self.batch;
        match state {
            LoadState::Answered { reference, moment } => {
                load.consent = Some((reference, moment));
                if counts {
                    add(&mut self.load_sum, load.intent.amount.0);
                }
            }
            LoadState::Reversed if counts && load.consent.is_some() => {
                subtract(&mut self.load_sum, load.intent.amount.0);
            }
            _ => {}
        }
        load.state = Some(state);
        if matches!(state, LoadState::Declined { .. } | LoadState::Reversed | LoadState::Confirmed { .. }) {
            self.loads.remove(&id);
        }
    }

    /// What to send now. `live` is the load that a person is just making: its flow decides about it. With `with_open`,
    /// debits that still wait for their card are uploaded too, as uncertain.
    #[must_use]
    pub fn next(&self, live: Option<RecordId>, with_open: bool) -> Option<Due> {
        self.next_besides(live.as_slice(), with_open)
    }

    /// As [`Outbox::next`], but not these: the host did not take them a moment ago, and what stands behind them must not wait.
    #[must_use]
    pub fn next_besides(&self, set_aside: &[RecordId], with_open: bool) -> Option<Due> {
        let mut others = self.loads.iter().filter(|(id, _)| !set_aside.contains(id));
        if let Some((id, load)) = others.clone().find(|(_, load)| load.reversal_due()) {
            return Some(Due::Reversal(*id, load.intent));
        }
        if let Some((id, _)) = others.find(|(_, load)| load.confirmation_due()) {
            return Some(Due::Confirmation(*id));
        }
        let due =
            self.debits.iter().filter(|(id, debit)| debit.upload_due(with_open) && !set_aside.contains(id));
        // What has no room in this batch waits for the next one.
        let most = MAX_RECORDS.min(room(self.debit_sum));
        let records: Vec<RecordId> = due.map(|(id, _)| *id).take(most).collect();
        (!records.is_empty()).then_some(Due::Records(records))
    }

    /// How much waits.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        Waiting {
            reversals: self.loads.values().filter(|load| load.reversal_due()).count(),
            confirmations: self.loads.values().filter(|load| load.confirmation_due()).count(),
            records: self.debits.values().filter(|debit| debit.upload_due(false)).count(),
            open: self.debits.values().filter(|debit| debit.resolution.is_none()).count(),
        }
    }

    /// Whether the open batch has no room for another payment: it has to be settled before more are sent.
    #[must_use]
    pub fn is_full_of_payments(&self) -> bool {
        room(self.debit_sum) == 0
    }

    /// Whether the open batch has no room for another load.
    #[must_use]
    pub fn is_full_of_loads(&self) -> bool {
        room(self.load_sum) == 0
    }

    /// Loads whose card never showed what became of their credit, asked for before `before`.
    pub fn loads_without_end(&self, before: Moment) -> impl Iterator<Item = RecordId> + '_ {
        let waits =
            move |load: &Load| load.state == Some(LoadState::CreditSent) && load.intent.moment < before;
        self.loads.iter().filter(move |(_, load)| waits(load)).map(|(id, _)| *id)
    }

    /// A load of this card whose credit was sent and not answered.
    #[must_use]
    pub fn open_load(&self, card: &crate::record::CardId) -> Option<(RecordId, LoadIntent)> {
        let open = |load: &Load| load.intent.card == *card && load.state == Some(LoadState::CreditSent);
        self.loads.iter().find(|(_, load)| open(load)).map(|(id, load)| (*id, load.intent))
    }

    /// The message for something due; `None` if it is no longer.
    pub fn ask(&mut self, due: &Due) -> Option<Ask> {
        match due {
            Due::Reversal(id, intent) => {
                let load = self.loads.get_mut(id)?;
                let repeat = core::mem::replace(&mut load.reversal_sent, true);
                Some(Ask::Reversal { intent: *intent, repeat })
            }
            Due::Confirmation(id) => {
                let load = self.loads.get(id)?;
                let (reference, moment) = load.consent?;
                let tac = match load.state {
                    Some(LoadState::Credited { tac }) => Some(tac),
                    _ => None,
                };
                Some(Ask::Confirm { intent: load.intent, reference, moment, tac })
            }
            Due::Records(ids) => {
                let records = ids.iter().filter_map(|id| self.debits.get(id)).map(Debit::record);
                Some(Ask::Records(records.collect()))
            }
        }
    }

    /// What the host's answer to something due means.
    #[must_use]
    pub fn answered(&self, due: &Due, reply: &HostReply) -> Verdict {
        match due {
            Due::Reversal(load, _) => match reply.code {
                ResponseCode::APPROVED | ResponseCode::NOT_FOUND => Verdict::of(*load, LoadState::Reversed),
                code => Verdict::still_due(code),
            },
            Due::Confirmation(load) => match reply.code {
                code if is_transient(code) => Verdict::default(),
                // Not about the load: its number was another message's.
                ResponseCode::DUPLICATE if reply.reference.is_none() => Verdict::still_due(reply.code),
                code => {
                    let attention = (!code.is_approved()).then_some(code);
                    Verdict { attention, ..Verdict::of(*load, LoadState::Confirmed { code }) }
                }
            },
            Due::Records(ids) => self.records_answered(ids, reply),
        }
    }

    fn records_answered(&self, ids: &[RecordId], reply: &HostReply) -> Verdict {
        if reply.code == ResponseCode::ISSUER_OUT && bites(Tooth::LoseAnswered91) {
            let (code, batch) = (reply.code, reply.batch);
            let entries = ids.iter().map(|id| JournalEntry::Uploaded { intent: *id, code, batch }).collect();
            return Verdict { entries, attention: None };
        }
        let Some(answers) = reply.records.as_ref().filter(|_| reply.code.is_approved()) else {
            return Verdict::still_due(reply.code);
        };
        let answer_for = |id: &RecordId| {
            let number = self.debits.get(id)?.intent.term_seq;
            let answer = answers.answers.iter().find(|answer| answer.term_seq == number)?;
            Some(JournalEntry::Uploaded { intent: *id, code: answer.code, batch: reply.batch })
        };
        Verdict { entries: ids.iter().filter_map(answer_for).collect(), attention: None }
    }

    /// Field 58 `TA` of a debit as it stands; `None` once the host has answered for it.
    #[must_use]
    pub fn record(&self, id: RecordId) -> Option<TransactionRecord> {
        self.debits.get(&id).map(Debit::record)
    }

    /// The totals of the open batch, for field 48.
    #[must_use]
    pub fn totals(&self) -> SettlementTotals {
        let domestic = Totals { debit: self.debit_sum, ..Totals::default() };
        let loads = Totals { debit: self.load_sum, ..Totals::default() };
        SettlementTotals { domestic, foreign: Totals::default(), loads: Some(loads) }
    }
}

impl Verdict {
    fn of(load: RecordId, state: LoadState) -> Self {
        Self { entries: [JournalEntry::LoadState { load, state }].into(), attention: None }
    }

    fn still_due(code: ResponseCode) -> Self {
        Self { entries: Vec::new(), attention: (!is_transient(code)).then_some(code) }
    }
}

/// Codes after which the same is simply sent again later.
fn is_transient(code: ResponseCode) -> bool {
    matches!(
        code,
        ResponseCode::ISSUER_OUT
            | ResponseCode::SYSTEM
            | ResponseCode::MAC
            | ResponseCode::SIGN_IN
            | ResponseCode::NO_ANSWER
    )
}

impl Load {
    /// A reversal is allowed only while CREDIT was certainly not carried out (`purse.md` section 6).
    const fn reversal_due(&self) -> bool {
        matches!(self.state, None | Some(LoadState::Answered { .. } | LoadState::Refused { .. }))
    }

    const fn confirmation_due(&self) -> bool {
        matches!(self.state, Some(LoadState::Credited { .. } | LoadState::Unknown))
    }
}

impl Debit {
    const fn upload_due(&self, with_open: bool) -> bool {
        !self.acknowledged && (with_open || self.resolution.is_some())
    }

    fn record(&self) -> TransactionRecord {
        record_of(&self.intent, self.resolution.as_ref())
    }
}

/// Field 58 `TA` of a debit as it stands.
#[must_use]
pub fn record_of(intent: &DebitIntent, resolution: Option<&Resolution>) -> TransactionRecord {
    let tac = match resolution {
        Some(Resolution::Done { tac } | Resolution::RecoveredUnverified { tac }) => Some(*tac),
        Some(Resolution::Uncertain { tac, .. }) => *tac,
        Some(Resolution::Void) | None => None,
    };
    TransactionRecord {
        state: state_of(resolution),
        issuer: intent.card.issuer,
        asn: intent.card.asn,
        algorithm: intent.algorithm,
        key_version: intent.key_version,
        counter: CardCounter::Offline(intent.counter),
        balance_after: intent.balance_after(),
        overdraft: intent.overdraft,
        amount: intent.amount,
        kind: intent.kind,
        terminal: intent.terminal,
        term_seq: intent.term_seq,
        moment: intent.moment,
        digest: intent.digest,
        tac: tac.unwrap_or(Tac::zero(intent.suite())),
    }
}

fn state_of(resolution: Option<&Resolution>) -> RecordState {
    match resolution {
        Some(Resolution::Void) => RecordState::Void,
        Some(Resolution::Done { .. }) => RecordState::Done,
        Some(Resolution::RecoveredUnverified { .. }) => RecordState::RecoveredUnverified,
        Some(Resolution::Uncertain { .. }) | None => RecordState::Uncertain,
    }
}

fn room(sum: Sum) -> usize {
    usize::from(BATCH_ITEMS_MAX.saturating_sub(sum.count))
}

fn add(sum: &mut Sum, minor: u32) {
    sum.minor = sum.minor.saturating_add(u64::from(minor));
    sum.count = sum.count.saturating_add(1);
}

fn subtract(sum: &mut Sum, minor: u32) {
    sum.minor = sum.minor.saturating_sub(u64::from(minor));
    sum.count = sum.count.saturating_sub(1);
}

#[cfg(test)]
mod tests;
