//! Double entry against a naive model: every posting, limit and linked group.

use super::chart::{Book, FundingKind, FundingNumber, IssuerNumber, MerchantNumber, code};
use super::*;
use crate::accounts::rules::Verdict;
use crate::store::GatewayNo;
use crate::store::memory::MemoryStore;
use crate::store::memory::shared::Database;
use proptest::prelude::*;

const CNY: Currency = Currency::CNY;
const ALICE: Book = Book::Funding(FundingKind::Bank, FundingNumber(1));
const BOB: Book = Book::Funding(FundingKind::Carrier, FundingNumber(2));
const SHOP: Book = Book::MerchantPayable(MerchantNumber(1));
const FLOAT: Book = Book::PurseFloat(IssuerNumber(1));

fn ledger() -> Ledger<MemoryStore> {
    let mut ledger = Ledger::new(MemoryStore::new());
    let accounts: Vec<_> =
        [ALICE, BOB, SHOP, FLOAT, Book::Settlement].map(|book| book.new_account(CNY)).into();
    assert!(ledger.create_accounts(&accounts, Wall(0)).unwrap().iter().all(Result::is_ok));
    ledger
}

fn new(order: Order) -> NewTransfer {
    NewTransfer { reference: Reference(0), order, code: code::FUND, transaction: None, linked: false }
}

fn post(debit: Book, credit: Book, minor: u64) -> NewTransfer {
    new(Order::Post { debit: debit.id(CNY), credit: credit.id(CNY), amount: Amount::new(minor, CNY) })
}

fn hold(debit: Book, credit: Book, minor: u64, expires: Option<i64>) -> NewTransfer {
    new(Order::Hold {
        debit: debit.id(CNY),
        credit: credit.id(CNY),
        amount: Amount::new(minor, CNY),
        expires: expires.map(Wall),
    })
}

fn one(
    ledger: &mut Ledger<MemoryStore>,
    transfer: NewTransfer,
    at: i64,
) -> Verdict<TransferSeq, TransferRejection> {
    ledger.create_transfers(&[transfer], Wall(at)).unwrap()[0]
}

fn running(ledger: &mut Ledger<MemoryStore>, book: Book) -> Totals {
    ledger.lookup(&[book.id(CNY)]).unwrap()[0].unwrap().running
}

#[test]
fn an_account_is_created_once_and_says_why_not_again() {
    let mut ledger = ledger();
    let again = ALICE.new_account(CNY);
    let other = NewAccount { code: AccountCode(9), ..again };
    let zero = NewAccount { id: AccountId(0), ..again };
    let verdicts = ledger.create_accounts(&[again, other, zero], Wall(1)).unwrap();
    let expected = [AccountRejection::Exists, AccountRejection::ExistsDifferent, AccountRejection::ZeroId];
    assert_eq!(verdicts, expected.map(Err));
}

#[test]
fn a_payer_cannot_spend_more_than_was_credited_held_money_included() {
    let mut ledger = ledger();
    one(&mut ledger, post(Book::Settlement, ALICE, 100), 1).unwrap();
    let held = one(&mut ledger, hold(ALICE, SHOP, 60, None), 2).unwrap();
    assert_eq!(one(&mut ledger, post(ALICE, SHOP, 41), 3), Err(TransferRejection::ExceedsCredits));
    one(&mut ledger, post(ALICE, SHOP, 40), 4).unwrap();
    assert_eq!(running(&mut ledger, ALICE).available_credit(), 0);
    let partial = new(Order::PostHold { of: held, amount: Some(Amount::new(25, CNY)) });
    one(&mut ledger, partial, 5).unwrap();
    assert_eq!(running(&mut ledger, ALICE).available_credit(), 35);
    let shop = ledger.balances_at(&[SHOP.id(CNY)], Wall(100)).unwrap()[0].totals;
    assert_eq!((shop.credits_posted, shop.credits_pending), (65, 0));
    assert_eq!(running(&mut ledger, SHOP), Totals::default(), "no running totals without a limit");
}

#[test]
fn a_hold_resolves_at_most_once() {
    let mut ledger = ledger();
    one(&mut ledger, post(Book::Settlement, ALICE, 100), 1).unwrap();
    let held = one(&mut ledger, hold(ALICE, SHOP, 60, None), 2).unwrap();
    let void = new(Order::VoidHold { of: held });
    let whole = new(Order::PostHold { of: held, amount: None });
    let too_much = new(Order::PostHold { of: held, amount: Some(Amount::new(61, CNY)) });
    let verdicts = ledger.create_transfers(&[too_much, void, whole, void], Wall(3)).unwrap();
    assert_eq!(verdicts[0], Err(TransferRejection::ExceedsHold));
    assert!(verdicts[1].is_ok());
    assert_eq!(verdicts[2..], [Err(TransferRejection::HoldVoided); 2]);
    let nothing = new(Order::VoidHold { of: TransferSeq(999) });
    assert_eq!(one(&mut ledger, nothing, 4), Err(TransferRejection::HoldNotFound));
}

