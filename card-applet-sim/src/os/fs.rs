//! Elementary files of an application: transparent, linear and cyclic (in a cyclic file record 1 is the newest).
//!
//! A file is a descriptor and its contents, each an object; a record is an object of its own, so that a debit writes one
//! record and not the whole log. Which commands may touch a file is for the application to say.

use super::{AppId, Change};
use crate::memory::{Batch, Memory, ObjectId};
use protocol::apdu::StatusWord;

const CLASS_DESCRIPTOR: u8 = 0x10;
const CLASS_TRANSPARENT: u8 = 0x11;
const CLASS_RECORD: u8 = 0x12;
const CLASS_HEAD: u8 = 0x13;

/// Structure of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// Bytes.
    Transparent,
    /// Records with numbers of their own; each keeps the length it was made with.
    Linear,
    /// The last `records` records, the newest first.
    Cyclic,
}

/// Who may change a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Only the application itself (a log).
    Never,
    /// The issuer, by secure messaging.
    Issuer,
}

/// A file's descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Application it belongs to.
    pub app: AppId,
    /// Short file identifier, 1 to 30.
    pub sfi: u8,
    /// Structure.
    pub structure: Structure,
    /// Length of the file (transparent) or of one record, in bytes.
    pub len: u8,
    /// Number of records; 0 in a transparent file.
    pub records: u8,
    /// Who may change it.
    pub update: Update,
}

impl File {
    /// Makes the file on a card being personalised, with its first contents (transparent) or records in order.
    pub fn create(&self, batch: &mut Batch, contents: &[&[u8]]) {
        let structure = match self.structure {
            Structure::Transparent => 0,
            Structure::Linear => 1,
            Structure::Cyclic => 2,
        };
        let update = u8::from(self.update == Update::Issuer);
        batch.put(
            self.app.object(CLASS_DESCRIPTOR, self.sfi, 0),
            &[structure, self.len, self.records, update],
        );
        match self.structure {
            Structure::Transparent => {
                let mut bytes = contents.concat();
                bytes.resize(usize::from(self.len), 0);
                batch.put(self.contents(), &bytes);
            }
            Structure::Linear => {
                for (number, record) in (1..).zip(contents) {
                    batch.put(self.record(number), record);
                }
            }
            Structure::Cyclic => {
                batch.put(self.head(), &[0, 0]);
            }
        }
    }

    /// The file of this identifier.
    ///
    /// # Errors
    /// 6A82.
    pub fn find(memory: &dyn Memory, app: AppId, sfi: u8) -> Result<Self, StatusWord> {
        match memory.get(app.object(CLASS_DESCRIPTOR, sfi, 0)) {
            Some([structure, len, records, update]) => Ok(Self {
                app,
                sfi,
                structure: match structure {
                    0 => Structure::Transparent,
                    1 => Structure::Linear,
                    _ => Structure::Cyclic,
                },
                len: *len,
                records: *records,
                update: if *update == 1 { Update::Issuer } else { Update::Never },
            }),
            _ => Err(StatusWord::FILE_NOT_FOUND),
        }
    }

    const fn contents(&self) -> ObjectId {
        self.app.object(CLASS_TRANSPARENT, self.sfi, 0)
    }

    const fn record(&self, number: u8) -> ObjectId {
        self.app.object(CLASS_RECORD, self.sfi, number)
    }

    const fn head(&self) -> ObjectId {
        self.app.object(CLASS_HEAD, self.sfi, 0)
    }

