//! The units that accounts are kept in.

use std::collections::BTreeMap;

use primitives::money::Currency;
use sqlx::PgConnection;

use super::bad_row;
use crate::error::Error;

/// How many decimals each unit has: one of it is 10^scale of what amounts count. A short list that does not grow with the books.
pub async fn scales(conn: &mut PgConnection) -> Result<BTreeMap<Currency, u32>, Error> {
    let rows = sqlx::query!("SELECT unit, scale FROM ledger.units ORDER BY unit").fetch_all(conn).await?;
    let scale = |unit: &str, scale: i16| Some((unit.parse().ok()?, u32::try_from(scale).ok()?));
    rows.iter()
        .map(|row| scale(&row.unit, row.scale).ok_or_else(|| bad_row("ledger.units", "scale", &row.unit)))
        .collect()
}
