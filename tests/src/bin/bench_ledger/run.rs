//! The run: prepares every side, lets them take turns, and looks whether their books are right.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::tests::bench::processor::{self, Machine, Spent};

use crate::cluster::Cluster;
use crate::footprint::{self, Footprint};
use crate::load::{self, Load, Workload};
use crate::ours::{self, Books, ROWS_PER_JOB, Verified};
use crate::pgbench::Tpcb;
use crate::pgledger::{self, Pgledger};
use crate::plain::Plain;
use crate::plan::{CONNECTIONS_MAX, Plan};
use crate::progress::Progress;
use crate::raw::Raw;
use crate::sample::{Sample, Samples, Side};
use crate::{disk, tigerbeetle};

/// How often the disk is asked in each round.
const SYNCS: usize = 200;

/// Who is there to be compared with.
pub struct Rivals {
    /// pgbench's program, which may be missing.
    pub pgbench: PathBuf,
    /// pgledger's SQL, when a flag named it.
    pub pgledger: Option<pgledger::Source>,
    /// TigerBeetle's program, when a flag named it.
    pub tigerbeetle: Option<PathBuf>,
}

/// All that a run found.
pub struct Measured {
    pub plan: Plan,
    pub rounds: usize,
    pub seconds: f64,
    pub processors: usize,
    /// The share of them that others on the machine took meanwhile.
    pub others_share: f64,
    pub postgres_version: String,
    pub settings: Vec<(String, String)>,
    /// The time of an `fdatasync`, a mean a round. *Units*: seconds.
    pub syncs: Vec<f64>,
    pub samples: Samples,
    pub filled: Filled,
    /// What the verifier said of the filled ledger; nothing when it took too long.
    pub verified: Option<Verified>,
    /// Rivals that are not there, and how to have them.
    pub absent: Vec<&'static str>,
    /// What is wrong with anybody's books.
    pub faults: Vec<String>,
}

/// The filled ledger.
#[derive(Clone, Copy, Debug)]
pub struct Filled {
    /// The process that opened its accounts, and one that started afterwards.
    pub opened: Footprint,
    pub restarted: Footprint,
    /// Transfers in it when it was weighed, and all its bytes; and how fast a transfer and a job's row add to them.
    pub rows: u64,
    pub bytes: u64,
    /// Of these, the accounts'.
    pub account_bytes: u64,
    pub bytes_per_transfer: f64,
    pub bytes_per_job_row: f64,
}

/// Answers to each side's callers so far: transfers, jobs.
#[derive(Clone, Default)]
struct Answered {
    transfers: Arc<AtomicU64>,
    jobs: Arc<AtomicU64>,
}

impl Answered {
    fn of(&self, workload: Workload) -> &Arc<AtomicU64> {
        if workload == Workload::Job { &self.jobs } else { &self.transfers }
    }

    fn events(&self) -> u64 {
        self.transfers.load(Ordering::Relaxed) + self.jobs.load(Ordering::Relaxed)
    }

    /// Rows of ours.
    fn rows(&self) -> u64 {
        self.transfers.load(Ordering::Relaxed) + ROWS_PER_JOB * self.jobs.load(Ordering::Relaxed)
    }
}

/// Every side, prepared.
struct Sides<'a> {
    plan: &'a Plan,
    cluster: &'a Cluster,
    raw: Arc<Raw>,
    tpcb: Option<Tpcb>,
    plain: Arc<Plain>,
    plain_answered: Answered,
    pgledger: Option<Arc<Pgledger>>,
    tigerbeetle: Option<PathBuf>,
    fresh: Option<Books>,
    fresh_answered: Answered,
    filled: Books,
    filled_from: u64,
    filled_answered: Answered,
}

