//! The gateway killed (SIGKILL) at every message of a load, of an upload and of a settlement: before the message arrives, and after it was
//! answered but before the terminal has the answer. What the person is told, what is left to do, and that nothing is lost or doubled
//! once the gateway is back.
#![cfg(test)]

use backend::api::{Answer, Backend, ContentDigest, HostBody, HostRequest, Identity, PayerToken, Request};
use console::Exit;
use keys::KeyModule;
use protocol::ids::{BatchNo, MerchantId, Stan, TerminalId};
use protocol::money::Amount;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use terminal::host::{Dial, Wire, tcp};
use tests::acquirer::{ACQUIRER, CURRENCY, clock, pan, register};
use tests::outlet::{Gateway, MERCHANT, Outlet, SAM, Said, TERMINAL};

/// Where the gateway dies; messages are counted from 1, over all connections of a command.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// Before this message reaches it.
    Before(u32),
    /// It has decided about this message, and its answer is lost.
    After(u32),
}
use Death::{After, Before};

type Running = Arc<Mutex<Option<Gateway>>>;

/// A connection that kills the gateway at its moment.
struct Cut {
    wire: Box<dyn Wire>,
    gateway: Running,
    death: Death,
    sent: Arc<Mutex<u32>>,
}

impl Cut {
    fn kill(&self) -> io::Error {
        self.gateway.lock().unwrap().take();
        io::ErrorKind::ConnectionReset.into()
    }
}

impl Wire for Cut {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = self.sent.lock().unwrap();
        *sent += 1;
        if matches!(self.death, Before(at) if at == *sent) {
            return Err(self.kill());
        }
        self.wire.send(bytes)
    }

    fn receive(&mut self, into: &mut [u8], wait: Duration) -> io::Result<usize> {
        let length = self.wire.receive(into, wait)?;
        if matches!(self.death, After(at) if at == *self.sent.lock().unwrap()) {
            return Err(self.kill());
        }
        Ok(length)
    }
}

struct Shop {
    outlet: Outlet,
    gateway: Running,
    /// What the till said was loaded and paid, in minor units.
    told: (u64, u64),
}

impl Shop {
    fn open() -> Self {
        let outlet = Outlet::new();
        outlet.configure_till("reply_s = 10", "reply_s = 1");
        let gateway = Arc::new(Mutex::new(Some(outlet.gateway())));
        let mut shop = Self { outlet, gateway, told: (0, 0) };
        let first = shop.outlet.till(&["topup", "100"]);
        assert!(shop.loaded(&first, 10_000), "{first:?}");
        shop
    }

    fn pay(&mut self) {
        let said = self.outlet.till(&["sale", "1.00"]);
        assert_eq!(said.exit, Exit::Success, "{said:?}");
        self.told.1 += 100;
    }

    fn loaded(&mut self, said: &Said, minor: u64) -> bool {
        let loaded = said.exit == Exit::Success;
        self.told.0 += if loaded { minor } else { 0 };
        loaded
    }

    /// A command during which the gateway dies.
    fn till_cut(&mut self, arguments: &[&str], death: Death) -> Said {
        let (gateway, sent) = (Arc::clone(&self.gateway), Arc::<Mutex<u32>>::default());
        let dial: Dial = Box::new(move |address, within| {
            let wire = tcp(address, within)?;
            Ok(Box::new(Cut { wire, gateway: Arc::clone(&gateway), death, sent: Arc::clone(&sent) })
                as Box<dyn Wire>)
        });
        let said = self.outlet.till_over(arguments, dial);
        assert!(self.gateway.lock().unwrap().is_none(), "{death:?} of {arguments:?} never came: {said:?}");
        said
    }

    fn gateway_is_back(&self) {
        let mut gateway = self.gateway.lock().unwrap();
        if gateway.is_none() {
            *gateway = Some(self.outlet.gateway());
        }
    }

    /// The gateway is back: one upload sends everything that waits, and the books are what the till told people.
    fn nothing_is_lost_or_doubled(&self, case: &str) {
        self.gateway_is_back();
        let said = self.outlet.till(&["upload"]);
        assert_eq!((said.exit, &said.result()["waiting"]), (Exit::Success, &0.into()), "{case}: {said:?}");
        assert_eq!(self.outlet.books_agree(), self.told, "{case}");
    }

    fn settles(&self, case: &str) {
        let said = self.outlet.till(&["settle"]);
        assert_eq!(
            (said.exit, &said.result()["outcome"]),
            (Exit::Success, &"balanced".into()),
            "{case}: {said:?}"
        );
    }
}

