//! One connection's life: offers, leases and their work, heartbeats, draining.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use primitives::id::{JobId, NodeId};
use primitives::node_protocol::{FromNode, Load, Offer, PRIORITY_INTERACTIVE, Replay, ToNode};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::engine::RequestHandle;
use crate::error::{Error, Refused};
use crate::node::connection::{Connection, Reader};
use crate::node::identity::Identity;
use crate::node::job;
use crate::node::serving::Serving;
use crate::shelf::Claim;

/// Messages that wait for the socket. When it is full, jobs wait; their tokens wait in their own queues.
const OUTGOING_MAX: usize = 256;

/// How long a slot stays reserved for an accepted job that is not committed.
const COMMIT_WITHIN: Duration = Duration::from_secs(10);

/// Outputs of other nodes that are replayed at once; further ones are refused.
const REPLAYS_MAX: usize = 2;

/// How long running work may take to end when the control plane asks the node to drain: longer than any job.
const ASKED_DRAIN: Duration = Duration::from_secs(2 * 60 * 60);

/// Serves one connection until it breaks (an error) or the node is drained (well). Either way all work of its leases is over:
/// what was unfinished is cancelled, since its leases are lost.
///
/// # Errors
/// When the connection broke, the control plane broke the protocol, or an engine died.
pub async fn run(
    connection: Connection,
    engines: &[Arc<Serving>],
    identity: &Arc<Identity>,
    draining: watch::Receiver<Option<Instant>>,
) -> Result<(), Error> {
    let Connection { writer, reader, node_id, heartbeat } = connection;
    engines.iter().for_each(|engine| engine.restart_news());
    let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
    let mut writing = pin!(writer.drain(queue));
    let session = Session {
        engines,
        identity,
        node_id,
        outgoing,
        leases: HashMap::new(),
        jobs: JoinSet::new(),
        replays: JoinSet::new(),
        drain: None,
    };
    tokio::select! {
        broke = &mut writing => broke.and(Err(Error::Closed)),
        ended = session.serve(reader, heartbeat, draining) => match ended {
            // The session is gone and with it the queue's last sender: what waits is sent, then the socket closes.
            Ok(()) => writing.await,
            Err(error) => Err(error),
        }
    }
}

struct Session<'a> {
    engines: &'a [Arc<Serving>],
    identity: &'a Arc<Identity>,
    node_id: NodeId,
    outgoing: mpsc::Sender<FromNode>,
    leases: HashMap<JobId, Held>,
    jobs: JoinSet<Ended>,
    /// Each gives what it found.
    replays: JoinSet<FromNode>,
    /// When draining must be over, once it began.
    drain: Option<Instant>,
}

/// A lease that this connection holds.
struct Held {
    epoch: u32,
    engine: usize,
    priority: u8,
    prompt_tokens: u32,
    /// Keeps the model in memory.
    claim: Option<Arc<Claim>>,
    state: State,
}

/// Why an offer is declined, and when it may be taken where that is known.
struct Declined {
    reason: String,
    retry_after_ms: Option<u32>,
}

impl From<String> for Declined {
    fn from(reason: String) -> Self {
        Self { reason, retry_after_ms: None }
    }
}

/// A task that ended by itself.
struct Ended {
    job_id: JobId,
    epoch: u32,
    message: Option<FromNode>,
}

enum State {
    Accepted { lapses_at: Instant },
    Running { task: AbortHandle },
}

