//! Who is signed in. In memory alone: after a restart terminals sign in again.
//!
//! A sign-in is judged twice: when it is received ([`Sessions::seen`]), and, since the backend is asked where the terminal belongs in between, under the
//! lock that gives it keys ([`Sessions::sign_in`]). Only a newer one than the newest renews keys. The newest, sent again because its answer was lost,
//! gets the keys that it got: until the terminal has signed out. All others get none: older ones, repeats of them that waited while the newest
//! overtook them, and those that were received before the newest was.

use super::AnswerError;
use backend::api::{AcquirerId, ContentDigest, TerminalReport};
use keys::{Generation, KeyError, KeyModule, SignInField};
use protocol::ids::{BatchNo, MerchantId, Stan, TerminalId};
use protocol::time::Mono;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// How long the MAC key before the newest sign-in is still accepted.
pub const GRACE_MS: u64 = 60_000;
/// Sign-ins of a terminal that are remembered, so that an old one cannot be played again.
const REMEMBERED_MAX: usize = 32;

/// Which sign-in of a terminal since the start: whose keys a message came under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignInNo(u64);

impl SignInNo {
    const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// A terminal's latest sign-in.
struct Session {
    number: SignInNo,
    before: SignInNo,
    merchant: MerchantId,
    acquirer: AcquirerId,
    since: Mono,
    /// The previous MAC key may still be used.
    grace: AtomicBool,
    active: bool,
    newest: (SignInId, BatchNo, Box<SignInField>),
    /// When the newest was received.
    received: Arrival,
    older: VecDeque<SignInId>,
}

impl Session {
    /// What a sign-in is beside the newest.
    fn judge(&self, id: &SignInId, received: Arrival) -> Seen {
        let again = self.newest.0 == *id;
        if again && self.active {
            return Seen::Newest;
        }
        if again || self.older.contains(id) || received < self.received {
            return Seen::Older(self.newest.1, self.newest.0.trace);
        }
        Seen::New
    }
}

/// Where a sign-in stands in the order in which they were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival(u64);

/// What makes two sign-ins the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignInId {
    pub(crate) batch: BatchNo,
    pub(crate) trace: Stan,
    pub(crate) digest: ContentDigest,
    /// Its MAC: under a renewed master key the same words are another sign-in.
    pub(crate) mac: [u8; 8],
}

/// What a signed-in terminal works as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) merchant: MerchantId,
    pub(crate) acquirer: AcquirerId,
}

/// A MAC's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MacVerdict {
    /// Right, under the keys of this sign-in.
    Right(SignInNo),
    /// Wrong.
    Wrong,
}

/// What a sign-in with this identity is.
pub(crate) enum Seen {
    /// A new one.
    New,
    /// The newest, sent again: it is answered with the same keys, and with what is known by now.
    Newest,
    /// An older one; the batch and the trace number of the newest.
    Older(BatchNo, Stan),
}

/// What a sign-in gets.
pub(crate) enum Granted {
    /// Its keys.
    Keys(Box<SignInField>),
    /// Nothing, it is an older one; the batch and the trace number of the newest.
    Older(BatchNo, Stan),
}

/// All terminals that have signed in since the start.
#[derive(Default)]
pub(crate) struct Sessions {
    map: RwLock<HashMap<TerminalId, Session>>,
    arrivals: AtomicU64,
}

