//! The commands that need the acquirer's gateway: `provision`, `topup`, `upload`, `settle`, and doctor's look at it.

use super::{App, Session, context, patience, room_for_records, with_wait};
use crate::config::Settings;
use crate::doctor;
use crate::driver::{Clock, Run, SystemClock};
use crate::fault;
use crate::host::{self, Drained, Host, Line, Lost, Refusal, Scope};
use crate::identity::{HostIdentity, Provision};
use crate::journal::{Batch, FILE_NAME, Journal, LoadStanding, StoreFault};
use crate::load_receipt::LoadSlip;
use crate::online_report as report;
use crate::unended;
use crate::words::{last_digits, said};
use anyhow::Context as _;
use console::{Args, Exit, Failure, code};
use flow::Outcome;
use flow::errand::Refusal as Refused;
use flow::host::{Ask, NoReply};
use flow::load::{CardPin, Load};
use flow::outcome::{Fault, LoadReceipt};
use flow::record::{JournalEntry, LoadIntent, RecordId};
use flow::sam::SamIdentity;
use protocol::money::{Amount, CardAmount};
use std::io::{self, BufRead, IsTerminal};
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest line that is read as a PIN or a code, in bytes.
const SECRET_BYTES_MAX: u64 = 256;

/// Reads a line from the keyboard without showing it, or from standard input if that is no keyboard.
pub(super) fn read_secret() -> io::Result<Zeroizing<String>> {
    let input = io::stdin();
    if input.is_terminal() {
        return rpassword::read_password().map(Zeroizing::new);
    }
    let mut line = Zeroizing::new(String::new());
    io::Read::take(input.lock(), SECRET_BYTES_MAX).read_line(&mut line)?;
    Ok(line)
}

