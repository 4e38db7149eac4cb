//! Submitting a job: admitted and priced now, its output followed by `jobTokens`.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use broker::job::Class;
use primitives::node_protocol::Sampling;
use primitives::prompt::Message;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::cell::Grade;
use super::job::{Job, find};
use super::output::Outputs;
use super::refusal::{Refusal, answer, refused_payloads};
use super::scalar::{BigInt, id};
use super::{caller, parts, view};
use crate::error::Error;
use crate::inference::{Prompt, Request, Started};

/// Messages in one conversation at most.
const MESSAGES_MAX: usize = 1_000;
/// The highest output limit that can be asked for.
const TOKENS_MAX: i32 = 1_000_000;
/// Stop texts at most, and the bytes of each.
const STOPS_MAX: usize = 4;
const STOP_BYTES_MAX: usize = 256;
/// The longest idempotency key.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Changes of jobs.
#[derive(Default)]
pub struct JobMutation;

/// What is to be generated.
#[derive(Debug, InputObject, Serialize)]
pub struct JobSubmitInput {
    /// The model's name, such as `spark-1`.
    model: String,
    /// The conversation so far, 1 to 1,000 messages.
    messages: Vec<MessageInput>,
    /// The most output tokens, 1 to 1,000,000; the model's own default when absent.
    max_tokens: Option<i32>,
    /// 0 (when absent) takes the likeliest token, up to 2 ever less likely ones.
    temperature: Option<f64>,
    /// The same seed and request give the same output; one is chosen when absent.
    seed: Option<BigInt>,
    /// The lowest grade of a cell that may do it; never less is given. The model's own default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    grade: Option<Grade>,
    /// Up to 4 texts of 1 to 256 bytes that end the output and are not part of it.
    stop: Option<Vec<String>>,
    /// Your word for "the same request", up to 255 bytes: sent again, it gives the same job and charges nothing.
    #[serde(skip)]
    idempotency_key: Option<String>,
}

/// One message of a conversation.
#[derive(Debug, InputObject, Serialize)]
pub struct MessageInput {
    /// Who says it.
    role: MessageRole,
    /// What is said.
    content: String,
}

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageRole {
    /// Instructions to the model.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
    /// The answer of a tool that the model called.
    Tool,
}

/// A job that was taken.
#[derive(Default, SimpleObject)]
pub struct JobSubmitPayload {
    /// The job; follow its output with `jobTokens`.
    job: Option<Job>,
    /// True when the job is an earlier one, of the same idempotency key.
    repeated: bool,
    /// Why it was not taken.
    refusal: Option<Refusal>,
}

/// A job that is no longer wanted.
#[derive(InputObject)]
pub struct JobCancelInput {
    /// Which job.
    job_id: ID,
}

/// A job that was stopped: what was delivered is charged, the rest of its hold is released.
#[derive(Default, SimpleObject)]
pub struct JobCancelPayload {
    /// The job, ended or about to be.
    job: Option<Job>,
    /// Why it goes on.
    refusal: Option<Refusal>,
}

refused_payloads! { JobSubmitPayload JobCancelPayload }

#[Object]
impl JobMutation {
    /// Submits a job. It is priced, its worst case is held, and it runs to its end whether or not anybody follows it.
    #[graphql(complexity = "100 + child_complexity")]
    async fn job_submit(&self, ctx: &Context<'_>, input: JobSubmitInput) -> Result<Option<JobSubmitPayload>, Error> {
        answer(submit(ctx, input).await)
    }

    /// Stops a job at once; one that has ended stays as it is.
    #[graphql(complexity = "50 + child_complexity")]
    async fn job_cancel(&self, ctx: &Context<'_>, input: JobCancelInput) -> Result<Option<JobCancelPayload>, Error> {
        answer(cancel(ctx, &input.job_id).await)
    }
}

async fn cancel(ctx: &Context<'_>, job: &ID) -> Result<JobCancelPayload, Error> {
    let tenant_id = caller(ctx)?.tenant()?;
    let job_id = id("jobId", job)?;
    let job = find(&mut *view(ctx, tenant_id).await?, tenant_id, job_id).await?;
    parts(ctx).inference.cancel(job_id);
    Ok(JobCancelPayload { job: Some(job.into()), refusal: None })
}

async fn submit(ctx: &Context<'_>, input: JobSubmitInput) -> Result<JobSubmitPayload, Error> {
    let (caller, parts) = (caller(ctx)?, parts(ctx));
    let tenant_id = caller.tenant()?;
    match parts.inference.start(caller, input.read()?).await? {
        Started::Running(running) => {
            let job_id = running.job_id;
            ctx.data_unchecked::<Outputs>().collect(tenant_id, running);
            let job = find(&mut *view(ctx, tenant_id).await?, tenant_id, job_id).await?;
            Ok(JobSubmitPayload { job: Some(job.into()), repeated: false, refusal: None })
        }
        Started::Repeated(jobs) => {
            Ok(JobSubmitPayload { job: jobs.into_iter().next().map(Job::from), repeated: true, refusal: None })
        }
    }
}