#[test]
fn a_gateway_that_dies_at_any_message_of_a_load_leaves_it_done_or_undone_and_says_which() {
    let mut shop = Shop::open();
    // 1 sign-in, 2 the load, 3 its confirmation: the card has the money then, and only the confirmation waits.
    let cases = [
        (Before(1), "TL-1615"),
        (After(1), "TL-1615"),
        (Before(2), "TL-1604"),
        (After(2), "TL-1604"),
        (Before(3), ""),
        (After(3), ""),
    ];
    for (death, code) in cases {
        let case = format!("load, {death:?}");
        let said = shop.till_cut(&["topup", "10"], death);
        assert_eq!(said.code(), code, "{case}: {said:?}");
        assert_eq!(shop.loaded(&said, 1_000), code.is_empty(), "{case}: {said:?}");
        shop.nothing_is_lost_or_doubled(&case);
        shop.settles(&case);
    }
}

#[test]
fn a_gateway_that_dies_during_a_reversal_gets_it_again_until_it_is_answered_before_any_other_load() {
    let mut shop = Shop::open();
    // A load is asked for, its answer is lost. The next one: 1 sign-in, 2 the reversal, 3 the load, 4 its confirmation.
    let cases = [
        (Before(1), "TL-1615"),
        (Before(2), "TL-1615"),
        (After(2), "TL-1615"),
        (Before(3), "TL-1604"),
        (After(3), "TL-1604"),
        (After(4), ""),
    ];
    for (lost, cases) in [(After(2), &cases[..]), (Before(2), &cases[1..3])] {
        for (death, code) in cases.iter().copied() {
            let case = format!("load lost {lost:?}, then {death:?}");
            shop.gateway_is_back();
            assert_eq!(shop.till_cut(&["topup", "10"], lost).code(), "TL-1604", "{case}");
            shop.gateway_is_back();
            let said = shop.till_cut(&["topup", "10"], death);
            assert_eq!(said.code(), code, "{case}: {said:?}");
            assert_eq!(shop.loaded(&said, 1_000), code.is_empty(), "{case}: {said:?}");
            shop.nothing_is_lost_or_doubled(&case);
        }
        shop.settles("reversals");
    }
}

#[test]
fn a_gateway_that_dies_at_any_message_of_an_upload_has_every_payment_once_when_it_is_sent_again() {
    let mut shop = Shop::open();
    // 1 sign-in, 2 the payments.
    for (death, code) in
        [(Before(1), "TL-1615"), (After(1), "TL-1615"), (Before(2), "TL-1615"), (After(2), "TL-1615")]
    {
        let case = format!("upload, {death:?}");
        shop.pay();
        shop.pay();
        let said = shop.till_cut(&["upload"], death);
        assert_eq!(said.code(), code, "{case}: {said:?}");
        shop.nothing_is_lost_or_doubled(&case);
        shop.settles(&case);
    }
}

#[test]
fn a_gateway_that_dies_at_any_message_of_a_settlement_closes_the_batch_exactly_once() {
    let mut shop = Shop::open();
    // 1 sign-in, 2 the payments, 3 the settlement, 4 the sign-in that names the next batch.
    let cases = [
        (Before(1), "TL-1615", 0),
        (Before(2), "TL-1615", 0),
        (After(2), "TL-1615", 0),
        (Before(3), "TL-1615", 0),
        (After(3), "TL-1615", 1),
        (Before(4), "", 1),
        (After(4), "", 1),
    ];
    let mut batch = 1;
    for (death, code, closed) in cases {
        let case = format!("settlement, {death:?}");
        shop.pay();
        let said = shop.till_cut(&["settle"], death);
        assert_eq!(said.code(), code, "{case}: {said:?}");
        shop.nothing_is_lost_or_doubled(&case);
        batch += closed;
        // Whatever was lost, the next settlement is of the batch that is open now, and balances.
        let said = shop.outlet.till(&["settle"]);
        assert_eq!(
            (&said.result()["outcome"], &said.result()["batch"]),
            (&"balanced".into(), &batch.into()),
            "{case}: {said:?}"
        );
        batch += 1;
    }
}

/// A purchase that the host has in the till's open batch, and the till does not: as if it had lost its record.
fn only_at_the_host(shop: &Shop, batch: u32, trace: u32) {
    let gateway = shop.gateway.lock().unwrap().take();
    gateway.unwrap().terminate();
    let (mut engine, keys) = shop.outlet.books();
    register(&mut engine, &*keys, 0, 1, 1_000_000);
    let identity = Identity {
        acquirer: ACQUIRER,
        terminal: TerminalId::from_text(TERMINAL).unwrap(),
        merchant: MerchantId::from_text(MERCHANT).unwrap(),
        batch: BatchNo(batch),
        trace: Stan(trace),
    };
    let payer = PayerToken(keys.pan_token(pan(1).as_bytes()).unwrap());
    let body = HostBody::Purchase { payer, amount: Amount::new(777, CURRENCY) };
    let request = Request::Host(HostRequest { identity, digest: ContentDigest([1; 16]), body });
    let answers = engine.execute(clock().now(), &[request]).unwrap();
    assert!(matches!(&answers[..], [Answer::Host(answer)] if answer.code.is_approved()), "{answers:?}");
    drop(engine);
    shop.gateway_is_back();
}

