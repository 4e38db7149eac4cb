//! Cached input: what it costs, who earns what of it, and what a node's word on it is worth.

use primitives::node_protocol::FinishReason;
use serde_json::{Value, json};
use tests::books;
use tests::client::{Chat, Client, ask};
use tests::fake_node::FakeNode;
use tests::system::TestSystem;

/// Nano-dollars for a token of the demo model's prompts: read, and held by a cache.
const INPUT: i64 = 100;
const CACHED: i64 = 10;

/// A question of some hundred tokens.
fn long(end: &str) -> Chat {
    ask(&format!("{}{end}", "Say it in a single word. ".repeat(9))).max_tokens(4)
}

#[tokio::test]
async fn what_a_cache_holds_costs_its_own_price_and_the_receipt_says_so() {
    let system = TestSystem::start().await;
    let client = system.client();
    client.chat(&long("One.")).await.ok();
    let answer = client.chat(&long("One.")).await.ok();
    let usage = answer.usage();
    let count = |value: &Value| value.as_i64().unwrap();
    let (prompt, output) = (count(&usage["prompt_tokens"]), count(&usage["completion_tokens"]));
    let cached = count(&usage["prompt_tokens_details"]["cached_tokens"]);
    assert_eq!(cached, prompt / 32 * 32);
    let job = books::job(&mut system.database().await, answer.id()).await;
    assert_eq!(job.charge_nanos, Some((prompt - cached) * INPUT + cached * CACHED + output * 400));

    let receipt = receipt(&client, answer.id()).await;
    let lines: Vec<_> = receipt["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["meter"].clone(), line["quantity"].clone()))
        .collect();
    let line = |meter: &str, quantity: i64| (json!(meter), json!(quantity.to_string()));
    assert_eq!(lines, [line("cached_input", cached), line("input", prompt - cached), line("output", output)]);
    assert_eq!(receipt["lines"][0]["unitPrice"]["perMillion"], "0.01", "{receipt}");
    let earned = earned(&system, answer.id()).await;
    // A node asks seventy percent of the tenant's price, of each of its prices.
    assert_eq!(earned, ((prompt - cached) * INPUT + cached * CACHED + output * 400) * 7 / 10);

    let models = client.graphql("{ models { nodes { cachedInputPrice { perMillion } } } }", json!({})).await;
    assert_eq!(models["data"]["models"]["nodes"][0]["cachedInputPrice"]["perMillion"], "0.01", "{models}");
    let now = primitives::clock::Clock::system().now();
    let (from, to) = (now - chrono::TimeDelta::days(1), now + chrono::TimeDelta::days(1));
    let query = "query($from: DateTime!, $to: DateTime!) {
        usage(from: $from, to: $to, groupBy: MODEL) { nodes { inputTokens cachedInputTokens } } }";
    let sums = client.graphql(query, json!({"from": from, "to": to})).await;
    let sum = &sums["data"]["usage"]["nodes"][0];
    let cached_before = sum["cachedInputTokens"].as_str().unwrap().parse::<i64>().unwrap() - cached;
    assert!((0..32).contains(&cached_before) && sum["inputTokens"] == json!((2 * prompt).to_string()), "{sums}");
    system.end().await;
}

#[tokio::test]
async fn a_node_that_claims_more_than_it_was_sent_before_gives_nothing_away() {
    let system = TestSystem::builder().start().await;
    let mut node = FakeNode::join(&system).await;
    let client = system.client();
    let mut asked = async |chat: &Chat, claim: u32| {
        let serving = async {
            let lease = node.take().await;
            node.tokens(&lease, 0, &[1], "a").await;
            node.finish_claiming(&lease, FinishReason::Stop, &[1], claim).await;
        };
        let (answer, ()) = tokio::join!(client.chat(chat), serving);
        let answer = answer.ok();
        let job = books::job(&mut system.database().await, answer.id()).await;
        let cached = answer.usage()["prompt_tokens_details"]["cached_tokens"].as_i64().unwrap();
        assert_eq!(job.charge_nanos, Some((job.prompt_tokens - cached) * INPUT + cached * CACHED + 400));
        (job.prompt_tokens, cached)
    };
    assert_eq!(asked(&long("One."), u32::MAX).await.1, 0, "it was sent nothing before");
    let (prompt, cached) = asked(&long("One."), u32::MAX).await;
    assert_eq!(cached, prompt / 32 * 32, "the whole blocks of the same prompt");
    assert_eq!(asked(&long("One."), 50).await.1, 50, "its word, where it claims less");
    assert_eq!(asked(&long("One."), 0).await.1, 0);
    let (prompt, cached) = asked(&ask(&"Another one. ".repeat(30)).max_tokens(4), u32::MAX).await;
    assert!(cached < 32 && prompt > 64, "the template's first words alone: {cached} of {prompt}");
    system.end().await;
}

async fn receipt(client: &Client, id: &str) -> Value {
    let query = "query($id: ID!) { receipt(jobId: $id) { lines { meter quantity unitPrice { perMillion } } } }";
    client.graphql(query, json!({"id": id})).await["data"]["receipt"].clone()
}

/// What providers earned with a job. *Units*: nanos.
async fn earned(system: &TestSystem, id: &str) -> i64 {
    let id: primitives::id::JobId = id.parse().unwrap();
    let earned =
        "SELECT coalesce(sum(amount), 0)::bigint FROM ledger.journal WHERE link_id = $1 AND credit_code = 2100";
    sqlx::query_scalar(earned).bind(id.0).fetch_one(&mut system.database().await).await.unwrap()
}
