//! What the verifier reads: everything, in canonical order.

use sqlx::PgConnection;

use crate::error::Error;
use crate::row::{
    AccountRow, BlockRow, CapacityRow, CheckpointRow, LeafRow, PeriodRow, StateRow, TransferRow, UsageRow,
};

/// Begins a transaction in which every later read sees one instant.
pub(crate) async fn freeze(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(conn).await?;
    Ok(())
}

/// All shards.
pub(crate) async fn shards(conn: &mut PgConnection) -> Result<Vec<i16>, Error> {
    let shards = sqlx::query_scalar!("SELECT shard FROM ledger.shards ORDER BY shard").fetch_all(conn).await?;
    Ok(shards)
}

/// The blocks above a height, lowest first.
pub(crate) async fn blocks(conn: &mut PgConnection, shard: i16, above: i64, max: i64) -> Result<Vec<BlockRow>, Error> {
    let blocks = sqlx::query_as!(
        BlockRow,
        "SELECT * FROM ledger.blocks WHERE shard = $1 AND height > $2 ORDER BY height LIMIT $3",
        shard,
        above,
        max,
    )
    .fetch_all(conn)
    .await?;
    Ok(blocks)
}

/// The accounts opened in blocks `from` to `to`, as they are now.
pub(crate) async fn accounts(
    conn: &mut PgConnection,
    shard: i16,
    from: i64,
    to: i64,
) -> Result<Vec<AccountRow>, Error> {
    let accounts = sqlx::query_as!(
        AccountRow,
        "
        SELECT *
        FROM ledger.accounts
        WHERE block_height BETWEEN $2 AND $3
            AND id / 1000000000 % 100 = $1::smallint
        ORDER BY block_height, id
        ",
        shard,
        from,
        to,
    )
    .fetch_all(conn)
    .await?;
    Ok(accounts)
}

/// The leaves above number `above`, up to `to`.
pub(crate) async fn leaves(conn: &mut PgConnection, shard: i16, above: i32, to: i32) -> Result<Vec<LeafRow>, Error> {
    let leaves = sqlx::query_as!(
        LeafRow,
        "SELECT * FROM ledger.leaves WHERE shard = $1 AND id > $2 AND id <= $3 ORDER BY id",
        shard,
        above,
        to,
    )
    .fetch_all(conn)
    .await?;
    Ok(leaves)
}

/// The transfers numbered `from` up to, without, `to`.
pub(crate) async fn transfers(conn: &mut PgConnection, from: i64, to: i64) -> Result<Vec<TransferRow>, Error> {
    let transfers = sqlx::query_as!(
        TransferRow,
        "SELECT * FROM ledger.transfers WHERE seq >= $1 AND seq < $2 ORDER BY seq",
        from,
        to,
    )
    .fetch_all(conn)
    .await?;
    Ok(transfers)
}

/// The usage facts of transfers `from` up to, without, `to`.
pub(crate) async fn usage(conn: &mut PgConnection, from: i64, to: i64) -> Result<Vec<UsageRow>, Error> {
    let facts = sqlx::query_as!(
        UsageRow,
        "SELECT * FROM ledger.usage_facts WHERE seq >= $1 AND seq < $2 ORDER BY seq, line",
        from,
        to,
    )
    .fetch_all(conn)
    .await?;
    Ok(facts)
}

/// The capacity facts of transfers `from` up to, without, `to`.
pub(crate) async fn capacity(conn: &mut PgConnection, from: i64, to: i64) -> Result<Vec<CapacityRow>, Error> {
    let facts = sqlx::query_as!(
        CapacityRow,
        "SELECT * FROM ledger.capacity_facts WHERE seq >= $1 AND seq < $2 ORDER BY seq, line",
        from,
        to,
    )
    .fetch_all(conn)
    .await?;
    Ok(facts)
}

/// The account states of transfers `from` up to, without, `to`.
pub(crate) async fn states(conn: &mut PgConnection, from: i64, to: i64) -> Result<Vec<StateRow>, Error> {
    let states = sqlx::query_as!(
        StateRow,
        "SELECT * FROM ledger.account_states WHERE seq >= $1 AND seq < $2 ORDER BY seq, account_id",
        from,
        to,
    )
    .fetch_all(conn)
    .await?;
    Ok(states)
}

/// The period states of transfers `from` up to, without, `to`.
pub(crate) async fn periods(conn: &mut PgConnection, from: i64, to: i64) -> Result<Vec<PeriodRow>, Error> {
    let periods = sqlx::query_as!(
        PeriodRow,
        "SELECT * FROM ledger.period_states WHERE seq >= $1 AND seq < $2 ORDER BY seq, period",
        from,
        to,
    )
    .fetch_all(conn)
    .await?;
    Ok(periods)
}

/// The next checkpoints above an account and transfer, in their order.
pub(crate) async fn checkpoints(
    conn: &mut PgConnection,
    above: (i64, i64),
    max: i64,
) -> Result<Vec<CheckpointRow>, Error> {
    let checkpoints = sqlx::query_as!(
        CheckpointRow,
        "
        SELECT *
        FROM ledger.checkpoints
        WHERE (account_id, seq) > ($1, $2)
        ORDER BY account_id, seq
        LIMIT $3
        ",
        above.0,
        above.1,
        max,
    )
    .fetch_all(conn)
    .await?;
    Ok(checkpoints)
}

/// The next accounts above an id, as they are now.
pub(crate) async fn accounts_above(conn: &mut PgConnection, above: i64, max: i64) -> Result<Vec<AccountRow>, Error> {
    let accounts =
        sqlx::query_as!(AccountRow, "SELECT * FROM ledger.accounts WHERE id > $1 ORDER BY id LIMIT $2", above, max)
            .fetch_all(conn)
            .await?;
    Ok(accounts)
}

/// How many rows the tables of all shards hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub accounts: i64,
    pub leaves: i64,
    pub transfers: i64,
    pub usage: i64,
    pub capacity: i64,
    pub states: i64,
    pub periods: i64,
}

/// Counts all rows.
pub(crate) async fn counts(conn: &mut PgConnection) -> Result<Counts, Error> {
    let counts = sqlx::query_as!(
        Counts,
        r#"
        SELECT
            (SELECT count(*) FROM ledger.accounts) AS "accounts!",
            (SELECT count(*) FROM ledger.leaves) AS "leaves!",
            (SELECT count(*) FROM ledger.transfers) AS "transfers!",
            (SELECT count(*) FROM ledger.usage_facts) AS "usage!",
            (SELECT count(*) FROM ledger.capacity_facts) AS "capacity!",
            (SELECT count(*) FROM ledger.account_states) AS "states!",
            (SELECT count(*) FROM ledger.period_states) AS "periods!"
        "#
    )
    .fetch_one(conn)
    .await?;
    Ok(counts)
}
