//! Jobs: what a tenant asked for and how it went.

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use broker::job::{Filter, JobRecord, JobStatus as Status, PAGE_MAX};
use chrono::{DateTime, Utc};
use primitives::id::{JobId, TenantId};
use primitives::money;
use sqlx::PgConnection;

use super::cell::{Grade, grade};
use super::paging::{self, Page};
use super::scalar::{BigInt, Money, id};
use super::{caller, view};
use crate::error::Error;

/// Queries about jobs.
#[derive(Default)]
pub struct JobQuery;

/// One unit of work: a request that becomes tokens and money.
#[derive(SimpleObject)]
pub struct Job {
    /// Its identifier, which is the request's `x-request-id` too.
    pub id: ID,
    /// The model's name.
    pub model: String,
    /// The lowest grade that it took.
    pub grade: Grade,
    /// How far it is.
    pub status: JobStatus,
    /// Why the output ended, once it did well.
    pub finish_reason: Option<FinishReason>,
    /// Why it failed, as a word for programs.
    pub error_code: Option<String>,
    /// The project that it counts for.
    pub project_id: ID,
    /// The key that asked, if one did.
    pub api_key_id: Option<ID>,
    /// The first choice of the request that this is another choice of: the prompt is charged there.
    pub first_job_id: Option<ID>,
    /// The prompt's length.
    pub prompt_tokens: BigInt,
    /// Of the prompt's tokens, how many a node's cache held, once ended.
    pub cached_tokens: Option<BigInt>,
    /// Tokens delivered, once ended.
    pub output_tokens: Option<BigInt>,
    /// The most tokens that could be delivered.
    pub output_tokens_max: BigInt,
    /// The worst case that was held when it began.
    pub hold: Money,
    /// What it cost, once ended.
    pub charge: Option<Money>,
    /// When the request came.
    pub received_at: DateTime<Utc>,
    /// When its first token was delivered.
    pub first_token_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Which jobs are wanted; what is absent leaves all.
#[derive(Default, InputObject)]
pub struct JobFilter {
    /// Only those of this model.
    model: Option<String>,
    /// Only those that are this far.
    status: Option<JobStatus>,
    /// Only those that this key asked for.
    api_key_id: Option<ID>,
    /// Only those received at this instant or later.
    from: Option<DateTime<Utc>>,
    /// Only those received before this instant.
    to: Option<DateTime<Utc>>,
}

impl JobFilter {
    fn read(self) -> Result<Filter, Error> {
        let api_key_id = self.api_key_id.map(|key| id("filter.apiKeyId", &key)).transpose()?;
        Ok(Filter {
            model: self.model,
            status: self.status.map(Status::from),
            api_key_id,
            from: self.from,
            to: self.to,
        })
    }
}

/// How far a job is.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "broker::job::JobStatus")]
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
    /// Its control plane died: nothing is charged.
    Voided,
}

/// Why an output ended.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "broker::job::EndReason")]
pub enum FinishReason {
    /// The model ended its turn, or a stop text came.
    Stop,
    /// The limit was reached.
    Length,
    /// The caller no longer wanted it.
    Cancelled,
}

#[Object]
impl JobQuery {
    /// The tenant's jobs, newest first.
    #[graphql(complexity = "paging::cost(first, child_complexity)")]
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        #[graphql(desc = "Which ones; all when absent.")] filter: Option<JobFilter>,
    ) -> Result<Option<Connection<String, Job>>, Error> {
        let tenant_id = caller(ctx)?.tenant()?;
        let page = Page::<JobId>::try_new(first, after.as_deref())?;
        let filter = filter.unwrap_or_default().read()?;
        let mut conn = view(ctx, tenant_id).await?;
        let mut jobs = broker::job::page(&mut conn, tenant_id, &filter, page.after, page.limit()).await?;
        if page.limit() > PAGE_MAX && jobs.len() == PAGE_MAX as usize {
            // The room gives no more at once; whether more follow is asked separately.
            let last = jobs.last().map(|job| job.job_id);
            jobs.extend(broker::job::page(&mut conn, tenant_id, &filter, last, 1).await?);
        }
        Ok(Some(page.connection(jobs.into_iter().map(Job::from).collect(), |job| job.id.to_string())))
    }

    /// One job of the tenant.
    #[graphql(complexity = "10 + child_complexity")]
    async fn job(&self, ctx: &Context<'_>, #[graphql(name = "id")] job_id: ID) -> Result<Option<Job>, Error> {
        let tenant_id = caller(ctx)?.tenant()?;
        let mut conn = view(ctx, tenant_id).await?;
        Ok(Some(find(&mut conn, tenant_id, id("id", &job_id)?).await?.into()))
    }
}

/// A tenant's job. *Errors*: there is none, or it is another's, which looks the same.
pub async fn find(conn: &mut PgConnection, tenant_id: TenantId, job_id: JobId) -> Result<JobRecord, Error> {
    match broker::job::get(conn, job_id).await {
        Ok(job) if job.tenant_id == tenant_id => Ok(job),
        Ok(_) | Err(broker::Error::JobUnknown(_)) => Err(Error::NotFound("job")),
        Err(error) => Err(error.into()),
    }
}

/// The prompt's tokens that are charged: all of them once the job is done, or was cancelled after its first token; none where
/// another choice of the request pays them.
pub fn prompt_tokens_charged(job: &JobRecord) -> u32 {
    match job.status {
        _ if job.first_job_id.is_some() => 0,
        Status::Done => job.prompt_tokens,
        Status::Cancelled if job.output_tokens.is_some_and(|tokens| tokens > 0) => job.prompt_tokens,
        Status::Cancelled | Status::Admitted | Status::Streaming | Status::Failed | Status::Voided => 0,
    }
}

impl From<JobRecord> for Job {
    fn from(job: JobRecord) -> Self {
        let money = |amount| money::Money { amount, currency: job.currency }.into();
        Self {
            id: job.job_id.into(),
            grade: grade(job.grade),
            status: job.status.into(),
            finish_reason: job.finish_reason.map(FinishReason::from),
            error_code: job.error_code,
            project_id: job.project_id.into(),
            api_key_id: job.api_key_id.map(ID::from),
            first_job_id: job.first_job_id.map(ID::from),
            prompt_tokens: job.prompt_tokens.into(),
            cached_tokens: job.cached_tokens.map(BigInt::from),
            output_tokens: job.output_tokens.map(BigInt::from),
            output_tokens_max: job.output_tokens_max.into(),
            hold: money(job.hold),
            charge: job.charge.map(money),
            received_at: job.received_at,
            first_token_at: job.first_token_at,
            ended_at: job.ended_at,
            model: job.model,
        }
    }
}
