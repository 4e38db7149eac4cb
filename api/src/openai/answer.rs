//! Answers of `/v1/chat/completions`, as the wire has them.

use primitives::node_protocol::{TokenLogprob, TokenLogprobs};
use serde::Serialize;
use serde_json::{Value, json};

use crate::inference::Ending;

/// Tokens counted by the platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// The prompt's tokens.
    pub prompt_tokens: u32,
    /// The delivered tokens.
    pub completion_tokens: u32,
    /// Both.
    pub total_tokens: u32,
    /// What is known of the prompt's tokens.
    pub prompt_tokens_details: PromptTokensDetails,
    /// What is known of the delivered tokens.
    pub completion_tokens_details: CompletionTokensDetails,
}

/// How the delivered tokens divide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CompletionTokensDetails {
    /// Those of the thinking.
    pub reasoning_tokens: u32,
}

/// How the prompt's tokens divide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PromptTokensDetails {
    /// Those that a cache held.
    pub cached_tokens: u32,
}

/// What a request used, choice by choice; the prompt is counted with the one that pays it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    prompt_tokens: u32,
    cached_tokens: u32,
    output_tokens: u32,
    reasoning_tokens: u32,
}

impl Used {
    /// Counts a choice that ended.
    pub fn end(&mut self, ending: &Ending) {
        self.add(ending.prompt_tokens, ending.cached_tokens, ending.output_tokens);
        self.reasoning_tokens += ending.reasoning_tokens;
    }

    /// Counts these tokens.
    pub fn add(&mut self, prompt_tokens: u32, cached_tokens: u32, output_tokens: u32) {
        self.prompt_tokens += prompt_tokens;
        self.cached_tokens += cached_tokens;
        self.output_tokens += output_tokens;
    }

    /// As the wire has it.
    pub fn usage(&self) -> Usage {
        let Self { prompt_tokens, cached_tokens, output_tokens, reasoning_tokens } = *self;
        Usage {
            prompt_tokens,
            completion_tokens: output_tokens,
            total_tokens: prompt_tokens + output_tokens,
            prompt_tokens_details: PromptTokensDetails { cached_tokens },
            completion_tokens_details: CompletionTokensDetails { reasoning_tokens },
        }
    }
}

/// What identifies every piece of one answer.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The job's id.
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The model's name.
    pub model: String,
}

impl Envelope {
    /// A whole answer.
    pub fn completion(&self, choices: Vec<Value>, usage: Usage) -> Value {
        let Self { id, created, model } = self;
        json!({
            "id": id, "object": "chat.completion", "created": created, "model": model,
            "choices": choices, "usage": usage,
        })
    }

    /// A piece of a streamed answer.
    pub fn chunk(&self, choice: Value) -> Value {
        let Self { id, created, model } = self;
        json!({"id": id, "object": "chat.completion.chunk", "created": created, "model": model, "choices": [choice]})
    }

    /// The last piece, which tells the usage.
    pub fn usage_chunk(&self, usage: Usage) -> Value {
        let Self { id, created, model } = self;
        json!({
            "id": id, "object": "chat.completion.chunk", "created": created, "model": model,
            "choices": [], "usage": usage,
        })
    }
}

/// One of the choices of an answer; `holds` is `message` in a whole one and `delta` in a piece.
pub fn choice(index: usize, holds: &str, content: &Value, finish_reason: Option<&str>, logprobs: &Value) -> Value {
    json!({"index": index, holds: content, "logprobs": logprobs, "finish_reason": finish_reason})
}

/// How likely tokens were, as OpenAI's clients read it; null where nothing is told.
pub fn logprobs(tokens: &[TokenLogprobs]) -> Value {
    if tokens.is_empty() {
        return Value::Null;
    }
    let one = |token: &TokenLogprob| {
        let text = String::from_utf8_lossy(&token.bytes);
        json!({"token": text, "logprob": token.logprob, "bytes": token.bytes})
    };
    let content = tokens.iter().map(|token| {
        let mut drawn = one(&token.drawn);
        drawn["top_logprobs"] = token.top.iter().map(one).collect();
        drawn
    });
    json!({"content": content.collect::<Vec<_>>(), "refusal": null})
}
