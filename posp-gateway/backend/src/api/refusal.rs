//! Why operators are refused, in words for them.

/// Why an operator's request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminRefusal {
    /// It exists with other properties.
    #[error("it exists with other properties")]
    ExistsDifferent,
    /// No such issuer.
    #[error("no such issuer: add it first")]
    NoIssuer,
    /// No such merchant.
    #[error("no such merchant: add it first")]
    NoMerchant,
    /// No such terminal.
    #[error("no such terminal: add it first")]
    NoTerminal,
    /// No such card.
    #[error("no such card: add it first")]
    NoCard,
    /// No such funding account.
    #[error("no such funding account: add it first")]
    NoFunding,
    /// No such load, or it is not in a state to be released.
    #[error("no such load awaits a decision")]
    NoLoad,
    /// The card has shown that it was credited: its loads cannot be released any more.
    #[error("the card's counter shows that it was credited with one of these: say with which")]
    LoadCredited,
    /// Another load was asked for at this counter since.
    #[error("another load was asked for at this counter since: look at the card's report again")]
    LoadJoined,
    /// The card has not shown that it was credited.
    #[error(
        "the card has not shown yet that it was credited: let it ask for a load at any terminal, which decides, or after which it can be said with which it was"
    )]
    LoadNotShown,
    /// No such record, or it is not open.
    #[error("no such uncertain record is open")]
    NoOpenRecord,
    /// The merchant cannot be paid: nobody registered where the SAM worked then, or its account is of another currency.
    #[error("nobody registered where this SAM worked then: add it first")]
    NoPlace,
    /// Another currency.
    #[error("another currency than the account's")]
    Currency,
    /// A SAM's assignments only move forward in time.
    #[error(
        "the SAM has a later assignment already: only its first one can begin earlier, at the terminal that it names"
    )]
    NotForward,
    /// The books contradict themselves where this request reads them.
    #[error("the books contradict themselves where this request reads them: nothing was done; run the audit")]
    Contradiction,
    /// Too many diversification factors, an amount of zero, or a name too long.
    #[error("a value is outside its bounds")]
    OutOfBounds,
    /// The ledger refused.
    #[error("the ledger refused: {0}")]
    Ledger(crate::accounts::TransferRejection),
}
