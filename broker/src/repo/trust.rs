//! Audits, and the convictions that they lead to.

use chrono::{DateTime, Utc};
use primitives::id::{ConvictionId, JobId, NodeId, ProviderId, UserId};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::Row;
use crate::Result;
use crate::trust::audit::Audit;
use crate::trust::conviction::{Conviction, ConvictionState, OpenAudit};
use crate::trust::judgement::{CONVICTING, POSITIONS, TOLERANCE};

/// Keeps what an audit found; the same again changes nothing.
pub(crate) async fn audit_insert(conn: &mut PgConnection, audit: &Audit) -> Result<()> {
    sqlx::query!(
        "INSERT INTO broker.audits (job_id, epoch, node_id, referee_id, model, prompt_tokens, prompt_sha256, output_sha256,
           sampling, slacks, audited_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (job_id, epoch) DO NOTHING",
        audit.job_id.0,
        i64::from(audit.epoch),
        audit.node_id.0,
        audit.referee_id.0,
        audit.model,
        i64::from(audit.prompt_tokens),
        audit.prompt_sha256,
        audit.output_sha256,
        Json(&audit.sampling) as _,
        &audit.slacks,
        audit.audited_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Nodes with enough unjudged audits of a model for a judgement; at most 100.
pub(crate) async fn convictions_due(conn: &mut PgConnection) -> Result<Vec<(NodeId, ProviderId, String)>> {
    let rows = sqlx::query!(
        r#"SELECT audits.node_id AS "node_id: NodeId", nodes.provider_id AS "provider_id: ProviderId", audits.model
           FROM broker.audits
           JOIN broker.nodes ON nodes.id = audits.node_id
           WHERE audits.judged_at IS NULL
           GROUP BY audits.node_id, nodes.provider_id, audits.model
           HAVING sum(cardinality(audits.slacks)) >= $1
             OR sum((SELECT count(*) FROM unnest(audits.slacks) AS slack WHERE slack > $2))::bigint >= $3
           ORDER BY audits.node_id, audits.model
           LIMIT 100"#,
        POSITIONS as i64,
        TOLERANCE,
        CONVICTING,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.node_id, row.provider_id, row.model)).collect())
}

/// A node's unjudged audits of a model, the oldest first, at most [`POSITIONS`]: as many as one judgement could take. *Locks*: their
/// rows.
pub(crate) async fn audits_open(conn: &mut PgConnection, node_id: NodeId, model: &str) -> Result<Vec<OpenAudit>> {
    let rows = sqlx::query!(
        r#"SELECT audits.job_id AS "job_id: JobId", audits.epoch, referee_id AS "referee_id: NodeId", prompt_tokens, prompt_sha256,
             output_sha256, sampling, slacks, audited_at, receipts.receipt AS "receipt?"
           FROM broker.audits
           LEFT JOIN broker.receipts USING (job_id, epoch)
           WHERE audits.node_id = $1
             AND audits.model = $2
             AND judged_at IS NULL
           -- In the order of audits_open.
           ORDER BY audited_at
           LIMIT $3
           FOR UPDATE OF audits"#,
        node_id.0,
        model,
        POSITIONS as i64,
    )
    .fetch_all(conn)
    .await?;
    let audits = rows.into_iter().map(|audit| {
        let row = Row { table: "broker.audits", id: &audit.job_id };
        let (epoch, prompt_tokens) =
            (row.number("epoch", audit.epoch)?, row.number("prompt_tokens", audit.prompt_tokens)?);
        Ok(OpenAudit {
            job_id: audit.job_id,
            epoch,
            referee_id: audit.referee_id,
            prompt_tokens,
            prompt_sha256: audit.prompt_sha256,
            output_sha256: audit.output_sha256,
            sampling: audit.sampling,
            slacks: audit.slacks,
            receipt: audit.receipt,
            audited_at: audit.audited_at,
        })
    });
    audits.collect()
}

