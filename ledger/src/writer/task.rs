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

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use primitives::clock::Clock;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};

use crate::block::BlockRef;
use crate::books::Books;
use crate::core::{Core, Needs};
use crate::error::Error;
use crate::hold::HoldPart;
use crate::recipe::Request;
use crate::repo;
use crate::repo::post as sql;

/// How many requests one block takes.
const BLOCK_REQUESTS_MAX: usize = 4_096;
/// How many blocks may wait for the disk.
const FLIGHTS_MAX: usize = 64;
/// How often and how long a start waits for the connection of a writer that has just died.
const START_ATTEMPTS_MAX: u32 = 20;
const START_PAUSE: Duration = Duration::from_millis(100);
/// How often and how long the task tries to get its shard back.
const REGAIN_ATTEMPTS_MAX: u32 = 240;
const REGAIN_PAUSE: Duration = Duration::from_millis(250);
/// What `ledger.post_block` says to a writer of an older epoch.
const DEPOSED: &str = "TG004";

/// A request with those who wait for it.
pub(super) struct Command {
    pub request: Request,
    /// Who waits for a hold's decision; taken once it is told.
    pub decided: Option<oneshot::Sender<Result<Vec<HoldPart>, Error>>>,
    /// Who waits for the commit.
    pub durable: oneshot::Sender<Result<BlockRef, Error>>,
}

impl Command {
    /// Tells the refusal to whoever still waits; those who gave up do not mind.
    fn refuse(self, error: Error) {
        match self.decided {
            Some(decided) => drop(decided.send(Err(error))),
            None => drop(self.durable.send(Err(error))),
        }
    }
}

/// A block on its way to the disk.
struct Flight {
    block: BlockRef,
    waiting: Vec<Command>,
    /// True for a block of one request that had been refused in company.
    alone: bool,
    began: Instant,
}

/// What ended: a post or a flush, with its connection.
struct Landing {
    conn: PgConnection,
    result: Result<(), sqlx::Error>,
}

/// One shard's writer.
pub(super) struct Task {
    pool: PgPool,
    clock: Clock,
    shard: i16,
    epoch: i64,
    core: Core,
    queue: mpsc::Receiver<Command>,
    /// Decided, for the next block.
    building: Vec<Command>,
    /// Blocks that are not known to be durable, the oldest first.
    flights: VecDeque<Flight>,
    /// How many of the flights are posted.
    posted: usize,
    /// How many of them the flush under way makes durable.
    flushing: usize,
    posts: JoinSet<Landing>,
    flushes: JoinSet<Landing>,
    /// The connection that holds the shard's lock, when no post has it.
    writing: Option<PgConnection>,
    /// The connection that flushes, when no flush has it.
    syncing: Option<PgConnection>,
    /// The connection for loading what the core needs.
    reading: Option<PgConnection>,
    /// Requests of a block that the database refused, to be posted one by one.
    alone: VecDeque<Command>,
}

