//! Dialects as data: for every field its name, its form on the wire, its limits, and what people may see of it.
//!
//! [`AES`] and [`UNIONPAY`] follow `docs/posp.md` section 2. A further dialect is one more `static` made by
//! [`Dialect::new`]; no code changes for it.

use super::FieldNo;

/// On which side the unused half byte of an odd number of packed digits is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Digits are right-justified: `0123`.
    Left,
    /// Digits are left-justified: `1230`.
    Right,
}

/// Which characters a text field may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// Letters, digits, space.
    An,
    /// Printable ASCII.
    Ans,
    /// Printable ASCII and the bytes of a double-byte character set (GBK).
    Local,
}

/// How the content of a field is written. Lengths count digits for the first four, bytes for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Two decimal digits to a byte.
    Packed(Side),
    /// Two half bytes to a byte, digits and `D` for the separator, left-justified.
    PackedTrack,
    /// One ASCII digit to a byte.
    Digits,
    /// One ASCII character to a byte, digits and `=` (or `D`) for the separator.
    Track,
    /// Text.
    Text(Alphabet),
    /// Bytes as they are.
    Bytes,
    /// Bytes written as hexadecimal characters, two for each.
    Hex,
}

impl Coding {
    /// How many bytes `units` digits or bytes take on the wire.
    #[must_use]
    pub const fn wire_len(self, units: u16) -> usize {
        let units = units as usize;
        match self {
            Self::Packed(_) | Self::PackedTrack => units.div_ceil(2),
            Self::Digits | Self::Track | Self::Text(_) | Self::Bytes => units,
            Self::Hex => units.saturating_mul(2),
        }
    }
}

/// How long a field is, in digits or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Always this long.
    Fixed(u16),
    /// A prefix of two digits, then at least `min` and at most `max`.
    Ll {
        /// Fewest.
        min: u16,
        /// Most.
        max: u16,
    },
    /// A prefix of three digits, then at least `min` and at most `max`.
    Lll {
        /// Fewest.
        min: u16,
        /// Most.
        max: u16,
    },
}

/// What a description for people may show of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// Everything.
    Open,
    /// A card number: first 6 and last 4 digits.
    Pan,
    /// BER-TLV that may hold card data: tags, and content where the tag is harmless.
    Tlv,
    /// Only that it is there and how long it is.
    Hidden,
}

/// One row of a dialect's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name for people.
    pub name: &'static str,
    /// Form on the wire.
    pub coding: Coding,
    /// Length.
    pub size: Size,
    /// What people may see.
    pub privacy: Privacy,
}

impl Field {
    /// A row whose content people may see.
    #[must_use]
    pub const fn open(name: &'static str, coding: Coding, size: Size) -> Self {
        Self { name, coding, size, privacy: Privacy::Open }
    }

    /// A row of which people see only the length.
    #[must_use]
    pub const fn hidden(name: &'static str, coding: Coding, size: Size) -> Self {
        Self { name, coding, size, privacy: Privacy::Hidden }
    }

    /// Fewest and most digits or bytes.
    #[must_use]
    pub const fn bounds(&self) -> (u16, u16) {
        match self.size {
            Size::Fixed(units) => (units, units),
            Size::Ll { min, max } | Size::Lll { min, max } => (min, max),
        }
    }
}

/// What content must be, in one word: [`Coding`] with all that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// There is no such field.
    Absent,
    PackedLeft,
    PackedRight,
    PackedTrack,
    Digits,
    Track,
    An,
    Ans,
    Local,
    Bytes,
    Hex,
}

/// How a length prefix is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    None,
    Packed1,
    Packed2,
    Ascii2,
    Ascii3,
}

/// A row of the table as the codec uses it: what it asks of every field of every message, side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) field: Field,
    pub(super) min: u16,
    pub(super) max: u16,
    pub(super) prefix: Prefix,
    pub(super) rule: Rule,
    prefix_len: u8,
    /// Half bytes that a digit or byte takes on the wire, as a power of two.
    halves: u8,
}

impl Row {
    const ABSENT: Self = Self {
        field: Field::open("", Coding::Bytes, Size::Fixed(0)),
        min: 0,
        max: 0,
        prefix: Prefix::None,
        rule: Rule::Absent,
        prefix_len: 0,
        halves: 0,
    };

