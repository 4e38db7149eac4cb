//! Plain text: months of the books as files for hledger and beancount, so that programs which are not ours add them up.
//!
//! A file says all that was booked in its months, to the last unit: every account, what it had before, what moved, and what
//! it has at the end, which the other program is told to check. What only holds or releases moves nothing and is left out.
//!
//! The same books give the same bytes. Groups stand in the order of their numbers; each has the date of its event, brought into
//! the month that it is booked in. Nothing says when or where the file was made, so a month that is closed for good has one
//! file, and one SHA-256, for ever.

mod amount;
mod beancount;
mod hledger;

pub use amount::decimal;

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use primitives::money::Currency;
use sqlx::PgConnection;

use crate::account::AccountId;
use crate::error::Error;
use crate::period::Month;
use crate::repo;
use crate::view::{AccountTotals, JournalGroup};

/// How many groups or accounts are read at once.
const PAGE: u16 = repo::PAGE_MAX;

/// Whose language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// hledger's journal; ledger reads it too.
    Hledger,
    /// beancount's file.
    Beancount,
}

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What each account moved on each day. *Units*: memory for days of one month × accounts that moved.
    Daily,
    /// Every group with every amount.
    Full,
}

/// A file that is being written, piece by piece.
#[derive(Debug)]
pub struct Export {
    format: Format,
    detail: Detail,
    scales: BTreeMap<Currency, u32>,
    first: Month,
    last: Month,
    stage: Stage,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Header,
    /// The accounts above one.
    Accounts(AccountId),
    /// What those above one had before the first month; true once any had something.
    Opening(AccountId, bool),
    /// A month's groups above one.
    Groups(Month, i64),
    /// What those above one have after the last month.
    Closing(AccountId, bool),
    End,
}

/// What an account moved, or has. *Units*: as amounts, above zero for debits.
#[derive(Clone, Copy, Debug)]
struct Posting {
    account: AccountId,
    amount: i128,
}

impl Export {
    /// Begins the file of one month, or of all months; none when nothing was booked in it.
    pub async fn start(
        conn: &mut PgConnection,
        format: Format,
        detail: Detail,
        month: Option<Month>,
    ) -> Result<Option<Self>, Error> {
        let Some((first, last)) = repo::period::span(conn).await? else { return Ok(None) };
        let (first, last) = match month {
            Some(month) if (first..=last).contains(&month) => (month, month),
            Some(_) => return Ok(None),
            None => (first, last),
        };
        Ok(Some(Self { format, detail, scales: repo::scales(conn).await?, first, last, stage: Stage::Header }))
    }

    /// The next piece of the file; none after the last.
    pub async fn next(&mut self, conn: &mut PgConnection) -> Result<Option<String>, Error> {
        let mut text = String::new();
        self.stage = match self.stage {
            Stage::Header => {
                self.header(&mut text);
                Stage::Accounts(AccountId(0))
            }
            Stage::Accounts(after) => {
                let page = repo::account_totals(conn, Some(self.last), after, PAGE).await?;
                for account in page.iter().filter(|account| moved(account)) {
                    self.account(&mut text, account.account)?;
                }
                page.last().map_or(Stage::Opening(AccountId(0), false), |last| Stage::Accounts(last.account))
            }
            Stage::Opening(after, begun) => {
                let page = match self.first.prev() {
                    Some(before) => repo::account_totals(conn, Some(before), after, PAGE).await?,
                    None => Vec::new(),
                };
                let begun = self.opening(&mut text, &page, begun)?;
                page.last().map_or(Stage::Groups(self.first, 0), |last| Stage::Opening(last.account, begun))
            }
            Stage::Groups(month, after) => match self.detail {
                Detail::Full => {
                    let page = repo::month_groups(conn, month, after, PAGE).await?;
                    for group in &page {
                        self.group(&mut text, group)?;
                    }
                    page.last().map_or_else(|| self.after(month), |last| Stage::Groups(month, last.seq))
                }
                Detail::Daily => {
                    self.days(conn, &mut text, month).await?;
                    self.after(month)
                }
            },
            Stage::Closing(after, begun) => {
                let page = repo::account_totals(conn, Some(self.last), after, PAGE).await?;
                let begun = self.closing(&mut text, &page, begun)?;
                page.last().map_or(Stage::End, |last| Stage::Closing(last.account, begun))
            }
            Stage::End => return Ok(None),
        };
        Ok(Some(text))
    }

    fn after(&self, month: Month) -> Stage {
        if month < self.last { Stage::Groups(month.next(), 0) } else { Stage::Closing(AccountId(0), false) }
    }

    fn header(&self, text: &mut String) {
        let months =
            if self.first == self.last { self.first.to_string() } else { format!("{} to {}", self.first, self.last) };
        match self.format {
            Format::Hledger => hledger::header(text, &months, &self.scales),
            Format::Beancount => beancount::header(text, &months),
        }
    }

