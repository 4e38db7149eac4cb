//! `/v1/embeddings`: vectors of texts, paid by what was read.

use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use primitives::node_protocol::{EmbeddingFrame, FinishReason, FromNode, ServedModel, ToNode};
use serde_json::{Value, json};
use tests::books;
use tests::client::{Answer, Client, ask};
use tests::database::from_environment;
use tests::fake_node::{FakeNode, Lease};
use tests::model;
use tests::system::TestSystem;
use tests::wait::in_time;
use tokio::process::Command;

const MODEL: &str = "tiny-bert";
/// Nano-dollars for a token.
const PRICE: i64 = 20;

#[tokio::test]
async fn texts_become_vectors_and_cost_what_was_read() {
    let mut system = TestSystem::builder().start().await;
    system.add_model(model::embedding_folder()).await;
    let client = system.client();
    let texts = json!(["the cat sat", "a cat sat down.", "12 + 30 = 42"]);
    let answer = client.embed(&json!({"model": MODEL, "input": texts})).await.ok();
    let data = answer.body["data"].as_array().unwrap();
    let indices: Vec<_> = data.iter().map(|item| item["index"].as_u64().unwrap()).collect();
    assert_eq!(
        (indices, &answer.body["object"], &answer.body["model"]),
        (vec![0, 1, 2], &json!("list"), &json!(MODEL))
    );
    let vectors: Vec<Vec<f64>> = data.iter().map(|item| numbers(&item["embedding"])).collect();
    let length = |vector: &[f64]| vector.iter().map(|number| number * number).sum::<f64>();
    assert!(vectors.iter().all(|vector| vector.len() == 32 && (length(vector) - 1.0).abs() < 1e-5));

    let usage = answer.usage();
    let prompt = usage["prompt_tokens"].as_i64().unwrap();
    assert!(prompt > 9 && usage["total_tokens"] == json!(prompt), "{usage}");
    let id = answer.header("x-request-id").unwrap();
    let job = books::job(&mut system.database().await, id).await;
    assert_eq!((job.status.as_str(), job.prompt_tokens, job.charge_nanos), ("done", prompt, Some(prompt * PRICE)));
    assert_eq!(job.hold_nanos, prompt * PRICE, "nothing about it is unknown");
    let receipt = "query($id: ID!) { receipt(jobId: $id) { lines { meter quantity amount { amount } } } }";
    let receipt = client.graphql(receipt, json!({"id": id})).await["data"]["receipt"].clone();
    let line = &receipt["lines"][0];
    assert_eq!((&line["meter"], &line["quantity"]), (&json!("embedding"), &json!(prompt.to_string())), "{receipt}");
    let earned = "SELECT sum(amount)::bigint FROM ledger.journal WHERE credit_code = 2100";
    assert_eq!(books::number(&mut system.database().await, earned).await, prompt * PRICE * 7 / 10);

    every_way_to_say_it_means_the_same(&client, &vectors[0]).await;
    what_cannot_be_embedded_is_refused_by_its_name(&client).await;
    the_catalogue_tells_what_it_is_for(&client).await;
    the_official_clients_read_the_vectors(&system, &vectors).await;
    system.end().await;
}

async fn every_way_to_say_it_means_the_same(client: &Client, vector: &[f64]) {
    let of = async |input: Value, encoding: &str| {
        client.embed(&json!({"model": MODEL, "input": input, "encoding_format": encoding})).await.ok()
    };
    let first = |answer: &Answer| answer.body["data"][0]["embedding"].clone();
    let text = json!("the cat sat");
    // What else is in its batch changes a vector's last bits.
    assert!(near(&numbers(&first(&of(text.clone(), "float").await)), vector));
    let bytes = STANDARD.decode(first(&of(text, "base64").await).as_str().unwrap()).unwrap();
    let decoded: Vec<f64> = bytes.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect();
    assert!(near(&decoded, vector));
    // The marks that the tokenizer sets, and three pieces between them.
    let ids = json!([2, 24, 54, 51, 3]);
    let tokens = of(ids.clone(), "float").await;
    assert_eq!(tokens.usage()["prompt_tokens"], 5);
    assert!(near(&numbers(&first(&of(json!([ids]), "float").await)), &numbers(&first(&tokens))));
    let keyed = client.with_idempotency_key("once");
    let body = json!({"model": MODEL, "input": "once"});
    keyed.embed(&body).await.ok();
    let again = keyed.embed(&body).await;
    assert_eq!((again.status, again.code()), (409, "conflict"), "{}", again.body);
}

