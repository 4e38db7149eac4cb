//! The same next token from an engine beside this program: it is asked for one token after each beginning of each answer.
//!
//! It tells the likeliest twenty tokens and no more, so the divergence is that of the two distributions over those twenty and
//! all others together: it is never more than the whole divergence, and can be less. Where it tells no likelihoods there is none
//! to be had, and nothing is certified. Where the original ends the answer and the upstream does too, they agree, and the
//! likelihoods of that end are not told.

use std::collections::VecDeque;

use primitives::certificate::Agreement;
use primitives::node_protocol::{Sampling, Terms, TokenLogprobs, Work};

use super::compare::{self, Text};
use crate::backend::llama::Context;
use crate::error::Error;
use crate::logprobs::TOP_MAX;
use crate::{Event, Model, RequestHandle, Upstream};

/// Reads every text with the original, and asks the upstream at each position. Must be called in a runtime that somebody else
/// drives.
///
/// # Errors
/// When a batch cannot be computed, or the upstream refuses or fails a request.
pub fn compare(
    reference: &Model,
    upstream: &Upstream,
    texts: &[Text],
    threads: usize,
    told: &mut dyn FnMut(&str, f64),
) -> Result<Agreement, Error> {
    let shape = compare::shape(texts, threads);
    let mut context = Context::try_new(reference.weights(), shape)?;
    let (mut agreed, mut divergences, mut rest) = (0, Vec::new(), texts);
    let mut positions = 0;
    while !rest.is_empty() {
        let pack;
        (pack, rest) = rest.split_at(compare::pack_len(rest, shape.batch_tokens));
        compare::read(&mut context, pack)?;
        let beginnings: Vec<&[u32]> = pack.iter().flat_map(Text::beginnings).collect();
        for (nth, next) in ask_all(upstream, &beginnings)?.into_iter().enumerate() {
            let logits = context.logits(nth);
            let likeliest = compare::likeliest(logits).and_then(|id| u32::try_from(id).ok());
            positions += 1;
            agreed += u64::from(match &next.id {
                Some(id) => likeliest == Some(*id),
                None => likeliest.is_some_and(|id| reference.ends(id)),
            });
            if let Some(likely) = &next.likely {
                divergences.push(coarse_divergence(logits, likely));
            }
        }
        told("the engine beside is asked for next tokens", 1.0 - rest.len() as f64 / texts.len() as f64);
    }
    if divergences.is_empty() {
        return Err(Error::Align { reason: "the engine told no likelihoods".into() });
    }
    Ok(Agreement { divergence_coarse: true, ..compare::agreement(positions, agreed, divergences) })
}

/// What an upstream goes on with.
struct Next {
    /// Its token; none for an end.
    id: Option<u32>,
    likely: Option<TokenLogprobs>,
}

fn ask_all(upstream: &Upstream, beginnings: &[&[u32]]) -> Result<Vec<Next>, Error> {
    let (mut running, mut all) = (VecDeque::<RequestHandle>::new(), Vec::new());
    for beginning in beginnings {
        if running.len() >= upstream.slots().max(1)
            && let Some(oldest) = running.pop_front()
        {
            all.push(finish(oldest)?);
        }
        let work = Work {
            prompt: beginning.to_vec(),
            resume: Vec::new(),
            resume_text_bytes: 0,
            output_tokens_max: 1,
            stop: Vec::new(),
            sampling: Sampling::greedy(),
            terms: Terms::default(),
            grammar: None,
            logprobs: Some(TOP_MAX),
        };
        running.push_back(upstream.submit(work).map_err(|refused| failed(refused.to_string()))?);
    }
    for request in running {
        all.push(finish(request)?);
    }
    Ok(all)
}

fn finish(mut request: RequestHandle) -> Result<Next, Error> {
    let mut next = Next { id: None, likely: None };
    loop {
        match request.blocking_next() {
            Some(Event::Tokens(frame)) => {
                next.id = next.id.or(frame.ids.first().copied());
                next.likely = next.likely.or(frame.logprobs.into_iter().next());
            }
            Some(Event::Finished { .. }) => return Ok(next),
            Some(Event::Failed { message, .. }) => return Err(failed(message)),
            Some(Event::Cancelled { .. } | Event::Vector(_)) | None => {
                return Err(failed("the request ended early".into()));
            }
        }
    }
}

fn failed(reason: String) -> Error {
    Error::Align { reason }
}

/// Σ p · ln(p / q) over the tokens that are told and all others together, p the original's.
fn coarse_divergence(original: &[f32], told: &TokenLogprobs) -> f64 {
    let whole = compare::log_sum(original);
    let term = |p: f64, q: f64| if p > 0.0 { p * (p.ln() - q.max(f64::MIN_POSITIVE).ln()) } else { 0.0 };
    let (mut sum, mut p_told, mut q_told) = (0.0, 0.0, 0.0);
    for likely in &told.top {
        let Some(logit) = original.get(likely.id as usize) else { continue };
        let (p, q) = ((f64::from(*logit) - whole).exp(), f64::from(likely.logprob).exp());
        sum += term(p, q);
        p_told += p;
        q_told += q;
    }
    (sum + term((1.0 - p_told).max(0.0), (1.0 - q_told).max(0.0))).max(0.0)
}

#[cfg(test)]
mod tests {
    use primitives::node_protocol::TokenLogprob;

    use super::*;

    #[test]
    fn the_coarse_divergence_takes_what_is_not_told_as_one() {
        let logits: Vec<f32> = [0.5_f32, 0.25, 0.125, 0.125].iter().map(|share| share.ln() + 2.0).collect();
        let token = |id, share: f32| TokenLogprob { id, bytes: vec![], logprob: share.ln() };
        let told = |a: f32, b: f32| TokenLogprobs { drawn: token(0, a), top: vec![token(0, a), token(1, b)] };
        assert!(coarse_divergence(&logits, &told(0.5, 0.25)) < 1e-6);
        let expected = 0.5 * (0.5_f64 / 0.25).ln() + 0.25 * (0.25_f64 / 0.5).ln();
        assert!((coarse_divergence(&logits, &told(0.25, 0.5)) - expected).abs() < 1e-6);
    }
}
