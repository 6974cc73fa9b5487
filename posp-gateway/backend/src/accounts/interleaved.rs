//! Several callers at once against a tiny model: whatever order their batches arrive in, limits are exact, a hold resolves at most once,
//! chains apply all or none, and the balances of any past moment are those of that moment.
//!
//! The model knows nothing of the rules' code: it keeps four sums an account and a list of holds, and takes back a failed chain by its copy.

use super::*;
use crate::store::memory::MemoryStore;
use proptest::prelude::*;
use std::collections::BTreeMap;

const CNY: Currency = Currency::CNY;
/// Two payers, one that may only be owed to, two without limits.
const ACCOUNTS: u128 = 5;
const CALLERS: usize = 3;

fn flags(account: u128) -> AccountFlags {
    AccountFlags {
        debits_must_not_exceed_credits: account <= 2,
        credits_must_not_exceed_debits: account == 3,
        closed: false,
    }
}

#[derive(Clone, Copy)]
struct Held {
    debit: u128,
    credit: u128,
    minor: u64,
    expires: Option<i64>,
    state: HoldState,
}

#[derive(Clone, Default)]
struct Model {
    sums: BTreeMap<u128, Totals>,
    closed: Vec<u128>,
    holds: BTreeMap<u64, Held>,
    /// How often each hold was resolved.
    resolved: BTreeMap<u64, u32>,
    next: u64,
}

impl Model {
    fn new() -> Self {
        Self { sums: (1..=ACCOUNTS).map(|id| (id, Totals::default())).collect(), next: 1, ..Self::default() }
    }

