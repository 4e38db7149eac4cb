//! The broker's decisions, without its doing: a state machine that is told what happened and answers what to do.
//!
//! Nothing here waits, reads a clock or touches the outside. The same inputs at the same instants give the same outputs,
//! so that tests and simulators run the production code on virtual time. Every input ends by matching whatever waits
//! with whatever is free.
//!
//! A job's way: *waiting* → *offered* → *granted* (its lease is being recorded) → *running* → ended; a decline puts it
//! back, a failure sends it ahead of the queue with what was delivered. A node may be free to lie, repeat itself, fall
//! silent or vanish; the stream that comes out stays one stream, each of its tokens under exactly one lease.

#[cfg(test)]
mod audit_tests;
mod audits;
mod declared;
#[cfg(test)]
mod declared_tests;
#[cfg(test)]
mod embedding_tests;
mod entry;
#[cfg(test)]
mod fault_tests;
mod leases;
mod offers;
#[cfg(test)]
mod presence_tests;
#[cfg(test)]
mod standing_tests;
#[cfg(test)]
mod tests;
mod timers;
#[cfg(test)]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use primitives::id::{JobId, NodeId};
use primitives::node_protocol::{FromNode, Load, ToNode};

use crate::ask::Ask;
use crate::cell::{Average, ModelAvailability, instant_ms};
use crate::fleet::Fleet;
use crate::job::{Class, EndReason, FailureCode, Job, JobEvent, Outcome};
use crate::lease::{EndedLease, GrantedLease, LeaseOutcome};
use crate::node::{NodeSession, NodeSnapshot};
use crate::presence::{self, Presence};
use crate::queue::{Queue, Ticket};
use crate::standing::Standing;
use crate::trust::audit::Audit;
use crate::{Refused, Settings};
use audits::Audits;
use entry::{Entry, LastWord, Phase};
use timers::Timers;

/// Something to be done outside, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this to that node.
    Send(NodeId, ToNode),
    /// Close that node's link: it fell silent.
    Close(NodeId),
    /// Tell the job's consumer.
    Event(JobId, JobEvent),
    /// Record the lease durably, then say so by [`Core::lease_recorded`] or [`Core::lease_refused`].
    Grant(GrantedLease),
    /// Record that the lease is over; follows its grant.
    End(EndedLease),
    /// Record that the node was there.
    Present(Presence),
    /// Record what an audit found.
    Audited(Box<Audit>),
}

/// What the core wants to look at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wake {
    /// A job that waits, was offered or runs.
    Job(JobId),
    /// A node that may have fallen silent.
    Silence(NodeId),
    /// A node with cells at rest.
    Rest(NodeId),
    /// A node that will be about to be free.
    Turn(NodeId),
    /// The presences of all nodes.
    Presences,
    /// Audits that may have waited too long.
    Audits,
}

/// The broker's state: every job in hand, every queue, every connected node.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    fleet: Fleet,
    queues: BTreeMap<String, Queue>,
    jobs: BTreeMap<JobId, Entry>,
    audits: Audits,
    timers: Timers<Wake>,
    /// Looks at the queue so far.
    decisions: u64,
    /// What a lease's record takes, lately. *Units*: ms.
    record_ms: Average,
    /// Models whose queue or cells changed in this input.
    changed: BTreeSet<String>,
    outputs: Vec<Output>,
}

