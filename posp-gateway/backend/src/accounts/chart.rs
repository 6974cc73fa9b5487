//! The chart of accounts: which accounts there are, what their ids say, and the codes of transfers.
//!
//! An id is `code 16 | currency 16 | kind 16 | 0 16 | number 64`, so that ids of one sort are neighbours in a store clustered by
//! id, and a person reads from an id what the account is.

use super::{AccountCode, AccountFlags, AccountId, NewAccount, TransferCode};
use protocol::money::Currency;

/// What an account of the chart is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Book {
    /// Money of a cardholder that loads and online purchases draw on.
    Funding(FundingKind, FundingNumber),
    /// What an issuer's cards hold: the counterpart of the balances on cards.
    PurseFloat(IssuerNumber),
    /// Value that left cards and that no merchant's record claims yet.
    PurseSuspense(IssuerNumber),
    /// What an issuer lost to cloned cards and to late loads without cover.
    IssuerLoss(IssuerNumber),
    /// What is owed to a merchant.
    MerchantPayable(MerchantNumber),
    /// The acquirer's fees.
    AcquirerFee,
    /// The issuer's fees.
    IssuerFee(IssuerNumber),
    /// The network's fees.
    NetworkFee,
    /// Tax on fees.
    Tax,
    /// Money at the bank.
    Settlement,
    /// Money that belongs to nobody yet.
    Escrow,
    /// Corrections that a person booked.
    Adjustment,
}

/// The sort of a funding account; each has limits of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FundingKind {
    /// A bank card's account.
    Bank,
    /// A third party's account.
    ThirdParty,
    /// A phone bill.
    Carrier,
}

impl FundingKind {
    /// As kept in a store.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Bank => 1,
            Self::ThirdParty => 2,
            Self::Carrier => 3,
        }
    }

    /// From a store.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Bank),
            2 => Some(Self::ThirdParty),
            3 => Some(Self::Carrier),
            _ => None,
        }
    }
}

/// Number of a funding account, given by the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FundingNumber(pub u64);

impl FundingNumber {
    /// The number in a funding account's id.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the lowest 64 bits are meant")]
    pub const fn of(id: AccountId) -> Self {
        Self(id.0 as u64)
    }
}

/// Number of an issuer in this backend (its 8-byte id is a property).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerNumber(pub u32);

/// Number of a merchant in this backend (its 15-character id is a property).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MerchantNumber(pub u32);

