//! What a purse keeps in memory, object by object, and how each is laid out. All integers are big-endian.
//!
//! | class | object | bytes |
//! |---|---|---|
//! | 20 | state | balance 4, overdraft 3, online counter 2, offline counter 2, blocked 1 |
//! | 21 | profile | suite 1, algorithm 1, currency 2, maximum balance 4, maximum load 4, maximum payment 4 |
//! | 22 | key (use, index) | version 1, key 16 |
//! | 23 | wrong MACs of a key (use, index) | count 1 |
//! | 24 | PIN (key id) | maximum tries 1, PIN 2–6 |
//! | 25 | tries left of a PIN (key id) | count 1 |
//! | 26 | proof (0, slot); (1, 0) is the next slot | type 1, counter after 2, MAC 8, TAC 8, TAC input 54 |
//! | 27 | evidence key; 28: certificate | P-256 scalar 32; DER |

use crate::memory::{Batch, Memory, ObjectId};
use crate::os::{AppId, Change, Stop};
use protocol::apdu::StatusWord;
use protocol::bytes::Reader;
use protocol::ids::{KeyIndex, KeyVersion, OfflineCounter, OnlineCounter};
use protocol::money::{CardAmount, Currency};
use protocol::purse::keys::{KeyUse, PurseKey};
use protocol::purse::mac::TAC_INPUT_BYTES;
use protocol::purse::{Algorithm, Overdraft, PROVE_DEPTH, PurseMac, Suite, Tac, TransactionType};
use protocol::secret::Secret;
use zeroize::Zeroizing;

const STATE: u8 = 0x20;
const PROFILE: u8 = 0x21;
const KEY: u8 = 0x22;
const KEY_WRONG: u8 = 0x23;
const PIN: u8 = 0x24;
const PIN_LEFT: u8 = 0x25;
const PROOF: u8 = 0x26;
const EVIDENCE_KEY: u8 = 0x27;
const CERTIFICATE: u8 = 0x28;

/// Wrong MACs after which a load, unload or management key locks.
pub const KEY_WRONG_MAX: u8 = 15;

/// Whether the issuer blocked the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blocked {
    /// It works.
    #[default]
    No,
    /// Until APPLICATION UNBLOCK.
    Temporarily,
    /// For good.
    Permanently,
}

/// What every transaction changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Balance.
    pub balance: CardAmount,
    /// Overdraft limit, part of the balance that may not be spent.
    pub overdraft: Overdraft,
    /// Counter of loads and unloads.
    pub online: OnlineCounter,
    /// Counter of purchases.
    pub offline: OfflineCounter,
    /// Whether it is blocked.
    pub blocked: Blocked,
}

impl State {
    /// What may be spent.
    #[must_use]
    pub fn usable(&self) -> CardAmount {
        CardAmount(self.balance.0.saturating_sub(self.overdraft.minor()))
    }

    fn to_bytes(self) -> Vec<u8> {
        let blocked = match self.blocked {
            Blocked::No => 0,
            Blocked::Temporarily => 1,
            Blocked::Permanently => 2,
        };
        [
            self.balance.to_bytes().as_slice(),
            &self.overdraft.to_bytes(),
            &self.online.0.to_be_bytes(),
            &self.offline.0.to_be_bytes(),
            &[blocked],
        ]
        .concat()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let state = Self {
            balance: CardAmount::from_bytes(reader.array().ok()?),
            overdraft: Overdraft::from_bytes(reader.array().ok()?),
            online: OnlineCounter(reader.u16().ok()?),
            offline: OfflineCounter(reader.u16().ok()?),
            blocked: match reader.u8().ok()? {
                0 => Blocked::No,
                1 => Blocked::Temporarily,
                _ => Blocked::Permanently,
            },
        };
        reader.finish().ok()?;
        Some(state)
    }
}

/// What the issuer fixed when it made the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Suite of every key of the application.
    pub suite: Suite,
    /// The algorithm byte that INIT answers.
    pub algorithm: Algorithm,
    /// Currency of every amount.
    pub currency: Currency,
    /// Limits.
    pub limits: Limits,
}

