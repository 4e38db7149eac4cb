//! Ours: the writer of this workspace, asked as the control plane asks it, in the same process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::TimeDelta;
use ledger::{
    AccountKey, Code, Dimensions, JobHold, JobSettlement, JournalEntry, JournalLine, Overrun, ProviderShare, TopUp,
    UsageFact, Writer, WriterTask,
};
use primitives::clock::Clock;
use primitives::id::{Ids, JobId, NodeId, PriceId, ProviderId, TenantId};
use primitives::money::{Currency, Nanos};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::load::{CHARGE, HOLD, Ledger, OPENING, SHARE, TRANSFER};

/// What it is, for the table's notes.
pub const NOTE: &str = "a transfer is a journal entry of one line between two tenants, one row; a job is 3 rows and 2 usage facts, its caller \
                        waits for the hold to be durable and then for the settlement; hash-chained";
/// Transfers of a job: the hold, the charge, the provider's share.
pub const ROWS_PER_JOB: u64 = 3;
/// How many ask at once while a ledger is prepared.
const PREPARING: usize = 4_000;

/// A ledger with its writer running.
pub struct Books {
    /// Asks the writer.
    pub ledger: Arc<Ours>,
    task: WriterTask,
    pool: PgPool,
}

/// The writer's side of the bench.
pub struct Ours {
    writer: Writer,
    clock: Clock,
    ids: Ids,
    references: AtomicU64,
    first_reference: u64,
}

/// What the verifier found.
#[derive(Clone, Copy, Debug)]
pub struct Verified {
    /// Transfers that it went through.
    pub transfers: u64,
    /// Nothing is wrong: hashes, balances, debits and credits.
    pub passed: bool,
    /// How long it took.
    pub seconds: f64,
}

impl Books {
    /// Makes the tables in an empty database.
    pub async fn create(url: &str) -> anyhow::Result<()> {
        let mut conn = PgConnection::connect(url).await?;
        sqlx::migrate!("../migrations").run(&mut conn).await.context("migrating")
    }

    /// Starts the writer.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new().max_connections(4).connect(url).await?;
        let clock = Clock::system();
        let (writer, task) = Writer::start(pool.clone(), clock.clone()).await?;
        let ids = Ids::random(clock.clone());
        // A payment's name is used once, also by the next writer of the same books.
        let first_reference = u64::from_le_bytes(ids.bytes()) & (u64::MAX >> 1);
        let references = AtomicU64::new(first_reference);
        let ledger = Arc::new(Ours { writer, clock, ids, references, first_reference });
        Ok(Self { ledger, task, pool })
    }

    /// Opens the accounts up to number `count`, each with a balance, until `time_max` has passed, and tells how many there are.
    pub async fn open_accounts(&self, count: usize, time_max: Duration) -> anyhow::Result<usize> {
        let next = Arc::new(AtomicUsize::new(0));
        let stops = Instant::now() + time_max;
        let mut callers = JoinSet::new();
        for _ in 0..PREPARING.min(count) {
            let (ledger, next) = (self.ledger.clone(), next.clone());
            callers.spawn(async move {
                let mut opened = 0;
                while Instant::now() < stops {
                    let account = next.fetch_add(1, Ordering::Relaxed);
                    if account >= count {
                        break;
                    }
                    ledger.top_up(account, OPENING).await?;
                    opened += 1;
                }
                anyhow::Ok(opened)
            });
        }
        let mut opened = 0;
        while let Some(caller) = callers.join_next().await {
            opened += caller??;
        }
        Ok(opened)
    }

    /// Stops the writer, and waits for its end.
    pub async fn close(self) -> anyhow::Result<()> {
        self.task.shutdown().await?;
        self.pool.close().await;
        Ok(())
    }
}

impl Ours {
    async fn top_up(&self, account: usize, nanos: i64) -> anyhow::Result<()> {
        let number = self.references.fetch_add(1, Ordering::Relaxed);
        let (tenant_id, amount) = (tenant(account), Nanos(nanos));
        let reference = format!("{:x}-{}", self.first_reference >> 32, number - self.first_reference);
        self.writer.top_up(TopUp { tenant_id, amount, currency: Currency::USD, reference }).await?;
        Ok(())
    }
}