impl App<'_> {
    /// A secret from the environment, or asked for.
    fn secret(&mut self, variable: &str, prompt: &str) -> Result<Zeroizing<String>, Failure> {
        if let Some(text) = self.world.environment.get(variable) {
            return Ok(Zeroizing::new(text.clone()));
        }
        let unread =
            |error: io::Error| Failure::new(code::SECRET_UNREAD).with("variable", variable).caused_by(error);
        self.console.note(prompt, &Args::new()).map_err(unread)?;
        let line = (self.world.secret)().map_err(unread)?;
        Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
    }

    fn host_identity(settings: &Settings) -> Result<HostIdentity, Failure> {
        let found = HostIdentity::load(&settings.data.folder)?;
        let identity = found.ok_or_else(|| Failure::new(code::NOT_PROVISIONED))?;
        agree(settings, &identity)?;
        Ok(identity)
    }

    /// A line to the gateway, not connected yet.
    fn line(
        &mut self,
        settings: &Settings,
        identity: HostIdentity,
        journal: &mut Journal,
        clock: &dyn Clock,
    ) -> Result<Line, Failure> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| Failure::new(code::UNEXPECTED).with("detail", error))?;
        let patience = host::Patience {
            reply: Duration::from_secs(settings.host.reply_s.into()),
            connect: Duration::from_secs(settings.host.connect_s.into()),
        };
        let dial = std::mem::replace(&mut self.world.dial, Box::new(host::tcp));
        Line::new(identity, patience, dial, u64::from_be_bytes(seed), journal, clock.now())
            .map_err(|fault| fault::store(journal.path(), fault))
    }

    // --- provision ----------------------------------------------------------------------------------------------

    pub(super) fn provision(&mut self, file: &Path, replace: bool) -> anyhow::Result<Exit> {
        let settings = self.settings()?;
        let folder = &settings.data.folder;
        let path = folder.join(FILE_NAME);
        let broken = |fault| fault::store(&path, fault);
        let mut journal = Journal::open(&path).map_err(broken)?;
        let provision = Provision::load(file)?;
        let batch = provision.batch();
        let typed = self.secret("TAPLINE_CODE", "enter-code")?;
        let identity = provision.open(file, &typed)?;
        agree(&settings, &identity)?;
        let before = HostIdentity::load(folder);
        let fresh = matches!(before, Ok(None));
        let same = matches!(&before, Ok(Some(before)) if before.is_same_terminal(&identity));
        if !same && !fresh {
            may_replace(before, &journal, replace)?;
        }
        // The batch first: an identity without its batch would begin with another's.
        if !same {
            let now = self.clock(&settings).now();
            journal.commit(&Batch::of(JournalEntry::Batch(batch), now.wall)).map_err(broken)?;
        }
        identity.store(folder)?;
        let result = report::Provisioned {
            terminal: identity.terminal.as_str().to_owned(),
            merchant: identity.merchant.as_str().to_owned(),
            gateway: identity.gateway.clone(),
            batch: journal.outbox().batch().0,
            replaced: !fresh,
        };
        let args = Args::new()
            .with("terminal", &result.terminal)
            .with("merchant", &result.merchant)
            .with("gateway", &result.gateway);
        let texts = self.console.texts();
        let next = texts.attribute("provisioned", "next", &args).unwrap_or_default();
        let text = format!("{}\n      →  {next}", texts.say_with("provisioned", &args));
        self.console.result("provision", &result, &text)?;
        Ok(Exit::Success)
    }

    // --- topup --------------------------------------------------------------------------------------------------

    pub(super) fn topup(&mut self, amount: &str, wait: Option<u16>) -> anyhow::Result<Exit> {
        let settings = with_wait(self.settings()?, wait);
        let (amount, on_card) = loadable(&settings, amount)?;
        room_for_records(&settings)?;
        let identity = Self::host_identity(&settings)?;
        let gateway = identity.gateway.clone();
        let mut session = self.session(&settings)?;
        let sam = self.identify(&settings, &mut session)?;
        let mut line = self.line(&settings, identity, &mut session.journal, &*session.clock)?;
        self.console.note("host-connecting", &Args::new().with("gateway", &gateway))?;
        let mut sent = out_of_the_way(&mut line, &mut session, &gateway)?;
        if session.journal.outbox().is_full_of_loads() {
            return Err(batch_full(&session.journal, 1).into());
        }
        let typed = self.secret("TAPLINE_PIN", "enter-pin")?;
        let pin = CardPin::from_digits(&typed).ok_or_else(|| Failure::new(code::PIN_UNREADABLE))?;
        let Session { journal, clock, .. } = &mut session;
        let numbers = line.numbers(journal, &**clock).map_err(|lost| unanswered(lost, journal, &gateway))?;
        let profile = settings.profile().context("the limit was checked when the file was read")?;
        let mut load = Load::new(&profile, sam.terminal, on_card, pin, numbers, patience(&settings))?;
        session.line = Some(line);
        let ran = self.drive(&settings, &mut session, &mut load, amount)?;
        sent.items.extend(afterwards(&mut session, &ran).items);
        let told = tell(&settings, &session, &sam, amount, ran)?;
        self.conclude_load(&settings, &session.journal, &told, &sent)
    }

    fn conclude_load(
        &mut self,
        settings: &Settings,
        journal: &Journal,
        told: &Told,
        sent: &Drained,
    ) -> anyhow::Result<Exit> {
        let texts = self.console.texts();
        let told = told.as_ref().map_err(|(failure, slip)| (failure, slip.as_ref()));
        let mut text = report::sent_text(sent, journal, texts);
        match told {
            Ok(slip) => {
                let args = Args::new().with("amount", slip.amount);
                text.push_str(&format!("{}\n\n", texts.say_with("loaded", &args)));
                text.push_str(&slip.text(&settings.terminal, texts));
            }
            Err((failure, slip)) => {
                text.push_str(&report::reason_text(failure, texts));
                if let Some(slip) = slip {
                    text.push_str(&format!("\n{}", slip.text(&settings.terminal, texts)));
                }
            }
        }
        let exit = told.map_or_else(|(failure, _)| failure.code().exit(), |_| Exit::Success);
        let result = report::topup(told, report::sent(sent, journal), settings, texts);
        Ok(self.console.outcome("topup", &result, &text, exit))
    }

    // --- upload and settle --------------------------------------------------------------------------------------

    /// Journal, clock and line, without readers.
    fn desk(&mut self, settings: &Settings) -> Result<(Journal, Box<dyn Clock>, Line, String), Failure> {
        let identity = Self::host_identity(settings)?;
        let gateway = identity.gateway.clone();
        let clock = self.clock(settings);
        doctor::sane_clock(clock.now())?;
        let path = settings.data.folder.join(FILE_NAME);
        let mut journal = Journal::open(&path).map_err(|fault| fault::store(&path, fault))?;
        let line = self.line(settings, identity, &mut journal, &*clock)?;
        Ok((journal, clock, line, gateway))
    }

    pub(super) fn upload(&mut self, with_open: bool) -> anyhow::Result<Exit> {
        let settings = self.settings()?;
        let (mut journal, clock, mut line, gateway) = self.desk(&settings)?;
        let scope = if with_open { Scope::WithOpen } else { Scope::All };
        line.ask(Ask::SignIn, &mut journal, &*clock).map_err(|lost| unanswered(lost, &journal, &gateway))?;
        let drained = host::drain(&mut line, &mut journal, &*clock, scope);
        let drained = drained.map_err(|fault| fault::store(journal.path(), fault))?;
        let waiting = journal.outbox().waiting();
        let left = [waiting.reversals, waiting.confirmations, waiting.records].iter().sum();
        let failure = match drained.stopped {
            Some(why) => Some(unanswered(why.into(), &journal, &gateway)),
            None if waiting.records > 0 && journal.outbox().is_full_of_payments() => {
                Some(batch_full(&journal, waiting.records))
            }
            None if left > 0 => Some(Failure::new(code::UPLOAD_INCOMPLETE).with("left", left)),
            None => None,
        };
        let texts = self.console.texts();
        let exit = failure.as_ref().map_or(Exit::Success, |failure| failure.code().exit());
        let result = report::UploadReport {
            sent: report::sent(&drained, &journal),
            waiting: left,
            open: waiting.open,
            exit: exit.number(),
            reason: failure.as_ref().map(|failure| report::reason(failure, texts)),
        };
        let done = drained.items.iter().filter(|item| item.settled).count();
        let args = Args::new().with("sent", done).with("waiting", left).with("open", waiting.open);
        let mut text = report::sent_text(&drained, &journal, texts);
        text.push_str(&format!("{}\n", texts.say_with("uploaded", &args)));
        if let Some(failure) = &failure {
            text.push_str(&report::reason_text(failure, texts));
        }
        self.console.result("upload", &result, &text)?;
        Ok(exit)
    }

    pub(super) fn settle(&mut self) -> anyhow::Result<Exit> {
        let settings = self.settings()?;
        let (mut journal, clock, mut line, gateway) = self.desk(&settings)?;
        let currency = settings.terminal.currency;
        let (drained, settled) = host::settle(&mut line, &mut journal, &*clock);
        let texts = self.console.texts();
        let mut text = report::sent_text(&drained, &journal, texts);
        let settlement = match settled {
            Ok(settlement) => settlement,
            Err(refusal) => {
                if !self.console.is_json() {
                    self.console.print(&text)?;
                }
                return Err(refused(refusal, &journal, &gateway).into());
            }
        };
        let flow::outbox::Waiting { records: waiting, open: interrupted, .. } = journal.outbox().waiting();
        let failure = match settlement.closing {
            host::Closing::Differing => {
                Some(Failure::new(code::SETTLEMENT_DIFFERS).with("batch", settlement.batch))
            }
            _ if waiting > 0 => {
                Some(Failure::new(code::BATCH_FULL).with("batch", settlement.batch).with("left", waiting))
            }
            _ => None,
        };
        // The batch is closed: what cannot be read now is no reason to say otherwise.
        let waiting = unended::find(&journal, clock.now()).unwrap_or_else(|fault| {
            tracing::error!(%fault, "loads without end could not be read");
            Vec::new()
        });
        let sent =
            (report::sent(&drained, &journal), unended::report(&waiting, &settings, texts), interrupted);
        let result = report::settled(&settlement, failure.as_ref(), sent, currency, texts);
        text.push_str(&report::settled_text(&settlement, currency, texts));
        text.push_str(&report::left_out_text(&result, texts));
        text.push_str(&unended::text(&waiting, texts));
        if let Some(failure) = &failure {
            text.push_str(&report::reason_text(failure, texts));
        }
        let exit = failure.map_or(Exit::Success, |failure| failure.code().exit());
        Ok(self.console.outcome("settle", &result, &text, exit))
    }

    // --- doctor -------------------------------------------------------------------------------------------------

    pub(super) fn examine_host(&mut self, settings: &Settings) -> Vec<doctor::Check> {
        match self.find_host(settings) {
            // The journal's own check has said so already.
            Ok(None) => Vec::new(),
            Ok(Some(findings)) => doctor::examine_host(self.console.texts(), Ok(findings)),
            Err(failure) => doctor::examine_host(self.console.texts(), Err(failure)),
        }
    }

    fn find_host(&mut self, settings: &Settings) -> Result<Option<doctor::HostFindings>, Failure> {
        let Ok(mut journal) = Journal::open(&settings.data.folder.join(FILE_NAME)) else { return Ok(None) };
        let waiting = journal.outbox().waiting();
        if HostIdentity::load(&settings.data.folder)?.is_none() {
            return Ok(Some(doctor::HostFindings { waiting, gateway: None }));
        }
        let identity = Self::host_identity(settings)?;
        let gateway = identity.gateway.clone();
        let clock = SystemClock::start(settings.terminal.zone.clone());
        let mut line = self.line(settings, identity, &mut journal, &clock)?;
        let signed_in = line.ask(Ask::SignIn, &mut journal, &clock);
        let batch = signed_in.map(|reply| reply.batch).map_err(|lost| unanswered(lost, &journal, &gateway));
        Ok(Some(doctor::HostFindings { waiting, gateway: Some((gateway, batch)) }))
    }
}

