//! The key module in software.

pub(crate) mod head;
mod terminal;

use self::terminal::Working;
use crate::sealed::{self, Entry};
use crate::tac::Prepared;
use crate::{
    CardKeyRef, Enrolment, Generation, HeadKey, KeyError, KeyModule, MasterKey, SignInField, TacCheck,
    TacVerdict,
};
use protocol::crypto::{aes128_cmac, aes256_cmac, left8};
use protocol::ids::{Asn, Factor, IssuerId, KeyVersion, TerminalId};
use protocol::money::CardAmount;
use protocol::purse::keys::{FACTORS_MAX, KeyUse, PurseKey};
use protocol::purse::mac::HostTerms;
use protocol::purse::{CardRandom, Moment, PurseMac, Suite};
use protocol::secret::{Secret, macs_equal};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Most prepared keys remembered: one per issuer, key version and city or bank above the cards.
const PREPARED_MAX: usize = 4096;

/// Where randomness comes from.
pub type Entropy = Box<dyn Fn(&mut [u8]) -> Result<(), KeyError> + Send + Sync>;

type IssuerKey = (IssuerId, KeyVersion, KeyUse);
type AboveCards = (IssuerId, KeyVersion, heapless_factors::Upper);

mod heapless_factors {
    //! At most two factors, as a map's key.
    use protocol::ids::Factor;

    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    pub(super) struct Upper([Option<Factor>; 2]);

    impl Upper {
        pub(super) fn new(upper: &[Factor]) -> Option<Self> {
            match upper {
                [] => Some(Self([None, None])),
                [one] => Some(Self([Some(*one), None])),
                [one, two] => Some(Self([Some(*one), Some(*two)])),
                _ => None,
            }
        }
    }
}

/// Keys in memory, and in a file encrypted under a master key.
pub struct SoftKeys {
    file: Option<(MasterKey, PathBuf)>,
    entropy: Entropy,
    issuers: RwLock<HashMap<IssuerKey, PurseKey>>,
    terminals: RwLock<HashMap<TerminalId, Secret<16>>>,
    working: RwLock<HashMap<TerminalId, Working>>,
    heads: RwLock<HashMap<u64, Secret<32>>>,
    token: Secret<32>,
    prepared: Mutex<HashMap<AboveCards, Arc<Prepared>>>,
    /// Held while the file is replaced, so that two changes do not overwrite each other.
    writing: Mutex<()>,
}

impl fmt::Debug for SoftKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftKeys")
            .field("file", &self.file.as_ref().map(|(_, path)| path))
            .finish_non_exhaustive()
    }
}

// A thread that panicked left whole entries behind: every change is one insert.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The operating system's randomness.
fn system_entropy() -> Entropy {
    Box::new(|out| getrandom::fill(out).map_err(|_| KeyError::NoEntropy))
}

impl SoftKeys {
    /// Keys in memory only, with the caller's randomness: for tests and simulation.
    ///
    /// # Errors
    /// No randomness.
    pub fn in_memory(entropy: Entropy) -> Result<Self, KeyError> {
        Self::from_entries(None, entropy, Vec::new())
    }

    /// Opens a key file, or makes one.
    ///
    /// # Errors
    /// The master key does not open it, it is damaged, or the operating system refuses.
    pub fn open(path: &Path, master: MasterKey) -> Result<Self, KeyError> {
        let entries = sealed::load(&master, path)?;
        let fresh = entries.is_none();
        let file = Some((master, path.to_path_buf()));
        let keys = Self::from_entries(file, system_entropy(), entries.unwrap_or_default())?;
        if fresh {
            keys.save()?;
        }
        Ok(keys)
    }

    fn from_entries(
        file: Option<(MasterKey, PathBuf)>,
        entropy: Entropy,
        entries: Vec<Entry>,
    ) -> Result<Self, KeyError> {
        let mut issuers = HashMap::new();
        let mut terminals = HashMap::new();
        let mut heads = HashMap::new();
        let mut token = None;
        for entry in entries {
            match entry {
                Entry::Issuer { issuer, version, usage, key } => {
                    issuers.insert((issuer, version, usage), key);
                }
                Entry::Terminal { terminal, key } => {
                    terminals.insert(terminal, key);
                }
                Entry::Token(key) => token = Some(key),
                Entry::Head { acquirer, key } => {
                    heads.insert(acquirer, key);
                }
            }
        }
        let token = match token {
            Some(token) => token,
            None => random(&entropy)?,
        };
        Ok(Self {
            file,
            entropy,
            issuers: RwLock::new(issuers),
            terminals: RwLock::new(terminals),
            working: RwLock::new(HashMap::new()),
            heads: RwLock::new(heads),
            token,
            prepared: Mutex::new(HashMap::new()),
            writing: Mutex::new(()),
        })
    }

