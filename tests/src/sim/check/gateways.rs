//! What several gateways on one database add to the rules: whose numbers the books hold, and who did what after whom.

use super::Violation;
use crate::sim::answers::Sent;
use crate::sim::books::Books;
use crate::sim::coverage::Coverage;
use backend::api::{AnswerBody, transaction_of};
use backend::store::{GatewayNo, TransactionKind, TransactionState};
use protocol::ids::{BatchNo, SamTerminal, TermSeq, TerminalId};
use protocol::iso8583::Mti;
use std::collections::{BTreeMap, BTreeSet};

/// Every number in the books is one that a gateway of this acquirer gave out. (That each gateway's have no gap, and that its chain is over
/// them, is the audit's to find.)
pub fn check(numbers: &[GatewayNo], books: &Books, found: &mut Vec<Violation>) {
    let transactions = books.transactions.keys().map(|seq| ("transaction", seq.0));
    let transfers = books.transfers.iter().map(|transfer| ("transfer", transfer.seq.0));
    for (what, seq) in transactions.chain(transfers) {
        let gateway = GatewayNo::of(seq);
        if !numbers.contains(&gateway) {
            let number = gateway.number();
            found.push(Violation::Backend(format!(
                "a {what} has a number of gateway {number}, which is not there"
            )));
        }
    }
}

/// Counts what was begun at one gateway and gone on with at another.
pub fn count(sent: &[Sent], books: &Books, coverage: &mut Coverage) {
    const KIND: &str = "at another gateway";
    let mut settled: BTreeMap<(TerminalId, BatchNo), usize> = BTreeMap::new();
    let mut answered: BTreeMap<(TerminalId, BatchNo, u32, bool), BTreeSet<usize>> = BTreeMap::new();
    for answer in sent {
        let batch = (answer.terminal, answer.batch);
        if answer.totals.is_some() {
            settled.insert(batch, answer.gateway);
        } else if answer.exchange == Mti::UPLOAD.exchange()
            && (answer.records.is_some() || !answer.code.is_approved())
            && settled.get(&batch).is_some_and(|by| *by != answer.gateway)
        {
            coverage.reached(KIND, "upload after the settlement");
        }
        let Some(reference) = answer.reference else { continue };
        let reversal = answer.exchange == Mti::REVERSAL.exchange();
        let key = (answer.terminal, answer.batch, answer.trace.0, reversal);
        if answered.entry(key).or_default().insert(answer.gateway) && answered[&key].len() == 2 {
            coverage.reached(KIND, if reversal { "reversal again" } else { "message again" });
        }
        // A reversal is answered under the number of what it reverses.
        if reversal
            && let Some(row) = transaction_of(reference).and_then(|seq| books.transactions.get(&seq))
            && row.state == TransactionState::Reversed
            && answered.get(&(key.0, key.1, key.2, false)).is_some_and(|by| !by.contains(&answer.gateway))
        {
            coverage.reached(KIND, "reversal");
        }
    }
    let mut records: BTreeMap<(SamTerminal, TermSeq), BTreeSet<GatewayNo>> = BTreeMap::new();
    let mut uploads: BTreeMap<(TerminalId, BatchNo), BTreeSet<GatewayNo>> = BTreeMap::new();
    for (seq, row) in &books.transactions {
        let (gateway, batch) = (GatewayNo::of(seq.0), (row.identity.terminal, row.identity.batch));
        if let AnswerBody::Records(outcomes) = &row.body {
            uploads.entry(batch).or_default().insert(gateway);
            for outcome in outcomes {
                let by = records.entry((outcome.sam, outcome.answer.term_seq)).or_default();
                if by.insert(gateway) && by.len() == 2 {
                    coverage.reached(KIND, "record again");
                }
            }
        }
        let original = row.original.map(|of| GatewayNo::of(of.0));
        if row.kind == TransactionKind::LoadConfirm && original.is_some_and(|of| of != gateway) {
            coverage.reached(KIND, "confirmation");
        }
    }
    for (seq, row) in &books.transactions {
        let batch = (row.identity.terminal, row.identity.batch);
        let uploaded = uploads.get(&batch).is_some_and(|by| !by.contains(&GatewayNo::of(seq.0)));
        if row.kind == TransactionKind::Settle && uploaded {
            coverage.reached(KIND, "settlement");
        }
    }
}
