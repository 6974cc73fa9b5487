//! Several gateways on one database in memory: the suite with every decision at another gateway, and every pair of requests in which the
//! second one is decided on what was there before the first.

use super::world::*;
use crate::Engine;
use crate::accounts::chart::{Book, FundingKind, FundingNumber};
use crate::accounts::{Hold, TransactionSeq};
use crate::api::*;
use crate::store::memory::shared::{Database, Landing, SharedStore};
use crate::store::{Batch, GatewayNo, Heads, Key, Outcome, Record, Scan, Store, StoreFault, Visit};
use keys::KeyModule;
use protocol::ids::*;
use protocol::iso8583::f58::{RecordState, TransactionRecord};
use protocol::purse::{Moment, Suite, Tac};
use protocol::time::Wall;
use std::sync::Arc;

fn number(gateway: u16) -> GatewayNo {
    GatewayNo::new(gateway).unwrap()
}

/// Three gateways; each decision is the next one's. One of them starts anew after every seventh commit.
pub(crate) struct InTurn {
    stores: Vec<SharedStore>,
    turn: usize,
    commits: usize,
    reading: bool,
}

impl InTurn {
    pub(crate) fn new() -> Self {
        let database = Database::new();
        let stores = [0, 1, 900].map(|gateway| database.gateway(number(gateway)));
        Self { stores: stores.into(), turn: 0, commits: 0, reading: false }
    }

    fn store(&mut self) -> &mut SharedStore {
        &mut self.stores[self.turn]
    }
}

impl Store for InTurn {
    fn heads(&self) -> Heads {
        self.stores[self.turn].heads()
    }
    fn begin(&mut self) -> Result<(), StoreFault> {
        if !self.reading {
            self.turn = (self.turn + 1) % self.stores.len();
        }
        self.store().begin()
    }
    fn confirm(&mut self) -> Result<(), StoreFault> {
        self.store().confirm()
    }
    fn begin_reading(&mut self) -> Result<(), StoreFault> {
        self.reading = true;
        self.store().begin_reading()
    }
    fn end_reading(&mut self) {
        self.reading = false;
        self.store().end_reading();
    }
    fn get(&mut self, key: &Key) -> Result<Option<Record>, StoreFault> {
        self.store().get(key)
    }
    fn due_holds(&mut self, now: Wall, limit: usize) -> Result<Vec<Hold>, StoreFault> {
        self.store().due_holds(now, limit)
    }
    fn scan(&mut self, scan: Scan, visit: Visit<'_>) -> Result<(), StoreFault> {
        self.store().scan(scan, visit)
    }
    fn commit(&mut self, batch: &Batch) -> Result<Vec<Outcome>, StoreFault> {
        let outcome = self.store().commit(batch)?;
        self.commits += 1;
        if self.commits.is_multiple_of(7) {
            let gateway = self.store().heads().gateway();
            let again = self.store().database().gateway(gateway);
            assert_eq!(again.heads(), self.store().heads(), "where the numbers stand is found again");
            *self.store() = again;
        }
        Ok(outcome)
    }
    fn skip_to(&mut self, at: Wall, next: TransactionSeq) -> Result<(), StoreFault> {
        self.store().skip_to(at, next)
    }
    fn copy_to(&mut self, file: &std::path::Path) -> Result<(), StoreFault> {
        self.store().copy_to(file)
    }
    fn import(&mut self, records: &[Record]) -> Result<(), StoreFault> {
        self.store().import(records)
    }
    fn import_done(&mut self) -> Result<(), StoreFault> {
        self.store().import_done()
    }
}