    /// The bytes of a transparent file.
    ///
    /// # Errors
    /// 6981 for a file of records.
    pub fn bytes<'m>(&self, memory: &'m dyn Memory) -> Result<&'m [u8], StatusWord> {
        if self.structure != Structure::Transparent {
            return Err(StatusWord::INCOMPATIBLE_FILE);
        }
        memory.get(self.contents()).ok_or(StatusWord::UNKNOWN)
    }

    /// Overwrites part of a transparent file.
    ///
    /// # Errors
    /// 6981 for a file of records, 6B00 outside the file.
    pub fn update_bytes(
        &self,
        change: &mut Change<'_>,
        offset: usize,
        data: &[u8],
    ) -> Result<(), StatusWord> {
        if self.structure != Structure::Transparent {
            return Err(StatusWord::INCOMPATIBLE_FILE);
        }
        let mut bytes = change.get(self.contents()).ok_or(StatusWord::UNKNOWN)?;
        let end = offset.checked_add(data.len()).ok_or(StatusWord::WRONG_OFFSET)?;
        bytes.get_mut(offset..end).ok_or(StatusWord::WRONG_OFFSET)?.copy_from_slice(data);
        change.put(self.contents(), &bytes);
        Ok(())
    }

    /// The slot of a cyclic file that record `number` (1 is the newest) stands in, counted from 1.
    fn slot(&self, head: &[u8], number: u8) -> Option<u8> {
        let [next, used] = head else { return None };
        let back = number.checked_sub(1)?;
        if number > *used || *used > self.records {
            return None;
        }
        let newest = u16::from(*next) + u16::from(self.records) - 1;
        let index = (newest - u16::from(back)) % u16::from(self.records);
        u8::try_from(index + 1).ok()
    }

    /// The object of a record by number.
    fn object_of(&self, number: u8, head: Option<&[u8]>) -> Result<ObjectId, StatusWord> {
        match self.structure {
            Structure::Transparent => Err(StatusWord::INCOMPATIBLE_FILE),
            Structure::Linear if number == 0 || number > self.records => Err(StatusWord::RECORD_NOT_FOUND),
            Structure::Linear => Ok(self.record(number)),
            Structure::Cyclic => head
                .and_then(|head| self.slot(head, number))
                .map(|slot| self.record(slot))
                .ok_or(StatusWord::RECORD_NOT_FOUND),
        }
    }

    /// A record by number.
    ///
    /// # Errors
    /// 6981 for a transparent file, 6A83.
    pub fn read_record<'m>(&self, memory: &'m dyn Memory, number: u8) -> Result<&'m [u8], StatusWord> {
        let id = self.object_of(number, memory.get(self.head()))?;
        memory.get(id).ok_or(StatusWord::RECORD_NOT_FOUND)
    }

    /// The number of the record with this identifier: its second byte, as in the transit process record.
    ///
    /// # Errors
    /// 6981 for a file that is not linear, 6A83.
    pub fn number_of(&self, memory: &dyn Memory, identifier: u8) -> Result<u8, StatusWord> {
        if self.structure != Structure::Linear {
            return Err(StatusWord::INCOMPATIBLE_FILE);
        }
        (1..=self.records)
            .find(|number| memory.get(self.record(*number)).and_then(|r| r.get(1)) == Some(&identifier))
            .ok_or(StatusWord::RECORD_NOT_FOUND)
    }

    /// Replaces a record by one of the same length.
    ///
    /// # Errors
    /// 6981 for a transparent file, 6A83, 6700 for another length.
    pub fn update_record(&self, change: &mut Change<'_>, number: u8, data: &[u8]) -> Result<(), StatusWord> {
        let head = change.get(self.head());
        let id = self.object_of(number, head.as_deref().map(Vec::as_slice))?;
        let old = change.get(id).ok_or(StatusWord::RECORD_NOT_FOUND)?;
        if old.len() != data.len() {
            return Err(StatusWord::WRONG_LENGTH);
        }
        change.put(id, data);
        Ok(())
    }

    /// Adds the newest record to a cyclic file; the oldest goes.
    ///
    /// # Errors
    /// 6981 for another file, 6700 for another length.
    pub fn append(&self, change: &mut Change<'_>, data: &[u8]) -> Result<(), StatusWord> {
        if self.structure != Structure::Cyclic || self.records == 0 {
            return Err(StatusWord::INCOMPATIBLE_FILE);
        }
        if data.len() != usize::from(self.len) {
            return Err(StatusWord::WRONG_LENGTH);
        }
        let head = change.get(self.head()).ok_or(StatusWord::UNKNOWN)?;
        let [next, used] = head.as_slice() else { return Err(StatusWord::UNKNOWN) };
        let slot = next % self.records;
        change.put(self.record(slot + 1), data);
        change.put(self.head(), &[(slot + 1) % self.records, used.saturating_add(1).min(self.records)]);
        Ok(())
    }
}
