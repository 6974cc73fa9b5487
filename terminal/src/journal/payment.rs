//! One row a payment: what the entries amount to. The same rules write the rows and, in `doctor`, check them.

use super::StoreFault;
use flow::record::{CardId, DebitIntent, JournalEntry, RecordId, Resolution, Uncertainty};
use protocol::hex::Hex;
use protocol::ids::{Asn, BatchNo, IssuerId, SamTerminal, TermSeq};
use protocol::money::{Amount, Currency};
use protocol::time::Wall;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;

/// How a payment stands. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Its debit was sent, or was about to be, and what became of it is not known yet.
    Open = 1,
    /// Taken, and proven to this terminal's SAM.
    Done = 2,
    /// Nothing was taken.
    Void = 3,
    /// The backend decides.
    Uncertain = 4,
    /// The backend decides; the card gave a wrong MAC2.
    WrongProof = 5,
    /// Taken by what the card shows; the backend checks it.
    Unverified = 6,
}

impl State {
    const ALL: [Self; 6] =
        [Self::Open, Self::Done, Self::Void, Self::Uncertain, Self::WrongProof, Self::Unverified];

    /// What a resolution makes of an open payment.
    #[must_use]
    pub const fn after(resolution: &Resolution) -> Self {
        match resolution {
            Resolution::Done { .. } => Self::Done,
            Resolution::RecoveredUnverified { .. } => Self::Unverified,
            Resolution::Void => Self::Void,
            Resolution::Uncertain { why: Uncertainty::Mac2Wrong, .. } => Self::WrongProof,
            Resolution::Uncertain { .. } => Self::Uncertain,
        }
    }

    /// Whether its outcome is not known here.
    #[must_use]
    pub const fn is_uncertain(self) -> bool {
        matches!(self, Self::Open | Self::Uncertain | Self::WrongProof)
    }

    /// Whether the money counts as taken.
    #[must_use]
    pub const fn is_taken(self) -> bool {
        matches!(self, Self::Done | Self::Unverified)
    }

    fn from_number(number: u8) -> Result<Self, StoreFault> {
        let found = Self::ALL.into_iter().find(|state| *state as u8 == number);
        found.ok_or_else(|| StoreFault::Damaged(format!("a payment is in state {number}")))
    }
}

/// A payment as the journal lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Its number: that of its intent.
    pub id: RecordId,
    /// How it stands.
    pub state: State,
    /// The card.
    pub card: CardId,
    /// What was to be taken.
    pub amount: Amount,
    /// The SAM's terminal number.
    pub terminal: SamTerminal,
    /// The SAM's sequence number.
    pub term_seq: TermSeq,
    /// Local date, `YYYY-MM-DD`.
    pub date: String,
    /// Local time, `HH:MM:SS`.
    pub time: String,
    /// The card's proof for the issuer, in hexadecimal.
    pub tac: Option<String>,
    /// The host's code for it as it stands, and the batch it was uploaded in; `None`: it waits to be uploaded.
    pub upload: Option<(String, BatchNo)>,
    /// The entry that resolved it, and when that was written.
    resolved: Option<(RecordId, Wall)>,
}

/// The columns of [`Payment::read`], in order.
pub(super) const COLUMNS: &str = "id, state, issuer, card, amount, currency, terminal, term_seq, local_date, local_time, tac, \
                                  resolution, resolved_ms, upload_code, upload_batch";

impl Payment {
    fn begun(id: RecordId, intent: &DebitIntent) -> Self {
        Self {
            id,
            state: State::Open,
            card: intent.card,
            amount: intent.amount.in_currency(intent.currency),
            terminal: intent.terminal,
            term_seq: intent.term_seq,
            date: intent.moment.date.to_string(),
            time: intent.moment.time.to_string(),
            tac: None,
            upload: None,
            resolved: None,
        }
    }

