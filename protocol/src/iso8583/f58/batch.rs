//! Field 58 of a batch upload (`docs/posp.md` section 5): `IT` says what the terminal counted, item by item; `DF` answers the end of the
//! upload with what the host found to differ. Refused: unknown sides and keys, items that end early.

use super::{F58Error, MAX_BYTES, tag};
use crate::bytes::{Reader, Writer};
use crate::ids::{SamTerminal, Stan, TermSeq};

/// Bytes of one item: side, key, amount.
const ITEM_BYTES: usize = 20;
/// Bytes of one difference: side, key, which amounts are there, both amounts.
const DIFFERENCE_BYTES: usize = 29;
/// Most items of one message.
pub const ITEMS_MAX: usize = (MAX_BYTES - 2) / ITEM_BYTES;
/// Most differences that one answer lists; it says how many there are in all.
pub const DIFFERENCES_MAX: usize = (MAX_BYTES - 4) / DIFFERENCE_BYTES;

/// Which total of field 48 an item counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemSide {
    /// Purchases, completions, offline records.
    Debit,
    /// Refunds and voids.
    Credit,
    /// Loads.
    Load,
}

/// How both sides name an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemName {
    /// An online transaction of the batch, by its trace.
    Trace(Stan),
    /// An offline record, by the SAM's number and sequence.
    Record(SamTerminal, TermSeq),
}

/// One item of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchItem {
    /// Where it counts.
    pub side: ItemSide,
    /// Which it is.
    pub name: ItemName,
    /// Minor units of the batch's currency.
    pub minor: u64,
}

/// One item on which terminal and host differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchDifference {
    /// Where it counts.
    pub side: ItemSide,
    /// Which it is.
    pub name: ItemName,
    /// The terminal's amount in minor units; `None`: the terminal does not have it.
    pub terminal: Option<u64>,
    /// The host's.
    pub host: Option<u64>,
}

fn put_head(writer: &mut Writer<'_>, side: ItemSide, name: ItemName) -> Result<(), F58Error> {
    writer.u8(match side {
        ItemSide::Debit => 1,
        ItemSide::Credit => 2,
        ItemSide::Load => 3,
    })?;
    match name {
        ItemName::Trace(trace) => {
            writer.put(&[1, 0, 0, 0, 0, 0, 0])?;
            writer.put(&trace.0.to_be_bytes())?;
        }
        ItemName::Record(sam, seq) => {
            writer.u8(2)?;
            writer.put(&sam.0)?;
            writer.put(&seq.0.to_be_bytes())?;
        }
    }
    Ok(())
}

fn head(reader: &mut Reader<'_>) -> Result<(ItemSide, ItemName), F58Error> {
    let side = match reader.u8()? {
        1 => ItemSide::Debit,
        2 => ItemSide::Credit,
        3 => ItemSide::Load,
        other => return Err(F58Error::Item(other)),
    };
    let (kind, sam, number) = (reader.u8()?, reader.array()?, reader.u32()?);
    match kind {
        1 if sam == [0; 6] => Ok((side, ItemName::Trace(Stan(number)))),
        2 => Ok((side, ItemName::Record(SamTerminal(sam), TermSeq(number)))),
        other => Err(F58Error::Item(other)),
    }
}

/// `IT`: what the terminal has in its batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchItems<'a>(Reader<'a>);

impl<'a> BatchItems<'a> {
    /// Its letters.
    pub const TAG: [u8; 2] = *b"IT";

    /// Reads the field; each item is checked as it is taken.
    ///
    /// # Errors
    /// Another record.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, F58Error> {
        let mut reader = Reader::new(bytes);
        tag(&mut reader, Self::TAG)?;
        Ok(Self(reader))
    }

    /// Writes at most [`ITEMS_MAX`] items and returns the length.
    ///
    /// # Errors
    /// More items, or `out` is too small.
    pub fn encode(items: &[BatchItem], out: &mut [u8]) -> Result<usize, F58Error> {
        if items.len() > ITEMS_MAX {
            return Err(F58Error::TooMany);
        }
        let mut writer = Writer::new(out);
        writer.put(&Self::TAG)?;
        for item in items {
            put_head(&mut writer, item.side, item.name)?;
            writer.put(&item.minor.to_be_bytes())?;
        }
        Ok(writer.len())
    }
}

impl Iterator for BatchItems<'_> {
    type Item = Result<BatchItem, F58Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let item =
            head(&mut self.0).and_then(|(side, name)| Ok(BatchItem { side, name, minor: self.0.u64()? }));
        if item.is_err() {
            // What follows an unreadable item has no beginning.
            self.0 = Reader::new(&[]);
        }
        Some(item)
    }
}

