//! Drives one job from its hold to its settlement.

use std::sync::PoisonError;
use std::time::Duration;

use billing::Counts;
use billing::price::PriceList;
use broker::JobStream;
use broker::job::{EndReason, FailureCode, JobEnd, JobEvent, JobStatus, Outcome, Segment};
use chrono::{DateTime, Utc};
use ledger::{Dimensions, Hold, JobSettlement, Overrun, ProviderShare, UsageFact};
use primitives::money::{AttoPrice, Money, Nanos};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::reasoning::{ReasoningSplitter, Told};
use super::{Admitted, Ending, Event, Inference, Tariff};
use crate::PRODUCT_LINE;
use crate::error::Error;

/// How long a job may run; its hold lasts longer.
const JOB_TIME_MAX: Duration = Duration::from_secs(60 * 60);
/// How long a settlement is tried again while the database or the ledger's writer is away, and after which pause.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(60);
const SETTLE_PAUSE: Duration = Duration::from_millis(500);

/// How the broker's side of a job ended.
struct End {
    status: JobStatus,
    reason: Option<EndReason>,
    failure: Option<(FailureCode, String)>,
    segments: Vec<Segment>,
}

/// What came until now.
struct Output {
    first_token_at: Option<DateTime<Utc>>,
    thinks: Option<ReasoningSplitter>,
}

/// Who waits for the output.
pub(super) struct Listener {
    /// Where it goes; closed once nobody waits.
    pub events: UnboundedSender<Event>,
    /// Cancelled once the job is no longer wanted.
    pub stop: CancellationToken,
}

/// Forwards the job's output once its hold is durable, then settles, records and tells the end, in that order.
pub(super) async fn drive(
    inference: Inference,
    mut admitted: Admitted,
    mut hold: Hold,
    mut stream: JobStream,
    listener: Listener,
) {
    let job_id = admitted.job.job_id;
    let mut output = Output { first_token_at: None, thinks: admitted.thinks.take() };
    let settled = match hold.durable().await {
        Ok(_) => {
            let forwarded = forward(&inference, &admitted, &mut stream, &listener, &mut output);
            let end = match tokio::time::timeout(JOB_TIME_MAX, forwarded).await {
                Ok(Some(end)) => end,
                // The caller left, time is up, or the job was taken from this replica: what was delivered until now is all there will be.
                Ok(None) | Err(_) => End::from(stream.cancel().await),
            };
            let times = Times { first_token_at: output.first_token_at, ended_at: inference.clock.now() };
            settle_surely(&inference, &admitted, &end, times).await
        }
        Err(error) => Err(error.into()),
    };
    let mut ending = settled.unwrap_or_else(|error| {
        error.log();
        tracing::error!(job.id = %job_id, "a job could not be settled; its hold is voided once this replica is gone, or expires");
        let charge = money(&admitted, Nanos::ZERO);
        Ending { result: Err(error), prompt_tokens: 0, cached_tokens: 0, output_tokens: 0, reasoning_tokens: 0, charge }
    });
    if let Some(thinks) = &mut output.thinks {
        let Told { text, reasoning, logprobs } = thinks.finish();
        listener.events.send(Event::Text { text, reasoning, tokens: 0, logprobs }).ok();
        ending.reasoning_tokens = thinks.reasoning_tokens();
    }
    inference.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&job_id);
    // A caller that left misses the end; the books have it.
    listener.events.send(Event::Ended(Box::new(ending))).ok();
}

