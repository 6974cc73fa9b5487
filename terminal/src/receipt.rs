//! Receipts as text: what a customer takes home about a payment, in the terminal's language, 32 columns wide.
//!
//! A receipt never shows the whole serial number, an expiry date or a key.

use crate::config::Identity;
use crate::words::masked;
use console::Texts;
use protocol::hex::Hex;
use protocol::ids::{Asn, SamTerminal, TermSeq};
use protocol::money::Amount;
use protocol::time::{CardDate, CardTime};

/// Columns of the narrowest paper in use (58 mm).
pub const COLUMNS: usize = 32;

/// How a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Taken and proven.
    Approved,
    /// Found to be taken after an interruption; the SAM checked the proof.
    Recovered,
    /// Found to be taken after an interruption; the acquirer will check the proof.
    Unverified,
    /// Nothing was taken.
    Void,
    /// Interrupted, not decided yet.
    Open,
    /// It cannot be decided here.
    Uncertain,
}

impl Standing {
    /// Its message in the Fluent files.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Approved => "state-approved",
            Self::Recovered => "state-recovered",
            Self::Unverified => "state-unverified",
            Self::Void => "state-void",
            Self::Open => "state-open",
            Self::Uncertain => "state-uncertain",
        }
    }

    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Recovered => "recovered",
            Self::Unverified => "unverified",
            Self::Void => "void",
            Self::Open => "open",
            Self::Uncertain => "uncertain",
        }
    }

    /// Whether the money counts as taken.
    #[must_use]
    pub const fn is_taken(self) -> bool {
        matches!(self, Self::Approved | Self::Recovered | Self::Unverified)
    }
}

/// What a receipt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// How the payment stands.
    pub standing: Standing,
    /// Its number in the journal.
    pub number: u64,
    /// Local date that the card has.
    pub date: CardDate,
    /// Local time that the card has.
    pub time: CardTime,
    /// What was to be taken.
    pub amount: Amount,
    /// The card.
    pub card: Asn,
    /// The SAM's terminal number.
    pub terminal: SamTerminal,
    /// The SAM's sequence number.
    pub sequence: TermSeq,
    /// The card's certificate towards its issuer, if it gave one.
    pub tac: Option<Vec<u8>>,
    /// Balance before.
    pub before: Amount,
    /// Balance after, if the money was taken.
    pub after: Option<Amount>,
    /// Whether it is printed again.
    pub copy: bool,
}

impl Receipt {
    /// The receipt as lines.
    #[must_use]
    pub fn text(&self, identity: &Identity, texts: &Texts) -> String {
        let mut paper = Paper { texts, lines: String::new() };
        paper.centred(&identity.name);
        paper.centred(&identity.place);
        if self.copy {
            paper.centred(&texts.say("receipt-copy"));
        }
        paper.rule();
        paper.row("receipt-merchant", identity.merchant.as_str());
        paper.row("receipt-terminal", identity.id.as_str());
        paper.row("receipt-date", &self.date.to_string());
        paper.row("receipt-time", &self.time.to_string());
        paper.row("receipt-type", &texts.say("receipt-purchase"));
        paper.row("receipt-card", &masked(&self.card));
        paper.rule();
        paper.row("receipt-amount", &self.amount.to_string());
        paper.row("receipt-before", &self.before.to_string());
        if let Some(after) = &self.after {
            paper.row("receipt-after", &after.to_string());
        }
        paper.rule();
        if let Some(tac) = &self.tac {
            paper.row("receipt-tac", &Hex(tac).to_string());
        }
        paper.row("receipt-trace", &format!("{:06}", self.number));
        paper.row("receipt-sequence", &format!("{} {}", self.terminal, self.sequence));
        paper.centred(&texts.say("receipt-offline"));
        for message in self.verdict() {
            paper.centred(&texts.say(message));
        }
        paper.lines
    }

    fn verdict(&self) -> &'static [&'static str] {
        match self.standing {
            Standing::Approved => &["receipt-approved"],
            Standing::Recovered => &["receipt-approved", "receipt-recovered"],
            Standing::Unverified => &["receipt-approved", "receipt-recovered", "receipt-unverified"],
            Standing::Void => &["receipt-void"],
            Standing::Open | Standing::Uncertain => &["receipt-uncertain"],
        }
    }
}

/// A receipt in the making.
pub(crate) struct Paper<'a> {
    pub(crate) texts: &'a Texts,
    pub(crate) lines: String,
}

