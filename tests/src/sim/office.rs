//! The evening: every terminal uploads its records to the backend, over a line that loses, doubles, delays and repeats
//! messages, while terminals and backend crash at their durable writes and the backend's disk fills up.
//!
//! The outbox is the terminal's own (`flow::outbox`), folded from its journal; the backend is the real engine with the
//! issuers' keys, on a disk that drops what was not synced. Left out: the bytes on the line and their MACs.
//!
//! Afterwards the backend has booked, per card, exactly what the card lost, less what nobody can know yet; every
//! merchant is owed exactly what was booked at its terminal; a message answered twice was answered the same; and the
//! audit re-derives all of it.

use super::check::{CardBook, TerminalBook, Violation, claims};
use super::coverage::Coverage;
use super::rng::Rng;
use super::store::{CrashStore, Fate};
use super::world::Scheme;
use backend::Engine;
use backend::accounts::Hold;
use backend::api::*;
use backend::report::AuditException;
use backend::store::memory::MemoryStore;
use backend::store::{Batch, Heads, Key, Outcome, Record, Scan, Store, StoreFault, Visit};
use flow::host::{Ask, HostReply};
use flow::outbox::{Due, Outbox};
use keys::{KeyModule, SoftKeys};
use protocol::ids::{BatchNo, MerchantId, SamTerminal, Stan, TerminalId};
use protocol::iso8583::f58::{RecordAnswers, TransactionRecord};
use protocol::money::{CardAmount, Currency};
use protocol::purse::Moment;
use protocol::time::{Mono, Now, Wall};
use std::sync::Arc;

/// Messages that one evening may take; far more than there are records.
const MESSAGES_MAX: usize = 3_000;
/// Sunday, 2026-11-22, 02:00 in Shanghai.
const START_WALL_MS: i64 = 1_795_284_000_000;
/// How often uncertain records are looked at: a chain of them is decided from its newest end.
const RESOLVE_ROUNDS: usize = 12;

/// The backend's disk: what was synced stays, and a crash drops the rest.
struct Disk {
    synced: MemoryStore,
    fate: Fate,
    down: bool,
}

impl Store for Disk {
    fn heads(&self) -> Heads {
        self.synced.heads()
    }
    fn get(&mut self, key: &Key) -> Result<Option<Record>, StoreFault> {
        if self.down { Err(StoreFault::Closed) } else { self.synced.get(key) }
    }
    fn due_holds(&mut self, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault> {
        if self.down { Err(StoreFault::Closed) } else { self.synced.due_holds(now, limit) }
    }
    fn scan(&mut self, scan: Scan, visit: Visit<'_>) -> Result<(), StoreFault> {
        self.synced.scan(scan, visit)
    }
    fn commit(&mut self, batch: &Batch) -> Result<Vec<Outcome>, StoreFault> {
        match self.fate {
            Fate::Full => return Err(StoreFault::Full),
            Fate::DiesBefore => {
                self.down = true;
                return Err(StoreFault::Closed);
            }
            Fate::Good | Fate::Lies | Fate::DiesAfter => {}
        }
        let outcomes = self.synced.commit(batch);
        match self.fate {
            Fate::DiesAfter => {
                self.down = true;
                Err(StoreFault::Closed)
            }
            // A sync whose outcome is not known: the backend must take it as failed.
            Fate::Lies => Err(StoreFault::Io("a sync failed".into())),
            _ => outcomes,
        }
    }
}

/// What terminals and backend are to each other.
struct Office<'c> {
    engine: Engine<Disk>,
    rng: Rng,
    ms: i64,
    trace: u32,
    /// Messages that were answered, for the ones that come again.
    answered: Vec<(HostRequest, HostAnswer)>,
    coverage: &'c mut Coverage,
    trouble: Option<String>,
    /// Nothing goes wrong any more.
    quiet: bool,
}

