//! What a masked trace leaves out: PINs, keys, and what names a person or an account.
//!
//! By command (ISO/IEC 7816-4, PBOC, GlobalPlatform) and, in answers, by BER-TLV tag (EMV Book 3, annex A). An answer
//! that is no TLV is kept, unless the command says what it holds; a template that breaks off is masked as a whole.

use super::TraceBytes;
use protocol::tlv::{Limits, Walk};

/// VERIFY.
const VERIFY: u8 = 0x20;
/// CHANGE REFERENCE DATA; with CLA 84 PIN UNBLOCK.
const CHANGE_REFERENCE_DATA: u8 = 0x24;
/// RESET RETRY COUNTER.
const RESET_RETRY_COUNTER: u8 = 0x2C;
/// CHANGE PIN and RELOAD PIN of PBOC.
const CHANGE_PIN: u8 = 0x5E;
/// PUT KEY of GlobalPlatform; WRITE KEY of PBOC operating systems is D4.
const PUT_KEY: [u8; 2] = [0xD8, 0xD4];
/// STORE DATA of GlobalPlatform: personalisation.
const STORE_DATA: u8 = 0xE2;
/// READ BINARY.
const READ_BINARY: u8 = 0xB0;
/// P1 of READ BINARY for file 16, the holder's name and identity number, and that file's length. The SAM's terminal
/// number has the same P1 and is 6 bytes long.
const HOLDER_FILE: (u8, usize) = (0x96, 39);

/// Account numbers, tracks, names.
const SECRET_TAGS: [u32; 9] = [0x5A, 0x56, 0x57, 0x5F20, 0x5F24, 0x9F0B, 0x9F1F, 0x9F20, 0x9F6B];

/// Templates that hold them: record, response message format 2, file control information.
const TEMPLATES: [u8; 3] = [0x70, 0x77, 0x6F];

/// The command without what it carries in secret: its header and its length stay.
pub(super) fn command(bytes: &[u8]) -> TraceBytes {
    let clear = TraceBytes::clear(bytes);
    if carries_a_secret(bytes) { clear.masking(5..bytes.len()) } else { clear }
}

fn carries_a_secret(command: &[u8]) -> bool {
    let [class, instruction, ..] = *command else {
        return false;
    };
    let proprietary = class & 0x80 != 0;
    matches!(instruction, VERIFY | CHANGE_REFERENCE_DATA | RESET_RETRY_COUNTER)
        || (proprietary
            && (instruction == CHANGE_PIN || instruction == STORE_DATA || PUT_KEY.contains(&instruction)))
}

/// The answer to `command` without account numbers and names.
pub(super) fn answer(command: &[u8], bytes: &[u8]) -> TraceBytes {
    let clear = TraceBytes::clear(bytes);
    let Some(data) = bytes.len().checked_sub(2).and_then(|length| bytes.get(..length)) else {
        return clear;
    };
    // A card may echo what it got.
    if carries_a_secret(command) {
        return clear.masking(0..data.len());
    }
    if let [_, READ_BINARY, p1, ..] = *command
        && p1 == HOLDER_FILE.0
        && data.len() >= HOLDER_FILE.1
    {
        return clear.masking(0..data.len());
    }
    let broken = Walk::new(data, Limits::CARD).any(|element| element.is_err());
    if broken && data.first().is_some_and(|first| TEMPLATES.contains(first)) {
        return clear.masking(0..data.len());
    }
    Walk::new(data, Limits::CARD).map_while(Result::ok).fold(clear, |masked, (_, element)| {
        if !SECRET_TAGS.contains(&element.tag.number()) {
            return masked;
        }
        // The value borrows from `data`: its place is the distance of the two addresses.
        let start = element.value.as_ptr().addr().saturating_sub(data.as_ptr().addr());
        masked.masking(start..start.saturating_add(element.value.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_leaves_its_length_and_nothing_else() {
        assert_eq!(
            command(&[0x00, 0x20, 0x00, 0x01, 0x03, 0x12, 0x34, 0x56]).to_string(),
            "0020000103XXXXXX"
        );
        assert_eq!(command(&[0x80, 0x5E, 0x01, 0x01, 0x02, 0x12, 0x34]).to_string(), "805E010102XXXX");
        assert_eq!(command(&[0x84, 0x24, 0x00, 0x01, 0x01, 0x55]).to_string(), "8424000101XX");
        assert_eq!(command(&[0x80, 0xD4, 0x00, 0x01, 0x01, 0x55]).to_string(), "80D4000101XX");
    }

    #[test]
    fn ordinary_commands_stay_readable() {
        // APPEND RECORD has the instruction of STORE DATA in the interindustry class.
        for bytes in
            [&[0x00, 0xA4, 0x04, 0x00, 0x01, 0xA0][..], &[0x00, 0xE2, 0x00, 0x08, 0x01, 0x07], &[0x80], &[]]
        {
            assert_eq!(command(bytes), TraceBytes::clear(bytes));
        }
    }

    #[test]
    fn account_numbers_and_names_in_a_record_are_masked_wherever_they_are_nested() {
        let record = [0x70, 0x0A, 0x5A, 0x02, 0x62, 0x17, 0x5F, 0x25, 0x03, 0x26, 0x01, 0x01, 0x90, 0x00];
        assert_eq!(
            answer(&[0x00, 0xB2, 0x01, 0x0C, 0x00], &record).to_string(),
            "700A5A02XXXX5F25032601019000"
        );
    }

    #[test]
    fn a_record_that_breaks_off_is_masked_as_a_whole() {
        let record = [0x70, 0x0A, 0x5A, 0x04, 0x62, 0x17, 0x90, 0x00];
        assert_eq!(answer(&[0x00, 0xB2, 0x01, 0x0C, 0x00], &record).to_string(), "XXXXXXXXXXXX9000");
    }

    #[test]
    fn the_holders_file_is_masked_and_the_terminal_number_is_not() {
        let read = [0x00, 0xB0, 0x96, 0x00, 0x00];
        let holder = [vec![0x41; 39], vec![0x90, 0x00]].concat();
        assert_eq!(answer(&read, &holder).to_string(), format!("{}9000", "XX".repeat(39)));
        assert_eq!(answer(&read, &[1, 2, 3, 4, 5, 6, 0x90, 0x00]).to_string(), "0102030405069000");
    }
}
