//! What stands: the state, the accounts and the refunds of every payment against the money that moved for it, from what the chain is over.
//!
//! A transaction's row says how it stands, who pays whom and how much of it was refunded. That part of the row changes, or is not hashed; transfers, and
//! the kinds, codes, amounts and originals of messages, are. So of every completion, refund, void and reversal of what had moved, the money is added up for
//! the payment it belongs to. A plain purchase has its hold and nothing of this, and costs no memory.

use super::pages::Resolved;
use crate::accounts::chart::code;
use crate::accounts::{HoldState, TransactionSeq, Transfer, TransferKind};
use crate::store::{Transaction, TransactionKind as Kind, TransactionState as State};
use protocol::money::Amount;
use std::collections::HashMap;

/// Most payments whose flows are remembered at a time. Of more, each pass over the rows remembers a part.
const FLOWS_MAX: usize = 1 << 20;

/// What moved for a payment besides its own hold, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flow {
    /// By a completion, to the merchant.
    taken: u64,
    /// Back to the payer, by a transfer of its own.
    back: u64,
    /// Back to the payer, by approved voids.
    undone: u64,
    /// Back to the payer, by approved refunds.
    refunded: u64,
    /// Approved voids of it.
    voids: u32,
}

/// The flows of payments, or of a part of them: of those whose number leaves the rest `part` when it is divided by `parts`.
pub(super) struct Flows {
    of: HashMap<TransactionSeq, Flow>,
    parts: u64,
    part: u64,
    max: usize,
}

impl Default for Flows {
    fn default() -> Self {
        Self { of: HashMap::new(), parts: 1, part: 0, max: FLOWS_MAX }
    }
}

impl Flows {
    /// Of another part than the first, for which the rows are gone through once more.
    pub(super) fn part(parts: u64, part: u64) -> Self {
        Self { parts, part, ..Self::default() }
    }

    /// How many parts there are: more than one, if there was too much to remember at once.
    pub(super) const fn parts(&self) -> u64 {
        self.parts
    }

    fn is_here(&self, seq: TransactionSeq) -> bool {
        seq.0.checked_rem(self.parts) == Some(self.part)
    }

    fn at(&mut self, seq: TransactionSeq) -> Option<&mut Flow> {
        if self.part == 0 && self.of.len() >= self.max && !self.of.contains_key(&seq) {
            self.parts = self.parts.saturating_mul(2);
            let parts = self.parts;
            self.of.retain(|seq, _| seq.0.checked_rem(parts) == Some(0));
        }
        if !self.is_here(seq) {
            return None;
        }
        Some(self.of.entry(seq).or_default())
    }

    /// A transfer moved.
    pub(super) fn moved(&mut self, transfer: &Transfer) {
        let Some(seq) = transfer.transaction else { return };
        let posts = matches!(transfer.kind, TransferKind::Posted | TransferKind::Post { .. });
        let back =
            matches!(transfer.code, code::PURCHASE_REVERSED | code::COMPLETION_REVERSED | code::REFUND);
        if !posts || !(back || transfer.code == code::COMPLETION) {
            return;
        }
        let Some(flow) = self.at(seq) else { return };
        let sum = if back { &mut flow.back } else { &mut flow.taken };
        *sum = sum.saturating_add(transfer.amount.minor());
    }

    /// A message was decided.
    pub(super) fn decided(&mut self, transaction: &Transaction) {
        let Some(original) = transaction.original.filter(|_| transaction.code.is_approved()) else { return };
        let kind = transaction.kind;
        if !matches!(kind, Kind::Refund | Kind::CompletionVoid | Kind::Void | Kind::PreAuthorisationVoid) {
            return;
        }
        let minor = minor_of(transaction);
        let Some(flow) = self.at(original) else { return };
        match kind {
            Kind::Refund => flow.refunded = flow.refunded.saturating_add(minor),
            _ => flow.voids = flow.voids.saturating_add(1),
        }
        if kind == Kind::CompletionVoid {
            flow.undone = flow.undone.saturating_add(minor);
        }
    }

    /// Whether a transaction stands as its transfers say. Those of other parts are left to other passes.
    pub(super) fn agree(&self, transaction: &Transaction, resolved: &Resolved) -> bool {
        if !self.is_here(transaction.seq) {
            return true;
        }
        let flow = self.of.get(&transaction.seq).copied().unwrap_or_default();
        let posted = |hold| resolved.get(hold) == HoldState::Posted;
        let minor = minor_of(transaction);
        match transaction.kind {
            Kind::Purchase => {
                let taken = if transaction.transfer.is_some_and(posted) { minor } else { 0 };
                flow.taken == 0 && stands(transaction, &Flow { taken, ..flow })
            }
            Kind::Completion | Kind::CompletionAdvice => stands(transaction, &flow),
            // Its own money is its completion's.
            Kind::PreAuthorisation => {
                (flow.taken, flow.back, flow.refunded) == (0, 0, 0)
                    && (transaction.state != State::Voided || flow.voids > 0)
            }
            Kind::Refund | Kind::CompletionVoid => {
                let owed = if transaction.code.is_approved() { minor } else { 0 };
                (flow.taken, flow.back, flow.refunded) == (0, owed, 0)
            }
            _ => true,
        }
    }
}

