//! TR-31 / ANSI X9.143 key blocks, version D (AES), as working keys and the terminal master key travel.
//!
//! The block is ASCII: a 16-character header that says what the key may do, optional blocks, the key enciphered with
//! AES-CBC, and an AES-CMAC over all of it, made with two keys derived from the key block protection key (KBPK).
//! [`Usage`] of ours (`docs/posp.md` section 4): TMK `K1/A/B`, MAC `M6/A/C`, PIN `P0/A/E`, data `D0/A/B`.
//!
//! Refused, each with a reason of its own: another version, a length that is not the block's, a header, optional block
//! or key that is malformed, a MAC that does not fit, a key length that does not fit, and, by [`Header::permits`], a key
//! for another use than the caller's. Nothing of the block is in an error.

mod header;

pub use header::{Exportability, Header, KeyVersionNo, OptionalBlocks, Usage};

use crate::aes_key::{AesKey, BLOCK, KeyLengthError};
use crate::secret::{Secret, macs_equal};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Longest key block that is read or written, in characters.
pub const MAX_BLOCK: usize = 1024;
/// Longest key that a block may hold, in bytes.
pub const MAX_KEY: usize = 32;
/// Characters of the MAC.
const MAC_CHARS: usize = 32;
/// Most bytes of the enciphered part: length, key and padding.
const MAX_CLEAR: usize = 64;

/// Why a key block is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyBlockError {
    /// The length is not that of the header, not a multiple of 16, or beyond the limits.
    #[error("key block length is wrong")]
    Length,
    /// Another version than D.
    #[error("key block version is not D")]
    Version,
    /// The header has characters that it cannot have.
    #[error("key block header is malformed")]
    Header,
    /// An optional block is malformed.
    #[error("optional block is malformed")]
    OptionalBlock,
    /// The MAC is not hexadecimal or is cut off.
    #[error("key block MAC is malformed")]
    MacForm,
    /// The enciphered key is not hexadecimal or is missing.
    #[error("enciphered key is malformed")]
    KeyForm,
    /// The MAC does not fit: another protection key, or a changed block.
    #[error("key block MAC does not match")]
    Mac,
    /// The deciphered key's length does not fit the block or the algorithm.
    #[error("deciphered key is malformed")]
    Key,
    /// The protection key is no AES key.
    #[error("protection key: {0}")]
    Kbpk(#[from] KeyLengthError),
    /// The key is for another use, algorithm or mode.
    #[error("key is for another use")]
    Usage,
    /// The padding that was given does not fill the block.
    #[error("padding does not fill the block")]
    Padding,
    /// The caller's output buffer is too small.
    #[error("output buffer is too small")]
    NoRoom,
}

/// The key block encryption key and the key block authentication key of a protection key.
fn pair(kbpk: &AesKey) -> (AesKey, AesKey) {
    (derive(kbpk, 0), derive(kbpk, 1))
}

/// A key of the same length: CMAC(counter 1 | usage 2 | 00 | algorithm 2 | bits 2), as often as needed.
fn derive(kbpk: &AesKey, usage: u8) -> AesKey {
    let (bits, algorithm) = kbpk.length().bits_and_number();
    let [bits_high, bits_low] = bits.to_be_bytes();
    let part = |counter| kbpk.cmac(&[&[counter, 0, usage, 0, 0, algorithm, bits_high, bits_low]]);
    let mut both = [0; 32];
    let (first, second) = both.split_at_mut(BLOCK);
    first.copy_from_slice(&part(1));
    if bits > 128 {
        second.copy_from_slice(&part(2));
    }
    let derived = AesKey::from_front(kbpk.length(), both);
    both.zeroize();
    derived
}

/// A key out of a block. Cleared on drop; `Debug` shows its length.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Key {
    bytes: [u8; MAX_KEY],
    len: usize,
}

impl Key {
    /// From at most [`MAX_KEY`] bytes.
    ///
    /// # Errors
    /// None, or more.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyBlockError> {
        let mut key = Self { bytes: [0; MAX_KEY], len: bytes.len() };
        let slot = key.bytes.get_mut(..bytes.len()).filter(|_| !bytes.is_empty());
        slot.ok_or(KeyBlockError::Key)?.copy_from_slice(bytes);
        Ok(key)
    }

    /// The bytes, for a computation: never for a log.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// As a key of `N` bytes.
    ///
    /// # Errors
    /// It has another length.
    pub fn to_secret<const N: usize>(&self) -> Result<Secret<N>, KeyBlockError> {
        self.expose().try_into().map(Secret::new).map_err(|_| KeyBlockError::Key)
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Key({} bytes)", self.len)
    }
}

