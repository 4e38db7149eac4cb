//! One event of an upstream's answer, read.

use primitives::node_protocol::{TokenLogprob, TokenLogprobs};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::upstream::dialect::Dialect;
use crate::words::Words;

/// What one event says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk {
    /// New text.
    pub text: String,
    /// The tokens that were drawn, where it tells them.
    pub ids: Vec<u32>,
    /// How likely those tokens were, where that was asked for.
    pub logprobs: Vec<TokenLogprobs>,
    /// Why the output ended, if it did.
    pub end: Option<End>,
    /// What it says that it took.
    pub told: Option<Told>,
}

/// Why an upstream's output ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The model ended it.
    Stop,
    /// A limit was reached.
    Length,
    /// Neither: it gave up.
    Broken,
}

/// An upstream's own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Of those, how many a cache held.
    pub cached_tokens: u64,
    /// Tokens of the output; a token that ended it may count or not.
    pub output_tokens: u64,
}

/// An event could not be read, or says that something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It is no event of a completion.
    #[error("it sent what is no event of a completion")]
    Malformed,
    /// It tells of an error.
    #[error("it broke off with an error")]
    Error,
}

impl Chunk {
    /// Reads an event's data.
    ///
    /// # Errors
    /// When it is no event of a completion, or an error.
    pub fn read(dialect: Dialect, data: &str, words: &Words) -> Result<Self, Wrong> {
        let value: Value = serde_json::from_str(data).map_err(|_| Wrong::Malformed)?;
        if value.get("error").is_some_and(|error| !error.is_null()) {
            return Err(Wrong::Error);
        }
        let read = match dialect {
            Dialect::LlamaCpp => serde_json::from_value(value).map(|own: LlamaCpp| own.chunk(words)),
            Dialect::Vllm | Dialect::Sglang | Dialect::Plain => {
                serde_json::from_value(value).map(|common: Common| common.chunk(words))
            }
        };
        read.map_err(|_| Wrong::Malformed)
    }
}

/// An event of `/v1/completions`.
#[derive(Debug, Deserialize)]
struct Common {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    token_ids: Option<Vec<u32>>,
    #[serde(default)]
    logprobs: Option<Logprobs>,
    #[serde(default)]
    finish_reason: Option<String>,
}

/// How likely tokens were, each named `token_id:N`.
#[derive(Debug, Deserialize)]
struct Logprobs {
    #[serde(default)]
    tokens: Vec<String>,
    #[serde(default)]
    token_logprobs: Vec<Option<f32>>,
    #[serde(default)]
    top_logprobs: Option<Vec<Option<Map<String, Value>>>>,
}

#[derive(Debug, Deserialize)]
struct Usage {
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Debug, Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

impl Common {
    fn chunk(self, words: &Words) -> Chunk {
        let told = self.usage.map(|usage| Told {
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
            output_tokens: usage.completion_tokens,
        });
        let Some(choice) = self.choices.into_iter().next() else { return Chunk { told, ..Chunk::default() } };
        let end = choice.finish_reason.map(|reason| match reason.as_str() {
            "stop" => End::Stop,
            "length" => End::Length,
            _ => End::Broken,
        });
        let logprobs = choice.logprobs.map(|logprobs| logprobs.read(words)).unwrap_or_default();
        Chunk { text: choice.text.unwrap_or_default(), ids: choice.token_ids.unwrap_or_default(), logprobs, end, told }
    }
}

impl Logprobs {
    fn read(self, words: &Words) -> Vec<TokenLogprobs> {
        let tops = self.top_logprobs.unwrap_or_default();
        let drawn = self.tokens.iter().zip(&self.token_logprobs).enumerate();
        let read = drawn.filter_map(|(nth, (name, logprob))| {
            let named = |name: &str, logprob: f32| {
                let id = name.strip_prefix("token_id:")?.parse().ok()?;
                Some(TokenLogprob { id, bytes: words.piece(id).to_vec(), logprob })
            };
            let top = tops.get(nth).and_then(Option::as_ref);
            let likely = top.into_iter().flatten();
            let likely = likely.filter_map(|(name, logprob)| named(name, logprob.as_f64()? as f32));
            Some(TokenLogprobs { drawn: named(name, (*logprob)?)?, top: likeliest_first(likely.collect()) })
        });
        read.collect()
    }
}

/// An event of llama.cpp's own `/completion`.
#[derive(Debug, Deserialize)]
struct LlamaCpp {
    content: String,
    #[serde(default)]
    tokens: Vec<u32>,
    stop: bool,
    #[serde(default)]
    stop_type: String,
    #[serde(default)]
    tokens_predicted: u64,
    #[serde(default)]
    tokens_evaluated: u64,
    #[serde(default)]
    completion_probabilities: Vec<Probability>,
}

#[derive(Debug, Deserialize)]
struct Probability {
    id: u32,
    logprob: f32,
    #[serde(default)]
    top_logprobs: Vec<Likely>,
}

#[derive(Debug, Deserialize)]
struct Likely {
    id: u32,
    logprob: f32,
}

impl LlamaCpp {
    fn chunk(self, words: &Words) -> Chunk {
        let token = |id: u32, logprob: f32| TokenLogprob { id, bytes: words.piece(id).to_vec(), logprob };
        let logprobs = self.completion_probabilities.into_iter().map(|told| TokenLogprobs {
            drawn: token(told.id, told.logprob),
            top: likeliest_first(
                told.top_logprobs.into_iter().map(|likely| token(likely.id, likely.logprob)).collect(),
            ),
        });
        let end = self.stop.then_some(match self.stop_type.as_str() {
            "eos" | "word" => End::Stop,
            "limit" => End::Length,
            _ => End::Broken,
        });
        let told = self.stop.then_some(Told {
            prompt_tokens: self.tokens_evaluated,
            // It was told to use none.
            cached_tokens: 0,
            output_tokens: self.tokens_predicted,
        });
        Chunk { text: self.content, ids: self.tokens, logprobs: logprobs.collect(), end, told }
    }
}

/// JSON has no infinity; nothing is less likely than this.
fn likeliest_first(mut tokens: Vec<TokenLogprob>) -> Vec<TokenLogprob> {
    tokens.iter_mut().for_each(|token| token.logprob = token.logprob.max(-9_999.0));
    tokens.sort_by(|a, b| b.logprob.total_cmp(&a.logprob).then(a.id.cmp(&b.id)));
    tokens
}