fn minor_of(transaction: &Transaction) -> u64 {
    transaction.amount.map_or(0, Amount::minor)
}

/// Whether a payment's state is what its money says.
fn stands(payment: &Transaction, flow: &Flow) -> bool {
    let (minor, refunded) = (minor_of(payment), payment.refunded);
    let returned = flow.back.saturating_add(flow.undone);
    let whole = flow.taken == minor.saturating_add(returned);
    refunded == flow.refunded
        && match payment.state {
            State::Declined => (flow.taken, returned, refunded) == (0, 0, 0),
            State::Authorised => (returned, refunded) == (0, 0),
            State::Voided => flow.taken == returned && refunded == 0 && flow.voids > 0,
            State::Reversed => flow.taken == returned.saturating_add(refunded),
            State::Completed | State::Cleared | State::Settled => whole && refunded == 0,
            State::PartlyRefunded => whole && refunded > 0 && refunded < minor,
            State::Refunded => whole && refunded == minor,
            State::Received | State::Disputed | State::Expired => false,
        }
}

/// Whether who pays whom, in a transaction's row, is who paid whom by the transfer that the row names; and whether it is a transfer of its own.
pub(super) fn accounts_agree(transaction: &Transaction, transfer: Option<&Transfer>) -> bool {
    let Transaction { kind, payer, payee, .. } = transaction;
    let is_load = matches!(kind, Kind::Load | Kind::MerchantLoad);
    let (debit, credit) = match kind {
        Kind::Refund | Kind::CompletionVoid => (payee, payer),
        Kind::Purchase
        | Kind::Void
        | Kind::PreAuthorisation
        | Kind::PreAuthorisationVoid
        | Kind::Completion
        | Kind::CompletionAdvice
        | Kind::Load
        | Kind::MerchantLoad => (payer, payee),
        _ => return transaction.transfer.is_none(),
    };
    let Some(transfer) = transfer else {
        return transaction.transfer.is_none() && (is_load || !transaction.code.is_approved());
    };
    let parties = (*debit, *credit) == (Some(transfer.debit), Some(transfer.credit));
    // Loads of one counter may share what is held for them.
    let own = is_load || transfer.transaction == Some(transaction.seq);
    let fits = match kind {
        Kind::Purchase | Kind::PreAuthorisation => matches!(transfer.kind, TransferKind::Pending { .. }),
        Kind::Refund | Kind::CompletionVoid => transfer.kind == TransferKind::Posted,
        // What is voided or completed may be another amount than what was held.
        _ => return parties && own,
    };
    parties && own && fits && transaction.amount == Some(transfer.amount)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{AccountId, Reference, TransferSeq};
    use protocol::money::Currency;
    use protocol::time::Wall;

    fn back(transaction: u64, minor: u64) -> Transfer {
        Transfer {
            seq: TransferSeq(transaction),
            reference: Reference(0),
            debit: AccountId(1),
            credit: AccountId(2),
            amount: Amount::new(minor, Currency::CNY),
            code: code::REFUND,
            kind: TransferKind::Posted,
            transaction: Some(TransactionSeq(transaction)),
            at: Wall(0),
        }
    }

    #[test]
    fn what_is_too_much_to_remember_is_gone_through_in_parts_and_each_payment_is_in_one() {
        let mut first = Flows { max: 3, ..Flows::default() };
        let all: Vec<_> = (1..=20).chain(5..=9).map(|n| back(n, n)).collect();
        all.iter().for_each(|transfer| first.moved(transfer));
        let parts = first.parts();
        assert!(parts > 1 && first.of.len() <= 3, "{parts}");
        let mut flows = vec![first];
        for part in 1..parts {
            let mut flow = Flows::part(parts, part);
            all.iter().for_each(|transfer| flow.moved(transfer));
            flows.push(flow);
        }
        for n in 1..=20 {
            let found: Vec<_> = flows
                .iter()
                .filter_map(|part| part.of.get(&TransactionSeq(n)))
                .map(|flow| flow.back)
                .collect();
            let sum = if (5..=9).contains(&n) { 2 * n } else { n };
            assert_eq!(found, [sum], "{n}");
        }
    }
}
