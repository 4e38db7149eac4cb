//! The writer's task: one loop that feeds the core, posts its blocks, flushes them to disk, and resolves doubts.
//!
//! There is no timer: a block is what was decided while the block before was being posted. A block is posted without waiting for
//! the disk; a second connection flushes, and one flush makes every block durable that was posted before it began. So the
//! database works on the next block while the disk works on the last ones. Nobody is told of a block before it is durable.
//!
//! When a post or a flush fails, the task takes the shard's lock anew on a fresh connection, so that no earlier post can still
//! arrive, flushes, and looks where the chain ends: blocks up to there are kept; the memory is dropped and the requests of the
//! others are decided again. A block that the database refused is taken apart and its requests are posted one by one, so that a
//! bad one fails alone.

use std::time::Duration;

use primitives::clock::Clock;
use primitives::id::ReplicaId;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};

use super::pipeline::{Caller, Command, Pipeline};
use crate::block::BlockRef;
use crate::books::Books;
use crate::core::{Core, Needs};
use crate::error::Error;
use crate::hold::HoldPart;
use crate::repo;
use crate::repo::post as sql;

/// How often and how long a start waits for the connection of a writer that has just died.
const START_ATTEMPTS_MAX: u32 = 20;
const START_PAUSE: Duration = Duration::from_millis(100);
/// How often and how long the task tries to get its shard back.
const REGAIN_ATTEMPTS_MAX: u32 = 240;
const REGAIN_PAUSE: Duration = Duration::from_millis(250);
/// What `ledger.post_block` says to a writer of an older epoch.
const DEPOSED: &str = "TG004";

/// Somebody on the other end of channels; those who gave up do not mind.
pub(crate) struct Waiting {
    /// Who waits for the decision; taken once it is told.
    pub decided: Option<oneshot::Sender<Result<Vec<HoldPart>, Error>>>,
    /// Who waits for the commit.
    pub durable: oneshot::Sender<Result<BlockRef, Error>>,
}

impl Caller for Waiting {
    fn decided(&mut self, parts: Vec<HoldPart>) {
        if let Some(decided) = self.decided.take() {
            drop(decided.send(Ok(parts)));
        }
    }

    fn durable(self, block: BlockRef) {
        drop(self.durable.send(Ok(block)));
    }

    fn refused(self, error: Error) {
        match self.decided {
            Some(decided) => drop(decided.send(Err(error))),
            None => drop(self.durable.send(Err(error))),
        }
    }
}

/// What ended: a post or a flush, with its connection.
struct Landing {
    conn: PgConnection,
    result: Result<(), sqlx::Error>,
}

/// One shard's writer.
pub(crate) struct Task {
    pool: PgPool,
    clock: Clock,
    shard: i16,
    epoch: i64,
    pipeline: Pipeline<Waiting>,
    queue: mpsc::Receiver<Command<Waiting>>,
    posts: JoinSet<Landing>,
    flushes: JoinSet<Landing>,
    /// The connection that holds the shard's lock, when no post has it.
    writing: Option<PgConnection>,
    /// The connection that flushes, when no flush has it.
    syncing: Option<PgConnection>,
    /// The connection for loading what the core needs.
    reading: Option<PgConnection>,
}

impl Task {
    /// Takes the shard over, for nobody but whoever has the queue; one that has just died is waited for.
    pub async fn start(
        pool: PgPool,
        clock: Clock,
        shard: i16,
        queue: mpsc::Receiver<Command<Waiting>>,
    ) -> Result<Self, Error> {
        let mut conn = pool.acquire().await?.detach();
        let mut attempt = 1;
        while !sql::lock(&mut conn, shard).await? {
            if attempt == START_ATTEMPTS_MAX {
                return Err(Error::WriterRunning { shard });
            }
            attempt += 1;
            tokio::time::sleep(START_PAUSE).await;
        }
        Self::take_over(conn, pool, clock, shard, None, queue).await
    }

    /// Takes the shard over for a replica, unless somebody has it.
    pub async fn try_start(
        pool: PgPool,
        clock: Clock,
        shard: i16,
        owner: ReplicaId,
        queue: mpsc::Receiver<Command<Waiting>>,
    ) -> Result<Option<Self>, Error> {
        let mut conn = pool.acquire().await?.detach();
        if !sql::lock(&mut conn, shard).await? {
            return Ok(None);
        }
        Self::take_over(conn, pool, clock, shard, Some(owner), queue).await.map(Some)
    }