/// Before a load: which batch is open, and what must not stay behind a new load.
fn out_of_the_way(line: &mut Line, session: &mut Session, gateway: &str) -> Result<Drained, Failure> {
    let Session { journal, clock, .. } = session;
    line.ask(Ask::SignIn, journal, &**clock).map_err(|lost| unanswered(lost, journal, gateway))?;
    let drained = host::drain(line, journal, &**clock, Scope::Loads);
    let drained = drained.map_err(|fault| fault::store(journal.path(), fault))?;
    match drained.stopped {
        Some(why) => Err(unanswered(why.into(), journal, gateway)),
        None => Ok(drained),
    }
}

/// What waits is tried right after a load: its confirmation, or its reversal. Whatever fails stays due.
fn afterwards(session: &mut Session, ran: &Run) -> Drained {
    let Session { journal, clock, line, .. } = session;
    let Some(line) = line else { return Drained::default() };
    // Where the gateway was just lost, a sign-in tells soon whether it is back.
    let lost = matches!(ran.outcome, Outcome::Failed(Fault::HostGone));
    if lost && line.ask(Ask::SignIn, journal, &**clock).is_err() {
        return Drained::default();
    }
    host::drain(line, journal, &**clock, Scope::Loads).unwrap_or_else(|fault| {
        tracing::error!(%fault, "the journal refused what the gateway answered; it is asked again");
        Drained::default()
    })
}