/// Limits of a card, minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most that the card may hold.
    pub balance: CardAmount,
    /// Most that one load may add.
    pub load: CardAmount,
    /// Most that one purchase may take.
    pub payment: CardAmount,
}

impl Profile {
    fn to_bytes(self) -> Vec<u8> {
        [
            [self.algorithm.suite().algorithm().byte(), self.algorithm.byte()].as_slice(),
            &self.currency.numeric().to_be_bytes(),
            &self.limits.balance.to_bytes(),
            &self.limits.load.to_bytes(),
            &self.limits.payment.to_bytes(),
        ]
        .concat()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let suite = Algorithm::from_byte(reader.u8().ok()?).ok()?.suite();
        let algorithm = Algorithm::from_byte(reader.u8().ok()?).ok()?;
        let currency = Currency::from_numeric(reader.u16().ok()?)?;
        let limits = Limits {
            balance: CardAmount::from_bytes(reader.array().ok()?),
            load: CardAmount::from_bytes(reader.array().ok()?),
            payment: CardAmount::from_bytes(reader.array().ok()?),
        };
        reader.finish().ok()?;
        (algorithm.suite() == suite).then_some(Self { suite, algorithm, currency, limits })
    }
}

/// A card's key with its version.
#[derive(Debug)]
pub struct StoredKey {
    /// Version, as INIT answers it.
    pub version: KeyVersion,
    /// The diversified key.
    pub key: PurseKey,
}

/// What PROVE and the evidence need of a past transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Its type.
    pub kind: TransactionType,
    /// Its counter, after it.
    pub counter_after: u16,
    /// MAC2 or MAC3; zeros of a load.
    pub mac: PurseMac,
    /// TAC; zeros of an unload.
    pub tac: Tac,
    /// TAC input, for the evidence signature.
    pub tac_input: [u8; TAC_INPUT_BYTES],
}

impl Proof {
    /// The answer of PROVE.
    #[must_use]
    pub fn answer(&self, _suite: Suite) -> Vec<u8> {
        [self.mac.as_bytes(), self.tac.as_bytes()].concat()
    }

    fn to_bytes(self) -> Vec<u8> {
        let wide = |bytes: &[u8]| {
            let mut out = [0; 8];
            out.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = *byte);
            out
        };
        [
            [self.kind.byte()].as_slice(),
            &self.counter_after.to_be_bytes(),
            &wide(self.mac.as_bytes()),
            &wide(self.tac.as_bytes()),
            &self.tac_input,
        ]
        .concat()
    }

    fn parse(suite: Suite, bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let narrow = |wide: [u8; 8]| wide.get(..suite.mac_len()).unwrap_or_default().to_vec();
        Some(Self {
            kind: TransactionType::from_byte(reader.u8().ok()?).ok()?,
            counter_after: reader.u16().ok()?,
            mac: PurseMac::from_bytes(suite, &narrow(reader.array().ok()?)).ok()?,
            tac: Tac::from_bytes(suite, &narrow(reader.array().ok()?)).ok()?,
            tac_input: reader.array().ok()?,
        })
    }
}

const fn use_code(key_use: KeyUse) -> u8 {
    match key_use {
        KeyUse::Purchase => 1,
        KeyUse::Load => 2,
        KeyUse::Unload => 3,
        KeyUse::Tac => 4,
        KeyUse::PinUnblock => 5,
        KeyUse::PinReload => 6,
        KeyUse::Maintenance => 7,
        KeyUse::Authenticate => 8,
    }
}

/// A PIN's place: what it is and how many tries it starts with.
pub struct StoredPin {
    /// The PIN.
    pub pin: Zeroizing<Vec<u8>>,
    /// Tries after a right one.
    pub tries_max: u8,
    /// Tries left now.
    pub tries_left: u8,
}

/// The purse's objects by name.
#[derive(Clone, Copy, Debug)]
pub struct Store {
    /// The application.
    pub app: AppId,
}

