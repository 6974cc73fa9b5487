//! The purse as the wire sees it: a card's words in fields 55 and 58, and the frames of loads, confirmations and uploads, for tests that need
//! hundreds of loads and payments without readers and applets. Cards are of one issuer, suite 10.

use crate::acquirer::{CURRENCY, Received, TestTerminal, clock};
use backend::accounts::chart::{FundingKind, FundingNumber};
use backend::api::{AdminAnswer, AdminRequest, Answer, Backend, Request};
use keys::{CardKeyRef, KeyModule, SoftKeys};
use protocol::ids::{
    Asn, IssuerId, KeyIndex, KeyVersion, OfflineCounter, OnlineCounter, SamTerminal, Stan, TermSeq,
    TerminalId,
};
use protocol::iso8583::Mti;
use protocol::iso8583::f58::{
    CardCounter, LoadAnswer, LoadRequest, RecordAnswers, RecordList, RecordState, TransactionRecord,
};
use protocol::iso8583::typed::{
    AmountMinor, Batch, Condition, ManagementCode, Original, ProcessingCode, PurseField, ResponseCode,
    TransactionKind,
};
use protocol::money::CardAmount;
use protocol::purse::keys::{KeyUse, PurseKey};
use protocol::purse::mac::{HostTerms, TacTerms};
use protocol::purse::{CappDigest, CardRandom, Moment, Overdraft, Suite, TransactionType};

/// The issuer of all cards here.
pub const ISSUER: IssuerId = IssuerId([0x62, 0x17, 0, 0, 0, 0, 0, 1]);
/// Version of its keys.
pub const VERSION: KeyVersion = KeyVersion(1);

/// The `n`-th card.
#[must_use]
pub fn asn(n: u8) -> Asn {
    Asn([0, 0, 0, 0, 0, 0, 0, 0, 0, n])
}

/// The `n`-th SAM.
#[must_use]
pub fn sam(n: u8) -> SamTerminal {
    SamTerminal([0, 0, 0, 0, 0, n])
}

/// Makes the issuer, its keys, these cards with the bank accounts that their loads draw on, and these SAMs in their terminals. What is there
/// stays as it is.
///
/// # Panics
/// The backend refuses.
pub fn register(
    backend: &mut dyn Backend,
    keys: &SoftKeys,
    cards: &[(Asn, u64)],
    sams: &[(SamTerminal, TerminalId)],
) {
    keys.generate_issuer(ISSUER, VERSION, Suite::Aes).expect("keys of the issuer");
    let mut requests = vec![AdminRequest::AddIssuer {
        issuer: ISSUER,
        currency: CURRENCY,
        upper_factors: vec![],
        load_limit: CardAmount(50_000),
    }];
    requests.extend(cards.iter().map(|(asn, account)| AdminRequest::AddCard {
        issuer: ISSUER,
        asn: *asn,
        key_version: VERSION,
        funding: Some((FundingKind::Bank, FundingNumber(*account))),
    }));
    let from = Moment::from_bytes([0x20, 0x26, 1, 1, 0, 0, 0]);
    let assign = |(sam, terminal): &(SamTerminal, TerminalId)| AdminRequest::AssignSam {
        sam: *sam,
        terminal: *terminal,
        from,
    };
    requests.extend(sams.iter().map(assign));
    let requests: Vec<Request> = requests.into_iter().map(Request::Admin).collect();
    for answer in backend.execute(clock().now(), &requests).expect("the store works") {
        assert!(matches!(answer, Answer::Admin(AdminAnswer::Done | AdminAnswer::Exists)), "{answer:?}");
    }
}

/// A card: what the wire sees of it.
#[derive(Debug)]
pub struct Card {
    /// Its serial number.
    pub asn: Asn,
    /// The SAM that it loads beside.
    pub sam: SamTerminal,
    load_key: PurseKey,
    tac_key: PurseKey,
    balance: u32,
    offline: u16,
    online: u16,
}

