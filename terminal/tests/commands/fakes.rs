//! A purse of suite 10 and a SAM, reduced to what they answer.

use hardware::{Exchange, MemoryCard};
use protocol::apdu::{Command, Response, StatusWord};
use protocol::ids::{Asn, IssuerId};
use protocol::purse::AID_SUITE_10;
use protocol::purse::file::{Fci, PublicData};
use protocol::time::CardDate;
use std::sync::{Arc, Mutex, MutexGuard};

/// When the card breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tear {
    /// The debit is carried out, its answer lost.
    AfterDebit,
    /// The debit does not reach the card.
    BeforeDebit,
    /// INIT's answer is lost.
    AfterInit,
    /// The credit does not reach the card.
    BeforeCredit,
    /// The credit is carried out, its answer lost.
    AfterCredit,
}

pub(crate) struct PurseState {
    pub(crate) issuer: IssuerId,
    pub(crate) asn: Asn,
    pub(crate) end: CardDate,
    pub(crate) balance: u32,
    pub(crate) counter: u16,
    pub(crate) key_version: u8,
    pub(crate) algorithm: u8,
    /// SELECT answers this instead, if it is set.
    pub(crate) select: Option<StatusWord>,
    /// DEBIT finds MAC1 wrong.
    pub(crate) distrusts_sam: bool,
    pub(crate) tear: Option<Tear>,
    /// A tear takes the card out of the field.
    pub(crate) leaves: bool,
    /// A tear happened.
    pub(crate) torn: bool,
    pending: Option<u32>,
    proven: Option<u16>,
    pub(crate) debits: u32,
    /// Packed digits.
    pub(crate) pin: Vec<u8>,
    pub(crate) tries: u8,
    verified: bool,
    pub(crate) online: u16,
    loading: Option<u32>,
    loaded: Option<u16>,
    pub(crate) credits: u32,
}

/// A purse that tests look at while it is in a reader.
#[derive(Clone)]
pub(crate) struct Purse(Arc<Mutex<PurseState>>);

impl Purse {
    pub(crate) fn with_serial(serial: &str, balance: u32) -> Self {
        Self(Arc::new(Mutex::new(PurseState {
            issuer: "5441504C494E4500".parse().unwrap(),
            asn: serial.parse().unwrap(),
            end: CardDate::new(2035, 12, 31).unwrap(),
            balance,
            counter: 5,
            key_version: 1,
            algorithm: 0x10,
            select: None,
            distrusts_sam: false,
            tear: None,
            leaves: true,
            torn: false,
            pending: None,
            proven: None,
            debits: 0,
            pin: vec![0x12, 0x34],
            tries: 3,
            verified: false,
            online: 9,
            loading: None,
            loaded: None,
            credits: 0,
        })))
    }

    pub(crate) fn new(balance: u32) -> Self {
        Self::with_serial("62170000001234567890", balance)
    }

    /// Balance and how many debits were carried out. (Two `state()` in one expression would wait for each other.)
    pub(crate) fn taken(&self) -> (u32, u32) {
        let state = self.state();
        (state.balance, state.debits)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, PurseState> {
        self.0.lock().unwrap()
    }
}

fn answer(data: &[u8], sw: StatusWord, out: &mut [u8]) -> Exchange {
    Exchange::Answer(Response { data, sw }.encode(out).unwrap())
}

impl PurseState {
    fn breaks_off(&mut self) -> Exchange {
        self.tear = None;
        self.torn = true;
        if self.leaves { Exchange::Removed } else { Exchange::Silent }
    }

