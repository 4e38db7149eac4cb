//! The output of submitted jobs: collected while they run, followed by whoever subscribes, forgotten soon after.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_graphql::{Context, ID, SimpleObject, Subscription, Union};
use broker::job::{EndReason, JobRecord};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use primitives::id::{JobId, TenantId};
use primitives::money;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::job::{FinishReason, JobStatus, find, prompt_tokens_charged};
use super::refusal::Refusal;
use super::scalar::{BigInt, Money, id};
use super::{caller, view};
use crate::error::Error;
use crate::inference::{Ending, Event, Running};

/// How long an output is kept after its job's end.
const KEPT: Duration = Duration::from_secs(60);
/// All outputs together; the longest unread go first. *Units*: bytes.
const KEPT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What an output takes besides its text. *Units*: bytes.
const ENTRY_BYTES: u32 = 1024;

/// Things about jobs that can be followed.
#[derive(Default)]
pub struct JobSubscription;

/// A part of a job's output, in order: pieces, then the end.
#[derive(Clone, Union)]
pub enum JobOutput {
    /// More text.
    Piece(JobPiece),
    /// The last part.
    Ended(JobEnded),
}

/// Text that was delivered since the piece before.
#[derive(Clone, Debug, PartialEq, Eq, SimpleObject)]
pub struct JobPiece {
    /// Whole characters; may be empty while one is unfinished.
    text: String,
    /// What the model thought before its answer, where it is known to think.
    reasoning: String,
    /// New tokens.
    tokens: BigInt,
}

/// How a job ended; told after its money is settled.
#[derive(Clone, SimpleObject)]
pub struct JobEnded {
    /// Which end.
    status: JobStatus,
    /// Why the output ended, when it did well.
    finish_reason: Option<FinishReason>,
    /// The prompt's tokens that are charged.
    prompt_tokens: BigInt,
    /// Delivered tokens, all charged.
    output_tokens: BigInt,
    /// Of those, the thinking; null where only the record is left.
    reasoning_tokens: Option<BigInt>,
    /// What was paid.
    charge: Money,
    /// What went wrong, when it failed.
    failure: Option<Refusal>,
}

#[Subscription]
impl JobSubscription {
    /// Follows a job's output from its first token to its end, whenever the subscription begins.
    ///
    /// The output of a job that was submitted is kept while it runs and for a minute after its end, on the replica that
    /// took it; later, only the end is told. A job runs on when its follower leaves.
    async fn job_tokens(&self, ctx: &Context<'_>, job_id: ID) -> Result<BoxStream<'static, JobOutput>, Error> {
        let tenant_id = caller(ctx)?.tenant()?;
        let job_id: JobId = id("jobId", &job_id)?;
        if let Some(output) = ctx.data_unchecked::<Outputs>().follow(tenant_id, job_id) {
            return Ok(output.boxed());
        }
        let job = find(&mut *view(ctx, tenant_id).await?, tenant_id, job_id).await?;
        let ended = JobEnded::of(&job).ok_or(Error::Conflict(
            "This job's output is not kept here: it was asked for over another API or replica. Its record tells the end.",
        ))?;
        Ok(stream::once(std::future::ready(JobOutput::Ended(ended))).boxed())
    }
}

/// The outputs at hand; clones share them.
#[derive(Clone)]
pub struct Outputs {
    kept: Cache<JobId, Arc<Output>>,
    // Each ends with its job, and those are waited for by `Inference::settle_all`.
    collectors: TaskTracker,
}

/// One job's output so far.
struct Output {
    tenant_id: TenantId,
    progress: watch::Sender<Progress>,
}

#[derive(Default)]
struct Progress {
    text: String,
    reasoning: String,
    tokens: u32,
    ended: Option<JobEnded>,
    /// Nothing more comes.
    over: bool,
}

/// An output under way stays; one that is over goes after its time.
struct UntilForgotten;

impl Expiry<JobId, Arc<Output>> for UntilForgotten {
    fn expire_after_create(&self, _: &JobId, _: &Arc<Output>, _: Instant) -> Option<Duration> {
        None
    }

