//! Purchase and CAPP purchase: INIT, the cache of records, DEBIT.

use super::store::{Proof, State};
use super::{Open, Purse, Stop};
use crate::os::fs::{File, Structure};
use crate::os::{Change, Platform, Reply};
use protocol::apdu::{Command, StatusWord};
use protocol::ids::OfflineCounter;
use protocol::purse::answer::{DebitAnswer, InitForPurchaseAnswer};
use protocol::purse::command::{CLA_PURSE, DebitForPurchase, Initialize, UpdateCappCache, ins};
use protocol::purse::file::{LogRecord, SFI_LOG};
use protocol::purse::keys::{KeyUse, PurseKey, SessionKey};
use protocol::purse::mac::{CappDigester, PurchaseTerms, TacTerms};
use protocol::purse::{CappDigest, CardRandom, Moment, Suite, TransactionType};

/// Most records that one CAPP transaction may cache.
const CACHED_RECORDS_MAX: usize = 8;

/// An open purchase.
pub(super) struct OfflineTransaction {
    init: Initialize,
    key: PurseKey,
    counter: OfflineCounter,
    random: CardRandom,
    cache: Vec<CachedRecord>,
    digester: CappDigester,
}

struct CachedRecord {
    file: File,
    /// 0 appends to a cyclic file.
    number: u8,
    data: Vec<u8>,
}

impl Purse {
    /// INITIALIZE FOR anything: opens a one-shot transaction.
    pub(super) fn initialize(&mut self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        let init = Initialize::parse(command)?;
        match init.kind {
            TransactionType::Purchase | TransactionType::CappPurchase => {
                self.init_purchase(command, init, platform)
            }
            TransactionType::Load => self.init_load(command, init, platform),
            TransactionType::Unload => self.init_unload(command, init, platform),
            _ => Err(StatusWord::WRONG_P1P2.into()),
        }
    }

