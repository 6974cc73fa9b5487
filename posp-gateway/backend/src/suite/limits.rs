//! Limits of online payments: exact in any order of payments, voids, reversals and days, for payers, kinds, terminals and merchants.

use super::world::*;
use crate::Engine;
use crate::accounts::AccountId;
use crate::accounts::chart::{Book, FundingKind, FundingNumber};
use crate::api::*;
use crate::store::memory::MemoryStore;
use crate::store::{Key, Record, Store, UsageOf};
use keys::{KeyModule, SoftKeys};
use proptest::prelude::*;
use protocol::ids::*;
use protocol::iso8583::typed::ResponseCode;
use protocol::time::{CardDate, Mono, Now, Wall};
use std::sync::Arc;

const NONE: Limit = Limit {
    scope: LimitScope::Kind(FundingKind::Bank),
    payment_max: None,
    day_sum_max: None,
    day_count_max: None,
};

fn buy(minor: u64) -> HostBody {
    HostBody::Purchase { payer: PAYER, amount: cny(minor) }
}

pub(super) fn amount_sum_and_count_are_refused_with_their_codes_and_a_new_day_begins_anew<S: Store>(
    store: S,
) {
    let mut world = World::new(store);
    world.fund(100_000, 1);
    let scope = LimitScope::Kind(FundingKind::Bank);
    let limit = Limit { scope, payment_max: Some(500), day_sum_max: Some(900), day_count_max: Some(3) };
    assert_eq!(world.admin(AdminRequest::SetLimit(limit)), AdminAnswer::Done);
    assert_eq!(world.admin(AdminRequest::SetLimit(limit)), AdminAnswer::Exists);
    assert_eq!(world.send(buy(501)).code, code("61"));
    assert_eq!(world.send(buy(500)).code, code("00"));
    let second = world.message(t1(), buy(400));
    assert_eq!(world.host(second.clone()).code, code("00"));
    assert_eq!(world.send(buy(1)).code, code("61"), "the day's sum");
    assert_eq!(world.host(World::<S>::reversal(&second, cny(400))).code, code("00"));
    let hold = HostBody::PreAuthorise { payer: PAYER, amount: cny(100) };
    assert_eq!(world.send(hold.clone()).code, code("00"), "what was reversed no longer counts");
    assert_eq!(world.send(buy(1)).code, code("00"));
    assert_eq!(world.send(hold).code, code("65"), "the fourth");
    world.ms += 86_400_000;
    assert_eq!(world.send(buy(500)).code, code("00"));
    // An account's own limit stands instead of its kind's.
    let own = LimitScope::Payer(Book::Funding(FundingKind::Bank, FundingNumber(1)).id(CNY));
    assert_eq!(world.admin(AdminRequest::SetLimit(Limit { scope: own, ..NONE })), AdminAnswer::Done);
    assert_eq!(world.send(buy(5000)).code, code("00"));
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn who_is_not_there_has_no_limit<S: Store>(store: S) {
    let mut world = World::new(store);
    let refused = |world: &mut World<S>, scope| world.admin(AdminRequest::SetLimit(Limit { scope, ..NONE }));
    let terminal = LimitScope::Terminal(TerminalId::from_text("T9").unwrap());
    assert_eq!(refused(&mut world, terminal), AdminAnswer::Refused(AdminRefusal::NoTerminal));
    let merchant = LimitScope::Merchant(MerchantId::from_text("NOBODY").unwrap());
    assert_eq!(refused(&mut world, merchant), AdminAnswer::Refused(AdminRefusal::NoMerchant));
    let payer = LimitScope::Payer(AccountId(5));
    assert_eq!(refused(&mut world, payer), AdminAnswer::Refused(AdminRefusal::NoFunding));
    let limit = Limit { payment_max: Some(u64::MAX), ..NONE };
    let answer = world.admin(AdminRequest::SetLimit(limit));
    assert_eq!(answer, AdminAnswer::Refused(AdminRefusal::OutOfBounds));
}

pub(super) fn a_void_gives_back_and_its_reversal_counts_again_beyond_the_limit<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(100_000, 1);
    let scope = LimitScope::Merchant(shop());
    world.admin(AdminRequest::SetLimit(Limit { scope, day_sum_max: Some(100), ..NONE }));
    let bought = world.send(buy(100));
    assert_eq!(world.send(buy(1)).code, code("61"));
    let original = Original { reference: bought.reference, ..Original::default() };
    let voiding = world.message(t1(), HostBody::Void { original, amount: cny(100) });
    assert_eq!(world.host(voiding.clone()).code, code("00"));
    assert_eq!(world.send(buy(60)).code, code("00"));
    assert_eq!(world.host(World::<S>::reversal(&voiding, cny(100))).code, code("00"));
    assert_eq!(world.send(buy(1)).code, code("61"), "160 of 100 are used");
    // Another merchant's day is its own.
    let other = world.message(t2(), buy(100));
    assert_eq!(world.host(other).code, code("00"));
    assert_eq!(world.audit().exceptions, []);
}

