//! The writer's task: one loop that feeds the core, commits its blocks one after the other, and resolves doubts.
//!
//! There is no timer: a block is what was decided while the block before was being committed. Requests are decided at once,
//! also while a commit is under way. When a commit fails, the task takes the shard's lock anew on a fresh connection, so that
//! no earlier commit can still arrive, and looks where the chain ends: either the block is there, or the memory is dropped
//! and its requests are decided again. A block that the database refused is taken apart and its requests are committed one
//! by one, so that a bad one fails alone.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use primitives::clock::Clock;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};

use crate::block::BlockRef;
use crate::core::{Core, Needs};
use crate::error::Error;
use crate::hold::HoldPart;
use crate::recipe::Request;
use crate::repo;
use crate::repo::post as sql;

/// How many requests one block takes.
const BLOCK_REQUESTS_MAX: usize = 4_096;
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

/// A block on its way to the database.
struct Flight {
    block: BlockRef,
    waiting: Vec<Command>,
    /// True for a block of one request that had been refused in company.
    alone: bool,
    began: Instant,
}

type Landing = (PgConnection, Result<(), sqlx::Error>);

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
    flight: Option<Flight>,
    commits: JoinSet<Landing>,
    /// The connection that holds the shard's lock, when no commit has it.
    writing: Option<PgConnection>,
    /// The connection for loading what the core needs.
    reading: Option<PgConnection>,
    /// Requests of a block that the database refused, to be committed one by one.
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
        let epoch = sql::raise_epoch(&mut conn, shard).await?;
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
            flight: None,
            commits: JoinSet::new(),
            writing: Some(conn),
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
            self.depart().await;
            if !open && self.flight.is_none() {
                break;
            }
            let room = self.room();
            tokio::select! {
                biased;
                Some(landed) = self.commits.join_next() => self.land(landed).await?,
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

    /// Sends the next block off, unless one is under way.
    async fn depart(&mut self) {
        let mut alone = false;
        while self.flight.is_none() && !self.core.has_draft() {
            let Some(command) = self.alone.pop_front() else { return };
            self.take(vec![command], true).await;
            alone = true;
        }
        if self.flight.is_some() {
            return;
        }
        let (reference, block) = self.core.seal(self.clock.now()).expect("there is a draft");
        let mut conn = self.writing.take().expect("no commit is under way, so its connection is here");
        let waiting = std::mem::take(&mut self.building);
        self.flight = Some(Flight { block: reference, waiting, alone, began: Instant::now() });
        self.commits.spawn(async move {
            let result = sql::post(&mut conn, &block).await;
            (conn, result)
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
                    match (decision.block, &mut self.flight) {
                        (Some(block), _) => drop(command.durable.send(Ok(block))),
                        (None, Some(flight)) if flight.block.height == decision.height => flight.waiting.push(command),
                        (None, _) => self.building.push(command),
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

    /// Ends a commit: its requests are answered, or what became of them is found out.
    async fn land(&mut self, landed: Result<Landing, JoinError>) -> Result<(), Error> {
        let flight = self.flight.take().expect("a commit lands once");
        let (conn, result) = landed.map_err(|_| Error::Stopped)?;
        match result {
            Ok(()) => {
                self.writing = Some(conn);
                self.acknowledge(flight);
                Ok(())
            }
            Err(error) => self.resolve(conn, error, flight).await,
        }
    }

    fn acknowledge(&mut self, flight: Flight) {
        metrics::histogram!("ledger_commit_seconds").record(flight.began.elapsed());
        metrics::counter!("ledger_blocks_total").increment(1);
        metrics::counter!("ledger_groups_total").increment(flight.waiting.len() as u64);
        self.core.committed(flight.block);
        for command in flight.waiting {
            drop(command.durable.send(Ok(flight.block)));
        }
    }

    /// Finds out whether a block whose commit failed is there after all, and goes on from the truth.
    async fn resolve(&mut self, conn: PgConnection, error: sqlx::Error, mut flight: Flight) -> Result<(), Error> {
        let refused = refusal(&error);
        if refused.as_deref() == Some(DEPOSED) {
            return Err(Error::Deposed { shard: self.shard, epoch: self.epoch });
        }
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            ledger.height = flight.block.height,
            "a block's commit failed; the ledger looks what became of it"
        );
        drop(conn);
        let (conn, core, head) = self.regain().await?;
        self.writing = Some(conn);
        if head == flight.block {
            self.acknowledge(flight);
            return Ok(());
        }
        self.core = core;
        if refused.is_some() && flight.alone {
            let command = flight.waiting.remove(0);
            drop(command.durable.send(Err(Error::Database(error))));
        }
        let again = flight.waiting.into_iter().chain(self.building.drain(..));
        if refused.is_some() || !self.alone.is_empty() {
            let later = std::mem::take(&mut self.alone);
            self.alone = again.chain(later).collect();
        } else {
            let again = again.collect();
            self.take(again, true).await;
        }
        Ok(())
    }

    /// Takes the shard's lock on a new connection, once the old one is gone for good, and loads the truth.
    ///
    /// *Errors*: [`Error::Deposed`] when another writer was quicker; the database's, when it stays away for a minute.
    async fn regain(&mut self) -> Result<(PgConnection, Core, BlockRef), Error> {
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

    async fn try_regain(&mut self) -> Result<Option<(PgConnection, Core, BlockRef)>, Error> {
        let mut conn = self.pool.acquire().await?.detach();
        if !sql::lock(&mut conn, self.shard).await? {
            return Ok(None);
        }
        if sql::epoch(&mut conn, self.shard).await? != self.epoch {
            return Err(Error::Deposed { shard: self.shard, epoch: self.epoch });
        }
        let head = sql::tip(&mut conn, self.shard).await?.block;
        let core = load(&mut conn, self.shard, self.epoch).await?;
        Ok(Some((conn, core, head)))
    }
}

/// The core as the database knows it.
async fn load(conn: &mut PgConnection, shard: i16, epoch: i64) -> Result<Core, Error> {
    let tip = sql::tip(conn, shard).await?;
    let platform = sql::platform_accounts(conn, shard).await?;
    let holds = repo::open_holds(conn, shard).await?;
    Ok(Core::new(shard, epoch, tip, platform, holds))
}

/// The code with which a living database refused the block for what is in it; none when the outcome is unknown.
fn refusal(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    // Data, integrity, ours, raised: by SQLSTATE class.
    ["22", "23", "TG", "P0"].iter().any(|class| code.starts_with(class)).then(|| code.into_owned())
}