impl Core {
    /// A broker without nodes and jobs.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            fleet: Fleet::default(),
            queues: BTreeMap::new(),
            jobs: BTreeMap::new(),
            audits: Audits::default(),
            timers: Timers::default(),
            decisions: 0,
            record_ms: Average::new(0.1),
            changed: BTreeSet::new(),
            outputs: Vec::new(),
        }
    }

    /// Takes a job in, or says why not.
    pub fn submit(&mut self, now: DateTime<Utc>, job: Job) -> Result<(), Refused> {
        self.admit(&job)?;
        self.admit_declared(now, &job)?;
        let queue = self.queues.entry(job.model.clone()).or_insert_with(Queue::new);
        let mut ticket = queue.ticket(&job, now, self.settings.ageing);
        self.weigh(now, &job, &mut ticket)?;
        if let Some(queue) = self.queues.get_mut(&job.model) {
            queue.push(ticket.clone());
        }
        let stranded_since = (!self.could_serve(&job)).then_some(now);
        let job_id = job.job_id;
        self.changed.insert(job.model.clone());
        let entry = Entry {
            job,
            ticket,
            phase: Phase::Waiting { since: now, stranded_since },
            epoch: 0,
            failed_on: Vec::new(),
            delivered: Vec::new(),
            text_bytes: 0,
            vectors: 0,
            dimensions: 0,
            segments: Vec::new(),
            last_word: None,
        };
        self.timers.set(Wake::Job(job_id), entry.due(&self.settings));
        self.jobs.insert(job_id, entry);
        self.dispatch(now);
        Ok(())
    }

    /// Ends a job that is no longer wanted; nothing if it has already ended.
    pub fn cancel(&mut self, now: DateTime<Utc>, job_id: JobId) -> Option<Outcome> {
        let mut entry = self.stop(now, job_id)?;
        entry.count_prompt();
        self.dispatch(now);
        Some(Outcome { reason: EndReason::Cancelled, segments: entry.segments })
    }

    /// Ends a job for a reason of ours, with an event.
    pub fn abort(&mut self, now: DateTime<Utc>, job_id: JobId, code: FailureCode) {
        self.fail(now, job_id, code);
        self.dispatch(now);
    }

    /// Ends every job for a reason of ours, and offers none in the meantime.
    pub fn abort_all(&mut self, now: DateTime<Utc>, code: FailureCode) {
        self.jobs().collect::<Vec<_>>().into_iter().for_each(|job_id| self.fail(now, job_id, code));
    }

    /// Tells until when every node was there; for the end of a broker, and every few seconds by itself.
    pub fn tell_presences(&mut self) {
        self.outputs.extend(self.fleet.presences().into_iter().map(Output::Present));
    }

    /// A node comes. Its older link, if there is one, is over.
    pub fn connect(&mut self, now: DateTime<Utc>, session: NodeSession) {
        let node_id = session.node_id;
        self.lose_node(now, node_id);
        let models: Vec<String> = session.descriptor.models.iter().map(|served| served.model.clone()).collect();
        self.fleet.connect(session, &self.settings, now);
        self.timers.set(Wake::Silence(node_id), now + self.settings.node_silence_max);
        self.timers.set(Wake::Presences, now + presence::TOLD_EVERY);
        models.iter().for_each(|model| self.note_stranded(now, model));
        self.changed.extend(models);
        self.dispatch(now);
    }

    /// A node's asks or standing changed; what runs goes on as it began.
    pub fn appraise(&mut self, now: DateTime<Utc>, node_id: NodeId, asks: &[Ask], standing: Standing) {
        for model in self.fleet.appraise(node_id, asks, standing, &self.settings) {
            self.note_stranded(now, &model);
            self.changed.insert(model);
        }
        self.dispatch(now);
    }

    /// A node is to take no more work: what it has ends there, and costs it nothing.
    pub fn drain(&mut self, now: DateTime<Utc>, node_id: NodeId) {
        if self.fleet.node(node_id).is_some_and(|node| !node.draining) {
            self.goodbye(now, node_id);
            self.outputs.push(Output::Send(node_id, ToNode::Drain));
            self.dispatch(now);
        }
    }

    /// A node goes.
    pub fn disconnect(&mut self, now: DateTime<Utc>, node_id: NodeId) {
        self.lose_node(now, node_id);
        self.dispatch(now);
    }

    /// A node speaks; from one that is not connected it means nothing.
    pub fn receive(&mut self, now: DateTime<Utc>, node_id: NodeId, message: FromNode) {
        let Some(node) = self.fleet.node_mut(node_id) else { return };
        node.heard_at = now;
        match message {
            FromNode::Heartbeat(load) => self.heartbeat(now, node_id, load),
            FromNode::Accept { job_id, epoch } => self.accept(now, node_id, job_id, epoch),
            FromNode::Decline { job_id, epoch, retry_after_ms, .. } => {
                self.decline(now, node_id, job_id, epoch, retry_after_ms);
            }
            FromNode::Tokens(frame) => self.tokens(now, node_id, frame),
            FromNode::Embedding(frame) => self.vector(now, node_id, frame),
            FromNode::Finished { reason, frames, cached_tokens, receipt } => {
                self.finished(now, node_id, LastWord { reason, frames, cached_tokens, receipt: *receipt });
            }
            FromNode::Failed { job_id, epoch, .. } => self.give_up(now, node_id, job_id, epoch, LeaseOutcome::Failed),
            FromNode::Replayed { job_id, epoch, slacks } => self.replayed(now, node_id, (job_id, epoch), slacks),
            FromNode::Goodbye => self.goodbye(now, node_id),
            // The gateway's part of the conversation is over.
            FromNode::Hello(_) | FromNode::Proof { .. } => {}
        }
        self.dispatch(now);
    }

    /// Time passes: acts on whatever has come due.
    pub fn tick(&mut self, now: DateTime<Utc>) {
        for wake in self.timers.take_due(now) {
            match wake {
                Wake::Job(job_id) => self.look_at_job(now, job_id),
                Wake::Silence(node_id) => self.look_at_node(now, node_id),
                Wake::Rest(node_id) => {
                    let (woken, next) = self.fleet.wake(node_id, now);
                    self.changed.extend(woken);
                    next.into_iter().for_each(|at| self.timers.set(wake, at));
                }
                Wake::Turn(node_id) => self.changed.extend(self.fleet.models_of(node_id).map(str::to_owned)),
                Wake::Audits => self.forget_audits(now),
                Wake::Presences => {
                    self.tell_presences();
                    self.timers.set(wake, now + presence::TOLD_EVERY);
                }
            }
        }
        self.dispatch(now);
    }

    /// When [`Core::tick`] has something to do, at the earliest.
    pub fn next_tick(&self) -> Option<DateTime<Utc>> {
        self.timers.next()
    }

    /// What is to be done outside since the last call, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// The jobs in hand.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.jobs.keys().copied()
    }

    /// What can be had, model by model.
    pub fn models(&self) -> Vec<ModelAvailability> {
        self.fleet.models(|model| self.queues.get(model).map_or(0, Queue::len))
    }

    /// The connected nodes.
    pub fn nodes(&self) -> Vec<NodeSnapshot> {
        self.fleet.snapshots()
    }

    fn admit(&self, job: &Job) -> Result<(), Refused> {
        let model = || job.model.clone();
        if self.jobs.contains_key(&job.job_id) {
            return Err(Refused::Duplicate(job.job_id));
        }
        if !self.fleet.knows(&job.model) {
            return Err(Refused::NoNode { model: model() });
        }
        if self.fleet.cells(&job.model).next().is_some() && self.fleet.context_tokens_max(&job.model, job.grade) == 0 {
            return Err(Refused::GradeNotServed { model: model(), grade: job.grade });
        }
        let context_tokens_max = self.fleet.context_tokens_max(&job.model, job.grade);
        let tokens_needed = job.tokens_needed();
        if context_tokens_max > 0 && tokens_needed > u64::from(context_tokens_max) {
            return Err(Refused::ContextTooShort { model: model(), tokens_needed, context_tokens_max });
        }
        let Some(queue) = self.queues.get(&job.model) else { return Ok(()) };
        if queue.is_full(job.tenant_id, job.prompt.len() as u64, &self.settings) {
            let retry_after = queue.retry_after(self.fleet.slots(&job.model));
            return Err(Refused::QueueFull { model: model(), retry_after });
        }
        Ok(())
    }

    /// Weighs a job that has a deadline and is waited for.
    ///
    /// *Errors*: late, when no cell could begin it in time after all that waits, or another's chance would be lost to a longer job.
    fn weigh(&mut self, now: DateTime<Utc>, job: &Job, ticket: &mut Ticket) -> Result<(), Refused> {
        if job.deadline.is_none() || job.class != Class::Interactive {
            return Ok(());
        }
        let (now_ms, record_ms) = (instant_ms(now), self.record_ms());
        let cells = self.fleet.candidates(&job.model, self.decisions);
        let fitting = cells.filter(|(_, cell)| {
            u64::from(cell.context_tokens) >= job.tokens_needed() && cell.grade >= job.grade && cell.capacity > 0
        });
        let (mut lanes, mut cached) = (Vec::new(), 0);
        for (_, cell) in fitting.filter(|(_, cell)| cell.keeps_pace(job.step_max)) {
            cached = cached.max(cell.held.cached_tokens(&job.prompt_blocks));
            lanes.push(cell.lane(now_ms, record_ms));
        }
        if lanes.is_empty() {
            return Ok(());
        }
        let speed: f64 = lanes.iter().map(|lane| 1.0 / lane.token_ms.max(0.000_1)).sum();
        let shown = self.fleet.shown(&job.model);
        if let Some(queue) = self.queues.get_mut(&job.model) {
            queue.drains_at(speed / shown);
        }
        ticket.work_tokens = Some(job.prompt.len().saturating_sub(cached).max(1) as f64);
        let late_by = self.queues.get(&job.model).and_then(|queue| queue.late_by(ticket, now, &lanes));
        late_by.map_or(Ok(()), |late_ms| {
            let retry_after = Duration::from_secs((late_ms / 1_000.0).ceil().clamp(1.0, 3_600.0) as u64);
            Err(Refused::Late { model: job.model.clone(), retry_after })
        })
    }

    /// True when a connected node that takes offers has the context for the job.
    fn could_serve(&self, job: &Job) -> bool {
        let context_tokens_max = self.fleet.context_tokens_max(&job.model, job.grade);
        context_tokens_max > 0 && job.tokens_needed() <= u64::from(context_tokens_max)
    }

    /// Notes for each waiting job of a model whether a connected node could serve it.
    fn note_stranded(&mut self, now: DateTime<Utc>, model: &str) {
        let waiting: Vec<JobId> =
            self.queues.get(model).into_iter().flat_map(Queue::tickets).map(|ticket| ticket.job_id).collect();
        for job_id in waiting {
            let Some(could) = self.jobs.get(&job_id).map(|entry| self.could_serve(&entry.job)) else { continue };
            if let Some(entry) = self.jobs.get_mut(&job_id)
                && let Phase::Waiting { stranded_since, .. } = &mut entry.phase
            {
                *stranded_since = if could { None } else { stranded_since.or(Some(now)) };
                self.timers.set(Wake::Job(job_id), entry.due(&self.settings));
            }
        }
    }

    fn heartbeat(&mut self, now: DateTime<Utc>, node_id: NodeId, load: Load) {
        let more = self.fleet.resize(node_id, &load.models, self.settings.backlog);
        let Some(node) = self.fleet.node_mut(node_id) else { return };
        node.hear(&load, instant_ms(now));
        node.load = Load { models: Vec::new(), ..load };
        // Before its first token a job shows no other sign of life; after it, or once all was sent, only frames count, unless it gives
        // way.
        for job_id in &node.jobs {
            let Some(entry) = self.jobs.get_mut(job_id) else { continue };
            let Phase::Running(run) = &mut entry.phase else { continue };
            let gives_way =
                node.cell(&entry.job.model).is_some_and(|cell| cell.lets_pass(entry.job.class) && cell.is_overfull());
            if gives_way {
                run.patient_from = now;
            }
            if entry.last_word.is_none() && (gives_way || run.last_token_at.is_none()) {
                run.expires_at = run.expires_at.max(now + self.settings.lease_ttl);
            }
        }
        self.changed.extend(more);
    }

    fn goodbye(&mut self, now: DateTime<Utc>, node_id: NodeId) {
        self.outputs.extend(self.fleet.presence(node_id).map(Output::Present));
        for model in self.fleet.drain(node_id).unwrap_or_default() {
            self.note_stranded(now, &model);
        }
    }

    fn look_at_node(&mut self, now: DateTime<Utc>, node_id: NodeId) {
        let Some(node) = self.fleet.node(node_id) else { return };
        let silent_at = node.heard_at + self.settings.node_silence_max;
        if silent_at > now {
            self.timers.set(Wake::Silence(node_id), silent_at);
        } else {
            self.outputs.push(Output::Close(node_id));
            self.lose_node(now, node_id);
        }
    }

    /// Forgets a node and sends its jobs elsewhere.
    fn lose_node(&mut self, now: DateTime<Utc>, node_id: NodeId) {
        self.outputs.extend(self.fleet.presence(node_id).map(Output::Present));
        self.lose_referee(node_id);
        let Some((models, jobs)) = self.fleet.disconnect(node_id) else { return };
        self.timers.clear(Wake::Silence(node_id));
        self.timers.clear(Wake::Rest(node_id));
        self.timers.clear(Wake::Turn(node_id));
        if self.fleet.is_empty() {
            self.timers.clear(Wake::Presences);
        }
        jobs.into_iter().for_each(|job_id| self.lose_job(now, job_id));
        models.iter().for_each(|model| self.note_stranded(now, model));
    }

    fn look_at_job(&mut self, now: DateTime<Utc>, job_id: JobId) {
        let Some(entry) = self.jobs.get(&job_id) else { return };
        let due = entry.due(&self.settings);
        if due > now {
            return self.timers.set(Wake::Job(job_id), due);
        }
        match &entry.phase {
            Phase::Waiting { stranded_since: Some(_), .. } => self.fail(now, job_id, FailureCode::NodesGone),
            Phase::Waiting { stranded_since: None, .. } => self.fail(now, job_id, FailureCode::QueueTimeout),
            Phase::Offered { node_id, .. } => self.withdraw(now, *node_id, job_id),
            Phase::Granted { .. } => self.fail(now, job_id, FailureCode::LeaseUnrecorded),
            Phase::Running(run) => {
                let holder = run.holder;
                let all_sent = entry.last_word.is_some();
                let outcome = if all_sent { LeaseOutcome::Broken } else { LeaseOutcome::Stalled };
                self.give_up(now, holder.node_id, job_id, holder.epoch, outcome);
            }
        }
    }
}

/// The event of a job that failed.
fn failed(code: FailureCode, entry: Entry) -> JobEvent {
    let message = match code {
        FailureCode::NodesGone => {
            format!("every node that serves `{}` went away and none came back in time", entry.job.model)
        }
        FailureCode::QueueTimeout => "no node had room for the job in time".to_owned(),
        FailureCode::AttemptsExhausted => format!("{} nodes in turn gave up on the job", entry.failed_on.len()),
        FailureCode::LeaseUnrecorded => "the job's lease could not be recorded".to_owned(),
        FailureCode::ConsumerStalled => "nobody took the job's output".to_owned(),
        FailureCode::ShuttingDown => "the control plane went down".to_owned(),
    };
    JobEvent::Failed { code, message, segments: entry.segments }
}