    fn resolve(&mut self, id: RecordId, resolution: &Resolution, wall: Wall) -> Result<(), StoreFault> {
        if self.state != State::Open {
            return Err(StoreFault::Damaged(format!("payment {} was resolved twice", self.id.0)));
        }
        self.state = State::after(resolution);
        self.tac = match resolution {
            Resolution::Done { tac } | Resolution::RecoveredUnverified { tac } => Some(tac),
            Resolution::Uncertain { tac, .. } => tac.as_ref(),
            Resolution::Void => None,
        }
        .map(|tac| Hex(tac.as_bytes()).to_string());
        self.resolved = Some((id, wall));
        // What the host answered was about an uncertain payment: it is to be told anew.
        self.upload = None;
        Ok(())
    }

    /// From a row with [`COLUMNS`].
    pub(super) fn read(row: &Row<'_>) -> Result<Self, StoreFault> {
        let currency = Currency::from_numeric(row.get(5)?)
            .ok_or_else(|| StoreFault::Damaged("a payment has an unknown currency".into()))?;
        let resolution: Option<u64> = row.get(11)?;
        let resolved_ms: Option<i64> = row.get(12)?;
        let upload_code: Option<String> = row.get(13)?;
        let upload_batch: Option<u32> = row.get(14)?;
        Ok(Self {
            id: RecordId(row.get(0)?),
            state: State::from_number(row.get(1)?)?,
            card: CardId { issuer: IssuerId(row.get(2)?), asn: Asn(row.get(3)?) },
            amount: Amount::new(row.get(4)?, currency),
            terminal: SamTerminal(row.get(6)?),
            term_seq: TermSeq(row.get(7)?),
            date: row.get(8)?,
            time: row.get(9)?,
            tac: row.get(10)?,
            upload: upload_code.zip(upload_batch.map(BatchNo)),
            resolved: resolution.map(RecordId).zip(resolved_ms.map(Wall)),
        })
    }

    fn write(&self, db: &Connection) -> Result<(), StoreFault> {
        // By its number only: another payment of the card must never give way.
        let sql = format!(
            "INSERT INTO payment ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT (id) DO UPDATE SET state = ?2, tac = ?11, resolution = ?12, resolved_ms = ?13,
                 upload_code = ?14, upload_batch = ?15"
        );
        db.prepare_cached(&sql)?.execute(params![
            self.id.0,
            self.state as u8,
            self.card.issuer.0,
            self.card.asn.0,
            self.amount.minor(),
            self.amount.currency().numeric(),
            self.terminal.0,
            self.term_seq.0,
            self.date,
            self.time,
            self.tac,
            self.resolved.map(|(id, _)| id.0),
            self.resolved.map(|(_, wall)| wall.0),
            self.upload.as_ref().map(|(code, _)| code),
            self.upload.as_ref().map(|(_, batch)| batch.0),
        ])?;
        Ok(())
    }
}

/// The payment with this number.
pub(super) fn by_id(db: &Connection, id: RecordId) -> Result<Option<Payment>, StoreFault> {
    let mut statement = db.prepare_cached(&format!("SELECT {COLUMNS} FROM payment WHERE id = ?1"))?;
    let mut rows = statement.query([id.0])?;
    rows.next()?.map(Payment::read).transpose()
}

/// The number of the card's open debit.
pub(super) fn open_of(db: &Connection, card: &CardId) -> Result<Option<RecordId>, StoreFault> {
    let sql = "SELECT id FROM payment WHERE card = ?1 AND issuer = ?2 AND state = 1";
    let found =
        db.prepare_cached(sql)?.query_row(params![card.asn.0, card.issuer.0], |row| row.get(0)).optional()?;
    Ok(found.map(RecordId))
}

/// Whether a wrong MAC2 of the card was recorded since `since`.
pub(super) fn wrong_proof_between(
    db: &Connection,
    card: &CardId,
    (since, until): (Wall, Wall),
) -> Result<bool, StoreFault> {
    let sql = "SELECT 1 FROM payment WHERE card = ?1 AND issuer = ?2 AND state = 5
               AND resolved_ms > ?3 AND resolved_ms < ?4";
    Ok(db.prepare_cached(sql)?.exists(params![card.asn.0, card.issuer.0, since.0, until.0])?)
}

