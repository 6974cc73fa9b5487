//! Writing BER-TLV into a caller's buffer, with the shortest length form.

use super::{Tag, TlvError};

/// Appends elements to a buffer. A constructed element is opened, filled by a closure and closed; its length is written
/// when it is known.
#[derive(Debug)]
pub struct TlvWriter<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> TlvWriter<'a> {
    /// Starts at the front of `out`.
    #[must_use]
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
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

    /// Appends a primitive element (or a constructed one whose value is ready).
    ///
    /// # Errors
    /// A value above 65 535 bytes, or a buffer that is too small.
    pub fn put(&mut self, tag: Tag, value: &[u8]) -> Result<(), TlvError> {
        self.put_tag(tag)?;
        let (length, n) = length_bytes(value.len())?;
        self.raw(length.get(..n).unwrap_or_default())?;
        self.raw(value)
    }

    /// Appends a constructed element filled by `fill`.
    ///
    /// # Errors
    /// What `fill` returns, a value above 65 535 bytes, or a buffer that is too small.
    pub fn constructed(
        &mut self,
        tag: Tag,
        fill: impl FnOnce(&mut TlvWriter<'_>) -> Result<(), TlvError>,
    ) -> Result<(), TlvError> {
        self.put_tag(tag)?;
        let start = self.len;
        let mut inner = TlvWriter::new(self.out.get_mut(start..).ok_or(TlvError::NoRoom)?);
        fill(&mut inner)?;
        let value_length = inner.len;
        let (length, n) = length_bytes(value_length)?;
        // The value stands where its length belongs: move it behind.
        let value_start = start.checked_add(n).ok_or(TlvError::NoRoom)?;
        let value_end = value_start.checked_add(value_length).ok_or(TlvError::NoRoom)?;
        let moved = self.out.get_mut(start..value_end).ok_or(TlvError::NoRoom)?;
        moved.copy_within(..value_length, n);
        self.raw(length.get(..n).unwrap_or_default())?;
        self.len = value_end;
        Ok(())
    }

    fn put_tag(&mut self, tag: Tag) -> Result<(), TlvError> {
        let bytes = tag.number().to_be_bytes();
        let leading = bytes.iter().take(3).take_while(|byte| **byte == 0).count();
        self.raw(bytes.get(leading..).unwrap_or_default())
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), TlvError> {
        let end = self.len.checked_add(bytes.len()).ok_or(TlvError::NoRoom)?;
        self.out.get_mut(self.len..end).ok_or(TlvError::NoRoom)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

fn length_bytes(length: usize) -> Result<([u8; 3], usize), TlvError> {
    let [high, low] = u16::try_from(length).map_err(|_| TlvError::ValueTooLong)?.to_be_bytes();
    Ok(match (high, low) {
        (0, 0..=0x7F) => ([low, 0, 0], 1),
        (0, _) => ([0x81, low, 0], 2),
        _ => ([0x82, high, low], 3),
    })
}
