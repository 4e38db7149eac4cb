//! Does a node run what it says? With the bundled model's real weights: replays tell its smaller copy from it, and a node that serves the
//! copy under the model's name is convicted by the running system.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker::trust::judgement::{Judgement, POSITIONS};
use engine::align::prompts::Prompts;
use engine::backend::llama::quantise::Precision;
use engine::{Engine, EngineConfig, Event, Model, quantise};
use primitives::node_protocol::{FinishReason, Replay, Sampling, Terms, Work, proof_message};
use serde_json::{Value, json};
use tests::books;
use tests::client::{Client, MODEL};
use tests::fake_node::FakeNode;
use tests::folder::Folder;
use tests::model::folder;
use tests::node::NodeSettings;
use tests::system::{Person, TestSystem};
use tests::wait::eventually;

/// The weights that the bundled model's manifest names.
fn original() -> PathBuf {
    let manifest = std::fs::read_to_string(folder().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    folder().join(manifest["weights"]["file"].as_str().unwrap())
}

/// The same model in four bits.
fn smaller(folder: &Folder) -> PathBuf {
    let path = folder.join("smaller.gguf");
    quantise::run(&original(), &path, Precision::Q4_0, 2, &mut |_| {}).unwrap();
    path
}

fn engine(path: &Path) -> Engine {
    let model = Arc::new(Model::load(path).unwrap());
    Engine::start(model.clone(), EngineConfig { slots: 16, ..EngineConfig::for_model(&model, 2) }).unwrap()
}

/// Beginnings of questions, which leave the model a choice; whole ones it answers as if by heart.
fn beginnings(model: &Model) -> Vec<Vec<u32>> {
    let prompts = Prompts::read(&folder().join("heldout.jsonl"), model).unwrap();
    let step = prompts.all.len().div_ceil(160);
    let half = |ids: &[u32]| ids[..ids.len() / 2].to_vec();
    prompts.all.iter().step_by(step).map(|prompt| half(prompt.ids())).collect()
}

/// What a node answers, many at once as nodes do, and what a referee says of it until there is enough for so many judgements.
fn judged(node: &Engine, referee: &Engine, sampling: &Sampling, judgements: usize) -> Vec<Judgement> {
    let prompts = beginnings(referee.model());
    let mut slacks = vec![];
    for (seed, group) in (1..).zip(prompts.chunks(16).cycle()) {
        let asked = group.iter().map(|prompt| {
            let sampling = Sampling { seed, ..sampling.clone() };
            let work = Work {
                prompt: prompt.clone(),
                resume: vec![],
                resume_text_bytes: 0,
                output_tokens_max: 64,
                stop: vec![],
                sampling: sampling.clone(),
                terms: Terms::default(),
                grammar: None,
                logprobs: None,
            };
            (prompt.clone(), sampling, node.submit(work).unwrap())
        });
        let replays: Vec<_> = asked
            .collect::<Vec<_>>()
            .into_iter()
            .filter_map(|(prompt, sampling, mut running)| {
                let mut output = vec![];
                while let Some(Event::Tokens(frame)) = running.blocking_next() {
                    output.extend(frame.ids);
                }
                // Nothing was drawn where the answer ended at once.
                referee.replay(Replay { model: MODEL.into(), prompt, resume: vec![], output, sampling }).ok()
            })
            .collect();
        for mut replay in replays {
            while let Some(Event::Tokens(frame)) = replay.blocking_next() {
                slacks.extend(frame.slack);
            }
        }
        if slacks.len() >= judgements * POSITIONS {
            break;
        }
    }
    let windows = slacks.chunks_exact(POSITIONS).take(judgements);
    windows.map(|window| Judgement::of(window.iter().copied())).collect()
}

#[test]
fn a_replay_tells_four_bits_sold_as_sixteen_within_three_hundred_tokens() {
    let folder = Folder::create();
    let (reference, copy) = (engine(&original()), engine(&smaller(&folder)));
    let honest = engine(&original());
    for temperature in [1.0, 0.7] {
        let sampling = Sampling { temperature, ..Sampling::greedy() };
        let of_honest = judged(&honest, &reference, &sampling, 4);
        assert!(of_honest.iter().all(|it| it.is_whole() && !it.convicts()), "{of_honest:?}");
        let of_copy = judged(&copy, &reference, &sampling, 4);
        assert!(of_copy.iter().all(Judgement::convicts), "{of_copy:?}");
    }
}

async fn person(system: &TestSystem, person: &Person) -> Client {
    system.signed_in(&person.email, person.password.as_deref().expect("the seed made the person")).await
}

/// Asks GraphQL for one field and gives it; panics on an error.
async fn field(client: &Client, query: &str, variables: Value) -> Value {
    let answer = client.graphql(query, variables).await;
    assert!(answer["errors"].is_null(), "{query}: {answer}");
    answer["data"].as_object().expect("data").values().next().expect("one field").clone()
}

/// A provider of the tenant's owner's, and a token to join its nodes.
async fn other_provider(system: &TestSystem) -> (Client, String) {
    let owner = &system.demo.tenant;
    let owner = system.signed_in(&owner.email, owner.password.as_deref().unwrap()).await;
    let made = "mutation { providerCreate(input: {name: \"Another\"}) { refusal { code } } }";
    field(&owner, made, json!({})).await;
    (owner.clone(), join_token(&owner).await)
}

async fn join_token(owner: &Client) -> String {
    let made = "mutation { joinTokenCreate(input: {validHours: 1}) { secret } }";
    field(owner, made, json!({})).await["secret"].as_str().unwrap().to_owned()
}

/// Does jobs as a node that says it is the reference, with this engine, one after the other.
async fn do_jobs(system: &TestSystem, node: &mut FakeNode, engine: &Engine, prompts: &[Vec<u32>]) {
    let client = system.client();
    for (seed, prompt) in prompts.iter().enumerate() {
        let asked = json!({"model": MODEL, "prompt": prompt, "max_tokens": 64, "temperature": 1.0, "seed": seed});
        let serving = async {
            let lease = node.take().await;
            let mut running = engine.submit(lease.work.clone()).unwrap();
            let (mut ids, mut seq) = (vec![], 0);
            while let Some(Event::Tokens(frame)) = running.next().await {
                node.tokens(&lease, seq, &frame.ids, &frame.text).await;
                ids.extend(frame.ids);
                seq += 1;
            }
            node.finish(&lease, FinishReason::Stop, &ids).await;
        };
        let (answer, ()) = tokio::join!(client.complete(&asked), serving);
        answer.ok();
    }
}

const CONVICTIONS: &str = "{ convictions { nodes { id nodeId reason evidence state appeal decision } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_sells_a_smaller_copy_is_convicted_and_forfeits_what_was_kept_back_and_an_honest_one_is_not() {
    let mut system = TestSystem::builder().setting("TOKENGRID_AUDIT_PROBATION_PPM", 1_000_000).start().await;
    let (owner, token) = other_provider(&system).await;
    let (provider, operator) =
        (person(&system, &system.demo.provider).await, person(&system, &system.demo.operator).await);
    let folder = Folder::create();
    let (honest, copy) = (engine(&original()), engine(&smaller(&folder)));
    let prompts: Vec<Vec<u32>> = beginnings(honest.model()).into_iter().take(20).collect();

    // Both say that they are the reference, and sign it.
    let mut node = FakeNode::join_with(&system, &token, |hello, _| hello).await;
    let honest_id = node.id;
    do_jobs(&system, &mut node, &honest, &prompts).await;
    drop(node);
    let mut liar = FakeNode::join_with(&system, &join_token(&owner).await, |hello, _| hello).await;
    do_jobs(&system, &mut liar, &copy, &prompts).await;

    // A node of another provider, which is not new, is asked to replay.
    system.add_node(&NodeSettings::default()).await;
    let mut database = system.database().await;
    let grown_up = "UPDATE broker.nodes SET status = 'active' WHERE id <> ALL ($1)";
    sqlx::query(grown_up).bind([honest_id.0, liar.id.0]).execute(&mut database).await.unwrap();
    let convicted = eventually("the liar was convicted", async || {
        field(&operator, CONVICTIONS, json!({})).await["nodes"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!((&convicted["nodeId"], &convicted["state"]), (&json!(liar.id.to_string()), &json!("OPEN")));
    let evidence: Value = serde_json::from_str(convicted["evidence"].as_str().unwrap()).unwrap();
    assert!(evidence["judgement"]["positions"].as_u64().unwrap() <= POSITIONS as u64, "{}", evidence["judgement"]);
    the_evidence_is_the_nodes_own_word(&evidence, &liar);
    while liar.hear().await.is_some() {}
    let status = "SELECT count(*) FROM broker.nodes WHERE status = 'suspended'";
    assert_eq!(books::number(&mut database, status).await, 1, "the honest node is not suspended");
    let audited =
        "SELECT count(*) FROM broker.audits JOIN broker.nodes ON nodes.id = node_id WHERE status = 'probation'";
    eventually("the honest node was audited too", async || {
        (books::number(&mut database, audited).await > 5).then_some(())
    })
    .await;

    // It is its provider's to read and to appeal, and an operator's to decide; another provider sees nothing.
    assert_eq!(field(&provider, CONVICTIONS, json!({})).await["nodes"], json!([]));
    let id = &convicted["id"];
    let appeal = "mutation($id: ID!) { appealCreate(input: {convictionId: $id, text: \"It is a mistake.\"})
        { conviction { state appeal } refusal { code } } }";
    assert_eq!(field(&provider, appeal, json!({"id": id})).await["refusal"]["code"], "not_found");
    let appealed = field(&owner, appeal, json!({"id": id})).await;
    assert_eq!(appealed["conviction"], json!({"state": "APPEALED", "appeal": "It is a mistake."}));
    assert_eq!(field(&owner, appeal, json!({"id": id})).await["refusal"]["code"], "conflict");
    let decide =
        "mutation($id: ID!) { appealDecide(input: {convictionId: $id, overturn: false, reason: \"It is none.\"})
        { conviction { state decision } refusal { code } } }";
    let decided = field(&operator, decide, json!({"id": id})).await;
    assert_eq!(decided["conviction"], json!({"state": "UPHELD", "decision": "It is none."}));

    // What was kept back of the liar goes back to the platform, the honest node's stays where it is.
    let kept = "SELECT count(*) FROM broker.holdbacks WHERE state = 'reserved'";
    let forfeited = "SELECT coalesce(sum(amount_nanos), 0)::bigint FROM broker.holdbacks WHERE state = 'forfeited'";
    let sum = eventually("the holdback was forfeited", async || {
        let sum = books::number(&mut database, forfeited).await;
        (sum > 0 && books::number(&mut database, kept).await > 0).then_some(sum)
    })
    .await;
    let posted =
        "SELECT sum(amount)::bigint FROM ledger.journal WHERE recipe = 'earning_forfeit' AND debit_code = 2110";
    assert_eq!(books::number(&mut database, posted).await, sum);
    system.end().await;
}

/// The node's descriptor and its receipts carry its own signatures.
fn the_evidence_is_the_nodes_own_word(evidence: &Value, node: &FakeNode) {
    use ed25519_dalek::{Signature, Verifier};
    let key = node.key.verifying_key();
    assert_eq!(evidence["node"]["public_key"], hex::encode(key.as_bytes()));
    let signed = |message: &[u8], signature: &Value| {
        let signature = hex::decode(signature.as_str().unwrap()).unwrap();
        key.verify(message, &Signature::from_slice(&signature).unwrap()).is_ok()
    };
    let statement = &evidence["node"]["statement"];
    let descriptor: primitives::node_protocol::NodeDescriptor =
        serde_json::from_value(statement["descriptor"].clone()).unwrap();
    assert_eq!(descriptor.models[0].weights_sha256, evidence["model"]["weights_sha256"].as_str().unwrap());
    let nonce = hex::decode(statement["nonce"].as_str().unwrap()).unwrap();
    assert!(signed(&proof_message(&nonce, key.as_bytes(), &descriptor.sha256()), &statement["signature"]));
    for audit in evidence["audits"].as_array().unwrap() {
        let receipt: primitives::node_protocol::Receipt =
            serde_json::from_value(audit["receipt"]["receipt"].clone()).unwrap();
        assert!(signed(&receipt.signed_bytes(), &audit["receipt"]["signature"]));
        assert_eq!(receipt.output_sha256, audit["output_sha256"].as_str().unwrap());
    }
}