/// Measures everything; what it made in the cluster is left to [`Cluster::clean`].
pub async fn measure(cluster: &Cluster, plan: Plan, rivals: &Rivals) -> anyhow::Result<Measured> {
    let progress = Progress::begin();
    progress.part("preparing pgbench, bare insertions and the SQL ledgers");
    for name in ["raw", "tpcb", "plain", "pgledger", "ours", "filled"] {
        cluster.create(name, None).await?;
    }
    let raw = Arc::new(Raw::open(cluster.url_of("raw")).await?);
    let tpcb = Tpcb::open(&rivals.pgbench, cluster.url_of("tpcb"), plan.tpcb_scale).await?;
    let connections = CONNECTIONS_MAX.min(plan.crowd());
    let plain = Arc::new(Plain::open(&cluster.url_of("plain"), plan.accounts, connections).await?);
    let pgledger = match &rivals.pgledger {
        Some(source) => {
            Some(Arc::new(Pgledger::open(&cluster.url_of("pgledger"), source, plan.accounts, connections).await?))
        }
        None => None,
    };
    prepare_ours(cluster, &plan).await?;
    let (filled, filled_answered) = fill(cluster, &plan, &progress).await?;
    cluster.checkpoint().await?;

    let mut sides = Sides {
        plan: &plan,
        cluster,
        raw,
        tpcb,
        plain,
        plain_answered: Answered::default(),
        pgledger,
        tigerbeetle: rivals.tigerbeetle.clone(),
        fresh: None,
        fresh_answered: Answered::default(),
        filled: Books::open(&cluster.url_of("filled")).await?,
        filled_from: filled.opened.accounts as u64,
        filled_answered,
    };
    let machine = Machine::now(Spent::now(cluster.postmaster).total());
    let (mut samples, mut syncs, mut rounds, mut longest) = (Samples::default(), Vec::new(), 0, Duration::ZERO);
    while rounds < plan.rounds && (rounds == 0 || progress.elapsed() + longest <= plan.last_round) {
        let began = progress.elapsed();
        let title = format!("round {} of {}", rounds + 1, plan.rounds);
        progress.part(&title);
        syncs.push(disk::sync_seconds(&cluster.folder, SYNCS)?);
        sides.renew(rounds).await?;
        sides.round(rounds, &mut samples, |cell| progress.detail(&format!("{title}: {cell}"))).await?;
        rounds += 1;
        longest = longest.max(progress.elapsed() - began);
    }
    let others_share = Machine::now(Spent::now(cluster.postmaster).total()).others_share_since(machine);
    progress.part("checking the books");
    let absent = sides.absent();
    let (faults, verified) = sides.audit(&plan).await?;
    progress.done("measured");
    Ok(Measured {
        rounds,
        seconds: progress.elapsed().as_secs_f64(),
        processors: processor::count(),
        others_share,
        postgres_version: cluster.version.clone(),
        settings: cluster.settings.clone(),
        syncs,
        samples,
        filled,
        verified,
        absent,
        faults,
        plan,
    })
}

/// The books that each round begins with: accounts with a balance, and nothing else.
async fn prepare_ours(cluster: &Cluster, plan: &Plan) -> anyhow::Result<()> {
    Books::create(&cluster.url_of("ours")).await?;
    let books = Books::open(&cluster.url_of("ours")).await?;
    let opened = books.open_accounts(plan.accounts, Duration::from_secs(60)).await?;
    anyhow::ensure!(opened == plan.accounts, "only {opened} accounts were open after a minute");
    books.close().await?;
    // As autovacuum would soon, and as the other sides' tables were.
    sqlx::Executor::execute(&mut cluster.connect("ours").await?, "VACUUM ANALYZE").await?;
    Ok(())
}

/// Opens many accounts, fills in transfers and jobs, half of the rows each, and weighs what that gives.
async fn fill(cluster: &Cluster, plan: &Plan, progress: &Progress) -> anyhow::Result<(Filled, Answered)> {
    let url = cluster.url_of("filled");
    progress.part(&format!("opening {} accounts", plan.filled_accounts));
    Books::create(&url).await?;
    let opened = footprint::of_process(&url, plan.filled_accounts, plan.opening).await?;
    anyhow::ensure!(opened.accounts >= plan.accounts, "only {} accounts were open in time", opened.accounts);

    progress.part(&format!("filling in {} transfers", plan.filled_rows));
    let books = Books::open(&url).await?;
    let answered = Answered::default();
    let begun_with = opened.accounts as u64;
    let half = begun_with + plan.filled_rows.saturating_sub(begun_with) / 2;
    let began = progress.elapsed();
    let mut weights = vec![(begun_with, ours::size_bytes(&url).await?)];
    for (workload, target, share) in [(Workload::Uniform, half, 0.5), (Workload::Job, plan.filled_rows, 1.0)] {
        let (callers, accounts, postmaster) = (plan.crowd().max(64), plan.accounts, cluster.postmaster);
        let window = (plan.window * 2).min(Duration::from_secs(2));
        let load = Load { workload, callers, accounts, warm_up: Duration::ZERO, window, postmaster };
        while begun_with + answered.rows() < target && progress.elapsed() - began < plan.filling.mul_f64(share) {
            load::put_on(&books.ledger, load, answered.of(workload)).await?;
            progress.detail(&format!("{} transfers of {}", begun_with + answered.rows(), plan.filled_rows));
        }
        weights.push((begun_with + answered.rows(), ours::size_bytes(&url).await?));
    }
    books.close().await?;
    let account_bytes = ours::accounts_size_bytes(&url).await?;
    progress.part("starting on the filled ledger");
    let restarted = footprint::of_process(&url, 0, plan.opening).await?;
    sqlx::Executor::execute(&mut cluster.connect("filled").await?, "VACUUM ANALYZE").await?;

    let each = |from: usize| {
        let ((rows, bytes), (rows_then, bytes_then)) = (weights[from], weights[from + 1]);
        bytes_then.saturating_sub(bytes) as f64 / rows_then.saturating_sub(rows).max(1) as f64
    };
    let (rows, bytes) = weights[2];
    let (bytes_per_transfer, bytes_per_job_row) = (each(0), each(1));
    Ok((Filled { opened, restarted, rows, bytes, account_bytes, bytes_per_transfer, bytes_per_job_row }, answered))
}