pub(crate) async fn audits_judged(conn: &mut PgConnection, leases: &[(JobId, u32)], now: DateTime<Utc>) -> Result<()> {
    let job_ids: Vec<Uuid> = leases.iter().map(|(job_id, _)| job_id.0).collect();
    let epochs: Vec<i64> = leases.iter().map(|(_, epoch)| i64::from(*epoch)).collect();
    sqlx::query!(
        "UPDATE broker.audits
         SET judged_at = greatest(audited_at, $3)
         FROM unnest($1::uuid[], $2::bigint[]) AS judged (job_id, epoch)
         WHERE audits.job_id = judged.job_id
           AND audits.epoch = judged.epoch",
        &job_ids,
        &epochs,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The key of a node, and its signed word on what it is.
pub(crate) async fn node_evidence(
    conn: &mut PgConnection,
    node_id: NodeId,
) -> Result<(Vec<u8>, Option<serde_json::Value>)> {
    let row =
        sqlx::query!("SELECT public_key, statement FROM broker.nodes WHERE id = $1", node_id.0).fetch_one(conn).await?;
    Ok((row.public_key, row.statement))
}

/// Records a conviction, unless one of the node is to be decided.
pub(crate) async fn conviction_insert(conn: &mut PgConnection, conviction: &Conviction) -> Result<bool> {
    let inserted = sqlx::query!(
        "INSERT INTO broker.convictions (id, node_id, provider_id, model, reason, evidence, state, convicted_at, appeal_until)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9
         WHERE NOT EXISTS (SELECT FROM broker.convictions WHERE node_id = $2 AND state IN ('open', 'appealed'))",
        conviction.id.0,
        conviction.node_id.0,
        conviction.provider_id.0,
        conviction.model,
        conviction.reason,
        conviction.evidence,
        conviction.state.as_str(),
        conviction.convicted_at,
        conviction.appeal_until,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

struct ConvictionRow {
    id: ConvictionId,
    node_id: NodeId,
    provider_id: ProviderId,
    model: String,
    reason: String,
    evidence: serde_json::Value,
    state: String,
    convicted_at: DateTime<Utc>,
    appeal_until: DateTime<Utc>,
    appeal: Option<String>,
    appealed_at: Option<DateTime<Utc>>,
    decision: Option<String>,
    decided_at: Option<DateTime<Utc>>,
}

impl TryFrom<ConvictionRow> for Conviction {
    type Error = crate::Error;

    fn try_from(conviction: ConvictionRow) -> Result<Self> {
        let row = Row { table: "broker.convictions", id: &conviction.id };
        Ok(Self {
            state: row.word("state", &conviction.state, &ConvictionState::ALL, ConvictionState::as_str)?,
            id: conviction.id,
            node_id: conviction.node_id,
            provider_id: conviction.provider_id,
            model: conviction.model,
            reason: conviction.reason,
            evidence: conviction.evidence,
            convicted_at: conviction.convicted_at,
            appeal_until: conviction.appeal_until,
            appeal: conviction.appeal,
            appealed_at: conviction.appealed_at,
            decision: conviction.decision,
            decided_at: conviction.decided_at,
        })
    }
}

/// A checked query over whole convictions: the columns are written once, the rest is the caller's.
macro_rules! select_convictions {
    ($rest:literal, $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            ConvictionRow,
            r#"SELECT id AS "id: ConvictionId", node_id AS "node_id: NodeId", provider_id AS "provider_id: ProviderId", model,
                 reason, evidence, state, convicted_at, appeal_until, appeal, appealed_at, decision, decided_at
               FROM broker.convictions "# + $rest,
            $($argument),*
        )
    };
}

pub(crate) async fn conviction_find(conn: &mut PgConnection, id: ConvictionId) -> Result<Option<Conviction>> {
    let row = select_convictions!("WHERE id = $1", id.0).fetch_optional(conn).await?;
    row.map(Conviction::try_from).transpose()
}

pub(crate) async fn convictions_page(
    conn: &mut PgConnection,
    provider_id: Option<ProviderId>,
    before: Option<ConvictionId>,
    limit: u32,
) -> Result<Vec<Conviction>> {
    let rows = select_convictions!(
        "WHERE ($1::uuid IS NULL OR provider_id = $1) AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        provider_id.map(|id| id.0),
        before.map(|id| id.0),
        i64::from(limit),
    );
    rows.fetch_all(conn).await?.into_iter().map(Conviction::try_from).collect()
}

/// Notes an appeal of an open conviction in its time; false where there is none.
pub(crate) async fn conviction_appeal(
    conn: &mut PgConnection,
    id: ConvictionId,
    appeal: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let appealed = sqlx::query!(
        "UPDATE broker.convictions
         SET state = 'appealed', appeal = $2, appealed_at = $3
         WHERE id = $1
           AND state = 'open'
           AND appeal_until > $3",
        id.0,
        appeal,
        now,
    )
    .execute(conn)
    .await?;
    Ok(appealed.rows_affected() == 1)
}

/// Decides a conviction that is not decided; false where there is none.
pub(crate) async fn conviction_decide(
    conn: &mut PgConnection,
    id: ConvictionId,
    state: ConvictionState,
    decision: &str,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<bool> {
    let decided = sqlx::query!(
        "UPDATE broker.convictions
         SET state = $2, decision = $3, decided_by = $4, decided_at = $5
         WHERE id = $1
           AND state IN ('open', 'appealed')",
        id.0,
        state.as_str(),
        decision,
        user_id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(decided.rows_affected() == 1)
}

/// Upholds the convictions that nobody appealed in time.
pub(crate) async fn convictions_uphold(conn: &mut PgConnection, decision: &str, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "UPDATE broker.convictions
         SET state = 'upheld', decision = $1, decided_at = $2
         WHERE state = 'open'
           AND appeal_until <= $2",
        decision,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
