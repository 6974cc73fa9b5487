//! Typed values: what a field means, apart from how it is written. `message.need::<Stan>()?`, `builder.put(&stan)?`.
//!
//! Each type belongs to one field. Reading refuses what the field cannot mean (a 13th month); the raw [`Value`] stays
//! available for what a typed value does not tell.

mod batch;
mod card;
mod settlement;

pub use batch::{Batch, ManagementCode, Original, Tail, TransactionKind};
pub use card::{
    CardData, CardSequence, EncryptedPin, EntryMode, Expiry, PanEntry, PinEntry, PinLength, Track2,
};

pub use settlement::{Balance, SettlementTotals, Sum, Totals};

use super::{Builder, Digits, FieldError, FieldNo, Message, Reason, Value};
use crate::bytes::pack16;
use crate::ids::{MerchantId, Stan, TerminalId};
use crate::money::{Amount, Currency};
use crate::time::CardTime;
use core::fmt;

/// A value that has a field of its own.
pub trait FieldValue<'a>: Sized {
    /// Its field.
    const FIELD: FieldNo;

    /// Reads it.
    ///
    /// # Errors
    /// The field's content means nothing.
    fn read(value: &Value<'a>) -> Result<Self, Reason>;

    /// Appends it to a message.
    ///
    /// # Errors
    /// What the table of the builder's dialect does not allow.
    fn write(&self, builder: &mut Builder<'_>) -> Result<(), FieldError>;
}

/// A value that is a number on the wire.
macro_rules! number_field {
    ($name:ty, $no:literal, |$raw:ident: $int:ty| $read:expr, |$value:ident| $write:expr) => {
        impl FieldValue<'_> for $name {
            const FIELD: FieldNo = FieldNo($no);

            #[inline]
            fn read(value: &Value<'_>) -> Result<Self, Reason> {
                let $raw =
                    <$int>::try_from(value.number()?).map_err(|_| Reason::Value("number is too large"))?;
                $read
            }

            #[inline]
            fn write(&self, builder: &mut Builder<'_>) -> Result<(), FieldError> {
                let $value = self;
                builder.number(Self::FIELD, $write).map(|_| ())
            }
        }
    };
}
pub(crate) use number_field;

/// A value that is text of a fixed length on the wire.
macro_rules! text_field {
    ($name:ident, $no:literal) => {
        impl FieldValue<'_> for $name {
            const FIELD: FieldNo = FieldNo($no);

            #[inline]
            fn read(value: &Value<'_>) -> Result<Self, Reason> {
                Self::from_bytes(value.array()?).ok_or(Reason::NotText)
            }

            #[inline]
            fn write(&self, builder: &mut Builder<'_>) -> Result<(), FieldError> {
                builder.text(Self::FIELD, &self.to_bytes()).map(|_| ())
            }
        }
    };
}

/// A code of fixed length, letters, digits and spaces.
macro_rules! code {
    ($(#[$doc:meta])* $name:ident, $len:literal, $no:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// From its characters: letters, digits and spaces only.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Option<Self> {
                let mut rest: &[u8] = &bytes;
                while let [byte, after @ ..] = rest {
                    if !byte.is_ascii_alphanumeric() && *byte != b' ' {
                        return None;
                    }
                    rest = after;
                }
                Some(Self(bytes))
            }

            /// Its characters.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; $len] {
                self.0
            }

            /// As text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                core::str::from_utf8(&self.0).unwrap_or_default()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.as_str())
            }
        }

        text_field!($name, $no);
    };
}

code! {
    /// Retrieval reference number of the host, field 37.
    RetrievalReference, 12, 37
}
code! {
    /// Authorisation code of the issuer, field 38.
    AuthorisationCode, 6, 38
}
code! {
    /// Response code, field 39; in a reversal its reason.
    ResponseCode, 2, 39
}

