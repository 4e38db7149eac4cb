//! The task that owns the core: it brings in what happened and does what the core decides.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use primitives::clock::Clock;
use primitives::id::{JobId, NodeId};
use primitives::node_protocol::ToNode;
use tokio::sync::mpsc;

use super::link::{self, Link};
use super::stream::{self, Consumer, JobStream};
use super::writer::Write;
use super::{Answer, Command, Commands};
use crate::core::{Core, Output};
use crate::job::{FailureCode, Job, JobEvent};
use crate::{Refused, Settings};

/// The longest sleep: how late a manual clock, or a stalled consumer, is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(50);
/// Commands handled between two looks at the timers.
const COMMANDS_MAX: usize = 256;

/// The core with its surroundings.
pub(super) struct Dispatcher {
    core: Core,
    clock: Clock,
    consumer_stall_max: TimeDelta,
    consumers: HashMap<JobId, Consumer>,
    consumers_seen_at: DateTime<Utc>,
    links: HashMap<NodeId, Link>,
    connections: u64,
    commands: Commands,
    writes: mpsc::UnboundedSender<Write>,
}

impl Dispatcher {
    pub fn new(clock: Clock, settings: Settings, commands: Commands, writes: mpsc::UnboundedSender<Write>) -> Self {
        Self {
            consumer_stall_max: settings.consumer_stall_max,
            core: Core::new(settings),
            consumers: HashMap::new(),
            consumers_seen_at: clock.now(),
            clock,
            links: HashMap::new(),
            connections: 0,
            commands,
            writes,
        }
    }

    /// Runs until told to stop.
    pub async fn run(mut self, mut received: mpsc::UnboundedReceiver<Command>) {
        let mut batch = Vec::with_capacity(COMMANDS_MAX);
        loop {
            // The sleep is cut short by any command, and `recv_many` loses nothing when it is.
            let _ = tokio::time::timeout(self.sleep(), received.recv_many(&mut batch, COMMANDS_MAX)).await;
            let now = self.clock.now();
            for command in batch.drain(..) {
                if matches!(command, Command::Stop) {
                    return self.shut_down(now);
                }
                self.handle(now, command);
            }
            self.core.tick(now);
            self.abort_stalled(now);
            self.perform(now);
        }
    }

    fn sleep(&self) -> Duration {
        let until_tick = self.core.next_tick().map(|at| (at - self.clock.now()).to_std().unwrap_or(Duration::ZERO));
        until_tick.map_or(SLEEP_MAX, |sleep| sleep.min(SLEEP_MAX))
    }

    fn handle(&mut self, now: DateTime<Utc>, command: Command) {
        // An answer that nobody waits for is dropped; a stream or link in it undoes itself.
        match command {
            Command::Submit(job, reply) => drop(reply.send(self.submit(now, *job))),
            Command::Cancel(job_id, reply) => {
                let outcome = self.core.cancel(now, job_id);
                self.consumers.remove(&job_id);
                drop(reply.send(outcome));
            }
            Command::Connect(session, reply) => {
                self.connections += 1;
                let (link, node_link) = link::pair(&session, self.connections, self.commands.clone());
                self.links.insert(session.node_id, link);
                self.core.connect(now, *session);
                drop(reply.send(node_link));
            }
            Command::Message(key, message, _permit) => {
                if self.links.get(&key.node_id).is_some_and(|link| link.key == key) {
                    self.core.receive(now, key.node_id, message);
                }
            }
            Command::Gone(key) => {
                if self.links.get(&key.node_id).is_some_and(|link| link.key == key) {
                    self.drop_node(now, key.node_id);
                }
            }
            Command::Appraise(node_id, asks, standing) => self.core.appraise(now, node_id, &asks, standing),
            Command::Drain(node_id) => self.core.drain(now, node_id),
            Command::Expel(node_id) => self.drop_node(now, node_id),
            Command::Recorded(answers) => answers.into_iter().for_each(|answer| self.recorded(now, answer)),
            Command::Models(reply) => drop(reply.send(self.core.models())),
            Command::Nodes(reply) => drop(reply.send(self.core.nodes())),
            Command::Stop => {}
        }
        self.perform(now);
    }

    fn submit(&mut self, now: DateTime<Utc>, job: Job) -> Result<JobStream, Refused> {
        let job_id = job.job_id;
        self.core.submit(now, job)?;
        let (consumer, stream) = stream::pair(job_id, self.commands.clone(), now);
        self.consumers.insert(job_id, consumer);
        Ok(stream)
    }

    fn recorded(&mut self, now: DateTime<Utc>, Answer { job_id, epoch, recorded }: Answer) {
        if recorded {
            self.core.lease_recorded(now, job_id, epoch);
        } else {
            self.core.lease_refused(now, job_id, epoch);
        }
    }

    fn abort_stalled(&mut self, now: DateTime<Utc>) {
        let patience = self.consumer_stall_max;
        if now - self.consumers_seen_at < patience / 10 {
            return;
        }
        self.consumers_seen_at = now;
        let stalled =
            self.consumers.iter_mut().filter_map(|(job_id, it)| it.is_stalled(now, patience).then_some(*job_id));
        for job_id in stalled.collect::<Vec<_>>() {
            self.core.abort(now, job_id, FailureCode::ConsumerStalled);
        }
    }

    /// Does what the core decided, and what follows from that.
    fn perform(&mut self, now: DateTime<Utc>) {
        loop {
            let outputs = self.core.take_outputs();
            if outputs.is_empty() {
                return;
            }
            outputs.into_iter().for_each(|output| self.perform_one(now, output));
        }
    }

    fn perform_one(&mut self, now: DateTime<Utc>, output: Output) {
        match output {
            Output::Send(node_id, message) => self.send(now, node_id, message),
            Output::Close(node_id) => {
                tracing::warn!(node.id = %node_id, "a node fell silent and is cut off");
                self.links.remove(&node_id);
            }
            Output::Event(job_id, event) => self.tell(job_id, event),
            Output::Grant(lease) => self.write(Write::Grant(lease)),
            Output::End(lease) => {
                let public_key = self.links.get(&lease.node_id).map(|link| link.public_key);
                self.write(Write::End { lease: Box::new(lease), public_key });
            }
            Output::Present(presence) => self.write(Write::Present(presence)),
            Output::Audited(audit) => self.write(Write::Audited(audit)),
        }
    }

    fn send(&mut self, now: DateTime<Utc>, node_id: NodeId, message: ToNode) {
        let Some(link) = self.links.get(&node_id) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = link.messages.try_send(message) {
            tracing::warn!(node.id = %node_id, "a node reads nothing and is cut off");
            self.drop_node(now, node_id);
        }
    }

    fn drop_node(&mut self, now: DateTime<Utc>, node_id: NodeId) {
        self.links.remove(&node_id);
        self.core.disconnect(now, node_id);
    }

    fn tell(&mut self, job_id: JobId, event: JobEvent) {
        let last = matches!(event, JobEvent::Ended(_) | JobEvent::Failed { .. });
        if let Some(consumer) = self.consumers.get_mut(&job_id) {
            consumer.send(event);
        }
        if last {
            self.consumers.remove(&job_id);
        }
    }

    fn write(&self, write: Write) {
        if self.writes.send(write).is_err() {
            tracing::error!("the lease writer is gone");
        }
    }

    fn shut_down(mut self, now: DateTime<Utc>) {
        self.core.abort_all(now, FailureCode::ShuttingDown);
        self.core.tell_presences();
        self.perform(now);
    }
}
