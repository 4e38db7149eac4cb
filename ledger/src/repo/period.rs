//! Months: which are booked in, where each begins among the transfers, and what is booked in it.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use sqlx::PgConnection;

use super::bad_row;
use crate::error::Error;
use crate::period::{Month, MonthEdge};

/// What the database has of months; shards and months by number.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredMonths {
    /// The first transfer of each month's first group.
    pub begun: BTreeMap<(i16, i16), i64>,
    /// Debits and credits posted, by accounts' code and unit (code × 1000 + unit).
    pub totals: BTreeMap<(i16, i16, i64), (i128, i128)>,
    /// Groups booked in a month when a later one had begun.
    pub late: BTreeSet<(i16, i64)>,
}

/// The first and the last month that anything is booked in; none in an empty book.
pub(crate) async fn span(conn: &mut PgConnection) -> Result<Option<(Month, Month)>, Error> {
    let row =
        sqlx::query!("SELECT min(period) AS first, max(period) AS last FROM ledger.months").fetch_one(conn).await?;
    let month = |number| Month::try_from_number(number).map_err(|_| bad_row("ledger.months", "period", number));
    row.first.zip(row.last).map(|(first, last)| Ok((month(first)?, month(last)?))).transpose()
}

/// The first transfer of the first group that is booked in one of some months; none when there is none.
pub(crate) async fn first_head(conn: &mut PgConnection, months: &[i16]) -> Result<Option<i64>, Error> {
    let first = sqlx::query_scalar!("SELECT min(first_seq) FROM ledger.months WHERE period = ANY ($1)", months);
    Ok(first.fetch_one(conn).await?)
}

/// Where a shard's latest month began.
pub(crate) async fn edge(conn: &mut PgConnection, shard: i16) -> Result<MonthEdge, Error> {
    let row = sqlx::query!(
        r#"
        SELECT
            m.period,
            m.first_seq,
            EXISTS (
                SELECT FROM ledger.months e WHERE e.shard = m.shard AND e.first_seq < m.first_seq
            ) AS "entered!"
        FROM ledger.months m
        WHERE m.shard = $1
        ORDER BY m.period DESC
        LIMIT 1
        "#,
        shard,
    )
    .fetch_optional(conn)
    .await?;
    let edge = row.map(|row| MonthEdge { latest: Some(row.period), seq: if row.entered { row.first_seq } else { 0 } });
    Ok(edge.unwrap_or_default())
}

/// Debits and credits of what is booked in months up to that one, by accounts' code and unit.
pub(crate) async fn totals_up_to(conn: &mut PgConnection, month: Month) -> Result<BTreeMap<i64, (i128, i128)>, Error> {
    let rows = sqlx::query!(
        r#"
        SELECT code_unit, SUM(debits) AS "debits!: Decimal", SUM(credits) AS "credits!: Decimal"
        FROM ledger.month_totals
        WHERE period <= $1
        GROUP BY 1
        "#,
        month.number(),
    )
    .fetch_all(conn)
    .await?;
    let row = |row: (i32, Decimal, Decimal)| Ok((i64::from(row.0), (whole(row.1, row.0)?, whole(row.2, row.0)?)));
    rows.into_iter().map(|found| row((found.code_unit, found.debits, found.credits))).collect()
}

/// All that is stored of months, for those who recompute it.
pub(crate) async fn stored_months(conn: &mut PgConnection) -> Result<StoredMonths, Error> {
    let begun = sqlx::query!("SELECT shard, period, first_seq FROM ledger.months").fetch_all(&mut *conn).await?;
    let totals = sqlx::query!(
        r#"
        SELECT shard, period, code_unit, debits AS "debits: Decimal", credits AS "credits: Decimal"
        FROM ledger.month_totals
        "#
    )
    .fetch_all(&mut *conn)
    .await?;
    let late = sqlx::query!("SELECT period, seq FROM ledger.late_groups").fetch_all(conn).await?;
    let totals = totals.into_iter().map(|row| {
        let sums = (whole(row.debits, row.code_unit)?, whole(row.credits, row.code_unit)?);
        Ok(((row.shard, row.period, i64::from(row.code_unit)), sums))
    });
    Ok(StoredMonths {
        begun: begun.into_iter().map(|row| ((row.shard, row.period), row.first_seq)).collect(),
        totals: totals.collect::<Result<_, Error>>()?,
        late: late.into_iter().map(|row| (row.period, row.seq)).collect(),
    })
}

fn whole(sum: Decimal, code_unit: i32) -> Result<i128, Error> {
    sum.to_i128().ok_or_else(|| bad_row("ledger.month_totals", "debits", code_unit))
}
