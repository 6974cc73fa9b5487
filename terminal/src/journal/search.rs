//! History: which payments a person looks for.

use super::payment::{COLUMNS, by_id};
use super::{Journal, Payment, StoreFault};
use flow::record::RecordId;
use protocol::money::{Amount, Currency};
use rusqlite::ToSql;

/// Most payments of one listing.
pub const HISTORY_MAX: u32 = 100_000;

/// What to look for; everything that is given must fit.
#[derive(Clone, Debug)]
pub struct Search {
    /// Part of a serial number or TAC, or an amount, a sequence number, a payment's number, or a date.
    pub text: Option<String>,
    /// The currency that an amount in the text is meant in.
    pub currency: Currency,
    /// First day, `YYYY-MM-DD`.
    pub from: Option<String>,
    /// Last day.
    pub to: Option<String>,
    /// Only those whose outcome is not known.
    pub uncertain: bool,
    /// Most to list, newest first.
    pub limit: u32,
}

/// What a listing amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Payments that were taken.
    pub taken: u64,
    /// Their sum.
    pub amount: Amount,
    /// Payments whose outcome is not known.
    pub uncertain: u64,
}

impl Journal {
    /// Payments that fit, newest first.
    ///
    /// # Errors
    /// The disk cannot be read, or a row is damaged.
    pub fn search(&self, search: &Search) -> Result<Vec<Payment>, StoreFault> {
        let mut wheres: Vec<&str> = vec!["1 = 1"];
        let mut values: Vec<(&str, Box<dyn ToSql>)> = Vec::new();
        if let Some(from) = &search.from {
            wheres.push("local_date >= :from");
            values.push((":from", Box::new(from.clone())));
        }
        if let Some(to) = &search.to {
            wheres.push("local_date <= :to");
            values.push((":to", Box::new(to.clone())));
        }
        if search.uncertain {
            wheres.push("state IN (1, 4, 5)");
        }
        let text = search.text.as_deref().map(str::trim).filter(|text| !text.is_empty());
        if let Some(text) = text {
            wheres.push(
                "(instr(hex(card), :upper) > 0 OR instr(tac, :upper) > 0 OR local_date = :text OR amount = :amount \
                 OR term_seq = :number OR id = :number)",
            );
            let amount = Amount::parse(text, search.currency)
                .ok()
                .and_then(|amount| i64::try_from(amount.minor()).ok());
            values.push((":upper", Box::new(text.to_uppercase())));
            values.push((":text", Box::new(text.to_owned())));
            values.push((":amount", Box::new(amount)));
            values.push((":number", Box::new(text.parse::<i64>().ok())));
        }
        let limit = search.limit.min(HISTORY_MAX);
        let sql = format!(
            "SELECT {COLUMNS} FROM payment WHERE {} ORDER BY id DESC LIMIT {limit}",
            wheres.join(" AND ")
        );
        let mut statement = self.store.db().prepare(&sql)?;
        let bound: Vec<(&str, &dyn ToSql)> = values.iter().map(|(name, value)| (*name, &**value)).collect();
        let mut rows = statement.query(bound.as_slice())?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(Payment::read(row)?);
        }
        Ok(found)
    }

    /// The payment with this number.
    ///
    /// # Errors
    /// The disk cannot be read, or its row is damaged.
    pub fn payment(&self, id: RecordId) -> Result<Option<Payment>, StoreFault> {
        by_id(self.store.db(), id)
    }
}

impl Sums {
    /// What `payments` amount to in `currency`.
    ///
    /// # Errors
    /// A sum that does not fit, or payments of another currency.
    pub fn of(payments: &[Payment], currency: Currency) -> Result<Self, StoreFault> {
        let mut sums = Self { taken: 0, amount: Amount::new(0, currency), uncertain: 0 };
        for payment in payments {
            if payment.state.is_taken() {
                sums.taken = sums.taken.saturating_add(1);
                sums.amount = sums
                    .amount
                    .checked_add(payment.amount)
                    .map_err(|error| StoreFault::Damaged(error.to_string()))?;
            }
            if payment.state.is_uncertain() {
                sums.uncertain = sums.uncertain.saturating_add(1);
            }
        }
        Ok(sums)
    }
}
