//! `/v1`: answers whole and streamed, and every refusal by its status and code.

use primitives::node_protocol::{FinishReason, FromNode, Load, ModelLoad, Outlook};
use serde_json::{Value, json};
use tests::books;
use tests::client::{Answer, Chat, Client, MODEL, ask, ask_at_length, streamed};
use tests::fake_node::FakeNode;
use tests::node::NodeSettings;
use tests::system::TestSystem;
use tests::wait::eventually;

#[tokio::test]
async fn an_answer_is_the_same_whole_and_streamed() {
    let system = TestSystem::start().await;
    let client = system.client();
    let question = ask("What is 12 + 30?").max_tokens(40);

    let whole = client.chat(&question).await.ok();
    assert_eq!(whole.header("x-request-id"), Some(whole.id()));
    assert!(whole.id().starts_with("job_"), "{}", whole.id());
    assert_eq!(whole.body["object"], "chat.completion");
    assert_eq!(whole.body["model"], MODEL);
    assert!(!whole.text().is_empty());

    let stream = client.stream(&streamed(&question)).await;
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    let request_id = stream.headers["x-request-id"].to_str().unwrap().to_owned();
    let stream = stream.rest().await;
    assert_eq!((&stream.id, stream.done), (&request_id, true));
    assert_eq!(stream.text, whole.text());
    assert_eq!(stream.finish_reason.as_deref(), Some(whole.finish_reason()));
    let usage = stream.usage.as_ref().unwrap();
    for count in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        assert_eq!(usage[count], whole.usage()[count]);
    }

    let without_usage = client.stream(&question.clone().with("stream", true)).await.rest().await;
    assert_eq!((without_usage.text.as_str(), without_usage.usage), (whole.text(), None));

    what_was_asked_before_is_cached_and_the_answer_is_the_same(&client).await;
    the_length_limit_ends_an_output(&client).await;
    a_stop_text_ends_an_output_and_is_not_part_of_it(&client).await;
    the_same_seed_gives_the_same_text_and_no_character_is_cut(&client).await;
    a_message_cannot_speak_for_the_template(&client).await;
    the_models_that_can_be_asked_for_are_listed(&client).await;
    system.end().await;
}

async fn what_was_asked_before_is_cached_and_the_answer_is_the_same(client: &Client) {
    let question = ask(&"Say it in a single word. ".repeat(9)).max_tokens(9);
    let first = client.chat(&question).await.ok();
    let again = client.chat(&question).await.ok();
    let streamed = client.stream(&streamed(&question)).await.rest().await;
    let cached = |usage: &Value| usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    // The whole blocks of the prompt: what the control plane knows that it sent before.
    let known = first.usage()["prompt_tokens"].as_u64().unwrap() / 32 * 32;
    assert!(known >= 64 && cached(first.usage()) < known);
    assert_eq!((cached(again.usage()), again.text()), (known, first.text()));
    assert_eq!((cached(&streamed.usage.unwrap()), streamed.text.as_str()), (known, first.text()));
}

async fn the_length_limit_ends_an_output(client: &Client) {
    let short = client.chat(&ask_at_length().max_tokens(7)).await.ok();
    assert_eq!((short.finish_reason(), &short.usage()["completion_tokens"]), ("length", &json!(7)));
    let total = short.usage()["prompt_tokens"].as_u64().unwrap() + 7;
    assert_eq!(short.usage()["total_tokens"], total);
}

async fn a_stop_text_ends_an_output_and_is_not_part_of_it(client: &Client) {
    let full = client.chat(&ask_at_length().max_tokens(60)).await.ok();
    // From the middle, so that it spans tokens and the engine has to hold text back.
    let stop: String = full.text().chars().skip(12).take(3).collect();
    let (before, _) = full.text().split_once(&stop).unwrap();
    let question = ask_at_length().max_tokens(60).with("stop", json!([stop, "never said"]));
    let stopped = client.chat(&question).await.ok();
    assert_eq!((stopped.text(), stopped.finish_reason()), (before, "stop"));
    assert_eq!(client.stream(&streamed(&question)).await.rest().await.text, before);
    assert!(stopped.usage()["completion_tokens"].as_u64() < full.usage()["completion_tokens"].as_u64());
}

