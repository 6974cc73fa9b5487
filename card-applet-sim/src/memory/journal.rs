//! Objects on a medium as a journal: every commit is one checksummed record, appended and synced; what is not a whole
//! record did not happen.
//!
//! Layout (all integers big-endian), fixed in length so that a full disk cannot stop a card that exists:
//!
//! ```text
//! 0      header, 32 bytes: magic "TLCARDNV" 8, version 2, zero 2, area length 4, zero 8, checksum 8
//! 512    area A    } records one after the other; the first is a snapshot of everything
//! 512+L  area B    }
//! record: magic "TLR1" 4, body length 4, generation 4, sequence 8, kind 1 (1 snapshot, 2 changes), zero 3,
//!         body, checksum 8 (first 8 bytes of SHA-256 over all before it)
//! body:   entries: object 4, length 2 (FFFF: removed), bytes
//! ```
//!
//! When an area is full the next commit writes a snapshot (with its changes in it) at the front of the other area under
//! the next generation. So a commit is always one write and one sync, and the record alone decides: before or after.
//! A torn record can only be the last one. A broken record *before* a good one is damage, and is refused: skipping it
//! would roll a balance back.

use super::{Batch, Image, Medium, Memory, MemoryFault, ObjectId};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use zeroize::Zeroizing;

/// Version of the layout above; another one is refused.
pub const FORMAT_VERSION: u16 = 1;
/// Length of each of the two areas, in bytes.
pub const AREA_LEN: usize = 32 * 1024;

const MAGIC: &[u8; 8] = b"TLCARDNV";
const RECORD_MAGIC: &[u8; 4] = b"TLR1";
const HEADER_LEN: usize = 32;
const AREAS_AT: usize = 512;
const RECORD_HEAD: usize = 24;
const CHECKSUM: usize = 8;
const REMOVED: u16 = 0xFFFF;
/// A snapshot may fill this much of an area, so that changes fit behind it.
const MAX_SNAPSHOT: usize = AREA_LEN / 2;

/// [`Memory`] on a [`Medium`].
pub struct JournalMemory<M> {
    medium: M,
    image: Image,
    place: Place,
    /// After a fault that left the state unknown nothing is committed until the medium was read again.
    usable: bool,
}

/// Where the next record goes.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    area: usize,
    offset: usize,
    generation: u32,
    sequence: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Snapshot = 1,
    Changes = 2,
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    protocol::crypto::left8([
        digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7], 0, 0, 0, 0,
        0, 0, 0, 0,
    ])
}

fn header() -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_be_bytes());
    bytes[12..16].copy_from_slice(&u32::try_from(AREA_LEN).unwrap_or(u32::MAX).to_be_bytes());
    let sum = checksum(&bytes[..24]);
    bytes[24..].copy_from_slice(&sum);
    bytes
}

fn area_at(area: usize) -> usize {
    AREAS_AT + area * AREA_LEN
}

impl<M: Medium> JournalMemory<M> {
    /// Makes a new, empty memory on `medium`, over whatever was there.
    ///
    /// # Errors
    /// The medium does not take it.
    pub fn format(mut medium: M) -> Result<Self, MemoryFault> {
        let mut whole = vec![0; area_at(2)];
        if let Some(front) = whole.get_mut(..HEADER_LEN) {
            front.copy_from_slice(&header());
        }
        let place = Place { area: 0, offset: 0, generation: 1, sequence: 1 };
        let record = encode(Kind::Snapshot, place, &Image::default(), &Batch::new());
        if let Some(slot) = whole.get_mut(AREAS_AT..AREAS_AT + record.len()) {
            slot.copy_from_slice(&record);
        }
        medium.write_at(0, &whole)?;
        medium.sync()?;
        Self::open(medium)
    }

    /// Opens the memory on `medium`: a torn last record is dropped.
    ///
    /// # Errors
    /// The medium cannot be read, holds another format, or is damaged.
    pub fn open(medium: M) -> Result<Self, MemoryFault> {
        let mut memory = Self { medium, image: Image::default(), place: Place::default(), usable: false };
        memory.power_on()?;
        Ok(memory)
    }

    /// The medium under it.
    pub const fn medium_mut(&mut self) -> &mut M {
        &mut self.medium
    }

