//! What merchants, partners and operators read, rendered as they read it: no payer, no account that was not asked for, no balance.

use super::{Context, Direct, Names, Operation, Outcome, perform};
use crate::clock::Clock;
use crate::words;
use backend::Engine;
use backend::accounts::chart::{Book, FundingKind, FundingNumber};
use backend::api::*;
use backend::store::memory::MemoryStore;
use console::{Language, Texts};
use jiff::tz::TimeZone;
use keys::{KeyModule, SoftKeys};
use protocol::ids::{BatchNo, MerchantId, Stan, TerminalId};
use protocol::money::{Amount, Currency};
use std::sync::Arc;

const CNY: Currency = Currency::CNY;
const PAN: &str = "0000000012345678";
/// A balance that no amount of the day could be mistaken for.
const BALANCE: u64 = 918_273_645;
const ACCOUNT: u64 = 5_550_123;

fn cny(minor: u64) -> Amount {
    Amount::new(minor, CNY)
}

struct Shop {
    desk: Direct,
    keys: Arc<SoftKeys>,
    token: PayerToken,
    sent: u32,
}

impl Shop {
    /// A day with every sort of online transaction, its batch closed with differences.
    fn open() -> Self {
        let keys =
            SoftKeys::in_memory(Box::new(|out| getrandom::fill(out).map_err(|_| keys::KeyError::NoEntropy)));
        let keys = Arc::new(keys.unwrap());
        let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
        let token = PayerToken(keys.pan_token(PAN.as_bytes()).unwrap());
        let clock = Clock::new(crate::clock::utc());
        let mut engine = Engine::new(MemoryStore::new(), shared);
        let (kind, number, currency) = (FundingKind::Carrier, FundingNumber(ACCOUNT), CNY);
        let (merchant, terminal) = (merchant(), terminal());
        let requests = [
            AdminRequest::AddMerchant { merchant, name: "Shop".to_owned(), currency },
            AdminRequest::AddTerminal { terminal, merchant, acquirer: AcquirerId(1) },
            AdminRequest::AddFunding { kind, number, currency },
            AdminRequest::Fund { kind, number, amount: cny(BALANCE), reference: 1 },
            AdminRequest::AddPayer { token, kind, number, currency },
        ];
        engine.execute(clock.now(), &requests.map(Request::Admin)).unwrap();
        let mut sent = 0;
        let mut told = |body: HostBody, batch: u32| {
            sent += 1;
            let identity = Identity {
                acquirer: AcquirerId(1),
                terminal,
                merchant,
                batch: BatchNo(batch),
                trace: Stan(sent),
            };
            let request = HostRequest { identity, digest: ContentDigest([0; 16]), body };
            match engine.execute(clock.now(), &[Request::Host(request)]).unwrap().remove(0) {
                Answer::Host(answer) => answer,
                Answer::Admin(_) => panic!("a terminal's answer"),
            }
        };
        let named = |answer: &HostAnswer| Original {
            reference: answer.reference,
            trace: None,
            authorisation: answer.authorisation,
        };
        let bought = told(HostBody::Purchase { payer: token, amount: cny(123) }, 1);
        told(HostBody::Purchase { payer: token, amount: cny(70) }, 1);
        let held = told(HostBody::PreAuthorise { payer: token, amount: cny(456) }, 1);
        let (original, amount) = (named(&held), cny(450));
        told(HostBody::Complete { payer: token, original, amount, advice: true }, 1);
        told(HostBody::Settle { totals: BatchTotals::default() }, 1);
        assert_eq!(told(HostBody::UploadEnd, 1).code.to_string(), "00");
        told(HostBody::Refund { original: named(&bought), amount: cny(23) }, 2);
        let desk = Direct::new(Box::new(engine), clock, String::new());
        Self { desk, keys, token, sent }
    }

    fn perform(&mut self, operation: &Operation) -> Result<Outcome, console::Failure> {
        let zone = TimeZone::UTC;
        let now = Clock::new(crate::clock::utc()).now();
        let (desk, keys) = (&mut self.desk, &*self.keys);
        perform(operation, &mut Context { desk, keys, gateway: "", zone: &zone, heads: None, now })
    }

    /// As a person reads it in either language, and as a program does.
    fn read(&mut self, operation: &Operation) -> String {
        let outcome = self.perform(operation).unwrap();
        let mut read = serde_json::to_string_pretty(&outcome).unwrap();
        for language in Language::all() {
            read.push_str(&words::outcome(&Texts::new(language), &outcome));
        }
        read
    }

    /// Everything that would give the payer away, in every spelling in which it could be printed.
    fn secrets(&self) -> Vec<String> {
        let account = Book::Funding(FundingKind::Carrier, FundingNumber(ACCOUNT)).id(CNY).0;
        let left = BALANCE - 123 - 70 - 450 + 23;
        let hex: String = self.token.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut secrets = vec![PAN.to_owned(), PAN[8..].to_owned(), ACCOUNT.to_string(), account.to_string()];
        secrets.extend([format!("{account:x}"), hex, format!("{:?}", self.token.0)]);
        for minor in [BALANCE, left] {
            secrets.extend([minor.to_string(), cny(minor).to_string()]);
        }
        secrets
    }
}

