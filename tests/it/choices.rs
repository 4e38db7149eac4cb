//! Several choices of one request: each drawn by itself, the prompt charged once, and all or none.

use primitives::node_protocol::FinishReason;
use serde_json::{Value, json};
use tests::books::{self, Balance, JobRow};
use tests::client::{Answer, ask, ask_at_length, streamed};
use tests::fake_node::{FakeNode, Lease};
use tests::node::NodeSettings;
use tests::system::TestSystem;

/// Nano-dollars for a token of the demo model.
const INPUT: i64 = 100;
const OUTPUT: i64 = 400;

#[tokio::test]
async fn choices_differ_by_their_seeds_and_the_prompt_is_charged_once() {
    let system = TestSystem::start().await;
    let client = system.client();
    // Drawn almost evenly, so that two draws are never the same.
    let alone = ask("你好 🎉 \u{0}\u{202e}").max_tokens(30).with("temperature", 2.0).with("seed", 7);
    let three = alone.clone().with("n", 3);
    let answer = client.chat(&three).await.ok();
    let choices = answer.body["choices"].as_array().unwrap();
    let indices: Vec<_> = choices.iter().map(|choice| choice["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1, 2]);
    let texts: Vec<_> = choices.iter().map(|choice| choice["message"]["content"].as_str().unwrap()).collect();
    assert!(texts[0] != texts[1] && texts[1] != texts[2], "{texts:?}");

    let jobs = books::jobs(&mut system.database().await).await;
    let usage = answer.usage();
    let (prompt, output) = (jobs[0].prompt_tokens, jobs.iter().map(|job| job.output_tokens.unwrap()).sum::<i64>());
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(prompt), &json!(output)));
    assert_eq!(jobs.len(), 3);
    let charges: i64 = jobs.iter().map(|job| job.charge_nanos.unwrap()).sum();
    assert_eq!(charges, prompt * INPUT + output * OUTPUT);
    assert_eq!(answer.id(), jobs[0].job_id.to_string(), "the request is known by its first choice");

    let job = |id: &str| json!({"id": id});
    let told =
        client.graphql("query($id: ID!) { job(id: $id) { firstJobId } }", job(&jobs[2].job_id.to_string())).await;
    assert_eq!(told["data"]["job"]["firstJobId"], json!(answer.id()), "{told}");

    a_stream_tells_each_choice_by_its_index(&system, &three).await;
    a_request_repeated_under_its_key_tells_all_choices(&system, &three).await;
    system.end().await;
}

async fn a_stream_tells_each_choice_by_its_index(system: &TestSystem, chat: &tests::client::Chat) {
    let mut stream = system.client().stream(&streamed(chat)).await;
    let (mut ends, mut roles, mut usage) = (vec![], vec![], None);
    let mut order = vec![];
    while let Some(event) = stream.next().await.unwrap() {
        if let Some(choice) = event["choices"].get(0) {
            let index = choice["index"].as_u64().unwrap();
            if choice["delta"]["role"].is_string() {
                roles.push(index);
            }
            if choice["delta"]["content"].as_str().is_some_and(|text| !text.is_empty()) {
                order.push(index);
            }
            if choice["finish_reason"].is_string() {
                ends.push(index);
            }
        }
        if event["usage"].is_object() {
            usage = Some(event["usage"].clone());
        }
    }
    ends.sort_unstable();
    assert_eq!((roles, ends), (vec![0, 1, 2], vec![0, 1, 2]));
    assert!(order.windows(2).filter(|pair| pair[0] != pair[1]).count() > 2, "they come together: {order:?}");
    let usage = usage.unwrap();
    assert!(usage["completion_tokens"].as_u64().unwrap() > 3, "{usage}");
}

async fn a_request_repeated_under_its_key_tells_all_choices(system: &TestSystem, chat: &tests::client::Chat) {
    let keyed = system.client().with_idempotency_key("three-of-a-kind");
    let first = keyed.chat(chat).await.ok();
    let jobs = books::jobs(&mut system.database().await).await.len();
    let again = keyed.chat(chat).await.ok();
    assert_eq!((again.header("idempotent-replay"), again.id()), (Some("true"), first.id()));
    let count = |answer: &Answer| answer.body["choices"].as_array().unwrap().len();
    assert_eq!((count(&again), again.usage()), (count(&first), first.usage()));
    assert_eq!(books::jobs(&mut system.database().await).await.len(), jobs);
}

