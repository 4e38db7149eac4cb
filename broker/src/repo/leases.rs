//! Leases and receipts on record.

use chrono::{DateTime, Utc};
use primitives::certificate::Grade;
use primitives::id::{JobId, NodeId, ProviderId, ReplicaId};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::Row;
use crate::Result;
use crate::lease::{GrantedLease, Lease, LeaseOutcome};
use crate::receipt::CheckedEnd;

/// Records leases whose epoch is the next of their job, and says which; the others' jobs belong to somebody else.
///
/// The insert is the fencing: of two that take the same epoch at once, the primary key lets one through.
pub(crate) async fn leases_insert(conn: &mut PgConnection, leases: &[GrantedLease]) -> Result<Vec<(JobId, u32)>> {
    let job_ids: Vec<Uuid> = leases.iter().map(|lease| lease.job_id.0).collect();
    let epochs: Vec<i64> = leases.iter().map(|lease| i64::from(lease.epoch)).collect();
    let node_ids: Vec<Uuid> = leases.iter().map(|lease| lease.node_id.0).collect();
    let provider_ids: Vec<Uuid> = leases.iter().map(|lease| lease.provider_id.0).collect();
    let grades: Vec<Option<&str>> = leases.iter().map(|lease| lease.grade.map(Grade::as_str)).collect();
    let granted_at: Vec<DateTime<Utc>> = leases.iter().map(|lease| lease.granted_at).collect();
    let recorded = sqlx::query!(
        r#"INSERT INTO broker.leases (job_id, epoch, node_id, provider_id, granted_at, grade)
           SELECT grants.job_id, grants.epoch, grants.node_id, grants.provider_id, grants.granted_at, grants.grade
           FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::timestamptz[], $6::text[])
             AS grants (job_id, epoch, node_id, provider_id, granted_at, grade)
           WHERE grants.epoch - 1 = (
             SELECT coalesce(max(leases.epoch), 0)
             FROM broker.leases
             WHERE leases.job_id = grants.job_id
           )
           -- Waits for another's insert of the same key, and yields to it.
           ON CONFLICT (job_id, epoch) DO NOTHING
           RETURNING job_id AS "job_id: JobId", epoch"#,
        &job_ids,
        &epochs,
        &node_ids,
        &provider_ids,
        &granted_at,
        &grades as _,
    )
    .fetch_all(conn)
    .await?;
    let read = |job_id: JobId, epoch| Ok((job_id, Row { table: "broker.leases", id: &job_id }.number("epoch", epoch)?));
    recorded.into_iter().map(|lease| read(lease.job_id, lease.epoch)).collect()
}

/// Ends leases that are open and their node's; running it twice changes nothing.
pub(crate) async fn leases_end(conn: &mut PgConnection, ends: &[CheckedEnd]) -> Result<()> {
    let job_ids: Vec<Uuid> = ends.iter().map(|end| end.lease.job_id.0).collect();
    let epochs: Vec<i64> = ends.iter().map(|end| i64::from(end.lease.epoch)).collect();
    let node_ids: Vec<Uuid> = ends.iter().map(|end| end.lease.node_id.0).collect();
    let ended_at: Vec<DateTime<Utc>> = ends.iter().map(|end| end.lease.ended_at).collect();
    let outcomes: Vec<String> = ends.iter().map(|end| end.lease.outcome.as_str().to_owned()).collect();
    let output_tokens: Vec<i64> = ends.iter().map(|end| end.lease.delivered.len() as i64).collect();
    sqlx::query!(
        "UPDATE broker.leases
         SET ended_at = ends.ended_at, outcome = ends.outcome, output_tokens = ends.output_tokens
         FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::timestamptz[], $5::text[], $6::bigint[])
           AS ends (job_id, epoch, node_id, ended_at, outcome, output_tokens)
         WHERE leases.job_id = ends.job_id
           AND leases.epoch = ends.epoch
           AND leases.node_id = ends.node_id
           AND leases.ended_at IS NULL",
        &job_ids,
        &epochs,
        &node_ids,
        &ended_at,
        &outcomes,
        &output_tokens,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps the receipts that came with the ends of leases; running it twice changes nothing.
pub(crate) async fn receipts_insert(conn: &mut PgConnection, ends: &[CheckedEnd]) -> Result<()> {
    for CheckedEnd { lease, mismatch } in ends {
        let Some(receipt) = &lease.receipt else { continue };
        sqlx::query!(
            "INSERT INTO broker.receipts (job_id, epoch, node_id, receipt, mismatch, received_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (job_id, epoch) DO NOTHING",
            lease.job_id.0,
            i64::from(lease.epoch),
            lease.node_id.0,
            Json(receipt) as _,
            mismatch.map(|mismatch| mismatch.to_string()),
            lease.ended_at,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

pub(crate) async fn leases_abandon(conn: &mut PgConnection, replica_id: ReplicaId, now: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!(
        "UPDATE broker.leases
         SET ended_at = $1, outcome = $2, output_tokens = 0
         FROM broker.jobs
         WHERE leases.ended_at IS NULL
           AND jobs.job_id = leases.job_id
           AND jobs.replica_id = $3",
        now,
        LeaseOutcome::Abandoned.as_str(),
        replica_id.0,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

pub(crate) async fn leases_of(conn: &mut PgConnection, job_id: JobId) -> Result<Vec<Lease>> {
    let rows = sqlx::query!(
        r#"SELECT epoch, node_id AS "node_id: NodeId", provider_id AS "provider_id: ProviderId", grade, granted_at, ended_at,
             outcome, output_tokens
           FROM broker.leases
           WHERE job_id = $1
           ORDER BY epoch"#,
        job_id.0,
    )
    .fetch_all(conn)
    .await?;
    let row = Row { table: "broker.leases", id: &job_id };
    let outcome = |word: String| row.word("outcome", &word, &LeaseOutcome::ALL, LeaseOutcome::as_str);
    let leases = rows.into_iter().map(|lease| {
        Ok(Lease {
            job_id,
            epoch: row.number("epoch", lease.epoch)?,
            node_id: lease.node_id,
            provider_id: lease.provider_id,
            grade: lease.grade.map(|word| row.word("grade", &word, &Grade::SERVED, Grade::as_str)).transpose()?,
            granted_at: lease.granted_at,
            ended_at: lease.ended_at,
            outcome: lease.outcome.map(outcome).transpose()?,
            output_tokens: lease.output_tokens.map(|tokens| row.number("output_tokens", tokens)).transpose()?,
        })
    });
    leases.collect()
}
