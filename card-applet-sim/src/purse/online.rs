//! Load and unload: INIT (after the PIN), CREDIT and DEBIT FOR UNLOAD with the issuer's MAC2.

use super::offline::fresh_random;
use super::store::{Proof, State};
use super::{Open, Purse, Stop};
use crate::os::{Change, Platform, Reply};
use protocol::apdu::{Command, StatusWord};
use protocol::ids::KeyIndex;
use protocol::money::CardAmount;
use protocol::purse::answer::InitForLoadAnswer;
use protocol::purse::command::{CreditForLoad, DebitForUnload, Initialize};
use protocol::purse::keys::{KeyUse, SessionKey, TacKey};
use protocol::purse::mac::{HostTerms, TacTerms};
use protocol::purse::{Moment, PurseMac, Suite, Tac, TransactionType};
use protocol::teeth::{Tooth, bites};

/// Index of the card's TAC key: it has one.
pub(super) const TAC_KEY_INDEX: KeyIndex = KeyIndex(1);

/// An open load or unload.
pub(super) struct OnlineTransaction {
    terms: HostTerms,
    session: SessionKey,
    key_use: KeyUse,
    key_index: KeyIndex,
    balance_new: CardAmount,
}

impl Purse {
    pub(super) fn init_load(
        &mut self,
        command: &Command<'_>,
        init: Initialize,
        platform: &mut Platform<'_>,
    ) -> Reply {
        let state = self.admit_online(command, &init, platform)?;
        let limits = self.profile.limits;
        let balance_new = state.balance.checked_add(init.amount).filter(|balance| *balance <= limits.balance);
        let balance_new = balance_new.filter(|_| init.amount <= limits.load);
        let balance_new = balance_new.ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)?;
        self.open_online(init, KeyUse::Load, &state, balance_new, platform)
    }

    pub(super) fn init_unload(
        &mut self,
        command: &Command<'_>,
        init: Initialize,
        platform: &mut Platform<'_>,
    ) -> Reply {
        let p2 = if self.suite() == Suite::Des { 0x01 } else { 0x02 };
        if command.p2 != p2 {
            return Err(StatusWord::WRONG_P1P2.into());
        }
        let state = self.admit_online(command, &init, platform)?;
        if init.amount > state.usable() {
            return Err(StatusWord::INSUFFICIENT_BALANCE.into());
        }
        let balance_new = state.balance.checked_sub(init.amount).ok_or(StatusWord::INSUFFICIENT_BALANCE)?;
        self.open_online(init, KeyUse::Unload, &state, balance_new, platform)
    }

    /// What load and unload ask for alike: Le, PIN, an amount, a counter that can grow.
    fn admit_online(
        &self,
        command: &Command<'_>,
        init: &Initialize,
        platform: &mut Platform<'_>,
    ) -> Result<State, Stop> {
        platform.expect(command, 8 + 2 * self.suite().mac_len())?;
        if !self.pin_verified {
            return Err(StatusWord::SECURITY_NOT_SATISFIED.into());
        }
        if init.amount.0 == 0 {
            return Err(StatusWord::WRONG_DATA.into());
        }
        let state = self.store.state(platform.memory)?;
        if state.online.next().is_none() {
            return Err(StatusWord::COUNTER_AT_MAXIMUM.into());
        }
        Ok(state)
    }

    fn open_online(
        &mut self,
        init: Initialize,
        key_use: KeyUse,
        state: &State,
        balance_new: CardAmount,
        platform: &mut Platform<'_>,
    ) -> Reply {
        let stored = self.store.key(platform.memory, self.suite(), key_use, init.key_index)?;
        self.store.refuse_locked(platform.memory, key_use, init.key_index)?;
        let random = fresh_random(self.suite(), platform)?;
        let session = stored.key.online_session(init.kind, &random, state.online)?;
        let terms = HostTerms {
            amount: init.amount,
            kind: init.kind,
            terminal: init.terminal,
            counter: state.online,
        };
        let asn = self.public(platform.memory)?.asn();
        let answer = InitForLoadAnswer {
            balance: state.balance,
            counter: state.online,
            key_version: stored.version,
            algorithm: self.profile.algorithm,
            random,
            mac1: session.host_mac1(&terms, state.balance, &asn),
        };
        let mut out = [0; 32];
        let n = answer.encode(&mut out)?;
        let key_index = init.key_index;
        self.open =
            Open::Online(Box::new(OnlineTransaction { terms, session, key_use, key_index, balance_new }));
        Ok(out.get(..n).unwrap_or_default().to_vec())
    }

    /// CREDIT FOR LOAD.
    pub(super) fn credit(&mut self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        platform.expect(command, self.suite().mac_len())?;
        let open = match std::mem::take(&mut self.open) {
            Open::Online(open) if open.terms.kind == TransactionType::Load => open,
            _ => return Err(StatusWord::NOT_ACCEPTED.into()),
        };
        let credit = CreditForLoad::parse(self.suite(), command)?;
        self.check_mac2(&open, credit.moment, &credit.mac2, platform)?;
        let asn = self.public(platform.memory)?.asn();
        let terms = TacTerms::load(asn, open.balance_new, &open.terms, credit.moment);
        let tac = self.tac_key(platform)?.tac(&terms);
        let mac = PurseMac::zero(self.suite());
        self.settle(&open, &terms, mac, tac, platform)?;
        Ok(tac.as_bytes().to_vec())
    }

    /// DEBIT FOR UNLOAD.
    pub(super) fn debit_unload(
        &self,
        command: &Command<'_>,
        open: OnlineTransaction,
        platform: &mut Platform<'_>,
    ) -> Reply {
        if open.terms.kind != TransactionType::Unload {
            return Err(StatusWord::NOT_ACCEPTED.into());
        }
        let debit = DebitForUnload::parse(self.suite(), command)?;
        self.check_mac2(&open, debit.moment, &debit.mac2, platform)?;
        let mac3 = open.session.unload_mac3(&open.terms, open.balance_new, debit.moment);
        let asn = self.public(platform.memory)?.asn();
        let terms = TacTerms::load(asn, open.balance_new, &open.terms, debit.moment);
        self.settle(&open, &terms, mac3, Tac::zero(self.suite()), platform)?;
        Ok(mac3.as_bytes().to_vec())
    }

    fn check_mac2(
        &self,
        open: &OnlineTransaction,
        moment: Moment,
        mac2: &PurseMac,
        platform: &mut Platform<'_>,
    ) -> Result<(), Stop> {
        self.store.count_before_comparison(platform.memory, open.key_use, open.key_index)?;
        if open.session.host_mac2(&open.terms, moment) == *mac2 || bites(Tooth::SkipMac2) {
            Ok(())
        } else {
            Err(StatusWord::MAC_WRONG.into())
        }
    }

    /// The balance changes: everything in one commit, the key's wrong-MAC count with it.
    fn settle(
        &self,
        open: &OnlineTransaction,
        terms: &TacTerms,
        mac: PurseMac,
        tac: Tac,
        platform: &mut Platform<'_>,
    ) -> Result<(), Stop> {
        let state = self.store.state(platform.memory)?;
        let online = state.online.next().ok_or(StatusWord::COUNTER_AT_MAXIMUM)?;
        let mut change = Change::new(platform.memory);
        self.store.put_state(&mut change, State { balance: open.balance_new, online, ..state });
        self.store.clear_wrong_macs(&mut change, open.key_use, open.key_index);
        self.log(&mut change, &state, terms, online.0)?;
        let counter_after = online.0;
        let tac_input = terms.to_bytes();
        self.store.put_proof(&mut change, Proof { kind: terms.kind, counter_after, mac, tac, tac_input });
        let batch = change.into_batch();
        Ok(platform.memory.commit(&batch)?)
    }

    pub(super) fn tac_key(&self, platform: &Platform<'_>) -> Result<TacKey, Stop> {
        Ok(self.store.key(platform.memory, self.suite(), KeyUse::Tac, TAC_KEY_INDEX)?.key.tac_key())
    }
}
