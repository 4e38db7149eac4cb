//! The writer's handle: what the rest of the system asks of the ledger.

mod close;
pub(crate) mod pipeline;
mod reverse;
pub(crate) mod route;
pub(crate) mod task;

pub use close::{Closing, closing_reasons};
pub use reverse::GroupRef;

use primitives::clock::Clock;
use primitives::id::JobId;
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;

use self::route::Route;
use self::task::Task;
use crate::SHARD;
use crate::block::BlockRef;
use crate::error::Error;
use crate::hold::Hold;
use crate::recipe::Request;
use crate::recipe::credit::{PromoGrant, TopUp};
use crate::recipe::job::{JobHold, JobSettlement, Void};
use crate::recipe::state::PERIOD_STATE;
use crate::repo;

/// How many requests may wait for the writer; who comes later waits outside.
pub(crate) const QUEUE_MAX: usize = 8_192;

/// Asks the one writer of a shard, wherever it is; clones ask the same one.
///
/// Every request is safe to repeat: the same body under the same job, lot or reference gets the first answer. A handle of a
/// [`Replica`](crate::Replica) repeats by itself what a writer left unanswered.
#[derive(Clone)]
pub struct Writer {
    pub(crate) route: Route,
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
}

/// The running writer; dropped, it stops at once and leaves what it had not committed undone.
pub struct WriterTask {
    task: JoinSet<Result<(), Error>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Writer {
    /// Takes the shard over and starts to write, for this handle alone; earlier writers are fenced off by a higher epoch.
    ///
    /// Keeps two connections of its own beside the pool's. *Errors*: [`Error::WriterRunning`] while another writer lives; one that
    /// has just died is waited for, two seconds at most.
    pub async fn start(pool: PgPool, clock: Clock) -> Result<(Self, WriterTask), Error> {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let (stop, stopped) = oneshot::channel();
        let task = Task::start(pool.clone(), clock.clone(), SHARD, queue).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(task.run(stopped));
        Ok((Self { route: Route::One(sender), pool, clock }, WriterTask { task: tasks, stop: Some(stop) }))
    }

    /// Sets a job's worst case aside: decided at once, in the order of arrival, where the writer is this process's; durable when
    /// [`Hold::durable`] says so.
    ///
    /// *Errors*: [`Error::InsufficientFunds`] with what is missing.
    pub async fn hold(&self, hold: JobHold) -> Result<Hold, Error> {
        self.route.hold(hold.into()).await
    }

    /// Ends a job: what it cost is taken, the rest of its hold is free, its providers are credited and its usage is kept; all
    /// of it durable on return.
    ///
    /// *Errors*: [`Error::NoOpenHold`], [`Error::ChargeAboveHold`], [`Error::UsageMismatch`], [`Error::StrangersHold`].
    pub async fn settle(&self, settlement: JobSettlement) -> Result<BlockRef, Error> {
        self.post(settlement).await
    }

    /// Ends a job that failed: its whole hold is free, durably on return.
    ///
    /// *Errors*: [`Error::NoOpenHold`] when there is none, or it was settled.
    pub async fn void(&self, job_id: JobId) -> Result<BlockRef, Error> {
        self.post(Void { link: job_id.0 }).await
    }

    /// Gives a tenant a promo lot, durably on return.
    pub async fn grant_promo(&self, grant: PromoGrant) -> Result<BlockRef, Error> {
        self.post(grant).await
    }

    /// Credits a tenant's payment, durably on return.
    pub async fn top_up(&self, top_up: TopUp) -> Result<BlockRef, Error> {
        self.post(top_up).await
    }

    /// Voids the holds whose time is over, and tells how many; for a sweeper that runs every few seconds.
    pub async fn void_expired(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        let holds = repo::open_holds(&mut *self.pool.acquire().await?, SHARD).await?;
        self.void_all(holds.iter().filter(|hold| hold.expires_at <= now).map(|hold| hold.link)).await
    }

    /// Voids the holds of jobs that nobody runs any more, and tells how many were open; durable on return.
    pub async fn void_jobs(&self, jobs: &[JobId]) -> Result<usize, Error> {
        self.void_all(jobs.iter().map(|job| job.0)).await
    }

    async fn void_all(&self, links: impl Iterator<Item = Uuid>) -> Result<usize, Error> {
        let mut voids = JoinSet::new();
        for link in links {
            let route = self.route.clone();
            voids.spawn(async move { route.ask(Void { link }.into()).await });
        }
        let mut voided = 0;
        while let Some(answer) = voids.join_next().await {
            match answer.map_err(|_| Error::Stopped)? {
                Ok(_) => voided += 1,
                // It was settled while we looked.
                Err(Error::NoOpenHold { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(voided)
    }

    /// Books any business event, durably on return; [`recipe::TEMPLATES`](crate::recipe::TEMPLATES) tells what each one does.
    ///
    /// *Errors*: [`Error::BadEvent`] for a month's change, read from data: what is in its way is looked at by
    /// [`Writer::close_period`] alone.
    pub async fn post(&self, event: impl Into<Request>) -> Result<BlockRef, Error> {
        let request = event.into();
        let template = request.recipe().template();
        if template.number == PERIOD_STATE.number {
            return Err(Error::BadEvent { recipe: template.name, reason: "a month is closed by close_period" });
        }
        self.route.ask(request).await
    }
}

impl WriterTask {
    /// Waits for the writer's end: deposed, broken, or drained after every [`Writer`] was dropped.
    pub async fn wait(&mut self) -> Result<(), Error> {
        match self.task.join_next().await {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Error::Stopped),
            None => Ok(()),
        }
    }

    /// Takes no more requests, commits those that wait, frees the shard, and ends.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        drop(self.stop.take());
        self.wait().await
    }
}
