//! Jobs on record.

use chrono::{DateTime, Utc};
use primitives::certificate::Grade;
use primitives::id::{ApiKeyId, JobId, PriceId, ProjectId, ReplicaId, TenantId, UserId};
use primitives::money::Nanos;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Row;
use crate::job::{Class, EndReason, Filter, Grouping, JobEnd, JobRecord, JobStatus, NewJob, Usage};
use crate::{Error, Result};

struct JobRow {
    job_id: JobId,
    tenant_id: TenantId,
    project_id: ProjectId,
    api_key_id: Option<ApiKeyId>,
    user_id: Option<UserId>,
    model: String,
    grade: String,
    class: String,
    status: String,
    idempotency_key: Option<String>,
    body_sha256: Vec<u8>,
    prompt_tokens: i64,
    output_tokens_max: i64,
    output_tokens: Option<i64>,
    finish_reason: Option<String>,
    error_code: Option<String>,
    first_job_id: Option<JobId>,
    cached_tokens: Option<i64>,
    input_price_id: PriceId,
    cached_input_price_id: Option<PriceId>,
    output_price_id: Option<PriceId>,
    currency: String,
    hold_nanos: Nanos,
    charge_nanos: Option<Nanos>,
    received_at: DateTime<Utc>,
    first_token_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
}

impl TryFrom<JobRow> for JobRecord {
    type Error = Error;

    fn try_from(job: JobRow) -> Result<Self> {
        let row = Row { table: "broker.jobs", id: &job.job_id };
        let reasons = [EndReason::Stop, EndReason::Length, EndReason::Cancelled];
        let reason = |word: String| row.word("finish_reason", &word, &reasons, EndReason::as_str);
        Ok(Self {
            grade: row.word("grade", &job.grade, &Grade::SERVED, Grade::as_str)?,
            class: row.word("class", &job.class, &[Class::Interactive, Class::Batch], Class::as_str)?,
            status: row.word("status", &job.status, &JobStatus::ALL, JobStatus::as_str)?,
            body_sha256: row.bytes("body_sha256", job.body_sha256)?,
            prompt_tokens: row.number("prompt_tokens", job.prompt_tokens)?,
            output_tokens_max: row.number("output_tokens_max", job.output_tokens_max)?,
            output_tokens: job.output_tokens.map(|tokens| row.number("output_tokens", tokens)).transpose()?,
            finish_reason: job.finish_reason.map(reason).transpose()?,
            currency: row.read("currency", job.currency.parse().ok())?,
            job_id: job.job_id,
            tenant_id: job.tenant_id,
            project_id: job.project_id,
            api_key_id: job.api_key_id,
            user_id: job.user_id,
            model: job.model,
            idempotency_key: job.idempotency_key,
            error_code: job.error_code,
            first_job_id: job.first_job_id,
            cached_tokens: job.cached_tokens.map(|tokens| row.number("cached_tokens", tokens)).transpose()?,
            input_price_id: job.input_price_id,
            cached_input_price_id: job.cached_input_price_id,
            output_price_id: job.output_price_id,
            hold: job.hold_nanos,
            charge: job.charge_nanos,
            received_at: job.received_at,
            first_token_at: job.first_token_at,
            ended_at: job.ended_at,
        })
    }
}

/// A checked query over whole rows of `broker.jobs`: the columns are written once, the rest is the caller's.
macro_rules! select_jobs {
    ($rest:literal, $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            JobRow,
            r#"SELECT job_id AS "job_id: JobId", tenant_id AS "tenant_id: TenantId", project_id AS "project_id: ProjectId",
                 api_key_id AS "api_key_id: ApiKeyId", user_id AS "user_id: UserId", model, grade, class, status,
                 idempotency_key, body_sha256, prompt_tokens, output_tokens_max, output_tokens, finish_reason,
                 error_code, first_job_id AS "first_job_id: JobId", cached_tokens, input_price_id AS "input_price_id: PriceId",
                 cached_input_price_id AS "cached_input_price_id: PriceId", output_price_id AS "output_price_id: PriceId", currency, hold_nanos AS "hold_nanos: Nanos", charge_nanos AS "charge_nanos: Nanos", received_at,
                 first_token_at, ended_at
               FROM broker.jobs "# + $rest,
            $($argument),*
        )
    };
}

