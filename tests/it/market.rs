//! The supply side: a person becomes a provider, brings a machine, asks, earns; cells are let in by certificates alone.

use ed25519_dalek::{Signer, SigningKey};
use primitives::certificate::{Cell, Certificate, Grade};
use primitives::node_protocol::{FinishReason, Hello, ServedModel, ToNode};
use serde_json::{Value, json};
use tests::books;
use tests::certificate;
use tests::client::{Client, ask, ask_at_length, streamed};
use tests::fake_node::{FakeNode, NodeSocket, descriptor, hello, new_key};
use tests::model;
use tests::node::NodeSettings;
use tests::system::{Builder, Person, TestSystem};
use tests::wait::eventually;

/// A control plane whose new nodes are new until an operator's clock says otherwise, and keep all that they earn at once.
fn market() -> Builder {
    TestSystem::builder().setting("TOKENGRID_HOLDBACK_MINUTES", 0)
}

/// Asks GraphQL for one field and gives it; panics on an error.
async fn field(client: &Client, query: &str, variables: Value) -> Value {
    let answer = client.graphql(query, variables).await;
    assert!(answer["errors"].is_null(), "{query}: {answer}");
    let fields = answer["data"].as_object().expect("data");
    fields.values().next().expect("one field").clone()
}

/// Changes something; gives the payload, which says why where it was refused.
async fn change(client: &Client, name: &str, input: Value, wanted: &str) -> Value {
    let noun = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
    let query =
        format!("mutation($input: {noun}Input!) {{ {name}(input: $input) {{ {wanted} refusal {{ code param }} }} }}");
    field(client, &query, json!({"input": input})).await
}

async fn person(system: &TestSystem, person: &Person) -> Client {
    system.signed_in(&person.email, person.password.as_deref().expect("the seed made the person")).await
}

async fn tenants_owner(system: &TestSystem) -> Client {
    let owner = &system.demo.tenant;
    system.signed_in(&owner.email, owner.password.as_deref().expect("the seed made the person")).await
}

const NODES: &str = "{ providerNodes { nodes { id name status reason draining connectedAt
    cells { id state grade reason weightsSha256 engine measured { positions lowerBound } }
    scoreCard { reliability done lost reasons } } } }";

async fn first_node(client: &Client) -> Value {
    field(client, NODES, json!({})).await["nodes"][0].clone()
}

