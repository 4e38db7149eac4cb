//! The watch: beats for this replica, follows who has the shard, takes it when nobody does, and declares others gone.
//!
//! Whether another one lives is told by its lock and its beats, as this process sees them change, so clocks need not agree. One
//! whose lock is free has ended, or lost a connection that it gets back at its next beat; one that holds its lock and does not
//! beat hangs, or is cut off from the database.

use std::collections::HashMap;
use std::time::Duration;

use primitives::clock::Clock;
use primitives::id::ReplicaId;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::{mpsc, oneshot, watch as channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::Pace;
use crate::SHARD;
use crate::error::Error;
use crate::repo::replica::{self as sql, Living, Seat};
use crate::writer::QUEUE_MAX;
use crate::writer::route::Owner;
use crate::writer::task::Task;

/// How long one look may take, before its connection is given up.
const LOOK_TIME_MAX: Duration = Duration::from_secs(3);

/// What is known of another replica: its beats, and since when it has had no more.
struct Seen {
    beats: i64,
    since: Instant,
}

/// This replica's watch.
pub(super) struct Watch {
    pool: PgPool,
    clock: Clock,
    address: String,
    pace: Pace,
    id: channel::Sender<ReplicaId>,
    /// Holds this replica's lock.
    conn: Option<PgConnection>,
    seen: HashMap<ReplicaId, Seen>,
    /// When it looked last.
    looked: Instant,
    owner: channel::Sender<Owner>,
    /// This replica's writer, while it takes the shard or has it.
    writing: JoinSet<Result<(), Error>>,
    /// Dropped to let the writer end.
    stop_writing: Option<oneshot::Sender<()>>,
}

impl Watch {
    /// Joins the replicas.
    pub async fn start(
        pool: PgPool,
        clock: Clock,
        address: String,
        pace: Pace,
        owner: channel::Sender<Owner>,
    ) -> Result<Self, Error> {
        let mut conn = PgConnection::connect_with(&pool.connect_options()).await?;
        let id = join(&mut conn, &address, &clock).await?;
        let (seen, writing) = (HashMap::new(), JoinSet::new());
        let (id, conn) = (channel::Sender::new(id), Some(conn));
        let looked = Instant::now();
        Ok(Self { pool, clock, address, pace, id, conn, seen, looked, owner, writing, stop_writing: None })
    }

    /// This replica's number, which changes when it was declared gone.
    pub fn id(&self) -> channel::Receiver<ReplicaId> {
        self.id.subscribe()
    }

    /// Beats and looks until it is told to stop; then ends its writer and leaves the replicas.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut beats = interval(self.pace.beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut stop => break,
                _ = beats.tick() => {}
            }
            match timeout(LOOK_TIME_MAX, self.look()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the database does not tell who has the ledger");
                    self.conn = None;
                }
                Err(_) => {
                    tracing::warn!("the database is too slow to tell who has the ledger");
                    self.conn = None;
                }
            }
        }
        self.end_writing().await;
        if let Some(mut conn) = self.conn.take() {
            // The others find out by themselves, only later.
            let id = *self.id.borrow();
            sql::bury(&mut conn, id, self.clock.now()).await.ok();
            conn.close().await.ok();
        }
    }

    /// Beats once, and acts on what it sees. True while it cannot be told of every other replica whether it lives.
    pub async fn look(&mut self) -> Result<bool, Error> {
        self.beat().await?;
        let conn = self.conn.as_mut().expect("a beat leaves a connection");
        let (living, seat) = (sql::living(conn).await?, sql::seat(conn, SHARD).await?);
        let doubtful = self.mind_others(&living, &seat).await?;
        self.follow(seat).await;
        Ok(doubtful)
    }

    /// Says that this replica lives. One that was declared gone gives the shard up and joins anew: its jobs are no longer its own.
    async fn beat(&mut self) -> Result<(), Error> {
        let id = *self.id.borrow();
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => {
                let mut conn = PgConnection::connect_with(&self.pool.connect_options()).await?;
                // False while the connection before is not known to be dead: its lock still says that this replica lives.
                sql::lock(&mut conn, id).await?;
                conn
            }
        };
        if !sql::beat(&mut conn, id, self.clock.now()).await? {
            tracing::error!(
                replica.id = id.0,
                "this replica was declared gone; its jobs are voided, and it joins anew"
            );
            let mut anew = PgConnection::connect_with(&self.pool.connect_options()).await?;
            // First of all, so that no more jobs are taken under the number that is gone.
            self.id.send_replace(join(&mut anew, &self.address, &self.clock).await?);
            self.conn = Some(anew);
            self.end_writing().await;
            return Ok(());
        }
        self.conn = Some(conn);
        Ok(())
    }

    /// Declares the others gone that have ended or hang.
    async fn mind_others(&mut self, living: &[Living], seat: &Seat) -> Result<bool, Error> {
        let (own, now) = (*self.id.borrow(), Instant::now());
        let conn = self.conn.as_mut().expect("a beat leaves a connection");
        self.seen.retain(|id, _| living.iter().any(|replica| replica.id == *id));
        if now - self.looked >= self.pace.ended_after {
            // Nobody is blamed for a time in which this replica saw nothing: the database may have stalled for all.
            self.seen.values_mut().for_each(|seen| seen.since = now);
        }
        self.looked = now;
        let mut doubtful = false;
        for replica in living.iter().filter(|replica| replica.id != own) {
            let seen = self.seen.entry(replica.id).or_insert(Seen { beats: replica.beats, since: now });
            if seen.beats != replica.beats {
                *seen = Seen { beats: replica.beats, since: now };
            }
            let patience = if replica.holder.is_some() { self.pace.hung_after } else { self.pace.ended_after };
            if now - seen.since < patience {
                doubtful |= replica.holder.is_none();
                continue;
            }
            if let Some(holder) = replica.holder {
                tracing::warn!(
                    replica.id = replica.id.0,
                    "a replica hangs or is cut off; its database processes are ended"
                );
                end_process(conn, holder).await;
            }
            if let Some(writer) = seat.holder.filter(|_| seat.owner == Some(replica.id)) {
                end_process(conn, writer).await;
            }
            if sql::bury(conn, replica.id, self.clock.now()).await? {
                tracing::info!(replica.id = replica.id.0, "a replica is gone; its unfinished jobs are voided");
            }
        }
        Ok(doubtful)
    }

    /// Follows who has the shard, and takes it when nobody does.
    async fn follow(&mut self, seat: Seat) {
        if let Some(ended) = self.writing.try_join_next() {
            self.stop_writing = None;
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        ledger.shard = SHARD,
                        "the ledger's writer ended; whoever takes the shard goes on"
                    );
                }
                Err(error) => tracing::error!(%error, ledger.shard = SHARD, "the ledger's writer broke"),
            }
        }
        if !self.writing.is_empty() {
            return;
        }
        let own = *self.id.borrow();
        match seat {
            Seat { holder: None, .. } => self.take_shard(own),
            Seat { owner: Some(owner), address: Some(address), epoch, .. } if owner != own => {
                self.owner.send_if_modified(|known| match known {
                    Owner::There { address: at, epoch: since } if **at == *address && *since == epoch => false,
                    _ => {
                        tracing::info!(
                            ledger.epoch = epoch,
                            replica.id = owner.0,
                            "another replica has the ledger's writer"
                        );
                        *known = Owner::There { address: address.into(), epoch };
                        true
                    }
                });
            }
            // Somebody who serves nobody else, or this replica's own last writer, whose connection is not known to be dead.
            Seat { .. } => nobody(&self.owner),
        }
    }

    /// Lets this replica's writer take the shard, unless somebody is quicker, and run.
    fn take_shard(&mut self, own: ReplicaId) {
        let (pool, clock, owner) = (self.pool.clone(), self.clock.clone(), self.owner.clone());
        let (stop, stopped) = oneshot::channel();
        self.stop_writing = Some(stop);
        self.writing.spawn(async move {
            let (sender, queue) = mpsc::channel(QUEUE_MAX);
            let Some(task) = Task::try_start(pool, clock, SHARD, own, queue).await? else { return Ok(()) };
            owner.send_replace(Owner::Here(sender));
            metrics::gauge!("ledger_writer_here").set(1);
            let ended = task.run(stopped).await;
            metrics::gauge!("ledger_writer_here").set(0);
            nobody(&owner);
            ended
        });
    }

    /// Lets this replica's writer, if it has one, commit what it was asked, and end.
    async fn end_writing(&mut self) {
        drop(self.stop_writing.take());
        while let Some(ended) = self.writing.join_next().await {
            if let Ok(Err(error)) = ended {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    ledger.shard = SHARD,
                    "the ledger's writer did not end well; the next one goes on"
                );
            }
        }
    }
}

/// Ends another's database process. One of another role cannot be ended; its locks are then waited for.
async fn end_process(conn: &mut PgConnection, pid: i32) {
    if let Err(error) = sql::terminate(conn, pid).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "a database process could not be ended");
    }
}

/// Notes that nobody who serves others has the shard.
fn nobody(owner: &channel::Sender<Owner>) {
    owner.send_if_modified(|known| {
        let changes = !matches!(known, Owner::Nobody);
        *known = Owner::Nobody;
        changes
    });
}

/// Registers this process and takes the lock of its number, which is new, so nobody has it.
async fn join(conn: &mut PgConnection, address: &str, clock: &Clock) -> Result<ReplicaId, Error> {
    let id = sql::join(conn, address, clock.now()).await?;
    sql::lock(conn, id).await?;
    tracing::info!(replica.id = id.0, replica.address = address, "this replica joined the others");
    Ok(id)
}