#[test]
fn a_gateway_that_dies_while_a_difference_is_looked_for_names_it_once_and_takes_what_happens_meanwhile() {
    let mut shop = Shop::open();
    shop.settles("before");
    // 1 sign-in, 2 the totals, 3 the items, 4 their end, 5 the sign-in that names the next batch.
    let cases = [
        (Before(2), "TL-1615"),
        (After(2), "TL-1615"),
        (Before(3), "TL-1617"),
        (After(3), "TL-1617"),
        (Before(4), "TL-1615"),
        (After(4), "TL-1615"),
    ];
    let mut batch = 2;
    for (at, (death, code)) in cases.into_iter().enumerate() {
        let case = format!("differing settlement, {death:?}");
        let trace = 900_000 + u32::try_from(at).unwrap();
        shop.pay();
        assert_eq!(shop.outlet.till(&["upload"]).exit, Exit::Success, "{case}");
        only_at_the_host(&shop, batch, trace);
        let said = shop.till_cut(&["settle"], death);
        assert_eq!(said.code(), code, "{case}: {said:?}");
        // The batch is open or being compared: a payment that was made meanwhile is taken, and lost by neither.
        shop.pay();
        shop.nothing_is_lost_or_doubled(&case);
        let said = shop.outlet.till(&["settle"]);
        let result = said.result();
        if matches!(death, After(4)) {
            // It was closed, only the answer got lost: the next one is another batch, and the report has the difference.
            assert_eq!(
                (&result["outcome"], &result["batch"]),
                (&"balanced".into(), &(batch + 1).into()),
                "{said:?}"
            );
        } else {
            assert_eq!((said.exit, said.code()), (Exit::Host, "TL-1627"), "{case}: {said:?}");
            assert_eq!(
                (&result["outcome"], &result["batch"]),
                (&"differing".into(), &batch.into()),
                "{said:?}"
            );
            let listed = result["differences"].as_array().unwrap();
            assert_eq!((listed.len(), &result["differences_total"]), (1, &1.into()), "{case}: {said:?}");
            assert_eq!(
                (&listed[0]["kind"], &listed[0]["item"], &listed[0]["gateway"]["minor"]),
                (&"payment".into(), &trace.to_string().into(), &777.into()),
                "{case}"
            );
            assert!(listed[0]["terminal"].is_null(), "{case}: the till does not have it");
        }
        let report = shop.outlet.operate(&["report", "batch", TERMINAL, &batch.to_string()]);
        assert_eq!(
            (&report["state"], report["differences"].as_array().unwrap().len()),
            (&"closed".into(), 1)
        );
        assert_eq!(report["differences"][0]["key"], format!("trace {trace}"), "{report}");
        batch += if matches!(death, After(4)) { 2 } else { 1 };
    }
    shop.settles("after");
    let all = shop.outlet.operate(&["audit"]);
    assert_eq!(all["clean"], true, "{all}");
}

#[test]
fn a_payment_that_the_ledger_lost_with_its_disk_is_named_at_the_settlement() {
    let mut shop = Shop::open();
    shop.settles("before");
    shop.pay();
    assert_eq!(shop.outlet.till(&["upload"]).exit, Exit::Success);
    // The ledger goes back to an older copy, which knows the first payment and not the second.
    let (ledger, copy) =
        (shop.outlet.gateway_folder().join("gateway.db"), shop.outlet.till_folder().join("copy"));
    let stop = |shop: &Shop| shop.gateway.lock().unwrap().take().unwrap().terminate();
    stop(&shop);
    std::fs::copy(&ledger, &copy).unwrap();
    shop.gateway_is_back();
    shop.pay();
    assert_eq!(shop.outlet.till(&["upload"]).exit, Exit::Success);
    stop(&shop);
    for log in ["gateway.db-wal", "gateway.db-shm"] {
        drop(std::fs::remove_file(shop.outlet.gateway_folder().join(log)));
    }
    std::fs::copy(&copy, &ledger).unwrap();
    shop.gateway_is_back();
    let said = shop.outlet.till(&["settle"]);
    assert_eq!((said.exit, said.code()), (Exit::Host, "TL-1627"), "{said:?}");
    let listed = &said.result()["differences"];
    assert_eq!(listed.as_array().unwrap().len(), 1, "{said:?}");
    assert_eq!(
        (&listed[0]["terminal"]["minor"], &listed[0]["gateway"]),
        (&100.into(), &serde_json::Value::Null)
    );
    assert!(listed[0]["item"].as_str().unwrap().starts_with(SAM), "{listed}");
    let report = shop.outlet.operate(&["report", "batch", TERMINAL, "2"]);
    assert_eq!(report["differences"].as_array().unwrap().len(), 1, "{report}");
    shop.settles("after");
}
