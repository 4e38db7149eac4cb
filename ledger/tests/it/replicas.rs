//! Several replicas over one ledger: any of them is asked, one of them writes, and another goes on when it dies.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ledger::{
    BlockRef, Carried, Carrier, Error, JobHold, JobSettlement, NotCarried, Pace, Replica, ReplicaTask, Writer,
};
use primitives::money::Nanos;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::House;

/// Carries letters between replicas of one process, and loses some.
#[derive(Default)]
struct Post {
    replicas: Mutex<HashMap<String, Replica>>,
    carried: AtomicUsize,
    /// Of so many replies one is lost; none when zero.
    one_lost_of: AtomicUsize,
}

impl Carrier for Post {
    fn carry<'a>(&'a self, address: &'a str, letter: Vec<u8>) -> Carried<'a> {
        Box::pin(async move {
            let replica = self.replicas.lock().unwrap().get(address).cloned().ok_or(NotCarried)?;
            let reply = replica.answer(&letter).await.map_err(|_| NotCarried);
            let (carried, one_lost_of) =
                (self.carried.fetch_add(1, Ordering::Relaxed), self.one_lost_of.load(Ordering::Relaxed));
            if one_lost_of > 0 && carried % one_lost_of == 0 { Err(NotCarried) } else { reply }
        })
    }
}

/// Replicas notice each other quicker than they would in earnest.
fn pace() -> Pace {
    Pace {
        beat: Duration::from_millis(50),
        ended_after: Duration::from_millis(400),
        hung_after: Duration::from_secs(2),
        start_time_max: Duration::from_secs(20),
    }
}

/// A house whose requests go by replicas.
struct Town {
    house: House,
    post: Arc<Post>,
}

impl Town {
    async fn open(pool: PgPool) -> Self {
        let House { pool, clock, ids, writer, mut task, tenant_id, provider_id, node_id } = House::open(pool).await;
        drop(writer);
        task.wait().await.unwrap();
        let post = Arc::<Post>::default();
        let (writer, nobody) = Writer::start(pool.clone(), clock.clone()).await.unwrap();
        nobody.shutdown().await.unwrap();
        Self { house: House { pool, clock, ids, writer, task, tenant_id, provider_id, node_id }, post }
    }

    async fn join(&mut self, address: &str) -> (Replica, ReplicaTask) {
        let (pool, clock) = (self.house.pool.clone(), self.house.clock.clone());
        let (replica, task) = Replica::start(pool, clock, address.to_owned(), self.post.clone(), pace()).await.unwrap();
        self.post.replicas.lock().unwrap().insert(address.to_owned(), replica.clone());
        self.house.writer = replica.writer();
        (replica, task)
    }

    /// The replica at that address ends as by a power cut.
    fn cut(&self, address: &str, task: ReplicaTask) {
        self.post.replicas.lock().unwrap().remove(address);
        drop(task);
    }
}

async fn eventually(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let looked = async {
        while !look().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), looked).await.unwrap_or_else(|_| panic!("it never happened that {what}"));
}

/// Holds and settles a job, and tells both blocks.
async fn run(writer: &Writer, job: JobHold, settlement: JobSettlement) -> Result<(BlockRef, BlockRef), Error> {
    let held = writer.hold(job).await?.durable().await?;
    Ok((held, writer.settle(settlement).await?))
}