    fn save(&self) -> Result<(), KeyError> {
        let Some((master, path)) = &self.file else { return Ok(()) };
        let _one = locked(&self.writing);
        let mut entries = vec![Entry::Token(self.token.clone())];
        entries.extend(read(&self.issuers).iter().map(|((issuer, version, usage), key)| Entry::Issuer {
            issuer: *issuer,
            version: *version,
            usage: *usage,
            key: key.clone(),
        }));
        entries.extend(
            read(&self.terminals)
                .iter()
                .map(|(terminal, key)| Entry::Terminal { terminal: *terminal, key: key.clone() }),
        );
        entries.extend(
            read(&self.heads)
                .iter()
                .map(|(acquirer, key)| Entry::Head { acquirer: *acquirer, key: key.clone() }),
        );
        let nonce = random::<16>(&self.entropy)?;
        sealed::store(path, &sealed::seal(master, *nonce.expose(), &entries))
    }

    /// Makes a key set of an issuer: one random master key for every use. A set that is there stays as it is.
    ///
    /// # Errors
    /// No randomness, the file cannot be replaced, or the version exists with another suite.
    pub fn generate_issuer(
        &self,
        issuer: IssuerId,
        version: KeyVersion,
        suite: Suite,
    ) -> Result<(), KeyError> {
        {
            let mut issuers = write(&self.issuers);
            for usage in KeyUse::ALL {
                match issuers.get(&(issuer, version, usage)) {
                    Some(key) if key.suite() != suite => return Err(KeyError::Exists),
                    Some(_) => {}
                    None => {
                        let key = PurseKey::new(suite, random(&self.entropy)?);
                        issuers.insert((issuer, version, usage), key);
                    }
                }
            }
        }
        self.save()
    }

    /// Takes in an issuer's master key for one use. A key is never overwritten.
    ///
    /// # Errors
    /// Another key is there, or the file cannot be replaced.
    pub fn import_issuer_key(
        &self,
        issuer: IssuerId,
        version: KeyVersion,
        usage: KeyUse,
        key: PurseKey,
    ) -> Result<(), KeyError> {
        {
            let mut issuers = write(&self.issuers);
            match issuers.get(&(issuer, version, usage)) {
                Some(old) if *old != key => return Err(KeyError::Exists),
                Some(_) => return Ok(()),
                None => issuers.insert((issuer, version, usage), key),
            };
        }
        self.save()
    }

    /// Whether this issuer has any key here.
    #[must_use]
    pub fn knows_issuer(&self, issuer: IssuerId) -> bool {
        read(&self.issuers).keys().any(|(of, ..)| *of == issuer)
    }

    /// Whether this terminal is enrolled here.
    #[must_use]
    pub fn knows_terminal(&self, terminal: &TerminalId) -> bool {
        read(&self.terminals).contains_key(terminal)
    }

    fn master(&self, key: &CardKeyRef<'_>, usage: KeyUse) -> Result<PurseKey, KeyError> {
        let asked = key.algorithm.suite();
        let issuers = read(&self.issuers);
        let master = issuers
            .get(&(key.issuer, key.version, usage))
            .ok_or(KeyError::NoKey("no such issuer key set"))?;
        if master.suite() != asked {
            return Err(KeyError::WrongSuite { have: master.suite(), asked });
        }
        Ok(master.clone())
    }

    /// The key one step above the cards, from memory or made now.
    fn above(&self, key: &CardKeyRef<'_>) -> Option<Arc<Prepared>> {
        let upper = heapless_factors::Upper::new(key.upper)?;
        let place = (key.issuer, key.version, upper);
        if let Some(found) = locked(&self.prepared).get(&place) {
            return (found.suite() == key.algorithm.suite()).then(|| Arc::clone(found));
        }
        let made = Arc::new(Prepared::new(&self.master(key, KeyUse::Tac).ok()?, key.upper));
        let mut prepared = locked(&self.prepared);
        if prepared.len() >= PREPARED_MAX {
            prepared.clear();
        }
        prepared.insert(place, Arc::clone(&made));
        Some(made)
    }

    fn card(&self, key: &CardKeyRef<'_>, usage: KeyUse) -> Result<PurseKey, KeyError> {
        if key.upper.len() >= FACTORS_MAX {
            return Err(KeyError::OutOfBounds("diversification factors"));
        }
        let above = key.upper.iter().rev();
        let master = self.master(key, usage)?;
        let above = above.fold(master, |key, factor: &Factor| key.diversify_step(factor));
        Ok(above.diversify_step(&key.card))
    }
}

/// `N` random bytes.
pub(crate) fn random<const N: usize>(entropy: &Entropy) -> Result<Secret<N>, KeyError> {
    let mut bytes = zeroize::Zeroizing::new([0; N]);
    entropy(bytes.as_mut_slice())?;
    Ok(Secret::new(*bytes))
}