/// Passes output on until the job ends; none when the caller left before or wants no more, or others have voided the job.
async fn forward(
    inference: &Inference,
    admitted: &Admitted,
    stream: &mut JobStream,
    Listener { events, stop }: &Listener,
    output: &mut Output,
) -> Option<End> {
    let mut gone = std::pin::pin!(inference.replica.gone(admitted.job.replica_id));
    loop {
        let event = tokio::select! {
            event = stream.next() => event,
            () = events.closed() => return None,
            () = stop.cancelled() => return None,
            () = &mut gone => return None,
        };
        match event? {
            JobEvent::Placed { .. } => {}
            JobEvent::Tokens { ids, text, logprobs } => {
                output.first_token_at.get_or_insert_with(|| inference.clock.now());
                let tokens = u32::try_from(ids.len()).unwrap_or(u32::MAX);
                let told = match &mut output.thinks {
                    Some(thinks) => thinks.push(&text, tokens, logprobs),
                    None => Told { text, logprobs, reasoning: String::new() },
                };
                let Told { text, reasoning, logprobs } = told;
                if events.send(Event::Text { text, reasoning, tokens, logprobs }).is_err() {
                    return None;
                }
            }
            JobEvent::Vector(vector) => {
                output.first_token_at.get_or_insert_with(|| inference.clock.now());
                if events.send(Event::Vector(vector)).is_err() {
                    return None;
                }
            }
            JobEvent::Ended(outcome) => return Some(End::from(outcome)),
            JobEvent::Failed { code, message, segments } => {
                let failure = Some((code, message));
                return Some(End { status: JobStatus::Failed, reason: None, failure, segments });
            }
        }
    }
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> Self {
        let Outcome { reason, segments } = outcome;
        let status = if reason == EndReason::Cancelled { JobStatus::Cancelled } else { JobStatus::Done };
        Self { status, reason: Some(reason), failure: None, segments }
    }
}

/// A job's instants, fixed before the first try to settle it.
#[derive(Clone, Copy)]
struct Times {
    first_token_at: Option<DateTime<Utc>>,
    ended_at: DateTime<Utc>,
}

/// Settles, again and again while the database or the writer is away: delivered tokens are not given up for a lost connection.
async fn settle_surely(inference: &Inference, admitted: &Admitted, end: &End, times: Times) -> Result<Ending, Error> {
    let until = Instant::now() + SETTLE_TIME_MAX;
    loop {
        match settle(inference, admitted, end, times).await {
            Err(error) if Instant::now() < until && passes(&error) => error.log(),
            settled => return settled,
        }
        tokio::time::sleep(SETTLE_PAUSE).await;
    }
}

