//! The writer's SQL: taking a shard, loading what it decides on, posting blocks.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::bad_row;
use crate::account::{Account, AccountId, AccountKey, Code};
use crate::block::{Block, BlockRef};
use crate::core::{Knowledge, Known, Needs, Tip};
use crate::error::Error;
use crate::recipe::{GroupKey, NAMES};
use crate::row::{AccountRow, BlockRow, FactRow, GroupRow, TransferRow};

/// The first half of the advisory locks' key: `LEDG`.
const LOCK_CLASS: i32 = 0x4C45_4447;

/// Takes the shard's lock for as long as the connection lives, and makes its commits wait for the disk; false when another
/// connection holds it.
pub(crate) async fn lock(conn: &mut PgConnection, shard: i16) -> Result<bool, Error> {
    let row = sqlx::query!(
        r#"
        SELECT
            pg_try_advisory_lock($1, $2) AS "locked!",
            set_config('synchronous_commit', 'on', false) AS "durable!"
        "#,
        LOCK_CLASS,
        i32::from(shard),
    )
    .fetch_one(conn)
    .await?;
    Ok(row.locked)
}

/// Frees the shard's lock.
pub(crate) async fn unlock(conn: &mut PgConnection, shard: i16) -> Result<(), Error> {
    sqlx::query_scalar!("SELECT pg_advisory_unlock($1, $2)", LOCK_CLASS, i32::from(shard)).fetch_one(conn).await?;
    Ok(())
}

/// Fences every earlier writer off, and tells the new epoch. *Locks*: the shard's row, behind a block that is being posted.
pub(crate) async fn raise_epoch(conn: &mut PgConnection, shard: i16) -> Result<i64, Error> {
    let epoch =
        sqlx::query_scalar!("UPDATE ledger.shards SET epoch = epoch + 1 WHERE shard = $1 RETURNING epoch", shard)
            .fetch_one(conn)
            .await?;
    Ok(epoch)
}

/// The shard's epoch now.
pub(crate) async fn epoch(conn: &mut PgConnection, shard: i16) -> Result<i64, Error> {
    let epoch = sqlx::query_scalar!("SELECT epoch FROM ledger.shards WHERE shard = $1", shard).fetch_one(conn).await?;
    Ok(epoch)
}

/// Where the shard's chain ends.
pub(crate) async fn tip(conn: &mut PgConnection, shard: i16) -> Result<Tip, Error> {
    let last = sqlx::query!(
        "
        SELECT height, hash, first_group_seq + groups_count AS \"next_seq!\", accounts_total, open_from_seq
        FROM ledger.blocks
        WHERE shard = $1
        ORDER BY height DESC
        LIMIT 1
        ",
        shard,
    )
    .fetch_optional(conn)
    .await?;
    let Some(last) = last else { return Ok(Tip::GENESIS) };
    let hash = last.hash.try_into().map_err(|_| bad_row("ledger.blocks", "hash", last.height))?;
    Ok(Tip {
        block: BlockRef { height: last.height, hash },
        next_seq: last.next_seq,
        accounts_total: last.accounts_total,
        open_from_seq: last.open_from_seq,
    })
}

/// Posts a block: one call, one transaction, one flush to disk.
///
/// *Locks*: the shard's row for share, then the accounts it moves in the order of their ids.
pub(crate) async fn post(conn: &mut PgConnection, block: &Block) -> Result<(), sqlx::Error> {
    let Block { row, accounts, groups, transfers, facts } = block;
    sqlx::query!(
        "SELECT ledger.post_block($1, $2, $3, $4, $5)",
        row as &BlockRow,
        accounts as &[AccountRow],
        groups as &[GroupRow],
        transfers as &[TransferRow],
        facts as &[FactRow],
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
    pub expires_at: Option<DateTime<Utc>>,
    pub debits_posted_nanos: i64,
    pub credits_posted_nanos: i64,
    pub debits_pending_nanos: i64,
    pub credits_pending_nanos: i64,
}

impl TryFrom<StoredAccount> for Account {
    type Error = Error;

    fn try_from(row: StoredAccount) -> Result<Self, Error> {
        let code = Code::from_number(row.code).ok_or_else(|| bad_row("ledger.accounts", "code", row.id))?;
        let unit = row.unit.parse().map_err(|_| bad_row("ledger.accounts", "unit", row.id))?;
        Ok(Self {
            id: AccountId(row.id),
            key: AccountKey { code, owner: row.owner_id, lot: row.lot_id, unit },
            expires_at: row.expires_at,
            debits_posted: row.debits_posted_nanos,
            credits_posted: row.credits_posted_nanos,
            debits_pending: row.debits_pending_nanos,
            credits_pending: row.credits_pending_nanos,
        })
    }
}

/// The platform's own accounts of a shard.
pub(crate) async fn platform_accounts(conn: &mut PgConnection, shard: i16) -> Result<Vec<Account>, Error> {
    let rows = sqlx::query_as!(
        StoredAccount,
        "
        SELECT
            id, code, owner_id, lot_id, unit, expires_at,
            debits_posted_nanos, credits_posted_nanos, debits_pending_nanos, credits_pending_nanos
        FROM ledger.accounts
        WHERE owner_id IS NULL
            AND shard = $1
        ",
        shard,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Account::try_from).collect()
}

/// All accounts of some tenants and providers in a shard.
pub(super) async fn accounts_of(conn: &mut PgConnection, shard: i16, owners: &[Uuid]) -> Result<Vec<Account>, Error> {
    let rows = sqlx::query_as!(
        StoredAccount,
        "
        SELECT
            id, code, owner_id, lot_id, unit, expires_at,
            debits_posted_nanos, credits_posted_nanos, debits_pending_nanos, credits_pending_nanos
        FROM ledger.accounts
        WHERE owner_id = ANY ($1)
            AND shard = $2
        ",
        owners,
        shard,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Account::try_from).collect()
}

/// What the database knows of what the core needs.
pub(crate) async fn knowledge(conn: &mut PgConnection, shard: i16, needs: &Needs) -> Result<Knowledge, Error> {
    let accounts = accounts_of(conn, shard, &needs.owners).await?;
    let groups = groups_of(conn, &needs.links).await?;
    Ok(Knowledge { accounts, groups })
}

async fn groups_of(conn: &mut PgConnection, links: &[Uuid]) -> Result<Vec<(GroupKey, Known)>, Error> {
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        "
        SELECT g.seq, g.link_id, g.recipe, g.body_hash, g.block_height, b.hash
        FROM ledger.groups g
        JOIN ledger.blocks b ON b.shard = g.shard AND b.height = g.block_height
        WHERE g.link_id = ANY ($1)
        ",
        links,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let recipe = NAMES.into_iter().find(|name| *name == row.recipe);
            let recipe = recipe.ok_or_else(|| bad_row("ledger.groups", "recipe", row.seq))?;
            let body_hash = row.body_hash.try_into().map_err(|_| bad_row("ledger.groups", "body_hash", row.seq))?;
            let hash = row.hash.try_into().map_err(|_| bad_row("ledger.blocks", "hash", row.block_height))?;
            let known = Known { body_hash, height: row.block_height, hash: Some(hash) };
            Ok((GroupKey { link: row.link_id, recipe }, known))
        })
        .collect()
}
