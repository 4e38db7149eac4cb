//! Presences of nodes.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use primitives::id::{NodeId, ProviderId};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::Result;
use crate::presence::{GAP_MAX, ModelShare, Presence, Unreported};

/// *Locks*: the table against other writers of it, for the transaction: of two control planes that hear the same node, one
/// sees what the other wrote.
pub(crate) async fn presences_extend(conn: &mut PgConnection, presences: &[Presence]) -> Result<()> {
    sqlx::query!("LOCK TABLE broker.presences IN SHARE ROW EXCLUSIVE MODE").execute(&mut *conn).await?;
    let mut rest: Vec<&Presence> = presences.iter().collect();
    while !rest.is_empty() {
        // One of each node at a time, in their order.
        let mut nodes = BTreeSet::new();
        let (now, later) = rest.into_iter().partition(|presence| nodes.insert(presence.node_id));
        extend(conn, now).await?;
        rest = later;
    }
    Ok(())
}

async fn extend(conn: &mut PgConnection, presences: Vec<&Presence>) -> Result<()> {
    let node_ids: Vec<Uuid> = presences.iter().map(|presence| presence.node_id.0).collect();
    let provider_ids: Vec<Uuid> = presences.iter().map(|presence| presence.provider_id.0).collect();
    let from_at: Vec<DateTime<Utc>> = presences.iter().map(|presence| presence.from_at).collect();
    let to_at: Vec<DateTime<Utc>> = presences.iter().map(|presence| presence.to_at).collect();
    let gone_at: Vec<DateTime<Utc>> = from_at.iter().map(|at| *at - GAP_MAX).collect();
    let rcu_milli: Vec<i32> = presences.iter().map(|presence| presence.rcu_milli).collect();
    let shares: Vec<serde_json::Value> = presences.iter().map(|presence| pairs(presence)).collect();
    sqlx::query!(
        "WITH told AS (
           SELECT
             t.*, p.from_at AS last_from_at, p.to_at AS last_to_at,
             COALESCE(p.rcu_milli = t.rcu_milli AND p.shares = t.shares AND p.to_at >= t.gone_at, FALSE) AS goes_on
           FROM unnest(
             $1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::integer[], $7::jsonb[]
           ) AS t (node_id, provider_id, from_at, to_at, gone_at, rcu_milli, shares)
           LEFT JOIN LATERAL (
             SELECT * FROM broker.presences l WHERE l.node_id = t.node_id ORDER BY l.from_at DESC LIMIT 1
           ) p ON TRUE
         ),
         extended AS (
           UPDATE broker.presences p
           SET to_at = told.to_at
           FROM told
           WHERE told.goes_on
             AND p.node_id = told.node_id
             AND p.from_at = told.last_from_at
             AND p.to_at < told.to_at
         )
         INSERT INTO broker.presences (node_id, provider_id, from_at, to_at, rcu_milli, shares, reported_to)
         SELECT node_id, provider_id, began_at, to_at, rcu_milli, shares, began_at
         FROM told
         -- What is there of it already is not there twice.
         CROSS JOIN LATERAL (SELECT GREATEST(from_at, last_to_at) AS began_at) began
         WHERE began_at < to_at
           AND NOT goes_on",
        &node_ids,
        &provider_ids,
        &from_at,
        &to_at,
        &gone_at,
        &rcu_milli,
        &shares,
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn pairs(presence: &Presence) -> serde_json::Value {
    let pairs: Vec<(&str, i32)> = presence.shares.iter().map(|share| (share.model.as_str(), share.share_ppm)).collect();
    serde_json::json!(pairs)
}

pub(crate) async fn presences_unreported(
    conn: &mut PgConnection,
    edge: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Unreported>> {
    let rows = sqlx::query!(
        r#"SELECT node_id AS "node_id: NodeId", provider_id AS "provider_id: ProviderId", from_at, reported_to,
             LEAST(to_at, $1) AS "to_at!", rcu_milli, shares AS "shares: Json<Vec<(String, i32)>>"
           FROM broker.presences
           WHERE reported_to < LEAST(to_at, $1)
           ORDER BY from_at, node_id
           LIMIT $2"#,
        edge,
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    let unreported = rows.into_iter().map(|row| {
        let shares = row.shares.0.into_iter().map(|(model, share_ppm)| ModelShare { model, share_ppm });
        let part = Presence {
            node_id: row.node_id,
            provider_id: row.provider_id,
            from_at: row.reported_to,
            to_at: row.to_at,
            rcu_milli: row.rcu_milli,
            shares: shares.collect(),
        };
        Unreported { began_at: row.from_at, part }
    });
    Ok(unreported.collect())
}

pub(crate) async fn presences_reported(
    conn: &mut PgConnection,
    node_id: NodeId,
    began_at: DateTime<Utc>,
    to_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE broker.presences
         SET reported_to = GREATEST(reported_to, $3)
         WHERE node_id = $1
           AND from_at = $2",
        node_id.0,
        began_at,
        to_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn presences_forget(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!("DELETE FROM broker.presences WHERE to_at < $1 AND reported_to = to_at", before)
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}
