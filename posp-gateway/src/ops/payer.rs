//! A cardholder's PAN, registered for the account that its payments draw on.
//!
//! The PAN comes from standard input alone, goes to the key module of whoever has the keys (over the control socket to a running gateway, whose owner alone
//! may open it), and becomes a token there. Nothing else of it is kept, printed or logged than its first six and last four digits.

use super::perform::{Context, account, currency, value};
use super::{Operation, Outcome};
use backend::api::{AdminAnswer, AdminRequest, PayerToken};
use console::{Failure, code};
use keys::KeyModule;
use protocol::hex::Hex;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// Digits of a PAN (ISO/IEC 7812).
const DIGITS: std::ops::RangeInclusive<usize> = 8..=19;

/// The digits of a card number: masked in `Debug`, cleared when dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pan(String);

impl Pan {
    /// From the line that a person or a program wrote. `None` if it is no card number.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let digits = line.trim_matches([' ', '\r', '\n']);
        let pan = DIGITS.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        pan.then(|| Self(digits.to_owned()))
    }

    /// Its first six and last four digits; of a short one the last four alone.
    #[must_use]
    pub fn masked(&self) -> String {
        let shown = if self.0.len() < 13 { 0 } else { 6 };
        let hidden = self.0.len().saturating_sub(4);
        self.0
            .chars()
            .enumerate()
            .map(|(at, digit)| if (shown..hidden).contains(&at) { '*' } else { digit })
            .collect()
    }
}

impl std::fmt::Debug for Pan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pan({})", self.masked())
    }
}

impl Drop for Pan {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Context<'_> {
    /// From now on this PAN's payments draw on this account.
    pub(super) fn add_payer(&mut self, operation: &Operation) -> Result<Outcome, Failure> {
        let Operation::PayerAdd { pan, account: name, currency: code } = operation else {
            return Err(value("account", "", "a payer"));
        };
        let ((kind, number), currency) = (account(name)?, currency(code)?);
        // The words of the failure do not repeat the number.
        let token = self.keys.pan_token(pan.0.as_bytes()).map_err(|error| value("pan", "", error))?;
        let request = AdminRequest::AddPayer { token: PayerToken(token), kind, number, currency };
        let existed = match self.desk.admin(request)? {
            AdminAnswer::Exists => true,
            AdminAnswer::Done | AdminAnswer::Count(_) => false,
            AdminAnswer::Refused(why) => {
                let refused = Failure::new(code::GATEWAY_REFUSED).with("what", "payer");
                return Err(refused.with("name", pan.masked()).with("reason", why));
            }
        };
        let (pan, token) = (pan.masked(), Hex(&token).to_string());
        Ok(Outcome::PayerAdded { pan, token, account: name.clone(), existed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_number_is_never_shown_whole() {
        for (digits, shown) in [
            ("6217000000000000123", "621700*********0123"),
            ("6217000000123", "621700***0123"),
            ("621700000012", "********0012"),
            ("00000012", "****0012"),
        ] {
            let pan = Pan::parse(&format!("{digits}\r\n")).unwrap();
            assert_eq!(pan.masked(), shown);
            assert!(!format!("{pan:?}").contains(digits));
        }
        for none in ["", "1234567", "62170000000000001234", "6217-0000-0000", "６２１７００００００００"]
        {
            assert_eq!(Pan::parse(none), None, "{none}");
        }
    }
}
