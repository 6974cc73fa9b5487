//! A gateway in memory, behind the terminal's connections: it reads and writes frames by `protocol` alone, keeps books, checks
//! every MAC and that no trace is used twice in a batch, and loses what a test tells it to.

use protocol::aes_key::AesKey;
use protocol::host_mac::MacKey;
use protocol::ids::{BatchNo, MerchantId, Stan, TerminalId};
use protocol::iso8583::f58::{
    BatchItem, BatchItems, LoadAnswer, RecordAnswer, RecordAnswers, RecordState, TransactionRecord,
};
use protocol::iso8583::frame::{MAX_FRAME, split, write};
use protocol::iso8583::typed::{
    AmountMinor, Batch, Original, ProcessingCode, PurseField, ResponseCode, RetrievalReference,
    SettlementTotals, Sum, Totals,
};
use protocol::iso8583::{AES, Builder, FieldNo, Frame, FrameError, HeaderRule, Message, Mti};
use protocol::money::Currency;
use protocol::purse::{Moment, PurseMac, Suite};
use protocol::secret::Secret;
use protocol::signin::sign_in_key;
use protocol::working_keys::{AES_FIELD_BYTES, AesWorkingKeys, PADDING_BYTES};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use terminal::host::Wire;

pub(crate) const TMK: [u8; 16] = [0x11; 16];

/// What gets lost, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lose {
    /// The request does not arrive.
    Request,
    /// It is carried out, and its answer does not arrive.
    Answer,
}

/// What became of a load at the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Released,
    Posted,
    Void,
    /// Reported as uncertain: an operator decides.
    Disputed,
}

pub(crate) struct Books {
    pub(crate) up: bool,
    pub(crate) tmk: [u8; 16],
    pub(crate) batch: u32,
    pub(crate) lose: VecDeque<(Mti, Lose)>,
    /// Answers of this type have this code instead.
    pub(crate) code: Option<(Mti, ResponseCode)>,
    /// Answers carry wrong MACs.
    pub(crate) forged: bool,
    /// Counts this much less than it should.
    pub(crate) miscounts: u64,
    pub(crate) loads: BTreeMap<(u32, u32), (u32, Held)>,
    pub(crate) records: BTreeMap<u32, TransactionRecord>,
    pub(crate) closed: Vec<u32>,
    pub(crate) seen: Vec<Mti>,
    pub(crate) refused: Vec<String>,
    /// What was uploaded item by item.
    pub(crate) items: Vec<BatchItem>,
    debits: Sum,
    loaded: Sum,
    uploading: bool,
    traces: BTreeSet<(u32, u32)>,
}

#[derive(Clone)]
pub(crate) struct Gateway(Arc<Mutex<Books>>);

impl Gateway {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Books {
            up: true,
            tmk: TMK,
            batch: 7,
            lose: VecDeque::new(),
            code: None,
            forged: false,
            miscounts: 0,
            loads: BTreeMap::new(),
            records: BTreeMap::new(),
            closed: Vec::new(),
            seen: Vec::new(),
            refused: Vec::new(),
            items: Vec::new(),
            debits: Sum::default(),
            loaded: Sum::default(),
            uploading: false,
            traces: BTreeSet::new(),
        })))
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }

    pub(crate) fn lose(&self, mti: Mti, what: Lose) {
        self.books().lose.push_back((mti, what));
    }

    /// What is booked as loaded, and how many holds nobody has decided about.
    pub(crate) fn loaded(&self) -> (u32, usize) {
        let books = self.books();
        let posted =
            books.loads.values().filter(|(_, held)| *held == Held::Posted).map(|(amount, _)| *amount);
        (posted.sum(), books.loads.values().filter(|(_, held)| *held == Held::Released).count())
    }

    /// What is booked as paid.
    pub(crate) fn paid(&self) -> u32 {
        let books = self.books();
        books
            .records
            .values()
            .filter(|record| record.state == RecordState::Done)
            .map(|record| record.amount.0)
            .sum()
    }

    /// A connection, if the gateway is up.
    pub(crate) fn dial(&self) -> crate::till::Dialling {
        let gateway = self.clone();
        Box::new(move |_| {
            if gateway.books().up {
                Ok(Box::new(Connection { gateway: gateway.clone(), out: VecDeque::new(), broken: false }))
            } else {
                Err(io::ErrorKind::ConnectionRefused.into())
            }
        })
    }
}

struct Connection {
    gateway: Gateway,
    out: VecDeque<u8>,
    broken: bool,
}

impl Wire for Connection {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (body, rest) = split(bytes).unwrap().unwrap();
        assert!(rest.is_empty(), "one frame a write");
        let mut books = self.gateway.books();
        if !books.up {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let frame = Frame::parse(body, HeaderRule::Present).unwrap();
        let message = Message::parse(&AES, frame.message).unwrap();
        let lost = books.lose.front().copied().filter(|(mti, _)| *mti == message.mti()).map(|(_, what)| what);
        if lost.is_some() {
            books.lose.pop_front();
        }
        if lost != Some(Lose::Request) {
            let answer = books.answer(&frame, &message);
            if lost.is_none() {
                self.out.extend(answer);
            }
        }
        self.broken = lost.is_some();
        Ok(())
    }

