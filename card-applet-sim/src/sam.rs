//! The SAM application (`purse.md` section 4): MAC1 for a purchase, the check of MAC2, the check of a proof.
//!
//! The sequence number is durable *before* it is answered and only grows; both suites of one SAM share it. A wrong MAC2
//! never locks anything: fifteen fake cards must not close a gate. It refuses a key that is not of the application's
//! suite and a number of factors other than the issuer's.
//!
//! Objects: class 30 at the MF is the sequence number (4 bytes, the last one given); class 31 of the application its suite;
//! class 32 (key version) a master: number of factors 1, key 16.

use crate::memory::{Batch, Memory, ObjectId};
use crate::os::{AppId, Applet, Change, Platform, Registration, Reply, Stop};
use protocol::apdu::{Command, StatusWord};
use protocol::ids::{KeyVersion, OfflineCounter, SamTerminal, TermSeq};
use protocol::money::CardAmount;
use protocol::purse::command::{CLA_PURSE, ins};
use protocol::purse::keys::{PurseKey, SessionKey};
use protocol::purse::{Algorithm, Suite, TransactionType};
use protocol::sam::{CardKeyReference, CreditSam, InitSam, InitSamAnswer, SFI_TERMINAL_NUMBER, VerifyProved};
use protocol::secret::Secret;
use protocol::teeth::{Tooth, bites};
use protocol::tlv::{Tag, TlvWriter};
use zeroize::Zeroizing;

const SEQUENCE: ObjectId = AppId::ROOT.object(0x30, 0, 0);
const SUITE: u8 = 0x31;
const MASTER: u8 = 0x32;

/// A SAM application.
pub struct Sam {
    app: AppId,
    fid: u16,
    name: Vec<u8>,
    suite: Suite,
    terminal: SamTerminal,
    open: Option<OpenPurchase>,
}

/// What CREDIT_SAM_FOR_PURCHASE will check.
struct OpenPurchase {
    session: SessionKey,
    amount: CardAmount,
    counter: OfflineCounter,
}

impl Sam {
    /// The application as memory has it; `None` if it lacks its suite or the SAM its terminal number.
    #[must_use]
    pub fn load(memory: &dyn Memory, entry: Registration) -> Option<Self> {
        let [suite] = memory.get(entry.app.object(SUITE, 0, 0))? else { return None };
        let suite = Algorithm::from_byte(*suite).ok()?.suite();
        let terminal = terminal_number(memory)?;
        Some(Self { app: entry.app, fid: entry.fid, name: entry.name, suite, terminal, open: None })
    }

    /// Writes a new SAM application of `suite`.
    pub fn create(batch: &mut Batch, app: AppId, suite: Suite) {
        batch.put(app.object(SUITE, 0, 0), &[suite.algorithm().byte()]);
    }

    /// Writes an issuer's purchase master, to be diversified by `factors` factors.
    pub fn create_master(batch: &mut Batch, app: AppId, version: KeyVersion, key: &PurseKey, factors: u8) {
        let mut bytes = Zeroizing::new(vec![factors]);
        bytes.extend_from_slice(key.expose());
        batch.put(app.object(MASTER, version.0, 0), &bytes);
    }

    /// Writes the sequence number of a new SAM: the next one is the first after `last`.
    pub fn create_sequence(batch: &mut Batch, last: TermSeq) {
        batch.put(SEQUENCE, &last.0.to_be_bytes());
    }

    /// The last sequence number given.
    #[must_use]
    pub fn last_sequence(memory: &dyn Memory) -> TermSeq {
        let bytes = memory.get(SEQUENCE).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        TermSeq(bytes.map_or(0, u32::from_be_bytes))
    }

    /// Versions of the masters of an application.
    #[must_use]
    pub fn versions(memory: &dyn Memory, app: AppId) -> Vec<KeyVersion> {
        (0..=u8::MAX).filter(|v| memory.get(app.object(MASTER, *v, 0)).is_some()).map(KeyVersion).collect()
    }

    /// The card's purchase key.
    fn card_key(&self, memory: &dyn Memory, reference: &CardKeyReference) -> Result<PurseKey, Stop> {
        let not_found = Stop::Status(StatusWord::KEY_NOT_FOUND);
        let stored = memory.get(self.app.object(MASTER, reference.key_version.0, 0)).ok_or(not_found)?;
        let (count, key) = stored.split_first().ok_or(not_found)?;
        if usize::from(*count) != reference.factors.len() {
            return Err(StatusWord::WRONG_DATA.into());
        }
        let mut bytes = Zeroizing::new([0; 16]);
        if key.len() != bytes.len() {
            return Err(not_found);
        }
        bytes.copy_from_slice(key);
        let master = PurseKey::new(self.suite, Secret::new(*bytes));
        Ok(master.diversify(&reference.factors)?)
    }

