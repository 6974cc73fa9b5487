//! Field 60 (kind of transaction, batch, management code, terminal) and field 61 (the original transaction).
//!
//! Acquirers end these fields where they like. The subfields that are present are read, digits after them are kept.

use super::{FieldValue, Joined, MonthDay};
use crate::ids::{BatchNo, Stan};
use crate::iso8583::{Builder, Digits, FieldError, FieldNo, Reason, Value};
use core::fmt;

/// Kind of transaction, field 60.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionKind(pub u8);

impl TransactionKind {
    /// Management and settlement.
    pub const MANAGEMENT: Self = Self(0);
    /// Balance inquiry.
    pub const BALANCE: Self = Self(1);
    /// Pre-authorisation.
    pub const PRE_AUTHORISATION: Self = Self(10);
    /// Void of a pre-authorisation.
    pub const PRE_AUTHORISATION_VOID: Self = Self(11);
    /// Completion, online.
    pub const COMPLETION: Self = Self(20);
    /// Void of a completion.
    pub const COMPLETION_VOID: Self = Self(21);
    /// Purchase.
    pub const PURCHASE: Self = Self(22);
    /// Void of a purchase.
    pub const PURCHASE_VOID: Self = Self(23);
    /// Completion, advice.
    pub const COMPLETION_ADVICE: Self = Self(24);
    /// Refund.
    pub const REFUND: Self = Self(25);
    /// Offline purse records.
    pub const OFFLINE: Self = Self(36);
    /// Purse load from the linked account.
    pub const LOAD_LINKED: Self = Self(40);
    /// Purse load by cash.
    pub const LOAD_CASH: Self = Self(41);
    /// Purse load from another card.
    pub const LOAD_OTHER: Self = Self(42);
    /// Purse unload.
    pub const UNLOAD: Self = Self(51);
}

/// What a management message is about, field 60.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManagementCode(pub u16);

impl ManagementCode {
    /// None (a financial message that goes on to 60.4).
    pub const NONE: Self = Self(0);
    /// Sign in, single-length keys.
    pub const SIGN_IN: Self = Self(1);
    /// Sign out.
    pub const SIGN_OUT: Self = Self(2);
    /// Sign in, double-length keys.
    pub const SIGN_IN_DOUBLE: Self = Self(3);
    /// Sign in, double-length keys and a data key.
    pub const SIGN_IN_DATA: Self = Self(4);
    /// Batch settlement; first of the batch upload.
    pub const SETTLEMENT: Self = Self(201);
    /// End of the batch upload.
    pub const UPLOAD_END: Self = Self(202);
    /// Batch upload of chip transactions.
    pub const UPLOAD_CHIP: Self = Self(203);
    /// Batch upload of other transactions.
    pub const UPLOAD_OTHER: Self = Self(205);
    /// End of the batch upload, totals not balanced.
    pub const UPLOAD_END_UNBALANCED: Self = Self(207);
    /// Offline purse records.
    pub const PURSE_RECORDS: Self = Self(208);
    /// Echo.
    pub const ECHO: Self = Self(301);
    /// Status upload.
    pub const STATUS: Self = Self(362);
    /// Terminal parameters.
    pub const TERMINAL_PARAMETERS: Self = Self(364);
    /// Certification authority keys.
    pub const CAPK: Self = Self(370);
    /// Application parameters.
    pub const AID_PARAMETERS: Self = Self(380);
    /// Deny list.
    pub const DENY_LIST: Self = Self(390);
    /// Contactless parameters.
    pub const CONTACTLESS_PARAMETERS: Self = Self(394);
    /// Script result.
    pub const SCRIPT_RESULT: Self = Self(951);
    /// Issuance: one command or response of a card.
    pub const ISSUANCE: Self = Self(970);
}

/// Digits behind the subfields that are read.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Tail {
    number: u64,
    digits: u8,
}

impl Tail {
    fn read(digits: Digits<'_>) -> Result<Self, Reason> {
        Ok(Self { number: digits.number()?, digits: u8::try_from(digits.len()).unwrap_or(u8::MAX) })
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.digits == 0
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0width$}", self.number, width = usize::from(self.digits))
    }
}