impl Store {
    /// The objects of application `app`.
    #[must_use]
    pub const fn new(app: AppId) -> Self {
        Self { app }
    }

    const fn id(&self, class: u8, major: u8, minor: u8) -> ObjectId {
        self.app.object(class, major, minor)
    }

    /// Balance, counters, blocking.
    ///
    /// # Errors
    /// 6F00: memory without a state is no card.
    pub fn state(&self, memory: &dyn Memory) -> Result<State, Stop> {
        let state = memory.get(self.id(STATE, 0, 0)).and_then(State::parse);
        state.ok_or(Stop::Status(StatusWord::UNKNOWN))
    }

    /// Writes the state with the rest of a change.
    pub fn put_state(&self, change: &mut Change<'_>, state: State) {
        change.put(self.id(STATE, 0, 0), &state.to_bytes());
    }

    /// The issuer's profile.
    #[must_use]
    pub fn profile(&self, memory: &dyn Memory) -> Option<Profile> {
        memory.get(self.id(PROFILE, 0, 0)).and_then(Profile::parse)
    }

    /// Writes a new card's profile and state.
    pub fn create(&self, batch: &mut Batch, profile: Profile, state: State) {
        batch.put(self.id(PROFILE, 0, 0), &profile.to_bytes());
        batch.put(self.id(STATE, 0, 0), &state.to_bytes());
        batch.put(self.id(PROOF, 1, 0), &[0]);
    }

    /// Writes a key of a new card.
    pub fn create_key(
        &self,
        batch: &mut Batch,
        key_use: KeyUse,
        index: KeyIndex,
        version: KeyVersion,
        key: &PurseKey,
    ) {
        let mut bytes = Zeroizing::new(vec![version.0]);
        bytes.extend_from_slice(key.expose());
        batch.put(self.id(KEY, use_code(key_use), index.0), &bytes);
    }

    /// Writes a PIN of a new card.
    pub fn create_pin(&self, batch: &mut Batch, key_id: u8, pin: &[u8], tries_max: u8) {
        batch.put(self.id(PIN, key_id, 0), &pin_bytes(tries_max, pin));
        batch.put(self.id(PIN_LEFT, key_id, 0), &[tries_max]);
    }

    /// A key of the suite.
    ///
    /// # Errors
    /// 9403.
    pub fn key(
        &self,
        memory: &dyn Memory,
        suite: Suite,
        key_use: KeyUse,
        index: KeyIndex,
    ) -> Result<StoredKey, Stop> {
        match memory.get(self.id(KEY, use_code(key_use), index.0)) {
            Some([version, key @ ..]) if key.len() == 16 => {
                let mut bytes = Zeroizing::new([0; 16]);
                bytes.copy_from_slice(key);
                Ok(StoredKey {
                    version: KeyVersion(*version),
                    key: PurseKey::new(suite, Secret::new(*bytes)),
                })
            }
            _ => Err(StatusWord::KEY_NOT_FOUND.into()),
        }
    }

    /// Wrong MACs so far.
    #[must_use]
    pub fn wrong_macs(&self, memory: &dyn Memory, key_use: KeyUse, index: KeyIndex) -> u8 {
        match memory.get(self.id(KEY_WRONG, use_code(key_use), index.0)) {
            Some([count]) => *count,
            _ => 0,
        }
    }

    /// 6983 if too many wrong MACs locked the key.
    ///
    /// # Errors
    /// 6983.
    pub fn refuse_locked(&self, memory: &dyn Memory, key_use: KeyUse, index: KeyIndex) -> Result<(), Stop> {
        if self.wrong_macs(memory, key_use, index) >= KEY_WRONG_MAX {
            return Err(StatusWord::PIN_BLOCKED.into());
        }
        Ok(())
    }

    /// Counts a MAC as wrong, durably, before it is compared: a power cut at the right moment gains no free guess.
    ///
    /// # Errors
    /// The key is locked, or memory did not take it.
    pub fn count_before_comparison(
        &self,
        memory: &mut dyn Memory,
        key_use: KeyUse,
        index: KeyIndex,
    ) -> Result<(), Stop> {
        self.refuse_locked(memory, key_use, index)?;
        let count = self.wrong_macs(memory, key_use, index).saturating_add(1);
        let mut batch = Batch::new();
        batch.put(self.id(KEY_WRONG, use_code(key_use), index.0), &[count]);
        Ok(memory.commit(&batch)?)
    }

