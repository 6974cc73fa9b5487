//! Carries operations out.

use super::provisioning::ProvisioningFile;
use super::{
    AlertLine, AuditSummary, BatchSummary, CardSummary, DenyLine, Desk, Names, OpenLine, Operation, Outcome,
    StatementSummary, backup, heads, issuer_file, search,
};
use crate::config::HeadSettings;
use backend::accounts::AccountId;
use backend::accounts::chart::{Book, FundingKind, FundingNumber};
use backend::api::{
    AcquirerId, AdminAnswer, AdminRequest, CardStatus, PayerToken, Query, Report, RetrievalReference, Search,
    TerminalReport,
};
use backend::report::Statement;
use backend::store::DenyVersion;
use console::{Failure, code};
use jiff::tz::TimeZone;
use keys::{KeyError, KeyModule, SoftKeys};
use protocol::ids::{
    Asn, BatchNo, IssuerId, KeyVersion, MerchantId, OfflineCounter, OnlineCounter, SamTerminal, Stan,
    TermSeq, TerminalId,
};
use protocol::iso8583::typed::AuthorisationCode;
use protocol::money::{Amount, Currency};
use protocol::purse::Moment;
use protocol::time::{CardDate, CardTime, Now, Wall};
use std::path::Path;

/// What operations may use.
pub struct Context<'a> {
    /// The backend.
    pub desk: &'a mut dyn Desk,
    /// The key module, where keys are made and taken in.
    pub keys: &'a SoftKeys,
    /// What provisioning files name as the gateway.
    pub gateway: &'a str,
    /// The gateway's time zone.
    pub zone: &'a TimeZone,
    /// Where heads are exported, if anywhere.
    pub heads: Option<&'a HeadSettings>,
    /// Now.
    pub now: Now,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({})", self.gateway)
    }
}

pub(super) type Done = Result<Outcome, Failure>;