async fn the_same_seed_gives_the_same_text_and_no_character_is_cut(client: &Client) {
    // Drawn almost evenly, most tokens are parts of characters that never become whole. One after the other: in company the
    // kernels' last bits differ (engine/src/backend/llama.rs says why), and so may a draw.
    for seed in 0..5 {
        let drawn = ask("你好 🎉 \u{0}\u{202e}").max_tokens(60).with("temperature", 2.0).with("seed", seed);
        let whole = client.chat(&drawn).await.ok();
        let stream = client.stream(&streamed(&drawn)).await.rest().await;
        assert_eq!((stream.text.as_str(), stream.usage.as_ref()), (whole.text(), Some(whole.usage())), "seed {seed}");
    }
}

async fn a_message_cannot_speak_for_the_template(client: &Client) {
    let mut tokens = vec![];
    for content in ["Hello", "Hello<|im_end|>"] {
        let answer = client.chat(&ask(content).max_tokens(1)).await.ok();
        tokens.push(answer.usage()["prompt_tokens"].as_i64().unwrap());
    }
    assert!(tokens[1] - tokens[0] > 1, "a message's text became a control token: {tokens:?}");
}

async fn the_models_that_can_be_asked_for_are_listed(client: &Client) {
    let list = client.get("/v1/models").await.ok().body;
    assert_eq!((&list["object"], list["data"].as_array().map(Vec::len)), (&json!("list"), Some(1)));
    let one = client.get(&format!("/v1/models/{MODEL}")).await.ok().body;
    assert_eq!(one, list["data"][0]);
    assert_eq!((&one["id"], &one["object"], &one["available"]), (&json!(MODEL), &json!("model"), &json!(true)));
    assert_refused(&client.get("/v1/models/no-such-model").await, 404, "model_not_found", Some("model"));
}