pub(super) fn a_load_counts_for_its_payer_until_its_money_is_free_again<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(100_000, 1);
    let mut card = world.card(1);
    let limit = |scope, sum| AdminRequest::SetLimit(Limit { scope, day_sum_max: Some(sum), ..NONE });
    world.admin(limit(LimitScope::Kind(FundingKind::Bank), 1_000));
    // Nobody takes a load in: terminal and merchant have no part in it.
    world.admin(limit(LimitScope::Terminal(t1()), 5_000));
    world.admin(limit(LimitScope::Merchant(shop()), 5_000));
    let too_much = world.load(&mut card, 1_001);
    assert_eq!(world.host(too_much).code, code("61"));
    world.loaded(&mut card, 600);
    assert_eq!(world.send(buy(401)).code, code("61"));
    // Its card was never credited, and asks again: the money of the first is free.
    let lost = world.load(&mut card, 400);
    assert_eq!(world.host(lost).code, code("00"));
    assert_eq!(world.send(buy(1)).code, code("61"));
    let again = world.load(&mut card, 300);
    let answer = world.host(again);
    assert_eq!(answer.code, code("00"));
    assert_eq!(world.send(buy(101)).code, code("61"));
    // Released by a person, spent elsewhere, and then the card had it all the same: 1,300 of 1,000 are used.
    assert_eq!(world.release(&card, 1), AdminAnswer::Done);
    assert_eq!(world.send(buy(400)).code, code("00"));
    let credit = card.credit(300, SAM_1, answer.moment);
    assert_eq!(world.confirm(credit).code, code("00"));
    world.admin(limit(LimitScope::Kind(FundingKind::Bank), 1_300));
    assert_eq!(world.send(buy(1)).code, code("61"));
    world.admin(limit(LimitScope::Kind(FundingKind::Bank), 1_301));
    assert_eq!(world.send(buy(1)).code, code("00"));
    // A load by cash is the merchant's money.
    let request = card.request(900, SAM_1);
    let message = world.message(t1(), HostBody::Load { source: LoadSource::Cash, request });
    assert_eq!(world.host(message).code, code("00"));
    assert_eq!(world.audit().exceptions, []);
}

const TERMINALS: usize = 5;
const PAYERS: usize = 3;
const DAY_MS: i64 = 86_400_000;

fn terminal(n: usize) -> TerminalId {
    TerminalId::from_text(&format!("T{n}")).unwrap()
}

/// Terminals 0 to 3 are the first merchant's, the last is the second's.
fn merchant_of(n: usize) -> usize {
    usize::from(n == TERMINALS - 1)
}

fn merchant(n: usize) -> MerchantId {
    MerchantId::from_text(&format!("M{n}")).unwrap()
}

fn kind_of(payer: usize) -> FundingKind {
    if payer == 2 { FundingKind::Carrier } else { FundingKind::Bank }
}

fn account(payer: usize) -> AccountId {
    Book::Funding(kind_of(payer), FundingNumber(payer as u64 + 1)).id(CNY)
}

fn token(payer: usize) -> PayerToken {
    PayerToken([payer as u8 + 1; 16])
}