    fn receive(&mut self, into: &mut [u8], wait: Duration) -> io::Result<usize> {
        if self.broken || !self.gateway.books().up {
            return Ok(0);
        }
        if self.out.is_empty() {
            std::thread::sleep(wait);
            return Err(io::ErrorKind::TimedOut.into());
        }
        // In small pieces, as a network may.
        let length = into.len().min(7).min(self.out.len());
        into.iter_mut().zip(self.out.drain(..length)).for_each(|(slot, byte)| *slot = byte);
        Ok(length)
    }
}

/// What an answer says beside its echo.
#[derive(Default)]
struct Says {
    code: Option<ResponseCode>,
    purse: Option<Vec<u8>>,
    totals: Option<SettlementTotals>,
}

fn code(code: ResponseCode) -> Says {
    Says { code: Some(code), ..Says::default() }
}

impl Books {
    fn answer(&mut self, frame: &Frame<'_>, message: &Message<'_>) -> Vec<u8> {
        self.seen.push(message.mti());
        let sign_in = message.mti() == Mti::MANAGEMENT;
        let key =
            if sign_in { sign_in_key(&Secret::new(self.tmk)) } else { MacKey::Aes(Secret::new([0x22; 16])) };
        let (input, mac) = message.mac().expect("every message carries a MAC");
        let (says, sealed) = if !key.verifies(input, &mac) {
            (code(ResponseCode::MAC), false)
        } else if let Some((_, wanted)) = self.code.filter(|(mti, _)| *mti == message.mti()) {
            (code(wanted), wanted != ResponseCode::UNKNOWN_TERMINAL)
        } else {
            (self.decide(message), true)
        };
        self.write(frame, message, &says, sealed.then_some(&key))
    }

    fn write(&self, frame: &Frame<'_>, message: &Message<'_>, says: &Says, key: Option<&MacKey>) -> Vec<u8> {
        let sign_in = message.mti() == Mti::MANAGEMENT;
        let code = says.code.unwrap_or(ResponseCode::APPROVED);
        let mut out = vec![0; MAX_FRAME + 2];
        let length = write(&mut out, frame.tpdu.reply(), frame.header, |body| {
            let mut reply = Builder::new(&AES, message.mti().reply(), body).unwrap();
            reply.put_some(message.get::<ProcessingCode>().unwrap().as_ref()).unwrap();
            reply.put_some(message.get::<AmountMinor>().unwrap().as_ref()).unwrap();
            let trace = message.need::<Stan>().unwrap();
            reply.put(&trace).unwrap();
            reply
                .put(
                    &RetrievalReference::from_bytes(
                        format!("{:012}", trace.0).into_bytes().try_into().unwrap(),
                    )
                    .unwrap(),
                )
                .unwrap();
            reply.put(&code).unwrap();
            reply.put(&message.need::<TerminalId>().unwrap()).unwrap();
            reply.put(&message.need::<MerchantId>().unwrap()).unwrap();
            reply.put_some(says.totals.as_ref()).unwrap();
            reply.put_some(message.get::<Currency>().unwrap().as_ref()).unwrap();
            reply.put_some(says.purse.as_deref().map(PurseField).as_ref()).unwrap();
            let asked = message.need::<Batch>().unwrap();
            let batch = if sign_in { BatchNo(self.batch) } else { asked.batch };
            reply.put(&Batch { batch, ..asked }).unwrap();
            if sign_in && code.is_approved() {
                reply.bytes(FieldNo(62), &self.keys()).unwrap();
            }
            let Some(key) = key else { return Ok::<_, FrameError>(reply.finish().unwrap()) };
            let unsigned = reply.ready_for_mac().unwrap();
            let mut mac = key.mac(unsigned.input());
            if self.forged {
                mac = MacKey::Aes(Secret::new([0x99; 16])).mac(unsigned.input());
            }
            Ok(unsigned.finish(mac).unwrap())
        });
        out.truncate(length.unwrap());
        out
    }

    fn keys(&self) -> Vec<u8> {
        let [mac, pin, data] = [0x22, 0x23, 0x24].map(|byte| Secret::new([byte; 16]));
        let mut field = vec![0; AES_FIELD_BYTES];
        let padding = [[9; PADDING_BYTES]; 3];
        AesWorkingKeys { mac, pin, data }
            .seal(&AesKey::Aes128(Secret::new(self.tmk)), &padding, &mut field)
            .unwrap();
        field
    }

