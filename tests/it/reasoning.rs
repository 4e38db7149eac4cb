//! A model that thinks before it answers: its thinking is told apart, counted, and charged as output.

use primitives::node_protocol::FinishReason;
use serde_json::{Value, json};
use tests::books;
use tests::client::{Chat, ask, streamed};
use tests::fake_node::FakeNode;
use tests::system::TestSystem;

/// What the node says, a token each: seven of them think.
const PIECES: [&str; 10] = ["<think>", "\n", "12 + 30", " is 4", "2.", "</thi", "nk>", "\n\n", "Forty", "-two."];

/// A system whose model thinks, and the node that serves it.
async fn thinking() -> (TestSystem, FakeNode) {
    let system = TestSystem::builder().start().await;
    let thinks = "UPDATE broker.models SET reasoning_open = '<think>', reasoning_close = '</think>'";
    sqlx::query(thinks).execute(&mut system.database().await).await.unwrap();
    let node = FakeNode::join(&system).await;
    (system, node)
}

/// Serves one job with these pieces.
async fn serve(node: &mut FakeNode, pieces: &[&str]) {
    let lease = node.take().await;
    let ids: Vec<u32> = (1..).take(pieces.len()).collect();
    for (seq, (id, piece)) in ids.iter().zip(pieces).enumerate() {
        node.tokens(&lease, u32::try_from(seq).unwrap(), &[*id], piece).await;
    }
    node.finish(&lease, FinishReason::Stop, &ids).await;
}

fn question() -> Chat {
    ask("What is 12 + 30?").max_tokens(20)
}

#[tokio::test]
async fn thinking_is_told_apart_counted_and_charged_as_output() {
    let (system, mut node) = thinking().await;
    let client = system.client();
    let (question, asked) = (question(), streamed(&question()));
    let (answer, ()) = tokio::join!(client.chat(&question), serve(&mut node, &PIECES));
    let answer = answer.ok();
    let message = &answer.body["choices"][0]["message"];
    assert_eq!((&message["reasoning_content"], answer.text()), (&json!("12 + 30 is 42."), "Forty-two."));
    let usage = answer.usage();
    assert_eq!(
        (&usage["completion_tokens"], &usage["completion_tokens_details"]["reasoning_tokens"]),
        (&json!(10), &json!(7))
    );
    let job = books::job(&mut system.database().await, answer.id()).await;
    assert_eq!(job.charge_nanos, Some(job.prompt_tokens * 100 + 10 * 400));

    let stream = async {
        let mut stream = client.stream(&asked).await;
        let (mut thought, mut said, mut used) = (String::new(), String::new(), Value::Null);
        while let Some(event) = stream.next().await.unwrap() {
            let delta = &event["choices"][0]["delta"];
            let text = |field: &str| delta[field].as_str().unwrap_or_default();
            assert!(text("reasoning_content").is_empty() || text("content").is_empty(), "{event}");
            thought.push_str(text("reasoning_content"));
            said.push_str(text("content"));
            used = if event["usage"].is_object() { event["usage"].clone() } else { used };
        }
        (thought, said, used)
    };
    let ((thought, said, used), ()) = tokio::join!(stream, serve(&mut node, &PIECES));
    assert_eq!((thought.as_str(), said.as_str()), ("12 + 30 is 42.", "Forty-two."));
    assert_eq!(&used, usage);

    a_model_that_does_not_think_this_time_just_answers(&system, &mut node).await;
    a_follower_over_graphql_gets_both(&system, &mut node).await;
    system.end().await;
}

async fn a_model_that_does_not_think_this_time_just_answers(system: &TestSystem, node: &mut FakeNode) {
    let client = system.client();
    let question = question();
    let (answer, ()) = tokio::join!(client.chat(&question), serve(node, &["<th", "ree>", " is 3"]));
    let answer = answer.ok();
    assert_eq!(answer.text(), "<three> is 3");
    assert!(answer.body["choices"][0]["message"].get("reasoning_content").is_none(), "{}", answer.body);
    assert_eq!(answer.usage()["completion_tokens_details"]["reasoning_tokens"], 0);
}

async fn a_follower_over_graphql_gets_both(system: &TestSystem, node: &mut FakeNode) {
    let client = system.client();
    let submit = "mutation($input: JobSubmitInput!) { jobSubmit(input: $input) { job { id } } }";
    let messages = json!([{"role": "USER", "content": "What is 12 + 30?"}]);
    let input = json!({"model": tests::client::MODEL, "messages": messages, "maxTokens": 20});
    let submitted = client.graphql(submit, json!({"input": input})).await;
    let id = submitted["data"]["jobSubmit"]["job"]["id"].clone();
    serve(node, &PIECES).await;
    let tokens = "subscription($id: ID!) { jobTokens(jobId: $id) {
        ... on JobPiece { text reasoning } ... on JobEnded { outputTokens reasoningTokens } } }";
    let mut socket = client.subscribe(tokens, json!({"id": id})).await;
    let (mut thought, mut said) = (String::new(), String::new());
    let end = loop {
        let event = socket.next().await.expect("the subscription tells the end")["data"]["jobTokens"].clone();
        if event["outputTokens"].is_string() {
            break event;
        }
        thought.push_str(event["reasoning"].as_str().unwrap());
        said.push_str(event["text"].as_str().unwrap());
    };
    assert_eq!((thought.as_str(), said.as_str()), ("12 + 30 is 42.", "Forty-two."));
    assert_eq!(end, json!({"outputTokens": "10", "reasoningTokens": "7"}));
}
