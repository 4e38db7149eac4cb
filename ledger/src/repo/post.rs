//! The writer's SQL: taking a shard, loading what it decides on, posting blocks.

use chrono::{DateTime, Utc};
use primitives::id::ReplicaId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::replica::SHARD_LOCKS;
use super::{bad_row, period};
use crate::account::{Account, AccountId, AccountKey, AccountState, Priority, Terms};
use crate::block::{Block, BlockRef};
use crate::chart::Code;
use crate::core::{Knowledge, Known, Needs, Tip};
use crate::error::Error;
use crate::period::{Month, PeriodState};
use crate::recipe::GroupKey;
use crate::row::{
    AccountRow, BlockRow, CapacityRow, CheckpointRow, LeafRow, PeriodRow, StateRow, TransferRow, UsageRow,
};

/// Takes the shard's lock for as long as the connection lives, and lets its commits not wait for the disk, which [`flush`] is
/// for; false when another connection holds it.
pub(crate) async fn lock(conn: &mut PgConnection, shard: i16) -> Result<bool, Error> {
    let row = sqlx::query!(
        r#"
        SELECT
            pg_try_advisory_lock($1, $2) AS "locked!",
            set_config('synchronous_commit', 'off', false) AS "lazy!"
        "#,
        SHARD_LOCKS,
        i32::from(shard),
    )
    .fetch_one(conn)
    .await?;
    Ok(row.locked)
}

