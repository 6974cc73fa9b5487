//! A terminal for tests of the gateway: it speaks the `aes` dialect over TCP by `protocol` alone, and does what a test tells it, right or wrong.
//! And an acquirer to talk to: a gateway in this process over a store of the test's choice.

use crate::online::{self, Sender};
use backend::Engine;
use backend::accounts::chart::{FundingKind, FundingNumber};
use backend::api::{
    AcquirerId, AdminAnswer, AdminRequest, Answer, Backend, BatchTotals, ContentDigest, HostBody,
    HostRequest, Identity, PayerToken, Request, Tally,
};
use backend::store::Store;
use keys::{KeyModule, SoftKeys};
use posp_gateway::access::Limits;
use posp_gateway::clock::Clock;
use posp_gateway::server::Server;
use protocol::aes_key::AesKey;
use protocol::host_mac::MacKey;
use protocol::ids::{BatchNo, MerchantId, Stan, TerminalId};
use protocol::iso8583::typed::{
    AmountMinor, Batch, Condition, KeyField, ManagementCode, ProcessingCode, ResponseCode, TransactionKind,
};
use protocol::iso8583::{
    AES, Builder, Digits, FieldError, FieldNo, Frame, Header, HeaderRule, Message, Mti, Tpdu, frame,
};
use protocol::keyblock::{Usage, unwrap_for};
use protocol::money::{Amount, Currency};
use protocol::secret::Secret;
use protocol::signin::sign_in_key;
use protocol::working_keys::AesWorkingKeys;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Currency of everything here.
pub const CURRENCY: Currency = Currency::CNY;
/// The one acquirer.
pub const ACQUIRER: AcquirerId = AcquirerId(1);
/// How long a test waits for an answer.
pub const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// The `n`-th terminal, of the `n`-th merchant.
#[must_use]
pub fn terminal_id(n: u32) -> TerminalId {
    TerminalId::from_text(&format!("T{n:07}")).expect("8 characters")
}

/// The `n`-th merchant.
#[must_use]
pub fn merchant_id(n: u32) -> MerchantId {
    MerchantId::from_text(&format!("M{n:014}")).expect("15 characters")
}

/// A card number that belongs to nobody (it begins with zeros): 16 ASCII digits.
#[must_use]
pub fn pan(n: u32) -> String {
    format!("00000000{n:08}")
}

/// Registers merchants and terminals `1..=terminals` and cardholders `1..=payers` with `minor` each.
///
/// # Panics
/// The backend refuses.
pub fn register(backend: &mut dyn Backend, keys: &dyn KeyModule, terminals: u32, payers: u32, minor: u64) {
    let mut requests = Vec::new();
    for n in 1..=terminals {
        let (merchant, terminal) = (merchant_id(n), terminal_id(n));
        requests.push(AdminRequest::AddMerchant { merchant, name: format!("Shop {n}"), currency: CURRENCY });
        requests.push(AdminRequest::AddTerminal { terminal, merchant, acquirer: ACQUIRER });
    }
    for n in 1..=payers {
        let (kind, number, currency) = (FundingKind::Bank, FundingNumber(n.into()), CURRENCY);
        let token = PayerToken(keys.pan_token(pan(n).as_bytes()).expect("16 digits"));
        let amount = Amount::new(minor, CURRENCY);
        requests.push(AdminRequest::AddFunding { kind, number, currency });
        requests.push(AdminRequest::Fund { kind, number, amount, reference: n.into() });
        requests.push(AdminRequest::AddPayer { token, kind, number, currency });
    }
    let clock = clock();
    for chunk in requests.chunks(1000) {
        let batch: Vec<Request> = chunk.iter().cloned().map(Request::Admin).collect();
        let answers = backend.execute(clock.now(), &batch).expect("the store works");
        for answer in answers {
            assert!(matches!(answer, Answer::Admin(AdminAnswer::Done | AdminAnswer::Exists)), "{answer:?}");
        }
    }
}

/// The machine's clock, in UTC.
#[must_use]
pub fn clock() -> Clock {
    Clock::new(posp_gateway::clock::utc())
}