#[tokio::test]
async fn choices_that_cannot_all_be_paid_are_all_refused() {
    // Enough for one answer of 50 tokens and not for three.
    let system = TestSystem::builder().credit("0.00004").node(NodeSettings::default()).start().await;
    let client = system.client();
    let refused = client.chat(&ask_at_length().max_tokens(50).with("n", 3)).await;
    assert_eq!((refused.status, refused.code()), (402, "insufficient_funds"), "{}", refused.body);
    system.settled().await;
    let mut database = system.database().await;
    let tenant = books::demo_tenant(&mut database).await;
    assert_eq!(books::balance(&mut database, tenant).await, Balance { posted: 40_000, pending: 0 });
    let jobs = books::jobs(&mut database).await;
    assert!(jobs.len() == 3 && jobs.iter().all(|job| job.charge_nanos == Some(0)), "{jobs:?}");
    assert_eq!(client.chat(&ask_at_length().max_tokens(50)).await.ok().finish_reason(), "length");
    system.end().await;
}

#[tokio::test]
async fn a_choice_that_fails_fails_the_request_and_what_came_is_charged() {
    let system = TestSystem::builder().start().await;
    let mut node = FakeNode::join(&system).await;
    let client = system.client();
    let question = streamed(&ask("Hello").max_tokens(9).with("n", 2));
    let (stream, leases) = {
        let taking = async { [node.take().await, node.take().await] };
        tokio::join!(client.stream(&question), taking)
    };
    let [first, second] = in_order(&system, leases).await;
    assert_eq!(first.work.prompt, second.work.prompt);
    assert_ne!(first.work.sampling.seed, second.work.sampling.seed);
    node.tokens(&first, 0, &[1], "a").await;
    node.tokens(&second, 0, &[1, 2], "bc").await;
    node.finish(&first, FinishReason::Stop, &[1]).await;
    // The second one breaks off: no other node is there to go on.
    drop(node);
    let stream = stream.rest().await;
    assert_eq!((&stream.error.unwrap()["code"], stream.done), (&json!("job_failed"), true));
    let usage = stream.usage.unwrap();
    assert_eq!(usage["completion_tokens"], 3);

    system.settled().await;
    let jobs: Vec<JobRow> = books::jobs(&mut system.database().await).await;
    let states: Vec<_> = jobs.iter().map(|job| (job.status.as_str(), job.charge_nanos.unwrap())).collect();
    assert_eq!(states, [("done", jobs[0].prompt_tokens * INPUT + OUTPUT), ("failed", 2 * OUTPUT)]);
    system.end().await;
}

/// The leases in the order of their choices.
async fn in_order(system: &TestSystem, leases: [Lease; 2]) -> [Lease; 2] {
    let jobs = books::jobs(&mut system.database().await).await;
    let [a, b] = leases;
    if a.job_id == jobs[0].job_id { [a, b] } else { [b, a] }
}

#[tokio::test]
async fn a_caller_that_hangs_up_stops_every_choice() {
    let slow = NodeSettings::default().tokens_per_second_max(20);
    let system = TestSystem::builder().node(slow).start().await;
    let client = system.client();
    let mut stream = client.stream(&streamed(&ask_at_length().max_tokens(300).with("n", 2))).await;
    stream.text_of(3).await;
    drop(stream);
    system.settled().await;
    let jobs = books::jobs(&mut system.database().await).await;
    assert!(jobs.iter().all(|job| job.status == "cancelled" && job.output_tokens < Some(200)), "{jobs:?}");
    let spent: Value = json!(jobs.iter().map(|job| job.charge_nanos.unwrap()).sum::<i64>());
    assert!(spent.as_i64() > Some(0), "{jobs:?}");
    system.end().await;
}