/// Field 60.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    /// 60.1.
    pub kind: TransactionKind,
    /// 60.2.
    pub batch: BatchNo,
    /// 60.3.
    pub code: Option<ManagementCode>,
    /// 60.4: what the terminal reads; 6 = contactless.
    pub reader: Option<u8>,
    /// 60.5 and what follows.
    pub tail: Tail,
}

impl Batch {
    /// Of a financial message: 60.1 and 60.2 alone.
    #[must_use]
    pub const fn financial(kind: TransactionKind, batch: BatchNo) -> Self {
        Self { kind, batch, code: None, reader: None, tail: Tail { number: 0, digits: 0 } }
    }

    /// Of a management message.
    #[must_use]
    pub const fn management(batch: BatchNo, code: ManagementCode) -> Self {
        Self { code: Some(code), ..Self::financial(TransactionKind::MANAGEMENT, batch) }
    }
}

impl FieldValue<'_> for Batch {
    const FIELD: FieldNo = FieldNo(60);

    #[inline]
    fn read(value: &Value<'_>) -> Result<Self, Reason> {
        let digits = value.digits();
        if digits.len() < 8 {
            return Err(Reason::Value("shorter than kind and batch number"));
        }
        let code = (digits.len() >= 11).then(|| digits.part(8, 3).to().map(ManagementCode)).transpose()?;
        let reader = (digits.len() >= 12).then(|| digits.part(11, 1).to()).transpose()?;
        let read = match (code, reader) {
            (None, _) => 8,
            (Some(_), None) => 11,
            (Some(_), Some(_)) => 12,
        };
        Ok(Self {
            kind: TransactionKind(digits.part(0, 2).to()?),
            batch: BatchNo(digits.part(2, 6).to()?),
            code,
            reader,
            tail: Tail::read(digits.part(read, usize::MAX))?,
        })
    }

    #[inline]
    fn write(&self, builder: &mut Builder<'_>) -> Result<(), FieldError> {
        let mut joined = Joined::new();
        joined.put(u64::from(self.kind.0), 2);
        joined.put(u64::from(self.batch.0), 6);
        if let Some(code) = self.code {
            joined.put(u64::from(code.0), 3);
        }
        if let (Some(_), Some(reader)) = (self.code, self.reader) {
            joined.put(u64::from(reader), 1);
        }
        joined.put(self.tail.number, self.tail.digits);
        joined.write(Self::FIELD, builder)
    }
}

/// The transaction that this one is about, field 61.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Original {
    /// Its batch.
    pub batch: BatchNo,
    /// Its trace number.
    pub trace: Stan,
    /// Its date.
    pub date: Option<MonthDay>,
    /// What follows.
    pub tail: Tail,
}

impl Original {
    /// By batch, trace and date.
    #[must_use]
    pub const fn new(batch: BatchNo, trace: Stan, date: Option<MonthDay>) -> Self {
        Self { batch, trace, date, tail: Tail { number: 0, digits: 0 } }
    }
}

impl FieldValue<'_> for Original {
    const FIELD: FieldNo = FieldNo(61);

    #[inline]
    fn read(value: &Value<'_>) -> Result<Self, Reason> {
        let digits = value.digits();
        if digits.len() < 12 {
            return Err(Reason::Value("shorter than batch number and trace number"));
        }
        let dated = digits.len() >= 16;
        let date = dated.then(|| digits.part(12, 4).number().and_then(MonthDay::from_number)).transpose()?;
        Ok(Self {
            batch: BatchNo(digits.part(0, 6).to()?),
            trace: Stan(digits.part(6, 6).to()?),
            date,
            tail: Tail::read(digits.part(if dated { 16 } else { 12 }, usize::MAX))?,
        })
    }

    #[inline]
    fn write(&self, builder: &mut Builder<'_>) -> Result<(), FieldError> {
        let mut joined = Joined::new();
        joined.put(u64::from(self.batch.0), 6);
        joined.put(u64::from(self.trace.0), 6);
        if let Some(date) = self.date {
            joined.put(date.to_number(), 4);
        }
        joined.put(self.tail.number, self.tail.digits);
        joined.write(Self::FIELD, builder)
    }
}
