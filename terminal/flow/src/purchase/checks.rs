//! What the card's and the SAM's answers say to a purchase, judged without its state.

use super::OpenDebit;
use crate::outcome::{Certainty, Decline, Receipt};
use crate::selection::Selected;
use protocol::apdu::{Response, StatusWord};
use protocol::purse::Tac;
use protocol::purse::answer::InitForPurchaseAnswer;

/// What a person is told of an open debit that is done.
pub(super) fn receipt(open: &OpenDebit, tac: Tac, certainty: Certainty) -> Receipt {
    let intent = &open.intent;
    Receipt {
        record: open.record,
        card: intent.card,
        amount: intent.amount,
        balance_before: intent.balance_before,
        balance_after: intent.balance_after(),
        term_seq: intent.term_seq,
        moment: intent.moment,
        tac,
        certainty,
    }
}

/// Reads an INIT answer and holds it against what is accepted from the issuer.
pub(super) fn check_init(
    card: &Selected<'_>,
    response: Response<'_>,
) -> Result<InitForPurchaseAnswer, Decline> {
    match response.sw {
        StatusWord::OK => {}
        StatusWord::FUNCTION_NOT_SUPPORTED | StatusWord::PERMANENTLY_BLOCKED => return Err(Decline::Blocked),
        StatusWord::COUNTER_AT_MAXIMUM => return Err(Decline::CounterExhausted),
        other => return Err(Decline::CardRefused(other)),
    }
    let init = InitForPurchaseAnswer::parse(response.data).map_err(|_| Decline::BadAnswer)?;
    let (expected, found) = (card.issuer.suite, init.algorithm.suite());
    if expected != found {
        return Err(Decline::WrongSuite { expected, found });
    }
    if !card.issuer.key_versions.contains(&init.key_version) {
        return Err(Decline::WrongKeyVersion(init.key_version));
    }
    Ok(init)
}

/// Status words after which a DEBIT certainly changed nothing: the command was refused before it was carried out. A
/// memory failure (`65xx`), `6Fxx` and whatever is not assigned leave it open, and the card is probed.
pub(crate) fn says_nothing_was_done(sw: StatusWord) -> bool {
    let [high, _] = sw.0.to_be_bytes();
    matches!(high, 0x67 | 0x68 | 0x69 | 0x6A | 0x6B | 0x6D | 0x6E | 0x93 | 0x94)
}

/// Status words of whoever found a MAC wrong: of a SAM its MAC2, of a card MAC1 or the host's MAC2.
pub(crate) fn says_mac_is_wrong(sw: StatusWord) -> bool {
    matches!(sw, StatusWord::MAC_WRONG | StatusWord::SECURE_MESSAGING_WRONG)
}