#[test]
fn an_expired_hold_frees_the_money_and_can_never_be_posted() {
    let mut ledger = ledger();
    one(&mut ledger, post(Book::Settlement, ALICE, 100), 1).unwrap();
    let held = one(&mut ledger, hold(ALICE, SHOP, 100, Some(10)), 2).unwrap();
    assert_eq!(one(&mut ledger, post(ALICE, SHOP, 1), 9), Err(TransferRejection::ExceedsCredits));
    one(&mut ledger, post(ALICE, SHOP, 100), 10).unwrap();
    let late = new(Order::PostHold { of: held, amount: None });
    assert_eq!(one(&mut ledger, late, 11), Err(TransferRejection::HoldExpired));
    let kinds: Vec<_> =
        ledger.history(ALICE.id(CNY), Wall(0), Wall(100), 10).unwrap().iter().map(|t| t.kind).collect();
    assert!(kinds.contains(&TransferKind::Expire { of: held }));
}

#[test]
fn linked_transfers_apply_all_or_none_and_name_the_culprit() {
    let mut ledger = ledger();
    one(&mut ledger, post(Book::Settlement, ALICE, 100), 1).unwrap();
    let linked = |transfer: NewTransfer| NewTransfer { linked: true, ..transfer };
    let batch = [
        linked(post(ALICE, SHOP, 10)),
        linked(hold(ALICE, FLOAT, 80, None)),
        post(ALICE, SHOP, 11),
        post(ALICE, SHOP, 100),
        linked(post(Book::Settlement, ALICE, 1)),
    ];
    let verdicts = ledger.create_transfers(&batch, Wall(2)).unwrap();
    assert_eq!(verdicts[0], Err(TransferRejection::LinkedFailed));
    assert_eq!(verdicts[1], Err(TransferRejection::LinkedFailed));
    assert_eq!(verdicts[2], Err(TransferRejection::ExceedsCredits));
    assert_eq!(verdicts[3], Ok(TransferSeq(2)), "numbers of undone transfers are used again: no gaps");
    assert_eq!(verdicts[4], Err(TransferRejection::ChainOpen));
    assert_eq!(running(&mut ledger, ALICE).available_credit(), 0);
}

#[test]
fn what_makes_no_sense_is_refused_with_its_reason() {
    let mut ledger = ledger();
    let eur = Amount::new(5, Currency::EUR);
    let order = Order::Post { debit: Book::Settlement.id(CNY), credit: SHOP.id(CNY), amount: eur };
    assert_eq!(one(&mut ledger, new(order), 1), Err(TransferRejection::CurrencyMismatch));
    assert_eq!(one(&mut ledger, post(SHOP, SHOP, 1), 1), Err(TransferRejection::SameAccount));
    assert_eq!(one(&mut ledger, post(SHOP, ALICE, 0), 1), Err(TransferRejection::AmountZero));
    assert_eq!(one(&mut ledger, post(SHOP, ALICE, u64::MAX), 1), Err(TransferRejection::AmountTooLarge));
    assert_eq!(one(&mut ledger, post(Book::Tax, ALICE, 1), 1), Err(TransferRejection::DebitAccountNotFound));
    assert_eq!(one(&mut ledger, post(ALICE, Book::Tax, 1), 1), Err(TransferRejection::CreditAccountNotFound));
    let past = hold(SHOP, ALICE, 1, Some(1));
    assert_eq!(one(&mut ledger, past, 1), Err(TransferRejection::ExpiresInPast));
}

#[test]
fn a_clock_that_goes_back_does_not_reorder_the_books() {
    let mut ledger = ledger();
    one(&mut ledger, post(Book::Settlement, ALICE, 1), 1000).unwrap();
    one(&mut ledger, post(Book::Settlement, ALICE, 1), 10).unwrap();
    let times: Vec<_> =
        ledger.history(ALICE.id(CNY), Wall(0), Wall(2000), 10).unwrap().iter().map(|t| t.at).collect();
    assert_eq!(times, [Wall(1000), Wall(1000)]);
}

/// The reference: every answer is worked out from the whole list of what was applied, the slow and obvious way.
#[derive(Clone, Default)]
struct Naive {
    applied: Vec<Transfer>,
}