    fn init(&mut self, command: &Command<'_>, out: &mut [u8]) -> Exchange {
        let amount = u32::from_be_bytes(command.data[1..5].try_into().unwrap());
        if self.tear == Some(Tear::AfterInit) {
            return self.breaks_off();
        }
        if amount > self.balance {
            return answer(&[], StatusWord::INSUFFICIENT_BALANCE, out);
        }
        self.pending = Some(amount);
        let mut data = Vec::new();
        data.extend(self.balance.to_be_bytes());
        data.extend(self.counter.to_be_bytes());
        data.extend([0, 0, 0, self.key_version, self.algorithm]);
        data.extend(if self.algorithm == 0x10 { vec![0x55; 8] } else { vec![0x55; 4] });
        answer(&data, StatusWord::OK, out)
    }

    fn verify(&mut self, command: &Command<'_>, out: &mut [u8]) -> Exchange {
        if self.tries == 0 {
            return answer(&[], StatusWord::PIN_BLOCKED, out);
        }
        self.verified = command.data == self.pin;
        self.tries = if self.verified { 3 } else { self.tries - 1 };
        let sw = if self.verified { StatusWord::OK } else { StatusWord::with_tries_left(self.tries) };
        answer(&[], sw, out)
    }

    fn init_load(&mut self, command: &Command<'_>, out: &mut [u8]) -> Exchange {
        if !self.verified {
            return answer(&[], StatusWord::CONDITIONS_NOT_SATISFIED, out);
        }
        self.loading = Some(u32::from_be_bytes(command.data[1..5].try_into().unwrap()));
        let mut data = Vec::new();
        data.extend(self.balance.to_be_bytes());
        data.extend(self.online.to_be_bytes());
        data.extend([self.key_version, self.algorithm]);
        data.extend([[0x66; 8], [0xA1; 8]].concat());
        answer(&data, StatusWord::OK, out)
    }

    fn credit(&mut self, command: &Command<'_>, out: &mut [u8]) -> Exchange {
        if self.tear == Some(Tear::BeforeCredit) {
            self.loading = None;
            return self.breaks_off();
        }
        let Some(amount) = self.loading.take() else {
            return answer(&[], StatusWord::NOT_ACCEPTED, out);
        };
        if !command.data.ends_with(&[0xB2; 8]) {
            return answer(&[], StatusWord::MAC_WRONG, out);
        }
        self.balance += amount;
        self.online += 1;
        self.loaded = Some(self.online);
        self.credits += 1;
        if self.tear == Some(Tear::AfterCredit) {
            return self.breaks_off();
        }
        answer(&[0x7C; 8], StatusWord::OK, out)
    }

