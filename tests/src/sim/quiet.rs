//! The end of a history: nothing goes wrong any more. What is under way ends, every card visits every terminal once more, is asked about
//! its loads, everything is uploaded and settled. Then nothing may be in doubt, and all books are held against each other.

use super::answers;
use super::books::Books;
use super::check::{Violation, gateways, lost, money, online, still_open};
use super::counter::{self, Counter};
use super::desk;
use super::plan::{Deal, Presence, Rekey, Task, Visit, Want};
use super::till;
use super::world::{World, merchant_id};
use backend::api::{AdminRequest, Backend, Query, Report};
use backend::report::AuditException;
use flow::record::{JournalEntry, LoadState};
use protocol::iso8583::typed::ResponseCode;
use protocol::money::CardAmount;
use protocol::time::{Now, Wall};

/// Longer than any session waits for anything.
const ENOUGH_MS: u64 = 600_000;
/// How often what is under way may take that long.
const ROUNDS_MAX: usize = 8;
/// Between the end of a history and the day on which policy decides what is uncertain, and a person is told of debits that are missing.
const LATER_MS: i64 = 400 * 86_400_000;
/// How long another terminal's proof is waited for, as an acquirer does: thirty days.
const WAIT_MS: u64 = 30 * 86_400_000;
/// How often uncertain records are looked at: a chain of them is decided from its newest end.
const RESOLVE_ROUNDS: usize = 12;

impl World {
    /// Lets everything come to its end, and checks it.
    pub fn quiet_end(&mut self) {
        self.check();
        self.tell(|| "— a quiet day: every card visits every terminal once more".into());
        self.line.quiet();
        self.terminals.iter_mut().for_each(|terminal| terminal.desk.quiet());
        self.acquirer.plan(&[], &mut self.coverage);
        self.let_errands_end();
        for terminal in 0..self.terminals.len() {
            self.terminals[terminal].wall_off_ms = Some(0);
            self.rekey(terminal, Rekey::Provision);
            self.rekey(terminal, Rekey::Profile);
            for card in 0..self.cards.len() {
                till::visit(self, &quiet_visit(terminal, card, Want::Pay(CardAmount(1))));
            }
        }
        self.quiet_loads();
        self.check();
        let open = still_open(&self.terminal_books());
        open.into_iter().for_each(|violation| self.violated(violation));
        if self.violations.is_empty() {
            self.close_books();
        }
    }