/// Carries an operation out.
///
/// # Errors
/// A value that means nothing, a refusal of the backend, or a failure of store or key module.
pub fn perform(operation: &Operation, context: &mut Context<'_>) -> Done {
    match operation {
        Operation::Ping => Ok(Outcome::Running { connections: 0, terminals: 0 }),
        Operation::MerchantAdd { merchant, name, currency: code } => {
            let id = merchant_id(merchant)?;
            let (name, currency) = (name.clone(), currency(code)?);
            context.register("merchant", merchant, AdminRequest::AddMerchant { merchant: id, name, currency })
        }
        Operation::TerminalAdd { terminal, merchant, acquirer, renew } => {
            context.add_terminal(terminal, merchant, *acquirer, *renew)
        }
        Operation::SamAdd { sam, terminal, from } => {
            let from = from.as_deref().map_or_else(|| context.moment(), moment)?;
            let (id, terminal) = (sam_terminal(sam)?, terminal_id(terminal)?);
            context.register("sam", sam, AdminRequest::AssignSam { sam: id, terminal, from })
        }
        Operation::SamRetry { sam } => {
            let sam = sam_terminal(sam)?;
            context.count("records", AdminRequest::RetryHeld { sam })
        }
        Operation::IssuerAdd { file } => context.add_issuer(Path::new(file)),
        Operation::CardAdd { issuer, asn, key_version, funding } => {
            let funding = funding.as_deref().map(account).transpose()?;
            let (issuer, id) = (issuer_id(issuer)?, serial(asn)?);
            let key_version = KeyVersion(*key_version);
            context.register("card", asn, AdminRequest::AddCard { issuer, asn: id, key_version, funding })
        }
        Operation::CardRekey { issuer, asn, key_version } => {
            let (issuer, asn, key_version) = (issuer_id(issuer)?, serial(asn)?, KeyVersion(*key_version));
            context.count("records", AdminRequest::SetCardKeys { issuer, asn, key_version })
        }
        Operation::CardDeny { issuer, asn, denied } => {
            let (issuer, id) = (issuer_id(issuer)?, serial(asn)?);
            let status = if *denied { CardStatus::Denied } else { CardStatus::Active };
            context.register("card", asn, AdminRequest::SetCardStatus { issuer, asn: id, status })
        }
        Operation::CardRelease { issuer, asn, counter, reference } => {
            context.release((issuer, asn), *counter, reference)
        }
        Operation::CardCredit { issuer, asn, counter, reference } => {
            context.credit((issuer, asn), *counter, reference)
        }
        Operation::FundingAdd { account: name, currency: code } => {
            let ((kind, number), currency) = (account(name)?, currency(code)?);
            context.register("funding", name, AdminRequest::AddFunding { kind, number, currency })
        }
        Operation::FundingDeposit { account: name, amount, currency: code, reference } => {
            let ((kind, number), currency) = (account(name)?, currency(code)?);
            let amount = self::amount(amount, currency)?;
            let reference = *reference;
            context.register("deposit", name, AdminRequest::Fund { kind, number, amount, reference })
        }
        Operation::FundingClose { account: name, currency: code } => {
            let ((kind, number), currency) = (account(name)?, currency(code)?);
            context.register("closed", name, AdminRequest::CloseFunding { kind, number, currency })
        }
        Operation::FundingSuffices { account: name, amount: text, currency: code } => {
            let currency = currency(code)?;
            let account = account_id(name, currency)?;
            let query = Query::Suffices { account, amount: amount(text, currency)? };
            match context.desk.query(query)? {
                Report::Suffices(suffices) => Ok(Outcome::Suffices { suffices }),
                _ => Err(unknown("account", name)),
            }
        }
        Operation::PayerAdd { .. } => context.add_payer(operation),
        Operation::LimitSet { .. } => context.set_limit(operation),
        Operation::LimitList { limit } => context.list_limits(*limit),
        Operation::ReportTransaction(names) => {
            let query = Query::Find { search: context.search(names)?, limit: names.limit };
            let Report::Found(found) = context.desk.query(query)? else {
                return Err(unknown("transaction", ""));
            };
            let (transactions, more) = search::summary(&found, context.zone);
            Ok(Outcome::Transactions { transactions, more })
        }
        Operation::ReportMerchant { merchant, from, to } => {
            let (from, to) = (context.day(from.as_deref(), 0)?, context.day(to.as_deref(), 1)?);
            let (from, to) = (from.unwrap_or(Wall(0)), to.unwrap_or(Wall(i64::MAX)));
            let statement = context.statement(merchant_id(merchant)?, from, to)?;
            Ok(Outcome::Statement(StatementSummary::of(&statement, context.zone)))
        }
        Operation::ReportBatch { terminal, batch } => context.batch(terminal, *batch),
        Operation::ReportCard { issuer, asn } => {
            match context.desk.query(Query::Card(issuer_id(issuer)?, serial(asn)?))? {
                Report::Card(card) => Ok(Outcome::Card(CardSummary::of(issuer.clone(), asn.clone(), &card))),
                _ => Err(unknown("card", asn)),
            }
        }
        Operation::ReportAlerts { limit } => match context.desk.query(Query::Alerts { limit: *limit })? {
            Report::Alerts(alerts) => {
                let alerts = alerts.iter().map(|alert| AlertLine::of(alert, context.zone)).collect();
                Ok(Outcome::Alerts { alerts })
            }
            _ => Ok(Outcome::Alerts { alerts: Vec::new() }),
        },
        Operation::ReportOpen { limit } => match context.desk.query(Query::OpenItems { limit: *limit })? {
            Report::OpenItems(items) => {
                let items = items.iter().map(|item| OpenLine::of(item, context.zone)).collect();
                Ok(Outcome::Open { items })
            }
            _ => Ok(Outcome::Open { items: Vec::new() }),
        },
        Operation::ReportDenyList { since, limit } => {
            let query = Query::DenyList { since: DenyVersion(*since), limit: *limit };
            match context.desk.query(query)? {
                Report::DenyList(list) => {
                    let cards = list.changes.iter().map(DenyLine::of).collect();
                    Ok(Outcome::DenyList { version: list.version.0, cards })
                }
                _ => Ok(Outcome::DenyList { version: 0, cards: Vec::new() }),
            }
        }
        Operation::RecordDecide { sam, seq, pay } => {
            let name = format!("{sam}/{seq}");
            let (sam, seq) = (sam_terminal(sam)?, TermSeq(*seq));
            context.register("record", &name, AdminRequest::DecideUncertain { sam, seq, pay: *pay })
        }
        Operation::Audit { heads } => context.audit(heads.as_deref().map(Path::new)),
        Operation::HeadExport { file } => {
            let place = match (file, context.heads) {
                (Some(file), _) => Path::new(file),
                (None, Some(heads)) => heads.file.as_path(),
                (None, None) => {
                    return Err(value("file", "", "a file, or file in [heads] of the configuration"));
                }
            };
            context.export_head(place)
        }
        Operation::Backup { to } => Ok(Outcome::BackedUp(Box::new(backup::back_up(context, Path::new(to))?))),
        Operation::Settle { days } => {
            let wait_ms = u64::from(*days).saturating_mul(86_400_000);
            context.settle(wait_ms)
        }
    }
}