type Named = (&'static str, Request);

/// An afternoon in a shop, and requests that touch each other in every way: of one payer, card, batch, terminal, transaction, number.
struct Afternoon {
    database: Database,
    keys: Arc<dyn KeyModule>,
    requests: Vec<Named>,
    world: World<SharedStore>,
}

fn torn(record: TransactionRecord, state: RecordState) -> TransactionRecord {
    TransactionRecord { state, tac: Tac::zero(Suite::Aes), ..record }
}

fn by_reference(answer: &HostAnswer) -> Original {
    Original { reference: answer.reference, ..Original::default() }
}

fn named(answer: &HostAnswer) -> Original {
    Original { authorisation: answer.authorisation, ..by_reference(answer) }
}

impl Afternoon {
    fn new() -> Self {
        let database = Database::new();
        let mut world = World::new(database.gateway(number(3)));
        let mut requests: Vec<Named> = Vec::new();
        world.fund(30_000, 1);
        let buy = |minor| HostBody::Purchase { payer: PAYER, amount: cny(minor) };
        let settled = world.send(buy(600));
        world.settle();
        let second = world.message(t1(), buy(300));
        let bought = world.host(second.clone());
        let voiding = HostBody::Void { original: by_reference(&bought), amount: cny(300) };
        let hold = world.send(HostBody::PreAuthorise { payer: PAYER, amount: cny(1_000) });
        let other_hold = world.send(HostBody::PreAuthorise { payer: PAYER, amount: cny(2_000) });
        let complete = |of: &HostAnswer, minor| HostBody::Complete {
            payer: PAYER,
            original: named(of),
            amount: cny(minor),
            advice: false,
        };
        let completed = world.send(complete(&other_hold, 1_500));
        let mut card = world.card(1);
        world.loaded(&mut card, 5_000);
        let mut other = world.card(2);
        world.loaded(&mut other, 5_000);
        let open = world.load(&mut other, 700);
        let consent = world.host(open.clone());
        let credited = other.clone().credit(700, SAM_1, consent.moment);
        let uncertain = card.pay(10, SAM_1, 1);
        assert_eq!(world.upload(&[torn(uncertain, RecordState::Uncertain)]), ["01"]);
        let limit = |scope, sum| Limit { scope, payment_max: None, day_sum_max: sum, day_count_max: None };
        world.admin(AdminRequest::SetLimit(limit(LimitScope::Merchant(shop()), Some(4_000))));
        // What is left of the payer's money covers one of two large payments.
        let left = world.available();

        let mut say = |world: &mut World<SharedStore>, name, terminal, body| {
            requests.push((name, Request::Host(world.message(terminal, body))));
        };
        say(&mut world, "purchase", t1(), buy(left - 100));
        say(&mut world, "another purchase", t1(), buy(left - 200));
        say(&mut world, "small purchase", t1(), buy(50));
        say(&mut world, "void", t1(), voiding.clone());
        say(&mut world, "void again", t1(), voiding);
        let refund = |minor| HostBody::Refund { original: by_reference(&settled), amount: cny(minor) };
        say(&mut world, "refund", t1(), refund(400));
        say(&mut world, "another refund", t1(), refund(300));
        say(&mut world, "completion", t1(), complete(&hold, 1_000));
        say(&mut world, "another completion", t1(), complete(&hold, 900));
        let original = named(&hold);
        say(
            &mut world,
            "void of a hold",
            t1(),
            HostBody::PreAuthorisationVoid { original, amount: cny(1_000) },
        );
        let original = by_reference(&completed);
        say(
            &mut world,
            "void of a completion",
            t1(),
            HostBody::CompletionVoid { original, amount: cny(1_500) },
        );
        let totals = world.host_totals();
        say(&mut world, "settlement", t1(), HostBody::Settle { totals });
        say(&mut world, "wrong settlement", t1(), HostBody::Settle { totals: BatchTotals::default() });
        let item =
            UploadItem { side: Side::Debit, key: ItemKey::Trace(second.identity.trace), amount: cny(300) };
        say(&mut world, "upload", t1(), HostBody::Upload { items: vec![item] });
        say(&mut world, "end of upload", t1(), HostBody::UploadEnd);
        let request = other.clone().request(800, SAM_1);
        let linked = LoadSource::Linked;
        say(&mut world, "load at the same counter", t1(), HostBody::Load { source: linked, request });
        let request = card.clone().request(900, SAM_2);
        say(&mut world, "load at the other terminal", t2(), HostBody::Load { source: linked, request });
        let request = card.clone().request(901, SAM_1);
        say(&mut world, "load", t1(), HostBody::Load { source: linked, request });
        let receipt = |record| HostBody::LoadConfirm { original: Original::default(), record };
        say(&mut world, "confirmation", t1(), receipt(credited));
        say(&mut world, "confirmation again", t1(), receipt(credited));
        let mut next = card.clone();
        let following = next.pay(20, SAM_1, 2);
        let mut fork = card.clone();
        let forked = fork.pay(30, SAM_2, 1);
        let records = |records: &[&TransactionRecord]| HostBody::OfflineRecords {
            records: records.iter().map(|record| **record).collect(),
        };
        say(&mut world, "record", t1(), records(&[&following]));
        say(&mut world, "the same record elsewhere", t2(), records(&[&following]));
        say(&mut world, "another record at its counter", t2(), records(&[&forked]));
        say(&mut world, "proof of an uncertain record", t1(), records(&[&uncertain, &following]));
        let void = torn(uncertain, RecordState::Void);
        say(&mut world, "void of an uncertain record", t1(), records(&[&void]));
        let mut say = |name, message| requests.push((name, Request::Host(message)));
        say("reversal", World::<SharedStore>::reversal(&second, cny(300)));
        say("reversal of a load", World::<SharedStore>::reversal(&open, cny(700)));
        let fresh = world.message(t1(), buy(40));
        say("reversal before its purchase", World::<SharedStore>::reversal(&fresh, cny(40)));
        say("its purchase", fresh.clone());
        say("its purchase with other content", HostRequest { digest: ContentDigest([0; 16]), ..fresh });

        let (kind, funding) = (FundingKind::Bank, FundingNumber(1));
        let from = Moment::from_bytes([0x20, 0x26, 0x06, 0x01, 0, 0, 0]);
        let shop_named = |text| MerchantId::from_text(text).unwrap();
        let (issuer, asn) = (ISSUER, card.asn);
        for (name, request) in [
            (
                "merchant",
                AdminRequest::AddMerchant { merchant: shop_named("NEW"), name: "New".into(), currency: CNY },
            ),
            (
                "other merchant",
                AdminRequest::AddMerchant {
                    merchant: shop_named("NEWER"),
                    name: "Newer".into(),
                    currency: CNY,
                },
            ),
            ("SAM elsewhere", AdminRequest::AssignSam { sam: SAM_1, terminal: t2(), from }),
            ("money", AdminRequest::Fund { kind, number: funding, amount: cny(5), reference: 9 }),
            ("closing an account", AdminRequest::CloseFunding { kind, number: funding, currency: CNY }),
            ("other keys", AdminRequest::SetCardKeys { issuer, asn, key_version: KeyVersion(2) }),
            ("denial", AdminRequest::SetCardStatus { issuer, asn, status: CardStatus::Denied }),
            (
                "denial of another",
                AdminRequest::SetCardStatus { issuer, asn: other.asn, status: CardStatus::Denied },
            ),
            ("policy", AdminRequest::ResolveUncertain { wait_ms: 0 }),
            ("a person's decision", AdminRequest::DecideUncertain { sam: SAM_1, seq: TermSeq(1), pay: true }),
            ("limit", AdminRequest::SetLimit(limit(LimitScope::Merchant(shop()), Some(10)))),
            (
                "first limit of a payer",
                AdminRequest::SetLimit(limit(
                    LimitScope::Payer(Book::Funding(kind, funding).id(CNY)),
                    Some(10),
                )),
            ),
        ] {
            requests.push((name, Request::Admin(request)));
        }
        let keys: Arc<dyn KeyModule> = world.keys.clone();
        Self { database, keys, requests, world }
    }

    /// What a gateway decides, after `how` was said to its store.
    fn decide(
        &self,
        on: &Database,
        gateway: u16,
        request: &Request,
        how: impl FnOnce(&mut SharedStore),
    ) -> (Answer, u64) {
        let mut engine = Engine::new(on.gateway(number(gateway)), Arc::clone(&self.keys));
        how(engine.store());
        let submitted = engine.submit(self.world.now(), std::slice::from_ref(request)).unwrap();
        let (Submitted::Done(mut answers) | Submitted::UnderWay(mut answers)) = submitted else {
            panic!("nothing was submitted before")
        };
        if engine.finish().is_err() {
            answers = engine.execute(self.world.now(), std::slice::from_ref(request)).unwrap();
        }
        (answers.remove(0), engine.store().conflicts())
    }
}

impl Afternoon {
    /// What a gateway answers whose second request is decided while the commit of the first is on its way, and whether it was decided on that.
    fn decide_on(
        &self,
        on: &Database,
        (first, second): (&Request, &Request),
        landing: Landing,
    ) -> (Answer, Answer, bool) {
        let mut store = on.gateway(number(1));
        store.overlap();
        let mut engine = Engine::new(store, Arc::clone(&self.keys));
        let now = self.world.now();
        let submit = |engine: &mut Engine<SharedStore>, request: &Request| {
            engine.submit(now, std::slice::from_ref(request)).unwrap()
        };
        let (mut one, under_way) = match submit(&mut engine, first) {
            Submitted::UnderWay(answers) => (answers, true),
            Submitted::Done(answers) => (answers, false),
            Submitted::BeforeLost(fault) => panic!("nothing was submitted before: {fault}"),
        };
        let before = on.now();
        engine.store().plan_landing(landing.clone());
        let is_there = on.now() > before;
        assert_eq!(is_there, under_way && landing == Landing::Early, "{landing:?}");
        let mut submitted = submit(&mut engine, second);
        if let Submitted::BeforeLost(_) = submitted {
            one = engine.execute(now, std::slice::from_ref(first)).unwrap();
            submitted = submit(&mut engine, second);
        }
        let (Submitted::Done(mut two) | Submitted::UnderWay(mut two)) = submitted else {
            panic!("it was decided again")
        };
        engine.finish().unwrap();
        (one.remove(0), two.remove(0), engine.store().read_ahead() > 0)
    }
}

fn rows(database: &Database) -> Vec<Record> {
    let mut all = Vec::new();
    let mut table = database.table();
    for kind in crate::store::Kind::ALL {
        let mut take = |record| {
            all.push(record);
            std::ops::ControlFlow::Continue(())
        };
        table.scan(Scan::After(kind, None), &mut take).unwrap();
    }
    all
}

#[test]
fn whoever_is_overtaken_by_any_request_answers_and_books_as_if_it_had_come_after_it() {
    let afternoon = Afternoon::new();
    let (mut overtaken, mut pairs) = (0, 0);
    for (first_name, first) in &afternoon.requests {
        let one_by_one = afternoon.database.copy();
        afternoon.decide(&one_by_one, 1, first, |_| ());
        for (second_name, second) in &afternoon.requests {
            pairs += 1;
            let expected = one_by_one.copy();
            let (answer, _) = afternoon.decide(&expected, 2, second, |_| ());
            let mut conflicts = 0;
            for reads in [1, 2, 3, 4, 5, 6, 7, 8, 10, usize::MAX] {
                let at_once = afternoon.database.copy();
                let before = at_once.now();
                afternoon.decide(&at_once, 1, first, |_| ());
                let (told, conflict) = afternoon.decide(&at_once, 2, second, |store| {
                    store.read_before(before, reads);
                    if reads % 2 == 0 {
                        store.overlap();
                    }
                });
                let pair = format!("{second_name}, overtaken by {first_name} after {reads} reads");
                assert_eq!(told, answer, "{pair}");
                assert!(rows(&at_once) == rows(&expected), "{pair}: other books");
                conflicts += conflict;
            }
            overtaken += u64::from(conflicts > 0);
        }
    }
    assert!(overtaken * 3 > pairs, "only {overtaken} of {pairs} pairs met at all");
}

#[test]
fn whatever_becomes_of_a_commit_on_its_way_both_requests_are_answered_and_booked_as_if_one_after_the_other() {
    let afternoon = Afternoon::new();
    let mut read_ahead = 0;
    for (first_name, first) in &afternoon.requests {
        let after_first = afternoon.database.copy();
        let (first_answer, _) = afternoon.decide(&after_first, 1, first, |_| ());
        for (second_name, second) in &afternoon.requests {
            let expected = after_first.copy();
            let (second_answer, _) = afternoon.decide(&expected, 1, second, |_| ());
            for landing in [
                Landing::Late,
                Landing::Early,
                Landing::Lost(StoreFault::Full),
                Landing::Lost(StoreFault::Conflict),
                Landing::FoundOut { kept: true },
                Landing::FoundOut { kept: false },
            ] {
                let on = afternoon.database.copy();
                let (one, two, ahead) = afternoon.decide_on(&on, (first, second), landing.clone());
                let pair = format!("{second_name}, on {first_name} that was {landing:?}");
                assert_eq!((one, two), (first_answer.clone(), second_answer.clone()), "{pair}");
                assert!(rows(&on) == rows(&expected), "{pair}: other books");
                read_ahead += u64::from(ahead);
            }
        }
    }
    assert!(read_ahead > 1_000, "only {read_ahead} read what was on its way");
}

#[test]
fn nothing_that_was_decided_on_a_commit_which_was_not_kept_is_ever_committed() {
    let afternoon = Afternoon::new();
    let change = |store: &mut SharedStore, name: &str| {
        store.begin().unwrap();
        let key = Key::Merchant(MerchantId::from_text("KEPT").unwrap());
        let before = store.get(&key).unwrap();
        let Key::Merchant(id) = key else { panic!("a merchant") };
        let merchant = crate::store::Merchant {
            id,
            number: crate::accounts::chart::MerchantNumber(99),
            name: name.into(),
            currency: CNY,
        };
        (before, Batch { at: Wall(0), changes: vec![Record::Merchant(merchant)] })
    };
    for landing in [Landing::Lost(StoreFault::Full), Landing::FoundOut { kept: false }] {
        let on = afternoon.database.copy();
        let before = rows(&on);
        let mut store = on.gateway(number(1));
        store.overlap();
        let (none, first) = change(&mut store, "first");
        assert!(none.is_none());
        store.start(&first).unwrap();
        store.plan_landing(landing.clone());
        let (ahead, second) = change(&mut store, "second");
        assert!(ahead.is_some(), "it reads what is on its way");
        assert_eq!(
            store.start(&second),
            Err(StoreFault::Conflict),
            "{landing:?}: before the failure was told"
        );
        assert!(store.finish().is_err() && store.finish() == Ok(()), "{landing:?}: told once");
        assert!(rows(&on) == before, "{landing:?}");
        assert_eq!(store.heads(), on.gateway(number(1)).heads());
    }
}

#[test]
fn no_decision_reads_as_of_a_moment_before_its_gateways_own_commits() {
    let on = Database::new();
    let before = on.now();
    let mut store = on.gateway(number(1));
    store.begin().unwrap();
    let id = MerchantId::from_text("OWN").unwrap();
    let merchant = crate::store::Merchant {
        id,
        number: crate::accounts::chart::MerchantNumber(7),
        name: "Own".into(),
        currency: CNY,
    };
    store.commit(&Batch { at: Wall(0), changes: vec![Record::Merchant(merchant)] }).unwrap();
    // Started anew, so that nothing of it is remembered.
    for (gateway, sees) in [(1, true), (2, false)] {
        let mut store = on.gateway(number(gateway));
        store.read_before(before, usize::MAX);
        store.begin().unwrap();
        assert_eq!(store.get(&Key::Merchant(id)).unwrap().is_some(), sees, "gateway {gateway}");
    }
}

#[test]
fn a_database_keeps_one_row_for_each_name_and_gives_each_gateway_numbers_of_its_own() {
    let afternoon = Afternoon::new();
    let (_, purchase) = &afternoon.requests[2];
    let on = afternoon.database.copy();
    let before = on.now();
    let (one, _) = afternoon.decide(&on, 1, purchase, |_| ());
    let (other, conflicts) =
        afternoon.decide(&on, 2, purchase, |store| store.read_before(before, usize::MAX));
    let (Answer::Host(one), Answer::Host(other)) = (one, other) else { panic!("a terminal's answers") };
    assert_eq!((conflicts, other), (1, HostAnswer { repeat: true, ..one.clone() }));
    assert_eq!(on.gateway(number(2)).heads(), number(2).heads(), "the second has booked nothing");
    assert_eq!(&one.reference.unwrap().as_str()[..2], "A1");
}

#[test]
fn a_moment_that_nobody_remembers_is_one_at_which_the_gateway_was_overtaken() {
    let database = Database::new();
    let before = database.now();
    let mut world = World::new(database.gateway(number(1)));
    (1..100).for_each(|reference| world.fund(10, reference));
    // Another gateway: what a gateway has committed itself, it sees.
    let keys: Arc<dyn KeyModule> = world.keys.clone();
    world.engine = Engine::new(database.gateway(number(2)), keys);
    world.engine.store().read_before(before, usize::MAX);
    assert_eq!(world.available(), 990);
    assert_eq!(world.engine.store().conflicts(), 1);
}
