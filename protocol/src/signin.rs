//! How a terminal's master key arrives and what it is used for (`docs/reference/provisioning.md`, `docs/posp.md` section 4).
//!
//! 1. The operator adds a terminal: the gateway makes a random AES-128 terminal master key (TMK) and a [`OneTimeCode`], and writes
//!    the TMK into the provisioning file as a TR-31 D block (usage [`Usage::TMK`](crate::keyblock::Usage::TMK)) under [`OneTimeCode::protection_key`].
//!    The code is shown once and travels another way than the file.
//! 2. The terminal signs in (0800, 60.3 = 001). No working key exists yet, so this message and its answer carry a MAC under
//!    [`sign_in_key`], which both derive from the TMK.
//! 3. The answer's field 62 holds the working keys: [`crate::working_keys::AesWorkingKeys`].
//!
//! Refused: codes with a letter that is none, of another length, or whose check digits do not fit (a typing mistake).

use crate::aes_key::AesKey;
use crate::crypto::{aes128_cmac, sha256};
use crate::host_mac::MacKey;
use crate::ids::TerminalId;
use crate::secret::{Secret, macs_equal};
use core::fmt;
use zeroize::Zeroize;

/// Bytes of a one-time code: 128 random bits.
pub const CODE_BYTES: usize = 16;
/// Characters of a one-time code: 128 bits and 12 check bits, five bits each.
pub const CODE_CHARS: usize = 28;
/// Characters of a group, as people read and type it.
const GROUP: usize = 4;

const PROVISION_LABEL: &[u8] = b"tapline-provision-1";
const CHECK_LABEL: &[u8] = b"tapline-code-check";
const SIGN_IN_LABEL: &[u8] = b"tapline-signin-mac";

/// Crockford's base 32: no I, L, O and U, so that nothing looks like something else.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Why a text is no one-time code. It never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// A character that no code has.
    #[error("character {0} of the code is not a letter or digit of codes")]
    Character(usize),
    /// Too few or too many characters.
    #[error("a code has {CODE_CHARS} letters and digits")]
    Length,
    /// The check digits do not fit: a typing mistake.
    #[error("the code has a typing mistake")]
    Check,
}

/// The secret that opens one provisioning file, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneTimeCode(Secret<CODE_BYTES>);

impl OneTimeCode {
    /// From 16 random bytes.
    #[must_use]
    pub const fn new(random: Secret<CODE_BYTES>) -> Self {
        Self(random)
    }

    /// From what a person typed: case, spaces and hyphens do not matter, `I` and `L` are `1`, `O` is `0`.
    ///
    /// # Errors
    /// It is no code.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let mut value = Bits { bytes: [0; 18], filled: 0 };
        for (at, letter) in text.trim().bytes().enumerate() {
            if matches!(letter, b' ' | b'-') {
                continue;
            }
            let digit = digit_of(letter).ok_or(CodeError::Character(at))?;
            value.push(digit).ok_or(CodeError::Length)?;
        }
        if value.filled != CODE_CHARS {
            return Err(CodeError::Length);
        }
        let (code, check) = value.bytes.split_first_chunk::<CODE_BYTES>().ok_or(CodeError::Length)?;
        let code = Secret::new(*code);
        if macs_equal(check, &check_bits(&code)) { Ok(Self(code)) } else { Err(CodeError::Check) }
    }

    /// As people read it: seven groups of four. For the one place that shows it; never for a log.
    #[must_use]
    pub fn reveal(&self) -> RevealedCode {
        let mut bytes = [0; 18];
        let [c0, c1] = check_bits(&self.0);
        for (slot, byte) in bytes.iter_mut().zip(self.0.expose().iter().chain(&[c0, c1])) {
            *slot = *byte;
        }
        let mut text = [b'-'; CODE_CHARS + CODE_CHARS / GROUP - 1];
        let places = (0..text.len()).filter(|at| at % (GROUP + 1) != GROUP);
        for (index, place) in places.enumerate() {
            let digit = five_bits(&bytes, index);
            if let (Some(slot), Some(letter)) = (text.get_mut(place), ALPHABET.get(usize::from(digit))) {
                *slot = *letter;
            }
        }
        bytes.zeroize();
        RevealedCode(text)
    }

    /// The key block protection key of this terminal's provisioning file:
    /// `SHA-256("tapline-provision-1" ‖ code ‖ terminal id, 8 bytes)`, an AES-256 key.
    #[must_use]
    pub fn protection_key(&self, terminal: &TerminalId) -> AesKey {
        AesKey::Aes256(Secret::new(sha256(&[PROVISION_LABEL, self.0.expose(), &terminal.to_bytes()])))
    }
}

