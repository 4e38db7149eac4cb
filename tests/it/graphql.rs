//! `/graphql`: a person's way from sign-up to receipt, and the walls between tenants.

use serde_json::{Value, json};
use tests::client::{Answer, Client, MODEL, ask};
use tests::node::NodeSettings;
use tests::system::TestSystem;

const SIGN_UP: &str = "mutation($input: UserSignUpInput!) {
    userSignUp(input: $input) { challenge { id } refusal { code param } }
}";
const VERIFY: &str = "mutation($input: UserVerifyInput!) {
    userVerify(input: $input) { me { email } refusal { code } }
}";
const SIGN_IN: &str = "mutation($input: SessionCreateInput!) {
    sessionCreate(input: $input) { me { email } refusal { code } }
}";
const KEY_CREATE: &str = "mutation($input: ApiKeyCreateInput!) {
    apiKeyCreate(input: $input) { apiKey { id name hint } secret refusal { code param } }
}";
const KEY_REVOKE: &str =
    "mutation($input: ApiKeyRevokeInput!) { apiKeyRevoke(input: $input) { id revokedAt refusal { code } } }";
const SUBMIT: &str = "mutation($input: JobSubmitInput!) {
    jobSubmit(input: $input) { job { id status hold { amount currency } } repeated refusal { code message } }
}";
const TOKENS: &str = "subscription($id: ID!) {
    jobTokens(jobId: $id) {
        __typename
        ... on JobPiece { text tokens }
        ... on JobEnded { status finishReason promptTokens outputTokens charge { amount } failure { code } }
    }
}";
const RECEIPT: &str = "query($id: ID!) {
    receipt(jobId: $id) {
        status promptTokens completionTokens total { amount currency } holdReleased { amount }
        lines { meter quantity unitPrice { perMillion } amount { amount } }
        transfers { kind debit credit amount { amount } }
        block { height hash }
        segments { nodeId tokens outcome }
    }
}";
const BALANCE: &str =
    "{ balance { posted { amount currency } pending { amount } available { amount } lots { kind } } }";
const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn a_person_signs_up_makes_a_key_runs_a_job_and_reads_its_receipt() {
    let builder = TestSystem::builder().setting("TOKENGRID_SIGNUP_CREDIT", "0.5");
    let system = builder.node(NodeSettings::default()).start().await;
    let person = sign_up(&system, "ada").await;

    let me = data(&person, "{ me { email tenant { name } roles { role } } }", json!({})).await["me"].clone();
    assert_eq!(
        me,
        json!({"email": system.email("ada"), "tenant": {"name": "ada"}, "roles": [{"role": "TENANT_OWNER"}]})
    );
    let balance = data(&person, BALANCE, json!({})).await["balance"].clone();
    assert_eq!((&balance["available"]["amount"], &balance["lots"]), (&json!("0.5"), &json!([{"kind": "PROMO"}])));

    let created = data(&person, KEY_CREATE, json!({"input": {"name": "laptop"}})).await["apiKeyCreate"].clone();
    let (secret, key_id) = (created["secret"].as_str().unwrap(), &created["apiKey"]["id"]);
    assert!(secret.starts_with("tgk_") && secret.ends_with(created["apiKey"]["hint"].as_str().unwrap()));
    let listed = person.graphql("{ apiKeys { nodes { id name } } }", json!({})).await;
    assert_eq!(listed["data"]["apiKeys"]["nodes"], json!([{"id": key_id, "name": "laptop"}]));
    assert!(!listed.to_string().contains(secret), "a secret is shown once");

    let job = submit(&person, "What is 12 + 30?").await;
    let (text, ended) = follow(&person, &job).await;
    assert!(!text.is_empty());
    assert_eq!((&ended["status"], &ended["failure"]), (&json!("DONE"), &json!(null)));
    // Followed again, after its end, it reads the same; and a later reader of the record finds the same figures.
    assert_eq!(follow(&person, &job).await, (text, ended.clone()));
    let jobs = data(&person, "{ jobs { nodes { id status charge { amount } } } }", json!({})).await["jobs"].clone();
    assert_eq!(jobs["nodes"], json!([{"id": job, "status": "DONE", "charge": ended["charge"]}]));

    // The money is final at once; a segment's own figures follow a moment later.
    system.settled().await;
    let receipt = data(&person, RECEIPT, json!({"id": job})).await["receipt"].clone();
    assert_receipt_adds_up(&receipt);
    assert_eq!(receipt["total"]["amount"], ended["charge"]["amount"]);
    let after = data(&person, BALANCE, json!({})).await["balance"].clone();
    let left = nanos("0.5") - nanos(receipt["total"]["amount"].as_str().unwrap());
    assert_eq!(
        (nanos(after["available"]["amount"].as_str().unwrap()), &after["pending"]["amount"]),
        (left, &json!("0"))
    );

    a_key_opens_the_api_until_it_is_revoked(&system, &person, secret, key_id).await;
    sessions_begin_with_the_right_password_and_end(&system, &person).await;
    system.end().await;
}

