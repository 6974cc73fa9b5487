//! What passes a card's contacts, in words: command names, status words, and no secret.
//!
//! PINs are masked whatever they look like; keys never travel in clear. The line is for logs and for people, not a format.

use protocol::apdu::{Command, Response};
use protocol::hex::Hex;
use protocol::purse::command::ins;

/// The name of a command, by class, instruction and parameters.
#[must_use]
pub fn name(command: &Command<'_>) -> &'static str {
    match (command.cla & 0x80, command.ins, command.p1) {
        (_, ins::INITIALIZE, _) if command.p2 == 0x00 => "INITIALIZE UPDATE",
        (_, ins::INITIALIZE, 0x00) => "INITIALIZE FOR LOAD",
        (_, ins::INITIALIZE, 0x01) => "INITIALIZE FOR PURCHASE",
        (_, ins::INITIALIZE, 0x03) => "INITIALIZE FOR CAPP PURCHASE",
        (_, ins::INITIALIZE, 0x05) => "INITIALIZE FOR UNLOAD",
        (_, ins::CREDIT, _) => "CREDIT FOR LOAD",
        (_, ins::DEBIT, 0x03) => "DEBIT FOR UNLOAD",
        (_, ins::DEBIT, _) => "DEBIT FOR PURCHASE",
        (_, ins::PROVE, 0x01) => "GET EVIDENCE",
        (_, ins::PROVE, _) => "GET TRANSACTION PROVE",
        (_, ins::GET_BALANCE, _) => "GET BALANCE",
        (_, ins::CHANGE_PIN, 0x00) => "RELOAD PIN",
        (_, ins::CHANGE_PIN, _) => "CHANGE PIN",
        (_, ins::PIN_UNBLOCK, _) => "PIN UNBLOCK",
        (_, ins::VERIFY, _) => "VERIFY PIN",
        (_, ins::SAM_INIT, _) => "INIT SAM FOR PURCHASE",
        (_, ins::SAM_CREDIT, _) => "CREDIT SAM FOR PURCHASE",
        (_, ins::SAM_VERIFY_PROVED, _) => "VERIFY PROVED PURCHASE",
        (0x80, ins::UPDATE_RECORD, _) if command.cla == 0x80 => "UPDATE CAPP DATA CACHE",
        (_, ins::UPDATE_RECORD, _) => "UPDATE RECORD",
        (_, ins::APPEND_RECORD, _) => "APPEND RECORD",
        (_, ins::UPDATE_BINARY, _) => "UPDATE BINARY",
        (_, ins::READ_BINARY, _) => "READ BINARY",
        (_, ins::READ_RECORD, _) => "READ RECORD",
        (_, ins::SELECT, _) => "SELECT",
        (_, ins::GET_CHALLENGE, _) => "GET CHALLENGE",
        (_, ins::GET_RESPONSE, _) => "GET RESPONSE",
        (_, ins::GET_DATA, _) => "GET DATA",
        (_, ins::APPLICATION_BLOCK, _) => "APPLICATION BLOCK",
        (_, ins::APPLICATION_UNBLOCK, _) => "APPLICATION UNBLOCK",
        (_, ins::EXTERNAL_AUTHENTICATE, _) => "EXTERNAL AUTHENTICATE",
        (_, ins::INTERNAL_AUTHENTICATE, _) => "INTERNAL AUTHENTICATE",
        _ => "unknown command",
    }
}

/// Whether the data field holds a PIN.
const fn holds_a_secret(command: &Command<'_>) -> bool {
    matches!(command.ins, ins::VERIFY | ins::CHANGE_PIN | ins::PIN_UNBLOCK)
}

/// One exchange as a line; `None` for an answer means that the card was silent.
#[must_use]
pub fn line(command: &[u8], answer: Option<&[u8]>) -> String {
    let asked = match Command::parse(command) {
        Ok(parsed) if holds_a_secret(&parsed) => {
            format!("{}  {} ({} bytes masked)", name(&parsed), Hex(&parsed.header()), parsed.data.len())
        }
        Ok(parsed) => format!("{}  {}", name(&parsed), Hex(command)),
        // Not even the front: a malformed VERIFY holds a PIN as well.
        Err(_) => format!("malformed command of {} bytes", command.len()),
    };
    match answer.map(Response::parse) {
        Some(Ok(response)) if response.data.is_empty() => format!("{asked}  ->  {}", response.sw),
        Some(Ok(response)) => format!("{asked}  ->  {} {}", Hex(response.data), response.sw),
        Some(Err(_)) | None => format!("{asked}  ->  silence"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_command_and_status() {
        let text = line(&[0x80, 0x5C, 0x00, 0x02, 0x04], Some(&[0, 0, 0x13, 0x88, 0x90, 0x00]));
        assert!(text.starts_with("GET BALANCE  805C000204  ->  00001388 9000"), "{text}");
        assert!(line(&[0x00, 0xB2, 1, 0xC4], None).ends_with("silence"));
        let capp = line(&[0x80, 0xDC, 0x01, 0xD0, 0x01, 0xAA], Some(&[0x69, 0x01]));
        assert!(capp.starts_with("UPDATE CAPP DATA CACHE") && capp.contains("6901"), "{capp}");
    }

    #[test]
    fn no_pin_is_in_a_line() {
        for command in [
            vec![0x00, 0x20, 0x00, 0x00, 0x03, 0x98, 0x76, 0x54],
            vec![0x80, 0x5E, 0x01, 0x00, 0x07, 0x98, 0x76, 0x54, 0xFF, 0x98, 0x76, 0x54],
            vec![0x00, 0x20, 0x00, 0x00, 0x09, 0x98, 0x76, 0x54],
        ] {
            let text = line(&command, Some(&[0x63, 0xC2]));
            assert!(!text.contains("987654"), "{text}");
        }
    }
}
