//! One row a load: what the entries amount to. The same rules write the rows and, in `doctor`, check them.

use super::StoreFault;
use flow::record::{CardId, JournalEntry, LoadIntent, LoadState, RecordId};
use protocol::hex::Hex;
use protocol::ids::{Asn, BatchNo, IssuerId, Stan};
use protocol::money::{Amount, Currency};
use rusqlite::{Connection, Row, params};
use std::collections::BTreeMap;

/// How a load stands. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LoadStanding {
    /// It was asked for, or was about to be: its reversal is due.
    Sent = 1,
    /// The host consented, and the card was not credited: its reversal is due.
    Answered = 2,
    /// The card was about to be credited: its next tap tells.
    CreditSent = 3,
    /// The card was credited; the host is to be told.
    Credited = 4,
    /// The card was not credited: its reversal is due.
    Refused = 5,
    /// The card cannot tell: the host is to decide.
    Unknown = 6,
    /// The host declined.
    Declined = 7,
    /// The host took it back.
    Reversed = 8,
    /// The card was credited, and the host knows.
    Confirmed = 9,
    /// The card could not tell, and the host decides.
    Reported = 10,
}

impl LoadStanding {
    const ALL: [Self; 10] = [
        Self::Sent,
        Self::Answered,
        Self::CreditSent,
        Self::Credited,
        Self::Refused,
        Self::Unknown,
        Self::Declined,
        Self::Reversed,
        Self::Confirmed,
        Self::Reported,
    ];

    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Answered => "answered",
            Self::CreditSent => "credit-sent",
            Self::Credited => "credited",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Declined => "declined",
            Self::Reversed => "reversed",
            Self::Confirmed => "confirmed",
            Self::Reported => "reported",
        }
    }

    /// Whether the money is on the card.
    #[must_use]
    pub const fn is_loaded(self) -> bool {
        matches!(self, Self::Credited | Self::Confirmed)
    }

    /// Whether its outcome is not known here.
    #[must_use]
    pub const fn is_uncertain(self) -> bool {
        matches!(self, Self::CreditSent | Self::Unknown | Self::Reported)
    }

    /// Whether nothing more can become of it.
    const fn is_end(self) -> bool {
        matches!(self, Self::Declined | Self::Reversed | Self::Confirmed | Self::Reported)
    }

    fn from_number(number: u8) -> Result<Self, StoreFault> {
        let found = Self::ALL.into_iter().find(|state| *state as u8 == number);
        found.ok_or_else(|| StoreFault::Damaged(format!("a load is in state {number}")))
    }
}

/// A load as the journal lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its number: that of its intent.
    pub id: RecordId,
    /// How it stands.
    pub state: LoadStanding,
    /// The card.
    pub card: CardId,
    /// What was to be loaded.
    pub amount: Amount,
    /// The batch of its request.
    pub batch: BatchNo,
    /// The trace number of its request.
    pub trace: Stan,
    /// Local date of the request, `YYYY-MM-DD`.
    pub date: String,
    /// Local time of the request, `HH:MM:SS`.
    pub time: String,
    /// The host's reference, once it consented.
    pub reference: Option<String>,
    /// The card's proof for the issuer, in hexadecimal.
    pub tac: Option<String>,
    /// The host's last code about it.
    pub code: Option<String>,
    /// The entry of its last state.
    last: RecordId,
}

const COLUMNS: &str = "id, state, issuer, card, amount, currency, batch, trace, local_date, local_time, reference, tac, \
                       code, last";

impl Load {
    fn begun(id: RecordId, intent: &LoadIntent) -> Self {
        Self {
            id,
            state: LoadStanding::Sent,
            card: intent.card,
            amount: intent.amount.in_currency(intent.currency),
            batch: intent.numbers.batch,
            trace: intent.numbers.trace,
            date: intent.moment.date.to_string(),
            time: intent.moment.time.to_string(),
            reference: None,
            tac: None,
            code: None,
            last: id,
        }
    }

    fn becomes(&mut self, id: RecordId, state: &LoadState) -> Result<(), StoreFault> {
        if self.state.is_end() {
            return Err(StoreFault::Damaged(format!("load {} ended twice", self.id.0)));
        }
        self.last = id;
        self.state = match state {
            LoadState::Answered { reference, .. } => {
                self.reference = Some(reference.to_string());
                LoadStanding::Answered
            }
            LoadState::CreditSent => LoadStanding::CreditSent,
            LoadState::Credited { tac } => {
                self.tac = Some(Hex(tac.as_bytes()).to_string());
                LoadStanding::Credited
            }
            LoadState::Refused { .. } => LoadStanding::Refused,
            LoadState::Unknown => LoadStanding::Unknown,
            LoadState::Declined { code } => {
                self.code = Some(code.to_string());
                LoadStanding::Declined
            }
            LoadState::Reversed => LoadStanding::Reversed,
            LoadState::Confirmed { code } => {
                self.code = Some(code.to_string());
                if self.tac.is_some() { LoadStanding::Confirmed } else { LoadStanding::Reported }
            }
        };
        Ok(())
    }

