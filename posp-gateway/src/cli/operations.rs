//! Which operation a command asks for, and what it is called.

use super::{
    Card, CardLoad, Command, Funding, Issuer, Limit, Merchant, Payer, RecordCommand, Report, Sam, Terminal,
    TransactionNames,
};
use crate::ops::{Names, Operation};
use std::path::Path;

impl Command {
    /// Its name in JSON answers.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Init { .. } => "init",
            Self::Serve => "serve",
            Self::Merchant(Merchant::Add { .. }) => "merchant add",
            Self::Terminal(Terminal::Add { .. }) => "terminal add",
            Self::Sam(Sam::Add { .. }) => "sam add",
            Self::Sam(Sam::Retry { .. }) => "sam retry",
            Self::Issuer(Issuer::Add { .. }) => "issuer add",
            Self::Card(Card::Add { .. }) => "card add",
            Self::Card(Card::Rekey { .. }) => "card rekey",
            Self::Card(Card::Deny { .. }) => "card deny",
            Self::Card(Card::Release(_)) => "card release",
            Self::Card(Card::Credit(_)) => "card credit",
            Self::Funding(Funding::Add { .. }) => "funding add",
            Self::Funding(Funding::Deposit { .. }) => "funding deposit",
            Self::Funding(Funding::Close { .. }) => "funding close",
            Self::Funding(Funding::Suffices { .. }) => "funding suffices",
            Self::Payer(Payer::Add { .. }) => "payer add",
            Self::Limit(Limit::Set { .. }) => "limit set",
            Self::Limit(Limit::List { .. }) => "limit list",
            Self::Report(Report::Transaction(_)) => "report transaction",
            Self::Report(Report::Merchant { .. }) => "report merchant",
            Self::Report(Report::Batch { .. }) => "report batch",
            Self::Report(Report::Card { .. }) => "report card",
            Self::Report(Report::Alerts { .. }) => "report alerts",
            Self::Report(Report::Open { .. }) => "report open",
            Self::Report(Report::DenyList { .. }) => "report deny-list",
            Self::Record(RecordCommand::Decide { .. }) => "record decide",
            Self::Audit { .. } => "audit",
            Self::Backup { .. } => "backup",
            Self::Restore { .. } => "restore",
            Self::Settle { .. } => "settle",
            Self::Doctor => "doctor",
            Self::Completions { .. } => "completions",
        }
    }

    /// The operation that it asks for; `None` for what is done here.
    pub(crate) fn operation(&self) -> Option<Operation> {
        Some(match self {
            Self::Merchant(Merchant::Add { merchant, name, currency }) => Operation::MerchantAdd {
                merchant: merchant.clone(),
                name: name.clone(),
                currency: currency.clone(),
            },
            Self::Terminal(Terminal::Add { terminal, merchant, acquirer, renew, .. }) => {
                Operation::TerminalAdd {
                    terminal: terminal.clone(),
                    merchant: merchant.clone(),
                    acquirer: *acquirer,
                    renew: *renew,
                }
            }
            Self::Sam(Sam::Add { sam, terminal, from }) => {
                Operation::SamAdd { sam: sam.clone(), terminal: terminal.clone(), from: from.clone() }
            }
            Self::Sam(Sam::Retry { sam }) => Operation::SamRetry { sam: sam.clone() },
            Self::Issuer(Issuer::Add { file }) => Operation::IssuerAdd { file: absolute(file) },
            Self::Card(Card::Add { asn, issuer, key_version, funding }) => Operation::CardAdd {
                issuer: issuer.clone(),
                asn: asn.clone(),
                key_version: *key_version,
                funding: funding.clone(),
            },
            Self::Card(Card::Rekey { asn, issuer, key_version }) => {
                Operation::CardRekey { issuer: issuer.clone(), asn: asn.clone(), key_version: *key_version }
            }
            Self::Card(Card::Deny { asn, issuer, lift }) => {
                Operation::CardDeny { issuer: issuer.clone(), asn: asn.clone(), denied: !lift }
            }
            Self::Card(Card::Release(CardLoad { asn, issuer, counter, reference })) => {
                Operation::CardRelease {
                    issuer: issuer.clone(),
                    asn: asn.clone(),
                    counter: *counter,
                    reference: reference.clone(),
                }
            }
            Self::Card(Card::Credit(CardLoad { asn, issuer, counter, reference })) => Operation::CardCredit {
                issuer: issuer.clone(),
                asn: asn.clone(),
                counter: *counter,
                reference: reference.clone(),
            },
            Self::Funding(Funding::Add { account, currency }) => {
                Operation::FundingAdd { account: account.clone(), currency: currency.clone() }
            }
            Self::Funding(Funding::Deposit { account, amount, currency, reference }) => {
                Operation::FundingDeposit {
                    account: account.clone(),
                    amount: amount.clone(),
                    currency: currency.clone(),
                    reference: *reference,
                }
            }
            Self::Funding(Funding::Close { account, currency }) => {
                Operation::FundingClose { account: account.clone(), currency: currency.clone() }
            }
            Self::Funding(Funding::Suffices { account, amount, currency }) => Operation::FundingSuffices {
                account: account.clone(),
                amount: amount.clone(),
                currency: currency.clone(),
            },
            Self::Limit(limit) => limit_operation(limit),
            Self::Report(Report::Transaction(given)) => Operation::ReportTransaction(names(given)),
            Self::Report(Report::Merchant { merchant, from, to }) => {
                Operation::ReportMerchant { merchant: merchant.clone(), from: from.clone(), to: to.clone() }
            }
            Self::Report(Report::Batch { terminal, batch }) => {
                Operation::ReportBatch { terminal: terminal.clone(), batch: *batch }
            }
            Self::Report(Report::Card { asn, issuer }) => {
                Operation::ReportCard { issuer: issuer.clone(), asn: asn.clone() }
            }
            Self::Report(Report::Alerts { limit }) => Operation::ReportAlerts { limit: *limit },
            Self::Report(Report::Open { limit }) => Operation::ReportOpen { limit: *limit },
            Self::Report(Report::DenyList { since, limit }) => {
                Operation::ReportDenyList { since: *since, limit: *limit }
            }
            Self::Record(RecordCommand::Decide { sam, seq, pay, .. }) => {
                Operation::RecordDecide { sam: sam.clone(), seq: *seq, pay: *pay }
            }
            Self::Audit { export_head: Some(file), .. } => {
                Operation::HeadExport { file: Some(absolute(file)) }
            }
            Self::Audit { heads, .. } => Operation::Audit { heads: heads.as_deref().map(absolute) },
            Self::Backup { file } => Operation::Backup { to: absolute(file) },
            Self::Settle { older_than } => Operation::Settle { days: *older_than },
            Self::Init { .. }
            | Self::Payer(Payer::Add { .. })
            | Self::Serve
            | Self::Doctor
            | Self::Restore { .. }
            | Self::Completions { .. } => return None,
        })
    }
}