#[tokio::test]
async fn a_person_becomes_a_provider_brings_a_node_and_its_statement_ties_to_the_ledger() {
    let mut system = market().start().await;
    let provider = tenants_owner(&system).await;
    let made = change(&provider, "providerCreate", json!({"name": "Attic Computing"}), "provider { id name }").await;
    assert_eq!((&made["provider"]["name"], &made["refusal"]), (&json!("Attic Computing"), &Value::Null));
    let again = change(&provider, "providerCreate", json!({"name": "Another"}), "").await;
    assert_eq!(again["refusal"]["code"], "conflict");
    assert_eq!(field(&provider, "{ provider { id } }", json!({})).await["id"], made["provider"]["id"]);

    let made = change(&provider, "joinTokenCreate", json!({}), "secret joinToken { id hint }").await;
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.ends_with(made["joinToken"]["hint"].as_str().unwrap()));
    system.join_and_run(secret, &NodeSettings::default()).await;
    let node = first_node(&provider).await;
    let (id, cell) = (node["id"].clone(), &node["cells"][0]);
    assert_eq!(
        (&node["status"], &cell["state"], &cell["grade"]),
        (&json!("PROBATION"), &json!("CERTIFIED"), &json!("EXACT"))
    );
    assert!(node["reason"].as_str().unwrap().contains("small part") && node["connectedAt"].is_string(), "{node}");
    let tokens = field(&provider, "{ joinTokens { nodes { nodeId usedAt } } }", json!({})).await;
    assert_eq!(tokens["nodes"][0]["nodeId"], id);

    // Tenants pay 0.10 and 0.40: nobody earns more than that.
    let asked = |input: &str, output: &str| json!({"nodeId": id, "model": system.demo.model, "inputPerMillion": input, "outputPerMillion": output});
    let dear = change(&provider, "askPublish", asked("0.05", "0.41"), "ask { id }").await;
    assert_eq!(dear["refusal"], json!({"code": "invalid_value", "param": "outputPerMillion"}));
    let published = change(&provider, "askPublish", asked("0.05", "0.20"), "ask { outputPrice { perMillion } }").await;
    assert_eq!(published["ask"]["outputPrice"]["perMillion"], "0.2");
    let query = "query($id: ID!) { asks(nodeId: $id) { nodes { inputPrice { perMillion } } } }";
    let asks = field(&provider, query, json!({"id": id})).await;
    let prices: Vec<_> = asks["nodes"].as_array().unwrap().iter().map(|ask| &ask["inputPrice"]["perMillion"]).collect();
    assert_eq!(prices, ["0.05", "0.07"], "what was asked before stays on record");

    let answer = system.client().chat(&ask("What is 2 + 2?")).await.ok();
    let earned = answer.usage()["prompt_tokens"].as_i64().unwrap() * 50
        + answer.usage()["completion_tokens"].as_i64().unwrap() * 200;
    let transfers = "{ providerTransfers { nodes { event jobId change { amount } balance { amount } } } }";
    let lines = field(&provider, transfers, json!({})).await["nodes"].clone();
    let earning = lines.as_array().unwrap().iter().find(|line| line["event"] == "job_settle").unwrap();
    assert_eq!((&earning["jobId"], &earning["change"]["amount"]), (&json!(answer.id()), &json!(nanos(earned))));

    // Kept back and released at once, and the days make the balance to the last unit.
    let statement = "{ providerStatement { opening { amount } closing { amount } ties
        days { event nodeId change { amount } transfers } } }";
    let told = eventually("what was earned was kept back and released", async || {
        let told = field(&provider, statement, json!({})).await;
        let released = told["days"].as_array().unwrap().iter().any(|day| day["event"] == "earning_release");
        (released && told["ties"] == true).then_some(told)
    })
    .await;
    assert_eq!((&told["opening"]["amount"], &told["closing"]["amount"]), (&json!("0"), &json!(nanos(earned))));
    let of = |event: &str| {
        let days = told["days"].as_array().unwrap().iter().filter(move |day| day["event"] == event);
        days.map(|day| day["change"]["amount"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("job_settle"), [nanos(earned)]);
    assert_eq!(
        (of("earning_reserve"), of("earning_release")),
        (vec![json!(nanos(-earned))], vec![json!(nanos(earned))])
    );
    let balance = "{ providerBalance { owed { amount } keptBack { amount } earnedToday { amount }
        nodes { nodeId earned { amount } jobs } holdbacks { nodeId } } }";
    let balance = field(&provider, balance, json!({})).await;
    let wanted = json!({"owed": {"amount": nanos(earned)}, "keptBack": {"amount": "0"}, "earnedToday": {"amount": nanos(earned)},
        "nodes": [{"nodeId": id, "earned": {"amount": nanos(earned)}, "jobs": "1"}], "holdbacks": []});
    assert_eq!(balance, wanted);
    let card = first_node(&provider).await["scoreCard"].clone();
    assert_eq!(card, json!({"reliability": 1.0, "done": 1, "lost": 0, "reasons": []}));
    system.end().await;
}

