//! What the verifier reads: everything, in canonical order.

use sqlx::PgConnection;

use crate::account::AccountId;
use crate::error::Error;
use crate::row::{AccountRow, BlockRow, FactRow, GroupRow, TransferRow};

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

/// The accounts opened in blocks `from` to `to`.
pub(crate) async fn accounts(
    conn: &mut PgConnection,
    shard: i16,
    from: i64,
    to: i64,
) -> Result<Vec<AccountRow>, Error> {
    let accounts = sqlx::query_as!(
        AccountRow,
        "SELECT * FROM ledger.accounts WHERE shard = $1 AND block_height BETWEEN $2 AND $3 ORDER BY block_height, id",
        shard,
        from,
        to,
    )
    .fetch_all(conn)
    .await?;
    Ok(accounts)
}

/// The groups of blocks `from` to `to`.
pub(crate) async fn groups(conn: &mut PgConnection, shard: i16, from: i64, to: i64) -> Result<Vec<GroupRow>, Error> {
    let groups = sqlx::query_as!(
        GroupRow,
        "SELECT * FROM ledger.groups WHERE shard = $1 AND seq >= $2 AND seq < $3 ORDER BY seq",
        shard,
        from,
        to,
    )
    .fetch_all(conn)
    .await?;
    Ok(groups)
}

/// The transfers of groups `from` up to, without, `to`.
pub(crate) async fn transfers(
    conn: &mut PgConnection,
    shard: i16,
    from: i64,
    to: i64,
) -> Result<Vec<TransferRow>, Error> {
    let transfers = sqlx::query_as!(
        TransferRow,
        "
        SELECT *
        FROM ledger.transfers
        WHERE shard = $1
            AND group_seq >= $2
            AND group_seq < $3
        ORDER BY group_seq, position
        ",
        shard,
        from,
        to,
    )
    .fetch_all(conn)
    .await?;
    Ok(transfers)
}

/// The usage facts of groups `from` up to, without, `to`.
pub(crate) async fn facts(conn: &mut PgConnection, shard: i16, from: i64, to: i64) -> Result<Vec<FactRow>, Error> {
    let facts = sqlx::query_as!(
        FactRow,
        "
        SELECT f.*
        FROM ledger.groups g
        JOIN ledger.usage_facts f ON f.job_id = g.link_id AND f.shard = g.shard AND f.group_seq = g.seq
        WHERE g.shard = $1
            AND g.seq >= $2
            AND g.seq < $3
        ORDER BY f.group_seq, f.segment, f.meter COLLATE \"C\"
        ",
        shard,
        from,
        to,
    )
    .fetch_all(conn)
    .await?;
    Ok(facts)
}

/// How many rows a shard's tables hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub accounts: i64,
    pub groups: i64,
    pub transfers: i64,
    pub facts: i64,
}

/// Counts a shard's rows.
pub(crate) async fn counts(conn: &mut PgConnection, shard: i16) -> Result<Counts, Error> {
    let counts = sqlx::query_as!(
        Counts,
        r#"
        SELECT
            (SELECT count(*) FROM ledger.accounts WHERE shard = $1) AS "accounts!",
            (SELECT count(*) FROM ledger.groups WHERE shard = $1) AS "groups!",
            (SELECT count(*) FROM ledger.transfers WHERE shard = $1) AS "transfers!",
            (SELECT count(*) FROM ledger.usage_facts WHERE shard = $1) AS "facts!"
        "#,
        shard,
    )
    .fetch_one(conn)
    .await?;
    Ok(counts)
}

/// The accounts whose balances are not what their transfers make of them; at most `max`.
pub(crate) async fn wrong_balances(conn: &mut PgConnection, max: i64) -> Result<Vec<AccountId>, Error> {
    let accounts = sqlx::query_scalar!(
        r#"
        WITH moves AS (
            SELECT
                t.debit_account_id,
                t.credit_account_id,
                CASE WHEN t.kind IN ('posted', 'capture') THEN t.amount_nanos ELSE 0 END AS posted,
                CASE t.kind
                    WHEN 'posted' THEN 0
                    WHEN 'pending' THEN t.amount_nanos
                    ELSE -p.amount_nanos
                END AS pending
            FROM ledger.transfers t
            LEFT JOIN ledger.transfers p ON p.id = t.pending_id
        ),
        sums AS (
            SELECT id, sum(dr) AS dr, sum(cr) AS cr, sum(dr_pending) AS dr_pending, sum(cr_pending) AS cr_pending
            FROM (
                SELECT debit_account_id AS id, posted AS dr, 0 AS cr, pending AS dr_pending, 0 AS cr_pending FROM moves
                UNION ALL
                SELECT credit_account_id, 0, posted, 0, pending FROM moves
            ) legs
            GROUP BY id
        )
        SELECT COALESCE(a.id, s.id) AS "id!: AccountId"
        FROM ledger.accounts a
        FULL JOIN sums s ON s.id = a.id
        WHERE a.id IS NULL
            OR a.debits_posted_nanos <> COALESCE(s.dr, 0)
            OR a.credits_posted_nanos <> COALESCE(s.cr, 0)
            OR a.debits_pending_nanos <> COALESCE(s.dr_pending, 0)
            OR a.credits_pending_nanos <> COALESCE(s.cr_pending, 0)
        ORDER BY 1
        LIMIT $1
        "#,
        max,
    )
    .fetch_all(conn)
    .await?;
    Ok(accounts)
}
