//! The flow at the card: each step that the machine wants is carried out, or struck by what the plan has for it.

mod host;

pub(super) use host::ready_load;

use super::{refuses, visit};
use crate::sim::check::{Violation, told_right};
use crate::sim::desk;
use crate::sim::keyring::SECOND;
use crate::sim::plan::{CardFault, Presence, TerminalFault, Visit, Want};
use crate::sim::slot::{Exchange, strikes, with_wrong_consent, with_wrong_mac2};
use crate::sim::store::Failed;
use crate::sim::words;
use crate::sim::world::{World, card_name, till_name};
use flow::machine::{LoadReply, Order, Standing};
use flow::outcome::{LoadReceipt, Receipt};
use flow::record::{CardId, JournalEntry, RecordId};
use flow::{Event, Machine, Outcome, Prompt, Step};
use protocol::ids::TermSeq;
use protocol::purse::command::ins;
use protocol::sam::InitSamAnswer;
use protocol::time::Mono;
use terminal::journal::Batch;

/// More steps than any visit with six cards needs.
const STEPS_MAX: usize = 400;
/// Between two cards.
const NEXT_CARD_MS: u64 = 1_500;
const CARD_APDU_MS: u64 = 9;
const SAM_APDU_MS: u64 = 12;
const STORE_MS: u64 = 6;
const INS_NOT_SUPPORTED: [u8; 2] = [0x6D, 0x00];

/// A card in the field.
struct Present {
    card: usize,
    fault: Option<CardFault>,
    lingers: bool,
    apdus: usize,
    /// A DEBIT or CREDIT was on its way: the checker looks at the card when it has left.
    touched: bool,
}

/// What came of a step.
enum Next {
    Event(Happened),
    Done(Outcome),
    Died,
}

/// An event that owns its content.
enum Happened {
    CardPresent,
    CardAnswer(Vec<u8>),
    CardLost,
    SamAnswer(Vec<u8>),
    SamLost,
    Standing(Box<Standing>),
    Stored(RecordId),
    StoreFailed,
    HostAnswer(Box<LoadReply>),
    HostLost,
    Cancel,
    Tick,
}

impl Happened {
    fn event(&self) -> Event<'_> {
        match self {
            Self::CardPresent => Event::CardPresent,
            Self::CardAnswer(answer) => Event::CardAnswer(answer),
            Self::CardLost => Event::CardLost,
            Self::SamAnswer(answer) => Event::SamAnswer(answer),
            Self::SamLost => Event::SamLost,
            Self::Standing(standing) => Event::Standing(standing),
            Self::Stored(id) => Event::Stored(*id),
            Self::StoreFailed => Event::StoreFailed,
            Self::HostAnswer(reply) => Event::HostAnswer(reply),
            Self::HostLost => Event::HostLost,
            Self::Cancel => Event::Operator(Order::Cancel),
            Self::Tick => Event::Tick,
        }
    }
}

/// The flow, and how far it and its faults have come.
pub(super) struct Session<'v> {
    plan: &'v Visit,
    terminal: usize,
    next_in_field: usize,
    present: Option<Present>,
    sam_apdus: usize,
    stores: usize,
    entries_before: usize,
    other_card_shown: bool,
    /// The consent to the load is made up.
    forged: bool,
}

impl<'v> Session<'v> {
    pub(super) fn new(world: &World, plan: &'v Visit) -> Self {
        Self {
            plan,
            terminal: plan.terminal,
            next_in_field: 0,
            present: None,
            sam_apdus: 0,
            stores: 0,
            entries_before: world.terminals[plan.terminal].journal.len(),
            other_card_shown: false,
            forged: false,
        }
    }