/// A gateway in this process.
pub struct Acquirer {
    runtime: tokio::runtime::Runtime,
    server: Option<Server>,
    /// Its key module.
    pub keys: Arc<SoftKeys>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Acquirer {
    /// Starts over `backend`.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(backend: Box<dyn Backend + Send>, keys: Arc<SoftKeys>, limits: Limits) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
        let server = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            Server::start(listener, backend, shared, clock(), limits).expect("a server")
        });
        let address = server.address();
        Self { runtime, server: Some(server), keys, address }
    }

    /// Starts over the rules on `store`, with `terminals` and `payers` registered.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn over<S: Store + Send + 'static>(store: S, terminals: u32, payers: u32, limits: Limits) -> Self {
        let keys = Arc::new(SoftKeys::in_memory(entropy()).expect("keys"));
        let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
        let mut engine = Engine::new(store, shared);
        register(&mut engine, &*keys, terminals, payers, 1_000_000);
        Self::start(Box::new(engine), keys, limits)
    }

    /// The running server.
    ///
    /// # Panics
    /// It was stopped.
    #[must_use]
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("not stopped")
    }

    /// Stops gracefully and waits for the end.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }

    /// Enrols the `n`-th terminal and connects it.
    ///
    /// # Panics
    /// The key module refuses.
    #[must_use]
    pub fn terminal(&self, n: u32) -> TestTerminal {
        TestTerminal::new(self.address, n, enrol(&*self.keys, n))
    }
}

impl Drop for Acquirer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn entropy() -> keys::Entropy {
    Box::new(|out| getrandom::fill(out).map_err(|_| keys::KeyError::NoEntropy))
}

/// The `n`-th terminal's master key, by way of its one-time code.
///
/// # Panics
/// The key module refuses.
pub fn enrol(keys: &dyn KeyModule, n: u32) -> Secret<16> {
    let id = terminal_id(n);
    let enrolment = keys.enrol_terminal(&id, true).expect("enrolled");
    let key = unwrap_for(&enrolment.code.protection_key(&id), Usage::TMK, &enrolment.block).expect("opens");
    key.to_secret().expect("AES-128")
}

/// Closes batch 1 of the `n`-th terminal with the totals of these purchases, past the wire, where a batch may have no more than 999; only
/// then are they posted.
///
/// # Panics
/// The host counted otherwise.
pub fn settle(backend: &mut dyn Backend, n: u32, purchases: impl Iterator<Item = u64>) {
    let debits = purchases.fold(Tally::default(), Tally::plus);
    let identity = Identity {
        acquirer: ACQUIRER,
        terminal: terminal_id(n),
        merchant: merchant_id(n),
        batch: BatchNo(1),
        trace: Stan(999_999),
    };
    let body = HostBody::Settle { totals: BatchTotals { debits, ..BatchTotals::default() } };
    let request = Request::Host(HostRequest { identity, digest: ContentDigest([0; 16]), body });
    let answers = backend.execute(clock().now(), &[request]).expect("the store works");
    let [Answer::Host(answer)] = answers.as_slice() else { panic!("one answer") };
    assert_eq!(answer.code, ResponseCode::APPROVED, "host and terminal counted the same");
}

/// A terminal.
pub struct TestTerminal {
    /// Field 41.
    pub id: TerminalId,
    /// Field 42.
    pub merchant: MerchantId,
    /// Its master key.
    pub tmk: Secret<16>,
    /// Its MAC key, once signed in.
    pub mac: Option<MacKey>,
    /// Field 60.2.
    pub batch: BatchNo,
    /// The trace used last.
    pub trace: Stan,
    address: SocketAddr,
    stream: TcpStream,
}

/// A received message, from its type on.
#[derive(Clone)]
pub struct Received {
    /// The frame behind its length.
    pub body: Vec<u8>,
}

impl Received {
    /// Its fields.
    ///
    /// # Panics
    /// It is no message.
    #[must_use]
    pub fn message(&self) -> Message<'_> {
        Message::parse(&AES, self.frame().message).expect("a message")
    }

    /// Its frame.
    ///
    /// # Panics
    /// It is no frame.
    #[must_use]
    pub fn frame(&self) -> Frame<'_> {
        Frame::parse(&self.body, HeaderRule::Present).expect("a frame")
    }

    /// Field 39.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn code(&self) -> ResponseCode {
        self.message().need().expect("field 39")
    }

    /// Field 11.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn trace(&self) -> Stan {
        self.message().need().expect("field 11")
    }
}

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.message(), self.message().get::<ResponseCode>())
    }
}

