//! Loads in any order (decision 20): requests that were kept back and sent late, or twice, at another terminal or from another payer; consents that were
//! lost; proofs that come late, unnamed or never; reversals of what was credited; a person who is right or wrong. At any moment whatever a card may
//! have been credited with is held; and once every proof has come, every payer has paid for exactly what the cards took.

use super::world::*;
use crate::accounts::chart::{Book, FundingKind, FundingNumber, MerchantNumber};
use crate::api::*;
use crate::store::memory::MemoryStore;
use proptest::prelude::*;
use protocol::ids::*;
use protocol::iso8583::f58::{LoadRequest, TransactionRecord};

const FUNDS: u64 = 100_000;
const CARDS: usize = 2;

/// One step. Indices are taken modulo what there is.
#[derive(Clone, Debug)]
enum Act {
    /// The card makes a request: for how much, at which terminal.
    Init {
        card: usize,
        amount: u32,
        cafe: bool,
    },
    /// Any request that was ever made is sent, and the card is credited if it is its newest.
    Send {
        request: usize,
        cash: bool,
        credit: bool,
    },
    /// The next request at once, as an honest terminal does it.
    Ask {
        card: usize,
        amount: u32,
        cafe: bool,
        cash: bool,
        credit: bool,
    },
    Prove {
        receipt: usize,
        how: u8,
    },
    Reverse {
        message: usize,
    },
    Pay {
        card: usize,
        percent: u32,
    },
    Upload,
    Release {
        card: usize,
    },
    Credit {
        card: usize,
        which: usize,
    },
    Settle,
}

fn act() -> impl Strategy<Value = Act> {
    let amount = || prop_oneof![1u32..4, 1u32..900];
    let at = any::<usize>;
    prop_oneof![
        3 => (0..CARDS, amount(), any::<bool>()).prop_map(|(card, amount, cafe)| Act::Init { card, amount, cafe }),
        6 => (at(), prop::bool::weighted(0.3), any::<bool>())
            .prop_map(|(request, cash, credit)| Act::Send { request, cash, credit }),
        5 => (0..CARDS, amount(), any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.7))
            .prop_map(|(card, amount, cafe, cash, credit)| Act::Ask { card, amount, cafe, cash, credit }),
        3 => (at(), 0u8..3).prop_map(|(receipt, how)| Act::Prove { receipt, how }),
        2 => at().prop_map(|message| Act::Reverse { message }),
        2 => (0..CARDS, 0u32..=100).prop_map(|(card, percent)| Act::Pay { card, percent }),
        1 => Just(Act::Upload),
        1 => (0..CARDS).prop_map(|card| Act::Release { card }),
        1 => (0..CARDS, at()).prop_map(|(card, which)| Act::Credit { card, which }),
        1 => Just(Act::Settle),
    ]
}

/// Who pays for a load: the funding account, or a merchant who took cash.
#[derive(Clone, Copy, PartialEq, Debug)]
enum From {
    Account,
    Shop,
    Cafe,
}

struct Receipt {
    record: TransactionRecord,
    /// Who answers for it, and the message that asked.
    from: From,
    consent: HostAnswer,
    card: usize,
    proved: bool,
}

struct Day {
    world: World<MemoryStore>,
    cards: Vec<TestCard>,
    requests: Vec<(usize, LoadRequest)>,
    /// Consents by message, with the card and counter they were for.
    sent: Vec<(HostRequest, u64, HostAnswer, usize, u16)>,
    receipts: Vec<Receipt>,
    debits: Vec<TransactionRecord>,
    paid_offline: u64,
    /// A person has had a word: what was held may have been released.
    decided: bool,
    /// A person has said which load a card was credited with, and may be wrong until its proof comes.
    told: bool,
    sequence: u32,
}

impl Day {
    fn new() -> Self {
        let mut world = World::new(MemoryStore::new());
        world.fund(FUNDS, 1);
        let cards = (1..).take(CARDS).map(|n| world.card(n)).collect();
        Self {
            world,
            cards,
            requests: Vec::new(),
            sent: Vec::new(),
            receipts: Vec::new(),
            debits: Vec::new(),
            paid_offline: 0,
            decided: false,
            told: false,
            sequence: 0,
        }
    }