async fn what_cannot_be_embedded_is_refused_by_its_name(client: &Client) {
    let refused = async |body: Value| {
        let answer = client.embed(&body).await;
        let error = &answer.body["error"];
        (answer.status, answer.code().to_owned(), error["param"].as_str().map(str::to_owned))
    };
    let invalid = |param: &str| (400, "invalid_value".to_owned(), Some(param.to_owned()));
    let long = "a ".repeat(200);
    for (input, param) in
        [(json!([]), "input"), (json!(["fine", long]), "input[1]"), (json!([[2, 999_999]]), "input[0]")]
    {
        assert_eq!(refused(json!({"model": MODEL, "input": input})).await, invalid(param), "{input}");
    }
    assert_eq!(refused(json!({"model": MODEL, "input": "a", "dimensions": 8})).await, invalid("dimensions"));
    assert_eq!(refused(json!({"model": "spark-1", "input": "a"})).await, invalid("model"));
    let unknown = refused(json!({"model": "no-such-model", "input": "a"})).await;
    assert_eq!((unknown.0, unknown.1.as_str()), (404, "model_not_found"));
    let chat = client.chat(&ask("Hello").with("model", MODEL)).await;
    assert_eq!((chat.status, &chat.body["error"]["param"]), (400, &json!("model")), "{}", chat.body);
    let nobody = client.with_key("tgk_0000").embed(&json!({"model": MODEL, "input": "a"})).await;
    assert_eq!(nobody.status, 401);
}

async fn the_catalogue_tells_what_it_is_for(client: &Client) {
    let models = client
        .graphql("{ models { nodes { id kind embeddingPrice { perMillion } outputPrice { perMillion } } } }", json!({}))
        .await;
    let nodes = &models["data"]["models"]["nodes"];
    assert_eq!(
        nodes[1],
        json!({"id": MODEL, "kind": "EMBEDDING", "embeddingPrice": {"perMillion": "0.02"}, "outputPrice": null})
    );
    assert_eq!((&nodes[0]["kind"], &nodes[0]["embeddingPrice"]), (&json!("GENERATION"), &json!(null)), "{models}");
    assert_eq!(client.get(&format!("/v1/models/{MODEL}")).await.ok().body["kind"], "embedding");
}

/// Each asks in its own way: npm's and Python's by base64, which they decode.
async fn the_official_clients_read_the_vectors(system: &TestSystem, vectors: &[Vec<f64>]) {
    let folder = model::workspace().join("tests/clients");
    for (program, script) in
        [("node".to_owned(), "embeddings.mjs"), (from_environment("TOKENGRID_PYTHON"), "embeddings.py")]
    {
        let mut command = Command::new(&program);
        command.arg(script).current_dir(&folder).kill_on_drop(true).stdin(Stdio::null());
        command
            .env("BASE_URL", format!("{}/v1", system.url()))
            .env("API_KEY", &system.demo.tenant.api_key)
            .env("MODEL", MODEL);
        let output = in_time("the client ended", command.output()).await.expect("node and python are installed");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{script}: {printed}{}", String::from_utf8_lossy(&output.stderr));
        let found: Value = serde_json::from_str(printed.trim()).expect("one JSON line");
        assert!(near(&numbers(&found["vectors"][0]), &vectors[0]), "{script}: {found}");
        assert!(found["vectors"].as_array().unwrap().len() == 3, "{script}: {found}");
        assert!(found["tokens"].as_i64().is_some_and(|tokens| tokens > 9), "{script}: {found}");
    }
}