impl Card {
    /// A new card with this number, which loads beside this SAM; nothing is on it.
    ///
    /// # Panics
    /// The key module does not know the issuer.
    #[must_use]
    pub fn issue(keys: &SoftKeys, asn: Asn, sam: SamTerminal) -> Self {
        let algorithm = Suite::Aes.algorithm();
        let key = CardKeyRef { issuer: ISSUER, version: VERSION, algorithm, card: asn.factor(), upper: &[] };
        let key = |usage| keys.card_key(&key, usage).expect("the issuer's keys");
        let (load_key, tac_key) = (key(KeyUse::Load), key(KeyUse::Tac));
        Self { asn, sam, load_key, tac_key, balance: 0, offline: 0, online: 0 }
    }

    /// What is on it, in minor units.
    #[must_use]
    pub const fn balance(&self) -> u32 {
        self.balance
    }

    fn terms(&self, amount: u32) -> (CardRandom, HostTerms) {
        let random = [self.online.to_be_bytes(), [0x5A; 2], self.online.to_be_bytes(), [0xA5; 2]].concat();
        let random = CardRandom::from_bytes(Suite::Aes, &random).expect("8 bytes");
        let (kind, counter) = (TransactionType::Load, OnlineCounter(self.online));
        (random, HostTerms { amount: CardAmount(amount), kind, terminal: self.sam, counter })
    }

    /// Its request for a load.
    ///
    /// # Panics
    /// Never: it has keys of its suite.
    #[must_use]
    pub fn request(&self, amount: u32) -> LoadRequest {
        let (random, terms) = self.terms(amount);
        let session = self.load_key.online_session(terms.kind, &random, terms.counter).expect("of one suite");
        LoadRequest {
            issuer: ISSUER,
            asn: self.asn,
            algorithm: Suite::Aes.algorithm(),
            random,
            key_index: KeyIndex(1),
            key_version: VERSION,
            counter: terms.counter,
            balance: CardAmount(self.balance),
            amount: terms.amount,
            kind: terms.kind,
            terminal: self.sam,
            mac1: session.host_mac1(&terms, CardAmount(self.balance), &self.asn),
        }
    }

    /// Checks MAC2 as a card does, credits itself, and gives the receipt.
    ///
    /// # Panics
    /// MAC2 is wrong.
    pub fn credit(&mut self, amount: u32, answer: &LoadAnswer) -> TransactionRecord {
        let (random, terms) = self.terms(amount);
        let session = self.load_key.online_session(terms.kind, &random, terms.counter).expect("of one suite");
        assert_eq!(session.host_mac2(&terms, answer.moment), answer.mac2, "the card refuses");
        self.balance += amount;
        let counter = CardCounter::Online(OnlineCounter(self.online));
        self.online += 1;
        self.record(TransactionType::Load, (counter, self.online - 1), amount, (self.sam, 0), answer.moment)
    }

    /// Pays offline beside a SAM, as its record `seq`.
    pub fn pay(&mut self, amount: u32, sam: SamTerminal, seq: u32) -> TransactionRecord {
        self.balance -= amount;
        let counter = CardCounter::Offline(OfflineCounter(self.offline));
        self.offline += 1;
        let moment = Moment::from_bytes([0x20, 0x26, 0x11, 0x22, 0x10, 0x00, 0x00]);
        self.record(TransactionType::Purchase, (counter, self.offline - 1), amount, (sam, seq), moment)
    }

    fn record(
        &self,
        kind: TransactionType,
        (counter, number): (CardCounter, u16),
        amount: u32,
        (terminal, seq): (SamTerminal, u32),
        moment: Moment,
    ) -> TransactionRecord {
        let terms = TacTerms {
            asn: self.asn,
            counter: number,
            balance_new: CardAmount(self.balance),
            amount: CardAmount(amount),
            kind,
            terminal,
            term_seq: TermSeq(seq),
            moment,
            digest: CappDigest::default(),
        };
        TransactionRecord {
            state: RecordState::Done,
            issuer: ISSUER,
            asn: self.asn,
            algorithm: Suite::Aes.algorithm(),
            key_version: VERSION,
            counter,
            balance_after: terms.balance_new,
            overdraft: Overdraft::ZERO,
            amount: terms.amount,
            kind,
            terminal,
            term_seq: terms.term_seq,
            moment,
            digest: terms.digest,
            tac: self.tac_key.tac_key().tac(&terms),
        }
    }
}

