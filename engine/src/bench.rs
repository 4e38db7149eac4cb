//! How fast a model is on this machine: tokens a second and the first token's time, by the number of callers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use primitives::node_protocol::{Sampling, Terms, Work};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{Engine, Event, Model, Refused, Usage};

pub mod burst;
pub mod quick;

/// What is asked, over and over.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Tokens of each prompt; no two prompts begin alike.
    pub prompt_tokens: usize,
    /// The most tokens of each output; the model may end it earlier.
    pub output_tokens_max: u32,
    /// How long each row is measured, at least.
    pub duration: Duration,
}

/// What was measured with a number of callers, each asking again as soon as it is answered.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Requests at once.
    pub callers: usize,
    /// Requests answered.
    pub requests: usize,
    /// Output tokens a second, of all callers together.
    pub output_tokens_per_second: f64,
    /// Prompt tokens a second, of all callers together.
    pub prompt_tokens_per_second: f64,
    /// Tokens of an output, on average.
    pub output_tokens_mean: f64,
    /// From asking to the first token, the median.
    pub first_token_ms_p50: f64,
    /// From asking to the first token, for all but one in a hundred.
    pub first_token_ms_p99: f64,
}

/// Measures one number of callers. The engine must have a place for each.
///
/// # Errors
/// When the engine refuses the workload.
pub async fn measure(engine: &Arc<Engine>, workload: Workload, callers: usize) -> Result<Row, Refused> {
    let began = Instant::now();
    let mut working = JoinSet::new();
    for caller in 0..callers {
        let engine = engine.clone();
        working
            .spawn_local(async move { ask_until(&engine, workload, caller as u64, began + workload.duration).await });
    }
    let mut answers = Vec::new();
    while let Some(answered) = working.join_next().await {
        answers.extend(answered.expect("a caller neither panics nor is aborted")?);
    }
    Ok(row(callers, &answers, workload, began.elapsed()))
}

struct Answer {
    first_token: Duration,
    output_tokens: u32,
    cached_tokens: u32,
}

async fn ask_until(engine: &Engine, workload: Workload, caller: u64, end: Instant) -> Result<Vec<Answer>, Refused> {
    let mut generator = ChaCha8Rng::seed_from_u64(caller);
    let mut answers = Vec::new();
    while answers.is_empty() || Instant::now() < end {
        let prompt = prompt(engine.model(), workload.prompt_tokens, &mut generator);
        answers.push(ask(engine, prompt, workload.output_tokens_max, Terms::default()).await?);
    }
    Ok(answers)
}

async fn ask(engine: &Engine, prompt: Vec<u32>, output_tokens_max: u32, terms: Terms) -> Result<Answer, Refused> {
    let asked = Instant::now();
    let mut request = engine.submit(Work {
        prompt,
        resume: Vec::new(),
        resume_text_bytes: 0,
        output_tokens_max,
        stop: Vec::new(),
        grammar: None,
        logprobs: None,
        sampling: Sampling::greedy(),
        terms,
    })?;
    let mut first_token = None;
    loop {
        match request.next().await {
            Some(Event::Tokens(_)) => drop(first_token.get_or_insert_with(|| asked.elapsed())),
            Some(Event::Finished { usage, .. }) => {
                let first_token = first_token.unwrap_or_else(|| asked.elapsed());
                let Usage { output_tokens, cached_tokens, .. } = usage;
                return Ok(Answer { first_token, output_tokens, cached_tokens });
            }
            Some(Event::Cancelled { .. } | Event::Failed { .. } | Event::Vector(_)) | None => {
                return Err(Refused::Stopped);
            }
        }
    }
}

/// Random tokens that stand for text.
fn prompt(model: &Model, tokens: usize, generator: &mut impl Rng) -> Vec<u32> {
    let vocabulary = model.vocabulary_len() as u32;
    let any = std::iter::repeat_with(|| generator.next_u32() % vocabulary);
    any.filter(|&id| !model.piece(id).is_empty() && !model.ends(id)).take(tokens).collect()
}

fn row(callers: usize, answers: &[Answer], workload: Workload, took: Duration) -> Row {
    let mut first_tokens: Vec<f64> = answers.iter().map(|answer| answer.first_token.as_secs_f64() * 1e3).collect();
    first_tokens.sort_by(f64::total_cmp);
    let at = |share: f64| first_tokens[((first_tokens.len() - 1) as f64 * share).round() as usize];
    let output: u32 = answers.iter().map(|answer| answer.output_tokens).sum();
    let seconds = took.as_secs_f64();
    Row {
        callers,
        requests: answers.len(),
        output_tokens_per_second: f64::from(output) / seconds,
        prompt_tokens_per_second: (answers.len() * workload.prompt_tokens) as f64 / seconds,
        output_tokens_mean: f64::from(output) / answers.len() as f64,
        first_token_ms_p50: at(0.5),
        first_token_ms_p99: at(0.99),
    }
}
