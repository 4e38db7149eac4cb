//! The running broker: one task that owns the core, and the handles that reach it.

mod link;
mod run;
mod stream;
mod writer;

use primitives::clock::Clock;
use primitives::id::{JobId, NodeId};
use primitives::node_protocol::FromNode;
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinSet;

pub use link::{NodeLink, NodeSender};
pub use stream::JobStream;

use crate::ask::Ask;
use crate::cell::ModelAvailability;
use crate::job::{Job, Outcome};
use crate::node::{NodeSession, NodeSnapshot};
use crate::standing::Standing;
use crate::{Refused, Settings};

/// Gives jobs to nodes and their tokens to consumers; clones reach the same broker.
#[derive(Clone, Debug)]
pub struct Broker {
    commands: Commands,
}

/// The broker's tasks; whoever starts the broker keeps this and stops it. Dropped, the broker stops in its tracks.
#[derive(Debug)]
pub struct BrokerTask {
    commands: Commands,
    tasks: JoinSet<()>,
}

/// What reaches the broker's task.
///
/// Unbounded, since handles that are dropped cannot wait; bounded by its senders: a caller waits for its answer, a
/// stream or link says once that it is over, and a node has a fixed credit of messages.
type Commands = mpsc::UnboundedSender<Command>;

#[derive(Debug)]
enum Command {
    Submit(Box<Job>, oneshot::Sender<Result<JobStream, Refused>>),
    Cancel(JobId, oneshot::Sender<Option<Outcome>>),
    Connect(Box<NodeSession>, oneshot::Sender<NodeLink>),
    Message(LinkKey, FromNode, OwnedSemaphorePermit),
    Gone(LinkKey),
    Appraise(NodeId, Vec<Ask>, Standing),
    Drain(NodeId),
    Expel(NodeId),
    Recorded(Vec<Answer>),
    Models(oneshot::Sender<Vec<ModelAvailability>>),
    Nodes(oneshot::Sender<Vec<NodeSnapshot>>),
    Stop,
}

/// One link of one node: a message of a link that was replaced means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LinkKey {
    node_id: NodeId,
    connection: u64,
}

/// Whether a lease is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    job_id: JobId,
    epoch: u32,
    recorded: bool,
}

impl Broker {
    /// Starts a broker without nodes and jobs, inside the current tokio runtime.
    pub fn start(pool: PgPool, clock: Clock, settings: Settings) -> (Self, BrokerTask) {
        let (commands, received) = mpsc::unbounded_channel();
        // Bounded by the leases in hand: a lease asks for its record once, and ends once, after the answer.
        let (writes, written) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(run::Dispatcher::new(clock, settings, commands.clone(), writes).run(received));
        tasks.spawn(writer::run(pool, written, commands.clone()));
        (Self { commands: commands.clone() }, BrokerTask { commands, tasks })
    }

    /// Takes a job in, or says why not; the stream tells what becomes of it.
    pub async fn submit(&self, job: Job) -> Result<JobStream, Refused> {
        self.ask(|reply| Command::Submit(Box::new(job), reply)).await.unwrap_or(Err(Refused::ShuttingDown))
    }

    /// Brings a node in, whose proof was checked; an older link of the same node is over.
    pub async fn connect(&self, session: NodeSession) -> Result<NodeLink, Refused> {
        self.ask(|reply| Command::Connect(Box::new(session), reply)).await.ok_or(Refused::ShuttingDown)
    }

    /// What can be had now, model by model.
    pub async fn models(&self) -> Vec<ModelAvailability> {
        self.ask(Command::Models).await.unwrap_or_default()
    }

    /// The connected nodes.
    pub async fn nodes(&self) -> Vec<NodeSnapshot> {
        self.ask(Command::Nodes).await.unwrap_or_default()
    }

    /// Tells what a connected node asks and may be given now; for one that is not connected it means nothing.
    pub fn appraise(&self, node_id: NodeId, asks: Vec<Ask>, standing: Standing) {
        self.tell(Command::Appraise(node_id, asks, standing));
    }

    /// Lets a connected node end what it has and take no more.
    pub fn drain(&self, node_id: NodeId) {
        self.tell(Command::Drain(node_id));
    }

    /// Cuts a connected node off; its jobs go on elsewhere.
    pub fn expel(&self, node_id: NodeId) {
        self.tell(Command::Expel(node_id));
    }

    fn tell(&self, command: Command) {
        // A broker that is over has no nodes.
        let _ = self.commands.send(command);
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).ok()?;
        answer.await.ok()
    }
}

impl BrokerTask {
    /// Ends every job in hand as failed, closes every link, writes what is still to be written, and returns.
    pub async fn stop(mut self) {
        // A refused message means that the task is over already.
        let _ = self.commands.send(Command::Stop);
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the broker did not end as it should");
            }
        }
    }
}
