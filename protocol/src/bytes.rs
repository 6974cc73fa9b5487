//! Reading and writing byte layouts without panics: a cursor over received bytes, a writer into a caller's buffer, and
//! packed decimal digits (BCD).

/// Received bytes ended too soon, or a buffer of ours was too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BytesError {
    /// More bytes were needed.
    #[error("{needed} bytes needed at offset {at}, {left} left")]
    Short {
        /// Offset of the item.
        at: usize,
        /// Bytes the item has.
        needed: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// Bytes were left over.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// The caller's output buffer is too small.
    #[error("output buffer is too small")]
    NoRoom,
    /// A half byte above 9 where a decimal digit belongs.
    #[error("not a decimal digit at offset {0}")]
    NotDecimal(usize),
}

/// A cursor over received bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { whole: bytes, rest: bytes }
    }

    /// How many bytes were read so far.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.whole.len().saturating_sub(self.rest.len())
    }

    /// What has not been read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], BytesError> {
        let short = BytesError::Short { at: self.offset(), needed: n, left: self.rest.len() };
        let (head, tail) = self.rest.split_at_checked(n).ok_or(short)?;
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], BytesError> {
        let short = BytesError::Short { at: self.offset(), needed: N, left: self.rest.len() };
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(short)?;
        self.rest = tail;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// None is left.
    pub fn u8(&mut self) -> Result<u8, BytesError> {
        self.array::<1>().map(|[b]| b)
    }

    /// A big-endian 16-bit integer.
    ///
    /// # Errors
    /// Fewer than 2 bytes are left.
    pub fn u16(&mut self) -> Result<u16, BytesError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A big-endian 32-bit integer.
    ///
    /// # Errors
    /// Fewer than 4 bytes are left.
    pub fn u32(&mut self) -> Result<u32, BytesError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A big-endian 64-bit integer.
    ///
    /// # Errors
    /// Fewer than 8 bytes are left.
    pub fn u64(&mut self) -> Result<u64, BytesError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Nothing may follow.
    ///
    /// # Errors
    /// Bytes are left.
    pub fn finish(self) -> Result<(), BytesError> {
        if self.rest.is_empty() { Ok(()) } else { Err(BytesError::Trailing(self.rest.len())) }
    }
}

/// Writes layouts into a caller's buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Starts at the front of `out`.
    #[must_use]
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// They do not fit.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), BytesError> {
        let end = self.len.checked_add(bytes.len()).ok_or(BytesError::NoRoom)?;
        let slot = self.out.get_mut(self.len..end).ok_or(BytesError::NoRoom)?;
        slot.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Appends one byte.
    ///
    /// # Errors
    /// It does not fit.
    pub fn u8(&mut self, byte: u8) -> Result<(), BytesError> {
        self.put(&[byte])
    }

    /// How many bytes were written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What was written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.out.get(..self.len).unwrap_or_default()
    }
}

/// Packs `value` as decimal digits, two to a byte, right-aligned with leading zeros.
///
/// # Errors
/// More digits than `out` holds.
pub fn bcd_encode(value: u64, out: &mut [u8]) -> Result<(), BytesError> {
    let mut rest = value;
    for slot in out.iter_mut().rev() {
        let pair = u8::try_from(rest % 100).unwrap_or(0);
        *slot = ((pair / 10) << 4) | (pair % 10);
        rest /= 100;
    }
    if rest == 0 { Ok(()) } else { Err(BytesError::NoRoom) }
}

/// Unpacks decimal digits, two to a byte.
///
/// # Errors
/// A half byte above 9, or more digits than 64 bits hold.
pub fn bcd_decode(bytes: &[u8]) -> Result<u64, BytesError> {
    let mut value: u64 = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let (high, low) = (byte >> 4, byte & 0x0F);
        if high > 9 || low > 9 {
            return Err(BytesError::NotDecimal(at));
        }
        let pair = u64::from(high).saturating_mul(10).saturating_add(u64::from(low));
        value = value.checked_mul(100).and_then(|v| v.checked_add(pair)).ok_or(BytesError::NoRoom)?;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_reader_says_where_bytes_are_missing() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.u16(), Err(BytesError::Short { at: 2, needed: 2, left: 1 }));
        assert_eq!(reader.finish(), Err(BytesError::Trailing(1)));
    }

    #[test]
    fn a_writer_refuses_what_does_not_fit_and_keeps_what_did() {
        let mut buffer = [0; 3];
        let mut writer = Writer::new(&mut buffer);
        writer.put(&[1, 2]).unwrap();
        assert_eq!(writer.put(&[3, 4]), Err(BytesError::NoRoom));
        assert_eq!(writer.written(), [1, 2]);
    }

    proptest! {
        #[test]
        fn packed_decimals_read_back(value in 0u64..1_000_000_000_000) {
            let mut out = [0; 6];
            bcd_encode(value, &mut out).unwrap();
            prop_assert_eq!(bcd_decode(&out), Ok(value));
        }
    }

    #[test]
    fn half_bytes_above_nine_are_not_decimal() {
        assert_eq!(bcd_decode(&[0x12, 0x3A]), Err(BytesError::NotDecimal(1)));
        assert_eq!(bcd_encode(100, &mut [0; 1]), Err(BytesError::NoRoom));
        assert_eq!(bcd_decode(&[0x99; 12]), Err(BytesError::NoRoom));
    }
}
