//! Time as values: nothing here reads a clock. Drivers bring [`Mono`] and [`Wall`]; cards and messages carry
//! packed decimal dates and times in the terminal's local time.

use crate::bytes::bcd_encode;
use core::fmt;

/// A point on a clock that never goes back, in nanoseconds since an arbitrary start. For deadlines only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// This point plus `ms` milliseconds.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }

    /// Milliseconds from `earlier` to this point; 0 if it is not earlier.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }
}

/// Wall-clock time: milliseconds since 1970-01-01T00:00:00Z. It may jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub i64);

/// Both clocks at one moment, as a driver reads them for a state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub mono: Mono,
    /// For people, cards and hosts.
    pub wall: Wall,
    /// Local time at the terminal, minutes east of UTC (cards and receipts carry local time).
    pub utc_offset_min: i16,
}

/// A date or time field holds something that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not a calendar date.
    #[error("not a calendar date")]
    NotADate,
    /// Not a time of day.
    #[error("not a time of day")]
    NotATime,
}

/// A calendar date as 4 bytes of packed decimals, `YYYYMMDD`. Ordered as the calendar is.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardDate([u8; 4]);

/// A time of day as 3 bytes of packed decimals, `HHMMSS`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardTime([u8; 3]);

/// The day that a transaction counts for in clearing; it need not be the calendar's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BusinessDate(pub CardDate);

const MS_PER_DAY: i64 = 86_400_000;

impl CardDate {
    /// From year, month (1–12) and day.
    ///
    /// # Errors
    /// No such day in the calendar, or a year beyond 9999.
    pub fn new(year: u16, month: u8, day: u8) -> Result<Self, TimeError> {
        if year > 9999 || day == 0 || day > days_in_month(year, month)? {
            return Err(TimeError::NotADate);
        }
        let number = u64::from(year)
            .saturating_mul(10_000)
            .saturating_add(u64::from(month).saturating_mul(100))
            .saturating_add(u64::from(day));
        let mut bytes = [0; 4];
        bcd_encode(number, &mut bytes).map_err(|_| TimeError::NotADate)?;
        Ok(Self(bytes))
    }

    /// The bytes of a card or a message, whatever they hold: a log record may carry any. Use
    /// [`CardDate::checked`] where a calendar date is required.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The bytes of a card or a message that must be a calendar date.
    ///
    /// # Errors
    /// It is none.
    pub fn checked(bytes: [u8; 4]) -> Result<Self, TimeError> {
        let number = crate::bytes::bcd_decode(&bytes).map_err(|_| TimeError::NotADate)?;
        let part = |value: u64| u8::try_from(value % 100).map_err(|_| TimeError::NotADate);
        let year = u16::try_from(number / 10_000).map_err(|_| TimeError::NotADate)?;
        Self::new(year, part(number / 100)?, part(number)?)
    }

    /// The packed bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0
    }
}

impl CardTime {
    /// From hours, minutes and seconds.
    ///
    /// # Errors
    /// No such time of day.
    pub fn new(hour: u8, minute: u8, second: u8) -> Result<Self, TimeError> {
        if hour > 23 || minute > 59 || second > 59 {
            return Err(TimeError::NotATime);
        }
        let pack = |value: u8| ((value / 10) << 4) | (value % 10);
        Ok(Self([pack(hour), pack(minute), pack(second)]))
    }

    /// The bytes of a card or a message, whatever they hold.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 3]) -> Self {
        Self(bytes)
    }

    /// The packed bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 3] {
        self.0
    }
}

impl fmt::Debug for CardDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CardDate {
    /// `2026-11-22`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [century, year, month, day] = self.0;
        write!(f, "{century:02x}{year:02x}-{month:02x}-{day:02x}")
    }
}

impl fmt::Debug for CardTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CardTime {
    /// `18:30:05`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [hour, minute, second] = self.0;
        write!(f, "{hour:02x}:{minute:02x}:{second:02x}")
    }
}