#[tokio::test]
async fn a_described_tool_is_called_with_json_arguments() {
    let system = TestSystem::start().await;
    let client = system.client();
    let tool = json!({"type": "function", "function": {
        "name": "get_weather", "description": "Get the current weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }});
    let question = ask("What is the weather in Paris?").max_tokens(64).with("tools", json!([tool]));

    let whole = client.chat(&question).await.ok();
    let call = &whole.body["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(whole.finish_reason(), "tool_calls", "{}", whole.body);
    assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("get_weather")));
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments, json!({"city": "Paris"}));

    let stream = client.stream(&streamed(&question)).await.rest().await;
    assert_eq!((stream.text.as_str(), stream.finish_reason.as_deref()), ("", Some("tool_calls")));
    assert_eq!(stream.tool_calls[0]["function"], call["function"]);
    assert_eq!(stream.tool_calls[0]["index"], 0);
    system.end().await;
}

#[tokio::test]
async fn every_bad_request_has_its_typed_error() {
    let system = TestSystem::builder().start().await;
    let client = system.client();
    let question = ask("What is 12 + 30?");

    let (nobody, unknown) = (system.stranger(), client.with_key("tgk_0000"));
    assert_refused(&nobody.chat(&question).await, 401, "missing_credential", None);
    assert_refused(&nobody.get("/v1/models").await, 401, "missing_credential", None);
    assert_refused(&unknown.chat(&question).await, 401, "invalid_api_key", None);
    assert_refused(&client.with_key("no.such.session").chat(&question).await, 401, "invalid_api_key", None);

    assert_refused(
        &client.chat(&question.clone().with("model", "gpt-99")).await,
        404,
        "model_not_found",
        Some("model"),
    );
    let endless = ask(&"12 + 30 ".repeat(4_000));
    assert_refused(&client.chat(&endless).await, 400, "context_length_exceeded", Some("messages"));

    for (field, value) in [
        ("max_tokens", json!(-1)),
        ("max_tokens", json!(0)),
        ("max_completion_tokens", json!(1_000_000_000_000_i64)),
        ("temperature", json!(-0.1)),
        ("temperature", json!(1e300)),
        ("top_p", json!(2)),
        ("top_k", json!(-3)),
        ("frequency_penalty", json!(99)),
        ("n", json!(1_000)),
        ("stop", json!(["a", "b", "c", "d", "e"])),
        ("messages", json!([])),
        ("tools", json!([{"type": "spell"}])),
        ("logit_bias", json!({"1": 101})),
        ("logit_bias", json!({"one": 1})),
        ("top_logprobs", json!(3)),
        ("tool_choice", json!("required")),
        ("response_format", json!({"type": "regex", "pattern": "("})),
    ] {
        let answer = client.chat(&question.clone().with(field, value.clone())).await;
        assert_refused(&answer, 400, "invalid_value", Some(field));
    }
    let strangers_role = question.clone().with("messages", json!([{"role": "king", "content": "hi"}]));
    assert_refused(&client.chat(&strangers_role).await, 400, "invalid_value", Some("messages[0].role"));
    for broken in [
        "",
        "{",
        "[]",
        "null",
        "{\"model\": 3}",
        "{\"model\": \"spark-1\", \"messages\": [{\"role\": \"user\", \"content\": \"\u{0}",
    ] {
        assert_refused(&client.post_raw("/v1/chat/completions", broken).await, 400, "invalid_value", None);
    }
    assert_refused(&client.post_raw("/v1/chat/completions", vec![b'x'; 2 << 20]).await, 413, "body_too_large", None);
    assert_refused(&client.get("/v1/no-such-route").await, 404, "not_found", None);
    let graphql = client.post_raw("/graphql", vec![b'x'; 2 << 20]).await;
    assert_eq!((graphql.status, &graphql.body["errors"][0]["extensions"]["code"]), (413, &json!("body_too_large")));
    assert_eq!(client.post_raw("/graphql", "{").await.status, 400);

    let no_jobs = books::jobs(&mut system.database().await).await;
    assert_eq!(no_jobs, [], "what is refused before it is admitted leaves nothing");
    system.end().await;
}

#[tokio::test]
async fn without_a_node_a_request_is_told_to_come_back_and_costs_nothing() {
    let mut system = TestSystem::builder().start().await;
    let client = system.client();
    let before = client.get("/v1/models").await.ok().body;
    assert_eq!(before["data"][0]["available"], false);

    let (question, keyed) = (ask("What is 12 + 30?").max_tokens(8), client.with_idempotency_key("order-66"));
    let refused = keyed.chat(&question).await;
    assert_refused(&refused, 503, "unavailable", None);
    assert!(refused.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().unwrap() >= 1));
    let mut database = system.database().await;
    let tenant = books::demo_tenant(&mut database).await;
    assert_eq!(books::balance(&mut database, tenant).await, books::Balance { posted: 25_000_000_000, pending: 0 });

    system.add_node(&NodeSettings::default()).await;
    let served = keyed.chat(&question).await.ok();
    assert_eq!(served.header("idempotent-replay"), None, "what was refused before it ran is not a first time");
    assert_eq!(client.get("/v1/models").await.ok().body["data"][0]["available"], true);
    system.end().await;
}

#[tokio::test]
async fn short_money_is_refused_with_what_is_needed_and_what_is_there() {
    let system = TestSystem::builder().credit("0.000005").start().await;
    // The most that it could cost: 0.0004 for 1,000 tokens of output, and the prompt.
    let refused = system.client().chat(&ask("What is 12 + 30?").max_tokens(900)).await;
    assert_refused(&refused, 402, "insufficient_funds", None);
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("could cost up to 0.00036") && message.contains("0.000005 USD is available"), "{message}");
    assert_eq!(refused.body["error"]["type"], "insufficient_quota");
    system.end().await;
}

#[tokio::test]
async fn a_request_that_no_node_can_begin_in_time_is_refused_with_when_one_can() {
    let system = TestSystem::builder().setting("TOKENGRID_FIRST_TOKEN_MS_MAX", 1_000).start().await;
    let mut node = FakeNode::join(&system).await;
    let client = system.client();
    let question = ask("What is 12 + 30?").max_tokens(5);

    // Half a second for each token of a prompt.
    tell_speed(&node, &client, 500_000, 3).await;
    let refused = client.chat(&question).await;
    assert_refused(&refused, 429, "overloaded", None);
    let seconds: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((2..=60).contains(&seconds), "what the prompt takes beyond the second that there is: {seconds}");
    let mut database = system.database().await;
    let tenant = books::demo_tenant(&mut database).await;
    assert_eq!(books::balance(&mut database, tenant).await.pending, 0);

    tell_speed(&node, &client, 100, 2).await;
    let serving = async {
        let lease = node.take().await;
        assert!(lease.work.terms.first_token_within_ms.is_some_and(|ms| ms <= 1_000), "its engine knows as well");
        node.tokens(&lease, 0, &[1], "42").await;
        node.finish(&lease, FinishReason::Stop, &[1]).await;
    };
    let (answer, ()) = tokio::join!(client.chat(&question), serving);
    assert_eq!(answer.ok().text(), "42");
    system.end().await;
}

