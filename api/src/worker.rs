//! What runs beside the requests: the end of what replicas that are gone left, and small repairs every few seconds.

mod capacity;

use std::collections::HashSet;
use std::time::Duration;

use broker::job::{JobEnd, JobRecord, JobStatus};
use chrono::TimeDelta;
use ledger::{Replica, SHARD, Writer};
use primitives::clock::Clock;
use primitives::id::{JobId, ReplicaId};
use primitives::money::Nanos;
use sqlx::{PgConnection, PgPool};
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

pub use capacity::report_capacity;

use crate::identity::Identity;
use crate::inference::HOLD_MINUTES;
use crate::supply::Supply;

/// How often repairs run.
const EVERY: Duration = Duration::from_secs(5);
/// A job that outlives its hold by this much has nobody left to end it.
const LOST_AFTER: TimeDelta = TimeDelta::minutes(5);
/// Unfinished jobs brought to their end in one step of the recovery.
const STEP: u32 = 500;
/// Unfinished jobs looked at every few seconds: the oldest, since a lost one is older than any that runs.
const OLDEST: u32 = 20;

/// The task of periodic repairs.
pub struct Worker {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Worker {
    /// Starts it.
    pub fn start(pool: PgPool, clock: Clock, identity: Identity, supply: Supply, replica: Replica) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = stopped.changed() => return,
                }
                if let Err(error) = identity.grant_signup_credits().await {
                    error.log();
                }
                if let Err(error) = identity.forget_challenges().await {
                    error.log();
                }
                if let Err(error) = supply.refresh().await {
                    tracing::error!(
                        error = format!("{:#}", anyhow::Error::from(error)),
                        "connected nodes keep their old standing"
                    );
                }
                // One replica is enough, and the shard's owner asks its writer without a way between.
                if !replica.owns() {
                    continue;
                }
                let ledger = replica.writer();
                if let Err(error) = recover(&pool, &clock, &ledger).await {
                    tracing::error!(error = format!("{error:#}"), "what gone replicas left was not brought to its end");
                }
                if let Err(error) = expire(&pool, &clock, &ledger).await {
                    tracing::error!(error = format!("{error:#}"), "expired holds were not voided");
                }
                if let Err(error) = supply.judge_audits().await {
                    tracing::error!(error = format!("{:#}", anyhow::Error::from(error)), "audits were not judged");
                }
                if let Err(error) = supply.bring_earnings_on(&ledger).await {
                    tracing::error!(error = format!("{error:#}"), "providers' earnings were not brought on");
                }
                if let Err(error) = supply.end_probations().await {
                    tracing::error!(error = format!("{:#}", anyhow::Error::from(error)), "probations were not ended");
                }
                if let Err(error) = report_capacity(&pool, &clock, &ledger).await {
                    tracing::error!(error = format!("{error:#}"), "capacity was not reported to the ledger");
                }
            }
        });
        Self { stop, tasks }
    }

    /// Ends it after the repair under way.
    pub async fn stop(mut self) {
        // Nobody to tell means that it has ended.
        self.stop.send(true).ok();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Ends what replicas that are gone left unfinished: holds are voided, records say what the ledger says. Any replica may do it, at
/// once with others too.
///
/// A job whose settlement was committed is done, with the ledger's figures; any other is voided and costs nothing.
pub async fn recover(pool: &PgPool, clock: &Clock, ledger: &Writer) -> anyhow::Result<()> {
    let mut conn = pool.acquire().await?;
    let running = broker::job::replicas(&mut conn).await?;
    let living = ledger::living_replicas(&mut conn, &running).await?;
    for gone in running.into_iter().filter(|replica| !living.contains(replica)) {
        let ended = end_all(&mut conn, clock, ledger, gone).await?;
        tracing::info!(
            replica.id = gone.0,
            jobs = ended,
            "unfinished jobs of a replica that is gone were brought to their end"
        );
    }
    free_strays(&mut conn, ledger).await
}

/// Ends a replica's jobs and leases, and tells how many jobs there were.
async fn end_all(conn: &mut PgConnection, clock: &Clock, ledger: &Writer, gone: ReplicaId) -> anyhow::Result<usize> {
    broker::lease::abandon(conn, gone, clock.now()).await?;
    let mut ended = 0;
    loop {
        let jobs = broker::job::unfinished_of(conn, gone, STEP).await?;
        if jobs.is_empty() {
            return Ok(ended);
        }
        // The ledger decides, once: what it does not void was settled.
        let ids: Vec<JobId> = jobs.iter().map(|job| job.job_id).collect();
        ledger.void_jobs(&ids).await?;
        // A settlement that was decided and is not durable yet leaves its hold open to be seen; its job ends the next time.
        let open: HashSet<Uuid> = ledger::open_holds(conn, SHARD).await?.into_iter().map(|hold| hold.link).collect();
        let resolved = jobs.iter().filter(|job| !open.contains(&job.job_id.0));
        let before = ended;
        for job in resolved {
            end(conn, clock, job).await?;
            ended += 1;
        }
        if ended == before {
            return Ok(ended);
        }
    }
}

/// Voids the holds of jobs that have ended: a hold that nobody heard of may have been placed after its job was given up.
async fn free_strays(conn: &mut PgConnection, ledger: &Writer) -> anyhow::Result<()> {
    let holds = ledger::open_holds(conn, SHARD).await?;
    let jobs: Vec<JobId> = holds.iter().filter(|hold| hold.of_a_job()).map(|hold| JobId(hold.link)).collect();
    let ended = broker::job::ended(conn, &jobs).await?;
    let voided = ledger.void_jobs(&ended).await?;
    if voided > 0 {
        tracing::warn!(holds = voided, "holds of jobs that had ended were voided");
    }
    Ok(())
}

/// Frees the holds that have expired, and ends the jobs that were lost with them.
async fn expire(pool: &PgPool, clock: &Clock, ledger: &Writer) -> anyhow::Result<()> {
    ledger.void_expired().await?;
    let mut conn = pool.acquire().await?;
    let lost_before = clock.now() - TimeDelta::minutes(HOLD_MINUTES) - LOST_AFTER;
    for job in broker::job::unfinished(&mut conn, OLDEST).await? {
        if job.received_at < lost_before {
            end(&mut conn, clock, &job).await?;
        }
    }
    Ok(())
}

async fn end(conn: &mut PgConnection, clock: &Clock, job: &JobRecord) -> anyhow::Result<()> {
    let facts = ledger::usage_facts(conn, job.job_id).await?;
    let counted = |meter: &str| facts.iter().filter(|fact| fact.meter == meter).map(|fact| fact.quantity).sum::<i64>();
    let (cached, output) = (counted("cached_input"), counted("output"));
    let charge = facts.iter().try_fold(Nanos::ZERO, |sum, fact| sum.checked_add(fact.amount))?;
    let settled = !facts.is_empty();
    let ended_at = clock.now();
    let end = JobEnd {
        status: if settled { JobStatus::Done } else { JobStatus::Voided },
        cached_tokens: u32::try_from(cached)?,
        output_tokens: u32::try_from(output)?,
        finish_reason: None,
        error_code: (!settled).then(|| "control_plane_died".to_owned()),
        charge,
        first_token_at: job.first_token_at,
        ended_at,
    };
    match broker::job::finish(conn, job.job_id, &end).await {
        // Another replica was quicker.
        Ok(()) | Err(broker::Error::JobEnded(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
