//! The consents that left for one online counter of a card (decision 20).
//!
//! A request does not say when the card made it, so a later one at the same counter proves nothing about the ones before: each is a candidate for the
//! one credit that this counter can have, and nobody but the card knows which it was. Every candidate is a transaction that names the one before it
//! as its original, where the chain of commits keeps it; the load's record names the newest.
//!
//! Candidates of one payer share one hold, as large as the largest of them; the newest of them names it. So whichever the card proves, its money is
//! there, and asking again for the same amount needs it once.

use crate::accounts::rules::Books;
use crate::accounts::{AccountId, TransactionSeq, TransferSeq};
use crate::api::LOADS_UNDECIDED_MAX;
use crate::store::{Load, Store, StoreFault, Transaction, TransactionState, Working};
use protocol::ids::{OnlineCounter, TerminalId};
use protocol::iso8583::f58::TransactionRecord;
use protocol::money::{Amount, CardAmount};

/// Most candidates at one counter: those that are undecided, and as many that a person had released before them. Each of them can be proved, so none
/// may fall out of what is read: a request that would be one more is refused.
const CANDIDATES_MAX: usize = 2 * LOADS_UNDECIDED_MAX;

const MISSING: StoreFault = StoreFault::Damaged { what: "a load's transaction is missing" };

/// One consent.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) transaction: Transaction,
    pub(crate) payer: AccountId,
    pub(crate) amount: Amount,
    /// The payer's hold when the consent left. A later candidate of the payer's may have taken its place.
    pub(crate) hold: TransferSeq,
}

impl Candidate {
    fn of(transaction: Transaction) -> Option<Self> {
        let (payer, amount, hold) = (transaction.payer?, transaction.amount?, transaction.transfer?);
        Some(Self { transaction, payer, amount, hold })
    }

    pub(crate) const fn seq(&self) -> TransactionSeq {
        self.transaction.seq
    }

    /// Whether the card has still to say what became of it.
    pub(crate) const fn is_undecided(&self) -> bool {
        matches!(self.transaction.state, TransactionState::Authorised | TransactionState::Disputed)
    }

    /// Whether the same money moves, whichever of the two was credited.
    fn equals(&self, other: &Self) -> bool {
        (self.payer, self.amount) == (other.payer, other.amount)
    }
}

/// What one payer has held for a counter.
pub(crate) struct Held<'a> {
    pub(crate) hold: TransferSeq,
    pub(crate) amount: Amount,
    /// The newest candidate of this payer.
    pub(crate) newest: &'a Candidate,
}

/// The candidates at one counter, the newest first.
#[derive(Clone, Debug)]
pub(crate) struct Candidates {
    pub(crate) load: Load,
    all: Vec<Candidate>,
}

impl Candidates {
    /// Those of a load.
    pub(crate) fn of<S: Store>(working: &mut Working<'_, S>, load: Load) -> Result<Self, StoreFault> {
        Self::read(load, |seq| working.transaction(seq))
    }

    /// The same, wherever transactions are read from.
    pub(crate) fn read(
        load: Load,
        mut transaction: impl FnMut(TransactionSeq) -> Result<Option<Transaction>, StoreFault>,
    ) -> Result<Self, StoreFault> {
        let mut all = Vec::new();
        let mut next = Some(load.transaction);
        while let Some(seq) = next.filter(|_| all.len() < CANDIDATES_MAX) {
            let found = transaction(seq)?.ok_or(MISSING)?;
            next = found.original;
            let lacks = StoreFault::Damaged { what: "a load's transaction lacks its accounts" };
            all.push(Candidate::of(found).ok_or(lacks)?);
        }
        Ok(Self { load, all })
    }

    /// One more that a message names. Before candidates were kept, a request at the same counter released the one before it for good, and
    /// nothing but its own number leads to it.
    pub(crate) fn with_named(mut self, named: Option<&Transaction>) -> Self {
        let ours = |it: &&Transaction| {
            let here = it.load == Some((self.load.card, self.load.counter));
            let ended = it.state == TransactionState::Reversed;
            here && ended && !self.all.iter().any(|known| known.seq() == it.seq)
        };
        let more = named.filter(ours).cloned().and_then(Candidate::of);
        self.all.extend(more);
        self
    }