    fn append(&mut self, batch: &Batch) -> Result<(), MemoryFault> {
        let here = Place { sequence: self.place.sequence.saturating_add(1), ..self.place };
        let record = encode(Kind::Changes, here, &Image::default(), batch);
        if here.offset + record.len() > AREA_LEN {
            return self.start_other_area(batch);
        }
        self.write(here, &record)
    }

    fn start_other_area(&mut self, batch: &Batch) -> Result<(), MemoryFault> {
        let mut image = self.image.clone();
        image.apply(batch);
        let here = Place {
            area: 1 - self.place.area,
            offset: 0,
            generation: self.place.generation.saturating_add(1),
            sequence: self.place.sequence.saturating_add(1),
        };
        let record = encode(Kind::Snapshot, here, &image, &Batch::new());
        if record.len() > MAX_SNAPSHOT {
            return Err(MemoryFault::Refused(format!("image would exceed {MAX_SNAPSHOT} bytes")));
        }
        self.write(here, &record)
    }

    fn write(&mut self, here: Place, record: &[u8]) -> Result<(), MemoryFault> {
        self.medium.write_at(area_at(here.area) + here.offset, record)?;
        self.medium.sync()?;
        self.place = Place { offset: here.offset + record.len(), ..here };
        Ok(())
    }
}

impl<M: Medium> Memory for JournalMemory<M> {
    fn get(&self, id: ObjectId) -> Option<&[u8]> {
        self.image.get(id)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), MemoryFault> {
        if !self.usable {
            return Err(MemoryFault::Lost("not powered up since the last fault".into()));
        }
        batch.check()?;
        if batch.is_empty() {
            return Ok(());
        }
        match self.append(batch) {
            Ok(()) => {
                self.image.apply(batch);
                Ok(())
            }
            Err(refused @ MemoryFault::Refused(_)) => Err(refused),
            Err(fault) => {
                self.usable = false;
                Err(fault)
            }
        }
    }

    fn power_on(&mut self) -> Result<(), MemoryFault> {
        self.usable = false;
        let whole = self.medium.read_all()?;
        let loaded = load(&whole);
        if let Cow::Owned(copy) = whole {
            // It holds the card's keys.
            drop(Zeroizing::new(copy));
        }
        let (image, place) = loaded?;
        self.image = image;
        self.place = place;
        self.usable = true;
        Ok(())
    }
}

fn encode(kind: Kind, place: Place, image: &Image, batch: &Batch) -> Zeroizing<Vec<u8>> {
    let mut body = Zeroizing::new(Vec::new());
    for (id, bytes) in &image.0 {
        put_entry(&mut body, *id, Some(bytes));
    }
    for (id, bytes) in &batch.changes {
        put_entry(&mut body, *id, bytes.as_deref().map(Vec::as_slice));
    }
    let mut record = Zeroizing::new(Vec::with_capacity(RECORD_HEAD + body.len() + CHECKSUM));
    record.extend_from_slice(RECORD_MAGIC);
    record.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    record.extend_from_slice(&place.generation.to_be_bytes());
    record.extend_from_slice(&place.sequence.to_be_bytes());
    record.extend_from_slice(&[kind as u8, 0, 0, 0]);
    record.extend_from_slice(&body);
    let sum = checksum(&record);
    record.extend_from_slice(&sum);
    record
}

fn put_entry(body: &mut Vec<u8>, id: ObjectId, bytes: Option<&[u8]>) {
    body.extend_from_slice(&id.to_bytes());
    let len = bytes.map_or(REMOVED, |b| u16::try_from(b.len()).unwrap_or(REMOVED - 1));
    body.extend_from_slice(&len.to_be_bytes());
    body.extend_from_slice(bytes.unwrap_or_default());
}

/// A whole record found in an area.
struct Record<'a> {
    kind: Kind,
    generation: u32,
    sequence: u64,
    body: &'a [u8],
    len: usize,
}

/// The record at the front of `bytes`, if it is whole.
fn parse(bytes: &[u8]) -> Option<Record<'_>> {
    let mut reader = protocol::bytes::Reader::new(bytes);
    if reader.array::<4>().ok()? != *RECORD_MAGIC {
        return None;
    }
    let body_len = usize::try_from(reader.u32().ok()?).ok()?;
    let generation = reader.u32().ok()?;
    let sequence = reader.u64().ok()?;
    let kind = match reader.array::<4>().ok()? {
        [1, 0, 0, 0] => Kind::Snapshot,
        [2, 0, 0, 0] => Kind::Changes,
        _ => return None,
    };
    let body = reader.take(body_len).ok()?;
    let covered = reader.offset();
    let sum = reader.array::<CHECKSUM>().ok()?;
    let whole = checksum(bytes.get(..covered)?) == sum;
    whole.then_some(Record { kind, generation, sequence, body, len: covered + CHECKSUM })
}