fn scopes() -> Vec<LimitScope> {
    let mut all = vec![LimitScope::Kind(FundingKind::Bank), LimitScope::Kind(FundingKind::Carrier)];
    all.extend((0..PAYERS).map(|n| LimitScope::Payer(account(n))));
    all.extend((0..TERMINALS).map(|n| LimitScope::Terminal(terminal(n))));
    all.extend((0..2).map(|n| LimitScope::Merchant(merchant(n))));
    all
}

struct Street {
    engine: Engine<MemoryStore>,
    ms: i64,
    trace: u32,
}

impl Street {
    fn new() -> Self {
        let keys = SoftKeys::in_memory(Box::new(|out| {
            out.fill(3);
            Ok(())
        }));
        let keys: Arc<dyn KeyModule> = Arc::new(keys.unwrap());
        let mut street =
            Self { engine: Engine::new(MemoryStore::new(), keys), ms: 1_795_300_000_000, trace: 0 };
        for n in 0..2 {
            let name = format!("Shop {n}");
            street.admin(AdminRequest::AddMerchant { merchant: merchant(n), name, currency: CNY });
        }
        for n in 0..TERMINALS {
            let (merchant, acquirer) = (merchant(merchant_of(n)), AcquirerId(1));
            street.admin(AdminRequest::AddTerminal { terminal: terminal(n), merchant, acquirer });
        }
        for n in 0..PAYERS {
            let (kind, number, currency) = (kind_of(n), FundingNumber(n as u64 + 1), CNY);
            street.admin(AdminRequest::AddFunding { kind, number, currency });
            street.admin(AdminRequest::AddPayer { token: token(n), kind, number, currency });
            let amount = cny(1_000_000);
            street.admin(AdminRequest::Fund { kind, number, amount, reference: n as u64 + 1 });
        }
        street
    }

    fn now(&self) -> Now {
        Now { mono: Mono(0), wall: Wall(self.ms), utc_offset_min: 0 }
    }

    fn execute(&mut self, request: Request) -> Answer {
        let now = self.now();
        self.engine.execute(now, &[request]).unwrap().remove(0)
    }

    fn admin(&mut self, request: AdminRequest) {
        let answer = self.execute(Request::Admin(request));
        assert!(matches!(answer, Answer::Admin(AdminAnswer::Done | AdminAnswer::Exists)), "{answer:?}");
    }

    fn message(&mut self, at: usize, body: HostBody) -> HostRequest {
        self.trace += 1;
        let identity = Identity {
            acquirer: AcquirerId(1),
            terminal: terminal(at),
            merchant: merchant(merchant_of(at)),
            batch: BatchNo(1),
            trace: Stan(self.trace),
        };
        HostRequest { identity, digest: ContentDigest([0; 16]), body }
    }

    fn host(&mut self, request: HostRequest) -> HostAnswer {
        match self.execute(Request::Host(request)) {
            Answer::Host(answer) => answer,
            Answer::Admin(_) => panic!("a terminal's answer"),
        }
    }

    /// What all of a merchant's terminals have left, and what was handed out.
    fn handed_out(&mut self, of: usize) -> Option<(CardDate, Tally, Tally)> {
        let store = self.engine.store();
        let Some(Record::Shares(shares)) = store.get(&Key::Shares(merchant(of))).unwrap() else {
            return None;
        };
        let mut left = Tally::default();
        for n in (0..TERMINALS).filter(|n| merchant_of(*n) == of) {
            let key = Key::Usage(UsageOf::Terminal(terminal(n)));
            if let Some(Record::Usage(usage)) = store.get(&key).unwrap()
                && usage.day == shares.day
            {
                left = Tally { minor: left.minor + usage.left.minor, count: left.count + usage.left.count };
            }
        }
        Some((shares.day, shares.granted, left))
    }
}

/// One payment, as the model remembers it.
struct Paid {
    at: usize,
    payer: usize,
    day: i64,
    date: CardDate,
    minor: u64,
    /// Whether the payer, the terminal and the merchant were counted at its time.
    counted: [bool; 3],
    stands: bool,
    /// For good: what becomes of its void makes no difference.
    reversed: bool,
    message: HostRequest,
    answer: HostAnswer,
    void: Option<HostRequest>,
}

