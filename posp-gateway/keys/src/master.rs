//! The master key of a key file: 32 bytes, from a file or an environment variable, as 64 hexadecimal digits.

use crate::KeyError;
use protocol::crypto::aes256_cmac;
use protocol::secret::Secret;
use std::path::Path;
use zeroize::Zeroizing;

/// Longest key file text we read: the digits and some white space.
const TEXT_MAX: u64 = 256;

/// The key that opens the key file.
#[derive(Clone, Debug)]
pub struct MasterKey(Secret<32>);

impl MasterKey {
    /// From 32 bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// From 64 hexadecimal digits.
    ///
    /// # Errors
    /// Anything else. The error does not repeat the text.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        Secret::from_hex(text.trim()).map(Self).map_err(|_| KeyError::BadMasterKey)
    }

    /// From the environment.
    ///
    /// # Errors
    /// The variable is not set, or not 64 hexadecimal digits.
    pub fn from_env(variable: &str) -> Result<Self, KeyError> {
        let text =
            std::env::var(variable).map_err(|_| KeyError::NoKey("the master key's variable is not set"))?;
        Self::from_hex(&Zeroizing::new(text))
    }

    /// From a file.
    ///
    /// # Errors
    /// It cannot be read, or does not hold 64 hexadecimal digits.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        use std::io::Read;
        let io =
            |error: std::io::Error| KeyError::Io { what: "reading the master key", why: error.to_string() };
        let file = std::fs::File::open(path).map_err(io)?;
        let mut text = Zeroizing::new(String::new());
        file.take(TEXT_MAX).read_to_string(&mut text).map_err(io)?;
        Self::from_hex(&text)
    }

    /// A key for one purpose: SP 800-108 counter mode with AES-256-CMAC, two blocks, `i ‖ label ‖ 00 ‖ 0100`.
    pub(crate) fn derive(&self, label: &[u8]) -> Secret<32> {
        let block = |i: u8| aes256_cmac(self.0.expose(), &[&[i], label, &[0x00, 0x01, 0x00]]);
        let mut out = Zeroizing::new([0; 32]);
        let blocks = [block(1), block(2)];
        for (slot, byte) in out.iter_mut().zip(blocks.iter().flatten()) {
            *slot = *byte;
        }
        Secret::new(*out)
    }
}