/// Whether another card of this card's issuer paid and proved it to this SAM. Asked after a refusal only, so that reading
/// through a journal of another SAM's payments costs nobody a tap.
pub(super) fn proven_to(db: &Connection, sam: SamTerminal, card: &CardId) -> Result<bool, StoreFault> {
    let sql = "SELECT 1 FROM payment WHERE state = 2 AND terminal = ?1 AND issuer = ?2 AND card <> ?3
               ORDER BY id DESC LIMIT 1";
    Ok(db.prepare_cached(sql)?.exists(params![sam.0, card.issuer.0, card.asn.0])?)
}

/// The payments that the host booked in this batch, oldest first: those whose upload it approved, but for void ones.
pub(super) fn booked_in(db: &Connection, batch: BatchNo) -> Result<Vec<Payment>, StoreFault> {
    let sql = format!(
        "SELECT {COLUMNS} FROM payment WHERE upload_batch = ?1 AND upload_code = '00' AND state <> 3 ORDER BY id"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([batch.0])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Payment::read(row)?);
    }
    Ok(found)
}

/// Brings the row of a payment to what `record` makes of it.
pub(super) fn project(
    db: &Connection,
    record: &JournalEntry,
    id: RecordId,
    wall: Wall,
) -> Result<(), StoreFault> {
    match record {
        JournalEntry::Intent(intent) => {
            if open_of(db, &intent.card)?.is_some() {
                return Err(StoreFault::Damaged("another debit of this card is open".into()));
            }
            Payment::begun(id, intent).write(db)
        }
        JournalEntry::Resolved { intent, resolution } => {
            let mut payment = by_id(db, *intent)?
                .ok_or_else(|| StoreFault::Damaged(format!("there is no payment {}", intent.0)))?;
            payment.resolve(id, resolution, wall)?;
            payment.write(db)
        }
        JournalEntry::Uploaded { intent, code, batch } => {
            let mut payment = by_id(db, *intent)?
                .ok_or_else(|| StoreFault::Damaged(format!("there is no payment {}", intent.0)))?;
            payment.upload = Some((code.to_string(), *batch));
            payment.write(db)
        }
        _ => Ok(()),
    }
}

/// The payments as the entries alone make them, for comparison with the rows.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<u64, Payment>);

impl Ledger {
    pub(super) fn apply(
        &mut self,
        id: RecordId,
        record: &JournalEntry,
        wall: Wall,
    ) -> Result<(), StoreFault> {
        match record {
            JournalEntry::Intent(intent) => {
                self.0.insert(id.0, Payment::begun(id, intent));
                Ok(())
            }
            JournalEntry::Resolved { intent, resolution } => match self.0.get_mut(&intent.0) {
                Some(payment) => payment.resolve(id, resolution, wall),
                None => Err(StoreFault::Damaged(format!("entry {} resolves nothing", id.0))),
            },
            JournalEntry::Uploaded { intent, code, batch } => match self.0.get_mut(&intent.0) {
                Some(payment) => {
                    payment.upload = Some((code.to_string(), *batch));
                    Ok(())
                }
                None => Err(StoreFault::Damaged(format!("entry {} is about no payment", id.0))),
            },
            _ => Ok(()),
        }
    }

    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn open(&self) -> u64 {
        let open = self.0.values().filter(|payment| payment.state == State::Open).count();
        u64::try_from(open).unwrap_or(u64::MAX)
    }

    /// Every row must be what the entries make of it, and no other row may be there.
    pub(super) fn compare(&self, db: &Connection) -> Result<(), StoreFault> {
        let mut statement = db.prepare(&format!("SELECT {COLUMNS} FROM payment ORDER BY id"))?;
        let mut rows = statement.query([])?;
        let mut expected = self.0.values();
        loop {
            let damaged = |id: RecordId| {
                Err(StoreFault::Damaged(format!("payment {} is not what its entries say", id.0)))
            };
            match (expected.next(), rows.next()?.map(Payment::read).transpose()?) {
                (None, None) => return Ok(()),
                (Some(payment), Some(row)) if *payment == row => {}
                (Some(payment), _) => return damaged(payment.id),
                (None, Some(row)) => return damaged(row.id),
            }
        }
    }
}