impl Sides<'_> {
    /// Gives the round books of ours that are as good as empty. The last round's stay: to drop a database is a checkpoint.
    async fn renew(&mut self, round: usize) -> anyhow::Result<()> {
        if let Some(books) = self.fresh.take() {
            books.close().await?;
        }
        let name = format!("ours{round}");
        self.cluster.create(&name, Some("ours")).await?;
        self.fresh = Some(Books::open(&self.cluster.url_of(&name)).await?);
        self.fresh_answered = Answered::default();
        Ok(())
    }

    /// Everyone's turn in every cell.
    async fn round(&self, round: usize, samples: &mut Samples, watch: impl Fn(&str)) -> anyhow::Result<()> {
        for &callers in &self.plan.callers {
            for workload in Workload::ALL {
                let mut turns = self.turns(workload, callers);
                let first = round % turns.len();
                turns.rotate_left(first);
                for side in turns {
                    watch(&format!("{}, {callers} callers, {}", workload.name(), side.name()));
                    if let Some(sample) = self.sample(side, workload, callers).await? {
                        samples.add(side, workload, callers, sample);
                    }
                }
            }
        }
        Ok(())
    }

    /// Who takes part in a cell.
    fn turns(&self, workload: Workload, callers: usize) -> Vec<Side> {
        let (crew, crowd) = (self.plan.crew(), self.plan.crowd());
        let mut turns = vec![Side::Plain, Side::Ours];
        if self.pgledger.is_some() {
            turns.push(Side::Pgledger);
        }
        if callers >= crew {
            turns.push(Side::OursFilled);
        }
        if self.tpcb.is_some() && workload == Workload::Uniform && callers <= crew {
            turns.push(Side::Tpcb);
        }
        if workload == Workload::Uniform && callers == crowd {
            turns.push(Side::Raw);
        }
        if self.tigerbeetle.is_some() && callers == crowd {
            turns.push(Side::TigerBeetle);
        }
        turns
    }

    async fn sample(&self, side: Side, workload: Workload, callers: usize) -> anyhow::Result<Option<Sample>> {
        let Plan { warm_up, window, accounts, tpcb_seconds, .. } = *self.plan;
        let postmaster = self.cluster.postmaster;
        let load = Load { workload, callers, accounts, warm_up, window, postmaster };
        match side {
            Side::Raw => self.raw.measure(warm_up, window, postmaster).await.map(Some),
            Side::Tpcb => match &self.tpcb {
                Some(tpcb) => tpcb.measure(callers, tpcb_seconds, postmaster).await.map(Some),
                None => Ok(None),
            },
            Side::Plain => load::put_on(&self.plain, load, self.plain_answered.of(workload)).await.map(Some),
            Side::Pgledger => match &self.pgledger {
                Some(pgledger) => load::put_on(pgledger, load, &Arc::default()).await.map(Some),
                None => Ok(None),
            },
            Side::TigerBeetle => match &self.tigerbeetle {
                Some(program) => tigerbeetle::measure(program, &self.cluster.folder, self.plan, workload).await,
                None => Ok(None),
            },
            Side::Ours => match &self.fresh {
                Some(books) => load::put_on(&books.ledger, load, self.fresh_answered.of(workload)).await.map(Some),
                None => Ok(None),
            },
            Side::OursFilled => {
                load::put_on(&self.filled.ledger, load, self.filled_answered.of(workload)).await.map(Some)
            }
        }
    }

    fn absent(&self) -> Vec<&'static str> {
        let mut absent = Vec::new();
        if self.tpcb.is_none() {
            absent.push("pgbench: no such program is beside PostgreSQL's, so there is no TPC-B");
        }
        if self.pgledger.is_none() {
            absent.push("pgledger: no --pgledger FILE.sql was given (github.com/pgr0ss/pgledger)");
        }
        if self.tigerbeetle.is_none() {
            absent.push("TigerBeetle: no --tigerbeetle BIN was given (github.com/tigerbeetle/tigerbeetle)");
        }
        absent
    }

    /// Stops everyone, and says what is wrong with their books and how fast ours are verified.
    async fn audit(self, plan: &Plan) -> anyhow::Result<(Vec<String>, Option<Verified>)> {
        let mut faults = Plain::faults(&self.cluster.url_of("plain"), self.plain_answered.events()).await?;
        if self.pgledger.is_some() {
            faults.extend(Pgledger::faults(&self.cluster.url_of("pgledger")).await?);
        }
        self.filled.close().await?;
        let url = self.cluster.url_of("filled");
        let verified = tokio::time::timeout(plan.verifying, ours::verify(&url)).await.ok().transpose()?;
        if let Some(verified) = verified.filter(|verified| !verified.passed) {
            faults.push(format!("ours: the verifier refuses the filled books ({} transfers)", verified.transfers));
        }
        let answered = self.filled_from + self.filled_answered.rows();
        if let Some(verified) = verified.filter(|verified| verified.transfers != answered) {
            faults.push(format!("ours: {answered} were acknowledged and {} are there", verified.transfers));
        }
        if let Some(books) = self.fresh {
            books.close().await?;
        }
        Ok((faults, verified))
    }
}
