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
#[inline]
pub fn bcd_encode(value: u64, out: &mut [u8]) -> Result<(), BytesError> {
    let (head, tail) = out.split_at_mut(out.len().saturating_sub(8));
    if let Some(packed) = pack16(value) {
        head.fill(0);
        return if put_word(packed, tail) { Ok(()) } else { Err(BytesError::NoRoom) };
    }
    let mut rest = value;
    for slot in tail.iter_mut().rev().chain(head.iter_mut().rev()) {
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
#[inline]
pub fn bcd_decode(bytes: &[u8]) -> Result<u64, BytesError> {
    if bytes.len() <= 8 {
        let packed = word(bytes);
        if is_packed16(packed) {
            return Ok(unpack16(packed));
        }
    }
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

/// At most 8 bytes as a big-endian number: the first and the last of them, which may overlap.
#[inline]
pub(crate) fn word(bytes: &[u8]) -> u64 {
    let behind = |width: usize| u32::try_from(bytes.len().wrapping_sub(width).wrapping_mul(8)).unwrap_or(0);
    if let Some(all) = bytes.first_chunk::<8>() {
        u64::from_be_bytes(*all)
    } else if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        u64::from(u32::from_be_bytes(*head)).wrapping_shl(behind(4)) | u64::from(u32::from_be_bytes(*tail))
    } else if let (Some(head), Some(tail)) = (bytes.first_chunk::<2>(), bytes.last_chunk::<2>()) {
        u64::from(u16::from_be_bytes(*head)).wrapping_shl(behind(2)) | u64::from(u16::from_be_bytes(*tail))
    } else {
        bytes.first().copied().map_or(0, u64::from)
    }
}

/// Writes a number as at most 8 big-endian bytes; whether it has no more.
#[inline]
pub(crate) fn put_word(number: u64, out: &mut [u8]) -> bool {
    let length = out.len();
    let above = |bytes: usize| {
        let bits = u32::try_from(bytes.saturating_mul(8)).unwrap_or(64);
        number.unbounded_shr(bits)
    };
    let [.., a, b, c, d] = number.to_be_bytes();
    if let Some(all) = out.first_chunk_mut::<8>() {
        *all = number.to_be_bytes();
    } else if length >= 4 {
        let [.., e, f, g, h] = above(length.wrapping_sub(4)).to_be_bytes();
        if let Some(head) = out.first_chunk_mut() {
            *head = [e, f, g, h];
        }
        if let Some(tail) = out.last_chunk_mut() {
            *tail = [a, b, c, d];
        }
    } else if length >= 2 {
        let [.., e, f] = above(length.wrapping_sub(2)).to_be_bytes();
        if let Some(head) = out.first_chunk_mut() {
            *head = [e, f];
        }
        if let Some(tail) = out.last_chunk_mut() {
            *tail = [c, d];
        }
    } else if let [byte] = out {
        *byte = d;
    }
    above(length) == 0
}

/// Whether all 16 half bytes are decimal digits: bit 3 of one above 9 stands with bit 2 or bit 1.
#[inline]
pub(crate) const fn is_packed16(packed: u64) -> bool {
    packed & ((packed << 1) | (packed << 2)) & 0x8888_8888_8888_8888 == 0
}

/// The number that 16 packed digits spell: pairs to bytes, to 4 digits, to 8, to 16, all lanes at once.
#[inline]
pub(crate) const fn unpack16(packed: u64) -> u64 {
    let tens = (packed >> 4) & 0x0F0F_0F0F_0F0F_0F0F;
    let pairs = packed.wrapping_sub(tens.wrapping_mul(6));
    let high = (pairs >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs & 0x00FF_00FF_00FF_00FF).wrapping_add(high.wrapping_mul(100));
    let high = (fours >> 16) & 0x0000_FFFF_0000_FFFF;
    let eights = (fours & 0x0000_FFFF_0000_FFFF).wrapping_add(high.wrapping_mul(10_000));
    (eights & 0xFFFF_FFFF).wrapping_add((eights >> 32).wrapping_mul(100_000_000))
}

/// A number as 16 packed digits, if it has no more.
#[inline]
pub(crate) const fn pack16(value: u64) -> Option<u64> {
    if value < 100_000_000 {
        Some(pack8(value))
    } else if value < 10_000_000_000_000_000 {
        Some((pack8(value / 100_000_000) << 32) | pack8(value % 100_000_000))
    } else {
        None
    }
}

/// 8 digits: split into 4 and 4, into 2 and 2, into tens and ones, all lanes at once. The multipliers are the usual
/// reciprocals of 100 (below 10 000) and of 10 (below 100).
#[inline]
const fn pack8(value: u64) -> u64 {
    let fours = ((value / 10_000) << 32) | (value % 10_000);
    let hundreds = (fours.wrapping_mul(5243) >> 19) & 0x0000_007F_0000_007F;
    let pairs = (hundreds << 16) | fours.wrapping_sub(hundreds.wrapping_mul(100));
    let tens = (pairs.wrapping_mul(103) >> 10) & 0x000F_000F_000F_000F;
    let lanes = pairs.wrapping_add(tens.wrapping_mul(6));
    // Lanes are of 16 bits, the highest has the first digits: close the gaps.
    let joined = (lanes | (lanes >> 8)) & 0x0000_FFFF_0000_FFFF;
    (joined | (joined >> 16)) & 0xFFFF_FFFF
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

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
        fn packed_decimals_are_those_that_people_write(value in any::<u64>(), shift in 0u32..64, extra in 0usize..3) {
            let value = value >> shift;
            let text = std::format!("{value:0width$}", width = 2 * value.to_string().len().div_ceil(2));
            let mut out = std::vec![0xFF; text.len() / 2 + extra];
            bcd_encode(value, &mut out).unwrap();
            let shown: std::string::String = out.iter().map(|byte| std::format!("{byte:02x}")).collect();
            prop_assert_eq!(shown.trim_start_matches('0'), text.trim_start_matches('0'));
            prop_assert_eq!(bcd_decode(&out), Ok(value));
            if value > 0 {
                let short = text.len() / 2 - 1;
                prop_assert_eq!(bcd_encode(value, &mut out[..short]), Err(BytesError::NoRoom));
            }
        }

        #[test]
        fn any_half_byte_above_nine_is_found(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            let bad = bytes.iter().position(|byte| byte >> 4 > 9 || byte & 15 > 9);
            match (bcd_decode(&bytes), bad) {
                (Err(BytesError::NotDecimal(at)), Some(bad)) => prop_assert_eq!(at, bad),
                // More digits than 64 bits hold may be noticed first.
                (Err(BytesError::NoRoom), _) => prop_assert!(bytes.len() > 9),
                (decoded, bad) => prop_assert!(decoded.is_ok() && bad.is_none()),
            }
        }
    }

    #[test]
    fn half_bytes_above_nine_are_not_decimal() {
        assert_eq!(bcd_decode(&[0x12, 0x3A]), Err(BytesError::NotDecimal(1)));
        assert_eq!(bcd_encode(100, &mut [0; 1]), Err(BytesError::NoRoom));
        assert_eq!(bcd_decode(&[0x99; 12]), Err(BytesError::NoRoom));
    }
}