/// A code as text, cleared on drop.
#[derive(Zeroize, zeroize::ZeroizeOnDrop)]
pub struct RevealedCode([u8; CODE_CHARS + CODE_CHARS / GROUP - 1]);

impl RevealedCode {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for RevealedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RevealedCode(..)")
    }
}

/// The key of the MAC of sign-in (0800, 60.3 = 001) and its answer, from the terminal master key: SP 800-108 counter mode with
/// AES-CMAC, `CMAC(TMK, 01 ‖ "tapline-signin-mac" ‖ 00 ‖ 0080)`.
#[must_use]
pub fn sign_in_key(tmk: &Secret<16>) -> MacKey {
    MacKey::Aes(Secret::new(aes128_cmac(tmk.expose(), &[&[0x01], SIGN_IN_LABEL, &[0x00, 0x00, 0x80]])))
}

/// The first 12 bits of a hash of the code, left-justified in two bytes.
fn check_bits(code: &Secret<CODE_BYTES>) -> [u8; 2] {
    let [first, second, ..] = sha256(&[CHECK_LABEL, code.expose()]);
    [first, second & 0xF0]
}

fn digit_of(letter: u8) -> Option<u8> {
    let letter = match letter.to_ascii_uppercase() {
        b'I' | b'L' => b'1',
        b'O' => b'0',
        other => other,
    };
    ALPHABET.iter().position(|known| *known == letter).and_then(|at| u8::try_from(at).ok())
}

/// The bit at `at` within its byte, counted from the left.
const fn mask(at: usize) -> u8 {
    match at % 8 {
        0 => 0x80,
        1 => 0x40,
        2 => 0x20,
        3 => 0x10,
        4 => 0x08,
        5 => 0x04,
        6 => 0x02,
        _ => 0x01,
    }
}

/// The `index`-th group of five bits.
fn five_bits(bytes: &[u8; 18], index: usize) -> u8 {
    let start = index.saturating_mul(5);
    (0..5).fold(0, |digit, bit| {
        let at = start.saturating_add(bit);
        let byte = bytes.get(at / 8).copied().unwrap_or(0);
        (digit << 1) | u8::from(byte & mask(at) != 0)
    })
}

/// Groups of five bits, put together; the last 4 of 144 bits stay zero.
#[derive(Zeroize, zeroize::ZeroizeOnDrop)]
struct Bits {
    bytes: [u8; 18],
    filled: usize,
}

