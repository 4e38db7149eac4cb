//! Two models read the same answers: how often their likeliest next tokens are the same, and how far apart their distributions are.

use primitives::certificate::{Agreement, lower_bound};

use crate::Model;
use crate::backend::llama::{Context, KvType, SLOTS_MAX, Shape};
use crate::error::Error;

/// Texts read at once, at most.
const SLOTS: usize = 16;
/// Tokens read at once, unless one text is longer.
const BATCH_TOKENS: usize = 1024;
/// Positions compared at once, unless one text has more: their logits are kept. *Units*: positions.
const BATCH_POSITIONS: usize = 256;

/// A prompt and an answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    ids: Vec<u32>,
    /// The first position after which a token of the answer comes.
    from: usize,
}

impl Text {
    /// A prompt of at least one token, and its answer.
    pub fn new(prompt: &[u32], answer: &[u32]) -> Self {
        Self { ids: [prompt, answer].concat(), from: prompt.len().saturating_sub(1) }
    }

    /// How many next tokens are compared: each of the answer, and what follows its last.
    pub fn positions(&self) -> usize {
        self.ids.len() - self.from
    }

    /// What stands before each of those next tokens.
    pub fn beginnings(&self) -> impl Iterator<Item = &[u32]> {
        (self.from..self.ids.len()).map(|last| &self.ids[..=last])
    }
}

/// Reads every text with both models.
///
/// # Errors
/// When a context cannot be had or a batch cannot be computed.
pub fn compare(
    reference: &Model,
    candidate: &Model,
    texts: &[Text],
    threads: usize,
    kv: KvType,
    told: &mut dyn FnMut(&str, f64),
) -> Result<Agreement, Error> {
    let shape = shape(texts, threads);
    let mut contexts =
        [Context::try_new(reference.weights(), shape)?, Context::try_new(candidate.weights(), Shape { kv, ..shape })?];
    let (mut agreed, mut divergences) = (0, Vec::new());
    let mut rest = texts;
    while !rest.is_empty() {
        let pack;
        (pack, rest) = rest.split_at(pack_len(rest, shape.batch_tokens));
        for context in &mut contexts {
            read(context, pack)?;
        }
        let [original, other] = &contexts;
        for nth in 0..pack.iter().map(Text::positions).sum() {
            let (original, other) = (original.logits(nth), other.logits(nth));
            agreed += u64::from(likeliest(original) == likeliest(other));
            divergences.push(divergence(original, other));
        }
        told("both read the answers", 1.0 - rest.len() as f64 / texts.len() as f64);
    }
    Ok(agreement(divergences.len() as u64, agreed, divergences))
}

/// What a context must be to read these texts.
pub(super) fn shape(texts: &[Text], threads: usize) -> Shape {
    let longest = texts.iter().map(|text| text.ids.len()).max().unwrap_or(1);
    let slots = SLOTS.min(SLOTS_MAX);
    let batch_tokens = longest.max(BATCH_TOKENS).min(slots * longest);
    Shape { slots, context_tokens: longest, batch_tokens, threads, saved_bytes_max: 0, kv: KvType::F16 }
}

/// How many of the texts go into the next batch; at least one.
pub(super) fn pack_len(texts: &[Text], batch_tokens: usize) -> usize {
    let (mut tokens, mut positions) = (0, 0);
    let fit = texts.iter().take(SLOTS).take_while(|text| {
        tokens += text.ids.len();
        positions += text.positions();
        tokens <= batch_tokens && positions <= BATCH_POSITIONS
    });
    fit.count().max(1)
}

/// Computes a batch of texts, with logits at each of their positions.
pub(super) fn read(context: &mut Context<'_>, pack: &[Text]) -> Result<(), Error> {
    context.begin();
    for (slot, text) in pack.iter().enumerate() {
        context.trim(slot, 0)?;
        context.add_scored(slot, &text.ids, text.from)?;
    }
    context.decode()
}

/// What so many positions come to, of which so many agreed.
pub(super) fn agreement(positions: u64, agreed: u64, mut divergences: Vec<f64>) -> Agreement {
    divergences.sort_unstable_by(f64::total_cmp);
    let last = divergences.len().saturating_sub(1);
    Agreement {
        positions,
        agreed,
        lower_bound: billionths(lower_bound(agreed, positions)),
        divergence_mean: billionths(divergences.iter().sum::<f64>() / divergences.len().max(1) as f64),
        divergence_p99: billionths(divergences.get(last * 99 / 100).copied().unwrap_or(0.0)),
        divergence_coarse: false,
    }
}

/// Rounded to nine decimals, so that the number is the same after it was written and read.
fn billionths(number: f64) -> f64 {
    (number * 1e9).round() / 1e9
}

/// The greatest logit's token, the lowest id of equals; what is no number never.
pub(super) fn likeliest(logits: &[f32]) -> Option<usize> {
    let greatest = |best: Option<(usize, f32)>, (id, &logit): (usize, &f32)| match best {
        Some((_, most)) if logit.partial_cmp(&most) != Some(std::cmp::Ordering::Greater) => best,
        _ if logit.is_nan() => best,
        _ => Some((id, logit)),
    };
    logits.iter().enumerate().fold(None, greatest).map(|(id, _)| id)
}

/// Σ p · ln(p / q) over the two distributions, p the original's.
fn divergence(original: &[f32], other: &[f32]) -> f64 {
    let (whole, other_whole) = (log_sum(original), log_sum(other));
    let terms = original.iter().zip(other).map(|(&a, &b)| {
        let (log_p, log_q) = (f64::from(a) - whole, f64::from(b) - other_whole);
        let p = log_p.exp();
        if p > 0.0 { p * (log_p - log_q) } else { 0.0 }
    });
    terms.sum::<f64>().max(0.0)
}

/// ln Σ exp.
pub(super) fn log_sum(logits: &[f32]) -> f64 {
    let greatest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    greatest + logits.iter().map(|&logit| (f64::from(logit) - greatest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_divergence_is_that_of_the_definition() {
        let logits = |shares: &[f32]| shares.iter().map(|share| share.ln() + 3.0).collect::<Vec<_>>();
        let found = divergence(&logits(&[0.5, 0.5]), &logits(&[0.25, 0.75]));
        assert!((found - (0.5 * 2_f64.ln() + 0.5 * (2.0_f64 / 3.0).ln())).abs() < 1e-6, "{found}");
        assert_eq!(divergence(&[1.0, 2.0], &[1.0, 2.0]), 0.0);
    }

    #[test]
    fn the_lowest_of_equals_is_the_likeliest_and_what_is_no_number_never() {
        assert_eq!(likeliest(&[f32::NAN, 1.0, 1.0]), Some(1));
        assert_eq!(likeliest(&[f32::NAN]), None);
    }

    #[test]
    fn a_batch_takes_whole_texts_and_at_least_one() {
        let text = |prompt: usize, answer: usize| Text::new(&vec![1; prompt], &vec![1; answer]);
        assert_eq!(pack_len(&[text(500, 10), text(500, 10), text(500, 10)], 1024), 2);
        assert_eq!(pack_len(&[text(10, 900)], 1024), 1);
        assert_eq!(pack_len(&vec![text(4, 2); 40], 1024), SLOTS);
        assert_eq!(text(5, 3).positions(), 4);
    }
}