impl Paper<'_> {
    /// A line across.
    pub(crate) fn rule(&mut self) {
        self.lines.push_str(&"-".repeat(COLUMNS));
        self.lines.push('\n');
    }

    /// In the middle; a text that is wider than the paper goes on below.
    pub(crate) fn centred(&mut self, text: &str) {
        let mut line = String::new();
        for letter in text.chars() {
            if columns(&line).saturating_add(columns(letter.encode_utf8(&mut [0; 4]))) > COLUMNS {
                self.centred_line(&line);
                line.clear();
            }
            line.push(letter);
        }
        self.centred_line(&line);
    }

    fn centred_line(&mut self, text: &str) {
        let text = text.trim();
        let pad = COLUMNS.saturating_sub(columns(text)) / 2;
        self.lines.push_str(&" ".repeat(pad));
        self.lines.push_str(text);
        self.lines.push('\n');
    }

    /// Name on the left, value on the right; a value that does not fit beside its name goes below it.
    pub(crate) fn row(&mut self, message: &str, value: &str) {
        let name = self.texts.say(message);
        let used = columns(&name).saturating_add(columns(value));
        self.lines.push_str(&name);
        if used < COLUMNS {
            self.lines.push_str(&" ".repeat(COLUMNS.saturating_sub(used)));
        } else {
            self.lines.push('\n');
            self.lines.push_str(&" ".repeat(COLUMNS.saturating_sub(columns(value))));
        }
        self.lines.push_str(value);
        self.lines.push('\n');
    }
}

/// Columns of a text on paper and screen: characters of Chinese, Japanese and Korean take two.
#[must_use]
pub fn columns(text: &str) -> usize {
    let wide = |c: char| {
        matches!(c, '\u{1100}'..='\u{115F}' | '\u{2E80}'..='\u{A4CF}' | '\u{AC00}'..='\u{D7A3}' | '\u{F900}'..='\u{FAFF}'
            | '\u{FE30}'..='\u{FE6F}' | '\u{FF00}'..='\u{FF60}' | '\u{FFE0}'..='\u{FFE6}' | '\u{20000}'..='\u{3FFFD}')
    };
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use console::Language;
    use protocol::ids::{MerchantId, TerminalId};
    use protocol::money::Currency;

    fn receipt() -> Receipt {
        Receipt {
            standing: Standing::Approved,
            number: 17,
            date: CardDate::new(2026, 11, 22).unwrap(),
            time: CardTime::new(18, 30, 5).unwrap(),
            amount: Amount::new(1250, Currency::CNY),
            card: "62170000001234567890".parse().unwrap(),
            terminal: "000000000042".parse().unwrap(),
            sequence: TermSeq(7),
            tac: Some(vec![0xA1; 8]),
            before: Amount::new(10_000, Currency::CNY),
            after: Some(Amount::new(8_750, Currency::CNY)),
            copy: false,
        }
    }

    fn identity() -> Identity {
        Identity {
            id: TerminalId::from_text("T0000001").unwrap(),
            merchant: MerchantId::from_text("M00000000000001").unwrap(),
            name: "豆浆店 Kiosk".into(),
            place: "1 Example Street".into(),
            currency: Currency::CNY,
            zone: crate::config::Zone::default(),
        }
    }

    #[test]
    fn a_name_wider_than_the_paper_goes_on_below() {
        let name = "豆浆油条烧饼馄饨小笼包生煎包粢饭团咸豆花麻球".to_owned();
        let text = receipt().text(&Identity { name, ..identity() }, &Texts::new(Language::ENGLISH));
        assert!(text.lines().all(|line| columns(line) <= COLUMNS), "{text}");
        assert!(text.starts_with("豆浆油条烧饼馄饨小笼包生煎包粢饭\n"), "{text}");
    }

    #[test]
    fn a_receipt_shows_the_payment_and_never_the_whole_serial() {
        let text = receipt().text(&identity(), &Texts::new(Language::ENGLISH));
        let expected = "          豆浆店 Kiosk
        1 Example Street
--------------------------------
Merchant         M00000000000001
Terminal                T0000001
Date                  2026-11-22
Time                    18:30:05
Type                    Purchase
Card        6217************7890
--------------------------------
Amount                 12.50 CNY
Balance before        100.00 CNY
Balance after          87.50 CNY
--------------------------------
TAC             A1A1A1A1A1A1A1A1
Trace                     000017
Sequence          000000000042 7
            Offline
            APPROVED
";
        assert_eq!(text, expected);
    }

    #[test]
    fn every_standing_is_told_in_both_languages_within_the_paper() {
        for language in Language::all() {
            let texts = Texts::new(language);
            for standing in [
                Standing::Approved,
                Standing::Recovered,
                Standing::Unverified,
                Standing::Void,
                Standing::Open,
                Standing::Uncertain,
            ] {
                let text = Receipt { standing, ..receipt() }.text(&identity(), &texts);
                assert!(text.lines().all(|line| columns(line) <= COLUMNS), "{text}");
                assert_eq!(text.contains(&texts.say("receipt-approved")), standing.is_taken());
            }
        }
    }
}
