//! How cards are named towards people.

use protocol::hex::Hex;
use protocol::ids::Asn;

/// The serial number as receipts and screens show it: first and last four digits.
#[must_use]
pub fn masked(asn: &Asn) -> String {
    let digits = Hex(&asn.0).to_string();
    format!("{}************{}", digits.get(..4).unwrap_or_default(), last_digits(asn))
}

/// The last four digits of the serial number, for "present the same card again".
#[must_use]
pub fn last_digits(asn: &Asn) -> String {
    let digits = Hex(&asn.0).to_string();
    digits.get(16..).unwrap_or_default().to_owned()
}
