//! What a job's consumer holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use primitives::id::JobId;
use tokio::sync::{mpsc, oneshot};

use super::{Command, Commands};
use crate::job::{EndReason, JobEvent, Outcome};

/// A job's events, in order; dropped before the last, the job is cancelled.
///
/// What waits here is bounded by the job's own limit of tokens and holds up no other job.
#[derive(Debug)]
pub struct JobStream {
    job_id: JobId,
    events: mpsc::UnboundedReceiver<JobEvent>,
    taken: Arc<AtomicU64>,
    commands: Commands,
    over: bool,
}

/// The broker's end of a stream.
#[derive(Debug)]
pub(super) struct Consumer {
    events: mpsc::UnboundedSender<JobEvent>,
    sent: u64,
    taken: Arc<AtomicU64>,
    taken_before: u64,
    moved_at: DateTime<Utc>,
}

/// Both ends of a new stream.
pub(super) fn pair(job_id: JobId, commands: Commands, now: DateTime<Utc>) -> (Consumer, JobStream) {
    let (sender, events) = mpsc::unbounded_channel();
    let taken = Arc::new(AtomicU64::new(0));
    let consumer = Consumer { events: sender, sent: 0, taken: taken.clone(), taken_before: 0, moved_at: now };
    (consumer, JobStream { job_id, events, taken, commands, over: false })
}

impl JobStream {
    /// Which job.
    pub fn job_id(&self) -> JobId {
        self.job_id
    }

    /// The next event; none after `Ended` or `Failed`. None before either means that the broker broke.
    pub async fn next(&mut self) -> Option<JobEvent> {
        let event = self.events.recv().await;
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.over |= matches!(event, None | Some(JobEvent::Ended(_) | JobEvent::Failed { .. }));
        event
    }

    /// Ends the job, if it has not ended, and says what was delivered, whether it was taken from the stream or not.
    pub async fn cancel(mut self) -> Outcome {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::Cancel(self.job_id, reply)).is_ok()
            && let Ok(Some(outcome)) = answer.await
        {
            self.over = true;
            return outcome;
        }
        let mut segments = Vec::new();
        while let Some(event) = self.next().await {
            match event {
                JobEvent::Ended(outcome) => return outcome,
                JobEvent::Failed { segments: delivered, .. } => segments = delivered,
                JobEvent::Placed { .. } | JobEvent::Tokens { .. } | JobEvent::Vector(_) => {}
            }
        }
        Outcome { reason: EndReason::Cancelled, segments }
    }
}

impl Drop for JobStream {
    fn drop(&mut self) {
        if !self.over {
            // Nobody waits for the answer, and without a broker there is no job.
            let (reply, _) = oneshot::channel();
            let _ = self.commands.send(Command::Cancel(self.job_id, reply));
        }
    }
}

impl Consumer {
    pub fn send(&mut self, event: JobEvent) {
        // A stream that was dropped cancels its job by itself.
        let _ = self.events.send(event);
        self.sent += 1;
    }

    /// True when something has waited for `patience` and nothing was taken.
    pub fn is_stalled(&mut self, now: DateTime<Utc>, patience: TimeDelta) -> bool {
        let taken = self.taken.load(Ordering::Relaxed);
        if taken != self.taken_before || taken >= self.sent {
            self.taken_before = taken;
            self.moved_at = now;
        }
        now - self.moved_at > patience
    }
}
