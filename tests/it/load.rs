//! More than a node takes: callers are told when to come back, and what can wait gives way to what cannot.

use serde_json::json;
use tests::books;
use tests::client::{ask, ask_at_length, streamed};
use tests::model;
use tests::node::NodeSettings;
use tests::system::TestSystem;

#[tokio::test]
async fn above_the_declared_load_a_request_is_refused_with_the_time_to_come_back() {
    let declaring = NodeSettings::default().slots(1).tokens_per_second_max(20).turn_ms_max(100);
    let system = TestSystem::builder().node(declaring).start().await;
    let client = system.client();
    // It learns how long a job takes: a second, about.
    client.chat(&ask_at_length().max_tokens(20)).await.ok();
    let mut running = client.stream(&streamed(&ask_at_length().max_tokens(60))).await;
    running.text_of(1).await;
    let refused = client.chat(&ask("What is 12 + 30?")).await;
    assert_eq!((refused.status, refused.body["error"]["code"].as_str()), (429, Some("overloaded")), "{}", refused.body);
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&seconds), "{seconds}");
    let whole = running.rest().await;
    assert!(whole.done);
    client.chat(&ask("What is 12 + 30?")).await.ok();
    system.settled().await;
    let held = "SELECT count(*) FROM broker.jobs WHERE status = 'failed' AND error_code = 'overloaded'";
    assert_eq!(books::number(&mut system.database().await, held).await, 1);
    system.end().await;
}

#[tokio::test]
async fn a_long_batch_job_on_a_full_node_gives_way_to_a_request_that_somebody_waits_for() {
    let narrow = NodeSettings::default().slots(1).tokens_per_second_max(20);
    let system = TestSystem::builder().node(narrow).start().await;
    let client = system.client();
    let question = ask_at_length().max_tokens(60);
    let expected = client.chat(&question).await.ok().text().to_owned();
    let mut batch = client.stream(&streamed(&question).with("service_tier", "flex")).await;
    let begun = batch.text_of(2).await;
    // Fifty-eight tokens of the batch job are left, nearly three seconds of the only slot.
    let urgent = client.chat(&ask("What is 12 + 30?").max_tokens(1)).await;
    assert_eq!(urgent.ok().usage()["completion_tokens"], 1);
    let mut database = system.database().await;
    let running = "SELECT count(*) FROM broker.jobs WHERE class = 'batch' AND ended_at IS NULL";
    assert_eq!(books::number(&mut database, running).await, 1, "it was answered while the batch job had not ended");
    drop(database);
    let rest = batch.rest().await;
    assert_eq!((begun + &rest.text, rest.done), (expected, true), "the batch job goes on where it was");
    assert_eq!(rest.usage.unwrap()["completion_tokens"], 60);
    let refused = client.chat(&ask("Hi").with("service_tier", json!("scale"))).await;
    assert_eq!((refused.status, refused.body["error"]["param"].as_str()), (400, Some("service_tier")));
    system.end().await;
}

#[tokio::test]
async fn one_node_serves_models_that_its_memory_does_not_hold_together() {
    let mut system = TestSystem::builder().start().await;
    system.seed_model(&model::embedding_folder()).await;
    let both = NodeSettings::default().besides(model::embedding_folder()).memory_mib(700);
    system.add_node(&both.slots(2).tokens_per_second_max(20)).await;
    let client = system.client();
    let question = ask("What is 12 + 30?");
    let texts = json!({"model": "tiny-bert", "input": "the cat sat"});
    let answer = client.chat(&question).await.ok().text().to_owned();
    let vector = client.embed(&texts).await.ok().body["data"].clone();
    system.nodes[0].program.logged("model unloaded", 1).await;
    // While it is being answered from, the other has to wait.
    let mut running = client.stream(&streamed(&ask_at_length().max_tokens(30))).await;
    running.text_of(1).await;
    system.nodes[0].program.logged("model unloaded", 2).await;
    let embedding = client.embed(&texts);
    let (whole, embedded) = tokio::join!(running.rest(), embedding);
    assert!(whole.done);
    assert_eq!(embedded.ok().body["data"], vector);
    assert_eq!(client.chat(&question).await.ok().text(), answer);
    system.nodes[0].program.logged("model unloaded", 4).await;
    system.end().await;
}