    fn init_purchase(
        &mut self,
        command: &Command<'_>,
        init: Initialize,
        platform: &mut Platform<'_>,
    ) -> Reply {
        let suite = self.suite();
        platform.expect(command, 11 + suite.mac_len())?;
        if init.amount.0 == 0 && init.kind == TransactionType::Purchase {
            return Err(StatusWord::WRONG_DATA.into());
        }
        let stored = self.store.key(platform.memory, suite, KeyUse::Purchase, init.key_index)?;
        let state = self.store.state(platform.memory)?;
        if state.offline.next().is_none() {
            return Err(StatusWord::COUNTER_AT_MAXIMUM.into());
        }
        if init.amount > self.profile.limits.payment {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED.into());
        }
        if init.amount > state.usable() {
            return Err(StatusWord::INSUFFICIENT_BALANCE.into());
        }
        let random = fresh_random(suite, platform)?;
        let answer = InitForPurchaseAnswer {
            balance: state.balance,
            counter: state.offline,
            overdraft: state.overdraft,
            key_version: stored.version,
            algorithm: self.profile.algorithm,
            random,
        };
        let mut out = [0; 32];
        let n = answer.encode(&mut out)?;
        self.open = Open::Offline(Box::new(OfflineTransaction {
            init,
            key: stored.key,
            counter: state.offline,
            random,
            cache: Vec::new(),
            digester: CappDigester::default(),
        }));
        Ok(out.get(..n).unwrap_or_default().to_vec())
    }

    /// UPDATE CAPP DATA CACHE: kept until DEBIT. A refused one ends the transaction.
    pub(super) fn update_capp_cache(&mut self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        let Open::Offline(mut open) = std::mem::take(&mut self.open) else {
            return Err(StatusWord::NOT_ACCEPTED.into());
        };
        if open.init.kind != TransactionType::CappPurchase {
            return Err(StatusWord::NOT_ACCEPTED.into());
        }
        let update = UpdateCappCache::parse(command)?;
        if open.cache.len() >= CACHED_RECORDS_MAX {
            return Err(StatusWord::NO_SPACE.into());
        }
        let record = self.cached_record(&update, platform)?;
        open.cache.push(record);
        open.digester.add(update.p1, update.p2, update.record);
        self.open = Open::Offline(open);
        Ok(Vec::new())
    }

    fn cached_record(
        &self,
        update: &UpdateCappCache<'_>,
        platform: &Platform<'_>,
    ) -> Result<CachedRecord, Stop> {
        let file = File::find(platform.memory, self.app(), update.p2 >> 3)?;
        let (number, len) = match (update.p2 & 0x07, file.structure) {
            // The log and the public data are the card's own.
            _ if file.sfi == SFI_LOG => return Err(StatusWord::SECURITY_NOT_SATISFIED.into()),
            (0x04, Structure::Cyclic) if update.p1 == 0 => (0, usize::from(file.len)),
            (0x04, _) => (update.p1, file.read_record(platform.memory, update.p1)?.len()),
            (0x00, _) => {
                let number = file.number_of(platform.memory, update.p1)?;
                if update.record.get(1).is_some_and(|id| *id != update.p1) {
                    return Err(StatusWord::WRONG_DATA.into());
                }
                (number, file.read_record(platform.memory, number)?.len())
            }
            _ => return Err(StatusWord::WRONG_P1P2.into()),
        };
        if update.record.len() != len {
            return Err(StatusWord::WRONG_LENGTH.into());
        }
        Ok(CachedRecord { file, number, data: update.record.to_vec() })
    }

    /// DEBIT FOR PURCHASE, CAPP (P1 = 01) or UNLOAD (P1 = 03).
    pub(super) fn debit(&mut self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        let suite = self.suite();
        let unload = command.header() == [CLA_PURSE, ins::DEBIT, 0x03, 0x00];
        // Only a wrong Le leaves the transaction open: the reader repeats the command with the right one.
        platform.expect(command, if unload { suite.mac_len() } else { 2 * suite.mac_len() })?;
        match std::mem::take(&mut self.open) {
            Open::Offline(open) if !unload => self.debit_purchase(command, *open, platform),
            Open::Online(open) if unload => self.debit_unload(command, *open, platform),
            _ => Err(StatusWord::NOT_ACCEPTED.into()),
        }
    }

    fn debit_purchase(
        &self,
        command: &Command<'_>,
        open: OfflineTransaction,
        platform: &mut Platform<'_>,
    ) -> Reply {
        let debit = DebitForPurchase::parse(self.suite(), command)?;
        let session = open.key.offline_session(open.init.kind, &open.random, open.counter, debit.term_seq)?;
        let terms = PurchaseTerms {
            amount: open.init.amount,
            kind: open.init.kind,
            terminal: open.init.terminal,
            term_seq: debit.term_seq,
            moment: debit.moment,
            digest: if self.suite() == Suite::Aes { open.digester.finish() } else { CappDigest::default() },
        };
        // The purchase key counts nothing: nobody shall be able to kill a card in a pocket.
        if session.purchase_mac1(&terms) != debit.mac1 {
            return Err(StatusWord::MAC_WRONG.into());
        }
        self.take(&open, &terms, &session, platform)
    }

    /// The money moves: everything in one commit.
    fn take(
        &self,
        open: &OfflineTransaction,
        terms: &PurchaseTerms,
        session: &SessionKey,
        platform: &mut Platform<'_>,
    ) -> Reply {
        let state = self.store.state(platform.memory)?;
        let insufficient = StatusWord::INSUFFICIENT_BALANCE;
        if terms.amount > state.usable() {
            return Err(insufficient.into());
        }
        let balance = state.balance.checked_sub(terms.amount).ok_or(insufficient)?;
        let offline = state.offline.next().ok_or(StatusWord::COUNTER_AT_MAXIMUM)?;
        let public = self.public(platform.memory)?;
        let tac_terms = TacTerms::purchase(public.asn(), open.counter, balance, terms);
        let tac_key = self.tac_key(platform)?;
        let answer = DebitAnswer {
            tac: tac_key.tac(&tac_terms),
            mac2: session.purchase_mac2(terms.amount, balance, open.counter, &public.digest()),
        };
        let mut change = Change::new(platform.memory);
        self.store.put_state(&mut change, State { balance, offline, ..state });
        self.log(&mut change, &state, &tac_terms, offline.0)?;
        let proof = Proof {
            kind: terms.kind,
            counter_after: offline.0,
            mac: answer.mac2,
            tac: answer.tac,
            tac_input: tac_terms.to_bytes(),
        };
        self.store.put_proof(&mut change, proof);
        for record in &open.cache {
            match record.number {
                0 => record.file.append(&mut change, &record.data)?,
                number => record.file.update_record(&mut change, number, &record.data)?,
            }
        }
        let batch = change.into_batch();
        platform.memory.commit(&batch)?;
        let mut out = [0; 16];
        let n = answer.encode(&mut out)?;
        Ok(out.get(..n).unwrap_or_default().to_vec())
    }

    /// The record of file 18.
    pub(super) fn log(
        &self,
        change: &mut Change<'_>,
        state: &State,
        terms: &TacTerms,
        counter_after: u16,
    ) -> Result<(), Stop> {
        let record = LogRecord {
            counter_after,
            overdraft: state.overdraft,
            amount: terms.amount,
            kind: terms.kind,
            terminal: terms.terminal,
            moment: Moment { date: terms.moment.date, time: terms.moment.time },
        };
        Ok(self.log_file.append(change, &record.to_bytes())?)
    }
}

/// The card's random of one transaction.
pub(super) fn fresh_random(suite: Suite, platform: &mut Platform<'_>) -> Result<CardRandom, Stop> {
    let mut bytes = [0; 8];
    let bytes = bytes.get_mut(..suite.mac_len()).ok_or(StatusWord::UNKNOWN)?;
    platform.random.fill(bytes)?;
    Ok(CardRandom::from_bytes(suite, bytes)?)
}
