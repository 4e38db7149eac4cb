//! How fast an engine is, in a few seconds: what its node tells when it comes.

use std::time::{Duration, Instant};

use primitives::node_protocol::{Sampling, Speed, StepTime, Terms, Work};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::prompt;
use crate::{Engine, Event, Model, Refused};

/// The prompt that is timed, where it fits half a slot. *Units*: tokens.
const PROMPT_TOKENS: usize = 512;
/// The prompts of sequences whose steps are timed. *Units*: tokens.
const SHORT_TOKENS: usize = 4;
/// Steps that are timed of each number of sequences; the median counts.
const STEPS: usize = 15;

/// Reads a prompt twice, of which the quicker counts, and times steps of 1, 4, 16 and all sequences until the time is up.
///
/// # Errors
/// When the engine refuses, such as one that embeds.
pub fn measure(engine: &Engine, within: Duration) -> Result<Speed, Refused> {
    let ends_at = Instant::now() + within;
    let (model, config) = (engine.model(), engine.config());
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    let tokens = PROMPT_TOKENS.min(config.context_tokens / 2).max(1);
    let mut prompt_token_us = u32::MAX;
    for _ in 0..2 {
        let work = work(model, prompt(model, tokens, &mut generator), 1);
        let began = Instant::now();
        let mut request = engine.submit(work)?;
        while let Some(Event::Tokens(_)) = request.blocking_next() {}
        prompt_token_us = prompt_token_us.min(micros(began.elapsed() / tokens as u32).max(1));
    }
    let mut steps = Vec::new();
    let mut sequences: Vec<usize> = [1, 4, 16, config.slots].into_iter().filter(|n| *n <= config.slots).collect();
    sequences.sort_unstable();
    sequences.dedup();
    for sequences in sequences {
        let output = (STEPS + 1 + sequences).min(config.context_tokens.saturating_sub(SHORT_TOKENS)) as u32;
        let mut works = (0..sequences).map(|_| work(model, prompt(model, SHORT_TOKENS, &mut generator), output));
        let mut requests = works.try_fold(Vec::new(), |mut requests, work| {
            requests.push(engine.submit(work)?);
            Ok::<_, Refused>(requests)
        })?;
        // The last one to begin has all others beside it.
        let Some(last) = requests.last_mut() else { continue };
        let (mut gaps, mut before) = (Vec::new(), None);
        while gaps.len() < STEPS && Instant::now() < ends_at && matches!(last.blocking_next(), Some(Event::Tokens(_))) {
            let came = Instant::now();
            gaps.extend(before.replace(came).map(|before| came - before));
        }
        gaps.sort_unstable();
        if let Some(step) = gaps.get(gaps.len() / 2) {
            steps.push(StepTime { sequences: sequences as u32, step_us: micros(*step) });
        }
    }
    Ok(Speed { prompt_token_us, steps })
}

/// A prompt to go on from for so many tokens, whatever the model would like to end.
fn work(model: &Model, prompt: Vec<u32>, output_tokens_max: u32) -> Work {
    let ends = (0..model.vocabulary_len() as u32).filter(|id| model.ends(*id));
    Work {
        prompt,
        resume: Vec::new(),
        resume_text_bytes: 0,
        output_tokens_max,
        stop: Vec::new(),
        sampling: Sampling { logit_bias: ends.map(|id| (id, -100.0)).collect(), ..Sampling::greedy() },
        grammar: None,
        logprobs: None,
        terms: Terms::default(),
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
