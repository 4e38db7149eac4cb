//! A node whose serving part dies or sticks: its jobs go on elsewhere at once, and it comes back by itself.

use tests::client::{ask, ask_at_length, streamed};
use tests::node::NodeSettings;
use tests::system::TestSystem;
use tests::wait::eventually;

#[tokio::test]
async fn when_the_serving_part_aborts_its_stream_goes_on_elsewhere_and_the_node_comes_back() {
    let slow = NodeSettings::default().tokens_per_second_max(20);
    let mut system = TestSystem::builder().node(slow.clone()).start().await;
    let question = ask_at_length().max_tokens(60);
    let expected = system.client().chat(&question).await.ok().text().to_owned();
    let mut stream = system.client().stream(&streamed(&question)).await;
    let begun = stream.text_of(5).await;
    system.add_node(&NodeSettings::default()).await;
    let part = system.nodes[0].program.logged("serving part started", 1).await["process.id"].as_u64().unwrap();
    system.nodes[0].program.abort_part(part);
    let rest = stream.rest().await;
    assert_eq!((begun + &rest.text, rest.done), (expected, true));
    assert_eq!(rest.usage.unwrap()["completion_tokens"], 60);

    let again = system.nodes[0].program.logged("serving part started", 2).await;
    assert_eq!(again["restarts"], 1);
    system.nodes[0].program.logged("connected", 2).await;
    // It serves again: of two nodes it is the only one left.
    system.nodes[1].program.terminate();
    assert!(system.nodes[1].program.ended().await.success());
    system.client().chat(&ask("What is 12 + 30?")).await.ok();
    system.nodes[0].program.terminate();
    assert!(system.nodes[0].program.ended().await.success());
    system.end().await;
}

#[tokio::test]
async fn a_step_that_does_not_end_costs_the_serving_part_its_process_and_no_job_its_answer() {
    // Every step of a long prompt takes longer than this.
    let hasty = NodeSettings::default().step_ms_max(1);
    let mut system = TestSystem::builder().node(hasty).start().await;
    let client = system.client();
    let question = ask(&"Say it in a single word. ".repeat(30)).max_tokens(5);
    let asking = async { client.chat(&question).await };
    let helping = async {
        system.nodes[0].program.logged("a step of the engine does not end, the process does", 1).await;
        system.nodes[0].program.logged("serving part died, it is started again", 1).await;
        system.add_node(&NodeSettings::default()).await;
    };
    let (answer, ()) = tokio::join!(asking, helping);
    answer.ok();
    eventually("it comes back each time", async || (system.nodes[0].program.count("connected") > 1).then_some(()))
        .await;
    // It would stick again.
    system.nodes[0].program.kill().await;
    system.end().await;
}