impl Bits {
    fn push(&mut self, digit: u8) -> Option<()> {
        if self.filled >= CODE_CHARS {
            return None;
        }
        let start = self.filled.checked_mul(5)?;
        for bit in 0..5_usize {
            let at = start.checked_add(bit)?;
            if digit & mask(bit.checked_add(3)?) != 0 {
                *self.bytes.get_mut(at / 8)? |= mask(at);
            }
        }
        self.filled = self.filled.checked_add(1)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyblock::{Header, Usage, padding_for, unwrap_for, wrap};
    use proptest::prelude::*;
    use std::string::ToString;
    use std::{format, vec};

    #[test]
    fn a_code_reads_back_however_it_was_typed() {
        let code = OneTimeCode::new(Secret::new(*b"0123456789abcdef"));
        let shown = code.reveal().as_str().to_string();
        assert_eq!(shown.len(), 34);
        assert_eq!(shown.split('-').map(str::len).collect::<vec::Vec<_>>(), [4; 7]);
        assert_eq!(OneTimeCode::parse(&shown), Ok(code.clone()));
        assert_eq!(OneTimeCode::parse(&shown.to_lowercase().replace('-', " ")), Ok(code.clone()));
        assert_eq!(OneTimeCode::parse(&shown.replace('0', "o").replace('1', "l")), Ok(code));
    }

    #[test]
    fn a_typing_mistake_is_told_before_anything_is_tried() {
        let shown = OneTimeCode::new(Secret::new([7; 16])).reveal().as_str().to_string();
        let mut refused = 0;
        for at in (0..shown.len()).filter(|at| shown.as_bytes()[*at] != b'-') {
            for letter in "0123456789ABCDEFGHJKMNPQRSTVWXYZ".chars() {
                let mut typed = shown.clone();
                typed.replace_range(at..=at, &letter.to_string());
                refused += usize::from(OneTimeCode::parse(&typed) == Err(CodeError::Check));
            }
        }
        // 28 places, 31 wrong letters each; 12 check bits let one in 4096 pass.
        assert!(refused >= 28 * 31 - 3, "{refused}");
        assert_eq!(OneTimeCode::parse(&shown[..33]), Err(CodeError::Length));
        assert_eq!(OneTimeCode::parse(&format!("{shown}0")), Err(CodeError::Length));
        assert_eq!(OneTimeCode::parse("U"), Err(CodeError::Character(0)));
        assert_eq!(OneTimeCode::parse(""), Err(CodeError::Length));
    }

    #[test]
    fn nothing_shows_a_code_but_reveal() {
        let code = OneTimeCode::new(Secret::new([0xAB; 16]));
        assert_eq!(format!("{code:?} {:?}", code.reveal()), "OneTimeCode(Secret(16 bytes)) RevealedCode(..)");
    }

    #[test]
    fn the_keys_are_those_of_the_reference_page() {
        // Computed with Python's hashlib and with OpenSSL; the same values are in the reference page.
        let code = OneTimeCode::new(Secret::from_hex("000102030405060708090A0B0C0D0E0F").unwrap());
        let terminal = TerminalId::from_text("T0000001").unwrap();
        let kbpk = "9FC00D54741B1795200DD9248534C0279A5835C243F6DDBDC887A40DF153B62D";
        assert_eq!(code.protection_key(&terminal), AesKey::Aes256(Secret::from_hex(kbpk).unwrap()));
        assert_eq!(code.reveal().as_str(), "000G-40R4-0M30-E209-185G-R38E-1ZCD");
        let tmk = Secret::from_hex("101112131415161718191A1B1C1D1E1F").unwrap();
        let key = Secret::from_hex("B377DDD8055C38E8B54D878813BB1528").unwrap();
        assert_eq!(sign_in_key(&tmk), MacKey::Aes(key));
    }

    #[test]
    fn a_provisioned_key_opens_with_its_code_for_its_terminal_only() {
        let (code, other) = (OneTimeCode::new(Secret::new([1; 16])), OneTimeCode::new(Secret::new([2; 16])));
        let (mine, theirs) =
            (TerminalId::from_text("T0000001").unwrap(), TerminalId::from_text("T0000002").unwrap());
        let mut block = [0; 112];
        let padding = [9; padding_for(16)];
        let written =
            wrap(&code.protection_key(&mine), &Header::new(Usage::TMK), &[5; 16], &padding, &mut block);
        assert_eq!(written, Ok(112));
        let open = |code: &OneTimeCode, terminal| {
            unwrap_for(&code.protection_key(terminal), Usage::TMK, &block)
                .and_then(|key| key.to_secret::<16>())
        };
        assert_eq!(open(&code, &mine), Ok(Secret::new([5; 16])));
        assert!(open(&other, &mine).is_err() && open(&code, &theirs).is_err());
    }

    proptest! {
        #[test]
        fn every_code_reads_back(bytes in any::<[u8; 16]>()) {
            let code = OneTimeCode::new(Secret::new(bytes));
            prop_assert_eq!(OneTimeCode::parse(code.reveal().as_str()), Ok(code));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,60}") {
            let _ = OneTimeCode::parse(&text);
        }
    }
}