    pub(super) fn run(mut self, world: &mut World, mut machine: Box<dyn Machine>) {
        let refuses = self.plan.faults.contains(&TerminalFault::SamMemoryRefuses);
        world.terminals[self.terminal].sam.refuse_writes(refuses);
        let mut step = machine.handle(Event::Start, world.now_at(self.terminal));
        for number in 0..STEPS_MAX {
            self.clocks(world, number);
            if world.terminals[self.terminal].dying {
                return self.died(world, "on the line");
            }
            if self.plan.faults.contains(&TerminalFault::CrashAtStep { step: number }) {
                world.coverage.fault("crash at step", words::step(&step));
                return self.died(world, words::step(&step));
            }
            match self.carry_out(world, step, machine.deadline()) {
                Next::Event(happened) => {
                    step = machine.handle(happened.event(), world.now_at(self.terminal));
                    self.prompted(world, machine.prompt());
                }
                Next::Done(outcome) => return self.ended(world, &outcome),
                Next::Died => return self.died(world, "store"),
            }
        }
        self.card_leaves(world);
        let number = world.terminals[self.terminal].number;
        world.violated(Violation::Endless(number));
    }

    fn carry_out(&mut self, world: &mut World, step: Step, deadline: Option<Mono>) -> Next {
        Next::Event(match step {
            Step::WaitCard => self.wait_card(world, deadline),
            Step::WaitRemoval => self.wait_removal(world, deadline),
            Step::ToCard(command) => self.send_card(world, &command),
            Step::ToSam(command) => self.send_sam(world, &command),
            Step::LookUp(card) => Happened::Standing(Box::new(self.look_up(world, &card))),
            Step::Store(entry) => return self.store(world, entry),
            Step::AskHost(intent) => self.ask_host(world, intent),
            Step::Done(outcome) => return Next::Done(outcome),
        })
    }

    // --- the field ----------------------------------------------------------------------------------------------

    fn wait_card(&mut self, world: &mut World, deadline: Option<Mono>) -> Happened {
        self.card_leaves(world);
        loop {
            let Some(presence) = self.plan.field.get(self.next_in_field) else {
                return self.nobody_comes(world, deadline);
            };
            self.next_in_field += 1;
            world.pass_ms(NEXT_CARD_MS);
            if deadline.is_some_and(|deadline| world.now_at(self.terminal).mono >= deadline) {
                return Happened::Tick;
            }
            match presence {
                Presence::Card { card, fault, lingers } => {
                    world.coverage.taps += 1;
                    let (card, fault, lingers) = (world.chip_of(*card), *fault, *lingers);
                    world.tell(|| format!("  {} is presented.", card_name(card)));
                    let slot = &mut world.cards[card];
                    slot.chip.refuse_writes(fault == Some(CardFault::MemoryRefuses));
                    slot.chip.power_on();
                    self.present = Some(Present { card, fault, lingers, apdus: 0, touched: false });
                    return Happened::CardPresent;
                }
                Presence::Elsewhere(other) => self.elsewhere(world, other),
                Presence::Cancel => {
                    world.tell(|| "  The cashier cancels.".into());
                    return Happened::Cancel;
                }
            }
        }
    }

    /// Somebody pays at another terminal while this one waits.
    fn elsewhere(&self, world: &mut World, other: &Visit) {
        let first = other.field.first();
        if let Some(Presence::Card { card, .. }) = first
            && let id = world.cards[world.chip_of(*card)].id
            && world.terminals[self.terminal].journal.open_debit(&id).is_some()
        {
            world.coverage.reached("same card elsewhere", "while open");
        }
        visit(world, other);
    }

    fn nobody_comes(&self, world: &mut World, deadline: Option<Mono>) -> Happened {
        let now = world.now_at(self.terminal).mono;
        match deadline {
            Some(deadline) => world.pass_ms(deadline.ms_since(now) + 1),
            None => {
                let number = world.terminals[self.terminal].number;
                world.violated(Violation::Endless(number));
            }
        }
        Happened::Tick
    }

    fn wait_removal(&mut self, world: &mut World, deadline: Option<Mono>) -> Happened {
        if !self.present.as_ref().is_some_and(|present| present.lingers) {
            self.card_leaves(world);
            return Happened::CardLost;
        }
        world.coverage.reached("card lingers", "removal");
        match self.plan.field.get(self.next_in_field) {
            Some(Presence::Cancel) => Happened::Cancel,
            _ => self.nobody_comes(world, deadline),
        }
    }