impl ResponseCode {
    /// Approved.
    pub const APPROVED: Self = Self(*b"00");
    /// No such merchant.
    pub const NO_MERCHANT: Self = Self(*b"03");
    /// Do not honour.
    pub const DO_NOT_HONOUR: Self = Self(*b"05");
    /// Invalid transaction.
    pub const INVALID: Self = Self(*b"12");
    /// Invalid amount.
    pub const AMOUNT: Self = Self(*b"13");
    /// Invalid card number.
    pub const CARD_NUMBER: Self = Self(*b"14");
    /// Sign in again.
    pub const SIGN_IN: Self = Self(*b"22");
    /// Original transaction not found.
    pub const NOT_FOUND: Self = Self(*b"25");
    /// Format error.
    pub const FORMAT: Self = Self(*b"30");
    /// Lost card.
    pub const LOST: Self = Self(*b"41");
    /// Stolen card.
    pub const STOLEN: Self = Self(*b"43");
    /// Insufficient funds.
    pub const FUNDS: Self = Self(*b"51");
    /// Expired card.
    pub const EXPIRED: Self = Self(*b"54");
    /// Wrong PIN.
    pub const PIN: Self = Self(*b"55");
    /// Not permitted to the cardholder.
    pub const NOT_PERMITTED: Self = Self(*b"57");
    /// Not permitted to the terminal.
    pub const NOT_PERMITTED_TERMINAL: Self = Self(*b"58");
    /// Amount limit exceeded.
    pub const AMOUNT_LIMIT: Self = Self(*b"61");
    /// Restricted card.
    pub const RESTRICTED: Self = Self(*b"62");
    /// Amount differs from the original.
    pub const AMOUNT_MISMATCH: Self = Self(*b"64");
    /// Frequency limit exceeded.
    pub const FREQUENCY: Self = Self(*b"65");
    /// Answer came too late.
    pub const LATE: Self = Self(*b"68");
    /// PIN tries exceeded.
    pub const PIN_TRIES: Self = Self(*b"75");
    /// Batch does not match.
    pub const BATCH: Self = Self(*b"77");
    /// Issuer not available.
    pub const ISSUER_OUT: Self = Self(*b"91");
    /// No route to the issuer.
    pub const NO_ROUTE: Self = Self(*b"92");
    /// Same identity, other content.
    pub const DUPLICATE: Self = Self(*b"94");
    /// Totals differ: upload the batch.
    pub const RECONCILE: Self = Self(*b"95");
    /// System fault.
    pub const SYSTEM: Self = Self(*b"96");
    /// Unknown terminal.
    pub const UNKNOWN_TERMINAL: Self = Self(*b"97");
    /// No answer from the issuer (and the reason of a reversal after a time-out).
    pub const NO_ANSWER: Self = Self(*b"98");
    /// PIN block format error.
    pub const PIN_FORMAT: Self = Self(*b"99");
    /// Wrong MAC.
    pub const MAC: Self = Self(*b"A0");

    /// Whether the host approved.
    #[must_use]
    pub fn is_approved(self) -> bool {
        self == Self::APPROVED
    }
}

text_field!(TerminalId, 41);
text_field!(MerchantId, 42);

/// Processing code, field 3: transaction 2, from account 2, to account 2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessingCode(pub u32);

impl ProcessingCode {
    /// Purchase, completion, offline records.
    pub const PURCHASE: Self = Self(0);
    /// Pre-authorisation.
    pub const PRE_AUTHORISATION: Self = Self(30_000);
    /// Purse unload.
    pub const UNLOAD: Self = Self(170_000);
    /// Void, refund.
    pub const REFUND: Self = Self(200_000);
    /// Balance inquiry.
    pub const BALANCE: Self = Self(310_000);
    /// Purse load from the linked account.
    pub const LOAD_LINKED: Self = Self(600_000);
    /// Purse load from another card.
    pub const LOAD_OTHER: Self = Self(620_000);
    /// Purse load by cash.
    pub const LOAD_CASH: Self = Self(630_000);
}

impl fmt::Debug for ProcessingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProcessingCode({:06})", self.0)
    }
}

number_field!(ProcessingCode, 3, |raw: u32| Ok(Self(raw)), |code| u64::from(code.0));

/// Amount in minor units, field 4. Its currency is field 49: see [`Message::amount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AmountMinor(pub u64);

number_field!(AmountMinor, 4, |raw: u64| Ok(Self(raw)), |amount| amount.0);
number_field!(Stan, 11, |raw: u32| Ok(Self(raw)), |stan| u64::from(stan.0));

