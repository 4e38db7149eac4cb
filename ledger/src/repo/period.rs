//! Months: which are booked in, and where each ends among the transfers.

use sqlx::PgConnection;

use super::bad_row;
use crate::error::Error;
use crate::period::Month;

/// The first and the last month that anything is booked in; none in an empty book.
pub(crate) async fn span(conn: &mut PgConnection) -> Result<Option<(Month, Month)>, Error> {
    let row = sqlx::query!(
        r#"
        SELECT
            (SELECT period FROM ledger.transfers WHERE period IS NOT NULL ORDER BY period LIMIT 1) AS first,
            (SELECT period FROM ledger.transfers WHERE period IS NOT NULL ORDER BY period DESC LIMIT 1) AS last
        "#
    )
    .fetch_one(conn)
    .await?;
    let month = |number| Month::try_from_number(number).map_err(|_| bad_row("ledger.transfers", "period", number));
    row.first.zip(row.last).map(|(first, last)| Ok((month(first)?, month(last)?))).transpose()
}

/// The first transfer of the first group that is booked in one of some months; none when there is none.
pub(crate) async fn first_head(conn: &mut PgConnection, months: &[i16]) -> Result<Option<i64>, Error> {
    let first = sqlx::query_scalar!(
        r#"
        SELECT min(h.seq) AS first
        FROM unnest($1::smallint[]) m (period)
        CROSS JOIN LATERAL (
            SELECT t.seq FROM ledger.transfers t WHERE t.period = m.period ORDER BY t.seq LIMIT 1
        ) h
        "#,
        months,
    )
    .fetch_one(conn)
    .await?;
    Ok(first)
}