impl JobSubmitInput {
    /// The request that it means. *Errors*: what is wrong with it, and where.
    fn read(self) -> Result<Request, Error> {
        let body = serde_json::to_vec(&self).map_err(|error| Error::Internal(error.into()))?;
        if self.messages.is_empty() || self.messages.len() > MESSAGES_MAX {
            return Err(Error::invalid("messages", format!("A conversation has 1 to {MESSAGES_MAX} messages.")));
        }
        let tokens =
            self.max_tokens.map(|tokens| u32::try_from(tokens).ok().filter(|_| (1..=TOKENS_MAX).contains(&tokens)));
        if tokens == Some(None) {
            return Err(Error::invalid("maxTokens", format!("`maxTokens` must be between 1 and {TOKENS_MAX}.")));
        }
        let temperature = self.temperature.unwrap_or(0.0);
        if !(0.0..=2.0).contains(&temperature) {
            return Err(Error::invalid("temperature", "`temperature` must be between 0 and 2."));
        }
        let stop = self.stop.unwrap_or_default();
        if stop.len() > STOPS_MAX || stop.iter().any(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX) {
            let message = format!("`stop` takes up to {STOPS_MAX} texts of 1 to {STOP_BYTES_MAX} bytes.");
            return Err(Error::invalid("stop", message));
        }
        let key = self.idempotency_key;
        if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX) {
            let message = format!("An idempotency key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes.");
            return Err(Error::invalid("idempotencyKey", message));
        }
        Ok(Request {
            model: self.model,
            prompt: Prompt::Conversation {
                messages: self.messages.into_iter().map(Message::from).collect(),
                tools: vec![],
            },
            grammar: None,
            logprobs: None,
            choices: 1,
            grade: self.grade.map(Into::into),
            class: Class::Interactive,
            output_tokens_max: tokens.flatten(),
            stop,
            sampling: Sampling { temperature: temperature as f32, ..Sampling::greedy() },
            seed: self.seed.map(|seed| seed.0.cast_unsigned()),
            idempotency_key: key,
            body_sha256: Sha256::digest(body).into(),
        })
    }
}

impl From<MessageInput> for Message {
    fn from(MessageInput { role, content }: MessageInput) -> Self {
        let role = match role {
            MessageRole::System => "system",
            MessageRole::User => "user",
            MessageRole::Assistant => "assistant",
            MessageRole::Tool => "tool",
        };
        Self { role: role.to_owned(), content, tool_calls: vec![] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> JobSubmitInput {
        JobSubmitInput {
            model: "m".into(),
            messages: vec![MessageInput { role: MessageRole::User, content: "hi".into() }],
            max_tokens: None,
            temperature: None,
            seed: None,
            grade: None,
            stop: None,
            idempotency_key: None,
        }
    }

    #[test]
    fn every_wrong_value_is_refused_by_the_name_of_its_field() {
        let cases = [
            ("messages", JobSubmitInput { messages: vec![], ..input() }),
            ("maxTokens", JobSubmitInput { max_tokens: Some(0), ..input() }),
            ("maxTokens", JobSubmitInput { max_tokens: Some(-5), ..input() }),
            ("maxTokens", JobSubmitInput { max_tokens: Some(i32::MAX), ..input() }),
            ("temperature", JobSubmitInput { temperature: Some(2.5), ..input() }),
            ("temperature", JobSubmitInput { temperature: Some(f64::NAN), ..input() }),
            ("stop", JobSubmitInput { stop: Some(vec![String::new()]), ..input() }),
            ("stop", JobSubmitInput { stop: Some(vec!["x".into(); 5]), ..input() }),
            ("idempotencyKey", JobSubmitInput { idempotency_key: Some("k".repeat(256)), ..input() }),
        ];
        for (param, input) in cases {
            let shown = format!("{input:?}");
            assert_eq!(input.read().unwrap_err().param(), Some(param), "{shown}");
        }
    }

    #[test]
    fn the_idempotency_key_is_not_part_of_what_it_names() {
        let read = |key: Option<&str>, tokens| {
            let input = JobSubmitInput { idempotency_key: key.map(str::to_owned), max_tokens: tokens, ..input() };
            input.read().unwrap()
        };
        assert_eq!(read(Some("a"), None).body_sha256, read(None, None).body_sha256);
        assert_ne!(read(Some("a"), None).body_sha256, read(Some("a"), Some(9)).body_sha256);
        assert_eq!(read(None, Some(9)).output_tokens_max, Some(9));
    }
}