impl Sessions {
    /// The terminal's standing and whether it is signed in.
    pub(crate) fn standing(&self, terminal: &TerminalId) -> Option<Standing> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let session = map.get(terminal).filter(|session| session.active)?;
        Some(Standing { merchant: session.merchant, acquirer: session.acquirer })
    }

    /// Checks a message's MAC under the newest key, and during the grace under the one before. The first message under the newest ends
    /// the grace.
    pub(crate) fn verify(
        &self,
        keys: &dyn KeyModule,
        terminal: &TerminalId,
        (input, mac): (&[u8], &[u8; 8]),
        now: Mono,
    ) -> MacVerdict {
        let verified = |generation| keys.verify_host_mac(terminal, generation, &[input], mac);
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let Some(session) = map.get(terminal) else { return MacVerdict::Wrong };
        if verified(Generation::Current) == Ok(true) {
            if session.grace.swap(false, Ordering::Relaxed) {
                keys.forget_previous(terminal);
            }
            return MacVerdict::Right(session.number);
        }
        if !session.grace.load(Ordering::Relaxed) {
            return MacVerdict::Wrong;
        }
        if now.ms_since(session.since) > GRACE_MS {
            session.grace.store(false, Ordering::Relaxed);
            keys.forget_previous(terminal);
            return MacVerdict::Wrong;
        }
        match verified(Generation::Previous) {
            Ok(true) => MacVerdict::Right(session.before),
            _ => MacVerdict::Wrong,
        }
    }

    /// The MAC of an answer to a message that came under the keys of this sign-in. Another sign-in may have come in between: one that was delayed,
    /// by a connection that the terminal gave up long ago. The terminal knows nothing of its keys.
    pub(crate) fn seal(
        &self,
        keys: &dyn KeyModule,
        terminal: &TerminalId,
        number: SignInNo,
        input: &[u8],
    ) -> Result<[u8; 8], AnswerError> {
        // Under the lock, so that no sign-in comes in between now.
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let generation = match map.get(terminal) {
            Some(session) if session.number == number => Generation::Current,
            Some(session) if session.before == number => Generation::Previous,
            _ => return Err(AnswerError::SignedInAnew),
        };
        match keys.host_mac(terminal, generation, &[input]) {
            // It has used its new keys meanwhile, which ended the grace of these.
            Err(KeyError::NoKey(_)) if generation == Generation::Previous => Err(AnswerError::SignedInAnew),
            mac => Ok(mac?),
        }
    }

    /// A sign-in is received.
    pub(crate) fn arrival(&self) -> Arrival {
        Arrival(self.arrivals.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether this sign-in was seen before.
    pub(crate) fn seen(&self, terminal: &TerminalId, id: &SignInId, received: Arrival) -> Seen {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.get(terminal).map_or(Seen::New, |session| session.judge(id, received))
    }

    /// Gives the terminal fresh keys; the newest sign-in, sent again, gets its own, and an older one none.
    pub(crate) fn sign_in(
        &self,
        keys: &dyn KeyModule,
        report: &TerminalReport,
        (id, received): (SignInId, Arrival),
        now: Mono,
    ) -> Result<Granted, KeyError> {
        // Under the lock, so that two sign-ins at once leave the keys and the session of the same one; and judged again, since another may have come
        // in between.
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = map.get(&report.terminal) {
            match session.judge(&id, received) {
                Seen::New => {}
                Seen::Newest => return Ok(Granted::Keys(session.newest.2.clone())),
                Seen::Older(batch, trace) => return Ok(Granted::Older(batch, trace)),
            }
        }
        let field = Box::new(keys.sign_in(&report.terminal)?);
        let before = map.remove(&report.terminal);
        let grace = before.as_ref().is_some_and(|session| session.active);
        let mut older = VecDeque::new();
        let number = before.as_ref().map_or_else(SignInNo::default, |session| session.number);
        if let Some(session) = before {
            older = session.older;
            older.push_back(session.newest.0);
            while older.len() > REMEMBERED_MAX {
                older.pop_front();
            }
        }
        let session = Session {
            number: number.next(),
            before: number,
            merchant: report.merchant,
            acquirer: report.acquirer,
            since: now,
            grace: AtomicBool::new(grace),
            active: true,
            newest: (id, report.batch, field.clone()),
            received,
            older,
        };
        map.insert(report.terminal, session);
        Ok(Granted::Keys(field))
    }

    /// The terminal has signed out, or was taken out of service.
    pub(crate) fn sign_out(&self, keys: &dyn KeyModule, terminal: &TerminalId) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = map.get_mut(terminal) {
            session.active = false;
        }
        keys.sign_out(terminal);
    }

    /// How many are signed in.
    pub(crate) fn count(&self) -> usize {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.values().filter(|session| session.active).count()
    }
}
