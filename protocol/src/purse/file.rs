//! The files of the purse application (`purse.md` section 5) and the FCI that SELECT answers.

use super::{File15Digest, Moment, Overdraft, PurseError, TransactionType};
use crate::bytes::{Reader, Writer};
use crate::ids::{Asn, IssuerId, SamTerminal};
use crate::money::CardAmount;
use crate::time::CardDate;
use crate::tlv::{Limits, Tag, TlvWriter, find_path};

/// Short file identifier of the public data.
pub const SFI_PUBLIC: u8 = 0x15;
/// Short file identifier of the holder's data.
pub const SFI_HOLDER: u8 = 0x16;
/// Short file identifier of the transaction log.
pub const SFI_LOG: u8 = 0x18;
/// Short file identifier of the transit process record.
pub const SFI_TRANSIT: u8 = 0x1A;
/// Short file identifier of the transit log.
pub const SFI_TRANSIT_LOG: u8 = 0x1E;

/// Bytes of file 15.
pub const PUBLIC_BYTES: usize = 30;
/// Bytes of file 16.
pub const HOLDER_BYTES: usize = 39;
/// Bytes of a record of file 18.
pub const LOG_RECORD_BYTES: usize = 23;
/// Bytes of the record of file 1A.
pub const TRANSIT_RECORD_BYTES: usize = 128;
/// Bytes of a record of file 1E.
pub const TRANSIT_LOG_RECORD_BYTES: usize = 48;
/// Fewest records of the log.
pub const LOG_RECORDS_MIN: usize = 10;

const TAG_FCI: Tag = Tag::new(0x6F);
const TAG_DF_NAME: Tag = Tag::new(0x84);
const TAG_PROPRIETARY: Tag = Tag::new(0xA5);
const TAG_ISSUER_DATA: Tag = Tag::new(0x9F0C);

/// File 15, the public data of a purse. The raw bytes are kept: suite 10's MAC2 covers their digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicData {
    raw: [u8; PUBLIC_BYTES],
}

impl PublicData {
    /// From the bytes of the file.
    ///
    /// # Errors
    /// Another length than 30.
    pub fn parse(data: &[u8]) -> Result<Self, PurseError> {
        let wrong = PurseError::WrongLength { what: "file 15", expected: PUBLIC_BYTES, found: data.len() };
        Ok(Self { raw: data.try_into().map_err(|_| wrong)? })
    }

    /// Builds the file.
    #[must_use]
    pub fn new(issuer: IssuerId, asn: Asn, start: CardDate, end: CardDate, fci: [u8; 2]) -> Self {
        let mut raw = [0; PUBLIC_BYTES];
        let mut writer = Writer::new(&mut raw);
        let parts: [&[u8]; 6] = [&issuer.0, &[0x02, 0x10], &asn.0, &start.to_bytes(), &end.to_bytes(), &fci];
        // The parts are 30 bytes by their types.
        let _ = parts.iter().try_for_each(|part| writer.put(part));
        Self { raw }
    }

    /// The bytes of the file.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PUBLIC_BYTES] {
        &self.raw
    }

    fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        self.raw.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }

    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> IssuerId {
        IssuerId(self.part(0))
    }

    /// Application type and version.
    #[must_use]
    pub fn application(&self) -> [u8; 2] {
        self.part(8)
    }

    /// The card's application serial number.
    #[must_use]
    pub fn asn(&self) -> Asn {
        Asn(self.part(10))
    }

    /// First day of validity.
    #[must_use]
    pub fn start(&self) -> CardDate {
        CardDate::from_bytes(self.part(20))
    }

    /// Last day of validity.
    #[must_use]
    pub fn end(&self) -> CardDate {
        CardDate::from_bytes(self.part(24))
    }

    /// The issuer's own FCI data.
    #[must_use]
    pub fn fci_data(&self) -> [u8; 2] {
        self.part(28)
    }

    /// What suite 10's MAC2 covers.
    #[must_use]
    pub fn digest(&self) -> File15Digest {
        File15Digest::of(&self.raw)
    }
}

/// The answer of SELECT: `6F{84 DF name, A5{9F0C file 15}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fci<'a> {
    /// DF name (AID).
    pub name: &'a [u8],
    /// File 15.
    pub public: PublicData,
}