    fn take(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn resolve(&mut self, seq: u64, posted: u64, state: HoldState) {
        let held = self.holds[&seq];
        self.holds.insert(seq, Held { state, ..held });
        *self.resolved.entry(seq).or_default() += 1;
        let debit = self.sums.get_mut(&held.debit).unwrap();
        debit.debits_pending -= held.minor;
        debit.debits_posted += posted;
        let credit = self.sums.get_mut(&held.credit).unwrap();
        credit.credits_pending -= held.minor;
        credit.credits_posted += posted;
        self.take();
    }

    fn expire(&mut self, now: i64) {
        let mut due: Vec<(i64, u64)> = self
            .holds
            .iter()
            .filter(|(_, held)| held.state == HoldState::Open)
            .filter_map(|(seq, held)| held.expires.filter(|end| *end <= now).map(|end| (end, *seq)))
            .collect();
        due.sort_unstable();
        due.into_iter().for_each(|(_, seq)| self.resolve(seq, 0, HoldState::Expired));
    }

    fn open(&self, of: u64) -> Result<Held, TransferRejection> {
        let held = self.holds.get(&of).ok_or(TransferRejection::HoldNotFound)?;
        match held.state {
            HoldState::Open => Ok(*held),
            HoldState::Posted => Err(TransferRejection::HoldPosted),
            HoldState::Voided => Err(TransferRejection::HoldVoided),
            HoldState::Expired => Err(TransferRejection::HoldExpired),
        }
    }

    fn apply(&mut self, order: &Order, now: i64) -> Result<TransferSeq, TransferRejection> {
        let seq = TransferSeq(self.next);
        let (debit, credit, minor, hold) = match order {
            Order::PostHold { of, amount } => {
                let held = self.open(of.0)?;
                let minor = amount.map_or(held.minor, Amount::minor);
                if minor == 0 {
                    return Err(TransferRejection::AmountZero);
                }
                if minor > held.minor {
                    return Err(TransferRejection::ExceedsHold);
                }
                self.resolve(of.0, minor, HoldState::Posted);
                return Ok(seq);
            }
            Order::VoidHold { of } => {
                self.open(of.0)?;
                self.resolve(of.0, 0, HoldState::Voided);
                return Ok(seq);
            }
            Order::Post { debit, credit, amount } => (debit.0, credit.0, amount.minor(), None),
            Order::Hold { debit, credit, amount, expires } => {
                let expires = expires.map(|end| end.0);
                if expires.is_some_and(|end| end <= now) {
                    return Err(TransferRejection::ExpiresInPast);
                }
                (debit.0, credit.0, amount.minor(), Some(expires))
            }
        };
        if minor == 0 {
            return Err(TransferRejection::AmountZero);
        }
        if debit == credit {
            return Err(TransferRejection::SameAccount);
        }
        if self.closed.contains(&debit) {
            return Err(TransferRejection::DebitAccountClosed);
        }
        if self.closed.contains(&credit) {
            return Err(TransferRejection::CreditAccountClosed);
        }
        let (from, to) = (self.sums[&debit], self.sums[&credit]);
        if flags(debit).debits_must_not_exceed_credits
            && from.debits_posted + from.debits_pending + minor > from.credits_posted
        {
            return Err(TransferRejection::ExceedsCredits);
        }
        if flags(credit).credits_must_not_exceed_debits
            && to.credits_posted + to.credits_pending + minor > to.debits_posted
        {
            return Err(TransferRejection::ExceedsDebits);
        }
        if let Some(expires) = hold {
            self.sums.get_mut(&debit).unwrap().debits_pending += minor;
            self.sums.get_mut(&credit).unwrap().credits_pending += minor;
            self.holds.insert(seq.0, Held { debit, credit, minor, expires, state: HoldState::Open });
        } else {
            self.sums.get_mut(&debit).unwrap().debits_posted += minor;
            self.sums.get_mut(&credit).unwrap().credits_posted += minor;
        }
        self.take();
        Ok(seq)
    }

    fn batch(&mut self, batch: &[NewTransfer], now: i64) -> Vec<Result<TransferSeq, TransferRejection>> {
        self.expire(now);
        let mut verdicts = Vec::new();
        let mut rest = batch;
        while !rest.is_empty() {
            let ends = rest.iter().position(|new| !new.linked);
            let (chain, tail) = rest.split_at(ends.map_or(rest.len(), |at| at + 1));
            rest = tail;
            let before = self.clone();
            let told: Result<Vec<_>, (usize, TransferRejection)> = chain
                .iter()
                .enumerate()
                .map(|(at, new)| self.apply(&new.order, now).map_err(|why| (at, why)))
                .collect();
            let told = match (told, ends) {
                (Ok(_), None) => Err((chain.len() - 1, TransferRejection::ChainOpen)),
                (told, _) => told,
            };
            match told {
                Ok(seqs) => verdicts.extend(seqs.into_iter().map(Ok)),
                Err((culprit, why)) => {
                    *self = before;
                    verdicts
                        .extend((0..chain.len()).map(|at| {
                            Err(if at == culprit { why } else { TransferRejection::LinkedFailed })
                        }));
                }
            }
        }
        verdicts
    }
}

/// What a caller does next.
#[derive(Clone, Debug)]
enum Call {
    Transfers(Vec<NewTransfer>),
    Close(u128),
    Wait(i64),
}

fn order() -> impl Strategy<Value = Order> {
    let two = || (1..=ACCOUNTS, 1..=ACCOUNTS, 0u64..50);
    let of = || (1u64..40).prop_map(TransferSeq);
    let amount = |minor| Amount::new(minor, CNY);
    prop_oneof![
        3 => two().prop_map(move |(debit, credit, minor)| Order::Post {
            debit: AccountId(debit), credit: AccountId(credit), amount: amount(minor)
        }),
        2 => (1..=2u128, 0u64..150).prop_map(move |(payer, minor)| Order::Post {
            debit: AccountId(4), credit: AccountId(payer), amount: amount(minor)
        }),
        4 => (two(), prop::option::of(0i64..60)).prop_map(move |((debit, credit, minor), end)| Order::Hold {
            debit: AccountId(debit), credit: AccountId(credit), amount: amount(minor), expires: end.map(Wall)
        }),
        4 => (of(), prop::option::of(0u64..60)).prop_map(move |(of, minor)| Order::PostHold { of, amount: minor.map(amount) }),
        3 => of().prop_map(|of| Order::VoidHold { of }),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let new = (order(), prop::bool::weighted(0.25)).prop_map(|(order, linked)| NewTransfer {
        reference: Reference(1),
        order,
        code: TransferCode(1),
        transaction: None,
        linked,
    });
    prop_oneof![
        12 => prop::collection::vec(new, 1..5).prop_map(Call::Transfers),
        1 => (1..=ACCOUNTS).prop_map(Call::Close),
        4 => (0i64..9).prop_map(Call::Wait),
    ]
}

/// Each caller's program, and whose turn it is.
fn callers() -> impl Strategy<Value = (Vec<Vec<Call>>, Vec<usize>)> {
    let programs = prop::collection::vec(prop::collection::vec(call(), 0..7), CALLERS);
    (programs, prop::collection::vec(0..CALLERS, 0..21))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn callers_in_any_order_find_limits_exact_and_every_hold_resolved_at_most_once((programs, turns) in callers()) {
        let mut ledger = Ledger::new(MemoryStore::new());
        let accounts: Vec<NewAccount> = (1..=ACCOUNTS)
            .map(|id| NewAccount { id: AccountId(id), currency: CNY, code: AccountCode(1), flags: flags(id) })
            .collect();
        prop_assert!(ledger.create_accounts(&accounts, Wall(0)).unwrap().iter().all(Result::is_ok));
        let ids: Vec<AccountId> = (1..=ACCOUNTS).map(AccountId).collect();
        let mut model = Model::new();
        let mut past: BTreeMap<i64, BTreeMap<u128, Totals>> = BTreeMap::new();
        let mut programs: Vec<_> = programs.into_iter().map(Vec::into_iter).collect();
        let mut now = 1;
        for caller in turns {
            match programs[caller].next() {
                None => {}
                Some(Call::Wait(ms)) => now += ms,
                Some(Call::Close(id)) => {
                    let was_open = !model.closed.contains(&id);
                    prop_assert_eq!(ledger.close_accounts(&[AccountId(id)], Wall(now)).unwrap(), [Some(was_open)]);
                    model.closed.push(id);
                }
                Some(Call::Transfers(batch)) => {
                    prop_assert_eq!(ledger.create_transfers(&batch, Wall(now)).unwrap(), model.batch(&batch, now));
                    past.insert(now, model.sums.clone());
                }
            }
            for account in ledger.lookup(&ids).unwrap().into_iter().flatten() {
                let sums = model.sums[&account.id.0];
                let expected = if account.flags.limited() { sums } else { Totals::default() };
                prop_assert_eq!(account.running, expected);
            }
        }
        prop_assert!(model.resolved.values().all(|times| *times == 1));
        for (at, sums) in past {
            for balances in ledger.balances_at(&ids, Wall(at + 1)).unwrap() {
                prop_assert_eq!(balances.totals, sums[&balances.account.0], "at {}", at);
            }
        }
    }
}