impl Naive {
    fn resolution(&self, of: TransferSeq) -> Option<TransferKind> {
        self.applied.iter().map(|t| t.kind).find(|kind| {
            matches!(kind, TransferKind::Post { of: o } | TransferKind::Void { of: o } | TransferKind::Expire { of: o } if *o == of)
        })
    }

    fn available(&self, account: AccountId) -> i128 {
        self.applied
            .iter()
            .map(|t| {
                let amount = i128::from(t.amount.minor());
                let open = matches!(t.kind, TransferKind::Pending { .. }) && self.resolution(t.seq).is_none();
                let posted = matches!(t.kind, TransferKind::Posted | TransferKind::Post { .. });
                match (t.debit == account, t.credit == account) {
                    (true, _) if posted || open => -amount,
                    (_, true) if posted => amount,
                    _ => 0,
                }
            })
            .sum()
    }

    fn push(
        &mut self,
        new: &NewTransfer,
        debit: AccountId,
        credit: AccountId,
        amount: Amount,
        kind: TransferKind,
        at: Wall,
    ) -> TransferSeq {
        let seq = TransferSeq(self.applied.len() as u64 + 1);
        let NewTransfer { reference, code, transaction, .. } = *new;
        self.applied.push(Transfer { seq, reference, debit, credit, amount, code, kind, transaction, at });
        seq
    }

    fn expire(&mut self, now: Wall) {
        let mut due: Vec<_> = self
            .applied
            .iter()
            .filter_map(|t| match t.kind {
                TransferKind::Pending { expires: Some(end) } if end <= now => Some((end, t.seq, *t)),
                _ => None,
            })
            .filter(|(_, seq, _)| self.resolution(*seq).is_none())
            .collect();
        due.sort_by_key(|(end, seq, _)| (*end, *seq));
        for (_, of, t) in due {
            let order = Order::VoidHold { of };
            let new = NewTransfer {
                reference: Reference(0),
                order,
                code: t.code,
                transaction: t.transaction,
                linked: false,
            };
            self.push(&new, t.debit, t.credit, t.amount, TransferKind::Expire { of }, now);
        }
    }

    fn apply(&mut self, new: &NewTransfer, now: Wall) -> Verdict<TransferSeq, TransferRejection> {
        use TransferRejection as No;
        let limited = [ALICE.id(CNY), BOB.id(CNY)];
        let of_hold = |of: TransferSeq| -> Result<Transfer, No> {
            let t =
                self.applied.iter().find(|t| t.seq == of && matches!(t.kind, TransferKind::Pending { .. }));
            let t = t.ok_or(No::HoldNotFound)?;
            match self.resolution(of) {
                None => Ok(*t),
                Some(TransferKind::Post { .. }) => Err(No::HoldPosted),
                Some(TransferKind::Void { .. }) => Err(No::HoldVoided),
                Some(_) => Err(No::HoldExpired),
            }
        };
        let (debit, credit, amount, kind) = match new.order {
            Order::Post { debit, credit, amount } => (debit, credit, amount, TransferKind::Posted),
            Order::Hold { debit, credit, amount, expires } => {
                if expires.is_some_and(|end| end <= now) {
                    return Err(No::ExpiresInPast);
                }
                (debit, credit, amount, TransferKind::Pending { expires })
            }
            Order::PostHold { of, amount } => {
                let t = of_hold(of)?;
                let amount = amount.unwrap_or(t.amount);
                if amount.is_zero() {
                    return Err(No::AmountZero);
                }
                if amount.minor() > t.amount.minor() {
                    return Err(No::ExceedsHold);
                }
                return Ok(self.push(new, t.debit, t.credit, amount, TransferKind::Post { of }, now));
            }
            Order::VoidHold { of } => {
                let t = of_hold(of)?;
                return Ok(self.push(new, t.debit, t.credit, t.amount, TransferKind::Void { of }, now));
            }
        };
        if amount.is_zero() {
            return Err(No::AmountZero);
        }
        if debit == credit {
            return Err(No::SameAccount);
        }
        if limited.contains(&debit) && self.available(debit) < i128::from(amount.minor()) {
            return Err(No::ExceedsCredits);
        }
        Ok(self.push(new, debit, credit, amount, kind, now))
    }

