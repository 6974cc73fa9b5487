//! Limits: set and listed.

use super::perform::{Context, account_id, amount, currency, funding_kind, merchant_id, terminal_id, value};
use super::{Operation, Outcome};
use backend::accounts::chart::{FundingKind, FundingNumber};
use backend::api::{AdminRequest, Limit, LimitReport, LimitScope, Query, Report};
use console::Failure;
use protocol::money::{Amount, Currency};
use serde::{Deserialize, Serialize};

/// Whose limits these are, and what is used of them today.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitLine {
    /// `kind`, `account`, `terminal` or `merchant`.
    pub scope: String,
    /// Which: `carrier`, `bank:17`, field 41 or field 42.
    pub name: String,
    /// Currency of the amounts; absent for a kind, whose accounts may be of any: its amounts are minor units.
    pub currency: Option<String>,
    /// Largest payment.
    pub payment: Option<String>,
    /// Most in a day.
    pub day_sum: Option<String>,
    /// How many in a day.
    pub day_count: Option<u32>,
    /// What was used of today's sum; absent for a kind.
    pub used_sum: Option<String>,
    /// How many payments that were; absent for a kind.
    pub used_count: Option<u32>,
}

impl LimitLine {
    fn of(report: &LimitReport) -> Self {
        let Limit { scope, payment_max, day_sum_max, day_count_max } = report.limit;
        let (scope, name) = match scope {
            LimitScope::Kind(kind) => ("kind", kind_name(kind).to_owned()),
            LimitScope::Payer(account) => {
                let kind = FundingKind::of(account).map_or("account", kind_name);
                ("account", format!("{kind}:{}", FundingNumber::of(account).0))
            }
            LimitScope::Terminal(terminal) => ("terminal", terminal.as_str().to_owned()),
            LimitScope::Merchant(merchant) => ("merchant", merchant.as_str().to_owned()),
        };
        let words = |minor: u64| in_words(minor, report.currency);
        Self {
            scope: scope.to_owned(),
            name,
            currency: report.currency.map(|currency| currency.alpha().to_owned()),
            payment: payment_max.map(words),
            day_sum: day_sum_max.map(words),
            day_count: day_count_max,
            used_sum: report.used.map(|used| words(used.minor)),
            used_count: report.used.map(|used| used.count),
        }
    }
}

fn in_words(minor: u64, currency: Option<Currency>) -> String {
    currency.map_or_else(|| minor.to_string(), |currency| Amount::new(minor, currency).to_string())
}

const fn kind_name(kind: FundingKind) -> &'static str {
    match kind {
        FundingKind::Bank => "bank",
        FundingKind::ThirdParty => "third-party",
        FundingKind::Carrier => "carrier",
    }
}

impl Context<'_> {
    /// Every limit with what is used of it today, at most `count`.
    pub(super) fn list_limits(&mut self, count: u32) -> Result<Outcome, Failure> {
        let day = self.moment()?.date;
        let Report::Limits(found) = self.desk.query(Query::Limits { day, limit: count })? else {
            return Ok(Outcome::Limits { limits: Vec::new(), more: false });
        };
        Ok(Outcome::Limits { limits: found.limits.iter().map(LimitLine::of).collect(), more: found.more })
    }

    /// Sets what somebody may spend or take in.
    pub(super) fn set_limit(&mut self, operation: &Operation) -> Result<Outcome, Failure> {
        let Operation::LimitSet {
            kind,
            account,
            terminal,
            merchant,
            payment,
            day_sum,
            day_count,
            currency: code,
        } = operation
        else {
            return Err(value("limit", "", "a limit"));
        };
        let currency = currency(code)?;
        let minor = |text: &Option<String>| -> Result<Option<u64>, Failure> {
            text.as_deref().map(|text| amount(text, currency).map(|amount| amount.minor())).transpose()
        };
        let mut scopes = Vec::new();
        if let Some(kind) = kind {
            scopes.push((LimitScope::Kind(funding_kind(kind)?), kind));
        }
        if let Some(name) = account {
            scopes.push((LimitScope::Payer(account_id(name, currency)?), name));
        }
        if let Some(name) = terminal {
            scopes.push((LimitScope::Terminal(terminal_id(name)?), name));
        }
        if let Some(name) = merchant {
            scopes.push((LimitScope::Merchant(merchant_id(name)?), name));
        }
        let [(scope, name)] = scopes.as_slice() else {
            return Err(value("limit", "", "exactly one of kind, account, terminal, merchant"));
        };
        let (payment_max, day_sum_max, day_count_max) = (minor(payment)?, minor(day_sum)?, *day_count);
        let limit = Limit { scope: *scope, payment_max, day_sum_max, day_count_max };
        self.register("limit", name, AdminRequest::SetLimit(limit))
    }
}