    /// Begins a new epoch on the connection that has the shard's lock.
    async fn take_over(
        mut conn: PgConnection,
        pool: PgPool,
        clock: Clock,
        shard: i16,
        owner: Option<ReplicaId>,
        queue: mpsc::Receiver<Command<Waiting>>,
    ) -> Result<Self, Error> {
        let mut syncing = pool.acquire().await?.detach();
        let epoch = sql::raise_epoch(&mut conn, shard, owner).await?;
        // What earlier writers posted may not be on the disk yet, and this one answers for it.
        sql::flush(&mut syncing).await?;
        let core = load(&mut conn, shard, epoch).await?;
        tracing::info!(ledger.shard = shard, ledger.epoch = epoch, "the ledger's writer took its shard");
        Ok(Self {
            pool,
            clock,
            shard,
            epoch,
            pipeline: Pipeline::new(core),
            queue,
            posts: JoinSet::new(),
            flushes: JoinSet::new(),
            writing: Some(conn),
            syncing: Some(syncing),
            reading: None,
        })
    }

    /// Runs until it is stopped and has committed all that was asked, or loses its shard.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Result<(), Error> {
        let (mut open, mut stopping) = (true, false);
        let mut batch = Vec::new();
        loop {
            self.flush();
            self.depart().await?;
            if !open && self.pipeline.idle() {
                break;
            }
            let room = self.pipeline.room();
            tokio::select! {
                biased;
                Some(landed) = self.flushes.join_next() => {
                    let Landing { conn, result } = landed_on(landed)?;
                    match result {
                        Ok(()) => {
                            self.syncing = Some(conn);
                            self.pipeline.flushed();
                        }
                        Err(error) => {
                            drop(conn);
                            self.resolve(error).await?;
                        }
                    }
                }
                Some(landed) = self.posts.join_next() => {
                    let Landing { conn, result } = landed_on(landed)?;
                    match result {
                        Ok(()) => {
                            self.writing = Some(conn);
                            self.pipeline.posted();
                        }
                        Err(error) => {
                            drop(conn);
                            self.resolve(error).await?;
                        }
                    }
                }
                _ = &mut stop, if !stopping => {
                    stopping = true;
                    self.queue.close();
                }
                count = self.queue.recv_many(&mut batch, room), if open && room > 0 => {
                    open = count > 0;
                    self.take(std::mem::take(&mut batch), false).await?;
                }
            }
        }
        if let Some(mut conn) = self.writing.take() {
            // Frees the shard before anyone is told of the end; a connection that is gone has freed it already.
            drop(sql::unlock(&mut conn, self.shard).await);
            drop(conn.close().await);
        }
        Ok(())
    }

    /// Posts the next block when there is one and it may leave.
    async fn depart(&mut self) -> Result<(), Error> {
        let mut alone = false;
        while let Some(command) = self.pipeline.next_alone() {
            self.take(vec![command], true).await?;
            alone = true;
        }
        let Some(block) = self.pipeline.depart(self.clock.now(), alone) else { return Ok(()) };
        let mut conn = self.writing.take().expect("no post is under way, so its connection is here");
        self.posts.spawn(async move {
            let result = sql::post(&mut conn, &block).await;
            Landing { conn, result }
        });
        Ok(())
    }

    /// Makes the posted blocks durable, unless a flush is under way.
    fn flush(&mut self) {
        if !self.pipeline.begin_flush() {
            return;
        }
        let mut conn = self.syncing.take().expect("no flush is under way, so its connection is here");
        self.flushes.spawn(async move {
            let began = tokio::time::Instant::now();
            let result = sql::flush(&mut conn).await;
            metrics::histogram!("ledger_flush_seconds").record(began.elapsed());
            Landing { conn, result }
        });
    }

    /// Decides requests in their order, after loading what the core needs for them.
    ///
    /// *Errors*: [`Error::Deposed`], since what a later writer wrote must not be mixed with what this one remembers.
    async fn take(&mut self, mut commands: Vec<Command<Waiting>>, forgetful: bool) -> Result<(), Error> {
        let needs = self.pipeline.needs(&commands, forgetful);
        match self.learn(needs).await {
            Ok(()) => {}
            Err(error @ Error::Deposed { .. }) => return Err(error),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the ledger cannot load what a decision needs"
                );
                commands = self.pipeline.refuse_needy(commands, forgetful);
            }
        }
        self.pipeline.take(commands, self.clock.now());
        Ok(())
    }

    async fn learn(&mut self, needs: Needs) -> Result<(), Error> {
        if needs == Needs::default() {
            return Ok(());
        }
        let kept = match self.reading.take() {
            // A kept connection may have died since; a fresh one tells the truth.
            Some(mut conn) => {
                sql::knowledge(&mut conn, self.shard, &needs).await.ok().map(|knowledge| (conn, knowledge))
            }
            None => None,
        };
        let (conn, (knowledge, epoch)) = match kept {
            Some(kept) => kept,
            None => {
                let mut conn = self.pool.acquire().await?.detach();
                sql::look_up_by_key(&mut conn).await?;
                let knowledge = sql::knowledge(&mut conn, self.shard, &needs).await?;
                (conn, knowledge)
            }
        };
        if epoch != self.epoch {
            return Err(Error::Deposed { shard: self.shard, epoch: self.epoch });
        }
        self.reading = Some(conn);
        self.pipeline.learn(needs, knowledge);
        Ok(())
    }

    /// Finds out which blocks are there after a post or a flush failed, and goes on from the truth.
    async fn resolve(&mut self, error: sqlx::Error) -> Result<(), Error> {
        let refused = refusal(&error);
        if refused.as_deref() == Some(DEPOSED) {
            return Err(Error::Deposed { shard: self.shard, epoch: self.epoch });
        }
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            ledger.shard = self.shard,
            "a block failed on its way to the disk; the ledger looks what became of it"
        );
        // Whatever is still under way ends before the shard can be locked anew.
        self.posts.shutdown().await;
        self.flushes.shutdown().await;
        (self.writing, self.syncing) = (None, None);
        let (writing, syncing, core, head) = self.regain().await?;
        (self.writing, self.syncing) = (Some(writing), Some(syncing));
        let again = self.pipeline.resolve(core, head, refused.map(|_| Error::Database(error)));
        self.take(again, true).await
    }

    /// Takes the shard's lock on a new connection, once the old one is gone for good, and loads the truth.
    ///
    /// *Errors*: [`Error::Deposed`] when another writer was quicker; the database's, when it stays away for a minute.
    async fn regain(&mut self) -> Result<(PgConnection, PgConnection, Core, BlockRef), Error> {
        let mut attempt = 1;
        loop {
            match self.try_regain().await {
                Ok(Some(regained)) => return Ok(regained),
                Err(error @ Error::Deposed { .. }) => return Err(error),
                Err(error) if attempt == REGAIN_ATTEMPTS_MAX => return Err(error),
                Ok(None) if attempt == REGAIN_ATTEMPTS_MAX => return Err(Error::WriterRunning { shard: self.shard }),
                Ok(None) | Err(_) => tokio::time::sleep(REGAIN_PAUSE.min(REGAIN_PAUSE / 10 * attempt)).await,
            }
            attempt += 1;
        }
    }

    async fn try_regain(&mut self) -> Result<Option<(PgConnection, PgConnection, Core, BlockRef)>, Error> {
        let mut conn = self.pool.acquire().await?.detach();
        let locked = sql::lock(&mut conn, self.shard).await?;
        // Whoever has the lock and a higher epoch keeps both.
        if sql::epoch(&mut conn, self.shard).await? != self.epoch {
            return Err(Error::Deposed { shard: self.shard, epoch: self.epoch });
        }
        if !locked {
            return Ok(None);
        }
        let mut syncing = self.pool.acquire().await?.detach();
        // What can be seen from here on is durable.
        sql::flush(&mut syncing).await?;
        let head = sql::tip(&mut conn, self.shard).await?.block;
        let core = load(&mut conn, self.shard, self.epoch).await?;
        Ok(Some((conn, syncing, core, head)))
    }
}

fn landed_on(landed: Result<Landing, JoinError>) -> Result<Landing, Error> {
    landed.map_err(|_| Error::Stopped)
}

/// The core as the database knows it.
async fn load(conn: &mut PgConnection, shard: i16, epoch: i64) -> Result<Core, Error> {
    let tip = sql::tip(conn, shard).await?;
    let platform = sql::platform_accounts(conn, shard).await?;
    let holds = repo::open_holds(conn, shard).await?;
    let periods = sql::periods(conn).await?;
    Ok(Core::new(shard, epoch, tip, Books::new(platform, holds, periods)))
}

/// The code with which a living database refused the block for what is in it; none when the outcome is unknown.
fn refusal(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    // Data, integrity, ours, raised: by SQLSTATE class.
    ["22", "23", "TG", "P0"].iter().any(|class| code.starts_with(class)).then(|| code.into_owned())
}
