//! Power cuts: whatever dies under load, the database or the writer, nothing that was acknowledged is lost and nothing is doubled.
//!
//! Three rounds of each run with every test run; `TOKENGRID_CRASH_ROUNDS=200 cargo test -p ledger --test it crash` is the drill.

mod cluster;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use ledger::{BlockRef, Error, JobHold, JobSettlement, TopUp, Writer, WriterTask};
use primitives::id::JobId;
use primitives::money::{Currency, Nanos};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::cluster::Cluster;
use crate::House;

/// Who asks at the same time.
const CALLERS: u32 = 24;
const TOP_UP: i64 = 1_000;
const HOLD: i64 = 10;
const CHARGE: i64 = 7;

/// One request that moves money.
#[derive(Clone, Debug)]
enum Event {
    TopUp(TopUp),
    Hold(JobHold),
    Settle(JobSettlement),
}

impl Event {
    async fn ask(&self, writer: &Writer) -> Result<BlockRef, Error> {
        match self.clone() {
            Self::TopUp(top_up) => writer.top_up(top_up).await,
            Self::Hold(hold) => writer.hold(hold).await?.durable().await,
            Self::Settle(settlement) => writer.settle(settlement).await,
        }
    }
}

/// What the callers were told, and what they were not told.
#[derive(Default)]
struct Told {
    acknowledged: Vec<(Event, BlockRef)>,
    /// Asked, and answered with a failure: it may have happened.
    doubtful: Vec<Event>,
    cycles: u32,
}

/// Callers under way.
struct Load {
    house: House,
    told: Mutex<Told>,
    /// How many events are acknowledged.
    count: watch::Sender<usize>,
    /// True once the callers are to end.
    over: watch::Sender<bool>,
}

impl Load {
    fn new(house: House) -> Arc<Self> {
        let (count, over) = (watch::Sender::new(0), watch::Sender::new(false));
        Arc::new(Self { house, told: Mutex::default(), count, over })
    }

    /// Starts the callers; each goes on until it is told to end, or an answer fails.
    fn start(self: &Arc<Self>, writer: &Writer) -> JoinSet<()> {
        self.over.send_replace(false);
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (load, writer) = (self.clone(), writer.clone());
            callers.spawn(async move { while !*load.over.borrow() && load.cycle(&writer).await {} });
        }
        callers
    }

    /// A top-up, a hold and its settlement; false when one was not acknowledged.
    async fn cycle(&self, writer: &Writer) -> bool {
        let cycle = {
            let mut told = self.told.lock().unwrap();
            told.cycles += 1;
            told.cycles
        };
        let (tenant_id, currency) = (self.house.tenant_id, Currency::USD);
        let top_up = TopUp { tenant_id, amount: Nanos(TOP_UP), currency, reference: format!("bank-{cycle}") };
        let hold = self.house.job(HOLD);
        let settlement = self.house.settlement(hold.job_id, CHARGE, 3);
        self.event(writer, Event::TopUp(top_up)).await
            && self.event(writer, Event::Hold(hold)).await
            && self.event(writer, Event::Settle(settlement)).await
    }

    async fn event(&self, writer: &Writer, event: Event) -> bool {
        let answer = event.ask(writer).await;
        let mut told = self.told.lock().unwrap();
        match answer {
            Ok(block) => {
                told.acknowledged.push((event, block));
                self.count.send_replace(told.acknowledged.len());
                true
            }
            Err(_) => {
                told.doubtful.push(event);
                false
            }
        }
    }

    /// Waits until that many more events are acknowledged, or every caller has failed.
    async fn more(&self, many: usize, callers: &mut JoinSet<()>) {
        let mut count = self.count.subscribe();
        let wanted = *count.borrow() + many;
        tokio::select! {
            _ = count.wait_for(|count| *count >= wanted) => {}
            () = async { while callers.join_next().await.is_some() {} } => {}
        }
    }

    /// Asks again for what is in doubt: it happens now, or is found to have happened.
    async fn resolve(&self, writer: &Writer) {
        let doubtful = std::mem::take(&mut self.told.lock().unwrap().doubtful);
        for event in doubtful {
            assert!(self.event(writer, event).await, "{:?}", self.told.lock().unwrap().doubtful);
        }
    }

    /// Everything that was acknowledged is in the block that was named.
    async fn nothing_is_lost(&self, pool: &PgPool) {
        let acknowledged = self.told.lock().unwrap().acknowledged.iter().map(|(_, block)| *block).collect::<Vec<_>>();
        let blocks: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT height, hash FROM ledger.blocks").fetch_all(pool).await.unwrap();
        let blocks: HashMap<i64, Vec<u8>> = blocks.into_iter().collect();
        for block in acknowledged {
            assert_eq!(blocks.get(&block.height).map(Vec::as_slice), Some(&block.hash[..]), "block {}", block.height);
        }
    }

    /// Everything happened once: asked again, each event names the block it named before, and money and rows add up.
    async fn everything_happened_once(&self, writer: &Writer) {
        let acknowledged = self.told.lock().unwrap().acknowledged.clone();
        let ended = acknowledged.iter().filter_map(|(event, _)| match event {
            Event::Settle(settlement) => Some(settlement.job_id),
            Event::TopUp(_) | Event::Hold(_) => None,
        });
        let ended: HashSet<JobId> = ended.collect();
        for (event, block) in &acknowledged {
            // A hold that was settled is no hold any more.
            if !matches!(event, Event::Hold(hold) if ended.contains(&hold.job_id)) {
                assert_eq!(event.ask(writer).await.unwrap(), *block, "{event:?}");
            }
        }
        let of = |which: fn(&Event) -> bool| acknowledged.iter().filter(|(event, _)| which(event)).count() as i64;
        let (top_ups, holds) =
            (of(|event| matches!(event, Event::TopUp(_))), of(|event| matches!(event, Event::Hold(_))));
        let settled = of(|event| matches!(event, Event::Settle(_)));
        let balance = self.house.balance().await;
        assert_eq!(balance.posted, Nanos(top_ups * TOP_UP - settled * CHARGE));
        assert_eq!(balance.pending, Nanos((holds - settled) * HOLD));
        let groups = self.house.count("SELECT count(*) FROM ledger.transfers WHERE link_id IS NOT NULL").await;
        assert_eq!(groups, acknowledged.len() as i64);
    }
}