    fn create_transfers(
        &mut self,
        batch: &[NewTransfer],
        now: Wall,
    ) -> Vec<Verdict<TransferSeq, TransferRejection>> {
        self.expire(now);
        let mut out = Vec::new();
        let mut at = 0;
        while at < batch.len() {
            let end = (at..batch.len()).find(|i| !batch[*i].linked).map_or(batch.len(), |i| i + 1);
            let open = batch[end - 1].linked;
            let before = self.clone();
            let mut verdicts: Vec<_> = Vec::new();
            for new in &batch[at..end] {
                verdicts.push(self.apply(new, now));
                if verdicts.last().unwrap().is_err() {
                    break;
                }
            }
            let culprit = verdicts.iter().position(Result::is_err);
            let culprit = culprit.or(open.then_some(end - at - 1));
            if let Some(culprit) = culprit {
                *self = before;
                let why = verdicts[culprit].err().unwrap_or(TransferRejection::ChainOpen);
                verdicts = vec![Err(TransferRejection::LinkedFailed); end - at];
                verdicts[culprit] = Err(why);
            }
            out.extend(verdicts);
            at = end;
        }
        out
    }
}

fn any_transfer() -> impl Strategy<Value = NewTransfer> {
    let books = [ALICE, BOB, SHOP, FLOAT, Book::Settlement];
    let book = || (0usize..5).prop_map(move |i| books[i]);
    let order = prop_oneof![
        3 => (book(), book(), 0u64..60).prop_map(|(d, c, a)| post(d, c, a).order),
        1 => (0u64..200).prop_map(|a| post(Book::Settlement, ALICE, a).order),
        3 => (book(), book(), 0u64..60, prop::option::of(0i64..40)).prop_map(|(d, c, a, e)| hold(d, c, a, e).order),
        3 => (1u64..30, prop::option::of(0u64..60)).prop_map(|(of, a)| Order::PostHold {
            of: TransferSeq(of),
            amount: a.map(|minor| Amount::new(minor, CNY)),
        }),
        2 => (1u64..30).prop_map(|of| Order::VoidHold { of: TransferSeq(of) }),
    ];
    (order, prop::bool::weighted(0.3), any::<u16>()).prop_map(|(order, linked, reference)| NewTransfer {
        reference: Reference(u128::from(reference)),
        linked,
        ..new(order)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn any_history_comes_out_as_in_the_naive_model(
        batches in prop::collection::vec((prop::collection::vec(any_transfer(), 1..6), 0i64..8), 1..10)
    ) {
        let mut ledger = ledger();
        let mut naive = Naive::default();
        let mut now = 0;
        for (batch, step) in batches {
            now += step;
            prop_assert_eq!(ledger.create_transfers(&batch, Wall(now)).unwrap(), naive.create_transfers(&batch, Wall(now)));
        }
        for book in [ALICE, BOB] {
            let totals = running(&mut ledger, book);
            let open: u64 = totals.debits_pending;
            let posted = i128::from(totals.credits_posted) - i128::from(totals.debits_posted);
            prop_assert_eq!(posted - i128::from(open), naive.available(book.id(CNY)));
            prop_assert!(naive.available(book.id(CNY)) >= 0);
            let derived = ledger.balances_at(&[book.id(CNY)], Wall(i64::MAX)).unwrap()[0].totals;
            prop_assert_eq!(derived, totals, "running totals equal those derived from the transfers");
        }
        let all: Vec<_> = ledger.history(SHOP.id(CNY), Wall(0), Wall(i64::MAX), usize::MAX).unwrap();
        let same: Vec<_> = naive.applied.iter().filter(|t| t.debit == SHOP.id(CNY) || t.credit == SHOP.id(CNY)).copied().collect();
        prop_assert_eq!(all, same);
    }
}

#[test]
fn a_hold_that_was_resolved_by_a_slower_clock_counts_from_the_later_time() {
    let database = Database::new();
    let [mut fast, mut slow] =
        [0, 1].map(|gateway| Ledger::new(database.gateway(GatewayNo::new(gateway).unwrap())));
    let accounts = [ALICE, SHOP, Book::Settlement].map(|book| book.new_account(CNY));
    assert!(fast.create_accounts(&accounts, Wall(0)).unwrap().iter().all(Result::is_ok));
    fast.create_transfers(&[post(Book::Settlement, ALICE, 100)], Wall(1)).unwrap()[0].unwrap();
    let of = fast.create_transfers(&[hold(ALICE, SHOP, 60, None)], Wall(1_000)).unwrap()[0].unwrap();
    let posting = new(Order::PostHold { of, amount: None });
    slow.create_transfers(&[posting], Wall(500)).unwrap()[0].unwrap();
    let mut at = |time| {
        let totals = fast.balances_at(&[SHOP.id(CNY)], Wall(time)).unwrap()[0].totals;
        (totals.credits_pending, totals.credits_posted)
    };
    assert_eq!([at(400), at(700), at(1_001)], [(0, 0), (0, 0), (0, 60)]);
}