/// `DF`: on what the two sides differ.
#[derive(Clone, Copy, Debug)]
pub struct BatchDifferences<'a> {
    /// How many there are in all; the message lists the first of them.
    pub total: u16,
    reader: Reader<'a>,
}

impl<'a> BatchDifferences<'a> {
    /// Its letters.
    pub const TAG: [u8; 2] = *b"DF";

    /// Reads the field; each difference is checked as it is taken.
    ///
    /// # Errors
    /// Another record, or no count.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, F58Error> {
        let mut reader = Reader::new(bytes);
        tag(&mut reader, Self::TAG)?;
        Ok(Self { total: reader.u16()?, reader })
    }

    /// Writes how many there are, and the first [`DIFFERENCES_MAX`] of them; returns the length.
    ///
    /// # Errors
    /// `out` is too small.
    pub fn encode(total: u16, differences: &[BatchDifference], out: &mut [u8]) -> Result<usize, F58Error> {
        let mut writer = Writer::new(out);
        writer.put(&Self::TAG)?;
        writer.put(&total.to_be_bytes())?;
        for difference in differences.iter().take(DIFFERENCES_MAX) {
            put_head(&mut writer, difference.side, difference.name)?;
            let there = |amount: Option<u64>, bit: u8| if amount.is_some() { bit } else { 0 };
            writer.u8(there(difference.terminal, 1) | there(difference.host, 2))?;
            for amount in [difference.terminal, difference.host] {
                writer.put(&amount.unwrap_or_default().to_be_bytes())?;
            }
        }
        Ok(writer.len())
    }
}

impl Iterator for BatchDifferences<'_> {
    type Item = Result<BatchDifference, F58Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let read = |reader: &mut Reader<'_>| {
            let (side, name) = head(reader)?;
            let there = reader.u8()?;
            let (terminal, host) = (reader.u64()?, reader.u64()?);
            Ok(BatchDifference {
                side,
                name,
                terminal: (there & 1 != 0).then_some(terminal),
                host: (there & 2 != 0).then_some(host),
            })
        };
        let difference = read(&mut self.reader);
        if difference.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(difference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const SAM: ItemName = ItemName::Record(SamTerminal([1, 2, 3, 4, 5, 6]), TermSeq(0x0A0B_0C0D));

    #[test]
    fn items_read_back_and_what_is_cut_off_is_told() {
        let items = [
            BatchItem { side: ItemSide::Debit, name: SAM, minor: 1250 },
            BatchItem { side: ItemSide::Load, name: ItemName::Trace(Stan(999_999)), minor: u64::MAX },
        ];
        let mut out = [0; MAX_BYTES];
        let n = BatchItems::encode(&items, &mut out).unwrap();
        let read: Result<Vec<_>, _> = BatchItems::parse(&out[..n]).unwrap().collect();
        assert_eq!((n, read.unwrap().as_slice()), (42, &items[..]));
        for at in 3..n {
            let whole = (at - 2) % ITEM_BYTES == 0;
            let read: Result<Vec<_>, _> = BatchItems::parse(&out[..at]).unwrap().collect();
            assert_eq!(read.is_ok(), whole, "{at}");
        }
        out[2] = 4;
        assert_eq!(BatchItems::parse(&out[..n]).unwrap().next(), Some(Err(F58Error::Item(4))));
        assert!(BatchItems::parse(b"TA").is_err());
        let many = [items[0]; ITEMS_MAX + 1];
        assert!(BatchItems::encode(&many[..ITEMS_MAX], &mut out).is_ok());
        assert_eq!(BatchItems::encode(&many, &mut out), Err(F58Error::TooMany));
    }

    #[test]
    fn differences_read_back_and_more_than_fit_are_counted() {
        let differs = |terminal, host| BatchDifference { side: ItemSide::Credit, name: SAM, terminal, host };
        let all = [differs(Some(1), None), differs(None, Some(2)), differs(Some(0), Some(7))];
        let mut out = [0; MAX_BYTES];
        let n = BatchDifferences::encode(3, &all, &mut out).unwrap();
        let read = BatchDifferences::parse(&out[..n]).unwrap();
        assert_eq!(read.total, 3);
        assert_eq!(read.map(Result::unwrap).collect::<Vec<_>>(), all);
        let many = [all[0]; DIFFERENCES_MAX + 5];
        let n = BatchDifferences::encode(39, &many, &mut out).unwrap();
        let read = BatchDifferences::parse(&out[..n]).unwrap();
        assert_eq!((read.total, read.count()), (39, DIFFERENCES_MAX));
        assert!(BatchDifferences::parse(&out[..n - 1]).unwrap().any(|read| read.is_err()));
    }
}