    fn debit(&mut self, out: &mut [u8]) -> Exchange {
        let Some(amount) = self.pending.take() else {
            return answer(&[], StatusWord::NOT_ACCEPTED, out);
        };
        if self.distrusts_sam {
            return answer(&[], StatusWord::MAC_WRONG, out);
        }
        if self.tear == Some(Tear::BeforeDebit) {
            return self.breaks_off();
        }
        self.balance -= amount;
        self.counter += 1;
        self.proven = Some(self.counter);
        self.debits += 1;
        if self.tear == Some(Tear::AfterDebit) {
            return self.breaks_off();
        }
        answer(&[[0x7A; 8], [0xB2; 8]].concat(), StatusWord::OK, out)
    }
}

impl MemoryCard for Purse {
    fn exchange(&mut self, bytes: &[u8], out: &mut [u8]) -> Exchange {
        let mut state = self.state();
        let command = Command::parse(bytes).unwrap();
        match command.header() {
            [0x00, 0xA4, 0x04, 0x00] => {
                if let Some(sw) = state.select {
                    return answer(&[], sw, out);
                }
                let start = CardDate::new(2024, 1, 1).unwrap();
                let public = PublicData::new(state.issuer, state.asn, start, state.end, [0; 2]);
                let mut fci = [0; 128];
                let length = Fci { name: &AID_SUITE_10, public }.encode(&mut fci).unwrap();
                answer(&fci[..length], StatusWord::OK, out)
            }
            [0x80, 0x5C, 0x00, 0x02] => answer(&state.balance.to_be_bytes(), StatusWord::OK, out),
            [0x80, 0x50, 0x01 | 0x03, 0x02] => state.init(&command, out),
            [0x80, 0x54, 0x01, 0x00] => state.debit(out),
            [0x00, 0x20, 0x00, 0x00] => state.verify(&command, out),
            [0x80, 0x50, 0x00, 0x02] => state.init_load(&command, out),
            [0x80, 0x52, 0x00, 0x00] => state.credit(&command, out),
            [0x80, 0x5A, 0x00, 0x02] => {
                let asked = u16::from_be_bytes(command.data.try_into().unwrap());
                if state.loaded == Some(asked) {
                    answer(&[[0; 8], [0x7C; 8]].concat(), StatusWord::OK, out)
                } else {
                    answer(&[], StatusWord::NO_PROVE_DATA, out)
                }
            }
            [0x80, 0x5A, 0x00, _] => {
                let asked = u16::from_be_bytes(command.data.try_into().unwrap());
                if state.proven == Some(asked) {
                    answer(&[[0xB2; 8], [0x7A; 8]].concat(), StatusWord::OK, out)
                } else {
                    answer(&[], StatusWord::NO_PROVE_DATA, out)
                }
            }
            _ => answer(&[], StatusWord::INS_NOT_SUPPORTED, out),
        }
    }
}

/// How a SAM behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SamManner {
    Good,
    /// It has no key of this issuer and version.
    WithoutKey,
    /// It finds every MAC2 wrong.
    Distrusts,
    /// It goes silent when it is asked for MAC1.
    DiesAtInit,
    /// It goes silent when it is asked to check MAC2.
    DiesAtCheck,
    /// It is no SAM at all.
    Stranger,
    /// It has no application of the suite.
    OtherSuite,
}

#[derive(Clone)]
pub(crate) struct Sam {
    pub(crate) manner: SamManner,
    sequence: Arc<Mutex<u32>>,
}

impl Sam {
    pub(crate) fn new(manner: SamManner) -> Self {
        Self { manner, sequence: Arc::new(Mutex::new(16)) }
    }
}

impl MemoryCard for Sam {
    fn exchange(&mut self, bytes: &[u8], out: &mut [u8]) -> Exchange {
        let command = Command::parse(bytes).unwrap();
        match (command.header(), self.manner) {
            (_, SamManner::Stranger) => answer(&[], StatusWord::FILE_NOT_FOUND, out),
            ([0x00, 0xA4, 0x04, 0x00], SamManner::OtherSuite) => answer(&[], StatusWord::FILE_NOT_FOUND, out),
            ([0x00, 0xA4, ..], _) => answer(&[], StatusWord::OK, out),
            ([0x00, 0xB0, 0x96, _], _) => answer(&[0, 0, 0, 0, 0, 0x42], StatusWord::OK, out),
            ([0x00, 0xB0, 0x95, _], _) => answer(&[0x11; 14], StatusWord::OK, out),
            ([0x80, 0x70, ..], SamManner::WithoutKey) => answer(&[], StatusWord::KEY_NOT_FOUND, out),
            ([0x80, 0x70, ..], SamManner::DiesAtInit) => Exchange::Removed,
            ([0x80, 0x70, ..], _) => {
                let mut sequence = self.sequence.lock().unwrap();
                *sequence += 1;
                answer(&[&sequence.to_be_bytes()[..], &[0xA1; 8]].concat(), StatusWord::OK, out)
            }
            ([0x80, 0x72 | 0x76, ..], SamManner::Distrusts) => answer(&[], StatusWord::MAC_WRONG, out),
            ([0x80, 0x72, ..], SamManner::DiesAtCheck) => Exchange::Removed,
            ([0x80, 0x72 | 0x76, ..], _) => answer(&[], StatusWord::OK, out),
            _ => answer(&[], StatusWord::INS_NOT_SUPPORTED, out),
        }
    }
}
