//! A little traffic to try settings on: made from a seed, the same for every setting.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use primitives::node_protocol::{Sampling, Terms, Work};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

use crate::{Engine, Event, Model, Refused};

/// Requests at once, each followed by the next as soon as it is answered.
const CALLERS: usize = 16;
/// The shortest prompt and output. *Units*: tokens.
const SHORTEST: u32 = 16;
/// A tenant's request would end where the model ends it; here every output has its whole length, so that all settings do the
/// same work.
const NEVER: f32 = -100.0;

/// Requests in the order in which they are asked.
#[derive(Clone, Debug)]
pub struct Trace {
    works: Vec<Work>,
}

/// How a setting did on a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// From the first question to the last answer.
    pub took: Duration,
    /// The longest that any answer paused after it had begun.
    pub longest_gap: Duration,
    /// Until the first token, for nine in ten.
    pub first_token_p90: Duration,
}

impl Trace {
    /// Requests with prompts and outputs of all lengths that fit, short ones as likely as long ones by their logarithm.
    pub fn new(model: &Model, requests: usize, context_tokens: usize, seed: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let context = u32::try_from(context_tokens).unwrap_or(u32::MAX);
        let words: Vec<u32> =
            (0..model.vocabulary_len() as u32).filter(|&id| !model.piece(id).is_empty() && !model.ends(id)).collect();
        let ends = (0..model.vocabulary_len() as u32).filter(|&id| model.ends(id)).map(|id| (id, NEVER));
        let sampling = Sampling { logit_bias: ends.collect(), ..Sampling::greedy() };
        let works = std::iter::repeat_with(|| {
            let prompt_tokens = length(&mut generator, (context / 2).min(1_024));
            let output_tokens_max = length(&mut generator, (context / 4).min(128));
            let word = |_| words[generator.next_u32() as usize % words.len()];
            Work {
                prompt: (0..prompt_tokens).map(word).collect(),
                resume: Vec::new(),
                resume_text_bytes: 0,
                output_tokens_max,
                stop: Vec::new(),
                sampling: sampling.clone(),
                terms: Terms::default(),
                grammar: None,
                logprobs: None,
            }
        });
        Self { works: works.take(requests).collect() }
    }

    /// Asks all of it.
    ///
    /// # Errors
    /// When the engine refuses a request or breaks off.
    pub async fn run(&self, engine: &Arc<Engine>) -> Result<Run, Refused> {
        let began = Instant::now();
        let left = Rc::new(RefCell::new(self.works.clone().into_iter()));
        let mut asking = JoinSet::new();
        for _ in 0..CALLERS {
            let (engine, left) = (engine.clone(), left.clone());
            asking.spawn_local(async move {
                let mut answers = Vec::new();
                loop {
                    let Some(work) = left.borrow_mut().next() else { return Ok(answers) };
                    answers.push(ask(&engine, work).await?);
                }
            });
        }
        let mut answers: Vec<Answer> = Vec::new();
        while let Some(answered) = asking.join_next().await {
            answers.extend(answered.expect("a caller neither panics nor is aborted")?);
        }
        answers.sort_by_key(|answer| answer.first_token);
        let longest_gap = answers.iter().map(|answer| answer.longest_gap).max().unwrap_or_default();
        let first_token_p90 = answers.get(answers.len() * 9 / 10).map_or(Duration::ZERO, |answer| answer.first_token);
        Ok(Run { took: began.elapsed(), longest_gap, first_token_p90 })
    }
}

fn length(generator: &mut impl Rng, longest: u32) -> u32 {
    let (low, high) = (f64::from(SHORTEST).ln(), f64::from(longest.max(SHORTEST)).ln());
    let share = f64::from(generator.next_u32()) / f64::from(u32::MAX);
    (low + share * (high - low)).exp().round() as u32
}

struct Answer {
    first_token: Duration,
    longest_gap: Duration,
}

async fn ask(engine: &Engine, work: Work) -> Result<Answer, Refused> {
    let asked = Instant::now();
    let mut request = engine.submit(work)?;
    let (mut first_token, mut last, mut longest_gap) = (None, asked, Duration::ZERO);
    loop {
        match request.next().await {
            Some(Event::Tokens(_)) => {
                match first_token {
                    None => first_token = Some(asked.elapsed()),
                    Some(_) => longest_gap = longest_gap.max(last.elapsed()),
                }
                last = Instant::now();
            }
            Some(Event::Finished { .. }) => {
                return Ok(Answer { first_token: first_token.unwrap_or_else(|| asked.elapsed()), longest_gap });
            }
            Some(Event::Cancelled { .. } | Event::Failed { .. } | Event::Vector(_)) | None => {
                return Err(Refused::Stopped);
            }
        }
    }
}
