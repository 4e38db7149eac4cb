//! Replicas: who lives, who is gone, and who has a shard.

use chrono::{DateTime, Utc};
use primitives::id::ReplicaId;
use sqlx::PgConnection;

use crate::error::Error;

/// The first half of the advisory locks' keys of shards, `LEDG`, and of replicas, `REPL`.
pub(super) const SHARD_LOCKS: i32 = 0x4C45_4447;
const REPLICA_LOCKS: i32 = 0x5245_504C;

/// A replica that was not declared gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Living {
    pub id: ReplicaId,
    /// How often it said so.
    pub beats: i64,
    /// The database process that holds its lock; none when it ended, or lost its connection.
    pub holder: Option<i32>,
}

/// A shard, and whose writer has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub epoch: i64,
    /// Whose writer raised the epoch last.
    pub owner: Option<ReplicaId>,
    /// Where that replica is.
    pub address: Option<String>,
    /// The database process that holds the shard's lock.
    pub holder: Option<i32>,
}

/// Registers a replica.
pub(crate) async fn join(conn: &mut PgConnection, address: &str, now: DateTime<Utc>) -> Result<ReplicaId, Error> {
    let id =
        sqlx::query_scalar!(r#"SELECT ledger.join_replica($1, $2) AS "id!""#, address, now).fetch_one(conn).await?;
    Ok(ReplicaId(id))
}

/// Takes the replica's lock for as long as the connection lives; false when another connection holds it.
pub(crate) async fn lock(conn: &mut PgConnection, id: ReplicaId) -> Result<bool, Error> {
    let locked = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1, $2) AS "locked!""#, REPLICA_LOCKS, id.0);
    Ok(locked.fetch_one(conn).await?)
}

/// Says that a replica lives; false for one that was declared gone.
pub(crate) async fn beat(conn: &mut PgConnection, id: ReplicaId, now: DateTime<Utc>) -> Result<bool, Error> {
    let lives = sqlx::query_scalar!(r#"SELECT ledger.beat($1, $2) AS "lives!""#, id.0, now).fetch_one(conn).await?;
    Ok(lives)
}

/// Declares a replica gone; false for one that was before.
pub(crate) async fn bury(conn: &mut PgConnection, id: ReplicaId, now: DateTime<Utc>) -> Result<bool, Error> {
    let buried = sqlx::query_scalar!(r#"SELECT ledger.bury($1, $2) AS "buried!""#, id.0, now).fetch_one(conn).await?;
    Ok(buried)
}

/// The replicas that were not declared gone, in the order of their starts.
pub(crate) async fn living(conn: &mut PgConnection) -> Result<Vec<Living>, Error> {
    let rows = sqlx::query!(
        r#"
        SELECT
            r.id,
            r.beats,
            (
                SELECT l.pid
                FROM pg_locks l
                JOIN pg_database d ON d.oid = l.database
                WHERE d.datname = current_database()
                    AND l.locktype = 'advisory'
                    AND l.classid::bigint = $1
                    AND l.objid::bigint = r.id
                    AND l.objsubid = 2
                    AND l.granted
            ) AS holder
        FROM ledger.replicas r
        WHERE r.gone_at IS NULL
        ORDER BY r.id
        "#,
        i64::from(REPLICA_LOCKS),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| Living { id: ReplicaId(row.id), beats: row.beats, holder: row.holder }).collect())
}

/// Who has a shard.
pub(crate) async fn seat(conn: &mut PgConnection, shard: i16) -> Result<Seat, Error> {
    let row = sqlx::query!(
        r#"
        SELECT
            s.epoch,
            s.owner_id,
            o.address AS "address?",
            (
                SELECT l.pid
                FROM pg_locks l
                JOIN pg_database d ON d.oid = l.database
                WHERE d.datname = current_database()
                    AND l.locktype = 'advisory'
                    AND l.classid::bigint = $2
                    AND l.objid::bigint = s.shard
                    AND l.objsubid = 2
                    AND l.granted
            ) AS holder
        FROM ledger.shards s
        LEFT JOIN ledger.replicas o ON o.id = s.owner_id
        WHERE s.shard = $1
        "#,
        shard,
        i64::from(SHARD_LOCKS),
    )
    .fetch_one(conn)
    .await?;
    let owner = row.owner_id.map(ReplicaId);
    Ok(Seat { epoch: row.epoch, owner, address: row.address, holder: row.holder })
}

/// Ends a database process of this program's role, and with it its locks.
pub(crate) async fn terminate(conn: &mut PgConnection, pid: i32) -> Result<(), Error> {
    sqlx::query_scalar!("SELECT pg_terminate_backend($1)", pid).fetch_one(conn).await?;
    Ok(())
}

/// Which of these replicas are registered and were not declared gone.
///
/// A replica is registered before it takes its first job, so whoever asks after it read a job finds that job's replica.
pub async fn living_replicas(conn: &mut PgConnection, ids: &[ReplicaId]) -> Result<Vec<ReplicaId>, Error> {
    let ids: Vec<i32> = ids.iter().map(|id| id.0).collect();
    let living = sqlx::query_scalar!("SELECT id FROM ledger.replicas WHERE id = ANY ($1) AND gone_at IS NULL", &ids);
    Ok(living.fetch_all(conn).await?.into_iter().map(ReplicaId).collect())
}