    fn read(row: &Row<'_>) -> Result<Self, StoreFault> {
        let currency = Currency::from_numeric(row.get(5)?)
            .ok_or_else(|| StoreFault::Damaged("a load has an unknown currency".into()))?;
        Ok(Self {
            id: RecordId(row.get(0)?),
            state: LoadStanding::from_number(row.get(1)?)?,
            card: CardId { issuer: IssuerId(row.get(2)?), asn: Asn(row.get(3)?) },
            amount: Amount::new(row.get(4)?, currency),
            batch: BatchNo(row.get(6)?),
            trace: Stan(row.get(7)?),
            date: row.get(8)?,
            time: row.get(9)?,
            reference: row.get(10)?,
            tac: row.get(11)?,
            code: row.get(12)?,
            last: RecordId(row.get(13)?),
        })
    }

    fn write(&self, db: &Connection) -> Result<(), StoreFault> {
        let sql = format!(
            "INSERT INTO load ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             ON CONFLICT (id) DO UPDATE SET state = ?2, reference = ?11, tac = ?12, code = ?13, last = ?14"
        );
        db.prepare_cached(&sql)?.execute(params![
            self.id.0,
            self.state as u8,
            self.card.issuer.0,
            self.card.asn.0,
            self.amount.minor(),
            self.amount.currency().numeric(),
            self.batch.0,
            self.trace.0,
            self.date,
            self.time,
            self.reference,
            self.tac,
            self.code,
            self.last.0,
        ])?;
        Ok(())
    }
}

/// The load with this number.
pub(super) fn by_id(db: &Connection, id: RecordId) -> Result<Option<Load>, StoreFault> {
    let mut statement = db.prepare_cached(&format!("SELECT {COLUMNS} FROM load WHERE id = ?1"))?;
    let mut rows = statement.query([id.0])?;
    rows.next()?.map(Load::read).transpose()
}

/// The newest loads that fit, at most `limit`; `from` and `to` are days, `YYYY-MM-DD`.
pub(super) fn newest(
    db: &Connection,
    from: Option<&str>,
    to: Option<&str>,
    limit: u32,
) -> Result<Vec<Load>, StoreFault> {
    let sql = format!(
        "SELECT {COLUMNS} FROM load WHERE local_date >= coalesce(?1, '') AND local_date <= coalesce(?2, '9999')
         ORDER BY id DESC LIMIT ?3"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params![from, to, limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Load::read(row)?);
    }
    Ok(found)
}

/// The loads that count in this batch, oldest first: consented to, and not reversed.
pub(super) fn counted_in(db: &Connection, batch: BatchNo) -> Result<Vec<Load>, StoreFault> {
    let sql = format!(
        "SELECT {COLUMNS} FROM load WHERE batch = ?1 AND reference IS NOT NULL AND state <> ?2 ORDER BY id"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params![batch.0, LoadStanding::Reversed as u8])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Load::read(row)?);
    }
    Ok(found)
}

fn missing(id: RecordId) -> StoreFault {
    StoreFault::Damaged(format!("there is no load {}", id.0))
}

/// Brings the row of a load to what `record` makes of it.
pub(super) fn project(db: &Connection, record: &JournalEntry, id: RecordId) -> Result<(), StoreFault> {
    match record {
        JournalEntry::Load(intent) => Load::begun(id, intent).write(db),
        JournalEntry::LoadState { load, state } => {
            let mut found = by_id(db, *load)?.ok_or_else(|| missing(*load))?;
            found.becomes(id, state)?;
            found.write(db)
        }
        _ => Ok(()),
    }
}

/// The loads as the entries alone make them, for comparison with the rows.
#[derive(Debug, Default)]
pub(super) struct Loads(BTreeMap<u64, Load>);

impl Loads {
    pub(super) fn apply(&mut self, id: RecordId, record: &JournalEntry) -> Result<(), StoreFault> {
        match record {
            JournalEntry::Load(intent) => {
                self.0.insert(id.0, Load::begun(id, intent));
                Ok(())
            }
            JournalEntry::LoadState { load, state } => {
                self.0.get_mut(&load.0).ok_or_else(|| missing(*load))?.becomes(id, state)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    /// Every row must be what the entries make of it, and no other row may be there.
    pub(super) fn compare(&self, db: &Connection) -> Result<(), StoreFault> {
        let mut statement = db.prepare(&format!("SELECT {COLUMNS} FROM load ORDER BY id"))?;
        let mut rows = statement.query([])?;
        let mut expected = self.0.values();
        loop {
            let damaged =
                |id: RecordId| Err(StoreFault::Damaged(format!("load {} is not what its entries say", id.0)));
            match (expected.next(), rows.next()?.map(Load::read).transpose()?) {
                (None, None) => return Ok(()),
                (Some(load), Some(row)) if *load == row => {}
                (Some(load), _) => return damaged(load.id),
                (None, Some(row)) => return damaged(row.id),
            }
        }
    }
}