/// Books in a cluster of their own, written by the service's role.
async fn open(name: &str) -> (Cluster, House) {
    let cluster = Cluster::start_new(name).await;
    let owner = cluster.connect("owner").await;
    sqlx::migrate!("../migrations").run(&owner).await.unwrap();
    sqlx::raw_sql("CREATE ROLE control_plane LOGIN IN ROLE tokengrid_service").execute(&owner).await.unwrap();
    owner.close().await;
    let house = House::open(cluster.connect("control_plane").await).await;
    (cluster, house)
}

/// A house whose own writer has ended, and a writer that can die without it.
async fn apart(house: House) -> (House, Writer, WriterTask) {
    let House { pool, clock, ids, writer, mut task, tenant_id, provider_id, node_id } = house;
    drop(writer);
    task.wait().await.unwrap();
    let (writer, running) = Writer::start(pool.clone(), clock.clone()).await.unwrap();
    let house = House { pool, clock, ids, writer: writer.clone(), task, tenant_id, provider_id, node_id };
    (house, writer, running)
}

/// How many times something dies.
#[expect(clippy::disallowed_methods, reason = "cargo's test programs have no command line of their own")]
fn rounds() -> usize {
    std::env::var("TOKENGRID_CRASH_ROUNDS")
        .map_or(3, |rounds| rounds.parse().expect("TOKENGRID_CRASH_ROUNDS is a number"))
}

/// Acknowledgements before the cut: another moment each round.
fn moment(round: usize) -> usize {
    40 + round * 37 % 160
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_database_loses_nothing_that_was_acknowledged() {
    let (mut cluster, house) = open("crash-database").await;
    let (pool, writer) = (house.pool.clone(), house.writer.clone());
    let load = Load::new(house);
    let mut gone = 0;
    for round in 0..rounds() {
        let mut callers = load.start(&writer);
        load.more(moment(round), &mut callers).await;
        let seen = load.house.count("SELECT max(height) FROM ledger.blocks").await;
        cluster.kill();
        cluster.start().await;
        load.nothing_is_lost(&cluster.connect("control_plane").await).await;
        let left = load.house.count("SELECT count(*) FROM ledger.blocks").await;
        gone += (seen - left).max(0);

        // The same writer goes on by itself.
        load.more(40, &mut callers).await;
        load.over.send_replace(true);
        while callers.join_next().await.is_some() {}
        load.resolve(&writer).await;
        load.nothing_is_lost(&pool).await;
    }
    println!("{} acknowledged, {} posted blocks that nobody was told of are gone", *load.count.borrow(), gone);
    load.everything_happened_once(&writer).await;
    drop(writer);
    Arc::into_inner(load).expect("the callers have ended").house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_writer_loses_nothing_that_was_acknowledged() {
    let (_cluster, house) = open("crash-writer").await;
    let (pool, clock) = (house.pool.clone(), house.clock.clone());
    let (house, mut writer, mut task) = apart(house).await;
    let load = Load::new(house);
    for round in 0..rounds() {
        let mut callers = load.start(&writer);
        load.more(moment(round), &mut callers).await;
        // Dropped, it stops in the middle of what it does.
        drop(task);
        while callers.join_next().await.is_some() {}
        (writer, task) = Writer::start(pool.clone(), clock.clone()).await.unwrap();
        load.nothing_is_lost(&pool).await;
        load.resolve(&writer).await;
    }
    load.everything_happened_once(&writer).await;
    task.shutdown().await.unwrap();
    let found = ledger::proof::verify(&mut pool.acquire().await.unwrap(), |_, _| {}).await.unwrap();
    assert!(found.passed(), "{found:?}");
}