impl FieldValue<'_> for Currency {
    const FIELD: FieldNo = FieldNo(49);

    #[inline]
    fn read(value: &Value<'_>) -> Result<Self, Reason> {
        let code = u16::try_from(value.number()?).map_err(|_| Reason::Value("number is too large"))?;
        Self::from_numeric(code).ok_or(Reason::Value("currency is not supported"))
    }

    #[inline]
    fn write(&self, builder: &mut Builder<'_>) -> Result<(), FieldError> {
        builder.number(Self::FIELD, u64::from(self.numeric())).map(|_| ())
    }
}

impl Message<'_> {
    /// Fields 4 and 49 together.
    ///
    /// # Errors
    /// An amount without a currency, or a currency that is not supported.
    pub fn amount(&self) -> Result<Option<Amount>, FieldError> {
        match self.get::<AmountMinor>()? {
            None => Ok(None),
            Some(AmountMinor(minor)) => Ok(Some(Amount::new(minor, self.need()?))),
        }
    }
}

/// A day without a year, `MMDD`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonthDay {
    month: u8,
    day: u8,
}

impl MonthDay {
    /// From month and day. The 29th of February is one: the year is not known.
    #[must_use]
    pub const fn new(month: u8, day: u8) -> Option<Self> {
        let longest = match month {
            2 => 29,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => 0,
        };
        if day == 0 || day > longest { None } else { Some(Self { month, day }) }
    }

    /// 1 to 12.
    #[must_use]
    pub const fn month(self) -> u8 {
        self.month
    }

    /// 1 to 31.
    #[must_use]
    pub const fn day(self) -> u8 {
        self.day
    }

    /// Of a date.
    #[must_use]
    pub const fn of(date: crate::time::CardDate) -> Option<Self> {
        let [_, _, month, day] = date.to_bytes();
        Self::new(unpack(month), unpack(day))
    }

    pub(super) fn from_number(number: u64) -> Result<Self, Reason> {
        let part = |value: u64| u8::try_from(value).ok();
        part(number / 100)
            .zip(part(number % 100))
            .and_then(|(month, day)| Self::new(month, day))
            .ok_or(Reason::Value("not a day of a year"))
    }

    pub(super) fn to_number(self) -> u64 {
        u64::from(self.month).saturating_mul(100).saturating_add(u64::from(self.day))
    }
}

const fn unpack(byte: u8) -> u8 {
    (byte >> 4).wrapping_mul(10).wrapping_add(byte & 0x0F)
}

impl fmt::Display for MonthDay {
    /// `11-22`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}-{:02}", self.month, self.day)
    }
}

impl fmt::Debug for MonthDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Local date of the transaction, field 13.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalDate(pub MonthDay);
number_field!(LocalDate, 13, |raw: u64| MonthDay::from_number(raw).map(Self), |date| date.0.to_number());

/// The day the transaction is settled on, field 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettlementDate(pub MonthDay);
number_field!(SettlementDate, 15, |raw: u64| MonthDay::from_number(raw).map(Self), |date| date.0.to_number());

impl FieldValue<'_> for CardTime {
    const FIELD: FieldNo = FieldNo(12);

    #[inline]
    fn read(value: &Value<'_>) -> Result<Self, Reason> {
        let number = value.number()?;
        let part = |value: u64| u8::try_from(value).unwrap_or(u8::MAX);
        let (hour, minute, second) = (part(number / 10_000), part(number / 100 % 100), part(number % 100));
        Self::new(hour, minute, second).map_err(|_| Reason::Value("not a time of day"))
    }

    #[inline]
    fn write(&self, builder: &mut Builder<'_>) -> Result<(), FieldError> {
        builder.digits(Self::FIELD, Digits::packed(&self.to_bytes(), 6)).map(|_| ())
    }
}

/// Condition of the transaction, field 25.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Condition(pub u8);
number_field!(Condition, 25, |raw: u8| Ok(Self(raw)), |condition| u64::from(condition.0));

impl Condition {
    /// Presented normally.
    pub const NORMAL: Self = Self(0);
    /// Pre-authorisation.
    pub const PRE_AUTHORISATION: Self = Self(6);
    /// Purse load and unload.
    pub const LOAD: Self = Self(91);
}

