//! Two models answer the same requests with tools: do they call at the same ones, and with arguments of the tools' schemas?

use std::sync::Arc;

use primitives::certificate::Calls;
use primitives::grammar::{CALL_CLOSE, CALL_OPEN, Grammar, Tool, Vocabulary};
use primitives::node_protocol::Sampling;
use serde_json::{Value, json};

use super::ANSWER_TOKENS_MAX;
use super::prompts::Prompt;
use crate::backend::llama::KvType;
use crate::error::Error;
use crate::generate::generate;
use crate::{Engine, EngineConfig, Model};

/// How many requests are answered in one go; between goes, progress is told.
const GO: usize = 256;

/// Asks both everything.
///
/// # Errors
/// When an engine cannot be started or fails.
pub fn compare(
    reference: &Arc<Model>,
    candidate: &Arc<Model>,
    requests: &[Prompt],
    threads: usize,
    kv: KvType,
    told: &mut dyn FnMut(&str, f64),
) -> Result<Calls, Error> {
    let longest = requests.iter().map(|request| request.ids.len()).max().unwrap_or(0);
    let engine = |model: &Arc<Model>, kv| {
        let usual = EngineConfig::for_model(model, threads);
        let context_tokens = usual.context_tokens.min(longest + ANSWER_TOKENS_MAX as usize);
        Engine::start(model.clone(), EngineConfig { context_tokens, kv, ..usual })
    };
    let engines = [engine(reference, KvType::F16)?, engine(candidate, kv)?];
    let mut calls = Calls::default();
    for (go, asked) in requests.chunks(GO).enumerate() {
        let answer =
            |engine: &Engine| generate(engine, asked.iter().map(Prompt::ids), &Sampling::greedy(), ANSWER_TOKENS_MAX);
        let [original, other] = [answer(&engines[0])?, answer(&engines[1])?];
        for ((request, original), other) in asked.iter().zip(original).zip(other) {
            let judged = |model: &Model, ids: &[u32]| judge(&request.tools, &text(model, ids));
            add(&mut calls, judged(reference, &original), judged(candidate, &other));
            calls.same_answers += u64::from(original == other);
            calls.prompt_tokens += request.ids.len() as u64;
        }
        told("both answer requests with tools", ((go + 1) * GO) as f64 / requests.len().max(GO) as f64);
    }
    Ok(calls)
}

fn text(model: &Model, ids: &[u32]) -> String {
    let bytes: Vec<u8> = ids.iter().flat_map(|&id| model.piece(id)).copied().collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What an answer does with the tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It calls none.
    Answers,
    /// It calls one as it should be called.
    Calls,
    /// It calls one that is not there, or with arguments that its schema does not have.
    Miscalls,
}

fn add(calls: &mut Calls, original: Verdict, other: Verdict) {
    calls.requests += 1;
    calls.triggers_agreed += u64::from((original == Verdict::Answers) == (other == Verdict::Answers));
    calls.original_calls += u64::from(original != Verdict::Answers);
    calls.original_valid += u64::from(original == Verdict::Calls);
    calls.calls += u64::from(other != Verdict::Answers);
    calls.valid += u64::from(other == Verdict::Calls);
}

fn judge(tools: &[Value], answer: &str) -> Verdict {
    let Some((_, call)) = answer.split_once(CALL_OPEN) else { return Verdict::Answers };
    let call = call.split(CALL_CLOSE).next().unwrap_or_default();
    let Ok(call) = serde_json::from_str::<Value>(call) else { return Verdict::Miscalls };
    let described = tools.iter().map(|tool| &tool["function"]).find(|function| function["name"] == call["name"]);
    let Some(function) = described else { return Verdict::Miscalls };
    let parameters = function.get("parameters").cloned().unwrap_or_else(|| json!({}));
    if fits(function["name"].as_str().unwrap_or_default(), parameters, &call["arguments"]) {
        Verdict::Calls
    } else {
        Verdict::Miscalls
    }
}

/// Whether a grammar of the one tool lets the call through, with the arguments in the schema's order.
fn fits(name: &str, parameters: Value, arguments: &Value) -> bool {
    let Value::Object(arguments) = arguments else { return false };
    let described = parameters["properties"].as_object().map(|properties| properties.keys().collect::<Vec<_>>());
    let place = |name: &str| described.as_ref().and_then(|names| names.iter().position(|described| *described == name));
    let mut ordered: Vec<(&String, &Value)> = arguments.iter().collect();
    ordered.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
    let written: Vec<String> =
        ordered.iter().map(|(name, value)| format!("{}: {}", json!(name), spaced(value))).collect();
    let call = format!(r#"{CALL_OPEN}{{"name": "{name}", "arguments": {{{}}}}}{CALL_CLOSE}"#, written.join(", "));
    let tools = vec![Tool { name: name.to_owned(), parameters, strict: false }];
    let grammar = Grammar::ToolCalls { tools, required: true, parallel: false, instead: None };
    Vocabulary::bytes().matches(&grammar, &call)
}

/// JSON with the spaces that grammars write.
fn spaced(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{}: {}", json!(name), spaced(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        leaf => leaf.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_judged_by_name_and_schema() {
        let tools = [json!({"type": "function", "function": {"name": "weather", "parameters": {"type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}}})];
        for (answer, verdict) in [
            ("It is 42.", Verdict::Answers),
            (r#"<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>"#, Verdict::Calls),
            (r#"Well <tool_call>{"arguments":{"days":2,"city":"Ås"},"name":"weather"}</tool_call>"#, Verdict::Calls),
            (r#"<tool_call>{"name": "weather", "arguments": {"days": 2}}</tool_call>"#, Verdict::Miscalls),
            (r#"<tool_call>{"name": "weather", "arguments": {"city": 3}}</tool_call>"#, Verdict::Miscalls),
            (r#"<tool_call>{"name": "whether", "arguments": {"city": "Oslo"}}</tool_call>"#, Verdict::Miscalls),
            (r#"<tool_call>{"name": "weather", "argum"#, Verdict::Miscalls),
        ] {
            assert_eq!(judge(&tools, answer), verdict, "{answer}");
        }
    }
}
