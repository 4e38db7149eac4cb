//! A cold burst: many requests at once that begin alike, with and without sharing what they have in common.

use std::sync::Arc;
use std::time::Instant;

use primitives::node_protocol::Terms;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tokio::task::JoinSet;

use super::{ask, prompt};
use crate::{Engine, Refused};

/// What comes at once. No caches hold anything of it.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Tokens that all prompts begin with.
    pub shared_tokens: usize,
    /// Tokens of each prompt after them.
    pub own_tokens: usize,
    /// The most tokens of each output; the model may end it earlier.
    pub output_tokens_max: u32,
    /// How often it is measured, with and without in turn.
    pub rounds: u64,
}

/// What was measured with a number of requests: each figure is the median of its rounds.
#[derive(Clone, Debug, Serialize)]
pub struct BurstRow {
    /// Requests at once.
    pub requests: usize,
    /// Until the last answer, when each computes its whole prompt.
    pub alone_ms: f64,
    /// Until the last answer, when what is common is computed once.
    pub shared_ms: f64,
    /// The first divided by the second, within a round.
    pub speedup: f64,
    /// From asking to the first token, the mean of a burst, when each computes its whole prompt.
    pub first_token_alone_ms: f64,
    /// The same when what is common is computed once.
    pub first_token_shared_ms: f64,
    /// The second divided by the first, within a round.
    pub first_token_ratio: f64,
    /// Of the prompts' tokens, how many a cache held.
    pub cached_share: f64,
}

/// One burst, measured.
#[derive(Clone, Copy, Debug)]
struct Measured {
    total_ms: f64,
    first_token_ms: f64,
    cached_tokens: f64,
}

/// Measures bursts of a number of requests. The engine must have a place for each.
///
/// # Errors
/// When the engine refuses them.
pub async fn measure(engine: &Arc<Engine>, burst: Burst, requests: usize) -> Result<BurstRow, Refused> {
    let mut rounds = Vec::new();
    for round in 0..burst.rounds.max(1) {
        let seed = round * 1_000 + requests as u64;
        let alone = once(engine, burst, requests, seed, None).await?;
        let shared = once(engine, burst, requests, seed, Some(format!("bench {seed}"))).await?;
        rounds.push((alone, shared));
    }
    let median = |figure: fn(&(Measured, Measured)) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let prompts = (requests * (burst.shared_tokens + burst.own_tokens)) as f64;
    Ok(BurstRow {
        requests,
        alone_ms: median(|(alone, _)| alone.total_ms),
        shared_ms: median(|(_, shared)| shared.total_ms),
        speedup: median(|(alone, shared)| alone.total_ms / shared.total_ms),
        first_token_alone_ms: median(|(alone, _)| alone.first_token_ms),
        first_token_shared_ms: median(|(_, shared)| shared.first_token_ms),
        first_token_ratio: median(|(alone, shared)| shared.first_token_ms / alone.first_token_ms),
        cached_share: median(|(_, shared)| shared.cached_tokens) / prompts,
    })
}

async fn once(
    engine: &Arc<Engine>,
    burst: Burst,
    requests: usize,
    seed: u64,
    cache_salt: Option<String>,
) -> Result<Measured, Refused> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let common = prompt(engine.model(), burst.shared_tokens, &mut generator);
    let began = Instant::now();
    let mut working = JoinSet::new();
    for _ in 0..requests {
        let own = prompt(engine.model(), burst.own_tokens, &mut generator);
        let (engine, prompt) = (engine.clone(), [common.clone(), own].concat());
        let terms = Terms { cache_salt: cache_salt.clone(), ..Terms::default() };
        working.spawn_local(async move { ask(&engine, prompt, burst.output_tokens_max, terms).await });
    }
    let (mut first_tokens_ms, mut cached_tokens) = (0.0, 0.0);
    while let Some(answered) = working.join_next().await {
        let answer = answered.expect("a caller neither panics nor is aborted")?;
        first_tokens_ms += answer.first_token.as_secs_f64() * 1e3;
        cached_tokens += f64::from(answer.cached_tokens);
    }
    let total_ms = began.elapsed().as_secs_f64() * 1e3;
    Ok(Measured { total_ms, first_token_ms: first_tokens_ms / requests as f64, cached_tokens })
}