async fn a_key_opens_the_api_until_it_is_revoked(system: &TestSystem, person: &Client, secret: &str, key_id: &Value) {
    let last_used = async || {
        let keys = data(person, "{ apiKeys { nodes { id lastUsedAt } } }", json!({})).await["apiKeys"]["nodes"].clone();
        keys.as_array().unwrap().iter().find(|key| key["id"] == *key_id).unwrap()["lastUsedAt"].clone()
    };
    assert_eq!(last_used().await, json!(null));
    let program = system.stranger().with_key(secret);
    let answer = program.chat(&ask("What is 12 + 30?").max_tokens(10)).await.ok();
    system.settled().await;
    let receipt = data(&program, RECEIPT, json!({"id": answer.id()})).await["receipt"].clone();
    assert_receipt_adds_up(&receipt);
    assert!(last_used().await.is_string(), "a key's use is told");
    assert_eq!(receipt["completionTokens"], answer.usage()["completion_tokens"].to_string());
    assert_eq!(error_of(&program, KEY_CREATE, json!({"input": {"name": "more"}})).await, "forbidden");

    let revoked = data(person, KEY_REVOKE, json!({"input": {"id": key_id}})).await["apiKeyRevoke"].clone();
    assert_eq!((&revoked["id"], &revoked["refusal"]), (key_id, &json!(null)));
    let refused = program.chat(&ask("What is 12 + 30?")).await;
    assert_eq!((refused.status, refused.code()), (401, "invalid_api_key"));
    let again = data(person, KEY_REVOKE, json!({"input": {"id": key_id}})).await["apiKeyRevoke"].clone();
    assert_eq!(again["refusal"]["code"], "not_found");
}

async fn sessions_begin_with_the_right_password_and_end(system: &TestSystem, person: &Client) {
    let sign_in = |email: &str, password: &str| json!({"input": {"email": email, "password": password}});
    let (stranger, ada) = (system.stranger(), system.email("ada"));
    for (email, password) in [(&ada, "wrong horse battery"), (&system.email("nobody"), PASSWORD)] {
        let refused = data(&stranger, SIGN_IN, sign_in(email, password)).await["sessionCreate"].clone();
        assert_eq!((&refused["refusal"]["code"], &refused["me"]), (&json!("wrong_password"), &json!(null)));
    }
    let browser = system.stranger().browser();
    let shouted = format!("{} ", ada.to_uppercase());
    let opened = data(&browser, SIGN_IN, sign_in(&shouted, PASSWORD)).await["sessionCreate"].clone();
    assert_eq!(opened["me"]["email"], ada);
    assert_eq!(data(&browser, "{ me { email } }", json!({})).await["me"]["email"], ada);

    for client in [&browser, person] {
        data(client, "mutation { sessionEnd { endedAt refusal { code } } }", json!({})).await;
    }
    assert_eq!(data(&browser, "{ me { email } }", json!({})).await["me"], json!(null));
    // The token itself opens nothing any more, however it is sent.
    assert_eq!(error_of(person, "{ jobs { nodes { id } } }", json!({})).await, "invalid_api_key");
}

#[tokio::test]
async fn what_a_sign_up_or_a_job_lacks_is_said_in_its_payload() {
    let builder = TestSystem::builder().setting("TOKENGRID_SIGNUP_CREDIT", "0.000001");
    let system = builder.node(NodeSettings::default()).start().await;
    let stranger = system.stranger();
    let sign_up_with = |email: &str, password: &str, name: &str| json!({"input": {"email": email, "password": password, "tenantName": name}});
    for (variables, code, param) in [
        (sign_up_with("ada", PASSWORD, "Ada"), "invalid_value", json!("email")),
        (sign_up_with(&system.email("ada"), "short", "Ada"), "invalid_value", json!("password")),
        (sign_up_with(&system.email("ada"), PASSWORD, " "), "invalid_value", json!("tenantName")),
    ] {
        let payload = data(&stranger, SIGN_UP, variables).await["userSignUp"].clone();
        assert_eq!(payload, json!({"challenge": null, "refusal": {"code": code, "param": param}}));
    }
    let person = sign_up(&system, "ada").await;

    for (change, code) in [
        (json!({"maxTokens": 900}), "insufficient_funds"),
        (json!({"maxTokens": -1}), "invalid_value"),
        (json!({"temperature": 9}), "invalid_value"),
        (json!({"messages": []}), "invalid_value"),
        (json!({"model": "gpt-99"}), "model_not_found"),
        (json!({"messages": [{"role": "USER", "content": "12 + 30 ".repeat(4_000)}]}), "context_length_exceeded"),
    ] {
        let mut input = input_of("Hello");
        input.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let payload = data(&person, SUBMIT, json!({"input": input})).await["jobSubmit"].clone();
        assert_eq!((&payload["refusal"]["code"], &payload["job"]), (&json!(code), &json!(null)), "{payload}");
    }
    system.end().await;
}