impl Context<'_> {
    /// What time has decided: uncertain debits, gaps that a person should know of, and the day's head for the world outside.
    fn settle(&mut self, wait_ms: u64) -> Done {
        let mut count = 0u32;
        loop {
            match self.count("uncertain", AdminRequest::ResolveUncertain { wait_ms })? {
                Outcome::Counted { count: 0, .. } => break,
                Outcome::Counted { count: more, .. } => count = count.saturating_add(more),
                _ => break,
            }
        }
        self.count("gaps", AdminRequest::TellGaps { wait_ms })?;
        if let Some(heads) = self.heads {
            self.export_head(&heads.file)?;
        }
        Ok(Outcome::Counted { what: "uncertain".to_owned(), count })
    }

    fn audit(&mut self, heads: Option<&Path>) -> Done {
        let Report::Audit(report) = self.desk.query(Query::Audit)? else {
            return Err(Failure::new(code::UNEXPECTED).with("detail", "the backend gave no audit"));
        };
        let mut summary = AuditSummary::of(&report);
        if let Some(path) = heads {
            let checked = heads::check(self.desk, self.keys, path)?;
            summary.heads_checked = Some(checked.heads);
            summary.clean &= checked.findings.is_empty();
            summary.exceptions.extend(checked.findings);
        }
        Ok(Outcome::Audit(Box::new(summary)))
    }

    fn export_head(&mut self, file: &Path) -> Done {
        let acquirer = self.heads.map_or(1, |heads| heads.acquirer);
        let head = heads::export(self.desk, self.keys, acquirer, file)?;
        Ok(Outcome::Head { file: file.display().to_string(), head })
    }

    pub(super) fn register(&mut self, what: &str, name: &str, request: AdminRequest) -> Done {
        let existed = match self.desk.admin(request)? {
            AdminAnswer::Exists => true,
            AdminAnswer::Done | AdminAnswer::Count(_) => false,
            AdminAnswer::Refused(why) => {
                let refused = Failure::new(code::GATEWAY_REFUSED);
                return Err(refused.with("what", what).with("name", name).with("reason", why));
            }
        };
        Ok(Outcome::Registered { what: what.to_owned(), name: name.to_owned(), existed })
    }

    /// The one name that was given.
    fn search(&self, names: &Names) -> Result<Search, Failure> {
        let mut found = Vec::new();
        if let Some(text) = &names.reference {
            let bytes = text.as_bytes().try_into().ok();
            let reference = bytes.and_then(RetrievalReference::from_bytes);
            found
                .push(Search::Reference(reference.ok_or_else(|| value("reference", text, "12 characters"))?));
        }
        if let (Some(terminal), Some(batch), Some(trace)) = (&names.terminal, names.batch, names.trace) {
            found.push(Search::Trace(terminal_id(terminal)?, BatchNo(batch), Stan(trace)));
        }
        if let Some(text) = &names.authorisation {
            let code = text.as_bytes().try_into().ok().and_then(AuthorisationCode::from_bytes);
            found.push(Search::Authorisation(
                code.ok_or_else(|| value("authorisation", text, "6 characters"))?,
            ));
        }
        if let (Some(issuer), Some(card), Some(counter)) = (&names.issuer, &names.card, names.counter) {
            let (issuer, asn) = (issuer_id(issuer)?, serial(card)?);
            found.push(if names.load {
                Search::Load(issuer, asn, OnlineCounter(counter))
            } else {
                Search::Debit(issuer, asn, OfflineCounter(counter))
            });
        }
        if let (Some(sam), Some(sequence)) = (&names.sam, names.sequence) {
            found.push(Search::Record(sam_terminal(sam)?, TermSeq(sequence)));
        }
        let (from, to) = (self.day(names.from.as_deref(), 0)?, self.day(names.to.as_deref(), 1)?);
        let (from, to) = (from.unwrap_or(Wall(0)), to.unwrap_or(Wall(i64::MAX)));
        if let Some(text) = &names.payer {
            let token = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32);
            let token = token.ok_or_else(|| value("payer", text, "32 hexadecimal digits"))?;
            found.push(Search::Payer { token: PayerToken(token.to_be_bytes()), from, to });
        }
        if let Some(name) = &names.account {
            let account = account_id(name, currency(&names.currency)?)?;
            found.push(Search::Account { account, from, to });
        }
        match found.as_slice() {
            [one] => Ok(*one),
            _ => Err(value("transaction", "", "one whole name, such as terminal, batch and trace")),
        }
    }

    fn count(&mut self, what: &str, request: AdminRequest) -> Done {
        match self.desk.admin(request)? {
            AdminAnswer::Count(count) => Ok(Outcome::Counted { what: what.to_owned(), count }),
            AdminAnswer::Done | AdminAnswer::Exists => {
                Ok(Outcome::Counted { what: what.to_owned(), count: 0 })
            }
            AdminAnswer::Refused(why) => {
                let refused = Failure::new(code::GATEWAY_REFUSED);
                Err(refused.with("what", what).with("name", "").with("reason", why))
            }
        }
    }

    pub(super) fn moment(&self) -> Result<Moment, Failure> {
        let local = self.now.local().map_err(|error| value("clock", "", error))?;
        Ok(Moment { date: local.0, time: local.1 })
    }

    /// Local midnight of a day, `plus` days later.
    fn day(&self, text: Option<&str>, plus: i64) -> Result<Option<Wall>, Failure> {
        let Some(text) = text else { return Ok(None) };
        let day: jiff::civil::Date = text.parse().map_err(|_| value("date", text, "YYYY-MM-DD"))?;
        let later = day.checked_add(jiff::Span::new().days(plus));
        let midnight = later.and_then(|day| day.to_zoned(self.zone.clone()));
        let midnight = midnight.map_err(|error| value("date", text, error))?;
        Ok(Some(Wall(midnight.timestamp().as_millisecond())))
    }

    fn statement(&mut self, merchant: MerchantId, from: Wall, to: Wall) -> Result<Statement, Failure> {
        match self.desk.query(Query::Statement { merchant, from, to })? {
            Report::Statement(statement) => Ok(statement),
            _ => Err(unknown("merchant", merchant.as_str())),
        }
    }

    fn terminal(&mut self, terminal: TerminalId) -> Result<TerminalReport, Failure> {
        match self.desk.query(Query::Terminal(terminal))? {
            Report::Terminal(report) => Ok(report),
            _ => Err(unknown("terminal", terminal.as_str())),
        }
    }

    fn batch(&mut self, terminal: &str, batch: Option<u32>) -> Done {
        let id = terminal_id(terminal)?;
        let current = self.terminal(id)?.batch;
        let before = BatchNo(current.0.saturating_sub(1));
        let candidates = batch.map_or_else(|| vec![current, before], |number| vec![BatchNo(number)]);
        for number in candidates {
            if let Report::Batch(report) = self.desk.query(Query::Batch(id, number))? {
                return Ok(Outcome::Batch(BatchSummary::of(&report)));
            }
        }
        Err(unknown("batch", &format!("{terminal}/{}", batch.unwrap_or(current.0))))
    }

    fn add_terminal(&mut self, terminal: &str, merchant: &str, acquirer: u64, renew: bool) -> Done {
        let (id, owner) = (terminal_id(terminal)?, merchant_id(merchant)?);
        if acquirer > 99_999_999_999 {
            return Err(value("acquirer", &acquirer.to_string(), "at most 11 digits"));
        }
        let request =
            AdminRequest::AddTerminal { terminal: id, merchant: owner, acquirer: AcquirerId(acquirer) };
        self.register("terminal", terminal, request)?;
        // The name and currency, without a single line.
        let statement = self.statement(owner, Wall(i64::MAX), Wall(i64::MAX))?;
        let report = self.terminal(id)?;
        let enrolment = self.keys.enrol_terminal(&id, renew).map_err(|error| match error {
            KeyError::Exists => Failure::new(code::GATEWAY_ENROLLED).with("terminal", terminal),
            other => keys_failure(&other),
        })?;
        let file = ProvisioningFile::new(
            self.gateway,
            (id, owner),
            report.acquirer,
            report.batch,
            (&statement.name, statement.currency),
            &enrolment.block,
        );
        let text = file.to_text().map_err(|error| value("name", &statement.name, error))?;
        Ok(Outcome::Provisioned {
            terminal: terminal.to_owned(),
            file: text,
            code: enrolment.code.reveal().as_str().to_owned(),
        })
    }

    fn add_issuer(&mut self, path: &Path) -> Done {
        let file = issuer_file::read(path).map_err(|reason| {
            Failure::new(code::GATEWAY_ISSUER_FILE).with("path", path.display()).with("reason", reason)
        })?;
        // Keys first: an issuer that the backend knows has its keys.
        for (usage, key) in file.keys {
            self.keys
                .import_issuer_key(file.issuer, file.version, usage, key)
                .map_err(|error| keys_failure(&error))?;
        }
        let request = AdminRequest::AddIssuer {
            issuer: file.issuer,
            currency: file.currency,
            upper_factors: file.upper_factors,
            load_limit: file.load_limit,
        };
        self.register("issuer", &file.issuer.to_string(), request)
    }
}

