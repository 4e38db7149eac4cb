//! Which engine answers, and how it spells what the OpenAI API leaves open.

use primitives::grammar::Grammar;
use primitives::node_protocol::{Sampling, Work};
use serde_json::{Map, Value, json};

use crate::error::Refused;

/// An engine's way of speaking, known by who it says owns its models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// llama.cpp's server, by its own completion path: the only one that tells ids.
    LlamaCpp,
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// Whatever keeps to the OpenAI API and says no more.
    Plain,
}

/// What a request carries beside the prompt.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The model's name at the upstream.
    pub model: &'a str,
    /// What is to be done.
    pub work: &'a Work,
    /// Output tokens that may still come.
    pub output_left: usize,
    /// Requests of one salt alone may share cached prefixes.
    pub salt: &'a str,
}

impl Dialect {
    /// By the `owned_by` of a model in `/v1/models`.
    pub fn of_owner(owner: &str) -> Self {
        match owner {
            "llamacpp" => Self::LlamaCpp,
            "vllm" => Self::Vllm,
            "sglang" => Self::Sglang,
            _ => Self::Plain,
        }
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::LlamaCpp => "llama-server",
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
            Self::Plain => "OpenAI-compatible engine",
        }
    }

    /// Where it tells its version, and under which name.
    pub fn version_at(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::LlamaCpp => Some(("/props", "build_info")),
            Self::Vllm => Some(("/version", "version")),
            Self::Sglang => Some(("/server_info", "version")),
            Self::Plain => None,
        }
    }

    /// Where it says that it is well.
    pub fn health_path(self) -> &'static str {
        match self {
            Self::LlamaCpp | Self::Vllm | Self::Sglang => "/health",
            Self::Plain => "/v1/models",
        }
    }

    /// Where completions are asked for.
    pub fn completion_path(self) -> &'static str {
        match self {
            Self::LlamaCpp => "/completion",
            Self::Vllm | Self::Sglang | Self::Plain => "/v1/completions",
        }
    }

    /// Its gauges of requests that run, requests that wait, and the part of its KV cache that is used, from 0 to 1.
    pub fn gauges(self) -> [&'static [&'static str]; 3] {
        match self {
            Self::LlamaCpp => {
                [&["llamacpp:requests_processing"], &["llamacpp:requests_deferred"], &["llamacpp:kv_cache_usage_ratio"]]
            }
            Self::Vllm => [
                &["vllm:num_requests_running"],
                &["vllm:num_requests_waiting"],
                &["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"],
            ],
            Self::Sglang => [&["sglang:num_running_reqs"], &["sglang:num_queue_reqs"], &["sglang:token_usage"]],
            Self::Plain => [&[], &[], &[]],
        }
    }

    /// Refuses what it would not do as it is meant.
    ///
    /// # Errors
    /// [`Refused::Upstream`] names it.
    pub fn check(self, work: &Work) -> Result<(), Refused> {
        let Sampling { top_k, frequency_penalty, presence_penalty, .. } = work.sampling;
        let penalties = frequency_penalty != 0.0 || presence_penalty != 0.0;
        let refused = |what: &'static str| Err(Refused::Upstream { engine: self.name(), what });
        match self {
            Self::LlamaCpp if penalties => refused("penalties of the output alone: it counts the prompt's tokens too"),
            _ if penalties && !work.resume.is_empty() => {
                refused("penalties of an output that began elsewhere: it counts its own tokens only")
            }
            Self::Plain if top_k > 0 => refused("top_k"),
            Self::Sglang | Self::Plain if work.logprobs.is_some() => refused("log-probabilities with token ids"),
            _ => Ok(()),
        }
    }

    /// The request's body.
    pub fn body(self, prompt: Value, wanted: Wanted<'_>) -> Value {
        let Wanted { model, work, output_left, salt } = wanted;
        let sampling = &work.sampling;
        let mut body = json!({
            "model": model,
            "prompt": prompt,
            "stream": true,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        });
        let fields = body.as_object_mut().expect("it was made as an object");
        match self {
            Self::LlamaCpp => llama_cpp(fields, work, output_left),
            Self::Vllm | Self::Sglang | Self::Plain => {
                fields.insert("max_tokens".into(), output_left.into());
                fields.insert("stream_options".into(), json!({"include_usage": true}));
                // Signed 64 bits is what they read.
                fields.insert("seed".into(), (sampling.seed >> 1).into());
                fields.insert("frequency_penalty".into(), sampling.frequency_penalty.into());
                fields.insert("presence_penalty".into(), sampling.presence_penalty.into());
                if !sampling.logit_bias.is_empty() {
                    let biased = sampling.logit_bias.iter().map(|(id, bias)| (id.to_string(), Value::from(*bias)));
                    fields.insert("logit_bias".into(), Value::Object(biased.collect()));
                }
            }
        }
        match self {
            Self::Vllm => vllm(fields, work, salt),
            Self::Sglang => sglang(fields, work, salt),
            Self::LlamaCpp | Self::Plain => {}
        }
        body
    }
}

fn llama_cpp(fields: &mut Map<String, Value>, work: &Work, output_left: usize) {
    let sampling = &work.sampling;
    let biased: Vec<Value> = sampling.logit_bias.iter().map(|(id, bias)| json!([id, bias])).collect();
    let own = json!({
        "n_predict": output_left,
        "return_tokens": true,
        // Its slots keep prompts for whoever comes next: no tenant's may be found by another.
        "cache_prompt": false,
        "samplers": ["temperature", "top_k", "top_p"],
        "top_k": sampling.top_k,
        // 32 bits are read, and all ones mean a seed by chance.
        "seed": (sampling.seed ^ (sampling.seed >> 32)) & 0x7fff_ffff,
        "logit_bias": biased,
    });
    fields.extend(own.as_object().cloned().unwrap_or_default());
    if let Some(top) = work.logprobs {
        fields.insert("n_probs".into(), top.max(1).into());
    }
    if let Some(Grammar::JsonSchema { schema, .. }) = &work.grammar {
        fields.insert("json_schema".into(), schema.clone());
    }
}

fn vllm(fields: &mut Map<String, Value>, work: &Work, salt: &str) {
    fields.insert("top_k".into(), work.sampling.top_k.into());
    fields.insert("add_special_tokens".into(), false.into());
    fields.insert("return_token_ids".into(), true.into());
    fields.insert("cache_salt".into(), salt.into());
    if let Some(top) = work.logprobs {
        fields.insert("logprobs".into(), top.into());
        fields.insert("return_tokens_as_token_ids".into(), true.into());
    }
    match &work.grammar {
        Some(Grammar::JsonSchema { schema, .. }) => {
            fields.insert("structured_outputs".into(), json!({"json": schema}));
        }
        Some(Grammar::Regex { pattern }) => {
            fields.insert("structured_outputs".into(), json!({"regex": pattern}));
        }
        Some(Grammar::ToolCalls { .. }) | None => {}
    }
}

fn sglang(fields: &mut Map<String, Value>, work: &Work, salt: &str) {
    let all = -1;
    let top_k = if work.sampling.top_k == 0 { all } else { i64::from(work.sampling.top_k) };
    fields.insert("top_k".into(), top_k.into());
    fields.insert("cache_salt".into(), salt.into());
    match &work.grammar {
        Some(Grammar::JsonSchema { schema, .. }) => {
            fields.insert("json_schema".into(), schema.to_string().into());
        }
        Some(Grammar::Regex { pattern }) => {
            fields.insert("regex".into(), pattern.clone().into());
        }
        Some(Grammar::ToolCalls { .. }) | None => {}
    }
}