/// How a load ended.
type Told = Result<LoadSlip, (Failure, Option<LoadSlip>)>;

fn tell(
    settings: &Settings,
    session: &Session,
    sam: &SamIdentity,
    amount: Amount,
    ran: Run,
) -> Result<Told, Failure> {
    let context = context(settings, session, Some(sam), amount);
    let journal = &session.journal;
    Ok(match &ran.outcome {
        Outcome::Loaded(receipt) => {
            let slip = slip(settings, journal, receipt)?;
            if receipt.earlier {
                let failure = Failure::new(code::LOAD_EARLIER).with("amount", slip.amount);
                Err((failure.with("number", receipt.record.0), Some(slip)))
            } else {
                Ok(slip)
            }
        }
        Outcome::LoadUncertain { record, intent } => {
            let amount = context.money(intent.amount);
            Err((doubt(journal, *record, intent, amount), None))
        }
        Outcome::Declined(decline) => Err((context.decline(*decline), None)),
        // What the gateway said could not be stored: the disk is what a person has to see to.
        Outcome::Failed(Fault::HostGone) if ran.store_fault.is_some() => {
            let fault = ran.store_fault.unwrap_or_else(|| StoreFault::Disk(String::new()));
            return Err(fault::store(journal.path(), fault));
        }
        Outcome::Failed(fault @ (Fault::HostGone | Fault::HostBadAnswer)) => {
            Err((context.fault(*fault), None))
        }
        // Trouble that any flow may have.
        _ => match context.tell(ran)? {
            crate::outcome::Told::Otherwise(failure, _) => Err((failure, None)),
            _ => return Err(context.fault(Fault::Driver)),
        },
    })
}

fn slip(settings: &Settings, journal: &Journal, done: &LoadReceipt) -> Result<LoadSlip, Failure> {
    let broken = |fault| fault::store(journal.path(), fault);
    let missing = || broken(StoreFault::Damaged(format!("there is no load {}", done.record.0)));
    let load = journal.load(done.record).map_err(broken)?.ok_or_else(missing)?;
    let money = |amount: CardAmount| amount.in_currency(settings.terminal.currency);
    Ok(LoadSlip {
        done: *done,
        load,
        amount: money(done.amount),
        before: money(done.balance_before),
        after: money(done.balance_after),
    })
}

/// CREDIT was sent and not answered: its card tells at the next tap, or cannot tell and the acquirer decides.
fn doubt(journal: &Journal, record: RecordId, intent: &LoadIntent, amount: Amount) -> Failure {
    let standing = journal.load(record).ok().flatten().map(|load| load.state);
    let closed = matches!(standing, Some(LoadStanding::Unknown | LoadStanding::Reported));
    Failure::new(if closed { code::LOAD_UNCERTAIN } else { code::LOAD_INTERRUPTED })
        .with("amount", amount)
        .with("card", last_digits(&intent.card.asn))
        .with("number", record.0)
}

