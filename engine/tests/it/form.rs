//! Outputs that must look like something, and how likely their tokens were.

use engine::align::prompts::Prompts;
use engine::{Event, Refused};
use primitives::grammar::{Grammar, Tool};
use primitives::node_protocol::{FinishReason, Sampling, TokenLogprobs, Work};
use serde_json::{Value, json};

use crate::bundled::{engine, finish, model, question, weights_file, work};

fn held(grammar: Grammar, seed: u64) -> Work {
    let mut work = work(question("What is Tokengrid?"), 200);
    // Hot enough that only the grammar keeps it in form.
    (work.grammar, work.sampling.temperature, work.sampling.seed) = (Some(grammar), 1.5, seed);
    work
}

fn person() -> Grammar {
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["name", "age", "tags"], "properties": {
        "name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3}}});
    Grammar::JsonSchema { schema, strict: true }
}

#[test]
fn every_output_is_of_its_schema_however_hot_it_is_drawn() {
    let engine = engine(|config| config.slots = 8);
    let requests: Vec<_> = (0..24).map(|seed| engine.submit(held(person(), seed)).unwrap()).collect();
    for request in requests {
        let output = finish(request);
        assert_eq!(output.reason, FinishReason::Stop, "{}", output.text);
        let value: Value = serde_json::from_str(&output.text).unwrap();
        assert!(value["name"].as_str().is_some_and(|name| name.chars().count() <= 12), "{value}");
        assert!(value["age"].as_u64().is_some_and(|age| age <= 150), "{value}");
        assert!(value["tags"].as_array().is_some_and(|tags| tags.len() <= 3), "{value}");
    }
}

#[test]
fn a_called_tool_gets_arguments_of_its_schema() {
    let engine = engine(|config| config.slots = 8);
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string", "maxLength": 10}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city", "days"]});
    let tools = vec![Tool { name: "forecast".into(), parameters, strict: true }];
    let grammar = Grammar::ToolCalls { tools, required: true, parallel: false, instead: None };
    for seed in 0..12 {
        let output = finish(engine.submit(held(grammar.clone(), seed)).unwrap());
        let call = output.text.strip_prefix("<tool_call>").and_then(|text| text.strip_suffix("</tool_call>")).unwrap();
        let call: Value = serde_json::from_str(call).unwrap();
        assert_eq!(call["name"], "forecast");
        assert!((1..=9).contains(&call["arguments"]["days"].as_i64().unwrap()), "{call}");
    }
}

#[test]
fn held_out_requests_with_tools_are_answered_or_call_one_in_form() {
    let engine = engine(|config| (config.slots, config.context_tokens, config.waiting_max) = (16, 1_024, 100));
    let prompts = Prompts::read(&weights_file().with_file_name("heldout.jsonl"), &model()).unwrap();
    let asked: Vec<_> = prompts.all.iter().filter(|prompt| !prompt.tools.is_empty()).step_by(5).collect();
    let requests: Vec<_> = asked
        .iter()
        .map(|prompt| {
            let mut tools: Vec<Tool> = prompt
                .tools
                .iter()
                .map(|tool| Tool {
                    name: tool["function"]["name"].as_str().unwrap().to_owned(),
                    parameters: tool["function"]["parameters"].clone(),
                    strict: false,
                })
                .collect();
            tools.dedup_by(|a, b| a.name == b.name);
            let mut grammar = Grammar::ToolCalls { tools, required: false, parallel: true, instead: None };
            grammar.sort_arguments();
            let mut work = work(prompt.ids.clone(), 200);
            work.grammar = Some(grammar);
            (prompt, engine.submit(work).unwrap())
        })
        .collect();
    for (prompt, request) in requests {
        let output = finish(request);
        if output.reason == FinishReason::Stop
            && let Some((_, call)) = output.text.split_once("<tool_call>")
        {
            let call: Value = serde_json::from_str(call.strip_suffix("</tool_call>").unwrap()).unwrap();
            assert!(prompt.tools.iter().any(|tool| tool["function"]["name"] == call["name"]), "{call}");
        }
    }
}

#[test]
fn an_output_in_form_goes_on_elsewhere_where_it_was_left() {
    let engine = engine(|config| config.slots = 1);
    let greedy = || Work { sampling: Sampling::greedy(), ..held(person(), 0) };
    let whole = finish(engine.submit(greedy()).unwrap());
    for cut in 1..whole.ids.len() {
        let mut rest = greedy();
        rest.resume = whole.ids[..cut].to_vec();
        rest.resume_text_bytes = rest.resume.iter().map(|&id| model().piece(id).len() as u64).sum();
        let Ok(request) = engine.submit(rest) else { continue };
        assert_eq!(finish(request).ids, whole.ids[cut..], "from {cut}");
    }
}

#[test]
fn what_cannot_be_held_is_refused_before_any_work() {
    let engine = engine(|_| {});
    let refused = |work: Work| engine.submit(work).err().unwrap();
    let unheld = Grammar::Regex { pattern: "(".into() };
    assert!(matches!(refused(held(unheld, 0)), Refused::Grammar { .. }));
    let mut resumed = held(Grammar::Regex { pattern: "[0-9]+".into() }, 0);
    resumed.resume = question("x");
    assert!(matches!(refused(resumed), Refused::Grammar { .. }), "what it resumes breaks the grammar");
    let mut work = work(question("Hi"), 4);
    work.logprobs = Some(200);
    assert_eq!(refused(work.clone()), Refused::Logprobs { most: 20 });
    (work.logprobs, work.sampling.logit_bias) = (None, vec![(1_000_000, 1.0)]);
    assert!(matches!(refused(work), Refused::UnknownToken { id: 1_000_000, .. }));
}

#[test]
fn likelihoods_are_told_for_each_token_and_change_nothing() {
    let engine = engine(|_| {});
    let mut asked = work(question("What is 12 + 30?"), 24);
    let plain = finish(engine.submit(asked.clone()).unwrap());
    asked.logprobs = Some(5);
    let mut request = engine.submit(asked).unwrap();
    let (mut ids, mut told): (Vec<u32>, Vec<TokenLogprobs>) = (vec![], vec![]);
    while let Some(event) = request.blocking_next() {
        if let Event::Tokens(frame) = event {
            assert_eq!(frame.logprobs.len(), frame.ids.len());
            ids.extend(frame.ids);
            told.extend(frame.logprobs);
        }
    }
    assert_eq!(ids, plain.ids);
    assert!(!told.is_empty());
    for (id, token) in ids.iter().zip(&told) {
        assert_eq!((token.drawn.id, &token.top[0]), (*id, &token.drawn), "greedy draws the likeliest");
        assert_eq!(token.drawn.bytes, model().piece(*id));
        let sum: f64 = token.top.iter().map(|token| f64::from(token.logprob).exp()).sum();
        assert!(token.top.len() == 5 && sum <= 1.0 + 1e-5, "{token:?}");
        assert!(token.top.is_sorted_by(|a, b| a.logprob >= b.logprob));
    }
}
