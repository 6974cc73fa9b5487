//! Values that come from the card: its number, its track, its sequence, its data, how it was read, its PIN.

use super::{FieldValue, bytes_field, number_field};
use crate::iso8583::value::SEPARATOR;
use crate::iso8583::{Builder, Digits, FieldError, FieldNo, Reason, Value};
use crate::pan::Pan;
use crate::tlv::{Elements, Limits, Tag, TlvError};
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

impl FieldValue<'_> for Pan {
    const FIELD: FieldNo = FieldNo(2);

    #[inline]
    fn read(value: &Value<'_>) -> Result<Self, Reason> {
        let digits = value.digits();
        let pan = if digits.packed && digits.skip == 0 {
            Self::from_packed(digits.bytes, digits.len())
        } else {
            Self::from_digits(digits.iter())
        };
        pan.map_err(|_| Reason::Value("not a card number"))
    }

    #[inline]
    fn write(&self, builder: &mut Builder<'_>) -> Result<(), FieldError> {
        builder.digits(Self::FIELD, packed(self.packed(), self.len())).map(|_| ())
    }
}

fn packed(bytes: &[u8], count: usize) -> Digits<'_> {
    Digits::packed(bytes, u16::try_from(count).unwrap_or(u16::MAX))
}

/// When a card expires, `YYMM`; `0000` where a host does not say, field 14.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Zeroize)]
pub struct Expiry {
    year: u8,
    month: u8,
}

impl Expiry {
    /// From the last two digits of the year and the month.
    #[must_use]
    pub const fn new(year: u8, month: u8) -> Option<Self> {
        let real = year <= 99 && month >= 1 && month <= 12;
        if real || (year == 0 && month == 0) { Some(Self { year, month }) } else { None }
    }

    /// Last two digits of the year.
    #[must_use]
    pub const fn year(self) -> u8 {
        self.year
    }

    /// 1 to 12, 0 if not said.
    #[must_use]
    pub const fn month(self) -> u8 {
        self.month
    }

    fn from_number(number: u64) -> Result<Self, Reason> {
        let part = |value: u64| u8::try_from(value).unwrap_or(u8::MAX);
        Self::new(part(number / 100), part(number % 100)).ok_or(Reason::Value("not a year and month"))
    }
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expiry(****)")
    }
}

number_field!(Expiry, 14, |raw: u64| Self::from_number(raw), |expiry| {
    u64::from(expiry.year).saturating_mul(100).saturating_add(u64::from(expiry.month))
});

/// Where the card number came from: the first two digits of field 22.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PanEntry {
    /// Not said.
    Unknown,
    /// Typed in.
    Manual,
    /// Magnetic stripe.
    Stripe,
    /// Contact chip.
    Chip,
    /// Contactless chip.
    Contactless,
    /// Contactless, magnetic stripe data.
    ContactlessStripe,
    /// Another way.
    Other(u8),
}

/// Whether the terminal could take a PIN: the third digit of field 22.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PinEntry {
    /// Not said.
    Unknown,
    /// A PIN is in the message, or could be.
    Possible,
    /// No PIN.
    None,
    /// Another digit.
    Other(u8),
}

/// How card number and PIN were entered, field 22.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryMode {
    /// Card number.
    pub pan: PanEntry,
    /// PIN.
    pub pin: PinEntry,
}

impl EntryMode {
    /// Contactless chip without PIN (072).
    pub const CONTACTLESS: Self = Self { pan: PanEntry::Contactless, pin: PinEntry::None };
    /// Contactless chip with PIN (071).
    pub const CONTACTLESS_PIN: Self = Self { pan: PanEntry::Contactless, pin: PinEntry::Possible };

    fn from_number(number: u64) -> Self {
        let part = |value: u64| u8::try_from(value).unwrap_or(u8::MAX);
        let pan = match part(number / 10) {
            0 => PanEntry::Unknown,
            1 => PanEntry::Manual,
            2 => PanEntry::Stripe,
            5 => PanEntry::Chip,
            7 => PanEntry::Contactless,
            91 => PanEntry::ContactlessStripe,
            other => PanEntry::Other(other),
        };
        let pin = match part(number % 10) {
            0 => PinEntry::Unknown,
            1 => PinEntry::Possible,
            2 => PinEntry::None,
            other => PinEntry::Other(other),
        };
        Self { pan, pin }
    }

    fn to_number(self) -> u64 {
        let pan = match self.pan {
            PanEntry::Unknown => 0,
            PanEntry::Manual => 1,
            PanEntry::Stripe => 2,
            PanEntry::Chip => 5,
            PanEntry::Contactless => 7,
            PanEntry::ContactlessStripe => 91,
            PanEntry::Other(other) => other,
        };
        let pin = match self.pin {
            PinEntry::Unknown => 0,
            PinEntry::Possible => 1,
            PinEntry::None => 2,
            PinEntry::Other(other) => other,
        };
        u64::from(pan).saturating_mul(10).saturating_add(u64::from(pin))
    }
}

