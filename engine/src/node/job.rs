//! One committed job: from the engine's events to the control plane's messages.

use std::time::Instant;

use primitives::id::{JobId, NodeId};
use primitives::node_protocol::{EmbeddingFrame, FromNode, Receipt, TokenFrame, output_sha256};
use tokio::sync::mpsc;

use crate::engine::{Event, RequestHandle};
use crate::node::identity::Identity;
use crate::receipt;
use crate::sequence::Frame;

/// A lease that is being worked on.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// Which job.
    pub job_id: JobId,
    /// Under which fencing token.
    pub epoch: u32,
    /// Who works.
    pub node_id: NodeId,
}

/// Sends a job's frames and gives the message of its end; none if there is nobody to tell. Dropping the future cancels the
/// work and sends nothing more.
pub async fn run(
    lease: Lease,
    mut request: RequestHandle,
    committed_at: Instant,
    identity: &Identity,
    outgoing: &mpsc::Sender<FromNode>,
) -> Option<FromNode> {
    let Lease { job_id, epoch, node_id } = lease;
    let mut sent: Vec<u32> = Vec::new();
    let mut frames = 0;
    let mut first_token_ms = None;
    let mut first_token = || {
        first_token_ms.get_or_insert_with(|| {
            metrics::histogram!("tokengrid_node_first_token_seconds").record(committed_at.elapsed());
            elapsed_ms(committed_at)
        });
    };
    let end = loop {
        match request.next().await {
            Some(Event::Tokens(frame)) => {
                first_token();
                sent.extend(&frame.ids);
                let Frame { seq, ids, text, logprobs, slack: _ } = frame;
                let frame = FromNode::Tokens(TokenFrame { job_id, epoch, seq, ids, text, logprobs });
                frames += 1;
                // If the connection is gone, so is the lease.
                outgoing.send(frame).await.ok()?;
            }
            Some(Event::Vector(vector)) => {
                first_token();
                let frame = FromNode::Embedding(EmbeddingFrame { job_id, epoch, seq: frames, vector });
                frames += 1;
                outgoing.send(frame).await.ok()?;
            }
            Some(Event::Finished { reason, usage }) => {
                let total_ms = elapsed_ms(committed_at);
                let receipt = Receipt {
                    job_id,
                    epoch,
                    node_id,
                    prompt_tokens: usage.prompt_tokens,
                    output_tokens: usage.output_tokens,
                    output_sha256: output_sha256(&sent),
                    first_token_ms: first_token_ms.unwrap_or(total_ms),
                    total_ms,
                };
                let receipt = Box::new(receipt::sign(receipt, identity));
                break FromNode::Finished { reason, frames, cached_tokens: usage.cached_tokens, receipt };
            }
            Some(Event::Failed { message, .. }) => break FromNode::Failed { job_id, epoch, message },
            Some(Event::Cancelled { .. }) => return None,
            None => break FromNode::Failed { job_id, epoch, message: "the engine has stopped".into() },
        }
    };
    let outcome = if matches!(end, FromNode::Finished { .. }) { "finished" } else { "failed" };
    metrics::counter!("tokengrid_node_jobs_total", "outcome" => outcome).increment(1);
    tracing::debug!(job.id = %job_id, job.epoch = epoch, output_tokens = sent.len(), "a job ended");
    Some(end)
}

/// How far the model was from drawing each token of an output that was a choice; none where that cannot be told.
pub async fn replay(mut request: RequestHandle) -> Option<Vec<f32>> {
    let mut slacks = Vec::new();
    loop {
        match request.next().await? {
            Event::Tokens(frame) => slacks.extend(frame.slack),
            Event::Finished { .. } => return Some(slacks),
            Event::Vector(_) | Event::Cancelled { .. } | Event::Failed { .. } => return None,
        }
    }
}

fn elapsed_ms(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_millis()).unwrap_or(u32::MAX)
}
