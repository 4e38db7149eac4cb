//! A job inside the core: its phase, what was delivered, and the lease it runs under.

use chrono::{DateTime, Utc};
use primitives::id::{NodeId, ProviderId};
use primitives::node_protocol::{
    DIMENSIONS_MAX, EmbeddingFrame, FinishReason, Offer, SignedReceipt, Terms, TokenFrame, Work,
};

use crate::Settings;
use crate::ask::AskPrices;
use crate::cell::{Lap, millis};
use crate::job::{Class, Job, Segment};
use crate::placement::Need;
use crate::queue::Ticket;
use crate::standing::TrialShare;

/// Frames without a token that a lease may send.
const IDLE_FRAMES_MAX: u32 = 16;

/// A job from its submission to its end.
#[derive(Debug)]
pub(super) struct Entry {
    pub job: Job,
    pub ticket: Ticket,
    pub phase: Phase,
    /// Leases so far: the epoch of the last.
    pub epoch: u32,
    /// Nodes that gave up on it or were given up on.
    pub failed_on: Vec<NodeId>,
    /// What was delivered: never more than the job's limit.
    pub delivered: Vec<u32>,
    /// *Units*: bytes of text delivered.
    pub text_bytes: u64,
    /// Embeddings delivered.
    pub vectors: usize,
    /// How many numbers each has.
    pub dimensions: usize,
    /// What ended leases delivered.
    pub segments: Vec<Segment>,
    /// Its node says that it is done, and frames that it sent before are still on their way.
    pub last_word: Option<LastWord>,
}

/// A node's word that it is done with a job.
#[derive(Debug)]
pub(super) struct LastWord {
    pub reason: FinishReason,
    /// How many the lease sent.
    pub frames: u32,
    pub cached_tokens: u32,
    pub receipt: SignedReceipt,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// In the queue.
    Waiting {
        since: DateTime<Utc>,
        /// Since when no connected node could serve it, if that is so.
        stranded_since: Option<DateTime<Utc>>,
    },
    /// Offered to a node; it keeps its place in the queue until the node answers.
    Offered { node_id: NodeId, at: DateTime<Utc>, waiting_since: DateTime<Utc> },
    /// Taken by a node; its lease is being recorded.
    Granted {
        holder: Holder,
        at: DateTime<Utc>,
        /// The node went meanwhile.
        lost: bool,
    },
    /// Leased.
    Running(Run),
}

/// Who has a lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    pub node_id: NodeId,
    pub provider_id: ProviderId,
    pub epoch: u32,
    pub prices: AskPrices,
    /// Sequences that its cell decodes at once.
    pub slots: u32,
}

/// A lease while its work goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub holder: Holder,
    pub committed_at: DateTime<Utc>,
    /// From when on its first token is waited for: the commit, or when it last gave way.
    pub patient_from: DateTime<Utc>,
    /// The lease ends then unless a sign of life renews it.
    pub expires_at: DateTime<Utc>,
    pub last_token_at: Option<DateTime<Utc>>,
    /// The tokens that came since its pace was last told.
    pub lap: Lap,
    /// The frame that comes next.
    pub next_seq: u32,
    /// Tokens of the prompt that the node's cache held; it tells at the end.
    pub cached_tokens: u32,
    /// The most that it could have held: what the node was sent before.
    pub cached_tokens_max: u32,
    /// Tokens of texts that other nodes had embedded before.
    pub embedded_before: u32,
    /// Where this lease's tokens begin among the delivered ones.
    pub delivered_from: usize,
}

impl Run {
    /// The cell's time that the lease took so far: one of its slots for the lease's time, and never nothing. *Units*: ms.
    fn compute_ms(&self, now: DateTime<Utc>) -> u32 {
        let ms = (now - self.committed_at).num_milliseconds() / i64::from(self.holder.slots.max(1));
        u32::try_from(ms.max(1)).unwrap_or(u32::MAX)
    }
}

/// What to do with a frame of the right lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the next one.
    Deliver,
    /// It came before.
    Duplicate,
    /// It would pass the job's limit.
    TooMany,
    /// A frame is missing, or there are more of them, more text, or more likelihoods, than so many tokens can bring.
    Broken,
}

