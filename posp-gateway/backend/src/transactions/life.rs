//! The life of a transaction (`backend.md` section 2) as one table: which event leads from which state to which.
//!
//! ```text
//! received ──► declined
//!     ├──────► authorised ──► completed ──► cleared ──► settled
//!     ├──────► completed          │            └──┬────────┘
//!     └──────► reversed           │               ▼
//!                                 ▼        partly refunded ──► refunded
//!              voided · reversed · expired · disputed
//! ```
//!
//! Nothing else changes a state: every rule asks `next` before it moves money, and stores what `moved` gives it. What the table does not name
//! is refused, so that a rule which forgets a check can decline wrongly, but never move money twice. What an event asks of a *kind* (only a
//! load is disputed, only a completion of an open batch is voided) is the rule's to check.

use crate::store::Transaction;

/// How a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionState {
    /// It has arrived and nothing is decided. Never stored: a message is kept with its decision.
    Received,
    /// Refused; no money moved.
    Declined,
    /// Money is held.
    Authorised,
    /// Money has moved, or the message had none to move.
    Completed,
    /// Its batch is closed: it goes into clearing as it is.
    Cleared,
    /// Reversed by the terminal.
    Reversed,
    /// Voided by the merchant.
    Voided,
    /// Part of it was refunded.
    PartlyRefunded,
    /// All of it was refunded.
    Refunded,
    /// A load that was reversed after the issuer's consent had left: the card decides.
    Disputed,
    /// Paid out to the merchant.
    Settled,
    /// A pre-authorisation whose time was up: the money is free again.
    Expired,
}

/// What happens to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// It was refused.
    Decline,
    /// It was approved, and its money is held.
    Authorise,
    /// It was approved and nothing is left to happen; or what was held moved.
    Complete,
    /// Its batch closed, and what was held for it moved with that.
    Capture,
    /// Its batch closed, and its money had moved before.
    Clear,
    /// The merchant was paid. What was refunded since stays told.
    Settle,
    /// The merchant took it back before its batch closed.
    Void,
    /// The taking back was itself reversed, or its completion was taken back: the money is held again.
    Reinstate,
    /// The taking back of a completion was itself reversed: the money has moved again. Of an expired pre-authorisation: so did its completion's.
    Redo,
    /// Its completion was taken back, and it cannot be held again: its time is up, or the payer's money does not cover it any more.
    Lapse,
    /// The time of its hold is up.
    Expire,
    /// The terminal reversed it, or the card showed that it never happened.
    Reverse,
    /// Some of it was paid back.
    RefundPart,
    /// The rest of it was paid back.
    RefundRest,
    /// The terminal reversed it when only the card could still tell.
    Dispute,
    /// The card proved it after it had been taken for reversed.
    Prove,
}

impl TransactionState {
    /// Every state.
    pub const ALL: [Self; 12] = [
        Self::Received,
        Self::Declined,
        Self::Authorised,
        Self::Completed,
        Self::Cleared,
        Self::Reversed,
        Self::Voided,
        Self::PartlyRefunded,
        Self::Refunded,
        Self::Disputed,
        Self::Settled,
        Self::Expired,
    ];

    /// As kept in a store.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Received => 0,
            Self::Declined => 1,
            Self::Authorised => 2,
            Self::Completed => 3,
            Self::Cleared => 4,
            Self::Reversed => 5,
            Self::Voided => 6,
            Self::PartlyRefunded => 7,
            Self::Refunded => 8,
            Self::Disputed => 9,
            Self::Settled => 10,
            Self::Expired => 11,
        }
    }

    /// From a store, where nothing is merely received.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Declined),
            2 => Some(Self::Authorised),
            3 => Some(Self::Completed),
            4 => Some(Self::Cleared),
            5 => Some(Self::Reversed),
            6 => Some(Self::Voided),
            7 => Some(Self::PartlyRefunded),
            8 => Some(Self::Refunded),
            9 => Some(Self::Disputed),
            10 => Some(Self::Settled),
            11 => Some(Self::Expired),
            _ => None,
        }
    }
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 16] = [
        Self::Decline,
        Self::Authorise,
        Self::Complete,
        Self::Capture,
        Self::Clear,
        Self::Settle,
        Self::Void,
        Self::Reinstate,
        Self::Redo,
        Self::Lapse,
        Self::Expire,
        Self::Reverse,
        Self::RefundPart,
        Self::RefundRest,
        Self::Dispute,
        Self::Prove,
    ];
}

/// The state that `event` leads to; `None` if it cannot happen in `state`.
#[must_use]
pub const fn next(state: TransactionState, event: Event) -> Option<TransactionState> {
    use Event as E;
    use TransactionState as S;
    Some(match (state, event) {
        (S::Received, E::Decline) => S::Declined,
        (S::Received, E::Authorise) => S::Authorised,
        (S::Received | S::Authorised | S::Disputed, E::Complete) => S::Completed,
        (S::Authorised, E::Capture) | (S::Completed, E::Clear) => S::Cleared,
        (S::Cleared, E::Settle) => S::Settled,
        (S::PartlyRefunded, E::Settle) => S::PartlyRefunded,
        (S::Refunded, E::Settle) => S::Refunded,
        (S::Authorised | S::Completed, E::Void) => S::Voided,
        (S::Voided | S::Completed, E::Reinstate) => S::Authorised,
        (S::Voided | S::Expired, E::Redo) => S::Completed,
        (S::Completed, E::Lapse) | (S::Authorised, E::Expire) => S::Expired,
        // Before its original: what is left is the reversal's own mark.
        (S::Received, E::Reverse) => S::Reversed,
        (S::Authorised | S::Completed | S::Cleared | S::Settled, E::Reverse) => S::Reversed,
        (S::PartlyRefunded | S::Disputed, E::Reverse) => S::Reversed,
        // No money is left to move, and none ever will: a reversal is final, whatever becomes of the void.
        (S::Voided | S::Expired, E::Reverse) => S::Reversed,
        (S::Cleared | S::Settled | S::PartlyRefunded, E::RefundPart) => S::PartlyRefunded,
        (S::Cleared | S::Settled | S::PartlyRefunded, E::RefundRest) => S::Refunded,
        (S::Authorised, E::Dispute) => S::Disputed,
        (S::Reversed, E::Prove) => S::Completed,
        _ => return None,
    })
}

