//! Money: integer minor units with a currency, added with checks. There are no floats near money.
//!
//! Two types, on purpose: [`Amount`] is money anywhere in the system; [`CardAmount`] is the 4-byte field of the purse's
//! commands, whose currency is fixed by issuer and key version (`purse.md`) and is not on the wire.

use core::fmt;

/// A currency by its ISO 4217 numeric code, with what is needed to print an amount of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(u16);

impl Currency {
    /// Chinese yuan, 2 decimals.
    pub const CNY: Self = Self(156);
    /// Euro, 2 decimals.
    pub const EUR: Self = Self(978);
    /// Japanese yen, no decimals.
    pub const JPY: Self = Self(392);
    /// United States dollar, 2 decimals.
    pub const USD: Self = Self(840);

    /// Alphabetic code, numeric code, digits after the point (ISO 4217, active codes we know how to print).
    const TABLE: &[(&str, u16, u8)] = &[
        ("AUD", 36, 2),
        ("CAD", 124, 2),
        ("CHF", 756, 2),
        ("CNY", 156, 2),
        ("EUR", 978, 2),
        ("GBP", 826, 2),
        ("HKD", 344, 2),
        ("JPY", 392, 0),
        ("KRW", 410, 0),
        ("KWD", 414, 3),
        ("MOP", 446, 2),
        ("SGD", 702, 2),
        ("TWD", 901, 2),
        ("USD", 840, 2),
    ];

    /// The currency with this numeric code, if it is one we can print.
    #[must_use]
    pub fn from_numeric(code: u16) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.1 == code).map(|row| Self(row.1))
    }

    /// The currency with this alphabetic code (`"CNY"`), if it is one we can print.
    #[must_use]
    pub fn from_alpha(code: &str) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.0 == code).map(|row| Self(row.1))
    }

    /// ISO 4217 numeric code.
    #[must_use]
    pub const fn numeric(self) -> u16 {
        self.0
    }

    /// ISO 4217 alphabetic code.
    #[must_use]
    pub fn alpha(self) -> &'static str {
        Self::TABLE.iter().find(|row| row.1 == self.0).map_or("XXX", |row| row.0)
    }

    /// Digits after the decimal point.
    #[must_use]
    pub fn exponent(self) -> u8 {
        Self::TABLE.iter().find(|row| row.1 == self.0).map_or(0, |row| row.2)
    }

    /// The numeric code as the 2 BCD bytes of EMV tag 5F2A and of purse evidence (`0156` for CNY).
    #[must_use]
    pub fn bcd(self) -> [u8; 2] {
        let mut out = [0; 2];
        // A numeric code has at most 3 digits, so 2 bytes always hold it.
        let _ = crate::bytes::bcd_encode(u64::from(self.0), &mut out);
        out
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.alpha())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.alpha())
    }
}

/// Why an amount could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result does not fit.
    #[error("amount is too large")]
    Overflow,
    /// The result would be below zero.
    #[error("amount would be negative")]
    Negative,
    /// Two currencies met.
    #[error("cannot combine {0} with {1}")]
    CurrencyMismatch(Currency, Currency),
    /// The text is not an amount of this currency.
    #[error("not an amount: write digits, and a point before at most {0} decimals (for example 12.50)")]
    Unreadable(u8),
}

/// A non-negative sum of money in minor units of its currency.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amount {
    minor: u64,
    currency: Currency,
}

impl Amount {
    /// `minor` units (cents, fen) of `currency`.
    #[must_use]
    pub const fn new(minor: u64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Minor units.
    #[must_use]
    pub const fn minor(self) -> u64 {
        self.minor
    }

    /// The currency.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// `self + other`.
    ///
    /// # Errors
    /// Another currency, or a sum that does not fit.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        let minor = self.minor.checked_add(other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    /// `self - other`.
    ///
    /// # Errors
    /// Another currency, or a result below zero.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        let minor = self.minor.checked_sub(other.minor).ok_or(MoneyError::Negative)?;
        Ok(Self { minor, ..self })
    }

