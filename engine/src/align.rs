//! Does a cell answer as the original does? `tokengrid-node align` measures it and signs what it found.
//!
//! Three looks, from the bytes to what users see:
//!
//! 1. *The same words*: both files must have the same vocabulary, ends and chat template, and so count the same prompt tokens.
//! 2. *The same next token*: the original writes answers; both models then read them, and at each position their likeliest tokens
//!    and their distributions are [compared](compare). Neither leads the other astray, so every position counts.
//! 3. *The same calls*: both answer requests with tools on their own, and [whether they call, and with valid arguments](calls), is compared.

pub mod beside;
pub mod calls;
pub mod certificate;
pub mod compare;
pub mod prompts;

use std::path::Path;
use std::sync::Arc;

use primitives::certificate::{Agreement, Calls, POSITIONS_MIN};
use primitives::node_protocol::Sampling;

use crate::align::compare::Text;
use crate::align::prompts::{Prompt, Prompts};
use crate::backend::llama::KvType;
use crate::error::Error;
use crate::generate::generate;
use crate::{Engine, EngineConfig, Model, Upstream};

/// The most tokens that the original writes to one prompt.
const ANSWER_TOKENS_MAX: u32 = 160;
/// How many prompts are answered in one go; between goes, progress is told.
const GO: usize = 256;

/// How much to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Positions at which the two are compared, at least.
    pub positions: usize,
    /// Requests with tools that both answer.
    pub tool_requests: usize,
}

impl Effort {
    /// What a certificate takes.
    pub const FULL: Self = Self { positions: POSITIONS_MIN as usize, tool_requests: 4_000 };
    /// A first look within a minute, while a node joins; it certifies nothing.
    pub const QUICK: Self = Self { positions: 3_000, tool_requests: 100 };
}

/// How to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measuring {
    /// How much.
    pub effort: Effort,
    /// Threads that compute.
    pub threads: usize,
    /// How the candidate's caches are stored; the original's have 16 bits.
    pub kv: KvType,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Alignment {
    /// The next tokens.
    pub agreement: Agreement,
    /// The calls; none where no prompt has tools.
    pub calls: Option<Calls>,
}

/// Measures a candidate against the original; `told` hears what is being done and how far it is.
///
/// # Errors
/// [`Error::Align`] where the two are not the same model or there is too little to ask; and what decoding says.
pub fn measure(
    reference: &Arc<Model>,
    candidate: &Arc<Model>,
    prompts: &Path,
    measuring: Measuring,
    told: &mut dyn FnMut(&str, f64),
) -> Result<Alignment, Error> {
    let Measuring { effort, threads, kv } = measuring;
    same_words(reference, candidate)?;
    let prompts = Prompts::read(prompts, reference)?;
    let longest = prompts.all.iter().map(|prompt| prompt.ids.len()).max().unwrap_or(0);
    let context_tokens = reference.context_tokens.min(longest + ANSWER_TOKENS_MAX as usize);

    let texts = answers(reference, &prompts, effort.positions, context_tokens, threads, told)?;
    let agreement = compare::compare(reference, candidate, &texts, threads, kv, told)?;
    let requests = prompts.with_tools(effort.tool_requests, reference)?;
    let calls = if requests.is_empty() {
        None
    } else {
        Some(calls::compare(reference, candidate, &requests, threads, kv, told)?)
    };
    Ok(Alignment { agreement, calls })
}

/// Measures an engine beside this program against the original. That it reads the same tokens is what [ready](Upstream::ready)
/// means; calls are not compared, since what it says of one request depends on what it draws before.
///
/// Must be called in a runtime that somebody else drives.
///
/// # Errors
/// As of [`measure`].
pub fn measure_beside(
    reference: &Arc<Model>,
    upstream: &Upstream,
    prompts: &Path,
    effort: Effort,
    threads: usize,
    told: &mut dyn FnMut(&str, f64),
) -> Result<Alignment, Error> {
    let prompts = Prompts::read(prompts, reference)?;
    let longest = prompts.all.iter().map(|prompt| prompt.ids.len()).max().unwrap_or(0);
    // The upstream makes one token after the longest beginning.
    let room = reference.context_tokens.min(upstream.context_tokens().saturating_sub(1));
    let context_tokens = room.min(longest + ANSWER_TOKENS_MAX as usize);
    let texts = answers(reference, &prompts, effort.positions, context_tokens, threads, told)?;
    let agreement = beside::compare(reference, upstream, &texts, threads, told)?;
    Ok(Alignment { agreement, calls: None })
}

/// Byte for byte the same vocabulary, ends and template.
fn same_words(reference: &Model, candidate: &Model) -> Result<(), Error> {
    let differs = |what| Err(Error::Align { reason: format!("the two are not the same model: {what}") });
    if reference.vocabulary_len() != candidate.vocabulary_len() {
        return differs("their vocabularies differ in size");
    }
    let ids = || 0..reference.vocabulary_len() as u32;
    if let Some(id) = ids().find(|&id| reference.piece(id) != candidate.piece(id)) {
        return differs(&format!("token {id} stands for other bytes"));
    }
    if ids().any(|id| reference.ends(id) != candidate.ends(id)) {
        return differs("other tokens end the output");
    }
    if reference.chat_template() != candidate.chat_template() {
        return differs("their chat templates differ");
    }
    Ok(())
}

/// What the original answers: first the likeliest answer to each prompt, then drawn ones, until there are enough positions.
fn answers(
    model: &Arc<Model>,
    prompts: &Prompts,
    positions: usize,
    context_tokens: usize,
    threads: usize,
    told: &mut dyn FnMut(&str, f64),
) -> Result<Vec<Text>, Error> {
    let mut config = EngineConfig::for_model(model, threads);
    config.context_tokens = context_tokens;
    let engine = Engine::start(model.clone(), config)?;
    let (mut texts, mut found) = (Vec::new(), 0);
    for round in 0_u64.. {
        let found_before = found;
        let sampling = if round == 0 {
            Sampling::greedy()
        } else {
            Sampling { temperature: 1.0, seed: round, ..Sampling::greedy() }
        };
        for go in prompts.all.chunks(GO) {
            let outputs = generate(&engine, go.iter().map(Prompt::ids), &sampling, ANSWER_TOKENS_MAX)?;
            for (prompt, output) in go.iter().zip(outputs) {
                let text = Text::new(&prompt.ids, &output);
                found += text.positions();
                texts.push(text);
            }
            told("the original answers", (found as f64 / positions as f64).min(1.0));
            if found >= positions {
                return Ok(texts);
            }
        }
        if found == found_before {
            break;
        }
    }
    Err(Error::Align { reason: format!("the original answers nothing to {} prompts", prompts.all.len()) })
}