impl Task {
    /// Takes the shard over.
    pub async fn start(pool: PgPool, clock: Clock, shard: i16, queue: mpsc::Receiver<Command>) -> Result<Self, Error> {
        let mut conn = pool.acquire().await?.detach();
        let mut attempt = 1;
        while !sql::lock(&mut conn, shard).await? {
            if attempt == START_ATTEMPTS_MAX {
                return Err(Error::WriterRunning { shard });
            }
            attempt += 1;
            tokio::time::sleep(START_PAUSE).await;
        }
        let mut syncing = pool.acquire().await?.detach();
        let epoch = sql::raise_epoch(&mut conn, shard).await?;
        // What earlier writers posted may not be on the disk yet, and this one answers for it.
        sql::flush(&mut syncing).await?;
        let core = load(&mut conn, shard, epoch).await?;
        tracing::info!(ledger.shard = shard, ledger.epoch = epoch, "the ledger's writer took its shard");
        Ok(Self {
            pool,
            clock,
            shard,
            epoch,
            core,
            queue,
            building: Vec::new(),
            flights: VecDeque::new(),
            posted: 0,
            flushing: 0,
            posts: JoinSet::new(),
            flushes: JoinSet::new(),
            writing: Some(conn),
            syncing: Some(syncing),
            reading: None,
            alone: VecDeque::new(),
        })
    }

    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Runs until it is stopped and has committed all that was asked, or loses its shard.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Result<(), Error> {
        let (mut open, mut stopping) = (true, false);
        let mut batch = Vec::new();
        loop {
            self.flush();
            self.depart().await;
            if !open && self.flights.is_empty() {
                break;
            }
            let room = self.room();
            tokio::select! {
                biased;
                Some(landed) = self.flushes.join_next() => self.flushed(landed).await?,
                Some(landed) = self.posts.join_next() => self.landed(landed).await?,
                _ = &mut stop, if !stopping => {
                    stopping = true;
                    self.queue.close();
                }
                count = self.queue.recv_many(&mut batch, room), if open && room > 0 => {
                    open = count > 0;
                    self.take(std::mem::take(&mut batch), false).await;
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

    /// How many more requests may be decided before the next block leaves.
    fn room(&self) -> usize {
        if self.alone.is_empty() { BLOCK_REQUESTS_MAX.saturating_sub(self.building.len()) } else { 0 }
    }

    /// True while a block is being posted.
    fn posting(&self) -> bool {
        self.writing.is_none()
    }

    /// Posts the next block, unless one is under way or too many wait for the disk.
    async fn depart(&mut self) {
        if self.posting() || self.flights.len() >= FLIGHTS_MAX {
            return;
        }
        let mut alone = false;
        while !self.core.has_draft() {
            let Some(command) = self.alone.pop_front() else { return };
            self.take(vec![command], true).await;
            alone = true;
        }
        let (reference, block) = self.core.seal(self.clock.now()).expect("there is a draft");
        let mut conn = self.writing.take().expect("no post is under way, so its connection is here");
        let waiting = std::mem::take(&mut self.building);
        self.flights.push_back(Flight { block: reference, waiting, alone, began: Instant::now() });
        self.posts.spawn(async move {
            let result = sql::post(&mut conn, &block).await;
            Landing { conn, result }
        });
    }

    /// Makes the posted blocks durable, unless a flush is under way.
    fn flush(&mut self) {
        if self.posted == 0 {
            return;
        }
        let Some(mut conn) = self.syncing.take() else { return };
        self.flushing = self.posted;
        self.flushes.spawn(async move {
            let result = sql::flush(&mut conn).await;
            Landing { conn, result }
        });
    }

    /// Decides requests in their order, after loading what the core needs for them.
    async fn take(&mut self, commands: Vec<Command>, forgetful: bool) {
        let mut needs = Needs::default();
        for command in &commands {
            let more = self.core.needs(&command.request, forgetful);
            needs.owners.extend(more.owners);
            needs.links.extend(more.links);
        }
        let learned = self.learn(needs).await;
        if let Err(error) = &learned {
            tracing::error!(error = error as &dyn std::error::Error, "the ledger cannot load what a decision needs");
        }
        let now = self.clock.now();
        for mut command in commands {
            if learned.is_err() && self.core.needs(&command.request, forgetful) != Needs::default() {
                command.refuse(Error::Unavailable);
                continue;
            }
            match self.core.decide(&command.request, now) {
                Err(error) => command.refuse(error),
                Ok(decision) => {
                    if let Some(decided) = command.decided.take() {
                        drop(decided.send(Ok(decision.parts)));
                    }
                    let flight = self.flights.iter_mut().find(|flight| flight.block.height == decision.height);
                    match (decision.block, flight) {
                        // First: a block that was read back from the database may still wait for the disk.
                        (_, Some(flight)) => flight.waiting.push(command),
                        (Some(block), None) => drop(command.durable.send(Ok(block))),
                        (None, None) => self.building.push(command),
                    }
                }
            }
        }
    }

    async fn learn(&mut self, mut needs: Needs) -> Result<(), Error> {
        if needs == Needs::default() {
            return Ok(());
        }
        needs.owners.sort();
        needs.owners.dedup();
        let kept = match self.reading.take() {
            // A kept connection may have died since; a fresh one tells the truth.
            Some(mut conn) => {
                sql::knowledge(&mut conn, self.shard, &needs).await.ok().map(|knowledge| (conn, knowledge))
            }
            None => None,
        };
        let (conn, knowledge) = match kept {
            Some(kept) => kept,
            None => {
                let mut conn = self.pool.acquire().await?.detach();
                let knowledge = sql::knowledge(&mut conn, self.shard, &needs).await?;
                (conn, knowledge)
            }
        };
        self.reading = Some(conn);
        self.core.learn(needs, knowledge);
        Ok(())
    }

    /// Ends a post: its block waits for the disk, or what became of it is found out.
    async fn landed(&mut self, landed: Result<Landing, JoinError>) -> Result<(), Error> {
        let Landing { conn, result } = landed.map_err(|_| Error::Stopped)?;
        match result {
            Ok(()) => {
                self.writing = Some(conn);
                self.posted += 1;
                Ok(())
            }
            Err(error) => {
                drop(conn);
                self.resolve(error).await
            }
        }
    }

    /// Ends a flush: the requests of its blocks are answered.
    async fn flushed(&mut self, landed: Result<Landing, JoinError>) -> Result<(), Error> {
        let Landing { conn, result } = landed.map_err(|_| Error::Stopped)?;
        match result {
            Ok(()) => {
                self.syncing = Some(conn);
                for _ in 0..std::mem::take(&mut self.flushing) {
                    let flight = self.flights.pop_front().expect("what is flushed was posted");
                    self.posted -= 1;
                    self.core.committed(flight.block);
                    acknowledge(flight);
                }
                Ok(())
            }
            Err(error) => {
                drop(conn);
                self.resolve(error).await
            }
        }
    }

    /// Finds out which blocks are there after a post or a flush failed, and goes on from the truth.
    async fn resolve(&mut self, error: sqlx::Error) -> Result<(), Error> {
        let refused = refusal(&error);
        if refused.as_deref() == Some(DEPOSED) {
            return Err(Error::Deposed { shard: self.shard, epoch: self.epoch });
        }
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            ledger.height = self.flights.back().map(|flight| flight.block.height),
            "a block failed on its way to the disk; the ledger looks what became of it"
        );
        // Whatever is still under way ends before the shard can be locked anew.
        self.posts.shutdown().await;
        self.flushes.shutdown().await;
        (self.writing, self.syncing) = (None, None);
        let (writing, syncing, core, head) = self.regain().await?;
        (self.writing, self.syncing, self.core) = (Some(writing), Some(syncing), core);
        (self.posted, self.flushing) = (0, 0);
        let (mut again, mut error) = (Vec::new(), Some(error));
        for mut flight in std::mem::take(&mut self.flights) {
            if flight.block.height <= head.height {
                acknowledge(flight);
                continue;
            }
            if refused.is_some()
                && flight.alone
                && let Some(error) = error.take()
            {
                let command = flight.waiting.remove(0);
                drop(command.durable.send(Err(Error::Database(error))));
            }
            again.append(&mut flight.waiting);
        }
        again.append(&mut self.building);
        if refused.is_some() || !self.alone.is_empty() {
            self.alone = again.into_iter().chain(std::mem::take(&mut self.alone)).collect();
        } else {
            self.take(again, true).await;
        }
        Ok(())
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
        if !sql::lock(&mut conn, self.shard).await? {
            return Ok(None);
        }
        if sql::epoch(&mut conn, self.shard).await? != self.epoch {
            return Err(Error::Deposed { shard: self.shard, epoch: self.epoch });
        }
        let mut syncing = self.pool.acquire().await?.detach();
        // What can be seen from here on is durable.
        sql::flush(&mut syncing).await?;
        let head = sql::tip(&mut conn, self.shard).await?.block;
        let core = load(&mut conn, self.shard, self.epoch).await?;
        Ok(Some((conn, syncing, core, head)))
    }
}

fn acknowledge(flight: Flight) {
    metrics::histogram!("ledger_commit_seconds").record(flight.began.elapsed());
    metrics::counter!("ledger_blocks_total").increment(1);
    metrics::counter!("ledger_groups_total").increment(flight.waiting.len() as u64);
    for command in flight.waiting {
        drop(command.durable.send(Ok(flight.block)));
    }
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