number_field!(EntryMode, 22, |raw: u64| Ok(Self::from_number(raw)), |mode| mode.to_number());

/// Which of several cards with one number, field 23.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CardSequence(pub u16);
number_field!(CardSequence, 23, |raw: u16| Ok(Self(raw)), |sequence| u64::from(sequence.0));

/// Most digits of a PIN that the PIN block may hold, field 26.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PinLength(pub u8);
number_field!(PinLength, 26, |raw: u8| Ok(Self(raw)), |length| u64::from(length.0));

/// Track 2 as the card has it, without sentinels, field 35. Cleared on drop; `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Track2 {
    packed: [u8; 19],
    len: u8,
}

impl Track2 {
    /// From its digits, 13 for the separator; 1 to 37.
    #[must_use]
    pub fn from_digits(digits: impl IntoIterator<Item = u8>) -> Option<Self> {
        let mut track = Self { packed: [0; 19], len: 0 };
        for digit in digits {
            let index = usize::from(track.len);
            if index >= 37 || (digit > 9 && digit != SEPARATOR) {
                return None;
            }
            *track.packed.get_mut(index / 2)? |= if index.is_multiple_of(2) { digit << 4 } else { digit };
            track.len = track.len.saturating_add(1);
        }
        (track.len > 0).then_some(track)
    }

    /// The card number: what stands before the separator.
    #[must_use]
    pub fn pan(&self) -> Option<Pan> {
        Pan::from_digits(self.digits().iter().take_while(|digit| *digit != SEPARATOR)).ok()
    }

    /// The expiry: four digits behind the separator.
    #[must_use]
    pub fn expiry(&self) -> Option<Expiry> {
        let digits = self.digits();
        let after = digits.iter().position(|digit| digit == SEPARATOR)?.checked_add(1)?;
        let part = digits.part(after, 4);
        if part.len() < 4 { None } else { Expiry::from_number(part.number().ok()?).ok() }
    }

    /// The digits, for a computation or a message: never for people.
    #[must_use]
    pub fn digits(&self) -> Digits<'_> {
        packed(&self.packed, usize::from(self.len))
    }
}

impl fmt::Debug for Track2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Track2({} digits)", self.len)
    }
}

impl FieldValue<'_> for Track2 {
    const FIELD: FieldNo = FieldNo(35);

    #[inline]
    fn read(value: &Value<'_>) -> Result<Self, Reason> {
        let digits = value.digits();
        let whole = || {
            let mut packed = [0; 19];
            packed.get_mut(..digits.bytes.len())?.copy_from_slice(digits.bytes);
            Some(Self { packed, len: u8::try_from(digits.len()).ok()? })
        };
        // The table has checked digits and padding already.
        let track =
            if digits.packed && digits.skip == 0 { whole() } else { Self::from_digits(digits.iter()) };
        track.ok_or(Reason::Value("not a track"))
    }

    #[inline]
    fn write(&self, builder: &mut Builder<'_>) -> Result<(), FieldError> {
        builder.digits(Self::FIELD, self.digits()).map(|_| ())
    }
}

/// An enciphered PIN block, field 52: 8 bytes under 3DES, 16 under AES. `Debug` shows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum EncryptedPin {
    /// ISO 9564 format 0 under 3DES.
    Format0([u8; 8]),
    /// ISO 9564 format 4 under AES.
    Format4([u8; 16]),
}

impl fmt::Debug for EncryptedPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Format0(_) => "EncryptedPin(8 bytes)",
            Self::Format4(_) => "EncryptedPin(16 bytes)",
        })
    }
}

impl FieldValue<'_> for EncryptedPin {
    const FIELD: FieldNo = FieldNo(52);

    #[inline]
    fn read(value: &Value<'_>) -> Result<Self, Reason> {
        match value.bytes().len() {
            8 => value.array().map(Self::Format0),
            _ => value.array().map(Self::Format4),
        }
    }

    #[inline]
    fn write(&self, builder: &mut Builder<'_>) -> Result<(), FieldError> {
        let bytes: &[u8] = match self {
            Self::Format0(block) => block,
            Self::Format4(block) => block,
        };
        builder.bytes(Self::FIELD, bytes).map(|_| ())
    }
}

bytes_field! {
    /// Data of the chip, BER-TLV, field 55.
    CardData, 55, bytes
}

impl<'a> CardData<'a> {
    /// The elements at its top level. Host data are flat; what an element holds is the reader's to judge.
    #[must_use]
    pub const fn elements(&self) -> Elements<'a> {
        Elements::new(self.0, Limits { depth: 1, elements: 64, value_bytes: 255 })
    }

    /// The value of an element.
    ///
    /// # Errors
    /// It is missing, or what stands before it is no BER-TLV.
    pub fn find(&self, tag: Tag) -> Result<&'a [u8], TlvError> {
        self.elements()
            .find_map(|element| match element {
                Ok(element) => (element.tag == tag).then_some(Ok(element.value)),
                Err(error) => Some(Err(error)),
            })
            .unwrap_or(Err(TlvError::Missing(tag)))
    }
}