/// Uploads everything, and holds the backend's books against cards and journals.
pub fn evening(
    seed: u64,
    cards: &[CardBook<'_>],
    terminals: &[TerminalBook<'_>],
    journals: Vec<CrashStore>,
    coverage: &mut Coverage,
) -> Vec<Violation> {
    let keys = issuer_keys();
    let disk = Disk { synced: MemoryStore::new(), fate: Fate::Good, down: false };
    let rng = Rng::new(seed ^ 0x0FF1_CE00);
    let mut office = Office {
        engine: Engine::new(disk, keys),
        rng,
        ms: START_WALL_MS,
        trace: 0,
        answered: Vec::new(),
        coverage,
        trouble: None,
        quiet: true,
    };
    office.open(cards, terminals);
    office.quiet = false;
    office.upload_all(terminals, journals);
    office.quiet = true;
    office.decide();
    let mut found = office.compare(cards, terminals);
    found.extend(office.trouble.take().map(Violation::Backend));
    found
}

/// The issuers' keys, as the backend's key module holds them.
fn issuer_keys() -> Arc<dyn KeyModule> {
    let keys = SoftKeys::in_memory(Box::new(|out| {
        out.fill(0x5A);
        Ok(())
    }));
    let keys = keys.expect("keys in memory");
    for issuer in Scheme::get().issuers() {
        for (usage, master) in &issuer.masters {
            let imported = keys.import_issuer_key(issuer.issuer, issuer.version, *usage, master.clone());
            imported.expect("a key is imported");
        }
    }
    Arc::new(keys)
}

fn terminal_id(index: usize) -> TerminalId {
    TerminalId::from_text(&format!("T{index}")).expect("a terminal id")
}

fn merchant_id(index: usize) -> MerchantId {
    MerchantId::from_text(&format!("SHOP{index}")).expect("a merchant id")
}

impl Office<'_> {
    fn open(&mut self, cards: &[CardBook<'_>], terminals: &[TerminalBook<'_>]) {
        let from = Moment::from_bytes([0x00, 0x01, 0x01, 0x01, 0, 0, 0]);
        for issuer in Scheme::get().issuers() {
            self.admin(AdminRequest::AddIssuer {
                issuer: issuer.issuer,
                currency: Currency::CNY,
                upper_factors: issuer.upper_factors.clone(),
                load_limit: CardAmount(100_000),
            });
        }
        for (index, book) in terminals.iter().enumerate() {
            let (terminal, merchant) = (terminal_id(index), merchant_id(index));
            let name = format!("Shop {index}");
            self.admin(AdminRequest::AddMerchant { merchant, name, currency: Currency::CNY });
            self.admin(AdminRequest::AddTerminal { terminal, merchant, acquirer: AcquirerId(1) });
            self.admin(AdminRequest::AssignSam { sam: book.number, terminal, from });
        }
        for card in cards {
            let version = protocol::ids::KeyVersion(1);
            let (issuer, asn) = (card.id.issuer, card.id.asn);
            self.admin(AdminRequest::AddCard { issuer, asn, key_version: version, funding: None });
        }
    }

    fn admin(&mut self, request: AdminRequest) {
        let answer = self.execute(Request::Admin(request.clone()));
        if !matches!(
            answer,
            Some(Answer::Admin(AdminAnswer::Done | AdminAnswer::Exists | AdminAnswer::Count(_)))
        ) {
            self.trouble.get_or_insert(format!("{request:?} is answered {answer:?}"));
        }
    }

    /// One batch of one to the backend; `None` if it failed, and then it is started again.
    fn execute(&mut self, request: Request) -> Option<Answer> {
        self.ms += 1_000;
        let now = Now { mono: Mono(0), wall: Wall(self.ms), utc_offset_min: 480 };
        let fate = if self.quiet { Fate::Good } else { self.draw_fate() };
        self.engine.store().fate = fate;
        let answers = self.engine.execute(now, &[request]);
        let disk = self.engine.store();
        disk.fate = Fate::Good;
        disk.down = false;
        let mut answers = answers.ok()?;
        answers.pop()
    }

    fn draw_fate(&mut self) -> Fate {
        let (fate, at) = match self.rng.below(40) {
            0 => (Fate::DiesBefore, "before durable"),
            1 => (Fate::DiesAfter, "after durable"),
            2 => (Fate::Full, "disk full"),
            3 => (Fate::Lies, "store lies"),
            _ => return Fate::Good,
        };
        self.coverage.fault("backend", at);
        fate
    }

    // --- uploads ------------------------------------------------------------------------------------------------

    fn upload_all(&mut self, terminals: &[TerminalBook<'_>], mut journals: Vec<CrashStore>) {
        let mut outboxes: Vec<Outbox> = journals.iter().map(fold).collect();
        for _ in 0..MESSAGES_MAX {
            let waiting: Vec<usize> =
                (0..outboxes.len()).filter(|index| outboxes[*index].next(None, false).is_some()).collect();
            if waiting.is_empty() {
                return;
            }
            let index = self.rng.pick(&waiting);
            let Some(due) = outboxes[index].next(None, false) else { continue };
            let Some(Ask::Records(records)) = outboxes[index].ask(&due) else { continue };
            // Records of one terminal may come in by another: stolen or simply carried over.
            let by = if self.rng.chance(5) { self.rng.index(terminals.len()) } else { index };
            if let Some(answer) = self.message(by, terminals[index].number, records) {
                self.take_answer(&mut outboxes[index], &mut journals[index], &due, &answer);
            }
            self.stray();
        }
        self.trouble.get_or_insert("uploads never end".into());
    }

    /// Sends a message until it is answered, as often as the line needs. `None`: the terminal gives up for now.
    fn message(
        &mut self,
        by: usize,
        sam: SamTerminal,
        records: Vec<TransactionRecord>,
    ) -> Option<HostAnswer> {
        self.trace += 1;
        let identity = Identity {
            acquirer: AcquirerId(1),
            terminal: terminal_id(by),
            merchant: merchant_id(by),
            batch: BatchNo(1),
            trace: Stan(self.trace),
        };
        let mut digest = [0; 16];
        digest[..4].copy_from_slice(&self.trace.to_be_bytes());
        digest[4..10].copy_from_slice(&sam.0);
        let body = HostBody::OfflineRecords { records };
        let request = HostRequest { identity, digest: ContentDigest(digest), body };
        for _ in 0..3 {
            if self.strikes(10, "lost") {
                continue;
            }
            let answer = self.deliver(&request);
            if self.strikes(8, "doubled") {
                let _ = self.deliver(&request);
            }
            if self.strikes(10, "answer lost") {
                continue;
            }
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    fn strikes(&mut self, percent: u64, kind: &'static str) -> bool {
        let strikes = !self.quiet && self.rng.chance(percent);
        if strikes {
            self.coverage.fault("line", kind);
        }
        strikes
    }

    fn deliver(&mut self, request: &HostRequest) -> Option<HostAnswer> {
        let Some(Answer::Host(answer)) = self.execute(Request::Host(request.clone())) else { return None };
        let before = self.answered.iter().find(|(known, _)| known.identity == request.identity);
        match before {
            Some((_, before)) if (before.code, &before.body) != (answer.code, &answer.body) => {
                let what = format!("{:?} was answered {before:?} and then {answer:?}", request.identity);
                self.trouble.get_or_insert(what);
            }
            Some(_) => {}
            None => self.answered.push((request.clone(), answer.clone())),
        }
        Some(answer)
    }

    /// An old message turns up again.
    fn stray(&mut self) {
        if !self.answered.is_empty() && self.strikes(6, "late") {
            let index = self.rng.index(self.answered.len());
            let request = self.answered[index].0.clone();
            let _ = self.deliver(&request);
        }
    }

    fn take_answer(&mut self, outbox: &mut Outbox, journal: &mut CrashStore, due: &Due, answer: &HostAnswer) {
        let AnswerBody::Records(outcomes) = &answer.body else {
            self.trouble.get_or_insert(format!("an upload is answered {answer:?}"));
            return;
        };
        let records = RecordAnswers { answers: outcomes.iter().map(|outcome| outcome.answer).collect() };
        let reply = HostReply {
            code: answer.code,
            reference: answer.reference,
            consent: None,
            records: Some(records),
            totals: None,
            differences: None,
            batch: BatchNo(1),
            time: None,
        };
        let verdict = outbox.answered(due, &reply);
        let fate = match self.rng.below(20) {
            0 => Fate::DiesBefore,
            1 => Fate::DiesAfter,
            _ => Fate::Good,
        };
        let batch = terminal::journal::Batch { wall: Wall(self.ms), entries: verdict.entries };
        match journal.commit(&batch, fate) {
            Ok(ids) => ids.iter().zip(&batch.entries).for_each(|(id, entry)| outbox.apply(*id, entry)),
            Err(_) => {
                self.coverage.fault("terminal", "crash at upload");
                journal.crash();
                *outbox = fold(journal);
            }
        }
    }

    // --- the books ----------------------------------------------------------------------------------------------

    /// After the time that policy gives them, uncertain records are decided from the card's chain.
    fn decide(&mut self) {
        for _ in 0..RESOLVE_ROUNDS {
            self.admin(AdminRequest::ResolveUncertain { wait_ms: 0 });
        }
    }

    fn query(&mut self, query: &Query) -> Report {
        self.engine.query(query).unwrap_or(Report::Nothing)
    }

    fn compare(&mut self, cards: &[CardBook<'_>], terminals: &[TerminalBook<'_>]) -> Vec<Violation> {
        let mut found = Vec::new();
        let claims = claims(cards, terminals);
        for card in cards {
            let lost = u64::from(card.issued.0.saturating_sub(card.balance.0));
            let unknown = claims.unknowable(card);
            let spent = match self.query(&Query::Card(card.id.issuer, card.id.asn)) {
                Report::Card(report) => report.spent,
                _ => 0,
            };
            if spent + unknown != lost {
                found.push(Violation::Booked { card: card.id, lost, booked: spent, unknown });
            }
        }
        self.coverage.reached("books", "compared");
        for index in 0..terminals.len() {
            let merchant = merchant_id(index);
            let statement = Query::Statement { merchant, from: Wall(0), to: Wall(i64::MAX) };
            let owed = match self.query(&statement) {
                Report::Statement(statement) => statement.payable,
                _ => 0,
            };
            let due = i128::from(claims.of_terminal(index));
            if owed != due {
                found.push(Violation::Backend(format!(
                    "{merchant:?} is owed {owed}, its terminal took {due}"
                )));
            }
        }
        found.extend(self.audit().map(Violation::Backend));
        found
    }

    fn audit(&mut self) -> Option<String> {
        let Report::Audit(report) = self.query(&Query::Audit) else { return Some("no audit".into()) };
        // Cards of the simulation are issued with money on them, which their chain cannot explain.
        let expected =
            |exception: &&AuditException| !matches!(exception, AuditException::Conservation { .. });
        report.exceptions.iter().find(expected).map(|exception| format!("audit: {exception:?}"))
    }
}

fn fold(journal: &CrashStore) -> Outbox {
    let mut outbox = Outbox::default();
    for (id, entry) in journal.entries() {
        outbox.apply(id, entry);
    }
    outbox
}