impl<'a> Fci<'a> {
    /// Reads the answer.
    ///
    /// # Errors
    /// No BER-TLV, a missing element, or a file 15 of another length.
    pub fn parse(data: &'a [u8]) -> Result<Self, PurseError> {
        let name = find_path(data, &[TAG_FCI, TAG_DF_NAME], Limits::CARD)?;
        let file15 = find_path(data, &[TAG_FCI, TAG_PROPRIETARY, TAG_ISSUER_DATA], Limits::CARD)?;
        Ok(Self { name, public: PublicData::parse(file15)? })
    }

    /// Writes the answer and returns its length.
    ///
    /// # Errors
    /// A buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, PurseError> {
        let mut writer = TlvWriter::new(out);
        writer.constructed(TAG_FCI, |fci| {
            fci.put(TAG_DF_NAME, self.name)?;
            fci.constructed(TAG_PROPRIETARY, |inner| inner.put(TAG_ISSUER_DATA, self.public.as_bytes()))
        })?;
        Ok(writer.len())
    }
}

/// A record of the log (file 18): 23 bytes, the counter as it was *after* the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Counter after the transaction.
    pub counter_after: u16,
    /// Overdraft limit.
    pub overdraft: Overdraft,
    /// Amount.
    pub amount: CardAmount,
    /// Transaction type.
    pub kind: TransactionType,
    /// Terminal number.
    pub terminal: SamTerminal,
    /// Local date and time.
    pub moment: Moment,
}

impl LogRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// Another length, or a type that is not known (an empty record has type 00).
    pub fn parse(data: &[u8]) -> Result<Self, PurseError> {
        let mut reader = Reader::new(data);
        let record = Self {
            counter_after: reader.u16()?,
            overdraft: Overdraft::from_bytes(reader.array()?),
            amount: CardAmount::from_bytes(reader.array()?),
            kind: TransactionType::from_byte(reader.u8()?)?,
            terminal: SamTerminal(reader.array()?),
            moment: Moment::from_bytes(reader.array()?),
        };
        reader.finish()?;
        Ok(record)
    }

    /// The record's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; LOG_RECORD_BYTES] {
        let mut out = [0; LOG_RECORD_BYTES];
        let mut writer = Writer::new(&mut out);
        let parts: [&[u8]; 6] = [
            &self.counter_after.to_be_bytes(),
            &self.overdraft.to_bytes(),
            &self.amount.to_bytes(),
            &[self.kind.byte()],
            &self.terminal.0,
            &self.moment.to_bytes(),
        ];
        // The parts are 23 bytes by their types.
        let _ = parts.iter().try_for_each(|part| writer.put(part));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::{Hex, decode};
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn file_15_shows_its_fields_where_the_layout_puts_them() {
        // tests/vectors/purse_aes.json, first load record.
        let raw: [u8; 30] = decode("5441504C0000015602100000000000000000000120260101203612315566").unwrap();
        let file = PublicData::parse(&raw).unwrap();
        assert_eq!(file.issuer().to_string(), "5441504C00000156");
        assert_eq!(file.asn().to_string(), "00000000000000000001");
        assert_eq!(file.start().to_string(), "2026-01-01");
        assert_eq!(file.end().to_string(), "2036-12-31");
        assert_eq!(Hex(&file.digest().0).to_string(), "19A0583AD5C84424");
        let again = PublicData::new(file.issuer(), file.asn(), file.start(), file.end(), file.fci_data());
        assert_eq!(again, file);
        assert!(PublicData::parse(&raw[1..]).is_err());
    }

    #[test]
    fn the_fci_reads_back_and_lacks_nothing() {
        let public = PublicData { raw: [7; 30] };
        let mut out = [0; 80];
        let n = Fci { name: &super::super::AID_SUITE_10, public }.encode(&mut out).unwrap();
        assert_eq!(Fci::parse(&out[..n]), Ok(Fci { name: &super::super::AID_SUITE_10, public }));
        assert!(matches!(Fci::parse(&[0x6F, 0x02, 0x84, 0x00]), Err(PurseError::Fci(_))));
    }

    #[test]
    fn a_published_log_record_reads_and_writes() {
        let raw: [u8; 23] = decode("0001000000000000100266666666666620240411212121").unwrap();
        let record = LogRecord::parse(&raw).unwrap();
        assert_eq!((record.counter_after, record.amount.0, record.kind), (1, 16, TransactionType::Load));
        assert_eq!(record.to_bytes(), raw);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Fci::parse(&bytes);
            let _ = LogRecord::parse(&bytes);
            let _ = PublicData::parse(&bytes);
        }
    }
}