/// The transaction after `event`; `None` if it cannot happen to it.
#[must_use]
pub(crate) fn moved(transaction: &Transaction, event: Event) -> Option<Transaction> {
    let state = next(transaction.state, event)?;
    Some(Transaction { state, ..transaction.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Event as E;
    use TransactionState as S;
    use std::path::Path;

    /// Every arrow there is, written out: what is not here is refused.
    const ARROWS: [(S, E, S); 35] = [
        (S::Received, E::Decline, S::Declined),
        (S::Received, E::Authorise, S::Authorised),
        (S::Received, E::Complete, S::Completed),
        (S::Received, E::Reverse, S::Reversed),
        (S::Authorised, E::Complete, S::Completed),
        (S::Authorised, E::Capture, S::Cleared),
        (S::Authorised, E::Void, S::Voided),
        (S::Authorised, E::Expire, S::Expired),
        (S::Authorised, E::Reverse, S::Reversed),
        (S::Authorised, E::Dispute, S::Disputed),
        (S::Completed, E::Clear, S::Cleared),
        (S::Completed, E::Void, S::Voided),
        (S::Completed, E::Reinstate, S::Authorised),
        (S::Completed, E::Lapse, S::Expired),
        (S::Completed, E::Reverse, S::Reversed),
        (S::Cleared, E::Settle, S::Settled),
        (S::Cleared, E::Reverse, S::Reversed),
        (S::Cleared, E::RefundPart, S::PartlyRefunded),
        (S::Cleared, E::RefundRest, S::Refunded),
        (S::Settled, E::Reverse, S::Reversed),
        (S::Settled, E::RefundPart, S::PartlyRefunded),
        (S::Settled, E::RefundRest, S::Refunded),
        (S::PartlyRefunded, E::Settle, S::PartlyRefunded),
        (S::PartlyRefunded, E::Reverse, S::Reversed),
        (S::PartlyRefunded, E::RefundPart, S::PartlyRefunded),
        (S::PartlyRefunded, E::RefundRest, S::Refunded),
        (S::Refunded, E::Settle, S::Refunded),
        (S::Voided, E::Reinstate, S::Authorised),
        (S::Voided, E::Redo, S::Completed),
        (S::Voided, E::Reverse, S::Reversed),
        (S::Expired, E::Redo, S::Completed),
        (S::Expired, E::Reverse, S::Reversed),
        (S::Disputed, E::Complete, S::Completed),
        (S::Disputed, E::Reverse, S::Reversed),
        (S::Reversed, E::Prove, S::Completed),
    ];

    #[test]
    fn every_arrow_is_the_one_that_is_written_down_and_every_other_pair_is_refused() {
        let mut arrows = 0;
        for state in S::ALL {
            for event in E::ALL {
                let written = ARROWS.iter().find(|(from, what, _)| (*from, *what) == (state, event));
                assert_eq!(next(state, event), written.map(|(_, _, to)| *to), "{state:?} {event:?}");
                arrows += usize::from(written.is_some());
            }
        }
        assert_eq!(arrows, ARROWS.len(), "no arrow is written twice");
    }

    #[test]
    fn what_was_refused_voided_refunded_or_has_expired_never_moves_money_again() {
        let moves = [E::Authorise, E::Complete, E::Capture, E::Void, E::RefundPart, E::RefundRest];
        for state in [S::Declined, S::Refunded, S::Expired] {
            assert!(moves.iter().all(|event| next(state, *event).is_none()), "{state:?}");
        }
        assert!([S::Declined, S::Refunded].iter().all(|state| next(*state, E::Reverse).is_none()));
        for event in [E::Capture, E::RefundPart, E::RefundRest, E::Void, E::Complete] {
            assert_eq!(next(S::Voided, event), None, "{event:?}");
        }
        // Only a card's proof of a load moves what was reversed.
        for event in E::ALL.into_iter().filter(|event| *event != E::Prove) {
            assert_eq!(next(S::Reversed, event), None, "{event:?}");
        }
    }

    #[test]
    fn states_are_kept_under_numbers_of_their_own_and_received_is_never_kept() {
        for state in S::ALL.into_iter().filter(|state| *state != S::Received) {
            assert_eq!(S::from_number(state.number()), Some(state));
        }
        assert_eq!(S::from_number(S::Received.number()), None);
        assert_eq!(S::from_number(12), None);
    }

    /// The sources of the backend, tests apart.
    fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "suite" {
                sources(&path, found);
            } else if name.ends_with(".rs") && !name.starts_with("tests") {
                found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }

    #[test]
    fn nobody_else_sets_a_state() {
        let mut found = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        assert!(found.len() > 20);
        for (path, text) in found {
            if path.ends_with("life.rs") {
                continue;
            }
            for (number, line) in text.lines().enumerate() {
                let sets = ["state: TransactionState::", "state = TransactionState::", "Transaction { state"];
                let reads = line.contains("from_number");
                assert!(reads || sets.iter().all(|set| !line.contains(set)), "{path}:{}: {line}", number + 1);
            }
        }
    }
}