/// The configuration names the same terminal, merchant and currency as the acquirer does: they stand on receipts.
fn agree(settings: &Settings, identity: &HostIdentity) -> Result<(), Failure> {
    let terminal = &settings.terminal;
    let pairs = [
        ("terminal.id", terminal.id.as_str().to_owned(), identity.terminal.as_str().to_owned()),
        ("terminal.merchant", terminal.merchant.as_str().to_owned(), identity.merchant.as_str().to_owned()),
        ("terminal.currency", terminal.currency.to_string(), identity.currency.to_string()),
    ];
    match pairs.into_iter().find(|(_, configured, wanted)| configured != wanted) {
        None => Ok(()),
        Some((key, configured, wanted)) => Err(Failure::new(code::PROVISION_MISMATCH)
            .with("key", key)
            .with("configured", configured)
            .with("wanted", wanted)),
    }
}

/// Another identity gives way only when asked to, and never while something waits for its acquirer or its batch is not
/// settled.
fn may_replace(
    before: Result<Option<HostIdentity>, Failure>,
    journal: &Journal,
    replace: bool,
) -> Result<(), Failure> {
    if !replace {
        // A file that does not read may hold the only key there is.
        let before = before?;
        let (terminal, merchant) =
            before.as_ref().map_or(("?", "?"), |before| (before.terminal.as_str(), before.merchant.as_str()));
        let failure = Failure::new(code::PROVISIONED_ALREADY);
        return Err(failure.with("terminal", terminal).with("merchant", merchant));
    }
    let (waiting, totals) = (journal.outbox().waiting(), journal.outbox().totals());
    let counted = totals.domestic.debit.count > 0 || totals.loads.is_some_and(|loads| loads.debit.count > 0);
    if !waiting.is_clear() || waiting.open > 0 || counted {
        return Err(Failure::new(code::NOT_SETTLED));
    }
    Ok(())
}

/// The amount as typed, as money and as a card's field.
fn loadable(settings: &Settings, text: &str) -> Result<(Amount, CardAmount), Failure> {
    let currency = settings.terminal.currency;
    let unreadable = |_| {
        Failure::new(code::AMOUNT_UNREADABLE)
            .with("text", text)
            .with("currency", currency)
            .with("example", Amount::new(10_000, currency).number())
    };
    let amount = Amount::parse(text, currency).map_err(unreadable)?;
    if amount.is_zero() {
        return Err(Failure::new(code::AMOUNT_ZERO));
    }
    let limit = settings.topup_limit().map_err(unreadable)?;
    match CardAmount::try_from(amount) {
        Ok(on_card) if amount.minor() <= limit.minor() => Ok((amount, on_card)),
        _ => Err(Failure::new(code::LOAD_TOO_LARGE).with("amount", amount).with("limit", limit)),
    }
}

/// The open batch has no room for what waits.
fn batch_full(journal: &Journal, left: usize) -> Failure {
    Failure::new(code::BATCH_FULL).with("batch", journal.outbox().batch()).with("left", left)
}

/// Why the gateway gave no answer, as a person can act on it.
fn unanswered(lost: Lost, journal: &Journal, gateway: &str) -> Failure {
    let host = |code| Failure::new(code).with("gateway", gateway);
    match lost {
        Lost::Journal(fault) => fault::store(journal.path(), fault),
        Lost::NoReply(NoReply::Unreachable) => host(code::HOST_UNREACHABLE),
        Lost::NoReply(NoReply::Refused(response)) => said(host(code::HOST_REFUSED), response),
        Lost::NoReply(why) => host(code::HOST_SILENT).caused_by(why),
    }
}

/// Why a batch was not settled, as a person can act on it.
fn refused(refusal: Refusal, journal: &Journal, gateway: &str) -> Failure {
    match refusal {
        Refusal::Host(Refused::Waiting(waiting)) => Failure::new(code::SETTLEMENT_WAITS)
            .with("reversals", waiting.reversals)
            .with("confirmations", waiting.confirmations)
            .with("records", waiting.records),
        Refusal::Host(Refused::NoReply(why)) => unanswered(why.into(), journal, gateway),
        Refusal::Host(Refused::Refused(response)) => said(Failure::new(code::SETTLEMENT_REFUSED), response),
        Refusal::Host(Refused::Driver) => Failure::new(code::UNEXPECTED).with("detail", Refused::Driver),
        Refusal::Journal(fault) => unanswered(fault.into(), journal, gateway),
    }
}