#[tokio::test]
async fn a_submitted_job_runs_on_without_its_follower() {
    let slow = NodeSettings::default().tokens_per_second_max(40);
    let system = TestSystem::builder().node(slow).start().await;
    let person = sign_up(&system, "ada").await;
    let mut input = input_of("Count from 1 to 100");
    input["maxTokens"] = json!(60);
    let submitted = data(&person, SUBMIT, json!({"input": input})).await["jobSubmit"].clone();
    let job = submitted["job"]["id"].as_str().unwrap();

    let mut left = person.subscribe(TOKENS, json!({"id": job})).await;
    let first = left.next().await.unwrap()["data"]["jobTokens"].clone();
    assert_eq!(first["__typename"], "JobPiece", "{first}");
    drop(left);

    // Two who come later read all of it, from the first token.
    let ((text, ended), again) = tokio::join!(follow(&person, job), follow(&person, job));
    assert!(text.starts_with(first["text"].as_str().unwrap()), "{text:?} does not begin with {first}");
    assert_eq!((&text, &ended), (&again.0, &again.1));
    assert_eq!((&ended["outputTokens"], &ended["finishReason"]), (&json!("60"), &json!("LENGTH")));
    system.end().await;
}

#[tokio::test]
async fn a_stranger_finds_nothing_of_another_tenant() {
    let system = TestSystem::start().await;
    let (ada, eve) = (sign_up(&system, "ada").await, sign_up(&system, "eve").await);
    let job = submit(&ada, "What is 12 + 30?").await;
    follow(&ada, &job).await;
    let key = data(&ada, KEY_CREATE, json!({"input": {"name": "laptop"}})).await["apiKeyCreate"].clone();

    for client in [&eve, &system.client()] {
        assert_eq!(error_of(client, "query($id: ID!) { job(id: $id) { id } }", json!({"id": job})).await, "not_found");
        assert_eq!(error_of(client, RECEIPT, json!({"id": job})).await, "not_found");
        let followed = client.subscribe(TOKENS, json!({"id": job})).await.next().await.unwrap();
        assert_eq!(followed["errors"][0]["extensions"]["code"], "not_found", "{followed}");
        let theirs = data(client, "{ jobs { nodes { id } } }", json!({})).await["jobs"].clone();
        assert_eq!(theirs["nodes"], json!([]));
    }
    let revoked = data(&eve, KEY_REVOKE, json!({"input": {"id": key["apiKey"]["id"]}})).await["apiKeyRevoke"].clone();
    assert_eq!((&revoked["refusal"]["code"], &revoked["id"]), (&json!("not_found"), &json!(null)));
    assert_eq!(data(&eve, "{ apiKeys { nodes { id } } }", json!({})).await["apiKeys"]["nodes"], json!([]));
    let program = system.stranger().with_key(key["secret"].as_str().unwrap());
    assert_eq!(program.get("/v1/models").await.status, 200, "the key still opens what it opened");
    assert_eq!(data(&eve, BALANCE, json!({})).await["balance"]["available"]["amount"], "5");

    // The same word for "the same request" means different jobs to different tenants.
    let mut input = input_of("What is 12 + 30?");
    input["idempotencyKey"] = json!("order-66");
    let mut ids = vec![];
    for client in [&ada, &eve] {
        let first = data(client, SUBMIT, json!({"input": input})).await["jobSubmit"].clone();
        follow(client, first["job"]["id"].as_str().unwrap()).await;
        let again = data(client, SUBMIT, json!({"input": input})).await["jobSubmit"].clone();
        assert_eq!((&first["repeated"], &again["repeated"]), (&json!(false), &json!(true)));
        assert_eq!(first["job"]["id"], again["job"]["id"]);
        ids.push(first["job"]["id"].clone());
    }
    assert_ne!(ids[0], ids[1]);
    system.end().await;
}

