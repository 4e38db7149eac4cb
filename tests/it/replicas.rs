//! Replicas of the control plane: each of them sells, one of them writes the books, and another goes on when that one ends.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use ledger::{JobHold, Writer};
use primitives::clock::Clock;
use primitives::id::JobId;
use primitives::money::{Currency, Nanos};
use sqlx::PgConnection;
use tests::books;
use tests::client::{ask, ask_at_length, streamed};
use tests::node::NodeSettings;
use tests::system::TestSystem;
use tests::wait::eventually;
use tokio::task::JoinSet;
use uuid::Uuid;

/// What a replica logs when its writer takes the shard.
const TOOK: &str = "the ledger's writer took its shard";

#[tokio::test]
async fn a_replica_goes_on_with_the_ledger_when_its_owner_is_killed_under_load() {
    let slow = NodeSettings::default().tokens_per_second_max(40);
    let mut system = TestSystem::builder().node(slow.clone()).start().await;
    let mut other = system.add_replica(&slow).await;
    let (by_owner, by_other) = (system.client(), system.client_of(&other));
    let mut database = system.database().await;

    // Sold by one replica, booked by the other.
    assert_eq!(by_other.get("/readyz").await.status, 200);
    let first = by_other.chat(&ask("What is 12 + 30?").max_tokens(5)).await.ok();
    let paid = books::job(&mut database, first.id()).await;
    assert!(paid.status == "done" && paid.charge_nanos > Some(0), "{paid:?}");
    assert_eq!((system.control_plane.program.count(TOOK), other.program.count(TOOK)), (1, 0));

    let mut streams = vec![];
    for _ in 0..3 {
        let mut stream = by_owner.stream(&streamed(&ask_at_length().max_tokens(400))).await;
        stream.text_of(5).await;
        streams.push(stream);
    }
    let mut asking = JoinSet::new();
    for number in 0..48 {
        // From 2 to 49 tokens: they end one after the other, at both replicas.
        let of_owner = number % 2 == 0;
        let client = if of_owner { by_owner.clone() } else { by_other.clone() };
        let question = ask_at_length().max_tokens(2 + number);
        asking.spawn(async move { (of_owner, client.try_chat(&question).await) });
    }
    let (mut answered, mut cut) = (BTreeMap::new(), 0);
    while let Some(answer) = asking.join_next().await {
        match answer.unwrap() {
            (_, Some(answer)) => {
                let answer = answer.ok();
                answered.insert(answer.id().to_owned(), answer.usage()["completion_tokens"].as_i64().unwrap());
                if answered.len() == 10 {
                    system.kill_control_plane().await;
                }
            }
            (of_owner, None) => {
                assert!(of_owner, "whoever asks the living replica is answered");
                cut += 1;
            }
        }
    }
    assert!(cut > 0, "the owner died too late to tell anything");
    other.program.logged(TOOK, 1).await;
    for stream in streams {
        let rest = stream.rest().await;
        assert!(rest.broke && !rest.done, "a cut stream must not look whole");
    }

    // Everything that was answered is billed once; what the dead one left costs nothing, and frees its money by itself.
    system.settled().await;
    for (id, tokens) in &answered {
        let job = books::job(&mut database, id).await;
        assert_eq!((job.status.as_str(), job.output_tokens), ("done", Some(*tokens)), "{job:?}");
    }
    assert!(voided(&mut database).await >= 3 && leases_of_the_dead(&mut database).await >= 3);
    assert_eq!(by_other.get("/readyz").await.status, 200);
    by_other.chat(&ask("What is 12 + 30?").max_tokens(5)).await.ok();
    system.end().await;
}