fn limit_operation(limit: &Limit) -> Operation {
    match limit {
        Limit::List { limit } => Operation::LimitList { limit: *limit },
        Limit::Set { kind, account, terminal, merchant, payment, day_sum, day_count, currency } => {
            Operation::LimitSet {
                kind: kind.clone(),
                account: account.clone(),
                terminal: terminal.clone(),
                merchant: merchant.clone(),
                payment: payment.clone(),
                day_sum: day_sum.clone(),
                day_count: *day_count,
                currency: currency.clone(),
            }
        }
    }
}

fn names(given: &TransactionNames) -> Names {
    Names {
        reference: given.reference.clone(),
        terminal: given.terminal.clone(),
        batch: given.batch,
        trace: given.trace,
        authorisation: given.authorisation.clone(),
        issuer: given.issuer.clone(),
        card: given.card.clone(),
        counter: given.counter,
        load: given.load,
        sam: given.sam.clone(),
        sequence: given.sequence,
        payer: given.payer.clone(),
        account: given.account.clone(),
        currency: given.currency.clone(),
        from: given.from.clone(),
        to: given.to.clone(),
        limit: given.limit,
    }
}

/// A file as the running gateway finds it, which may have another working folder.
fn absolute(file: &Path) -> String {
    std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf()).to_string_lossy().into_owned()
}