/// An amount of nano-units as GraphQL writes it.
fn nanos(amount: i64) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let amount = amount.unsigned_abs();
    let text = format!("{sign}{}.{:09}", amount / 1_000_000_000, amount % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[tokio::test]
async fn a_revoked_join_token_lets_nobody_in_and_another_providers_things_are_not_there() {
    let system = market().start().await;
    let (owner, provider) = (tenants_owner(&system).await, person(&system, &system.demo.provider).await);
    change(&owner, "providerCreate", json!({"name": "Another"}), "").await;
    let made = change(&owner, "joinTokenCreate", json!({"validHours": 1}), "secret joinToken { id }").await;
    let (token, secret) = (&made["joinToken"]["id"], made["secret"].as_str().unwrap());
    let of_another = change(&provider, "joinTokenRevoke", json!({"id": token}), "").await;
    assert_eq!(of_another["refusal"]["code"], "not_found");
    let revoked = change(&owner, "joinTokenRevoke", json!({"id": token}), "revokedAt").await;
    assert!(revoked["revokedAt"].is_string(), "{revoked}");
    assert_eq!(change(&owner, "joinTokenRevoke", json!({"id": token}), "").await["refusal"]["code"], "not_found");
    for hours in [0, 721] {
        let refused = change(&owner, "joinTokenCreate", json!({"validHours": hours}), "").await;
        assert_eq!(refused["refusal"]["param"], "validHours");
    }
    let key = new_key();
    let answer = NodeSocket::dial(system.control_plane.address).await.introduce(hello(secret, &key), &key).await;
    assert!(matches!(&answer, ToNode::Refused { code, .. } if code == "join_token_revoked"), "{answer:?}");

    let node = FakeNode::join(&system).await;
    let id = node.id.to_string();
    for (name, input) in [
        ("nodeRename", json!({"nodeId": id, "name": "mine"})),
        ("nodeDrain", json!({"nodeId": id})),
        ("nodeRetire", json!({"nodeId": id, "reason": "mine"})),
    ] {
        assert_eq!(change(&owner, name, input, "").await["refusal"]["code"], "not_found", "{name}");
    }
    let asked = json!({"nodeId": id, "model": system.demo.model, "inputPerMillion": "0", "outputPerMillion": "0"});
    assert_eq!(change(&owner, "askPublish", asked, "").await["refusal"]["code"], "not_found");
    assert_eq!(field(&owner, "{ cells { nodes { id } } }", json!({})).await["nodes"], json!([]));
    let named = change(&provider, "nodeRename", json!({"nodeId": id, "name": "attic"}), "node { name }").await;
    assert_eq!(named["node"]["name"], "attic");
    system.end().await;
}

#[tokio::test]
async fn a_suspended_node_is_cut_off_with_a_reason_and_goes_on_where_it_was() {
    let system = market().start().await;
    let (provider, operator) =
        (person(&system, &system.demo.provider).await, person(&system, &system.demo.operator).await);
    let mut node = FakeNode::join(&system).await;
    let (id, key) = (node.id, node.key.clone());
    let judged = json!({"nodeId": id.to_string(), "reason": "Its receipts differ."});
    let suspended = change(&operator, "nodeSuspend", judged.clone(), "node { status reason }").await;
    assert_eq!(suspended["node"], json!({"status": "SUSPENDED", "reason": "Its receipts differ."}));
    while node.hear().await.is_some() {}
    let again = change(&operator, "nodeSuspend", judged, "").await;
    assert_eq!(again["refusal"]["code"], "conflict");
    let known = Hello { credential: primitives::node_protocol::Credential::Known { node_id: id }, ..hello("", &key) };
    let answer = NodeSocket::dial(system.control_plane.address).await.introduce(known, &key).await;
    assert!(matches!(&answer, ToNode::Refused { code, .. } if code == "suspended"), "{answer:?}");

    let resumed = json!({"nodeId": id.to_string(), "reason": "It was our mistake."});
    let resumed = change(&operator, "nodeResume", resumed, "node { status }").await;
    assert_eq!(resumed["node"]["status"], "PROBATION");
    FakeNode::reconnect(system.control_plane.address, id, key).await;
    let history = "query($id: ID!) { nodeHistory(nodeId: $id) { nodes { status reason userId } } }";
    let history = field(&provider, history, json!({"id": id.to_string()})).await["nodes"].clone();
    let steps: Vec<_> = history.as_array().unwrap().iter().map(|event| event["status"].as_str().unwrap()).collect();
    assert_eq!(steps, ["PROBATION", "SUSPENDED", "PROBATION", "CERTIFIED", "JOINED"]);
    assert!(history[1]["userId"].is_string() && history[3]["userId"].is_null(), "{history}");
    system.end().await;
}

#[tokio::test]
async fn a_drained_node_ends_its_stream_and_leaves_without_losing_reputation() {
    let mut system = market().node(NodeSettings::default().tokens_per_second_max(40)).start().await;
    let provider = person(&system, &system.demo.provider).await;
    let client = system.client();
    let mut stream = client.stream(&streamed(&ask_at_length().max_tokens(60))).await;
    stream.text_of(1).await;
    let id = system.nodes[0].id.clone();
    let drained = change(&provider, "nodeDrain", json!({"nodeId": id}), "node { draining }").await;
    assert_eq!((&drained["node"]["draining"], &drained["refusal"]), (&json!(true), &Value::Null));
    // No new offers: a job that no other node can do waits, and is told so.
    let refused = client.chat(&ask("Hello").max_tokens(5)).await;
    assert_eq!((refused.status, refused.code()), (503, "job_failed"), "{}", refused.body);
    let rest = stream.rest().await;
    assert_eq!((rest.done, rest.error), (true, None));
    assert_eq!(rest.usage.unwrap()["completion_tokens"], 60);
    assert!(system.nodes[0].program.ended().await.success());
    let card = first_node(&provider).await["scoreCard"].clone();
    assert_eq!((&card["reliability"], &card["done"], &card["lost"]), (&json!(1.0), &json!(1), &json!(0)));
    system.end().await;
}

#[tokio::test]
async fn a_node_that_did_well_for_long_enough_is_new_no_longer_and_keeps_what_it_earns() {
    let system = TestSystem::builder()
        .setting("TOKENGRID_PROBATION_MINUTES", 0)
        .setting("TOKENGRID_PROBATION_JOBS", 2)
        .node(NodeSettings::default())
        .start()
        .await;
    let (provider, client) = (person(&system, &system.demo.provider).await, system.client());
    for question in ["Hello", "What is 2 + 2?"] {
        client.chat(&ask(question).max_tokens(5)).await.ok();
    }
    eventually("the probation ended", async || {
        let node = first_node(&provider).await;
        (node["status"] == "ACTIVE" && node["reason"].as_str().unwrap().starts_with("It did 2 jobs well")).then_some(())
    })
    .await;
    // What it earned before that is kept back for a day, to the last unit; what it earns now is not.
    let mut database = system.database().await;
    let on = async |database: &mut _, code: i64| {
        let query =
            "SELECT coalesce(sum(credits_posted - debits_posted), 0)::bigint FROM ledger.accounts WHERE code = $1";
        sqlx::query_scalar::<_, i64>(query).bind(code).fetch_one(database).await.unwrap()
    };
    let kept_back = eventually("what it earned was kept back", async || {
        let (owed, kept) = (on(&mut database, 2100).await, on(&mut database, 2110).await);
        (kept > 0 && owed == 0).then_some(kept)
    })
    .await;
    client.chat(&ask("Hello").max_tokens(5)).await.ok();
    let balance = "{ providerBalance { owed { amount } keptBack { amount } holdbacks { state } } }";
    let balance = eventually("the days were added up", async || {
        let statement = field(&provider, "{ providerStatement { ties } }", json!({})).await;
        let balance = field(&provider, balance, json!({})).await;
        (statement["ties"] == true && balance["owed"]["amount"] != "0").then_some(balance)
    })
    .await;
    assert_eq!(balance["keptBack"]["amount"], nanos(kept_back));
    assert!(balance["holdbacks"].as_array().unwrap().iter().all(|kept| kept["state"] == "RESERVED"), "{balance}");
    system.end().await;
}

/// Weights that are not the catalogue's.
fn smaller() -> ServedModel {
    ServedModel { weights_sha256: "8".repeat(64), quantisation: "Q8_0".into(), ..model::served(4) }
}

/// A certificate of the smaller weights on a fake node: so many of 100,000 next tokens agree; the claim may be another.
fn certificate(key: &SigningKey, agreed: u64, claimed: Grade) -> Certificate {
    let (served, about) = (smaller(), descriptor(smaller()));
    let cell = Cell {
        reference_sha256: model::served(4).weights_sha256,
        weights_sha256: served.weights_sha256,
        quantisation: served.quantisation,
        engine: served.engine,
        chip: about.chip,
        features: served.features,
    };
    certificate::certificate(key, cell, agreed, claimed)
}

#[tokio::test]
async fn a_request_never_gets_less_than_the_grade_that_it_asks_for() {
    let system = market().start().await;
    let client = system.client();
    // It says of itself that it is exact; its counts say that it is near.
    let mut node = FakeNode::join_as(&system, |hello, key| Hello {
        descriptor: descriptor(smaller()),
        certificates: vec![certificate(key, 99_500, Grade::Exact)],
        ..hello
    })
    .await;
    let provider = person(&system, &system.demo.provider).await;
    let shown = first_node(&provider).await;
    let cell = &shown["cells"][0];
    assert_eq!(
        (&shown["status"], &cell["state"], &cell["grade"]),
        (&json!("PROBATION"), &json!("CERTIFIED"), &json!("NEAR"))
    );
    assert_eq!(cell["measured"]["positions"], "100000");

    // The model's own default is exact.
    let refused = client.chat(&ask("Hello").max_tokens(5)).await;
    assert_eq!((refused.status, refused.code()), (503, "unavailable"), "{}", refused.body);
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("grade `exact`"), "{}", refused.body);
    let wrong = client.chat(&ask("Hello").with("x_tokengrid", json!({"grade": "none"}))).await;
    assert_eq!((wrong.status, &wrong.body["error"]["param"]), (400, &json!("x_tokengrid.grade")), "{}", wrong.body);

    let question = ask("Hello").max_tokens(5).with("x_tokengrid", json!({"grade": "eco"}));
    let serving = async {
        let lease = node.take().await;
        node.tokens(&lease, 0, &[1, 2], "hi").await;
        node.finish(&lease, FinishReason::Stop, &[1, 2]).await;
    };
    let (answer, ()) = tokio::join!(client.chat(&question), serving);
    let query = "query($id: ID!) { receipt(jobId: $id) { gradeAsked grade segments { grade } } }";
    let receipt = field(&client, query, json!({"id": answer.ok().id()})).await;
    assert_eq!(receipt, json!({"gradeAsked": "ECO", "grade": "NEAR", "segments": [{"grade": "NEAR"}]}));
    let submitted =
        json!({"model": system.demo.model, "messages": [{"role": "USER", "content": "Hi"}], "grade": "EXACT"});
    let submitted = change(&client, "jobSubmit", submitted, "job { id }").await;
    assert_eq!(submitted["refusal"]["code"], "unavailable");
    system.end().await;
}

