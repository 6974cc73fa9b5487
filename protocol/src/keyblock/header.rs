//! What a key block says about its key: 16 characters and optional blocks.

use super::{KeyBlockError, MAX_BLOCK};

const FIXED_CHARS: usize = 16;

/// What a key is for: usage, algorithm and mode, as the header's five characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Usage {
    /// Key usage, two characters.
    pub usage: [u8; 2],
    /// Algorithm: `A` AES, `T` triple DES, `D` DES, `H` HMAC…
    pub algorithm: u8,
    /// Mode: `E` encrypt, `D` decrypt, `B` both, `C` MAC both ways, `G` generate, `V` verify, `N` no restriction…
    pub mode: u8,
}

impl Usage {
    /// A terminal master key: wraps key blocks.
    pub const TMK: Self = Self::new(*b"K1", b'A', b'B');
    /// A key for the MAC of messages.
    pub const MAC: Self = Self::new(*b"M6", b'A', b'C');
    /// A key for PIN blocks, as the terminal has it.
    pub const PIN: Self = Self::new(*b"P0", b'A', b'E');
    /// A key for data.
    pub const DATA: Self = Self::new(*b"D0", b'A', b'B');

    /// From its parts.
    #[must_use]
    pub const fn new(usage: [u8; 2], algorithm: u8, mode: u8) -> Self {
        Self { usage, algorithm, mode }
    }

    /// Whether a key of this length can be one of this algorithm.
    pub(super) fn fits(self, key_len: usize) -> Result<(), KeyBlockError> {
        let fits = match self.algorithm {
            b'A' => matches!(key_len, 16 | 24 | 32),
            b'T' => matches!(key_len, 8 | 16 | 24),
            b'D' => key_len == 8,
            _ => key_len > 0,
        };
        if fits { Ok(()) } else { Err(KeyBlockError::Key) }
    }
}

impl core::fmt::Debug for Usage {
    /// `K1/A/B`
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [first, second] = self.usage.map(char::from);
        write!(f, "{first}{second}/{}/{}", char::from(self.algorithm), char::from(self.mode))
    }
}

/// Version of the key within its holder's keys: two characters, `00` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyVersionNo(pub [u8; 2]);

/// Whether and how the key may leave its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exportability {
    /// `N`: never.
    No,
    /// `E`: under a trusted key.
    Trusted,
    /// `S`: under any key-encryption key.
    Sensitive,
}

impl Exportability {
    const fn from_character(character: u8) -> Result<Self, KeyBlockError> {
        match character {
            b'N' => Ok(Self::No),
            b'E' => Ok(Self::Trusted),
            b'S' => Ok(Self::Sensitive),
            _ => Err(KeyBlockError::Header),
        }
    }

    const fn character(self) -> u8 {
        match self {
            Self::No => b'N',
            Self::Trusted => b'E',
            Self::Sensitive => b'S',
        }
    }
}

/// The header of a key block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'b> {
    /// What the key is for.
    pub usage: Usage,
    /// Version of the key.
    pub version: KeyVersionNo,
    /// Whether it may leave its holder.
    pub exportability: Exportability,
    /// Optional blocks, kept as they are.
    pub optional: OptionalBlocks<'b>,
}

impl<'b> Header<'b> {
    /// Of a key that never leaves its holder, without a version and optional blocks.
    #[must_use]
    pub const fn new(usage: Usage) -> Self {
        let optional = OptionalBlocks { text: &[], count: 0 };
        Self { usage, version: KeyVersionNo(*b"00"), exportability: Exportability::No, optional }
    }

    /// Whether the key is for this use: usage, algorithm and mode are the same.
    ///
    /// # Errors
    /// It is for another.
    pub fn permits(&self, usage: Usage) -> Result<(), KeyBlockError> {
        if self.usage == usage { Ok(()) } else { Err(KeyBlockError::Usage) }
    }

    /// Characters of the header with its optional blocks.
    pub(super) const fn chars(&self) -> usize {
        FIXED_CHARS.saturating_add(self.optional.text.len())
    }