    fn account(&self, text: &mut String, account: AccountId) -> Result<(), Error> {
        let (name, unit, _) = self.written(account, 0)?;
        match self.format {
            Format::Hledger => hledger::account(text, &name),
            Format::Beancount => beancount::account(text, self.first.begins_at().date_naive(), &name, unit),
        }
        Ok(())
    }

    fn opening(&self, text: &mut String, page: &[AccountTotals], mut begun: bool) -> Result<bool, Error> {
        for account in page.iter().filter(|account| balance(account) != 0) {
            if !begun {
                self.begin(text, self.first.begins_at().date_naive(), "opening balances", None);
                begun = true;
            }
            self.posting(text, Posting { account: account.account, amount: balance(account) })?;
        }
        Ok(begun)
    }

    fn closing(&self, text: &mut String, page: &[AccountTotals], mut begun: bool) -> Result<bool, Error> {
        for account in page.iter().filter(|account| moved(account)) {
            let (name, unit, amount) = self.written(account.account, balance(account))?;
            match self.format {
                Format::Hledger => {
                    if !begun {
                        self.begin(text, last_day(self.last), "closing balances", None);
                        begun = true;
                    }
                    hledger::assertion(text, &name, &amount, unit);
                }
                Format::Beancount => {
                    beancount::assertion(text, self.last.ends_at().date_naive(), &name, &amount, unit);
                }
            }
        }
        Ok(begun)
    }

    fn group(&self, text: &mut String, group: &JournalGroup) -> Result<(), Error> {
        if !group.lines.iter().any(|line| line.moves()) {
            return Ok(());
        }
        self.begin(text, date(group), group.recipe, Some(group));
        for line in group.lines.iter().filter(|line| line.moves()) {
            let amount = i128::from(line.amount.0);
            self.posting(text, Posting { account: line.debit, amount })?;
            self.posting(text, Posting { account: line.credit, amount: -amount })?;
        }
        Ok(())
    }

    /// A month by days: for each account what was debited, and what was credited.
    async fn days(&self, conn: &mut PgConnection, text: &mut String, month: Month) -> Result<(), Error> {
        let mut sums: BTreeMap<(NaiveDate, AccountId, bool), i128> = BTreeMap::new();
        let mut after = 0;
        loop {
            let page = repo::month_groups(conn, month, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for group in &page {
                for line in group.lines.iter().filter(|line| line.moves()) {
                    let amount = i128::from(line.amount.0);
                    *sums.entry((date(group), line.debit, false)).or_default() += amount;
                    *sums.entry((date(group), line.credit, true)).or_default() -= amount;
                }
            }
        }
        let mut day = None;
        for ((date, account, _), amount) in sums {
            if day != Some(date) {
                self.begin(text, date, "all of the day", None);
                day = Some(date);
            }
            self.posting(text, Posting { account, amount })?;
        }
        Ok(())
    }

    fn begin(&self, text: &mut String, date: NaiveDate, title: &str, group: Option<&JournalGroup>) {
        match self.format {
            Format::Hledger => hledger::begin(text, date, title, group),
            Format::Beancount => beancount::begin(text, date, title, group),
        }
    }

    fn posting(&self, text: &mut String, posting: Posting) -> Result<(), Error> {
        let (name, unit, amount) = self.written(posting.account, posting.amount)?;
        match self.format {
            Format::Hledger => hledger::posting(text, &name, &amount, unit),
            Format::Beancount => beancount::posting(text, &name, &amount, unit),
        }
        Ok(())
    }

    /// An account's name, its unit and an amount in that.
    fn written(&self, account: AccountId, amount: i128) -> Result<(String, Currency, String), Error> {
        let bad = || Error::BadRow { table: "ledger.accounts", column: "id", row: account.to_string() };
        let unit = account.unit().ok_or_else(bad)?;
        let scale = *self.scales.get(&unit).ok_or_else(bad)?;
        Ok((account_name(account).ok_or_else(bad)?, unit, decimal(amount, scale)))
    }
}

/// An account's name in both languages, such as `Assets:1000-bank:100084000000000001`.
pub fn account_name(account: AccountId) -> Option<String> {
    let code = account.code()?;
    let class = match code.number() {
        1000..2000 | 9900..=9999 => "Assets",
        2000..3000 => "Liabilities",
        4000..5000 => "Income",
        8000..9000 => "Equity",
        _ => "Expenses",
    };
    Some(format!("{class}:{}-{}:{account}", code.number(), code.name().replace(' ', "-")))
}

fn moved(account: &AccountTotals) -> bool {
    account.debits_posted != 0 || account.credits_posted != 0
}

/// Above zero when more was debited.
fn balance(account: &AccountTotals) -> i128 {
    i128::from(account.debits_posted) - i128::from(account.credits_posted)
}

/// The day of the event, brought into the month that the group is booked in.
fn date(group: &JournalGroup) -> NaiveDate {
    group.event_at.date_naive().clamp(group.month.begins_at().date_naive(), last_day(group.month))
}

fn last_day(month: Month) -> NaiveDate {
    month.ends_at().date_naive() - Days::new(1)
}