    pub(crate) fn all(&self) -> &[Candidate] {
        &self.all
    }

    pub(crate) fn undecided(&self) -> impl Iterator<Item = &Candidate> {
        self.all.iter().filter(|it| it.is_undecided())
    }

    /// How many more may join.
    pub(crate) fn room(&self) -> usize {
        let undecided = LOADS_UNDECIDED_MAX.saturating_sub(self.undecided().count());
        undecided.min(CANDIDATES_MAX.saturating_sub(self.all.len()))
    }

    /// The one that was booked.
    pub(crate) fn booked(&self) -> Option<&Candidate> {
        self.all.iter().find(|it| it.transaction.state == TransactionState::Completed)
    }

    /// The newest undecided candidate of every payer.
    fn newest(&self) -> Vec<&Candidate> {
        let mut newest: Vec<&Candidate> = Vec::new();
        for candidate in self.undecided() {
            if newest.iter().all(|known| known.payer != candidate.payer) {
                newest.push(candidate);
            }
        }
        newest
    }

    /// The hold of every payer.
    pub(crate) fn holds(&self) -> Vec<TransferSeq> {
        self.newest().into_iter().map(|newest| newest.hold).collect()
    }

    /// What every payer has held.
    pub(crate) fn held<S: Store>(&self, working: &mut Working<'_, S>) -> Result<Vec<Held<'_>>, StoreFault> {
        let mut held = Vec::new();
        for newest in self.newest() {
            let hold = newest.hold;
            let missing = StoreFault::Damaged { what: "a load's hold is missing" };
            let amount = working.hold(hold)?.ok_or(missing)?.amount;
            held.push(Held { hold, amount, newest });
        }
        Ok(held)
    }

    /// The candidate whose credit a record of its own amount and time proves. One TAC may be that of several; then it is the one of the SAM's terminal,
    /// or else the one that is booked or that the message names, or the newest.
    pub(crate) fn proved_by(
        &self,
        record: &TransactionRecord,
        terminal: Option<TerminalId>,
        named: Option<TransactionSeq>,
    ) -> Option<&Candidate> {
        let fits = |it: &&Candidate| {
            it.amount.minor() == u64::from(record.amount.0) && it.transaction.moment == record.moment
        };
        let rank = |it: &&Candidate| {
            let here = terminal == Some(it.transaction.identity.terminal);
            let booked = it.transaction.state == TransactionState::Completed;
            (!here, !booked, named != Some(it.seq()))
        };
        self.all.iter().filter(fits).min_by_key(rank)
    }

    /// The candidate that was credited, if a request at a higher counter leaves no doubt about the money: all that can have led to the balance it
    /// shows are of one payer and amount. Both are under the card's MAC1. What a person had released counts like the rest: the person knew no better
    /// than the terminal, and a request that came after the release may be older than what was released.
    pub(crate) fn credited(&self, shown: OnlineCounter, balance: CardAmount) -> Option<&Candidate> {
        // Only a load raises a balance, and there was one: what was credited covers what is there.
        let highest = u64::from(self.load.balance_old.0);
        let next = self.load.counter.next() == Some(shown);
        let reaches =
            |it: &&Candidate| !next || highest.saturating_add(it.amount.minor()) >= u64::from(balance.0);
        let possible: Vec<&Candidate> = self.all.iter().filter(reaches).collect();
        // While there are undecided ones, only one of them can be posted: that it was a released one in their place is for its TAC or a person to say.
        let open = self.undecided().next().is_some();
        let mut eligible = possible.iter().copied().filter(|it| !open || it.is_undecided());
        // One that its terminal did not take back, if there is one.
        let kept = eligible.clone().find(|it| it.transaction.state == TransactionState::Authorised);
        kept.or_else(|| eligible.next()).filter(|chosen| possible.iter().all(|it| it.equals(chosen)))
    }

    /// The amounts that the card may have been credited with, each once: none if all that there were are decided.
    pub(crate) fn amounts(&self) -> Vec<Amount> {
        let mut amounts: Vec<Amount> = self.undecided().map(|it| it.amount).collect();
        amounts.sort_unstable_by_key(|amount| amount.minor());
        amounts.dedup();
        amounts
    }
}
