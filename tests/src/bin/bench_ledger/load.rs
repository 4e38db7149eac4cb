//! The load: callers that ask again as soon as they are answered, and what they saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::tests::bench::processor::Spent;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::sample::Sample;

/// What a transfer or a job is about. *Units*: nanos of a dollar.
pub const TRANSFER: i64 = 1_000;
/// The most that a job may cost, what it costs, and what its provider earns of that.
pub const HOLD: i64 = 5_000;
pub const CHARGE: i64 = 3_000;
pub const SHARE: i64 = 2_100;
/// What each account begins with: more than any run spends.
pub const OPENING: i64 = 1_000_000_000_000;

/// What callers ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Workload {
    /// A transfer between two accounts at random.
    Uniform,
    /// A transfer from an account at random to always the same.
    Hot,
    /// A hold on an account at random, and after its answer the settlement: charge, release, the provider's share.
    Job,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Uniform, Self::Hot, Self::Job];

    /// The word in figures.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Hot => "hot",
            Self::Job => "job",
        }
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform transfers",
            Self::Hot => "one hot account",
            Self::Job => "jobs: hold, settle",
        }
    }
}

/// A ledger under load: accounts are numbered from 0.
pub trait Ledger: Send + Sync + 'static {
    /// What a caller needs while it asks, such as a connection.
    type Seat: Send;

    /// Waits for a seat.
    fn seat(&self) -> impl Future<Output = Self::Seat> + Send;

    /// Moves [`TRANSFER`] from one account to another, durably on return.
    fn transfer(
        &self,
        seat: &mut Self::Seat,
        from: usize,
        to: usize,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Holds [`HOLD`] on an account, durably, and then settles it, durably on return.
    fn job(&self, seat: &mut Self::Seat, payer: usize) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// How a load is put on.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What is asked.
    pub workload: Workload,
    /// How many ask.
    pub callers: usize,
    /// Of how many accounts.
    pub accounts: usize,
    /// Before the window.
    pub warm_up: Duration,
    /// What counts.
    pub window: Duration,
    /// PostgreSQL's first process.
    pub postmaster: u32,
}

/// A caller's answers within the window. *Units*: microseconds.
type Latencies = Vec<u32>;

/// Puts a load on a ledger. What was answered is added to `answered`, also outside the window.
///
/// *Errors*: the first that any caller got; the benches ask for nothing that may be refused.
pub async fn put_on<L: Ledger>(ledger: &Arc<L>, load: Load, answered: &Arc<AtomicU64>) -> anyhow::Result<Sample> {
    let (stop, stopped) = watch::channel(false);
    let opens = Instant::now() + load.warm_up;
    let closes = opens + load.window;
    let mut callers = JoinSet::new();
    for number in 0..load.callers {
        let caller = Caller { load, opens, closes, random: SmallRng::seed_from_u64(number as u64) };
        callers.spawn(caller.ask(ledger.clone(), stopped.clone(), answered.clone()));
    }
    tokio::time::sleep_until(opens.into()).await;
    let before = Spent::now(load.postmaster);
    tokio::time::sleep_until(closes.into()).await;
    let spent = Spent::now(load.postmaster).since(before);
    stop.send_replace(true);

    let mut latencies = Vec::new();
    while let Some(caller) = callers.join_next().await {
        latencies.extend(caller??);
    }
    Ok(Sample::of(latencies, load.window, spent))
}

struct Caller {
    load: Load,
    opens: Instant,
    closes: Instant,
    random: SmallRng,
}

impl Caller {
    async fn ask<L: Ledger>(
        mut self,
        ledger: Arc<L>,
        mut stopped: watch::Receiver<bool>,
        answered: Arc<AtomicU64>,
    ) -> anyhow::Result<Latencies> {
        let mut latencies = Vec::new();
        loop {
            let began = Instant::now();
            let mut seat = tokio::select! {
                seat = ledger.seat() => seat,
                // A caller that still queues goes home; one that has begun gets its answer.
                _ = stopped.wait_for(|stopped| *stopped) => return Ok(latencies),
            };
            if *stopped.borrow() {
                return Ok(latencies);
            }
            let (from, to) = self.accounts();
            match self.load.workload {
                Workload::Job => ledger.job(&mut seat, from).await?,
                Workload::Uniform | Workload::Hot => ledger.transfer(&mut seat, from, to).await?,
            }
            drop(seat);
            answered.fetch_add(1, Ordering::Relaxed);
            let ended = Instant::now();
            if (self.opens..self.closes).contains(&ended) {
                latencies.push(u32::try_from((ended - began).as_micros()).unwrap_or(u32::MAX));
            }
        }
    }

    /// Two different accounts; of a hot load, the second is always the first of all.
    fn accounts(&mut self) -> (usize, usize) {
        let count = self.load.accounts;
        let from = self.random.random_range(1..count);
        match self.load.workload {
            Workload::Hot => (from, 0),
            Workload::Uniform | Workload::Job => (from, (from + self.random.random_range(1..count)) % count),
        }
    }
}
