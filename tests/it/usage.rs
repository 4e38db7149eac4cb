//! What a tenant sees of its jobs: sums, filters, and a job that is stopped.

use primitives::clock::Clock;
use serde_json::{Value, json};
use tests::client::{Client, MODEL, ask};
use tests::node::NodeSettings;
use tests::system::TestSystem;

const USAGE: &str = "query($from: DateTime!, $to: DateTime!, $by: UsageGroup!) {
    usage(from: $from, to: $to, groupBy: $by) { nodes { key name jobs inputTokens outputTokens amount { amount } } }
}";
const JOBS: &str = "query($filter: JobFilter) { jobs(filter: $filter) { nodes { id status } } }";
const CANCEL: &str = "mutation($id: ID!) { jobCancel(input: {jobId: $id}) { job { id status } refusal { code } } }";
const SUBMIT: &str = "mutation($input: JobSubmitInput!) { jobSubmit(input: $input) { job { id } refusal { code } } }";
const TOKENS: &str = "subscription($id: ID!) { jobTokens(jobId: $id) {
    __typename ... on JobPiece { tokens } ... on JobEnded { status finishReason outputTokens charge { amount } }
} }";
const RECEIPT: &str = "query($id: ID!) { receipt(jobId: $id) { hold { amount } holdReleased { amount } total { amount } completionTokens } }";

#[tokio::test]
async fn usage_sums_up_to_the_same_money_however_it_is_grouped() {
    let system = TestSystem::builder().node(NodeSettings::default()).start().await;
    let tenant = system.client();
    let mut spent = 0;
    for question in ["What is 12 + 30?", "Reverse the word apple"] {
        let answer = tenant.chat(&ask(question)).await.ok();
        let receipt = data(&tenant, RECEIPT, json!({"id": answer.header("x-request-id")})).await["receipt"].clone();
        assert_eq!(nanos(&receipt["hold"]), nanos(&receipt["holdReleased"]) + nanos(&receipt["total"]), "{receipt}");
        spent += nanos(&receipt["total"]);
    }
    assert!(spent > 0);
    let now = Clock::system().now();
    let period =
        |by: &str| json!({"from": now - chrono::TimeDelta::days(1), "to": now + chrono::TimeDelta::days(1), "by": by});
    for (by, name) in [("DAY", None), ("MODEL", Some(MODEL)), ("API_KEY", Some("demo")), ("PROJECT", Some("default"))] {
        let usage = data(&tenant, USAGE, period(by)).await["usage"]["nodes"].clone();
        let sums = usage.as_array().unwrap();
        assert_eq!(sums.iter().map(|sum| nanos(&sum["amount"])).sum::<i64>(), spent, "{by}: {usage}");
        assert!(sums.iter().all(|sum| sum["key"].is_string()), "{by}: {usage}");
        if let Some(name) = name {
            assert_eq!((&sums[0]["name"], &sums[0]["jobs"]), (&json!(name), &json!("2")), "{by}");
        }
    }
    let year = json!({"from": now - chrono::TimeDelta::days(400), "to": now, "by": "DAY"});
    let refused = tenant.graphql(USAGE, year).await;
    assert_eq!(refused["errors"][0]["extensions"]["param"], "to", "{refused}");
}

#[tokio::test]
async fn a_job_that_is_stopped_costs_what_was_delivered_and_no_more() {
    let slow = NodeSettings::default().tokens_per_second_max(50);
    let system = TestSystem::builder().node(slow).start().await;
    let tenant = system.client();
    let input =
        json!({"model": MODEL, "messages": [{"role": "USER", "content": "Count from 1 to 100"}], "maxTokens": 400});
    let job = data(&tenant, SUBMIT, json!({"input": input})).await["jobSubmit"]["job"]["id"].clone();
    let mut socket = tenant.subscribe(TOKENS, json!({"id": job})).await;
    let first = socket.next().await.expect("the job delivers")["data"]["jobTokens"].clone();
    assert_eq!(first["__typename"], "JobPiece", "{first}");

    let stranger = TestSystem::builder().start().await;
    let another = stranger.client().graphql(CANCEL, json!({"id": job})).await;
    assert_eq!(another["data"]["jobCancel"]["refusal"]["code"], "not_found", "{another}");
    let stopped = data(&tenant, CANCEL, json!({"id": job})).await["jobCancel"].clone();
    assert_eq!((&stopped["job"]["id"], &stopped["refusal"]), (&job, &json!(null)));

    let end = loop {
        let event = socket.next().await.expect("the subscription tells the end")["data"]["jobTokens"].clone();
        if event["__typename"] == "JobEnded" {
            break event;
        }
    };
    assert_eq!((&end["status"], &end["finishReason"]), (&json!("CANCELLED"), &json!("CANCELLED")), "{end}");
    let receipt = data(&tenant, RECEIPT, json!({"id": job})).await["receipt"].clone();
    assert_eq!((&receipt["completionTokens"], &receipt["total"]), (&end["outputTokens"], &end["charge"]));
    assert!(end["outputTokens"].as_str().unwrap().parse::<u32>().unwrap() < 390, "{end}");
    let ended = data(&tenant, CANCEL, json!({"id": job})).await["jobCancel"].clone();
    assert_eq!(ended["job"]["status"], "CANCELLED", "stopping it again changes nothing");

    for (filter, found) in [
        (json!({"status": "CANCELLED"}), true),
        (json!({"status": "DONE"}), false),
        (json!({"model": MODEL}), true),
        (json!({"model": "another"}), false),
    ] {
        let jobs = data(&tenant, JOBS, json!({"filter": filter})).await["jobs"]["nodes"].clone();
        assert_eq!(jobs.as_array().unwrap().iter().any(|listed| listed["id"] == job), found, "{filter}: {jobs}");
    }
}

async fn data(client: &Client, query: &str, variables: Value) -> Value {
    let answer = client.graphql(query, variables).await;
    assert_eq!(answer["errors"], json!(null), "{answer}");
    answer["data"].clone()
}

fn nanos(money: &Value) -> i64 {
    let amount = money["amount"].as_str().expect("an amount is a string");
    let (whole, part) = amount.split_once('.').unwrap_or((amount, ""));
    whole.parse::<i64>().unwrap() * 1_000_000_000 + format!("{part:0<9}").parse::<i64>().unwrap()
}
