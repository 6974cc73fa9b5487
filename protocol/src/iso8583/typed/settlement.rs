//! Field 48 of a batch settlement: what the terminal has counted, and whether the host counted the same.
//!
//! Blocks of 31 digits: domestic cards, foreign cards, and in `aes` purse loads.

use super::{FieldValue, Joined};
use crate::iso8583::{Builder, Digits, FieldError, FieldNo, Reason, Value};

const BLOCK: usize = 31;

/// What the host found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balance {
    /// The terminal asks.
    #[default]
    Asked,
    /// The same.
    Balanced,
    /// Not the same.
    NotBalanced,
    /// The host could not count.
    Error,
}

impl Balance {
    fn from_digit(digit: u8) -> Result<Self, Reason> {
        match digit {
            0 => Ok(Self::Asked),
            1 => Ok(Self::Balanced),
            2 => Ok(Self::NotBalanced),
            3 => Ok(Self::Error),
            _ => Err(Reason::Value("settlement result is not known")),
        }
    }

    const fn digit(self) -> u64 {
        match self {
            Self::Asked => 0,
            Self::Balanced => 1,
            Self::NotBalanced => 2,
            Self::Error => 3,
        }
    }
}

/// One side of a block: minor units of the batch's currency, and how many transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sum {
    /// Minor units, at most 12 digits.
    pub minor: u64,
    /// At most 999.
    pub count: u16,
}

/// One block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Totals {
    /// Approved and unreversed purchases, completions, offline records.
    pub debit: Sum,
    /// Refunds and voids.
    pub credit: Sum,
    /// What the host found.
    pub balance: Balance,
}

/// Field 48.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SettlementTotals {
    /// Domestic cards.
    pub domestic: Totals,
    /// Foreign cards.
    pub foreign: Totals,
    /// Purse loads (`aes` only).
    pub loads: Option<Totals>,
}

fn read_block(digits: Digits<'_>) -> Result<Totals, Reason> {
    let sum = |start: usize| {
        let count = digits.part(start.saturating_add(12), 3).to()?;
        Ok(Sum { minor: digits.part(start, 12).number()?, count })
    };
    let balance = Balance::from_digit(digits.get(30).unwrap_or(u8::MAX))?;
    Ok(Totals { debit: sum(0)?, credit: sum(15)?, balance })
}

impl FieldValue<'_> for SettlementTotals {
    const FIELD: FieldNo = FieldNo(48);

    fn read(value: &Value<'_>) -> Result<Self, Reason> {
        let digits = value.digits();
        let loads = match digits.len() {
            62 => None,
            93 => Some(read_block(digits.part(2 * BLOCK, BLOCK))?),
            _ => return Err(Reason::Value("settlement totals have 62 or 93 digits")),
        };
        let (domestic, foreign) = (digits.part(0, BLOCK), digits.part(BLOCK, BLOCK));
        Ok(Self { domestic: read_block(domestic)?, foreign: read_block(foreign)?, loads })
    }

    fn write(&self, builder: &mut Builder<'_>) -> Result<(), FieldError> {
        let mut joined = Joined::new();
        for block in [Some(self.domestic), Some(self.foreign), self.loads].into_iter().flatten() {
            for sum in [block.debit, block.credit] {
                joined.put(sum.minor, 12);
                joined.put(sum.count.into(), 3);
            }
            joined.put(block.balance.digit(), 1);
        }
        joined.write(Self::FIELD, builder)
    }
}