    /// The MAC was right: the count goes with the change it allowed.
    pub fn clear_wrong_macs(&self, change: &mut Change<'_>, key_use: KeyUse, index: KeyIndex) {
        change.put(self.id(KEY_WRONG, use_code(key_use), index.0), &[0]);
    }

    /// A PIN.
    ///
    /// # Errors
    /// 6A88.
    pub fn pin(&self, memory: &dyn Memory, key_id: u8) -> Result<StoredPin, Stop> {
        let (Some([tries_max, pin @ ..]), Some([tries_left])) =
            (memory.get(self.id(PIN, key_id, 0)), memory.get(self.id(PIN_LEFT, key_id, 0)))
        else {
            return Err(StatusWord::REFERENCE_NOT_FOUND.into());
        };
        Ok(StoredPin { pin: Zeroizing::new(pin.to_vec()), tries_max: *tries_max, tries_left: *tries_left })
    }

    /// Sets the tries left of a PIN.
    pub fn put_tries(&self, change: &mut Change<'_>, key_id: u8, tries: u8) {
        change.put(self.id(PIN_LEFT, key_id, 0), &[tries]);
    }

    /// Replaces a PIN.
    pub fn put_pin(&self, change: &mut Change<'_>, key_id: u8, tries_max: u8, pin: &[u8]) {
        change.put(self.id(PIN, key_id, 0), &pin_bytes(tries_max, pin));
    }

    /// Keeps a transaction for PROVE; the oldest of the last ten goes.
    pub fn put_proof(&self, change: &mut Change<'_>, proof: Proof) {
        let depth = u8::try_from(PROVE_DEPTH).unwrap_or(u8::MAX);
        let next = match change.get(self.id(PROOF, 1, 0)).as_deref().map(Vec::as_slice) {
            Some([next]) => next % depth,
            _ => 0,
        };
        change.put(self.id(PROOF, 0, next), &proof.to_bytes());
        change.put(self.id(PROOF, 1, 0), &[(next + 1) % depth]);
    }

    /// A past transaction, if it is among the last ten.
    #[must_use]
    pub fn proof(&self, memory: &dyn Memory, kind: TransactionType, counter_after: u16) -> Option<Proof> {
        let suite = self.profile(memory)?.suite;
        let depth = u8::try_from(PROVE_DEPTH).unwrap_or(u8::MAX);
        (0..depth)
            .filter_map(|slot| Proof::parse(suite, memory.get(self.id(PROOF, 0, slot))?))
            .find(|proof| (proof.kind, proof.counter_after) == (kind, counter_after))
    }

    /// Writes the evidence key and its certificate on a new card.
    pub fn create_evidence(&self, batch: &mut Batch, scalar: &Secret<32>, certificate: &[u8]) {
        batch.put(self.id(EVIDENCE_KEY, 0, 0), scalar.expose());
        batch.put(self.id(CERTIFICATE, 0, 0), certificate);
    }

    /// The evidence key.
    #[must_use]
    pub fn evidence_key(&self, memory: &dyn Memory) -> Option<Secret<32>> {
        let bytes: Zeroizing<[u8; 32]> =
            Zeroizing::new(memory.get(self.id(EVIDENCE_KEY, 0, 0))?.try_into().ok()?);
        Some(Secret::new(*bytes))
    }

    /// The evidence key's certificate, DER.
    #[must_use]
    pub fn certificate<'m>(&self, memory: &'m dyn Memory) -> Option<&'m [u8]> {
        memory.get(self.id(CERTIFICATE, 0, 0)).filter(|der| !der.is_empty())
    }
}

fn pin_bytes(tries_max: u8, pin: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![tries_max]);
    bytes.extend_from_slice(pin);
    bytes
}
