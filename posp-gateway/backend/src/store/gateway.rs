//! Numbers that several gateways give out at once without asking each other.
//!
//! The number of a transfer, a transaction, an alert or a commit is `gateway 16 | count 48`: the gateway's own number in the upper bits, and below
//! it a count from 1 without gaps. Gateway 0 is the one that has its store for itself; its numbers are the plain counts. So each
//! gateway has one ascending row of each, and one hash chain, and the rows of two never meet.

use super::{AlertNo, CommitNo, Heads};
use crate::accounts::{TransactionSeq, TransferSeq};
use crate::api::RetrievalReference;
use protocol::time::Wall;

/// Bits of the count.
const COUNT_BITS: u32 = 48;
/// The count's part of a number.
const COUNT: u64 = (1 << COUNT_BITS) - 1;
/// What twelve decimal digits hold.
const DECIMAL_END: u64 = 1_000_000_000_000;
/// Digits and letters of a retrieval reference.
const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Number of a gateway on a shared store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayNo(u16);

impl GatewayNo {
    /// The one gateway of a store that is not shared.
    pub const ALONE: Self = Self(0);
    /// The highest: as many as two characters of a retrieval reference name, the first a letter.
    pub const MAX: Self = Self(26 * 36 - 1);

    /// Nobody's: its chain has one link for every restored backup of a shared ledger, which says with which count a gateway begins that the
    /// backup did not know. 63 bits hold its numbers.
    pub const RESTORES: Self = Self(0x7FFF);

    /// `None` beyond [`GatewayNo::MAX`].
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number <= Self::MAX.0 { Some(Self(number)) } else { None }
    }

    /// As a plain number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The gateway that gave this number out.
    #[must_use]
    pub const fn of(number: u64) -> Self {
        // The upper 16 bits of 64.
        Self((number >> COUNT_BITS) as u16)
    }

    /// What stands before this gateway's first number of any kind.
    #[must_use]
    pub const fn base(self) -> u64 {
        (self.0 as u64) << COUNT_BITS
    }

    /// What stands behind this gateway's last number of any kind.
    #[must_use]
    pub const fn base_after(self) -> u64 {
        self.base() | COUNT
    }

    /// This gateway's first number of any kind.
    #[must_use]
    pub const fn first(self) -> u64 {
        self.base() | 1
    }

    /// Where the sequences of this gateway stand before its first commit.
    #[must_use]
    pub const fn heads(self) -> Heads {
        let first = self.first();
        Heads {
            transfer: TransferSeq(first),
            transaction: TransactionSeq(first),
            alert: AlertNo(first),
            link: None,
            at: Wall(i64::MIN),
        }
    }
}

impl CommitNo {
    /// The gateway whose commit it is.
    #[must_use]
    pub const fn gateway(self) -> GatewayNo {
        GatewayNo::of(self.0)
    }
}

impl core::fmt::Display for CommitNo {
    /// The count alone for gateway 0, else `gateway/count`.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (gateway, count) = (self.gateway(), self.0 & COUNT);
        if gateway == GatewayNo::ALONE { write!(f, "{count}") } else { write!(f, "{}/{count}", gateway.0) }
    }
}

/// Field 37 of a transaction: its number, so that it is found without an index. Twelve decimal digits for gateway 0; for the others
/// two characters for the gateway, the first a letter, and ten of the count in base 36.
#[must_use]
pub fn retrieval_reference(seq: TransactionSeq) -> Option<RetrievalReference> {
    let mut out = [b'0'; 12];
    if seq.0 < DECIMAL_END {
        digits(&mut out, seq.0, 10)?;
        return RetrievalReference::from_bytes(out);
    }
    let gateway = GatewayNo::new(GatewayNo::of(seq.0).0)?.0;
    let [first, second, count @ ..] = &mut out;
    *first = *DIGITS.get(usize::from(gateway / 36).saturating_add(10))?;
    *second = *DIGITS.get(usize::from(gateway % 36))?;
    digits(count, seq.0 & COUNT, 36)?;
    RetrievalReference::from_bytes(out)
}

fn digits(out: &mut [u8], mut rest: u64, base: u64) -> Option<()> {
    for slot in out.iter_mut().rev() {
        *slot = *DIGITS.get(usize::try_from(rest.checked_rem(base)?).ok()?)?;
        rest = rest.checked_div(base)?;
    }
    Some(())
}

/// The transaction that a field 37 of ours names; `None` if it is not one of ours.
#[must_use]
pub fn transaction_of(reference: RetrievalReference) -> Option<TransactionSeq> {
    let text = reference.as_str();
    let seq = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()?
    } else {
        let value = |byte: &u8| DIGITS.iter().position(|digit| digit == byte);
        let (gateway, count) = text.as_bytes().split_at_checked(2)?;
        let [first, second] = gateway else { return None };
        let gateway = value(first)?.checked_sub(10)?.checked_mul(36)?.checked_add(value(second)?)?;
        let gateway = GatewayNo::new(u16::try_from(gateway).ok()?)?;
        let mut number = 0u64;
        for byte in count {
            number = number.checked_mul(36)?.checked_add(u64::try_from(value(byte)?).ok()?)?;
        }
        (number <= COUNT && number > 0).then_some(gateway.base() | number)?
    };
    let seq = TransactionSeq(seq);
    // One name for each, or a repeat could hide behind another spelling.
    (seq.0 > 0 && retrieval_reference(seq) == Some(reference)).then_some(seq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reference(gateway: u16, count: u64) -> String {
        let seq = TransactionSeq(GatewayNo::new(gateway).unwrap().base() | count);
        retrieval_reference(seq).unwrap().to_string()
    }

    #[test]
    fn references_are_decimal_for_one_gateway_and_begin_with_a_letter_for_several() {
        assert_eq!(reference(0, 17), "000000000017");
        assert_eq!(reference(0, 999_999_999_999), "999999999999");
        assert_eq!(reference(0, 1_000_000_000_000), "A000CRE66I9S");
        assert_eq!(reference(1, 1), "A10000000001");
        assert_eq!(reference(36, 35), "B0000000000Z");
        assert_eq!(reference(GatewayNo::MAX.number(), COUNT), "ZZ2RRVTHNXTR");
    }

    #[test]
    fn what_is_no_reference_of_ours_names_nothing() {
        for text in [
            "000000000000",
            "A00000000001",
            "A00000000000",
            "1A0000000001",
            "AAZZZZZZZZZZ",
            "a10000000001",
            "A1 000000001",
        ] {
            let reference = RetrievalReference::from_bytes(text.as_bytes().try_into().unwrap()).unwrap();
            assert_eq!(transaction_of(reference), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_number_of_every_gateway_has_a_reference_of_its_own(gateway in 0..=GatewayNo::MAX.0, count in 1..=COUNT) {
            let seq = TransactionSeq(GatewayNo::new(gateway).unwrap().base() | count);
            prop_assert_eq!(transaction_of(retrieval_reference(seq).unwrap()), Some(seq));
        }
    }
}