    fn card_leaves(&mut self, world: &mut World) {
        if let Some(present) = self.present.take() {
            let card = &mut world.cards[present.card];
            card.chip.power_off();
            card.chip.refuse_writes(false);
            if present.touched {
                card.look();
            }
        }
    }

    // --- card and SAM -------------------------------------------------------------------------------------------

    fn send_card(&mut self, world: &mut World, command: &[u8]) -> Happened {
        world.pass_ms(CARD_APDU_MS);
        let name = words::card_command(command);
        let Some(present) = &mut self.present else { return Happened::CardLost };
        let (index, apdu) = (present.card, present.apdus);
        present.apdus += 1;
        let fault = strikes(present.fault, apdu);
        present.touched |= matches!(name, "DEBIT" | "CREDIT");
        match name {
            "DEBIT" => self.intent_is_durable(world, index, command),
            "CREDIT" => self.credit_is_durable(world, index),
            _ => {}
        }
        let changed =
            (name == "CREDIT" && fault == Some(CardFault::WrongMac2)).then(|| with_wrong_consent(command));
        let wrong = changed.is_some() || (name == "CREDIT" && self.forged);
        let command = changed.as_deref().unwrap_or(command);
        let chip = &mut world.cards[index].chip;
        let heard = match fault {
            Some(CardFault::CommandLost { bytes, .. }) => {
                return self.torn(world, "command lost", name, bytes.min(command.len()));
            }
            Some(CardFault::AnswerLost { bytes, .. }) => {
                let _ = chip.exchange(command);
                return self.torn(world, "answer lost", name, bytes);
            }
            Some(CardFault::PowerLost { operations, share, .. }) => {
                return match chip.exchange_and_die(command, operations, share) {
                    Exchange::Silence { in_memory: true } => {
                        self.torn(world, "power lost in memory", name, usize::from(share))
                    }
                    _ => self.torn(world, "answer lost", name, 0),
                };
            }
            Some(CardFault::MemoryRefuses | CardFault::WrongMac2 | CardFault::LeavesWhileAsking) | None => {
                chip.exchange(command)
            }
        };
        let Exchange::Answer(answer) = heard else { return Happened::CardLost };
        if wrong {
            world.coverage.fault("wrong MAC2", name);
            if answer.ends_with(&[0x90, 0x00]) {
                let id = world.cards[index].id;
                world.violated(Violation::TookWrongConsent(id));
            }
        }
        self.card_answered(world, name, fault, answer)
    }

    fn card_answered(
        &self,
        world: &mut World,
        name: &'static str,
        fault: Option<CardFault>,
        answer: Vec<u8>,
    ) -> Happened {
        if matches!(name, "DEBIT" | "CREDIT") {
            let sw = words::status(&answer);
            world.tell(|| format!("    {name} is answered {sw}."));
        }
        match fault {
            Some(CardFault::WrongMac2) if name == "DEBIT" => {
                if let Some(changed) = with_wrong_mac2(&answer) {
                    world.coverage.fault("wrong MAC2", name);
                    world.tell(|| "    … its MAC2 is changed on the way.".into());
                    return Happened::CardAnswer(changed);
                }
            }
            Some(CardFault::MemoryRefuses) if answer == [0x65, 0x81] => {
                world.coverage.fault("memory refuses", name);
            }
            _ => {}
        }
        Happened::CardAnswer(answer)
    }

    /// The card left the field in the middle of a command.
    fn torn(&mut self, world: &mut World, kind: &'static str, name: &'static str, bytes: usize) -> Happened {
        world.coverage.fault(kind, name);
        world.tell(|| format!("    ⚡ {name}: {kind} ({bytes}); the card is out of the field."));
        self.card_leaves(world);
        Happened::CardLost
    }

