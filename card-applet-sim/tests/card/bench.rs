//! Cards, SAMs and a terminal of a few lines, built from `protocol` alone, for the tests of this crate.
use card_applet_sim::issue::{IssuerKeys, NewCard, NewSam};
use card_applet_sim::memory::{JournalMemory, Memory, PowerSupply, Powered, RamMedium, RamMemory, Survival};
use card_applet_sim::os::Card;
use card_applet_sim::random::{RandomSource, SeededRandom};
use protocol::apdu::{Response, StatusWord};
use protocol::ids::{Asn, KeyIndex, OfflineCounter, SamTerminal, TermSeq};
use protocol::money::CardAmount;
use protocol::purse::answer::{DebitAnswer, InitForLoadAnswer, InitForPurchaseAnswer};
use protocol::purse::command::{CreditForLoad, DebitForPurchase, Initialize};
use protocol::purse::keys::KeyUse;
use protocol::purse::mac::{HostTerms, PurchaseTerms};
use protocol::purse::{CappDigest, Moment, Suite, TransactionType};

pub(crate) const TERMINAL: SamTerminal = SamTerminal([0, 0, 0, 0, 0, 0x17]);
pub(crate) const MOMENT: Moment = Moment::from_bytes([0x20, 0x26, 0x11, 0x21, 0x18, 0x30, 0x05]);
pub(crate) const SUITES: [Suite; 2] = [Suite::Des, Suite::Aes];

pub(crate) fn asn() -> Asn {
    "62170000001234567890".parse().unwrap()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let mut out = vec![0; text.len() / 2];
    protocol::hex::decode_into(text, &mut out).unwrap();
    out
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    protocol::hex::Hex(bytes).to_string()
}

/// Balance, records and proofs as a reader sees them; `None` where the card has none.
pub(crate) type Observed = (u32, Vec<Option<Vec<u8>>>, Vec<Option<Vec<u8>>>);

/// A card and what a test may know about it.
pub(crate) struct Bench {
    pub(crate) card: Card,
    pub(crate) keys: IssuerKeys,
    pub(crate) asn: Asn,
    pub(crate) supply: PowerSupply,
    pub(crate) seq: u32,
}

impl Bench {
    pub(crate) fn new(suite: Suite, balance: u32) -> Self {
        Self::with(suite, balance, Survival::None, |_| {})
    }

    pub(crate) fn with(
        suite: Suite,
        balance: u32,
        survival: Survival,
        adapt: impl FnOnce(&mut NewCard),
    ) -> Self {
        Self::on(RamMedium::new(survival), suite, balance, adapt)
    }

    pub(crate) fn on(
        medium: RamMedium,
        suite: Suite,
        balance: u32,
        adapt: impl FnOnce(&mut NewCard),
    ) -> Self {
        let supply = PowerSupply::new();
        let keys = IssuerKeys::for_tests(suite, 0);
        let mut memory = JournalMemory::format(Powered::new(medium, supply.clone())).unwrap();
        let mut new = NewCard::for_tests(asn()).with_balance(CardAmount(balance));
        adapt(&mut new);
        new.make(&keys, &mut memory).unwrap();
        let mut bench =
            Self { card: Card::new(memory, SeededRandom::new(1)), keys, asn: new.asn, supply, seq: 0 };
        bench.power_on();
        bench
    }

    pub(crate) fn power_on(&mut self) {
        self.supply.restore();
        self.card.power_on().unwrap();
        let mut out = [0; 258];
        self.card.transmit(&unhex("00A40000021001"), &mut out);
    }

    /// An answer with its status word, or `None` if the card is silent.
    pub(crate) fn try_apdu(&mut self, command: &[u8]) -> Option<Vec<u8>> {
        let mut out = [0; 258];
        self.card.transmit(command, &mut out).map(|n| out[..n].to_vec())
    }

    pub(crate) fn apdu(&mut self, command: &[u8]) -> Vec<u8> {
        self.try_apdu(command).expect("the card answers")
    }

    pub(crate) fn hex_apdu(&mut self, command: &str) -> String {
        hex(&self.apdu(&unhex(command)))
    }

    pub(crate) fn sw(&mut self, command: &str) -> String {
        let answer = self.hex_apdu(command);
        answer[answer.len() - 4..].to_string()
    }

    pub(crate) fn data(&mut self, command: &[u8]) -> Result<Vec<u8>, StatusWord> {
        let answer = self.apdu(command);
        let response = Response::parse(&answer).unwrap();
        if response.sw.is_ok() { Ok(response.data.to_vec()) } else { Err(response.sw) }
    }

    pub(crate) fn balance(&mut self) -> u32 {
        u32::from_be_bytes(self.data(&unhex("805C000204")).unwrap().try_into().unwrap())
    }

    pub(crate) fn suite(&self) -> Suite {
        self.keys.suite()
    }

    pub(crate) fn init(&mut self, kind: TransactionType, amount: u32) -> Result<Vec<u8>, StatusWord> {
        let init =
            Initialize { kind, key_index: KeyIndex(1), amount: CardAmount(amount), terminal: TERMINAL };
        let mut out = [0; 64];
        let n = init.encode(self.suite(), &mut out).unwrap();
        self.data(&out[..n])
    }

