//! `/v1/completions`: a text is gone on from as it is, without a chat template.

use serde_json::{Value, json};
use tests::books;
use tests::client::{Client, MODEL, ask};
use tests::system::TestSystem;

/// What the chat template makes of a question.
fn written(question: &str) -> String {
    format!("<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")
}

#[tokio::test]
async fn a_text_is_gone_on_from_and_charged_like_any_other() {
    let system = TestSystem::start().await;
    let client = system.client();
    let chat = client.chat(&ask("What is 12 + 30?").max_tokens(40)).await.ok();
    let body = json!({"model": MODEL, "prompt": written("What is 12 + 30?"), "max_tokens": 40});
    let answer = client.complete(&body).await.ok();
    let choice = &answer.body["choices"][0];
    assert_eq!((&answer.body["object"], &choice["text"]), (&json!("text_completion"), &json!(chat.text())));
    assert_eq!((&choice["finish_reason"], &choice["logprobs"]), (&json!(chat.finish_reason()), &json!(null)));
    assert_eq!(answer.usage()["prompt_tokens"], chat.usage()["prompt_tokens"]);
    let job = books::job(&mut system.database().await, answer.id()).await;
    assert_eq!(job.charge_nanos, Some(job.prompt_tokens * 100 + job.output_tokens.unwrap() * 400));

    its_tokens_mean_the_same(&client, &body, &answer.body).await;
    likelihoods_and_choices_are_told(&client, &body, chat.text()).await;
    what_cannot_be_gone_on_from_is_refused_by_its_name(&client).await;
    system.end().await;
}

async fn its_tokens_mean_the_same(client: &Client, body: &Value, whole: &Value) {
    // The vocabulary's first tokens are the bytes.
    let bytes: Vec<u32> = b"12 + 30".iter().map(|byte| u32::from(*byte)).collect();
    let with = |prompt: Value| {
        let mut body = body.clone();
        body["prompt"] = prompt;
        body
    };
    let (alone, wrapped) =
        (client.complete(&with(json!(bytes))).await.ok(), client.complete(&with(json!([bytes]))).await.ok());
    assert_eq!(alone.body["choices"], wrapped.body["choices"]);
    assert_eq!(alone.usage()["prompt_tokens"], json!(bytes.len()));
    let one = client.complete(&with(json!([body["prompt"]]))).await.ok();
    assert_eq!(one.body["choices"], whole["choices"]);
}

async fn likelihoods_and_choices_are_told(client: &Client, body: &Value, text: &str) {
    let mut asked = body.clone();
    asked["logprobs"] = json!(2);
    asked["n"] = json!(2);
    let answer = client.complete(&asked).await.ok();
    for (index, choice) in answer.body["choices"].as_array().unwrap().iter().enumerate() {
        assert_eq!((&choice["index"], &choice["text"]), (&json!(index), &json!(text)));
        let told = &choice["logprobs"];
        let tokens: Vec<&str> =
            told["tokens"].as_array().unwrap().iter().map(|token| token.as_str().unwrap()).collect();
        assert_eq!(tokens.concat(), text);
        let offsets: Vec<u64> = told["text_offset"].as_array().unwrap().iter().map(|at| at.as_u64().unwrap()).collect();
        assert!(offsets[0] == 0 && offsets.len() == tokens.len() && offsets.is_sorted(), "{told}");
        assert!(told["token_logprobs"].as_array().unwrap().iter().all(|log| log.as_f64().unwrap() <= 0.0));
        assert!(
            told["top_logprobs"].as_array().unwrap().iter().all(|top| top.as_object().unwrap().len() == 2),
            "{told}"
        );
    }
    asked["stream"] = json!(true);
    asked["stream_options"] = json!({"include_usage": true});
    let mut stream = client.stream_of("/v1/completions", &asked).await;
    let (mut texts, mut ends, mut usage) = ([String::new(), String::new()], 0, Value::Null);
    while let Some(event) = stream.next().await.unwrap() {
        if let Some(choice) = event["choices"].get(0) {
            let index = usize::try_from(choice["index"].as_u64().unwrap()).unwrap();
            texts[index].push_str(choice["text"].as_str().unwrap());
            ends += u32::from(choice["finish_reason"].is_string());
        }
        usage = if event["usage"].is_object() { event["usage"].clone() } else { usage };
    }
    assert_eq!((texts, ends), ([text.to_owned(), text.to_owned()], 2));
    assert_eq!(usage["completion_tokens"], answer.usage()["completion_tokens"]);
}

async fn what_cannot_be_gone_on_from_is_refused_by_its_name(client: &Client) {
    for (field, value) in [
        ("prompt", json!("")),
        ("prompt", json!([999_999])),
        ("prompt", json!(["a", "b"])),
        ("prompt", json!("12 + 30 ".repeat(4_000))),
        ("echo", json!(true)),
        ("suffix", json!("end")),
    ] {
        let mut body = json!({"model": MODEL, "prompt": "a"});
        body[field] = value.clone();
        let refused = client.complete(&body).await;
        assert_eq!((refused.status, &refused.body["error"]["param"]), (400, &json!(field)), "{}", refused.body);
    }
    let keyed = client.with_idempotency_key("tale");
    let body = json!({"model": MODEL, "prompt": "Once upon a time"});
    keyed.complete(&body).await.ok();
    assert_eq!(keyed.complete(&body).await.status, 409);
}