fn online_use(terms: &HostTerms) -> KeyUse {
    match terms.kind {
        protocol::purse::TransactionType::Unload => KeyUse::Unload,
        _ => KeyUse::Load,
    }
}

impl KeyModule for SoftKeys {
    fn verify_tacs(&self, checks: &[TacCheck<'_>]) -> Vec<TacVerdict> {
        let mut verdicts = Vec::with_capacity(checks.len());
        // Records of one message are mostly of one issuer: the key above the cards is looked up when it changes.
        let mut last: Option<(CardKeyRef<'_>, Arc<Prepared>)> = None;
        for check in checks {
            let key = check.key;
            let same = |seen: &CardKeyRef<'_>| {
                (seen.issuer, seen.version, seen.algorithm, seen.upper)
                    == (key.issuer, key.version, key.algorithm, key.upper)
            };
            if !last.as_ref().is_some_and(|(seen, _)| same(seen)) {
                last = self.above(&key).map(|above| (key, above));
            }
            verdicts.push(match &last {
                None => TacVerdict::NoKey,
                Some((_, above)) => match above.tac(&key.card, check.terms) {
                    Ok(tac) if tac == *check.tac => TacVerdict::Valid,
                    _ => TacVerdict::Wrong,
                },
            });
        }
        verdicts
    }

    fn verify_mac1(
        &self,
        key: &CardKeyRef<'_>,
        random: &CardRandom,
        terms: &HostTerms,
        balance_old: CardAmount,
        asn: &Asn,
        mac1: &PurseMac,
    ) -> Result<bool, KeyError> {
        let asked = random.suite();
        let card = self.card(key, online_use(terms))?;
        let wrong = |_| KeyError::WrongSuite { have: card.suite(), asked };
        let session = card.online_session(terms.kind, random, terms.counter).map_err(wrong)?;
        Ok(session.host_mac1(terms, balance_old, asn) == *mac1)
    }

    fn mac2(
        &self,
        key: &CardKeyRef<'_>,
        random: &CardRandom,
        terms: &HostTerms,
        moment: Moment,
    ) -> Result<PurseMac, KeyError> {
        let asked = random.suite();
        let card = self.card(key, online_use(terms))?;
        let wrong = |_| KeyError::WrongSuite { have: card.suite(), asked };
        let session = card.online_session(terms.kind, random, terms.counter).map_err(wrong)?;
        Ok(session.host_mac2(terms, moment))
    }

    fn card_key(&self, key: &CardKeyRef<'_>, usage: KeyUse) -> Result<PurseKey, KeyError> {
        self.card(key, usage)
    }

    fn enrol_terminal(&self, terminal: &TerminalId, renew: bool) -> Result<Enrolment, KeyError> {
        self.enrol(terminal, renew)
    }

    fn sign_in(&self, terminal: &TerminalId) -> Result<SignInField, KeyError> {
        self.new_working_keys(terminal)
    }

    fn sign_out(&self, terminal: &TerminalId) {
        self.drop_working_keys(terminal);
    }

    fn sign_in_mac(&self, terminal: &TerminalId, input: &[u8]) -> Result<[u8; 8], KeyError> {
        self.with_sign_in_key(terminal, |key| key.mac(input))
    }

    fn verify_sign_in_mac(
        &self,
        terminal: &TerminalId,
        input: &[u8],
        mac: &[u8; 8],
    ) -> Result<bool, KeyError> {
        self.with_sign_in_key(terminal, |key| key.verifies(input, mac))
    }

    fn host_mac(
        &self,
        terminal: &TerminalId,
        generation: Generation,
        parts: &[&[u8]],
    ) -> Result<[u8; 8], KeyError> {
        self.with_mac_key(terminal, generation, |key| left8(aes128_cmac(key.expose(), parts)))
    }

    fn verify_host_mac(
        &self,
        terminal: &TerminalId,
        generation: Generation,
        parts: &[&[u8]],
        mac: &[u8; 8],
    ) -> Result<bool, KeyError> {
        self.with_mac_key(terminal, generation, |key| {
            macs_equal(&left8(aes128_cmac(key.expose(), parts)), mac)
        })
    }

    fn forget_previous(&self, terminal: &TerminalId) {
        self.drop_previous(terminal);
    }

    fn sign_head(&self, acquirer: u64, message: &[u8]) -> Result<[u8; 64], KeyError> {
        self.signed_head(acquirer, message)
    }

    fn head_key(&self, acquirer: u64) -> Result<HeadKey, KeyError> {
        self.public_head_key(acquirer)
    }

    fn pan_token(&self, digits: &[u8]) -> Result<[u8; 16], KeyError> {
        if !(8..=19).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
            return Err(KeyError::OutOfBounds("a PAN has 8 to 19 digits"));
        }
        Ok(aes256_cmac(self.token.expose(), &[b"pan-token", digits]))
    }
}