/// Moves the money and writes the job's end; may be repeated with the same arguments.
async fn settle(inference: &Inference, admitted: &Admitted, end: &End, times: Times) -> Result<Ending, Error> {
    let job = &admitted.job;
    let Times { first_token_at, ended_at } = times;
    let prompt_tokens = end.segments.iter().map(|segment| segment.prompt_tokens).sum();
    let output_tokens = end.segments.iter().map(|segment| segment.output_tokens).sum();
    let usage = usage(admitted, &end.segments)?;
    let cached_tokens = end.segments.iter().map(|segment| segment.cached_tokens).sum();
    let charge = usage.iter().try_fold(Nanos::ZERO, |sum, fact| sum.checked_add(fact.amount));
    let charge = charge.map_err(|error| Error::Internal(error.into()))?;
    if output_tokens > 0 || prompt_tokens > 0 {
        let settlement = JobSettlement {
            job_id: job.job_id,
            charge,
            overrun: Overrun::Refuse,
            shares: shares(admitted, &end.segments, charge)?,
            usage,
            dimensions: Dimensions {
                tenant_id: job.tenant_id,
                model: job.model.clone(),
                product_line: PRODUCT_LINE.to_owned(),
            },
            event_at: ended_at,
        };
        inference.ledger.settle(settlement).await?;
    } else {
        inference.ledger.void(job.job_id).await?;
    }
    let end_of_job = JobEnd {
        status: end.status,
        cached_tokens,
        output_tokens,
        finish_reason: end.reason,
        error_code: end.failure.as_ref().map(|(code, _)| code.as_str().to_owned()),
        charge,
        first_token_at,
        ended_at,
    };
    match broker::job::finish(&mut *inference.pool.acquire().await?, job.job_id, &end_of_job).await {
        // An earlier try had been written, only its answer was lost.
        Ok(()) | Err(broker::Error::JobEnded(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let result = match &end.failure {
        Some((_, message)) => Err(Error::JobFailed(message.clone())),
        None => Ok(end.reason.map_or("stop", EndReason::as_str)),
    };
    let charge = money(admitted, charge);
    Ok(Ending { result, prompt_tokens, cached_tokens, output_tokens, reasoning_tokens: 0, charge })
}

/// True when the database is away, which passes, rather than refusing.
fn passes(error: &Error) -> bool {
    match error {
        Error::Unavailable { .. } => true,
        Error::Internal(source) => source.chain().any(|cause| cause.is::<sqlx::Error>()),
        _ => false,
    }
}

/// The tokens of each segment and what they add to the job's cost, so that a job costs the same however many nodes made it.
fn usage(admitted: &Admitted, segments: &[Segment]) -> Result<Vec<UsageFact>, Error> {
    let mut facts = vec![];
    let mut counts = Counts::default();
    let mut before = admitted.tariff.charge(counts)?;
    for segment in segments {
        counts.prompt += segment.prompt_tokens;
        counts.cached += segment.cached_tokens;
        counts.output += segment.output_tokens;
        let so_far = admitted.tariff.charge(counts)?;
        // The segment's time stands once, on its first line: time is summed over a leaf and not over a meter.
        let mut compute_ms = i32::try_from(segment.compute_ms).unwrap_or(i32::MAX);
        for line in so_far.since(&before)?.lines.into_iter().filter(|line| line.quantity > 0) {
            facts.push(UsageFact {
                segment: segment_number(segment)?,
                node_id: segment.node_id,
                provider_id: segment.provider_id,
                meter: line.meter.as_str().to_owned(),
                quantity: line.quantity.into(),
                price_id: line.price_id,
                amount: line.amount,
                waste: None,
                compute_ms: std::mem::take(&mut compute_ms),
            });
        }
        before = so_far;
    }
    Ok(facts)
}

fn segment_number(segment: &Segment) -> Result<i16, Error> {
    i16::try_from(segment.epoch).map_err(|error| Error::Internal(error.into()))
}

/// What each provider earned at its ask, together never more than the tenant paid; the platform keeps the rest.
///
/// What is cached costs the provider's price in the ratio of the tenant's prices, so that both sides share its discount.
fn shares(admitted: &Admitted, segments: &[Segment], charge: Nanos) -> Result<Vec<ProviderShare>, Error> {
    let of_cached = |ask: AttoPrice| match &admitted.tariff {
        Tariff::Generation(PriceList { input, cached_input: Some(cached), .. }) => {
            ask.in_ratio(input.price, cached.price)
        }
        _ => ask,
    };
    let mut left = charge;
    let mut shares = vec![];
    for segment in segments {
        let Segment { ask, prompt_tokens, cached_tokens, output_tokens, .. } = segment;
        let cost = ask.input.cost((prompt_tokens - cached_tokens).into())
            + of_cached(ask.input).cost(u64::from(*cached_tokens))
            + ask.output.cost(u64::from(*output_tokens));
        let owed = cost.floor().map_err(|error| Error::Internal(error.into()))?;
        let amount = owed.min(left);
        if amount < owed {
            tracing::warn!(node.id = %segment.node_id, "an ask above the tenant's price was cut to it");
        }
        left = left.checked_sub(amount).map_err(|error| Error::Internal(error.into()))?;
        if amount > Nanos::ZERO {
            shares.push(ProviderShare {
                provider_id: segment.provider_id,
                node_id: segment.node_id,
                segment: segment_number(segment)?,
                amount,
            });
        }
    }
    Ok(shares)
}

fn money(admitted: &Admitted, amount: Nanos) -> Money {
    Money { amount, currency: admitted.job.currency }
}
