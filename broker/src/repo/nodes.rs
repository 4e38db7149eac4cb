//! What becomes of nodes, and how they do.

use chrono::{DateTime, Utc};
use primitives::id::{JoinTokenId, NodeId, ProviderId, UserId};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::Row;
use crate::Result;
use crate::join_token::JoinToken;
use crate::node::{NodeEvent, NodeStatus, Statement};
use crate::score::Counts;

pub(crate) async fn join_tokens(
    conn: &mut PgConnection,
    provider_id: ProviderId,
    before: Option<JoinTokenId>,
    limit: u32,
) -> Result<Vec<JoinToken>> {
    let tokens = sqlx::query_as!(
        JoinToken,
        r#"SELECT id AS "id: JoinTokenId", provider_id AS "provider_id: ProviderId", hint, created_at, expires_at, used_at,
             used_by_node_id AS "used_by_node_id: NodeId", revoked_at
           FROM broker.join_tokens
           WHERE provider_id = $1
             AND ($2::uuid IS NULL OR id < $2)
           -- In the order of join_tokens_of_provider, backwards.
           ORDER BY id DESC
           LIMIT $3"#,
        provider_id.0,
        before.map(|id| id.0),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    Ok(tokens)
}

pub(crate) async fn join_token_revoke(
    conn: &mut PgConnection,
    provider_id: ProviderId,
    id: JoinTokenId,
    now: DateTime<Utc>,
) -> Result<bool> {
    let revoked = sqlx::query!(
        "UPDATE broker.join_tokens
         SET revoked_at = $3
         WHERE id = $1
           AND provider_id = $2
           AND used_at IS NULL
           AND revoked_at IS NULL",
        id.0,
        provider_id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(revoked.rows_affected() == 1)
}

pub(crate) async fn node_event_insert(
    conn: &mut PgConnection,
    id: NodeId,
    status: NodeStatus,
    reason: &str,
    user_id: Option<UserId>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO broker.node_events (node_id, status, reason, user_id, at)
         VALUES ($1, $2, $3, $4, $5)",
        id.0,
        status.as_str(),
        reason,
        user_id.map(|id| id.0),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn node_events(
    conn: &mut PgConnection,
    id: NodeId,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<NodeEvent>> {
    let rows = sqlx::query!(
        r#"SELECT id, status, reason, user_id AS "user_id: UserId", at
           FROM broker.node_events
           WHERE node_id = $1
             AND id < $2
           ORDER BY id DESC
           LIMIT $3"#,
        id.0,
        before.unwrap_or(i64::MAX),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    let event = |number: i64, status: &str, reason, user_id, at| {
        let row = Row { table: "broker.node_events", id: &number };
        let status = row.word("status", status, &NodeStatus::ALL, NodeStatus::as_str)?;
        Ok(NodeEvent { number, status, reason, user_id, at })
    };
    rows.into_iter().map(|row| event(row.id, &row.status, row.reason, row.user_id, row.at)).collect()
}

/// The status that a suspended node had.
pub(crate) async fn node_status_before(conn: &mut PgConnection, id: NodeId) -> Result<Option<NodeStatus>> {
    let word = sqlx::query_scalar!(
        "SELECT status
         FROM broker.node_events
         WHERE node_id = $1
           AND status NOT IN ('suspended', 'retired')
         ORDER BY id DESC
         LIMIT 1",
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    let row = Row { table: "broker.node_events", id: &id };
    word.map(|word| row.word("status", &word, &NodeStatus::ALL, NodeStatus::as_str)).transpose()
}

/// Takes a node from one of some states to another; false when it is in none of them. *Locks*: its row.
pub(crate) async fn node_step(
    conn: &mut PgConnection,
    id: NodeId,
    from: &[NodeStatus],
    to: NodeStatus,
    now: DateTime<Utc>,
) -> Result<bool> {
    let from: Vec<String> = from.iter().map(|status| status.as_str().to_owned()).collect();
    let stepped = sqlx::query!(
        "UPDATE broker.nodes
         SET status = $3,
           probation_from = CASE WHEN $3 = 'probation' THEN coalesce(probation_from, $4) ELSE probation_from END,
           probation_to = CASE
             WHEN $3 = 'active' AND probation_from IS NOT NULL THEN coalesce(probation_to, $4)
             ELSE probation_to
           END
         WHERE id = $1
           AND status = ANY ($2)",
        id.0,
        &from,
        to.as_str(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(stepped.rows_affected() == 1)
}

pub(crate) async fn node_state(conn: &mut PgConnection, id: NodeId, statement: &Statement) -> Result<bool> {
    let stated = sqlx::query!("UPDATE broker.nodes SET statement = $2 WHERE id = $1", id.0, Json(statement) as _)
        .execute(conn)
        .await?;
    Ok(stated.rows_affected() == 1)
}

pub(crate) async fn node_rename(conn: &mut PgConnection, id: NodeId, name: Option<&str>) -> Result<bool> {
    let renamed =
        sqlx::query!("UPDATE broker.nodes SET given_name = $2 WHERE id = $1", id.0, name).execute(conn).await?;
    Ok(renamed.rows_affected() == 1)
}

pub(crate) async fn node_drain(conn: &mut PgConnection, id: NodeId, now: DateTime<Utc>) -> Result<bool> {
    let drained =
        sqlx::query!("UPDATE broker.nodes SET drained_at = $2 WHERE id = $1", id.0, now).execute(conn).await?;
    Ok(drained.rows_affected() == 1)
}

/// Nodes on probation since `since` or earlier with at least so many jobs done well since it began, and how many; at most 100.
pub(crate) async fn nodes_proven(
    conn: &mut PgConnection,
    since: DateTime<Utc>,
    jobs: i64,
) -> Result<Vec<(NodeId, i64)>> {
    let rows = sqlx::query!(
        r#"SELECT nodes.id AS "id: NodeId", done.well AS "well!"
           FROM broker.nodes
           CROSS JOIN LATERAL (
             SELECT
               count(*) FILTER (WHERE leases.outcome = 'done' AND receipts.mismatch IS NULL) AS well,
               count(*) FILTER (WHERE leases.outcome NOT IN ('done', 'cancelled', 'abandoned')) AS badly,
               count(*) FILTER (WHERE receipts.mismatch IS NOT NULL) AS mismatched
             FROM broker.leases
             LEFT JOIN broker.receipts USING (job_id, epoch)
             WHERE leases.node_id = nodes.id
               AND leases.granted_at >= nodes.probation_from
           ) AS done
           WHERE nodes.status = 'probation'
             AND nodes.probation_from <= $1
             AND done.well >= $2
             AND done.badly * 20 <= done.well
             AND done.mismatched = 0
           ORDER BY nodes.id
           LIMIT 100"#,
        since,
        jobs,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.well)).collect())
}

/// Until when the earnings of some nodes are kept back: none for a node that has no end in sight; nodes that never were on probation
/// are left out.
pub(crate) async fn nodes_probation(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<(NodeId, Option<DateTime<Utc>>)>> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id: NodeId", probation_to
           FROM broker.nodes
           WHERE id = ANY ($1)
             AND probation_from IS NOT NULL"#,
        ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.probation_to)).collect())
}

/// How a node's leases went since `since`.
pub(crate) async fn node_score(conn: &mut PgConnection, id: NodeId, since: DateTime<Utc>) -> Result<Counts> {
    let row = sqlx::query!(
        r#"SELECT
             count(*) FILTER (WHERE leases.outcome = 'done') AS "done!",
             count(*) FILTER (WHERE leases.outcome = 'failed') AS "failed!",
             count(*) FILTER (WHERE leases.outcome = 'stalled') AS "stalled!",
             count(*) FILTER (WHERE leases.outcome = 'lost') AS "lost!",
             count(*) FILTER (WHERE leases.outcome IN ('broken', 'cut')) AS "broken!",
             count(*) FILTER (WHERE receipts.mismatch IS NOT NULL) AS "mismatched!"
           FROM broker.leases
           LEFT JOIN broker.receipts USING (job_id, epoch)
           WHERE leases.node_id = $1
             AND leases.granted_at >= $2"#,
        id.0,
        since,
    )
    .fetch_one(conn)
    .await?;
    let count = |column, count| Row { table: "broker.leases", id: &id }.number(column, count);
    Ok(Counts {
        done: count("done", row.done)?,
        failed: count("failed", row.failed)?,
        stalled: count("stalled", row.stalled)?,
        lost: count("lost", row.lost)?,
        broken: count("broken", row.broken)?,
        mismatched: count("mismatched", row.mismatched)?,
    })
}