/// The reference: every sum is added up from the list of all payments.
#[derive(Default)]
struct Naive {
    limits: Vec<Limit>,
    paid: Vec<Paid>,
}

impl Naive {
    fn limit(&self, scope: LimitScope) -> Option<Limit> {
        self.limits.iter().rev().find(|limit| limit.scope == scope).copied()
    }

    fn used(&self, day: i64, which: usize, of: impl Fn(&Paid) -> bool) -> (u64, u32) {
        let mine = self.paid.iter().filter(|p| p.stands && p.day == day && p.counted[which] && of(p));
        mine.fold((0, 0), |(minor, count), paid| (minor + paid.minor, count + 1))
    }

    /// Field 39, and who is counted.
    fn judge(&self, at: usize, payer: usize, day: i64, minor: u64) -> (&'static str, [bool; 3]) {
        let of_payer =
            self.limit(LimitScope::Payer(account(payer))).or(self.limit(LimitScope::Kind(kind_of(payer))));
        let of_terminal = self.limit(LimitScope::Terminal(terminal(at)));
        let of_merchant = self.limit(LimitScope::Merchant(merchant(merchant_of(at))));
        let limits = [of_payer, of_terminal, of_merchant];
        let counted =
            [of_payer.is_some(), of_terminal.is_some() || of_merchant.is_some(), of_merchant.is_some()];
        if limits.iter().flatten().any(|limit| limit.payment_max.is_some_and(|max| minor > max)) {
            return ("61", counted);
        }
        let used = [
            self.used(day, 0, |p| p.payer == payer),
            self.used(day, 1, |p| p.at == at),
            self.used(day, 2, |p| merchant_of(p.at) == merchant_of(at)),
        ];
        for (limit, (sum, count)) in limits.iter().zip(used) {
            let Some(limit) = limit else { continue };
            if limit.day_sum_max.is_some_and(|max| sum + minor > max) {
                return ("61", counted);
            }
            if limit.day_count_max.is_some_and(|max| count + 1 > max) {
                return ("65", counted);
            }
        }
        ("00", counted)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Pay { at: usize, payer: usize, minor: u64, hold: bool },
    Void(prop::sample::Index),
    Reverse(prop::sample::Index),
    ReverseVoid(prop::sample::Index),
    Set { scope: usize, payment: Option<u64>, sum: Option<u64>, count: Option<u32> },
    Tomorrow,
    ClockBack,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pay = (0..TERMINALS, 0..PAYERS, 1u64..60, any::<bool>());
    let set = (
        0..scopes().len(),
        prop::option::weighted(0.3, 20u64..60),
        prop::option::weighted(0.7, 50u64..400),
        prop::option::weighted(0.4, 1u32..9),
    );
    let step = prop_oneof![
        20 => pay.prop_map(|(at, payer, minor, hold)| Step::Pay { at, payer, minor, hold }),
        3 => any::<prop::sample::Index>().prop_map(Step::Void),
        3 => any::<prop::sample::Index>().prop_map(Step::Reverse),
        2 => any::<prop::sample::Index>().prop_map(Step::ReverseVoid),
        4 => set.prop_map(|(scope, payment, sum, count)| Step::Set { scope, payment, sum, count }),
        1 => Just(Step::Tomorrow),
        1 => Just(Step::ClockBack),
    ];
    prop::collection::vec(step, 1..60)
}

const APPROVED: ResponseCode = ResponseCode::APPROVED;

impl Naive {
    fn step(&mut self, street: &mut Street, day: &mut i64, step: &Step) {
        match step {
            Step::Pay { at, payer, minor, hold } => {
                let (expected, counted) = self.judge(*at, *payer, *day, *minor);
                let (amount, token) = (cny(*minor), token(*payer));
                let body = if *hold {
                    HostBody::PreAuthorise { payer: token, amount }
                } else {
                    HostBody::Purchase { payer: token, amount }
                };
                let message = street.message(*at, body);
                let answer = street.host(message.clone());
                assert_eq!(answer.code, code(expected), "{step:?}");
                if answer.code == APPROVED {
                    let (at, payer, minor, day) = (*at, *payer, *minor, *day);
                    let stands = true;
                    let date = street.now().local().unwrap().0;
                    self.paid.push(Paid {
                        at,
                        payer,
                        day,
                        date,
                        minor,
                        counted,
                        stands,
                        reversed: false,
                        message,
                        answer,
                        void: None,
                    });
                }
            }
            Step::Void(index) if !self.paid.is_empty() => {
                let which = index.index(self.paid.len());
                let paid = &mut self.paid[which];
                let original = Original { reference: paid.answer.reference, ..Original::default() };
                let amount = cny(paid.minor);
                let body = match paid.message.body {
                    HostBody::PreAuthorise { .. } => HostBody::PreAuthorisationVoid { original, amount },
                    _ => HostBody::Void { original, amount },
                };
                let message = street.message(paid.at, body);
                let approved = street.host(message.clone()).code == APPROVED;
                assert_eq!(approved, paid.stands);
                if approved {
                    (paid.stands, paid.void) = (false, Some(message));
                }
            }
            Step::Reverse(index) if !self.paid.is_empty() => {
                let which = index.index(self.paid.len());
                let paid = &mut self.paid[which];
                let reversal = World::<MemoryStore>::reversal(&paid.message, cny(paid.minor));
                assert_eq!(street.host(reversal).code, APPROVED);
                (paid.stands, paid.reversed) = (false, true);
            }
            Step::ReverseVoid(index) if !self.paid.is_empty() => {
                let which = index.index(self.paid.len());
                let paid = &mut self.paid[which];
                let Some(void) = paid.void.take() else { return };
                let reversal = World::<MemoryStore>::reversal(&void, cny(paid.minor));
                assert_eq!(street.host(reversal).code, APPROVED);
                paid.stands = !paid.reversed;
            }
            Step::Set { scope, payment, sum, count } => {
                let scope = scopes()[*scope];
                let limit = Limit { scope, payment_max: *payment, day_sum_max: *sum, day_count_max: *count };
                street.admin(AdminRequest::SetLimit(limit));
                self.limits.push(limit);
            }
            Step::Tomorrow => {
                street.ms += DAY_MS;
                *day += 1;
            }
            // The time of commits never goes back, and so neither does the day.
            Step::ClockBack => street.ms -= 1000,
            Step::Void(_) | Step::Reverse(_) | Step::ReverseVoid(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

    #[test]
    fn every_payment_is_judged_as_if_all_payments_were_added_up_anew(steps in steps()) {
        let (mut street, mut naive, mut day) = (Street::new(), Naive::default(), 0);
        for step in &steps {
            naive.step(&mut street, &mut day, step);
            for of in 0..2 {
                if let Some((_, granted, left)) = street.handed_out(of) {
                    prop_assert!(granted.minor >= left.minor && granted.count >= left.count);
                }
            }
        }
        for of in 0..2 {
            if let Some((date, granted, left)) = street.handed_out(of) {
                // Whatever was handed out was used or is left: nothing of a limit gets lost.
                let that_day = naive.paid.iter().filter(|p| p.date == date && merchant_of(p.at) == of);
                let used = that_day.filter(|p| p.stands && p.counted[2]);
                let (minor, count) = used.fold((0, 0), |(minor, count), p| (minor + p.minor, count + 1));
                prop_assert_eq!((granted.minor - left.minor, granted.count - left.count), (minor, count));
            }
        }
    }
}

#[test]
fn a_merchants_row_is_touched_some_tens_of_times_for_thousands_of_payments() {
    let mut street = Street::new();
    let scope = LimitScope::Merchant(merchant(0));
    street.admin(AdminRequest::SetLimit(Limit { scope, day_sum_max: Some(100_000), ..NONE }));
    let (mut before, mut touched) = (None, 0);
    for n in 0..2_000 {
        let body = HostBody::Purchase { payer: token(n % PAYERS), amount: cny(45) };
        let message = street.message(n % 4, body);
        assert_eq!(street.host(message).code, APPROVED);
        let now = street.engine.store().get(&Key::Shares(merchant(0))).unwrap();
        touched += usize::from(now != before);
        before = now;
    }
    assert!(touched < 60, "{touched}");
}