    fn decide(&mut self, message: &Message<'_>) -> Says {
        let batch = message.need::<Batch>().unwrap().batch.0;
        let trace = message.need::<Stan>().unwrap().0;
        let mti = message.mti();
        if mti == Mti::REVERSAL || mti == Mti::REVERSAL_REPEAT {
            let (amount, held) = self.loads.entry((batch, trace)).or_insert((0, Held::Void));
            if *held == Held::Released {
                *held = Held::Void;
                self.loaded = less(self.loaded, *amount);
            }
            return Says::default();
        }
        if mti == Mti::MANAGEMENT {
            return Says::default();
        }
        if !self.traces.insert((batch, trace)) {
            self.refused.push(format!("trace {trace} was used twice in batch {batch}"));
            return code(ResponseCode::DUPLICATE);
        }
        if batch != self.batch {
            return code(ResponseCode::BATCH);
        }
        if mti == Mti::FINANCIAL {
            return self.load(message, (batch, trace));
        }
        if mti == Mti::ADVICE { self.confirm(message) } else { self.batch_message(message) }
    }

    fn load(&mut self, message: &Message<'_>, identity: (u32, u32)) -> Says {
        if self.loads.contains_key(&identity) {
            return code(ResponseCode::DUPLICATE);
        }
        let amount = u32::try_from(message.need::<AmountMinor>().unwrap().0).unwrap();
        self.loads.insert(identity, (amount, Held::Released));
        self.loaded = more(self.loaded, amount);
        let moment = Moment::from_bytes([0x20, 0x26, 0x11, 0x22, 0x18, 0x30, 0x06]);
        let consent =
            LoadAnswer { algorithm: Suite::Aes.algorithm(), moment, mac2: PurseMac::from8([0xB2; 8]) };
        let mut purse = vec![0; 64];
        let length = consent.encode(&mut purse).unwrap();
        purse.truncate(length);
        Says { purse: Some(purse), ..Says::default() }
    }

    fn confirm(&mut self, message: &Message<'_>) -> Says {
        let original = message.need::<Original>().unwrap();
        let record = TransactionRecord::parse(message.need::<PurseField<'_>>().unwrap().0).unwrap();
        let Some((amount, held)) = self.loads.get_mut(&(original.batch.0, original.trace.0)) else {
            self.refused.push("a confirmation of no load".into());
            return code(ResponseCode::NOT_FOUND);
        };
        assert_eq!(*amount, record.amount.0);
        *held = if record.state == RecordState::Done { Held::Posted } else { Held::Disputed };
        Says::default()
    }

    fn batch_message(&mut self, message: &Message<'_>) -> Says {
        match message.mti() {
            Mti::SETTLEMENT => {
                let ours = self.totals();
                let asked = message.need::<SettlementTotals>().unwrap();
                let same = asked.domestic.debit == ours.domestic.debit
                    && asked.loads.unwrap().debit == ours.loads.unwrap().debit;
                if same {
                    self.close()
                } else {
                    self.uploading = true
                }
                let code = if same { ResponseCode::APPROVED } else { ResponseCode::RECONCILE };
                Says { code: Some(code), totals: Some(ours), purse: None }
            }
            Mti::UPLOAD => match message.get::<PurseField<'_>>().unwrap() {
                Some(field) if field.tag() == Some(BatchItems::TAG) => {
                    assert!(self.uploading, "items that nobody asked for");
                    let items = BatchItems::parse(field.0).unwrap().map(Result::unwrap);
                    self.items.extend(items);
                    Says::default()
                }
                Some(field) => self.records(&field),
                None if self.uploading => {
                    self.close();
                    Says::default()
                }
                None => code(ResponseCode::INVALID),
            },
            _ => code(ResponseCode::INVALID),
        }
    }

    fn records(&mut self, field: &PurseField<'_>) -> Says {
        let mut answers = RecordAnswers::default();
        for record in field.records() {
            let record = record.unwrap();
            let known = self.records.insert(record.term_seq.0, record);
            let new = known.is_none_or(|known| known.state != RecordState::Done);
            if new && record.state == RecordState::Done {
                self.debits = more(self.debits, record.amount.0);
            }
            let answer = RecordAnswer { term_seq: record.term_seq, code: ResponseCode::APPROVED };
            answers.answers.push(answer).unwrap();
        }
        let mut purse = vec![0; 128];
        let length = answers.encode(&mut purse).unwrap();
        purse.truncate(length);
        Says { purse: Some(purse), ..Says::default() }
    }

    fn totals(&self) -> SettlementTotals {
        let debit = Sum { minor: self.debits.minor.saturating_sub(self.miscounts), ..self.debits };
        SettlementTotals {
            domestic: Totals { debit, ..Totals::default() },
            foreign: Totals::default(),
            loads: Some(Totals { debit: self.loaded, ..Totals::default() }),
        }
    }

    fn close(&mut self) {
        self.closed.push(self.batch);
        self.batch += 1;
        self.uploading = false;
        self.debits = Sum::default();
        self.loaded = Sum::default();
    }
}

fn more(sum: Sum, minor: u32) -> Sum {
    Sum { minor: sum.minor + u64::from(minor), count: sum.count + 1 }
}

fn less(sum: Sum, minor: u32) -> Sum {
    Sum { minor: sum.minor - u64::from(minor), count: sum.count - 1 }
}
