//! Answers of a demanded form through `/v1`: JSON of a schema, a regular expression, tools that must be called.

use serde_json::{Value, json};
use tests::books;
use tests::client::{Answer, Chat, Client, ask, streamed};
use tests::system::TestSystem;

#[tokio::test]
async fn an_answer_has_the_form_that_was_demanded() {
    let system = TestSystem::start().await;
    let client = system.client();
    let question = ask("What is Tokengrid?").max_tokens(150);
    json_is_of_its_schema(&client, &question).await;
    a_regular_expression_is_matched(&client, &question).await;
    a_tool_is_called_when_it_must_be(&client, &question).await;
    likelihoods_are_the_same_whole_and_streamed(&client).await;
    a_bias_bars_a_token(&client).await;
    what_cannot_be_held_is_refused_before_it_costs_anything(&system, &client, &question).await;
    system.end().await;
}

async fn json_is_of_its_schema(client: &Client, question: &Chat) {
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["kind", "open"],
        "properties": {"kind": {"enum": ["market", "bank"]}, "open": {"type": "boolean"}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "it", "strict": true, "schema": schema}});
    let question = question.clone().with("response_format", format);
    let whole = client.chat(&question).await.ok();
    let value: Value = serde_json::from_str(whole.text()).unwrap();
    assert!(["market", "bank"].contains(&value["kind"].as_str().unwrap()) && value["open"].is_boolean(), "{value}");
    assert_eq!(whole.finish_reason(), "stop");
    assert_eq!(client.stream(&streamed(&question)).await.rest().await.text, whole.text());

    let any = question.with("response_format", json!({"type": "json_object"}));
    let any = client.chat(&any).await.ok();
    assert!(any.finish_reason() == "length" || serde_json::from_str::<Value>(any.text()).unwrap().is_object());
}

async fn a_regular_expression_is_matched(client: &Client, question: &Chat) {
    let format = json!({"type": "regex", "pattern": "[0-9]{4}-(0[1-9]|1[0-2])"});
    let date = client.chat(&question.clone().with("response_format", format)).await.ok();
    let (year, month) = date.text().split_once('-').unwrap();
    assert!(year.len() == 4 && (1..=12).contains(&month.parse().unwrap()), "{}", date.text());
}

async fn a_tool_is_called_when_it_must_be(client: &Client, question: &Chat) {
    let tool = |name: &str| {
        json!({"type": "function", "function": {"name": name, "parameters": {"type": "object",
            "properties": {"to": {"type": "string", "maxLength": 8}, "urgent": {"type": "boolean"}}, "required": ["urgent"]}}})
    };
    let question = question.clone().with("tools", json!([tool("page"), tool("mail")]));
    let called = |answer: &Answer| {
        let function = &answer.body["choices"][0]["message"]["tool_calls"][0]["function"];
        let arguments: Value = serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap();
        assert!(arguments["urgent"].is_boolean(), "{arguments}");
        function["name"].as_str().unwrap().to_owned()
    };
    let required = client.chat(&question.clone().with("tool_choice", "required")).await.ok();
    assert_eq!(required.finish_reason(), "tool_calls");
    assert!(["page", "mail"].contains(&called(&required).as_str()));
    for name in ["page", "mail"] {
        let choice = json!({"type": "function", "function": {"name": name}});
        let question = question.clone().with("tool_choice", choice);
        let whole = client.chat(&question).await.ok();
        assert_eq!(called(&whole), name);
        let stream = client.stream(&streamed(&question)).await.rest().await;
        assert_eq!(stream.tool_calls.len(), 1);
        assert_eq!(stream.tool_calls[0]["function"], whole.body["choices"][0]["message"]["tool_calls"][0]["function"]);
    }
}

async fn likelihoods_are_the_same_whole_and_streamed(client: &Client) {
    let question = ask("What is 12 + 30?").max_tokens(20).with("logprobs", true).with("top_logprobs", 2);
    let whole = client.chat(&question).await.ok();
    let told = whole.body["choices"][0]["logprobs"]["content"].as_array().unwrap().clone();
    let text: String = told.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!(text, whole.text());
    assert_eq!(json!(told.len()), whole.usage()["completion_tokens"]);
    for token in &told {
        let (top, logprob) = (token["top_logprobs"].as_array().unwrap(), token["logprob"].as_f64().unwrap());
        assert!(top.len() == 2 && top[0]["logprob"] == token["logprob"] && logprob <= 0.0, "{token}");
        assert_eq!(token["bytes"].as_array().unwrap().len(), token["token"].as_str().unwrap().len());
    }
    let stream = client.stream(&streamed(&question)).await.rest().await;
    assert_eq!(stream.logprobs.len(), told.len());
    let drawn = |tokens: &[Value]| tokens.iter().map(|token| token["token"].clone()).collect::<Vec<_>>();
    assert_eq!(drawn(&stream.logprobs), drawn(&told));
}

async fn a_bias_bars_a_token(client: &Client) {
    let question = ask("What is 12 + 30?").max_tokens(20);
    let plain = client.chat(&question).await.ok();
    let first = plain.text().bytes().next().unwrap();
    // The vocabulary's first tokens are the bytes.
    let bias = json!({first.to_string(): -100});
    let barred = client.chat(&question.with("logit_bias", bias)).await.ok();
    assert!(!barred.text().as_bytes().contains(&first), "{} without {first}", barred.text());
}

async fn what_cannot_be_held_is_refused_before_it_costs_anything(
    system: &TestSystem,
    client: &Client,
    question: &Chat,
) {
    let jobs = books::jobs(&mut system.database().await).await.len();
    let schema =
        |schema: Value| json!({"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema}});
    for (format, word) in [
        (schema(json!({"type": "array", "uniqueItems": true})), "uniqueItems"),
        (schema(json!({"$ref": "https://example.com/a"})), "example.com"),
        (schema(json!({"allOf": [{"type": "string"}, {"type": "null"}]})), "Unsatisfiable"),
        (json!({"type": "regex", "pattern": "(ab|cd)?".repeat(300)}), "at most"),
        (json!({"type": "regex", "pattern": "("}), "regex"),
    ] {
        let answer = client.chat(&question.clone().with("response_format", format)).await;
        let error = &answer.body["error"];
        assert_eq!((answer.status, &error["param"]), (400, &json!("response_format")), "{error}");
        assert!(error["message"].as_str().unwrap().contains(word), "{error}");
    }
    let bad = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "strin"}}}}}]);
    let answer = client.chat(&question.clone().with("tools", bad)).await;
    assert_eq!((answer.status, &answer.body["error"]["param"]), (400, &json!("tools")), "{}", answer.body);
    let bias = client.chat(&question.clone().with("logit_bias", json!({"99999": 1}))).await;
    assert_eq!((bias.status, &bias.body["error"]["param"]), (400, &json!("logit_bias")));
    assert_eq!(books::jobs(&mut system.database().await).await.len(), jobs);
}