/// Opens a key block: its MAC is checked before the key is looked at. Whether the key may be used as the caller wants is
/// [`Header::permits`]'s to say.
///
/// # Errors
/// See [`KeyBlockError`].
pub fn unwrap<'b>(kbpk: &AesKey, block: &'b [u8]) -> Result<(Header<'b>, Key), KeyBlockError> {
    let header = Header::parse(block)?;
    let (front, mac_text) =
        block.split_at_checked(block.len().saturating_sub(MAC_CHARS)).ok_or(KeyBlockError::MacForm)?;
    let (head, key_text) = front.split_at_checked(header.chars()).ok_or(KeyBlockError::MacForm)?;
    let mut mac = [0; BLOCK];
    from_hex(mac_text, &mut mac).ok_or(KeyBlockError::MacForm)?;
    let mut clear = Clear { bytes: [0; MAX_CLEAR], len: key_text.len() / 2 };
    if clear.len == 0 || !clear.len.is_multiple_of(BLOCK) {
        return Err(KeyBlockError::KeyForm);
    }
    from_hex(key_text, clear.bytes.get_mut(..clear.len).ok_or(KeyBlockError::Length)?)
        .ok_or(KeyBlockError::KeyForm)?;

    let (kbek, kbak) = pair(kbpk);
    let bytes = clear.bytes.get_mut(..clear.len).ok_or(KeyBlockError::Length)?;
    kbek.cbc_decrypt(mac, bytes);
    if !macs_equal(&kbak.cmac(&[head, bytes]), &mac) {
        return Err(KeyBlockError::Mac);
    }
    let (bits, rest) = bytes.split_first_chunk::<2>().ok_or(KeyBlockError::Key)?;
    let bits = usize::from(u16::from_be_bytes(*bits));
    let key = rest.get(..bits / 8).filter(|_| bits.is_multiple_of(8)).ok_or(KeyBlockError::Key)?;
    header.usage.fits(key.len())?;
    Ok((header, Key::from_bytes(key)?))
}

/// Opens a key block for one use: as [`unwrap`], and any other use is refused.
///
/// # Errors
/// See [`KeyBlockError`].
pub fn unwrap_for(kbpk: &AesKey, usage: Usage, block: &[u8]) -> Result<Key, KeyBlockError> {
    let (header, key) = unwrap(kbpk, block)?;
    header.permits(usage)?;
    Ok(key)
}

/// Writes a key block and returns its length. `padding` is random and fills the clear key to whole blocks; more of it
/// hides the key's length: [`padding_for`] says how much the shortest block needs.
///
/// # Errors
/// See [`KeyBlockError`].
pub fn wrap(
    kbpk: &AesKey,
    header: &Header<'_>,
    key: &[u8],
    padding: &[u8],
    out: &mut [u8],
) -> Result<usize, KeyBlockError> {
    header.usage.fits(key.len())?;
    let bits = u16::try_from(key.len().saturating_mul(8)).map_err(|_| KeyBlockError::Key)?.to_be_bytes();
    let len = key.len().saturating_add(padding.len()).saturating_add(bits.len());
    if !len.is_multiple_of(BLOCK) {
        return Err(KeyBlockError::Padding);
    }
    let mut clear = Clear { bytes: [0; MAX_CLEAR], len };
    let bytes = clear.bytes.get_mut(..len).ok_or(KeyBlockError::Padding)?;
    for (slot, byte) in bytes.iter_mut().zip(bits.iter().chain(key).chain(padding)) {
        *slot = *byte;
    }

    let total = header.chars().saturating_add(len.saturating_mul(2)).saturating_add(MAC_CHARS);
    let out = out.get_mut(..total).ok_or(KeyBlockError::NoRoom)?;
    let (head, rest) = out.split_at_mut_checked(header.chars()).ok_or(KeyBlockError::NoRoom)?;
    header.write(total, head)?;
    let (kbek, kbak) = pair(kbpk);
    let mac = kbak.cmac(&[head, bytes]);
    kbek.cbc_encrypt(mac, bytes);
    let (key_text, mac_text) =
        rest.split_at_mut_checked(len.saturating_mul(2)).ok_or(KeyBlockError::NoRoom)?;
    to_hex(bytes, key_text);
    to_hex(&mac, mac_text);
    Ok(total)
}

/// How many bytes of padding the shortest block for a key of `key_len` bytes needs.
#[must_use]
pub const fn padding_for(key_len: usize) -> usize {
    let used = key_len.wrapping_add(2) % BLOCK;
    if used == 0 { 0 } else { BLOCK.wrapping_sub(used) }
}

/// The clear part of a block while it is worked on.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Clear {
    bytes: [u8; MAX_CLEAR],
    len: usize,
}

/// Fills `out` from hexadecimal text, which must have its length.
fn from_hex(text: &[u8], out: &mut [u8]) -> Option<()> {
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != out.len() {
        return None;
    }
    let half = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    for (slot, [high, low]) in out.iter_mut().zip(pairs) {
        *slot = (half(*high)? << 4) | half(*low)?;
    }
    Some(())
}

/// Upper-case hexadecimal text of `bytes`, into twice as many characters.
fn to_hex(bytes: &[u8], out: &mut [u8]) {
    let digit = |half: u8| if half < 10 { half.wrapping_add(b'0') } else { half.wrapping_add(b'A' - 10) };
    let (pairs, _) = out.as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 0x0F)];
    }
}

#[cfg(test)]
mod tests;