impl Entry {
    /// When the core must look at the job again.
    pub fn due(&self, settings: &Settings) -> DateTime<Utc> {
        match &self.phase {
            Phase::Waiting { since, stranded_since } => {
                let turn = *since + wait_max(self.job.class, settings);
                let turn = self.ticket.ends_at.filter(|_| self.epoch == 0).map_or(turn, |ends_at| turn.min(ends_at));
                stranded_since.map_or(turn, |since| turn.min(since + settings.nodes_gone_wait))
            }
            Phase::Offered { at, .. } => *at + settings.offer_expiry,
            Phase::Granted { at, .. } => *at + settings.first_token_max,
            Phase::Running(run) if run.last_token_at.is_some() => run.expires_at,
            Phase::Running(run) => run.expires_at.min(run.patient_from + settings.first_token_max),
        }
    }

    /// What it needs of a cell.
    pub fn need(&self, now: DateTime<Utc>, trials: TrialShare) -> Need<'_> {
        Need {
            class: self.job.class,
            grade: self.job.grade,
            trials,
            tokens: self.job.tokens_needed(),
            prompt_tokens: (self.job.prompt.len() + self.delivered.len()) as u64,
            output_estimate: self.ticket.output_estimate,
            blocks: &self.job.prompt_blocks,
            left_ms: millis(self.ticket.due - now),
            // A job that has begun goes on wherever it can.
            is_due: self.job.deadline.is_some() && !self.ticket.ahead,
            step_max: self.job.step_max,
            avoid: &self.failed_on,
        }
    }

    /// The node that has an offer or a lease of it.
    pub fn node_id(&self) -> Option<NodeId> {
        match &self.phase {
            Phase::Waiting { .. } => None,
            Phase::Offered { node_id, .. } => Some(*node_id),
            Phase::Granted { holder, .. } => Some(holder.node_id),
            Phase::Running(run) => Some(run.holder.node_id),
        }
    }

    /// The lease under which `node_id` works, if `epoch` is still its epoch.
    pub fn run_of(&mut self, node_id: NodeId, epoch: u32) -> Option<&mut Run> {
        match &mut self.phase {
            Phase::Running(run) if (run.holder.node_id, run.holder.epoch) == (node_id, epoch) => Some(run),
            _ => None,
        }
    }

    /// Judges a frame of the current lease.
    pub fn judge(&self, run: &Run, frame: &TokenFrame, settings: &Settings) -> Verdict {
        if frame.seq != run.next_seq {
            return if frame.seq < run.next_seq { Verdict::Duplicate } else { Verdict::Broken };
        }
        if !self.job.embed.is_empty() {
            return Verdict::Broken;
        }
        let tokens = self.delivered.len() as u64 + frame.ids.len() as u64;
        if tokens > u64::from(self.job.output_tokens_max) {
            return Verdict::TooMany;
        }
        if frame.seq >= self.frames_max() {
            return Verdict::Broken;
        }
        let told = self.job.logprobs.map_or(0, |top| 1 + usize::from(top));
        if frame.logprobs.iter().map(|token| 1 + token.top.len()).sum::<usize>() > told * frame.ids.len() {
            return Verdict::Broken;
        }
        let bytes = self.text_bytes + frame.text.len() as u64;
        if bytes > tokens * settings.token_text_bytes_max { Verdict::Broken } else { Verdict::Deliver }
    }

    /// The most frames that a lease may send.
    pub fn frames_max(&self) -> u32 {
        if self.job.embed.is_empty() {
            self.job.output_tokens_max.saturating_add(IDLE_FRAMES_MAX)
        } else {
            count(self.job.embed.len())
        }
    }

    /// Judges an embedding of the current lease.
    pub fn judge_vector(&self, run: &Run, frame: &EmbeddingFrame) -> Verdict {
        if frame.seq < run.next_seq {
            return Verdict::Duplicate;
        }
        let EmbeddingFrame { seq, vector, .. } = frame;
        let dimensions = if self.vectors == 0 { vector.len() } else { self.dimensions };
        let sound = (1..=DIMENSIONS_MAX).contains(&vector.len()) && vector.iter().all(|number| number.is_finite());
        let wanted = *seq == run.next_seq && self.vectors < self.job.embed.len();
        if wanted && sound && vector.len() == dimensions { Verdict::Deliver } else { Verdict::Broken }
    }

    /// True when nothing is left to deliver.
    pub fn is_complete(&self) -> bool {
        if !self.job.embed.is_empty() {
            return self.vectors == self.job.embed.len();
        }
        self.delivered.len() as u64 >= u64::from(self.job.output_tokens_max)
    }

    /// Closes a lease's segment, unless it brought nothing.
    pub fn close_segment(&mut self, now: DateTime<Utc>, run: &Run) {
        if self.delivered.len() > run.delivered_from {
            self.push_segment(now, run, 0);
        }
    }

    /// Closes the segment of the lease that ended the job well: it carries the prompt.
    pub fn close_segment_with_prompt(&mut self, now: DateTime<Utc>, run: &Run) {
        self.push_segment(now, run, self.prompt_tokens_paid());
    }

    /// Puts the prompt on the segment of the lease that the job was cancelled under, if it brought anything.
    pub fn count_prompt(&mut self) {
        let prompt_tokens = self.prompt_tokens_paid();
        if let Phase::Running(run) = &self.phase
            && let Some(segment) = self.segments.last_mut().filter(|segment| segment.epoch == run.holder.epoch)
        {
            segment.prompt_tokens = prompt_tokens;
        }
    }

    /// The prompt's length, where this job pays for it.
    fn prompt_tokens_paid(&self) -> u32 {
        if self.job.pays_prompt { count(self.job.prompt.len()) } else { 0 }
    }

    fn push_segment(&mut self, now: DateTime<Utc>, run: &Run, prompt_tokens: u32) {
        let Holder { node_id, provider_id, epoch, prices: ask, .. } = run.holder;
        let output_tokens = count(self.delivered.len() - run.delivered_from);
        self.segments.push(Segment {
            epoch,
            node_id,
            provider_id,
            prompt_tokens,
            cached_tokens: run.cached_tokens.min(run.cached_tokens_max).min(prompt_tokens),
            output_tokens,
            compute_ms: run.compute_ms(now),
            ask,
        });
    }

    /// The job as a node sees it before it takes it.
    pub fn offer(&self, settings: &Settings) -> Offer {
        let longest = self.job.embed.iter().skip(self.vectors).max();
        Offer {
            job_id: self.job.job_id,
            epoch: self.epoch + 1,
            expires_ms: u32::try_from(settings.offer_expiry.num_milliseconds()).unwrap_or(u32::MAX),
            model: self.job.model.clone(),
            prompt_tokens: longest.copied().unwrap_or_else(|| count(self.job.prompt.len() + self.delivered.len())),
            output_tokens_max: self.job.output_tokens_max - count(self.delivered.len()),
            priority: self.job.class.priority(),
        }
    }

    /// The texts whose embeddings were not delivered.
    pub fn texts(&self) -> Vec<Vec<u32>> {
        let mut rest = &self.job.prompt[..];
        let mut texts = Vec::new();
        for (index, length) in self.job.embed.iter().enumerate() {
            let (text, after) = rest.split_at((*length as usize).min(rest.len()));
            rest = after;
            if index >= self.vectors {
                texts.push(text.to_vec());
            }
        }
        texts
    }

    /// The job as the node does it, going on after what was delivered.
    pub fn work(&self, now: DateTime<Utc>) -> Work {
        // A deadline that has passed is the most urgent there is.
        let left_ms = self.job.deadline.map(|deadline| (deadline - now).num_milliseconds().max(0));
        Work {
            prompt: self.job.prompt.clone(),
            resume: self.delivered.clone(),
            resume_text_bytes: self.text_bytes,
            output_tokens_max: self.job.output_tokens_max,
            stop: self.job.stop.clone(),
            sampling: self.job.sampling.clone(),
            grammar: self.job.grammar.clone(),
            logprobs: self.job.logprobs,
            terms: Terms {
                cache_salt: self.job.cache_salt.clone(),
                priority: self.job.class.priority(),
                first_token_within_ms: left_ms.map(|left_ms| u32::try_from(left_ms).unwrap_or(u32::MAX)),
            },
        }
    }
}

/// A number of tokens; what is counted here was bounded by a `u32` when it came.
pub(super) fn count(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

fn wait_max(class: Class, settings: &Settings) -> chrono::TimeDelta {
    match class {
        Class::Interactive => settings.interactive_wait_max,
        Class::Batch => settings.batch_wait_max,
    }
}