/// Fills a message in the making.
pub type Fill<'f> = &'f dyn Fn(&mut Builder<'_>) -> Result<(), FieldError>;

/// A frame: what `fill` writes, and a MAC under `key` if there is one.
///
/// # Panics
/// `fill` writes what the dialect does not have.
#[must_use]
pub fn frame_of(mti: Mti, key: Option<&MacKey>, fill: Fill<'_>) -> Vec<u8> {
    let mut out = vec![0; 2048];
    let tpdu = Tpdu { destination: [0, 3], source: [0, 9] };
    let written = frame::write::<Trouble>(&mut out, tpdu, Some(Header::CHIP), |room| {
        let mut builder = Builder::new(&AES, mti, room)?;
        fill(&mut builder)?;
        match key {
            None => Ok(builder.finish()?),
            Some(key) => {
                let unsigned = builder.ready_for_mac()?;
                let mac = key.mac(unsigned.input());
                Ok(unsigned.finish(mac)?)
            }
        }
    });
    out.truncate(written.expect("a message"));
    out
}

impl TestTerminal {
    /// Connects; not signed in.
    ///
    /// # Panics
    /// Nobody listens.
    #[must_use]
    pub fn new(address: SocketAddr, n: u32, tmk: Secret<16>) -> Self {
        Self::connect(address, n, tmk).expect("somebody listens")
    }

    /// Connects; not signed in.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect(address: SocketAddr, n: u32, tmk: Secret<16>) -> std::io::Result<Self> {
        let stream = connect(address)?;
        Ok(Self {
            id: terminal_id(n),
            merchant: merchant_id(n),
            tmk,
            mac: None,
            batch: BatchNo(1),
            trace: Stan(0),
            address,
            stream,
        })
    }

    /// Connects anew; keys, batch and trace stay.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn reconnect(&mut self) -> std::io::Result<()> {
        self.stream = connect(self.address)?;
        Ok(())
    }

    /// Takes the connection to another gateway.
    pub fn move_to(&mut self, address: SocketAddr) {
        self.address = address;
    }

    /// The connection itself.
    #[must_use]
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The next trace.
    pub fn next_trace(&mut self) -> Stan {
        self.trace = Stan(self.trace.0 % 999_999 + 1);
        self.trace
    }

    /// A frame: what `fill` writes, and a MAC under `key` if there is one.
    ///
    /// # Panics
    /// `fill` writes what the dialect does not have.
    #[must_use]
    pub fn frame(&self, mti: Mti, key: Option<&MacKey>, fill: Fill<'_>) -> Vec<u8> {
        frame_of(mti, key, fill)
    }

    /// A sign-in (0800, 60.3 = 001).
    #[must_use]
    pub fn sign_in_frame(&self, trace: Stan) -> Vec<u8> {
        let sender = Sender { id: self.id, merchant: self.merchant, batch: self.batch };
        online::sign_in(&sender, trace, &self.tmk)
    }

    /// A sign-out (0820, 60.3 = 002).
    #[must_use]
    pub fn sign_out_frame(&self, trace: Stan) -> Vec<u8> {
        let batch = Batch::management(self.batch, ManagementCode::SIGN_OUT);
        self.frame(Mti::MANAGEMENT_ADVICE, self.mac.as_ref(), &|builder| {
            builder.put(&trace)?.put(&self.id)?.put(&self.merchant)?.put(&batch)?;
            Ok(())
        })
    }

    /// An echo (0820, 60.3 = 301).
    #[must_use]
    pub fn echo_frame(&self, trace: Stan) -> Vec<u8> {
        let batch = Batch::management(self.batch, ManagementCode::ECHO);
        self.frame(Mti::MANAGEMENT_ADVICE, None, &|builder| {
            builder.put(&trace)?.put(&self.id)?.put(&self.merchant)?.put(&batch)?;
            Ok(())
        })
    }

    /// An online purchase (0200, 000000) from the `payer`-th cardholder.
    #[must_use]
    pub fn purchase_frame(&self, trace: Stan, payer: u32, minor: u64) -> Vec<u8> {
        let batch = Batch::financial(TransactionKind::PURCHASE, self.batch);
        let pan = pan(payer);
        self.frame(Mti::FINANCIAL, self.mac.as_ref(), &|builder| {
            builder
                .digits(FieldNo(2), Digits::ascii(pan.as_bytes()))?
                .put(&ProcessingCode::PURCHASE)?
                .put(&AmountMinor(minor))?
                .put(&trace)?
                .put(&Condition::NORMAL)?
                .put(&self.id)?
                .put(&self.merchant)?
                .put(&CURRENCY)?
                .put(&batch)?;
            Ok(())
        })
    }

    /// The reversal (0400) of a purchase.
    #[must_use]
    pub fn reversal_frame(&self, original: Stan, minor: u64) -> Vec<u8> {
        let batch = Batch::financial(TransactionKind::PURCHASE, self.batch);
        self.frame(Mti::REVERSAL, self.mac.as_ref(), &|builder| {
            builder
                .put(&ProcessingCode::PURCHASE)?
                .put(&AmountMinor(minor))?
                .put(&original)?
                .put(&Condition::NORMAL)?
                .put(&ResponseCode::NO_ANSWER)?
                .put(&self.id)?
                .put(&self.merchant)?
                .put(&CURRENCY)?
                .put(&batch)?;
            Ok(())
        })
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Receives one frame.
    ///
    /// # Errors
    /// The connection is gone, or nothing came in time.
    pub fn receive(&mut self) -> std::io::Result<Received> {
        let mut prefix = [0; 2];
        self.stream.read_exact(&mut prefix)?;
        let mut body = vec![0; usize::from(u16::from_be_bytes(prefix))];
        self.stream.read_exact(&mut body)?;
        Ok(Received { body })
    }

    /// Sends a frame and receives one.
    ///
    /// # Panics
    /// The connection is gone.
    pub fn ask(&mut self, frame: &[u8]) -> Received {
        self.send(frame).expect("sent");
        self.receive().expect("an answer")
    }

    /// Whether an answer's MAC is right under the terminal's MAC key.
    #[must_use]
    pub fn verifies(&self, received: &Received) -> bool {
        let message = received.message();
        match (message.mac(), &self.mac) {
            (Some((input, mac)), Some(key)) => key.verifies(input, &mac),
            _ => false,
        }
    }

    /// Signs in and takes the keys and the batch.
    ///
    /// # Panics
    /// The gateway refuses.
    pub fn sign_in(&mut self) {
        let trace = self.next_trace();
        let frame = self.sign_in_frame(trace);
        let answer = self.ask(&frame);
        self.take_keys(&answer);
    }

    /// Takes keys and batch from the answer to a sign-in.
    ///
    /// # Panics
    /// It is no approval, or its MAC is wrong.
    pub fn take_keys(&mut self, answer: &Received) {
        let message = answer.message();
        assert_eq!(answer.code(), ResponseCode::APPROVED);
        let (input, mac) = message.mac().expect("the answer carries a MAC");
        assert!(sign_in_key(&self.tmk).verifies(input, &mac));
        let field: KeyField<'_> = message.need().expect("field 62");
        let keys = AesWorkingKeys::open(&AesKey::Aes128(self.tmk.clone()), field.0).expect("keys");
        self.mac = Some(MacKey::Aes(keys.mac));
        self.batch = message.need::<Batch>().expect("field 60").batch;
    }
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_WAIT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    Ok(stream)
}

#[derive(Debug)]
struct Trouble(#[expect(dead_code, reason = "shown when a test fails")] String);

impl From<FieldError> for Trouble {
    fn from(error: FieldError) -> Self {
        Self(error.to_string())
    }
}

impl From<protocol::iso8583::FrameError> for Trouble {
    fn from(error: protocol::iso8583::FrameError) -> Self {
        Self(error.to_string())
    }
}