    const fn new(field: Field, form: DigitForm) -> Self {
        let (min, max) = field.bounds();
        let (prefix, prefix_len) = match (field.size, form) {
            (Size::Fixed(_), _) => (Prefix::None, 0),
            (Size::Ll { .. }, DigitForm::Packed) => (Prefix::Packed1, 1),
            (Size::Lll { .. }, DigitForm::Packed) => (Prefix::Packed2, 2),
            (Size::Ll { .. }, DigitForm::Ascii) => (Prefix::Ascii2, 2),
            (Size::Lll { .. }, DigitForm::Ascii) => (Prefix::Ascii3, 3),
        };
        let (rule, halves) = match field.coding {
            Coding::Packed(Side::Left) => (Rule::PackedLeft, 0),
            Coding::Packed(Side::Right) => (Rule::PackedRight, 0),
            Coding::PackedTrack => (Rule::PackedTrack, 0),
            Coding::Digits => (Rule::Digits, 1),
            Coding::Track => (Rule::Track, 1),
            Coding::Text(Alphabet::An) => (Rule::An, 1),
            Coding::Text(Alphabet::Ans) => (Rule::Ans, 1),
            Coding::Text(Alphabet::Local) => (Rule::Local, 1),
            Coding::Bytes => (Rule::Bytes, 1),
            Coding::Hex => (Rule::Hex, 2),
        };
        Self { field, min, max, prefix, rule, prefix_len, halves }
    }

    /// [`Coding::wire_len`], without a branch.
    #[inline]
    pub(super) fn wire_len(&self, units: u16) -> usize {
        usize::from(units).wrapping_shl(u32::from(self.halves)).wrapping_add(1) >> 1
    }

    /// Bytes of the length prefix.
    #[inline]
    pub(super) const fn prefix_len(&self) -> usize {
        self.prefix_len as usize
    }
}

/// How the decimal digits of message type and length prefixes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigitForm {
    /// Two to a byte; an odd number has a leading zero.
    Packed,
    /// One ASCII character each.
    Ascii,
}

/// How a bitmap is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitmapForm {
    /// 8 bytes.
    Binary,
    /// 16 hexadecimal characters.
    Hex,
}

/// A way to write ISO 8583: everything that the codec needs to know.
#[derive(Debug)]
pub struct Dialect {
    /// Name for people and configuration.
    pub name: &'static str,
    /// Form of the message type.
    pub mti: DigitForm,
    /// Form of the bitmaps.
    pub bitmap: BitmapForm,
    /// Form of length prefixes.
    pub prefix: DigitForm,
    rows: [Row; 128],
}

impl Dialect {
    /// Makes a dialect from its rows. For a `static`: a field number that is out of range or given twice, and a limit
    /// that its prefix cannot express, stop the compilation.
    #[must_use]
    #[expect(clippy::panic, clippy::indexing_slicing, reason = "evaluated at compile time, for statics")]
    #[expect(clippy::arithmetic_side_effects, reason = "evaluated at compile time; bounded by rows.len()")]
    pub const fn new(
        name: &'static str,
        mti: DigitForm,
        bitmap: BitmapForm,
        prefix: DigitForm,
        rows: &[(u8, Field)],
    ) -> Self {
        let mut table = [Row::ABSENT; 128];
        let mut row = 0;
        while row < rows.len() {
            let (number, field) = rows[row];
            if number < 2 || number > 128 {
                panic!("field numbers are 2 to 128");
            }
            let index = number as usize - 1;
            if !matches!(table[index].rule, Rule::Absent) {
                panic!("a field has two rows");
            }
            let (min, max) = field.bounds();
            let limit = match field.size {
                Size::Fixed(_) => 8192,
                Size::Ll { .. } => 99,
                Size::Lll { .. } => 999,
            };
            if min > max || max > limit {
                panic!("the length prefix cannot say that");
            }
            table[index] = Row::new(field, prefix);
            row += 1;
        }
        Self { name, mti, bitmap, prefix, rows: table }
    }

    /// The row of a field.
    #[must_use]
    pub fn field(&self, no: FieldNo) -> Option<&Field> {
        self.row(no).map(|row| &row.field)
    }

    /// Whether it is this row, of this dialect, that the field has.
    #[inline]
    pub(super) fn is_row(&self, row: &Row, no: FieldNo) -> bool {
        self.rows.get(no.index()).is_some_and(|own| core::ptr::eq(own, row))
    }

    /// The row of a field, as the codec uses it.
    #[inline]
    pub(super) fn row(&self, no: FieldNo) -> Option<&Row> {
        self.rows.get(no.index()).filter(|row| row.rule != Rule::Absent)
    }
}