/// Signs a person up with a tenant of the same name; a client that speaks with their session's token.
async fn sign_up(system: &TestSystem, name: &str) -> Client {
    let email = system.email(name);
    let input = json!({"email": email, "password": PASSWORD, "tenantName": name});
    let asked = data(&system.stranger(), SIGN_UP, json!({"input": input})).await["userSignUp"].clone();
    let mail = system.outbox.mail(&email, 1).await;
    let input = json!({"challengeId": asked["challenge"]["id"], "code": mail.code().expect("the mail has a code")});
    let body = json!({"query": VERIFY, "variables": {"input": input}}).to_string();
    let answer: Answer = system.stranger().post_raw("/graphql", body).await.ok();
    assert_eq!(answer.body["data"]["userVerify"]["me"]["email"], email, "{}", answer.body);
    let cookie = answer.header("set-cookie").expect("the session comes as a cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    system.stranger().with_key(answer.session().expect("it is the session's"))
}

fn input_of(question: &str) -> Value {
    json!({"model": MODEL, "messages": [{"role": "USER", "content": question}], "maxTokens": 20})
}

async fn submit(client: &Client, question: &str) -> String {
    let payload = data(client, SUBMIT, json!({"input": input_of(question)})).await["jobSubmit"].clone();
    assert_eq!(payload["refusal"], json!(null), "{payload}");
    assert!(nanos(payload["job"]["hold"]["amount"].as_str().unwrap()) > 0, "{payload}");
    payload["job"]["id"].as_str().unwrap().to_owned()
}

/// Follows a job to its end: its text and its last event.
async fn follow(client: &Client, job: &str) -> (String, Value) {
    let mut socket = client.subscribe(TOKENS, json!({"id": job})).await;
    let mut text = String::new();
    loop {
        let event = socket.next().await.expect("the subscription ends with the job's end");
        let output = &event["data"]["jobTokens"];
        match output["__typename"].as_str() {
            Some("JobPiece") => text.push_str(output["text"].as_str().unwrap()),
            Some("JobEnded") => {
                let ended = output.clone();
                assert_eq!(socket.next().await, None, "nothing comes after the end");
                return (text, ended);
            }
            _ => panic!("neither a piece nor the end: {event}"),
        }
    }
}

/// Lines sum to the total; price times quantity is each line's amount; what was held is captured or released.
fn assert_receipt_adds_up(receipt: &Value) {
    let amount = |value: &Value| nanos(value["amount"].as_str().unwrap_or_else(|| panic!("no amount: {value}")));
    let total = amount(&receipt["total"]);
    let lines = receipt["lines"].as_array().unwrap();
    assert_eq!(lines.iter().map(|line| amount(&line["amount"])).sum::<i64>(), total, "{receipt}");
    for line in lines {
        let quantity: i64 = line["quantity"].as_str().unwrap().parse().unwrap();
        let per_million = nanos(line["unitPrice"]["perMillion"].as_str().unwrap());
        assert_eq!(amount(&line["amount"]) * 1_000_000, quantity * per_million, "{line}");
    }
    let sum = |kind: &str| -> i64 {
        let transfers = receipt["transfers"].as_array().unwrap();
        transfers.iter().filter(|transfer| transfer["kind"] == kind).map(|transfer| amount(&transfer["amount"])).sum()
    };
    assert_eq!(sum("CAPTURE"), total, "{receipt}");
    assert_eq!(sum("PENDING"), total + amount(&receipt["holdReleased"]), "{receipt}");
    assert_eq!(receipt["block"]["hash"].as_str().unwrap().len(), 64);
    let tokens = receipt["segments"].as_array().unwrap().iter().map(|segment| segment["tokens"].as_str().unwrap());
    let tokens: i64 = tokens.map(|tokens| tokens.parse::<i64>().unwrap()).sum();
    assert_eq!(json!(tokens.to_string()), receipt["completionTokens"], "{receipt}");
}

/// Nano-units of an amount such as "0.000016".
fn nanos(amount: &str) -> i64 {
    amount.parse::<primitives::money::Nanos>().unwrap().0
}

async fn data(client: &Client, query: &str, variables: Value) -> Value {
    let answer = client.graphql(query, variables).await;
    assert!(answer["errors"].is_null(), "{query}: {answer}");
    answer["data"].clone()
}

/// The code of the answer's first error.
async fn error_of(client: &Client, query: &str, variables: Value) -> String {
    let answer = client.graphql(query, variables).await;
    let code = answer["errors"][0]["extensions"]["code"].as_str();
    code.unwrap_or_else(|| panic!("{query} was not refused: {answer}")).to_owned()
}