    fn same_currency(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(MoneyError::CurrencyMismatch(self.currency, other.currency))
        }
    }

    /// Reads what a person typed: `12.50`, `12.5`, `12`; no sign, no separators, no more decimals than the currency has.
    ///
    /// # Errors
    /// Anything else, or an amount that does not fit.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let exponent = currency.exponent();
        let unreadable = MoneyError::Unreadable(exponent);
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(unreadable),
            Some((whole, fraction)) => (whole, fraction),
            None => (text, ""),
        };
        if whole.is_empty() || fraction.len() > usize::from(exponent) {
            return Err(unreadable);
        }
        let padding = usize::from(exponent).saturating_sub(fraction.len());
        let zeros = core::iter::repeat_n(b'0', padding);
        let mut minor: u64 = 0;
        for digit in whole.bytes().chain(fraction.bytes()).chain(zeros) {
            if !digit.is_ascii_digit() {
                return Err(unreadable);
            }
            let digit = u64::from(digit.wrapping_sub(b'0'));
            minor = minor.checked_mul(10).and_then(|m| m.checked_add(digit)).ok_or(MoneyError::Overflow)?;
        }
        Ok(Self { minor, currency })
    }

    /// The amount without its currency, in the currency's own number of decimals: `12.50`.
    #[must_use]
    pub fn number(self) -> impl fmt::Display {
        Number(self)
    }
}

struct Number(Amount);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exponent = self.0.currency.exponent();
        let unit = 10u64.pow(u32::from(exponent));
        let minor = self.0.minor;
        let whole = minor.checked_div(unit).unwrap_or(minor);
        let rest = minor.checked_rem(unit).unwrap_or(0);
        if exponent == 0 {
            write!(f, "{whole}")
        } else {
            write!(f, "{whole}.{rest:0width$}", width = usize::from(exponent))
        }
    }
}

impl fmt::Display for Amount {
    /// `12.50 CNY`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Number(*self), self.currency)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The amount field of the purse's commands: 4 bytes, minor units, the currency fixed by issuer and key version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardAmount(pub u32);

impl CardAmount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From its 4 bytes on the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }

    /// Its 4 bytes on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    /// `self + other`, if it fits.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// `self - other`, if it is not below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// With its currency.
    #[must_use]
    pub fn in_currency(self, currency: Currency) -> Amount {
        Amount::new(u64::from(self.0), currency)
    }
}

impl TryFrom<Amount> for CardAmount {
    type Error = MoneyError;

    /// # Errors
    /// More than 4 bytes hold.
    fn try_from(amount: Amount) -> Result<Self, MoneyError> {
        u32::try_from(amount.minor).map(Self).map_err(|_| MoneyError::Overflow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn amounts_are_read_and_printed_in_the_currencys_own_decimals() {
        let cases = [
            ("12.50", Currency::CNY, 1250, "12.50 CNY"),
            ("12.5", Currency::CNY, 1250, "12.50 CNY"),
            ("0.01", Currency::EUR, 1, "0.01 EUR"),
            ("12", Currency::JPY, 12, "12 JPY"),
            ("42949672.95", Currency::CNY, 4_294_967_295, "42949672.95 CNY"),
        ];
        for (text, currency, minor, printed) in cases {
            let amount = Amount::parse(text, currency).unwrap();
            assert_eq!(amount.minor(), minor, "{text}");
            assert_eq!(amount.to_string(), printed);
        }
    }

    #[test]
    fn what_is_not_an_amount_is_refused() {
        for text in ["", ".", ".5", "1.", "1.234", "-1", "+1", "1,5", "1 ", "１", "1e3", "0x10", "1.2.3"] {
            assert_eq!(Amount::parse(text, Currency::CNY), Err(MoneyError::Unreadable(2)), "{text:?}");
        }
        assert_eq!(Amount::parse("1.5", Currency::JPY), Err(MoneyError::Unreadable(0)));
        assert_eq!(Amount::parse("99999999999999999999", Currency::CNY), Err(MoneyError::Overflow));
    }

    #[test]
    fn currencies_do_not_mix_and_sums_are_checked() {
        let cny = Amount::new(1, Currency::CNY);
        let eur = Amount::new(1, Currency::EUR);
        assert_eq!(cny.checked_add(eur), Err(MoneyError::CurrencyMismatch(Currency::CNY, Currency::EUR)));
        assert_eq!(cny.checked_sub(Amount::new(2, Currency::CNY)), Err(MoneyError::Negative));
        assert_eq!(Amount::new(u64::MAX, Currency::CNY).checked_add(cny), Err(MoneyError::Overflow));
        assert_eq!(CardAmount::try_from(Amount::new(1 << 32, Currency::CNY)), Err(MoneyError::Overflow));
    }

    #[test]
    fn the_numeric_code_is_packed_as_bcd() {
        assert_eq!(Currency::CNY.bcd(), [0x01, 0x56]);
        assert_eq!(Currency::from_alpha("EUR"), Currency::from_numeric(978));
        assert_eq!(Currency::from_numeric(999), None);
    }
}