pub(crate) async fn job_insert(conn: &mut PgConnection, job: &NewJob) -> Result<()> {
    let inserted = sqlx::query!(
        "INSERT INTO broker.jobs (job_id, tenant_id, project_id, api_key_id, user_id, model, class, status, grade,
           idempotency_key, body_sha256, prompt_tokens, output_tokens_max, input_price_id, output_price_id, currency,
           hold_nanos, received_at, replica_id, first_job_id, cached_input_price_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'admitted', $20, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
         ON CONFLICT ON CONSTRAINT jobs_idempotency_key_unique DO NOTHING",
        job.job_id.0,
        job.tenant_id.0,
        job.project_id.0,
        job.api_key_id.map(|id| id.0),
        job.user_id.map(|id| id.0),
        job.model,
        job.class.as_str(),
        job.idempotency_key,
        &job.body_sha256,
        i64::from(job.prompt_tokens),
        i64::from(job.output_tokens_max),
        job.input_price_id.0,
        job.output_price_id.map(|id| id.0),
        job.currency.as_str(),
        job.hold.0,
        job.received_at,
        job.replica_id.0,
        job.first_job_id.map(|id| id.0),
        job.cached_input_price_id.map(|id| id.0),
        job.grade.as_str(),
    )
    .execute(&mut *conn)
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(());
    }
    let existing = select_jobs!(
        "WHERE tenant_id = $1
           AND idempotency_key = $2",
        job.tenant_id.0,
        job.idempotency_key,
    );
    let existing = Box::new(existing.fetch_one(conn).await?.try_into()?);
    Err(Error::DuplicateKey { existing })
}