/// Keeps the plans of what a decision needs on keys, for as long as the connection lives: one made while the tables were small
/// would read them through once they are not.
pub(crate) async fn look_up_by_key(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query_scalar!(r#"SELECT set_config('enable_seqscan', 'off', false) AS "set!""#).fetch_one(conn).await?;
    Ok(())
}

/// Frees the shard's lock.
pub(crate) async fn unlock(conn: &mut PgConnection, shard: i16) -> Result<(), Error> {
    sqlx::query_scalar!("SELECT pg_advisory_unlock($1, $2)", SHARD_LOCKS, i32::from(shard)).fetch_one(conn).await?;
    Ok(())
}

/// Fences every earlier writer off, says whose this one is, and tells the new epoch. *Locks*: the shard's row, behind a block that
/// is being posted.
pub(crate) async fn raise_epoch(conn: &mut PgConnection, shard: i16, owner: Option<ReplicaId>) -> Result<i64, Error> {
    let owner = owner.map(|id| id.0);
    let epoch = sqlx::query_scalar!(r#"SELECT ledger.raise_epoch($1, $2) AS "epoch!""#, shard, owner as Option<i32>);
    Ok(epoch.fetch_one(conn).await?)
}

/// The shard's epoch now.
pub(crate) async fn epoch(conn: &mut PgConnection, shard: i16) -> Result<i64, Error> {
    let epoch = sqlx::query_scalar!("SELECT epoch FROM ledger.shards WHERE shard = $1", shard).fetch_one(conn).await?;
    Ok(epoch)
}

/// Makes everything durable that was committed before, whoever committed it: an empty commit that waits for the disk.
pub(crate) async fn flush(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        SELECT
            set_config('synchronous_commit', 'on', true) AS "durable!",
            pg_logical_emit_message(TRUE, 'tokengrid', '')::text AS "written!"
        "#
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Where the shard's chain ends.
pub(crate) async fn tip(conn: &mut PgConnection, shard: i16) -> Result<Tip, Error> {
    let last = sqlx::query!(
        r#"
        SELECT
            height, hash, at, first_seq + transfers_count AS "next_seq!", accounts_total, leaves_total, open_from_seq
        FROM ledger.blocks
        WHERE shard = $1
        ORDER BY height DESC
        LIMIT 1
        "#,
        shard,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(last) = last else { return Ok(Tip::genesis(shard)) };
    let month = period::edge(conn, shard).await?;
    let hash = last.hash.try_into().map_err(|_| bad_row("ledger.blocks", "hash", last.height))?;
    Ok(Tip {
        block: BlockRef { height: last.height, hash },
        at: last.at,
        next_seq: last.next_seq,
        accounts_total: last.accounts_total,
        leaves_total: last.leaves_total,
        open_from_seq: last.open_from_seq,
        month,
    })
}

/// The months that are not open, each in its latest state.
pub(crate) async fn periods(conn: &mut PgConnection) -> Result<Vec<(Month, PeriodState)>, Error> {
    let rows =
        sqlx::query!("SELECT DISTINCT ON (period) period, state FROM ledger.period_states ORDER BY period, seq DESC")
            .fetch_all(conn)
            .await?;
    rows.into_iter()
        .map(|row| {
            let month = Month::try_from_number(row.period);
            let month = month.map_err(|_| bad_row("ledger.period_states", "period", row.period))?;
            let state = PeriodState::from_word(&row.state);
            Ok((month, state.ok_or_else(|| bad_row("ledger.period_states", "state", row.period))?))
        })
        .collect()
}

/// Posts a block: one call, one transaction, durable with the next [`flush`].
///
/// *Locks*: the shard's row for share, then the accounts it moves.
pub(crate) async fn post(conn: &mut PgConnection, block: &Block) -> Result<(), sqlx::Error> {
    let Block { row, rows, checkpoints } = block;
    sqlx::query!(
        "SELECT ledger.post_block($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        row as &BlockRow,
        rows.accounts.as_slice() as &[AccountRow],
        rows.leaves.as_slice() as &[LeafRow],
        rows.transfers.as_slice() as &[TransferRow],
        rows.usage.as_slice() as &[UsageRow],
        rows.capacity.as_slice() as &[CapacityRow],
        rows.states.as_slice() as &[StateRow],
        rows.periods.as_slice() as &[PeriodRow],
        checkpoints.as_slice() as &[CheckpointRow],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An account's columns, before they are understood.
pub(super) struct StoredAccount {
    pub id: i64,
    pub code: i16,
    pub owner_id: Option<Uuid>,
    pub lot_id: Option<Uuid>,
    pub unit: String,
    pub priority: i16,
    pub expires_at: Option<DateTime<Utc>>,
    pub debits_posted: i64,
    pub credits_posted: i64,
    pub debits_pending: i64,
    pub credits_pending: i64,
    pub last_seq: i64,
    pub transfers_count: i64,
    pub state: String,
}

impl TryFrom<StoredAccount> for Account {
    type Error = Error;

    fn try_from(row: StoredAccount) -> Result<Self, Error> {
        let code = Code::from_number(row.code).ok_or_else(|| bad_row("ledger.accounts", "code", row.id))?;
        let unit = row.unit.parse().map_err(|_| bad_row("ledger.accounts", "unit", row.id))?;
        Ok(Self {
            id: AccountId(row.id),
            key: AccountKey { code, owner: row.owner_id, lot: row.lot_id, unit },
            terms: Terms { priority: Priority(row.priority), expires_at: row.expires_at },
            state: AccountState::from_word(&row.state).ok_or_else(|| bad_row("ledger.accounts", "state", row.id))?,
            debits_posted: row.debits_posted,
            credits_posted: row.credits_posted,
            debits_pending: row.debits_pending,
            credits_pending: row.credits_pending,
            last_seq: row.last_seq,
            transfers: row.transfers_count,
        })
    }
}

/// The platform's own accounts of a shard.
pub(crate) async fn platform_accounts(conn: &mut PgConnection, shard: i16) -> Result<Vec<Account>, Error> {
    let rows = sqlx::query_as!(
        StoredAccount,
        "
        SELECT
            id, code, owner_id, lot_id, unit, priority, expires_at,
            debits_posted, credits_posted, debits_pending, credits_pending, last_seq, transfers_count, state
        FROM ledger.accounts
        WHERE owner_id IS NULL
            AND id / 1000000000 % 100 = $1::smallint
        ",
        shard,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Account::try_from).collect()
}

/// All accounts of some tenants and providers in a shard, each of which is named once.
pub(super) async fn accounts_of(conn: &mut PgConnection, shard: i16, owners: &[Uuid]) -> Result<Vec<Account>, Error> {
    if owners.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as!(
        StoredAccount,
        "
        SELECT
            a.id, a.code, a.owner_id, a.lot_id, a.unit, a.priority, a.expires_at,
            a.debits_posted, a.credits_posted, a.debits_pending, a.credits_pending, a.last_seq, a.transfers_count, a.state
        FROM unnest($1::uuid[]) asked (owner_id)
        -- OFFSET keeps it a look-up by key for each owner: for many at once the planner scans a table that is small when it plans.
        CROSS JOIN LATERAL (SELECT * FROM ledger.accounts o WHERE o.owner_id = asked.owner_id OFFSET 0) a
        WHERE a.id / 1000000000 % 100 = $2::smallint
        ",
        owners,
        shard,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Account::try_from).collect()
}

/// What the database knows of what the core needs, and the shard's epoch. That is of the instant at which the last of it was read:
/// whoever took the shard later has written nothing of this.
pub(crate) async fn knowledge(conn: &mut PgConnection, shard: i16, needs: &Needs) -> Result<(Knowledge, i64), Error> {
    let accounts = accounts_of(conn, shard, &needs.owners).await?;
    let (groups, epoch) = groups_of(conn, shard, &needs.links).await?;
    Ok((Knowledge { accounts, groups }, epoch))
}

/// Groups by their links, each of which is named once, and the shard's epoch at that instant.
async fn groups_of(
    conn: &mut PgConnection,
    shard: i16,
    links: &[Uuid],
) -> Result<(Vec<(GroupKey, Known)>, i64), Error> {
    let rows = sqlx::query!(
        r#"
        SELECT
            s.epoch,
            g.link_id AS "link_id?", g.recipe AS "recipe?", g.body AS "body?", g.height AS "height?", g.hash AS "hash?"
        FROM ledger.shards s
        LEFT JOIN (
            SELECT t.link_id, t.recipe, t.body, b.height, b.hash
            FROM unnest($1::uuid[]) asked (link_id)
            -- OFFSET keeps it a look-up by key for each link: for many at once the planner scans a table that is small when it plans.
            CROSS JOIN LATERAL (SELECT * FROM ledger.transfers h WHERE h.link_id = asked.link_id OFFSET 0) t
            CROSS JOIN LATERAL (
                SELECT height, hash FROM ledger.blocks WHERE first_seq <= t.seq ORDER BY first_seq DESC LIMIT 1
            ) b
        ) g ON TRUE
        WHERE s.shard = $2
        "#,
        links,
        shard,
    )
    .fetch_all(conn)
    .await?;
    let epoch = rows.first().map(|row| row.epoch).ok_or_else(|| bad_row("ledger.shards", "shard", shard))?;
    let mut groups = Vec::new();
    for row in rows {
        let (Some(link), Some(recipe), Some(body)) = (row.link_id, row.recipe, row.body) else { continue };
        let (height, hash) = row.height.zip(row.hash).ok_or_else(|| bad_row("ledger.blocks", "first_seq", link))?;
        let hash = hash.try_into().map_err(|_| bad_row("ledger.blocks", "hash", height))?;
        groups.push((GroupKey { link, recipe }, Known { body, height, hash: Some(hash) }));
    }
    Ok((groups, epoch))
}