    /// Journal before effect: what this DEBIT is about must be on the disk.
    fn intent_is_durable(&self, world: &mut World, card: usize, command: &[u8]) {
        let terminal = &world.terminals[self.terminal];
        let sent = command.get(5..9).and_then(|seq| seq.try_into().ok()).map(u32::from_be_bytes);
        let open = terminal.journal.open_debit(&world.cards[card].id);
        if open.map(|(_, intent)| intent.term_seq) != sent.map(TermSeq) {
            world.violated(Violation::DebitBeforeIntent(terminal.number));
        }
    }

    /// The same for CREDIT: from now on the card decides, and the journal must say so.
    fn credit_is_durable(&self, world: &mut World, card: usize) {
        let terminal = &world.terminals[self.terminal];
        if terminal.journal.outbox().open_load(&world.cards[card].id).is_none() {
            world.violated(Violation::DebitBeforeIntent(terminal.number));
        }
    }

    fn send_sam(&mut self, world: &mut World, command: &[u8]) -> Happened {
        world.pass_ms(SAM_APDU_MS);
        let name = words::sam_command(command);
        let apdu = self.sam_apdus;
        self.sam_apdus += 1;
        let has = |fault| self.plan.faults.contains(&fault);
        let dies_inside = self.plan.faults.iter().find_map(|fault| match fault {
            TerminalFault::SamPowerLost { apdu: at, operations } if *at == apdu => Some(*operations),
            _ => None,
        });
        let terminal = &mut world.terminals[self.terminal];
        if has(TerminalFault::SamCommandLost { apdu }) {
            return self.sam_gone(world, "SAM command lost", name);
        }
        if terminal.foreign_sam && command.get(1) == Some(&ins::SAM_VERIFY_PROVED) {
            return Happened::SamAnswer(INS_NOT_SUPPORTED.to_vec());
        }
        if let Some(operations) = dies_inside {
            let in_memory = terminal.sam.exchange_and_die(command, operations, 128)
                == Exchange::Silence { in_memory: true };
            let kind = if in_memory { "SAM power lost in memory" } else { "SAM answer lost" };
            return self.sam_gone(world, kind, name);
        }
        let Exchange::Answer(answer) = terminal.sam.exchange(command) else {
            return self.sam_gone(world, "SAM answer lost", name);
        };
        if name == "SAM INIT" {
            terminal.sam_given.extend(given_number(&answer));
        }
        if answer == [0x65, 0x81] {
            world.coverage.fault("SAM memory refuses", name);
        }
        if has(TerminalFault::SamAnswerLost { apdu }) {
            return self.sam_gone(world, "SAM answer lost", name);
        }
        Happened::SamAnswer(answer)
    }

    fn sam_gone(&self, world: &mut World, kind: &'static str, name: &'static str) -> Happened {
        world.coverage.fault(kind, name);
        world.tell(|| format!("    ⚡ {name}: {kind}."));
        let terminal = &mut world.terminals[self.terminal];
        terminal.sam.power_off();
        terminal.identity = None;
        Happened::SamLost
    }

    // --- the terminal's own -------------------------------------------------------------------------------------

    fn look_up(&self, world: &World, card: &CardId) -> Standing {
        let journal = &world.terminals[self.terminal].journal;
        Standing {
            open: journal.open_debit(card),
            open_load: journal.outbox().open_load(card),
            refused: refuses(world, self.terminal, card),
            ..Standing::default()
        }
    }

    fn store(&mut self, world: &mut World, entry: JournalEntry) -> Next {
        world.pass_ms(STORE_MS);
        let store = self.stores;
        self.stores += 1;
        let kind = words::entry(&entry);
        let fate = desk::fate(&self.plan.faults, store);
        let now = world.now_at(self.terminal);
        let terminal = &mut world.terminals[self.terminal];
        let stored = terminal.journal.commit(&Batch::of(entry.clone(), now.wall), fate);
        if let Some(fault) = words::fate(fate) {
            world.coverage.fault(fault, kind);
            world.tell(|| format!("    ⚡ {fault}, at the {kind}."));
        }
        match stored {
            Ok(ids) => {
                words::tell_entry(world, &entry);
                match ids.first() {
                    Some(id) => Next::Event(Happened::Stored(*id)),
                    None => Next::Event(Happened::StoreFailed),
                }
            }
            Err(Failed::Reported(_)) => Next::Event(Happened::StoreFailed),
            Err(Failed::Died) => Next::Died,
        }
    }