pub(crate) async fn job_streaming(conn: &mut PgConnection, job_id: JobId, first_token_at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "UPDATE broker.jobs
         SET status = 'streaming', first_token_at = $2
         WHERE job_id = $1
           AND status = 'admitted'",
        job_id.0,
        first_token_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the job if it has not ended; false otherwise.
pub(crate) async fn job_finish(conn: &mut PgConnection, job_id: JobId, end: &JobEnd) -> Result<bool> {
    let finished = sqlx::query!(
        "UPDATE broker.jobs
         SET status = $2, output_tokens = $3, finish_reason = $4, error_code = $5, charge_nanos = $6,
           first_token_at = coalesce($7, first_token_at), ended_at = $8, cached_tokens = $9
         WHERE job_id = $1
           AND ended_at IS NULL",
        job_id.0,
        end.status.as_str(),
        i64::from(end.output_tokens),
        end.finish_reason.map(EndReason::as_str),
        end.error_code,
        end.charge.0,
        end.first_token_at,
        end.ended_at,
        i64::from(end.cached_tokens),
    )
    .execute(conn)
    .await?;
    Ok(finished.rows_affected() == 1)
}

pub(crate) async fn job_refuse(
    conn: &mut PgConnection,
    job_id: JobId,
    error_code: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let refused = sqlx::query!(
        "UPDATE broker.jobs
         SET status = $2, output_tokens = 0, error_code = $3, charge_nanos = 0, ended_at = $4, idempotency_key = NULL
         WHERE job_id = $1
           AND ended_at IS NULL",
        job_id.0,
        JobStatus::Failed.as_str(),
        error_code,
        now,
    )
    .execute(conn)
    .await?;
    Ok(refused.rows_affected() == 1)
}

pub(crate) async fn job_find(conn: &mut PgConnection, job_id: JobId) -> Result<Option<JobRecord>> {
    let row = select_jobs!("WHERE job_id = $1", job_id.0).fetch_optional(conn).await?;
    row.map(JobRecord::try_from).transpose()
}

pub(crate) async fn jobs_other_choices(conn: &mut PgConnection, first_job_id: JobId) -> Result<Vec<JobRecord>> {
    let choices = select_jobs!(
        "WHERE first_job_id = $1
         -- Along jobs_of_request: a request has few choices.
         ORDER BY job_id",
        first_job_id.0,
    );
    choices.fetch_all(conn).await?.into_iter().map(JobRecord::try_from).collect()
}

pub(crate) async fn jobs_page(
    conn: &mut PgConnection,
    tenant_id: TenantId,
    filter: &Filter,
    after: Option<JobId>,
    limit: u32,
) -> Result<Vec<JobRecord>> {
    let page = select_jobs!(
        "WHERE tenant_id = $1
           AND ($2::uuid IS NULL OR job_id < $2)
           AND ($4::text IS NULL OR model = $4)
           AND ($5::text IS NULL OR status = $5)
           AND ($6::uuid IS NULL OR api_key_id = $6)
           AND ($7::timestamptz IS NULL OR received_at >= $7)
           AND ($8::timestamptz IS NULL OR received_at < $8)
         -- Backwards along jobs_of_tenant.
         ORDER BY job_id DESC
         LIMIT $3",
        tenant_id.0,
        after.map(|id| id.0),
        i64::from(limit),
        filter.model,
        filter.status.map(JobStatus::as_str),
        filter.api_key_id.map(|id| id.0),
        filter.from,
        filter.to,
    );
    page.fetch_all(conn).await?.into_iter().map(JobRecord::try_from).collect()
}

pub(crate) async fn jobs_unfinished(conn: &mut PgConnection, limit: u32) -> Result<Vec<JobRecord>> {
    let unfinished = select_jobs!(
        "WHERE ended_at IS NULL
         -- Along jobs_unfinished, which holds only these.
         ORDER BY job_id
         LIMIT $1",
        i64::from(limit),
    );
    unfinished.fetch_all(conn).await?.into_iter().map(JobRecord::try_from).collect()
}

pub(crate) async fn jobs_unfinished_of(
    conn: &mut PgConnection,
    replica_id: ReplicaId,
    limit: u32,
) -> Result<Vec<JobRecord>> {
    let unfinished = select_jobs!(
        "WHERE ended_at IS NULL
           AND replica_id = $1
         -- Along jobs_unfinished_of_replica.
         ORDER BY job_id
         LIMIT $2",
        replica_id.0,
        i64::from(limit),
    );
    unfinished.fetch_all(conn).await?.into_iter().map(JobRecord::try_from).collect()
}

pub(crate) async fn jobs_replicas(conn: &mut PgConnection) -> Result<Vec<ReplicaId>> {
    let replicas = sqlx::query_scalar!(
        r#"SELECT replica_id AS "replica_id!"
           FROM broker.jobs
           WHERE ended_at IS NULL
           UNION
           SELECT jobs.replica_id
           FROM broker.leases
           JOIN broker.jobs USING (job_id)
           WHERE leases.ended_at IS NULL"#,
    );
    Ok(replicas.fetch_all(conn).await?.into_iter().map(ReplicaId).collect())
}

pub(crate) async fn jobs_ended(conn: &mut PgConnection, jobs: &[JobId]) -> Result<Vec<JobId>> {
    let jobs: Vec<Uuid> = jobs.iter().map(|job| job.0).collect();
    let ended = sqlx::query_scalar!(
        r#"SELECT job_id AS "job_id: JobId"
           FROM broker.jobs
           WHERE job_id = ANY ($1)
             AND ended_at IS NOT NULL"#,
        &jobs,
    );
    Ok(ended.fetch_all(conn).await?)
}

pub(crate) async fn jobs_usage(
    conn: &mut PgConnection,
    tenant_id: TenantId,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    grouping: Grouping,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Usage>> {
    let rows = sqlx::query!(
        r#"WITH ended AS (
             SELECT
               CASE $4
                 WHEN 'day' THEN to_char(ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
                 WHEN 'model' THEN model
                 WHEN 'key' THEN coalesce(api_key_id::text, '')
                 ELSE project_id::text
               END AS key,
               -- The prompt is charged with a job that is done, and with one that was cancelled after its first token.
               CASE
                 -- Another choice leaves it to the first one of its request.
                 WHEN first_job_id IS NULL AND (status = 'done' OR (status = 'cancelled' AND output_tokens > 0)) THEN prompt_tokens
                 ELSE 0
               END AS input,
               coalesce(cached_tokens, 0) AS cached,
               output_tokens AS output,
               charge_nanos AS charge
             FROM broker.jobs
             WHERE tenant_id = $1
               AND ended_at >= $2
               AND ended_at < $3
           )
           SELECT key AS "key!", count(*) AS "jobs!", sum(input)::bigint AS "input!", sum(cached)::bigint AS "cached!",
             sum(output)::bigint AS "output!", sum(charge)::bigint AS "charge!: Nanos"
           FROM ended
           WHERE $5::text IS NULL OR key > $5
           GROUP BY key
           ORDER BY key
           LIMIT $6"#,
        tenant_id.0,
        from,
        to,
        grouping.as_str(),
        after,
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    let usage = rows.into_iter().map(|row| Usage {
        key: row.key,
        jobs: row.jobs,
        input_tokens: row.input,
        cached_tokens: row.cached,
        output_tokens: row.output,
        charge: row.charge,
    });
    Ok(usage.collect())
}
