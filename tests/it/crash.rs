//! Power cuts: whatever dies, in the middle of whatever, the books balance and what was answered is billed once.

use std::collections::BTreeMap;

use primitives::id::NodeId;
use sqlx::PgConnection;
use tests::books;
use tests::client::{ask, ask_at_length, streamed};
use tests::node::NodeSettings;
use tests::system::TestSystem;
use tests::wait::eventually;
use tokio::task::JoinSet;

#[tokio::test]
async fn a_killed_control_plane_voids_what_was_unfinished_and_goes_on() {
    let slow = NodeSettings::default().tokens_per_second_max(20);
    let mut system = TestSystem::builder().node(slow).start().await;
    let finished = system.client().chat(&ask("What is 12 + 30?").max_tokens(5)).await.ok();
    let mut streams = vec![];
    for _ in 0..3 {
        let mut stream = system.client().stream(&streamed(&ask_at_length().max_tokens(400))).await;
        stream.text_of(5).await;
        streams.push(stream);
    }

    system.kill_control_plane().await;
    for stream in streams {
        let cut = stream.rest().await;
        assert!(cut.broke && !cut.done, "a cut stream must not look whole");
    }
    system.restart_control_plane().await;

    // Nothing of the dead run is open any more before the first request can come.
    let mut database = system.database().await;
    let jobs = books::jobs(&mut database).await;
    let tenant = books::demo_tenant(&mut database).await;
    let balance = books::balance(&mut database, tenant).await;
    assert_eq!(jobs[0].job_id.to_string(), finished.id());
    let paid = jobs[0].charge_nanos.unwrap();
    assert!(jobs[0].status == "done" && paid > 0, "{:?}", jobs[0]);
    for job in &jobs[1..] {
        assert_eq!((job.status.as_str(), job.charge_nanos), ("voided", Some(0)), "{job:?}");
    }
    assert_eq!((jobs.len(), balance), (4, books::Balance { posted: 25_000_000_000 - paid, pending: 0 }));
    system.balanced().await;

    // The node finds its way back by itself and has forgotten the lost work.
    system.nodes[0].program.logged("connected", 2).await;
    let again = system.client().chat(&ask("What is 12 + 30?").max_tokens(5)).await.ok();
    assert_eq!(again.text(), finished.text());
    system.end().await;
}

#[tokio::test]
async fn whatever_was_answered_before_each_of_three_power_cuts_is_billed_once() {
    let slow = NodeSettings::default().tokens_per_second_max(40);
    let mut system = TestSystem::builder().node(slow).start().await;
    let mut answered = BTreeMap::new();
    for (round, answers) in [1, 12, 30].into_iter().enumerate() {
        answer_until_a_cut(&mut system, &mut answered, answers).await;
        system.restart_control_plane().await;
        system.nodes[0].program.logged("connected", round + 2).await;
    }
    let mut database = system.database().await;
    for (id, tokens) in &answered {
        let job = books::job(&mut database, id).await;
        assert_eq!((job.status.as_str(), job.output_tokens), ("done", Some(*tokens)), "{job:?}");
    }
    let voided = "SELECT count(*) FROM broker.jobs WHERE status = 'voided'";
    assert!(books::number(&mut database, voided).await > 0, "the cuts came too late to tell anything");
    system.end().await;
}

/// Asks for 60 outputs at once, cuts the power after so many answers, and notes every answer that came.
async fn answer_until_a_cut(system: &mut TestSystem, answered: &mut BTreeMap<String, i64>, answers: usize) {
    let (client, mut asking) = (system.client(), JoinSet::new());
    for number in 0..60 {
        // From 2 to 61 tokens: they end one after the other, while others begin.
        let (client, question) = (client.clone(), ask_at_length().max_tokens(2 + number));
        asking.spawn(async move { client.try_chat(&question).await });
    }
    let mut came = 0;
    while let Some(answer) = asking.join_next().await {
        let Some(answer) = answer.unwrap() else { continue };
        let answer = answer.ok();
        answered.insert(answer.id().to_owned(), answer.usage()["completion_tokens"].as_i64().unwrap());
        came += 1;
        if came == answers {
            system.kill_control_plane().await;
        }
    }
    assert!((answers..60).contains(&came), "{came} of 60 were answered");
}