    /// The DEBIT command for an INIT answer, as a right SAM would have it made.
    pub(crate) fn debit_command(
        &mut self,
        kind: TransactionType,
        amount: u32,
        init: &[u8],
        digest: CappDigest,
    ) -> Vec<u8> {
        let answer = InitForPurchaseAnswer::parse(init).unwrap();
        self.seq += 1;
        let term_seq = TermSeq(self.seq);
        let key = self.keys.card_key(KeyUse::Purchase, self.asn).unwrap();
        let session = key.offline_session(kind, &answer.random, answer.counter, term_seq).unwrap();
        let terms = PurchaseTerms {
            amount: CardAmount(amount),
            kind,
            terminal: TERMINAL,
            term_seq,
            moment: MOMENT,
            digest,
        };
        let mut out = [0; 64];
        let debit = DebitForPurchase { term_seq, moment: MOMENT, mac1: session.purchase_mac1(&terms) };
        let n = debit.encode(&mut out).unwrap();
        out[..n].to_vec()
    }

    pub(crate) fn purchase(&mut self, amount: u32) -> Result<DebitAnswer, StatusWord> {
        let init = self.init(TransactionType::Purchase, amount)?;
        let debit = self.debit_command(TransactionType::Purchase, amount, &init, CappDigest::default());
        let data = self.data(&debit)?;
        Ok(DebitAnswer::parse(self.suite(), &data).unwrap())
    }

    pub(crate) fn pin(&mut self) {
        assert_eq!(self.sw("0020000003123456"), "9000");
    }

    /// INIT FOR LOAD and the CREDIT (or unload DEBIT) command that a right host answers with.
    pub(crate) fn online_command(
        &mut self,
        kind: TransactionType,
        amount: u32,
    ) -> Result<Vec<u8>, StatusWord> {
        let init = self.init(kind, amount)?;
        let answer = InitForLoadAnswer::parse(&init).unwrap();
        let key_use = if kind == TransactionType::Load { KeyUse::Load } else { KeyUse::Unload };
        let key = self.keys.card_key(key_use, self.asn).unwrap();
        let session = key.online_session(kind, &answer.random, answer.counter).unwrap();
        let terms =
            HostTerms { amount: CardAmount(amount), kind, terminal: TERMINAL, counter: answer.counter };
        assert!(session.host_mac1(&terms, answer.balance, &self.asn) == answer.mac1, "MAC1 is the card's");
        let mac2 = session.host_mac2(&terms, MOMENT);
        let mut out = [0; 64];
        let n = if kind == TransactionType::Load {
            CreditForLoad { moment: MOMENT, mac2 }.encode(&mut out).unwrap()
        } else {
            protocol::purse::command::DebitForUnload { moment: MOMENT, mac2 }.encode(&mut out).unwrap()
        };
        Ok(out[..n].to_vec())
    }

    pub(crate) fn load(&mut self, amount: u32) -> Result<Vec<u8>, StatusWord> {
        let credit = self.online_command(TransactionType::Load, amount)?;
        self.data(&credit)
    }

    pub(crate) fn prove(&mut self, kind: TransactionType, counter_after: u16) -> Result<Vec<u8>, StatusWord> {
        let command = protocol::purse::command::GetProve { evidence: false, kind, counter_after };
        let mut out = [0; 16];
        let n = command.encode(self.suite(), &mut out).unwrap();
        self.data(&out[..n])
    }

    pub(crate) fn counter(&mut self) -> OfflineCounter {
        let init = self.init(TransactionType::CappPurchase, 0).unwrap();
        InitForPurchaseAnswer::parse(&init).unwrap().counter
    }

    /// Everything non-volatile that money depends on, as bytes to compare.
    pub(crate) fn whole_state(&mut self) -> Observed {
        let balance = self.balance();
        let mut records = Vec::new();
        for sfi in [0x18u8, 0x1A, 0x1E] {
            for number in 1..=3 {
                records.push(self.data(&[0x00, 0xB2, number, (sfi << 3) | 4, 0x00]).ok());
            }
        }
        let mut proofs = Vec::new();
        for kind in [TransactionType::Load, TransactionType::Purchase, TransactionType::CappPurchase] {
            for counter in 1..=4 {
                proofs.push(self.prove(kind, counter).ok());
            }
        }
        (balance, records, proofs)
    }
}

pub(crate) fn sam(suite: Suite, last: u32) -> Card {
    sam_of(&[IssuerKeys::for_tests(suite, 0)], last)
}

pub(crate) fn sam_of(issuers: &[IssuerKeys], last: u32) -> Card {
    let mut memory = RamMemory::new();
    let mut new = NewSam::for_tests(TERMINAL);
    new.last_sequence = TermSeq(last);
    new.make(issuers, &mut memory).unwrap();
    powered(memory, SeededRandom::new(2))
}

pub(crate) fn powered(memory: impl Memory + 'static, random: impl RandomSource + 'static) -> Card {
    let mut card = Card::new(memory, random);
    card.power_on().unwrap();
    card
}

pub(crate) fn send(card: &mut Card, command: &str) -> String {
    let mut out = [0; 258];
    let n = card.transmit(&unhex(command), &mut out).expect("the card answers");
    hex(&out[..n])
}