impl Ledger for Ours {
    type Seat = ();

    async fn seat(&self) {}

    async fn transfer(&self, (): &mut (), from: usize, to: usize) -> anyhow::Result<()> {
        let paid = |account| AccountKey::owned(Code::PaidCredits, tenant(account), Currency::USD);
        let line = JournalLine { debit: paid(from), credit: paid(to), amount: Nanos(TRANSFER), leaf: None };
        let (entry_id, reason) = (self.ids.next::<JobId>().0, "bench".to_owned());
        self.writer.post(JournalEntry { entry_id, lines: vec![line], month: None, reason }).await?;
        Ok(())
    }

    async fn job(&self, (): &mut (), payer: usize) -> anyhow::Result<()> {
        let (job_id, tenant_id, now): (JobId, _, _) = (self.ids.next(), tenant(payer), self.clock.now());
        let (currency, expires_at) = (Currency::USD, now + TimeDelta::minutes(10));
        let amount = Nanos(HOLD);
        let mut hold = self.writer.hold(JobHold { job_id, tenant_id, currency, amount, expires_at }).await?;
        hold.durable().await?;
        self.writer.settle(settlement(job_id, tenant_id, self.clock.clone())).await?;
        Ok(())
    }
}

fn settlement(job_id: JobId, tenant_id: TenantId, clock: Clock) -> JobSettlement {
    let provider_id = ProviderId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0001_0000_0001));
    let node_id = NodeId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0002_0000_0001));
    let price_id = PriceId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0003_0000_0001));
    let segment = 1;
    let line = |meter: &str, quantity, amount| UsageFact {
        segment,
        node_id,
        provider_id,
        meter: meter.into(),
        quantity,
        price_id,
        amount: Nanos(amount),
        waste: None,
        compute_ms: 20,
    };
    JobSettlement {
        job_id,
        charge: Nanos(CHARGE),
        overrun: Overrun::Refuse,
        shares: vec![ProviderShare { provider_id, node_id, segment, amount: Nanos(SHARE) }],
        usage: vec![line("input", 300, CHARGE / 3), line("output", 120, CHARGE - CHARGE / 3)],
        dimensions: Dimensions { tenant_id, model: "spark-1".into(), product_line: "inference".into() },
        event_at: clock.now(),
    }
}

/// The tenant whose paid credit is account `number`.
fn tenant(number: usize) -> TenantId {
    TenantId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 + number as u128))
}

/// Recomputes everything in a database.
pub async fn verify(url: &str) -> anyhow::Result<Verified> {
    let mut conn = PgConnection::connect(url).await?;
    let began = Instant::now();
    let found = ledger::proof::verify(&mut conn, |_, _| ()).await?;
    let seconds = began.elapsed().as_secs_f64();
    let trial = ledger::trial_balance(&mut conn).await?;
    let sum = |side: fn(&ledger::TrialRow) -> i128| trial.iter().map(side).sum::<i128>();
    let balanced = sum(|row| row.debits) == sum(|row| row.credits);
    Ok(Verified { transfers: u64::try_from(found.transfers)?, passed: found.passed() && balanced, seconds })
}

/// What the accounts take on disk, indexes and all. *Units*: bytes.
pub async fn accounts_size_bytes(url: &str) -> anyhow::Result<u64> {
    let mut conn = PgConnection::connect(url).await?;
    let size: i64 = sqlx::query_scalar("SELECT pg_total_relation_size('ledger.accounts')").fetch_one(&mut conn).await?;
    Ok(u64::try_from(size)?)
}

/// Everything that the ledger keeps on disk, indexes and all. *Units*: bytes.
pub async fn size_bytes(url: &str) -> anyhow::Result<u64> {
    let mut conn = PgConnection::connect(url).await?;
    let size: i64 = sqlx::query_scalar(
        "SELECT sum(pg_total_relation_size(oid))::bigint
         FROM pg_class
         WHERE relnamespace = 'ledger'::regnamespace AND relkind = 'r'",
    )
    .fetch_one(&mut conn)
    .await?;
    Ok(u64::try_from(size)?)
}
