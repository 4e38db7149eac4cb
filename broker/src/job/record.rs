//! A job's record: what was asked, under which prices, and how it ended.

use chrono::{DateTime, Utc};
use primitives::certificate::Grade;
use primitives::id::{ApiKeyId, JobId, PriceId, ProjectId, ReplicaId, TenantId, UserId};
use primitives::money::{Currency, Nanos};
use sqlx::PgConnection;

use super::{Class, EndReason};
use crate::{Error, Result, repo};

/// The most records of one page.
pub const PAGE_MAX: u32 = 100;

/// A job about to be admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// Which job.
    pub job_id: JobId,
    /// Who pays.
    pub tenant_id: TenantId,
    /// From which budget.
    pub project_id: ProjectId,
    /// The key that asked, if one did.
    pub api_key_id: Option<ApiKeyId>,
    /// The person who asked, if one did.
    pub user_id: Option<UserId>,
    /// The model's name in the catalogue.
    pub model: String,
    /// The lowest grade that it takes.
    pub grade: Grade,
    /// How urgent.
    pub class: Class,
    /// The caller's word for "the same request", unique for the tenant.
    pub idempotency_key: Option<String>,
    /// SHA-256 of the request's body: the same key with another body is refused.
    pub body_sha256: [u8; 32],
    /// The prompt's length.
    pub prompt_tokens: u32,
    /// The most output.
    pub output_tokens_max: u32,
    /// The pinned price of a prompt's token.
    pub input_price_id: PriceId,
    /// The pinned price of a cached one, where there is one.
    pub cached_input_price_id: Option<PriceId>,
    /// The pinned price of an output's token; none where there is no output.
    pub output_price_id: Option<PriceId>,
    /// Of the hold and the charge.
    pub currency: Currency,
    /// The worst case, held.
    pub hold: Nanos,
    /// When the request came.
    pub received_at: DateTime<Utc>,
    /// Who runs it.
    pub replica_id: ReplicaId,
    /// The first choice of the request that this is another choice of: the prompt is charged there.
    pub first_job_id: Option<JobId>,
}

/// A job on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// Which job.
    pub job_id: JobId,
    /// Who pays.
    pub tenant_id: TenantId,
    /// From which budget.
    pub project_id: ProjectId,
    /// The key that asked, if one did.
    pub api_key_id: Option<ApiKeyId>,
    /// The person who asked, if one did.
    pub user_id: Option<UserId>,
    /// The model's name in the catalogue.
    pub model: String,
    /// The lowest grade that it takes.
    pub grade: Grade,
    /// How urgent.
    pub class: Class,
    /// How far it is.
    pub status: JobStatus,
    /// The caller's word for "the same request".
    pub idempotency_key: Option<String>,
    /// SHA-256 of the request's body.
    pub body_sha256: [u8; 32],
    /// The prompt's length.
    pub prompt_tokens: u32,
    /// The most output.
    pub output_tokens_max: u32,
    /// Tokens delivered, once ended.
    pub output_tokens: Option<u32>,
    /// Why the output ended, unless it failed.
    pub finish_reason: Option<EndReason>,
    /// Why it failed, if it did.
    pub error_code: Option<String>,
    /// The first choice of the request that this is another choice of: the prompt is charged there.
    pub first_job_id: Option<JobId>,
    /// Of the prompt's tokens, how many a cache held, once ended.
    pub cached_tokens: Option<u32>,
    /// The pinned price of a prompt's token.
    pub input_price_id: PriceId,
    /// The pinned price of a cached one, where there is one.
    pub cached_input_price_id: Option<PriceId>,
    /// The pinned price of an output's token; none where there is no output.
    pub output_price_id: Option<PriceId>,
    /// Of the hold and the charge.
    pub currency: Currency,
    /// The worst case, held.
    pub hold: Nanos,
    /// What it cost, once ended.
    pub charge: Option<Nanos>,
    /// When the request came.
    pub received_at: DateTime<Utc>,
    /// When its first token was delivered.
    pub first_token_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// Held for and queued.
    Admitted,
    /// Delivering.
    Streaming,
    /// Ended as it should.
    Done,
    /// Could not be ended; what was delivered is charged.
    Failed,
    /// The caller left; what was delivered is charged.
    Cancelled,
    /// Its control plane died: nothing is charged or paid.
    Voided,
}

impl JobStatus {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Admitted, Self::Streaming, Self::Done, Self::Failed, Self::Cancelled, Self::Voided];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Streaming => "streaming",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Voided => "voided",
        }
    }
}

