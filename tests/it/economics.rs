//! Token economics of a system that runs: real jobs on a real node, its capacity told by its presence.

use api::worker::report_capacity;
use broker::presence::{self, ModelShare, Presence};
use chrono::{DateTime, TimeDelta, Utc};
use ledger::{Month, TopUp, Writer};
use primitives::clock::Clock;
use primitives::id::{NodeId, ProviderId};
use primitives::money::{Currency, Nanos};
use serde_json::{Value, json};
use sqlx::PgPool;
use tests::books;
use tests::client::{MODEL, ask};
use tests::node::NodeSettings;
use tests::system::TestSystem;
use uuid::Uuid;

/// What the ledger has: facts, their groups, their time in microseconds, whether each is of the whole node, and its capacity.
const REPORTED: &str =
    "SELECT count(*), count(DISTINCT seq), sum(extract(epoch FROM to_at - from_at) * 1000000)::bigint,
        bool_and(share_ppm = 1000000), min(rcu_milli)
    FROM ledger.capacity_facts";
/// Every report with what of the node its facts are together.
const ALL_FACTS: &str =
    "SELECT from_at, to_at, sum(share_ppm) FROM ledger.capacity_facts GROUP BY from_at, to_at ORDER BY from_at";

#[tokio::test]
async fn a_job_on_a_real_node_is_productive_once_its_hour_is_reported() {
    // A gift pays before money does, and earns nothing.
    let mut system = TestSystem::builder().credit("0.000000001").node(NodeSettings::default()).start().await;
    let (began, mut database) = (Clock::system().now(), system.database().await);
    stop(&mut system).await;
    let (tenant_id, currency, reference) =
        (books::demo_tenant(&mut database).await, Currency::USD, "bank-1".to_owned());
    let paid = TopUp { tenant_id, amount: Nanos(1_000_000), currency, reference };
    with_writer(&system, &Clock::system(), async |_, writer| writer.top_up(paid).await.unwrap()).await;
    system.restart_control_plane().await;
    system.nodes[0].program.logged("connected", 2).await;
    system.client().chat(&ask("What is 12 + 30?").max_tokens(20)).await.ok();
    system.settled().await;
    // Who was there is told every few seconds, and at the end.
    stop(&mut system).await;

    let month = Month::of(began);
    let name = month.to_string();
    let report = economics(&system, month).await;
    assert_eq!(report["passed_through"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["identity"][&name]["R_productive_usd"], "0.000000000", "{report}");

    // The next hour, a little later.
    let clock = Clock::manual(Clock::system().now() + TimeDelta::minutes(63));
    let mut posted = vec![];
    for _ in 0..2 {
        let run =
            with_writer(&system, &clock, async |pool, writer| report_capacity(pool, &clock, writer).await.unwrap());
        posted.push(i64::try_from(run.await).unwrap());
    }
    let [posted, nothing] = posted[..] else { unreachable!("two runs") };
    assert!(posted > 0 && nothing == 0, "{posted} {nothing}");
    let (facts, groups, us, whole, rcu): (i64, i64, i64, bool, i32) =
        sqlx::query_as(REPORTED).fetch_one(&mut database).await.unwrap();
    assert_eq!((facts, groups, whole), (posted, posted, true));
    let present = "SELECT sum(extract(epoch FROM to_at - from_at) * 1000000)::bigint FROM broker.presences";
    assert_eq!(us, books::number(&mut database, present).await, "all that the node was there for, and no more");
    let threads = books::number(&mut database, "SELECT (descriptor->>'threads')::bigint FROM broker.nodes").await;
    assert_eq!(i64::from(rcu), threads * 1_000);

    let report = economics(&system, month).await;
    let charged = books::number(&mut database, "SELECT sum(charge_nanos)::bigint FROM broker.jobs").await;
    let earned = format!("0.{:09}", charged - 1);
    let identity = &report["identity"][&name];
    assert!(charged > 1 && report["passed_through"] == json!([]), "{report}");
    assert_eq!((&identity["R_productive_usd"], &identity["product_usd"]), (&json!(earned), &json!(earned)), "{report}");
    assert_eq!(report["buckets"][&name]["LEDGER_REVENUE"], json!(earned), "{report}");
    assert_eq!(report["slices"][0]["model"], MODEL, "{report}");
    let scale = identity["S_iu_rcu_h"]["frac"].as_str().unwrap().split_once('/').unwrap();
    let [parts, of] = [scale.0, scale.1].map(|number| number.parse::<i128>().unwrap());
    assert_eq!(parts * 3_600_000_000, of * i128::from(us) * i128::from(threads), "every thread is one reference unit");
    system.end().await;
}

#[tokio::test]
async fn every_hour_is_reported_once_however_late_and_however_often() {
    let mut system = TestSystem::builder().start().await;
    stop(&mut system).await;
    let mut database = system.database().await;
    let began: DateTime<Utc> = "2031-05-01T09:40:00Z".parse().unwrap();
    let at = |minutes| began + TimeDelta::minutes(minutes);
    let there = |from, to| Presence {
        node_id: NodeId(Uuid::from_u128(7)),
        provider_id: ProviderId(Uuid::from_u128(8)),
        from_at: at(from),
        to_at: at(to),
        rcu_milli: 4_000,
        shares: [("a", 250_000), ("b", 750_000)]
            .map(|(model, share_ppm)| ModelShare { model: model.into(), share_ppm })
            .into(),
    };
    // At one minute past ten the first hour is over, but not for long enough; the last two are reported late.
    let runs = [(0, 21, 21, 0), (21, 81, 81, 1), (81, 81, 83, 1), (81, 190, 205, 2), (190, 190, 300, 0)];
    for (from, to, now, wanted) in runs {
        let clock = Clock::manual(at(now));
        let posted = with_writer(&system, &clock, async |pool, writer| {
            presence::extend(pool, &[there(from, to)]).await.unwrap();
            report_capacity(pool, &clock, writer).await.unwrap()
        });
        assert_eq!(posted.await, wanted, "{now} minutes after it began");
    }
    // Whoever died before the marks were set does it all again, and nothing comes of it.
    let facts: Vec<(DateTime<Utc>, DateTime<Utc>, i64)> =
        sqlx::query_as(ALL_FACTS).fetch_all(&mut database).await.unwrap();
    let hour = |from, to| (at(from), at(to), 1_000_000);
    assert_eq!(facts, [hour(0, 20), hour(20, 80), hour(80, 140), hour(140, 190)]);
    sqlx::query("UPDATE broker.presences SET reported_to = from_at").execute(&mut database).await.unwrap();
    let clock = Clock::manual(at(901));
    with_writer(&system, &clock, async |pool, writer| report_capacity(pool, &clock, writer).await.unwrap()).await;
    let again: Vec<(DateTime<Utc>, DateTime<Utc>, i64)> =
        sqlx::query_as(ALL_FACTS).fetch_all(&mut database).await.unwrap();
    assert_eq!(again, facts);
    assert_eq!(books::number(&mut database, "SELECT count(*) FROM ledger.capacity_facts").await, 8);
    system.end().await;
}

/// Ends the control plane as a service manager would.
async fn stop(system: &mut TestSystem) {
    system.control_plane.program.terminate();
    assert!(system.control_plane.program.ended().await.success());
}

/// Does something with a writer while no control plane runs.
async fn with_writer<T>(system: &TestSystem, clock: &Clock, work: impl AsyncFnOnce(&PgPool, &Writer) -> T) -> T {
    let environment = system.environment();
    let (_, url) = environment.iter().find(|(name, _)| name == "DATABASE_URL").unwrap();
    let pool = PgPool::connect(url).await.unwrap();
    let (writer, task) = Writer::start(pool.clone(), clock.clone()).await.unwrap();
    let done = work(&pool, &writer).await;
    task.shutdown().await.unwrap();
    pool.close().await;
    done
}

async fn economics(system: &TestSystem, month: Month) -> Value {
    let (ended, printed) = system.tokengrid(&["economics", "--json", "--period", &month.to_string()]).await;
    assert!(ended, "{printed}");
    serde_json::from_str(&printed).unwrap()
}