    fn let_errands_end(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.pass_ms(ENOUGH_MS);
            let busy = (0..self.terminals.len()).any(|terminal| desk::is_busy(self, terminal));
            let counters = self.counters.iter().any(Counter::is_busy);
            for terminal in self.terminals.len()..self.ends() {
                counter::begin(self, terminal, None);
            }
            if !busy && !counters && self.acquirer.all_well() {
                return;
            }
        }
        let number = self.terminals[0].number;
        self.violated(Violation::Endless(number));
    }

    /// Each card asks for a load once where its journal waits for one, and once anywhere: its counter decides what is open.
    fn quiet_loads(&mut self) {
        for card in 0..self.cards.len() {
            let id = self.cards[card].id;
            let waits = |world: &Self, terminal: usize| {
                world.terminals[terminal].journal.outbox().open_load(&id).is_some()
            };
            let mut at: Vec<usize> =
                (0..self.terminals.len()).filter(|terminal| waits(self, *terminal)).collect();
            at.push(card % self.terminals.len());
            for terminal in at {
                till::visit(self, &quiet_visit(terminal, card, Want::Load(CardAmount(1))));
                // A clock that was ahead then and is right now makes a wrong proof of hours ago one of this minute.
                let refused = till::refuses(self, terminal, &id);
                self.let_errands_end();
                let unsettled = self.was_told_to_reconcile(terminal);
                if unsettled {
                    // A batch whose upload was never ended takes no load either.
                    desk::begin(self, terminal, Task::Settle);
                    self.let_errands_end();
                }
                if refused || unsettled {
                    till::visit(self, &quiet_visit(terminal, card, Want::Load(CardAmount(1))));
                    self.let_errands_end();
                }
            }
        }
    }

    fn was_told_to_reconcile(&self, terminal: usize) -> bool {
        let newest = self.terminals[terminal].journal.entries().filter_map(|(_, entry)| match entry {
            JournalEntry::LoadState { state, .. } => Some(*state),
            _ => None,
        });
        newest.last() == Some(LoadState::Declined { code: ResponseCode::RECONCILE })
    }

    fn upload_and_settle(&mut self) {
        for task in [Task::Upload, Task::Settle] {
            for terminal in 0..self.terminals.len() {
                desk::begin(self, terminal, task);
            }
            self.let_errands_end();
        }
    }

    /// Counters let go what is held for them, and settle.
    fn close_counters(&mut self) {
        for terminal in self.terminals.len()..self.ends() {
            let counter = terminal - self.terminals.len();
            for _ in 0..self.counters[counter].sales.len() {
                if !self.counters[counter].holds() {
                    break;
                }
                counter::begin(self, terminal, Some(Deal::VoidAuthorisation));
                self.let_errands_end();
            }
            counter::begin(self, terminal, Some(Deal::Settle));
        }
        if !self.counters.is_empty() {
            self.let_errands_end();
        }
    }

    fn close_books(&mut self) {
        self.upload_and_settle();
        self.close_counters();
        let waits = |world: &Self| {
            world.terminals.iter().any(|terminal| !terminal.journal.outbox().waiting().is_clear())
        };
        if waits(self) {
            // A batch whose upload was never ended takes nothing but its end: what waited goes into the next one.
            self.coverage.reached("settlement", "of a batch whose upload was never ended");
            self.upload_and_settle();
        }
        for terminal in 0..self.terminals.len() {
            let waiting = self.terminals[terminal].journal.outbox().waiting();
            if !waiting.is_clear() {
                let number = self.terminals[terminal].number;
                self.violated(Violation::StillWaits(number, format!("{waiting:?}")));
            }
        }
        self.decide_by_a_person();
        let Some((books, audit)) = self.read_books() else {
            return self.violated(Violation::Backend("no audit".into()));
        };
        let found = self.hold_against(&books, &audit);
        let fates = lost::fates(&self.card_books(), &self.terminal_books(), &books);
        fates.into_iter().for_each(|fate| self.coverage.reached("debit of a lost journal", fate));
        self.coverage.reached("books", "compared");
        if self.acquirer.count() > 1 {
            gateways::count(&self.acquirer.sent, &books, &mut self.coverage);
        }
        found.into_iter().for_each(|violation| self.violated(violation));
        self.count_loads();
    }

    /// Decides what policy decides with time, and reads the backend's books as they lie on its disk.
    pub(crate) fn read_books(&mut self) -> Option<(Books, Vec<AuditException>)> {
        // Long after: a gateway's clock may have been ahead of the others' when a record came, or a gap was seen.
        let now = self.now();
        let later = Now { wall: Wall(now.wall.0.saturating_add(LATER_MS)), ..now };
        for _ in 0..RESOLVE_ROUNDS {
            self.acquirer.admin(AdminRequest::ResolveUncertain { wait_ms: WAIT_MS }, later);
        }
        self.acquirer.admin(AdminRequest::TellGaps { wait_ms: 0 }, later);
        let merchants: Vec<_> = (0..self.ends()).map(merchant_id).collect();
        let Ok(Report::Audit(report)) = self.acquirer.engine().query(&Query::Audit) else { return None };
        let books = Books::read(&mut self.acquirer.books(), &merchants);
        Some((books, report.exceptions))
    }

    /// Cards, journals and answers against the books.
    pub(crate) fn hold_against(&self, books: &Books, audit: &[AuditException]) -> Vec<Violation> {
        let (cards, terminals) = (self.card_books(), self.terminal_books());
        let mut found = money::check(&cards, &terminals, books, audit);
        found.extend(money::accused(&cards, &terminals, books));
        found.extend(money::loads_waiting(&cards, &terminals));
        found.extend(online::check(&self.counters, self.terminals.len(), books));
        answers::check(&self.acquirer.sent, books, &mut found);
        gateways::check(&self.acquirer.numbers(), books, &mut found);
        found
    }

    /// What became of loads, for the table of what was reached.
    fn count_loads(&mut self) {
        for terminal in 0..self.terminals.len() {
            let states: Vec<&'static str> = self.terminals[terminal]
                .journal
                .entries()
                .filter_map(|(_, entry)| match entry {
                    JournalEntry::LoadState { state, .. } => Some(state_name(state)),
                    _ => None,
                })
                .collect();
            states.into_iter().for_each(|state| self.coverage.reached("load", state));
        }
    }
}

const fn state_name(state: &LoadState) -> &'static str {
    match state {
        LoadState::Answered { .. } => "answered",
        LoadState::CreditSent => "credit sent",
        LoadState::Credited { .. } => "credited",
        LoadState::Refused { .. } => "refused",
        LoadState::Unknown => "unknown",
        LoadState::Declined { .. } => "declined",
        LoadState::Reversed => "reversed",
        LoadState::Confirmed { .. } => "confirmed",
    }
}

fn quiet_visit(terminal: usize, card: usize, want: Want) -> Visit {
    Visit {
        terminal,
        want,
        after_ms: 100_000,
        field: vec![Presence::Card { card, fault: None, lingers: false }],
        faults: Vec::new(),
        line: Vec::new(),
        gateway: Vec::new(),
    }
}
