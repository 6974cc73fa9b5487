//! How cards and response codes are named towards people.

use console::Failure;
use protocol::hex::Hex;
use protocol::ids::Asn;
use protocol::iso8583::typed::ResponseCode;

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

/// What the texts call a response code by: `response-words` has the words for it.
#[must_use]
pub fn words_for(code: &str) -> String {
    format!("c{code}")
}

/// A failure that quotes the host's code, in figures and in words.
#[must_use]
pub fn said(failure: Failure, code: ResponseCode) -> Failure {
    failure.with("response", code).with("words", words_for(&code.to_string()))
}