    /// Reads the header of a whole block.
    pub(super) fn parse(block: &'b [u8]) -> Result<Self, KeyBlockError> {
        let (fixed, rest) = block.split_first_chunk::<FIXED_CHARS>().ok_or(KeyBlockError::Length)?;
        let [version, l0, l1, l2, l3, u0, u1, algorithm, mode, v0, v1, export, n0, n1, r0, r1] = *fixed;
        if version != b'D' {
            return Err(KeyBlockError::Version);
        }
        let announced = decimal(&[l0, l1, l2, l3]).ok_or(KeyBlockError::Header)?;
        if announced != block.len() || announced > MAX_BLOCK || !announced.is_multiple_of(16) {
            return Err(KeyBlockError::Length);
        }
        let named = [u0, u1, algorithm, mode, v0, v1];
        if !named.iter().all(u8::is_ascii_alphanumeric) || [r0, r1] != *b"00" {
            return Err(KeyBlockError::Header);
        }
        let count = decimal(&[n0, n1]).ok_or(KeyBlockError::Header)?;
        Ok(Self {
            usage: Usage::new([u0, u1], algorithm, mode),
            version: KeyVersionNo([v0, v1]),
            exportability: Exportability::from_character(export)?,
            optional: OptionalBlocks::parse(count, rest)?,
        })
    }

    /// Writes the header of a block of `total` characters.
    pub(super) fn write(&self, total: usize, out: &mut [u8]) -> Result<(), KeyBlockError> {
        let digit = |value: usize| u8::try_from(value % 10).unwrap_or(0) | b'0';
        if total > MAX_BLOCK {
            return Err(KeyBlockError::Length);
        }
        let (fixed, rest) = out.split_first_chunk_mut::<FIXED_CHARS>().ok_or(KeyBlockError::NoRoom)?;
        let [u0, u1] = self.usage.usage;
        let KeyVersionNo([v0, v1]) = self.version;
        let count = usize::from(self.optional.count);
        *fixed = [
            b'D',
            digit(total / 1000),
            digit(total / 100),
            digit(total / 10),
            digit(total),
            u0,
            u1,
            self.usage.algorithm,
            self.usage.mode,
            v0,
            v1,
            self.exportability.character(),
            digit(count / 10),
            digit(count),
            b'0',
            b'0',
        ];
        if rest.len() != self.optional.text.len() {
            return Err(KeyBlockError::NoRoom);
        }
        rest.copy_from_slice(self.optional.text);
        Ok(())
    }
}

fn decimal(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0usize, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| usize::from(digit & 0x0F))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Optional blocks of a header: each an identifier of two characters, a length of two hexadecimal characters that counts
/// the whole block, and printable data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionalBlocks<'b> {
    text: &'b [u8],
    count: u8,
}

impl<'b> OptionalBlocks<'b> {
    fn parse(count: usize, text: &'b [u8]) -> Result<Self, KeyBlockError> {
        let mut rest = text;
        for _ in 0..count {
            (_, rest) = take(rest).ok_or(KeyBlockError::OptionalBlock)?;
        }
        let used = text.len().saturating_sub(rest.len());
        // The enciphered part begins on a block boundary.
        let text =
            text.get(..used).filter(|_| used.is_multiple_of(16)).ok_or(KeyBlockError::OptionalBlock)?;
        Ok(Self { text, count: u8::try_from(count).map_err(|_| KeyBlockError::OptionalBlock)? })
    }

    /// Identifier and data of each.
    pub fn iter(&self) -> impl Iterator<Item = ([u8; 2], &'b [u8])> {
        let mut rest = self.text;
        core::iter::from_fn(move || {
            let (block, tail) = take(rest)?;
            rest = tail;
            Some(block)
        })
    }
}

type Block<'b> = ([u8; 2], &'b [u8]);

/// One optional block and what follows it. (Lengths of more than 255 characters are not supported.)
fn take(text: &[u8]) -> Option<(Block<'_>, &[u8])> {
    let (head, rest) = text.split_first_chunk::<4>()?;
    let [i0, i1, high, low] = *head;
    let half = |c: u8| char::from(c).to_digit(16).and_then(|d| usize::try_from(d).ok());
    let length = half(high)?.checked_mul(16)?.checked_add(half(low)?)?.checked_sub(4)?;
    let (data, rest) = rest.split_at_checked(length)?;
    let sound =
        [i0, i1].iter().all(u8::is_ascii_alphanumeric) && data.iter().all(|b| (0x20..0x7F).contains(b));
    sound.then_some((([i0, i1], data), rest))
}
