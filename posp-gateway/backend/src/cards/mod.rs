//! The issuer's side of a purse: loads, offline records, and what the backend believes about every card (`posp.md` section 6).
//!
//! A TAC or a MAC1 is the card's own word; everything else in a record is the terminal's. Money moves on the card's word only.

pub(crate) mod deny;
pub(crate) mod load;
pub(crate) mod offline;
pub(crate) mod uncertain;

use crate::accounts::TransferSeq;
use crate::api::{Alert, AlertKind, CardStatus};
use crate::engine::Desk;
use crate::store::{Card, CardId, DenyVersion, Issuer, Store, Working};
use keys::CardKeyRef;
use protocol::ids::{Asn, IssuerId, KeyVersion, OnlineCounter, SamTerminal, TermSeq};
use protocol::iso8583::f58::{CardCounter, TransactionRecord};
use protocol::purse::Algorithm;
use protocol::purse::mac::TacTerms;

/// The key of a card of this issuer.
pub(crate) fn key_of<'i>(
    issuer: &'i Issuer,
    asn: &Asn,
    version: KeyVersion,
    algorithm: Algorithm,
) -> CardKeyRef<'i> {
    CardKeyRef { issuer: issuer.id, version, algorithm, card: asn.factor(), upper: &issuer.upper_factors }
}

/// Whether the card makes its proofs with the keys of this version. A card has keys of one version, the registered one; one that nobody registered has
/// that of its first proved record. What is right under another version's keys shows that their master is in strange hands, or that the card is
/// registered wrongly: it is no proof, a person is told, and what was paid with it waits for his word (`SetCardKeys`; decision 0021).
pub(crate) const fn proves_with(card: &Card, version: KeyVersion) -> bool {
    card.key_version.0 == version.0
}

/// What the TAC of a record covers.
#[must_use]
pub fn tac_terms(record: &TransactionRecord) -> TacTerms {
    let counter = match record.counter {
        CardCounter::Offline(counter) => counter.0,
        CardCounter::Online(counter) => counter.0,
    };
    TacTerms {
        asn: record.asn,
        counter,
        balance_new: record.balance_after,
        amount: record.amount,
        kind: record.kind,
        terminal: record.terminal,
        term_seq: record.term_seq,
        moment: record.moment,
        digest: record.digest,
    }
}

/// A card that nobody has heard of.
pub(crate) const fn new_card(issuer: IssuerId, asn: Asn, key_version: KeyVersion) -> Card {
    Card {
        id: CardId { issuer, asn },
        key_version,
        funding: None,
        status: CardStatus::Active,
        next_online: OnlineCounter(0),
        open_load: None,
        newest: None,
        loaded: 0,
        spent: 0,
        claimed: 0,
        gap_since: None,
        deny_version: DenyVersion(0),
    }
}

/// So many more of the card's counters belong to a record: a gap opens, stays or is closed.
pub(crate) fn counted(card: &mut Card, desk: &Desk<'_>, more: u32) {
    card.claimed = card.claimed.saturating_add(more);
    card.gap_since = match (card.missing(), card.gap_since) {
        (0, _) => None,
        (_, Some(since)) => Some(since),
        (_, None) => Some(desk.now),
    };
}

/// Raises an alert about a card, a record, or a transfer.
pub(crate) fn alert<S: Store>(
    working: &mut Working<'_, S>,
    desk: &Desk<'_>,
    kind: AlertKind,
    card: Option<(IssuerId, Asn)>,
    record: Option<(SamTerminal, TermSeq)>,
    transfer: Option<TransferSeq>,
) {
    working.alert(Alert { at: desk.now, kind, card, record, transfer });
}