/// How a job ended, for its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobEnd {
    /// `Done`, `Failed`, `Cancelled` or `Voided`.
    pub status: JobStatus,
    /// Of the prompt's tokens, how many a cache held.
    pub cached_tokens: u32,
    /// Tokens delivered.
    pub output_tokens: u32,
    /// Why the output ended, unless it failed.
    pub finish_reason: Option<EndReason>,
    /// Why it failed, if it did.
    pub error_code: Option<String>,
    /// What it cost; never more than was held.
    pub charge: Nanos,
    /// When its first token was delivered.
    pub first_token_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
}

/// Admits a job. *Errors*: [`Error::DuplicateKey`] with the job that has the tenant's key.
pub async fn insert(conn: &mut PgConnection, job: &NewJob) -> Result<()> {
    repo::job_insert(conn, job).await
}

/// Notes that a job delivers; one that has ended stays ended.
pub async fn streaming(conn: &mut PgConnection, job_id: JobId, first_token_at: DateTime<Utc>) -> Result<()> {
    repo::job_streaming(conn, job_id, first_token_at).await
}

/// Ends a job, once. *Errors*: [`Error::JobEnded`] when it had ended; [`Error::JobUnknown`].
pub async fn finish(conn: &mut PgConnection, job_id: JobId, end: &JobEnd) -> Result<()> {
    if repo::job_finish(conn, job_id, end).await? {
        return Ok(());
    }
    get(conn, job_id).await?;
    Err(Error::JobEnded(job_id))
}

/// Ends a job that was refused before it ran: it cost nothing, and its idempotency key is free for another try.
///
/// *Errors*: [`Error::JobEnded`] when it had ended; [`Error::JobUnknown`].
pub async fn refuse(conn: &mut PgConnection, job_id: JobId, error_code: &str, now: DateTime<Utc>) -> Result<()> {
    if repo::job_refuse(conn, job_id, error_code, now).await? {
        return Ok(());
    }
    get(conn, job_id).await?;
    Err(Error::JobEnded(job_id))
}

/// The job. *Errors*: [`Error::JobUnknown`].
pub async fn get(conn: &mut PgConnection, job_id: JobId) -> Result<JobRecord> {
    repo::job_find(conn, job_id).await?.ok_or(Error::JobUnknown(job_id))
}

/// The other choices of a job's request, in their order.
pub async fn other_choices(conn: &mut PgConnection, first_job_id: JobId) -> Result<Vec<JobRecord>> {
    repo::jobs_other_choices(conn, first_job_id).await
}

/// Which of a tenant's jobs are wanted; what is absent leaves all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those of this model.
    pub model: Option<String>,
    /// Only those that are this far.
    pub status: Option<JobStatus>,
    /// Only those that this key asked for.
    pub api_key_id: Option<ApiKeyId>,
    /// Only those received at this instant or later.
    pub from: Option<DateTime<Utc>>,
    /// Only those received before this instant.
    pub to: Option<DateTime<Utc>>,
}

/// A tenant's jobs, newest first, those before `after` when given; at most `limit`, and never above [`PAGE_MAX`].
pub async fn page(
    conn: &mut PgConnection,
    tenant_id: TenantId,
    filter: &Filter,
    after: Option<JobId>,
    limit: u32,
) -> Result<Vec<JobRecord>> {
    repo::jobs_page(conn, tenant_id, filter, after, limit.min(PAGE_MAX)).await
}

/// Jobs that have not ended, oldest first.
pub async fn unfinished(conn: &mut PgConnection, limit: u32) -> Result<Vec<JobRecord>> {
    repo::jobs_unfinished(conn, limit).await
}

/// Replicas that have jobs or leases that have not ended, whether they live or not.
pub async fn replicas(conn: &mut PgConnection) -> Result<Vec<ReplicaId>> {
    repo::jobs_replicas(conn).await
}

/// A replica's jobs that have not ended, oldest first: what the others find of one that is gone.
pub async fn unfinished_of(conn: &mut PgConnection, replica_id: ReplicaId, limit: u32) -> Result<Vec<JobRecord>> {
    repo::jobs_unfinished_of(conn, replica_id, limit).await
}

/// Those of the jobs that have ended.
pub async fn ended(conn: &mut PgConnection, jobs: &[JobId]) -> Result<Vec<JobId>> {
    repo::jobs_ended(conn, jobs).await
}