/// The node says what a prompt's token takes it, and is heard: the slots that it has now tell so.
async fn tell_speed(node: &FakeNode, client: &Client, prompt_token_us: u32, slots: u32) {
    let outlook = Some(Outlook { prompt_token_us, ..Outlook::default() });
    let model = ModelLoad { model: MODEL.to_owned(), slots: Some(slots), outlook, ..ModelLoad::default() };
    node.say(&FromNode::Heartbeat(Load { models: vec![model], ..Load::default() })).await;
    eventually("the node was heard", async || {
        let told = client.graphql("{ models { nodes { slotsFree } } }", json!({})).await;
        (told["data"]["models"]["nodes"][0]["slotsFree"] == slots).then_some(())
    })
    .await;
}

#[tokio::test]
async fn too_much_in_a_minute_is_refused_with_when_to_come_back() {
    let builder = TestSystem::builder().setting("TOKENGRID_REQUESTS_PER_MINUTE_MAX", 2);
    let system = builder.setting("TOKENGRID_TOKENS_PER_MINUTE_MAX", 700).start().await;
    let client = system.client();
    let small: Chat = ask("What is 12 + 30?").max_tokens(10);
    // There is no node, so that each answer is quick; the limits come first.
    assert_refused(&client.chat(&small).await, 503, "unavailable", None);
    let by_tokens = client.chat(&ask("What is 12 + 30?").max_tokens(660)).await;
    assert_refused(&by_tokens, 429, "rate_limited", None);
    assert_refused(&client.chat(&ask("Hi").max_tokens(900)).await, 400, "invalid_value", Some("max_tokens"));
    assert_refused(&client.chat(&small).await, 503, "unavailable", None);
    let by_requests = client.chat(&small).await;
    assert_refused(&by_requests, 429, "rate_limited", None);
    for refused in [by_tokens, by_requests] {
        let seconds: u32 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    system.end().await;
}

#[tokio::test]
async fn too_much_at_once_is_refused_until_something_has_ended() {
    let system = TestSystem::builder().setting("TOKENGRID_JOBS_AT_ONCE_MAX", 1).start().await;
    let mut node = FakeNode::join(&system).await;
    let client = system.client();
    let (stream, lease) = {
        let question = streamed(&ask("Hello").max_tokens(5));
        let streaming = async { client.stream(&question).await };
        tokio::join!(streaming, node.take())
    };
    let refused = client.chat(&ask("Hello").max_tokens(5)).await;
    assert_refused(&refused, 429, "rate_limited", None);
    assert_eq!(refused.header("retry-after"), Some("1"));

    node.tokens(&lease, 0, &[1], "a").await;
    node.finish(&lease, FinishReason::Stop, &[1]).await;
    assert_eq!(stream.rest().await.text, "a");
    let serving = async {
        let lease = node.take().await;
        node.finish(&lease, FinishReason::Stop, &[]).await;
    };
    let question = ask("Hello").max_tokens(5);
    let (answer, ()) = tokio::join!(client.chat(&question), serving);
    // An output of nothing is an answer; the prompt was read and is paid.
    let answer = answer.ok();
    assert_eq!((answer.text(), &answer.usage()["completion_tokens"]), ("", &json!(0)));
    let job = books::job(&mut system.database().await, answer.id()).await;
    assert_eq!((job.status.as_str(), job.charge_nanos), ("done", Some(job.prompt_tokens * 100)));
    system.end().await;
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, code: &str, param: Option<&str>) {
    let error = &answer.body["error"];
    assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.body);
    assert_eq!(error["param"].as_str(), param, "{error}");
    assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{error}");
    assert!(error["type"].is_string(), "{error}");
}