    fn clocks(&self, world: &mut World, step: usize) {
        for fault in &self.plan.faults {
            let off = &mut world.terminals[self.terminal].wall_off_ms;
            match fault {
                TerminalFault::ClockJump { step: at, ms } if *at == step => {
                    *off = off.map(|off| off.saturating_add(*ms));
                    world.coverage.fault("clock jump", if *ms < 0 { "back" } else { "ahead" });
                    world.tell(|| format!("    ⚡ the terminal's clock jumps by {} s.", ms / 1000));
                }
                TerminalFault::ClockNonsense { step: at } if *at == step => {
                    *off = None;
                    world.coverage.fault("clock nonsense", "step");
                    world.tell(|| "    ⚡ the terminal's clock shows no date.".into());
                }
                _ => {}
            }
        }
    }

    fn prompted(&mut self, world: &mut World, prompt: Prompt) {
        let other = matches!(prompt, Prompt::OtherCard(_));
        if other && !self.other_card_shown {
            world.coverage.reached("other card", "while open");
            world.tell(|| "    The till says: that is another card.".into());
        }
        self.other_card_shown = other;
    }

    // --- the end ------------------------------------------------------------------------------------------------

    fn died(mut self, world: &mut World, at: &'static str) {
        self.card_leaves(world);
        if !world.terminals[self.terminal].dying {
            world.tell(|| format!("    ⚡ {} dies ({at}) and starts again.", till_name(self.terminal)));
            world.reboot(self.terminal);
        }
        world.coverage.reached("end", "terminal crashed");
        let clock = world.clock();
        let terminal = &mut world.terminals[self.terminal];
        terminal.sam.refuse_writes(false);
        terminal.crash(clock);
    }

    fn ended(mut self, world: &mut World, outcome: &Outcome) {
        self.card_leaves(world);
        world.terminals[self.terminal].sam.refuse_writes(false);
        // A clock without a date is set by whoever serves the terminal next.
        let off = &mut world.terminals[self.terminal].wall_off_ms;
        *off = Some(off.unwrap_or(0));
        world.coverage.reached("end", words::end(outcome));
        if let Outcome::Approved(Receipt { card, .. }) | Outcome::Loaded(LoadReceipt { card, .. }) = outcome
            && world.cards.iter().any(|it| it.id == *card && it.version == SECOND)
        {
            world.coverage.reached("second key version", words::end(outcome));
        }
        world.tell(|| format!("  → {}", words::outcome(outcome)));
        let book = world.terminal_book(self.terminal);
        let (Want::Pay(asked) | Want::Load(asked)) = self.plan.want;
        let own: Vec<RecordId> = book.entries[self.entries_before.min(book.entries.len())..]
            .iter()
            .filter(|(_, entry)| matches!(entry, JournalEntry::Intent(_)))
            .map(|(id, _)| *id)
            .collect();
        let told = told_right(outcome, asked, &own, &book, &world.card_books());
        if let Err(what) = told {
            let number = world.terminals[self.terminal].number;
            world.violated(Violation::ToldWrong(number, what));
        }
    }
}

/// The sequence number in a good answer to INIT_SAM_FOR_PURCHASE.
fn given_number(answer: &[u8]) -> Option<TermSeq> {
    let data = answer.strip_suffix(&[0x90, 0x00])?;
    let suite = if data.len() == 8 { protocol::purse::Suite::Des } else { protocol::purse::Suite::Aes };
    InitSamAnswer::parse(suite, data).ok().map(|answer| answer.term_seq)
}
