//! What providers earned by day, and what of it is kept back.

use chrono::{DateTime, NaiveDate, Utc};
use primitives::id::{NodeId, ProviderId};
use primitives::money::{Currency, Nanos};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Row;
use crate::Result;
use crate::earning::{ProviderDay, Sum};
use crate::holdback::{EARNED_BY, Forfeit, Holdback, HoldbackState};

/// Up to which transfer of a shard the days are. *Locks*: the shard's row.
pub(crate) async fn provider_days_read(conn: &mut PgConnection, shard: i16) -> Result<i64> {
    let seq = sqlx::query_scalar!(
        "INSERT INTO broker.provider_days_read (shard, seq)
         VALUES ($1, 0)
         -- Changes nothing and locks the row.
         ON CONFLICT (shard) DO UPDATE SET seq = provider_days_read.seq
         RETURNING seq",
        shard,
    )
    .fetch_one(conn)
    .await?;
    Ok(seq)
}

pub(crate) async fn provider_days_read_to(conn: &mut PgConnection, shard: i16, seq: i64) -> Result<()> {
    sqlx::query!("UPDATE broker.provider_days_read SET seq = $2 WHERE shard = $1", shard, seq).execute(conn).await?;
    Ok(())
}

pub(crate) async fn provider_days_add(conn: &mut PgConnection, sums: &[Sum]) -> Result<()> {
    for sum in sums {
        sqlx::query!(
            "INSERT INTO broker.provider_days (provider_id, currency, day, node_id, recipe, change_nanos, transfers_count)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (provider_id, currency, day, node_id, recipe) DO UPDATE
             SET change_nanos = provider_days.change_nanos + $6, transfers_count = provider_days.transfers_count + $7",
            sum.provider_id.0,
            sum.currency.as_str(),
            sum.day,
            sum.node_id,
            sum.recipe,
            sum.change,
            sum.transfers,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

pub(crate) async fn provider_days(
    conn: &mut PgConnection,
    provider_id: ProviderId,
    currency: Currency,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<Vec<ProviderDay>> {
    let rows = sqlx::query!(
        r#"SELECT day, node_id, recipe, change_nanos AS "change: Nanos", transfers_count
           FROM broker.provider_days
           WHERE provider_id = $1
             AND currency = $2
             AND day >= $3
             AND day < $4
           ORDER BY day DESC, node_id, recipe"#,
        provider_id.0,
        currency.as_str(),
        from,
        to,
    )
    .fetch_all(conn)
    .await?;
    let days = rows.into_iter().map(|row| ProviderDay {
        day: row.day,
        node_id: (!row.node_id.is_nil()).then_some(NodeId(row.node_id)),
        recipe: row.recipe,
        change: row.change,
        transfers: row.transfers_count,
    });
    Ok(days.collect())
}

pub(crate) async fn provider_nodes_total(
    conn: &mut PgConnection,
    provider_id: ProviderId,
    currency: Currency,
) -> Result<Vec<(NodeId, Nanos, i64)>> {
    let rows = sqlx::query!(
        r#"SELECT node_id AS "node_id: NodeId", sum(change_nanos)::bigint AS "earned!: Nanos",
             sum(transfers_count)::bigint AS "transfers!"
           FROM broker.provider_days
           WHERE provider_id = $1
             AND currency = $2
             AND recipe = $3
             AND node_id <> '00000000-0000-0000-0000-000000000000'
           GROUP BY node_id
           ORDER BY node_id
           LIMIT 1000"#,
        provider_id.0,
        currency.as_str(),
        EARNED_BY,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.node_id, row.earned, row.transfers)).collect())
}

pub(crate) async fn holdback_insert(
    conn: &mut PgConnection,
    holdback: &Holdback,
    seq_to: i64,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO broker.holdbacks (reserve_id, provider_id, node_id, currency, amount_nanos, seq_to, release_at, state,
           created_at, changed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)",
        holdback.reserve_id,
        holdback.provider_id.0,
        holdback.node_id.0,
        holdback.currency.as_str(),
        holdback.amount.0,
        seq_to,
        holdback.release_at,
        holdback.state.as_str(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

struct HoldbackRow {
    reserve_id: Uuid,
    provider_id: ProviderId,
    node_id: NodeId,
    currency: String,
    amount: Nanos,
    release_at: DateTime<Utc>,
    state: String,
}

impl TryFrom<HoldbackRow> for Holdback {
    type Error = crate::Error;

    fn try_from(holdback: HoldbackRow) -> Result<Self> {
        let row = Row { table: "broker.holdbacks", id: &holdback.reserve_id };
        Ok(Self {
            currency: row.read("currency", holdback.currency.parse().ok())?,
            state: row.word("state", &holdback.state, &HoldbackState::ALL, HoldbackState::as_str)?,
            reserve_id: holdback.reserve_id,
            provider_id: holdback.provider_id,
            node_id: holdback.node_id,
            amount: holdback.amount,
            release_at: holdback.release_at,
        })
    }
}

/// A checked query over whole holdbacks: the columns are written once, the rest is the caller's.
macro_rules! select_holdbacks {
    ($rest:literal, $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            HoldbackRow,
            r#"SELECT reserve_id, provider_id AS "provider_id: ProviderId", node_id AS "node_id: NodeId", currency,
                 amount_nanos AS "amount: Nanos", release_at, state
               FROM broker.holdbacks "# + $rest,
            $($argument),*
        )
    };
}

pub(crate) async fn holdbacks_due(conn: &mut PgConnection, limit: u32) -> Result<Vec<Holdback>> {
    let rows = select_holdbacks!("WHERE state = 'due' ORDER BY release_at LIMIT $1", i64::from(limit));
    rows.fetch_all(conn).await?.into_iter().map(Holdback::try_from).collect()
}

pub(crate) async fn holdbacks_lapsed(conn: &mut PgConnection, now: DateTime<Utc>, limit: u32) -> Result<Vec<Holdback>> {
    let rows = select_holdbacks!(
        "WHERE state = 'reserved' AND release_at <= $1
           AND NOT EXISTS (
             SELECT FROM broker.convictions
             WHERE convictions.node_id = holdbacks.node_id
               AND convictions.state <> 'overturned'
               AND (convictions.decided_at IS NULL OR holdbacks.created_at <= convictions.decided_at)
           )
         ORDER BY release_at
         LIMIT $2",
        now,
        i64::from(limit),
    );
    rows.fetch_all(conn).await?.into_iter().map(Holdback::try_from).collect()
}

/// What nodes earned before they were convicted for good.
pub(crate) async fn holdbacks_forfeit(conn: &mut PgConnection, limit: u32) -> Result<Vec<Forfeit>> {
    let rows = sqlx::query!(
        r#"SELECT DISTINCT ON (reserve_id) reserve_id, holdbacks.provider_id AS "provider_id: ProviderId",
             holdbacks.node_id AS "node_id: NodeId", convictions.model, currency
           FROM broker.holdbacks
           JOIN broker.convictions ON convictions.node_id = holdbacks.node_id
             AND convictions.state = 'upheld'
             AND holdbacks.created_at <= convictions.decided_at
           WHERE holdbacks.state = 'reserved'
           ORDER BY reserve_id, convictions.id
           LIMIT $1"#,
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    let forfeits = rows.into_iter().map(|forfeit| {
        let row = Row { table: "broker.holdbacks", id: &forfeit.reserve_id };
        Ok(Forfeit {
            currency: row.read("currency", forfeit.currency.parse().ok())?,
            reserve_id: forfeit.reserve_id,
            provider_id: forfeit.provider_id,
            node_id: forfeit.node_id,
            model: forfeit.model,
        })
    });
    forfeits.collect()
}

pub(crate) async fn holdbacks_of(
    conn: &mut PgConnection,
    provider_id: ProviderId,
    limit: u32,
) -> Result<Vec<Holdback>> {
    let rows = select_holdbacks!(
        "WHERE provider_id = $1 AND state IN ('due', 'reserved') ORDER BY release_at, reserve_id LIMIT $2",
        provider_id.0,
        i64::from(limit),
    );
    rows.fetch_all(conn).await?.into_iter().map(Holdback::try_from).collect()
}

pub(crate) async fn holdback_change(
    conn: &mut PgConnection,
    reserve_id: Uuid,
    from: HoldbackState,
    to: HoldbackState,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE broker.holdbacks SET state = $3, changed_at = greatest(changed_at, $4) WHERE reserve_id = $1 AND state = $2",
        reserve_id,
        from.as_str(),
        to.as_str(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
