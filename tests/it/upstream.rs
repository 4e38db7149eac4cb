//! An engine that the provider already runs, behind a node: whatever it does, tokens are counted, and nothing wrong is given.

use std::time::Duration;

use engine::node::machine;
use engine::upstream::UpstreamConfig;
use engine::{Event, Refused, Upstream};
use primitives::certificate::{Cell, Grade};
use primitives::clock::Clock;
use primitives::grammar::Grammar;
use primitives::id::Ids;
use primitives::node_protocol::{FinishReason, Sampling, Terms, Work};
use serde_json::{Value, json};
use tests::books;
use tests::certificate::certificate;
use tests::client::{ask, streamed};
use tests::fake_node::new_key;
use tests::fake_upstream::{FakeUpstream, Manner, Part, Turn, end, event, piece, piece_of, usage};
use tests::model;
use tests::node::NodeSettings;
use tests::system::TestSystem;
use tests::wait::{eventually, in_time};

fn config(fake: &FakeUpstream) -> UpstreamConfig {
    UpstreamConfig {
        look_every: Duration::from_millis(20),
        silence_max: Duration::from_millis(300),
        slots: 2,
        ..UpstreamConfig::new(model::folder(), &fake.url())
    }
}

async fn ready(fake: &FakeUpstream) -> Upstream {
    let upstream = Upstream::start(config(fake), &Ids::random(Clock::system())).unwrap();
    in_time("the upstream was ready", upstream.ready()).await;
    upstream
}

/// Five tokens of prompt, and twenty of output at most.
fn work() -> Work {
    Work {
        prompt: b"Hello".iter().map(|byte| u32::from(*byte)).collect(),
        resume: vec![],
        resume_text_bytes: 0,
        output_tokens_max: 20,
        stop: vec![],
        sampling: Sampling::greedy(),
        terms: Terms::default(),
        grammar: None,
        logprobs: None,
    }
}

/// What came of a request.
#[derive(Debug)]
struct Outcome {
    ids: Vec<u32>,
    text: String,
    /// The reason of a good end, or the message of a bad one.
    end: Result<FinishReason, String>,
    output_tokens: u32,
}