/// The entries of a body as a batch.
fn changes(body: &[u8]) -> Result<Batch, MemoryFault> {
    let bad = |_| MemoryFault::Damaged("a record with a right checksum and wrong entries".into());
    let mut reader = protocol::bytes::Reader::new(body);
    let mut batch = Batch::new();
    while !reader.is_empty() {
        let id = ObjectId::from_bytes(reader.array().map_err(bad)?);
        match reader.u16().map_err(bad)? {
            REMOVED => batch.delete(id),
            len => batch.put(id, reader.take(usize::from(len)).map_err(bad)?),
        };
    }
    Ok(batch)
}

/// Everything on the medium: the newest area, replayed.
fn load(whole: &[u8]) -> Result<(Image, Place), MemoryFault> {
    let damaged = |text: &str| MemoryFault::Damaged(text.into());
    let front = whole.get(..HEADER_LEN).ok_or_else(|| damaged("shorter than its header"))?;
    if front.get(..8) != Some(MAGIC.as_slice()) {
        return Err(damaged("not a card memory file"));
    }
    if front != header() {
        let version = front.get(8..10).map_or(0, |v| u16::from_be_bytes([v[0], v[1]]));
        return Err(MemoryFault::Damaged(if version == FORMAT_VERSION {
            "its header has a wrong checksum".into()
        } else {
            format!("layout version {version} is not {FORMAT_VERSION}: use the release that wrote it")
        }));
    }
    let area = |index: usize| whole.get(area_at(index)..area_at(index + 1)).unwrap_or_default();
    let snapshot =
        |index: usize| parse(area(index)).filter(|r| r.kind == Kind::Snapshot).map(|r| r.generation);
    let newest = match (snapshot(0), snapshot(1)) {
        (None, None) => return Err(damaged("no snapshot is whole")),
        (Some(_), None) => 0,
        (None, Some(_)) => 1,
        (Some(a), Some(b)) => usize::from(b > a),
    };
    let (image, place) = replay(area(newest), newest)?;
    if newer_record_behind(area(1 - newest), place) {
        return Err(damaged("the newest snapshot is broken"));
    }
    Ok((image, place))
}

/// Applies the records of an area up to the first that is not whole.
fn replay(area: &[u8], index: usize) -> Result<(Image, Place), MemoryFault> {
    let mut image = Image::default();
    let mut place = Place { area: index, ..Place::default() };
    while let Some(record) = area.get(place.offset..).and_then(parse) {
        let first = place.offset == 0;
        // What follows the last record may be left over from an older generation of this area.
        if !first && (record.generation != place.generation || record.sequence != place.sequence + 1) {
            break;
        }
        image.apply(&changes(record.body)?);
        place = Place {
            area: index,
            offset: place.offset + record.len,
            generation: record.generation,
            sequence: record.sequence,
        };
    }
    if newer_record_behind(area.get(place.offset..).unwrap_or_default(), place) {
        return Err(MemoryFault::Damaged("a record before the last one is broken".into()));
    }
    Ok((image, place))
}

/// Whether a whole record written after `place` lies anywhere in `bytes`: then something before it was lost.
fn newer_record_behind(bytes: &[u8], place: Place) -> bool {
    magic_positions(bytes)
        .filter_map(|at| bytes.get(at..).and_then(parse))
        .any(|record| record.generation >= place.generation && record.sequence > place.sequence)
}

/// Where a record may begin. Most of an area is empty or old: blocks without the magic's first byte are passed over whole,
/// since every power-up looks here.
fn magic_positions(bytes: &[u8]) -> impl Iterator<Item = usize> {
    const BLOCK: usize = 256;
    let blocks = bytes.chunks(BLOCK).enumerate().filter(|(_, block)| block.contains(&RECORD_MAGIC[0]));
    let candidates = blocks.flat_map(|(index, block)| (0..block.len()).map(move |at| index * BLOCK + at));
    candidates.filter(|at| bytes.get(*at..).is_some_and(|rest| rest.starts_with(RECORD_MAGIC)))
}

#[cfg(test)]
mod tests;
