//! Secrets as types: their `Debug` shows nothing, their `Drop` clears the memory, and they compare in constant time.

use core::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `N` secret bytes: a key, a PIN, a clear PIN block.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// Takes the bytes in. The caller's own copy is the caller's to clear.
    #[must_use]
    pub const fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a computation: never for a log, an error or a metric.
    #[must_use]
    pub const fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// From hexadecimal text (a key file). The error never repeats the text.
    ///
    /// # Errors
    /// Text that is not exactly `N` bytes of hexadecimal.
    pub fn from_hex(text: &str) -> Result<Self, crate::hex::HexError> {
        crate::hex::decode(text).map(Self)
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({N} bytes)")
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

/// Compares two MACs in constant time; another length is unequal.
#[must_use]
pub fn macs_equal(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_its_bytes() {
        let secret = Secret::new([0xAB; 16]);
        assert_eq!(std::format!("{secret:?}"), "Secret(16 bytes)");
        assert_eq!(secret, Secret::new([0xAB; 16]));
        assert_ne!(secret, Secret::new([0xAC; 16]));
    }

    #[test]
    fn macs_of_another_length_are_unequal() {
        assert!(macs_equal(&[1, 2, 3], &[1, 2, 3]));
        assert!(!macs_equal(&[1, 2, 3], &[1, 2, 4]));
        assert!(!macs_equal(&[1, 2, 3], &[1, 2]));
    }
}
