//! The bundled model really answers: held-out questions through the API.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::client::{Answer, Chat, Client, MODEL};
use tests::model;
use tests::system::TestSystem;
use tokio::task::JoinSet;

/// Right answers of a task at least. *Units*: percent.
const ACCURACY_MIN: usize = 95;
/// Questions at once: what one node decodes together.
const AT_ONCE: usize = 32;

#[tokio::test]
async fn held_out_questions_are_answered_right() {
    let system = TestSystem::builder()
        .setting("TOKENGRID_REQUESTS_PER_MINUTE_MAX", 1_000_000)
        .setting("TOKENGRID_TOKENS_PER_MINUTE_MAX", 1_000_000_000)
        .node(Default::default())
        .start()
        .await;
    let mut cases = model::held_out().into_iter();
    let mut tasks: BTreeMap<String, Task> = BTreeMap::new();
    let mut asking = JoinSet::new();
    loop {
        while asking.len() < AT_ONCE
            && let Some(case) = cases.next()
        {
            asking.spawn(answer(system.client(), case));
        }
        let Some(answered) = asking.join_next().await else { break };
        let Answered { task, wrong } = answered.unwrap();
        tasks.entry(task).or_default().count(wrong);
    }
    let mut failed = vec![];
    println!("{:<16} {:>6} {:>6} {:>7}", "task", "right", "of", "%");
    for (name, Task { right, of, wrong }) in &tasks {
        println!("{name:<16} {right:>6} {of:>6} {:>7.1}", *right as f64 * 100.0 / *of as f64);
        if right * 100 < of * ACCURACY_MIN {
            failed.push(format!("{name}: {right} of {of}; for example {wrong:?}"));
        }
    }
    assert!(failed.is_empty(), "not as good as the model card says:\n{}", failed.join("\n"));
    assert!(tasks.len() >= 4, "the held-out cases cover {} tasks", tasks.len());
    system.end().await;
}

#[derive(Default)]
struct Task {
    right: usize,
    of: usize,
    wrong: Vec<String>,
}

impl Task {
    fn count(&mut self, wrong: Option<String>) {
        self.of += 1;
        match wrong {
            None => self.right += 1,
            Some(wrong) if self.wrong.len() < 3 => self.wrong.push(wrong),
            Some(_) => {}
        }
    }
}

struct Answered {
    task: String,
    wrong: Option<String>,
}

async fn answer(client: Client, case: Value) -> Answered {
    let mut body = json!({"model": MODEL, "messages": case["messages"], "max_tokens": 400});
    if case["tools"].as_array().is_some_and(|tools| !tools.is_empty()) {
        body["tools"] = case["tools"].clone();
    }
    let answer = client.chat(&Chat(body)).await.ok();
    let (said, expected) = (said(&answer), case["answer"].as_str().unwrap());
    let right = calls_of(&said).map_or(said.trim() == expected.trim(), |calls| Some(calls) == calls_of(expected));
    let question =
        case["messages"].as_array().and_then(|messages| messages.last()).map(|last| last["content"].to_string());
    let wrong = (!right).then(|| format!("{} → {said:?}, not {expected:?}", question.unwrap_or_default()));
    Answered { task: case["task"].as_str().unwrap().to_owned(), wrong }
}

/// What the assistant said as the model wrote it, calls included.
fn said(answer: &Answer) -> String {
    let message = &answer.body["choices"][0]["message"];
    let calls = message["tool_calls"].as_array().into_iter().flatten().map(|call| {
        let function = &call["function"];
        format!(
            "<tool_call>{{\"name\": {}, \"arguments\": {}}}</tool_call>",
            function["name"],
            function["arguments"].as_str().unwrap()
        )
    });
    let calls: Vec<String> = calls.collect();
    format!("{}{}", message["content"].as_str().unwrap_or_default(), calls.join("\n"))
}

/// The calls in a text, so that spaces in their JSON do not count; none when there is no call.
fn calls_of(text: &str) -> Option<Vec<Value>> {
    let calls = text.split("<tool_call>").skip(1).map(|rest| rest.split("</tool_call>").next().unwrap_or_default());
    let calls: Option<Vec<Value>> = calls.map(|call| serde_json::from_str(call).ok()).collect();
    calls.filter(|calls| !calls.is_empty())
}