#[tokio::test]
async fn a_replica_that_is_told_to_stop_hands_the_ledger_over() {
    let slow = NodeSettings::default().tokens_per_second_max(40);
    let mut system = TestSystem::builder().node(slow.clone()).start().await;
    let mut other = system.add_replica(&slow).await;
    let (mut stream, mut at_other) = (
        system.client().stream(&streamed(&ask_at_length().max_tokens(60))).await,
        system.client_of(&other).stream(&streamed(&ask_at_length().max_tokens(90))).await,
    );
    stream.text_of(5).await;
    at_other.text_of(5).await;

    system.control_plane.program.terminate();
    for whole in [stream.rest().await, at_other.rest().await] {
        assert!(whole.done && whole.error.is_none() && !whole.broke, "{whole:?}");
    }
    assert!(system.control_plane.program.ended().await.success());
    other.program.logged(TOOK, 1).await;
    let mut database = system.database().await;
    let living = "SELECT count(*) FROM ledger.replicas WHERE gone_at IS NULL";
    assert_eq!((books::number(&mut database, living).await, voided(&mut database).await), (1, 0));
    system.client_of(&other).chat(&ask("What is 12 + 30?").max_tokens(5)).await.ok();
    system.end().await;
}

#[tokio::test]
async fn a_replica_that_hangs_loses_the_ledger_and_comes_back_as_another() {
    let slow = NodeSettings::default().tokens_per_second_max(20);
    let mut system = TestSystem::builder().node(slow.clone()).start().await;
    let other = system.add_replica(&slow).await;
    let (by_owner, by_other) = (system.client(), system.client_of(&other));
    let mut stream = by_owner.stream(&streamed(&ask_at_length().max_tokens(400))).await;
    stream.text_of(5).await;
    system.control_plane.program.pause();

    // Whoever asks the living one waits for the take-over, and is served.
    let answer = by_other.chat(&ask("What is 12 + 30?").max_tokens(5)).await.ok();
    let mut database = system.database().await;
    assert_eq!(books::job(&mut database, answer.id()).await.status, "done");
    system.settled().await;
    assert_eq!(voided(&mut database).await, 1, "what the other one ran is voided while it hangs");

    system.control_plane.program.resume();
    let cut = stream.rest().await;
    assert!(cut.error.is_some(), "a stream whose job was voided must not look paid: {cut:?}");
    let living = "SELECT count(*) FROM ledger.replicas WHERE gone_at IS NULL";
    eventually("it joined anew", async || (books::number(&mut database, living).await == 2).then_some(())).await;
    eventually("it serves", async || (by_owner.get("/readyz").await.status == 200).then_some(())).await;
    // Its node may have left, and comes back.
    let question = ask("What is 12 + 30?").max_tokens(5);
    eventually("it sells", async || (by_owner.chat(&question).await.status == 200).then_some(())).await;
    assert_eq!((system.control_plane.program.count(TOOK), other.program.count(TOOK)), (1, 1));
    system.end().await;
}

#[tokio::test]
async fn a_hold_that_came_after_its_job_was_given_up_is_voided() {
    let mut system = TestSystem::start().await;
    system.client().chat(&ask("What is 12 + 30?").max_tokens(5)).await.ok();
    system.kill_control_plane().await;
    let mut database = system.database().await;
    let (job_id, tenant_id) = (JobId(Uuid::from_u128(7)), books::demo_tenant(&mut database).await);
    let given_up = "INSERT INTO broker.jobs
        SELECT (jsonb_populate_record(j, jsonb_build_object('job_id', $1, 'status', 'failed', 'charge_nanos', 0,
            'output_tokens', 0, 'idempotency_key', NULL))).* FROM broker.jobs j LIMIT 1";
    sqlx::query(given_up).bind(job_id.0).execute(&mut database).await.unwrap();
    let clock = Clock::system();
    let (writer, task) = Writer::start(system.pool().await, clock.clone()).await.unwrap();
    let expires_at = clock.now() + TimeDelta::hours(1);
    let hold = JobHold { job_id, tenant_id, currency: Currency::USD, amount: Nanos(500), expires_at };
    writer.hold(hold).await.unwrap().durable().await.unwrap();
    drop(writer);
    task.shutdown().await.unwrap();
    assert_eq!(books::balance(&mut database, tenant_id).await.pending, 500);

    system.restart_control_plane().await;
    assert_eq!(books::balance(&mut database, tenant_id).await.pending, 0);
    system.end().await;
}

async fn voided(database: &mut PgConnection) -> i64 {
    books::number(database, "SELECT count(*) FROM broker.jobs WHERE status = 'voided'").await
}

async fn leases_of_the_dead(database: &mut PgConnection) -> i64 {
    books::number(database, "SELECT count(*) FROM broker.leases WHERE outcome = 'abandoned'").await
}