fn keys_failure(error: &KeyError) -> Failure {
    Failure::new(code::GATEWAY_KEYS).with("path", "").with("reason", error)
}

pub(super) fn unknown(what: &str, name: &str) -> Failure {
    Failure::new(code::GATEWAY_UNKNOWN).with("what", what).with("name", name)
}

pub(super) fn value(what: &str, text: &str, expected: impl std::fmt::Display) -> Failure {
    Failure::new(code::GATEWAY_VALUE).with("what", what).with("name", text).with("reason", expected)
}

pub(super) fn merchant_id(text: &str) -> Result<MerchantId, Failure> {
    MerchantId::from_text(text).ok_or_else(|| value("merchant", text, "1 to 15 printable ASCII characters"))
}

pub(super) fn terminal_id(text: &str) -> Result<TerminalId, Failure> {
    TerminalId::from_text(text).ok_or_else(|| value("terminal", text, "1 to 8 printable ASCII characters"))
}

fn sam_terminal(text: &str) -> Result<SamTerminal, Failure> {
    text.parse().map_err(|error| value("sam", text, error))
}

pub(super) fn issuer_id(text: &str) -> Result<IssuerId, Failure> {
    text.parse().map_err(|error| value("issuer", text, error))
}

pub(super) fn serial(text: &str) -> Result<Asn, Failure> {
    text.parse().map_err(|error| value("card", text, error))
}