    fn expire_after_update(&self, _: &JobId, _: &Arc<Output>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(KEPT)
    }
}

impl Default for Outputs {
    fn default() -> Self {
        let size = |_: &JobId, output: &Arc<Output>| {
            u32::try_from(output.progress.borrow().text.len()).unwrap_or(u32::MAX).saturating_add(ENTRY_BYTES)
        };
        let kept = Cache::builder().max_capacity(KEPT_BYTES_MAX).weigher(size).eviction_policy(EvictionPolicy::lru());
        Self { kept: kept.expire_after(UntilForgotten).build(), collectors: TaskTracker::new() }
    }
}

impl Outputs {
    /// Takes a job's output until its end, whether or not anybody follows it.
    pub fn collect(&self, tenant_id: TenantId, mut running: Running) {
        let (job_id, kept) = (running.job_id, self.kept.clone());
        let output = Arc::new(Output { tenant_id, progress: watch::Sender::default() });
        kept.insert(job_id, output.clone());
        self.collectors.spawn(async move {
            while let Some((_, event)) = running.next().await {
                output.progress.send_modify(|progress| progress.take(event));
            }
            output.progress.send_modify(|progress| progress.over = true);
            // The second insertion starts its last minute, and weighs it with its text.
            kept.insert(job_id, output);
        });
    }

