//! A job: one unit of work, what comes out of it, and its record.

mod record;
mod usage;

use chrono::{DateTime, TimeDelta, Utc};
use primitives::certificate::Grade;
use primitives::grammar::Grammar;
use primitives::id::{JobId, NodeId, ProviderId, TenantId};
use primitives::kv_block::BlockName;
use primitives::node_protocol::{FinishReason, PRIORITY_INTERACTIVE, Sampling, TokenLogprobs};

pub use record::{
    Filter, JobEnd, JobRecord, JobStatus, NewJob, PAGE_MAX, ended, finish, get, insert, other_choices, page, refuse,
    replicas, streaming, unfinished, unfinished_of,
};
pub use usage::{Grouping, Usage, usage};

use crate::ask::AskPrices;

/// Work that a tenant wants done; its hold is the caller's business.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Which job.
    pub job_id: JobId,
    /// Who pays: the unit of fairness.
    pub tenant_id: TenantId,
    /// The model's name in the catalogue.
    pub model: String,
    /// The prompt, as ids of the model's tokenizer.
    pub prompt: Vec<u32>,
    /// The lengths of the texts that the prompt is made of, where each of them is to be embedded; none where it is to be gone on
    /// from. *Units*: tokens.
    pub embed: Vec<u32>,
    /// The most output tokens; more are never delivered.
    pub output_tokens_max: u32,
    /// Texts that end the output and are not part of it.
    pub stop: Vec<String>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// What the output must look like.
    pub grammar: Option<Grammar>,
    /// With how many of the likeliest tokens beside each its likelihood is told, if it is.
    pub logprobs: Option<u8>,
    /// Stands for the tenant in the caches of nodes; without it the prompt is shared with no other job.
    pub cache_salt: Option<String>,
    /// The names of the prompt's whole KV blocks under that salt, by which the cells that hold its beginning are found.
    pub prompt_blocks: Vec<BlockName>,
    /// Whether the prompt is charged with it; another choice of a request leaves it to the first.
    pub pays_prompt: bool,
    /// The lowest grade of a cell that it may go to.
    pub grade: Grade,
    /// Whether somebody waits for it.
    pub class: Class,
    /// When the first token is wanted: a job that no cell could begin in time is refused, and one that has become late goes behind
    /// those that are not; missing it ends nothing.
    pub deadline: Option<DateTime<Utc>>,
    /// The longest that a token may take after the one before: cells that are slower are asked only when no other is there.
    pub step_max: Option<TimeDelta>,
}

impl Job {
    /// Prompt and the most output: the context that a cell must offer. Texts are embedded one by one.
    pub fn tokens_needed(&self) -> u64 {
        if let Some(longest) = self.embed.iter().max() {
            return u64::from(*longest);
        }
        self.prompt.len() as u64 + u64::from(self.output_tokens_max)
    }
}

/// How urgent a job is; an interactive job always goes before a batch job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Somebody waits.
    Interactive,
    /// Fills idle slots.
    Batch,
}

impl Class {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Batch => "batch",
        }
    }

    /// What a node's engine orders by: higher goes first.
    pub fn priority(self) -> u8 {
        match self {
            Self::Interactive => PRIORITY_INTERACTIVE,
            Self::Batch => PRIORITY_INTERACTIVE - 1,
        }
    }
}

/// What happens to a job, in order; `Ended` or `Failed` is the last.
#[derive(Clone, Debug, PartialEq)]
pub enum JobEvent {
    /// A node has the work; comes again when the job resumes elsewhere.
    Placed {
        /// Which node.
        node_id: NodeId,
        /// Whose.
        provider_id: ProviderId,
        /// Under which lease.
        epoch: u32,
    },
    /// Output that counts: these ids, each exactly once, and the text they complete.
    Tokens {
        /// The new tokens.
        ids: Vec<u32>,
        /// Whole characters; may lag behind the tokens.
        text: String,
        /// How likely each token was, as the node tells it.
        logprobs: Vec<TokenLogprobs>,
    },
    /// The embedding of the next text.
    Vector(Vec<f32>),
    /// The job ended as it should, or its caller cancelled it.
    Ended(Outcome),
    /// The job could not be ended; what was delivered stands.
    Failed {
        /// The kind of failure.
        code: FailureCode,
        /// A sentence for people.
        message: String,
        /// Who delivered what.
        segments: Vec<Segment>,
    },
}

/// How a job ended and who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why the output ended.
    pub reason: EndReason,
    /// Who delivered what, in order of epoch.
    pub segments: Vec<Segment>,
}

/// Why an output ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The model ended its turn, or a stop text came.
    Stop,
    /// The limit was reached.
    Length,
    /// The caller no longer wanted it.
    Cancelled,
}

impl EndReason {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => FinishReason::Stop.as_str(),
            Self::Length => FinishReason::Length.as_str(),
            Self::Cancelled => "cancelled",
        }
    }
}

impl From<FinishReason> for EndReason {
    fn from(reason: FinishReason) -> Self {
        match reason {
            FinishReason::Stop => Self::Stop,
            FinishReason::Length => Self::Length,
        }
    }
}

/// One lease's part of a job: every delivered token belongs to exactly one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The lease.
    pub epoch: u32,
    /// Who did it.
    pub node_id: NodeId,
    /// Who is owed.
    pub provider_id: ProviderId,
    /// The whole prompt on the segment that ended the job well, 0 on every other, so that the sum counts it once. A
    /// cancelled job's prompt counts if the lease it was cancelled under delivered a token, a failed job's never, and that of a
    /// job that leaves it to the first choice of its request neither.
    pub prompt_tokens: u32,
    /// Of those, how many a cache held: what the node says, and no more than it was sent before.
    pub cached_tokens: u32,
    /// Tokens delivered under this lease.
    pub output_tokens: u32,
    /// The cell's time that the lease took: its own time, divided by the cell's slots. *Units*: ms, at least one.
    pub compute_ms: u32,
    /// The provider's prices when the lease was granted.
    pub ask: AskPrices,
}

/// Why a job failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureCode {
    /// Every node that could serve it left, and none came back in time.
    NodesGone,
    /// Its turn did not come in time.
    QueueTimeout,
    /// As many nodes as a job may try gave up on it.
    AttemptsExhausted,
    /// Its lease could not be recorded, so nothing was sent to the node.
    LeaseUnrecorded,
    /// Its consumer took nothing for too long.
    ConsumerStalled,
    /// The control plane went down.
    ShuttingDown,
}

impl FailureCode {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NodesGone => "nodes_gone",
            Self::QueueTimeout => "queue_timeout",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::LeaseUnrecorded => "lease_unrecorded",
            Self::ConsumerStalled => "consumer_stalled",
            Self::ShuttingDown => "shutting_down",
        }
    }
}