const fn n(digits: u16) -> (Coding, Size) {
    (Coding::Packed(Side::Right), Size::Fixed(digits))
}

const fn n_ll(max: u16) -> (Coding, Size) {
    (Coding::Packed(Side::Right), Size::Ll { min: 1, max })
}

const fn n_lll(max: u16) -> (Coding, Size) {
    (Coding::Packed(Side::Right), Size::Lll { min: 1, max })
}

const fn text(alphabet: Alphabet, bytes: u16) -> (Coding, Size) {
    (Coding::Text(alphabet), Size::Fixed(bytes))
}

const fn b(bytes: u16) -> (Coding, Size) {
    (Coding::Bytes, Size::Fixed(bytes))
}

const fn b_lll(max: u16) -> (Coding, Size) {
    (Coding::Bytes, Size::Lll { min: 0, max })
}

const fn row(
    number: u8,
    name: &'static str,
    (coding, size): (Coding, Size),
    privacy: Privacy,
) -> (u8, Field) {
    (number, Field { name, coding, size, privacy })
}

/// The fields of both dialects; they differ in the size of the PIN block, and in field 63, which third parties fill
/// with bytes of their own.
const fn rows(pin_block: u16, organisation: Coding) -> [(u8, Field); 39] {
    use Privacy::{Hidden, Open, Pan, Tlv};
    [
        row(2, "PAN", n_ll(19), Pan),
        row(3, "processing code", n(6), Open),
        row(4, "amount", n(12), Open),
        row(11, "trace number", n(6), Open),
        row(12, "local time", n(6), Open),
        row(13, "local date", n(4), Open),
        row(14, "expiry", n(4), Hidden),
        row(15, "settlement date", n(4), Open),
        row(22, "entry mode", n(3), Open),
        row(23, "card sequence number", (Coding::Packed(Side::Left), Size::Fixed(3)), Open),
        row(25, "condition code", n(2), Open),
        row(26, "PIN length", n(2), Open),
        row(32, "acquirer", n_ll(11), Open),
        row(33, "forwarder", n_ll(11), Open),
        row(35, "track 2", (Coding::PackedTrack, Size::Ll { min: 1, max: 37 }), Hidden),
        row(36, "track 3", (Coding::PackedTrack, Size::Lll { min: 1, max: 104 }), Hidden),
        row(37, "retrieval reference", text(Alphabet::An, 12), Open),
        row(38, "authorisation code", text(Alphabet::An, 6), Open),
        row(39, "response code", text(Alphabet::An, 2), Open),
        row(41, "terminal", text(Alphabet::Ans, 8), Open),
        row(42, "merchant", text(Alphabet::Ans, 15), Open),
        row(43, "merchant name", text(Alphabet::Local, 40), Open),
        row(44, "institutions", (Coding::Text(Alphabet::Ans), Size::Ll { min: 1, max: 25 }), Open),
        row(46, "acquirer-specific", b_lll(999), Hidden),
        row(48, "settlement totals", n_lll(322), Open),
        row(49, "currency", text(Alphabet::An, 3), Open),
        row(52, "PIN block", b(pin_block), Hidden),
        row(53, "security control", n(16), Open),
        row(54, "balance", (Coding::Text(Alphabet::Ans), Size::Lll { min: 1, max: 20 }), Open),
        row(55, "card data (EMV)", b_lll(255), Tlv),
        row(56, "acquirer-specific", b_lll(999), Hidden),
        row(57, "acquirer-specific", b_lll(999), Hidden),
        row(58, "purse records", b_lll(999), Hidden),
        row(59, "acquirer-specific", b_lll(999), Hidden),
        row(60, "batch and management code", n_lll(17), Open),
        row(61, "original transaction", n_lll(29), Open),
        row(62, "keys and parameters", b_lll(512), Hidden),
        row(63, "organisation", (organisation, Size::Lll { min: 0, max: 163 }), Hidden),
        row(64, "MAC", b(8), Open),
    ]
}

/// Our own dialect: AES everywhere, a 16-byte PIN block.
pub static AES: Dialect = Dialect::new(
    "aes",
    DigitForm::Packed,
    BitmapForm::Binary,
    DigitForm::Packed,
    &rows(16, Coding::Text(Alphabet::Ans)),
);

/// The style of China's POS terminals: 3DES, an 8-byte PIN block.
pub static UNIONPAY: Dialect = Dialect::new(
    "unionpay",
    DigitForm::Packed,
    BitmapForm::Binary,
    DigitForm::Packed,
    &rows(8, Coding::Bytes),
);
