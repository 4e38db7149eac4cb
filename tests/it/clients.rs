//! The official `openai` client from npm against a running system: the flows in `tests/clients`.

use serde_json::{Value, json};
use tests::books;
use tests::client::MODEL;
use tests::database::from_environment;
use tests::model;
use tests::node::NodeSettings;
use tests::system::TestSystem;
use tests::wait::in_time;
use tokio::process::Command;

#[tokio::test]
async fn the_official_client_completes_streams_calls_tools_and_reads_errors() {
    let system = TestSystem::start().await;
    let rich = system.demo.tenant.api_key.clone();
    let run = async |flow: &str| flow_of(&system, flow, &rich, &[]).await;

    let (plain, stream) = (run("plain").await, run("stream").await);
    assert_eq!((&plain["object"], &plain["model"]), (&json!("chat.completion"), &json!(MODEL)));
    assert_eq!(plain["request_id"], plain["id"], "the request id is the job's");
    assert_eq!(stream["request_id"], stream["id"]);
    for told in ["text", "finish_reason", "usage", "model"] {
        assert_eq!(plain[told], stream[told], "{told}");
    }
    assert!(plain["usage"]["completion_tokens"].as_i64().is_some_and(|tokens| tokens > 0), "{plain}");
    assert!(stream["pieces"].as_i64().is_some_and(|pieces| pieces > 0), "{stream}");
    let job = books::job(&mut system.database().await, plain["id"].as_str().unwrap()).await;
    assert_eq!(json!(job.output_tokens), plain["usage"]["completion_tokens"]);

    let tools = run("tools").await;
    assert_eq!(tools["finish_reason"], "tool_calls", "{tools}");
    let call = &tools["calls"][0];
    assert_eq!((&call["name"], &call["arguments"]), (&json!("get_weather"), &json!({"city": "Paris"})));

    let forms = run("forms").await;
    assert!(forms["json"]["sum"].is_i64() && forms["json"]["sure"].is_boolean(), "{forms}");
    let told = forms["logprobs"].as_array().unwrap();
    assert_eq!(
        told.iter().map(|token| token["token"].as_str().unwrap()).collect::<String>(),
        forms["text"].as_str().unwrap()
    );
    assert!(told.iter().all(|token| token["top"] == 3 && token["logprob"].as_f64().is_some_and(|log| log <= 0.0)));
    assert_eq!((&forms["finish_reason"], &forms["call"]["name"]), (&json!("tool_calls"), &json!("get_weather")));
    let arguments: Value = serde_json::from_str(forms["call"]["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["city"].is_string() && arguments["days"].is_i64(), "{arguments}");
    assert_eq!((&forms["bad"]["status"], &forms["bad"]["param"]), (&json!(400), &json!("response_format")));

    let choices = run("choices").await;
    let text = &plain["text"];
    assert_eq!((&choices["texts"], &choices["indices"]), (&json!([text, text]), &json!([0, 1])), "{choices}");
    assert_eq!(choices["streamed"], choices["texts"]);
    let (one, two) = (&plain["usage"], &choices["usage"]);
    assert_eq!(one["prompt_tokens"], two["prompt_tokens"], "the prompt counts once");
    let output = one["completion_tokens"].as_i64().unwrap();
    assert_eq!(two["completion_tokens"], json!(2 * output));

    let python = flow_by(&from_environment("TOKENGRID_PYTHON"), "choices.py", &system, &rich, &[]).await;
    assert_eq!((&python["texts"], &python["streamed"]), (&choices["texts"], &choices["texts"]), "{python}");
    let counted = json!({
        "prompt_tokens": two["prompt_tokens"], "completion_tokens": two["completion_tokens"],
        "cached_tokens": two["prompt_tokens_details"]["cached_tokens"], "reasoning_tokens": 0,
    });
    assert_eq!(python["usage"], counted);
    let completion = run("completion").await;
    for told in ["text", "finish_reason"] {
        assert_eq!(completion[told], plain[told], "{told}");
    }

    let models = run("models").await;
    assert_eq!((&models["ids"], &models["model"]["id"]), (&json!([MODEL]), &json!(MODEL)));
    assert_eq!((&models["unknown"]["class"], &models["unknown"]["status"]), (&json!("NotFoundError"), &json!(404)));

    let errors = run("errors").await;
    for (case, class, status, code, param) in [
        ("unknown_model", "NotFoundError", 404, "model_not_found", json!("model")),
        ("bad_key", "AuthenticationError", 401, "invalid_api_key", json!(null)),
        ("negative_max_tokens", "BadRequestError", 400, "invalid_value", json!("max_tokens")),
        ("no_messages", "BadRequestError", 400, "invalid_value", json!("messages")),
    ] {
        let error = &errors[case];
        let found = (&error["class"], &error["status"], &error["code"], &error["param"]);
        assert_eq!(found, (&json!(class), &json!(status), &json!(code), &param), "{case}: {error}");
    }
    system.end().await;
}

#[tokio::test]
async fn the_official_client_leaves_a_stream_and_pays_for_what_came() {
    let slow = NodeSettings::default().tokens_per_second_max(20);
    let system = TestSystem::builder().node(slow).start().await;
    let key = system.demo.tenant.api_key.clone();
    let left = flow_of(&system, "cancel", &key, &[("QUESTION", "Count from 1 to 100"), ("STOP_AFTER", "3")]).await;
    assert_eq!((&left["pieces"], &left["aborted"]), (&json!(3), &json!(true)), "{left}");
    system.settled().await;
    let job = books::job(&mut system.database().await, left["request_id"].as_str().unwrap()).await;
    assert_eq!(job.status, "cancelled");
    assert!(job.output_tokens.is_some_and(|tokens| (3..200).contains(&tokens)), "{job:?}");
    system.end().await;
}

#[tokio::test]
async fn the_official_client_is_told_when_there_is_no_money() {
    let system = TestSystem::builder().credit("0.000001").node(NodeSettings::default()).start().await;
    let key = system.demo.tenant.api_key.clone();
    let errors = flow_of(&system, "errors", &key, &[("POOR_API_KEY", &key)]).await;
    let error = &errors["no_money"];
    assert_eq!((&error["status"], &error["code"]), (&json!(402), &json!("insufficient_funds")), "{errors}");
    assert_eq!(error["type"], "insufficient_quota");
    system.end().await;
}

/// Runs a flow of `tests/clients` with node and gives the JSON line that it printed.
async fn flow_of(system: &TestSystem, flow: &str, key: &str, env: &[(&str, &str)]) -> Value {
    flow_by("node", &format!("{flow}.mjs"), system, key, env).await
}

async fn flow_by(program: &str, flow: &str, system: &TestSystem, key: &str, env: &[(&str, &str)]) -> Value {
    let folder = model::workspace().join("tests/clients");
    let installed = folder.join("node_modules/openai").is_dir();
    assert!(installed, "{} has no node_modules: run `cargo xtask test`, which installs them", folder.display());
    let mut command = Command::new(program);
    command.arg(flow).current_dir(&folder).kill_on_drop(true);
    command.env("BASE_URL", format!("http://{}/v1", system.control_plane.address));
    command.env("API_KEY", key).env("MODEL", MODEL).envs(env.iter().copied());
    let output = in_time(&format!("{flow} ended"), command.output()).await.expect("node and python are installed");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{flow}: {printed}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(printed.trim()).unwrap_or_else(|error| panic!("{flow} printed {printed:?}: {error}"))
}
