//! What makes a transfer right or wrong. Pure decisions over [`Books`]: no store, no clock.
//!
//! Every check comes before the first change, so that a refused transfer leaves nothing behind; a chain is undone by the caller's
//! [`Books::rollback`].

use super::{
    AMOUNT_MAX, Account, AccountId, AccountRejection, Hold, HoldState, NewAccount, NewTransfer, Order,
    Totals, Transfer, TransferKind, TransferRejection, TransferSeq,
};
use crate::store::StoreFault;
use protocol::money::Amount;
use protocol::time::Wall;

/// What the rules read and write: the state before a batch with the batch's own changes on top.
pub trait Books {
    /// A point to come back to.
    type Mark: Copy;

    /// An account as it stands.
    ///
    /// # Errors
    /// The store failed.
    fn account(&mut self, id: AccountId) -> Result<Option<Account>, StoreFault>;
    /// Creates or replaces an account.
    fn put_account(&mut self, account: Account);
    /// A hold as it stands.
    ///
    /// # Errors
    /// The store failed.
    fn hold(&mut self, seq: TransferSeq) -> Result<Option<Hold>, StoreFault>;
    /// Creates or replaces a hold.
    fn put_hold(&mut self, hold: Hold);
    /// Open holds whose time is up at `now`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The store failed.
    fn due_holds(&mut self, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault>;
    /// The number that the next transfer gets.
    fn next_transfer(&self) -> TransferSeq;
    /// Appends the transfer with number [`Books::next_transfer`].
    fn append(&mut self, transfer: Transfer);
    /// Remembers this point.
    fn mark(&self) -> Self::Mark;
    /// Undoes everything since `mark`.
    fn rollback(&mut self, mark: Self::Mark);
}

/// Why a transfer did not happen: refused, or nobody can tell because the store failed.
#[derive(Debug)]
pub enum Halt {
    /// Refused.
    Rejected(TransferRejection),
    /// The store failed; the whole batch is off.
    Fault(StoreFault),
}

impl From<TransferRejection> for Halt {
    fn from(rejection: TransferRejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<StoreFault> for Halt {
    fn from(fault: StoreFault) -> Self {
        Self::Fault(fault)
    }
}

/// Result of one item of a batch.
pub type Verdict<T, R> = Result<T, R>;

/// Creates one account.
///
/// # Errors
/// The store failed; a refusal is inside.
pub fn create_account<B: Books>(
    books: &mut B,
    new: &NewAccount,
    now: Wall,
) -> Result<Verdict<AccountId, AccountRejection>, StoreFault> {
    if new.id == AccountId(0) {
        return Ok(Err(AccountRejection::ZeroId));
    }
    if new.flags.debits_must_not_exceed_credits && new.flags.credits_must_not_exceed_debits {
        return Ok(Err(AccountRejection::BothLimits));
    }
    if let Some(old) = books.account(new.id)? {
        let same = (old.currency, old.code, old.flags) == (new.currency, new.code, new.flags);
        return Ok(Err(if same { AccountRejection::Exists } else { AccountRejection::ExistsDifferent }));
    }
    let NewAccount { id, currency, code, flags } = *new;
    books.put_account(Account { id, currency, code, flags, running: Totals::default(), created: now });
    Ok(Ok(id))
}

/// Closes one account: no new transfer or hold touches it, and holds made before still resolve. `Some(true)` if it was open.
///
/// # Errors
/// The store failed.
pub fn close_account<B: Books>(books: &mut B, id: AccountId) -> Result<Option<bool>, StoreFault> {
    let Some(account) = books.account(id)? else { return Ok(None) };
    if !account.flags.closed {
        let flags = super::AccountFlags { closed: true, ..account.flags };
        books.put_account(Account { flags, ..account });
    }
    Ok(Some(!account.flags.closed))
}

/// Applies transfers in order; a chain of linked ones applies wholly or not at all. Results are in the order of `batch`.
///
/// # Errors
/// The store failed: nothing of the batch may be kept.
pub fn create_transfers<B: Books>(
    books: &mut B,
    batch: &[NewTransfer],
    now: Wall,
) -> Result<Vec<Verdict<TransferSeq, TransferRejection>>, StoreFault> {
    let mut verdicts = Vec::with_capacity(batch.len());
    let mut rest = batch;
    while !rest.is_empty() {
        let last = rest.iter().position(|transfer| !transfer.linked);
        let length = last.map_or(rest.len(), |at| at.saturating_add(1));
        let (chain, tail) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        chain_verdicts(books, chain, last.is_some(), now, &mut verdicts)?;
        rest = tail;
    }
    Ok(verdicts)
}

/// One chain: all or none. The refused member says why, the others that a linked one failed.
fn chain_verdicts<B: Books>(
    books: &mut B,
    chain: &[NewTransfer],
    closed: bool,
    now: Wall,
    verdicts: &mut Vec<Verdict<TransferSeq, TransferRejection>>,
) -> Result<(), StoreFault> {
    let before = books.mark();
    let first = verdicts.len();
    let mut failed = None;
    for (index, new) in chain.iter().enumerate() {
        match apply(books, new, now) {
            Ok(seq) => verdicts.push(Ok(seq)),
            Err(Halt::Fault(fault)) => return Err(fault),
            Err(Halt::Rejected(rejection)) => {
                failed = Some((index, rejection));
                break;
            }
        }
    }
    if failed.is_none() && !closed {
        failed = Some((chain.len().saturating_sub(1), TransferRejection::ChainOpen));
    }
    if let Some((culprit, rejection)) = failed {
        books.rollback(before);
        verdicts.truncate(first);
        verdicts
            .extend((0..chain.len()).map(|index| {
                Err(if index == culprit { rejection } else { TransferRejection::LinkedFailed })
            }));
    }
    Ok(())
}

/// Applies one transfer.
///
/// # Errors
/// Why it was refused, or that the store failed.
pub fn apply<B: Books>(books: &mut B, new: &NewTransfer, now: Wall) -> Result<TransferSeq, Halt> {
    match new.order {
        Order::Post { debit, credit, amount } => {
            move_money(books, new, (debit, credit), amount, TransferKind::Posted, now)
        }
        Order::Hold { debit, credit, amount, expires } => {
            if expires.is_some_and(|end| end <= now) {
                return Err(TransferRejection::ExpiresInPast.into());
            }
            let kind = TransferKind::Pending { expires };
            let seq = move_money(books, new, (debit, credit), amount, kind, now)?;
            let (code, transaction) = (new.code, new.transaction);
            let state = HoldState::Open;
            books.put_hold(Hold { seq, debit, credit, amount, expires, state, code, transaction });
            Ok(seq)
        }
        Order::PostHold { of, amount } => {
            let hold = open_hold(books, of, now)?;
            let amount = amount.unwrap_or(hold.amount);
            checked_amount(amount)?;
            if amount.currency() != hold.amount.currency() {
                return Err(TransferRejection::CurrencyMismatch.into());
            }
            if amount.minor() > hold.amount.minor() {
                return Err(TransferRejection::ExceedsHold.into());
            }
            resolve(books, &hold, amount, HoldState::Posted)?;
            let kind = TransferKind::Post { of };
            Ok(append(books, new, (hold.debit, hold.credit), amount, kind, now))
        }
        Order::VoidHold { of } => {
            let hold = open_hold(books, of, now)?;
            resolve(books, &hold, hold.amount, HoldState::Voided)?;
            let kind = TransferKind::Void { of };
            Ok(append(books, new, (hold.debit, hold.credit), hold.amount, kind, now))
        }
    }
}

/// Releases holds whose time is up, oldest first, at most `limit`; returns them.
///
/// # Errors
/// The store failed.
pub fn expire<B: Books>(books: &mut B, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault> {
    let due = books.due_holds(now, limit)?;
    for hold in &due {
        match resolve(books, hold, hold.amount, HoldState::Expired) {
            Ok(()) => {}
            Err(Halt::Fault(fault)) => return Err(fault),
            Err(Halt::Rejected(_)) => {
                return Err(StoreFault::Damaged { what: "running totals of a hold's account" });
            }
        }
        let (code, transaction) = (hold.code, hold.transaction);
        let order = Order::VoidHold { of: hold.seq };
        let new = NewTransfer { reference: super::Reference(0), order, code, transaction, linked: false };
        let kind = TransferKind::Expire { of: hold.seq };
        append(books, &new, (hold.debit, hold.credit), hold.amount, kind, now);
    }
    Ok(due)
}

fn append<B: Books>(
    books: &mut B,
    new: &NewTransfer,
    (debit, credit): (AccountId, AccountId),
    amount: Amount,
    kind: TransferKind,
    at: Wall,
) -> TransferSeq {
    let seq = books.next_transfer();
    let NewTransfer { reference, code, transaction, .. } = *new;
    books.append(Transfer { seq, reference, debit, credit, amount, code, kind, transaction, at });
    seq
}

/// A new movement, at once or held: checks both accounts, then changes both.
fn move_money<B: Books>(
    books: &mut B,
    new: &NewTransfer,
    (debit, credit): (AccountId, AccountId),
    amount: Amount,
    kind: TransferKind,
    now: Wall,
) -> Result<TransferSeq, Halt> {
    checked_amount(amount)?;
    if debit == credit {
        return Err(TransferRejection::SameAccount.into());
    }
    let from = books.account(debit)?.ok_or(TransferRejection::DebitAccountNotFound)?;
    let to = books.account(credit)?.ok_or(TransferRejection::CreditAccountNotFound)?;
    if from.currency != amount.currency() || to.currency != amount.currency() {
        return Err(TransferRejection::CurrencyMismatch.into());
    }
    if from.flags.closed {
        return Err(TransferRejection::DebitAccountClosed.into());
    }
    if to.flags.closed {
        return Err(TransferRejection::CreditAccountClosed.into());
    }
    let held = matches!(kind, TransferKind::Pending { .. });
    let from = with_debit(from, amount.minor(), held)?;
    let to = with_credit(to, amount.minor(), held)?;
    put_if_limited(books, from);
    put_if_limited(books, to);
    Ok(append(books, new, (debit, credit), amount, kind, now))
}

fn checked_amount(amount: Amount) -> Result<(), TransferRejection> {
    if amount.is_zero() {
        return Err(TransferRejection::AmountZero);
    }
    if amount.minor() > AMOUNT_MAX {
        return Err(TransferRejection::AmountTooLarge);
    }
    Ok(())
}

fn put_if_limited<B: Books>(books: &mut B, account: Account) {
    if account.flags.limited() {
        books.put_account(account);
    }
}

/// Running totals stay within what a store's signed integer holds.
fn add(total: &mut u64, amount: u64) -> Result<(), TransferRejection> {
    let sum = total.checked_add(amount).filter(|sum| i64::try_from(*sum).is_ok());
    *total = sum.ok_or(TransferRejection::Overflow)?;
    Ok(())
}

fn with_debit(mut account: Account, amount: u64, held: bool) -> Result<Account, TransferRejection> {
    if !account.flags.limited() {
        return Ok(account);
    }
    let totals = &mut account.running;
    add(if held { &mut totals.debits_pending } else { &mut totals.debits_posted }, amount)?;
    let debits = totals.debits_posted.saturating_add(totals.debits_pending);
    if account.flags.debits_must_not_exceed_credits && debits > totals.credits_posted {
        return Err(TransferRejection::ExceedsCredits);
    }
    Ok(account)
}

fn with_credit(mut account: Account, amount: u64, held: bool) -> Result<Account, TransferRejection> {
    if !account.flags.limited() {
        return Ok(account);
    }
    let totals = &mut account.running;
    add(if held { &mut totals.credits_pending } else { &mut totals.credits_posted }, amount)?;
    let credits = totals.credits_posted.saturating_add(totals.credits_pending);
    if account.flags.credits_must_not_exceed_debits && credits > totals.debits_posted {
        return Err(TransferRejection::ExceedsDebits);
    }
    Ok(account)
}

fn open_hold<B: Books>(books: &mut B, seq: TransferSeq, now: Wall) -> Result<Hold, Halt> {
    let hold = books.hold(seq)?.ok_or(TransferRejection::HoldNotFound)?;
    match hold.state {
        HoldState::Open if hold.expires.is_some_and(|end| end <= now) => {
            Err(TransferRejection::HoldExpired.into())
        }
        HoldState::Open => Ok(hold),
        HoldState::Posted => Err(TransferRejection::HoldPosted.into()),
        HoldState::Voided => Err(TransferRejection::HoldVoided.into()),
        HoldState::Expired => Err(TransferRejection::HoldExpired.into()),
    }
}

/// Takes the hold off both accounts; posts `amount` of it if it is posted. No limit can be broken: a post takes no more than what was
/// held, and what a hold promised is kept even on a closed account.
fn resolve<B: Books>(books: &mut B, hold: &Hold, amount: Amount, state: HoldState) -> Result<(), Halt> {
    let mut from = books.account(hold.debit)?.ok_or(TransferRejection::DebitAccountNotFound)?;
    let mut to = books.account(hold.credit)?.ok_or(TransferRejection::CreditAccountNotFound)?;
    let posted = if state == HoldState::Posted { amount.minor() } else { 0 };
    let take = |pending: &mut u64, total: &mut u64| -> Result<(), TransferRejection> {
        *pending = pending.checked_sub(hold.amount.minor()).ok_or(TransferRejection::Overflow)?;
        add(total, posted)
    };
    if from.flags.limited() {
        take(&mut from.running.debits_pending, &mut from.running.debits_posted)?;
    }
    if to.flags.limited() {
        take(&mut to.running.credits_pending, &mut to.running.credits_posted)?;
    }
    put_if_limited(books, from);
    put_if_limited(books, to);
    books.put_hold(Hold { state, ..*hold });
    Ok(())
}
