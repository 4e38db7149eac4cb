//! Periods: months that are open, soft-closed or hard-closed.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

/// A month in UTC, as the books count it: year × 100 + month, of the century.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i16", into = "i16")]
pub struct Month(i16);

/// A text that is no month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a month such as 2026-11, of this century")]
pub struct BadMonth;

impl Month {
    /// The month of an instant; the first of the century for what is before it, the last for what is after.
    pub fn of(at: DateTime<Utc>) -> Self {
        let year = at.year().clamp(2000, 2099) - 2000;
        let number = year * 100 + i32::try_from(at.month()).expect("a month is at most twelve");
        Self(i16::try_from(number).expect("at most 9912"))
    }

    /// The month of that number. *Errors*: [`BadMonth`] for what is none.
    pub fn try_from_number(number: i16) -> Result<Self, BadMonth> {
        if (0..=99).contains(&(number / 100)) && (1..=12).contains(&(number % 100)) {
            Ok(Self(number))
        } else {
            Err(BadMonth)
        }
    }

    /// The number that is stored, such as 2611.
    pub fn number(self) -> i16 {
        self.0
    }

    /// Its first instant.
    pub fn begins_at(self) -> DateTime<Utc> {
        let (year, month) = (2000 + i32::from(self.0 / 100), u32::try_from(self.0 % 100).expect("1 to 12"));
        let day = NaiveDate::from_ymd_opt(year, month, 1).expect("every month has a first day");
        day.and_hms_opt(0, 0, 0).expect("every day has a midnight").and_utc()
    }

    /// The month after.
    pub fn next(self) -> Self {
        if self.0 % 100 == 12 { Self(self.0 + 89) } else { Self(self.0 + 1) }
    }

    /// The month before; none before the century.
    pub fn prev(self) -> Option<Self> {
        match self.0 {
            1 => None,
            number if number % 100 == 1 => Some(Self(number - 89)),
            number => Some(Self(number - 1)),
        }
    }

    /// This month and those after it, up to `last` and with it.
    pub fn up_to(self, last: Self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |month| Some(month.next())).take_while(move |&month| month <= last)
    }

    /// The first instant after it.
    pub fn ends_at(self) -> DateTime<Utc> {
        self.next().begins_at()
    }
}

impl TryFrom<i16> for Month {
    type Error = BadMonth;

    fn try_from(number: i16) -> Result<Self, BadMonth> {
        Self::try_from_number(number)
    }
}

impl From<Month> for i16 {
    fn from(month: Month) -> Self {
        month.number()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "20{:02}-{:02}", self.0 / 100, self.0 % 100)
    }
}

impl fmt::Debug for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Month {
    type Err = BadMonth;

    fn from_str(text: &str) -> Result<Self, BadMonth> {
        let (year, month) = text.strip_prefix("20").and_then(|rest| rest.split_once('-')).ok_or(BadMonth)?;
        let digits = |text: &str| {
            let whole = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            whole.then(|| text.parse::<i16>().expect("two digits are a number")).ok_or(BadMonth)
        };
        Self::try_from_number(digits(year)? * 100 + digits(month)?)
    }
}

/// What may be booked in a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeriodState {
    /// Everything.
    #[default]
    Open,
    /// Adjusting entries alone; what happened then and comes late is booked in the month that is open.
    Soft,
    /// Nothing, for good.
    Hard,
}

impl PeriodState {
    /// The word stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }

    /// The state of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Open, Self::Soft, Self::Hard].into_iter().find(|state| state.as_str() == word)
    }
}

/// Where the books entered the latest month that a group is booked in, once there was an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MonthEdge {
    /// That month's number.
    pub latest: Option<i16>,
    /// Its first group's first transfer; 0 while the books have known one month alone.
    pub seq: i64,
}

impl MonthEdge {
    /// After the next group, which is booked in a month and begins with a transfer.
    pub fn after(self, month: i16, head: i64) -> Self {
        match self.latest {
            Some(latest) if month <= latest => self,
            Some(_) => Self { latest: Some(month), seq: head },
            None => Self { latest: Some(month), ..self },
        }
    }

    /// True for an account's first transfer since then, told by the one before it over the account.
    pub fn crossed(self, prev_seq: i64) -> bool {
        prev_seq < self.seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_written_and_read_and_ends_where_the_next_begins() {
        for (text, number, next) in
            [("2026-11", 2611, "2026-12"), ("2026-12", 2612, "2027-01"), ("2000-01", 1, "2000-02")]
        {
            let month: Month = text.parse().unwrap();
            assert_eq!(
                (month.number(), month.to_string().as_str(), month.next().to_string().as_str()),
                (number, text, next)
            );
            assert_eq!(Month::of(month.begins_at()), month);
            assert_eq!(Month::of(month.ends_at() - chrono::TimeDelta::microseconds(1)), month);
            assert_eq!(Month::of(month.ends_at()), month.next());
            assert_eq!((month.next().prev(), month.up_to(month.next()).count()), (Some(month), 2));
        }
        for text in ["2026-13", "2026-00", "1999-12", "2026-1", "26-11", "2026-+1", ""] {
            assert_eq!(text.parse::<Month>(), Err(BadMonth), "{text}");
        }
    }
}