/// A message about a load (600000): a request or a reversal, with what is in field 58 and field 61.
///
/// # Panics
/// The dialect does not have it.
#[must_use]
pub fn load_frame(
    till: &TestTerminal,
    mti: Mti,
    trace: u32,
    purse: &[u8],
    minor: u64,
    of: Option<Stan>,
) -> Vec<u8> {
    let batch = Batch::financial(TransactionKind::LOAD_LINKED, till.batch);
    till.frame(mti, till.mac.as_ref(), &|builder| {
        builder.put(&ProcessingCode::LOAD_LINKED)?.put(&AmountMinor(minor))?.put(&Stan(trace))?;
        builder.put(&Condition::LOAD)?;
        if mti == Mti::REVERSAL {
            builder.put(&ResponseCode::NO_ANSWER)?;
        }
        builder.put(&till.id)?.put(&till.merchant)?.put(&CURRENCY)?;
        if !purse.is_empty() {
            builder.put(&PurseField(purse))?;
        }
        builder.put(&batch)?.put_some(of.map(|of| Original::new(till.batch, of, None)).as_ref())?;
        Ok(())
    })
}

/// A card's request for a load of `minor`.
///
/// # Panics
/// Never: a request fits.
#[must_use]
pub fn load_request_frame(till: &TestTerminal, trace: u32, request: &LoadRequest, minor: u64) -> Vec<u8> {
    let mut purse = [0; 128];
    let n = request.encode(&mut purse).expect("it fits");
    load_frame(till, Mti::FINANCIAL, trace, purse.get(..n).expect("it fits"), minor, None)
}

/// The reversal of a load.
#[must_use]
pub fn load_reversal_frame(till: &TestTerminal, trace: u32, minor: u64) -> Vec<u8> {
    load_frame(till, Mti::REVERSAL, trace, &[], minor, Some(Stan(trace)))
}

/// The confirmation of the load with the trace `of`, by the card's receipt.
///
/// # Panics
/// Never: a record fits.
#[must_use]
pub fn confirm_frame(till: &TestTerminal, trace: u32, record: &TransactionRecord, of: u32) -> Vec<u8> {
    let mut purse = [0; 128];
    let n = record.encode(&mut purse).expect("it fits");
    let minor = u64::from(record.amount.0);
    load_frame(till, Mti::ADVICE, trace, purse.get(..n).expect("it fits"), minor, Some(Stan(of)))
}

/// The issuer's consent to a load.
///
/// # Panics
/// There is none.
#[must_use]
pub fn consent(answer: &Received) -> LoadAnswer {
    assert_eq!(answer.code(), ResponseCode::APPROVED);
    LoadAnswer::parse(answer.message().need::<PurseField<'_>>().expect("field 58").0).expect("a consent")
}

/// Up to twelve offline records.
///
/// # Panics
/// They are more.
#[must_use]
pub fn upload_frame(till: &TestTerminal, trace: u32, records: &[TransactionRecord]) -> Vec<u8> {
    let mut list = RecordList::default();
    records.iter().for_each(|record| list.push(record).expect("room"));
    let code = Some(ManagementCode::PURSE_RECORDS);
    let batch = Batch { code, ..Batch::financial(TransactionKind::OFFLINE, till.batch) };
    till.frame(Mti::UPLOAD, till.mac.as_ref(), &|builder| {
        builder.put(&ProcessingCode::PURCHASE)?.put(&Stan(trace))?.put(&Condition::NORMAL)?;
        builder.put(&till.id)?.put(&till.merchant)?.put(&CURRENCY)?.put(&list.field())?.put(&batch)?;
        Ok(())
    })
}

/// What became of each record of an upload: its number in the SAM, and its code.
///
/// # Panics
/// It is no answer to an upload.
#[must_use]
pub fn record_answers(answer: &Received) -> Vec<(u32, String)> {
    assert_eq!((answer.code(), answer.message().mti()), (ResponseCode::APPROVED, Mti(0x0330)));
    let field: PurseField<'_> = answer.message().need().expect("field 58");
    let answers = RecordAnswers::parse(field.0).expect("answers");
    answers.answers.iter().map(|answer| (answer.term_seq.0, answer.code.to_string())).collect()
}
