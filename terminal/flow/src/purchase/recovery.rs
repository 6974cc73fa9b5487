//! What became of an interrupted debit: the table of `purse.md` section 6.
//!
//! The card is asked for its offline counter `c` by a CAPP INIT of amount zero (nothing can be taken by it), and compared
//! with the journalled counter `c0`:
//!
//! | `c` | then |
//! |---|---|
//! | = c0 | nothing happened: void, the payment begins afresh |
//! | > c0 | GET TRANSACTION PROVE (c0 + 1). The SAM finds its MAC2 right: done, with the record's own number and time. Wrong: that transaction was another terminal's, ours is void. The SAM cannot check: recovered, unverified. The card has no such proof: uncertain |
//! | < c0 | the card was rolled back: uncertain, and the card is refused |

use super::{After, DRIVER_FAULT, Purchase, SamWork, State, Transition, check_init, says_mac_is_wrong};
use crate::machine::Prompt;
use crate::outcome::{Certainty, Decline, Fault, Outcome};
use crate::record::{DebitIntent, Resolution, Uncertainty};
use core::cmp::Ordering;
use protocol::apdu::{Response, StatusWord};
use protocol::money::CardAmount;
use protocol::purse::answer::ProveAnswer;
use protocol::purse::command::GetProve;
use protocol::purse::{Tac, TransactionType};
use protocol::sam::VerifyProved;
use protocol::teeth::{Tooth, bites};
use protocol::time::Now;

impl Purchase<'_> {
    /// Asks the card in the field for its counter.
    pub(super) fn probe(&mut self) -> Transition {
        let card = self.present()?;
        let (suite, init) =
            (card.issuer.suite, self.initialize(card, TransactionType::CappPurchase, CardAmount::ZERO));
        self.arrival.prompt = Prompt::Processing;
        self.send_card(State::Probing, |out| init.encode(suite, out))
    }

    /// The answer to the debit came but does not say what happened. The card is still there: probe it at once. If
    /// nothing was taken, the payment ends with `refusal`.
    pub(super) fn probe_again_or_wait(&mut self, refusal: Decline, now: Now) -> Transition {
        if let Some(open) = &mut self.open {
            open.refusal = Some(refusal);
        }
        self.arrival.give_time_to_return(now);
        self.probe()
    }

    pub(super) fn probed(&mut self, answer: &[u8], now: Now) -> Transition {
        let card = self.present()?.clone();
        let init = match Response::parse(answer)
            .map_err(|_| Decline::BadAnswer)
            .and_then(|r| check_init(&card, r))
        {
            Ok(init) => init,
            Err(decline) => return self.unproved(decline, now),
        };
        let intent = self.open_intent()?;
        match init.counter.cmp(&intent.counter) {
            Ordering::Equal => {
                let refusal = self.open.as_ref().and_then(|open| open.refusal);
                let after = refusal.map_or(After::Pay(card), After::Refused);
                Ok(self.resolve(Resolution::Void, after))
            }
            Ordering::Greater => {
                let after = intent.counter.next().ok_or(DRIVER_FAULT)?;
                let counter_after = if bites(Tooth::ProveCounterBefore) { intent.counter.0 } else { after.0 };
                let prove = GetProve { evidence: false, kind: intent.kind, counter_after };
                self.send_card(State::Proving, |out| prove.encode(card.issuer.suite, out))
            }
            Ordering::Less => {
                let why = Uncertainty::RolledBack;
                let after = if self.open_is_earlier() {
                    After::Refused(Decline::RolledBack(card.id))
                } else {
                    After::Doubtful(why)
                };
                Ok(self.resolve(Resolution::Uncertain { tac: None, why }, after))
            }
        }
    }

    pub(super) fn proved(&mut self, answer: &[u8], now: Now) -> Transition {
        let intent = self.open_intent()?;
        let response = match Response::parse(answer) {
            Ok(response) => response,
            Err(_) => return self.unproved(Decline::BadAnswer, now),
        };
        match response.sw {
            StatusWord::OK => {}
            StatusWord::NO_PROVE_DATA => return self.no_proof(),
            other => return self.unproved(Decline::CardRefused(other), now),
        }
        let Ok(ProveAnswer { mac, tac }) = ProveAnswer::parse(intent.suite(), response.data) else {
            return self.unproved(Decline::BadAnswer, now);
        };
        let request = VerifyProved {
            random: intent.random,
            counter: intent.counter,
            amount: intent.amount,
            kind: intent.kind,
            term_seq: intent.term_seq,
            proof: intent.proof(),
            mac2: mac,
            key: intent.key(),
        };
        let suite = intent.suite();
        self.with_sam(suite, SamWork::VerifyProved(request, tac))
    }

    pub(super) fn proof_checked(&mut self, tac: Tac, sw: StatusWord) -> Transition {
        match sw {
            StatusWord::OK => {
                Ok(self.resolve(Resolution::Done { tac }, After::Paid(tac, Certainty::Recovered)))
            }
            StatusWord::INS_NOT_SUPPORTED | StatusWord::CLA_NOT_SUPPORTED => {
                let after = After::Paid(tac, Certainty::RecoveredUnverified);
                Ok(self.resolve(Resolution::RecoveredUnverified { tac }, after))
            }
            sw if says_mac_is_wrong(sw) => {
                let card = self.present()?.clone();
                Ok(self.resolve(Resolution::Void, After::Pay(card)))
            }
            other => Err(Outcome::Failed(Fault::SamRefused(other))),
        }
    }

    /// The counter moved on and the card has no proof: only the backend can know, from the card's later records.
    fn no_proof(&mut self) -> Transition {
        let why = Uncertainty::NoProof;
        // An earlier payment's doubt is listed and does not stop this customer; this payment's own ends it, since to
        // begin afresh could take the money twice.
        let after =
            if self.open_is_earlier() { After::Pay(self.present()?.clone()) } else { After::Doubtful(why) };
        Ok(self.resolve(Resolution::Uncertain { tac: None, why }, after))
    }

    /// The card would not tell. The debit stays open; this payment's own waits for the card to come back.
    fn unproved(&mut self, decline: Decline, now: Now) -> Transition {
        if self.open_is_earlier() {
            return Err(Outcome::Declined(decline));
        }
        if self.arrival.is_late(now) {
            return Err(Outcome::TimedOut);
        }
        self.state = State::Arriving;
        Ok(self.arrival.wait_change(self.open_card()))
    }

    fn open_intent(&self) -> Result<&DebitIntent, Outcome> {
        self.open.as_ref().map(|open| &open.intent).ok_or(DRIVER_FAULT)
    }

    fn open_is_earlier(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.earlier)
    }
}