#[tokio::test]
async fn texts_go_on_at_another_node_and_are_paid_once() {
    let system = TestSystem::builder().start().await;
    let folder = model::embedding_folder().display().to_string();
    assert!(system.tokengrid(&["seed", "--json", "--model", &folder, "--credit", "0"]).await.0);
    let client = system.client();
    let mut first = FakeNode::join_serving(&system, served()).await;
    let body = json!({"model": MODEL, "input": ["a", "b", "c"]});
    let serving = async {
        let (lease, texts) = take(&mut first).await;
        assert_eq!(texts.len(), 3);
        vector(&first, &lease, 0, 0.1).await;
        let mut second = FakeNode::join_serving(&system, served()).await;
        // What it sends after its lease is gone means nothing.
        first
            .say(&FromNode::Failed { job_id: lease.job_id, epoch: lease.epoch, message: "out of memory".to_owned() })
            .await;
        let (lease, rest) = take(&mut second).await;
        assert_eq!(rest, texts[1..]);
        vector(&second, &lease, 0, 0.2).await;
        vector(&second, &lease, 1, 0.3).await;
        let mut receipt = second.receipt(&lease, &[]);
        receipt.prompt_tokens = rest.iter().map(|text| u32::try_from(text.len()).unwrap()).sum();
        second.finish_with(FinishReason::Stop, receipt).await;
        second
    };
    let (answer, _second) = tokio::join!(client.embed(&body), serving);
    let answer = answer.ok();
    let firsts: Vec<f64> =
        answer.body["data"].as_array().unwrap().iter().map(|item| numbers(&item["embedding"])[0]).collect();
    assert!(firsts.iter().zip([0.1, 0.2, 0.3]).all(|(found, said)| (found - said).abs() < 1e-6), "{firsts:?}");
    let job = books::job(&mut system.database().await, answer.header("x-request-id").unwrap()).await;
    assert_eq!(job.charge_nanos, Some(job.prompt_tokens * PRICE));
    let lies = "SELECT count(*) FROM broker.receipts WHERE mismatch IS NOT NULL";
    system.settled().await;
    assert_eq!(books::number(&mut system.database().await, lies).await, 0);
    system.end().await;
}

fn served() -> ServedModel {
    let manifest = std::fs::read_to_string(model::embedding_folder().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    ServedModel {
        model: MODEL.to_owned(),
        weights_sha256: manifest["weights"]["sha256"].as_str().unwrap().to_owned(),
        quantisation: "F32".to_owned(),
        context_tokens: 128,
        slots: 1,
        engine: "llama.cpp fake".to_owned(),
        ..ServedModel::default()
    }
}

/// Accepts offers until texts come.
async fn take(node: &mut FakeNode) -> (Lease, Vec<Vec<u32>>) {
    loop {
        match node.hear().await.expect("the control plane keeps the node") {
            ToNode::Offer(offer) => {
                let (job_id, epoch) = (offer.job_id, offer.epoch);
                node.say(&FromNode::Accept { job_id, epoch }).await;
            }
            ToNode::Embed { job_id, epoch, texts } => {
                return (Lease { job_id, epoch, work: tests::fake_node::no_work() }, texts);
            }
            _ => {}
        }
    }
}

async fn vector(node: &FakeNode, lease: &Lease, seq: u32, number: f32) {
    let Lease { job_id, epoch, .. } = *lease;
    node.say(&FromNode::Embedding(EmbeddingFrame { job_id, epoch, seq, vector: vec![number, 0.5] })).await;
}

fn numbers(vector: &Value) -> Vec<f64> {
    vector
        .as_array()
        .unwrap_or_else(|| panic!("a vector: {vector}"))
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
}

fn near(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
}