#[tokio::test]
async fn a_certificate_is_good_for_whom_it_vouches_and_for_nothing_that_it_does_not_hold_for() {
    let system = market().start().await;
    let operator = person(&system, &system.demo.operator).await;
    let address = system.control_plane.address;
    // Nobody's certificate, a stranger's, one that was changed, one of too far a model: a new node with these stays out.
    let stranger = new_key();
    let bad: [fn(&SigningKey, &SigningKey) -> Vec<Certificate>; 4] = [
        |_, _| vec![],
        |_, stranger| vec![certificate(stranger, 100_000, Grade::Exact)],
        |key, _| {
            let mut changed = certificate(key, 94_000, Grade::None);
            changed.body.agreement.agreed = 100_000;
            vec![changed]
        },
        |key, _| vec![certificate(key, 94_000, Grade::Exact)],
    ];
    for certificates in bad {
        let (key, token) = (new_key(), system.join_token(chrono::TimeDelta::hours(1)).await);
        let certificates = certificates(&key, &stranger);
        let hello = Hello { descriptor: descriptor(smaller()), certificates, ..hello(&token, &key) };
        let answer = NodeSocket::dial(address).await.introduce(hello, &key).await;
        assert!(matches!(&answer, ToNode::Refused { code, .. } if code == "no_known_model"), "{answer:?}");
    }

    // An operator's word is good for everybody; what holds for nothing is refused.
    let add = async |certificate: &Certificate| {
        let document = serde_json::to_string_pretty(certificate).unwrap();
        let wanted = "cells { id state grade providerId }";
        change(&operator, "certificateAdd", json!({"document": document}), wanted).await
    };
    let mut strange = certificate(&stranger, 100_000, Grade::Exact);
    strange.body.cell.reference_sha256 = "7".repeat(64);
    strange.signature = hex::encode(stranger.sign(&strange.body.signed_bytes()).to_bytes());
    let mut changed = certificate(&stranger, 99_000, Grade::Eco);
    changed.body.agreement.agreed += 1_000;
    for refused in [&strange, &changed] {
        assert_eq!(add(refused).await["refusal"], json!({"code": "invalid_value", "param": "document"}));
    }
    let added = add(&certificate(&stranger, 99_990, Grade::Exact)).await;
    let cell = &added["cells"][0];
    assert_eq!(
        (&cell["state"], &cell["grade"], &cell["providerId"]),
        (&json!("CERTIFIED"), &json!("EXACT"), &Value::Null)
    );
    let mut node = FakeNode::join_as(&system, |hello, _| Hello { descriptor: descriptor(smaller()), ..hello }).await;

    // Held back, it gets no more work; let go on, it does.
    let client = system.client();
    let judged = |reason: &str| json!({"id": cell["id"], "reason": reason});
    let suspended = change(&operator, "cellSuspend", judged("Wrong tool calls."), "cell { state reason }").await;
    assert_eq!(suspended["cell"], json!({"state": "SUSPENDED", "reason": "Wrong tool calls."}));
    assert_eq!(change(&operator, "cellSuspend", judged("Again."), "").await["refusal"]["code"], "conflict");
    let refused = client.chat(&ask("Hello").max_tokens(5)).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    let resumed = change(&operator, "cellResume", judged("Mended."), "cell { state grade }").await;
    assert_eq!(resumed["cell"], json!({"state": "CERTIFIED", "grade": "EXACT"}));
    let question = ask("Hello").max_tokens(5);
    let serving = async {
        let lease = node.take().await;
        node.finish(&lease, FinishReason::Stop, &[]).await;
    };
    let (answer, ()) = tokio::join!(client.chat(&question), serving);
    answer.ok();
    let kept = "SELECT count(*) FROM broker.cell_events";
    assert!(books::number(&mut system.database().await, kept).await >= 3);
    system.end().await;
}