    fn init(&mut self, card: usize, amount: u32, cafe: bool) -> usize {
        let sam = if cafe { SAM_2 } else { SAM_1 };
        let request = self.cards[card].request(amount, sam);
        self.requests.push((card, request));
        self.requests.len() - 1
    }

    fn send(&mut self, at: usize, cash: bool, credit: bool) {
        let (card, request) = self.requests[at];
        let (terminal, merchant) =
            if request.terminal == SAM_2 { (t2(), From::Cafe) } else { (t1(), From::Shop) };
        let (source, from) =
            if cash { (LoadSource::Cash, merchant) } else { (LoadSource::Linked, From::Account) };
        let message = self.world.message(terminal, HostBody::Load { source, request });
        let consent = self.world.host(message.clone());
        if consent.code != code("00") {
            return;
        }
        let minor = u64::from(request.amount.0);
        self.sent.push((message, minor, consent.clone(), card, request.counter.0));
        // Any other command, and another INIT, ends the one before.
        let newest = self.requests.iter().rposition(|(of, _)| *of == card) == Some(at);
        if credit && newest && request.counter.0 == self.cards[card].online {
            assert_eq!(request.balance.0, self.cards[card].balance);
            let record = self.cards[card].credit(request.amount.0, request.terminal, consent.moment);
            self.receipts.push(Receipt { record, from, consent, card, proved: false });
        }
    }