#[sqlx::test(migrations = "../migrations")]
async fn whichever_replica_is_asked_one_writer_answers(pool: PgPool) {
    let mut town = Town::open(pool).await;
    let (a, a_task) = town.join("a").await;
    let (b, b_task) = town.join("b").await;
    assert!(a.owns() && !b.owns() && a.id() < b.id());
    a.ready().await.unwrap();
    b.ready().await.unwrap();

    // The house asks by the last one that joined.
    let house = &town.house;
    house.top_up(100, "bank-1").await;
    let job = house.job(60);
    let mut by_b = b.writer().hold(job.clone()).await.unwrap();
    let mut by_a = a.writer().hold(job.clone()).await.unwrap();
    assert_eq!((by_b.parts.len(), by_b.durable().await.unwrap()), (1, by_a.durable().await.unwrap()));
    assert_eq!(by_a.parts, by_b.parts);
    let refused = b.writer().hold(house.job(41)).await.unwrap_err();
    assert!(
        matches!(refused, Error::InsufficientFunds { tenant_id, needed: Nanos(41), available: Nanos(40) }
            if tenant_id == house.tenant_id),
        "{refused}"
    );
    b.writer().settle(house.settlement(job.job_id, 36, 20)).await.unwrap();
    assert!(matches!(b.writer().void(job.job_id).await, Err(Error::NoOpenHold { link }) if link == job.job_id.0));
    assert_eq!((house.balance().await.available, house.count("SELECT epoch FROM ledger.shards").await), (Nanos(64), 3));
    b_task.shutdown().await;
    a_task.shutdown().await;
    assert_eq!(house.count("SELECT count(*) FROM ledger.replicas WHERE gone_at IS NULL").await, 0);
    town.house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_request_whose_reply_is_lost_happens_once(pool: PgPool) {
    let mut town = Town::open(pool).await;
    let (_a, a_task) = town.join("a").await;
    let (b, b_task) = town.join("b").await;
    town.house.top_up(1_000, "bank-1").await;
    town.post.one_lost_of.store(2, Ordering::Relaxed);
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        let job = town.house.job(50);
        let settlement = town.house.settlement(job.job_id, 30, 10);
        let writer = b.writer();
        callers.spawn(async move { run(&writer, job, settlement).await });
    }
    while let Some(answer) = callers.join_next().await {
        answer.unwrap().unwrap();
    }
    assert_eq!(town.house.balance().await.available, Nanos(1_000 - 10 * 30));
    assert_eq!(town.house.count("SELECT count(*) FROM ledger.journal WHERE recipe = 'job_hold'").await, 10);
    b_task.shutdown().await;
    a_task.shutdown().await;
    town.house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn when_the_owner_dies_in_mid_load_the_others_callers_go_on_and_nothing_is_lost_or_doubled(pool: PgPool) {
    let mut town = Town::open(pool).await;
    let (a, a_task) = town.join("a").await;
    let (b, b_task) = town.join("b").await;
    let house = &town.house;
    house.top_up(1_000_000, "bank-1").await;
    // A job that b runs outlives the writer that placed its hold.
    let long = house.job(70);
    let mut held = b.writer().hold(long.clone()).await.unwrap();
    let placed = held.durable().await.unwrap();

    let mut callers = JoinSet::new();
    for number in 0..40 {
        let jobs: Vec<_> = (0..10).map(|_| house.job(50)).collect();
        let settlements: Vec<_> = jobs.iter().map(|job| house.settlement(job.job_id, 30, 10)).collect();
        let of_a = number % 4 == 0;
        let writer = if of_a { a.writer() } else { b.writer() };
        callers.spawn(async move {
            let mut acknowledged = Vec::new();
            for (job, settlement) in jobs.into_iter().zip(settlements) {
                match run(&writer, job, settlement.clone()).await {
                    Ok((_, settled)) => acknowledged.push((settlement, settled)),
                    Err(error) => return (of_a, acknowledged, Some(error)),
                }
            }
            (of_a, acknowledged, None)
        });
    }
    // In mid-load: the first settlements are in the books, most are not.
    let settled = "SELECT count(DISTINCT link_id) FROM ledger.journal WHERE recipe = 'job_settle'";
    eventually("some jobs were settled", async || house.count(settled).await >= 20).await;
    town.cut("a", a_task);

    let (mut acknowledged, mut cut) = (Vec::new(), 0);
    while let Some(answer) = callers.join_next().await {
        let (of_a, settlements, error) = answer.unwrap();
        assert!(of_a || error.is_none(), "b's callers go on: {error:?}");
        cut += usize::from(error.is_some());
        acknowledged.extend(settlements);
    }
    assert!(cut > 0, "a died too late to tell anything");
    assert!(b.owns());
    for (settlement, block) in &acknowledged {
        assert_eq!(b.writer().settle(settlement.clone()).await.unwrap(), *block);
    }
    // What a's callers did not hear of may be in the books, once at most.
    let in_books = house.count(settled).await;
    let unheard = in_books - i64::try_from(acknowledged.len()).unwrap();
    assert!((0..=10).contains(&unheard), "{unheard} settlements were not acknowledged");
    b.writer().settle(house.settlement(long.job_id, 70, 0)).await.unwrap();
    assert!(placed.height < acknowledged.last().unwrap().1.height);
    assert_eq!(house.balance().await.posted, Nanos(1_000_000 - 30 * in_books - 70));
    b_task.shutdown().await;
    town.house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_request_that_a_deposed_writer_leaves_is_kept_by_the_next(pool: PgPool) {
    let mut town = Town::open(pool).await;
    let (a, task) = town.join("a").await;
    town.house.top_up(100, "bank-1").await;
    // What a take-over does, while the writer does not yet know.
    sqlx::query("UPDATE ledger.shards SET epoch = epoch + 1").execute(&town.house.pool).await.unwrap();
    let mut hold = a.writer().hold(town.house.job(10)).await.unwrap();
    hold.durable().await.unwrap();
    assert_eq!(town.house.balance().await.pending, Nanos(10));
    assert_eq!(town.house.count("SELECT epoch FROM ledger.shards").await, 5);
    task.shutdown().await;
    town.house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn an_owner_that_hangs_loses_its_connections_and_its_shard(pool: PgPool) {
    let mut town = Town::open(pool).await;
    // Somebody who owns the shard, holds its locks, and does nothing more.
    let mut hung = town.house.pool.acquire().await.unwrap().detach();
    let statements = "
        SELECT ledger.join_replica('nowhere', '2026-11-23T12:00:00Z');
        SELECT ledger.raise_epoch(0::smallint, 1);
        SELECT pg_advisory_lock(x'4C454447'::integer, 0), pg_advisory_lock(x'5245504C'::integer, 1)";
    sqlx::raw_sql(statements).execute(&mut hung).await.unwrap();

    let (b, task) = town.join("b").await;
    assert!(!b.owns());
    b.ready().await.unwrap_err();
    town.house.top_up(100, "bank-1").await;
    assert!(b.owns());
    assert!(sqlx::raw_sql("SELECT 1").execute(&mut hung).await.is_err(), "its connection was ended");
    assert_eq!(town.house.count("SELECT count(*) FROM ledger.replicas WHERE gone_at IS NULL").await, 1);
    task.shutdown().await;
    town.house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_start_declares_gone_whoever_has_ended_and_nobody_who_lives(pool: PgPool) {
    let mut town = Town::open(pool).await;
    let (a, a_task) = town.join("a").await;
    let (b, b_task) = town.join("b").await;
    town.cut("a", a_task);
    let (c, c_task) = town.join("c").await;
    let mut conn = town.house.pool.acquire().await.unwrap();
    let living = ledger::living_replicas(&mut conn, &[a.id(), b.id(), c.id()]).await.unwrap();
    assert_eq!(living, [b.id(), c.id()]);
    drop(conn);
    town.house.top_up(100, "bank-1").await;
    c_task.shutdown().await;
    b_task.shutdown().await;
    town.house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_replica_that_was_declared_gone_joins_anew_and_serves(pool: PgPool) {
    let mut town = Town::open(pool).await;
    let (a, task) = town.join("a").await;
    let before = a.id();
    let bury = sqlx::query("SELECT ledger.bury($1, $2)").bind(before.0).bind(town.house.clock.now());
    bury.execute(&town.house.pool).await.unwrap();
    eventually("it has another number", async || a.id() != before).await;
    town.house.top_up(100, "bank-1").await;
    assert!(a.owns() && a.id() > before);
    task.shutdown().await;
    town.house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_replica_does_not_start_beside_a_writer_that_serves_nobody_else(pool: PgPool) {
    let house = House::open(pool).await;
    let pace = Pace { start_time_max: Duration::from_millis(300), ..pace() };
    let start = Replica::start(house.pool.clone(), house.clock.clone(), "a".to_owned(), Arc::<Post>::default(), pace);
    assert!(matches!(start.await.err().unwrap(), Error::WriterRunning { shard: 0 }));
    house.close().await;
}