impl Session<'_> {
    async fn serve(
        mut self,
        mut reader: Reader,
        heartbeat: Duration,
        mut draining: watch::Receiver<Option<Instant>>,
    ) -> Result<(), Error> {
        let mut beats = interval(heartbeat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.drain.is_some() && self.leases.is_empty() {
                return Ok(());
            }
            let drained_by = self.drain.unwrap_or_else(Instant::now).into();
            tokio::select! {
                message = reader.next() => self.hear(message?).await?,
                Some(ended) = self.jobs.join_next() => self.end(ended).await?,
                Some(ended) = self.replays.join_next() => match ended {
                    Ok(found) => self.say(found).await?,
                    Err(error) => resume_unwind(error.into_panic()),
                },
                _ = beats.tick() => self.beat().await?,
                Ok(deadline) = wanted(&mut draining), if self.drain.is_none() => {
                    self.drain = Some(deadline);
                    self.say(FromNode::Goodbye).await?;
                }
                () = sleep_until(drained_by), if self.drain.is_some() => {
                    tracing::warn!(jobs = self.leases.len(), "draining took too long, the rest is left to other nodes");
                    return Ok(());
                }
            }
        }
    }

    async fn hear(&mut self, message: ToNode) -> Result<(), Error> {
        match message {
            ToNode::Offer(offer) => self.answer(offer).await,
            ToNode::Commit { job_id, epoch, work } => self.begin(job_id, epoch, |serving| serving.submit(*work)).await,
            ToNode::Embed { job_id, epoch, texts } => self.begin(job_id, epoch, |serving| serving.embed(texts)).await,
            ToNode::Replay { job_id, epoch, replay } => self.replay(job_id, epoch, *replay).await,
            ToNode::Cancel { job_id, epoch } => {
                self.cancel(job_id, epoch);
                Ok(())
            }
            ToNode::Drain => {
                if self.drain.is_none() {
                    tracing::info!("draining, as the control plane asks");
                    self.drain = Some(Instant::now() + ASKED_DRAIN);
                    self.say(FromNode::Goodbye).await?;
                }
                Ok(())
            }
            ToNode::Refused { code, message } => Err(Error::NotLetIn { code, message }),
            ToNode::Challenge { .. } | ToNode::Welcome { .. } => {
                Err(Error::Protocol { reason: "a greeting in the middle of a session".into() })
            }
        }
    }

    async fn answer(&mut self, offer: Offer) -> Result<(), Error> {
        let Offer { job_id, epoch, priority, prompt_tokens, .. } = offer;
        if let Some(held) = self.leases.get(&job_id).map(|lease| lease.epoch) {
            if held >= epoch {
                tracing::debug!(job.id = %job_id, job.epoch = epoch, "an offer of a lease already seen");
                return Ok(());
            }
            // A newer lease of the same job: the old one is lost.
            self.cancel(job_id, held);
        }
        match self.place(&offer) {
            Ok((engine, claim)) => {
                let claim = claim.map(Arc::new);
                let state = State::Accepted { lapses_at: Instant::now() + COMMIT_WITHIN };
                self.leases.insert(job_id, Held { epoch, engine, priority, prompt_tokens, claim, state });
                self.say(FromNode::Accept { job_id, epoch }).await
            }
            Err(Declined { reason, retry_after_ms }) => {
                metrics::counter!("tokengrid_node_offers_declined_total").increment(1);
                self.say(FromNode::Decline { job_id, epoch, reason, retry_after_ms }).await
            }
        }
    }

    /// The engine that has a slot for the job, free or of a job that gives way, and its model in memory; or why there is none.
    fn place(&self, offer: &Offer) -> Result<(usize, Option<Claim>), Declined> {
        if self.drain.is_some() {
            return Err("draining".to_owned().into());
        }
        let engine = self
            .engines
            .iter()
            .position(|engine| engine.model_id() == offer.model)
            .ok_or_else(|| format!("model {} is not served here", offer.model))?;
        let serving = &self.engines[engine];
        serving.condition()?;
        let needed = u64::from(offer.prompt_tokens) + u64::from(offer.output_tokens_max);
        let (context_tokens, slots) = (serving.context_tokens(), serving.slots());
        if needed > context_tokens as u64 {
            return Err(format!("{needed} tokens do not fit a slot of {context_tokens}").into());
        }
        let leases = self.leases.values().filter(|lease| lease.engine == engine);
        let in_the_way = |lease: &&Held| serving.waiting_max() == 0 || lease.priority >= offer.priority;
        if leases.clone().filter(in_the_way).count() >= slots || leases.clone().count() >= slots + serving.waiting_max()
        {
            return Err(format!("all {slots} slots are taken").into());
        }
        let accepted = leases.filter(|lease| matches!(lease.state, State::Accepted { .. }));
        let accepted = accepted.filter(|lease| lease.priority >= PRIORITY_INTERACTIVE);
        let on_their_way = accepted.map(|lease| lease.prompt_tokens).fold(0, u32::saturating_add);
        match serving.past_declared_ms(on_their_way) {
            Some(past_ms) if offer.priority >= PRIORITY_INTERACTIVE => {
                let reason = format!("its turn would come {past_ms} ms later than is declared");
                Err(Declined { reason, retry_after_ms: Some(past_ms) })
            }
            _ => Ok((engine, serving.claim()?)),
        }
    }

    async fn begin(
        &mut self,
        job_id: JobId,
        epoch: u32,
        submit: impl FnOnce(&Serving) -> Result<RequestHandle, Refused> + Send + 'static,
    ) -> Result<(), Error> {
        let accepted = self.leases.get_mut(&job_id).filter(|lease| lease.epoch == epoch);
        let Some(lease @ Held { state: State::Accepted { .. }, .. }) = accepted else {
            tracing::debug!(job.id = %job_id, job.epoch = epoch, "a commit of no lease that waits for it");
            return Ok(());
        };
        let committed_at = Instant::now();
        let (engine, claim) = (self.engines[lease.engine].clone(), lease.claim.clone());
        let (identity, outgoing, node_id) = (self.identity.clone(), self.outgoing.clone(), self.node_id);
        let task = self.jobs.spawn(async move {
            let lease = job::Lease { job_id, epoch, node_id };
            // A grammar may take longer to compile than a conversation may pause.
            // So may a model to load, which goes on when nobody waits for it any more.
            let submitting = tokio::task::spawn_blocking(move || {
                let _claim = claim;
                submit(&engine)
            });
            let message = match submitting.await {
                Ok(Ok(request)) => job::run(lease, request, committed_at, &identity, &outgoing).await,
                Ok(Err(refused)) => Some(FromNode::Failed { job_id, epoch, message: refused.to_string() }),
                Err(broken) => Some(FromNode::Failed { job_id, epoch, message: broken.to_string() }),
            };
            Ended { job_id, epoch, message }
        });
        lease.state = State::Running { task };
        Ok(())
    }

    async fn replay(&mut self, job_id: JobId, epoch: u32, replay: Replay) -> Result<(), Error> {
        let engine = self.engines.iter().find(|engine| engine.model_id() == replay.model);
        match engine.filter(|_| self.replays.len() < REPLAYS_MAX).map(|engine| engine.replay(replay)) {
            Some(Ok(request)) => {
                self.replays
                    .spawn(async move { FromNode::Replayed { job_id, epoch, slacks: job::replay(request).await } });
                Ok(())
            }
            Some(Err(_)) | None => self.say(FromNode::Replayed { job_id, epoch, slacks: None }).await,
        }
    }

    fn cancel(&mut self, job_id: JobId, epoch: u32) {
        if self.leases.get(&job_id).is_none_or(|lease| lease.epoch != epoch) {
            tracing::debug!(job.id = %job_id, job.epoch = epoch, "a cancellation of no lease held");
            return;
        }
        if let Some(Held { state: State::Running { task }, .. }) = self.leases.remove(&job_id) {
            // Dropping the task drops its request, which frees the sequence.
            task.abort();
        }
    }

    /// Frees the slot of a job that ended, then says so: who hears it may offer the next at once.
    async fn end(&mut self, ended: Result<Ended, JoinError>) -> Result<(), Error> {
        let Ended { job_id, epoch, message } = match ended {
            Ok(ended) => ended,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            // It was cancelled, and its lease is forgotten already.
            Err(_) => return Ok(()),
        };
        if self.leases.get(&job_id).is_none_or(|lease| lease.epoch != epoch) {
            return Ok(());
        }
        self.leases.remove(&job_id);
        match message {
            Some(message) => self.say(message).await,
            None => Ok(()),
        }
    }

    async fn beat(&mut self) -> Result<(), Error> {
        self.engines.iter().try_for_each(|engine| engine.alive())?;
        let now = Instant::now();
        self.leases.retain(|_, lease| !matches!(lease.state, State::Accepted { lapses_at } if lapses_at <= now));
        let mut load = Load::default();
        for engine in self.engines {
            let (running, waiting) = engine.load();
            load.running += running;
            load.waiting += waiting;
            load.models.push(engine.news());
            engine.measure();
        }
        metrics::gauge!("tokengrid_node_sequences_running").set(load.running);
        metrics::gauge!("tokengrid_node_sequences_waiting").set(load.waiting);
        self.say(FromNode::Heartbeat(load)).await
    }

    async fn say(&self, message: FromNode) -> Result<(), Error> {
        self.outgoing.send(message).await.map_err(|_| Error::Closed)
    }
}

/// The deadline of draining, once it is wanted.
async fn wanted(draining: &mut watch::Receiver<Option<Instant>>) -> Result<Instant, watch::error::RecvError> {
    let deadline = draining.wait_for(Option::is_some).await?;
    Ok(deadline.expect("waited for"))
}