fn merchant() -> MerchantId {
    MerchantId::from_text("M00000000000001").unwrap()
}

fn terminal() -> TerminalId {
    TerminalId::from_text("T0000001").unwrap()
}

fn names() -> Names {
    Names { currency: "CNY".to_owned(), limit: 50, ..Names::default() }
}

#[test]
fn whatever_is_printed_for_a_merchant_or_a_partner_names_no_payer_and_no_balance() {
    let mut shop = Shop::open();
    let (merchant, terminal) = (merchant().as_str().to_owned(), terminal().as_str().to_owned());
    let account = format!("carrier:{ACCOUNT}");
    let suffices = |minor: u64| Operation::FundingSuffices {
        account: account.clone(),
        amount: cny(minor).to_string().split_whitespace().find(|part| part.contains('.')).unwrap().to_owned(),
        currency: "CNY".to_owned(),
    };
    let operations = [
        Operation::ReportMerchant { merchant, from: None, to: None },
        Operation::ReportBatch { terminal, batch: Some(1) },
        suffices(100),
        suffices(BALANCE),
        Operation::ReportTransaction(Names { account: Some(account.clone()), ..names() }),
        Operation::ReportAlerts { limit: 100 },
    ];
    let read: Vec<String> = operations.iter().map(|operation| shop.read(operation)).collect();
    // They do say what they are for.
    assert!(read[0].contains("1.23") && read[0].contains("4.50"), "{}", read[0]);
    assert!(read[1].contains("trace 1") || read[1].contains("trace"), "{}", read[1]);
    assert!(read[2].contains("true") && read[2].contains("Yes.") && read[2].contains("足够"), "{}", read[2]);
    assert!(read[3].contains("false") && read[3].contains("No."), "{}", read[3]);
    assert!(read[4].contains("partly-refunded") && read[4].contains("completion-advice"), "{}", read[4]);
    for secret in shop.secrets() {
        for text in &read {
            assert!(!text.contains(&secret), "{secret} in {text}");
        }
    }
}

#[test]
fn a_transaction_is_found_by_one_whole_name_and_by_nothing_less() {
    let mut shop = Shop::open();
    assert!(shop.sent > 5);
    let mut find = |names: Names| match shop.perform(&Operation::ReportTransaction(names)) {
        Ok(Outcome::Transactions { transactions, .. }) => Some(transactions),
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    };
    let terminal = Some("T0000001".to_owned());
    let whole = Names { terminal: terminal.clone(), batch: Some(1), trace: Some(1), ..names() };
    let found = find(whole.clone()).unwrap();
    assert_eq!(
        (found.len(), found[0].kind.as_str(), found[0].state.as_str()),
        (1, "purchase", "partly-refunded")
    );
    let reference = Some(found[0].reference.clone());
    assert_eq!(find(Names { reference: reference.clone(), ..names() }).unwrap(), found);
    let authorisation = found[0].authorisation.clone();
    assert_eq!(find(Names { authorisation, ..names() }).unwrap(), found);
    assert!(find(names()).is_none(), "no name");
    assert!(find(Names { terminal, batch: Some(1), ..names() }).is_none(), "half a name");
    assert!(find(Names { reference, ..whole }).is_none(), "two names");
    assert!(find(Names { payer: Some("12".to_owned()), ..names() }).is_none(), "no token");
}

#[test]
fn limits_are_set_for_exactly_one_of_whom_there_may_be() {
    let mut shop = Shop::open();
    let set = |kind: Option<&str>, merchant: Option<&str>, payment: &str| Operation::LimitSet {
        kind: kind.map(ToOwned::to_owned),
        account: None,
        terminal: None,
        merchant: merchant.map(ToOwned::to_owned),
        payment: Some(payment.to_owned()),
        day_sum: None,
        day_count: Some(3),
        currency: "CNY".to_owned(),
    };
    let mut existed = |operation: Operation| match shop.perform(&operation) {
        Ok(Outcome::Registered { existed, .. }) => Some(existed),
        _ => None,
    };
    assert_eq!(existed(set(Some("carrier"), None, "2.00")), Some(false));
    assert_eq!(existed(set(Some("carrier"), None, "2.00")), Some(true));
    assert_eq!(existed(set(None, Some("M00000000000001"), "2.00")), Some(false));
    assert_eq!(existed(set(None, Some("M2"), "2.00")), None, "no such merchant");
    assert_eq!(existed(set(Some("carrier"), Some("M00000000000001"), "2.00")), None);
    assert_eq!(existed(set(None, None, "2.00")), None);
    assert_eq!(existed(set(Some("cash"), None, "2.00")), None);
    assert_eq!(existed(set(Some("carrier"), None, "two")), None);
}