pub(super) fn currency(text: &str) -> Result<Currency, Failure> {
    Currency::from_alpha(text).ok_or_else(|| value("currency", text, "ISO 4217, such as CNY"))
}

pub(super) fn amount(text: &str, currency: Currency) -> Result<Amount, Failure> {
    Amount::parse(text, currency).map_err(|error| value("amount", text, error))
}

pub(super) fn funding_kind(text: &str) -> Result<FundingKind, Failure> {
    match text {
        "bank" => Ok(FundingKind::Bank),
        "third-party" => Ok(FundingKind::ThirdParty),
        "carrier" => Ok(FundingKind::Carrier),
        _ => Err(value("kind", text, "bank, third-party or carrier")),
    }
}

/// The account `bank:17` in a currency.
pub(super) fn account_id(text: &str, currency: Currency) -> Result<AccountId, Failure> {
    let (kind, number) = account(text)?;
    Ok(Book::Funding(kind, number).id(currency))
}

/// `bank:17`.
pub(super) fn account(text: &str) -> Result<(FundingKind, FundingNumber), Failure> {
    let parsed = text
        .split_once(':')
        .and_then(|(kind, number)| Some((funding_kind(kind).ok()?, FundingNumber(number.parse().ok()?))));
    parsed.ok_or_else(|| value("account", text, "bank:NUMBER, third-party:NUMBER or carrier:NUMBER"))
}

/// `YYYY-MM-DD HH:MM:SS`.
fn moment(text: &str) -> Result<Moment, Failure> {
    let parsed = text.parse::<jiff::civil::DateTime>().ok().and_then(|at| {
        let part = |number: i8| u8::try_from(number).ok();
        let year = u16::try_from(at.year()).ok()?;
        let date = CardDate::new(year, part(at.month())?, part(at.day())?).ok()?;
        let time = CardTime::new(part(at.hour())?, part(at.minute())?, part(at.second())?).ok()?;
        Some(Moment { date, time })
    });
    parsed.ok_or_else(|| value("time", text, "YYYY-MM-DD HH:MM:SS"))
}