#[tokio::test]
async fn a_control_plane_that_is_told_to_stop_settles_what_runs() {
    let slow = NodeSettings::default().tokens_per_second_max(40);
    let mut system = TestSystem::builder().node(slow).start().await;
    let mut stream = system.client().stream(&streamed(&ask_at_length().max_tokens(100))).await;
    stream.text_of(5).await;

    system.control_plane.program.terminate();
    let whole = stream.rest().await;
    assert!(whole.done && whole.error.is_none() && !whole.broke, "{whole:?}");
    assert_eq!(whole.finish_reason.as_deref(), Some("length"));
    let status = system.control_plane.program.ended().await;
    assert!(status.success(), "{status}");

    let job = books::job(&mut system.database().await, &whole.id).await;
    assert_eq!((job.status.as_str(), job.output_tokens), ("done", Some(100)));
    system.balanced().await;
}

#[tokio::test]
async fn a_killed_node_is_replaced_in_mid_stream_and_every_token_is_billed_once() {
    let slow = NodeSettings::default().tokens_per_second_max(40);
    let mut system = TestSystem::builder().node(slow.clone()).node(slow).start().await;
    let question = ask_at_length().max_tokens(120);
    let undisturbed = system.client().chat(&question).await.ok();

    let mut stream = system.client().stream(&streamed(&question)).await;
    let beginning = stream.text_of(10).await;
    let mut database = system.database().await;
    let working = working_node(&mut database).await;
    let node = system.nodes.iter_mut().find(|node| node.id == working).unwrap();
    node.program.kill().await;

    let rest = stream.rest().await;
    assert!(rest.done && rest.error.is_none(), "{rest:?}");
    assert_eq!(beginning + &rest.text, undisturbed.text());
    assert_eq!(rest.usage.as_ref(), Some(undisturbed.usage()));
    assert_eq!(books::leases(&mut database, &rest.id).await, 2);
    let (whole, cut) = (books::job(&mut database, undisturbed.id()).await, books::job(&mut database, &rest.id).await);
    assert_eq!(whole.charge_nanos, cut.charge_nanos, "a job costs the same however many nodes made it");
    system.end().await;
}

#[tokio::test]
async fn a_node_that_is_told_to_stop_ends_its_work_first() {
    let slow = NodeSettings::default().tokens_per_second_max(40);
    let mut system = TestSystem::builder().node(slow).start().await;
    let mut stream = system.client().stream(&streamed(&ask_at_length().max_tokens(80))).await;
    stream.text_of(5).await;
    system.nodes[0].program.terminate();
    let whole = stream.rest().await;
    assert!(whole.done && whole.error.is_none(), "{whole:?}");
    assert!(system.nodes[0].program.ended().await.success());
    assert_eq!(books::leases(&mut system.database().await, &whole.id).await, 1);
    let client = system.client();
    eventually("the model was no longer available", async || {
        let models = client.get("/v1/models").await.ok().body;
        (models["data"][0]["available"] == false).then_some(())
    })
    .await;
    system.end().await;
}

#[tokio::test]
async fn a_control_plane_that_loses_its_database_connections_goes_on_without_losing_money() {
    let slow = NodeSettings::default().tokens_per_second_max(20);
    let system = TestSystem::builder().node(slow).start().await;
    let client = system.client();
    let mut stream = client.stream(&streamed(&ask_at_length().max_tokens(60))).await;
    stream.text_of(3).await;

    let mut database = system.database().await;
    let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert!(books::number(&mut database, others).await > 0);

    // What runs ends well or is said to have failed; what comes next is served as soon as a connection is back.
    let ended = stream.rest().await;
    assert!(ended.done && !ended.broke, "{ended:?}");
    let question = ask("What is 12 + 30?").max_tokens(5);
    eventually("requests were served again", async || (client.chat(&question).await.status == 200).then_some(())).await;
    system.end().await;
}

/// The node that holds the only open lease.
async fn working_node(database: &mut PgConnection) -> String {
    let open = sqlx::query_scalar::<_, NodeId>("SELECT node_id FROM broker.leases WHERE ended_at IS NULL");
    open.fetch_one(database).await.unwrap().to_string()
}