    /// INIT_SAM_FOR_PURCHASE.
    fn init(&mut self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        let init = InitSam::parse(self.suite, command)?;
        platform.expect(command, 4 + self.suite.mac_len())?;
        offline_only(init.kind)?;
        let key = self.card_key(platform.memory, &init.key)?;
        let term_seq = Self::last_sequence(platform.memory).next().ok_or(StatusWord::COUNTER_AT_MAXIMUM)?;
        let mut change = Change::new(platform.memory);
        change.put(SEQUENCE, &term_seq.0.to_be_bytes());
        let batch = change.into_batch();
        if !bites(Tooth::ReuseTermSeq) {
            platform.memory.commit(&batch)?;
        }
        let session = key.offline_session(init.kind, &init.random, init.counter, term_seq)?;
        let mac1 = session.purchase_mac1(&init.terms(self.terminal, term_seq));
        let mut out = [0; 16];
        let n = InitSamAnswer { term_seq, mac1 }.encode(&mut out)?;
        self.open = Some(OpenPurchase { session, amount: init.amount, counter: init.counter });
        Ok(out.get(..n).unwrap_or_default().to_vec())
    }

    /// CREDIT_SAM_FOR_PURCHASE: one check for one MAC1.
    fn credit(&self, command: &Command<'_>, open: Option<OpenPurchase>) -> Reply {
        let open = open.ok_or(StatusWord::NOT_ACCEPTED)?;
        let credit = CreditSam::parse(self.suite, command)?;
        let proof = credit.proof;
        let mac2 = open.session.purchase_mac2(open.amount, proof.balance_new, open.counter, &proof.file15);
        if mac2 == credit.mac2 { Ok(Vec::new()) } else { Err(StatusWord::MAC_WRONG.into()) }
    }

    /// VERIFY_PROVED_PURCHASE: for a sequence number that this SAM has given.
    fn verify_proved(&self, command: &Command<'_>, platform: &Platform<'_>) -> Reply {
        let proved = VerifyProved::parse(self.suite, command)?;
        offline_only(proved.kind)?;
        if proved.term_seq > Self::last_sequence(platform.memory) {
            return Err(StatusWord::WRONG_DATA.into());
        }
        let key = self.card_key(platform.memory, &proved.key)?;
        let session = key.offline_session(proved.kind, &proved.random, proved.counter, proved.term_seq)?;
        let proof = proved.proof;
        let mac2 = session.purchase_mac2(proved.amount, proof.balance_new, proved.counter, &proof.file15);
        if mac2 == proved.mac2 { Ok(Vec::new()) } else { Err(StatusWord::MAC_WRONG.into()) }
    }
}

/// The terminal number in file 16 of the MF.
#[must_use]
pub fn terminal_number(memory: &dyn Memory) -> Option<SamTerminal> {
    let file = crate::os::fs::File::find(memory, AppId::ROOT, SFI_TERMINAL_NUMBER).ok()?;
    file.bytes(memory).ok()?.try_into().ok().map(SamTerminal)
}

fn offline_only(kind: TransactionType) -> Result<(), StatusWord> {
    match kind {
        TransactionType::Purchase | TransactionType::CappPurchase => Ok(()),
        _ => Err(StatusWord::WRONG_DATA),
    }
}

impl Applet for Sam {
    fn fid(&self) -> u16 {
        self.fid
    }

    fn name(&self) -> &[u8] {
        &self.name
    }

    fn select(&mut self, _platform: &mut Platform<'_>) -> Reply {
        let mut out = [0; 32];
        let mut writer = TlvWriter::new(&mut out);
        writer
            .constructed(Tag::new(0x6F), |fci| fci.put(Tag::new(0x84), &self.name))
            .map_err(|_| StatusWord::UNKNOWN)?;
        let n = writer.len();
        Ok(out.get(..n).unwrap_or_default().to_vec())
    }

    fn process(&mut self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        let open = self.open.take();
        match (command.cla, command.ins) {
            (CLA_PURSE, ins::SAM_INIT) => self.init(command, platform),
            (CLA_PURSE, ins::SAM_CREDIT) => self.credit(command, open),
            (CLA_PURSE, ins::SAM_VERIFY_PROVED) => self.verify_proved(command, platform),
            (0x00 | CLA_PURSE, _) => Err(StatusWord::INS_NOT_SUPPORTED.into()),
            _ => Err(StatusWord::CLA_NOT_SUPPORTED.into()),
        }
    }

    fn interrupt(&mut self) {
        self.open = None;
    }

    fn reset(&mut self) {
        self.open = None;
    }
}