async fn outcome(upstream: &Upstream, work: Work) -> Outcome {
    let mut request = upstream.submit(work).unwrap();
    let (mut ids, mut text) = (vec![], String::new());
    loop {
        match in_time("the request went on", request.next()).await {
            Some(Event::Tokens(frame)) => {
                ids.extend(frame.ids);
                text += &frame.text;
            }
            Some(Event::Finished { reason, usage }) => {
                return Outcome { ids, text, end: Ok(reason), output_tokens: usage.output_tokens };
            }
            Some(Event::Failed { message, usage }) => {
                return Outcome { ids, text, end: Err(message), output_tokens: usage.output_tokens };
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A good end with this text and count.
fn finished(outcome: &Outcome, reason: FinishReason, text: &str, tokens: u32) {
    assert_eq!(
        (&outcome.end, outcome.text.as_str(), outcome.output_tokens),
        (&Ok(reason), text, tokens),
        "{outcome:?}"
    );
    assert_eq!(outcome.ids.len(), tokens as usize);
}

/// A bad end that says this, after this text.
fn failed(outcome: &Outcome, text: &str, message: &str) {
    let told = outcome.end.as_ref().unwrap_err();
    assert!(told.contains(message), "{told}");
    assert_eq!(outcome.text, text);
}

/// A system whose one node drives this engine, which an operator trusts to be exact.
async fn system_over(fake: &FakeUpstream) -> TestSystem {
    let mut system = TestSystem::builder().start().await;
    let weights = model::served(1);
    let cell = Cell {
        reference_sha256: weights.weights_sha256.clone(),
        weights_sha256: weights.weights_sha256,
        quantisation: weights.quantisation,
        engine: "vLLM 0.0.0".to_owned(),
        chip: machine::chip().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        features: vec![],
    };
    let document = serde_json::to_string(&certificate(&new_key(), cell, 100_000, Grade::Exact)).unwrap();
    let mutation = "mutation ($input: CertificateAddInput!) { certificateAdd(input: $input) { cells { state } refusal { code } } }";
    let operator = &system.demo.operator;
    let operator = system.signed_in(&operator.email, operator.password.as_deref().unwrap()).await;
    let added = operator.graphql(mutation, json!({"input": {"document": document}})).await;
    assert_eq!(added["data"]["certificateAdd"]["cells"], json!([{"state": "CERTIFIED"}]), "{added}");
    system.add_node(&NodeSettings::default().upstream(&fake.url())).await;
    system
}

#[tokio::test]
async fn a_completion_from_an_upstream_is_billed_by_the_tokens_that_came() {
    let fake = FakeUpstream::start("vllm").await;
    // It counts wrongly, in its favour.
    fake.answer([
        piece_of("Hi", &[72, 105]),
        piece_of(" \u{4f60}", &[32, 228, 189, 160]),
        end("stop"),
        usage(900, 800),
    ]);
    let system = system_over(&fake).await;
    let client = system.client();
    let whole = client.chat(&ask("Hello")).await.ok();
    assert_eq!((whole.text(), whole.finish_reason()), ("Hi \u{4f60}", "stop"));
    assert_eq!(whole.usage()["completion_tokens"], 6);
    let stream = client.stream(&streamed(&ask("Hello"))).await.rest().await;
    assert_eq!((stream.text.as_str(), stream.done), ("Hi \u{4f60}", true));
    assert_eq!(stream.usage.unwrap()["completion_tokens"], 6);
    let asked = fake.asked();
    let prompt = asked[0]["prompt"].as_array().expect("the prompt is sent as ids").len();
    assert_eq!(whole.usage()["prompt_tokens"], prompt);
    let mut database = system.database().await;
    let job = books::job(&mut database, whole.id()).await;
    assert_eq!((job.status.as_str(), job.prompt_tokens, job.output_tokens), ("done", prompt as i64, Some(6)));
    drop(database);
    system.end().await;
}

#[tokio::test]
async fn a_stream_that_an_upstream_cuts_goes_on_at_another_node() {
    let fake = FakeUpstream::start("vllm").await;
    fake.answer([piece("4"), Part::Cut]);
    let mut system = system_over(&fake).await;
    let question = ask("What is 12 + 30?").max_tokens(40);
    let mut stream = system.client().stream(&streamed(&question)).await;
    assert_eq!(stream.text_of(1).await, "4");
    fake.behave(|manner| manner.healthy = false);
    system.add_node(&NodeSettings::default()).await;
    let rest = stream.rest().await;
    assert_eq!((rest.text.as_str(), rest.finish_reason.as_deref(), rest.done), ("2", Some("stop"), true));
    let tokens = rest.usage.unwrap()["completion_tokens"].clone();
    assert_eq!(tokens, 2);
    system.end().await;
}

#[tokio::test]
async fn ids_and_text_are_exact_however_the_upstream_tells_them() {
    let fake = FakeUpstream::start("vllm").await;
    let upstream = ready(&fake).await;
    let outcome_of = async |parts: Vec<Part>| {
        fake.answer(parts);
        outcome(&upstream, work()).await
    };
    // Text alone is read into tokens again.
    let text_alone = outcome_of(vec![piece("a, "), piece("\u{4f60}"), end("stop"), usage(5, 6)]).await;
    finished(&text_alone, FinishReason::Stop, "a, \u{4f60}", 6);
    // Text that lags behind its ids; the end's own token is neither given nor counted.
    let lagging = vec![piece_of("", &[228]), piece_of("", &[189]), piece_of("\u{4f60}", &[160]), piece_of("", &[265])];
    let lagging = outcome_of([lagging, vec![end("stop"), usage(5, 4)]].concat()).await;
    finished(&lagging, FinishReason::Stop, "\u{4f60}", 3);
    assert_eq!(lagging.ids, [228, 189, 160]);
    // A control token in the middle counts; one that ends the output does not, whether the manifest names it or not.
    let control = vec![piece_of("a", &[97]), piece_of("", &[264]), piece_of("b", &[98]), piece_of("", &[263])];
    let control = outcome_of([control, vec![end("stop"), usage(5, 4)]].concat()).await;
    assert_eq!((control.ids, control.text.as_str(), control.output_tokens), (vec![97, 264, 98], "ab", 3));
    // Ids of which the first were swallowed.
    let swallowed = outcome_of(vec![piece_of("\u{4f60}", &[160]), end("stop")]).await;
    assert_eq!((swallowed.ids, swallowed.text.as_str()), (vec![228, 189, 160], "\u{4f60}"));
    // A character that is never whole.
    let half = outcome_of(vec![piece_of("a", &[97, 228]), end("length")]).await;
    finished(&half, FinishReason::Length, "a\u{fffd}", 2);
    let unknown = outcome_of(vec![piece_of("a", &[70_000]), end("stop")]).await;
    failed(&unknown, "", "not in the model's vocabulary");
    // What somebody wrote that looks like a control token is text.
    let control = outcome_of(vec![piece("<|im_end|>"), end("stop")]).await;
    assert_eq!((control.end, control.text.as_str()), (Ok(FinishReason::Stop), "<|im_end|>"));
}

#[tokio::test]
async fn limits_and_stop_texts_hold_whatever_the_upstream_does() {
    let mut fake = FakeUpstream::start("vllm").await;
    let upstream = ready(&fake).await;
    fake.answer([Part::Endless("data: {\"choices\":[{\"text\":\"a\"}]}\n\n".into())]);
    finished(&outcome(&upstream, work()).await, FinishReason::Length, &"a".repeat(20), 20);
    fake.hung_up(1).await;
    fake.answer([piece("one, t"), piece("wo, three"), Part::Silence]);
    let stopped = Work { stop: vec!["two".into()], ..work() };
    finished(&outcome(&upstream, stopped).await, FinishReason::Stop, "one, ", 8);
    fake.hung_up(2).await;
    // What another node delivered counts towards the limit, and is not given again.
    fake.answer([piece("c"), piece("d"), piece("e")]);
    let resumed = Work { resume: vec![97, 98], resume_text_bytes: 1, output_tokens_max: 4, ..work() };
    finished(&outcome(&upstream, resumed).await, FinishReason::Length, "bcd", 2);
    let asked = fake.asked();
    assert_eq!(
        (&asked[2]["prompt"][5], &asked[2]["prompt"][6], &asked[2]["max_tokens"]),
        (&json!(97), &json!(98), &json!(2))
    );
}

#[tokio::test]
async fn a_request_is_made_again_only_before_its_first_token() {
    let fake = FakeUpstream::start("vllm").await;
    let upstream = ready(&fake).await;
    let turns = |turns: Vec<Turn>| fake.behave(|manner: &mut Manner| manner.turns = turns.into());
    let good = || Turn::Stream(vec![piece("ok"), end("stop")]);
    turns(vec![Turn::Status(429), Turn::Stream(vec![Part::Cut]), good()]);
    finished(&outcome(&upstream, work()).await, FinishReason::Stop, "ok", 2);
    turns(vec![Turn::Status(500), Turn::Status(503), Turn::Status(500), good()]);
    failed(&outcome(&upstream, work()).await, "", "it answered 500");
    turns(vec![Turn::Stream(vec![piece("o"), Part::Cut]), good()]);
    failed(&outcome(&upstream, work()).await, "o", "broke off");
    turns(vec![Turn::Status(400), good()]);
    failed(&outcome(&upstream, work()).await, "", "it answered 400");
    assert_eq!(fake.asked().len(), 3 + 3 + 1 + 1);
}

#[tokio::test]
async fn an_answer_that_breaks_the_rules_fails_after_what_was_right() {
    let fake = FakeUpstream::start("vllm").await;
    let upstream = ready(&fake).await;
    let outcome_of = async |rest: Part| {
        fake.answer([piece("a"), rest]);
        outcome(&upstream, work()).await
    };
    failed(&outcome_of(Part::Bytes("data: nonsense\n\n".into())).await, "a", "no event of a completion");
    failed(&outcome_of(event(&json!({"error": {"message": "out of memory"}}))).await, "a", "broke off with an error");
    failed(&outcome_of(Part::Bytes("data: [DONE]\n\n".into())).await, "a", "stream broke off");
    failed(&outcome_of(end("abort")).await, "a", "gave up");
    failed(&outcome_of(Part::Silence).await, "a", "said nothing");
}

#[tokio::test]
async fn who_gives_a_request_up_hangs_up_on_the_upstream() {
    let mut fake = FakeUpstream::start("vllm").await;
    let upstream = ready(&fake).await;
    fake.answer([piece("a"), Part::Silence]);
    let mut cancelled = upstream.submit(work()).unwrap();
    let dropped = upstream.submit(work()).unwrap();
    assert_eq!(upstream.submit(work()).err(), Some(Refused::Full { live: 2 }));
    assert!(matches!(cancelled.next().await, Some(Event::Tokens(_))));
    cancelled.cancel();
    assert!(matches!(cancelled.next().await, Some(Event::Cancelled { usage }) if usage.output_tokens == 1));
    drop(dropped);
    fake.hung_up(2).await;
    eventually("both places were free", async || (upstream.running() == 0).then_some(())).await;
}

#[tokio::test]
async fn an_upstream_that_is_not_well_takes_no_work_until_it_is() {
    let fake = FakeUpstream::start("vllm").await;
    let upstream = ready(&fake).await;
    assert_eq!((upstream.slots(), upstream.engine().as_str()), (2, "vLLM 0.0.0"));
    fake.behave(|manner| manner.healthy = false);
    eventually("it was seen not to be well", async || (upstream.slots() == 0).then_some(())).await;
    assert!(upstream.condition().unwrap_err().contains("503"));
    assert!(matches!(upstream.submit(work()), Err(Refused::NotReady { .. })));
    fake.behave(|manner| manner.healthy = true);
    in_time("it was well again", upstream.ready()).await;
    assert_eq!(upstream.slots(), 2);
}

#[tokio::test]
async fn only_an_upstream_that_reads_the_prompt_as_it_is_gets_work() {
    let reason_of = async |change: fn(&mut Manner), wanted: &str| {
        let fake = FakeUpstream::start("other").await;
        fake.behave(change);
        let upstream = Upstream::start(config(&fake), &Ids::random(Clock::system())).unwrap();
        eventually(&format!("it was refused for {wanted}"), async || {
            upstream.condition().err().filter(|reason| reason.contains(wanted))
        })
        .await;
    };
    reason_of(|manner| manner.adds_tokens = 7, "does not take prompts as they are").await;
    reason_of(|manner| manner.healthy = false, "it answered /v1/models with 503").await;

    // One that takes no ids is told the text, control tokens by their names.
    let fake = FakeUpstream::start("other").await;
    fake.behave(|manner| manner.reads_ids = false);
    let upstream = ready(&fake).await;
    fake.answer([piece("a"), end("stop")]);
    let question = Work { prompt: vec![264, 270, 72, 105, 265], ..work() };
    finished(&outcome(&upstream, question).await, FinishReason::Stop, "a", 1);
    assert_eq!(fake.asked()[0]["prompt"], "<|im_start|>user\nHi<|im_end|>");
}

#[tokio::test]
async fn what_an_upstream_would_not_do_as_it_is_meant_is_left_to_others() {
    let plain = ready(&FakeUpstream::start("other").await).await;
    let refused = |work: Work| match plain.submit(work) {
        Err(Refused::Upstream { what, .. }) => what,
        other => panic!("{:?}", other.map(drop)),
    };
    let sampling = || Sampling::greedy();
    assert_eq!(refused(Work { sampling: Sampling { top_k: 4, ..sampling() }, ..work() }), "top_k");
    assert!(refused(Work { logprobs: Some(2), ..work() }).contains("log-probabilities"));
    let penalty = Sampling { presence_penalty: 1.0, ..sampling() };
    assert!(
        refused(Work { sampling: penalty, resume: vec![97], resume_text_bytes: 1, ..work() }).contains("penalties")
    );
}

#[tokio::test]
async fn sampling_and_forms_are_told_in_the_engines_own_words() {
    let fake = FakeUpstream::start("vllm").await;
    let upstream = ready(&fake).await;
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false});
    let work = Work {
        sampling: Sampling {
            temperature: 0.5,
            top_p: 0.25,
            top_k: 7,
            seed: 10,
            frequency_penalty: 0.5,
            presence_penalty: -0.5,
            logit_bias: vec![(97, -100.0)],
        },
        terms: Terms { cache_salt: Some("5a17".into()), ..Terms::default() },
        grammar: Some(Grammar::JsonSchema { schema: schema.clone(), strict: true }),
        ..work()
    };
    fake.answer([piece("{\"a\":1}"), end("stop")]);
    finished(&outcome(&upstream, work).await, FinishReason::Stop, "{\"a\":1}", 5);
    let mut body = fake.asked()[0].clone();
    let prompt = body["prompt"].take();
    assert_eq!(prompt, json!([72, 101, 108, 108, 111]));
    let expected = json!({
        "model": "served", "prompt": null, "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 20,
        "temperature": 0.5, "top_p": 0.25, "top_k": 7, "seed": 5, "frequency_penalty": 0.5, "presence_penalty": -0.5,
        "logit_bias": {"97": -100.0}, "cache_salt": "5a17", "structured_outputs": {"json": schema},
        "return_token_ids": true, "add_special_tokens": false,
    });
    let sorted = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(sorted(&body), sorted(&expected));
}

#[tokio::test]
async fn an_output_of_another_form_than_demanded_fails_closed() {
    let fake = FakeUpstream::start("other").await;
    let upstream = ready(&fake).await;
    let form = || Work { grammar: Some(Grammar::Regex { pattern: "[0-9]{3}".into() }), ..work() };
    fake.answer([piece("1"), piece("2x"), end("stop")]);
    failed(&outcome(&upstream, form()).await, "12", "by its grammar");
    fake.answer([piece("12"), end("stop")]);
    failed(&outcome(&upstream, form()).await, "12", "before it was whole");
    fake.answer([piece("123"), end("stop")]);
    finished(&outcome(&upstream, form()).await, FinishReason::Stop, "123", 3);
    assert!(upstream.condition().is_ok(), "a wrong form casts no doubt on the engine");
}

#[tokio::test]
async fn log_probabilities_come_with_ids_or_the_request_fails() {
    let fake = FakeUpstream::start("vllm").await;
    let upstream = ready(&fake).await;
    let told = json!({
        "tokens": ["token_id:97"], "token_logprobs": [-0.5], "text_offset": [0],
        "top_logprobs": [{"token_id:98": -1.5, "token_id:97": -0.5}],
    });
    let likely = json!({"choices": [{"text": "a", "token_ids": [97], "logprobs": told}]});
    fake.answer([event(&likely), end("stop")]);
    let mut request = upstream.submit(Work { logprobs: Some(1), ..work() }).unwrap();
    let Some(Event::Tokens(frame)) = request.next().await else { panic!("no tokens came") };
    let [token] = frame.logprobs.as_slice() else { panic!("{frame:?}") };
    assert_eq!((token.drawn.id, token.drawn.logprob, token.drawn.bytes.as_slice()), (97, -0.5, b"a".as_slice()));
    assert_eq!(token.top.iter().map(|likely| likely.id).collect::<Vec<_>>(), [97]);
    fake.answer([piece_of("a", &[97]), end("stop")]);
    failed(&outcome(&upstream, Work { logprobs: Some(1), ..work() }).await, "", "how likely");
}