    fn prove(&mut self, at: usize, how: u8) {
        let Receipt { record, consent, .. } = &self.receipts[at];
        let (record, reference) = (*record, consent.reference);
        let terminal = if record.terminal == SAM_2 { t2() } else { t1() };
        let named = Original { reference, ..Original::default() };
        let body = match how {
            0 => HostBody::LoadConfirm { original: named, record },
            1 => HostBody::LoadConfirm { original: Original::default(), record },
            _ => HostBody::OfflineRecords { records: vec![record] },
        };
        let message = self.world.message(terminal, body);
        let answer = self.world.host(message);
        assert_eq!(answer.code, code("00"), "{answer:?}");
        if how >= 2 {
            assert_eq!(codes(&answer), ["00"]);
        }
        self.receipts[at].proved = true;
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Init { card, amount, cafe } => {
                self.init(card, amount, cafe);
            }
            Act::Send { request, cash, credit } if !self.requests.is_empty() => {
                self.send(request % self.requests.len(), cash, credit);
            }
            Act::Ask { card, amount, cafe, cash, credit } => {
                let request = self.init(card, amount, cafe);
                self.send(request, cash, credit);
            }
            Act::Prove { receipt, how } if !self.receipts.is_empty() => {
                self.prove(receipt % self.receipts.len(), how);
            }
            Act::Reverse { message } if !self.sent.is_empty() => {
                let (message, minor, ..) = &self.sent[message % self.sent.len()];
                let reversal = World::<MemoryStore>::reversal(message, cny(*minor));
                assert_eq!(self.world.host(reversal).code, code("00"));
            }
            Act::Pay { card, percent } => {
                let amount = self.cards[card].balance * percent / 100;
                self.sequence += 1;
                let record = self.cards[card].pay(amount, SAM_1, self.sequence);
                // It ends an INIT that was open.
                self.init(card, 1, false);
                self.paid_offline += u64::from(amount);
                self.debits.push(record);
            }
            Act::Upload => self.upload(),
            Act::Release { card } => {
                let Some(counter) = self.world.card_report(&self.cards[card]).open_counter else { return };
                let answer = self.world.release(&self.cards[card], counter.0);
                self.decided |= answer == AdminAnswer::Done;
            }
            Act::Credit { card, which } => {
                let of: Vec<_> = self.sent.iter().filter(|it| it.3 == card).collect();
                if of.is_empty() {
                    return;
                }
                let (_, _, consent, _, counter) = of[which % of.len()];
                let transaction = transaction_of(consent.reference.unwrap()).unwrap();
                // Not one of a counter that the card has not left: a person believes what the card's display says, and no more.
                if *counter >= self.cards[card].online {
                    return;
                }
                let (asn, counter) = (self.cards[card].asn, OnlineCounter(*counter));
                let credit = AdminRequest::CreditLoad { issuer: ISSUER, asn, counter, transaction };
                self.told |= self.world.admin(credit) == AdminAnswer::Done;
                self.decided |= self.told;
            }
            Act::Settle => {
                for terminal in [t1(), t2()] {
                    let query = Query::Batch(terminal, BatchNo(self.world.batch));
                    let Report::Batch(batch) = self.world.engine.query(&query).unwrap() else { continue };
                    let message = self.world.message(terminal, HostBody::Settle { totals: batch.host });
                    assert_eq!(self.world.host(message).code, code("00"));
                }
                self.world.batch += 1;
            }
            _ => {}
        }
    }

    fn upload(&mut self) {
        for records in std::mem::take(&mut self.debits).chunks(12) {
            let codes = self.world.upload(records);
            assert!(codes.iter().all(|code| code == "00"), "{codes:?}");
        }
    }

    /// Whatever a card was credited with, and nobody has proved, is booked or held; unless a person has released it. Released or not: of what a card
    /// took, all but the newest is booked as the card took it, and nothing else is.
    fn nothing_is_free(&mut self) {
        let report = self.world.audit();
        if !self.decided {
            assert!(report.is_clean(), "{:?}", report.exceptions);
        }
        for card in 0..CARDS {
            let credited: u64 = self.of(card).map(|it| u64::from(it.record.amount.0)).sum();
            let report = self.world.card_report(&self.cards[card]);
            let newest = self.of(card).last().map_or(0, |it| u64::from(it.record.amount.0));
            let booked = [credited - newest, credited].contains(&report.loaded);
            assert!(self.told || booked, "card {card}: {} booked of {credited}", report.loaded);
            let covered = report.loaded + report.open_amounts.last().copied().unwrap_or(0);
            assert!(self.decided || covered >= credited, "card {card}: {covered} of {credited}");
            assert!(report.open_loads >= report.open_amounts.last().copied().unwrap_or(0));
        }
    }

    fn of(&self, card: usize) -> impl Iterator<Item = &Receipt> {
        self.receipts.iter().filter(move |it| it.card == card)
    }

    fn close(mut self) {
        for at in 0..self.receipts.len() {
            self.prove(at, (at % 3) as u8);
        }
        self.upload();
        // What is held still is held for what no card was credited with.
        for card in 0..CARDS {
            if let Some(counter) = self.world.card_report(&self.cards[card]).open_counter {
                assert_eq!(counter.0, self.cards[card].online);
                assert_eq!(self.world.release(&self.cards[card], counter.0), AdminAnswer::Done);
            }
        }
        let report = self.world.audit();
        assert_eq!(report.exceptions, []);
        let on_cards: i128 = self.cards.iter().map(|card| i128::from(card.balance)).sum();
        assert_eq!((report.float[0].posted, report.float[0].pending), (on_cards, 0), "float and cards");
        let took = |from| -> i128 {
            let of = self.receipts.iter().filter(|it| it.from == from);
            of.map(|it| i128::from(it.record.amount.0)).sum()
        };
        let (account, shop_took, cafe_took) = (took(From::Account), took(From::Shop), took(From::Cafe));
        let bank = Book::Funding(FundingKind::Bank, FundingNumber(1));
        assert_eq!(self.world.net(bank), i128::from(FUNDS) - account, "the account paid what it had to");
        let payable = |world: &mut World<_>, number| world.net(Book::MerchantPayable(MerchantNumber(number)));
        let offline = i128::from(self.paid_offline);
        assert_eq!(payable(&mut self.world, 1), offline - shop_took, "the shop");
        assert_eq!(payable(&mut self.world, 2), -cafe_took, "the café");
        let wrong = [AlertKind::WrongTac, AlertKind::LoadLoss, AlertKind::Fork];
        let alerts = self.world.alerts();
        assert!(alerts.iter().all(|alert| !wrong.contains(alert)), "{alerts:?}");
        assert!(self.decided || !alerts.contains(&AlertKind::LateLoad), "{alerts:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_payers_pay_for_exactly_what_the_cards_took(
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let mut day = Day::new();
        for act in &acts {
            day.act(act);
            day.nothing_is_free();
        }
        day.close();
    }
}
