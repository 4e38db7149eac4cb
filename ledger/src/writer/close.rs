//! Closing months: what is looked at before, and the change itself.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Writer;
use crate::SHARD;
use crate::account::AccountId;
use crate::block::BlockRef;
use crate::chart::Code;
use crate::error::Error;
use crate::period::{Month, PeriodState};
use crate::recipe::Request;
use crate::recipe::state::PeriodChange;
use crate::repo;

/// How many reasons are told at most of one kind.
const REASONS_MAX: usize = 10;

/// A month to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The change, once.
    pub change_id: Uuid,
    /// The month.
    pub month: Month,
    /// Soft: adjusting entries alone may still be booked in it. Hard: nothing, for good.
    pub state: PeriodState,
    /// Who decided, and why.
    pub reason: String,
    /// How old, at the month's end, what stands on a clearing account may be. *Units*: looked at for a hard close alone.
    pub clearing_age_max: TimeDelta,
    /// For how long, when it is closed, a hold that was placed by the month's end may have been open.
    pub hold_age_max: TimeDelta,
}

impl Closing {
    /// With the limits that finance starts from: three days on a clearing account, a day for a hold.
    pub fn new(change_id: Uuid, month: Month, state: PeriodState, reason: &str) -> Self {
        let (clearing_age_max, hold_age_max) = (TimeDelta::days(3), TimeDelta::days(1));
        Self { change_id, month, state, reason: reason.to_owned(), clearing_age_max, hold_age_max }
    }

    fn change(&self) -> PeriodChange {
        let Self { change_id, month, state, ref reason, .. } = *self;
        PeriodChange { change_id, month, state, reason: reason.clone() }
    }
}

impl Writer {
    /// Closes a month once nothing is in the way ([`closing_reasons`]); durable on return. A repetition gets the first answer.
    ///
    /// *Errors*: [`Error::PeriodUnsettled`] with all that is in the way; [`Error::PeriodRunning`] before its end;
    /// [`Error::PeriodClosed`] when it was closed for good before.
    pub async fn close_period(&self, closing: Closing) -> Result<BlockRef, Error> {
        let request = Request::from(closing.change());
        {
            let mut conn = self.pool.acquire().await?;
            let key = request.key();
            // What was closed once is not looked at again, so that whoever did not hear the answer may ask.
            if repo::journal::head_of(&mut conn, key.link, key.recipe).await?.is_none() {
                let reasons = closing_reasons(&mut conn, &closing, self.clock.now()).await?;
                if !reasons.is_empty() {
                    return Err(Error::PeriodUnsettled { month: closing.month, reasons });
                }
            }
        }
        self.route.ask(request).await
    }

    /// Opens a soft-closed month again; durable on return.
    ///
    /// *Errors*: [`Error::PeriodClosed`] when it was closed for good.
    pub async fn reopen_period(&self, change_id: Uuid, month: Month, reason: &str) -> Result<BlockRef, Error> {
        let change = PeriodChange { change_id, month, state: PeriodState::Open, reason: reason.to_owned() };
        self.route.ask(change.into()).await
    }
}

/// All that is in the way of closing a month, for people; nothing when it may be closed.
///
/// Every close: the trial balance up to the month balances in each unit, and no hold that was placed by its end has been open for
/// longer than the limit. A hard close besides: every earlier month with bookings is hard-closed, suspense is at zero at the
/// month's end, and no clearing account has anything unexplained that was older than the limit by then. Those wait for the hard
/// close because the entries that settle them are what a soft-closed month is kept open for.
///
/// *Errors*: [`Error::PeriodRunning`] before the month's end, [`Error::PeriodClosed`] after a hard close.
pub async fn closing_reasons(
    conn: &mut PgConnection,
    closing: &Closing,
    now: DateTime<Utc>,
) -> Result<Vec<String>, Error> {
    let month = closing.month;
    if now < month.ends_at() {
        return Err(Error::PeriodRunning { month });
    }
    let states = repo::post::periods(conn).await?;
    let state = |month| states.iter().find(|(other, _)| *other == month).map_or(PeriodState::Open, |(_, state)| *state);
    if state(month) == PeriodState::Hard {
        return Err(Error::PeriodClosed { month });
    }
    let mut reasons = imbalances(conn, month, closing.state).await?;
    reasons.extend(old_holds(conn, closing, now).await?);
    if closing.state == PeriodState::Hard {
        if let Some((first, _)) = repo::period::span(conn).await? {
            let earlier = first.up_to(month).filter(|&other| other < month && state(other) != PeriodState::Hard);
            reasons.extend(earlier.take(REASONS_MAX).map(|other| format!("{other} is not closed for good")));
        }
        reasons.extend(aged(conn, closing).await?);
    }
    Ok(reasons)
}

async fn imbalances(conn: &mut PgConnection, month: Month, to: PeriodState) -> Result<Vec<String>, Error> {
    let rows = repo::trial_balance_of(conn, month).await?;
    let mut units: Vec<_> = rows.iter().map(|row| row.currency).collect();
    units.sort();
    units.dedup();
    let mut reasons = Vec::new();
    for unit in units {
        let of_unit = rows.iter().filter(|row| row.currency == unit);
        let difference: i128 = of_unit.map(|row| row.debits - row.credits).sum();
        if difference != 0 {
            reasons.push(format!("the trial balance in {unit} is off by {difference}"));
        }
    }
    if to == PeriodState::Hard {
        let suspense = rows.iter().filter(|row| row.code == Code::Suspense && row.debits != row.credits);
        reasons.extend(suspense.map(|row| format!("suspense in {} is {}", row.currency, row.debits - row.credits)));
    }
    Ok(reasons)
}

async fn old_holds(conn: &mut PgConnection, closing: &Closing, now: DateTime<Utc>) -> Result<Option<String>, Error> {
    // The month's last instant, in the microseconds that are stored.
    let month_end = closing.month.ends_at() - TimeDelta::microseconds(1);
    let by = month_end.min(now - closing.hold_age_max);
    let open = repo::hold::placed_by(conn, SHARD, by).await?;
    Ok(open.map(|(count, link)| format!("{count} holds placed by {} are open, the oldest for {link}", by.to_rfc3339())))
}

async fn aged(conn: &mut PgConnection, closing: &Closing) -> Result<Vec<String>, Error> {
    let before = closing.month.ends_at() - closing.clearing_age_max;
    let mut reasons = Vec::new();
    let mut after = AccountId(0);
    loop {
        let page = repo::unsettled(conn, after, repo::PAGE_MAX).await?;
        let Some(last) = page.last() else { return Ok(reasons) };
        after = last.account;
        for account in page.iter().filter(|account| account.since < before) {
            let (code, unit, id) = (account.key.code, account.key.unit, account.account);
            reasons.push(format!("{code} ({id}) has {} {unit} since {}", account.balance, account.since.date_naive()));
            if reasons.len() == REASONS_MAX {
                return Ok(reasons);
            }
        }
    }
}