/// An institution: up to 11 digits, leading zeros kept.
macro_rules! institution {
    ($(#[$doc:meta])* $name:ident, $no:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            number: u64,
            digits: u8,
        }

        impl $name {
            /// From 1 to 11 decimal digits.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                let digits = u8::try_from(text.len()).ok().filter(|len| (1..=11).contains(len))?;
                let number = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())??;
                Some(Self { number, digits })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:0width$}", self.number, width = usize::from(self.digits))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FieldValue<'_> for $name {
            const FIELD: FieldNo = FieldNo($no);

            #[inline]
            fn read(value: &Value<'_>) -> Result<Self, Reason> {
                let digits = u8::try_from(value.units()).unwrap_or(u8::MAX);
                Ok(Self { number: value.number()?, digits })
            }

            #[inline]
            fn write(&self, builder: &mut Builder<'_>) -> Result<(), FieldError> {
                let mut packed = [0; 6];
                let padded = if self.digits.is_multiple_of(2) { self.number } else { self.number.saturating_mul(10) };
                let used = packed.get_mut(..usize::from(self.digits).div_ceil(2)).unwrap_or_default();
                // At most 11 digits, by construction.
                let _ = crate::bytes::bcd_encode(padded, used);
                builder.digits(Self::FIELD, Digits::packed(&packed, u16::from(self.digits))).map(|_| ())
            }
        }
    };
}

institution! {
    /// Acquiring institution, field 32.
    Acquirer, 32
}
institution! {
    /// Forwarding institution, field 33.
    Forwarder, 33
}

/// Security control information, field 53: 16 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SecurityControl(pub u64);
number_field!(SecurityControl, 53, |raw: u64| Ok(Self(raw)), |control| control.0);

/// Content of an opaque or variable field, as it is.
macro_rules! bytes_field {
    ($(#[$doc:meta])* $name:ident, $no:literal, $put:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name<'a>(pub &'a [u8]);

        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} bytes)"), self.0.len())
            }
        }

        impl<'a> FieldValue<'a> for $name<'a> {
            const FIELD: FieldNo = FieldNo($no);

            #[inline]
            fn read(value: &Value<'a>) -> Result<Self, Reason> {
                Ok(Self(value.bytes()))
            }

            #[inline]
            fn write(&self, builder: &mut Builder<'_>) -> Result<(), FieldError> {
                builder.$put(Self::FIELD, self.0).map(|_| ())
            }
        }
    };
}
pub(crate) use bytes_field;

bytes_field! {
    /// Merchant name and place, field 43, in the acquirer's character set.
    MerchantName, 43, text
}
bytes_field! {
    /// Purse records, field 58.
    PurseField, 58, bytes
}
bytes_field! {
    /// Acquirer-specific data, field 59.
    AcquirerData, 59, bytes
}
bytes_field! {
    /// Keys or parameters, field 62.
    KeyField, 62, bytes
}
bytes_field! {
    /// Organisation or operator, field 63.
    Organisation, 63, text
}

/// Joins numbers of given widths to the digits of a field. The longest such field has 93.
struct Joined {
    packed: [u8; 48],
    digits: u16,
    /// A number was too large for its width.
    spilled: bool,
}

impl Joined {
    const fn new() -> Self {
        Self { packed: [0; 48], digits: 0, spilled: false }
    }

    /// Appends a number.
    fn put(&mut self, number: u64, width: u8) {
        let places = u32::from(width.min(16)).wrapping_mul(4);
        let packed = pack16(number).filter(|packed| packed.checked_shr(places).unwrap_or(0) == 0);
        self.spilled |= packed.is_none() || width > 16;
        let packed = packed.unwrap_or(0);
        for place in (0..u32::from(width.min(16))).rev() {
            let digit = u8::try_from((packed >> (place & 15).wrapping_mul(4)) & 0x0F).unwrap_or(0);
            if let Some(slot) = self.packed.get_mut(usize::from(self.digits / 2)) {
                *slot |= if self.digits.is_multiple_of(2) { digit << 4 } else { digit };
            }
            self.digits = self.digits.wrapping_add(1);
        }
    }

    fn write(&self, no: FieldNo, builder: &mut Builder<'_>) -> Result<(), FieldError> {
        if self.spilled {
            return Err(builder.refuse(no, Reason::Value("a number has more digits than its place")));
        }
        builder.digits(no, Digits::packed(&self.packed, self.digits)).map(|_| ())
    }
}
