//! A replica of the control plane: one of several processes over the same books, any of which callers may ask.
//!
//! One of them owns the shard and runs its writer; the others send their requests there ([`letter`]). Each one beats in
//! `ledger.replicas` and holds the advisory lock of its number, and each one looks at the others twice a second
//! ([`watch`](self::watch)): an owner's end frees the shard's lock, and the first that takes it raises the epoch, which fences the
//! earlier writer off. One that hangs, or is cut off, has its database processes ended first.

pub(crate) mod courier;
pub(crate) mod letter;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use primitives::clock::Clock;
use primitives::id::ReplicaId;
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot, watch as channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::letter::{BadLetter, Carrier, Letter, Reply};
use self::watch::Watch;
use crate::SHARD;
use crate::error::Error;
use crate::writer::Writer;
use crate::writer::route::{Owner, Route, ask_here};

/// How many requests may wait for the courier; who comes later waits outside.
const COURIER_QUEUE_MAX: usize = 8_192;
/// How long a start waits before it looks again.
const START_PAUSE: Duration = Duration::from_millis(50);

/// How quickly replicas notice each other.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How often one beats and looks at the others.
    pub beat: Duration,
    /// How long one whose lock is free is given to take it again.
    pub ended_after: Duration,
    /// How long one that holds its lock may miss its beats.
    pub hung_after: Duration,
    /// How long a start waits until it knows of every other one whether it lives, and of the shard who has it.
    pub start_time_max: Duration,
}

impl Default for Pace {
    /// Three beats for whoever lost a connection; for whoever hangs, longer than a database or a disk stalls on a bad day.
    fn default() -> Self {
        Self {
            beat: Duration::from_millis(500),
            ended_after: Duration::from_millis(1_500),
            hung_after: Duration::from_secs(10),
            start_time_max: Duration::from_secs(30),
        }
    }
}

/// This process among the replicas; clones are the same.
#[derive(Clone)]
pub struct Replica {
    id: channel::Receiver<ReplicaId>,
    owner: channel::Receiver<Owner>,
    writer: Writer,
    carrier: Arc<dyn Carrier>,
}

/// The replica's running tasks; dropped, they stop at once, as if the process had died.
pub struct ReplicaTask {
    watch: JoinSet<()>,
    courier: JoinSet<()>,
    stop: Option<oneshot::Sender<()>>,
}

impl Replica {
    /// Joins the replicas under the address at which the others reach this one, and takes the shard if nobody has it.
    ///
    /// On return every other replica lives or was declared gone, so that what the gone ones left can be brought to its end.
    /// *Errors*: [`Error::WriterRunning`] when somebody has the shard who serves nobody else, such as `tokengrid ledger close`.
    pub async fn start(
        pool: PgPool,
        clock: Clock,
        address: String,
        carrier: Arc<dyn Carrier>,
        pace: Pace,
    ) -> Result<(Self, ReplicaTask), Error> {
        let (owner_sender, owner) = channel::channel(Owner::Nobody);
        let mut watch = Watch::start(pool.clone(), clock.clone(), address, pace, owner_sender).await?;
        let until = Instant::now() + pace.start_time_max;
        loop {
            let doubtful = watch.look().await?;
            if !doubtful && !matches!(*owner.borrow(), Owner::Nobody) {
                break;
            }
            if Instant::now() >= until {
                return Err(Error::WriterRunning { shard: SHARD });
            }
            sleep(START_PAUSE).await;
        }
        let (sender, queue) = mpsc::channel(COURIER_QUEUE_MAX);
        let route = Route::Owner { owner: owner.clone(), courier: sender };
        let replica = Self {
            id: watch.id(),
            owner: owner.clone(),
            writer: Writer { route, pool, clock },
            carrier: carrier.clone(),
        };
        let (mut courier, mut watching) = (JoinSet::new(), JoinSet::new());
        courier.spawn(courier::run(queue, carrier, owner));
        let (stop, stopped) = oneshot::channel();
        watching.spawn(watch.run(stopped));
        Ok((replica, ReplicaTask { watch: watching, courier, stop: Some(stop) }))
    }

    /// The number under which it takes jobs now.
    pub fn id(&self) -> ReplicaId {
        *self.id.borrow()
    }

    /// Waits until jobs that were taken under this number are no longer this process's.
    pub async fn gone(&self, id: ReplicaId) {
        // The watch's own end, too, is the end of that.
        self.id.clone().wait_for(|now| *now != id).await.ok();
    }

    /// A handle that asks the shard's writer, wherever it is.
    pub fn writer(&self) -> Writer {
        self.writer.clone()
    }

    /// True when the shard's writer is this process's.
    pub fn owns(&self) -> bool {
        matches!(*self.owner.borrow(), Owner::Here(_))
    }

    /// Answers another replica's letter. What it asks is durable, or refused, before the reply is there.
    pub async fn answer(&self, letter: &[u8]) -> Result<Vec<u8>, BadLetter> {
        let letter = Letter::read(letter)?;
        let queue = match &*self.owner.borrow() {
            Owner::Here(queue) if letter.shard == SHARD => Some(queue.clone()),
            _ => None,
        };
        let reply = match queue {
            Some(queue) => Reply::Answers(ask_here(&queue, letter.requests).await),
            None => Reply::NotHere,
        };
        Ok(reply.write())
    }

    /// Proves that the shard's writer can be asked from here. *Errors*: [`Error::Unavailable`].
    pub async fn ready(&self) -> Result<(), Error> {
        let owner = self.owner.borrow().clone();
        match owner {
            Owner::Here(queue) if !queue.is_closed() => Ok(()),
            Owner::There { address, .. } if courier::ask(&*self.carrier, &address, vec![]).await.is_some() => Ok(()),
            _ => Err(Error::Unavailable),
        }
    }
}

impl ReplicaTask {
    /// Waits for the end of the replica, which does not come by itself.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.watch.join_next() => {}
            _ = self.courier.join_next() => {}
        }
    }

    /// Commits what waits for the writer, frees the shard for another replica, and leaves the replicas. Call it once nobody asks.
    pub async fn shutdown(mut self) {
        drop(self.stop.take());
        self.watch.join_next().await;
    }
}
