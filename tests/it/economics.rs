//! Token economics of a system that runs: real jobs on a real node, its capacity told by its presence.

use api::worker::report_capacity;
use chrono::TimeDelta;
use ledger::{Month, TopUp, Writer};
use primitives::clock::Clock;
use primitives::money::{Currency, Nanos};
use serde_json::{Value, json};
use sqlx::PgPool;
use tests::books;
use tests::client::{MODEL, ask};
use tests::node::NodeSettings;
use tests::system::TestSystem;
use tests::wait::eventually;

/// What the ledger has: facts, their groups, their time in microseconds, whether each is of the whole node, and its capacity.
const REPORTED: &str =
    "SELECT count(*), count(DISTINCT seq), sum(extract(epoch FROM to_at - from_at) * 1000000)::bigint,
        bool_and(share_ppm = 1000000), min(rcu_milli)
    FROM ledger.capacity_facts";

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
    eventually("the node is back", async || {
        let models = system.client().get("/v1/models").await;
        (models.status == 200 && !models.body["data"].as_array()?.is_empty()).then_some(())
    })
    .await;
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