    /// A tenant's output, from its beginning; none when it is not at hand or another's.
    fn follow(&self, tenant_id: TenantId, job_id: JobId) -> Option<impl Stream<Item = JobOutput> + use<>> {
        let output = self.kept.get(&job_id).filter(|output| output.tenant_id == tenant_id)?;
        let reader =
            Reader { progress: output.progress.subscribe(), bytes: 0, reasoning_bytes: 0, tokens: 0, ended: false };
        Some(stream::unfold(reader, |mut reader| async move { Some((reader.next().await?, reader)) }))
    }
}

impl Progress {
    fn take(&mut self, event: Event) {
        match event {
            Event::Text { text, reasoning, tokens, .. } => {
                self.text.push_str(&text);
                self.reasoning.push_str(&reasoning);
                self.tokens += tokens;
            }
            // A job that is submitted here makes none.
            Event::Vector(_) => {}
            Event::Ended(ending) => self.ended = Some(JobEnded::from(*ending)),
        }
    }
}

/// One follower's place in an output. A slow one gets larger pieces, and nobody waits for it.
struct Reader {
    progress: watch::Receiver<Progress>,
    bytes: usize,
    reasoning_bytes: usize,
    tokens: u32,
    ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<JobOutput> {
        let (bytes, reasoning_bytes, tokens) = (self.bytes, self.reasoning_bytes, self.tokens);
        let more = |progress: &Progress| {
            progress.text.len() > bytes || progress.reasoning.len() > reasoning_bytes || progress.tokens > tokens
        };
        let progress = self.progress.wait_for(|progress| progress.over || more(progress)).await.ok()?;
        if more(&progress) {
            let text = progress.text[bytes..].to_owned();
            let reasoning = progress.reasoning[reasoning_bytes..].to_owned();
            let tokens = BigInt::from(progress.tokens - tokens);
            (self.bytes, self.reasoning_bytes) = (progress.text.len(), progress.reasoning.len());
            self.tokens = progress.tokens;
            return Some(JobOutput::Piece(JobPiece { text, reasoning, tokens }));
        }
        if self.ended {
            return None;
        }
        self.ended = true;
        progress.ended.clone().map(JobOutput::Ended)
    }
}

impl JobEnded {
    /// The end of a job on record; none while it runs.
    fn of(job: &JobRecord) -> Option<Self> {
        job.ended_at?;
        let charge = money::Money { amount: job.charge?, currency: job.currency };
        let failure = job.error_code.clone().map(|code| Refusal {
            code,
            message: "The job could not be finished. Delivered tokens are charged, nothing else is.".to_owned(),
            param: None,
            retry_after_ms: None,
        });
        Some(Self {
            status: job.status.into(),
            finish_reason: job.finish_reason.map(FinishReason::from),
            prompt_tokens: prompt_tokens_charged(job).into(),
            output_tokens: job.output_tokens.unwrap_or_default().into(),
            reasoning_tokens: None,
            charge: charge.into(),
            failure,
        })
    }
}

impl From<Ending> for JobEnded {
    fn from(Ending { result, prompt_tokens, output_tokens, reasoning_tokens, charge, .. }: Ending) -> Self {
        let (status, reason, failure) = match result {
            Ok(word) => {
                let reasons = [EndReason::Stop, EndReason::Length, EndReason::Cancelled];
                let reason = reasons.into_iter().find(|reason| reason.as_str() == word);
                let cancelled = reason == Some(EndReason::Cancelled);
                (if cancelled { JobStatus::Cancelled } else { JobStatus::Done }, reason, None)
            }
            Err(error) => (JobStatus::Failed, None, Some(Refusal::from(&error))),
        };
        Self {
            status,
            finish_reason: reason.map(FinishReason::from),
            prompt_tokens: prompt_tokens.into(),
            output_tokens: output_tokens.into(),
            reasoning_tokens: Some(reasoning_tokens.into()),
            charge: charge.into(),
            failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use primitives::money::Nanos;

    use super::*;

    fn text(text: &str, tokens: u32) -> Event {
        Event::Text { text: text.to_owned(), reasoning: String::new(), tokens, logprobs: vec![] }
    }

    fn end() -> Event {
        let charge = money::Money { amount: Nanos(7), currency: crate::CURRENCY };
        let ending = Ending {
            result: Ok("length"),
            prompt_tokens: 3,
            cached_tokens: 0,
            output_tokens: 2,
            reasoning_tokens: 0,
            charge,
        };
        Event::Ended(Box::new(ending))
    }

    fn reader(output: &watch::Sender<Progress>) -> Reader {
        Reader { progress: output.subscribe(), bytes: 0, reasoning_bytes: 0, tokens: 0, ended: false }
    }

    async fn piece(reader: &mut Reader) -> JobPiece {
        match reader.next().await {
            Some(JobOutput::Piece(piece)) => piece,
            _ => panic!("no piece came"),
        }
    }

    #[tokio::test]
    async fn a_follower_gets_each_token_once_and_then_the_end() {
        let output = watch::Sender::<Progress>::default();
        let mut early = reader(&output);
        output.send_modify(|progress| progress.take(text("a", 1)));
        assert_eq!(piece(&mut early).await, JobPiece { text: "a".into(), reasoning: String::new(), tokens: BigInt(1) });
        // A token that completes no character still counts.
        output.send_modify(|progress| progress.take(text("", 1)));
        assert_eq!(
            piece(&mut early).await,
            JobPiece { text: String::new(), reasoning: String::new(), tokens: BigInt(1) }
        );
        output.send_modify(|progress| progress.take(text("é", 1)));
        output.send_modify(|progress| progress.take(end()));
        output.send_modify(|progress| progress.over = true);
        assert_eq!(piece(&mut early).await, JobPiece { text: "é".into(), reasoning: String::new(), tokens: BigInt(1) });
        let Some(JobOutput::Ended(ended)) = early.next().await else { panic!("no end came") };
        assert!(ended.status == JobStatus::Done && ended.finish_reason == Some(FinishReason::Length));
        assert!(early.next().await.is_none());

        let mut late = reader(&output);
        assert_eq!(piece(&mut late).await, JobPiece { text: "aé".into(), reasoning: String::new(), tokens: BigInt(3) });
        assert!(matches!(late.next().await, Some(JobOutput::Ended(_))));
        assert!(late.next().await.is_none());
    }

    #[tokio::test]
    async fn an_output_that_breaks_off_ends_its_followers() {
        let output = watch::Sender::<Progress>::default();
        let mut follower = reader(&output);
        output.send_modify(|progress| progress.over = true);
        assert!(follower.next().await.is_none());
    }
}