impl Now {
    /// The local date and time that a card, a record or a receipt carries.
    ///
    /// # Errors
    /// A clock before the year 0 or after 9999.
    pub fn local(&self) -> Result<(CardDate, CardTime), TimeError> {
        let offset_ms = i64::from(self.utc_offset_min).saturating_mul(60_000);
        let local_ms = self.wall.0.saturating_add(offset_ms);
        let date = date_of_day(local_ms.div_euclid(MS_PER_DAY))?;
        let second_of_day = local_ms.rem_euclid(MS_PER_DAY) / 1000;
        let part = |value: i64, modulus: i64| {
            u8::try_from(value.rem_euclid(modulus)).map_err(|_| TimeError::NotATime)
        };
        let time = CardTime::new(
            part(second_of_day / 3600, 24)?,
            part(second_of_day / 60, 60)?,
            part(second_of_day, 60)?,
        )?;
        Ok((date, time))
    }
}

fn days_in_month(year: u16, month: u8) -> Result<u8, TimeError> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Ok(31),
        4 | 6 | 9 | 11 => Ok(30),
        2 if leap => Ok(29),
        2 => Ok(28),
        _ => Err(TimeError::NotADate),
    }
}

/// The proleptic Gregorian date of a day counted from 1970-01-01 (the era method: 400 years are 146 097 days, and
/// a year that starts in March has its leap day at the end).
fn date_of_day(day: i64) -> Result<CardDate, TimeError> {
    let shifted = day.checked_add(719_468).ok_or(TimeError::NotADate)?;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = day_of_era
        .saturating_sub(day_of_era / 1_460)
        .saturating_add(day_of_era / 36_524)
        .saturating_sub(day_of_era / 146_096)
        / 365;
    let days_before =
        year_of_era.saturating_mul(365).saturating_add(year_of_era / 4).saturating_sub(year_of_era / 100);
    let day_of_year = day_of_era.saturating_sub(days_before);
    let march_month = day_of_year.saturating_mul(5).saturating_add(2) / 153;
    let day_of_month =
        day_of_year.saturating_sub(march_month.saturating_mul(153).saturating_add(2) / 5).saturating_add(1);
    let month = if march_month < 10 { march_month.saturating_add(3) } else { march_month.saturating_sub(9) };
    let march_year = era.saturating_mul(400).saturating_add(year_of_era);
    let year = if month <= 2 { march_year.saturating_add(1) } else { march_year };
    let not_a_date = |_| TimeError::NotADate;
    CardDate::new(
        u16::try_from(year).map_err(not_a_date)?,
        u8::try_from(month).map_err(not_a_date)?,
        u8::try_from(day_of_month).map_err(not_a_date)?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn local(wall_ms: i64, utc_offset_min: i16) -> std::string::String {
        let now = Now { mono: Mono(0), wall: Wall(wall_ms), utc_offset_min };
        let (date, time) = now.local().unwrap();
        std::format!("{date} {time}")
    }

    #[test]
    fn wall_time_becomes_local_date_and_time() {
        assert_eq!(local(0, 0), "1970-01-01 00:00:00");
        assert_eq!(local(951_782_400_000, 0), "2000-02-29 00:00:00");
        assert_eq!(local(1_795_305_599_000, 0), "2026-11-21 23:59:59");
        assert_eq!(local(1_795_305_599_000, 480), "2026-11-22 07:59:59");
        assert_eq!(local(-1000, -60), "1969-12-31 22:59:59");
    }

    #[test]
    fn only_calendar_dates_pass_the_check() {
        assert!(CardDate::checked([0x20, 0x24, 0x02, 0x29]).is_ok());
        for bytes in [[0x20, 0x26, 0x02, 0x29], [0x20, 0x26, 0x13, 0x01], [0x20, 0x26, 0x00, 0x01], [0xFF; 4]]
        {
            assert_eq!(CardDate::checked(bytes), Err(TimeError::NotADate));
        }
        assert_eq!(CardTime::new(24, 0, 0), Err(TimeError::NotATime));
        assert_eq!(CardDate::from_bytes([0xFF; 4]).to_string(), "ffff-ff-ff");
    }
}