impl FundingKind {
    /// The kind of the funding account with this id; `None` for any other account.
    #[must_use]
    pub const fn of(id: AccountId) -> Option<Self> {
        let number = Self::number_of(id);
        match (id.0 >> 112, number) {
            (1000, number) => Self::from_number(number),
            _ => None,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lowest 16 bits are meant")]
    const fn number_of(id: AccountId) -> u16 {
        (id.0 >> 80) as u16
    }
}

impl Book {
    /// The row of the chart.
    #[must_use]
    pub const fn code(self) -> AccountCode {
        AccountCode(match self {
            Self::Funding(..) => 1000,
            Self::PurseFloat(_) => 2000,
            Self::PurseSuspense(_) => 2010,
            Self::IssuerLoss(_) => 2020,
            Self::MerchantPayable(_) => 3000,
            Self::AcquirerFee => 4000,
            Self::IssuerFee(_) => 4010,
            Self::NetworkFee => 4020,
            Self::Tax => 4030,
            Self::Settlement => 5000,
            Self::Escrow => 5010,
            Self::Adjustment => 6000,
        })
    }

    /// The account's id in `currency`.
    #[must_use]
    pub const fn id(self, currency: Currency) -> AccountId {
        let (kind, number) = match self {
            Self::Funding(kind, number) => (kind.number(), number.0),
            Self::PurseFloat(issuer)
            | Self::PurseSuspense(issuer)
            | Self::IssuerLoss(issuer)
            | Self::IssuerFee(issuer) => (0, issuer.0 as u64),
            Self::MerchantPayable(merchant) => (0, merchant.0 as u64),
            _ => (0, 0),
        };
        AccountId(
            ((self.code().0 as u128) << 112)
                | ((currency.numeric() as u128) << 96)
                | ((kind as u128) << 80)
                | number as u128,
        )
    }

    /// A cardholder's money may not be overdrawn; no other account of the chart has a limit (and so none a running total).
    #[must_use]
    pub const fn flags(self) -> AccountFlags {
        AccountFlags {
            debits_must_not_exceed_credits: matches!(self, Self::Funding(..)),
            credits_must_not_exceed_debits: false,
            closed: false,
        }
    }

    /// Whether an account is a merchant's.
    #[must_use]
    pub const fn is_payable(id: AccountId) -> bool {
        id.0 >> 112 == Self::MerchantPayable(MerchantNumber(0)).code().0 as u128
    }

    /// The account to create.
    #[must_use]
    pub const fn new_account(self, currency: Currency) -> NewAccount {
        NewAccount { id: self.id(currency), currency, code: self.code(), flags: self.flags() }
    }

    /// The accounts that every currency in use needs once.
    pub const SYSTEM: [Self; 7] = [
        Self::AcquirerFee,
        Self::NetworkFee,
        Self::Tax,
        Self::Settlement,
        Self::Escrow,
        Self::Adjustment,
        Self::IssuerFee(IssuerNumber(0)),
    ];

    /// The accounts that an issuer has in its currency.
    #[must_use]
    pub const fn of_issuer(issuer: IssuerNumber) -> [Self; 3] {
        [Self::PurseFloat(issuer), Self::PurseSuspense(issuer), Self::IssuerLoss(issuer)]
    }
}

/// Why money moves: the codes of [`TransferCode`].
pub mod code {
    use super::TransferCode;

    /// Money paid into a funding account.
    pub const FUND: TransferCode = TransferCode(1);
    /// Online purchase.
    pub const PURCHASE: TransferCode = TransferCode(10);
    /// Void or reversal of a posted purchase.
    pub const PURCHASE_REVERSED: TransferCode = TransferCode(11);
    /// Refund.
    pub const REFUND: TransferCode = TransferCode(12);
    /// Pre-authorisation: held, and posted by its completion.
    pub const PRE_AUTHORISATION: TransferCode = TransferCode(13);
    /// Completion of a pre-authorisation, and what it takes beyond what was held.
    pub const COMPLETION: TransferCode = TransferCode(14);
    /// Void or reversal of a completion.
    pub const COMPLETION_REVERSED: TransferCode = TransferCode(15);
    /// Purse load from the linked account.
    pub const LOAD: TransferCode = TransferCode(20);
    /// Purse load by cash.
    pub const CASH_LOAD: TransferCode = TransferCode(21);
    /// Purse refund.
    pub const PURSE_REFUND: TransferCode = TransferCode(22);
    /// Purse unload.
    pub const UNLOAD: TransferCode = TransferCode(23);
    /// Offline purchase from the purse.
    pub const PURSE_PURCHASE: TransferCode = TransferCode(30);
    /// Offline purchase of a cloned card, borne by the issuer.
    pub const PURSE_FORK: TransferCode = TransferCode(31);
    /// Uncertain debit, resolved by the card's chain.
    pub const UNCERTAIN_RESOLVED: TransferCode = TransferCode(32);
    /// A load credited on a card whose hold had been released.
    pub const LATE_LOAD: TransferCode = TransferCode(33);
    /// An uncertain debit that policy had paid, taken off the float again: another record proved the counter its own.
    pub const UNCERTAIN_OVERTAKEN: TransferCode = TransferCode(34);
    /// Clearing.
    pub const CLEARING: TransferCode = TransferCode(40);
    /// A correction that a person booked.
    pub const ADJUSTMENT: TransferCode = TransferCode(50);
}
