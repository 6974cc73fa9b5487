//! What counters asked for, against the books: whatever one believes to be approved is there once and has moved its money, whatever was taken
//! back has moved none, and each cardholder lost, and each merchant is owed, what the counters' notes come to. Sums are added up from transfers.

use super::Violation;
use crate::sim::books::Books;
use crate::sim::counter::{Counter, FUNDS, PAYERS, Standing, name};
use crate::sim::world::{merchant_id, terminal_id, till_name};
use backend::accounts::chart::{Book, FundingKind, FundingNumber};
use backend::store::{Transaction, TransactionState};
use protocol::money::Currency;

/// The account of a cardholder; cards of the purse draw on others.
#[must_use]
pub const fn account(payer: u32) -> FundingNumber {
    FundingNumber(1_000 + payer as u64)
}

/// Holds the notes of counters, the first of which has the terminal number `first`, against the books.
#[must_use]
pub fn check(counters: &[Counter], first: usize, books: &Books) -> Vec<Violation> {
    let mut found = Vec::new();
    for (terminal, counter) in (first..).zip(counters) {
        for sale in &counter.sales {
            let (batch, trace) = sale.name;
            let rows: Vec<&Transaction> = books
                .transactions
                .values()
                .filter(|row| {
                    let it = row.identity;
                    (it.terminal, it.batch, it.trace) == (terminal_id(terminal), batch, trace)
                })
                .collect();
            let wrong = match (sale.standing, rows.as_slice()) {
                (Standing::Asked, _) => Some("nobody knows what became of it".to_owned()),
                (_, [_, _, ..]) => Some("it is in the books more than once".to_owned()),
                (Standing::Approved, []) => Some("approved, and not in the books".to_owned()),
                (Standing::Approved, [row]) => approved(row, sale.minor),
                (Standing::Reversed | Standing::Declined(_), [row]) => {
                    let nothing =
                        matches!(row.state, TransactionState::Reversed | TransactionState::Declined);
                    (!nothing)
                        .then(|| format!("taken back or declined, and the books have it as {:?}", row.state))
                }
                (Standing::Reversed | Standing::Declined(_), []) => None,
            };
            if let Some(wrong) = wrong {
                let (till, what) = (till_name(terminal), name(sale.kind));
                let what =
                    format!("{till}, {what} of {}, batch {} trace {}: {wrong}", sale.minor, batch.0, trace.0);
                found.push(Violation::Money(what));
            }
        }
        let owed = books
            .merchants
            .get(&merchant_id(terminal))
            .map(|merchant| books.net(Book::MerchantPayable(merchant.number), Currency::CNY));
        let taken = counter.taken(None);
        if owed != Some(taken) {
            let till = till_name(terminal);
            found.push(Violation::Money(format!("{till} took {taken}, and its merchant is owed {owed:?}")));
        }
    }
    if counters.is_empty() {
        return found;
    }
    for payer in 1..=PAYERS {
        let left = books.net(Book::Funding(FundingKind::Bank, account(payer)), Currency::CNY);
        let taken: i128 = counters.iter().map(|counter| counter.taken(Some(payer))).sum();
        if left != i128::from(FUNDS) - taken {
            let what = format!("cardholder {payer} paid {taken} of {FUNDS}, and has {left}");
            found.push(Violation::Money(what));
        }
    }
    found
}

/// What is wrong with the row of something that was approved and stands.
fn approved(row: &Transaction, minor: u64) -> Option<String> {
    if !row.code.is_approved() || row.amount.map(|amount| amount.minor()) != Some(minor) {
        return Some(format!("the books have {:?} under {}", row.amount, row.code));
    }
    let undone = matches!(
        row.state,
        TransactionState::Declined | TransactionState::Reversed | TransactionState::Disputed
    );
    undone.then(|| format!("approved, and the books have it as {:?}", row.state))
}
